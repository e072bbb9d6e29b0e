/*
 * Writing compressed clusters. Several clusters of one call are compressed at once, by as many threads as the
 * machine has processors, and stored in their order, packed byte behind byte across cluster borders.
 */
#include "alloc.h"
#include "codec.h"
#include "pool.h"
#include "write.h"

#include <inttypes.h>
#include <stdlib.h>

/* One call. */
struct batch {
    struct qcow2 *q;
    const uint8_t *in;
    size_t n;      /* bytes of in */
    size_t count;  /* clusters */
    uint8_t *out;  /* count areas of a cluster each */
    size_t *sizes; /* of the payloads; 0: did not become smaller */
};

/* Compress cluster i on a thread of the pool. The last one of a disk may be short:
 * it is filled with zeros. */
static void compress_one(void *arg, size_t i, struct pool_scratch *scratch)
{
    struct batch *batch = arg;
    size_t size = (size_t)batch->q->cluster_size, off = i * size, n = MIN_OF(size, batch->n - off);
    const uint8_t *in = batch->in + off;
    uint8_t *padded = NULL;
    batch->sizes[i] = 0;
    if (n < size) {
        padded = calloc(1, size);
        if (!padded)
            return;
        memcpy(padded, in, n);
        in = padded;
    }
    if (!all_zero(in, size))
        batch->sizes[i] = batch->q->h.compression_type
                              ? pool_zstd(scratch, in, size, batch->out + off, size - 1)
                              : pool_deflate(scratch, in, size, batch->out + off, size - 1);
    free(padded);
}

/* A place for len compressed bytes, behind the last ones if they fit there or the next cluster follows. */
static bool place_bytes(struct qcow2 *q, uint64_t len, uint64_t *off, struct error *err)
{
    struct qcow2_space space;
    uint64_t used = q->pack_offset % q->cluster_size, room = used ? q->cluster_size - used : 0, refs = 0;
    if (room && !qcow2_refcount_get(q, q->pack_offset >> q->cluster_bits, &refs, err))
        return false;
    bool shareable = room && refs < q->refcount_max;
    *off = q->pack_offset;
    if (shareable && len <= room)
        return qcow2_refcount_add(q, *off >> q->cluster_bits, 1, 1, err);
    if (!qcow2_allocate(q, 1, true, KIND_DATA, &space, err))
        return false;
    if (shareable && space.off == q->pack_offset + room)
        return qcow2_refcount_add(q, *off >> q->cluster_bits, 1, 1, err);
    *off = space.off;
    return true;
}

/* Payloads that lie behind each other are written in one go. */
struct gather {
    struct qcow2 *q;
    uint64_t off;
    size_t used;
};

static bool gather_flush(struct gather *g, struct error *err)
{
    size_t n = g->used;
    g->used = 0;
    return n == 0 || (qcow2_overlap_check(g->q, g->off, n, 0, err) &&
                      qcow2_file_write(g->q, g->off, g->q->bounce, n, WRITE_UPDATE, err));
}

static bool gather_add(struct gather *g, uint64_t off, const uint8_t *bytes, size_t n, struct error *err)
{
    while (n > 0) {
        if ((g->off + g->used != off || g->used == BOUNCE) && !gather_flush(g, err))
            return false;
        if (g->used == 0)
            g->off = off;
        size_t part = MIN_OF(n, BOUNCE - g->used);
        memcpy(g->q->bounce + g->used, bytes, part);
        g->used += part;
        off += part;
        bytes += part;
        n -= part;
    }
    return true;
}

static bool set_compressed(struct qcow2 *q, uint64_t guest, uint64_t entry, struct error *err)
{
    struct qcow2_slice slice;
    if (!qcow2_slice_get(&q->active, guest, &slice, err))
        return false;
    struct qcow2_l2 old = qcow2_slice_entry(q, &slice, 0);
    qcow2_slice_set(q, &slice, 0, (struct qcow2_l2){entry, 0});
    uint64_t pack = q->pack_offset;
    bool ok = old.entry == 0 || qcow2_free_entry(q, old, err);
    q->pack_offset = pack; /* what was freed is not where we are packing */
    cache_release(q->meta, slice.block);
    return ok;
}

/* Store payload i; where that cannot be, the cluster as it is. */
static bool store_one(struct batch *batch, struct gather *g, size_t i, uint64_t guest, struct error *err)
{
    struct qcow2 *q = batch->q;
    size_t at = i * (size_t)q->cluster_size, n = MIN_OF((size_t)q->cluster_size, batch->n - at),
           size = batch->sizes[i];
    unsigned bits = 62 - (q->cluster_bits - 8);
    uint64_t off;
    if (all_zero(batch->in + at, n))
        return qcow2_zero_data(q, guest, n, WRITE_UPDATE, err);
    if (size == 0)
        return qcow2_write_data(q, guest, batch->in + at, n, WRITE_UPDATE, err);
    if (!qcow2_own_tables(q, guest, guest + n, err) || !place_bytes(q, size, &off, err))
        return false;
    q->pack_offset = off + size;
    uint64_t sectors = ((off + size - 1) >> 9) - (off >> 9);
    if ((off + size) >> bits || off + size > MAX_HOST_OFFSET)
        return fail(err, E_NOSPACE, "the image file is too large for compressed clusters of this size");
    return gather_add(g, off, batch->out + at, size, err) &&
           set_compressed(q, guest, ENTRY_COMPRESSED | sectors << bits | off, err);
}

static bool run_batch(struct batch *batch, uint64_t off, struct error *err)
{
    struct qcow2 *q = batch->q;
    struct gather gather = {.q = q};
    if (!qcow2_codec_pool(q, err))
        return false;
    pool_run(q->codec->pool, batch->count, compress_one, batch);
    bool ok = interrupt_check(err);
    for (size_t i = 0; ok && i < batch->count; i++)
        ok = store_one(batch, &gather, i, off + (uint64_t)i * q->cluster_size, err);
    return ok && gather_flush(&gather, err);
}

static bool check_request(struct qcow2 *q, uint64_t off, size_t n, struct error *err)
{
    if (qcow2_has_data_file(q))
        return fail(err, E_UNSUPPORTED,
                    "an image with an external data file cannot hold compressed clusters");
#ifndef HAVE_ZSTD
    if (q->h.compression_type)
        return fail(err, E_UNSUPPORTED, "the image compresses with zstd, which this build does not have");
#endif
    if (off % q->cluster_size || (n % q->cluster_size && off + n != q->active.size) ||
        off + n > q->active.size)
        return fail(err, E_INVALID, "compressed clusters are written whole (%" PRIu64 " bytes)",
                    q->cluster_size);
    return true;
}

bool qcow2_write_compressed(struct device *dev, uint64_t off, const void *buf, size_t n, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    if (n == 0)
        return true;
    if (!qcow2_prepare(q, err) || !check_request(q, off, n, err) || !qcow2_touch(q, off, n, err) ||
        !qcow2_bounce(q, err))
        return false;
    struct batch batch = {.q = q, .in = buf, .n = n, .count = (size_t)div_up(n, q->cluster_size)};
    batch.out = mem_array(batch.count, (size_t)q->cluster_size, err);
    batch.sizes = mem_array(batch.count, sizeof *batch.sizes, err);
    bool ok = batch.out && batch.sizes && run_batch(&batch, off, err);
    free(batch.out);
    free(batch.sizes);
    return ok;
}
