/*
 * FAT12, FAT16 and FAT32 with long names.
 *
 *   sector 0      1         6 (FAT32)       BPB_RsvdSecCnt
 *  +-------------+---------+---------------+-------+--------+----------------+-------------------+
 *  | boot sector | FSInfo  | copies of the | FAT 0 | FAT 1  | root directory | clusters 2, 3 ... |
 *  | with BPB    | (FAT32) | two before    |       | (copy) | (FAT12, FAT16) | files, folders    |
 *  +-------------+---------+---------------+-------+--------+----------------+-------------------+
 *
 * FAT entry n says what follows cluster n: 0 free, the next cluster, "bad", or an end mark. A directory is an
 * array of 32-byte entries; a long name lies in entries of its own (attribute 0x0F), last part first,
 * directly before the short entry that it belongs to. The width of the FAT follows from the number of
 * clusters.
 *
 * Specification: Microsoft FAT32 File System Specification, version 1.03 (cited as FATGEN).
 *
 * In memory (struct fat):
 *  - table: the FAT's blocks (cache.h) over a device that writes every copy;
 *  - meta:  sectors of boot region and directories (cache.h);
 *  - space:  one bit for each cluster (space.h), built once a session by one scan of the FAT;
 *  - chains: for each chain in use the runs of clusters that it consists of (chain.h);
 *  - dirs:   for each directory in use an index from names to slots (slots.h).
 * All of them are only copies of what is on the device or dirty in the two caches.
 */
#ifndef DISH_FAT_H
#define DISH_FAT_H

#include "alloc.h"
#include "bytes.h"
#include "cache.h"
#include "chain.h"
#include "codepage.h"
#include "dosname.h"
#include "driver.h"
#include "slots.h"
#include "space.h"

#include <stdlib.h>

/* ---- structures on disk -------------------------------------------------------------------------------- */

#define FAT_BPB(F, T)                                                                                        \
    F(T, 0, 3, RAW, BS_jmpBoot, kind_bytes, "jump to the boot code")                                         \
    F(T, 3, 8, RAW, BS_OEMName, kind_text, "name of the system that formatted the volume")                   \
    F(T, 11, 2, LE, BPB_BytsPerSec, kind_dec, "bytes in a sector: 512, 1024, 2048 or 4096")                  \
    F(T, 13, 1, LE, BPB_SecPerClus, kind_dec, "sectors in a cluster: a power of two")                        \
    F(T, 14, 2, LE, BPB_RsvdSecCnt, kind_dec, "sectors before the first FAT, this one included")             \
    F(T, 16, 1, LE, BPB_NumFATs, kind_dec, "copies of the FAT")                                              \
    F(T, 17, 2, LE, BPB_RootEntCnt, kind_dec, "entries in the fixed root directory; 0 on FAT32")             \
    F(T, 19, 2, LE, BPB_TotSec16, kind_dec, "sectors of the volume, or 0: see BPB_TotSec32")                 \
    F(T, 21, 1, LE, BPB_Media, kind_hex, "media byte: 0xf8 fixed, 0xf0 removable")                           \
    F(T, 22, 2, LE, BPB_FATSz16, kind_dec, "sectors of one FAT, or 0: see BPB_FATSz32")                      \
    F(T, 24, 2, LE, BPB_SecPerTrk, kind_dec, "sectors on a track, for the BIOS")                             \
    F(T, 26, 2, LE, BPB_NumHeads, kind_dec, "heads, for the BIOS")                                           \
    F(T, 28, 4, LE, BPB_HiddSec, kind_dec, "sectors on the disk before the volume")                          \
    F(T, 32, 4, LE, BPB_TotSec32, kind_dec, "sectors of the volume when BPB_TotSec16 is 0")

#define FAT_BOOT16(F, T)                                                                                     \
    FAT_BPB(F, T)                                                                                            \
    F(T, 36, 1, LE, BS_DrvNum, kind_hex, "BIOS drive number")                                                \
    F(T, 37, 1, LE, BS_Reserved1, fat_kind_state, "state of the volume")                                     \
    F(T, 38, 1, LE, BS_BootSig, kind_hex, "0x29: the three fields that follow are present")                  \
    F(T, 39, 4, LE, BS_VolID, kind_hex, "volume id")                                                         \
    F(T, 43, 11, RAW, BS_VolLab, kind_text, "volume label, as in the root directory")                        \
    F(T, 54, 8, RAW, BS_FilSysType, kind_text, "a text for people; it does not decide the width")            \
    F(T, 62, 448, RAW, BS_BootCode, kind_bytes, "boot code")                                                 \
    F(T, 510, 2, LE, Signature_word, kind_hex, "0xaa55")

