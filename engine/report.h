/*
 * Structured results. A command, a driver or an engine service fills a report key by key; the shell renders
 * it as aligned text or as one JSON document. Keys are stable, lower case with hyphens; sizes are bytes.
 */
#ifndef DISH_REPORT_H
#define DISH_REPORT_H

#include "error.h"

#include <stddef.h>

struct report;

struct report_ops {
    void (*open_object)(struct report *, const char *key); /* key NULL inside a list */
    void (*open_list)(struct report *, const char *key);
    void (*close)(struct report *); /* the innermost object or list */
    void (*text)(struct report *, const char *key, const char *bytes, size_t n);
    void (*number)(struct report *, const char *key, uint64_t value);
    void (*signed_number)(struct report *, const char *key, int64_t value);
    void (*size)(struct report *, const char *key, uint64_t bytes); /* text shows it for a person, too */
    void (*hex)(struct report *, const char *key, uint64_t value);  /* text in hex, JSON a number */
    void (*boolean)(struct report *, const char *key, bool value);
    void (*null)(struct report *, const char *key);
};

struct report {
    const struct report_ops *ops;
};

void report_open(struct report *, const char *key);
void report_open_list(struct report *, const char *key);
void report_close(struct report *);
void report_text(struct report *, const char *key, const char *text);
void report_bytes(struct report *, const char *key, const char *bytes, size_t n); /* names: any bytes */
void report_format(struct report *, const char *key, const char *fmt, ...) DISH_PRINTF(3, 4);
void report_number(struct report *, const char *key, uint64_t value);
void report_signed(struct report *, const char *key, int64_t value);
void report_size(struct report *, const char *key, uint64_t bytes);
void report_hex(struct report *, const char *key, uint64_t value);
void report_bool(struct report *, const char *key, bool value);
void report_null(struct report *, const char *key);

#endif
