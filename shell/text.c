#include "text.h"

#include "alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

static bool reserve(struct text *text, size_t n)
{
    struct error err;
    size_t need;
    if (__builtin_add_overflow(text->len, n + 1, &need))
        text->failed = true;
    else if (need > text->capacity) {
        size_t want = need > text->capacity * 2 ? need : text->capacity * 2;
        text->failed |= !mem_grow(&text->bytes, &text->capacity, want, 1, &err);
    }
    return !text->failed;
}

void text_add(struct text *text, const void *bytes, size_t n)
{
    if (!reserve(text, n))
        return;
    if (n > 0)
        memcpy(text->bytes + text->len, bytes, n);
    text->len += n;
    text->bytes[text->len] = 0;
}

void text_string(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

void text_char(struct text *text, char c)
{
    text_add(text, &c, 1);
}

void text_printf(struct text *text, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n >= 0 && reserve(text, (size_t)n)) {
        vsnprintf(text->bytes + text->len, (size_t)n + 1, fmt, again);
        text->len += (size_t)n;
    }
    va_end(again);
}

const char *text_get(const struct text *text)
{
    return text->bytes ? text->bytes : "";
}

bool text_ok(const struct text *text, struct error *err)
{
    return !text->failed || fail(err, E_NOMEM, "out of memory");
}

void text_clear(struct text *text)
{
    text->len = 0;
    text->failed = false;
    if (text->bytes)
        text->bytes[0] = 0;
}

void text_free(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}

size_t utf8_next(const char *bytes, size_t n, uint32_t *code)
{
    const uint8_t *b = (const uint8_t *)bytes;
    if (n == 0)
        return 0;
    if (b[0] < 0x80) {
        *code = b[0];
        return 1;
    }
    size_t len = b[0] >= 0xc2 && b[0] < 0xe0 ? 2 : (b[0] & 0xf0) == 0xe0 ? 3 : (b[0] & 0xf8) == 0xf0 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    uint32_t value = b[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (b[i] & 0x3f);
    }
    bool too_long = (len == 3 && value < 0x800) || (len == 4 && value < 0x10000);
    if (too_long || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return 0;
    *code = value;
    return len;
}

int utf8_columns(uint32_t code)
{
    if (code < 0x20 || (code >= 0x7f && code < 0xa0))
        return -1;
    if (code < 0x7f)
        return 1;
    int columns = wcwidth((wchar_t)code);
    return columns < 0 ? 1 : columns;
}

static bool plain_for_eyes(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t len = utf8_next(bytes + i, n - i, &code);
        if (len == 0 || utf8_columns(code) < 0)
            return false;
        i += len;
    }
    return true;
}

static void add_escape(struct text *text, unsigned char c)
{
    static const char letters[] = "\aa\bb\tt\nn\vv\ff\rr";
    const char *at = c ? memchr(letters, c, sizeof letters - 1) : NULL;
    if (at && (at - letters) % 2 == 0)
        text_printf(text, "\\%c", at[1]);
    else
        text_printf(text, "\\%03o", c);
}

void text_escaped(struct text *text, const char *bytes, size_t n)
{
    if (plain_for_eyes(bytes, n)) {
        text_add(text, bytes, n);
        return;
    }
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t len = utf8_next(bytes + i, n - i, &code);
        if (len > 0 && code == '\\')
            text_string(text, "\\\\");
        else if (len > 0 && utf8_columns(code) >= 0)
            text_add(text, bytes + i, len);
        else
            for (size_t k = 0; k < (len ? len : 1); k++)
                add_escape(text, (unsigned char)bytes[i + k]);
        i += len ? len : 1;
    }
}

void text_json(struct text *text, const char *bytes, size_t n)
{
    text_char(text, '"');
    size_t plain = 0; /* start of the run not yet added */
    for (size_t i = 0; i < n;) {
        uint32_t code = 0;
        size_t len = utf8_next(bytes + i, n - i, &code);
        if (len > 0 && code >= 0x20 && code != 0x7f && code != '"' && code != '\\') {
            i += len;
            continue;
        }
        text_add(text, bytes + plain, i - plain);
        if (len == 0)
            text_printf(text, "\\udc%02x", (unsigned char)bytes[i]);
        else if (code == '"' || code == '\\')
            text_printf(text, "\\%c", (char)code);
        else if (code == '\n' || code == '\t' || code == '\r')
            text_string(text, code == '\n' ? "\\n" : code == '\t' ? "\\t" : "\\r");
        else
            text_printf(text, "\\u%04x", (unsigned)code);
        i += len ? len : 1;
        plain = i;
    }
    text_add(text, bytes + plain, n - plain);
    text_char(text, '"');
}
