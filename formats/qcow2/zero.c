/* Zeros and discards: whole subclusters become a matter of flags, the rest is written. */
#include "write.h"

/* One sweep over guest bytes that are whole subclusters; what to make of each entry. */
enum sweep { SWEEP_ZERO, SWEEP_DISCARD, SWEEP_DROP };

/* Version 2 cannot say that a cluster with a place holds zeros. */
static bool keeps_discarded(const struct qcow2 *q, enum sweep sweep)
{
    return sweep == SWEEP_DISCARD && q->open.keep_discarded && *q->open.keep_discarded && q->h.version >= 3 &&
           !qcow2_has_data_file(q);
}

/*
 * The entry after [mask] of its subclusters became zeros. Zeroing keeps a cluster that is ours, so that later
 * writes cannot fail for want of space; discarding gives it back, unless the session keeps such clusters
 * where they are. Dropping leaves nothing, not even zeros.
 */
static struct qcow2_l2 swept_entry(const struct qcow2 *q, struct qcow2_l2 old, uint32_t mask,
                                   enum sweep sweep)
{
    bool keep = (sweep == SWEEP_ZERO || keeps_discarded(q, sweep)) && !(old.entry & ENTRY_COMPRESSED) &&
                old.entry & ENTRY_COPIED;
    if (qcow2_has_data_file(q) && old.entry & ENTRY_COPIED)
        keep = sweep != SWEEP_DROP;
    if (sweep == SWEEP_DROP)
        return (struct qcow2_l2){0};
    if (!q->extended)
        return (struct qcow2_l2){(keep ? old.entry & (ENTRY_OFFSET | ENTRY_COPIED) : 0) | ENTRY_ZERO, 0};
    if (mask == UINT32_MAX)
        return (struct qcow2_l2){keep ? old.entry : 0, (uint64_t)UINT32_MAX << 32};
    return (struct qcow2_l2){old.entry, (old.bitmap & ~(uint64_t)mask) | (uint64_t)mask << 32};
}

/* Nothing to do for an entry that reads as zeros and keeps nothing that the sweep would give back. */
static bool is_swept(const struct qcow2 *q, struct qcow2_l2 l2, uint32_t mask, uint64_t guest,
                     enum sweep sweep)
{
    bool has_place = l2.entry & (ENTRY_OFFSET | ENTRY_COMPRESSED);
    if (sweep == SWEEP_DROP)
        return l2.entry == 0 && l2.bitmap == 0;
    bool kept = keeps_discarded(q, sweep) && l2.entry & ENTRY_COPIED;
    if (sweep == SWEEP_DISCARD && has_place && mask == UINT32_MAX && !kept)
        return false;
    if (q->extended) {
        if (l2.entry & ENTRY_COMPRESSED)
            return false;
        uint64_t zero = l2.bitmap >> 32 & mask, open = mask & ~(l2.bitmap | l2.bitmap >> 32);
        return (zero | open) == mask && (open == 0 || !qcow2_backed(q, guest));
    }
    return l2.entry & ENTRY_ZERO ? true : !has_place && !qcow2_backed(q, guest);
}

static uint32_t mask_of(const struct qcow2 *q, uint64_t from, uint64_t to)
{
    if (!q->extended || to - from == q->cluster_size)
        return UINT32_MAX;
    uint64_t first = from % q->cluster_size >> q->sub_bits, count = (to - from) >> q->sub_bits;
    return (uint32_t)(((UINT64_C(1) << count) - 1) << first);
}

/* Does any entry of [off, end), all in one L2 table, need work? Finding out first saves making tables. */
static bool table_is_swept(struct qcow2 *q, uint64_t off, uint64_t end, enum sweep sweep, bool *swept,
                           struct error *err)
{
    for (*swept = true; *swept && off < end;) {
        struct qcow2_slice slice;
        if (!qcow2_slice_get(&q->active, off, &slice, err))
            return false;
        if (!slice.block) {
            *swept = sweep == SWEEP_DROP || !qcow2_backed(q, off);
            return true;
        }
        for (uint32_t i = 0; *swept && i < slice.count && off < end; i++) {
            uint64_t stop = MIN_OF(end, round_down(off, q->cluster_size) + q->cluster_size);
            *swept = is_swept(q, qcow2_slice_entry(q, &slice, i), mask_of(q, off, stop), off, sweep);
            off = stop;
        }
        cache_release(q->meta, slice.block);
    }
    return true;
}

