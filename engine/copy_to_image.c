/* The image side of a copy as its target: files made in a volume. */
#include "copy_ends.h"

#include "acl.h"
#include "alloc.h"
#include "bytes.h"
#include "name_list.h"
#include "path.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

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
        return fail(err, E_TOOBIG, "the file has %" PRIu64 " bytes; %s holds at most %" PRIu64, attr->size,
                    base->type, base->limits->max_file_size);
    if (!target_find(target, name, &id, &there, err))
        return false;
    if (there && !file_attr(target->volume, id, &old, err))
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
    if (size != UINT64_MAX && !file_truncate(target->volume, target->current, size, err))
        return false;
    if (!target->replaced)
        return true;
    if (copy_keeps(base->options))
        return file_setattr(target->volume, target->current, attr, attr_mask(target), err);
    if (base->options->mode || base->options->set_uid || base->options->set_gid) {
        unsigned mask = (base->options->mode ? ATTR_MODE : 0) | (base->options->set_uid ? ATTR_UID : 0) |
                        (base->options->set_gid ? ATTR_GID : 0);
        if (!file_setattr(target->volume, target->current, attr, mask, err))
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
           copy_image_xattrs(target->volume, id, emit, arg, err);
}

static bool list_entry(const struct fs_entry *entry, void *arg)
{
    return name_list_add(entry->name, arg);
}

static bool image_list(struct copy_target *base, bool (*emit)(void *arg, const char *name, struct error *),
                       void *arg, struct error *err)
{
    struct image_target *target = (struct image_target *)base;
    struct name_list list = {.err = err, .ok = true};
    bool ok = file_readdir(target->volume, here(target)->id, list_entry, &list, err) && list.ok;
    for (size_t i = 0; ok && i < list.count; i++)
        ok = emit(arg, list.names[i], err);
    name_list_free(&list);
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
