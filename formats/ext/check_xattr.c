/* Attributes: behind the inode's fields, in blocks that inodes share, in inodes of their own. */
#include "check.h"
#include "xattr.h"

#include "alloc.h"

#include <stdlib.h>

enum { BLOCK_IS_BAD = UINT32_MAX };

/* Bytes of an area that belong to an entry or a value already, in units of 4. */
struct taken {
    uint8_t bits[EXT_MAX_BLOCK / 4 / 8];
};

static bool take(struct taken *t, uint64_t from, uint64_t len)
{
    uint32_t first = (uint32_t)(from / 4), end = (uint32_t)div_up(from + len, 4);
    if (ext_bits_next_set(t->bits, first, end) < end)
        return false;
    ext_bits_fill(t->bits, first, end, true);
    return true;
}

/* An entry's hash, by either reading of its name's characters; entries inside inodes may have none. */
static bool hash_ok(const uint8_t *entry, const uint8_t *base, bool in_inode)
{
    uint32_t stored = (uint32_t)ext_xe_e_hash(entry);
    if (ext_xe_e_value_inum(entry) != 0 || (in_inode && stored == 0))
        return true;
    const uint8_t *value = base + ext_xe_e_value_offs(entry);
    size_t len = ext_xe_e_value_size(entry);
    return stored == ext_xattr_entry_hash(entry, value, len, false) ||
           stored == ext_xattr_entry_hash(entry, value, len, true);
}

/* Does an entry's value lie in an inode made for values? */
static bool value_inode_ok(struct ext_checker *c, uint32_t ino)
{
    struct ext_inode value;
    struct error ignored;
    if (ino < c->ext->first_ino || ino > c->ext->inodes || !ext_check_inode(c, ino, &value, &ignored))
        return false;
    bool ok = ext_inode_flag(value.raw, EXT_FL_EA_INODE);
    ext_inode_put(c->ext, &value);
    return ok;
}

/* What is wrong with an area; NULL: nothing. */
static const char *area_fault(struct ext_checker *c, const struct ext_xattr_area *area, bool in_inode,
                              struct taken *taken)
{
    struct error ignored;
    uint8_t *entry = NULL;
    memset(taken, 0, sizeof *taken);
    for (;;) {
        if (!ext_xattr_next(area, entry, &entry, &ignored))
            return "an entry or value lies outside";
        if (!entry)
            return NULL;
        uint64_t len = ext_xe_e_value_inum(entry) ? 0 : ext_xe_e_value_size(entry);
        uint64_t at = (uint64_t)(entry - area->base), size = EXT_XATTR_ENTRY_SIZE + ext_xe_e_name_len(entry);
        if (!take(taken, at, size) || (len && !take(taken, ext_xe_e_value_offs(entry), len)))
            return "entries and values overlap";
        if (!hash_ok(entry, area->base, in_inode))
            return "e_hash of an entry is wrong";
        uint32_t inum = (uint32_t)ext_xe_e_value_inum(entry);
        if (inum && !value_inode_ok(c, inum))
            return "a value has no valid inode";
    }
}

/* Count the references to value inodes, and what they add to the owner's blocks. */
static bool count_values(struct ext_checker *c, const struct ext_xattr_area *area, uint64_t *clusters,
                         struct error *err)
{
    uint8_t *entry = NULL;
    for (;;) {
        if (!ext_xattr_next(area, entry, &entry, err))
            return false;
        if (!entry)
            return true;
        if (ext_xe_e_value_inum(entry) == 0)
            continue;
        struct ext_tally_slot *slot = ext_tally_slot(&c->values, ext_xe_e_value_inum(entry), err);
        if (!slot)
            return false;
        slot->count++;
        *clusters += div_up(ext_xe_e_value_size(entry), c->ext->cluster_size);
    }
}

static bool entry_sound(struct ext_checker *c, const struct ext_xattr_area *area, const uint8_t *entry,
                        struct taken *taken)
{
    uint64_t len = ext_xe_e_value_size(entry), at = ext_xe_e_value_offs(entry);
    uint32_t inum = (uint32_t)ext_xe_e_value_inum(entry);
    if (inum)
        return len <= EXT_XATTR_VALUE_MAX && value_inode_ok(c, inum);
    if (len && (!range_inside(at, len, (uint64_t)(area->end - area->base)) || !take(taken, at, len)))
        return false;
    return hash_ok(entry, area->base, true);
}

/* Only what is damaged goes: all entries keep their values where they are, the rest move up. */
static void drop_entries(struct ext_checker *c, const struct ext_xattr_area *area, struct taken *taken)
{
    uint8_t *last = area->first;
    memset(taken, 0, sizeof *taken);
    while (area->end - last >= EXT_XATTR_ENTRY_SIZE && load_le32(last) != 0) {
        size_t size = (size_t)round_up(EXT_XATTR_ENTRY_SIZE + ext_xe_e_name_len(last), 4);
        if (size > (size_t)(area->end - last) || !take(taken, (uint64_t)(last - area->base), size))
            break;
        last += size;
    }
    memset(last, 0, MIN_OF((size_t)(area->end - last), 4));
    take(taken, (uint64_t)(last - area->base), 4);
    for (uint8_t *entry = area->first; entry < last;) {
        size_t size = (size_t)round_up(EXT_XATTR_ENTRY_SIZE + ext_xe_e_name_len(entry), 4);
        if (entry_sound(c, area, entry, taken)) {
            entry += size;
            continue;
        }
        memmove(entry, entry + size, (size_t)(last - entry) - size);
        memset(last - size, 0, size);
        last -= size;
    }
}

