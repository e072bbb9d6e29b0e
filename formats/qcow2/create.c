/* New images, and space that is taken in advance. */
#include "create.h"

#include "alloc.h"
#include "write.h"

#include <inttypes.h>
#include <stdlib.h>

const struct option qcow2_options[] = {
    {"compat", OPTION_WORD, "0.10|1.1|v2|v3", "version of the format: 0.10 is 2, 1.1 (default) is 3"},
    {"cluster_size", OPTION_SIZE, NULL, "512 to 2M, a power of two (default 64K)"},
    {"refcount_bits", OPTION_NUMBER, NULL,
     "width of a reference count: 1 to 64, a power of two (default 16)"},
    {"lazy_refcounts", OPTION_FLAG, NULL, "writers may postpone reference counts"},
    {"extended_l2", OPTION_FLAG, NULL, "32 subclusters for each cluster (clusters of 16K or more)"},
    {"compression_type", OPTION_WORD, "zlib|zstd", "how compressed clusters are compressed (default zlib)"},
    {"preallocation", OPTION_WORD, "off|metadata|falloc|full", "what is allocated at once (default off)"},
    {"backing_file", OPTION_TEXT, NULL, "the image that shows through where this one holds nothing"},
    {"backing_fmt", OPTION_TEXT, NULL, "format of the backing file"},
    {"data_file", OPTION_TEXT, NULL, "external file that holds the guest's data"},
    {"data_file_raw", OPTION_FLAG, NULL, "the external data file is a raw image by itself"},
    {0},
};

static enum qcow2_preallocation preallocation_of(const char *word)
{
    static const char *const words[] = {"off", "metadata", "falloc", "full"};
    unsigned i = 0;
    while (i + 1 < ARRAY_LEN(words) && strcmp(words[i], word) != 0)
        i++;
    return (enum qcow2_preallocation)i;
}

static bool take_geometry(struct qcow2_plan *plan, const struct options *options, struct error *err)
{
    const char *compat = options_text(options, "compat", "1.1");
    uint64_t cluster = options_number(options, "cluster_size", 64 * KiB);
    uint64_t bits = options_number(options, "refcount_bits", 16);
    plan->version = strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0 ? 2 : 3;
    if (!is_power_of_two(cluster) || cluster < 512 || cluster > 2 * MiB)
        return fail(err, E_INVALID, "cluster_size is a power of two from 512 to 2M, not %" PRIu64, cluster);
    if (!is_power_of_two(bits) || bits > 64)
        return fail(err, E_INVALID, "refcount_bits is a power of two from 1 to 64, not %" PRIu64, bits);
    plan->cluster_bits = log2_of(cluster);
    plan->refcount_order = log2_of(bits);
    return true;
}

static bool check_features(const struct qcow2_plan *plan, struct error *err)
{
    const struct {
        bool used;
        const char *name;
    } v3[] = {{plan->refcount_order != 4, "refcount_bits other than 16"},
              {plan->lazy, "lazy_refcounts"},
              {plan->extended, "extended_l2"},
              {plan->compression, "compression_type zstd"},
              {plan->data_file, "data_file"}};
    for (size_t i = 0; plan->version < 3 && i < ARRAY_LEN(v3); i++)
        if (v3[i].used)
            return fail(err, E_INVALID, "%s needs compat=1.1", v3[i].name);
    if (plan->extended && plan->cluster_bits < 14)
        return fail(err, E_INVALID, "extended_l2 needs clusters of at least 16K");
    if (plan->raw_data && !plan->data_file)
        return fail(err, E_INVALID, "data_file_raw needs data_file");
    if (plan->raw_data && plan->backing)
        return fail(err, E_INVALID, "data_file_raw and a backing file exclude each other");
    if (plan->backing && !plan->backing_format)
        return fail(err, E_INVALID, "a backing file needs its format (backing_fmt)");
    if (plan->backing_format && !plan->backing)
        return fail(err, E_INVALID, "backing_fmt needs backing_file");
    if (plan->backing && plan->preallocation != PREALLOCATE_OFF && !plan->extended)
        return fail(err, E_INVALID, "preallocation over a backing file needs extended_l2");
    return true;
}

bool qcow2_plan_read(struct qcow2_plan *plan, const struct options *options, struct error *err)
{
    *plan = (struct qcow2_plan){
        .lazy = options_flag(options, "lazy_refcounts", false),
        .extended = options_flag(options, "extended_l2", false),
        .raw_data = options_flag(options, "data_file_raw", false),
        .compression = strcmp(options_text(options, "compression_type", "zlib"), "zstd") == 0,
        .preallocation = preallocation_of(options_text(options, "preallocation", "off")),
        .backing = options_text(options, "backing_file", NULL),
        .backing_format = options_text(options, "backing_fmt", NULL),
        .data_file = options_text(options, "data_file", NULL),
    };
    if (plan->backing && !*plan->backing)
        plan->backing = NULL;
    if (!take_geometry(plan, options, err) || !check_features(plan, err))
        return false;
    /* A raw data file is always mapped whole. */
    if (plan->raw_data && plan->preallocation == PREALLOCATE_OFF)
        plan->preallocation = PREALLOCATE_METADATA;
    return true;
}

