/*
 * The on-disk structures of ext2, ext3 and ext4, described once (engine/layout.h). Specification: "ext4 Data
 * Structures and Algorithms" of the Linux kernel's documentation; field names are the ones used there.
 * Everything is little-endian; the journal's structures, which are not, belong to journal.c.
 */
#ifndef EXT_DISK_H
#define EXT_DISK_H

#include "layout.h"

enum {
    EXT_SUPER_OFFSET = 1024,
    EXT_SUPER_SIZE = 1024,
    EXT_MAGIC = 0xEF53,
    EXT_MIN_BLOCK = 1024,
    EXT_MAX_BLOCK = 65536,
    EXT_NAME_MAX = 255,
    EXT_LINK_MAX = 65000,

    EXT_BAD_INO = 1,
    EXT_ROOT_INO = 2,
    EXT_USER_QUOTA_INO = 3,
    EXT_GROUP_QUOTA_INO = 4,
    EXT_RESIZE_INO = 7,
    EXT_JOURNAL_INO = 8,
    EXT_GOOD_OLD_FIRST_INO = 11,
    EXT_GOOD_OLD_INODE_SIZE = 128,
    EXT_GOOD_OLD_DESC_SIZE = 32,
};

/* s_state */
enum { EXT_STATE_VALID = 1, EXT_STATE_ERROR = 2, EXT_STATE_ORPHAN = 4, EXT_STATE_FAST_COMMIT = 0x20 };

/* s_flags */
enum { EXT_FLAGS_SIGNED_HASH = 1, EXT_FLAGS_UNSIGNED_HASH = 2, EXT_FLAGS_TEST = 4 };

/* s_creator_os */
enum { EXT_OS_LINUX = 0, EXT_OS_HURD = 1 };

/* A feature: its bit in the low half, its class (which word of the superblock) in the high half. */
#define EXT_COMPAT(bit) ((uint64_t)(bit))
#define EXT_INCOMPAT(bit) ((uint64_t)(bit) | (uint64_t)1 << 32)
#define EXT_RO_COMPAT(bit) ((uint64_t)(bit) | (uint64_t)2 << 32)

#define EXT_DIR_PREALLOC EXT_COMPAT(0x1)
#define EXT_IMAGIC_INODES EXT_COMPAT(0x2)
#define EXT_HAS_JOURNAL EXT_COMPAT(0x4)
#define EXT_EXT_ATTR EXT_COMPAT(0x8)
#define EXT_RESIZE_INODE EXT_COMPAT(0x10)
#define EXT_DIR_INDEX EXT_COMPAT(0x20)
#define EXT_LAZY_BG EXT_COMPAT(0x40)
#define EXT_SPARSE_SUPER2 EXT_COMPAT(0x200)
#define EXT_FAST_COMMIT EXT_COMPAT(0x400)
#define EXT_STABLE_INODES EXT_COMPAT(0x800)
#define EXT_ORPHAN_FILE EXT_COMPAT(0x1000)

#define EXT_COMPRESSION EXT_INCOMPAT(0x1)
#define EXT_FILETYPE EXT_INCOMPAT(0x2)
#define EXT_NEEDS_RECOVERY EXT_INCOMPAT(0x4)
#define EXT_JOURNAL_DEV EXT_INCOMPAT(0x8)
#define EXT_META_BG EXT_INCOMPAT(0x10)
#define EXT_EXTENTS EXT_INCOMPAT(0x40)
#define EXT_64BIT EXT_INCOMPAT(0x80)
#define EXT_MMP EXT_INCOMPAT(0x100)
#define EXT_FLEX_BG EXT_INCOMPAT(0x200)
#define EXT_EA_INODE EXT_INCOMPAT(0x400)
#define EXT_DIRDATA EXT_INCOMPAT(0x1000)
#define EXT_CSUM_SEED EXT_INCOMPAT(0x2000)
#define EXT_LARGE_DIR EXT_INCOMPAT(0x4000)
#define EXT_INLINE_DATA EXT_INCOMPAT(0x8000)
#define EXT_ENCRYPT EXT_INCOMPAT(0x10000)
#define EXT_CASEFOLD EXT_INCOMPAT(0x20000)

#define EXT_SPARSE_SUPER EXT_RO_COMPAT(0x1)
#define EXT_LARGE_FILE EXT_RO_COMPAT(0x2)
#define EXT_BTREE_DIR EXT_RO_COMPAT(0x4)
#define EXT_HUGE_FILE EXT_RO_COMPAT(0x8)
#define EXT_GDT_CSUM EXT_RO_COMPAT(0x10)
#define EXT_DIR_NLINK EXT_RO_COMPAT(0x20)
#define EXT_EXTRA_ISIZE EXT_RO_COMPAT(0x40)
#define EXT_SNAPSHOT EXT_RO_COMPAT(0x80)
#define EXT_QUOTA EXT_RO_COMPAT(0x100)
#define EXT_BIGALLOC EXT_RO_COMPAT(0x200)
#define EXT_METADATA_CSUM EXT_RO_COMPAT(0x400)
#define EXT_REPLICA EXT_RO_COMPAT(0x800)
#define EXT_READONLY EXT_RO_COMPAT(0x1000)
#define EXT_PROJECT EXT_RO_COMPAT(0x2000)
#define EXT_SHARED_BLOCKS EXT_RO_COMPAT(0x4000)
#define EXT_VERITY EXT_RO_COMPAT(0x8000)
#define EXT_ORPHAN_PRESENT EXT_RO_COMPAT(0x10000)

