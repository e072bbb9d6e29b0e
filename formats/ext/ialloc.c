/*
 * Which inodes to take. Files go near their directory. Directories are spread (after Orlov): those at the top
 * over all groups, deeper ones stay near their parent as long as its groups have room.
 */
#include "bytes.h"
#include "ext.h"

#include <sys/stat.h>

enum { CANDIDATES = 4 };

/* Free inodes and blocks of a flex group (of one group without flex_bg). */
struct room {
    uint64_t inodes, blocks, directories;
};

static uint32_t flex_first(const struct ext_fs *ext, uint32_t group)
{
    return group - group % ext->flex_groups;
}

static bool measure(struct ext_fs *ext, uint32_t first, struct room *room, struct error *err)
{
    uint64_t end = MIN_OF((uint64_t)first + MIN_OF(ext->flex_groups, 16), ext->groups);
    *room = (struct room){0};
    for (uint32_t group = first; group < end; group++) {
        struct ext_group desc;
        if (!ext_group_get(ext, group, &desc, err))
            return false;
        room->inodes += ext_group_free_inodes_count(ext, desc.raw);
        room->blocks += ext_group_free_blocks_count(ext, desc.raw);
        room->directories += ext_group_used_dirs_count(ext, desc.raw);
        ext_group_put(ext, &desc);
    }
    return true;
}

/* The roomiest of the next few flex groups, each time beginning one further. */
static bool spread(struct ext_fs *ext, uint32_t *group, struct error *err)
{
    struct room best = {0}, room;
    uint32_t first = flex_first(ext, ext->dir_group);
    *group = first;
    for (int i = 0; i < CANDIDATES; i++) {
        if (!measure(ext, first, &room, err))
            return false;
        bool better =
            room.blocks > 0 && room.inodes > best.inodes && (i == 0 || room.directories < best.directories);
        if (i == 0 || better) {
            best = room;
            *group = first;
        }
        uint64_t next = (uint64_t)first + ext->flex_groups;
        first = next >= ext->groups ? 0 : (uint32_t)next;
    }
    uint64_t next = (uint64_t)*group + ext->flex_groups;
    ext->dir_group = next >= ext->groups ? 0 : (uint32_t)next;
    return true;
}

/* Where the search for a directory's inode begins. */
static bool directory_group(struct ext_fs *ext, uint32_t parent, bool top, uint32_t *group, struct error *err)
{
    struct room room;
    uint32_t first = flex_first(ext, ext_group_of_inode(ext, parent));
    if (!top) {
        if (!measure(ext, first, &room, err))
            return false;
        if (room.inodes > ext->inodes_per_group / 16 && room.blocks > ext->clusters_per_group / 16) {
            *group = first;
            return true;
        }
    }
    return spread(ext, group, err);
}

/* Zero what lies between the inodes in use and the new one, and lower the count of unused ones. */
static bool open_table(struct ext_fs *ext, struct ext_group *desc, uint32_t index, struct error *err)
{
    uint64_t unused = ext_group_itable_unused(ext, desc->raw);
    uint32_t used = ext->inodes_per_group - (uint32_t)MIN_OF(unused, ext->inodes_per_group);
    if (!ext->group_csum || index < used)
        return true;
    uint32_t base = desc->number * ext->inodes_per_group + 1, per_block = ext->inodes_per_block;
    uint64_t table = ext_group_inode_table(ext, desc->raw);
    for (uint32_t i = used; i <= index;) {
        struct cache_block *block;
        uint32_t in_block = i % per_block, step = MIN_OF(per_block - in_block, ext->inodes_per_group - i);
        uint64_t owner = base + i - in_block;
        bool ok = in_block == 0
                      ? ext_block_new(ext, table + i / per_block, EXT_TAG_INODES, owner, &block, err)
                      : ext_block_get(ext, table + i / per_block, EXT_TAG_INODES, owner, &block, err);
        if (!ok)
            return false;
        memset(block->data + (size_t)in_block * ext->inode_size, 0, (size_t)step * ext->inode_size);
        ext_block_dirty(ext, block);
        ext_block_put(ext, block);
        i += step;
    }
    ext_group_set_itable_unused(ext, desc->raw, ext->inodes_per_group - index - 1);
    return true;
}

static bool change_inode(struct ext_fs *ext, struct ext_group *desc, uint32_t index, bool take,
                         bool directory, struct error *err)
{
    struct cache_block *block;
    uint64_t count = ext_group_free_inodes_count(ext, desc->raw),
             dirs = ext_group_used_dirs_count(ext, desc->raw);
    if (take ? count == 0 : directory && dirs == 0)
        return damaged(err, ext->dev, desc->block->off, "group %u: the counts of its descriptor are wrong",
                       desc->number);
    if (!ext_bitmap_edit(ext, EXT_INODE_BITMAP, desc->number, &block, err))
        return false;
    ext_bits_fill(block->data, index, index + 1, take);
    ext_block_put(ext, block);
    ext_group_set_free_inodes_count(ext, desc->raw, take ? count - 1 : count + 1);
    if (directory)
        ext_group_set_used_dirs_count(ext, desc->raw, take ? dirs + 1 : dirs - 1);
    ext_group_dirty(ext, desc);
    ext_add_free_inodes(ext, take ? -1 : 1);
    return true;
}

