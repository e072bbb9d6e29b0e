/* diff of two files: a unified diff of texts, the ranges of bytes that differ of everything else. */
#ifndef DISH_FILE_DIFF_H
#define DISH_FILE_DIFF_H

#include "reader.h"

struct file_diff {
    struct session *session;
    struct output *out;
    struct reader readers[2]; /* of known size */
    size_t context;           /* equal lines shown around a change */
    bool brief;               /* only whether they differ */
};

bool file_diff(struct file_diff *, bool *differ, struct error *) DISH_CHECKED;

#endif
