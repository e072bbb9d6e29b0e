/* Entry sets of files and directories (sections 7.4, 7.6, 7.7). */
#include "exfat.h"
#include "localtime.h"
#include "utf.h"

#include <sys/stat.h>

uint16_t exfat_set_checksum(const uint8_t *raw, uint32_t count)
{
    uint16_t sum = 0;
    for (uint32_t i = 0; i < count * ENTRY_SIZE; i++)
        if (i != 2 && i != 3)
            sum = (uint16_t)((sum << 15 | sum >> 1) + raw[i]);
    return sum;
}

void exfat_set_name(const uint8_t *raw, uint32_t count, struct dosname *name)
{
    unsigned length = (unsigned)exfat_stream_NameLength(raw + ENTRY_SIZE);
    name->count = 0;
    for (uint32_t i = 2; i < count && name->count < length; i++) {
        unsigned n = MIN_OF(length - name->count, NAME_UNITS);
        if (raw[i * ENTRY_SIZE] != TYPE_NAME)
            break;
        utf16_load_le(raw + i * ENTRY_SIZE + exfat_name_off_FileName, name->units + name->count, n);
        name->count += n;
    }
}

void exfat_set_stream(const uint8_t *raw, struct exfat_stream *s)
{
    const uint8_t *stream = raw + ENTRY_SIZE;
    *s = (struct exfat_stream){.first = (uint32_t)exfat_stream_FirstCluster(stream),
                               .contiguous = exfat_stream_GeneralSecondaryFlags(stream) & FLAG_NO_FAT_CHAIN,
                               .size = exfat_stream_DataLength(stream),
                               .valid = exfat_stream_ValidDataLength(stream)};
}

void exfat_set_put_stream(uint8_t *raw, const struct exfat_stream *s)
{
    uint8_t *stream = raw + ENTRY_SIZE;
    exfat_stream_set_GeneralSecondaryFlags(
        stream, FLAG_ALLOCATION | (s->first && s->contiguous ? (unsigned)FLAG_NO_FAT_CHAIN : 0u));
    exfat_stream_set_FirstCluster(stream, s->first);
    exfat_stream_set_DataLength(stream, s->size);
    exfat_stream_set_ValidDataLength(stream, s->valid);
}

static const char *stream_fault(const struct exfat *exfat, const uint8_t *raw)
{
    struct exfat_stream s;
    exfat_set_stream(raw, &s);
    if (s.valid > s.size)
        return "ValidDataLength is larger than DataLength";
    if (s.size > (uint64_t)exfat->g.clusters << exfat->g.cluster_shift)
        return "DataLength is larger than the volume";
    if (s.first == 0)
        return s.size == 0 ? NULL : "there are bytes but no first cluster";
    if (!exfat_valid_cluster(exfat, s.first))
        return "the first cluster is out of range";
    if (s.contiguous && exfat_clusters_for(exfat, s.size) > exfat->g.clusters - (s.first - 2))
        return "the run of clusters reaches past the volume";
    return NULL;
}

const char *exfat_set_fault(const struct exfat *exfat, const uint8_t *raw, uint32_t count)
{
    struct dosname name;
    if (count < 3 || raw[ENTRY_SIZE] != TYPE_STREAM || raw[2 * ENTRY_SIZE] != TYPE_NAME)
        return "the entry set is not whole";
    for (uint32_t i = 1; i < count; i++)
        if ((raw[i * ENTRY_SIZE] & (TYPE_IN_USE | TYPE_SECONDARY)) != (TYPE_IN_USE | TYPE_SECONDARY))
            return "the entry set is not whole";
    if (exfat_set_checksum(raw, count) != exfat_file_SetChecksum(raw))
        return "the entry set's checksum is wrong";
    exfat_set_name(raw, count, &name);
    if (name.count != exfat_stream_NameLength(raw + ENTRY_SIZE))
        return "the name has fewer units than its length says";
    const char *fault = dosname_fault(&name);
    if (!fault)
        fault = stream_fault(exfat, raw);
    if (fault || !(exfat_file_FileAttributes(raw) & EXFAT_DIRECTORY))
        return fault;
    uint64_t size = exfat_stream_DataLength(raw + ENTRY_SIZE);
    if (size % exfat->g.cluster_size != 0 || size > MAX_DIR_BYTES)
        return "the directory's length is not whole clusters or more than 256 MiB";
    if (exfat_stream_FirstCluster(raw + ENTRY_SIZE) == exfat->g.root)
        return "the directory contains the root";
    return NULL;
}

