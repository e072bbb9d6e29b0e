/* The structures of a GPT for `show`, `poke`, `diff` and `what`. */
#include "gpt.h"
#include "guid.h"
#include "regions.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Added to place.index: for structures of the backup copy, and where no copy was named, so both are meant. */
enum { BACKUP_INDEX = 1 << 30, BOTH_INDEX = 1 << 29 };

static void type_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    char text[GUID_TEXT];
    (void)field;
    guid_format(raw, GUID_MIXED, text);
    const struct part_type *type = table_type_find(&gpt_driver, text);
    snprintf(out, size, "%s", type ? type->title : all_zero(raw, 16) ? "unused" : "");
}

static void type_format(const struct field *field, const void *raw, char *out, size_t size)
{
    (void)field;
    (void)size;
    guid_format(raw, GUID_MIXED, out);
}

static bool type_parse(const struct field *field, const char *text, void *raw, struct error *err)
{
    char type[40];
    (void)field;
    if (guid_parse(text, GUID_MIXED, raw))
        return true;
    return table_type_parse(&gpt_driver, text, type, err) && guid_parse(type, GUID_MIXED, raw);
}

static const struct kind kind_gpt_type = {
    .name = "partition type", .format = type_format, .parse = type_parse, .meaning = type_meaning};

static void attributes_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    struct table table = {.driver = &gpt_driver};
    struct part part = {.attributes = load_le64(raw)};
    (void)field;
    table_flags_text(&table, &part, out, size);
}

static const struct kind kind_gpt_attributes = {
    .name = "flags", .format = kind_hex_format, .parse = kind_number_parse, .meaning = attributes_meaning};

LAYOUT_FIELDS(gpt_header, GPT_HEADER);
LAYOUT_FIELDS(gpt_entry, GPT_ENTRY);

/* ---- checksums ----------------------------------------------------------------------------------------- */

static bool size_ok(const struct place *place, const void *raw)
{
    uint64_t size = gpt_header_HeaderSize(raw);
    return size >= GPT_HEADER_SIZE && size <= place->size;
}

static bool header_check(const struct place *place, const void *raw, struct error *err)
{
    const struct table *table = place->owner;
    if (memcmp(raw, GPT_MAGIC, 8) != 0)
        return damaged(err, place->device, place->off, "Signature is not \"EFI PART\"");
    if (!size_ok(place, raw))
        return damaged(err, place->device, place->off + gpt_header_off_HeaderSize, "HeaderSize is %" PRIu64,
                       gpt_header_HeaderSize(raw));
    if (gpt_header_MyLBA(raw) != place->off / table->sector_size)
        return damaged(err, place->device, place->off + gpt_header_off_MyLBA,
                       "MyLBA is %" PRIu64 ", but the header lies at %" PRIu64, gpt_header_MyLBA(raw),
                       place->off / table->sector_size);
    if (gpt_header_HeaderCRC32(raw) != gpt_header_crc(raw))
        return damaged(err, place->device, place->off + gpt_header_off_HeaderCRC32,
                       "HeaderCRC32 is 0x%08" PRIx64 ", computed 0x%08x", gpt_header_HeaderCRC32(raw),
                       gpt_header_crc(raw));
    return true;
}

/* The CRC of the array as it is on the disk. */
static bool array_crc(const struct place *place, const void *raw, uint32_t *crc)
{
    const struct table *table = place->owner;
    uint64_t count = gpt_header_NumberOfPartitionEntries(raw), size = gpt_header_SizeOfPartitionEntry(raw),
             off;
    struct error ignored;
    if (size == 0 || count > GPT_ARRAY_MAX / size ||
        !mul_u64(gpt_header_PartitionEntryLBA(raw), table->sector_size, &off) ||
        !range_inside(off, count * size, place->device->size))
        return false;
    uint8_t *entries = malloc(count * size + 1);
    bool ok = entries && device_read(place->device, off, entries, count * size, &ignored);
    if (ok)
        *crc = gpt_array_crc(raw, entries);
    free(entries);
    return ok;
}

