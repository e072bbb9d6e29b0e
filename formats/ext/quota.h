/*
 * Quota files (version 2, revision 1): a tree over the bytes of an id, of 1 KiB blocks whatever the volume's
 * block size is. Specification: the quota tools' "quota format vfsv1"; ext4 keeps one file for each type.
 *
 *      | 0: header | 1: root | nodes: 256 block numbers, by the next byte of the id | leaves: 14 entries |
 */
#ifndef EXT_QUOTA_H
#define EXT_QUOTA_H

#include "ext.h"

enum ext_quota_type { EXT_QUOTA_USER, EXT_QUOTA_GROUP, EXT_QUOTA_PROJECT, EXT_QUOTA_TYPES };
enum { EXT_QUOTA_BLOCK = 1024, EXT_QUOTA_GRACE = 7 * 86400 };

#define EXT_QUOTA_HEADER(F, T)                                                                               \
    F(T, 0x00, 4, LE, dqh_magic, kind_hex, "0xd9c01f11 users, 0xd9c01927 groups, 0xd9c03f14 projects")       \
    F(T, 0x04, 4, LE, dqh_version, kind_dec, "1: 64-bit limits")                                             \
    F(T, 0x08, 4, LE, dqi_bgrace, kind_dec, "seconds a soft limit of space may be passed")                   \
    F(T, 0x0C, 4, LE, dqi_igrace, kind_dec, "seconds a soft limit of inodes may be passed")                  \
    F(T, 0x10, 4, LE, dqi_flags, kind_hex, "none is defined")                                                \
    F(T, 0x14, 4, LE, dqi_blocks, kind_dec, "blocks of the file")                                            \
    F(T, 0x18, 4, LE, dqi_free_blk, kind_dec, "first block of the list of free ones; 0: none")               \
    F(T, 0x1C, 4, LE, dqi_free_entry, kind_dec, "first leaf that has room; 0: none")
LAYOUT_ACCESSORS(ext_qh, EXT_QUOTA_HEADER)

#define EXT_QUOTA_LEAF(F, T)                                                                                 \
    F(T, 0x00, 4, LE, dqdh_next_free, kind_dec, "next block in its list")                                    \
    F(T, 0x04, 4, LE, dqdh_prev_free, kind_dec, "block before it in its list")                               \
    F(T, 0x08, 2, LE, dqdh_entries, kind_dec, "entries in use")                                              \
    F(T, 0x0A, 2, LE, dqdh_pad1, kind_reserved, "zero")                                                      \
    F(T, 0x0C, 4, LE, dqdh_pad2, kind_reserved, "zero")
LAYOUT_ACCESSORS(ext_ql, EXT_QUOTA_LEAF)
enum { EXT_QUOTA_LEAF_HEADER = 16 };

#define EXT_QUOTA_ENTRY(F, T)                                                                                \
    F(T, 0x00, 4, LE, dqb_id, kind_dec, "user, group or project")                                            \
    F(T, 0x04, 4, LE, dqb_pad, kind_reserved, "zero")                                                        \
    F(T, 0x08, 8, LE, dqb_ihardlimit, kind_dec, "most inodes")                                               \
    F(T, 0x10, 8, LE, dqb_isoftlimit, kind_dec, "inodes it should keep to")                                  \
    F(T, 0x18, 8, LE, dqb_curinodes, kind_dec, "inodes in use")                                              \
    F(T, 0x20, 8, LE, dqb_bhardlimit, kind_dec, "most KiB")                                                  \
    F(T, 0x28, 8, LE, dqb_bsoftlimit, kind_dec, "KiB it should keep to")                                     \
    F(T, 0x30, 8, LE, dqb_curspace, kind_size, "bytes in use")                                               \
    F(T, 0x38, 8, LE, dqb_btime, kind_time, "until when the soft limit of space may be passed")              \
    F(T, 0x40, 8, LE, dqb_itime, kind_time, "until when the soft limit of inodes may be passed")
LAYOUT_ACCESSORS(ext_qe, EXT_QUOTA_ENTRY)
enum { EXT_QUOTA_ENTRY_SIZE = 72 };

uint32_t ext_quota_magic(enum ext_quota_type);
/* Inodes that no quota counts: the reserved ones but /, those of the volume itself, and attribute values. */
bool ext_quota_exempt(const struct ext_fs *, uint32_t ino, const uint8_t *inode);
/* The inode of a type's file by the superblock; 0: there is none. */
uint32_t ext_quota_ino(const uint8_t *super, enum ext_quota_type);
void ext_quota_set_ino(uint8_t *super, enum ext_quota_type, uint32_t ino);

/*
 * A whole quota file of `count` entries (ext_qe, EXT_QUOTA_ENTRY_SIZE bytes each), by rising id. *file is
 * malloc'd.
 */
bool ext_quota_build(enum ext_quota_type, const uint8_t *entries, size_t count, uint8_t **file, size_t *len,
                     struct error *) DISH_CHECKED;

#endif
