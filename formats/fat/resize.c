/*
 * Another size. The clusters in use behind a new end move to free ones before it. A volume that grows past
 * what its FATs describe gets longer ones: they take the place of the first clusters, which move, and all
 * cluster numbers become smaller by as many. FATs that are longer than needed stay so.
 *
 * Everything is planned in the old numbers. Then, in this order: directory entries are given the new first
 * clusters where they are; clusters move; the FATs are written anew, each entry read before it is written
 * over; the boot sectors say what is true now.
 */
#include "fat.h"
#include "relocation.h"

enum { FAT_CHUNK = 8192 /* entries written at a time: whole bytes in each width */ };

struct resize {
    struct fat *fat;
    uint64_t sectors;
    uint32_t fat_sectors, clusters;
    uint32_t shift; /* clusters that the FATs take, and by how much numbers become smaller */
    struct relocation moves;
    uint32_t *head; /* old entries of clusters 2 to 2 + shift, which are written over before they are read */
};

/* ---- the new layout ------------------------------------------------------------------------------------ */

static uint32_t fewest_clusters(const struct fat_geometry *g)
{
    uint32_t fewest = g->bits == 12 ? 1 : g->bits == 16 ? FAT12_LIMIT : FAT16_LIMIT;
    return MIN_OF(fewest, g->clusters); /* a small FAT32 that somebody made stays one */
}

static uint32_t most_clusters(const struct fat_geometry *g)
{
    return g->bits == 12 ? FAT12_LIMIT - 1 : g->bits == 16 ? FAT16_LIMIT - 1 : FAT32_LIMIT;
}

static uint64_t clusters_in(const struct fat_geometry *g, uint64_t sectors)
{
    uint64_t data = g->data_off / g->sector_size;
    return sectors > data ? (sectors - data) / (g->cluster_size / g->sector_size) : 0;
}

/* Longer FATs move the first cluster by whole clusters, so that all others keep their places. */
static bool lengthen_fats(struct resize *r, uint64_t clusters, struct error *err)
{
    const struct fat_geometry *g = &r->fat->g;
    uint32_t per_cluster = g->cluster_size / g->sector_size, step = per_cluster;
    for (uint32_t fats = g->fats; step > 1 && fats % 2 == 0; fats /= 2)
        step /= 2;
    uint64_t need = div_up(div_up((clusters + 2) * g->bits, 8), g->sector_size);
    uint64_t more = need > g->fat_sectors ? round_up(need - g->fat_sectors, step) : 0;
    r->fat_sectors = (uint32_t)(g->fat_sectors + more);
    r->shift = (uint32_t)(more * g->fats / per_cluster);
    if (r->shift > 0 && !g->mirrored)
        return fail(err, E_UNSUPPORTED, "the FATs must become longer, and FAT %u alone is active",
                    g->active_fat);
    r->clusters = (uint32_t)(clusters > r->shift ? clusters - r->shift : 0);
    return true;
}

static bool plan_layout(struct resize *r, uint64_t size, struct error *err)
{
    const struct fat_geometry *g = &r->fat->g;
    uint32_t fewest = fewest_clusters(g), most = most_clusters(g);
    r->sectors = size / g->sector_size;
    uint64_t clusters = clusters_in(g, r->sectors);
    if (r->sectors > UINT32_MAX)
        return fail(err, E_TOOBIG, "FAT counts at most 4294967295 sectors of %u bytes", g->sector_size);
    if (clusters < fewest)
        return fail(err, E_INVALID, "%s with %llu clusters of %u bytes is none: it has at least %u",
                    r->fat->fs.type, (unsigned long long)clusters, g->cluster_size, fewest);
    if (!lengthen_fats(r, clusters, err))
        return false;
    if (r->clusters > most)
        return fail(err, E_UNSUPPORTED,
                    "%s has at most %u clusters, here of %u bytes; %llu would be another type of FAT",
                    r->fat->fs.type, most, g->cluster_size, (unsigned long long)clusters);
    r->moves = (struct relocation){
        .begin = 2, .end = 2 + g->clusters, .lo = 2 + r->shift, .hi = 2 + r->shift + r->clusters};
    return true;
}

/* ---- what moves ---------------------------------------------------------------------------------------- */

/* Clusters in use from `at` to `end`; those marked bad go. */
static bool plan_moves(struct resize *r, uint32_t at, uint32_t end, struct error *err)
{
    uint32_t start = at;
    for (; at <= end; at++) {
        uint32_t value = CLUSTER_FREE;
        if (at % 65536 == 0 && !interrupt_check(err))
            return false;
        if (at < end && !fat_get(r->fat, at, &value, err))
            return false;
        if (value != CLUSTER_FREE && value != CLUSTER_BAD)
            continue;
        if (!relocation_add(&r->moves, &r->fat->space, start, at - start, err))
            return false;
        start = at + 1;
    }
    return true;
}

