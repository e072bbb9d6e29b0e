/* Growing and shrinking the virtual disk. */
#include "check.h"
#include "write.h"

#include <inttypes.h>

static bool copy_l1(struct qcow2 *q, uint64_t to, uint64_t bytes, struct error *err)
{
    uint8_t buf[4096];
    uint64_t old_bytes = (uint64_t)q->active.l1_size * 8;
    for (uint64_t at = 0; at < bytes; at += q->block_size) {
        memset(buf, 0, sizeof buf);
        uint64_t n = at < old_bytes ? MIN_OF(q->block_size, old_bytes - at) : 0;
        if (!qcow2_meta_read(q, q->active.l1_offset + at, buf, (size_t)n, err) ||
            !qcow2_meta_write(q, to + at, buf, q->block_size, err))
            return false;
    }
    return true;
}

bool qcow2_l1_grow(struct qcow2 *q, uint64_t entries, struct error *err)
{
    struct qcow2_space space;
    uint64_t old = q->active.l1_offset,
             old_clusters = div_up((uint64_t)q->active.l1_size * 8, q->cluster_size);
    if (entries > MAX_L1_BYTES / 8)
        return fail(err, E_TOOBIG,
                    "the disk is too large for clusters of %" PRIu64 " bytes (at most 0x%" PRIx64 " bytes)",
                    q->cluster_size, MAX_L1_BYTES / 8 * q->l2_entries * q->cluster_size);
    uint64_t clusters = div_up(entries * 8, q->cluster_size);
    if (!qcow2_allocate(q, clusters, true, KIND_L1, &space, err) ||
        !copy_l1(q, space.off, clusters << q->cluster_bits, err) ||
        !QCOW2_HEADER_PUT(q, l1_size, (uint32_t)entries, err) ||
        !QCOW2_HEADER_PUT(q, l1_table_offset, space.off, err))
        return false;
    q->active.l1_offset = space.off;
    q->active.l1_size = (uint32_t)entries;
    if (old_clusters == 0)
        return true;
    qcow2_index_remove(q, old, old_clusters, KIND_L1);
    qcow2_forget_clusters(q, old, old_clusters);
    return qcow2_free(q, old, old_clusters, err);
}

static bool set_size(struct qcow2 *q, uint64_t size, struct error *err)
{
    if (!QCOW2_HEADER_PUT(q, size, size, err))
        return false;
    q->active.size = q->dev.size = size;
    return true;
}

/* What lies behind the old end must not show: stale bytes of the last cluster, stale tables, backing data. */
static bool clear_grown(struct qcow2 *q, uint64_t old, uint64_t old_l1_size, uint64_t size, struct error *err)
{
    uint64_t span = q->cluster_size * q->l2_entries, covered = old_l1_size * span;
    uint64_t edge = MIN_OF(round_up(old, q->cluster_size), size),
             backed = q->backing ? MIN_OF(q->backing->size, size) : 0;
    if (edge > old && !qcow2_zero_data(q, old, edge - old, WRITE_UPDATE, err))
        return false;
    if (edge < covered && !qcow2_discard_data(q, edge, covered - edge, true, err))
        return false;
    return backed <= edge || qcow2_zero_data(q, edge, backed - edge, WRITE_UPDATE, err);
}

static bool grow(struct qcow2 *q, uint64_t size, struct error *err)
{
    uint64_t old = q->active.size, old_l1_size = q->active.l1_size;
    uint64_t entries = div_up(size, q->cluster_size * q->l2_entries);
    if (entries > old_l1_size && !qcow2_l1_grow(q, entries, err))
        return false;
    if (!set_size(q, size, err) || !clear_grown(q, old, old_l1_size, size, err))
        return false;
    if (!qcow2_has_data_file(q))
        return true;
    if (q->data->size < size && !device_resize(q->data, size, err))
        return false;
    return !qcow2_data_file_raw(q) || qcow2_preallocate(q, old, size, PREALLOCATE_METADATA, err);
}

/* Tables that describe nothing any more. */
static bool free_tables(struct qcow2 *q, uint64_t first, struct error *err)
{
    for (uint64_t i = first; i < q->active.l1_size; i++) {
        uint64_t entry, place = q->active.l1_offset + i * 8;
        if (!interrupt_check(err) || !qcow2_l1_get(&q->active, i, &entry, err))
            return false;
        if (entry && (!qcow2_overlap_check(q, place, 8, KIND_L1, err) || !qcow2_meta_put64(q, place, 0, err)))
            return false;
        if (entry & ENTRY_OFFSET && !qcow2_l2_leave(q, entry & ENTRY_OFFSET, err))
            return false;
    }
    return true;
}

bool qcow2_trim(struct qcow2 *q, struct error *err)
{
    uint64_t start = div_up(q->file->size, q->cluster_size), end;
    if (!qcow2_refcount_used_end(q, start, &end, err))
        return false;
    end = MAX_OF(end, 1);
    if (end >= start)
        return true;
    /* What is cut off need not be punched any more. */
    return ranges_remove(&q->punch, end, start - end, err) &&
           device_resize(q->file, end << q->cluster_bits, err);
}

static bool shrink(struct qcow2 *q, uint64_t size, struct error *err)
{
    uint64_t old = q->active.size, edge = MIN_OF(round_up(size, q->cluster_size), old);
    if (edge > size && !qcow2_zero_data(q, size, edge - size, WRITE_UPDATE, err))
        return false;
    uint64_t covered = (uint64_t)q->active.l1_size * q->l2_entries * q->cluster_size;
    if (edge < covered && !qcow2_discard_data(q, edge, covered - edge, true, err))
        return false;
    if (!free_tables(q, div_up(size, q->cluster_size * q->l2_entries), err) || !set_size(q, size, err))
        return false;
    if (qcow2_has_data_file(q))
        return device_resize(q->data, size, err);
    return qcow2_trim(q, err);
}

static bool check_resize(struct qcow2 *q, uint64_t size, struct error *err)
{
    if (size % 512)
        return fail(err, E_INVALID, "the size of a qcow2 disk is a multiple of 512, not %" PRIu64, size);
    if (size > INT64_MAX)
        return fail(err, E_TOOBIG, "the disk would be too large");
    if (q->h.version < 3 && q->h.nb_snapshots)
        return fail(err, E_UNSUPPORTED, "a version 2 image that has snapshots cannot be resized");
    return true;
}

bool qcow2_resize(struct device *dev, uint64_t size, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    if (!qcow2_prepare(q, err) || !check_resize(q, size, err))
        return false;
    if (size == q->active.size)
        return true;
    /* The file is cut where the counts say that it ends. */
    if (size < q->active.size && !qcow2_require_counts(q, err))
        return false;
    if (!qcow2_bitmaps_resize(q, size, err))
        return false;
    return size > q->active.size ? grow(q, size, err) : shrink(q, size, err);
}
