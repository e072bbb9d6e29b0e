/*
 * Reference counts: table, blocks, and their growth at any boundary. A missing block means that all its
 * counts are 0. New blocks lie at the start of the range that they describe, so they count themselves.
 */
#include "qcow2.h"

#include <inttypes.h>

uint64_t qcow2_refcount_load(unsigned order, const uint8_t *block, uint64_t i)
{
    switch (order) {
    case 3:
        return block[i];
    case 4:
        return load_be16(block + i * 2);
    case 5:
        return load_be32(block + i * 4);
    case 6:
        return load_be64(block + i * 8);
    default: /* the first of several in a byte is in its lowest bits */
        return block[i >> (3 - order)] >> ((i & ((8u >> order) - 1)) << order) & ((1u << (1u << order)) - 1);
    }
}

void qcow2_refcount_store(unsigned order, uint8_t *block, uint64_t i, uint64_t value)
{
    switch (order) {
    case 3:
        block[i] = (uint8_t)value;
        return;
    case 4:
        store_be16(block + i * 2, (uint16_t)value);
        return;
    case 5:
        store_be32(block + i * 4, (uint32_t)value);
        return;
    case 6:
        store_be64(block + i * 8, value);
        return;
    default: {
        unsigned shift = (unsigned)(i & ((8u >> order) - 1)) << order, mask = (1u << (1u << order)) - 1;
        uint8_t *byte = block + (i >> (3 - order));
        *byte = (uint8_t)((*byte & ~(mask << shift)) | value << shift);
    }
    }
}

static uint64_t table_entries(const struct qcow2 *q)
{
    return (uint64_t)q->h.refcount_table_clusters * (q->cluster_size / 8);
}

/* Offset of the refcount block of a table index; 0: there is none. */
static bool block_offset(struct qcow2 *q, uint64_t index, uint64_t *off, struct error *err)
{
    *off = 0;
    if (index >= table_entries(q))
        return true;
    uint64_t place = q->h.refcount_table_offset + index * 8;
    if (!qcow2_meta_get64(q, place, off, err))
        return false;
    if (*off & REFTABLE_RESERVED)
        return qcow2_corrupt(q, place, err,
                             "refcount table entry %" PRIu64 " (0x%" PRIx64 ") has reserved bits set", index,
                             *off);
    if (*off % q->cluster_size)
        return qcow2_corrupt(q, place, err,
                             "refcount block offset 0x%" PRIx64 " unaligned (reftable index: %" PRIu64 ")",
                             *off, index);
    if (*off >= q->file->size && *off != 0)
        return qcow2_corrupt(q, place, err,
                             "refcount block offset 0x%" PRIx64
                             " is past the end of the file (reftable index: %" PRIu64 ")",
                             *off, index);
    return true;
}

/* The cached piece of a refcount block that counts `cluster`; NULL: all of them are 0. */
static bool get_slice(struct qcow2 *q, uint64_t cluster, struct cache_block **out, struct error *err)
{
    uint64_t off;
    *out = NULL;
    if (!block_offset(q, cluster / q->rb_entries, &off, err))
        return false;
    return off == 0 ||
           cache_get(q->meta, off + cluster % q->rb_entries / q->rb_slice * q->block_size, out, err);
}

bool qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *count, struct error *err)
{
    struct cache_block *block;
    *count = 0;
    if (!get_slice(q, cluster, &block, err))
        return false;
    if (block)
        *count = qcow2_refcount_load(q->h.refcount_order, block->data, cluster % q->rb_slice);
    cache_release(q->meta, block);
    return true;
}

bool qcow2_refcount_used_end(struct qcow2 *q, uint64_t end, uint64_t *used_end, struct error *err)
{
    for (end = MIN_OF(end, table_entries(q) * q->rb_entries); end > 0;) {
        struct cache_block *block;
        uint64_t last = end - 1, n = last % q->rb_slice + 1;
        if (!interrupt_check(err) || !get_slice(q, last, &block, err))
            return false;
        if (!block)
            n = last % q->rb_entries + 1;
        uint64_t i = block ? n : 0;
        while (i > 0 && qcow2_refcount_load(q->h.refcount_order, block->data, i - 1) == 0)
            i--;
        cache_release(q->meta, block);
        end -= n - i;
        if (i > 0)
            break;
    }
    *used_end = end;
    return true;
}

/* Clusters that became free: kept apart until the next commit, given back to the host at the next flush. */
static bool note_freed(struct qcow2 *q, uint64_t cluster, uint64_t n, struct error *err)
{
    return n == 0 || (ranges_add(&q->freed, cluster, n, err) && ranges_add(&q->punch, cluster, n, err));
}

