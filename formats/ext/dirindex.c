/*
 * What is remembered of linear directories. Without it every new name would look at all blocks twice: to see
 * that the name is not there, and to find room.
 *
 * Of many directories: the first block that may have room. Of the one used last: a table from the hash of a
 * name to the block that may hold it. The table only says where to look, so entries of names that are gone do
 * no harm; every name that is there must be in it.
 */
#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
#include "dir.h"

#include <stdlib.h>

enum { ROOM_SLOTS = 256, MIN_BLOCKS = 8, MAX_NAMES = 1 << 20 };

struct room {
    uint32_t ino;
    uint32_t need;  /* bytes of the smallest entry that was refused */
    uint64_t first; /* blocks before this one have no room for it */
};

struct pair {
    uint32_t hash;
    uint32_t block; /* + 1; 0: empty */
};

struct ext_dirs {
    struct room rooms[ROOM_SLOTS];
    uint32_t ino; /* the directory of the table; 0: none */
    struct pair *pairs;
    size_t size, used; /* size: a power of two, or 0 */
};

static struct ext_dirs *dirs_of(struct ext_fs *ext)
{
    struct error ignored;
    if (!ext->dirs)
        ext->dirs = mem_new(sizeof *ext->dirs, &ignored);
    return ext->dirs;
}

/* ---- room ---- */

static struct room *room_of(struct ext_fs *ext, uint32_t ino)
{
    struct ext_dirs *dirs = dirs_of(ext);
    return dirs ? &dirs->rooms[ino % ROOM_SLOTS] : NULL;
}

uint64_t ext_dirs_first_room(struct ext_fs *ext, uint32_t ino, uint32_t need)
{
    const struct room *room = room_of(ext, ino);
    return room && room->ino == ino && need >= room->need ? room->first : 0;
}

void ext_dirs_note_full(struct ext_fs *ext, uint32_t ino, uint32_t need, uint64_t block)
{
    struct room *room = room_of(ext, ino);
    if (room && !(room->ino == ino && room->first == block && room->need <= need))
        *room = (struct room){ino, need, block};
}

void ext_dirs_note_room(struct ext_fs *ext, uint32_t ino, uint64_t block)
{
    struct room *room = room_of(ext, ino);
    if (room && room->ino == ino && block < room->first)
        room->first = block;
}

/* ---- names ---- */

static uint32_t hash_of(const char *name, size_t len)
{
    return crc32c(0x9E3779B9u, name, len);
}

static void drop_table(struct ext_dirs *dirs)
{
    free(dirs->pairs);
    dirs->pairs = NULL;
    dirs->size = dirs->used = 0;
    dirs->ino = 0;
}

static void put_pair(struct ext_dirs *dirs, struct pair pair)
{
    size_t at = pair.hash & (dirs->size - 1);
    while (dirs->pairs[at].block != 0)
        at = (at + 1) & (dirs->size - 1);
    dirs->pairs[at] = pair;
    dirs->used++;
}

static bool grow_table(struct ext_dirs *dirs)
{
    struct error ignored;
    struct ext_dirs larger = {.size = MAX_OF(dirs->size * 2, 4096)};
    if (dirs->used >= MAX_NAMES)
        return false;
    larger.pairs = mem_array(larger.size, sizeof *larger.pairs, &ignored);
    if (!larger.pairs)
        return false;
    for (size_t i = 0; i < dirs->size; i++)
        if (dirs->pairs[i].block != 0)
            put_pair(&larger, dirs->pairs[i]);
    free(dirs->pairs);
    dirs->pairs = larger.pairs;
    dirs->size = larger.size;
    return true;
}

static bool add_name(struct ext_dirs *dirs, const char *name, size_t len, uint64_t block)
{
    if (2 * (dirs->used + 1) > dirs->size && !grow_table(dirs))
        return false;
    put_pair(dirs, (struct pair){hash_of(name, len), (uint32_t)block + 1});
    return true;
}

void ext_dirs_note_name(struct ext_fs *ext, uint32_t ino, const char *name, size_t len, uint64_t block)
{
    struct ext_dirs *dirs = ext->dirs;
    if (dirs && dirs->ino == ino && !add_name(dirs, name, len, block))
        drop_table(dirs);
}

static bool fill_table(struct ext_fs *ext, const struct ext_inode *dir, struct ext_dirs *dirs)
{
    uint64_t blocks = ext_dir_blocks(ext, dir);
    for (uint64_t block = 0; block < blocks; block++) {
        struct cache_block *data;
        struct error ignored;
        bool ok = true;
        if (!ext_dir_block(ext, dir, block, &data, &ignored))
            return false;
        if (!data)
            continue;
        struct ext_entries run = ext_dir_entries(ext, data->data);
        for (uint32_t at = 0; ok && at < run.len; at += ext_rec_len(ext, run.base + at)) {
            const uint8_t *entry = run.base + at;
            ok = ext_de_inode(entry) == 0 || add_name(dirs, (const char *)entry + EXT_DIRENT_HEADER,
                                                      (size_t)ext_de_name_len(entry), block);
        }
        ext_block_put(ext, data);
        if (!ok)
            return false;
    }
    return true;
}

bool ext_dirs_know(struct ext_fs *ext, const struct ext_inode *dir)
{
    struct ext_dirs *dirs = dirs_of(ext);
    if (!dirs || ext_dir_blocks(ext, dir) < MIN_BLOCKS || ext_dir_blocks(ext, dir) >= UINT32_MAX)
        return false;
    if (dirs->ino == dir->ino)
        return true;
    drop_table(dirs);
    if (!fill_table(ext, dir, dirs)) {
        drop_table(dirs);
        return false;
    }
    dirs->ino = dir->ino;
    return true;
}

bool ext_dirs_next(const struct ext_fs *ext, const char *name, size_t len, size_t *step, uint64_t *block)
{
    const struct ext_dirs *dirs = ext->dirs;
    uint32_t hash = hash_of(name, len);
    while (dirs->size > 0) {
        const struct pair *pair = &dirs->pairs[(hash + (*step)++) & (dirs->size - 1)];
        if (pair->block == 0)
            return false;
        if (pair->hash == hash) {
            *block = pair->block - 1;
            return true;
        }
    }
    return false;
}

/* ---- forgetting ---- */

void ext_dirs_forget_one(struct ext_fs *ext, uint32_t ino)
{
    struct room *room = room_of(ext, ino);
    if (room && room->ino == ino)
        *room = (struct room){0};
    if (ext->dirs && ext->dirs->ino == ino)
        drop_table(ext->dirs);
}

void ext_dirs_forget(struct ext_fs *ext)
{
    if (ext->dirs)
        drop_table(ext->dirs);
    free(ext->dirs);
    ext->dirs = NULL;
}
