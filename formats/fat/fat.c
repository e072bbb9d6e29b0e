/* The FAT driver: probing, opening, and the table through which the engine reaches the rest. */
#include "fat.h"
#include "localtime.h"

#include <stdio.h>

enum { META_BYTES = 16 * 1024 * 1024 };

static unsigned fat_probe(struct device *dev)
{
    uint8_t boot[512];
    struct fat_geometry g;
    struct error ignored;
    uint64_t off;
    if (dev->size < sizeof boot || !device_read(dev, 0, boot, sizeof boot, &ignored))
        return 0;
    bool signature = load_le16(boot + 510) == 0xAA55;
    bool typed = signature && (memcmp(boot + fat_boot16_off_BS_FilSysType, "FAT1", 4) == 0 ||
                               memcmp(boot + fat_boot32_off_BS_FilSysType, "FAT32", 5) == 0);
    bool jump = boot[0] == 0xEB || boot[0] == 0xE9;
    if (!fat_find_boot(dev, &g, &off, &ignored) || off != 0)
        return off != 0 || (typed && jump) ? 40 : 0;
    return 32 + 16 * signature + 8 * jump + 24 * typed;
}

/* The volume flags: one in the boot sector, two in FAT entry 1 (FATGEN, "FAT Volume Initialization"). */
static bool read_state(struct fat *fat, struct error *err)
{
    struct cache_block *block;
    uint32_t value;
    if (!cache_get(fat->meta, fat->boot_off, &block, err))
        return false;
    uint8_t state = *fat_boot_state(&fat->g, block->data);
    cache_release(fat->meta, block);
    if (!fat_get_raw(fat, 1, &value, err))
        return false;
    bool clean = fat->g.bits == 12 || (value & (fat->g.bits == 16 ? 0x8000 : 0x08000000));
    if ((state & STATE_DIRTY) || !clean)
        snprintf(fat->fs.note, sizeof fat->fs.note,
                 "the volume was not unmounted cleanly; fsck shows whether something was lost");
    return true;
}

static void set_limits(struct fat *fat)
{
    int64_t shift = localtime_offset() * 60;
    fat->limits = (struct fs_limits){
        .max_file_size = MAX_FILE_SIZE,
        .max_name = MAX_NAME,
        .name_utf16 = true,
        .case_insensitive = true,
        .time_ns = 2000000000,
        .time_min = 315532800 - shift,  /* 1980-01-01 00:00:00 local */
        .time_max = 4354819198 - shift, /* 2107-12-31 23:59:58 local */
        .local_times = true,
    };
    fat->fs.limits = &fat->limits;
}

void fat_set_change(struct fat *fat)
{
    uint64_t size = fat->g.sectors * fat->g.sector_size;
    fat->fs.change = FS_IN_PLACE;
    fat->fs.why[0] = '\0';
    fat->fs.mendable = false;
    if (fat->boot_off) {
        fat->fs.change = FS_NEVER;
        fat->fs.mendable = true;
        snprintf(fat->fs.why, sizeof fat->fs.why,
                 "the boot sector is damaged and its copy in sector %u is used; fsck --repair restores it",
                 fat->g.backup);
    }
    if (size > fat->fs.device->size) {
        fat->fs.change = FS_NEVER;
        fat->fs.mendable = false;
        snprintf(fat->fs.why, sizeof fat->fs.why, "the volume has %llu bytes, the device only %llu",
                 (unsigned long long)size, (unsigned long long)fat->fs.device->size);
    }
}

static bool load(struct fat *fat, struct error *err)
{
    struct device *dev = fat->fs.device;
    if (!fat_find_boot(dev, &fat->g, &fat->boot_off, err))
        return false;
    if (fat->g.data_off > dev->size)
        return damaged(err, dev, 0, "the device ends before the clusters begin");
    fat->fs.type = fat->g.bits == 12 ? "fat12" : fat->g.bits == 16 ? "fat16" : "fat32";
    fat->fs.note[0] = '\0';
    set_limits(fat);
    fat_set_change(fat);
    fat->codepage = codepage_default();
    fat->meta = cache_new(dev, fat->g.sector_size, META_BYTES, NULL, NULL, err);
    fat->chains = chains_new(fat->g.clusters, fat_chain_step, fat, err);
    if (!fat->meta || !fat->chains || !fat_table_open(fat, err) || !read_state(fat, err) ||
        !fat_read_label(fat, err))
        return false;
    if (fat->boot_off)
        snprintf(fat->fs.note, sizeof fat->fs.note,
                 "the boot sector is damaged, its copy is used; fsck can repair it");
    return true;
}

