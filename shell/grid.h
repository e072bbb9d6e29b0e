/*
 * A list of like things: an aligned table for a person, a list of objects in JSON. The cells of a row are
 * given in the order of the columns.
 */
#ifndef DISH_GRID_H
#define DISH_GRID_H

#include "output.h"

struct column {
    const char *key;   /* in JSON */
    const char *title; /* in the table; NULL: only in JSON */
    bool right;        /* align to the right */
};

struct grid;

/* columns end with key NULL and are borrowed. NULL with err on lack of memory. */
struct grid *grid_new(struct output *, const struct column *columns, struct error *err) DISH_CHECKED;

void grid_text(struct grid *, const char *text); /* NULL: nothing ("null" in JSON) */
void grid_number(struct grid *, uint64_t value);
void grid_size(struct grid *, uint64_t bytes, bool human); /* JSON: bytes */
void grid_percent(struct grid *, uint64_t part, uint64_t whole);
void grid_bool(struct grid *, bool value);

/* Prints the table (or closes the JSON list) and frees the grid. */
bool grid_end(struct grid *, struct error *err) DISH_CHECKED;

/* "1.5G" as ls -h and df -h write it: rounded up, powers of 1024. */
void human_size(uint64_t bytes, char out[32]);

#endif
