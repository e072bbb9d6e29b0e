/*
 * The session owns everything that is open (images, tables, volumes, filesystems) and closes it top down;
 * everyone else borrows. It frames commands: what a command changed becomes one savepoint, or is taken back.
 */
#ifndef DISH_SESSION_H
#define DISH_SESSION_H

#include "driver.h"
#include "signature.h"
#include "stage.h"
#include "table.h"

/* The drivers there are; handed to the engine by main() alone. Each list ends with NULL. */
struct drivers {
    const struct container_driver *const *containers;
    const struct table_driver *const *tables;
    const struct fs_driver *const *filesystems;
    const struct signature *signatures; /* of what no driver opens; NULL: none */
};

struct session_options {
    bool read_only;   /* -r */
    bool force_share; /* -U */
    bool dry_run;     /* -n */
    bool no_backing;
    bool allow_data_file;
    const char *format; /* --format: do not probe the container */
    const char *backing_format;
    bool keep_discarded;  /* struct container_open */
    unsigned threads;     /* struct container_open */
    uint32_t sector_size; /* 0: detect */
    enum durability durability;
    bool drop_caches; /* tests: forget every cache after each command */
    /* A sentence for the person (journal replayed, backup table used ...). */
    void (*warn)(void *arg, const char *text);
    /* Long work: bytes done of total (0: unknown). NULL: nobody looks. */
    void (*progress)(void *arg, const char *what, uint64_t done, uint64_t total);
    void *arg;
};

struct image;

/* Number 0 is the whole virtual disk; others are partitions. */
struct volume {
    struct image *image;
    unsigned number;
    uint64_t start;                    /* bytes from the start of the disk */
    struct device *device;             /* a view of the disk; for number 0 of all of it */
    const struct part *part;           /* NULL for number 0 */
    struct fs *fs;                     /* NULL until volume_fs() opened it */
    bool probed;                       /* fs_driver below is known */
    const struct fs_driver *fs_driver; /* NULL after probing: no filesystem that dish knows */
    const struct signature *foreign;   /* what it holds instead, if that is recognised */
    bool remains;                      /* only remains of it are there (PROBE_REMAINS) */
    char *cwd;                         /* current directory, absolute; NULL: "/" */
    struct name_cache *names;          /* remembered lookups; belongs to names.c */
};

struct image {
    struct session *session;
    struct image *next;
    char *name;          /* given by `open NAME=FILE`, or made from the file's name */
    bool named;          /* a person gave the name: a path without one means another image, if there is one */
    char *path;          /* host path */
    struct device *file; /* the stage */
    /* Stages of further host files that are written with it (external data files);
     * in the order of opening. */
    struct device **companions;
    size_t companion_count, companion_capacity;
    struct device *disk; /* what the container shows: the virtual disk */
    const struct container_driver *container;
    bool format_probed;         /* the format was not named by anybody */
    struct table *table;        /* NULL: none */
    char table_said[480];       /* what the person was told of the table last: each thing is said once */
    struct table *second_table; /* another one on the disk, asked for (the MBR under a GPT), or NULL */
    struct volume **volumes;    /* [0] is the whole disk, then partitions in the order of the table */
    size_t volume_count;
    bool reread;                 /* the running command did what no driver's revert() can take back */
    bool restructured;           /* table or volume geometry changed since the last commit: no fresh writes */
    bool is_new;                 /* created in this session and never committed */
    bool to_check;               /* where it cannot be opened for use, it is opened to be looked at */
    struct error refusal;        /* E_OK: usable; else why it is only open to be looked at */
    struct image_layers *layers; /* private to image.c */
    const struct image *model;   /* an old state: the image that it is of */
    uint64_t generation;         /* an old state: the stage's number for it */
};

/* One command that undo can take back; private to session_undo.c. */
struct undo_record;

