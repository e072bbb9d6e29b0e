/*
 * The walk behind check and repair: everything that refers to a cluster is visited once and counted. L2
 * tables that several L1 entries share are read once and counted as often as they are named, which bounds the
 * work by the size of the file.
 */
#include "alloc.h"
#include "bitmap.h"
#include "check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void qcow2_walk_damage(struct qcow2_walk *walk, const char *code, uint64_t off, const char *fmt, ...)
{
    char text[300];
    walk->structure_damage = true;
    if (!walk->check || walk->stopped)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!check_found(walk->check, FINDING_DAMAGE, code, walk->q->file, off, walk->check->repair == REPAIR_ALL,
                     "%s", text))
        walk->stopped = true;
}

/* Count clusters of [off, off + len); a reference past the end by
 * a cluster or more is damage, not counted. */
static bool count_range(struct qcow2_walk *walk, uint64_t off, uint64_t len, uint64_t times, unsigned seen,
                        const char *what, struct error *err)
{
    struct qcow2 *q = walk->q;
    if (len == 0)
        return true;
    uint64_t first = off >> q->cluster_bits, last = (off + len - 1) >> q->cluster_bits;
    for (uint64_t cluster = first; cluster <= last; cluster++) {
        if (cluster >= walk->file_clusters) {
            qcow2_walk_damage(walk, "past-end", off, "%s at 0x%" PRIx64 " reaches past the end of the file",
                              what, off);
            return true;
        }
        if (!counts_add(&walk->counts, cluster, times, seen, err))
            return false;
    }
    return true;
}

/* ---- refcount table ---- */

static bool see_block(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    struct qcow2_walk *walk = arg;
    uint64_t place = q->h.refcount_table_offset + index * 8, off = entry & ~REFTABLE_RESERVED;
    const char *why = NULL;
    if (entry & REFTABLE_RESERVED)
        why = "has reserved bits set";
    else if (off % q->cluster_size)
        why = "is not aligned to a cluster";
    else if (off >> q->cluster_bits >= walk->file_clusters)
        why = "lies outside the file";
    if (why) {
        walk->tables_unusable = true;
        qcow2_walk_damage(walk, "refcount-block", place,
                          "refcount block %" PRIu64 " (entry 0x%" PRIx64 ") %s", index, entry, why);
    }
    if (off % q->cluster_size || off >> q->cluster_bits >= walk->file_clusters)
        return true;
    walk->blocks[index] = off;
    if (counts_get(&walk->counts, off >> q->cluster_bits) > 0) {
        walk->tables_unusable = true;
        qcow2_walk_damage(walk, "refcount-block", place,
                          "refcount block %" PRIu64 " at 0x%" PRIx64 " is used twice", index, off);
    }
    return count_range(walk, off, q->cluster_size, 1, 0, "refcount block", err);
}

static bool walk_refcounts(struct qcow2_walk *walk, struct error *err)
{
    struct qcow2 *q = walk->q;
    walk->block_count = ((uint64_t)q->h.refcount_table_clusters << q->cluster_bits) / 8;
    walk->blocks = mem_array(walk->block_count, sizeof *walk->blocks, err);
    if (!walk->blocks)
        return false;
    if (walk->block_count == 0) {
        walk->tables_unusable = true;
        qcow2_walk_damage(walk, "refcount-table", qcow2_header_off_refcount_table_clusters, "%s",
                          q->refused_for & REFUSED_REFTABLE ? q->refused : "there is no refcount table");
        return true;
    }
    if (!range_inside(q->h.refcount_table_offset, walk->block_count * 8,
                      walk->file_clusters << q->cluster_bits))
        walk->tables_unusable = true;
    struct qcow2_counts apart = {0};
    if (walk->without_refcounts) { /* the blocks are looked at, but not counted with the rest */
        apart = walk->counts;
        walk->counts = (struct qcow2_counts){0};
    }
    bool ok =
        count_range(walk, q->h.refcount_table_offset, walk->block_count * 8, 1, 0, "refcount table", err) &&
        qcow2_each_entry(q, q->h.refcount_table_offset, walk->block_count, see_block, walk, err);
    if (walk->without_refcounts) {
        counts_free(&walk->counts);
        walk->counts = apart;
    }
    return ok;
}

