/* Structures by name: "ext.super", "gpt.header backup", "ext.inode /etc/fstab", "2:fat.boot". */
#ifndef DISH_STRUCTURE_H
#define DISH_STRUCTURE_H

#include "session.h"

/*
 * The place that the words name. words[0] is [IMAGE:][VOLUME:]DRIVER[.STRUCTURE]; the rest are the
 * structure's arguments, of which paths are resolved. Without a volume the current one is meant when its
 * filesystem is of that driver, otherwise the only one that is.
 */
bool structure_find(struct session *, char *const *words, int count, struct place *,
                    struct error *) DISH_CHECKED;

/* "ext.super.s_magic" (volume prefix allowed) to the structure's words and the field; both malloc'd. */
bool structure_split_field(const char *text, char **structure, char **field, struct error *) DISH_CHECKED;

/* Every structure name there is ("ext.super"), with its title; for help and completion. */
bool structure_each(const struct drivers *, bool (*emit)(const char *name, const struct layout *, void *),
                    void *arg);

#endif
