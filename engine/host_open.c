#include "host_file_private.h"

#include "alloc.h"
#include "host_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct host_file *host_file_new(const char *path, const struct host_file_options *options, struct error *err)
{
    struct host_file *file = mem_new(sizeof *file, err);
    if (!file)
        return NULL;
    file->fd = -1;
    known_runs_init(&file->known);
    file->dev = (struct device){.ops = &host_file_ops, .block_size = 512};
    file->never_writable = options->read_only || options->force_share;
    file->force_share = options->force_share;
    if (options->sector_size)
        file->dev.block_size = options->sector_size;
    file->path = mem_string(path, err);
    if (!file->path) {
        device_close(&file->dev);
        return NULL;
    }
    return file;
}

/* Size, kind and sector size of what was opened. */
static bool learn(struct host_file *file, const struct host_file_options *options, struct error *err)
{
    struct stat st;
    if (fstat(file->fd, &st) < 0)
        return fail_errno(err, errno, "cannot look at it");
    if (S_ISDIR(st.st_mode))
        return fail(err, E_ISDIR, "is a directory");
    if (S_ISREG(st.st_mode)) {
        file->dev.size = (uint64_t)st.st_size;
        return true;
    }
    if (!S_ISBLK(st.st_mode))
        return fail(err, E_INVALID, "is neither a regular file nor a block device");
    int sector = 512;
    file->block_device = true;
    if (ioctl(file->fd, BLKGETSIZE64, &file->dev.size) < 0 || ioctl(file->fd, BLKSSZGET, &sector) < 0)
        return fail_errno(err, errno, "cannot learn the block device's size");
    if (!options->sector_size)
        file->dev.block_size = (uint32_t)sector;
    return true;
}

bool host_fail_open(struct error *err, bool for_writing)
{
    switch (errno) {
    case ENOENT:
        return fail(err, E_NOENT, "no such file or directory");
    case EROFS:
        return fail(err, E_READONLY, "the host's filesystem is mounted read-only");
    case EACCES:
    case EPERM:
        return fail(err, for_writing ? E_READONLY : E_IO, "no permission to %s the file",
                    for_writing ? "write" : "read");
    case EBUSY:
        return fail(err, E_LOCKED, "the host has the block device in use (mounted, or part of a volume)");
    default:
        return fail_errno(err, errno, "cannot open the file");
    }
}

static bool open_locked(struct host_file *file, const struct host_file_options *options, struct error *err)
{
    /* O_NONBLOCK: a FIFO would block here and is refused below; regular files do not mind. */
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0)
        return host_fail_open(err, false);
    char *real = realpath(file->path, NULL);
    if (!real)
        return host_fail_open(err, false);
    file->real_path = real;
    if (!learn(file, options, err))
        return false;
    return file->force_share ||
           (host_lock_hold(file->fd, HOST_LOCK_READ, err) && host_lock_probe(file->fd, HOST_LOCK_READ, err));
}

bool host_file_open(const char *path, const struct host_file_options *options, struct device **out,
                    struct error *err)
{
    struct host_file *file = host_file_new(path, options, err);
    if (!file)
        return false;
    if (!open_locked(file, options, err)) {
        device_close(&file->dev);
        return false;
    }
    *out = &file->dev;
    return true;
}

/* The same file once more, for writing. Through /proc there is no name that could lead elsewhere. */
static int reopen(struct host_file *file)
{
    char path[64];
    /* O_EXCL on a block device: not while it is mounted. */
    int flags = O_RDWR | O_CLOEXEC | (file->block_device ? O_EXCL : 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file->fd);
    int fd = open(path, flags);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    struct stat old, new;
    fd = open(file->real_path, flags);
    if (fd >= 0 && (fstat(fd, &new) < 0 || fstat(file->fd, &old) < 0 || old.st_dev != new.st_dev ||
                    old.st_ino != new.st_ino)) {
        close(fd);
        errno = ESTALE;
        return -1;
    }
    return fd;
}

/*
 * The new description takes all bytes before the old one gives any back, so that the file is never without
 * locks; then the old one's must go, as they would exclude our own writing.
 */
static bool upgrade(struct host_file *file, struct error *err)
{
    int fd = reopen(file);
    if (fd < 0)
        return host_fail_open(err, true);
    bool held = host_lock_hold(fd, HOST_LOCK_WRITE, err);
    if (held) {
        host_lock_drop(file->fd);
        held = host_lock_probe(fd, HOST_LOCK_WRITE, err);
    }
    if (!held) {
        struct error ignored;
        (void)!host_lock_hold(file->fd, HOST_LOCK_READ, &ignored);
        close(fd);
        return false;
    }
    close(file->fd);
    file->fd = fd;
    file->writable = true;
    return true;
}

bool host_file_make_writable(struct device *dev, struct error *err)
{
    struct host_file *file = host_file_of(dev);
    if (file->writable)
        return true;
    if (file->never_writable)
        return fail(err, E_READONLY, "%s: opened read-only", file->path);
    return upgrade(file, err) || because(err, "%s", file->path);
}
