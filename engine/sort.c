/* Quicksort; pieces that it divides badly go to heapsort, small ones to insertion sort. */
#include "sort.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { FEW = 12, LARGEST = 64 };

struct sort {
    uint8_t *items;
    size_t size;
    int (*compare)(const void *, const void *, void *);
    void *arg;
};

static uint8_t *item(const struct sort *sort, size_t i)
{
    return sort->items + i * sort->size;
}

static int compare(const struct sort *sort, size_t a, size_t b)
{
    return sort->compare(item(sort, a), item(sort, b), sort->arg);
}

static void swap(const struct sort *sort, size_t a, size_t b)
{
    uint8_t held[LARGEST];
    memcpy(held, item(sort, a), sort->size);
    memmove(item(sort, a), item(sort, b), sort->size);
    memcpy(item(sort, b), held, sort->size);
}

static void insertion_sort(const struct sort *sort, size_t from, size_t end)
{
    uint8_t held[LARGEST];
    for (size_t i = from + 1; i < end; i++) {
        size_t to = i;
        memcpy(held, item(sort, i), sort->size);
        while (to > from && sort->compare(held, item(sort, to - 1), sort->arg) < 0)
            to--;
        memmove(item(sort, to + 1), item(sort, to), (i - to) * sort->size);
        memcpy(item(sort, to), held, sort->size);
    }
}

/* Puts the item at `root` of a heap where it belongs. */
static void sift_down(const struct sort *sort, size_t from, size_t root, size_t count)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && compare(sort, from + child, from + child + 1) < 0)
            child++;
        if (compare(sort, from + root, from + child) >= 0)
            return;
        swap(sort, from + root, from + child);
    }
}

static void heap_sort(const struct sort *sort, size_t from, size_t end)
{
    size_t count = end - from;
    for (size_t root = count / 2; root-- > 0;)
        sift_down(sort, from, root, count);
    for (size_t last = count; last-- > 1;) {
        swap(sort, from, from + last);
        sift_down(sort, from, 0, last);
    }
}

/* The middle one of three comes to `from`. */
static void choose_pivot(const struct sort *sort, size_t from, size_t end)
{
    size_t middle = from + (end - from) / 2, last = end - 1, best = middle;
    bool first_less = compare(sort, from, middle) < 0;
    if (first_less == (compare(sort, last, from) < 0))
        best = from;
    else if (first_less == (compare(sort, last, middle) < 0))
        best = last;
    if (best != from)
        swap(sort, from, best);
}

/* Divides at the item that is at `from`; returns its place. */
static size_t divide(const struct sort *sort, size_t from, size_t end)
{
    size_t low = from, high = end;
    for (;;) {
        while (++low < end && compare(sort, low, from) < 0)
            ;
        while (compare(sort, --high, from) > 0)
            ;
        if (low >= high)
            break;
        swap(sort, low, high);
    }
    swap(sort, from, high);
    return high;
}

/* Goes on with the larger part and into the smaller one: no deeper than the logarithm of the count. */
static void quick_sort(const struct sort *sort, size_t from, size_t end, unsigned divisions)
{
    while (end - from > FEW) {
        if (divisions-- == 0) {
            heap_sort(sort, from, end);
            return;
        }
        choose_pivot(sort, from, end);
        size_t at = divide(sort, from, end);
        if (at - from < end - at) {
            quick_sort(sort, from, at, divisions);
            from = at + 1;
        } else {
            quick_sort(sort, at + 1, end, divisions);
            end = at;
        }
    }
    insertion_sort(sort, from, end);
}

void sort_items(void *items, size_t count, size_t size,
                int (*compare_items)(const void *, const void *, void *), void *arg)
{
    const struct sort sort = {.items = items, .size = size, .compare = compare_items, .arg = arg};
    unsigned divisions = 2;
    for (size_t n = count; n > 0; n /= 2)
        divisions += 2;
    if (count > 1)
        quick_sort(&sort, 0, count, divisions);
}
