/* Changing an image's own properties: backing file, version, refcount width, features. */
#include "alloc.h"
#include "check.h"
#include "write.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- backing file ---- */

bool qcow2_set_backing(struct device *dev, const char *backing, const char *format, bool open,
                       struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_area area;
    bool some = backing && *backing;
    if (!qcow2_prepare(q, err))
        return false;
    if (some && qcow2_data_file_raw(q))
        return fail(err, E_UNSUPPORTED, "a raw external data file and a backing file exclude each other");
    if (some && (!format || !*format))
        return fail(err, E_INVALID, "a backing file needs its format");
    qcow2_area_current(q, &area);
    area.backing_name = some ? backing : NULL;
    area.backing_format = some ? format : NULL;
    struct device *old = q->backing;
    q->backing = NULL;
    bool ok = qcow2_area_write(q, &area, err) && (!open || qcow2_open_backing(q, err));
    if (!ok)
        q->backing = old; /* it is still the one when this is taken back */
    else
        device_close(old);
    return ok;
}

/* ---- refcount width ---- */

/* Only sound counts can be carried over. */
static bool require_clean(struct qcow2 *q, struct error *err)
{
    struct check check = {.found = qcow2_ignore_finding};
    if (!qcow2_check(&q->dev, &check, err))
        return false;
    if (check.damage || check.leaks || check.errors)
        return fail(err, E_DAMAGED, "the image must be repaired first (`check --repair all`)");
    return qcow2_prepare(q, err);
}

static bool set_refcount_bits(struct qcow2 *q, uint64_t bits, struct error *err)
{
    struct qcow2_walk walk = {.q = q, .without_refcounts = true};
    uint64_t end;
    if (!is_power_of_two(bits) || bits > 64)
        return fail(err, E_INVALID, "refcount_bits is a power of two from 1 to 64, not %" PRIu64, bits);
    if (bits == q->refcount_bits)
        return true;
    if (q->h.version < 3)
        return fail(err, E_UNSUPPORTED, "refcount_bits other than 16 need compat=1.1");
    if (!require_clean(q, err))
        return false;
    bool ok = qcow2_walk_run(&walk, err) &&
              qcow2_rebuild_refcounts(q, &walk, log2_of(bits), walk.file_clusters, &end, err);
    qcow2_walk_free(&walk);
    q->prepared = false;
    q->cursor = q->cursor_low = 0;
    return ok && qcow2_prepare(q, err);
}

/* ---- version ---- */

static bool upgrade(struct qcow2 *q, struct error *err)
{
    struct qcow2_area area;
    qcow2_area_current(q, &area);
    return qcow2_area_convert(q, &area, 3, err) && qcow2_snapshots_complete(q, err);
}

/*
 * An entry that says "zeros", which version 2 cannot say, in a table that `refs` L1 entries name. A cluster
 * that is reserved for it is made zeros when nobody else refers to it.
 */
static bool expand_entry(struct qcow2 *q, uint64_t entry, uint64_t refs, bool active, uint64_t *now,
                         struct error *err)
{
    struct qcow2_space space;
    uint64_t host = entry & ENTRY_OFFSET, users = 0, copied = active && refs == 1 ? ENTRY_COPIED : 0;
    *now = 0;
    if (!host && !q->backing_name)
        return true;
    if (host % q->cluster_size)
        return qcow2_corrupt(q, host, err, "L2 entry 0x%" PRIx64 ": the cluster's offset is unaligned",
                             entry);
    if (host && !qcow2_refcount_get(q, host >> q->cluster_bits, &users, err))
        return false;
    *now = host | copied;
    if (host && users == refs)
        return qcow2_update_check(q, host, q->cluster_size, 0, err) &&
               qcow2_file_zero(q, host, q->cluster_size, err);
    if (!qcow2_allocate(q, 1, true, KIND_DATA, &space, err) ||
        (!space.zeroed && !qcow2_file_zero(q, space.off, q->cluster_size, err)) ||
        (refs > 1 && !qcow2_refcount_add(q, space.off >> q->cluster_bits, 1, (int)refs - 1, err)))
        return false;
    *now = space.off | copied;
    return !host || qcow2_refcount_add(q, host >> q->cluster_bits, 1, -(int)refs, err);
}

/* A table that several L1 tables share is changed for all of them at once;
 * later visits find nothing to do. */
static bool expand_table(struct qcow2 *q, uint64_t index, uint64_t l1_entry, void *active, struct error *err)
{
    uint64_t table = l1_entry & ENTRY_OFFSET, refs = 0;
    if (table % q->cluster_size)
        return qcow2_corrupt(q, table, err, "L2 table offset 0x%" PRIx64 " unaligned (L1 index: %" PRIu64 ")",
                             table, index);
    if (table && !qcow2_refcount_get(q, table >> q->cluster_bits, &refs, err))
        return false;
    for (uint64_t at = 0; table && at < q->cluster_size; at += 8) {
        uint64_t entry, now;
        if (!qcow2_meta_get64(q, table + at, &entry, err))
            return false;
        if (entry & ENTRY_COMPRESSED || !(entry & ENTRY_ZERO))
            continue;
        if (refs == 0 || refs > UINT16_MAX)
            return qcow2_corrupt(q, table, err, "an L2 table is in use, but its refcount is %" PRIu64, refs);
        if (!interrupt_check(err) || !expand_entry(q, entry, refs, *(bool *)active, &now, err) ||
            !qcow2_meta_put64(q, table + at, now, err))
            return false;
    }
    return true;
}

