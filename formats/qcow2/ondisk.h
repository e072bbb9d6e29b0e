/* The structures of a qcow2 file, as QEMU's docs/interop/qcow2 names them. Everything is big endian. */
#ifndef DISH_QCOW2_ONDISK_H
#define DISH_QCOW2_ONDISK_H

#include "layout.h"

/* "Header", version 2: 72 bytes. */
#define QCOW2_HEADER_V2(F, T)                                                                                \
    F(T, 0, 4, BE, magic, kind_hex, "\"QFI\" and 0xfb")                                                      \
    F(T, 4, 4, BE, version, kind_dec, "2 or 3")                                                              \
    F(T, 8, 8, BE, backing_file_offset, kind_hex, "where the backing file's name lies; 0: there is none")    \
    F(T, 16, 4, BE, backing_file_size, kind_dec, "length of the backing file's name, at most 1023")          \
    F(T, 20, 4, BE, cluster_bits, qcow2_kind_bits, "log2 of the cluster size, 9 to 21")                      \
    F(T, 24, 8, BE, size, kind_size, "size of the virtual disk")                                             \
    F(T, 32, 4, BE, crypt_method, qcow2_kind_crypt, "how guest data is encrypted")                           \
    F(T, 36, 4, BE, l1_size, kind_dec, "entries in the active L1 table")                                     \
    F(T, 40, 8, BE, l1_table_offset, kind_hex, "where the active L1 table starts")                           \
    F(T, 48, 8, BE, refcount_table_offset, kind_hex, "where the refcount table starts")                      \
    F(T, 56, 4, BE, refcount_table_clusters, kind_dec, "clusters that the refcount table takes")             \
    F(T, 60, 4, BE, nb_snapshots, kind_dec, "internal snapshots")                                            \
    F(T, 64, 8, BE, snapshots_offset, kind_hex, "where the snapshot table starts")

/* "Header", version 3. */
#define QCOW2_HEADER(F, T)                                                                                   \
    QCOW2_HEADER_V2(F, T)                                                                                    \
    F(T, 72, 8, BE, incompatible_features, qcow2_kind_incompatible, "who does not know a bit must not open") \
    F(T, 80, 8, BE, compatible_features, qcow2_kind_compatible, "bits that may be ignored")                  \
    F(T, 88, 8, BE, autoclear_features, qcow2_kind_autoclear,                                                \
      "who does not know a bit clears it on writing")                                                        \
    F(T, 96, 4, BE, refcount_order, qcow2_kind_bits, "log2 of the width of a refcount in bits, at most 6")   \
    F(T, 100, 4, BE, header_length, kind_dec, "bytes of this header; extensions follow")                     \
    F(T, 104, 1, BE, compression_type, qcow2_kind_compression, "how compressed clusters are compressed")     \
    F(T, 105, 7, RAW, padding, kind_reserved, "zeros")

/* "Header extensions": the head of each. */
#define QCOW2_EXTENSION(F, T)                                                                                \
    F(T, 0, 4, BE, type, qcow2_kind_extension, "what the data are")                                          \
    F(T, 4, 4, BE, length, kind_dec, "bytes of data; padded to a multiple of 8")

/* "Feature name table": one entry. */
#define QCOW2_FEATURE_NAME(F, T)                                                                             \
    F(T, 0, 1, BE, type, qcow2_kind_feature_type, "which feature field")                                     \
    F(T, 1, 1, BE, bit, kind_dec, "bit in that field")                                                       \
    F(T, 2, 46, RAW, name, kind_text, "name of the feature")

/* "Bitmaps extension": its data. */
#define QCOW2_BITMAPS(F, T)                                                                                  \
    F(T, 0, 4, BE, nb_bitmaps, kind_dec, "bitmaps in the image")                                             \
    F(T, 4, 4, BE, reserved, kind_reserved, "zero")                                                          \
    F(T, 8, 8, BE, bitmap_directory_size, kind_dec, "bytes of the bitmap directory")                         \
    F(T, 16, 8, BE, bitmap_directory_offset, kind_hex, "where the bitmap directory starts")

/* "Full disk encryption header pointer": its data. */
#define QCOW2_CRYPTO(F, T)                                                                                   \
    F(T, 0, 8, BE, offset, kind_hex, "where the LUKS header starts")                                         \
    F(T, 8, 8, BE, length, kind_dec, "bytes of the LUKS header")

