/*
 * The up-case table (section 7.2). A volume whose table cannot be used is read by the recommended one
 * (section 7.2.5.1), as Linux does, and not changed before fsck wrote that one.
 */
#include "upcase.h"
#include "exfat.h"

#include <stdarg.h>
#include <stdio.h>

enum { TABLE_UNITS = 65536, PACK_FROM = 512 /* shorter runs of identity are written out */ };

uint32_t exfat_table_checksum(uint32_t sum, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum << 31 | sum >> 1) + bytes[i];
    return sum;
}

/*
 * What each unit maps to, one after the other; but 0xFFFF and a count stand for that many units that map to
 * themselves. False: the table ends too early.
 */
static bool unpack(const uint8_t *bytes, size_t size, uint16_t *units)
{
    uint32_t at = 0;
    for (size_t i = 0; i + 1 < size && at < TABLE_UNITS; i += 2) {
        uint16_t unit = load_le16(bytes + i);
        if (unit != 0xFFFF || i + 3 >= size) {
            units[at++] = unit;
            continue;
        }
        i += 2;
        for (uint32_t run = load_le16(bytes + i); run > 0 && at < TABLE_UNITS; run--, at++)
            units[at] = (uint16_t)at;
    }
    if (at == TABLE_UNITS - 1) /* no character, and left out by some */
        units[at++] = TABLE_UNITS - 1;
    return at == TABLE_UNITS;
}

/* Why the volume's own table is not used. */
static bool unusable(struct exfat *exfat, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(exfat->upcase_fault, sizeof exfat->upcase_fault, fmt, args);
    va_end(args);
    return true;
}

bool exfat_table_read(struct exfat *exfat, const struct exfat_stream *s, uint8_t *bytes, struct error *err)
{
    for (uint64_t off = 0; off < s->size;) {
        uint32_t cluster, len, inside = (uint32_t)(off & (exfat->g.cluster_size - 1));
        if (!exfat_stream_map(exfat, s, (uint32_t)(off >> exfat->g.cluster_shift), &cluster, &len, err))
            return false;
        uint64_t n = MIN_OF(((uint64_t)len << exfat->g.cluster_shift) - inside, s->size - off);
        if (!device_read(exfat->fs.device, exfat_cluster_off(exfat, cluster) + inside, bytes + off, (size_t)n,
                         err))
            return false;
        off += n;
    }
    return true;
}

/* The table of the volume; exfat->upcase_fault says why it cannot be used. */
static bool load_own(struct exfat *exfat, const uint8_t *entry, struct error *err)
{
    uint32_t first = (uint32_t)exfat_upcase_FirstCluster(entry);
    uint64_t size = exfat_upcase_DataLength(entry);
    struct exfat_stream stream;
    if (size == 0 || size > TABLE_UNITS * 2 || size % 2 != 0 ||
        !exfat_table_stream(exfat, first, size, &stream))
        return unusable(exfat, "the up-case table has first cluster %u and %llu bytes", first,
                        (unsigned long long)size);
    exfat->upcase_place = stream;
    uint8_t *bytes = mem_new((size_t)size, err);
    bool ok = bytes && exfat_table_read(exfat, &stream, bytes, err);
    uint32_t expected = (uint32_t)exfat_upcase_TableChecksum(entry);
    uint32_t sum = ok ? exfat_table_checksum(0, bytes, (size_t)size) : expected;
    if (sum != expected)
        unusable(exfat, "the up-case table's checksum is 0x%08x, not 0x%08x", sum, expected);
    else if (ok && !unpack(bytes, (size_t)size, exfat->upcase))
        unusable(exfat, "the up-case table ends before unit 0xffff");
    free(bytes);
    return ok;
}

