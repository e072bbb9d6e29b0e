#include "device.h"

#include "alloc.h"
#include "bytes.h"

#include <inttypes.h>
#include <stdlib.h>

static bool check_range(struct device *dev, uint64_t off, uint64_t n, const char *what, struct error *err)
{
    if (range_inside(off, n, dev->size))
        return interrupt_check(err);
    return damaged(err, dev, off,
                   "%s of %" PRIu64 " bytes at 0x%" PRIx64 " reaches past the end (0x%" PRIx64 ")", what, n,
                   off, dev->size);
}

static bool check_write(struct device *dev, uint64_t off, uint64_t n, const char *what, struct error *err)
{
    if (dev->read_only)
        return fail(err, E_READONLY, "%s is read-only", dev->ops->name);
    dev->written = true;
    return check_range(dev, off, n, what, err);
}

bool device_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    if (!check_range(dev, off, n, "read", err))
        return false;
    dev->stats.reads++;
    dev->stats.read_bytes += n;
    return n == 0 || dev->ops->read(dev, off, buf, n, err);
}

bool device_write(struct device *dev, uint64_t off, const void *buf, size_t n, enum write_class class,
                  struct error *err)
{
    if (!check_write(dev, off, n, "write", err))
        return false;
    dev->stats.writes++;
    dev->stats.write_bytes += n;
    if (dev->no_fresh)
        class = WRITE_UPDATE;
    return n == 0 || dev->ops->write(dev, off, buf, n, class, err);
}

bool device_copy_in(struct device *dev, uint64_t off, int fd, uint64_t fd_off, size_t n,
                    enum write_class class, size_t *done, struct error *err)
{
    *done = 0;
    if (!check_write(dev, off, n, "write", err))
        return false;
    if (dev->no_fresh)
        class = WRITE_UPDATE;
    if (!dev->ops->copy_in || n == 0)
        return true;
    bool ok = dev->ops->copy_in(dev, off, fd, fd_off, n, class, done, err);
    dev->stats.writes += *done > 0;
    dev->stats.write_bytes += *done;
    return ok;
}

/* Zeros as bytes, where the device has no better way. */
static bool write_zeros(struct device *dev, uint64_t off, uint64_t n, enum write_class class,
                        struct error *err)
{
    static const uint8_t zeros[64 * 1024];
    while (n > 0) {
        size_t step = (size_t)MIN_OF(n, sizeof zeros);
        if (!device_write(dev, off, zeros, step, class, err))
            return false;
        off += step;
        n -= step;
    }
    return true;
}

bool device_zero(struct device *dev, uint64_t off, uint64_t n, enum write_class class, struct error *err)
{
    if (!check_write(dev, off, n, "zero", err))
        return false;
    if (dev->no_fresh)
        class = WRITE_UPDATE;
    if (dev->ops->zero)
        return n == 0 || dev->ops->zero(dev, off, n, class, err);
    return write_zeros(dev, off, n, class, err);
}

bool device_allocate(struct device *dev, uint64_t off, uint64_t n, bool written, struct error *err)
{
    if (!check_write(dev, off, n, "allocation", err))
        return false;
    if (dev->ops->allocate)
        return n == 0 || dev->ops->allocate(dev, off, n, written, err);
    return write_zeros(dev, off, n, WRITE_FRESH, err);
}

bool device_write_now(struct device *dev, uint64_t off, const void *buf, size_t n, struct error *err)
{
    if (!dev->ops->write_now)
        return device_write(dev, off, buf, n, WRITE_UPDATE, err);
    return check_write(dev, off, n, "write", err) && dev->ops->write_now(dev, off, buf, n, err);
}

bool device_discard(struct device *dev, uint64_t off, uint64_t n, struct error *err)
{
    if (!check_write(dev, off, n, "discard", err))
        return false;
    return n == 0 || !dev->ops->discard || dev->ops->discard(dev, off, n, err);
}

bool device_resize(struct device *dev, uint64_t size, struct error *err)
{
    if (dev->read_only)
        return fail(err, E_READONLY, "%s is read-only", dev->ops->name);
    if (!dev->ops->resize)
        return fail(err, E_UNSUPPORTED, "a %s cannot change its size", dev->ops->name);
    dev->written = true;
    return dev->ops->resize(dev, size, err);
}

bool device_map(struct device *dev, uint64_t off, struct extent *out, struct error *err)
{
    if (off >= dev->size)
        return damaged(err, dev, off, "offset 0x%" PRIx64 " is past the end (0x%" PRIx64 ")", off, dev->size);
    if (dev->ops->map)
        return dev->ops->map(dev, off, out, err);
    *out = (struct extent){.len = dev->size - off, .device = dev->below, .off = off};
    return true;
}

bool device_map_to_bottom(struct device *dev, uint64_t off, struct extent *out, struct error *err)
{
    uint64_t len = dev->size - off;
    unsigned flags = 0;
    *out = (struct extent){.len = len, .device = dev, .off = off};
    while (out->device && out->device->below && !(out->flags & (EXTENT_HOLE | EXTENT_COMPRESSED))) {
        struct extent lower;
        if (!device_map(out->device, out->off, &lower, err))
            return false;
        flags |= lower.flags;
        len = MIN_OF(len, lower.len);
        *out = lower;
        out->len = len;
    }
    out->flags = flags;
    return true;
}

bool device_flush(struct device *dev, struct error *err)
{
    return !dev->ops->flush || dev->ops->flush(dev, err);
}

bool device_reload(struct device *dev, struct error *err)
{
    return !dev->ops->reload || dev->ops->reload(dev, err);
}

void device_committed(struct device *dev)
{
    if (dev->ops->committed)
        dev->ops->committed(dev);
}

void device_close(struct device *dev)
{
    if (dev)
        dev->ops->close(dev);
}