/* The place is kept, its bytes go back to the host. */
static bool discard_kept(struct qcow2 *q, uint64_t host, struct error *err)
{
    uint64_t end = MIN_OF(host + q->cluster_size, q->file->size);
    return host >= end || (qcow2_overlap_check(q, host, q->cluster_size, 0, err) &&
                           device_discard(q->file, host, end - host, err));
}

/* One entry; [off, stop) lies in its cluster. */
static bool sweep_entry(struct qcow2 *q, struct qcow2_slice *slice, uint32_t i, uint64_t off, uint64_t stop,
                        enum sweep sweep, struct error *err)
{
    struct qcow2_l2 old = qcow2_slice_entry(q, slice, i);
    uint32_t mask = mask_of(q, off, stop);
    enum qcow2_state state;
    const char *why;
    if (is_swept(q, old, mask, off, sweep))
        return true;
    if (!qcow2_classify(q, old, 0, round_down(off, q->cluster_size), &state, &why))
        return qcow2_corrupt(q, slice->off + (uint64_t)i * q->entry_size, err,
                             "L2 entry of guest offset 0x%llx: %s", (unsigned long long)off, why);
    struct qcow2_l2 now = swept_entry(q, old, mask, sweep);
    qcow2_slice_set(q, slice, i, now);
    bool kept = !(old.entry & ENTRY_COMPRESSED) && (now.entry & ENTRY_OFFSET) == (old.entry & ENTRY_OFFSET);
    if (kept && keeps_discarded(q, sweep) && mask == UINT32_MAX && now.entry & ENTRY_OFFSET)
        return discard_kept(q, now.entry & ENTRY_OFFSET, err);
    return kept || qcow2_free_entry(q, old, err);
}

static bool sweep_table(struct qcow2 *q, uint64_t off, uint64_t end, enum sweep sweep, struct error *err)
{
    bool swept;
    if (!table_is_swept(q, off, end, sweep, &swept, err))
        return false;
    if (swept)
        return true;
    if (!qcow2_own_tables(q, off, end, err))
        return false;
    while (off < end) {
        struct qcow2_slice slice;
        bool ok = interrupt_check(err) && qcow2_slice_get(&q->active, off, &slice, err);
        if (!ok)
            return false;
        for (uint32_t i = 0; ok && i < slice.count && off < end; i++) {
            uint64_t stop = MIN_OF(end, round_down(off, q->cluster_size) + q->cluster_size);
            ok = sweep_entry(q, &slice, i, off, stop, sweep, err);
            off = stop;
        }
        cache_release(q->meta, slice.block);
        if (!ok)
            return false;
    }
    return true;
}

static bool sweep_range(struct qcow2 *q, uint64_t off, uint64_t end, enum sweep sweep, struct error *err)
{
    uint64_t span = q->cluster_size * q->l2_entries;
    while (off < end) {
        uint64_t stop = MIN_OF(end, round_down(off, span) + span);
        if (!sweep_table(q, off, stop, sweep, err))
            return false;
        off = stop;
    }
    return true;
}

/* Part of a subcluster, or a format without zero flags: zeros as data, unless there are zeros already. */
static bool write_zeros(struct qcow2 *q, uint64_t off, uint64_t end, enum write_class class,
                        struct error *err)
{
    static const uint8_t zeros[64 * 1024];
    while (off < end) {
        struct qcow2_run run;
        if (!qcow2_run_at(&q->active, off, end - off, &run, err))
            return false;
        bool backed = qcow2_backed(q, off),
             done = qcow2_state_is_zero(run.state) ||
                    ((run.state == SUB_UNALLOCATED || run.state == SUB_UNALLOCATED_HOST) && !backed);
        uint64_t n = done ? run.len : MIN_OF(run.len, sizeof zeros);
        if (!done && !qcow2_write_data(q, off, zeros, (size_t)n, class, err))
            return false;
        off += n;
    }
    return true;
}

