/* A tree of the host as the source of a copy. */
#include "copy_ends.h"

#include "alloc.h"
#include "bytes.h"
#include "host_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

void copy_attr_of_stat(const struct stat *st, struct fs_attr *attr)
{
    *attr = (struct fs_attr){
        .id = st->st_ino,
        .mode = st->st_mode,
        .size = (uint64_t)st->st_size,
        .allocated = (uint64_t)st->st_blocks * 512,
        .nlink = st->st_nlink,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .atime = {st->st_atim.tv_sec, (uint32_t)st->st_atim.tv_nsec},
        .mtime = {st->st_mtim.tv_sec, (uint32_t)st->st_mtim.tv_nsec},
        .ctime = {st->st_ctim.tv_sec, (uint32_t)st->st_ctim.tv_nsec},
        .rdev_major = major(st->st_rdev),
        .rdev_minor = minor(st->st_rdev),
    };
}

/* A path by which the calls that know no directory descriptor reach a name without following it. */
void copy_proc_path(char *buf, size_t size, int dir_fd, const char *name)
{
    if (dir_fd == AT_FDCWD || name[0] == '/')
        snprintf(buf, size, "%s", name);
    else
        snprintf(buf, size, "/proc/self/fd/%d/%s", dir_fd, name);
}

struct host_source {
    struct copy_source base;
    struct host_walk *walk;
    struct host_entry *at;
    struct copy_item item;
    int fd; /* of the file that is read, or -1 */
};

static bool host_next(struct copy_source *base, struct copy_item **out, struct error *err)
{
    struct host_source *source = (struct host_source *)base;
    if (!host_walk_next(source->walk, &source->at, err))
        return false;
    const struct host_entry *at = source->at;
    source->item = (struct copy_item){
        .event = at->event,
        .path = at->path,
        .name = at->name,
        .depth = at->depth,
        .space = at->st.st_dev,
        .fault = at->fault,
    };
    copy_attr_of_stat(&at->st, &source->item.attr);
    *out = &source->item;
    return true;
}

static void host_skip(struct copy_source *base)
{
    host_walk_skip(((struct host_source *)base)->walk);
}

static bool host_readlink(struct copy_source *base, char **target, struct error *err)
{
    const struct host_entry *at = ((struct host_source *)base)->at;
    for (size_t size = 512;; size *= 8) {
        char *buf = mem_new(size, err);
        if (!buf)
            return false;
        ssize_t len = readlinkat(at->dir_fd, at->base, buf, size);
        if (len >= 0 && (size_t)len < size) {
            *target = buf;
            return true;
        }
        int why = errno;
        free(buf);
        if (len < 0)
            return fail_errno(err, why, "cannot read the symbolic link");
    }
}

struct xattr_reader {
    int fd; /* -1: by path */
    char path[PATH_MAX + 32];
};

static ssize_t xattr_list(const struct xattr_reader *reader, char *buf, size_t size)
{
    return reader->fd >= 0 ? flistxattr(reader->fd, buf, size) : llistxattr(reader->path, buf, size);
}

static ssize_t xattr_get(const struct xattr_reader *reader, const char *name, void *buf, size_t size)
{
    return reader->fd >= 0 ? fgetxattr(reader->fd, name, buf, size)
                           : lgetxattr(reader->path, name, buf, size);
}

static bool emit_xattrs(const struct xattr_reader *reader, const char *names, size_t len, copy_xattr_fn *emit,
                        void *arg, struct error *err)
{
    enum { MAX_VALUE = 65536 };
    char *value = mem_new(MAX_VALUE, err);
    bool ok = value != NULL;
    for (const char *name = names; ok && name < names + len; name += strlen(name) + 1) {
        ssize_t n = xattr_get(reader, name, value, MAX_VALUE);
        if (n < 0 && (errno == ENODATA || errno == EPERM || errno == ENOTSUP))
            continue;
        ok = n < 0 ? fail_errno(err, errno, "cannot read the extended attribute %s", name)
                   : emit(arg, name, value, (size_t)n, err);
    }
    free(value);
    return ok;
}

