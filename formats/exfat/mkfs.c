/* mkfs: layout and defaults are those of mkfs.exfat 1.2. */
#include "exfat.h"

#include <stdio.h>

const struct option exfat_make_options[] = {
    {"cluster_size", OPTION_SIZE, NULL, "bytes in a cluster: a sector to 32 MiB, a power of two"},
    {"sector_size", OPTION_SIZE, NULL, "bytes in a sector: 512 to 4096"},
    {"align", OPTION_SIZE, NULL, "alignment of FAT and clusters on the disk (default 1M)"},
    {"pack_bitmap", OPTION_FLAG, NULL, "put the bitmap before an alignment boundary, close to the FAT"},
    {NULL, 0, NULL, NULL},
};

struct plan {
    uint32_t sector_size, cluster_size, clusters, serial;
    uint64_t size, start, align, fat_off, fat_len, heap_off;
    uint32_t bitmap, upcase, root; /* first clusters */
    uint32_t bitmap_clusters, upcase_clusters;
    uint64_t bitmap_len;
    uint8_t *table;
    size_t table_len;
};

static uint32_t default_cluster(uint64_t size)
{
    return size <= 256 * MiB ? 4096 : size <= 32 * GiB ? 32768 : 131072;
}

/* Offsets are aligned on the disk, not in the volume. */
static uint64_t aligned(const struct plan *plan, uint64_t off)
{
    return round_up(plan->start + off, plan->align) - plan->start;
}

static bool place(struct plan *plan, struct error *err)
{
    uint64_t clusters = plan->size / plan->cluster_size;
    plan->fat_off = aligned(plan, 2 * BOOT_SECTORS * (uint64_t)plan->sector_size);
    plan->fat_len = round_up(clusters * 4, plan->cluster_size);
    plan->heap_off = aligned(plan, plan->fat_off + plan->fat_len);
    if (plan->heap_off >= plan->size)
        return fail(err, E_INVALID, "%llu bytes are too few for exFAT", (unsigned long long)plan->size);
    clusters = (plan->size - plan->heap_off) / plan->cluster_size;
    if (clusters > MAX_CLUSTERS)
        return fail(err, E_INVALID, "%llu clusters are more than exFAT counts; use larger ones",
                    (unsigned long long)clusters);
    plan->clusters = (uint32_t)clusters;
    return true;
}

/* The bitmap moves into the gap between the FAT and the first aligned cluster. */
static void pack_bitmap(struct plan *plan)
{
    uint64_t fat_end = plan->fat_off + plan->fat_len;
    uint64_t length = round_up(div_up(plan->clusters, 8), plan->cluster_size);
    if (fat_end + length > plan->heap_off)
        return;
    plan->heap_off -= length;
    plan->clusters += (uint32_t)(length / plan->cluster_size);
}

static bool take_options(struct plan *plan, struct device *dev, const struct mkfs_params *params,
                         struct error *err)
{
    const struct options *o = params->options;
    plan->start = params->start;
    plan->sector_size = (uint32_t)options_number(o, "sector_size", MAX_OF(dev->block_size, 512));
    if (!is_power_of_two(plan->sector_size) || plan->sector_size < 512 || plan->sector_size > 4096)
        return fail(err, E_INVALID, "sector_size is 512, 1024, 2048 or 4096, not %u", plan->sector_size);
    plan->size = round_down(dev->size, plan->sector_size);
    uint64_t cluster = options_number(o, "cluster_size", default_cluster(plan->size));
    if (!is_power_of_two(cluster) || cluster < plan->sector_size || cluster > 32 * MiB)
        return fail(err, E_INVALID, "cluster_size is a power of two from %u to 32M, not %llu",
                    plan->sector_size, (unsigned long long)cluster);
    plan->cluster_size = (uint32_t)cluster;
    plan->align = options_number(o, "align", 1 * MiB);
    if (!is_power_of_two(plan->align) || plan->align < plan->sector_size)
        return fail(err, E_INVALID, "align is a power of two of at least a sector, not %llu",
                    (unsigned long long)plan->align);
    /* A small volume has no room to spare for alignment. */
    while (!options_has(o, "align") && plan->align > plan->cluster_size && 8 * plan->align > plan->size)
        plan->align /= 2;
    if (!place(plan, err))
        return false;
    if (options_flag(o, "pack_bitmap", false))
        pack_bitmap(plan);
    if (params->uuid)
        return dosname_parse_serial(params->uuid, "an exFAT serial number", &plan->serial, err);
    params->random(&plan->serial, sizeof plan->serial);
    return true;
}

static bool place_tables(struct plan *plan, struct error *err)
{
    if (!exfat_upcase_pack(&plan->table, &plan->table_len, err))
        return false;
    plan->bitmap_len = div_up(plan->clusters, 8);
    plan->bitmap_clusters = (uint32_t)div_up(plan->bitmap_len, plan->cluster_size);
    plan->upcase_clusters = (uint32_t)div_up(plan->table_len, plan->cluster_size);
    plan->bitmap = 2;
    plan->upcase = plan->bitmap + plan->bitmap_clusters;
    plan->root = plan->upcase + plan->upcase_clusters;
    if (plan->root - 1 > plan->clusters)
        return fail(err, E_INVALID, "%llu bytes are too few for exFAT", (unsigned long long)plan->size);
    return true;
}

