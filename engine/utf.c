#include "utf.h"

#include "bytes.h"

static bool is_high(uint32_t code)
{
    return code >= 0xD800 && code <= 0xDBFF;
}

static bool is_low(uint32_t code)
{
    return code >= 0xDC00 && code <= 0xDFFF;
}

size_t utf8_decode(const char *text, size_t n, uint32_t *code)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *p = (const uint8_t *)text;
    uint8_t lead = p[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF8 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    uint32_t value = len == 1 ? lead : lead & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3Fu);
    }
    if (value < smallest[len] || value > 0x10FFFF)
        return 0;
    *code = value;
    return len;
}

size_t utf8_encode(uint32_t code, char *text)
{
    uint8_t *p = (uint8_t *)text;
    if (code < 0x80) {
        p[0] = (uint8_t)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; code >>= 6)
        p[i] = (uint8_t)(0x80 | (code & 0x3F));
    p[0] = (uint8_t)(0xF00u >> len | code);
    return len;
}

/* Decode one code point; a surrogate passes only in WTF-8, and a low one not right after a high one. */
static size_t decode_checked(const char *text, size_t n, enum utf_mode mode, uint32_t previous,
                             uint32_t *code)
{
    size_t len = utf8_decode(text, n, code);
    if (len == 3 && (is_high(*code) || is_low(*code)) &&
        (mode == UTF_STRICT || (is_low(*code) && is_high(previous))))
        return 0;
    return len;
}

bool utf8_valid(const char *text, size_t n, enum utf_mode mode)
{
    uint32_t code = 0;
    for (size_t at = 0; at < n;) {
        size_t len = decode_checked(text + at, n - at, mode, code, &code);
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}

bool utf8_to_utf16(const char *text, size_t n, enum utf_mode mode, uint16_t *units, size_t max, size_t *count,
                   struct error *err)
{
    size_t used = 0;
    uint32_t code = 0;
    for (size_t at = 0; at < n;) {
        uint8_t byte = (uint8_t)text[at];
        if (byte < 0x80 && used < max) {
            code = units[used++] = byte;
            at++;
            continue;
        }
        size_t len = decode_checked(text + at, n - at, mode, code, &code);
        if (len == 0)
            return fail(err, E_NAME, "byte 0x%02x at position %zu is not valid UTF-8", byte, at);
        at += len;
        if (used + (code >= 0x10000) >= max)
            return fail(err, E_NAME, "longer than %zu UTF-16 units", max);
        if (code >= 0x10000) {
            units[used++] = (uint16_t)(0xD800 + ((code - 0x10000) >> 10));
            units[used++] = (uint16_t)(0xDC00 + (code & 0x3FF));
        } else {
            units[used++] = (uint16_t)code;
        }
    }
    *count = used;
    return true;
}

bool utf16_to_utf8(const uint16_t *units, size_t count, enum utf_mode mode, char *text, size_t size,
                   struct error *err)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t code = units[i];
        if (is_high(code) && i + 1 < count && is_low(units[i + 1]))
            code = 0x10000 + ((code - 0xD800) << 10) + (units[++i] - 0xDC00u);
        else if ((is_high(code) || is_low(code)) && mode == UTF_STRICT)
            return fail(err, E_NAME, "unpaired surrogate U+%04X at position %zu", code, i);
        char bytes[4];
        size_t len = utf8_encode(code, bytes);
        if (used + len >= size)
            return fail(err, E_NAME, "longer than %zu bytes", size - 1);
        memcpy(text + used, bytes, len);
        used += len;
    }
    text[used] = '\0';
    return true;
}

void utf16_load_le(const void *raw, uint16_t *units, size_t count)
{
    for (size_t i = 0; i < count; i++)
        units[i] = load_le16((const uint8_t *)raw + 2 * i);
}

void utf16_store_le(void *raw, const uint16_t *units, size_t count)
{
    for (size_t i = 0; i < count; i++)
        store_le16((uint8_t *)raw + 2 * i, units[i]);
}

size_t utf16_length(const uint16_t *units, size_t count)
{
    size_t n = 0;
    while (n < count && units[n] != 0)
        n++;
    return n;
}
