/* Finding and judging the two copies of a GPT. */
#include "alloc.h"
#include "gpt.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

uint32_t gpt_header_crc(const void *header)
{
    uint8_t zero[4] = {0};
    const uint8_t *h = header;
    uLong crc = crc32(0, h, gpt_header_off_HeaderCRC32);
    crc = crc32(crc, zero, sizeof zero);
    size_t rest = gpt_header_off_HeaderCRC32 + sizeof zero;
    return (uint32_t)crc32(crc, h + rest, (uInt)(gpt_header_HeaderSize(h) - rest));
}

uint32_t gpt_array_crc(const void *header, const void *entries)
{
    return (uint32_t)crc32(0, entries, (uInt)gpt_array_size(header));
}

static bool signature_at(struct device *disk, uint64_t off)
{
    struct error ignored;
    char magic[8];
    return range_inside(off, sizeof magic, disk->size) &&
           device_read(disk, off, magic, sizeof magic, &ignored) && memcmp(magic, GPT_MAGIC, 8) == 0;
}

/* The last sector that the protective record covers: where the backup lay when it was made. 0: unknown. */
static uint64_t protected_end(const uint8_t *sector0)
{
    for (unsigned i = 0; i < MBR_RECORDS; i++) {
        const uint8_t *record = mbr_record(sector0, i);
        if (mbr_record_OSType(record) == MBR_TYPE_PROTECTIVE)
            return mbr_record_StartingLBA(record) + mbr_record_SizeInLBA(record) - 1;
    }
    return 0;
}

uint32_t gpt_sector_size(struct device *disk)
{
    uint8_t sector0[MBR_SIZE];
    struct error ignored;
    uint32_t hint = disk->block_size == 4096 ? 4096 : 512, other = hint == 512 ? 4096 : 512;
    const uint32_t sizes[] = {hint, other};
    for (unsigned i = 0; i < 2; i++)
        if (signature_at(disk, sizes[i]))
            return sizes[i];
    for (unsigned i = 0; i < 2; i++)
        if (disk->size >= 4 * sizes[i] && signature_at(disk, (disk->size / sizes[i] - 1) * sizes[i]))
            return sizes[i];
    if (disk->size < MBR_SIZE || !sector0_read(disk, sector0, &ignored))
        return 0;
    for (unsigned i = 0; i < 2; i++)
        if (protected_end(sector0) > 1 && signature_at(disk, protected_end(sector0) * sizes[i]))
            return sizes[i];
    return 0;
}

static bool fault(struct gpt_copy *copy, const char *fmt, ...) DISH_PRINTF(2, 3);
static bool fault(struct gpt_copy *copy, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(copy->fault, sizeof copy->fault, fmt, args);
    va_end(args);
    return false;
}

/* The array as the header describes it, in bounds that keep memory and reading small. */
static bool judge_geometry(struct gpt_copy *copy, uint64_t sectors, uint32_t sector_size)
{
    const uint8_t *h = copy->header;
    uint64_t size = gpt_header_SizeOfPartitionEntry(h), count = gpt_header_NumberOfPartitionEntries(h);
    uint64_t first = gpt_header_FirstUsableLBA(h), last = gpt_header_LastUsableLBA(h);
    if (size < GPT_ENTRY_SIZE || size > GPT_ENTRY_MAX || !is_power_of_two(size))
        return fault(copy, "SizeOfPartitionEntry is %" PRIu64 ", not 128, 256, 512 ... 4096", size);
    if (count == 0 || count > GPT_ARRAY_MAX / size)
        return fault(copy, "NumberOfPartitionEntries is %" PRIu64 ", not 1 to %" PRIu64, count,
                     GPT_ARRAY_MAX / size);
    uint64_t array = gpt_array_sectors(h, sector_size), at = gpt_header_PartitionEntryLBA(h);
    if (at < 2 || !range_inside(at, array, sectors))
        return fault(copy, "the entry array (%" PRIu64 " sectors at %" PRIu64 ") is not inside the disk",
                     array, at);
    if (copy->lba >= at && copy->lba - at < array)
        return fault(copy, "the entry array lies over the header");
    if (first > last + 1 || last == UINT64_MAX || last > UINT64_MAX / sector_size - 1)
        return fault(copy, "FirstUsableLBA %" PRIu64 " lies behind LastUsableLBA %" PRIu64, first, last);
    if (first <= 1 || (copy->lba >= first && copy->lba <= last) || (at <= last && at + array > first))
        return fault(copy, "the usable sectors %" PRIu64 " to %" PRIu64 " take in the table itself", first,
                     last);
    return true;
}

