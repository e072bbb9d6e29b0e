#include "where_text.h"

#include "bytes.h"
#include "text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LABEL = 16, VALUE_MAX = 320 };

static struct where_text *where_of(struct report *report)
{
    return (struct where_text *)report;
}

static void end_line(struct where_text *where)
{
    if (where->column > 0)
        output_printf(where->out, "\n");
    where->column = 0;
    where->values = false;
}

static void begin_line(struct where_text *where, const char *label)
{
    end_line(where);
    output_printf(where->out, "  %-*s", LABEL - 2, label);
    where->column = LABEL;
}

/* An abbreviation: a letter with a number, as L1, or the name of a format. */
static bool is_abbreviation(const struct session *session, const char *word, size_t n)
{
    char name[16];
    if (n == 2 && isalpha((unsigned char)word[0]) && isdigit((unsigned char)word[1]))
        return true;
    if (n >= sizeof name)
        return false;
    memcpy(name, word, n);
    name[n] = 0;
    for (const struct fs_driver *const *d = session->drivers.filesystems; *d; d++)
        if (strcmp((*d)->head.name, name) == 0)
            return true;
    return strcmp(name, "lba") == 0;
}

/* Keys as people write them: blanks for hyphens, and abbreviations in capitals. */
static void key_text(const struct session *session, const char *key, char *text, size_t size)
{
    snprintf(text, size, "%s", key);
    for (char *word = text; *word;) {
        size_t n = strcspn(word, "-");
        if (is_abbreviation(session, word, n))
            for (size_t i = 0; i < n; i++)
                word[i] = (char)toupper((unsigned char)word[i]);
        word += n;
        if (*word)
            *word++ = ' ';
    }
}

/* One value of a layer's line; a line that would get too long goes on below. */
static void put_value(struct where_text *where, const char *key, const char *value)
{
    char name[80] = "", text[VALUE_MAX + 80];
    if (key)
        key_text(where->session, key, name, sizeof name);
    snprintf(text, sizeof text, "%s%s%s", name, name[0] && value[0] ? " " : "", value);
    unsigned width = display_width(text);
    if (where->values && where->column + 3 + width > output_width(where->out)) {
        output_printf(where->out, "\n%*s", LABEL, "");
        where->column = LABEL;
    } else if (where->values) {
        output_printf(where->out, " · ");
        where->column += 3;
    }
    output_name(where->out, text);
    where->column += width;
    where->values = true;
}

static void open_object(struct report *report, const char *key)
{
    struct where_text *where = where_of(report);
    char label[40];
    if (where->depth > 0) {
        where->depth++;
    } else if (key) {
        where->depth = 1;
        if (strcmp(key, "volume") == 0 && where->volume)
            snprintf(label, sizeof label, "partition %" PRIu64, where->volume);
        else if (session_container(where->session, key))
            snprintf(label, sizeof label, "virtual disk");
        else
            key_text(where->session, key, label, sizeof label);
        begin_line(where, label);
    }
}

static void open_list(struct report *report, const char *key)
{
    struct where_text *where = where_of(report);
    (void)key;
    if (where->depth > 0)
        where->depth++;
}

static void close_one(struct report *report)
{
    struct where_text *where = where_of(report);
    if (where->depth > 0 && --where->depth == 0)
        end_line(where);
}

static void put_text(struct report *report, const char *key, const char *bytes, size_t n)
{
    struct where_text *where = where_of(report);
    char value[VALUE_MAX];
    snprintf(value, sizeof value, "%.*s", (int)MIN_OF(n, sizeof value - 1), bytes);
    if (where->depth == 0 && key && strcmp(key, "path") == 0) {
        output_name(where->out, value);
        where->column = 1;
    } else if (where->depth == 0) {
        begin_line(where, key ? key : "");
        put_value(where, NULL, value);
        end_line(where);
    } else if (key && strcmp(key, "layer") == 0) {
        begin_line(where, value);
    } else {
        put_value(where, key && strcmp(key, "file") == 0 ? NULL : key, value);
    }
}

static void put_number(struct report *report, const char *key, uint64_t number)
{
    struct where_text *where = where_of(report);
    char value[40];
    if (where->depth > 0) {
        snprintf(value, sizeof value, "%" PRIu64, number);
        put_value(where, key, value);
    } else if (strcmp(key, "size") == 0) {
        output_printf(where->out, ": %" PRIu64 " bytes", number);
    } else if (strcmp(key, "id") == 0) {
        end_line(where);
    } else if (strcmp(key, "file-offset") == 0) {
        where->first = number;
    } else if (strcmp(key, "partition") == 0) {
        where->volume = number;
    } else if (strcmp(key, "length") == 0) {
        output_printf(where->out, "file bytes %" PRIu64 "–%" PRIu64 "\n", where->first,
                      where->first + number - 1);
    }
}

static void put_signed(struct report *report, const char *key, int64_t number)
{
    char value[40];
    snprintf(value, sizeof value, "%" PRId64, number);
    put_value(where_of(report), key, value);
}

/* Places in both notations: other tools want either. */
static void put_hex(struct report *report, const char *key, uint64_t number)
{
    struct where_text *where = where_of(report);
    size_t n = strlen(key);
    bool place = strcmp(key, "offset") == 0 || (n > 7 && strcmp(key + n - 7, "-offset") == 0);
    char value[60];
    if (where->depth == 0 || strcmp(key, "guest-offset") == 0)
        return; /* the line above says it */
    if (place && number > 9)
        snprintf(value, sizeof value, "%" PRIu64 " (0x%" PRIx64 ")", number, number);
    else if (place)
        snprintf(value, sizeof value, "%" PRIu64, number);
    else
        snprintf(value, sizeof value, "0x%" PRIx64, number);
    put_value(where, key, value);
}

static void put_boolean(struct report *report, const char *key, bool set)
{
    put_value(where_of(report), key, set ? "yes" : "no");
}

static void put_null(struct report *report, const char *key)
{
    put_value(where_of(report), key, "-");
}

static const struct report_ops where_ops = {
    .open_object = open_object,
    .open_list = open_list,
    .close = close_one,
    .text = put_text,
    .number = put_number,
    .signed_number = put_signed,
    .size = put_number,
    .hex = put_hex,
    .boolean = put_boolean,
    .null = put_null,
};

void where_text_begin(struct where_text *where, const struct session *session, struct output *out)
{
    *where = (struct where_text){.report.ops = &where_ops, .session = session, .out = out};
}
