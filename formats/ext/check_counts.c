/* Pass 5: the counts of free blocks, free inodes and directories, in descriptors and superblock. */
#include "check.h"

#include "alloc.h"

#include <stdlib.h>

struct totals {
    uint64_t blocks, inodes;
};

/* The bits that counts follow from: what was found, or,
 * when things were put right, what the bitmaps say now. */
static bool current_bits(struct ext_checker *c, enum ext_bitmap_kind kind, uint32_t group, uint8_t *bits,
                         struct error *err)
{
    if (c->repair)
        return ext_bitmap_read(c->ext, kind, group, bits, err);
    if (kind == EXT_BLOCK_BITMAP)
        ext_check_block_bits(c, group, bits);
    else
        ext_check_inode_bits(c, group, bits);
    return true;
}

struct counted {
    const char *code, *name;
    uint64_t stored, right, off;
};

static bool differs(struct ext_checker *c, uint32_t group, const struct counted *f)
{
    return f->stored != f->right &&
           ext_problem(c, f->code, f->off, "group %u: %s is %llu, not %llu", group, f->name,
                       (unsigned long long)f->stored, (unsigned long long)f->right);
}

static bool check_group(struct ext_checker *c, uint32_t number, uint8_t *bits, struct totals *t,
                        struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_group group;
    uint32_t clusters = ext_group_clusters(ext, number);
    if (!current_bits(c, EXT_BLOCK_BITMAP, number, bits, err))
        return false;
    uint64_t blocks = clusters - ext_bits_count(bits, 0, clusters);
    if (!current_bits(c, EXT_INODE_BITMAP, number, bits, err))
        return false;
    uint64_t inodes = ext->inodes_per_group - ext_bits_count(bits, 0, ext->inodes_per_group);
    uint32_t last = ext->inodes_per_group;
    while (last > 0 && !ext_bit(bits, last - 1))
        last--;
    if (!ext_check_group(c, number, &group, err))
        return false;
    uint8_t *d = group.raw;
    uint64_t off = group.block->off + (uint64_t)(d - group.block->data),
             dirs = ext_check_group_dirs(c, number);
    struct counted f = {"group-free-blocks", "free blocks", ext_group_free_blocks_count(ext, d), blocks,
                        off + ext_desc_off_bg_free_blocks_count_lo};
    bool dirty = false;
    if (differs(c, number, &f)) {
        ext_group_set_free_blocks_count(ext, d, blocks);
        dirty = true;
    }
    f = (struct counted){"group-free-inodes", "free inodes", ext_group_free_inodes_count(ext, d), inodes,
                         off + ext_desc_off_bg_free_inodes_count_lo};
    if (differs(c, number, &f)) {
        ext_group_set_free_inodes_count(ext, d, inodes);
        dirty = true;
    }
    f = (struct counted){"group-directories", "used directories", ext_group_used_dirs_count(ext, d), dirs,
                         off + ext_desc_off_bg_used_dirs_count_lo};
    if (differs(c, number, &f)) {
        ext_group_set_used_dirs_count(ext, d, dirs);
        dirty = true;
    }
    uint64_t unused = ext->group_csum ? ext_group_itable_unused(ext, d) : 0;
    if (unused > ext->inodes_per_group - last &&
        ext_problem(c, "group-unused", off + ext_desc_off_bg_itable_unused_lo,
                    "group %u: itable_unused is %llu, but inode %u of it is in use", number,
                    (unsigned long long)unused, last)) {
        ext_group_set_itable_unused(ext, d, ext->inodes_per_group - last);
        dirty = true;
    }
    if (dirty)
        ext_group_dirty(ext, &group);
    ext_group_put(ext, &group);
    t->blocks += blocks;
    t->inodes += inodes;
    return true;
}

/* The resize inode, now that blocks can be allocated. */
static bool remake_resize_inode(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_inode inode;
    struct ext_run run = {0};
    if (!ext_check_inode(c, EXT_RESIZE_INO, &inode, err))
        return false;
    run.start = load_le32(ext_inode_i_block(inode.raw) + (size_t)4 * 13);
    ext_inode_put(ext, &inode);
    if (!ext_check_may_own(c, run.start, 1) &&
        !ext_blocks_alloc(ext, ext_group_first_block(ext, 0), 1, &run, err))
        return false;
    c->resize_inode = false;
    return ext_resize_inode_write(ext, run.start, err) && ext_flush(ext, err);
}

bool ext_check_counts(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    if (c->resize_inode && c->repair && !remake_resize_inode(c, err))
        return false;
    struct totals t = {0};
    uint8_t *bits = mem_new(ext->block_size, err);
    bool ok = bits != NULL;
    for (uint32_t group = 0; ok && group < ext->groups && !c->stop; group++)
        ok = interrupt_check(err) && check_group(c, group, bits, &t, err);
    free(bits);
    if (!ok || c->stop)
        return ok;
    t.blocks <<= ext->cluster_bits;
    uint64_t blocks = ext_free_blocks(ext), inodes = ext_super_s_free_inodes_count(ext->super);
    if (blocks != t.blocks &&
        ext_problem(c, "free-blocks", EXT_SUPER_OFFSET + ext_super_off_s_free_blocks_count_lo,
                    "the superblock counts %llu free blocks, there are %llu", (unsigned long long)blocks,
                    (unsigned long long)t.blocks))
        ext_set_free_blocks(ext, t.blocks);
    if (inodes != t.inodes &&
        ext_problem(c, "free-inodes", EXT_SUPER_OFFSET + ext_super_off_s_free_inodes_count,
                    "the superblock counts %llu free inodes, there are %llu", (unsigned long long)inodes,
                    (unsigned long long)t.inodes)) {
        ext_super_set_s_free_inodes_count(ext->super, t.inodes);
        ext_super_changed(ext);
    }
    return true;
}
