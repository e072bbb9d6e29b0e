/* Adding, removing and changing persistent bitmaps. */
#include "alloc.h"
#include "bitmap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the directory ---- */

static uint64_t entry_bytes(const struct qcow2_bitmap *b)
{
    return round_up((uint64_t)BITMAP_SIZE + b->extra_len + b->name_len, 8);
}

static uint64_t directory_bytes(const struct qcow2_bitmap_list *list)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < list->count; i++)
        bytes += entry_bytes(&list->items[i]);
    return bytes;
}

static void put_entry(const struct qcow2_bitmap *b, uint8_t *raw)
{
    qcow2_bitmap_set_bitmap_table_offset(raw, b->table_offset);
    qcow2_bitmap_set_bitmap_table_size(raw, b->table_size);
    qcow2_bitmap_set_flags(raw, b->flags);
    qcow2_bitmap_set_type(raw, 1);
    qcow2_bitmap_set_granularity_bits(raw, b->granularity_bits);
    qcow2_bitmap_set_name_size(raw, b->name_len);
    qcow2_bitmap_set_extra_data_size(raw, b->extra_len);
    memcpy(raw + BITMAP_SIZE, b->extra, b->extra_len);
    memcpy(raw + BITMAP_SIZE + b->extra_len, b->name, b->name_len);
}

static bool write_directory(struct qcow2 *q, const struct qcow2_bitmap_list *list, struct qcow2_bitmaps *to,
                            struct error *err)
{
    struct qcow2_space space;
    uint64_t bytes = directory_bytes(list), at = 0;
    *to = (struct qcow2_bitmaps){0};
    if (list->count == 0)
        return true;
    if (list->count > MAX_BITMAPS || bytes > MAX_BITMAP_DIRECTORY)
        return fail(err, E_TOOBIG, "the bitmap directory would be too large");
    uint8_t *raw = mem_new(bytes, err);
    if (!raw)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        put_entry(&list->items[i], raw + at);
        at += entry_bytes(&list->items[i]);
    }
    bool ok = qcow2_allocate(q, div_up(bytes, q->cluster_size), true, KIND_BITMAP_DIRECTORY, &space, err) &&
              qcow2_meta_write(q, space.off, raw, bytes, err);
    free(raw);
    *to = (struct qcow2_bitmaps){true, (uint32_t)list->count, ok ? space.off : 0, bytes};
    return ok;
}

/* Write the directory anew and make the header name it; the old one goes. */
static bool replace_directory(struct qcow2 *q, const struct qcow2_bitmap_list *list, struct error *err)
{
    struct qcow2_bitmaps old = q->bitmaps;
    struct qcow2_area area;
    uint64_t autoclear = q->h.autoclear_features & ~AUTOCLEAR_BITMAPS;
    qcow2_area_current(q, &area);
    if (!write_directory(q, list, &area.bitmaps, err) ||
        !QCOW2_HEADER_PUT(q, autoclear_features, autoclear | (list->count ? AUTOCLEAR_BITMAPS : 0), err) ||
        !qcow2_area_write(q, &area, err))
        return false;
    if (old.present) {
        uint64_t clusters = div_up(old.directory_size, q->cluster_size);
        qcow2_index_remove(q, old.directory_offset, clusters, KIND_BITMAP_DIRECTORY);
        qcow2_forget_clusters(q, old.directory_offset, clusters);
        if (!qcow2_free(q, old.directory_offset, clusters, err))
            return false;
    }
    return qcow2_bitmaps_track(q, err);
}

/* The bitmap of that name, in a list that the caller frees unless this fails. */
static bool find_bitmap(struct qcow2 *q, const char *name, struct qcow2_bitmap_list *list, size_t *found,
                        struct error *err)
{
    if (!qcow2_bitmaps_load(q, list, err))
        return false;
    for (*found = 0; *found < list->count; ++*found)
        if (strcmp(list->items[*found].name, name) == 0)
            return true;
    qcow2_bitmaps_free(list);
    return fail(err, E_NOENT, "there is no bitmap '%s'", name);
}

