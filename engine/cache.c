/*
 * Hash table by offset, one list by age of use, one of the dirty blocks. Invariants: every block is in the
 * first two; a pinned block is never evicted; `dirty_count` counts the dirty list.
 */
#include "cache.h"

#include "alloc.h"
#include "bytes.h"

#include <assert.h>
#include <stdlib.h>

enum { MIN_BLOCKS = 16, MAX_RUN_BYTES = 1024 * 1024 };

struct cache {
    struct device *dev;
    uint32_t block_size;
    size_t max_blocks, count, dirty_count, bucket_count;
    struct cache_block **buckets;
    struct cache_block *newest, *oldest, *dirty;
    uint8_t *run_buffer; /* for neighbours that are written together; made when first needed */
    cache_seal_fn *seal;
    void *seal_arg;
    struct cache_stats stats;
};

static struct cache_block **bucket_of(const struct cache *cache, uint64_t off)
{
    uint64_t hash = (off / cache->block_size) * 0x9E3779B97F4A7C15u;
    return &cache->buckets[hash >> 20 & (cache->bucket_count - 1)];
}

struct cache *cache_new(struct device *dev, uint32_t block_size, size_t max_bytes, cache_seal_fn *seal,
                        void *arg, struct error *err)
{
    struct cache *cache = mem_new(sizeof *cache, err);
    if (!cache)
        return NULL;
    *cache = (struct cache){.dev = dev, .block_size = block_size, .seal = seal, .seal_arg = arg};
    cache->max_blocks = MAX_OF(max_bytes / block_size, MIN_BLOCKS);
    cache->bucket_count = 64;
    while (cache->bucket_count < cache->max_blocks)
        cache->bucket_count *= 2;
    cache->buckets = mem_array(cache->bucket_count, sizeof *cache->buckets, err);
    if (!cache->buckets) {
        free(cache);
        return NULL;
    }
    return cache;
}

static void unlink_age(struct cache *cache, struct cache_block *block)
{
    *(block->newer ? &block->newer->older : &cache->newest) = block->older;
    *(block->older ? &block->older->newer : &cache->oldest) = block->newer;
}

static void link_newest(struct cache *cache, struct cache_block *block)
{
    block->newer = NULL;
    block->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = block;
    cache->newest = block;
}

static struct cache_block *find(const struct cache *cache, uint64_t off)
{
    for (struct cache_block *block = *bucket_of(cache, off); block; block = block->hash_next)
        if (block->off == off)
            return block;
    return NULL;
}

static void set_clean(struct cache *cache, struct cache_block *block)
{
    if (!block->dirty)
        return;
    *(block->dirty_before ? &block->dirty_before->dirty_next : &cache->dirty) = block->dirty_next;
    if (block->dirty_next)
        block->dirty_next->dirty_before = block->dirty_before;
    block->dirty_next = block->dirty_before = NULL;
    block->dirty = false;
    cache->dirty_count--;
}

static void remove_block(struct cache *cache, struct cache_block *block)
{
    struct cache_block **hook = bucket_of(cache, block->off);
    while (*hook != block)
        hook = &(*hook)->hash_next;
    *hook = block->hash_next;
    unlink_age(cache, block);
    cache->count--;
    set_clean(cache, block);
    free(block->data);
    free(block);
}

/*
 * Room for one more block: drop the oldest clean one; when all are dirty, write them all first. Those that
 * must stay go to the other end of the list, so that the next search does not meet them again.
 */
static bool make_room(struct cache *cache, struct error *err)
{
    if (cache->count < cache->max_blocks)
        return true;
    for (int round = 0; round < 2; round++) {
        for (size_t n = cache->count; n > 0; n--) {
            struct cache_block *block = cache->oldest;
            if (!block->pins && !block->dirty) {
                remove_block(cache, block);
                return true;
            }
            unlink_age(cache, block);
            link_newest(cache, block);
        }
        if (!cache_flush(cache, err))
            return false;
    }
    return true; /* everything is pinned: exceed the bound rather than fail */
}

