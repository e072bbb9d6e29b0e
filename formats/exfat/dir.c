/* Directories: where they lie, their entry sets, the index of names, lookup. */
#include "exfat.h"
#include "utf.h"

#include <stdio.h>
#include <sys/stat.h>

enum { MAX_INDEXED = 256, MAX_REFS = 1024 * 1024, MAX_DIRS = 16384 };
/* Most directories are short: as much is read ahead as was read already. */
enum { FIRST_AHEAD = 4096, MOST_AHEAD = 128 * 1024 };

/* ---- slots --------------------------------------------------------------------------------------------- */

bool exfat_slot_off(struct exfat *exfat, struct exfat_dir *dir, uint32_t slot, uint64_t *off,
                    struct error *err)
{
    uint64_t pos = (uint64_t)slot * ENTRY_SIZE;
    uint32_t cluster, len;
    *off = 0;
    if (!exfat_stream_map(exfat, &dir->stream, (uint32_t)(pos >> exfat->g.cluster_shift), &cluster, &len,
                          err))
        return false;
    if (len == 0 || slot >= dir->slots)
        return fail(err, E_DAMAGED, "the directory has no entry %u", slot);
    *off = exfat_cluster_off(exfat, cluster) + (pos & (exfat->g.cluster_size - 1));
    return true;
}

/* Visit slots sector by sector: `raw` receives their bytes, or with `write` gives them. */
static bool transfer(struct exfat *exfat, struct exfat_dir *dir, uint32_t slot, uint32_t count, uint8_t *raw,
                     bool write, struct error *err)
{
    uint32_t ss = exfat->g.sector_size;
    while (count > 0) {
        struct cache_block *block;
        uint64_t off;
        if (!exfat_slot_off(exfat, dir, slot, &off, err) ||
            !cache_get(exfat->meta, round_down(off, ss), &block, err))
            return false;
        uint32_t inside = (uint32_t)(off & (ss - 1)), n = MIN_OF((ss - inside) / ENTRY_SIZE, count);
        uint8_t *at = block->data + inside;
        if (!write) {
            memcpy(raw, at, (size_t)n * ENTRY_SIZE);
        } else if (memcmp(at, raw, (size_t)n * ENTRY_SIZE) != 0) {
            memcpy(at, raw, (size_t)n * ENTRY_SIZE);
            cache_dirty(exfat->meta, block, WRITE_UPDATE);
        }
        cache_release(exfat->meta, block);
        raw += (size_t)n * ENTRY_SIZE;
        slot += n;
        count -= n;
    }
    return true;
}

bool exfat_slots_read(struct exfat *exfat, struct exfat_dir *dir, uint32_t slot, uint32_t count, uint8_t *raw,
                      struct error *err)
{
    return transfer(exfat, dir, slot, count, raw, false, err);
}

bool exfat_slots_write(struct exfat *exfat, struct exfat_dir *dir, uint32_t slot, uint32_t count,
                       const uint8_t *raw, struct error *err)
{
    return transfer(exfat, dir, slot, count, (uint8_t *)(uintptr_t)raw, true, err);
}

/* ---- directories that were seen ------------------------------------------------------------------------ */

static struct exfat_dir **bucket_of(struct exfat *exfat, uint32_t first)
{
    return &exfat->dirs[first * 2654435761u >> 20 & (DIR_BUCKETS - 1)];
}

static struct exfat_dir *find_dir(struct exfat *exfat, uint32_t first)
{
    struct exfat_dir *dir = *bucket_of(exfat, first);
    while (dir && dir->stream.first != first)
        dir = dir->next;
    return dir;
}

static void drop_index(struct exfat *exfat, struct exfat_dir *dir)
{
    if (!dir->indexed)
        return;
    *(dir->newer ? &dir->newer->older : &exfat->newest_dir) = dir->older;
    *(dir->older ? &dir->older->newer : &exfat->oldest_dir) = dir->newer;
    dir->indexed = false;
    exfat->indexed_count--;
    slots_clear(&dir->index);
}

