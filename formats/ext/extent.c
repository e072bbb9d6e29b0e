/*
 * Extent trees ("Extent Tree"). The root lies in i_block and holds 4 entries; the other nodes are blocks.
 *
 * Invariants of a sound tree, checked on the way down and kept by every change:
 *  1. The depth falls by one at each level, from at most 5; so a walk ends.
 *  2. Entries rise; those of a node lie in the range that its parent gives it: no node is reached twice.
 *  3. An index entry begins where the first entry of its node does; only the root may be empty.
 */
#include "extent.h"

#include "bytes.h"
#include "describe.h"

enum { ROOT_MAX = (EXT_I_BLOCK_SIZE - EXT_EXTENT_ENTRY) / EXT_EXTENT_ENTRY };

struct level {
    uint8_t *node;
    struct cache_block *block; /* NULL: the root */
    int pos;                   /* entry on the path; -1: before the first */
};

struct path {
    unsigned depth;
    struct level levels[EXT_EXTENT_MAX_DEPTH + 1]; /* 0: the root; depth: the leaf */
};

/* ---- entries ---- */

static uint8_t *entry_at(const uint8_t *node, int pos)
{
    return (uint8_t *)(uintptr_t)node + EXT_EXTENT_ENTRY * (pos + 1);
}

static int entries_of(const uint8_t *node)
{
    return (int)ext_eh_eh_entries(node);
}

/* The first file block of an entry is at the same place in extents and index entries. */
static uint64_t first_of(const uint8_t *entry)
{
    return ext_ee_ee_block(entry);
}

static uint64_t child_of(const uint8_t *entry)
{
    return ext_ei_ei_leaf_lo(entry) | ext_ei_ei_leaf_hi(entry) << 32;
}

static void index_store(uint8_t *entry, uint64_t first, uint64_t child)
{
    ext_ei_set_ei_block(entry, first);
    ext_ei_set_ei_leaf_lo(entry, child & UINT32_MAX);
    ext_ei_set_ei_leaf_hi(entry, child >> 32);
    ext_ei_set_ei_unused(entry, 0);
}

static struct ext_mapping extent_load(const uint8_t *entry)
{
    uint64_t len = ext_ee_ee_len(entry);
    struct ext_mapping run = {.block = first_of(entry), .len = len, .unwritten = len > EXT_EXTENT_INIT_MAX};
    if (run.unwritten)
        run.len -= EXT_EXTENT_INIT_MAX;
    run.start = ext_ee_ee_start_lo(entry) | ext_ee_ee_start_hi(entry) << 32;
    return run;
}

static void extent_store(uint8_t *entry, const struct ext_mapping *run)
{
    ext_ee_set_ee_block(entry, run->block);
    ext_ee_set_ee_len(entry, run->unwritten ? run->len + EXT_EXTENT_INIT_MAX : run->len);
    ext_ee_set_ee_start_lo(entry, run->start & UINT32_MAX);
    ext_ee_set_ee_start_hi(entry, run->start >> 32);
}

static uint64_t extent_limit(bool unwritten)
{
    return unwritten ? EXT_EXTENT_INIT_MAX - 1 : EXT_EXTENT_INIT_MAX;
}

static void entries_insert(uint8_t *node, int pos, const uint8_t *entry)
{
    int count = entries_of(node);
    memmove(entry_at(node, pos + 1), entry_at(node, pos), (size_t)(count - pos) * EXT_EXTENT_ENTRY);
    memcpy(entry_at(node, pos), entry, EXT_EXTENT_ENTRY);
    ext_eh_set_eh_entries(node, (uint64_t)count + 1);
}

static void entries_delete(uint8_t *node, int pos, int n)
{
    int count = entries_of(node);
    memmove(entry_at(node, pos), entry_at(node, pos + n), (size_t)(count - pos - n) * EXT_EXTENT_ENTRY);
    memset(entry_at(node, count - n), 0, (size_t)n * EXT_EXTENT_ENTRY);
    ext_eh_set_eh_entries(node, (uint64_t)(count - n));
}

/* ---- checks ---- */

