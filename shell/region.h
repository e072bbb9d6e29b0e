/* Bytes at offsets of a file of an image, or of a device (2:, 0:, file:), to be changed in place. */
#ifndef DISH_REGION_H
#define DISH_REGION_H

#include "files.h"

struct region {
    struct file_arg file;  /* of a path */
    struct location place; /* of a device */
    struct device *device; /* NULL: a file */
    char *shown;           /* for messages */
    uint64_t size;         /* of the file or device when it was opened */
};

enum region_use {
    REGION_READ,
    REGION_CHANGE, /* a file must exist */
    REGION_MAKE,   /* a file is made when there is none */
};

/* Does this text name a device? False also when it names nothing. */
bool region_is_device(struct session *, const char *text);
/* Errors name the object; so do those of the functions below. */
bool region_open(struct session *, const char *text, enum region_use, struct region *,
                 struct error *) DISH_CHECKED;
/* Within the size. */
bool region_read(struct region *, uint64_t off, void *buf, size_t n, struct error *) DISH_CHECKED;
/* A file grows; a device has its size. */
bool region_write(struct region *, uint64_t off, const void *buf, size_t n, struct error *) DISH_CHECKED;
/* Zeros that keep (or get) their space. */
bool region_zero(struct region *, uint64_t off, uint64_t n, struct error *) DISH_CHECKED;
/* The space is given back; in a file the bytes read as zeros then,
 * on a device as the layers below have it. */
bool region_discard(struct region *, uint64_t off, uint64_t n, struct error *) DISH_CHECKED;
/* After changes: the file has its new times; all layers above the bytes of a device read themselves again. */
bool region_changed(struct region *, struct error *) DISH_CHECKED;
void region_close(struct region *); /* also after a failure */

#endif