#define FAT_BOOT32(F, T)                                                                                     \
    FAT_BPB(F, T)                                                                                            \
    F(T, 36, 4, LE, BPB_FATSz32, kind_dec, "sectors of one FAT")                                             \
    F(T, 40, 2, LE, BPB_ExtFlags, kind_hex, "bit 7: only the FAT in bits 0-3 is active")                     \
    F(T, 42, 2, LE, BPB_FSVer, kind_hex, "version: 0")                                                       \
    F(T, 44, 4, LE, BPB_RootClus, kind_dec, "first cluster of the root directory")                           \
    F(T, 48, 2, LE, BPB_FSInfo, kind_dec, "sector of the FSInfo structure")                                  \
    F(T, 50, 2, LE, BPB_BkBootSec, kind_dec, "sector of the copy of the boot sector; 0: none")               \
    F(T, 52, 12, RAW, BPB_Reserved, kind_reserved, "zeros")                                                  \
    F(T, 64, 1, LE, BS_DrvNum, kind_hex, "BIOS drive number")                                                \
    F(T, 65, 1, LE, BS_Reserved1, fat_kind_state, "state of the volume")                                     \
    F(T, 66, 1, LE, BS_BootSig, kind_hex, "0x29: the three fields that follow are present")                  \
    F(T, 67, 4, LE, BS_VolID, kind_hex, "volume id")                                                         \
    F(T, 71, 11, RAW, BS_VolLab, kind_text, "volume label, as in the root directory")                        \
    F(T, 82, 8, RAW, BS_FilSysType, kind_text, "a text for people; it does not decide the width")            \
    F(T, 90, 420, RAW, BS_BootCode32, kind_bytes, "boot code")                                               \
    F(T, 510, 2, LE, Signature_word, kind_hex, "0xaa55")

#define FAT_FSINFO(F, T)                                                                                     \
    F(T, 0, 4, LE, FSI_LeadSig, kind_hex, "0x41615252")                                                      \
    F(T, 4, 480, RAW, FSI_Reserved1, kind_reserved, "zeros")                                                 \
    F(T, 484, 4, LE, FSI_StrucSig, kind_hex, "0x61417272")                                                   \
    F(T, 488, 4, LE, FSI_Free_Count, kind_dec, "free clusters; 0xffffffff: unknown")                         \
    F(T, 492, 4, LE, FSI_Nxt_Free, kind_dec, "where to look for free clusters first")                        \
    F(T, 496, 12, RAW, FSI_Reserved2, kind_reserved, "zeros")                                                \
    F(T, 508, 4, LE, FSI_TrailSig, kind_hex, "0xaa550000")

#define FAT_ENTRY(F, T)                                                                                      \
    F(T, 0, 11, RAW, DIR_Name, kind_text, "short name, 8 and 3 bytes in the OEM code page")                  \
    F(T, 11, 1, LE, DIR_Attr, fat_kind_attr, "attributes")                                                   \
    F(T, 12, 1, LE, DIR_NTRes, fat_kind_case, "parts of the short name shown in lower case")                 \
    F(T, 13, 1, LE, DIR_CrtTimeTenth, kind_dec, "hundredths of a second to add to DIR_CrtTime")              \
    F(T, 14, 2, LE, DIR_CrtTime, fat_kind_time, "time of creation, local")                                   \
    F(T, 16, 2, LE, DIR_CrtDate, fat_kind_date, "date of creation")                                          \
    F(T, 18, 2, LE, DIR_LstAccDate, fat_kind_date, "date of the last access")                                \
    F(T, 20, 2, LE, DIR_FstClusHI, kind_dec, "first cluster, high half (FAT32)")                             \
    F(T, 22, 2, LE, DIR_WrtTime, fat_kind_time, "time of the last write, local")                             \
    F(T, 24, 2, LE, DIR_WrtDate, fat_kind_date, "date of the last write")                                    \
    F(T, 26, 2, LE, DIR_FstClusLO, kind_dec, "first cluster, low half")                                      \
    F(T, 28, 4, LE, DIR_FileSize, kind_dec, "bytes; 0 for a directory")