static const char *entries_fault(const struct ext_fs *ext, const uint8_t *node)
{
    int count = entries_of(node);
    bool leaf = ext_eh_eh_depth(node) == 0;
    uint64_t next = 0;
    for (int i = 0; i < count; i++) {
        const uint8_t *entry = entry_at(node, i);
        if (first_of(entry) < next)
            return "its entries overlap or do not rise";
        if (leaf) {
            struct ext_mapping run = extent_load(entry);
            if (run.len == 0)
                return "it has an extent of length 0";
            if (!ext_blocks_valid(ext, run.start, run.len))
                return "it has an extent outside the volume";
            next = run.block + run.len;
            if (next > (uint64_t)UINT32_MAX + 1)
                return "it has an extent past the largest file block";
        } else {
            if (!ext_blocks_valid(ext, child_of(entry), 1))
                return "it has a child outside the volume";
            next = first_of(entry) + 1;
        }
    }
    return NULL;
}

static const char *node_fault(const struct ext_fs *ext, const uint8_t *node, unsigned depth,
                              uint32_t capacity)
{
    if (ext_eh_eh_magic(node) != EXT_EXTENT_MAGIC)
        return "eh_magic is not 0xf30a";
    if (ext_eh_eh_depth(node) != depth)
        return "eh_depth is not one less than its parent's";
    if (ext_eh_eh_max(node) > capacity || ext_eh_eh_max(node) == 0)
        return "eh_max does not fit its place";
    if (ext_eh_eh_entries(node) > ext_eh_eh_max(node))
        return "eh_entries is more than eh_max";
    if (depth > 0 && entries_of(node) == 0)
        return "it is an index without entries";
    return entries_fault(ext, node);
}

static uint32_t node_capacity(const struct ext_fs *ext)
{
    return (ext->block_size - EXT_EXTENT_ENTRY - EXT_EXTENT_TAIL) / EXT_EXTENT_ENTRY;
}

static bool node_csum_ok(const struct ext_fs *ext, const struct ext_inode *inode, const uint8_t *node)
{
    uint32_t seed = ext_inode_seed(ext, inode->ino, (uint32_t)ext_inode_i_generation(inode->raw));
    return !ext->has_csum || load_le32(ext_extent_tail(node)) == ext_extent_csum(ext, seed, node);
}

static bool bad_node(struct ext_fs *ext, const struct ext_inode *inode, const struct level *level,
                     const char *fault, struct error *err)
{
    const struct cache_block *block = level->block ? level->block : inode->block;
    return damaged(err, ext->dev, block->off + (uint64_t)(level->node - block->data),
                   "inode %u: %s of the extent tree: %s", inode->ino, level->block ? "a node" : "the root",
                   fault);
}

/* Open the root. */
static bool open_root(struct ext_fs *ext, const struct ext_inode *inode, struct path *path, struct error *err)
{
    *path = (struct path){.levels[0].node = ext_inode_i_block(inode->raw)};
    const uint8_t *root = path->levels[0].node;
    path->depth = (unsigned)ext_eh_eh_depth(root);
    const char *fault = path->depth > EXT_EXTENT_MAX_DEPTH ? "eh_depth is more than 5" : NULL;
    if (!fault)
        fault = node_fault(ext, root, path->depth, ROOT_MAX);
    return !fault || bad_node(ext, inode, &path->levels[0], fault, err);
}

/* Open the node below entry `pos` of level `at`; its entries must lie in the range from that entry to `end`.
 */
