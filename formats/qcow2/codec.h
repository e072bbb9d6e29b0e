/* State of the compressors; made when the first compressed cluster is met. */
#ifndef DISH_QCOW2_CODEC_H
#define DISH_QCOW2_CODEC_H

#include "pool.h"
#include "qcow2.h"

#include <stdbool.h>
#include <stdint.h>
#include <zlib.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

enum { INFLATED_SLOTS = 4 };

struct qcow2_inflated {
    bool valid;
    uint64_t entry; /* the L2 entry it came from */
    uint64_t used;  /* clock of its last use */
    uint8_t *data;
};

struct qcow2_codec {
    uint64_t cluster_size; /* what the buffers were made for */
    struct qcow2_inflated slots[INFLATED_SLOTS];
    uint64_t clock;
    /* The last cluster that could not be inflated; a table of garbage may name it again and again. */
    uint64_t failed_entry;
    struct error failure; /* E_OK: there was none */
    uint8_t *input;       /* payload as read */
    z_stream inflater;
    bool inflating;    /* inflater is set up */
    struct pool *pool; /* for compressing; made when first needed */
#ifdef HAVE_ZSTD
    ZSTD_DStream *zstd;
#endif
};

/* q->codec->pool is there. */
bool qcow2_codec_pool(struct qcow2 *, struct error *) DISH_CHECKED;

#endif
