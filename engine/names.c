/*
 * A direct-mapped table: every (directory, name) has one slot, and the newest user of a slot wins. No lists,
 * no ages, no allocation a name; a generation number makes forgetting everything one addition.
 */
#include "names.h"

#include "bytes.h"

#include <stdlib.h>

enum {
    SLOTS = 16384,
    NAME_ROOM = 40,
    LINK_SETS = 1024,
    LINK_WAYS = 4,
    LINK_ROOM = 1024, /* longer targets are not remembered */
};

struct slot {
    uint64_t dir, id;
    uint32_t generation;
    uint16_t type; /* S_IF* */
    uint8_t len;
    char name[NAME_ROOM]; /* longer names are not remembered */
};

struct link_slot {
    fs_id id;
    uint32_t generation;
    char *target;
};

struct name_cache {
    const struct fs *fs;
    uint64_t epoch, hits, misses;
    uint32_t generation; /* slots of other generations are empty */
    struct slot slots[SLOTS];
    struct link_slot links[LINK_SETS][LINK_WAYS];
    unsigned next_way; /* the one that a new target takes */
};

/* NULL: no memory, and then nothing is remembered. */
static struct name_cache *cache_of(struct volume *volume)
{
    struct name_cache *cache = volume->names;
    if (!cache) {
        cache = volume->names = calloc(1, sizeof *cache);
        if (!cache)
            return NULL;
    }
    uint64_t epoch = volume->image->session->name_epoch;
    if (cache->fs != volume->fs || cache->epoch != epoch) {
        cache->fs = volume->fs;
        cache->epoch = epoch;
        names_forget_all(volume);
    }
    return cache;
}

static struct slot *slot_of(struct name_cache *cache, fs_id dir, const char *name, size_t len)
{
    uint64_t hash = dir * 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)name[i]) * 0x100000001B3u;
    return &cache->slots[(hash ^ hash >> 29) % SLOTS];
}

static bool is_slot_of(const struct name_cache *cache, const struct slot *slot, fs_id dir, const char *name,
                       size_t len)
{
    return slot->generation == cache->generation && slot->dir == dir && slot->len == len &&
           memcmp(slot->name, name, len) == 0;
}

enum name_answer names_find(struct volume *volume, fs_id dir, const char *name, fs_id *out, uint32_t *type)
{
    struct name_cache *cache = cache_of(volume);
    size_t len = strlen(name);
    if (!cache || len > NAME_ROOM)
        return NAME_UNKNOWN;
    const struct slot *slot = slot_of(cache, dir, name, len);
    if (!is_slot_of(cache, slot, dir, name, len)) {
        cache->misses++;
        return NAME_UNKNOWN;
    }
    cache->hits++;
    *out = slot->id;
    *type = slot->type;
    return slot->id ? NAME_PRESENT : NAME_ABSENT;
}

void names_store(struct volume *volume, fs_id dir, const char *name, fs_id id, uint32_t type)
{
    struct name_cache *cache = cache_of(volume);
    size_t len = strlen(name);
    if (!cache || len > NAME_ROOM)
        return;
    /* Where "Name" and "name" are one file, creating the one would have to end the other's absence. */
    if (!id && volume->fs->limits->case_insensitive)
        return;
    struct slot *slot = slot_of(cache, dir, name, len);
    *slot = (struct slot){
        .dir = dir, .id = id, .generation = cache->generation, .type = (uint16_t)type, .len = (uint8_t)len};
    memcpy(slot->name, name, len);
}

void names_forget(struct volume *volume, fs_id dir, const char *name)
{
    struct name_cache *cache = cache_of(volume);
    size_t len = strlen(name);
    if (!cache)
        return;
    if (volume->fs->limits->case_insensitive) {
        names_forget_all(volume); /* it may be remembered under other spellings */
        return;
    }
    if (len > NAME_ROOM)
        return;
    struct slot *slot = slot_of(cache, dir, name, len);
    if (is_slot_of(cache, slot, dir, name, len))
        slot->generation = 0;
}

void names_forget_all(struct volume *volume)
{
    struct name_cache *cache = volume->names;
    if (!cache)
        return;
    if (++cache->generation == 0) {
        memset(cache->slots, 0, sizeof cache->slots);
        for (size_t i = 0; i < LINK_SETS * LINK_WAYS; i++)
            cache->links[i / LINK_WAYS][i % LINK_WAYS].generation = 0;
        cache->generation = 1;
    }
}

/* ---- targets of symbolic links ------------------------------------------------------------------------- */

static struct link_slot *find_link(struct name_cache *cache, fs_id id)
{
    struct link_slot *set = cache->links[(id * 0x9E3779B97F4A7C15u >> 32) % LINK_SETS];
    for (unsigned i = 0; i < LINK_WAYS; i++)
        if (set[i].id == id && set[i].generation == cache->generation)
            return &set[i];
    return NULL;
}

const char *names_find_link(struct volume *volume, fs_id id)
{
    struct name_cache *cache = cache_of(volume);
    const struct link_slot *slot = cache ? find_link(cache, id) : NULL;
    return slot ? slot->target : NULL;
}

void names_store_link(struct volume *volume, fs_id id, const char *target)
{
    struct name_cache *cache = cache_of(volume);
    char *copy = cache && strlen(target) < LINK_ROOM ? strdup(target) : NULL;
    if (!copy)
        return;
    struct link_slot *slot = find_link(cache, id);
    if (!slot)
        slot = &cache->links[(id * 0x9E3779B97F4A7C15u >> 32) % LINK_SETS][cache->next_way++ % LINK_WAYS];
    free(slot->target);
    *slot = (struct link_slot){.id = id, .generation = cache->generation, .target = copy};
}

void names_forget_link(struct volume *volume, fs_id id)
{
    struct link_slot *slot = volume->names ? find_link(volume->names, id) : NULL;
    if (slot)
        slot->generation = 0;
}

void names_free(struct volume *volume)
{
    for (size_t i = 0; volume->names && i < LINK_SETS * LINK_WAYS; i++)
        free(volume->names->links[i / LINK_WAYS][i % LINK_WAYS].target);
    free(volume->names);
    volume->names = NULL;
}

void names_report(const struct volume *volume, struct report *report)
{
    const struct name_cache *cache = volume->names;
    report_open(report, "names");
    report_number(report, "hits", cache ? cache->hits : 0);
    report_number(report, "misses", cache ? cache->misses : 0);
    report_size(report, "bytes", cache ? sizeof *cache : 0);
    report_close(report);
}
