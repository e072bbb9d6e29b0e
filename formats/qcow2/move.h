/* Moving clusters down into the gaps of the file; see move.c. */
#ifndef DISH_QCOW2_MOVE_H
#define DISH_QCOW2_MOVE_H

#include "check.h"

/* `len` clusters from `from` on go to `to`, which lies below. */
struct qcow2_move {
    uint64_t from, to, len;
};

/* One round of moves: at most so many, the next round sees what is left. */
enum { MAX_MOVES = 1 << 17 };

struct qcow2_moving {
    struct qcow2 *q;
    struct qcow2_walk walk;   /* everything but the refcount structure, counted */
    struct ranges joined;     /* cluster n here: n and n + 1 stay neighbours */
    uint64_t first_movable;   /* what cannot move lies below */
    uint64_t end;             /* behind the last cluster that is counted */
    struct qcow2_move *moves; /* by `from` */
    size_t count, capacity;
    struct qcow2_snapshot_list snapshots;
    struct qcow2_bitmap_list bitmaps;
};

/* Where a cluster, or a byte of the file, lies after the moves. */
uint64_t qcow2_moved_cluster(const struct qcow2_moving *, uint64_t cluster);
uint64_t qcow2_moved_offset(const struct qcow2_moving *, uint64_t off);

/* move_plan.c: fill `moves`; none: there is nothing to gain. */
bool qcow2_move_plan(struct qcow2_moving *, struct error *) DISH_CHECKED;
/* How many clusters the counted ones need, with a refcount structure for them. */
uint64_t qcow2_move_least(const struct qcow2_moving *);

/* Make the file as short as its contents allow. The image must be sound;
 * nothing is changed when it is short. */
bool qcow2_move_down(struct qcow2 *, struct error *) DISH_CHECKED;

#endif