/* In a compressed cluster of an extended image single subclusters cannot be marked. */
static bool zero_parts(struct qcow2 *q, uint64_t off, uint64_t end, struct error *err)
{
    while (off < end) {
        uint64_t stop = MIN_OF(end, round_down(off, q->cluster_size) + q->cluster_size);
        struct qcow2_run run;
        if (!qcow2_run_at(&q->active, off, stop - off, &run, err))
            return false;
        bool part = stop - off < q->cluster_size;
        bool ok = run.state == SUB_COMPRESSED && part ? write_zeros(q, off, stop, WRITE_UPDATE, err)
                                                      : sweep_range(q, off, stop, SWEEP_ZERO, err);
        if (!ok)
            return false;
        off = stop;
    }
    return true;
}

/* What an external raw data file must hold by itself. */
static bool zero_raw_data(struct qcow2 *q, uint64_t off, uint64_t end, struct error *err)
{
    return !qcow2_data_file_raw(q) || qcow2_data_zero(q, off, end - off, WRITE_UPDATE, err);
}

/* Version 2 knows no zeros: what is not allocated reads as zeros where there is no backing file. */
static bool zero_v2(struct qcow2 *q, uint64_t from, uint64_t to, enum write_class class, struct error *err)
{
    uint64_t backed = q->backing ? MIN_OF(to, round_up(q->backing->size, q->cluster_size)) : 0;
    uint64_t split = MAX_OF(from, backed);
    return write_zeros(q, from, split, class, err) && sweep_range(q, split, to, SWEEP_DROP, err);
}

bool qcow2_zero_data(struct qcow2 *q, uint64_t off, uint64_t n, enum write_class class, struct error *err)
{
    uint64_t end = off + n, unit = UINT64_C(1) << q->sub_bits;
    /* The end of the disk counts as the end of a cluster: nothing lies behind it. */
    uint64_t from = round_up(off, unit);
    uint64_t to = end == q->active.size ? round_up(end, q->cluster_size) : round_down(end, unit);
    if (from >= to)
        return write_zeros(q, off, end, class, err);
    if (!write_zeros(q, off, MIN_OF(from, end), class, err) || !zero_raw_data(q, from, MIN_OF(to, end), err))
        return false;
    bool ok;
    if (q->h.version < 3)
        ok = zero_v2(q, from, to, class, err);
    else
        ok = q->extended ? zero_parts(q, from, to, err) : sweep_range(q, from, to, SWEEP_ZERO, err);
    return ok && (to >= end || write_zeros(q, to, end, class, err));
}

bool qcow2_zero(struct device *dev, uint64_t off, uint64_t n, enum write_class class, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    return qcow2_prepare(q, err) && qcow2_touch(q, off, n, err) && qcow2_zero_data(q, off, n, class, err);
}

/* Whole clusters are given back and read as zeros; with a backing file version 2 has no way to say that. */
bool qcow2_discard_data(struct qcow2 *q, uint64_t off, uint64_t n, bool drop, struct error *err)
{
    uint64_t from = round_up(off, q->cluster_size);
    uint64_t end = off + n,
             to = end >= q->active.size ? round_up(end, q->cluster_size) : round_down(end, q->cluster_size);
    if (from >= to || (q->h.version < 3 && !drop && q->backing))
        return true;
    if (!drop && !zero_raw_data(q, from, MIN_OF(to, q->active.size), err))
        return false;
    bool external = qcow2_has_data_file(q) && !qcow2_data_file_raw(q) && from < q->data->size;
    if (external && !device_discard(q->data, from, MIN_OF(to, q->data->size) - from, err))
        return false;
    return sweep_range(q, from, to, drop || q->h.version < 3 ? SWEEP_DROP : SWEEP_DISCARD, err);
}

bool qcow2_discard(struct device *dev, uint64_t off, uint64_t n, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    return qcow2_prepare(q, err) && qcow2_touch(q, off, n, err) && qcow2_discard_data(q, off, n, false, err);
}
