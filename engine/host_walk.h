/*
 * A walk through a directory tree of the host, depth first, names in byte order, relative to open
 * directories: no path is walked twice, and the depth of a tree costs no descriptors. Used as walk.h is.
 */
#ifndef DISH_HOST_WALK_H
#define DISH_HOST_WALK_H

#include "walk.h"

#include <sys/stat.h>

enum host_walk_flags {
    HOST_FOLLOW = 1,       /* symbolic links are what they point to, everywhere */
    HOST_FOLLOW_START = 2, /* only the start */
};

struct host_entry {
    enum walk_event event;
    const char *path; /* the start's path with the names below it */
    const char *name; /* the last component inside path */
    unsigned depth;
    int dir_fd;       /* the directory that holds it: openat(dir_fd, base, ...) */
    const char *base; /* its name there: `name`, but for the start the path given */
    int fd;           /* WALK_DIR: the directory itself; else -1 */
    struct stat st;
    bool followed; /* a symbolic link stands in dir_fd */
    struct error fault;
};

struct host_walk;

/* path from the directory dir_fd (AT_FDCWD). */
bool host_walk_new(struct host_walk **, int dir_fd, const char *path, unsigned flags,
                   struct error *) DISH_CHECKED;
bool host_walk_next(struct host_walk *, struct host_entry **, struct error *) DISH_CHECKED;
void host_walk_skip(struct host_walk *);
void host_walk_free(struct host_walk *); /* NULL is fine */

/*
 * Reopens a directory whose descriptor was given up, as ".." of one below it; E_FAILED when it has moved
 * since. Returns the descriptor or -1.
 */
int host_reopen_parent(int child_fd, dev_t dev, ino_t ino, struct error *);

#endif
