/*
 * Which clusters go where. The last clusters of the file fill its gaps from the front, in runs, so that
 * little is copied; clusters that must stay neighbours (tables, compressed clusters that share a cluster) go
 * together. When such a group finds no gap that is large enough, everything behind the first gap slides down
 * instead, if that gains enough.
 */
#include "alloc.h"
#include "move.h"

#include <stdlib.h>

/* Sliding copies nearly all of the file: done when at least one of so many clusters is gained. */
enum { SLIDE_SHARE = 16 };

static bool add_move(struct qcow2_moving *m, uint64_t from, uint64_t to, uint64_t len, struct error *err)
{
    if (!mem_grow(&m->moves, &m->capacity, m->count + 1, sizeof *m->moves, err))
        return false;
    m->moves[m->count++] = (struct qcow2_move){from, to, len};
    return true;
}

static bool is_used(const struct qcow2_moving *m, uint64_t cluster)
{
    return counts_get(&m->walk.counts, cluster) > 0;
}

/* Neither used nor of the refcount structure, which is not touched before it is replaced. */
static bool is_gap(const struct qcow2_moving *m, const struct ranges *reserved, uint64_t cluster)
{
    return !is_used(m, cluster) && !ranges_contains(reserved, cluster, 1);
}

/* The first run of free clusters from `at` on, below `end` and at most `most` long; 0: there is none. */
static uint64_t next_gap(const struct qcow2_moving *m, const struct ranges *reserved, uint64_t *at,
                         uint64_t end, uint64_t most)
{
    while (*at < end && !is_gap(m, reserved, *at))
        ++*at;
    uint64_t len = 0;
    while (*at + len < end && len < most && is_gap(m, reserved, *at + len))
        len++;
    return len;
}

/* Lower *top over free clusters, fast where nothing at all was counted. */
static void skip_free(const struct qcow2_moving *m, uint64_t *top, uint64_t floor)
{
    while (*top > floor && !is_used(m, *top - 1)) {
        uint64_t chunk = (*top - 1) / COUNTS_CHUNK;
        *top = counts_has_chunk(&m->walk.counts, chunk) ? *top - 1 : MAX_OF(floor, chunk * COUNTS_CHUNK);
    }
}

/* The largest part, at most `most` clusters, of the used run that ends at top which can go by itself. */
static uint64_t run_before(const struct qcow2_moving *m, uint64_t top, uint64_t floor, uint64_t most)
{
    uint64_t start = top;
    struct range group;
    while (start > floor && top - start < most && is_used(m, start - 1))
        start--;
    /* The run must not begin inside a group. */
    if (start > 0 && start < top && ranges_next(&m->joined, start - 1, &group) && group.start == start - 1)
        start = group.start + group.len + 1;
    return start < top ? top - start : 0;
}

static bool fill_gaps(struct qcow2_moving *m, const struct ranges *reserved, bool *stuck, struct error *err)
{
    enum { MOST = 1 << 16 };
    uint64_t gap = m->first_movable, top = m->end;
    *stuck = false;
    while (m->count < MAX_MOVES) {
        skip_free(m, &top, gap);
        uint64_t room = next_gap(m, reserved, &gap, top, MOST);
        if (room == 0)
            return true;
        if (!interrupt_check(err))
            return false;
        uint64_t len = run_before(m, top, gap + room, room);
        if (len == 0) {
            *stuck = true;
            gap += room;
            continue;
        }
        if (!add_move(m, top - len, gap, len, err))
            return false;
        top -= len;
        gap += len;
    }
    return true;
}

static bool slide(struct qcow2_moving *m, const struct ranges *reserved, struct error *err)
{
    uint64_t to = m->first_movable;
    if (next_gap(m, reserved, &to, m->end, 1) == 0)
        return true;
    for (uint64_t from = to; from < m->end && m->count < MAX_MOVES;) {
        while (from < m->end && !is_used(m, from))
            from += counts_has_chunk(&m->walk.counts, from / COUNTS_CHUNK)
                        ? 1
                        : COUNTS_CHUNK - from % COUNTS_CHUNK;
        uint64_t len = 0;
        while (from + len < m->end && is_used(m, from + len))
            len++;
        /* Over the refcount structure, which stays where it is until it is replaced. */
        struct range obstacle;
        while (len && ranges_next(reserved, to, &obstacle) && obstacle.start < to + len)
            to = obstacle.start + obstacle.len;
        if (!interrupt_check(err))
            return false;
        if (to < from && len && !add_move(m, from, to, len, err))
            return false;
        to += len;
        from += len;
    }
    return true;
}

static bool reserve(const struct qcow2_moving *m, struct ranges *reserved, struct error *err)
{
    const struct qcow2 *q = m->q;
    for (uint64_t i = 0; i < m->walk.block_count; i++)
        if (m->walk.blocks[i] && !ranges_add(reserved, m->walk.blocks[i] >> q->cluster_bits, 1, err))
            return false;
    return ranges_add(reserved, q->h.refcount_table_offset >> q->cluster_bits, q->h.refcount_table_clusters,
                      err);
}

static int by_from(const void *a, const void *b)
{
    uint64_t x = ((const struct qcow2_move *)a)->from, y = ((const struct qcow2_move *)b)->from;
    return x < y ? -1 : x > y;
}

bool qcow2_move_plan(struct qcow2_moving *m, struct error *err)
{
    struct ranges reserved = {0};
    bool stuck = false;
    m->count = 0;
    bool ok = reserve(m, &reserved, err) && fill_gaps(m, &reserved, &stuck, err);
    bool worth = (m->end - MIN_OF(m->end, qcow2_move_least(m))) * SLIDE_SHARE >= m->end;
    if (ok && m->count == 0 && stuck && worth)
        ok = slide(m, &reserved, err);
    ranges_clear(&reserved);
    if (ok && m->count)
        qsort(m->moves, m->count, sizeof *m->moves, by_from);
    return ok;
}

uint64_t qcow2_move_least(const struct qcow2_moving *m)
{
    const struct qcow2 *q = m->q;
    uint64_t used = 0, least;
    for (size_t i = 0; m->walk.counts.slots && i <= m->walk.counts.mask; i++)
        for (uint64_t k = 0; m->walk.counts.slots[i] && k < COUNTS_CHUNK; k++)
            used += is_used(m, m->walk.counts.slots[i]->index * COUNTS_CHUNK + k);
    for (least = used;;) {
        uint64_t blocks = div_up(least, q->rb_entries), tables = div_up(blocks * 8, q->cluster_size);
        if (used + blocks + tables == least)
            return least;
        least = used + blocks + tables;
    }
}

static const struct qcow2_move *find_move(const struct qcow2_moving *m, uint64_t cluster)
{
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->moves[middle].from + m->moves[middle].len <= cluster)
            low = middle + 1;
        else
            high = middle;
    }
    return low < m->count && m->moves[low].from <= cluster ? &m->moves[low] : NULL;
}

uint64_t qcow2_moved_cluster(const struct qcow2_moving *m, uint64_t cluster)
{
    const struct qcow2_move *move = find_move(m, cluster);
    return move ? move->to + (cluster - move->from) : cluster;
}

uint64_t qcow2_moved_offset(const struct qcow2_moving *m, uint64_t off)
{
    unsigned bits = m->q->cluster_bits;
    return qcow2_moved_cluster(m, off >> bits) << bits | (off & (m->q->cluster_size - 1));
}