/* The same for one that is about to be changed. */
static bool find_to_change(struct qcow2 *q, const char *name, struct qcow2_bitmap_list *list, size_t *found,
                           struct error *err)
{
    return qcow2_prepare(q, err) && qcow2_bitmaps_flush(q, err) && find_bitmap(q, name, list, found, err);
}

/* A bitmap that was being changed when its writer stopped, or whose extra data nobody here knows. */
static bool check_usable(const struct qcow2_bitmap *b, struct error *err)
{
    if (b->flags & BITMAP_IN_USE)
        return fail(err, E_DAMAGED, "bitmap '%s' is inconsistent: it can only be removed", b->name);
    if (b->extra_len && !(b->flags & BITMAP_EXTRA_COMPATIBLE))
        return fail(err, E_UNSUPPORTED, "bitmap '%s' has extra data that must be understood to use it",
                    b->name);
    return true;
}

/* ---- list ---- */

static bool add_bits(uint64_t first, uint64_t count, void *arg, struct error *err)
{
    (void)first;
    (void)err;
    *(uint64_t *)arg += count;
    return true;
}

bool qcow2_bitmaps_list(struct device *dev, bool (*emit)(const struct bitmap_info *, void *), void *arg,
                        struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_bitmap_list list;
    if (q->h.version < 3)
        return fail(err, E_UNSUPPORTED, "version 2 has no bitmaps");
    bool ok = qcow2_bitmaps_load(q, &list, err), more = true;
    for (size_t i = 0; ok && more && i < list.count; i++) {
        const struct qcow2_bitmap *b = &list.items[i];
        struct bitmap_info info = {.granularity = UINT64_C(1) << b->granularity_bits,
                                   .enabled = b->flags & BITMAP_AUTO,
                                   .in_use = b->flags & BITMAP_IN_USE,
                                   .inconsistent = b->flags & BITMAP_IN_USE};
        uint64_t bits = 0;
        snprintf(info.name, sizeof info.name, "%s", b->name);
        if (b->table_size >= qcow2_bitmap_table_size(q, q->active.size, b->granularity_bits))
            ok = qcow2_bitmap_each(q, b, q->active.size, add_bits, &bits, err);
        else
            info.inconsistent = true;
        info.dirty_bytes = MIN_OF(bits << b->granularity_bits, q->active.size);
        more = ok && emit(&info, arg);
    }
    qcow2_bitmaps_free(&list);
    return ok;
}

/* ---- add, remove ---- */

static bool check_new(struct qcow2 *q, const struct qcow2_bitmap_list *list, const char *name,
                      uint64_t granularity, struct error *err)
{
    if (q->h.version < 3)
        return fail(err, E_UNSUPPORTED, "bitmaps need version 3 (compat=1.1)");
    if (!*name || strlen(name) > MAX_NAME)
        return fail(err, E_NAME, "a bitmap's name has 1 to %u bytes", MAX_NAME);
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return fail(err, E_EXIST, "there is a bitmap '%s' already", name);
    if (!is_power_of_two(granularity) || granularity < 512 || granularity > 2 * GiB)
        return fail(err, E_INVALID, "a bitmap's granularity is a power of two from 512 to 2G, not %" PRIu64,
                    granularity);
    uint64_t bytes = div_up(div_up(q->active.size, granularity), 8);
    if (bytes > MAX_BITMAP_BYTES)
        return fail(err, E_TOOBIG, "with this granularity the bitmap would be too large (512 MiB at most)");
    return true;
}

/* An empty table of so many entries. */
static bool new_table(struct qcow2 *q, uint64_t entries, uint64_t *off, struct error *err)
{
    static const uint8_t zeros[4096];
    struct qcow2_space space;
    uint64_t clusters = div_up(entries * 8, q->cluster_size);
    if (!qcow2_allocate(q, clusters, true, KIND_BITMAP_TABLE, &space, err))
        return false;
    for (uint64_t at = 0; at < clusters << q->cluster_bits; at += q->block_size)
        if (!qcow2_meta_write(q, space.off + at, zeros, q->block_size, err))
            return false;
    *off = space.off;
    return true;
}

