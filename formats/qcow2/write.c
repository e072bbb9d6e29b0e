/*
 * Writing guest data. A cluster that has exactly one user is written in place; anything else gets new
 * clusters, into which the rest of the old contents is copied first.
 */
#include "write.h"
#include "alloc.h"
#include "check.h"

#include <inttypes.h>
#include <stdlib.h>

static bool check_usable(struct qcow2 *q, struct error *err)
{
    if (!q->meta)
        return fail(err, E_DAMAGED, "the image could not be read again; close it");
    if (q->refused[0])
        return fail(err, E_UNSUPPORTED, "%s", q->refused);
    if (q->h.crypt_method)
        return fail(err, E_UNSUPPORTED, "the image is encrypted (%s); dish does not write such images",
                    q->h.crypt_method == 1 ? "AES" : "LUKS");
    if (q->lost)
        return fail(err, E_DAMAGED, "the image was found to be corrupt; `check --repair all` repairs it");
    if (q->refused_write[0])
        return fail(err, E_DAMAGED, "%s", q->refused_write);
    if (!q->data)
        return fail(err, E_UNSUPPORTED, "the external data file is not open");
    return true;
}

/* A writer that does not know an autoclear feature says so by clearing its bit. */
static bool clear_unknown(struct qcow2 *q, struct error *err)
{
    uint64_t known = q->h.autoclear_features & AUTOCLEAR_KNOWN;
    return known == q->h.autoclear_features || QCOW2_HEADER_PUT(q, autoclear_features, known, err);
}

/* A writer with lazy refcounts did not come to its end:
 * the counts are made right before anything relies on them. */
static bool finish_dirty(struct qcow2 *q, struct error *err)
{
    if (!(q->h.incompatible_features & INCOMPAT_DIRTY))
        return true;
    if (!qcow2_repair_all(q, false, err))
        return because(err, "the image is dirty and could not be repaired");
    qcow2_warn(q, WARN_DIRTY, "%s: the image was left dirty; its reference counts were repaired", q->path);
    return true;
}

bool qcow2_prepare(struct qcow2 *q, struct error *err)
{
    uint64_t header_refs;
    if (q->prepared)
        return !q->lost || check_usable(q, err);
    if (q->dev.read_only)
        return fail(err, E_READONLY, "the image is read-only");
    if (!check_usable(q, err) || !finish_dirty(q, err) || !qcow2_index_build(q, err) ||
        !qcow2_bitmaps_track(q, err))
        return false;
    q->prepared = true;
    if (!qcow2_index_sound(q, err) || !qcow2_refcount_get(q, 0, &header_refs, err))
        return false;
    if (header_refs == 0)
        return qcow2_corrupt(q, 0, err,
                             "preventing invalid allocation at offset 0: the header's refcount is 0");
    return clear_unknown(q, err);
}

bool qcow2_bounce(struct qcow2 *q, struct error *err)
{
    return q->bounce || (q->bounce = mem_new(BOUNCE, err));
}

/* Guest bytes as they read now, to their new place. */
static bool copy_bytes(struct qcow2 *q, uint64_t guest, uint64_t len, uint64_t host, struct error *err)
{
    if (!qcow2_bounce(q, err))
        return false;
    while (len > 0) {
        size_t n = (size_t)MIN_OF(len, BOUNCE);
        if (!qcow2_disk_read(&q->active, guest, q->bounce, n, err) ||
            !qcow2_data_write(q, host, q->bounce, n, WRITE_UPDATE, err))
            return false;
        guest += n;
        host += n;
        len -= n;
    }
    return true;
}

static bool reads_zero(const struct qcow2 *q, const struct qcow2_run *run, uint64_t guest)
{
    switch (run->state) {
    case SUB_ZERO:
    case SUB_ZERO_HOST:
        return true;
    case SUB_UNALLOCATED:
    case SUB_UNALLOCATED_HOST:
        return !qcow2_backed(q, guest);
    default:
        return false;
    }
}

/*
 * Fill [from, to) of a cluster under construction with what the guest reads there; `host` is the new place of
 * `from`. With `whole` unset only what is stored in this layer moves: the rest stays a matter of the bitmap.
 */
static bool fill(struct qcow2 *q, uint64_t from, uint64_t to, uint64_t host, bool whole, bool zeroed,
                 struct error *err)
{
    while (from < to) {
        struct qcow2_run run;
        if (!qcow2_run_at(&q->active, from, to - from, &run, err))
            return false;
        bool stored = run.state == SUB_DATA || run.state == SUB_COMPRESSED, ok = true;
        if (stored || (whole && !reads_zero(q, &run, from)))
            ok = copy_bytes(q, from, run.len, host, err);
        else if (whole && !zeroed)
            ok = qcow2_data_zero(q, host, run.len, WRITE_UPDATE, err);
        if (!ok)
            return false;
        from += run.len;
        host += run.len;
    }
    return true;
}

