/*
 * The tables by which the engine reaches the formats. A driver takes ids, never paths: path walk, symbolic
 * links, globs and copying are written once in the engine. A NULL operation means that the format cannot do
 * it, and the engine says so in its words. Everything a driver reads is hostile until checked.
 */
#ifndef DISH_DRIVER_H
#define DISH_DRIVER_H

#include "device.h"
#include "layout.h"
#include "option.h"
#include "report.h"

/* ---- all drivers ------------------------------------------------------------------------------------- */

enum driver_type { DRIVER_CONTAINER, DRIVER_TABLE, DRIVER_FILESYSTEM };

/* Who owns a byte of the driver's device. */
enum owner_kind {
    OWNER_UNKNOWN,
    OWNER_FREE,      /* allocated to nobody */
    OWNER_STRUCTURE, /* metadata; `place` says which structure when layout is not NULL */
    OWNER_DATA,      /* contents: of file `file` at file_off, or (containers) guest bytes at guest_off */
    OWNER_SLACK,     /* after the end of file `file` in its last block */
    OWNER_RESERVED,  /* gaps, boot code, padding */
};
struct owner {
    enum owner_kind kind;
    uint64_t len; /* the run that shares this answer, from the offset asked on; at least 1 */
    struct place place;
    uint64_t file;     /* fs_id; 0 when the driver would have to search: the engine does */
    uint64_t file_off; /* bytes in the file or the guest */
    char text[160];    /* for a person: "block bitmap of group 3" */
};
/* Kind, length (at least 1) and text. */
void owner_set(struct owner *, enum owner_kind, uint64_t len, const char *text);

/*
 * The score of a format of which only remains are found: it is the last to be asked, it is not in the way of
 * a new filesystem, and only the check of this very volume repairs it.
 */
enum { PROBE_REMAINS = 1 };

/* A named, one-line answer list for Tab and `show`: what may follow "ext." with its arguments. */
struct driver {
    const char *name;  /* "qcow2", "gpt", "ext", "fat": the prefix in `show` */
    const char *title; /* "QEMU copy on write, version 2 and 3" */
    const char *spec;  /* name of the specification */
    enum driver_type type;
    /*
     * Bits of evidence that the device holds this format (0: none). Reads little. A damaged header that is
     * clearly meant to be this format scores too; open() then says what is wrong. PROBE_REMAINS: the header
     * is gone, but copies of it are there.
     */
    unsigned (*probe)(struct device *);
    const struct option *make_options;   /* create -o, partition init, mkfs -O; NULL: none */
    const struct layout *const *layouts; /* ends with NULL; what `show NAME.` offers */
    /*
     * The place of "NAME.structure args" in an opened instance (struct device * of a container, struct table
     * *, struct fs *). args may be empty; paths arrive resolved as "#ID" with the fs_id in decimal.
     */
    bool (*locate)(void *opened, const char *structure, const char *args, struct place *, struct error *);
    /* Whose byte `off` of the device below (container),
     * the disk (table) or the volume (fs) is. NULL: unknown. */
    bool (*owner)(void *opened, uint64_t off, struct owner *, struct error *);
};

/* ---- check, repair ------------------------------------------------------------------------------------- */

enum finding_kind { FINDING_NOTE, FINDING_LEAK, FINDING_DAMAGE, FINDING_ERROR /* could not be checked */ };

struct finding {
    enum finding_kind kind;
    const char *code;            /* stable word: "refcount-too-low", "lost-chain" */
    const struct device *device; /* with off: the place; NULL: none */
    uint64_t off;
    bool fixed;
    char text[320];
};

enum repair { REPAIR_NONE, REPAIR_LEAKS, REPAIR_ALL };

/* What a repair of all makes of clusters that belong to no file; a repair of leaks alone frees them. */
enum lost { LOST_DEFAULT /* as the format's own checker does */, LOST_FREE, LOST_SAVE };

