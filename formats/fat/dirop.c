/* Changing directories: adding and deleting names, creating, moving, undeleting. */
#include "fat.h"
#include "utf.h"

#include <sys/stat.h>

/* ---- slots --------------------------------------------------------------------------------------------- */

bool fat_slot_put(struct fat *fat, struct fat_dir *dir, uint32_t slot, const uint8_t *raw, size_t n,
                  struct error *err)
{
    struct cache_block *block;
    uint8_t *at;
    if (!fat_slot_get(fat, dir, slot, &block, &at, err))
        return false;
    memcpy(at, raw, n);
    cache_dirty(fat->meta, block, WRITE_UPDATE);
    cache_release(fat->meta, block);
    return true;
}

/* Zero a new directory cluster. Its sectors go through the cache, so nothing stale is left there. */
static bool clear_cluster(struct fat *fat, uint32_t cluster, struct error *err)
{
    uint64_t off = fat_cluster_off(fat, cluster);
    enum write_class class = space_write_class(&fat->space, cluster, 1);
    for (uint64_t at = 0; at < fat->g.cluster_size; at += fat->g.sector_size)
        cache_forget(fat->meta, off + at);
    return device_zero(fat->fs.device, off, fat->g.cluster_size, class, err);
}

static bool grow_dir(struct fat *fat, struct fat_dir *dir, struct error *err)
{
    struct chain *chain;
    uint32_t clusters, first = dir->first;
    if (dir->first == 0)
        return fail(err, E_NOSPACE, "the root directory is full: it holds %u entries and cannot grow",
                    fat->g.root_entries);
    if (dir->slots + fat->g.cluster_size / ENTRY_SIZE > MAX_SLOTS)
        return fail(err, E_NOSPACE, "the directory is full: FAT allows 65536 entries");
    if (!fat_chain_open(fat, first, &chain, err) || !fat_chain_length(fat, chain, &clusters, err) ||
        !fat_chain_grow(fat, &first, clusters + 1, 0, err) || !clear_cluster(fat, chain->last, err))
        return false;
    dir->slots += fat->g.cluster_size / ENTRY_SIZE;
    return true;
}

bool fat_dir_take(struct fat *fat, struct fat_dir *dir, uint32_t count, uint32_t *found, struct error *err)
{
    *found = slots_find_free(&dir->index, count);
    while (*found + count > dir->slots)
        if (!grow_dir(fat, dir, err))
            return false;
    return slots_mark(&dir->index, *found, count, true, err);
}

static void make_long(const struct dosname *name, unsigned number, unsigned parts, uint8_t checksum,
                      uint8_t raw[ENTRY_SIZE])
{
    uint16_t units[LONG_UNITS];
    for (unsigned i = 0, at = (number - 1) * LONG_UNITS; i < LONG_UNITS; i++, at++)
        units[i] = at < name->count ? name->units[at] : at == name->count ? 0 : 0xFFFF;
    memset(raw, 0, ENTRY_SIZE);
    fat_long_set_LDIR_Ord(raw, number | (number == parts ? LAST_LONG : 0));
    fat_long_set_LDIR_Attr(raw, FAT_LONG_NAME);
    fat_long_set_LDIR_Chksum(raw, checksum);
    utf16_store_le(raw + fat_long_off_LDIR_Name1, units, 5);
    utf16_store_le(raw + fat_long_off_LDIR_Name2, units + 5, 6);
    utf16_store_le(raw + fat_long_off_LDIR_Name3, units + 11, 2);
}

/* What was the end of the directory moves behind the new entries: the slot there must say so. */
bool fat_dir_move_end(struct fat *fat, struct fat_dir *dir, uint32_t end, struct error *err)
{
    static const uint8_t mark[1] = {SLOT_END}, unused[1] = {SLOT_FREE};
    for (uint32_t slot = dir->end; slot < end; slot++)
        if (!slots_is_taken(&dir->index, slot) && !fat_slot_put(fat, dir, slot, unused, 1, err))
            return false;
    if (end <= dir->end)
        return true;
    dir->end = end;
    return end >= dir->slots || fat_slot_put(fat, dir, end, mark, 1, err);
}

