/*
 * Features that decide where copies of the superblock and the descriptors lie, and how wide descriptors are:
 * 64bit, meta_bg, resize_inode, sparse_super, sparse_super2. What is in the way of the new places moves;
 * blocks that are needed no more become free.
 */
#include "tune.h"

#include "check.h"
#include "mkfs.h"
#include "relocate.h"
#include "resize.h"

#include "alloc.h"

#include <stdlib.h>

enum { WIDE_DESC = 64 };

struct relayout {
    struct ext_fs *ext;
    struct ext_fs *then; /* superblock and geometry as they are to be; nothing is read by it */
    struct ext_relocation rel;
    struct ranges old;  /* copies as they are, and all that moves */
    size_t desc_stride; /* bytes of each of */
    uint8_t *descs;     /* all descriptors */
};

/* ---- the plan ---- */

static bool make_then(struct relayout *l, const uint8_t *super, struct error *err)
{
    l->then = mem_new(sizeof *l->then, err);
    if (!l->then)
        return false;
    l->then->dev = l->ext->dev;
    memcpy(l->then->super, super, EXT_SUPER_SIZE);
    ext_super_set_s_checksum(l->then->super, ext_super_csum(l->then->super));
    return ext_super_decode(l->then, l->then->super, err);
}

/*
 * Blocks that are copies then and are not now must be emptied. A bitmap that was never written follows from
 * where the copies lie: it is written before they move.
 */
static bool plan_group(struct relayout *l, uint32_t group, struct error *err)
{
    struct ext_fs *ext = l->ext;
    struct cache_block *bits;
    uint64_t first = ext_group_first_block(ext, group), now = ext_group_copies(ext, group),
             then = ext_group_copies(l->then, group);
    if (now == then)
        return true;
    if (then > ext->blocks_per_group)
        return fail(err, E_NOSPACE, "the descriptors do not fit into a group");
    if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, group, &bits, err))
        return false;
    ext_block_put(ext, bits);
    return ranges_add(&l->old, first, now, err) &&
           (then < now || ext_relocation_need(&l->rel, first + now, then - now, err));
}

static bool plan(struct relayout *l, struct error *err)
{
    struct ext_fs *ext = l->ext;
    for (uint32_t group = 0; group < ext->groups; group++)
        if (!interrupt_check(err) || !plan_group(l, group, err))
            return false;
    return ext_relocation_plan(&l->rel, err) && ext_own_blocks(ext, &l->old, err);
}

/* ---- descriptors ---- */

static bool load_descs(struct relayout *l, struct error *err)
{
    struct ext_fs *ext = l->ext;
    l->desc_stride = MAX_OF(ext->desc_size, l->then->desc_size);
    l->descs = mem_array(ext->groups, l->desc_stride, err);
    for (uint32_t i = 0; l->descs && i < ext->groups; i++) {
        struct ext_group group;
        if (!interrupt_check(err) || !ext_group_get(ext, i, &group, err))
            return false;
        memcpy(l->descs + i * l->desc_stride, group.raw, MIN_OF(ext->desc_size, l->then->desc_size));
        ext_group_put(ext, &group);
    }
    return l->descs != NULL;
}

static bool store_descs(struct relayout *l, struct error *err)
{
    struct ext_fs *ext = l->ext;
    uint8_t *block = mem_new(ext->block_size, err);
    bool ok = block != NULL;
    for (uint32_t i = 0; ok && i < ext->desc_blocks; i++) {
        uint32_t first = i * ext->descs_per_block;
        memset(block, 0, ext->block_size);
        for (uint32_t k = 0; k < ext->descs_per_block && first + k < ext->groups; k++) {
            uint8_t *desc = block + (size_t)k * ext->desc_size;
            memcpy(desc, l->descs + (first + k) * l->desc_stride, ext->desc_size);
            if (ext->group_csum)
                ext_desc_set_bg_checksum(desc, ext_desc_csum(ext, first + k, desc));
        }
        ok = interrupt_check(err) && device_write(ext->dev, ext_offset(ext, ext_desc_block(ext, i)), block,
                                                  ext->block_size, WRITE_UPDATE, err);
    }
    free(block);
    return ok;
}