static bool judge_header(struct gpt_copy *copy, uint64_t sectors, uint32_t sector_size)
{
    const uint8_t *h = copy->header;
    uint32_t size = (uint32_t)gpt_header_HeaderSize(h);
    if (memcmp(h, GPT_MAGIC, 8) != 0)
        return fault(copy, "Signature is not \"EFI PART\"");
    copy->present = true;
    if (gpt_header_Revision(h) >> 16 != GPT_REVISION >> 16)
        return fault(copy, "Revision is 0x%08" PRIx64 ", not 1.x", gpt_header_Revision(h));
    if (size < GPT_HEADER_SIZE || size > sector_size)
        return fault(copy, "HeaderSize is %u, not 92 to %u", size, sector_size);
    if (gpt_header_crc(h) != gpt_header_HeaderCRC32(h))
        return fault(copy, "HeaderCRC32 is 0x%08" PRIx64 ", computed 0x%08x", gpt_header_HeaderCRC32(h),
                     gpt_header_crc(h));
    if (gpt_header_MyLBA(h) != copy->lba)
        return fault(copy, "MyLBA is %" PRIu64 ", but the header lies at %" PRIu64, gpt_header_MyLBA(h),
                     copy->lba);
    return judge_geometry(copy, sectors, sector_size);
}

/* Read the array at lba and keep it when the header's CRC says that it is the right one. */
static bool read_array(struct gpt_copy *copy, struct device *disk, uint32_t sector_size, uint64_t lba,
                       struct error *err)
{
    uint64_t size = gpt_array_size(copy->header);
    uint64_t off;
    if (!mul_u64(lba, sector_size, &off) || !range_inside(off, size, disk->size))
        return true;
    copy->entries = mem_new(size, err);
    if (!copy->entries || !device_read(disk, off, copy->entries, size, err))
        return false;
    copy->entries_ok =
        gpt_array_crc(copy->header, copy->entries) == gpt_header_PartitionEntryArrayCRC32(copy->header);
    if (!copy->entries_ok) {
        free(copy->entries);
        copy->entries = NULL;
    }
    return true;
}

static bool read_copy(struct gpt_copy *copy, struct device *disk, uint32_t sector_size, uint64_t lba,
                      struct error *err)
{
    uint64_t sectors = disk->size / sector_size;
    free(copy->header);
    free(copy->entries);
    *copy = (struct gpt_copy){.lba = lba};
    copy->header = mem_new(sector_size, err);
    if (!copy->header)
        return false;
    if (lba >= sectors)
        return fault(copy, "sector %" PRIu64 " is past the end of the disk", lba) || true;
    if (!device_read(disk, lba * sector_size, copy->header, sector_size, err))
        return false;
    copy->header_ok = judge_header(copy, sectors, sector_size);
    if (!copy->header_ok)
        return true;
    if (!read_array(copy, disk, sector_size, gpt_header_PartitionEntryLBA(copy->header), err))
        return false;
    if (!copy->entries_ok)
        fault(copy, "PartitionEntryArrayCRC32 does not fit the entries");
    return true;
}

/*
 * Where the backup may be, best first: where the primary says, at the disk's end, and, for a disk that was
 * grown, where the protective MBR ends. A damaged primary is a hint as good as any: the backup has its own
 * CRC.
 */
static bool find_backup(struct gpt *gpt, struct device *disk, uint32_t sector_size, struct error *err)
{
    uint64_t last = disk->size / sector_size - 1;
    uint64_t said = gpt->primary.present ? gpt_header_AlternateLBA(gpt->primary.header) : last;
    const uint64_t tries[] = {said, last, protected_end(gpt->sector0)};
    for (unsigned i = 0; i < ARRAY_LEN(tries); i++) {
        if (tries[i] < 2 || tries[i] > last || (i > 0 && tries[i] == gpt->backup.lba))
            continue;
        if (!read_copy(&gpt->backup, disk, sector_size, tries[i], err))
            return false;
        if (gpt_copy_ok(&gpt->backup))
            return true;
    }
    return gpt->backup.present || read_copy(&gpt->backup, disk, sector_size, last, err);
}

/* A sound header whose own array is damaged: the other array may be the one it describes. */
static bool borrow_array(struct gpt_copy *copy, struct device *disk, uint32_t sector_size, uint64_t lba,
                         struct error *err)
{
    return !copy->header_ok || copy->entries_ok || read_array(copy, disk, sector_size, lba, err);
}

bool gpt_read_copies(struct gpt *gpt, struct device *disk, uint32_t sector_size, struct error *err)
{
    uint64_t last = disk->size / sector_size - 1;
    if (!sector0_read(disk, gpt->sector0, err))
        return false;
    gpt->sector0_kind = sector0_judge(disk, gpt->sector0, sector_size);
    gpt->used = NULL;
    if (!read_copy(&gpt->primary, disk, sector_size, 1, err) || !find_backup(gpt, disk, sector_size, err))
        return false;
    struct gpt_copy *p = &gpt->primary, *b = &gpt->backup;
    if (gpt_copy_ok(p) || gpt_copy_ok(b)) {
        gpt->used = gpt_copy_ok(p) ? p : b;
        return true;
    }
    uint64_t tail = p->header_ok ? last - gpt_array_sectors(p->header, sector_size) : 0;
    if (!borrow_array(p, disk, sector_size, tail, err) || !borrow_array(b, disk, sector_size, 2, err))
        return false;
    gpt->used = gpt_copy_ok(p) ? p : gpt_copy_ok(b) ? b : NULL;
    return true;
}

void gpt_free_copies(struct gpt *gpt)
{
    free(gpt->primary.header);
    free(gpt->primary.entries);
    free(gpt->backup.header);
    free(gpt->backup.entries);
}
