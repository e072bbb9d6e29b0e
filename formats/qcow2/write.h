/* What the writers share. */
#ifndef DISH_QCOW2_WRITE_H
#define DISH_QCOW2_WRITE_H

#include "qcow2.h"

/* A write under way: guest bytes [off, end) out of buf. */
struct qcow2_request {
    struct qcow2 *q;
    uint64_t off, end;
    const uint8_t *buf;
    enum write_class class;
};

void qcow2_request_advance(struct qcow2_request *, uint64_t to);
/* Writing without the frame of a guest request (bitmaps, checks of the image's state). */
bool qcow2_write_data(struct qcow2 *, uint64_t off, const void *buf, size_t n, enum write_class,
                      struct error *) DISH_CHECKED;
bool qcow2_zero_data(struct qcow2 *, uint64_t off, uint64_t n, enum write_class, struct error *) DISH_CHECKED;
/* Whole clusters only. `drop`: leave nothing behind, so that the backing file (if any) shows again. */
bool qcow2_discard_data(struct qcow2 *, uint64_t off, uint64_t n, bool drop, struct error *) DISH_CHECKED;
/* Guest bytes [off, end): make all their L2 tables our own. */
bool qcow2_own_tables(struct qcow2 *, uint64_t off, uint64_t end, struct error *) DISH_CHECKED;
/* How many guest clusters from `cluster` on (at most max) have no place of their own. */
bool qcow2_count_homeless(struct qcow2 *, uint64_t cluster, uint64_t max, uint64_t *count,
                          struct error *) DISH_CHECKED;
bool qcow2_bounce(struct qcow2 *, struct error *) DISH_CHECKED; /* q->bounce is there */

#endif
