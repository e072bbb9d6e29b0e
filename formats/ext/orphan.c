/*
 * Orphans: inodes that were to be deleted or truncated when the volume was last in use. They are a list
 * through i_dtime that begins in the superblock ("Orphan List"), or the entries of a file of their own
 * ("Orphan File").
 */
#include "ext.h"

#include "alloc.h"

#include <stdlib.h>

struct orphans {
    struct ext_fs *ext;
    unsigned *deleted, *truncated;
    uint8_t *bits; /* one bitmap */
    bool damaged;  /* something in the list or file made no sense: for fsck */
};

static bool in_use(struct orphans *o, uint32_t ino, bool *used, struct error *err)
{
    struct ext_fs *ext = o->ext;
    *used = false;
    if (ino < ext->first_ino || ino > ext->inodes)
        return true;
    if (!ext_bitmap_read(ext, EXT_INODE_BITMAP, ext_group_of_inode(ext, ino), o->bits, err))
        return false;
    *used = ext_bit(o->bits, (ino - 1) % ext->inodes_per_group);
    return true;
}

/* Delete it (no links left) or free what lies behind its size. *next: what i_dtime said. */
static bool process(struct orphans *o, uint32_t ino, uint32_t *next, struct error *err)
{
    struct ext_fs *ext = o->ext;
    struct ext_inode inode;
    bool used;
    *next = 0;
    if (!in_use(o, ino, &used, err))
        return false;
    if (!used) {
        o->damaged = true;
        return true;
    }
    if (!ext_inode_get(ext, ino, &inode, err))
        return false;
    bool ok = true;
    *next = (uint32_t)ext_inode_i_dtime(inode.raw);
    ext_inode_set_i_dtime(inode.raw, 0);
    ext_inode_dirty(ext, &inode);
    if (ext_inode_i_links_count(inode.raw) == 0) {
        ok = ext_inode_delete(ext, &inode, err);
        ++*o->deleted;
    } else if (ext_inode_has_blocks(ext, inode.raw)) {
        uint64_t first = div_up(ext_inode_size(ext, inode.raw), ext->block_size);
        ok = ext_map_remove(ext, &inode, first, ext_map_max_block(ext, &inode), err);
        ++*o->truncated;
    }
    ext_inode_put(ext, &inode);
    return ok || because(err, "orphaned inode %u", ino);
}

static bool process_list(struct orphans *o, struct error *err)
{
    struct ext_fs *ext = o->ext;
    uint32_t ino = (uint32_t)ext_super_s_last_orphan(ext->super);
    if (ino == 0)
        return true;
    for (uint32_t steps = 0; ino != 0 && !o->damaged && steps <= ext->inodes; steps++)
        if (!interrupt_check(err) || !process(o, ino, &ino, err))
            return false;
    ext_super_set_s_last_orphan(ext->super, 0);
    ext_super_changed(ext);
    return true;
}

static bool process_block(struct orphans *o, const struct ext_inode *file, uint64_t at, struct error *err)
{
    struct ext_fs *ext = o->ext;
    struct cache_block *block;
    if (!ext_block_get(ext, at, EXT_TAG_ORPHANS, ext_inode_owner(file), &block, err))
        return false;
    uint32_t room = ext->block_size - EXT_ORPHAN_TAIL_SIZE;
    const uint8_t *tail = block->data + room;
    uint32_t seed = ext_inode_seed(ext, file->ino, (uint32_t)ext_inode_i_generation(file->raw));
    bool ok = true, changed = false;
    if (ext_ob_ob_magic(tail) != EXT_ORPHAN_MAGIC ||
        (ext->has_csum && ext_ob_ob_checksum(tail) != ext_orphan_csum(ext, seed, at, block->data)))
        ok = damaged(err, ext->dev, ext_offset(ext, at),
                     "block of the orphan file: magic or checksum is wrong");
    for (uint32_t i = 0; ok && i < room; i += 4) {
        uint32_t ino = load_le32(block->data + i), ignored;
        if (ino == 0)
            continue;
        ok = process(o, ino, &ignored, err);
        store_le32(block->data + i, 0);
        changed = true;
    }
    if (changed)
        ext_block_dirty(ext, block);
    ext_block_put(ext, block);
    return ok;
}

static bool process_file(struct orphans *o, struct error *err)
{
    struct ext_fs *ext = o->ext;
    uint32_t ino = (uint32_t)ext_super_s_orphan_file_inum(ext->super);
    struct ext_inode file;
    if (!ext_has(ext, EXT_ORPHAN_FILE) || !ext_has(ext, EXT_ORPHAN_PRESENT))
        return true;
    if (!ext_inode_live(ext, ino, &file, err))
        return because(err, "orphan file");
    uint64_t blocks = ext_inode_size(ext, file.raw) / ext->block_size, at = 0;
    bool ok = true;
    while (ok && at < blocks) {
        struct ext_mapping m;
        ok = ext_map(ext, &file, at, &m, err);
        for (uint64_t i = 0; ok && m.start && i < m.len && at + i < blocks; i++)
            ok = interrupt_check(err) && process_block(o, &file, m.start + i, err);
        at += ok ? m.len : 0;
    }
    ext_inode_put(ext, &file);
    if (ok)
        ext_set_feature(ext, EXT_ORPHAN_PRESENT, false);
    return ok;
}

bool ext_orphans_process(struct ext_fs *ext, unsigned *deleted, unsigned *truncated, struct error *err)
{
    struct orphans o = {.ext = ext, .deleted = deleted, .truncated = truncated};
    *deleted = *truncated = 0;
    o.bits = mem_new(ext->block_size, err);
    bool ok = o.bits && process_list(&o, err) && process_file(&o, err);
    free(o.bits);
    if (ok && o.damaged) {
        ext_super_set_s_state(ext->super, ext_super_s_state(ext->super) | EXT_STATE_ERROR);
        ext_super_changed(ext);
    }
    return ok;
}