static bool expand_all(struct qcow2 *q, struct error *err)
{
    struct qcow2_snapshot_list list;
    bool active = true;
    if (!qcow2_each_entry(q, q->active.l1_offset, q->active.l1_size, expand_table, &active, err) ||
        !qcow2_snapshots_load(q, &list, err))
        return false;
    bool ok = true;
    active = false;
    for (size_t i = 0; ok && i < list.count; i++) {
        if (list.items[i].disk_size != q->active.size)
            ok =
                fail(err, E_UNSUPPORTED, "snapshot '%s' has another disk size, which version 2 does not know",
                     list.items[i].name);
        ok = ok &&
             qcow2_each_entry(q, list.items[i].l1_offset, list.items[i].l1_size, expand_table, &active, err);
    }
    qcow2_snapshots_free(&list);
    return ok;
}

static bool downgrade(struct qcow2 *q, struct error *err)
{
    static const struct {
        uint64_t bit;
        const char *name;
    } blocking[] = {{INCOMPAT_DATA_FILE, "an external data file"},
                    {INCOMPAT_COMPRESSION, "zstd compression"},
                    {INCOMPAT_EXTENDED_L2, "extended L2 entries"}};
    struct qcow2_area area;
    for (size_t i = 0; i < ARRAY_LEN(blocking); i++)
        if (q->h.incompatible_features & blocking[i].bit)
            return fail(err, E_UNSUPPORTED, "version 2 does not know %s", blocking[i].name);
    if (q->refcount_bits != 16)
        return fail(err, E_UNSUPPORTED, "version 2 needs refcount_bits=16 (there are %u)", q->refcount_bits);
    if (q->bitmaps.present)
        return fail(err, E_UNSUPPORTED, "version 2 does not know bitmaps; remove them first");
    if (!expand_all(q, err))
        return false;
    qcow2_area_current(q, &area);
    return qcow2_area_convert(q, &area, 2, err);
}

static bool set_version(struct qcow2 *q, const char *compat, struct error *err)
{
    uint32_t version = strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0 ? 2 : 3;
    if (version == q->h.version)
        return true;
    return version == 3 ? upgrade(q, err) : downgrade(q, err);
}

/* ---- all together ---- */

static bool check_fixed(const struct qcow2 *q, const struct options *options, struct error *err)
{
    const struct {
        const char *name;
        bool differs;
    } fixed[] = {
        {"cluster_size", options_number(options, "cluster_size", q->cluster_size) != q->cluster_size},
        {"extended_l2", options_flag(options, "extended_l2", q->extended) != q->extended},
        {"compression_type",
         strcmp(options_text(options, "compression_type", q->h.compression_type ? "zstd" : "zlib"),
                q->h.compression_type ? "zstd" : "zlib") != 0},
        {"preallocation", options_has(options, "preallocation")},
    };
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (fixed[i].differs)
            return fail(err, E_UNSUPPORTED, "%s cannot be changed in place; convert the image",
                        fixed[i].name);
    return true;
}

static bool set_data_file(struct qcow2 *q, const struct options *options, struct error *err)
{
    struct qcow2_area area;
    const char *name = options_text(options, "data_file", NULL);
    bool raw = options_flag(options, "data_file_raw", qcow2_data_file_raw(q));
    if ((name || raw) && !qcow2_has_data_file(q))
        return fail(err, E_UNSUPPORTED, "an image cannot be given an external data file; convert it");
    if (raw && !qcow2_data_file_raw(q))
        return fail(err, E_UNSUPPORTED, "data_file_raw cannot be switched on in an image that exists");
    if (raw != qcow2_data_file_raw(q) &&
        !QCOW2_HEADER_PUT(q, autoclear_features, q->h.autoclear_features & ~AUTOCLEAR_DATA_FILE_RAW, err))
        return false;
    if (!name)
        return true;
    qcow2_area_current(q, &area);
    area.data_name = name;
    return qcow2_area_write(q, &area, err);
}

static bool set_lazy(struct qcow2 *q, bool lazy, struct error *err)
{
    uint64_t features = q->h.compatible_features & ~COMPAT_LAZY_REFCOUNTS;
    if (lazy && q->h.version < 3)
        return fail(err, E_UNSUPPORTED, "lazy_refcounts needs compat=1.1");
    return q->h.version < 3 ||
           QCOW2_HEADER_PUT(q, compatible_features, features | (lazy ? COMPAT_LAZY_REFCOUNTS : 0), err);
}

bool qcow2_amend(struct device *dev, const struct options *options, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    const char *compat = options_text(options, "compat", q->h.version == 2 ? "0.10" : "1.1");
    bool down = strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0;
    if (!qcow2_prepare(q, err) || !check_fixed(q, options, err))
        return false;
    /* Up before what needs version 3, down after what would forbid version 2. */
    if (!down && !set_version(q, compat, err))
        return false;
    if (options_has(options, "lazy_refcounts") &&
        !set_lazy(q, options_flag(options, "lazy_refcounts", false), err))
        return false;
    if (options_has(options, "refcount_bits") &&
        !set_refcount_bits(q, options_number(options, "refcount_bits", 16), err))
        return false;
    if (!set_data_file(q, options, err) || (down && !set_version(q, compat, err)))
        return false;
    return !options_has(options, "backing_file") ||
           qcow2_set_backing(dev, options_text(options, "backing_file", NULL),
                             options_text(options, "backing_fmt", q->backing_format), true, err);
}
