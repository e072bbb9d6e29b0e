/* What a directory holds: slots, and the items that they form, a short entry with its long name above all. */
#include "fat.h"
#include "utf.h"

#include <stdio.h>

/* Most directories are short: as much is read ahead as was read already. */
enum { FIRST_AHEAD = 4096, MOST_AHEAD = 128 * 1024 };

/* ---- slots --------------------------------------------------------------------------------------------- */

bool fat_slot_off(struct fat *fat, struct fat_dir *dir, uint32_t slot, uint64_t *off, struct error *err)
{
    struct chain *chain;
    uint64_t pos = (uint64_t)slot * ENTRY_SIZE;
    uint32_t cluster, len;
    *off = 0;
    if (dir->first == 0) {
        if (slot >= fat->g.root_entries)
            return fail(err, E_INVALID, "the root directory has %u entries", fat->g.root_entries);
        *off = fat->g.root_off + pos;
        return true;
    }
    if (!fat_chain_open(fat, dir->first, &chain, err) ||
        !fat_chain_map(fat, chain, (uint32_t)(pos >> fat->g.cluster_shift), &cluster, &len, err))
        return false;
    if (len == 0)
        return fail(err, E_INVALID, "the directory has no entry %u", slot);
    *off = fat_cluster_off(fat, cluster) + (pos & (fat->g.cluster_size - 1));
    return true;
}

bool fat_slot_get(struct fat *fat, struct fat_dir *dir, uint32_t slot, struct cache_block **block,
                  uint8_t **raw, struct error *err)
{
    uint64_t off;
    if (!fat_slot_off(fat, dir, slot, &off, err) ||
        !cache_get(fat->meta, round_down(off, fat->g.sector_size), block, err))
        return false;
    *raw = (*block)->data + (off & (fat->g.sector_size - 1));
    return true;
}

/* ---- items --------------------------------------------------------------------------------------------- */

/* Long entries collected on the way to their short entry. */
struct collect {
    struct dosname name;
    uint32_t first_slot;
    uint64_t first_off;
    unsigned parts;    /* how many there are in all; 0: nothing collected */
    unsigned expected; /* number of the next one; 0: complete */
    bool broken;       /* some do not belong together */
    bool odd;          /* fields that must be 0 are not */
    uint8_t checksum;
};

static void take_units(const uint8_t *raw, uint16_t units[LONG_UNITS])
{
    utf16_load_le(raw + fat_long_off_LDIR_Name1, units, 5);
    utf16_load_le(raw + fat_long_off_LDIR_Name2, units + 5, 6);
    utf16_load_le(raw + fat_long_off_LDIR_Name3, units + 11, 2);
}

static void collect_part(struct collect *c, const uint8_t *raw, uint32_t slot, uint64_t off)
{
    unsigned order = (unsigned)fat_long_LDIR_Ord(raw), number = order & 0x3F;
    uint8_t checksum = (uint8_t)fat_long_LDIR_Chksum(raw);
    uint16_t units[LONG_UNITS];
    if (c->parts == 0 || (order & LAST_LONG))
        *c = (struct collect){.first_slot = slot,
                              .first_off = off,
                              .parts = MAX_OF(number, 1),
                              .expected = number,
                              .broken = !(order & LAST_LONG) || number >= MAX_NAME_SLOTS,
                              .checksum = checksum};
    if (number == 0 || number != c->expected || checksum != c->checksum)
        c->broken = true;
    if (fat_long_LDIR_Type(raw) != 0 || fat_long_LDIR_FstClusLO(raw) != 0)
        c->odd = true;
    if (c->broken)
        return;
    take_units(raw, units);
    unsigned at = (number - 1) * LONG_UNITS, n = LONG_UNITS;
    if (number == c->parts) {
        n = (unsigned)utf16_length(units, LONG_UNITS);
        c->name.count = at + n;
    }
    if (at + n > MAX_NAME) {
        c->broken = true;
        return;
    }
    memcpy(c->name.units + at, units, n * sizeof *units);
    c->expected--;
}

/* A name that no file can have stands in for one that cannot be said. */
static void invent_name(struct fat_item *item)
{
    char text[40];
    int n = snprintf(text, sizeof text, "(entry %u)", item->slot);
    item->name.count = (unsigned)n;
    for (int i = 0; i < n; i++)
        item->name.units[i] = (uint8_t)text[i];
}

static void finish_file(struct fat *fat, struct fat_item *item, const struct collect *c)
{
    item->has_long = c->parts && !c->broken && c->expected == 0 &&
                     fat_name_checksum(item->raw) == c->checksum && !dosname_fault(&c->name);
    if (item->has_long) {
        item->name = c->name;
        item->first_slot = c->first_slot;
        item->odd_long = c->odd;
        return;
    }
    fat_short_decode(fat, item->raw, &item->name);
    item->fault = dosname_fault(&item->name);
    if (item->fault)
        invent_name(item);
}

