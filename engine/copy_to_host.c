/*
 * A directory of the host as the target of a copy. It is never left: every name of an image is one component,
 * made or opened below an open directory and never through a symbolic link.
 */
#include "copy_ends.h"

#include "alloc.h"
#include "bytes.h"
#include "host_walk.h"
#include "path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { OPEN_DIRS = 48 };

struct host_dir {
    int fd; /* -1: given up for now */
    dev_t dev;
    ino_t ino;
    bool created;
};

struct host_target {
    struct copy_target base;
    struct host_dir *stack;
    size_t depth, capacity;
    mode_t umask_bits;
    bool named;      /* the person gave the very name of the file to write */
    int fd;          /* of the file begun, or -1 */
    char name[256];  /* of the file begun or made; empty: nothing was made */
    char temp[32];   /* its name until it is complete; empty: its own */
    bool made;       /* the file begun was created by us */
    bool owner_lost; /* set-id bits go with the owner */
};

static const struct fs_limits host_limits = {
    .max_file_size = INT64_MAX,
    .max_name = 255,
    .owners = true,
    .modes = true,
    .hard_links = true,
    .symlinks = true,
    .devices = true,
    .fifos = true,
    .xattrs = true,
    .sparse = true,
    .time_ns = 1,
    .time_min = INT64_MIN,
    .time_max = INT64_MAX,
};

static struct host_dir *here(struct host_target *target)
{
    return &target->stack[target->depth - 1];
}

/* Takes the descriptor. */
static bool push_fd(struct host_target *target, int fd, bool created, struct error *err)
{
    struct stat st;
    if (!mem_grow(&target->stack, &target->capacity, target->depth + 1, sizeof *target->stack, err)) {
        close(fd);
        return false;
    }
    if (fstat(fd, &st) != 0) {
        fail_errno(err, errno, "cannot look at the directory");
        close(fd);
        return false;
    }
    if (target->depth > OPEN_DIRS) { /* never the base, where link paths start */
        struct host_dir *old = &target->stack[target->depth - OPEN_DIRS];
        if (old->fd >= 0)
            close(old->fd);
        old->fd = -1;
    }
    target->stack[target->depth++] = (struct host_dir){fd, st.st_dev, st.st_ino, created};
    return true;
}

/* One component, nothing that leads anywhere else. */
static bool check_name(struct host_target *target, const char *name, struct error *err)
{
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
        return fail(err, E_NAME, "refused: such a name would lead out of the target");
    if (strlen(name) >= sizeof target->name)
        return fail(err, E_NAME, "refused: the name is too long for the host");
    return true;
}