bool qcow2_walk_stored(struct qcow2_walk *walk, uint64_t cluster, uint64_t *count, struct error *err)
{
    struct qcow2 *q = walk->q;
    uint64_t index = cluster / q->rb_entries;
    struct cache_block *block;
    *count = 0;
    if (index >= walk->block_count || walk->blocks[index] == 0)
        return true;
    if (!cache_get(q->meta, walk->blocks[index] + cluster % q->rb_entries / q->rb_slice * q->block_size,
                   &block, err))
        return false;
    *count = qcow2_refcount_load(q->h.refcount_order, block->data, cluster % q->rb_slice);
    cache_release(q->meta, block);
    return true;
}

/* ---- L1 and L2 ---- */

/* The slot of a table in the hash. */
static uint32_t *find_use(const struct qcow2_walk *walk, uint64_t table)
{
    size_t i = (size_t)((table >> 9) * 0x9E3779B97F4A7C15u >> 20) & walk->l2_mask;
    while (walk->l2_hash[i] && walk->l2[walk->l2_hash[i] - 1].table != table)
        i = (i + 1) & walk->l2_mask;
    return &walk->l2_hash[i];
}

static bool grow_hash(struct qcow2_walk *walk, struct error *err)
{
    size_t count = walk->l2_hash ? (walk->l2_mask + 1) * 2 : 256;
    uint32_t *larger = mem_array(count, sizeof *larger, err);
    if (!larger)
        return false;
    free(walk->l2_hash);
    walk->l2_hash = larger;
    walk->l2_mask = count - 1;
    for (size_t i = 0; i < walk->l2_used; i++)
        *find_use(walk, walk->l2[i].table) = (uint32_t)i + 1;
    return true;
}

/* The record of a table, made when it is named for the first time. */
static bool use_of_table(struct qcow2_walk *walk, uint64_t table, uint64_t l1_index, struct l2_use **out,
                         struct error *err)
{
    if (walk->l2_used >= walk->l2_mask / 2 && !grow_hash(walk, err))
        return false;
    uint32_t *slot = find_use(walk, table);
    if (*slot == 0) {
        if (walk->l2_used == UINT32_MAX)
            return fail(err, E_TOOBIG, "there are too many L2 tables to check");
        if (!mem_grow(&walk->l2, &walk->l2_capacity, walk->l2_used + 1, sizeof *walk->l2, err))
            return false;
        walk->l2[walk->l2_used++] = (struct l2_use){.table = table, .first_index = (uint32_t)l1_index};
        *slot = (uint32_t)walk->l2_used;
    }
    *out = &walk->l2[*slot - 1];
    return true;
}

bool qcow2_l2_place_ok(const struct qcow2_walk *walk, uint64_t entry, const char **why)
{
    const struct qcow2 *q = walk->q;
    uint64_t table = entry & ENTRY_OFFSET;
    unsigned kinds = qcow2_index_kinds(q, table);
    if (table % q->cluster_size)
        *why = "is not aligned to a cluster";
    else if (table >> q->cluster_bits >= walk->file_clusters)
        *why = "lies past the end of the file";
    else if (kinds)
        *why = qcow2_kind_name(kinds);
    else
        return true;
    return false;
}

/* Which L1 table is being walked. */
struct l1_walk {
    struct qcow2_walk *walk;
    uint64_t l1_offset;
    bool active;
};

static bool see_l1_entry(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    struct l1_walk *l1 = arg;
    struct qcow2_walk *walk = l1->walk;
    uint64_t place = l1->l1_offset + index * 8, table = entry & ENTRY_OFFSET;
    const char *why;
    if (entry & L1_RESERVED)
        qcow2_walk_damage(walk, "reserved-bits", place,
                          "L1 entry %" PRIu64 " (0x%" PRIx64 ") has reserved bits set", index, entry);
    if (table == 0 && entry & ENTRY_COPIED)
        qcow2_walk_damage(walk, "l2-offset", place,
                          "L1 entry %" PRIu64 " has the copied flag, but no L2 table", index);
    if (table == 0)
        return true;
    if (!qcow2_l2_place_ok(walk, entry, &why)) {
        qcow2_walk_damage(walk, "l2-offset", place, "L1 entry %" PRIu64 ": L2 table 0x%" PRIx64 " %s%s",
                          index, table, qcow2_index_kinds(q, table) ? "is the " : "", why);
        return true;
    }
    if (!range_inside(table, q->cluster_size, q->file->size))
        qcow2_walk_damage(walk, "cut-off", place,
                          "L1 entry %" PRIu64 ": the end of the file cuts its L2 table", index);
    struct l2_use *use = NULL;
    if (!use_of_table(walk, table, index, &use, err))
        return false;
    if (use->times && qcow2_has_data_file(q))
        qcow2_walk_damage(walk, "l2-shared", place,
                          "L1 entry %" PRIu64
                          ": another entry names its L2 table, too, and each offset of the "
                          "external data file belongs to one guest offset only",
                          index);
    if (l1->active && !use->active)
        use->first_index = (uint32_t)index;
    use->active = use->active || l1->active;
    use->times += use->times < (UINT32_MAX >> 1);
    unsigned seen = !l1->active ? 0 : entry & ENTRY_COPIED ? SEEN_COPIED : SEEN_SHARED;
    return count_range(walk, table, q->cluster_size, 1, seen, "L2 table", err);
}

