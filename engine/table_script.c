#include "table_script.h"

#include "alloc.h"
#include "bytes.h"
#include "option.h"
#include "table_space.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- words --------------------------------------------------------------------------------------------- */

/* sfdisk's names of GPT attributes; bits 48 to 63 are written as "GUID:48,49". */
static const struct {
    const char *name;
    unsigned bit;
} attribute_names[] = {
    {"RequiredPartition", 0}, {"Required", 0},           {"NoBlockIOProtocol", 1},
    {"NoBlockIO", 1},         {"LegacyBIOSBootable", 2}, {"LegacyBIOSBoot", 2},
};
enum { GUID_BIT = 48 };

/* Shortcuts and aliases; the words of dish, codes and GUIDs are understood besides. */
static const struct {
    const char *name, *word;
} type_aliases[] = {
    {"L", "linux"}, {"S", "swap"}, {"E", "extended"}, {"Ex", "extended"}, {"X", "linux-extended"},
    {"H", "home"},  {"U", "esp"},  {"uefi", "esp"},   {"R", "raid"},      {"V", "lvm"},
};

static const char *type_word(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(type_aliases); i++)
        if (strcmp(type_aliases[i].name, text) == 0)
            return type_aliases[i].word;
    return text;
}

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t n = strlen(text);
    while (n > 0 && strchr(" \t\r", text[n - 1]))
        text[--n] = '\0';
    return text;
}

