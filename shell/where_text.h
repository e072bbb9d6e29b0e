/* The way of a file's bytes as text: one line for each layer passed. */
#ifndef DISH_WHERE_TEXT_H
#define DISH_WHERE_TEXT_H

#include "output.h"
#include "session.h"

/* A report that is printed as it comes; what where_file() and where_device() fill. */
struct where_text {
    struct report report;
    const struct session *session;
    struct output *out;
    unsigned depth;  /* objects and lists open within the layer's one; 0: between layers */
    unsigned column; /* of the line begun */
    bool values;     /* the line holds one already */
    uint64_t first;  /* of the file's bytes in the run */
    uint64_t volume; /* number of the partition; 0: none */
};
void where_text_begin(struct where_text *, const struct session *, struct output *);

#endif