bool copy_host_xattrs(int fd, int dir_fd, const char *name, copy_xattr_fn *emit, void *arg, struct error *err)
{
    struct xattr_reader reader = {.fd = fd};
    if (fd < 0)
        copy_proc_path(reader.path, sizeof reader.path, dir_fd, name);
    char few[1024];
    ssize_t len = xattr_list(&reader, few, sizeof few);
    if (len == 0 || (len < 0 && (errno == ENOTSUP || errno == EPERM || errno == EACCES)))
        return true;
    if (len > 0)
        return emit_xattrs(&reader, few, (size_t)len, emit, arg, err);
    if (errno != ERANGE)
        return fail_errno(err, errno, "cannot list the extended attributes");
    enum { MAX_LIST = 65536 }; /* the kernel's limit */
    char *many = mem_new(MAX_LIST, err);
    len = many ? xattr_list(&reader, many, MAX_LIST) : -1;
    bool ok = many && (len >= 0 ? emit_xattrs(&reader, many, (size_t)len, emit, arg, err)
                                : fail_errno(err, errno, "cannot list the extended attributes"));
    free(many);
    return ok;
}

static bool host_xattrs(struct copy_source *base, copy_xattr_fn *emit, void *arg, struct error *err)
{
    const struct host_source *source = (const struct host_source *)base;
    return copy_host_xattrs(source->fd >= 0 ? source->fd : source->at->fd, source->at->dir_fd,
                            source->at->base, emit, arg, err);
}

static bool host_open(struct copy_source *base, struct error *err)
{
    struct host_source *source = (struct host_source *)base;
    const struct host_entry *at = source->at;
    source->fd = openat(at->dir_fd, at->base, O_RDONLY | O_CLOEXEC | (at->followed ? 0 : O_NOFOLLOW));
    return source->fd >= 0 || fail_errno(err, errno, "cannot open it");
}

static bool host_run(struct copy_source *base, uint64_t off, uint64_t *len, bool *hole, struct error *err)
{
    struct host_source *source = (struct host_source *)base;
    const struct fs_attr *attr = &source->item.attr;
    (void)err;
    *hole = false;
    *len = attr->size - off;
#ifdef SEEK_DATA
    if (attr->allocated >= attr->size)
        return true;
    off_t data = lseek(source->fd, (off_t)off, SEEK_DATA);
    if (data < 0) {
        *hole = errno == ENXIO; /* nothing but a hole follows */
        return true;
    }
    *hole = (uint64_t)data > off;
    off_t end = *hole ? data : lseek(source->fd, (off_t)off, SEEK_HOLE);
    if (end > (off_t)off)
        *len = MIN_OF((uint64_t)end - off, *len);
#endif
    return true;
}

static bool host_read(struct copy_source *base, uint64_t off, void *buf, size_t n, size_t *got,
                      struct error *err)
{
    struct host_source *source = (struct host_source *)base;
    ssize_t len;
    do {
        if (!interrupt_check(err))
            return false;
        len = source->item.attr.size ? pread(source->fd, buf, n, (off_t)off) : read(source->fd, buf, n);
    } while (len < 0 && errno == EINTR);
    if (len < 0)
        return fail_errno(err, errno, "cannot read it");
    *got = (size_t)len;
    return true;
}

static int host_fd(struct copy_source *base)
{
    return ((struct host_source *)base)->fd;
}

static void host_close(struct copy_source *base)
{
    struct host_source *source = (struct host_source *)base;
    close(source->fd);
    source->fd = -1;
}

static void host_source_free(struct copy_source *base)
{
    struct host_source *source = (struct host_source *)base;
    host_walk_free(source->walk);
    free(source);
}

static const struct copy_source_ops host_source_ops = {
    .next = host_next,
    .skip = host_skip,
    .readlink = host_readlink,
    .xattrs = host_xattrs,
    .open = host_open,
    .run = host_run,
    .read = host_read,
    .fd = host_fd,
    .close = host_close,
    .free = host_source_free,
};

bool copy_host_source(const char *path, const struct copy_options *options, struct copy_source **out,
                      struct error *err)
{
    struct host_source *source = mem_new(sizeof *source, err);
    if (!source)
        return false;
    source->base = (struct copy_source){.ops = &host_source_ops, .unique_names = true};
    source->fd = -1;
    unsigned flags = options->follow                            ? HOST_FOLLOW
                     : !options->recursive && !options->archive ? HOST_FOLLOW_START
                                                                : 0;
    if (!host_walk_new(&source->walk, AT_FDCWD, path, flags, err)) {
        free(source);
        return false;
    }
    *out = &source->base;
    return true;
}