static void header_seal(const struct place *place, void *raw)
{
    uint32_t crc;
    if (array_crc(place, raw, &crc))
        gpt_header_set_PartitionEntryArrayCRC32(raw, crc);
    if (size_ok(place, raw))
        gpt_header_set_HeaderCRC32(raw, gpt_header_crc(raw));
}

static bool header_computed(const struct place *place, const void *raw, const struct field *field,
                            uint64_t *value)
{
    uint32_t crc = 0;
    bool ok = false;
    if (field->off == gpt_header_off_HeaderCRC32 && size_ok(place, raw)) {
        crc = gpt_header_crc(raw);
        ok = true;
    } else if (field->off == gpt_header_off_PartitionEntryArrayCRC32) {
        ok = array_crc(place, raw, &crc);
    }
    *value = crc;
    return ok;
}

const struct layout gpt_header_layout = {
    .name = "header",
    .title = "GPT header",
    .spec = "UEFI 2.10, 5.3.2",
    .size = GPT_HEADER_SIZE,
    LAYOUT_TABLE(gpt_header),
    .check = header_check,
    .seal = header_seal,
    .computed = header_computed,
};

/* The checksums in the header of one copy. */
static bool seal_copy(const struct place *place, const struct gpt_copy *copy, struct error *err)
{
    const struct table *table = place->owner;
    struct place header = {.layout = &gpt_header_layout,
                           .device = place->device,
                           .off = copy->lba * table->sector_size,
                           .size = table->sector_size,
                           .owner = place->owner};
    uint8_t *raw = malloc(table->sector_size);
    bool ok = raw ? device_read(place->device, header.off, raw, header.size, err)
                  : fail(err, E_NOMEM, "out of memory");
    if (ok) {
        header_seal(&header, raw);
        ok = device_write(place->device, header.off, raw, header.size, WRITE_UPDATE, err);
    }
    free(raw);
    return ok;
}

/*
 * An entry is covered by the CRC in the header of its copy. Where no copy was named, the other one gets the
 * same entry, unless its header is damaged or its array has no such entry: then it is for `partition repair`.
 */
static bool entry_settle(const struct place *place, struct error *err)
{
    const struct table *table = place->owner;
    const struct gpt *gpt = table->data;
    bool backup = place->index & BACKUP_INDEX;
    if (!seal_copy(place, backup ? &gpt->backup : &gpt->primary, err))
        return false;
    if (!(place->index & BOTH_INDEX) || !gpt->backup.header_ok)
        return true;
    const uint8_t *header = gpt->backup.header;
    uint64_t number = place->index & (BOTH_INDEX - 1), size = gpt_header_SizeOfPartitionEntry(header);
    if (number >= gpt_header_NumberOfPartitionEntries(header))
        return true;
    uint64_t off = gpt_header_PartitionEntryLBA(header) * table->sector_size + number * size;
    uint8_t *raw = malloc(place->size);
    bool ok = raw || fail(err, E_NOMEM, "out of memory");
    ok = ok && device_read(place->device, place->off, raw, place->size, err) &&
         device_write(place->device, off, raw, MIN_OF(place->size, size), WRITE_UPDATE, err) &&
         seal_copy(place, &gpt->backup, err);
    free(raw);
    return ok;
}

static const struct layout gpt_entry_layout = {
    .name = "entry",
    .title = "GPT partition entry",
    .spec = "UEFI 2.10, 5.3.3",
    .size = GPT_ENTRY_SIZE,
    LAYOUT_TABLE(gpt_entry),
    .settle = entry_settle,
};

const struct layout *const gpt_layouts[] = {&gpt_header_layout, &gpt_entry_layout, NULL};

/* ---- places -------------------------------------------------------------------------------------------- */

enum { REGION_SECTOR0, REGION_HEADER, REGION_ENTRIES, REGION_BACKUP, REGION_BACKUP_ENTRIES, REGIONS };

