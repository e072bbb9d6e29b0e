/*
 * The blocks of the files that mkfs makes. Space is taken from a cursor that goes up from a goal, so that
 * files lie in as few pieces as the tables leave room for. Trees are built bottom-up, maps top-down: the
 * index blocks of a map lie before the data they describe, as mke2fs writes them.
 */
#include "mkfs.h"

#include "alloc.h"

#include <stdlib.h>

/* ---- where the next blocks come from ---- */

struct cursor {
    struct ext_make *make;
    struct ext_run run; /* free blocks in hand */
    uint64_t taken;     /* of run */
};

static bool cursor_settle(struct cursor *c, struct error *err)
{
    uint64_t taken = c->taken;
    c->taken = 0;
    return taken == 0 || ext_make_take(c->make, c->run.start, taken, err);
}

static bool cursor_next(struct cursor *c, uint64_t *block, struct error *err)
{
    if (c->taken == c->run.len) {
        uint64_t from = c->run.start + c->run.len;
        if (!cursor_settle(c, err) || !ext_make_find(c->make, from, UINT64_MAX, &c->run, err))
            return false;
    }
    *block = c->run.start + c->taken++;
    return true;
}

static bool add_run(struct ext_make_file *file, struct ext_run run, struct error *err)
{
    if (!mem_grow(&file->runs, &file->capacity, file->count + 1, sizeof *file->runs, err))
        return false;
    file->runs[file->count++] = run;
    return true;
}

/* ---- block maps ---- */

struct map_state {
    struct cursor cursor;
    struct ext_make_file *file;
    uint64_t left; /* file blocks still to be mapped */
};

static bool map_data(struct map_state *s, uint64_t *block, struct error *err)
{
    struct ext_make_file *file = s->file;
    if (!cursor_next(&s->cursor, block, err))
        return false;
    s->left--;
    struct ext_run *last = file->count ? &file->runs[file->count - 1] : NULL;
    if (last && last->start + last->len == *block) {
        last->len++;
        return true;
    }
    return add_run(file, (struct ext_run){*block, 1}, err);
}

/* One entry of i_block: a data block (depth 0), or an index block over entries of depth - 1. */
static bool map_entry(struct map_state *s, unsigned depth, uint64_t *block, struct error *err)
{
    if (depth == 0)
        return map_data(s, block, err);
    struct ext_make *m = s->cursor.make;
    if (!cursor_next(&s->cursor, block, err))
        return false;
    s->file->index_blocks++;
    uint8_t *entries = mem_new(m->ext.block_size, err);
    bool ok = entries != NULL;
    for (uint32_t i = 0; ok && s->left && i < m->ext.block_size / 4; i++) {
        uint64_t child;
        ok = map_entry(s, depth - 1, &child, err);
        if (ok)
            store_le32(entries + 4 * i, (uint32_t)child);
    }
    ok = ok && ext_make_write(m, ext_offset(&m->ext, *block), entries, m->ext.block_size, err);
    free(entries);
    return ok;
}

static bool make_block_map(struct ext_make *m, struct ext_make_file *file, uint8_t *i_block, uint64_t blocks,
                           struct error *err)
{
    for (size_t i = 0, at = 0; i < file->count; i++)
        for (uint64_t n = 0; n < file->runs[i].len && at < EXT_NDIR; n++)
            store_le32(i_block + 4 * at++, (uint32_t)(file->runs[i].start + n));
    if (file->count)
        return true;
    struct map_state s = {.cursor = {.make = m, .run = {.start = file->goal}}, .file = file, .left = blocks};
    for (unsigned i = 0; s.left && i < EXT_N_BLOCKS; i++) {
        uint64_t block;
        if (!map_entry(&s, i < EXT_NDIR ? 0 : i - EXT_NDIR + 1, &block, err))
            return false;
        store_le32(i_block + 4 * i, (uint32_t)block);
    }
    return cursor_settle(&s.cursor, err);
}

/* ---- extent trees ---- */

static bool take_runs(struct ext_make *m, struct ext_make_file *file, uint64_t blocks, struct error *err)
{
    uint64_t from = file->goal, most = EXT_EXTENT_INIT_MAX & ~(((uint64_t)1 << m->ext.cluster_bits) - 1);
    while (blocks) {
        struct ext_run run;
        if (!ext_make_find(m, from, MIN_OF(blocks, most), &run, err) ||
            !ext_make_take(m, run.start, run.len, err) || !add_run(file, run, err))
            return false;
        from = run.start + run.len;
        blocks -= run.len;
    }
    return true;
}