static bool walk_l1(struct qcow2_walk *walk, uint64_t off, uint32_t size, bool active, struct error *err)
{
    struct qcow2 *q = walk->q;
    struct l1_walk l1 = {walk, off, active};
    uint64_t bytes = (uint64_t)size * 8, there = off < q->file->size ? q->file->size - off : 0;
    return count_range(walk, off, bytes, 1, 0, active ? "L1 table" : "L1 table of a snapshot", err) &&
           qcow2_each_entry(q, off, MIN_OF(bytes, there) / 8, see_l1_entry, &l1, err);
}

const char *qcow2_entry_fault(const struct qcow2 *q, struct qcow2_l2 l2, uint64_t guest,
                              uint64_t file_clusters)
{
    const char *why = NULL;
    enum qcow2_state state;
    for (uint32_t sub = 0; sub < q->sub_count; sub++)
        if (!qcow2_classify(q, l2, sub, guest, &state, &why))
            return why;
    if (state == SUB_COMPRESSED) {
        uint64_t off, len;
        qcow2_compressed_place(q, l2.entry, &off, &len);
        if ((off + len - 1) >> q->cluster_bits >= file_clusters)
            return "the compressed cluster reaches past the end of the file";
        return l2.entry & ENTRY_COPIED ? "the copied flag is set for a compressed cluster" : NULL;
    }
    if (l2.entry & (q->extended ? L2_RESERVED | ENTRY_ZERO : L2_RESERVED))
        return "reserved bits are set";
    uint64_t host = l2.entry & ENTRY_OFFSET;
    if (!qcow2_has_data_file(q) && host >> q->cluster_bits >= file_clusters)
        return "the cluster lies past the end of the file";
    return NULL;
}

/* One L2 table on the way. */
struct l2_walk {
    struct qcow2_walk *walk;
    const struct l2_use *use;
    uint64_t next; /* where the next cluster would lie without fragmentation */
};

static bool see_compressed(struct l2_walk *l2, uint64_t entry, struct error *err)
{
    struct qcow2_walk *walk = l2->walk;
    uint64_t off, len;
    qcow2_compressed_place(walk->q, entry, &off, &len);
    if (l2->use->active) {
        walk->allocated++;
        walk->compressed++;
        walk->fragmented++;
    }
    if ((off + len - 1) >> walk->q->cluster_bits >= walk->file_clusters || qcow2_has_data_file(walk->q))
        return true;
    return count_range(walk, off, len, l2->use->times, 0, "compressed cluster", err);
}

static bool see_data(struct l2_walk *l2, struct qcow2_l2 entry, struct error *err)
{
    struct qcow2_walk *walk = l2->walk;
    const struct qcow2 *q = walk->q;
    uint64_t host = entry.entry & ENTRY_OFFSET;
    if (host == 0 && !(qcow2_has_data_file(q) && entry.entry & ENTRY_COPIED))
        return true;
    if (l2->use->active) {
        walk->allocated++;
        walk->fragmented += l2->next != 0 && host != l2->next;
        l2->next = host + q->cluster_size;
    }
    if (qcow2_has_data_file(q) || host >> q->cluster_bits >= walk->file_clusters)
        return true;
    unsigned seen = !l2->use->active ? 0 : entry.entry & ENTRY_COPIED ? SEEN_COPIED : SEEN_SHARED;
    return count_range(walk, host, q->cluster_size, l2->use->times, seen, "data cluster", err);
}