/* "The Super Block" */
#define EXT_SUPER(F, T)                                                                                      \
    F(T, 0x000, 4, LE, s_inodes_count, kind_dec, "number of inodes; groups times s_inodes_per_group")        \
    F(T, 0x004, 4, LE, s_blocks_count_lo, kind_dec, "number of blocks, low 32 bits")                         \
    F(T, 0x008, 4, LE, s_r_blocks_count_lo, kind_dec, "blocks only the reserved user may take, low")         \
    F(T, 0x00C, 4, LE, s_free_blocks_count_lo, kind_dec, "free blocks, low; e2fsck compares the bitmaps")    \
    F(T, 0x010, 4, LE, s_free_inodes_count, kind_dec, "free inodes; e2fsck compares the bitmaps")            \
    F(T, 0x014, 4, LE, s_first_data_block, kind_dec, "block of this structure: 1 with 1 KiB blocks, or 0")   \
    F(T, 0x018, 4, LE, s_log_block_size, kind_dec, "block size is 1024 << this")                             \
    F(T, 0x01C, 4, LE, s_log_cluster_size, kind_dec, "cluster size is 1024 << this (bigalloc)")              \
    F(T, 0x020, 4, LE, s_blocks_per_group, kind_dec, "blocks a group; one bitmap block maps a group")        \
    F(T, 0x024, 4, LE, s_clusters_per_group, kind_dec, "clusters a group; bits used of the block bitmap")    \
    F(T, 0x028, 4, LE, s_inodes_per_group, kind_dec, "inodes a group; bits used of the inode bitmap")        \
    F(T, 0x02C, 4, LE, s_mtime, kind_time, "last mount, low 32 bits")                                        \
    F(T, 0x030, 4, LE, s_wtime, kind_time, "last write, low 32 bits")                                        \
    F(T, 0x034, 2, LE, s_mnt_count, kind_dec, "mounts since the last check")                                 \
    F(T, 0x036, 2, LE, s_max_mnt_count, kind_dec, "mounts after which e2fsck checks; 65535: never")          \
    F(T, 0x038, 2, LE, s_magic, kind_hex, "0xef53 on every ext volume; the probe of all readers")            \
    F(T, 0x03A, 2, LE, s_state, ext_kind_state, "clean or with errors; mount warns, e2fsck checks")          \
    F(T, 0x03C, 2, LE, s_errors, ext_kind_errors, "what the kernel does when it finds an error")             \
    F(T, 0x03E, 2, LE, s_minor_rev_level, kind_dec, "minor revision")                                        \
    F(T, 0x040, 4, LE, s_lastcheck, kind_time, "last check, low 32 bits")                                    \
    F(T, 0x044, 4, LE, s_checkinterval, kind_dec, "seconds between checks; 0: no limit")                     \
    F(T, 0x048, 4, LE, s_creator_os, ext_kind_os, "decides the meaning of osd1 and osd2 in inodes")          \
    F(T, 0x04C, 4, LE, s_rev_level, kind_dec, "0: fixed 128-byte inodes, no features; 1: dynamic")           \
    F(T, 0x050, 2, LE, s_def_resuid, kind_dec, "user who may take reserved blocks")                          \
    F(T, 0x052, 2, LE, s_def_resgid, kind_dec, "group who may take reserved blocks")                         \
    F(T, 0x054, 4, LE, s_first_ino, kind_dec, "first inode that is not reserved")                            \
    F(T, 0x058, 2, LE, s_inode_size, kind_dec, "bytes an inode; a power of two, 128 or more")                \
    F(T, 0x05A, 2, LE, s_block_group_nr, kind_dec, "group that holds this copy; 0 in the primary")           \
    F(T, 0x05C, 4, LE, s_feature_compat, ext_kind_compat, "unknown bits here may be ignored")                \
    F(T, 0x060, 4, LE, s_feature_incompat, ext_kind_incompat, "unknown bits here forbid all access")         \
    F(T, 0x064, 4, LE, s_feature_ro_compat, ext_kind_ro_compat, "unknown bits here forbid writing")          \
    F(T, 0x068, 16, RAW, s_uuid, kind_uuid, "identity of the volume; seeds the checksums")                   \
    F(T, 0x078, 16, RAW, s_volume_name, kind_text, "label")                                                  \
    F(T, 0x088, 64, RAW, s_last_mounted, kind_text, "directory where it was mounted last")                   \
    F(T, 0x0C8, 4, LE, s_algorithm_usage_bitmap, kind_hex, "compression algorithms; e2compr only")           \
    F(T, 0x0CC, 1, LE, s_prealloc_blocks, kind_dec, "blocks to preallocate for a file; unused by Linux")     \
    F(T, 0x0CD, 1, LE, s_prealloc_dir_blocks, kind_dec, "blocks to preallocate for a directory; unused")     \
    F(T, 0x0CE, 2, LE, s_reserved_gdt_blocks, kind_dec, "blocks kept for more group descriptors (inode 7)")  \
    F(T, 0x0D0, 16, RAW, s_journal_uuid, kind_uuid, "UUID of an external journal")                           \
    F(T, 0x0E0, 4, LE, s_journal_inum, kind_dec, "inode of the journal, 8; 0: external or none")             \
    F(T, 0x0E4, 4, LE, s_journal_dev, kind_hex, "device number of an external journal")                      \
    F(T, 0x0E8, 4, LE, s_last_orphan, kind_dec, "head of the list of inodes to delete or truncate")          \
    F(T, 0x0EC, 16, RAW, s_hash_seed, kind_uuid, "seed of the directory hashes")                             \
    F(T, 0x0FC, 1, LE, s_def_hash_version, ext_kind_hash, "hash of new directory indexes")                   \
    F(T, 0x0FD, 1, LE, s_jnl_backup_type, kind_dec, "1: s_jnl_blocks holds a copy of the journal inode")     \
    F(T, 0x0FE, 2, LE, s_desc_size, kind_dec, "bytes a group descriptor (64bit); else 32")                   \
    F(T, 0x100, 4, LE, s_default_mount_opts, ext_kind_mount_opts, "mount options used unless overridden")    \
    F(T, 0x104, 4, LE, s_first_meta_bg, kind_dec, "first descriptor block that lies in its own group")       \
    F(T, 0x108, 4, LE, s_mkfs_time, kind_time, "when the volume was made, low 32 bits")                      \
    F(T, 0x10C, 68, RAW, s_jnl_blocks, kind_bytes, "i_block and size of the journal inode, for e2fsck")      \
    F(T, 0x150, 4, LE, s_blocks_count_hi, kind_dec, "number of blocks, high 32 bits (64bit)")                \
    F(T, 0x154, 4, LE, s_r_blocks_count_hi, kind_dec, "reserved blocks, high")                               \
    F(T, 0x158, 4, LE, s_free_blocks_count_hi, kind_dec, "free blocks, high")                                \
    F(T, 0x15C, 2, LE, s_min_extra_isize, kind_dec, "extra bytes that every inode has at least")             \
    F(T, 0x15E, 2, LE, s_want_extra_isize, kind_dec, "extra bytes that new inodes get")                      \
    F(T, 0x160, 4, LE, s_flags, ext_kind_super_flags, "signed or unsigned characters in hashes")             \
    F(T, 0x164, 2, LE, s_raid_stride, kind_dec, "blocks written to one disk before the next")                \
    F(T, 0x166, 2, LE, s_mmp_update_interval, kind_dec, "seconds between updates of the MMP block")          \
    F(T, 0x168, 8, LE, s_mmp_block, kind_dec, "block that shows which host uses the volume")                 \
    F(T, 0x170, 4, LE, s_raid_stripe_width, kind_dec, "blocks in a full stripe")                             \
    F(T, 0x174, 1, LE, s_log_groups_per_flex, kind_dec, "groups that share their metadata: 1 << this")       \
    F(T, 0x175, 1, LE, s_checksum_type, kind_dec, "1: crc32c, the only one defined")                         \
    F(T, 0x176, 1, LE, s_encryption_level, kind_dec, "version of encryption")                                \
    F(T, 0x177, 1, LE, s_reserved_pad, kind_reserved, "padding")                                             \
    F(T, 0x178, 8, LE, s_kbytes_written, kind_dec, "KiB written in the volume's life; kernel only")          \
    F(T, 0x180, 4, LE, s_snapshot_inum, kind_dec, "inode of the active snapshot; never in mainline")         \
    F(T, 0x184, 4, LE, s_snapshot_id, kind_dec, "id of the active snapshot")                                 \
    F(T, 0x188, 8, LE, s_snapshot_r_blocks_count, kind_dec, "blocks reserved for the snapshot")              \
    F(T, 0x190, 4, LE, s_snapshot_list, kind_dec, "head of the list of snapshots")                           \
    F(T, 0x194, 4, LE, s_error_count, kind_dec, "errors the kernel has seen since the last e2fsck")          \
    F(T, 0x198, 4, LE, s_first_error_time, kind_time, "when the first was seen")                             \
    F(T, 0x19C, 4, LE, s_first_error_ino, kind_dec, "inode of the first")                                    \
    F(T, 0x1A0, 8, LE, s_first_error_block, kind_dec, "block of the first")                                  \
    F(T, 0x1A8, 32, RAW, s_first_error_func, kind_text, "kernel function that saw it")                       \
    F(T, 0x1C8, 4, LE, s_first_error_line, kind_dec, "line in the kernel's source")                          \
    F(T, 0x1CC, 4, LE, s_last_error_time, kind_time, "when the latest was seen")                             \
    F(T, 0x1D0, 4, LE, s_last_error_ino, kind_dec, "inode of the latest")                                    \
    F(T, 0x1D4, 4, LE, s_last_error_line, kind_dec, "line of the latest")                                    \
    F(T, 0x1D8, 8, LE, s_last_error_block, kind_dec, "block of the latest")                                  \
    F(T, 0x1E0, 32, RAW, s_last_error_func, kind_text, "function of the latest")                             \
    F(T, 0x200, 64, RAW, s_mount_opts, kind_text, "mount options as text, used at every mount")              \
    F(T, 0x240, 4, LE, s_usr_quota_inum, kind_dec, "inode of the user quota file")                           \
    F(T, 0x244, 4, LE, s_grp_quota_inum, kind_dec, "inode of the group quota file")                          \
    F(T, 0x248, 4, LE, s_overhead_clusters, kind_dec, "blocks or clusters of metadata, for statfs; 0: ask")  \
    F(T, 0x24C, 4, LE, s_backup_bgs_0, kind_dec, "first group with a copy (sparse_super2)")                  \
    F(T, 0x250, 4, LE, s_backup_bgs_1, kind_dec, "second group with a copy (sparse_super2)")                 \
    F(T, 0x254, 4, RAW, s_encrypt_algos, kind_bytes, "encryption algorithms in use")                         \
    F(T, 0x258, 16, RAW, s_encrypt_pw_salt, kind_bytes, "salt of password-derived keys")                     \
    F(T, 0x268, 4, LE, s_lpf_ino, kind_dec, "inode of lost+found; 0: look it up")                            \
    F(T, 0x26C, 4, LE, s_prj_quota_inum, kind_dec, "inode of the project quota file")                        \
    F(T, 0x270, 4, LE, s_checksum_seed, kind_hex, "seed of the checksums (metadata_csum_seed)")              \
    F(T, 0x274, 1, LE, s_wtime_hi, kind_dec, "bits 32-39 of s_wtime")                                        \
    F(T, 0x275, 1, LE, s_mtime_hi, kind_dec, "bits 32-39 of s_mtime")                                        \
    F(T, 0x276, 1, LE, s_mkfs_time_hi, kind_dec, "bits 32-39 of s_mkfs_time")                                \
    F(T, 0x277, 1, LE, s_lastcheck_hi, kind_dec, "bits 32-39 of s_lastcheck")                                \
    F(T, 0x278, 1, LE, s_first_error_time_hi, kind_dec, "bits 32-39 of s_first_error_time")                  \
    F(T, 0x279, 1, LE, s_last_error_time_hi, kind_dec, "bits 32-39 of s_last_error_time")                    \
    F(T, 0x27A, 1, LE, s_first_error_errcode, kind_dec, "errno of the first error")                          \
    F(T, 0x27B, 1, LE, s_last_error_errcode, kind_dec, "errno of the latest error")                          \
    F(T, 0x27C, 2, LE, s_encoding, kind_dec, "1: UTF-8 12.1 (casefold)")                                     \
    F(T, 0x27E, 2, LE, s_encoding_flags, kind_hex, "1: names that are not valid UTF-8 are refused")          \
    F(T, 0x280, 4, LE, s_orphan_file_inum, kind_dec, "inode of the orphan file")                             \
    F(T, 0x284, 376, RAW, s_reserved, kind_reserved, "zero")                                                 \
    F(T, 0x3FC, 4, LE, s_checksum, kind_checksum, "crc32c of all bytes before it (metadata_csum)")
