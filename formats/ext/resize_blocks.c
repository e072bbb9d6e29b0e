/* Moving blocks of inodes out of the way. */
#include "check.h"
#include "extent.h"
#include "resize.h"

#include "alloc.h"

#include <stdlib.h>

struct move {
    struct ext_fs *ext;
    uint32_t groups;             /* whose inodes are asked */
    const struct ranges *doomed; /* blocks to be emptied */
    struct ext_tally xattrs;     /* attribute blocks moved: old to new (count: high half, value: low half) */
    uint8_t *buffer;             /* EXT_COPY_BYTES */
    uint64_t goal;               /* block after the last one taken */
    uint64_t old_cluster, new_cluster; /* +1; moved last: bigalloc files share clusters between runs */
    struct ext_inode *inode;
};

static bool doomed(const struct move *m, uint64_t block)
{
    return ranges_contains(m->doomed, block, 1);
}

static bool take(struct move *m, uint64_t want, struct ext_run *run, struct error *err)
{
    if (!ext_blocks_alloc(m->ext, m->goal, want, run, err))
        return false;
    m->goal = MIN_OF(run->start + run->len, m->ext->blocks - 1);
    return true;
}

bool ext_copy_blocks(struct ext_fs *ext, uint64_t from, uint64_t to, uint64_t len, uint8_t *buffer,
                     struct error *err)
{
    uint64_t left = ext_offset(ext, len), source = ext_offset(ext, from), target = ext_offset(ext, to);
    enum write_class write_class = ext_write_class(ext, to, len);
    cache_forget_range(ext->cache, target, left);
    while (left > 0) {
        size_t n = (size_t)MIN_OF(left, EXT_COPY_BYTES);
        if (!interrupt_check(err) || !device_read(ext->dev, source, buffer, n, err) ||
            !device_write(ext->dev, target, buffer, n, write_class, err))
            return false;
        source += n;
        target += n;
        left -= n;
    }
    return true;
}

static bool copy(struct move *m, uint64_t from, uint64_t to, uint64_t len, struct error *err)
{
    return ext_copy_blocks(m->ext, from, to, len, m->buffer, err);
}

/* A metadata block with its tag at a new place; what the old one holds is given up. */
static bool move_cached(struct move *m, uint64_t from, uint64_t to, enum ext_tag tag, uint64_t owner,
                        struct error *err)
{
    struct ext_fs *ext = m->ext;
    struct cache_block *old, *fresh;
    if (!ext_block_get(ext, from, tag, owner, &old, err))
        return false;
    bool ok = ext_block_new(ext, to, tag, owner, &fresh, err);
    if (ok) {
        memcpy(fresh->data, old->data, ext->block_size);
        ext_block_dirty(ext, fresh);
        ext_block_put(ext, fresh);
    }
    ext_block_put(ext, old);
    cache_forget(ext->cache, ext_offset(ext, from));
    return ok;
}

/* ---- extent trees ---- */

/* Nodes first: after that the tree can be changed by the ordinary functions. */
static bool move_nodes(struct move *m, uint8_t *node, struct cache_block *block, unsigned depth,
                       struct error *err)
{
    struct ext_fs *ext = m->ext;
    uint64_t owner = ext_inode_owner(m->inode);
    for (uint32_t i = 0; depth > 0 && i < ext_eh_eh_entries(node); i++) {
        uint8_t *entry = node + (size_t)EXT_EXTENT_ENTRY * (i + 1);
        uint64_t at = ext_ei_ei_leaf_lo(entry) | ext_ei_ei_leaf_hi(entry) << 32;
        struct cache_block *child;
        struct ext_run run;
        if (doomed(m, at)) {
            if (!take(m, 1, &run, err) || !move_cached(m, at, run.start, EXT_TAG_EXTENTS, owner, err))
                return false;
            at = run.start;
            ext_ei_set_ei_leaf_lo(entry, (uint32_t)at);
            ext_ei_set_ei_leaf_hi(entry, at >> 32);
            if (block)
                ext_block_dirty(ext, block);
            else
                ext_inode_dirty(ext, m->inode);
        }
        if (!ext_block_get(ext, at, EXT_TAG_EXTENTS, owner, &child, err))
            return false;
        bool ok =
            ext_eh_eh_magic(child->data) == EXT_EXTENT_MAGIC && ext_eh_eh_depth(child->data) == depth - 1 &&
                    ext_eh_eh_entries(child->data) <= ext->block_size / EXT_EXTENT_ENTRY - 1
                ? move_nodes(m, child->data, child, depth - 1, err)
                : damaged(err, ext->dev, child->off, "inode %u: an extent node is damaged", m->inode->ino);
        ext_block_put(ext, child);
        if (!ok)
            return false;
    }
    return true;
}