struct taken {
    struct fat *fat;
    struct fat_dir *dir;
};

static bool alias_taken(void *arg, const uint8_t short_name[SHORT_NAME], bool *taken, struct error *err)
{
    struct taken *where = arg;
    return fat_dir_alias_taken(where->fat, where->dir, short_name, taken, err);
}

bool fat_dir_add(struct fat *fat, struct fat_dir *dir, const struct dosname *name, uint8_t entry[ENTRY_SIZE],
                 fs_id *out, struct error *err)
{
    struct taken where = {fat, dir};
    struct fat_item item = {.kind = ITEM_FILE, .name = *name};
    uint8_t case_bits, raw[ENTRY_SIZE];
    bool need_long;
    if (!fat_short_make(fat, name, alias_taken, &where, entry, &case_bits, &need_long, err))
        return false;
    fat_entry_set_DIR_NTRes(entry,
                            (fat_entry_DIR_NTRes(entry) & ~(uint64_t)(LOWER_BASE | LOWER_EXT)) | case_bits);
    unsigned parts = need_long ? (name->count + LONG_UNITS - 1) / LONG_UNITS : 0;
    if (!fat_dir_take(fat, dir, parts + 1, &item.first_slot, err))
        return false;
    item.slot = item.first_slot + parts;
    for (unsigned i = 0; i < parts; i++) {
        make_long(name, parts - i, parts, fat_name_checksum(entry), raw);
        if (!fat_slot_put(fat, dir, item.first_slot + i, raw, ENTRY_SIZE, err))
            return false;
    }
    if (!fat_slot_put(fat, dir, item.slot, entry, ENTRY_SIZE, err) ||
        !fat_dir_move_end(fat, dir, item.slot + 1, err) || !fat_slot_off(fat, dir, item.slot, &item.off, err))
        return false;
    memcpy(item.raw, entry, ENTRY_SIZE);
    *out = item.off / ENTRY_SIZE;
    return fat_index_add(dir, &item, err);
}

bool fat_dir_delete(struct fat *fat, struct fat_dir *dir, const struct fat_item *item, struct error *err)
{
    static const uint8_t unused[1] = {SLOT_FREE};
    fat_index_remove(dir, item);
    for (uint32_t slot = item->first_slot; slot <= item->slot; slot++)
        if (!fat_slot_put(fat, dir, slot, unused, 1, err))
            return false;
    return slots_mark(&dir->index, item->first_slot, item->slot - item->first_slot + 1, false, err);
}

/* ---- create, remove ------------------------------------------------------------------------------------ */

bool fat_dir_make(struct fat *fat, uint32_t parent, const uint8_t entry[ENTRY_SIZE], uint32_t *first,
                  struct error *err)
{
    struct cache_block *block;
    *first = 0;
    if (!fat_chain_grow(fat, first, 1, 0, err) || !clear_cluster(fat, *first, err) ||
        !cache_get_new(fat->meta, fat_cluster_off(fat, *first), WRITE_UPDATE, &block, err))
        return false;
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *raw = block->data + i * ENTRY_SIZE;
        memcpy(raw, entry, ENTRY_SIZE);
        memset(raw, ' ', SHORT_NAME);
        memset(raw, '.', i + 1);
        fat_entry_set_DIR_NTRes(raw, 0);
        fat_entry_set_DIR_Attr(raw, FAT_DIRECTORY);
        fat_entry_set_cluster(fat, raw, i == 0 ? *first : parent == fat->g.root ? 0 : parent);
    }
    cache_release(fat->meta, block);
    return true;
}

