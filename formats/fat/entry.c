/* Short directory entries: addressing by id, first cluster, times, attributes. */
#include "fat.h"
#include "localtime.h"

#include <sys/stat.h>

/* An id is the entry's byte offset in the volume divided by 32; that of the boot sector's first bytes is
 * never one, so 1 stands for the root directory. */
static bool check_id(const struct fat *fat, fs_id id, struct error *err)
{
    const struct fat_geometry *g = &fat->g;
    uint64_t off = id * ENTRY_SIZE, end = fat_cluster_off(fat, g->clusters + 2);
    if (id >= UINT64_MAX / ENTRY_SIZE ||
        !((off >= g->root_off && off < g->root_off + g->root_len) || (off >= g->data_off && off < end)))
        return fail(err, E_INVALID, "there is no directory entry #%llu", (unsigned long long)id);
    return true;
}

bool fat_entry_get(struct fat *fat, fs_id id, struct cache_block **block, uint8_t **entry, struct error *err)
{
    uint64_t off = id * ENTRY_SIZE;
    if (!check_id(fat, id, err) || !cache_get(fat->meta, round_down(off, fat->g.sector_size), block, err))
        return false;
    *entry = (*block)->data + (off & (fat->g.sector_size - 1));
    return true;
}

uint32_t fat_entry_cluster(const struct fat *fat, const uint8_t *entry)
{
    uint32_t low = (uint32_t)fat_entry_DIR_FstClusLO(entry);
    return fat->g.bits == 32 ? low | (uint32_t)(fat_entry_DIR_FstClusHI(entry) << 16) : low;
}

void fat_entry_set_cluster(const struct fat *fat, uint8_t *entry, uint32_t cluster)
{
    fat_entry_set_DIR_FstClusLO(entry, cluster & 0xFFFF);
    if (fat->g.bits == 32)
        fat_entry_set_DIR_FstClusHI(entry, cluster >> 16);
}

bool fat_entry_load(struct fat *fat, fs_id id, uint8_t entry[ENTRY_SIZE], struct error *err)
{
    struct cache_block *block;
    uint8_t *raw;
    if (id == ROOT_ID) {
        memset(entry, 0, ENTRY_SIZE);
        fat_entry_set_DIR_Attr(entry, FAT_DIRECTORY);
        fat_entry_set_cluster(fat, entry, fat->g.root);
        return true;
    }
    if (!fat_entry_get(fat, id, &block, &raw, err))
        return false;
    memcpy(entry, raw, ENTRY_SIZE);
    cache_release(fat->meta, block);
    uint32_t first = fat_entry_cluster(fat, entry);
    if (entry[0] == SLOT_END || entry[0] == SLOT_FREE)
        return fail(err, E_NOENT, "the directory entry #%llu is free", (unsigned long long)id);
    if (first != 0 && !fat_valid_cluster(fat, first))
        return damaged(err, fat->fs.device, id * ENTRY_SIZE + fat_entry_off_DIR_FstClusLO,
                       "the first cluster is %u; clusters are 2 to %u", first, fat->g.clusters + 1);
    if (first == 0 && (entry[11] & FAT_DIRECTORY))
        return damaged(err, fat->fs.device, id * ENTRY_SIZE + fat_entry_off_DIR_FstClusLO,
                       "the directory has no first cluster");
    if (first == 0 && fat_entry_DIR_FileSize(entry) != 0)
        return damaged(err, fat->fs.device, id * ENTRY_SIZE + fat_entry_off_DIR_FileSize,
                       "the file has %llu bytes but no first cluster",
                       (unsigned long long)fat_entry_DIR_FileSize(entry));
    return true;
}

bool fat_entry_store(struct fat *fat, fs_id id, const uint8_t entry[ENTRY_SIZE], struct error *err)
{
    struct cache_block *block;
    uint8_t *raw;
    if (!fat_entry_get(fat, id, &block, &raw, err))
        return false;
    if (memcmp(raw, entry, ENTRY_SIZE) != 0) {
        memcpy(raw, entry, ENTRY_SIZE);
        cache_dirty(fat->meta, block, WRITE_UPDATE);
    }
    cache_release(fat->meta, block);
    return true;
}

void fat_time_encode(struct fs_time t, uint16_t *date, uint16_t *time, uint8_t *tenth)
{
    struct civil_time c = civil_from_seconds(t.sec + localtime_offset() * 60);
    uint8_t fraction = (uint8_t)(c.second % 2 * 100 + t.nsec / 10000000);
    if (c.year < 1980) {
        c = (struct civil_time){.year = 1980, .month = 1, .day = 1};
        fraction = 0;
    } else if (c.year > 2107) {
        c = (struct civil_time){.year = 2107, .month = 12, .day = 31, .hour = 23, .minute = 59, .second = 58};
        fraction = 199;
    }
    *date = (uint16_t)((c.year - 1980) << 9 | c.month << 5 | c.day);
    *time = (uint16_t)(c.hour << 11 | c.minute << 5 | c.second / 2);
    *tenth = fraction;
}

struct fs_time fat_time_decode(uint16_t date, uint16_t time, uint8_t tenth)
{
    struct civil_time c = {.year = 1980 + (date >> 9),
                           .month = MIN_OF(MAX_OF(date >> 5 & 15u, 1u), 12u),
                           .day = MAX_OF(date & 31u, 1u),
                           .hour = time >> 11,
                           .minute = time >> 5 & 63u,
                           .second = (time & 31u) * 2};
    return (struct fs_time){.sec = civil_to_seconds(&c) - localtime_offset() * 60 + tenth / 100,
                            .nsec = tenth % 100 * 10000000u};
}

