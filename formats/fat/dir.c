/* Reading directories: slots, items (a short entry with its long name), the index of names, lookup. */
#include "fat.h"
#include "upcase.h"
#include "utf.h"

#include <stdio.h>
#include <sys/stat.h>

enum { MIN_DIRS = 4, MAX_DIRS = 256, MAX_REFS = 1024 * 1024, AHEAD_BYTES = 128 * 1024 };

/* ---- slots -----------------------------------------------------------------------------------------------
 */

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

/* ---- the cache of directories ----------------------------------------------------------------------------
 */

static void free_dir(struct fat_dir *dir)
{
    slots_clear(&dir->index);
    free(dir);
}

void fat_dir_forget(struct fat *fat, uint32_t first)
{
    for (struct fat_dir **hook = &fat->dirs; *hook; hook = &(*hook)->next)
        if ((*hook)->first == first) {
            struct fat_dir *dir = *hook;
            *hook = dir->next;
            free_dir(dir);
            return;
        }
}

void fat_dirs_drop(struct fat *fat)
{
    while (fat->dirs)
        fat_dir_forget(fat, fat->dirs->first);
}

/* Keep the directories used last, fewer when they are large. */
static void trim_dirs(struct fat *fat)
{
    unsigned n = 0;
    size_t refs = 0;
    for (struct fat_dir *dir = fat->dirs; dir; dir = dir->next) {
        refs += dir->index.capacity;
        if (++n < MIN_DIRS || (n < MAX_DIRS && refs <= MAX_REFS))
            continue;
        while (dir->next) {
            struct fat_dir *old = dir->next;
            dir->next = old->next;
            free_dir(old);
        }
    }
}

/* A root directory whose chain is damaged shows its first cluster, so that the volume can be checked at all.
 */
static bool damaged_root(struct fat *fat, const struct fat_dir *dir, const struct error *err)
{
    if (err->kind != E_DAMAGED || dir->first != fat->g.root)
        return false;
    snprintf(fat->fs.note, sizeof fat->fs.note,
             "the root directory's chain of clusters is damaged: only the first one is shown");
    return true;
}

static bool measure(struct fat *fat, struct fat_dir *dir, struct error *err)
{
    struct chain *chain;
    uint32_t clusters = 1;
    if (dir->first == 0) {
        dir->slots = fat->g.root_entries;
        return true;
    }
    if (!fat_chain_open(fat, dir->first, &chain, err) ||
        (!fat_chain_length(fat, chain, &clusters, err) && !damaged_root(fat, dir, err)))
        return false;
    uint64_t slots = ((uint64_t)clusters << fat->g.cluster_shift) / ENTRY_SIZE;
    if (slots > MAX_SLOTS)
        return damaged(err, fat->fs.device, fat_cluster_off(fat, dir->first),
                       "the directory has room for %llu entries; 65536 are allowed",
                       (unsigned long long)slots);
    dir->slots = (uint32_t)slots;
    return true;
}

bool fat_dir_open_cluster(struct fat *fat, uint32_t first, fs_id id, struct fat_dir **out, struct error *err)
{
    for (struct fat_dir **hook = &fat->dirs; *hook; hook = &(*hook)->next) {
        struct fat_dir *dir = *hook;
        if (dir->first != first)
            continue;
        *hook = dir->next;
        dir->next = fat->dirs;
        fat->dirs = dir;
        if (id)
            dir->id = id;
        *out = dir;
        return true;
    }
    struct fat_dir *dir = mem_new(sizeof *dir, err);
    if (!dir)
        return false;
    dir->first = first;
    dir->id = id;
    if (!measure(fat, dir, err)) {
        free(dir);
        return false;
    }
    dir->end = dir->slots;
    dir->next = fat->dirs;
    fat->dirs = dir;
    trim_dirs(fat);
    *out = dir;
    return true;
}

bool fat_dir_open(struct fat *fat, fs_id id, struct fat_dir **out, struct error *err)
{
    uint8_t entry[ENTRY_SIZE];
    if (!fat_entry_load(fat, id, entry, err))
        return false;
    if (!(fat_entry_DIR_Attr(entry) & FAT_DIRECTORY))
        return fail(err, E_NOTDIR, "not a directory");
    return fat_dir_open_cluster(fat, fat_entry_cluster(fat, entry), id, out, err);
}

