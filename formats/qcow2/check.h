/* What check and repair share: references counted, and the pass that counts them. */
#ifndef DISH_QCOW2_CHECK_H
#define DISH_QCOW2_CHECK_H

#include "qcow2.h"

/*
 * Counters for the clusters of the file, in chunks that exist only where something was counted; so a sparse
 * file costs what it holds. Each also remembers how active entries refer to the cluster.
 */
enum { COUNTS_CHUNK = 4096 };

struct qcow2_chunk {
    uint64_t index;  /* of its first cluster, in chunks */
    uint8_t *narrow; /* COUNTS_CHUNK counters: 6 bits of count, two flags; NULL when wide */
    uint64_t *wide;  /* count and the flags in the lowest bits */
};

struct qcow2_counts {
    struct qcow2_chunk **slots; /* open-addressed hash */
    size_t mask, used;
    struct qcow2_chunk *last;
};

enum { SEEN_COPIED = 1, SEEN_SHARED = 2 };

bool counts_add(struct qcow2_counts *, uint64_t cluster, uint64_t times, unsigned seen,
                struct error *) DISH_CHECKED;
uint64_t counts_get(const struct qcow2_counts *, uint64_t cluster);
unsigned counts_seen(const struct qcow2_counts *, uint64_t cluster);
bool counts_has_chunk(const struct qcow2_counts *, uint64_t chunk);
/* The chunks' indices in rising order; malloc'd. */
bool counts_sorted(const struct qcow2_counts *, uint64_t **indices, size_t *count,
                   struct error *) DISH_CHECKED;
void counts_free(struct qcow2_counts *);

/* How often an L2 table is named. Small, for there can be millions. */
struct l2_use {
    uint64_t table;
    uint32_t first_index; /* L1 index that names it (an active one if there is any) */
    uint32_t active : 1;  /* the active L1 table names it */
    uint32_t times : 31;  /* by all L1 tables; stays at its maximum */
};

/* One walk over everything that refers to clusters. */
struct qcow2_walk {
    struct qcow2 *q;
    struct check *check;    /* NULL: only count */
    bool without_refcounts; /* leave out refcount table and blocks (they will be made anew) */
    struct qcow2_counts counts;
    uint64_t *blocks; /* offsets of the refcount blocks by table index; 0: none, or unusable */
    uint64_t block_count;
    struct l2_use *l2; /* in the order of the file once all are known */
    size_t l2_used, l2_capacity;
    uint32_t *l2_hash; /* index in l2 plus one, 0: empty; only while they are collected */
    size_t l2_mask;
    uint64_t file_clusters;
    bool stopped;          /* found() asked to stop */
    bool tables_unusable;  /* refcount table or a block of it cannot be used */
    bool incomplete;       /* snapshots or bitmaps could not be read: what only they use was not counted */
    bool structure_damage; /* something other than counts and flags is wrong */
    uint64_t allocated, fragmented, compressed;
};

bool qcow2_walk_run(struct qcow2_walk *, struct error *) DISH_CHECKED;
void qcow2_walk_free(struct qcow2_walk *);
/* The stored refcount, 0 where there is no usable block. */
bool qcow2_walk_stored(struct qcow2_walk *, uint64_t cluster, uint64_t *count, struct error *) DISH_CHECKED;
/* Report damage at `off`; repairs of REPAIR_ALL mend it. */
void qcow2_walk_damage(struct qcow2_walk *, const char *code, uint64_t off, const char *fmt, ...)
    DISH_PRINTF(4, 5);
/* May an L1 entry's table lie here? Otherwise *why says what is wrong.
 * A table that the file's end cuts may. */
bool qcow2_l2_place_ok(const struct qcow2_walk *, uint64_t entry, const char **why);
/* The damage of an L2 entry that can be seen from itself in a file of so many clusters; NULL: none. */
const char *qcow2_entry_fault(const struct qcow2 *, struct qcow2_l2, uint64_t guest, uint64_t file_clusters);

/* Mend what a check found; see repair.c. `data`: compressed clusters that cannot be inflated, too. */
bool qcow2_repair_all(struct qcow2 *, bool data, struct error *) DISH_CHECKED;
bool qcow2_repair_leaks(struct qcow2 *, struct qcow2_walk *, bool flags_too, struct error *) DISH_CHECKED;
/* New refcount table and blocks with this width, holding the walk's counts (made without_refcounts). They lie
 * from cluster `base` on, behind everything that is counted; *end: the cluster behind them. */
bool qcow2_rebuild_refcounts(struct qcow2 *, struct qcow2_walk *, unsigned order, uint64_t base,
                             uint64_t *end, struct error *) DISH_CHECKED;
/* Set the copied flags of the active tables as the refcounts demand. */
bool qcow2_fix_flags(struct qcow2 *, struct error *) DISH_CHECKED;

/* Before free space is given back: E_DAMAGED when some of it is in use. The image is prepared afterwards. */
bool qcow2_require_counts(struct qcow2 *, struct error *) DISH_CHECKED;
/* A finding callback for whoever only wants the counts. */
bool qcow2_ignore_finding(struct check *, const struct finding *);
bool qcow2_check(struct device *, struct check *, struct error *) DISH_CHECKED;

#endif
