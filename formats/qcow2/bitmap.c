/* Persistent bitmaps: the directory. */
#include "bitmap.h"
#include "alloc.h"

#include <inttypes.h>
#include <stdlib.h>

void qcow2_bitmaps_free(struct qcow2_bitmap_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].name);
        free(list->items[i].extra);
    }
    free(list->items);
    *list = (struct qcow2_bitmap_list){0};
}

static bool check_bitmap(struct qcow2 *q, const struct qcow2_bitmap *b, uint8_t type, struct error *err)
{
    uint64_t bytes = (uint64_t)b->table_size << q->cluster_bits;
    if (b->table_size == 0 || b->table_size > MAX_BITMAP_TABLE || bytes > MAX_BITMAP_BYTES + q->cluster_size)
        return damaged(err, q->file, b->off, "bitmap_table_size %" PRIu32 " is not possible", b->table_size);
    if (b->table_offset == 0 || b->table_offset % q->cluster_size ||
        b->table_offset > MAX_HOST_OFFSET - 8 * GiB)
        return damaged(err, q->file, b->off, "bitmap_table_offset 0x%" PRIx64 " is not a valid offset",
                       b->table_offset);
    if (type != 1)
        return damaged(err, q->file, b->off, "unknown type of bitmap: %u", type);
    if (b->flags & ~BITMAP_FLAGS_KNOWN)
        return damaged(err, q->file, b->off, "unknown flags of a bitmap: 0x%" PRIx32, b->flags);
    if (b->granularity_bits < 9 || b->granularity_bits > 31)
        return damaged(err, q->file, b->off, "granularity_bits is %u (9 to 31 are possible)",
                       b->granularity_bits);
    if (b->name_len == 0 || b->name_len > MAX_NAME)
        return damaged(err, q->file, b->off, "name_size is %u (1 to %u are possible)", b->name_len, MAX_NAME);
    return true;
}

bool qcow2_bitmap_fits(const struct qcow2 *q, const struct qcow2_bitmap *b)
{
    return b->flags & BITMAP_IN_USE ||
           b->table_size == qcow2_bitmap_table_size(q, q->active.size, b->granularity_bits);
}

static bool read_bitmap(struct qcow2 *q, uint64_t *at, uint64_t end, struct qcow2_bitmap *b,
                        struct error *err)
{
    uint8_t raw[BITMAP_SIZE];
    if (end - *at < sizeof raw)
        return damaged(err, q->file, *at, "the bitmap directory is too short");
    if (!qcow2_meta_read(q, *at, raw, sizeof raw, err))
        return false;
    *b = (struct qcow2_bitmap){
        .off = *at,
        .table_offset = qcow2_bitmap_bitmap_table_offset(raw),
        .table_size = (uint32_t)qcow2_bitmap_bitmap_table_size(raw),
        .flags = (uint32_t)qcow2_bitmap_flags(raw),
        .granularity_bits = (uint8_t)qcow2_bitmap_granularity_bits(raw),
        .name_len = (uint16_t)qcow2_bitmap_name_size(raw),
        .extra_len = (uint32_t)qcow2_bitmap_extra_data_size(raw),
    };
    uint64_t len = round_up(sizeof raw + (uint64_t)b->extra_len + b->name_len, 8);
    if (len > end - *at)
        return damaged(err, q->file, *at, "a bitmap directory entry reaches past the directory's end");
    if (!check_bitmap(q, b, (uint8_t)qcow2_bitmap_type(raw), err))
        return false;
    b->extra = mem_new(b->extra_len, err);
    b->name = mem_new((size_t)b->name_len + 1, err);
    if (!b->extra || !b->name || !qcow2_meta_read(q, *at + sizeof raw, b->extra, b->extra_len, err) ||
        !qcow2_meta_read(q, *at + sizeof raw + b->extra_len, b->name, b->name_len, err))
        return false;
    *at += len;
    return true;
}

