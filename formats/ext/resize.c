/* The size of a volume: what a size asks for, growing, and how small it could be. */
#include "resize.h"
#include "check.h"
#include "mkfs.h"
#include "tune.h"

#include "alloc.h"

#include <stdlib.h>

/* ---- geometry ---- */

uint64_t ext_resize_overhead(const struct ext_fs *ext, uint32_t number, uint32_t desc_blocks)
{
    uint64_t overhead = 2 + (uint64_t)ext->table_blocks;
    bool super = ext_has(ext, EXT_SPARSE_SUPER2) ? ext_super_s_backup_bgs_1(ext->super) != 0 || number == 1
                                                 : ext_group_has_super(ext, number);
    if (super)
        overhead += 1 + (uint64_t)desc_blocks + ext_super_s_reserved_gdt_blocks(ext->super);
    return overhead;
}

/* Blocks and groups for a wish: a last group that could hold little more than its own tables is left out. */
static bool plan(struct ext_resize *r, uint64_t blocks, struct error *err)
{
    const struct ext_fs *ext = r->ext;
    uint64_t most = ext_has(ext, EXT_64BIT) ? (uint64_t)1 << 48 : (uint64_t)UINT32_MAX + 1;
    blocks &= ~(((uint64_t)1 << ext->cluster_bits) - 1);
    for (;;) {
        if (blocks <= ext->first_data_block)
            return fail(err, E_NOSPACE, "the size leaves no room for a filesystem");
        uint64_t groups = div_up(blocks - ext->first_data_block, ext->blocks_per_group);
        uint64_t rest = (blocks - ext->first_data_block) % ext->blocks_per_group;
        if (blocks >= most)
            return fail(err, E_TOOBIG, "%llu blocks are more than the volume's format can address",
                        (unsigned long long)blocks);
        if (groups * ext->inodes_per_group > UINT32_MAX)
            return fail(err, E_TOOBIG, "%llu groups of %u inodes are more than 2^32 inodes",
                        (unsigned long long)groups, ext->inodes_per_group);
        r->blocks = blocks;
        r->groups = (uint32_t)groups;
        r->desc_blocks = (uint32_t)div_up(groups, ext->descs_per_block);
        uint64_t overhead = ext_resize_overhead(ext, r->groups - 1, r->desc_blocks);
        bool same = r->groups == ext->groups && blocks >= ext->blocks;
        if (rest == 0 || rest >= overhead + 50 || same)
            return true;
        if (groups == 1)
            return fail(err, E_NOSPACE, "the size leaves no room for a filesystem");
        blocks -= rest;
    }
}

static void set_reserve(struct ext_fs *ext, uint64_t blocks)
{
    uint64_t high = ext_has(ext, EXT_64BIT) ? ext_super_s_r_blocks_count_hi(ext->super) : 0;
    uint64_t reserve = ext_super_s_r_blocks_count_lo(ext->super) | high << 32;
    double share = (double)reserve / (double)ext->blocks;
    reserve = (uint64_t)(share * (double)blocks);
    ext_super_set_s_r_blocks_count_lo(ext->super, (uint32_t)reserve);
    if (ext_has(ext, EXT_64BIT))
        ext_super_set_s_r_blocks_count_hi(ext->super, reserve >> 32);
}

bool ext_resize_geometry(struct ext_resize *r, struct error *err)
{
    struct ext_fs *ext = r->ext;
    uint8_t *s = ext->super;
    if (!ext_flush(ext, err))
        return false;
    cache_drop(ext->cache);
    set_reserve(ext, r->blocks);
    ext_super_set_s_blocks_count_lo(s, (uint32_t)r->blocks);
    if (ext_has(ext, EXT_64BIT))
        ext_super_set_s_blocks_count_hi(s, r->blocks >> 32);
    ext_super_set_s_inodes_count(s, r->groups * ext->inodes_per_group);
    if (ext->has_csum)
        ext_super_set_s_checksum(s, ext_super_csum(s));
    ext_alloc_forget(ext);
    ext_dirs_forget(ext);
    ext_super_changed(ext);
    return ext_super_decode(ext, s, err);
}

bool ext_resize_counts(struct ext_fs *ext, struct error *err)
{
    uint64_t blocks = 0, inodes = 0;
    for (uint32_t i = 0; i < ext->groups; i++) {
        struct ext_group group;
        if (!interrupt_check(err) || !ext_group_get(ext, i, &group, err))
            return false;
        blocks += ext_group_free_blocks_count(ext, group.raw);
        inodes += ext_group_free_inodes_count(ext, group.raw);
        ext_group_put(ext, &group);
    }
    ext_set_free_blocks(ext, blocks << ext->cluster_bits);
    ext_super_set_s_free_inodes_count(ext->super, inodes);
    ext_super_changed(ext);
    return true;
}

/* ---- growing ---- */

/* What a volume was before it grew. */
struct before {
    uint64_t blocks;
    uint32_t groups, desc_blocks, last_clusters, reserved;
};

