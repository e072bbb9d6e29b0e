/*
 * exFAT.
 *
 *   sector 0  1            9       10   11         12               FatOffset  ClusterHeapOffset
 *  +--------+------------+-------+----+----------+----------------+----------+-------------------+
 *  | boot   | 8 extended | OEM   |    | checksum | the same again | FAT      | clusters 2, 3 ... |
 *  | sector | boot       | data  |    | of 0-10  | (backup)       |          |                   |
 *  +--------+------------+-------+----+----------+----------------+----------+-------------------+
 *
 * The root directory holds entries for the allocation bitmap (which clusters are in use), the up-case table
 * and the label. A file is a set of 32-byte entries: one of type 0x85, a stream extension 0xC0 with its place
 * and size, and one 0xC1 for each 15 units of its name; a checksum covers the set. A file's clusters are
 * either one run (NoFatChain) or linked by the FAT; only in the latter case the FAT is valid for them.
 *
 * Specification: Microsoft exFAT file system specification (cited by its section numbers).
 *
 * In memory (struct exfat): the FAT's blocks and sectors of bitmap, directories and boot region (cache.h),
 * the map of free clusters (space.h), chains (chain.h), the up-case table, and for each directory seen where
 * it lies; for those in use also an index from names to slots (slots.h).
 */
#ifndef DISH_EXFAT_H
#define DISH_EXFAT_H

#include "alloc.h"
#include "bytes.h"
#include "cache.h"
#include "chain.h"
#include "dosname.h"
#include "driver.h"
#include "slots.h"
#include "space.h"

#include <stdlib.h>

/* ---- structures on disk -------------------------------------------------------------------------------- */

#define EXFAT_BOOT(F, T)                                                                                     \
    F(T, 0, 3, RAW, JumpBoot, kind_bytes, "jump to the boot code: eb 76 90")                                 \
    F(T, 3, 8, RAW, FileSystemName, kind_text, "\"EXFAT   \"")                                               \
    F(T, 11, 53, RAW, MustBeZero, kind_reserved, "zeros, where FAT has its parameters")                      \
    F(T, 64, 8, LE, PartitionOffset, kind_dec, "sectors on the disk before the volume; 0: not said")         \
    F(T, 72, 8, LE, VolumeLength, kind_dec, "sectors of the volume")                                         \
    F(T, 80, 4, LE, FatOffset, kind_dec, "first sector of the FAT")                                          \
    F(T, 84, 4, LE, FatLength, kind_dec, "sectors of the FAT")                                               \
    F(T, 88, 4, LE, ClusterHeapOffset, kind_dec, "sector of cluster 2")                                      \
    F(T, 92, 4, LE, ClusterCount, kind_dec, "clusters")                                                      \
    F(T, 96, 4, LE, FirstClusterOfRootDirectory, kind_dec, "first cluster of the root directory")            \
    F(T, 100, 4, LE, VolumeSerialNumber, kind_hex, "volume serial number")                                   \
    F(T, 104, 2, LE, FileSystemRevision, kind_hex, "0x0100: version 1.00")                                   \
    F(T, 106, 2, LE, VolumeFlags, exfat_kind_flags, "state of the volume")                                   \
    F(T, 108, 1, LE, BytesPerSectorShift, kind_dec, "log2 of the bytes in a sector: 9 to 12")                \
    F(T, 109, 1, LE, SectorsPerClusterShift, kind_dec, "log2 of the sectors in a cluster")                   \
    F(T, 110, 1, LE, NumberOfFats, kind_dec, "1; 2 for TexFAT")                                              \
    F(T, 111, 1, LE, DriveSelect, kind_hex, "BIOS drive number")                                             \
    F(T, 112, 1, LE, PercentInUse, kind_dec, "percentage of clusters in use; 255: unknown")                  \
    F(T, 113, 7, RAW, Reserved, kind_reserved, "zeros")                                                      \
    F(T, 120, 390, RAW, BootCode, kind_bytes, "boot code")                                                   \
    F(T, 510, 2, LE, BootSignature, kind_hex, "0xaa55")

