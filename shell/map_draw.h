/* Drawing how a disk is used, for the terminal and as SVG. */
#ifndef DISH_MAP_DRAW_H
#define DISH_MAP_DRAW_H

#include "output.h"
#include "usage.h"

#include <stdio.h>

/* "2: ext4 root", "gap"; in text, which is returned. */
const char *map_part_name(const struct usage_part *, char *text, size_t size);
/* Bytes in use, as far as a filesystem tells; otherwise those that the container stores. */
uint64_t map_part_used(const struct usage_part *);
unsigned map_percent(uint64_t part, uint64_t whole);
/* 0: empty, 4: full; anything between zero and all is never shown as either. */
unsigned map_level(const struct usage_part *, const struct usage_cell *);

void map_draw_text(struct output *, const struct image *, const struct usage *, unsigned width);
/* One SVG picture; page: inside an HTML page with a legend and figures. */
void map_draw_svg(FILE *, const struct image *, const struct usage *, bool page);

#endif
