/*
 * The stage's inner structure.
 *
 *     stage.c          the device: reading, writing, zeros, size
 *     stage_version.c  contents of pages, in memory or in the spill file
 *     stage_page.c     the overlay: which page has which version
 *     stage_fresh.c    bytes that go to the host file before the commit
 *     stage_history.c  savepoints: marking, going back and forth
 *     stage_view.c     what changed, and older states as devices
 *     stage_commit.c   commit and recovery
 *
 *     reads   overlay page, else zeros where masked or past the file's end, else the host file
 *     writes  fresh, large: host file at once    fresh, small: overlay page, evicted to the host file
 *             update: overlay page, spilled to a temporary file, never to the host file before the commit
 *     zeros   fresh: punched on the host file     update: masked, punched by the commit
 *
 * Generations: the state after the k-th mark has number k. A log holds what changed between two states that
 * follow each other: for each page the version it had on the other side. Going over a mark swaps log and
 * overlay, so the same log serves undo and redo. `base` is the last commit, `mark` the current state, `top`
 * the newest state that redo can reach; the open log (number mark + 1) collects what happened since the mark.
 *
 * Invariants:
 *  1. The host file differs from the committed state only in ranges that the committed state does not use:
 *     those written as fresh. Where such a range was a hole, it is in `holes` of its log, so that it can be
 *     punched again.
 *  2. A page is fresh only in the generation that made it from nothing, and is evicted only while there is
 *     nothing to redo: the host bytes then belong to exactly one generation, and an absent version means the
 *     host bytes in every state that can be reached.
 *  3. Bytes of the host file that do not belong to the current state are masked: those of undone generations,
 *     what a smaller size cut off, and what was zeroed.
 *  4. Nothing reaches the host file before make_ready() took the write lock; with dry_run nothing ever does.
 *  5. Every index in a log has a page in the table, if need be without a version: swapping allocates nothing.
 *  6. Taking back (revert, and go after its preparation) cannot fail half-way.
 */
#ifndef DISH_STAGE_PRIVATE_H
#define DISH_STAGE_PRIVATE_H

#include "host_file.h"
#include "journal.h"
#include "radix.h"
#include "ranges.h"
#include "spill.h"
#include "stage.h"

enum {
    STAGE_PAGE = SPILL_SLOT,
    STAGE_SPARE = 2048,       /* page buffers kept for the next versions */
    STAGE_DIRECT = 64 * 1024, /* fresh writes of this size and more go to the host at once */
    STAGE_SEND = 16 << 20,    /* after so many fresh bytes the host begins to make them durable */
};

/* The contents of a page, shared by the overlay, logs and snapshots. */
struct version {
    unsigned references;
    bool zero;     /* all zeros: no data, no slot */
    bool spilled;  /* in the spill file at `slot` */
    uint32_t crc;  /* of the spilled bytes */
    uint8_t *data; /* STAGE_PAGE bytes when in memory */
    uint64_t slot;
    uint64_t generation; /* that made it: its bytes do not change once that is marked */
    struct patch *patch; /* not NULL: the bytes are those of `base` (one reference) with this applied */
    struct version *base;
    struct version *newer, *older;   /* in memory, by age of the last change */
    struct version *next, *previous; /* of the same page, as they were made; may be NULL; no references */
};

struct page {
    uint64_t index;          /* offset / STAGE_PAGE */
    struct version *version; /* NULL: not in the overlay; kept because logs name it */
    uint64_t generation;     /* whose log knows the version before this one */
    uint32_t entries;        /* log entries of this index */
    bool fresh;              /* may be evicted to the host file */
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
    bool evicted;         /* some of its pages went to the host: entries may say nothing any more */
    struct ranges direct; /* written to the host file as fresh in this generation */
    struct ranges holes;  /* those parts of `direct` that were holes */
    struct ranges masked; /* masked by this generation: zeroed, or cut off by a smaller size */
};

struct stage {
    struct device dev; /* dev.below is the host file */
    struct stage_options options;
    const char *broken; /* why nothing works any more, or NULL */
    bool is_new;        /* created, not yet published */
    bool ready;         /* locks and the journal's possibility are settled */
    bool unsynced;      /* fresh bytes were written that the host has not made durable */
    uint64_t unsent;    /* how many of them since the host was last told to begin */
    uint64_t committed_size;

    struct radix pages;
    size_t page_count, fresh_count; /* of pages with a version */
    struct version *newest, *oldest;
    size_t memory;               /* bytes of version data in memory */
    uint8_t *spare[STAGE_SPARE]; /* buffers to be used again */
    size_t spare_count;
    struct page *idle_pages[STAGE_SPARE];
    size_t idle_page_count;
    struct version *idle; /* the same for versions, linked by `older` */
    size_t idle_count;
    struct spill spill;

    struct journal *journal; /* of a prepared commit, or NULL */
    bool prepared;           /* a commit is */

    uint64_t base, mark, top;
    struct log **logs; /* logs[i] leads from generation lost + 1 + i to the one before */
    size_t log_count, log_capacity;
    struct log *open;          /* since the mark; never NULL */
    struct log *next_open;     /* prepared for the next mark, or NULL */
    struct ranges next_masked; /* with next_open: what is masked then */
    /* States base + 1 .. lost cannot be gone to any more: logs[0] leads from lost + 1 to base. */
    uint64_t lost;
    size_t history_pages;         /* versions with contents that logs hold */
    struct ranges masked, direct; /* of the current state, without the open log's */

