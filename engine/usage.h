/* How a disk's space is used, cell by cell: for pictures of it. */
#ifndef DISH_USAGE_H
#define DISH_USAGE_H

#include "session.h"

/* Bytes of one cell: a stretch of equal length of a volume or gap. */
struct usage_cell {
    uint64_t len;
    uint64_t used;   /* belonging to files or metadata */
    uint64_t stored; /* that the container holds somewhere (not holes, not zeros) */
};

/* A stretch of the disk: a volume, or a gap between volumes. */
struct usage_part {
    struct volume *volume; /* NULL: no volume (table, gap) */
    uint64_t start, len;   /* bytes on the disk */
    bool known;            /* `used` is told by a filesystem */
    uint64_t free_runs;    /* number of runs of free space */
    struct usage_cell *cells;
    size_t cell_count;
};

struct usage {
    struct usage_part *parts;
    size_t count, capacity;
};

/* `cells` for the whole disk, shared out by size, at least one for each part. Freed with usage_free(). */
bool usage_read(struct image *, size_t cells, struct usage *, struct error *) DISH_CHECKED;
void usage_free(struct usage *);

#endif
