/*
 * The check of a volume and its repair, in passes like those of e2fsck:
 *
 *   check_super.c    0  superblock, journal, orphans
 *   check_desc.c        descriptors
 *   check_place.c       where tables and (after pass 1) bitmaps lie; those that lie wrong are moved
 *   check_inode.c    1  every inode: fields, sizes, times, flags
 *   check_walk.c        the blocks of an inode: extent tree or block map; who owns which block
 *   check_xattr.c       attributes
 *   check_dup.c      1B blocks that belong to several inodes
 *   check_bitmap.c   1C bitmaps against what was found
 *   check_dir.c      2  every directory block and entry
 *   check_htree.c       indexes
 *   check_tree.c     3  whether every directory is reached from /
 *   check_links.c    4  link counts; what has no name
 *   check_counts.c   5  counts in descriptors and superblock
 *   check_quota.c       usage in the quota files
 *
 * Bitmaps are repaired before anything is allocated: from pass 2 on repairs use the ordinary functions of the
 * driver on a volume whose bitmaps are right. In memory: one bit for each block of groups that are neither
 * empty nor full, ten bits for each inode of groups in use, 12 bytes for each directory.
 */
#ifndef EXT_CHECK_H
#define EXT_CHECK_H

#include "ext.h"

/* Counts by key: hard links beyond 254, references to attribute blocks and inodes. */
struct ext_tally {
    struct ext_tally_slot {
        uint64_t key; /* +1; 0: empty */
        uint32_t count, value;
    } * slots;
    size_t size, used;
};
/* The slot of a key, made when absent. NULL: out of memory. */
struct ext_tally_slot *ext_tally_slot(struct ext_tally *, uint64_t key, struct error *) DISH_CHECKED;
const struct ext_tally_slot *ext_tally_find(const struct ext_tally *, uint64_t key);
void ext_tally_free(struct ext_tally *);

struct ext_check_dir {
    uint32_t ino;
    uint32_t dotdot; /* what `..` says */
    uint32_t parent; /* directory whose entry names it; 0: none was found */
};

struct ext_checker {
    struct ext_fs *ext;
    struct check *check;
    bool repair;       /* everything is put right */
    bool repair_leaks; /* at least leaks are */
    bool stop;         /* the caller has seen enough */
    bool again;        /* something was found that makes another run necessary */
    bool changed;
    uint64_t new_journal;       /* blocks of the journal that is to be made at the end; 0: none */
    bool fast_commit;           /* with this feature */
    bool new_mmp;               /* an MMP block is to be made at the end */
    bool unsaved;               /* the cache holds what is not to be written */
    bool copies;                /* superblock or descriptors changed in what their copies should share */
    bool silent;                /* a look around that reports nothing */
    struct ranges fixed;        /* blocks of superblocks and descriptors */
    struct ranges meta;         /* these, tables, MMP and, after pass 1, bitmaps */
    uint8_t **blocks;           /* by group: bits of clusters in use; NULL: none; ext_check_full: all */
    uint8_t **inodes;           /* by group: used bits, directory bits, link counts; NULL: none in use */
    struct ranges dup;          /* blocks claimed more than once */
    struct ext_check_dir *dirs; /* by rising inode */
    size_t dir_count, dir_capacity;
    struct ext_tally links;         /* beyond what a byte holds */
    struct ext_tally xattrs;        /* attribute blocks: references found (count) and stored (value) */
    struct ext_tally values;        /* attribute inodes: references found */
    struct ext_tally orphans;       /* inodes of the orphan list or file, on a volume that was not prepared */
    struct ranges displaced[2];     /* by ext_bitmap_kind: groups whose bitmap cannot stay in its place */
    struct ranges displaced_tables; /* groups whose inode table cannot */
    struct ranges lost_tables;      /* those of them that have none that could be read */
    bool resize_inode;              /* inode 7 must be made anew */
    uint32_t lost_found;
    uint64_t files, fragmented;
    uint8_t *scratch; /* one block */
};

enum { EXT_NO_PLACE = -1 };

