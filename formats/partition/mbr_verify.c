#include "mbr.h"
#include "problems.h"

#include <inttypes.h>
#include <stdlib.h>

static void judge_records(struct problems *problems, const struct mbr *mbr)
{
    unsigned active = 0, extended = 0;
    for (unsigned i = 0; i < MBR_RECORDS; i++) {
        const uint8_t *record = mbr_record(mbr->sector, i);
        uint64_t type = mbr_record_OSType(record), flag = mbr_record_BootIndicator(record);
        uint64_t off = mbr_off_Record1_BootIndicator + i * MBR_RECORD_SIZE;
        if (!mbr_record_used(record))
            continue;
        active += flag == MBR_ACTIVE;
        extended += type == 0x05 || type == 0x0f || type == 0x85;
        if (flag & 0x7f)
            problems_add(problems, FINDING_DAMAGE, "mbr-boot-indicator", off, false,
                         "BootIndicator of record %u is 0x%02" PRIx64 ", neither 0x00 nor 0x80", i + 1, flag);
    }
    if (active > 1)
        problems_add(problems, FINDING_DAMAGE, "mbr-active", mbr_off_Record1_BootIndicator, false,
                     "%u partitions are active; at most one can be", active);
    if (extended > 1)
        problems_add(problems, FINDING_DAMAGE, "mbr-extended", mbr_off_Record1_BootIndicator, false,
                     "there are %u extended partitions; the logical ones of the first are used", extended);
}

bool mbr_verify(struct table *table, struct check *check, struct error *err)
{
    struct mbr *mbr = table->data;
    struct problems problems = {0};
    judge_records(&problems, mbr);
    if (mbr->broken)
        problems_add(&problems, FINDING_DAMAGE, "mbr-chain", mbr->broken_off, true, "%s", mbr->fault);
    problems_of_parts(&problems, table);
    bool repair = check->repair == REPAIR_ALL && problems_fixable(&problems);
    if (repair) {
        /* The chain ends where it broke; the partitions found so far are kept. */
        mbr->broken = false;
        if (!mbr_store(table, err)) {
            free(problems.list);
            return false;
        }
    }
    return problems_finish(&problems, table, check, repair, err);
}