static void link_index(struct exfat *exfat, struct exfat_dir *dir)
{
    dir->newer = NULL;
    dir->older = exfat->newest_dir;
    *(exfat->newest_dir ? &exfat->newest_dir->newer : &exfat->oldest_dir) = dir;
    exfat->newest_dir = dir;
    dir->indexed = true;
    exfat->indexed_count++;
}

/* The index of the directory used now stays; those used longest ago go when there are too many. */
static void trim_indexes(struct exfat *exfat)
{
    size_t refs = 0;
    for (struct exfat_dir *dir = exfat->newest_dir; dir; dir = dir->older)
        refs += dir->index.capacity;
    while (exfat->oldest_dir != exfat->newest_dir &&
           (exfat->indexed_count > MAX_INDEXED || refs > MAX_REFS)) {
        refs -= exfat->oldest_dir->index.capacity;
        drop_index(exfat, exfat->oldest_dir);
    }
}

void exfat_dir_forget(struct exfat *exfat, uint32_t first)
{
    for (struct exfat_dir **hook = bucket_of(exfat, first); *hook; hook = &(*hook)->next)
        if ((*hook)->stream.first == first) {
            struct exfat_dir *dir = *hook;
            drop_index(exfat, dir);
            *hook = dir->next;
            free(dir);
            exfat->dir_count--;
            return;
        }
}

/* Too many are known: forget those that nobody works with; an id leads to them again. */
static void trim_dirs(struct exfat *exfat)
{
    for (size_t i = 0; exfat->dir_count >= MAX_DIRS && !exfat->searching && i < DIR_BUCKETS; i++)
        for (struct exfat_dir *dir = exfat->dirs[i], *next; dir; dir = next) {
            next = dir->next;
            if (!dir->indexed && dir->scans == 0 && dir->id != ROOT_ID)
                exfat_dir_forget(exfat, dir->stream.first);
        }
}

void exfat_dirs_drop(struct exfat *exfat)
{
    for (size_t i = 0; i < DIR_BUCKETS; i++)
        while (exfat->dirs[i])
            exfat_dir_forget(exfat, exfat->dirs[i]->stream.first);
}

/* A root directory whose chain is damaged shows its first cluster,
 * so that the volume can be checked at all. */
static bool damaged_root(struct exfat *exfat, const struct exfat_stream *stream, const struct error *err)
{
    if (err->kind != E_DAMAGED || stream->first != exfat->g.root)
        return false;
    snprintf(exfat->fs.note, sizeof exfat->fs.note,
             "the root directory's chain of clusters is damaged: only the first one is shown");
    return true;
}

bool exfat_dir_at(struct exfat *exfat, const struct exfat_stream *stream, fs_id id, fs_id parent,
                  struct exfat_dir **out, struct error *err)
{
    uint32_t clusters;
    struct exfat_dir *dir = find_dir(exfat, stream->first);
    if (!dir) {
        if (!exfat_stream_clusters(exfat, stream, &clusters, err)) {
            if (!damaged_root(exfat, stream, err))
                return false;
            clusters = 1;
        }
        if (clusters == 0 || (uint64_t)clusters << exfat->g.cluster_shift > MAX_DIR_BYTES)
            return fail(err, E_DAMAGED, "the directory has %u clusters", clusters);
        trim_dirs(exfat);
        dir = mem_new(sizeof *dir, err);
        if (!dir)
            return false;
        dir->stream = *stream;
        dir->stream.size = dir->stream.valid = (uint64_t)clusters << exfat->g.cluster_shift;
        dir->slots = dir->end = (uint32_t)(dir->stream.size / ENTRY_SIZE);
        dir->next = *bucket_of(exfat, stream->first);
        *bucket_of(exfat, stream->first) = dir;
        exfat->dir_count++;
    }
    dir->id = id;
    dir->parent = parent;
    *out = dir;
    return true;
}

/* ---- scanning ------------------------------------------------------------------------------------------ */

