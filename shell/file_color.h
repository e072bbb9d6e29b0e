/* In which colour a file's name is shown: what LS_COLORS says and, where it is silent, what ls does. */
#ifndef DISH_FILE_COLOR_H
#define DISH_FILE_COLOR_H

#include "driver.h"

/* An SGR, or NULL for none; it lives on. missing: a symbolic link that leads nowhere. */
const char *file_color(const char *name, const struct fs_attr *, bool missing);

#endif
