/*
 * Another size. The clusters in use behind a new end move to free ones before it; where that tears a run
 * without a FAT chain apart it becomes a chain. A volume that grows past what its FAT describes gets a longer
 * one, in the gap before the clusters or in place of the first of them: those move, and all cluster numbers
 * become smaller by as many. The bitmap is written anew.
 *
 * Everything is planned in the old numbers. Then, in this order: runs become chains, entries get the new
 * first clusters where they are; clusters move; the FAT is written, each entry read before it is written
 * over; the boot regions say what is true now.
 */
#include "exfat.h"
#include "relocation.h"

enum { FAT_CHUNK = 16384 /* entries written at a time */, BITS_CHUNK = 65536 /* bytes of the bitmap */ };

/* Bitmap or up-case table: in one row, because some read them so. */
struct table {
    struct exfat_stream old;
    uint32_t count; /* of clusters that it needs */
    uint32_t row;   /* the first of them, in old numbers */
    bool stays;
};

struct resize {
    struct exfat *exfat;
    uint64_t sectors, fat_len, heap_off;
    uint32_t clusters;
    uint32_t shift; /* clusters that the FAT takes, and by how much numbers become smaller */
    struct relocation moves;
    uint32_t *head; /* old entries of clusters 2 to 2 + shift, which are written over before they are read */
    struct table bitmap, upcase;
    struct exfat_stream *todo; /* directories still to be looked into */
    size_t count, capacity;
    uint64_t *seen; /* bit: the cluster begins a directory that was found */
};

/* ---- the new layout ------------------------------------------------------------------------------------ */

static bool plan_layout(struct resize *r, uint64_t size, struct error *err)
{
    const struct exfat_geometry *g = &r->exfat->g;
    r->sectors = size / g->sector_size;
    size = r->sectors * g->sector_size;
    uint64_t clusters = size > g->heap_off ? (size - g->heap_off) >> g->cluster_shift : 0;
    if (clusters == 0)
        return fail(err, E_INVALID, "%llu bytes are too few: the clusters begin at byte %llu",
                    (unsigned long long)size, (unsigned long long)g->heap_off);
    if (clusters > MAX_CLUSTERS)
        return fail(err, E_UNSUPPORTED, "exFAT has at most %u clusters, here of %u bytes; not %llu",
                    MAX_CLUSTERS, g->cluster_size, (unsigned long long)clusters);
    uint64_t need = round_up((clusters + 2) * 4, g->sector_size), gap = g->heap_off - g->fat_off;
    r->shift = need > gap ? (uint32_t)div_up(need - gap, g->cluster_size) : 0;
    r->fat_len = MAX_OF(need, g->fat_len);
    r->heap_off = g->heap_off + ((uint64_t)r->shift << g->cluster_shift);
    r->clusters = (uint32_t)(clusters - r->shift);
    r->moves = (struct relocation){
        .begin = 2, .end = 2 + g->clusters, .lo = 2 + r->shift, .hi = 2 + r->shift + r->clusters};
    return true;
}

/* ---- what moves ---------------------------------------------------------------------------------------- */

/* Runs in use from `at` to `end`. */
static bool plan_moves(struct resize *r, uint32_t at, uint32_t end, struct error *err)
{
    const struct space *space = &r->exfat->space;
    while (at < end) {
        uint32_t start, len;
        bool more = space_next_run(space, at, &start, &len);
        uint32_t stop = more ? MIN_OF(start, end) : end;
        if (stop > at && !relocation_add(&r->moves, space, at, stop - at, err))
            return false;
        at = more ? start + len : end;
    }
    return true;
}

/* A table that cannot stay where it is gets another row, and its clusters are free from here on. */
static bool leave_table(struct resize *r, struct table *table, struct error *err)
{
    struct exfat *exfat = r->exfat;
    uint32_t first = table->old.first, have = exfat_clusters_for(exfat, table->old.size), cluster, len;
    table->stays = have >= table->count && first >= r->moves.lo && first + table->count <= r->moves.hi;
    for (uint32_t i = 0; i < have; i++) {
        if (!exfat_stream_map(exfat, &table->old, i, &cluster, &len, err))
            return false;
        table->stays = table->stays && len > 0 && cluster == first + i;
    }
    for (uint32_t i = table->stays ? table->count : 0; i < have; i++)
        if (!exfat_stream_map(exfat, &table->old, i, &cluster, &len, err) ||
            (len > 0 && !space_release(&exfat->space, cluster, 1, err)))
            return false;
    return true;
}

static bool place_table(struct resize *r, struct table *table, struct error *err)
{
    table->row = table->old.first;
    return table->stays || relocation_find(&r->moves, &r->exfat->space, table->count, &table->row, err);
}

