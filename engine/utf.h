/*
 * UTF-8 to UTF-16 and back, strictly. Over-long forms, values past U+10FFFF and bytes that begin nothing are
 * refused. What happens to an unpaired surrogate is the caller's choice: UTF_STRICT refuses it; UTF_WTF8
 * carries it as the three bytes that the general scheme gives (WTF-8), so every sequence of 16-bit units has
 * exactly one text and comes back unchanged. A pair written as two such triples is refused in both modes.
 */
#ifndef DISH_UTF_H
#define DISH_UTF_H

#include "error.h"

#include <stddef.h>

enum utf_mode { UTF_STRICT, UTF_WTF8 };

/* Bytes of the longest text of n UTF-16 units, with its NUL. */
#define UTF8_SIZE(n) ((size_t)(n)*3 + 1)

/*
 * The code point at text[0..n), n > 0: its length in bytes, or 0 when the bytes are not well-formed.
 * Surrogates are returned as they are; the caller decides about them.
 */
size_t utf8_decode(const char *text, size_t n, uint32_t *code);

/* Writes the bytes of a code point below 0x110000 (1 to 4) and returns their number. */
size_t utf8_encode(uint32_t code, char *text);

bool utf8_valid(const char *text, size_t n, enum utf_mode);

/*
 * n bytes of text to at most `max` units in host order; *count is set to their number. E_NAME when the text
 * is not well-formed (the message names the byte) or has more units than fit.
 */
bool utf8_to_utf16(const char *text, size_t n, enum utf_mode, uint16_t *units, size_t max, size_t *count,
                   struct error *) DISH_CHECKED;

/* count units to NUL-terminated text. E_NAME for an unpaired surrogate (UTF_STRICT) or when size is short. */
bool utf16_to_utf8(const uint16_t *units, size_t count, enum utf_mode, char *text, size_t size,
                   struct error *) DISH_CHECKED;

/* Units stored on disk in little-endian order, from and to host order. */
void utf16_load_le(const void *raw, uint16_t *units, size_t count);
void utf16_store_le(void *raw, const uint16_t *units, size_t count);

/* The number of units before the first zero, at most count. */
size_t utf16_length(const uint16_t *units, size_t count);

#endif
