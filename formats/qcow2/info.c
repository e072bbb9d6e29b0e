/* What `info` and `qcow2-info` say; the keys are those of `qemu-img info --output=json`. */
#include "alloc.h"
#include "qcow2.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void report_bitmap(struct report *report, const struct qcow2_bitmap *bitmap)
{
    report_open(report, NULL);
    report_open_list(report, "flags");
    if (bitmap->flags & BITMAP_IN_USE)
        report_text(report, NULL, "in-use");
    if (bitmap->flags & BITMAP_AUTO)
        report_text(report, NULL, "auto");
    report_close(report);
    report_bytes(report, "name", bitmap->name, bitmap->name_len);
    report_number(report, "granularity", UINT64_C(1) << bitmap->granularity_bits);
    report_close(report);
}

static bool report_bitmaps(struct qcow2 *q, struct report *report, struct error *err)
{
    struct qcow2_bitmap_list list;
    if (!q->bitmaps.present)
        return true;
    if (!qcow2_bitmaps_load(q, &list, err))
        return false;
    report_open_list(report, "bitmaps");
    for (size_t i = 0; i < list.count; i++)
        report_bitmap(report, &list.items[i]);
    report_close(report);
    qcow2_bitmaps_free(&list);
    return true;
}

static bool report_specific(struct qcow2 *q, struct report *report, struct error *err)
{
    report_open(report, "format-specific");
    report_text(report, "type", "qcow2");
    report_open(report, "data");
    report_text(report, "compat", q->h.version == 2 ? "0.10" : "1.1");
    if (q->h.version >= 3 && q->data_name)
        report_text(report, "data-file", q->data_name);
    if (qcow2_has_data_file(q))
        report_bool(report, "data-file-raw", qcow2_data_file_raw(q));
    report_text(report, "compression-type", q->h.compression_type ? "zstd" : "zlib");
    if (q->h.version >= 3)
        report_bool(report, "lazy-refcounts", q->h.compatible_features & COMPAT_LAZY_REFCOUNTS);
    report_number(report, "refcount-bits", q->refcount_bits);
    if (q->h.version >= 3) {
        report_bool(report, "corrupt", q->h.incompatible_features & INCOMPAT_CORRUPT);
        report_bool(report, "extended-l2", q->extended);
    }
    if (q->h.crypt_method) {
        report_open(report, "encrypt");
        report_text(report, "format", q->h.crypt_method == 1 ? "aes" : "luks");
        report_close(report);
    }
    bool ok = report_bitmaps(q, report, err);
    report_close(report);
    report_close(report);
    return ok;
}

static bool report_snapshots(struct qcow2 *q, struct report *report, struct error *err)
{
    struct qcow2_snapshot_list list;
    if (q->h.nb_snapshots == 0)
        return true;
    if (!qcow2_snapshots_load(q, &list, err))
        return q->refused_for & REFUSED_SNAPSHOTS && err->kind == E_DAMAGED;
    report_open_list(report, "snapshots");
    for (size_t i = 0; i < list.count; i++) {
        const struct qcow2_snapshot *s = &list.items[i];
        report_open(report, NULL);
        report_bytes(report, "id", s->id, s->id_len);
        report_bytes(report, "name", s->name, s->name_len);
        report_number(report, "vm-state-size", s->vm_state_size);
        report_number(report, "date-sec", s->date_sec);
        report_number(report, "date-nsec", s->date_nsec);
        report_number(report, "vm-clock-sec", s->vm_clock_nsec / 1000000000);
        report_number(report, "vm-clock-nsec", s->vm_clock_nsec % 1000000000);
        if (s->icount != UINT64_MAX)
            report_number(report, "icount", s->icount);
        report_close(report);
    }
    report_close(report);
    qcow2_snapshots_free(&list);
    return true;
}

static bool report_backing(struct qcow2 *q, struct report *report, struct error *err)
{
    if (!q->backing_name)
        return true;
    char *path = qcow2_beside(q, q->backing_name, err);
    if (!path)
        return false;
    report_text(report, "backing-filename", q->backing_name);
    report_text(report, "full-backing-filename", path);
    if (q->backing_format)
        report_text(report, "backing-filename-format", q->backing_format);
    free(path);
    return true;
}

/* ---- what only the verbose form says ---- */

static void report_features(const struct qcow2 *q, struct report *report, const char *key, unsigned type,
                            uint64_t bits)
{
    report_open_list(report, key);
    for (unsigned bit = 0; bit < 64; bit++) {
        char name[80];
        if (!(bits >> bit & 1))
            continue;
        if (qcow2_feature_name(q, type, bit, name, sizeof name))
            report_text(report, NULL, name);
        else
            report_format(report, NULL, "bit %u", bit);
    }
    report_close(report);
}

static const char *extension_name(uint32_t type)
{
    switch (type) {
    case EXT_BACKING_FORMAT:
        return "backing file format";
    case EXT_FEATURE_NAMES:
        return "feature name table";
    case EXT_BITMAPS:
        return "bitmaps";
    case EXT_CRYPTO:
        return "encryption header";
    case EXT_DATA_FILE:
        return "external data file";
    default:
        return "unknown";
    }
}

