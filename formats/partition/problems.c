#include "problems.h"

#include "alloc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void problems_add(struct problems *problems, enum finding_kind kind, const char *code, uint64_t off,
                  bool fixable, const char *fmt, ...)
{
    if (!mem_grow(&problems->list, &problems->capacity, problems->count + 1, sizeof *problems->list,
                  &problems->err))
        return;
    struct problem *problem = &problems->list[problems->count++];
    *problem = (struct problem){.kind = kind, .code = code, .off = off, .fixable = fixable};
    va_list args;
    va_start(args, fmt);
    vsnprintf(problem->text, sizeof problem->text, fmt, args);
    va_end(args);
}

static void judge_part(struct problems *problems, const struct table *table, const struct part *part)
{
    const struct part *extended = table_extended(table);
    uint64_t sector = table->sector_size, first = part->off / sector, count = part->len / sector;
    uint64_t end = first + count;
    if (count == 0) {
        problems_add(problems, FINDING_DAMAGE, "partition-empty", part->entry_off, false,
                     "partition %u ends before it begins", part->number);
        return;
    }
    if (part->off < table->first || part->off + part->len > table->end)
        problems_add(problems, FINDING_DAMAGE, "partition-outside", part->entry_off, false,
                     "partition %u (sectors %" PRIu64 " to %" PRIu64
                     ") reaches out of the usable sectors (%" PRIu64 " to %" PRIu64 ")",
                     part->number, first, end - 1, table->first / sector, table->end / sector - 1);
    if ((part->flags & PART_LOGICAL) && extended &&
        (part->off < extended->off || part->off + part->len > extended->off + extended->len))
        problems_add(problems, FINDING_DAMAGE, "logical-outside", part->entry_off, false,
                     "logical partition %u (sectors %" PRIu64 " to %" PRIu64
                     ") reaches out of the extended partition %u",
                     part->number, first, end - 1, extended->number);
    if (part->off % 4096 != 0 && !(part->flags & PART_EXTENDED))
        problems_add(problems, FINDING_NOTE, "partition-alignment", part->entry_off, false,
                     "partition %u begins at sector %" PRIu64 ", which is no multiple of 4096 bytes",
                     part->number, first);
}

static bool nested(const struct part *a, const struct part *b)
{
    return ((a->flags & PART_EXTENDED) && (b->flags & PART_LOGICAL)) ||
           ((b->flags & PART_EXTENDED) && (a->flags & PART_LOGICAL));
}

static int by_start(const void *a, const void *b)
{
    const struct part *const *x = a, *const *y = b;
    return (*x)->off < (*y)->off ? -1 : (*x)->off > (*y)->off;
}

/* In the order of the disk, each against those before it that reach so far;
 * at most one finding a partition. */
static void judge_overlaps(struct problems *problems, const struct table *table, bool logical)
{
    const struct part **order = mem_array(table->count + 1, sizeof *order, &problems->err), *far = NULL;
    size_t n = 0;
    if (!order)
        return;
    for (size_t i = 0; i < table->count; i++)
        if (table->parts[i].len && !!(table->parts[i].flags & PART_LOGICAL) == logical)
            order[n++] = &table->parts[i];
    qsort(order, n, sizeof *order, by_start);
    for (size_t i = 0; i < n; i++) {
        const struct part *part = order[i];
        if (far && part->off < far->off + far->len && !nested(far, part))
            problems_add(problems, FINDING_DAMAGE, "partition-overlap", part->entry_off, false,
                         "partition %u (from sector %" PRIu64 ") overlaps partition %u (to sector %" PRIu64
                         ")",
                         part->number, part->off / table->sector_size, far->number,
                         (far->off + far->len) / table->sector_size - 1);
        if (!far || part->off + part->len > far->off + far->len)
            far = part;
    }
    free(order);
}

void problems_of_parts(struct problems *problems, const struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        judge_part(problems, table, &table->parts[i]);
    judge_overlaps(problems, table, false);
    judge_overlaps(problems, table, true);
}

bool problems_fixable(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        if (problems->list[i].fixable)
            return true;
    return false;
}

bool problems_finish(struct problems *problems, const struct table *table, struct check *check, bool fixed,
                     struct error *err)
{
    bool ok = problems->err.kind == E_OK, more = true;
    if (!ok)
        *err = problems->err;
    for (size_t i = 0; i < problems->count && ok && more; i++) {
        const struct problem *p = &problems->list[i];
        more = check_found(check, p->kind, p->code, table->disk, p->off, fixed && p->fixable, "%s", p->text);
    }
    free(problems->list);
    return ok;
}