/* "Snapshots": the fixed part of a table entry. */
#define QCOW2_SNAPSHOT(F, T)                                                                                 \
    F(T, 0, 8, BE, l1_table_offset, kind_hex, "where the snapshot's L1 table starts")                        \
    F(T, 8, 4, BE, l1_size, kind_dec, "entries in that L1 table")                                            \
    F(T, 12, 2, BE, id_str_size, kind_dec, "length of the ID")                                               \
    F(T, 14, 2, BE, name_size, kind_dec, "length of the name")                                               \
    F(T, 16, 4, BE, date_sec, kind_time, "when it was taken")                                                \
    F(T, 20, 4, BE, date_nsec, kind_dec, "nanoseconds of that")                                              \
    F(T, 24, 8, BE, vm_clock_nsec, kind_dec, "how long the guest had run, in nanoseconds")                   \
    F(T, 32, 4, BE, vm_state_size, kind_dec, "bytes of VM state (when extra data does not say)")             \
    F(T, 36, 4, BE, extra_data_size, kind_dec, "bytes of extra data that follow")

/* Its extra data as far as they are defined. */
#define QCOW2_SNAPSHOT_EXTRA(F, T)                                                                           \
    F(T, 0, 8, BE, vm_state_size_large, kind_size, "bytes of VM state")                                      \
    F(T, 8, 8, BE, disk_size, kind_size, "size of the virtual disk at that time")                            \
    F(T, 16, 8, BE, icount, kind_dec, "instructions executed by then; all ones: not known")

/* "Bitmap directory": the fixed part of an entry. */
#define QCOW2_BITMAP(F, T)                                                                                   \
    F(T, 0, 8, BE, bitmap_table_offset, kind_hex, "where the bitmap table starts")                           \
    F(T, 8, 4, BE, bitmap_table_size, kind_dec, "entries in the bitmap table")                               \
    F(T, 12, 4, BE, flags, qcow2_kind_bitmap_flags, "state of the bitmap")                                   \
    F(T, 16, 1, BE, type, qcow2_kind_bitmap_type, "sort of bitmap")                                          \
    F(T, 17, 1, BE, granularity_bits, qcow2_kind_bits, "log2 of the bytes that one bit stands for")          \
    F(T, 18, 2, BE, name_size, kind_dec, "length of the name")                                               \
    F(T, 20, 4, BE, extra_data_size, kind_dec, "bytes of extra data that follow")

#define QCOW2_L1_ENTRY(F, T) F(T, 0, 8, BE, entry, qcow2_kind_l1, "the L2 table")
#define QCOW2_L2_ENTRY(F, T) F(T, 0, 8, BE, entry, qcow2_kind_l2, "the guest cluster")
#define QCOW2_L2_EXTENDED(F, T)                                                                              \
    QCOW2_L2_ENTRY(F, T) F(T, 8, 8, BE, bitmap, qcow2_kind_subclusters, "state of the 32 subclusters")
#define QCOW2_REFTABLE_ENTRY(F, T) F(T, 0, 8, BE, entry, kind_hex, "the refcount block")
#define QCOW2_BITMAP_TABLE_ENTRY(F, T) F(T, 0, 8, BE, entry, kind_hex, "the cluster of bitmap data")

LAYOUT_ACCESSORS(qcow2_header, QCOW2_HEADER)
LAYOUT_ACCESSORS(qcow2_extension, QCOW2_EXTENSION)
LAYOUT_ACCESSORS(qcow2_feature_name, QCOW2_FEATURE_NAME)
LAYOUT_ACCESSORS(qcow2_bitmaps, QCOW2_BITMAPS)
LAYOUT_ACCESSORS(qcow2_crypto, QCOW2_CRYPTO)
LAYOUT_ACCESSORS(qcow2_snapshot, QCOW2_SNAPSHOT)
LAYOUT_ACCESSORS(qcow2_snapshot_extra, QCOW2_SNAPSHOT_EXTRA)
LAYOUT_ACCESSORS(qcow2_bitmap, QCOW2_BITMAP)