static bool open_child(struct ext_fs *ext, const struct ext_inode *inode, struct path *path, unsigned at,
                       uint64_t end, struct error *err)
{
    struct level *above = &path->levels[at], *level = &path->levels[at + 1];
    const uint8_t *entry = entry_at(above->node, above->pos);
    const char *fault = NULL;
    if (!ext_block_get(ext, child_of(entry), EXT_TAG_EXTENTS, ext_inode_owner(inode), &level->block, err))
        return because(err, "inode %u: extent tree", inode->ino);
    level->node = level->block->data;
    if (!level->block->checked) {
        fault = node_fault(ext, level->node, path->depth - at - 1, node_capacity(ext));
        if (!fault && !level->block->dirty && !node_csum_ok(ext, inode, level->node))
            fault = "its checksum is wrong";
        level->block->checked = !fault;
    } else if (ext_eh_eh_depth(level->node) != path->depth - at - 1) {
        fault = "eh_depth is not one less than its parent's";
    }
    int count = fault ? 0 : entries_of(level->node);
    if (count > 0 && (first_of(entry_at(level->node, 0)) < first_of(entry) ||
                      first_of(entry_at(level->node, count - 1)) >= end))
        fault = "it covers blocks outside the range that its parent gives it";
    return !fault || bad_node(ext, inode, level, fault, err);
}

static void close_path(struct ext_fs *ext, struct path *path)
{
    for (unsigned i = 0; i <= path->depth; i++) {
        ext_block_put(ext, path->levels[i].block);
        path->levels[i].block = NULL;
    }
}

/* Last entry that begins at or before `block`; -1: none. */
static int search_node(const uint8_t *node, uint64_t block)
{
    int low = 0, high = entries_of(node);
    while (low < high) {
        int middle = (low + high) / 2;
        if (first_of(entry_at(node, middle)) <= block)
            low = middle + 1;
        else
            high = middle;
    }
    return low - 1;
}

/* The path to the leaf that covers `block`. Close it with close_path(). */
static bool find_path(struct ext_fs *ext, const struct ext_inode *inode, uint64_t block, struct path *path,
                      struct error *err)
{
    uint64_t end = (uint64_t)UINT32_MAX + 1;
    if (!open_root(ext, inode, path, err))
        return false;
    for (unsigned i = 0; i <= path->depth; i++) {
        struct level *level = &path->levels[i];
        level->pos = search_node(level->node, block);
        if (i == path->depth)
            break;
        level->pos = MAX_OF(level->pos, 0);
        if (level->pos + 1 < entries_of(level->node))
            end = first_of(entry_at(level->node, level->pos + 1));
        if (!open_child(ext, inode, path, i, end, err)) {
            close_path(ext, path);
            return false;
        }
    }
    return true;
}

static void node_dirty(struct ext_fs *ext, struct ext_inode *inode, struct level *level)
{
    if (level->block)
        ext_block_dirty(ext, level->block);
    else
        ext_inode_dirty(ext, inode);
}

/* First file block behind the leaf of a path. */
static uint64_t leaf_end(const struct path *path)
{
    for (unsigned i = path->depth; i-- > 0;) {
        const struct level *level = &path->levels[i];
        if (level->pos + 1 < entries_of(level->node))
            return first_of(entry_at(level->node, level->pos + 1));
    }
    return (uint64_t)UINT32_MAX + 1;
}

/* ---- lookup ---- */

bool ext_extent_lookup(struct ext_fs *ext, const struct ext_inode *inode, uint64_t block,
                       struct ext_mapping *out, struct ext_mapping *before, struct error *err)
{
    struct path path;
    if (!find_path(ext, inode, block, &path, err))
        return false;
    const struct level *leaf = &path.levels[path.depth];
    struct ext_mapping run = {0};
    if (before)
        *before = (struct ext_mapping){0};
    if (leaf->pos >= 0)
        run = extent_load(entry_at(leaf->node, leaf->pos));
    if (run.len > 0 && block < run.block + run.len) {
        uint64_t skip = block - run.block;
        *out = (struct ext_mapping){block, run.start + skip, run.len - skip, run.unwritten};
    } else {
        bool more = leaf->pos + 1 < entries_of(leaf->node);
        uint64_t end = more ? first_of(entry_at(leaf->node, leaf->pos + 1)) : leaf_end(&path);
        *out = (struct ext_mapping){.block = block, .len = end - block};
        if (before)
            *before = run;
    }
    close_path(ext, &path);
    return true;
}

/* ---- insert ---- */

