#include "host_file.h"

#include "alloc.h"
#include "bytes.h"
#include "host_lock.h"
#include "known_runs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct host_file {
    struct device dev;
    int fd;
    char *path;      /* as given */
    char *real_path; /* absolute, symbolic links resolved: the name that publish gives, when created */
    char *temp_path; /* the created file's name until it is published, else NULL */
    bool overwrite;
    bool force_share, never_writable, writable;
    bool block_device;
    struct known_runs known;
};

static host_hook_fn *installed_hook;

void host_file_set_hook(host_hook_fn *hook)
{
    installed_hook = hook;
}

bool host_hook(enum host_operation operation, const char *path, uint64_t off, uint64_t len, struct error *err)
{
    return !installed_hook || installed_hook(operation, path, off, len, err);
}

static struct host_file *file_of(struct device *dev)
{
    return (struct host_file *)dev;
}

static const struct host_file *const_file_of(const struct device *dev)
{
    return (const struct host_file *)dev;
}

const char *host_file_path(const struct device *dev)
{
    return const_file_of(dev)->path;
}

const char *host_file_real_path(const struct device *dev)
{
    const struct host_file *file = const_file_of(dev);
    return file->temp_path ? file->temp_path : file->real_path;
}

bool host_file_is_block_device(const struct device *dev)
{
    return const_file_of(dev)->block_device;
}

bool host_file_is_writable(const struct device *dev)
{
    return const_file_of(dev)->writable;
}

bool host_file_is_published(const struct device *dev)
{
    return !const_file_of(dev)->temp_path;
}

/* Record a failed call with its place in the file. */
static bool fail_at(struct error *err, struct host_file *file, uint64_t off, const char *what)
{
    fail_errno(err, errno, "%s: cannot %s at 0x%" PRIx64, file->path, what, off);
    err->device = &file->dev;
    err->offset = off;
    return false;
}

