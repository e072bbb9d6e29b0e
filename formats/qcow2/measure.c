/* How long the file of an image will be, before it is made. */
#include "create.h"
#include "transfer.h"

/* Refcount blocks count themselves and the table that lists them. */
static uint64_t refcount_bytes(const struct qcow2_plan *plan, uint64_t clusters)
{
    uint64_t cluster = UINT64_C(1) << plan->cluster_bits;
    uint64_t per_block = cluster * 8 >> plan->refcount_order, per_table = cluster / 8;
    uint64_t blocks = 0, tables = 0, before;
    do {
        before = blocks + tables;
        blocks = div_up(clusters + before, per_block);
        tables = div_up(blocks, per_table);
    } while (blocks + tables != before);
    return before << plan->cluster_bits;
}

/* Header, L1 table, every L2 table, all data, and the counts of them all. */
static uint64_t full_bytes(const struct qcow2_plan *plan, uint64_t disk)
{
    uint64_t cluster = UINT64_C(1) << plan->cluster_bits, per_table = cluster / (plan->extended ? 16 : 8);
    uint64_t tables = div_up(disk >> plan->cluster_bits, per_table);
    uint64_t clusters = 1 + tables + div_up(tables, cluster / 8) + (disk >> plan->cluster_bits);
    return (clusters << plan->cluster_bits) + refcount_bytes(plan, clusters);
}

/* Bytes of the clusters that hold more than zeros. */
static bool count_data(const struct qcow2_plan *plan, struct device *source, uint64_t *bytes,
                       struct error *err)
{
    uint64_t cluster = UINT64_C(1) << plan->cluster_bits;
    *bytes = 0;
    for (uint64_t off = 0; off < source->size;) {
        struct extent extent;
        unsigned depth;
        if (!interrupt_check(err) || !device_map_chain(source, off, &extent, &depth, err))
            return false;
        bool zero = extent.flags & (EXTENT_HOLE | EXTENT_ZERO | EXTENT_UNWRITTEN);
        uint64_t end = off + extent.len;
        if (!zero)
            end = round_up(end, cluster);
        *bytes += zero ? 0 : end - round_down(off, cluster);
        off = end;
    }
    return true;
}

/* Bitmaps take their bits, a table each, and their part of the directory. */
static uint64_t bitmap_bytes(const struct qcow2_plan *plan, const struct measure *measure)
{
    uint64_t cluster = UINT64_C(1) << plan->cluster_bits, bytes = 0, directory = 0;
    for (size_t i = 0; i < measure->bitmap_count; i++) {
        uint64_t clusters = div_up(div_up(div_up(measure->size, measure->bitmaps[i]), 8), cluster);
        bytes += clusters * cluster + round_up(clusters * 8, cluster);
        directory += round_up(24 + measure->name_bytes[i], 8);
    }
    return bytes + round_up(directory, cluster);
}

bool qcow2_measure(const struct options *options, struct measure *measure, struct error *err)
{
    struct qcow2_plan plan;
    if (!qcow2_plan_read(&plan, options, err) || !qcow2_plan_size(&plan, measure->size, err))
        return false;
    uint64_t disk = round_up(plan.size, UINT64_C(1) << plan.cluster_bits), data = 0;
    bool whole = plan.preallocation == PREALLOCATE_FALLOC || plan.preallocation == PREALLOCATE_FULL;
    /* Nobody knows yet how much of the source the backing file will hold: then none. */
    if (whole || (plan.backing && measure->source))
        data = disk;
    else if (measure->source && !count_data(&plan, measure->source, &data, err))
        return false;
    measure->fully_allocated = full_bytes(&plan, disk);
    measure->required = measure->fully_allocated - disk + data;
    measure->has_bitmaps = plan.version >= 3;
    measure->bitmap_bytes = bitmap_bytes(&plan, measure);
    return true;
}