/* After the first entry of a node changed: the entries above it begin there too (invariant 3). */
static void fix_parents(struct ext_fs *ext, struct ext_inode *inode, struct path *path, unsigned at)
{
    for (; at > 0; at--) {
        struct level *above = &path->levels[at - 1];
        uint64_t first = first_of(entry_at(path->levels[at].node, 0));
        ext_ei_set_ei_block(entry_at(above->node, above->pos), first);
        node_dirty(ext, inode, above);
        if (above->pos > 0)
            break;
    }
}

static void init_node(const struct ext_fs *ext, uint8_t *node, unsigned depth)
{
    ext_eh_set_eh_magic(node, EXT_EXTENT_MAGIC);
    ext_eh_set_eh_max(node, (ext->block_size - EXT_EXTENT_ENTRY) / EXT_EXTENT_ENTRY);
    ext_eh_set_eh_depth(node, depth);
}

/* Where a new node should lie: behind the entry it is made from. */
static uint64_t node_goal(const struct path *path, unsigned at)
{
    const uint8_t *node = path->levels[at].node;
    const uint8_t *entry = entry_at(node, MAX_OF(path->levels[at].pos, 0));
    if (at < path->depth)
        return child_of(entry);
    struct ext_mapping run = extent_load(entry);
    return run.start + run.len;
}

static bool new_node(struct ext_fs *ext, struct ext_inode *inode, uint64_t goal, unsigned depth, uint64_t *at,
                     struct cache_block **out, struct error *err)
{
    if (!ext_index_block_new(ext, inode, goal, at, err) ||
        !ext_block_new(ext, *at, EXT_TAG_EXTENTS, ext_inode_owner(inode), out, err))
        return false;
    init_node(ext, (*out)->data, depth);
    return true;
}

/* Every node of the path is full: the root's entries move into a new node, which becomes its only child. */
static bool grow(struct ext_fs *ext, struct ext_inode *inode, struct path *path, struct error *err)
{
    uint8_t *root = path->levels[0].node;
    struct cache_block *block;
    uint64_t at;
    if (path->depth == EXT_EXTENT_MAX_DEPTH)
        return fail(err, E_TOOBIG, "inode %u: the extent tree cannot grow beyond depth 5", inode->ino);
    if (!new_node(ext, inode, node_goal(path, 0), path->depth, &at, &block, err))
        return false;
    int count = entries_of(root);
    memcpy(entry_at(block->data, 0), entry_at(root, 0), (size_t)count * EXT_EXTENT_ENTRY);
    ext_eh_set_eh_entries(block->data, (uint64_t)count);
    ext_block_put(ext, block);
    memset(entry_at(root, 1), 0, (ROOT_MAX - 1) * EXT_EXTENT_ENTRY);
    index_store(entry_at(root, 0), first_of(entry_at(root, 0)), at);
    ext_eh_set_eh_entries(root, 1);
    ext_eh_set_eh_depth(root, path->depth + 1);
    ext_inode_dirty(ext, inode);
    return true;
}

/* Split the full node of level `at`, whose parent has room. Appending leaves the old node full but for one.
 */
static bool split(struct ext_fs *ext, struct ext_inode *inode, struct path *path, unsigned at,
                  struct error *err)
{
    struct level *level = &path->levels[at], *above = &path->levels[at - 1];
    struct cache_block *block;
    uint64_t number;
    int count = entries_of(level->node), keep = level->pos == count - 1 ? count - 1 : count / 2;
    uint8_t entry[EXT_EXTENT_ENTRY];
    if (!new_node(ext, inode, node_goal(path, at), path->depth - at, &number, &block, err))
        return false;
    memcpy(entry_at(block->data, 0), entry_at(level->node, keep), (size_t)(count - keep) * EXT_EXTENT_ENTRY);
    ext_eh_set_eh_entries(block->data, (uint64_t)(count - keep));
    index_store(entry, first_of(entry_at(block->data, 0)), number);
    ext_block_put(ext, block);
    entries_delete(level->node, keep, count - keep);
    entries_insert(above->node, above->pos + 1, entry);
    node_dirty(ext, inode, level);
    node_dirty(ext, inode, above);
    return true;
}

