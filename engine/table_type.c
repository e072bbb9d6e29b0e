/* Types and flags of partitions by word, code, GUID and bit number. */
#include "bytes.h"
#include "guid.h"
#include "table.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { LEGACY_BOOT_BIT = 2 };

/* "83", "0x83", "8300": false when the text is no hex number of one to four digits. */
static bool parse_code(const char *text, unsigned *code)
{
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        text += 2;
    size_t digits = strlen(text);
    if (digits == 0 || digits > 4 || digits == 3 || strspn(text, "0123456789abcdefABCDEF") != digits)
        return false;
    *code = (unsigned)strtoul(text, NULL, 16);
    if (digits <= 2)
        *code <<= 8;
    return true;
}

static bool is_mbr(const struct table_driver *driver)
{
    return driver->primaries != 0;
}

static bool unknown_type(const struct table_driver *driver, const char *text, struct error *err)
{
    return fail(err, E_INVALID, "'%s' is no partition type of %s tables (a name such as linux or swap%s)",
                text, driver->head.name, is_mbr(driver) ? ", or a hex code" : ", a GUID, or a hex code");
}

bool table_type_parse(const struct table_driver *driver, const char *text, char type[40], struct error *err)
{
    unsigned code;
    uint8_t raw[16];
    for (const struct part_type *t = driver->types; t && t->type; t++) {
        if (strcasecmp(t->name, text) == 0) {
            snprintf(type, 40, "%s", t->type);
            return true;
        }
    }
    if (!is_mbr(driver) && guid_parse(text, GUID_RFC, raw)) {
        guid_format(raw, GUID_RFC, type);
        return !all_zero(raw, sizeof raw) || unknown_type(driver, text, err);
    }
    if (!parse_code(text, &code))
        return unknown_type(driver, text, err);
    for (const struct part_type *t = driver->types; t && t->type; t++) {
        if (t->code == code) {
            snprintf(type, 40, "%s", t->type);
            return true;
        }
    }
    if (!is_mbr(driver) || code < 0x100 || (code & 0xff))
        return unknown_type(driver, text, err);
    snprintf(type, 40, "0x%02x", code >> 8);
    return true;
}

const struct part_type *table_type_find(const struct table_driver *driver, const char *type)
{
    for (const struct part_type *t = driver->types; t && t->type; t++)
        if (strcmp(t->type, type) == 0)
            return t;
    return NULL;
}

bool table_type_convert(const struct table_driver *from, const char *type, const struct table_driver *to,
                        char out[40])
{
    struct error ignored;
    for (const struct part_type *t = from->types; t && t->type; t++)
        if (strcmp(t->type, type) == 0 && table_type_parse(to, t->name, out, &ignored))
            return true;
    const struct part_type *known = table_type_find(from, type);
    char code[8];
    if (!known || known->code < 0x100)
        return false;
    snprintf(code, sizeof code, "%02x", known->code >> 8);
    return table_type_parse(to, code, out, &ignored);
}

bool part_type_is_extended(const char *type)
{
    return strcmp(type, "0x05") == 0 || strcmp(type, "0x0f") == 0 || strcmp(type, "0x85") == 0;
}

static bool unknown_flag(const struct table *table, const char *name, struct error *err)
{
    char known[300] = "active";
    for (const struct part_attribute *a = table->driver->attributes; a && a->name; a++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, ", %s", a->name);
    }
    return fail(err, E_INVALID, "'%s' is no flag of %s partitions (there are: %s%s)", name,
                table->driver->head.name, known,
                table->driver->attributes ? ", or a bit number from 0 to 63" : "");
}

bool table_set_flag(struct table *table, struct part *part, const char *name, bool on, struct error *err)
{
    const struct part_attribute *attributes = table->driver->attributes;
    unsigned bit = 64;
    if (strcasecmp(name, "active") == 0 || strcasecmp(name, "boot") == 0) {
        if (!attributes && (part->flags & PART_LOGICAL))
            return fail(err, E_INVALID, "partition %u is logical: only a primary one can be active",
                        part->number);
        if (!attributes && on)
            for (size_t i = 0; i < table->count; i++)
                table->parts[i].flags &= ~(unsigned)PART_ACTIVE;
        part->flags = on ? part->flags | PART_ACTIVE : part->flags & ~(unsigned)PART_ACTIVE;
        if (!attributes)
            return true;
        bit = LEGACY_BOOT_BIT;
    }
    for (const struct part_attribute *a = attributes; a && a->name; a++)
        if (strcasecmp(a->name, name) == 0)
            bit = a->bit;
    if (attributes && bit == 64 && isdigit((unsigned char)*name) && strlen(name) <= 2)
        bit = (unsigned)strtoul(name, NULL, 10);
    if (bit >= 64)
        return unknown_flag(table, name, err);
    uint64_t mask = (uint64_t)1 << bit;
    part->attributes = on ? part->attributes | mask : part->attributes & ~mask;
    if (bit == LEGACY_BOOT_BIT)
        part->flags = on ? part->flags | PART_ACTIVE : part->flags & ~(unsigned)PART_ACTIVE;
    return true;
}

static void append(char *out, size_t size, const char *text)
{
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s%s", used ? "," : "", text);
}

void table_flags_text(const struct table *table, const struct part *part, char *out, size_t size)
{
    const struct part_attribute *attributes = table->driver->attributes;
    out[0] = '\0';
    if (!attributes && (part->flags & PART_ACTIVE))
        append(out, size, "active");
    for (unsigned bit = 0; attributes && bit < 64; bit++) {
        const struct part_attribute *a = attributes;
        char number[12];
        if (!(part->attributes >> bit & 1))
            continue;
        while (a->name && a->bit != bit)
            a++;
        snprintf(number, sizeof number, "%u", bit);
        append(out, size, a->name ? a->name : number);
    }
}
