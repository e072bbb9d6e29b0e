/*
 * What a small change did to a page: the bytes that differ. Older versions of a page are kept as these where
 * they can be, so ten thousand small commands need little memory and no spill file.
 */
#ifndef DISH_STAGE_PATCH_H
#define DISH_STAGE_PATCH_H

#include "error.h"

#include <stddef.h>

/* Segments one after the other: offset (2 bytes), length (2 bytes), bytes. No two overlap. */
struct patch {
    size_t len;
    uint8_t code[];
};

/* What leads from the page `now` back to `before`.
 * NULL: too different to be worth it, or no memory for it. */
struct patch *patch_make(const uint8_t *before, const uint8_t *now);
void patch_apply(const struct patch *, uint8_t *page);

#endif
