/*
 * File block to volume block, whichever form the inode has; allocation for files, and the clusters of
 * bigalloc: a block lies at the same place in its cluster on the volume as in the file, so all blocks of one
 * file cluster share one volume cluster, which is allocated and freed once.
 */
#include "bytes.h"
#include "clock.h"
#include "extent.h"

#include <sys/stat.h>

static bool uses_extents(const struct ext_inode *inode)
{
    return ext_inode_flag(inode->raw, EXT_FL_EXTENTS);
}

static uint64_t cluster_mask(const struct ext_fs *ext)
{
    return ((uint64_t)1 << ext->cluster_bits) - 1;
}

uint64_t ext_map_max_block(const struct ext_fs *ext, const struct ext_inode *inode)
{
    return uses_extents(inode) ? UINT32_MAX : ext_indirect_max(ext);
}

static bool lookup(struct ext_fs *ext, const struct ext_inode *inode, uint64_t block, struct ext_mapping *out,
                   struct ext_mapping *before, struct error *err)
{
    if (block > UINT32_MAX)
        return fail(err, E_TOOBIG, "inode %u: file block %llu is too large", inode->ino,
                    (unsigned long long)block);
    if (uses_extents(inode))
        return ext_extent_lookup(ext, inode, block, out, before, err);
    if (!ext_indirect_lookup(ext, inode, block, out, err))
        return false;
    if (before) {
        *before = (struct ext_mapping){0};
        if (out->start == 0 && block > 0 && !ext_indirect_lookup(ext, inode, block - 1, before, err))
            return false;
        if (before->start == 0)
            before->len = 0;
    }
    return true;
}

bool ext_map(struct ext_fs *ext, const struct ext_inode *inode, uint64_t block, struct ext_mapping *out,
             struct error *err)
{
    return lookup(ext, inode, block, out, NULL, err);
}

bool ext_map_insert(struct ext_fs *ext, struct ext_inode *inode, const struct ext_mapping *run,
                    struct error *err)
{
    return uses_extents(inode) ? ext_extent_insert(ext, inode, run, err)
                               : ext_indirect_insert(ext, inode, run, err);
}

bool ext_map_walk(struct ext_fs *ext, const struct ext_inode *inode, ext_map_fn *fn, void *arg,
                  struct error *err)
{
    if (!ext_inode_has_blocks(ext, inode->raw))
        return true;
    return uses_extents(inode) ? ext_extent_walk(ext, inode, fn, arg, err)
                               : ext_indirect_walk(ext, inode, fn, arg, err);
}

void ext_map_init(struct ext_fs *ext, struct ext_inode *inode)
{
    uint64_t flags = ext_inode_i_flags(inode->raw);
    if (ext_has(ext, EXT_EXTENTS)) {
        ext_extent_init(inode->raw);
        ext_inode_set_i_flags(inode->raw, flags | EXT_FL_EXTENTS);
    } else {
        memset(ext_inode_i_block(inode->raw), 0, EXT_I_BLOCK_SIZE);
        ext_inode_set_i_flags(inode->raw, flags & ~(uint64_t)EXT_FL_EXTENTS);
    }
    ext_inode_dirty(ext, inode);
}

/* ---- index blocks ---- */

bool ext_index_block_new(struct ext_fs *ext, struct ext_inode *inode, uint64_t goal, uint64_t *block,
                         struct error *err)
{
    struct ext_run run;
    if (!ext_blocks_alloc(ext, goal, 1, &run, err))
        return false;
    *block = run.start;
    return ext_inode_charge(ext, inode, (int64_t)1 << ext->cluster_bits, err);
}

bool ext_index_block_free(struct ext_fs *ext, struct ext_inode *inode, uint64_t block, struct error *err)
{
    uint64_t start = block - ((block - ext->first_data_block) & cluster_mask(ext));
    return ext_blocks_free(ext, start, cluster_mask(ext) + 1, err) &&
           ext_inode_charge(ext, inode, -((int64_t)1 << ext->cluster_bits), err);
}

/* ---- filling holes ---- */

