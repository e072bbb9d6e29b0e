/* The first path under which each file with several names was met, so that the others become links to it. */
#ifndef DISH_FIRST_NAMES_H
#define DISH_FIRST_NAMES_H

#include "error.h"

#include <stddef.h>

/* Zero it to begin. A file is an id in a space of ids (a volume, a device of the host). */
struct first_names {
    struct first_name *slots;
    size_t count, capacity;
};

/* The path it was given first, or NULL. */
const char *first_names_find(const struct first_names *, uint64_t space, uint64_t id);
/* Remember a file that has none so far; the path is copied. */
bool first_names_add(struct first_names *, uint64_t space, uint64_t id, const char *path,
                     struct error *) DISH_CHECKED;
void first_names_clear(struct first_names *);

#endif
