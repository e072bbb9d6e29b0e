#include "dosname.h"

#include "utf.h"

#include <stdlib.h>
#include <string.h>

bool dosname_convert(const char *text, struct dosname *name)
{
    struct error ignored;
    size_t count;
    if (!utf8_to_utf16(text, strlen(text), UTF_WTF8, name->units, DOSNAME_MAX, &count, &ignored))
        return false;
    name->count = (unsigned)count;
    return count > 0;
}

bool dosname_allows(uint16_t unit)
{
    return unit >= 0x20 && (unit >= 0x80 || !strchr("\"*/:<>?\\|", unit));
}

bool dosname_parse(const char *text, const char *format, struct dosname *name, struct error *err)
{
    size_t count;
    if (!utf8_to_utf16(text, strlen(text), UTF_WTF8, name->units, DOSNAME_MAX, &count, err))
        return because(err, "%s cannot hold this name", format);
    name->count = (unsigned)count;
    if (count == 0)
        return fail(err, E_NAME, "%s cannot hold an empty name", format);
    for (size_t i = 0; i < count; i++) {
        uint16_t unit = name->units[i];
        if (!dosname_allows(unit))
            return fail(err, E_NAME,
                        unit < 0x20 ? "%s cannot hold the control character 0x%02x in a name"
                                    : "%s cannot hold '%c' in a name",
                        format, unit);
    }
    uint16_t last = name->units[count - 1];
    return (last != '.' && last != ' ') || fail(err, E_NAME, "%s cannot hold a name that ends in a %s",
                                                format, last == '.' ? "dot" : "space");
}

void dosname_text(const struct dosname *name, char *text, size_t size)
{
    struct error ignored;
    if (!utf16_to_utf8(name->units, name->count, UTF_WTF8, text, size, &ignored))
        text[0] = '\0';
}

const char *dosname_fault(const struct dosname *name)
{
    if (name->count == 0)
        return "the name is empty";
    if (name->units[0] == '.' && (name->count == 1 || (name->count == 2 && name->units[1] == '.')))
        return "the name is that of a directory itself or its parent";
    for (unsigned i = 0; i < name->count; i++)
        if (name->units[i] == '/' || name->units[i] == 0)
            return name->units[i] ? "the name holds a slash" : "the name holds a zero";
    return NULL;
}

bool dosname_parse_serial(const char *text, const char *what, uint32_t *serial, struct error *err)
{
    char digits[9];
    size_t n = 0;
    for (const char *p = text; *p && n < sizeof digits; p++)
        if (!(*p == '-' && p == text + 4))
            digits[n++] = *p;
    if (n == 8) {
        digits[8] = '\0';
        if (strspn(digits, "0123456789abcdefABCDEF") == 8) {
            *serial = (uint32_t)strtoul(digits, NULL, 16);
            return true;
        }
    }
    return fail(err, E_INVALID, "'%s' is not %s: 8 hexadecimal digits, as in 1234-ABCD", text, what);
}
