/* The boot sector, its copy, and FSInfo (FATGEN, "Boot Sector and BPB", "FAT32 FSInfo Sector Structure"). */
#include "fat.h"
#include "localtime.h"

#include <stdio.h>

const struct kind fat_kind_state = {
    "flags", kind_hex_format, kind_number_parse, kind_flags_meaning,
    (const struct kind_name[]){{STATE_DIRTY, "dirty"}, {STATE_ERRORS, "disk-errors"}, {0, NULL}}};

const struct kind fat_kind_attr = {"flags", kind_hex_format, kind_number_parse, kind_flags_meaning,
                                   (const struct kind_name[]){{FAT_LONG_NAME, "long-name"},
                                                              {FAT_READ_ONLY, "read-only"},
                                                              {FAT_HIDDEN, "hidden"},
                                                              {FAT_SYSTEM, "system"},
                                                              {FAT_VOLUME, "volume-label"},
                                                              {FAT_DIRECTORY, "directory"},
                                                              {FAT_ARCHIVE, "archive"},
                                                              {0, NULL}}};

const struct kind fat_kind_case = {
    "flags", kind_hex_format, kind_number_parse, kind_flags_meaning,
    (const struct kind_name[]){{LOWER_BASE, "lower-base"}, {LOWER_EXT, "lower-extension"}, {0, NULL}}};

static void time_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    unsigned v = load_le16(raw);
    (void)field;
    snprintf(out, size, "%02u:%02u:%02u", v >> 11, v >> 5 & 63, (v & 31) * 2);
}

static void date_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    unsigned v = load_le16(raw);
    (void)field;
    if (v == 0)
        snprintf(out, size, "never");
    else
        snprintf(out, size, "%04u-%02u-%02u", 1980 + (v >> 9), v >> 5 & 15, v & 31);
}

const struct kind fat_kind_time = {"fat-time", kind_hex_format, kind_number_parse, time_meaning, NULL};
const struct kind fat_kind_date = {"fat-date", kind_hex_format, kind_number_parse, date_meaning, NULL};

static bool boot_check(const struct place *place, const void *raw, struct error *err)
{
    struct fat_geometry geometry;
    return fat_parse_boot(place->device, raw, &geometry, err);
}

/* The copy says the same, unless it is what the volume is read by: then it may be all that is left. */
static bool boot_settle(const struct place *place, struct error *err)
{
    const struct fat *fat = place->owner;
    uint64_t copy = (uint64_t)fat->g.backup * fat->g.sector_size;
    uint8_t raw[512];
    if (fat->g.backup == 0 || fat->boot_off)
        return true;
    return device_read(place->device, place->off, raw, sizeof raw, err) &&
           device_write(place->device, place->off ? 0 : copy, raw, sizeof raw, WRITE_UPDATE, err);
}

static bool fsinfo_check(const struct place *place, const void *raw, struct error *err)
{
    if (fat_fsinfo_FSI_LeadSig(raw) != 0x41615252 || fat_fsinfo_FSI_StrucSig(raw) != 0x61417272 ||
        fat_fsinfo_FSI_TrailSig(raw) != 0xAA550000)
        return damaged(err, place->device, place->off, "the signatures of FSInfo are wrong");
    return true;
}

LAYOUT_FIELDS(fat_boot16, FAT_BOOT16);
LAYOUT_FIELDS(fat_boot32, FAT_BOOT32);
LAYOUT_FIELDS(fat_fsinfo, FAT_FSINFO);

const struct layout fat_boot16_layout = {.name = "boot",
                                         .title = "FAT boot sector",
                                         .spec = "FATGEN: Boot Sector and BPB",
                                         .size = 512,
                                         LAYOUT_TABLE(fat_boot16),
                                         .check = boot_check};
const struct layout fat_boot32_layout = {.name = "boot32",
                                         .title = "FAT32 boot sector",
                                         .spec = "FATGEN: Boot Sector and BPB",
                                         .size = 512,
                                         LAYOUT_TABLE(fat_boot32),
                                         .check = boot_check,
                                         .settle = boot_settle};
const struct layout fat_fsinfo_layout = {.name = "fsinfo",
                                         .title = "FAT32 FSInfo",
                                         .spec = "FATGEN: FAT32 FSInfo Sector Structure",
                                         .size = 512,
                                         LAYOUT_TABLE(fat_fsinfo),
                                         .check = fsinfo_check};

