/*
 * Making the file shorter: its last clusters move into the gaps, all that refers to them follows, and a new
 * refcount structure is laid behind the rest. Nothing is believed: after the moves the references are counted
 * anew, and must be as sound and as many as before. All of it lies in one transaction.
 */
#include "move.h"
#include "alloc.h"
#include "write.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- what must stay together ---- */

static bool join(struct qcow2_moving *m, uint64_t off, uint64_t bytes, struct error *err)
{
    unsigned bits = m->q->cluster_bits;
    if (bytes == 0)
        return true;
    uint64_t first = off >> bits, last = (off + bytes - 1) >> bits;
    return last == first || ranges_add(&m->joined, first, last - first, err);
}

/* Entries of an L2 table, a piece at a time; *changed: the piece is to be written. */
typedef bool piece_fn(struct qcow2_moving *, uint8_t *raw, size_t n, bool *changed, struct error *);

/* Tables are read past the cache: they lie where the file has them now. */
static bool each_piece(struct qcow2_moving *m, uint64_t off, uint64_t bytes, piece_fn *fn, struct error *err)
{
    enum { PIECE = 64 * 1024 };
    struct qcow2 *q = m->q;
    uint8_t *raw = mem_new(PIECE, err);
    bool ok = raw != NULL;
    for (uint64_t at = 0; ok && at < bytes; at += PIECE) {
        size_t n = (size_t)MIN_OF(PIECE, bytes - at);
        bool changed = false;
        ok = interrupt_check(err) && qcow2_file_read(q, off + at, raw, n, err) &&
             (all_zero(raw, n) || fn(m, raw, n, &changed, err)) &&
             (!changed || qcow2_file_write(q, off + at, raw, n, WRITE_UPDATE, err));
    }
    free(raw);
    return ok;
}

static bool join_compressed(struct qcow2_moving *m, uint8_t *raw, size_t n, bool *changed, struct error *err)
{
    (void)changed;
    for (size_t i = 0; i < n; i += m->q->entry_size) {
        uint64_t entry = load_be64(raw + i), off, len;
        if (!(entry & ENTRY_COMPRESSED))
            continue;
        qcow2_compressed_place(m->q, entry, &off, &len);
        if (!join(m, off, len, err))
            return false;
    }
    return true;
}

static bool find_groups(struct qcow2_moving *m, struct error *err)
{
    struct qcow2 *q = m->q;
    ranges_clear(&m->joined);
    bool ok = join(m, q->h.l1_table_offset, (uint64_t)q->h.l1_size * 8, err) &&
              join(m, q->h.snapshots_offset, m->snapshots.bytes, err) &&
              (!q->bitmaps.present || join(m, q->bitmaps.directory_offset, q->bitmaps.directory_size, err));
    for (size_t i = 0; ok && i < m->snapshots.count; i++)
        ok = join(m, m->snapshots.items[i].l1_offset, (uint64_t)m->snapshots.items[i].l1_size * 8, err);
    for (size_t i = 0; ok && i < m->bitmaps.count; i++)
        ok = join(m, m->bitmaps.items[i].table_offset, (uint64_t)m->bitmaps.items[i].table_size * 8, err);
    for (size_t i = 0; ok && i < m->walk.l2_used; i++)
        ok = each_piece(m, m->walk.l2[i].table, q->cluster_size, join_compressed, err);
    return ok;
}

/* ---- the bytes ---- */

static bool copy_run(struct qcow2 *q, const struct qcow2_move *move, struct error *err)
{
    uint64_t from = move->from << q->cluster_bits, to = move->to << q->cluster_bits,
             bytes = move->len << q->cluster_bits;
    for (uint64_t at = 0; at < bytes; at += BOUNCE) {
        size_t n = (size_t)MIN_OF(BOUNCE, bytes - at);
        if (!interrupt_check(err) || !qcow2_file_read(q, from + at, q->bounce, n, err))
            return false;
        bool ok = all_zero(q->bounce, n) ? qcow2_file_zero(q, to + at, n, err)
                                         : qcow2_file_write(q, to + at, q->bounce, n, WRITE_UPDATE, err);
        if (!ok)
            return false;
    }
    return true;
}

