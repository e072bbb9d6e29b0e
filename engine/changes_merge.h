/*
 * What changed in the same way many times in a row (entries of a table, the contents of a file) is told once.
 * Private to changes.c, which feeds it one change after the other by rising offset.
 */
#ifndef DISH_CHANGES_MERGE_H
#define DISH_CHANGES_MERGE_H

#include "changes.h"

/* Structures up to this size are entries of tables; of larger ones each is told by itself. */
enum { ENTRY_MAX = 32, ENTRY_FIELDS = 8 };

struct pending {
    bool any, structure;
    struct change change; /* the first, or the whole run of bytes */
    struct file_range {
        uint64_t id, off; /* whose contents: the byte behind the run; id 0: not contents */
        char *path;       /* NULL: not known */
    } file;
    struct place last;
    uint64_t count;
    uint8_t old_raw[ENTRY_MAX], new_raw[ENTRY_MAX]; /* of the first */
    uint8_t last_old[ENTRY_MAX], last_new[ENTRY_MAX];
    uint64_t old_step[ENTRY_FIELDS], new_step[ENTRY_FIELDS];
};

struct merge {
    change_fn *emit;
    void *arg;
    struct pending pending;
};

/* A structure in its two states; base has layer, volume and place. */
bool merge_structure(struct merge *, const struct change *base, const uint8_t *old_raw,
                     const uint8_t *new_raw, struct error *) DISH_CHECKED;
/* A run of bytes without a layout, whose text may be the same as that of the run before. */
bool merge_bytes(struct merge *, const struct change *, struct error *) DISH_CHECKED;
/* Contents of a file: place, off and len of the change, and which bytes of which file they are. */
bool merge_contents(struct merge *, const struct change *, uint64_t id, const char *path, uint64_t file_off,
                    struct error *) DISH_CHECKED;
/* Tell what is still held back. */
bool merge_end(struct merge *, struct error *) DISH_CHECKED;
void merge_free(struct merge *);

#endif