static bool append(struct qcow2 *q, struct qcow2_bitmap_list *list, const char *name, uint64_t granularity,
                   bool disabled, struct error *err)
{
    struct qcow2_bitmap b = {.granularity_bits = (uint8_t)log2_of(granularity),
                             .flags = disabled ? 0 : BITMAP_AUTO,
                             .name_len = (uint16_t)strlen(name)};
    b.table_size = (uint32_t)qcow2_bitmap_table_size(q, q->active.size, b.granularity_bits);
    if (!mem_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, err))
        return false;
    b.name = mem_string(name, err);
    b.extra = mem_new(0, err);
    list->items[list->count] = b;
    list->count++;
    return b.name && b.extra && new_table(q, b.table_size, &list->items[list->count - 1].table_offset, err);
}

bool qcow2_bitmap_add(struct device *dev, const char *name, uint64_t granularity, bool disabled,
                      struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_bitmap_list list;
    if (granularity == 0)
        granularity = MIN_OF(MAX_OF(q->cluster_size, 4 * KiB), 64 * KiB);
    if (q->active.size == 0)
        return fail(err, E_UNSUPPORTED, "a disk without a byte cannot have bitmaps");
    if (!qcow2_prepare(q, err) || !qcow2_bitmaps_flush(q, err) || !qcow2_bitmaps_load(q, &list, err))
        return false;
    bool ok = check_new(q, &list, name, granularity, err) &&
              append(q, &list, name, granularity, disabled, err) && replace_directory(q, &list, err);
    qcow2_bitmaps_free(&list);
    return ok;
}

static bool free_table(struct qcow2 *q, const struct qcow2_bitmap *b, struct error *err)
{
    uint64_t clusters = div_up((uint64_t)b->table_size * 8, q->cluster_size);
    qcow2_index_remove(q, b->table_offset, clusters, KIND_BITMAP_TABLE);
    qcow2_forget_clusters(q, b->table_offset, clusters);
    return qcow2_free(q, b->table_offset, clusters, err);
}

bool qcow2_bitmap_remove(struct device *dev, const char *name, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_bitmap_list list;
    size_t found;
    if (!find_to_change(q, name, &list, &found, err))
        return false;
    struct qcow2_bitmap b = list.items[found];
    memmove(&list.items[found], &list.items[found + 1], (list.count - found - 1) * sizeof b);
    list.count--;
    bool ok =
        qcow2_bitmap_free_bits(q, &b, 0, err) && free_table(q, &b, err) && replace_directory(q, &list, err);
    free(b.name);
    free(b.extra);
    qcow2_bitmaps_free(&list);
    return ok;
}

/* ---- enable, clear, merge ---- */

bool qcow2_bitmap_enable(struct device *dev, const char *name, bool enabled, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_bitmap_list list;
    size_t found;
    if (!find_to_change(q, name, &list, &found, err))
        return false;
    const struct qcow2_bitmap *b = &list.items[found];
    uint8_t raw[4];
    store_be32(raw, (b->flags & ~BITMAP_AUTO) | (enabled ? BITMAP_AUTO : 0));
    bool ok = check_usable(b, err) &&
              qcow2_meta_write(q, b->off + qcow2_bitmap_off_flags, raw, sizeof raw, err) &&
              qcow2_bitmaps_track(q, err);
    qcow2_bitmaps_free(&list);
    return ok;
}

static bool zero_table(struct qcow2 *q, const struct qcow2_bitmap *b, struct error *err)
{
    for (uint32_t i = 0; i < b->table_size; i++)
        if (!qcow2_meta_put64(q, b->table_offset + (uint64_t)i * 8, 0, err))
            return false;
    return true;
}

bool qcow2_bitmap_clear(struct device *dev, const char *name, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_bitmap_list list;
    size_t found;
    if (!find_to_change(q, name, &list, &found, err))
        return false;
    const struct qcow2_bitmap *b = &list.items[found];
    bool ok = check_usable(b, err) && qcow2_bitmap_free_bits(q, b, 0, err) && zero_table(q, b, err);
    qcow2_bitmaps_free(&list);
    return ok;
}

/* Bits of one bitmap on their way into another. */
struct merging {
    struct qcow2 *q;
    const struct qcow2_bitmap *into, *from;
};

