#include "sector0.h"

enum { NTFS_OEM_OFF = 3, EXT_SUPER_OFF = 1024, EXT_SUPER_SIZE = 1024 };

bool sector0_read(struct device *disk, void *sector, struct error *err)
{
    return device_read(disk, 0, sector, MBR_SIZE, err);
}

/* Records are judged together: one that makes no sense spoils the table, as code or text would. */
static bool records_make_sense(const void *sector, uint64_t disk_sectors, unsigned *used, bool *protective)
{
    *used = 0;
    *protective = false;
    for (unsigned i = 0; i < MBR_RECORDS; i++) {
        const uint8_t *record = mbr_record(sector, i);
        if (mbr_record_BootIndicator(record) & 0x7f)
            return false;
        if (!mbr_record_used(record))
            continue;
        if (mbr_record_StartingLBA(record) == 0 || mbr_record_StartingLBA(record) >= disk_sectors)
            return false;
        *protective = *protective || mbr_record_OSType(record) == MBR_TYPE_PROTECTIVE;
        ++*used;
    }
    return true;
}

/* The BIOS parameter block that FAT, exFAT and NTFS begin with. */
static bool has_boot_sector(const uint8_t *s)
{
    if (memcmp(s + NTFS_OEM_OFF, "EXFAT   ", 8) == 0 || memcmp(s + NTFS_OEM_OFF, "NTFS    ", 8) == 0)
        return true;
    unsigned sector = load_le16(s + 11), cluster = s[13], reserved = load_le16(s + 14), fats = s[16];
    unsigned small = load_le16(s + 19), media = s[21], fat_size = load_le16(s + 22);
    bool jump = (s[0] == 0xeb && s[2] == 0x90) || s[0] == 0xe9;
    return jump && is_power_of_two(sector) && sector >= 512 && sector <= 4096 && is_power_of_two(cluster) &&
           reserved > 0 && (fats == 1 || fats == 2) && (media == 0xf0 || media >= 0xf8) &&
           (small != 0 || load_le32(s + 32) != 0) && (fat_size != 0 || load_le32(s + 36) != 0);
}

/* Whether what the parameter block promises is there: the first FAT begins with the media byte. */
static bool boot_sector_holds(struct device *disk, const uint8_t *s)
{
    struct error ignored;
    uint8_t fat[4];
    uint64_t off = (uint64_t)load_le16(s + 11) * load_le16(s + 14);
    if (s[16] == 0) /* exFAT and NTFS have no FAT count here; their name was evidence enough */
        return true;
    if (!range_inside(off, sizeof fat, disk->size) || !device_read(disk, off, fat, sizeof fat, &ignored))
        return false;
    return fat[0] == s[21] && fat[1] == 0xff && fat[2] == 0xff;
}

static bool has_ext_superblock(struct device *disk)
{
    struct error ignored;
    uint8_t s[256];
    if (!range_inside(EXT_SUPER_OFF, sizeof s, disk->size) ||
        !device_read(disk, EXT_SUPER_OFF, s, sizeof s, &ignored))
        return false;
    uint32_t block_log = load_le32(s + 24), blocks = load_le32(s + 4);
    return load_le16(s + 56) == 0xef53 && block_log <= 6 && load_le32(s + 76) <= 1 && load_le32(s) != 0 &&
           blocks != 0 && blocks <= disk->size >> (10 + block_log) && load_le32(s + 32) != 0 &&
           load_le32(s + 40) != 0;
}

/* The copy that FAT32 (sector 6) and exFAT (sector 12) keep of a boot sector that is damaged itself. */
static bool find_boot_copy(struct device *disk, uint64_t *off)
{
    struct error ignored;
    uint8_t s[MBR_SIZE];
    for (uint64_t size = 512; size <= 4096; size *= 2)
        for (uint64_t sector = 6; sector <= 12; sector += 6) {
            *off = sector * size;
            if (!range_inside(*off, sizeof s, disk->size) || !device_read(disk, *off, s, sizeof s, &ignored))
                continue;
            bool exfat = memcmp(s + NTFS_OEM_OFF, "EXFAT   ", 8) == 0 && (uint64_t)1 << (s[108] & 15) == size;
            bool fat32 = has_boot_sector(s) && load_le16(s + 11) == size && load_le16(s + 22) == 0;
            if (sector == 12 ? exfat : fat32 && boot_sector_holds(disk, s))
                return true;
        }
    return false;
}

