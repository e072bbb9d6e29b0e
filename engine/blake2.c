#include "blake2.h"

#include "bytes.h"

static const uint64_t initial[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* Which word of the message goes where, in each round (RFC 7693, 2.7); the last two repeat the first. */
static const uint8_t schedule[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value >> bits | value << (64 - bits);
}

static void mix(uint64_t *v, unsigned a, unsigned b, unsigned c, unsigned d, uint64_t x, uint64_t y)
{
    v[a] += v[b] + x;
    v[d] = rotate(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = rotate(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = rotate(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotate(v[b] ^ v[c], 63);
}

static void compress(struct blake2b *hash, const uint8_t *block, bool last)
{
    uint64_t v[16], message[16];
    for (unsigned i = 0; i < 8; i++) {
        v[i] = hash->state[i];
        v[i + 8] = initial[i];
    }
    v[12] ^= hash->count;
    if (last)
        v[14] = ~v[14];
    for (unsigned i = 0; i < 16; i++)
        message[i] = load_le64(block + 8 * i);
    for (unsigned round = 0; round < 12; round++) {
        const uint8_t *s = schedule[round % 10];
        for (unsigned i = 0; i < 4; i++)
            mix(v, i, i + 4, i + 8, i + 12, message[s[2 * i]], message[s[2 * i + 1]]);
        for (unsigned i = 0; i < 4; i++)
            mix(v, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, message[s[2 * i + 8]],
                message[s[2 * i + 9]]);
    }
    for (unsigned i = 0; i < 8; i++)
        hash->state[i] ^= v[i] ^ v[i + 8];
}

void blake2b_init(struct blake2b *hash)
{
    *hash = (struct blake2b){0};
    memcpy(hash->state, initial, sizeof initial);
    hash->state[0] ^= 0x01010000 ^ BLAKE2B_SIZE;
}

void blake2b_update(struct blake2b *hash, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    while (n > 0) {
        /* The last block is compressed differently: a full one waits until it is known not to be that. */
        if (hash->used == BLAKE2B_BLOCK) {
            hash->count += BLAKE2B_BLOCK;
            compress(hash, hash->block, false);
            hash->used = 0;
        }
        size_t step = MIN_OF(n, BLAKE2B_BLOCK - hash->used);
        memcpy(hash->block + hash->used, at, step);
        hash->used += step;
        at += step;
        n -= step;
    }
}

void blake2b_final(struct blake2b *hash, uint8_t digest[BLAKE2B_SIZE])
{
    hash->count += hash->used;
    memset(hash->block + hash->used, 0, BLAKE2B_BLOCK - hash->used);
    compress(hash, hash->block, true);
    for (unsigned i = 0; i < 8; i++)
        store_le64(digest + 8 * i, hash->state[i]);
}
