/*
 * qcow2, versions 2 and 3 (QEMU's docs/interop/qcow2). The file is an array of clusters of one size: the
 * header is cluster 0, all else lies at any place.
 *
 *     +---------+    +----------+    +----------+    +--------------+
 *     | header  |--->| L1 table |--->| L2 table |--->| data cluster |   or, as the L2 entry says:
 *     | exten-  |    | u64 each |    | u64 each |    +--------------+     bit 62: compressed bytes, of any
 *     | sions   |    +----------+    | (or u64, |                                 place and length
 *     | backing |                    |  bitmap) |                         bit 0: zeros
 *     | name    |                    +----------+                         all 0: backing file, or zeros
 *     |         |    +----------+    +----------+
 *     |         |--->| refcount |--->| refcount |    one counter of 1 to 64 bits for each cluster of the
 *     |         |    | table    |    | block    |    file: 0 free; 1 one user (bit 63 of the entry that
 *     |         |    +----------+    +----------+    points to it is set: write in place); 2 and more
 *     |         |                                    shared with snapshots (copy before a write)
 *     |         |---> snapshot table: each has an L1 table of its own over shared L2 tables and clusters
 *     |         |---> bitmap directory -> bitmap table -> clusters of bits
 *     +---------+
 *
 *     guest offset: | L1 index | L2 index | in the cluster |
 *
 * Invariants
 * 1. All metadata (L1, L2, refcount table and blocks, bitmaps, snapshot table, header) is read and written
 *    through one bounded cache of blocks, `meta`; nothing of it is kept elsewhere except the parsed header.
 * 2. The stage below makes a commit all or nothing, so nothing here orders its writes and refcounts are
 *    always stored with what they count: the dirty bit is never set, only honoured.
 * 3. `fresh` holds the clusters that the running command allocated out of space that was free at the last
 *    commit; only writes into these become WRITE_FRESH on our account. `freed` holds what was freed since the
 *    last commit; it is not handed out again before, unless the file cannot grow, and never written as fresh.
 * 4. `index` knows every metadata cluster. A write into the file that would hit one which is not being
 *    updated is refused and marks the image corrupt.
 */
#ifndef DISH_QCOW2_H
#define DISH_QCOW2_H

#include "bytes.h"
#include "cache.h"
#include "driver.h"
#include "ondisk.h"
#include "ranges.h"

struct qcow2;
struct qcow2_index;
struct qcow2_codec;

/* The header in host form; see ondisk.h for the fields. */
struct qcow2_header {
    uint32_t version, cluster_bits, crypt_method, l1_size, refcount_table_clusters, nb_snapshots,
        refcount_order, header_length, backing_file_size, compression_type;
    uint64_t size, backing_file_offset, l1_table_offset, refcount_table_offset, snapshots_offset,
        incompatible_features, compatible_features, autoclear_features;
};

/* One header extension; off is that of its data in the file (and in header_area). */
struct qcow2_extension {
    uint32_t type, length;
    uint32_t off;
};

/* The bitmaps extension, checked. */
struct qcow2_bitmaps {
    bool present;
    uint32_t count;
    uint64_t directory_offset, directory_size;
};

/* One guest disk of the image: the active one, or that of a snapshot. */
struct qcow2_disk {
    struct qcow2 *q;
    uint64_t l1_offset;
    uint32_t l1_size;
    uint64_t size; /* bytes */
};

struct qcow2 {
    struct device dev; /* the active guest disk */
    struct device *file;
    struct device pad;      /* the file as an endless device: zeros past its end, grows when written */
    struct device *data;    /* where guest clusters lie: file, or the external data file; NULL: not opened */
    bool data_owned;        /* close data with the image */
    struct device *backing; /* opened backing layer or NULL */
    struct container_open open;
    char *path;
    char *backing_name, *backing_format, *data_name; /* as the image has them; NULL: none */

    struct qcow2_header h;
    uint8_t *header_area; /* the first cluster as read */
    struct qcow2_extension *extensions;
    size_t extension_count, extension_capacity;
    struct qcow2_bitmaps bitmaps;
    uint64_t crypto_offset, crypto_length;
    char refused[200];    /* why guest data must not be read: unknown features ... (only with check_only) */
    unsigned refused_for; /* enum qcow2_refusal: what in the header is at fault */
    uint64_t refused_at;  /* place of the first fault in the file */
    char refused_write[200]; /* why it must not be written */