struct session {
    struct drivers drivers;
    struct session_options options;
    struct image *images;     /* in the order of opening */
    struct image *image;      /* current, or NULL */
    bool image_chosen;        /* by `use` or `create`: opening others does not change it */
    struct volume *volume;    /* current, or NULL */
    struct undo_record *undo; /* newest first */
    struct undo_record *redo; /* next to redo first */
    uint64_t name_epoch;      /* grows when names may have changed below (undo, reload): caches compare it */
    char broken[480];         /* an undo that could not reload: why; everything but closing is refused */
};

bool session_new(struct session **, const struct drivers *, const struct session_options *,
                 struct error *) DISH_CHECKED;
/* Closes everything without committing. NULL is fine. */
void session_free(struct session *);

/* ---- images ---- */

/* Open a host file. name NULL: made from the path. format NULL: probed. The first image becomes current. */
bool session_open(struct session *, const char *name, const char *path, const char *format, struct image **,
                  struct error *) DISH_CHECKED;
/* The same, but an image that is refused is opened as far as a check needs: image->refusal says why then. */
bool session_open_to_check(struct session *, const char *name, const char *path, const char *format,
                           struct image **, struct error *) DISH_CHECKED;
/* E_REFUSED with what open said, for whatever needs more than a look at the container. */
bool image_usable(const struct image *, struct error *) DISH_CHECKED;
/* After a repair: open an image for use that was only open to be looked at, if that is possible now. */
bool image_retry(struct image *, struct error *) DISH_CHECKED;
/* Create a new image and open it; it appears on the host at its first commit. */
bool session_create(struct session *, const char *name, const char *path, const struct container_driver *,
                    uint64_t size, const struct options *, struct image **, struct error *) DISH_CHECKED;
/* Refused (E_BUSY) while it has uncommitted changes, unless discard. */
bool session_close(struct session *, struct image *, bool discard, struct error *) DISH_CHECKED;
struct image *session_image(const struct session *, const char *name); /* NULL: none of that name */
const struct container_driver *session_container(const struct session *, const char *name);
/* The format of a new image, by the suffix of its name; else the preferred one. */
const struct container_driver *session_container_for(const struct session *, const char *path);
const struct fs_driver *session_filesystem(const struct session *, const char *type);
const struct table_driver *session_table(const struct session *, const char *name);

/*
 * A whole layer read-only outside the session's images (compare, source of convert, backing chains), or a
 * snapshot in it. format NULL: probed; a probed layer follows no backing file. Close it with
 * session_close_disk().
 */
bool session_open_disk(struct session *, const char *path, const char *format, const char *snapshot,
                       struct device **disk, struct error *) DISH_CHECKED;
/*
 * A new image outside the session's images and transaction. It gets its name by session_publish_disk();
 * closed before that it leaves nothing. The container itself is disk->below.
 */
bool session_make_disk(struct session *, const char *path, bool overwrite, const struct container_driver *,
                       uint64_t size, const struct options *, struct device **disk,
                       struct error *) DISH_CHECKED;
/* An image that exists, open for writing outside the session's images: its changes are committed by
 * session_publish_disk(), or are not made. */
bool session_open_target(struct session *, const char *path, const char *format, struct device **disk,
                         struct error *) DISH_CHECKED;
/* The format of such a layer, and the container itself; *container NULL: it shows a snapshot. */
const struct container_driver *session_disk_container(struct device *disk, struct device **container);
bool session_publish_disk(struct device *disk, struct error *) DISH_CHECKED;
void session_close_disk(struct device *disk);

/*
 * Another copy of the disk's partition table, to edit or look at; freed with table_free(). E_NOENT: there is
 * none; E_DAMAGED: there is one that cannot be read.
 */
bool image_load_table(struct image *, struct table **, struct error *) DISH_CHECKED;

/* ---- volumes ---- */

/* By number; E_NOENT lists what there is. */
bool image_volume(struct image *, unsigned number, struct volume **, struct error *) DISH_CHECKED;
/* The one volume that holds a filesystem, when there is exactly one (an EFI system partition does not count
 * beside it); else an error that lists them. */
