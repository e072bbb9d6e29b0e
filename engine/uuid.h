/* UUIDs in the byte order of RFC 4122 ("11223344-…" begins with byte 0x11). */
#ifndef DISH_UUID_H
#define DISH_UUID_H

#include "error.h"

#include <stddef.h>

/* 36 characters with dashes, either case; E_INVALID names the text. */
bool uuid_parse(const char *text, uint8_t out[16], struct error *) DISH_CHECKED;
/* Lower case, 36 characters and a NUL. */
void uuid_format(const uint8_t uuid[16], char out[37]);
/* A version 4 UUID. */
void uuid_random(uint8_t out[16], void (*random)(void *buf, size_t n));

#endif
