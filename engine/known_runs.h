/*
 * What is remembered of where a host file has data and holes: one run of each. Asking the host anew for every
 * extent takes long on hosts that look at every page. Usable from several threads.
 */
#ifndef DISH_KNOWN_RUNS_H
#define DISH_KNOWN_RUNS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Offsets in bytes; a run whose end is its start is none. All zero but for the lock at first. */
struct known_runs {
    pthread_mutex_t lock;
    uint64_t data, data_end;
    uint64_t hole, hole_end;
};

void known_runs_init(struct known_runs *);
void known_runs_destroy(struct known_runs *);

/* Is off in the known run of data (of holes)? *end: where that ends. */
bool known_runs_is_data(struct known_runs *, uint64_t off, uint64_t *end);
bool known_runs_is_hole(struct known_runs *, uint64_t off, uint64_t *end);

void known_runs_set_data(struct known_runs *, uint64_t start, uint64_t end);
/* The file may have lost data anywhere: what is known of data is forgotten. */
void known_runs_forget_data(struct known_runs *);
/* A hole that stays one until it is filled: of a file that nobody else writes. The longest is remembered. */
void known_runs_add_hole(struct known_runs *, uint64_t start, uint64_t end);
/* Bytes got a place: what lies behind them of the known hole is still one.
 * n: UINT64_MAX from 0 on forgets it. */
void known_runs_fill(struct known_runs *, uint64_t off, uint64_t n);

#endif