/* Make room in the leaf: one step, after which the path is found anew. */
static bool make_room(struct ext_fs *ext, struct ext_inode *inode, struct path *path, struct error *err)
{
    unsigned at = path->depth;
    while (at > 0 && ext_eh_eh_entries(path->levels[at - 1].node) >= ext_eh_eh_max(path->levels[at - 1].node))
        at--;
    return at > 0 ? split(ext, inode, path, at, err) : grow(ext, inode, path, err);
}

static bool joins(const struct ext_mapping *a, const struct ext_mapping *b)
{
    return a->len > 0 && b->len > 0 && a->unwritten == b->unwritten && a->block + a->len == b->block &&
           a->start + a->len == b->start && a->len + b->len <= extent_limit(a->unwritten);
}

/* Merge with the neighbours in the leaf; false: there is none that it joins. */
static bool merge(struct ext_fs *ext, struct ext_inode *inode, struct path *path,
                  const struct ext_mapping *run)
{
    struct level *leaf = &path->levels[path->depth];
    struct ext_mapping left = {0}, right = {0}, whole = *run;
    if (leaf->pos >= 0)
        left = extent_load(entry_at(leaf->node, leaf->pos));
    if (leaf->pos + 1 < entries_of(leaf->node))
        right = extent_load(entry_at(leaf->node, leaf->pos + 1));
    bool to_left = joins(&left, run);
    if (to_left) {
        whole = left;
        whole.len += run->len;
    }
    bool to_right = joins(&whole, &right);
    if (to_right)
        whole.len += right.len;
    if (!to_left && !to_right)
        return false;
    int pos = to_left ? leaf->pos : leaf->pos + 1;
    extent_store(entry_at(leaf->node, pos), &whole);
    if (to_left && to_right)
        entries_delete(leaf->node, pos + 1, 1);
    node_dirty(ext, inode, leaf);
    if (pos == 0)
        fix_parents(ext, inode, path, path->depth);
    return true;
}

static bool insert_one(struct ext_fs *ext, struct ext_inode *inode, const struct ext_mapping *run,
                       struct error *err)
{
    struct path path;
    for (;;) {
        if (!find_path(ext, inode, run->block, &path, err))
            return false;
        struct level *leaf = &path.levels[path.depth];
        if (merge(ext, inode, &path, run))
            break;
        if (ext_eh_eh_entries(leaf->node) < ext_eh_eh_max(leaf->node)) {
            uint8_t entry[EXT_EXTENT_ENTRY];
            extent_store(entry, run);
            entries_insert(leaf->node, leaf->pos + 1, entry);
            node_dirty(ext, inode, leaf);
            if (leaf->pos < 0)
                fix_parents(ext, inode, &path, path.depth);
            break;
        }
        bool ok = make_room(ext, inode, &path, err);
        close_path(ext, &path);
        if (!ok)
            return false;
    }
    close_path(ext, &path);
    return true;
}

bool ext_extent_insert(struct ext_fs *ext, struct ext_inode *inode, const struct ext_mapping *run,
                       struct error *err)
{
    struct ext_mapping rest = *run;
    while (rest.len > 0) {
        struct ext_mapping piece = rest;
        piece.len = MIN_OF(rest.len, extent_limit(rest.unwritten));
        if (!insert_one(ext, inode, &piece, err))
            return false;
        rest.block += piece.len;
        rest.start += piece.len;
        rest.len -= piece.len;
    }
    return true;
}

/* ---- remove ---- */

/* The node of level `at` is empty: free it, and its parents as far as they become empty with it. */
static bool drop_empty(struct ext_fs *ext, struct ext_inode *inode, struct path *path, unsigned at,
                       struct error *err)
{
    for (; at > 0 && entries_of(path->levels[at].node) == 0; at--) {
        struct level *above = &path->levels[at - 1];
        uint64_t number = child_of(entry_at(above->node, above->pos));
        ext_block_put(ext, path->levels[at].block);
        path->levels[at].block = NULL;
        if (!ext_index_block_free(ext, inode, number, err))
            return false;
        entries_delete(above->node, above->pos, 1);
        node_dirty(ext, inode, above);
        if (above->pos == 0 && entries_of(above->node) > 0)
            fix_parents(ext, inode, path, at - 1);
    }
    if (at == 0 && entries_of(path->levels[0].node) == 0) {
        ext_eh_set_eh_depth(path->levels[0].node, 0);
        ext_inode_dirty(ext, inode);
    }
    return true;
}

