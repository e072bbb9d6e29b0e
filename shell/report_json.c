/* Reports as JSON: one document a command, on one line. */
#include "reports.h"

#include <inttypes.h>
#include <string.h>

static void begin_value(struct json_report *json, const char *key)
{
    text_clear(&json->line);
    if (json->comma)
        text_char(&json->line, ',');
    json->comma = true;
    if (key && json->open.len > 0 && json->open.bytes[json->open.len - 1] == '}') {
        text_json(&json->line, key, strlen(key));
        text_char(&json->line, ':');
    }
}

static void end_value(struct json_report *json)
{
    output_write(json->out, text_get(&json->line), json->line.len);
}

static void json_open(struct report *report, const char *key, const char *brackets)
{
    struct json_report *json = (struct json_report *)report;
    begin_value(json, key);
    text_char(&json->line, brackets[0]);
    text_char(&json->open, brackets[1]);
    end_value(json);
    json->comma = false;
}

static void json_open_object(struct report *report, const char *key)
{
    json_open(report, key, "{}");
}

static void json_open_list(struct report *report, const char *key)
{
    json_open(report, key, "[]");
}

static void json_close(struct report *report)
{
    struct json_report *json = (struct json_report *)report;
    if (json->open.len == 0)
        return;
    output_write(json->out, &json->open.bytes[--json->open.len], 1);
    json->comma = true;
}

static void json_text(struct report *report, const char *key, const char *bytes, size_t n)
{
    struct json_report *json = (struct json_report *)report;
    begin_value(json, key);
    text_json(&json->line, bytes, n);
    end_value(json);
}

static void json_number(struct report *report, const char *key, uint64_t value)
{
    struct json_report *json = (struct json_report *)report;
    begin_value(json, key);
    text_printf(&json->line, "%" PRIu64, value);
    end_value(json);
}

static void json_signed(struct report *report, const char *key, int64_t value)
{
    struct json_report *json = (struct json_report *)report;
    begin_value(json, key);
    text_printf(&json->line, "%" PRId64, value);
    end_value(json);
}

static void json_word(struct report *report, const char *key, const char *word)
{
    struct json_report *json = (struct json_report *)report;
    begin_value(json, key);
    text_string(&json->line, word);
    end_value(json);
}

static void json_boolean(struct report *report, const char *key, bool value)
{
    json_word(report, key, value ? "true" : "false");
}

static void json_null(struct report *report, const char *key)
{
    json_word(report, key, "null");
}

static const struct report_ops json_ops = {
    .open_object = json_open_object,
    .open_list = json_open_list,
    .close = json_close,
    .text = json_text,
    .number = json_number,
    .signed_number = json_signed,
    .size = json_number,
    .hex = json_number,
    .boolean = json_boolean,
    .null = json_null,
};

void json_report_begin(struct json_report *json, struct output *out, bool list)
{
    *json = (struct json_report){.report.ops = &json_ops, .out = out};
    json_open(&json->report, NULL, list ? "[]" : "{}");
}

void json_report_end(struct json_report *json)
{
    while (json->open.len > 0)
        json_close(&json->report);
    output_write(json->out, "\n", 1);
    text_free(&json->open);
    text_free(&json->line);
}
