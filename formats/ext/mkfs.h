/*
 * Making a volume, in steps:
 *
 *   mkfs_plan.c     what is asked for: type, usage, features and tunables, by the rules of mke2fs 1.47
 *   mkfs_layout.c   where things go: groups, superblock copies, bitmaps and inode tables
 *   mkfs_files.c    the first files: /, lost+found, the journal, resize, quota and orphan inodes
 *   mkfs_map.c      the blocks of such a file: allocation, extent tree or block map
 *   mkfs.c          the driver's operation; bitmaps, descriptors and superblocks are written last
 *
 * The result is, byte for byte, what mke2fs makes of the same time, UUID and hash seed (its counter of KiB
 * written excepted). Memory: the descriptors, and one range for each run of used blocks (three for each
 * flexible group).
 */
#ifndef EXT_MKFS_H
#define EXT_MKFS_H

#include "ext.h"

/* What the volume is to be. */
struct ext_plan {
    uint32_t features[3];              /* words: compat, incompat, ro_compat */
    uint64_t blocks;                   /* of the volume, before the layout rounds it */
    uint32_t block_size, cluster_size; /* bytes */
    uint32_t inode_size, desc_size;    /* bytes */
    uint64_t inodes;                   /* wanted; the layout rounds it up */
    double reserved;                   /* percent of the blocks */
    uint32_t flex_groups;              /* groups whose tables lie together; 0: none do */
    uint32_t blocks_per_group;         /* 0: as many as one bitmap block maps */
    uint64_t resize_blocks;            /* reserve descriptors for so many; 0: the default */
    uint32_t stride, stripe_width;     /* blocks */
    uint32_t backups;                  /* superblock copies with sparse_super2: 0 to 2 */
    uint32_t rev, creator_os, errors, hash_version, mmp_interval, encoding, encoding_flags;
    uint64_t journal_blocks, fast_commit_blocks; /* the latter are part of the former */
    uint64_t journal_goal;                       /* block; UINT64_MAX: near the middle */
    uint64_t orphan_blocks;                      /* 0: the default */
    unsigned quota_types;                        /* bit 0 user, 1 group, 2 project */
    uint32_t root_uid, root_gid;
    bool test_fs, packed;
    uint8_t uuid[16], hash_seed[16];
    char label[16], last_mounted[64];
    int64_t now; /* seconds since 1970 */
};

/* E_INVALID with the option's name when the wishes contradict each other or the format. */
bool ext_plan_make(const struct device *, const struct mkfs_params *, struct ext_plan *,
                   struct error *) DISH_CHECKED;

/* The size that mke2fs gives to a journal, in blocks; 0: none. */
uint64_t ext_default_journal_blocks(uint64_t blocks);

/*
 * Descriptor blocks to reserve for growing: to 1024 times the size, or as far as was asked for (0: it was
 * not).
 */
uint32_t ext_default_reserved_descs(const struct ext_fs *, uint64_t resize_blocks);

/* A volume being made. */
struct ext_make {
    struct ext_plan plan;
    struct ext_fs ext;  /* superblock and geometry; no cache: nothing of it is read back */
    uint8_t *descs;     /* all group descriptors, as on disk */
    struct ranges used; /* blocks in use (whole clusters, once the tables are placed) */
    uint64_t reserve;   /* blocks kept for root */
    uint32_t last_ino;  /* inodes 1..last_ino are in use */
    uint64_t written;   /* bytes */
    bool blank;         /* the device held nothing, so its holes are free space */
    uint8_t *block;     /* one block of scratch */
};

/* ---- mkfs_layout.c ---- */

/* Geometry and superblock from the plan; places copies, bitmaps and tables; fills `used` and `descs`. */
bool ext_make_layout(struct ext_make *, struct error *) DISH_CHECKED;
/*
 * Place copies, bitmaps and tables of the groups from `first` on in what `used` leaves free; geometry and
 * superblock are there. Enters them into `used` and `descs`.
 */
bool ext_make_place(struct ext_make *, uint32_t first, struct error *) DISH_CHECKED;
static inline uint8_t *ext_make_desc(const struct ext_make *m, uint32_t group)
{
    return m->descs + (size_t)group * m->ext.desc_size;
}
/* Blocks of a group that are free by `used`; a partly used cluster is used. */
uint64_t ext_make_group_free(const struct ext_make *, uint32_t group);
/* The first free run from `from` on, cut to `want` blocks; goes on at the volume's start. E_NOSPACE. */
bool ext_make_find(const struct ext_make *, uint64_t from, uint64_t want, struct ext_run *,
                   struct error *) DISH_CHECKED;
/* Mark blocks (rounded to clusters) as used. */
bool ext_make_take(struct ext_make *, uint64_t start, uint64_t len, struct error *) DISH_CHECKED;

/* ---- mkfs_map.c ---- */

/* Where the blocks of one file come from. */
struct ext_make_file {
    uint32_t ino;
    uint64_t goal;        /* first block to look at */
    struct ext_run *runs; /* of data, in the file's order */
    size_t count, capacity;
    uint64_t index_blocks; /* of the tree or map */
};

/*
 * Allocate `blocks` blocks and describe them in inode's i_block, writing tree or map blocks. Sets i_blocks
 * and the extents flag. When the caller has filled runs (of at most 12 blocks) with blocks already taken,
 * these are used. The caller frees file->runs.
 */
bool ext_make_map(struct ext_make *, struct ext_make_file *, uint8_t *inode, uint64_t blocks,
                  struct error *) DISH_CHECKED;

/* ---- mkfs_files.c ---- */

bool ext_make_files(struct ext_make *, struct error *) DISH_CHECKED;

/* ---- mkfs.c: writing ---- */

bool ext_make_write(struct ext_make *, uint64_t off, const void *bytes, size_t n,
                    struct error *) DISH_CHECKED;
bool ext_make_zero(struct ext_make *, uint64_t block, uint64_t blocks, struct error *) DISH_CHECKED;
/* Counts, bitmaps and checksum of a group; adds to *free_blocks. */
bool ext_make_finish_group(struct ext_make *, uint32_t group, uint64_t *free_blocks,
                           struct error *) DISH_CHECKED;
/* Zero the inode tables of the groups from `first` on. */
bool ext_make_zero_tables(struct ext_make *, uint32_t first, struct error *) DISH_CHECKED;
/* Seal an inode and write it into its table. */
bool ext_make_inode(struct ext_make *, uint32_t ino, uint8_t *inode, struct error *) DISH_CHECKED;

#endif