LAYOUT_ACCESSORS(ext_super, EXT_SUPER)

/* bg_flags */
enum { EXT_BG_INODE_UNINIT = 1, EXT_BG_BLOCK_UNINIT = 2, EXT_BG_INODE_ZEROED = 4 };

/* "Block Group Descriptors"; only the first 32 bytes exist unless s_desc_size says more. */
#define EXT_DESC(F, T)                                                                                       \
    F(T, 0x00, 4, LE, bg_block_bitmap_lo, kind_dec, "block of the block bitmap, low 32 bits")                \
    F(T, 0x04, 4, LE, bg_inode_bitmap_lo, kind_dec, "block of the inode bitmap, low")                        \
    F(T, 0x08, 4, LE, bg_inode_table_lo, kind_dec, "first block of the inode table, low")                    \
    F(T, 0x0C, 2, LE, bg_free_blocks_count_lo, kind_dec, "free blocks (clusters), low 16 bits")              \
    F(T, 0x0E, 2, LE, bg_free_inodes_count_lo, kind_dec, "free inodes, low")                                 \
    F(T, 0x10, 2, LE, bg_used_dirs_count_lo, kind_dec, "directories, low; spreads new directories")          \
    F(T, 0x12, 2, LE, bg_flags, ext_kind_bg_flags, "which bitmaps and tables were never written")            \
    F(T, 0x14, 4, LE, bg_exclude_bitmap_lo, kind_dec, "snapshot exclusion bitmap; unused")                   \
    F(T, 0x18, 2, LE, bg_block_bitmap_csum_lo, kind_checksum, "crc32c of the block bitmap, low 16 bits")     \
    F(T, 0x1A, 2, LE, bg_inode_bitmap_csum_lo, kind_checksum, "crc32c of the inode bitmap, low 16 bits")     \
    F(T, 0x1C, 2, LE, bg_itable_unused_lo, kind_dec, "inodes at the table's end never used, low; skipped")   \
    F(T, 0x1E, 2, LE, bg_checksum, kind_checksum, "of this descriptor: crc16 or low half of crc32c")         \
    F(T, 0x20, 4, LE, bg_block_bitmap_hi, kind_dec, "block of the block bitmap, high 32 bits")               \
    F(T, 0x24, 4, LE, bg_inode_bitmap_hi, kind_dec, "block of the inode bitmap, high")                       \
    F(T, 0x28, 4, LE, bg_inode_table_hi, kind_dec, "first block of the inode table, high")                   \
    F(T, 0x2C, 2, LE, bg_free_blocks_count_hi, kind_dec, "free blocks, high 16 bits")                        \
    F(T, 0x2E, 2, LE, bg_free_inodes_count_hi, kind_dec, "free inodes, high")                                \
    F(T, 0x30, 2, LE, bg_used_dirs_count_hi, kind_dec, "directories, high")                                  \
    F(T, 0x32, 2, LE, bg_itable_unused_hi, kind_dec, "unused inodes, high")                                  \
    F(T, 0x34, 4, LE, bg_exclude_bitmap_hi, kind_dec, "snapshot exclusion bitmap, high")                     \
    F(T, 0x38, 2, LE, bg_block_bitmap_csum_hi, kind_checksum, "crc32c of the block bitmap, high 16 bits")    \
    F(T, 0x3A, 2, LE, bg_inode_bitmap_csum_hi, kind_checksum, "crc32c of the inode bitmap, high 16 bits")    \
    F(T, 0x3C, 4, LE, bg_reserved, kind_reserved, "zero")
