/* Copies of the superblock and the descriptors ("Block Groups": sparse_super, sparse_super2, meta_bg). */
#include "backup.h"

#include "alloc.h"

#include <stdlib.h>

/* Whether the descriptor of a group lies in its meta group, as do its copies then. */
static bool in_own_meta_group(const struct ext_fs *ext, uint32_t group)
{
    return ext_has(ext, EXT_META_BG) && group / ext->descs_per_block >= ext_super_s_first_meta_bg(ext->super);
}

bool ext_backup_each_desc(const struct ext_fs *ext, uint32_t index,
                          bool (*fn)(uint32_t group, uint64_t block, void *arg, struct error *), void *arg,
                          struct error *err)
{
    if (ext_has(ext, EXT_META_BG) && index >= ext_super_s_first_meta_bg(ext->super)) {
        const uint32_t in[] = {1, ext->descs_per_block - 1};
        for (size_t i = 0; i < ARRAY_LEN(in); i++) {
            uint64_t group = (uint64_t)index * ext->descs_per_block + in[i];
            if (group >= ext->groups)
                continue;
            uint64_t block = ext_group_first_block(ext, (uint32_t)group);
            if (!fn((uint32_t)group, block + ext_group_has_super(ext, (uint32_t)group), arg, err))
                return false;
        }
        return true;
    }
    for (uint32_t group = ext_next_super(ext, 0); group < ext->groups; group = ext_next_super(ext, group))
        if (!in_own_meta_group(ext, group) &&
            !fn(group, ext_backup_super_block(ext, group) + 1 + index, arg, err))
            return false;
    return true;
}

bool ext_backup_supers(struct ext_fs *ext, struct error *err)
{
    uint8_t copy[EXT_SUPER_SIZE];
    for (uint32_t group = ext_next_super(ext, 0); group < ext->groups; group = ext_next_super(ext, group)) {
        memcpy(copy, ext->super, sizeof copy);
        ext_super_set_s_block_group_nr(copy, group);
        ext_super_set_s_state(copy, ext_super_s_state(copy) & ~(uint64_t)EXT_STATE_VALID);
        if (ext->has_csum)
            ext_super_set_s_checksum(copy, ext_super_csum(copy));
        uint64_t off = ext_offset(ext, ext_backup_super_block(ext, group));
        if (!interrupt_check(err) || !device_write(ext->dev, off, copy, sizeof copy, WRITE_UPDATE, err))
            return false;
    }
    return true;
}

struct copying {
    struct ext_fs *ext;
    const uint8_t *block;
};

static bool write_copy(uint32_t group, uint64_t block, void *arg, struct error *err)
{
    (void)group;
    struct copying *c = arg;
    return device_write(c->ext->dev, ext_offset(c->ext, block), c->block, c->ext->block_size, WRITE_UPDATE,
                        err);
}

bool ext_backup_descs(struct ext_fs *ext, struct error *err)
{
    uint8_t *block = mem_new(ext->block_size, err);
    struct copying c = {ext, block};
    bool ok = block != NULL;
    for (uint32_t i = 0; ok && i < ext->desc_blocks; i++)
        ok = interrupt_check(err) &&
             device_read(ext->dev, ext_offset(ext, ext_desc_block(ext, i)), block, ext->block_size, err) &&
             ext_backup_each_desc(ext, i, write_copy, &c, err);
    free(block);
    return ok;
}

uint64_t ext_group_copies(const struct ext_fs *ext, uint32_t group)
{
    uint64_t copies = ext_group_desc_blocks(ext, group);
    if (ext_group_has_super(ext, group))
        copies += ext_backup_super_block(ext, group) - ext_group_first_block(ext, group) + 1;
    return copies;
}

bool ext_own_blocks(struct ext_fs *ext, struct ranges *own, struct error *err)
{
    for (uint32_t i = 0; i < ext->groups; i++) {
        struct ext_group group;
        uint64_t copies = ext_group_copies(ext, i);
        if (!interrupt_check(err) ||
            (copies && !ranges_add(own, ext_group_first_block(ext, i), copies, err)) ||
            !ext_group_get(ext, i, &group, err))
            return false;
        bool ok = ranges_add(own, ext_group_block_bitmap(ext, group.raw), 1, err) &&
                  ranges_add(own, ext_group_inode_bitmap(ext, group.raw), 1, err) &&
                  ranges_add(own, ext_group_inode_table(ext, group.raw), ext->table_blocks, err);
        ext_group_put(ext, &group);
        if (!ok)
            return false;
    }
    return true;
}

bool ext_free_unshared(struct ext_fs *ext, const struct ranges *own, uint64_t start, uint64_t len,
                       struct error *err)
{
    uint64_t cluster = (uint64_t)1 << ext->cluster_bits, end = start + len;
    if (cluster == 1)
        return ext_blocks_free(ext, start, len, err);
    for (uint64_t b = start & ~(cluster - 1); b < end; b += cluster)
        if (!ranges_overlaps(own, b, cluster) &&
            !ext_blocks_free(ext, b, MIN_OF(cluster, ext->blocks - b), err))
            return false;
    return true;
}