/* ---- items -----------------------------------------------------------------------------------------------
 */

/* Long entries collected on the way to their short entry. */
struct collect {
    struct fat_name name;
    uint32_t first_slot;
    uint64_t first_off;
    unsigned parts;    /* how many there are in all; 0: nothing collected */
    unsigned expected; /* number of the next one; 0: complete */
    bool broken;       /* some do not belong together */
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

static const char *name_fault(const struct fat_name *name)
{
    if (name->count == 0)
        return "the name is empty";
    if (name->units[0] == '.' && (name->count == 1 || (name->count == 2 && name->units[1] == '.')))
        return "the name is that of a directory itself or its parent";
    for (unsigned i = 0; i < name->count; i++)
        if (name->units[i] == '/' || name->units[i] == 0)
            return name->units[i] ? "the name holds a slash" : "the name holds a zero";
    return NULL;
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
                     fat_name_checksum(item->raw) == c->checksum && !name_fault(&c->name);
    if (item->has_long) {
        item->name = c->name;
        item->first_slot = c->first_slot;
        return;
    }
    fat_short_decode(fat, item->raw, &item->name);
    item->fault = name_fault(&item->name);
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
static void finish_deleted(struct fat *fat, struct fat_item *item, const struct fat_name *name, bool has_long)
{
    item->has_long = has_long && !name_fault(name);
    if (item->has_long) {
        item->name = *name;
        return;
    }
    uint8_t raw[ENTRY_SIZE];
    memcpy(raw, item->raw, ENTRY_SIZE);
    raw[0] = '_';
    fat_short_decode(fat, raw, &item->name);
    item->fault = name_fault(&item->name);
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
    bool stopped; /* by the callback */
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

/* A deleted short entry lost its first byte; the checksum of its long name tells whether they belong
 * together. */
static bool emit_deleted(struct scan *s, const uint8_t *raw, uint32_t slot, uint64_t off, struct error *err)
{
    struct fat_name name = {.count = 0};
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
static bool read_ahead(struct fat *fat, struct fat_dir *dir, uint32_t slot, uint64_t off, struct error *err)
{
    struct chain *chain;
    uint32_t cluster, len, index = (uint32_t)((uint64_t)slot * ENTRY_SIZE >> fat->g.cluster_shift);
    uint64_t bytes = (uint64_t)(dir->slots - slot) * ENTRY_SIZE;
    if (dir->first) {
        if (!fat_chain_open(fat, dir->first, &chain, err) ||
            !fat_chain_map(fat, chain, index, &cluster, &len, err))
            return false;
        bytes = MIN_OF(bytes, (uint64_t)len << fat->g.cluster_shift);
    }
    return cache_read_ahead(fat->meta, off, MIN_OF(round_down(bytes, fat->g.sector_size), AHEAD_BYTES), err);
}

/* The slots of one sector. *more becomes false at the end mark or when the callback stops. */
static bool scan_sector(struct scan *s, uint32_t slot, bool *more, struct error *err)
{
    struct cache_block *block;
    uint64_t off;
    uint32_t count = MIN_OF(s->fat->g.sector_size / ENTRY_SIZE, s->dir->slots - slot);
    if (!interrupt_check(err) || !fat_slot_off(s->fat, s->dir, slot, &off, err) ||
        ((uint64_t)slot * ENTRY_SIZE % AHEAD_BYTES == 0 && !read_ahead(s->fat, s->dir, slot, off, err)) ||
        !cache_get(s->fat->meta, off, &block, err))
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

/* ---- the index -------------------------------------------------------------------------------------------
 */

static uint32_t alias_hash(const uint8_t short_name[SHORT_NAME])
{
    uint32_t hash = 0x811C9DC5u ^ 0x5A5A5A5Au; /* unlike the hash of a name */
    for (unsigned i = 0; i < SHORT_NAME; i++)
        hash = (hash ^ short_name[i]) * 16777619u;
    return hash ^ hash >> 15;
}

bool fat_index_add(struct fat_dir *dir, const struct fat_item *item, struct error *err)
{
    return slots_add(&dir->index, upcase_hash(item->name.units, item->name.count), item->first_slot,
                     item->slot, err) &&
           slots_add(&dir->index, alias_hash(item->raw), item->first_slot, item->slot, err);
}

void fat_index_remove(struct fat_dir *dir, const struct fat_item *item)
{
    slots_remove(&dir->index, upcase_hash(item->name.units, item->name.count), item->slot);
    slots_remove(&dir->index, alias_hash(item->raw), item->slot);
}

static bool index_item(struct fat *fat, struct fat_dir *dir, const struct fat_item *item, void *arg,
                       struct error *err)
{
    (void)fat;
    (void)arg;
    if (item->kind == ITEM_DELETED || item->kind == ITEM_ORPHAN)
        return true; /* orphaned long entries count as free: they are written over when room is needed */
    return slots_mark(&dir->index, item->first_slot, item->slot - item->first_slot + 1, true, err) &&
           (item->kind != ITEM_FILE || fat_index_add(dir, item, err));
}

bool fat_dir_index(struct fat *fat, fs_id id, struct fat_dir **out, struct error *err)
{
    if (!fat_dir_open(fat, id, out, err))
        return false;
    struct fat_dir *dir = *out;
    if (dir->indexed)
        return true;
    if (!fat_dir_scan(fat, dir, index_item, NULL, err)) {
        fat_dir_forget(fat, dir->first);
        return false;
    }
    dir->indexed = true;
    trim_dirs(fat);
    return true;
}

/* ---- lookup ----------------------------------------------------------------------------------------------
 */

/* Read again the item that the index points to. */
static bool load_item(struct fat *fat, struct fat_dir *dir, const struct slot_ref *ref, struct fat_item *item,
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

/* Of several equal names the first in the directory counts. */
static bool find_long(struct fat *fat, struct fat_dir *dir, const struct fat_name *name,
                      struct fat_item *found, bool *any, struct error *err)
{
    uint32_t hash = upcase_hash(name->units, name->count), cursor = 0;
    const struct slot_ref *ref;
    *any = false;
    while ((ref = slots_find(&dir->index, hash, &cursor))) {
        struct fat_item item;
        if (!load_item(fat, dir, ref, &item, err))
            return false;
        if (upcase_equal(item.name.units, item.name.count, name->units, name->count) &&
            (!*any || item.slot < found->slot)) {
            *found = item;
            *any = true;
        }
    }
    return true;
}

static bool find_alias(struct fat *fat, struct fat_dir *dir, const uint8_t short_name[SHORT_NAME],
                       struct fat_item *found, bool *any, struct error *err)
{
    uint32_t hash = alias_hash(short_name), cursor = 0;
    const struct slot_ref *ref;
    *any = false;
    while (!*any && (ref = slots_find(&dir->index, hash, &cursor))) {
        if (!load_item(fat, dir, ref, found, err))
            return false;
        *any = memcmp(found->raw, short_name, SHORT_NAME) == 0;
    }
    return true;
}

bool fat_dir_alias_taken(struct fat *fat, struct fat_dir *dir, const uint8_t short_name[SHORT_NAME],
                         bool *taken, struct error *err)
{
    struct fat_item item;
    return find_alias(fat, dir, short_name, &item, taken, err);
}

bool fat_dir_find(struct fat *fat, struct fat_dir *dir, const struct fat_name *name, struct fat_item *found,
                  struct error *err)
{
    uint8_t short_name[SHORT_NAME];
    bool any;
    if (!find_long(fat, dir, name, found, &any, err))
        return false;
    if (!any && fat_short_encode(fat, name, short_name) &&
        !find_alias(fat, dir, short_name, found, &any, err))
        return false;
    return any || fail(err, E_NOENT, "no such file or directory");
}

void fat_item_text(const struct fat_item *item, char *text, size_t size)
{
    struct error ignored;
    if (!utf16_to_utf8(item->name.units, item->name.count, UTF_WTF8, text, size, &ignored))
        text[0] = '\0';
}

bool fat_lookup(struct fs *fs, fs_id id, const char *text, fs_id *out, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct fat_dir *dir;
    struct fat_name name;
    struct fat_item item;
    if (!fat_dir_index(fat, id, &dir, err))
        return false;
    if (!fat_name_convert(text, &name))
        return fail(err, E_NOENT, "no such file or directory");
    if (!fat_dir_find(fat, dir, &name, &item, err))
        return false;
    if (item.fault)
        return damaged(err, fs->device, item.off, "%s", item.fault);
    *out = item.off / ENTRY_SIZE;
    return true;
}

struct listing {
    fs_entry_fn *emit;
    void *arg;
    bool deleted;
};

static bool list_item(struct fat *fat, struct fat_dir *dir, const struct fat_item *item, void *arg,
                      struct error *err)
{
    struct listing *listing = arg;
    char text[UTF8_SIZE(MAX_NAME)];
    (void)fat;
    (void)dir;
    (void)err;
    if (item->kind != (listing->deleted ? ITEM_DELETED : ITEM_FILE))
        return true;
    fat_item_text(item, text, sizeof text);
    struct fs_attr last = {.size = fat_entry_DIR_FileSize(item->raw)};
    fat_entry_times(item->raw, &last);
    struct fs_entry entry = {.name = text,
                             .last = listing->deleted ? &last : NULL,
                             .id = item->off / ENTRY_SIZE,
                             .type = item->raw[fat_entry_off_DIR_Attr] & FAT_DIRECTORY ? S_IFDIR : S_IFREG,
                             .deleted = listing->deleted,
                             .fault = item->fault};
    return listing->emit(&entry, listing->arg);
}

bool fat_readdir(struct fs *fs, fs_id id, fs_entry_fn *emit, void *arg, struct error *err)
{
    struct listing listing = {emit, arg, false};
    struct fat_dir *dir;
    return fat_dir_open(fat_of(fs), id, &dir, err) && fat_dir_scan(fat_of(fs), dir, list_item, &listing, err);
}

bool fat_deleted(struct fs *fs, fs_id id, fs_entry_fn *emit, void *arg, struct error *err)
{
    struct listing listing = {emit, arg, true};
    struct fat_dir *dir;
    return fat_dir_open(fat_of(fs), id ? id : ROOT_ID, &dir, err) &&
           fat_dir_scan(fat_of(fs), dir, list_item, &listing, err);
}

/* ---- parents ---------------------------------------------------------------------------------------------
 */

/* What .. of a directory says: the parent's first cluster, the root's own number for the root. */
static bool dotdot(struct fat *fat, uint32_t first, uint32_t *parent, struct error *err)
{
    struct cache_block *block;
    uint64_t off = fat_cluster_off(fat, first);
    if (!cache_get(fat->meta, off, &block, err))
        return false;
    const uint8_t *raw = block->data + ENTRY_SIZE;
    bool found = memcmp(raw, "..         ", SHORT_NAME) == 0;
    *parent = fat_entry_cluster(fat, raw);
    cache_release(fat->meta, block);
    if (!found || (*parent && !fat_valid_cluster(fat, *parent)))
        return damaged(err, fat->fs.device, off + ENTRY_SIZE,
                       "the directory's entry '..' is missing or wrong");
    if (*parent == 0)
        *parent = fat->g.root;
    return true;
}

struct search {
    uint32_t first;
    fs_id found;
};

static bool match_cluster(struct fat *fat, struct fat_dir *dir, const struct fat_item *item, void *arg,
                          struct error *err)
{
    struct search *search = arg;
    (void)dir;
    (void)err;
    if (item->kind == ITEM_FILE && (fat_entry_DIR_Attr(item->raw) & FAT_DIRECTORY) &&
        fat_entry_cluster(fat, item->raw) == search->first)
        search->found = item->off / ENTRY_SIZE;
    return search->found == 0;
}

bool fat_parent(struct fs *fs, fs_id id, fs_id *out, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct fat_dir *dir;
    uint32_t parent, above;
    *out = ROOT_ID;
    if (id == ROOT_ID)
        return true;
    if (!fat_dir_open(fat, id, &dir, err) || !dotdot(fat, dir->first, &parent, err))
        return false;
    if (parent == fat->g.root)
        return true;
    for (dir = fat->dirs; dir; dir = dir->next)
        if (dir->first == parent && dir->id) {
            *out = dir->id;
            return true;
        }
    struct search search = {.first = parent};
    if (!dotdot(fat, parent, &above, err) || !fat_dir_open_cluster(fat, above, 0, &dir, err) ||
        !fat_dir_scan(fat, dir, match_cluster, &search, err))
        return false;
    if (search.found == 0)
        return damaged(err, fs->device, fat_cluster_off(fat, parent), "no directory names its parent");
    *out = search.found;
    return true;
}
