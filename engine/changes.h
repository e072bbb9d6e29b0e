/*
 * What changed on disk between two states, decoded: structure by structure, field by field, in every layer.
 * Used by `diff`, `trace` and dry runs.
 */
#ifndef DISH_CHANGES_H
#define DISH_CHANGES_H

#include "session.h"

struct change {
    const char *layer;         /* "qcow2", "gpt", "ext4" ... */
    struct volume *volume;     /* filesystems; else NULL */
    struct place place;        /* the structure; layout NULL: see text */
    const struct field *field; /* NULL: the whole thing, see text */
    char old_value[200], new_value[200], old_meaning[300], new_meaning[300];
    uint64_t off, len; /* bytes in place.device */
    char text[240];    /* "data of file #12, bytes 0-20", "block bitmap of group 0" */
};

typedef bool change_fn(const struct change *, void *arg, struct error *);

/* Emit every change of an image since the last commit, or of the newest command alone. */
bool changes_each(struct session *, struct image *, bool last_command, change_fn *emit, void *arg,
                  struct error *) DISH_CHECKED;

#endif