bool exfat_set_load(struct exfat *exfat, fs_id id, struct exfat_set *set, struct error *err)
{
    uint64_t off;
    set->slot = (uint32_t)(id & 0xFFFFFF);
    if (id == ROOT_ID)
        return fail(err, E_INVALID, "the root directory has no entry");
    if (!exfat_dir_of_cluster(exfat, (uint32_t)(id >> 24), &set->dir, err) ||
        !exfat_slots_read(exfat, set->dir, set->slot, 1, set->raw, err) ||
        !exfat_slot_off(exfat, set->dir, set->slot, &off, err))
        return false;
    if (set->raw[0] != TYPE_FILE)
        return fail(err, E_NOENT, "the directory entry #%llu is no file's", (unsigned long long)id);
    set->count = 1 + (uint32_t)exfat_file_SecondaryCount(set->raw);
    if (set->slot + set->count > set->dir->slots)
        return damaged(err, exfat->fs.device, off, "the entry set reaches past the directory");
    if (!exfat_slots_read(exfat, set->dir, set->slot + 1, set->count - 1, set->raw + ENTRY_SIZE, err))
        return false;
    const char *fault = exfat_set_fault(exfat, set->raw, set->count);
    return !fault || damaged(err, exfat->fs.device, off, "%s", fault);
}

bool exfat_set_store(struct exfat *exfat, struct exfat_set *set, struct error *err)
{
    exfat_file_set_SetChecksum(set->raw, exfat_set_checksum(set->raw, set->count));
    return exfat_slots_write(exfat, set->dir, set->slot, set->count, set->raw, err);
}

uint32_t exfat_set_make(const struct exfat *exfat, const struct dosname *name, uint8_t *raw)
{
    uint32_t parts = (name->count + NAME_UNITS - 1) / NAME_UNITS;
    memset(raw + 2 * ENTRY_SIZE, 0, (size_t)parts * ENTRY_SIZE);
    raw[0] = TYPE_FILE;
    exfat_file_set_SecondaryCount(raw, parts + 1);
    raw[ENTRY_SIZE] = TYPE_STREAM;
    exfat_stream_set_NameLength(raw + ENTRY_SIZE, name->count);
    exfat_stream_set_NameHash(raw + ENTRY_SIZE, exfat_name_hash(exfat, name));
    for (uint32_t i = 0; i < parts; i++) {
        uint8_t *entry = raw + (2 + i) * ENTRY_SIZE;
        entry[0] = TYPE_NAME;
        utf16_store_le(entry + exfat_name_off_FileName, name->units + i * NAME_UNITS,
                       MIN_OF(name->count - i * NAME_UNITS, (unsigned)NAME_UNITS));
    }
    return 2 + parts;
}

/* ---- times --------------------------------------------------------------------------------------------- */

/* A zone is stored in quarters of an hour; another offset is rounded down to one. */
static int zone_quarters(void)
{
    int minutes = localtime_offset();
    return minutes >= 0 ? minutes / 15 : -((-minutes + 14) / 15);
}

static uint32_t encode_time(struct fs_time t, uint8_t *tenth, uint8_t *offset)
{
    struct civil_time c = civil_from_seconds(t.sec + zone_quarters() * 900);
    *tenth = (uint8_t)(c.second % 2 * 100 + t.nsec / 10000000);
    *offset = (uint8_t)(0x80 | (zone_quarters() & 0x7F));
    if (c.year < 1980) {
        c = (struct civil_time){.year = 1980, .month = 1, .day = 1};
        *tenth = 0;
    } else if (c.year > 2107) {
        c = (struct civil_time){.year = 2107, .month = 12, .day = 31, .hour = 23, .minute = 59, .second = 59};
        *tenth = 199;
    }
    return (uint32_t)(c.year - 1980) << 25 | c.month << 21 | c.day << 16 | c.hour << 11 | c.minute << 5 |
           c.second / 2;
}

struct fs_time exfat_time_decode(uint32_t stamp, uint8_t tenth, uint8_t offset)
{
    struct civil_time c = {.year = 1980 + (stamp >> 25),
                           .month = MIN_OF(MAX_OF(stamp >> 21 & 15u, 1u), 12u),
                           .day = MAX_OF(stamp >> 16 & 31u, 1u),
                           .hour = stamp >> 11 & 31u,
                           .minute = stamp >> 5 & 63u,
                           .second = (stamp & 31u) * 2};
    int zone = offset & 0x80 ? ((offset & 0x7F) ^ 0x40) * 900 - 0x40 * 900 : localtime_offset() * 60;
    tenth = MIN_OF(tenth, 199);
    return (struct fs_time){.sec = civil_to_seconds(&c) - zone + tenth / 100,
                            .nsec = tenth % 100 * 10000000u};
}

void exfat_set_times(uint8_t *raw, const struct fs_attr *attr, unsigned mask)
{
    uint8_t tenth, offset;
    if (mask & ATTR_MTIME) {
        exfat_file_set_LastModifiedTimestamp(raw, encode_time(attr->mtime, &tenth, &offset));
        exfat_file_set_LastModified10msIncrement(raw, tenth);
        exfat_file_set_LastModifiedUtcOffset(raw, offset);
    }
    if (mask & ATTR_ATIME) {
        exfat_file_set_LastAccessedTimestamp(raw, encode_time(attr->atime, &tenth, &offset));
        exfat_file_set_LastAccessedUtcOffset(raw, offset);
    }
    if (mask & ATTR_CRTIME) {
        exfat_file_set_CreateTimestamp(raw, encode_time(attr->crtime, &tenth, &offset));
        exfat_file_set_Create10msIncrement(raw, tenth);
        exfat_file_set_CreateUtcOffset(raw, offset);
    }
}