static bool keep_head(struct resize *r, struct error *err)
{
    r->head = mem_array(r->shift + 1, sizeof *r->head, err);
    if (!r->head)
        return false;
    for (uint32_t i = 0; i < r->shift; i++)
        if (!fat_get_raw(r->fat, 2 + i, &r->head[i], err))
            return false;
    return true;
}

/* ---- directories --------------------------------------------------------------------------------------- */

struct walk {
    uint32_t *todo; /* first clusters of directories */
    size_t count, capacity;
    uint64_t *seen; /* bit: the cluster begins a directory that was found */
};

static bool push_dir(struct walk *walk, uint32_t first, struct error *err)
{
    uint64_t bit = (uint64_t)1 << (first % 64);
    if (walk->seen[first / 64] & bit)
        return true;
    walk->seen[first / 64] |= bit;
    if (!mem_grow(&walk->todo, &walk->capacity, walk->count + 1, sizeof *walk->todo, err))
        return false;
    walk->todo[walk->count++] = first;
    return true;
}

/* Of deleted entries, too, so that they can still be undeleted. */
static bool renumber_entry(struct resize *r, struct walk *walk, uint8_t *raw, bool *changed,
                           struct error *err)
{
    unsigned attr = (unsigned)fat_entry_DIR_Attr(raw);
    uint32_t first = fat_entry_cluster(r->fat, raw), now = relocation_number(&r->moves, first);
    *changed = false;
    if ((attr & FAT_LONG_MASK) == FAT_LONG_NAME || !fat_valid_cluster(r->fat, first))
        return true;
    if ((attr & FAT_DIRECTORY) && raw[0] != SLOT_FREE && raw[0] != '.' && !push_dir(walk, first, err))
        return false;
    *changed = now != first;
    fat_entry_set_cluster(r->fat, raw, now);
    return true;
}

static bool renumber_dir(struct resize *r, struct walk *walk, uint32_t first, struct error *err)
{
    struct fat_dir *dir;
    struct cache_block *block;
    uint8_t *raw;
    if (!interrupt_check(err) ||
        !fat_dir_open_cluster(r->fat, first, first == r->fat->g.root ? ROOT_ID : 0, &dir, err))
        return false;
    for (uint32_t slot = 0; slot < dir->slots; slot++) {
        bool changed;
        if (!fat_slot_get(r->fat, dir, slot, &block, &raw, err))
            return false;
        bool end = raw[0] == SLOT_END, ok = end || renumber_entry(r, walk, raw, &changed, err);
        if (ok && !end && changed)
            cache_dirty(r->fat->meta, block, WRITE_UPDATE);
        cache_release(r->fat->meta, block);
        if (end || !ok)
            return ok;
    }
    return true;
}

static bool renumber_dirs(struct resize *r, struct error *err)
{
    struct walk walk = {.seen = mem_array(r->fat->g.clusters / 64 + 1, sizeof *walk.seen, err)};
    bool ok = walk.seen && push_dir(&walk, r->fat->g.root, err);
    while (ok && walk.count > 0)
        ok = renumber_dir(r, &walk, walk.todo[--walk.count], err);
    free(walk.todo);
    free(walk.seen);
    return ok;
}

/* ---- the FATs ------------------------------------------------------------------------------------------ */

/* The new entry n, as it is stored. */
static bool new_entry(struct resize *r, uint32_t n, uint32_t *value, struct error *err)
{
    uint32_t old = n < 2 ? n : n + r->shift, from = n < 2 ? 0 : relocation_source(&r->moves, old);
    old = from ? from : old;
    *value = 0;
    if (n >= 2 && old < 2 + r->shift)
        *value = r->head[old - 2];
    else if (old < r->fat->g.clusters + 2 && !fat_get_raw(r->fat, old, value, err))
        return false;
    if (n >= 2)
        *value = relocation_number(&r->moves, *value);
    return true;
}

static void put_entry(unsigned bits, uint8_t *buf, uint32_t i, uint32_t value)
{
    uint8_t *at = buf + (uint64_t)i * bits / 8;
    if (bits == 32)
        store_le32(at, value);
    else if (bits == 16)
        store_le16(at, (uint16_t)value);
    else /* an even entry first clears what belongs to the odd one */
        store_le16(at, (uint16_t)(i & 1 ? (load_le16(at) & 0x000F) | value << 4 : value & 0xFFF));
}

static bool write_fats(struct resize *r, uint64_t off, const uint8_t *buf, uint64_t n, struct error *err)
{
    const struct fat_geometry *g = &r->fat->g;
    uint64_t len = (uint64_t)r->fat_sectors * g->sector_size;
    n = MIN_OF(n, len - off);
    for (uint32_t i = 0; n > 0 && i < g->fats; i++) {
        uint64_t at = g->fat_off + i * len + off;
        if ((g->mirrored || i == g->active_fat) &&
            !(buf ? device_write(r->fat->fs.device, at, buf, (size_t)n, WRITE_UPDATE, err)
                  : device_zero(r->fat->fs.device, at, n, WRITE_UPDATE, err)))
            return false;
    }
    return true;
}

