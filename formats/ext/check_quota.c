/* Pass 6: what the quota files say that each owner uses, against what the inodes show. */
#include "check.h"
#include "usage.h"

#include "alloc.h"

#include <stdlib.h>

/* ---- what the inodes show ------------------------------------------------------------------------------ */

static bool add_inode(struct ext_checker *c, uint32_t ino, struct ext_usages usages[EXT_QUOTA_TYPES],
                      struct error *err)
{
    struct ext_inode inode;
    if (!ext_check_inode(c, ino, &inode, err))
        return false;
    bool ok = ext_usage_add(c->ext, &inode, usages, err);
    ext_inode_put(c->ext, &inode);
    return ok;
}

static bool add_inodes(struct ext_checker *c, struct ext_usages usages[EXT_QUOTA_TYPES], struct error *err)
{
    for (uint32_t group = 0; group < c->ext->groups; group++) {
        uint32_t first = group * c->ext->inodes_per_group + 1;
        for (uint32_t i = 0; c->inodes[group] && i < c->ext->inodes_per_group; i++)
            if (ext_check_inode_used(c, first + i) &&
                (!interrupt_check(err) || !add_inode(c, first + i, usages, err)))
                return false;
    }
    return true;
}

/* ---- what the file says -------------------------------------------------------------------------------- */

struct file {
    struct ext_checker *c;
    struct ext_inode *inode;
    struct ext_usages *usages;
    uint8_t *visited; /* bits by block: trees must not loop */
    uint32_t blocks;
};

static bool read_block(struct file *f, uint32_t block, uint8_t *bytes, struct error *err)
{
    if (block >= f->blocks)
        return fail(err, E_DAMAGED, "block %u lies behind its end", block);
    return ext_file_read(f->c->ext, f->inode, (uint64_t)block * EXT_QUOTA_BLOCK, bytes, EXT_QUOTA_BLOCK, err);
}

/* The path to a leaf spells an id, which has an entry there. */
static bool has_entry(const uint8_t *leaf, uint32_t id)
{
    for (size_t at = EXT_QUOTA_LEAF_HEADER; at + EXT_QUOTA_ENTRY_SIZE <= EXT_QUOTA_BLOCK;
         at += EXT_QUOTA_ENTRY_SIZE)
        if (ext_qe_dqb_id(leaf + at) == id && !all_zero(leaf + at, EXT_QUOTA_ENTRY_SIZE))
            return true;
    return false;
}

static bool read_leaf(struct file *f, const uint8_t *leaf, struct error *err)
{
    for (size_t at = EXT_QUOTA_LEAF_HEADER; at + EXT_QUOTA_ENTRY_SIZE <= EXT_QUOTA_BLOCK;
         at += EXT_QUOTA_ENTRY_SIZE) {
        if (all_zero(leaf + at, EXT_QUOTA_ENTRY_SIZE))
            continue;
        struct ext_usage *u = ext_usage_of(f->usages, (uint32_t)ext_qe_dqb_id(leaf + at), err);
        if (!u)
            return false;
        u->seen = true;
        memcpy(u->entry, leaf + at, EXT_QUOTA_ENTRY_SIZE);
    }
    return true;
}

static bool read_tree(struct file *f, uint32_t block, unsigned depth, uint32_t id, struct error *err)
{
    uint8_t bytes[EXT_QUOTA_BLOCK];
    if (!interrupt_check(err) || !read_block(f, block, bytes, err))
        return false;
    if (depth == 0 && !has_entry(bytes, id))
        return fail(err, E_DAMAGED, "block %u has no entry for id %u", block, id);
    if (ext_bit(f->visited, block))
        return depth == 0 || fail(err, E_DAMAGED, "block %u is used twice", block);
    ext_bits_fill(f->visited, block, block + 1, true);
    if (depth == 0)
        return read_leaf(f, bytes, err);
    for (unsigned i = 0; i < EXT_QUOTA_BLOCK / 4; i++) {
        uint32_t next = load_le32(bytes + (size_t)4 * i);
        if (next != 0 && !read_tree(f, next, depth - 1, id << 8 | i, err))
            return false;
    }
    return true;
}

