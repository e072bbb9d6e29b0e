/* From a guest offset through L1 and L2 table to a run of clusters in one state. */
#include "qcow2.h"

#include <inttypes.h>

bool qcow2_l1_get(const struct qcow2_disk *disk, uint64_t index, uint64_t *entry, struct error *err)
{
    struct qcow2 *q = disk->q;
    *entry = 0;
    if (index >= disk->l1_size)
        return true;
    uint64_t place = disk->l1_offset + index * 8;
    if (!qcow2_meta_get64(q, place, entry, err))
        return false;
    if (!(*entry & (ENTRY_OFFSET | L1_RESERVED)))
        return true;
    if (*entry & L1_RESERVED) {
        if (q->prepared)
            return qcow2_corrupt(q, place, err, "L1 entry %" PRIu64 " (0x%" PRIx64 ") has reserved bits set",
                                 index, *entry);
        qcow2_warn(q, WARN_RESERVED, "%s: reserved bits are set in L1 entry %" PRIu64 " (0x%" PRIx64 ")",
                   q->path, index, *entry);
    }
    if ((*entry & ENTRY_OFFSET) % q->cluster_size)
        return qcow2_corrupt(q, place, err, "L2 table offset 0x%" PRIx64 " unaligned (L1 index: %" PRIu64 ")",
                             *entry & ENTRY_OFFSET, index);
    return true;
}

bool qcow2_slice_get(const struct qcow2_disk *disk, uint64_t off, struct qcow2_slice *out, struct error *err)
{
    struct qcow2 *q = disk->q;
    uint64_t cluster = off >> q->cluster_bits, entry;
    uint32_t l2_index = (uint32_t)(cluster % q->l2_entries);
    *out = (struct qcow2_slice){.count = q->l2_entries - l2_index};
    if (!qcow2_l1_get(disk, cluster / q->l2_entries, &entry, err))
        return false;
    out->table = entry & ENTRY_OFFSET;
    if (out->table == 0)
        return true;
    out->off = out->table + (uint64_t)l2_index * q->entry_size;
    uint32_t at = (uint32_t)(out->off % q->block_size);
    if (!cache_get(q->meta, out->off - at, &out->block, err))
        return false;
    out->entries = out->block->data + at;
    out->count = (q->block_size - at) / q->entry_size;
    return true;
}

struct qcow2_l2 qcow2_slice_entry(const struct qcow2 *q, const struct qcow2_slice *slice, uint32_t i)
{
    const uint8_t *raw = slice->entries + (size_t)i * q->entry_size;
    return (struct qcow2_l2){load_be64(raw), q->extended ? load_be64(raw + 8) : 0};
}

void qcow2_slice_set(struct qcow2 *q, struct qcow2_slice *slice, uint32_t i, struct qcow2_l2 l2)
{
    uint8_t *raw = slice->entries + (size_t)i * q->entry_size;
    store_be64(raw, l2.entry);
    if (q->extended)
        store_be64(raw + 8, l2.bitmap);
    cache_dirty(q->meta, slice->block, WRITE_UPDATE);
}

/* Extended L2: the two bits of a subcluster. */
static bool classify_sub(struct qcow2_l2 l2, uint32_t sub, bool has_host, enum qcow2_state *state,
                         const char **why)
{
    bool allocated = l2.bitmap >> sub & 1, zero = l2.bitmap >> (sub + 32) & 1;
    if (allocated && (zero || !has_host)) {
        *why =
            zero ? "a subcluster is both allocated and zero" : "a subcluster is allocated without a cluster";
        return false;
    }
    if (allocated)
        *state = SUB_DATA;
    else if (zero)
        *state = has_host ? SUB_ZERO_HOST : SUB_ZERO;
    else
        *state = has_host ? SUB_UNALLOCATED_HOST : SUB_UNALLOCATED;
    return true;
}

static bool classify_compressed(const struct qcow2 *q, struct qcow2_l2 l2, enum qcow2_state *state,
                                const char **why)
{
    uint64_t off, len;
    qcow2_compressed_place(q, l2.entry, &off, &len);
    *state = SUB_COMPRESSED;
    if (qcow2_has_data_file(q))
        *why = "a compressed cluster in an image with an external data file";
    else if (q->extended && l2.bitmap)
        *why = "a compressed cluster has a subcluster bitmap";
    else if (off >= MAX_HOST_OFFSET)
        *why = "the offset of a compressed cluster is too large";
    else
        return true;
    return false;
}

