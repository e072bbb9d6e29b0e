/*
 * BSD disklabel (the 4.4BSD <sys/disklabel.h>, with OpenBSD's version 1 for large disks), little-endian,
 * read-only. It lies in the second sector, or in the first behind the jump. Partitions a, b, c ... are
 * numbers 1, 2, 3; the one that stands for the whole disk (c, unused) is left out.
 */
#include "regions.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define BSD_LABEL(F, T)                                                                                      \
    F(T, 0, 4, LE, d_magic, kind_hex, "0x82564557")                                                          \
    F(T, 4, 2, LE, d_type, kind_dec, "drive type")                                                           \
    F(T, 6, 2, LE, d_subtype, kind_dec, "controller")                                                        \
    F(T, 8, 16, RAW, d_typename, kind_text, "type of the drive")                                             \
    F(T, 24, 16, RAW, d_packname, kind_text, "name of the pack")                                             \
    F(T, 40, 4, LE, d_secsize, kind_dec, "bytes of a sector")                                                \
    F(T, 44, 4, LE, d_nsectors, kind_dec, "sectors of a track")                                              \
    F(T, 48, 4, LE, d_ntracks, kind_dec, "tracks of a cylinder")                                             \
    F(T, 52, 4, LE, d_ncylinders, kind_dec, "cylinders")                                                     \
    F(T, 56, 4, LE, d_secpercyl, kind_dec, "sectors of a cylinder")                                          \
    F(T, 60, 4, LE, d_secperunit, kind_dec, "sectors of the disk")                                           \
    F(T, 64, 48, RAW, d_drive, kind_bytes, "drive parameters; OpenBSD: the label's identity first")          \
    F(T, 112, 2, LE, d_secperunith, kind_dec, "OpenBSD: sectors of the disk, high part")                     \
    F(T, 114, 2, LE, d_version, kind_dec, "OpenBSD: 1 when entries have high parts")                         \
    F(T, 116, 16, RAW, d_spare, kind_reserved, "reserved")                                                   \
    F(T, 132, 4, LE, d_magic2, kind_hex, "0x82564557")                                                       \
    F(T, 136, 2, LE, d_checksum, kind_checksum, "exclusive or of the label's 16-bit words")                  \
    F(T, 138, 2, LE, d_npartitions, kind_dec, "entries that follow")                                         \
    F(T, 140, 4, LE, d_bbsize, kind_dec, "bytes of the boot area")                                           \
    F(T, 144, 4, LE, d_sbsize, kind_dec, "bytes of a superblock")

#define BSD_ENTRY(F, T)                                                                                      \
    F(T, 0, 4, LE, p_size, kind_dec, "sectors")                                                              \
    F(T, 4, 4, LE, p_offset, kind_dec, "first sector")                                                       \
    F(T, 8, 2, LE, p_offseth, kind_dec, "version 1: high part of p_offset")                                  \
    F(T, 10, 2, LE, p_sizeh, kind_dec, "version 1: high part of p_size")                                     \
    F(T, 12, 1, LE, p_fstype, kind_dec, "type of filesystem")                                                \
    F(T, 13, 1, LE, p_frag, kind_dec, "fragments of a block")                                                \
    F(T, 14, 2, LE, p_cpg, kind_dec, "cylinders of a group")

extern const struct table_driver bsdlabel_driver;

LAYOUT_ACCESSORS(bsd_label, BSD_LABEL)
LAYOUT_ACCESSORS(bsd_entry, BSD_ENTRY)
LAYOUT_FIELDS(bsd_label, BSD_LABEL);
LAYOUT_FIELDS(bsd_entry, BSD_ENTRY);

enum { BSD_HEAD = 148, BSD_ENTRY_SIZE = 16, BSD_MAX_ENTRIES = 22, BSD_SIZE = BSD_HEAD + 22 * 16 };
#define BSD_MAGIC 0x82564557u

