/* Writing a GPT: both copies and the protective MBR, only what differs. */
#include "alloc.h"
#include "gpt.h"
#include "guid.h"
#include "utf.h"

#include <inttypes.h>
#include <stdlib.h>

uint64_t gpt_usable_end(const struct device *disk, uint32_t sector_size, const void *header)
{
    uint64_t sectors = disk->size / sector_size;
    uint64_t array = div_up(MAX_OF(gpt_array_size(header), GPT_ARRAY_MIN), sector_size);
    return sectors > array + 1 ? sectors - array - 1 : 0;
}

/* ---- the protective MBR -------------------------------------------------------------------------------- */

static void set_protective(uint8_t *record, uint64_t disk_sectors)
{
    static const uint8_t first[3] = {0x00, 0x02, 0x00}, beyond[3] = {0xff, 0xff, 0xff};
    memset(record, 0, MBR_RECORD_SIZE);
    memcpy(mbr_record_StartingCHS(record), first, 3);
    memcpy(mbr_record_EndingCHS(record), beyond, 3);
    mbr_record_set_OSType(record, MBR_TYPE_PROTECTIVE);
    mbr_record_set_StartingLBA(record, 1);
    mbr_record_set_SizeInLBA(record, MIN_OF(disk_sectors - 1, UINT32_MAX));
}

void gpt_protect(struct gpt *gpt, uint64_t disk_sectors)
{
    unsigned used = 0, protective = 0;
    for (unsigned i = 0; i < MBR_RECORDS; i++) {
        const uint8_t *record = mbr_record(gpt->sector0, i);
        used += mbr_record_used(record);
        if (mbr_record_OSType(record) == MBR_TYPE_PROTECTIVE)
            protective = i + 1;
    }
    if (gpt->sector0_kind == SECTOR0_PROTECTIVE && used > 1)
        return; /* a hybrid MBR is somebody's deliberate work */
    if (gpt->sector0_kind == SECTOR0_PROTECTIVE && protective) {
        uint8_t *record = mbr_record(gpt->sector0, protective - 1);
        uint64_t size = MIN_OF(disk_sectors - 1, UINT32_MAX);
        /* Some tools say 0xffffffff for every disk; that is in use and harmless. */
        if (mbr_record_StartingLBA(record) == 1 && mbr_record_SizeInLBA(record) != UINT32_MAX &&
            mbr_record_SizeInLBA(record) != size)
            mbr_record_set_SizeInLBA(record, size);
        return;
    }
    memset(mbr_record(gpt->sector0, 0), 0, MBR_RECORDS * MBR_RECORD_SIZE);
    mbr_set_Signature(gpt->sector0, MBR_SIGNATURE);
    set_protective(mbr_record(gpt->sector0, 0), disk_sectors);
    gpt->sector0_kind = SECTOR0_PROTECTIVE;
}

/* ---- entries ------------------------------------------------------------------------------------------- */

static bool encode_name(uint8_t *entry, const struct part *part, struct error *err)
{
    uint16_t units[GPT_NAME_UNITS] = {0};
    char old[UTF8_SIZE(GPT_NAME_UNITS)];
    size_t count;
    utf16_load_le(gpt_entry_PartitionName(entry), units, GPT_NAME_UNITS);
    if (utf16_to_utf8(units, utf16_length(units, GPT_NAME_UNITS), UTF_WTF8, old, sizeof old, err) &&
        strcmp(old, part->name) == 0)
        return true;
    memset(units, 0, sizeof units);
    if (!utf8_to_utf16(part->name, strlen(part->name), UTF_WTF8, units, GPT_NAME_UNITS, &count, err))
        return because(err, "the name of partition %u", part->number);
    utf16_store_le(gpt_entry_PartitionName(entry), units, GPT_NAME_UNITS);
    return true;
}

static bool encode_entry(uint8_t *entry, const struct part *part, uint32_t sector_size, struct error *err)
{
    if (!guid_parse(part->type, GUID_MIXED, gpt_entry_PartitionTypeGUID(entry)))
        return fail(err, E_INVALID, "the type of partition %u is '%s', not a GUID", part->number, part->type);
    if (!guid_parse(part->uuid, GUID_MIXED, gpt_entry_UniquePartitionGUID(entry)))
        return fail(err, E_INVALID, "the GUID of partition %u is '%s'", part->number, part->uuid);
    /* Numbers outside the disk were cut to what a struct part holds: only a change is written. */
    struct part before = {0};
    gpt_decode_entry(entry, sector_size, &before);
    if (before.off != part->off || before.len != part->len) {
        gpt_entry_set_StartingLBA(entry, part->off / sector_size);
        gpt_entry_set_EndingLBA(entry, (part->off + part->len) / sector_size - 1);
    }
    gpt_entry_set_Attributes(entry, part->attributes);
    return encode_name(entry, part, err);
}

/* The array that the partitions make; bytes nobody here knows come from the entry it was before. */
static uint8_t *encode_entries(struct table *table, struct error *err)
{
    struct gpt *gpt = table->data;
    const uint8_t *header = gpt->used->header;
    uint64_t size = gpt_header_SizeOfPartitionEntry(header), total = gpt_array_size(header);
    uint64_t base = gpt_header_PartitionEntryLBA(header) * table->sector_size;
    uint8_t *entries = mem_new(total, err);
    if (!entries)
        return NULL;
    for (size_t i = 0; i < table->count; i++) {
        const struct part *part = &table->parts[i];
        uint8_t *entry = entries + (part->number - 1) * size;
        if (part->entry_off >= base && part->entry_off - base < total)
            memcpy(entry, gpt->used->entries + (part->entry_off - base) / size * size, size);
        if (!encode_entry(entry, part, table->sector_size, err)) {
            free(entries);
            return NULL;
        }
    }
    return entries;
}

