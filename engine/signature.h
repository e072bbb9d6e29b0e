/*
 * What is recognised by a magic number alone: filesystems, volume managers and containers that dish cannot
 * open but must not take for free space.
 */
#ifndef DISH_SIGNATURE_H
#define DISH_SIGNATURE_H

#include "device.h"

enum { SIGNATURE_MAGIC_MAX = 16 };

/* One place with one magic number. A format may have several rows;
 * the row with the NULL name ends the list. */
struct signature {
    const char *name;  /* the word that blkid has for it: xfs, crypto_LUKS */
    const char *title; /* as a sentence has it: "an XFS filesystem" */
    int64_t off;       /* bytes from the volume's start; negative: from its end */
    const char *magic;
    size_t len;
    /* A second magic number where the first is short; len 0: none. */
    int64_t second_off;
    const char *second_magic;
    size_t second_len;
};

/* The first row that agrees with the device's bytes, or NULL.
 * Bytes that cannot be read agree with nothing. */
const struct signature *signature_find(const struct signature *list, struct device *);
/* Zero every magic number of the list that the device has. */
bool signatures_wipe(const struct signature *list, struct device *, struct error *) DISH_CHECKED;

#endif
