/* Checksums of every structure ("Checksums"), and the hook that sets them when a block leaves the cache. */
#include "bytes.h"
#include "checksum.h"
#include "ext.h"

static uint32_t crc_le32(uint32_t crc, uint32_t value)
{
    uint8_t raw[4];
    store_le32(raw, value);
    return crc32c(crc, raw, sizeof raw);
}

static uint32_t crc_le64(uint32_t crc, uint64_t value)
{
    uint8_t raw[8];
    store_le64(raw, value);
    return crc32c(crc, raw, sizeof raw);
}

uint32_t ext_csum(const struct ext_fs *ext, const void *data, size_t n)
{
    return crc32c(ext->csum_seed, data, n);
}

uint32_t ext_inode_seed(const struct ext_fs *ext, uint32_t ino, uint32_t generation)
{
    return crc_le32(crc_le32(ext->csum_seed, ino), generation);
}

uint32_t ext_super_csum(const uint8_t *super)
{
    return crc32c(~0u, super, ext_super_off_s_checksum);
}

uint16_t ext_desc_csum(const struct ext_fs *ext, uint32_t group, const uint8_t *desc)
{
    static const uint8_t none[2];
    const unsigned at = ext_desc_off_bg_checksum, after = at + 2;
    if (ext->has_csum) {
        uint32_t crc = crc32c(crc_le32(ext->csum_seed, group), desc, at);
        crc = crc32c(crc, none, sizeof none);
        return (uint16_t)crc32c(crc, desc + after, ext->desc_size - after);
    }
    uint8_t number[4];
    store_le32(number, group);
    uint16_t crc = crc16(0xFFFF, ext_super_s_uuid(ext->super), 16);
    crc = crc16(crc, number, sizeof number);
    crc = crc16(crc, desc, at);
    return ext_has(ext, EXT_64BIT) ? crc16(crc, desc + after, ext->desc_size - after) : crc;
}

static bool has_high_csum(const struct ext_fs *ext, const uint8_t *inode)
{
    return EXT_INODE_HAS(ext, inode, i_checksum_hi);
}

uint32_t ext_inode_csum(const struct ext_fs *ext, uint32_t ino, const uint8_t *inode)
{
    static const uint8_t none[2];
    const unsigned low = ext_inode_off_i_checksum_lo, high = ext_inode_off_i_checksum_hi;
    uint32_t crc = ext_inode_seed(ext, ino, (uint32_t)ext_inode_i_generation(inode));
    crc = crc32c(crc, inode, low);
    crc = crc32c(crc, none, sizeof none);
    crc = crc32c(crc, inode + low + 2, EXT_GOOD_OLD_INODE_SIZE - low - 2);
    if (ext->inode_size == EXT_GOOD_OLD_INODE_SIZE)
        return crc;
    unsigned from = high;
    crc = crc32c(crc, inode + EXT_GOOD_OLD_INODE_SIZE, high - EXT_GOOD_OLD_INODE_SIZE);
    if (has_high_csum(ext, inode)) {
        crc = crc32c(crc, none, sizeof none);
        from += 2;
    }
    return crc32c(crc, inode + from, ext->inode_size - from);
}

/* Inodes of other systems than Linux use the checksum's bytes for something else. */
static bool inodes_have_csum(const struct ext_fs *ext)
{
    return ext->has_csum && ext_super_s_creator_os(ext->super) == EXT_OS_LINUX;
}

bool ext_inode_csum_ok(const struct ext_fs *ext, uint32_t ino, const uint8_t *inode)
{
    if (!inodes_have_csum(ext))
        return true;
    uint32_t csum = ext_inode_csum(ext, ino, inode), stored = (uint32_t)ext_inode_i_checksum_lo(inode);
    if (has_high_csum(ext, inode))
        stored |= (uint32_t)ext_inode_i_checksum_hi(inode) << 16;
    else
        csum &= 0xFFFF;
    return csum == stored || all_zero(inode, ext->inode_size);
}

