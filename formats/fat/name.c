/*
 * Names: the long one in UTF-16, and the short one of 8 and 3 bytes that Windows and the Linux kernel make of
 * it (FATGEN, "Long Directory Entries", "Rules Governing Name Creation and Matching", with what both do in
 * practice: case bits for names in one case, tails ~1 to ~9, then two characters, four digits of a hash and a
 * tail).
 */
#include "fat.h"
#include "upcase.h"
#include "utf.h"

#include <ctype.h>
#include <stdio.h>

uint8_t fat_name_checksum(const uint8_t short_name[SHORT_NAME])
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < SHORT_NAME; i++)
        sum = (uint8_t)((sum << 7 | sum >> 1) + short_name[i]);
    return sum;
}

/* The character of a byte in lower case: the one of the page whose upper case it is. */
static uint16_t lower_of(const struct codepage *page, uint8_t byte)
{
    if (byte < 0x80)
        return (uint16_t)tolower(byte);
    uint16_t upper = codepage_to_unit(page, byte);
    for (unsigned b = 0x80; b < 0x100; b++) {
        uint16_t unit = codepage_to_unit(page, (uint8_t)b);
        if (unit != upper && upcase_unit(unit) == upper)
            return unit;
    }
    return upper;
}

static void decode_part(const struct codepage *page, const uint8_t *bytes, unsigned size, bool lower,
                        struct dosname *name)
{
    while (size > 0 && bytes[size - 1] == ' ')
        size--;
    for (unsigned i = 0; i < size; i++)
        name->units[name->count++] = lower ? lower_of(page, bytes[i]) : codepage_to_unit(page, bytes[i]);
}

void fat_short_decode(const struct fat *fat, const uint8_t *entry, struct dosname *name)
{
    uint8_t bytes[SHORT_NAME];
    unsigned bits = (unsigned)fat_entry_DIR_NTRes(entry);
    memcpy(bytes, entry, SHORT_NAME);
    if (bytes[0] == SLOT_E5)
        bytes[0] = SLOT_FREE;
    name->count = 0;
    decode_part(fat->codepage, bytes, 8, bits & LOWER_BASE, name);
    if (bytes[8] == ' ' && bytes[9] == ' ' && bytes[10] == ' ')
        return;
    name->units[name->count++] = '.';
    decode_part(fat->codepage, bytes + 8, 3, bits & LOWER_EXT, name);
}

bool fat_bad_short(const uint8_t short_name[SHORT_NAME])
{
    for (unsigned i = 0; i < SHORT_NAME; i++) {
        uint8_t c = short_name[i];
        if ((c < ' ' && !(i == 0 && c == SLOT_E5)) || c == 0x7F || (c < 0x80 && strchr("*?<>|\"\\/:.", c)))
            return true;
    }
    return short_name[0] == ' ';
}

/* Units that are the same in every code page and in a short name. */
static bool is_plain(uint16_t unit)
{
    return (unit >= '0' && unit <= '9') || (unit >= 'A' && unit <= 'Z') || (unit >= 'a' && unit <= 'z');
}

static bool is_skipped(uint16_t unit)
{
    return unit == ' ' || unit == '.';
}

static bool is_replaced(uint16_t unit)
{
    return unit == '[' || unit == ']' || unit == ';' || unit == ',' || unit == '+' || unit == '=';
}

/* What was learned about a part (base or extension) while it was shortened. */
struct part_info {
    bool exact;        /* nothing was dropped or replaced */
    bool lower, upper; /* all letters can be seen as lower, as upper case */
};

