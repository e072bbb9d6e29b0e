/* key=value options: one table parses, documents and completes them (create -o, mkfs -O, partition init). */
#ifndef DISH_OPTION_H
#define DISH_OPTION_H

#include "error.h"

#include <stddef.h>

enum option_type { OPTION_FLAG, OPTION_NUMBER, OPTION_SIZE, OPTION_WORD, OPTION_TEXT };

/* A table of these ends with name NULL. */
struct option {
    const char *name;
    enum option_type type;
    const char *values; /* OPTION_WORD: the words allowed, separated by '|'; else NULL */
    const char *help;   /* one line */
};

/* Parsed options; owned by whoever called options_parse. Later keys win. */
struct options {
    struct option_value {
        const struct option *option; /* NULL: a bare word that the table does not know (kept for features) */
        char *text;                  /* the value as given; "on" for a bare flag */
        uint64_t number;             /* OPTION_NUMBER, OPTION_SIZE; OPTION_FLAG: 0 or 1 */
    } * values;
    size_t count, capacity;
};

/*
 * Add "a=1,b,^c" to `out` (zero it first). Flags take on|off|true|false|yes|no|1|0; "^name" is off.
 * An unknown key is E_INVALID and names the keys there are; a ",," stands for a comma inside a value.
 */
bool options_parse(struct options *out, const struct option *table, const char *text,
                   struct error *) DISH_CHECKED;
void options_free(struct options *);

bool options_has(const struct options *, const char *name);
/* The value, or what is given as default. */
const char *options_text(const struct options *, const char *name, const char *otherwise);
uint64_t options_number(const struct options *, const char *name, uint64_t otherwise);
bool options_flag(const struct options *, const char *name, bool otherwise);

/* "512", "64K", "1.5G", "10MB", "0x200", "8s" (sectors of 512 bytes):
 * bytes, as the command language has them. */
bool size_parse(const char *text, uint64_t *bytes, struct error *) DISH_CHECKED;

#endif