/* All entries, and zeros behind them: nothing is said of clusters that are not there. */
static bool rewrite_fats(struct resize *r, struct error *err)
{
    unsigned bits = r->fat->g.bits;
    uint64_t bytes = (uint64_t)FAT_CHUNK * bits / 8, off = 0;
    uint8_t *buf = mem_new((size_t)bytes + 1, err);
    bool ok = buf != NULL;
    for (uint32_t n = 0; ok && n < r->clusters + 2; off += bytes) {
        memset(buf, 0, (size_t)bytes);
        for (uint32_t i = 0; ok && i < FAT_CHUNK && n < r->clusters + 2; i++, n++) {
            uint32_t value;
            ok = new_entry(r, n, &value, err);
            put_entry(bits, buf, i, value);
        }
        ok = ok && interrupt_check(err) && write_fats(r, off, buf, bytes, err);
    }
    free(buf);
    uint64_t len = (uint64_t)r->fat_sectors * r->fat->g.sector_size;
    return ok && (off >= len || write_fats(r, off, NULL, len - off, err));
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static bool patch_boot(struct resize *r, struct error *err)
{
    struct fat *fat = r->fat;
    bool wide = fat->g.bits == 32, small = !wide && r->sectors < 65536;
    uint8_t total16[2], total32[4], length[4], root[4];
    store_le16(total16, small ? (uint16_t)r->sectors : 0);
    store_le32(total32, small ? 0 : (uint32_t)r->sectors);
    store_le32(length, r->fat_sectors);
    store_le32(root, relocation_number(&r->moves, fat->g.root));
    return fat_boot_patch(fat, fat_bpb_off_BPB_TotSec16, total16, sizeof total16, err) &&
           fat_boot_patch(fat, fat_bpb_off_BPB_TotSec32, total32, sizeof total32, err) &&
           fat_boot_patch(fat, wide ? fat_boot32_off_BPB_FATSz32 : fat_bpb_off_BPB_FATSz16, length,
                          wide ? 4 : 2, err) &&
           (!wide || fat_boot_patch(fat, fat_boot32_off_BPB_RootClus, root, sizeof root, err));
}

static bool flush(struct fat *fat, struct error *err)
{
    fat_table_unpin(fat);
    return cache_flush(fat->table, err) && cache_flush(fat->meta, err);
}

/* The fixed root directory lies behind the FATs and moves with their end. */
static bool move_all(struct resize *r, struct error *err)
{
    struct fat *fat = r->fat;
    const struct fat_geometry *g = &fat->g;
    uint64_t root_off = g->fat_off + (uint64_t)g->fats * r->fat_sectors * g->sector_size;
    uint8_t *root = mem_bytes((size_t)g->root_len, err);
    bool ok = root && renumber_dirs(r, err) && flush(fat, err) &&
              device_read(fat->fs.device, g->root_off, root, (size_t)g->root_len, err) &&
              relocation_copy(&r->moves, fat->fs.device, g->data_off, 2, g->cluster_size, err) &&
              rewrite_fats(r, err) &&
              device_write(fat->fs.device, root_off, root, (size_t)g->root_len, WRITE_UPDATE, err);
    free(root);
    return ok;
}

/* Whatever was known is of the old layout; the count of free clusters on disk follows with the next flush. */
static bool look_again(struct fat *fat, struct error *err)
{
    if (!fat->fs.driver->reload(&fat->fs, err) || !fat_space_load(fat, err))
        return false;
    fat->space.changed = true;
    return true;
}

bool fat_resize(struct fs *fs, uint64_t size, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct resize r = {.fat = fat};
    uint32_t end = fat->g.clusters + 2;
    bool ok = fat_space_load(fat, err) && plan_layout(&r, size, err) &&
              plan_moves(&r, 2, MIN_OF(r.moves.lo, end), err) &&
              plan_moves(&r, MIN_OF(r.moves.hi, end), end, err) && keep_head(&r, err) && move_all(&r, err) &&
              patch_boot(&r, err) && flush(fat, err) && look_again(fat, err);
    relocation_clear(&r.moves);
    free(r.head);
    return ok;
}

bool fat_min_size(struct fs *fs, uint64_t *size, struct error *err)
{
    struct fat *fat = fat_of(fs);
    if (!fat_space_load(fat, err))
        return false;
    uint32_t used = MAX_OF(fat->g.clusters - fat->space.free, fewest_clusters(&fat->g));
    *size = fat->g.data_off + ((uint64_t)used << fat->g.cluster_shift);
    return true;
}
