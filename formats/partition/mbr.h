/*
 * Master boot record with extended partitions (sector0.h has the sector itself):
 *
 *     record 4 of the MBR: extended, x .. y
 *          |
 *          v x                       v x + b
 *          | EBR | ... logical 5 ... | EBR | ... logical 6 ... |
 *            |  `--a--^              ^ |  `--c--^
 *            `----------b------------' `--> 0: the end
 *
 * Each EBR is a sector like the MBR: record 1 is the logical partition, relative to this EBR; record 2 is the
 * next EBR, relative to x.
 *
 * Logical partitions count from 5 in the order of the chain. The first EBR is always the first sector of the
 * extended partition; it may describe no partition.
 */
#ifndef DISH_MBR_H
#define DISH_MBR_H

#include "ranges.h"
#include "sector0.h"
#include "table.h"

enum { MBR_LOGICAL_MAX = 4096 };

struct mbr {
    uint8_t sector[MBR_SIZE];
    bool broken;           /* the chain of logical partitions does not end properly */
    uint64_t broken_off;   /* bytes: the EBR that cannot be used */
    char fault[160];       /* what is wrong with it */
    struct ranges visited; /* EBRs seen, by sector */
};

extern const struct part_type mbr_types[];
extern const struct table_driver mbr_driver;

/* Decode a record whose StartingLBA counts from sector `base`. */
void mbr_decode_record(const struct table *, const uint8_t *record, uint64_t base, struct part *);
/* Write a part over a record; one that says the same already is left alone, CHS fields and all. */
void mbr_encode_record(const struct table *, const struct part *, uint64_t base, uint8_t *record);

bool mbr_store(struct table *, struct error *) DISH_CHECKED;

/* ---- the chain: mbr_chain.c ---- */
bool mbr_load_chain(struct table *, struct error *) DISH_CHECKED;
bool mbr_store_chain(struct table *, struct error *) DISH_CHECKED;

/* ---- mbr_verify.c, mbr_show.c ---- */
bool mbr_verify(struct table *, struct check *, struct error *);
bool mbr_locate(void *opened, const char *structure, const char *args, struct place *, struct error *);
bool mbr_owner(void *opened, uint64_t off, struct owner *, struct error *);
extern const struct layout *const mbr_layouts[];

#endif