/* The written bytes and, around them, the rest of the subclusters that they touch. */
static bool write_around(const struct qcow2_request *r, uint64_t end, uint64_t host, bool zeroed,
                         struct error *err)
{
    struct qcow2 *q = r->q;
    uint64_t sub = UINT64_C(1) << q->sub_bits, start = round_down(r->off, sub), stop = round_up(end, sub);
    return fill(q, start, r->off, host - (r->off - start), true, zeroed, err) &&
           fill(q, end, stop, host + (end - r->off), true, zeroed, err) &&
           qcow2_data_write(q, host, r->buf, (size_t)(end - r->off), r->class, err);
}

/* Bits of the subclusters of the cluster at `cluster` that [from, to) touches. */
static uint64_t sub_mask(const struct qcow2 *q, uint64_t cluster, uint64_t from, uint64_t to)
{
    uint64_t first = MAX_OF(from, cluster) - cluster, last = MIN_OF(to, cluster + q->cluster_size) - cluster;
    uint64_t begin = first >> q->sub_bits, end = div_up(last, UINT64_C(1) << q->sub_bits);
    return ((UINT64_C(1) << end) - 1) & ~((UINT64_C(1) << begin) - 1);
}

/* The entry of a cluster in which [from, to) has just been written; host is its place, old what it was. */
static struct qcow2_l2 written_entry(const struct qcow2 *q, struct qcow2_l2 old, uint64_t cluster,
                                     uint64_t host, uint64_t from, uint64_t to)
{
    struct qcow2_l2 l2 = {.entry = host | ENTRY_COPIED};
    if (!q->extended)
        return l2;
    if (old.entry & ENTRY_COMPRESSED) {
        l2.bitmap = UINT32_MAX;
        return l2;
    }
    uint64_t mask = sub_mask(q, cluster, from, to);
    l2.bitmap = (old.bitmap | mask) & ~(mask << 32);
    return l2;
}

/* The cluster is there, but what is written of it so far reads as zeros or from the backing file. */
static bool write_reserved(struct qcow2_request *r, const struct qcow2_run *run, struct error *err)
{
    struct qcow2 *q = r->q;
    uint64_t end = r->off + run->len;
    uint64_t first = round_down(r->off, q->cluster_size);
    if ((q->data == q->file && !qcow2_update_check(q, run->host, run->len, 0, err)) ||
        !write_around(r, end, run->host, false, err))
        return false;
    for (uint64_t cluster = first; cluster < end;) {
        struct qcow2_slice slice;
        if (!qcow2_slice_get(&q->active, cluster, &slice, err))
            return false;
        for (uint32_t i = 0; i < slice.count && cluster < end; i++, cluster += q->cluster_size) {
            struct qcow2_l2 old = qcow2_slice_entry(q, &slice, i);
            qcow2_slice_set(q, &slice, i,
                            written_entry(q, old, cluster, old.entry & ENTRY_OFFSET, r->off, end));
        }
        cache_release(q->meta, slice.block);
    }
    qcow2_request_advance(r, end);
    return true;
}

bool qcow2_count_homeless(struct qcow2 *q, uint64_t cluster, uint64_t max, uint64_t *count, struct error *err)
{
    for (*count = 0; *count < max;) {
        struct qcow2_slice slice;
        if (!qcow2_slice_get(&q->active, cluster + (*count << q->cluster_bits), &slice, err))
            return false;
        uint32_t i = 0;
        for (; i < slice.count && *count < max; i++, ++*count) {
            uint64_t entry = qcow2_slice_entry(q, &slice, i).entry;
            if (!(entry & ENTRY_COMPRESSED) && entry & ENTRY_COPIED &&
                (entry & ENTRY_OFFSET || qcow2_has_data_file(q)))
                break;
        }
        cache_release(q->meta, slice.block);
        if (i < slice.count)
            break;
    }
    return true;
}

