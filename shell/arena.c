#include "arena.h"

#include "alloc.h"
#include "bytes.h"

#include <stdalign.h>
#include <stdlib.h>

enum { BLOCK_SIZE = 16384 };

struct arena_block {
    struct arena_block *next;
    size_t capacity;
    alignas(max_align_t) uint8_t bytes[];
};

static bool add_block(struct arena *arena, size_t n, struct error *err)
{
    size_t capacity = MAX_OF(n, (size_t)BLOCK_SIZE);
    size_t total;
    if (__builtin_add_overflow(capacity, sizeof(struct arena_block), &total))
        return fail(err, E_NOMEM, "out of memory");
    struct arena_block *block = mem_bytes(total, err);
    if (!block)
        return false;
    block->capacity = capacity;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->used = 0;
    arena->capacity = capacity;
    return true;
}

void *arena_new(struct arena *arena, size_t n, struct error *err)
{
    size_t step = alignof(max_align_t);
    if (n > SIZE_MAX - step) {
        fail(err, E_NOMEM, "out of memory");
        return NULL;
    }
    n = (n + step - 1) / step * step;
    if ((!arena->blocks || arena->capacity - arena->used < n) && !add_block(arena, n, err))
        return NULL;
    void *out = arena->blocks->bytes + arena->used;
    arena->used += n;
    memset(out, 0, n);
    return out;
}

char *arena_copy(struct arena *arena, const void *bytes, size_t n, struct error *err)
{
    char *out = arena_new(arena, n + 1, err);
    if (out && n > 0)
        memcpy(out, bytes, n);
    return out;
}

bool arena_grow(struct arena *arena, void *items, size_t *capacity, size_t need, size_t size,
                struct error *err)
{
    if (need <= *capacity)
        return true;
    size_t count = MAX_OF(need, *capacity * 2 + 4), bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return fail(err, E_NOMEM, "out of memory");
    void *old, *grown = arena_new(arena, bytes, err);
    if (!grown)
        return false;
    memcpy(&old, items, sizeof old);
    if (old)
        memcpy(grown, old, *capacity * size);
    memcpy(items, &grown, sizeof grown);
    *capacity = count;
    return true;
}

void arena_reset(struct arena *arena)
{
    while (arena->blocks && (arena->blocks->next || arena->blocks->capacity > BLOCK_SIZE)) {
        struct arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    arena->used = 0;
    arena->capacity = arena->blocks ? arena->blocks->capacity : 0;
}

void arena_free(struct arena *arena)
{
    arena_reset(arena);
    free(arena->blocks);
    *arena = (struct arena){0};
}
