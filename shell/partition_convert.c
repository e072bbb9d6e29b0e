/*
 * Another kind of table around the same partitions. Nothing is moved: a GPT needs its sectors at both ends,
 * and logical partitions need a free sector in front of each for their entries.
 */
#include "alloc.h"
#include "bytes.h"
#include "partition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool add_like(struct table *to, const struct table *from, const struct part *part, unsigned number,
                     bool logical, struct error *err)
{
    char type[40];
    unsigned added;
    struct part_request request = {
        .number = number,
        .start = part->off,
        .size = part->len,
        .align = to->sector_size,
        .logical = logical,
        .type = type,
        .name = to->driver->names ? part->name : NULL,
        .uuid = to->driver->part_uuids && from->driver->part_uuids ? part->uuid : NULL,
        .active = !logical && (part->flags & PART_ACTIVE),
    };
    if (!table_type_convert(from->driver, part->type, to->driver, type))
        return fail(err, E_UNSUPPORTED,
                    "partition %u has the type %s, for which %s has no equal: change it first", part->number,
                    part->type, to->driver->head.name);
    return table_add(to, &request, &added, err) || because(err, "partition %u", part->number);
}

static bool keep_numbers(struct table *to, const struct table *from, struct error *err)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct part *part = &from->parts[i];
        if (!(part->flags & PART_EXTENDED) && !add_like(to, from, part, part->number, false, err))
            return false;
    }
    return true;
}

static int by_offset(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    return x->off < y->off ? -1 : x->off > y->off;
}

/* Adds order[first..end) as logical partitions in one extended partition, the others as primary ones. */
static bool nest(struct table *to, const struct table *from, const struct part *order, size_t first,
                 size_t end, struct error *err)
{
    uint64_t least = first ? order[first - 1].off + order[first - 1].len : to->first;
    uint64_t start = order[first].off > PART_ALIGNMENT ? order[first].off - PART_ALIGNMENT : 0;
    uint64_t last = order[end - 1].off + order[end - 1].len;
    unsigned number;
    start = MAX_OF(start, least);
    struct part_request extended = {
        .start = start, .size = last - start, .align = to->sector_size, .type = "extended"};
    for (size_t i = 0; i < from->count; i++)
        if ((i < first || i >= end) && !add_like(to, from, &order[i], 0, false, err))
            return false;
    if (start >= order[first].off)
        return fail(err, E_NOSPACE, "partition %u: there is no free sector in front of it for an entry",
                    order[first].number);
    if (!table_add(to, &extended, &number, err))
        return false;
    for (size_t i = first; i < end; i++)
        if (!add_like(to, from, &order[i], 0, true, err))
            return false;
    return true;
}

/* More partitions than primary entries: some run of them becomes logical. The first that works is taken. */
static bool renumber(struct table *to, const struct table *from, struct error *err)
{
    size_t n = from->count, primaries = to->driver->primaries - 1;
    struct part *order = mem_array(n, sizeof *order, err);
    bool ok = false;
    if (!order)
        return false;
    memcpy(order, from->parts, n * sizeof *order);
    qsort(order, n, sizeof *order, by_offset);
    for (size_t first = 0; !ok && first <= primaries && first < n; first++) {
        while (to->count > 0)
            if (!table_delete(to, to->parts[0].number, err))
                break;
        size_t behind = primaries - first, end = n > behind ? n - behind : n;
        ok = end > first && nest(to, from, order, first, end, err);
    }
    free(order);
    return ok;
}

static bool fill(struct partition *partition, struct table *to, const struct table *from, struct error *err)
{
    bool fits = true;
    for (size_t i = 0; i < from->count; i++)
        fits = fits && (!to->driver->primaries || from->parts[i].number <= to->driver->primaries);
    if (fits)
        return keep_numbers(to, from, err);
    if (from->count <= to->driver->primaries) {
        for (size_t i = 0; i < from->count; i++)
            if (!add_like(to, from, &from->parts[i], 0, false, err))
                return false;
    } else if (!renumber(to, from, err)) {
        return false;
    }
    call_note(partition->call,
              "the partitions have new numbers: an MBR has %u entries, further ones count from %u",
              to->driver->primaries, to->driver->primaries + 1);
    return true;
}

bool partition_convert(struct partition *partition, struct error *err)
{
    const struct table_driver *driver = partition_driver(partition, partition->args[0], err);
    if (!driver || !partition_edit(partition, err))
        return false;
    struct table *old = partition->table;
    char text[40];
    if (old->driver == driver)
        return fail(err, E_EXIST, "the table is a %s already", driver->head.title);
    snprintf(text, sizeof text, "sector-size=%u", old->sector_size);
    partition->table = NULL;
    bool ok = partition_make(partition, driver, text, err) && fill(partition, partition->table, old, err);
    table_free(old);
    return ok && partition_store(partition, err);
}