/* Where to allocate: behind the run before the hole, else where the inode's first block should lie. */
static bool allocate(struct ext_fs *ext, struct ext_inode *inode, uint64_t block, uint64_t want,
                     const struct ext_mapping *before, struct ext_run *out, struct error *err)
{
    uint64_t total = want;
    if (before->len > 0) {
        uint64_t end = before->start + before->len, gap = block - (before->block + before->len);
        if (gap == 0)
            return ext_blocks_extend(ext, end, want, out, err);
        return ext_blocks_alloc(ext, MIN_OF(end + MIN_OF(gap, want), ext->blocks - 1), want, out, err);
    }
    if (ext->hint_ino == inode->ino && block == 0)
        total = MAX_OF(want, ext->hint_blocks);
    uint64_t goal = ext_inode_goal(ext, inode->ino);
    if (total == want)
        return ext_blocks_alloc(ext, goal, want, out, err);
    return ext_blocks_reserve(ext, goal, total, &goal, err) && ext_blocks_extend(ext, goal, want, out, err);
}

/* With bigalloc: a block of the same cluster that is mapped already decides where this one lies. */
static bool find_sibling(struct ext_fs *ext, const struct ext_inode *inode, uint64_t block,
                         struct ext_mapping *hole, const struct ext_mapping *before, uint64_t *start,
                         struct error *err)
{
    uint64_t mask = cluster_mask(ext), first = block & ~mask, next = block + hole->len;
    *start = 0;
    if (before->len > 0 && before->block + before->len > first) {
        *start = before->start + (block - before->block);
    } else if (next <= (block | mask)) {
        struct ext_mapping after;
        if (!lookup(ext, inode, next, &after, NULL, err))
            return false;
        if (after.start > next - block)
            *start = after.start - (next - block);
    }
    uint64_t cluster_end = (block | mask) + 1;
    if (*start != 0)
        hole->len = MIN_OF(hole->len, cluster_end - block);
    else if ((next & mask) != 0 &&
             (next & ~mask) >= cluster_end) /* the last cluster may belong to what follows */
        hole->len = (next & ~mask) - block;
    return true;
}

bool ext_map_fill(struct ext_fs *ext, struct ext_inode *inode, uint64_t block, uint64_t len, bool unwritten,
                  struct ext_mapping *out, struct error *err)
{
    struct ext_mapping hole, before;
    struct ext_run run;
    uint64_t mask = cluster_mask(ext), start = 0;
    if (!lookup(ext, inode, block, &hole, &before, err))
        return false;
    if (hole.start != 0)
        return fail(err, E_DAMAGED, "inode %u: file block %llu is mapped already", inode->ino,
                    (unsigned long long)block);
    if (block + len > ext_map_max_block(ext, inode))
        return fail(err, E_TOOBIG, "inode %u: a file cannot reach block %llu", inode->ino,
                    (unsigned long long)(block + len - 1));
    if (mask != 0 && !find_sibling(ext, inode, block, &hole, &before, &start, err))
        return false;
    *out = (struct ext_mapping){block, start, MIN_OF(len, hole.len), unwritten};
    if (start == 0) {
        uint64_t skip = block & mask;
        if (!allocate(ext, inode, block, out->len + skip, &before, &run, err))
            return false;
        out->start = run.start + skip;
        out->len = MIN_OF(out->len, run.len - skip);
        uint64_t charged = (run.len + mask) & ~mask;
        if (!ext_inode_charge(ext, inode, (int64_t)charged, err))
            return false;
    }
    return ext_map_insert(ext, inode, out, err);
}

/* ---- emptying ---- */

/* Blocks of ordinary files are not cached; those of directories and of the volume's own files may be. */
static bool free_data(struct ext_fs *ext, const struct ext_inode *inode, uint64_t start, uint64_t len,
                      struct error *err)
{
    bool contents = ext_inode_is(inode->raw, S_IFREG) && inode->ino >= ext->first_ino &&
                    inode->ino != ext_super_s_orphan_file_inum(ext->super);
    return contents ? ext_contents_free(ext, start, len, err) : ext_blocks_free(ext, start, len, err);
}

static bool is_mapped(struct ext_fs *ext, const struct ext_inode *inode, uint64_t first, uint64_t end,
                      bool *mapped, struct error *err)
{
    *mapped = false;
    while (first < end && !*mapped) {
        struct ext_mapping run;
        if (!lookup(ext, inode, first, &run, NULL, err))
            return false;
        *mapped = run.start != 0;
        first += run.len;
    }
    return true;
}

