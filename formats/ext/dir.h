/* Between dir.c (blocks and entries), dirindex.c, inline_dir.c and htree.c. */
#ifndef EXT_DIR_H
#define EXT_DIR_H

#include "ext.h"

/* Bytes that an entry with a name of len bytes takes. */
static inline uint32_t ext_entry_size(size_t name_len)
{
    return (uint32_t)((EXT_DIRENT_HEADER + name_len + 3) & ~(size_t)3);
}

/* A run of entries: a directory block without its tail, or a part of an inline directory. */
struct ext_entries {
    uint8_t *base;
    uint32_t len;
};

/* Entries of a block, tail left out. */
struct ext_entries ext_dir_entries(const struct ext_fs *, uint8_t *block);
/* Why a run of entries cannot be walked; NULL: it can. */
const char *ext_entries_fault(const struct ext_fs *, const struct ext_entries *);
/* The entry of that name, and the one before it in the run (NULL: it is the first). NULL: there is none. */
uint8_t *ext_entries_find(const struct ext_fs *, const struct ext_entries *, const char *name, size_t len,
                          uint8_t **before);
/* Enter a name; false: there is no room. */
bool ext_entries_add(const struct ext_fs *, const struct ext_entries *, const char *name, size_t len,
                     uint32_t ino, uint32_t mode);
void ext_entries_remove(const struct ext_fs *, uint8_t *entry, uint8_t *before);

/* Directory block `block`, verified; *out NULL: a hole. */
bool ext_dir_block(struct ext_fs *, const struct ext_inode *dir, uint64_t block, struct cache_block **out,
                   struct error *) DISH_CHECKED;
/* A new block at the end: one free entry and a tail. tag EXT_TAG_DIR, or EXT_TAG_INDEX for a zeroed one. */
bool ext_dir_append(struct ext_fs *, struct ext_inode *dir, enum ext_tag, uint64_t *block,
                    struct cache_block **out, struct error *) DISH_CHECKED;
void ext_dir_format(const struct ext_fs *, uint8_t *block); /* one free entry and a tail */
static inline uint64_t ext_dir_blocks(const struct ext_fs *ext, const struct ext_inode *dir)
{
    return ext_inode_size(ext, dir->raw) >> ext->block_bits;
}
uint32_t ext_entry_type(const struct ext_fs *, const uint8_t *entry); /* S_IF*, or 0: only the inode knows */
unsigned ext_file_type(const struct ext_fs *, uint32_t mode);         /* file_type of an entry */

/* ---- fold.c: names of casefolded directories ---- */

/* The folded form, malloc'd; NULL: it is not UTF-8, or there is no memory, and stands for itself. */
char *ext_fold_name(const char *name, size_t len);
/* Whether the kernel folds it to the same. E_NAME: no UTF-8; E_UNSUPPORTED:
 * later than its version of Unicode. */
bool ext_fold_certain(const char *name, size_t len, struct error *) DISH_CHECKED;
/* The hash of a name as this directory's index has it. */
bool ext_dir_hash(const struct ext_fs *, const struct ext_inode *dir, const char *name, size_t len,
                  unsigned version, struct ext_name_hash *, struct error *) DISH_CHECKED;

/* Whether the directory has an index that is to be used. */
bool ext_dir_indexed(const struct ext_fs *, const struct ext_inode *dir);

/* ---- htree.c ---- */

/* The block that holds the name; *out NULL: there is none. E_DAMAGED: the index cannot be used. */
bool ext_htree_find(struct ext_fs *, const struct ext_inode *dir, const char *name, size_t len,
                    struct cache_block **out, struct error *) DISH_CHECKED;
bool ext_htree_add(struct ext_fs *, struct ext_inode *dir, const char *name, size_t len, uint32_t ino,
                   uint32_t mode, struct error *) DISH_CHECKED;
/* Turn a directory of one full block into one with an index. */
bool ext_htree_create(struct ext_fs *, struct ext_inode *dir, struct error *) DISH_CHECKED;

/* Pairs that fit into a block of the index after its first `start` bytes,
 * the pair of limit and count included. */
unsigned ext_htree_capacity(const struct ext_fs *, unsigned start);
/* The root of an index with one leaf, block 1. */
void ext_htree_init_root(const struct ext_fs *, struct cache_block *, uint32_t ino, uint32_t parent);

/* ---- rehash.c ---- */

/* A name that was found twice: the second one is left out. */
typedef void ext_twice_fn(void *arg, uint32_t ino, const char *name, size_t len);
/*
 * Lay a directory without an index out anew: names sorted by hash, blocks filled, an index above them when
 * they are more than one and the volume has the feature; blocks that are not needed any more are given back.
 * Nothing has been written after E_NOSPACE or E_UNSUPPORTED (names that cannot be hashed).
 * twice NULL: E_DAMAGED when a name is there twice.
 */
bool ext_dir_rehash(struct ext_fs *, struct ext_inode *dir, ext_twice_fn *twice, void *arg,
                    struct error *) DISH_CHECKED;

/* ---- inline_dir.c ---- */

bool ext_inline_dir_each(struct ext_fs *, const struct ext_inode *dir, ext_dirent_fn *, void *arg,
                         struct error *) DISH_CHECKED;
bool ext_inline_dir_find(struct ext_fs *, const struct ext_inode *dir, const char *name, size_t len,
                         uint8_t **entry, uint8_t **before, struct error *) DISH_CHECKED;
/* False in *done: it is full even after growing to what the inode holds. */
bool ext_inline_dir_add(struct ext_fs *, struct ext_inode *dir, const char *name, size_t len, uint32_t ino,
                        uint32_t mode, bool *done, struct error *) DISH_CHECKED;
bool ext_inline_dir_to_block(struct ext_fs *, struct ext_inode *dir, struct error *) DISH_CHECKED;
bool ext_inline_dir_init(struct ext_fs *, struct ext_inode *dir, uint32_t parent,
                         struct error *) DISH_CHECKED;

/* Emit the entries of a run; base_off and device_off are those of its first byte. */
bool ext_entries_each(struct ext_fs *, const struct ext_entries *, uint64_t base_off, uint64_t device_off,
                      ext_dirent_fn *, void *arg, struct error *) DISH_CHECKED;

/* ---- dirindex.c: what is remembered of linear directories ---- */

/* First block that may have room for an entry of `need` bytes. */
uint64_t ext_dirs_first_room(struct ext_fs *, uint32_t ino, uint32_t need);
/* All blocks before `block` have none. */
void ext_dirs_note_full(struct ext_fs *, uint32_t ino, uint32_t need, uint64_t block);
/* An entry was removed from a block. */
void ext_dirs_note_room(struct ext_fs *, uint32_t ino, uint64_t block);

/* Whether there is a table of the directory's names; made when it is worth it. */
bool ext_dirs_know(struct ext_fs *, const struct ext_inode *dir);
/* The next block that may hold the name; *step is 0 at first. False: there is no other. */
bool ext_dirs_next(const struct ext_fs *, const char *name, size_t len, size_t *step, uint64_t *block);
/* A name was entered into a block. */
void ext_dirs_note_name(struct ext_fs *, uint32_t ino, const char *name, size_t len, uint64_t block);

#endif
