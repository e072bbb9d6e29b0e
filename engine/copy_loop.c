#include "copy_loop.h"

#include "alloc.h"
#include "bytes.h"
#include "clock.h"
#include "mode.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* From here on a file has a progress of its own; smaller ones are counted together. */
enum { LARGE_FILE = 16 << 20 };

/* ---- places in the target ------------------------------------------------------------------------------ */

static const char *name_of(const struct copy *copy, const struct copy_item *item)
{
    return item->depth ? item->name : copy->top_name;
}

/* copy->path becomes that of an item; *len is set to its length. */
static bool set_path(struct copy *copy, const struct copy_item *item, size_t *len, struct error *err)
{
    size_t at = item->depth ? copy->levels[item->depth - 1].path_len : 0;
    const char *name = name_of(copy, item);
    size_t name_len = strlen(name);
    if (!mem_grow(&copy->path, &copy->path_capacity, at + name_len + 2, 1, err))
        return false;
    if (at && name_len)
        copy->path[at++] = '/';
    memcpy(copy->path + at, name, name_len + 1);
    *len = at + name_len;
    return true;
}

void copy_level_clear(struct level *level)
{
    for (size_t i = 0; i < level->seen_count; i++)
        free(level->seen[i]);
    level->seen_count = 0;
}

static bool level_open(struct copy *copy, const struct copy_item *item, size_t path_len, bool created,
                       struct error *err)
{
    if (!mem_grow(&copy->levels, &copy->level_capacity, item->depth + 1, sizeof *copy->levels, err))
        return false;
    struct level *level = &copy->levels[item->depth];
    copy_level_clear(level);
    level->path_len = path_len;
    level->created = created;
    return true;
}

static bool note_seen(struct copy *copy, const struct copy_item *item, struct error *err)
{
    if (!copy->options->remove_extra || item->depth == 0)
        return true;
    struct level *level = &copy->levels[item->depth - 1];
    if (!mem_grow(&level->seen, &level->seen_capacity, level->seen_count + 1, sizeof *level->seen, err))
        return false;
    level->seen[level->seen_count] = mem_string(item->name, err);
    return level->seen[level->seen_count] && ++level->seen_count;
}

static void did(const struct copy *copy, enum copy_action action)
{
    if (copy->options->did)
        copy->options->did(copy->options->arg, action, copy->path);
}

/* ---- what a file becomes ------------------------------------------------------------------------------- */

static struct fs_time clamp_time(const struct fs_limits *limits, struct fs_time time)
{
    if (time.sec < limits->time_min)
        return (struct fs_time){limits->time_min, 0};
    if (time.sec > limits->time_max)
        return (struct fs_time){limits->time_max, 0};
    return time;
}

bool copy_target_attr(const struct copy *copy, const struct copy_item *item, struct fs_attr *out,
                      struct error *err)
{
    const struct copy_options *options = copy->options;
    const struct fs_limits *limits = copy->target->limits;
    struct fs_time now = clamp_time(limits, clock_now());
    *out = item->attr;
    out->nlink = 1;
    out->flags = 0;
    out->ctime = out->crtime = now;
    if (copy_keeps(options)) {
        out->atime = clamp_time(limits, out->atime);
        out->mtime = clamp_time(limits, out->mtime);
    } else {
        out->mode &= S_IFMT | 0777;
        out->uid = out->gid = 0;
        out->atime = out->mtime = now;
    }
    if (copy_keeps(options) && copy->source->driver && copy->target->driver) {
        out->ctime = clamp_time(limits, item->attr.ctime);
        if (item->attr.has_crtime)
            out->crtime = clamp_time(limits, item->attr.crtime);
    }
    if (S_ISLNK(out->mode))
        out->mode = S_IFLNK | 0777;
    if (options->set_uid)
        out->uid = options->uid;
    if (options->set_gid)
        out->gid = options->gid;
    uint32_t bits;
    if (!options->mode || S_ISLNK(out->mode))
        return true;
    if (!mode_apply(options->mode, out->mode, S_ISDIR(out->mode), 0, &bits, err))
        return false;
    out->mode = (out->mode & S_IFMT) | bits;
    return true;
}

/* ---- regular files ------------------------------------------------------------------------------------- */