bool fat_create(struct fs *fs, fs_id dir_id, const char *text, const struct fs_attr *attr, const char *target,
                fs_id *out, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct fat_dir *dir;
    struct dosname name;
    uint8_t entry[ENTRY_SIZE] = {0};
    uint32_t first = 0;
    bool directory = S_ISDIR(attr->mode);
    (void)target;
    if (!directory && !S_ISREG(attr->mode))
        return fail(err, E_UNSUPPORTED, "%s holds files and directories only", fs->type);
    if (!dosname_parse(text, "FAT", &name, err))
        return false;
    if (!directory && attr->size > MAX_FILE_SIZE)
        return fail(err, E_TOOBIG, "a file on FAT has at most 4294967295 bytes (4 GiB less one), not %llu",
                    (unsigned long long)attr->size);
    if (!fat_dir_index(fat, dir_id, &dir, err))
        return false;
    fat_entry_set_DIR_Attr(entry,
                           directory ? FAT_DIRECTORY : FAT_ARCHIVE | (attr->mode & 0222 ? 0 : FAT_READ_ONLY));
    fat_entry_set_times(entry, attr, ATTR_MTIME | ATTR_ATIME | ATTR_CRTIME);
    if (directory) {
        if (!fat_dir_make(fat, dir->first, entry, &first, err))
            return false;
        fat_entry_set_cluster(fat, entry, first);
    }
    if (!fat_dir_add(fat, dir, &name, entry, out, err))
        return false;
    fat->hint_id = directory ? 0 : *out;
    fat->hint_clusters = directory ? 0 : fat_clusters_for(fat, attr->size);
    return !directory || fat_dir_new(fat, first, *out, err);
}

static bool any_file(struct fat *fat, struct fat_dir *dir, const struct fat_item *item, void *arg,
                     struct error *err)
{
    (void)fat;
    (void)dir;
    (void)err;
    bool *found = arg;
    *found = *found || item->kind == ITEM_FILE;
    return !*found;
}

static bool check_empty(struct fat *fat, uint32_t first, struct error *err)
{
    struct fat_dir *dir;
    bool found = false;
    if (!fat_dir_open_cluster(fat, first, 0, &dir, err) || !fat_dir_scan(fat, dir, any_file, &found, err))
        return false;
    return !found || fail(err, E_NOTEMPTY, "the directory is not empty");
}

/* Cached sectors of a directory must not be written after its clusters were given to a file. */
static bool forget_sectors(struct fat *fat, uint32_t first, struct error *err)
{
    struct chain *chain;
    uint32_t cluster, len;
    if (!fat_chain_open(fat, first, &chain, err))
        return false;
    for (uint32_t index = 0;; index += len) {
        if (!fat_chain_map(fat, chain, index, &cluster, &len, err))
            return false;
        if (len == 0)
            return true;
        uint64_t off = fat_cluster_off(fat, cluster), end = off + ((uint64_t)len << fat->g.cluster_shift);
        for (; off < end; off += fat->g.sector_size)
            cache_forget(fat->meta, off);
    }
}

bool fat_remove(struct fs *fs, fs_id dir_id, const char *text, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct fat_dir *dir;
    struct dosname name;
    struct fat_item item;
    if (!dosname_convert(text, &name))
        return fail(err, E_NOENT, "no such file or directory");
    if (!fat_dir_index(fat, dir_id, &dir, err) || !fat_dir_find(fat, dir, &name, &item, err))
        return false;
    uint32_t first = fat_entry_cluster(fat, item.raw);
    if (!item.fault && (fat_entry_DIR_Attr(item.raw) & FAT_DIRECTORY)) {
        if (!check_empty(fat, first, err) || !forget_sectors(fat, first, err))
            return false;
        fat_dir_forget(fat, first);
        if (!fat_dir_index(fat, dir_id, &dir, err))
            return false;
    }
    if (!fat_dir_delete(fat, dir, &item, err))
        return false;
    return item.fault || first == 0 || fat_chain_free(fat, first, err);
}

/* ---- rename -------------------------------------------------------------------------------------------- */

/* A moved directory's .. names its new parent. */
static bool set_dotdot(struct fat *fat, uint32_t first, uint32_t parent, struct error *err)
{
    struct cache_block *block;
    if (!cache_get(fat->meta, fat_cluster_off(fat, first), &block, err))
        return false;
    uint8_t *raw = block->data + ENTRY_SIZE;
    bool found = memcmp(raw, "..         ", SHORT_NAME) == 0;
    if (found) {
        fat_entry_set_cluster(fat, raw, parent == fat->g.root ? 0 : parent);
        cache_dirty(fat->meta, block, WRITE_UPDATE);
    }
    cache_release(fat->meta, block);
    return found || damaged(err, fat->fs.device, fat_cluster_off(fat, first) + ENTRY_SIZE,
                            "the directory's entry '..' is missing");
}

