/* check: references counted by a walk, compared with what is stored; then the copied flags. */
#include "check.h"
#include "alloc.h"
#include "write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TOO_LOW "refcount-too-low"

/* What the comparison found. */
struct verdict {
    struct qcow2_walk *walk;
    uint64_t too_low, leaks;
    bool flags_differ;
    uint64_t last_used; /* highest cluster whose stored refcount is not 0 */
};

/* Not where counts share a cluster with something else, nor where not all that is in use is known. */
static bool may_lower(const struct qcow2_walk *walk)
{
    return !walk->tables_unusable && !walk->incomplete;
}

static void report_count(struct verdict *v, uint64_t cluster, uint64_t stored, uint64_t found)
{
    struct qcow2_walk *walk = v->walk;
    bool leak = stored > found;
    *(leak ? &v->leaks : &v->too_low) += 1;
    if (walk->stopped)
        return;
    struct check *check = walk->check;
    bool fixed = check->repair == REPAIR_ALL || (leak && check->repair == REPAIR_LEAKS && may_lower(walk));
    if (!check_found(check, leak ? FINDING_LEAK : FINDING_DAMAGE, leak ? "leaked-cluster" : TOO_LOW,
                     walk->q->file, cluster << walk->q->cluster_bits, fixed,
                     "cluster %" PRIu64 ": refcount is %" PRIu64 ", references are %" PRIu64, cluster, stored,
                     found))
        walk->stopped = true;
}

static void compare_one(struct verdict *v, uint64_t cluster, uint64_t stored)
{
    uint64_t found = counts_get(&v->walk->counts, cluster);
    if (stored || found)
        v->last_used = MAX_OF(v->last_used, cluster);
    if (stored != found)
        report_count(v, cluster, stored, found);
    if (stored || found) {
        unsigned seen = counts_seen(&v->walk->counts, cluster);
        v->flags_differ = v->flags_differ || seen & (stored == 1 ? SEEN_SHARED : SEEN_COPIED);
    }
}

