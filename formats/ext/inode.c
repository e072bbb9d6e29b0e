/* Raw inodes: where they lie, and the fields that are split, optional or shared ("Index Nodes"). */
#include "alloc.h"
#include "bytes.h"
#include "ext.h"

#include <stdlib.h>
#include <sys/stat.h>

/* ---- access ---- */

static uint64_t part_of(const struct ext_fs *ext, uint32_t index)
{
    return (uint64_t)1 << (ext->inodes_per_block > 64 ? index / (ext->inodes_per_block / 64) : index);
}

/* Block and index in it of an inode. */
static bool locate(struct ext_fs *ext, uint32_t ino, uint64_t *block, uint32_t *index, struct error *err)
{
    struct ext_group group;
    if (ino == 0 || ino > ext->inodes)
        return fail(err, E_DAMAGED, "inode %u does not exist: the volume has %u", ino, ext->inodes);
    if (!ext_group_get(ext, ext_group_of_inode(ext, ino), &group, err))
        return because(err, "inode %u", ino);
    uint32_t number = (ino - 1) % ext->inodes_per_group;
    uint64_t table = ext_group_inode_table(ext, group.raw);
    ext_group_put(ext, &group);
    if (!ext_blocks_valid(ext, table, ext->table_blocks))
        return fail(err, E_DAMAGED,
                    "inode %u: the inode table of group %u begins at block %llu, outside the volume", ino,
                    ext_group_of_inode(ext, ino), (unsigned long long)table);
    *block = table + number / ext->inodes_per_block;
    *index = number % ext->inodes_per_block;
    return true;
}

bool ext_inode_place(struct ext_fs *ext, uint32_t ino, uint64_t *off, struct error *err)
{
    uint64_t block;
    uint32_t index;
    if (!locate(ext, ino, &block, &index, err))
        return false;
    *off = ext_offset(ext, block) + (uint64_t)index * ext->inode_size;
    return true;
}

bool ext_inode_get_raw(struct ext_fs *ext, uint32_t ino, struct ext_inode *out, struct error *err)
{
    uint64_t block;
    uint32_t index;
    if (!locate(ext, ino, &block, &index, err) ||
        !ext_block_get(ext, block, EXT_TAG_INODES, ino - index, &out->block, err))
        return false;
    out->ino = ino;
    out->raw = out->block->data + (size_t)index * ext->inode_size;
    return true;
}

/* Marks the block when all its inodes are sound, so that this is asked once. */
static void check_block(const struct ext_fs *ext, struct cache_block *block)
{
    for (uint32_t i = 0; i < ext->inodes_per_block; i++)
        if (!ext_inode_csum_ok(ext, (uint32_t)block->owner + i, block->data + (size_t)i * ext->inode_size))
            return;
    block->checked = true;
}

bool ext_inode_get(struct ext_fs *ext, uint32_t ino, struct ext_inode *out, struct error *err)
{
    if (!ext_inode_get_raw(ext, ino, out, err))
        return false;
    struct cache_block *block = out->block;
    if (block->checked)
        return true;
    if (!block->parts)
        check_block(ext, block);
    if (block->checked || block->parts & part_of(ext, ino - (uint32_t)block->owner) ||
        ext_inode_csum_ok(ext, ino, out->raw))
        return true;
    uint64_t off = block->off + (uint64_t)(out->raw - block->data);
    ext_inode_put(ext, out);
    return damaged(err, ext->dev, off, "inode %u does not match its checksum", ino);
}

bool ext_inode_live(struct ext_fs *ext, uint32_t ino, struct ext_inode *out, struct error *err)
{
    if (!ext_inode_get(ext, ino, out, err))
        return false;
    if (ext_inode_i_links_count(out->raw) != 0 && ext_inode_i_mode(out->raw) != 0)
        return true;
    uint64_t off = out->block->off + (uint64_t)(out->raw - out->block->data);
    ext_inode_put(ext, out);
    return damaged(err, ext->dev, off, "inode %u is not in use", ino);
}

void ext_inode_put(struct ext_fs *ext, struct ext_inode *inode)
{
    ext_block_put(ext, inode->block);
    inode->block = NULL;
}

void ext_inode_dirty(struct ext_fs *ext, struct ext_inode *inode)
{
    inode->block->parts |= part_of(ext, inode->ino - (uint32_t)inode->block->owner);
    ext_block_dirty(ext, inode->block);
}

bool ext_inode_reaches(const struct ext_fs *ext, const uint8_t *inode, unsigned end)
{
    if (end <= EXT_GOOD_OLD_INODE_SIZE)
        return true;
    if (ext->inode_size < EXT_INODE_FIELDS)
        return false;
    return EXT_GOOD_OLD_INODE_SIZE + ext_inode_i_extra_isize(inode) >= end;
}