bool fat_rename(struct fs *fs, fs_id from, const char *text, fs_id to, const char *new_text, fs_id *out,
                struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct fat_dir *dir;
    struct dosname name, new_name;
    struct fat_item item;
    if (!dosname_parse(new_text, "FAT", &new_name, err))
        return false;
    if (!dosname_convert(text, &name))
        return fail(err, E_NOENT, "no such file or directory");
    if (!fat_dir_index(fat, from, &dir, err) || !fat_dir_find(fat, dir, &name, &item, err))
        return false;
    bool directory = fat_entry_DIR_Attr(item.raw) & FAT_DIRECTORY;
    uint32_t first = fat_entry_cluster(fat, item.raw);
    if (item.fault)
        return damaged(err, fs->device, item.off, "%s", item.fault);
    if (!fat_dir_delete(fat, dir, &item, err) || !fat_dir_index(fat, to, &dir, err))
        return false;
    uint32_t parent = dir->first;
    if (!fat_dir_add(fat, dir, &new_name, item.raw, out, err))
        return false;
    for (dir = fat->dirs; directory && dir; dir = dir->next)
        if (dir->first == first)
            dir->id = *out;
    return !directory || from == to || set_dotdot(fat, first, parent, err);
}

/* ---- undelete ------------------------------------------------------------------------------------------ */

/* The clusters of a deleted file are taken to be the free ones from its first on, as every tool has to. */
static bool undelete_chain(struct fat *fat, const uint8_t *entry, uint32_t *first, struct error *err)
{
    uint32_t cluster = fat_entry_cluster(fat, entry), last = 0;
    uint32_t need = fat_clusters_for(fat, fat_entry_DIR_FileSize(entry));
    if (fat_entry_DIR_Attr(entry) & FAT_DIRECTORY)
        need = 1;
    *first = 0;
    if (need == 0)
        return true;
    if (!fat_valid_cluster(fat, cluster) || !fat_space_load(fat, err))
        return fail(err, E_DAMAGED, "the entry's first cluster %u does not exist", cluster);
    if (!space_is_free(&fat->space, cluster))
        return fail(err, E_NOENT, "cluster %u of the deleted file is in use again", cluster);
    for (uint32_t c = cluster, n = 0; n < need; c++) {
        if (!fat_valid_cluster(fat, c))
            return fail(err, E_NOENT, "only %u of %u clusters of the deleted file are still free", n, need);
        if (!space_is_free(&fat->space, c))
            continue;
        if (!space_claim(&fat->space, c, err) || !fat_set(fat, c, CLUSTER_END, err) ||
            (last && !fat_set(fat, last, c, err)))
            return false;
        last = c;
        n++;
    }
    *first = cluster;
    return true;
}

bool fat_undelete(struct fs *fs, fs_id id, fs_id dir_id, const char *text, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct cache_block *block;
    struct dosname name;
    struct fat_dir *dir;
    uint8_t *raw, entry[ENTRY_SIZE];
    uint32_t first;
    fs_id out;
    if (!dosname_parse(text, "FAT", &name, err) || !fat_entry_get(fat, id, &block, &raw, err))
        return false;
    memcpy(entry, raw, ENTRY_SIZE);
    cache_release(fat->meta, block);
    if (entry[0] != SLOT_FREE || (fat_entry_DIR_Attr(entry) & FAT_VOLUME))
        return fail(err, E_NOENT, "#%llu is not a deleted file", (unsigned long long)id);
    if (!undelete_chain(fat, entry, &first, err))
        return false;
    fat_entry_set_cluster(fat, entry, first);
    chain_forget(fat->chains, first);
    return fat_dir_index(fat, dir_id, &dir, err) && fat_dir_add(fat, dir, &name, entry, &out, err);
}
