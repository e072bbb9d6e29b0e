/*
 * GUIDs and UUIDs as text. The 16 bytes come in two orders: as filesystems store a UUID (RFC 4122, the order
 * of the text), and as UEFI and Microsoft store a GUID (the first three groups little-endian).
 */
#ifndef DISH_GUID_H
#define DISH_GUID_H

#include "error.h"

#include <stddef.h>

enum { GUID_TEXT = 37 }; /* bytes of the text with its NUL */

enum guid_order { GUID_RFC, GUID_MIXED };

/* Lower case, as in "c12a7328-f81f-11d2-ba4b-00a0c93ec93b". */
void guid_format(const void *raw, enum guid_order, char out[GUID_TEXT]);
/* Either case, with or without braces around it. False: not a GUID; raw is untouched. */
bool guid_parse(const char *text, enum guid_order, void *raw);
/* A random one, RFC 4122 version 4. */
void guid_random(enum guid_order, void *raw);

#endif