/* What was free at the last commit, and since, takes bulk data directly. */
static bool mark_fresh(struct qcow2_moving *m, const struct qcow2_move *move, struct error *err)
{
    struct qcow2 *q = m->q;
    for (uint64_t i = move->to; i < move->to + move->len; i++) {
        uint64_t stored;
        if (!qcow2_walk_stored(&m->walk, i, &stored, err))
            return false;
        if (stored == 0 && !ranges_contains(&q->freed, i, 1) && !ranges_add(&q->fresh, i, 1, err))
            return false;
    }
    return true;
}

static bool copy_all(struct qcow2_moving *m, struct error *err)
{
    struct qcow2 *q = m->q;
    for (size_t i = 0; i < m->count; i++)
        if (!mark_fresh(m, &m->moves[i], err) ||
            !ranges_remove(&q->punch, m->moves[i].to, m->moves[i].len, err))
            return false;
    for (size_t i = 0; i < m->count; i++)
        if (!copy_run(q, &m->moves[i], err) || !ranges_add(&q->freed, m->moves[i].from, m->moves[i].len, err))
            return false;
    cache_drop(q->meta);
    qcow2_codec_forget(q);
    return true;
}

/* ---- the references ---- */

static void point_to(const struct qcow2_moving *m, uint8_t *raw, bool *changed)
{
    uint64_t entry = load_be64(raw), old = entry & ENTRY_OFFSET, now = qcow2_moved_offset(m, old);
    if (now == old)
        return;
    store_be64(raw, (entry & ~ENTRY_OFFSET) | now);
    *changed = true;
}

static void point_compressed(const struct qcow2_moving *m, uint8_t *raw, bool *changed)
{
    uint64_t entry = load_be64(raw), old, len;
    qcow2_compressed_place(m->q, entry, &old, &len);
    uint64_t now = qcow2_moved_offset(m, old);
    if (now == old)
        return;
    store_be64(raw, entry - old + now);
    *changed = true;
}

static bool point_l2(struct qcow2_moving *m, uint8_t *raw, size_t n, bool *changed, struct error *err)
{
    (void)err;
    for (size_t i = 0; i < n; i += m->q->entry_size)
        if (load_be64(raw + i) & ENTRY_COMPRESSED)
            point_compressed(m, raw + i, changed);
        else if (!qcow2_has_data_file(m->q))
            point_to(m, raw + i, changed);
    return true;
}

/* L1 tables and tables of bitmaps: offsets with flags around them. */
static bool point_table(struct qcow2_moving *m, uint8_t *raw, size_t n, bool *changed, struct error *err)
{
    (void)err;
    for (size_t i = 0; i < n; i += 8)
        point_to(m, raw + i, changed);
    return true;
}

static bool follow_snapshots(struct qcow2_moving *m, struct error *err)
{
    struct qcow2 *q = m->q;
    bool ok = true;
    if (m->snapshots.count == 0)
        return true;
    for (size_t i = 0; ok && i < m->snapshots.count; i++) {
        struct qcow2_snapshot *s = &m->snapshots.items[i];
        s->l1_offset = qcow2_moved_offset(m, s->l1_offset);
        ok = each_piece(m, s->l1_offset, (uint64_t)s->l1_size * 8, point_table, err);
    }
    return ok && qcow2_snapshots_store(q, &m->snapshots, qcow2_moved_offset(m, q->h.snapshots_offset), err);
}

static bool follow_bitmaps(struct qcow2_moving *m, struct error *err)
{
    struct qcow2 *q = m->q;
    struct qcow2_area area;
    bool ok = true;
    if (!q->bitmaps.present)
        return true;
    for (size_t i = 0; ok && i < m->bitmaps.count; i++) {
        const struct qcow2_bitmap *b = &m->bitmaps.items[i];
        uint64_t table = qcow2_moved_offset(m, b->table_offset);
        ok = each_piece(m, table, (uint64_t)b->table_size * 8, point_table, err) &&
             (table == b->table_offset ||
              qcow2_meta_put64(q, qcow2_moved_offset(m, b->off) + qcow2_bitmap_off_bitmap_table_offset, table,
                               err));
    }
    uint64_t directory = qcow2_moved_offset(m, q->bitmaps.directory_offset);
    if (!ok || directory == q->bitmaps.directory_offset)
        return ok;
    qcow2_area_current(q, &area);
    area.bitmaps.directory_offset = directory;
    return qcow2_area_write(q, &area, err);
}