LAYOUT_ACCESSORS(ext_desc, EXT_DESC)

/* i_flags */
enum {
    EXT_FL_SECRM = 0x1,
    EXT_FL_UNRM = 0x2,
    EXT_FL_COMPR = 0x4,
    EXT_FL_SYNC = 0x8,
    EXT_FL_IMMUTABLE = 0x10,
    EXT_FL_APPEND = 0x20,
    EXT_FL_NODUMP = 0x40,
    EXT_FL_NOATIME = 0x80,
    EXT_FL_DIRTY = 0x100,    /* e2compr */
    EXT_FL_COMPRBLK = 0x200, /* e2compr: some clusters are compressed */
    EXT_FL_NOCOMPR = 0x400,
    EXT_FL_ENCRYPT = 0x800,
    EXT_FL_INDEX = 0x1000,
    EXT_FL_IMAGIC = 0x2000,
    EXT_FL_JOURNAL_DATA = 0x4000,
    EXT_FL_NOTAIL = 0x8000,
    EXT_FL_DIRSYNC = 0x10000,
    EXT_FL_TOPDIR = 0x20000,
    EXT_FL_HUGE_FILE = 0x40000,
    EXT_FL_EXTENTS = 0x80000,
    EXT_FL_VERITY = 0x100000,
    EXT_FL_EA_INODE = 0x200000,
    EXT_FL_EOFBLOCKS = 0x400000,
    EXT_FL_DAX = 0x2000000,
    EXT_FL_INLINE_DATA = 0x10000000,
    EXT_FL_PROJINHERIT = 0x20000000,
    EXT_FL_CASEFOLD = 0x40000000,
};