static bool see_l2_entry(struct l2_walk *l2, struct qcow2_l2 entry, uint64_t place, uint64_t guest,
                         struct error *err)
{
    struct qcow2_walk *walk = l2->walk;
    const char *why = qcow2_entry_fault(walk->q, entry, guest, walk->file_clusters);
    if (why)
        qcow2_walk_damage(walk, "l2-entry", place, "L2 entry 0x%" PRIx64 " of guest offset 0x%" PRIx64 ": %s",
                          entry.entry, guest, why);
    return entry.entry & ENTRY_COMPRESSED ? see_compressed(l2, entry.entry, err) : see_data(l2, entry, err);
}

static bool walk_l2(struct qcow2_walk *walk, const struct l2_use *use, struct error *err)
{
    struct qcow2 *q = walk->q;
    struct l2_walk l2 = {.walk = walk, .use = use};
    uint64_t guest = (uint64_t)use->first_index * q->l2_entries << q->cluster_bits;
    for (uint64_t at = 0; at < q->cluster_size && !walk->stopped; at += q->block_size) {
        struct cache_block *block;
        bool ok = interrupt_check(err) && cache_get(q->meta, use->table + at, &block, err);
        if (!ok)
            return false;
        for (uint32_t i = 0; ok && i < q->block_size; i += q->entry_size, guest += q->cluster_size) {
            struct qcow2_l2 entry = {load_be64(block->data + i),
                                     q->extended ? load_be64(block->data + i + 8) : 0};
            if (entry.entry || entry.bitmap)
                ok = see_l2_entry(&l2, entry, use->table + at + i, guest, err);
        }
        cache_release(q->meta, block);
        if (!ok)
            return false;
    }
    return true;
}

static int by_place(const void *a, const void *b)
{
    uint64_t x = ((const struct l2_use *)a)->table, y = ((const struct l2_use *)b)->table;
    return x < y ? -1 : x > y;
}

/* In the order of the file, so that reading is sequential; often they are in it already. */
static bool walk_tables(struct qcow2_walk *walk, struct error *err)
{
    bool sorted = true;
    free(walk->l2_hash);
    walk->l2_hash = NULL;
    for (size_t i = 1; sorted && i < walk->l2_used; i++)
        sorted = walk->l2[i - 1].table < walk->l2[i].table;
    if (!sorted)
        qsort(walk->l2, walk->l2_used, sizeof *walk->l2, by_place);
    for (size_t i = 0; i < walk->l2_used && !walk->stopped; i++)
        if (!walk_l2(walk, &walk->l2[i], err))
            return false;
    return true;
}

/* ---- snapshots, bitmaps, the rest ---- */

static bool walk_snapshots(struct qcow2_walk *walk, struct error *err)
{
    struct qcow2 *q = walk->q;
    struct qcow2_snapshot_list list;
    struct error bad = {0};
    if (q->h.nb_snapshots == 0) {
        if (!qcow2_snapshots_offset_ok(q))
            qcow2_walk_damage(walk, "snapshot-table", qcow2_header_off_snapshots_offset,
                              "snapshots_offset is 0x%" PRIx64
                              ", which is not a valid offset (there are no snapshots)",
                              q->h.snapshots_offset);
        return true;
    }
    if (qcow2_has_data_file(q))
        qcow2_walk_damage(walk, "snapshots", qcow2_header_off_nb_snapshots,
                          "there are internal snapshots in an image with an external data file");
    if (!qcow2_snapshots_scan(q, &list, &bad)) {
        if (bad.kind != E_DAMAGED) {
            qcow2_snapshots_free(&list);
            *err = bad;
            return false;
        }
        walk->incomplete = true;
        qcow2_walk_damage(walk, "snapshot-table", bad.offset, "%s",
                          q->refused_for & REFUSED_SNAPSHOTS ? q->refused : bad.message);
    }
    bool ok = count_range(walk, q->h.snapshots_offset, list.bytes, 1, 0, "snapshot table", err);
    for (size_t i = 0; ok && i < list.count && !walk->stopped; i++) {
        const struct qcow2_snapshot *s = &list.items[i];
        if (q->h.version >= 3 && s->extra_len < SNAPSHOT_EXTRA_V3)
            qcow2_walk_damage(walk, "snapshot-extra", s->off,
                              "snapshot %zu has %" PRIu32 " bytes of extra data, not %d", i, s->extra_len,
                              SNAPSHOT_EXTRA_V3);
        ok = walk_l1(walk, s->l1_offset, s->l1_size, false, err);
    }
    qcow2_snapshots_free(&list);
    return ok;
}

