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
    char text[240];    /* "block bitmap of group 0"; empty for contents */
    /* Contents: which bytes of which file, `len` of them; file 0: no contents. */
    uint64_t file, file_off;
    const char *path; /* NULL: not known */
    /*
     * More than 1: so many entries in a row, `stride` bytes each, whose field changed alike. The values above
     * are those of the first, these of the last; in between they grow by the steps (modulo the field's
     * width).
     */
    uint64_t count;
    uint32_t stride;
    uint64_t old_step, new_step;
    char last_old_value[200], last_new_value[200];
};

typedef bool change_fn(const struct change *, void *arg, struct error *);

/* Emit every change of an image since the last commit, or of the newest command alone. */
bool changes_each(struct session *, struct image *, bool last_command, change_fn *emit, void *arg,
                  struct error *) DISH_CHECKED;

#endif