static bool host_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct host_file *file = file_of(dev);
    uint8_t *out = buf;
    while (n > 0) {
        ssize_t got = pread(file->fd, out, n, (off_t)off);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_at(err, file, off, "read");
        if (got == 0) {
            /* Somebody cut the file behind our back. */
            fail(err, E_IO, "%s: ends at 0x%" PRIx64 ", 0x%" PRIx64 " was expected", file->path, off,
                 dev->size);
            err->device = dev;
            err->offset = off;
            return false;
        }
        out += got;
        off += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

enum { VECTOR_MAX = 256 };

/* One call's worth: the buffers that are left after `skip` bytes of the first. Returns bytes or -1. */
static ssize_t write_some(struct host_file *file, uint64_t off, const struct iovec *vector, size_t count,
                          size_t skip)
{
    struct iovec part[VECTOR_MAX];
    size_t used = MIN_OF(count, (size_t)VECTOR_MAX);
    memcpy(part, vector, used * sizeof *part);
    part[0].iov_base = (uint8_t *)part[0].iov_base + skip;
    part[0].iov_len -= skip;
    ssize_t done = pwritev(file->fd, part, (int)used, (off_t)off);
    if (done == 0)
        errno = EIO;
    return done == 0 ? -1 : done;
}

/* Send all buffers; the file grows when it must. */
static bool write_all(struct host_file *file, uint64_t off, const struct iovec *vector, size_t count,
                      struct error *err)
{
    size_t skip = 0;
    for (;;) {
        while (count > 0 && skip >= vector->iov_len) {
            skip -= vector->iov_len;
            vector++;
            count--;
        }
        if (count == 0)
            return true;
        ssize_t done = write_some(file, off, vector, count, skip);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail_at(err, file, off, "write");
        known_runs_fill(&file->known, off, (uint64_t)done);
        off += (uint64_t)done;
        skip += (size_t)done;
        file->dev.size = MAX_OF(file->dev.size, off);
    }
}

static bool host_write(struct device *dev, uint64_t off, const void *buf, size_t n, enum write_class class,
                       struct error *err)
{
    struct iovec vector = {(void *)(uintptr_t)buf, n};
    (void)class;
    return host_hook(HOST_WRITE, host_file_real_path(dev), off, n, err) &&
           write_all(file_of(dev), off, &vector, 1, err);
}

bool host_file_write_vector(struct device *dev, uint64_t off, const struct iovec *vector, size_t count,
                            struct error *err)
{
    struct host_file *file = file_of(dev);
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += vector[i].iov_len;
    if (!range_inside(off, total, file->block_device ? dev->size : INT64_MAX))
        return fail(err, E_TOOBIG, "%s: a write of %" PRIu64 " bytes at 0x%" PRIx64 " reaches past the end",
                    file->path, total, off);
    dev->stats.writes++;
    dev->stats.write_bytes += total;
    return host_hook(HOST_WRITE, host_file_real_path(dev), off, total, err) &&
           write_all(file, off, vector, count, err);
}

bool host_file_copy_in(struct device *dev, uint64_t off, int fd, uint64_t fd_off, size_t n, size_t *done,
                       struct error *err)
{
    struct host_file *file = file_of(dev);
    *done = 0;
    if (!host_hook(HOST_WRITE, host_file_real_path(dev), off, n, err))
        return false;
    while (*done < n) {
        off_t from = (off_t)(fd_off + *done), to = (off_t)(off + *done);
        ssize_t some = copy_file_range(fd, &from, file->fd, &to, n - *done, 0);
        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            break;
        *done += (size_t)some;
    }
    if (*done > 0) {
        known_runs_fill(&file->known, off, *done);
        dev->size = MAX_OF(dev->size, off + *done);
        dev->stats.writes++;
        dev->stats.write_bytes += *done;
    }
    return true;
}

static bool host_resize(struct device *dev, uint64_t size, struct error *err)
{
    struct host_file *file = file_of(dev);
    if (file->block_device)
        return fail(err, E_UNSUPPORTED, "%s: a block device cannot change its size", file->path);
    if (size > INT64_MAX)
        return fail(err, E_TOOBIG, "%s: no host file can have %" PRIu64 " bytes", file->path, size);
    if (!host_hook(HOST_RESIZE, host_file_real_path(dev), size, 0, err))
        return false;
    known_runs_forget_data(&file->known);
    int result;
    do
        result = ftruncate(file->fd, (off_t)size);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        return fail_at(err, file, size, "change the size");
    dev->size = size;
    known_runs_fill(&file->known, 0, UINT64_MAX);
    return true;
}

/* Data or hole at off, and where it ends. Where the host cannot tell, all is data. */
static bool find_run(struct host_file *file, uint64_t off, uint64_t *end)
{
    if (known_runs_is_data(&file->known, off, end))
        return false;
    if (known_runs_is_hole(&file->known, off, end))
        return true;
    off_t data = file->block_device ? (off_t)off : lseek(file->fd, (off_t)off, SEEK_DATA);
    *end = file->dev.size;
    if (data < 0 && errno != ENXIO)
        return false;
    if (data < 0 || (uint64_t)data > off) {
        *end = data < 0 ? *end : MIN_OF((uint64_t)data, file->dev.size);
        if (file->writable)
            known_runs_add_hole(&file->known, off, *end);
        return true;
    }
    off_t hole = file->block_device ? -1 : lseek(file->fd, (off_t)off, SEEK_HOLE);
    if (hole > (off_t)off)
        *end = MIN_OF((uint64_t)hole, file->dev.size);
    known_runs_set_data(&file->known, off, *end);
    return false;
}

static bool host_map(struct device *dev, uint64_t off, struct extent *out, struct error *err)
{
    uint64_t end;
    bool hole = find_run(file_of(dev), off, &end);
    (void)err;
    *out = (struct extent){
        .len = end - off, .device = dev, .off = off, .flags = hole ? (unsigned)EXTENT_HOLE : 0};
    return true;
}

bool host_file_is_hole(struct device *dev, uint64_t off, uint64_t len)
{
    uint64_t end;
    if (off >= dev->size)
        return true;
    return find_run(file_of(dev), off, &end) && (end == dev->size || end - off >= len);
}

bool host_file_known_hole(struct device *dev, uint64_t off, uint64_t len)
{
    uint64_t end;
    return known_runs_is_hole(&file_of(dev)->known, off, &end) && end - off >= len;
}

static bool write_zeros(struct device *dev, uint64_t off, uint64_t len, struct error *err)
{
    static const uint8_t zeros[64 * 1024];
    while (len > 0) {
        size_t step = (size_t)MIN_OF(len, sizeof zeros);
        if (!host_write(dev, off, zeros, step, WRITE_UPDATE, err))
            return false;
        off += step;
        len -= step;
    }
    return true;
}

bool host_file_punch(struct device *dev, uint64_t off, uint64_t len, struct error *err)
{
    struct host_file *file = file_of(dev);
    if (off >= dev->size)
        return true;
    len = MIN_OF(len, dev->size - off);
    if (len == 0)
        return true;
    if (!host_hook(HOST_PUNCH, host_file_real_path(dev), off, len, err))
        return false;
    known_runs_forget_data(&file->known);
    int result;
    do
        result = fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len);
    while (result < 0 && errno == EINTR);
    if (result == 0)
        return true;
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL && errno != ENODEV)
        return fail_at(err, file, off, "give back space");
    return write_zeros(dev, off, len, err);
}