#define FAT_LONG(F, T)                                                                                       \
    F(T, 0, 1, LE, LDIR_Ord, kind_hex, "number of this part; 0x40 marks the last one")                       \
    F(T, 1, 10, RAW, LDIR_Name1, kind_utf16le, "units 1 to 5 of this part")                                  \
    F(T, 11, 1, LE, LDIR_Attr, fat_kind_attr, "0x0f")                                                        \
    F(T, 12, 1, LE, LDIR_Type, kind_dec, "0")                                                                \
    F(T, 13, 1, LE, LDIR_Chksum, kind_hex, "checksum of the short name")                                     \
    F(T, 14, 12, RAW, LDIR_Name2, kind_utf16le, "units 6 to 11")                                             \
    F(T, 26, 2, LE, LDIR_FstClusLO, kind_dec, "0")                                                           \
    F(T, 28, 4, RAW, LDIR_Name3, kind_utf16le, "units 12 and 13")

LAYOUT_ACCESSORS(fat_bpb, FAT_BPB)
LAYOUT_ACCESSORS(fat_boot16, FAT_BOOT16)
LAYOUT_ACCESSORS(fat_boot32, FAT_BOOT32)
LAYOUT_ACCESSORS(fat_fsinfo, FAT_FSINFO)
LAYOUT_ACCESSORS(fat_entry, FAT_ENTRY)
LAYOUT_ACCESSORS(fat_long, FAT_LONG)

enum {
    ENTRY_SIZE = 32,
    SHORT_NAME = 11,
    LONG_UNITS = 13, /* units in one long entry */
    MAX_NAME = DOSNAME_MAX,
    MAX_SLOTS = 65536,
    MAX_NAME_SLOTS = 21, /* 20 long entries and the short one */
    ROOT_ID = 1,
    DIR_BUCKETS = 256,
};

enum fat_attr {
    FAT_READ_ONLY = 0x01,
    FAT_HIDDEN = 0x02,
    FAT_SYSTEM = 0x04,
    FAT_VOLUME = 0x08,
    FAT_DIRECTORY = 0x10,
    FAT_ARCHIVE = 0x20,
    FAT_LONG_NAME = 0x0F,
    FAT_LONG_MASK = 0x3F,
};

enum { LOWER_BASE = 0x08, LOWER_EXT = 0x10, NO_SHORT_NAME = 0x20 }; /* DIR_NTRes */
enum { SLOT_END = 0x00, SLOT_FREE = 0xE5, SLOT_E5 = 0x05 };
enum { LAST_LONG = 0x40 };
enum { STATE_DIRTY = 1, STATE_ERRORS = 2 }; /* BS_Reserved1 */

/* FAT entries, independent of the width. */
#define CLUSTER_FREE 0u
#define CLUSTER_BAD 0x0FFFFFF7u
#define CLUSTER_END 0x0FFFFFFFu

/* Clusters that the FAT of a width can address. */
#define FAT12_LIMIT 4085u
#define FAT16_LIMIT 65525u
#define FAT32_LIMIT 0x0FFFFFF5u

#define MAX_FILE_SIZE 0xFFFFFFFFu

/* ---- an open volume ------------------------------------------------------------------------------------ */

struct fat_geometry {
    unsigned bits; /* 12, 16 or 32 */
    uint32_t sector_size, cluster_size;
    unsigned cluster_shift;
    uint32_t reserved, fats, fat_sectors, root_entries;
    uint32_t clusters;   /* of the data region; they are numbered from 2 */
    uint32_t root;       /* first cluster of the root directory; 0: the fixed one */
    uint32_t fsinfo;     /* sector; 0: none */
    uint32_t backup;     /* sector of the boot sector's copy; 0: none */
    uint32_t clash;      /* the sector that is named as both of them; 0: none */
    uint32_t active_fat; /* the copy that is read */
    bool mirrored;       /* changes go to all copies */
    uint8_t media;
    uint64_t sectors, fat_off, fat_len, root_off, root_len, data_off; /* bytes, but for sectors */
};

struct fat_dir;

struct fat {
    struct fs fs;
    struct fs_limits limits;
    struct fat_geometry g;
    const struct codepage *codepage;
    bool read_only;
    uint64_t boot_off; /* of the boot sector: 0, or where its copy lies when it is damaged */

    struct device *table_device;
    struct cache *table, *meta;
    struct cache_block *window; /* the block of the FAT looked at last; pinned */

