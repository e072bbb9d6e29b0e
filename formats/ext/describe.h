/* Looking at structures: show, where, what, deleted files (layouts.c places.c owner.c undelete.c info.c). */
#ifndef EXT_DESCRIBE_H
#define EXT_DESCRIBE_H

#include "ext.h"

/* layouts.c. `index` of a place: the group, the inode, or the inode that the structure belongs to. */
extern const struct layout ext_super_layout, ext_desc_layout, ext_inode_layout, ext_extents_layout,
    ext_extent_index_layout, ext_extent_layout, ext_extent_tail_layout, ext_blockmap_layout, ext_dir_layout,
    ext_dirent_layout, ext_dirtail_layout, ext_dx_root_layout, ext_dx_node_layout, ext_dx_entry_layout,
    ext_dx_tail_layout, ext_xattr_block_layout, ext_xattr_body_layout, ext_xattr_entry_layout, ext_mmp_layout,
    ext_orphan_layout;
extern const struct layout *const ext_layouts[];
/* The layouts of entries with a name of len bytes. */
const struct layout *ext_dirent_named(unsigned len);
const struct layout *ext_xattr_entry_named(unsigned len);

/* places.c */
bool ext_locate(void *fs, const char *structure, const char *args, struct place *, struct error *);
bool ext_inode_parts(const struct place *, const void *raw, place_fn *emit, void *arg, struct error *);
bool ext_extents_parts(const struct place *, const void *raw, place_fn *emit, void *arg, struct error *);
bool ext_dir_parts(const struct place *, const void *raw, place_fn *emit, void *arg, struct error *);
bool ext_index_parts(const struct place *, const void *raw, place_fn *emit, void *arg, struct error *);
bool ext_xattr_parts(const struct place *, const void *raw, place_fn *emit, void *arg, struct error *);
struct place ext_place_super(struct ext_fs *, uint32_t group);
struct place ext_place_desc(struct ext_fs *, uint32_t group, uint64_t off);
bool ext_place_inode(struct ext_fs *, uint32_t ino, struct place *, struct error *) DISH_CHECKED;

/* owner.c */
bool ext_owner_of(void *fs, uint64_t off, struct owner *, struct error *);
void ext_owners_forget(struct ext_fs *);

/* undelete.c */
bool ext_deleted(struct fs *, fs_id dir, fs_entry_fn *emit, void *arg, struct error *);
bool ext_undelete(struct fs *, fs_id, fs_id dir, const char *name, struct error *);

/* info.c */
/* Blocks that no file's contents can use: groups' metadata and the journal. */
bool ext_overhead(struct ext_fs *, uint64_t *blocks, struct error *) DISH_CHECKED;
bool ext_info(struct fs *, bool verbose, struct report *, struct error *);
bool ext_describe(struct fs *, fs_id, uint64_t off, struct report *, struct error *);
/* extent.c, blockmap.c: the nodes on the way to a file block, as a list `path`. */
bool ext_extent_describe(struct ext_fs *, const struct ext_inode *, uint64_t block, struct report *,
                         struct error *) DISH_CHECKED;
bool ext_indirect_describe(struct ext_fs *, const struct ext_inode *, uint64_t block, struct report *,
                           struct error *) DISH_CHECKED;

#endif
