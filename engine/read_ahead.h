/* Reading a device piece by piece, on a thread of its own, ahead of whoever writes the pieces elsewhere. */
#ifndef DISH_READ_AHEAD_H
#define DISH_READ_AHEAD_H

#include "device.h"

/* Bytes [off, off + len) of the device: in buf, or zeros (buf NULL) that may be any number. */
struct piece {
    uint64_t off, len;
    const uint8_t *buf;
};

struct read_ahead;

/*
 * Pieces of [off, end); past the end of the device there are zeros. A piece with bytes is at most `size`
 * long and ends at a multiple of it, zeros end at multiples of `align` (both powers of two). Until it is
 * freed nobody else may use the device.
 */
struct read_ahead *read_ahead_new(struct device *, uint64_t off, uint64_t end, size_t size, size_t align,
                                  struct error *);
/* The next piece, valid until the next call; len 0: there are no more. */
bool read_ahead_next(struct read_ahead *, struct piece *, struct error *) DISH_CHECKED;
void read_ahead_free(struct read_ahead *); /* NULL is fine */

#endif