bool qcow2_classify(const struct qcow2 *q, struct qcow2_l2 l2, uint32_t sub, uint64_t guest,
                    enum qcow2_state *state, const char **why)
{
    if (l2.entry & ENTRY_COMPRESSED)
        return classify_compressed(q, l2, state, why);
    uint64_t host = l2.entry & ENTRY_OFFSET;
    /* Only an external data file has a cluster at offset 0: its copied flag tells it from "unallocated". */
    bool has_host = host != 0 || (qcow2_has_data_file(q) && l2.entry & ENTRY_COPIED);
    if (host % q->cluster_size) {
        *why = "the cluster's offset is unaligned";
        return false;
    }
    if (has_host && qcow2_has_data_file(q) && host != round_down(guest, q->cluster_size)) {
        *why = "the offset in the external data file differs from the guest's";
        return false;
    }
    if (q->extended)
        return classify_sub(l2, sub, has_host, state, why);
    if (!(l2.entry & ENTRY_ZERO)) {
        *state = has_host ? SUB_DATA : SUB_UNALLOCATED;
        return true;
    }
    *state = has_host ? SUB_ZERO_HOST : SUB_ZERO;
    if (q->h.version >= 3)
        return true;
    *why = "a zero cluster in an image of version 2";
    return false;
}

void qcow2_compressed_place(const struct qcow2 *q, uint64_t entry, uint64_t *off, uint64_t *len)
{
    unsigned bits = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (entry & ~(ENTRY_COPIED | ENTRY_COMPRESSED)) >> bits;
    *off = entry & ((UINT64_C(1) << bits) - 1);
    *len = (sectors + 1) * 512 - *off % 512;
}

static uint64_t reserved_bits(const struct qcow2 *q, uint64_t entry)
{
    if (entry & ENTRY_COMPRESSED)
        return 0;
    return entry & (q->extended ? L2_RESERVED | ENTRY_ZERO : L2_RESERVED);
}

/* A piece of a run inside one slice is being measured. */
struct cursor {
    const struct qcow2_disk *disk;
    const struct qcow2_slice *slice;
    uint64_t off, max;
    struct qcow2_run *run;
};

/* Put a piece of len bytes behind the run, when it goes on in the same state. */
static bool extend(struct qcow2_run *run, enum qcow2_state state, bool copied, uint64_t host, uint64_t entry,
                   uint64_t len)
{
    if (run->len == 0) {
        *run = (struct qcow2_run){.state = state, .copied = copied, .len = len, .host = host, .entry = entry};
        return true;
    }
    if (state != run->state || state == SUB_COMPRESSED)
        return false;
    if (qcow2_state_has_host(state) && (copied != run->copied || host != run->host + run->len))
        return false;
    run->len += len;
    return true;
}

/* Take the subclusters of one entry into the run. *more: the run may go on behind it. */
static bool take_entry(struct cursor *at, struct qcow2_l2 l2, uint64_t place, bool *more, struct error *err)
{
    struct qcow2 *q = at->disk->q;
    struct qcow2_run *run = at->run;
    uint64_t guest = at->off + run->len;
    uint32_t sub = (uint32_t)(guest % q->cluster_size >> q->sub_bits);
    bool compressed = l2.entry & ENTRY_COMPRESSED;
    for (*more = true; *more && sub < q->sub_count && run->len < at->max; sub++) {
        enum qcow2_state state = SUB_UNALLOCATED;
        const char *why;
        if (!qcow2_classify(q, l2, sub, guest, &state, &why)) {
            if (run->len > 0)
                return !(*more = false);
            return qcow2_corrupt(q, place, err, "L2 entry 0x%" PRIx64 " of guest offset 0x%" PRIx64 ": %s",
                                 l2.entry, guest, why);
        }
        uint64_t unit = compressed ? q->cluster_size : UINT64_C(1) << q->sub_bits;
        uint64_t in_cluster = guest % q->cluster_size, len = unit - guest % unit;
        uint64_t host = compressed ? 0 : (l2.entry & ENTRY_OFFSET) + in_cluster, payload_len;
        if (compressed)
            qcow2_compressed_place(q, l2.entry, &host, &payload_len);
        *more = extend(run, state, l2.entry & ENTRY_COPIED, host, l2.entry, len);
        if (*more)
            guest += len;
        if (compressed)
            return true;
    }
    return true;
}

/* The common case in one go: an entry without surprises whose whole cluster is one piece. */
static bool plain_data(const struct qcow2 *q, uint64_t entry)
{
    return (entry & (ENTRY_COMPRESSED | L2_RESERVED | ENTRY_ZERO)) == 0 && (entry & ENTRY_OFFSET) != 0 &&
           (entry & ENTRY_OFFSET) % q->cluster_size == 0 && !q->extended && !qcow2_has_data_file(q);
}