static bool write_boot_regions(const struct plan *plan, struct device *dev, struct error *err)
{
    uint32_t ss = plan->sector_size;
    uint8_t *region = mem_new((size_t)ss * BOOT_SECTORS, err);
    if (!region)
        return false;
    memcpy(exfat_boot_JumpBoot(region), "\xEB\x76\x90", 3);
    memcpy(exfat_boot_FileSystemName(region), "EXFAT   ", 8);
    exfat_boot_set_PartitionOffset(region, plan->start / ss);
    exfat_boot_set_VolumeLength(region, plan->size / ss);
    exfat_boot_set_FatOffset(region, plan->fat_off / ss);
    exfat_boot_set_FatLength(region, plan->fat_len / ss);
    exfat_boot_set_ClusterHeapOffset(region, plan->heap_off / ss);
    exfat_boot_set_ClusterCount(region, plan->clusters);
    exfat_boot_set_FirstClusterOfRootDirectory(region, plan->root);
    exfat_boot_set_VolumeSerialNumber(region, plan->serial);
    exfat_boot_set_FileSystemRevision(region, 0x0100);
    exfat_boot_set_BytesPerSectorShift(region, log2_of(ss));
    exfat_boot_set_SectorsPerClusterShift(region, log2_of(plan->cluster_size / ss));
    exfat_boot_set_NumberOfFats(region, 1);
    exfat_boot_set_DriveSelect(region, 0x80);
    exfat_boot_set_BootSignature(region, 0xAA55);
    for (uint32_t i = 1; i <= 8; i++)
        store_le32(region + (size_t)(i + 1) * ss - 4, 0xAA550000);
    memset(region + (size_t)9 * ss, 0xFF, ss); /* OEM parameters: none */
    uint32_t sum = exfat_boot_checksum(region, ss);
    for (uint32_t i = 0; i < ss; i += 4)
        store_le32(region + (size_t)11 * ss + i, sum);
    bool ok =
        device_write(dev, 0, region, (size_t)ss * BOOT_SECTORS, WRITE_UPDATE, err) &&
        device_write(dev, (uint64_t)ss * BOOT_SECTORS, region, (size_t)ss * BOOT_SECTORS, WRITE_UPDATE, err);
    free(region);
    return ok;
}

static void link_run(uint8_t *fat, uint32_t start, uint32_t count)
{
    for (uint32_t c = start; c < start + count; c++)
        store_le32(fat + (size_t)c * 4, c + 1 < start + count ? c + 1 : CLUSTER_END);
}

static bool write_fat(const struct plan *plan, struct device *dev, struct error *err)
{
    size_t n = (size_t)(plan->root + 1) * 4;
    uint8_t *fat = mem_new(n, err);
    if (!fat)
        return false;
    store_le32(fat, 0xFFFFFFF8);
    store_le32(fat + 4, 0xFFFFFFFF);
    link_run(fat, plan->bitmap, plan->bitmap_clusters);
    link_run(fat, plan->upcase, plan->upcase_clusters);
    link_run(fat, plan->root, 1);
    bool ok = device_write(dev, plan->fat_off, fat, n, WRITE_UPDATE, err);
    free(fat);
    return ok;
}

static bool write_bitmap(const struct plan *plan, struct device *dev, struct error *err)
{
    uint32_t used = plan->root - 1;
    uint8_t *bits = mem_new(used / 8 + 1, err);
    if (!bits)
        return false;
    for (uint32_t i = 0; i < used; i++)
        bits[i / 8] |= (uint8_t)(1u << (i % 8));
    bool ok = device_write(dev, plan->heap_off, bits, used / 8 + 1, WRITE_UPDATE, err);
    free(bits);
    return ok;
}

static uint64_t cluster_off(const struct plan *plan, uint32_t cluster)
{
    return plan->heap_off + (uint64_t)(cluster - 2) * plan->cluster_size;
}

static bool write_root(const struct plan *plan, struct device *dev, const uint8_t *label, struct error *err)
{
    uint8_t root[3 * ENTRY_SIZE] = {0};
    memcpy(root, label, ENTRY_SIZE);
    uint8_t *bitmap = root + ENTRY_SIZE, *upcase = bitmap + ENTRY_SIZE;
    bitmap[0] = TYPE_BITMAP;
    exfat_bitmap_set_FirstCluster(bitmap, plan->bitmap);
    exfat_bitmap_set_DataLength(bitmap, plan->bitmap_len);
    upcase[0] = TYPE_UPCASE;
    exfat_upcase_set_TableChecksum(upcase, exfat_table_checksum(0, plan->table, plan->table_len));
    exfat_upcase_set_FirstCluster(upcase, plan->upcase);
    exfat_upcase_set_DataLength(upcase, plan->table_len);
    return device_write(dev, cluster_off(plan, plan->upcase), plan->table, plan->table_len, WRITE_UPDATE,
                        err) &&
           device_write(dev, cluster_off(plan, plan->root), root, sizeof root, WRITE_UPDATE, err);
}

bool exfat_mkfs(struct device *dev, const struct mkfs_params *params, struct error *err)
{
    struct plan plan = {0};
    uint8_t label[ENTRY_SIZE];
    bool ok = exfat_label_encode(params->label ? params->label : "", label, err) &&
              take_options(&plan, dev, params, err) && place_tables(&plan, err);
    ok = ok && device_zero(dev, 0, cluster_off(&plan, plan.root + 1), WRITE_UPDATE, err) &&
         write_boot_regions(&plan, dev, err) && write_fat(&plan, dev, err) && write_bitmap(&plan, dev, err) &&
         write_root(&plan, dev, label, err);
    free(plan.table);
    return ok;
}
