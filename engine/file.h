/*
 * Files by id: the driver's operations with everything that is the same for all formats around them: what the
 * format cannot do is refused in words, names are checked, times follow POSIX, and lookups are remembered
 * across the session.
 */
#ifndef DISH_FILE_H
#define DISH_FILE_H

#include "session.h"

/* Fails unless the volume's filesystem may be changed; says why not. */
bool file_writable(struct volume *, struct error *) DISH_CHECKED;
/* The same when a driver's changing operation is called next: all such calls come after this one. */
bool file_begin_change(struct volume *, struct fs **out, struct error *) DISH_CHECKED;

/* The root directory; opens the volume's filesystem when need be. */
bool file_root(struct volume *, fs_id *out, struct error *) DISH_CHECKED;
/* dir is a directory. E_NOENT: "no such file or directory". */
bool file_lookup(struct volume *, fs_id dir, const char *name, fs_id *out, struct error *) DISH_CHECKED;
/* The same with the type (S_IF*), which is remembered too: a path walk asks for nothing else. */
bool file_lookup_type(struct volume *, fs_id dir, const char *name, fs_id *out, uint32_t *type,
                      struct error *) DISH_CHECKED;
bool file_attr(struct volume *, fs_id, struct fs_attr *, struct error *) DISH_CHECKED;
bool file_readdir(struct volume *, fs_id dir, fs_entry_fn *emit, void *arg, struct error *) DISH_CHECKED;
/* What ".." of a directory says. */
bool file_parent(struct volume *, fs_id dir, fs_id *out, struct error *) DISH_CHECKED;
/* *target is malloc'd. */
bool file_readlink(struct volume *, fs_id, char **target, struct error *) DISH_CHECKED;
/* Any range; *got is short only at the end of the file. */
bool file_read(struct volume *, fs_id, uint64_t off, void *buf, size_t n, size_t *got,
               struct error *) DISH_CHECKED;
/* n bytes that lie inside the file's size, which the caller knows. */
bool file_read_inside(struct volume *, fs_id, uint64_t off, void *buf, size_t n, struct error *) DISH_CHECKED;
/* off lies inside the file. */
bool file_map(struct volume *, fs_id, uint64_t off, struct extent *, struct error *) DISH_CHECKED;

enum file_create_flags {
    FILE_ABSENT = 1,     /* the caller looked the name up: the directory does not hold it, in any case */
    FILE_KEEP_TIMES = 2, /* leave the directory's times alone: the caller sets them */
};
bool file_create(struct volume *, fs_id dir, const char *name, const struct fs_attr *, const char *target,
                 fs_id *out, struct error *) DISH_CHECKED;
bool file_create_with(struct volume *, fs_id dir, const char *name, const struct fs_attr *,
                      const char *target, unsigned flags, fs_id *out, struct error *) DISH_CHECKED;
bool file_link(struct volume *, fs_id, fs_id dir, const char *name, struct error *) DISH_CHECKED;
bool file_link_with(struct volume *, fs_id, fs_id dir, const char *name, unsigned flags,
                    struct error *) DISH_CHECKED;
/* A file or an empty directory. */
bool file_remove(struct volume *, fs_id dir, const char *name, struct error *) DISH_CHECKED;
/*
 * As many of a directory's files at once as the format can; others, and directories, stay. path is how errors
 * call the directory.
 */
bool file_remove_files(struct volume *, fs_id dir, const char *path, struct error *) DISH_CHECKED;
/* POSIX rename: replaces a target of the same sort; refuses to move a directory into itself. */
bool file_rename(struct volume *, fs_id from, const char *name, fs_id to, const char *new_name,
                 struct error *) DISH_CHECKED;
/* Sets ctime to now as well unless the mask has it. What the format cannot hold is refused. */
bool file_setattr(struct volume *, fs_id, const struct fs_attr *, unsigned mask, struct error *) DISH_CHECKED;
/* These leave the times alone: file_modified() afterwards. */
bool file_write(struct volume *, fs_id, uint64_t off, const void *buf, size_t n, struct error *) DISH_CHECKED;
/*
 * Makes the file longer by one run of at most n bytes from off, its end, on; the caller writes all of
 * out->len bytes at out->off of out->device, with this class, before anything else. out->len 0: only
 * file_write() can.
 */
bool file_extend(struct volume *, fs_id, uint64_t off, uint64_t n, struct extent *out, enum write_class *,
                 struct error *) DISH_CHECKED;
bool file_truncate(struct volume *, fs_id, uint64_t size, struct error *) DISH_CHECKED;
bool file_allocate(struct volume *, fs_id, uint64_t off, uint64_t len, unsigned mode,
                   struct error *) DISH_CHECKED;
bool file_punch(struct volume *, fs_id, uint64_t off, uint64_t len, struct error *) DISH_CHECKED;
/* The contents changed: mtime and ctime are now. */
bool file_modified(struct volume *, fs_id, struct error *) DISH_CHECKED;
bool file_xattr_list(struct volume *, fs_id, bool (*emit)(const char *, void *), void *arg,
                     struct error *) DISH_CHECKED;
/* *value is malloc'd; E_NOENT when there is none of that name. */
bool file_xattr_get(struct volume *, fs_id, const char *name, void **value, size_t *len,
                    struct error *) DISH_CHECKED;
/* value NULL removes. */
bool file_xattr_set(struct volume *, fs_id, const char *name, const void *value, size_t len,
                    struct error *) DISH_CHECKED;

/* "directory", "symbolic link" ... for messages, from a mode. */
const char *file_type_name(uint32_t mode);

#endif