static bool check_body(struct ext_checker *c, struct ext_inode *inode, uint64_t *clusters,
                       struct taken *taken, struct error *err)
{
    struct ext_xattr_area area;
    if (!ext_xattr_body(c->ext, inode->raw, &area))
        return true;
    const char *fault = area_fault(c, &area, true, taken);
    if (!fault)
        return count_values(c, &area, clusters, err);
    uint64_t off = ext_check_inode_off(inode) + (uint64_t)(area.base - 4 - inode->raw);
    if (ext_problem(c, "xattr-inode", off, "inode %u: its extended attributes are damaged: %s", inode->ino,
                    fault)) {
        drop_entries(c, &area, taken);
        ext_inode_dirty(c->ext, inode);
        return count_values(c, &area, clusters, err);
    }
    return true;
}

/* A block seen for the first time: is it sound, and does nobody else use it? */
static bool judge_block(struct ext_checker *c, uint64_t at, uint32_t ino, struct ext_tally_slot *slot,
                        struct taken *taken, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct cache_block *block;
    uint64_t shared = c->dup.total, off = ext_offset(ext, at);
    const char *fault = NULL;
    slot->value = BLOCK_IS_BAD;
    if (!ext_block_get(ext, at, EXT_TAG_XATTR, 0, &block, err))
        return false;
    struct ext_xattr_area area = {block->data, block->data + EXT_XATTR_HEADER, block->data + ext->block_size};
    if (ext_xh_h_magic(block->data) != EXT_XATTR_MAGIC || ext_xh_h_blocks(block->data) != 1)
        fault = "h_magic or h_blocks is wrong";
    else
        fault = area_fault(c, &area, false, taken);
    bool ok = true;
    if (fault) {
        ext_problem(c, "xattr-block", off, "inode %u: its attribute block is damaged: %s", ino, fault);
    } else if ((ok = ext_check_claim(c, at, 1, err)) && c->dup.total != shared) {
        ext_problem(c, "xattr-block", off, "inode %u: its attribute block is in use elsewhere", ino);
        uint64_t size = (uint64_t)1 << ext->cluster_bits;
        ok = !c->repair || ranges_remove(&c->dup, round_down(at, size), size, err);
    } else if (ok) {
        slot->value = (uint32_t)MIN_OF(ext_xh_h_refcount(block->data), BLOCK_IS_BAD - 1u);
        if (ext->has_csum && !block->dirty &&
            ext_xh_h_checksum(block->data) != ext_xattr_csum(ext, at, block->data) &&
            ext_problem(c, "xattr-checksum", off, "inode %u: the checksum of its attribute block is wrong",
                        ino))
            ext_block_dirty(ext, block);
    }
    ext_block_put(ext, block);
    return ok;
}

static bool drop_block(struct ext_checker *c, struct ext_inode *inode)
{
    if (c->repair) {
        ext_inode_set_acl_block(c->ext, inode->raw, 0);
        ext_inode_dirty(c->ext, inode);
    }
    return true;
}

static bool check_block(struct ext_checker *c, struct ext_inode *inode, uint64_t *clusters,
                        struct taken *taken, struct error *err)
{
    struct ext_fs *ext = c->ext;
    uint64_t at = ext_inode_acl_block(ext, inode->raw);
    struct cache_block *block;
    if (at == 0)
        return true;
    if (!ext_check_may_own(c, at, 1)) {
        ext_problem(c, "xattr-pointer", ext_check_inode_off(inode) + ext_inode_off_i_file_acl_lo,
                    "inode %u: i_file_acl is %llu, outside or on metadata", inode->ino,
                    (unsigned long long)at);
        return drop_block(c, inode);
    }
    bool seen = ext_tally_find(&c->xattrs, at) != NULL;
    struct ext_tally_slot *slot = ext_tally_slot(&c->xattrs, at, err);
    if (!slot || (!seen && !judge_block(c, at, inode->ino, slot, taken, err)))
        return false;
    if (slot->value == BLOCK_IS_BAD)
        return drop_block(c, inode);
    slot->count++;
    ++*clusters;
    if (!ext_block_get(ext, at, EXT_TAG_XATTR, 0, &block, err))
        return false;
    struct ext_xattr_area area = {block->data, block->data + EXT_XATTR_HEADER, block->data + ext->block_size};
    bool ok = count_values(c, &area, clusters, err);
    ext_block_put(ext, block);
    return ok;
}

bool ext_check_xattrs(struct ext_checker *c, struct ext_inode *inode, uint64_t *clusters, struct error *err)
{
    struct ext_xattr_area area;
    *clusters = 0;
    if (!ext_xattr_body(c->ext, inode->raw, &area) && ext_inode_acl_block(c->ext, inode->raw) == 0)
        return true;
    struct taken *taken = mem_new(sizeof *taken, err);
    bool ok =
        taken && check_body(c, inode, clusters, taken, err) && check_block(c, inode, clusters, taken, err);
    free(taken);
    return ok;
}

bool ext_check_xattr_counts(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    for (size_t i = 0; i < c->xattrs.size && !c->stop; i++) {
        const struct ext_tally_slot *slot = &c->xattrs.slots[i];
        struct cache_block *block;
        uint64_t at = slot->key - 1;
        if (!slot->key || slot->value == BLOCK_IS_BAD || slot->count == slot->value)
            continue;
        if (!ext_problem(c, "xattr-count", ext_offset(ext, at),
                         "attribute block %llu: h_refcount is %u, not %u", (unsigned long long)at,
                         slot->value, slot->count))
            continue;
        if (!ext_block_get(ext, at, EXT_TAG_XATTR, 0, &block, err))
            return false;
        ext_xh_set_h_refcount(block->data, slot->count);
        ext_block_dirty(ext, block);
        ext_block_put(ext, block);
    }
    return true;
}