    struct space space; /* in clusters; space.changed: FSInfo is out of date */
    uint32_t bad_clusters;
    struct chains *chains;
    struct fat_dir *dirs; /* most recently used first */
    struct fat_dir *dir_buckets[DIR_BUCKETS];
    bool cut_any;  /* the running command freed clusters */
    fs_id hint_id; /* the file created last, and the clusters it is expected to get */
    uint32_t hint_clusters;
};

static inline struct fat *fat_of(struct fs *fs)
{
    return (struct fat *)fs;
}

static inline bool fat_valid_cluster(const struct fat *fat, uint32_t cluster)
{
    return cluster >= 2 && cluster - 2 < fat->g.clusters;
}

static inline uint64_t fat_cluster_off(const struct fat *fat, uint32_t cluster)
{
    return fat->g.data_off + ((uint64_t)(cluster - 2) << fat->g.cluster_shift);
}

/* Clusters that hold `bytes`. */
static inline uint32_t fat_clusters_for(const struct fat *fat, uint64_t bytes)
{
    return (uint32_t)((bytes + fat->g.cluster_size - 1) >> fat->g.cluster_shift);
}

/* ---- boot.c: BPB, FSInfo ------------------------------------------------------------------------------- */

extern const struct kind fat_kind_state, fat_kind_attr, fat_kind_case, fat_kind_time, fat_kind_date;
extern const struct layout fat_boot16_layout, fat_boot32_layout, fat_fsinfo_layout;

/* Judge a boot sector (512 bytes at least). E_DAMAGED names the field. device_size 0: unknown. */
bool fat_parse_boot(struct device *, const uint8_t *boot, struct fat_geometry *, struct error *) DISH_CHECKED;
/*
 * The boot sector, or on FAT32 its copy when it is damaged; *off says where it lies. Fails with what is wrong
 * with the first.
 */
bool fat_find_boot(struct device *, struct fat_geometry *, uint64_t *off, struct error *) DISH_CHECKED;
/* Offsets in the boot sector that differ between the two forms. */
uint8_t *fat_boot_state(const struct fat_geometry *, uint8_t *boot);
uint8_t *fat_boot_label(const struct fat_geometry *, uint8_t *boot);
uint8_t *fat_boot_volume_id(const struct fat_geometry *, uint8_t *boot);
bool fat_boot_has_label(const struct fat_geometry *, uint8_t *boot);
bool fat_moved(struct fs *, uint64_t from, uint64_t to, struct error *);
/* Change the boot sector and its copy alike. */
bool fat_boot_patch(struct fat *, uint32_t off, const void *bytes, uint32_t n, struct error *) DISH_CHECKED;
bool fat_fsinfo_store(struct fat *, struct error *) DISH_CHECKED;

/* ---- table.c: the file allocation table ---------------------------------------------------------------- */

bool fat_table_open(struct fat *, struct error *) DISH_CHECKED;
void fat_table_close(struct fat *);
/* Let go of the pinned block; before a flush or drop of the cache. */
void fat_table_unpin(struct fat *);
/* Entry n (0 .. clusters + 1): CLUSTER_FREE, CLUSTER_BAD,
 * CLUSTER_END or a number that may be out of range. */
bool fat_get(struct fat *, uint32_t n, uint32_t *value, struct error *) DISH_CHECKED;
/* The same as it is stored, 12, 16 or 28 bits of it: entries 0 and 1 hold more than a cluster number. */
bool fat_get_raw(struct fat *, uint32_t n, uint32_t *value, struct error *) DISH_CHECKED;
bool fat_set(struct fat *, uint32_t n, uint32_t value, struct error *) DISH_CHECKED;
/* What follows a cluster of a chain: a valid cluster or CLUSTER_END. Anything else is E_DAMAGED. */
bool fat_next(struct fat *, uint32_t cluster, uint32_t *next, struct error *) DISH_CHECKED;
/* Byte offset of entry n in the volume (of the active copy). */
uint64_t fat_entry_off(const struct fat *, uint32_t n);

/* ---- space.c: free clusters ---------------------------------------------------------------------------- */

bool fat_space_load(struct fat *, struct error *) DISH_CHECKED;
/* Free the chain that begins at `first`, FAT entries included; a damaged one as far as it goes. */
bool fat_chain_free(struct fat *, uint32_t first, struct error *) DISH_CHECKED;
/* ---- chain.c: cluster chains --------------------------------------------------------------------------- */

