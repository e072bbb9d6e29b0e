/* Names of users and groups: those of the image's own /etc/passwd and /etc/group, never the host's. */
#ifndef DISH_OWNER_H
#define DISH_OWNER_H

#include "session.h"

struct owners;

/* Reads the volume's two files when they are first needed. NULL for lack of memory. */
struct owners *owners_new(struct volume *, struct error *) DISH_CHECKED;
void owners_free(struct owners *); /* NULL is fine */

/* The name, or NULL when the number has none. */
const char *owner_user(struct owners *, uint32_t uid);
const char *owner_group(struct owners *, uint32_t gid);

/*
 * "1000", "root", "root:adm", ":50", "root:" (the user's own group): which of the two are given, and their
 * numbers. Names are looked up in the volume.
 */
struct owner_spec {
    bool has_uid, has_gid;
    uint32_t uid, gid;
};
bool owner_parse(struct volume *, const char *text, struct owner_spec *, struct error *) DISH_CHECKED;
/* A group alone. */
bool owner_parse_group(struct volume *, const char *text, uint32_t *gid, struct error *) DISH_CHECKED;

#endif
