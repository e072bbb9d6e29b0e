/* `show qcow2.STRUCTURE ARGS`: where a structure lies;
 * and the reverse, what a byte of the file belongs to. */
#include "qcow2.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The arguments after the structure's name. */
struct query {
    struct qcow2 *q;
    const char *args;
    bool has_number[2];
    uint64_t number[2];
    struct place *out;
};

static bool parse_numbers(struct query *query, struct error *err)
{
    const char *p = query->args;
    for (size_t i = 0; i < 2; i++) {
        char *end;
        while (*p == ' ')
            p++;
        query->has_number[i] = *p != '\0';
        if (!*p)
            continue;
        query->number[i] = strtoull(p, &end, 0);
        if (end == p || (*end && *end != ' '))
            return fail(err, E_INVALID, "'%s' is not a number", p);
        p = end;
    }
    return true;
}

static bool place_at(const struct query *query, const struct layout *layout, uint64_t off, uint64_t size,
                     uint64_t index, const char *title)
{
    *query->out = (struct place){.layout = layout,
                                 .device = query->q->file,
                                 .off = off,
                                 .size = (uint32_t)size,
                                 .owner = &query->q->dev,
                                 .index = index};
    snprintf(query->out->title, sizeof query->out->title, "%s", title);
    return true;
}

static bool need_number(const struct query *query, const char *what, uint64_t count, struct error *err)
{
    if (!query->has_number[0])
        return fail(err, E_USAGE, "which %s? (0 to %" PRIu64 ")", what, count ? count - 1 : 0);
    if (query->number[0] >= count)
        return fail(err, E_NOENT, "no %s %" PRIu64 " (there are %" PRIu64 ")", what, query->number[0], count);
    return true;
}

static bool locate_header(struct query *query, struct error *err)
{
    const struct qcow2 *q = query->q;
    (void)err;
    if (q->h.version < 3)
        return place_at(query, &qcow2_header_v2_layout, 0, HEADER_V2_SIZE, 0, "header");
    return place_at(query, &qcow2_header_layout, 0, MIN_OF(q->h.header_length, HEADER_V3_SIZE), 0, "header");
}

static bool locate_extension(struct query *query, struct error *err)
{
    const struct qcow2 *q = query->q;
    if (!need_number(query, "extension", q->extension_count, err))
        return false;
    const struct qcow2_extension *ext = &q->extensions[query->number[0]];
    return place_at(query, &qcow2_extension_layout, ext->off - EXTENSION_HEAD,
                    EXTENSION_HEAD + (uint64_t)ext->length, query->number[0], "header extension");
}

static bool locate_typed(struct query *query, uint32_t type, const struct layout *layout, const char *title,
                         struct error *err)
{
    const struct qcow2 *q = query->q;
    for (size_t i = 0; i < q->extension_count; i++)
        if (q->extensions[i].type == type && q->extensions[i].length >= layout->size)
            return place_at(query, layout, q->extensions[i].off,
                            layout->size ? layout->size : q->extensions[i].length, i, title);
    return fail(err, E_NOENT, "the image has no %s", title);
}

static bool locate_feature(struct query *query, struct error *err)
{
    if (!locate_typed(query, EXT_FEATURE_NAMES, &qcow2_features_layout, "feature name table", err))
        return false;
    uint64_t count = query->out->size / FEATURE_NAME_SIZE, off = query->out->off;
    if (!query->has_number[0])
        return true;
    return need_number(query, "feature name", count, err) &&
           place_at(query, &qcow2_feature_name_layout, off + query->number[0] * FEATURE_NAME_SIZE,
                    FEATURE_NAME_SIZE, query->number[0], "feature name");
}

static bool locate_bitmaps_extension(struct query *query, struct error *err)
{
    return locate_typed(query, EXT_BITMAPS, &qcow2_bitmaps_layout, "bitmaps extension", err);
}

static bool locate_crypto(struct query *query, struct error *err)
{
    return locate_typed(query, EXT_CRYPTO, &qcow2_crypto_layout, "encryption header extension", err);
}

static bool locate_l1(struct query *query, struct error *err)
{
    const struct qcow2 *q = query->q;
    if (!query->has_number[0])
        return place_at(query, &qcow2_l1_table_layout, q->h.l1_table_offset, (uint64_t)q->h.l1_size * 8, 0,
                        "L1 table");
    return need_number(query, "L1 entry", q->h.l1_size, err) &&
           place_at(query, &qcow2_l1_layout, q->h.l1_table_offset + query->number[0] * 8, 8, query->number[0],
                    "L1 entry");
}

/* l2 N: the table of L1 entry N; l2 N M: its entry M. */
static bool locate_l2(struct query *query, struct error *err)
{
    struct qcow2 *q = query->q;
    uint64_t entry;
    if (!need_number(query, "L2 table", q->h.l1_size, err) ||
        !qcow2_l1_get(&q->active, query->number[0], &entry, err))
        return false;
    uint64_t table = entry & ENTRY_OFFSET;
    char title[80];
    if (table == 0)
        return fail(err, E_NOENT, "L1 entry %" PRIu64 " has no L2 table", query->number[0]);
    if (!query->has_number[1]) {
        snprintf(title, sizeof title, "L2 table of L1 entry %" PRIu64, query->number[0]);
        return place_at(query, q->extended ? &qcow2_l2_extended_table_layout : &qcow2_l2_table_layout, table,
                        q->cluster_size, query->number[0], title);
    }
    if (query->number[1] >= q->l2_entries)
        return fail(err, E_NOENT, "an L2 table has %" PRIu32 " entries", q->l2_entries);
    snprintf(title, sizeof title, "L2 entry %" PRIu64 " of table %" PRIu64, query->number[1],
             query->number[0]);
    return place_at(query, q->extended ? &qcow2_l2_extended_layout : &qcow2_l2_layout,
                    table + query->number[1] * q->entry_size, q->entry_size, query->number[1], title);
}