#define EXFAT_FILE(F, T)                                                                                     \
    F(T, 0, 1, LE, EntryType, exfat_kind_type, "0x85: file or directory")                                    \
    F(T, 1, 1, LE, SecondaryCount, kind_dec, "entries that follow and belong to it")                         \
    F(T, 2, 2, LE, SetChecksum, kind_checksum, "checksum of the whole set")                                  \
    F(T, 4, 2, LE, FileAttributes, exfat_kind_attr, "attributes")                                            \
    F(T, 6, 2, RAW, Reserved1, kind_reserved, "zeros")                                                       \
    F(T, 8, 4, LE, CreateTimestamp, exfat_kind_time, "time of creation")                                     \
    F(T, 12, 4, LE, LastModifiedTimestamp, exfat_kind_time, "time of the last change")                       \
    F(T, 16, 4, LE, LastAccessedTimestamp, exfat_kind_time, "time of the last access")                       \
    F(T, 20, 1, LE, Create10msIncrement, kind_dec, "hundredths of a second to add")                          \
    F(T, 21, 1, LE, LastModified10msIncrement, kind_dec, "hundredths of a second to add")                    \
    F(T, 22, 1, LE, CreateUtcOffset, exfat_kind_offset, "zone of the time of creation")                      \
    F(T, 23, 1, LE, LastModifiedUtcOffset, exfat_kind_offset, "zone of the time of the last change")         \
    F(T, 24, 1, LE, LastAccessedUtcOffset, exfat_kind_offset, "zone of the time of the last access")         \
    F(T, 25, 7, RAW, Reserved2, kind_reserved, "zeros")

#define EXFAT_STREAM(F, T)                                                                                   \
    F(T, 0, 1, LE, EntryType, exfat_kind_type, "0xc0: stream extension")                                     \
    F(T, 1, 1, LE, GeneralSecondaryFlags, exfat_kind_secondary, "how the clusters are found")                \
    F(T, 2, 1, RAW, Reserved1, kind_reserved, "zero")                                                        \
    F(T, 3, 1, LE, NameLength, kind_dec, "units of the name")                                                \
    F(T, 4, 2, LE, NameHash, kind_hex, "hash of the name in upper case")                                     \
    F(T, 6, 2, RAW, Reserved2, kind_reserved, "zeros")                                                       \
    F(T, 8, 8, LE, ValidDataLength, kind_dec, "bytes written; those after them read as zeros")               \
    F(T, 16, 4, RAW, Reserved3, kind_reserved, "zeros")                                                      \
    F(T, 20, 4, LE, FirstCluster, kind_dec, "first cluster; 0: none")                                        \
    F(T, 24, 8, LE, DataLength, kind_dec, "size in bytes")

#define EXFAT_NAME(F, T)                                                                                     \
    F(T, 0, 1, LE, EntryType, exfat_kind_type, "0xc1: file name")                                            \
    F(T, 1, 1, LE, GeneralSecondaryFlags, exfat_kind_secondary, "0")                                         \
    F(T, 2, 30, RAW, FileName, kind_utf16le, "15 units of the name")

#define EXFAT_BITMAP(F, T)                                                                                   \
    F(T, 0, 1, LE, EntryType, exfat_kind_type, "0x81: allocation bitmap")                                    \
    F(T, 1, 1, LE, BitmapFlags, kind_hex, "bit 0: the second bitmap (TexFAT)")                               \
    F(T, 2, 18, RAW, Reserved, kind_reserved, "zeros")                                                       \
    F(T, 20, 4, LE, FirstCluster, kind_dec, "first cluster")                                                 \
    F(T, 24, 8, LE, DataLength, kind_dec, "bytes")

#define EXFAT_UPCASE(F, T)                                                                                   \
    F(T, 0, 1, LE, EntryType, exfat_kind_type, "0x82: up-case table")                                        \
    F(T, 1, 3, RAW, Reserved1, kind_reserved, "zeros")                                                       \
    F(T, 4, 4, LE, TableChecksum, kind_hex, "checksum of the table")                                         \
    F(T, 8, 12, RAW, Reserved2, kind_reserved, "zeros")                                                      \
    F(T, 20, 4, LE, FirstCluster, kind_dec, "first cluster")                                                 \
    F(T, 24, 8, LE, DataLength, kind_dec, "bytes")

#define EXFAT_LABEL(F, T)                                                                                    \
    F(T, 0, 1, LE, EntryType, exfat_kind_type, "0x83: volume label")                                         \
    F(T, 1, 1, LE, CharacterCount, kind_dec, "units of the label")                                           \
    F(T, 2, 22, RAW, VolumeLabel, kind_utf16le, "label")                                                     \
    F(T, 24, 8, RAW, Reserved, kind_reserved, "zeros")

