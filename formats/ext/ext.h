/*
 * ext2, ext3 and ext4. Specification: "ext4 Data Structures and Algorithms" (Linux kernel documentation).
 *
 *      | boot |                       group 0                        |        group 1        | group 2 ...
 *      | 1024 | super | descriptors | reserved | bitmaps | inodes | data | (backups) | ...
 *
 *     superblock --> group descriptor --> block bitmap, inode bitmap, inode table
 *     inode      --> extent tree or block map --> data, directory blocks, link target
 *                --> attributes behind the inode's fields, in a block of their own, in inodes of their own
 *     directory  --> linear blocks of entries; with an index, block 0 is the root of a tree over hashes
 *
 * Layers of this folder, from the ground up (each uses only those before it):
 *     disk.h csum.c hash.c             layouts; checksums; directory hashes
 *     super.c group.c                  the superblock and geometry; descriptors; where copies lie
 *     bitmap.c alloc.c ialloc.c        bitmaps, made when first needed; which blocks and inodes to take
 *     inode.c                          raw inodes; times, sizes, counts
 *     extent.c extent_cut.c blockmap.c map.c   file block -> volume block, in both forms
 *     xattr.c xattr_store.c xattr_inode.c acl.c inline.c   attributes, and data kept in them
 *     file.c dir.c dirindex.c inline_dir.c htree.c rehash.c fold.c   contents; entries
 *     quota.c journal.c orphan.c       what must be kept right beside every change; what a crash left
 *     rescue.c                         superblock and descriptors from their copies
 *     mount.c                          bringing a volume into use
 *     name.c namei.c create.c attr.c driver.c   operations on names; the table for the engine
 *     layouts.c places.c owner.c info.c undelete.c   `show`, `what`, `where`, deleted files
 *     mkfs.c check.c resize.c tune.c   whole volumes (and what belongs to each)
 *
 * Metadata blocks live in one bounded cache and are changed there; checksums are set when a block leaves the
 * cache (ext_seal). Invariants:
 *  1. A block of file contents is never in the cache, a metadata block always is before it is used.
 *  2. Free counts (superblock, descriptors) change together with the bitmaps.
 *  3. Every change of a block bitmap or inode bitmap enters the group in `dirty_bitmaps`; ext_flush() puts
 *     the bitmap's checksum into the descriptor.
 *  4. Blocks freed since the last commit are in `freed` and are handed out last.
 * An error in the middle of a change leaves 2-4 broken: the session takes the stage back and calls reload.
 */
#ifndef EXT_EXT_H
#define EXT_EXT_H

#include "cache.h"
#include "disk.h"
#include "driver.h"
#include "ranges.h"

enum ext_bitmap_kind { EXT_BLOCK_BITMAP, EXT_INODE_BITMAP };

struct ext_quota;  /* quota.c */
struct ext_dirs;   /* dirindex.c: what is remembered about directories */
struct ext_owners; /* owner.c: the runs of all files */
struct ext_shared; /* xattr_store.c: attribute blocks that may be shared */
struct ext_rescue; /* rescue.c: what was taken from copies */

struct ext_run {
    uint64_t start, len; /* blocks */
};

struct ext_fs {
    struct fs fs; /* first */
    struct fs_limits limits;
    struct device *dev;        /* what is read and written: fs.device, or the overlay above it */
    struct ext_rescue *rescue; /* superblock or descriptors come from their copies; NULL: they are sound */
    uint64_t copy_block;       /* the block of the superblock copy that is to be used; 0: the primary one */
    struct device *overlay;    /* the journal replayed in memory, above fs.device; NULL: none. Owned */
    struct cache *cache;       /* of blocks of dev */
    bool read_only;
    bool prepared;    /* ext_prepare() has made the volume ready for changes */
    bool super_dirty; /* super has changed since it was written */
    bool checking;    /* fsck looks at blocks that are two structures at once */
    uint8_t super[EXT_SUPER_SIZE];