/* Where a doomed run of one file goes; with bigalloc a part of its cluster may have moved already. */
static bool find_place(struct move *m, const struct ext_mapping *run, uint64_t *start, uint64_t *len,
                       struct error *err)
{
    uint64_t mask = ((uint64_t)1 << m->ext->cluster_bits) - 1, skip = run->start & mask,
             cluster = run->start & ~mask;
    struct ext_run taken;
    if (skip && cluster + 1 == m->old_cluster) {
        *start = m->new_cluster - 1 + skip;
        *len = MIN_OF(run->len, mask + 1 - skip);
        return true;
    }
    if (!take(m, run->len + skip, &taken, err))
        return false;
    *start = taken.start + skip;
    *len = MIN_OF(taken.len - skip, run->len);
    uint64_t last = run->start + *len - 1;
    m->old_cluster = (last & ~mask) + 1;
    m->new_cluster = ((*start + *len - 1) & ~mask) + 1;
    return true;
}

static bool mark_orphans(struct move *m, uint64_t start, uint64_t len, struct error *err)
{
    for (uint64_t i = 0; i < len; i++) {
        struct cache_block *block;
        if (!ext_block_get(m->ext, start + i, EXT_TAG_ORPHANS, ext_inode_owner(m->inode), &block, err))
            return false;
        ext_block_dirty(m->ext, block);
        ext_block_put(m->ext, block);
    }
    return true;
}

static bool move_run(struct move *m, struct ext_mapping run, struct error *err)
{
    struct ext_fs *ext = m->ext;
    while (run.len > 0) {
        uint64_t start = 0, len = 0;
        struct ext_mapping cut;
        if (!find_place(m, &run, &start, &len, err) ||
            (!run.unwritten && !copy(m, run.start, start, len, err)) ||
            !ext_extent_cut(ext, m->inode, run.block, run.block + len, &cut, err))
            return false;
        if (cut.len != len || cut.start != run.start)
            return damaged(err, ext->dev, 0, "inode %u: its extents changed while they were moved",
                           m->inode->ino);
        cut.start = start;
        if (!ext_extent_insert(ext, m->inode, &cut, err))
            return false;
        if (m->inode->ino == ext_super_s_orphan_file_inum(ext->super) && !mark_orphans(m, start, len, err))
            return false;
        run.block += len;
        run.start += len;
        run.len -= len;
    }
    return true;
}

static bool move_extents(struct move *m, struct error *err)
{
    struct ext_fs *ext = m->ext;
    uint8_t *root = ext_inode_i_block(m->inode->raw);
    uint64_t block = 0;
    if (ext_eh_eh_depth(root) > EXT_EXTENT_MAX_DEPTH || ext_eh_eh_entries(root) > 4)
        return damaged(err, ext->dev, 0, "inode %u: its extent tree is damaged", m->inode->ino);
    if (!move_nodes(m, root, NULL, (unsigned)ext_eh_eh_depth(root), err))
        return false;
    while (block <= UINT32_MAX) {
        struct ext_mapping run;
        struct range bad;
        if (!ext_map(ext, m->inode, block, &run, err))
            return false;
        uint64_t next = block + run.len;
        if (run.start && ranges_next(m->doomed, run.start, &bad) && bad.start < run.start + run.len) {
            uint64_t end = MIN_OF(bad.start + bad.len, run.start + run.len), skip = bad.start - run.start;
            struct ext_mapping piece = {block + skip, bad.start, end - bad.start, run.unwritten};
            next = piece.block + piece.len;
            if (!move_run(m, piece, err))
                return false;
        }
        if (next <= block || next > UINT32_MAX)
            break;
        block = next;
    }
    return true;
}

/* ---- block maps ---- */

static bool move_pointer(struct move *m, uint8_t *slot, unsigned depth, bool *changed, struct error *err)
{
    struct ext_fs *ext = m->ext;
    uint64_t at = load_le32(slot);
    struct ext_run run;
    struct cache_block *block;
    *changed = false;
    if (at == 0)
        return true;
    if (!ext_blocks_valid(ext, at, 1))
        return damaged(err, ext->dev, 0, "inode %u: block %llu of its map lies outside", m->inode->ino,
                       (unsigned long long)at);
    if (doomed(m, at)) {
        if (!take(m, 1, &run, err) ||
            !(depth ? move_cached(m, at, run.start, EXT_TAG_NONE, 0, err) : copy(m, at, run.start, 1, err)))
            return false;
        at = run.start;
        store_le32(slot, (uint32_t)at);
        *changed = true;
    }
    if (depth == 0)
        return m->inode->ino != ext_super_s_orphan_file_inum(ext->super) || !*changed ||
               mark_orphans(m, at, 1, err);
    if (!ext_block_get(ext, at, EXT_TAG_NONE, 0, &block, err))
        return false;
    bool ok = true, dirty = false;
    for (uint32_t i = 0; ok && i < ext->block_size / 4; i++) {
        bool moved;
        ok = move_pointer(m, block->data + (size_t)4 * i, depth - 1, &moved, err);
        dirty = dirty || moved;
    }
    if (dirty)
        ext_block_dirty(ext, block);
    ext_block_put(ext, block);
    return ok;
}

static bool move_map(struct move *m, struct error *err)
{
    for (unsigned i = 0; i < EXT_N_BLOCKS; i++) {
        bool changed;
        if (!interrupt_check(err) || !move_pointer(m, ext_inode_i_block(m->inode->raw) + (size_t)4 * i,
                                                   i < EXT_NDIR ? 0 : i - EXT_NDIR + 1, &changed, err))
            return false;
        if (changed)
            ext_inode_dirty(m->ext, m->inode);
    }
    return true;
}