static bool host_stat(struct copy_target *base, const char *name, struct fs_attr *attr, bool *there,
                      struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    struct stat st;
    *there = false;
    if (!check_name(target, name, err))
        return false;
    if (fstatat(here(target)->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT || fail_errno(err, errno, "cannot look at it on the host");
    *there = true;
    copy_attr_of_stat(&st, attr);
    return true;
}

/* Changes the owner; where that is not allowed it is counted. */
static void set_owner(struct host_target *target, int dir_fd, const char *name, const struct fs_attr *attr)
{
    target->owner_lost = false;
    if (!copy_keeps(target->base.options) && !target->base.options->set_uid && !target->base.options->set_gid)
        return;
    if (fchownat(dir_fd, name, attr->uid, attr->gid, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH)) == 0)
        return;
    target->owner_lost = true;
    copy_lost(target->base.tally, LOSS_OWNER, *name ? name : target->name);
}

static mode_t final_mode(const struct host_target *target, const struct fs_attr *attr)
{
    const struct copy_options *options = target->base.options;
    mode_t mode = attr->mode & 07777;
    if (!copy_keeps(options) && !options->mode)
        mode &= ~target->umask_bits;
    return target->owner_lost ? mode & 01777 : mode;
}

static bool host_enter(struct copy_target *base, const char *name, const struct fs_attr *attr,
                       struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    int dir_fd = here(target)->fd, fd;
    if (!*name) {
        fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
        return fd >= 0 ? push_fd(target, fd, false, err) : fail_errno(err, errno, "cannot use the directory");
    }
    if (!check_name(target, name, err))
        return false;
    bool created = mkdirat(dir_fd, name, 0700) == 0;
    if (!created && errno != EEXIST)
        return fail_errno(err, errno, "cannot make the directory");
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return fail(err, E_EXIST, "refused: what has this name on the host is not a directory");
    if (fd < 0)
        return fail_errno(err, errno, "cannot open the directory");
    snprintf(target->name, sizeof target->name, "%s", name);
    if (created)
        set_owner(target, fd, "", attr);
    return push_fd(target, fd, created, err);
}

static void set_times(int fd, const struct fs_attr *attr)
{
    const struct timespec times[2] = {{attr->atime.sec, attr->atime.nsec},
                                      {attr->mtime.sec, attr->mtime.nsec}};
    /* A host filesystem that cannot hold a time keeps the nearest it has; there is nothing to say about. */
    if (futimens(fd, times) != 0)
        return;
}

static bool finish_dir(struct host_target *target, const struct host_dir *dir, const struct fs_attr *attr,
                       struct error *err)
{
    const struct copy_options *options = target->base.options;
    if (options->dry_run)
        return true;
    if (!dir->created && copy_keeps(options))
        set_owner(target, dir->fd, "", attr);
    if ((dir->created || copy_keeps(options)) && fchmod(dir->fd, final_mode(target, attr)) != 0)
        return fail_errno(err, errno, "cannot set the mode");
    if (copy_keeps(options))
        set_times(dir->fd, attr);
    return true;
}

static bool host_leave(struct copy_target *base, const struct fs_attr *attr, struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    struct host_dir dir = *here(target);
    target->depth--;
    bool ok = finish_dir(target, &dir, attr, err);
    struct host_dir *above = here(target);
    if (above->fd < 0) {
        struct error lost;
        above->fd = host_reopen_parent(dir.fd, above->dev, above->ino, ok ? err : &lost);
        ok = ok && above->fd >= 0;
    }
    close(dir.fd);
    return ok;
}

static bool host_update(struct copy_target *base, const char *name, const struct fs_attr *attr,
                        struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    if (!check_name(target, name, err))
        return false;
    int fd = openat(here(target)->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(err, errno, "cannot open it");
    snprintf(target->name, sizeof target->name, "%s", name);
    set_owner(target, fd, "", attr);
    bool ok = fchmod(fd, final_mode(target, attr)) == 0 || fail_errno(err, errno, "cannot set the mode");
    set_times(fd, attr);
    close(fd);
    return ok;
}

static int open_new(int dir_fd, const char *name, mode_t mode)
{
    return openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
}

/* Something has the name already: it is replaced when the new file is complete. */
static bool begin_replacing(struct host_target *target, const char *name, struct error *err)
{
    int dir_fd = here(target)->fd;
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_errno(err, errno, "cannot look at it on the host");
    if (S_ISDIR(st.st_mode))
        return fail(err, E_ISDIR, "there is a directory of that name");
    if (target->named && target->depth == 1 && !S_ISREG(st.st_mode)) {
        /* The person said: through this link, into this pipe or device. */
        target->fd = openat(dir_fd, name, O_WRONLY | O_TRUNC | O_CLOEXEC);
        return target->fd >= 0 || fail_errno(err, errno, "cannot open it on the host");
    }
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        snprintf(target->temp, sizeof target->temp, ".dish-%x-%u", (unsigned)getpid(), attempt);
        target->fd = open_new(dir_fd, target->temp, S_ISREG(st.st_mode) ? st.st_mode & 0777 : 0600);
        if (target->fd >= 0 || errno != EEXIST)
            break;
    }
    target->made = target->fd >= 0;
    return target->fd >= 0 || fail_errno(err, errno, "cannot make a file on the host");
}

static bool host_begin(struct copy_target *base, const char *name, const struct fs_attr *attr,
                       struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    if (!check_name(target, name, err))
        return false;
    snprintf(target->name, sizeof target->name, "%s", name);
    target->temp[0] = 0;
    mode_t mode = copy_keeps(base->options) || base->options->mode ? 0600 : attr->mode & 0777;
    target->fd = open_new(here(target)->fd, name, mode);
    target->made = target->fd >= 0;
    if (target->fd < 0 && errno != EEXIST)
        return fail_errno(err, errno, "cannot make the file on the host");
    if (target->fd < 0 && !begin_replacing(target, name, err))
        return false;
    if (target->made)
        set_owner(target, target->fd, "", attr);
    return true;
}

static bool host_write(struct copy_target *base, uint64_t off, const void *buf, size_t n, struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    const char *at = buf;
    while (n > 0) {
        ssize_t done = target->made ? pwrite(target->fd, at, n, (off_t)off) : write(target->fd, at, n);
        if (done < 0 && errno == EINTR && interrupt_check(err))
            continue;
        if (done < 0)
            return fail_errno(err, errno, "cannot write on the host");
        at += done;
        off += (uint64_t)done;
        n -= (size_t)done;
    }
    return true;
}

static bool host_finish(struct copy_target *base, const struct fs_attr *attr, uint64_t size,
                        struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    const struct copy_options *options = base->options;
    if (size != UINT64_MAX && target->made && (size > INT64_MAX || ftruncate(target->fd, (off_t)size) != 0))
        return fail_errno(err, size > INT64_MAX ? EFBIG : errno,
                          "cannot make a file of %" PRIu64 " bytes on the host", size);
    if (target->made && (copy_keeps(options) || options->mode) &&
        fchmod(target->fd, final_mode(target, attr)) != 0)
        return fail_errno(err, errno, "cannot set the mode");
    if (target->made && copy_keeps(options))
        set_times(target->fd, attr);
    int fd = target->fd;
    target->fd = -1;
    if (close(fd) != 0)
        return fail_errno(err, errno, "cannot write on the host");
    if (target->temp[0] && renameat(here(target)->fd, target->temp, here(target)->fd, target->name) != 0)
        return fail_errno(err, errno, "cannot replace the file on the host");
    return true;
}

static void host_abandon(struct copy_target *base)
{
    struct host_target *target = (struct host_target *)base;
    if (target->fd >= 0)
        close(target->fd);
    target->fd = -1;
    if (target->made)
        (void)unlinkat(here(target)->fd, target->temp[0] ? target->temp : target->name, 0);
}

static int make_node(int dir_fd, const char *name, const struct fs_attr *attr, const char *link, mode_t mode)
{
    if (S_ISLNK(attr->mode))
        return symlinkat(link, dir_fd, name);
    return mknodat(dir_fd, name, (attr->mode & S_IFMT) | mode, makedev(attr->rdev_major, attr->rdev_minor));
}

/* Removes what is no directory and has the name. */
static bool clear_name(int dir_fd, const char *name, struct error *err)
{
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
        return fail(err, E_ISDIR, "there is a directory of that name");
    return unlinkat(dir_fd, name, 0) == 0 || fail_errno(err, errno, "cannot replace it on the host");
}

static bool host_make(struct copy_target *base, const char *name, const struct fs_attr *attr,
                      const char *link, struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    int dir_fd = here(target)->fd;
    target->name[0] = 0;
    if (!check_name(target, name, err))
        return false;
    mode_t mode = attr->mode & 0777;
    int result = make_node(dir_fd, name, attr, link, mode);
    if (result != 0 && errno == EEXIST) {
        if (!clear_name(dir_fd, name, err))
            return false;
        result = make_node(dir_fd, name, attr, link, mode);
    }
    if (result != 0 && (errno == EPERM || errno == EACCES) && (S_ISCHR(attr->mode) || S_ISBLK(attr->mode))) {
        copy_lost(base->tally, LOSS_DEVICE, name);
        return true;
    }
    if (result != 0)
        return fail_errno(err, errno, "cannot make the %s on the host", file_type_name(attr->mode));
    snprintf(target->name, sizeof target->name, "%s", name);
    set_owner(target, dir_fd, name, attr);
    if (!copy_keeps(base->options))
        return true;
    if (!S_ISLNK(attr->mode) && fchmodat(dir_fd, name, final_mode(target, attr), 0) != 0)
        return fail_errno(err, errno, "cannot set the mode");
    const struct timespec times[2] = {{attr->atime.sec, attr->atime.nsec},
                                      {attr->mtime.sec, attr->mtime.nsec}};
    return utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) == 0 || errno == EINVAL ||
           fail_errno(err, errno, "cannot set the times");
}