/* How many entries from `slot` on are one deleted set: its parts have their types less the bit in use. */
static uint32_t deleted_count(struct exfat *exfat, struct exfat_dir *dir, uint32_t slot, uint8_t *raw)
{
    struct error ignored;
    uint32_t count = 1 + (uint32_t)exfat_file_SecondaryCount(raw);
    if (count < 3 || slot + count > dir->slots ||
        !exfat_slots_read(exfat, dir, slot + 1, count - 1, raw + ENTRY_SIZE, &ignored))
        return 1;
    for (uint32_t i = 1; i < count; i++)
        if (raw[i * ENTRY_SIZE] != ((i == 1 ? TYPE_STREAM : TYPE_NAME) & ~TYPE_IN_USE))
            return 1;
    for (uint32_t i = 0; i < count; i++)
        raw[i * ENTRY_SIZE] |= TYPE_IN_USE;
    return count;
}

/* Of the `want` entries that a set claims to have: those before the next primary entry. */
static uint32_t own_entries(const uint8_t *raw, uint32_t want)
{
    uint32_t have = 1;
    while (have < want &&
           (raw[have * ENTRY_SIZE] & (TYPE_IN_USE | TYPE_SECONDARY)) == (TYPE_IN_USE | TYPE_SECONDARY))
        have++;
    return have;
}

/* The set that begins at a slot: count is cut where the next primary entry stands. */
static bool read_set(struct exfat *exfat, struct exfat_dir *dir, struct exfat_item *item, uint8_t *raw,
                     struct error *err)
{
    uint32_t want = MIN_OF(1u + raw[1], dir->slots - item->slot);
    if (!exfat_slots_read(exfat, dir, item->slot + 1, want - 1, raw + ENTRY_SIZE, err))
        return false;
    item->count = own_entries(raw, want);
    return true;
}

static void classify_file(struct exfat *exfat, struct exfat_dir *dir, struct exfat_item *item)
{
    item->fault = exfat_set_fault(exfat, item->raw, item->count);
    if (item->count != 1u + item->raw[1])
        item->fault = "the entry set is not whole";
    if (!item->fault && (exfat_file_FileAttributes(item->raw) & EXFAT_DIRECTORY) &&
        exfat_stream_FirstCluster(item->raw + ENTRY_SIZE) == dir->stream.first)
        item->fault = "the directory contains itself";
    item->name.count = 0;
    if (item->count >= 3)
        exfat_set_name(item->raw, item->count, &item->name);
}

/* One item at item->slot; item->count tells how far to go on. */
static bool scan_item(struct exfat *exfat, struct exfat_dir *dir, struct exfat_item *item, uint8_t *raw,
                      struct error *err)
{
    uint8_t type = raw[0];
    item->count = 1;
    item->id = exfat_id(dir->stream.first, item->slot);
    item->raw = raw;
    item->fault = NULL;
    if (type == (TYPE_FILE & ~TYPE_IN_USE)) {
        item->kind = ITEM_DELETED;
        item->count = deleted_count(exfat, dir, item->slot, raw);
        item->name.count = 0;
        if (item->count > 1)
            exfat_set_name(raw, item->count, &item->name);
        return true;
    }
    if (type & TYPE_SECONDARY) {
        item->kind = ITEM_ORPHAN;
        return true;
    }
    item->kind = type == TYPE_FILE ? ITEM_FILE : ITEM_OTHER;
    /* Only files and benign primary entries have secondary ones;
     * those of the others use the byte differently. */
    if (type == TYPE_FILE || (type & TYPE_BENIGN)) {
        if (!read_set(exfat, dir, item, raw, err))
            return false;
        if (type == TYPE_FILE)
            classify_file(exfat, dir, item);
    }
    return true;
}

