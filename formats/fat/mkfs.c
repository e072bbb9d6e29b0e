/*
 * mkfs: the geometry is that of mkfs.fat 4.2, field by field, so that volumes made by either are alike: the
 * same cluster sizes, structures aligned to clusters above 8192 sectors, whole tracks, floppy formats by
 * their sizes.
 */
#include "fat.h"
#include "localtime.h"

#include <stdio.h>

const struct option fat_make_options[] = {
    {"fat_bits", OPTION_WORD, "12|16|32", "width of the FAT; chosen by size unless given"},
    {"sector_size", OPTION_SIZE, NULL, "bytes in a sector: 512 to 4096"},
    {"cluster_size", OPTION_SIZE, NULL, "bytes in a cluster: a power of two, at most 128 sectors"},
    {"sectors_per_cluster", OPTION_NUMBER, NULL, "the same in sectors"},
    {"fats", OPTION_NUMBER, NULL, "copies of the FAT: 1 or 2 (default 2)"},
    {"reserved", OPTION_NUMBER, NULL, "sectors before the first FAT (default 1, FAT32 32)"},
    {"root_entries", OPTION_NUMBER, NULL, "entries of the root directory (FAT12, FAT16; default 512)"},
    {"backup", OPTION_NUMBER, NULL, "sector of the boot sector's copy (FAT32; default 6)"},
    {"media", OPTION_NUMBER, NULL, "media byte: 0xf0 or 0xf8 to 0xff"},
    {"hidden", OPTION_NUMBER, NULL, "sectors on the disk before the volume (default: as it is)"},
    {"codepage", OPTION_NUMBER, NULL, "code page of the label's bytes"},
    {"align", OPTION_FLAG, NULL,
     "whole tracks, and FATs and clusters aligned to the cluster size (default on)"},
    {NULL, 0, NULL, NULL},
};

struct plan {
    uint32_t sector_size, per_cluster, max_per_cluster, fats, reserved, root_entries, heads, track, backup;
    uint32_t bits, fat_sectors, clusters, hidden, volume_id;
    uint64_t sectors;
    bool align, bits_given;
    uint8_t media, label[SHORT_NAME];
    bool has_label;
};

/* The standard floppy formats, by the number of 512-byte sectors. */
static const struct floppy {
    uint32_t sectors;
    uint8_t track, media, per_cluster;
    uint16_t root_entries;
} floppies[] = {
    {720, 9, 0xFD, 2, 112},   {1440, 9, 0xF9, 2, 112},  {2400, 15, 0xF9, 1, 224},
    {2880, 18, 0xF0, 1, 224}, {5760, 36, 0xF0, 2, 224},
};

/* BIOS translation as SD cards prescribe it: heads and track length by the number of sectors. */
static const struct {
    uint64_t sectors;
    uint16_t heads, track;
} geometries[] = {
    {4096, 2, 16},     {32768, 2, 32},    {65536, 4, 32},    {262144, 8, 32},    {524288, 16, 32},
    {1032192, 16, 63}, {2064384, 32, 63}, {4128768, 64, 63}, {8257536, 128, 63}, {UINT64_MAX, 255, 63},
};

static uint32_t fat32_cluster(uint64_t sectors)
{
    return sectors > 67108864   ? 64
           : sectors > 33554432 ? 32
           : sectors > 16777216 ? 16
           : sectors > 532480   ? 8
                                : 1;
}

static void set_geometry(struct plan *plan, uint64_t size)
{
    const struct floppy *floppy = NULL;
    for (size_t i = 0; i < ARRAY_LEN(floppies); i++)
        if (plan->sectors == floppies[i].sectors && plan->sector_size == 512)
            floppy = &floppies[i];
    plan->root_entries = floppy ? floppy->root_entries : 512;
    size_t row = 0;
    while (plan->sectors > geometries[row].sectors)
        row++;
    plan->heads = floppy ? 2 : geometries[row].heads;
    plan->track = floppy ? floppy->track : geometries[row].track;
    plan->media = floppy ? floppy->media : 0xF8;
    if (plan->bits == 0 && size >= 512 * MiB)
        plan->bits = 32;
    plan->per_cluster = plan->bits == 32 ? fat32_cluster(plan->sectors) : floppy ? floppy->per_cluster : 4;
}

