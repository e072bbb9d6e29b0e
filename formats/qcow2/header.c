/*
 * Reading the header. Nothing is allocated, sought or shifted by a number of the header before that number
 * has passed its limit.
 */
#include "alloc.h"
#include "qcow2.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* With check_only a fault that leaves the rest readable is kept for later and does not stop the opening. */
static bool tolerate(struct qcow2 *q, enum qcow2_refusal what, const struct error *err)
{
    if (!q->open.check_only || err->kind == E_NOMEM || err->kind == E_IO || err->kind == E_INTERRUPTED)
        return false;
    if (!q->refused[0]) {
        snprintf(q->refused, sizeof q->refused, "%.*s", (int)sizeof q->refused - 1, err->message);
        q->refused_at = err->offset;
    }
    q->refused_for |= what;
    return true;
}

#define BAD(name, ...) damaged(err, q->file, qcow2_header_off_##name, #name ": " __VA_ARGS__)

static void load_fields(struct qcow2_header *h, const uint8_t *raw, size_t size)
{
    *h = (struct qcow2_header){
        .version = (uint32_t)qcow2_header_version(raw),
        .backing_file_offset = qcow2_header_backing_file_offset(raw),
        .backing_file_size = (uint32_t)qcow2_header_backing_file_size(raw),
        .cluster_bits = (uint32_t)qcow2_header_cluster_bits(raw),
        .size = qcow2_header_size(raw),
        .crypt_method = (uint32_t)qcow2_header_crypt_method(raw),
        .l1_size = (uint32_t)qcow2_header_l1_size(raw),
        .l1_table_offset = qcow2_header_l1_table_offset(raw),
        .refcount_table_offset = qcow2_header_refcount_table_offset(raw),
        .refcount_table_clusters = (uint32_t)qcow2_header_refcount_table_clusters(raw),
        .nb_snapshots = (uint32_t)qcow2_header_nb_snapshots(raw),
        .snapshots_offset = qcow2_header_snapshots_offset(raw),
        .refcount_order = 4,
        .header_length = HEADER_V2_SIZE,
    };
    if (h->version < 3 || size < HEADER_V3_MIN)
        return;
    h->incompatible_features = qcow2_header_incompatible_features(raw);
    h->compatible_features = qcow2_header_compatible_features(raw);
    h->autoclear_features = qcow2_header_autoclear_features(raw);
    h->refcount_order = (uint32_t)qcow2_header_refcount_order(raw);
    h->header_length = (uint32_t)qcow2_header_header_length(raw);
    if (h->header_length > qcow2_header_off_compression_type && size > qcow2_header_off_compression_type)
        h->compression_type = (uint32_t)qcow2_header_compression_type(raw);
}

/* What must hold before any shift by a field of the header, and before its area is read. */
static bool check_shape(struct qcow2 *q, struct error *err)
{
    const struct qcow2_header *h = &q->h;
    if (h->version != 2 && h->version != 3)
        return BAD(version, "unsupported qcow2 version %" PRIu32, h->version);
    if (h->cluster_bits < 9 || h->cluster_bits > 21)
        return BAD(cluster_bits, "unsupported cluster size 2^%" PRIu32 " (2^9 to 2^21 are possible)",
                   h->cluster_bits);
    if (h->version == 3 && h->header_length < HEADER_V3_MIN)
        return BAD(header_length, "%" PRIu32 " is too short for version 3 (%d)", h->header_length,
                   HEADER_V3_MIN);
    if (h->header_length > 1u << h->cluster_bits)
        return BAD(header_length, "%" PRIu32 " reaches past the first cluster", h->header_length);
    if (h->refcount_order > 6)
        return BAD(refcount_order, "refcounts of 2^%" PRIu32 " bits are too wide (at most 64 bits)",
                   h->refcount_order);
    if (h->crypt_method > 2)
        return BAD(crypt_method, "unknown encryption method %" PRIu32, h->crypt_method);
    if (h->backing_file_offset > UINT64_C(1) << h->cluster_bits)
        return BAD(backing_file_offset, "0x%" PRIx64 " is outside the first cluster", h->backing_file_offset);
    if (h->backing_file_offset &&
        (h->backing_file_size > MAX_NAME ||
         h->backing_file_size > (UINT64_C(1) << h->cluster_bits) - h->backing_file_offset))
        return BAD(backing_file_size, "%" PRIu32 " is too long for the backing file's name",
                   h->backing_file_size);
    return true;
}