struct check {
    enum repair repair;
    enum lost lost; /* LOST_DEFAULT unless the driver says keeps_lost */
    bool data;      /* also verify contents (inflate compressed clusters, file checksums) */
    /* Returns false to stop the check. */
    bool (*found)(struct check *, const struct finding *);
    void *arg;
    uint64_t damage, leaks, errors, damage_fixed, leaks_fixed; /* kept by check_found() */
    struct report *summary; /* when not NULL the driver adds its totals (clusters, files ...) */
};

/* Count and pass on one finding; drivers call only this. False: stop (the caller returns true early). */
bool check_found(struct check *, enum finding_kind, const char *code, const struct device *, uint64_t off,
                 bool fixed, const char *fmt, ...) DISH_PRINTF(7, 8);

/* ---- containers ---------------------------------------------------------------------------------------- */

struct container_open {
    bool read_only;
    bool no_backing;      /* --no-backing */
    bool allow_data_file; /* --allow-data-file */
    /* Open as much as `check` and `info` need, whatever is wrong with the rest: no guest I/O then, and
     * neither backing nor data file. */
    bool check_only;
    const char *backing_format; /* user-given format of the backing file, or NULL */
    const bool *keep_discarded; /* discarded clusters keep their place in the file (lives as long); or NULL */
    unsigned threads;           /* that compress; 0: as many as there are processors */
    const char *path;           /* host path of the image: relative names start beside it */
    /* Opens another host file of the chain read-only (with locks); the container closes it. */
    bool (*open_file)(const struct container_open *, const char *path, bool writable, struct device **out,
                      struct error *);
    /* Opens a whole layer (file, format probed unless given): for backing files. */
    bool (*open_layer)(const struct container_open *, const char *path, const char *format,
                       struct device **out, struct error *);
    void (*warn)(const struct container_open *, const char *fmt, ...) DISH_PRINTF(2, 3);
    unsigned depth; /* of the backing chain; the engine finds loops by (device, inode) */
    void *arg;
};

struct snapshot_info {
    char id[64], name[256];
    uint64_t vm_state_size, date_sec, date_nsec, vm_clock_nsec, disk_size;
    int64_t icount; /* -1: none */
};

struct bitmap_info {
    char name[1024];
    uint64_t granularity;
    bool enabled, in_use, inconsistent;
    uint64_t dirty_bytes;
};

/* What a new image would take, for given contents; filled by whoever asks down to the blank line. */
struct measure {
    uint64_t size;            /* bytes of the guest disk */
    struct device *source;    /* its contents; NULL: nothing is written yet */
    const uint64_t *bitmaps;  /* NULL, or the granularities in bytes of the bitmaps to be copied */
    const size_t *name_bytes; /* and the lengths of their names */
    size_t bitmap_count;

    uint64_t required, fully_allocated; /* bytes of the file: for these contents, and when all is written */
    uint64_t bitmap_bytes;              /* what the bitmaps take besides */
    bool has_bitmaps;                   /* the format could hold bitmaps */
};

