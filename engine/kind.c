/* How each kind of value is written for a person and read back. */
#include "guid.h"
#include "layout.h"
#include "option.h"
#include "utf.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t value_of(const struct field *field, const void *raw)
{
    return field->order == ORDER_BE ? load_be(raw, field->width) : load_le(raw, field->width);
}

static void store_value(const struct field *field, void *raw, uint64_t value)
{
    if (field->order == ORDER_BE)
        store_be(raw, field->width, value);
    else
        store_le(raw, field->width, value);
}

static void append(char *out, size_t size, const char *text)
{
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s", text);
}

static void dec_format(const struct field *field, const void *raw, char *out, size_t size)
{
    snprintf(out, size, "%" PRIu64, value_of(field, raw));
}

void kind_hex_format(const struct field *field, const void *raw, char *out, size_t size)
{
    snprintf(out, size, "0x%0*" PRIx64, (int)field->width * 2, value_of(field, raw));
}

static void oct_format(const struct field *field, const void *raw, char *out, size_t size)
{
    snprintf(out, size, "0%" PRIo64, value_of(field, raw));
}

static void size_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)value_of(field, raw);
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        value /= 1024;
        unit++;
    }
    if (unit > 0)
        snprintf(out, size, "%.4g %s", value, units[unit]);
}

static void time_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    time_t seconds = (time_t)value_of(field, raw);
    if (field->width == 4)
        seconds = (int32_t)seconds;
    struct tm parts;
    if (seconds == 0)
        snprintf(out, size, "never");
    else if (gmtime_r(&seconds, &parts))
        strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

/* The number that a name stands for; for flags, several joined by commas. */
static bool parse_names(const struct kind *kind, const char *text, uint64_t *value)
{
    if (!kind->names)
        return false;
    *value = 0;
    for (const char *p = text; *p; p += *p == ',') {
        size_t n = strcspn(p, ",");
        const struct kind_name *name = kind->names;
        while (name->name && (strlen(name->name) != n || strncmp(name->name, p, n) != 0))
            name++;
        if (!name->name)
            return false;
        *value |= name->value;
        p += n;
    }
    return text[0] != '\0';
}

bool kind_number_parse(const struct field *field, const char *text, void *raw, struct error *err)
{
    uint64_t value;
    char *end;
    if (!parse_names(field->kind, text, &value)) {
        bool minus = text[0] == '-';
        value = strtoull(text, &end, 0);
        if (!isdigit((unsigned char)text[minus]) || *end)
            return fail(err, E_INVALID, "'%s' is not a value for %s", text, field->name);
        if (!minus && field->width < 8 && value >> (field->width * 8))
            return fail(err, E_TOOBIG, "%s does not fit into the %u bytes of %s", text, field->width,
                        field->name);
    }
    store_value(field, raw, value);
    return true;
}

void kind_enum_format(const struct field *field, const void *raw, char *out, size_t size)
{
    dec_format(field, raw, out, size);
}

void kind_enum_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    uint64_t value = value_of(field, raw);
    for (const struct kind_name *name = field->kind->names; name->name; name++)
        if (name->value == value) {
            snprintf(out, size, "%s", name->name);
            return;
        }
    snprintf(out, size, "unknown");
}

void kind_flags_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    uint64_t rest = value_of(field, raw);
    out[0] = '\0';
    for (const struct kind_name *name = field->kind->names; name->name; name++)
        if (name->value && (rest & name->value) == name->value) {
            append(out, size, out[0] ? ", " : "");
            append(out, size, name->name);
            rest &= ~name->value;
        }
    if (rest) {
        char unknown[40];
        snprintf(unknown, sizeof unknown, "%sunknown 0x%" PRIx64, out[0] ? ", " : "", rest);
        append(out, size, unknown);
    }
}

static void bytes_format(const struct field *field, const void *raw, char *out, size_t size)
{
    const uint8_t *bytes = raw;
    uint32_t shown = field->width > 16 ? 16 : field->width;
    out[0] = '\0';
    if (field->width > 16 && all_zero(raw, field->width)) {
        snprintf(out, size, "zeros");
        return;
    }
    for (uint32_t i = 0; i < shown; i++)
        snprintf(out + strlen(out), size - strlen(out), "%02x", bytes[i]);
    if (shown < field->width)
        append(out, size, "...");
}