enum {
    QCOW2_MAGIC = 0x514649fb,
    HEADER_V2_SIZE = 72,
    HEADER_V3_MIN = 104, /* without compression_type and its padding */
    HEADER_V3_SIZE = 112,
    EXTENSION_HEAD = 8,
    FEATURE_NAME_SIZE = 48,
    BITMAPS_SIZE = 24,
    CRYPTO_SIZE = 16,
    SNAPSHOT_SIZE = 40,
    SNAPSHOT_EXTRA_V3 = 16, /* what version 3 demands */
    SNAPSHOT_EXTRA_ICOUNT = 24,
    BITMAP_SIZE = 24,
};

/* Types of header extensions. */
#define EXT_END 0x00000000u
#define EXT_BACKING_FORMAT 0xe2792acau
#define EXT_FEATURE_NAMES 0x6803f857u
#define EXT_BITMAPS 0x23852875u
#define EXT_CRYPTO 0x0537be77u
#define EXT_DATA_FILE 0x44415441u

#define INCOMPAT_DIRTY (UINT64_C(1) << 0)
#define INCOMPAT_CORRUPT (UINT64_C(1) << 1)
#define INCOMPAT_DATA_FILE (UINT64_C(1) << 2)
#define INCOMPAT_COMPRESSION (UINT64_C(1) << 3)
#define INCOMPAT_EXTENDED_L2 (UINT64_C(1) << 4)
#define INCOMPAT_KNOWN UINT64_C(0x1f)
#define COMPAT_LAZY_REFCOUNTS (UINT64_C(1) << 0)
#define AUTOCLEAR_BITMAPS (UINT64_C(1) << 0)
#define AUTOCLEAR_DATA_FILE_RAW (UINT64_C(1) << 1)
#define AUTOCLEAR_KNOWN UINT64_C(3)

/* Bits of L1 and L2 entries ("Cluster mapping"). */
#define ENTRY_COPIED (UINT64_C(1) << 63)
#define ENTRY_COMPRESSED (UINT64_C(1) << 62)
#define ENTRY_ZERO (UINT64_C(1) << 0)
#define ENTRY_OFFSET UINT64_C(0x00fffffffffffe00)
#define L1_RESERVED UINT64_C(0x7f000000000001ff)
#define L2_RESERVED UINT64_C(0x3f000000000001fe)
#define REFTABLE_RESERVED UINT64_C(0x1ff)

#define BITMAP_IN_USE 1u
#define BITMAP_AUTO 2u
#define BITMAP_EXTRA_COMPATIBLE 4u
#define BITMAP_FLAGS_KNOWN 7u

/* Limits that QEMU sets, too; an image beyond them is refused before anything is allocated for it. */
#define MAX_REFTABLE_BYTES (8 * MiB)
#define MAX_L1_BYTES (32 * MiB)
#define MAX_SNAPSHOTS 65536u
#define MAX_SNAPSHOT_TABLE (64 * MiB)
#define MAX_SNAPSHOT_EXTRA 1024u
#define MAX_BITMAPS 65535u
#define MAX_BITMAP_DIRECTORY (65535 * KiB)
#define MAX_CRYPTO_HEADER (64 * MiB)
#define MAX_BITMAP_TABLE 0x8000000u
#define MAX_BITMAP_BYTES (512 * MiB)
#define MAX_HOST_OFFSET (UINT64_C(1) << 56)
#define MAX_NAME 1023u

extern const struct layout *const qcow2_layouts[];
extern const struct layout qcow2_header_layout, qcow2_header_v2_layout, qcow2_extension_layout,
    qcow2_feature_name_layout, qcow2_bitmaps_layout, qcow2_crypto_layout, qcow2_snapshot_layout,
    qcow2_snapshot_extra_layout, qcow2_bitmap_layout, qcow2_l1_layout, qcow2_l2_layout,
    qcow2_l2_extended_layout, qcow2_reftable_layout, qcow2_bitmap_table_layout;
extern const struct layout qcow2_refcount_layouts[4]; /* 8 bits and less, 16, 32, 64 */
/* Whole tables: no fields of their own, the entries are their parts. */
extern const struct layout qcow2_l1_table_layout, qcow2_l2_table_layout, qcow2_l2_extended_table_layout,
    qcow2_reftable_table_layout, qcow2_bitmap_table_table_layout, qcow2_features_layout;

#endif
