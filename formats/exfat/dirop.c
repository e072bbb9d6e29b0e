/* Changing directories: adding and deleting entry sets, creating, moving, undeleting. */
#include "exfat.h"

#include <stdio.h>
#include <sys/stat.h>

/* Zero a directory's new cluster. Nothing of it may be left in the cache. */
static bool clear_cluster(struct exfat *exfat, uint32_t cluster, struct error *err)
{
    uint64_t off = exfat_cluster_off(exfat, cluster);
    enum write_class class = space_write_class(&exfat->space, cluster, 1);
    for (uint64_t at = 0; at < exfat->g.cluster_size; at += exfat->g.sector_size)
        cache_forget(exfat->meta, off + at);
    return device_zero(exfat->fs.device, off, exfat->g.cluster_size, class, err);
}

/* A directory's own entry says where it lies and how long it is; the root has none. */
static bool store_dir_stream(struct exfat *exfat, struct exfat_dir *dir, struct error *err)
{
    struct exfat_set set;
    if (dir->id == ROOT_ID)
        return true;
    if (!exfat_set_load(exfat, dir->id, &set, err))
        return false;
    exfat_set_put_stream(set.raw, &dir->stream);
    return exfat_set_store(exfat, &set, err);
}

bool exfat_dir_grow(struct exfat *exfat, struct exfat_dir *dir, struct error *err)
{
    uint32_t total = exfat_clusters_for(exfat, dir->stream.size) + 1, cluster, len;
    uint64_t size = (uint64_t)total << exfat->g.cluster_shift;
    if (size > MAX_DIR_BYTES)
        return fail(err, E_NOSPACE, "the directory is full: exFAT allows 256 MiB");
    if (!exfat_stream_grow(exfat, &dir->stream, total, 0, err))
        return false;
    dir->stream.size = dir->stream.valid = size;
    dir->slots = (uint32_t)(size / ENTRY_SIZE);
    return exfat_stream_map(exfat, &dir->stream, total - 1, &cluster, &len, err) &&
           clear_cluster(exfat, cluster, err) && store_dir_stream(exfat, dir, err);
}

bool exfat_dir_add(struct exfat *exfat, struct exfat_dir *dir, const uint8_t *raw, uint32_t count, fs_id *out,
                   struct error *err)
{
    static const uint8_t end_mark[ENTRY_SIZE] = {TYPE_END};
    struct dosname name;
    uint32_t slot = slots_find_free(&dir->index, count);
    while (slot + count > dir->slots)
        if (!exfat_dir_grow(exfat, dir, err))
            return false;
    exfat_set_name(raw, count, &name);
    if (!exfat_slots_write(exfat, dir, slot, count, raw, err) ||
        !slots_mark(&dir->index, slot, count, true, err) ||
        !slots_add(&dir->index, exfat_name_hash(exfat, &name), slot, slot, err))
        return false;
    *out = exfat_id(dir->stream.first, slot);
    if (slot + count <= dir->end)
        return true;
    dir->end = slot + count;
    return dir->end >= dir->slots || exfat_slots_write(exfat, dir, dir->end, 1, end_mark, err);
}

static bool delete_set(struct exfat *exfat, struct exfat_set *set, struct error *err)
{
    struct dosname name;
    exfat_set_name(set->raw, set->count, &name);
    slots_remove(&set->dir->index, exfat_name_hash(exfat, &name), set->slot);
    for (uint32_t i = 0; i < set->count; i++)
        set->raw[i * ENTRY_SIZE] &= (uint8_t)~TYPE_IN_USE;
    return exfat_slots_write(exfat, set->dir, set->slot, set->count, set->raw, err) &&
           slots_mark(&set->dir->index, set->slot, set->count, false, err);
}

static bool make_dir(struct exfat *exfat, struct exfat_stream *stream, struct error *err)
{
    if (!exfat_stream_grow(exfat, stream, 1, 0, err) || !clear_cluster(exfat, stream->first, err))
        return false;
    stream->size = stream->valid = exfat->g.cluster_size;
    return true;
}

