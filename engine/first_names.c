#include "first_names.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>

struct first_name {
    uint64_t space, id;
    char *path; /* NULL: an empty slot */
};

static struct first_name *find_slot(struct first_name *slots, size_t capacity, uint64_t space, uint64_t id)
{
    size_t at = (size_t)(((id ^ space) * 0x9E3779B97F4A7C15u) >> 20) & (capacity - 1);
    while (slots[at].path && (slots[at].id != id || slots[at].space != space))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

/* At most half of the slots are in use, so that a search ends soon. */
static bool reserve(struct first_names *names, struct error *err)
{
    if (names->count * 2 < names->capacity)
        return true;
    size_t capacity = MAX_OF(names->capacity * 2, 64);
    struct first_name *slots = mem_array(capacity, sizeof *slots, err);
    if (!slots)
        return false;
    for (size_t i = 0; i < names->capacity; i++) {
        const struct first_name *old = &names->slots[i];
        if (old->path)
            *find_slot(slots, capacity, old->space, old->id) = *old;
    }
    free(names->slots);
    names->slots = slots;
    names->capacity = capacity;
    return true;
}

const char *first_names_find(const struct first_names *names, uint64_t space, uint64_t id)
{
    return names->count ? find_slot(names->slots, names->capacity, space, id)->path : NULL;
}

bool first_names_add(struct first_names *names, uint64_t space, uint64_t id, const char *path,
                     struct error *err)
{
    if (!reserve(names, err))
        return false;
    char *copy = mem_string(path, err);
    if (!copy)
        return false;
    *find_slot(names->slots, names->capacity, space, id) = (struct first_name){space, id, copy};
    names->count++;
    return true;
}

void first_names_clear(struct first_names *names)
{
    for (size_t i = 0; i < names->capacity; i++)
        free(names->slots[i].path);
    free(names->slots);
    *names = (struct first_names){.slots = NULL};
}