    /* geometry */
    uint32_t cluster_bits;
    uint64_t cluster_size;
    bool extended;          /* extended L2 entries */
    uint32_t entry_size;    /* 8, or 16 when extended */
    uint32_t l2_entries;    /* in one L2 table */
    uint32_t sub_bits;      /* log2 of the subcluster size; cluster_bits when not extended */
    uint32_t sub_count;     /* subclusters in a cluster: 1 or 32 */
    uint32_t block_size;    /* of the metadata cache: min(cluster, 4096) */
    uint32_t refcount_bits; /* width of a refcount */
    uint64_t rb_entries;    /* refcounts in one refcount block */
    uint64_t rb_slice;      /* refcounts in one cache block */
    uint64_t refcount_max;

    struct cache *meta;
    struct qcow2_disk active;
    struct qcow2_codec *codec; /* made when first needed */
    uint64_t epoch;            /* changes whenever snapshots do: snapshot devices of older ones are dead */
    unsigned warned;           /* what has been warned of already */

    /* writing */
    bool prepared;              /* qcow2_prepare() passed since open or reload */
    bool lost;                  /* marked corrupt by this session: no more writing */
    struct ranges fresh, freed; /* clusters; see invariant 3 */
    struct ranges punch;        /* clusters to give back to the host at the next flush */
    struct ranges touched;      /* guest bytes written since the last flush, for bitmaps */
    bool tracks;                /* there are enabled bitmaps */
    uint64_t cursor;            /* no cluster below is free (but freed ones) */
    uint64_t cursor_low;        /* lowest value that cursor had since the refcounts were first searched */
    uint64_t pack_offset;       /* where the next compressed cluster may begin; 0: nowhere */
    struct qcow2_index *index;  /* built before the first write */
    uint8_t *bounce;            /* BOUNCE bytes */
};

enum { BOUNCE = 256 * 1024, META_CACHE = 32 * 1024 * 1024 };

enum qcow2_warning {
    WARN_RESERVED = 1,
    WARN_PAST_END = 2,
    WARN_BITMAPS = 4,
    WARN_NO_DATA = 8,
    WARN_DIRTY = 16
};

/* Faults of the header that a check can look at; a repair mends the first two. */
enum qcow2_refusal { REFUSED_REFTABLE = 1, REFUSED_SNAPSHOTS = 2, REFUSED_OTHER = 4 };

/* What a metadata cluster holds; bits, for a damaged image can use one cluster twice. */
enum qcow2_kind {
    KIND_HEADER = 1 << 0,
    KIND_L1 = 1 << 1,
    KIND_L2 = 1 << 2,
    KIND_REFTABLE = 1 << 3,
    KIND_REFBLOCK = 1 << 4,
    KIND_SNAPSHOT_TABLE = 1 << 5,
    KIND_INACTIVE_L1 = 1 << 6,
    KIND_INACTIVE_L2 = 1 << 7,
    KIND_BITMAP_DIRECTORY = 1 << 8,
    KIND_BITMAP_TABLE = 1 << 9,
    KIND_BITMAP_DATA = 1 << 10,
    KIND_CRYPTO = 1 << 11,
    KIND_DATA = 0, /* not in the index */
};

static inline struct qcow2 *qcow2_of(struct device *dev)
{
    return (struct qcow2 *)dev;
}

static inline bool qcow2_has_data_file(const struct qcow2 *q)
{
    return q->h.incompatible_features & INCOMPAT_DATA_FILE;
}

static inline bool qcow2_data_file_raw(const struct qcow2 *q)
{
    return q->h.autoclear_features & AUTOCLEAR_DATA_FILE_RAW;
}

/* ---- header.c ---- */

