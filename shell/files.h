/* What the commands about files share: arguments that name files, and how attributes are written. */
#ifndef DISH_FILES_H
#define DISH_FILES_H

#include "command.h"
#include "file.h"

/* An argument that names a file of a volume. */
struct file_arg {
    const char *typed;
    struct location location; /* a volume alone ("2:") means its root */
    struct volume *volume;
    const char *path; /* absolute, not resolved */
    char *shown;      /* "2:/etc/motd" for messages */
    fs_id id;         /* after file_arg_open() */
    struct fs_attr attr;
    bool told; /* set by a callback whose error names the object already */
};

/* The place alone; nothing is looked up. Errors have the object in front. */
bool file_arg_parse(struct session *, const char *text, struct file_arg *, struct error *) DISH_CHECKED;
/* The file; follow: also when it is a symbolic link. */
bool file_arg_open(struct session *, const char *text, bool follow, struct file_arg *,
                   struct error *) DISH_CHECKED;
/* The attributes of a file that an option names; a link is followed. */
bool file_arg_attr(struct session *, const char *text, struct fs_attr *, struct error *) DISH_CHECKED;
/* Makes an empty regular file where the argument points; id is set. */
bool file_arg_create(struct file_arg *, struct error *) DISH_CHECKED;
void file_arg_close(struct file_arg *); /* also after a failure */

/* The attributes of something that is made now, by root. */
struct fs_attr fresh_attr(uint32_t mode);

/* True for errors after which a command over many objects had better stop. */
bool stops_everything(enum error_kind);

/*
 * Runs fn for every argument's file. A failure is reported with its object and the next one is tried, but for
 * errors that stop everything. Arguments up to `from` are left out.
 */
bool each_file(struct session *, struct call *, int from, bool follow,
               bool (*fn)(struct file_arg *, void *arg, struct error *), void *arg,
               struct error *) DISH_CHECKED;
/* The same for places that need not exist. */
bool each_place(struct session *, struct call *, int from,
                bool (*fn)(struct file_arg *, void *arg, struct error *), void *arg,
                struct error *) DISH_CHECKED;

/* "2024-05-06T07:08:09.123456789Z"; without the nanoseconds when they are zero. */
void time_iso(struct fs_time, char out[48]);
/* strftime in the local zone; years that no calendar has give seconds since 1970. */
void time_format(struct fs_time, const char *format, char *out, size_t size);

/*
 * "@1700000000.5", "now", "2024-05-06", "2024-05-06 07:08:09.5", and with T, Z or +HH:MM as ISO 8601 has
 * them; without a zone it is local time.
 */
bool time_parse(const char *text, struct fs_time *, struct error *) DISH_CHECKED;

/* The keys of one file in JSON and text reports; name and target may be NULL. */
void report_file(struct report *, const char *name, const struct fs_attr *, const char *target);

/* A number of bytes from a whole option value, with the unit suffixes of sizes. */
bool option_size(const struct call *, const char *name, uint64_t otherwise, uint64_t *out,
                 struct error *) DISH_CHECKED;

#endif
