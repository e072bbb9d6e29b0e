/*
 * The walk keeps the directories it came through on a stack, so ".." needs no help of the format, and works
 * on one buffer that holds what is still to be walked: a symbolic link puts its target in front of the rest.
 */
#include "path.h"

#include "alloc.h"
#include "bytes.h"
#include "file.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_LINKS = 40, MAX_PATH = 1 << 20 };

static bool is_dot(const char *name, size_t len)
{
    return len == 1 && name[0] == '.';
}

static bool is_dot_dot(const char *name, size_t len)
{
    return len == 2 && name[0] == '.' && name[1] == '.';
}

char *path_absolute(const char *cwd, const char *path, struct error *err)
{
    const char *base = path[0] == '/' || !cwd ? "" : cwd;
    char *out = mem_new(strlen(base) + strlen(path) + 3, err);
    if (!out)
        return NULL;
    size_t used = 0;
    const char *const parts[] = {base, path};
    for (int i = 0; i < 2; i++) {
        for (const char *p = parts[i]; *p;) {
            size_t len = strcspn(p, "/");
            if (len && !is_dot(p, len)) {
                out[used++] = '/';
                memcpy(out + used, p, len);
                used += len;
            }
            p += len + (p[len] == '/');
        }
    }
    /* A final slash (or "/.") asks for a directory and follows a link: it stays. */
    size_t len = strlen(path);
    bool directory =
        len && (path[len - 1] == '/' || (path[len - 1] == '.' && len > 1 && path[len - 2] == '/'));
    if (used == 0 || directory)
        out[used++] = '/';
    out[used] = 0;
    return out;
}

bool path_split(const char *path, char **dir, char **name, struct error *err)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    size_t dir_end = start;
    while (dir_end > 1 && path[dir_end - 1] == '/')
        dir_end--;
    *name = mem_string_n(path + start, end - start, err);
    *dir = *name ? (dir_end ? mem_string_n(path, dir_end, err) : mem_string(".", err)) : NULL;
    if (*dir)
        return true;
    free(*name);
    *name = NULL;
    return false;
}

struct walk_state {
    struct volume *volume;
    char *rest; /* what is still to be walked; owned */
    char *at;   /* inside rest */
    unsigned links;
    fs_id *stack;      /* root first */
    size_t *name_ends; /* of the real path at each level */
    size_t depth, stack_capacity, ends_capacity;
    char *real; /* the path walked, without links; owned */
    size_t real_capacity;
};

static void walk_free(struct walk_state *walk)
{
    free(walk->rest);
    free(walk->stack);
    free(walk->name_ends);
    free(walk->real);
}

static bool walk_push(struct walk_state *walk, fs_id id, const char *name, size_t len, struct error *err)
{
    size_t base = walk->depth ? walk->name_ends[walk->depth - 1] : 0;
    if (!mem_grow(&walk->stack, &walk->stack_capacity, walk->depth + 1, sizeof *walk->stack, err) ||
        !mem_grow(&walk->name_ends, &walk->ends_capacity, walk->depth + 1, sizeof *walk->name_ends, err) ||
        !mem_grow(&walk->real, &walk->real_capacity, base + len + 2, 1, err))
        return false;
    if (walk->depth) {
        walk->real[base] = '/';
        memcpy(walk->real + base + 1, name, len);
        base += len + 1;
    }
    walk->real[base] = 0;
    walk->stack[walk->depth] = id;
    walk->name_ends[walk->depth++] = base;
    return true;
}

static void walk_pop(struct walk_state *walk)
{
    if (walk->depth > 1)
        walk->depth--;
    walk->real[walk->name_ends[walk->depth - 1]] = 0;
}

static bool walk_begin(struct walk_state *walk, struct volume *volume, const char *path, struct error *err)
{
    *walk = (struct walk_state){.volume = volume};
    fs_id root;
    if (!file_root(volume, &root, err))
        return false;
    walk->at = walk->rest = mem_string(path, err);
    return walk->rest && walk_push(walk, root, "", 0, err);
}

