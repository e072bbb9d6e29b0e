/* Room for checksums in directory blocks that were made without them. */
#include "dir_tail.h"

#include "alloc.h"

#include <sys/stat.h>

/* Pack the entries of a block at its front; the bytes they take. */
static uint32_t pack(const struct ext_fs *ext, uint8_t *block, uint8_t **last)
{
    uint32_t to = 0;
    *last = NULL;
    for (uint32_t at = 0, len; at < ext->block_size; at += len) {
        uint8_t *entry = block + at;
        len = ext_rec_len(ext, entry);
        if (ext_de_inode(entry) == 0)
            continue;
        uint32_t size = ext_entry_size(ext_de_name_len(entry));
        memmove(block + to, entry, size);
        ext_set_rec_len(block + to, size);
        *last = block + to;
        to += size;
    }
    return to;
}

void ext_dir_add_tail(const struct ext_fs *ext, uint8_t *block, struct ext_evicted *out)
{
    uint8_t *last, *tail = block + ext->block_size - EXT_DIR_TAIL;
    uint32_t used = pack(ext, block, &last), room = ext->block_size - EXT_DIR_TAIL;
    if (used > room) {
        out->ino = (uint32_t)ext_de_inode(last);
        out->name_len = (uint32_t)ext_de_name_len(last);
        memcpy(out->name, last + EXT_DIRENT_HEADER, out->name_len);
        used = (uint32_t)(last - block);
        memset(last, 0, ext->block_size - used);
        ext_set_rec_len(last, ext->block_size - used);
        used = pack(ext, block, &last);
    }
    memset(block + used, 0, ext->block_size - used);
    if (last)
        ext_set_rec_len(last, room - (uint32_t)(last - block));
    else
        ext_set_rec_len(block, room);
    ext_det_set_det_rec_len(tail, EXT_DIR_TAIL);
    ext_det_set_det_reserved_ft(tail, EXT_DIR_TAIL_TYPE);
}

/* ---- all directories ---- */

struct adding {
    struct ext_fs *ext;
    struct ext_evictions *out;
    const struct ext_inode *dir;
};

/* An index block loses the room of one entry. */
static bool shorten_index(struct adding *a, uint8_t *block, uint8_t *counts, struct error *err)
{
    const struct ext_fs *ext = a->ext;
    uint32_t limit = (ext->block_size - (uint32_t)(counts - block) - EXT_DX_TAIL_SIZE) / EXT_DX_ENTRY_SIZE;
    if (load_le16(counts + 2) > limit)
        return fail(err, E_UNSUPPORTED, "directory %u: its index is full and has no room for a checksum",
                    a->dir->ino);
    store_le16(counts, (uint16_t)limit);
    memset(counts + (size_t)limit * EXT_DX_ENTRY_SIZE, 0, EXT_DX_TAIL_SIZE);
    return true;
}

static bool add_to_block(struct adding *a, struct cache_block *block, struct error *err)
{
    struct ext_fs *ext = a->ext;
    uint8_t *counts = ext_inode_flag(a->dir->raw, EXT_FL_INDEX) ? ext_index_counts(ext, block->data) : NULL;
    struct ext_entries run = {block->data, ext->block_size};
    if (counts)
        return shorten_index(a, block->data, counts, err);
    if (ext_dir_tail(ext, block->data))
        return true;
    if (ext_entries_fault(ext, &run))
        return damaged(err, ext->dev, block->off, "directory %u: a block is damaged", a->dir->ino);
    struct ext_evictions *out = a->out;
    if (!mem_grow(&out->items, &out->capacity, out->count + 1, sizeof *out->items, err))
        return false;
    out->items[out->count] = (struct ext_evicted){.dir = a->dir->ino};
    ext_dir_add_tail(ext, block->data, &out->items[out->count]);
    out->count += out->items[out->count].ino != 0;
    return true;
}

static bool add_to_run(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    struct adding *a = arg;
    for (uint64_t i = 0; visit->data && visit->mapping.start && i < visit->mapping.len; i++) {
        struct cache_block *block;
        if (!interrupt_check(err) || !ext_block_get(a->ext, visit->mapping.start + i, EXT_TAG_DIR,
                                                    ext_inode_owner(a->dir), &block, err))
            return false;
        bool ok = add_to_block(a, block, err);
        ext_block_dirty(a->ext, block);
        ext_block_put(a->ext, block);
        if (!ok)
            return false;
    }
    return true;
}

static bool add_to_inode(struct ext_fs *ext, struct ext_inode *inode, void *arg, struct error *err)
{
    struct adding a = {ext, arg, inode};
    return !ext_inode_is(inode->raw, S_IFDIR) || ext_map_walk(ext, inode, add_to_run, &a, err);
}

bool ext_dir_tails_add(struct ext_fs *ext, struct ext_evictions *out, struct error *err)
{
    bool ok = ext_each_inode(ext, add_to_inode, out, err);
    ext_dirs_forget(ext);
    return ok && ext_flush(ext, err);
}

bool ext_dir_tails_return(struct ext_fs *ext, const struct ext_evictions *evictions, struct error *err)
{
    for (size_t i = 0; i < evictions->count; i++) {
        const struct ext_evicted *e = &evictions->items[i];
        struct ext_inode dir, inode;
        if (!ext_inode_get(ext, e->ino, &inode, err))
            return false;
        uint32_t mode = (uint32_t)ext_inode_i_mode(inode.raw);
        ext_inode_put(ext, &inode);
        if (!ext_inode_get(ext, e->dir, &dir, err))
            return false;
        bool ok = ext_dir_add(ext, &dir, e->name, e->name_len, e->ino, mode, err);
        ext_inode_put(ext, &dir);
        if (!ok)
            return false;
    }
    return true;
}