static bool plan(struct resize *r, struct error *err)
{
    struct exfat *exfat = r->exfat;
    uint32_t end = exfat->g.clusters + 2;
    r->bitmap =
        (struct table){.old = exfat->bitmap, .count = exfat_clusters_for(exfat, div_up(r->clusters, 8))};
    r->upcase = (struct table){.old = exfat->upcase_place,
                               .count = exfat_clusters_for(exfat, exfat->upcase_place.size)};
    return leave_table(r, &r->bitmap, err) && leave_table(r, &r->upcase, err) &&
           plan_moves(r, 2, MIN_OF(r->moves.lo, end), err) &&
           plan_moves(r, MIN_OF(r->moves.hi, end), end, err) && place_table(r, &r->bitmap, err) &&
           place_table(r, &r->upcase, err);
}

/* The runs that became chains are among them. */
static bool keep_head(struct resize *r, struct error *err)
{
    r->head = mem_array(r->shift + 1, sizeof *r->head, err);
    if (!r->head)
        return false;
    for (uint32_t i = 0; i < r->shift; i++)
        if (!exfat_fat_get(r->exfat, 2 + i, &r->head[i], err))
            return false;
    return true;
}

/* ---- entries ------------------------------------------------------------------------------------------- */

/* Whether a run is one afterwards, too. */
static bool stays_row(const struct resize *r, uint32_t first, uint32_t count)
{
    uint32_t to = relocation_of(&r->moves, first);
    if (first >= r->moves.lo && first + count <= r->moves.hi)
        return true;
    for (uint32_t i = 0; i < count; i++)
        if (to == 0 || relocation_of(&r->moves, first + i) != to + i)
            return false;
    return true;
}

/* A stream extension, or a vendor's entry with the same fields.
 * Of a deleted file it may say nothing any more. */
static bool renumber_entry(struct resize *r, uint8_t *entry, bool in_use, struct error *err)
{
    struct exfat *exfat = r->exfat;
    uint32_t first = (uint32_t)exfat_stream_FirstCluster(entry);
    unsigned flags = (unsigned)exfat_stream_GeneralSecondaryFlags(entry);
    uint64_t size = exfat_stream_DataLength(entry);
    if (!exfat_valid_cluster(exfat, first) || size > (uint64_t)exfat->g.clusters << exfat->g.cluster_shift)
        return true;
    uint32_t count = MIN_OF(exfat_clusters_for(exfat, size), exfat->g.clusters - (first - 2));
    bool torn = (flags & FLAG_NO_FAT_CHAIN) && !stays_row(r, first, count);
    for (uint32_t i = 0; torn && in_use && i < count; i++)
        if (!exfat_fat_set(exfat, first + i, i + 1 < count ? first + i + 1 : CLUSTER_END, err))
            return false;
    if (torn && in_use)
        exfat_stream_set_GeneralSecondaryFlags(entry, flags & ~(unsigned)FLAG_NO_FAT_CHAIN);
    bool gone = !in_use && (torn || relocation_of(&r->moves, first) == 0);
    exfat_stream_set_FirstCluster(entry, gone ? 0 : relocation_number(&r->moves, first));
    return true;
}

static bool push_dir(struct resize *r, const struct exfat_stream *s, struct error *err)
{
    uint64_t bit = (uint64_t)1 << (s->first % 64);
    if (!exfat_valid_cluster(r->exfat, s->first) || (r->seen[s->first / 64] & bit))
        return true;
    r->seen[s->first / 64] |= bit;
    if (!mem_grow(&r->todo, &r->capacity, r->count + 1, sizeof *r->todo, err))
        return false;
    r->todo[r->count++] = *s;
    return true;
}

static bool renumber_set(struct resize *r, uint8_t *raw, uint32_t count, bool in_use, struct error *err)
{
    struct exfat_stream s;
    exfat_set_stream(raw, &s);
    if (in_use && (exfat_file_FileAttributes(raw) & EXFAT_DIRECTORY) && !push_dir(r, &s, err))
        return false;
    for (uint32_t i = 1; i < count; i++) {
        uint8_t *entry = raw + i * ENTRY_SIZE;
        /* What follows a deleted entry may belong to another set by now. */
        if (in_use != ((entry[0] & TYPE_IN_USE) != 0))
            break;
        if ((entry[0] | TYPE_IN_USE) != TYPE_NAME && (entry[1] & FLAG_ALLOCATION) &&
            !renumber_entry(r, entry, in_use, err))
            return false;
    }
    if (in_use)
        exfat_file_set_SetChecksum(raw, exfat_set_checksum(raw, count));
    return true;
}

