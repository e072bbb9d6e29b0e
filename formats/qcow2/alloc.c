/*
 * Clusters are taken next-fit: the cursor moves up over free runs and is set back to the lowest cluster freed
 * when a commit makes that reusable. What was freed since the last commit is left alone, since an undo or a
 * rollback may want it back; only a file that cannot grow makes it be used again before, and then by writes
 * that the commit protects.
 */
#include "qcow2.h"

#include <inttypes.h>

/* The next free run that was not freed since the last commit; *count 0: there is none. */
static bool find_run(struct qcow2 *q, uint64_t want, bool exact, uint64_t *first, uint64_t *count,
                     struct error *err)
{
    uint64_t at = MAX_OF(q->cursor, 1);
    for (bool searched = false;; searched = true) {
        struct range freed;
        if (!qcow2_refcount_find_free(q, at, want, first, count, err))
            return false;
        if (*count == 0)
            return true;
        if (!searched && q->cursor_low == 0)
            q->cursor_low = *first;
        if (ranges_next(&q->freed, *first, &freed) && freed.start < *first + *count) {
            if (freed.start == *first) {
                at = freed.start + freed.len;
                continue;
            }
            *count = freed.start - *first;
        }
        if (!exact || *count == want)
            return true;
        at = *first + *count;
    }
}

static const char *const purposes[] = {"data", "L2 table", "L1 table"};

static const char *purpose(enum qcow2_kind kind)
{
    return kind == KIND_DATA ? purposes[0]
           : kind == KIND_L2 ? purposes[1]
           : kind == KIND_L1 ? purposes[2]
                             : "metadata";
}

/* Make the file hold the run, or shorten the run to what the file holds. *count 0: it cannot grow. */
static bool fit(struct qcow2 *q, bool exact, uint64_t first, uint64_t *count, struct error *err)
{
    uint64_t there = q->file->size >> q->cluster_bits;
    if (qcow2_file_grow(q, (first + *count) << q->cluster_bits, err))
        return true;
    if (err->kind != E_UNSUPPORTED && err->kind != E_NOSPACE)
        return false;
    *count = exact || first >= there ? 0 : there - first;
    return true;
}

/* A run of free clusters with refcount blocks for them. *count 0:
 * nothing is left; nothing has changed then. */
static bool find_space(struct qcow2 *q, uint64_t want, bool exact, uint64_t *first, uint64_t *count,
                       struct error *err)
{
    fail(err, E_NOSPACE, "the image file is at its largest possible size");
    for (bool changed = true; changed;) {
        if (!find_run(q, want, exact, first, count, err) || (*count && !fit(q, exact, *first, count, err)))
            return false;
        if (*count == 0)
            return true;
        if (!qcow2_refcount_cover(q, *first, *count, &changed, err)) {
            *count = 0;
            return err->kind == E_NOSPACE;
        }
    }
    return true;
}

/* The last resort: clusters that were freed since the last commit. */
static bool find_freed(struct qcow2 *q, uint64_t want, bool exact, uint64_t *first, uint64_t *count,
                       struct error *err)
{
    struct range range;
    uint64_t refs;
    for (uint64_t at = 0; ranges_next(&q->freed, at, &range); at = range.start + range.len) {
        *count = 0;
        for (uint64_t i = range.start; i < range.start + range.len && *count < want; i++) {
            struct error look;
            if (!interrupt_check(&look) || !qcow2_refcount_get(q, i, &refs, &look)) {
                *err = look;
                return false;
            }
            bool usable = refs == 0 && (i + 1) << q->cluster_bits <= q->file->size;
            if (usable && (*count)++ == 0)
                *first = i;
            if (!usable && *count > 0 && !exact)
                return true;
            *count = usable ? *count : 0;
        }
        if (exact ? *count == want : *count > 0)
            return true;
    }
    *count = 0;
    return true;
}

bool qcow2_allocate(struct qcow2 *q, uint64_t want, bool exact, enum qcow2_kind kind, struct qcow2_space *out,
                    struct error *err)
{
    uint64_t first, count, size = q->file->size;
    bool last_resort = false;
    if (!find_space(q, want, exact, &first, &count, err))
        return false;
    if (count == 0) {
        last_resort = true;
        if (!find_freed(q, want, exact, &first, &count, err))
            return false;
        if (count == 0) {
            err->kind = E_NOSPACE;
            return because(err, "the image is full");
        }
    }
    *out = (struct qcow2_space){.off = first << q->cluster_bits, .clusters = count};
    out->zeroed = out->off >= size;
    uint64_t bytes = count << q->cluster_bits;
    if (!qcow2_overlap_check(q, out->off, bytes, 0, err))
        return because(err, "preventing invalid allocation of %s", purpose(kind));
    bool ok = qcow2_refcount_add(q, first, count, 1, err) &&
              (last_resort ? ranges_remove(&q->punch, first, count, err)
                           : ranges_add(&q->fresh, first, count, err)) &&
              (kind == KIND_DATA || qcow2_index_add(q, out->off, count, kind, err));
    if (!ok || last_resort)
        return ok;
    if (!exact || first == MAX_OF(q->cursor, 1))
        q->cursor = first + count;
    return true;
}

bool qcow2_free(struct qcow2 *q, uint64_t off, uint64_t clusters, struct error *err)
{
    return qcow2_refcount_add(q, off >> q->cluster_bits, clusters, -1, err);
}

bool qcow2_free_entry(struct qcow2 *q, struct qcow2_l2 l2, struct error *err)
{
    if (l2.entry & ENTRY_COMPRESSED) {
        uint64_t off, len;
        qcow2_compressed_place(q, l2.entry, &off, &len);
        uint64_t first = off >> q->cluster_bits, last = (off + len - 1) >> q->cluster_bits;
        qcow2_codec_forget(q);
        q->pack_offset = 0;
        return qcow2_refcount_add(q, first, last - first + 1, -1, err);
    }
    uint64_t host = l2.entry & ENTRY_OFFSET;
    if (host == 0 || qcow2_has_data_file(q))
        return true;
    return qcow2_free(q, host, 1, err);
}

void qcow2_forget_clusters(struct qcow2 *q, uint64_t off, uint64_t clusters)
{
    for (uint64_t end = off + (clusters << q->cluster_bits); off < end; off += q->block_size)
        cache_forget(q->meta, off);
}

/* An entry of a damaged image may have named metadata as its data, which must not go with it. */
static bool check_freed(struct qcow2 *q, const struct range *range, struct error *err)
{
    for (uint64_t i = 0; q->index && i < range->len; i++) {
        uint64_t off = (range->start + i) << q->cluster_bits;
        unsigned kinds = qcow2_index_kinds(q, off);
        if (kinds)
            return qcow2_corrupt(q, off, err, "preventing the loss of metadata: %s would be freed",
                                 qcow2_kind_name(kinds));
    }
    return true;
}

bool qcow2_punch(struct qcow2 *q, struct error *err)
{
    struct range range;
    for (uint64_t at = 0; ranges_next(&q->punch, at, &range); at = range.start + range.len) {
        uint64_t off = range.start << q->cluster_bits, end = (range.start + range.len) << q->cluster_bits;
        end = MIN_OF(end, q->file->size);
        if (!check_freed(q, &range, err))
            return false;
        if (off < end && !device_discard(q->file, off, end - off, err))
            return false;
    }
    ranges_clear(&q->punch);
    return true;
}