struct container_driver {
    struct driver head;
    const char *suffixes; /* of file names, by which a new image gets this format: "img|raw"; NULL: none */
    bool preferred;       /* the format of new images whose name says nothing */
    bool (*open)(struct device *below, const struct container_open *, struct device **out, struct error *);
    /* Write an empty image of `size` guest bytes into the empty device below. */
    bool (*create)(struct device *below, uint64_t size, const struct options *, const struct container_open *,
                   struct error *);
    /* Keys of `info` that are this format's own; verbose adds tables,
     * counts, fragmentation (`qcow2-info -v`). */
    bool (*info)(struct device *, bool verbose, struct report *, struct error *);
    /* How long the file of an image made with these options will be. */
    bool (*measure)(const struct options *, struct measure *, struct error *);
    bool (*check)(struct device *, struct check *, struct error *);
    bool (*snapshots)(struct device *, bool (*emit)(const struct snapshot_info *, void *), void *arg,
                      struct error *);
    bool (*snapshot_create)(struct device *, const char *name, struct error *);
    bool (*snapshot_apply)(struct device *, const char *id_or_name, struct error *);
    bool (*snapshot_delete)(struct device *, const char *id_or_name, struct error *);
    /* A read-only device with the guest contents of a snapshot. */
    bool (*snapshot_open)(struct device *, const char *id_or_name, struct device **out, struct error *);
    bool (*bitmaps)(struct device *, bool (*emit)(const struct bitmap_info *, void *), void *arg,
                    struct error *);
    bool (*bitmap_add)(struct device *, const char *name, uint64_t granularity, bool disabled,
                       struct error *);
    bool (*bitmap_remove)(struct device *, const char *name, struct error *);
    bool (*bitmap_enable)(struct device *, const char *name, bool enabled, struct error *);
    bool (*bitmap_clear)(struct device *, const char *name, struct error *);
    bool (*bitmap_merge)(struct device *, const char *into, const char *from, struct error *);
    /* Change the reference only; backing NULL or "": none. `open`: the new one, too, must be there then. */
    bool (*set_backing)(struct device *, const char *backing, const char *format, bool open, struct error *);
    struct device *(*backing)(struct device *); /* the opened backing layer or NULL */
    /* What the image's own header is refused for, when it was opened with check_only; NULL: nothing. */
    const char *(*refused)(struct device *);
    /* Hold nothing any more: everything shows through from the backing file. */
    bool (*make_empty)(struct device *, struct error *);
    bool (*amend)(struct device *, const struct options *, struct error *);
    /* The unit in which guest bytes are given a place: a cluster. NULL: single bytes. */
    uint64_t (*unit)(struct device *);
    /* Write whole clusters compressed, best many at once; false with E_UNSUPPORTED where it cannot. */
    bool (*write_compressed)(struct device *, uint64_t off, const void *buf, size_t n, struct error *);
    /* Give back what holds only zeros or nothing; adds the bytes freed to *freed. `move`: what lies behind
     * the gaps moves into them, and the file becomes shorter. */
    bool (*compact)(struct device *, bool move, uint64_t *freed, struct error *);
};

/* ---- partition tables: engine/table.h
 * ------------------------------------------------------------------------ */

struct table_driver;

/* ---- filesystems
 * ------------------------------------------------------------------------------------------------- */

typedef uint64_t fs_id; /* inode number, or whatever addresses one file in this format; never 0 */

struct fs_time {
    int64_t sec; /* since 1970 UTC */
    uint32_t nsec;
};

struct fs_attr {
    fs_id id;
    uint32_t mode;            /* S_IF* type and permission bits, as in <sys/stat.h> */
    uint64_t size, allocated; /* bytes; on create() size is a hint of the expected final size */
    uint64_t nlink;
    uint32_t uid, gid, project;
    struct fs_time atime, mtime, ctime, crtime;
    bool has_crtime;
    uint32_t rdev_major, rdev_minor;
    uint32_t flags; /* FS_FLAG_* below */
    uint32_t generation;
    /* From getattr(): there are certainly no extended attributes. False: xattr_list() knows. */
    bool no_xattrs;
};

/* Which members setattr() takes. */
enum fs_attr_mask {
    ATTR_MODE = 1,
    ATTR_UID = 2,
    ATTR_GID = 4,
    ATTR_ATIME = 8,
    ATTR_MTIME = 16,
    ATTR_CTIME = 32,
    ATTR_CRTIME = 64,
    ATTR_FLAGS = 128,
    ATTR_PROJECT = 256,
    ATTR_CHOSEN_TIMES = 512, /* no member: the times are not just those of the moment, both of them */
};

/* Per-file flags that commands know; a driver maps them to its own bits.
 * The letters are those of lsattr, or DOS. */
