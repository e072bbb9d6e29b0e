/*
 * The two sides of a copy, private to the copying: a source is a walk whose files can be read, a target makes
 * files in a current directory. Each is implemented for images (copy_from_image.c, copy_to_image.c) and the
 * host (copy_from_host.c, copy_to_host.c).
 */
#ifndef DISH_COPY_ENDS_H
#define DISH_COPY_ENDS_H

#include "copy.h"
#include "walk.h"

enum { COPY_ALIGNMENT = 4096 };

/* What the source is at. */
struct copy_item {
    enum walk_event event;
    const char *path; /* for messages: as the source calls it */
    const char *name;
    unsigned depth;
    struct fs_attr attr;
    uint64_t space; /* with attr.id: which file it is, for hard links */
    struct error fault;
};

typedef bool copy_xattr_fn(void *arg, const char *name, const void *value, size_t len, struct error *);

struct copy_source;
struct copy_source_ops {
    bool (*next)(struct copy_source *, struct copy_item **, struct error *);
    void (*skip)(struct copy_source *); /* do not enter the directory just returned */
    bool (*readlink)(struct copy_source *, char **target, struct error *);
    bool (*xattrs)(struct copy_source *, copy_xattr_fn *emit, void *arg, struct error *);
    /* The current file's contents, between open and close. */
    bool (*open)(struct copy_source *, struct error *);
    /* The run of data, or hole, that begins at off (off < size). */
    bool (*run)(struct copy_source *, uint64_t off, uint64_t *len, bool *hole, struct error *);
    bool (*read)(struct copy_source *, uint64_t off, void *buf, size_t n, size_t *got, struct error *);
    /* The descriptor of the file that is open. NULL: there is none. */
    int (*fd)(struct copy_source *);
    void (*close)(struct copy_source *);
    void (*free)(struct copy_source *);
};
struct copy_source {
    const struct copy_source_ops *ops;
    const struct fs_driver *driver; /* of an image; NULL: the host */
    bool unique_names;              /* a directory never shows one name twice */
};

struct copy_target;
struct copy_target_ops {
    /* Is there a file of that name in the current directory, and what? Not following links. */
    bool (*stat)(struct copy_target *, const char *name, struct fs_attr *, bool *there, struct error *);
    /* Makes the directory, or uses the one there is, and goes into it. name "": the base itself. */
    bool (*enter)(struct copy_target *, const char *name, const struct fs_attr *, struct error *);
    /* Goes back, having set what enter() could not; dry run: only goes back. */
    bool (*leave)(struct copy_target *, const struct fs_attr *, struct error *);
    /* Sets owner, mode and times of an existing file that is no link. */
    bool (*update)(struct copy_target *, const char *name, const struct fs_attr *, struct error *);
    /* A regular file, made or replaced, until finish or abandon. size is that of the source. */
    bool (*begin)(struct copy_target *, const char *name, const struct fs_attr *, struct error *);
    bool (*write)(struct copy_target *, uint64_t off, const void *buf, size_t n, struct error *);
    /*
     * Continues the file with at most n bytes of a source that has a descriptor, past the program's memory
     * where the kernel can. *done 0: they are to be read and written. NULL: never.
     */
    bool (*take)(struct copy_target *, struct copy_source *, uint64_t off, uint64_t n, uint64_t *done,
                 struct error *);
    /* The file is complete; `size` counts a hole at its end. */
    bool (*finish)(struct copy_target *, const struct fs_attr *, uint64_t size, struct error *);
    void (*abandon)(struct copy_target *);
    /* Anything else, replacing what is there (no directory). link: the text of a symbolic link. */
    bool (*make)(struct copy_target *, const char *name, const struct fs_attr *, const char *link,
                 struct error *);
    /* A second name for the file at `path` below the base. */
    bool (*link)(struct copy_target *, const char *name, const char *path, struct error *);
    /* Of the current directory, or of the file begun or just made; value NULL removes. */
    bool (*xattr)(struct copy_target *, bool of_directory, const char *name, const void *value, size_t len,
                  struct error *);
    /* The attributes of an existing file, or (name "") of the current directory. */
    bool (*xattrs)(struct copy_target *, const char *name, copy_xattr_fn *emit, void *arg, struct error *);
    bool (*list)(struct copy_target *, bool (*emit)(void *arg, const char *name, struct error *), void *arg,
                 struct error *);
    /* A file, or a directory with all that is in it. */
    bool (*remove)(struct copy_target *, const char *name, struct error *);
    void (*free)(struct copy_target *);
};
struct copy_target {
    const struct copy_target_ops *ops;
    const struct fs_driver *driver; /* of an image; NULL: the host */
    const struct fs_limits *limits;
    const char *type; /* for messages: "vfat" */
    const struct copy_options *options;
    struct copy_tally *tally; /* losses found only while doing it */
    bool unique_names;        /* what the source says */
    uint8_t *buffer;          /* the loop's, for take() */
    size_t buffer_size;
    uint32_t asked; /* permissions of a file without a source, as a program asks for them; else 0 */
};

