/*
 * Both trees are walked in byte order of their names, so they can be merged as sorted lists are. The order is
 * that of the components: "a/b" comes before "a-b", as the walk goes into "a" first.
 */
#include "tree_compare.h"

#include "alloc.h"
#include "bytes.h"
#include "copy_ends.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { CHUNK = 1 << 18 };

struct side {
    struct copy_source *source;
    struct copy_item *item;
    size_t root_len; /* of the path of the start */
};

struct pair {
    struct session *session;
    struct tree_compare *compare;
    struct side sides[2];
    uint8_t *buffers[2];
    bool stop;
};

/* The next thing of a tree, faults told and ends of directories left out. */
static bool advance(struct pair *pair, struct side *side, struct error *err)
{
    do {
        if (!side->source->ops->next(side->source, &side->item, err))
            return false;
        if (side->item->event == WALK_FAULT)
            pair->compare->complain(pair->compare->arg, side->item->path, &side->item->fault);
    } while (side->item->event == WALK_FAULT || side->item->event == WALK_LEAVE);
    return true;
}

static const char *below(const struct side *side)
{
    const char *path = side->item->path + side->root_len;
    return path + (*path == '/');
}

static int compare_paths(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    int x = *a == '/' ? 1 : *a ? (unsigned char)*a + 1 : 0;
    int y = *b == '/' ? 1 : *b ? (unsigned char)*b + 1 : 0;
    return x - y;
}

static void tell(struct pair *pair, enum tree_difference kind, const char *path, const char *detail)
{
    pair->compare->differences++;
    pair->stop |= !pair->compare->differ(pair->compare->arg, kind, *path ? path : ".", detail);
}

/* ---- contents ------------------------------------------------------------------------------------------ */

static bool read_full(struct side *side, uint64_t off, uint8_t *buf, size_t n, size_t *got, struct error *err)
{
    for (*got = 0; *got < n;) {
        size_t part;
        if (!side->source->ops->read(side->source, off + *got, buf + *got, n - *got, &part, err))
            return false;
        if (part == 0)
            break;
        *got += part;
    }
    return true;
}

/* The first byte that differs; UINT64_MAX: none. */
static bool first_difference(struct pair *pair, uint64_t size, uint64_t *out, struct error *err)
{
    struct side *a = &pair->sides[0], *b = &pair->sides[1];
    *out = UINT64_MAX;
    for (uint64_t off = 0; off < size;) {
        uint64_t len[2];
        bool hole[2];
        size_t got[2];
        if (!interrupt_check(err) || !a->source->ops->run(a->source, off, &len[0], &hole[0], err) ||
            !b->source->ops->run(b->source, off, &len[1], &hole[1], err))
            return false;
        if (hole[0] && hole[1]) {
            off += MIN_OF(len[0], len[1]);
            continue;
        }
        size_t n = (size_t)MIN_OF(size - off, (uint64_t)CHUNK);
        if (!read_full(a, off, pair->buffers[0], n, &got[0], err) ||
            !read_full(b, off, pair->buffers[1], n, &got[1], err))
            return false;
        n = MIN_OF(got[0], got[1]);
        for (size_t i = 0; i < n && memcmp(pair->buffers[0], pair->buffers[1], n) != 0; i++)
            if (pair->buffers[0][i] != pair->buffers[1][i]) {
                *out = off + i;
                return true;
            }
        if (n == 0)
            break;
        off += n;
    }
    return true;
}

static bool compare_contents(struct pair *pair, const char *path, struct error *err)
{
    struct copy_source *a = pair->sides[0].source, *b = pair->sides[1].source;
    uint64_t size = pair->sides[0].item->attr.size, other = pair->sides[1].item->attr.size, at;
    char detail[80];
    if (size != other) {
        snprintf(detail, sizeof detail, "size %" PRIu64 ", %" PRIu64, size, other);
        tell(pair, TREE_CONTENTS, path, detail);
        return true;
    }
    if (!a->ops->open(a, err))
        return false;
    bool ok = b->ops->open(b, err);
    if (ok) {
        ok = first_difference(pair, size, &at, err);
        b->ops->close(b);
    }
    a->ops->close(a);
    if (ok && at != UINT64_MAX) {
        snprintf(detail, sizeof detail, "byte %" PRIu64, at + 1);
        tell(pair, TREE_CONTENTS, path, detail);
    }
    return ok;
}

static bool compare_links(struct pair *pair, const char *path, struct error *err)
{
    char *targets[2] = {NULL, NULL};
    bool ok = true;
    for (int i = 0; ok && i < 2; i++)
        ok = pair->sides[i].source->ops->readlink(pair->sides[i].source, &targets[i], err);
    if (ok && strcmp(targets[0], targets[1]) != 0) {
        char detail[240];
        snprintf(detail, sizeof detail, "target %.100s, %.100s", targets[0], targets[1]);
        tell(pair, TREE_CONTENTS, path, detail);
    }
    free(targets[0]);
    free(targets[1]);
    return ok;
}

/* ---- attributes ---------------------------------------------------------------------------------------- */

/* Order does not matter: a sum over all names and values. */
static bool add_xattr(void *arg, const char *name, const void *value, size_t len, struct error *err)
{
    (void)err;
    uint64_t hash = 0xCBF29CE484222325u;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001B3u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ ((const uint8_t *)value)[i]) * 0x100000001B3u;
    *(uint64_t *)arg += hash * 2 + 1;
    return true;
}

