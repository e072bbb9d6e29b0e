/* Group descriptors, read when first needed, and the places of superblock and descriptor copies. */
#include "bytes.h"
#include "ext.h"

static uint64_t part_of(const struct ext_fs *ext, uint32_t index)
{
    return (uint64_t)1 << (ext->descs_per_block > 64 ? index / (ext->descs_per_block / 64) : index);
}

static bool desc_ok(const struct ext_fs *ext, uint32_t group, const uint8_t *desc)
{
    return !ext->group_csum || ext_desc_bg_checksum(desc) == ext_desc_csum(ext, group, desc);
}

/* Marks the block when all its descriptors are sound, so that this is asked once. */
static void check_block(const struct ext_fs *ext, struct cache_block *block)
{
    uint32_t first = (uint32_t)block->owner, count = MIN_OF(ext->descs_per_block, ext->groups - first);
    for (uint32_t i = 0; i < count; i++)
        if (!desc_ok(ext, first + i, block->data + i * ext->desc_size))
            return;
    block->checked = true;
}

bool ext_group_get(struct ext_fs *ext, uint32_t group, struct ext_group *out, struct error *err)
{
    if (group >= ext->groups)
        return fail(err, E_DAMAGED, "group %u is past the last one, %u", group, ext->groups - 1);
    uint32_t index = group % ext->descs_per_block;
    uint64_t at = ext_desc_block(ext, group / ext->descs_per_block);
    if (!ext_block_get(ext, at, EXT_TAG_DESC, group - index, &out->block, err))
        return because(err, "descriptor of group %u", group);
    out->number = group;
    out->raw = out->block->data + index * ext->desc_size;
    if (!out->block->checked && !out->block->parts)
        check_block(ext, out->block);
    if (!out->block->checked && !(out->block->parts & part_of(ext, index)) &&
        !desc_ok(ext, group, out->raw)) {
        uint64_t off = out->block->off + index * ext->desc_size + ext_desc_off_bg_checksum;
        unsigned stored = (unsigned)ext_desc_bg_checksum(out->raw),
                 right = ext_desc_csum(ext, group, out->raw);
        ext_group_put(ext, out);
        return damaged(err, ext->dev, off, "group %u: bg_checksum is 0x%04x, not 0x%04x", group, stored,
                       right);
    }
    return true;
}

void ext_group_put(struct ext_fs *ext, struct ext_group *group)
{
    ext_block_put(ext, group->block);
    group->block = NULL;
}

void ext_group_dirty(struct ext_fs *ext, struct ext_group *group)
{
    group->block->parts |= part_of(ext, group->number % ext->descs_per_block);
    ext_block_dirty(ext, group->block);
}

/* The high halves exist when the descriptor is long enough for them. */
static uint32_t bitmap_csum_mask(const struct ext_fs *ext)
{
    return ext->desc_size >= 64 ? UINT32_MAX : 0xFFFF;
}

bool ext_group_bitmap_csum_ok(const struct ext_fs *ext, const uint8_t *desc, enum ext_bitmap_kind kind,
                              uint32_t csum)
{
    uint32_t stored;
    if (kind == EXT_BLOCK_BITMAP)
        stored = (uint32_t)ext_desc_bg_block_bitmap_csum_lo(desc);
    else
        stored = (uint32_t)ext_desc_bg_inode_bitmap_csum_lo(desc);
    if (ext->desc_size >= 64)
        stored |= (uint32_t)(kind == EXT_BLOCK_BITMAP ? ext_desc_bg_block_bitmap_csum_hi(desc)
                                                      : ext_desc_bg_inode_bitmap_csum_hi(desc))
                  << 16;
    return stored == (csum & bitmap_csum_mask(ext));
}

