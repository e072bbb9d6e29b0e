#include "option.h"

#include "alloc.h"
#include "bytes.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static const struct option *find_option(const struct option *table, const char *name)
{
    for (; table && table->name; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

static bool unknown_option(const struct option *table, const char *name, struct error *err)
{
    char known[300] = "";
    for (; table && table->name; table++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", table->name);
    }
    return fail(err, E_INVALID, "unknown option '%s' (there are: %s)", name, known[0] ? known : "none");
}

static bool word_allowed(const char *values, const char *word)
{
    size_t n = strlen(word);
    for (const char *v = values; v; v = strchr(v, '|')) {
        v += *v == '|';
        if (strncmp(v, word, n) == 0 && (v[n] == '|' || v[n] == '\0'))
            return true;
    }
    return false;
}

static bool parse_flag(const char *text, uint64_t *number)
{
    static const char *const on[] = {"on", "true", "yes", "1"}, *const off[] = {"off", "false", "no", "0"};
    for (size_t i = 0; i < ARRAY_LEN(on); i++) {
        if (strcmp(text, on[i]) == 0 || strcmp(text, off[i]) == 0) {
            *number = strcmp(text, on[i]) == 0;
            return true;
        }
    }
    return false;
}

static bool parse_value(struct option_value *value, struct error *err)
{
    const struct option *option = value->option;
    char *end;
    switch (option->type) {
    case OPTION_FLAG:
        if (!parse_flag(value->text, &value->number))
            return fail(err, E_INVALID, "%s is on or off, not '%s'", option->name, value->text);
        return true;
    case OPTION_NUMBER:
        value->number = strtoull(value->text, &end, 0);
        if (!isdigit((unsigned char)value->text[0]) || *end)
            return fail(err, E_INVALID, "%s is a number, not '%s'", option->name, value->text);
        return true;
    case OPTION_SIZE:
        return size_parse(value->text, &value->number, err) || because(err, "%s", option->name);
    case OPTION_WORD:
        if (!word_allowed(option->values, value->text))
            return fail(err, E_INVALID, "%s is one of %s, not '%s'", option->name, option->values,
                        value->text);
        return true;
    case OPTION_TEXT:
        return true;
    }
    return true;
}

static bool add_option(struct options *out, const struct option *table, char *item, struct error *err)
{
    char *equals = strchr(item, '=');
    const char *text = equals ? equals + 1 : "on";
    if (equals)
        *equals = '\0';
    const struct option *option = find_option(table, item);
    if (!option && item[0] == '^' && !equals) {
        option = find_option(table, item + 1);
        text = "off";
    }
    if (!option)
        return unknown_option(table, item, err);
    if (!equals && option->type != OPTION_FLAG)
        return fail(err, E_INVALID, "%s needs a value: %s=...", option->name, option->name);
    if (!mem_grow(&out->values, &out->capacity, out->count + 1, sizeof *out->values, err))
        return false;
    struct option_value *value = &out->values[out->count];
    *value = (struct option_value){.option = option, .text = mem_string(text, err)};
    if (!value->text)
        return false;
    out->count++;
    return parse_value(value, err);
}

bool options_parse(struct options *out, const struct option *table, const char *text, struct error *err)
{
    char *item = mem_new(strlen(text) + 1, err);
    if (!item)
        return false;
    bool ok = true;
    size_t n = 0;
    for (const char *p = text; ok; p++) {
        if (*p == ',' && p[1] == ',') {
            item[n++] = ',';
            p++;
        } else if (*p == ',' || *p == '\0') {
            item[n] = '\0';
            if (n > 0)
                ok = add_option(out, table, item, err);
            n = 0;
            if (*p == '\0')
                break;
        } else {
            item[n++] = *p;
        }
    }
    free(item);
    return ok;
}

void options_free(struct options *options)
{
    for (size_t i = 0; i < options->count; i++)
        free(options->values[i].text);
    free(options->values);
    *options = (struct options){0};
}

static const struct option_value *find_value(const struct options *options, const char *name)
{
    for (size_t i = options ? options->count : 0; i-- > 0;)
        if (strcmp(options->values[i].option->name, name) == 0)
            return &options->values[i];
    return NULL;
}

bool options_has(const struct options *options, const char *name)
{
    return find_value(options, name) != NULL;
}

const char *options_text(const struct options *options, const char *name, const char *otherwise)
{
    const struct option_value *value = find_value(options, name);
    return value ? value->text : otherwise;
}

uint64_t options_number(const struct options *options, const char *name, uint64_t otherwise)
{
    const struct option_value *value = find_value(options, name);
    return value ? value->number : otherwise;
}

bool options_flag(const struct options *options, const char *name, bool otherwise)
{
    return options_number(options, name, otherwise) != 0;
}

static bool unit_of(const char *unit, uint64_t *factor)
{
    static const char letters[] = "KMGTPE";
    if (*unit == '\0' || strcmp(unit, "B") == 0 || strcmp(unit, "b") == 0) {
        *factor = 1;
        return true;
    }
    if (strcmp(unit, "s") == 0) {
        *factor = 512;
        return true;
    }
    const char *letter = strchr(letters, toupper((unsigned char)*unit));
    if (!letter)
        return false;
    bool decimal = strcmp(unit + 1, "B") == 0;
    if (unit[1] != '\0' && !decimal && strcmp(unit + 1, "iB") != 0)
        return false;
    *factor = 1;
    for (const char *p = letters; p <= letter; p++)
        *factor *= decimal ? 1000 : 1024;
    return true;
}

/* Exact decimal fractions: 1.5G is 1 GiB and 5/10 of one. */
static bool add_fraction(const char *digits, size_t n, uint64_t factor, uint64_t *bytes)
{
    uint64_t fraction = 0, scale = 1;
    for (size_t i = 0; i < n && i < 9; i++) {
        fraction = fraction * 10 + (uint64_t)(digits[i] - '0');
        scale *= 10;
    }
    unsigned __int128 part = (unsigned __int128)fraction * factor / scale;
    return add_u64(*bytes, (uint64_t)part, bytes);
}

bool size_parse(const char *text, uint64_t *bytes, struct error *err)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    uint64_t whole = 0, factor, base = hex ? 16 : 10;
    const char *p = hex ? text + 2 : text, *first = p;
    bool fits = true;
    for (; hex ? isxdigit((unsigned char)*p) : isdigit((unsigned char)*p); p++) {
        unsigned digit = isdigit((unsigned char)*p) ? (unsigned)(*p - '0')
                                                    : (unsigned)(tolower((unsigned char)*p) - 'a' + 10);
        fits = fits && mul_u64(whole, base, &whole) && add_u64(whole, digit, &whole);
    }
    if (p == first)
        return fail(err, E_INVALID, "'%s' is not a size", text);
    const char *fraction = NULL;
    size_t fraction_digits = 0;
    if (!hex && *p == '.') {
        fraction = ++p;
        while (isdigit((unsigned char)*p))
            p++;
        fraction_digits = (size_t)(p - fraction);
    }
    if (!unit_of(p, &factor))
        return fail(err, E_INVALID, "'%s' is not a size: unknown unit '%s'", text, p);
    if (!fits || !mul_u64(whole, factor, bytes) ||
        (fraction && !add_fraction(fraction, fraction_digits, factor, bytes)))
        return fail(err, E_TOOBIG, "'%s' is more than 64 bits hold", text);
    return true;
}
