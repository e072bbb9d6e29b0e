/* The structures of an MBR for `show`, `poke`, `diff` and `what`. */
#include "alloc.h"
#include "mbr.h"
#include "regions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void chs_format(const struct field *field, const void *raw, char *out, size_t size)
{
    const uint8_t *chs = raw;
    (void)field;
    snprintf(out, size, "%u/%u/%u", chs[2] | (chs[1] & 0xc0) << 2, chs[0], chs[1] & 0x3f);
}

static bool chs_parse(const struct field *field, const char *text, void *raw, struct error *err)
{
    unsigned cylinder, head, sector;
    char more;
    uint8_t *chs = raw;
    if (sscanf(text, "%u/%u/%u%c", &cylinder, &head, &sector, &more) != 3 || cylinder > 1023 || head > 255 ||
        sector > 63)
        return fail(err, E_INVALID, "%s is CYLINDER/HEAD/SECTOR, at most 1023/255/63, not '%s'", field->name,
                    text);
    chs[0] = (uint8_t)head;
    chs[1] = (uint8_t)(sector | (cylinder >> 2 & 0xc0));
    chs[2] = (uint8_t)cylinder;
    return true;
}

static const struct kind kind_chs = {.name = "CHS", .format = chs_format, .parse = chs_parse};

KIND_ENUM(kind_boot_indicator, {0, "no"}, {0x80, "active"});

static void type_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    char text[8];
    (void)field;
    snprintf(text, sizeof text, "0x%02x", *(const uint8_t *)raw);
    const struct part_type *type = table_type_find(&mbr_driver, text);
    snprintf(out, size, "%s", type ? type->title : *(const uint8_t *)raw == 0 ? "unused" : "");
}

static bool type_parse(const struct field *field, const char *text, void *raw, struct error *err)
{
    char type[40];
    if (strcmp(text, "0") == 0 || strcmp(text, "0x00") == 0)
        return kind_number_parse(field, text, raw, err);
    if (!table_type_parse(&mbr_driver, text, type, err))
        return false;
    *(uint8_t *)raw = (uint8_t)strtoul(type, NULL, 16);
    return true;
}

static const struct kind kind_os_type = {
    .name = "partition type", .format = kind_hex_format, .parse = type_parse, .meaning = type_meaning};

LAYOUT_FIELDS(mbr, MBR_SECTOR);

static bool sector_check(const struct place *place, const void *raw, struct error *err)
{
    if (mbr_Signature(raw) == MBR_SIGNATURE)
        return true;
    return damaged(err, place->device, place->off + mbr_off_Signature,
                   "Signature is 0x%04" PRIx64 ", not 0xaa55", mbr_Signature(raw));
}

const struct layout mbr_sector_layout = {
    .name = "mbr",
    .title = "master boot record",
    .spec = "UEFI 2.10, 5.2.1",
    .size = MBR_SIZE,
    LAYOUT_TABLE(mbr),
    .check = sector_check,
};

static const struct layout ebr_layout = {
    .name = "ebr",
    .title = "extended boot record",
    .spec = "Microsoft: basic disks, extended partitions",
    .size = MBR_SIZE,
    LAYOUT_TABLE(mbr),
    .check = sector_check,
};

const struct layout *const mbr_layouts[] = {&mbr_sector_layout, &ebr_layout, NULL};

static struct region sector_region(const struct table *table, uint64_t off, uint64_t index)
{
    bool first = off == 0;
    return (struct region){.off = off,
                           .len = table->sector_size,
                           .size = MBR_SIZE,
                           .layout = first ? &mbr_sector_layout : &ebr_layout,
                           .index = index,
                           .title = first ? "master boot record" : "extended boot record"};
}

bool mbr_owner(void *opened, uint64_t off, struct owner *owner, struct error *err)
{
    const struct table *table = opened;
    const struct mbr *mbr = table->data;
    struct region *regions = mem_array(mbr->visited.total + 1, sizeof *regions, err);
    struct range range;
    size_t count = 0;
    if (!regions)
        return false;
    regions[count++] = sector_region(table, 0, 0);
    for (uint64_t at = 0; ranges_next(&mbr->visited, at, &range); at = range.start + 1)
        regions[count++] = sector_region(table, range.start * table->sector_size, range.start);
    bool ok = regions_owner(table, regions, count, off, owner, err);
    free(regions);
    return ok;
}

static bool locate_ebr(const struct table *table, const char *args, struct place *place, struct error *err)
{
    const struct part *extended = table_extended(table);
    char *end;
    unsigned long number = strtoul(args, &end, 10);
    struct part *part = end > args && !*end ? table_part(table, (unsigned)number) : NULL;
    if (!extended)
        return fail(err, E_NOENT, "there is no extended partition");
    if (*args && (!part || !(part->flags & PART_LOGICAL)))
        return fail(err, E_NOENT, "'%s' is not the number of a logical partition", args);
    uint64_t off = part ? part->entry_off / table->sector_size * table->sector_size : extended->off;
    struct region region = sector_region(table, off, off / table->sector_size);
    region_place(table, &region, 0, place);
    if (part)
        snprintf(place->title, sizeof place->title, "extended boot record of partition %u", part->number);
    return true;
}

bool mbr_locate(void *opened, const char *structure, const char *args, struct place *place, struct error *err)
{
    const struct table *table = opened;
    struct region region = sector_region(table, 0, 0);
    if (strcmp(structure, "ebr") == 0)
        return locate_ebr(table, args, place, err);
    if (structure[0] != '\0' && strcmp(structure, "mbr") != 0)
        return fail(err, E_NOENT, "mbr has no structure '%s' (there are: mbr, mbr.ebr)", structure);
    region_place(table, &region, 0, place);
    return true;
}