/* One time for all is usual: work it out once. */
struct stamp {
    struct fs_time of;
    bool known;
    uint16_t date, time;
    uint8_t tenth;
};

static void stamp_set(struct stamp *stamp, struct fs_time t)
{
    if (!stamp->known || stamp->of.sec != t.sec || stamp->of.nsec != t.nsec)
        fat_time_encode(t, &stamp->date, &stamp->time, &stamp->tenth);
    stamp->of = t;
    stamp->known = true;
}

void fat_entry_set_times(uint8_t *entry, const struct fs_attr *attr, unsigned mask)
{
    struct stamp stamp = {.known = false};
    if (mask & ATTR_MTIME) {
        stamp_set(&stamp, attr->mtime);
        fat_entry_set_DIR_WrtDate(entry, stamp.date);
        fat_entry_set_DIR_WrtTime(entry, stamp.time);
    }
    if (mask & ATTR_ATIME) {
        stamp_set(&stamp, attr->atime);
        fat_entry_set_DIR_LstAccDate(entry, stamp.date);
    }
    if (mask & ATTR_CRTIME) {
        stamp_set(&stamp, attr->crtime);
        fat_entry_set_DIR_CrtDate(entry, stamp.date);
        fat_entry_set_DIR_CrtTime(entry, stamp.time);
        fat_entry_set_DIR_CrtTimeTenth(entry, stamp.tenth);
    }
}

static const struct {
    uint8_t attr;
    uint32_t flag;
} dos_flags[] = {
    {FAT_READ_ONLY, FS_FLAG_DOS_READONLY},
    {FAT_HIDDEN, FS_FLAG_DOS_HIDDEN},
    {FAT_SYSTEM, FS_FLAG_DOS_SYSTEM},
    {FAT_ARCHIVE, FS_FLAG_DOS_ARCHIVE},
};

void fat_entry_times(const uint8_t *entry, struct fs_attr *attr)
{
    uint16_t written = (uint16_t)fat_entry_DIR_WrtDate(entry),
             accessed = (uint16_t)fat_entry_DIR_LstAccDate(entry);
    attr->mtime = fat_time_decode(written, (uint16_t)fat_entry_DIR_WrtTime(entry), 0);
    attr->ctime = attr->mtime;
    attr->atime = accessed ? fat_time_decode(accessed, 0, 0) : attr->mtime;
    attr->has_crtime = fat_entry_DIR_CrtDate(entry) != 0;
    if (attr->has_crtime)
        attr->crtime =
            fat_time_decode((uint16_t)fat_entry_DIR_CrtDate(entry), (uint16_t)fat_entry_DIR_CrtTime(entry),
                            (uint8_t)MIN_OF(fat_entry_DIR_CrtTimeTenth(entry), 199));
}

bool fat_getattr(struct fs *fs, fs_id id, struct fs_attr *attr, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct fat_dir *dir;
    uint8_t entry[ENTRY_SIZE];
    if (!fat_entry_load(fat, id, entry, err))
        return false;
    unsigned bits = (unsigned)fat_entry_DIR_Attr(entry);
    bool directory = bits & FAT_DIRECTORY;
    *attr = (struct fs_attr){.id = id, .nlink = 1, .size = fat_entry_DIR_FileSize(entry)};
    if (directory) {
        if (!fat_dir_open(fat, id, &dir, err))
            return false;
        attr->size = (uint64_t)dir->slots * ENTRY_SIZE;
    }
    attr->allocated =
        directory ? attr->size : (uint64_t)fat_clusters_for(fat, attr->size) << fat->g.cluster_shift;
    attr->mode = directory ? S_IFDIR | 0755 : bits & FAT_READ_ONLY ? S_IFREG | 0444 : S_IFREG | 0644;
    for (size_t i = 0; i < ARRAY_LEN(dos_flags); i++)
        if (bits & dos_flags[i].attr)
            attr->flags |= dos_flags[i].flag;
    if (id == ROOT_ID)
        attr->mtime = attr->atime = attr->ctime = (struct fs_time){.sec = fat->limits.time_min};
    else
        fat_entry_times(entry, attr);
    return true;
}

bool fat_setattr(struct fs *fs, fs_id id, const struct fs_attr *attr, unsigned mask, struct error *err)
{
    struct fat *fat = fat_of(fs);
    uint8_t entry[ENTRY_SIZE];
    uint32_t known = FS_FLAG_DOS_READONLY | FS_FLAG_DOS_HIDDEN | FS_FLAG_DOS_SYSTEM | FS_FLAG_DOS_ARCHIVE;
    if ((mask & ATTR_FLAGS) && (attr->flags & ~known))
        return fail(err, E_UNSUPPORTED, "FAT has the attributes read-only, hidden, system and archive only");
    if (id == ROOT_ID) {
        if (mask & ATTR_FLAGS)
            return fail(err, E_UNSUPPORTED, "the root directory of a FAT volume has no attributes");
        return true;
    }
    if (!fat_entry_load(fat, id, entry, err))
        return false;
    unsigned bits = (unsigned)fat_entry_DIR_Attr(entry);
    if ((mask & ATTR_MODE) && !(bits & FAT_DIRECTORY))
        bits = attr->mode & 0222 ? bits & ~(unsigned)FAT_READ_ONLY : bits | FAT_READ_ONLY;
    for (size_t i = 0; (mask & ATTR_FLAGS) && i < ARRAY_LEN(dos_flags); i++)
        bits =
            attr->flags & dos_flags[i].flag ? bits | dos_flags[i].attr : bits & ~(unsigned)dos_flags[i].attr;
    fat_entry_set_DIR_Attr(entry, bits);
    fat_entry_set_times(entry, attr, mask);
    return fat_entry_store(fat, id, entry, err);
}