static bool take_cluster_option(struct plan *plan, const struct options *options, struct error *err)
{
    plan->max_per_cluster = 128;
    if (!options_has(options, "cluster_size") && !options_has(options, "sectors_per_cluster"))
        return true;
    uint64_t size = options_has(options, "cluster_size")
                        ? options_number(options, "cluster_size", 0)
                        : options_number(options, "sectors_per_cluster", 0) * plan->sector_size;
    if (!is_power_of_two(size) || size < plan->sector_size || size / plan->sector_size > 128)
        return fail(err, E_INVALID, "a cluster has 1, 2, 4 ... 128 sectors of %u bytes, not %llu bytes",
                    plan->sector_size, (unsigned long long)size);
    plan->per_cluster = plan->max_per_cluster = (uint32_t)(size / plan->sector_size);
    return true;
}

static bool in_range(const struct options *options, const char *name, uint64_t otherwise, uint64_t min,
                     uint64_t max, uint32_t *out, struct error *err)
{
    uint64_t value = options_number(options, name, otherwise);
    if (value < min || value > max)
        return fail(err, E_INVALID, "%s is %llu to %llu, not %llu", name, (unsigned long long)min,
                    (unsigned long long)max, (unsigned long long)value);
    *out = (uint32_t)value;
    return true;
}

static bool take_options(struct plan *plan, struct device *dev, const struct mkfs_params *params,
                         struct error *err)
{
    const struct options *o = params->options;
    uint32_t media = 0, hidden = 0;
    plan->align = options_flag(o, "align", true);
    plan->bits = strcmp(params->type, "fat12") == 0   ? 12
                 : strcmp(params->type, "fat16") == 0 ? 16
                 : strcmp(params->type, "fat32") == 0 ? 32
                                                      : (uint32_t)atoi(options_text(o, "fat_bits", "0"));
    plan->bits_given = plan->bits != 0;
    plan->sector_size = (uint32_t)options_number(o, "sector_size", MAX_OF(dev->block_size, 512));
    if (!is_power_of_two(plan->sector_size) || plan->sector_size < 512 || plan->sector_size > 4096)
        return fail(err, E_INVALID, "sector_size is 512, 1024, 2048 or 4096, not %u", plan->sector_size);
    if (dev->size / plan->sector_size > UINT32_MAX)
        return fail(err, E_TOOBIG, "a FAT volume has at most 4294967295 sectors");
    plan->sectors = dev->size / plan->sector_size;
    set_geometry(plan, dev->size);
    if (params->start / plan->sector_size <= UINT32_MAX)
        hidden = (uint32_t)(params->start / plan->sector_size);
    if (!take_cluster_option(plan, o, err) || !in_range(o, "fats", 2, 1, 2, &plan->fats, err) ||
        !in_range(o, "reserved", plan->bits == 32 ? 32 : 1, plan->bits == 32 ? 2 : 1, 65535, &plan->reserved,
                  err) ||
        !in_range(o, "root_entries", plan->root_entries, 1, 65535, &plan->root_entries, err) ||
        !in_range(o, "hidden", hidden, 0, UINT32_MAX, &plan->hidden, err) ||
        !in_range(o, "media", plan->media, 0xF0, 0xFF, &media, err))
        return false;
    if (media > 0xF0 && media < 0xF8)
        return fail(err, E_INVALID, "media is 0xf0 or 0xf8 to 0xff, not 0x%02x", media);
    plan->media = (uint8_t)media;
    if (plan->align)
        plan->sectors -= plan->sectors % plan->track;
    plan->align = plan->align && plan->sectors > 8192;
    return true;
}

static uint64_t align_up(const struct plan *plan, uint64_t sectors)
{
    return plan->align ? round_up(sectors, plan->per_cluster) : sectors;
}

static uint64_t root_sectors(const struct plan *plan)
{
    return plan->bits == 32 ? 0
                            : align_up(plan, div_up((uint64_t)plan->root_entries * 32, plan->sector_size));
}

/*
 * FAT length and clusters for one width at the plan's cluster size; false when it does not fit the width.
 * Twice the bytes of an entry keep 12 bits whole. What rounding leaves over may hold one more cluster.
 */
