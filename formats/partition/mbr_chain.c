/* Logical partitions: reading and writing the chain of EBRs. */
#include "mbr.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { RECORDS_OFF = mbr_off_Record1_BootIndicator };

static void chain_fault(struct mbr *mbr, uint64_t off, const char *fmt, ...) DISH_PRINTF(3, 4);
static void chain_fault(struct mbr *mbr, uint64_t off, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(mbr->fault, sizeof mbr->fault, fmt, args);
    va_end(args);
    mbr->broken = true;
    mbr->broken_off = off;
}

/* The sector of an EBR, or false with the chain marked as broken there. err is set for I/O alone. */
static bool read_ebr(struct table *table, uint64_t lba, uint8_t *sector, bool *ok, struct error *err)
{
    struct mbr *mbr = table->data;
    uint64_t off = lba * table->sector_size;
    *ok = false;
    if (!range_inside(off, table->sector_size, table->disk->size)) {
        chain_fault(mbr, off, "an EBR at sector %" PRIu64 " would lie past the end of the disk", lba);
        return true;
    }
    if (ranges_contains(&mbr->visited, lba, 1)) {
        chain_fault(mbr, off, "the chain of logical partitions comes back to sector %" PRIu64, lba);
        return true;
    }
    if (!device_read(table->disk, off, sector, MBR_SIZE, err))
        return false;
    if (mbr_Signature(sector) != MBR_SIGNATURE) {
        chain_fault(mbr, off, "there is no EBR at sector %" PRIu64 " (signature 0x%04x)", lba,
                    (unsigned)mbr_Signature(sector));
        return true;
    }
    *ok = true;
    return ranges_add(&mbr->visited, lba, 1, err);
}

static bool is_link(const uint8_t *record)
{
    uint64_t type = mbr_record_OSType(record);
    return mbr_record_used(record) && (type == 0x05 || type == 0x0f || type == 0x85);
}

static bool add_logical(struct table *table, uint64_t ebr, unsigned index, const uint8_t *record,
                        unsigned *number, struct error *err)
{
    struct part *part;
    if (!table_insert(table, *number, &part, err))
        return false;
    mbr_decode_record(table, record, ebr, part);
    part->flags |= PART_LOGICAL;
    part->entry_off = ebr * table->sector_size + RECORDS_OFF + index * MBR_RECORD_SIZE;
    ++*number;
    return true;
}

/* Follows the chain from the extended partition's first sector to its end, or to where it breaks. */
bool mbr_load_chain(struct table *table, struct error *err)
{
    const struct part *extended = table_extended(table);
    struct mbr *mbr = table->data;
    if (!extended)
        return true;
    uint64_t base = extended->off / table->sector_size, lba = base;
    unsigned number = MBR_RECORDS + 1;
    for (bool more = true; more;) {
        uint8_t sector[MBR_SIZE];
        bool ok;
        if (!read_ebr(table, lba, sector, &ok, err))
            return false;
        if (!ok)
            return true;
        uint64_t here = lba;
        more = false;
        for (unsigned i = 0; i < MBR_RECORDS; i++) {
            const uint8_t *record = mbr_record(sector, i);
            if (is_link(record)) {
                if (!more)
                    lba = base + mbr_record_StartingLBA(record);
                more = true;
            } else if (mbr_record_used(record) && !add_logical(table, here, i, record, &number, err)) {
                return false;
            }
        }
        if (number > MBR_LOGICAL_MAX + MBR_RECORDS) {
            chain_fault(mbr, lba * table->sector_size, "there are more than %d logical partitions",
                        MBR_LOGICAL_MAX);
            return true;
        }
    }
    return true;
}

/* ---- storing ------------------------------------------------------------------------------------------- */

static uint64_t sector_of(const struct table *table, uint64_t off)
{
    return off / table->sector_size * table->sector_size;
}

static bool sector_is_taken(const struct table *table, const struct part *but, uint64_t off)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct part *part = &table->parts[i];
        if (!(part->flags & PART_LOGICAL))
            continue;
        if (off + table->sector_size > part->off && off < part->off + part->len)
            return true;
        if (part != but && part->entry_off && sector_of(table, part->entry_off) == off)
            return true;
    }
    return false;
}

