/*
 * mkfs: the driver's operation, and what is written last: bitmaps, descriptors and superblocks. Inode tables
 * are zeroed, which costs nothing where the device has holes; groups that hold nothing keep no bitmap at all
 * (INODE_UNINIT, BLOCK_UNINIT).
 */
#include "mkfs.h"
#include "backup.h"

#include "alloc.h"

#include <stdlib.h>

/* ---- writing ---- */

enum { MANY_GROUPS = 1024 };

/*
 * On a device that held nothing, bytes in holes are free space and large writes may go straight to the host.
 * Small ones stay in the overlay, where undo costs nothing, unless there are very many of them.
 */
static enum write_class class_of(const struct ext_make *m, uint64_t off, uint64_t n)
{
    struct extent extent;
    struct error ignored;
    bool many = m->ext.groups >= MANY_GROUPS;
    if (!m->blank || n < (many ? m->ext.block_size : 64 * KiB) ||
        !device_map_to_bottom(m->ext.dev, off, &extent, &ignored))
        return WRITE_UPDATE;
    if (!(extent.flags & EXTENT_HOLE) || (extent.flags & EXTENT_BACKING) || extent.len < n)
        return WRITE_UPDATE;
    return many ? WRITE_FRESH_ONCE : WRITE_FRESH;
}

bool ext_make_write(struct ext_make *m, uint64_t off, const void *bytes, size_t n, struct error *err)
{
    m->written += n;
    return device_write(m->ext.dev, off, bytes, n, class_of(m, off, n), err);
}

bool ext_make_zero(struct ext_make *m, uint64_t block, uint64_t blocks, struct error *err)
{
    uint64_t off = ext_offset(&m->ext, block), n = ext_offset(&m->ext, blocks);
    return n == 0 || device_zero(m->ext.dev, off, n, class_of(m, off, n), err);
}

bool ext_make_inode(struct ext_make *m, uint32_t ino, uint8_t *inode, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    const uint8_t *desc = ext_make_desc(m, ext_group_of_inode(e, ino));
    uint64_t off = ext_offset(e, ext_group_inode_table(e, desc));
    off += (uint64_t)((ino - 1) % e->inodes_per_group) * e->inode_size;
    if (e->has_csum)
        ext_inode_csum_set(e, ino, inode);
    return ext_make_write(m, off, inode, e->inode_size, err);
}

/* ---- before -------------------------------------------------------------------------------------------- */

/* Whether the front of the device, where every filesystem has a signature, is zeros. */
static bool front_is_blank(struct device *device, bool *blank, struct error *err)
{
    size_t n = (size_t)MIN_OF(device->size, 128 * KiB);
    uint8_t *bytes = mem_new(n, err);
    if (!bytes)
        return false;
    bool ok = device_read(device, 0, bytes, n, err);
    *blank = ok && all_zero(bytes, n);
    free(bytes);
    return ok;
}

/* Signatures of other formats at both ends would make probing ambiguous. */
static bool wipe_ends(struct ext_make *m, struct error *err)
{
    struct device *device = m->ext.dev;
    uint64_t tail = MIN_OF(device->size - ext_offset(&m->ext, m->ext.blocks) + 64 * KiB, device->size);
    uint64_t front = MIN_OF(device->size, 68 * KiB);
    return m->blank || (device_zero(device, 0, front, WRITE_UPDATE, err) &&
                        device_zero(device, device->size - tail, tail, WRITE_UPDATE, err));
}

bool ext_make_zero_tables(struct ext_make *m, uint32_t first, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    uint64_t start = 0, len = 0;
    for (uint32_t group = first; group < e->groups; group++) {
        uint8_t *desc = ext_make_desc(m, group);
        uint64_t table = ext_group_inode_table(e, desc);
        ext_desc_set_bg_flags(desc, ext_desc_bg_flags(desc) | EXT_BG_INODE_ZEROED);
        if (table == start + len) {
            len += e->table_blocks;
            continue;
        }
        if (!interrupt_check(err) || !ext_make_zero(m, start, len, err))
            return false;
        start = table;
        len = e->table_blocks;
    }
    return ext_make_zero(m, start, len, err);
}

