/* Giving space back: clusters that hold only zeros, tables that hold nothing, what nobody uses. */
#include "alloc.h"
#include "check.h"
#include "move.h"
#include "write.h"

#include <inttypes.h>
#include <stdlib.h>

static bool is_zero_cluster(struct qcow2 *q, uint64_t guest, uint64_t len, bool *zero, struct error *err)
{
    *zero = true;
    for (uint64_t at = 0; *zero && at < len; at += BOUNCE) {
        size_t n = (size_t)MIN_OF(BOUNCE, len - at);
        if (!qcow2_disk_read(&q->active, guest + at, q->bounce, n, err))
            return false;
        *zero = all_zero(q->bounce, n);
    }
    return true;
}

/* An L2 table that a snapshot shares would first have to be copied. */
static bool table_is_own(struct qcow2 *q, uint64_t guest, bool *own, struct error *err)
{
    uint64_t entry;
    if (!qcow2_l1_get(&q->active, guest / (q->cluster_size * q->l2_entries), &entry, err))
        return false;
    *own = entry & ENTRY_COPIED;
    return true;
}

/* Discard the clusters of [off, end), all stored here, that hold only zeros. */
static bool drop_zeros(struct qcow2 *q, uint64_t off, uint64_t end, struct error *err)
{
    for (uint64_t at = round_down(off, q->cluster_size); at < end; at += q->cluster_size) {
        uint64_t len = MIN_OF(q->cluster_size, q->active.size - at);
        bool zero = false, own;
        if (!interrupt_check(err) || !table_is_own(q, at, &own, err) ||
            (own && !is_zero_cluster(q, at, len, &zero, err)))
            return false;
        /* Without a backing file nothing at all says the same and needs no table. */
        if (zero && !qcow2_discard_data(q, at, len, !qcow2_backed(q, at), err))
            return false;
    }
    return true;
}

static bool drop_all_zeros(struct qcow2 *q, struct error *err)
{
    for (uint64_t off = 0; off < q->active.size;) {
        struct qcow2_run run;
        if (!qcow2_run_at(&q->active, off, q->active.size - off, &run, err))
            return false;
        bool stored = run.state != SUB_UNALLOCATED && (run.state != SUB_ZERO || !qcow2_backed(q, off)) &&
                      (run.copied || !qcow2_state_has_host(run.state));
        uint64_t end = off + run.len;
        if (stored && !drop_zeros(q, off, end, err))
            return false;
        off = round_up(end, q->cluster_size);
        if (!stored)
            off = end;
    }
    return true;
}

static bool drop_empty_table(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    uint64_t table = entry & ENTRY_OFFSET;
    uint8_t raw[4096];
    (void)arg;
    if (table % q->cluster_size)
        return qcow2_corrupt(q, q->active.l1_offset + index * 8, err,
                             "L2 table offset 0x%" PRIx64 " unaligned (L1 index: %" PRIu64 ")", table, index);
    for (uint64_t at = 0; table && at < q->cluster_size; at += q->block_size)
        if (!qcow2_meta_read(q, table + at, raw, q->block_size, err))
            return false;
        else if (!all_zero(raw, q->block_size))
            return true;
    return table == 0 ||
           (qcow2_meta_put64(q, q->active.l1_offset + index * 8, 0, err) && qcow2_l2_leave(q, table, err));
}

/* Bitmaps need not hear of it: the guest sees what it saw, out of the backing file. */
bool qcow2_make_empty(struct device *dev, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    if (qcow2_has_data_file(q))
        return fail(err, E_UNSUPPORTED, "an image with an external data file cannot be emptied");
    return qcow2_prepare(q, err) && qcow2_discard_data(q, 0, q->active.size, true, err) &&
           qcow2_each_entry(q, q->active.l1_offset, q->active.l1_size, drop_empty_table, NULL, err) &&
           qcow2_trim(q, err);
}

/* Free clusters inside the file may still hold bytes on the host. */
static bool punch_free(struct qcow2 *q, struct error *err)
{
    uint64_t end = div_up(q->file->size, q->cluster_size), first, count;
    for (uint64_t at = 1; at < end; at = first + count) {
        if (!qcow2_refcount_find_free(q, at, end - at, &first, &count, err))
            return false;
        if (count == 0 || first >= end)
            return true;
        count = MIN_OF(count, end - first);
        if (!ranges_add(&q->punch, first, count, err))
            return false;
    }
    return true;
}

bool qcow2_compact(struct device *dev, bool move, uint64_t *freed, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    /* What a wrong count calls free would be lost. */
    if (!qcow2_prepare(q, err) || !qcow2_require_counts(q, err) || !qcow2_bounce(q, err))
        return false;
    uint64_t before = q->freed.total, size = q->file->size;
    if (!qcow2_has_data_file(q) &&
        (!drop_all_zeros(q, err) ||
         !qcow2_each_entry(q, q->active.l1_offset, q->active.l1_size, drop_empty_table, NULL, err)))
        return false;
    uint64_t dropped = (q->freed.total - before) << q->cluster_bits;
    if (move && !qcow2_move_down(q, err))
        return false;
    if (!punch_free(q, err) || !qcow2_trim(q, err))
        return false;
    *freed += MAX_OF(dropped, size - MIN_OF(size, q->file->size));
    return true;
}
