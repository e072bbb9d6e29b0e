/*
 * Extent trees ("Extent Tree"). The root lies in i_block and holds 4 entries; the other nodes are blocks.
 *
 * Invariants of a sound tree, checked on the way down and kept by every change:
 *  1. The depth falls by one at each level, from at most 5; so a walk ends.
 *  2. Entries rise; those of a node lie in the range that its parent gives it: no node is reached twice.
 *  3. An index entry begins where the first entry of its node does; only the root may be empty.
 */
#include "extent_tree.h"

#include "describe.h"

/* ---- entries ---- */

void ext_tree_insert(uint8_t *node, int pos, const uint8_t *entry)
{
    int count = ext_tree_count(node);
    memmove(ext_tree_entry(node, pos + 1), ext_tree_entry(node, pos),
            (size_t)(count - pos) * EXT_EXTENT_ENTRY);
    memcpy(ext_tree_entry(node, pos), entry, EXT_EXTENT_ENTRY);
    ext_eh_set_eh_entries(node, (uint64_t)count + 1);
}

void ext_tree_delete(uint8_t *node, int pos, int n)
{
    int count = ext_tree_count(node);
    memmove(ext_tree_entry(node, pos), ext_tree_entry(node, pos + n),
            (size_t)(count - pos - n) * EXT_EXTENT_ENTRY);
    memset(ext_tree_entry(node, count - n), 0, (size_t)n * EXT_EXTENT_ENTRY);
    ext_eh_set_eh_entries(node, (uint64_t)(count - n));
}

/* ---- checks ---- */