static bool merge_run(uint64_t first, uint64_t count, void *arg, struct error *err)
{
    const struct merging *m = arg;
    uint64_t off = first << m->from->granularity_bits, end = (first + count) << m->from->granularity_bits;
    return qcow2_bitmap_set(m->q, m->into, off, MIN_OF(end, m->q->active.size) - off, err);
}

bool qcow2_bitmap_merge(struct device *dev, const char *into, const char *from, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_bitmap_list list, other;
    size_t to_index, from_index;
    if (!find_to_change(q, into, &list, &to_index, err))
        return false;
    bool ok = find_bitmap(q, from, &other, &from_index, err);
    if (ok) {
        struct merging m = {q, &list.items[to_index], &other.items[from_index]};
        ok = check_usable(m.into, err) && check_usable(m.from, err) &&
             qcow2_bitmap_each(q, m.from, q->active.size, merge_run, &m, err);
        qcow2_bitmaps_free(&other);
    }
    qcow2_bitmaps_free(&list);
    return ok;
}

/* ---- another disk size ---- */

/* Bits behind the disk's end must be zero. */
static bool clear_tail(struct qcow2 *q, const struct qcow2_bitmap *b, uint64_t size, struct error *err)
{
    uint64_t bits = div_up(size, UINT64_C(1) << b->granularity_bits), per_cluster = q->cluster_size * 8,
             entry;
    uint64_t index = bits / per_cluster, in_cluster = bits % per_cluster;
    if (in_cluster == 0 || index >= b->table_size)
        return true;
    uint64_t place = b->table_offset + index * 8;
    if (!qcow2_meta_get64(q, place, &entry, err) || !qcow2_bitmap_check_entry(q, place, entry, err))
        return false;
    if ((entry & ENTRY_OFFSET) == 0)
        return true;
    uint8_t byte;
    if (!qcow2_update_check(q, entry, q->cluster_size, KIND_BITMAP_DATA, err) ||
        !qcow2_meta_read(q, entry + in_cluster / 8, &byte, 1, err))
        return false;
    byte &= (uint8_t)((1u << in_cluster % 8) - 1);
    for (uint64_t at = in_cluster / 8; at < q->cluster_size; at++, byte = 0)
        if (!qcow2_meta_write(q, entry + at, &byte, 1, err))
            return false;
    return true;
}

static bool resize_one(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t size, struct error *err)
{
    uint64_t entries = qcow2_bitmap_table_size(q, size, b->granularity_bits), table;
    struct qcow2_bitmap old = *b;
    if (!check_usable(b, err))
        return because(err, "the disk cannot change its size");
    if (size == 0)
        return fail(err, E_UNSUPPORTED, "a disk without a byte cannot have the bitmap '%s'", b->name);
    if (div_up(div_up(size, UINT64_C(1) << b->granularity_bits), 8) > MAX_BITMAP_BYTES)
        return fail(err, E_TOOBIG, "bitmap '%s' would be too large for the disk", b->name);
    if (!new_table(q, entries, &table, err) || !qcow2_bitmap_free_bits(q, &old, entries, err))
        return false;
    for (uint64_t i = 0; i < MIN_OF(entries, old.table_size); i++) {
        uint64_t entry;
        if (!qcow2_meta_get64(q, old.table_offset + i * 8, &entry, err) ||
            !qcow2_meta_put64(q, table + i * 8, entry, err))
            return false;
    }
    b->table_offset = table;
    b->table_size = (uint32_t)entries;
    return free_table(q, &old, err) && clear_tail(q, b, size, err);
}

bool qcow2_bitmaps_resize(struct qcow2 *q, uint64_t size, struct error *err)
{
    struct qcow2_bitmap_list list;
    if (!q->bitmaps.present)
        return true;
    if (!qcow2_bitmaps_flush(q, err) || !qcow2_bitmaps_load(q, &list, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < list.count; i++)
        ok = resize_one(q, &list.items[i], size, err);
    ok = ok && replace_directory(q, &list, err);
    qcow2_bitmaps_free(&list);
    return ok;
}
