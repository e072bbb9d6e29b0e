/*
 * Inodes of groups that are cut off get other numbers. Their checksums, and those of their tree and directory
 * blocks, follow; then every entry, and every reference to an attribute inode, is put right.
 */
#include "check.h"
#include "dir.h"
#include "resize.h"
#include "xattr.h"

#include "alloc.h"

#include <stdlib.h>
#include <sys/stat.h>

struct renumber {
    struct ext_resize *r;
    struct ext_fs *ext;
    struct ext_tally map; /* old to new number */
    uint32_t next;        /* where the search for a free inode goes on */
    bool values;          /* an attribute inode was among them */
    uint8_t *bits;        /* one bitmap */
};

static uint32_t new_number(const struct renumber *n, uint32_t ino)
{
    const struct ext_tally_slot *slot = ino ? ext_tally_find(&n->map, ino) : NULL;
    return slot ? slot->value : 0;
}

/* ---- new numbers ---- */

static bool find_free(struct renumber *n, uint32_t *ino, struct error *err)
{
    struct ext_fs *ext = n->ext;
    uint32_t per_group = ext->inodes_per_group, end = n->r->groups * per_group;
    while (n->next <= end) {
        uint32_t group = ext_group_of_inode(ext, n->next), index = (n->next - 1) % per_group;
        if (!interrupt_check(err) || !ext_bitmap_read(ext, EXT_INODE_BITMAP, group, n->bits, err))
            return false;
        index = ext_bits_next_clear(n->bits, index, per_group);
        *ino = n->next = group * per_group + index + 1;
        if (index < per_group)
            return true;
    }
    return fail(err, E_NOSPACE, "the inodes of the groups that stay are all in use");
}

struct owned {
    struct renumber *n;
    const struct ext_inode *old;
    uint32_t ino; /* the new one */
    bool directory, orphans;
};

/* Blocks whose checksum knows the inode's number are sealed anew. */
static bool adopt(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    struct owned *o = arg;
    struct ext_fs *ext = o->n->ext;
    uint64_t owner = ext_owner(o->ino, (uint32_t)ext_inode_i_generation(o->old->raw));
    bool extents = ext_inode_flag(o->old->raw, EXT_FL_EXTENTS);
    for (uint64_t i = 0; i < visit->mapping.len; i++) {
        struct cache_block *block;
        if (visit->data ? !o->directory && !o->orphans : !extents)
            return true;
        enum ext_tag tag = !visit->data ? EXT_TAG_EXTENTS : o->orphans ? EXT_TAG_ORPHANS : EXT_TAG_DIR;
        if (!interrupt_check(err) || !ext_block_get(ext, visit->mapping.start + i, tag, owner, &block, err))
            return false;
        if (tag == EXT_TAG_DIR && ext_inode_flag(o->old->raw, EXT_FL_INDEX) &&
            ext_index_counts(ext, block->data))
            block->tag = EXT_TAG_INDEX;
        ext_block_dirty(ext, block);
        ext_block_put(ext, block);
        if (!visit->data)
            break;
    }
    return true;
}

static bool renumber_inode(struct renumber *n, uint32_t old, struct error *err)
{
    struct ext_fs *ext = n->ext;
    struct ext_inode from, to;
    uint32_t ino = 0;
    if (!find_free(n, &ino, err) || !ext_inode_get(ext, old, &from, err))
        return false;
    bool directory = ext_inode_is(from.raw, S_IFDIR);
    struct owned owned = {n, &from, ino, directory, old == ext_super_s_orphan_file_inum(ext->super)};
    bool ok = ext_inode_take(ext, ino, directory, err) && ext_map_walk(ext, &from, adopt, &owned, err) &&
              ext_inode_get_raw(ext, ino, &to, err);
    if (ok) {
        n->values = n->values || ext_inode_flag(from.raw, EXT_FL_EA_INODE);
        memcpy(to.raw, from.raw, ext->inode_size);
        ext_inode_dirty(ext, &to);
        ext_inode_put(ext, &to);
        struct ext_tally_slot *slot = ext_tally_slot(&n->map, old, err);
        ok = slot != NULL;
        if (ok)
            slot->value = ino;
    }
    ext_inode_put(ext, &from);
    return ok && ext_inode_free(ext, old, directory, err);
}

/* ---- references ---- */

static bool fix_entries(struct renumber *n, uint8_t *bytes, uint32_t len)
{
    bool changed = false;
    for (uint32_t at = 0, step; at + EXT_DIRENT_HEADER <= len; at += step) {
        step = ext_rec_len(n->ext, bytes + at);
        uint32_t ino = new_number(n, (uint32_t)ext_de_inode(bytes + at));
        if (ino) {
            ext_de_set_inode(bytes + at, ino);
            changed = true;
        }
        if (step < EXT_DIRENT_HEADER || step > len - at)
            break;
    }
    return changed;
}

struct fixing {
    struct renumber *n;
    const struct ext_inode *dir;
};

static bool fix_run(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    struct fixing *f = arg;
    struct ext_fs *ext = f->n->ext;
    for (uint64_t i = 0; visit->data && visit->mapping.start && i < visit->mapping.len; i++) {
        struct cache_block *block;
        if (!interrupt_check(err) ||
            !ext_block_get(ext, visit->mapping.start + i, EXT_TAG_DIR, ext_inode_owner(f->dir), &block, err))
            return false;
        if (ext_inode_flag(f->dir->raw, EXT_FL_INDEX) && ext_index_counts(ext, block->data))
            block->tag = EXT_TAG_INDEX;
        if (fix_entries(f->n, block->data, ext->block_size))
            ext_block_dirty(ext, block);
        ext_block_put(ext, block);
    }
    return true;
}

