/* Arguments that name images and volumes. */
#ifndef DISH_PLACE_ARG_H
#define DISH_PLACE_ARG_H

#include "session.h"

/* "2", "2:", "old:2", "old:2:"; NULL: the current volume, else the lone filesystem, else the only volume. */
bool arg_volume(struct session *, const char *text, struct volume **, struct error *) DISH_CHECKED;

/* "old" or "old:"; NULL: the current image. An image that is only open to be looked at is refused ... */
bool arg_image(struct session *, const char *text, struct image **, struct error *) DISH_CHECKED;
/* ... but not here. */
bool arg_image_to_check(struct session *, const char *text, struct image **, struct error *) DISH_CHECKED;

#endif
