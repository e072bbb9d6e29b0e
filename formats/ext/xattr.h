/* Extended attributes inside the folder: by index and bare name, as they are stored. */
#ifndef EXT_XATTR_H
#define EXT_XATTR_H

#include "ext.h"

/* e_name_index */
enum ext_xattr_index {
    EXT_XATTR_USER = 1,
    EXT_XATTR_ACL_ACCESS = 2,
    EXT_XATTR_ACL_DEFAULT = 3,
    EXT_XATTR_TRUSTED = 4,
    EXT_XATTR_LUSTRE = 5,
    EXT_XATTR_SECURITY = 6,
    EXT_XATTR_SYSTEM = 7,
    EXT_XATTR_RICHACL = 8,
    EXT_XATTR_ENCRYPTION = 9,
    EXT_XATTR_HURD = 10,
};

enum { EXT_XATTR_VALUE_MAX = 65536 };

struct ext_xattr_key {
    uint8_t index;
    const char *name;
    size_t len;
};

/* A run of entries: behind an inode's fields, or in a block. */
struct ext_xattr_area {
    uint8_t *base;  /* value offsets count from here */
    uint8_t *first; /* first entry */
    uint8_t *end;
};

/* The area inside an inode; false: it has none or no attributes there. */
bool ext_xattr_body(const struct ext_fs *, const uint8_t *inode, struct ext_xattr_area *);
/* The entry after one (`entry` NULL: the first); NULL in *out: none.
 * Checks that entry and value lie inside. */
bool ext_xattr_next(const struct ext_xattr_area *, const uint8_t *entry, uint8_t **out,
                    struct error *) DISH_CHECKED;
/* Bytes that the attributes inside the inode could take, all in all. */
uint32_t ext_xattr_body_room(const struct ext_fs *, const uint8_t *inode);

struct ext_xattr_found {
    uint8_t *value; /* where it lies; NULL when it has an inode of its own */
    uint32_t len, inum;
    struct cache_block *block; /* pinned when it lies in an attribute block */
};
/* E_NOENT when there is none. Release with ext_xattr_put(). */
bool ext_xattr_find(struct ext_fs *, const struct ext_inode *, const struct ext_xattr_key *,
                    struct ext_xattr_found *, struct error *) DISH_CHECKED;
void ext_xattr_put(struct ext_fs *, struct ext_xattr_found *);
/* value NULL removes. */
bool ext_xattr_store(struct ext_fs *, struct ext_inode *, const struct ext_xattr_key *, const void *value,
                     size_t len, struct error *) DISH_CHECKED;

/* Attributes in the inode whose values have inodes of their own go; so that a deleted inode can be used again
 * whose values are gone. */
bool ext_xattr_drop_values(struct ext_fs *, struct ext_inode *, struct error *) DISH_CHECKED;
/* How many of the inode's values have inodes of their own. */
bool ext_xattr_inode_count(struct ext_fs *, struct ext_inode *, unsigned *count, struct error *) DISH_CHECKED;

/* "user.x" to index and bare name; E_UNSUPPORTED for a prefix that the format does not have. */
bool ext_xattr_key(const char *name, struct ext_xattr_key *, struct error *) DISH_CHECKED;

/* ---- xattr_inode.c: values in inodes of their own (ea_inode) ---- */

bool ext_xattr_inode_read(struct ext_fs *, uint32_t inum, void *buf, size_t len, struct error *) DISH_CHECKED;
/* Where the last value of that hash went in this session: an inode, or 0. It may hold something else by now.
 * NULL: nothing is remembered. */
uint32_t *ext_shared_value(struct ext_fs *, uint32_t hash);
/*
 * An inode with that value: one that was written in this session gets one reference more, else a new one is
 * made. *hash is what e_hash is computed from.
 */
bool ext_xattr_inode_new(struct ext_fs *, struct ext_inode *owner, const void *value, size_t len,
                         uint32_t *inum, uint32_t *hash, struct error *) DISH_CHECKED;
/* Change the number of references; at 0 the inode goes. */
bool ext_xattr_inode_ref(struct ext_fs *, uint32_t inum, int delta, struct error *) DISH_CHECKED;
/* The owner's i_blocks and quota bear a value inode of len bytes more (less). */
bool ext_xattr_inode_charge(struct ext_fs *, struct ext_inode *owner, size_t len, int sign,
                            struct error *) DISH_CHECKED;

/* ---- acl.c: POSIX ACLs, stored form <-> what Linux programs see; the result is malloc'd ---- */

bool ext_acl_to_user(const uint8_t *stored, size_t len, void **out, size_t *out_len,
                     struct error *) DISH_CHECKED;
bool ext_acl_from_user(const uint8_t *user, size_t len, void **out, size_t *out_len,
                       struct error *) DISH_CHECKED;

/* ---- inline.c: contents inside the inode ("Inline Data") ---- */

/* Bytes that fit, attributes as they are now; 0 when the volume has no inline data. */
uint32_t ext_inline_capacity(struct ext_fs *, const struct ext_inode *);
/* The two parts: i_block, and the value of system.data (NULL with length 0: none). */
struct ext_inline {
    uint8_t *head, *tail;
    uint32_t tail_len;
};
bool ext_inline_get(struct ext_fs *, const struct ext_inode *, struct ext_inline *,
                    struct error *) DISH_CHECKED;
/* len bytes of contents become the inode's inline data. E_NOSPACE. */
bool ext_inline_store(struct ext_fs *, struct ext_inode *, const void *data, size_t len,
                      struct error *) DISH_CHECKED;
/* All inline contents (60 bytes and the value), malloc'd. */
bool ext_inline_load(struct ext_fs *, const struct ext_inode *, uint8_t **data, size_t *len,
                     struct error *) DISH_CHECKED;
/* Drop the inline data; the inode gets an empty map. */
bool ext_inline_clear(struct ext_fs *, struct ext_inode *, struct error *) DISH_CHECKED;

#endif
