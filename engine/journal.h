/*
 * The commit's journal: a file `NAME.dish-journal` beside the image, written and made durable before the
 * image's committed bytes are touched, removed when they are in place.
 *
 *     header  magic, version, identity of the image (size before, checksums of its first sectors), CRC-32C
 *     [group  name of the marker of a commit to several images]
 *     record* type (WRITE off len | PUNCH off len | SIZE new), CRC-32C over head and data, then the data
 *     commit  number of records, CRC-32C over all record heads, identity of the image afterwards
 *
 * A journal with its commit record is complete and is replayed at the next open; any other is discarded.
 * Replay is idempotent: it may be interrupted and run again. The journals of a commit to several images name
 * a marker, a file `.dish-commit-ID` beside the first of them: they are complete when it exists, so that its
 * creation commits them all at once. It lists the journals, and goes before the last of them.
 */
#ifndef DISH_JOURNAL_H
#define DISH_JOURNAL_H

#include "device.h"

struct journal;

/* Whether a journal can be made beside the image: asked before the first change. E_READONLY, E_HOSTFULL. */
bool journal_possible(const char *image_path, struct error *) DISH_CHECKED;

struct journal_group;

/* For a commit to several images; path is that of the first. */
bool journal_group_new(const char *path, struct journal_group **out, struct error *) DISH_CHECKED;
/* All its journals are durable: write the marker. From here on the commit is done. */
bool journal_group_commit(struct journal_group *, bool sync, struct error *) DISH_CHECKED;
/* Everything is in place: the marker goes, and the journals after it. */
bool journal_group_done(struct journal_group *, bool sync, struct error *) DISH_CHECKED;
void journal_group_free(struct journal_group *); /* NULL is fine */

/*
 * Begin the journal for a commit to `file` (a host file); group NULL: it stands for itself. E_EXIST: a
 * complete journal lies there.
 */
bool journal_begin(struct device *file, struct journal_group *group, struct journal **out,
                   struct error *) DISH_CHECKED;
/* Bytes that the commit will write at off; buffered, written in large pieces. */
bool journal_write(struct journal *, uint64_t off, const void *data, size_t n, struct error *) DISH_CHECKED;
bool journal_punch(struct journal *, uint64_t off, uint64_t len, struct error *) DISH_CHECKED;
bool journal_resize(struct journal *, uint64_t size, struct error *) DISH_CHECKED;
/* Write the commit record; with sync the journal and its directory are durable on return. */
bool journal_commit(struct journal *, bool sync, struct error *) DISH_CHECKED;
/* The commit is in place (or given up): remove the journal and free it. */
bool journal_end(struct journal *, bool sync, struct error *) DISH_CHECKED;
/* The commit record is written but the commit could not be put in place:
 * the journal stays for the next open. */
void journal_leave(struct journal *);
/* Failure before journal_commit(): remove what there is. Never fails. */
void journal_abort(struct journal *);

/* What lies beside the image. */
enum journal_state { JOURNAL_NONE, JOURNAL_INCOMPLETE, JOURNAL_COMPLETE };
/* E_DAMAGED by name when a complete journal belongs to another state of the image or another image. */
bool journal_look(struct device *file, enum journal_state *, struct error *) DISH_CHECKED;
/* Emit a complete journal's records in order: write (data set),
 * punch (data NULL, len set) or resize (len 0, off the size). */
typedef bool journal_record_fn(uint64_t off, const void *data, uint64_t len, void *arg, struct error *);
bool journal_replay(struct device *file, journal_record_fn *apply, void *arg, struct error *) DISH_CHECKED;
/* Remove the journal that lies beside the image, and its group's marker when it was the last. */
bool journal_remove(struct device *file, bool sync, struct error *) DISH_CHECKED;

#endif
