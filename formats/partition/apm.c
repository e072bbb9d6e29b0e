/*
 * Apple partition map (Inside Macintosh: Devices, chapter 3), big-endian, read-only:
 *
 *     block 0              1 .. n                               ...
 *     | driver descriptor | map entries, the first for the map | partitions ...
 *
 * Entry i, counted from 1, is partition i; entries for free and void space are left out. Disks made for
 * drives with 2048-byte blocks often carry a map in 512-byte steps: what counts is where the first entry is.
 */
#include "regions.h"
#include "table.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define APM_DRIVER(F, T)                                                                                     \
    F(T, 0, 2, BE, sbSig, kind_hex, "0x4552: \"ER\"")                                                        \
    F(T, 2, 2, BE, sbBlkSize, kind_dec, "bytes of a block")                                                  \
    F(T, 4, 4, BE, sbBlkCount, kind_dec, "blocks of the disk")                                               \
    F(T, 8, 2, BE, sbDevType, kind_hex, "device type")                                                       \
    F(T, 10, 2, BE, sbDevId, kind_hex, "device id")                                                          \
    F(T, 12, 4, BE, sbData, kind_hex, "reserved")                                                            \
    F(T, 16, 2, BE, sbDrvrCount, kind_dec, "driver descriptors that follow")

#define APM_ENTRY(F, T)                                                                                      \
    F(T, 0, 2, BE, pmSig, kind_hex, "0x504d: \"PM\"")                                                        \
    F(T, 2, 2, BE, pmSigPad, kind_hex, "reserved")                                                           \
    F(T, 4, 4, BE, pmMapBlkCnt, kind_dec, "entries of the map")                                              \
    F(T, 8, 4, BE, pmPyPartStart, kind_dec, "first block")                                                   \
    F(T, 12, 4, BE, pmPartBlkCnt, kind_dec, "number of blocks")                                              \
    F(T, 16, 32, RAW, pmPartName, kind_text, "name")                                                         \
    F(T, 48, 32, RAW, pmParType, kind_text, "type")                                                          \
    F(T, 80, 4, BE, pmLgDataStart, kind_dec, "first block of data in the partition")                         \
    F(T, 84, 4, BE, pmDataCnt, kind_dec, "blocks of data")                                                   \
    F(T, 88, 4, BE, pmPartStatus, kind_hex, "status bits")                                                   \
    F(T, 92, 4, BE, pmLgBootStart, kind_dec, "first block of boot code")                                     \
    F(T, 96, 4, BE, pmBootSize, kind_dec, "bytes of boot code")                                              \
    F(T, 100, 4, BE, pmBootAddr, kind_hex, "where boot code is loaded")                                      \
    F(T, 104, 4, BE, pmBootAddr2, kind_hex, "reserved")                                                      \
    F(T, 108, 4, BE, pmBootEntry, kind_hex, "where boot code is entered")                                    \
    F(T, 112, 4, BE, pmBootEntry2, kind_hex, "reserved")                                                     \
    F(T, 116, 4, BE, pmBootCksum, kind_hex, "checksum of boot code")                                         \
    F(T, 120, 16, RAW, pmProcessor, kind_text, "processor")

extern const struct table_driver apm_driver;

LAYOUT_ACCESSORS(apm_driver_block, APM_DRIVER)
LAYOUT_ACCESSORS(apm_entry, APM_ENTRY)
LAYOUT_FIELDS(apm_driver_block, APM_DRIVER);
LAYOUT_FIELDS(apm_entry, APM_ENTRY);

enum { APM_DRIVER_SIG = 0x4552, APM_ENTRY_SIG = 0x504d, APM_MAX_ENTRIES = 4096, APM_BLOCK = 512 };

static const struct layout driver_layout = {
    .name = "driver",
    .title = "driver descriptor",
    .spec = "Inside Macintosh: Devices, 3-12",
    .size = APM_BLOCK,
    LAYOUT_TABLE(apm_driver_block),
};
static const struct layout entry_layout = {
    .name = "entry",
    .title = "partition map entry",
    .spec = "Inside Macintosh: Devices, 3-13",
    .size = APM_BLOCK,
    LAYOUT_TABLE(apm_entry),
};
static const struct layout *const apm_layouts[] = {&driver_layout, &entry_layout, NULL};

static const struct part_type apm_types[] = {
    {"Apple_partition_map", "map", "the partition map itself", 0},
    {"Apple_HFS", "hfs", "Apple HFS, HFS+", 0},
    {"Apple_APFS", "apfs", "Apple APFS", 0},
    {"Apple_UNIX_SVR2", "unix", "Unix filesystem or swap", 0},
    {"Apple_Bootstrap", "bootstrap", "boot loader", 0},
    {"Apple_Driver", "driver", "device driver", 0},
    {"Apple_Driver43", "driver43", "device driver, SCSI manager 4.3", 0},
    {"Apple_Driver_ATA", "driver-ata", "device driver, ATA", 0},
    {"Apple_Driver_ATAPI", "driver-atapi", "device driver, ATAPI", 0},
    {"Apple_FWDriver", "driver-firewire", "device driver, FireWire", 0},
    {"Apple_Patches", "patches", "patches for drivers", 0},
    {"Apple_PRODOS", "prodos", "ProDOS", 0},
    {"Apple_Boot", "boot", "boot helper", 0},
    {"DOS_FAT_12", "fat12", "FAT12", 0},
    {"DOS_FAT_16", "fat16", "FAT16", 0},
    {"DOS_FAT_32", "fat32", "FAT32", 0},
    {"Windows_FAT_16", "windows-fat16", "FAT16", 0},
    {"Windows_FAT_32", "windows-fat32", "FAT32", 0},
    {"Linux", "linux", "Linux filesystem", 0},
    {NULL, NULL, NULL, 0},
};

