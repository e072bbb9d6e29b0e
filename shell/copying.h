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

#endif