bool qcow2_plan_size(struct qcow2_plan *plan, uint64_t size, struct error *err)
{
    uint64_t cluster = UINT64_C(1) << plan->cluster_bits, l2_entries = cluster / (plan->extended ? 16 : 8);
    uint64_t most = MAX_L1_BYTES / 8 * l2_entries * cluster;
    if (most > INT64_MAX / 2)
        most = INT64_MAX / 2;
    if (size > most)
        return fail(err, E_TOOBIG,
                    "the disk is too large for clusters of %" PRIu64 " bytes (at most 0x%" PRIx64 " bytes)",
                    cluster, most);
    plan->size = round_up(size, 512);
    return true;
}

/* Header, refcount table and one refcount block that counts the three.
 * Everything else is added by the writer. */
static bool write_seed(struct device *below, const struct qcow2_plan *plan, struct error *err)
{
    uint64_t cluster = UINT64_C(1) << plan->cluster_bits;
    uint8_t raw[HEADER_V3_SIZE] = {0}, entry[8], counts[24] = {0};
    qcow2_header_set_magic(raw, QCOW2_MAGIC);
    qcow2_header_set_version(raw, plan->version);
    qcow2_header_set_cluster_bits(raw, plan->cluster_bits);
    qcow2_header_set_refcount_table_offset(raw, cluster);
    qcow2_header_set_refcount_table_clusters(raw, 1);
    if (plan->version >= 3) {
        qcow2_header_set_incompatible_features(raw, (plan->compression ? INCOMPAT_COMPRESSION : 0) |
                                                        (plan->extended ? INCOMPAT_EXTENDED_L2 : 0) |
                                                        (plan->data_file ? INCOMPAT_DATA_FILE : 0));
        qcow2_header_set_compatible_features(raw, plan->lazy ? COMPAT_LAZY_REFCOUNTS : 0);
        qcow2_header_set_autoclear_features(raw, plan->raw_data ? AUTOCLEAR_DATA_FILE_RAW : 0);
        qcow2_header_set_refcount_order(raw, plan->refcount_order);
        qcow2_header_set_header_length(raw, HEADER_V3_SIZE);
        qcow2_header_set_compression_type(raw, plan->compression);
    }
    store_be64(entry, 2 * cluster);
    for (uint64_t i = 0; i < 3; i++)
        qcow2_refcount_store(plan->refcount_order, counts, i, 1);
    return device_resize(below, 3 * cluster, err) &&
           device_write(below, 0, raw, sizeof raw, WRITE_UPDATE, err) &&
           device_write(below, cluster, entry, sizeof entry, WRITE_UPDATE, err) &&
           device_write(below, 2 * cluster, counts, sizeof counts, WRITE_UPDATE, err);
}

/* The seed knows its data file only by its feature bit: name it before anything asks for it. */
static bool name_others(struct qcow2 *q, const struct qcow2_plan *plan, struct error *err)
{
    struct qcow2_area area;
    qcow2_area_current(q, &area);
    area.backing_name = plan->backing;
    area.backing_format = plan->backing_format;
    area.data_name = plan->data_file;
    return qcow2_area_write(q, &area, err);
}

static bool attach_data_file(struct qcow2 *q, const struct qcow2_plan *plan, struct error *err)
{
    if (!plan->data_file)
        return true;
    q->open.allow_data_file = true;
    return qcow2_open_data(q, err) && device_resize(q->data, 0, err) &&
           device_resize(q->data, plan->size, err);
}

static bool fill_image(struct qcow2 *q, const struct qcow2_plan *plan, struct error *err)
{
    /* Names first: they are part of cluster 0, and the data file's is needed to reach it. */
    if (!name_others(q, plan, err) || !attach_data_file(q, plan, err) || !qcow2_prepare(q, err))
        return false;
    uint64_t entries = div_up(plan->size, q->cluster_size * q->l2_entries);
    if (!qcow2_l1_grow(q, MAX_OF(entries, 1), err) || !QCOW2_HEADER_PUT(q, size, plan->size, err))
        return false;
    q->active.size = q->dev.size = plan->size;
    return qcow2_preallocate(q, 0, plan->size, plan->preallocation, err) && qcow2_flush(&q->dev, err);
}