static bool renumber_other(struct resize *r, uint8_t *raw, struct error *err)
{
    switch (raw[0]) {
    case TYPE_BITMAP:
        exfat_bitmap_set_FirstCluster(raw, r->bitmap.row - r->shift);
        exfat_bitmap_set_DataLength(raw, div_up(r->clusters, 8));
        return true;
    case TYPE_UPCASE:
        exfat_upcase_set_FirstCluster(raw, r->upcase.row - r->shift);
        return true;
    case TYPE_LABEL:
    case TYPE_GUID:
        return true;
    default: /* GeneralPrimaryFlags (section 6.3.4): whether it has clusters */
        return !(raw[4] & FLAG_ALLOCATION) ||
               fail(err, E_UNSUPPORTED, "an unknown entry of type 0x%02x may hold clusters", raw[0]);
    }
}

static bool renumber_item(struct exfat *exfat, struct exfat_dir *dir, const struct exfat_item *item,
                          void *arg, struct error *err)
{
    struct resize *r = arg;
    uint8_t raw[MAX_SET * ENTRY_SIZE];
    size_t n = (size_t)item->count * ENTRY_SIZE;
    if (item->kind == ITEM_ORPHAN || (item->kind == ITEM_DELETED && item->count < 2))
        return true;
    if (item->kind == ITEM_FILE && item->fault)
        return damaged(err, exfat->fs.device, item->off, "%s; fsck can repair it", item->fault);
    memcpy(raw, item->raw, n);
    if (item->kind == ITEM_OTHER ? !renumber_other(r, raw, err)
                                 : !renumber_set(r, raw, item->count, item->kind == ITEM_FILE, err))
        return false;
    return memcmp(raw, item->raw, n) == 0 || exfat_slots_write(exfat, dir, item->slot, item->count, raw, err);
}

static bool renumber_dirs(struct resize *r, struct error *err)
{
    struct exfat *exfat = r->exfat;
    struct exfat_stream root = {.first = exfat->g.root};
    exfat_dirs_drop(exfat);
    r->seen = mem_array(exfat->g.clusters / 64 + 1, sizeof *r->seen, err);
    bool ok = r->seen && push_dir(r, &root, err);
    while (ok && r->count > 0) {
        struct exfat_dir *dir;
        struct exfat_stream s = r->todo[--r->count];
        ok = (s.first == root.first ? exfat_dir_open(exfat, ROOT_ID, &dir, err)
                                    : exfat_dir_at(exfat, &s, exfat_id(s.first, 0), ROOT_ID, &dir, err)) &&
             exfat_dir_scan(exfat, dir, renumber_item, r, err);
    }
    return ok;
}

/* ---- the FAT and the tables ---------------------------------------------------------------------------- */

/* What follows a cluster (old number) in the row of a table; false: it is not one of that. */
static bool in_row(const struct resize *r, const struct table *table, uint32_t old, uint32_t *value)
{
    if (old < table->row || old - table->row >= table->count)
        return false;
    *value = old - table->row + 1 < table->count ? old + 1 - r->shift : CLUSTER_END;
    return true;
}

/* The new entry n, as it is stored. */
static bool new_entry(struct resize *r, uint32_t n, uint32_t *value, struct error *err)
{
    uint32_t old = n < 2 ? n : n + r->shift, from = n < 2 ? 0 : relocation_source(&r->moves, old);
    *value = 0;
    if (n >= 2 && (in_row(r, &r->bitmap, old, value) || in_row(r, &r->upcase, old, value)))
        return true;
    old = from ? from : old;
    if (n >= 2 && old < 2 + r->shift)
        *value = r->head[old - 2];
    else if (old < r->exfat->g.clusters + 2 && !exfat_fat_get(r->exfat, old, value, err))
        return false;
    if (n >= 2)
        *value = relocation_number(&r->moves, *value);
    return true;
}

/* All entries, and zeros behind them. */
static bool rewrite_fat(struct resize *r, struct error *err)
{
    struct device *dev = r->exfat->fs.device;
    uint64_t fat_off = r->exfat->g.fat_off, off = 0;
    uint8_t *buf = mem_new((size_t)FAT_CHUNK * 4, err);
    bool ok = buf != NULL;
    for (uint32_t n = 0; ok && n < r->clusters + 2;) {
        uint32_t count = MIN_OF((uint32_t)FAT_CHUNK, r->clusters + 2 - n);
        for (uint32_t i = 0; ok && i < count; i++, n++) {
            uint32_t value;
            ok = new_entry(r, n, &value, err);
            store_le32(buf + (size_t)i * 4, value);
        }
        ok = ok && interrupt_check(err) &&
             device_write(dev, fat_off + off, buf, (size_t)count * 4, WRITE_UPDATE, err);
        off += (uint64_t)count * 4;
    }
    free(buf);
    return ok && device_zero(dev, fat_off + off, r->fat_len - off, WRITE_UPDATE, err);
}

