/*
 * A bounded cache of equal-sized blocks of one device, for a format's metadata. It lives as long as the
 * volume is open. Dirty blocks are written by cache_flush() in rising order, neighbours in one request, and
 * when the bound is reached. A cache is only a speed-up: dropping it after a flush changes no result.
 */
#ifndef DISH_CACHE_H
#define DISH_CACHE_H

#include "device.h"
#include "report.h"

struct cache;

struct cache_block {
    uint64_t off;   /* bytes in the device; a multiple of the block size */
    uint8_t *data;  /* block size bytes; change them only when followed by cache_dirty() */
    uint32_t tag;   /* the format's: what sort of block it is, for the seal hook; 0 after a read */
    uint64_t owner; /* the format's: which inode, group ... owns it */
    uint64_t parts; /* the format's: which parts of it changed since they were sealed; 0 after a read */
    bool checked;   /* the format's: the block passed its checks since it was read */
    /* private to cache.c: */
    bool dirty;
    enum write_class write_class;
    unsigned pins;
    struct cache_block *hash_next, *newer, *older, *dirty_next, *dirty_before;
};

/* Whether somebody else holds a block that was got, too. */
static inline bool cache_shared(const struct cache_block *block)
{
    return block->pins > 1;
}

/* Called before a dirty block is written: set its checksum. */
typedef void cache_seal_fn(void *arg, struct cache_block *);

struct cache_stats {
    uint64_t hits, misses, writes, bytes, max_bytes;
};

/* max_bytes bounds the memory (at least 16 blocks are kept). seal may be NULL. */
struct cache *cache_new(struct device *, uint32_t block_size, size_t max_bytes, cache_seal_fn *seal,
                        void *arg, struct error *) DISH_CHECKED;
void cache_free(struct cache *); /* without writing; NULL is fine */

/* The block at off, read when absent. It stays where it is until cache_release(). */
bool cache_get(struct cache *, uint64_t off, struct cache_block **out, struct error *) DISH_CHECKED;
/*
 * Read the first run of absent blocks in a range (multiples of the block size) with one request. A hint: at
 * most a quarter of the cache is filled.
 */
bool cache_read_ahead(struct cache *, uint64_t off, uint64_t len, struct error *) DISH_CHECKED;
/* Whether somebody holds the block at this offset. */
bool cache_held(const struct cache *, uint64_t off);
/* As cache_get() for a block about to be filled anew: zeros, not read, dirty with the class given. */
bool cache_get_new(struct cache *, uint64_t off, enum write_class, struct cache_block **out,
                   struct error *) DISH_CHECKED;
void cache_release(struct cache *, struct cache_block *); /* NULL is fine */
/* The data changed. A block that was dirty as update stays update. */
void cache_dirty(struct cache *, struct cache_block *, enum write_class);
/* The block was freed: its contents no longer matter and are not written. */
void cache_forget(struct cache *, uint64_t off);
/* The same for all blocks in a range, however long it is. */
void cache_forget_range(struct cache *, uint64_t off, uint64_t len);

bool cache_flush(struct cache *, struct error *) DISH_CHECKED;
/* Forget everything, dirty or not (after an undo). Nothing may be pinned. */
void cache_drop(struct cache *);
struct cache_stats cache_stats(const struct cache *);
void cache_report(const struct cache *, struct report *, const char *key);

/*
 * Byte `off` through a window: the block looked at last, which stays pinned (NULL: none yet). For tables that
 * are read entry by entry. The window's owner releases it, before a flush or drop above all.
 */
bool cache_view(struct cache *, struct cache_block **window, uint64_t off, uint8_t **at,
                struct error *) DISH_CHECKED;

#endif
