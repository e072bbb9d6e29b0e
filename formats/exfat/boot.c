/* The boot region and its backup (sections 3.1 to 3.4). */
#include "exfat.h"
#include "localtime.h"

#include <stdio.h>

const struct kind exfat_kind_flags = {"flags", kind_hex_format, kind_number_parse, kind_flags_meaning,
                                      (const struct kind_name[]){{VOLUME_ACTIVE_FAT, "second-fat-active"},
                                                                 {VOLUME_DIRTY, "dirty"},
                                                                 {VOLUME_MEDIA_FAILURE, "media-failure"},
                                                                 {8, "clear-to-zero"},
                                                                 {0, NULL}}};

const struct kind exfat_kind_type = {"exfat-type", kind_hex_format, kind_number_parse, kind_enum_meaning,
                                     (const struct kind_name[]){{TYPE_END, "end of directory"},
                                                                {TYPE_BITMAP, "allocation bitmap"},
                                                                {TYPE_UPCASE, "up-case table"},
                                                                {TYPE_LABEL, "volume label"},
                                                                {0x03, "volume label, unused"},
                                                                {TYPE_FILE, "file"},
                                                                {0x05, "file, deleted"},
                                                                {TYPE_GUID, "volume GUID"},
                                                                {TYPE_TEXFAT, "TexFAT padding"},
                                                                {TYPE_STREAM, "stream extension"},
                                                                {0x40, "stream extension, deleted"},
                                                                {TYPE_NAME, "file name"},
                                                                {0x41, "file name, deleted"},
                                                                {0xE0, "vendor extension"},
                                                                {0xE1, "vendor allocation"},
                                                                {0, NULL}}};

const struct kind exfat_kind_attr = {"flags", kind_hex_format, kind_number_parse, kind_flags_meaning,
                                     (const struct kind_name[]){{EXFAT_READ_ONLY, "read-only"},
                                                                {EXFAT_HIDDEN, "hidden"},
                                                                {EXFAT_SYSTEM, "system"},
                                                                {EXFAT_DIRECTORY, "directory"},
                                                                {EXFAT_ARCHIVE, "archive"},
                                                                {0, NULL}}};

const struct kind exfat_kind_secondary = {"flags", kind_hex_format, kind_number_parse, kind_flags_meaning,
                                          (const struct kind_name[]){{FLAG_ALLOCATION, "allocation-possible"},
                                                                     {FLAG_NO_FAT_CHAIN, "no-fat-chain"},
                                                                     {0, NULL}}};

static void time_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    uint32_t v = load_le32(raw);
    (void)field;
    snprintf(out, size, "%04u-%02u-%02u %02u:%02u:%02u", 1980 + (v >> 25), v >> 21 & 15, v >> 16 & 31,
             v >> 11 & 31, v >> 5 & 63, (v & 31) * 2);
}

static void offset_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    unsigned v = *(const uint8_t *)raw;
    int minutes = (int)((v & 0x7F) ^ 0x40) * 15 - 0x40 * 15;
    (void)field;
    if (v & 0x80)
        snprintf(out, size, "UTC%c%02d:%02d", minutes < 0 ? '-' : '+', abs(minutes) / 60, abs(minutes) % 60);
    else
        snprintf(out, size, "local time");
}

const struct kind exfat_kind_time = {"exfat-time", kind_hex_format, kind_number_parse, time_meaning, NULL};
const struct kind exfat_kind_offset = {"exfat-offset", kind_hex_format, kind_number_parse, offset_meaning,
                                       NULL};

static bool boot_check(const struct place *place, const void *raw, struct error *err)
{
    struct exfat_geometry g;
    return exfat_parse_boot(place->device, raw, &g, err);
}

/* The place of a boot region is all of its 12 sectors, so that the checksum can be kept. */
static void boot_seal(const struct place *place, void *raw)
{
    uint32_t ss = place->size / BOOT_SECTORS, sum = exfat_boot_checksum(raw, ss);
    for (uint32_t i = 0; i < ss; i += 4)
        store_le32((uint8_t *)raw + (size_t)(BOOT_SECTORS - 1) * ss + i, sum);
}

/* The other region says the same, unless the volume is read by the backup: it may be all that is left. */
static bool boot_settle(const struct place *place, struct error *err)
{
    const struct exfat *exfat = place->owner;
    if (exfat->boot_off || !exfat->boot_sealed)
        return true;
    uint8_t *region = mem_new(place->size, err);
    bool ok =
        region && device_read(place->device, place->off, region, place->size, err) &&
        device_write(place->device, place->off ? 0 : place->size, region, place->size, WRITE_UPDATE, err);
    free(region);
    return ok;
}

LAYOUT_FIELDS(exfat_boot, EXFAT_BOOT);

const struct layout exfat_boot_layout = {.name = "boot",
                                         .title = "exFAT boot sector",
                                         .spec = "exFAT 3.1",
                                         .size = 512,
                                         LAYOUT_TABLE(exfat_boot),
                                         .check = boot_check,
                                         .seal = boot_seal,
                                         .settle = boot_settle};

