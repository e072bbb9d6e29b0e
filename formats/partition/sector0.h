/*
 * The first sector of a disk, and of each logical partition's entry (UEFI 2.10, 5.2.1 "Legacy Master Boot
 * Record"):
 *
 *     0        440          444     446                                  510   512
 *     | boot code | signature | 0000 | record 1 | record 2 | record 3 | record 4 | 55 AA |
 *
 * A filesystem without a partition table puts its boot sector at the same place, with the same last two
 * bytes. The two are told apart by what they hold, see sector0_judge().
 */
#ifndef DISH_SECTOR0_H
#define DISH_SECTOR0_H

#include "device.h"
#include "layout.h"

enum { MBR_SIZE = 512, MBR_RECORDS = 4, MBR_RECORD_SIZE = 16, MBR_BOOT_CODE = 440, MBR_SIGNATURE = 0xaa55 };
enum { MBR_TYPE_PROTECTIVE = 0xee, MBR_ACTIVE = 0x80 };

#define MBR_RECORD(F, T, base, prefix)                                                                       \
    F(T, (base) + 0, 1, LE, prefix##BootIndicator, kind_boot_indicator, "0x80: boot from here")              \
    F(T, (base) + 1, 3, RAW, prefix##StartingCHS, kind_chs, "first sector as cylinder/head/sector")          \
    F(T, (base) + 4, 1, LE, prefix##OSType, kind_os_type, "what the partition is for")                       \
    F(T, (base) + 5, 3, RAW, prefix##EndingCHS, kind_chs, "last sector as cylinder/head/sector")             \
    F(T, (base) + 8, 4, LE, prefix##StartingLBA, kind_dec, "first sector")                                   \
    F(T, (base) + 12, 4, LE, prefix##SizeInLBA, kind_dec, "number of sectors")
#define MBR_LONE_RECORD(F, T) MBR_RECORD(F, T, 0, )

#define MBR_SECTOR(F, T)                                                                                     \
    F(T, 0, 440, RAW, BootCode, kind_bytes, "code that the firmware runs")                                   \
    F(T, 440, 4, LE, UniqueMBRDiskSignature, kind_hex, "disk signature, made at random")                     \
    F(T, 444, 2, LE, Unknown, kind_hex, "usually zero; 0x5a5a: copy protected")                              \
    MBR_RECORD(F, T, 446, Record1_)                                                                          \
    MBR_RECORD(F, T, 462, Record2_)                                                                          \
    MBR_RECORD(F, T, 478, Record3_)                                                                          \
    MBR_RECORD(F, T, 494, Record4_)                                                                          \
    F(T, 510, 2, LE, Signature, kind_hex, "0xaa55")

LAYOUT_ACCESSORS(mbr_record, MBR_LONE_RECORD)
LAYOUT_ACCESSORS(mbr, MBR_SECTOR)

static inline uint8_t *mbr_record(const void *sector, unsigned index)
{
    return (uint8_t *)(uintptr_t)sector + mbr_off_Record1_BootIndicator + MBR_RECORD_SIZE * index;
}

/* The sector as `show mbr` has it; EBRs are alike. */
extern const struct layout mbr_sector_layout;

/* A record in use: it has a type and a length. */
static inline bool mbr_record_used(const void *record)
{
    return mbr_record_OSType(record) != 0 && mbr_record_SizeInLBA(record) != 0;
}

enum sector0 {
    SECTOR0_NOTHING,     /* no signature, or records that make no sense */
    SECTOR0_EMPTY,       /* signature, all records zero: an empty table, unless a filesystem is here */
    SECTOR0_TABLE,       /* at least one record in use, and all of them make sense */
    SECTOR0_PROTECTIVE,  /* the same, and one of them stands for a GPT */
    SECTOR0_SUPERFLOPPY, /* a filesystem over the whole disk */
};

/*
 * What the first sector is, by all evidence: the records (in range of the disk, flag 0x00 or 0x80), the boot
 * sector fields of FAT and NTFS, the ext superblock behind it. sector: its MBR_SIZE bytes.
 */
enum sector0 sector0_judge(struct device *disk, const void *sector, uint32_t sector_size);
bool sector0_read(struct device *disk, void *sector, struct error *) DISH_CHECKED;

/* Cylinder, head and sector of a sector for 255 heads and 63 sectors, as fdisk writes them. */
void mbr_store_chs(uint8_t chs[3], uint64_t lba);

/*
 * Make sector 0 (in memory) an empty table: the boot code stays, unless it is a filesystem's boot sector,
 * which would go on looking like that filesystem. An ext superblock and the copy of a boot sector behind it
 * are taken off the disk for the same reason.
 */
bool sector0_clean(struct device *disk, enum sector0, void *sector, struct error *) DISH_CHECKED;

/* What struct table_driver's boot_code() does;
 * sector is the driver's copy of sector 0 and is kept up to date. */
bool sector0_boot_code(struct device *disk, uint8_t *sector, uint8_t *code, size_t *len, bool write,
                       struct error *) DISH_CHECKED;

/* Write only the 512-byte pieces that differ from what is there. */
bool disk_update(struct device *disk, uint64_t off, const void *bytes, size_t n, struct error *) DISH_CHECKED;

#endif
