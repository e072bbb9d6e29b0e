/* A partition: len bytes at a fixed offset of the device below. */
#include "alloc.h"
#include "bytes.h"
#include "device.h"

#include <inttypes.h>
#include <stdlib.h>

struct view {
    struct device dev;
    uint64_t start;
};

static struct view *view_of(struct device *dev)
{
    return (struct view *)dev;
}

static bool view_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    return device_read(dev->below, view_of(dev)->start + off, buf, n, err);
}

static bool view_write(struct device *dev, uint64_t off, const void *buf, size_t n, enum write_class class,
                       struct error *err)
{
    return device_write(dev->below, view_of(dev)->start + off, buf, n, class, err);
}

static bool view_copy_in(struct device *dev, uint64_t off, int fd, uint64_t fd_off, size_t n,
                         enum write_class class, size_t *done, struct error *err)
{
    return device_copy_in(dev->below, view_of(dev)->start + off, fd, fd_off, n, class, done, err);
}

static bool view_zero(struct device *dev, uint64_t off, uint64_t n, enum write_class class, struct error *err)
{
    return device_zero(dev->below, view_of(dev)->start + off, n, class, err);
}

static bool view_discard(struct device *dev, uint64_t off, uint64_t n, struct error *err)
{
    return device_discard(dev->below, view_of(dev)->start + off, n, err);
}

static bool view_map(struct device *dev, uint64_t off, struct extent *out, struct error *err)
{
    (void)err;
    *out = (struct extent){.len = dev->size - off, .device = dev->below, .off = view_of(dev)->start + off};
    return true;
}

static void view_close(struct device *dev)
{
    free(dev);
}

static const struct device_ops view_ops = {
    .name = "partition",
    .read = view_read,
    .write = view_write,
    .copy_in = view_copy_in,
    .zero = view_zero,
    .discard = view_discard,
    .map = view_map,
    .close = view_close,
};

struct device *view_new(struct device *below, uint64_t off, uint64_t len, struct error *err)
{
    if (!range_inside(off, len, below->size)) {
        damaged(err, below, off,
                "a partition of %" PRIu64 " bytes at 0x%" PRIx64
                " reaches past the end of the disk (0x%" PRIx64 ")",
                len, off, below->size);
        return NULL;
    }
    struct view *view = mem_new(sizeof *view, err);
    if (!view)
        return NULL;
    view->dev = (struct device){.ops = &view_ops,
                                .below = below,
                                .size = len,
                                .block_size = below->block_size,
                                .read_only = below->read_only};
    view->start = off;
    return &view->dev;
}