/* "Index Nodes"; the part from 0x80 on exists as far as i_extra_isize says,
 * when inodes are larger than 128. */
#define EXT_INODE(F, T)                                                                                      \
    F(T, 0x00, 2, LE, i_mode, ext_kind_mode, "file type and permissions")                                    \
    F(T, 0x02, 2, LE, i_uid, kind_dec, "owner, low 16 bits")                                                 \
    F(T, 0x04, 4, LE, i_size_lo, kind_dec, "size in bytes, low 32 bits")                                     \
    F(T, 0x08, 4, LE, i_atime, kind_time, "last access, low 32 bits; of an ea_inode: hash of its value")     \
    F(T, 0x0C, 4, LE, i_ctime, kind_time, "last change of the inode, low; of an ea_inode: high count")       \
    F(T, 0x10, 4, LE, i_mtime, kind_time, "last change of the contents, low 32 bits")                        \
    F(T, 0x14, 4, LE, i_dtime, kind_time, "time of deletion, or the next orphan")                            \
    F(T, 0x18, 2, LE, i_gid, kind_dec, "group, low 16 bits")                                                 \
    F(T, 0x1A, 2, LE, i_links_count, kind_dec, "names; a directory with 1 has more than 64998")              \
    F(T, 0x1C, 4, LE, i_blocks_lo, kind_dec, "512-byte units in use, index and xattr blocks included, low")  \
    F(T, 0x20, 4, LE, i_flags, ext_kind_inode_flags,                                                         \
      "attributes as lsattr shows them, and how data is kept")                                               \
    F(T, 0x24, 4, LE, i_version, kind_hex,                                                                   \
      "change counter, low; Hurd: translator; of an ea_inode: low count")                                    \
    F(T, 0x28, 60, RAW, i_block, kind_bytes, "block map, extent tree, inline data, link target or device")   \
    F(T, 0x64, 4, LE, i_generation, kind_hex, "file version for NFS; seeds the inode's checksums")           \
    F(T, 0x68, 4, LE, i_file_acl_lo, kind_dec, "block of further extended attributes, low 32 bits")          \
    F(T, 0x6C, 4, LE, i_size_high, kind_dec, "size in bytes, high 32 bits")                                  \
    F(T, 0x70, 4, LE, i_obso_faddr, kind_dec, "fragment address; never used")                                \
    F(T, 0x74, 2, LE, i_blocks_high, kind_dec, "units in use, high 16 bits (Hurd: fragment)")                \
    F(T, 0x76, 2, LE, i_file_acl_high, kind_dec, "block of extended attributes, high (Hurd: mode, high)")    \
    F(T, 0x78, 2, LE, i_uid_high, kind_dec, "owner, high 16 bits")                                           \
    F(T, 0x7A, 2, LE, i_gid_high, kind_dec, "group, high 16 bits")                                           \
    F(T, 0x7C, 2, LE, i_checksum_lo, kind_checksum, "crc32c of the inode, low half (Hurd: author, low)")     \
    F(T, 0x7E, 2, LE, i_osd2_reserved, kind_reserved, "zero (Hurd: author, high)")                           \
    F(T, 0x80, 2, LE, i_extra_isize, kind_dec, "bytes in use from here on before the attributes")            \
    F(T, 0x82, 2, LE, i_checksum_hi, kind_checksum, "crc32c of the inode, high half")                        \
    F(T, 0x84, 4, LE, i_ctime_extra, kind_hex, "nanoseconds << 2, and two more bits of the seconds")         \
    F(T, 0x88, 4, LE, i_mtime_extra, kind_hex, "the same for i_mtime")                                       \
    F(T, 0x8C, 4, LE, i_atime_extra, kind_hex, "the same for i_atime")                                       \
    F(T, 0x90, 4, LE, i_crtime, kind_time, "creation, low 32 bits")                                          \
    F(T, 0x94, 4, LE, i_crtime_extra, kind_hex, "the same for i_crtime")                                     \
    F(T, 0x98, 4, LE, i_version_hi, kind_hex, "change counter, high")                                        \
    F(T, 0x9C, 4, LE, i_projid, kind_dec, "project, for project quotas")
