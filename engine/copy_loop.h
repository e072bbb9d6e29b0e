/*
 * One running copy, private to copy.c (what is copied where) and copy_loop.c (one thing after the other). The
 * path in the target is one buffer, with its length at every depth; the first name of every file with several
 * is remembered, so that the others become links to it.
 */
#ifndef DISH_COPY_LOOP_H
#define DISH_COPY_LOOP_H

#include "copy_ends.h"
#include "first_names.h"

enum {
    COPY_BUFFER = 1 << 20,
    COPY_TAKE = 8 << 20, /* asked of the kernel at once; an interrupt waits as long */
    COPY_TAKE_LEAST = 256 << 10,
};

struct level {
    size_t path_len; /* of the directory at this depth */
    bool created;    /* it was not there before */
    char **seen;     /* names the source has (mirror that removes) */
    size_t seen_count, seen_capacity;
};

struct copy {
    struct session *session;
    const struct copy_options *options;
    struct copy_tally *tally;
    struct copy_source *source;
    struct copy_target *target;
    const char *what;     /* for the progress display */
    uint64_t total;       /* weight of everything to copy (copy_measure.c); 0: not known */
    uint64_t passed;      /* weight of the files that are done */
    const char *top_name; /* what the current source is called in the target */
    bool scanning;        /* only looking for losses */
    bool lacking;         /* the target may lose something */
    unsigned hidden_from; /* dry run: below a directory that would be made; 0: not */
    char *path;           /* in the target */
    size_t path_capacity;
    struct level *levels;
    size_t level_capacity, level_count;
    struct first_names first; /* paths in the target, from its base */
    uint8_t *buffer;          /* grows to what the largest file needs, at most COPY_BUFFER */
    size_t buffer_size;
};

/* Everything the source shows. */
bool copy_items(struct copy *, struct error *) DISH_CHECKED;
/* The attributes that an item gets in the target. */
bool copy_target_attr(const struct copy *, const struct copy_item *, struct fs_attr *,
                      struct error *) DISH_CHECKED;
/* copy_xattrs.c: the extended attributes of the item, for what was just made, begun or entered. */
bool copy_xattrs(struct copy *, const struct copy_item *, struct error *) DISH_CHECKED;
/* Mirror: whether the file of that name in the target (or, "", the directory) has those of the item. */
bool copy_same_xattrs(struct copy *, const struct copy_item *, const char *name, bool *same,
                      struct error *) DISH_CHECKED;
/* Mirror: the target's file, which is the current one, loses what the item does not have. */
bool copy_drop_xattrs(struct copy *, const char *name, bool of_directory, struct error *) DISH_CHECKED;
/* The object failed and the copy goes on (true), unless going on makes no sense. */
bool copy_object_failed(struct copy *, const struct copy_item *, bool in_target, struct error *) DISH_CHECKED;
void copy_level_clear(struct level *);

#endif
