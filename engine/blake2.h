/* BLAKE2b (RFC 7693) without a key. */
#ifndef DISH_BLAKE2_H
#define DISH_BLAKE2_H

#include <stddef.h>
#include <stdint.h>

enum { BLAKE2B_SIZE = 64, BLAKE2B_BLOCK = 128 };

struct blake2b {
    uint64_t state[8];
    uint64_t count; /* bytes compressed; files are shorter than 2^64 */
    uint8_t block[BLAKE2B_BLOCK];
    size_t used;
};

void blake2b_init(struct blake2b *);
void blake2b_update(struct blake2b *, const void *bytes, size_t n);
void blake2b_final(struct blake2b *, uint8_t digest[BLAKE2B_SIZE]);

#endif