/* ---- sizes and owners ---- */

static bool is_hurd(const struct ext_fs *ext)
{
    return ext_super_s_creator_os(ext->super) == EXT_OS_HURD;
}

uint64_t ext_inode_size(const struct ext_fs *ext, const uint8_t *inode)
{
    uint64_t low = ext_inode_i_size_lo(inode);
    bool wide = ext_inode_is(inode, S_IFREG) || (ext_inode_is(inode, S_IFDIR) && ext_has(ext, EXT_LARGE_DIR));
    return wide ? low | ext_inode_i_size_high(inode) << 32 : low;
}

void ext_inode_set_size(struct ext_fs *ext, uint8_t *inode, uint64_t size)
{
    ext_inode_set_i_size_lo(inode, size & UINT32_MAX);
    if (ext_inode_is(inode, S_IFREG) || ext_inode_is(inode, S_IFDIR))
        ext_inode_set_i_size_high(inode, size >> 32);
    if (ext_inode_is(inode, S_IFREG) && size > INT32_MAX && !ext_has(ext, EXT_LARGE_FILE))
        ext_set_feature(ext, EXT_LARGE_FILE, true);
}

uint64_t ext_inode_units(const struct ext_fs *ext, const uint8_t *inode)
{
    uint64_t units = ext_inode_i_blocks_lo(inode);
    if (!ext_has(ext, EXT_HUGE_FILE) || is_hurd(ext))
        return units;
    units |= ext_inode_i_blocks_high(inode) << 32;
    return ext_inode_flag(inode, EXT_FL_HUGE_FILE) ? units << (ext->block_bits - 9) : units;
}

static bool set_units(const struct ext_fs *ext, uint8_t *inode, uint64_t units, struct error *err)
{
    bool huge = ext_has(ext, EXT_HUGE_FILE) && !is_hurd(ext);
    uint64_t stored = units, flags = ext_inode_i_flags(inode) & ~(uint64_t)EXT_FL_HUGE_FILE;
    if (units > UINT32_MAX && !huge)
        return fail(err, E_TOOBIG, "the file needs more than 2 TiB of blocks, and huge_file is off");
    if (units >> 48) {
        stored = units >> (ext->block_bits - 9);
        flags |= EXT_FL_HUGE_FILE;
    }
    ext_inode_set_i_blocks_lo(inode, stored & UINT32_MAX);
    if (huge) {
        ext_inode_set_i_blocks_high(inode, stored >> 32);
        ext_inode_set_i_flags(inode, flags);
    }
    return true;
}

bool ext_inode_charge(struct ext_fs *ext, struct ext_inode *inode, int64_t blocks, struct error *err)
{
    int64_t units = blocks * (int64_t)(ext->block_size / 512);
    uint64_t before = ext_inode_units(ext, inode->raw);
    if (units < 0 && before < (uint64_t)-units)
        return fail(err, E_DAMAGED, "inode %u: i_blocks is %llu, less than what its blocks take", inode->ino,
                    (unsigned long long)before);
    if (!set_units(ext, inode->raw, before + (uint64_t)units, err))
        return false;
    ext_inode_dirty(ext, inode);
    if (ext_inode_flag(inode->raw, EXT_FL_EA_INODE)) /* charged to the inodes that refer to it */
        return true;
    return ext_quota_charge(ext, inode->ino, inode->raw, blocks * (int64_t)ext->block_size, 0, err);
}

uint32_t ext_inode_uid(const uint8_t *inode)
{
    return (uint32_t)(ext_inode_i_uid(inode) | ext_inode_i_uid_high(inode) << 16);
}

uint32_t ext_inode_gid(const uint8_t *inode)
{
    return (uint32_t)(ext_inode_i_gid(inode) | ext_inode_i_gid_high(inode) << 16);
}

uint32_t ext_inode_project(const struct ext_fs *ext, const uint8_t *inode)
{
    return ext_has(ext, EXT_PROJECT) && EXT_INODE_HAS(ext, inode, i_projid)
               ? (uint32_t)ext_inode_i_projid(inode)
               : 0;
}

uint64_t ext_inode_acl_block(const struct ext_fs *ext, const uint8_t *inode)
{
    uint64_t high = ext_has(ext, EXT_64BIT) && !is_hurd(ext) ? ext_inode_i_file_acl_high(inode) : 0;
    return ext_inode_i_file_acl_lo(inode) | high << 32;
}