/*
 * Room for more descriptors: the blocks reserved for that, or, when these do not do, descriptors inside the
 * groups that they describe (meta_bg).
 */
static bool make_desc_room(struct ext_resize *r, struct error *err)
{
    struct ext_fs *ext = r->ext;
    uint32_t more = r->desc_blocks > ext->desc_blocks ? r->desc_blocks - ext->desc_blocks : 0;
    uint32_t reserved = (uint32_t)ext_super_s_reserved_gdt_blocks(ext->super), had = ext->desc_blocks;
    if (more == 0 || ext_has(ext, EXT_META_BG))
        return true;
    if (ext_has(ext, EXT_RESIZE_INODE) && more <= reserved) {
        ext_super_set_s_reserved_gdt_blocks(ext->super, reserved - more);
        return true;
    }
    if (!ext_tune_feature(ext, "resize_inode", false, err))
        return false;
    ext_set_feature(ext, EXT_META_BG, true);
    ext_super_set_s_first_meta_bg(ext->super, had);
    return true;
}

/* With sparse_super2 the second copy follows the last group. */
static bool move_backup_groups(struct ext_resize *r, const struct before *b, struct error *err)
{
    struct ext_fs *ext = r->ext;
    uint32_t first = (uint32_t)ext_super_s_backup_bgs_0(ext->super),
             old = (uint32_t)ext_super_s_backup_bgs_1(ext->super);
    if (!ext_has(ext, EXT_SPARSE_SUPER2) || r->groups == b->groups)
        return true;
    if (b->groups == 1) {
        ext_super_set_s_backup_bgs_0(ext->super, 1);
        ext_super_set_s_backup_bgs_1(ext->super, r->groups > 2 ? r->groups - 1 : 0);
        return true;
    }
    if (first == 0 || (old == 0 && b->groups > 2))
        return true;
    uint64_t start = old ? ext_group_first_block(ext, old) : 0, len = 1;
    if (!ext_has(ext, EXT_META_BG))
        len += b->desc_blocks + (uint64_t)b->reserved;
    struct cache_block *bits;
    struct ranges own = {0};
    if (old) { /* a bitmap that exists does not change its meaning */
        if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, old, &bits, err))
            return false;
        ext_block_put(ext, bits);
    }
    ext_super_set_s_backup_bgs_1(ext->super, r->groups - 1);
    bool ok = old == 0 || (ext_own_blocks(ext, &own, err) && ext_free_unshared(ext, &own, start, len, err));
    ranges_clear(&own);
    return ok;
}

/* The last group of before may have been a short one: the blocks that it gains are free. */
static bool extend_last_group(struct ext_fs *ext, const struct before *b, struct error *err)
{
    struct cache_block *bits;
    struct ext_group group;
    uint32_t last = b->groups - 1, now = ext_group_clusters(ext, last);
    if (now <= b->last_clusters)
        return true;
    if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, last, &bits, err))
        return false;
    ext_bits_fill(bits->data, b->last_clusters, now, false);
    ext_block_put(ext, bits);
    if (!ext_group_get(ext, last, &group, err))
        return false;
    ext_group_set_free_blocks_count(ext, group.raw,
                                    ext_group_free_blocks_count(ext, group.raw) + (now - b->last_clusters));
    ext_group_dirty(ext, &group);
    ext_group_put(ext, &group);
    return ext_flush(ext, err);
}

static bool load_descs(struct ext_make *m, uint32_t blocks, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    m->descs = mem_array(e->desc_blocks, e->block_size, err);
    for (uint32_t i = 0; m->descs && i < blocks; i++)
        if (!device_read(e->dev, ext_offset(e, ext_desc_block(e, i)), m->descs + (size_t)i * e->block_size,
                         e->block_size, err))
            return false;
    return m->descs != NULL;
}

static bool store_descs(struct ext_make *m, uint32_t from, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    for (uint32_t i = from; i < e->desc_blocks; i++)
        if (!interrupt_check(err) ||
            !device_write(e->dev, ext_offset(e, ext_desc_block(e, i)), m->descs + (size_t)i * e->block_size,
                          e->block_size, WRITE_UPDATE, err))
            return false;
    return true;
}

/* Place and write the new groups. */
static bool add_groups(struct ext_fs *ext, const struct before *b, struct error *err)
{
    struct ext_make *m = mem_new(sizeof *m, err);
    if (!m)
        return false;
    m->ext = *ext;
    m->blank = true; /* behind the old end nothing is in use */
    m->plan.flex_groups = ext->flex_groups > 1 ? ext->flex_groups : 0;
    m->plan.stride = (uint32_t)ext_super_s_raid_stride(ext->super);
    m->block = mem_new(ext->block_size, err);
    uint64_t end = ext_group_first_block(ext, b->groups), free_blocks = 0;
    bool ok = m->block && load_descs(m, b->desc_blocks, err) && ranges_add(&m->used, 0, end, err) &&
              ext_make_place(m, b->groups, err) && ext_make_zero_tables(m, b->groups, err);
    uint64_t overhead = ext_super_s_overhead_clusters(ext->super), placed = m->used.total - end;
    for (uint32_t group = b->groups; ok && group < ext->groups; group++)
        ok = interrupt_check(err) && ext_make_finish_group(m, group, &free_blocks, err);
    ok = ok && store_descs(m, b->groups / ext->descs_per_block, err);
    if (overhead)
        ext_super_set_s_overhead_clusters(ext->super, overhead + (placed >> ext->cluster_bits));
    ranges_clear(&m->used);
    free(m->descs);
    free(m->block);
    free(m);
    return ok;
}