static bool bytes_parse(const struct field *field, const char *text, void *raw, struct error *err)
{
    uint8_t *bytes = raw;
    if (strlen(text) != (size_t)field->width * 2 || strspn(text, "0123456789abcdefABCDEF") != strlen(text))
        return fail(err, E_INVALID, "%s takes %u bytes as %u hex digits", field->name, field->width,
                    field->width * 2);
    for (uint32_t i = 0; i < field->width; i++) {
        char pair[3] = {text[i * 2], text[i * 2 + 1], '\0'};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

static void text_format(const struct field *field, const void *raw, char *out, size_t size)
{
    const uint8_t *bytes = raw;
    append((out[0] = '\0', out), size, "\"");
    for (uint32_t i = 0; i < field->width && bytes[i]; i++) {
        bool plain = bytes[i] >= 0x20 && bytes[i] < 0x7f && bytes[i] != '"' && bytes[i] != '\\';
        snprintf(out + strlen(out), size - strlen(out), plain ? "%c" : "\\x%02x", bytes[i]);
    }
    append(out, size, "\"");
}

/* Accepts what text_format prints, and a bare word. */
static bool text_parse(const struct field *field, const char *text, void *raw, struct error *err)
{
    uint8_t *bytes = raw;
    size_t len = strlen(text), n = 0;
    bool quoted = len >= 2 && text[0] == '"' && text[len - 1] == '"';
    const char *p = quoted ? text + 1 : text, *end = quoted ? text + len - 1 : text + len;
    memset(bytes, 0, field->width);
    while (p < end) {
        if (n == field->width)
            return fail(err, E_TOOBIG, "%s holds %u bytes", field->name, field->width);
        if (p[0] == '\\' && p[1] == 'x' && end - p >= 4) {
            char pair[3] = {p[2], p[3], '\0'};
            bytes[n++] = (uint8_t)strtoul(pair, NULL, 16);
            p += 4;
        } else {
            bytes[n++] = (uint8_t)*p++;
        }
    }
    return true;
}

static void reserved_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    snprintf(out, size, "%s", all_zero(raw, field->width) ? "zeros" : "not zero");
}

static void utf16_format(const struct field *field, const void *raw, char *out, size_t size)
{
    const uint8_t *bytes = raw;
    uint16_t units[256];
    size_t n = 0;
    for (uint32_t i = 0; i + 1 < field->width && n < ARRAY_LEN(units); i += 2) {
        uint16_t unit = load_le16(bytes + i);
        if (unit == 0 || unit == 0xFFFF) /* no character: what FAT fills up with */
            break;
        units[n++] = unit;
    }
    char text[1024];
    struct error ignored = {0};
    if (!utf16_to_utf8(units, n, UTF_WTF8, text, sizeof text, &ignored))
        text[0] = '\0';
    snprintf(out, size, "\"%.*s\"", (int)(size - 3), text);
}

/* The text with or without quotes; what is behind its end becomes zeros. */
static bool utf16_parse(const struct field *field, const char *text, void *raw, struct error *err)
{
    uint16_t units[256] = {0};
    size_t n = strlen(text), count, max = MIN_OF(field->width / 2, ARRAY_LEN(units));
    bool quoted = n >= 2 && text[0] == '"' && text[n - 1] == '"';
    if (!utf8_to_utf16(text + quoted, n - 2 * quoted, UTF_WTF8, units, max, &count, err))
        return because(err, "%s", field->name);
    memset(raw, 0, field->width);
    utf16_store_le(raw, units, count);
    return true;
}

static void format_guid(enum guid_order order, const void *raw, char *out, size_t size)
{
    char text[GUID_TEXT];
    guid_format(raw, order, text);
    snprintf(out, size, "%s", text);
}

static bool parse_guid(enum guid_order order, const struct field *field, const char *text, void *raw,
                       struct error *err)
{
    return guid_parse(text, order, raw) || fail(err, E_INVALID, "%s is not a UUID for %s", text, field->name);
}

static void uuid_kind_format(const struct field *field, const void *raw, char *out, size_t size)
{
    (void)field;
    format_guid(GUID_RFC, raw, out, size);
}

static bool uuid_kind_parse(const struct field *field, const char *text, void *raw, struct error *err)
{
    return parse_guid(GUID_RFC, field, text, raw, err);
}

static void guid_kind_format(const struct field *field, const void *raw, char *out, size_t size)
{
    (void)field;
    format_guid(GUID_MIXED, raw, out, size);
}

static bool guid_kind_parse(const struct field *field, const char *text, void *raw, struct error *err)
{
    return parse_guid(GUID_MIXED, field, text, raw, err);
}

const struct kind kind_dec = {.name = "dec", .format = dec_format, .parse = kind_number_parse};
const struct kind kind_hex = {.name = "hex", .format = kind_hex_format, .parse = kind_number_parse};
const struct kind kind_oct = {.name = "oct", .format = oct_format, .parse = kind_number_parse};
const struct kind kind_size = {
    .name = "size", .format = dec_format, .parse = kind_number_parse, .meaning = size_meaning};
const struct kind kind_bytes = {.name = "bytes", .format = bytes_format, .parse = bytes_parse};
const struct kind kind_text = {.name = "text", .format = text_format, .parse = text_parse};
const struct kind kind_utf16le = {.name = "utf16", .format = utf16_format, .parse = utf16_parse};
const struct kind kind_uuid = {.name = "uuid", .format = uuid_kind_format, .parse = uuid_kind_parse};
const struct kind kind_guid = {.name = "guid", .format = guid_kind_format, .parse = guid_kind_parse};
const struct kind kind_time = {
    .name = "time", .format = dec_format, .parse = kind_number_parse, .meaning = time_meaning};
const struct kind kind_checksum = {.name = "checksum", .format = kind_hex_format, .parse = kind_number_parse};
const struct kind kind_reserved = {
    .name = "reserved", .format = bytes_format, .parse = bytes_parse, .meaning = reserved_meaning};
