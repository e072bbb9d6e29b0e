#include "pool.h"

#include "alloc.h"
#include "bytes.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

enum { MAX_THREADS = 16 };

struct pool_scratch {
    z_stream deflater;
    bool deflating; /* deflater is set up */
#ifdef HAVE_ZSTD
    ZSTD_CCtx *zstd;
#endif
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    pool_fn *fn;
    void *arg;
    size_t count, next, running;
    bool quit;
    unsigned threads; /* besides the caller's */
    pthread_t ids[MAX_THREADS];
    struct pool_scratch scratch[MAX_THREADS + 1]; /* the last is the caller's */
};

struct worker {
    struct pool *pool;
    unsigned index;
};

/* Take items until there are none left. Called and left with the lock held. */
static void take_items(struct pool *pool, struct pool_scratch *scratch)
{
    while (pool->next < pool->count) {
        size_t i = pool->next++;
        pool->running++;
        pthread_mutex_unlock(&pool->lock);
        pool->fn(pool->arg, i, scratch);
        pthread_mutex_lock(&pool->lock);
        pool->running--;
    }
    if (pool->running == 0)
        pthread_cond_signal(&pool->done);
}

static void *work(void *arg)
{
    struct worker worker = *(struct worker *)arg;
    struct pool *pool = worker.pool;
    free(arg);
    pthread_mutex_lock(&pool->lock);
    while (!pool->quit) {
        if (pool->next >= pool->count)
            pthread_cond_wait(&pool->work, &pool->lock);
        else
            take_items(pool, &pool->scratch[worker.index]);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* A thread that cannot be started is done without: the caller works, too. */
static void start_threads(struct pool *pool, unsigned threads)
{
    long processors = threads ? (long)threads : sysconf(_SC_NPROCESSORS_ONLN);
    unsigned wanted = processors > 1 ? (unsigned)MIN_OF(processors - 1, MAX_THREADS) : 0;
    while (pool->threads < wanted) {
        struct worker *worker = malloc(sizeof *worker);
        if (!worker)
            return;
        *worker = (struct worker){pool, pool->threads};
        if (pthread_create(&pool->ids[pool->threads], NULL, work, worker) != 0) {
            free(worker);
            return;
        }
        pool->threads++;
    }
}

struct pool *pool_new(unsigned threads, struct error *err)
{
    struct pool *pool = mem_new(sizeof *pool, err);
    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    start_threads(pool, threads);
    return pool;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->quit = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++)
        pthread_join(pool->ids[i], NULL);
    for (size_t i = 0; i < ARRAY_LEN(pool->scratch); i++) {
        if (pool->scratch[i].deflating)
            deflateEnd(&pool->scratch[i].deflater);
#ifdef HAVE_ZSTD
        ZSTD_freeCCtx(pool->scratch[i].zstd);
#endif
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void pool_run(struct pool *pool, size_t count, pool_fn *fn, void *arg)
{
    pthread_mutex_lock(&pool->lock);
    pool->fn = fn;
    pool->arg = arg;
    pool->count = count;
    pool->next = 0;
    pthread_cond_broadcast(&pool->work);
    take_items(pool, &pool->scratch[MAX_THREADS]);
    while (pool->running > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    pool->count = pool->next = 0;
    pthread_mutex_unlock(&pool->lock);
}

/* Other readers have a window of 4 KiB only, whatever the cluster size. */
size_t pool_deflate(struct pool_scratch *scratch, const uint8_t *in, size_t n, uint8_t *out, size_t max)
{
    z_stream *z = &scratch->deflater;
    if (scratch->deflating)
        deflateReset(z);
    else if (deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    scratch->deflating = true;
    z->next_in = (Bytef *)(uintptr_t)in;
    z->avail_in = (uInt)n;
    z->next_out = out;
    z->avail_out = (uInt)max;
    return deflate(z, Z_FINISH) == Z_STREAM_END ? max - z->avail_out : 0;
}

#ifdef HAVE_ZSTD
size_t pool_zstd(struct pool_scratch *scratch, const uint8_t *in, size_t n, uint8_t *out, size_t max)
{
    if (!scratch->zstd && !(scratch->zstd = ZSTD_createCCtx()))
        return 0;
    size_t size = ZSTD_compressCCtx(scratch->zstd, out, max, in, n, ZSTD_CLEVEL_DEFAULT);
    return ZSTD_isError(size) ? 0 : size;
}
#else
size_t pool_zstd(struct pool_scratch *scratch, const uint8_t *in, size_t n, uint8_t *out, size_t max)
{
    (void)scratch;
    (void)in;
    (void)n;
    (void)out;
    (void)max;
    return 0;
}
#endif
