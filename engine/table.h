/*
 * Partition tables. A table is small: it is parsed whole, the array of partitions is edited, and it is stored
 * whole. Offsets and lengths are bytes, always multiples of the sector size.
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
    unsigned number;     /* stable; gaps are allowed */
    uint64_t off, len;   /* bytes on the disk */
    char type[40];       /* canonical: lower-case GUID, or "0x83" */
    char uuid[40];       /* lower-case GUID, MBR "xxxxxxxx-nn", or empty */
    char name[256];      /* UTF-8; empty where the format has none */
    uint64_t attributes; /* GPT attribute bits as stored */
    unsigned flags;      /* PART_* */
    uint64_t entry_off;  /* bytes on the disk of the entry that describes it */
};

struct table {
    const struct table_driver *driver;
    struct device *disk; /* borrowed */
    uint32_t sector_size;
    struct part *parts; /* by number */
    size_t count, capacity;
    unsigned max_parts;
    uint64_t first, end; /* usable bytes: first <= off, off + len <= end */
    char uuid[40];       /* disk GUID or MBR signature "0x12345678" */
    bool read_only;      /* the driver cannot write it */
    char note[240];      /* to be said once: "primary GPT damaged, using the backup"; empty: nothing */
    void *data;          /* the driver's own */
};

struct part_type {
    const char *type; /* canonical form */
    const char *name; /* the word of the command language: "linux", "esp" */
    const char *title;
};

struct table_driver {
    struct driver head;
    const struct part_type *types; /* ends with type NULL */
    /* A new empty table over the whole disk. */
    bool (*init)(struct device *disk, const struct options *, struct table **, struct error *);
    bool (*load)(struct device *disk, struct table **, struct error *);
    bool (*store)(struct table *, struct error *); /* checks the array first; writes all of it */
    bool (*verify)(struct table *, struct check *, struct error *); /* repairs when asked */
    bool (*boot_code)(struct table *, uint8_t *code, size_t *len, bool write, struct error *);
    void (*free)(struct table *);
};

#endif
