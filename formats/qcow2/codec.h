/* State of the compressors; made when the first compressed cluster is met. */
#ifndef DISH_QCOW2_CODEC_H
#define DISH_QCOW2_CODEC_H

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
    struct qcow2_inflated slots[INFLATED_SLOTS];
    uint64_t clock;
    uint8_t *input; /* payload as read */
    z_stream inflater;
    bool inflating; /* inflater is set up */
#ifdef HAVE_ZSTD
    ZSTD_DStream *zstd;
#endif
};

#endif
