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
    size_t memory;        /* bytes of pending pages kept in memory; 0: 20 MiB */
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

/* A new file of size 0 under a temporary name; the first commit gives it its name, close without commit drops
 * it. */
bool stage_create(const char *path, bool overwrite, const struct stage_options *, struct device **out,
                  struct error *) DISH_CHECKED;

/* The running number of the current savepoint; 0 is the state as opened. */
uint64_t stage_generation(const struct device *);
/* Make everything since the last mark one savepoint. Without changes nothing happens and the number stays. */
bool stage_mark(struct device *, struct error *) DISH_CHECKED;
/* Drop everything since the last mark (a failed command). Infallible but for I/O on the spill file. */
bool stage_revert(struct device *, struct error *) DISH_CHECKED;
/* Undo or redo to a savepoint between the last commit and the newest mark; a new change ends redo. */
bool stage_go(struct device *, uint64_t generation, struct error *) DISH_CHECKED;
/* True when anything changed since the last commit. */
bool stage_pending(const struct device *);
/* True when anything changed since the last mark. */
bool stage_dirty(const struct device *);

/* Make the marked state durable: all or none. After E_* the committed state is as before and the overlay is
 * kept. */
bool stage_commit(struct device *, struct error *) DISH_CHECKED;
/* Back to the last commit. */
bool stage_rollback(struct device *, struct error *) DISH_CHECKED;

/* The first changed run at or after `at` since savepoint `since`. False with err->kind E_OK: there is none.
 */
bool stage_next_change(struct device *, uint64_t since, uint64_t at, struct range *out, struct error *);

/* A read-only device showing the file as of a savepoint (the last commit's number for the committed state).
 */
struct device *stage_snapshot(struct device *, uint64_t generation, struct error *) DISH_CHECKED;
uint64_t stage_committed_generation(const struct device *);

/*
 * Whether nothing is stored in a range of the committed file (a hole, or past its end), so that writing there
 * and taking it back leaves no trace.
 */
bool stage_is_hole(struct device *, uint64_t off, uint64_t len);

void stage_set_durability(struct device *, enum durability);
const char *stage_path(const struct device *);

/* Fills keys about overlay, spill file, journal and host I/O for `status -v`. */
void stage_report(struct device *, struct report *);

#endif
