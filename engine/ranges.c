/* A treap ordered by start. Invariant: no two ranges overlap or touch. */
#include "ranges.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>

struct range_node {
    struct range_node *left, *right;
    uint64_t start, end;
    uint32_t priority;
};

static uint32_t next_priority(struct ranges *set)
{
    set->seed = set->seed * 1664525u + 1013904223u;
    return set->seed ^ set->seed >> 15;
}

/* Left: ranges that start before `at`; right: the rest. */
static void split(struct range_node *node, uint64_t at, struct range_node **left, struct range_node **right)
{
    while (node) {
        if (node->start < at) {
            *left = node;
            left = &node->right;
            node = node->right;
        } else {
            *right = node;
            right = &node->left;
            node = node->left;
        }
    }
    *left = *right = NULL;
}

static struct range_node *merge(struct range_node *left, struct range_node *right)
{
    struct range_node *root, **hook = &root;
    while (left && right) {
        if (left->priority > right->priority) {
            *hook = left;
            hook = &left->right;
            left = left->right;
        } else {
            *hook = right;
            hook = &right->left;
            right = right->left;
        }
    }
    *hook = left ? left : right;
    return root;
}

/* The last range that starts at or before `at`. */
static struct range_node *floor_of(const struct ranges *set, uint64_t at)
{
    struct range_node *best = NULL;
    for (struct range_node *node = set->root; node;) {
        if (node->start <= at) {
            best = node;
            node = node->right;
        } else {
            node = node->left;
        }
    }
    return best;
}

static void free_tree(struct range_node *node, uint64_t *total)
{
    while (node) {
        struct range_node *right = node->right;
        free_tree(node->left, total);
        *total -= node->end - node->start;
        free(node);
        node = right;
    }
}

/* Take out whatever lies in start..end; the caller handles what sticks out on either side. */
static void cut(struct ranges *set, uint64_t start, uint64_t end)
{
    struct range_node *left, *middle, *right;
    split(set->root, start, &left, &right);
    split(right, end, &middle, &right);
    free_tree(middle, &set->total);
    set->root = merge(left, right);
}

static void insert(struct ranges *set, struct range_node *node)
{
    struct range_node *left, *right;
    split(set->root, node->start, &left, &right);
    set->root = merge(merge(left, node), right);
    set->total += node->end - node->start;
}

static struct range_node *node_new(struct ranges *set, uint64_t start, uint64_t end, struct error *err)
{
    struct range_node *node = mem_new(sizeof *node, err);
    if (node)
        *node = (struct range_node){.start = start, .end = end, .priority = next_priority(set)};
    return node;
}

bool ranges_add(struct ranges *set, uint64_t start, uint64_t len, struct error *err)
{
    if (len == 0)
        return true;
    uint64_t end = start + len;
    struct range_node *before = floor_of(set, start);
    if (before && before->end >= start) {
        if (before->end >= end)
            return true;
        start = before->start;
    }
    struct range_node *last = floor_of(set, end);
    if (last && last->end > end)
        end = last->end;
    struct range_node *node = node_new(set, start, end, err);
    if (!node)
        return false;
    cut(set, start, end);
    insert(set, node);
    return true;
}

bool ranges_remove(struct ranges *set, uint64_t start, uint64_t len, struct error *err)
{
    if (len == 0 || !ranges_overlaps(set, start, len))
        return true;
    uint64_t end = start + len;
    struct range_node *first = floor_of(set, start), *last = floor_of(set, end - 1), *tail = NULL;
    if (last->end > end) {
        tail = node_new(set, end, last->end, err);
        if (!tail)
            return false;
        set->total -= last->end - end;
        last->end = end;
    }
    if (first && first->start < start && first->end > start) {
        set->total -= first->end - start;
        first->end = start;
    }
    cut(set, start, end);
    if (tail)
        insert(set, tail);
    return true;
}

bool ranges_contains(const struct ranges *set, uint64_t start, uint64_t len)
{
    const struct range_node *node = floor_of(set, start);
    return len == 0 || (node && node->end > start && node->end - start >= len);
}

bool ranges_overlaps(const struct ranges *set, uint64_t start, uint64_t len)
{
    const struct range_node *node = len ? floor_of(set, start + len - 1) : NULL;
    return node && node->end > start;
}

bool ranges_next(const struct ranges *set, uint64_t at, struct range *out)
{
    const struct range_node *best = NULL;
    for (const struct range_node *node = set->root; node;) {
        if (node->end > at) {
            best = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    if (!best)
        return false;
    uint64_t start = MAX_OF(best->start, at);
    *out = (struct range){start, best->end - start};
    return true;
}

void ranges_clear(struct ranges *set)
{
    free_tree(set->root, &set->total);
    set->root = NULL;
}

bool ranges_add_all(struct ranges *set, const struct ranges *others, struct error *err)
{
    struct range range;
    for (uint64_t at = 0; ranges_next(others, at, &range); at = range.start + range.len)
        if (!ranges_add(set, range.start, range.len, err))
            return false;
    return true;
}

bool ranges_remove_all(struct ranges *set, const struct ranges *others, struct error *err)
{
    struct range range;
    for (uint64_t at = 0; ranges_next(others, at, &range); at = range.start + range.len)
        if (!ranges_remove(set, range.start, range.len, err))
            return false;
    return true;
}

bool ranges_copy(const struct ranges *set, struct ranges *copy, struct error *err)
{
    if (ranges_add_all(copy, set, err))
        return true;
    ranges_clear(copy);
    return false;
}