void ext_group_set_bitmap_csum(const struct ext_fs *ext, uint8_t *desc, enum ext_bitmap_kind kind,
                               uint32_t csum)
{
    if (kind == EXT_BLOCK_BITMAP) {
        ext_desc_set_bg_block_bitmap_csum_lo(desc, csum & 0xFFFF);
        if (ext->desc_size >= 64)
            ext_desc_set_bg_block_bitmap_csum_hi(desc, csum >> 16);
    } else {
        ext_desc_set_bg_inode_bitmap_csum_lo(desc, csum & 0xFFFF);
        if (ext->desc_size >= 64)
            ext_desc_set_bg_inode_bitmap_csum_hi(desc, csum >> 16);
    }
}

uint32_t ext_group_blocks(const struct ext_fs *ext, uint32_t group)
{
    uint64_t left = ext->blocks - ext_group_first_block(ext, group);
    return (uint32_t)MIN_OF(left, ext->blocks_per_group);
}

uint32_t ext_group_clusters(const struct ext_fs *ext, uint32_t group)
{
    return (uint32_t)div_up(ext_group_blocks(ext, group), (uint64_t)1 << ext->cluster_bits);
}

static bool power_of(uint32_t value, uint32_t base)
{
    uint64_t power = base;
    while (power < value)
        power *= base;
    return power == value;
}

bool ext_group_has_super(const struct ext_fs *ext, uint32_t group)
{
    if (group == 0)
        return true;
    if (ext_has(ext, EXT_SPARSE_SUPER2))
        return group == ext_super_s_backup_bgs_0(ext->super) || group == ext_super_s_backup_bgs_1(ext->super);
    if (group == 1 || !ext_has(ext, EXT_SPARSE_SUPER))
        return true;
    return power_of(group, 3) || power_of(group, 5) || power_of(group, 7);
}

uint32_t ext_next_super(const struct ext_fs *ext, uint32_t group)
{
    uint64_t listed[] = {ext_super_s_backup_bgs_0(ext->super), ext_super_s_backup_bgs_1(ext->super)};
    uint64_t next = ext->groups;
    if (ext_has(ext, EXT_SPARSE_SUPER2)) {
        for (size_t i = 0; i < ARRAY_LEN(listed); i++)
            if (listed[i] > group)
                next = MIN_OF(next, listed[i]);
        return (uint32_t)next;
    }
    if (group == 0 || !ext_has(ext, EXT_SPARSE_SUPER))
        return (uint32_t)MIN_OF(next, (uint64_t)group + 1);
    for (uint64_t base = 3; base <= 7; base += 2) {
        uint64_t power = base;
        while (power <= group)
            power *= base;
        next = MIN_OF(next, power);
    }
    return (uint32_t)next;
}

uint64_t ext_backup_super_block(const struct ext_fs *ext, uint32_t group)
{
    uint64_t first = ext_group_first_block(ext, group);
    return first == 0 && ext->block_size == EXT_SUPER_OFFSET ? 1 : first; /* bigalloc with 1 KiB blocks */
}

uint32_t ext_group_desc_blocks(const struct ext_fs *ext, uint32_t group)
{
    uint32_t meta_group = group / ext->descs_per_block, index = group % ext->descs_per_block;
    uint32_t first_meta = (uint32_t)ext_super_s_first_meta_bg(ext->super);
    if (!ext_has(ext, EXT_META_BG) || meta_group < first_meta) {
        if (!ext_group_has_super(ext, group))
            return 0;
        uint32_t count = ext_has(ext, EXT_META_BG) ? MIN_OF(first_meta, ext->desc_blocks) : ext->desc_blocks;
        return count + (uint32_t)ext_super_s_reserved_gdt_blocks(ext->super);
    }
    return index == 0 || index == 1 || index == ext->descs_per_block - 1;
}

uint64_t ext_desc_block(const struct ext_fs *ext, uint32_t index)
{
    if (!ext_has(ext, EXT_META_BG) || index < ext_super_s_first_meta_bg(ext->super))
        return ext_backup_super_block(ext, 0) + 1 + index;
    uint32_t group = index * ext->descs_per_block;
    return ext_group_has_super(ext, group) ? ext_backup_super_block(ext, group) + 1
                                           : ext_group_first_block(ext, group);
}