LAYOUT_ACCESSORS(ext_inode, EXT_INODE)
enum { EXT_INODE_FIELDS = 0xA0, EXT_N_BLOCKS = 15, EXT_NDIR = 12, EXT_I_BLOCK_SIZE = 60 };

/* "Extent Tree" */
enum { EXT_EXTENT_MAGIC = 0xF30A, EXT_EXTENT_MAX_DEPTH = 5, EXT_EXTENT_INIT_MAX = 32768 };
#define EXT_EXTENT_HEADER(F, T)                                                                              \
    F(T, 0x00, 2, LE, eh_magic, kind_hex, "0xf30a")                                                          \
    F(T, 0x02, 2, LE, eh_entries, kind_dec, "entries in use after this header")                              \
    F(T, 0x04, 2, LE, eh_max, kind_dec, "entries that there is room for")                                    \
    F(T, 0x06, 2, LE, eh_depth, kind_dec, "0: extents follow; else levels of index nodes, at most 5")        \
    F(T, 0x08, 4, LE, eh_generation, kind_dec, "unused; Lustre only")
LAYOUT_ACCESSORS(ext_eh, EXT_EXTENT_HEADER)

#define EXT_EXTENT_INDEX(F, T)                                                                               \
    F(T, 0x00, 4, LE, ei_block, kind_dec, "first block of the file that is below this entry")                \
    F(T, 0x04, 4, LE, ei_leaf_lo, kind_dec, "block of the node below, low 32 bits")                          \
    F(T, 0x08, 2, LE, ei_leaf_hi, kind_dec, "block of the node below, high 16 bits")                         \
    F(T, 0x0A, 2, LE, ei_unused, kind_reserved, "zero")
LAYOUT_ACCESSORS(ext_ei, EXT_EXTENT_INDEX)

#define EXT_EXTENT(F, T)                                                                                     \
    F(T, 0x00, 4, LE, ee_block, kind_dec, "first block of the file that this extent covers")                 \
    F(T, 0x04, 2, LE, ee_len, kind_dec, "blocks; above 32768: unwritten, 32768 less")                        \
    F(T, 0x06, 2, LE, ee_start_hi, kind_dec, "first block on the volume, high 16 bits")                      \
    F(T, 0x08, 4, LE, ee_start_lo, kind_dec, "first block on the volume, low 32 bits")
