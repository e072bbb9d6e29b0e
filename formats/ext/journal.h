/*
 * The journal (jbd2), all big-endian, and the fast commit records behind it, little-endian. Specification:
 * "Journal (jbd2)" in "ext4 Data Structures and Algorithms" of the Linux kernel's documentation.
 *
 *      | superblock | descriptor: tags | data ... | revoke | commit | descriptor ... | fast commits |
 *                   '------------- transaction n -------------'
 */
#ifndef EXT_JOURNAL_H
#define EXT_JOURNAL_H

#include "ext.h"

#define JBD_MAGIC 0xC03B3998u

enum { JBD_MIN_BLOCKS = 1024 }; /* of a whole journal */

enum jbd_block_type {
    JBD_DESCRIPTOR = 1,
    JBD_COMMIT = 2,
    JBD_SUPER_V1 = 3,
    JBD_SUPER_V2 = 4,
    JBD_REVOKE = 5,
};

/* s_feature_compat, s_feature_incompat */
enum { JBD_COMPAT_CHECKSUM = 1 };
enum {
    JBD_INCOMPAT_REVOKE = 0x1,
    JBD_INCOMPAT_64BIT = 0x2,
    JBD_INCOMPAT_ASYNC_COMMIT = 0x4,
    JBD_INCOMPAT_CSUM_V2 = 0x8,
    JBD_INCOMPAT_CSUM_V3 = 0x10,
    JBD_INCOMPAT_FAST_COMMIT = 0x20,
    JBD_INCOMPAT_KNOWN = 0x3F,
};

/* Tag flags of a descriptor block. */
enum { JBD_TAG_ESCAPED = 1, JBD_TAG_SAME_UUID = 2, JBD_TAG_DELETED = 4, JBD_TAG_LAST = 8 };

#define JBD_HEADER(F, T)                                                                                     \
    F(T, 0x00, 4, BE, h_magic, kind_hex, "0xc03b3998")                                                       \
    F(T, 0x04, 4, BE, h_blocktype, jbd_kind_type, "what this block of the journal is")                       \
    F(T, 0x08, 4, BE, h_sequence, kind_dec, "transaction it belongs to")
LAYOUT_ACCESSORS(jbd_header, JBD_HEADER)

#define JBD_SUPER(F, T)                                                                                      \
    F(T, 0x00, 4, BE, h_magic, kind_hex, "0xc03b3998")                                                       \
    F(T, 0x04, 4, BE, h_blocktype, jbd_kind_type, "3: version 1, ends at 0x24; 4: version 2")                \
    F(T, 0x08, 4, BE, h_sequence, kind_dec, "unused in this block")                                          \
    F(T, 0x0C, 4, BE, s_blocksize, kind_dec, "bytes of a block, that of the volume")                         \
    F(T, 0x10, 4, BE, s_maxlen, kind_dec, "blocks of the journal, fast commit area included")                \
    F(T, 0x14, 4, BE, s_first, kind_dec, "first block of the log")                                           \
    F(T, 0x18, 4, BE, s_sequence, kind_dec, "first transaction expected in the log")                         \
    F(T, 0x1C, 4, BE, s_start, kind_dec, "block where the log begins; 0: nothing to replay")                 \
    F(T, 0x20, 4, BE, s_errno, kind_dec, "error with which the journal was stopped")                         \
    F(T, 0x24, 4, BE, s_feature_compat, kind_hex, "1: checksum in the commit blocks")                        \
    F(T, 0x28, 4, BE, s_feature_incompat, jbd_kind_incompat, "what a replay must understand")                \
    F(T, 0x2C, 4, BE, s_feature_ro_compat, kind_hex, "none is defined")                                      \
    F(T, 0x30, 16, RAW, s_uuid, kind_uuid, "identity; that of the volume, seeds the checksums")              \
    F(T, 0x40, 4, BE, s_nr_users, kind_dec, "volumes that share this journal")                               \
    F(T, 0x44, 4, BE, s_dynsuper, kind_dec, "unused")                                                        \
    F(T, 0x48, 4, BE, s_max_transaction, kind_dec, "unused")                                                 \
    F(T, 0x4C, 4, BE, s_max_trans_data, kind_dec, "unused")                                                  \
    F(T, 0x50, 1, BE, s_checksum_type, kind_dec, "4: crc32c")                                                \
    F(T, 0x51, 3, RAW, s_padding2, kind_reserved, "zero")                                                    \
    F(T, 0x54, 4, BE, s_num_fc_blks, kind_dec, "blocks of the fast commit area at the end; 0: 256")          \
    F(T, 0x58, 4, BE, s_head, kind_dec, "where a clean log ends, with fast commits")                         \
    F(T, 0x5C, 160, RAW, s_padding, kind_reserved, "zero")                                                   \
    F(T, 0xFC, 4, BE, s_checksum, kind_checksum, "crc32c of this block's first 1024 bytes (v2, v3)")         \
    F(T, 0x100, 768, RAW, s_users, kind_bytes, "UUIDs of the volumes that share this journal")
LAYOUT_ACCESSORS(jbd_super, JBD_SUPER)
enum { JBD_SUPER_SIZE = 1024 };

