/* Hashes of names for directory indexes ("Hash Tree Directories"): legacy, half MD4 and TEA. */
#include "bytes.h"
#include "ext.h"

enum { HASH_END = 0x7FFFFFFF }; /* reserved: "past the last hash" for readers of directories */

static int character(const char *name, size_t at, bool is_signed)
{
    return is_signed ? (signed char)name[at] : (unsigned char)name[at];
}

static uint32_t rotate_left(uint32_t v, unsigned by)
{
    return v << by | v >> (32 - by);
}

static uint32_t hash_legacy(const char *name, size_t len, bool is_signed)
{
    uint32_t last = 0x12A3FE2D, before = 0x37ABE8F9;
    for (size_t i = 0; i < len; i++) {
        uint32_t next = before + (last ^ (uint32_t)(character(name, i, is_signed) * 7152373));
        if (next & 0x80000000u)
            next -= 0x7FFFFFFF;
        before = last;
        last = next;
    }
    return last << 1;
}

/* The next `count` words of the name, four characters each, filled up with its length. */
static void load_words(const char *name, size_t len, bool is_signed, uint32_t *words, unsigned count)
{
    uint32_t pad = (uint32_t)len | (uint32_t)len << 8;
    pad |= pad << 16;
    size_t at = 0;
    for (unsigned w = 0; w < count; w++) {
        uint32_t word = pad;
        for (unsigned i = 0; i < 4 && at < len; i++, at++)
            word = (uint32_t)character(name, at, is_signed) + (word << 8);
        words[w] = word;
    }
}

static uint32_t md4_choose(uint32_t x, uint32_t y, uint32_t z)
{
    return z ^ (x & (y ^ z));
}

static uint32_t md4_majority(uint32_t x, uint32_t y, uint32_t z)
{
    return (x & y) + ((x ^ y) & z);
}

static uint32_t md4_parity(uint32_t x, uint32_t y, uint32_t z)
{
    return x ^ y ^ z;
}

static void half_md4(uint32_t state[4], const uint32_t in[8])
{
    static const struct {
        uint32_t (*mix)(uint32_t, uint32_t, uint32_t);
        uint32_t add;
        uint8_t order[8], shift[4];
    } rounds[3] = {
        {md4_choose, 0, {0, 1, 2, 3, 4, 5, 6, 7}, {3, 7, 11, 19}},
        {md4_majority, 0x5A827999, {1, 3, 5, 7, 0, 2, 4, 6}, {3, 5, 9, 13}},
        {md4_parity, 0x6ED9EBA1, {3, 7, 2, 6, 1, 5, 0, 4}, {3, 9, 11, 15}},
    };
    uint32_t v[4] = {state[0], state[1], state[2], state[3]};
    for (unsigned r = 0; r < 3; r++)
        for (unsigned i = 0; i < 8; i++) {
            unsigned a = (4 - i % 4) % 4; /* a, d, c, b, a ... */
            uint32_t sum = v[a] + rounds[r].mix(v[(a + 1) % 4], v[(a + 2) % 4], v[(a + 3) % 4]) +
                           in[rounds[r].order[i]] + rounds[r].add;
            v[a] = rotate_left(sum, rounds[r].shift[i % 4]);
        }
    for (unsigned i = 0; i < 4; i++)
        state[i] += v[i];
}

static void tea(uint32_t state[4], const uint32_t in[4])
{
    uint32_t sum = 0, x = state[0], y = state[1];
    for (unsigned i = 0; i < 16; i++) {
        sum += 0x9E3779B9;
        x += ((y << 4) + in[0]) ^ (y + sum) ^ ((y >> 5) + in[1]);
        y += ((x << 4) + in[2]) ^ (x + sum) ^ ((x >> 5) + in[3]);
    }
    state[0] += x;
    state[1] += y;
}

bool ext_name_hash(const char *name, size_t len, unsigned version, const uint8_t seed[16],
                   struct ext_name_hash *out, struct error *err)
{
    uint32_t state[4] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476}, words[8];
    bool is_signed = version < EXT_HASH_UNSIGNED;
    unsigned function = version % EXT_HASH_UNSIGNED;
    if (version >= EXT_HASH_SIPHASH)
        return fail(err, E_UNSUPPORTED, "directory hash version %u is not known", version);
    if (!all_zero(seed, 16))
        for (unsigned i = 0; i < 4; i++)
            state[i] = load_le32(seed + 4 * i);
    *out = (struct ext_name_hash){0};
    if (function == EXT_HASH_LEGACY) {
        out->major = hash_legacy(name, len, is_signed);
    } else {
        unsigned count = function == EXT_HASH_TEA ? 4 : 8;
        for (size_t at = 0; at < len; at += (size_t)count * 4) {
            load_words(name + at, len - at, is_signed, words, count);
            if (function == EXT_HASH_TEA)
                tea(state, words);
            else
                half_md4(state, words);
        }
        out->major = function == EXT_HASH_TEA ? state[0] : state[1];
        out->minor = function == EXT_HASH_TEA ? state[1] : state[2];
    }
    out->major &= ~(uint32_t)1;
    if (out->major == (uint32_t)HASH_END << 1)
        out->major = (uint32_t)(HASH_END - 1) << 1;
    return true;
}
