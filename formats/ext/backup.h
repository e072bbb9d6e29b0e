/* The volume's own blocks, and copies of the superblock and the descriptors in other groups. */
#ifndef EXT_BACKUP_H
#define EXT_BACKUP_H

#include "ext.h"
#include "ranges.h"

/*
 * Where descriptor block `index` has copies: calls fn with the group and the block of each but the primary
 * one.
 */
bool ext_backup_each_desc(const struct ext_fs *, uint32_t index,
                          bool (*fn)(uint32_t group, uint64_t block, void *arg, struct error *), void *arg,
                          struct error *) DISH_CHECKED;
/* Write the superblock as it is in memory into all its copies. The primary one is ext_super_store()'s. */
bool ext_backup_supers(struct ext_fs *, struct error *) DISH_CHECKED;
/* Write the descriptors, which must be flushed, into all their copies. */
bool ext_backup_descs(struct ext_fs *, struct error *) DISH_CHECKED;

/* Blocks at a group's start that hold copies of superblock and descriptors, with those reserved for more. */
uint64_t ext_group_copies(const struct ext_fs *, uint32_t group);
/* resize_inode.c: the `i`th block reserved for descriptors, in group 0. */
uint64_t ext_reserve_block(const struct ext_fs *, uint32_t i);
/* What that block holds, being an indirect block of inode 7: where its copies are. Returns their number. */
uint32_t ext_reserve_copies(const struct ext_fs *, uint32_t i, uint8_t *block);
/* What the double indirect block of inode 7 holds: the reserved blocks of group 0. */
void ext_reserve_list(const struct ext_fs *, uint8_t *block);

/* All blocks that the volume needs for itself: superblocks,
 * descriptors with those reserved, bitmaps, tables. */
bool ext_own_blocks(struct ext_fs *, struct ranges *, struct error *) DISH_CHECKED;
/* Free blocks that nothing in `own` needs; with bigalloc only clusters that it does not share. */
bool ext_free_unshared(struct ext_fs *, const struct ranges *own, uint64_t start, uint64_t len,
                       struct error *) DISH_CHECKED;

#endif