bool fat_chain_step(void *fat, uint32_t cluster, uint32_t *next, struct error *); /* a chain_next_fn */
bool fat_chain_open(struct fat *, uint32_t first, struct chain **out, struct error *) DISH_CHECKED;
/* The run that starts at cluster `index` of the chain: *len is 0 past the end. */
bool fat_chain_map(struct fat *, struct chain *, uint32_t index, uint32_t *cluster, uint32_t *len,
                   struct error *) DISH_CHECKED;
/* Walk to the end: the number of clusters. */
bool fat_chain_length(struct fat *, struct chain *, uint32_t *clusters, struct error *) DISH_CHECKED;
/*
 * Before a chain grows to `total` clusters: the chain (NULL: there is none yet), all of it known. E_NOSPACE
 * before anything is taken.
 */
bool fat_chain_to_grow(struct fat *, uint32_t first, uint32_t total, struct chain **,
                       struct error *) DISH_CHECKED;
/*
 * Lengthen it by one run of at most `want` clusters; a new chain begins where there is room for all `likely`
 * ones, if there is such a place.
 */
bool fat_chain_add(struct fat *, struct chain **, uint32_t want, uint32_t likely, uint32_t *start,
                   uint32_t *len, struct error *) DISH_CHECKED;
/*
 * Append clusters until the chain has `total`; *first is set when it was 0. `likely` is the length that is to
 * be expected later (a place with room for it is preferred). Fails with E_NOSPACE before anything is taken.
 */
bool fat_chain_grow(struct fat *, uint32_t *first, uint32_t total, uint32_t likely,
                    struct error *) DISH_CHECKED;
/* Cut to `total` clusters; *first becomes 0 when that is 0. */
bool fat_chain_cut(struct fat *, uint32_t *first, uint32_t total, struct error *) DISH_CHECKED;

/* ---- name.c: names ------------------------------------------------------------------------------------- */

uint8_t fat_name_checksum(const uint8_t short_name[SHORT_NAME]);
/* The name that a short entry shows: case bits applied. */
void fat_short_decode(const struct fat *, const uint8_t *entry, struct dosname *);
/* The 11 bytes that the name has when it is one in 8.3 form. */
bool fat_short_encode(const struct fat *, const struct dosname *, uint8_t short_name[SHORT_NAME]);
/*
 * A short name for a long one, with a numeric tail when needed. taken() tells which exist in the directory.
 * *need_long: the short name does not say it all. *case_bits: DIR_NTRes.
 */
typedef bool fat_taken_fn(void *arg, const uint8_t short_name[SHORT_NAME], bool *taken, struct error *);
bool fat_short_make(const struct fat *, const struct dosname *, fat_taken_fn *taken, void *arg,
                    uint8_t short_name[SHORT_NAME], uint8_t *case_bits, bool *need_long,
                    struct error *) DISH_CHECKED;
/* Label text to 11 bytes. E_NAME. */
bool fat_label_encode(const struct codepage *, const char *text, uint8_t label[SHORT_NAME],
                      struct error *) DISH_CHECKED;
/* Whether the bytes are ones that a label may hold. */
bool fat_label_valid(const uint8_t label[SHORT_NAME]);
void fat_label_decode(const struct codepage *, const uint8_t label[SHORT_NAME], char *text, size_t size);
bool fat_bad_short(const uint8_t short_name[SHORT_NAME]);

/* ---- entry.c: directory entries ------------------------------------------------------------------------ */

/* The short entry with this id; release the block after use. The root has none: E_INVALID. */
bool fat_entry_get(struct fat *, fs_id, struct cache_block **, uint8_t **entry, struct error *) DISH_CHECKED;
uint32_t fat_entry_cluster(const struct fat *, const uint8_t *entry);
void fat_entry_set_cluster(const struct fat *, uint8_t *entry, uint32_t cluster);
/* What an entry says of its file's times. */
void fat_entry_times(const uint8_t *entry, struct fs_attr *);
/* Copies of what most calls need; the root gets a made-up entry.
 * E_DAMAGED for a first cluster out of range. */