    /* Geometry: decoded once by ext_super_load(), checked there. */
    uint32_t compat, incompat, ro_compat;
    uint32_t block_size, cluster_size;
    unsigned block_bits;   /* log2 of block_size */
    unsigned cluster_bits; /* log2 of blocks a cluster: 0 without bigalloc */
    uint64_t blocks;
    uint32_t first_data_block;
    uint32_t blocks_per_group, clusters_per_group, inodes_per_group;
    uint32_t groups;
    uint32_t inodes;
    uint32_t first_ino;
    uint32_t inode_size;
    uint32_t inodes_per_block;
    uint32_t table_blocks; /* blocks of one inode table */
    uint32_t desc_size, descs_per_block;
    uint32_t desc_blocks; /* blocks of descriptors */
    uint32_t flex_groups; /* groups a flex group; 1 without flex_bg */
    uint32_t csum_seed;
    bool has_csum;      /* metadata_csum */
    bool group_csum;    /* metadata_csum or gdt_csum: uninitialised groups may exist */
    bool hash_unsigned; /* directory hashes take characters as unsigned */

    /* The session's allocation state. */
    struct ranges dirty_bitmaps[2]; /* by ext_bitmap_kind: groups */
    struct ranges fenced;           /* blocks never to be handed out: they are about to be cut off */
    struct ranges kept;             /* whole clusters with several owners: they stay in use (the check) */
    struct ranges freed;            /* blocks freed since the last commit; survives reload */
    struct ranges fresh;            /* blocks allocated by the running command and free before */
    uint32_t block_group, inode_group, dir_group; /* where the last searches ended */
    uint64_t cursors[64]; /* EXT_CURSORS; block after the last one allocated in a flex group */
    uint32_t hint_ino;    /* create() was told the size of this inode */
    uint64_t hint_blocks;

    uint64_t overhead; /* ext_overhead(); 0: not computed yet */
    struct ext_dirs *dirs;
    struct ext_shared *shared;
    struct ext_owners *owners; /* NULL: not made */
    struct ext_quota *quota;   /* loaded when first needed; NULL: not loaded */
    uint8_t *scratch;          /* EXT_SCRATCH bytes for building data blocks; valid inside one call */
};

enum { EXT_SCRATCH = 1 << 17, EXT_CACHE_BYTES = 16 << 20, EXT_CURSORS = 64 };

static inline struct ext_fs *ext_of(struct fs *fs)
{
    return (struct ext_fs *)fs;
}

static inline bool ext_has(const struct ext_fs *ext, uint64_t feature)
{
    uint32_t words[3] = {ext->compat, ext->incompat, ext->ro_compat};
    return (words[feature >> 32] & (uint32_t)feature) != 0;
}

/* ---- csum.c: "Checksums" ---- */

/* crc32c with the volume's seed. */
uint32_t ext_csum(const struct ext_fs *, const void *data, size_t n);
/* The seed of everything that belongs to one inode. */
uint32_t ext_inode_seed(const struct ext_fs *, uint32_t ino, uint32_t generation);
uint32_t ext_super_csum(const uint8_t *super);
uint16_t ext_desc_csum(const struct ext_fs *, uint32_t group, const uint8_t *desc);
uint32_t ext_inode_csum(const struct ext_fs *, uint32_t ino, const uint8_t *inode);
/* Stored value, of the width that the inode has room for, equal to the computed one (or all zero: unused). */
bool ext_inode_csum_ok(const struct ext_fs *, uint32_t ino, const uint8_t *inode);
void ext_inode_csum_set(const struct ext_fs *, uint32_t ino, uint8_t *inode);
uint32_t ext_extent_csum(uint32_t seed, const uint8_t *node); /* of a node in a block */
uint8_t *ext_extent_tail(const uint8_t *node);                /* the checksum's bytes */
uint32_t ext_dir_csum(const struct ext_fs *, uint32_t seed, const uint8_t *block);
/* The tail of a linear directory block; NULL: it has none. */
uint8_t *ext_dir_tail(const struct ext_fs *, const uint8_t *block);
/* The limit/count word of an index block (root or node); NULL: it is not one. */
uint8_t *ext_index_counts(const struct ext_fs *, const uint8_t *block);
/* False: the block has no room for a tail, or its counts are wrong. */
bool ext_index_csum(const struct ext_fs *, uint32_t seed, const uint8_t *block, uint32_t *csum,
                    uint8_t **tail);
uint32_t ext_xattr_csum(const struct ext_fs *, uint64_t block_number, const uint8_t *block);
uint32_t ext_bitmap_csum(const struct ext_fs *, enum ext_bitmap_kind, const uint8_t *bits);
uint32_t ext_orphan_csum(const struct ext_fs *, uint32_t seed, uint64_t block_number, const uint8_t *block);

/* ---- hash.c: "Hash Tree Directories" ---- */

