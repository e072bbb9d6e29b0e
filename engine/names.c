/*
 * A direct-mapped table: every (directory, name) has one slot, and the newest user of a slot wins. No lists,
 * no ages, no allocation a name; a generation number makes forgetting everything one addition.
 */
#include "names.h"

#include "bytes.h"

#include <stdlib.h>

enum { SLOTS = 16384, NAME_ROOM = 40 };

struct slot {
    uint64_t dir, id;
    uint32_t generation;
    uint16_t type; /* S_IF* */
    uint8_t len;
    char name[NAME_ROOM]; /* longer names are not remembered */
};

struct name_cache {
    const struct fs *fs;
    uint64_t epoch, hits, misses;
    uint32_t generation; /* slots of other generations are empty */
    struct slot slots[SLOTS];
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
        cache->generation = 1;
    }
}

void names_free(struct volume *volume)
{
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