#define EXFAT_GUID(F, T)                                                                                     \
    F(T, 0, 1, LE, EntryType, exfat_kind_type, "0xa0: volume GUID")                                          \
    F(T, 1, 1, LE, SecondaryCount, kind_dec, "0")                                                            \
    F(T, 2, 2, LE, SetChecksum, kind_checksum, "checksum of the entry")                                      \
    F(T, 4, 2, LE, GeneralPrimaryFlags, kind_hex, "0")                                                       \
    F(T, 6, 16, RAW, VolumeGuid, kind_guid, "GUID")                                                          \
    F(T, 22, 10, RAW, Reserved, kind_reserved, "zeros")

LAYOUT_ACCESSORS(exfat_boot, EXFAT_BOOT)
LAYOUT_ACCESSORS(exfat_file, EXFAT_FILE)
LAYOUT_ACCESSORS(exfat_stream, EXFAT_STREAM)
LAYOUT_ACCESSORS(exfat_name, EXFAT_NAME)
LAYOUT_ACCESSORS(exfat_bitmap, EXFAT_BITMAP)
LAYOUT_ACCESSORS(exfat_upcase, EXFAT_UPCASE)
LAYOUT_ACCESSORS(exfat_label, EXFAT_LABEL)
LAYOUT_ACCESSORS(exfat_guid, EXFAT_GUID)

enum {
    ENTRY_SIZE = 32,
    NAME_UNITS = 15, /* units in one name entry */
    MAX_NAME = DOSNAME_MAX,
    MAX_LABEL = 11,
    MAX_SET = 256, /* entries of a set: a primary and at most 255 secondary ones */
    BOOT_SECTORS = 12,
    MAX_DIR_BYTES = 256 * 1024 * 1024, /* section 7.4 */
    ROOT_ID = 1,
};

/* Entry types (section 6.2.1); bit 7: in use. */
enum {
    TYPE_END = 0x00,
    TYPE_BITMAP = 0x81,
    TYPE_UPCASE = 0x82,
    TYPE_LABEL = 0x83,
    TYPE_FILE = 0x85,
    TYPE_GUID = 0xA0,
    TYPE_TEXFAT = 0xA1,
    TYPE_STREAM = 0xC0,
    TYPE_NAME = 0xC1,
    TYPE_IN_USE = 0x80,
    TYPE_SECONDARY = 0x40,
    TYPE_BENIGN = 0x20,
};

enum { FLAG_ALLOCATION = 1, FLAG_NO_FAT_CHAIN = 2 };                        /* GeneralSecondaryFlags */
enum { VOLUME_ACTIVE_FAT = 1, VOLUME_DIRTY = 2, VOLUME_MEDIA_FAILURE = 4 }; /* VolumeFlags */
enum {
    EXFAT_READ_ONLY = 0x01,
    EXFAT_HIDDEN = 0x02,
    EXFAT_SYSTEM = 0x04,
    EXFAT_DIRECTORY = 0x10,
    EXFAT_ARCHIVE = 0x20,
};

#define CLUSTER_BAD 0xFFFFFFF7u
#define CLUSTER_END 0xFFFFFFFFu
#define MAX_CLUSTERS 0xFFFFFFF5u /* section 3.1.9 */

/* ---- an open volume ------------------------------------------------------------------------------------ */

struct exfat_geometry {
    uint32_t sector_size, cluster_size;
    unsigned cluster_shift;
    uint64_t sectors;                    /* of the volume */
    uint64_t fat_off, fat_len, heap_off; /* bytes */
    uint32_t clusters;                   /* numbered from 2 */
    uint32_t root;                       /* first cluster */
    uint32_t serial;
    unsigned flags; /* VolumeFlags */
};

/* Where the bytes of a file, a directory or a table lie. */
struct exfat_stream {
    uint32_t first; /* cluster; 0: none */
    bool contiguous;
    uint64_t size, valid; /* DataLength, ValidDataLength */
};

static inline bool exfat_stream_equal(const struct exfat_stream *a, const struct exfat_stream *b)
{
    return a->first == b->first && a->contiguous == b->contiguous && a->size == b->size &&
           a->valid == b->valid;
}

