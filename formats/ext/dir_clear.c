/*
 * All files of a directory removed at once: their names block by block, then their inodes in the order of the
 * inode tables. One by one, in the order of names, a large directory would have each inode's block read and
 * written once for every inode in it.
 */
#include "alloc.h"
#include "bytes.h"
#include "dir.h"
#include "namei.h"

#include <stdlib.h>
#include <sys/stat.h>

/* So many inodes are remembered (8 MiB) before they are dropped. */
enum { MOST_INODES = 1 << 20 };

struct dropped {
    uint32_t ino;
    uint32_t place; /* of the entry in the directory, in units of 4 bytes */
};

struct clearing {
    struct ext_fs *ext;
    struct ext_inode *dir;
    struct dropped *inodes;
    size_t count, capacity;
    struct fs_time now;
    uint64_t removed;
};

/* Directories, and what is not sound, are left to be removed one by one. */
static bool is_file(const struct ext_fs *ext, const uint8_t *entry)
{
    uint64_t ino = ext_de_inode(entry);
    uint32_t type = ext_entry_type(ext, entry);
    return ino >= ext->first_ino && ino <= ext->inodes && ext_de_name_len(entry) > 0 && type != 0 &&
           type != S_IFDIR;
}

static bool clear_entries(struct clearing *clearing, const struct ext_entries *run, uint64_t off,
                          bool *changed, struct error *err)
{
    struct ext_fs *ext = clearing->ext;
    uint8_t *before = NULL;
    for (uint32_t at = 0, len; at < run->len; at += len) {
        uint8_t *entry = run->base + at;
        len = ext_rec_len(ext, entry);
        if (!is_file(ext, entry)) {
            before = entry;
            continue;
        }
        if (!mem_grow(&clearing->inodes, &clearing->capacity, clearing->count + 1, sizeof *clearing->inodes,
                      err))
            return false;
        clearing->inodes[clearing->count++] =
            (struct dropped){(uint32_t)ext_de_inode(entry), (uint32_t)((off + at) / 4)};
        ext_entries_remove(ext, entry, before);
        before = before ? before : entry;
        *changed = true;
    }
    return true;
}

static bool clear_block(struct clearing *clearing, uint64_t block, struct error *err)
{
    struct ext_fs *ext = clearing->ext;
    struct cache_block *data;
    struct error ignored;
    bool changed = false;
    /* A block that cannot be read is for the one who removes its names one by one to complain about. */
    if (!interrupt_check(err))
        return false;
    if (!ext_dir_block(ext, clearing->dir, block, &data, &ignored) || !data)
        return true;
    struct ext_entries run = ext_dir_entries(ext, data->data);
    bool ok = clear_entries(clearing, &run, block << ext->block_bits, &changed, err);
    if (changed)
        ext_block_dirty(ext, data);
    ext_block_put(ext, data);
    return ok;
}

static int compare_inodes(const void *a, const void *b)
{
    uint32_t x = ((const struct dropped *)a)->ino, y = ((const struct dropped *)b)->ino;
    return x < y ? -1 : x > y;
}

static bool drop_one(struct clearing *clearing, uint32_t ino, struct error *err)
{
    struct ext_fs *ext = clearing->ext;
    struct ext_inode inode;
    bool stays = false;
    if (!interrupt_check(err) || !ext_open_inode(ext, ino, &inode, err))
        return false;
    bool ok = ext_drop_inode(ext, clearing->dir, &inode, &stays, err);
    if (ok && stays) {
        ext_inode_set_time(ext, inode.raw, EXT_CTIME, clearing->now);
        ext_inode_dirty(ext, &inode);
    }
    ext_inode_put(ext, &inode);
    return ok;
}

/* The name of an entry that was removed can still be read in its place. */
static void name_removed(struct clearing *clearing, uint32_t place, char *name)
{
    struct ext_fs *ext = clearing->ext;
    struct cache_block *data;
    struct error ignored;
    uint64_t off = (uint64_t)place * 4;
    name[0] = 0;
    if (!ext_dir_block(ext, clearing->dir, off >> ext->block_bits, &data, &ignored) || !data)
        return;
    const uint8_t *entry = data->data + (off & (ext->block_size - 1));
    ext_name_shown(clearing->dir, (const char *)entry + EXT_DIRENT_HEADER, (size_t)ext_de_name_len(entry),
                   name);
    ext_block_put(ext, data);
}

static bool drop_inodes(struct clearing *clearing, char *failed, struct error *err)
{
    if (clearing->count)
        qsort(clearing->inodes, clearing->count, sizeof *clearing->inodes, compare_inodes);
    for (size_t i = 0; i < clearing->count; i++)
        if (!drop_one(clearing, clearing->inodes[i].ino, err)) {
            name_removed(clearing, clearing->inodes[i].place, failed);
            return false;
        }
    clearing->removed += clearing->count;
    clearing->count = 0;
    return true;
}

bool ext_op_remove_files(struct fs *fs, fs_id dir_id, struct fs_time now, uint64_t *removed, char *failed,
                         struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode dir;
    struct clearing clearing = {.ext = ext, .dir = &dir, .now = now};
    failed[0] = 0;
    if (!ext_begin(ext, err) || !ext_open_dir(ext, dir_id, &dir, err))
        return false;
    uint64_t blocks = ext_inode_flag(dir.raw, EXT_FL_INLINE_DATA)
                          ? 0
                          : MIN_OF(ext_dir_blocks(ext, &dir), (uint64_t)UINT32_MAX * 4 >> ext->block_bits);
    /* What may not be changed is for the one who removes names one by one to complain about. */
    struct error ignored;
    if (!ext_may_change(&dir, &ignored))
        blocks = 0;
    bool ok = true;
    for (uint64_t block = 0; ok && block < blocks; block++)
        ok = clear_block(&clearing, block, err) &&
             (clearing.count < MOST_INODES || drop_inodes(&clearing, failed, err));
    ok = ok && drop_inodes(&clearing, failed, err);
    ext_dirs_forget_one(ext, dir.ino);
    ext_inode_put(ext, &dir);
    free(clearing.inodes);
    *removed = clearing.removed;
    return ok;
}
