/* Cluster chains: each as a list of runs, built while it is walked, bounded over all chains. */
#include "fat.h"

enum { MAX_NODES = 4096, MAX_RUNS = 1024 * 1024, MAX_NODE_RUNS = MAX_RUNS / 4, AHEAD = 32768 };

static struct fat_node **bucket_of(struct fat *fat, uint32_t first)
{
    return &fat->nodes[first * 2654435761u >> 22 & (NODE_BUCKETS - 1)];
}

static void unlink_age(struct fat *fat, struct fat_node *node)
{
    *(node->newer ? &node->newer->older : &fat->newest_node) = node->older;
    *(node->older ? &node->older->newer : &fat->oldest_node) = node->newer;
}

static void link_newest(struct fat *fat, struct fat_node *node)
{
    node->newer = NULL;
    node->older = fat->newest_node;
    *(fat->newest_node ? &fat->newest_node->newer : &fat->oldest_node) = node;
    fat->newest_node = node;
}

static void drop_node(struct fat *fat, struct fat_node *node)
{
    struct fat_node **hook = bucket_of(fat, node->first);
    while (*hook != node)
        hook = &(*hook)->next;
    *hook = node->next;
    unlink_age(fat, node);
    fat->node_count--;
    fat->run_count -= node->count;
    free(node->runs);
    free(node);
}

static struct fat_node *find_node(struct fat *fat, uint32_t first)
{
    struct fat_node *node = *bucket_of(fat, first);
    while (node && node->first != first)
        node = node->next;
    return node;
}

void fat_node_forget(struct fat *fat, uint32_t first)
{
    struct fat_node *node = find_node(fat, first);
    if (node)
        drop_node(fat, node);
}

void fat_nodes_drop(struct fat *fat)
{
    while (fat->oldest_node)
        drop_node(fat, fat->oldest_node);
}

static bool add_run(struct fat *fat, struct fat_node *node, uint32_t cluster, uint32_t len, struct error *err)
{
    struct fat_run *last = node->count ? &node->runs[node->count - 1] : NULL;
    bool joins = last && !node->truncated && last->cluster + last->len == cluster;
    if (!joins && !node->truncated) {
        if (node->count == MAX_NODE_RUNS) {
            node->truncated = true;
        } else {
            if (!mem_grow(&node->runs, &node->capacity, node->count + 1, sizeof *node->runs, err))
                return false;
            node->runs[node->count++] = (struct fat_run){node->walked, cluster, 0};
            fat->run_count++;
            last = &node->runs[node->count - 1];
            joins = true;
        }
    }
    if (joins)
        last->len += len;
    node->walked += len;
    node->last = cluster + len - 1;
    return true;
}

bool fat_node_open(struct fat *fat, uint32_t first, struct fat_node **out, struct error *err)
{
    struct fat_node *node = find_node(fat, first);
    if (node) {
        unlink_age(fat, node);
        link_newest(fat, node);
        *out = node;
        return true;
    }
    if (!fat_valid_cluster(fat, first))
        return fail(err, E_DAMAGED, "first cluster %u; clusters are 2 to %u", first, fat->g.clusters + 1);
    while (fat->node_count >= MAX_NODES || (fat->node_count > 0 && fat->run_count >= MAX_RUNS))
        drop_node(fat, fat->oldest_node);
    node = mem_new(sizeof *node, err);
    if (!node)
        return false;
    node->first = first;
    node->next = *bucket_of(fat, first);
    *bucket_of(fat, first) = node;
    link_newest(fat, node);
    fat->node_count++;
    *out = node;
    return add_run(fat, node, first, 1, err);
}

/* Follow the FAT until cluster `index` has been passed or the chain ends. */
static bool walk(struct fat *fat, struct fat_node *node, uint32_t index, struct error *err)
{
    while (!node->complete && node->walked <= index) {
        uint32_t next;
        if (!fat_next(fat, node->last, &next, err))
            return false;
        if (next == CLUSTER_END) {
            node->complete = true;
            return true;
        }
        if (node->walked >= fat->g.clusters)
            return damaged(err, fat->fs.device, fat_entry_off(fat, node->last),
                           "the chain of cluster %u runs in a circle", node->first);
        if (node->walked % 65536 == 0 && !interrupt_check(err))
            return false;
        if (!add_run(fat, node, next, 1, err))
            return false;
    }
    return true;
}