static bool try_width(struct plan *plan, unsigned bits, uint32_t *fat_sectors, uint32_t *clusters)
{
    static const uint32_t max[] = {FAT12_LIMIT - 1, FAT16_LIMIT - 1, FAT32_LIMIT};
    uint64_t head = align_up(plan, plan->reserved);
    if (bits != 32)
        head += align_up(plan, div_up((uint64_t)plan->root_entries * 32, plan->sector_size));
    if (head >= plan->sectors)
        return false;
    uint64_t data = plan->sectors - head, entry2 = bits / 4;
    uint64_t count = (2 * data * plan->sector_size + 2 * plan->fats * entry2) /
                     (2 * (uint64_t)plan->per_cluster * plan->sector_size + plan->fats * entry2);
    uint64_t length = align_up(plan, div_up(((count + 2) * entry2 + 1) / 2, plan->sector_size));
    if (plan->fats * length >= data)
        return false;
    count = (data - plan->fats * length) / plan->per_cluster;
    *fat_sectors = (uint32_t)length;
    *clusters = (uint32_t)MIN_OF(count, UINT32_MAX);
    if (count == 0 ||
        count > max[bits == 12   ? 0
                    : bits == 16 ? 1
                                 : 2] ||
        length > (bits == 32 ? UINT32_MAX : 65535))
        return false;
    if (count > length * plan->sector_size * 2 / entry2 - 2)
        return false;
    return bits != 16 || count >= FAT12_LIMIT;
}

/* Clusters double until the width wanted, or one of FAT12 and FAT16, can count them. */
static bool choose(struct plan *plan, struct error *err)
{
    for (; plan->per_cluster <= plan->max_per_cluster; plan->per_cluster *= 2) {
        uint32_t sectors12, sectors16, clusters12, clusters16;
        if (plan->bits == 32) {
            if (try_width(plan, 32, &plan->fat_sectors, &plan->clusters) &&
                (plan->bits_given || plan->clusters >= FAT16_LIMIT))
                return true;
            continue;
        }
        bool ok12 = plan->bits != 16 && try_width(plan, 12, &sectors12, &clusters12);
        bool ok16 = plan->bits != 12 && try_width(plan, 16, &sectors16, &clusters16);
        if (!ok12 && !ok16)
            continue;
        bool wide = ok16 && (!ok12 || clusters16 > clusters12);
        plan->bits = wide ? 16 : 12;
        plan->fat_sectors = wide ? sectors16 : sectors12;
        plan->clusters = wide ? clusters16 : clusters12;
        return true;
    }
    if (plan->bits == 32 && !plan->bits_given) {
        plan->bits = 0;
        plan->per_cluster = plan->max_per_cluster;
        return choose(plan, err);
    }
    return fail(err, E_INVALID, "%llu sectors of %u bytes are too few or too many for FAT%s%s",
                (unsigned long long)plan->sectors, plan->sector_size,
                plan->bits == 16   ? "16"
                : plan->bits == 12 ? "12"
                : plan->bits       ? "32"
                                   : "",
                plan->max_per_cluster < 128 ? " with this cluster size" : "");
}

static bool set_backup(struct plan *plan, const struct options *options, struct error *err)
{
    uint32_t otherwise = plan->reserved >= 7 ? 6 : plan->reserved - 1;
    plan->backup = (uint32_t)options_number(options, "backup", otherwise > 1 ? otherwise : 0);
    if (plan->backup == 1 || plan->backup >= plan->reserved)
        return fail(err, E_INVALID, "backup is 0 or a reserved sector from 2 to %u, not %u",
                    plan->reserved - 1, plan->backup);
    return true;
}

