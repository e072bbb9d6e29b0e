/*
 * The stage's inner structure, shared by stage.c (device), stage_page.c (overlay), stage_history.c
 * (savepoints) and stage_commit.c.
 *
 *     reads   overlay page, else host file (zeros where masked or past its end)
 *     writes  fresh, large: host file at once    fresh, small: overlay page, evicted to the host file
 *             update: overlay page, spilled to a temporary file, never to the host file before the commit
 *
 * Generations: the state after the k-th mark has number k. logs[k - base - 1] holds what changed between mark
 * k-1 and mark k: for each page the version it had on the other side. Going over a mark swaps log and
 * overlay, so the same log serves undo and redo. `base` is the last commit, `mark` the current state, `top`
 * the newest state that redo can reach; the open log (number mark + 1) collects what happened since the mark.
 *
 * Invariants:
 *  1. The host file differs from the committed state only in ranges that the committed state does not use:
 * those written as fresh. Where such a range was a hole, it is in `holes` of its log, so that it can be
 * punched.
 *  2. A fresh page is evicted only when no log holds another version of it: the host bytes then belong to
 * exactly one generation, and an absent version means the host bytes in every state that can be reached.
 *  3. Bytes of the host file that do not belong to the current state are masked: those of undone generations,
 * and what a smaller size cut off.
 *  4. Nothing reaches the host file before make_ready() took the write lock; with dry_run nothing ever does.
 */
#ifndef DISH_STAGE_PRIVATE_H
#define DISH_STAGE_PRIVATE_H

#include "host_file.h"
#include "ranges.h"
#include "spill.h"
#include "stage.h"

enum {
    STAGE_PAGE = SPILL_SLOT,
    STAGE_MEMORY = 20 * 1024 * 1024, /* bytes of page contents kept in memory */
    STAGE_DIRECT = 64 * 1024,        /* fresh writes of this size and more go to the host at once */
    STAGE_HISTORY_PAGES = 64 * 1024, /* page versions kept for undo before the oldest steps are merged */
};

/* The contents of a page, shared by the overlay, logs and snapshots. */
struct version {
    unsigned references;
    bool zero;     /* all zeros: no data, no slot */
    bool spilled;  /* in the spill file at `slot` */
    uint8_t *data; /* STAGE_PAGE bytes when in memory */
    uint64_t slot;
    uint32_t crc;
    struct version *newer, *older; /* in memory, by age of the last change */
};

struct page {
    uint64_t index;          /* offset / STAGE_PAGE */
    struct version *version; /* never NULL in the table */
    uint64_t generation;     /* the log that knows the version before this one */
    bool fresh;              /* may be evicted to the host file */
    struct page *next;       /* in the bucket */
};

struct log_entry {
    uint64_t index;
    struct version *version; /* NULL: the host file's bytes */
    uint64_t generation;
    bool fresh;
};

struct log {
    struct log_entry *entries;
    size_t count, capacity;
    uint64_t size; /* of the file on the other side of the log */
    bool resized;
    struct ranges direct; /* written to the host file as fresh in this generation */
    struct ranges holes;  /* those parts of `direct` that were holes */
    struct ranges masked; /* masked by this generation: cut off by a smaller size */
};

enum stage_state { STAGE_WORKING, STAGE_BROKEN };

struct stage {
    struct device dev; /* dev.below is the host file */
    struct stage_options options;
    enum stage_state state;
    bool is_new; /* created, not yet published */
    bool ready;  /* locks and journal possibility are settled */
    uint64_t committed_size;

    struct page **buckets;
    size_t bucket_count, page_count;
    struct version *newest, *oldest;
    uint64_t memory; /* bytes of version data in memory */
    size_t fresh_count;
    struct spill spill;

    uint64_t base, mark, top;
    struct log **logs; /* logs[i] leads from generation lost + 1 + i to the one before */
    size_t log_count, log_capacity;
    struct log *open; /* since the mark; never NULL */
    uint64_t
        lost; /* states base + 1 .. lost cannot be gone to any more: logs[0] leads from lost + 1 to base */
    size_t history_pages;
    struct ranges masked, direct; /* of the current state; `direct` without the open log's */

    struct ranges changes; /* cache for stage_next_change() */
    uint64_t changes_since, changes_epoch, epoch;

    uint64_t evicted_pages, spilled_pages, commits, journal_bytes;
};

static inline struct stage *stage_of(struct device *dev)
{
    return (struct stage *)dev;
}

/* ---- stage_page.c ---- */

struct page *page_find(const struct stage *, uint64_t index);
/* Write part of a page; its old version goes to the open log when this is its first change there. */
bool page_write(struct stage *, uint64_t index, size_t at, const uint8_t *bytes, size_t n, bool fresh,
                struct error *) DISH_CHECKED;
bool page_zero(struct stage *, uint64_t index, bool fresh, struct error *) DISH_CHECKED;
bool version_read(struct stage *, const struct version *, size_t at, uint8_t *out, size_t n,
                  struct error *) DISH_CHECKED;
void version_release(struct stage *, struct version *);
/* Put this version (or none) in place of the present one without logging; gives back what was there. */
bool page_swap(struct stage *, struct log_entry *, struct error *) DISH_CHECKED;
/* Make room: evict fresh pages, then spill. */
bool pages_shrink(struct stage *, struct error *) DISH_CHECKED;
/* Write all fresh pages to the host file and drop them from the overlay. */
bool pages_evict(struct stage *, struct error *) DISH_CHECKED;
/* All pages by rising index; *out is malloc'd. */
bool pages_sorted(const struct stage *, bool fresh, struct page ***out, size_t *count,
                  struct error *) DISH_CHECKED;
void pages_free(struct stage *);
/* Host bytes with the masked parts as zeros. */
bool host_read(struct stage *, const struct ranges *masked, uint64_t off, uint8_t *out, size_t n,
               struct error *) DISH_CHECKED;
/* Whether bytes called fresh may go to the host before the commit. */
bool range_may_be_fresh(const struct stage *, uint64_t off, uint64_t len);
/* Fresh bytes of a generation to the host file, remembered in its log. */
struct iovec;
bool host_write_fresh(struct stage *, uint64_t generation, uint64_t off, const struct iovec *, size_t count,
                      uint64_t len, struct error *) DISH_CHECKED;

/* ---- stage_history.c ---- */

struct log *log_new(struct error *) DISH_CHECKED;
void log_free(struct stage *, struct log *);
bool log_empty(const struct log *);
/* The log of a generation up to the open one; merged generations share the oldest. */
struct log *log_of(struct stage *, uint64_t generation);
/* Before the first change after an undo: what could be redone is gone. */
bool history_begin_change(struct stage *, struct error *) DISH_CHECKED;
/* Forget all logs: the current state is the committed one. */
void history_clear(struct stage *);
bool history_punch(struct stage *, const struct ranges *holes, struct error *) DISH_CHECKED;

/* ---- stage_commit.c ---- */

/* Complete or discard the journal of an interrupted commit. */
bool stage_recover(struct stage *, enum recovery *, struct error *) DISH_CHECKED;

#endif