/* Wider descriptors hold whole checksums of the bitmaps. */
static bool seal_bitmaps(struct ext_fs *ext, struct error *err)
{
    uint8_t *bits = mem_new(ext->block_size, err);
    bool ok = bits != NULL;
    for (uint32_t i = 0; ok && ext->has_csum && i < ext->groups; i++) {
        struct ext_group group;
        ok = interrupt_check(err) && ext_group_get(ext, i, &group, err);
        if (!ok)
            break;
        for (int kind = EXT_BLOCK_BITMAP; ok && kind <= EXT_INODE_BITMAP; kind++) {
            uint64_t uninit = kind == EXT_BLOCK_BITMAP ? EXT_BG_BLOCK_UNINIT : EXT_BG_INODE_UNINIT;
            if (ext_desc_bg_flags(group.raw) & uninit)
                continue;
            ok = ext_bitmap_read_raw(ext, (enum ext_bitmap_kind)kind, i, bits, err);
            if (ok)
                ext_group_set_bitmap_csum(ext, group.raw, (enum ext_bitmap_kind)kind,
                                          ext_bitmap_csum(ext, (enum ext_bitmap_kind)kind, bits));
        }
        ext_group_dirty(ext, &group);
        ext_group_put(ext, &group);
    }
    free(bits);
    return ok;
}

/* ---- carrying it out ---- */

/* Fields of the superblock that decide the layout; all others may have changed while blocks moved. */
static bool switch_super(struct relayout *l, struct error *err)
{
    struct ext_fs *ext = l->ext;
    uint8_t *s = ext->super;
    const uint8_t *t = l->then->super;
    cache_drop(ext->cache);
    ext_super_set_s_feature_compat(s, ext_super_s_feature_compat(t));
    ext_super_set_s_feature_incompat(s, ext_super_s_feature_incompat(t));
    ext_super_set_s_feature_ro_compat(s, ext_super_s_feature_ro_compat(t));
    ext_super_set_s_desc_size(s, ext_super_s_desc_size(t));
    ext_super_set_s_first_meta_bg(s, ext_super_s_first_meta_bg(t));
    ext_super_set_s_reserved_gdt_blocks(s, ext_super_s_reserved_gdt_blocks(t));
    ext_super_set_s_backup_bgs_0(s, ext_super_s_backup_bgs_0(t));
    ext_super_set_s_backup_bgs_1(s, ext_super_s_backup_bgs_1(t));
    ext_super_set_s_overhead_clusters(s, 0); /* computed when needed */
    if (!ext_has(l->then, EXT_64BIT)) {
        ext_super_set_s_blocks_count_hi(s, 0);
        ext_super_set_s_r_blocks_count_hi(s, 0);
        ext_super_set_s_free_blocks_count_hi(s, 0);
    }
    ext_super_set_s_checksum(s, l->then->has_csum ? ext_super_csum(s) : 0);
    ext_super_changed(ext);
    return ext_super_decode(ext, s, err);
}

/* Inode 7 as the feature has it now: its list made anew, made from nothing, or emptied. */
static bool renew_resize_inode(struct relayout *l, struct error *err)
{
    struct ext_fs *ext = l->ext;
    struct ext_inode inode;
    struct ext_run run;
    if (!ext_inode_get(ext, EXT_RESIZE_INO, &inode, err))
        return false;
    uint64_t dind = load_le32(ext_inode_i_block(inode.raw) + (size_t)4 * 13);
    bool has = ext_has(ext, EXT_RESIZE_INODE), had = ext_blocks_valid(ext, dind, 1);
    if (!has) {
        memset(inode.raw, 0, ext->inode_size);
        ext_inode_dirty(ext, &inode);
    }
    ext_inode_put(ext, &inode);
    if (has && had)
        return ext_resize_inode_write(ext, dind, err);
    if (has)
        return ext_blocks_alloc(ext, ext->first_data_block, 1, &run, err) &&
               ext_resize_inode_write(ext, run.start, err);
    uint64_t mask = ((uint64_t)1 << ext->cluster_bits) - 1;
    return !had || ext_blocks_free(ext, dind & ~mask, mask + 1, err);
}

static bool carry_out(struct relayout *l, struct error *err)
{
    struct ext_fs *ext = l->ext;
    bool widened = l->then->desc_size > ext->desc_size;
    return ext_relocation_run(&l->rel, err) && load_descs(l, err) && switch_super(l, err) &&
           store_descs(l, err) && (!widened || seal_bitmaps(ext, err)) &&
           ext_relocation_free(&l->rel, &l->old, err) && renew_resize_inode(l, err) &&
           ext_resize_counts(ext, err) && ext_flush(ext, err) && ext_backup_supers(ext, err) &&
           ext_backup_descs(ext, err);
}

/* The volume as `super` has it; other fields than those of the layout are taken from the one in use. */
static bool relayout(struct ext_fs *ext, const uint8_t *super, struct error *err)
{
    struct relayout l = {.ext = ext};
    bool ok = ext_flush(ext, err) && ext_relocation_begin(ext, &l.rel, err) && make_then(&l, super, err) &&
              plan(&l, err) && carry_out(&l, err);
    ext_relocation_end(&l.rel);
    ranges_clear(&l.old);
    free(l.then);
    free(l.descs);
    return ok;
}

