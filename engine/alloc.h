/* Memory that reports exhaustion as an ordinary error. Everything returned is freed with free(). */
#ifndef DISH_ALLOC_H
#define DISH_ALLOC_H

#include "error.h"

#include <stddef.h>

/* n zeroed bytes, or NULL with E_NOMEM. n may be 0. */
void *mem_new(size_t n, struct error *err) DISH_CHECKED;

/* The same without the zeros, for bytes that are written at once. */
void *mem_bytes(size_t n, struct error *err) DISH_CHECKED;

/* count zeroed items of size bytes, overflow checked. */
void *mem_array(size_t count, size_t size, struct error *err) DISH_CHECKED;

/* Grow *items (of size bytes each) so that it can hold `need` items;
 * *capacity is kept. New items are zero. */
bool mem_grow(void *items, size_t *capacity, size_t need, size_t size, struct error *err) DISH_CHECKED;

/* A copy of a string, or of its first n bytes (NUL added). */
char *mem_string(const char *text, struct error *err) DISH_CHECKED;
char *mem_string_n(const char *text, size_t n, struct error *err) DISH_CHECKED;

/* A formatted string. */
char *mem_printf(struct error *err, const char *fmt, ...) DISH_PRINTF(2, 3) DISH_CHECKED;

/* Test hook: the n-th allocation from now on fails (0: none do). */
void mem_fail_at(uint64_t n);
/* Whether the planned failure has happened. */
bool mem_failed(void);

#endif
