/*
 * Which units (clusters) of a volume move when it gets other bounds: those in use outside of the new ones
 * find a place in free units inside. Numbers are those before the change throughout; units from the space
 * map's end on are free.
 */
#ifndef DISH_RELOCATION_H
#define DISH_RELOCATION_H

#include "space.h"

struct relocated_run {
    uint32_t from, to, len;
};

/* Zero but for the bounds at first. */
struct relocation {
    uint32_t begin, end;        /* the units of the volume so far */
    uint32_t lo, hi;            /* those of them, and of what comes behind them, that stay or become units */
    struct relocated_run *runs; /* by rising `from` */
    size_t count, capacity;
    uint32_t next; /* where the next free unit is looked for; 0: at lo */
};

/* Find room for a run that is in use and lies outside; each begins behind the one before. E_NOSPACE. */
bool relocation_add(struct relocation *, const struct space *, uint32_t from, uint32_t len,
                    struct error *) DISH_CHECKED;
/* The same for what is to lie in one row, whatever it held before: *start is the first unit. */
bool relocation_find(struct relocation *, const struct space *, uint32_t len, uint32_t *start,
                     struct error *) DISH_CHECKED;
/* Where a unit is afterwards; 0: nowhere, it lay outside and was free. */
uint32_t relocation_of(const struct relocation *, uint32_t unit);
/* Its number in a volume that counts from `begin` again; what is no unit in use stays what it is. */
uint32_t relocation_number(const struct relocation *, uint32_t unit);
/* What a unit held before; 0: it is no unit's new place. The opposite of relocation_of(). */
uint32_t relocation_source(const struct relocation *, uint32_t unit);
/* Move the contents; unit `base_unit` lies at byte `base` of the device. */
bool relocation_copy(const struct relocation *, struct device *, uint64_t base, uint32_t base_unit,
                     uint32_t unit_size, struct error *) DISH_CHECKED;
void relocation_clear(struct relocation *);

#endif
