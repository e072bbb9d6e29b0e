/*
 * Repair of everything, in passes that each leave the image no worse: contents that lie in metadata are
 * copied out, entries whose reads failed become zeros, then references are counted and stored, then the
 * copied flags follow. What a read returned before it returns afterwards. All of it lies in one transaction.
 */
#include "alloc.h"
#include "bitmap.h"
#include "check.h"
#include "write.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- a place for new clusters: behind everything, counted later ---- */

static bool take_at_end(struct qcow2 *q, uint64_t clusters, uint64_t *off, struct error *err)
{
    *off = round_up(q->file->size, q->cluster_size);
    if (*off + (clusters << q->cluster_bits) > MAX_HOST_OFFSET)
        return fail(err, E_NOSPACE, "the image file is at its largest possible size");
    return ranges_add(&q->fresh, *off >> q->cluster_bits, clusters, err) &&
           qcow2_file_grow(q, *off + (clusters << q->cluster_bits), err);
}

/* ---- entries ---- */

struct mending {
    struct qcow2 *q;
    struct qcow2_walk *walk; /* a walk that only counted: knows places and sharing */
    bool data;               /* compressed contents are tried, too */
    uint64_t zero_table; /* an L2 table of zeros for what L1 entries covered that named none; 0: none yet */
    uint64_t zero_uses;
};

/* Zeros instead of what cannot be kept. Version 2 has no entry for them: where a backing file would show they
 * need a cluster of their own. */
static bool make_zero(const struct mending *m, struct qcow2_l2 *l2, struct error *err)
{
    struct qcow2 *q = m->q;
    *l2 = (struct qcow2_l2){0};
    if (q->extended)
        l2->bitmap = (uint64_t)UINT32_MAX << 32;
    else if (q->h.version >= 3)
        l2->entry = ENTRY_ZERO;
    else
        return !q->backing_name || take_at_end(q, 1, &l2->entry, err);
    return true;
}

static bool copy_cluster(struct qcow2 *q, uint64_t from, uint64_t to, struct error *err)
{
    if (!qcow2_bounce(q, err))
        return false;
    for (uint64_t at = 0; at < q->cluster_size; at += BOUNCE) {
        size_t n = (size_t)MIN_OF(BOUNCE, q->cluster_size - at);
        if (!qcow2_file_read(q, from + at, q->bounce, n, err) ||
            !qcow2_file_write(q, to + at, q->bounce, n, WRITE_UPDATE, err))
            return false;
    }
    return true;
}

/* A data entry that points into metadata:
 * its bytes get a cluster of their own while they are still as they were. */
static bool copy_out(struct mending *m, struct qcow2_l2 *l2, struct error *err)
{
    uint64_t to;
    if (!take_at_end(m->q, 1, &to, err) || !copy_cluster(m->q, l2->entry & ENTRY_OFFSET, to, err))
        return false;
    l2->entry = (l2->entry & ~ENTRY_OFFSET) | to;
    return true;
}

/* The walk's record of an L2 table, NULL where none lies. */
static const struct l2_use *use_of(const struct mending *m, uint64_t off)
{
    for (size_t low = 0, high = m->walk->l2_used; low < high;) {
        size_t mid = low + (high - low) / 2;
        const struct l2_use *use = &m->walk->l2[mid];
        if (use->table == off)
            return use;
        *(use->table < off ? &low : &high) = use->table < off ? mid + 1 : mid;
    }
    return NULL;
}

/* The subclusters that could be read stay as they are; the others become zeros. */
static void mend_subclusters(const struct qcow2 *q, struct qcow2_l2 *l2, uint64_t guest)
{
    for (uint32_t sub = 0; sub < q->sub_count; sub++) {
        enum qcow2_state state;
        const char *why;
        if (qcow2_classify(q, *l2, sub, guest, &state, &why))
            continue;
        l2->bitmap &= ~(UINT64_C(1) << sub);
        l2->bitmap |= UINT64_C(1) << (sub + 32);
    }
}