/* One unit to its short form; false: it has none and is dropped. */
static bool shorten_unit(const struct codepage *page, uint16_t unit, uint8_t *out, struct part_info *info)
{
    if (is_plain(unit)) {
        *out = (uint8_t)toupper(unit);
        if (unit > '9')
            *(unit == *out ? &info->lower : &info->upper) = false;
        return true;
    }
    if (is_skipped(unit)) {
        info->exact = false;
        return false;
    }
    if (is_replaced(unit) || !codepage_from_unit(page, unit, out)) {
        info->exact = false;
        *out = '_';
        return true;
    }
    uint8_t upper = codepage_upcase(page, *out);
    if (*out >= 0x7F)
        info->lower = info->upper = false;
    if (isalpha(upper) && upper < 0x80) {
        if (upper == *out)
            info->lower = false;
        else
            info->upper = false;
    }
    *out = upper;
    return true;
}

/* Shorten units[from..to) to at most `max` bytes. *fits: all of it found room. Returns the length. */
static unsigned shorten(const struct codepage *page, const uint16_t *units, unsigned from, unsigned to,
                        uint8_t *out, unsigned max, struct part_info *info, bool *fits)
{
    unsigned n = 0;
    *info = (struct part_info){true, true, true};
    for (unsigned i = from; i < to; i++) {
        if (n == max) {
            *fits = false;
            break;
        }
        if (shorten_unit(page, units[i], &out[n], info))
            n++;
    }
    return n;
}

/* The last dot divides base and extension, unless nothing but dots and blanks stands before it. */
static unsigned find_extension(const struct dosname *name)
{
    unsigned dot = name->count;
    while (dot > 0 && name->units[dot - 1] != '.')
        dot--;
    if (dot == 0 || dot == name->count)
        return name->count;
    for (unsigned i = 0; i < dot - 1; i++)
        if (!is_skipped(name->units[i]))
            return dot;
    return name->count;
}

static uint32_t hash_exact(const struct dosname *name)
{
    uint32_t hash = 2166136261u;
    for (unsigned i = 0; i < name->count; i++)
        hash = (hash ^ name->units[i]) * 16777619u;
    return hash ^ hash >> 16;
}

/* Make it unique: BASE~1 .. BASE~9, then BAhhhh~1 with digits that start at a hash of the name. */
static bool add_tail(const struct dosname *name, unsigned base, fat_taken_fn *taken, void *arg,
                     uint8_t short_name[SHORT_NAME], struct error *err)
{
    bool exists = true;
    unsigned at = MIN_OF(base, 6);
    memset(short_name + at, ' ', 8 - at);
    short_name[at] = '~';
    for (uint8_t digit = '1'; digit <= '9'; digit++) {
        short_name[at + 1] = digit;
        if (!taken(arg, short_name, &exists, err))
            return false;
        if (!exists)
            return true;
    }
    uint32_t start = hash_exact(name);
    at = MIN_OF(base, 2);
    memset(short_name + at, ' ', 8 - at);
    for (uint32_t i = 0; i < 9 * 65536; i++) {
        char digits[8];
        snprintf(digits, sizeof digits, "%04X~%u", (start - 11 * i) & 0xFFFF, 1 + i / 65536);
        memcpy(short_name + at, digits, 6);
        if (!taken(arg, short_name, &exists, err))
            return false;
        if (!exists)
            return true;
    }
    return fail(err, E_NOSPACE, "no short name is left for this name in the directory");
}

bool fat_short_make(const struct fat *fat, const struct dosname *name, fat_taken_fn *taken, void *arg,
                    uint8_t short_name[SHORT_NAME], uint8_t *case_bits, bool *need_long, struct error *err)
{
    struct part_info base_info, ext_info = {true, true, true};
    unsigned ext = find_extension(name), base_end = ext < name->count ? ext - 1 : name->count;
    bool fits = true, exists;
    memset(short_name, ' ', SHORT_NAME);
    unsigned base = shorten(fat->codepage, name->units, 0, base_end, short_name, 8, &base_info, &fits);
    if (base == 0)
        return fail(err, E_NAME, "FAT cannot hold a name of dots and spaces alone");
    if (ext < name->count)
        shorten(fat->codepage, name->units, ext, name->count, short_name + 8, 3, &ext_info, &fits);
    if (short_name[0] == SLOT_FREE)
        short_name[0] = SLOT_E5;
    *case_bits = 0;
    *need_long = true;
    if (fits && base_info.exact && ext_info.exact) {
        if (!taken(arg, short_name, &exists, err))
            return false;
        if (exists)
            return fail(err, E_EXIST, "the name is another file's short name");
        if ((base_info.upper || base_info.lower) && (ext_info.upper || ext_info.lower)) {
            *case_bits = (uint8_t)((base_info.upper ? 0 : LOWER_BASE) | (ext_info.upper ? 0 : LOWER_EXT));
            *need_long = false;
        }
        return true;
    }
    return add_tail(name, base, taken, arg, short_name, err);
}

