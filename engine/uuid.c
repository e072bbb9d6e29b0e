/* UUIDs as text. */
#include "uuid.h"

#include <stdio.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uuid_parse(const char *text, uint8_t out[16], struct error *err)
{
    const char *p = text;
    uint8_t uuid[16];
    for (unsigned i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *p++ != '-')
            return fail(err, E_INVALID, "\"%s\" is not a UUID", text);
        int high = hex_digit(p[0]);
        int low = high < 0 ? -1 : hex_digit(p[1]);
        if (low < 0)
            return fail(err, E_INVALID, "\"%s\" is not a UUID", text);
        uuid[i] = (uint8_t)(high << 4 | low);
        p += 2;
    }
    if (*p != '\0')
        return fail(err, E_INVALID, "\"%s\" is not a UUID", text);
    memcpy(out, uuid, 16);
    return true;
}

void uuid_format(const uint8_t uuid[16], char out[37])
{
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        snprintf(out, 3, "%02x", uuid[i]);
        out += 2;
    }
}

void uuid_random(uint8_t out[16], void (*random)(void *buf, size_t n))
{
    random(out, 16);
    out[6] = (uint8_t)((out[6] & 0x0F) | 0x40);
    out[8] = (uint8_t)((out[8] & 0x3F) | 0x80);
}
