/* The MBR driver: probing, parsing, new tables, the primary records. */
#include "mbr.h"

#include "alloc.h"
#include "random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { RECORDS_OFF = mbr_off_Record1_BootIndicator };

static const struct option mbr_make_options[] = {
    {"signature", OPTION_NUMBER, NULL, "disk signature (random)"},
    {"sector-size", OPTION_NUMBER, NULL, "512 or 4096 (the disk's)"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

static unsigned mbr_probe(struct device *disk)
{
    uint8_t sector[MBR_SIZE];
    struct error ignored;
    if (disk->size < MBR_SIZE || !sector0_read(disk, sector, &ignored))
        return 0;
    switch (sector0_judge(disk, sector, disk->block_size == 4096 ? 4096 : 512)) {
    case SECTOR0_TABLE:
        return 96;
    case SECTOR0_PROTECTIVE:
        return 20;
    case SECTOR0_EMPTY:
        return 16;
    default:
        return 0;
    }
}

void mbr_decode_record(const struct table *table, const uint8_t *record, uint64_t base, struct part *part)
{
    part->off = (base + mbr_record_StartingLBA(record)) * table->sector_size;
    part->len = mbr_record_SizeInLBA(record) * table->sector_size;
    part->flags = mbr_record_BootIndicator(record) & MBR_ACTIVE ? PART_ACTIVE : 0;
    snprintf(part->type, sizeof part->type, "0x%02x", (unsigned)mbr_record_OSType(record));
    if (part_type_is_extended(part->type))
        part->flags |= PART_EXTENDED;
}

void mbr_encode_record(const struct table *table, const struct part *part, uint64_t base, uint8_t *record)
{
    uint64_t first = part->off / table->sector_size, count = part->len / table->sector_size;
    if (mbr_record_StartingLBA(record) != first - base || mbr_record_SizeInLBA(record) != count) {
        mbr_store_chs(mbr_record_StartingCHS(record), first);
        mbr_store_chs(mbr_record_EndingCHS(record), first + count - 1);
        mbr_record_set_StartingLBA(record, first - base);
        mbr_record_set_SizeInLBA(record, count);
    }
    mbr_record_set_OSType(record, strtoul(part->type, NULL, 16));
    uint64_t flags = mbr_record_BootIndicator(record) & 0x7f;
    mbr_record_set_BootIndicator(record, part->flags & PART_ACTIVE ? flags | MBR_ACTIVE : flags);
}

static void set_uuids(struct table *table)
{
    const struct mbr *mbr = table->data;
    uint32_t signature = (uint32_t)mbr_UniqueMBRDiskSignature(mbr->sector);
    snprintf(table->uuid, sizeof table->uuid, "0x%08x", signature);
    for (size_t i = 0; i < table->count; i++)
        snprintf(table->parts[i].uuid, sizeof table->parts[i].uuid, "%08x-%02x", signature,
                 table->parts[i].number);
}

static void mbr_free(struct table *table)
{
    struct mbr *mbr = table->data;
    ranges_clear(&mbr->visited);
    table_dispose(table);
}

static struct table *new_table(struct device *disk, uint32_t sector_size, struct error *err)
{
    struct table *table = table_new(&mbr_driver, disk, sector_size, sizeof(struct mbr), err);
    if (!table)
        return NULL;
    table->max_parts = MBR_RECORDS + MBR_LOGICAL_MAX;
    table->first = sector_size;
    table->end = MIN_OF(disk->size / sector_size, (uint64_t)1 << 32) * sector_size;
    return table;
}

static bool parse(struct table *table, struct error *err)
{
    struct mbr *mbr = table->data;
    if (!sector0_read(table->disk, mbr->sector, err))
        return false;
    if (mbr_Signature(mbr->sector) != MBR_SIGNATURE)
        return damaged(err, table->disk, mbr_off_Signature, "Signature is 0x%04x, not 0xaa55",
                       (unsigned)mbr_Signature(mbr->sector));
    for (unsigned i = 0; i < MBR_RECORDS; i++) {
        const uint8_t *record = mbr_record(mbr->sector, i);
        struct part *part;
        if (!mbr_record_used(record))
            continue;
        if (!table_insert(table, i + 1, &part, err))
            return false;
        mbr_decode_record(table, record, 0, part);
        part->entry_off = RECORDS_OFF + i * MBR_RECORD_SIZE;
    }
    if (!mbr_load_chain(table, err))
        return false;
    set_uuids(table);
    table->faults = table_faults(table);
    if (mbr->broken)
        snprintf(table->note, sizeof table->note, "%s; `partition repair` cuts the chain there", mbr->fault);
    return true;
}

static bool mbr_load(struct device *disk, struct table **out, struct error *err)
{
    if (disk->size < MBR_SIZE)
        return damaged(err, disk, 0, "a disk of %" PRIu64 " bytes cannot hold an MBR", disk->size);
    struct table *table = new_table(disk, disk->block_size == 4096 ? 4096 : 512, err);
    if (!table)
        return false;
    if (parse(table, err)) {
        *out = table;
        return true;
    }
    mbr_free(table);
    return false;
}

/* The four records as the array has them; unused ones that hold something unknown stay as they are. */
static void encode_records(struct table *table)
{
    struct mbr *mbr = table->data;
    uint8_t old[MBR_RECORDS * MBR_RECORD_SIZE];
    memcpy(old, mbr_record(mbr->sector, 0), sizeof old);
    for (unsigned i = 0; i < MBR_RECORDS; i++) {
        uint8_t *record = mbr_record(mbr->sector, i);
        const struct part *part = table_part(table, i + 1);
        if (!part) {
            if (mbr_record_used(record))
                memset(record, 0, MBR_RECORD_SIZE);
            continue;
        }
        memset(record, 0, MBR_RECORD_SIZE);
        if (part->entry_off >= RECORDS_OFF && part->entry_off < RECORDS_OFF + sizeof old)
            memcpy(record, old + (part->entry_off - RECORDS_OFF), MBR_RECORD_SIZE);
        mbr_encode_record(table, part, 0, record);
    }
}

bool mbr_store(struct table *table, struct error *err)
{
    struct mbr *mbr = table->data;
    if (!table_check(table, err) || !mbr_store_chain(table, err))
        return false;
    encode_records(table);
    mbr_set_UniqueMBRDiskSignature(mbr->sector, strtoul(table->uuid, NULL, 16));
    if (!disk_update(table->disk, 0, mbr->sector, MBR_SIZE, err))
        return false;
    for (size_t i = 0; i < table->count; i++)
        if (!(table->parts[i].flags & PART_LOGICAL))
            table->parts[i].entry_off = RECORDS_OFF + (table->parts[i].number - 1) * MBR_RECORD_SIZE;
    set_uuids(table);
    table->faults = table_faults(table);
    table->note[0] = '\0';
    return true;
}

/* ---- new tables ---------------------------------------------------------------------------------------- */

/* A GPT that was here before would be taken for a damaged one by careful tools. */
static bool drop_gpt_headers(struct device *disk, struct error *err)
{
    static const uint32_t sizes[] = {512, 4096};
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        uint64_t places[] = {sizes[i], disk->size / sizes[i] * sizes[i] - sizes[i]};
        for (unsigned j = 0; j < ARRAY_LEN(places) && disk->size >= 2 * sizes[i]; j++) {
            uint8_t magic[8];
            if (!device_read(disk, places[j], magic, sizeof magic, err))
                return false;
            if (memcmp(magic, "EFI PART", 8) == 0 && !device_zero(disk, places[j], 512, WRITE_UPDATE, err))
                return false;
        }
    }
    return true;
}

static bool start_table(struct table *table, const struct options *options, struct error *err)
{
    struct mbr *mbr = table->data;
    uint64_t signature = options_number(options, "signature", random_u32());
    if (signature > UINT32_MAX)
        return fail(err, E_INVALID, "signature is at most 0xffffffff, not 0x%" PRIx64, signature);
    if (table->disk->size < 2 * (uint64_t)table->sector_size)
        return fail(err, E_NOSPACE, "a disk of %" PRIu64 " bytes is too small for partitions",
                    table->disk->size);
    if (!sector0_read(table->disk, mbr->sector, err))
        return false;
    enum sector0 what = sector0_judge(table->disk, mbr->sector, table->sector_size);
    if (!sector0_clean(table->disk, what, mbr->sector, err))
        return false;
    mbr_set_UniqueMBRDiskSignature(mbr->sector, signature);
    set_uuids(table);
    return drop_gpt_headers(table->disk, err) && mbr_store(table, err);
}

static bool mbr_init(struct device *disk, const struct options *options, struct table **out,
                     struct error *err)
{
    uint64_t sector_size = options_number(options, "sector-size", disk->block_size == 4096 ? 4096 : 512);
    if (sector_size != 512 && sector_size != 4096)
        return fail(err, E_INVALID, "sector-size is 512 or 4096, not %" PRIu64, sector_size);
    struct table *table = new_table(disk, (uint32_t)sector_size, err);
    if (!table)
        return false;
    if (start_table(table, options, err)) {
        *out = table;
        return true;
    }
    mbr_free(table);
    return false;
}

static bool mbr_boot_code(struct table *table, uint8_t *code, size_t *len, bool write, struct error *err)
{
    return sector0_boot_code(table->disk, ((struct mbr *)table->data)->sector, code, len, write, err);
}

static bool mbr_wipe(struct table *table, struct error *err)
{
    struct mbr *mbr = table->data;
    struct range range;
    for (uint64_t at = 0; ranges_next(&mbr->visited, at, &range); at = range.start + 1) {
        uint64_t off = range.start * table->sector_size;
        uint8_t sector[MBR_SIZE];
        if (!device_read(table->disk, off, sector, MBR_SIZE, err))
            return false;
        memset(mbr_record(sector, 0), 0, MBR_SIZE - RECORDS_OFF);
        if (!disk_update(table->disk, off, sector, MBR_SIZE, err))
            return false;
    }
    memset(mbr->sector + MBR_BOOT_CODE, 0, MBR_SIZE - MBR_BOOT_CODE);
    return disk_update(table->disk, 0, mbr->sector, MBR_SIZE, err);
}

static bool mbr_set_uuid(struct table *table, const char *text, struct error *err)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 16);
    if (strcmp(text, "random") == 0)
        value = random_u32();
    else if (end == text || *end || value > UINT32_MAX)
        return fail(err, E_INVALID, "'%s' is not a disk signature (8 hex digits)", text);
    snprintf(table->uuid, sizeof table->uuid, "0x%08llx", value);
    return true;
}

const struct table_driver mbr_driver = {
    .head =
        {
            .name = "mbr",
            .title = "master boot record",
            .spec = "UEFI specification 2.10, 5.2.1",
            .type = DRIVER_TABLE,
            .probe = mbr_probe,
            .make_options = mbr_make_options,
            .layouts = mbr_layouts,
            .locate = mbr_locate,
            .owner = mbr_owner,
        },
    .types = mbr_types,
    .primaries = MBR_RECORDS,
    .init = mbr_init,
    .load = mbr_load,
    .store = mbr_store,
    .verify = mbr_verify,
    .boot_code = mbr_boot_code,
    .wipe = mbr_wipe,
    .set_uuid = mbr_set_uuid,
    .free = mbr_free,
};
