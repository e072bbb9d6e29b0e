/* A map from numbers to pointers, in order: a tree of 64-way nodes, as high as the largest key needs. */
#ifndef DISH_RADIX_H
#define DISH_RADIX_H

#include "error.h"

#include <stddef.h>

struct radix_node;

/* Zero it to begin. */
struct radix {
    struct radix_node *root;
    unsigned height;
    size_t count;
};

void *radix_get(const struct radix *, uint64_t key); /* NULL: nothing there */
/* A value for a key that has none; the value is not NULL. */
bool radix_put(struct radix *, uint64_t key, void *value, struct error *) DISH_CHECKED;
void radix_remove(struct radix *, uint64_t key);
/* The value of the smallest key at or after `from`; NULL: there is none. */
void *radix_next(const struct radix *, uint64_t from, uint64_t *key);
/* Frees the tree, not the values. */
void radix_clear(struct radix *);

#endif
