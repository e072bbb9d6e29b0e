/* Pass 2: every directory: its blocks, their checksums, their entries, its index. */
#include "check_dir.h"
#include "dir_tail.h"
#include "xattr.h"

#include "alloc.h"

#include <stdlib.h>
#include <sys/stat.h>

/* ---- where the blocks lie ---- */

struct block_list {
    uint64_t *blocks;
    uint64_t count;
};

static bool list_run(struct ext_walk *w, uint64_t block, uint64_t start, uint64_t len, bool unwritten,
                     struct error *err)
{
    struct block_list *list = w->arg;
    (void)unwritten;
    (void)err;
    for (uint64_t i = 0; i < len && block + i < list->count; i++)
        list->blocks[block + i] = start + i;
    return true;
}

bool ext_check_dir_map(struct ext_checker *c, struct ext_inode *dir, uint64_t **blocks, uint64_t *count,
                       struct error *err)
{
    struct block_list list = {NULL, 0};
    struct ext_walk measure = {.c = c, .inode = dir};
    if (!ext_check_walk(&measure, err))
        return false;
    uint64_t by_size = ext_inode_size(c->ext, dir->raw) >> c->ext->block_bits;
    list.count = MIN_OF(by_size, measure.end);
    list.blocks = mem_array(list.count + 1, sizeof *list.blocks, err);
    struct ext_walk walk = {.c = c, .inode = dir, .data = list_run, .arg = &list};
    if (!list.blocks || !ext_check_walk(&walk, err)) {
        free(list.blocks);
        return false;
    }
    *blocks = list.blocks;
    *count = list.count;
    return true;
}

/* ---- blocks ---- */

static void check_block_checksum(struct ext_dir_check *d, struct cache_block *block)
{
    const struct ext_fs *ext = d->c->ext;
    const uint8_t *tail = ext_dir_tail(ext, block->data);
    uint32_t seed = ext_inode_seed(ext, d->inode->ino, (uint32_t)ext_inode_i_generation(d->inode->raw));
    if (!ext->has_csum || !tail || block->dirty ||
        ext_det_det_checksum(tail) == ext_dir_csum(ext, seed, block->data))
        return;
    if (ext_problem(d->c, "directory-checksum", block->off + ext->block_size - EXT_DIR_TAIL,
                    "directory %u: the checksum of a block is wrong", d->inode->ino))
        ext_block_dirty(d->c->ext, block);
}

static bool check_block(struct ext_dir_check *d, uint64_t index, uint64_t at, struct ext_evicted *evicted,
                        struct error *err)
{
    struct ext_checker *c = d->c;
    struct ext_fs *ext = c->ext;
    struct cache_block *block;
    if (!ext_block_get(ext, at, EXT_TAG_DIR, ext_inode_owner(d->inode), &block, err))
        return false;
    bool node = d->indexed && ext_index_counts(ext, block->data);
    if (node)
        block->tag = EXT_TAG_INDEX;
    else
        check_block_checksum(d, block);
    struct ext_run_check run = {
        .d = d, .run = {block->data, ext->block_size}, .off = block->off, .first = index == 0};
    bool ok = true;
    if (!node)
        run.run = ext_dir_entries(ext, block->data);
    if (!node || index == 0)
        ok = ext_check_entries(&run, err);
    if (ok && !node && ext->has_csum && !ext_dir_tail(ext, block->data) &&
        ext_problem(c, "directory-tail", block->off, "directory %u: block %llu has no checksum",
                    d->inode->ino, (unsigned long long)index)) {
        ext_dir_add_tail(ext, block->data, evicted);
        run.changed = true;
    }
    if (run.changed)
        ext_block_dirty(ext, block);
    ext_block_put(ext, block);
    return ok;
}

static bool fill_hole(struct ext_dir_check *d, uint64_t index, struct error *err)
{
    struct ext_fs *ext = d->c->ext;
    struct ext_mapping m;
    struct cache_block *block;
    if (!ext_map_fill(ext, d->inode, index, 1, false, &m, err) ||
        !ext_block_new(ext, m.start, EXT_TAG_DIR, ext_inode_owner(d->inode), &block, err))
        return false;
    ext_dir_format(ext, block->data);
    struct ext_entries run = ext_dir_entries(ext, block->data);
    bool ok = true;
    if (index == 0) { /* pass 3 knows the parent */
        ok = ext_entries_add(ext, &run, ".", 1, d->inode->ino, S_IFDIR) &&
             ext_entries_add(ext, &run, "..", 2, EXT_ROOT_INO, S_IFDIR) &&
             ext_check_add_link(d->c, d->inode->ino, err) && ext_check_add_link(d->c, EXT_ROOT_INO, err);
        d->dir->dotdot = EXT_ROOT_INO;
    }
    ext_block_dirty(ext, block);
    ext_block_put(ext, block);
    return ok;
}

