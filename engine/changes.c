/*
 * The stage says which bytes of the host file differ from the older state. Each run is carried up: the
 * container says whether it is one of its own structures or guest bytes, the table likewise, then the
 * filesystem. A structure is read in both states and compared field by field.
 */
#include "changes.h"

#include "alloc.h"
#include "bytes.h"
#include "changes_merge.h"
#include "file_index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Data runs up to this size are compared, so that unchanged neighbours in a page are not told. */
enum { COMPARE_MAX = 64 * 1024, BITS_SHOWN = 12 };

struct walk {
    struct session *session;
    struct image *now, *old;
    struct merge merge;
    struct indexed {
        bool tried;
        struct file_index *index;
    } * indexed; /* the files of each volume of `now`, looked up when first contents are told */
    /* The structure told last: pages and runs often cover it several times. */
    struct device *last_device;
    uint64_t last_off, last_end;
};

/* The device of the older state that corresponds to one of the present. NULL: it did not exist. */
static struct device *old_device(const struct walk *walk, const struct device *device)
{
    if (device == walk->now->file)
        return walk->old->file;
    if (device == walk->now->disk)
        return walk->old->disk;
    for (size_t i = 0; i < walk->now->volume_count; i++) {
        const struct volume *volume = walk->now->volumes[i];
        if (volume->device != device)
            continue;
        for (size_t k = 0; k < walk->old->volume_count; k++)
            if (walk->old->volumes[k]->number == volume->number &&
                walk->old->volumes[k]->start == volume->start)
                return walk->old->volumes[k]->device;
        return NULL;
    }
    return NULL;
}

/* The same bytes of the older state; zeros where it had none. */
static bool read_old(const struct walk *walk, const struct place *place, uint64_t off, uint8_t *out, size_t n,
                     struct error *err)
{
    struct device *device = old_device(walk, place->device);
    memset(out, 0, n);
    if (!device || off >= device->size)
        return true;
    return device_read(device, off, out, (size_t)MIN_OF(n, device->size - off), err);
}

static bool compare_structure(struct walk *walk, const struct change *base, struct error *err)
{
    const struct place *place = &base->place;
    uint8_t *raw = mem_new((size_t)place->size * 2, err);
    if (!raw)
        return false;
    bool ok = device_read(place->device, place->off, raw, place->size, err) &&
              read_old(walk, place, place->off, raw + place->size, place->size, err);
    if (ok && memcmp(raw, raw + place->size, place->size) != 0)
        ok = merge_structure(&walk->merge, base, raw + place->size, raw, err);
    free(raw);
    return ok;
}

/* "bits 12-14 set, 20 cleared": for bitmaps and tables that are known as a whole only. */
static void describe_bits(char *text, size_t size, const uint8_t *old_raw, const uint8_t *raw, size_t n)
{
    unsigned shown = 0;
    for (size_t bit = 0; bit < n * 8;) {
        unsigned was = old_raw[bit / 8] >> bit % 8 & 1, is = raw[bit / 8] >> bit % 8 & 1;
        size_t end = bit + 1, used = strlen(text);
        if (was == is) {
            bit = end;
            continue;
        }
        while (end < n * 8 && (unsigned)(old_raw[end / 8] >> end % 8 & 1) == was &&
               (unsigned)(raw[end / 8] >> end % 8 & 1) == is)
            end++;
        if (shown++ == BITS_SHOWN) {
            snprintf(text + used, size - used, " and more");
            return;
        }
        snprintf(text + used, size - used, "%s bit%s %zu", shown > 1 ? "," : ":", end - bit > 1 ? "s" : "",
                 bit);
        used = strlen(text);
        if (end - bit > 1)
            snprintf(text + used, size - used, "-%zu", end - 1);
        used = strlen(text);
        snprintf(text + used, size - used, " %s", is ? "set" : "cleared");
        bit = end;
    }
}

