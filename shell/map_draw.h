/* Drawing how a disk is used, for the terminal and as SVG. */
#ifndef DISH_MAP_DRAW_H
#define DISH_MAP_DRAW_H

#include "output.h"
#include "usage.h"

#include <stdio.h>

void map_draw_text(struct output *, const struct image *, const struct usage *, unsigned width);
/* One SVG picture; page: inside an HTML page with a legend and figures. */
void map_draw_svg(FILE *, const struct image *, const struct usage *, bool page);

#endif
