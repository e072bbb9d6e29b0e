/* Paths inside a volume: walking with symbolic links, and globs. Paths are absolute byte strings. */
#ifndef DISH_PATH_H
#define DISH_PATH_H

#include "session.h"

/* Lexically: a path made absolute against cwd, without "." and doubled slashes; ".." is kept for the walk. */
char *path_absolute(const char *cwd, const char *path, struct error *) DISH_CHECKED;
/* The last component and the directory part, as basename and dirname do; both malloc'd. */
bool path_split(const char *path, char **dir, char **name, struct error *) DISH_CHECKED;

/* The file at path. follow: also when the last component is a symbolic link. At most 40 links (E_LOOP). */
bool path_lookup(struct volume *, const char *path, bool follow, fs_id *out, struct error *) DISH_CHECKED;

/* The directory that holds the last component, resolved, and that component's name. */
bool path_parent(struct volume *, const char *path, fs_id *dir, char *name, size_t size,
                 struct error *) DISH_CHECKED;

/* The path without symbolic links, "." and ".."; malloc'd. */
bool path_real(struct volume *, const char *path, char **out, struct error *) DISH_CHECKED;

/*
 * Globs: *, ?, [...] and **. In a pattern a backslash quotes the next byte. path_glob emits every existing
 * path that matches, sorted; an error E_NOENT when there is none.
 */
bool glob_match(const char *pattern, const char *name);
bool glob_has_magic(const char *pattern);
bool path_glob(struct volume *, const char *pattern, bool (*emit)(const char *path, void *arg), void *arg,
               struct error *) DISH_CHECKED;

/* The file at a place that is a path; errors have the object in front. */
bool path_find(const struct location *, bool follow, fs_id *out, struct error *) DISH_CHECKED;

#endif