static bool locate_reftable(struct query *query, struct error *err)
{
    const struct qcow2 *q = query->q;
    uint64_t bytes = (uint64_t)q->h.refcount_table_clusters << q->cluster_bits;
    if (!query->has_number[0])
        return place_at(query, &qcow2_reftable_table_layout, q->h.refcount_table_offset, bytes, 0,
                        "refcount table");
    return need_number(query, "refcount table entry", bytes / 8, err) &&
           place_at(query, &qcow2_reftable_layout, q->h.refcount_table_offset + query->number[0] * 8, 8,
                    query->number[0], "refcount table entry");
}

static bool locate_refcount(struct query *query, struct error *err)
{
    struct qcow2 *q = query->q;
    uint64_t entries = ((uint64_t)q->h.refcount_table_clusters << q->cluster_bits) / 8, block;
    if (!need_number(query, "cluster", entries * q->rb_entries, err))
        return false;
    uint64_t cluster = query->number[0], i = cluster % q->rb_entries;
    if (!qcow2_meta_get64(q, q->h.refcount_table_offset + cluster / q->rb_entries * 8, &block, err))
        return false;
    block &= ~REFTABLE_RESERVED;
    if (block == 0)
        return fail(err, E_NOENT, "no refcount block counts cluster %" PRIu64 ": it is free", cluster);
    unsigned order = q->h.refcount_order < 3 ? 3 : q->h.refcount_order;
    char title[60];
    snprintf(title, sizeof title, "refcount of cluster %" PRIu64, cluster);
    return place_at(query, &qcow2_refcount_layouts[order - 3], block + (i << q->h.refcount_order) / 8,
                    1u << (order - 3), cluster, title);
}

static bool find_snapshot(struct query *query, uint64_t *off, uint32_t *extra, struct error *err)
{
    struct qcow2 *q = query->q;
    struct qcow2_snapshot_list list;
    if (!need_number(query, "snapshot", q->h.nb_snapshots, err) || !qcow2_snapshots_load(q, &list, err))
        return false;
    *off = list.items[query->number[0]].off;
    *extra = list.items[query->number[0]].extra_len;
    qcow2_snapshots_free(&list);
    return true;
}

static bool locate_snapshot(struct query *query, struct error *err)
{
    uint64_t off;
    uint32_t extra;
    return find_snapshot(query, &off, &extra, err) &&
           place_at(query, &qcow2_snapshot_layout, off, SNAPSHOT_SIZE, query->number[0],
                    "snapshot table entry");
}

static bool locate_snapshot_extra(struct query *query, struct error *err)
{
    uint64_t off;
    uint32_t extra;
    return find_snapshot(query, &off, &extra, err) &&
           (extra || fail(err, E_NOENT, "snapshot %" PRIu64 " has no extra data", query->number[0])) &&
           place_at(query, &qcow2_snapshot_extra_layout, off + SNAPSHOT_SIZE, extra, query->number[0],
                    "extra data of a snapshot");
}

static bool locate_bitmap(struct query *query, struct error *err)
{
    struct qcow2 *q = query->q;
    struct qcow2_bitmap_list list;
    if (!need_number(query, "bitmap", q->bitmaps.count, err) || !qcow2_bitmaps_load(q, &list, err))
        return false;
    uint64_t off = list.items[query->number[0]].off;
    qcow2_bitmaps_free(&list);
    return place_at(query, &qcow2_bitmap_layout, off, BITMAP_SIZE, query->number[0],
                    "bitmap directory entry");
}

static bool locate_bitmap_table(struct query *query, struct error *err)
{
    struct qcow2 *q = query->q;
    struct qcow2_bitmap_list list;
    if (!need_number(query, "bitmap", q->bitmaps.count, err) || !qcow2_bitmaps_load(q, &list, err))
        return false;
    struct qcow2_bitmap bitmap = list.items[query->number[0]];
    qcow2_bitmaps_free(&list);
    if (!query->has_number[1])
        return place_at(query, &qcow2_bitmap_table_table_layout, bitmap.table_offset,
                        (uint64_t)bitmap.table_size * 8, query->number[0], "bitmap table");
    if (query->number[1] >= bitmap.table_size)
        return fail(err, E_NOENT, "the bitmap table has %" PRIu32 " entries", bitmap.table_size);
    return place_at(query, &qcow2_bitmap_table_layout, bitmap.table_offset + query->number[1] * 8, 8,
                    query->number[1], "bitmap table entry");
}

bool qcow2_locate(void *opened, const char *structure, const char *args, struct place *out, struct error *err)
{
    static const struct {
        const char *name;
        bool (*locate)(struct query *, struct error *);
    } rows[] = {
        {"header", locate_header},
        {"extension", locate_extension},
        {"feature", locate_feature},
        {"bitmaps", locate_bitmaps_extension},
        {"crypto", locate_crypto},
        {"l1", locate_l1},
        {"l2", locate_l2},
        {"reftable", locate_reftable},
        {"refcount", locate_refcount},
        {"snapshot", locate_snapshot},
        {"snapshot-extra", locate_snapshot_extra},
        {"bitmap", locate_bitmap},
        {"bitmap-table", locate_bitmap_table},
    };
    struct query query = {.q = qcow2_of(opened), .args = args ? args : "", .out = out};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].name, structure) == 0)
            return parse_numbers(&query, err) && rows[i].locate(&query, err);
    return fail(err, E_NOENT, "qcow2 has no structure '%s'", structure);
}
