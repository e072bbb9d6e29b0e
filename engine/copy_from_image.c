/* The image side of a copy as its source: a walk through a volume. */
#include "copy_ends.h"

#include "alloc.h"
#include "bytes.h"
#include "name_list.h"
#include "path.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_NESTED = 40 };

struct image_source {
    struct copy_source base;
    struct volume *volume;
    const struct copy_options *options;
    struct walk *walks[MAX_NESTED]; /* more than one: links to directories are followed */
    unsigned depths[MAX_NESTED];    /* of each walk's start in the copy */
    unsigned nested;
    size_t prefix_len; /* of what is shown in front of a path */
    struct walk_entry *at;
    fs_id id; /* of the file that the item stands for, links followed */
    struct copy_item item;
};

static unsigned walk_flags(const struct copy_options *options)
{
    return WALK_ATTR | (options->sorted ? WALK_SORTED : 0);
}

static bool source_failed(struct image_source *source, struct copy_item **out, struct error *err)
{
    if (err->kind == E_NOMEM || err->kind == E_INTERRUPTED)
        return false;
    source->item.event = WALK_FAULT;
    source->item.fault = *err;
    *out = &source->item;
    return true;
}

/* The current entry is a link to follow: to a file, which it becomes, or to a directory, which is walked. */
static bool follow_link(struct image_source *source, struct copy_item **out, struct error *err)
{
    struct copy_item *item = &source->item;
    if (!path_lookup(source->volume, item->path + source->prefix_len, true, &source->id, err) ||
        !file_attr(source->volume, source->id, &item->attr, err))
        return source_failed(source, out, err);
    *out = item;
    if (!S_ISDIR(item->attr.mode) || !source->options->recursive)
        return true;
    for (unsigned i = 0; i < source->nested; i++)
        if (walk_is_inside(source->walks[i], source->id)) {
            fail(err, E_LOOP, "symbolic links make a loop here");
            return source_failed(source, out, err);
        }
    if (source->nested == MAX_NESTED) {
        fail(err, E_LOOP, "too many directories within each other are reached by symbolic links");
        return source_failed(source, out, err);
    }
    unsigned depth = item->depth;
    struct walk **walk = &source->walks[source->nested];
    if (!walk_new(walk, source->volume, item->path, source->id, walk_flags(source->options), err))
        return false;
    source->depths[source->nested++] = depth;
    return source->base.ops->next(&source->base, out, err);
}

static bool image_next(struct copy_source *base, struct copy_item **out, struct error *err)
{
    struct image_source *source = (struct image_source *)base;
    struct copy_item *item = &source->item;
    do {
        if (!walk_next(source->walks[source->nested - 1], &source->at, err))
            return false;
        if (source->at->event != WALK_END || source->nested == 1)
            break;
        walk_free(source->walks[--source->nested]);
    } while (true);
    struct walk_entry *at = source->at;
    *item = (struct copy_item){
        .event = at->event,
        .path = at->path,
        .name = at->name,
        .depth = at->depth + source->depths[source->nested - 1],
        .attr = at->attr,
        .space = (uint64_t)(uintptr_t)source->volume,
        .fault = at->fault,
    };
    source->id = at->id;
    *out = item;
    bool follow = source->options->follow ||
                  (item->depth == 0 && !source->options->recursive && !source->options->archive);
    if (at->event == WALK_FILE && S_ISLNK(at->attr.mode) && follow)
        return follow_link(source, out, err);
    return true;
}

static void image_skip(struct copy_source *base)
{
    struct image_source *source = (struct image_source *)base;
    walk_skip(source->walks[source->nested - 1]);
}

static bool image_readlink(struct copy_source *base, char **target, struct error *err)
{
    struct image_source *source = (struct image_source *)base;
    return file_readlink(source->volume, source->id, target, err);
}

bool copy_image_xattrs(struct volume *volume, fs_id id, copy_xattr_fn *emit, void *arg, struct error *err)
{
    struct name_list list = {.err = err, .ok = true};
    bool ok = file_xattr_list(volume, id, name_list_add, &list, err) && list.ok;
    for (size_t i = 0; ok && i < list.count; i++) {
        void *value = NULL;
        size_t len;
        ok = file_xattr_get(volume, id, list.names[i], &value, &len, err) &&
             emit(arg, list.names[i], value, len, err);
        free(value);
    }
    name_list_free(&list);
    return ok;
}

static bool image_xattrs(struct copy_source *base, copy_xattr_fn *emit, void *arg, struct error *err)
{
    struct image_source *source = (struct image_source *)base;
    return copy_image_xattrs(source->volume, source->id, emit, arg, err);
}

static bool image_open(struct copy_source *base, struct error *err)
{
    (void)base;
    (void)err;
    return true;
}

static bool image_run(struct copy_source *base, uint64_t off, uint64_t *len, bool *hole, struct error *err)
{
    struct image_source *source = (struct image_source *)base;
    const struct fs_attr *attr = &source->item.attr;
    *len = attr->size - off;
    *hole = false;
    if (attr->allocated >= attr->size || !source->volume->fs->driver->map)
        return true;
    struct extent run;
    if (!file_map(source->volume, source->id, off, &run, err))
        return false;
    *hole = run.flags & (EXTENT_HOLE | EXTENT_ZERO | EXTENT_UNWRITTEN);
    uint64_t end = off + MIN_OF(run.len, *len);
    while (end < attr->size) {
        if (!interrupt_check(err) || !file_map(source->volume, source->id, end, &run, err))
            return false;
        if (*hole != !!(run.flags & (EXTENT_HOLE | EXTENT_ZERO | EXTENT_UNWRITTEN)) || end - off >= 64 * MiB)
            break;
        end += MIN_OF(run.len, attr->size - end);
    }
    *len = end - off;
    return true;
}

static bool image_read(struct copy_source *base, uint64_t off, void *buf, size_t n, size_t *got,
                       struct error *err)
{
    struct image_source *source = (struct image_source *)base;
    uint64_t size = source->item.attr.size;
    *got = off < size ? (size_t)MIN_OF(n, size - off) : 0;
    return file_read_inside(source->volume, source->id, off, buf, *got, err);
}

static void image_close(struct copy_source *base)
{
    (void)base;
}

static void image_source_free(struct copy_source *base)
{
    struct image_source *source = (struct image_source *)base;
    while (source->nested)
        walk_free(source->walks[--source->nested]);
    free(source);
}

static const struct copy_source_ops image_source_ops = {
    .next = image_next,
    .skip = image_skip,
    .readlink = image_readlink,
    .xattrs = image_xattrs,
    .open = image_open,
    .run = image_run,
    .read = image_read,
    .close = image_close,
    .free = image_source_free,
};

bool copy_image_source(const struct copy_end *end, const struct copy_options *options,
                       struct copy_source **out, struct error *err)
{
    fs_id id;
    if (!path_lookup(end->volume, end->path, false, &id, err))
        return false;
    struct image_source *source = mem_new(sizeof *source, err);
    if (!source)
        return false;
    source->base = (struct copy_source){.ops = &image_source_ops, .driver = end->volume->fs->driver};
    source->volume = end->volume;
    source->options = options;
    source->prefix_len = strlen(end->shown) - strlen(end->path);
    if (!walk_new(&source->walks[0], end->volume, end->shown, id, walk_flags(options), err)) {
        free(source);
        return false;
    }
    source->nested = 1;
    *out = &source->base;
    return true;
}