/* The next bytes of a run of data; *got 0: there are none any more. */
static bool copy_piece(struct copy *copy, uint64_t off, uint64_t len, bool known, uint64_t *got,
                       struct error *err)
{
    struct copy_source *source = copy->source;
    struct copy_target *target = copy->target;
    *got = 0;
    if (known && len >= COPY_TAKE_LEAST && source->ops->fd && target->ops->take &&
        !target->ops->take(target, source, off, MIN_OF(len, (uint64_t)COPY_TAKE), got, err))
        return false;
    if (*got > 0)
        return true;
    size_t some;
    if (!source->ops->read(source, off, copy->buffer, (size_t)MIN_OF(len, copy->buffer_size), &some, err))
        return false;
    *got = some;
    return some == 0 || target->ops->write(target, off, copy->buffer, some, err);
}

/* off: in the present file, of whose data `done` bytes are copied. */
static void show_progress(const struct copy *copy, const struct copy_item *item, uint64_t off, uint64_t done)
{
    if (copy->total)
        session_progress(copy->session, copy->what,
                         MIN_OF(copy->passed + MIN_OF(done, copy_weight(item)), copy->total), copy->total);
    else if (item->attr.size >= LARGE_FILE)
        session_progress(copy->session, item->path, off, item->attr.size);
    else
        session_progress(copy->session, "copied", copy->tally->bytes, 0);
}

static bool copy_contents(struct copy *copy, const struct copy_item *item, uint64_t *size, struct error *err)
{
    struct copy_source *source = copy->source;
    uint64_t off = 0, known = item->attr.size, before = copy->tally->bytes;
    bool hole = false;
    *size = UINT64_MAX;
    size_t wanted = known ? (size_t)MIN_OF(known, (uint64_t)COPY_BUFFER) : COPY_BUFFER / 16;
    if (!mem_grow(&copy->buffer, &copy->buffer_size, wanted, 1, err))
        return false;
    copy->target->buffer = copy->buffer;
    copy->target->buffer_size = copy->buffer_size;
    for (;;) {
        uint64_t len = copy->buffer_size;
        if (known && off >= known)
            break;
        if (!interrupt_check(err) || (known && !source->ops->run(source, off, &len, &hole, err)))
            return false;
        if (hole) {
            off += len;
            continue;
        }
        uint64_t got;
        if (!copy_piece(copy, off, len, known > 0, &got, err))
            return false;
        if (got == 0)
            break; /* a pipe's end, or a file that became shorter while it was read */
        off += got;
        copy->tally->bytes += got;
        show_progress(copy, item, off, copy->tally->bytes - before);
    }
    if (hole)
        *size = off;
    return true;
}

static bool copy_regular(struct copy *copy, const struct copy_item *item, const struct fs_attr *attr,
                         struct error *err)
{
    struct copy_target *target = copy->target;
    uint64_t size;
    if (!target->ops->begin(target, name_of(copy, item), attr, err))
        return false;
    if (copy_contents(copy, item, &size, err) && copy_xattrs(copy, item, err) &&
        target->ops->finish(target, attr, size, err))
        return true;
    target->ops->abandon(target);
    return false;
}

/* ---- one item ------------------------------------------------------------------------------------------ */

/* Errors after which nothing else can go well. */
static bool is_fatal(enum error_kind kind)
{
    return kind == E_NOMEM || kind == E_INTERRUPTED || kind == E_NOSPACE || kind == E_HOSTFULL ||
           kind == E_LOSSY;
}

/* The object failed and the copy goes on, unless going on makes no sense. Always at item->path. */
bool copy_object_failed(struct copy *copy, const struct copy_item *item, bool in_target, struct error *err)
{
    /* A change of an image that failed half-way is taken back with the whole command. */
    if (is_fatal(err->kind) || (in_target && copy->target->driver))
        return err->kind == E_INTERRUPTED ? false : because(err, "%s", item->path);
    copy->tally->failed++;
    copy->options->complain(copy->options->arg, item->path, err);
    return true;
}

/* A name that the target cannot hold. */
static bool name_failed(struct copy *copy, const struct copy_item *item, struct error *err)
{
    if (copy->options->lossy && copy->target->driver) {
        copy_lost(copy->tally, LOSS_NAME, item->path);
        return true;
    }
    if (copy->target->driver) {
        size_t used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used, " (--lossy leaves it out)");
    }
    return copy_object_failed(copy, item, true, err);
}