bool image_lone_volume(struct image *, struct volume **, struct error *) DISH_CHECKED;
/* Look what filesystem it holds (*driver NULL: none). Best score wins; a tie is an error naming both. */
bool volume_probe(struct volume *, const struct fs_driver **driver, struct error *) DISH_CHECKED;
/* What it holds where no driver is there for it, or NULL. */
const struct signature *volume_foreign(struct volume *);
/* Open its filesystem, once. */
bool volume_fs(struct volume *, struct fs **, struct error *) DISH_CHECKED;
/*
 * The same, opened anew by the copy of its header in `block`; without a header to tell the format, by the
 * first format that keeps copies. Until volume_release().
 */
bool volume_fs_copy(struct volume *, uint64_t block, struct fs **, struct error *) DISH_CHECKED;
/* Flush and forget the opened filesystem (before mkfs, resize, raw writes to the device). */
bool volume_release(struct volume *, struct error *) DISH_CHECKED;
/* After the table was stored or the disk changed size: build the volumes anew;
 * those that kept their place stay open. */
bool image_rescan(struct image *, struct error *) DISH_CHECKED;
/* Before writing a volume's device anew (mkfs, raw writes):
 * its old contents are protected until the commit. */
void volume_restructured(struct volume *);

/* ---- commands as transactions ---- */

/* False, with the reason, once an image could not be read again: what it has in memory must not be used. */
bool session_usable(const struct session *, struct error *) DISH_CHECKED;

/* After a command that changed something: flush all layers into the stages and make one savepoint of it. */
bool session_savepoint(struct session *, const char *command, struct error *) DISH_CHECKED;
/* After a command that failed: take its changes back and reload. */
bool session_revert(struct session *, struct error *) DISH_CHECKED;
bool session_commit(struct session *, struct error *) DISH_CHECKED;
bool session_rollback(struct session *, struct error *) DISH_CHECKED;
/* Take back, or bring back, so many commands. E_NOENT: there is nothing to undo (to redo). */
bool session_undo(struct session *, unsigned count, struct error *) DISH_CHECKED;
bool session_redo(struct session *, unsigned count, struct error *) DISH_CHECKED;
bool session_pending(const struct session *);
/* The commands that undo would take back, newest first. */
bool session_each_pending(const struct session *, bool (*emit)(const char *command, void *arg), void *arg);
/* All layers read themselves again; nothing may be dirty
 * (tests, `cache drop`, bytes changed below the layers). */
bool session_drop_caches(struct session *, struct error *) DISH_CHECKED;

/* The whole stack as of the last commit (or, back 1, before the newest command),
 * read-only; for diff and trace. */
bool session_open_old(struct session *, struct image *, bool last_command, struct image **old,
                      struct error *) DISH_CHECKED;
void session_close_old(struct image *old);

void session_warn(const struct session *, const char *fmt, ...) DISH_PRINTF(2, 3);
void session_progress(const struct session *, const char *what, uint64_t done, uint64_t total);

/* ---- places: [IMAGE:][VOLUME:]/PATH, 2:, 0:, file: ---- */

enum location_kind { LOCATION_PATH, LOCATION_VOLUME, LOCATION_FILE };

struct location {
    enum location_kind kind;
    struct image *image;
    struct volume *volume; /* LOCATION_PATH, LOCATION_VOLUME (0: the disk) */
    char *path;            /* LOCATION_PATH: absolute, not resolved; else NULL. Owned. */
};

bool location_parse(struct session *, const char *text, struct location *, struct error *) DISH_CHECKED;
void location_free(struct location *);
/* The device of a LOCATION_VOLUME or LOCATION_FILE. */
struct device *location_device(const struct location *);
/* "2:/etc/motd", with the image's name when more than one is open. */
char *location_text(const struct location *, struct error *) DISH_CHECKED;

#endif
