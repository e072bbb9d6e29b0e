#include "alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t fail_countdown;
static bool failed;

void mem_fail_at(uint64_t n)
{
    fail_countdown = n;
    failed = false;
}

bool mem_failed(void)
{
    return failed;
}

static bool told_to_fail(void)
{
    bool now = fail_countdown != 0 && --fail_countdown == 0;
    failed = failed || now;
    return now;
}

void *mem_new(size_t n, struct error *err)
{
    void *p = told_to_fail() ? NULL : calloc(1, n ? n : 1);
    if (!p)
        fail(err, E_NOMEM, "out of memory (%zu bytes)", n);
    return p;
}

void *mem_bytes(size_t n, struct error *err)
{
    void *p = told_to_fail() ? NULL : malloc(n ? n : 1);
    if (!p)
        fail(err, E_NOMEM, "out of memory (%zu bytes)", n);
    return p;
}

void *mem_array(size_t count, size_t size, struct error *err)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        fail(err, E_NOMEM, "out of memory (%zu items of %zu bytes)", count, size);
        return NULL;
    }
    return mem_new(bytes, err);
}

bool mem_grow(void *items, size_t *capacity, size_t need, size_t size, struct error *err)
{
    if (need <= *capacity)
        return true;
    size_t want = *capacity < 8 ? 8 : *capacity + *capacity / 2;
    if (want < need)
        want = need;
    size_t bytes;
    if (__builtin_mul_overflow(want, size, &bytes))
        return fail(err, E_NOMEM, "out of memory (%zu items of %zu bytes)", want, size);
    void *old;
    memcpy(&old, items, sizeof old);
    void *grown = told_to_fail() ? NULL : realloc(old, bytes);
    if (!grown)
        return fail(err, E_NOMEM, "out of memory (%zu bytes)", bytes);
    memset((char *)grown + *capacity * size, 0, bytes - *capacity * size);
    memcpy(items, &grown, sizeof grown);
    *capacity = want;
    return true;
}

char *mem_string(const char *text, struct error *err)
{
    return mem_string_n(text, strlen(text), err);
}

char *mem_string_n(const char *text, size_t n, struct error *err)
{
    char *copy = mem_bytes(n + 1, err);
    if (!copy)
        return NULL;
    memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

char *mem_printf(struct error *err, const char *fmt, ...)
{
    char usual[256]; /* most texts fit, and need not be formatted twice */
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(usual, sizeof usual, fmt, args);
    va_end(args);
    char *text = mem_bytes((size_t)n + 1, err);
    if (!text)
        return NULL;
    if ((size_t)n < sizeof usual)
        return memcpy(text, usual, (size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}