static bool read_ahead(struct exfat *exfat, struct exfat_dir *dir, uint32_t slot, uint32_t *ahead,
                       struct error *err)
{
    uint64_t off, pos = (uint64_t)slot * ENTRY_SIZE;
    uint32_t cluster, len;
    if (!exfat_slot_off(exfat, dir, slot, &off, err) ||
        !exfat_stream_map(exfat, &dir->stream, (uint32_t)(pos >> exfat->g.cluster_shift), &cluster, &len,
                          err))
        return false;
    uint64_t run = ((uint64_t)len << exfat->g.cluster_shift) - (pos & (exfat->g.cluster_size - 1));
    uint64_t bytes =
        MIN_OF(MIN_OF(run, dir->stream.size - pos), MIN_OF(MAX_OF(pos, FIRST_AHEAD), MOST_AHEAD));
    *ahead = slot + (uint32_t)(bytes / ENTRY_SIZE);
    return cache_read_ahead(exfat->meta, round_down(off, exfat->g.sector_size),
                            round_down(bytes, exfat->g.sector_size), err);
}

bool exfat_dir_scan(struct exfat *exfat, struct exfat_dir *dir, exfat_item_fn *emit, void *arg,
                    struct error *err)
{
    struct exfat_item item = {.slot = 0};
    uint8_t *raw = mem_new(MAX_SET * ENTRY_SIZE, err);
    uint32_t ahead = 0;
    bool ok = raw != NULL;
    if (ok)
        err->kind = E_OK;
    dir->scans++;
    for (; ok && item.slot < dir->slots; item.slot += item.count) {
        if (item.slot >= ahead)
            ok = interrupt_check(err) && read_ahead(exfat, dir, item.slot, &ahead, err);
        ok = ok && exfat_slots_read(exfat, dir, item.slot, 1, raw, err);
        if (!ok || raw[0] == TYPE_END)
            break;
        item.count = 1;
        if (!(raw[0] & TYPE_IN_USE) && raw[0] != (TYPE_FILE & ~TYPE_IN_USE))
            continue;
        ok = scan_item(exfat, dir, &item, raw, err) && exfat_slot_off(exfat, dir, item.slot, &item.off, err);
        if (ok && !emit(exfat, dir, &item, arg, err)) {
            ok = err->kind == E_OK;
            break;
        }
        /* What follows a deleted entry may be in use again: only what was there at once is skipped. */
    }
    if (ok && (item.slot >= dir->slots || raw[0] == TYPE_END))
        dir->end = MIN_OF(item.slot, dir->slots);
    dir->scans--;
    free(raw);
    return ok;
}

/* ---- finding a directory ------------------------------------------------------------------------------- */

struct search {
    uint32_t first; /* looked for; 0: collect only */
    fs_id id;
    struct exfat_stream stream;
    uint32_t *todo; /* first clusters of directories still to be looked into */
    size_t count, capacity;
};

static bool search_item(struct exfat *exfat, struct exfat_dir *dir, const struct exfat_item *item, void *arg,
                        struct error *err)
{
    struct search *search = arg;
    struct exfat_dir *child;
    if (item->kind != ITEM_FILE || item->fault || !(exfat_file_FileAttributes(item->raw) & EXFAT_DIRECTORY))
        return true;
    exfat_set_stream(item->raw, &search->stream);
    if (search->stream.first == search->first) {
        search->id = item->id;
        return false;
    }
    if (!exfat_dir_at(exfat, &search->stream, item->id, dir->id, &child, err))
        return false;
    if (child->search == exfat->searches)
        return true;
    child->search = exfat->searches;
    if (!mem_grow(&search->todo, &search->capacity, search->count + 1, sizeof *search->todo, err))
        return false;
    search->todo[search->count++] = child->stream.first;
    return true;
}

/*
 * An id names its directory by the first cluster. After a reload that directory may not have been seen yet on
 * the way from the root: then it is searched for, each directory being looked into once.
 */