/* All that load() made; the map of free clusters is another thing. */
static void unload(struct fat *fat)
{
    fat_dirs_drop(fat);
    chains_free(fat->chains);
    fat->chains = NULL;
    fat_table_close(fat);
    cache_free(fat->meta);
    fat->meta = NULL;
    fat->hint_id = 0;
}

static void fat_close(struct fs *fs)
{
    struct fat *fat = fat_of(fs);
    unload(fat);
    space_close(&fat->space);
    free(fat);
}

static bool fat_open(struct device *dev, bool read_only, struct fs **out, struct error *err)
{
    struct fat *fat = mem_new(sizeof *fat, err);
    if (!fat)
        return false;
    fat->fs = (struct fs){.driver = &fat_driver, .device = dev, .root = ROOT_ID};
    fat->read_only = read_only;
    if (!load(fat, err)) {
        fat_close(&fat->fs);
        return false;
    }
    *out = &fat->fs;
    return true;
}

static bool fat_flush(struct fs *fs, struct error *err)
{
    struct fat *fat = fat_of(fs);
    if (!fat_fsinfo_store(fat, err))
        return false;
    fat_table_unpin(fat);
    space_command_ended(&fat->space);
    if (fat->cut_any) /* on a damaged volume others may have shared the clusters */
        chains_drop(fat->chains);
    fat->cut_any = false;
    fat->hint_id = 0;
    return cache_flush(fat->table, err) && cache_flush(fat->meta, err);
}

static bool fat_reload(struct fs *fs, struct error *err)
{
    space_drop(&fat_of(fs)->space);
    unload(fat_of(fs));
    return load(fat_of(fs), err);
}

static bool fat_revert(struct fs *fs, struct error *err)
{
    struct fat *fat = fat_of(fs);
    space_revert(&fat->space);
    unload(fat);
    if (!load(fat, err))
        return false;
    if (fat->space.loaded && fat->space.end != fat->g.clusters + 2)
        space_drop(&fat->space);
    return true;
}

static void fat_committed(struct fs *fs)
{
    space_committed(&fat_of(fs)->space);
}

static bool fat_statfs(struct fs *fs, struct fs_stat *stat, struct error *err)
{
    struct fat *fat = fat_of(fs);
    if (!fat_space_load(fat, err))
        return false;
    space_stat(&fat->space, fat->g.cluster_size, stat);
    return true;
}

static bool fat_free_runs(struct fs *fs, bool (*emit)(uint64_t off, uint64_t len, void *arg), void *arg,
                          struct error *err)
{
    struct fat *fat = fat_of(fs);
    if (!fat_space_load(fat, err))
        return false;
    space_each_run(&fat->space, fat->g.data_off, fat->g.cluster_size, emit, arg);
    return true;
}

static void fat_cache_report(struct fs *fs, struct report *report)
{
    struct fat *fat = fat_of(fs);
    cache_report(fat->table, report, "fat");
    cache_report(fat->meta, report, "directories");
    report_number(report, "fat-scans", fat->space.loads);
    report_number(report, "chains", chains_count(fat->chains));
}

static const char *const types[] = {"vfat", "fat12", "fat16", "fat32", "msdos", NULL};

const struct fs_driver fat_driver = {
    .head = {.name = "fat",
             .title = "FAT12, FAT16 and FAT32 with long names",
             .spec = "Microsoft FAT32 File System Specification 1.03",
             .type = DRIVER_FILESYSTEM,
             .probe = fat_probe,
             .make_options = fat_make_options,
             .layouts = fat_layouts,
             .locate = fat_locate,
             .owner = fat_owner},
    .types = types,
    .mkfs = fat_mkfs,
    .open = fat_open,
    .statfs = fat_statfs,
    .lookup = fat_lookup,
    .getattr = fat_getattr,
    .readdir = fat_readdir,
    .parent = fat_parent,
    .map = fat_map,
    .read = fat_read,
    .describe = fat_describe,
    .dir_owner = fat_dir_owner,
    .deleted = fat_deleted,
    .undelete = fat_undelete,
    .free_runs = fat_free_runs,
    .info = fat_info,
    .check = fat_check,
    .keeps_lost = true,
    .create = fat_create,
    .remove = fat_remove,
    .rename = fat_rename,
    .setattr = fat_setattr,
    .write = fat_write,
    .extend = fat_extend,
    .truncate = fat_truncate,
    .allocate = fat_allocate,
    .set_label = fat_set_label,
    .set_uuid = fat_set_uuid,
    .resize = fat_resize,
    .min_size = fat_min_size,
    .moved = fat_moved,
    .flush = fat_flush,
    .reload = fat_reload,
    .revert = fat_revert,
    .committed = fat_committed,
    .cache_report = fat_cache_report,
    .close = fat_close,
};
