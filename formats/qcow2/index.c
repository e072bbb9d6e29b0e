/*
 * Which clusters hold metadata: an open-addressed hash of cluster numbers, so that asking costs the same
 * however large the image is. Each slot is the cluster number with its kinds (enum qcow2_kind) in the low 16
 * bits.
 */
#include "alloc.h"
#include "qcow2.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KIND_BITS = 16, FIRST_SLOTS = 256 };

/* A refcount block and the entry of the refcount table that names it. */
struct named_block {
    uint64_t off, entry;
};

struct qcow2_index {
    uint64_t *slots; /* 0: empty */
    size_t mask, used;
    struct named_block *blocks; /* by offset, when blocks_known */
    size_t block_count, block_capacity;
    bool blocks_known;
};

static size_t home_of(const struct qcow2_index *index, uint64_t cluster)
{
    return (size_t)(cluster * 0x9E3779B97F4A7C15u >> 20) & index->mask;
}

static uint64_t *find(const struct qcow2_index *index, uint64_t cluster)
{
    size_t i = home_of(index, cluster);
    while (index->slots[i] && index->slots[i] >> KIND_BITS != cluster)
        i = (i + 1) & index->mask;
    return &index->slots[i];
}

static bool grow(struct qcow2_index *index, struct error *err)
{
    struct qcow2_index larger = *index;
    larger.mask = index->mask * 2 + 1;
    larger.slots = mem_array(larger.mask + 1, sizeof *larger.slots, err);
    if (!larger.slots)
        return false;
    for (size_t i = 0; i <= index->mask; i++)
        if (index->slots[i])
            *find(&larger, index->slots[i] >> KIND_BITS) = index->slots[i];
    free(index->slots);
    *index = larger;
    return true;
}

static bool add_one(struct qcow2_index *index, uint64_t cluster, enum qcow2_kind kind, struct error *err)
{
    uint64_t *slot = find(index, cluster);
    if (*slot) {
        *slot |= kind;
        return true;
    }
    *slot = cluster << KIND_BITS | kind;
    return ++index->used <= index->mask / 4 * 3 || grow(index, err);
}

/* Slots behind a removed one move up, so that no probe chain breaks. */
static void remove_slot(struct qcow2_index *index, size_t hole)
{
    index->used--;
    for (size_t i = (hole + 1) & index->mask; index->slots[i]; i = (i + 1) & index->mask) {
        size_t home = home_of(index, index->slots[i] >> KIND_BITS);
        if (((i - home) & index->mask) >= ((i - hole) & index->mask)) {
            index->slots[hole] = index->slots[i];
            hole = i;
        }
    }
    index->slots[hole] = 0;
}

bool qcow2_index_add(struct qcow2 *q, uint64_t off, uint64_t clusters, enum qcow2_kind kind,
                     struct error *err)
{
    if (q->index && kind == KIND_REFBLOCK)
        q->index->blocks_known = false;
    for (uint64_t i = 0; q->index && i < clusters; i++)
        if (!add_one(q->index, (off >> q->cluster_bits) + i, kind, err))
            return false;
    return true;
}

void qcow2_index_remove(struct qcow2 *q, uint64_t off, uint64_t clusters, enum qcow2_kind kind)
{
    for (uint64_t i = 0; q->index && i < clusters; i++) {
        uint64_t *slot = find(q->index, (off >> q->cluster_bits) + i);
        if (!*slot)
            continue;
        *slot &= ~(uint64_t)kind;
        if ((*slot & ((1u << KIND_BITS) - 1)) == 0)
            remove_slot(q->index, (size_t)(slot - q->index->slots));
    }
}

unsigned qcow2_index_kinds(const struct qcow2 *q, uint64_t off)
{
    return q->index ? (unsigned)(*find(q->index, off >> q->cluster_bits) & ((1u << KIND_BITS) - 1)) : 0;
}

const char *qcow2_kind_name(unsigned kinds)
{
    static const char *const names[] = {
        "qcow2_header",     "active L1 table", "active L2 table",   "refcount table",
        "refcount block",   "snapshot table",  "inactive L1 table", "inactive L2 table",
        "bitmap directory", "bitmap table",    "bitmap data",       "encryption header",
    };
    return names[kinds ? (unsigned)__builtin_ctz(kinds) : 0];
}