static const struct part_type bsd_types[] = {
    {"0", "unused", "unused", 0},     {"1", "swap", "swap", 0},      {"7", "ffs", "Fast File System", 0},
    {"8", "msdos", "FAT", 0},         {"9", "lfs", "4.4BSD LFS", 0}, {"11", "hpfs", "HPFS", 0},
    {"12", "iso9660", "ISO 9660", 0}, {"13", "boot", "boot", 0},     {"14", "vinum", "Vinum", 0},
    {"15", "raid", "RAID", 0},        {"17", "ext2fs", "ext2", 0},   {"18", "ntfs", "NTFS", 0},
    {"20", "ccd", "concatenated", 0}, {"27", "zfs", "ZFS", 0},       {NULL, NULL, NULL, 0},
};

struct bsd {
    uint64_t off; /* of the label on the disk */
    uint8_t raw[BSD_SIZE];
};

static uint16_t label_checksum(const uint8_t *raw, unsigned entries)
{
    uint16_t sum = 0;
    for (size_t i = 0; i < BSD_HEAD + (size_t)entries * BSD_ENTRY_SIZE; i += 2)
        if (i != bsd_label_off_d_checksum)
            sum ^= load_le16(raw + i);
    return sum;
}

static bool label_computed(const struct place *place, const void *raw, const struct field *field,
                           uint64_t *value)
{
    uint8_t label[BSD_SIZE];
    struct error ignored;
    unsigned entries = (unsigned)bsd_label_d_npartitions(raw);
    if (field->off != bsd_label_off_d_checksum || entries > BSD_MAX_ENTRIES ||
        !device_read(place->device, place->off, label, BSD_HEAD + entries * BSD_ENTRY_SIZE, &ignored))
        return false;
    memcpy(label, raw, BSD_HEAD);
    *value = label_checksum(label, entries);
    return true;
}

static const struct layout label_layout = {
    .name = "label",
    .title = "BSD disklabel",
    .spec = "4.4BSD <sys/disklabel.h>",
    .size = BSD_HEAD,
    LAYOUT_TABLE(bsd_label),
    .computed = label_computed,
};
static const struct layout entry_layout = {
    .name = "entry",
    .title = "BSD partition",
    .spec = "4.4BSD <sys/disklabel.h>",
    .size = BSD_ENTRY_SIZE,
    LAYOUT_TABLE(bsd_entry),
};
static const struct layout *const bsd_layouts[] = {&label_layout, &entry_layout, NULL};

static bool judge(const uint8_t *raw)
{
    uint64_t entries = bsd_label_d_npartitions(raw), sector = bsd_label_d_secsize(raw);
    return bsd_label_d_magic(raw) == BSD_MAGIC && bsd_label_d_magic2(raw) == BSD_MAGIC && entries > 0 &&
           entries <= BSD_MAX_ENTRIES && is_power_of_two(sector) && sector >= 512 && sector <= 4096;
}

/* The second sector on PCs; offset 64 or 128 of the first elsewhere. */
static bool find_label(struct device *disk, struct bsd *bsd)
{
    static const uint64_t places[] = {512, 64, 128, 0, 4096};
    struct error ignored;
    for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
        bsd->off = places[i];
        if (range_inside(places[i], BSD_SIZE, disk->size) &&
            device_read(disk, places[i], bsd->raw, BSD_SIZE, &ignored) && judge(bsd->raw))
            return true;
    }
    return false;
}

static unsigned bsd_probe(struct device *disk)
{
    struct bsd bsd;
    if (!find_label(disk, &bsd))
        return 0;
    unsigned entries = (unsigned)bsd_label_d_npartitions(bsd.raw);
    return label_checksum(bsd.raw, entries) == bsd_label_d_checksum(bsd.raw) ? 80 : 64;
}