/* Read and check header and extensions (limits before anything else); fills h, geometry and names. */
bool qcow2_header_read(struct qcow2 *, struct error *) DISH_CHECKED;
/* The same from a header area in hand (malloc'd, taken over). */
bool qcow2_header_adopt(struct qcow2 *, uint8_t *area, struct error *) DISH_CHECKED;
void qcow2_header_free(struct qcow2 *);
/* What follows from cluster_bits, refcount_order and the features. */
void qcow2_set_geometry(struct qcow2 *);
/* May the snapshot table lie where the header says? Without snapshots nobody asks, but for other readers. */
bool qcow2_snapshots_offset_ok(const struct qcow2 *);
/* Store one field of the header in place; `width` and `off` as qcow2_header_width_X, qcow2_header_off_X. */
bool qcow2_header_put(struct qcow2 *, unsigned off, unsigned width, uint64_t value,
                      struct error *) DISH_CHECKED;
#define QCOW2_HEADER_PUT(q, name, value, err)                                                                \
    (qcow2_header_put(q, qcow2_header_off_##name, qcow2_header_width_##name, value, err) &&                  \
     (((q)->h.name = (value)), true))
/* Name of a feature bit (type 0, 1, 2): the standard's, else the image's feature name table's, else NULL. */
bool qcow2_feature_name(const struct qcow2 *, unsigned type, unsigned bit, char *out, size_t size);

/* ---- extension.c: the header area written anew ---- */

/* What the header area is to hold from now on; NULL strings: none. */
struct qcow2_area {
    const char *backing_name, *backing_format, *data_name;
    struct qcow2_bitmaps bitmaps;
};
void qcow2_area_current(const struct qcow2 *, struct qcow2_area *);
/* Lay out the extensions (unknown ones kept, in order) and the backing name, and store them. */
bool qcow2_area_write(struct qcow2 *, const struct qcow2_area *, struct error *) DISH_CHECKED;
/* The same with a header of the other version: 3 without any feature, or 2. */
bool qcow2_area_convert(struct qcow2 *, const struct qcow2_area *, uint32_t version,
                        struct error *) DISH_CHECKED;

/* ---- open.c ---- */

bool qcow2_open_image(struct device *below, const struct container_open *, struct qcow2 **,
                      struct error *) DISH_CHECKED;
/* Open the backing file that the header names, if it has one and one is wanted. */
bool qcow2_open_backing(struct qcow2 *, struct error *) DISH_CHECKED;
/* Open the external data file that the header names, if it has one. */
bool qcow2_open_data(struct qcow2 *, struct error *) DISH_CHECKED;
bool qcow2_flush(struct device *, struct error *) DISH_CHECKED;
bool qcow2_reload(struct device *, struct error *) DISH_CHECKED;
void qcow2_close(struct device *);
void qcow2_warn(struct qcow2 *, enum qcow2_warning once, const char *fmt, ...) DISH_PRINTF(3, 4);
/* What `name` means beside the image; malloc'd. */
char *qcow2_beside(const struct qcow2 *, const char *name, struct error *) DISH_CHECKED;

/* ---- file.c: bytes of the image file ---- */

void qcow2_pad_init(struct qcow2 *);
/* Zeros past the end of the file. */
bool qcow2_file_read(struct qcow2 *, uint64_t off, void *buf, size_t n, struct error *) DISH_CHECKED;
/* Grows the file; what lies in `fresh` is written as WRITE_FRESH. */
bool qcow2_file_write(struct qcow2 *, uint64_t off, const void *buf, size_t n, enum write_class,
                      struct error *) DISH_CHECKED;
bool qcow2_file_zero(struct qcow2 *, uint64_t off, uint64_t n, struct error *) DISH_CHECKED;
/* Make the file at least this long. */
bool qcow2_file_grow(struct qcow2 *, uint64_t size, struct error *) DISH_CHECKED;
/* Whole blocks of metadata through the cache. */
bool qcow2_meta_get64(struct qcow2 *, uint64_t off, uint64_t *value, struct error *) DISH_CHECKED;
bool qcow2_meta_put64(struct qcow2 *, uint64_t off, uint64_t value, struct error *) DISH_CHECKED;
bool qcow2_meta_read(struct qcow2 *, uint64_t off, void *buf, size_t n, struct error *) DISH_CHECKED;
bool qcow2_meta_write(struct qcow2 *, uint64_t off, const void *buf, size_t n, struct error *) DISH_CHECKED;
/* Every non-zero entry of a table of `count` u64; the callback may return false to stop with its error. */
typedef bool qcow2_entry_fn(struct qcow2 *, uint64_t index, uint64_t entry, void *arg, struct error *);
bool qcow2_each_entry(struct qcow2 *, uint64_t off, uint64_t count, qcow2_entry_fn *, void *arg,
                      struct error *) DISH_CHECKED;
/* Guest data, in the file or the external data file. */
bool qcow2_data_read(struct qcow2 *, uint64_t off, void *buf, size_t n, struct error *) DISH_CHECKED;
bool qcow2_data_write(struct qcow2 *, uint64_t off, const void *buf, size_t n, enum write_class,
                      struct error *) DISH_CHECKED;
bool qcow2_data_zero(struct qcow2 *, uint64_t off, uint64_t n, enum write_class, struct error *) DISH_CHECKED;

/* ---- corrupt.c ---- */

/* The image contradicts itself at `off` of the file.
 * Once something is being written it is marked corrupt, too. */
bool qcow2_corrupt(struct qcow2 *, uint64_t off, struct error *, const char *fmt, ...) DISH_PRINTF(4, 5);

/* ---- l2.c: from guest offset to cluster ---- */

enum qcow2_state {
    SUB_UNALLOCATED,      /* backing file or zeros */
    SUB_UNALLOCATED_HOST, /* the same, though the cluster is there (extended L2) */
    SUB_ZERO,
    SUB_ZERO_HOST, /* zeros, and a cluster is reserved */
    SUB_DATA,
    SUB_COMPRESSED,
};

static inline bool qcow2_state_has_host(enum qcow2_state state)
{
    return state == SUB_DATA || state == SUB_ZERO_HOST || state == SUB_UNALLOCATED_HOST;
}

static inline bool qcow2_state_is_zero(enum qcow2_state state)
{
    return state == SUB_ZERO || state == SUB_ZERO_HOST;
}

/* A run of guest bytes in one state; with a host, contiguous there. */
struct qcow2_run {
    enum qcow2_state state;
    bool copied;    /* with a host: exactly one user, so it may be written in place */
    uint64_t len;   /* bytes */
    uint64_t host;  /* of the first byte (compressed: of the payload) */
    uint64_t entry; /* the L2 entry of the first cluster */
};

/* An L2 entry as read; bitmap 0 unless extended. */
struct qcow2_l2 {
    uint64_t entry, bitmap;
};

/* A piece of an L2 table in the cache: `count` entries from the one asked for. block NULL: no L2 table. */
struct qcow2_slice {
    struct cache_block *block;
    uint8_t *entries;
    uint32_t count;
    uint64_t table, off; /* of the L2 table and of entries[0] in the file */
};

bool qcow2_l1_get(const struct qcow2_disk *, uint64_t index, uint64_t *entry, struct error *) DISH_CHECKED;
/* The slice that holds the entry of guest offset off; release it with cache_release(q->meta, slice.block). */
bool qcow2_slice_get(const struct qcow2_disk *, uint64_t off, struct qcow2_slice *,
                     struct error *) DISH_CHECKED;
struct qcow2_l2 qcow2_slice_entry(const struct qcow2 *, const struct qcow2_slice *, uint32_t i);
void qcow2_slice_set(struct qcow2 *, struct qcow2_slice *, uint32_t i, struct qcow2_l2);
/* State of one subcluster; false: the entry is damaged (*why says how). */
bool qcow2_classify(const struct qcow2 *, struct qcow2_l2, uint32_t sub, uint64_t guest, enum qcow2_state *,
                    const char **why);
/* The run at off, at most max bytes. */
bool qcow2_run_at(const struct qcow2_disk *, uint64_t off, uint64_t max, struct qcow2_run *,
                  struct error *) DISH_CHECKED;
/* The host bytes of a compressed cluster. */
void qcow2_compressed_place(const struct qcow2 *, uint64_t entry, uint64_t *off, uint64_t *len);
/* Make the L2 table of an L1 entry of the active disk our own: allocate or copy it. */
bool qcow2_l2_own(struct qcow2 *, uint64_t l1_index, struct error *) DISH_CHECKED;
/* Give up the active disk's share in an L2 table. */
bool qcow2_l2_leave(struct qcow2 *, uint64_t table, struct error *) DISH_CHECKED;

/* ---- read.c ---- */

bool qcow2_disk_read(const struct qcow2_disk *, uint64_t off, void *buf, size_t n,
                     struct error *) DISH_CHECKED;
bool qcow2_disk_map(const struct qcow2_disk *, uint64_t off, struct extent *, struct error *) DISH_CHECKED;
/* True when there is backing data at or after guest offset off. */
bool qcow2_backed(const struct qcow2 *, uint64_t off);

/* ---- compress.c ---- */

void qcow2_codec_free(struct qcow2 *);
void qcow2_codec_forget(struct qcow2 *); /* inflated clusters */
/* The contents of a compressed cluster; valid until the next call. */
bool qcow2_inflate(struct qcow2 *, uint64_t entry, const uint8_t **cluster, struct error *) DISH_CHECKED;

/* ---- refcount.c ---- */

bool qcow2_refcount_get(struct qcow2 *, uint64_t cluster, uint64_t *count, struct error *) DISH_CHECKED;
/* Add delta to n refcounts; those that become 0 go to `freed` and `punch`. */
bool qcow2_refcount_add(struct qcow2 *, uint64_t cluster, uint64_t n, int delta, struct error *) DISH_CHECKED;
/* The first run of refcount 0 at or after `at`, at most `want` long. */
bool qcow2_refcount_find_free(struct qcow2 *, uint64_t at, uint64_t want, uint64_t *first, uint64_t *count,
                              struct error *) DISH_CHECKED;
/* The end of the last cluster before `end` whose refcount is not 0; 0: all are. */
bool qcow2_refcount_used_end(struct qcow2 *, uint64_t end, uint64_t *used_end, struct error *) DISH_CHECKED;
/* Make sure that refcounts for n clusters can be stored. *changed: blocks were added, free space moved. */
bool qcow2_refcount_cover(struct qcow2 *, uint64_t cluster, uint64_t n, bool *changed,
                          struct error *) DISH_CHECKED;
uint64_t qcow2_refcount_load(unsigned order, const uint8_t *block, uint64_t i);
void qcow2_refcount_store(unsigned order, uint8_t *block, uint64_t i, uint64_t value);

/* ---- alloc.c ---- */

struct qcow2_space {
    uint64_t off, clusters;
    bool zeroed; /* the host bytes are known to be zeros */
};

/* Take at most `want` clusters in one run; exactly that many with `exact`. They have refcount 1 then. */
bool qcow2_allocate(struct qcow2 *, uint64_t want, bool exact, enum qcow2_kind, struct qcow2_space *,
                    struct error *) DISH_CHECKED;
/* Drop one reference from each of n clusters. */
bool qcow2_free(struct qcow2 *, uint64_t off, uint64_t clusters, struct error *) DISH_CHECKED;
/* Drop the reference of an L2 entry (not with a data file). */
bool qcow2_free_entry(struct qcow2 *, struct qcow2_l2, struct error *) DISH_CHECKED;
/* Whole metadata clusters that were freed: their cached blocks must not be written any more. */
void qcow2_forget_clusters(struct qcow2 *, uint64_t off, uint64_t clusters);
bool qcow2_punch(struct qcow2 *, struct error *) DISH_CHECKED;

/* ---- index.c ---- */

void qcow2_index_free(struct qcow2 *);
bool qcow2_index_build(struct qcow2 *, struct error *) DISH_CHECKED;
/* Only what no L1 entry may name: header, L1, refcount table and blocks, snapshot table. */
bool qcow2_index_tables(struct qcow2 *, struct error *) DISH_CHECKED;
bool qcow2_index_add(struct qcow2 *, uint64_t off, uint64_t clusters, enum qcow2_kind,
                     struct error *) DISH_CHECKED;
void qcow2_index_remove(struct qcow2 *, uint64_t off, uint64_t clusters, enum qcow2_kind);
/* Which entry of the refcount table names the refcount block at `off`;
 * the index is built when it is missing. */
bool qcow2_index_block(struct qcow2 *, uint64_t off, uint64_t *entry, bool *found,
                       struct error *) DISH_CHECKED;
unsigned qcow2_index_kinds(const struct qcow2 *, uint64_t off);
const char *qcow2_kind_name(unsigned kinds);
/* Fails, and marks the image corrupt, when two structures lie in one cluster: a change of one would be one of
 * the other, too. */
bool qcow2_index_sound(struct qcow2 *, struct error *) DISH_CHECKED;
/* Fails, and marks the image corrupt, when the bytes hit metadata of other kinds than `allowed`. */
bool qcow2_overlap_check(struct qcow2 *, uint64_t off, uint64_t len, unsigned allowed,
                         struct error *) DISH_CHECKED;
/* The same for bytes that are in use already: these must also lie in the file. */
bool qcow2_update_check(struct qcow2 *, uint64_t off, uint64_t len, unsigned allowed,
                        struct error *) DISH_CHECKED;

/* ---- snapshot.c ---- */

/* One entry of the snapshot table, checked. */
struct qcow2_snapshot {
    uint64_t off; /* of the entry in the file */
    uint64_t l1_offset;
    uint32_t l1_size;
    char *id, *name; /* owned */
    uint16_t id_len, name_len;
    uint32_t date_sec, date_nsec, vm_state_size32;
    uint64_t vm_clock_nsec, vm_state_size, disk_size, icount;
    uint32_t extra_len;
    uint8_t *extra; /* owned; as stored */
};
struct qcow2_snapshot_list {
    struct qcow2_snapshot *items;
    size_t count, capacity;
    uint64_t bytes; /* of the table */
};

/* Reads the table anew, all limits checked. The list is owned by the caller. */
bool qcow2_snapshots_load(struct qcow2 *, struct qcow2_snapshot_list *, struct error *) DISH_CHECKED;
/* As far as it is sound: on failure the list holds the entries before the bad one, and is to be freed too. */
bool qcow2_snapshots_scan(struct qcow2 *, struct qcow2_snapshot_list *, struct error *) DISH_CHECKED;
/* Bytes that a table of these entries takes; entries are completed to what version 3 demands. */
uint64_t qcow2_snapshots_bytes(const struct qcow2 *, const struct qcow2_snapshot_list *);
/* Write a table of these entries at off and make the header name it. */
bool qcow2_snapshots_store(struct qcow2 *, const struct qcow2_snapshot_list *, uint64_t off,
                           struct error *) DISH_CHECKED;
void qcow2_snapshots_free(struct qcow2_snapshot_list *);

/* ---- snapshot_change.c ---- */

bool qcow2_snapshots(struct device *, bool (*emit)(const struct snapshot_info *, void *), void *arg,
                     struct error *) DISH_CHECKED;
/* Write the table anew so that its entries have what version 3 demands. */
bool qcow2_snapshots_complete(struct qcow2 *, struct error *) DISH_CHECKED;
bool qcow2_snapshot_create(struct device *, const char *name, struct error *) DISH_CHECKED;
bool qcow2_snapshot_apply(struct device *, const char *id_or_name, struct error *) DISH_CHECKED;
bool qcow2_snapshot_delete(struct device *, const char *id_or_name, struct error *) DISH_CHECKED;
bool qcow2_snapshot_open(struct device *, const char *id_or_name, struct device **,
                         struct error *) DISH_CHECKED;

/* ---- bitmap.c ---- */

struct qcow2_bitmap {
    uint64_t off; /* of the directory entry in the file */
    uint64_t table_offset;
    uint32_t table_size, flags;
    uint8_t granularity_bits;
    char *name; /* owned */
    uint16_t name_len;
    uint32_t extra_len;
    uint8_t *extra; /* owned; as stored */
};
struct qcow2_bitmap_list {
    struct qcow2_bitmap *items;
    size_t count, capacity;
};

/* Find out whether changes must be noted for enabled bitmaps. */
bool qcow2_bitmaps_track(struct qcow2 *, struct error *) DISH_CHECKED;
/* Set the bits of all that was touched since the last flush. */
bool qcow2_bitmaps_flush(struct qcow2 *, struct error *) DISH_CHECKED;
/* After the disk changed its size. */
bool qcow2_bitmaps_resize(struct qcow2 *, uint64_t size, struct error *) DISH_CHECKED;
bool qcow2_bitmaps_load(struct qcow2 *, struct qcow2_bitmap_list *, struct error *) DISH_CHECKED;
void qcow2_bitmaps_free(struct qcow2_bitmap_list *);

/* ---- bitmap_change.c: the driver's operations ---- */

bool qcow2_bitmaps_list(struct device *, bool (*emit)(const struct bitmap_info *, void *), void *arg,
                        struct error *) DISH_CHECKED;
bool qcow2_bitmap_add(struct device *, const char *name, uint64_t granularity, bool disabled,
                      struct error *) DISH_CHECKED;
bool qcow2_bitmap_remove(struct device *, const char *name, struct error *) DISH_CHECKED;
bool qcow2_bitmap_enable(struct device *, const char *name, bool enabled, struct error *) DISH_CHECKED;
bool qcow2_bitmap_clear(struct device *, const char *name, struct error *) DISH_CHECKED;
bool qcow2_bitmap_merge(struct device *, const char *into, const char *from, struct error *) DISH_CHECKED;

/* ---- write.c, zero.c ---- */

/* Before the first change of a session: may this image be written at all? Clears what must be cleared. */
bool qcow2_prepare(struct qcow2 *, struct error *) DISH_CHECKED;
/* Remember guest bytes as changed, for the enabled bitmaps. */
bool qcow2_touch(struct qcow2 *, uint64_t off, uint64_t n, struct error *) DISH_CHECKED;
bool qcow2_write(struct device *, uint64_t off, const void *buf, size_t n, enum write_class,
                 struct error *) DISH_CHECKED;
bool qcow2_zero(struct device *, uint64_t off, uint64_t n, enum write_class, struct error *) DISH_CHECKED;
bool qcow2_discard(struct device *, uint64_t off, uint64_t n, struct error *) DISH_CHECKED;

/* ---- resize.c ---- */

/* A longer L1 table of the active disk, exactly so many entries. */
bool qcow2_l1_grow(struct qcow2 *, uint64_t entries, struct error *) DISH_CHECKED;
/* Cut free clusters off the end of the file. */
bool qcow2_trim(struct qcow2 *, struct error *) DISH_CHECKED;
bool qcow2_resize(struct device *, uint64_t size, struct error *) DISH_CHECKED;

/* ---- compress.c ---- */

bool qcow2_write_compressed(struct device *, uint64_t off, const void *buf, size_t n,
                            struct error *) DISH_CHECKED;

/* ---- amend.c, compact.c ---- */

bool qcow2_set_backing(struct device *, const char *backing, const char *format, bool open,
                       struct error *) DISH_CHECKED;
bool qcow2_amend(struct device *, const struct options *, struct error *) DISH_CHECKED;
bool qcow2_compact(struct device *, bool move, uint64_t *freed, struct error *) DISH_CHECKED;
bool qcow2_make_empty(struct device *, struct error *) DISH_CHECKED;

/* ---- create.c ---- */

enum qcow2_preallocation { PREALLOCATE_OFF, PREALLOCATE_METADATA, PREALLOCATE_FALLOC, PREALLOCATE_FULL };

extern const struct option qcow2_options[];
/* Give every unallocated guest cluster of [off, end) a place. */
bool qcow2_preallocate(struct qcow2 *, uint64_t off, uint64_t end, enum qcow2_preallocation,
                       struct error *) DISH_CHECKED;
/* size UINT64_MAX: that of the backing file. */
bool qcow2_create(struct device *below, uint64_t size, const struct options *, const struct container_open *,
                  struct error *) DISH_CHECKED;

/* ---- measure.c ---- */

bool qcow2_measure(const struct options *, struct measure *, struct error *) DISH_CHECKED;

/* ---- info.c, describe.c ---- */

bool qcow2_info(struct device *, bool verbose, struct report *, struct error *) DISH_CHECKED;
bool qcow2_describe(struct device *, uint64_t off, struct report *, struct error *) DISH_CHECKED;
bool qcow2_locate(void *opened, const char *structure, const char *args, struct place *,
                  struct error *) DISH_CHECKED;
bool qcow2_owner(void *opened, uint64_t off, struct owner *, struct error *) DISH_CHECKED;

#endif
