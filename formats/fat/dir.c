/* Directories in use: the index of names, lookup, listing, parents. */
#include "fat.h"
#include "upcase.h"
#include "utf.h"

#include <stdio.h>
#include <sys/stat.h>

enum { MIN_DIRS = 4, MAX_DIRS = 256, MAX_REFS = 1024 * 1024 };

/* ---- the cache of directories -------------------------------------------------------------------------- */

static struct fat_dir **bucket_of(struct fat *fat, uint32_t first)
{
    return &fat->dir_buckets[first * 2654435761u >> 24];
}

static struct fat_dir *find_dir(struct fat *fat, uint32_t first)
{
    struct fat_dir *dir = *bucket_of(fat, first);
    while (dir && dir->first != first)
        dir = dir->peer;
    return dir;
}

static void unlink_dir(struct fat *fat, struct fat_dir *dir)
{
    *(dir->previous ? &dir->previous->next : &fat->dirs) = dir->next;
    if (dir->next)
        dir->next->previous = dir->previous;
}

static void link_first(struct fat *fat, struct fat_dir *dir)
{
    dir->previous = NULL;
    dir->next = fat->dirs;
    if (dir->next)
        dir->next->previous = dir;
    fat->dirs = dir;
}

static void drop_dir(struct fat *fat, struct fat_dir *dir)
{
    struct fat_dir **hook = bucket_of(fat, dir->first);
    while (*hook != dir)
        hook = &(*hook)->peer;
    *hook = dir->peer;
    unlink_dir(fat, dir);
    slots_clear(&dir->index);
    free(dir);
}

void fat_dir_forget(struct fat *fat, uint32_t first)
{
    struct fat_dir *dir = find_dir(fat, first);
    if (dir)
        drop_dir(fat, dir);
}

void fat_dirs_drop(struct fat *fat)
{
    while (fat->dirs)
        drop_dir(fat, fat->dirs);
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
        while (dir->next)
            drop_dir(fat, dir->next);
    }
}

/* A root directory whose chain is damaged shows its first cluster,
 * so that the volume can be checked at all. */
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
    struct fat_dir *dir = find_dir(fat, first);
    if (dir) {
        unlink_dir(fat, dir);
        link_first(fat, dir);
        dir->id = id ? id : dir->id;
        *out = dir;
        return true;
    }
    dir = mem_new(sizeof *dir, err);
    if (!dir)
        return false;
    dir->first = first;
    dir->id = id;
    if (!measure(fat, dir, err)) {
        free(dir);
        return false;
    }
    dir->end = dir->slots;
    dir->peer = *bucket_of(fat, first);
    *bucket_of(fat, first) = dir;
    link_first(fat, dir);
    trim_dirs(fat);
    *out = dir;
    return true;
}

bool fat_dir_new(struct fat *fat, uint32_t first, fs_id id, struct error *err)
{
    struct fat_dir *dir;
    fat_dir_forget(fat, first); /* whose cluster a damaged volume gave to something else, too */
    if (!fat_dir_open_cluster(fat, first, id, &dir, err))
        return false;
    dir->end = 2;
    dir->indexed = slots_mark(&dir->index, 0, 2, true, err);
    return dir->indexed;
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

/* ---- the index ----------------------------------------------------------------------------------------- */

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

static bool index_dir(struct fat *fat, struct fat_dir *dir, struct error *err)
{
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

bool fat_dir_index(struct fat *fat, fs_id id, struct fat_dir **out, struct error *err)
{
    return fat_dir_open(fat, id, out, err) && index_dir(fat, *out, err);
}

bool fat_dir_index_cluster(struct fat *fat, uint32_t first, struct fat_dir **out, struct error *err)
{
    return fat_dir_open_cluster(fat, first, 0, out, err) && index_dir(fat, *out, err);
}

/* ---- lookup -------------------------------------------------------------------------------------------- */

/* Of several equal names the first in the directory counts. */
static bool find_long(struct fat *fat, struct fat_dir *dir, const struct dosname *name,
                      struct fat_item *found, bool *any, struct error *err)
{
    uint32_t hash = upcase_hash(name->units, name->count), cursor = 0;
    const struct slot_ref *ref;
    *any = false;
    while ((ref = slots_find(&dir->index, hash, &cursor))) {
        struct fat_item item;
        if (!fat_item_load(fat, dir, ref, &item, err))
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
        if (!fat_item_load(fat, dir, ref, found, err))
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

bool fat_dir_find(struct fat *fat, struct fat_dir *dir, const struct dosname *name, struct fat_item *found,
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

bool fat_lookup(struct fs *fs, fs_id id, const char *text, fs_id *out, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct fat_dir *dir;
    struct dosname name;
    struct fat_item item;
    if (!fat_dir_index(fat, id, &dir, err))
        return false;
    if (!dosname_convert(text, &name))
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
    dosname_text(&item->name, text, sizeof text);
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

/* ---- parents ------------------------------------------------------------------------------------------- */

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
