/*
 * Block maps ("Direct/Indirect Block Addressing"): 12 direct pointers, then one each to an indirect, a double
 * and a triple indirect block. A pointer of 0 is a hole, at any level. Levels bound the recursion; the number
 * of index blocks visited is bounded by the volume's blocks, because a sound map visits none twice.
 */
#include "extent.h"

#include "bytes.h"
#include "describe.h"

enum { TREES = 3 };

static uint64_t pointers_per_block(const struct ext_fs *ext)
{
    return ext->block_size / 4;
}

/* File blocks under one pointer at `level` (0: a data block). */
static uint64_t span_of(const struct ext_fs *ext, unsigned level)
{
    return (uint64_t)1 << level * (ext->block_bits - 2);
}

uint64_t ext_indirect_max(const struct ext_fs *ext)
{
    uint64_t max = EXT_NDIR;
    for (unsigned level = 1; level <= TREES; level++)
        max += span_of(ext, level);
    return MIN_OF(max, UINT32_MAX);
}

/* The pointer in i_block above a file block: its level,
 * and the block's distance from what it covers first. */
static bool find_root(const struct ext_fs *ext, uint64_t block, unsigned *slot, unsigned *level,
                      uint64_t *rest)
{
    *rest = block;
    *level = 0;
    if (block < EXT_NDIR) {
        *slot = (unsigned)block;
        *rest = 0;
        return true;
    }
    *rest -= EXT_NDIR;
    for (*level = 1; *level <= TREES; ++*level) {
        if (*rest < span_of(ext, *level)) {
            *slot = EXT_NDIR + *level - 1;
            return true;
        }
        *rest -= span_of(ext, *level);
    }
    return false;
}

static bool check_pointer(struct ext_fs *ext, const struct ext_inode *inode, uint64_t pointer,
                          struct error *err)
{
    return ext_blocks_valid(ext, pointer, 1) ||
           fail(err, E_DAMAGED, "inode %u: its block map points to block %llu, outside the volume",
                inode->ino, (unsigned long long)pointer);
}

static bool get_index(struct ext_fs *ext, const struct ext_inode *inode, uint64_t pointer,
                      struct cache_block **out, struct error *err)
{
    return check_pointer(ext, inode, pointer, err) && ext_block_get(ext, pointer, EXT_TAG_NONE, 0, out, err);
}

/* ---- lookup ---- */

/* The run that begins at pointers[at]: blocks that follow each other, or zeros. */
static void measure_run(const uint8_t *pointers, uint64_t at, uint64_t count, struct ext_mapping *out)
{
    out->start = load_le32(pointers + at * 4);
    out->len = 1;
    while (at + out->len < count) {
        uint64_t next = load_le32(pointers + (at + out->len) * 4);
        if (next != (out->start ? out->start + out->len : 0))
            break;
        out->len++;
    }
}

bool ext_indirect_lookup(struct ext_fs *ext, const struct ext_inode *inode, uint64_t block,
                         struct ext_mapping *out, struct error *err)
{
    unsigned slot, level;
    uint64_t rest;
    *out = (struct ext_mapping){.block = block};
    if (!find_root(ext, block, &slot, &level, &rest)) {
        out->len = (uint64_t)UINT32_MAX + 1 - MIN_OF(block, UINT32_MAX);
        return true;
    }
    const uint8_t *roots = ext_inode_i_block(inode->raw);
    if (level == 0) {
        measure_run(roots, slot, EXT_NDIR, out);
        return out->start == 0 || check_pointer(ext, inode, out->start + out->len - 1, err);
    }
    uint64_t pointer = load_le32(roots + slot * 4);
    for (; level > 0; level--) {
        struct cache_block *index;
        uint64_t span = span_of(ext, level - 1), at = rest / span;
        if (pointer == 0) {
            out->len = span_of(ext, level) - rest;
            return true;
        }
        if (!get_index(ext, inode, pointer, &index, err))
            return false;
        rest %= span;
        pointer = load_le32(index->data + at * 4);
        if (level == 1)
            measure_run(index->data, at, pointers_per_block(ext), out);
        ext_block_put(ext, index);
    }
    return out->start == 0 || (check_pointer(ext, inode, out->start, err) &&
                               check_pointer(ext, inode, out->start + out->len - 1, err));
}

bool ext_indirect_describe(struct ext_fs *ext, const struct ext_inode *inode, uint64_t block,
                           struct report *report, struct error *err)
{
    unsigned slot, level;
    uint64_t rest;
    bool ok = true;
    if (!find_root(ext, block, &slot, &level, &rest))
        return true;
    uint64_t pointer = load_le32(ext_inode_i_block(inode->raw) + slot * 4);
    report_number(report, "slot", slot);
    report_open_list(report, "path");
    for (; ok && level > 0 && pointer != 0; level--) {
        struct cache_block *index;
        uint64_t span = span_of(ext, level - 1), at = rest / span;
        report_open(report, NULL);
        report_number(report, "indirect-block", pointer);
        report_number(report, "entry", at);
        report_close(report);
        ok = get_index(ext, inode, pointer, &index, err);
        if (ok) {
            pointer = load_le32(index->data + at * 4);
            ext_block_put(ext, index);
        }
        rest %= span;
    }
    report_close(report);
    return ok;
}

