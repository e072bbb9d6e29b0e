/* Between map.c and the two forms of mapping: what both must offer. */
#ifndef EXT_EXTENT_H
#define EXT_EXTENT_H

#include "ext.h"

/* ext_map() for a file with extents; `before` is the mapping that ends last before a hole (len 0: none). */
bool ext_extent_lookup(struct ext_fs *, const struct ext_inode *, uint64_t block, struct ext_mapping *,
                       struct ext_mapping *before, struct error *) DISH_CHECKED;
/* Enter a run into a hole, merging with its neighbours. */
bool ext_extent_insert(struct ext_fs *, struct ext_inode *, const struct ext_mapping *,
                       struct error *) DISH_CHECKED;
/*
 * Take the last run, or the end of it, that lies in first..end out of the tree and return it; len 0: there is
 * none. Its blocks stay allocated.
 */
bool ext_extent_cut(struct ext_fs *, struct ext_inode *, uint64_t first, uint64_t end, struct ext_mapping *,
                    struct error *) DISH_CHECKED;
/* After cuts around `block`: merge nodes and lower the tree where that is possible. */
bool ext_extent_shrink(struct ext_fs *, struct ext_inode *, uint64_t block, struct error *) DISH_CHECKED;
bool ext_extent_walk(struct ext_fs *, const struct ext_inode *, ext_map_fn *, void *arg,
                     struct error *) DISH_CHECKED;
void ext_extent_init(uint8_t *inode);

bool ext_indirect_lookup(struct ext_fs *, const struct ext_inode *, uint64_t block, struct ext_mapping *,
                         struct error *) DISH_CHECKED;
bool ext_indirect_insert(struct ext_fs *, struct ext_inode *, const struct ext_mapping *,
                         struct error *) DISH_CHECKED;
bool ext_indirect_cut(struct ext_fs *, struct ext_inode *, uint64_t first, uint64_t end,
                      struct error *) DISH_CHECKED;
bool ext_indirect_walk(struct ext_fs *, const struct ext_inode *, ext_map_fn *, void *arg,
                       struct error *) DISH_CHECKED;
uint64_t ext_indirect_max(const struct ext_fs *);

/* Allocate one block for an index near `goal` and charge it to the inode. */
bool ext_index_block_new(struct ext_fs *, struct ext_inode *, uint64_t goal, uint64_t *block,
                         struct error *) DISH_CHECKED;
bool ext_index_block_free(struct ext_fs *, struct ext_inode *, uint64_t block, struct error *) DISH_CHECKED;
/* Give the blocks of a run that was cut back, but for clusters that the file still uses. */
bool ext_map_release(struct ext_fs *, struct ext_inode *, const struct ext_mapping *,
                     struct error *) DISH_CHECKED;

#endif
