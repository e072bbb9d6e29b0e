/*
 * All checksums of a volume anew, after its seed has changed or checksums were switched on or off. Two views
 * of the volume are used: `old` reads and verifies as the volume is, `now` seals as it is to be. Each has a
 * cache of its own; whatever is changed is read raw by `now`, marked, and sealed when it leaves its cache.
 */
#include "reseal.h"

#include "alloc.h"

#include <stdlib.h>
#include <sys/stat.h>

struct reseal {
    struct ext_fs *old, *now;
    uint8_t *bits; /* one bitmap */
};

static bool mark(struct reseal *r, uint64_t block, enum ext_tag tag, uint64_t owner, struct error *err)
{
    struct cache_block *b;
    if (!ext_block_get(r->now, block, tag, owner, &b, err))
        return false;
    b->parts = UINT64_MAX;
    ext_block_dirty(r->now, b);
    ext_block_put(r->now, b);
    return true;
}

/* ---- what belongs to one inode ---- */

struct owned {
    struct reseal *r;
    const struct ext_inode *inode;
    bool directory, orphans;
};

static bool mark_dir_block(struct owned *o, uint64_t block, struct error *err)
{
    struct reseal *r = o->r;
    struct cache_block *b;
    if (!ext_block_get(r->now, block, EXT_TAG_DIR, ext_inode_owner(o->inode), &b, err))
        return false;
    if (ext_inode_flag(o->inode->raw, EXT_FL_INDEX) && ext_index_counts(r->now, b->data))
        b->tag = EXT_TAG_INDEX;
    ext_block_dirty(r->now, b);
    ext_block_put(r->now, b);
    return true;
}

/* Without checksums the place of this one is zero. */
static bool mark_orphan_block(struct owned *o, uint64_t block, struct error *err)
{
    struct reseal *r = o->r;
    struct cache_block *b;
    if (!mark(r, block, EXT_TAG_ORPHANS, ext_inode_owner(o->inode), err))
        return false;
    if (r->now->has_csum)
        return true;
    if (!ext_block_get(r->now, block, EXT_TAG_ORPHANS, ext_inode_owner(o->inode), &b, err))
        return false;
    ext_ob_set_ob_checksum(b->data + r->now->block_size - EXT_ORPHAN_TAIL_SIZE, 0);
    ext_block_dirty(r->now, b);
    ext_block_put(r->now, b);
    return true;
}

static bool mark_owned(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    struct owned *o = arg;
    uint64_t owner = ext_inode_owner(o->inode);
    const struct ext_mapping *m = &visit->mapping;
    if (!interrupt_check(err))
        return false;
    if (!visit->data)
        return !ext_inode_flag(o->inode->raw, EXT_FL_EXTENTS) ||
               mark(o->r, m->start, EXT_TAG_EXTENTS, owner, err);
    for (uint64_t i = 0; (o->directory || o->orphans) && i < m->len; i++)
        if (o->directory ? !mark_dir_block(o, m->start + i, err) : !mark_orphan_block(o, m->start + i, err))
            return false;
    return true;
}

/* The inode as `now` sees it; where it lies `old` knows, whose descriptors are sound. */
static bool get_now(struct reseal *r, const struct ext_inode *inode, struct ext_inode *now, struct error *err)
{
    uint64_t block = inode->block->off >> r->now->block_bits;
    if (!ext_block_get(r->now, block, EXT_TAG_INODES, inode->block->owner, &now->block, err))
        return false;
    now->ino = inode->ino;
    now->raw = now->block->data + (inode->raw - inode->block->data);
    return true;
}

static bool reseal_inode(struct reseal *r, uint32_t ino, struct error *err)
{
    struct ext_inode inode, now;
    if (!ext_inode_get(r->old, ino, &inode, err))
        return false;
    bool ok = true, any = !all_zero(inode.raw, r->old->inode_size);
    if (any && ext_inode_i_links_count(inode.raw) != 0) {
        struct owned o = {r, &inode, ext_inode_is(inode.raw, S_IFDIR),
                          ino == ext_super_s_orphan_file_inum(r->old->super)};
        uint64_t acl = ext_inode_acl_block(r->old, inode.raw);
        ok = ext_map_walk(r->old, &inode, mark_owned, &o, err) &&
             (acl == 0 || mark(r, acl, EXT_TAG_XATTR, 0, err));
    }
    if (ok && any && (ok = get_now(r, &inode, &now, err))) {
        if (!r->now->has_csum)
            ext_inode_set_i_checksum_lo(now.raw, 0);
        ext_inode_dirty(r->now, &now);
        ext_inode_put(r->now, &now);
    }
    ext_inode_put(r->old, &inode);
    return ok || because(err, "inode %u", ino);
}

/* ---- groups -------------------------------------------------------------------------------------------- */