enum ext_hash {
    EXT_HASH_LEGACY,
    EXT_HASH_HALF_MD4,
    EXT_HASH_TEA,
    EXT_HASH_UNSIGNED = 3,
    EXT_HASH_SIPHASH = 6
};
struct ext_name_hash {
    uint32_t major, minor; /* bit 0 of major is 0 */
};
/* version as in hash_version, 3-5 being the unsigned forms of 0-2. E_UNSUPPORTED for others. */
bool ext_name_hash(const char *name, size_t len, unsigned version, const uint8_t seed[16],
                   struct ext_name_hash *out, struct error *) DISH_CHECKED;

/* ---- blocks of metadata (super.c) ---- */

/* What a cached block is; tells ext_seal() where its checksum goes. */
enum ext_tag {
    EXT_TAG_NONE,    /* nothing to seal */
    EXT_TAG_DESC,    /* owner: first group; parts: changed descriptors */
    EXT_TAG_BITMAP,  /* sealed by ext_flush() */
    EXT_TAG_INODES,  /* owner: first inode; parts: changed inodes */
    EXT_TAG_DIR,     /* owner: ext_owner() of the directory */
    EXT_TAG_INDEX,   /* the same: root or node of an index */
    EXT_TAG_EXTENTS, /* owner: ext_owner() of the file */
    EXT_TAG_XATTR,
    EXT_TAG_ORPHANS, /* owner: ext_owner() of the orphan file */
    EXT_TAG_MMP,
};
static inline uint64_t ext_owner(uint32_t ino, uint32_t generation)
{
    return ino | (uint64_t)generation << 32;
}

/* The cached block; E_DAMAGED when it lies outside the volume or is held as something else. Release with
 * ext_block_put(). */
bool ext_block_get(struct ext_fs *, uint64_t block, enum ext_tag, uint64_t owner, struct cache_block **,
                   struct error *) DISH_CHECKED;
/* The same, zeroed instead of read, dirty: for a block just allocated; E_DAMAGED when it is held. */
bool ext_block_new(struct ext_fs *, uint64_t block, enum ext_tag, uint64_t owner, struct cache_block **,
                   struct error *) DISH_CHECKED;
void ext_block_put(struct ext_fs *, struct cache_block *);
void ext_block_dirty(struct ext_fs *, struct cache_block *);
static inline uint64_t ext_offset(const struct ext_fs *ext, uint64_t block)
{
    return block << ext->block_bits;
}
/* True when start..start+len are blocks of the volume that may hold anything but the superblock. */
bool ext_blocks_valid(const struct ext_fs *, uint64_t start, uint64_t len);
/* The cache's hook: set the checksums of a block that is about to be written. */
void ext_seal(void *ext, struct cache_block *);

/* ---- super.c ---- */

struct ext_feature {
    uint64_t id;
    const char *name;
    enum { EXT_FEATURE_WRITE, EXT_FEATURE_READ, EXT_FEATURE_REFUSED } access;
};
extern const struct ext_feature ext_features[]; /* ends with name NULL; names as in mke2fs -O */

/* Read the superblock of dev, check it and decode the geometry; makes the cache when there is none. */
bool ext_super_load(struct ext_fs *, struct error *) DISH_CHECKED;
/* Decode and check a superblock in hand: sets the geometry members. Errors name the field. */
bool ext_super_decode(struct ext_fs *, const uint8_t *super, struct error *) DISH_CHECKED;
uint64_t ext_free_blocks(const struct ext_fs *); /* the superblock's count, in blocks */
void ext_set_free_blocks(struct ext_fs *, uint64_t blocks);
void ext_add_free_inodes(struct ext_fs *, int32_t count);
void ext_super_changed(struct ext_fs *);
/* Write the superblock (primary only), sealed. */
bool ext_super_store(struct ext_fs *, struct error *) DISH_CHECKED;
/* Set or clear a feature in the superblock and in the decoded words. */
void ext_set_feature(struct ext_fs *, uint64_t feature, bool on);
uint64_t ext_feature_id(const char *name); /* 0: there is none of that name */
/* s_def_hash_version and s_errors by the words that mkfs and tune know; they are among these. */
unsigned ext_hash_of(const char *word);
unsigned ext_errors_of(const char *word);
/* The same as ext_set_feature() in a superblock that is not in use. */
void ext_super_feature(uint8_t *super, uint64_t feature, bool on);
/* "ext2", "ext3" or "ext4", by the features. */
const char *ext_type(const struct ext_fs *);
/* Everything dirty goes to dev: bitmap checksums, cache, quota, superblock. */
bool ext_flush(struct ext_fs *, struct error *) DISH_CHECKED;
/* Forget all caches and read the superblock again. */
bool ext_reload(struct ext_fs *, struct error *) DISH_CHECKED;
/* Before the first change: journal and orphans are processed for good, MMP is looked at. Idempotent. */
bool ext_prepare(struct ext_fs *, struct error *) DISH_CHECKED;