/* Opens the directory part of a path below the base, a component at a time; *last is its final one. */
static int open_below(struct host_target *target, const char *path, const char **last, struct error *err)
{
    int fd = fcntl(target->stack[0].fd, F_DUPFD_CLOEXEC, 0);
    char name[256];
    while (fd >= 0 && strchr(path, '/')) {
        size_t len = strcspn(path, "/");
        snprintf(name, sizeof name, "%.*s", (int)MIN_OF(len, sizeof name - 1), path);
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(fd);
        fd = next;
        path += len + 1;
    }
    *last = path;
    if (fd < 0)
        fail_errno(err, errno, "cannot reach its first name");
    return fd;
}

static bool host_link(struct copy_target *base, const char *name, const char *path, struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    int dir_fd = here(target)->fd;
    const char *last;
    if (!check_name(target, name, err))
        return false;
    int fd = open_below(target, path, &last, err);
    if (fd < 0)
        return false;
    bool ok = linkat(fd, last, dir_fd, name, 0) == 0;
    if (!ok && errno == EEXIST)
        ok = clear_name(dir_fd, name, err) && linkat(fd, last, dir_fd, name, 0) == 0;
    if (!ok && err->kind != E_ISDIR)
        fail_errno(err, errno, "cannot make the hard link on the host");
    close(fd);
    return ok;
}

