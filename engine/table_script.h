/*
 * The scripts of sfdisk: what `sfdisk -d` prints and what `sfdisk` reads, named fields ("start=2048,
 * size=1G") and the older form of fields by position (",1G,L,*").
 */
#ifndef DISH_TABLE_SCRIPT_H
#define DISH_TABLE_SCRIPT_H

#include "table.h"

struct script_part {
    unsigned number; /* 0: the next one */
    unsigned line;   /* of the text, for messages */
    uint64_t start,
        size; /* in `unit` of the sector size when *_sectors, else bytes; PART_ANYWHERE, PART_REST */
    bool start_sectors, size_sectors;
    char type[40]; /* as written */
    char uuid[40];
    char name[256];
    uint64_t attributes;
    bool active;
};

struct script {
    char label[8]; /* "gpt", "dos"; empty: not said */
    char label_id[40];
    uint32_t sector_size;                              /* 0: not said */
    uint64_t first_lba, last_lba, table_length, grain; /* 0: not said */
    struct script_part *parts;
    size_t count, capacity;
};

/* Parse a text of n bytes. E_INVALID names the line. Free it with script_free() in any case. */
bool script_parse(struct script *, const char *text, size_t n, struct error *) DISH_CHECKED;
void script_free(struct script *);

/* Add the script's partitions to a table (not stored). */
bool script_apply(const struct script *, struct table *, struct error *) DISH_CHECKED;

/* Print a table as `sfdisk -d` does. device is the name in front of each partition. */
typedef void script_print_fn(void *arg, const char *text);
void script_print(const struct table *, const char *device, script_print_fn *, void *arg);

#endif