bool exfat_upcase_load(struct exfat *exfat, const uint8_t *entry, struct error *err)
{
    exfat->upcase_fault[0] = '\0';
    exfat->upcase_place = (struct exfat_stream){.first = 0};
    if (!exfat->upcase)
        exfat->upcase = mem_array(TABLE_UNITS, sizeof *exfat->upcase, err);
    if (!exfat->upcase)
        return false;
    if (!entry)
        unusable(exfat, "the root directory has no up-case table");
    else if (!load_own(exfat, entry, err))
        return false;
    for (uint32_t unit = 0; exfat->upcase_fault[0] && unit < TABLE_UNITS; unit++)
        exfat->upcase[unit] = upcase_unit((uint16_t)unit);
    return true;
}

static uint32_t identity_run(uint32_t at)
{
    uint32_t n = 0;
    while (at + n < 0xFFFF && upcase_unit((uint16_t)(at + n)) == at + n)
        n++;
    return n;
}

bool exfat_upcase_pack(uint8_t **bytes, size_t *size, struct error *err)
{
    *size = 0;
    *bytes = mem_new(TABLE_UNITS * 2, err);
    if (!*bytes)
        return false;
    for (uint32_t at = 0; at < TABLE_UNITS;) {
        uint32_t run = identity_run(at), literal = run ? run : 1;
        if (run >= PACK_FROM) {
            store_le16(*bytes + *size, 0xFFFF);
            store_le16(*bytes + *size + 2, (uint16_t)run);
            *size += 4;
            at += run;
            continue;
        }
        for (; literal > 0; literal--, at++, *size += 2)
            store_le16(*bytes + *size, upcase_unit((uint16_t)at));
    }
    return true;
}

/* The clusters of bitmap and up-case table are chained even where they lie in one row:
 * they have no flag that says otherwise. */
static bool link_row(struct exfat *exfat, const struct exfat_stream *s, uint32_t count, struct error *err)
{
    for (uint32_t i = 0; s->contiguous && i < count; i++)
        if (!exfat_fat_set(exfat, s->first + i, i + 1 < count ? s->first + i + 1 : CLUSTER_END, err))
            return false;
    return true;
}

static bool write_table(struct exfat *exfat, const struct exfat_stream *s, const uint8_t *bytes,
                        struct error *err)
{
    uint32_t cluster, len;
    for (uint64_t off = 0; off < s->size; off += (uint64_t)len << exfat->g.cluster_shift) {
        if (!exfat_stream_map(exfat, s, (uint32_t)(off >> exfat->g.cluster_shift), &cluster, &len, err))
            return false;
        uint64_t n = MIN_OF((uint64_t)len << exfat->g.cluster_shift, s->size - off);
        if (!device_write(exfat->fs.device, exfat_cluster_off(exfat, cluster), bytes + off, (size_t)n,
                          WRITE_UPDATE, err))
            return false;
    }
    return true;
}

/* Give it `count` clusters in one row, as Linux reads them whatever the FAT says, if there is such a row. */
static bool take_row(struct exfat *exfat, struct exfat_stream *s, uint32_t count, struct error *err)
{
    uint32_t have, first, len;
    if (!exfat_stream_to_grow(exfat, s, count, &have, err) ||
        !exfat_stream_map(exfat, s, 0, &first, &len, err))
        return false;
    return exfat_stream_cut(exfat, s, len < count ? 0 : count, err) &&
           exfat_stream_grow(exfat, s, count, 0, err);
}

bool exfat_upcase_restore(struct exfat *exfat, struct exfat_stream *old, struct error *err)
{
    uint8_t entry[ENTRY_SIZE] = {TYPE_UPCASE}, *bytes;
    size_t size;
    if (!exfat_upcase_pack(&bytes, &size, err))
        return false;
    uint32_t count = exfat_clusters_for(exfat, size);
    bool ok = take_row(exfat, old, count, err);
    old->size = old->valid = size;
    exfat_upcase_set_TableChecksum(entry, exfat_table_checksum(0, bytes, size));
    exfat_upcase_set_FirstCluster(entry, old->first);
    exfat_upcase_set_DataLength(entry, size);
    ok = ok && link_row(exfat, old, count, err) && write_table(exfat, old, bytes, err) &&
         exfat_root_store(exfat, entry, err) && exfat_upcase_load(exfat, entry, err);
    free(bytes);
    return ok;
}