/* Counts [from, from + n) of one cached slice; *cluster is that of the first. */
static bool add_in_slice(struct qcow2 *q, uint8_t *counts, uint64_t from, uint64_t n, uint64_t cluster,
                         int delta, struct error *err)
{
    unsigned order = q->h.refcount_order;
    uint64_t run = 0; /* length of the run of freed clusters that ends here */
    for (uint64_t i = 0; i < n; i++) {
        uint64_t count = qcow2_refcount_load(order, counts, from + i);
        if (delta > 0 && count > q->refcount_max - (uint64_t)delta)
            return fail(err, E_TOOBIG, "cluster 0x%" PRIx64 ": its refcount is at the maximum of %u bits",
                        (cluster + i) << q->cluster_bits, q->refcount_bits);
        if (delta < 0 && count < (uint64_t)-delta)
            return qcow2_corrupt(q, (cluster + i) << q->cluster_bits, err,
                                 "cluster 0x%" PRIx64 " is freed, but its refcount is %" PRIu64,
                                 (cluster + i) << q->cluster_bits, count);
        /* Down and up again in one command: what was about to be given back stays. */
        if (count == 0 && delta > 0 && q->punch.total && !ranges_remove(&q->punch, cluster + i, 1, err))
            return false;
        count += (uint64_t)(int64_t)delta;
        qcow2_refcount_store(order, counts, from + i, count);
        if (count == 0) {
            run++;
        } else if (run) {
            if (!note_freed(q, cluster + i - run, run, err))
                return false;
            run = 0;
        }
    }
    return note_freed(q, cluster + n - run, run, err);
}

bool qcow2_refcount_add(struct qcow2 *q, uint64_t cluster, uint64_t n, int delta, struct error *err)
{
    while (n > 0) {
        uint64_t from = cluster % q->rb_slice, part = MIN_OF(n, q->rb_slice - from);
        struct cache_block *block;
        if (!get_slice(q, cluster, &block, err))
            return false;
        if (!block)
            return qcow2_corrupt(q, cluster << q->cluster_bits, err,
                                 "cluster 0x%" PRIx64 " is in use, but nothing counts it",
                                 cluster << q->cluster_bits);
        bool ok = qcow2_update_check(q, block->off, q->block_size, KIND_REFBLOCK, err) &&
                  add_in_slice(q, block->data, from, part, cluster, delta, err);
        cache_dirty(q->meta, block, WRITE_UPDATE);
        cache_release(q->meta, block);
        if (!ok)
            return false;
        cluster += part;
        n -= part;
    }
    return true;
}

/* Clusters from `from` on in a slice whose count is (not) zero. */
static uint64_t same_counts(const struct qcow2 *q, const uint8_t *counts, uint64_t from, bool zero)
{
    uint64_t i = from;
    if (q->h.refcount_order == 4) {
        while (i < q->rb_slice && ((counts[i * 2] | counts[i * 2 + 1]) == 0) == zero)
            i++;
        return i - from;
    }
    while (i < q->rb_slice && (qcow2_refcount_load(q->h.refcount_order, counts, i) == 0) == zero)
        i++;
    return i - from;
}

bool qcow2_refcount_find_free(struct qcow2 *q, uint64_t at, uint64_t want, uint64_t *first, uint64_t *count,
                              struct error *err)
{
    *count = 0;
    while (*count < want) {
        struct cache_block *block;
        uint64_t from = at % q->rb_slice, n;
        if (at >= MAX_HOST_OFFSET >> q->cluster_bits)
            break;
        if (!interrupt_check(err) || !get_slice(q, at, &block, err))
            return false;
        if (!block) {
            n = q->rb_entries - at % q->rb_entries;
        } else if ((n = same_counts(q, block->data, from, false)) > 0) {
            cache_release(q->meta, block);
            if (*count > 0)
                return true;
            at += n;
            continue;
        } else {
            n = same_counts(q, block->data, from, true);
        }
        cache_release(q->meta, block);
        if (*count == 0)
            *first = at;
        *count += n;
        at += n;
    }
    *count = MIN_OF(*count, want);
    return true;
}

/* Make `n` empty refcount blocks at `cluster` for the table entries from `index` on. */
static bool add_blocks(struct qcow2 *q, uint64_t table, uint64_t index, uint64_t cluster, uint64_t n,
                       struct error *err)
{
    uint64_t off = cluster << q->cluster_bits, end = (cluster + n) << q->cluster_bits;
    bool zeroed = off >= q->file->size;
    if (!qcow2_overlap_check(q, off, end - off, 0, err) || !qcow2_index_add(q, off, n, KIND_REFBLOCK, err) ||
        !qcow2_file_grow(q, end, err))
        return false;
    if (!ranges_overlaps(&q->freed, cluster, n) && !ranges_add(&q->fresh, cluster, n, err))
        return false;
    qcow2_forget_clusters(q, off, n);
    if (!zeroed && !qcow2_file_zero(q, off, end - off, err))
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (!qcow2_meta_put64(q, table + (index + i) * 8, (cluster + i) << q->cluster_bits, err))
            return false;
    return true;
}

