#include "slots.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>

void slots_clear(struct slots *slots)
{
    free(slots->refs);
    free(slots->buckets);
    free(slots->taken);
    *slots = (struct slots){.refs = NULL};
}

bool slots_is_taken(const struct slots *slots, uint32_t slot)
{
    return slot / 64 < slots->taken_words && (slots->taken[slot / 64] >> (slot % 64) & 1);
}

bool slots_mark(struct slots *slots, uint32_t first, uint32_t count, bool taken, struct error *err)
{
    if (!mem_grow(&slots->taken, &slots->taken_words, (first + count) / 64 + 1, sizeof *slots->taken, err))
        return false;
    for (uint32_t i = first; i < first + count; i++) {
        if (taken)
            slots->taken[i / 64] |= (uint64_t)1 << (i % 64);
        else
            slots->taken[i / 64] &= ~((uint64_t)1 << (i % 64));
    }
    for (uint32_t n = 1; !taken && n <= SLOTS_MAX_RUN; n++)
        slots->hint[n] = MIN_OF(slots->hint[n], first >= n ? first - n + 1 : 0);
    return true;
}

uint32_t slots_find_free(struct slots *slots, uint32_t count)
{
    uint32_t run = 0, slot = slots->hint[count];
    for (; run < count; slot++)
        run = slots_is_taken(slots, slot) ? 0 : run + 1;
    slots->hint[count] = slot - count;
    return slot - count;
}

static void link_ref(struct slots *slots, uint32_t number)
{
    uint32_t *bucket = &slots->buckets[slots->refs[number].hash & (slots->bucket_count - 1)];
    slots->refs[number].next = *bucket;
    *bucket = number + 1;
}

static bool grow_buckets(struct slots *slots, uint32_t count, struct error *err)
{
    uint32_t *buckets = mem_array(count, sizeof *buckets, err);
    if (!buckets)
        return false;
    free(slots->buckets);
    slots->buckets = buckets;
    slots->bucket_count = count;
    for (uint32_t i = 0; i < slots->count; i++)
        link_ref(slots, i);
    return true;
}

bool slots_add(struct slots *slots, uint32_t hash, uint32_t first, uint32_t last, struct error *err)
{
    uint32_t number = slots->unused;
    if (number) {
        slots->unused = slots->refs[--number].next;
    } else {
        number = (uint32_t)slots->count;
        if (!mem_grow(&slots->refs, &slots->capacity, slots->count + 1, sizeof *slots->refs, err) ||
            (number >= slots->bucket_count && !grow_buckets(slots, MAX_OF(64, slots->bucket_count * 2), err)))
            return false;
        slots->count++;
    }
    slots->refs[number] = (struct slot_ref){.hash = hash, .first = first, .last = last};
    link_ref(slots, number);
    return true;
}

void slots_remove(struct slots *slots, uint32_t hash, uint32_t last)
{
    if (slots->bucket_count == 0)
        return;
    for (uint32_t *hook = &slots->buckets[hash & (slots->bucket_count - 1)]; *hook;
         hook = &slots->refs[*hook - 1].next) {
        struct slot_ref *ref = &slots->refs[*hook - 1];
        if (ref->hash != hash || ref->last != last)
            continue;
        uint32_t number = *hook;
        *hook = ref->next;
        ref->next = slots->unused;
        slots->unused = number;
        return;
    }
}

const struct slot_ref *slots_find(const struct slots *slots, uint32_t hash, uint32_t *cursor)
{
    if (slots->bucket_count == 0)
        return NULL;
    uint32_t n = *cursor ? slots->refs[*cursor - 1].next : slots->buckets[hash & (slots->bucket_count - 1)];
    while (n && slots->refs[n - 1].hash != hash)
        n = slots->refs[n - 1].next;
    *cursor = n;
    return n ? &slots->refs[n - 1] : NULL;
}
