/* Memory that is given back all at once: the pieces of one command line. */
#ifndef DISH_ARENA_H
#define DISH_ARENA_H

#include "error.h"

#include <stddef.h>

struct arena_block;

/* Zero it to begin. */
struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used, capacity;      /* of the newest block */
};

/* n zeroed bytes, aligned for any object; NULL with E_NOMEM. */
void *arena_new(struct arena *, size_t n, struct error *) DISH_CHECKED;
/* A copy of n bytes with a NUL added. */
char *arena_copy(struct arena *, const void *bytes, size_t n, struct error *) DISH_CHECKED;
/* Grow an array inside the arena (the old one stays behind): *items of *capacity items can hold `need`. */
bool arena_grow(struct arena *, void *items, size_t *capacity, size_t need, size_t size,
                struct error *) DISH_CHECKED;
/* Forget everything; one block of ordinary size is kept for the next line. */
void arena_reset(struct arena *);
void arena_free(struct arena *);

#endif
