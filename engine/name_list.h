/* Names gathered from an emitter, to be used when it is done: what it walks may be changed only then. */
#ifndef DISH_NAME_LIST_H
#define DISH_NAME_LIST_H

#include "error.h"

#include <stddef.h>

/* Begun as {.err = err, .ok = true}; ok is false, with *err set, once a name could not be kept. */
struct name_list {
    char **names;
    size_t count, capacity;
    struct error *err;
    bool ok;
};

/* An emitter's callback; arg is the list. */
bool name_list_add(const char *name, void *arg);
void name_list_free(struct name_list *);

#endif