/* Point the entries of [cluster, cluster + n clusters) to their new places and drop the old ones. */
static bool set_entries(struct qcow2 *q, uint64_t cluster, uint64_t n, uint64_t host, uint64_t from,
                        uint64_t to, struct error *err)
{
    while (n > 0) {
        struct qcow2_slice slice;
        bool ok = qcow2_slice_get(&q->active, cluster, &slice, err);
        for (uint32_t i = 0; ok && i < slice.count && n > 0; i++, n--) {
            struct qcow2_l2 old = qcow2_slice_entry(q, &slice, i);
            qcow2_slice_set(q, &slice, i, written_entry(q, old, cluster, host, from, to));
            ok = old.entry == 0 || qcow2_free_entry(q, old, err);
            cluster += q->cluster_size;
            host += q->cluster_size;
        }
        cache_release(q->meta, slice.block);
        if (!ok)
            return false;
    }
    return true;
}

/* Clusters without a place of their own: take new ones,
 * copy what the write leaves, then switch the entries. */
static bool write_new(struct qcow2_request *r, struct error *err)
{
    struct qcow2 *q = r->q;
    uint64_t cluster = round_down(r->off, q->cluster_size), count;
    uint64_t max = div_up(r->end - cluster, q->cluster_size);
    if (!qcow2_count_homeless(q, cluster, max, &count, err))
        return false;
    struct qcow2_space space = {.off = cluster, .clusters = count};
    if (count == 0)
        return qcow2_corrupt(q, 0, err, "the entry of guest offset 0x%" PRIx64 " changed under a write",
                             r->off);
    if (!qcow2_has_data_file(q) && !qcow2_allocate(q, count, false, KIND_DATA, &space, err))
        return false;
    uint64_t stop = cluster + (space.clusters << q->cluster_bits), end = MIN_OF(r->end, stop);
    uint64_t sub = UINT64_C(1) << q->sub_bits, start = round_down(r->off, sub), after = round_up(end, sub);
    uint64_t host = space.off + (r->off - cluster);
    if (!fill(q, cluster, start, space.off, false, space.zeroed, err) ||
        !fill(q, after, stop, space.off + (after - cluster), false, space.zeroed, err) ||
        !write_around(r, end, host, space.zeroed, err) ||
        !set_entries(q, cluster, space.clusters, space.off, r->off, end, err))
        return false;
    qcow2_request_advance(r, end);
    return true;
}

static bool write_in_place(struct qcow2_request *r, const struct qcow2_run *run, struct error *err)
{
    struct qcow2 *q = r->q;
    if (q->data == q->file && !qcow2_update_check(q, run->host, run->len, 0, err))
        return false;
    if (!qcow2_data_write(q, run->host, r->buf, (size_t)run->len, r->class, err))
        return false;
    qcow2_request_advance(r, r->off + run->len);
    return true;
}

void qcow2_request_advance(struct qcow2_request *r, uint64_t to)
{
    r->buf += to - r->off;
    r->off = to;
}

/* Own the L2 tables first, in one go, so that they and the data lie in two runs, not in many. */
bool qcow2_own_tables(struct qcow2 *q, uint64_t off, uint64_t end, struct error *err)
{
    uint64_t span = q->cluster_size * q->l2_entries;
    for (uint64_t i = off / span; i <= (end - 1) / span; i++)
        if (!qcow2_l2_own(q, i, err))
            return false;
    return true;
}

static bool write_piece(struct qcow2_request *r, struct error *err)
{
    struct qcow2 *q = r->q;
    if (!qcow2_own_tables(q, r->off, r->end, err))
        return false;
    while (r->off < r->end) {
        struct qcow2_run run;
        if (!qcow2_run_at(&q->active, r->off, r->end - r->off, &run, err))
            return false;
        bool own = qcow2_state_has_host(run.state) && run.copied;
        bool ok = own && run.state == SUB_DATA ? write_in_place(r, &run, err)
                  : own                        ? write_reserved(r, &run, err)
                                               : write_new(r, err);
        if (!ok)
            return false;
    }
    return true;
}

bool qcow2_write_data(struct qcow2 *q, uint64_t off, const void *buf, size_t n, enum write_class class,
                      struct error *err)
{
    /* At most so many tables are made before their data, which bounds what a failure leaves half done. */
    uint64_t span = q->cluster_size * q->l2_entries, most = MAX_OF(span * 64, 16 * MiB);
    struct qcow2_request r = {.q = q, .off = off, .buf = buf, .class = class};
    for (uint64_t end = off + n; r.off < end;) {
        r.end = MIN_OF(end, r.off + most);
        if (!write_piece(&r, err))
            return false;
    }
    return true;
}

bool qcow2_write(struct device *dev, uint64_t off, const void *buf, size_t n, enum write_class class,
                 struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    return qcow2_prepare(q, err) && qcow2_touch(q, off, n, err) &&
           qcow2_write_data(q, off, buf, n, class, err);
}