/* ---- insert ---- */

/* The index block below a pointer, made when there is none. A new one is noted in *pointer. */
static bool enter_index(struct ext_fs *ext, struct ext_inode *inode, uint64_t goal, uint64_t *pointer,
                        struct cache_block **out, struct error *err)
{
    if (*pointer != 0)
        return get_index(ext, inode, *pointer, out, err);
    if (!ext_index_block_new(ext, inode, goal, pointer, err))
        return false;
    if (*pointer > UINT32_MAX)
        return fail(err, E_TOOBIG, "inode %u: a block map cannot reach block %llu", inode->ino,
                    (unsigned long long)*pointer);
    return ext_block_new(ext, *pointer, EXT_TAG_NONE, 0, out, err);
}

static uint64_t fill_pointers(uint8_t *pointers, uint64_t at, uint64_t count, const struct ext_mapping *run)
{
    uint64_t n = MIN_OF(count - at, run->len);
    for (uint64_t i = 0; i < n; i++)
        store_le32(pointers + (at + i) * 4, (uint32_t)(run->start + i));
    return n;
}

/* Enter the front part of a run, as far as one array of pointers holds it. */
static bool insert_piece(struct ext_fs *ext, struct ext_inode *inode, const struct ext_mapping *run,
                         uint64_t *done, struct error *err)
{
    unsigned slot, level;
    uint64_t rest, goal = run->start + run->len;
    uint8_t *roots = ext_inode_i_block(inode->raw);
    if (!find_root(ext, run->block, &slot, &level, &rest))
        return fail(err, E_TOOBIG, "inode %u: file block %llu is past what a block map reaches", inode->ino,
                    (unsigned long long)run->block);
    ext_inode_dirty(ext, inode);
    if (level == 0) {
        *done = fill_pointers(roots, slot, EXT_NDIR, run);
        return true;
    }
    struct cache_block *index, *above = NULL;
    uint64_t pointer = load_le32(roots + slot * 4), at = 0;
    for (;; level--) {
        bool is_new = pointer == 0;
        bool ok = enter_index(ext, inode, goal, &pointer, &index, err);
        if (ok && is_new && above) {
            store_le32(above->data + at * 4, (uint32_t)pointer);
            ext_block_dirty(ext, above);
        } else if (ok && is_new) {
            store_le32(roots + slot * 4, (uint32_t)pointer);
        }
        ext_block_put(ext, above);
        if (!ok)
            return false;
        uint64_t span = span_of(ext, level - 1);
        at = rest / span;
        rest %= span;
        if (level == 1)
            break;
        pointer = load_le32(index->data + at * 4);
        above = index;
    }
    *done = fill_pointers(index->data, at, pointers_per_block(ext), run);
    ext_block_dirty(ext, index);
    ext_block_put(ext, index);
    return true;
}

bool ext_indirect_insert(struct ext_fs *ext, struct ext_inode *inode, const struct ext_mapping *run,
                         struct error *err)
{
    struct ext_mapping rest = *run;
    if (rest.start + rest.len > (uint64_t)UINT32_MAX + 1)
        return fail(err, E_TOOBIG, "inode %u: a block map cannot reach block %llu", inode->ino,
                    (unsigned long long)(rest.start + rest.len - 1));
    while (rest.len > 0) {
        uint64_t done = 0;
        if (!insert_piece(ext, inode, &rest, &done, err))
            return false;
        rest.block += done;
        rest.start += done;
        rest.len -= done;
    }
    return true;
}

/* ---- remove ---- */

struct cut {
    struct ext_fs *ext;
    struct ext_inode *inode;
    uint64_t first, end;    /* file blocks to unmap */
    struct ext_mapping run; /* collected, not released yet */
    uint64_t visited;
};

static bool release_run(struct cut *cut, struct error *err)
{
    struct ext_mapping run = cut->run;
    cut->run.len = 0;
    return run.len == 0 || ext_map_release(cut->ext, cut->inode, &run, err);
}

static bool cut_data(struct cut *cut, uint64_t block, uint64_t pointer, struct error *err)
{
    struct ext_mapping *run = &cut->run;
    if (run->len > 0 && run->block + run->len == block && run->start + run->len == pointer) {
        run->len++;
        return true;
    }
    if (!check_pointer(cut->ext, cut->inode, pointer, err) || !release_run(cut, err))
        return false;
    *run = (struct ext_mapping){block, pointer, 1, false};
    return true;
}

static bool cut_tree(struct cut *cut, uint8_t *raw, unsigned level, uint64_t block, struct error *err);

