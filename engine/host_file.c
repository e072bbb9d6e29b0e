#include "host_file_private.h"

#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

static host_hook_fn *installed_hook;

void host_file_set_hook(host_hook_fn *hook)
{
    installed_hook = hook;
}

bool host_hook(enum host_operation operation, const char *path, uint64_t off, uint64_t len, struct error *err)
{
    return !installed_hook || installed_hook(operation, path, off, len, err);
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
    struct host_file *file = host_file_of(dev);
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
           write_all(host_file_of(dev), off, &vector, 1, err);
}

bool host_file_write_vector(struct device *dev, uint64_t off, const struct iovec *vector, size_t count,
                            struct error *err)
{
    struct host_file *file = host_file_of(dev);
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
    struct host_file *file = host_file_of(dev);
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
    struct host_file *file = host_file_of(dev);
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
    bool hole = find_run(host_file_of(dev), off, &end);
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
    return find_run(host_file_of(dev), off, &end) && (end == dev->size || end - off >= len);
}

bool host_file_known_hole(struct device *dev, uint64_t off, uint64_t len)
{
    uint64_t end;
    return known_runs_is_hole(&host_file_of(dev)->known, off, &end) && end - off >= len;
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
    struct host_file *file = host_file_of(dev);
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
    struct host_file *file = host_file_of(dev);
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
    (void)sync_file_range(host_file_of(dev)->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

bool host_file_sync(struct device *dev, struct error *err)
{
    struct host_file *file = host_file_of(dev);
    if (!host_hook(HOST_SYNC, host_file_real_path(dev), 0, 0, err))
        return false;
    if (fdatasync(file->fd) < 0 && errno != EINVAL && errno != EROFS)
        return fail_errno(err, errno, "%s: cannot make the changes durable", file->path);
    return true;
}

static void host_close(struct device *dev)
{
    struct host_file *file = host_file_of(dev);
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

const struct device_ops host_file_ops = {
    .name = "file",
    .read = host_read,
    .write = host_write,
    .zero = host_zero,
    .allocate = host_allocate,
    .resize = host_resize,
    .map = host_map,
    .close = host_close,
};
