/*
 * Taking runs out of an extent tree, and making it smaller afterwards: empty nodes go, neighbours are joined,
 * the root takes the place of an only child. The invariants are those of extent.c.
 */
#include "extent_tree.h"

/* ---- remove ---- */

/* The node of level `at` is empty: free it, and its parents as far as they become empty with it. */
static bool drop_empty(struct ext_fs *ext, struct ext_inode *inode, struct ext_path *path, unsigned at,
                       struct error *err)
{
    for (; at > 0 && ext_tree_count(path->levels[at].node) == 0; at--) {
        struct ext_tree_level *above = &path->levels[at - 1];
        uint64_t number = ext_tree_child(ext_tree_entry(above->node, above->pos));
        ext_block_put(ext, path->levels[at].block);
        path->levels[at].block = NULL;
        if (!ext_index_block_free(ext, inode, number, err))
            return false;
        ext_tree_delete(above->node, above->pos, 1);
        ext_tree_dirty(ext, inode, above);
        if (above->pos == 0 && ext_tree_count(above->node) > 0)
            ext_tree_fix_parents(ext, inode, path, at - 1);
    }
    if (at == 0 && ext_tree_count(path->levels[0].node) == 0) {
        ext_eh_set_eh_depth(path->levels[0].node, 0);
        ext_inode_dirty(ext, inode);
    }
    return true;
}

/* Take first..end out of the leaf's entry at pos. A remainder behind `end` is left to the caller in *rest. */
static bool cut_entry(struct ext_fs *ext, struct ext_inode *inode, struct ext_path *path, uint64_t first,
                      uint64_t end, struct ext_mapping *cut, struct ext_mapping *rest, struct error *err)
{
    struct ext_tree_level *leaf = &path->levels[path->depth];
    uint8_t *entry = ext_tree_entry(leaf->node, leaf->pos);
    struct ext_mapping run = ext_tree_load(entry), left = run, right = run;
    uint64_t from = MAX_OF(first, run.block), to = MIN_OF(end, run.block + run.len);
    *cut = (struct ext_mapping){from, run.start + (from - run.block), to - from, run.unwritten};
    left.len = from - run.block;
    right.block = to;
    right.start += to - run.block;
    right.len = run.block + run.len - to;
    *rest = (struct ext_mapping){0};
    ext_tree_dirty(ext, inode, leaf);
    if (left.len > 0) {
        ext_tree_store(entry, &left);
        *rest = right;
        return true;
    }
    if (right.len > 0)
        ext_tree_store(entry, &right);
    else
        ext_tree_delete(leaf->node, leaf->pos, 1);
    if (ext_tree_count(leaf->node) == 0)
        return drop_empty(ext, inode, path, path->depth, err);
    if (leaf->pos == 0)
        ext_tree_fix_parents(ext, inode, path, path->depth);
    return true;
}

bool ext_extent_cut(struct ext_fs *ext, struct ext_inode *inode, uint64_t first, uint64_t end,
                    struct ext_mapping *cut, struct error *err)
{
    struct ext_path path;
    struct ext_mapping rest = {0};
    *cut = (struct ext_mapping){0};
    if (!ext_tree_find(ext, inode, end - 1, &path, err))
        return false;
    struct ext_tree_level *leaf = &path.levels[path.depth];
    bool ok = true, hit = leaf->pos >= 0;
    if (hit) {
        struct ext_mapping run = ext_tree_load(ext_tree_entry(leaf->node, leaf->pos));
        hit = run.block + run.len > first;
    }
    if (hit)
        ok = cut_entry(ext, inode, &path, first, end, cut, &rest, err);
    ext_tree_close(ext, &path);
    return ok && (rest.len == 0 || ext_extent_insert(ext, inode, &rest, err));
}

/* Move all entries of the node right of the path's node at level `at` into it, when both fit. */
static bool join_right(struct ext_fs *ext, struct ext_inode *inode, struct ext_path *path, unsigned at,
                       bool *done, struct error *err)
{
    struct ext_tree_level *level = &path->levels[at], *above = &path->levels[at - 1];
    *done = false;
    if (above->pos + 1 >= ext_tree_count(above->node))
        return true;
    struct ext_path right = *path; /* borrows the pins of the levels above */
    right.levels[at - 1].pos++;
    right.levels[at].block = NULL;
    uint64_t end = (uint64_t)UINT32_MAX + 1;
    if (!ext_tree_open_child(ext, inode, &right, at - 1, end, err)) {
        ext_block_put(ext, right.levels[at].block);
        return false;
    }
    uint8_t *from = right.levels[at].node;
    int have = ext_tree_count(level->node), more = ext_tree_count(from);
    bool fits = have + more <= (int)ext_eh_eh_max(level->node);
    if (fits) {
        memcpy(ext_tree_entry(level->node, have), ext_tree_entry(from, 0), (size_t)more * EXT_EXTENT_ENTRY);
        ext_eh_set_eh_entries(level->node, (uint64_t)(have + more));
    }
    ext_block_put(ext, right.levels[at].block);
    if (!fits)
        return true;
    if (!ext_index_block_free(ext, inode, ext_tree_child(ext_tree_entry(above->node, above->pos + 1)), err))
        return false;
    ext_tree_delete(above->node, above->pos + 1, 1);
    ext_tree_dirty(ext, inode, level);
    ext_tree_dirty(ext, inode, above);
    *done = true;
    return true;
}

/* The root's only child fits into the root: it takes its place. */
static bool lower_root(struct ext_fs *ext, struct ext_inode *inode, struct ext_path *path, bool *done,
                       struct error *err)
{
    uint8_t *root = path->levels[0].node;
    *done = false;
    if (path->depth == 0 || ext_tree_count(root) != 1 ||
        ext_tree_count(path->levels[1].node) > EXT_TREE_ROOT_MAX)
        return true;
    uint64_t number = ext_tree_child(ext_tree_entry(root, 0));
    int count = ext_tree_count(path->levels[1].node);
    memcpy(ext_tree_entry(root, 0), ext_tree_entry(path->levels[1].node, 0),
           (size_t)count * EXT_EXTENT_ENTRY);
    ext_eh_set_eh_entries(root, (uint64_t)count);
    ext_eh_set_eh_depth(root, path->depth - 1);
    ext_inode_dirty(ext, inode);
    ext_block_put(ext, path->levels[1].block);
    path->levels[1].block = NULL;
    *done = true;
    return ext_index_block_free(ext, inode, number, err);
}

bool ext_extent_shrink(struct ext_fs *ext, struct ext_inode *inode, uint64_t block, struct error *err)
{
    for (bool changed = true; changed;) {
        struct ext_path path;
        changed = false;
        if (!ext_tree_find(ext, inode, block, &path, err))
            return false;
        bool ok = true;
        for (unsigned at = path.depth; ok && !changed && at > 0; at--)
            ok = join_right(ext, inode, &path, at, &changed, err);
        unsigned depth = path.depth;
        if (ok && !changed)
            ok = lower_root(ext, inode, &path, &changed, err);
        path.depth = depth;
        ext_tree_close(ext, &path);
        if (!ok)
            return false;
    }
    return true;
}