bool exfat_create(struct fs *fs, fs_id dir_id, const char *text, const struct fs_attr *attr,
                  const char *target, fs_id *out, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_stream stream = {.first = 0};
    struct dosname name;
    struct exfat_dir *dir;
    uint8_t raw[(2 + MAX_NAME / NAME_UNITS) * ENTRY_SIZE] = {0};
    bool directory = S_ISDIR(attr->mode);
    (void)target;
    if (!directory && !S_ISREG(attr->mode))
        return fail(err, E_UNSUPPORTED, "exFAT holds files and directories only");
    if (!dosname_parse(text, "exFAT", &name, err) || !exfat_dir_index(exfat, dir_id, &dir, err))
        return false;
    if (!directory && attr->size > exfat->limits.max_file_size)
        return fail(err, E_TOOBIG, "%llu bytes are more than the volume holds",
                    (unsigned long long)attr->size);
    if (directory && !make_dir(exfat, &stream, err))
        return false;
    uint32_t count = exfat_set_make(exfat, &name, raw);
    exfat_file_set_FileAttributes(raw, directory ? EXFAT_DIRECTORY
                                                 : EXFAT_ARCHIVE | (attr->mode & 0222 ? 0 : EXFAT_READ_ONLY));
    exfat_set_times(raw, attr, ATTR_MTIME | ATTR_ATIME | ATTR_CRTIME);
    exfat_set_put_stream(raw, &stream);
    exfat_file_set_SetChecksum(raw, exfat_set_checksum(raw, count));
    if (!exfat_dir_add(exfat, dir, raw, count, out, err))
        return false;
    exfat->hint_id = directory ? 0 : *out;
    exfat->hint_clusters = directory ? 0 : exfat_clusters_for(exfat, attr->size);
    return !directory || exfat_dir_new(exfat, &stream, *out, dir_id, err);
}

static bool any_file(struct exfat *exfat, struct exfat_dir *dir, const struct exfat_item *item, void *arg,
                     struct error *err)
{
    bool *found = arg;
    (void)exfat;
    (void)dir;
    (void)err;
    *found = *found || item->kind == ITEM_FILE;
    return !*found;
}

/* An empty directory goes: nothing of it may be left in the caches. */
static bool retire_dir(struct exfat *exfat, fs_id id, struct error *err)
{
    struct exfat_dir *dir;
    uint32_t cluster, len;
    bool found = false;
    if (!exfat_dir_open(exfat, id, &dir, err) || !exfat_dir_scan(exfat, dir, any_file, &found, err))
        return false;
    if (found)
        return fail(err, E_NOTEMPTY, "the directory is not empty");
    for (uint32_t index = 0;; index += len) {
        if (!exfat_stream_map(exfat, &dir->stream, index, &cluster, &len, err))
            return false;
        if (len == 0)
            break;
        uint64_t off = exfat_cluster_off(exfat, cluster),
                 end = off + ((uint64_t)len << exfat->g.cluster_shift);
        for (; off < end; off += exfat->g.sector_size)
            cache_forget(exfat->meta, off);
    }
    exfat_dir_forget(exfat, dir->stream.first);
    return true;
}

/* Vendor allocations (0xE1) of a set own clusters, too. */
static bool free_vendor(struct exfat *exfat, const struct exfat_set *set, struct error *err)
{
    for (uint32_t i = 2; i < set->count; i++) {
        const uint8_t *entry = set->raw + i * ENTRY_SIZE;
        struct exfat_stream s = {.first = load_le32(entry + 20),
                                 .contiguous = entry[1] & FLAG_NO_FAT_CHAIN,
                                 .size = load_le64(entry + 24)};
        if ((entry[0] | TYPE_IN_USE) != 0xE1 || !(entry[1] & FLAG_ALLOCATION) || s.size == 0 ||
            !exfat_valid_cluster(exfat, s.first) ||
            s.size > (uint64_t)(exfat->g.clusters - (s.first - 2)) << exfat->g.cluster_shift)
            continue;
        if (!exfat_stream_cut(exfat, &s, 0, err))
            return false;
    }
    return true;
}

bool exfat_remove(struct fs *fs, fs_id dir_id, const char *text, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_stream stream;
    struct dosname name;
    struct exfat_dir *dir;
    struct exfat_set set;
    if (!dosname_convert(text, &name))
        return fail(err, E_NOENT, "no such file or directory");
    if (!exfat_dir_index(exfat, dir_id, &dir, err) || !exfat_dir_find(exfat, dir, &name, &set, err))
        return false;
    const char *fault = exfat_set_fault(exfat, set.raw, set.count);
    if (set.count != 1u + set.raw[1])
        fault = "the entry set is not whole";
    if (!fault && (exfat_file_FileAttributes(set.raw) & EXFAT_DIRECTORY) &&
        !retire_dir(exfat, exfat_id(dir->stream.first, set.slot), err))
        return false;
    exfat_set_stream(set.raw, &stream);
    if (!delete_set(exfat, &set, err))
        return false;
    return fault || (exfat_stream_cut(exfat, &stream, 0, err) && free_vendor(exfat, &set, err));
}