void qcow2_set_geometry(struct qcow2 *q)
{
    const struct qcow2_header *h = &q->h;
    q->cluster_bits = h->cluster_bits;
    q->cluster_size = UINT64_C(1) << h->cluster_bits;
    q->extended = h->incompatible_features & INCOMPAT_EXTENDED_L2;
    q->entry_size = q->extended ? 16 : 8;
    q->l2_entries = (uint32_t)(q->cluster_size / q->entry_size);
    q->sub_bits = q->extended ? h->cluster_bits - 5 : h->cluster_bits;
    q->sub_count = q->extended ? 32 : 1;
    q->block_size = (uint32_t)MIN_OF(q->cluster_size, 4 * KiB);
    q->refcount_bits = 1u << h->refcount_order;
    q->rb_entries = q->cluster_size * 8 >> h->refcount_order;
    q->rb_slice = (uint64_t)q->block_size * 8 >> h->refcount_order;
    q->refcount_max = h->refcount_order == 6 ? UINT64_MAX : (UINT64_C(1) << q->refcount_bits) - 1;
}

static bool check_features(struct qcow2 *q, struct error *err)
{
    const struct qcow2_header *h = &q->h;
    uint64_t unknown = h->incompatible_features & ~INCOMPAT_KNOWN;
    if (unknown) {
        char text[160] = "", name[64];
        for (unsigned bit = 0; bit < 64; bit++)
            if (unknown >> bit & 1 && qcow2_feature_name(q, 0, bit, name, sizeof name)) {
                size_t used = strlen(text);
                snprintf(text + used, sizeof text - used, "%s, ", name);
                unknown &= ~(UINT64_C(1) << bit);
            }
        size_t used = strlen(text);
        if (unknown)
            snprintf(text + used, sizeof text - used, "bits 0x%" PRIx64, unknown);
        else if (used)
            text[used - 2] = '\0';
        return fail(err, E_UNSUPPORTED, "incompatible_features: unknown features: %s", text);
    }
    if (q->extended && h->cluster_bits < 14)
        return BAD(cluster_bits,
                   "clusters of %" PRIu64 " bytes are too small for extended L2 entries (16 KiB)",
                   q->cluster_size);
    bool bit = h->incompatible_features & INCOMPAT_COMPRESSION;
    if (h->compression_type > 1)
        return BAD(compression_type, "unknown compression type %" PRIu32, h->compression_type);
    if (bit != (h->compression_type != 0))
        return BAD(compression_type,
                   "the incompatible feature bit must %sbe set for compression type %" PRIu32,
                   bit ? "not " : "", h->compression_type);
    if (qcow2_data_file_raw(q) && !qcow2_has_data_file(q))
        return BAD(autoclear_features, "data-file-raw requires a data file");
    return true;
}

static bool check_reftable(struct qcow2 *q, struct error *err)
{
    const struct qcow2_header *h = &q->h;
    if (h->refcount_table_clusters > MAX_REFTABLE_BYTES >> h->cluster_bits)
        return BAD(refcount_table_clusters,
                   "%" PRIu32 " clusters are too large a refcount table (8 MiB at most)",
                   h->refcount_table_clusters);
    if (h->refcount_table_offset == 0 || h->refcount_table_offset % q->cluster_size ||
        h->refcount_table_offset > INT64_MAX - MAX_REFTABLE_BYTES)
        return BAD(refcount_table_offset, "0x%" PRIx64 " is not a valid offset", h->refcount_table_offset);
    if (h->refcount_table_clusters == 0)
        return BAD(refcount_table_clusters, "the image does not contain a refcount table");
    return true;
}

static bool check_l1(struct qcow2 *q, struct error *err)
{
    const struct qcow2_header *h = &q->h;
    if (h->l1_size > MAX_L1_BYTES / 8)
        return BAD(l1_size, "an active L1 table of %" PRIu32 " entries is too large (32 MiB at most)",
                   h->l1_size);
    if (h->size > INT64_MAX)
        return BAD(size, "the image is too big (0x%" PRIx64 " bytes)", h->size);
    uint64_t needed = div_up(h->size, q->cluster_size * q->l2_entries);
    if (needed > INT_MAX)
        return BAD(size, "the image is too big (0x%" PRIx64 " bytes)", h->size);
    if (h->l1_size < needed)
        return BAD(l1_size,
                   "the L1 table is too small: %" PRIu32 " entries, %" PRIu64 " are needed for the size",
                   h->l1_size, needed);
    if ((h->l1_table_offset == 0 && h->l1_size) || h->l1_table_offset % q->cluster_size ||
        h->l1_table_offset > MAX_HOST_OFFSET - MAX_L1_BYTES)
        return BAD(l1_table_offset, "0x%" PRIx64 " is not a valid offset", h->l1_table_offset);
    return true;
}

