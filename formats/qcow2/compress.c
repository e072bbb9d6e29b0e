/*
 * Compressed clusters: raw deflate with a window of at most 32 KiB, or one zstd frame, each a whole cluster.
 * The last few inflated clusters are kept, so that reading one in small steps inflates it once.
 */
#include "alloc.h"
#include "codec.h"
#include "qcow2.h"

#include <inttypes.h>
#include <stdlib.h>

static void drop_slot(struct qcow2_inflated *slot)
{
    slot->valid = false;
}

void qcow2_codec_forget(struct qcow2 *q)
{
    for (size_t i = 0; q->codec && i < INFLATED_SLOTS; i++)
        drop_slot(&q->codec->slots[i]);
    if (q->codec)
        q->codec->failure.kind = E_OK;
}

void qcow2_codec_free(struct qcow2 *q)
{
    struct qcow2_codec *codec = q->codec;
    if (!codec)
        return;
    for (size_t i = 0; i < INFLATED_SLOTS; i++)
        free(codec->slots[i].data);
    free(codec->input);
    pool_free(codec->pool);
    if (codec->inflating)
        inflateEnd(&codec->inflater);
#ifdef HAVE_ZSTD
    ZSTD_freeDStream(codec->zstd);
#endif
    free(codec);
    q->codec = NULL;
}

static struct qcow2_codec *get_codec(struct qcow2 *q, struct error *err)
{
    /* A header that was changed by hand, or taken back, may have other clusters. */
    if (q->codec && q->codec->cluster_size != q->cluster_size)
        qcow2_codec_free(q);
    if (!q->codec) {
        q->codec = mem_new(sizeof *q->codec, err);
        /* The sector count of an entry can describe two clusters of payload at most. */
        if (q->codec && !(q->codec->input = mem_new(2 * q->cluster_size + 512, err)))
            qcow2_codec_free(q);
        if (q->codec)
            q->codec->cluster_size = q->cluster_size;
    }
    return q->codec;
}

bool qcow2_codec_pool(struct qcow2 *q, struct error *err)
{
    struct qcow2_codec *codec = get_codec(q, err);
    return codec && (codec->pool || (codec->pool = pool_new(q->open.threads, err)));
}

/* Stops as soon as a cluster is complete: the last sector may hold other bytes behind the payload. */
static bool inflate_zlib(struct qcow2 *q, size_t len, uint8_t *out, struct error *err)
{
    struct qcow2_codec *codec = q->codec;
    z_stream *z = &codec->inflater;
    if (!codec->inflating) {
        if (inflateInit2(z, -15) != Z_OK)
            return fail(err, E_NOMEM, "out of memory (inflate)");
        codec->inflating = true;
    } else {
        inflateReset(z);
    }
    z->next_in = codec->input;
    z->avail_in = (uInt)len;
    z->next_out = out;
    z->avail_out = (uInt)q->cluster_size;
    int rc = inflate(z, Z_FINISH);
    if (z->avail_out == 0 && (rc == Z_STREAM_END || rc == Z_BUF_ERROR || rc == Z_OK))
        return true;
    return fail(err, E_DAMAGED, "the compressed cluster is damaged (%s)", z->msg ? z->msg : "too short");
}

#ifdef HAVE_ZSTD
static bool inflate_zstd(struct qcow2 *q, size_t len, uint8_t *out, struct error *err)
{
    struct qcow2_codec *codec = q->codec;
    if (!codec->zstd && !(codec->zstd = ZSTD_createDStream()))
        return fail(err, E_NOMEM, "out of memory (zstd)");
    ZSTD_initDStream(codec->zstd);
    ZSTD_inBuffer in = {codec->input, len, 0};
    ZSTD_outBuffer to = {out, q->cluster_size, 0};
    while (to.pos < to.size) {
        size_t before_in = in.pos, before_out = to.pos;
        size_t rc = ZSTD_decompressStream(codec->zstd, &to, &in);
        if (ZSTD_isError(rc))
            return fail(err, E_DAMAGED, "the compressed cluster is damaged (%s)", ZSTD_getErrorName(rc));
        if (in.pos == before_in && to.pos == before_out)
            return fail(err, E_DAMAGED, "the compressed cluster is damaged (too short)");
    }
    return true;
}
#else
static bool inflate_zstd(struct qcow2 *q, size_t len, uint8_t *out, struct error *err)
{
    (void)q;
    (void)len;
    (void)out;
    return fail(err, E_UNSUPPORTED, "the cluster is compressed with zstd, which this build does not have");
}
#endif

static bool inflate_into(struct qcow2 *q, uint64_t entry, uint8_t *out, struct error *err)
{
    uint64_t off, len;
    qcow2_compressed_place(q, entry, &off, &len);
    if (!qcow2_file_read(q, off, q->codec->input, (size_t)len, err))
        return false;
    bool ok = q->h.compression_type == 1 ? inflate_zstd(q, (size_t)len, out, err)
                                         : inflate_zlib(q, (size_t)len, out, err);
    if (!ok && err->kind == E_DAMAGED) {
        err->device = q->file;
        err->offset = off;
    }
    return ok;
}

bool qcow2_inflate(struct qcow2 *q, uint64_t entry, const uint8_t **cluster, struct error *err)
{
    struct qcow2_codec *codec = get_codec(q, err);
    if (!codec)
        return false;
    if (codec->failure.kind != E_OK && codec->failed_entry == entry) {
        *err = codec->failure;
        return false;
    }
    struct qcow2_inflated *oldest = &codec->slots[0];
    for (size_t i = 0; i < INFLATED_SLOTS; i++) {
        struct qcow2_inflated *slot = &codec->slots[i];
        if (slot->valid && slot->entry == entry) {
            slot->used = ++codec->clock;
            *cluster = slot->data;
            return true;
        }
        if (slot->used < oldest->used)
            oldest = slot;
    }
    if (!oldest->data && !(oldest->data = mem_new(q->cluster_size, err)))
        return false;
    drop_slot(oldest);
    if (!inflate_into(q, entry, oldest->data, err)) {
        codec->failed_entry = entry;
        codec->failure = err->kind == E_DAMAGED ? *err : (struct error){0};
        return false;
    }
    *oldest =
        (struct qcow2_inflated){.valid = true, .entry = entry, .data = oldest->data, .used = ++codec->clock};
    *cluster = oldest->data;
    return true;
}