/*
 * Report damage at byte `off` of the volume (EXT_NO_PLACE: nowhere). True: put it right now.
 * ext_check_note() reports what cannot be put right.
 */
bool ext_problem(struct ext_checker *, const char *code, uint64_t off, const char *fmt, ...)
    DISH_PRINTF(4, 5);
bool ext_leak(struct ext_checker *, const char *code, uint64_t off, const char *fmt, ...) DISH_PRINTF(4, 5);
void ext_unfixable(struct ext_checker *, const char *code, uint64_t off, const char *fmt, ...)
    DISH_PRINTF(4, 5);

/* ---- check_found.c ---- */

/* Mark blocks of the volume's own as in use; they may share clusters. */
bool ext_check_mark(struct ext_checker *, uint64_t start, uint64_t len, struct error *) DISH_CHECKED;
/* Mark blocks as in use; those that were already go into dup. */
bool ext_check_claim(struct ext_checker *, uint64_t start, uint64_t len, struct error *) DISH_CHECKED;
/* A block that was claimed just now is in use no more. */
bool ext_check_unclaim(struct ext_checker *, uint64_t block, struct error *) DISH_CHECKED;
bool ext_check_block_used(const struct ext_checker *, uint64_t block);
/* The bits found for a group, as its bitmap should be; bits is block_size bytes. */
void ext_check_block_bits(const struct ext_checker *, uint32_t group, uint8_t *bits);
void ext_check_inode_bits(const struct ext_checker *, uint32_t group, uint8_t *bits);
bool ext_check_set_inode(struct ext_checker *, uint32_t ino, bool directory, struct error *) DISH_CHECKED;
void ext_check_clear_inode(struct ext_checker *, uint32_t ino);
bool ext_check_inode_used(const struct ext_checker *, uint32_t ino);
bool ext_check_inode_is_dir(const struct ext_checker *, uint32_t ino);
bool ext_check_add_link(struct ext_checker *, uint32_t ino, struct error *) DISH_CHECKED;
void ext_check_drop_link(struct ext_checker *, uint32_t ino);
uint32_t ext_check_links(const struct ext_checker *, uint32_t ino);
uint32_t ext_check_group_dirs(const struct ext_checker *, uint32_t group);
struct ext_check_dir *ext_check_find_dir(const struct ext_checker *, uint32_t ino); /* NULL: no directory */
void ext_check_reset(struct ext_checker *); /* forget all that was found */

/* ---- reading without trust ---- */

/* A descriptor, its checksum not asked for. Release with ext_group_put(). */
bool ext_check_group(struct ext_checker *, uint32_t group, struct ext_group *, struct error *) DISH_CHECKED;
/* Where a descriptor lies: a byte of the volume. */
static inline uint64_t ext_check_group_off(const struct ext_group *group)
{
    return group->block->off + (uint64_t)(group->raw - group->block->data);
}
bool ext_check_inode(struct ext_checker *, uint32_t ino, struct ext_inode *, struct error *) DISH_CHECKED;
uint64_t ext_check_inode_off(const struct ext_inode *);
/* Whether part `index` of `count` of a block was changed: its checksum is stale until the flush. */
bool ext_check_stale(const struct cache_block *, uint32_t index, uint32_t count);
/* True when a file may own these blocks: inside the volume, and no metadata of the volume itself. */
bool ext_check_may_own(const struct ext_checker *, uint64_t start, uint64_t len);
/* The same for data, of which copies can be made where it lies on metadata that has no fixed place. */
bool ext_check_may_hold(const struct ext_checker *, uint64_t start, uint64_t len);

/* ---- check_walk.c ---- */