static bool search_dir(struct exfat *exfat, uint32_t first, struct exfat_dir **out, struct error *err)
{
    struct search search = {.first = first};
    struct exfat_dir *dir = NULL;
    bool ok = exfat_dir_open(exfat, ROOT_ID, &dir, err);
    exfat->searches++;
    exfat->searching = true;
    for (;;) {
        ok = ok && exfat_dir_scan(exfat, dir, search_item, &search, err);
        if (!ok || search.id || search.count == 0)
            break;
        dir = find_dir(exfat, search.todo[--search.count]);
        ok = dir != NULL;
    }
    free(search.todo);
    exfat->searching = false;
    if (ok && !search.id)
        return fail(err, E_NOENT, "there is no directory at cluster %u", first);
    return ok && exfat_dir_at(exfat, &search.stream, search.id, dir->id, out, err);
}

void exfat_dir_moved(struct exfat *exfat, uint32_t first, fs_id id, fs_id parent)
{
    struct exfat_dir *dir = find_dir(exfat, first);
    if (!dir)
        return;
    dir->id = id;
    dir->parent = parent;
}

bool exfat_dir_of_cluster(struct exfat *exfat, uint32_t first, struct exfat_dir **out, struct error *err)
{
    if (!exfat_valid_cluster(exfat, first))
        return fail(err, E_INVALID, "there is no directory at cluster %u", first);
    if (first == exfat->g.root)
        return exfat_dir_open(exfat, ROOT_ID, out, err);
    *out = find_dir(exfat, first);
    return *out || search_dir(exfat, first, out, err);
}

bool exfat_dir_open(struct exfat *exfat, fs_id id, struct exfat_dir **out, struct error *err)
{
    struct exfat_stream stream = {.first = exfat->g.root};
    struct exfat_set set;
    if (id == ROOT_ID) {
        *out = find_dir(exfat, exfat->g.root);
        return *out || exfat_dir_at(exfat, &stream, ROOT_ID, ROOT_ID, out, err);
    }
    if (!exfat_set_load(exfat, id, &set, err))
        return false;
    if (!(exfat_file_FileAttributes(set.raw) & EXFAT_DIRECTORY))
        return fail(err, E_NOTDIR, "not a directory");
    exfat_set_stream(set.raw, &stream);
    return exfat_dir_at(exfat, &stream, id, set.dir->id, out, err);
}

/* ---- the index ----------------------------------------------------------------------------------------- */

static bool index_item(struct exfat *exfat, struct exfat_dir *dir, const struct exfat_item *item, void *arg,
                       struct error *err)
{
    (void)arg;
    if (item->kind == ITEM_DELETED)
        return true;
    if (!slots_mark(&dir->index, item->slot, item->count, true, err))
        return false;
    return item->kind != ITEM_FILE || item->name.count == 0 ||
           slots_add(&dir->index, exfat_name_hash(exfat, &item->name), item->slot, item->slot, err);
}

bool exfat_dir_index(struct exfat *exfat, fs_id id, struct exfat_dir **out, struct error *err)
{
    if (!exfat_dir_open(exfat, id, out, err))
        return false;
    struct exfat_dir *dir = *out;
    if (dir->indexed) {
        if (dir != exfat->newest_dir) {
            *(dir->newer ? &dir->newer->older : &exfat->newest_dir) = dir->older;
            *(dir->older ? &dir->older->newer : &exfat->oldest_dir) = dir->newer;
            exfat->indexed_count--;
            link_index(exfat, dir);
        }
        return true;
    }
    if (!exfat_dir_scan(exfat, dir, index_item, NULL, err)) {
        slots_clear(&dir->index);
        return false;
    }
    link_index(exfat, dir);
    trim_indexes(exfat);
    return true;
}

bool exfat_dir_new(struct exfat *exfat, const struct exfat_stream *stream, fs_id id, fs_id parent,
                   struct error *err)
{
    struct exfat_dir *dir;
    exfat_dir_forget(exfat, stream->first); /* whose cluster a damaged volume gave to something else, too */
    if (!exfat_dir_at(exfat, stream, id, parent, &dir, err))
        return false;
    dir->end = 0;
    link_index(exfat, dir);
    trim_indexes(exfat);
    return true;
}

