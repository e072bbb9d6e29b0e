/*
 * What a driver knows of a directory that is an array of slots (FAT, exFAT): which slots are taken, where
 * free runs may begin, and an index from hashes of names to the slots that hold them. An entry is found by
 * hash; the driver compares the names themselves.
 */
#ifndef DISH_SLOTS_H
#define DISH_SLOTS_H

#include "error.h"

#include <stddef.h>

enum { SLOTS_MAX_RUN = 24 };

struct slot_ref {
    uint32_t hash;
    uint32_t first, last; /* the slots of the entry */
    uint32_t next;        /* private */
};

/* Zero it to begin. */
struct slots {
    struct slot_ref *refs;
    size_t count, capacity;
    uint32_t unused;                 /* private: chain of given-up refs */
    uint32_t *buckets, bucket_count; /* private */
    uint64_t *taken;
    size_t taken_words;
    uint32_t hint[SLOTS_MAX_RUN + 1]; /* no run of n free slots begins before hint[n] */
};

void slots_clear(struct slots *);
bool slots_mark(struct slots *, uint32_t first, uint32_t count, bool taken, struct error *) DISH_CHECKED;
bool slots_is_taken(const struct slots *, uint32_t slot);
/* Where the first run of `count` (at most SLOTS_MAX_RUN) free slots begins; it may reach past the end. */
uint32_t slots_find_free(struct slots *, uint32_t count);

bool slots_add(struct slots *, uint32_t hash, uint32_t first, uint32_t last, struct error *) DISH_CHECKED;
void slots_remove(struct slots *, uint32_t hash, uint32_t last);
/* The entries with a hash one after the other: start with *cursor = 0; NULL: no more. */
const struct slot_ref *slots_find(const struct slots *, uint32_t hash, uint32_t *cursor);

#endif
