/*
 * The file allocation table. A small device joins its copies: reads come from the active one, writes go to
 * all (or to the active one alone when the volume says so), so the cache above it knows of one table only.
 */
#include "fat.h"

enum { BLOCK = 4096, CACHE_BYTES = 16 * 1024 * 1024 };

struct table_device {
    struct device dev;
    struct fat *fat;
};

static struct table_device *table_of(struct device *dev)
{
    return (struct table_device *)dev;
}

/* The device is rounded up to whole blocks; what lies past the table reads as zeros. */
static size_t inside(const struct fat *fat, uint64_t off, size_t n)
{
    return off >= fat->g.fat_len ? 0 : (size_t)MIN_OF(n, fat->g.fat_len - off);
}

static bool table_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct fat *fat = table_of(dev)->fat;
    size_t len = inside(fat, off, n);
    memset((uint8_t *)buf + len, 0, n - len);
    return len == 0 || device_read(fat->fs.device, fat->g.fat_off + fat->g.active_fat * fat->g.fat_len + off,
                                   buf, len, err);
}

static bool table_write(struct device *dev, uint64_t off, const void *buf, size_t n, enum write_class class,
                        struct error *err)
{
    struct fat *fat = table_of(dev)->fat;
    size_t len = inside(fat, off, n);
    for (uint32_t i = 0; len > 0 && i < fat->g.fats; i++)
        if ((fat->g.mirrored || i == fat->g.active_fat) &&
            !device_write(fat->fs.device, fat->g.fat_off + i * fat->g.fat_len + off, buf, len, class, err))
            return false;
    return true;
}

static void table_close(struct device *dev)
{
    free(table_of(dev));
}

static const struct device_ops table_ops = {
    .name = "FAT",
    .read = table_read,
    .write = table_write,
    .close = table_close,
};

bool fat_table_open(struct fat *fat, struct error *err)
{
    struct table_device *table = mem_new(sizeof *table, err);
    if (!table)
        return false;
    table->dev = (struct device){.ops = &table_ops,
                                 .size = round_up(fat->g.fat_len, BLOCK),
                                 .block_size = fat->g.sector_size,
                                 .read_only = fat->fs.device->read_only};
    table->fat = fat;
    fat->table_device = &table->dev;
    fat->table = cache_new(&table->dev, BLOCK, CACHE_BYTES, NULL, NULL, err);
    return fat->table != NULL;
}

void fat_table_unpin(struct fat *fat)
{
    cache_release(fat->table, fat->window);
    fat->window = NULL;
}

void fat_table_close(struct fat *fat)
{
    if (fat->table)
        fat_table_unpin(fat);
    cache_free(fat->table);
    device_close(fat->table_device);
    fat->table = NULL;
    fat->table_device = NULL;
}

static uint64_t entry_pos(const struct fat *fat, uint32_t n)
{
    return fat->g.bits == 12 ? (uint64_t)n + n / 2 : (uint64_t)n * (fat->g.bits / 8);
}

uint64_t fat_entry_off(const struct fat *fat, uint32_t n)
{
    return fat->g.fat_off + fat->g.active_fat * fat->g.fat_len + entry_pos(fat, n);
}

/* 12-bit entries come in pairs of three bytes, and a pair may lie across two blocks. */
static bool load12(struct fat *fat, uint32_t n, uint8_t bytes[2], struct error *err)
{
    uint64_t pos = entry_pos(fat, n);
    uint8_t *at;
    for (unsigned i = 0; i < 2; i++) {
        if (!cache_view(fat->table, &fat->window, pos + i, &at, err))
            return false;
        bytes[i] = *at;
    }
    return true;
}

static bool set12(struct fat *fat, uint32_t n, uint32_t value, struct error *err)
{
    uint64_t pos = entry_pos(fat, n);
    uint8_t bytes[2], *at;
    if (!load12(fat, n, bytes, err))
        return false;
    uint16_t both = load_le16(bytes);
    store_le16(bytes, (uint16_t)(n & 1 ? (both & 0x000F) | value << 4 : (both & 0xF000) | (value & 0xFFF)));
    for (unsigned i = 0; i < 2; i++) {
        if (!cache_view(fat->table, &fat->window, pos + i, &at, err))
            return false;
        *at = bytes[i];
        cache_dirty(fat->table, fat->window, WRITE_UPDATE);
    }
    return true;
}

bool fat_get_raw(struct fat *fat, uint32_t n, uint32_t *value, struct error *err)
{
    uint8_t *at, bytes[2];
    if (fat->g.bits == 12) {
        if (!load12(fat, n, bytes, err))
            return false;
        *value = n & 1 ? load_le16(bytes) >> 4 : load_le16(bytes) & 0xFFF;
        return true;
    }
    if (!cache_view(fat->table, &fat->window, entry_pos(fat, n), &at, err))
        return false;
    *value = fat->g.bits == 16 ? load_le16(at) : load_le32(at) & 0x0FFFFFFF;
    return true;
}

bool fat_get(struct fat *fat, uint32_t n, uint32_t *value, struct error *err)
{
    uint32_t bad = fat->g.bits == 12 ? 0xFF7 : fat->g.bits == 16 ? 0xFFF7 : CLUSTER_BAD;
    if (!fat_get_raw(fat, n, value, err))
        return false;
    if (*value >= bad)
        *value = *value == bad ? CLUSTER_BAD : CLUSTER_END;
    return true;
}

bool fat_set(struct fat *fat, uint32_t n, uint32_t value, struct error *err)
{
    uint8_t *at;
    fat->space.touched = true;
    if (fat->g.bits == 12)
        return set12(fat, n, value & 0xFFF, err);
    if (!cache_view(fat->table, &fat->window, entry_pos(fat, n), &at, err))
        return false;
    if (fat->g.bits == 16)
        store_le16(at, (uint16_t)value);
    else /* the high four bits belong to nobody and are kept */
        store_le32(at, (load_le32(at) & 0xF0000000) | (value & 0x0FFFFFFF));
    cache_dirty(fat->table, fat->window, WRITE_UPDATE);
    return true;
}

bool fat_next(struct fat *fat, uint32_t cluster, uint32_t *next, struct error *err)
{
    if (!fat_get(fat, cluster, next, err))
        return false;
    if (*next == CLUSTER_END || fat_valid_cluster(fat, *next))
        return true;
    uint64_t off = fat_entry_off(fat, cluster);
    if (*next == CLUSTER_FREE)
        return damaged(err, fat->fs.device, off, "the chain runs into cluster %u, which is free", cluster);
    if (*next == CLUSTER_BAD)
        return damaged(err, fat->fs.device, off, "the chain runs into cluster %u, which is marked bad",
                       cluster);
    return damaged(err, fat->fs.device, off, "cluster %u is followed by %u; clusters are 2 to %u", cluster,
                   *next, fat->g.clusters + 1);
}