static bool add_entries(struct table *table, struct error *err)
{
    const struct bsd *bsd = table->data;
    bool high = bsd_label_d_version(bsd->raw) == 1;
    for (unsigned i = 0; i < table->max_parts; i++) {
        const uint8_t *entry = bsd->raw + BSD_HEAD + i * BSD_ENTRY_SIZE;
        uint64_t size = bsd_entry_p_size(entry), start = bsd_entry_p_offset(entry);
        struct part *part;
        if (high) {
            size |= bsd_entry_p_sizeh(entry) << 32;
            start |= bsd_entry_p_offseth(entry) << 32;
        }
        if (size == 0 || bsd_entry_p_fstype(entry) == 0)
            continue;
        if (!table_insert(table, i + 1, &part, err))
            return false;
        part->off = start * table->sector_size;
        part->len = size * table->sector_size;
        part->entry_off = bsd->off + BSD_HEAD + i * BSD_ENTRY_SIZE;
        snprintf(part->type, sizeof part->type, "%u", (unsigned)bsd_entry_p_fstype(entry));
    }
    return true;
}

static bool bsd_load(struct device *disk, struct table **out, struct error *err)
{
    struct bsd bsd;
    if (!find_label(disk, &bsd))
        return damaged(err, disk, 512, "there is no BSD disklabel");
    struct table *table =
        table_new(&bsdlabel_driver, disk, (uint32_t)bsd_label_d_secsize(bsd.raw), sizeof bsd, err);
    if (!table)
        return false;
    memcpy(table->data, &bsd, sizeof bsd);
    table->read_only = true;
    table->max_parts = (unsigned)bsd_label_d_npartitions(bsd.raw);
    table->end = disk->size / table->sector_size * table->sector_size;
    if (label_checksum(bsd.raw, table->max_parts) != bsd_label_d_checksum(bsd.raw))
        snprintf(table->note, sizeof table->note, "the checksum of the disklabel is wrong");
    if (!add_entries(table, err)) {
        table_dispose(table);
        return false;
    }
    table->faults = table_faults(table);
    *out = table;
    return true;
}

static void make_regions(const struct table *table, struct region regions[2])
{
    const struct bsd *bsd = table->data;
    regions[0] = (struct region){.off = bsd->off,
                                 .len = BSD_HEAD,
                                 .size = BSD_HEAD,
                                 .layout = &label_layout,
                                 .title = "BSD disklabel"};
    regions[1] = (struct region){.off = bsd->off + BSD_HEAD,
                                 .len = (uint64_t)table->max_parts * BSD_ENTRY_SIZE,
                                 .size = BSD_ENTRY_SIZE,
                                 .layout = &entry_layout,
                                 .title = "BSD partition",
                                 .array = true};
}

static bool bsd_owner(void *opened, uint64_t off, struct owner *owner, struct error *err)
{
    struct region regions[2];
    make_regions(opened, regions);
    return regions_owner(opened, regions, 2, off, owner, err);
}

static bool bsd_locate(void *opened, const char *structure, const char *args, struct place *place,
                       struct error *err)
{
    const struct table *table = opened;
    struct region regions[2];
    make_regions(table, regions);
    if (structure[0] == '\0' || strcmp(structure, "label") == 0) {
        region_place(table, &regions[0], 0, place);
        return true;
    }
    unsigned long number = strtoul(args, NULL, 10);
    if (strcmp(structure, "entry") != 0)
        return fail(err, E_NOENT, "bsd has no structure '%s' (there are: label, entry)", structure);
    if (number < 1 || number > table->max_parts)
        return fail(err, E_INVALID, "bsd.entry takes a number from 1 to %u", table->max_parts);
    region_place(table, &regions[1], number - 1, place);
    return true;
}

const struct table_driver bsdlabel_driver = {
    .head =
        {
            .name = "bsd",
            .title = "BSD disklabel",
            .spec = "4.4BSD <sys/disklabel.h>",
            .type = DRIVER_TABLE,
            .probe = bsd_probe,
            .layouts = bsd_layouts,
            .locate = bsd_locate,
            .owner = bsd_owner,
        },
    .types = bsd_types,
    .load = bsd_load,
    .free = table_dispose,
};