/* Whether the bytes differ; of large runs it is taken for granted. With bits: describes which do. */
static bool compare_bytes(struct walk *walk, struct change *change, bool bits, bool *differ,
                          struct error *err)
{
    uint64_t len = change->len;
    *differ = true;
    if (len > COMPARE_MAX)
        return true;
    uint8_t *raw = mem_new((size_t)len * 2, err);
    if (!raw)
        return false;
    bool ok = device_read(change->place.device, change->off, raw, (size_t)len, err) &&
              read_old(walk, &change->place, change->off, raw + len, (size_t)len, err);
    *differ = ok && memcmp(raw, raw + len, (size_t)len) != 0;
    if (*differ && bits)
        describe_bits(change->text, sizeof change->text, raw + len, raw, (size_t)len);
    free(raw);
    return ok;
}

/* NULL: they are not known, be it for damage. */
static bool find_index(struct walk *walk, const struct volume *volume, bool runs,
                       const struct file_index **out, struct error *err)
{
    size_t at = 0;
    while (walk->now->volumes[at] != volume)
        at++;
    struct indexed *indexed = &walk->indexed[at];
    bool known = indexed->tried || file_index_new(&indexed->index, walk->now->volumes[at], runs, err);
    indexed->tried = true;
    *out = indexed->index;
    return known || (err->kind != E_NOMEM && err->kind != E_INTERRUPTED);
}

/* A structure is told once, although pages and runs often cover it several times. */
static bool tell_structure(struct walk *walk, struct change *change, const struct place *place,
                           struct error *err)
{
    if (walk->last_device == place->device && place->off >= walk->last_off && place->off < walk->last_end)
        return true;
    walk->last_device = place->device;
    walk->last_off = place->off;
    walk->last_end = place->off + place->size;
    change->place = *place;
    return compare_structure(walk, change, err);
}

/* Bytes that only have a description. */
static bool tell_bytes(struct walk *walk, struct change *change, const struct owner *owner, struct error *err)
{
    bool differ;
    snprintf(change->text, sizeof change->text, "%s", owner->text);
    return compare_bytes(walk, change, owner->kind == OWNER_STRUCTURE, &differ, err) &&
           (!differ || merge_bytes(&walk->merge, change, err));
}

/* *reach becomes shorter when the answer holds for fewer bytes. */
static bool tell_contents(struct walk *walk, struct change *change, const struct owner *owner,
                          uint64_t *reach, struct error *err)
{
    struct file_at at = {.id = owner->file, .file_off = owner->file_off, .len = change->len};
    const struct fs *fs = change->volume->fs;
    const struct file_index *index;
    struct owner entry = {.len = 1};
    bool differ, known = owner->file != 0;
    if (!find_index(walk, change->volume, !known, &index, err))
        return false;
    if (known && index)
        at.path = file_index_path(index, owner->file);
    else if (index)
        known = file_index_at(index, change->off, &at);
    *reach = change->len = MIN_OF(change->len, at.len);
    if (known && at.directory && fs->driver->dir_owner) {
        if (!fs->driver->dir_owner(change->volume->fs, change->off, &entry, err))
            return false;
        *reach = change->len = MIN_OF(entry.len, at.len);
        return entry.place.layout ? tell_structure(walk, change, &entry.place, err)
                                  : tell_bytes(walk, change, &entry, err);
    }
    if (!known)
        return tell_bytes(walk, change, owner, err);
    return compare_bytes(walk, change, false, &differ, err) &&
           (!differ || merge_contents(&walk->merge, change, at.id, at.path, at.file_off, err));
}

/* *reach: the bytes for which the owner answers. */
static bool tell_owner(struct walk *walk, const char *layer, struct volume *volume, struct device *device,
                       uint64_t off, uint64_t *reach, const struct owner *owner, struct error *err)
{
    struct change change = {.layer = layer,
                            .volume = volume,
                            .place = {.device = device, .off = off},
                            .off = off,
                            .len = *reach,
                            .count = 1};
    if (owner->kind == OWNER_FREE || owner->kind == OWNER_UNKNOWN)
        return true;
    if (owner->kind == OWNER_STRUCTURE && owner->place.layout)
        return tell_structure(walk, &change, &owner->place, err);
    if (owner->kind == OWNER_DATA && volume)
        return tell_contents(walk, &change, owner, reach, err);
    return tell_bytes(walk, &change, owner, err);
}

/* How far one answer reaches; a structure ends where it ends. */
static uint64_t step_of(const struct owner *owner, struct device *device, uint64_t off, uint64_t rest)
{
    uint64_t step = owner->len ? owner->len : 1;
    if (owner->kind == OWNER_STRUCTURE && owner->place.layout && owner->place.device == device &&
        owner->place.off <= off)
        step = owner->place.off + owner->place.size - off;
    return MAX_OF(MIN_OF(step, rest), 1);
}

