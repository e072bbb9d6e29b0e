/*
 * The list of bad blocks, inode 1. It is a block map whatever the volume's features are; its blocks may share
 * clusters with each other and with the volume's own blocks.
 */
#include "resize.h"

#include "alloc.h"

#include <stdlib.h>
#include <sys/stat.h>

struct bad_list {
    const struct ranges *doomed;
    uint64_t *blocks; /* those that stay */
    size_t count, capacity;
    struct ranges index; /* blocks of the map itself */
    bool touched;        /* something of it is doomed */
};

static bool collect(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    struct bad_list *list = arg;
    const struct ext_mapping *m = &visit->mapping;
    if (m->start == 0)
        return true;
    list->touched = list->touched || ranges_overlaps(list->doomed, m->start, m->len);
    if (!visit->data)
        return ranges_add(&list->index, m->start, m->len, err);
    if (!mem_grow(&list->blocks, &list->capacity, list->count + m->len, sizeof *list->blocks, err))
        return false;
    for (uint64_t i = 0; i < m->len; i++)
        if (!ranges_contains(list->doomed, m->start + i, 1))
            list->blocks[list->count++] = m->start + i;
    return true;
}

/* Bad blocks keep their bits throughout, so that nothing else gets them; those of the map are taken anew. */
static bool rebuild(struct ext_fs *ext, struct ext_inode *inode, const struct bad_list *list,
                    struct error *err)
{
    uint64_t cluster = (uint64_t)1 << ext->cluster_bits;
    bool counted = ext_inode_i_blocks_lo(inode->raw) != 0; /* mke2fs leaves 0, and nobody minds */
    struct range run;
    for (uint64_t at = 0; ranges_next(&list->index, at, &run); at = run.start + run.len)
        for (uint64_t b = run.start; b < run.start + run.len; b++)
            if (!ext_blocks_free(ext, round_down(b, cluster), cluster, err))
                return false;
    memset(ext_inode_i_block(inode->raw), 0, EXT_I_BLOCK_SIZE);
    ext_inode_set_i_flags(inode->raw, ext_inode_i_flags(inode->raw) & ~(uint64_t)EXT_FL_EXTENTS);
    ext_inode_set_i_blocks_lo(inode->raw, 0);
    for (size_t i = 0; i < list->count; i++) {
        const struct ext_mapping m = {.block = i, .start = list->blocks[i], .len = 1};
        if (!ext_map_insert(ext, inode, &m, err) || !ext_inode_charge(ext, inode, (int64_t)cluster, err))
            return false;
    }
    if (!counted)
        ext_inode_set_i_blocks_lo(inode->raw, 0);
    ext_inode_set_size(ext, inode->raw, ext_offset(ext, list->count));
    return true;
}

/* Inode 1 has no type of its own; while `fn` runs it is a regular file. */
static bool with_inode(struct ext_fs *ext,
                       bool (*fn)(struct ext_fs *, struct ext_inode *, void *, struct error *), void *arg,
                       struct error *err)
{
    struct ext_inode inode;
    if (!ext_inode_get(ext, EXT_BAD_INO, &inode, err))
        return false;
    uint64_t mode = ext_inode_i_mode(inode.raw);
    bool ok = true;
    if (!all_zero(ext_inode_i_block(inode.raw), EXT_I_BLOCK_SIZE)) {
        ext_inode_set_i_mode(inode.raw, S_IFREG);
        ok = fn(ext, &inode, arg, err);
        ext_inode_set_i_mode(inode.raw, mode);
    }
    ext_inode_put(ext, &inode);
    return ok || because(err, "bad blocks");
}

struct walk {
    ext_map_fn *fn;
    void *arg;
};

static bool walk_list(struct ext_fs *ext, struct ext_inode *inode, void *arg, struct error *err)
{
    const struct walk *walk = arg;
    return ext_map_walk(ext, inode, walk->fn, walk->arg, err);
}

bool ext_bad_blocks_walk(struct ext_fs *ext, ext_map_fn *fn, void *arg, struct error *err)
{
    struct walk walk = {fn, arg};
    return with_inode(ext, walk_list, &walk, err);
}

static bool renew(struct ext_fs *ext, struct ext_inode *inode, void *arg, struct error *err)
{
    struct bad_list list = {.doomed = arg};
    bool ok =
        ext_map_walk(ext, inode, collect, &list, err) && (!list.touched || rebuild(ext, inode, &list, err));
    if (list.touched)
        ext_inode_dirty(ext, inode);
    ranges_clear(&list.index);
    free(list.blocks);
    return ok;
}

bool ext_resize_bad_blocks(struct ext_fs *ext, const struct ranges *doomed, struct error *err)
{
    return with_inode(ext, renew, (void *)doomed, err);
}