static bool parse_bpb(struct device *dev, const uint8_t *boot, struct fat_geometry *g, struct error *err)
{
    uint32_t per_cluster = (uint32_t)fat_bpb_BPB_SecPerClus(boot);
    g->sector_size = (uint32_t)fat_bpb_BPB_BytsPerSec(boot);
    if (!is_power_of_two(g->sector_size) || g->sector_size < 512 || g->sector_size > 4096)
        return damaged(err, dev, 11, "BPB_BytsPerSec is %u, not 512, 1024, 2048 or 4096", g->sector_size);
    if (!is_power_of_two(per_cluster))
        return damaged(err, dev, 13, "BPB_SecPerClus is %u, not a power of two", per_cluster);
    g->cluster_size = per_cluster * g->sector_size;
    g->cluster_shift = log2_of(g->cluster_size);
    g->reserved = (uint32_t)fat_bpb_BPB_RsvdSecCnt(boot);
    if (g->reserved == 0)
        return damaged(err, dev, 14, "BPB_RsvdSecCnt is 0, but the boot sector itself needs one");
    g->fats = (uint32_t)fat_bpb_BPB_NumFATs(boot);
    if (g->fats == 0)
        return damaged(err, dev, 16, "BPB_NumFATs is 0");
    g->root_entries = (uint32_t)fat_bpb_BPB_RootEntCnt(boot);
    g->media = (uint8_t)fat_bpb_BPB_Media(boot);
    if (g->media != 0xF0 && g->media < 0xF8)
        return damaged(err, dev, 21, "BPB_Media is 0x%02x, not 0xf0 or 0xf8 to 0xff", g->media);
    g->sectors = fat_bpb_BPB_TotSec16(boot);
    if (g->sectors == 0)
        g->sectors = fat_bpb_BPB_TotSec32(boot);
    g->fat_sectors = (uint32_t)fat_bpb_BPB_FATSz16(boot);
    return true;
}

static bool parse_fat32(struct device *dev, const uint8_t *boot, struct fat_geometry *g, struct error *err)
{
    unsigned flags = (unsigned)fat_boot32_BPB_ExtFlags(boot);
    g->bits = 32;
    g->fat_sectors = (uint32_t)fat_boot32_BPB_FATSz32(boot);
    if (g->root_entries != 0)
        return damaged(err, dev, 17, "BPB_RootEntCnt is %u on FAT32, not 0", g->root_entries);
    if (fat_boot32_BPB_FSVer(boot) != 0)
        return fail(err, E_UNSUPPORTED, "FAT32 version %u.%u is unknown (0.0 is known)",
                    (unsigned)fat_boot32_BPB_FSVer(boot) >> 8, (unsigned)fat_boot32_BPB_FSVer(boot) & 255);
    g->mirrored = !(flags & 0x80);
    g->active_fat = g->mirrored ? 0 : flags & 15;
    if (g->active_fat >= g->fats)
        return damaged(err, dev, 40, "BPB_ExtFlags makes FAT %u the active one of %u", g->active_fat,
                       g->fats);
    g->root = (uint32_t)fat_boot32_BPB_RootClus(boot);
    g->fsinfo = (uint32_t)fat_boot32_BPB_FSInfo(boot);
    g->backup = (uint32_t)fat_boot32_BPB_BkBootSec(boot);
    if (g->fsinfo == 0xFFFF || g->fsinfo >= g->reserved)
        g->fsinfo = 0;
    if (g->backup == 0xFFFF || g->backup >= g->reserved)
        g->backup = 0;
    if (g->fsinfo && g->fsinfo == g->backup) { /* whichever it is, writing the other would destroy it */
        g->clash = g->fsinfo;
        g->fsinfo = g->backup = 0;
    }
    return true;
}

/* Where the regions lie, and how many clusters both the volume and its FAT have room for. */
static bool place_regions(struct device *dev, struct fat_geometry *g, struct error *err)
{
    uint64_t root_sectors = div_up((uint64_t)g->root_entries * ENTRY_SIZE, g->sector_size);
    uint64_t data = g->reserved + (uint64_t)g->fats * g->fat_sectors + root_sectors;
    if (g->fat_sectors == 0)
        return damaged(err, dev, g->bits == 32 ? 36 : 22, "the FAT has 0 sectors");
    if (data >= g->sectors)
        return damaged(err, dev, 19, "the volume has %llu sectors, but its data begins at sector %llu",
                       (unsigned long long)g->sectors, (unsigned long long)data);
    uint64_t clusters = (g->sectors - data) / (g->cluster_size / g->sector_size);
    if (g->bits != 32)
        g->bits = clusters < FAT12_LIMIT ? 12 : 16;
    if (clusters == 0)
        return damaged(err, dev, 19, "the volume has no room for a cluster");
    if (clusters >= (g->bits == 32 ? FAT32_LIMIT + 1 : FAT16_LIMIT))
        return damaged(err, dev, 19, "%llu clusters are more than FAT%u can address",
                       (unsigned long long)clusters, g->bits);
    g->fat_len = (uint64_t)g->fat_sectors * g->sector_size;
    uint64_t addressed = g->fat_len * 8 / g->bits;
    if (addressed <= 2)
        return damaged(err, dev, 22, "the FAT of %u sectors describes no cluster", g->fat_sectors);
    g->clusters = (uint32_t)MIN_OF(clusters, addressed - 2);
    g->fat_off = (uint64_t)g->reserved * g->sector_size;
    g->root_off = g->fat_off + g->fats * g->fat_len;
    g->root_len = (uint64_t)g->root_entries * ENTRY_SIZE;
    g->data_off = data * g->sector_size;
    return true;
}