static bool compare_attributes(struct pair *pair, const char *path, struct error *err)
{
    const struct fs_attr *a = &pair->sides[0].item->attr, *b = &pair->sides[1].item->attr;
    char detail[200];
    size_t used = 0;
    detail[0] = 0;
#define ADD(...) used += (size_t)snprintf(detail + used, sizeof detail - used, __VA_ARGS__)
    if (((a->mode ^ b->mode) & 07777) && !S_ISLNK(a->mode))
        ADD("%smode %04o, %04o", used ? "; " : "", a->mode & 07777, b->mode & 07777);
    if (a->uid != b->uid || a->gid != b->gid)
        ADD("%sowner %" PRIu32 ":%" PRIu32 ", %" PRIu32 ":%" PRIu32, used ? "; " : "", a->uid, a->gid, b->uid,
            b->gid);
    if (a->mtime.sec != b->mtime.sec || a->mtime.nsec != b->mtime.nsec)
        ADD("%stime %" PRId64 ".%09u, %" PRId64 ".%09u", used ? "; " : "", a->mtime.sec,
            (unsigned)a->mtime.nsec, b->mtime.sec, (unsigned)b->mtime.nsec);
#undef ADD
    uint64_t sums[2] = {0, 0};
    for (int i = 0; i < 2; i++)
        if (!pair->sides[i].source->ops->xattrs(pair->sides[i].source, add_xattr, &sums[i], err))
            return false;
    if (sums[0] != sums[1])
        snprintf(detail + used, sizeof detail - used, "%sextended attributes", used ? "; " : "");
    if (detail[0])
        tell(pair, TREE_ATTRIBUTES, path, detail);
    return true;
}

/* ---- the merge ----------------------------------------------------------------------------------------- */

static bool compare_items(struct pair *pair, struct error *err)
{
    struct copy_item *a = pair->sides[0].item, *b = pair->sides[1].item;
    const char *path = below(&pair->sides[0]);
    pair->compare->files++;
    if ((a->attr.mode ^ b->attr.mode) & S_IFMT) {
        char detail[100];
        snprintf(detail, sizeof detail, "%s, %s", file_type_name(a->attr.mode), file_type_name(b->attr.mode));
        tell(pair, TREE_TYPE, path, detail);
        for (int i = 0; i < 2; i++)
            if (pair->sides[i].item->event == WALK_DIR)
                pair->sides[i].source->ops->skip(pair->sides[i].source);
        return true;
    }
    bool ok = true;
    if (S_ISREG(a->attr.mode))
        ok = compare_contents(pair, path, err);
    else if (S_ISLNK(a->attr.mode))
        ok = compare_links(pair, path, err);
    else if ((S_ISCHR(a->attr.mode) || S_ISBLK(a->attr.mode)) &&
             (a->attr.rdev_major != b->attr.rdev_major || a->attr.rdev_minor != b->attr.rdev_minor))
        tell(pair, TREE_CONTENTS, path, "device numbers");
    ok = ok && (!pair->compare->attributes || compare_attributes(pair, path, err));
    if (ok || err->kind == E_INTERRUPTED || err->kind == E_NOMEM)
        return ok;
    pair->compare->complain(pair->compare->arg, a->path, err);
    return true;
}

static bool only_in(struct pair *pair, int which, struct error *err)
{
    struct side *side = &pair->sides[which];
    tell(pair, which ? TREE_ONLY_SECOND : TREE_ONLY_FIRST, below(side), NULL);
    if (side->item->event == WALK_DIR)
        side->source->ops->skip(side->source);
    return advance(pair, side, err);
}

static bool merge(struct pair *pair, struct error *err)
{
    struct side *a = &pair->sides[0], *b = &pair->sides[1];
    if (!advance(pair, a, err) || !advance(pair, b, err))
        return false;
    while (!pair->stop && (a->item->event != WALK_END || b->item->event != WALK_END)) {
        int order = a->item->event == WALK_END   ? 1
                    : b->item->event == WALK_END ? -1
                                                 : compare_paths(below(a), below(b));
        bool ok = order ? only_in(pair, order > 0, err)
                        : compare_items(pair, err) && advance(pair, a, err) && advance(pair, b, err);
        if (!ok)
            return false;
    }
    return true;
}

static bool open_side(const struct copy_end *end, const struct copy_options *options, struct side *side,
                      struct error *err)
{
    const char *shown = end->host ? end->host : end->shown;
    side->root_len = strlen(shown);
    bool ok = end->host ? copy_host_source(end->host, options, &side->source, err)
                        : copy_image_source(end, options, &side->source, err);
    return ok || because(err, "%s", shown);
}

bool tree_compare(struct session *session, const struct copy_end *first, const struct copy_end *second,
                  struct tree_compare *compare, struct error *err)
{
    const struct copy_options options = {.recursive = true, .archive = true, .sorted = true};
    struct pair pair = {.session = session, .compare = compare};
    bool ok =
        open_side(first, &options, &pair.sides[0], err) && open_side(second, &options, &pair.sides[1], err);
    for (int i = 0; ok && i < 2; i++)
        ok = (pair.buffers[i] = mem_new(CHUNK, err)) != NULL;
    ok = ok && merge(&pair, err);
    for (int i = 0; i < 2; i++) {
        free(pair.buffers[i]);
        if (pair.sides[i].source)
            pair.sides[i].source->ops->free(pair.sides[i].source);
    }
    return ok;
}