enum fs_flag {
    FS_FLAG_SECRM = 1 << 0,
    FS_FLAG_UNRM = 1 << 1,
    FS_FLAG_COMPR = 1 << 2,
    FS_FLAG_SYNC = 1 << 3,
    FS_FLAG_IMMUTABLE = 1 << 4,
    FS_FLAG_APPEND = 1 << 5,
    FS_FLAG_NODUMP = 1 << 6,
    FS_FLAG_NOATIME = 1 << 7,
    FS_FLAG_INDEX = 1 << 8,
    FS_FLAG_JOURNAL_DATA = 1 << 9,
    FS_FLAG_NOTAIL = 1 << 10,
    FS_FLAG_DIRSYNC = 1 << 11,
    FS_FLAG_TOPDIR = 1 << 12,
    FS_FLAG_EXTENTS = 1 << 13,
    FS_FLAG_VERITY = 1 << 14,
    FS_FLAG_INLINE_DATA = 1 << 15,
    FS_FLAG_PROJINHERIT = 1 << 16,
    FS_FLAG_CASEFOLD = 1 << 17,
    FS_FLAG_ENCRYPTED = 1 << 18,
    FS_FLAG_NOCOW = 1 << 19,
    FS_FLAG_DOS_READONLY = 1 << 24,
    FS_FLAG_DOS_HIDDEN = 1 << 25,
    FS_FLAG_DOS_SYSTEM = 1 << 26,
    FS_FLAG_DOS_ARCHIVE = 1 << 27,
    FS_FLAG_EA_INODE = 1 << 28,
};

struct fs_entry {
    const char *name; /* NUL-terminated; may hold any byte but NUL and '/' */
    fs_id id;
    uint32_t type;              /* S_IF* or 0 when only the inode knows */
    bool deleted;               /* from deleted(): an entry that is no longer there */
    const char *fault;          /* the entry or its inode is damaged: why; NULL: sound. id may be 0 then */
    const struct fs_attr *last; /* from deleted(): what the entry itself still says; NULL: getattr() knows */
};
/* Return false to stop; readdir then returns true. The callback must not change the directory. */
typedef bool fs_entry_fn(const struct fs_entry *, void *arg);

struct fs_stat {
    uint64_t block_size, blocks, free_blocks, available_blocks; /* available: free less reserved */
    uint64_t inodes, free_inodes;                               /* 0: the format has none */
};

/* What a format can hold; copying compares source and target by this. */
struct fs_limits {
    uint64_t max_file_size;
    uint32_t max_name; /* in name_unit: bytes or UTF-16 units */
    bool name_utf16;   /* names are UTF-16: only valid UTF-8 can be held */
    bool case_insensitive;
    bool owners, modes, hard_links, symlinks, devices, fifos, xattrs, sparse;
    uint32_t time_ns;           /* resolution of mtime in nanoseconds; 1000000000: seconds */
    int64_t time_min, time_max; /* seconds since 1970 */
    bool local_times;           /* times have no zone */
};

enum fs_change { FS_IN_PLACE, FS_WHOLE_FILES, FS_NEVER };

struct fs_driver;
struct fs {
    const struct fs_driver *driver;
    struct device *device; /* borrowed */
    const char *type;      /* as `mkfs` names it: "ext4", "fat32", "exfat" */
    fs_id root;
    const struct fs_limits *limits;
    enum fs_change change;
    bool wants_journal; /* an external journal is to be replayed: offer_journal() what is there */
    bool mendable;      /* check() with REPAIR_ALL takes away why it cannot be changed */
    bool changing;      /* the engine's: a change was begun since the last savepoint */
    char why[160];      /* why change is not FS_IN_PLACE: "unknown read-only-compatible feature 0x2000" */
    char note[200];     /* to be said once after open: "journal replayed in memory"; empty: nothing */
    char label[128];    /* UTF-8 */
    char uuid[40];      /* text form, or "XXXX-XXXX" */
};

struct mkfs_params {
    const char *type;  /* the word given: "ext4", "vfat", "fat16" ... */
    const char *label; /* NULL: none */
    const char *uuid;  /* NULL: random; FAT: 8 hex digits */
    const struct options *options;
    uint64_t start; /* bytes from the start of the disk to the volume (hidden sectors, alignment) */
    struct fs_time now;
    void (*random)(void *buf, size_t n); /* session randomness: fixed in tests */
};