/* A directory that was seen. Those in use are kept; the others may be forgotten when too many are known. */
struct exfat_dir {
    struct exfat_stream stream;
    fs_id id, parent;
    uint32_t slots;
    uint32_t end;    /* slots from here on were never used */
    uint32_t search; /* the search that looked into it last */
    unsigned scans;  /* that are going on */
    bool indexed;
    struct slots index;
    struct exfat_dir *next;          /* in its bucket */
    struct exfat_dir *newer, *older; /* among those that are indexed */
};

enum { DIR_BUCKETS = 4096 };

struct exfat {
    struct fs fs;
    struct fs_limits limits;
    struct exfat_geometry g;
    bool read_only;
    uint64_t boot_off;           /* of the boot region: 0, or the backup's when the main one is damaged */
    bool boot_sealed;            /* the checksum of that region is right */
    struct device *table_device; /* the FAT */
    uint32_t table_block;        /* bytes of its cached blocks */
    struct cache *table, *meta;
    struct cache_block *window; /* the block of the FAT looked at last; pinned */
    struct space space;
    struct chains *chains;
    struct exfat_stream bitmap, upcase_place;
    uint8_t unknown_entry;  /* type of a critical entry of the root directory that is not known; 0: none */
    uint16_t *upcase;       /* 65536 units */
    char upcase_fault[100]; /* why that is the recommended table, not the volume's; empty: it is the volume's
                             */
    struct exfat_dir *dirs[DIR_BUCKETS], *newest_dir, *oldest_dir;
    size_t dir_count, indexed_count;
    uint32_t searches;
    bool searching;
    fs_id hint_id; /* the file created last, and the clusters it is expected to get */
    uint32_t hint_clusters;
};

static inline struct exfat *exfat_of(struct fs *fs)
{
    return (struct exfat *)fs;
}

static inline bool exfat_valid_cluster(const struct exfat *exfat, uint32_t cluster)
{
    return cluster >= 2 && cluster - 2 < exfat->g.clusters;
}

static inline uint64_t exfat_cluster_off(const struct exfat *exfat, uint32_t cluster)
{
    return exfat->g.heap_off + ((uint64_t)(cluster - 2) << exfat->g.cluster_shift);
}

/* Clusters that hold `bytes`; the caller knows that they are not more than the volume has. */
static inline uint32_t exfat_clusters_for(const struct exfat *exfat, uint64_t bytes)
{
    return (uint32_t)((bytes >> exfat->g.cluster_shift) + ((bytes & (exfat->g.cluster_size - 1)) != 0));
}

/* ---- boot.c -------------------------------------------------------------------------------------------- */

extern const struct kind exfat_kind_flags, exfat_kind_type, exfat_kind_attr, exfat_kind_time,
    exfat_kind_offset, exfat_kind_secondary;
extern const struct layout exfat_boot_layout;

bool exfat_parse_boot(struct device *, const uint8_t *boot, struct exfat_geometry *,
                      struct error *) DISH_CHECKED;
/*
 * The main boot region, or the backup when that or its checksum is damaged; *sealed: the checksum of the
 * region taken is right. Fails with what is wrong with the main one.
 */
bool exfat_find_boot(struct device *, struct exfat_geometry *, uint64_t *off, bool *sealed,
                     struct error *) DISH_CHECKED;
/* Checksum of the first 11 sectors of a boot region (section 3.4). */
uint32_t exfat_boot_checksum(const uint8_t *region, uint32_t sector_size);
/* Whether the 12 sectors hold that checksum, as often as it fits into the last one. */
bool exfat_boot_sealed(const uint8_t *region, uint32_t sector_size);
/* Change bytes of the boot sector and of its backup, checksums included. */
bool exfat_boot_patch(struct exfat *, uint32_t off, const void *bytes, uint32_t n,
                      struct error *) DISH_CHECKED;
bool exfat_moved(struct fs *, uint64_t from, uint64_t to, struct error *);
/* PercentInUse; it is not part of the checksum. */
bool exfat_percent_store(struct exfat *, struct error *) DISH_CHECKED;

/* ---- space.c: FAT, bitmap, chains ---------------------------------------------------------------------- */

