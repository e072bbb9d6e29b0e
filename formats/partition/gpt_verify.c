/* What `sgdisk -v` looks for, and writing both copies anew from the good one. */
#include "gpt.h"
#include "problems.h"

#include <inttypes.h>
#include <stdlib.h>

static void judge_copy(struct problems *problems, const struct table *table, const struct gpt_copy *copy,
                       const char *which)
{
    if (!gpt_copy_ok(copy))
        problems_add(problems, FINDING_DAMAGE, "gpt-copy-damaged", copy->lba * table->sector_size, true,
                     "the %s GPT at sector %" PRIu64 ": %s", which, copy->lba, copy->fault);
}

/* Fields that both headers have in common. */
static void judge_agreement(struct problems *problems, const struct table *table)
{
    const struct gpt *gpt = table->data;
    const uint8_t *p = gpt->primary.header, *b = gpt->backup.header;
    uint64_t off = gpt->backup.lba * table->sector_size;
    if (memcmp(gpt_header_DiskGUID(p), gpt_header_DiskGUID(b), 16) != 0)
        problems_add(problems, FINDING_DAMAGE, "gpt-copies-differ", off, true,
                     "the copies have different DiskGUIDs");
    if (gpt_header_PartitionEntryArrayCRC32(p) != gpt_header_PartitionEntryArrayCRC32(b) ||
        gpt_array_size(p) != gpt_array_size(b))
        problems_add(problems, FINDING_DAMAGE, "gpt-copies-differ", off, true,
                     "the copies have different entries");
    if (gpt_header_FirstUsableLBA(p) != gpt_header_FirstUsableLBA(b) ||
        gpt_header_LastUsableLBA(p) != gpt_header_LastUsableLBA(b))
        problems_add(problems, FINDING_DAMAGE, "gpt-copies-differ", off, true,
                     "the copies have different usable sectors");
    if (gpt_header_AlternateLBA(p) != gpt->backup.lba)
        problems_add(problems, FINDING_DAMAGE, "gpt-alternate", table->sector_size, true,
                     "AlternateLBA of the primary header is %" PRIu64 ", but the backup lies at %" PRIu64,
                     gpt_header_AlternateLBA(p), gpt->backup.lba);
    if (gpt_header_AlternateLBA(b) != 1)
        problems_add(problems, FINDING_DAMAGE, "gpt-alternate", off, true,
                     "AlternateLBA of the backup header is %" PRIu64 ", not 1", gpt_header_AlternateLBA(b));
}

static void judge_place(struct problems *problems, const struct table *table)
{
    const struct gpt *gpt = table->data;
    uint64_t last = table->disk->size / table->sector_size - 1;
    uint64_t said = gpt_header_AlternateLBA(gpt->primary.header);
    if (gpt_copy_ok(&gpt->backup) && gpt->backup.lba != last)
        problems_add(problems, FINDING_DAMAGE, "gpt-backup-place", gpt->backup.lba * table->sector_size, true,
                     "the backup GPT lies at sector %" PRIu64 ", not at the disk's last (%" PRIu64 ")",
                     gpt->backup.lba, last);
    else if (gpt_copy_ok(&gpt->primary) && said > last)
        problems_add(problems, FINDING_DAMAGE, "gpt-disk-short", table->sector_size, true,
                     "the disk has %" PRIu64 " sectors; its GPT was made for %" PRIu64, last + 1, said + 1);
}

static void judge_sector0(struct problems *problems, const struct table *table)
{
    const struct gpt *gpt = table->data;
    uint64_t want = MIN_OF(table->disk->size / table->sector_size - 1, UINT32_MAX);
    unsigned used = 0;
    if (gpt->sector0_kind != SECTOR0_PROTECTIVE) {
        problems_add(problems, FINDING_DAMAGE, "gpt-not-protected", 0, true,
                     "the first sector holds no protective MBR");
        return;
    }
    for (unsigned i = 0; i < MBR_RECORDS; i++)
        used += mbr_record_used(mbr_record(gpt->sector0, i));
    if (used > 1) {
        problems_add(problems, FINDING_NOTE, "gpt-hybrid", 0, false,
                     "a hybrid MBR with %u records of its own is kept as it is", used - 1);
        return;
    }
    for (unsigned i = 0; i < MBR_RECORDS; i++) {
        const uint8_t *record = mbr_record(gpt->sector0, i);
        if (mbr_record_OSType(record) == MBR_TYPE_PROTECTIVE && mbr_record_SizeInLBA(record) != want &&
            mbr_record_SizeInLBA(record) != UINT32_MAX)
            problems_add(problems, FINDING_DAMAGE, "gpt-protective-size", 446 + 16 * i, true,
                         "the protective MBR covers %" PRIu64 " sectors, not %" PRIu64,
                         mbr_record_SizeInLBA(record), want);
    }
}

static int by_uuid(const void *a, const void *b)
{
    const struct part *const *x = a, *const *y = b;
    int order = strcmp((*x)->uuid, (*y)->uuid);
    return order ? order : (*x)->number < (*y)->number ? -1 : 1;
}

static void judge_guids(struct problems *problems, const struct table *table)
{
    const struct part **order = calloc(table->count + 1, sizeof *order);
    for (size_t i = 0; order && i < table->count; i++)
        order[i] = &table->parts[i];
    if (order)
        qsort(order, table->count, sizeof *order, by_uuid);
    for (size_t i = 1; order && i < table->count; i++)
        if (strcmp(order[i]->uuid, order[i - 1]->uuid) == 0)
            problems_add(problems, FINDING_DAMAGE, "gpt-same-guid", order[i]->entry_off, false,
                         "partitions %u and %u have the same GUID %s", order[i - 1]->number, order[i]->number,
                         order[i]->uuid);
    free(order);
}

bool gpt_verify(struct table *table, struct check *check, struct error *err)
{
    struct gpt *gpt = table->data;
    struct problems problems = {0};
    judge_copy(&problems, table, &gpt->primary, "primary");
    judge_copy(&problems, table, &gpt->backup, "backup");
    if (gpt_copy_ok(&gpt->primary) && gpt_copy_ok(&gpt->backup))
        judge_agreement(&problems, table);
    judge_place(&problems, table);
    judge_sector0(&problems, table);
    problems_of_parts(&problems, table);
    judge_guids(&problems, table);
    bool repair = check->repair == REPAIR_ALL && problems_fixable(&problems);
    if (repair && !gpt_store(table, err)) {
        free(problems.list);
        return false;
    }
    return problems_finish(&problems, table, check, repair, err);
}
