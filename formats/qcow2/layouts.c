/* The tables behind `show`, `poke`, `diff` and `explain`. */
#include "qcow2.h"

#include <inttypes.h>
#include <stdio.h>

KIND_ENUM(qcow2_kind_crypt, {0, "none"}, {1, "AES"}, {2, "LUKS"});
KIND_ENUM(qcow2_kind_compression, {0, "zlib"}, {1, "zstd"});
KIND_ENUM(qcow2_kind_feature_type, {0, "incompatible"}, {1, "compatible"}, {2, "autoclear"});
KIND_ENUM(qcow2_kind_bitmap_type, {1, "dirty tracking"});
KIND_ENUM(qcow2_kind_extension, {EXT_END, "end"}, {EXT_BACKING_FORMAT, "backing file format"},
          {EXT_FEATURE_NAMES, "feature name table"}, {EXT_BITMAPS, "bitmaps"},
          {EXT_CRYPTO, "encryption header"}, {EXT_DATA_FILE, "external data file"});
KIND_FLAGS(qcow2_kind_incompatible, {INCOMPAT_DIRTY, "dirty"}, {INCOMPAT_CORRUPT, "corrupt"},
           {INCOMPAT_DATA_FILE, "data-file"}, {INCOMPAT_COMPRESSION, "compression-type"},
           {INCOMPAT_EXTENDED_L2, "extended-l2"});
KIND_FLAGS(qcow2_kind_compatible, {COMPAT_LAZY_REFCOUNTS, "lazy-refcounts"});
KIND_FLAGS(qcow2_kind_autoclear, {AUTOCLEAR_BITMAPS, "bitmaps"}, {AUTOCLEAR_DATA_FILE_RAW, "data-file-raw"});
KIND_FLAGS(qcow2_kind_bitmap_flags, {BITMAP_IN_USE, "in-use"}, {BITMAP_AUTO, "auto"},
           {BITMAP_EXTRA_COMPATIBLE, "extra-data-compatible"});

static void bits_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    uint64_t bits = load_be(raw, field->width);
    if (bits < 64)
        snprintf(out, size, "2^%" PRIu64 " = %" PRIu64, bits, UINT64_C(1) << bits);
}

static void l1_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    uint64_t entry = load_be64(raw);
    (void)field;
    if (entry == 0)
        snprintf(out, size, "no L2 table");
    else
        snprintf(out, size, "L2 table at 0x%" PRIx64 "%s%s", entry & ENTRY_OFFSET,
                 entry & ENTRY_COPIED ? ", one user" : ", shared",
                 entry & L1_RESERVED ? ", reserved bits set" : "");
}

static void l2_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    uint64_t entry = load_be64(raw);
    (void)field;
    if (entry == 0)
        snprintf(out, size, "unallocated");
    else if (entry & ENTRY_COMPRESSED)
        snprintf(out, size, "compressed");
    else
        snprintf(out, size, "%s at 0x%" PRIx64 "%s%s", entry & ENTRY_ZERO ? "zeros, reserved" : "cluster",
                 entry & ENTRY_OFFSET, entry & ENTRY_COPIED ? ", one user" : ", shared",
                 entry & L2_RESERVED ? ", reserved bits set" : "");
    if (entry == ENTRY_ZERO)
        snprintf(out, size, "zeros");
}

static void subclusters_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    uint64_t bitmap = load_be64(raw);
    char text[33];
    (void)field;
    for (unsigned i = 0; i < 32; i++) {
        unsigned bits = (bitmap >> i & 1) | (bitmap >> (i + 32) & 1) << 1;
        text[i] = ".dz!"[bits];
    }
    text[32] = '\0';
    snprintf(out, size, "%s (d data, z zeros, . unallocated, ! both)", text);
}

static const struct kind qcow2_kind_bits = {"log2", kind_hex_format, kind_number_parse, bits_meaning, NULL};
static const struct kind qcow2_kind_l1 = {"L1 entry", kind_hex_format, kind_number_parse, l1_meaning, NULL};
static const struct kind qcow2_kind_l2 = {"L2 entry", kind_hex_format, kind_number_parse, l2_meaning, NULL};
static const struct kind qcow2_kind_subclusters = {"subclusters", kind_hex_format, kind_number_parse,
                                                   subclusters_meaning, NULL};

#define QCOW2_REFCOUNT_8(F, T)                                                                               \
    F(T, 0, 1, BE, refcount, kind_dec, "users of the cluster (narrow counts: of several)")
