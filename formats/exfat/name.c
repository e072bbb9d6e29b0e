/* Names (section 7.7) and the up-case table (section 7.2). */
#include "exfat.h"
#include "upcase.h"
#include "utf.h"

enum { TABLE_UNITS = 65536, PACK_FROM = 512 /* shorter runs of identity are written out */ };

uint16_t exfat_name_hash(const struct exfat *exfat, const struct dosname *name)
{
    uint16_t hash = 0;
    for (unsigned i = 0; i < name->count; i++) {
        uint16_t unit = exfat->upcase[name->units[i]];
        hash = (uint16_t)((hash << 15 | hash >> 1) + (unit & 0xFF));
        hash = (uint16_t)((hash << 15 | hash >> 1) + (unit >> 8));
    }
    return hash;
}

bool exfat_name_equal(const struct exfat *exfat, const struct dosname *a, const struct dosname *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (exfat->upcase[a->units[i]] != exfat->upcase[b->units[i]])
            return false;
    return true;
}

uint32_t exfat_table_checksum(uint32_t sum, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum << 31 | sum >> 1) + bytes[i];
    return sum;
}

/* Units stand for themselves, but 0xFFFF and a count stand for that many units that map to themselves. */
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
        uint32_t run = load_le16(bytes + i);
        if (run > TABLE_UNITS - at)
            return false;
        for (; run > 0; run--, at++)
            units[at] = (uint16_t)at;
    }
    for (; at < TABLE_UNITS; at++)
        units[at] = (uint16_t)at;
    return true;
}

bool exfat_upcase_load(struct exfat *exfat, uint32_t first, uint64_t size, uint32_t checksum,
                       struct error *err)
{
    struct exfat_stream stream;
    uint64_t place = exfat_valid_cluster(exfat, first) ? exfat_cluster_off(exfat, first) : 0;
    if (place == 0 || size == 0 || size > TABLE_UNITS * 2 || size % 2 != 0 ||
        !exfat_table_stream(exfat, first, size, &stream))
        return damaged(err, exfat->fs.device, place, "the up-case table has first cluster %u and %llu bytes",
                       first, (unsigned long long)size);
    uint8_t *bytes = mem_new((size_t)size, err);
    bool ok = bytes != NULL;
    for (uint64_t off = 0; ok && off < size;) {
        uint32_t cluster, len, inside = (uint32_t)(off & (exfat->g.cluster_size - 1));
        ok = exfat_stream_map(exfat, &stream, (uint32_t)(off >> exfat->g.cluster_shift), &cluster, &len, err);
        if (ok && len == 0)
            ok = damaged(err, exfat->fs.device, place, "the up-case table's chain is shorter than the table");
        if (!ok)
            break;
        uint64_t n = MIN_OF(((uint64_t)len << exfat->g.cluster_shift) - inside, size - off);
        ok = device_read(exfat->fs.device, exfat_cluster_off(exfat, cluster) + inside, bytes + off, (size_t)n,
                         err);
        off += n;
    }
    if (ok && exfat_table_checksum(0, bytes, (size_t)size) != checksum)
        ok = damaged(err, exfat->fs.device, place, "the up-case table's checksum is 0x%08x, not 0x%08x",
                     exfat_table_checksum(0, bytes, (size_t)size), checksum);
    if (ok && !unpack(bytes, (size_t)size, exfat->upcase))
        ok = damaged(err, exfat->fs.device, place, "the up-case table says more than 65536 units");
    free(bytes);
    return ok;
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
