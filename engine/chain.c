/* Hash table by first cluster and one list by age of use. */
#include "chain.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>

enum {
    BUCKETS = 8192,
    MAX_CHAINS = 4096,
    MAX_RUNS = 1024 * 1024, /* of all chains */
    MAX_CHAIN_RUNS = MAX_RUNS / 4,
    AHEAD = 32768, /* clusters walked at once, so that long runs are seen whole */
};

struct chains {
    struct chain *buckets[BUCKETS], *newest, *oldest;
    size_t count, run_count;
    uint32_t limit;
    chain_next_fn *next;
    void *arg;
};

struct chains *chains_new(uint32_t limit, chain_next_fn *next, void *arg, struct error *err)
{
    struct chains *chains = mem_new(sizeof *chains, err);
    if (!chains)
        return NULL;
    chains->limit = limit;
    chains->next = next;
    chains->arg = arg;
    return chains;
}

static struct chain **bucket_of(struct chains *chains, uint32_t first)
{
    return &chains->buckets[first * 2654435761u >> 19 & (BUCKETS - 1)];
}

static void unlink_age(struct chains *chains, struct chain *chain)
{
    *(chain->newer ? &chain->newer->older : &chains->newest) = chain->older;
    *(chain->older ? &chain->older->newer : &chains->oldest) = chain->newer;
}

static void link_newest(struct chains *chains, struct chain *chain)
{
    chain->newer = NULL;
    chain->older = chains->newest;
    *(chains->newest ? &chains->newest->newer : &chains->oldest) = chain;
    chains->newest = chain;
}

static void drop(struct chains *chains, struct chain *chain)
{
    struct chain **hook = bucket_of(chains, chain->first);
    while (*hook != chain)
        hook = &(*hook)->next;
    *hook = chain->next;
    unlink_age(chains, chain);
    chains->count--;
    chains->run_count -= chain->count;
    free(chain->runs);
    free(chain);
}

static struct chain *find(struct chains *chains, uint32_t first)
{
    struct chain *chain = *bucket_of(chains, first);
    while (chain && chain->first != first)
        chain = chain->next;
    return chain;
}

void chain_forget(struct chains *chains, uint32_t first)
{
    struct chain *chain = find(chains, first);
    if (chain)
        drop(chains, chain);
}

void chains_drop(struct chains *chains)
{
    while (chains->oldest)
        drop(chains, chains->oldest);
}

void chains_free(struct chains *chains)
{
    if (chains)
        chains_drop(chains);
    free(chains);
}

size_t chains_count(const struct chains *chains)
{
    return chains->count;
}

bool chain_append(struct chains *chains, struct chain *chain, uint32_t cluster, uint32_t len,
                  struct error *err)
{
    struct chain_run *last = chain->count ? &chain->runs[chain->count - 1] : NULL;
    if (chain->count == MAX_CHAIN_RUNS && !(last->cluster + last->len == cluster))
        chain->truncated = true;
    if (!chain->truncated && !(last && last->cluster + last->len == cluster)) {
        if (!mem_grow(&chain->runs, &chain->capacity, chain->count + 1, sizeof *chain->runs, err))
            return false;
        last = &chain->runs[chain->count++];
        *last = (struct chain_run){chain->walked, cluster, 0};
        chains->run_count++;
    }
    if (!chain->truncated)
        last->len += len;
    chain->walked += len;
    chain->last = cluster + len - 1;
    return true;
}

bool chain_open(struct chains *chains, uint32_t first, struct chain **out, struct error *err)
{
    struct chain *chain = find(chains, first);
    if (chain) {
        unlink_age(chains, chain);
        link_newest(chains, chain);
        *out = chain;
        return true;
    }
    while (chains->count >= MAX_CHAINS || (chains->count > 0 && chains->run_count >= MAX_RUNS))
        drop(chains, chains->oldest);
    chain = mem_new(sizeof *chain, err);
    if (!chain)
        return false;
    chain->first = first;
    chain->next = *bucket_of(chains, first);
    *bucket_of(chains, first) = chain;
    link_newest(chains, chain);
    chains->count++;
    if (!chain_append(chains, chain, first, 1, err)) {
        drop(chains, chain); /* or it would be found later, without its first cluster */
        return false;
    }
    *out = chain;
    return true;
}

/* Follow the table until cluster `index` has been passed or the chain ends. */
static bool walk(struct chains *chains, struct chain *chain, uint32_t index, struct error *err)
{
    while (!chain->complete && chain->walked <= index) {
        uint32_t next;
        if (!chains->next(chains->arg, chain->last, &next, err))
            return false;
        if (next == CHAIN_END) {
            chain->complete = true;
            return true;
        }
        if (chain->walked >= chains->limit)
            return fail(err, E_DAMAGED, "the chain of cluster %u runs in a circle", chain->first);
        if ((chain->walked % 65536 == 0 && !interrupt_check(err)) ||
            !chain_append(chains, chain, next, 1, err))
            return false;
    }
    return true;
}

static const struct chain_run *find_run(const struct chain *chain, uint32_t index)
{
    size_t low = 0, high = chain->count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (chain->runs[middle].index <= index)
            low = middle;
        else
            high = middle;
    }
    return &chain->runs[low];
}

bool chain_map(struct chains *chains, struct chain *chain, uint32_t index, uint32_t *cluster, uint32_t *len,
               struct error *err)
{
    struct error ignored;
    *len = 0;
    if (!walk(chains, chain, index, err))
        return false;
    if (index >= chain->walked)
        return true;
    /* Know more of the run than its first cluster; what is wrong further on is said when it is reached. */
    if (!chain->complete && chain->walked - index < AHEAD)
        (void)!walk(chains, chain, index + MIN_OF(AHEAD, UINT32_MAX - 1 - index), &ignored);
    const struct chain_run *run = find_run(chain, index);
    if (index - run->index < run->len) {
        *cluster = run->cluster + (index - run->index);
        *len = run->len - (index - run->index);
        return true;
    }
    /* Past the runs that are kept: walk again from the last of them. */
    uint32_t at = run->index + run->len - 1, here = run->cluster + run->len - 1;
    for (; at < index; at++)
        if (!chains->next(chains->arg, here, &here, err))
            return false;
    *cluster = here;
    *len = 1;
    return true;
}

bool chain_complete(struct chains *chains, struct chain *chain, struct error *err)
{
    return walk(chains, chain, UINT32_MAX - 1, err);
}