/* Does one of these clusters hold metadata, or have more users than can be counted? */
static bool crowded(const struct mending *m, uint64_t off, uint64_t len)
{
    const struct qcow2 *q = m->q;
    uint64_t last = (off + len - 1) >> q->cluster_bits;
    for (uint64_t cluster = off >> q->cluster_bits; cluster <= last; cluster++)
        if (counts_get(&m->walk->counts, cluster) > q->refcount_max ||
            qcow2_index_kinds(q, cluster << q->cluster_bits) || use_of(m, cluster << q->cluster_bits))
            return true;
    return false;
}

/* What could be inflated stays: as it is, or where its place is impossible as plain data. */
static bool mend_compressed(struct mending *m, struct qcow2_l2 *l2, struct error *err)
{
    struct qcow2 *q = m->q;
    const uint8_t *cluster;
    struct error bad = {0};
    uint64_t to, off, len;
    l2->entry &= ~ENTRY_COPIED;
    qcow2_compressed_place(q, l2->entry, &off, &len);
    bool misplaced = qcow2_entry_fault(q, *l2, 0, m->walk->file_clusters) || crowded(m, off, len);
    if (!m->data && !misplaced)
        return true;
    if (qcow2_has_data_file(q) || (q->extended && l2->bitmap) || !qcow2_inflate(q, l2->entry, &cluster, &bad))
        return make_zero(m, l2, err);
    if (!misplaced)
        return true;
    *l2 = (struct qcow2_l2){0, q->extended ? UINT32_MAX : 0};
    if (!take_at_end(q, 1, &to, err) || !qcow2_file_write(q, to, cluster, q->cluster_size, WRITE_UPDATE, err))
        return false;
    l2->entry = to;
    return true;
}

static bool mend_fault(const struct mending *m, struct qcow2_l2 *l2, uint64_t guest, struct error *err)
{
    const struct qcow2 *q = m->q;
    uint64_t host = l2->entry & ENTRY_OFFSET;
    l2->entry &= ~(q->extended ? L2_RESERVED | ENTRY_ZERO : L2_RESERVED);
    bool misplaced = host % q->cluster_size || (qcow2_has_data_file(q) && host != guest) ||
                     (!qcow2_has_data_file(q) && host >> q->cluster_bits >= m->walk->file_clusters);
    if (!q->extended && (misplaced || (q->h.version < 3 && l2->entry & ENTRY_ZERO)))
        return make_zero(m, l2, err);
    if (misplaced)
        *l2 = (struct qcow2_l2){0, (l2->bitmap | l2->bitmap << 32) & ~(uint64_t)UINT32_MAX};
    if (q->extended)
        mend_subclusters(q, l2, guest);
    return true;
}

static bool mend_entry(struct mending *m, struct qcow2_l2 *l2, uint64_t guest, struct error *err)
{
    const struct qcow2 *q = m->q;
    if (l2->entry & ENTRY_COMPRESSED)
        return mend_compressed(m, l2, err);
    if (qcow2_entry_fault(q, *l2, guest, m->walk->file_clusters) && !mend_fault(m, l2, guest, err))
        return false;
    uint64_t host = l2->entry & ENTRY_OFFSET;
    if (host == 0 || qcow2_has_data_file(q))
        return true;
    return !crowded(m, host, q->cluster_size) || copy_out(m, l2, err);
}

static bool mend_table(struct mending *m, const struct l2_use *use, struct error *err)
{
    struct qcow2 *q = m->q;
    uint64_t guest = (uint64_t)use->first_index * q->l2_entries << q->cluster_bits;
    for (uint64_t at = 0; at < q->cluster_size; at += q->block_size) {
        struct cache_block *block;
        if (!interrupt_check(err) || !cache_get(q->meta, use->table + at, &block, err))
            return false;
        bool ok = true;
        for (uint32_t i = 0; ok && i < q->block_size; i += q->entry_size, guest += q->cluster_size) {
            struct qcow2_l2 old = {load_be64(block->data + i),
                                   q->extended ? load_be64(block->data + i + 8) : 0};
            struct qcow2_l2 now = old;
            if (old.entry == 0 && old.bitmap == 0)
                continue;
            ok = mend_entry(m, &now, guest, err);
            if (!ok || (now.entry == old.entry && now.bitmap == old.bitmap))
                continue;
            store_be64(block->data + i, now.entry);
            if (q->extended)
                store_be64(block->data + i + 8, now.bitmap);
            cache_dirty(q->meta, block, WRITE_UPDATE);
        }
        cache_release(q->meta, block);
        if (!ok)
            return false;
    }
    return true;
}