static const char *entry_fault(const struct fat *fat, const struct fat_dir *dir, const uint8_t *raw)
{
    uint32_t first = fat_entry_cluster(fat, raw);
    bool directory = fat_entry_DIR_Attr(raw) & FAT_DIRECTORY;
    if (first ? !fat_valid_cluster(fat, first) : directory || fat_entry_DIR_FileSize(raw) != 0)
        return "the first cluster is out of range";
    if (directory && (first == dir->first || first == fat->g.root))
        return first == dir->first ? "the directory contains itself" : "the directory contains the root";
    return NULL;
}

/* Deleting overwrites the number of a part, so only adjacency and checksum tie a deleted name together. */
static void finish_deleted(struct fat *fat, struct fat_item *item, const struct dosname *name, bool has_long)
{
    item->has_long = has_long && !dosname_fault(name);
    if (item->has_long) {
        item->name = *name;
        return;
    }
    uint8_t raw[ENTRY_SIZE];
    memcpy(raw, item->raw, ENTRY_SIZE);
    raw[0] = '_';
    fat_short_decode(fat, raw, &item->name);
    item->fault = dosname_fault(&item->name);
    if (item->fault)
        invent_name(item);
}

struct scan {
    struct fat *fat;
    struct fat_dir *dir;
    fat_item_fn *emit;
    void *arg;
    struct collect live;
    uint16_t dead_units[MAX_NAME + LONG_UNITS]; /* of deleted parts, put in front one after the other */
    unsigned dead_parts;
    uint32_t dead_slot;
    uint8_t dead_checksum;
    bool stopped;   /* by the callback */
    uint32_t ahead; /* slots before this one were read ahead */
    struct fat_item item;
};

/* Long entries without a short one: report them as an item of their own. */
static bool give_up(struct scan *s, uint32_t slot, struct error *err)
{
    if (s->live.parts == 0)
        return true;
    s->item = (struct fat_item){
        .kind = ITEM_ORPHAN, .first_slot = s->live.first_slot, .slot = slot - 1, .off = s->live.first_off};
    s->live.parts = 0;
    return s->emit(s->fat, s->dir, &s->item, s->arg, err);
}

static void collect_dead(struct scan *s, const uint8_t *raw, uint32_t slot)
{
    uint8_t checksum = (uint8_t)fat_long_LDIR_Chksum(raw);
    if (s->dead_parts == 0 || checksum != s->dead_checksum || s->dead_parts == MAX_NAME_SLOTS - 1) {
        s->dead_parts = 0;
        s->dead_slot = slot;
        s->dead_checksum = checksum;
    }
    memmove(s->dead_units + LONG_UNITS, s->dead_units, s->dead_parts * LONG_UNITS * sizeof *s->dead_units);
    take_units(raw, s->dead_units);
    s->dead_parts++;
}

/* A deleted short entry lost its first byte;
 * the checksum of its long name tells whether they belong together. */
static bool emit_deleted(struct scan *s, const uint8_t *raw, uint32_t slot, uint64_t off, struct error *err)
{
    struct dosname name = {.count = 0};
    bool belongs = false;
    uint8_t bytes[SHORT_NAME];
    memcpy(bytes, raw, SHORT_NAME);
    for (unsigned c = 1; s->dead_parts && !belongs && c < 256; c++) {
        bytes[0] = (uint8_t)c;
        belongs = fat_name_checksum(bytes) == s->dead_checksum && !fat_bad_short(bytes);
    }
    if (belongs) {
        name.count = (unsigned)utf16_length(s->dead_units, MIN_OF(s->dead_parts * LONG_UNITS, MAX_NAME));
        memcpy(name.units, s->dead_units, name.count * sizeof *name.units);
    }
    s->item = (struct fat_item){
        .kind = ITEM_DELETED, .first_slot = belongs ? s->dead_slot : slot, .slot = slot, .off = off};
    memcpy(s->item.raw, raw, ENTRY_SIZE);
    finish_deleted(s->fat, &s->item, &name, belongs);
    s->dead_parts = 0;
    return s->emit(s->fat, s->dir, &s->item, s->arg, err);
}

