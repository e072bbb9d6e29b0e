/* The exFAT driver: probing, opening, and the table through which the engine reaches the rest. */
#include "exfat.h"
#include "localtime.h"
#include "utf.h"

#include <stdarg.h>
#include <stdio.h>

enum { META_BYTES = 16 * 1024 * 1024 };

static unsigned exfat_probe(struct device *dev)
{
    uint8_t boot[512];
    struct exfat_geometry g;
    struct error ignored;
    uint64_t off;
    bool sealed;
    if (exfat_find_boot(dev, &g, &off, &sealed, &ignored))
        return off == 0 ? 160 : 64;
    if (dev->size < sizeof boot || !device_read(dev, 0, boot, sizeof boot, &ignored))
        return 0;
    return memcmp(exfat_boot_FileSystemName(boot), "EXFAT   ", 8) == 0 ? 64 : 0;
}

/* What the root directory says of the volume. */
struct found {
    uint32_t bitmaps, upcases;
    uint8_t upcase[ENTRY_SIZE];
};

static bool look_at_entry(struct exfat *exfat, struct exfat_dir *dir, const struct exfat_item *item,
                          void *arg, struct error *err)
{
    struct found *found = arg;
    const uint8_t *raw = item->raw;
    uint16_t units[MAX_LABEL];
    (void)dir;
    if (item->kind != ITEM_OTHER)
        return true;
    switch (raw[0]) {
    case TYPE_BITMAP:
        /* Of several the first that can be one; a damaged file's entry may look like a second. */
        if (found->bitmaps > 0 && exfat->bitmap.size >= exfat_bitmap_size(exfat))
            return true;
        found->bitmaps++;
        exfat->bitmap = (struct exfat_stream){.first = (uint32_t)exfat_bitmap_FirstCluster(raw),
                                              .size = exfat_bitmap_DataLength(raw),
                                              .valid = exfat_bitmap_DataLength(raw)};
        return true;
    case TYPE_UPCASE:
        if (found->upcases++ > 0)
            return true;
        memcpy(found->upcase, raw, ENTRY_SIZE);
        return true;
    case TYPE_LABEL:
        utf16_load_le(exfat_label_VolumeLabel(raw), units, MAX_LABEL);
        return utf16_to_utf8(units, MIN_OF(exfat_label_CharacterCount(raw), MAX_LABEL), UTF_WTF8,
                             exfat->fs.label, sizeof exfat->fs.label, err);
    default:
        /* Section 6.2.1.3: an unknown critical primary entry means that the volume must not be changed. */
        if (!(raw[0] & TYPE_BENIGN) && !exfat->unknown_entry)
            exfat->unknown_entry = raw[0];
        return true;
    }
}

static bool read_root(struct exfat *exfat, struct error *err)
{
    struct found found = {0};
    struct exfat_dir *dir;
    uint64_t place = exfat_cluster_off(exfat, exfat->g.root);
    exfat->fs.label[0] = '\0';
    exfat->bitmap = (struct exfat_stream){.first = 0};
    exfat->unknown_entry = 0;
    if (!exfat_dir_open(exfat, ROOT_ID, &dir, err) || !exfat_dir_scan(exfat, dir, look_at_entry, &found, err))
        return because(err, "root directory");
    if (found.bitmaps == 0)
        return damaged(err, exfat->fs.device, place, "the root directory has no allocation bitmap");
    uint32_t first = exfat->bitmap.first;
    uint64_t size = exfat->bitmap.size;
    if (!exfat_bitmap_stream(exfat, first, size, &exfat->bitmap))
        return damaged(
            err, exfat->fs.device, place,
            "the allocation bitmap has first cluster %u and %llu bytes; %u clusters need %llu bytes", first,
            (unsigned long long)size, exfat->g.clusters, (unsigned long long)exfat_bitmap_size(exfat));
    return exfat_upcase_load(exfat, found.upcases ? found.upcase : NULL, err);
}