/* ---- bitmaps and counts ---- */

static bool write_block_bitmap(struct ext_make *m, uint32_t group, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    uint8_t *desc = ext_make_desc(m, group);
    uint64_t first = ext_group_first_block(e, group), end = first + ext_group_blocks(e, group), at = first;
    struct range used;
    memset(m->block, 0, e->block_size);
    while (at < end && ranges_next(&m->used, at, &used) && used.start < end) {
        uint64_t stop = MIN_OF(used.start + used.len, end);
        ext_bits_fill(m->block, (uint32_t)((used.start - first) >> e->cluster_bits),
                      (uint32_t)(((stop - first - 1) >> e->cluster_bits) + 1), true);
        at = stop;
    }
    ext_bits_fill(m->block, ext_group_clusters(e, group), e->block_size * 8, true);
    if (e->has_csum)
        ext_group_set_bitmap_csum(e, desc, EXT_BLOCK_BITMAP, ext_bitmap_csum(e, EXT_BLOCK_BITMAP, m->block));
    return ext_make_write(m, ext_offset(e, ext_group_block_bitmap(e, desc)), m->block, e->block_size, err);
}

static bool write_inode_bitmap(struct ext_make *m, uint32_t group, uint32_t used, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    uint8_t *desc = ext_make_desc(m, group);
    memset(m->block, 0, e->block_size);
    ext_bits_fill(m->block, 0, used, true);
    ext_bits_fill(m->block, e->inodes_per_group, e->block_size * 8, true);
    if (e->has_csum)
        ext_group_set_bitmap_csum(e, desc, EXT_INODE_BITMAP, ext_bitmap_csum(e, EXT_INODE_BITMAP, m->block));
    return ext_make_write(m, ext_offset(e, ext_group_inode_bitmap(e, desc)), m->block, e->block_size, err);
}

/* Inodes of a group among 1..last_ino. */
static uint32_t used_inodes(const struct ext_make *m, uint32_t group)
{
    uint64_t first = (uint64_t)group * m->ext.inodes_per_group;
    return m->last_ino > first ? (uint32_t)MIN_OF(m->last_ino - first, m->ext.inodes_per_group) : 0;
}

bool ext_make_finish_group(struct ext_make *m, uint32_t group, uint64_t *free_blocks, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    uint8_t *desc = ext_make_desc(m, group);
    uint32_t used = used_inodes(m, group), free_inodes = e->inodes_per_group - used;
    uint64_t flags = ext_desc_bg_flags(desc), blocks = ext_make_group_free(m, group);
    uint32_t dirs = ext_group_of_inode(e, EXT_ROOT_INO) == group;
    dirs += ext_group_of_inode(e, EXT_GOOD_OLD_FIRST_INO) == group;
    *free_blocks += blocks;
    ext_group_set_free_blocks_count(e, desc, blocks >> e->cluster_bits);
    ext_group_set_free_inodes_count(e, desc, free_inodes);
    ext_group_set_used_dirs_count(e, desc, dirs);
    if (e->group_csum)
        ext_group_set_itable_unused(e, desc, free_inodes);
    if (used)
        flags &= ~(uint64_t)(EXT_BG_INODE_UNINIT | EXT_BG_BLOCK_UNINIT);
    ext_desc_set_bg_flags(desc, flags);
    if (!(flags & EXT_BG_BLOCK_UNINIT) && !write_block_bitmap(m, group, err))
        return false;
    if (!(flags & EXT_BG_INODE_UNINIT) && !write_inode_bitmap(m, group, used, err))
        return false;
    if (e->group_csum)
        ext_desc_set_bg_checksum(desc, ext_desc_csum(e, group, desc));
    return true;
}

