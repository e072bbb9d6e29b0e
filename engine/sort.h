/* Sorting in place: what is sorted may be all that memory has room for. */
#ifndef DISH_SORT_H
#define DISH_SORT_H

#include <stddef.h>

/* As qsort_r(), but it takes no memory, and n log n steps whatever the order was.
 * Items have 64 bytes at most. */
void sort_items(void *items, size_t count, size_t size, int (*compare)(const void *, const void *, void *),
                void *arg);

#endif