static bool parse_shifts(struct device *dev, const uint8_t *boot, struct exfat_geometry *g, struct error *err)
{
    unsigned sector = (unsigned)exfat_boot_BytesPerSectorShift(boot);
    unsigned cluster = (unsigned)exfat_boot_SectorsPerClusterShift(boot);
    if (sector < 9 || sector > 12)
        return damaged(err, dev, 108, "BytesPerSectorShift is %u, not 9 to 12", sector);
    if (cluster > 25 - sector)
        return damaged(err, dev, 109, "SectorsPerClusterShift is %u, at most %u is allowed", cluster,
                       25 - sector);
    g->sector_size = 1u << sector;
    g->cluster_shift = sector + cluster;
    g->cluster_size = 1u << g->cluster_shift;
    return true;
}

static bool parse_regions(struct device *dev, const uint8_t *boot, struct exfat_geometry *g,
                          struct error *err)
{
    uint64_t fat = exfat_boot_FatOffset(boot), fat_length = exfat_boot_FatLength(boot);
    uint64_t heap = exfat_boot_ClusterHeapOffset(boot);
    g->sectors = exfat_boot_VolumeLength(boot);
    g->clusters = (uint32_t)exfat_boot_ClusterCount(boot);
    if (g->sectors == 0 || g->sectors > UINT64_MAX / g->sector_size)
        return damaged(err, dev, 72, "VolumeLength is %llu sectors", (unsigned long long)g->sectors);
    if (fat < 2 * BOOT_SECTORS)
        return damaged(err, dev, 80, "FatOffset is %llu, inside the boot regions", (unsigned long long)fat);
    if (heap < fat + fat_length || heap >= g->sectors)
        return damaged(err, dev, 88, "ClusterHeapOffset is %llu; the FAT ends at %llu, the volume at %llu",
                       (unsigned long long)heap, (unsigned long long)(fat + fat_length),
                       (unsigned long long)g->sectors);
    uint64_t room = (g->sectors - heap) >> (g->cluster_shift - log2_of(g->sector_size));
    if (g->clusters == 0 || g->clusters > room || g->clusters > MAX_CLUSTERS)
        return damaged(err, dev, 92, "ClusterCount is %u; there is room for %llu", g->clusters,
                       (unsigned long long)room);
    if (fat_length * g->sector_size / 4 < (uint64_t)g->clusters + 2)
        return damaged(err, dev, 84, "the FAT of %llu sectors is too short for %u clusters",
                       (unsigned long long)fat_length, g->clusters);
    g->fat_off = fat * g->sector_size;
    g->fat_len = fat_length * g->sector_size;
    g->heap_off = heap * g->sector_size;
    g->root = (uint32_t)exfat_boot_FirstClusterOfRootDirectory(boot);
    if (g->root < 2 || g->root - 2 >= g->clusters)
        return damaged(err, dev, 96, "FirstClusterOfRootDirectory is %u; clusters are 2 to %u", g->root,
                       g->clusters + 1);
    return true;
}

bool exfat_parse_boot(struct device *dev, const uint8_t *boot, struct exfat_geometry *g, struct error *err)
{
    *g = (struct exfat_geometry){.sector_size = 0};
    if (memcmp(exfat_boot_FileSystemName(boot), "EXFAT   ", 8) != 0)
        return damaged(err, dev, 3, "FileSystemName is not \"EXFAT   \"");
    if (!all_zero(exfat_boot_MustBeZero(boot), 53))
        return damaged(err, dev, 11, "the 53 bytes that must be zero are not");
    if (exfat_boot_BootSignature(boot) != 0xAA55)
        return damaged(err, dev, 510, "BootSignature is 0x%04x, not 0xaa55",
                       (unsigned)exfat_boot_BootSignature(boot));
    if (exfat_boot_FileSystemRevision(boot) >> 8 != 1)
        return fail(err, E_UNSUPPORTED, "exFAT revision %u.%02u is unknown (1.00 is known)",
                    (unsigned)exfat_boot_FileSystemRevision(boot) >> 8,
                    (unsigned)exfat_boot_FileSystemRevision(boot) & 255);
    if (exfat_boot_NumberOfFats(boot) == 2)
        return fail(err, E_UNSUPPORTED, "TexFAT (two FATs and bitmaps) is not supported");
    if (exfat_boot_NumberOfFats(boot) != 1)
        return damaged(err, dev, 110, "NumberOfFats is %u, not 1", (unsigned)exfat_boot_NumberOfFats(boot));
    g->serial = (uint32_t)exfat_boot_VolumeSerialNumber(boot);
    g->flags = (unsigned)exfat_boot_VolumeFlags(boot);
    if (g->flags & VOLUME_ACTIVE_FAT)
        return fail(err, E_UNSUPPORTED, "TexFAT (the second FAT is active) is not supported");
    return parse_shifts(dev, boot, g, err) && parse_regions(dev, boot, g, err);
}

uint32_t exfat_boot_checksum(const uint8_t *region, uint32_t sector_size)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < sector_size * (BOOT_SECTORS - 1); i++)
        if (i != 106 && i != 107 && i != 112)
            sum = (sum << 31 | sum >> 1) + region[i];
    return sum;
}