/* Where something was counted. */
static bool compare_chunks(struct verdict *v, struct error *err)
{
    struct qcow2_walk *walk = v->walk;
    uint64_t *chunks;
    size_t count;
    if (!counts_sorted(&walk->counts, &chunks, &count, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < count && !walk->stopped; i++)
        for (uint64_t k = 0; ok && k < COUNTS_CHUNK && !walk->stopped;) {
            struct qcow2 *q = walk->q;
            uint64_t cluster = chunks[i] * COUNTS_CHUNK + k, index = cluster / q->rb_entries;
            uint64_t n = MIN_OF(COUNTS_CHUNK - k, q->rb_slice - cluster % q->rb_slice);
            struct cache_block *block = NULL;
            if (index < walk->block_count && walk->blocks[index])
                ok = interrupt_check(err) &&
                     cache_get(q->meta,
                               walk->blocks[index] + cluster % q->rb_entries / q->rb_slice * q->block_size,
                               &block, err);
            for (uint64_t at = 0; ok && at < n && !walk->stopped; at++)
                compare_one(v, cluster + at,
                            block ? qcow2_refcount_load(q->h.refcount_order, block->data,
                                                        (cluster + at) % q->rb_slice)
                                  : 0);
            cache_release(q->meta, block);
            k += n;
        }
    free(chunks);
    return ok;
}

/* A piece of a refcount block where, perhaps, nothing was counted: what it holds is leaked. */
static void compare_piece(struct verdict *v, const uint8_t *raw, uint64_t cluster, uint64_t n)
{
    const struct qcow2 *q = v->walk->q;
    for (uint64_t i = 0; i < n && !v->walk->stopped;) {
        uint64_t chunk = (cluster + i) / COUNTS_CHUNK;
        if (counts_has_chunk(&v->walk->counts, chunk)) {
            i = (chunk + 1) * COUNTS_CHUNK - cluster;
            continue;
        }
        uint64_t stored = qcow2_refcount_load(q->h.refcount_order, raw, i);
        if (stored)
            compare_one(v, cluster + i, stored);
        i++;
    }
}

static bool compare_blocks(struct verdict *v, struct error *err)
{
    struct qcow2_walk *walk = v->walk;
    struct qcow2 *q = walk->q;
    uint8_t raw[4096];
    for (uint64_t index = 0; index < walk->block_count && !walk->stopped; index++) {
        if (!walk->blocks[index])
            continue;
        for (uint64_t at = 0; at < q->cluster_size && !walk->stopped; at += q->block_size) {
            if (!interrupt_check(err) ||
                !qcow2_file_read(q, walk->blocks[index] + at, raw, q->block_size, err))
                return false;
            if (!all_zero(raw, q->block_size))
                compare_piece(v, raw, index * q->rb_entries + at / q->block_size * q->rb_slice, q->rb_slice);
        }
    }
    return true;
}

/* ---- copied flags: looked at one by one only when the comparison says that some are wrong ---- */

static bool check_flag(struct verdict *v, uint64_t entry, uint64_t place, const char *what, bool fixed,
                       struct error *err)
{
    struct qcow2_walk *walk = v->walk;
    struct qcow2 *q = walk->q;
    uint64_t host = entry & ENTRY_OFFSET, stored;
    if (host == 0 || entry & ENTRY_COMPRESSED || walk->stopped)
        return true;
    if (!qcow2_walk_stored(walk, host >> q->cluster_bits, &stored, err))
        return false;
    if ((stored == 1) == ((entry & ENTRY_COPIED) != 0))
        return true;
    if (!check_found(walk->check, FINDING_DAMAGE, "copied-flag", q->file, place, fixed,
                     "%s 0x%" PRIx64 ": the copied flag is %s, but the refcount is %" PRIu64, what, entry,
                     entry & ENTRY_COPIED ? "set" : "clear", stored))
        walk->stopped = true;
    return true;
}

struct flag_walk {
    struct verdict *verdict;
    bool fixed;
};

static bool check_l1_flags(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    struct flag_walk *flags = arg;
    uint64_t table = entry & ENTRY_OFFSET;
    const char *why;
    if (!check_flag(flags->verdict, entry, q->h.l1_table_offset + index * 8, "L1 entry", flags->fixed, err))
        return false;
    if (table == 0 || !qcow2_l2_place_ok(flags->verdict->walk, entry, &why) || qcow2_has_data_file(q))
        return true;
    for (uint64_t at = 0; at < q->cluster_size; at += q->block_size) {
        struct cache_block *block;
        if (!interrupt_check(err) || !cache_get(q->meta, table + at, &block, err))
            return false;
        bool ok = true;
        for (uint32_t i = 0; ok && i < q->block_size; i += q->entry_size)
            ok = check_flag(flags->verdict, load_be64(block->data + i), table + at + i, "L2 entry",
                            flags->fixed, err);
        cache_release(q->meta, block);
        if (!ok)
            return false;
    }
    return true;
}

static bool check_flags(struct verdict *v, struct error *err)
{
    struct qcow2 *q = v->walk->q;
    struct check *check = v->walk->check;
    /* Lowering counts mends flags too, but only where nothing else is wrong. */
    bool fixed = check->repair == REPAIR_ALL ||
                 (check->repair == REPAIR_LEAKS && v->too_low == 0 && !v->walk->structure_damage);
    struct flag_walk flags = {v, fixed};
    uint64_t there = q->h.l1_table_offset < q->file->size ? (q->file->size - q->h.l1_table_offset) / 8 : 0;
    return qcow2_each_entry(q, q->h.l1_table_offset, MIN_OF(q->h.l1_size, there), check_l1_flags, &flags,
                            err);
}

/* ---- compressed contents, on request ---- */

static bool inflate_entry(struct qcow2_walk *walk, uint64_t entry, uint64_t place, struct error *err)
{
    const uint8_t *cluster;
    struct error bad = {0};
    if (!(entry & ENTRY_COMPRESSED) || qcow2_inflate(walk->q, entry, &cluster, &bad))
        return true;
    if (bad.kind != E_DAMAGED) {
        *err = bad;
        return false;
    }
    walk->structure_damage = true;
    if (!check_found(walk->check, FINDING_DAMAGE, "compressed-data", walk->q->file, place,
                     walk->check->repair == REPAIR_ALL, "%s", bad.message))
        walk->stopped = true;
    return true;
}

static bool check_contents(struct qcow2_walk *walk, struct error *err)
{
    struct qcow2 *q = walk->q;
    for (size_t k = 0; k < walk->l2_used && !walk->stopped; k++)
        for (uint64_t at = 0; at < q->cluster_size && !walk->stopped; at += q->block_size) {
            struct cache_block *block;
            if (!interrupt_check(err) || !cache_get(q->meta, walk->l2[k].table + at, &block, err))
                return false;
            bool ok = true;
            for (uint32_t i = 0; ok && i < q->block_size && !walk->stopped; i += q->entry_size)
                ok = inflate_entry(walk, load_be64(block->data + i), walk->l2[k].table + at + i, err);
            cache_release(q->meta, block);
            if (!ok)
                return false;
        }
    return true;
}

static void report_totals(const struct verdict *v)
{
    const struct qcow2_walk *walk = v->walk;
    struct report *report = walk->check->summary;
    if (!report)
        return;
    report_number(report, "image-end-offset", (v->last_used + 1) << walk->q->cluster_bits);
    report_number(report, "total-clusters", div_up(walk->q->h.size, walk->q->cluster_size));
    if (walk->allocated)
        report_number(report, "allocated-clusters", walk->allocated);
    if (walk->fragmented)
        report_number(report, "fragmented-clusters", walk->fragmented);
    if (walk->compressed)
        report_number(report, "compressed-clusters", walk->compressed);
}

static void note_bits(struct qcow2 *q, struct check *check)
{
    bool fixed = check->repair == REPAIR_ALL;
    if (q->h.incompatible_features & INCOMPAT_DIRTY)
        check_found(check, FINDING_NOTE, "dirty", q->file, qcow2_header_off_incompatible_features, fixed,
                    "the image is marked dirty: a writer with lazy refcounts did not finish");
    if (q->h.incompatible_features & INCOMPAT_CORRUPT)
        check_found(check, FINDING_NOTE, "corrupt", q->file, qcow2_header_off_incompatible_features, fixed,
                    "the image is marked corrupt");
}

/* The faults of the header that the walk does not come across. */
static void note_header(struct qcow2 *q, struct qcow2_walk *walk)
{
    if (!(q->refused_for & REFUSED_OTHER))
        return;
    walk->structure_damage = true;
    check_found(walk->check, FINDING_DAMAGE, "header", q->file, q->refused_at, false, "%s", q->refused);
}

static bool judge(struct verdict *v, struct error *err)
{
    struct qcow2_walk *walk = v->walk;
    if (!qcow2_walk_run(walk, err) || !compare_chunks(v, err) || !compare_blocks(v, err))
        return false;
    /* References past the end are not in the counters; their flags need a look of their own. */
    if ((v->flags_differ || walk->structure_damage) && !check_flags(v, err))
        return false;
    if (walk->check->data && !check_contents(walk, err))
        return false;
    report_totals(v);
    return true;
}

bool qcow2_check(struct device *dev, struct check *check, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_walk walk = {.q = q, .check = check};
    struct verdict verdict = {.walk = &walk};
    if (q->refused[0] && q->h.incompatible_features & ~INCOMPAT_KNOWN)
        return fail(err, E_UNSUPPORTED, "%s", q->refused);
    if (check->repair != REPAIR_NONE && q->dev.read_only)
        return fail(err, E_READONLY, "the image is read-only");
    if (!qcow2_flush(dev, err))
        return false;
    note_bits(q, check);
    note_header(q, &walk);
    bool ok = judge(&verdict, err);
    bool wrong = verdict.leaks || verdict.too_low || verdict.flags_differ || walk.structure_damage ||
                 q->h.incompatible_features & (INCOMPAT_DIRTY | INCOMPAT_CORRUPT) || q->lost;
    if (ok && check->repair == REPAIR_LEAKS && verdict.leaks && !walk.stopped && may_lower(&walk))
        ok = qcow2_repair_leaks(q, &walk, verdict.too_low == 0 && !walk.structure_damage, err);
    bool repair_all = ok && check->repair == REPAIR_ALL && wrong && !walk.stopped;
    qcow2_walk_free(&walk);
    if (repair_all)
        ok = qcow2_repair_all(q, check->data, err);
    q->prepared = false; /* the index went with the walk */
    return ok;
}

static bool note_too_low(struct check *check, const struct finding *finding)
{
    if (strcmp(finding->code, TOO_LOW) == 0)
        *(bool *)check->arg = true;
    return true;
}

bool qcow2_require_counts(struct qcow2 *q, struct error *err)
{
    bool too_low = false;
    struct check check = {.found = note_too_low, .arg = &too_low};
    if (!qcow2_check(&q->dev, &check, err))
        return false;
    if (too_low)
        return fail(err, E_DAMAGED,
                    "data would be lost, for the image counts clusters as free that are in use; it must be "
                    "repaired first (`check --repair all`)");
    return qcow2_prepare(q, err);
}