static const char *entries_fault(const struct ext_fs *ext, const uint8_t *node)
{
    int count = ext_tree_count(node);
    bool leaf = ext_eh_eh_depth(node) == 0;
    uint64_t next = 0;
    for (int i = 0; i < count; i++) {
        const uint8_t *entry = ext_tree_entry(node, i);
        if (ext_tree_first(entry) < next)
            return "its entries overlap or do not rise";
        if (leaf) {
            struct ext_mapping run = ext_tree_load(entry);
            if (run.len == 0)
                return "it has an extent of length 0";
            if (!ext_blocks_valid(ext, run.start, run.len))
                return "it has an extent outside the volume";
            next = run.block + run.len;
            if (next > (uint64_t)UINT32_MAX + 1)
                return "it has an extent past the largest file block";
        } else {
            if (!ext_blocks_valid(ext, ext_tree_child(entry), 1))
                return "it has a child outside the volume";
            next = ext_tree_first(entry) + 1;
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
    if (depth > 0 && ext_tree_count(node) == 0)
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
    return !ext->has_csum || load_le32(ext_extent_tail(node)) == ext_extent_csum(seed, node);
}

static bool bad_node(struct ext_fs *ext, const struct ext_inode *inode, const struct ext_tree_level *level,
                     const char *fault, struct error *err)
{
    const struct cache_block *block = level->block ? level->block : inode->block;
    return damaged(err, ext->dev, block->off + (uint64_t)(level->node - block->data),
                   "inode %u: %s of the extent tree: %s", inode->ino, level->block ? "a node" : "the root",
                   fault);
}

bool ext_tree_open_root(struct ext_fs *ext, const struct ext_inode *inode, struct ext_path *path,
                        struct error *err)
{
    *path = (struct ext_path){.levels[0].node = ext_inode_i_block(inode->raw)};
    const uint8_t *root = path->levels[0].node;
    path->depth = (unsigned)ext_eh_eh_depth(root);
    const char *fault = path->depth > EXT_EXTENT_MAX_DEPTH ? "eh_depth is more than 5" : NULL;
    if (!fault)
        fault = node_fault(ext, root, path->depth, EXT_TREE_ROOT_MAX);
    return !fault || bad_node(ext, inode, &path->levels[0], fault, err);
}

bool ext_tree_open_child(struct ext_fs *ext, const struct ext_inode *inode, struct ext_path *path,
                         unsigned at, uint64_t end, struct error *err)
{
    struct ext_tree_level *above = &path->levels[at], *level = &path->levels[at + 1];
    const uint8_t *entry = ext_tree_entry(above->node, above->pos);
    const char *fault = NULL;
    if (!ext_block_get(ext, ext_tree_child(entry), EXT_TAG_EXTENTS, ext_inode_owner(inode), &level->block,
                       err))
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
    int count = fault ? 0 : ext_tree_count(level->node);
    if (count > 0 && (ext_tree_first(ext_tree_entry(level->node, 0)) < ext_tree_first(entry) ||
                      ext_tree_first(ext_tree_entry(level->node, count - 1)) >= end))
        fault = "it covers blocks outside the range that its parent gives it";
    return !fault || bad_node(ext, inode, level, fault, err);
}

void ext_tree_close(struct ext_fs *ext, struct ext_path *path)
{
    for (unsigned i = 0; i <= path->depth; i++) {
        ext_block_put(ext, path->levels[i].block);
        path->levels[i].block = NULL;
    }
}

/* Last entry that begins at or before `block`; -1: none. */
static int search_node(const uint8_t *node, uint64_t block)
{
    int low = 0, high = ext_tree_count(node);
    while (low < high) {
        int middle = (low + high) / 2;
        if (ext_tree_first(ext_tree_entry(node, middle)) <= block)
            low = middle + 1;
        else
            high = middle;
    }
    return low - 1;
}

bool ext_tree_find(struct ext_fs *ext, const struct ext_inode *inode, uint64_t block, struct ext_path *path,
                   struct error *err)
{
    uint64_t end = (uint64_t)UINT32_MAX + 1;
    if (!ext_tree_open_root(ext, inode, path, err))
        return false;
    for (unsigned i = 0; i <= path->depth; i++) {
        struct ext_tree_level *level = &path->levels[i];
        level->pos = search_node(level->node, block);
        if (i == path->depth)
            break;
        level->pos = MAX_OF(level->pos, 0);
        if (level->pos + 1 < ext_tree_count(level->node))
            end = ext_tree_first(ext_tree_entry(level->node, level->pos + 1));
        if (!ext_tree_open_child(ext, inode, path, i, end, err)) {
            ext_tree_close(ext, path);
            return false;
        }
    }
    return true;
}

void ext_tree_dirty(struct ext_fs *ext, struct ext_inode *inode, struct ext_tree_level *level)
{
    if (level->block)
        ext_block_dirty(ext, level->block);
    else
        ext_inode_dirty(ext, inode);
}

/* First file block behind the leaf of a path. */
static uint64_t leaf_end(const struct ext_path *path)
{
    for (unsigned i = path->depth; i-- > 0;) {
        const struct ext_tree_level *level = &path->levels[i];
        if (level->pos + 1 < ext_tree_count(level->node))
            return ext_tree_first(ext_tree_entry(level->node, level->pos + 1));
    }
    return (uint64_t)UINT32_MAX + 1;
}

void ext_tree_fix_parents(struct ext_fs *ext, struct ext_inode *inode, struct ext_path *path, unsigned at)
{
    for (; at > 0; at--) {
        struct ext_tree_level *above = &path->levels[at - 1];
        uint64_t first = ext_tree_first(ext_tree_entry(path->levels[at].node, 0));
        ext_ei_set_ei_block(ext_tree_entry(above->node, above->pos), first);
        ext_tree_dirty(ext, inode, above);
        if (above->pos > 0)
            break;
    }
}

/* ---- lookup ---- */

bool ext_extent_lookup(struct ext_fs *ext, const struct ext_inode *inode, uint64_t block,
                       struct ext_mapping *out, struct ext_mapping *before, struct error *err)
{
    struct ext_path path;
    if (!ext_tree_find(ext, inode, block, &path, err))
        return false;
    const struct ext_tree_level *leaf = &path.levels[path.depth];
    struct ext_mapping run = {0};
    if (before)
        *before = (struct ext_mapping){0};
    if (leaf->pos >= 0)
        run = ext_tree_load(ext_tree_entry(leaf->node, leaf->pos));
    if (run.len > 0 && block < run.block + run.len) {
        uint64_t skip = block - run.block;
        *out = (struct ext_mapping){block, run.start + skip, run.len - skip, run.unwritten};
    } else {
        bool more = leaf->pos + 1 < ext_tree_count(leaf->node);
        uint64_t end = more ? ext_tree_first(ext_tree_entry(leaf->node, leaf->pos + 1)) : leaf_end(&path);
        *out = (struct ext_mapping){.block = block, .len = end - block};
        if (before)
            *before = run;
    }
    ext_tree_close(ext, &path);
    return true;
}

/* ---- insert ---- */

static void init_node(const struct ext_fs *ext, uint8_t *node, unsigned depth)
{
    ext_eh_set_eh_magic(node, EXT_EXTENT_MAGIC);
    ext_eh_set_eh_max(node, (ext->block_size - EXT_EXTENT_ENTRY) / EXT_EXTENT_ENTRY);
    ext_eh_set_eh_depth(node, depth);
}

/* Where a new node should lie: behind the entry it is made from. */
static uint64_t node_goal(const struct ext_path *path, unsigned at)
{
    const uint8_t *node = path->levels[at].node;
    const uint8_t *entry = ext_tree_entry(node, MAX_OF(path->levels[at].pos, 0));
    if (at < path->depth)
        return ext_tree_child(entry);
    struct ext_mapping run = ext_tree_load(entry);
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
static bool grow(struct ext_fs *ext, struct ext_inode *inode, struct ext_path *path, struct error *err)
{
    uint8_t *root = path->levels[0].node;
    struct cache_block *block;
    uint64_t at;
    if (path->depth == EXT_EXTENT_MAX_DEPTH)
        return fail(err, E_TOOBIG, "inode %u: the extent tree cannot grow beyond depth 5", inode->ino);
    if (!new_node(ext, inode, node_goal(path, 0), path->depth, &at, &block, err))
        return false;
    int count = ext_tree_count(root);
    memcpy(ext_tree_entry(block->data, 0), ext_tree_entry(root, 0), (size_t)count * EXT_EXTENT_ENTRY);
    ext_eh_set_eh_entries(block->data, (uint64_t)count);
    ext_block_put(ext, block);
    memset(ext_tree_entry(root, 1), 0, (EXT_TREE_ROOT_MAX - 1) * EXT_EXTENT_ENTRY);
    ext_tree_store_index(ext_tree_entry(root, 0), ext_tree_first(ext_tree_entry(root, 0)), at);
    ext_eh_set_eh_entries(root, 1);
    ext_eh_set_eh_depth(root, path->depth + 1);
    ext_inode_dirty(ext, inode);
    return true;
}

/* Split the full node of level `at`, whose parent has room.
 * Appending leaves the old node full but for one. */
static bool split(struct ext_fs *ext, struct ext_inode *inode, struct ext_path *path, unsigned at,
                  struct error *err)
{
    struct ext_tree_level *level = &path->levels[at], *above = &path->levels[at - 1];
    struct cache_block *block;
    uint64_t number;
    int count = ext_tree_count(level->node), keep = level->pos == count - 1 ? count - 1 : count / 2;
    uint8_t entry[EXT_EXTENT_ENTRY];
    if (!new_node(ext, inode, node_goal(path, at), path->depth - at, &number, &block, err))
        return false;
    memcpy(ext_tree_entry(block->data, 0), ext_tree_entry(level->node, keep),
           (size_t)(count - keep) * EXT_EXTENT_ENTRY);
    ext_eh_set_eh_entries(block->data, (uint64_t)(count - keep));
    ext_tree_store_index(entry, ext_tree_first(ext_tree_entry(block->data, 0)), number);
    ext_block_put(ext, block);
    ext_tree_delete(level->node, keep, count - keep);
    ext_tree_insert(above->node, above->pos + 1, entry);
    ext_tree_dirty(ext, inode, level);
    ext_tree_dirty(ext, inode, above);
    return true;
}

/* Make room in the leaf: one step, after which the path is found anew. */
static bool make_room(struct ext_fs *ext, struct ext_inode *inode, struct ext_path *path, struct error *err)
{
    unsigned at = path->depth;
    while (at > 0 && ext_eh_eh_entries(path->levels[at - 1].node) >= ext_eh_eh_max(path->levels[at - 1].node))
        at--;
    return at > 0 ? split(ext, inode, path, at, err) : grow(ext, inode, path, err);
}

static bool joins(const struct ext_mapping *a, const struct ext_mapping *b)
{
    return a->len > 0 && b->len > 0 && a->unwritten == b->unwritten && a->block + a->len == b->block &&
           a->start + a->len == b->start && a->len + b->len <= ext_tree_run_max(a->unwritten);
}

/* Merge with the neighbours in the leaf; false: there is none that it joins. */
static bool merge(struct ext_fs *ext, struct ext_inode *inode, struct ext_path *path,
                  const struct ext_mapping *run)
{
    struct ext_tree_level *leaf = &path->levels[path->depth];
    struct ext_mapping left = {0}, right = {0}, whole = *run;
    if (leaf->pos >= 0)
        left = ext_tree_load(ext_tree_entry(leaf->node, leaf->pos));
    if (leaf->pos + 1 < ext_tree_count(leaf->node))
        right = ext_tree_load(ext_tree_entry(leaf->node, leaf->pos + 1));
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
    ext_tree_store(ext_tree_entry(leaf->node, pos), &whole);
    if (to_left && to_right)
        ext_tree_delete(leaf->node, pos + 1, 1);
    ext_tree_dirty(ext, inode, leaf);
    if (pos == 0)
        ext_tree_fix_parents(ext, inode, path, path->depth);
    return true;
}

static bool insert_one(struct ext_fs *ext, struct ext_inode *inode, const struct ext_mapping *run,
                       struct error *err)
{
    struct ext_path path;
    for (;;) {
        if (!ext_tree_find(ext, inode, run->block, &path, err))
            return false;
        struct ext_tree_level *leaf = &path.levels[path.depth];
        if (merge(ext, inode, &path, run))
            break;
        if (ext_eh_eh_entries(leaf->node) < ext_eh_eh_max(leaf->node)) {
            uint8_t entry[EXT_EXTENT_ENTRY];
            ext_tree_store(entry, run);
            ext_tree_insert(leaf->node, leaf->pos + 1, entry);
            ext_tree_dirty(ext, inode, leaf);
            if (leaf->pos < 0)
                ext_tree_fix_parents(ext, inode, &path, path.depth);
            break;
        }
        bool ok = make_room(ext, inode, &path, err);
        ext_tree_close(ext, &path);
        if (!ok)
            return false;
    }
    ext_tree_close(ext, &path);
    return true;
}

bool ext_extent_insert(struct ext_fs *ext, struct ext_inode *inode, const struct ext_mapping *run,
                       struct error *err)
{
    struct ext_mapping rest = *run;
    while (rest.len > 0) {
        struct ext_mapping piece = rest;
        piece.len = MIN_OF(rest.len, ext_tree_run_max(rest.unwritten));
        if (!insert_one(ext, inode, &piece, err))
            return false;
        rest.block += piece.len;
        rest.start += piece.len;
        rest.len -= piece.len;
    }
    return true;
}

/* ---- walk ---- */

static bool walk_leaf(const struct ext_tree_level *leaf, ext_map_fn *fn, void *arg, struct error *err)
{
    for (int i = 0; i < ext_tree_count(leaf->node); i++) {
        struct ext_map_visit visit = {.mapping = ext_tree_load(ext_tree_entry(leaf->node, i)), .data = true};
        if (!fn(&visit, arg, err))
            return false;
    }
    return true;
}

static bool walk_level(struct ext_fs *ext, const struct ext_inode *inode, struct ext_path *path, unsigned at,
                       uint64_t end, ext_map_fn *fn, void *arg, struct error *err)
{
    struct ext_tree_level *level = &path->levels[at];
    if (at == path->depth)
        return walk_leaf(level, fn, arg, err);
    int count = ext_tree_count(level->node);
    bool ok = true;
    for (level->pos = 0; ok && level->pos < count; level->pos++) {
        const uint8_t *entry = ext_tree_entry(level->node, level->pos);
        uint64_t next =
            level->pos + 1 < count ? ext_tree_first(ext_tree_entry(level->node, level->pos + 1)) : end;
        struct ext_map_visit visit = {.mapping = {ext_tree_first(entry), ext_tree_child(entry), 1, false},
                                      .depth = path->depth - at - 1};
        ok = interrupt_check(err) && ext_tree_open_child(ext, inode, path, at, next, err) &&
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
    struct ext_path path;
    return ext_tree_open_root(ext, inode, &path, err) &&
           walk_level(ext, inode, &path, 0, (uint64_t)UINT32_MAX + 1, fn, arg, err);
}

bool ext_extent_describe(struct ext_fs *ext, const struct ext_inode *inode, uint64_t block,
                         struct report *report, struct error *err)
{
    struct ext_path path;
    if (!ext_tree_find(ext, inode, block, &path, err))
        return false;
    report_open_list(report, "path");
    for (unsigned i = 0; i <= path.depth; i++) {
        const struct ext_tree_level *level = &path.levels[i];
        report_open(report, NULL);
        if (level->block)
            report_number(report, "node", level->block->off >> ext->block_bits);
        report_number(report, "depth", path.depth - i);
        if (level->pos >= 0)
            report_number(report, i == path.depth ? "extent" : "entry", (uint64_t)level->pos);
        report_number(report, "entries", (uint64_t)ext_tree_count(level->node));
        report_close(report);
    }
    report_close(report);
    ext_tree_close(ext, &path);
    return true;
}

void ext_extent_init(uint8_t *inode)
{
    uint8_t *root = ext_inode_i_block(inode);
    memset(root, 0, EXT_I_BLOCK_SIZE);
    ext_eh_set_eh_magic(root, EXT_EXTENT_MAGIC);
    ext_eh_set_eh_max(root, EXT_TREE_ROOT_MAX);
}
