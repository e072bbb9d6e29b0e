/* What put, get, cp, mv and mirror share: the options of a copy, and how its outcome is told. */
#ifndef DISH_COPYING_H
#define DISH_COPYING_H

#include "copy.h"
#include "files.h"

struct copying {
    struct session *session;
    struct call *call;
    struct output *out;
    struct report *list; /* JSON of -v and mirror */
    struct copy_options options;
    struct copy_end *sources;
    struct file_arg *places; /* of the sources in images, as opened */
    int source_count;
    struct file_arg dest;
    struct copy_tally tally;
};

/* Options by their letters; owners are looked up in `volume` (NULL: numbers only). */
bool copying_begin(struct copying *, struct session *, struct call *, struct output *, struct volume *,
                   struct error *) DISH_CHECKED;
/* The arguments from..to as sources in images. */
bool copying_image_sources(struct copying *, int from, int to, struct error *) DISH_CHECKED;
bool copying_host_sources(struct copying *, int from, int to, struct error *) DISH_CHECKED;
/* Copies and tells; the result of the command. */
bool copying_run(struct copying *, const struct copy_end *dest, struct error *) DISH_CHECKED;
void copying_end(struct copying *);
/* Print every file that is made, changed or removed. */
void copying_tell_all(struct copying *);

/* A directory of an image, or of the host. */
struct tree_end {
    struct copy_end end;
    struct file_arg place; /* in an image */
};

/* "host:PATH" is on the host; other words are in an image, unless on_host. */
bool tree_end_open(struct session *, const char *text, bool on_host, struct tree_end *,
                   struct error *) DISH_CHECKED;
void tree_end_close(struct tree_end *);
bool tree_end_is_host(const char *text);                            /* it begins with host: */
bool tree_end_has_volume(const struct session *, const char *text); /* it names an image or a volume */

#endif
