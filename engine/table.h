/*
 * Partition tables. A table is small: it is parsed whole, the array of partitions is edited, and it is stored
 * whole. Offsets and lengths are bytes, always multiples of the sector size.
 *
 * A driver parses and stores; everything else (gaps, alignment, numbers, moving data, sfdisk scripts) is
 * written once here and works on the array. Nothing changes on the disk before table_store(), except by
 * table_move(), which moves the partition's bytes first.
 */
#ifndef DISH_TABLE_H
#define DISH_TABLE_H

#include "driver.h"

enum part_flags {
    PART_ACTIVE = 1,   /* MBR active flag; GPT legacy BIOS bootable (attribute bit 2) */
    PART_LOGICAL = 2,  /* MBR: inside the extended partition */
    PART_EXTENDED = 4, /* MBR: the extended partition itself; not a volume */
};

struct part {
    unsigned number;     /* stable; gaps are allowed. Logical ones count from 5 without gaps */
    uint64_t off, len;   /* bytes on the disk */
    char type[40];       /* canonical: lower-case GUID, or "0x83" */
    char uuid[40];       /* lower-case GUID, MBR "xxxxxxxx-nn", or empty */
    char name[256];      /* UTF-8; empty where the format has none */
    uint64_t attributes; /* GPT attribute bits as stored */
    unsigned flags;      /* PART_* */
    /*
     * Bytes on the disk of the entry that describes it; 0: not stored yet. For a logical one that is not
     * stored yet: the sector put aside for its entry.
     */
    uint64_t entry_off;
};

struct table {
    const struct table_driver *driver;
    struct device *disk; /* borrowed */
    uint32_t sector_size;
    struct part *parts; /* by number */
    size_t count, capacity;
    unsigned max_parts;  /* the highest number there may be */
    uint64_t first, end; /* usable bytes: first <= off, off + len <= end */
    char uuid[40];       /* disk GUID or MBR signature "0x12345678" */
    bool read_only;      /* the driver cannot write it */
    char note[240];      /* to be said once: "primary GPT damaged, using the backup"; empty: nothing */
    size_t faults;       /* overlaps and ranges outside the disk it was loaded with; kept by the driver */
    void *data;          /* the driver's own */
};

struct part_type {
    const char *type; /* canonical form */
    const char *name; /* the word of the command language: "linux", "esp" */
    const char *title;
    uint16_t code; /* MBR code times 256, plus a number for what an MBR cannot tell apart; 0: none */
};

/* A bit of struct part.attributes. */
struct part_attribute {
    const char *name;
    unsigned bit;
    const char *title;
};

struct table_driver {
    struct driver head;
    const struct part_type *types;           /* ends with type NULL */
    const struct part_attribute *attributes; /* ends with name NULL; NULL: there are none */
    unsigned primaries;                      /* entries that are not logical; 0: no such distinction */
    bool names;                              /* partitions have names */
    bool part_uuids;                         /* partitions have GUIDs of their own */
    /* Write a new empty table over the whole disk and open it. Boot code stays. */
    bool (*init)(struct device *disk, const struct options *, struct table **, struct error *);
    bool (*load)(struct device *disk, struct table **, struct error *);
    bool (*store)(struct table *, struct error *); /* checks the array first; writes what differs */
    /* Reports, and repairs when asked; after a repair the table is to be loaded anew. */
    bool (*verify)(struct table *, struct check *, struct error *);
    /*
     * Reads up to *len bytes of boot code and sets *len to what there is room for; or writes *len bytes (the
     * rest of the room is zeroed). code NULL: only *len.
     */
    bool (*boot_code)(struct table *, uint8_t *code, size_t *len, bool write, struct error *);
    /* Take all of the table's own signatures off the disk. NULL: cannot. */
    bool (*wipe)(struct table *, struct error *);
    /* The disk's GUID or signature; "random" makes one. NULL: there is none. */
    bool (*set_uuid)(struct table *, const char *text, struct error *);
    void (*free)(struct table *);
};

/* ---- the array: table.c ------------------------------------------------------------------------------ */

/* For drivers: an empty table; data is data_size zeroed bytes owned by the table. NULL: E_NOMEM. */
struct table *table_new(const struct table_driver *, struct device *disk, uint32_t sector_size,
                        size_t data_size, struct error *) DISH_CHECKED;
/* What a driver's free() calls at its end. */
void table_dispose(struct table *);
/* Close a table of any driver; NULL is fine. */
void table_free(struct table *);
bool table_store(struct table *, struct error *) DISH_CHECKED;