static bool copy_special(struct copy *copy, const struct copy_item *item, const struct fs_attr *attr,
                         struct error *err)
{
    struct copy_target *target = copy->target;
    char *link = NULL;
    if (S_ISLNK(attr->mode) && !copy->source->ops->readlink(copy->source, &link, err))
        return false;
    bool ok = target->ops->make(target, name_of(copy, item), attr, link, err) && copy_xattrs(copy, item, err);
    free(link);
    return ok;
}

/* A file that has the same contents as far as size and time tell. */
static bool is_current(const struct copy *copy, const struct fs_attr *attr, const struct fs_attr *old)
{
    const struct fs_limits *limits = copy->target->limits;
    if ((attr->mode & S_IFMT) != (old->mode & S_IFMT))
        return false;
    if ((S_ISREG(attr->mode) || S_ISLNK(attr->mode)) && attr->size != old->size)
        return false;
    if (S_ISCHR(attr->mode) || S_ISBLK(attr->mode))
        return attr->rdev_major == old->rdev_major && attr->rdev_minor == old->rdev_minor;
    if (limits->time_ns > 1000000000) {
        int64_t step = limits->time_ns / 1000000000;
        return attr->mtime.sec / step == old->mtime.sec / step;
    }
    uint32_t step = MAX_OF(limits->time_ns, 1);
    return attr->mtime.sec == old->mtime.sec && attr->mtime.nsec / step == old->mtime.nsec / step;
}

static bool same_permissions(const struct copy *copy, const struct fs_attr *attr, const struct fs_attr *old)
{
    const struct fs_limits *limits = copy->target->limits;
    return (!limits->modes || S_ISLNK(attr->mode) || attr->mode == old->mode) &&
           (!limits->owners || (attr->uid == old->uid && attr->gid == old->gid));
}

/*
 * Mirror: *done when nothing more is to do for this file. A thing of another type in its place goes.
 */
static bool mirror_file(struct copy *copy, const struct copy_item *item, const struct fs_attr *attr,
                        bool *done, struct error *err)
{
    struct copy_target *target = copy->target;
    const char *name = name_of(copy, item);
    struct fs_attr old;
    bool there = false;
    if (!copy->hidden_from && !target->ops->stat(target, name, &old, &there, err))
        return false;
    bool current = there && is_current(copy, attr, &old),
         same = current && same_permissions(copy, attr, &old);
    if (same && !copy_same_xattrs(copy, item, name, &same, err))
        return false;
    *done = same || (current && S_ISLNK(attr->mode)) || copy->options->dry_run;
    if (same)
        return true;
    did(copy, there ? COPY_CHANGED : COPY_CREATED);
    if (copy->options->dry_run)
        return true;
    if (current && !S_ISLNK(attr->mode)) {
        *done = true;
        return target->ops->update(target, name, attr, err) && copy_drop_xattrs(copy, name, false, err) &&
               copy_xattrs(copy, item, err);
    }
    return !there || !S_ISDIR(old.mode) || target->ops->remove(target, name, err);
}

static bool existing_stays(struct copy *copy, const struct copy_item *item, bool *stays, struct error *err)
{
    struct fs_attr old;
    const struct fs_time *new_time = &item->attr.mtime;
    if (!copy->options->no_clobber && !copy->options->update)
        return true;
    if (!copy->target->ops->stat(copy->target, name_of(copy, item), &old, stays, err))
        return false;
    bool newer = *stays && (new_time->sec > old.mtime.sec ||
                            (new_time->sec == old.mtime.sec && new_time->nsec > old.mtime.nsec));
    *stays &= copy->options->no_clobber || !newer;
    return true;
}

/* Without -r and -a, devices and pipes of the host are read, as cp does. */
static bool reads_special(const struct copy *copy, uint32_t mode)
{
    return !copy->options->recursive && !copy->options->archive && !copy->source->driver &&
           (S_ISFIFO(mode) || S_ISCHR(mode) || S_ISBLK(mode));
}