/* What the block holds is for the caller to fill in. */
static bool add_block(struct cache *cache, uint64_t off, struct cache_block **out, struct error *err)
{
    if (!make_room(cache, err))
        return false;
    struct cache_block *block = mem_new(sizeof *block, err);
    if (!block)
        return false;
    block->data = mem_bytes(cache->block_size, err);
    if (!block->data) {
        free(block);
        return false;
    }
    block->off = off;
    struct cache_block **bucket = bucket_of(cache, off);
    block->hash_next = *bucket;
    *bucket = block;
    link_newest(cache, block);
    cache->count++;
    *out = block;
    return true;
}

bool cache_get(struct cache *cache, uint64_t off, struct cache_block **out, struct error *err)
{
    assert(off % cache->block_size == 0);
    struct cache_block *block = find(cache, off);
    if (block) {
        cache->stats.hits++;
        if (cache->newest != block) {
            unlink_age(cache, block);
            link_newest(cache, block);
        }
    } else {
        cache->stats.misses++;
        if (!add_block(cache, off, &block, err))
            return false;
        if (!device_read(cache->dev, off, block->data, cache->block_size, err)) {
            remove_block(cache, block);
            return false;
        }
    }
    block->pins++;
    *out = block;
    return true;
}

bool cache_read_ahead(struct cache *cache, uint64_t off, uint64_t len, struct error *err)
{
    assert(off % cache->block_size == 0 && len % cache->block_size == 0);
    len = MIN_OF(len, (uint64_t)cache->max_blocks / 4 * cache->block_size);
    while (len > 0 && find(cache, off)) {
        off += cache->block_size;
        len -= cache->block_size;
    }
    uint64_t run = 0;
    while (run < len && !find(cache, off + run))
        run += cache->block_size;
    if (run <= cache->block_size)
        return true;
    uint8_t *buf = mem_new(run, err);
    bool ok = buf && device_read(cache->dev, off, buf, run, err);
    for (uint64_t at = 0; ok && at < run; at += cache->block_size) {
        struct cache_block *block;
        ok = add_block(cache, off + at, &block, err);
        if (ok)
            memcpy(block->data, buf + at, cache->block_size);
    }
    free(buf);
    return ok;
}

bool cache_held(const struct cache *cache, uint64_t off)
{
    const struct cache_block *block = find(cache, off);
    return block && block->pins > 0;
}

bool cache_get_new(struct cache *cache, uint64_t off, enum write_class class, struct cache_block **out,
                   struct error *err)
{
    assert(off % cache->block_size == 0);
    struct cache_block *block = find(cache, off);
    if (!block && !add_block(cache, off, &block, err))
        return false;
    memset(block->data, 0, cache->block_size);
    block->tag = 0;
    block->owner = 0;
    block->parts = 0;
    block->checked = true;
    block->pins++;
    cache_dirty(cache, block, class);
    *out = block;
    return true;
}

void cache_release(struct cache *cache, struct cache_block *block)
{
    (void)cache;
    if (block) {
        assert(block->pins > 0);
        block->pins--;
    }
}

void cache_dirty(struct cache *cache, struct cache_block *block, enum write_class class)
{
    if (!block->dirty) {
        block->dirty = true;
        block->dirty_next = cache->dirty;
        if (cache->dirty)
            cache->dirty->dirty_before = block;
        cache->dirty = block;
        block->write_class = class;
        cache->dirty_count++;
    } else if (class == WRITE_UPDATE) {
        block->write_class = WRITE_UPDATE;
    }
}

void cache_forget(struct cache *cache, uint64_t off)
{
    struct cache_block *block = find(cache, off);
    if (!block)
        return;
    if (block->pins == 0) {
        remove_block(cache, block);
    } else {
        set_clean(cache, block);
    }
}

void cache_forget_range(struct cache *cache, uint64_t off, uint64_t len)
{
    uint64_t blocks = len / cache->block_size;
    if (blocks <= cache->count) {
        for (uint64_t i = 0; i < blocks; i++)
            cache_forget(cache, off + i * cache->block_size);
        return;
    }
    for (struct cache_block *block = cache->oldest, *next; block; block = next) {
        next = block->newer;
        if (block->off >= off && block->off - off < len)
            cache_forget(cache, block->off);
    }
}