bool ext_map_release(struct ext_fs *ext, struct ext_inode *inode, const struct ext_mapping *run,
                     struct error *err)
{
    uint64_t mask = cluster_mask(ext), first = run->block, end = run->block + run->len, start = run->start;
    if (mask != 0) {
        bool head, tail;
        uint64_t down = first & ~mask, up = (end + mask) & ~mask;
        if (!is_mapped(ext, inode, down, first, &head, err) || !is_mapped(ext, inode, end, up, &tail, err))
            return false;
        if (head)
            down += mask + 1;
        if (tail)
            up -= MIN_OF(up, mask + 1);
        if (down >= up)
            return true;
        start = start + down - first;
        first = down;
        end = up;
    }
    return free_data(ext, inode, start, MIN_OF(end - first, ext->blocks - start), err) &&
           ext_inode_charge(ext, inode, -(int64_t)(end - first), err);
}

bool ext_map_remove(struct ext_fs *ext, struct ext_inode *inode, uint64_t first, uint64_t end,
                    struct error *err)
{
    struct ext_mapping cut;
    end = MIN_OF(end, (uint64_t)UINT32_MAX + 1);
    if (first >= end)
        return true;
    if (!uses_extents(inode))
        return ext_indirect_cut(ext, inode, first, end, err);
    for (;;) {
        if (!interrupt_check(err) || !ext_extent_cut(ext, inode, first, end, &cut, err))
            return false;
        if (cut.len == 0)
            break;
        if (!ext_map_release(ext, inode, &cut, err))
            return false;
    }
    return ext_extent_shrink(ext, inode, first > 0 ? first - 1 : 0, err);
}

bool ext_map_written(struct ext_fs *ext, struct ext_inode *inode, uint64_t block, uint64_t len,
                     struct error *err)
{
    uint64_t end = block + len;
    while (block < end) {
        struct ext_mapping run;
        if (!lookup(ext, inode, block, &run, NULL, err))
            return false;
        run.len = MIN_OF(run.len, end - block);
        if (run.start != 0 && run.unwritten) {
            struct ext_mapping cut;
            if (!ext_extent_cut(ext, inode, block, block + run.len, &cut, err))
                return false;
            cut.unwritten = false;
            if (!ext_extent_insert(ext, inode, &cut, err))
                return false;
        }
        block += run.len;
    }
    return true;
}

/* ---- deleting a whole inode ---- */

struct release {
    struct ext_fs *ext;
    const struct ext_inode *inode;
    uint64_t last; /* first block of the cluster freed last, +1: neighbours may share it */
};

static bool release_visit(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    struct release *release = arg;
    struct ext_fs *ext = release->ext;
    uint64_t mask = cluster_mask(ext), base = ext->first_data_block;
    uint64_t first = ((visit->mapping.start - base) & ~mask) + base;
    uint64_t end = ((visit->mapping.start + visit->mapping.len - base + mask) & ~mask) + base;
    if (mask != 0 && visit->data && first + 1 == release->last)
        first += mask + 1;
    if (visit->data)
        release->last = end - mask;
    if (first >= end)
        return true;
    uint64_t len = MIN_OF(end, ext->blocks) - first;
    return visit->data ? free_data(ext, release->inode, first, len, err)
                       : ext_blocks_free(ext, first, len, err);
}

/*
 * The inode keeps what it says about its blocks, so that it can be looked at and perhaps be brought back. The
 * walk visits a node after all below it; so nothing is read after it was freed.
 */
bool ext_inode_delete(struct ext_fs *ext, struct ext_inode *inode, struct error *err)
{
    struct release release = {.ext = ext, .inode = inode};
    bool directory = ext_inode_is(inode->raw, S_IFDIR);
    if (!ext_xattr_free_all(ext, inode, err) || !ext_map_walk(ext, inode, release_visit, &release, err))
        return false;
    int64_t bytes = (int64_t)ext_inode_units(ext, inode->raw) * 512;
    ext_inode_set_i_dtime(inode->raw, (uint64_t)clock_now().sec & UINT32_MAX);
    ext_inode_set_i_links_count(inode->raw, 0);
    ext_inode_dirty(ext, inode);
    ext_dirs_forget_one(ext, inode->ino);
    bool charged = !ext_inode_flag(inode->raw, EXT_FL_EA_INODE);
    return (!charged || ext_quota_charge(ext, inode->ino, inode->raw, -bytes, -1, err)) &&
           ext_inode_free(ext, inode->ino, directory, err);
}
