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
/*
 * Targets of symbolic links: a file's target never changes, so a target is good until the file is removed or
 * its id is given to a new one (names_forget_link).
 */
const char *names_find_link(struct volume *, fs_id); /* NULL: not known; valid until the next call */
void names_store_link(struct volume *, fs_id, const char *target);
void names_forget_link(struct volume *, fs_id);
/* When the volume's filesystem is closed. */
void names_free(struct volume *);
void names_report(const struct volume *, struct report *);

#endif