static int by_offset(const void *a, const void *b)
{
    const struct cache_block *x = *(struct cache_block *const *)a, *y = *(struct cache_block *const *)b;
    return x->off < y->off ? -1 : x->off > y->off;
}

/* Length in blocks of the run of neighbours of one class that begins at blocks[0]. */
static size_t run_length(const struct cache *cache, struct cache_block **blocks, size_t count)
{
    size_t n = 1, max = MAX_OF(MAX_RUN_BYTES / cache->block_size, 1);
    while (n < count && n < max && blocks[n]->off == blocks[n - 1]->off + cache->block_size &&
           blocks[n]->write_class == blocks[0]->write_class)
        n++;
    return n;
}

/* The contents of a run in one piece. */
static const uint8_t *gather(struct cache *cache, struct cache_block **blocks, size_t n, struct error *err)
{
    if (n == 1)
        return blocks[0]->data;
    if (!cache->run_buffer)
        cache->run_buffer = mem_new(MAX_OF(MAX_RUN_BYTES, cache->block_size), err);
    for (size_t i = 0; cache->run_buffer && i < n; i++)
        memcpy(cache->run_buffer + i * cache->block_size, blocks[i]->data, cache->block_size);
    return cache->run_buffer;
}

static bool write_run(struct cache *cache, struct cache_block **blocks, size_t n, struct error *err)
{
    for (size_t i = 0; cache->seal && i < n; i++)
        cache->seal(cache->seal_arg, blocks[i]);
    const uint8_t *data = gather(cache, blocks, n, err);
    if (!data ||
        !device_write(cache->dev, blocks[0]->off, data, n * cache->block_size, blocks[0]->write_class, err))
        return false;
    for (size_t i = 0; i < n; i++)
        set_clean(cache, blocks[i]);
    cache->stats.writes += n;
    return true;
}

bool cache_flush(struct cache *cache, struct error *err)
{
    if (cache->dirty_count == 0)
        return true;
    size_t count = 0;
    struct cache_block **dirty = mem_array(cache->dirty_count, sizeof(struct cache_block *), err);
    if (!dirty)
        return false;
    for (struct cache_block *block = cache->dirty; block; block = block->dirty_next)
        dirty[count++] = block;
    qsort(dirty, count, sizeof(struct cache_block *), by_offset);
    bool ok = true;
    for (size_t i = 0; ok && i < count;) {
        size_t n = run_length(cache, dirty + i, count - i);
        ok = write_run(cache, dirty + i, n, err);
        i += n;
    }
    free(dirty);
    return ok;
}

void cache_drop(struct cache *cache)
{
    while (cache->oldest) {
        assert(cache->oldest->pins == 0);
        remove_block(cache, cache->oldest);
    }
}

void cache_free(struct cache *cache)
{
    if (!cache)
        return;
    cache_drop(cache);
    free(cache->buckets);
    free(cache->run_buffer);
    free(cache);
}

struct cache_stats cache_stats(const struct cache *cache)
{
    struct cache_stats stats = cache->stats;
    stats.bytes = (uint64_t)cache->count * cache->block_size;
    stats.max_bytes = (uint64_t)cache->max_blocks * cache->block_size;
    return stats;
}

void cache_report(const struct cache *cache, struct report *report, const char *key)
{
    struct cache_stats stats = cache_stats(cache);
    report_open(report, key);
    report_number(report, "hits", stats.hits);
    report_number(report, "misses", stats.misses);
    report_number(report, "writes", stats.writes);
    report_size(report, "bytes", stats.bytes);
    report_size(report, "max-bytes", stats.max_bytes);
    report_close(report);
}

bool cache_view(struct cache *cache, struct cache_block **window, uint64_t off, uint8_t **at,
                struct error *err)
{
    uint64_t base = round_down(off, cache->block_size);
    if (!*window || (*window)->off != base) {
        cache_release(cache, *window);
        *window = NULL;
        if (!cache_get(cache, base, window, err)) {
            *window = NULL;
            return false;
        }
    }
    *at = (*window)->data + (off - base);
    return true;
}