bool qcow2_bitmaps_load(struct qcow2 *q, struct qcow2_bitmap_list *list, struct error *err)
{
    uint64_t at = q->bitmaps.directory_offset, end = at + q->bitmaps.directory_size, tables = 0;
    *list = (struct qcow2_bitmap_list){0};
    for (uint32_t i = 0; q->bitmaps.present && i < q->bitmaps.count; i++) {
        struct qcow2_bitmap bitmap = {0};
        bool ok = interrupt_check(err) &&
                  mem_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, err);
        ok = ok && read_bitmap(q, &at, end, &bitmap, err);
        /* No two tables share a byte, and reading one for each of many bitmaps would take forever. */
        tables += (uint64_t)bitmap.table_size * 8;
        if (ok && tables > q->file->size)
            ok = damaged(err, q->file, bitmap.off, "the tables of the bitmaps overlap");
        if (!ok) {
            free(bitmap.name);
            free(bitmap.extra);
            qcow2_bitmaps_free(list);
            return because(err, "bitmap %" PRIu32, i);
        }
        list->items[list->count++] = bitmap;
    }
    if (at != end) {
        qcow2_bitmaps_free(list);
        return damaged(err, q->file, q->bitmaps.directory_offset,
                       "the bitmap directory has %" PRIu64 " bytes, but its %" PRIu32
                       " bitmaps take %" PRIu64,
                       q->bitmaps.directory_size, q->bitmaps.count, at - q->bitmaps.directory_offset);
    }
    return true;
}

/* ---- bits ---- */

uint64_t qcow2_bitmap_table_size(const struct qcow2 *q, uint64_t size, unsigned granularity_bits)
{
    uint64_t bits = div_up(size, UINT64_C(1) << granularity_bits);
    return MAX_OF(div_up(div_up(bits, 8), q->cluster_size), 1);
}

/* Give a table entry a cluster of bits, all like the entry said. */
static bool materialise(struct qcow2 *q, uint64_t place, uint64_t *entry, struct error *err)
{
    struct qcow2_space space;
    uint8_t raw[4096];
    memset(raw, *entry & 1 ? 0xff : 0, sizeof raw);
    if (!qcow2_allocate(q, 1, true, KIND_BITMAP_DATA, &space, err))
        return false;
    for (uint64_t at = 0; at < q->cluster_size; at += q->block_size)
        if (!qcow2_meta_write(q, space.off + at, raw, q->block_size, err))
            return false;
    *entry = space.off;
    return qcow2_meta_put64(q, place, space.off, err);
}

/* Set bits [from, to) of one cluster of bits. */
static bool set_bits(struct qcow2 *q, uint64_t off, uint64_t from, uint64_t to, struct error *err)
{
    while (from < to) {
        struct cache_block *block;
        uint64_t byte = off + from / 8, at = byte % q->block_size;
        uint64_t stop = MIN_OF(to, from - from % 8 + (q->block_size - at) * 8);
        if (!cache_get(q->meta, byte - at, &block, err))
            return false;
        for (; from < stop; from++)
            block->data[(off + from / 8) % q->block_size] |= (uint8_t)(1u << from % 8);
        cache_dirty(q->meta, block, WRITE_UPDATE);
        cache_release(q->meta, block);
    }
    return true;
}

bool qcow2_bitmap_check_entry(struct qcow2 *q, uint64_t place, uint64_t entry, struct error *err)
{
    uint64_t off = entry & ENTRY_OFFSET;
    return (!(entry & ~(ENTRY_OFFSET | 1)) && !(off && entry & 1) && off % q->cluster_size == 0) ||
           qcow2_corrupt(q, place, err, "bitmap table entry 0x%" PRIx64 " is not valid", entry);
}

bool qcow2_bitmap_set(struct qcow2 *q, const struct qcow2_bitmap *b, uint64_t off, uint64_t len,
                      struct error *err)
{
    uint64_t per_cluster = q->cluster_size * 8;
    uint64_t from = off >> b->granularity_bits, to = ((off + len - 1) >> b->granularity_bits) + 1;
    while (from < to) {
        uint64_t index = from / per_cluster, stop = MIN_OF(to, (index + 1) * per_cluster), entry;
        uint64_t place = b->table_offset + index * 8;
        if (index >= b->table_size)
            return fail(err, E_DAMAGED, "bitmap '%s' is too short for the disk", b->name);
        if (!qcow2_meta_get64(q, place, &entry, err) || !qcow2_bitmap_check_entry(q, place, entry, err))
            return false;
        if (entry != 1) {
            if (entry == 0 && !materialise(q, place, &entry, err))
                return false;
            if (!qcow2_update_check(q, entry, q->cluster_size, KIND_BITMAP_DATA, err) ||
                !set_bits(q, entry, from % per_cluster, stop - index * per_cluster, err))
                return false;
        }
        from = stop;
    }
    return true;
}

