/* The GPT driver: probing, parsing, new tables. */
#include "gpt.h"

#include "alloc.h"
#include "guid.h"
#include "utf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const struct part_attribute gpt_attributes[] = {
    {"required", 0, "needed by the platform"},
    {"no-block-io", 1, "firmware does not offer it"},
    {"legacy-boot", 2, "a legacy BIOS boots from it"},
    {"growfs", 59, "grow the filesystem at first mount"},
    {"read-only", 60, "mount read-only"},
    {"shadow-copy", 61, "Microsoft: shadow copy of another partition"},
    {"hidden", 62, "Microsoft: hidden"},
    {"no-auto", 63, "do not mount by itself"},
    {NULL, 0, NULL},
};

static const struct option gpt_make_options[] = {
    {"entries", OPTION_NUMBER, NULL, "entries in the table (128)"},
    {"entry-size", OPTION_NUMBER, NULL, "bytes of an entry: 128, 256, 512 ... 4096 (128)"},
    {"uuid", OPTION_TEXT, NULL, "GUID of the disk (random)"},
    {"sector-size", OPTION_NUMBER, NULL, "512 or 4096 (the disk's)"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

static unsigned gpt_probe(struct device *disk)
{
    struct error ignored;
    struct gpt gpt = {0};
    unsigned score = 0;
    uint32_t sector_size = gpt_sector_size(disk);
    if (disk->size < MBR_SIZE)
        return 0;
    if (sector_size == 0) {
        /* Both headers are gone, but the first sector says that this was a GPT: open says so, too. */
        if (!sector0_read(disk, gpt.sector0, &ignored))
            return 0;
        return sector0_judge(disk, gpt.sector0, 512) == SECTOR0_PROTECTIVE ? 40 : 0;
    }
    if (gpt_read_copies(&gpt, disk, sector_size, &ignored)) {
        score = gpt.used ? 128 : 64;
        /* A table or filesystem that was put over a GPT without taking its headers away. */
        if (gpt.sector0_kind == SECTOR0_TABLE || gpt.sector0_kind == SECTOR0_SUPERFLOPPY)
            score = 4;
    }
    gpt_free_copies(&gpt);
    return score;
}

static void decode_name(const uint8_t *entry, char *out, size_t size)
{
    uint16_t units[GPT_NAME_UNITS];
    struct error ignored;
    utf16_load_le(gpt_entry_PartitionName(entry), units, GPT_NAME_UNITS);
    if (!utf16_to_utf8(units, utf16_length(units, GPT_NAME_UNITS), UTF_WTF8, out, size, &ignored))
        out[0] = '\0';
}

/* Bytes of a sector number of a hostile entry; they saturate and are then found outside the disk. */
static uint64_t lba_bytes(uint64_t lba, uint32_t sector_size)
{
    uint64_t bytes;
    uint64_t most = (uint64_t)1 << 62;
    return mul_u64(lba, sector_size, &bytes) && bytes < most ? bytes : most / sector_size * sector_size;
}

void gpt_decode_entry(const void *entry, uint32_t sector_size, struct part *part)
{
    uint64_t first = gpt_entry_StartingLBA(entry), last = gpt_entry_EndingLBA(entry);
    part->off = lba_bytes(first, sector_size);
    part->len = last < first ? 0 : lba_bytes(last - first + 1 ? last - first + 1 : UINT64_MAX, sector_size);
    guid_format(gpt_entry_PartitionTypeGUID(entry), GUID_MIXED, part->type);
    guid_format(gpt_entry_UniquePartitionGUID(entry), GUID_MIXED, part->uuid);
    decode_name(entry, part->name, sizeof part->name);
    part->attributes = gpt_entry_Attributes(entry);
    part->flags = part->attributes >> 2 & 1 ? PART_ACTIVE : 0;
}

static bool decode_entries(struct table *table, const struct gpt_copy *copy, struct error *err)
{
    uint64_t count = gpt_header_NumberOfPartitionEntries(copy->header);
    uint64_t size = gpt_header_SizeOfPartitionEntry(copy->header);
    uint64_t base = gpt_header_PartitionEntryLBA(copy->header) * table->sector_size;
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *entry = copy->entries + i * size;
        struct part *part;
        if (all_zero(gpt_entry_PartitionTypeGUID(entry), 16))
            continue;
        if (!table_insert(table, (unsigned)i + 1, &part, err))
            return false;
        gpt_decode_entry(entry, table->sector_size, part);
        part->entry_off = base + i * size;
    }
    return true;
}

static void say_state(struct table *table, const struct gpt *gpt, uint64_t last)
{
    const struct gpt_copy *p = &gpt->primary, *b = &gpt->backup;
    size_t size = sizeof table->note;
    if (!gpt_copy_ok(p))
        snprintf(table->note, size,
                 "the primary GPT is damaged (%.120s); the backup is used (`partition repair` mends it)",
                 p->fault);
    else if (gpt_header_AlternateLBA(p->header) > last)
        snprintf(table->note, size,
                 "the disk is smaller than its GPT says: it should have %" PRIu64 " sectors, not %" PRIu64,
                 gpt_header_AlternateLBA(p->header) + 1, last + 1);
    else if (!gpt_copy_ok(b))
        snprintf(table->note, size, "the backup GPT is damaged (%.120s; `partition repair` mends it)",
                 b->fault);
    else if (b->lba != last)
        snprintf(table->note, size,
                 "the backup GPT is not at the disk's end; the next change of the table moves it there");
    else if (memcmp(gpt_header_DiskGUID(p->header), gpt_header_DiskGUID(b->header), 16) != 0 ||
             gpt_header_PartitionEntryArrayCRC32(p->header) != gpt_header_PartitionEntryArrayCRC32(b->header))
        snprintf(table->note, size,
                 "primary and backup GPT differ; the primary is used (`partition repair` mends it)");
}

/* What the used copy says, as the open table shows it. */
static bool adopt(struct table *table, struct error *err)
{
    struct gpt *gpt = table->data;
    const uint8_t *header = gpt->used->header;
    uint32_t sector = table->sector_size;
    uint64_t last = table->disk->size / sector - 1, end = gpt_usable_end(table->disk, sector, header);
    uint64_t said = gpt_header_LastUsableLBA(header) + 1, array = gpt_array_sectors(header, sector);
    uint64_t backup = gpt->used == &gpt->backup ? gpt->backup.lba : gpt_header_AlternateLBA(header);
    /* The backup goes to the disk's end with the next change; the space up to there can be used at once. */
    table->end = (backup == last && last > array ? MIN_OF(said, last - array) : end) * sector;
    table->first = gpt_header_FirstUsableLBA(header) * sector;
    table->max_parts = (unsigned)gpt_header_NumberOfPartitionEntries(header);
    guid_format(gpt_header_DiskGUID(header), GUID_MIXED, table->uuid);
    say_state(table, gpt, last);
    if (!decode_entries(table, gpt->used, err))
        return false;
    table->faults = table_faults(table);
    return true;
}

static void gpt_free(struct table *table)
{
    gpt_free_copies(table->data);
    table_dispose(table);
}

static bool both_damaged(const struct gpt *gpt, struct device *disk, uint32_t sector_size, struct error *err)
{
    return damaged(err, disk, sector_size, "both copies of the GPT are damaged: primary: %s; backup: %s",
                   gpt->primary.fault, gpt->backup.fault);
}

static bool gpt_load(struct device *disk, struct table **out, struct error *err)
{
    uint32_t sector_size = gpt_sector_size(disk);
    if (disk->size < 4 * MBR_SIZE)
        return damaged(err, disk, 0, "a disk of %" PRIu64 " bytes cannot hold a GPT", disk->size);
    if (sector_size == 0)
        return damaged(err, disk, 512,
                       "there is a protective MBR, but no GPT header at either end of the disk");
    struct table *table = table_new(&gpt_driver, disk, sector_size, sizeof(struct gpt), err);
    if (!table)
        return false;
    struct gpt *gpt = table->data;
    bool ok = gpt_read_copies(gpt, disk, sector_size, err) &&
              (gpt->used || both_damaged(gpt, disk, sector_size, err)) && adopt(table, err);
    if (!ok) {
        gpt_free(table);
        return false;
    }
    *out = table;
    return true;
}

/* ---- new tables ---------------------------------------------------------------------------------------- */

static bool new_geometry(struct table *table, const struct options *options, uint8_t *header,
                         struct error *err)
{
    uint64_t count = options_number(options, "entries", GPT_ENTRIES);
    uint64_t size = options_number(options, "entry-size", GPT_ENTRY_SIZE);
    if (size < GPT_ENTRY_SIZE || size > GPT_ENTRY_MAX || !is_power_of_two(size))
        return fail(err, E_INVALID, "entry-size is 128, 256, 512, 1024, 2048 or 4096, not %" PRIu64, size);
    if (count == 0 || count > GPT_ARRAY_MAX / size)
        return fail(err, E_INVALID, "entries is 1 to %" PRIu64 ", not %" PRIu64, GPT_ARRAY_MAX / size, count);
    gpt_header_set_NumberOfPartitionEntries(header, count);
    gpt_header_set_SizeOfPartitionEntry(header, size);
    uint64_t reserved = div_up(MAX_OF(gpt_array_size(header), GPT_ARRAY_MIN), table->sector_size);
    uint64_t sectors = table->disk->size / table->sector_size;
    uint64_t end = gpt_usable_end(table->disk, table->sector_size, header);
    if (sectors < 2 * reserved + 4 || end <= 2 + reserved)
        return fail(err, E_NOSPACE,
                    "a disk of %" PRIu64 " bytes is too small for a GPT: it takes at least %" PRIu64 " bytes",
                    table->disk->size, (2 * reserved + 4) * table->sector_size);
    gpt_header_set_FirstUsableLBA(header, 2 + reserved);
    gpt_header_set_LastUsableLBA(header, end - 1);
    return true;
}

static bool new_header(struct table *table, const struct options *options, uint8_t *header, struct error *err)
{
    const char *uuid = options_text(options, "uuid", NULL);
    memcpy(header, GPT_MAGIC, 8);
    gpt_header_set_Revision(header, GPT_REVISION);
    gpt_header_set_HeaderSize(header, GPT_HEADER_SIZE);
    gpt_header_set_MyLBA(header, 1);
    gpt_header_set_PartitionEntryLBA(header, 2);
    if (!uuid)
        guid_random(GUID_MIXED, gpt_header_DiskGUID(header));
    else if (!guid_parse(uuid, GUID_MIXED, gpt_header_DiskGUID(header)))
        return fail(err, E_INVALID, "uuid is '%s', not a GUID", uuid);
    return new_geometry(table, options, header, err);
}

static bool start_table(struct table *table, const struct options *options, struct error *err)
{
    struct gpt *gpt = table->data;
    struct gpt_copy *copy = &gpt->primary;
    copy->header = mem_new(table->sector_size, err);
    gpt->backup.header = mem_new(table->sector_size, err);
    if (!copy->header || !gpt->backup.header || !sector0_read(table->disk, gpt->sector0, err) ||
        !new_header(table, options, copy->header, err))
        return false;
    copy->lba = 1;
    copy->entries = mem_new(gpt_array_size(copy->header), err);
    if (!copy->entries)
        return false;
    copy->header_ok = copy->entries_ok = true;
    gpt->used = copy;
    enum sector0 what = sector0_judge(table->disk, gpt->sector0, table->sector_size);
    if (!sector0_clean(table->disk, what, gpt->sector0, err))
        return false;
    gpt->sector0_kind = SECTOR0_EMPTY;
    table->first = gpt_header_FirstUsableLBA(copy->header) * table->sector_size;
    table->end = (gpt_header_LastUsableLBA(copy->header) + 1) * table->sector_size;
    table->max_parts = (unsigned)gpt_header_NumberOfPartitionEntries(copy->header);
    guid_format(gpt_header_DiskGUID(copy->header), GUID_MIXED, table->uuid);
    return gpt_store(table, err);
}

static bool gpt_init(struct device *disk, const struct options *options, struct table **out,
                     struct error *err)
{
    uint64_t sector_size = options_number(options, "sector-size", disk->block_size);
    if (sector_size != 512 && sector_size != 4096)
        return fail(err, E_INVALID, "sector-size is 512 or 4096, not %" PRIu64, sector_size);
    if (disk->size < MBR_SIZE)
        return fail(err, E_NOSPACE, "a disk of %" PRIu64 " bytes is too small for a GPT", disk->size);
    struct table *table = table_new(&gpt_driver, disk, (uint32_t)sector_size, sizeof(struct gpt), err);
    if (!table)
        return false;
    if (start_table(table, options, err)) {
        *out = table;
        return true;
    }
    gpt_free(table);
    return false;
}

static bool gpt_boot_code(struct table *table, uint8_t *code, size_t *len, bool write, struct error *err)
{
    return sector0_boot_code(table->disk, ((struct gpt *)table->data)->sector0, code, len, write, err);
}

static bool wipe_copy(struct table *table, const struct gpt_copy *copy, struct error *err)
{
    uint32_t sector = table->sector_size;
    if (copy->entries_ok && !device_zero(table->disk, gpt_header_PartitionEntryLBA(copy->header) * sector,
                                         gpt_array_size(copy->header), WRITE_UPDATE, err))
        return false;
    return !copy->present || device_zero(table->disk, copy->lba * sector, sector, WRITE_UPDATE, err);
}

static bool gpt_wipe(struct table *table, struct error *err)
{
    struct gpt *gpt = table->data;
    memset(gpt->sector0 + MBR_BOOT_CODE, 0, MBR_SIZE - MBR_BOOT_CODE);
    return wipe_copy(table, &gpt->primary, err) && wipe_copy(table, &gpt->backup, err) &&
           disk_update(table->disk, 0, gpt->sector0, MBR_SIZE, err);
}

static bool gpt_set_uuid(struct table *table, const char *text, struct error *err)
{
    uint8_t raw[16];
    if (strcmp(text, "random") == 0)
        guid_random(GUID_MIXED, raw);
    else if (!guid_parse(text, GUID_MIXED, raw))
        return fail(err, E_INVALID, "'%s' is not a GUID", text);
    guid_format(raw, GUID_MIXED, table->uuid);
    return true;
}

const struct table_driver gpt_driver = {
    .head =
        {
            .name = "gpt",
            .title = "GUID partition table",
            .spec = "UEFI specification 2.10, chapter 5",
            .type = DRIVER_TABLE,
            .probe = gpt_probe,
            .make_options = gpt_make_options,
            .layouts = gpt_layouts,
            .locate = gpt_locate,
            .owner = gpt_owner,
        },
    .types = gpt_types,
    .attributes = gpt_attributes,
    .names = true,
    .part_uuids = true,
    .init = gpt_init,
    .load = gpt_load,
    .store = gpt_store,
    .verify = gpt_verify,
    .boot_code = gpt_boot_code,
    .wipe = gpt_wipe,
    .set_uuid = gpt_set_uuid,
    .free = gpt_free,
};