/* ---- both copies --------------------------------------------------------------------------------------- */

static void seal(uint8_t *header, const uint8_t *entries)
{
    gpt_header_set_PartitionEntryArrayCRC32(header, gpt_array_crc(header, entries));
    gpt_header_set_HeaderCRC32(header, gpt_header_crc(header));
}

/* A copy's header as it will be on the disk; `like` gives all that both have in common. */
static uint8_t *make_header(const struct table *table, const uint8_t *like, uint64_t lba, uint64_t other,
                            uint64_t array, const uint8_t *entries, struct error *err)
{
    uint8_t *header = mem_new(table->sector_size, err);
    if (!header)
        return NULL;
    memcpy(header, like, table->sector_size);
    gpt_header_set_MyLBA(header, lba);
    gpt_header_set_AlternateLBA(header, other);
    gpt_header_set_PartitionEntryLBA(header, array);
    gpt_header_set_FirstUsableLBA(header, table->first / table->sector_size);
    gpt_header_set_LastUsableLBA(header, table->end / table->sector_size - 1);
    guid_parse(table->uuid, GUID_MIXED, gpt_header_DiskGUID(header));
    seal(header, entries);
    return header;
}

static bool write_copy(struct table *table, const uint8_t *header, const uint8_t *entries, struct error *err)
{
    uint32_t sector = table->sector_size;
    return disk_update(table->disk, gpt_header_PartitionEntryLBA(header) * sector, entries,
                       gpt_array_size(header), err) &&
           disk_update(table->disk, gpt_header_MyLBA(header) * sector, header, sector, err);
}

static bool lies_in_partition(const struct table *table, uint64_t off, uint64_t len)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->parts[i].off < off + len && off < table->parts[i].off + table->parts[i].len)
            return true;
    return false;
}

/* A backup that is no longer at the disk's end would be found by tools that look where it was. */
static bool drop_old_backup(struct table *table, struct error *err)
{
    struct gpt *gpt = table->data;
    struct gpt_copy *backup = &gpt->backup;
    uint32_t sector = table->sector_size;
    uint64_t off = backup->lba * sector;
    if (!gpt_copy_ok(backup) || backup->lba == table->disk->size / sector - 1 ||
        lies_in_partition(table, off, sector))
        return true;
    return device_zero(table->disk, off, sector, WRITE_UPDATE, err);
}

/*
 * Where the array of a copy goes, `sectors` long: where it was, when there is room for it (that of the copy
 * may have been shorter), else beside its header.
 */
static uint64_t array_place(const struct table *table, const struct gpt_copy *copy, uint64_t lba,
                            uint64_t beside, uint64_t sectors)
{
    if (!copy->header_ok || copy->lba != lba)
        return beside;
    uint64_t array = gpt_header_PartitionEntryLBA(copy->header), end = array + sectors;
    bool before = end <= table->first / table->sector_size, behind = array >= table->end / table->sector_size;
    return (before && array >= 2) || (behind && end < table->disk->size / table->sector_size) ? array
                                                                                              : beside;
}

static bool write_copies(struct table *table, uint8_t *entries, struct error *err)
{
    struct gpt *gpt = table->data;
    const uint8_t *like = gpt->used->header;
    uint64_t last = table->disk->size / table->sector_size - 1;
    uint64_t array = gpt_array_sectors(like, table->sector_size);
    uint64_t front = array_place(table, &gpt->primary, 1, 2, array);
    uint64_t back = array_place(table, &gpt->backup, last, last - array, array);
    if (front < back + array && back < front + array)
        back = last - array;
    if (front < back + array && back < front + array)
        front = 2;
    if (front * table->sector_size + array * table->sector_size > table->first && front == 2)
        return fail(err, E_NOSPACE,
                    "there is no room for the primary entry array: usable space begins at sector %" PRIu64,
                    table->first / table->sector_size);
    uint8_t *primary = make_header(table, like, 1, last, front, entries, err);
    uint8_t *backup = primary ? make_header(table, like, last, 1, back, entries, err) : NULL;
    bool ok = backup && write_copy(table, backup, entries, err) && write_copy(table, primary, entries, err);
    free(primary);
    free(backup);
    return ok;
}

bool gpt_store(struct table *table, struct error *err)
{
    struct gpt *gpt = table->data;
    uint64_t sectors = table->disk->size / table->sector_size;
    if (!table_check(table, err))
        return false;
    if (table->end <= table->first)
        return fail(err, E_NOSPACE, "a disk of %" PRIu64 " bytes is too small for its GPT",
                    table->disk->size);
    uint8_t *entries = encode_entries(table, err);
    if (!entries)
        return false;
    gpt_protect(gpt, sectors);
    bool ok = drop_old_backup(table, err) && write_copies(table, entries, err) &&
              disk_update(table->disk, 0, gpt->sector0, MBR_SIZE, err);
    free(entries);
    if (!ok || !gpt_read_copies(gpt, table->disk, table->sector_size, err))
        return false;
    if (gpt->used != &gpt->primary)
        return damaged(err, table->disk, table->sector_size, "the GPT just written does not read back: %s",
                       gpt->primary.fault);
    const uint8_t *header = gpt->primary.header;
    uint64_t base = gpt_header_PartitionEntryLBA(header) * table->sector_size;
    for (size_t i = 0; i < table->count; i++)
        table->parts[i].entry_off =
            base + (table->parts[i].number - 1) * gpt_header_SizeOfPartitionEntry(header);
    table->faults = table_faults(table);
    table->note[0] = '\0';
    return true;
}