enum { FS_NAME_SHOWN = 1024 };
enum fs_allocate_mode { FS_ALLOCATE_KEEP_SIZE = 1 };

struct fs_driver {
    struct driver head;
    const char *const
        *types; /* words of `mkfs TYPE` served by this driver, ends with NULL; e.g. ext2 ext3 ext4 */
    bool (*mkfs)(struct device *, const struct mkfs_params *, struct error *);
    /* Opens; never writes unless the first change comes. Sets fs->note, change, why. */
    bool (*open)(struct device *, bool read_only, struct fs **, struct error *);
    /* The same by the copy of its header in that block of the volume, whatever the header says;
     * NULL: there are no copies. */
    bool (*open_copy)(struct device *, bool read_only, uint64_t block, struct fs **, struct error *);
    /*
     * After open() or reload() that set fs->wants_journal: is this device the journal? *taken: it was, and
     * has been read; it is not needed any more. Changes fs->why and fs->note. NULL: the format has no
     * external journals.
     */
    bool (*offer_journal)(struct fs *, struct device *, bool *taken, struct error *);
    bool (*statfs)(struct fs *, struct fs_stat *, struct error *);
    bool (*lookup)(struct fs *, fs_id dir, const char *name, fs_id *out, struct error *); /* E_NOENT */
    bool (*getattr)(struct fs *, fs_id, struct fs_attr *, struct error *);
    bool (*readdir)(struct fs *, fs_id dir, fs_entry_fn *emit, void *arg,
                    struct error *);                                    /* without . and .. */
    bool (*parent)(struct fs *, fs_id dir, fs_id *out, struct error *); /* what .. says */
    /* NUL-terminated target into buf; E_TOOBIG when it does not fit. */
    bool (*readlink)(struct fs *, fs_id, char *buf, size_t size, struct error *);
    /* Where the file's bytes lie in fs->device;
     * a hole past the last block up to the file's size. off < size. */
    bool (*map)(struct fs *, fs_id, uint64_t off, struct extent *, struct error *);
    /* n bytes within the size. NULL: the engine reads through map. */
    bool (*read)(struct fs *, fs_id, uint64_t off, void *buf, size_t n, struct error *);
    /* Full names ("user.x"). Values are as Linux programs see them; ACLs ("system.posix_acl_access") in their
     * user form, version 2: the driver translates from and to its own. */
    bool (*xattr_list)(struct fs *, fs_id, bool (*emit)(const char *name, void *arg), void *arg,
                       struct error *);
    /* *value is malloc'd; E_NOENT when there is none of that name. */
    bool (*xattr_get)(struct fs *, fs_id, const char *name, void **value, size_t *len, struct error *);
    /* For `where`: how the file is found (inode, table block, extent path) and the entry for off. */
    bool (*describe)(struct fs *, fs_id, uint64_t off, struct report *, struct error *);
    /* The entry at off, which is known to lie in a directory.
     * NULL: `owner` answers for directories itself. */
    bool (*dir_owner)(struct fs *, uint64_t off, struct owner *, struct error *);
    /* Deleted entries of a directory (dir not 0), or all deleted inodes that can be seen (dir 0). */
    bool (*deleted)(struct fs *, fs_id dir, fs_entry_fn *emit, void *arg, struct error *);
    bool (*undelete)(struct fs *, fs_id, fs_id dir, const char *name, struct error *);
    /* Free space: emits every free run in bytes, rising. For freefrag, compact, map. */
    bool (*free_runs)(struct fs *, bool (*emit)(uint64_t off, uint64_t len, void *arg), void *arg,
                      struct error *);
    bool (*info)(struct fs *, bool verbose, struct report *, struct error *);
    bool (*check)(struct fs *, struct check *, struct error *);
    bool keeps_lost; /* check() can free lost clusters as well as save them as files */

