/* Persistent bitmaps: the directory. */
#include "alloc.h"
#include "qcow2.h"

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
    uint64_t at = q->bitmaps.directory_offset, end = at + q->bitmaps.directory_size;
    *list = (struct qcow2_bitmap_list){0};
    for (uint32_t i = 0; q->bitmaps.present && i < q->bitmaps.count; i++) {
        struct qcow2_bitmap bitmap = {0};
        bool ok = interrupt_check(err) &&
                  mem_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, err);
        if (!ok || !read_bitmap(q, &at, end, &bitmap, err)) {
            free(bitmap.name);
            free(bitmap.extra);
            qcow2_bitmaps_free(list);
            return because(err, "bitmap %" PRIu32, i);
        }
        list->items[list->count++] = bitmap;
    }
    return true;
}

bool qcow2_touch(struct qcow2 *q, uint64_t off, uint64_t n, struct error *err)
{
    return !q->tracks || ranges_add(&q->touched, off, n, err);
}