bool exfat_table_open(struct exfat *, struct error *) DISH_CHECKED;
void exfat_table_close(struct exfat *);
void exfat_table_unpin(struct exfat *);
bool exfat_fat_get(struct exfat *, uint32_t n, uint32_t *value, struct error *) DISH_CHECKED;
bool exfat_fat_set(struct exfat *, uint32_t n, uint32_t value, struct error *) DISH_CHECKED;
bool exfat_chain_step(void *exfat, uint32_t cluster, uint32_t *next, struct error *); /* a chain_next_fn */
bool exfat_space_load(struct exfat *, struct error *) DISH_CHECKED;
/*
 * Where bitmap or up-case table lie: on their chain, or where that is damaged in one row, as everybody makes
 * them. False: there is no room for them.
 */
bool exfat_table_stream(struct exfat *, uint32_t first, uint64_t size, struct exfat_stream *);
/* Bytes that the bitmap needs, and the same for it: a larger size counts only when its chain bears it out. */
uint64_t exfat_bitmap_size(const struct exfat *);
bool exfat_bitmap_stream(struct exfat *, uint32_t first, uint64_t size, struct exfat_stream *);
/* Set or clear bits of the allocation bitmap on disk. */
bool exfat_bitmap_mark(struct exfat *, uint32_t start, uint32_t len, bool used, struct error *) DISH_CHECKED;
/* Read the bitmap piece by piece: the bits of buf are `count` clusters from `first` on. */
typedef bool exfat_bits_fn(struct exfat *, const uint8_t *buf, uint32_t first, uint32_t count, void *arg,
                           struct error *);
bool exfat_bitmap_each(struct exfat *, exfat_bits_fn *, void *arg, struct error *) DISH_CHECKED;
/* Where the bit of a cluster lies. */
bool exfat_bitmap_off(struct exfat *, uint32_t cluster, uint64_t *off, struct error *) DISH_CHECKED;

/* ---- stream.c: clusters of a file ---------------------------------------------------------------------- */

/* The run that starts at cluster `index`: *len is 0 past the end. */
bool exfat_stream_map(struct exfat *, const struct exfat_stream *, uint32_t index, uint32_t *cluster,
                      uint32_t *len, struct error *) DISH_CHECKED;
/* Before a stream grows to `total` clusters: how many it has. E_NOSPACE before anything is taken. */
bool exfat_stream_to_grow(struct exfat *, const struct exfat_stream *, uint32_t total, uint32_t *have,
                          struct error *) DISH_CHECKED;
/*
 * Lengthen a stream of `have` clusters by one run of at most `want`; the first begins where there is room for
 * all `likely` ones, if there is such a place.
 */
bool exfat_stream_add(struct exfat *, struct exfat_stream *, uint32_t have, uint32_t want, uint32_t likely,
                      uint32_t *start, uint32_t *len, struct error *) DISH_CHECKED;
/* Give it `total` clusters in all; `likely`: how many it will have later.
 * E_NOSPACE before anything is taken. */
bool exfat_stream_grow(struct exfat *, struct exfat_stream *, uint32_t total, uint32_t likely,
                       struct error *) DISH_CHECKED;
bool exfat_stream_cut(struct exfat *, struct exfat_stream *, uint32_t total, struct error *) DISH_CHECKED;
/* Number of clusters that it has. */
bool exfat_stream_clusters(struct exfat *, const struct exfat_stream *, uint32_t *clusters,
                           struct error *) DISH_CHECKED;

/* ---- name.c -------------------------------------------------------------------------------------------- */

uint16_t exfat_name_hash(const struct exfat *, const struct dosname *);
bool exfat_name_equal(const struct exfat *, const struct dosname *, const struct dosname *);

/* ---- upcase.c ------------------------------------------------------------------------------------------ */

/* All bytes of bitmap or up-case table. */
bool exfat_table_read(struct exfat *, const struct exfat_stream *, uint8_t *bytes,
                      struct error *) DISH_CHECKED;
uint32_t exfat_table_checksum(uint32_t sum, const uint8_t *bytes, size_t n);
/* Read the table that an entry of the root directory describes (NULL: there is none), or the recommended one
 * where that cannot be used. */
bool exfat_upcase_load(struct exfat *, const uint8_t *entry, struct error *) DISH_CHECKED;
/*
 * Write the recommended table into the clusters of `old` if they are enough in one row, else into others, and
 * its entry. E_NOSPACE before anything is changed.
 */
bool exfat_upcase_restore(struct exfat *, struct exfat_stream *old, struct error *) DISH_CHECKED;
/* The recommended table in its packed form; *bytes is malloc'd. */
bool exfat_upcase_pack(uint8_t **bytes, size_t *size, struct error *) DISH_CHECKED;