/* What an L1 entry covered that named no L2 table: zeros, which need a table where a backing file would show.
 * Many entries share one, as far as it can be counted. */
static bool replace_table(struct mending *m, uint64_t *entry, struct error *err)
{
    struct qcow2 *q = m->q;
    struct qcow2_l2 zeros;
    uint8_t raw[16];
    *entry = 0;
    if (!q->backing_name || q->h.version < 3)
        return true;
    if (m->zero_table == 0 || m->zero_uses == q->refcount_max) {
        if (!make_zero(m, &zeros, err) || !take_at_end(q, 1, &m->zero_table, err))
            return false;
        store_be64(raw, zeros.entry);
        store_be64(raw + 8, zeros.bitmap);
        for (uint64_t at = 0; at < q->cluster_size; at += q->entry_size)
            if (!qcow2_meta_write(q, m->zero_table + at, raw, q->entry_size, err))
                return false;
        m->zero_uses = 0;
    }
    m->zero_uses++;
    *entry = m->zero_table;
    return true;
}

/* An L1 table whose entries are being mended. */
struct l1_mending {
    struct mending *m;
    uint64_t off;
    uint64_t needed; /* entries; the others cover nothing of the disk */
};

static bool mend_l1_entry(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    struct l1_mending *l1 = arg;
    uint64_t now = entry & ~L1_RESERVED, table = now & ENTRY_OFFSET;
    const char *why;
    bool past_end = table % q->cluster_size == 0 && table >> q->cluster_bits >= l1->m->walk->file_clusters;
    bool sound = table && qcow2_l2_place_ok(l1->m->walk, now, &why);
    /* A table past the end was read as one without entries. */
    if (table == 0 || past_end || (!sound && index >= l1->needed))
        now = 0;
    else if (!sound && !replace_table(l1->m, &now, err))
        return false;
    return now == entry || qcow2_meta_put64(q, l1->off + index * 8, now, err);
}

/* An L1 table that shares clusters with something else moves away from it. */
static bool move_l1(struct mending *m, uint64_t *off, uint32_t size, struct error *err)
{
    struct qcow2 *q = m->q;
    uint64_t clusters = div_up((uint64_t)size * 8, q->cluster_size), first = *off >> q->cluster_bits, to;
    bool shared = false;
    for (uint64_t i = 0; i < clusters; i++)
        shared = shared || counts_get(&m->walk->counts, first + i) > 1;
    if (!shared)
        return true;
    uint8_t *raw = mem_new(clusters << q->cluster_bits, err);
    bool ok = raw && cache_flush(q->meta, err) && qcow2_file_read(q, *off, raw, (size_t)size * 8, err) &&
              take_at_end(q, clusters, &to, err) &&
              qcow2_file_write(q, to, raw, clusters << q->cluster_bits, WRITE_UPDATE, err);
    free(raw);
    if (ok)
        *off = to;
    return ok;
}

static bool mend_l1(struct mending *m, uint64_t off, uint32_t size, uint64_t disk_size, struct error *err)
{
    struct l1_mending l1 = {m, off, div_up(disk_size, m->q->cluster_size * m->q->l2_entries)};
    uint64_t there = off < m->q->file->size ? (m->q->file->size - off) / 8 : 0;
    return qcow2_each_entry(m->q, off, MIN_OF(size, there), mend_l1_entry, &l1, err);
}

static bool mend_active_l1(struct mending *m, struct error *err)
{
    struct qcow2 *q = m->q;
    uint64_t off = q->h.l1_table_offset;
    if (!move_l1(m, &off, q->h.l1_size, err))
        return false;
    q->active.l1_offset = off;
    return (off == q->h.l1_table_offset || QCOW2_HEADER_PUT(q, l1_table_offset, off, err)) &&
           mend_l1(m, off, q->h.l1_size, q->h.size, err);
}