/* A sector for the entry of a partition: where it is, or put aside, or any that is free in front of it. */
static bool choose_sector(const struct table *table, struct part *part, const struct part *extended,
                          bool first, struct error *err)
{
    uint64_t sector = table->sector_size, off = sector_of(table, part->entry_off);
    if (first) {
        part->entry_off = extended->off + RECORDS_OFF;
        return true;
    }
    bool inside = off > extended->off && off < extended->off + extended->len;
    if (inside && !sector_is_taken(table, part, off)) {
        part->entry_off = off + RECORDS_OFF;
        return true;
    }
    struct gap *gaps;
    size_t count;
    bool found = false;
    if (!table_gaps(table, &gaps, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!gaps[i].logical || gaps[i].len < sector || gaps[i].off > part->off)
            continue;
        uint64_t end = gaps[i].off + gaps[i].len;
        off = end == part->off && gaps[i].len >= PART_ALIGNMENT ? end - PART_ALIGNMENT : end - sector;
        found = true;
    }
    free(gaps);
    if (!found)
        return fail(err, E_NOSPACE,
                    "no free sector is left in the extended partition in front of partition %u for its entry",
                    part->number);
    part->entry_off = off + RECORDS_OFF;
    return true;
}

/* What stands in the sector now is kept when it is part of the chain (boot code of other systems). */
static bool write_ebr(struct table *table, uint64_t off, const struct part *part, const struct part *next,
                      const struct part *extended, struct error *err)
{
    struct mbr *mbr = table->data;
    uint8_t sector[MBR_SIZE] = {0}, old[MBR_RECORDS * MBR_RECORD_SIZE];
    uint64_t base = extended->off / table->sector_size, lba = off / table->sector_size;
    if (ranges_contains(&mbr->visited, lba, 1) && !device_read(table->disk, off, sector, MBR_SIZE, err))
        return false;
    memcpy(old, mbr_record(sector, 0), sizeof old);
    memset(mbr_record(sector, 0), 0, sizeof old);
    mbr_set_Signature(sector, MBR_SIGNATURE);
    if (part) {
        memcpy(mbr_record(sector, 0), old, MBR_RECORD_SIZE);
        mbr_encode_record(table, part, lba, mbr_record(sector, 0));
    }
    if (next) {
        /* The next EBR with its partition, as one piece: what the link's length says. */
        uint64_t ebr = sector_of(table, next->entry_off), end = next->off + next->len;
        struct part link = {.off = ebr, .len = end > ebr ? end - ebr : table->sector_size};
        memcpy(link.type, "0x05", 5);
        memcpy(mbr_record(sector, 1), old + MBR_RECORD_SIZE, MBR_RECORD_SIZE);
        mbr_encode_record(table, &link, base, mbr_record(sector, 1));
    }
    return disk_update(table->disk, off, sector, MBR_SIZE, err);
}

static struct part *next_logical(struct table *table, const struct part *after)
{
    for (size_t i = after ? (size_t)(after - table->parts) + 1 : 0; i < table->count; i++)
        if (table->parts[i].flags & PART_LOGICAL)
            return &table->parts[i];
    return NULL;
}

bool mbr_store_chain(struct table *table, struct error *err)
{
    struct mbr *mbr = table->data;
    const struct part *extended = table_extended(table);
    struct part *first = next_logical(table, NULL);
    if (!extended)
        return true;
    if (mbr->broken)
        return damaged(err, table->disk, mbr->broken_off, "%s: use `partition repair` first", mbr->fault);
    for (struct part *part = first; part; part = next_logical(table, part))
        if (!choose_sector(table, part, extended, part == first, err))
            return false;
    if (!first && !write_ebr(table, extended->off, NULL, NULL, extended, err))
        return false;
    for (struct part *part = first; part; part = next_logical(table, part))
        if (!write_ebr(table, sector_of(table, part->entry_off), part, next_logical(table, part), extended,
                       err))
            return false;
    ranges_clear(&mbr->visited);
    for (struct part *part = first; part; part = next_logical(table, part))
        if (!ranges_add(&mbr->visited, part->entry_off / table->sector_size, 1, err))
            return false;
    return first || ranges_add(&mbr->visited, extended->off / table->sector_size, 1, err);
}