/* Whether a cluster (old number) is in use afterwards. */
static bool used(const struct resize *r, uint32_t old)
{
    uint32_t ignored;
    return in_row(r, &r->bitmap, old, &ignored) || in_row(r, &r->upcase, old, &ignored) ||
           relocation_source(&r->moves, old) != 0 ||
           (old < r->exfat->g.clusters + 2 && !space_is_free(&r->exfat->space, old));
}

static bool write_bitmap(struct resize *r, struct error *err)
{
    struct exfat *exfat = r->exfat;
    uint64_t at = exfat_cluster_off(exfat, r->bitmap.row), bytes = div_up(r->clusters, 8);
    uint8_t *buf = mem_bytes(BITS_CHUNK, err);
    bool ok = buf != NULL;
    for (uint64_t off = 0; ok && off < bytes; off += BITS_CHUNK) {
        size_t n = (size_t)MIN_OF(bytes - off, BITS_CHUNK);
        memset(buf, 0, n);
        for (uint64_t i = off * 8; i < MIN_OF((off + n) * 8, r->clusters); i++)
            if (used(r, (uint32_t)i + 2 + r->shift))
                buf[i / 8 - off] |= (uint8_t)(1u << (i % 8));
        ok = interrupt_check(err) && device_write(exfat->fs.device, at + off, buf, n, WRITE_UPDATE, err);
    }
    free(buf);
    return ok;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static bool patch_boot(struct resize *r, struct error *err)
{
    uint8_t boot[512] = {0};
    enum { FROM = exfat_boot_off_VolumeLength, TO = exfat_boot_off_FirstClusterOfRootDirectory + 4 };
    uint32_t ss = r->exfat->g.sector_size;
    exfat_boot_set_VolumeLength(boot, r->sectors);
    exfat_boot_set_FatOffset(boot, r->exfat->g.fat_off / ss);
    exfat_boot_set_FatLength(boot, r->fat_len / ss);
    exfat_boot_set_ClusterHeapOffset(boot, r->heap_off / ss);
    exfat_boot_set_ClusterCount(boot, r->clusters);
    exfat_boot_set_FirstClusterOfRootDirectory(boot, relocation_number(&r->moves, r->exfat->g.root));
    return exfat_boot_patch(r->exfat, FROM, boot + FROM, TO - FROM, err);
}

static bool flush(struct exfat *exfat, struct error *err)
{
    exfat_table_unpin(exfat);
    return cache_flush(exfat->table, err) && cache_flush(exfat->meta, err);
}

static bool move_all(struct resize *r, struct error *err)
{
    struct exfat *exfat = r->exfat;
    struct device *dev = exfat->fs.device;
    size_t size = (size_t)r->upcase.old.size;
    uint8_t *table = mem_bytes(size, err);
    bool ok = table && exfat_table_read(exfat, &r->upcase.old, table, err) && renumber_dirs(r, err) &&
              keep_head(r, err) && flush(exfat, err) &&
              relocation_copy(&r->moves, dev, exfat->g.heap_off, 2, exfat->g.cluster_size, err) &&
              rewrite_fat(r, err) && write_bitmap(r, err) &&
              device_write(dev, exfat_cluster_off(exfat, r->upcase.row), table, size, WRITE_UPDATE, err);
    free(table);
    return ok;
}

/* Whatever was known is of the old layout; the percentage on disk follows with the next flush. */
static bool look_again(struct exfat *exfat, struct error *err)
{
    if (!exfat->fs.driver->reload(&exfat->fs, err) || !exfat_space_load(exfat, err))
        return false;
    exfat->space.changed = true;
    return true;
}

bool exfat_resize(struct fs *fs, uint64_t size, struct error *err)
{
    struct resize r = {.exfat = exfat_of(fs)};
    bool ok = exfat_space_load(r.exfat, err) && plan_layout(&r, size, err) && plan(&r, err) &&
              move_all(&r, err) && patch_boot(&r, err) && flush(r.exfat, err) && look_again(r.exfat, err);
    relocation_clear(&r.moves);
    free(r.head);
    free(r.todo);
    free(r.seen);
    return ok;
}

bool exfat_min_size(struct fs *fs, uint64_t *size, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    if (!exfat_space_load(exfat, err))
        return false;
    *size = exfat->g.heap_off + ((uint64_t)(exfat->g.clusters - exfat->space.free) << exfat->g.cluster_shift);
    return true;
}
