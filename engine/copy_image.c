/* The image sides of a copy: a tree of a volume as source and as target. */
#include "copy_ends.h"

#include "acl.h"
#include "alloc.h"
#include "bytes.h"
#include "path.h"
#include "report.h"

#include <stdlib.h>
#include <sys/stat.h>

/* ---- source -------------------------------------------------------------------------------------------- */

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

/* The current entry is a link to be followed: to a file, which it becomes, or to a directory, which is
 * walked. */
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

struct name_list {
    char **names;
    size_t count, capacity;
    struct error *err;
    bool ok;
};

static bool keep_name(const char *name, void *arg)
{
    struct name_list *list = arg;
    list->ok = mem_grow(&list->names, &list->capacity, list->count + 1, sizeof *list->names, list->err);
    if (!list->ok)
        return false;
    list->names[list->count] = mem_string(name, list->err);
    list->ok = list->names[list->count] != NULL;
    list->count += list->ok;
    return list->ok;
}

static void names_list_free(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
}

static bool emit_xattrs(struct volume *volume, fs_id id, copy_xattr_fn *emit, void *arg, struct error *err)
{
    struct name_list list = {.err = err, .ok = true};
    bool ok = file_xattr_list(volume, id, keep_name, &list, err) && list.ok;
    for (size_t i = 0; ok && i < list.count; i++) {
        void *value = NULL;
        size_t len;
        ok = file_xattr_get(volume, id, list.names[i], &value, &len, err) &&
             emit(arg, list.names[i], value, len, err);
        free(value);
    }
    names_list_free(&list);
    return ok;
}

