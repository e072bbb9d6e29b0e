/* Cluster chains of the volume: reading them through chain.h, growing and cutting them. */
#include "fat.h"

bool fat_chain_step(void *arg, uint32_t cluster, uint32_t *next, struct error *err)
{
    if (!fat_next(arg, cluster, next, err))
        return false;
    if (*next == CLUSTER_END)
        *next = CHAIN_END;
    return true;
}

/* A circle is noticed without a place: it is that of the first cluster. */
static bool placed(struct fat *fat, const struct chain *chain, struct error *err)
{
    if (err->kind == E_DAMAGED && !err->device) {
        err->device = fat->fs.device;
        err->offset = fat_entry_off(fat, chain->first);
    }
    return false;
}

bool fat_chain_open(struct fat *fat, uint32_t first, struct chain **out, struct error *err)
{
    if (!fat_valid_cluster(fat, first))
        return fail(err, E_DAMAGED, "first cluster %u; clusters are 2 to %u", first, fat->g.clusters + 1);
    return chain_open(fat->chains, first, out, err);
}

bool fat_chain_map(struct fat *fat, struct chain *chain, uint32_t index, uint32_t *cluster, uint32_t *len,
                   struct error *err)
{
    return chain_map(fat->chains, chain, index, cluster, len, err) || placed(fat, chain, err);
}

bool fat_chain_length(struct fat *fat, struct chain *chain, uint32_t *clusters, struct error *err)
{
    if (!chain_complete(fat->chains, chain, err))
        return placed(fat, chain, err);
    *clusters = chain->walked;
    return true;
}

/* Write the FAT entries of a new run that ends the chain. */
static bool link_run(struct fat *fat, uint32_t start, uint32_t len, struct error *err)
{
    for (uint32_t c = start; c < start + len; c++)
        if (!fat_set(fat, c, c + 1 < start + len ? c + 1 : CLUSTER_END, err))
            return false;
    return true;
}

bool fat_chain_add(struct fat *fat, struct chain **chain, uint32_t want, uint32_t likely, uint32_t *start,
                   uint32_t *len, struct error *err)
{
    uint32_t goal = *chain ? (*chain)->last + 1 : 0;
    if (!*chain && likely > want && !space_find(&fat->space, likely, &goal))
        goal = 0;
    if (!space_take(&fat->space, want, goal, start, len, err) || !link_run(fat, *start, *len, err))
        return false;
    if (*chain)
        return fat_set(fat, (*chain)->last, *start, err) &&
               chain_append(fat->chains, *chain, *start, *len, err);
    /* On a damaged volume it may have been freed as a part of another file. */
    chain_forget(fat->chains, *start);
    if (!fat_chain_open(fat, *start, chain, err))
        return false;
    (*chain)->complete = true;
    return *len == 1 || chain_append(fat->chains, *chain, *start + 1, *len - 1, err);
}

bool fat_chain_to_grow(struct fat *fat, uint32_t first, uint32_t total, struct chain **chain,
                       struct error *err)
{
    uint32_t have = 0;
    *chain = NULL;
    if (!fat_space_load(fat, err))
        return false;
    if (first && (!fat_chain_open(fat, first, chain, err) || !fat_chain_length(fat, *chain, &have, err)))
        return false;
    return have >= total || total - have <= fat->space.free ||
           fail(err, E_NOSPACE, "the volume is full: %u clusters are free, %u are needed", fat->space.free,
                total - have);
}

bool fat_chain_grow(struct fat *fat, uint32_t *first, uint32_t total, uint32_t likely, struct error *err)
{
    struct chain *chain;
    uint32_t start, len;
    if (!fat_chain_to_grow(fat, *first, total, &chain, err))
        return false;
    while (total > 0 && (!chain || chain->walked < total))
        if (!fat_chain_add(fat, &chain, total - (chain ? chain->walked : 0), likely, &start, &len, err))
            return false;
    *first = chain ? chain->first : 0;
    return true;
}

bool fat_chain_cut(struct fat *fat, uint32_t *first, uint32_t total, struct error *err)
{
    struct chain *chain;
    uint32_t cluster, len, rest;
    if (*first == 0)
        return true;
    if (total == 0) {
        rest = *first;
        *first = 0;
        return fat_chain_free(fat, rest, err);
    }
    if (!fat_chain_open(fat, *first, &chain, err) ||
        !fat_chain_map(fat, chain, total - 1, &cluster, &len, err))
        return false;
    if (len == 0 || !fat_next(fat, cluster, &rest, err))
        return len == 0;
    chain_forget(fat->chains, *first);
    if (rest == CLUSTER_END)
        return true;
    if (!fat_set(fat, cluster, CLUSTER_END, err) || !fat_chain_free(fat, rest, err) ||
        !fat_get(fat, cluster, &rest, err))
        return false;
    /* What was behind led back into what was to stay: that is free now. */
    return rest == CLUSTER_END || damaged(err, fat->fs.device, fat_entry_off(fat, *first),
                                          "the chain of cluster %u runs in a circle", *first);
}
