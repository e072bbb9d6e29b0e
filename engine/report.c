#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void report_open(struct report *r, const char *key)
{
    r->ops->open_object(r, key);
}

void report_open_list(struct report *r, const char *key)
{
    r->ops->open_list(r, key);
}

void report_close(struct report *r)
{
    r->ops->close(r);
}

void report_text(struct report *r, const char *key, const char *text)
{
    r->ops->text(r, key, text, strlen(text));
}

void report_bytes(struct report *r, const char *key, const char *bytes, size_t n)
{
    r->ops->text(r, key, bytes, n);
}

void report_format(struct report *r, const char *key, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    report_text(r, key, text);
}

void report_number(struct report *r, const char *key, uint64_t value)
{
    r->ops->number(r, key, value);
}

void report_signed(struct report *r, const char *key, int64_t value)
{
    r->ops->signed_number(r, key, value);
}

void report_size(struct report *r, const char *key, uint64_t bytes)
{
    r->ops->size(r, key, bytes);
}

void report_hex(struct report *r, const char *key, uint64_t value)
{
    r->ops->hex(r, key, value);
}

void report_bool(struct report *r, const char *key, bool value)
{
    r->ops->boolean(r, key, value);
}

void report_null(struct report *r, const char *key)
{
    r->ops->null(r, key);
}