/* ---- inodes ---- */

static bool move_acl(struct move *m, struct error *err)
{
    struct ext_fs *ext = m->ext;
    uint64_t at = ext_inode_acl_block(ext, m->inode->raw);
    struct ext_run run;
    if (at == 0 || !doomed(m, at))
        return true;
    struct ext_tally_slot *slot = ext_tally_slot(&m->xattrs, at, err);
    if (!slot)
        return false;
    if (slot->count == 0 && slot->value == 0) {
        if (!take(m, 1, &run, err) || !move_cached(m, at, run.start, EXT_TAG_XATTR, 0, err))
            return false;
        slot->count = (uint32_t)(run.start >> 32);
        slot->value = (uint32_t)run.start;
    }
    ext_inode_set_acl_block(ext, m->inode->raw, (uint64_t)slot->count << 32 | slot->value);
    ext_inode_dirty(ext, m->inode);
    return true;
}

/* The superblock keeps a copy of the journal's map. */
static void copy_journal_map(struct ext_fs *ext, const struct ext_inode *inode)
{
    uint8_t *copy = ext_super_s_jnl_blocks(ext->super);
    if (inode->ino != ext_super_s_journal_inum(ext->super) || ext_super_s_jnl_backup_type(ext->super) != 1)
        return;
    memcpy(copy, ext_inode_i_block(inode->raw), EXT_I_BLOCK_SIZE);
    ext_super_changed(ext);
}

/* Of what inode 7 lists only the double indirect block is its own; the rest is reserved in its place. */
static bool move_reserve(struct move *m, struct error *err)
{
    struct ext_fs *ext = m->ext;
    uint8_t *slot = ext_inode_i_block(m->inode->raw) + (size_t)4 * 13;
    uint64_t at = load_le32(slot);
    struct ext_run run;
    if (!ext_has(ext, EXT_RESIZE_INODE) || !ext_blocks_valid(ext, at, 1) || !doomed(m, at))
        return true;
    if (!take(m, 1, &run, err) || !move_cached(m, at, run.start, EXT_TAG_NONE, 0, err))
        return false;
    store_le32(slot, (uint32_t)run.start);
    ext_inode_dirty(ext, m->inode);
    return true;
}

static bool move_inode(struct move *m, uint32_t ino, struct error *err)
{
    struct ext_fs *ext = m->ext;
    struct ext_inode inode;
    if (ino == EXT_BAD_INO)
        return true;
    if (!ext_inode_get(ext, ino, &inode, err))
        return false;
    m->inode = &inode;
    m->old_cluster = 0;
    m->goal = ext_inode_goal(ext, ino);
    bool ok = move_acl(m, err);
    if (ino == EXT_RESIZE_INO)
        ok = ok && move_reserve(m, err);
    else if (ok && ext_inode_has_blocks(ext, inode.raw))
        ok = ext_inode_flag(inode.raw, EXT_FL_EXTENTS) ? move_extents(m, err) : move_map(m, err);
    copy_journal_map(ext, &inode);
    ext_inode_put(ext, &inode);
    return ok || because(err, "inode %u", ino);
}

/* ---- all of them ---- */

static bool move_mmp(struct move *m, struct error *err)
{
    struct ext_fs *ext = m->ext;
    uint64_t at = ext_has(ext, EXT_MMP) ? ext_super_s_mmp_block(ext->super) : 0;
    struct ext_run run;
    if (at == 0 || !doomed(m, at))
        return true;
    if (!take(m, 1, &run, err) || !move_cached(m, at, run.start, EXT_TAG_MMP, 0, err))
        return false;
    ext_super_set_s_mmp_block(ext->super, run.start);
    ext_super_changed(ext);
    return true;
}

static bool move_files(struct move *m, struct error *err)
{
    struct ext_fs *ext = m->ext;
    uint8_t *bits = mem_new(ext->block_size, err);
    bool ok = bits != NULL;
    for (uint32_t group = 0; ok && group < m->groups; group++) {
        uint32_t first = group * ext->inodes_per_group + 1, at = 0;
        ok = ext_bitmap_read(ext, EXT_INODE_BITMAP, group, bits, err);
        while (ok && (at = ext_bits_next_set(bits, at, ext->inodes_per_group)) < ext->inodes_per_group) {
            ok = interrupt_check(err) && move_inode(m, first + at, err);
            at++;
        }
    }
    free(bits);
    return ok && move_mmp(m, err) && ext_flush(ext, err);
}

bool ext_resize_move_files(struct ext_fs *ext, uint32_t groups, const struct ranges *doomed,
                           struct error *err)
{
    struct move m = {.ext = ext, .groups = groups, .doomed = doomed};
    m.buffer = mem_new(EXT_COPY_BYTES, err);
    bool ok = m.buffer && ext_flush(ext, err) && move_files(&m, err);
    ext_tally_free(&m.xattrs);
    free(m.buffer);
    return ok;
}
