/* A check that is going on: what it found, whether it goes on, and a bit for each unit that was reached. */
#ifndef DISH_CHECK_RUN_H
#define DISH_CHECK_RUN_H

#include "driver.h"

struct check_run {
    struct check *check;
    struct error *err;
    const struct device *device;
    bool stop;      /* the caller has had enough */
    bool failed;    /* err says why */
    bool changed;   /* something was repaired */
    uint64_t *seen; /* bit: the unit belongs to something that was reached */
};

/* Room for units below `end`. Release with check_run_end(). */
bool check_run_begin(struct check_run *, struct check *, const struct device *, uint32_t end,
                     struct error *) DISH_CHECKED;
void check_run_end(struct check_run *);

static inline bool check_run_repairs(const struct check_run *run, enum finding_kind kind)
{
    return run->check->repair == REPAIR_ALL || (run->check->repair == REPAIR_LEAKS && kind == FINDING_LEAK);
}

static inline bool check_run_goes_on(const struct check_run *run)
{
    return !run->stop && !run->failed;
}

/* Report one thing at byte off of the device; `fixed` when it was, or will now be, repaired. */
void check_run_found(struct check_run *, enum finding_kind, const char *code, uint64_t off, bool fixed,
                     const char *fmt, ...) DISH_PRINTF(6, 7);
/* Record the outcome of something that can fail; returns it. */
bool check_run_did(struct check_run *, bool ok);

static inline bool check_run_is_seen(const struct check_run *run, uint32_t unit)
{
    return run->seen[unit / 64] >> (unit % 64) & 1;
}
void check_run_mark(struct check_run *, uint32_t unit, bool seen);

#endif
