/*
 * An unlinked temporary file of 4 KiB slots for overlay pages that do not fit into memory. Every slot is
 * checked by CRC-32C when it comes back.
 */
#ifndef DISH_SPILL_H
#define DISH_SPILL_H

#include "error.h"

#include <stddef.h>

enum { SPILL_SLOT = 4096 };

struct spill {
    int fd;              /* -1: not needed so far */
    uint64_t slots;      /* slots the file has */
    uint64_t *free_list; /* slots that can be used again */
    size_t free_count, free_capacity;
};

void spill_init(struct spill *);
/* Write count pages; their slots go to slots[]. E_HOSTFULL. */
bool spill_write(struct spill *, const uint8_t *const *pages, size_t count, uint64_t *slots,
                 struct error *) DISH_CHECKED;
bool spill_read(struct spill *, uint64_t slot, uint32_t crc, uint8_t *page, struct error *) DISH_CHECKED;
void spill_release(struct spill *, uint64_t slot);
void spill_close(struct spill *);

#endif
