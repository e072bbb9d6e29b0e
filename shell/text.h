/* A string that grows. Running out of memory is remembered and asked for once, at the end. */
#ifndef DISH_TEXT_H
#define DISH_TEXT_H

#include "error.h"

#include <stddef.h>

/* Zero it to begin. */
struct text {
    char *bytes; /* NUL-terminated once something was added; NULL before */
    size_t len, capacity;
    bool failed;
};

void text_add(struct text *, const void *bytes, size_t n);
void text_string(struct text *, const char *string);
void text_char(struct text *, char c);
void text_printf(struct text *, const char *fmt, ...) DISH_PRINTF(2, 3);
/* Never NULL. */
const char *text_get(const struct text *);
/* False with E_NOMEM when anything could not be added. */
bool text_ok(const struct text *, struct error *) DISH_CHECKED;
void text_clear(struct text *); /* empty; keeps the memory */
void text_free(struct text *);

/* One character of UTF-8: its length in bytes (0 when n is 0, or not well-formed) and its code point. */
size_t utf8_next(const char *bytes, size_t n, uint32_t *code);
/* The columns that a character takes: 0, 1, 2; -1 for control characters. */
int utf8_columns(uint32_t code);

/*
 * Bytes for a person's eyes: control characters and broken UTF-8 as \n, \t, \033; a backslash is doubled only
 * in a name where something is escaped.
 */
void text_escaped(struct text *, const char *bytes, size_t n);
/* A string for JSON with its quotes. A byte 0xNN that is not UTF-8 becomes \udcNN (Python's
 * surrogateescape). */
void text_json(struct text *, const char *bytes, size_t n);

#endif