bool exfat_dir_find(struct exfat *exfat, struct exfat_dir *dir, const struct dosname *name,
                    struct exfat_set *set, struct error *err)
{
    uint32_t hash = exfat_name_hash(exfat, name), cursor = 0;
    const struct slot_ref *ref;
    while ((ref = slots_find(&dir->index, hash, &cursor))) {
        struct dosname other;
        set->dir = dir;
        set->slot = ref->first;
        if (!exfat_slots_read(exfat, dir, ref->first, 1, set->raw, err))
            return false;
        set->count = MIN_OF(1u + set->raw[1], dir->slots - ref->first);
        if (!exfat_slots_read(exfat, dir, ref->first + 1, set->count - 1, set->raw + ENTRY_SIZE, err))
            return false;
        set->count = own_entries(set->raw, set->count); /* what a damaged one claims may be others' */
        exfat_set_name(set->raw, set->count, &other);
        if (exfat_name_equal(exfat, name, &other))
            return true;
    }
    return fail(err, E_NOENT, "no such file or directory");
}

bool exfat_lookup(struct fs *fs, fs_id id, const char *text, fs_id *out, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_dir *dir;
    struct dosname name;
    struct exfat_set set;
    if (!exfat_dir_index(exfat, id, &dir, err))
        return false;
    if (!dosname_convert(text, &name))
        return fail(err, E_NOENT, "no such file or directory");
    if (!exfat_dir_find(exfat, dir, &name, &set, err))
        return false;
    *out = exfat_id(dir->stream.first, set.slot);
    return exfat_set_load(exfat, *out, &set, err);
}

struct listing {
    fs_entry_fn *emit;
    void *arg;
    bool deleted;
};

static bool list_item(struct exfat *exfat, struct exfat_dir *dir, const struct exfat_item *item, void *arg,
                      struct error *err)
{
    struct listing *listing = arg;
    char text[UTF8_SIZE(MAX_NAME)];
    (void)exfat;
    (void)dir;
    (void)err;
    if (item->kind != (listing->deleted ? ITEM_DELETED : ITEM_FILE) || (listing->deleted && item->count < 3))
        return true;
    dosname_text(&item->name, text, sizeof text);
    if (text[0] == '\0' || strchr(text, '/'))
        snprintf(text, sizeof text, "(entry %u)", item->slot);
    struct fs_attr last = {.size = 0};
    if (listing->deleted) {
        struct exfat_stream stream;
        exfat_set_stream(item->raw, &stream);
        exfat_set_read_times(item->raw, &last);
        last.size = stream.size;
    }
    struct fs_entry entry = {.name = text,
                             .id = item->id,
                             .last = listing->deleted ? &last : NULL,
                             .type =
                                 exfat_file_FileAttributes(item->raw) & EXFAT_DIRECTORY ? S_IFDIR : S_IFREG,
                             .deleted = listing->deleted,
                             .fault = item->fault};
    return listing->emit(&entry, listing->arg);
}

bool exfat_readdir(struct fs *fs, fs_id id, fs_entry_fn *emit, void *arg, struct error *err)
{
    struct listing listing = {emit, arg, false};
    struct exfat_dir *dir;
    return exfat_dir_open(exfat_of(fs), id, &dir, err) &&
           exfat_dir_scan(exfat_of(fs), dir, list_item, &listing, err);
}

bool exfat_deleted(struct fs *fs, fs_id id, fs_entry_fn *emit, void *arg, struct error *err)
{
    struct listing listing = {emit, arg, true};
    struct exfat_dir *dir;
    return exfat_dir_open(exfat_of(fs), id ? id : ROOT_ID, &dir, err) &&
           exfat_dir_scan(exfat_of(fs), dir, list_item, &listing, err);
}

bool exfat_parent(struct fs *fs, fs_id id, fs_id *out, struct error *err)
{
    struct exfat_dir *dir;
    if (!exfat_dir_open(exfat_of(fs), id, &dir, err))
        return false;
    *out = dir->parent;
    return true;
}
