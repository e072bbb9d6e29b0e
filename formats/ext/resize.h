/*
 * Changing the size of a volume:
 *
 *   resize.c          the driver's operations; the new geometry; growing
 *   resize_shrink.c   shrinking: what is in the way is moved, then groups are cut off
 *   resize_blocks.c   moving the blocks of inodes out of the way
 *   resize_inodes.c   moving inodes out of groups that go: they get other numbers
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
    struct ranges doomed; /* shrinking: blocks that must be free at the end */
};

/* Blocks that group `number` of a volume of `groups` groups needs for itself before it is of any use. */
uint64_t ext_resize_overhead(const struct ext_fs *, uint32_t number, uint32_t desc_blocks);
/* Superblock fields that follow from the new size; decodes them. Caches are dropped, what is dirty is
 * flushed. */
bool ext_resize_geometry(struct ext_resize *, struct error *) DISH_CHECKED;
/* Free counts of all groups and the superblock, from the bitmaps. */
bool ext_resize_counts(struct ext_fs *, struct error *) DISH_CHECKED;

/*
 * Descriptor blocks that are no longer needed are reserved for growing again, as far as the resize inode can
 * list them; *spare: how many are to be freed in every group with a superblock, once the geometry has
 * changed.
 */
bool ext_resize_give_descs(struct ext_resize *, uint32_t *spare, struct error *) DISH_CHECKED;
bool ext_resize_free_descs(struct ext_resize *, uint32_t spare, struct error *) DISH_CHECKED;
/* The resize inode lists other blocks after the number of descriptor blocks has changed. */
bool ext_resize_inode_renew(struct ext_fs *, struct error *) DISH_CHECKED;

bool ext_resize_shrink(struct ext_resize *, struct error *) DISH_CHECKED;
/* Bad blocks that are doomed leave the list. */
bool ext_resize_bad_blocks(struct ext_resize *, struct error *) DISH_CHECKED;
/* Move every block of an inode that is doomed; new ones are taken outside. */
bool ext_resize_move_blocks(struct ext_resize *, struct error *) DISH_CHECKED;
/* Move every inode of groups that go. */
bool ext_resize_move_inodes(struct ext_resize *, struct error *) DISH_CHECKED;

#endif
