/* Features of an existing volume, switched on and off. */
#ifndef EXT_TUNE_H
#define EXT_TUNE_H

#include "reseal.h"

/*
 * Switch one feature; nothing happens when it is so already. E_UNSUPPORTED names what stands against it. The
 * superblock is changed in memory; the caller stores it.
 */
bool ext_tune_feature(struct ext_fs *, const char *name, bool on, struct error *) DISH_CHECKED;

/* ---- tune_structs.c: features that bring structures of their own ---- */

bool ext_tune_journal(struct ext_fs *, bool on, struct error *);
bool ext_tune_add_journal(struct ext_fs *, uint64_t blocks, struct error *) DISH_CHECKED;
bool ext_tune_fast_commit(struct ext_fs *, bool on, struct error *);
bool ext_tune_orphan_file(struct ext_fs *, bool on, struct error *);
bool ext_tune_mmp(struct ext_fs *, bool on, struct error *);
bool ext_tune_quota(struct ext_fs *, bool on, struct error *);
bool ext_tune_project(struct ext_fs *, bool on, struct error *);

/* ---- tune_layout.c: where superblocks and descriptors lie ---- */

bool ext_tune_64bit(struct ext_fs *, bool on, struct error *);
bool ext_tune_meta_bg(struct ext_fs *, bool on, struct error *);
bool ext_tune_resize_inode(struct ext_fs *, bool on, struct error *);
bool ext_tune_sparse_super(struct ext_fs *, bool on, struct error *);
bool ext_tune_sparse_super2(struct ext_fs *, bool on, struct error *);

/* ---- tune_inode_size.c ---- */

/* Larger inodes, `size` bytes each. E_UNSUPPORTED when they are larger already. */
bool ext_tune_inode_size(struct ext_fs *, uint64_t size, struct error *) DISH_CHECKED;

/* ---- tune_scan.c: features that all inodes or directories must agree with ---- */

/* Switch off what no inode needs; E_UNSUPPORTED names one that does. */
bool ext_tune_unneeded(struct ext_fs *, uint64_t feature, struct error *);
bool ext_tune_dir_index(struct ext_fs *, bool on, struct error *); /* off: directories become linear */
bool ext_tune_filetype(struct ext_fs *, bool on, struct error *);  /* in every entry */
bool ext_tune_flex_bg(struct ext_fs *, bool on,
                      struct error *); /* off: when all tables lie in their groups */

#endif
