/* Which lines of two texts differ: the shortest edit script, or nearly so when that would take too long. */
#ifndef DISH_LINE_DIFF_H
#define DISH_LINE_DIFF_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text_lines {
    const char *bytes; /* borrowed */
    size_t len;
    uint32_t *starts; /* of each line, and the end of the last */
    uint32_t *ids;    /* equal lines have equal numbers, in both texts */
    bool *changed;    /* not in the other text: removed, or added */
    size_t count;
};

/* Fills both; texts have less than 4 GiB. Free them in any case. */
bool line_diff(struct text_lines texts[2], struct error *) DISH_CHECKED;
void text_lines_free(struct text_lines *);

#endif
