/* rm -i: asking before each file. */
#ifndef DISH_RM_ASK_H
#define DISH_RM_ASK_H

#include "files.h"

/*
 * Removes the file that has a name in a directory, or with `recursive` what is in it before; asks for each,
 * and leaves what it is not to remove. told() hears of each that went; NULL: nobody asks.
 */
bool rm_ask(struct call *, const struct file_arg *, fs_id dir, const char *name, bool recursive,
            void (*told)(void *arg, const char *path, bool directory), void *arg,
            struct error *) DISH_CHECKED;

#endif
