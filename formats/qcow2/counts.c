/* The counters of check.h. */
#include "alloc.h"
#include "check.h"

#include <stdlib.h>

enum { FLAG_BITS = 2, FLAG_MASK = 3, NARROW_MAX = 63 };

static size_t home_of(const struct qcow2_counts *counts, uint64_t index)
{
    return (size_t)(index * 0x9E3779B97F4A7C15u >> 24) & counts->mask;
}

static struct qcow2_chunk **find(const struct qcow2_counts *counts, uint64_t index)
{
    size_t i = home_of(counts, index);
    while (counts->slots[i] && counts->slots[i]->index != index)
        i = (i + 1) & counts->mask;
    return &counts->slots[i];
}

static bool grow(struct qcow2_counts *counts, struct error *err)
{
    struct qcow2_counts larger = {.mask = counts->mask ? counts->mask * 2 + 1 : 63, .used = counts->used};
    larger.slots = mem_array(larger.mask + 1, sizeof *larger.slots, err);
    if (!larger.slots)
        return false;
    for (size_t i = 0; counts->slots && i <= counts->mask; i++)
        if (counts->slots[i])
            *find(&larger, counts->slots[i]->index) = counts->slots[i];
    free(counts->slots);
    *counts = larger;
    return true;
}

static struct qcow2_chunk *lookup(const struct qcow2_counts *counts, uint64_t index)
{
    if (counts->last && counts->last->index == index)
        return counts->last;
    return counts->slots ? *find(counts, index) : NULL;
}

static struct qcow2_chunk *make(struct qcow2_counts *counts, uint64_t index, struct error *err)
{
    struct qcow2_chunk *chunk = lookup(counts, index);
    if (chunk)
        return chunk;
    if (counts->used >= counts->mask / 2 && !grow(counts, err))
        return NULL;
    chunk = mem_new(sizeof *chunk, err);
    if (!chunk)
        return NULL;
    chunk->index = index;
    chunk->narrow = mem_new(COUNTS_CHUNK, err);
    if (!chunk->narrow) {
        free(chunk);
        return NULL;
    }
    *find(counts, index) = chunk;
    counts->used++;
    return chunk;
}

static bool widen(struct qcow2_chunk *chunk, struct error *err)
{
    chunk->wide = mem_array(COUNTS_CHUNK, sizeof *chunk->wide, err);
    if (!chunk->wide)
        return false;
    for (size_t i = 0; i < COUNTS_CHUNK; i++)
        chunk->wide[i] = chunk->narrow[i];
    free(chunk->narrow);
    chunk->narrow = NULL;
    return true;
}

bool counts_add(struct qcow2_counts *counts, uint64_t cluster, uint64_t times, unsigned seen,
                struct error *err)
{
    struct qcow2_chunk *chunk = counts->last;
    if (!chunk || chunk->index != cluster / COUNTS_CHUNK) {
        chunk = make(counts, cluster / COUNTS_CHUNK, err);
        if (!chunk)
            return false;
        counts->last = chunk;
    }
    size_t i = (size_t)(cluster % COUNTS_CHUNK);
    if (chunk->narrow) {
        if ((uint64_t)(chunk->narrow[i] >> FLAG_BITS) + times <= NARROW_MAX) {
            chunk->narrow[i] = (uint8_t)((chunk->narrow[i] + (times << FLAG_BITS)) | seen);
            return true;
        }
        if (!widen(chunk, err))
            return false;
    }
    chunk->wide[i] = (chunk->wide[i] + (times << FLAG_BITS)) | seen;
    return true;
}

static uint64_t value(const struct qcow2_counts *counts, uint64_t cluster)
{
    const struct qcow2_chunk *chunk = lookup(counts, cluster / COUNTS_CHUNK);
    if (!chunk)
        return 0;
    return chunk->narrow ? chunk->narrow[cluster % COUNTS_CHUNK] : chunk->wide[cluster % COUNTS_CHUNK];
}

uint64_t counts_get(const struct qcow2_counts *counts, uint64_t cluster)
{
    return value(counts, cluster) >> FLAG_BITS;
}

unsigned counts_seen(const struct qcow2_counts *counts, uint64_t cluster)
{
    return (unsigned)(value(counts, cluster) & FLAG_MASK);
}

bool counts_has_chunk(const struct qcow2_counts *counts, uint64_t chunk)
{
    return lookup(counts, chunk) != NULL;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

bool counts_sorted(const struct qcow2_counts *counts, uint64_t **indices, size_t *count, struct error *err)
{
    *count = 0;
    *indices = mem_array(counts->used, sizeof **indices, err);
    if (!*indices)
        return false;
    for (size_t i = 0; counts->slots && i <= counts->mask; i++)
        if (counts->slots[i])
            (*indices)[(*count)++] = counts->slots[i]->index;
    qsort(*indices, *count, sizeof **indices, by_value);
    return true;
}

void counts_free(struct qcow2_counts *counts)
{
    for (size_t i = 0; counts->slots && i <= counts->mask; i++) {
        if (!counts->slots[i])
            continue;
        free(counts->slots[i]->narrow);
        free(counts->slots[i]->wide);
        free(counts->slots[i]);
    }
    free(counts->slots);
    *counts = (struct qcow2_counts){0};
}