bool qcow2_snapshots_offset_ok(const struct qcow2 *q)
{
    return q->h.snapshots_offset % q->cluster_size == 0 &&
           q->h.snapshots_offset <= MAX_HOST_OFFSET - MAX_SNAPSHOT_TABLE;
}

static bool check_snapshots(struct qcow2 *q, struct error *err)
{
    const struct qcow2_header *h = &q->h;
    if (h->nb_snapshots > MAX_SNAPSHOTS)
        return BAD(nb_snapshots, "%" PRIu32 " snapshots are too many (%u at most)", h->nb_snapshots,
                   MAX_SNAPSHOTS);
    if (h->nb_snapshots && !qcow2_snapshots_offset_ok(q))
        return BAD(snapshots_offset, "0x%" PRIx64 " is not a valid offset", h->snapshots_offset);
    return true;
}

static bool add_extension(struct qcow2 *q, uint32_t type, uint32_t length, uint32_t off, struct error *err)
{
    if (!mem_grow(&q->extensions, &q->extension_capacity, q->extension_count + 1, sizeof *q->extensions, err))
        return false;
    q->extensions[q->extension_count++] = (struct qcow2_extension){type, length, off};
    return true;
}

/* The area ends at the END extension, the backing file's name or the first cluster's end. */
static bool find_extensions(struct qcow2 *q, struct error *err)
{
    uint64_t end = q->h.backing_file_offset ? q->h.backing_file_offset : q->cluster_size;
    uint64_t off = q->h.header_length;
    while (off < end && end - off >= EXTENSION_HEAD) {
        uint32_t type = (uint32_t)qcow2_extension_type(q->header_area + off);
        uint32_t length = (uint32_t)qcow2_extension_length(q->header_area + off);
        if (type == EXT_END)
            return true;
        off += EXTENSION_HEAD;
        if (length > end - off)
            return damaged(err, q->file, off - EXTENSION_HEAD,
                           "header extension 0x%08" PRIx32 ": its length %" PRIu32 " is too large", type,
                           length);
        if (!add_extension(q, type, length, (uint32_t)off, err))
            return false;
        off += round_up(length, 8);
    }
    return true;
}

static bool set_name(char **name, const uint8_t *bytes, uint32_t length, struct error *err)
{
    free(*name);
    *name = mem_string_n((const char *)bytes, length, err);
    return *name != NULL;
}

static bool read_bitmaps(struct qcow2 *q, const struct qcow2_extension *ext, struct error *err)
{
    const uint8_t *raw = q->header_area + ext->off;
    if (!(q->h.autoclear_features & AUTOCLEAR_BITMAPS)) {
        qcow2_warn(q, WARN_BITMAPS,
                   "%s: a program without bitmap support changed the image: its bitmaps are void", q->path);
        return true;
    }
    if (ext->length != BITMAPS_SIZE)
        return damaged(err, q->file, ext->off, "bitmaps extension: its length is %" PRIu32 ", not %d",
                       ext->length, BITMAPS_SIZE);
    struct qcow2_bitmaps bitmaps = {.present = true,
                                    .count = (uint32_t)qcow2_bitmaps_nb_bitmaps(raw),
                                    .directory_offset = qcow2_bitmaps_bitmap_directory_offset(raw),
                                    .directory_size = qcow2_bitmaps_bitmap_directory_size(raw)};
    if (qcow2_bitmaps_reserved(raw) != 0)
        return damaged(err, q->file, ext->off, "bitmaps extension: its reserved field is not zero");
    if (bitmaps.count < 1 || bitmaps.count > MAX_BITMAPS)
        return damaged(err, q->file, ext->off,
                       "bitmaps extension: nb_bitmaps is %" PRIu32 " (1 to %u are possible)", bitmaps.count,
                       MAX_BITMAPS);
    if (bitmaps.directory_size > MAX_BITMAP_DIRECTORY || bitmaps.directory_size < BITMAP_SIZE)
        return damaged(err, q->file, ext->off,
                       "bitmaps extension: bitmap_directory_size 0x%" PRIx64 " is not possible",
                       bitmaps.directory_size);
    if (bitmaps.directory_offset == 0 || bitmaps.directory_offset % q->cluster_size ||
        bitmaps.directory_offset > MAX_HOST_OFFSET - MAX_BITMAP_DIRECTORY)
        return damaged(err, q->file, ext->off,
                       "bitmaps extension: bitmap_directory_offset 0x%" PRIx64 " is not a valid offset",
                       bitmaps.directory_offset);
    q->bitmaps = bitmaps;
    return true;
}

