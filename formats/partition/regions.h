/*
 * What lies where on a partitioned disk, for `what` and `where`: a driver lists its structures as regions;
 * the partitions and what is between them come from the table.
 */
#ifndef DISH_REGIONS_H
#define DISH_REGIONS_H

#include "table.h"

/* A structure on the disk with what is reserved behind it, or an array of like ones. */
struct region {
    uint64_t off, len;           /* bytes on the disk */
    const struct layout *layout; /* NULL: bytes without fields */
    uint32_t size;               /* bytes of one structure */
    uint64_t index;              /* place.index of the first */
    const char *title;           /* an array's is followed by the number, counted from 1 */
    bool array;
};

/* The answer of struct driver's owner(): the structure, partition, free space or gap that holds a byte. */
bool regions_owner(const struct table *, const struct region *, size_t count, uint64_t off, struct owner *,
                   struct error *);

/* The place of structure `index` (from 0) of a region. */
void region_place(const struct table *, const struct region *, uint64_t index, struct place *);

#endif