static bool image_xattrs(struct copy_source *base, copy_xattr_fn *emit, void *arg, struct error *err)
{
    struct image_source *source = (struct image_source *)base;
    return emit_xattrs(source->volume, source->id, emit, arg, err);
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

/* ---- target -------------------------------------------------------------------------------------------- */

struct image_dir {
    fs_id id;
    bool created; /* by this copy: the source's names are all new in it */
    bool touched;
};

struct image_target {
    struct copy_target base;
    struct volume *volume;
    fs_id root; /* where link paths start */
    struct image_dir *stack;
    size_t depth, capacity;
    fs_id current; /* the file begun, the directory entered or the file made */
    bool replaced; /* the file begun was there before */
};

static struct image_dir *here(struct image_target *target)
{
    return &target->stack[target->depth - 1];
}

static bool push_dir(struct image_target *target, fs_id id, bool created, struct error *err)
{
    if (!mem_grow(&target->stack, &target->capacity, target->depth + 1, sizeof *target->stack, err))
        return false;
    target->stack[target->depth++] = (struct image_dir){.id = id, .created = created};
    return true;
}

static bool target_find(struct image_target *target, const char *name, fs_id *id, bool *there,
                        struct error *err)
{
    *there = false;
    if (here(target)->created && target->base.unique_names && !target->base.limits->case_insensitive)
        return true;
    if (!file_lookup(target->volume, here(target)->id, name, id, err))
        return err->kind == E_NOENT;
    *there = true;
    return true;
}

static bool image_stat(struct copy_target *base, const char *name, struct fs_attr *attr, bool *there,
                       struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    fs_id id;
    return target_find(target, name, &id, there, err) &&
           (!*there || file_attr(target->volume, id, attr, err));
}

static bool create_here(struct image_target *target, const char *name, const struct fs_attr *attr,
                        const char *link, struct error *err)
{
    const struct copy_options *options = target->base.options;
    fs_id dir = here(target)->id;
    here(target)->touched = true;
    if (!file_create_with(target->volume, dir, name, attr, link, FILE_ABSENT | FILE_KEEP_TIMES,
                          &target->current, err))
        return false;
    return copy_keeps(options) ||
           acl_inherit(target->volume, dir, target->current,
                       !options->mode && target->base.asked ? S_IFREG | target->base.asked : attr->mode,
                       options->mode, err);
}

static bool image_enter(struct copy_target *base, const char *name, const struct fs_attr *attr,
                        struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    fs_id id;
    bool there;
    if (!*name)
        return push_dir(target, here(target)->id, false, err);
    if (!target_find(target, name, &id, &there, err))
        return false;
    if (!there)
        return create_here(target, name, attr, NULL, err) && push_dir(target, target->current, true, err);
    struct fs_attr old;
    if (!file_attr(target->volume, id, &old, err))
        return false;
    if (S_ISLNK(old.mode) && !base->options->archive && target->depth == 1)
        return fail(err, E_EXIST, "there is a symbolic link of that name");
    if (!S_ISDIR(old.mode))
        return fail(err, E_EXIST, "there is a file of that name, which is not a directory");
    return push_dir(target, id, false, err);
}

static unsigned attr_mask(const struct image_target *target)
{
    const struct fs_limits *limits = target->base.limits;
    unsigned mask = ATTR_ATIME | ATTR_MTIME | ATTR_CTIME;
    if (limits->modes)
        mask |= ATTR_MODE;
    if (limits->owners)
        mask |= ATTR_UID | ATTR_GID;
    return mask;
}

static bool same_time(struct fs_time a, struct fs_time b)
{
    return a.sec == b.sec && a.nsec == b.nsec;
}

/* A mirror that finds nothing new shall change nothing. */
static bool set_if_other(struct image_target *target, fs_id id, const struct fs_attr *attr, struct error *err)
{
    const struct fs_limits *limits = target->base.limits;
    struct fs_attr old;
    if (!file_attr(target->volume, id, &old, err))
        return false;
    if (same_time(old.mtime, attr->mtime) && (!limits->modes || old.mode == attr->mode) &&
        (!limits->owners || (old.uid == attr->uid && old.gid == attr->gid)))
        return true;
    return file_setattr(target->volume, id, attr, attr_mask(target), err);
}

static bool image_leave(struct copy_target *base, const struct fs_attr *attr, struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    struct image_dir dir = *here(target);
    target->depth--;
    if (base->options->dry_run || (dir.created && !copy_keeps(base->options)))
        return true;
    if (copy_keeps(base->options))
        return set_if_other(target, dir.id, attr, err);
    return !dir.touched || file_modified(target->volume, dir.id, err);
}

static bool image_update(struct copy_target *base, const char *name, const struct fs_attr *attr,
                         struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    target->replaced = true;
    return file_lookup(target->volume, here(target)->id, name, &target->current, err) &&
           set_if_other(target, target->current, attr, err);
}

/* Removes what stands in the way of a new file; a directory is not removed. */
static bool make_room(struct image_target *target, const char *name, fs_id there, struct error *err)
{
    struct fs_attr old;
    if (!file_attr(target->volume, there, &old, err))
        return false;
    if (S_ISDIR(old.mode))
        return fail(err, E_ISDIR, "there is a directory of that name");
    return file_remove(target->volume, here(target)->id, name, err);
}

static bool image_begin(struct copy_target *base, const char *name, const struct fs_attr *attr,
                        struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    bool there;
    fs_id id;
    struct fs_attr old;
    target->replaced = false;
    if (attr->size > base->limits->max_file_size)
        return fail(err, E_TOOBIG, "the file has %llu bytes; %s holds at most %llu",
                    (unsigned long long)attr->size, base->type,
                    (unsigned long long)base->limits->max_file_size);
    if (!target_find(target, name, &id, &there, err))
        return false;
    if (there && (!file_attr(target->volume, id, &old, err)))
        return false;
    if (there && S_ISREG(old.mode) && !base->options->mirror) {
        target->current = id;
        target->replaced = true;
        return file_truncate(target->volume, id, 0, err);
    }
    if (there && !make_room(target, name, id, err))
        return false;
    struct fs_attr made = *attr;
    made.size = MIN_OF(attr->size, attr->allocated); /* holes need no space */
    return create_here(target, name, &made, NULL, err);
}

static bool image_write(struct copy_target *base, uint64_t off, const void *buf, size_t n, struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    return file_write(target->volume, target->current, off, buf, n, err);
}

/* A run of bytes that a file was given, to be filled from a source. */
struct filling {
    struct copy_source *source;
    uint64_t off; /* in the source */
    struct extent run;
    enum write_class class;
    uint64_t done; /* so far; stays short of run.len when the source has become shorter */
};

static bool fill_by_hand(struct copy_target *base, struct filling *fill, uint64_t end, struct error *err)
{
    while (fill->done < end) {
        size_t n = (size_t)MIN_OF(end - fill->done, base->buffer_size), got;
        if (!fill->source->ops->read(fill->source, fill->off + fill->done, base->buffer, n, &got, err))
            return false;
        if (got == 0)
            return true;
        if (!device_write(fill->run.device, fill->run.off + fill->done, base->buffer, got, fill->class, err))
            return false;
        fill->done += got;
    }
    return true;
}

/* The kernel copies from where a page begins. */
static bool fill_run(struct copy_target *base, struct filling *fill, struct error *err)
{
    const struct extent *run = &fill->run;
    uint64_t head = MIN_OF(round_up(run->off, COPY_ALIGNMENT) - run->off, run->len);
    size_t copied;
    if (!fill_by_hand(base, fill, head, err))
        return false;
    if (fill->done < head)
        return true;
    if (!device_copy_in(run->device, run->off + head, fill->source->ops->fd(fill->source), fill->off + head,
                        (size_t)(run->len - head), fill->class, &copied, err))
        return false;
    fill->done += copied;
    return fill_by_hand(base, fill, run->len, err);
}

static bool image_take(struct copy_target *base, struct copy_source *source, uint64_t off, uint64_t n,
                       uint64_t *done, struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    struct filling fill = {.source = source, .off = off};
    if (!file_extend(target->volume, target->current, off, n, &fill.run, &fill.class, err) ||
        !fill_run(base, &fill, err))
        return false;
    *done = fill.done;
    /* What nobody wrote must not become readable. */
    return fill.done == fill.run.len || file_truncate(target->volume, target->current, off + fill.done, err);
}

static bool image_finish(struct copy_target *base, const struct fs_attr *attr, uint64_t size,
                         struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    struct fs_attr now;
    if (size != UINT64_MAX && !file_truncate(target->volume, target->current, size, err))
        return false;
    if (!target->replaced)
        return true;
    if (copy_keeps(base->options))
        return file_setattr(target->volume, target->current, attr, attr_mask(target), err);
    if (base->options->mode || base->options->set_uid || base->options->set_gid) {
        now = *attr;
        unsigned mask = (base->options->mode ? ATTR_MODE : 0) | (base->options->set_uid ? ATTR_UID : 0) |
                        (base->options->set_gid ? ATTR_GID : 0);
        if (!file_setattr(target->volume, target->current, &now, mask, err))
            return false;
    }
    return file_modified(target->volume, target->current, err);
}

/* The command fails with it and is taken back as a whole. */
static void image_abandon(struct copy_target *base)
{
    (void)base;
}

static bool image_make(struct copy_target *base, const char *name, const struct fs_attr *attr,
                       const char *link, struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    bool there;
    fs_id id;
    return target_find(target, name, &id, &there, err) && (!there || make_room(target, name, id, err)) &&
           create_here(target, name, attr, link, err);
}

/* The file at a path below the base, without following any link. */
static bool find_below(struct image_target *target, const char *path, fs_id *out, struct error *err)
{
    fs_id id = target->root;
    while (*path) {
        size_t len = strcspn(path, "/");
        char *name = mem_string_n(path, len, err);
        bool ok = name && file_lookup(target->volume, id, name, &id, err);
        free(name);
        if (!ok)
            return false;
        path += len + (path[len] == '/');
    }
    *out = id;
    return true;
}

static bool image_link(struct copy_target *base, const char *name, const char *path, struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    fs_id id, old;
    bool there;
    if (!find_below(target, path, &id, err) || !target_find(target, name, &old, &there, err))
        return false;
    if (there && old == id)
        return true;
    if (there && !make_room(target, name, old, err))
        return false;
    here(target)->touched = true;
    return file_link_with(target->volume, id, here(target)->id, name, FILE_ABSENT | FILE_KEEP_TIMES, err);
}

/* A mirror that finds nothing new shall change nothing. */
static bool has_xattr(struct image_target *target, fs_id id, const char *name, const void *value, size_t len)
{
    void *old;
    size_t old_len;
    struct error ignored;
    if (!value)
        return false;
    if (!file_xattr_get(target->volume, id, name, &old, &old_len, &ignored))
        return false;
    bool same = old_len == len && memcmp(old, value, len) == 0;
    free(old);
    return same;
}

static bool image_xattr(struct copy_target *base, bool of_directory, const char *name, const void *value,
                        size_t len, struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    fs_id id = of_directory ? here(target)->id : target->current;
    bool may_be_there = of_directory ? !here(target)->created : target->replaced;
    return (may_be_there && has_xattr(target, id, name, value, len)) ||
           file_xattr_set(target->volume, id, name, value, len, err);
}

static bool image_held_xattrs(struct copy_target *base, const char *name, copy_xattr_fn *emit, void *arg,
                              struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    fs_id id = here(target)->id;
    return (!*name || file_lookup(target->volume, id, name, &id, err)) &&
           emit_xattrs(target->volume, id, emit, arg, err);
}

static bool list_entry(const struct fs_entry *entry, void *arg)
{
    return keep_name(entry->name, arg);
}

static bool image_list(struct copy_target *base, bool (*emit)(void *arg, const char *name, struct error *),
                       void *arg, struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    struct name_list list = {.err = err, .ok = true};
    bool ok = file_readdir(target->volume, here(target)->id, list_entry, &list, err) && list.ok;
    for (size_t i = 0; ok && i < list.count; i++)
        ok = emit(arg, list.names[i], err);
    names_list_free(&list);
    return ok;
}

static bool image_remove(struct copy_target *base, const char *name, struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    here(target)->touched = true;
    return tree_remove(target->volume, here(target)->id, name, name, NULL, NULL, err);
}

static void image_target_free(struct copy_target *base)
{
    struct image_target *target = (struct image_target *)base;
    free(target->stack);
    free(target);
}

static const struct copy_target_ops image_target_ops = {
    .stat = image_stat,
    .enter = image_enter,
    .leave = image_leave,
    .update = image_update,
    .begin = image_begin,
    .write = image_write,
    .take = image_take,
    .finish = image_finish,
    .abandon = image_abandon,
    .make = image_make,
    .link = image_link,
    .xattr = image_xattr,
    .xattrs = image_held_xattrs,
    .list = image_list,
    .remove = image_remove,
    .free = image_target_free,
};

/* The directory to copy into, and the name there when the path itself is not one. */
static bool find_place(struct volume *volume, const char *path, bool several, fs_id *dir, char **name,
                       struct error *err)
{
    struct fs_attr attr;
    *name = NULL;
    char buf[1024];
    if (path_lookup(volume, path, true, dir, err)) {
        if (!file_attr(volume, *dir, &attr, err))
            return false;
        if (S_ISDIR(attr.mode))
            return true;
        if (several)
            return fail(err, E_NOTDIR, "the target is not a directory");
        char *real;
        bool ok = path_real(volume, path, &real, err) && path_parent(volume, real, dir, buf, sizeof buf, err);
        free(real);
        return ok && (*name = mem_string(buf, err));
    }
    if (err->kind != E_NOENT)
        return false;
    size_t len = strlen(path);
    if (several || (len > 1 && path[len - 1] == '/'))
        return fail(err, E_NOENT, "no such directory");
    return path_parent(volume, path, dir, buf, sizeof buf, err) && (*name = mem_string(buf, err));
}

bool copy_image_target(struct volume *volume, const char *path, bool several, struct copy_target **out,
                       char **base_name, struct error *err)
{
    fs_id dir;
    if (!file_writable(volume, err) || !find_place(volume, path, several, &dir, base_name, err))
        return false;
    struct image_target *target = mem_new(sizeof *target, err);
    if (target) {
        target->base = (struct copy_target){.ops = &image_target_ops,
                                            .driver = volume->fs->driver,
                                            .limits = volume->fs->limits,
                                            .type = volume->fs->type};
        target->volume = volume;
        target->root = dir;
        if (push_dir(target, dir, false, err)) {
            *out = &target->base;
            return true;
        }
        image_target_free(&target->base);
    }
    free(*base_name);
    *base_name = NULL;
    return false;
}