/* A table that cannot be read whole keeps its sound entries. */
static bool mend_snapshots(struct mending *m, struct error *err)
{
    struct qcow2 *q = m->q;
    struct qcow2_snapshot_list list;
    if (q->h.nb_snapshots == 0)
        return qcow2_snapshots_offset_ok(q) || QCOW2_HEADER_PUT(q, snapshots_offset, 0, err);
    bool sound = qcow2_snapshots_scan(q, &list, err), ok = sound || err->kind == E_DAMAGED;
    for (size_t i = 0; i < list.count && ok; i++) {
        uint64_t off = list.items[i].l1_offset;
        ok = move_l1(m, &list.items[i].l1_offset, list.items[i].l1_size, err) &&
             mend_l1(m, list.items[i].l1_offset, list.items[i].l1_size, list.items[i].disk_size, err);
        sound = sound && off == list.items[i].l1_offset;
        sound = sound && (q->h.version < 3 || list.items[i].extra_len >= SNAPSHOT_EXTRA_V3);
    }
    if (ok && !sound) {
        uint64_t bytes = qcow2_snapshots_bytes(q, &list), off = 0;
        ok = (bytes == 0 || take_at_end(q, div_up(bytes, q->cluster_size), &off, err)) &&
             qcow2_snapshots_store(q, &list, off, err);
        q->refused_for &= ~(unsigned)REFUSED_SNAPSHOTS;
    }
    qcow2_snapshots_free(&list);
    return ok;
}

static bool see_bad_entry(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    uint64_t off = entry & ENTRY_OFFSET;
    (void)index;
    if (!(entry & ~(ENTRY_OFFSET | 1)) && !(off && entry & 1) && off % q->cluster_size == 0 &&
        (off == 0 || range_inside(off, q->cluster_size, q->file->size)))
        return true;
    *(bool *)arg = true;
    return fail(err, E_DAMAGED, "bitmap table entry 0x%" PRIx64 " is not valid", entry);
}

/* Bitmaps are a help, not data: when their directory or a table is damaged they go. */
static bool mend_bitmaps(struct qcow2 *q, struct error *err)
{
    struct qcow2_bitmap_list list;
    bool bad = false;
    if (!q->bitmaps.present)
        return true;
    bool ok = qcow2_bitmaps_load(q, &list, err);
    for (size_t i = 0; ok && i < list.count; i++)
        ok = (qcow2_bitmap_fits(q, &list.items[i]) ||
              fail(err, E_DAMAGED, "a bitmap does not fit the disk")) &&
             qcow2_each_entry(q, list.items[i].table_offset, list.items[i].table_size, see_bad_entry, &bad,
                              err);
    qcow2_bitmaps_free(&list);
    if (ok || err->kind != E_DAMAGED)
        return ok;
    struct qcow2_area area;
    qcow2_area_current(q, &area);
    area.bitmaps = (struct qcow2_bitmaps){0};
    return QCOW2_HEADER_PUT(q, autoclear_features, q->h.autoclear_features & ~AUTOCLEAR_BITMAPS, err) &&
           qcow2_area_write(q, &area, err);
}

/* Tables that the file's end cuts were read with zeros behind it; so they are completed. */
static bool complete_tables(struct qcow2 *q, struct error *err)
{
    uint64_t l1_end = q->h.l1_table_offset + (uint64_t)q->h.l1_size * 8;
    return qcow2_file_grow(q, round_up(MAX_OF(q->file->size, l1_end), q->cluster_size), err);
}

/* A copy of the table for each L1 entry but the first that names it. */
static bool unshare_table(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    const struct mending *m = arg;
    const struct l2_use *use = use_of(m, entry & ENTRY_OFFSET);
    uint64_t to;
    return !use || use->first_index == index ||
           (take_at_end(q, 1, &to, err) && copy_cluster(q, use->table, to, err) &&
            qcow2_meta_put64(q, q->h.l1_table_offset + index * 8, to, err));
}

/* With an external data file an entry is sound for one guest offset only. */
static bool unshare_tables(struct qcow2 *q, struct error *err)
{
    struct qcow2_walk walk = {.q = q};
    struct mending m = {.q = q, .walk = &walk};
    if (!qcow2_has_data_file(q))
        return true;
    bool ok = qcow2_walk_run(&walk, err) &&
              qcow2_each_entry(q, q->h.l1_table_offset, q->h.l1_size, unshare_table, &m, err);
    qcow2_walk_free(&walk);
    return ok && cache_flush(q->meta, err);
}