/* A further name of a file that was copied already. *done: it is a link now. */
static bool try_link(struct copy *copy, const struct copy_item *item, bool *done, struct error *err)
{
    *done = false;
    if (!copy->options->archive || item->attr.nlink < 2)
        return true;
    const char *first = first_names_find(&copy->first, item->space, item->attr.id);
    if (!first)
        return first_names_add(&copy->first, item->space, item->attr.id, copy->path, err);
    if (!copy->target->limits->hard_links) {
        copy_lost(copy->tally, LOSS_HARD_LINK, item->path);
        return true;
    }
    *done = true;
    return copy->scanning || copy->target->ops->link(copy->target, name_of(copy, item), first, err);
}

static bool put_file(struct copy *copy, const struct copy_item *item, struct fs_attr *attr, struct error *err)
{
    bool done = false;
    if (copy->options->mirror && !mirror_file(copy, item, attr, &done, err))
        return false;
    if (done && item->attr.nlink > 1 && !first_names_find(&copy->first, item->space, item->attr.id))
        return first_names_add(&copy->first, item->space, item->attr.id, copy->path, err);
    if (!done && !existing_stays(copy, item, &done, err))
        return false;
    if (!done && !try_link(copy, item, &done, err))
        return false;
    if (done)
        return true;
    if (S_ISREG(attr->mode)) {
        copy->tally->files++;
        return copy_regular(copy, item, attr, err);
    }
    copy->tally->others++;
    return copy_special(copy, item, attr, err);
}

static bool scan_losses(struct copy *copy, const struct copy_item *item, struct error *err)
{
    bool done;
    return !copy->options->archive ||
           (copy_find_losses(copy->target->limits, copy->source, item, copy->tally, err) &&
            (S_ISDIR(item->attr.mode) || try_link(copy, item, &done, err)));
}

static bool copy_file(struct copy *copy, struct copy_item *item, struct error *err)
{
    struct fs_attr attr;
    enum copy_loss loss;
    size_t len;
    if (reads_special(copy, item->attr.mode)) {
        item->attr.mode = S_IFREG | (item->attr.mode & 0666);
        item->attr.size = 0;
    }
    if (!set_path(copy, item, &len, err) || !note_seen(copy, item, err))
        return false;
    if (copy->scanning)
        return scan_losses(copy, item, err) || copy_object_failed(copy, item, false, err);
    if (copy->lacking && copy->options->archive &&
        !copy_find_losses(copy->target->limits, copy->source, item, copy->tally, err))
        return copy_object_failed(copy, item, false, err);
    if (!copy_type_fits(copy->target->limits, item->attr.mode, &loss)) {
        if (!copy->options->archive)
            copy_lost(copy->tally, loss, item->path);
        return true;
    }
    bool regular = S_ISREG(item->attr.mode);
    if (regular && !copy->options->dry_run && !copy->source->ops->open(copy->source, err))
        return copy_object_failed(copy, item, false, err);
    bool ok = copy_target_attr(copy, item, &attr, err) && put_file(copy, item, &attr, err);
    if (regular && !copy->options->dry_run)
        copy->source->ops->close(copy->source);
    if (ok)
        return true;
    return err->kind == E_NAME ? name_failed(copy, item, err) : copy_object_failed(copy, item, true, err);
}

/* Mirror: does a directory come new, or replace something else? */
static bool mirror_dir(struct copy *copy, const struct copy_item *item, bool *created, struct error *err)
{
    struct copy_target *target = copy->target;
    const char *name = name_of(copy, item);
    struct fs_attr old;
    bool there = false;
    *created = false;
    if (!*name)
        return true;
    if (!copy->hidden_from && !target->ops->stat(target, name, &old, &there, err))
        return false;
    *created = !there || !S_ISDIR(old.mode);
    if (!*created) {
        struct fs_attr attr;
        bool same;
        if (!copy_target_attr(copy, item, &attr, err) || !copy_same_xattrs(copy, item, name, &same, err))
            return false;
        if (!same || !same_permissions(copy, &attr, &old))
            did(copy, COPY_CHANGED);
        return true;
    }
    did(copy, there ? COPY_CHANGED : COPY_CREATED);
    if (copy->options->dry_run && !copy->hidden_from)
        copy->hidden_from = item->depth + 1;
    return !there || copy->options->dry_run || target->ops->remove(target, name, err);
}

