/* The verbs of `partition`. Each works on a copy of the table;
 * the image's own is built anew after it is stored. */
#ifndef DISH_PARTITION_H
#define DISH_PARTITION_H

#include "command.h"

/* One use of `partition VERB`. */
struct partition {
    struct session *session;
    struct call *call;
    struct output *out;
    struct image *image;
    struct table *table; /* the copy, from partition_open() on; freed by the dispatcher */
    char **args;         /* behind the verb */
    int argc;
};

/* partition_args.c: what may follow each verb. */
extern const struct verb_args partition_verb_args[];

typedef bool partition_fn(struct partition *, struct error *);

/* Load a copy of the table. E_NOENT when there is none. */
bool partition_open(struct partition *, struct error *) DISH_CHECKED;
/* Refuses (E_READONLY) in a session that must not change anything. */
bool partition_writable(const struct partition *, struct error *) DISH_CHECKED;
/* Both, and the table is of a kind that can be written. */
bool partition_edit(struct partition *, struct error *) DISH_CHECKED;
/* Store the copy and let the image read it: volumes that kept their place stay open. */
bool partition_store(struct partition *, struct error *) DISH_CHECKED;
/* The image reads its table again, after something other than partition_store() wrote it. */
bool partition_rescan(struct partition *, struct error *) DISH_CHECKED;
/* The partition that a word names: "2", "old:2". Chooses the image; call it before partition_open(). */
bool partition_number(struct partition *, const char *text, unsigned *number, struct error *) DISH_CHECKED;
/* A size: as everywhere, but "34s" counts in the table's sectors. base: what +N, -N and N% refer to. */
bool partition_size(const struct partition *, const char *text, uint64_t base, uint64_t *out,
                    struct error *) DISH_CHECKED;
/* Write out and forget the filesystem in a partition, before its bytes or borders change. */
bool partition_release(struct partition *, unsigned number, struct error *) DISH_CHECKED;
/* All of a host file, "-" or a missing name being the command's input; malloc'd, NUL added. */
bool partition_read_file(struct partition *, const char *path, size_t most, uint8_t **bytes, size_t *n,
                         struct error *) DISH_CHECKED;

/* A driver by its name; NULL with err, which lists all. */
const struct table_driver *partition_kind(struct partition *, const char *name, struct error *) DISH_CHECKED;
/* The same, or "dos", for one that can write. */
const struct table_driver *partition_driver(struct partition *, const char *name,
                                            struct error *) DISH_CHECKED;
/* Write a new table over what is on the disk. options: of the driver, or NULL. */
bool partition_make(struct partition *, const struct table_driver *, const char *options,
                    struct error *) DISH_CHECKED;

/* partition_list.c */
partition_fn partition_list, partition_free, partition_types;
/* partition_edit.c */
partition_fn partition_add, partition_delete, partition_resize, partition_move, partition_sort;
/* partition_label.c */
partition_fn partition_type, partition_name, partition_uuid, partition_flag;
/* partition_disk.c */
partition_fn partition_init, partition_script, partition_boot_code, partition_verify, partition_repair,
    partition_wipe;
/* partition_convert.c */
partition_fn partition_convert;

#endif