bool ext_resize_inode_renew(struct ext_fs *ext, struct error *err)
{
    struct ext_inode inode;
    if (!ext_has(ext, EXT_RESIZE_INODE))
        return true;
    if (!ext_inode_get(ext, EXT_RESIZE_INO, &inode, err))
        return false;
    uint64_t dind = load_le32(ext_inode_i_block(inode.raw) + (size_t)4 * 13);
    ext_inode_put(ext, &inode);
    if (!ext_blocks_valid(ext, dind, 1))
        return damaged(err, ext->dev, 0, "the resize inode has no double indirect block: run fsck");
    return ext_resize_inode_write(ext, dind, err);
}

static bool grow(struct ext_resize *r, struct error *err)
{
    struct ext_fs *ext = r->ext;
    struct before b = {ext->blocks, ext->groups, ext->desc_blocks, ext_group_clusters(ext, ext->groups - 1),
                       (uint32_t)ext_super_s_reserved_gdt_blocks(ext->super)};
    if (!make_desc_room(r, err) || !move_backup_groups(r, &b, err) || !ext_resize_geometry(r, err) ||
        !extend_last_group(ext, &b, err))
        return false;
    if (r->groups > b.groups && !add_groups(ext, &b, err))
        return false;
    cache_drop(ext->cache);
    return ext_resize_inode_renew(ext, err) && ext_resize_counts(ext, err) && ext_flush(ext, err) &&
           ext_backup_supers(ext, err) && ext_backup_descs(ext, err);
}

/* ---- the driver's operations ---- */

bool ext_resize(struct fs *fs, uint64_t size, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_resize r = {.ext = ext};
    if (!ext_prepare(ext, err))
        return false;
    if (!plan(&r, MIN_OF(size, fs->device->size) >> ext->block_bits, err))
        return false;
    bool ok = true;
    if (r.blocks > ext->blocks)
        ok = grow(&r, err);
    else if (r.blocks < ext->blocks)
        ok = ext_resize_shrink(&r, err);
    return ok;
}

/* Blocks that `groups` groups need for themselves. */
static uint64_t overhead_of(const struct ext_fs *ext, uint64_t groups)
{
    uint64_t blocks = groups * (2 + (uint64_t)ext->table_blocks),
             descs = div_up(groups, ext->descs_per_block);
    for (uint64_t i = 0; i < groups; i++) {
        if (ext_group_has_super(ext, (uint32_t)i))
            blocks += 1;
        if (ext_has(ext, EXT_META_BG))
            blocks += ext_group_desc_blocks(ext, (uint32_t)i);
        else if (ext_group_has_super(ext, (uint32_t)i))
            blocks += descs + ext_super_s_reserved_gdt_blocks(ext->super);
    }
    if (ext_has(ext, EXT_SPARSE_SUPER2) &&
        ext_super_s_backup_bgs_1(ext->super) >= groups) /* it follows the end */
        blocks += 1 + descs + ext_super_s_reserved_gdt_blocks(ext->super);
    return round_up(blocks, (uint64_t)1 << ext->cluster_bits);
}

bool ext_min_size(struct fs *fs, uint64_t *size, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    (void)err;
    uint64_t in_use = ext->blocks - MIN_OF(ext_free_blocks(ext), ext->blocks);
    uint64_t own = MIN_OF(overhead_of(ext, ext->groups), in_use), data = in_use - own;
    uint64_t inodes = ext->inodes - MIN_OF(ext_super_s_free_inodes_count(ext->super), ext->inodes);
    uint64_t groups = MAX_OF(div_up(inodes, ext->inodes_per_group), 1);
    /* Files that are cut into more pieces need more blocks for their trees,
     * and big tables some room to move. */
    uint64_t slack = data / 256 + 16 * groups + ext->groups + 64;
    while (groups < ext->groups && groups * ext->blocks_per_group < data + slack + overhead_of(ext, groups))
        groups++;
    uint64_t blocks = data + slack + overhead_of(ext, groups) + ext->first_data_block;
    uint64_t floor = ext_group_first_block(ext, (uint32_t)groups - 1) +
                     ext_resize_overhead(ext, (uint32_t)groups - 1, ext->desc_blocks) + 50;
    blocks = MIN_OF(MAX_OF(blocks, floor), ext->blocks);
    *size = ext_offset(ext, round_up(blocks, (uint64_t)1 << ext->cluster_bits));
    return true;
}
