/*
 * A walk through a directory tree of an image, depth first and without recursion. It ends on every image:
 * each directory is entered once, so a directory reached a second time (a loop) is a fault, not a trap.
 *
 *     struct walk_entry *entry;
 *     while ((ok = walk_next(walk, &entry, err)) && entry->event != WALK_END)
 *         ...
 */
#ifndef DISH_WALK_H
#define DISH_WALK_H

#include "file.h"

enum walk_event {
    WALK_END,
    WALK_FILE,  /* anything but a directory */
    WALK_DIR,   /* before what is in it */
    WALK_LEAVE, /* after what is in it */
    WALK_FAULT, /* the entry or directory at `path` cannot be looked at: `fault`; the walk goes on */
};

enum walk_flags {
    WALK_SORTED = 1, /* names in byte order; a directory is then held whole in memory */
    WALK_ATTR = 2,   /* fill attr for every entry; large directories come in the order of the ids then */
};

struct walk_entry {
    enum walk_event event;
    const char *path; /* the start's path with the names below it */
    const char *name; /* the last component inside path */
    unsigned depth;   /* 0: the start */
    fs_id dir;        /* that holds it; 0 for the start */
    fs_id id;
    uint32_t type;       /* S_IF* */
    struct fs_attr attr; /* WALK_ATTR */
    struct error fault;
};

struct walk;

/* path is how the start is called in entries; id is the start itself. */
bool walk_new(struct walk **, struct volume *, const char *path, fs_id id, unsigned flags,
              struct error *) DISH_CHECKED;
/* The entry is valid until the next call. */
bool walk_next(struct walk *, struct walk_entry **, struct error *) DISH_CHECKED;
/* Do not go into the directory just returned as WALK_DIR; it is not left either. */
void walk_skip(struct walk *);
/* The caller has removed the file just returned as WALK_FILE or WALK_LEAVE. */
void walk_removed(struct walk *);
/* Entries that `wanted` refuses are not met at all. Before the first step. */
void walk_filter(struct walk *, fs_entry_fn *wanted, void *arg);
/* WALK_SORTED: nothing comes after the current entry in its directory. */
bool walk_is_last(const struct walk *);
/* True when the walk is in this directory or below it. */
bool walk_is_inside(const struct walk *, fs_id dir);
void walk_free(struct walk *); /* NULL is fine */

/*
 * Removes a file, or a directory with all that is in it. path is how it is called in what removed() is told
 * (after each one; NULL: nobody asks) and in errors.
 */
bool tree_remove(struct volume *, fs_id dir, const char *name, const char *path,
                 void (*removed)(void *arg, const char *path, bool directory), void *arg,
                 struct error *) DISH_CHECKED;

#endif