static bool host_xattr(struct copy_target *base, bool of_directory, const char *name, const void *value,
                       size_t len, struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    int result;
    if (of_directory || target->fd >= 0) {
        int fd = of_directory ? here(target)->fd : target->fd;
        result = value ? fsetxattr(fd, name, value, len, 0) : fremovexattr(fd, name);
    } else if (!target->name[0]) {
        return true; /* what could not be made was counted already */
    } else {
        char path[PATH_MAX + 32];
        copy_proc_path(path, sizeof path, here(target)->fd, target->name);
        result = value ? lsetxattr(path, name, value, len, 0) : lremovexattr(path, name);
    }
    return result == 0 || fail(err, E_UNSUPPORTED, "%s", strerror(errno));
}

static bool host_held_xattrs(struct copy_target *base, const char *name, copy_xattr_fn *emit, void *arg,
                             struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    return copy_host_xattrs(*name ? -1 : here(target)->fd, here(target)->fd, name, emit, arg, err);
}

static bool host_list(struct copy_target *base, bool (*emit)(void *arg, const char *name, struct error *),
                      void *arg, struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    int fd = openat(here(target)->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir)
        return fail_errno(err, errno, "cannot list the directory on the host");
    bool ok = true;
    const struct dirent *entry;
    while (ok && (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ok = emit(arg, entry->d_name, err);
    closedir(dir);
    return ok;
}

static bool host_remove(struct copy_target *base, const char *name, struct error *err)
{
    struct host_target *target = (struct host_target *)base;
    struct host_walk *walk;
    struct host_entry *entry;
    if (!check_name(target, name, err) || !host_walk_new(&walk, here(target)->fd, name, 0, err))
        return false;
    bool ok;
    while ((ok = host_walk_next(walk, &entry, err)) && entry->event != WALK_END) {
        if (entry->event == WALK_FAULT) {
            *err = entry->fault;
            ok = false;
        } else if (entry->event != WALK_DIR) {
            int flags = entry->event == WALK_LEAVE ? AT_REMOVEDIR : 0;
            ok = unlinkat(entry->dir_fd, entry->base, flags) == 0 ||
                 fail_errno(err, errno, "cannot remove %s", entry->path);
        }
        if (!ok)
            break;
    }
    host_walk_free(walk);
    return ok;
}

static void host_target_free(struct copy_target *base)
{
    struct host_target *target = (struct host_target *)base;
    for (size_t i = 0; i < target->depth; i++)
        if (target->stack[i].fd >= 0)
            close(target->stack[i].fd);
    free(target->stack);
    free(target);
}

static const struct copy_target_ops host_target_ops = {
    .stat = host_stat,
    .enter = host_enter,
    .leave = host_leave,
    .update = host_update,
    .begin = host_begin,
    .write = host_write,
    .finish = host_finish,
    .abandon = host_abandon,
    .make = host_make,
    .link = host_link,
    .xattr = host_xattr,
    .xattrs = host_held_xattrs,
    .list = host_list,
    .remove = host_remove,
    .free = host_target_free,
};

/* Opens the directory to copy into; *name is set when the path itself is not one. */
static int open_place(const char *path, bool several, char **name, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *name = NULL;
    if (fd >= 0)
        return fd;
    size_t len = strlen(path);
    bool must_be = several || (len > 1 && path[len - 1] == '/');
    if (must_be || (errno != ENOENT && errno != ENOTDIR)) {
        fail_errno(err, errno, "cannot open the directory");
        return -1;
    }
    char *dir;
    if (!path_split(path, &dir, name, err))
        return -1;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        fail_errno(err, errno, "cannot open the directory %s", dir);
        free(*name);
        *name = NULL;
    }
    free(dir);
    return fd;
}

bool copy_host_target(const char *path, bool several, struct copy_target **out, char **base_name,
                      struct error *err)
{
    int fd = open_place(path, several, base_name, err);
    if (fd < 0)
        return false;
    struct host_target *target = mem_new(sizeof *target, err);
    if (!target) {
        close(fd);
    } else {
        target->base =
            (struct copy_target){.ops = &host_target_ops, .limits = &host_limits, .type = "the host"};
        target->fd = -1;
        target->named = *base_name != NULL;
        target->umask_bits = umask(0);
        umask(target->umask_bits);
        *out = &target->base;
        if (push_fd(target, fd, false, err))
            return true;
        host_target_free(&target->base);
    }
    free(*base_name);
    *base_name = NULL;
    return false;
}