LAYOUT_ACCESSORS(ext_ee, EXT_EXTENT)
enum { EXT_EXTENT_ENTRY = 12, EXT_EXTENT_TAIL = 4 };

/* "Linear (Classic) Directories" */
enum { EXT_DIRENT_HEADER = 8, EXT_DIRENT_MIN = 12, EXT_DIR_TAIL = 12, EXT_DIR_TAIL_TYPE = 0xDE };
#define EXT_DIRENT(F, T)                                                                                     \
    F(T, 0x00, 4, LE, inode, kind_dec, "inode; 0: the entry is free")                                        \
    F(T, 0x04, 2, LE, rec_len, kind_dec, "bytes to the next entry; 0 and 65535 stand for 65536")             \
    F(T, 0x06, 1, LE, name_len, kind_dec, "bytes of the name")                                               \
    F(T, 0x07, 1, LE, file_type, ext_kind_file_type, "type of the file (filetype), else high byte of length")
LAYOUT_ACCESSORS(ext_de, EXT_DIRENT)

#define EXT_DIRTAIL(F, T)                                                                                    \
    F(T, 0x00, 4, LE, det_reserved_zero1, kind_reserved, "zero: looks like a free entry to old readers")     \
    F(T, 0x04, 2, LE, det_rec_len, kind_dec, "12")                                                           \
    F(T, 0x06, 1, LE, det_reserved_zero2, kind_reserved, "zero")                                             \
    F(T, 0x07, 1, LE, det_reserved_ft, kind_hex, "0xde: marks the tail")                                     \
    F(T, 0x08, 4, LE, det_checksum, kind_checksum, "crc32c of the block before the tail")
LAYOUT_ACCESSORS(ext_det, EXT_DIRTAIL)

/* "Hash Tree Directories"; the root is laid out as the first two entries, `.` and `..`. */
#define EXT_DX_ROOT(F, T)                                                                                    \
    F(T, 0x00, 4, LE, dot_inode, kind_dec, "this directory")                                                 \
    F(T, 0x04, 2, LE, dot_rec_len, kind_dec, "12")                                                           \
    F(T, 0x06, 1, LE, dot_name_len, kind_dec, "1")                                                           \
    F(T, 0x07, 1, LE, dot_file_type, kind_dec, "2: a directory")                                             \
    F(T, 0x08, 4, RAW, dot_name, kind_text, "`.`")                                                           \
    F(T, 0x0C, 4, LE, dotdot_inode, kind_dec, "the parent directory")                                        \
    F(T, 0x10, 2, LE, dotdot_rec_len, kind_dec, "to the block's end: hides the index from old readers")      \
    F(T, 0x12, 1, LE, dotdot_name_len, kind_dec, "2")                                                        \
    F(T, 0x13, 1, LE, dotdot_file_type, kind_dec, "2: a directory")                                          \
    F(T, 0x14, 4, RAW, dotdot_name, kind_text, "`..`")                                                       \
    F(T, 0x18, 4, LE, reserved_zero, kind_reserved, "zero")                                                  \
    F(T, 0x1C, 1, LE, hash_version, ext_kind_hash, "hash function of this index")                            \
    F(T, 0x1D, 1, LE, info_length, kind_dec, "8")                                                            \
    F(T, 0x1E, 1, LE, indirect_levels, kind_dec, "levels of index nodes below the root: 0, 1; large_dir 2")  \
    F(T, 0x1F, 1, LE, unused_flags, kind_hex, "zero")                                                        \
    F(T, 0x20, 2, LE, limit, kind_dec, "entries that there is room for, this one included")                  \
    F(T, 0x22, 2, LE, count, kind_dec, "entries in use, this one included")                                  \
    F(T, 0x24, 4, LE, block, kind_dec, "block of the directory for the hashes before the first entry")
LAYOUT_ACCESSORS(ext_dxr, EXT_DX_ROOT)

#define EXT_DX_NODE(F, T)                                                                                    \
    F(T, 0x00, 4, LE, fake_inode, kind_dec, "zero: looks like a free entry")                                 \
    F(T, 0x04, 2, LE, fake_rec_len, kind_dec, "the whole block")                                             \
    F(T, 0x06, 1, LE, fake_name_len, kind_dec, "zero")                                                       \
    F(T, 0x07, 1, LE, fake_file_type, kind_dec, "zero")                                                      \
    F(T, 0x08, 2, LE, limit, kind_dec, "entries that there is room for, this one included")                  \
    F(T, 0x0A, 2, LE, count, kind_dec, "entries in use, this one included")                                  \
    F(T, 0x0C, 4, LE, block, kind_dec, "block of the directory for the hashes before the first entry")
LAYOUT_ACCESSORS(ext_dxn, EXT_DX_NODE)

#define EXT_DX_ENTRY(F, T)                                                                                   \
    F(T, 0x00, 4, LE, hash, kind_hex, "lowest hash below; bit 0: the run of equal hashes began before")      \
    F(T, 0x04, 4, LE, block, kind_dec, "block of the directory")