/* NULL: there is none of that number. */
struct part *table_part(const struct table *, unsigned number);
/* The same with E_NOENT that lists the numbers there are. */
struct part *table_need(const struct table *, unsigned number, struct error *) DISH_CHECKED;
/* The extended partition that holds the logical ones: the first there is, or NULL. */
struct part *table_extended(const struct table *);
/* Insert an empty one, in the order of numbers. Pointers into parts are void then. E_EXIST, E_NOMEM. */
bool table_insert(struct table *, unsigned number, struct part **out, struct error *) DISH_CHECKED;
/* Overlapping pairs, and partitions outside the usable range. */
size_t table_faults(const struct table *);
/* For store(): E_INVALID for what cannot be stored or for faults that were not there at load. */
bool table_check(const struct table *, struct error *) DISH_CHECKED;

/* ---- types and flags: table_type.c ------------------------------------------------------------------- */

/* A word, a GUID, an MBR code ("83", "0x83") or a 16-bit code ("8300") to the canonical form. */
bool table_type_parse(const struct table_driver *, const char *text, char type[40],
                      struct error *) DISH_CHECKED;
/* What is known of a canonical type; NULL: unknown. */
const struct part_type *table_type_find(const struct table_driver *, const char *type);
/* The type of another kind of table that means the same; false: there is none. */
bool table_type_convert(const struct table_driver *from, const char *type, const struct table_driver *to,
                        char out[40]);
bool part_type_is_extended(const char *type);
/* "active", or an attribute's name, or the number of an attribute bit. */
bool table_set_flag(struct table *, struct part *, const char *name, bool on, struct error *) DISH_CHECKED;
/* The names of the flags that are set, joined by commas; bits without a name as numbers. */
void table_flags_text(const struct table *, const struct part *, char *out, size_t size);

/* ---- space: table_space.c; changes: table_edit.c ------------------------------------------------------ */

struct gap {
    uint64_t off, len;
    bool logical; /* inside the extended partition */
};

/* Free space by rising offset; *gaps is malloc'd. */
bool table_gaps(const struct table *, struct gap **gaps, size_t *count, struct error *) DISH_CHECKED;

#define PART_ANYWHERE UINT64_MAX /* start: where it fits first; with PART_REST: in the largest gap */
#define PART_REST UINT64_MAX     /* size: all that is left there */
#define PART_ALIGNMENT ((uint64_t)1024 * 1024)

struct part_request {
    unsigned number;  /* 0: the lowest that is free */
    uint64_t start;   /* bytes, taken as it is; or PART_ANYWHERE */
    uint64_t size;    /* bytes, rounded up to sectors; or PART_REST */
    uint64_t align;   /* bytes; 0: PART_ALIGNMENT */
    bool logical;     /* MBR: inside the extended partition even when a primary entry is free */
    const char *type; /* any form; NULL: linux */
    const char *name; /* NULL: none */
    const char *uuid; /* NULL: random */
    uint64_t attributes;
    bool active;
};

/* Add a partition. E_NOSPACE says what would fit. */
bool table_add(struct table *, const struct part_request *, unsigned *number, struct error *) DISH_CHECKED;
/* With the extended partition go the logical ones; after a logical one those that follow move up. */
bool table_delete(struct table *, unsigned number, struct error *) DISH_CHECKED;
/* The start stays. PART_REST: up to what follows. */
bool table_resize(struct table *, unsigned number, uint64_t size, struct error *) DISH_CHECKED;
/* The largest size that partition could have where it starts. */
bool table_room(const struct table *, const struct part *, uint64_t *size, struct error *) DISH_CHECKED;
/* Renumber by position on the disk. */
bool table_sort(struct table *, struct error *) DISH_CHECKED;
bool table_set_name(struct table *, struct part *, const char *name, struct error *) DISH_CHECKED;
/* "random" or a GUID. */
bool table_set_part_uuid(struct table *, struct part *, const char *uuid, struct error *) DISH_CHECKED;

/* ---- moving: table_move.c ---------------------------------------------------------------------------- */

/* Told of bytes done of total; may be NULL. */
typedef void table_progress_fn(void *arg, uint64_t done, uint64_t total);

/*
 * Give partition `number` a new start and take its bytes along, whatever the overlap of old and new place.
 * Reads what is allocated only and leaves holes where they were. The caller has flushed and closed what is
 * open in the partition, and stores the table afterwards.
 */
bool table_move(struct table *, unsigned number, uint64_t start, table_progress_fn *, void *arg,
                struct error *) DISH_CHECKED;

#endif