static void set_limits(struct exfat *exfat)
{
    exfat->limits = (struct fs_limits){
        .max_file_size = (uint64_t)exfat->g.clusters << exfat->g.cluster_shift,
        .max_name = MAX_NAME,
        .name_utf16 = true,
        .case_insensitive = true,
        .time_ns = 10000000,
        .time_min = 315532800,  /* 1980-01-01 00:00:00 */
        .time_max = 4354819199, /* 2107-12-31 23:59:59 */
    };
    exfat->fs.limits = &exfat->limits;
}

/* Forbid changes; `mendable`: until a repair takes the reason away. */
static void forbid(struct exfat *exfat, bool mendable, const char *fmt, ...)
{
    va_list args;
    exfat->fs.change = FS_NEVER;
    exfat->fs.mendable = mendable;
    va_start(args, fmt);
    vsnprintf(exfat->fs.why, sizeof exfat->fs.why, fmt, args);
    va_end(args);
}

void exfat_set_change(struct exfat *exfat)
{
    uint64_t size = exfat->g.sectors * exfat->g.sector_size;
    exfat->fs.change = FS_IN_PLACE;
    exfat->fs.why[0] = exfat->fs.note[0] = '\0';
    exfat->fs.mendable = false;
    if (exfat->g.flags & (VOLUME_DIRTY | VOLUME_MEDIA_FAILURE))
        snprintf(exfat->fs.note, sizeof exfat->fs.note,
                 "the volume %s; fsck shows whether something was lost",
                 exfat->g.flags & VOLUME_DIRTY ? "was not unmounted cleanly" : "had media failures");
    if (exfat->upcase_fault[0])
        forbid(exfat, true, "%s, and the recommended one is used; fsck --repair mends it",
               exfat->upcase_fault);
    if (exfat->boot_off || !exfat->boot_sealed)
        forbid(exfat, true, "%s; fsck --repair mends it",
               exfat->boot_off ? "the boot region is damaged and its backup is used"
                               : "the checksums of the boot region and of its backup are wrong");
    if (exfat->fs.mendable)
        snprintf(exfat->fs.note, sizeof exfat->fs.note, "%s", exfat->fs.why);
    if (exfat->unknown_entry)
        forbid(exfat, false, "unknown critical root directory entry 0x%02x", exfat->unknown_entry);
    if (size > exfat->fs.device->size)
        forbid(exfat, false, "the volume has %llu bytes, the device only %llu", (unsigned long long)size,
               (unsigned long long)exfat->fs.device->size);
}

static bool load(struct exfat *exfat, struct error *err)
{
    struct device *dev = exfat->fs.device;
    if (!exfat_find_boot(dev, &exfat->g, &exfat->boot_off, &exfat->boot_sealed, err))
        return false;
    if (exfat->g.heap_off > dev->size)
        return damaged(err, dev, 0, "the device ends before the clusters begin");
    set_limits(exfat);
    snprintf(exfat->fs.uuid, sizeof exfat->fs.uuid, "%04X-%04X", exfat->g.serial >> 16,
             exfat->g.serial & 0xFFFF);
    exfat->meta = cache_new(dev, exfat->g.sector_size, META_BYTES, NULL, NULL, err);
    if (!exfat->meta || !exfat_table_open(exfat, err))
        return false;
    exfat->chains = chains_new(exfat->g.clusters, exfat_chain_step, exfat, err);
    if (!exfat->chains || !read_root(exfat, err))
        return false;
    exfat_set_change(exfat);
    return true;
}

/* All that load() made; the map of free clusters is another thing. */
static void unload(struct exfat *exfat)
{
    exfat_dirs_drop(exfat);
    chains_free(exfat->chains);
    exfat->chains = NULL;
    exfat_table_close(exfat);
    cache_free(exfat->meta);
    exfat->meta = NULL;
    free(exfat->upcase);
    exfat->upcase = NULL;
    exfat->hint_id = 0;
}

static void exfat_close(struct fs *fs)
{
    struct exfat *exfat = exfat_of(fs);
    unload(exfat);
    space_close(&exfat->space);
    free(exfat);
}

