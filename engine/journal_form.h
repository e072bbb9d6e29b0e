/* The journal's on-disk form, shared by its writer (journal.c) and its reader (journal_read.c). */
#ifndef DISH_JOURNAL_FORM_H
#define DISH_JOURNAL_FORM_H

#include "layout.h"

#define JOURNAL_SUFFIX ".dish-journal"

/*
 * How a journal knows its image after a crash in the middle of applying: the image is then a mixture, by
 * sectors, of the state before and the state after. So each of the first 128 sectors must have the checksum
 * of one or the other, the size must lie between the two sizes, and the first sector of every record must
 * hold what was there before, what comes, or zeros (a punch that was applied already).
 */
enum { SECTOR = 512, HEAD_SECTORS = 128, HEAD_BYTES = SECTOR * HEAD_SECTORS, SUMS_BYTES = HEAD_SECTORS * 4 };

#define JOURNAL_HEADER(F, T)                                                                                 \
    F(T, 0x00, 8, RAW, magic, kind_text, "\"dishjrnl\"")                                                     \
    F(T, 0x08, 4, LE, version, kind_dec, "1")                                                                \
    F(T, 0x0c, 4, LE, checksum, kind_checksum, "CRC-32C of the header with this field zero")                 \
    F(T, 0x10, 8, LE, size_before, kind_size, "image size before the commit")                                \
    F(T, 0x18, 8, LE, seed, kind_hex, "random; its low half starts every record's checksum")                 \
    F(T, 0x20, 512, RAW, sums_before, kind_bytes, "CRC-32C of each of the first 128 sectors before")

#define JOURNAL_RECORD(F, T)                                                                                 \
    F(T, 0x00, 4, LE, type, kind_dec, "1 write, 2 punch, 3 size, 5 group")                                   \
    F(T, 0x04, 4, LE, checksum, kind_checksum, "CRC-32C of head and data with this field zero")              \
    F(T, 0x08, 8, LE, offset, kind_hex, "where in the image; the new size for type 3")                       \
    F(T, 0x10, 8, LE, length, kind_size, "bytes; of a write or group: that follow this head")                \
    F(T, 0x18, 4, LE, before, kind_checksum, "of a write: CRC-32C of the first sector's old bytes")          \
    F(T, 0x1c, 4, LE, reserved, kind_reserved, "zero")

#define JOURNAL_COMMIT(F, T)                                                                                 \
    F(T, 0x00, 4, LE, type, kind_dec, "4")                                                                   \
    F(T, 0x04, 4, LE, checksum, kind_checksum, "CRC-32C with this field zero")                               \
    F(T, 0x08, 8, LE, size_after, kind_size, "image size after the commit")                                  \
    F(T, 0x10, 8, LE, records, kind_dec, "number of records before this one")                                \
    F(T, 0x18, 4, LE, heads, kind_checksum, "CRC-32C over all record heads")                                 \
    F(T, 0x1c, 4, LE, reserved, kind_reserved, "zero")                                                       \
    F(T, 0x20, 512, RAW, sums_after, kind_bytes, "CRC-32C of each of the first 128 sectors after")

LAYOUT_ACCESSORS(header, JOURNAL_HEADER)
LAYOUT_ACCESSORS(record, JOURNAL_RECORD)
LAYOUT_ACCESSORS(commit, JOURNAL_COMMIT)

enum { HEADER_BYTES = 0x20 + SUMS_BYTES, RECORD_BYTES = 0x20, COMMIT_BYTES = 0x20 + SUMS_BYTES };
enum { RECORD_WRITE = 1, RECORD_PUNCH = 2, RECORD_SIZE = 3, RECORD_COMMIT = 4, RECORD_GROUP = 5 };
enum { VERSION = 1, BUFFER = 1 << 20, DATA_MAX = 1 << 20 };

#define JOURNAL_MAGIC "dishjrnl" /* without a NUL */

/* A group's marker; the names of its journals follow, each with a NUL. */
#define JOURNAL_MARKER(F, T)                                                                                 \
    F(T, 0x00, 8, RAW, magic, kind_text, "\"dishgrup\"")                                                     \
    F(T, 0x08, 4, LE, checksum, kind_checksum, "CRC-32C of the file with this field zero")                   \
    F(T, 0x0c, 4, LE, length, kind_size, "bytes of the names")

LAYOUT_ACCESSORS(marker, JOURNAL_MARKER)

enum { MARKER_BYTES = 0x10, MARKER_MAX = 1 << 20, GROUP_NAME_MAX = 4096 };

#define MARKER_MAGIC "dishgrup" /* without a NUL */

char *journal_path(const char *image_path, struct error *err);
void journal_sum_sectors(const uint8_t *head, uint8_t *sums);
/* Bytes of the image, zeros past its end. */
bool journal_read_padded(struct device *file, uint64_t off, uint8_t *buf, size_t n,
                         struct error *err) DISH_CHECKED;
const char *journal_group_name(const struct journal_group *);
bool journal_group_add(struct journal_group *, const char *journal, struct error *) DISH_CHECKED;
/* Where the marker that a journal names lies now: beside the journal,
 * or where it was; NULL with E_OK: nowhere. */
char *journal_marker_find(const char *name, const char *journal, struct error *) DISH_CHECKED;
/* A journal of the group is in place and goes next: so does the marker when no other journal is left. */
bool journal_marker_drop(const char *name, const char *journal, bool sync, struct error *) DISH_CHECKED;
bool journal_unlink(const char *path, bool sync, struct error *err) DISH_CHECKED;

#endif
