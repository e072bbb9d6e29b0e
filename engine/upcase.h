/*
 * Simple upper case of UTF-16 units, the mapping that the exFAT specification recommends (section 7.2.5.1)
 * and that Windows applies to FAT long names: one unit to one unit, surrogates unchanged.
 */
#ifndef DISH_UPCASE_H
#define DISH_UPCASE_H

#include "error.h"

#include <stddef.h>

uint16_t upcase_unit(uint16_t unit);

/* A hash of the folded units, and equality of two names but for case. */
uint32_t upcase_hash(const uint16_t *units, size_t count);
bool upcase_equal(const uint16_t *a, size_t a_count, const uint16_t *b, size_t b_count);

#endif