/* ---- losses (copy_loss.c) ---- */

/* Count one thing that cannot be kept. */
void copy_lost(struct copy_tally *, enum copy_loss, const char *path);
/* True when a target of these limits may lose something of a faithful copy. */
bool copy_may_lose(const struct fs_limits *);
/* Counts what the item would lose in an archive copy;
 * has_xattrs is asked of the source only when it matters. */
bool copy_find_losses(const struct fs_limits *, struct copy_source *, const struct copy_item *,
                      struct copy_tally *, struct error *) DISH_CHECKED;
/* The same when it is known whether there are extended attributes. */
void copy_count_losses(const struct fs_limits *, const struct fs_attr *, const char *path, bool has_xattrs,
                       struct copy_tally *);
/* The outcome for an image: E_LOSSY unless losses are allowed; told either way. */
bool copy_judge_losses(const struct copy_tally *, const struct copy_options *, const char *type,
                       struct error *) DISH_CHECKED;
/* Whether files of that type can be held at all; *loss is set when not. */
bool copy_type_fits(const struct fs_limits *, uint32_t mode, enum copy_loss *loss);
/* One note a kind: "3 symbolic links (/a/b ...)", after the words of `intro`. */
void copy_tell_losses(const struct copy_tally *, const struct copy_options *, const char *intro);
uint64_t copy_losses(const struct copy_tally *);

bool copy_image_source(const struct copy_end *, const struct copy_options *, struct copy_source **,
                       struct error *) DISH_CHECKED;
/* The extended attributes of a file in an image. */
bool copy_image_xattrs(struct volume *, fs_id, copy_xattr_fn *emit, void *arg, struct error *) DISH_CHECKED;
bool copy_host_source(const char *path, const struct copy_options *, struct copy_source **,
                      struct error *) DISH_CHECKED;

/*
 * The target for a path: *base_name is what a single source is called there (malloc'd), or NULL when the path
 * is a directory to copy into. several: it must be a directory.
 */
bool copy_image_target(struct volume *, const char *path, bool several, struct copy_target **,
                       char **base_name, struct error *) DISH_CHECKED;
bool copy_host_target(const char *path, bool several, struct copy_target **, char **base_name,
                      struct error *) DISH_CHECKED;

/* ---- how much there is (copy_measure.c) ---- */

/* What a file counts for in the progress of a copy: its data, not its holes. */
uint64_t copy_weight(const struct copy_item *);
/*
 * The weight of everything the sources show, 0 when nobody is told of progress, or it takes longer than a
 * moment to find out. What cannot be looked at counts nothing: the copy itself will say so.
 */
bool copy_measure(const struct session *, const struct copy_end *sources, size_t count,
                  const struct copy_options *, uint64_t *total, struct error *) DISH_CHECKED;
bool copy_source_open(const struct copy_end *, const struct copy_options *, struct copy_source **,
                      struct error *) DISH_CHECKED;
/* What a source is called in the target: its last component, put into buf; "" when its contents are meant. */
const char *copy_end_name(const struct copy_end *, char *buf, size_t size);

/* What both host sides need: attributes as an image has them, and a path for calls that take no directory. */
struct stat;
void copy_attr_of_stat(const struct stat *, struct fs_attr *);
/* The extended attributes of an open file, or (fd -1) of a name, whose link is not followed. */
bool copy_host_xattrs(int fd, int dir_fd, const char *name, copy_xattr_fn *emit, void *arg,
                      struct error *) DISH_CHECKED;
void copy_proc_path(char *buf, size_t size, int dir_fd, const char *name);

#endif
