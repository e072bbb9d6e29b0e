/* The inside of an extent tree, for the files that read it (extent.c) and cut it (extent_cut.c). */
#ifndef EXT_EXTENT_TREE_H
#define EXT_EXTENT_TREE_H

#include "bytes.h"
#include "extent.h"

enum { EXT_TREE_ROOT_MAX = (EXT_I_BLOCK_SIZE - EXT_EXTENT_ENTRY) / EXT_EXTENT_ENTRY };

struct ext_tree_level {
    uint8_t *node;
    struct cache_block *block; /* NULL: the root */
    int pos;                   /* entry on the path; -1: before the first */
};

struct ext_path {
    unsigned depth;
    struct ext_tree_level levels[EXT_EXTENT_MAX_DEPTH + 1]; /* 0: the root; depth: the leaf */
};

static inline uint8_t *ext_tree_entry(const uint8_t *node, int pos)
{
    return (uint8_t *)(uintptr_t)node + EXT_EXTENT_ENTRY * (pos + 1);
}

static inline int ext_tree_count(const uint8_t *node)
{
    return (int)ext_eh_eh_entries(node);
}

/* The first file block of an entry is at the same place in extents and index entries. */
static inline uint64_t ext_tree_first(const uint8_t *entry)
{
    return ext_ee_ee_block(entry);
}

static inline uint64_t ext_tree_child(const uint8_t *entry)
{
    return ext_ei_ei_leaf_lo(entry) | ext_ei_ei_leaf_hi(entry) << 32;
}

static inline void ext_tree_store_index(uint8_t *entry, uint64_t first, uint64_t child)
{
    ext_ei_set_ei_block(entry, first);
    ext_ei_set_ei_leaf_lo(entry, child & UINT32_MAX);
    ext_ei_set_ei_leaf_hi(entry, child >> 32);
    ext_ei_set_ei_unused(entry, 0);
}

static inline struct ext_mapping ext_tree_load(const uint8_t *entry)
{
    uint64_t len = ext_ee_ee_len(entry);
    struct ext_mapping run = {
        .block = ext_tree_first(entry), .len = len, .unwritten = len > EXT_EXTENT_INIT_MAX};
    if (run.unwritten)
        run.len -= EXT_EXTENT_INIT_MAX;
    run.start = ext_ee_ee_start_lo(entry) | ext_ee_ee_start_hi(entry) << 32;
    return run;
}

static inline void ext_tree_store(uint8_t *entry, const struct ext_mapping *run)
{
    ext_ee_set_ee_block(entry, run->block);
    ext_ee_set_ee_len(entry, run->unwritten ? run->len + EXT_EXTENT_INIT_MAX : run->len);
    ext_ee_set_ee_start_lo(entry, run->start & UINT32_MAX);
    ext_ee_set_ee_start_hi(entry, run->start >> 32);
}

static inline uint64_t ext_tree_run_max(bool unwritten)
{
    return unwritten ? EXT_EXTENT_INIT_MAX - 1 : EXT_EXTENT_INIT_MAX;
}

/* Open the root; the path has nothing to close yet but the root, which is the inode's. */
bool ext_tree_open_root(struct ext_fs *, const struct ext_inode *, struct ext_path *,
                        struct error *) DISH_CHECKED;
/* Open the node below entry `pos` of level `at`;
 * its entries must lie in the range from that entry to `end`. */
bool ext_tree_open_child(struct ext_fs *, const struct ext_inode *, struct ext_path *, unsigned at,
                         uint64_t end, struct error *) DISH_CHECKED;
/* The path to the leaf that covers `block`. */
bool ext_tree_find(struct ext_fs *, const struct ext_inode *, uint64_t block, struct ext_path *,
                   struct error *) DISH_CHECKED;
void ext_tree_close(struct ext_fs *, struct ext_path *);
void ext_tree_dirty(struct ext_fs *, struct ext_inode *, struct ext_tree_level *);
void ext_tree_insert(uint8_t *node, int pos, const uint8_t *entry);
void ext_tree_delete(uint8_t *node, int pos, int n);
/* After the first entry of a node changed: the entries above it begin there too (invariant 3). */
void ext_tree_fix_parents(struct ext_fs *, struct ext_inode *, struct ext_path *, unsigned at);

#endif