/* ---- group.c: "Block Group Descriptors" ---- */

struct ext_group {
    uint32_t number;
    uint8_t *raw; /* ext_desc, desc_size bytes */
    struct cache_block *block;
};
bool ext_group_get(struct ext_fs *, uint32_t group, struct ext_group *, struct error *) DISH_CHECKED;
void ext_group_put(struct ext_fs *, struct ext_group *);
void ext_group_dirty(struct ext_fs *, struct ext_group *);

/* Fields of a descriptor, high halves included where the volume has them. */
#define EXT_DESC_FIELDS(F)                                                                                   \
    F(block_bitmap, 32)                                                                                      \
    F(inode_bitmap, 32)                                                                                      \
    F(inode_table, 32)                                                                                       \
    F(free_blocks_count, 16) F(free_inodes_count, 16) F(used_dirs_count, 16) F(itable_unused, 16)
#define EXT_DESC_FIELD(name, shift)                                                                          \
    static inline uint64_t ext_group_##name(const struct ext_fs *ext, const uint8_t *desc)                   \
    {                                                                                                        \
        uint64_t high = ext->desc_size >= 64 ? ext_desc_bg_##name##_hi(desc) : 0;                            \
        return ext_desc_bg_##name##_lo(desc) | high << shift;                                                \
    }                                                                                                        \
    static inline void ext_group_set_##name(const struct ext_fs *ext, uint8_t *desc, uint64_t value)         \
    {                                                                                                        \
        ext_desc_set_bg_##name##_lo(desc, value &(((uint64_t)1 << shift) - 1));                              \
        if (ext->desc_size >= 64)                                                                            \
            ext_desc_set_bg_##name##_hi(desc, value >> shift);                                               \
    }
EXT_DESC_FIELDS(EXT_DESC_FIELD)

/* The stored checksum of a bitmap, as wide as the descriptor has room for, and whether `csum` matches it. */
bool ext_group_bitmap_csum_ok(const struct ext_fs *, const uint8_t *desc, enum ext_bitmap_kind,
                              uint32_t csum);
void ext_group_set_bitmap_csum(const struct ext_fs *, uint8_t *desc, enum ext_bitmap_kind, uint32_t csum);

static inline uint64_t ext_group_first_block(const struct ext_fs *ext, uint32_t group)
{
    return ext->first_data_block + (uint64_t)group * ext->blocks_per_group;
}
static inline uint32_t ext_group_of_block(const struct ext_fs *ext, uint64_t block)
{
    return (uint32_t)((block - ext->first_data_block) / ext->blocks_per_group);
}
static inline uint32_t ext_group_of_inode(const struct ext_fs *ext, uint32_t ino)
{
    return (ino - 1) / ext->inodes_per_group;
}
uint32_t ext_group_blocks(const struct ext_fs *, uint32_t group);   /* the last group may be short */
uint32_t ext_group_clusters(const struct ext_fs *, uint32_t group); /* the same in clusters, rounded up */
/* Whether a group holds a copy of the superblock (sparse_super, sparse_super2). */
bool ext_group_has_super(const struct ext_fs *, uint32_t group);
/* The next group with one after `group`; the number of groups when there is none. */
uint32_t ext_next_super(const struct ext_fs *, uint32_t group);
/* The block of the superblock, or its copy, in a group that has one. */
uint64_t ext_backup_super_block(const struct ext_fs *, uint32_t group);
/* Blocks of descriptors (with the reserved ones) that lie at a group's start, after its superblock if any. */
uint32_t ext_group_desc_blocks(const struct ext_fs *, uint32_t group);
/* Block that holds descriptor block `index` (meta_bg: in its own groups). */
uint64_t ext_desc_block(const struct ext_fs *, uint32_t index);

/* ---- bitmap.c ---- */

/* A copy of a group's bitmap (block_size bytes), made up when the group has none yet; verified. */
bool ext_bitmap_read(struct ext_fs *, enum ext_bitmap_kind, uint32_t group, uint8_t *bits,
                     struct error *) DISH_CHECKED;