#define JBD_COMMIT_BLOCK(F, T)                                                                               \
    F(T, 0x00, 4, BE, h_magic, kind_hex, "0xc03b3998")                                                       \
    F(T, 0x04, 4, BE, h_blocktype, jbd_kind_type, "2: commit")                                               \
    F(T, 0x08, 4, BE, h_sequence, kind_dec, "transaction that ends here")                                    \
    F(T, 0x0C, 1, BE, h_chksum_type, kind_dec, "version 1: 1: crc32")                                        \
    F(T, 0x0D, 1, BE, h_chksum_size, kind_dec, "version 1: 4")                                               \
    F(T, 0x0E, 2, RAW, h_padding, kind_reserved, "zero")                                                     \
    F(T, 0x10, 4, BE, h_chksum, kind_hex, "version 1: crc32 of the transaction; 2 and 3: of this block")     \
    F(T, 0x14, 28, RAW, h_chksum_rest, kind_reserved, "zero")                                                \
    F(T, 0x30, 8, BE, h_commit_sec, kind_time, "when it was committed")                                      \
    F(T, 0x38, 4, BE, h_commit_nsec, kind_dec, "nanoseconds of it")
LAYOUT_ACCESSORS(jbd_commit, JBD_COMMIT_BLOCK)

/* Checksum at the end of descriptor and revoke blocks (v2, v3). */
enum { JBD_TAIL_SIZE = 4, JBD_HEADER_SIZE = 12, JBD_REVOKE_HEADER = 16 };

/* A run of the journal's file. */
struct ext_journal_run {
    uint64_t first; /* block of the file */
    uint64_t start; /* block of the volume */
    uint64_t len;
};

struct ext_journal {
    struct ext_fs *ext;
    struct device *base; /* the volume's device, below any overlay */
    struct device *log;  /* what the journal lies on: base, or a device of its own */
    uint32_t at;         /* block of its superblock: 0 in a file; its own device begins with one of ext */
    struct ext_journal_run *runs;
    size_t run_count, run_capacity;
    uint8_t super[JBD_SUPER_SIZE];
    uint32_t blocks;     /* of the file, as far as the journal goes (s_maxlen) */
    uint32_t first, end; /* the log is the ring first..end */
    uint32_t fast_first; /* fast commits: fast_first..blocks; 0: there is no such area */
    uint32_t sequence;   /* first transaction in the log */
    uint32_t start;      /* where it begins; 0: the log is empty */
    unsigned checksums;  /* version: 0 none, 1 in commit blocks, 2, 3 */
    bool wide;           /* 64-bit block numbers */
    uint32_t seed;       /* of checksums */
    uint32_t end_tid;    /* after the log was scanned: the transaction that is not there any more */
    uint64_t replayed;   /* blocks written */
    bool from_backup;    /* the inode is damaged: its copy in the superblock was used */
    bool damaged;        /* some block of a transaction had to be left out */
    uint8_t *block;      /* one block of scratch */
};

/* ---- journal.c: the journal itself ---- */

/* Find the journal's file and superblock. E_UNSUPPORTED: it lies on another device, or unknown features. */
bool ext_journal_open(struct ext_fs *, struct ext_journal *, struct error *) DISH_CHECKED;
/* The same for the external journal of the volume. E_NOENT: `log` is not that. */
bool ext_journal_open_on(struct ext_fs *, struct device *log, struct ext_journal *,
                         struct error *) DISH_CHECKED;
void ext_journal_close(struct ext_journal *);
/* The block of the volume that holds a block of the journal. */
bool ext_journal_locate(const struct ext_journal *, uint32_t block, uint64_t *volume_block,
                        struct error *) DISH_CHECKED;
bool ext_journal_read(const struct ext_journal *, uint32_t block, uint8_t *bytes,
                      struct error *) DISH_CHECKED;
/* An empty journal whose next transaction is `sequence`. */
bool ext_journal_reset(struct ext_journal *, uint32_t sequence, struct error *) DISH_CHECKED;

/* ---- journal_log.c: replay of the log ---- */

/* Replay into the overlay, or in place (overlay NULL). Sets end_tid, replayed and damaged. */
bool ext_journal_replay(struct ext_journal *, struct device *overlay, struct error *) DISH_CHECKED;

/* ---- journal_fast.c: replay of fast commits ---- */

/* Those that belong after end_tid, into target (a device on which the log is replayed already). */
bool ext_fast_replay(struct ext_journal *, struct device *target, struct error *) DISH_CHECKED;

/* ---- journal_overlay.c ---- */

/*
 * A device that shows base with some blocks replaced: by other blocks of base (nothing is copied) or by what
 * was written to it (kept in memory). base is not changed and not owned.
 */
struct device *ext_overlay_new(struct device *base, uint32_t block_size, struct error *) DISH_CHECKED;
/* From now on `block` reads as base's block `from`; escaped:
 * but for its first 4 bytes, the journal's magic. */
bool ext_overlay_map(struct device *overlay, uint64_t block, uint64_t from, bool escaped,
                     struct error *) DISH_CHECKED;

#endif