static bool enter_again(struct ext_dir_check *d, const struct ext_evicted *e, struct error *err)
{
    struct ext_inode inode;
    if (!ext_check_inode(d->c, e->ino, &inode, err))
        return false;
    uint32_t mode = (uint32_t)ext_inode_i_mode(inode.raw);
    ext_inode_put(d->c->ext, &inode);
    return ext_dir_add(d->c->ext, d->inode, e->name, e->name_len, e->ino, mode, err);
}

static bool check_inline(struct ext_dir_check *d, struct error *err);

/* `.` and `..` for a directory that has lost everything; pass 3 knows its parent. */
static bool start_anew(struct ext_dir_check *d, struct error *err)
{
    struct ext_fs *ext = d->c->ext;
    ext_inode_set_size(ext, d->inode->raw, 0);
    ext_inode_set_i_flags(d->inode->raw, ext_inode_i_flags(d->inode->raw) & ~(uint64_t)EXT_FL_INDEX);
    d->indexed = false;
    return ext_dir_init(ext, d->inode, EXT_ROOT_INO, err);
}

static bool check_blocks(struct ext_dir_check *d, struct error *err)
{
    struct ext_checker *c = d->c;
    uint64_t *blocks = NULL, count = 0;
    bool ok = ext_check_dir_map(c, d->inode, &blocks, &count, err);
    if (ok && count == 0 &&
        ext_problem(c, "directory-empty", ext_check_inode_off(d->inode), "directory %u has no contents",
                    d->inode->ino)) {
        free(blocks);
        blocks = NULL;
        if (!start_anew(d, err))
            return false;
        if (ext_inode_flag(d->inode->raw, EXT_FL_INLINE_DATA))
            return check_inline(d, err);
        ok = ext_check_dir_map(c, d->inode, &blocks, &count, err);
    }
    for (uint64_t i = 0; ok && i < count && !c->stop && !(c->again && c->repair); i++) {
        struct ext_evicted evicted = {0};
        if (blocks[i] != 0)
            ok = interrupt_check(err) && check_block(d, i, blocks[i], &evicted, err);
        else if (ext_problem(c, "directory-hole", ext_check_inode_off(d->inode),
                             "directory %u: block %llu is missing", d->inode->ino, (unsigned long long)i))
            ok = fill_hole(d, i, err);
        if (ok && evicted.ino)
            ok = ext_flush(c->ext, err) && enter_again(d, &evicted, err);
    }
    free(blocks);
    return ok;
}

/* ---- inline directories ---- */

static bool check_inline(struct ext_dir_check *d, struct error *err)
{
    struct ext_checker *c = d->c;
    struct ext_inline data;
    uint32_t ino = d->inode->ino;
    struct error why = {0};
    if (!ext_inline_get(c->ext, d->inode, &data, &why)) {
        ext_unfixable(c, "inline-data", ext_check_inode_off(d->inode), "directory %u: %s", ino, why.message);
        return true;
    }
    d->dir->dotdot = load_le32(data.head);
    if (!ext_check_add_link(c, ino, err) || !ext_check_add_link(c, d->dir->dotdot, err))
        return false;
    uint64_t off = ext_check_inode_off(d->inode) + (uint64_t)(data.head - d->inode->raw);
    struct ext_run_check head = {.d = d, .run = {data.head + 4, EXT_I_BLOCK_SIZE - 4}, .off = off + 4};
    if (!ext_check_entries(&head, err))
        return false;
    struct ext_run_check tail = {.d = d, .run = {data.tail, data.tail_len}};
    if (data.tail_len > 0) {
        tail.off = ext_check_inode_off(d->inode) + (uint64_t)(data.tail - d->inode->raw);
        if (!ext_check_entries(&tail, err))
            return false;
    }
    if (head.changed || tail.changed)
        ext_inode_dirty(c->ext, d->inode);
    return true;
}

/* ---- all of them ---- */

static bool check_dir(struct ext_checker *c, struct ext_check_dir *dir, struct error *err)
{
    struct ext_inode inode;
    if (!ext_check_inode(c, dir->ino, &inode, err))
        return false;
    struct ext_dir_check d = {.c = c, .inode = &inode, .dir = dir};
    d.indexed = ext_inode_flag(inode.raw, EXT_FL_INDEX);
    d.hidden = ext_inode_flag(inode.raw, EXT_FL_ENCRYPT);
    bool in_line = ext_inode_flag(inode.raw, EXT_FL_INLINE_DATA), again = c->again && c->repair;
    bool ok = in_line ? check_inline(&d, err) : check_blocks(&d, err);
    if (ok && d.indexed && !in_line && !again && !c->stop)
        ok = ext_check_htree(c, &inode, err);
    ext_inode_put(c->ext, &inode);
    return ok;
}

bool ext_check_dirs(struct ext_checker *c, struct error *err)
{
    for (size_t i = 0; i < c->dir_count && !c->stop; i++) {
        if (!interrupt_check(err) || !check_dir(c, &c->dirs[i], err))
            return false;
        if (c->again && c->repair)
            break;
    }
    return true;
}