static bool reseal_group(struct reseal *r, uint32_t group, struct error *err)
{
    struct ext_fs *old = r->old;
    struct ext_group desc;
    if (!ext_group_get(old, group, &desc, err))
        return false;
    uint64_t unused = old->group_csum ? ext_group_itable_unused(old, desc.raw) : 0;
    bool uninit = old->group_csum && (ext_desc_bg_flags(desc.raw) & EXT_BG_INODE_UNINIT);
    ext_group_put(old, &desc);
    uint32_t count = uninit || unused > old->inodes_per_group ? 0 : old->inodes_per_group - (uint32_t)unused;
    uint32_t first = group * old->inodes_per_group + 1;
    for (uint32_t i = 0; i < count; i++)
        if (!interrupt_check(err) || !reseal_inode(r, first + i, err))
            return false;
    return true;
}

/* Bitmap checksums and the descriptor's own;
 * uninitialised groups stay so where the volume still allows it. */
static bool reseal_desc(struct reseal *r, uint32_t group, uint8_t *desc, struct error *err)
{
    struct ext_fs *now = r->now;
    for (int kind = EXT_BLOCK_BITMAP; now->has_csum && kind <= EXT_INODE_BITMAP; kind++) {
        uint64_t uninit = kind == EXT_BLOCK_BITMAP ? EXT_BG_BLOCK_UNINIT : EXT_BG_INODE_UNINIT;
        if (r->old->group_csum && (ext_desc_bg_flags(desc) & uninit))
            continue;
        if (!ext_bitmap_read(r->old, (enum ext_bitmap_kind)kind, group, r->bits, err))
            return false;
        ext_group_set_bitmap_csum(now, desc, (enum ext_bitmap_kind)kind,
                                  ext_bitmap_csum(now, (enum ext_bitmap_kind)kind, r->bits));
    }
    ext_desc_set_bg_checksum(desc, now->group_csum ? ext_desc_csum(now, group, desc) : 0);
    return true;
}

static bool reseal_descs(struct reseal *r, struct error *err)
{
    struct ext_fs *now = r->now;
    uint8_t *block = mem_new(now->block_size, err);
    bool ok = block != NULL;
    for (uint32_t i = 0; ok && i < now->desc_blocks; i++) {
        uint64_t off = ext_offset(now, ext_desc_block(now, i));
        ok = interrupt_check(err) && device_read(now->dev, off, block, now->block_size, err);
        uint32_t first = i * now->descs_per_block, count = MIN_OF(now->descs_per_block, now->groups - first);
        for (uint32_t k = 0; ok && k < count; k++)
            ok = reseal_desc(r, first + k, block + (size_t)k * now->desc_size, err);
        ok = ok && device_write(now->dev, off, block, now->block_size, WRITE_UPDATE, err);
    }
    free(block);
    return ok;
}

static bool run(struct reseal *r, bool inodes, struct error *err)
{
    struct ext_fs *now = r->now;
    for (uint32_t group = 0; inodes && group < now->groups; group++)
        if (!reseal_group(r, group, err))
            return false;
    uint64_t mmp = ext_has(now, EXT_MMP) ? ext_super_s_mmp_block(now->super) : 0;
    if (inodes && mmp && !mark(r, mmp, EXT_TAG_MMP, 0, err))
        return false;
    return cache_flush(now->cache, err) && reseal_descs(r, err);
}

bool ext_reseal(struct ext_fs *ext, const uint8_t *super, struct error *err)
{
    struct reseal r = {.old = ext};
    uint8_t sealed[EXT_SUPER_SIZE];
    memcpy(sealed, super, sizeof sealed);
    ext_super_set_s_checksum(sealed, ext_super_csum(sealed));
    if (!ext_flush(ext, err))
        return false;
    r.now = mem_new(sizeof *r.now, err);
    r.bits = mem_new(ext->block_size, err);
    bool ok = r.now && r.bits;
    if (ok) {
        r.now->fs.device = r.now->dev = ext->dev;
        memcpy(r.now->super, sealed, sizeof sealed);
        r.now->cache = cache_new(ext->dev, ext->block_size, EXT_CACHE_BYTES, ext_seal, r.now, err);
        ok = r.now->cache && ext_super_decode(r.now, sealed, err);
    }
    bool inodes = ok && (ext->has_csum || r.now->has_csum);
    ok = ok && run(&r, inodes, err);
    if (r.now)
        cache_free(r.now->cache);
    free(r.now);
    free(r.bits);
    if (!ok)
        return because(err, "checksums cannot be made anew");
    cache_drop(ext->cache);
    memcpy(ext->super, sealed, sizeof sealed);
    ext_super_changed(ext);
    return ext_super_decode(ext, ext->super, err) && ext_super_store(ext, err) &&
           ext_backup_supers(ext, err) && ext_backup_descs(ext, err);
}