static bool fix_inline(struct renumber *n, struct ext_inode *dir, struct error *err)
{
    struct ext_inline data;
    if (!ext_inline_get(n->ext, dir, &data, err))
        return false;
    uint32_t parent = new_number(n, load_le32(data.head));
    bool changed = fix_entries(n, data.head + 4, EXT_I_BLOCK_SIZE - 4);
    if (data.tail_len)
        changed = fix_entries(n, data.tail, data.tail_len) || changed;
    if (parent)
        store_le32(data.head, parent);
    if (changed || parent)
        ext_inode_dirty(n->ext, dir);
    return true;
}

static bool fix_values(struct renumber *n, const struct ext_xattr_area *area, bool *changed,
                       struct error *err)
{
    uint8_t *entry = NULL;
    *changed = false;
    for (;;) {
        if (!ext_xattr_next(area, entry, &entry, err))
            return false;
        if (!entry)
            return true;
        uint32_t ino = new_number(n, (uint32_t)ext_xe_e_value_inum(entry));
        if (ino) {
            ext_xe_set_e_value_inum(entry, ino);
            *changed = true;
        }
    }
}

static bool fix_xattrs(struct renumber *n, struct ext_inode *inode, struct error *err)
{
    struct ext_fs *ext = n->ext;
    struct ext_xattr_area area;
    struct cache_block *block;
    uint64_t at = ext_inode_acl_block(ext, inode->raw);
    bool changed;
    if (ext_xattr_body(ext, inode->raw, &area)) {
        if (!fix_values(n, &area, &changed, err))
            return false;
        if (changed)
            ext_inode_dirty(ext, inode);
    }
    if (at == 0)
        return true;
    if (!ext_block_get(ext, at, EXT_TAG_XATTR, 0, &block, err))
        return false;
    area =
        (struct ext_xattr_area){block->data, block->data + EXT_XATTR_HEADER, block->data + ext->block_size};
    bool ok = fix_values(n, &area, &changed, err);
    if (ok && changed)
        ext_block_dirty(ext, block);
    ext_block_put(ext, block);
    return ok;
}

static bool fix_inode(struct renumber *n, uint32_t ino, struct error *err)
{
    struct ext_fs *ext = n->ext;
    struct ext_inode inode;
    if (!ext_inode_get(ext, ino, &inode, err))
        return false;
    bool ok = true;
    if (ext_inode_is(inode.raw, S_IFDIR)) {
        struct fixing f = {n, &inode};
        ok = ext_inode_flag(inode.raw, EXT_FL_INLINE_DATA) ? fix_inline(n, &inode, err)
                                                           : ext_map_walk(ext, &inode, fix_run, &f, err);
    }
    ok = ok && (!n->values || fix_xattrs(n, &inode, err));
    ext_inode_put(ext, &inode);
    return ok || because(err, "inode %u", ino);
}

static void fix_super(struct renumber *n)
{
    uint8_t *s = n->ext->super;
    uint32_t ino = new_number(n, (uint32_t)ext_super_s_orphan_file_inum(s));
    if (ino)
        ext_super_set_s_orphan_file_inum(s, ino);
    ino = new_number(n, (uint32_t)ext_super_s_prj_quota_inum(s));
    if (ino)
        ext_super_set_s_prj_quota_inum(s, ino);
    ino = new_number(n, (uint32_t)ext_super_s_lpf_ino(s));
    if (ino)
        ext_super_set_s_lpf_ino(s, ino);
    ext_super_changed(n->ext);
}

/* ---- all of them ---- */

typedef bool inode_fn(struct renumber *, uint32_t ino, struct error *);

static bool each_inode(struct renumber *n, uint32_t first_group, uint32_t end_group, inode_fn *fn,
                       struct error *err)
{
    struct ext_fs *ext = n->ext;
    uint8_t *bits = mem_new(ext->block_size, err);
    bool ok = bits != NULL;
    for (uint32_t group = first_group; ok && group < end_group; group++) {
        uint32_t first = group * ext->inodes_per_group + 1, at = 0;
        ok = ext_bitmap_read(ext, EXT_INODE_BITMAP, group, bits, err);
        while (ok && (at = ext_bits_next_set(bits, at, ext->inodes_per_group)) < ext->inodes_per_group) {
            ok = interrupt_check(err) && fn(n, first + at, err);
            at++;
        }
    }
    free(bits);
    return ok;
}

bool ext_resize_move_inodes(struct ext_resize *r, struct error *err)
{
    struct ext_fs *ext = r->ext;
    struct renumber n = {.r = r, .ext = ext, .next = ext->first_ino};
    n.bits = mem_new(ext->block_size, err);
    bool ok = n.bits && each_inode(&n, r->groups, ext->groups, renumber_inode, err) && ext_flush(ext, err);
    if (ok && n.map.used > 0) {
        fix_super(&n);
        ok = each_inode(&n, 0, r->groups, fix_inode, err) && ext_flush(ext, err);
        ext_dirs_forget(ext);
    }
    ext_tally_free(&n.map);
    free(n.bits);
    return ok;
}
