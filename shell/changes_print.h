/* Printing what changed on disk: `diff`, `trace` and dry runs. */
#ifndef DISH_CHANGES_PRINT_H
#define DISH_CHANGES_PRINT_H

#include "output.h"
#include "session.h"

/* All images; last_command: only what the newest command changed. */
bool changes_print(struct session *, bool last_command, struct output *, struct error *) DISH_CHECKED;

#endif