/* Take first..end out of the leaf's entry at pos. A remainder behind `end` is left to the caller in *rest. */
static bool cut_entry(struct ext_fs *ext, struct ext_inode *inode, struct path *path, uint64_t first,
                      uint64_t end, struct ext_mapping *cut, struct ext_mapping *rest, struct error *err)
{
    struct level *leaf = &path->levels[path->depth];
    uint8_t *entry = entry_at(leaf->node, leaf->pos);
    struct ext_mapping run = extent_load(entry), left = run, right = run;
    uint64_t from = MAX_OF(first, run.block), to = MIN_OF(end, run.block + run.len);
    *cut = (struct ext_mapping){from, run.start + (from - run.block), to - from, run.unwritten};
    left.len = from - run.block;
    right.block = to;
    right.start += to - run.block;
    right.len = run.block + run.len - to;
    *rest = (struct ext_mapping){0};
    node_dirty(ext, inode, leaf);
    if (left.len > 0) {
        extent_store(entry, &left);
        *rest = right;
        return true;
    }
    if (right.len > 0)
        extent_store(entry, &right);
    else
        entries_delete(leaf->node, leaf->pos, 1);
    if (entries_of(leaf->node) == 0)
        return drop_empty(ext, inode, path, path->depth, err);
    if (leaf->pos == 0)
        fix_parents(ext, inode, path, path->depth);
    return true;
}

bool ext_extent_cut(struct ext_fs *ext, struct ext_inode *inode, uint64_t first, uint64_t end,
                    struct ext_mapping *cut, struct error *err)
{
    struct path path;
    struct ext_mapping rest = {0};
    *cut = (struct ext_mapping){0};
    if (!find_path(ext, inode, end - 1, &path, err))
        return false;
    struct level *leaf = &path.levels[path.depth];
    bool ok = true, hit = leaf->pos >= 0;
    if (hit) {
        struct ext_mapping run = extent_load(entry_at(leaf->node, leaf->pos));
        hit = run.block + run.len > first;
    }
    if (hit)
        ok = cut_entry(ext, inode, &path, first, end, cut, &rest, err);
    close_path(ext, &path);
    return ok && (rest.len == 0 || ext_extent_insert(ext, inode, &rest, err));
}

/* Move all entries of the node right of the path's node at level `at` into it, when both fit. */
static bool join_right(struct ext_fs *ext, struct ext_inode *inode, struct path *path, unsigned at,
                       bool *done, struct error *err)
{
    struct level *level = &path->levels[at], *above = &path->levels[at - 1];
    *done = false;
    if (above->pos + 1 >= entries_of(above->node))
        return true;
    struct path right = *path; /* borrows the pins of the levels above */
    right.levels[at - 1].pos++;
    right.levels[at].block = NULL;
    uint64_t end = (uint64_t)UINT32_MAX + 1;
    if (!open_child(ext, inode, &right, at - 1, end, err)) {
        ext_block_put(ext, right.levels[at].block);
        return false;
    }
    uint8_t *from = right.levels[at].node;
    int have = entries_of(level->node), more = entries_of(from);
    bool fits = have + more <= (int)ext_eh_eh_max(level->node);
    if (fits) {
        memcpy(entry_at(level->node, have), entry_at(from, 0), (size_t)more * EXT_EXTENT_ENTRY);
        ext_eh_set_eh_entries(level->node, (uint64_t)(have + more));
    }
    ext_block_put(ext, right.levels[at].block);
    if (!fits)
        return true;
    if (!ext_index_block_free(ext, inode, child_of(entry_at(above->node, above->pos + 1)), err))
        return false;
    entries_delete(above->node, above->pos + 1, 1);
    node_dirty(ext, inode, level);
    node_dirty(ext, inode, above);
    *done = true;
    return true;
}