static bool exfat_open(struct device *dev, bool read_only, struct fs **out, struct error *err)
{
    struct exfat *exfat = mem_new(sizeof *exfat, err);
    if (!exfat)
        return false;
    exfat->fs = (struct fs){.driver = &exfat_driver, .device = dev, .type = "exfat", .root = ROOT_ID};
    exfat->read_only = read_only;
    if (!load(exfat, err)) {
        exfat_close(&exfat->fs);
        return false;
    }
    *out = &exfat->fs;
    return true;
}

static bool exfat_flush(struct fs *fs, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    if (!exfat_percent_store(exfat, err))
        return false;
    exfat_table_unpin(exfat);
    space_command_ended(&exfat->space);
    exfat->hint_id = 0;
    return cache_flush(exfat->table, err) && cache_flush(exfat->meta, err);
}

static bool exfat_reload(struct fs *fs, struct error *err)
{
    space_drop(&exfat_of(fs)->space);
    unload(exfat_of(fs));
    return load(exfat_of(fs), err);
}

static bool exfat_revert(struct fs *fs, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    space_revert(&exfat->space);
    unload(exfat);
    if (!load(exfat, err))
        return false;
    if (exfat->space.loaded && exfat->space.end != exfat->g.clusters + 2)
        space_drop(&exfat->space);
    return true;
}

static void exfat_committed(struct fs *fs)
{
    space_committed(&exfat_of(fs)->space);
}

static bool exfat_statfs(struct fs *fs, struct fs_stat *stat, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    if (!exfat_space_load(exfat, err))
        return false;
    space_stat(&exfat->space, exfat->g.cluster_size, stat);
    return true;
}

static bool exfat_free_runs(struct fs *fs, bool (*emit)(uint64_t off, uint64_t len, void *arg), void *arg,
                            struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    if (!exfat_space_load(exfat, err))
        return false;
    space_each_run(&exfat->space, exfat->g.heap_off, exfat->g.cluster_size, emit, arg);
    return true;
}

static void exfat_cache_report(struct fs *fs, struct report *report)
{
    struct exfat *exfat = exfat_of(fs);
    cache_report(exfat->table, report, "fat");
    cache_report(exfat->meta, report, "directories");
    report_number(report, "bitmap-scans", exfat->space.loads);
    report_number(report, "chains", chains_count(exfat->chains));
    report_number(report, "directories-known", exfat->dir_count);
}

static const char *const types[] = {"exfat", NULL};

const struct fs_driver exfat_driver = {
    .head = {.name = "exfat",
             .title = "exFAT",
             .spec = "Microsoft exFAT file system specification",
             .type = DRIVER_FILESYSTEM,
             .probe = exfat_probe,
             .make_options = exfat_make_options,
             .layouts = exfat_layouts,
             .locate = exfat_locate,
             .owner = exfat_owner},
    .types = types,
    .mkfs = exfat_mkfs,
    .open = exfat_open,
    .statfs = exfat_statfs,
    .lookup = exfat_lookup,
    .getattr = exfat_getattr,
    .readdir = exfat_readdir,
    .parent = exfat_parent,
    .map = exfat_map,
    .read = exfat_read,
    .describe = exfat_describe,
    .dir_owner = exfat_dir_owner,
    .deleted = exfat_deleted,
    .undelete = exfat_undelete,
    .free_runs = exfat_free_runs,
    .info = exfat_info,
    .check = exfat_check,
    .keeps_lost = true,
    .create = exfat_create,
    .remove = exfat_remove,
    .rename = exfat_rename,
    .setattr = exfat_setattr,
    .write = exfat_write,
    .extend = exfat_extend,
    .truncate = exfat_truncate,
    .allocate = exfat_allocate,
    .set_label = exfat_set_label,
    .set_uuid = exfat_set_uuid,
    .tune_options = exfat_tune_options,
    .tune = exfat_tune,
    .resize = exfat_resize,
    .min_size = exfat_min_size,
    .moved = exfat_moved,
    .flush = exfat_flush,
    .reload = exfat_reload,
    .revert = exfat_revert,
    .committed = exfat_committed,
    .cache_report = exfat_cache_report,
    .close = exfat_close,
};
