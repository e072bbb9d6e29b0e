/*
 * Copying trees between the host and images, and between images: one loop over two sources and two targets
 * (copy_ends.h). What a target cannot hold is found, counted and named here, once for all pairs.
 */
#ifndef DISH_COPY_H
#define DISH_COPY_H

#include "file.h"

/* One side of a copy: a host path, or an absolute path on a volume. */
struct copy_end {
    const char *host; /* NULL: in an image */
    struct volume *volume;
    const char *path;
    const char *shown; /* how messages call a path on a volume: "2:/etc"; it ends in path */
    bool contents;     /* "dir/.": what is in the directory, not the directory itself */
};

enum copy_loss {
    LOSS_OWNER,
    LOSS_MODE,
    LOSS_TIME,
    LOSS_SYMLINK,
    LOSS_HARD_LINK,
    LOSS_DEVICE,
    LOSS_FIFO,
    LOSS_XATTR,
    LOSS_NAME,
    LOSS_HOLE,
    LOSS_KINDS,
};

enum copy_action { COPY_CREATED, COPY_CHANGED, COPY_REMOVED };

struct copy_options {
    bool recursive;    /* directories with what is in them */
    bool archive;      /* owners, modes, times, links, devices, extended attributes, holes; also recursive */
    bool preserve;     /* owners, modes and times */
    bool update;       /* leave files alone that are not older than the source */
    bool follow;       /* symbolic links are what they point to */
    bool lossy;        /* go on without what the target cannot hold */
    bool no_clobber;   /* leave existing files alone */
    bool to_directory; /* the target must be a directory */
    bool mirror;       /* contents of the source into the target; equal files (size, mtime) stay untouched */
    bool remove_extra; /* mirror: and remove what the source does not have */
    bool dry_run;      /* mirror: only say what would be done */
    bool sorted;       /* meet names in byte order */
    bool set_uid, set_gid;
    uint32_t uid, gid;
    const char *mode; /* for everything made, octal or symbolic; NULL: that of the source */
    /* One object failed; the copy goes on and fails at its end. */
    void (*complain)(void *arg, const char *object, const struct error *);
    /* A sentence for the person. */
    void (*note)(void *arg, const char *text);
    /* One file is done (mirror, verbose copies); NULL: nobody asks. */
    void (*did)(void *arg, enum copy_action, const char *path);
    void *arg;
};

/* Owners, modes and times are those of the source. */
static inline bool copy_keeps(const struct copy_options *options)
{
    return options->archive || options->preserve;
}

struct copy_tally {
    uint64_t files, directories, others, bytes, failed;
    uint64_t lost[LOSS_KINDS];
    char examples[LOSS_KINDS][120]; /* the first of each kind */
};

/*
 * Copies the sources to dest as cp does: into it when it is a directory, else (one source) under that name.
 * E_LOSSY: the target cannot keep everything and !lossy; nothing was copied, the notes say what.
 * True with tally->failed: some objects failed, each was complained about.
 */
bool copy_run(struct session *, const struct copy_end *sources, size_t count, const struct copy_end *dest,
              const struct copy_options *, struct copy_tally *, struct error *) DISH_CHECKED;

/* Writes what read() delivers (*got 0: end) to a file of a volume, made or replaced as cp does. */
bool copy_stream(const struct copy_end *dest, const struct copy_options *,
                 bool (*read)(void *arg, void *buf, size_t n, size_t *got, struct error *), void *arg,
                 uint64_t *bytes, struct error *) DISH_CHECKED;

#endif