/* ---- attributes ---------------------------------------------------------------------------------------- */

static const struct {
    uint16_t attr;
    uint32_t flag;
} dos_flags[] = {
    {EXFAT_READ_ONLY, FS_FLAG_DOS_READONLY},
    {EXFAT_HIDDEN, FS_FLAG_DOS_HIDDEN},
    {EXFAT_SYSTEM, FS_FLAG_DOS_SYSTEM},
    {EXFAT_ARCHIVE, FS_FLAG_DOS_ARCHIVE},
};

void exfat_set_read_times(const uint8_t *raw, struct fs_attr *attr)
{
    attr->mtime = exfat_time_decode((uint32_t)exfat_file_LastModifiedTimestamp(raw),
                                    (uint8_t)exfat_file_LastModified10msIncrement(raw),
                                    (uint8_t)exfat_file_LastModifiedUtcOffset(raw));
    attr->ctime = attr->mtime;
    attr->atime = exfat_time_decode((uint32_t)exfat_file_LastAccessedTimestamp(raw), 0,
                                    (uint8_t)exfat_file_LastAccessedUtcOffset(raw));
    attr->crtime = exfat_time_decode((uint32_t)exfat_file_CreateTimestamp(raw),
                                     (uint8_t)exfat_file_Create10msIncrement(raw),
                                     (uint8_t)exfat_file_CreateUtcOffset(raw));
    attr->has_crtime = true;
}

static bool root_attr(struct exfat *exfat, struct fs_attr *attr, struct error *err)
{
    struct exfat_dir *dir;
    if (!exfat_dir_open(exfat, ROOT_ID, &dir, err))
        return false;
    attr->mode = S_IFDIR | 0755;
    attr->size = attr->allocated = dir->stream.size;
    attr->mtime = attr->atime = attr->ctime = (struct fs_time){.sec = exfat->limits.time_min};
    return true;
}

bool exfat_getattr(struct fs *fs, fs_id id, struct fs_attr *attr, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_set set;
    struct exfat_stream s;
    *attr = (struct fs_attr){.id = id, .nlink = 1};
    if (id == ROOT_ID)
        return root_attr(exfat, attr, err);
    if (!exfat_set_load(exfat, id, &set, err))
        return false;
    unsigned bits = (unsigned)exfat_file_FileAttributes(set.raw);
    exfat_set_stream(set.raw, &s);
    attr->size = s.size;
    attr->allocated = (uint64_t)exfat_clusters_for(exfat, s.size) << exfat->g.cluster_shift;
    attr->mode = bits & EXFAT_DIRECTORY   ? S_IFDIR | 0755
                 : bits & EXFAT_READ_ONLY ? S_IFREG | 0444
                                          : S_IFREG | 0644;
    for (size_t i = 0; i < ARRAY_LEN(dos_flags); i++)
        if (bits & dos_flags[i].attr)
            attr->flags |= dos_flags[i].flag;
    exfat_set_read_times(set.raw, attr);
    return true;
}

bool exfat_setattr(struct fs *fs, fs_id id, const struct fs_attr *attr, unsigned mask, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_set set;
    uint32_t known = FS_FLAG_DOS_READONLY | FS_FLAG_DOS_HIDDEN | FS_FLAG_DOS_SYSTEM | FS_FLAG_DOS_ARCHIVE;
    if ((mask & ATTR_FLAGS) && (attr->flags & ~known))
        return fail(err, E_UNSUPPORTED,
                    "exFAT has the attributes read-only, hidden, system and archive only");
    if (id == ROOT_ID)
        return !(mask & ATTR_FLAGS) ||
               fail(err, E_UNSUPPORTED, "the root directory of an exFAT volume has no attributes");
    if (!exfat_set_load(exfat, id, &set, err))
        return false;
    unsigned bits = (unsigned)exfat_file_FileAttributes(set.raw);
    if ((mask & ATTR_MODE) && !(bits & EXFAT_DIRECTORY))
        bits = attr->mode & 0222 ? bits & ~(unsigned)EXFAT_READ_ONLY : bits | EXFAT_READ_ONLY;
    for (size_t i = 0; (mask & ATTR_FLAGS) && i < ARRAY_LEN(dos_flags); i++)
        bits =
            attr->flags & dos_flags[i].flag ? bits | dos_flags[i].attr : bits & ~(unsigned)dos_flags[i].attr;
    exfat_file_set_FileAttributes(set.raw, bits);
    exfat_set_times(set.raw, attr, mask);
    return exfat_set_store(exfat, &set, err);
}
