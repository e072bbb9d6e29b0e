/*
 * Free clusters. A map with one bit for each cluster is built by one scan of the FAT and kept. Clusters that
 * were freed since the last commit stay marked in it, because the committed state may still refer to them:
 * they are handed out only when nothing else is left.
 */
#include "fat.h"

enum { SCAN_BYTES = 256 * 1024 };

static bool is_busy(const struct fat *fat, uint32_t cluster)
{
    return fat->space.busy[cluster / 64] >> (cluster % 64) & 1;
}

static void set_busy(struct fat *fat, uint32_t start, uint32_t len, bool busy)
{
    for (uint32_t c = start; c < start + len;) {
        uint32_t bit = c % 64, n = MIN_OF(64 - bit, start + len - c);
        uint64_t mask = (n == 64 ? ~(uint64_t)0 : (((uint64_t)1 << n) - 1)) << bit;
        if (busy)
            fat->space.busy[c / 64] |= mask;
        else
            fat->space.busy[c / 64] &= ~mask;
        c += n;
    }
}

static void count_entry(struct fat *fat, uint32_t cluster, uint32_t value, uint32_t bad)
{
    if (value == 0) {
        fat->space.free++;
        return;
    }
    fat->space.bad += value == bad;
    fat->space.busy[cluster / 64] |= (uint64_t)1 << (cluster % 64);
}

static bool scan_wide(struct fat *fat, struct error *err)
{
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
                count_entry(fat, cluster, load_le32(buf + i) & 0x0FFFFFFF, CLUSTER_BAD);
            else
                count_entry(fat, cluster, load_le16(buf + i), 0xFFF7);
        }
    }
    free(buf);
    return ok;
}

static bool scan_table(struct fat *fat, struct error *err)
{
    if (fat->g.bits != 12) {
        fat_table_unpin(fat);
        return cache_flush(fat->table, err) && scan_wide(fat, err);
    }
    for (uint32_t c = 2; c < fat->g.clusters + 2; c++) {
        uint32_t value;
        if (!fat_get(fat, c, &value, err))
            return false;
        count_entry(fat, c, value, CLUSTER_BAD);
    }
    return true;
}

/* Clusters freed since the last commit that are free now: keep them out of the search. */
static bool hold_freed(struct fat *fat, struct error *err)
{
    struct range range;
    ranges_clear(&fat->space.held);
    for (uint64_t at = 2; ranges_next(&fat->space.freed, at, &range); at = range.start + range.len)
        for (uint64_t c = range.start; c < range.start + range.len; c++)
            if (!is_busy(fat, (uint32_t)c)) {
                if (!ranges_add(&fat->space.held, c, 1, err))
                    return false;
                set_busy(fat, (uint32_t)c, 1, true);
            }
    return true;
}

static uint32_t first_search(struct fat *fat)
{
    struct cache_block *block;
    struct error ignored;
    uint32_t cursor = 2;
    if (fat->g.fsinfo &&
        cache_get(fat->meta, (uint64_t)fat->g.fsinfo * fat->g.sector_size, &block, &ignored)) {
        uint32_t hint = (uint32_t)fat_fsinfo_FSI_Nxt_Free(block->data);
        if (fat_fsinfo_FSI_StrucSig(block->data) == 0x61417272 && fat_valid_cluster(fat, hint))
            cursor = hint;
        cache_release(fat->meta, block);
    }
    return cursor;
}

bool fat_space_load(struct fat *fat, struct error *err)
{
    struct fat_space *space = &fat->space;
    if (space->loaded)
        return true;
    fat_space_drop(fat);
    space->busy = mem_array(fat->g.clusters / 64 + 2, sizeof *space->busy, err);
    if (!space->busy || !scan_table(fat, err) || !hold_freed(fat, err)) {
        fat_space_drop(fat);
        return false;
    }
    space->cursor = first_search(fat);
    space->longest = fat->g.clusters;
    space->loaded = true;
    space->scans++;
    return true;
}

void fat_space_drop(struct fat *fat)
{
    struct fat_space *space = &fat->space;
    free(space->busy);
    space->busy = NULL;
    space->loaded = space->changed = false;
    space->free = space->bad = 0;
    ranges_clear(&space->held);
    ranges_clear(&space->fresh);
}

void fat_space_committed(struct fat *fat)
{
    struct range range;
    for (uint64_t at = 2; fat->space.loaded && ranges_next(&fat->space.held, at, &range);
         at = range.start + range.len)
        set_busy(fat, (uint32_t)range.start, (uint32_t)range.len, false);
    fat->space.longest = fat->g.clusters;
    ranges_clear(&fat->space.held);
    ranges_clear(&fat->space.freed);
}

void fat_space_free(struct fat *fat)
{
    fat_space_drop(fat);
    ranges_clear(&fat->space.freed);
}

