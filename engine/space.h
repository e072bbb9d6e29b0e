/*
 * Free space of a volume that has at most 2^32 units (clusters): one bit for each, a cursor, and what the
 * transaction demands of an allocator. Units that were freed since the last commit stay marked in the map,
 * because the committed state may still refer to them: they are handed out only when nothing else is left,
 * and are then not fresh. The format says what is in use when the map is loaded, and keeps its own tables.
 */
#ifndef DISH_SPACE_H
#define DISH_SPACE_H

#include "driver.h"
#include "ranges.h"

/* What the running command took or gave back, in order, so that it can be undone. */
struct space_step {
    uint32_t start, len;
    enum space_step_kind { SPACE_TAKEN, SPACE_TAKEN_HELD, SPACE_RELEASED } kind;
};

struct space {
    bool loaded;
    bool touched; /* the running command changed what the map is loaded from; set by the format */
    bool exact;   /* the steps tell all that happened to the map in the running command */
    struct space_step *steps;
    size_t step_count, step_capacity;
    uint32_t cursor_before; /* the first of them */
    bool changed;           /* since the format last cleared it: counts on disk are out of date */
    uint64_t *busy;         /* bit n: unit n is in use, or freed since the last commit */
    uint32_t begin, end;
    uint32_t free;       /* free units, those held back included */
    uint32_t cursor;     /* where the next search begins */
    uint32_t longest;    /* no free run is longer */
    struct ranges freed; /* since the last commit; survives space_drop() */
    struct ranges held;  /* of them: free now */
    struct ranges fresh; /* taken by the running command out of space that was free before it */
    uint64_t loads;      /* how often the map was built */
};

/* Begin to load: units begin..end, all free. Then space_use() what is in use, then space_loaded(). */
bool space_load(struct space *, uint32_t begin, uint32_t end, struct error *) DISH_CHECKED;
void space_use(struct space *, uint32_t start, uint32_t len);
bool space_loaded(struct space *, uint32_t cursor, struct error *) DISH_CHECKED;
/* Forget the map (it will be loaded again), but not what was freed. */
void space_drop(struct space *);
/* What statfs() and free_runs() of a format say; unit `begin` lies at byte `base`. */
void space_stat(const struct space *, uint32_t unit_size, struct fs_stat *);
void space_each_run(const struct space *, uint64_t base, uint32_t unit_size,
                    bool (*emit)(uint64_t off, uint64_t len, void *arg), void *arg);
/* The state is durable: nothing is held back any more. */
void space_committed(struct space *);
/* The running command ended: nothing is fresh any more. */
void space_command_ended(struct space *);
/*
 * The running command was taken back: the map says again what it said before it, or is forgotten where that
 * is not known any more.
 */
void space_revert(struct space *);
void space_close(struct space *);

bool space_is_free(const struct space *, uint32_t unit);
/* The first free run at or after `at`, held units included; false: there is none. */
bool space_next_run(const struct space *, uint32_t at, uint32_t *start, uint32_t *len);
/*
 * Take a run of at most `want` units: at `goal` when that is free (0: no goal), else the first run of that
 * length from the cursor on, else the longest. E_NOSPACE.
 */
bool space_take(struct space *, uint32_t want, uint32_t goal, uint32_t *start, uint32_t *len,
                struct error *) DISH_CHECKED;
/* Where a run of `want` units begins, nothing taken; false when there is none. */
bool space_find(struct space *, uint32_t want, uint32_t *start);
/* How many units from `start` on could be taken as fresh ones, at most max. */
uint32_t space_free_at(const struct space *, uint32_t start, uint32_t max);
/* Take a certain free unit whose contents are to be kept (of a deleted file). */
bool space_claim(struct space *, uint32_t unit, struct error *) DISH_CHECKED;
bool space_release(struct space *, uint32_t start, uint32_t len, struct error *) DISH_CHECKED;

/* WRITE_FRESH when the running command took all of the run out of free space. */
enum write_class space_write_class(const struct space *, uint32_t start, uint32_t len);
/* The same where a run may be fresh in part only: then *len becomes 1. */
enum write_class space_write_piece(const struct space *, uint32_t start, uint32_t *len);

#endif