/* Lowest free index of a group; inodes_per_group: none. */
static bool find_index(struct ext_fs *ext, struct ext_group *desc, uint32_t *index, struct error *err)
{
    struct cache_block *block;
    const uint8_t *bits;
    uint32_t from = desc->number == 0 ? ext->first_ino - 1 : 0;
    *index = ext->inodes_per_group;
    if (ext_group_free_inodes_count(ext, desc->raw) == 0)
        return true;
    if (!ext_bitmap_peek(ext, EXT_INODE_BITMAP, desc->number, ext->scratch, &bits, &block, err))
        return false;
    *index = ext_bits_next_clear(bits, from, ext->inodes_per_group);
    ext_block_put(ext, block);
    return true;
}

static bool take_in_group(struct ext_fs *ext, uint32_t group, bool directory, uint32_t *ino,
                          struct error *err)
{
    struct ext_group desc;
    uint32_t index;
    *ino = 0;
    if (!ext_group_get(ext, group, &desc, err))
        return false;
    bool ok = find_index(ext, &desc, &index, err);
    if (ok && index < ext->inodes_per_group) {
        ok = open_table(ext, &desc, index, err) && change_inode(ext, &desc, index, true, directory, err);
        *ino = group * ext->inodes_per_group + index + 1;
    }
    ext_group_put(ext, &desc);
    return ok;
}

/* A new inode is zero but for its generation, which tells it from the one that was there before. */
static bool clear_inode(struct ext_fs *ext, uint32_t ino, struct error *err)
{
    struct ext_inode inode;
    if (!ext_inode_get_raw(ext, ino, &inode, err))
        return false;
    bool reused = ext_inode_i_mode(inode.raw) != 0;
    uint64_t generation = ext_inode_i_generation(inode.raw);
    memset(inode.raw, 0, ext->inode_size);
    ext_inode_set_i_generation(inode.raw, reused ? generation + 1 : 0);
    ext_inode_dirty(ext, &inode);
    ext_inode_put(ext, &inode);
    return true;
}

/* From `count` groups, beginning with one; 0: all full. */
static bool take_from(struct ext_fs *ext, uint32_t first, uint32_t count, bool directory, uint32_t *ino,
                      struct error *err)
{
    *ino = 0;
    for (uint32_t i = 0; i < count && *ino == 0; i++)
        if (!take_in_group(ext, (uint32_t)(((uint64_t)first + i) % ext->groups), directory, ino, err))
            return false;
    return true;
}

bool ext_inode_alloc(struct ext_fs *ext, uint32_t parent, uint32_t mode, uint32_t *ino, struct error *err)
{
    bool directory = S_ISDIR(mode), top = parent == EXT_ROOT_INO;
    struct ext_inode above;
    uint32_t start = ext_group_of_inode(ext, parent);
    if (directory && !top) {
        if (!ext_inode_get(ext, parent, &above, err))
            return false;
        top = ext_inode_flag(above.raw, EXT_FL_TOPDIR);
        ext_inode_put(ext, &above);
    }
    if (directory && !directory_group(ext, parent, top, &start, err))
        return false;
    if (!take_from(ext, start, MIN_OF(ext->flex_groups, ext->groups), directory, ino, err))
        return false;
    if (*ino == 0) { /* the near groups are full: go on where the last search ended */
        if (!take_from(ext, ext->inode_group, ext->groups, directory, ino, err))
            return false;
        if (*ino == 0)
            return fail(err, E_NOSPACE, "no free inode is left: all %u are in use", ext->inodes);
        ext->inode_group = ext_group_of_inode(ext, *ino);
    }
    return clear_inode(ext, *ino, err);
}

bool ext_inode_take(struct ext_fs *ext, uint32_t ino, bool directory, struct error *err)
{
    struct ext_group desc;
    const uint8_t *bits;
    struct cache_block *block;
    uint32_t index = (ino - 1) % ext->inodes_per_group;
    if (!ext_group_get(ext, ext_group_of_inode(ext, ino), &desc, err))
        return false;
    bool ok = ext_bitmap_peek(ext, EXT_INODE_BITMAP, desc.number, ext->scratch, &bits, &block, err);
    if (ok) {
        bool used = ext_bit(bits, index);
        ext_block_put(ext, block);
        ok = !used || fail(err, E_NOSPACE, "inode %u is in use", ino);
    }
    ok = ok && open_table(ext, &desc, index, err) && change_inode(ext, &desc, index, true, directory, err);
    ext_group_put(ext, &desc);
    return ok;
}

bool ext_inode_free(struct ext_fs *ext, uint32_t ino, bool directory, struct error *err)
{
    struct ext_group desc;
    const uint8_t *bits;
    struct cache_block *block;
    uint32_t index = (ino - 1) % ext->inodes_per_group;
    if (ino < ext->first_ino)
        return fail(err, E_DAMAGED, "inode %u is reserved and not to be freed", ino);
    if (!ext_group_get(ext, ext_group_of_inode(ext, ino), &desc, err))
        return false;
    bool ok = ext_bitmap_peek(ext, EXT_INODE_BITMAP, desc.number, ext->scratch, &bits, &block, err);
    if (ok) {
        bool used = ext_bit(bits, index);
        ext_block_put(ext, block);
        ok = used || fail(err, E_DAMAGED, "inode %u is to be freed, but is free already", ino);
    }
    ok = ok && change_inode(ext, &desc, index, false, directory, err);
    ext_group_put(ext, &desc);
    return ok;
}