static bool set_identity(struct plan *plan, const struct mkfs_params *params, struct error *err)
{
    const struct codepage *page = codepage_default();
    unsigned number = (unsigned)options_number(params->options, "codepage", page->number);
    page = codepage_find(number);
    if (!page)
        return fail(err, E_INVALID, "there is no code page %u", number);
    plan->has_label = params->label && params->label[0];
    if (plan->has_label && !fat_label_encode(page, params->label, plan->label, err))
        return false;
    if (!plan->has_label)
        memcpy(plan->label, "NO NAME    ", SHORT_NAME);
    if (params->uuid)
        return dosname_parse_serial(params->uuid, "a FAT volume id", &plan->volume_id, err);
    params->random(&plan->volume_id, sizeof plan->volume_id);
    return true;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void fill_bpb(const struct plan *plan, uint8_t *boot)
{
    memcpy(fat_bpb_BS_OEMName(boot), "mkfs.fat", 8);
    fat_bpb_set_BPB_BytsPerSec(boot, plan->sector_size);
    fat_bpb_set_BPB_SecPerClus(boot, plan->per_cluster);
    fat_bpb_set_BPB_RsvdSecCnt(boot, plan->reserved);
    fat_bpb_set_BPB_NumFATs(boot, plan->fats);
    fat_bpb_set_BPB_RootEntCnt(boot, plan->bits == 32 ? 0 : plan->root_entries);
    fat_bpb_set_BPB_TotSec16(boot, plan->sectors < 65536 ? plan->sectors : 0);
    fat_bpb_set_BPB_Media(boot, plan->media);
    fat_bpb_set_BPB_FATSz16(boot, plan->bits == 32 ? 0 : plan->fat_sectors);
    fat_bpb_set_BPB_SecPerTrk(boot, plan->track);
    fat_bpb_set_BPB_NumHeads(boot, plan->heads);
    fat_bpb_set_BPB_HiddSec(boot, plan->hidden);
    fat_bpb_set_BPB_TotSec32(boot, plan->sectors < 65536 ? 0 : plan->sectors);
}

/* Real-mode code that prints a message, waits for a key and starts the next boot device. */
static void fill_boot_code(uint8_t *boot, uint32_t at)
{
    static const uint8_t code[] = {
        0x31, 0xC0, 0x8E, 0xD8,       /* xor ax, ax; mov ds, ax */
        0xBE, 0x00, 0x00,             /* mov si, message */
        0xAC, 0x08, 0xC0, 0x74, 0x09, /* next: lodsb; or al, al; jz wait */
        0xB4, 0x0E, 0xBB, 0x07, 0x00, /* mov ah, 0x0e; mov bx, 7 */
        0xCD, 0x10, 0xEB, 0xF2,       /* int 0x10; jmp next */
        0x31, 0xC0, 0xCD, 0x16,       /* wait: xor ax, ax; int 0x16 */
        0xCD, 0x19, 0xEB, 0xFE,       /* int 0x19; jmp $ */
    };
    static const char message[] = "This volume holds no system to start.\r\nRemove it and press a key.\r\n";
    boot[0] = 0xEB;
    boot[1] = (uint8_t)(at - 2);
    boot[2] = 0x90;
    memcpy(boot + at, code, sizeof code);
    store_le16(boot + at + 5, (uint16_t)(0x7C00 + at + sizeof code));
    memcpy(boot + at + sizeof code, message, sizeof message);
    store_le16(boot + 510, 0xAA55);
}

static void fill_boot(const struct plan *plan, uint8_t *boot)
{
    uint8_t drive = plan->media == 0xF8 ? 0x80 : 0;
    char type[9];
    fill_bpb(plan, boot);
    snprintf(type, sizeof type, "FAT%u   ", plan->bits);
    if (plan->bits == 32) {
        fat_boot32_set_BPB_FATSz32(boot, plan->fat_sectors);
        fat_boot32_set_BPB_RootClus(boot, 2);
        fat_boot32_set_BPB_FSInfo(boot, 1);
        fat_boot32_set_BPB_BkBootSec(boot, plan->backup);
        fat_boot32_set_BS_DrvNum(boot, drive);
        fat_boot32_set_BS_BootSig(boot, 0x29);
        fat_boot32_set_BS_VolID(boot, plan->volume_id);
        memcpy(fat_boot32_BS_VolLab(boot), plan->label, SHORT_NAME);
        memcpy(fat_boot32_BS_FilSysType(boot), type, 8);
        fill_boot_code(boot, fat_boot32_off_BS_BootCode32);
        return;
    }
    fat_boot16_set_BS_DrvNum(boot, drive);
    fat_boot16_set_BS_BootSig(boot, 0x29);
    fat_boot16_set_BS_VolID(boot, plan->volume_id);
    memcpy(fat_boot16_BS_VolLab(boot), plan->label, SHORT_NAME);
    memcpy(fat_boot16_BS_FilSysType(boot), type, 8);
    fill_boot_code(boot, fat_boot16_off_BS_BootCode);
}

static void fill_fsinfo(const struct plan *plan, uint8_t *raw)
{
    fat_fsinfo_set_FSI_LeadSig(raw, 0x41615252);
    fat_fsinfo_set_FSI_StrucSig(raw, 0x61417272);
    fat_fsinfo_set_FSI_Free_Count(raw, plan->clusters - 1);
    fat_fsinfo_set_FSI_Nxt_Free(raw, 2);
    fat_fsinfo_set_FSI_TrailSig(raw, 0xAA550000);
}

static bool write_boot_region(const struct plan *plan, struct device *dev, struct error *err)
{
    uint8_t boot[512] = {0}, info[512] = {0};
    uint64_t ss = plan->sector_size;
    fill_boot(plan, boot);
    if (!device_write(dev, 0, boot, sizeof boot, WRITE_UPDATE, err))
        return false;
    if (plan->bits != 32)
        return true;
    fill_fsinfo(plan, info);
    if (!device_write(dev, ss, info, sizeof info, WRITE_UPDATE, err))
        return false;
    if (plan->backup == 0)
        return true;
    return device_write(dev, plan->backup * ss, boot, sizeof boot, WRITE_UPDATE, err) &&
           (plan->backup + 1 >= plan->reserved ||
            device_write(dev, (plan->backup + 1) * ss, info, sizeof info, WRITE_UPDATE, err));
}

/* Entry 0 repeats the media byte, entry 1 holds the clean bits, entry 2 on FAT32 is the root directory. */
static bool write_fats(const struct plan *plan, struct device *dev, struct error *err)
{
    uint8_t head[12] = {plan->media, 0xFF, 0xFF, 0xFF};
    size_t n = plan->bits == 12 ? 3 : plan->bits == 16 ? 4 : 12;
    if (plan->bits == 32) {
        store_le32(head, 0x0FFFFF00u | plan->media);
        store_le32(head + 4, 0x0FFFFFFF);
        store_le32(head + 8, 0x0FFFFFF8);
    }
    for (uint32_t i = 0; i < plan->fats; i++) {
        uint64_t off = ((uint64_t)plan->reserved + (uint64_t)i * plan->fat_sectors) * plan->sector_size;
        if (!device_write(dev, off, head, n, WRITE_UPDATE, err))
            return false;
    }
    return true;
}

static bool write_label(const struct plan *plan, struct device *dev, const struct mkfs_params *params,
                        struct error *err)
{
    uint8_t entry[ENTRY_SIZE] = {0};
    struct fs_attr attr = {.mtime = params->now, .atime = params->now, .crtime = params->now};
    if (!plan->has_label)
        return true;
    attr.crtime.nsec = 0;
    attr.crtime.sec -= attr.crtime.sec % 2;
    memcpy(entry, plan->label, SHORT_NAME);
    fat_entry_set_DIR_Attr(entry, FAT_VOLUME);
    fat_entry_set_times(entry, &attr, ATTR_MTIME | ATTR_ATIME | ATTR_CRTIME);
    uint64_t off = ((uint64_t)plan->reserved + (uint64_t)plan->fats * plan->fat_sectors) * plan->sector_size;
    return device_write(dev, off, entry, sizeof entry, WRITE_UPDATE, err);
}

bool fat_mkfs(struct device *dev, const struct mkfs_params *params, struct error *err)
{
    struct plan plan = {0};
    if (!take_options(&plan, dev, params, err) || !set_identity(&plan, params, err) || !choose(&plan, err))
        return false;
    plan.reserved = (uint32_t)align_up(&plan, plan.reserved);
    if (plan.reserved > 65535)
        return fail(err, E_INVALID, "%u reserved sectors are more than the 65535 allowed", plan.reserved);
    if (plan.bits == 32 && !set_backup(&plan, params->options, err))
        return false;
    if (plan.align)
        plan.root_entries = (uint32_t)MIN_OF(root_sectors(&plan) * (plan.sector_size / 32), 65535);
    uint64_t zero = plan.reserved + (uint64_t)plan.fats * plan.fat_sectors +
                    (plan.bits == 32 ? plan.per_cluster : root_sectors(&plan));
    return device_zero(dev, 0, zero * plan.sector_size, WRITE_UPDATE, err) &&
           write_boot_region(&plan, dev, err) && write_fats(&plan, dev, err) &&
           write_label(&plan, dev, params, err);
}
