/* Room for checksums in directory blocks that were made without them. */
#ifndef EXT_DIR_TAIL_H
#define EXT_DIR_TAIL_H

#include "dir.h"

/* An entry that had to leave its block, to be entered again. */
struct ext_evicted {
    uint32_t dir; /* directory */
    uint32_t ino; /* 0: none had to leave */
    uint32_t name_len;
    char name[EXT_NAME_MAX];
};

/* Make room at the end of a block whose entries are sound, and a tail there; at most one entry must leave. */
void ext_dir_add_tail(const struct ext_fs *, uint8_t *block, struct ext_evicted *);

struct ext_evictions {
    struct ext_evicted *items;
    size_t count, capacity;
};
/*
 * Do so in every directory, and make room in indexes; metadata_csum is still off. What had to leave is
 * entered again with ext_dir_tails_return(), when it is on. E_UNSUPPORTED: an index is full.
 */
bool ext_dir_tails_add(struct ext_fs *, struct ext_evictions *, struct error *) DISH_CHECKED;
bool ext_dir_tails_return(struct ext_fs *, const struct ext_evictions *, struct error *) DISH_CHECKED;

#endif