bool qcow2_overlap_check(struct qcow2 *q, uint64_t off, uint64_t len, unsigned allowed, struct error *err)
{
    if (!q->index)
        return true;
    uint64_t last = (off + len - 1) >> q->cluster_bits;
    for (uint64_t cluster = off >> q->cluster_bits; cluster <= last; cluster++) {
        unsigned kinds = qcow2_index_kinds(q, cluster << q->cluster_bits) & ~allowed;
        if (kinds)
            return qcow2_corrupt(q, cluster << q->cluster_bits, err,
                                 "preventing invalid write on metadata (overlaps with %s)",
                                 qcow2_kind_name(kinds));
    }
    return true;
}

bool qcow2_index_sound(struct qcow2 *q, struct error *err)
{
    enum { SHARED_L2 = KIND_L2 | KIND_INACTIVE_L2 };
    for (size_t i = 0; i <= q->index->mask; i++) {
        unsigned kinds = (unsigned)(q->index->slots[i] & ((1u << KIND_BITS) - 1)),
                 others = kinds & (kinds - 1);
        uint64_t off = q->index->slots[i] >> KIND_BITS << q->cluster_bits;
        if (others && kinds != SHARED_L2)
            return qcow2_corrupt(q, off, err, "preventing invalid write on metadata (%s overlaps with %s)",
                                 qcow2_kind_name(kinds), qcow2_kind_name(others));
    }
    return true;
}

bool qcow2_update_check(struct qcow2 *q, uint64_t off, uint64_t len, unsigned allowed, struct error *err)
{
    uint64_t end = round_up(q->file->size, q->cluster_size);
    if (!range_inside(off, len, end))
        return qcow2_corrupt(q, off, err,
                             "preventing a write at 0x%" PRIx64 ", past the end of the file (0x%" PRIx64 ")",
                             off, q->file->size);
    return qcow2_overlap_check(q, off, len, allowed, err);
}

void qcow2_index_free(struct qcow2 *q)
{
    if (q->index) {
        free(q->index->slots);
        free(q->index->blocks);
    }
    free(q->index);
    q->index = NULL;
}

/* ---- filling it from the image ---- */

static bool add_l2(struct qcow2 *q, uint64_t i, uint64_t entry, void *arg, struct error *err)
{
    (void)i;
    uint64_t off = entry & ENTRY_OFFSET;
    return off == 0 || qcow2_index_add(q, off, 1, *(enum qcow2_kind *)arg, err);
}

static bool add_refblock(struct qcow2 *q, uint64_t i, uint64_t entry, void *arg, struct error *err)
{
    (void)i;
    (void)arg;
    return entry >= MAX_HOST_OFFSET || qcow2_index_add(q, entry, 1, KIND_REFBLOCK, err);
}

static uint64_t clusters_of(const struct qcow2 *q, uint64_t bytes)
{
    return div_up(bytes, q->cluster_size);
}

static bool add_l1(struct qcow2 *q, uint64_t off, uint32_t entries, enum qcow2_kind kind, struct error *err)
{
    enum qcow2_kind l2_kind = kind == KIND_L1 ? KIND_L2 : KIND_INACTIVE_L2;
    return qcow2_index_add(q, off, clusters_of(q, (uint64_t)entries * 8), kind, err) &&
           qcow2_each_entry(q, off, entries, add_l2, &l2_kind, err);
}

static bool add_bitmap_cluster(struct qcow2 *q, uint64_t i, uint64_t entry, void *arg, struct error *err)
{
    (void)i;
    (void)arg;
    uint64_t off = entry & ENTRY_OFFSET;
    return off == 0 || qcow2_index_add(q, off, 1, KIND_BITMAP_DATA, err);
}

static bool add_bitmaps(struct qcow2 *q, struct error *err)
{
    struct qcow2_bitmap_list list;
    if (!q->bitmaps.present)
        return true;
    if (!qcow2_bitmaps_load(q, &list, err))
        return false;
    bool ok = qcow2_index_add(q, q->bitmaps.directory_offset, clusters_of(q, q->bitmaps.directory_size),
                              KIND_BITMAP_DIRECTORY, err);
    for (size_t i = 0; ok && i < list.count; i++) {
        const struct qcow2_bitmap *bitmap = &list.items[i];
        ok = qcow2_index_add(q, bitmap->table_offset, clusters_of(q, (uint64_t)bitmap->table_size * 8),
                             KIND_BITMAP_TABLE, err) &&
             qcow2_each_entry(q, bitmap->table_offset, bitmap->table_size, add_bitmap_cluster, NULL, err);
    }
    qcow2_bitmaps_free(&list);
    return ok;
}