static bool walk_volume(struct walk *walk, struct volume *volume, uint64_t off, uint64_t len,
                        struct error *err)
{
    struct error closed = {0};
    struct fs *fs;
    if (!volume_fs(volume, &fs, &closed) || !fs->driver->head.owner)
        return true;
    while (len > 0) {
        struct owner owner = {.len = 1};
        if (!fs->driver->head.owner(fs, off, &owner, err))
            return false;
        uint64_t step = step_of(&owner, volume->device, off, len);
        if (!tell_owner(walk, fs->type, volume, volume->device, off, &step, &owner, err) ||
            !interrupt_check(err))
            return false;
        off += step;
        len -= step;
    }
    return true;
}

static struct volume *volume_at(const struct image *image, uint64_t off, uint64_t *until)
{
    for (size_t i = 0; i < image->volume_count; i++) {
        struct volume *volume = image->volumes[i];
        if (volume->number == 0 && image->table)
            continue;
        if (off >= volume->start && off - volume->start < volume->device->size) {
            *until = volume->start + volume->device->size;
            return volume;
        }
        if (volume->start > off)
            *until = MIN_OF(*until, volume->start);
    }
    return NULL;
}

static bool walk_table(struct walk *walk, uint64_t off, uint64_t len, struct error *err)
{
    struct table *table = walk->now->table;
    if (!table || !table->driver->head.owner)
        return true;
    while (len > 0) {
        struct owner owner = {.len = 1};
        if (!table->driver->head.owner(table, off, &owner, err))
            return false;
        uint64_t step = step_of(&owner, walk->now->disk, off, len);
        if (!tell_owner(walk, table->driver->head.name, NULL, walk->now->disk, off, &step, &owner, err))
            return false;
        off += step;
        len -= step;
    }
    return true;
}

static bool walk_disk(struct walk *walk, uint64_t off, uint64_t len, struct error *err)
{
    uint64_t end = MIN_OF(off + len, walk->now->disk->size);
    while (off < end) {
        uint64_t until = end;
        struct volume *volume = volume_at(walk->now, off, &until);
        uint64_t step = MIN_OF(until, end) - off;
        if (volume ? !walk_volume(walk, volume, off - volume->start, step, err)
                   : !walk_table(walk, off, step, err))
            return false;
        off += step;
    }
    return true;
}

static bool walk_file(struct walk *walk, uint64_t off, uint64_t len, struct error *err)
{
    const struct container_driver *container = walk->now->container;
    while (len > 0) {
        struct owner owner = {.kind = OWNER_DATA, .len = len, .file_off = off};
        if (container->head.owner && !container->head.owner(walk->now->disk, off, &owner, err))
            return false;
        uint64_t step = step_of(&owner, walk->now->file, off, len);
        bool ok = owner.kind == OWNER_DATA ? walk_disk(walk, owner.file_off, step, err)
                                           : tell_owner(walk, container->head.name, NULL, walk->now->file,
                                                        off, &step, &owner, err);
        if (!ok)
            return false;
        off += step;
        len -= step;
    }
    return true;
}

bool changes_each(struct session *session, struct image *image, bool last_command, change_fn *emit, void *arg,
                  struct error *err)
{
    struct image *old;
    if (!session_open_old(session, image, last_command, &old, err))
        return false;
    struct walk walk = {.session = session, .now = image, .old = old, .merge = {.emit = emit, .arg = arg}};
    uint64_t since = old->generation;
    struct range range;
    walk.indexed = mem_array(image->volume_count, sizeof *walk.indexed, err);
    bool ok = walk.indexed != NULL;
    for (uint64_t at = 0; ok && stage_next_change(image->file, since, at, &range, err);
         at = range.start + range.len)
        ok = walk_file(&walk, range.start, range.len, err);
    ok = ok && err->kind == E_OK && merge_end(&walk.merge, err);
    merge_free(&walk.merge);
    for (size_t i = 0; walk.indexed && i < image->volume_count; i++)
        file_index_free(walk.indexed[i].index);
    free(walk.indexed);
    session_close_old(old);
    return ok;
}