#define QCOW2_REFCOUNT_16(F, T) F(T, 0, 2, BE, refcount, kind_dec, "users of the cluster")
#define QCOW2_REFCOUNT_32(F, T) F(T, 0, 4, BE, refcount, kind_dec, "users of the cluster")
#define QCOW2_REFCOUNT_64(F, T) F(T, 0, 8, BE, refcount, kind_dec, "users of the cluster")

LAYOUT_FIELDS(header, QCOW2_HEADER);
LAYOUT_FIELDS(header_v2, QCOW2_HEADER_V2);
LAYOUT_FIELDS(extension, QCOW2_EXTENSION);
LAYOUT_FIELDS(feature_name, QCOW2_FEATURE_NAME);
LAYOUT_FIELDS(bitmaps, QCOW2_BITMAPS);
LAYOUT_FIELDS(crypto, QCOW2_CRYPTO);
LAYOUT_FIELDS(snapshot, QCOW2_SNAPSHOT);
LAYOUT_FIELDS(snapshot_extra, QCOW2_SNAPSHOT_EXTRA);
LAYOUT_FIELDS(bitmap, QCOW2_BITMAP);
LAYOUT_FIELDS(l1, QCOW2_L1_ENTRY);
LAYOUT_FIELDS(l2, QCOW2_L2_ENTRY);
LAYOUT_FIELDS(l2_extended, QCOW2_L2_EXTENDED);
LAYOUT_FIELDS(reftable, QCOW2_REFTABLE_ENTRY);
LAYOUT_FIELDS(bitmap_table, QCOW2_BITMAP_TABLE_ENTRY);
LAYOUT_FIELDS(refcount_8, QCOW2_REFCOUNT_8);
LAYOUT_FIELDS(refcount_16, QCOW2_REFCOUNT_16);
LAYOUT_FIELDS(refcount_32, QCOW2_REFCOUNT_32);
LAYOUT_FIELDS(refcount_64, QCOW2_REFCOUNT_64);

static bool check_header(const struct place *place, const void *raw, struct error *err)
{
    if (qcow2_header_magic(raw) != QCOW2_MAGIC)
        return damaged(err, place->device, place->off, "magic is 0x%08" PRIx64 ", not 0x%08x",
                       qcow2_header_magic(raw), QCOW2_MAGIC);
    if (qcow2_header_cluster_bits(raw) < 9 || qcow2_header_cluster_bits(raw) > 21)
        return damaged(err, place->device, place->off + qcow2_header_off_cluster_bits,
                       "cluster_bits is %" PRIu64 " (9 to 21 are possible)", qcow2_header_cluster_bits(raw));
    return true;
}

/* One entry of a table as a place of its own; entries that are 0 are left out. */
static bool emit_entries(const struct place *table, const void *raw, const struct layout *entry_layout,
                         const char *title, place_fn *emit, void *arg, struct error *err)
{
    for (uint32_t off = 0; off + entry_layout->size <= table->size; off += entry_layout->size) {
        if (all_zero((const uint8_t *)raw + off, entry_layout->size))
            continue;
        struct place place = *table;
        place.layout = entry_layout;
        place.off += off;
        place.size = entry_layout->size;
        place.index = off / entry_layout->size;
        snprintf(place.title, sizeof place.title, "%s %" PRIu64, title, place.index);
        if (!emit(&place, arg, err))
            return false;
    }
    return true;
}

static bool l1_parts(const struct place *p, const void *raw, place_fn *emit, void *arg, struct error *err)
{
    return emit_entries(p, raw, &qcow2_l1_layout, "L1 entry", emit, arg, err);
}

static bool l2_parts(const struct place *p, const void *raw, place_fn *emit, void *arg, struct error *err)
{
    return emit_entries(p, raw, &qcow2_l2_layout, "L2 entry", emit, arg, err);
}

static bool l2_extended_parts(const struct place *p, const void *raw, place_fn *emit, void *arg,
                              struct error *err)
{
    return emit_entries(p, raw, &qcow2_l2_extended_layout, "L2 entry", emit, arg, err);
}

static bool reftable_parts(const struct place *p, const void *raw, place_fn *emit, void *arg,
                           struct error *err)
{
    return emit_entries(p, raw, &qcow2_reftable_layout, "refcount table entry", emit, arg, err);
}

static bool bitmap_table_parts(const struct place *p, const void *raw, place_fn *emit, void *arg,
                               struct error *err)
{
    return emit_entries(p, raw, &qcow2_bitmap_table_layout, "bitmap table entry", emit, arg, err);
}

