/*
 * GUID partition table (UEFI specification 2.10, 5.3):
 *
 *     LBA 0            1        2 .. 33       34 ..                       .. -34      -33 .. -2     -1
 *     | protective MBR | header | entries ... | first usable ... last usable | entries ... | backup header |
 *                      `- MyLBA, AlternateLBA, FirstUsableLBA, LastUsableLBA, PartitionEntryLBA
 *
 * Both headers carry a CRC-32 of themselves and one of the entry array. The copies differ only in MyLBA,
 * AlternateLBA, PartitionEntryLBA and the header's CRC.
 *
 * Invariants while a table is open:
 *  1. struct gpt.used points at a copy whose header and array passed all checks; the array of struct part was
 *     made from it.
 *  2. What this code does not know (reserved bytes, longer headers and entries, bytes behind a name's end) is
 *     kept from the used copy for every entry that lives on.
 */
#ifndef DISH_GPT_H
#define DISH_GPT_H

#include "layout.h"
#include "sector0.h"
#include "table.h"

#define GPT_HEADER(F, T)                                                                                     \
    F(T, 0, 8, RAW, Signature, kind_text, "marks the header")                                                \
    F(T, 8, 4, LE, Revision, kind_hex, "0x00010000: version 1.0")                                            \
    F(T, 12, 4, LE, HeaderSize, kind_dec, "bytes that HeaderCRC32 covers")                                   \
    F(T, 16, 4, LE, HeaderCRC32, kind_checksum, "CRC-32 of the header, this field zero")                     \
    F(T, 20, 4, LE, Reserved, kind_reserved, "zero")                                                         \
    F(T, 24, 8, LE, MyLBA, kind_dec, "where this header lies")                                               \
    F(T, 32, 8, LE, AlternateLBA, kind_dec, "where the other header lies")                                   \
    F(T, 40, 8, LE, FirstUsableLBA, kind_dec, "first sector for partitions")                                 \
    F(T, 48, 8, LE, LastUsableLBA, kind_dec, "last sector for partitions")                                   \
    F(T, 56, 16, RAW, DiskGUID, kind_guid, "identifies the disk")                                            \
    F(T, 72, 8, LE, PartitionEntryLBA, kind_dec, "first sector of the entry array")                          \
    F(T, 80, 4, LE, NumberOfPartitionEntries, kind_dec, "entries in the array, used or not")                 \
    F(T, 84, 4, LE, SizeOfPartitionEntry, kind_dec, "128, 256, 512 ...")                                     \
    F(T, 88, 4, LE, PartitionEntryArrayCRC32, kind_checksum, "CRC-32 of the entry array")

#define GPT_ENTRY(F, T)                                                                                      \
    F(T, 0, 16, RAW, PartitionTypeGUID, kind_gpt_type, "what the partition is for; zero: unused")            \
    F(T, 16, 16, RAW, UniquePartitionGUID, kind_guid, "identifies the partition")                            \
    F(T, 32, 8, LE, StartingLBA, kind_dec, "first sector")                                                   \
    F(T, 40, 8, LE, EndingLBA, kind_dec, "last sector, inclusive")                                           \
    F(T, 48, 8, LE, Attributes, kind_gpt_attributes, "flags; 48 to 63 belong to the type")                   \
    F(T, 56, 72, RAW, PartitionName, kind_utf16le, "name")

LAYOUT_ACCESSORS(gpt_header, GPT_HEADER)
LAYOUT_ACCESSORS(gpt_entry, GPT_ENTRY)

enum {
    GPT_HEADER_SIZE = 92,
    GPT_ENTRY_SIZE = 128,
    GPT_ENTRIES = 128,
    GPT_REVISION = 0x00010000,
    GPT_NAME_UNITS = 36,
    GPT_ARRAY_MIN = 16384, /* bytes that UEFI wants reserved for the array */
    GPT_ARRAY_MAX = 4 * 1024 * 1024,
    GPT_ENTRY_MAX = 4096,
};
#define GPT_MAGIC "EFI PART"

struct gpt_copy {
    uint64_t lba;     /* where it was looked for */
    uint8_t *header;  /* one sector */
    uint8_t *entries; /* the array, when entries_ok */
    bool present;     /* the signature is there */
    bool header_ok, entries_ok;
    char fault[200]; /* the first thing that is wrong */
};

struct gpt {
    struct gpt_copy primary, backup;
    struct gpt_copy *used;
    uint8_t sector0[MBR_SIZE];
    enum sector0 sector0_kind;
};

extern const struct part_type gpt_types[];
extern const struct part_attribute gpt_attributes[];
extern const struct table_driver gpt_driver;

/* Place, type, GUID, name and attributes of an entry; number and entry_off stay. */
void gpt_decode_entry(const void *entry, uint32_t sector_size, struct part *);

static inline bool gpt_copy_ok(const struct gpt_copy *copy)
{
    return copy->header_ok && copy->entries_ok;
}

static inline uint64_t gpt_array_size(const void *header)
{
    return gpt_header_NumberOfPartitionEntries(header) * gpt_header_SizeOfPartitionEntry(header);
}

/* Sectors that the array takes. */
static inline uint64_t gpt_array_sectors(const void *header, uint32_t sector_size)
{
    return div_up(gpt_array_size(header), sector_size);
}

/* ---- copies: gpt_copy.c ---- */

/* The sector size by where a header lies: 512 or 4096; 0: there is none at either. */
uint32_t gpt_sector_size(struct device *disk);
/* Read both copies, wherever they are, and choose the one to use (NULL: neither is sound). */
bool gpt_read_copies(struct gpt *, struct device *disk, uint32_t sector_size, struct error *) DISH_CHECKED;
void gpt_free_copies(struct gpt *);
uint32_t gpt_header_crc(const void *header);
uint32_t gpt_array_crc(const void *header, const void *entries);

/* ---- storing: gpt_store.c ---- */

/* The sector behind the last usable one when the backup lies at the disk's end. */
uint64_t gpt_usable_end(const struct device *disk, uint32_t sector_size, const void *header);
/* The headers of a new table with `entries` entries, not yet on the disk; needs room for them. */
bool gpt_store(struct table *, struct error *) DISH_CHECKED;
/* The record that protects the GPT from tools that know only MBRs: made or brought up to date. */
void gpt_protect(struct gpt *, uint64_t disk_sectors);

/* ---- gpt_verify.c, gpt_show.c ---- */
bool gpt_verify(struct table *, struct check *, struct error *);
bool gpt_locate(void *opened, const char *structure, const char *args, struct place *, struct error *);
bool gpt_owner(void *opened, uint64_t off, struct owner *, struct error *);
extern const struct layout *const gpt_layouts[];

#endif