/* ---- the features ---- */

bool ext_tune_64bit(struct ext_fs *ext, bool on, struct error *err)
{
    uint8_t super[EXT_SUPER_SIZE];
    uint32_t size = on ? WIDE_DESC : EXT_GOOD_OLD_DESC_SIZE, reserved, kept;
    uint32_t blocks = (uint32_t)div_up(ext->groups, ext->block_size / size);
    if (!on && ext->blocks > UINT32_MAX)
        return fail(err, E_UNSUPPORTED, "the volume has 2^32 blocks or more");
    if (on && !ext_has(ext, EXT_EXTENTS))
        return fail(err, E_UNSUPPORTED, "block maps do not reach beyond 2^32 blocks: add extent before it");
    memcpy(super, ext->super, sizeof super);
    ext_super_feature(super, EXT_64BIT, on);
    ext_super_set_s_desc_size(super, on ? WIDE_DESC : 0);
    if (ext_super_s_first_meta_bg(super) > blocks)
        ext_super_set_s_first_meta_bg(super, blocks);
    if (ext_has(ext,
                EXT_RESIZE_INODE)) { /* what descriptors and their reserve take together stays the same */
        reserved = (uint32_t)ext_super_s_reserved_gdt_blocks(super) + ext->desc_blocks;
        kept = reserved > blocks ? MIN_OF(reserved - blocks, ext->block_size / 4) : 0;
        ext_super_set_s_reserved_gdt_blocks(super, kept);
    }
    return relayout(ext, super, err);
}

bool ext_tune_meta_bg(struct ext_fs *ext, bool on, struct error *err)
{
    uint8_t super[EXT_SUPER_SIZE];
    if (on && ext_has(ext, EXT_RESIZE_INODE))
        return fail(err, E_UNSUPPORTED,
                    "resize_inode and meta_bg exclude each other: add ^resize_inode before it");
    memcpy(super, ext->super, sizeof super);
    ext_super_feature(super, EXT_META_BG, on);
    ext_super_set_s_first_meta_bg(super, 0);
    return relayout(ext, super, err);
}

bool ext_tune_resize_inode(struct ext_fs *ext, bool on, struct error *err)
{
    uint8_t super[EXT_SUPER_SIZE];
    uint32_t most = ext->blocks_per_group / 4 * 3, reserved = ext_default_reserved_descs(ext, 0);
    if (on && ext_has(ext, EXT_META_BG))
        return fail(err, E_UNSUPPORTED,
                    "meta_bg and resize_inode exclude each other: add ^meta_bg before it");
    if (on && !ext_has(ext, EXT_SPARSE_SUPER) && !ext_has(ext, EXT_SPARSE_SUPER2))
        return fail(err, E_UNSUPPORTED, "resize_inode needs sparse_super: add sparse_super before it");
    if (on && ext->blocks > UINT32_MAX)
        return fail(err, E_UNSUPPORTED, "its list holds no blocks beyond 2^32: add meta_bg to grow");
    if (on && ext->desc_blocks >= most)
        return fail(err, E_UNSUPPORTED, "the descriptors leave no room in a group: add meta_bg to grow");
    memcpy(super, ext->super, sizeof super);
    ext_super_feature(super, EXT_RESIZE_INODE, on);
    ext_super_set_s_reserved_gdt_blocks(super, on ? MIN_OF(reserved, most - ext->desc_blocks) : 0);
    return relayout(ext, super, err);
}

bool ext_tune_sparse_super(struct ext_fs *ext, bool on, struct error *err)
{
    uint8_t super[EXT_SUPER_SIZE];
    memcpy(super, ext->super, sizeof super);
    ext_super_feature(super, EXT_SPARSE_SUPER, on);
    return relayout(ext, super, err);
}

/* The two copies lie in the second group and in the last one, as mke2fs has them. */
bool ext_tune_sparse_super2(struct ext_fs *ext, bool on, struct error *err)
{
    uint8_t super[EXT_SUPER_SIZE];
    memcpy(super, ext->super, sizeof super);
    ext_super_feature(super, EXT_SPARSE_SUPER2, on);
    ext_super_set_s_backup_bgs_0(super, on && ext->groups > 1 ? 1 : 0);
    ext_super_set_s_backup_bgs_1(super, on && ext->groups > 2 ? ext->groups - 1 : 0);
    return relayout(ext, super, err);
}