    /*
     * Changes. The engine has checked: writable, names valid for POSIX, target absent or removed, types fit.
     * They touch no times of their own: after them the engine sets those of the directory and of the file
     * with setattr(). What setattr() is given and the format has no place for is left out silently.
     */
    /* attr gives type, mode, owner, times, rdev, size hint; target is the text of a symbolic link or NULL. */
    bool (*create)(struct fs *, fs_id dir, const char *name, const struct fs_attr *, const char *target,
                   fs_id *out, struct error *);
    bool (*link)(struct fs *, fs_id, fs_id dir, const char *name, struct error *);
    bool (*remove)(struct fs *, fs_id dir, const char *name,
                   struct error *); /* file or empty directory (E_NOTEMPTY) */
    /*
     * Removes what a directory holds at once, but not directories and what is damaged. A file with other
     * names gets `now` as its time of change. An error: `failed` (FS_NAME_SHOWN bytes) is the name of the
     * file that it is about, or empty. NULL: one by one.
     */
    bool (*remove_files)(struct fs *, fs_id dir, struct fs_time now, uint64_t *removed, char *failed,
                         struct error *);
    /* The new name does not exist, unless it is the same file in other case.
     * Returns the file's id after it. */
    bool (*rename)(struct fs *, fs_id from, const char *name, fs_id to, const char *new_name, fs_id *out,
                   struct error *);
    bool (*setattr)(struct fs *, fs_id, const struct fs_attr *, unsigned mask, struct error *);
    /* Extends the file when needed; holes where the format has them. Does not touch times. */
    bool (*write)(struct fs *, fs_id, uint64_t off, const void *buf, size_t n, struct error *);
    /*
     * Makes the file longer by at most n bytes from off on, in one run of whole blocks at out->off of
     * fs->device with out->len bytes, which the caller writes in full, with this class, before anything else.
     * out->len 0: only write() can do it. NULL: never.
     */
    bool (*extend)(struct fs *, fs_id, uint64_t off, uint64_t n, struct extent *out, enum write_class *,
                   struct error *);
    bool (*truncate)(struct fs *, fs_id, uint64_t size, struct error *);
    bool (*allocate)(struct fs *, fs_id, uint64_t off, uint64_t len, unsigned mode,
                     struct error *); /* fallocate */
    bool (*punch)(struct fs *, fs_id, uint64_t off, uint64_t len, struct error *);
    /* value NULL removes (E_NOENT when absent). */
    bool (*xattr_set)(struct fs *, fs_id, const char *name, const void *value, size_t len, struct error *);
    bool (*set_label)(struct fs *, const char *label, struct error *);
    bool (*set_uuid)(struct fs *, const char *uuid, struct error *); /* "random", "clear" or a value */
    const struct option *tune_options;
    bool (*tune)(struct fs *, const struct options *, struct error *);
    /* size in bytes: the device is large enough already when growing;
     * it is cut by the caller after shrinking. */
    bool (*resize)(struct fs *, uint64_t size, struct error *);
    bool (*min_size)(struct fs *, uint64_t *size, struct error *);
    /* The volume begins at byte `to` of the disk now, no longer at `from`:
     * a boot sector that says so follows. */
    bool (*moved)(struct fs *, uint64_t from, uint64_t to, struct error *);

    bool (*flush)(struct fs *,
                  struct error *); /* all dirty state into the device; called after each command */
    bool (*reload)(struct fs *, struct error *); /* as device reload: forget caches, read the header again */
    /*
     * The running command was taken back on the device, and flush() was not called in it: as reload(), but
     * what is known to be as it was before the command may be kept. NULL: reload().
     */
    bool (*revert)(struct fs *, struct error *);
    void (*committed)(struct fs *);                     /* freed space may be handed out as fresh again */
    void (*cache_report)(struct fs *, struct report *); /* for `status -v` */
    void (*close)(struct fs *);                         /* without writing */
};

#endif
