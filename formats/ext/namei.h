/* Operations on names and inodes for the driver's table (namei.c, create.c, attr.c). */
#ifndef EXT_NAMEI_H
#define EXT_NAMEI_H

#include "ext.h"

bool ext_op_lookup(struct fs *, fs_id dir, const char *name, fs_id *out, struct error *);
bool ext_op_readdir(struct fs *, fs_id dir, fs_entry_fn *emit, void *arg, struct error *);
bool ext_op_parent(struct fs *, fs_id dir, fs_id *out, struct error *);
bool ext_op_create(struct fs *, fs_id dir, const char *name, const struct fs_attr *, const char *target,
                   fs_id *out, struct error *);
bool ext_op_link(struct fs *, fs_id, fs_id dir, const char *name, struct error *);
bool ext_op_remove(struct fs *, fs_id dir, const char *name, struct error *);
bool ext_op_remove_files(struct fs *, fs_id dir, struct fs_time now, uint64_t *removed, char *failed,
                         struct error *);
bool ext_op_rename(struct fs *, fs_id from, const char *name, fs_id to, const char *new_name, fs_id *out,
                   struct error *);
bool ext_op_getattr(struct fs *, fs_id, struct fs_attr *, struct error *);
bool ext_op_setattr(struct fs *, fs_id, const struct fs_attr *, unsigned mask, struct error *);

/* The live inode of a file that an operation is about; ids past 32 bits do not exist. */
bool ext_open_inode(struct ext_fs *, fs_id, struct ext_inode *, struct error *) DISH_CHECKED;
/* The same, and it must be a directory. */
bool ext_open_dir(struct ext_fs *, fs_id, struct ext_inode *, struct error *) DISH_CHECKED;
/* Before a change: the volume may be changed and is made ready. */
bool ext_begin(struct ext_fs *, struct error *) DISH_CHECKED;
/* Refuses directories whose entries cannot be made rightly: encrypted ones. */
bool ext_dir_writable(const struct ext_inode *dir, struct error *) DISH_CHECKED;
/*
 * What the kernel does not do, not even for root: change an immutable file or the names in such a directory,
 * or anything but the end of what is append-only. E_READONLY.
 */
bool ext_may_change(const struct ext_inode *, struct error *) DISH_CHECKED; /* attributes, names, contents */
bool ext_may_add(const struct ext_inode *dir, struct error *) DISH_CHECKED; /* names in a directory */
/* One name more (or less) for a file. */
bool ext_links_add(struct ext_fs *, struct ext_inode *, struct error *) DISH_CHECKED;
void ext_links_drop(struct ext_fs *, struct ext_inode *);
/* A name of the inode in that directory goes; with the last one goes the inode. E_NOTEMPTY. */
bool ext_drop_inode(struct ext_fs *, struct ext_inode *dir, struct ext_inode *, bool *stays,
                    struct error *) DISH_CHECKED;
uint32_t ext_flags_from_user(uint32_t flags);
/* i_flags of a new file, by those of its directory. */
uint32_t ext_flags_inherited(const struct ext_inode *dir, uint32_t mode);
/* The device number of an inode into or out of i_block. */
void ext_inode_set_device(uint8_t *inode, uint32_t major, uint32_t minor);

/* name.c: names as they are shown. In an encrypted directory they are base64url of the stored bytes. */
struct ext_name {
    const char *bytes;
    size_t len;
    char buffer[EXT_NAME_MAX + 1];
};
/* The stored form of a name given; E_NAME. */
bool ext_name_stored(const struct ext_inode *dir, const char *name, struct ext_name *,
                     struct error *) DISH_CHECKED;
/* The shown form of a stored name; out holds 344 + 1 bytes. */
enum { EXT_NAME_SHOWN = 352 };
void ext_name_shown(const struct ext_inode *dir, const char *bytes, size_t len, char *out);
/* E_NOENT. Lookup by a name given, in directories of all sorts. */
bool ext_name_find_stored(struct ext_fs *, const struct ext_inode *dir, const struct ext_name *,
                          struct ext_name *stored, uint32_t *ino, struct error *) DISH_CHECKED;
/*
 * Whether a name can be entered into a directory that may fold: its folding is certain, and no other name
 * folds to the same but one of inode `except` (0: none). The engine has looked whether the name itself is
 * there.
 */
bool ext_name_free(struct ext_fs *, const struct ext_inode *dir, const struct ext_name *, uint32_t except,
                   struct error *) DISH_CHECKED;
bool ext_name_find(struct ext_fs *, const struct ext_inode *dir, const struct ext_name *, uint32_t *ino,
                   struct error *) DISH_CHECKED;

#endif
