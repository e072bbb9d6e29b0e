/* Bytes of the image file: reads past its end give zeros, writes past its end make it grow. */
#include "qcow2.h"

#include "alloc.h"

#include <stdlib.h>

bool qcow2_file_read(struct qcow2 *q, uint64_t off, void *buf, size_t n, struct error *err)
{
    uint64_t size = q->file->size;
    size_t there = off >= size ? 0 : (size_t)MIN_OF(n, size - off);
    memset((uint8_t *)buf + there, 0, n - there);
    return there == 0 || device_read(q->file, off, buf, there, err);
}

bool qcow2_file_grow(struct qcow2 *q, uint64_t size, struct error *err)
{
    return size <= q->file->size || device_resize(q->file, size, err);
}

/* The length of the part of n bytes from off on that lies in one of
 * these ranges of clusters (*in), or in none. */
static uint64_t part_in(const struct qcow2 *q, const struct ranges *ranges, uint64_t off, uint64_t n,
                        bool *in)
{
    struct range range;
    *in = false;
    if (ranges->total == 0 || !ranges_next(ranges, off >> q->cluster_bits, &range))
        return n;
    uint64_t start = range.start << q->cluster_bits, end = (range.start + range.len) << q->cluster_bits;
    *in = start <= off;
    return MIN_OF(n, (*in ? end : start) - off);
}

/*
 * The length of the part from off on that shares one class: what the running command allocated is fresh, and
 * what was in use at the last commit is not, whatever the layer above thinks of it.
 */
static uint64_t class_run(const struct qcow2 *q, uint64_t off, uint64_t n, enum write_class *class)
{
    bool fresh, freed = false;
    n = part_in(q, &q->fresh, off, n, &fresh);
    if (!fresh && *class != WRITE_UPDATE)
        n = part_in(q, &q->freed, off, n, &freed);
    *class = fresh ? WRITE_FRESH : freed ? WRITE_UPDATE : *class;
    return n;
}

bool qcow2_file_write(struct qcow2 *q, uint64_t off, const void *buf, size_t n, enum write_class class,
                      struct error *err)
{
    const uint8_t *in = buf;
    if (!qcow2_file_grow(q, off + n, err))
        return false;
    while (n > 0) {
        enum write_class part_class = class;
        size_t part = (size_t)class_run(q, off, n, &part_class);
        if (!device_write(q->file, off, in, part, part_class, err))
            return false;
        off += part;
        in += part;
        n -= part;
    }
    return true;
}

bool qcow2_file_zero(struct qcow2 *q, uint64_t off, uint64_t n, struct error *err)
{
    if (!qcow2_file_grow(q, off + n, err))
        return false;
    while (n > 0) {
        enum write_class class = WRITE_UPDATE;
        uint64_t part = class_run(q, off, n, &class);
        if (!device_zero(q->file, off, part, class, err))
            return false;
        off += part;
        n -= part;
    }
    return true;
}

static struct qcow2 *of_pad(struct device *pad)
{
    return (struct qcow2 *)((char *)pad - offsetof(struct qcow2, pad));
}

static bool pad_read(struct device *pad, uint64_t off, void *buf, size_t n, struct error *err)
{
    return qcow2_file_read(of_pad(pad), off, buf, n, err);
}

static bool pad_write(struct device *pad, uint64_t off, const void *buf, size_t n, enum write_class class,
                      struct error *err)
{
    return qcow2_file_write(of_pad(pad), off, buf, n, class, err);
}

static const struct device_ops pad_ops = {.name = "qcow2 file", .read = pad_read, .write = pad_write};

void qcow2_pad_init(struct qcow2 *q)
{
    q->pad = (struct device){
        .ops = &pad_ops, .below = q->file, .size = UINT64_C(1) << 63, .block_size = q->file->block_size};
}

/* ---- metadata through the cache ---- */

bool qcow2_meta_get64(struct qcow2 *q, uint64_t off, uint64_t *value, struct error *err)
{
    struct cache_block *block;
    if (!cache_get(q->meta, round_down(off, q->block_size), &block, err))
        return false;
    *value = load_be64(block->data + off % q->block_size);
    cache_release(q->meta, block);
    return true;
}

bool qcow2_meta_put64(struct qcow2 *q, uint64_t off, uint64_t value, struct error *err)
{
    struct cache_block *block;
    if (!cache_get(q->meta, round_down(off, q->block_size), &block, err))
        return false;
    store_be64(block->data + off % q->block_size, value);
    cache_dirty(q->meta, block, WRITE_UPDATE);
    cache_release(q->meta, block);
    return true;
}