bool exfat_rename(struct fs *fs, fs_id from, const char *text, fs_id to, const char *new_text, fs_id *out,
                  struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct dosname name, new_name;
    struct exfat_dir *dir;
    struct exfat_set set;
    uint8_t raw[MAX_SET * ENTRY_SIZE];
    if (!dosname_parse(new_text, "exFAT", &new_name, err))
        return false;
    if (!dosname_convert(text, &name))
        return fail(err, E_NOENT, "no such file or directory");
    if (!exfat_dir_index(exfat, from, &dir, err) || !exfat_dir_find(exfat, dir, &name, &set, err) ||
        !exfat_set_load(exfat, exfat_id(dir->stream.first, set.slot), &set, err))
        return false;
    memcpy(raw, set.raw, 2 * ENTRY_SIZE);
    uint32_t count = exfat_set_make(exfat, &new_name, raw);
    /* Entries behind the names belong to vendors and go along. */
    for (uint32_t i = 2; i < set.count; i++)
        if (set.raw[i * ENTRY_SIZE] != TYPE_NAME && count < MAX_SET)
            memcpy(raw + count++ * ENTRY_SIZE, set.raw + i * ENTRY_SIZE, ENTRY_SIZE);
    exfat_file_set_SecondaryCount(raw, count - 1);
    exfat_file_set_SetChecksum(raw, exfat_set_checksum(raw, count));
    if (count > SLOTS_MAX_RUN)
        return fail(err, E_UNSUPPORTED, "the file has %u directory entries; at most %d can be moved", count,
                    SLOTS_MAX_RUN);
    if (!delete_set(exfat, &set, err) || !exfat_dir_index(exfat, to, &dir, err) ||
        !exfat_dir_add(exfat, dir, raw, count, out, err))
        return false;
    if (exfat_file_FileAttributes(raw) & EXFAT_DIRECTORY)
        exfat_dir_moved(exfat, (uint32_t)exfat_stream_FirstCluster(raw + ENTRY_SIZE), *out, to);
    return true;
}

/* ---- undelete ------------------------------------------------------------------------------------------ */

/* All clusters of a deleted file must still be free; they are taken again as they are. */
static bool claim_stream(struct exfat *exfat, const struct exfat_stream *s, struct error *err)
{
    uint32_t total = exfat_clusters_for(exfat, s->size), cluster, len;
    if (!exfat_space_load(exfat, err))
        return false;
    chain_forget(exfat->chains, s->first);
    for (uint32_t index = 0; index < total; index++) {
        if (!exfat_stream_map(exfat, s, index, &cluster, &len, err))
            return false;
        if (len == 0)
            return fail(err, E_NOENT, "only %u of %u clusters of the deleted file are known", index, total);
        if (!space_is_free(&exfat->space, cluster)) /* or twice in a chain that runs in a circle */
            return fail(err, E_NOENT, "cluster %u of the deleted file is in use again", cluster);
        if (!space_claim(&exfat->space, cluster, err) || !exfat_bitmap_mark(exfat, cluster, 1, true, err))
            return false;
    }
    return true;
}

bool exfat_undelete(struct fs *fs, fs_id id, fs_id dir_id, const char *text, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_stream stream;
    struct dosname name;
    struct exfat_dir *dir;
    uint8_t raw[MAX_SET * ENTRY_SIZE];
    uint32_t slot = (uint32_t)(id & 0xFFFFFF);
    fs_id out;
    if (!dosname_parse(text, "exFAT", &name, err) || id == ROOT_ID ||
        !exfat_dir_of_cluster(exfat, (uint32_t)(id >> 24), &dir, err) ||
        !exfat_slots_read(exfat, dir, slot, 2, raw, err))
        return false;
    if (raw[0] != (TYPE_FILE & ~TYPE_IN_USE) || raw[ENTRY_SIZE] != (TYPE_STREAM & ~TYPE_IN_USE))
        return fail(err, E_NOENT, "#%llu is not a deleted file", (unsigned long long)id);
    exfat_set_stream(raw, &stream);
    if (stream.valid > stream.size || stream.size > (uint64_t)exfat->g.clusters << exfat->g.cluster_shift ||
        (stream.size && !exfat_valid_cluster(exfat, stream.first)) ||
        (stream.contiguous &&
         exfat_clusters_for(exfat, stream.size) > exfat->g.clusters - (stream.first - 2)))
        return fail(err, E_DAMAGED, "the deleted file's entries are damaged");
    if (!claim_stream(exfat, &stream, err))
        return false;
    uint32_t count = exfat_set_make(exfat, &name, raw);
    exfat_file_set_SetChecksum(raw, exfat_set_checksum(raw, count));
    return exfat_dir_index(exfat, dir_id, &dir, err) && exfat_dir_add(exfat, dir, raw, count, &out, err);
}