static bool feature_parts(const struct place *p, const void *raw, place_fn *emit, void *arg,
                          struct error *err)
{
    return emit_entries(p, raw, &qcow2_feature_name_layout, "feature name", emit, arg, err);
}

#define SECTION(id, word, what, section, bytes)                                                              \
    .name = word, .title = what, .spec = section, .size = bytes, LAYOUT_TABLE(id)

const struct layout qcow2_header_layout = {
    SECTION(header, "header", "qcow2 header", "Header", HEADER_V3_SIZE), .check = check_header};
const struct layout qcow2_header_v2_layout = {
    SECTION(header_v2, "header", "qcow2 header, version 2", "Header", HEADER_V2_SIZE), .check = check_header};
const struct layout qcow2_extension_layout = {
    SECTION(extension, "extension", "header extension", "Header extensions", EXTENSION_HEAD)};
const struct layout qcow2_feature_name_layout = {
    SECTION(feature_name, "feature", "feature name", "Feature name table", FEATURE_NAME_SIZE)};
const struct layout qcow2_bitmaps_layout = {
    SECTION(bitmaps, "bitmaps", "bitmaps extension", "Bitmaps extension", BITMAPS_SIZE)};
const struct layout qcow2_crypto_layout = {SECTION(crypto, "crypto", "encryption header pointer",
                                                   "Full disk encryption header pointer", CRYPTO_SIZE)};
const struct layout qcow2_snapshot_layout = {
    SECTION(snapshot, "snapshot", "snapshot table entry", "Snapshots", SNAPSHOT_SIZE)};
const struct layout qcow2_snapshot_extra_layout = {SECTION(
    snapshot_extra, "snapshot-extra", "extra data of a snapshot", "Snapshots", SNAPSHOT_EXTRA_ICOUNT)};
const struct layout qcow2_bitmap_layout = {
    SECTION(bitmap, "bitmap", "bitmap directory entry", "Bitmap directory", BITMAP_SIZE)};
const struct layout qcow2_l1_layout = {SECTION(l1, "l1", "L1 table entry", "Cluster mapping", 8)};
const struct layout qcow2_l2_layout = {SECTION(l2, "l2", "L2 table entry", "Cluster mapping", 8)};
const struct layout qcow2_l2_extended_layout = {
    SECTION(l2_extended, "l2", "extended L2 table entry", "Extended L2 Entries", 16)};
const struct layout qcow2_reftable_layout = {
    SECTION(reftable, "reftable", "refcount table entry", "Host cluster management", 8)};
const struct layout qcow2_bitmap_table_layout = {
    SECTION(bitmap_table, "bitmap-table", "bitmap table entry", "Bitmap table", 8)};
const struct layout qcow2_refcount_layouts[4] = {
    {SECTION(refcount_8, "refcount", "refcount", "Host cluster management", 1)},
    {SECTION(refcount_16, "refcount", "refcount", "Host cluster management", 2)},
    {SECTION(refcount_32, "refcount", "refcount", "Host cluster management", 4)},
    {SECTION(refcount_64, "refcount", "refcount", "Host cluster management", 8)},
};

#define TABLE(word, what, section, list)                                                                     \
    .name = word, .title = what, .spec = section, .size = 0, .parts = list
const struct layout qcow2_l1_table_layout = {TABLE("l1", "L1 table", "Cluster mapping", l1_parts)};
const struct layout qcow2_l2_table_layout = {TABLE("l2", "L2 table", "Cluster mapping", l2_parts)};
const struct layout qcow2_l2_extended_table_layout = {
    TABLE("l2", "extended L2 table", "Extended L2 Entries", l2_extended_parts)};
const struct layout qcow2_reftable_table_layout = {
    TABLE("reftable", "refcount table", "Host cluster management", reftable_parts)};
const struct layout qcow2_bitmap_table_table_layout = {
    TABLE("bitmap-table", "bitmap table", "Bitmap table", bitmap_table_parts)};
const struct layout qcow2_features_layout = {
    TABLE("feature", "feature name table", "Feature name table", feature_parts)};

const struct layout *const qcow2_layouts[] = {
    &qcow2_header_layout,
    &qcow2_extension_layout,
    &qcow2_feature_name_layout,
    &qcow2_bitmaps_layout,
    &qcow2_crypto_layout,
    &qcow2_l1_layout,
    &qcow2_l2_layout,
    &qcow2_reftable_layout,
    &qcow2_refcount_layouts[1],
    &qcow2_snapshot_layout,
    &qcow2_snapshot_extra_layout,
    &qcow2_bitmap_layout,
    &qcow2_bitmap_table_layout,
    NULL,
};