static bool mend_structure(struct qcow2 *q, bool data, struct error *err)
{
    struct qcow2_walk walk = {.q = q};
    struct mending m = {.q = q, .walk = &walk, .data = data};
    bool ok = complete_tables(q, err) && unshare_tables(q, err) && qcow2_walk_run(&walk, err);
    for (size_t i = 0; ok && i < walk.l2_used; i++)
        ok = mend_table(&m, &walk.l2[i], err);
    ok = ok && mend_active_l1(&m, err) && mend_snapshots(&m, err) && mend_bitmaps(q, err);
    qcow2_walk_free(&walk);
    return ok && cache_flush(q->meta, err);
}

/* ---- counts ---- */

/* Store a refcount where there is a block for it; *stored: there is one. */
static bool set_count(struct qcow2_walk *walk, uint64_t cluster, uint64_t count, bool *stored,
                      struct error *err)
{
    struct qcow2 *q = walk->q;
    uint64_t index = cluster / q->rb_entries, old;
    struct cache_block *block;
    *stored = count == 0;
    if (index >= walk->block_count || walk->blocks[index] == 0 || count > q->refcount_max)
        return count <= q->refcount_max ||
               fail(err, E_TOOBIG, "cluster %" PRIu64 ": %" PRIu64 " references are more than %u bits count",
                    cluster, count, q->refcount_bits);
    if (!cache_get(q->meta, walk->blocks[index] + cluster % q->rb_entries / q->rb_slice * q->block_size,
                   &block, err))
        return false;
    old = qcow2_refcount_load(q->h.refcount_order, block->data, cluster % q->rb_slice);
    if (old != count) {
        qcow2_refcount_store(q->h.refcount_order, block->data, cluster % q->rb_slice, count);
        cache_dirty(q->meta, block, WRITE_UPDATE);
    }
    cache_release(q->meta, block);
    *stored = true;
    return count != 0 || old == 0 ||
           (ranges_add(&q->freed, cluster, 1, err) && ranges_add(&q->punch, cluster, 1, err));
}

/* Every cluster that is counted or stored, in no order. `lower`: only where the stored count is too high. */
static bool store_counts(struct qcow2_walk *walk, bool lower, bool *missing, struct error *err)
{
    struct qcow2 *q = walk->q;
    uint64_t *chunks, old;
    size_t count;
    bool ok = true;
    *missing = false;
    if (!counts_sorted(&walk->counts, &chunks, &count, err))
        return false;
    for (size_t i = 0; ok && !lower && i < count; i++)
        for (uint64_t k = 0; ok && k < COUNTS_CHUNK; k++) {
            uint64_t cluster = chunks[i] * COUNTS_CHUNK + k, found = counts_get(&walk->counts, cluster);
            bool stored = true;
            ok = found == 0 || set_count(walk, cluster, found, &stored, err);
            *missing = *missing || !stored;
        }
    free(chunks);
    for (uint64_t index = 0; ok && index < walk->block_count; index++)
        for (uint64_t k = 0; ok && walk->blocks[index] && k < q->rb_entries; k++) {
            uint64_t cluster = index * q->rb_entries + k, found = counts_get(&walk->counts, cluster);
            bool stored;
            if (k % q->rb_slice == 0 && !interrupt_check(err))
                return false;
            ok = qcow2_walk_stored(walk, cluster, &old, err) &&
                 (old <= found || set_count(walk, cluster, found, &stored, err));
        }
    return ok;
}

bool qcow2_repair_leaks(struct qcow2 *q, struct qcow2_walk *walk, bool flags_too, struct error *err)
{
    bool missing;
    return store_counts(walk, true, &missing, err) && (!flags_too || qcow2_fix_flags(q, err));
}