/* Puts the target of the link `id` in front of what is left. */
static bool walk_link(struct walk_state *walk, fs_id id, struct error *err)
{
    if (++walk->links > MAX_LINKS)
        return fail(err, E_LOOP, "too many levels of symbolic links");
    char *target;
    if (!file_readlink(walk->volume, id, &target, err))
        return false;
    if (!*target) {
        free(target);
        return fail(err, E_NOENT, "no such file or directory");
    }
    if (strlen(target) + strlen(walk->at) > MAX_PATH) {
        free(target);
        return fail(err, E_LOOP, "symbolic links make a path longer than %d bytes", MAX_PATH);
    }
    char *joined = mem_printf(err, "%s/%s", target, walk->at);
    if (joined && target[0] == '/')
        while (walk->depth > 1)
            walk_pop(walk);
    free(target);
    if (!joined)
        return false;
    /* The slash was put there by us: a link at the very end stays at the end. */
    if (!*walk->at)
        joined[strlen(joined) - 1] = 0;
    free(walk->rest);
    walk->at = walk->rest = joined;
    return true;
}

/* Cuts the next component off; false at the end. *last: nothing but this is left, not even a slash. */
static bool walk_component(struct walk_state *walk, char **name, size_t *len, bool *last)
{
    while (*walk->at == '/')
        walk->at++;
    if (!*walk->at)
        return false;
    *name = walk->at;
    *len = strcspn(walk->at, "/");
    walk->at += *len;
    *last = !*walk->at;
    return true;
}

/* Walks to the end; the file is then on top of the stack. follow: also the last component. */
static bool walk_all(struct walk_state *walk, bool follow, struct error *err)
{
    char *name;
    size_t len;
    bool last;
    uint32_t type = S_IFDIR;
    while (walk_component(walk, &name, &len, &last)) {
        if (type != S_IFDIR)
            return fail(err, E_NOTDIR, "not a directory");
        if (is_dot(name, len))
            continue;
        if (is_dot_dot(name, len)) {
            walk_pop(walk);
            continue;
        }
        char keep = name[len];
        name[len] = 0;
        fs_id id;
        bool found = file_lookup_type(walk->volume, walk->stack[walk->depth - 1], name, &id, &type, err);
        bool link = found && type == S_IFLNK && (!last || follow);
        bool ok = found && (link || walk_push(walk, id, name, len, err));
        name[len] = keep;
        if (!ok)
            return false;
        if (link && !walk_link(walk, id, err))
            return false;
        if (link)
            type = S_IFDIR;
        if (!link && !last && type != S_IFDIR)
            return fail(err, E_NOTDIR, "not a directory");
    }
    return true;
}

bool path_lookup(struct volume *volume, const char *path, bool follow, fs_id *out, struct error *err)
{
    struct walk_state walk;
    bool ok = walk_begin(&walk, volume, path, err) && walk_all(&walk, follow, err);
    if (ok)
        *out = walk.stack[walk.depth - 1];
    walk_free(&walk);
    return ok;
}

bool path_real(struct volume *volume, const char *path, char **out, struct error *err)
{
    struct walk_state walk;
    bool ok = walk_begin(&walk, volume, path, err) && walk_all(&walk, true, err);
    if (ok) {
        *out = mem_string(walk.depth > 1 ? walk.real : "/", err);
        ok = *out != NULL;
    }
    walk_free(&walk);
    return ok;
}

bool path_parent(struct volume *volume, const char *path, fs_id *dir, char *name, size_t size,
                 struct error *err)
{
    char *above, *last;
    if (!path_split(path, &above, &last, err))
        return false;
    bool ok = false;
    size_t len = strlen(last);
    if (!len)
        fail(err, E_INVALID, "this is the root directory");
    else if (is_dot(last, len) || is_dot_dot(last, len))
        fail(err, E_INVALID, "the path must not end in '%s'", last);
    else if (len >= size)
        fail(err, E_NAME, "the name has %zu bytes, which no format holds", len);
    else
        ok = path_lookup(volume, above, true, dir, err);
    struct fs_attr attr;
    if (ok && (ok = file_attr(volume, *dir, &attr, err)) && !S_ISDIR(attr.mode))
        ok = fail(err, E_NOTDIR, "not a directory");
    if (ok)
        memcpy(name, last, len + 1);
    free(above);
    free(last);
    return ok;
}

bool path_find(const struct location *location, bool follow, fs_id *out, struct error *err)
{
    if (path_lookup(location->volume, location->path, follow, out, err))
        return true;
    struct error ignored;
    char *shown = location_text(location, &ignored);
    if (shown)
        because(err, "%s", shown);
    free(shown);
    return false;
}