/* How many blocks are missing from table entry `index` on, at most `most`. */
static bool count_missing(struct qcow2 *q, uint64_t index, uint64_t most, uint64_t *n, struct error *err)
{
    uint64_t off;
    for (*n = 0; *n < most && index + *n < table_entries(q); ++*n) {
        if (!block_offset(q, index + *n, &off, err))
            return false;
        if (off)
            break;
    }
    return true;
}

/*
 * Blocks for `need` clusters behind them, in one run in front of these clusters, so that a long run of data
 * or a large table stays in one piece. With small clusters there are always some more.
 */
static bool add_group(struct qcow2 *q, uint64_t index, uint64_t need, struct error *err)
{
    uint64_t n = MAX_OF(8 * KiB >> q->cluster_bits, 1);
    if (index == 0)
        return qcow2_corrupt(
            q, q->h.refcount_table_offset, err,
            "preventing invalid allocation at offset 0: nothing counts the header's cluster");
    while (n < div_up(n + need, q->rb_entries))
        n = div_up(n + need, q->rb_entries);
    if (!count_missing(q, index, n, &n, err))
        return false;
    uint64_t cluster = index * q->rb_entries, table = q->h.refcount_table_offset;
    return qcow2_overlap_check(q, table + index * 8, n * 8, KIND_REFTABLE, err) &&
           add_blocks(q, table, index, cluster, n, err) && qcow2_refcount_add(q, cluster, n, 1, err);
}

static bool copy_table(struct qcow2 *q, uint64_t to, uint64_t bytes, struct error *err)
{
    uint64_t old = q->h.refcount_table_offset;
    uint64_t old_bytes = (uint64_t)q->h.refcount_table_clusters << q->cluster_bits;
    uint8_t buf[4096];
    for (uint64_t at = 0; at < bytes; at += q->block_size) {
        memset(buf, 0, sizeof buf);
        if ((at < old_bytes && !qcow2_meta_read(q, old + at, buf, q->block_size, err)) ||
            !qcow2_meta_write(q, to + at, buf, q->block_size, err))
            return false;
    }
    return true;
}

static bool switch_table(struct qcow2 *q, uint64_t off, uint64_t clusters, struct error *err)
{
    return QCOW2_HEADER_PUT(q, refcount_table_offset, off, err) &&
           QCOW2_HEADER_PUT(q, refcount_table_clusters, (uint32_t)clusters, err);
}

/*
 * The table is full: a new one, half as large again, goes behind everything that the old one counts, in front
 * of it the blocks that count both.
 */
static bool grow_table(struct qcow2 *q, uint64_t index, struct error *err)
{
    uint64_t old = table_entries(q), old_off = q->h.refcount_table_offset, per_cluster = q->cluster_size / 8;
    uint32_t old_clusters = q->h.refcount_table_clusters;
    uint64_t max = MAX_REFTABLE_BYTES >> q->cluster_bits, base = old * q->rb_entries, blocks = 1,
             clusters = 1;
    for (;;) {
        uint64_t least = div_up(MAX_OF(old + blocks, index + 1), per_cluster);
        clusters = MAX_OF(least, MIN_OF(div_up(old + old / 2, per_cluster), max));
        uint64_t need = div_up(blocks + clusters, q->rb_entries);
        if (need <= blocks)
            break;
        blocks = need;
    }
    if (clusters > max || (base + blocks + clusters) > MAX_HOST_OFFSET >> q->cluster_bits)
        return fail(err, E_NOSPACE, "the file cannot grow: its refcount table is at the limit of 8 MiB");
    uint64_t off = (base + blocks) << q->cluster_bits;
    bool ok = qcow2_overlap_check(q, off, clusters << q->cluster_bits, 0, err) &&
              qcow2_index_add(q, off, clusters, KIND_REFTABLE, err) &&
              qcow2_file_grow(q, off + (clusters << q->cluster_bits), err) &&
              ranges_add(&q->fresh, base + blocks, clusters, err) &&
              copy_table(q, off, clusters << q->cluster_bits, err) &&
              add_blocks(q, off, old, base, blocks, err) && switch_table(q, off, clusters, err) &&
              qcow2_refcount_add(q, base, blocks + clusters, 1, err);
    if (!ok)
        return false;
    qcow2_index_remove(q, old_off, old_clusters, KIND_REFTABLE);
    qcow2_forget_clusters(q, old_off, old_clusters);
    return qcow2_free(q, old_off, old_clusters, err);
}

bool qcow2_refcount_cover(struct qcow2 *q, uint64_t cluster, uint64_t n, bool *changed, struct error *err)
{
    uint64_t last = (cluster + n - 1) / q->rb_entries;
    *changed = false;
    for (uint64_t index = cluster / q->rb_entries; index <= last; index++) {
        uint64_t off;
        if (!block_offset(q, index, &off, err))
            return false;
        if (off)
            continue;
        *changed = true;
        return last >= table_entries(q) ? grow_table(q, last, err) : add_group(q, index, n, err);
    }
    return true;
}