static bool read_crypto(struct qcow2 *q, const struct qcow2_extension *ext, struct error *err)
{
    const uint8_t *raw = q->header_area + ext->off;
    if (q->h.crypt_method != 2)
        return damaged(err, q->file, ext->off, "encryption header extension: crypt_method is not LUKS");
    if (ext->length != CRYPTO_SIZE)
        return damaged(err, q->file, ext->off,
                       "encryption header extension: its length is %" PRIu32 ", not %d", ext->length,
                       CRYPTO_SIZE);
    q->crypto_offset = qcow2_crypto_offset(raw);
    q->crypto_length = qcow2_crypto_length(raw);
    if (q->crypto_offset % q->cluster_size ||
        !range_inside(q->crypto_offset, q->crypto_length, MAX_HOST_OFFSET) ||
        q->crypto_length > MAX_CRYPTO_HEADER) {
        q->crypto_length = 0;
        return damaged(err, q->file, ext->off,
                       "encryption header extension: 0x%" PRIx64 " bytes at 0x%" PRIx64 " are not possible",
                       qcow2_crypto_length(raw), qcow2_crypto_offset(raw));
    }
    return true;
}

static bool read_extension(struct qcow2 *q, const struct qcow2_extension *ext, struct error *err)
{
    switch (ext->type) {
    case EXT_BACKING_FORMAT:
        return set_name(&q->backing_format, q->header_area + ext->off, ext->length, err);
    case EXT_DATA_FILE:
        return set_name(&q->data_name, q->header_area + ext->off, ext->length, err);
    case EXT_BITMAPS:
        return read_bitmaps(q, ext, err) || tolerate(q, REFUSED_OTHER, err);
    case EXT_CRYPTO:
        return read_crypto(q, ext, err) || tolerate(q, REFUSED_OTHER, err);
    default:
        return true;
    }
}

static bool read_extensions(struct qcow2 *q, struct error *err)
{
    if (!find_extensions(q, err) && !tolerate(q, REFUSED_OTHER, err))
        return false;
    for (size_t i = 0; i < q->extension_count; i++)
        if (!read_extension(q, &q->extensions[i], err))
            return false;
    return q->h.backing_file_offset == 0 || q->h.backing_file_size == 0 ||
           set_name(&q->backing_name, q->header_area + q->h.backing_file_offset, q->h.backing_file_size, err);
}

/* A table that starts past the file's end reads as zeros, as in a file cut short: fit for looking only. */
static void check_table_ends(struct qcow2 *q)
{
    const struct {
        const char *name;
        uint64_t off;
        bool used;
    } tables[] = {{"L1 table", q->h.l1_table_offset, q->h.l1_size > 0},
                  {"refcount table", q->h.refcount_table_offset, q->h.refcount_table_clusters > 0},
                  {"snapshot table", q->h.snapshots_offset, q->h.nb_snapshots > 0}};
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        if (!tables[i].used || tables[i].off < q->file->size)
            continue;
        snprintf(q->refused_write, sizeof q->refused_write,
                 "the %s at 0x%" PRIx64 " lies past the end of the file (0x%" PRIx64 ")", tables[i].name,
                 tables[i].off, q->file->size);
        qcow2_warn(q, WARN_PAST_END, "%s: %s; it reads as zeros", q->path, q->refused_write);
        return;
    }
}

/* A refcount table that cannot be one is as good as none: a repair makes a new one. */
static bool tolerate_reftable(struct qcow2 *q, const struct error *err)
{
    if (!tolerate(q, REFUSED_REFTABLE, err))
        return false;
    q->h.refcount_table_clusters = 0;
    return true;
}