/* \x41 in quoted values. */
static void unescape(char *text)
{
    char *out = text;
    while (*text) {
        if (text[0] == '\\' && text[1] == 'x' && isxdigit((unsigned char)text[2]) &&
            isxdigit((unsigned char)text[3])) {
            char pair[3] = {text[2], text[3], '\0'};
            *out++ = (char)strtoul(pair, NULL, 16);
            text += 4;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}

static bool bad_line(struct error *err, unsigned line, const char *what, const char *text)
{
    return fail(err, E_INVALID, "line %u of the script: %s '%s'", line, what, text);
}

/* A plain number is in sectors, one with a unit in bytes, "+" is all that is left. */
static bool parse_amount(const char *text, uint64_t rest, uint64_t *value, bool *sectors, unsigned line,
                         struct error *err)
{
    *sectors = false;
    if (*text == '\0' || strcmp(text, "+") == 0) {
        *value = rest;
        return true;
    }
    size_t n = strlen(text);
    if (strspn(text, "0123456789") == n) {
        *sectors = true;
        *value = strtoull(text, NULL, 10);
        return n < 20 || bad_line(err, line, "cannot understand the number", text);
    }
    return size_parse(text, value, err) || because(err, "line %u of the script", line);
}

static bool parse_attributes(char *text, uint64_t *attributes, unsigned line, struct error *err)
{
    bool guid = false;
    for (char *word = strtok(text, " ,"); word; word = strtok(NULL, " ,")) {
        bool known = false;
        if (strncasecmp(word, "GUID:", 5) == 0) {
            guid = true;
            word += 5;
        }
        char *end;
        unsigned long bit = strtoul(word, &end, 10);
        if (guid && *word && !*end && bit >= GUID_BIT && bit < 64) {
            *attributes |= (uint64_t)1 << bit;
            continue;
        }
        for (size_t i = 0; i < ARRAY_LEN(attribute_names) && !known; i++) {
            known = strcasecmp(attribute_names[i].name, word) == 0;
            if (known)
                *attributes |= (uint64_t)1 << attribute_names[i].bit;
        }
        if (!known)
            return bad_line(err, line, "unknown attribute", word);
    }
    return true;
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static bool copy_text(char *out, size_t size, const char *text, unsigned line, struct error *err)
{
    if (strlen(text) >= size)
        return bad_line(err, line, "too long:", text);
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static bool set_field(struct script_part *part, const char *key, char *value, struct error *err)
{
    if (strcasecmp(key, "start") == 0)
        return parse_amount(value, PART_ANYWHERE, &part->start, &part->start_sectors, part->line, err);
    if (strcasecmp(key, "size") == 0)
        return parse_amount(value, PART_REST, &part->size, &part->size_sectors, part->line, err);
    if (strcasecmp(key, "type") == 0 || strcasecmp(key, "Id") == 0)
        return copy_text(part->type, sizeof part->type, value, part->line, err);
    if (strcasecmp(key, "uuid") == 0)
        return copy_text(part->uuid, sizeof part->uuid, value, part->line, err);
    if (strcasecmp(key, "name") == 0)
        return copy_text(part->name, sizeof part->name, value, part->line, err);
    if (strcasecmp(key, "attrs") == 0)
        return parse_attributes(value, &part->attributes, part->line, err);
    if (strcasecmp(key, "bootable") != 0)
        return bad_line(err, part->line, "unknown field", key);
    part->active = true;
    return true;
}

/* Cuts the next field off at its comma (or blank, in the old form); quotes protect both. */
static char *next_field(char **at)
{
    char *p = *at, *out, *start;
    if (!p)
        return NULL;
    p += strspn(p, " \t");
    start = out = p;
    for (bool quoted = false; *p && (quoted || (*p != ',' && *p != ';')); p++) {
        if (*p == '"')
            quoted = !quoted;
        else
            *out++ = *p;
    }
    *at = *p ? p + 1 : NULL;
    *out = '\0';
    return trim(start);
}

static bool parse_named(struct script_part *part, char *text, struct error *err)
{
    for (char *field; (field = next_field(&text));) {
        char *equals = strchr(field, '=');
        if (*field == '\0')
            continue;
        if (equals)
            *equals = '\0';
        char *value = equals ? trim(equals + 1) : field + strlen(field);
        unescape(value);
        if (!set_field(part, trim(field), value, err))
            return false;
    }
    return true;
}

/* start, size, type, bootable. */
static bool parse_positional(struct script_part *part, char *text, struct error *err)
{
    static const char *const keys[] = {"start", "size", "type"};
    size_t i = 0;
    for (char *field; (field = next_field(&text)); i++) {
        if (i < ARRAY_LEN(keys)) {
            if (!set_field(part, keys[i], field, err))
                return false;
        } else if (i == ARRAY_LEN(keys) && strcmp(field, "*") == 0) {
            part->active = true;
        } else if (*field && strcmp(field, "-") != 0) {
            return bad_line(err, part->line, "there is a field too many:", field);
        }
    }
    return true;
}

/* "/dev/sda3 : start=..." is partition 3. */
static unsigned trailing_number(const char *device)
{
    size_t n = strlen(device), at = n;
    while (at > 0 && isdigit((unsigned char)device[at - 1]))
        at--;
    return at < n && n - at < 6 ? (unsigned)strtoul(device + at, NULL, 10) : 0;
}

static bool parse_part(struct script *script, char *text, unsigned line, struct error *err)
{
    if (!mem_grow(&script->parts, &script->capacity, script->count + 1, sizeof *script->parts, err))
        return false;
    struct script_part *part = &script->parts[script->count++];
    *part = (struct script_part){.line = line, .start = PART_ANYWHERE, .size = PART_REST};
    char *colon = strstr(text, " :"), *quote = strchr(text, '"');
    if (!colon)
        colon = strstr(text, ": ");
    if (colon && (!quote || colon < quote)) {
        *colon = '\0';
        part->number = trailing_number(trim(text));
        text = colon + 1 + (colon[1] == ':');
    }
    char *named = strchr(text, '=');
    return named ? parse_named(part, text, err) : parse_positional(part, text, err);
}

/* A header line "key: value"; false in *known: it is no header. */
static bool parse_header(struct script *script, char *text, unsigned line, bool *known, struct error *err)
{
    static const char *const ignored[] = {"device", "unit"};
    char *colon = strchr(text, ':');
    *known = false;
    if (!colon || memchr(text, ' ', (size_t)(colon - text)) || memchr(text, '=', (size_t)(colon - text)))
        return true;
    size_t n = (size_t)(colon - text);
    char *value = trim(colon + 1);
    struct {
        const char *key;
        uint64_t *number;
    } numbers[] = {{"first-lba", &script->first_lba},
                   {"last-lba", &script->last_lba},
                   {"table-length", &script->table_length},
                   {"grain", &script->grain}};
    *known = true;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (strlen(numbers[i].key) == n && strncmp(text, numbers[i].key, n) == 0)
            return size_parse(value, numbers[i].number, err) || because(err, "line %u of the script", line);
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        if (strlen(ignored[i]) == n && strncmp(text, ignored[i], n) == 0)
            return true;
    if (n == 5 && strncmp(text, "label", n) == 0)
        return copy_text(script->label, sizeof script->label, value, line, err);
    if (n == 8 && strncmp(text, "label-id", n) == 0)
        return copy_text(script->label_id, sizeof script->label_id, value, line, err);
    if (n == 11 && strncmp(text, "sector-size", n) == 0) {
        script->sector_size = (uint32_t)strtoul(value, NULL, 10);
        return script->sector_size == 512 || script->sector_size == 4096 ||
               bad_line(err, line, "sector-size is 512 or 4096, not", value);
    }
    *known = false;
    return true;
}

bool script_parse(struct script *script, const char *text, size_t n, struct error *err)
{
    *script = (struct script){0};
    char *copy = mem_string_n(text, n, err);
    if (!copy)
        return false;
    bool ok = true, known;
    unsigned number = 0;
    for (char *line = copy, *next; ok && line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        number++;
        line = trim(line);
        if (*line == '\0' || *line == '#')
            continue;
        ok = parse_header(script, line, number, &known, err) &&
             (known || parse_part(script, line, number, err));
    }
    free(copy);
    return ok;
}

void script_free(struct script *script)
{
    free(script->parts);
    *script = (struct script){0};
}

/* ---- applying ------------------------------------------------------------------------------------------ */

static bool in_bytes(const struct table *table, uint64_t value, bool sectors, uint64_t *bytes,
                     struct error *err)
{
    *bytes = value;
    return !sectors || mul_u64(value, table->sector_size, bytes) ||
           fail(err, E_TOOBIG, "%" PRIu64 " sectors are more than any disk has", value);
}

static bool apply_part(const struct script *script, const struct script_part *part, struct table *table,
                       struct error *err)
{
    struct part_request request = {
        .number = part->number,
        .align = script->grain,
        .type = part->type[0] ? type_word(part->type) : NULL,
        .name = part->name,
        .uuid = part->uuid[0] ? part->uuid : NULL,
        .attributes = part->attributes,
        .active = part->active,
    };
    unsigned number;
    /* As sfdisk does it: a line is the next primary entry, behind the fourth they are logical. */
    if (request.number == 0 && table->driver->primaries && table->count >= table->driver->primaries)
        request.logical = true;
    return in_bytes(table, part->start, part->start_sectors, &request.start, err) &&
           in_bytes(table, part->size, part->size_sectors, &request.size, err) &&
           table_add(table, &request, &number, err);
}

bool script_apply(const struct script *script, struct table *table, struct error *err)
{
    uint64_t sector = table->sector_size, first = script->first_lba * sector;
    if (script->first_lba && script->first_lba < table->end / sector && first >= table->first)
        table->first = first;
    if (script->last_lba && script->last_lba < table->end / sector &&
        (script->last_lba + 1) * sector > table->first)
        table->end = (script->last_lba + 1) * sector;
    for (size_t i = 0; i < script->count; i++)
        if (!apply_part(script, &script->parts[i], table, err))
            return because(err, "line %u of the script", script->parts[i].line);
    return true;
}

/* ---- printing ------------------------------------------------------------------------------------------ */

static void print(script_print_fn *emit, void *arg, const char *fmt, ...) DISH_PRINTF(3, 4);
static void print(script_print_fn *emit, void *arg, const char *fmt, ...)
{
    char text[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    emit(arg, text);
}

static void upper(const char *text, char *out, size_t size)
{
    size_t i = 0;
    for (; text[i] && i + 1 < size; i++)
        out[i] = (char)toupper((unsigned char)text[i]);
    out[i] = '\0';
}

static void print_name(const char *name, script_print_fn *emit, void *arg)
{
    emit(arg, ", name=\"");
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;
        bool plain = c >= 0x20 && c < 0x7f && !strchr("\"\\`$", c);
        print(emit, arg, plain ? "%c" : "\\x%02x", c);
    }
    emit(arg, "\"");
}

static void print_attributes(uint64_t attributes, script_print_fn *emit, void *arg)
{
    static const char *const low[] = {"RequiredPartition", "NoBlockIOProtocol", "LegacyBIOSBootable"};
    const char *between = "";
    emit(arg, ", attrs=\"");
    for (unsigned bit = 0; bit < ARRAY_LEN(low); bit++) {
        if (attributes >> bit & 1) {
            print(emit, arg, "%s%s", between, low[bit]);
            between = " ";
        }
    }
    bool first = true;
    for (unsigned bit = GUID_BIT; bit < 64; bit++) {
        if (attributes >> bit & 1) {
            print(emit, arg, "%s%s%u", first ? between : ",", first ? "GUID:" : "", bit);
            first = false;
        }
    }
    emit(arg, "\"");
}

static void print_part(const struct table *table, const struct part *part, const char *device,
                       script_print_fn *emit, void *arg)
{
    char type[40], uuid[40];
    bool digit = device[0] && isdigit((unsigned char)device[strlen(device) - 1]);
    print(emit, arg, "%s%s%u : start=%12" PRIu64 ", size=%12" PRIu64, device, digit ? "p" : "", part->number,
          part->off / table->sector_size, part->len / table->sector_size);
    if (table->driver->primaries) {
        print(emit, arg, ", type=%lx%s", strtoul(part->type, NULL, 16),
              part->flags & PART_ACTIVE ? ", bootable" : "");
    } else {
        upper(part->type, type, sizeof type);
        upper(part->uuid, uuid, sizeof uuid);
        print(emit, arg, ", type=%s, uuid=%s", type, uuid);
        if (part->name[0])
            print_name(part->name, emit, arg);
        if (part->attributes)
            print_attributes(part->attributes, emit, arg);
    }
    emit(arg, "\n");
}

void script_print(const struct table *table, const char *device, script_print_fn *emit, void *arg)
{
    bool gpt = table->driver->primaries == 0;
    char id[40];
    upper(table->uuid, id, sizeof id);
    print(emit, arg, "label: %s\nlabel-id: %s\ndevice: %s\nunit: sectors\n", gpt ? "gpt" : "dos",
          gpt ? id : table->uuid, device);
    if (gpt)
        print(emit, arg, "first-lba: %" PRIu64 "\nlast-lba: %" PRIu64 "\n", table->first / table->sector_size,
              table->end / table->sector_size - 1);
    if (gpt && table->max_parts != 128)
        print(emit, arg, "table-length: %u\n", table->max_parts);
    print(emit, arg, "sector-size: %u\n%s", table->sector_size, table->count ? "\n" : "");
    for (size_t i = 0; i < table->count; i++)
        print_part(table, &table->parts[i], device, emit, arg);
}
