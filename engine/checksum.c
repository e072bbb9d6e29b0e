#include "checksum.h"

#include "bytes.h"

#include <stdbool.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t wide = crc;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; n > 0; p++, n--)
        crc = _mm_crc32_u8(crc, *p);
    return crc;
}

static bool has_sse42(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#else
static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *p, size_t n)
{
    (void)p;
    (void)n;
    return crc;
}

static bool has_sse42(void)
{
    return false;
}
#endif

/* Slicing by eight: table[k][b] is the effect of byte b followed by k zero bytes. */
static uint32_t crc32c_table[8][256];

static void fill_crc32c_table(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
        crc32c_table[0][b] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t b = 0; b < 256; b++) {
            uint32_t before = crc32c_table[k - 1][b];
            crc32c_table[k][b] = before >> 8 ^ crc32c_table[0][before & 0xff];
        }
}

static uint32_t crc32c_portable(uint32_t crc, const uint8_t *p, size_t n)
{
    if (crc32c_table[0][1] == 0)
        fill_crc32c_table();
    for (; n >= 8; p += 8, n -= 8) {
        uint32_t lo = crc ^ load_le32(p), hi = load_le32(p + 4);
        crc = crc32c_table[7][lo & 0xff] ^ crc32c_table[6][lo >> 8 & 0xff] ^
              crc32c_table[5][lo >> 16 & 0xff] ^ crc32c_table[4][lo >> 24] ^ crc32c_table[3][hi & 0xff] ^
              crc32c_table[2][hi >> 8 & 0xff] ^ crc32c_table[1][hi >> 16 & 0xff] ^ crc32c_table[0][hi >> 24];
    }
    for (; n > 0; p++, n--)
        crc = crc >> 8 ^ crc32c_table[0][(crc ^ *p) & 0xff];
    return crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t n)
{
    static int fast = -1;
    if (fast < 0)
        fast = has_sse42();
    return fast ? crc32c_sse42(crc, data, n) : crc32c_portable(crc, data, n);
}

uint16_t crc16(uint16_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++) {
        crc = (uint16_t)(crc ^ p[i]);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xA001 : crc >> 1);
    }
    return crc;
}
