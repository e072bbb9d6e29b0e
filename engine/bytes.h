/* Bytes of on-disk structures: loads and stores of either order, checked arithmetic, rounding. */
#ifndef DISH_BYTES_H
#define DISH_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KiB ((uint64_t)1024)
#define MiB (KiB * 1024)
#define GiB (MiB * 1024)
#define TiB (GiB * 1024)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

static inline uint16_t load_le16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t load_le32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t load_le64(const void *p)
{
    return load_le32(p) | (uint64_t)load_le32((const uint8_t *)p + 4) << 32;
}

static inline uint16_t load_be16(const void *p)
{
    return __builtin_bswap16(load_le16(p));
}

static inline uint32_t load_be32(const void *p)
{
    return __builtin_bswap32(load_le32(p));
}

static inline uint64_t load_be64(const void *p)
{
    return __builtin_bswap64(load_le64(p));
}

static inline void store_le16(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}

static inline void store_le32(void *p, uint32_t v)
{
    store_le16(p, (uint16_t)v);
    store_le16((uint8_t *)p + 2, (uint16_t)(v >> 16));
}

static inline void store_le64(void *p, uint64_t v)
{
    store_le32(p, (uint32_t)v);
    store_le32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

static inline void store_be16(void *p, uint16_t v)
{
    store_le16(p, __builtin_bswap16(v));
}

static inline void store_be32(void *p, uint32_t v)
{
    store_le32(p, __builtin_bswap32(v));
}

static inline void store_be64(void *p, uint64_t v)
{
    store_le64(p, __builtin_bswap64(v));
}

/* Load and store of 1 to 8 bytes; used by the layout accessors and by `show` and `poke`. */
static inline uint64_t load_le(const void *p, unsigned width)
{
    const uint8_t *b = p;
    uint64_t v = 0;
    for (unsigned i = width; i-- > 0;)
        v = v << 8 | b[i];
    return v;
}

static inline uint64_t load_be(const void *p, unsigned width)
{
    const uint8_t *b = p;
    uint64_t v = 0;
    for (unsigned i = 0; i < width; i++)
        v = v << 8 | b[i];
    return v;
}

static inline void store_le(void *p, unsigned width, uint64_t v)
{
    uint8_t *b = p;
    for (unsigned i = 0; i < width; i++, v >>= 8)
        b[i] = (uint8_t)v;
}

static inline void store_be(void *p, unsigned width, uint64_t v)
{
    uint8_t *b = p;
    for (unsigned i = width; i-- > 0; v >>= 8)
        b[i] = (uint8_t)v;
}

/* True when off..off+len lies inside 0..size, without overflow. */
static inline bool range_inside(uint64_t off, uint64_t len, uint64_t size)
{
    return off <= size && len <= size - off;
}

/* False on overflow. */
static inline bool add_u64(uint64_t a, uint64_t b, uint64_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

static inline bool mul_u64(uint64_t a, uint64_t b, uint64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

static inline bool is_power_of_two(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

/* log2 of a power of two. */
static inline unsigned log2_of(uint64_t v)
{
    return (unsigned)__builtin_ctzll(v);
}

static inline uint64_t div_up(uint64_t v, uint64_t unit)
{
    return v / unit + (v % unit != 0);
}

/* Rounding to a power of two; the caller knows that the result does not overflow. */
static inline uint64_t round_down(uint64_t v, uint64_t unit)
{
    return v & ~(unit - 1);
}

static inline uint64_t round_up(uint64_t v, uint64_t unit)
{
    return round_down(v + unit - 1, unit);
}

static inline bool all_zero(const void *p, size_t n)
{
    const uint8_t *b = p;
    return n == 0 || (b[0] == 0 && memcmp(b, b + 1, n - 1) == 0);
}

#endif
