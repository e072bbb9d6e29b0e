/* A set of file ids: which directories were entered, which hard-linked files were counted. */
#ifndef DISH_ID_SET_H
#define DISH_ID_SET_H

#include "driver.h"

/* Zero it to begin. */
struct id_set {
    fs_id *slots; /* 0: empty; ids are never 0 */
    size_t count, capacity;
};

/* *fresh: it was not in the set before. */
bool id_set_add(struct id_set *, fs_id, bool *fresh, struct error *) DISH_CHECKED;
bool id_set_has(const struct id_set *, fs_id);
void id_set_free(struct id_set *);

#endif