void ext_inode_csum_set(const struct ext_fs *ext, uint32_t ino, uint8_t *inode)
{
    if (!inodes_have_csum(ext))
        return;
    uint32_t csum = ext_inode_csum(ext, ino, inode);
    ext_inode_set_i_checksum_lo(inode, csum & 0xFFFF);
    if (has_high_csum(ext, inode))
        ext_inode_set_i_checksum_hi(inode, csum >> 16);
}

uint8_t *ext_extent_tail(const uint8_t *node)
{
    return (uint8_t *)(uintptr_t)node + EXT_EXTENT_ENTRY * (1 + ext_eh_eh_max(node));
}

uint32_t ext_extent_csum(uint32_t seed, const uint8_t *node)
{
    return crc32c(seed, node, (size_t)(ext_extent_tail(node) - node));
}

uint8_t *ext_dir_tail(const struct ext_fs *ext, const uint8_t *block)
{
    uint8_t *tail = (uint8_t *)(uintptr_t)block + ext->block_size - EXT_DIR_TAIL;
    bool is_tail = ext_det_det_reserved_zero1(tail) == 0 && ext_det_det_rec_len(tail) == EXT_DIR_TAIL &&
                   ext_det_det_reserved_zero2(tail) == 0 &&
                   ext_det_det_reserved_ft(tail) == EXT_DIR_TAIL_TYPE;
    return is_tail ? tail : NULL;
}

uint32_t ext_dir_csum(const struct ext_fs *ext, uint32_t seed, const uint8_t *block)
{
    return crc32c(seed, block, ext->block_size - EXT_DIR_TAIL);
}

uint8_t *ext_index_counts(const struct ext_fs *ext, const uint8_t *block)
{
    uint8_t *raw = (uint8_t *)(uintptr_t)block;
    if (ext_rec_len(ext, block) == ext->block_size && ext_de_inode(block) == 0)
        return raw + EXT_DX_NODE_ENTRIES;
    if (ext_rec_len(ext, block) == EXT_DIRENT_MIN && ext_rec_len(ext, block + 12) == ext->block_size - 12 &&
        ext_dxr_reserved_zero(block) == 0 && ext_dxr_info_length(block) == 8)
        return raw + EXT_DX_ROOT_ENTRIES;
    return NULL;
}

bool ext_index_csum(const struct ext_fs *ext, uint32_t seed, const uint8_t *block, uint32_t *csum,
                    uint8_t **tail)
{
    static const uint8_t none[4];
    const uint8_t *counts = ext_index_counts(ext, block);
    if (!counts)
        return false;
    uint32_t limit = load_le16(counts), count = load_le16(counts + 2);
    uint32_t room = ext->block_size - (uint32_t)(counts - block);
    if (count > limit || limit * EXT_DX_ENTRY_SIZE + EXT_DX_TAIL_SIZE > room)
        return false;
    *tail = (uint8_t *)(uintptr_t)counts + limit * EXT_DX_ENTRY_SIZE;
    uint32_t crc = crc32c(seed, block, (size_t)(counts - block) + count * EXT_DX_ENTRY_SIZE);
    crc = crc32c(crc, *tail, 4);
    *csum = crc32c(crc, none, sizeof none);
    return true;
}

uint32_t ext_xattr_csum(const struct ext_fs *ext, uint64_t block_number, const uint8_t *block)
{
    static const uint8_t none[4];
    const unsigned at = ext_xh_off_h_checksum;
    uint32_t crc = crc32c(crc_le64(ext->csum_seed, block_number), block, at);
    crc = crc32c(crc, none, sizeof none);
    return crc32c(crc, block + at + 4, ext->block_size - at - 4);
}

uint32_t ext_bitmap_csum(const struct ext_fs *ext, enum ext_bitmap_kind kind, const uint8_t *bits)
{
    uint32_t count = kind == EXT_BLOCK_BITMAP ? ext->clusters_per_group : ext->inodes_per_group;
    return ext_csum(ext, bits, count / 8);
}