static bool add_snapshots(struct qcow2 *q, struct error *err)
{
    struct qcow2_snapshot_list list;
    if (q->h.nb_snapshots == 0)
        return true;
    if (!qcow2_snapshots_load(q, &list, err))
        return false;
    bool ok = qcow2_index_add(q, q->h.snapshots_offset, clusters_of(q, list.bytes), KIND_SNAPSHOT_TABLE, err);
    for (size_t i = 0; ok && i < list.count; i++)
        ok = add_l1(q, list.items[i].l1_offset, list.items[i].l1_size, KIND_INACTIVE_L1, err);
    qcow2_snapshots_free(&list);
    return ok;
}

static bool new_index(struct qcow2 *q, struct error *err)
{
    qcow2_index_free(q);
    q->index = mem_new(sizeof *q->index, err);
    if (!q->index)
        return false;
    q->index->mask = FIRST_SLOTS - 1;
    q->index->slots = mem_array(FIRST_SLOTS, sizeof *q->index->slots, err);
    return q->index->slots != NULL;
}

static bool add_refcounts(struct qcow2 *q, struct error *err)
{
    uint64_t entries = (uint64_t)q->h.refcount_table_clusters << q->cluster_bits >> 3;
    return qcow2_index_add(q, 0, 1, KIND_HEADER, err) &&
           qcow2_index_add(q, q->h.refcount_table_offset, q->h.refcount_table_clusters, KIND_REFTABLE, err) &&
           qcow2_each_entry(q, q->h.refcount_table_offset, entries, add_refblock, NULL, err);
}

bool qcow2_index_build(struct qcow2 *q, struct error *err)
{
    bool ok = new_index(q, err) && add_refcounts(q, err) &&
              add_l1(q, q->h.l1_table_offset, q->h.l1_size, KIND_L1, err) && add_snapshots(q, err) &&
              add_bitmaps(q, err) &&
              (q->crypto_length == 0 ||
               qcow2_index_add(q, q->crypto_offset, clusters_of(q, q->crypto_length), KIND_CRYPTO, err));
    if (!ok)
        qcow2_index_free(q);
    return ok;
}

static bool name_block(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    struct qcow2_index *to = arg;
    (void)q;
    if (!mem_grow(&to->blocks, &to->block_capacity, to->block_count + 1, sizeof *to->blocks, err))
        return false;
    to->blocks[to->block_count++] = (struct named_block){entry & ~REFTABLE_RESERVED, index};
    return true;
}

/* Of a block that several entries name, the first comes first. */
static int by_place(const void *a, const void *b)
{
    const struct named_block *x = a, *y = b;
    return x->off != y->off ? (x->off < y->off ? -1 : 1) : x->entry < y->entry ? -1 : x->entry > y->entry;
}

static bool name_blocks(struct qcow2 *q, struct error *err)
{
    struct qcow2_index *index = q->index;
    uint64_t entries = (uint64_t)q->h.refcount_table_clusters << q->cluster_bits >> 3;
    index->block_count = 0;
    if (!qcow2_each_entry(q, q->h.refcount_table_offset, entries, name_block, index, err))
        return false;
    if (index->block_count)
        qsort(index->blocks, index->block_count, sizeof *index->blocks, by_place);
    return index->blocks_known = true;
}

bool qcow2_index_block(struct qcow2 *q, uint64_t off, uint64_t *entry, bool *found, struct error *err)
{
    *found = false;
    if ((!q->index && !qcow2_index_build(q, err)) || (!q->index->blocks_known && !name_blocks(q, err)))
        return false;
    const struct qcow2_index *index = q->index;
    size_t low = 0, high = index->block_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->blocks[middle].off < off)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < index->block_count && index->blocks[low].off == off;
    if (*found)
        *entry = index->blocks[low].entry;
    return true;
}

bool qcow2_index_tables(struct qcow2 *q, struct error *err)
{
    struct qcow2_snapshot_list list = {0};
    struct error ignored;
    if (!new_index(q, err) || !add_refcounts(q, err) ||
        !qcow2_index_add(q, q->h.l1_table_offset, clusters_of(q, (uint64_t)q->h.l1_size * 8), KIND_L1, err))
        return false;
    /* The sound part of a damaged table is enough here. */
    if (!qcow2_snapshots_scan(q, &list, &ignored) && ignored.kind != E_DAMAGED)
        qcow2_snapshots_free(&list);
    uint64_t bytes = list.bytes;
    qcow2_snapshots_free(&list);
    return bytes == 0 ||
           qcow2_index_add(q, q->h.snapshots_offset, clusters_of(q, bytes), KIND_SNAPSHOT_TABLE, err);
}