/* The shape has passed its checks and header_area is there: everything else. */
static bool parse_area(struct qcow2 *q, struct error *err)
{
    qcow2_set_geometry(q);
    if (!read_extensions(q, err) || !(check_features(q, err) || tolerate(q, REFUSED_OTHER, err)) ||
        !(check_reftable(q, err) || tolerate_reftable(q, err)) || !check_l1(q, err) ||
        !(check_snapshots(q, err) || tolerate(q, REFUSED_SNAPSHOTS, err)))
        return false;
    if (q->h.incompatible_features & INCOMPAT_CORRUPT)
        snprintf(q->refused_write, sizeof q->refused_write,
                 "the image is marked corrupt and cannot be written; `check --repair all` repairs it");
    check_table_ends(q);
    return true;
}

bool qcow2_header_read(struct qcow2 *q, struct error *err)
{
    uint8_t raw[HEADER_V3_SIZE];
    qcow2_header_free(q);
    if (q->file->size < HEADER_V2_SIZE)
        return damaged(err, q->file, 0, "%" PRIu64 " bytes are too few for a qcow2 header", q->file->size);
    if (!qcow2_file_read(q, 0, raw, sizeof raw, err))
        return false;
    if (qcow2_header_magic(raw) != QCOW2_MAGIC)
        return damaged(err, q->file, 0, "magic is 0x%08" PRIx64 ", not 0x%08x", qcow2_header_magic(raw),
                       QCOW2_MAGIC);
    load_fields(&q->h, raw, (size_t)MIN_OF(q->file->size, sizeof raw));
    if (!check_shape(q, err))
        return false;
    q->header_area = mem_new((size_t)1 << q->h.cluster_bits, err);
    return q->header_area && qcow2_file_read(q, 0, q->header_area, (size_t)1 << q->h.cluster_bits, err) &&
           parse_area(q, err);
}

bool qcow2_header_adopt(struct qcow2 *q, uint8_t *area, struct error *err)
{
    qcow2_header_free(q);
    q->header_area = area;
    load_fields(&q->h, area, HEADER_V3_SIZE);
    return check_shape(q, err) && parse_area(q, err);
}

void qcow2_header_free(struct qcow2 *q)
{
    free(q->header_area);
    free(q->extensions);
    free(q->backing_name);
    free(q->backing_format);
    free(q->data_name);
    q->header_area = NULL;
    q->extensions = NULL;
    q->extension_count = q->extension_capacity = 0;
    q->backing_name = q->backing_format = q->data_name = NULL;
    q->bitmaps = (struct qcow2_bitmaps){0};
    q->crypto_offset = q->crypto_length = 0;
    q->refused[0] = q->refused_write[0] = '\0';
    q->refused_for = 0;
}

bool qcow2_header_put(struct qcow2 *q, unsigned off, unsigned width, uint64_t value, struct error *err)
{
    uint8_t raw[8];
    store_be(raw, width, value);
    store_be(q->header_area + off, width, value);
    return qcow2_meta_write(q, off, raw, width, err);
}

bool qcow2_feature_name(const struct qcow2 *q, unsigned type, unsigned bit, char *out, size_t size)
{
    static const char *const known[3][5] = {
        {"dirty bit", "corrupt bit", "external data file", "compression type", "extended L2 entries"},
        {"lazy refcounts"},
        {"bitmaps", "raw external data"},
    };
    if (type < 3 && bit < 5 && known[type][bit]) {
        snprintf(out, size, "%s", known[type][bit]);
        return true;
    }
    for (size_t i = 0; i < q->extension_count; i++) {
        if (q->extensions[i].type != EXT_FEATURE_NAMES)
            continue;
        for (uint32_t at = 0; q->extensions[i].length - at >= FEATURE_NAME_SIZE; at += FEATURE_NAME_SIZE) {
            const uint8_t *entry = q->header_area + q->extensions[i].off + at;
            if (qcow2_feature_name_type(entry) != type || qcow2_feature_name_bit(entry) != bit)
                continue;
            size_t n = 0;
            for (; n < qcow2_feature_name_width_name && n + 1 < size && qcow2_feature_name_name(entry)[n];
                 n++) {
                uint8_t c = qcow2_feature_name_name(entry)[n];
                out[n] = c >= 0x20 && c < 0x7f ? (char)c : '?';
            }
            out[n] = '\0';
            return n > 0;
        }
    }
    return false;
}