static void node_header(uint8_t *node, size_t entries, size_t max, unsigned depth)
{
    ext_eh_set_eh_magic(node, EXT_EXTENT_MAGIC);
    ext_eh_set_eh_entries(node, entries);
    ext_eh_set_eh_max(node, max);
    ext_eh_set_eh_depth(node, depth);
}

/* One level of a tree while it is built: what its nodes' entries will point to. */
struct level {
    uint64_t file_block, block, len; /* len: of an extent; 0 in index levels */
};

static void node_fill(uint8_t *node, const struct level *items, size_t count, unsigned depth)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t *entry = node + EXT_EXTENT_ENTRY * (i + 1);
        if (depth == 0) {
            ext_ee_set_ee_block(entry, (uint32_t)items[i].file_block);
            ext_ee_set_ee_len(entry, items[i].len);
            ext_ee_set_ee_start_hi(entry, items[i].block >> 32);
            ext_ee_set_ee_start_lo(entry, (uint32_t)items[i].block);
        } else {
            ext_ei_set_ei_block(entry, (uint32_t)items[i].file_block);
            ext_ei_set_ei_leaf_lo(entry, (uint32_t)items[i].block);
            ext_ei_set_ei_leaf_hi(entry, items[i].block >> 32);
        }
    }
}

/* Put the items into nodes of their own; items and count become the entries that point to these nodes. */
static bool push_level(struct ext_make *m, struct ext_make_file *file, struct level *items, size_t *count,
                       unsigned depth, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    size_t max = (e->block_size - EXT_EXTENT_ENTRY) / EXT_EXTENT_ENTRY, nodes = 0;
    uint32_t seed = ext_inode_seed(e, file->ino, 0);
    for (size_t i = 0; i < *count; i += max) {
        size_t n = MIN_OF(*count - i, max);
        struct ext_run run;
        if (!ext_make_find(m, file->runs[0].start - 1, 1, &run, err) || !ext_make_take(m, run.start, 1, err))
            return false;
        memset(m->block, 0, e->block_size);
        node_header(m->block, n, max, depth);
        node_fill(m->block, items + i, n, depth);
        if (e->has_csum)
            store_le32(ext_extent_tail(m->block), ext_extent_csum(seed, m->block));
        if (!ext_make_write(m, ext_offset(e, run.start), m->block, e->block_size, err))
            return false;
        file->index_blocks++;
        items[nodes++] = (struct level){items[i].file_block, run.start, 0};
    }
    *count = nodes;
    return true;
}

static bool make_extents(struct ext_make *m, struct ext_make_file *file, uint8_t *i_block, struct error *err)
{
    struct level *items = mem_array(file->count + 1, sizeof *items, err);
    if (!items)
        return false;
    uint64_t at = 0;
    size_t count = file->count;
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct level){at, file->runs[i].start, file->runs[i].len};
        at += file->runs[i].len;
    }
    unsigned depth = 0;
    bool ok = true;
    for (; ok && count > 4; depth++)
        ok = push_level(m, file, items, &count, depth, err);
    if (ok) {
        node_header(i_block, count, 4, depth);
        node_fill(i_block, items, count, depth);
    }
    free(items);
    return ok;
}

bool ext_make_map(struct ext_make *m, struct ext_make_file *file, uint8_t *inode, uint64_t blocks,
                  struct error *err)
{
    struct ext_fs *e = &m->ext;
    uint8_t *i_block = ext_inode_i_block(inode);
    if (ext_has(e, EXT_EXTENTS)) {
        ext_inode_set_i_flags(inode, ext_inode_i_flags(inode) | EXT_FL_EXTENTS);
        if ((!file->count && !take_runs(m, file, blocks, err)) || !make_extents(m, file, i_block, err))
            return false;
    } else if (!make_block_map(m, file, i_block, blocks, err)) {
        return false;
    }
    uint64_t cluster = (uint64_t)1 << e->cluster_bits;
    uint64_t clusters = div_up(blocks, cluster) + file->index_blocks;
    uint64_t units = clusters * (e->cluster_size / 512);
    ext_inode_set_i_blocks_lo(inode, (uint32_t)units);
    ext_inode_set_i_blocks_high(inode, units >> 32);
    return true;
}