/* Counts as they are, in the blocks that there are; a new set of blocks where these do not do. */
static bool mend_counts(struct qcow2 *q, struct error *err)
{
    struct qcow2_walk walk = {.q = q};
    bool missing = true;
    uint64_t end;
    bool ok = qcow2_walk_run(&walk, err);
    if (ok && !walk.tables_unusable)
        ok = store_counts(&walk, false, &missing, err);
    bool rebuild = ok && (walk.tables_unusable || missing);
    qcow2_walk_free(&walk);
    if (!rebuild)
        return ok;
    walk = (struct qcow2_walk){.q = q, .without_refcounts = true};
    ok = qcow2_walk_run(&walk, err) &&
         qcow2_rebuild_refcounts(q, &walk, q->h.refcount_order, walk.file_clusters, &end, err);
    qcow2_walk_free(&walk);
    q->refused_for &= ~(unsigned)REFUSED_REFTABLE;
    return ok;
}

/* ---- copied flags ---- */

static bool fix_flag(struct qcow2 *q, uint8_t *raw, struct cache_block *block, struct error *err)
{
    uint64_t entry = load_be64(raw), refs, now = entry & ~ENTRY_COPIED;
    if (entry & ENTRY_COMPRESSED || (entry & ENTRY_OFFSET) == 0)
        return true;
    if (!qcow2_refcount_get(q, (entry & ENTRY_OFFSET) >> q->cluster_bits, &refs, err))
        return false;
    now |= refs == 1 ? ENTRY_COPIED : 0;
    if (now != entry) {
        store_be64(raw, now);
        cache_dirty(q->meta, block, WRITE_UPDATE);
    }
    return true;
}

static bool fix_entries(struct qcow2 *q, uint64_t off, uint64_t bytes, uint32_t step, struct error *err)
{
    while (bytes > 0) {
        struct cache_block *block;
        uint32_t at = (uint32_t)(off % q->block_size), n = (uint32_t)MIN_OF(bytes, q->block_size - at);
        if (!interrupt_check(err) || !cache_get(q->meta, off - at, &block, err))
            return false;
        bool ok = true;
        for (uint32_t i = 0; ok && i < n; i += step)
            ok = fix_flag(q, block->data + at + i, block, err);
        cache_release(q->meta, block);
        if (!ok)
            return false;
        off += n;
        bytes -= n;
    }
    return true;
}

static bool fix_table_flags(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    (void)index;
    (void)arg;
    uint64_t table = entry & ENTRY_OFFSET;
    return table == 0 || table % q->cluster_size || qcow2_has_data_file(q) ||
           fix_entries(q, table, q->cluster_size, q->entry_size, err);
}

bool qcow2_fix_flags(struct qcow2 *q, struct error *err)
{
    return qcow2_each_entry(q, q->h.l1_table_offset, q->h.l1_size, fix_table_flags, NULL, err) &&
           fix_entries(q, q->h.l1_table_offset, (uint64_t)q->h.l1_size * 8, 8, err);
}

/* ---- all together ---- */

bool qcow2_ignore_finding(struct check *check, const struct finding *finding)
{
    (void)check;
    (void)finding;
    return true;
}

/* The bits go only when a fresh check finds nothing. */
static bool clear_bits(struct qcow2 *q, struct error *err)
{
    struct check check = {.found = qcow2_ignore_finding};
    uint64_t bits = q->h.incompatible_features;
    if (q->refused_for == 0)
        q->refused[0] = '\0';
    if (!qcow2_check(&q->dev, &check, err))
        return false;
    if (check.damage || check.leaks || check.errors)
        return fail(err, E_DAMAGED,
                    "the repaired image would still have %" PRIu64 " faults; nothing is changed",
                    check.damage + check.leaks + check.errors);
    q->lost = false;
    q->refused_write[0] = '\0';
    bits &= ~(INCOMPAT_DIRTY | INCOMPAT_CORRUPT);
    return q->h.version < 3 || QCOW2_HEADER_PUT(q, incompatible_features, bits, err);
}

bool qcow2_repair_all(struct qcow2 *q, bool data, struct error *err)
{
    bool ok = mend_structure(q, data, err) && mend_counts(q, err) && qcow2_fix_flags(q, err) &&
              cache_flush(q->meta, err) && clear_bits(q, err) && qcow2_flush(&q->dev, err);
    q->prepared = false;
    q->cursor = q->cursor_low = 0;
    q->pack_offset = 0;
    qcow2_codec_forget(q);
    return ok;
}