static void report_header(const struct qcow2 *q, struct report *report)
{
    const struct qcow2_header *h = &q->h;
    report_open(report, "header");
    report_number(report, "version", h->version);
    report_number(report, "header-length", h->header_length);
    report_features(q, report, "incompatible-features", 0, h->incompatible_features);
    report_features(q, report, "compatible-features", 1, h->compatible_features);
    report_features(q, report, "autoclear-features", 2, h->autoclear_features);
    report_open_list(report, "extensions");
    for (size_t i = 0; i < q->extension_count; i++) {
        report_open(report, NULL);
        report_hex(report, "type", q->extensions[i].type);
        report_text(report, "name", extension_name(q->extensions[i].type));
        report_hex(report, "offset", q->extensions[i].off);
        report_number(report, "length", q->extensions[i].length);
        report_close(report);
    }
    report_close(report);
    report_close(report);
    report_open(report, "tables");
    report_hex(report, "l1-offset", h->l1_table_offset);
    report_number(report, "l1-entries", h->l1_size);
    report_number(report, "l2-entries-per-table", q->l2_entries);
    if (q->extended)
        report_size(report, "subcluster-size", UINT64_C(1) << q->sub_bits);
    report_hex(report, "refcount-table-offset", h->refcount_table_offset);
    report_number(report, "refcount-table-clusters", h->refcount_table_clusters);
    report_number(report, "refcounts-per-block", q->rb_entries);
    report_hex(report, "snapshots-offset", h->snapshots_offset);
    report_number(report, "snapshots", h->nb_snapshots);
    report_close(report);
}

struct tally {
    struct ranges seen; /* clusters of L2 tables: each counts once, however many entries name it */
    uint64_t tables, data, zero, zero_reserved, compressed, compressed_bytes, fragments, last_end, damaged;
};

static void count_entry(const struct qcow2 *q, struct tally *t, struct qcow2_l2 l2, uint64_t guest)
{
    enum qcow2_state state;
    const char *why;
    if (l2.entry == 0 && l2.bitmap == 0)
        return;
    if (!qcow2_classify(q, l2, 0, guest, &state, &why)) {
        t->damaged++;
        return;
    }
    if (state == SUB_COMPRESSED) {
        uint64_t off, len;
        qcow2_compressed_place(q, l2.entry, &off, &len);
        t->compressed++;
        t->compressed_bytes += len;
    } else if (l2.entry & ENTRY_OFFSET) {
        *(qcow2_state_is_zero(state) ? &t->zero_reserved : &t->data) += 1;
        t->fragments += t->last_end != 0 && (l2.entry & ENTRY_OFFSET) != t->last_end;
        t->last_end = (l2.entry & ENTRY_OFFSET) + q->cluster_size;
    } else if (qcow2_state_is_zero(state)) {
        t->zero++;
    }
}

static bool count_table(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    struct tally *t = arg;
    uint64_t guest = index * q->l2_entries << q->cluster_bits, table = entry & ENTRY_OFFSET;
    uint8_t raw[4096];
    if (table == 0)
        return true;
    if (table % q->cluster_size || table >= q->file->size) {
        t->damaged++;
        return true;
    }
    if (ranges_contains(&t->seen, table >> q->cluster_bits, 1))
        return true;
    if (!ranges_add(&t->seen, table >> q->cluster_bits, 1, err))
        return false;
    t->tables++;
    for (uint64_t at = 0; at < q->cluster_size; at += sizeof raw) {
        size_t n = (size_t)MIN_OF(sizeof raw, q->cluster_size - at);
        if (!interrupt_check(err) || !qcow2_file_read(q, table + at, raw, n, err))
            return false;
        for (size_t i = 0; i < n; i += q->entry_size, guest += q->cluster_size)
            count_entry(q, t, (struct qcow2_l2){load_be64(raw + i), q->extended ? load_be64(raw + i + 8) : 0},
                        guest);
    }
    return true;
}

static bool report_allocation(struct qcow2 *q, struct report *report, struct error *err)
{
    struct tally t = {0};
    bool ok = qcow2_each_entry(q, q->active.l1_offset, q->active.l1_size, count_table, &t, err);
    ranges_clear(&t.seen);
    if (!ok)
        return false;
    report_open(report, "allocation");
    report_number(report, "l2-tables", t.tables);
    report_number(report, "data-clusters", t.data);
    report_number(report, "zero-clusters", t.zero);
    report_number(report, "reserved-zero-clusters", t.zero_reserved);
    report_number(report, "compressed-clusters", t.compressed);
    report_size(report, "compressed-bytes", t.compressed_bytes);
    report_number(report, "fragments", t.fragments);
    if (t.damaged)
        report_number(report, "damaged-entries", t.damaged);
    report_close(report);
    struct cache_stats stats = cache_stats(q->meta);
    report_open(report, "cache");
    report_number(report, "hits", stats.hits);
    report_number(report, "misses", stats.misses);
    report_size(report, "bytes", stats.bytes);
    report_size(report, "max-bytes", stats.max_bytes);
    report_close(report);
    return true;
}

bool qcow2_info(struct device *dev, bool verbose, struct report *report, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    report_size(report, "virtual-size", q->h.size);
    report_size(report, "cluster-size", q->cluster_size);
    report_bool(report, "dirty-flag", q->h.incompatible_features & INCOMPAT_DIRTY);
    if (q->h.crypt_method)
        report_bool(report, "encrypted", true);
    if (q->refused[0])
        report_text(report, "unusable", q->refused);
    if (!report_backing(q, report, err) || !report_snapshots(q, report, err) ||
        !report_specific(q, report, err))
        return false;
    if (!verbose)
        return true;
    report_header(q, report);
    return report_allocation(q, report, err);
}