static bool scan_slot(struct scan *s, const uint8_t *raw, uint32_t slot, uint64_t off, struct error *err)
{
    unsigned attr = (unsigned)fat_entry_DIR_Attr(raw);
    bool is_long = (attr & FAT_LONG_MASK) == FAT_LONG_NAME;
    if (raw[0] == SLOT_FREE) {
        if (!give_up(s, slot, err))
            return false;
        if (is_long) {
            collect_dead(s, raw, slot);
            return true;
        }
        return (attr & FAT_VOLUME) || emit_deleted(s, raw, slot, off, err);
    }
    s->dead_parts = 0;
    if (is_long) {
        if ((raw[0] & LAST_LONG) && !give_up(s, slot, err))
            return false;
        collect_part(&s->live, raw, slot, off);
        return true;
    }
    struct fat_item item = {.kind = ITEM_FILE, .first_slot = slot, .slot = slot, .off = off};
    memcpy(item.raw, raw, ENTRY_SIZE);
    if (attr & FAT_VOLUME)
        item.kind = ITEM_LABEL;
    else if (memcmp(raw, ".          ", SHORT_NAME) == 0 || memcmp(raw, "..         ", SHORT_NAME) == 0)
        item.kind = ITEM_DOT;
    else
        finish_file(s->fat, &item, &s->live);
    if (item.kind == ITEM_FILE && item.has_long)
        s->live.parts = 0;
    else if (!give_up(s, slot, err))
        return false;
    if (item.kind == ITEM_FILE && !item.fault)
        item.fault = entry_fault(s->fat, s->dir, raw);
    return s->emit(s->fat, s->dir, &item, s->arg, err);
}

/* One request for what is to be read next, when the directory is longer than a sector. */
static bool read_ahead(struct scan *s, uint32_t slot, uint64_t off, struct error *err)
{
    struct fat *fat = s->fat;
    struct chain *chain;
    uint32_t cluster, len, pos = slot * ENTRY_SIZE;
    uint64_t bytes = (uint64_t)(s->dir->slots - slot) * ENTRY_SIZE;
    if (s->dir->first) {
        if (!fat_chain_open(fat, s->dir->first, &chain, err) ||
            !fat_chain_map(fat, chain, pos >> fat->g.cluster_shift, &cluster, &len, err))
            return false;
        bytes = MIN_OF(bytes, ((uint64_t)len << fat->g.cluster_shift) - (pos & (fat->g.cluster_size - 1)));
    }
    bytes = MIN_OF(bytes, MIN_OF(MAX_OF(pos, FIRST_AHEAD), MOST_AHEAD));
    s->ahead = slot + (uint32_t)(bytes / ENTRY_SIZE);
    return cache_read_ahead(fat->meta, off, round_down(bytes, fat->g.sector_size), err);
}

/* The slots of one sector. *more becomes false at the end mark or when the callback stops. */
static bool scan_sector(struct scan *s, uint32_t slot, bool *more, struct error *err)
{
    struct cache_block *block;
    uint64_t off;
    uint32_t count = MIN_OF(s->fat->g.sector_size / ENTRY_SIZE, s->dir->slots - slot);
    if (!interrupt_check(err) || !fat_slot_off(s->fat, s->dir, slot, &off, err) ||
        (slot >= s->ahead && !read_ahead(s, slot, off, err)) || !cache_get(s->fat->meta, off, &block, err))
        return false;
    for (uint32_t i = 0; *more && i < count; i++) {
        const uint8_t *raw = block->data + i * ENTRY_SIZE;
        if (raw[0] == SLOT_END) {
            s->dir->end = slot + i;
            *more = false;
        } else {
            *more = scan_slot(s, raw, slot + i, off + i * ENTRY_SIZE, err);
            s->stopped = !*more;
        }
    }
    cache_release(s->fat->meta, block);
    return err->kind == E_OK;
}

bool fat_dir_scan(struct fat *fat, struct fat_dir *dir, fat_item_fn *emit, void *arg, struct error *err)
{
    struct scan *s = mem_new(sizeof *s, err);
    bool ok = s != NULL, more = true;
    if (!ok)
        return false;
    err->kind = E_OK;
    *s = (struct scan){.fat = fat, .dir = dir, .emit = emit, .arg = arg};
    for (uint32_t slot = 0; ok && more && slot < dir->slots; slot += fat->g.sector_size / ENTRY_SIZE)
        ok = scan_sector(s, slot, &more, err);
    if (ok && !s->stopped)
        ok = give_up(s, dir->end, err) || err->kind == E_OK;
    free(s);
    return ok;
}

bool fat_item_load(struct fat *fat, struct fat_dir *dir, const struct slot_ref *ref, struct fat_item *item,
                   struct error *err)
{
    struct collect c = {.parts = 0};
    *item = (struct fat_item){.kind = ITEM_FILE, .first_slot = ref->last, .slot = ref->last};
    for (uint32_t slot = ref->first; slot <= ref->last; slot++) {
        struct cache_block *block;
        uint8_t *raw;
        if (!fat_slot_off(fat, dir, slot, &item->off, err) ||
            !fat_slot_get(fat, dir, slot, &block, &raw, err))
            return false;
        if (slot < ref->last)
            collect_part(&c, raw, slot, item->off);
        else
            memcpy(item->raw, raw, ENTRY_SIZE);
        cache_release(fat->meta, block);
    }
    finish_file(fat, item, &c);
    if (!item->fault)
        item->fault = entry_fault(fat, dir, item->raw);
    return true;
}
