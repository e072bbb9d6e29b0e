#include "radix.h"

#include "alloc.h"

#include <stdlib.h>

enum { BITS = 6, FAN = 1 << BITS, MAX_HEIGHT = 11 };

struct radix_node {
    uint64_t used; /* which slots are not NULL */
    void *slots[FAN];
};

static unsigned slot_of(uint64_t key, unsigned level)
{
    return (unsigned)(key >> (BITS * level)) & (FAN - 1);
}

static bool fits(const struct radix *radix, uint64_t key)
{
    return radix->height >= MAX_HEIGHT || key >> (BITS * radix->height) == 0;
}

static void set_slot(struct radix_node *node, unsigned slot, void *value)
{
    node->slots[slot] = value;
    if (value)
        node->used |= (uint64_t)1 << slot;
    else
        node->used &= ~((uint64_t)1 << slot);
}

void *radix_get(const struct radix *radix, uint64_t key)
{
    const struct radix_node *node = radix->root;
    if (!node || !fits(radix, key))
        return NULL;
    for (unsigned level = radix->height - 1; node && level > 0; level--)
        node = node->slots[slot_of(key, level)];
    return node ? node->slots[slot_of(key, 0)] : NULL;
}

static bool grow(struct radix *radix, uint64_t key, struct error *err)
{
    while (!radix->root || !fits(radix, key)) {
        struct radix_node *node = mem_new(sizeof *node, err);
        if (!node)
            return false;
        if (radix->root)
            set_slot(node, 0, radix->root);
        radix->root = node;
        radix->height++;
    }
    return true;
}

bool radix_put(struct radix *radix, uint64_t key, void *value, struct error *err)
{
    if (!grow(radix, key, err))
        return false;
    struct radix_node *node = radix->root;
    for (unsigned level = radix->height - 1; level > 0; level--) {
        unsigned slot = slot_of(key, level);
        if (!node->slots[slot]) {
            struct radix_node *child = mem_new(sizeof *child, err);
            if (!child)
                return false;
            set_slot(node, slot, child);
        }
        node = node->slots[slot];
    }
    set_slot(node, slot_of(key, 0), value);
    radix->count++;
    return true;
}

/* Nodes that became empty go, from the leaf upwards. */
void radix_remove(struct radix *radix, uint64_t key)
{
    struct radix_node *path[MAX_HEIGHT + 1];
    if (!radix_get(radix, key))
        return;
    path[radix->height] = NULL;
    struct radix_node *node = radix->root;
    for (unsigned level = radix->height; level-- > 0; node = node->slots[slot_of(key, level)])
        path[level] = node;
    radix->count--;
    set_slot(path[0], slot_of(key, 0), NULL);
    for (unsigned level = 0; level < radix->height && path[level]->used == 0; level++) {
        free(path[level]);
        if (path[level + 1])
            set_slot(path[level + 1], slot_of(key, level + 1), NULL);
        else
            *radix = (struct radix){0};
    }
}

/* The smallest key at or after `from` below a node; *key is then complete from this level down. */
static void *next_below(const struct radix_node *node, unsigned level, uint64_t from, uint64_t *key)
{
    for (unsigned slot = slot_of(from, level); slot < FAN; slot++) {
        uint64_t rest = node->used >> slot;
        if (rest == 0)
            return NULL;
        unsigned skip = (unsigned)__builtin_ctzll(rest);
        if (skip > 0) {
            slot += skip;
            from = 0;
        }
        uint64_t below = 0;
        void *value = level == 0 ? node->slots[slot] : next_below(node->slots[slot], level - 1, from, &below);
        if (value) {
            *key = (uint64_t)slot << (BITS * level) | below;
            return value;
        }
        from = 0;
    }
    return NULL;
}

void *radix_next(const struct radix *radix, uint64_t from, uint64_t *key)
{
    if (!radix->root || !fits(radix, from))
        return NULL;
    return next_below(radix->root, radix->height - 1, from, key);
}

static void free_below(struct radix_node *node, unsigned level)
{
    for (unsigned slot = 0; level > 0 && slot < FAN; slot++)
        if (node->slots[slot])
            free_below(node->slots[slot], level - 1);
    free(node);
}

void radix_clear(struct radix *radix)
{
    if (radix->root)
        free_below(radix->root, radix->height - 1);
    *radix = (struct radix){0};
}