bool fat_entry_load(struct fat *, fs_id, uint8_t entry[ENTRY_SIZE], struct error *) DISH_CHECKED;
bool fat_entry_store(struct fat *, fs_id, const uint8_t entry[ENTRY_SIZE], struct error *) DISH_CHECKED;
void fat_time_encode(struct fs_time, uint16_t *date, uint16_t *time, uint8_t *tenth);
struct fs_time fat_time_decode(uint16_t date, uint16_t time, uint8_t tenth);
void fat_entry_set_times(uint8_t *entry, const struct fs_attr *, unsigned mask);
bool fat_getattr(struct fs *, fs_id, struct fs_attr *, struct error *);
bool fat_setattr(struct fs *, fs_id, const struct fs_attr *, unsigned mask, struct error *);

/* ---- dir.c: reading directories ------------------------------------------------------------------------ */

enum fat_item_kind {
    ITEM_FILE,    /* a file or directory */
    ITEM_DOT,     /* . or .. */
    ITEM_LABEL,   /* the volume label */
    ITEM_DELETED, /* a short entry marked free */
    ITEM_ORPHAN,  /* long entries that belong to no short entry */
};

struct fat_item {
    enum fat_item_kind kind;
    uint32_t first_slot, slot; /* the first long entry or the short one; the short one (orphans: the last) */
    uint64_t off;              /* bytes in the volume of the short entry (orphans: of the first) */
    uint8_t raw[ENTRY_SIZE];
    struct dosname name;
    bool has_long;
    bool odd_long; /* fields of its long entries that must be 0 are not */
    const char *fault;
};

struct fat_dir {
    uint32_t first; /* cluster; 0: the fixed root */
    fs_id id;
    uint32_t slots; /* capacity */
    uint32_t end;   /* slots from here on were never used */
    bool indexed;
    struct slots index;              /* by the hashes of the name and of the short name */
    struct fat_dir *next, *previous; /* by age of use */
    struct fat_dir *peer;            /* in its bucket */
};

typedef bool fat_item_fn(struct fat *, struct fat_dir *, const struct fat_item *, void *arg, struct error *);

/*
 * Emit every item by rising slot; the callback returns false to stop, with err->kind set when it failed. It
 * must not open other directories, which might drop this one.
 */
bool fat_dir_scan(struct fat *, struct fat_dir *, fat_item_fn *, void *arg, struct error *) DISH_CHECKED;
/* Offset of a slot in the volume; E_DAMAGED or E_INVALID past the end. */
bool fat_slot_off(struct fat *, struct fat_dir *, uint32_t slot, uint64_t *off, struct error *) DISH_CHECKED;
bool fat_slot_get(struct fat *, struct fat_dir *, uint32_t slot, struct cache_block **, uint8_t **raw,
                  struct error *) DISH_CHECKED;
/* The item that the index points to, read again. */
bool fat_item_load(struct fat *, struct fat_dir *, const struct slot_ref *, struct fat_item *,
                   struct error *) DISH_CHECKED;

/* ---- dir.c: directories in use ------------------------------------------------------------------------- */

/* The directory with this id, from the cache or read; valid until the next fat_dir_open(). */
bool fat_dir_open(struct fat *, fs_id, struct fat_dir **, struct error *) DISH_CHECKED;
bool fat_dir_open_cluster(struct fat *, uint32_t first, fs_id, struct fat_dir **,
                          struct error *) DISH_CHECKED;
/* The same with its names indexed. */
bool fat_dir_index(struct fat *, fs_id, struct fat_dir **, struct error *) DISH_CHECKED;
bool fat_dir_index_cluster(struct fat *, uint32_t first, struct fat_dir **, struct error *) DISH_CHECKED;
/* A directory just made, of which it is known that it holds nothing but . and .. */
bool fat_dir_new(struct fat *, uint32_t first, fs_id, struct error *) DISH_CHECKED;
void fat_dir_forget(struct fat *, uint32_t first);
void fat_dirs_drop(struct fat *);
/* The item of an indexed name: NULL-kind E_NOENT when absent. Long name or alias. */
bool fat_dir_find(struct fat *, struct fat_dir *, const struct dosname *, struct fat_item *,
                  struct error *) DISH_CHECKED;
bool fat_dir_alias_taken(struct fat *, struct fat_dir *, const uint8_t short_name[SHORT_NAME], bool *taken,
                         struct error *) DISH_CHECKED;
