#include "id_set.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>

static size_t slot_of(const struct id_set *set, fs_id id)
{
    size_t at = (size_t)((id * 0x9E3779B97F4A7C15u) >> 24) & (set->capacity - 1);
    while (set->slots[at] && set->slots[at] != id)
        at = (at + 1) & (set->capacity - 1);
    return at;
}

static bool make_larger(struct id_set *set, struct error *err)
{
    struct id_set larger = {.count = set->count, .capacity = MAX_OF(set->capacity * 2, 64)};
    larger.slots = mem_array(larger.capacity, sizeof *larger.slots, err);
    if (!larger.slots)
        return false;
    for (size_t i = 0; i < set->capacity; i++)
        if (set->slots[i])
            larger.slots[slot_of(&larger, set->slots[i])] = set->slots[i];
    free(set->slots);
    *set = larger;
    return true;
}

bool id_set_add(struct id_set *set, fs_id id, bool *fresh, struct error *err)
{
    if (set->count * 2 >= set->capacity && !make_larger(set, err))
        return false;
    size_t at = slot_of(set, id);
    *fresh = set->slots[at] != id;
    set->slots[at] = id;
    set->count += *fresh;
    return true;
}

bool id_set_has(const struct id_set *set, fs_id id)
{
    return set->capacity && set->slots[slot_of(set, id)] == id;
}

void id_set_free(struct id_set *set)
{
    free(set->slots);
    *set = (struct id_set){0};
}
