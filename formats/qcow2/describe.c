/* `where`: from a guest offset to the byte in the file, step by step. */
#include "qcow2.h"

#include <inttypes.h>

static const char *state_name(enum qcow2_state state)
{
    static const char *const names[] = {
        "unallocated", "unallocated, reserved", "zeros", "zeros, reserved", "data", "compressed"};
    return names[state];
}

static bool describe_entry(struct qcow2 *q, const struct qcow2_slice *slice, uint64_t off,
                           struct report *report, struct error *err)
{
    struct qcow2_l2 l2 = qcow2_slice_entry(q, slice, 0);
    uint32_t sub = (uint32_t)(off % q->cluster_size >> q->sub_bits);
    enum qcow2_state state;
    const char *why;
    report_hex(report, "l2-entry-offset", slice->off);
    report_hex(report, "l2-entry", l2.entry);
    if (q->extended) {
        report_hex(report, "subcluster-bitmap", l2.bitmap);
        report_number(report, "subcluster", sub);
    }
    if (!qcow2_classify(q, l2, sub, off, &state, &why))
        return damaged(err, q->file, slice->off, "L2 entry 0x%" PRIx64 ": %s", l2.entry, why);
    report_text(report, "state", state_name(state));
    if (state == SUB_COMPRESSED) {
        uint64_t place, len;
        qcow2_compressed_place(q, l2.entry, &place, &len);
        report_hex(report, "host-offset", place);
        report_number(report, "compressed-size", len);
        report_number(report, "offset-in-cluster", off % q->cluster_size);
    } else if (qcow2_state_has_host(state)) {
        report_hex(report, "cluster-offset", l2.entry & ENTRY_OFFSET);
        report_number(report, "offset-in-cluster", off % q->cluster_size);
        report_hex(report, "host-offset", (l2.entry & ENTRY_OFFSET) + off % q->cluster_size);
        report_bool(report, "shared", !(l2.entry & ENTRY_COPIED));
    }
    if (qcow2_has_data_file(q) && q->data_name)
        report_text(report, "data-file", q->data_name);
    if ((state == SUB_UNALLOCATED || state == SUB_UNALLOCATED_HOST) && qcow2_backed(q, off))
        report_text(report, "backing-file", q->backing_name);
    return true;
}

bool qcow2_describe(struct device *dev, uint64_t off, struct report *report, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    uint64_t cluster = off >> q->cluster_bits, entry;
    struct qcow2_slice slice;
    report_text(report, "layer", "qcow2");
    report_hex(report, "guest-offset", off);
    report_number(report, "l1-index", cluster / q->l2_entries);
    report_hex(report, "l1-entry-offset", q->active.l1_offset + cluster / q->l2_entries * 8);
    if (!qcow2_l1_get(&q->active, cluster / q->l2_entries, &entry, err))
        return false;
    report_hex(report, "l1-entry", entry);
    if (!qcow2_slice_get(&q->active, off, &slice, err))
        return false;
    if (!slice.block) {
        report_text(report, "state", state_name(SUB_UNALLOCATED));
        if (qcow2_backed(q, off))
            report_text(report, "backing-file", q->backing_name);
        return true;
    }
    report_hex(report, "l2-table-offset", slice.table);
    report_number(report, "l2-index", cluster % q->l2_entries);
    bool ok = describe_entry(q, &slice, off, report, err);
    cache_release(q->meta, slice.block);
    return ok;
}