/* ---- set.c: entry sets --------------------------------------------------------------------------------- */

struct exfat_set {
    struct exfat_dir *dir;
    uint32_t slot, count;
    uint8_t raw[MAX_SET * ENTRY_SIZE];
};

uint16_t exfat_set_checksum(const uint8_t *raw, uint32_t count);
/* Why a set is not sound; NULL when it is. */
const char *exfat_set_fault(const struct exfat *, const uint8_t *raw, uint32_t count);
void exfat_set_name(const uint8_t *raw, uint32_t count, struct dosname *);
void exfat_set_stream(const uint8_t *raw, struct exfat_stream *);
/* What a set says of its file's times. */
void exfat_set_read_times(const uint8_t *raw, struct fs_attr *);
void exfat_set_put_stream(uint8_t *raw, const struct exfat_stream *);
/* Read a file's set. E_NOENT when there is none, E_DAMAGED. Not for the root. */
bool exfat_set_load(struct exfat *, fs_id, struct exfat_set *, struct error *) DISH_CHECKED;
/* Write it back, its checksum set. */
bool exfat_set_store(struct exfat *, struct exfat_set *, struct error *) DISH_CHECKED;
/* Fill a new set for a name: type, counts, hash, name entries. Returns the number of entries. */
uint32_t exfat_set_make(const struct exfat *, const struct dosname *, uint8_t *raw);
void exfat_set_times(uint8_t *raw, const struct fs_attr *, unsigned mask);
struct fs_time exfat_time_decode(uint32_t stamp, uint8_t tenth, uint8_t offset);
bool exfat_getattr(struct fs *, fs_id, struct fs_attr *, struct error *);
bool exfat_setattr(struct fs *, fs_id, const struct fs_attr *, unsigned mask, struct error *);

/* ---- dir.c --------------------------------------------------------------------------------------------- */

enum exfat_item_kind {
    ITEM_FILE,    /* sound or not */
    ITEM_DELETED, /* a set that is no longer in use, as far as it is whole */
    ITEM_OTHER,   /* any other primary entry: bitmap, up-case table, label, GUID, unknown ones */
    ITEM_ORPHAN,  /* a secondary entry without a primary one */
};

struct exfat_item {
    enum exfat_item_kind kind;
    uint32_t slot, count;
    fs_id id;
    uint64_t off; /* bytes in the volume of the first entry */
    const uint8_t *raw;
    struct dosname name;
    const char *fault;
};

typedef bool exfat_item_fn(struct exfat *, struct exfat_dir *, const struct exfat_item *, void *arg,
                           struct error *);

static inline fs_id exfat_id(uint32_t dir_first, uint32_t slot)
{
    return (uint64_t)dir_first << 24 | slot;
}

/* The directory with this id; known ones are found without reading. */
bool exfat_dir_open(struct exfat *, fs_id, struct exfat_dir **, struct error *) DISH_CHECKED;
/* The same when it is known where it lies. */
bool exfat_dir_at(struct exfat *, const struct exfat_stream *, fs_id, fs_id parent, struct exfat_dir **,
                  struct error *) DISH_CHECKED;
bool exfat_dir_index(struct exfat *, fs_id, struct exfat_dir **, struct error *) DISH_CHECKED;
/* A directory just made, of which it is known that it is empty. */
bool exfat_dir_new(struct exfat *, const struct exfat_stream *, fs_id, fs_id parent,
                   struct error *) DISH_CHECKED;
/* The directory whose first cluster this is, searched for when it was not seen yet. */
bool exfat_dir_of_cluster(struct exfat *, uint32_t first, struct exfat_dir **, struct error *) DISH_CHECKED;
void exfat_dir_forget(struct exfat *, uint32_t first);
/* The directory's own entry is somewhere else now. */
void exfat_dir_moved(struct exfat *, uint32_t first, fs_id, fs_id parent);
void exfat_dirs_drop(struct exfat *);
/* Emit every item by rising slot; the callback returns false to stop, with err->kind set when it failed. */
bool exfat_dir_scan(struct exfat *, struct exfat_dir *, exfat_item_fn *, void *arg,
                    struct error *) DISH_CHECKED;
bool exfat_slot_off(struct exfat *, struct exfat_dir *, uint32_t slot, uint64_t *off,
                    struct error *) DISH_CHECKED;
