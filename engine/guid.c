#include "guid.h"

#include "bytes.h"
#include "random.h"

#include <ctype.h>
#include <stdio.h>

/* Between the order of the text and the mixed order; its own inverse. */
static void reorder(const uint8_t *in, enum guid_order order, uint8_t *out)
{
    static const uint8_t mixed[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    for (unsigned i = 0; i < 16; i++)
        out[i] = in[order == GUID_MIXED ? mixed[i] : i];
}

void guid_format(const void *raw, enum guid_order order, char out[GUID_TEXT])
{
    uint8_t b[16];
    reorder(raw, order, b);
    snprintf(out, GUID_TEXT, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static unsigned hex_digit(char c)
{
    return (unsigned)(isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10);
}

bool guid_parse(const char *text, enum guid_order order, void *raw)
{
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    uint8_t b[16] = {0};
    unsigned digits = 0;
    bool braces = *text == '{';
    text += braces;
    for (size_t i = 0; shape[i]; i++) {
        if (shape[i] == '-' ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
        if (shape[i] == 'x') {
            b[digits / 2] = (uint8_t)(b[digits / 2] << 4 | hex_digit(text[i]));
            digits++;
        }
    }
    text += sizeof shape - 1;
    if (strcmp(text, braces ? "}" : "") != 0)
        return false;
    reorder(b, order, raw);
    return true;
}

void guid_random(enum guid_order order, void *raw)
{
    uint8_t b[16];
    random_bytes(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    reorder(b, order, raw);
}
