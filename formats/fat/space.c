/* Free clusters: the map of space.h is built by one scan of the FAT. */
#include "fat.h"

enum { SCAN_BYTES = 256 * 1024 };

/* Tell the map of a run at a time. */
struct use {
    struct fat *fat;
    uint32_t start, len;
};

static void use_cluster(struct use *use, uint32_t cluster)
{
    if (use->start + use->len != cluster) {
        space_use(&use->fat->space, use->start, use->len);
        use->start = cluster;
        use->len = 0;
    }
    use->len++;
}

static void count_entry(struct use *use, uint32_t cluster, uint32_t value, uint32_t bad)
{
    if (value == 0)
        return;
    use->fat->bad_clusters += value == bad;
    use_cluster(use, cluster);
}

static bool scan_wide(struct use *use, struct error *err)
{
    struct fat *fat = use->fat;
    unsigned width = fat->g.bits / 8;
    uint64_t end = (uint64_t)(fat->g.clusters + 2) * width;
    uint8_t *buf = mem_new(SCAN_BYTES, err);
    bool ok = buf != NULL;
    for (uint64_t off = 0; ok && off < end; off += SCAN_BYTES) {
        size_t n = (size_t)MIN_OF(SCAN_BYTES, end - off);
        ok = interrupt_check(err) && device_read(fat->table_device, off, buf, n, err);
        for (size_t i = off == 0 ? 2 * width : 0; ok && i < n; i += width) {
            uint32_t cluster = (uint32_t)((off + i) / width);
            if (width == 4)
                count_entry(use, cluster, load_le32(buf + i) & 0x0FFFFFFF, CLUSTER_BAD);
            else
                count_entry(use, cluster, load_le16(buf + i), 0xFFF7);
        }
    }
    free(buf);
    return ok;
}

static bool scan_table(struct fat *fat, struct error *err)
{
    struct use use = {.fat = fat, .start = 2};
    bool ok = true;
    fat->bad_clusters = 0;
    if (fat->g.bits != 12) {
        fat_table_unpin(fat);
        ok = cache_flush(fat->table, err) && scan_wide(&use, err);
    }
    for (uint32_t c = 2; ok && fat->g.bits == 12 && c < fat->g.clusters + 2; c++) {
        uint32_t value = 0;
        ok = fat_get(fat, c, &value, err);
        count_entry(&use, c, value, CLUSTER_BAD);
    }
    space_use(&fat->space, use.start, use.len);
    return ok;
}

/* The root directory keeps its clusters, whatever the FAT says: writing over it would lose all of the volume.
 */
static bool use_root(struct fat *fat, struct error *err)
{
    uint32_t cluster = fat->g.root, left = MAX_SLOTS * ENTRY_SIZE / fat->g.cluster_size + 1;
    for (; left > 0 && fat_valid_cluster(fat, cluster); left--) {
        space_use(&fat->space, cluster, 1);
        if (!fat_get(fat, cluster, &cluster, err))
            return false;
    }
    return true;
}

/* FSInfo says where to look first; without it, or when it makes no sense, at the beginning. */
static uint32_t first_search(struct fat *fat)
{
    struct cache_block *block;
    struct error ignored;
    uint32_t cursor = 2;
    if (fat->g.fsinfo &&
        cache_get(fat->meta, (uint64_t)fat->g.fsinfo * fat->g.sector_size, &block, &ignored)) {
        if (fat_fsinfo_FSI_StrucSig(block->data) == 0x61417272)
            cursor = (uint32_t)fat_fsinfo_FSI_Nxt_Free(block->data);
        cache_release(fat->meta, block);
    }
    return cursor;
}

bool fat_space_load(struct fat *fat, struct error *err)
{
    if (fat->space.loaded)
        return true;
    if (space_load(&fat->space, 2, fat->g.clusters + 2, err) && scan_table(fat, err) && use_root(fat, err))
        return space_loaded(&fat->space, first_search(fat), err);
    space_drop(&fat->space);
    return false;
}

bool fat_chain_free(struct fat *fat, uint32_t first, struct error *err)
{
    uint32_t start = first, len = 0, cluster = first;
    if (!fat_space_load(fat, err))
        return false;
    chain_forget(fat->chains, first);
    fat->cut_any = true;
    while (fat_valid_cluster(fat, cluster)) {
        uint32_t next;
        if (!fat_get(fat, cluster, &next, err))
            return false;
        if (next == CLUSTER_FREE || next == CLUSTER_BAD)
            break;
        if (!fat_set(fat, cluster, CLUSTER_FREE, err))
            return false;
        if (cluster != start + len) {
            if (!space_release(&fat->space, start, len, err))
                return false;
            start = cluster;
            len = 0;
        }
        len++;
        cluster = next;
    }
    return len == 0 || space_release(&fat->space, start, len, err);
}
