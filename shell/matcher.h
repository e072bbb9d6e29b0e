/* Lines against patterns, as grep has them. */
#ifndef DISH_MATCHER_H
#define DISH_MATCHER_H

#include "error.h"

#include <stddef.h>

enum matcher_flags {
    MATCH_FIXED = 1,    /* -F */
    MATCH_EXTENDED = 2, /* -E */
    MATCH_ICASE = 4,
    MATCH_WORD = 8,  /* -w */
    MATCH_LINE = 16, /* -x */
};

struct matcher;

bool matcher_new(struct matcher **, unsigned flags, struct error *) DISH_CHECKED;
/* One pattern a line. */
bool matcher_add(struct matcher *, const char *patterns, struct error *) DISH_CHECKED;
/* The leftmost match that begins at `from` or later, the longest of those. */
bool matcher_find(const struct matcher *, const char *line, size_t len, size_t from, size_t *start,
                  size_t *end);
void matcher_free(struct matcher *); /* NULL is fine */

#endif
