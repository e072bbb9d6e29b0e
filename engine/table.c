#include "table.h"

#include "alloc.h"
#include "bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct table *table_new(const struct table_driver *driver, struct device *disk, uint32_t sector_size,
                        size_t data_size, struct error *err)
{
    struct table *table = mem_new(sizeof *table, err);
    if (!table)
        return NULL;
    table->driver = driver;
    table->disk = disk;
    table->sector_size = sector_size;
    table->data = mem_new(data_size, err);
    if (table->data)
        return table;
    free(table);
    return NULL;
}

void table_dispose(struct table *table)
{
    free(table->parts);
    free(table->data);
    free(table);
}

void table_free(struct table *table)
{
    if (table)
        table->driver->free(table);
}

bool table_store(struct table *table, struct error *err)
{
    if (table->read_only || !table->driver->store)
        return fail(err, E_UNSUPPORTED, "%s partition tables can only be read", table->driver->head.title);
    return table->driver->store(table, err);
}

struct part *table_part(const struct table *table, unsigned number)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->parts[i].number == number)
            return &table->parts[i];
    return NULL;
}

struct part *table_need(const struct table *table, unsigned number, struct error *err)
{
    struct part *part = table_part(table, number);
    if (part)
        return part;
    char known[200] = "";
    for (size_t i = 0; i < table->count; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%u", i ? ", " : "", table->parts[i].number);
    }
    if (table->count == 0)
        fail(err, E_NOENT, "there is no partition %u: the table is empty", number);
    else
        fail(err, E_NOENT, "there is no partition %u (there are: %s)", number, known);
    return NULL;
}

struct part *table_extended(const struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->parts[i].flags & PART_EXTENDED)
            return &table->parts[i];
    return NULL;
}

bool table_insert(struct table *table, unsigned number, struct part **out, struct error *err)
{
    size_t at = table->count;
    while (at > 0 && table->parts[at - 1].number >= number)
        at--;
    if (at < table->count && table->parts[at].number == number)
        return fail(err, E_EXIST, "partition %u exists already", number);
    if (!mem_grow(&table->parts, &table->capacity, table->count + 1, sizeof *table->parts, err))
        return false;
    struct part *part = &table->parts[at];
    memmove(part + 1, part, (table->count - at) * sizeof *part);
    table->count++;
    *part = (struct part){.number = number};
    *out = part;
    return true;
}

static bool inside_extended(const struct part *outer, const struct part *inner)
{
    return (outer->flags & PART_EXTENDED) && (inner->flags & PART_LOGICAL);
}

static bool overlap(const struct part *a, const struct part *b)
{
    if (inside_extended(a, b) || inside_extended(b, a))
        return false;
    return a->off < b->off + b->len && b->off < a->off + a->len;
}

/* Why a partition cannot lie where it is; NULL: it can. */
static const char *misplaced(const struct table *table, const struct part *part)
{
    const struct part *extended = table_extended(table);
    if (part->len == 0)
        return "is empty";
    if (part->off % table->sector_size || part->len % table->sector_size)
        return "does not begin and end at a sector";
    if (part->off < table->first)
        return "begins before the usable space";
    if (part->off > table->end || part->len > table->end - part->off)
        return "ends past the usable space";
    if (!(part->flags & PART_LOGICAL))
        return NULL;
    if (!extended)
        return "is logical, but there is no extended partition";
    if (part->off <= extended->off || part->off + part->len > extended->off + extended->len)
        return "is not inside the extended partition";
    return NULL;
}

static int by_offset(const void *a, const void *b)
{
    const struct part *const *x = a, *const *y = b;
    return (*x)->off < (*y)->off ? -1 : (*x)->off > (*y)->off;
}

/*
 * Overlaps, counted over the partitions in the order of the disk: each against the one that reaches farthest
 * so far. Linear after the sort, and zero exactly when nothing overlaps. The first pair is returned.
 */
static size_t count_overlaps(const struct table *table, bool logical, const struct part **a,
                             const struct part **b)
{
    struct error ignored;
    const struct part **order = mem_array(table->count + 1, sizeof *order, &ignored), *farthest = NULL;
    size_t n = 0, found = 0;
    if (!order)
        return SIZE_MAX;
    for (size_t i = 0; i < table->count; i++)
        if (!!(table->parts[i].flags & PART_LOGICAL) == logical)
            order[n++] = &table->parts[i];
    qsort(order, n, sizeof *order, by_offset);
    for (size_t i = 0; i < n; i++) {
        if (farthest && overlap(farthest, order[i])) {
            if (found++ == 0 && !*a) {
                *a = farthest;
                *b = order[i];
            }
        }
        if (!farthest || order[i]->off + order[i]->len > farthest->off + farthest->len)
            farthest = order[i];
    }
    free(order);
    return found;
}

size_t table_faults(const struct table *table)
{
    const struct part *a = NULL, *b = NULL;
    size_t faults = count_overlaps(table, false, &a, &b) + count_overlaps(table, true, &a, &b);
    for (size_t i = 0; i < table->count; i++)
        faults += misplaced(table, &table->parts[i]) != NULL;
    return faults;
}

bool table_check(const struct table *table, struct error *err)
{
    /* What was wrong before must not hinder work on the rest, least of all its repair. */
    if (table_faults(table) <= table->faults)
        return true;
    const struct part *a = NULL, *b = NULL;
    size_t overlaps = count_overlaps(table, false, &a, &b) + count_overlaps(table, true, &a, &b);
    if (overlaps && a)
        return fail(err, E_INVALID,
                    "partition %u (%" PRIu64 " to %" PRIu64 ") overlaps partition %u (%" PRIu64 " to %" PRIu64
                    ")",
                    b->number, b->off, b->off + b->len, a->number, a->off, a->off + a->len);
    for (size_t i = 0; i < table->count; i++) {
        const struct part *part = &table->parts[i];
        const char *why = misplaced(table, part);
        if (why)
            return fail(err, E_INVALID,
                        "partition %u (%" PRIu64 " to %" PRIu64 ") %s (%" PRIu64 " to %" PRIu64 ")",
                        part->number, part->off, part->off + part->len, why, table->first, table->end);
    }
    return fail(err, E_NOMEM, "out of memory");
}