/* The backing file must be there and be what it is said to be; its size is the default. */
static bool look_at_backing(const struct qcow2_plan *plan, const struct container_open *open, uint64_t *size,
                            struct error *err)
{
    struct qcow2 beside = {.path = (char *)(uintptr_t)(open->path ? open->path : "image")};
    struct device *backing;
    if (!plan->backing || !open->open_layer)
        return true;
    char *path = qcow2_beside(&beside, plan->backing, err);
    bool ok = path && (open->open_layer(open, path, plan->backing_format, &backing, err) ||
                       because(err, "backing file '%s'", plan->backing));
    free(path);
    if (!ok)
        return false;
    if (*size == UINT64_MAX)
        *size = backing->size;
    device_close(backing);
    return true;
}

bool qcow2_create(struct device *below, uint64_t size, const struct options *options,
                  const struct container_open *open, struct error *err)
{
    struct qcow2_plan plan;
    struct qcow2 *q;
    if (!qcow2_plan_read(&plan, options, err) || !look_at_backing(&plan, open, &size, err) ||
        !qcow2_plan_size(&plan, size, err) || !write_seed(below, &plan, err))
        return false;
    struct container_open seed = *open;
    seed.read_only = false;
    seed.check_only = true; /* neither backing nor data file are there yet */
    if (!qcow2_open_image(below, &seed, &q, err))
        return false;
    bool ok = fill_image(q, &plan, err);
    qcow2_close(&q->dev);
    return ok;
}

/* ---- space in advance ---- */

static bool prepare_space(struct qcow2 *q, const struct qcow2_space *space, enum qcow2_preallocation mode,
                          struct error *err)
{
    uint64_t bytes = space->clusters << q->cluster_bits;
    if (!space->zeroed && !qcow2_has_data_file(q) && !qcow2_file_zero(q, space->off, bytes, err))
        return false;
    if (mode == PREALLOCATE_METADATA)
        return true;
    if (qcow2_has_data_file(q))
        bytes = MIN_OF(bytes, q->data->size - space->off);
    return device_allocate(q->data, space->off, bytes, mode == PREALLOCATE_FULL, err);
}

/* Entries that had nothing now have a place. With subclusters it stays reserved:
 * what shows does not change. */
static bool reserve_entries(struct qcow2 *q, uint64_t cluster, const struct qcow2_space *space,
                            struct error *err)
{
    uint64_t host = space->off;
    for (uint64_t left = space->clusters; left > 0;) {
        struct qcow2_slice slice;
        if (!qcow2_slice_get(&q->active, cluster, &slice, err))
            return false;
        for (uint32_t i = 0; i < slice.count && left > 0; i++, left--) {
            qcow2_slice_set(q, &slice, i,
                            (struct qcow2_l2){host | ENTRY_COPIED, qcow2_slice_entry(q, &slice, i).bitmap});
            host += q->cluster_size;
            cluster += q->cluster_size;
        }
        cache_release(q->meta, slice.block);
    }
    return true;
}

static bool preallocate_piece(struct qcow2 *q, uint64_t at, uint64_t end, enum qcow2_preallocation mode,
                              struct error *err)
{
    if (!qcow2_own_tables(q, at, end, err))
        return false;
    while (at < end) {
        uint64_t count;
        struct qcow2_run run;
        if (!qcow2_run_at(&q->active, at, end - at, &run, err))
            return false;
        if (run.state != SUB_UNALLOCATED) { /* only what has nothing at all gets a place */
            at = round_up(at + run.len, q->cluster_size);
            continue;
        }
        uint64_t max = div_up(MIN_OF(end - at, run.len), q->cluster_size);
        if (!qcow2_count_homeless(q, at, max, &count, err))
            return false;
        struct qcow2_space space = {.off = at, .clusters = MAX_OF(count, 1)};
        if ((!qcow2_has_data_file(q) && !qcow2_allocate(q, space.clusters, false, KIND_DATA, &space, err)) ||
            !prepare_space(q, &space, mode, err) || !reserve_entries(q, at, &space, err))
            return false;
        at += space.clusters << q->cluster_bits;
    }
    return true;
}

bool qcow2_preallocate(struct qcow2 *q, uint64_t off, uint64_t end, enum qcow2_preallocation mode,
                       struct error *err)
{
    uint64_t span = q->cluster_size * q->l2_entries, most = MAX_OF(span * 64, GiB);
    if (mode == PREALLOCATE_OFF)
        return true;
    for (off = round_down(off, q->cluster_size); off < end;) {
        uint64_t stop = MIN_OF(end, off + most);
        if (!interrupt_check(err) || !preallocate_piece(q, off, stop, mode, err))
            return false;
        off = stop;
    }
    return true;
}