static bool finish_groups(struct ext_make *m, struct error *err)
{
    struct ext_fs *e = &m->ext;
    uint64_t free_blocks = 0;
    for (uint32_t group = 0; group < e->groups; group++)
        if (!interrupt_check(err) || !ext_make_finish_group(m, group, &free_blocks, err))
            return false;
    uint64_t counted = free_blocks;
    ext_super_set_s_free_blocks_count_lo(e->super, (uint32_t)counted);
    ext_super_set_s_free_blocks_count_hi(e->super, counted >> 32);
    ext_super_set_s_free_inodes_count(e->super, e->inodes - m->last_ino);
    return true;
}

/* ---- superblocks and descriptors ---- */

static bool write_super(struct ext_make *m, uint32_t group, struct error *err)
{
    struct ext_fs *e = &m->ext;
    ext_super_set_s_block_group_nr(e->super, group);
    ext_super_set_s_state(e->super, group ? 0 : EXT_STATE_VALID);
    if (e->has_csum)
        ext_super_set_s_checksum(e->super, ext_super_csum(e->super));
    uint64_t off = group ? ext_offset(e, ext_group_first_block(e, group)) : EXT_SUPER_OFFSET;
    return ext_make_write(m, off, e->super, EXT_SUPER_SIZE, err);
}

static bool write_copies(struct ext_make *m, struct error *err)
{
    struct ext_fs *e = &m->ext;
    bool meta = ext_has(e, EXT_META_BG);
    for (uint32_t group = e->groups; group-- > 0;) {
        if (!ext_group_has_super(e, group))
            continue;
        if (!meta) {
            uint64_t block = ext_backup_super_block(e, group) + 1;
            if (!interrupt_check(err) || !ext_make_write(m, ext_offset(e, block), m->descs,
                                                         (size_t)e->desc_blocks * e->block_size, err))
                return false;
        }
        if (!write_super(m, group, err))
            return false;
    }
    return true;
}

struct desc_block {
    struct ext_make *make;
    const uint8_t *bytes;
};

static bool write_desc_block(uint32_t group, uint64_t block, void *arg, struct error *err)
{
    const struct desc_block *d = arg;
    (void)group;
    return ext_make_write(d->make, ext_offset(&d->make->ext, block), d->bytes, d->make->ext.block_size, err);
}

/* With meta_bg each block of descriptors lies in the first, second and last of the groups it describes. */
static bool write_meta_descs(struct ext_make *m, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    for (uint32_t i = 0; i < e->desc_blocks; i++) {
        struct desc_block d = {m, m->descs + (size_t)i * e->block_size};
        if (!interrupt_check(err) || !write_desc_block(0, ext_desc_block(e, i), &d, err) ||
            !ext_backup_each_desc(e, i, write_desc_block, &d, err))
            return false;
    }
    return true;
}

static bool finish(struct ext_make *m, struct error *err)
{
    struct ext_fs *e = &m->ext;
    if (!finish_groups(m, err))
        return false;
    ext_super_set_s_kbytes_written(e->super, m->written / KiB);
    if (ext_has(e, EXT_META_BG) && !write_meta_descs(m, err))
        return false;
    return write_copies(m, err);
}

/* What statfs leaves out of the volume's size: all that is in use before the first file, and the journal. */
static void set_overhead(struct ext_make *m)
{
    struct ext_fs *e = &m->ext;
    uint64_t blocks = e->first_data_block + m->used.total + m->plan.journal_blocks;
    ext_super_set_s_overhead_clusters(e->super, blocks >> e->cluster_bits);
}

static bool make_volume(struct ext_make *m, struct error *err)
{
    m->block = mem_new(m->plan.block_size, err);
    if (!m->block || !ext_make_layout(m, err) || !wipe_ends(m, err) || !ext_make_zero_tables(m, 0, err))
        return false;
    set_overhead(m);
    return ext_make_files(m, err) && finish(m, err);
}

bool ext_mkfs(struct device *device, const struct mkfs_params *params, struct error *err)
{
    struct ext_make *m = mem_new(sizeof *m, err);
    if (!m)
        return false;
    m->ext.dev = device;
    bool ok = ext_plan_make(device, params, &m->plan, err) && front_is_blank(device, &m->blank, err) &&
              make_volume(m, err);
    ranges_clear(&m->used);
    free(m->descs);
    free(m->block);
    free(m);
    return ok;
}