static const struct fat_run *find_run(const struct fat_node *node, uint32_t index)
{
    size_t low = 0, high = node->count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (node->runs[middle].index <= index)
            low = middle;
        else
            high = middle;
    }
    return &node->runs[low];
}

bool fat_node_map(struct fat *fat, struct fat_node *node, uint32_t index, uint32_t *cluster, uint32_t *len,
                  struct error *err)
{
    struct error ignored;
    *len = 0;
    if (!walk(fat, node, index, err))
        return false;
    if (index >= node->walked)
        return true;
    /* Know more of the run than its first cluster; what is wrong further on is said when it is reached. */
    if (!node->complete && node->walked - index < AHEAD)
        (void)!walk(fat, node, index + MIN_OF(AHEAD, UINT32_MAX - 1 - index), &ignored);
    const struct fat_run *run = find_run(node, index);
    if (index - run->index < run->len) {
        *cluster = run->cluster + (index - run->index);
        *len = run->len - (index - run->index);
        return true;
    }
    /* Past the runs that are kept: walk again from the last of them. */
    uint32_t at = run->index + run->len - 1, here = run->cluster + run->len - 1;
    for (; at < index; at++)
        if (!fat_next(fat, here, &here, err))
            return false;
    *cluster = here;
    *len = 1;
    return true;
}

bool fat_node_length(struct fat *fat, struct fat_node *node, uint32_t *clusters, struct error *err)
{
    if (!walk(fat, node, UINT32_MAX - 1, err))
        return false;
    *clusters = node->walked;
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

bool fat_chain_grow(struct fat *fat, uint32_t *first, uint32_t total, uint32_t likely, struct error *err)
{
    struct fat_node *node = NULL;
    uint32_t have = 0;
    if (!fat_space_load(fat, err))
        return false;
    if (*first && (!fat_node_open(fat, *first, &node, err) || !fat_node_length(fat, node, &have, err)))
        return false;
    if (have >= total)
        return true;
    if (total - have > fat->space.free)
        return fail(err, E_NOSPACE, "the volume is full: %u clusters are free, %u are needed",
                    fat->space.free, total - have);
    while (have < total) {
        uint32_t start, len, goal = node ? node->last + 1 : 0;
        uint32_t room = MAX_OF(likely, total) - have;
        if (!node && room > total - have && !fat_space_find(fat, room, &goal))
            goal = 0;
        if (!fat_space_take(fat, total - have, goal, &start, &len, err) || !link_run(fat, start, len, err))
            return false;
        if (!node) {
            *first = start;
            if (!fat_node_open(fat, start, &node, err) ||
                (len > 1 && !add_run(fat, node, start + 1, len - 1, err)))
                return false;
            node->complete = true;
        } else if (!fat_set(fat, node->last, start, err) || !add_run(fat, node, start, len, err)) {
            return false;
        }
        have += len;
    }
    return true;
}

bool fat_chain_cut(struct fat *fat, uint32_t *first, uint32_t total, struct error *err)
{
    struct fat_node *node;
    uint32_t cluster, len, rest;
    if (*first == 0)
        return true;
    if (total == 0) {
        rest = *first;
        *first = 0;
        return fat_chain_free(fat, rest, err);
    }
    if (!fat_node_open(fat, *first, &node, err) || !fat_node_map(fat, node, total - 1, &cluster, &len, err))
        return false;
    if (len == 0 || !fat_next(fat, cluster, &rest, err))
        return len == 0;
    fat_node_forget(fat, *first);
    if (rest == CLUSTER_END)
        return true;
    return fat_set(fat, cluster, CLUSTER_END, err) && fat_chain_free(fat, rest, err);
}
