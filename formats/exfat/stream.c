/*
 * The clusters of a file: one run without a FAT chain as long as that is possible, a chain from then on. A
 * file that was given a chain keeps it until it is empty.
 */
#include "exfat.h"

/* A circle is noticed without a place: it is that of the first cluster. */
static bool placed(struct exfat *exfat, const struct exfat_stream *s, struct error *err)
{
    if (err->kind == E_DAMAGED && !err->device) {
        err->device = exfat->fs.device;
        err->offset = exfat->g.fat_off + (uint64_t)s->first * 4;
    }
    return false;
}

bool exfat_stream_clusters(struct exfat *exfat, const struct exfat_stream *s, uint32_t *clusters,
                           struct error *err)
{
    struct chain *chain;
    *clusters = 0;
    if (s->first == 0)
        return true;
    if (s->contiguous) {
        *clusters = exfat_clusters_for(exfat, s->size);
        return true;
    }
    if (!chain_open(exfat->chains, s->first, &chain, err) || !chain_complete(exfat->chains, chain, err))
        return placed(exfat, s, err);
    *clusters = chain->walked;
    return true;
}

bool exfat_stream_map(struct exfat *exfat, const struct exfat_stream *s, uint32_t index, uint32_t *cluster,
                      uint32_t *len, struct error *err)
{
    struct chain *chain;
    *len = 0;
    if (s->first == 0)
        return true;
    if (!s->contiguous)
        return (chain_open(exfat->chains, s->first, &chain, err) &&
                chain_map(exfat->chains, chain, index, cluster, len, err)) ||
               placed(exfat, s, err);
    uint32_t total = exfat_clusters_for(exfat, s->size);
    if (index < total) {
        *cluster = s->first + index;
        *len = total - index;
    }
    return true;
}

/* Take a run, on disk too. */
static bool take(struct exfat *exfat, uint32_t want, uint32_t goal, uint32_t *start, uint32_t *len,
                 struct error *err)
{
    return space_take(&exfat->space, want, goal, start, len, err) &&
           exfat_bitmap_mark(exfat, *start, *len, true, err);
}

static bool give_back(struct exfat *exfat, uint32_t start, uint32_t len, struct error *err)
{
    return space_release(&exfat->space, start, len, err) && exfat_bitmap_mark(exfat, start, len, false, err);
}

static bool link_run(struct exfat *exfat, uint32_t start, uint32_t len, struct error *err)
{
    for (uint32_t c = start; c < start + len; c++)
        if (!exfat_fat_set(exfat, c, c + 1 < start + len ? c + 1 : CLUSTER_END, err))
            return false;
    return true;
}

/* A run becomes a chain: only now its FAT entries count. */
static bool make_chain(struct exfat *exfat, struct exfat_stream *s, uint32_t have, struct error *err)
{
    struct chain *chain;
    s->contiguous = false;
    chain_forget(exfat->chains, s->first);
    if (!link_run(exfat, s->first, have, err) || !chain_open(exfat->chains, s->first, &chain, err))
        return false;
    return chain_complete(exfat->chains, chain, err);
}

/* Where the first run of a file lies: where there is room for all that is expected, if there is such a place.
 */
static bool begin(struct exfat *exfat, struct exfat_stream *s, uint32_t want, uint32_t likely,
                  uint32_t *start, uint32_t *len, struct error *err)
{
    uint32_t goal = 0;
    if (likely > want && !space_find(&exfat->space, likely, &goal))
        goal = 0;
    if (!take(exfat, want, goal, start, len, err))
        return false;
    s->first = *start;
    s->contiguous = true;
    return true;
}

bool exfat_stream_add(struct exfat *exfat, struct exfat_stream *s, uint32_t have, uint32_t want,
                      uint32_t likely, uint32_t *start, uint32_t *len, struct error *err)
{
    struct chain *chain;
    if (s->first == 0)
        return begin(exfat, s, want, likely, start, len, err);
    if (s->contiguous && space_free_at(&exfat->space, s->first + have, want) == want)
        return take(exfat, want, s->first + have, start, len, err);
    if (s->contiguous && !make_chain(exfat, s, have, err))
        return false;
    if (!chain_open(exfat->chains, s->first, &chain, err) || !chain_complete(exfat->chains, chain, err))
        return placed(exfat, s, err);
    return take(exfat, want, chain->last + 1, start, len, err) && link_run(exfat, *start, *len, err) &&
           exfat_fat_set(exfat, chain->last, *start, err) &&
           chain_append(exfat->chains, chain, *start, *len, err);
}

bool exfat_stream_to_grow(struct exfat *exfat, const struct exfat_stream *s, uint32_t total, uint32_t *have,
                          struct error *err)
{
    if (!exfat_space_load(exfat, err) || !exfat_stream_clusters(exfat, s, have, err))
        return false;
    return *have >= total || total - *have <= exfat->space.free ||
           fail(err, E_NOSPACE, "the volume is full: %u clusters are free, %u are needed", exfat->space.free,
                total - *have);
}

bool exfat_stream_grow(struct exfat *exfat, struct exfat_stream *s, uint32_t total, uint32_t likely,
                       struct error *err)
{
    uint32_t have, start, len;
    if (!exfat_stream_to_grow(exfat, s, total, &have, err))
        return false;
    for (; have < total; have += len)
        if (!exfat_stream_add(exfat, s, have, total - have, likely, &start, &len, err))
            return false;
    return true;
}

/* Free a chain from a cluster on; its FAT entries mean nothing from then on and stay. */
static bool free_chain(struct exfat *exfat, uint32_t first, struct error *err)
{
    uint32_t start = first, len = 0, cluster = first;
    for (uint64_t n = 0; exfat_valid_cluster(exfat, cluster) && n < exfat->g.clusters; n++) {
        if (cluster != start + len) {
            if (!give_back(exfat, start, len, err))
                return false;
            start = cluster;
            len = 0;
        }
        len++;
        if (!exfat_fat_get(exfat, cluster, &cluster, err))
            return false;
    }
    return len == 0 || give_back(exfat, start, len, err);
}

bool exfat_stream_cut(struct exfat *exfat, struct exfat_stream *s, uint32_t total, struct error *err)
{
    uint32_t have, cluster, len, rest = s->first;
    if (s->first == 0)
        return true;
    if (!exfat_space_load(exfat, err) || !exfat_stream_clusters(exfat, s, &have, err))
        return false;
    if (have <= total)
        return true;
    if (s->contiguous) {
        if (!give_back(exfat, s->first + total, have - total, err))
            return false;
    } else {
        if (total > 0 &&
            (!exfat_stream_map(exfat, s, total - 1, &cluster, &len, err) ||
             !exfat_fat_get(exfat, cluster, &rest, err) || !exfat_fat_set(exfat, cluster, CLUSTER_END, err)))
            return false;
        chain_forget(exfat->chains, s->first);
        if (!free_chain(exfat, rest, err))
            return false;
    }
    if (total == 0) {
        s->first = 0;
        s->contiguous = false;
    }
    return true;
}
