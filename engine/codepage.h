/*
 * OEM and Windows code pages: the 8-bit character sets of FAT short names. Bytes below 0x80 are ASCII. A byte
 * that a page leaves undefined stands for U+F700 plus the byte, so that every byte has one character.
 */
#ifndef DISH_CODEPAGE_H
#define DISH_CODEPAGE_H

#include "error.h"

struct codepage {
    unsigned number;
    const char *upper; /* the characters of 0x80 to 0xFF in UTF-8 */
    uint16_t units[128], order[128];
    bool ready;
};

/* NULL when there is no such page. */
const struct codepage *codepage_find(unsigned number);

/* The page used where a volume does not name one: 437 unless chosen otherwise. E_INVALID lists the pages. */
const struct codepage *codepage_default(void);
bool codepage_set_default(unsigned number, struct error *) DISH_CHECKED;

uint16_t codepage_to_unit(const struct codepage *, uint8_t byte);
/* False when the page does not have the character. */
bool codepage_from_unit(const struct codepage *, uint16_t unit, uint8_t *byte);

/* The byte of the character's upper case, or the byte itself when the page has no such character. */
uint8_t codepage_upcase(const struct codepage *, uint8_t byte);

#endif