static bool read_file(struct file *f, enum ext_quota_type type, struct error *err)
{
    uint8_t header[EXT_QUOTA_BLOCK];
    uint64_t size = ext_inode_size(f->c->ext, f->inode->raw);
    f->blocks = (uint32_t)MIN_OF(size / EXT_QUOTA_BLOCK, UINT32_MAX);
    if (!read_block(f, 0, header, err))
        return false;
    if (ext_qh_dqh_magic(header) != ext_quota_magic(type) || ext_qh_dqh_version(header) != 1)
        return fail(err, E_DAMAGED, "its header is none of version 1");
    if (ext_qh_dqi_blocks(header) > f->blocks || ext_qh_dqi_free_blk(header) >= ext_qh_dqi_blocks(header) ||
        ext_qh_dqi_free_entry(header) >= ext_qh_dqi_blocks(header))
        return fail(err, E_DAMAGED, "its header tells of blocks behind its end");
    f->visited = mem_new((size_t)f->blocks / 8 + 8, err);
    bool ok = f->visited && read_tree(f, 1, 4, 0, err);
    free(f->visited);
    return ok;
}

/* ---- both ---- */

static bool check_file(struct ext_checker *c, enum ext_quota_type type, struct ext_usages *o,
                       struct error *err)
{
    static const char *const names[] = {"user", "group", "project"};
    struct ext_fs *ext = c->ext;
    struct ext_inode inode;
    struct error why = {0};
    uint32_t ino = ext_quota_ino(ext->super, type);
    bool fix = false;
    if (ino > ext->inodes)
        return true; /* which was said before */
    if (!ext_check_inode(c, ino, &inode, err))
        return false;
    struct file f = {.c = c, .inode = &inode, .usages = o};
    bool readable = ext_check_inode_used(c, ino) && read_file(&f, type, &why);
    if (!readable)
        fix = ext_problem(c, "quota-file", ext_check_inode_off(&inode), "%s quota (inode %u): %s",
                          names[type], ino, why.kind ? why.message : "it is not in use");
    for (size_t i = 0; readable && i < o->count && !c->stop; i++) {
        struct ext_usage *u = &o->items[i];
        uint64_t bytes = u->seen ? ext_qe_dqb_curspace(u->entry) : 0;
        uint64_t inodes = u->seen ? ext_qe_dqb_curinodes(u->entry) : 0;
        if (bytes != u->bytes || inodes != u->inodes)
            fix |= ext_problem(c, "quota-usage", EXT_NO_PLACE,
                               "%s quota of %u: %llu bytes, %llu inodes, not %llu, %llu", names[type], u->id,
                               (unsigned long long)bytes, (unsigned long long)inodes,
                               (unsigned long long)u->bytes, (unsigned long long)u->inodes);
    }
    bool ok = !fix || !ext_check_inode_used(c, ino) || ext_usage_write(ext, type, &inode, o, err);
    ext_inode_put(ext, &inode);
    return ok;
}

bool ext_check_quotas(struct ext_checker *c, struct error *err)
{
    struct ext_usages usages[EXT_QUOTA_TYPES] = {0};
    bool ok = true;
    if (!ext_has(c->ext, EXT_QUOTA))
        return true;
    ext_quota_drop(c->ext); /* flushed before this pass */
    ok = add_inodes(c, usages, err);
    for (unsigned type = 0; ok && type < EXT_QUOTA_TYPES && !c->stop; type++)
        if (ext_quota_ino(c->ext->super, type) != 0)
            ok = check_file(c, type, &usages[type], err);
    for (unsigned type = 0; type < EXT_QUOTA_TYPES; type++)
        ext_usage_free(&usages[type]);
    return ok;
}
