/* Between check_dir.c, check_entry.c and check_htree.c. */
#ifndef EXT_CHECK_DIR_H
#define EXT_CHECK_DIR_H

#include "check.h"
#include "dir.h"

/* A directory that is being judged. */
struct ext_dir_check {
    struct ext_checker *c;
    struct ext_inode *inode;
    struct ext_check_dir *dir;
    bool indexed;   /* has an index by its flag */
    bool hidden;    /* names are encrypted */
    uint64_t next;  /* block expected next */
    uint64_t holes; /* blocks that are not there */
};

/* A run of entries that is being judged: a block, or a part of an inline directory. */
struct ext_run_check {
    struct ext_dir_check *d;
    struct ext_entries run;
    uint64_t off; /* of its first byte on the volume */
    bool first;   /* begins with `.` and `..` */
    bool changed;
};

/* Every entry of a run. */
bool ext_check_entries(struct ext_run_check *, struct error *) DISH_CHECKED;

/* Where the blocks of a directory lie: mem_array of *count block numbers, 0 for holes. */
bool ext_check_dir_map(struct ext_checker *, struct ext_inode *dir, uint64_t **blocks, uint64_t *count,
                       struct error *) DISH_CHECKED;

#endif
