/* The raw container: the guest's bytes are the file's bytes. Holes are the file's holes. */
#include "alloc.h"
#include "bytes.h"
#include "driver.h"

#include <stdlib.h>

/*
 * The file's size is the disk's: what lies past the committed size must not reach the file before the commit,
 * or a crash would leave a larger disk. So it is never fresh.
 */
struct raw {
    struct device dev;
    uint64_t committed_size;
};

static struct raw *raw_of(struct device *dev)
{
    return (struct raw *)dev;
}

static enum write_class class_of(struct device *dev, uint64_t off, uint64_t n, enum write_class class)
{
    return off + n > raw_of(dev)->committed_size ? WRITE_UPDATE : class;
}

static bool raw_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    return device_read(dev->below, off, buf, n, err);
}

static bool raw_write(struct device *dev, uint64_t off, const void *buf, size_t n, enum write_class class,
                      struct error *err)
{
    return device_write(dev->below, off, buf, n, class_of(dev, off, n, class), err);
}

static bool raw_copy_in(struct device *dev, uint64_t off, int fd, uint64_t fd_off, size_t n,
                        enum write_class class, size_t *done, struct error *err)
{
    return device_copy_in(dev->below, off, fd, fd_off, n, class_of(dev, off, n, class), done, err);
}

static bool raw_zero(struct device *dev, uint64_t off, uint64_t n, enum write_class class, struct error *err)
{
    return device_zero(dev->below, off, n, class_of(dev, off, n, class), err);
}

static bool raw_discard(struct device *dev, uint64_t off, uint64_t n, struct error *err)
{
    return device_discard(dev->below, off, n, err);
}

static bool raw_resize(struct device *dev, uint64_t size, struct error *err)
{
    if (!device_resize(dev->below, size, err))
        return false;
    dev->size = dev->below->size;
    return true;
}

/* The layer below knows the holes; they, too, have their place: nothing else can show through. */
static bool raw_map(struct device *dev, uint64_t off, struct extent *out, struct error *err)
{
    if (!dev->below->ops->map) {
        *out = (struct extent){.len = dev->size - off, .device = dev->below, .off = off};
        return true;
    }
    if (!device_map(dev->below, off, out, err))
        return false;
    out->len = MIN_OF(out->len, dev->size - off);
    if (out->flags & EXTENT_HOLE)
        out->flags |= EXTENT_ZERO;
    out->device = dev->below;
    out->off = off;
    return true;
}

static bool raw_reload(struct device *dev, struct error *err)
{
    (void)err;
    dev->size = dev->below->size;
    return true;
}

static void raw_committed(struct device *dev)
{
    raw_of(dev)->committed_size = dev->size;
}

static bool raw_describe(struct device *dev, uint64_t off, struct report *report, struct error *err)
{
    struct extent extent;
    report_text(report, "layer", "raw");
    if (off >= dev->size || !raw_map(dev, off, &extent, err))
        return off >= dev->size;
    if (extent.flags & EXTENT_HOLE)
        report_text(report, "state", "hole: nothing is stored, reads as zeros");
    else
        report_hex(report, "host-offset", off);
    return true;
}

static void raw_close(struct device *dev)
{
    free(dev);
}

static const struct device_ops raw_ops = {
    .name = "raw",
    .read = raw_read,
    .write = raw_write,
    .copy_in = raw_copy_in,
    .zero = raw_zero,
    .discard = raw_discard,
    .resize = raw_resize,
    .map = raw_map,
    .reload = raw_reload,
    .committed = raw_committed,
    .describe = raw_describe,
    .close = raw_close,
};

/* Anything can be a raw image, so it is the weakest of all claims. */
static unsigned raw_probe(struct device *below)
{
    (void)below;
    return 1;
}

static bool raw_open(struct device *below, const struct container_open *open, struct device **out,
                     struct error *err)
{
    struct raw *raw = mem_new(sizeof *raw, err);
    if (!raw)
        return false;
    raw->dev = (struct device){.ops = &raw_ops,
                               .below = below,
                               .size = below->size,
                               .block_size = below->block_size,
                               .read_only = below->read_only || open->read_only};
    raw->committed_size = below->size;
    *out = &raw->dev;
    return true;
}

static bool raw_create(struct device *below, uint64_t size, const struct options *options,
                       const struct container_open *open, struct error *err)
{
    const char *mode = options_text(options, "preallocation", "off");
    (void)open;
    if (!device_resize(below, size, err))
        return false;
    if (strcmp(mode, "full") == 0)
        return device_allocate(below, 0, size, true, err);
    return strcmp(mode, "falloc") != 0 || device_allocate(below, 0, size, false, err);
}

static bool raw_info(struct device *dev, bool verbose, struct report *report, struct error *err)
{
    (void)verbose;
    (void)err;
    report_size(report, "virtual-size", dev->size);
    return true;
}

/* The file is as long as the disk, holes or not. */
static bool raw_measure(const struct options *options, struct measure *measure, struct error *err)
{
    (void)options;
    if (measure->size > INT64_MAX - 512)
        return fail(err, E_TOOBIG, "the disk is too large");
    measure->required = measure->fully_allocated = round_up(measure->size, 512);
    return true;
}

static bool raw_owner(void *opened, uint64_t off, struct owner *out, struct error *err)
{
    struct device *dev = opened;
    (void)err;
    *out = (struct owner){.kind = OWNER_DATA, .len = dev->size - off, .file_off = off, .text = "guest data"};
    return true;
}

static const struct option raw_options[] = {
    {"preallocation", OPTION_WORD, "off|falloc|full", "how much space is taken on the host at once"},
    {0},
};

const struct container_driver raw_driver = {
    .head =
        {
            .name = "raw",
            .title = "raw disk image",
            .spec = "none: the bytes of the disk",
            .type = DRIVER_CONTAINER,
            .probe = raw_probe,
            .make_options = raw_options,
            .owner = raw_owner,
        },
    .suffixes = "raw|img|bin",
    .open = raw_open,
    .create = raw_create,
    .info = raw_info,
    .measure = raw_measure,
};
