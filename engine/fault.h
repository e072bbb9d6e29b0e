/*
 * Failures of the host on demand, for tests: every operation that changes a file passes host_hook(), is
 * counted there, and the n-th one fails. A power cut is a failure after which nothing reaches the host any
 * more, and after which writes that were not synced may be lost in part, as a disk loses what is in its
 * cache.
 */
#ifndef DISH_FAULT_H
#define DISH_FAULT_H

#include "error.h"

enum fault_sort {
    FAULT_NONE,        /* only count */
    FAULT_EIO,         /* the operation fails with E_IO */
    FAULT_ENOSPC,      /* writes, growth and publishing fail with E_HOSTFULL */
    FAULT_POWER_CUT,   /* it and everything after it fails; what was done stays */
    FAULT_POWER_LOSS,  /* and all that was not synced is lost */
    FAULT_POWER_MIXED, /* and some sectors, sizes and names that were not synced are lost */
};

struct fault_plan {
    enum fault_sort sort;
    uint64_t at;   /* which operation, from 1 on */
    bool sticky;   /* FAULT_EIO, FAULT_ENOSPC: all later ones fail, too */
    uint64_t seed; /* FAULT_POWER_MIXED: which */
};

/* Begin to count and to fail. */
void fault_start(const struct fault_plan *);

/* Whether the planned failure has happened. */
bool fault_happened(void);

/*
 * The end: operations pass again. After a power cut the files are first brought into the state that the disk
 * is left in; the program that suffered it must have closed (or lost) them. Returns the number of operations
 * seen. False results of the restoring itself are in err.
 */
bool fault_stop(uint64_t *operations, struct error *) DISH_CHECKED;

#endif
