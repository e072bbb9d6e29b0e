/*
 * How a directory begins: telling one from other contents, and giving it back its first two entries, . and ..
 * (FATGEN, "FAT Directory Structure").
 */
#include "check.h"

static bool is_dot(const uint8_t *raw, unsigned dots)
{
    uint8_t name[SHORT_NAME];
    memset(name, ' ', sizeof name);
    memset(name, '.', dots);
    return memcmp(raw, name, sizeof name) == 0;
}

static bool could_be_entry(const struct fat *fat, const uint8_t *raw)
{
    unsigned attr = (unsigned)fat_entry_DIR_Attr(raw);
    if (raw[0] == SLOT_END)
        return all_zero(raw, ENTRY_SIZE);
    if (attr & ~(unsigned)FAT_LONG_MASK)
        return false;
    if ((attr & FAT_LONG_MASK) == FAT_LONG_NAME)
        return fat_long_LDIR_FstClusLO(raw) == 0;
    uint32_t first = fat_entry_cluster(fat, raw);
    return (raw[0] == SLOT_FREE || !fat_bad_short(raw)) && (first == 0 || fat_valid_cluster(fat, first));
}

bool fat_check_is_dir(struct fat_check *c, uint32_t first, bool *holds)
{
    struct fat *fat = c->fat;
    struct cache_block *block;
    uint32_t good = 0, bad = 0;
    if (!check_run_did(&c->run, cache_get(fat->meta, fat_cluster_off(fat, first), &block, c->run.err)))
        return false;
    *holds = is_dot(block->data, 1) || is_dot(block->data + ENTRY_SIZE, 2);
    for (uint32_t at = 0; !*holds && at < fat->g.sector_size; at += ENTRY_SIZE)
        ++*(could_be_entry(fat, block->data + at) ? &good : &bad);
    *holds = *holds || good >= bad;
    cache_release(fat->meta, block);
    return true;
}

/* Files whose entries stand where the two belong. */
struct in_the_way {
    uint32_t first[2], last[2];
    unsigned count;
};

static bool find_in_the_way(struct fat *fat, struct fat_dir *dir, const struct fat_item *item, void *arg,
                            struct error *err)
{
    struct in_the_way *way = arg;
    (void)fat;
    if (item->first_slot > 1)
        return false;
    if (item->kind != ITEM_DELETED && item->kind != ITEM_DOT && way->count < 2) {
        way->first[way->count] = item->first_slot;
        way->last[way->count++] = item->slot;
    }
    return slots_mark(&dir->index, item->first_slot, item->slot - item->first_slot + 1, true, err);
}

static bool move_slots(struct fat *fat, struct fat_dir *dir, uint32_t first, uint32_t last, struct error *err)
{
    static const uint8_t unused[1] = {SLOT_FREE};
    uint32_t to, count = last - first + 1;
    if (!fat_dir_take(fat, dir, count, &to, err))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct cache_block *block;
        uint8_t *raw, copy[ENTRY_SIZE];
        if (!fat_slot_get(fat, dir, first + i, &block, &raw, err))
            return false;
        memcpy(copy, raw, ENTRY_SIZE);
        cache_release(fat->meta, block);
        if (!fat_slot_put(fat, dir, to + i, copy, ENTRY_SIZE, err) ||
            !fat_slot_put(fat, dir, first + i, unused, 1, err))
            return false;
    }
    return fat_dir_move_end(fat, dir, to + count, err);
}

static bool put_dots(struct fat *fat, struct fat_dir *dir, uint32_t parent, struct error *err)
{
    for (unsigned i = 0; i < 2; i++) {
        uint8_t raw[ENTRY_SIZE] = {0};
        memset(raw, ' ', SHORT_NAME);
        memset(raw, '.', i + 1);
        fat_entry_set_DIR_Attr(raw, FAT_DIRECTORY);
        fat_entry_set_DIR_WrtDate(raw, 1 << 5 | 1);
        fat_entry_set_cluster(fat, raw, i == 0 ? dir->first : parent == fat->g.root ? 0 : parent);
        if (!fat_slot_put(fat, dir, i, raw, ENTRY_SIZE, err))
            return false;
    }
    return fat_dir_move_end(fat, dir, 2, err);
}

/* What the directory has grown by belongs to it. */
static bool claim_all(struct fat_check *c, uint32_t first)
{
    for (uint32_t cluster = first; cluster != CLUSTER_END;) {
        check_run_mark(&c->run, cluster, true);
        if (!fat_next(c->fat, cluster, &cluster, c->run.err))
            return false;
    }
    return true;
}

bool fat_check_add_dots(struct fat_check *c, uint32_t first, uint32_t parent)
{
    struct fat *fat = c->fat;
    struct fat_dir *dir;
    struct in_the_way way = {.count = 0};
    /* The map of free clusters does not know what was repaired before. */
    space_drop(&fat->space);
    fat_dir_forget(fat, first);
    bool ok = fat_dir_index_cluster(fat, first, &dir, c->run.err) &&
              fat_dir_scan(fat, dir, find_in_the_way, &way, c->run.err) &&
              slots_mark(&dir->index, 0, 2, true, c->run.err);
    for (unsigned i = 0; ok && i < way.count; i++)
        ok = move_slots(fat, dir, way.first[i], way.last[i], c->run.err);
    ok = ok && put_dots(fat, dir, parent, c->run.err) && claim_all(c, first);
    fat_dir_forget(fat, first);
    return check_run_did(&c->run, ok);
}
