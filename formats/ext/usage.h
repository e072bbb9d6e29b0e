/* What each owner uses, counted from the inodes: for quota files that are checked or made anew. */
#ifndef EXT_USAGE_H
#define EXT_USAGE_H

#include "check.h"
#include "quota.h"

struct ext_usage {
    uint32_t id;
    uint64_t bytes, inodes;
    bool seen;                           /* the quota file has an entry */
    uint8_t entry[EXT_QUOTA_ENTRY_SIZE]; /* that entry: its limits are kept */
};

/* Zero it to begin. */
struct ext_usages {
    struct ext_tally index; /* id to place in items, +1 */
    struct ext_usage *items;
    size_t count, capacity;
};

/* The usage of an id, made when absent; valid until the next call. NULL: out of memory. */
struct ext_usage *ext_usage_of(struct ext_usages *, uint32_t id, struct error *) DISH_CHECKED;
/* Count an inode that is in use, for all types of quota. */
bool ext_usage_add(struct ext_fs *, struct ext_inode *, struct ext_usages[EXT_QUOTA_TYPES],
                   struct error *) DISH_CHECKED;
/* Replace the contents of a quota file. */
bool ext_usage_write(struct ext_fs *, enum ext_quota_type, struct ext_inode *file, struct ext_usages *,
                     struct error *) DISH_CHECKED;
/* Count all inodes of the volume and write a quota file of one type. */
bool ext_usage_fill(struct ext_fs *, enum ext_quota_type, struct ext_inode *file,
                    struct error *) DISH_CHECKED;
void ext_usage_free(struct ext_usages *);

#endif