    struct ranges changes; /* cache for stage_next_change() */
    uint64_t changes_since, changes_epoch, epoch;

    uint64_t evicted_pages, spilled_pages, commits, journal_bytes;
};

static inline struct stage *stage_of(struct device *dev)
{
    return (struct stage *)dev;
}

/* ---- stage.c ---- */

bool stage_check_working(const struct stage *, struct error *) DISH_CHECKED;

/* ---- stage_version.c ---- */

/* With one reference; its bytes are not set. */
struct version *version_new(struct stage *, bool zero, struct error *) DISH_CHECKED;
void version_release(struct stage *, struct version *); /* NULL is fine */
/* `next` takes the place of a version of the same page: the older may be kept as what differs. */
void version_follow(struct version *, struct version *next);
/* It will not change any more: the one before it may be kept as what differs,
 * while both are in the processor's cache. */
void version_settle(struct stage *, const struct version *);
bool version_read(struct stage *, const struct version *, size_t at, uint8_t *out, size_t n,
                  struct error *) DISH_CHECKED;
/* It was changed: others are spilled before it. */
void version_touch(struct stage *, struct version *);
void versions_free_spare(struct stage *);
/* Move the oldest versions to the spill file until the bound on memory is kept. */
bool versions_spill(struct stage *, struct error *) DISH_CHECKED;

/* ---- stage_page.c ---- */

struct page *page_find(const struct stage *, uint64_t index); /* NULL: not in the overlay */
/* The offset of the first overlay page in off..end, rounded down to its start; end when there is none. */
uint64_t page_next(const struct stage *, uint64_t off, uint64_t end);
/* Write part of a page; its old version goes to the open log when this is its first change there. */
bool page_write(struct stage *, uint64_t index, size_t at, const uint8_t *bytes, size_t n, bool fresh,
                struct error *) DISH_CHECKED;
bool page_zero(struct stage *, uint64_t index, bool fresh, struct error *) DISH_CHECKED;
/* Exchange a log's entry with the overlay. */
void page_swap(struct stage *, struct log_entry *);
/* An entry of this index is gone. */
void page_forget_entry(struct stage *, uint64_t index);
void page_drop_version(struct stage *, struct page *);
void pages_free(struct stage *);

/* ---- stage_fresh.c ---- */

/* Host bytes of the current state, with its masked parts as zeros. */
bool host_read(struct stage *, uint64_t off, uint8_t *out, size_t n, struct error *) DISH_CHECKED;
/* The same with other masks (zero or more of `also` may be NULL). */
bool host_read_masked(struct stage *, const struct ranges *masked, const struct ranges *also, uint64_t off,
                      uint8_t *out, size_t n, struct error *) DISH_CHECKED;
/* Whether bytes called fresh may go to the host before the commit. */
bool range_may_be_fresh(const struct stage *, uint64_t off, uint64_t len);
/* Fresh bytes of a generation to the host file, remembered in its log. */
struct iovec;
bool host_write_fresh(struct stage *, uint64_t generation, uint64_t off, const struct iovec *, size_t count,
                      uint64_t len, struct error *) DISH_CHECKED;
/* The same from a host file; *done may be less than len. */
bool host_copy_fresh(struct stage *, uint64_t off, int fd, uint64_t fd_off, size_t len, size_t *done,
                     struct error *) DISH_CHECKED;
bool host_zero_fresh(struct stage *, uint64_t off, uint64_t len, struct error *) DISH_CHECKED;
/* Reserve space for bytes that read as zeros. */
bool host_reserve_fresh(struct stage *, uint64_t off, uint64_t len, bool written,
                        struct error *) DISH_CHECKED;
/* Write all fresh pages to the host file and drop them from the overlay. */
bool pages_evict(struct stage *, struct error *) DISH_CHECKED;
/* After pages were added: evict fresh ones, then spill. */
bool pages_shrink(struct stage *, struct error *) DISH_CHECKED;

/* ---- stage_history.c ---- */

struct log *log_new(struct error *) DISH_CHECKED;
void log_free(struct stage *, struct log *);
bool log_empty(const struct log *);
/* Drop the entries of pages that were evicted: both sides of them are the host's bytes. */
void log_compact(struct stage *, struct log *);
/* The log of a generation up to the open one; merged generations share the oldest. */
struct log *log_of(struct stage *, uint64_t generation);
/* A prepared mark is not wanted any more. */
void history_drop_prepared(struct stage *);
/* Before the first change after an undo: what could be redone is gone. */
void history_begin_change(struct stage *);
/* Forget all logs: the current state is the committed one. */
void history_clear(struct stage *);
/* Make all steps since the commit one. */
bool history_merge(struct stage *, struct error *) DISH_CHECKED;

/* ---- stage_commit.c ---- */

/* Complete or discard the journal of an interrupted commit. */
bool stage_recover(struct stage *, enum recovery *, struct error *) DISH_CHECKED;

#endif