struct ext_walk {
    struct ext_checker *c;
    struct ext_inode *inode;
    bool claim; /* judge, report, mark what is in use; else only visit what is sound */
    bool directory;
    /* Called for each run of data; NULL: nobody asks. */
    bool (*data)(struct ext_walk *, uint64_t block, uint64_t start, uint64_t len, bool unwritten,
                 struct error *);
    /* Called for each block of the tree or map itself, when only visiting; NULL: nobody asks. */
    bool (*node)(struct ext_walk *, uint64_t block, struct error *);
    void *arg;
    /* results */
    uint64_t clusters;     /* of data and index blocks */
    uint64_t end;          /* file block after the last one mapped */
    uint64_t init_end;     /* the same of written ones */
    uint64_t last_cluster; /* +1; of the run before: neighbours may share it */
    uint64_t runs;
    uint64_t nodes; /* blocks of pointers visited */
    uint32_t bad;   /* things that were wrong */
};
bool ext_check_walk(struct ext_walk *, struct error *) DISH_CHECKED;

/* ---- resize_inode.c ---- */

/* What is wrong with inode 7; NULL: nothing. *dind: its double indirect block, 0 when that cannot be used. */
const char *ext_resize_inode_fault(struct ext_fs *, const uint8_t *inode, uint64_t *dind);
/* Write inode 7 and all blocks it reserves; dind is its double indirect block, allocated. */
bool ext_resize_inode_write(struct ext_fs *, uint64_t dind, struct error *) DISH_CHECKED;

/* ---- the passes ---- */

/* Whether the MMP block is one: asked before the volume is made ready for changes. */
bool ext_check_mmp(struct ext_checker *, struct error *) DISH_CHECKED;
/* The volume has no MMP block until the end of the check. */
void ext_check_drop_mmp(struct ext_checker *);
bool ext_check_super(struct ext_checker *, struct error *) DISH_CHECKED;
/* Superblock copies and descriptors enter `fixed`; damaged descriptors are taken from their copies. */
bool ext_check_descs(struct ext_checker *, struct error *) DISH_CHECKED;
/* How much the blocks from `table` on look like a group's inodes: sensible ones less senseless ones. */
bool ext_check_table_score(struct ext_checker *, uint32_t group, uint64_t table, int64_t *score,
                           struct error *) DISH_CHECKED;
/* Inode tables enter `meta`, or `displaced_tables`. */
bool ext_check_place_tables(struct ext_checker *, struct error *) DISH_CHECKED;
/* Give displaced tables other places; the check begins again. E_NOSPACE names the one that has none. */
bool ext_check_move_tables(struct ext_checker *, struct error *) DISH_CHECKED;
/* After pass 1: bitmaps enter `meta`, or `displaced`, and these get other places. E_NOSPACE as above. */
bool ext_check_place_bitmaps(struct ext_checker *, struct error *) DISH_CHECKED;
/* Blocks of the volume's own enter `meta`. */
bool ext_check_add_meta(struct ext_checker *, uint64_t start, uint64_t len, struct error *) DISH_CHECKED;
bool ext_check_inodes(struct ext_checker *, struct error *) DISH_CHECKED;
/* *clusters: what attributes add to the inode's i_blocks. */
bool ext_check_xattrs(struct ext_checker *, struct ext_inode *, uint64_t *clusters,
                      struct error *) DISH_CHECKED;
bool ext_check_xattr_counts(struct ext_checker *, struct error *) DISH_CHECKED;
bool ext_check_dups(struct ext_checker *, struct error *) DISH_CHECKED;
bool ext_check_bitmaps(struct ext_checker *, struct error *) DISH_CHECKED;
bool ext_check_dirs(struct ext_checker *, struct error *) DISH_CHECKED;
bool ext_check_htree(struct ext_checker *, struct ext_inode *dir, struct error *) DISH_CHECKED;
bool ext_check_tree(struct ext_checker *, struct error *) DISH_CHECKED;
bool ext_check_link_counts(struct ext_checker *, struct error *) DISH_CHECKED;
bool ext_check_counts(struct ext_checker *, struct error *) DISH_CHECKED;
bool ext_check_quotas(struct ext_checker *, struct error *) DISH_CHECKED;

/* Give an inode a name in lost+found, which is made when there is none. */
bool ext_check_reconnect(struct ext_checker *, uint32_t ino, struct error *) DISH_CHECKED;
/* Take an inode away: blocks, bits and counts. From pass 2 on. */
bool ext_check_delete(struct ext_checker *, uint32_t ino, struct error *) DISH_CHECKED;

#endif