uint32_t ext_orphan_csum(const struct ext_fs *ext, uint32_t seed, uint64_t block_number, const uint8_t *block)
{
    return crc32c(crc_le64(seed, block_number), block, ext->block_size - EXT_ORPHAN_TAIL_SIZE);
}

/* ---- the hook ---- */

/* Which bit of cache_block.parts stands for part `index` of `count` in a block. */
static uint64_t part_bit(uint32_t index, uint32_t count)
{
    return (uint64_t)1 << (count > 64 ? index / (count / 64) : index);
}

static void seal_descs(struct ext_fs *ext, struct cache_block *block)
{
    for (uint32_t i = 0; i < ext->descs_per_block; i++) {
        uint32_t group = (uint32_t)block->owner + i;
        uint8_t *desc = block->data + i * ext->desc_size;
        if (block->parts & part_bit(i, ext->descs_per_block) && ext->group_csum && group < ext->groups)
            ext_desc_set_bg_checksum(desc, ext_desc_csum(ext, group, desc));
    }
}

static void seal_inodes(struct ext_fs *ext, struct cache_block *block)
{
    for (uint32_t i = 0; i < ext->inodes_per_block; i++) {
        uint8_t *inode = block->data + i * ext->inode_size;
        if (block->parts & part_bit(i, ext->inodes_per_block) && !all_zero(inode, ext->inode_size))
            ext_inode_csum_set(ext, (uint32_t)block->owner + i, inode);
    }
}

static void seal_directory(struct ext_fs *ext, struct cache_block *block, uint32_t seed)
{
    uint8_t *tail = block->tag == EXT_TAG_DIR ? ext_dir_tail(ext, block->data) : NULL;
    uint32_t csum;
    if (tail)
        ext_det_set_det_checksum(tail, ext_dir_csum(ext, seed, block->data));
    else if (ext_index_csum(ext, seed, block->data, &csum, &tail))
        ext_dxt_set_dt_checksum(tail, csum);
}

static void seal_by_owner(struct ext_fs *ext, struct cache_block *block)
{
    uint32_t seed = ext_inode_seed(ext, (uint32_t)block->owner, (uint32_t)(block->owner >> 32));
    bool node = block->tag == EXT_TAG_EXTENTS;
    /* A block that is several things may have become anything since it was checked as a node. */
    if (node && ext_extent_tail(block->data) + EXT_EXTENT_TAIL > block->data + ext->block_size)
        return;
    if (node)
        store_le32(ext_extent_tail(block->data), ext_extent_csum(seed, block->data));
    else if (block->tag == EXT_TAG_ORPHANS)
        ext_ob_set_ob_checksum(block->data + ext->block_size - EXT_ORPHAN_TAIL_SIZE,
                               ext_orphan_csum(ext, seed, block->off >> ext->block_bits, block->data));
    else
        seal_directory(ext, block, seed);
}

void ext_seal(void *arg, struct cache_block *block)
{
    struct ext_fs *ext = arg;
    if (block->tag == EXT_TAG_DESC)
        seal_descs(ext, block);
    else if (!ext->has_csum)
        return;
    else if (block->tag == EXT_TAG_INODES)
        seal_inodes(ext, block);
    else if (block->tag == EXT_TAG_XATTR)
        ext_xh_set_h_checksum(block->data, ext_xattr_csum(ext, block->off >> ext->block_bits, block->data));
    else if (block->tag == EXT_TAG_MMP)
        ext_mmp_set_mmp_checksum(block->data, ext_csum(ext, block->data, ext_mmp_off_mmp_checksum));
    else if (block->tag == EXT_TAG_DIR || block->tag == EXT_TAG_INDEX || block->tag == EXT_TAG_EXTENTS ||
             block->tag == EXT_TAG_ORPHANS)
        seal_by_owner(ext, block);
    if (block->tag != EXT_TAG_BITMAP)
        block->parts = 0;
}