/* The root's only child fits into the root: it takes its place. */
static bool lower_root(struct ext_fs *ext, struct ext_inode *inode, struct path *path, bool *done,
                       struct error *err)
{
    uint8_t *root = path->levels[0].node;
    *done = false;
    if (path->depth == 0 || entries_of(root) != 1 || entries_of(path->levels[1].node) > ROOT_MAX)
        return true;
    uint64_t number = child_of(entry_at(root, 0));
    int count = entries_of(path->levels[1].node);
    memcpy(entry_at(root, 0), entry_at(path->levels[1].node, 0), (size_t)count * EXT_EXTENT_ENTRY);
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
        struct path path;
        changed = false;
        if (!find_path(ext, inode, block, &path, err))
            return false;
        bool ok = true;
        for (unsigned at = path.depth; ok && !changed && at > 0; at--)
            ok = join_right(ext, inode, &path, at, &changed, err);
        unsigned depth = path.depth;
        if (ok && !changed)
            ok = lower_root(ext, inode, &path, &changed, err);
        path.depth = depth;
        close_path(ext, &path);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- walk ---- */

static bool walk_leaf(const struct level *leaf, ext_map_fn *fn, void *arg, struct error *err)
{
    for (int i = 0; i < entries_of(leaf->node); i++) {
        struct ext_map_visit visit = {.mapping = extent_load(entry_at(leaf->node, i)), .data = true};
        if (!fn(&visit, arg, err))
            return false;
    }
    return true;
}

static bool walk_level(struct ext_fs *ext, const struct ext_inode *inode, struct path *path, unsigned at,
                       uint64_t end, ext_map_fn *fn, void *arg, struct error *err)
{
    struct level *level = &path->levels[at];
    if (at == path->depth)
        return walk_leaf(level, fn, arg, err);
    int count = entries_of(level->node);
    bool ok = true;
    for (level->pos = 0; ok && level->pos < count; level->pos++) {
        const uint8_t *entry = entry_at(level->node, level->pos);
        uint64_t next = level->pos + 1 < count ? first_of(entry_at(level->node, level->pos + 1)) : end;
        struct ext_map_visit visit = {.mapping = {first_of(entry), child_of(entry), 1, false},
                                      .depth = path->depth - at - 1};
        ok = interrupt_check(err) && open_child(ext, inode, path, at, next, err) &&
             walk_level(ext, inode, path, at + 1, next, fn, arg, err);
        ext_block_put(ext, path->levels[at + 1].block);
        path->levels[at + 1].block = NULL;
        ok = ok && fn(&visit, arg, err);
    }
    return ok;
}

bool ext_extent_walk(struct ext_fs *ext, const struct ext_inode *inode, ext_map_fn *fn, void *arg,
                     struct error *err)
{
    struct path path;
    return open_root(ext, inode, &path, err) &&
           walk_level(ext, inode, &path, 0, (uint64_t)UINT32_MAX + 1, fn, arg, err);
}

bool ext_extent_describe(struct ext_fs *ext, const struct ext_inode *inode, uint64_t block,
                         struct report *report, struct error *err)
{
    struct path path;
    if (!find_path(ext, inode, block, &path, err))
        return false;
    report_open_list(report, "path");
    for (unsigned i = 0; i <= path.depth; i++) {
        const struct level *level = &path.levels[i];
        report_open(report, NULL);
        if (level->block)
            report_number(report, "node", level->block->off >> ext->block_bits);
        report_number(report, "depth", path.depth - i);
        if (level->pos >= 0)
            report_number(report, i == path.depth ? "extent" : "entry", (uint64_t)level->pos);
        report_number(report, "entries", (uint64_t)entries_of(level->node));
        report_close(report);
    }
    report_close(report);
    close_path(ext, &path);
    return true;
}

void ext_extent_init(uint8_t *inode)
{
    uint8_t *root = ext_inode_i_block(inode);
    memset(root, 0, EXT_I_BLOCK_SIZE);
    ext_eh_set_eh_magic(root, EXT_EXTENT_MAGIC);
    ext_eh_set_eh_max(root, ROOT_MAX);
}
