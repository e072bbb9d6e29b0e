/* What a verification finds, kept until it is known whether the repair that follows puts it right. */
#ifndef DISH_PROBLEMS_H
#define DISH_PROBLEMS_H

#include "table.h"

struct problem {
    enum finding_kind kind;
    const char *code;
    uint64_t off; /* on the disk */
    bool fixable; /* by storing the table anew */
    char text[320];
};

/* Zero it to begin. Lack of memory is kept and comes out of problems_finish(). */
struct problems {
    struct problem *list;
    size_t count, capacity;
    struct error err;
};

void problems_add(struct problems *, enum finding_kind, const char *code, uint64_t off, bool fixable,
                  const char *fmt, ...) DISH_PRINTF(6, 7);
/* Overlaps, partitions outside the usable space, empty ones, partitions that are badly aligned. */
void problems_of_parts(struct problems *, const struct table *);
bool problems_fixable(const struct problems *);
/* Hand all findings to the check and free the list. */
bool problems_finish(struct problems *, const struct table *, struct check *, bool fixed, struct error *);

#endif
