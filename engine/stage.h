/*
 * The stage is the transaction: a device directly above one host file. Writes of committed bytes stay in an
 * overlay until the commit; fresh ones may go straight down. Savepoints are generations that can be gone back
 * and forth between. See stage.c for the states and invariants, journal.h for the commit's on-disk form.
 */
#ifndef DISH_STAGE_H
#define DISH_STAGE_H

#include "device.h"
#include "ranges.h"

enum durability { DURABILITY_FULL, DURABILITY_NORMAL, DURABILITY_OFF };

struct stage_options {
    bool read_only;
    bool force_share; /* read without locks (-U) */
    bool dry_run;     /* nothing is written to the host file, ever; commit discards */
    enum durability durability;
    uint32_t sector_size; /* 0: that of a block device, else 512 */
    size_t memory;        /* bytes of pending pages kept in memory; 0: 12 MiB */
    size_t undo_pages;    /* page versions kept for undo; 0: 65536 */
};

/* What happened to an interrupted commit found at open. */
enum recovery { RECOVERY_NONE, RECOVERY_REPLAYED, RECOVERY_DISCARDED, RECOVERY_REPLAYED_IN_MEMORY };

/*
 * Open a host file or block device under QEMU's shared locks, recovering an interrupted commit first.
 * Errors: E_NOENT, E_LOCKED (says who holds it), E_READONLY, E_IO.
 */
bool stage_open(const char *path, const struct stage_options *, struct device **out, enum recovery *,
                struct error *) DISH_CHECKED;

/* A new file of size 0 under a temporary name;
 * the first commit gives it its name, close without commit drops it. */
bool stage_create(const char *path, bool overwrite, const struct stage_options *, struct device **out,
                  struct error *) DISH_CHECKED;

/* The running number of the current savepoint; 0 is the state as opened. */
uint64_t stage_generation(const struct device *);
/* Make everything since the last mark one savepoint. Without changes nothing happens and the number stays. */
bool stage_mark(struct device *, struct error *) DISH_CHECKED;
/* Whatever stage_mark() needs: without a change in between it cannot fail then.
 * For marking several at once. */
bool stage_prepare_mark(struct device *, struct error *) DISH_CHECKED;
/* Drop everything since the last mark (a failed command). Infallible but for I/O on the spill file. */
bool stage_revert(struct device *, struct error *) DISH_CHECKED;
/* Undo or redo to a savepoint between the last commit and the newest mark; a new change ends redo. */
bool stage_go(struct device *, uint64_t generation, struct error *) DISH_CHECKED;
/* Whether stage_go() could go there: a failed command's changes end redo, too. */
bool stage_reaches(const struct device *, uint64_t generation);
/* True when anything changed since the last commit. */
bool stage_pending(const struct device *);
/* True when anything changed since the last mark. */
bool stage_dirty(const struct device *);

/* Make the marked state durable: all or none.
 * After E_* the committed state is as before and the overlay is kept. */
bool stage_commit(struct device *, struct error *) DISH_CHECKED;
/*
 * The same in steps, for several stages at once: prepare all; then either abandon all, or finish all (what
 * they say is in place then) and close all. Of those that stage_wants_journal() each gets the group; when
 * there are several, journal_group_commit() after the preparation commits them together, and
 * journal_group_done() comes before the closing.
 */
struct journal_group;
bool stage_wants_journal(const struct device *);
bool stage_is_new(const struct device *);
bool stage_prepare_commit(struct device *, struct journal_group *, struct error *) DISH_CHECKED;
bool stage_finish_commit(struct device *, struct error *) DISH_CHECKED;
bool stage_close_commit(struct device *, struct error *) DISH_CHECKED;
/* Instead of closing, after an error: the journal is left to the next open. Adds to the message. */
void stage_leave_commit(struct device *, struct error *);
void stage_abandon_commit(struct device *);
/* Whether the committed state waits in a journal for the next open, or nothing is known about it. */
bool stage_is_broken(const struct device *);
/* Back to the last commit. */
bool stage_rollback(struct device *, struct error *) DISH_CHECKED;

/* The first changed run at or after `at` since savepoint `since`.
 * False with err->kind E_OK: there is none. */
bool stage_next_change(struct device *, uint64_t since, uint64_t at, struct range *out, struct error *);

/* A read-only device showing the file as of a savepoint
 * (the last commit's number for the committed state). */
struct device *stage_snapshot(struct device *, uint64_t generation, struct error *) DISH_CHECKED;
uint64_t stage_committed_generation(const struct device *);

/*
 * Whether nothing is stored in a range of the committed file (a hole, or past its end), so that writing there
 * and taking it back leaves no trace.
 */
bool stage_is_hole(struct device *, uint64_t off, uint64_t len);

void stage_set_durability(struct device *, enum durability);
const char *stage_path(const struct device *);
/* Absolute, and without symbolic links. */
const char *stage_real_path(const struct device *);

/* Fills keys about overlay, spill file, journal and host I/O for `status -v`. */
void stage_report(struct device *, struct report *);

#endif
