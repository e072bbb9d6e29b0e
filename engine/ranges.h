/* A set of disjoint half-open ranges of numbers (blocks, clusters, bytes); neighbours are merged. */
#ifndef DISH_RANGES_H
#define DISH_RANGES_H

#include "error.h"

struct range_node;

/* Zero it to begin. */
struct ranges {
    struct range_node *root;
    uint64_t total; /* sum of all lengths */
    uint32_t seed;  /* for the tree's shape */
};

struct range {
    uint64_t start, len;
};

bool ranges_add(struct ranges *, uint64_t start, uint64_t len, struct error *) DISH_CHECKED;
bool ranges_remove(struct ranges *, uint64_t start, uint64_t len, struct error *) DISH_CHECKED;
bool ranges_contains(const struct ranges *, uint64_t start, uint64_t len); /* all of it */
bool ranges_overlaps(const struct ranges *, uint64_t start, uint64_t len); /* any of it */
/* The first range that ends after `at`, clipped to begin at `at` or later. False: there is none. */
bool ranges_next(const struct ranges *, uint64_t at, struct range *out);
void ranges_clear(struct ranges *);
/* All ranges of another set. After a failure a part of them has been added or removed. */
bool ranges_add_all(struct ranges *, const struct ranges *others, struct error *) DISH_CHECKED;
bool ranges_remove_all(struct ranges *, const struct ranges *others, struct error *) DISH_CHECKED;
/* *copy is empty before, and after a failure. */
bool ranges_copy(const struct ranges *, struct ranges *copy, struct error *) DISH_CHECKED;

#endif
