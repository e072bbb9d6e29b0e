/*
 * Volumes whose primary superblock or descriptors are damaged are read through an overlay in memory that
 * holds what their copies in other groups say. The check puts it onto the volume.
 */
#ifndef EXT_RESCUE_H
#define EXT_RESCUE_H

#include "ext.h"

struct ext_rescue {
    struct device *overlay; /* above fs.device, below the journal's. Owned */
    uint64_t copy;          /* byte of the superblock copy in use; 0: the primary one is sound */
    unsigned copy_bits;     /* log2 of its block size */
    char why[160];          /* what is wrong with the primary superblock */
    uint64_t why_off;
    struct ranges groups; /* whose descriptors were taken from copies */
};

/* Whether a volume without a primary superblock has copies that lead to a root directory. Reads little. */
bool ext_rescue_probe(struct device *);
/*
 * The primary superblock cannot be used, as *err says: find a copy and switch ext->dev to an overlay that
 * shows it in its place. False, with the error as it was, when there is none.
 */
bool ext_rescue_super(struct ext_fs *, struct error *err) DISH_CHECKED;
/* Descriptors that are damaged are taken from their copies, those that have sound ones. */
bool ext_rescue_descs(struct ext_fs *, struct error *err) DISH_CHECKED;
/* Write what the overlay holds onto the volume. The caller reloads. */
bool ext_rescue_store(struct ext_fs *, struct error *err) DISH_CHECKED;
void ext_rescue_forget(struct ext_fs *);

/* Whether blocks can be a bitmap or table of the group: inside the volume or, without flex_bg, the group. */
bool ext_part_valid(const struct ext_fs *, uint32_t group, uint64_t start, uint64_t len);
/* Which part of a group lies outside the volume or, without flex_bg, the group; NULL: none. */
const char *ext_desc_fault(const struct ext_fs *, uint32_t group, const uint8_t *desc);
/* Fill `desc` (desc_size bytes) from the first sound copy of a group's descriptor. False: there is none. */
bool ext_desc_copy(struct ext_fs *, uint32_t group, uint8_t *desc);
/* Neither flags nor itable_unused of a descriptor that was damaged can be relied on. Not sealed. */
void ext_desc_distrust(const struct ext_fs *, uint8_t *desc);

#endif
