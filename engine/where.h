/* Bytes through every layer: from a file down to the host, and from any byte up to its owner. */
#ifndef DISH_WHERE_H
#define DISH_WHERE_H

#include "session.h"

/*
 * The way of a file's bytes: one entry of the list "extents" for each run that is contiguous down to the host
 * file, with an object for each layer passed.
 */
bool where_file(struct volume *, fs_id, struct report *, struct error *) DISH_CHECKED;

/* The same for the byte at `off` of a device (a volume, the disk, a file), one run. */
bool where_device(struct device *, uint64_t off, struct report *, struct error *) DISH_CHECKED;

/* One layer's answer to "whose byte is this". */
struct what_step {
    const char *layer;     /* "qcow2", "gpt", "ext4" ... */
    struct device *device; /* that off belongs to */
    uint64_t off;
    struct owner owner;
    struct volume *volume; /* filesystems: of this volume */
    char *path; /* of the file that owns it, when known; malloc'd, freed by the caller of what_at */
};

/*
 * Emits who owns the byte at `off` of the place, layer by layer upwards (from the host file to a file's
 * name). The place is a device location.
 */
typedef bool what_fn(const struct what_step *, void *arg, struct error *);
bool what_at(const struct location *, uint64_t off, what_fn *emit, void *arg, struct error *) DISH_CHECKED;

/* The owner of a volume's byte; files are searched for when the driver does not know. *path may be NULL. */
bool what_in_volume(struct volume *, uint64_t off, struct owner *, char **path, struct error *) DISH_CHECKED;

/* The path of a file by its id, searching the tree; E_NOENT when no name leads to it. */
bool path_of_file(struct volume *, fs_id, char **path, struct error *) DISH_CHECKED;

#endif
