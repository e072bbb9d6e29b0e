/*
 * Inode 7 owns the blocks reserved for more descriptors, so that nothing else takes them. Its double indirect
 * block points to those behind the primary descriptors; each of these is used as an indirect block that lists
 * its copies, one in each group with a superblock ("Reserved GDT blocks").
 */
#include "backup.h"
#include "check.h"

#include "alloc.h"

#include <stdlib.h>
#include <sys/stat.h>

uint64_t ext_reserve_block(const struct ext_fs *ext, uint32_t i)
{
    return ext_backup_super_block(ext, 0) + 1 + ext->desc_blocks + i;
}

uint32_t ext_reserve_copies(const struct ext_fs *ext, uint32_t i, uint8_t *block)
{
    uint32_t count = 0, room = ext->block_size / 4;
    uint64_t primary = ext_reserve_block(ext, i);
    memset(block, 0, ext->block_size);
    for (uint32_t group = ext_next_super(ext, 0); group < ext->groups && count < room;
         group = ext_next_super(ext, group))
        store_le32(block + (size_t)4 * count++,
                   (uint32_t)(primary + (uint64_t)group * ext->blocks_per_group));
    return count;
}

void ext_reserve_list(const struct ext_fs *ext, uint8_t *block)
{
    uint32_t reserved = (uint32_t)ext_super_s_reserved_gdt_blocks(ext->super), room = ext->block_size / 4;
    memset(block, 0, ext->block_size);
    for (uint32_t i = 0; i < reserved; i++)
        store_le32(block + (size_t)4 * ((ext->desc_blocks + i) % room), (uint32_t)ext_reserve_block(ext, i));
}

static bool blocks_match(struct ext_fs *ext, uint64_t dind, uint8_t *want, uint8_t *have)
{
    struct error ignored;
    uint32_t reserved = (uint32_t)ext_super_s_reserved_gdt_blocks(ext->super);
    ext_reserve_list(ext, want);
    if (!device_read(ext->dev, ext_offset(ext, dind), have, ext->block_size, &ignored) ||
        memcmp(want, have, ext->block_size) != 0)
        return false;
    for (uint32_t i = 0; i < reserved; i++) {
        ext_reserve_copies(ext, i, want);
        if (!device_read(ext->dev, ext_offset(ext, ext_reserve_block(ext, i)), have, ext->block_size,
                         &ignored) ||
            memcmp(want, have, ext->block_size) != 0)
            return false;
    }
    return true;
}

const char *ext_resize_inode_fault(struct ext_fs *ext, const uint8_t *inode, uint64_t *dind)
{
    const uint8_t *i_block = ext_inode_i_block(inode);
    struct error ignored;
    *dind = load_le32(i_block + (size_t)4 * 13);
    if (!ext_blocks_valid(ext, *dind, 1)) {
        *dind = 0;
        return "has no double indirect block";
    }
    if (!ext_inode_is(inode, S_IFREG) || ext_inode_i_links_count(inode) != 1)
        return "is no regular file with one link";
    if (!all_zero(i_block, (size_t)4 * 13) || load_le32(i_block + (size_t)4 * 14) != 0)
        return "has blocks beside its double indirect one";
    uint8_t *buffers = mem_new((size_t)2 * ext->block_size, &ignored);
    bool match = buffers && blocks_match(ext, *dind, buffers, buffers + ext->block_size);
    free(buffers);
    return match ? NULL : "does not list the blocks reserved for descriptors";
}

bool ext_resize_inode_write(struct ext_fs *ext, uint64_t dind, struct error *err)
{
    uint32_t reserved = (uint32_t)ext_super_s_reserved_gdt_blocks(ext->super), room = ext->block_size / 4;
    uint64_t blocks = 1;
    struct ext_inode inode;
    uint8_t *block = mem_new(ext->block_size, err);
    if (!block)
        return false;
    ext_reserve_list(ext, block);
    cache_forget(ext->cache, ext_offset(ext, dind));
    bool ok = device_write(ext->dev, ext_offset(ext, dind), block, ext->block_size, WRITE_UPDATE, err);
    for (uint32_t i = 0; ok && i < reserved; i++) {
        blocks += 1 + ext_reserve_copies(ext, i, block);
        ok = device_write(ext->dev, ext_offset(ext, ext_reserve_block(ext, i)), block, ext->block_size,
                          WRITE_UPDATE, err);
    }
    free(block);
    if (!ok || !ext_inode_get_raw(ext, EXT_RESIZE_INO, &inode, err))
        return false;
    if (ext_inode_i_links_count(inode.raw) == 0 || !ext_inode_is(inode.raw, S_IFREG)) {
        memset(inode.raw, 0, ext->inode_size);
        ext_inode_set_i_mode(inode.raw, S_IFREG | 0600);
        ext_inode_set_i_links_count(inode.raw, 1);
    }
    ext_inode_set_i_flags(inode.raw, 0);
    ext_inode_set_i_dtime(inode.raw, 0);
    memset(ext_inode_i_block(inode.raw), 0, EXT_I_BLOCK_SIZE);
    store_le32(ext_inode_i_block(inode.raw) + (size_t)4 * 13, (uint32_t)dind);
    ext_inode_set_size(ext, inode.raw, ((uint64_t)room * room + room + EXT_NDIR) * ext->block_size);
    ext_inode_set_i_blocks_lo(inode.raw, (uint32_t)(blocks * (ext->cluster_size / 512)));
    ext_inode_dirty(ext, &inode);
    ext_inode_put(ext, &inode);
    return true;
}