bool fat_space_is_free(const struct fat *fat, uint32_t cluster)
{
    return !is_busy(fat, cluster) || ranges_contains(&fat->space.held, cluster, 1);
}

/* The first cluster at or after `from` whose bit is `busy`; `end` when there is none. */
static uint32_t scan_bit(const struct fat *fat, uint32_t from, uint32_t end, bool busy)
{
    const uint64_t *map = fat->space.busy;
    while (from < end) {
        uint64_t word = (busy ? map[from / 64] : ~map[from / 64]) >> (from % 64);
        if (word)
            return MIN_OF(from + (uint32_t)__builtin_ctzll(word), end);
        from = (from / 64 + 1) * 64;
    }
    return end;
}

/* Look for `want` clusters in a row in from..end; *start and *len keep the longest run seen. */
static bool search(const struct fat *fat, uint32_t from, uint32_t end, uint32_t want, uint32_t *start,
                   uint32_t *len)
{
    while (*len < want) {
        uint32_t run = scan_bit(fat, from, end, false);
        if (run == end)
            return false;
        uint32_t limit = MIN_OF(end - run, want) + run;
        from = scan_bit(fat, run, limit, true);
        if (from - run > *len) {
            *start = run;
            *len = from - run;
        }
    }
    return true;
}

static bool pick(struct fat *fat, uint32_t want, uint32_t goal, uint32_t *start, uint32_t *len)
{
    struct fat_space *space = &fat->space;
    uint32_t end = fat->g.clusters + 2;
    *len = 0;
    if (goal >= 2 && goal < end && !is_busy(fat, goal)) {
        *start = goal;
        *len = scan_bit(fat, goal, MIN_OF(end - goal, want) + goal, true) - goal;
        return true;
    }
    if (!fat_valid_cluster(fat, space->cursor))
        space->cursor = 2;
    want = MIN_OF(want, MAX_OF(space->longest, 1));
    if (!search(fat, space->cursor, end, want, start, len) &&
        !search(fat, 2, space->cursor, want, start, len))
        space->longest = *len;
    return *len > 0;
}

bool fat_space_find(struct fat *fat, uint32_t want, uint32_t *start)
{
    uint32_t len;
    return pick(fat, want, 0, start, &len) && len >= want;
}

bool fat_space_claim(struct fat *fat, uint32_t cluster, struct error *err)
{
    if (!ranges_remove(&fat->space.held, cluster, 1, err))
        return false;
    set_busy(fat, cluster, 1, true);
    fat->space.free--;
    fat->space.changed = true;
    return true;
}

bool fat_space_take(struct fat *fat, uint32_t want, uint32_t goal, uint32_t *start, uint32_t *len,
                    struct error *err)
{
    struct fat_space *space = &fat->space;
    struct range range;
    if (!fat_space_load(fat, err))
        return false;
    if (pick(fat, want, goal, start, len)) {
        if (!ranges_add(&space->fresh, *start, *len, err))
            return false;
        set_busy(fat, *start, *len, true);
    } else {
        if (!ranges_next(&space->held, 2, &range))
            return fail(err, E_NOSPACE, "the volume is full");
        *start = (uint32_t)range.start;
        *len = (uint32_t)MIN_OF(range.len, want);
        if (!ranges_remove(&space->held, *start, *len, err))
            return false;
    }
    space->free -= *len;
    space->cursor = *start + *len;
    space->changed = true;
    return true;
}

static bool release(struct fat *fat, uint32_t start, uint32_t len, struct error *err)
{
    struct fat_space *space = &fat->space;
    space->free += len;
    space->changed = true;
    return ranges_add(&space->freed, start, len, err) && ranges_add(&space->held, start, len, err) &&
           ranges_remove(&space->fresh, start, len, err);
}

bool fat_chain_free(struct fat *fat, uint32_t first, struct error *err)
{
    uint32_t start = first, len = 0, cluster = first;
    if (!fat_space_load(fat, err))
        return false;
    fat_node_forget(fat, first);
    while (fat_valid_cluster(fat, cluster)) {
        uint32_t next;
        if (!fat_get(fat, cluster, &next, err))
            return false;
        if (next == CLUSTER_FREE || next == CLUSTER_BAD)
            break;
        if (!fat_set(fat, cluster, CLUSTER_FREE, err))
            return false;
        if (cluster != start + len) {
            if (!release(fat, start, len, err))
                return false;
            start = cluster;
            len = 0;
        }
        len++;
        cluster = next;
    }
    return len == 0 || release(fat, start, len, err);
}

enum write_class fat_write_class(const struct fat *fat, uint32_t cluster, uint32_t count)
{
    return ranges_contains(&fat->space.fresh, cluster, count) ? WRITE_FRESH : WRITE_UPDATE;
}