bool fat_parse_boot(struct device *dev, const uint8_t *boot, struct fat_geometry *g, struct error *err)
{
    *g = (struct fat_geometry){.mirrored = true};
    if (!parse_bpb(dev, boot, g, err))
        return false;
    /* The 16-bit form has FATs of at least one sector and a fixed root; without both it can only be FAT32. */
    if (g->fat_sectors == 0 && !parse_fat32(dev, boot, g, err))
        return false;
    if (!place_regions(dev, g, err))
        return false;
    if (g->bits == 32 && (g->root < 2 || g->root - 2 >= g->clusters))
        return damaged(err, dev, 44, "BPB_RootClus is %u; clusters are 2 to %u", g->root, g->clusters + 1);
    if (g->bits != 32 && g->root_entries == 0)
        return damaged(err, dev, 17, "BPB_RootEntCnt is 0 on FAT%u", g->bits);
    return true;
}

bool fat_find_boot(struct device *dev, struct fat_geometry *g, uint64_t *off, struct error *err)
{
    uint8_t boot[512];
    struct error ignored;
    *off = 0;
    if (dev->size < sizeof boot)
        return fail(err, E_DAMAGED, "the device is too small for a FAT volume");
    if (!device_read(dev, 0, boot, sizeof boot, err))
        return false;
    if (fat_parse_boot(dev, boot, g, err))
        return true;
    /* The copy lies in sector 6, whatever a sector is. */
    for (uint64_t ss = 512; err->kind == E_DAMAGED && ss <= 4096 && 7 * ss <= dev->size; ss *= 2)
        if (device_read(dev, 6 * ss, boot, sizeof boot, &ignored) && load_le16(boot + 510) == 0xAA55 &&
            memcmp(boot + fat_boot32_off_BS_FilSysType, "FAT32", 5) == 0 &&
            fat_parse_boot(dev, boot, g, &ignored) && g->sector_size == ss && g->backup == 6) {
            *off = 6 * ss;
            return true;
        }
    return false;
}

uint8_t *fat_boot_state(const struct fat_geometry *g, uint8_t *boot)
{
    return boot + (g->bits == 32 ? fat_boot32_off_BS_Reserved1 : fat_boot16_off_BS_Reserved1);
}

uint8_t *fat_boot_label(const struct fat_geometry *g, uint8_t *boot)
{
    return boot + (g->bits == 32 ? fat_boot32_off_BS_VolLab : fat_boot16_off_BS_VolLab);
}

uint8_t *fat_boot_volume_id(const struct fat_geometry *g, uint8_t *boot)
{
    return boot + (g->bits == 32 ? fat_boot32_off_BS_VolID : fat_boot16_off_BS_VolID);
}

bool fat_boot_has_label(const struct fat_geometry *g, uint8_t *boot)
{
    return boot[g->bits == 32 ? fat_boot32_off_BS_BootSig : fat_boot16_off_BS_BootSig] == 0x29;
}

bool fat_boot_patch(struct fat *fat, uint32_t off, const void *bytes, uint32_t n, struct error *err)
{
    uint32_t sectors[2] = {0, fat->g.backup};
    for (unsigned i = 0; i < 1 + (fat->g.backup != 0); i++) {
        struct cache_block *block;
        if (!cache_get(fat->meta, (uint64_t)sectors[i] * fat->g.sector_size, &block, err))
            return false;
        if (memcmp(block->data + off, bytes, n) != 0) {
            memcpy(block->data + off, bytes, n);
            cache_dirty(fat->meta, block, WRITE_UPDATE);
        }
        cache_release(fat->meta, block);
    }
    return true;
}

/* A value that never was the volume's place (zero is common) says nothing and stays. */
bool fat_moved(struct fs *fs, uint64_t from, uint64_t to, struct error *err)
{
    struct fat *fat = fat_of(fs);
    uint64_t old = from / fat->g.sector_size, hidden = to / fat->g.sector_size;
    uint8_t raw[fat_bpb_width_BPB_HiddSec];
    struct cache_block *block;
    if (!cache_get(fat->meta, 0, &block, err))
        return false;
    bool follows = fat_bpb_BPB_HiddSec(block->data) == old;
    cache_release(fat->meta, block);
    store_le32(raw, hidden <= UINT32_MAX ? (uint32_t)hidden : 0);
    return !follows || fat_boot_patch(fat, fat_bpb_off_BPB_HiddSec, raw, sizeof raw, err);
}

bool fat_fsinfo_store(struct fat *fat, struct error *err)
{
    struct cache_block *block;
    if (fat->g.fsinfo == 0 || !fat->space.changed || !fat->space.loaded)
        return true;
    if (!cache_get(fat->meta, (uint64_t)fat->g.fsinfo * fat->g.sector_size, &block, err))
        return false;
    uint8_t *raw = block->data;
    if (fat_fsinfo_FSI_LeadSig(raw) == 0x41615252 && fat_fsinfo_FSI_StrucSig(raw) == 0x61417272) {
        fat_fsinfo_set_FSI_Free_Count(raw, fat->space.free);
        fat_fsinfo_set_FSI_Nxt_Free(raw, fat->space.cursor);
        cache_dirty(fat->meta, block, WRITE_UPDATE);
    }
    cache_release(fat->meta, block);
    fat->space.changed = false;
    return true;
}