/* Put an item into the index, and take it out. */
bool fat_index_add(struct fat_dir *, const struct fat_item *, struct error *) DISH_CHECKED;
void fat_index_remove(struct fat_dir *, const struct fat_item *);
bool fat_lookup(struct fs *, fs_id dir, const char *name, fs_id *out, struct error *);
bool fat_readdir(struct fs *, fs_id dir, fs_entry_fn *, void *arg, struct error *);
bool fat_parent(struct fs *, fs_id dir, fs_id *out, struct error *);
bool fat_deleted(struct fs *, fs_id dir, fs_entry_fn *, void *arg, struct error *);

/* ---- dirop.c: changing directories --------------------------------------------------------------------- */

/* The first run of `count` free slots of an indexed directory, which grows when there is none. */
bool fat_dir_take(struct fat *, struct fat_dir *, uint32_t count, uint32_t *found,
                  struct error *) DISH_CHECKED;
/* Slots before `end` are in use now: what was the end of the directory moves behind them. */
bool fat_dir_move_end(struct fat *, struct fat_dir *, uint32_t end, struct error *) DISH_CHECKED;
/* The first n bytes of a slot. */
bool fat_slot_put(struct fat *, struct fat_dir *, uint32_t slot, const uint8_t *raw, size_t n,
                  struct error *) DISH_CHECKED;
/* Add a name with the attributes of `entry` (its name bytes are set here). */
bool fat_dir_add(struct fat *, struct fat_dir *, const struct dosname *, uint8_t entry[ENTRY_SIZE],
                 fs_id *out, struct error *) DISH_CHECKED;
bool fat_dir_delete(struct fat *, struct fat_dir *, const struct fat_item *, struct error *) DISH_CHECKED;
/* A new directory's cluster with . and .. in it. */
bool fat_dir_make(struct fat *, uint32_t parent, const uint8_t entry[ENTRY_SIZE], uint32_t *first,
                  struct error *) DISH_CHECKED;
bool fat_create(struct fs *, fs_id dir, const char *name, const struct fs_attr *, const char *target,
                fs_id *out, struct error *);
bool fat_remove(struct fs *, fs_id dir, const char *name, struct error *);
bool fat_rename(struct fs *, fs_id from, const char *name, fs_id to, const char *new_name, fs_id *out,
                struct error *);
bool fat_undelete(struct fs *, fs_id, fs_id dir, const char *name, struct error *);

/* ---- label.c ------------------------------------------------------------------------------------------- */

/* Label and volume id as they are on the volume, into fs. */
bool fat_read_label(struct fat *, struct error *) DISH_CHECKED;
bool fat_set_label(struct fs *, const char *label, struct error *);
bool fat_set_uuid(struct fs *, const char *uuid, struct error *);

/* ---- file.c: contents ---------------------------------------------------------------------------------- */

bool fat_map(struct fs *, fs_id, uint64_t off, struct extent *, struct error *);
bool fat_read(struct fs *, fs_id, uint64_t off, void *buf, size_t n, struct error *);
bool fat_write(struct fs *, fs_id, uint64_t off, const void *buf, size_t n, struct error *);
bool fat_extend(struct fs *, fs_id, uint64_t off, uint64_t n, struct extent *, enum write_class *,
                struct error *);
bool fat_truncate(struct fs *, fs_id, uint64_t size, struct error *);
bool fat_allocate(struct fs *, fs_id, uint64_t off, uint64_t len, unsigned mode, struct error *);

/* ---- fat.c --------------------------------------------------------------------------------------------- */

/* What may be changed: nothing on a volume that reaches past the device or whose boot sector is damaged. */
void fat_set_change(struct fat *);

/* ---- resize.c ------------------------------------------------------------------------------------------ */

/* The type stays what it is: a number of clusters that makes it another one is refused. */
bool fat_resize(struct fs *, uint64_t size, struct error *);
bool fat_min_size(struct fs *, uint64_t *size, struct error *);

/* ---- the rest ------------------------------------------------------------------------------------------ */

extern const struct fs_driver fat_driver;
extern const struct option fat_make_options[];
bool fat_mkfs(struct device *, const struct mkfs_params *, struct error *);

bool fat_check(struct fs *, struct check *, struct error *);

extern const struct layout *const fat_layouts[];
bool fat_locate(void *opened, const char *structure, const char *args, struct place *, struct error *);
bool fat_owner(void *opened, uint64_t off, struct owner *, struct error *);
bool fat_dir_owner(struct fs *, uint64_t off, struct owner *, struct error *);
bool fat_describe(struct fs *, fs_id, uint64_t off, struct report *, struct error *);
bool fat_info(struct fs *, bool verbose, struct report *, struct error *);

#endif