bool exfat_boot_sealed(const uint8_t *region, uint32_t sector_size)
{
    uint32_t sum = exfat_boot_checksum(region, sector_size);
    for (uint32_t i = 0; i < sector_size; i += 4)
        if (load_le32(region + (size_t)(BOOT_SECTORS - 1) * sector_size + i) != sum)
            return false;
    return true;
}

/* A boot region at `off`: can the volume be read by it, and is its checksum right? */
static bool judge_region(struct device *dev, uint64_t off, struct exfat_geometry *g, bool *sealed,
                         struct error *err)
{
    uint8_t boot[512];
    *sealed = false;
    if (!device_read(dev, off, boot, sizeof boot, err) || !exfat_parse_boot(dev, boot, g, err))
        return false;
    size_t size = (size_t)BOOT_SECTORS * g->sector_size;
    if (off + size > dev->size)
        return true;
    uint8_t *region = mem_new(size, err);
    bool ok = region && device_read(dev, off, region, size, err);
    *sealed = ok && exfat_boot_sealed(region, g->sector_size);
    free(region);
    return ok;
}

bool exfat_find_boot(struct device *dev, struct exfat_geometry *g, uint64_t *off, bool *sealed,
                     struct error *err)
{
    struct exfat_geometry backup;
    struct error ignored;
    *off = 0;
    if (dev->size < 512)
        return fail(err, E_DAMAGED, "the device is too small for an exFAT volume");
    bool usable = judge_region(dev, 0, g, sealed, err);
    if (usable ? *sealed : err->kind != E_DAMAGED)
        return usable;
    for (uint64_t ss = 512; ss <= 4096 && 2 * BOOT_SECTORS * ss <= dev->size; ss *= 2) {
        bool right;
        if (!judge_region(dev, BOOT_SECTORS * ss, &backup, &right, &ignored) || backup.sector_size != ss ||
            (usable && !right))
            continue;
        *g = backup;
        *off = BOOT_SECTORS * ss;
        *sealed = right;
        return true;
    }
    return usable;
}

/* Read a boot region through the cache, change it, write it back with its checksum. */
static bool patch_region(struct exfat *exfat, uint32_t first, uint32_t off, const void *bytes, uint32_t n,
                         struct error *err)
{
    uint32_t ss = exfat->g.sector_size;
    uint8_t *region = mem_new((size_t)ss * BOOT_SECTORS, err);
    bool ok = region != NULL;
    for (uint32_t pass = 0; ok && pass < 2; pass++) {
        for (uint32_t i = 0; ok && i < BOOT_SECTORS; i++) {
            struct cache_block *block;
            uint8_t *at = region + (size_t)i * ss;
            ok = cache_get(exfat->meta, (uint64_t)(first + i) * ss, &block, err);
            if (!ok)
                break;
            if (pass == 0) {
                memcpy(at, block->data, ss);
            } else if (memcmp(at, block->data, ss) != 0) {
                memcpy(block->data, at, ss);
                cache_dirty(exfat->meta, block, WRITE_UPDATE);
            }
            cache_release(exfat->meta, block);
        }
        if (ok && pass == 0) {
            memcpy(region + off, bytes, n);
            uint32_t sum = exfat_boot_checksum(region, ss);
            for (uint32_t i = 0; i < ss; i += 4)
                store_le32(region + (size_t)(BOOT_SECTORS - 1) * ss + i, sum);
        }
    }
    free(region);
    return ok;
}

bool exfat_boot_patch(struct exfat *exfat, uint32_t off, const void *bytes, uint32_t n, struct error *err)
{
    return patch_region(exfat, 0, off, bytes, n, err) &&
           patch_region(exfat, BOOT_SECTORS, off, bytes, n, err);
}

/* A value that never was the volume's place (zero is common) says nothing and stays. */
bool exfat_moved(struct fs *fs, uint64_t from, uint64_t to, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    uint8_t raw[exfat_boot_width_PartitionOffset];
    struct cache_block *block;
    if (!cache_get(exfat->meta, exfat->boot_off, &block, err))
        return false;
    bool follows = exfat_boot_PartitionOffset(block->data) == from / exfat->g.sector_size;
    cache_release(exfat->meta, block);
    store_le64(raw, to / exfat->g.sector_size);
    return !follows || exfat_boot_patch(exfat, exfat_boot_off_PartitionOffset, raw, sizeof raw, err);
}

bool exfat_percent_store(struct exfat *exfat, struct error *err)
{
    struct cache_block *block;
    if (!exfat->space.changed || !exfat->space.loaded)
        return true;
    if (!cache_get(exfat->meta, exfat->boot_off, &block, err))
        return false;
    uint64_t used = exfat->g.clusters - exfat->space.free;
    uint8_t percent = (uint8_t)(used * 100 / exfat->g.clusters);
    if (exfat_boot_PercentInUse(block->data) != percent) {
        exfat_boot_set_PercentInUse(block->data, percent);
        cache_dirty(exfat->meta, block, WRITE_UPDATE);
    }
    cache_release(exfat->meta, block);
    exfat->space.changed = false;
    return true;
}
