/*
 * Changing the size of a volume:
 *
 *   resize.c          the driver's operations; the new geometry; growing
 *   resize_shrink.c   shrinking: what is in the way is moved, then groups are cut off
 *   resize_blocks.c   moving the blocks of inodes out of the way (relocate.c: those of groups)
 *   resize_inodes.c   moving inodes out of groups that go: they get other numbers
 *   resize_bad.c      the list of bad blocks
 */
#ifndef EXT_RESIZE_H
#define EXT_RESIZE_H

#include "backup.h"
#include "ranges.h"

/* Geometry that a size asks for. */
struct ext_resize {
    struct ext_fs *ext;
    uint64_t blocks; /* of the volume, with a last group that is worth having */
    uint32_t groups;
    uint32_t desc_blocks;
};

/* Blocks that group `number` of a volume of `groups` groups needs for itself before it is of any use. */
uint64_t ext_resize_overhead(const struct ext_fs *, uint32_t number, uint32_t desc_blocks);
/* Superblock fields that follow from the new size; decodes them.
 * Caches are dropped, what is dirty is flushed. */
bool ext_resize_geometry(struct ext_resize *, struct error *) DISH_CHECKED;
/* Free counts of all groups and the superblock, from the bitmaps. */
bool ext_resize_counts(struct ext_fs *, struct error *) DISH_CHECKED;

/* The resize inode lists other blocks after the number of descriptor blocks has changed. */
bool ext_resize_inode_renew(struct ext_fs *, struct error *) DISH_CHECKED;

bool ext_resize_shrink(struct ext_resize *, struct error *) DISH_CHECKED;
/* Bad blocks that are doomed leave the list, and so do the blocks of its map. */
bool ext_resize_bad_blocks(struct ext_fs *, const struct ranges *doomed, struct error *) DISH_CHECKED;
/* Every run of bad blocks, and the blocks of their list. */
bool ext_bad_blocks_walk(struct ext_fs *, ext_map_fn *, void *arg, struct error *) DISH_CHECKED;
/*
 * Move every block of inodes of the first `groups` groups that is doomed; the new ones must be kept outside
 * by `fenced`. The bits of the old places stay set.
 */
bool ext_resize_move_files(struct ext_fs *, uint32_t groups, const struct ranges *doomed,
                           struct error *) DISH_CHECKED;
/* Copy blocks past the cache, which forgets the target; `buffer` has EXT_COPY_BYTES. */
enum { EXT_COPY_BYTES = 1 << 20 };
bool ext_copy_blocks(struct ext_fs *, uint64_t from, uint64_t to, uint64_t len, uint8_t *buffer,
                     struct error *) DISH_CHECKED;
/* Move every inode of groups that go. */
bool ext_resize_move_inodes(struct ext_resize *, struct error *) DISH_CHECKED;

#endif