void ext_inode_set_acl_block(const struct ext_fs *ext, uint8_t *inode, uint64_t block)
{
    ext_inode_set_i_file_acl_lo(inode, block & UINT32_MAX);
    if (!is_hurd(ext))
        ext_inode_set_i_file_acl_high(inode, block >> 32);
}

/* ---- times: 32 bits signed, and where there is room 2 more bits and nanoseconds ("Inode Timestamps") --- */

static const struct {
    unsigned low, extra;
} stamps[] = {
    [EXT_ATIME] = {ext_inode_off_i_atime, ext_inode_off_i_atime_extra},
    [EXT_MTIME] = {ext_inode_off_i_mtime, ext_inode_off_i_mtime_extra},
    [EXT_CTIME] = {ext_inode_off_i_ctime, ext_inode_off_i_ctime_extra},
    [EXT_CRTIME] = {ext_inode_off_i_crtime, ext_inode_off_i_crtime_extra},
};

struct fs_time ext_inode_time(const struct ext_fs *ext, const uint8_t *inode, enum ext_stamp which)
{
    struct fs_time time = {0};
    if (!ext_inode_reaches(ext, inode, stamps[which].low + 4))
        return time;
    time.sec = (int32_t)load_le32(inode + stamps[which].low);
    if (ext_inode_reaches(ext, inode, stamps[which].extra + 4)) {
        uint32_t extra = load_le32(inode + stamps[which].extra);
        time.sec += (int64_t)(extra & 3) << 32;
        time.nsec = MIN_OF(extra >> 2, 999999999u);
    }
    return time;
}

void ext_inode_set_time(const struct ext_fs *ext, uint8_t *inode, enum ext_stamp which, struct fs_time time)
{
    if (!ext_inode_reaches(ext, inode, stamps[which].low + 4))
        return;
    bool wide = ext_inode_reaches(ext, inode, stamps[which].extra + 4);
    int64_t max = wide ? ((int64_t)3 << 32) + INT32_MAX : INT32_MAX;
    int64_t sec = MIN_OF(MAX_OF(time.sec, (int64_t)INT32_MIN), max);
    store_le32(inode + stamps[which].low, (uint32_t)sec);
    if (wide) {
        uint32_t epoch = (uint32_t)((sec - (int32_t)sec) >> 32) & 3;
        store_le32(inode + stamps[which].extra, time.nsec << 2 | epoch);
    }
}

/* ---- what i_block holds ---- */

bool ext_inode_fast_symlink(const struct ext_fs *ext, const uint8_t *inode)
{
    if (!ext_inode_is(inode, S_IFLNK) || ext_inode_flag(inode, EXT_FL_EA_INODE | EXT_FL_INLINE_DATA))
        return false;
    uint64_t acl = ext_inode_acl_block(ext, inode) ? (uint64_t)ext->cluster_size / 512 : 0;
    return ext_inode_units(ext, inode) <= acl && ext_inode_i_size_lo(inode) < EXT_I_BLOCK_SIZE &&
           !ext_inode_flag(inode, EXT_FL_EXTENTS);
}

bool ext_inode_has_blocks(const struct ext_fs *ext, const uint8_t *inode)
{
    if (ext_inode_flag(inode, EXT_FL_INLINE_DATA))
        return false;
    if (ext_inode_is(inode, S_IFLNK))
        return !ext_inode_fast_symlink(ext, inode);
    return ext_inode_is(inode, S_IFREG) || ext_inode_is(inode, S_IFDIR);
}

/* ---- all of them ---- */

static bool each_in_group(struct ext_fs *ext, uint32_t group, const uint8_t *bits, ext_inode_fn *fn,
                          void *arg, struct error *err)
{
    uint32_t first = group * ext->inodes_per_group + 1, at = 0;
    for (; (at = ext_bits_next_set(bits, at, ext->inodes_per_group)) < ext->inodes_per_group; at++) {
        struct ext_inode inode;
        if (!interrupt_check(err) || !ext_inode_get(ext, first + at, &inode, err))
            return false;
        bool ok = fn(ext, &inode, arg, err);
        ext_inode_put(ext, &inode);
        if (!ok)
            return false;
    }
    return true;
}

bool ext_each_inode(struct ext_fs *ext, ext_inode_fn *fn, void *arg, struct error *err)
{
    uint8_t *bits = mem_new(ext->block_size, err);
    bool ok = bits != NULL;
    for (uint32_t group = 0; ok && group < ext->groups; group++)
        ok = ext_bitmap_read(ext, EXT_INODE_BITMAP, group, bits, err) &&
             each_in_group(ext, group, bits, fn, arg, err);
    free(bits);
    return ok;
}