bool exfat_slots_read(struct exfat *, struct exfat_dir *, uint32_t slot, uint32_t count, uint8_t *raw,
                      struct error *) DISH_CHECKED;
bool exfat_slots_write(struct exfat *, struct exfat_dir *, uint32_t slot, uint32_t count, const uint8_t *raw,
                       struct error *) DISH_CHECKED;
bool exfat_dir_find(struct exfat *, struct exfat_dir *, const struct dosname *, struct exfat_set *,
                    struct error *) DISH_CHECKED;
bool exfat_lookup(struct fs *, fs_id dir, const char *name, fs_id *out, struct error *);
bool exfat_readdir(struct fs *, fs_id dir, fs_entry_fn *, void *arg, struct error *);
bool exfat_parent(struct fs *, fs_id dir, fs_id *out, struct error *);
bool exfat_deleted(struct fs *, fs_id dir, fs_entry_fn *, void *arg, struct error *);

/* ---- dirop.c ------------------------------------------------------------------------------------------- */

/* Give a directory another cluster. */
bool exfat_dir_grow(struct exfat *, struct exfat_dir *, struct error *) DISH_CHECKED;
bool exfat_dir_add(struct exfat *, struct exfat_dir *, const uint8_t *raw, uint32_t count, fs_id *out,
                   struct error *) DISH_CHECKED;
bool exfat_create(struct fs *, fs_id dir, const char *name, const struct fs_attr *, const char *target,
                  fs_id *out, struct error *);
bool exfat_remove(struct fs *, fs_id dir, const char *name, struct error *);
bool exfat_rename(struct fs *, fs_id from, const char *name, fs_id to, const char *new_name, fs_id *out,
                  struct error *);
bool exfat_undelete(struct fs *, fs_id, fs_id dir, const char *name, struct error *);

/* ---- label.c ------------------------------------------------------------------------------------------- */

/* Put a primary entry of one kind into the root directory: over the one there is, or into a free slot. */
bool exfat_root_store(struct exfat *, const uint8_t entry[ENTRY_SIZE], struct error *) DISH_CHECKED;
bool exfat_label_encode(const char *text, uint8_t entry[ENTRY_SIZE], struct error *) DISH_CHECKED;
bool exfat_set_label(struct fs *, const char *label, struct error *);
bool exfat_set_uuid(struct fs *, const char *uuid, struct error *);
extern const struct option exfat_tune_options[];
bool exfat_tune(struct fs *, const struct options *, struct error *);

/* ---- file.c -------------------------------------------------------------------------------------------- */

bool exfat_map(struct fs *, fs_id, uint64_t off, struct extent *, struct error *);
bool exfat_read(struct fs *, fs_id, uint64_t off, void *buf, size_t n, struct error *);
bool exfat_write(struct fs *, fs_id, uint64_t off, const void *buf, size_t n, struct error *);
bool exfat_extend(struct fs *, fs_id, uint64_t off, uint64_t n, struct extent *, enum write_class *,
                  struct error *);
bool exfat_truncate(struct fs *, fs_id, uint64_t size, struct error *);
bool exfat_allocate(struct fs *, fs_id, uint64_t off, uint64_t len, unsigned mode, struct error *);

/* ---- exfat.c ------------------------------------------------------------------------------------------- */

/* What may be changed: nothing on a volume that reaches past the device or whose boot region is damaged. */
void exfat_set_change(struct exfat *);

/* ---- resize.c ------------------------------------------------------------------------------------------ */

bool exfat_resize(struct fs *, uint64_t size, struct error *);
bool exfat_min_size(struct fs *, uint64_t *size, struct error *);

/* ---- the rest ------------------------------------------------------------------------------------------ */

extern const struct fs_driver exfat_driver;
extern const struct option exfat_make_options[];
bool exfat_mkfs(struct device *, const struct mkfs_params *, struct error *);
bool exfat_check(struct fs *, struct check *, struct error *);
extern const struct layout *const exfat_layouts[];
bool exfat_locate(void *opened, const char *structure, const char *args, struct place *, struct error *);
bool exfat_owner(void *opened, uint64_t off, struct owner *, struct error *);
bool exfat_dir_owner(struct fs *, uint64_t off, struct owner *, struct error *);
bool exfat_describe(struct fs *, fs_id, uint64_t off, struct report *, struct error *);
bool exfat_info(struct fs *, bool verbose, struct report *, struct error *);

#endif