/* The same without verifying its checksum (for the check). */
bool ext_bitmap_read_raw(struct ext_fs *, enum ext_bitmap_kind, uint32_t group, uint8_t *bits,
                         struct error *) DISH_CHECKED;
/* The cached bitmap, to be changed; an uninitialised one becomes real. Release with ext_block_put(). */
bool ext_bitmap_edit(struct ext_fs *, enum ext_bitmap_kind, uint32_t group, struct cache_block **,
                     struct error *) DISH_CHECKED;
/* A bitmap to look at only: where it lies, or made up in scratch (block_size bytes; *block is NULL then). */
bool ext_bitmap_peek(struct ext_fs *, enum ext_bitmap_kind, uint32_t group, uint8_t *scratch,
                     const uint8_t **bits, struct cache_block **block, struct error *) DISH_CHECKED;
/* The bits of a group that was never written: only its own metadata is in use. */
void ext_bitmap_initial(struct ext_fs *, enum ext_bitmap_kind, const struct ext_group *, uint8_t *bits);
/* First index in from..end whose bit is set (clear); end: none. Reads whole words. */
uint32_t ext_bits_next_set(const uint8_t *bits, uint32_t from, uint32_t end);
uint32_t ext_bits_next_clear(const uint8_t *bits, uint32_t from, uint32_t end);
uint32_t ext_bits_count(const uint8_t *bits, uint32_t from, uint32_t end); /* set bits */
void ext_bits_fill(uint8_t *bits, uint32_t from, uint32_t end, bool set);
static inline bool ext_bit(const uint8_t *bits, uint32_t at)
{
    return bits[at / 8] >> (at % 8) & 1;
}

/* ---- alloc.c, ialloc.c ---- */

/*
 * Take 1..want contiguous blocks (whole clusters), at goal when it is free, else the next run that is good
 * enough for `want`. Sets bitmaps and counts; enters `fresh`. E_NOSPACE.
 */
bool ext_blocks_alloc(struct ext_fs *, uint64_t goal, uint64_t want, struct ext_run *out,
                      struct error *) DISH_CHECKED;
/* The same for a run that ends at goal: whatever is free there is better than anything elsewhere. */
bool ext_blocks_extend(struct ext_fs *, uint64_t goal, uint64_t want, struct ext_run *out,
                       struct error *) DISH_CHECKED;
/* Where a run of this length begins, near goal; nothing is taken. Without such a run *at is the goal. */
bool ext_blocks_reserve(struct ext_fs *, uint64_t goal, uint64_t want, uint64_t *at,
                        struct error *) DISH_CHECKED;
/* Exactly these blocks; E_NOSPACE when one is taken (undelete, resize). */
bool ext_blocks_take(struct ext_fs *, uint64_t start, uint64_t len, struct error *) DISH_CHECKED;
/* Give back blocks (whole clusters); E_DAMAGED when one is free already or is no block for contents. */
bool ext_blocks_free(struct ext_fs *, uint64_t start, uint64_t len, struct error *) DISH_CHECKED;
/* The same for contents, which never are in the cache (invariant 1). */
bool ext_contents_free(struct ext_fs *, uint64_t start, uint64_t len, struct error *) DISH_CHECKED;
/* How a block that is about to be written may be written. */
enum write_class ext_write_class(const struct ext_fs *, uint64_t start, uint64_t len);
/* A free inode near the parent (files) or in a good group (directories). The inode's bytes are zeroed. */
bool ext_inode_alloc(struct ext_fs *, uint32_t parent, uint32_t mode, uint32_t *ino,
                     struct error *) DISH_CHECKED;
bool ext_inode_take(struct ext_fs *, uint32_t ino, bool directory, struct error *) DISH_CHECKED;
bool ext_inode_free(struct ext_fs *, uint32_t ino, bool directory, struct error *) DISH_CHECKED;
/* Forget where searches stopped (reload). */
void ext_alloc_forget(struct ext_fs *);
/* Where the first block of an inode should lie. */
uint64_t ext_inode_goal(const struct ext_fs *, uint32_t ino);

/* ---- inode.c: "Index Nodes" ---- */

struct ext_inode {
    uint32_t ino;
    uint8_t *raw; /* ext_inode, inode_size bytes */
    struct cache_block *block;
};
/* Any inode, in use or not, checksum verified. Release with ext_inode_put(). */
bool ext_inode_get(struct ext_fs *, uint32_t ino, struct ext_inode *, struct error *) DISH_CHECKED;
bool ext_inode_get_raw(struct ext_fs *, uint32_t ino, struct ext_inode *,
                       struct error *) DISH_CHECKED; /* unverified */
