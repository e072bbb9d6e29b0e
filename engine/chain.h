/*
 * Chains of clusters linked by a table (FAT, exFAT): each known as a list of runs, built while the chain is
 * walked and kept between commands, bounded over all chains. A chain is known by its first cluster.
 */
#ifndef DISH_CHAIN_H
#define DISH_CHAIN_H

#include "error.h"

#include <stddef.h>

#define CHAIN_END UINT32_MAX

/* What follows a cluster: another one, or CHAIN_END. */
typedef bool chain_next_fn(void *arg, uint32_t cluster, uint32_t *next, struct error *);

/* Clusters index.. of the file are clusters cluster.. of the volume. */
struct chain_run {
    uint32_t index, cluster, len;
};

struct chain {
    uint32_t first;
    uint32_t walked; /* clusters passed so far; all of them when complete */
    uint32_t last;   /* the last of them */
    bool complete;
    /* private to chain.c: */
    bool truncated; /* runs stops short of `walked`: too many to keep */
    struct chain_run *runs;
    size_t count, capacity;
    struct chain *next, *newer, *older;
};

struct chains;

/* limit: the number of clusters of the volume; a longer chain runs in a circle. */
struct chains *chains_new(uint32_t limit, chain_next_fn *, void *arg, struct error *) DISH_CHECKED;
void chains_free(struct chains *); /* NULL is fine */
void chains_drop(struct chains *);
size_t chains_count(const struct chains *);

/* The chain that begins at `first` (the caller has checked it); valid until another one is opened. */
bool chain_open(struct chains *, uint32_t first, struct chain **out, struct error *) DISH_CHECKED;
void chain_forget(struct chains *, uint32_t first);
/* The run that starts at cluster `index`: *len is 0 past the end.
 * E_DAMAGED for a circle, or what next() says. */
bool chain_map(struct chains *, struct chain *, uint32_t index, uint32_t *cluster, uint32_t *len,
               struct error *) DISH_CHECKED;
/* Walk to the end: `walked` is the length then. */
bool chain_complete(struct chains *, struct chain *, struct error *) DISH_CHECKED;
/* The table now links this run to the end of the complete chain. */
bool chain_append(struct chains *, struct chain *, uint32_t cluster, uint32_t len,
                  struct error *) DISH_CHECKED;

#endif
