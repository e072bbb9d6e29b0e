/*
 * Lookups remembered across the session, a fixed amount of memory a volume: (directory, name) to file, and
 * for case-sensitive formats also to "there is none". It is only a speed-up. Everything is forgotten when
 * session->name_epoch moves.
 */
#ifndef DISH_NAMES_H
#define DISH_NAMES_H

#include "session.h"

enum name_answer { NAME_UNKNOWN, NAME_ABSENT, NAME_PRESENT };

/* *type is S_IF*, or 0 when it is not known. */
enum name_answer names_find(struct volume *, fs_id dir, const char *name, fs_id *out, uint32_t *type);
/* id 0: there is no such name. */
void names_store(struct volume *, fs_id dir, const char *name, fs_id id, uint32_t type);
/* The name came, went or changed its meaning. */
void names_forget(struct volume *, fs_id dir, const char *name);
void names_forget_all(struct volume *);
/* When the volume's filesystem is closed. */
void names_free(struct volume *);
void names_report(const struct volume *, struct report *);

#endif
