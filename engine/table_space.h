/* Finding a place for a partition; shared by the parts of table_*.c. */
#ifndef DISH_TABLE_SPACE_H
#define DISH_TABLE_SPACE_H

#include "table.h"

enum { SIZE_TEXT = 64 };

/* "31M" where that is exact, else "50314752 bytes (47.9M)". Returns out. */
char *table_size_text(uint64_t bytes, char out[SIZE_TEXT]);

/* What is looked for. Sizes are multiples of the sector size. */
struct wish {
    uint64_t start; /* or PART_ANYWHERE */
    uint64_t size;  /* or PART_REST */
    uint64_t align; /* not 0 */
    bool logical;
};

struct spot {
    uint64_t off, len;
    uint64_t entry_off; /* logical ones: the sector for the entry; else 0 */
};

/* Free space as if partition `but` (NULL: none) were not there. */
bool table_gaps_without(const struct table *, const struct part *but, struct gap **gaps, size_t *count,
                        struct error *) DISH_CHECKED;
/* The first gap that is large enough, or for PART_REST the largest. E_NOSPACE says what would fit. */
bool table_place(const struct table *, const struct part *but, const struct wish *, struct spot *,
                 struct error *) DISH_CHECKED;
/* A number of bytes as a multiple of the sector size, or E_INVALID that names its neighbours. */
bool table_sector_aligned(const struct table *, const char *what, uint64_t bytes,
                          struct error *) DISH_CHECKED;

#endif