static bool take_slice(struct cursor *at, bool *more, struct error *err)
{
    struct qcow2 *q = at->disk->q;
    struct qcow2_run *run = at->run;
    uint32_t i = 0;
    for (*more = true; *more && i < at->slice->count && run->len < at->max; i++) {
        struct qcow2_l2 l2 = qcow2_slice_entry(q, at->slice, i);
        if (run->len > 0 && run->state == SUB_DATA && plain_data(q, l2.entry) &&
            (l2.entry & ENTRY_OFFSET) == run->host + run->len && !(l2.entry & ENTRY_COPIED) == !run->copied) {
            run->len += q->cluster_size;
            continue;
        }
        uint64_t place = at->slice->off + (uint64_t)i * q->entry_size;
        if (reserved_bits(q, l2.entry)) {
            if (run->len > 0 && q->prepared)
                return !(*more = false);
            if (q->prepared)
                return qcow2_corrupt(q, place, err, "L2 entry 0x%" PRIx64 " has reserved bits set", l2.entry);
            qcow2_warn(q, WARN_RESERVED,
                       "%s: reserved bits are set in an L2 entry (0x%" PRIx64 " at 0x%" PRIx64 ")", q->path,
                       l2.entry, place);
        }
        if (!take_entry(at, l2, place, more, err))
            return false;
    }
    return true;
}

bool qcow2_run_at(const struct qcow2_disk *disk, uint64_t off, uint64_t max, struct qcow2_run *run,
                  struct error *err)
{
    struct qcow2 *q = disk->q;
    *run = (struct qcow2_run){0};
    for (bool more = true; more && run->len < max;) {
        struct qcow2_slice slice;
        struct error later;
        uint64_t at = off + run->len;
        if (!qcow2_slice_get(disk, at, &slice, run->len ? &later : err))
            return run->len > 0; /* the fault is reported when the run that begins with it is asked for */
        if (!slice.block) {
            uint64_t len = ((uint64_t)slice.count << q->cluster_bits) - at % q->cluster_size;
            if (!interrupt_check(err))
                return false;
            more = extend(run, SUB_UNALLOCATED, false, 0, 0, len);
            continue;
        }
        struct cursor cursor = {disk, &slice, off, max, run};
        bool ok = take_slice(&cursor, &more, err);
        cache_release(q->meta, slice.block);
        if (!ok)
            return false;
    }
    run->len = MIN_OF(run->len, max);
    return true;
}

/* A new, empty L2 table. */
static bool new_table(struct qcow2 *q, uint64_t *table, struct error *err)
{
    struct qcow2_space space;
    if (!qcow2_allocate(q, 1, true, KIND_L2, &space, err))
        return false;
    *table = space.off;
    if (q->block_size < q->cluster_size)
        return space.zeroed || qcow2_file_zero(q, space.off, q->cluster_size, err);
    struct cache_block *block;
    if (!cache_get_new(q->meta, space.off, WRITE_UPDATE, &block, err))
        return false;
    cache_release(q->meta, block);
    return true;
}

static bool copy_table(struct qcow2 *q, uint64_t from, uint64_t to, struct error *err)
{
    uint8_t buf[4096];
    for (uint64_t at = 0; at < q->cluster_size; at += q->block_size)
        if (!qcow2_meta_read(q, from + at, buf, q->block_size, err) ||
            !qcow2_meta_write(q, to + at, buf, q->block_size, err))
            return false;
    return true;
}

bool qcow2_l2_leave(struct qcow2 *q, uint64_t table, struct error *err)
{
    uint64_t refs;
    if (!qcow2_free(q, table, 1, err) || !qcow2_refcount_get(q, table >> q->cluster_bits, &refs, err))
        return false;
    qcow2_index_remove(q, table, 1, KIND_L2);
    if (refs == 0)
        qcow2_forget_clusters(q, table, 1);
    return true;
}

bool qcow2_l2_own(struct qcow2 *q, uint64_t l1_index, struct error *err)
{
    uint64_t entry, table, place = q->active.l1_offset + l1_index * 8;
    if (!qcow2_l1_get(&q->active, l1_index, &entry, err))
        return false;
    uint64_t old = entry & ENTRY_OFFSET;
    if (entry & ENTRY_COPIED && old)
        return qcow2_update_check(q, old, q->cluster_size, KIND_L2, err);
    if (l1_index >= q->active.l1_size)
        return fail(err, E_TOOBIG, "guest offset is past the end of the L1 table (entry %" PRIu64 ")",
                    l1_index);
    return qcow2_overlap_check(q, place, 8, KIND_L1, err) && new_table(q, &table, err) &&
           (old == 0 || copy_table(q, old, table, err)) &&
           qcow2_meta_put64(q, place, table | ENTRY_COPIED, err) && (old == 0 || qcow2_l2_leave(q, old, err));
}