enum sector0 sector0_judge(struct device *disk, const void *sector, uint32_t sector_size)
{
    unsigned used = 0;
    bool protective = false;
    uint64_t copy;
    bool sound = mbr_Signature(sector) == MBR_SIGNATURE &&
                 records_make_sense(sector, disk->size / sector_size, &used, &protective);
    bool boot_sector = has_boot_sector(sector);
    if (boot_sector && (!sound || used == 0 || boot_sector_holds(disk, sector)))
        return SECTOR0_SUPERFLOPPY;
    if (!sound)
        return SECTOR0_NOTHING;
    if (used > 0)
        return protective ? SECTOR0_PROTECTIVE : SECTOR0_TABLE;
    return has_ext_superblock(disk) || find_boot_copy(disk, &copy) ? SECTOR0_SUPERFLOPPY : SECTOR0_EMPTY;
}

void mbr_store_chs(uint8_t chs[3], uint64_t lba)
{
    enum { HEADS = 255, SECTORS = 63 };
    uint64_t cylinder = lba / (HEADS * SECTORS), head = lba / SECTORS % HEADS, sector = lba % SECTORS + 1;
    if (cylinder > 1023) {
        cylinder = 1023;
        head = HEADS - 1;
        sector = SECTORS;
    }
    chs[0] = (uint8_t)head;
    chs[1] = (uint8_t)(sector | (cylinder >> 2 & 0xc0));
    chs[2] = (uint8_t)cylinder;
}

bool sector0_clean(struct device *disk, enum sector0 what, void *sector, struct error *err)
{
    uint64_t copy;
    if (what == SECTOR0_SUPERFLOPPY)
        memset(sector, 0, MBR_SIZE);
    while (find_boot_copy(disk, &copy))
        if (!device_zero(disk, copy, MBR_SIZE, WRITE_UPDATE, err))
            return false;
    memset((uint8_t *)sector + MBR_BOOT_CODE, 0, MBR_SIZE - MBR_BOOT_CODE);
    mbr_set_Signature(sector, MBR_SIGNATURE);
    return !has_ext_superblock(disk) || device_zero(disk, EXT_SUPER_OFF, EXT_SUPER_SIZE, WRITE_UPDATE, err);
}

bool sector0_boot_code(struct device *disk, uint8_t *sector, uint8_t *code, size_t *len, bool write,
                       struct error *err)
{
    if (code && write) {
        if (*len > MBR_BOOT_CODE)
            return fail(err, E_TOOBIG, "boot code of %zu bytes does not fit: there is room for %d", *len,
                        MBR_BOOT_CODE);
        memset(sector, 0, MBR_BOOT_CODE);
        memcpy(sector, code, *len);
        if (!disk_update(disk, 0, sector, MBR_SIZE, err))
            return false;
    } else if (code) {
        memcpy(code, sector, MIN_OF(*len, MBR_BOOT_CODE));
    }
    *len = MBR_BOOT_CODE;
    return true;
}

bool disk_update(struct device *disk, uint64_t off, const void *bytes, size_t n, struct error *err)
{
    const uint8_t *in = bytes;
    uint8_t old[512];
    for (size_t at = 0; at < n; at += sizeof old) {
        size_t step = MIN_OF(n - at, sizeof old);
        if (!device_read(disk, off + at, old, step, err))
            return false;
        if (memcmp(old, in + at, step) != 0 &&
            !device_write(disk, off + at, in + at, step, WRITE_UPDATE, err))
            return false;
    }
    return true;
}