static bool enter_dir(struct copy *copy, const struct copy_item *item, struct error *err)
{
    struct fs_attr attr;
    size_t len;
    bool created = false;
    if (!set_path(copy, item, &len, err) || !note_seen(copy, item, err) ||
        !copy_target_attr(copy, item, &attr, err))
        return false;
    if (copy->options->mirror && !mirror_dir(copy, item, &created, err))
        return false;
    if (!level_open(copy, item, len, created, err))
        return false;
    if (copy->hidden_from)
        return true;
    if (!copy->target->ops->enter(copy->target, name_of(copy, item), &attr, err))
        return false;
    copy->tally->directories++;
    return true;
}

static bool copy_dir(struct copy *copy, struct copy_item *item, struct error *err)
{
    size_t len;
    if (!copy->options->recursive && !copy->options->archive) {
        copy->source->ops->skip(copy->source);
        fail(err, E_ISDIR, "is a directory (-r copies directories)");
        return copy_object_failed(copy, item, false, err);
    }
    if (copy->scanning) {
        if (!set_path(copy, item, &len, err) || !level_open(copy, item, len, false, err))
            return false;
        return scan_losses(copy, item, err) || copy_object_failed(copy, item, false, err);
    }
    if (copy->lacking && copy->options->archive &&
        !copy_find_losses(copy->target->limits, copy->source, item, copy->tally, err))
        return copy_object_failed(copy, item, false, err);
    if (enter_dir(copy, item, err))
        return true;
    copy->source->ops->skip(copy->source);
    return err->kind == E_NAME ? name_failed(copy, item, err) : copy_object_failed(copy, item, true, err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct extra {
    struct copy *copy;
    struct level *level;
};

static bool remove_if_extra(void *arg, const char *name, struct error *err)
{
    struct extra *extra = arg;
    struct copy *copy = extra->copy;
    struct level *level = extra->level;
    if (level->seen_count &&
        bsearch(&name, level->seen, level->seen_count, sizeof *level->seen, compare_names))
        return true;
    size_t at = level->path_len;
    if (!mem_grow(&copy->path, &copy->path_capacity, at + strlen(name) + 2, 1, err))
        return false;
    sprintf(copy->path + at, "%s%s", at ? "/" : "", name);
    did(copy, COPY_REMOVED);
    return copy->options->dry_run || copy->target->ops->remove(copy->target, name, err);
}

static bool leave_dir(struct copy *copy, const struct copy_item *item, struct error *err)
{
    struct level *level = &copy->levels[item->depth];
    struct fs_attr attr;
    if (copy->scanning)
        return true;
    if (copy->hidden_from) {
        if (item->depth + 1 == copy->hidden_from)
            copy->hidden_from = 0;
        return true;
    }
    if (copy->options->remove_extra) {
        struct extra extra = {copy, level};
        if (level->seen_count)
            qsort(level->seen, level->seen_count, sizeof *level->seen, compare_names);
        if (!copy->target->ops->list(copy->target, remove_if_extra, &extra, err))
            return because(err, "%s", item->path);
    }
    if (!copy_target_attr(copy, item, &attr, err))
        return false;
    /* Attributes come last: a default ACL must not be inherited by what is copied into it. */
    bool ok = copy->options->dry_run || ((!copy->options->mirror || copy_drop_xattrs(copy, "", true, err)) &&
                                         copy_xattrs(copy, item, err));
    ok = copy->target->ops->leave(copy->target, &attr, err) && ok;
    return ok || copy_object_failed(copy, item, true, err);
}

/* ---- the loop ----------------------------------------------------------------------------------------- */

bool copy_items(struct copy *copy, struct error *err)
{
    struct copy_item *item;
    for (;;) {
        if (!copy->source->ops->next(copy->source, &item, err))
            return false;
        bool ok = true;
        switch (item->event) {
        case WALK_END:
            return true;
        case WALK_FILE:
            ok = copy_file(copy, item, err);
            copy->passed += copy->scanning ? 0 : copy_weight(item);
            break;
        case WALK_DIR:
            ok = copy_dir(copy, item, err);
            break;
        case WALK_LEAVE:
            ok = leave_dir(copy, item, err);
            break;
        case WALK_FAULT:
            ok = copy->scanning || copy_object_failed(copy, item, false, &item->fault);
            if (!ok)
                *err = item->fault;
            break;
        }
        if (!ok)
            return false;
    }
}
