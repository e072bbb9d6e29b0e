/*
 * A whole new refcount structure: table and blocks in one piece behind everything else. Used when the old one
 * cannot be trusted, and to change the width of the counts.
 */
#include "alloc.h"
#include "check.h"

#include <inttypes.h>
#include <stdlib.h>

/* The structure being laid out. */
struct layout_plan {
    struct qcow2 *q;
    const struct qcow2_counts *counts;
    unsigned order;
    uint64_t entries;  /* refcounts in a block */
    uint64_t base;     /* first cluster of the new area: blocks, then the table */
    uint64_t *indices; /* table indices that get a block, rising */
    size_t index_count, index_capacity;
    uint64_t table_clusters;
};

static bool add_index(struct layout_plan *plan, uint64_t index, struct error *err)
{
    if (plan->index_count && plan->indices[plan->index_count - 1] >= index)
        return true;
    if (!mem_grow(&plan->indices, &plan->index_capacity, plan->index_count + 1, sizeof *plan->indices, err))
        return false;
    plan->indices[plan->index_count++] = index;
    return true;
}

/* Blocks for all that is counted. */
static bool plan_used(struct layout_plan *plan, struct error *err)
{
    uint64_t *chunks;
    size_t count;
    if (!counts_sorted(plan->counts, &chunks, &count, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        for (uint64_t k = 0; ok && k < COUNTS_CHUNK; k++) {
            uint64_t cluster = chunks[i] * COUNTS_CHUNK + k;
            if (counts_get(plan->counts, cluster))
                ok = add_index(plan, cluster / plan->entries, err);
        }
    free(chunks);
    return ok;
}

/* Blocks for the new area itself, which grows with each of them. */
static bool plan_area(struct layout_plan *plan, struct error *err)
{
    const struct qcow2 *q = plan->q;
    uint64_t per_cluster = q->cluster_size / 8;
    for (uint64_t covered = plan->base;;) {
        uint64_t last_index = plan->index_count ? plan->indices[plan->index_count - 1] : 0;
        plan->table_clusters = div_up(last_index + 1, per_cluster);
        uint64_t end = plan->base + plan->index_count + plan->table_clusters;
        if (plan->table_clusters > MAX_REFTABLE_BYTES >> q->cluster_bits ||
            end > MAX_HOST_OFFSET >> q->cluster_bits)
            return fail(err, E_NOSPACE, "refcounts of %u bits for this file do not fit into a table of 8 MiB",
                        1u << plan->order);
        if (covered >= end)
            return true;
        for (; covered < end; covered = (covered / plan->entries + 1) * plan->entries)
            if (!add_index(plan, covered / plan->entries, err))
                return false;
    }
}

static uint64_t count_of(const struct layout_plan *plan, uint64_t cluster)
{
    uint64_t end = plan->base + plan->index_count + plan->table_clusters;
    return cluster >= plan->base && cluster < end ? 1 : counts_get(plan->counts, cluster);
}

static bool write_block(const struct layout_plan *plan, size_t i, uint8_t *raw, struct error *err)
{
    struct qcow2 *q = plan->q;
    uint64_t max = plan->order == 6 ? UINT64_MAX : (UINT64_C(1) << (1u << plan->order)) - 1;
    memset(raw, 0, q->cluster_size);
    for (uint64_t k = 0; k < plan->entries; k++) {
        uint64_t cluster = plan->indices[i] * plan->entries + k, count = count_of(plan, cluster);
        if (count > max)
            return fail(err, E_TOOBIG,
                        "refcounts of %u bits are too narrow: the cluster at offset 0x%" PRIx64
                        " has %" PRIu64 " references",
                        1u << plan->order, cluster << q->cluster_bits, count);
        if (count)
            qcow2_refcount_store(plan->order, raw, k, count);
    }
    return interrupt_check(err) &&
           qcow2_file_write(q, (plan->base + i) << q->cluster_bits, raw, q->cluster_size, WRITE_UPDATE, err);
}

static bool write_area(const struct layout_plan *plan, struct error *err)
{
    struct qcow2 *q = plan->q;
    uint64_t clusters = plan->index_count + plan->table_clusters;
    uint64_t table = (plan->base + plan->index_count) << q->cluster_bits;
    /* Inside the file something else may have been here at the last commit. */
    bool new_space = plan->base << q->cluster_bits >= q->file->size;
    if ((new_space && !ranges_add(&q->fresh, plan->base, clusters, err)) ||
        !ranges_remove(&q->punch, plan->base, clusters, err) ||
        !qcow2_file_grow(q, (plan->base + clusters) << q->cluster_bits, err))
        return false;
    uint8_t *raw = mem_new(MAX_OF(q->cluster_size, plan->table_clusters << q->cluster_bits), err);
    bool ok = raw != NULL;
    for (size_t i = 0; ok && i < plan->index_count; i++)
        ok = write_block(plan, i, raw, err);
    if (ok) {
        memset(raw, 0, plan->table_clusters << q->cluster_bits);
        for (size_t i = 0; i < plan->index_count; i++)
            store_be64(raw + plan->indices[i] * 8, (plan->base + i) << q->cluster_bits);
        ok = qcow2_file_write(q, table, raw, plan->table_clusters << q->cluster_bits, WRITE_UPDATE, err);
    }
    free(raw);
    return ok && QCOW2_HEADER_PUT(q, refcount_table_offset, table, err) &&
           QCOW2_HEADER_PUT(q, refcount_table_clusters, (uint32_t)plan->table_clusters, err) &&
           (q->h.version < 3 || QCOW2_HEADER_PUT(q, refcount_order, plan->order, err));
}

/* What only the old structure counted is free now. */
static bool free_old(const struct layout_plan *plan, uint64_t table, uint64_t table_clusters,
                     const struct qcow2_walk *walk, struct error *err)
{
    struct qcow2 *q = plan->q;
    for (uint64_t i = 0; i < table_clusters + walk->block_count; i++) {
        uint64_t off = i < table_clusters ? table + (i << q->cluster_bits) : walk->blocks[i - table_clusters];
        uint64_t cluster = off >> q->cluster_bits;
        if (off == 0 || cluster >= walk->file_clusters || count_of(plan, cluster))
            continue;
        qcow2_forget_clusters(q, off, 1);
        if (!ranges_add(&q->freed, cluster, 1, err) || !ranges_add(&q->punch, cluster, 1, err))
            return false;
    }
    return true;
}

bool qcow2_rebuild_refcounts(struct qcow2 *q, struct qcow2_walk *walk, unsigned order, uint64_t base,
                             uint64_t *end, struct error *err)
{
    struct layout_plan plan = {.q = q, .counts = &walk->counts, .order = order};
    uint64_t old_table = q->h.refcount_table_offset, old_clusters = q->h.refcount_table_clusters;
    plan.entries = q->cluster_size * 8 >> order;
    plan.base = base;
    bool ok = cache_flush(q->meta, err) && plan_used(&plan, err) && plan_area(&plan, err) &&
              write_area(&plan, err) && free_old(&plan, old_table, old_clusters, walk, err);
    *end = base + plan.index_count + plan.table_clusters;
    free(plan.indices);
    if (ok)
        qcow2_set_geometry(q);
    return ok;
}