bool qcow2_bitmap_each(struct qcow2 *q, const struct qcow2_bitmap *b, uint64_t size, qcow2_bits_fn *emit,
                       void *arg, struct error *err)
{
    uint64_t per_cluster = q->cluster_size * 8, bits = div_up(size, UINT64_C(1) << b->granularity_bits);
    uint64_t start = UINT64_MAX;
    for (uint64_t bit = 0; bit <= bits;) {
        uint64_t index = bit / per_cluster, entry = 0, stop = MIN_OF(bits, (index + 1) * per_cluster);
        uint8_t byte = 0;
        if (bit < bits && !qcow2_meta_get64(q, b->table_offset + index * 8, &entry, err))
            return false;
        if (!qcow2_bitmap_check_entry(q, b->table_offset + index * 8, entry, err))
            return false;
        if (bit == bits || entry == 0 || entry == 1) {
            bool set = entry == 1 && bit < bits;
            if (!set && start != UINT64_MAX && !emit(start, bit - start, arg, err))
                return false;
            start = set ? MIN_OF(start, bit) : UINT64_MAX;
            bit = bit == bits ? bits + 1 : stop;
            continue;
        }
        if (!interrupt_check(err) || !qcow2_meta_read(q, entry + bit % per_cluster / 8, &byte, 1, err))
            return false;
        for (uint64_t end = MIN_OF(stop, bit + 8); bit < end; bit++, byte >>= 1) {
            bool set = byte & 1;
            if (!set && start != UINT64_MAX && !emit(start, bit - start, arg, err))
                return false;
            start = set ? MIN_OF(start, bit) : UINT64_MAX;
        }
    }
    return true;
}

static bool free_bits(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    const uint64_t *table = arg;
    uint64_t off = entry & ENTRY_OFFSET;
    if (!qcow2_bitmap_check_entry(q, *table + index * 8, entry, err))
        return false;
    if (off == 0)
        return true;
    qcow2_index_remove(q, off, 1, KIND_BITMAP_DATA);
    qcow2_forget_clusters(q, off, 1);
    return qcow2_free(q, off, 1, err);
}

bool qcow2_bitmap_free_bits(struct qcow2 *q, const struct qcow2_bitmap *b, uint64_t first, struct error *err)
{
    uint64_t from = b->table_offset + first * 8;
    return first >= b->table_size || qcow2_each_entry(q, from, b->table_size - first, free_bits, &from, err);
}

/* ---- following the guest's changes ---- */

bool qcow2_bitmaps_track(struct qcow2 *q, struct error *err)
{
    struct qcow2_bitmap_list list;
    q->tracks = false;
    if (!qcow2_bitmaps_load(q, &list, err))
        return false;
    for (size_t i = 0; i < list.count; i++)
        q->tracks = q->tracks || qcow2_bitmap_follows(&list.items[i]);
    qcow2_bitmaps_free(&list);
    return true;
}

bool qcow2_bitmap_follows(const struct qcow2_bitmap *b)
{
    return b->flags & BITMAP_AUTO && !(b->flags & BITMAP_IN_USE);
}

bool qcow2_touch(struct qcow2 *q, uint64_t off, uint64_t n, struct error *err)
{
    return !q->tracks || n == 0 || ranges_add(&q->touched, off, n, err);
}

bool qcow2_bitmaps_flush(struct qcow2 *q, struct error *err)
{
    struct qcow2_bitmap_list list;
    struct range range;
    if (q->touched.total == 0)
        return true;
    if (!qcow2_bitmaps_load(q, &list, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < list.count; i++)
        for (uint64_t at = 0;
             ok && qcow2_bitmap_follows(&list.items[i]) && ranges_next(&q->touched, at, &range);
             at = range.start + range.len) {
            uint64_t end =
                MIN_OF(range.start + range.len, q->active.size); /* the disk may have shrunk since */
            ok = range.start >= end ||
                 qcow2_bitmap_set(q, &list.items[i], range.start, end - range.start, err);
        }
    qcow2_bitmaps_free(&list);
    if (ok)
        ranges_clear(&q->touched);
    return ok;
}