static void copy_regions(const struct table *table, const struct gpt_copy *copy, bool backup,
                         struct region *header, struct region *entries)
{
    const struct gpt *gpt = table->data;
    const uint8_t *h = copy->header_ok ? copy->header : gpt->used->header;
    uint64_t off = copy->lba * table->sector_size, array = gpt_array_size(h), size = gpt_header_HeaderSize(h);
    *header = (struct region){.off = off,
                              .len = table->sector_size,
                              .layout = &gpt_header_layout,
                              .size = (uint32_t)size,
                              .index = backup ? BACKUP_INDEX : 0,
                              .title = backup ? "GPT header (backup)" : "GPT header"};
    /* The array of a header that is damaged is where it would be written. */
    uint64_t at = copy->header_ok ? gpt_header_PartitionEntryLBA(h) * table->sector_size
                  : backup        ? off - div_up(array, table->sector_size) * table->sector_size
                                  : 2 * (uint64_t)table->sector_size;
    *entries = (struct region){.off = at,
                               .len = array,
                               .layout = &gpt_entry_layout,
                               .size = (uint32_t)gpt_header_SizeOfPartitionEntry(h),
                               .index = backup ? BACKUP_INDEX : 0,
                               .title = backup ? "GPT entry (backup)" : "GPT entry",
                               .array = true};
}

static void make_regions(const struct table *table, struct region *regions)
{
    const struct gpt *gpt = table->data;
    regions[REGION_SECTOR0] = (struct region){
        .len = table->sector_size, .layout = &mbr_sector_layout, .size = MBR_SIZE, .title = "protective MBR"};
    copy_regions(table, &gpt->primary, false, &regions[REGION_HEADER], &regions[REGION_ENTRIES]);
    copy_regions(table, &gpt->backup, true, &regions[REGION_BACKUP], &regions[REGION_BACKUP_ENTRIES]);
}

bool gpt_owner(void *opened, uint64_t off, struct owner *owner, struct error *err)
{
    const struct table *table = opened;
    struct region regions[REGIONS];
    make_regions(table, regions);
    return regions_owner(table, regions, REGIONS, off, owner, err);
}

/* "", "primary", "backup", "3", "3 backup", "backup 3". */
static bool parse_args(const char *args, uint64_t *number, bool *backup, struct error *err)
{
    *number = 0;
    *backup = false;
    for (const char *p = args; *p;) {
        size_t n = strcspn(p, " ");
        char *end;
        if (n == 6 && strncmp(p, "backup", n) == 0)
            *backup = true;
        else if (isdigit((unsigned char)*p))
            *number = strtoull(p, &end, 10);
        else if (n != 0 && !(n == 7 && strncmp(p, "primary", n) == 0))
            return fail(err, E_USAGE, "'%s' is neither a number nor `primary` or `backup`", args);
        p += n + (p[n] == ' ');
    }
    return true;
}

bool gpt_locate(void *opened, const char *structure, const char *args, struct place *place, struct error *err)
{
    const struct table *table = opened;
    struct region regions[REGIONS];
    uint64_t number;
    bool backup;
    if (!parse_args(args, &number, &backup, err))
        return false;
    make_regions(table, regions);
    if (structure[0] == '\0' || strcmp(structure, "header") == 0) {
        region_place(table, &regions[backup ? REGION_BACKUP : REGION_HEADER], 0, place);
        return true;
    }
    if (strcmp(structure, "entry") != 0)
        return fail(err, E_NOENT, "gpt has no structure '%s' (there are: header, entry)", structure);
    const struct region *entries = &regions[backup ? REGION_BACKUP_ENTRIES : REGION_ENTRIES];
    if (number < 1 || number > entries->len / entries->size)
        return fail(err, E_INVALID, "gpt.entry takes a number from 1 to %" PRIu64,
                    entries->len / entries->size);
    region_place(table, entries, number - 1, place);
    if (!backup && !strstr(args, "primary"))
        place->index |= BOTH_INDEX;
    return true;
}
