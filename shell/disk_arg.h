/* A whole disk as an argument: "NAME:" of an open image, or a host file that is opened for the command. */
#ifndef DISH_DISK_ARG_H
#define DISH_DISK_ARG_H

#include "session.h"

struct disk_arg {
    struct device *disk;
    const struct container_driver *driver;
    struct device *container; /* NULL: the disk is that of a snapshot */
    struct device *owned;     /* to be closed */
};

/* format NULL: probed; snapshot NULL: the current state. */
bool disk_arg_open(struct session *, const char *text, const char *format, const char *snapshot,
                   struct disk_arg *, struct error *) DISH_CHECKED;
void disk_arg_close(struct disk_arg *);

#endif