/* Nothing exists: for asking only whether a name has 8.3 form. */
static bool none_taken(void *arg, const uint8_t short_name[SHORT_NAME], bool *taken, struct error *err)
{
    (void)arg;
    (void)short_name;
    (void)err;
    *taken = false;
    return true;
}

bool fat_short_encode(const struct fat *fat, const struct dosname *name, uint8_t short_name[SHORT_NAME])
{
    struct error ignored;
    struct dosname back;
    uint8_t entry[ENTRY_SIZE] = {0}, bits;
    bool need_long;
    if (name->count > SHORT_NAME + 1 ||
        !fat_short_make(fat, name, none_taken, NULL, entry, &bits, &need_long, &ignored))
        return false;
    fat_short_decode(fat, entry, &back);
    if (!upcase_equal(name->units, name->count, back.units, back.count))
        return false;
    memcpy(short_name, entry, SHORT_NAME);
    return true;
}

static bool in_label(unsigned c)
{
    return c >= 0x20 && c != 0x7F && (c >= 0x80 || !strchr("\"*+,./:;<=>?[\\]|", (int)c));
}

bool fat_label_valid(const uint8_t label[SHORT_NAME])
{
    for (unsigned i = 0; i < SHORT_NAME; i++)
        if (!in_label(label[i]) && !(i == 0 && label[0] == SLOT_E5))
            return false;
    return label[0] != ' ';
}

bool fat_label_encode(const struct codepage *page, const char *text, uint8_t label[SHORT_NAME],
                      struct error *err)
{
    struct dosname name;
    size_t count;
    if (!utf8_to_utf16(text, strlen(text), UTF_STRICT, name.units, MAX_NAME, &count, err))
        return because(err, "label");
    if (count > SHORT_NAME)
        return fail(err, E_NAME, "a FAT label has at most 11 characters, '%s' has %zu", text, count);
    memset(label, ' ', SHORT_NAME);
    for (size_t i = 0; i < count; i++) {
        uint16_t unit = name.units[i];
        if (!in_label(unit))
            return fail(err, E_NAME,
                        unit < 0x20 || unit == 0x7F ? "a FAT label cannot hold control characters"
                                                    : "a FAT label cannot hold '%c'",
                        unit);
        if (!codepage_from_unit(page, unit, &label[i]))
            return fail(err, E_NAME, "code page %u has no character U+%04X", page->number, unit);
    }
    if (count > 0 && label[0] == ' ')
        return fail(err, E_NAME, "a FAT label cannot begin with a space");
    if (label[0] == SLOT_FREE)
        label[0] = SLOT_E5;
    return true;
}

void fat_label_decode(const struct codepage *page, const uint8_t label[SHORT_NAME], char *text, size_t size)
{
    uint16_t units[SHORT_NAME];
    size_t count = SHORT_NAME;
    struct error ignored;
    while (count > 0 && (label[count - 1] == ' ' || label[count - 1] == 0))
        count--;
    for (size_t i = 0; i < count; i++)
        units[i] = codepage_to_unit(page, i == 0 && label[0] == SLOT_E5 ? SLOT_FREE : label[i]);
    if (!utf16_to_utf8(units, count, UTF_WTF8, text, size, &ignored))
        text[0] = '\0';
}