static bool see_bitmap_entry(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    struct qcow2_walk *walk = arg;
    uint64_t off = entry & ENTRY_OFFSET;
    (void)index;
    if (entry & ~(ENTRY_OFFSET | 1) || (off && entry & 1) || off % q->cluster_size) {
        qcow2_walk_damage(walk, "bitmap-table", off, "bitmap table entry 0x%" PRIx64 " is not valid", entry);
        return true;
    }
    return off == 0 || count_range(walk, off, q->cluster_size, 1, 0, "bitmap data", err);
}

static bool walk_bitmaps(struct qcow2_walk *walk, struct error *err)
{
    struct qcow2 *q = walk->q;
    struct qcow2_bitmap_list list;
    struct error bad = {0};
    if (!q->bitmaps.present)
        return true;
    if (!qcow2_bitmaps_load(q, &list, &bad)) {
        if (bad.kind == E_DAMAGED) {
            walk->incomplete = true;
            qcow2_walk_damage(walk, "bitmap-directory", bad.offset, "%s", bad.message);
            return count_range(walk, q->bitmaps.directory_offset, q->bitmaps.directory_size, 1, 0,
                               "bitmap directory", err);
        }
        *err = bad;
        return false;
    }
    bool ok = count_range(walk, q->bitmaps.directory_offset, q->bitmaps.directory_size, 1, 0,
                          "bitmap directory", err);
    for (size_t i = 0; ok && i < list.count && !walk->stopped; i++) {
        const struct qcow2_bitmap *b = &list.items[i];
        uint64_t there = b->table_offset < q->file->size ? (q->file->size - b->table_offset) / 8 : 0;
        if (!qcow2_bitmap_fits(q, b))
            qcow2_walk_damage(walk, "bitmap-directory", b->off,
                              "bitmap %zu: bitmap_table_size is %" PRIu32
                              ", which does not fit the disk and the granularity",
                              i, b->table_size);
        ok = count_range(walk, b->table_offset, (uint64_t)b->table_size * 8, 1, 0, "bitmap table", err) &&
             qcow2_each_entry(q, b->table_offset, MIN_OF(b->table_size, there), see_bitmap_entry, walk, err);
    }
    qcow2_bitmaps_free(&list);
    return ok;
}

/* Counts cannot be stored in clusters that something else uses, too. */
static void judge_refcounts(struct qcow2_walk *walk)
{
    const struct qcow2 *q = walk->q;
    uint64_t table = q->h.refcount_table_offset >> q->cluster_bits;
    for (uint32_t i = 0; i < q->h.refcount_table_clusters; i++)
        walk->tables_unusable = walk->tables_unusable || counts_get(&walk->counts, table + i) > 1;
    for (uint64_t i = 0; i < walk->block_count; i++)
        walk->tables_unusable =
            walk->tables_unusable ||
            (walk->blocks[i] && counts_get(&walk->counts, walk->blocks[i] >> q->cluster_bits) > 1);
}

bool qcow2_walk_run(struct qcow2_walk *walk, struct error *err)
{
    struct qcow2 *q = walk->q;
    walk->file_clusters = div_up(q->file->size, q->cluster_size);
    bool ok = cache_flush(q->meta, err) && qcow2_index_tables(q, err) &&
              count_range(walk, 0, q->cluster_size, 1, 0, "header", err) && walk_refcounts(walk, err) &&
              walk_l1(walk, q->h.l1_table_offset, q->h.l1_size, true, err) && walk_snapshots(walk, err) &&
              walk_tables(walk, err) && walk_bitmaps(walk, err) &&
              count_range(walk, q->crypto_offset, q->crypto_length, 1, 0, "encryption header", err);
    if (ok && !walk->without_refcounts)
        judge_refcounts(walk);
    return ok;
}

void qcow2_walk_free(struct qcow2_walk *walk)
{
    counts_free(&walk->counts);
    free(walk->blocks);
    free(walk->l2);
    free(walk->l2_hash);
    walk->blocks = NULL;
    walk->l2 = NULL;
    walk->l2_hash = NULL;
    /* It names only what L1 entries must not: good for nothing else. */
    qcow2_index_free(walk->q);
}