LAYOUT_ACCESSORS(ext_dxe, EXT_DX_ENTRY)

#define EXT_DX_TAIL(F, T)                                                                                    \
    F(T, 0x00, 4, LE, dt_reserved, kind_reserved, "zero")                                                    \
    F(T, 0x04, 4, LE, dt_checksum, kind_checksum, "crc32c of header, entries and these 8 bytes less it")
LAYOUT_ACCESSORS(ext_dxt, EXT_DX_TAIL)
enum { EXT_DX_ROOT_ENTRIES = 0x20, EXT_DX_NODE_ENTRIES = 0x08, EXT_DX_ENTRY_SIZE = 8, EXT_DX_TAIL_SIZE = 8 };

/* "Extended Attributes" */
enum {
    EXT_XATTR_MAGIC = 0xEA020000u,
    EXT_XATTR_HEADER = 32,
    EXT_XATTR_ENTRY_SIZE = 16,
    EXT_XATTR_REF_MAX = 1024
};
#define EXT_XATTR_BLOCK(F, T)                                                                                \
    F(T, 0x00, 4, LE, h_magic, kind_hex, "0xea020000")                                                       \
    F(T, 0x04, 4, LE, h_refcount, kind_dec, "inodes that share this block, at most 1024")                    \
    F(T, 0x08, 4, LE, h_blocks, kind_dec, "1")                                                               \
    F(T, 0x0C, 4, LE, h_hash, kind_hex, "of all entries, to find equal blocks; 0: not to be shared")         \
    F(T, 0x10, 4, LE, h_checksum, kind_checksum, "crc32c of block number and block (metadata_csum)")         \
    F(T, 0x14, 12, RAW, h_reserved, kind_reserved, "zero")
LAYOUT_ACCESSORS(ext_xh, EXT_XATTR_BLOCK)

#define EXT_XATTR_IBODY(F, T) F(T, 0x00, 4, LE, h_magic, kind_hex, "0xea020000: attributes follow")
LAYOUT_ACCESSORS(ext_xi, EXT_XATTR_IBODY)

#define EXT_XATTR_ENTRY(F, T)                                                                                \
    F(T, 0x00, 1, LE, e_name_len, kind_dec, "bytes of the name")                                             \
    F(T, 0x01, 1, LE, e_name_index, ext_kind_xattr_index, "prefix of the name")                              \
    F(T, 0x02, 2, LE, e_value_offs, kind_dec, "value: from the block's start, or from the inode's entries")  \
    F(T, 0x04, 4, LE, e_value_inum, kind_dec, "inode that holds the value (ea_inode); 0: here")              \
    F(T, 0x08, 4, LE, e_value_size, kind_dec, "bytes of the value")                                          \
    F(T, 0x0C, 4, LE, e_hash, kind_hex, "of name and value; 0 for most entries inside inodes")
LAYOUT_ACCESSORS(ext_xe, EXT_XATTR_ENTRY)

/* "Multiple Mount Protection" */
enum { EXT_MMP_MAGIC = 0x004D4D50 };
#define EXT_MMP_CLEAN 0xFF4D4D50u
#define EXT_MMP_FSCK 0xE24D4D50u
#define EXT_MMP_BLOCK(F, T)                                                                                  \
    F(T, 0x000, 4, LE, mmp_magic, kind_hex, "0x004d4d50")                                                    \
    F(T, 0x004, 4, LE, mmp_seq, ext_kind_mmp_seq, "counts while a host uses the volume")                     \
    F(T, 0x008, 8, LE, mmp_time, kind_time, "last update")                                                   \
    F(T, 0x010, 64, RAW, mmp_nodename, kind_text, "host that uses the volume")                               \
    F(T, 0x050, 32, RAW, mmp_bdevname, kind_text, "its name for the device")                                 \
    F(T, 0x070, 2, LE, mmp_check_interval, kind_dec, "seconds between updates")                              \
    F(T, 0x072, 2, LE, mmp_pad1, kind_reserved, "zero")                                                      \
    F(T, 0x074, 904, RAW, mmp_pad2, kind_reserved, "zero")                                                   \
    F(T, 0x3FC, 4, LE, mmp_checksum, kind_checksum, "crc32c of all bytes before it (metadata_csum)")
LAYOUT_ACCESSORS(ext_mmp, EXT_MMP_BLOCK)

/* "Orphan File": the last 8 bytes of each of its blocks; inode numbers before. */
enum { EXT_ORPHAN_MAGIC = 0x0B10CA04, EXT_ORPHAN_TAIL_SIZE = 8 };
#define EXT_ORPHAN_TAIL(F, T)                                                                                \
    F(T, 0x00, 4, LE, ob_magic, kind_hex, "0x0b10ca04")                                                      \
    F(T, 0x04, 4, LE, ob_checksum, kind_checksum, "crc32c of block number and inode numbers")
LAYOUT_ACCESSORS(ext_ob, EXT_ORPHAN_TAIL)

#endif