/* Zeros without a transfer where the host can; the punch's writes of zeros are the fallback. */
static bool host_zero(struct device *dev, uint64_t off, uint64_t n, enum write_class class, struct error *err)
{
    (void)class;
    return host_file_punch(dev, off, n, err);
}

static bool host_allocate(struct device *dev, uint64_t off, uint64_t n, bool written, struct error *err)
{
    struct host_file *file = file_of(dev);
    if (written || file->block_device)
        return write_zeros(dev, off, n, err);
    if (!host_hook(HOST_WRITE, host_file_real_path(dev), off, n, err))
        return false;
    known_runs_fill(&file->known, off, n);
    int result;
    do
        result = fallocate(file->fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)n);
    while (result < 0 && errno == EINTR);
    if (result == 0)
        return true;
    if (errno == EOPNOTSUPP || errno == ENOSYS)
        return write_zeros(dev, off, n, err);
    return fail_at(err, file, off, "reserve space");
}

void host_file_begin_sync(struct device *dev)
{
    /* An error here would come back from the sync itself. */
    (void)sync_file_range(file_of(dev)->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

bool host_file_sync(struct device *dev, struct error *err)
{
    struct host_file *file = file_of(dev);
    if (!host_hook(HOST_SYNC, host_file_real_path(dev), 0, 0, err))
        return false;
    if (fdatasync(file->fd) < 0 && errno != EINVAL && errno != EROFS)
        return fail_errno(err, errno, "%s: cannot make the changes durable", file->path);
    return true;
}

static void host_close(struct device *dev)
{
    struct host_file *file = file_of(dev);
    struct error ignored;
    if (file->temp_path && host_hook(HOST_UNLINK, file->temp_path, 0, 0, &ignored))
        (void)unlink(file->temp_path);
    if (file->fd >= 0)
        close(file->fd);
    known_runs_destroy(&file->known);
    free(file->path);
    free(file->real_path);
    free(file->temp_path);
    free(file);
}

static const struct device_ops host_file_ops = {
    .name = "file",
    .read = host_read,
    .write = host_write,
    .zero = host_zero,
    .allocate = host_allocate,
    .resize = host_resize,
    .map = host_map,
    .close = host_close,
};

static struct host_file *file_new(const char *path, const struct host_file_options *options,
                                  struct error *err)
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
        host_close(&file->dev);
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

/* errno of a failed open, in words that name what to do about it. */
static bool fail_open(struct error *err, bool for_writing)
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
        return fail_open(err, false);
    char *real = realpath(file->path, NULL);
    if (!real)
        return fail_open(err, false);
    file->real_path = real;
    if (!learn(file, options, err))
        return false;
    return file->force_share ||
           (host_lock_hold(file->fd, HOST_LOCK_READ, err) && host_lock_probe(file->fd, HOST_LOCK_READ, err));
}

bool host_file_open(const char *path, const struct host_file_options *options, struct device **out,
                    struct error *err)
{
    struct host_file *file = file_new(path, options, err);
    if (!file)
        return false;
    if (!open_locked(file, options, err)) {
        host_close(&file->dev);
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
        return fail_open(err, true);
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
    struct host_file *file = file_of(dev);
    if (file->writable)
        return true;
    if (file->never_writable)
        return fail(err, E_READONLY, "%s: opened read-only", file->path);
    return upgrade(file, err) || because(err, "%s", file->path);
}

/* The absolute name of a file that may not exist yet: its directory's real path, and its last component. */
static char *real_path_of_new(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *dir = mem_string_n(slash ? path : ".", slash ? MAX_OF((size_t)(slash - path), (size_t)1) : 1, err);
    if (!dir)
        return NULL;
    char *real = NULL, *result = NULL;
    if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        fail(err, E_ISDIR, "is a directory");
    else if (!(real = realpath(dir, NULL)))
        fail_open(err, true);
    else
        result = mem_printf(err, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
    free(real);
    free(dir);
    return result;
}

/* The file that will be replaced: only a regular one, and only when nobody else uses it. */
static bool check_replaced(struct host_file *file, mode_t *mode, struct error *err)
{
    struct stat st;
    int fd = open(file->real_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT || fail_open(err, false);
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (!ok)
        fail(err, E_INVALID, "is not a regular file and cannot be replaced");
    else
        ok = host_lock_probe(fd, HOST_LOCK_WRITE, err);
    *mode = st.st_mode & 07777;
    close(fd);
    return ok;
}

static bool create_temp(struct host_file *file, mode_t mode, struct error *err)
{
    const char *slash = strrchr(file->real_path, '/');
    file->temp_path =
        mem_printf(err, "%.*s/.%s.dish-XXXXXX", (int)(slash - file->real_path), file->real_path, slash + 1);
    if (!file->temp_path)
        return false;
    if (host_hook(HOST_WRITE, file->real_path, 0, 0, err)) {
        file->fd = mkostemp(file->temp_path, O_CLOEXEC);
        if (file->fd < 0)
            fail_open(err, true);
    }
    if (file->fd < 0) {
        free(file->temp_path);
        file->temp_path = NULL;
        return false;
    }
    file->writable = true;
    if (fchmod(file->fd, mode) < 0)
        return fail_errno(err, errno, "cannot set the permissions");
    return host_lock_hold(file->fd, HOST_LOCK_WRITE, err);
}

static bool create_locked(struct host_file *file, bool overwrite, struct error *err)
{
    struct stat st;
    mode_t mask = umask(0);
    umask(mask);
    mode_t mode = 0666 & ~mask;
    file->overwrite = overwrite;
    bool exists = lstat(file->path, &st) == 0;
    if (exists && !overwrite)
        return fail(err, E_EXIST, "the file exists already");
    /* Through a symbolic link the file it leads to is replaced, not the link. */
    file->real_path = exists ? realpath(file->path, NULL) : NULL;
    if (exists && !file->real_path && errno != ENOENT)
        return fail_open(err, true);
    if (!file->real_path)
        file->real_path = real_path_of_new(file->path, err);
    return file->real_path && (!exists || check_replaced(file, &mode, err)) && create_temp(file, mode, err);
}

bool host_file_create(const char *path, bool overwrite, const struct host_file_options *options,
                      struct device **out, struct error *err)
{
    struct host_file *file = file_new(path, options, err);
    if (!file)
        return false;
    if (!create_locked(file, overwrite, err)) {
        host_close(&file->dev);
        return false;
    }
    *out = &file->dev;
    return true;
}

bool host_file_sync_directory(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    char *dir = mem_string_n(slash ? path : ".", slash ? MAX_OF((size_t)(slash - path), (size_t)1) : 1, err);
    if (!dir)
        return false;
    bool ok = host_hook(HOST_SYNC, dir, 0, 0, err);
    int fd = ok ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    /* EINVAL: this host's filesystem has no such thing. */
    if (ok && (fd < 0 || (fsync(fd) < 0 && errno != EINVAL && errno != EROFS)))
        ok = fail_errno(err, errno, "cannot make the directory %s durable", dir);
    if (fd >= 0)
        close(fd);
    free(dir);
    return ok;
}

static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    /* The host's filesystem does not know that flag: a second name fails as well when it is taken. */
    if (link(from, to) < 0)
        return -1;
    return unlink(from);
}

bool host_file_publish(struct device *dev, bool sync, struct error *err)
{
    struct host_file *file = file_of(dev);
    if (!file->temp_path)
        return true;
    if (!host_hook(HOST_PUBLISH, file->real_path, 0, 0, err))
        return false;
    int result = file->overwrite ? rename(file->temp_path, file->real_path)
                                 : rename_new(file->temp_path, file->real_path);
    if (result < 0 && errno == EEXIST)
        return fail(err, E_EXIST, "%s: the file exists already", file->path);
    if (result < 0)
        return fail_errno(err, errno, "%s: cannot give the new file its name", file->path);
    bool durable = !sync || host_file_sync_directory(file->real_path, err);
    /* All or nothing: what cannot be made durable goes back to where nobody sees it. */
    if (!durable && !file->overwrite && rename(file->real_path, file->temp_path) == 0)
        return false;
    free(file->temp_path);
    file->temp_path = NULL;
    return durable || because(err, "the file has its name, but a power cut may take it away");
}
