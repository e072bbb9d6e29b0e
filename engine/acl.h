/* POSIX access control lists: between the extended attribute's value, entries, and the text of getfacl. */
#ifndef DISH_ACL_H
#define DISH_ACL_H

#include "file.h"

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

/* The values on disk and in the attribute; entries are ordered by them. */
enum acl_tag {
    ACL_USER_OBJ = 1,
    ACL_USER = 2,
    ACL_GROUP_OBJ = 4,
    ACL_GROUP = 8,
    ACL_MASK = 16,
    ACL_OTHER = 32,
};

struct acl_entry {
    uint16_t tag, perm; /* perm: rwx as 4, 2, 1 */
    uint32_t id;        /* ACL_USER, ACL_GROUP */
};

struct acl {
    struct acl_entry *entries;
    size_t count, capacity;
};

void acl_free(struct acl *);
/* From and to the attribute's value (malloc'd). */
bool acl_parse(const void *value, size_t len, struct acl *, struct error *) DISH_CHECKED;
bool acl_value(const struct acl *, void **value, size_t *len, struct error *) DISH_CHECKED;
/* The file's list of that kind; without one, what its mode says (access) or nothing (default). */
bool acl_read(struct volume *, fs_id, const char *kind, struct acl *, struct error *) DISH_CHECKED;
/* Stores it; the access list also sets the mode, and one that says no more than the mode is not stored. */
bool acl_write(struct volume *, fs_id, const char *kind, const struct acl *, struct error *) DISH_CHECKED;
/* The nine permission bits that an access list stands for. */
uint32_t acl_mode(const struct acl *);
/* After a change of mode: the list's entries for owner, group class and others follow. */
bool acl_follow_mode(struct volume *, fs_id, uint32_t mode, struct error *) DISH_CHECKED;

/*
 * A new file gets the default list of its directory, as the kernel does it: limited to `mode`, which then
 * says no more than the list; a directory also hands the default list on. exact: the list follows the mode
 * instead. Without a default list nothing changes.
 */
bool acl_inherit(struct volume *, fs_id dir, fs_id id, uint32_t mode, bool exact,
                 struct error *) DISH_CHECKED;

/* Sets or adds an entry; removes one (false: there was none). */
bool acl_set(struct acl *, struct acl_entry, struct error *) DISH_CHECKED;
bool acl_remove(struct acl *, uint16_t tag, uint32_t id);
struct acl_entry *acl_find(const struct acl *, uint16_t tag, uint32_t id);
/* Makes the mask the union of what it limits; needed when there are named entries. */
bool acl_compute_mask(struct acl *, struct error *) DISH_CHECKED;
/* Owner, group and others are there once each, and a mask where entries are named. */
bool acl_valid(const struct acl *, struct error *) DISH_CHECKED;

#endif