bool qcow2_meta_read(struct qcow2 *q, uint64_t off, void *buf, size_t n, struct error *err)
{
    uint8_t *out = buf;
    while (n > 0) {
        size_t at = (size_t)(off % q->block_size), part = MIN_OF(n, q->block_size - at);
        struct cache_block *block;
        if (!cache_get(q->meta, off - at, &block, err))
            return false;
        memcpy(out, block->data + at, part);
        cache_release(q->meta, block);
        out += part;
        off += part;
        n -= part;
    }
    return true;
}

bool qcow2_meta_write(struct qcow2 *q, uint64_t off, const void *buf, size_t n, struct error *err)
{
    const uint8_t *in = buf;
    while (n > 0) {
        size_t at = (size_t)(off % q->block_size), part = MIN_OF(n, q->block_size - at);
        struct cache_block *block;
        bool got = part == q->block_size ? cache_get_new(q->meta, off - at, WRITE_UPDATE, &block, err)
                                         : cache_get(q->meta, off - at, &block, err);
        if (!got)
            return false;
        memcpy(block->data + at, in, part);
        cache_dirty(q->meta, block, WRITE_UPDATE);
        cache_release(q->meta, block);
        in += part;
        off += part;
        n -= part;
    }
    return true;
}

/* Bytes from off on that the host keeps as a hole; 0 when off is stored or nobody knows. */
static uint64_t hole_at(struct qcow2 *q, uint64_t off)
{
    struct extent extent;
    struct error ignored;
    if (off >= q->file->size)
        return UINT64_MAX - off;
    if (!q->file->ops->map || !device_map(q->file, off, &extent, &ignored))
        return 0;
    return extent.flags & EXTENT_HOLE ? extent.len : 0;
}

static bool entries_of_piece(struct qcow2 *q, const uint8_t *raw, uint64_t index, uint64_t n,
                             qcow2_entry_fn *fn, void *arg, struct error *err)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t entry = load_be64(raw + i * 8);
        if (entry && !fn(q, index + i, entry, arg, err))
            return false;
    }
    return true;
}

/* Large tables are read past the cache in pieces; sparse ones cost only their stored parts. */
bool qcow2_each_entry(struct qcow2 *q, uint64_t off, uint64_t count, qcow2_entry_fn *fn, void *arg,
                      struct error *err)
{
    enum { PIECE = 64 * 1024 };
    if (count == 0)
        return true;
    if (!cache_flush(q->meta, err))
        return false;
    uint8_t *raw = mem_new(PIECE, err);
    bool ok = raw != NULL;
    for (uint64_t index = 0; ok && index < count;) {
        uint64_t n = MIN_OF(count - index, PIECE / 8), hole = hole_at(q, off + index * 8);
        if (hole >= n * 8) {
            index += MIN_OF(count - index, hole / 8);
            continue;
        }
        ok = interrupt_check(err) && qcow2_file_read(q, off + index * 8, raw, n * 8, err) &&
             (all_zero(raw, n * 8) || entries_of_piece(q, raw, index, n, fn, arg, err));
        index += n;
    }
    free(raw);
    return ok;
}

/* ---- guest data ---- */

bool qcow2_data_read(struct qcow2 *q, uint64_t off, void *buf, size_t n, struct error *err)
{
    if (q->data == q->file)
        return qcow2_file_read(q, off, buf, n, err);
    size_t there = off >= q->data->size ? 0 : (size_t)MIN_OF(n, q->data->size - off);
    memset((uint8_t *)buf + there, 0, n - there);
    return there == 0 || device_read(q->data, off, buf, there, err);
}

static bool grow_data(struct qcow2 *q, uint64_t size, struct error *err)
{
    return size <= q->data->size || device_resize(q->data, size, err) ||
           because(err, "external data file '%s'", q->data_name);
}

bool qcow2_data_write(struct qcow2 *q, uint64_t off, const void *buf, size_t n, enum write_class class,
                      struct error *err)
{
    if (q->data == q->file)
        return qcow2_file_write(q, off, buf, n, class, err);
    return grow_data(q, off + n, err) && device_write(q->data, off, buf, n, class, err);
}

bool qcow2_data_zero(struct qcow2 *q, uint64_t off, uint64_t n, enum write_class class, struct error *err)
{
    if (q->data == q->file)
        return qcow2_file_zero(q, off, n, err);
    return grow_data(q, off + n, err) && device_zero(q->data, off, n, class, err);
}
