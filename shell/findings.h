/* What `check`, `fsck` and `partition verify` have in common: printing findings and judging the outcome. */
#ifndef DISH_FINDINGS_H
#define DISH_FINDINGS_H

#include "command.h"

struct findings {
    struct check check; /* hand this to the drivers */
    bool broken;        /* a repair failed half-way: nothing of it can be kept */
    const char *layer;  /* what is being checked now, as messages call it; borrowed */
    struct output *out;
    struct report *report;     /* JSON; NULL in text */
    struct kept_finding *kept; /* JSON: printed at the end, behind the totals that the drivers add */
    size_t kept_count, kept_capacity;
};

/* The value of --repair: leaks or all; all when the command's option takes none. */
bool findings_repair(const struct call *, enum repair *, struct error *) DISH_CHECKED;

void findings_begin(struct findings *, struct output *, enum repair);

/* After findings_end() failed: some of the damage is mended, and that stays (call.keep). */
bool findings_keep(const struct findings *, const struct error *);

/*
 * Prints the totals, in JSON the findings too. E_DAMAGED (exit status 4) when damage was found and not
 * repaired, E_FAILED when something could not be checked.
 */
bool findings_end(struct findings *, const char *what, struct error *) DISH_CHECKED;

#endif