/* The same, and it must be in use (links, mode). E_DAMAGED. */
bool ext_inode_live(struct ext_fs *, uint32_t ino, struct ext_inode *, struct error *) DISH_CHECKED;
void ext_inode_put(struct ext_fs *, struct ext_inode *);
typedef bool ext_inode_fn(struct ext_fs *, struct ext_inode *, void *arg, struct error *);
/* Calls fn for every inode whose bit is set, also one without links,
 * until it fails. fn only borrows the inode. */
bool ext_each_inode(struct ext_fs *, ext_inode_fn *fn, void *arg, struct error *) DISH_CHECKED;
void ext_inode_dirty(struct ext_fs *, struct ext_inode *);
/* Byte offset of an inode on the volume. */
bool ext_inode_place(struct ext_fs *, uint32_t ino, uint64_t *off, struct error *) DISH_CHECKED;
/* Whether field `name` of a large inode exists. */
bool ext_inode_reaches(const struct ext_fs *, const uint8_t *inode, unsigned end);
#define EXT_INODE_HAS(ext, inode, field)                                                                     \
    ext_inode_reaches(ext, inode, ext_inode_off_##field + ext_inode_width_##field)

uint64_t ext_inode_size(const struct ext_fs *, const uint8_t *inode);
void ext_inode_set_size(struct ext_fs *, uint8_t *inode, uint64_t size); /* sets large_file when needed */
uint64_t ext_inode_units(const struct ext_fs *, const uint8_t *inode);   /* i_blocks in 512-byte units */
/* Charge (or give back, negative) blocks to an inode: i_blocks and quota. */
bool ext_inode_charge(struct ext_fs *, struct ext_inode *, int64_t blocks, struct error *) DISH_CHECKED;
uint32_t ext_inode_uid(const uint8_t *inode);
uint32_t ext_inode_gid(const uint8_t *inode);
uint32_t ext_inode_project(const struct ext_fs *, const uint8_t *inode);
uint64_t ext_inode_acl_block(const struct ext_fs *, const uint8_t *inode);
void ext_inode_set_acl_block(const struct ext_fs *, uint8_t *inode, uint64_t block);
enum ext_stamp { EXT_ATIME, EXT_MTIME, EXT_CTIME, EXT_CRTIME };
struct fs_time ext_inode_time(const struct ext_fs *, const uint8_t *inode, enum ext_stamp);
void ext_inode_set_time(const struct ext_fs *, uint8_t *inode, enum ext_stamp, struct fs_time);
static inline bool ext_inode_is(const uint8_t *inode, uint32_t type)
{
    return (ext_inode_i_mode(inode) & 0170000) == type;
}
static inline bool ext_inode_flag(const uint8_t *inode, uint32_t flag)
{
    return (ext_inode_i_flags(inode) & flag) != 0;
}
static inline uint64_t ext_inode_owner(const struct ext_inode *inode)
{
    return ext_owner(inode->ino, (uint32_t)ext_inode_i_generation(inode->raw));
}
/* A symbolic link whose target lies in i_block. */
bool ext_inode_fast_symlink(const struct ext_fs *, const uint8_t *inode);
/* True when i_block addresses blocks: neither device, fast link, inline data nor fifo. */
bool ext_inode_has_blocks(const struct ext_fs *, const uint8_t *inode);
/* Give all blocks and attributes back and free the inode (links are 0). */
bool ext_inode_delete(struct ext_fs *, struct ext_inode *, struct error *) DISH_CHECKED;

/* ---- map.c, extent.c, blockmap.c ---- */

struct ext_mapping {
    uint64_t block; /* of the file */
    uint64_t start; /* on the volume; 0: a hole */
    uint64_t len;   /* blocks that share this answer, at least 1 */
    bool unwritten;
};
/* The mapping of file block `block`; holes reach to the next mapped block or the largest file. */
bool ext_map(struct ext_fs *, const struct ext_inode *, uint64_t block, struct ext_mapping *,
             struct error *) DISH_CHECKED;
/* Map 1..len blocks of a hole, allocating them; charged to the inode. */
bool ext_map_fill(struct ext_fs *, struct ext_inode *, uint64_t block, uint64_t len, bool unwritten,
                  struct ext_mapping *, struct error *) DISH_CHECKED;
/* Enter allocated blocks into a hole (nothing is allocated but index blocks). */
bool ext_map_insert(struct ext_fs *, struct ext_inode *, const struct ext_mapping *,
                    struct error *) DISH_CHECKED;
/* Unmap and free file blocks first..end (end excluded). */
bool ext_map_remove(struct ext_fs *, struct ext_inode *, uint64_t first, uint64_t end,
                    struct error *) DISH_CHECKED;
/* Unwritten blocks of the range become written (their contents are the caller's business). */
bool ext_map_written(struct ext_fs *, struct ext_inode *, uint64_t block, uint64_t len,
                     struct error *) DISH_CHECKED;
/* Make i_block an empty tree or map, as the volume's features have it for a new inode. */
void ext_map_init(struct ext_fs *, struct ext_inode *);
/* Every run of an inode in rising order, and every index block (data false:
 * a node; block: its first block). */
struct ext_map_visit {
    struct ext_mapping mapping;
    bool data;
    unsigned depth; /* of an index block: 0 is a leaf */
};
typedef bool ext_map_fn(const struct ext_map_visit *, void *arg, struct error *);
bool ext_map_walk(struct ext_fs *, const struct ext_inode *, ext_map_fn *, void *arg,
                  struct error *) DISH_CHECKED;
uint64_t ext_map_max_block(const struct ext_fs *, const struct ext_inode *); /* file blocks there can be */

/* ---- file.c: contents, regular files and all others that have blocks ---- */

/* off + n within the size. */
bool ext_file_read(struct ext_fs *, const struct ext_inode *, uint64_t off, void *buf, size_t n,
                   struct error *) DISH_CHECKED;
/* As the operation `extend`: blocks at the end for bytes that the caller writes. */
bool ext_file_extend(struct ext_fs *, struct ext_inode *, uint64_t off, uint64_t n, struct extent *,
                     enum write_class *, struct error *) DISH_CHECKED;
bool ext_file_write(struct ext_fs *, struct ext_inode *, uint64_t off, const void *buf, size_t n,
                    struct error *) DISH_CHECKED;
bool ext_file_truncate(struct ext_fs *, struct ext_inode *, uint64_t size, struct error *) DISH_CHECKED;
bool ext_file_allocate(struct ext_fs *, struct ext_inode *, uint64_t off, uint64_t len, unsigned mode,
                       struct error *) DISH_CHECKED;
bool ext_file_punch(struct ext_fs *, struct ext_inode *, uint64_t off, uint64_t len,
                    struct error *) DISH_CHECKED;

/* ---- dir.c, htree.c: "Directory Entries" ---- */

struct ext_dirent {
    uint32_t ino;
    const char *name; /* not NUL-terminated */
    unsigned name_len;
    uint32_t type;       /* S_IF* or 0 */
    uint64_t off;        /* bytes in the directory (inline: in the inode's entry areas) */
    uint64_t device_off; /* bytes on the volume */
    const char *fault; /* not an entry, but a part of the directory that is damaged: why. err has the place */
};
typedef bool ext_dirent_fn(const struct ext_dirent *, void *arg, struct error *);
/*
 * Every entry in use, `.` and `..` included when they are there; an error of fn stops. A damaged part is
 * given as an entry with `fault`, after which the walk goes on with the next block.
 */
bool ext_dir_each(struct ext_fs *, const struct ext_inode *dir, ext_dirent_fn *, void *arg,
                  struct error *) DISH_CHECKED;
/* E_NOENT when there is none of that name. */
bool ext_dir_find(struct ext_fs *, const struct ext_inode *dir, const char *name, size_t len, uint32_t *ino,
                  struct error *) DISH_CHECKED;
bool ext_dir_add(struct ext_fs *, struct ext_inode *dir, const char *name, size_t len, uint32_t ino,
                 uint32_t mode, struct error *) DISH_CHECKED;
bool ext_dir_remove(struct ext_fs *, struct ext_inode *dir, const char *name, size_t len,
                    struct error *) DISH_CHECKED;
bool ext_dir_parent(struct ext_fs *, const struct ext_inode *dir, uint32_t *ino, struct error *) DISH_CHECKED;
bool ext_dir_set_parent(struct ext_fs *, struct ext_inode *dir, uint32_t ino, struct error *) DISH_CHECKED;
bool ext_dir_is_empty(struct ext_fs *, const struct ext_inode *dir, bool *empty, struct error *) DISH_CHECKED;
/* Forget what is remembered about directories (reload, resize). */
void ext_dirs_forget(struct ext_fs *);
void ext_dirs_forget_one(struct ext_fs *, uint32_t ino);
/* Give a new directory its `.` and `..`. */
bool ext_dir_init(struct ext_fs *, struct ext_inode *dir, uint32_t parent, struct error *) DISH_CHECKED;
/* rec_len of an entry, its two special encodings resolved. */
static inline uint32_t ext_rec_len(const struct ext_fs *ext, const uint8_t *entry)
{
    uint32_t len = (uint32_t)ext_de_rec_len(entry);
    if (ext->block_size < 65536)
        return len;
    return len == 65535 || len == 0 ? 65536 : (len & 65532) | (len & 3) << 16;
}
static inline void ext_set_rec_len(uint8_t *entry, uint32_t len)
{
    ext_de_set_rec_len(entry, len == 65536 ? 65535 : len);
}

/* ---- xattr.c ---- */

/* Names are whole: "user.x", "system.posix_acl_access" (value in Linux's form), "system.data" is hidden. */
bool ext_xattr_list(struct ext_fs *, const struct ext_inode *, bool (*emit)(const char *, void *), void *arg,
                    struct error *) DISH_CHECKED;
bool ext_xattr_get(struct ext_fs *, const struct ext_inode *, const char *name, void **value, size_t *len,
                   struct error *) DISH_CHECKED;
bool ext_xattr_set(struct ext_fs *, struct ext_inode *, const char *name, const void *value, size_t len,
                   struct error *) DISH_CHECKED;
bool ext_xattr_free_all(struct ext_fs *, struct ext_inode *, struct error *) DISH_CHECKED;
void ext_shared_forget(struct ext_fs *);
/* e_hash of an entry with its value in hand (ea_inode: value is the le32 hash of the inode). */
uint32_t ext_xattr_entry_hash(const uint8_t *entry, const void *value, size_t len, bool signed_name);
uint32_t ext_xattr_block_hash(const uint8_t *block, size_t size); /* h_hash */

/* ---- what the other half of the folder provides ---- */

/*
 * journal.c. Replays the journal of a volume that needs it. in_memory: into a new device ext->overlay above
 * fs.device (the caller switches over to it). Else into ext->dev, the journal is emptied, and needs_recovery
 * cleared on the device. Changes no other member; caches are the caller's business.
 */
bool ext_journal_recover(struct ext_fs *, bool in_memory, struct error *) DISH_CHECKED;
/*
 * The same from an external journal, in memory: copied, so that `log` is not needed any more. *taken false:
 * it is not the volume's journal.
 */
bool ext_journal_recover_from(struct ext_fs *, struct device *log, bool *taken, struct error *) DISH_CHECKED;
/* orphan.c. Deletes or truncates the orphans of list and file; what was done is counted. */
bool ext_orphans_process(struct ext_fs *, unsigned *deleted, unsigned *truncated,
                         struct error *) DISH_CHECKED;
/* quota.c. Usage of the inode's owners changes; nothing without the quota feature or for reserved inodes. */
bool ext_quota_charge(struct ext_fs *, uint32_t ino, const uint8_t *inode, int64_t bytes, int64_t inodes,
                      struct error *) DISH_CHECKED;
/* Write the changed usage into the quota files (called by ext_flush, before the bitmaps' checksums). */
bool ext_quota_flush(struct ext_fs *, struct error *) DISH_CHECKED;
void ext_quota_drop(struct ext_fs *); /* forget what is loaded */
/* mkfs.c, check.c, resize.c, tune.c: operations of the driver's table. */
extern const struct option ext_mkfs_options[], ext_tune_options[];
bool ext_mkfs(struct device *, const struct mkfs_params *, struct error *);
bool ext_check(struct fs *, struct check *, struct error *);
bool ext_resize(struct fs *, uint64_t size, struct error *);
bool ext_min_size(struct fs *, uint64_t *size, struct error *);
bool ext_set_label(struct fs *, const char *label, struct error *);
bool ext_set_uuid(struct fs *, const char *uuid, struct error *);
bool ext_tune(struct fs *, const struct options *, struct error *);

/* driver.c */
extern const struct fs_driver ext_driver;
bool ext_open(struct device *, bool read_only, struct fs **, struct error *);
bool ext_open_copy(struct device *, bool read_only, uint64_t block, struct fs **, struct error *);
bool ext_fs_flush(struct fs *, struct error *);
void ext_fs_close(struct fs *);

#endif
