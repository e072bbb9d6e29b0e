/* A few threads that compress clusters; one call at a time, the caller helps and waits. */
#ifndef DISH_QCOW2_POOL_H
#define DISH_QCOW2_POOL_H

#include "error.h"

#include <stddef.h>
#include <stdint.h>

struct pool;
struct pool_scratch; /* a thread's compressors */

/* As many threads as processors, one of them the caller's. */
/* threads: that work at once; 0: as many as there are processors. */
struct pool *pool_new(unsigned threads, struct error *) DISH_CHECKED;
void pool_free(struct pool *); /* NULL is fine */

typedef void pool_fn(void *arg, size_t i, struct pool_scratch *);
/* fn for each i below count, on any thread, in any order; returns when all are done. */
void pool_run(struct pool *, size_t count, pool_fn *, void *arg);

/* Bytes written to out, 0 when they would be more than max or something failed. */
size_t pool_deflate(struct pool_scratch *, const uint8_t *in, size_t n, uint8_t *out, size_t max);
size_t pool_zstd(struct pool_scratch *, const uint8_t *in, size_t n, uint8_t *out, size_t max);

#endif