static bool follow(struct qcow2_moving *m, struct error *err)
{
    struct qcow2 *q = m->q;
    uint64_t l1 = qcow2_moved_offset(m, q->h.l1_table_offset);
    for (size_t i = 0; i < m->walk.l2_used; i++)
        if (!each_piece(m, qcow2_moved_offset(m, m->walk.l2[i].table), q->cluster_size, point_l2, err))
            return false;
    if (!each_piece(m, l1, (uint64_t)q->h.l1_size * 8, point_table, err) ||
        (l1 != q->h.l1_table_offset && !QCOW2_HEADER_PUT(q, l1_table_offset, l1, err)))
        return false;
    q->active.l1_offset = l1;
    return follow_snapshots(m, err) && follow_bitmaps(m, err) && cache_flush(q->meta, err);
}

/* ---- rounds ---- */

static void forget_round(struct qcow2_moving *m)
{
    qcow2_walk_free(&m->walk);
    qcow2_snapshots_free(&m->snapshots);
    qcow2_bitmaps_free(&m->bitmaps);
    ranges_clear(&m->joined);
}

/* Count, and find out what there is to be moved. */
static bool look(struct qcow2_moving *m, struct error *err)
{
    struct qcow2 *q = m->q;
    m->walk = (struct qcow2_walk){.q = q, .without_refcounts = true};
    if (!qcow2_walk_run(&m->walk, err))
        return false;
    if (m->walk.structure_damage || m->walk.tables_unusable)
        return fail(err, E_DAMAGED, "the image must be repaired first (`check --repair all`)");
    if (!qcow2_snapshots_load(q, &m->snapshots, err) || !qcow2_bitmaps_load(q, &m->bitmaps, err))
        return false;
    m->first_movable = div_up(q->crypto_offset + q->crypto_length, q->cluster_size);
    m->first_movable = MAX_OF(m->first_movable, 1);
    m->end = 0;
    uint64_t *chunks;
    size_t count;
    if (!counts_sorted(&m->walk.counts, &chunks, &count, err))
        return false;
    if (count)
        m->end = (chunks[count - 1] + 1) * COUNTS_CHUNK;
    free(chunks);
    while (m->end > 0 && counts_get(&m->walk.counts, m->end - 1) == 0)
        m->end--;
    return true;
}

/* The structure behind what is counted now, and the file's end behind that. */
static bool close_ranks(struct qcow2_moving *m, struct error *err)
{
    struct qcow2 *q = m->q;
    uint64_t end, old_end = m->walk.file_clusters;
    if (!qcow2_rebuild_refcounts(q, &m->walk, q->h.refcount_order, m->end, &end, err) ||
        !cache_flush(q->meta, err))
        return false;
    cache_drop(q->meta);
    q->cursor = q->cursor_low = 0;
    if (end >= old_end)
        return true;
    return ranges_add(&q->freed, end, old_end - end, err) &&
           ranges_remove(&q->punch, end, old_end - end, err) &&
           device_resize(q->file, end << q->cluster_bits, err);
}

/* One pass: *moved tells whether anything did. */
static bool pass(struct qcow2_moving *m, bool *moved, struct error *err)
{
    *moved = false;
    bool ok = look(m, err);
    uint64_t least = ok ? qcow2_move_least(m) : 0;
    if (ok && least >= m->walk.file_clusters)
        return true;
    while (ok) {
        ok = find_groups(m, err) && qcow2_move_plan(m, err);
        if (!ok || m->count == 0)
            break;
        ok = copy_all(m, err) && follow(m, err);
        forget_round(m);
        ok = ok && look(m, err);
        if (ok && qcow2_move_least(m) != least)
            ok = fail(err, E_FAILED, "the references do not add up after moving");
        *moved = true;
    }
    return ok && (!*moved || close_ranks(m, err));
}

bool qcow2_move_down(struct qcow2 *q, struct error *err)
{
    /* The places of the old refcount structure become gaps, which a second pass fills. */
    enum { PASSES = 2 };
    bool moved = true, ok = qcow2_bounce(q, err);
    for (unsigned i = 0; ok && moved && i < PASSES; i++) {
        struct qcow2_moving m = {.q = q};
        ok = pass(&m, &moved, err);
        forget_round(&m);
        free(m.moves);
    }
    q->prepared = false;
    return ok && qcow2_prepare(q, err);
}
