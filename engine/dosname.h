/*
 * Names as FAT and exFAT hold them: up to 255 UTF-16 units, of which some mean something else to Windows.
 * What fits into them besides, and how case is folded, is each format's own.
 */
#ifndef DISH_DOSNAME_H
#define DISH_DOSNAME_H

#include "error.h"

#include <stddef.h>
#include <stdint.h>

enum { DOSNAME_MAX = 255 /* units */ };

struct dosname {
    uint16_t units[DOSNAME_MAX + 1];
    unsigned count;
};

/* Text to units; E_NAME says why a volume of this format ("FAT") cannot hold the name. */
bool dosname_parse(const char *text, const char *format, struct dosname *, struct error *) DISH_CHECKED;
/* For looking up: false when no file can have this name. */
bool dosname_convert(const char *text, struct dosname *);
/* Units to text; surrogates that stand alone are kept as WTF-8. */
void dosname_text(const struct dosname *, char *text, size_t size);
/* Whether Windows allows the unit in a name. */
bool dosname_allows(uint16_t unit);
/* Why a name that was read cannot be shown as one; NULL: it can. */
const char *dosname_fault(const struct dosname *);

/* "1234-ABCD" or 8 digits; `what` is what the number is called ("a FAT volume id"). E_INVALID. */
bool dosname_parse_serial(const char *text, const char *what, uint32_t *serial, struct error *) DISH_CHECKED;

#endif