/* Cut inside the block of pointers at `pointer`; *empty: nothing is left in it. */
static bool cut_index(struct cut *cut, uint64_t pointer, unsigned level, uint64_t block, bool *empty,
                      struct error *err)
{
    struct ext_fs *ext = cut->ext;
    struct cache_block *index;
    uint64_t count = pointers_per_block(ext), span = span_of(ext, level - 1);
    if (++cut->visited > ext->blocks)
        return fail(err, E_DAMAGED, "inode %u: its block map has a cycle", cut->inode->ino);
    if (!interrupt_check(err) || !get_index(ext, cut->inode, pointer, &index, err))
        return false;
    uint64_t from = cut->first > block ? (cut->first - block) / span : 0;
    uint64_t to = MIN_OF(count, div_up(cut->end - block, span));
    bool ok = true;
    for (uint64_t i = from; ok && i < to; i++)
        if (load_le32(index->data + i * 4) != 0)
            ok = cut_tree(cut, index->data + i * 4, level - 1, block + i * span, err);
    ext_block_dirty(ext, index);
    *empty = all_zero(index->data, ext->block_size);
    ext_block_put(ext, index);
    return ok;
}

/* Cut what lies below one pointer; it becomes 0 when nothing is left there. */
static bool cut_tree(struct cut *cut, uint8_t *raw, unsigned level, uint64_t block, struct error *err)
{
    uint64_t pointer = load_le32(raw);
    bool empty = true;
    if (level == 0) {
        if (!cut_data(cut, block, pointer, err))
            return false;
    } else {
        if (!cut_index(cut, pointer, level, block, &empty, err))
            return false;
        if (empty && !ext_index_block_free(cut->ext, cut->inode, pointer, err))
            return false;
    }
    if (empty)
        store_le32(raw, 0);
    return true;
}

bool ext_indirect_cut(struct ext_fs *ext, struct ext_inode *inode, uint64_t first, uint64_t end,
                      struct error *err)
{
    struct cut cut = {.ext = ext, .inode = inode, .first = first, .end = end};
    uint8_t *roots = ext_inode_i_block(inode->raw);
    uint64_t block = 0;
    for (unsigned slot = 0; slot < EXT_N_BLOCKS; slot++) {
        unsigned level = slot < EXT_NDIR ? 0 : slot - EXT_NDIR + 1;
        uint64_t span = span_of(ext, level);
        bool touched = block < end && first < block + span && load_le32(roots + slot * 4) != 0;
        if (touched && !cut_tree(&cut, roots + slot * 4, level, block, err))
            return false;
        block += span;
    }
    ext_inode_dirty(ext, inode);
    return release_run(&cut, err);
}

/* ---- walk ---- */

struct walk {
    struct ext_fs *ext;
    const struct ext_inode *inode;
    ext_map_fn *fn;
    void *arg;
    uint64_t visited;
};

/* `count` pointers of one level that begin at file block `block`. */
static bool walk_pointers(struct walk *walk, const uint8_t *pointers, uint64_t count, unsigned level,
                          uint64_t block, struct error *err);

static bool walk_index(struct walk *walk, uint64_t pointer, unsigned level, uint64_t block, struct error *err)
{
    struct ext_fs *ext = walk->ext;
    struct cache_block *index;
    if (++walk->visited > ext->blocks)
        return fail(err, E_DAMAGED, "inode %u: its block map has a cycle", walk->inode->ino);
    if (!interrupt_check(err) || !get_index(ext, walk->inode, pointer, &index, err))
        return false;
    bool ok = walk_pointers(walk, index->data, pointers_per_block(ext), level - 1, block, err);
    ext_block_put(ext, index);
    struct ext_map_visit visit = {.mapping = {block, pointer, 1, false}, .depth = level - 1};
    return ok && walk->fn(&visit, walk->arg, err);
}

static bool walk_pointers(struct walk *walk, const uint8_t *pointers, uint64_t count, unsigned level,
                          uint64_t block, struct error *err)
{
    uint64_t span = span_of(walk->ext, level);
    for (uint64_t i = 0; i < count;) {
        struct ext_map_visit visit = {.data = true};
        uint64_t step = 1, pointer = load_le32(pointers + i * 4);
        if (level == 0) {
            measure_run(pointers, i, count, &visit.mapping);
            visit.mapping.block = block + i;
            step = visit.mapping.len;
            if (pointer != 0 && (!check_pointer(walk->ext, walk->inode, pointer, err) ||
                                 !check_pointer(walk->ext, walk->inode, pointer + step - 1, err) ||
                                 !walk->fn(&visit, walk->arg, err)))
                return false;
        } else if (pointer != 0 && !walk_index(walk, pointer, level, block + i * span, err)) {
            return false;
        }
        i += step;
    }
    return true;
}

bool ext_indirect_walk(struct ext_fs *ext, const struct ext_inode *inode, ext_map_fn *fn, void *arg,
                       struct error *err)
{
    struct walk walk = {.ext = ext, .inode = inode, .fn = fn, .arg = arg};
    const uint8_t *roots = ext_inode_i_block(inode->raw);
    uint64_t block = EXT_NDIR;
    if (!walk_pointers(&walk, roots, EXT_NDIR, 0, 0, err))
        return false;
    for (unsigned level = 1; level <= TREES; level++) {
        uint64_t pointer = load_le32(roots + (EXT_NDIR + level - 1) * 4);
        if (pointer != 0 && !walk_index(&walk, pointer, level, block, err))
            return false;
        block += span_of(ext, level);
    }
    return true;
}
