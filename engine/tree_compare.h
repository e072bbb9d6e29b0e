/* Two trees side by side, on the host or in images: what only one has, and what is not the same. */
#ifndef DISH_TREE_COMPARE_H
#define DISH_TREE_COMPARE_H

#include "copy.h"

enum tree_difference {
    TREE_ONLY_FIRST,
    TREE_ONLY_SECOND,
    TREE_TYPE,
    TREE_CONTENTS, /* of files, links and devices */
    TREE_ATTRIBUTES,
};

struct tree_compare {
    bool attributes; /* also owner, mode, time and extended attributes */
    /* path is below both roots; detail says what differs, or is NULL. False: enough. */
    bool (*differ)(void *arg, enum tree_difference, const char *path, const char *detail);
    /* A file of one of the trees that cannot be read. */
    void (*complain)(void *arg, const char *object, const struct error *);
    void *arg;
    uint64_t files, differences; /* counted */
};

bool tree_compare(struct session *, const struct copy_end *, const struct copy_end *, struct tree_compare *,
                  struct error *) DISH_CHECKED;

#endif
