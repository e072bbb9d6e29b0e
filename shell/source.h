/* Where command lines come from: a text, a host file, standard input, or the person at the terminal. */
#ifndef DISH_SOURCE_H
#define DISH_SOURCE_H

#include "error.h"

#include <stddef.h>
#include <stdint.h>

struct source {
    const char *name; /* SCRIPT in messages; NULL at the prompt. Owned. */
    unsigned line;    /* number of the line given out last */
    bool crlf;        /* that line ended in CR LF */
    /* Gives one more line without its end; false with err->kind E_OK at the end.
     * `first`: a command begins. */
    bool (*next)(struct source *, bool first, const char **line, size_t *len, struct error *);
    void *arg; /* for a next() from outside */
    /* private to source.c: */
    int fd; /* -1: all of it is in the buffer */
    bool close_fd, seekable;
    char *buffer;
    size_t start, end, capacity;
    bool ended;
};

/* A text in memory (copied). */
bool source_text(struct source *, const char *name, const char *text, size_t len,
                 struct error *) DISH_CHECKED;
/* A host file. One that cannot be rewound (a pipe) is read to its end first, up to a bound. */
bool source_file(struct source *, const char *path, struct error *) DISH_CHECKED;
/*
 * Standard input, named "stdin". What is there already is taken in; a pipe whose writer has finished is then
 * known whole. A writer that waits for answers is not waited for.
 */
bool source_stdin(struct source *, struct error *) DISH_CHECKED;
/* The lines that a host command prints, all of them at once. */
bool source_fd(struct source *, const char *name, int fd, struct error *) DISH_CHECKED;

/* True when the whole text can be read now and again after source_rewind(): its syntax can be checked. */
bool source_rewindable(const struct source *);
bool source_rewind(struct source *, struct error *) DISH_CHECKED;

/* The next() of the sources above, for one that wraps it. */
bool source_next(struct source *, bool first, const char **line, size_t *len, struct error *);

bool source_line(struct source *, bool first, const char **line, size_t *len, struct error *);
void source_close(struct source *);

#endif