static bool read_block(struct device *disk, uint64_t off, uint8_t *block)
{
    struct error ignored;
    return range_inside(off, APM_BLOCK, disk->size) && device_read(disk, off, block, APM_BLOCK, &ignored);
}

/* Bytes from one entry to the next; 0: there is no map. */
static uint32_t map_step(struct device *disk)
{
    uint8_t block[APM_BLOCK];
    if (!read_block(disk, 0, block) || apm_driver_block_sbSig(block) != APM_DRIVER_SIG)
        return 0;
    const uint32_t steps[] = {(uint32_t)apm_driver_block_sbBlkSize(block), APM_BLOCK};
    for (unsigned i = 0; i < ARRAY_LEN(steps); i++)
        if (is_power_of_two(steps[i]) && steps[i] >= APM_BLOCK && read_block(disk, steps[i], block) &&
            apm_entry_pmSig(block) == APM_ENTRY_SIG && apm_entry_pmMapBlkCnt(block) != 0)
            return steps[i];
    return 0;
}

static unsigned apm_probe(struct device *disk)
{
    return map_step(disk) ? 64 : 0;
}

static void copy_text(const uint8_t *field, char *out, size_t size)
{
    size_t n = 0;
    for (; n < 32 && n + 1 < size && field[n]; n++)
        out[n] = (char)(isprint(field[n]) ? field[n] : '?');
    out[n] = '\0';
}

static bool add_entry(struct table *table, unsigned number, const uint8_t *block, struct error *err)
{
    struct part *part;
    char type[33];
    copy_text(apm_entry_pmParType(block), type, sizeof type);
    if (apm_entry_pmPartBlkCnt(block) == 0 || strcmp(type, "Apple_Free") == 0 ||
        strcmp(type, "Apple_Void") == 0)
        return true;
    if (!table_insert(table, number, &part, err))
        return false;
    part->off = apm_entry_pmPyPartStart(block) * table->sector_size;
    part->len = apm_entry_pmPartBlkCnt(block) * table->sector_size;
    part->entry_off = (uint64_t)number * table->sector_size;
    memcpy(part->type, type, sizeof type);
    copy_text(apm_entry_pmPartName(block), part->name, sizeof part->name);
    return true;
}

static bool parse(struct table *table, struct error *err)
{
    uint8_t block[APM_BLOCK];
    unsigned count = 1;
    for (unsigned i = 1; i <= count; i++) {
        if (!read_block(table->disk, (uint64_t)i * table->sector_size, block) ||
            apm_entry_pmSig(block) != APM_ENTRY_SIG) {
            snprintf(table->note, sizeof table->note, "the partition map breaks off at entry %u of %u", i,
                     count);
            break;
        }
        if (i == 1)
            count = (unsigned)MIN_OF(apm_entry_pmMapBlkCnt(block), APM_MAX_ENTRIES);
        if (!add_entry(table, i, block, err))
            return false;
    }
    table->max_parts = count;
    return true;
}

static bool apm_load(struct device *disk, struct table **out, struct error *err)
{
    uint32_t step = map_step(disk);
    if (step == 0)
        return damaged(err, disk, 0, "there is no Apple partition map");
    struct table *table = table_new(&apm_driver, disk, step, 1, err);
    if (!table)
        return false;
    table->read_only = true;
    table->first = step;
    table->end = disk->size / step * step;
    if (!parse(table, err)) {
        table_dispose(table);
        return false;
    }
    table->faults = table_faults(table);
    *out = table;
    return true;
}

static void make_regions(const struct table *table, struct region regions[2])
{
    uint32_t step = table->sector_size;
    regions[0] = (struct region){
        .len = APM_BLOCK, .size = APM_BLOCK, .layout = &driver_layout, .title = "driver descriptor"};
    regions[1] = (struct region){.off = step,
                                 .len = (uint64_t)table->max_parts * step,
                                 .size = step,
                                 .layout = &entry_layout,
                                 .title = "partition map entry",
                                 .array = true};
}

static bool apm_owner(void *opened, uint64_t off, struct owner *owner, struct error *err)
{
    struct region regions[2];
    make_regions(opened, regions);
    return regions_owner(opened, regions, 2, off, owner, err);
}

static bool apm_locate(void *opened, const char *structure, const char *args, struct place *place,
                       struct error *err)
{
    const struct table *table = opened;
    struct region regions[2];
    make_regions(table, regions);
    if (structure[0] == '\0' || strcmp(structure, "driver") == 0) {
        region_place(table, &regions[0], 0, place);
        return true;
    }
    unsigned long number = strtoul(args, NULL, 10);
    if (strcmp(structure, "entry") != 0)
        return fail(err, E_NOENT, "apm has no structure '%s' (there are: driver, entry)", structure);
    if (number < 1 || number > table->max_parts)
        return fail(err, E_INVALID, "apm.entry takes a number from 1 to %u", table->max_parts);
    region_place(table, &regions[1], number - 1, place);
    return true;
}

const struct table_driver apm_driver = {
    .head =
        {
            .name = "apm",
            .title = "Apple partition map",
            .spec = "Inside Macintosh: Devices, chapter 3",
            .type = DRIVER_TABLE,
            .probe = apm_probe,
            .layouts = apm_layouts,
            .locate = apm_locate,
            .owner = apm_owner,
        },
    .types = apm_types,
    .names = true,
    .load = apm_load,
    .free = table_dispose,
};
