/* Changes of the parsed table. Nothing here reads or writes the disk. */
#include "alloc.h"
#include "bytes.h"
#include "guid.h"
#include "table.h"
#include "table_space.h"
#include "utf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { GPT_NAME_UNITS = 36, LEGACY_BOOT = 1 << 2 };

bool table_sector_aligned(const struct table *table, const char *what, uint64_t bytes, struct error *err)
{
    uint64_t sector = table->sector_size, below = bytes / sector * sector;
    if (bytes == below)
        return true;
    return fail(err, E_INVALID,
                "%s %" PRIu64 " is not a multiple of the sector size %" PRIu64 " (%" PRIu64 " and %" PRIu64
                " are)",
                what, bytes, sector, below, below + sector);
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

static unsigned last_logical(const struct table *table)
{
    unsigned last = table->driver->primaries;
    for (size_t i = 0; i < table->count; i++)
        last = MAX_OF(last, table->parts[i].number);
    return last;
}

static bool primary_number(const struct table *table, unsigned *number, struct error *err)
{
    unsigned limit = table->driver->primaries ? table->driver->primaries : table->max_parts;
    for (*number = 1; *number <= limit; ++*number)
        if (!table_part(table, *number))
            return true;
    if (!table->driver->primaries)
        return fail(err, E_NOSPACE, "the table is full: it holds %u partitions", limit);
    return fail(err, E_NOSPACE,
                "all %u primary entries are used%s: delete one and add an extended partition in its place",
                limit, table_extended(table) ? "" : " and there is no extended partition");
}

static bool check_number(const struct table *table, unsigned number, bool logical, struct error *err)
{
    unsigned limit = table->driver->primaries ? table->driver->primaries : table->max_parts;
    if (table_part(table, number))
        return fail(err, E_EXIST, "partition %u exists already", number);
    if (logical && number != last_logical(table) + 1)
        return fail(err, E_INVALID, "the next logical partition has number %u, not %u",
                    last_logical(table) + 1, number);
    if (!logical && number > limit)
        return fail(err, E_INVALID, "partition numbers go from 1 to %u", limit);
    return true;
}

/* Logical partitions are a chain and count from 5: those after a gap move up. */
static void renumber_logical(struct table *table)
{
    unsigned next = table->driver->primaries + 1;
    for (size_t i = 0; i < table->count; i++)
        if (table->parts[i].flags & PART_LOGICAL)
            table->parts[i].number = next++;
}

/* Without the extended partition its logical ones are gone, too. */
static void table_drop(struct table *table, unsigned number)
{
    const struct part *extended = table_extended(table);
    bool all_logical = extended && extended->number == number;
    size_t kept = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct part *part = &table->parts[i];
        if (part->number != number && !(all_logical && (part->flags & PART_LOGICAL)))
            table->parts[kept++] = *part;
    }
    table->count = kept;
    renumber_logical(table);
}

/* ---- add ----------------------------------------------------------------------------------------------- */

static bool starts_inside_extended(const struct table *table, uint64_t start)
{
    const struct part *extended = table_extended(table);
    return extended && start != PART_ANYWHERE && start >= extended->off &&
           start - extended->off < extended->len;
}

/* Whether a request can only mean a logical partition, whatever primary entries are free. */
static bool must_be_logical(const struct table *table, const struct part_request *request)
{
    if (!table->driver->primaries)
        return false;
    return request->logical || request->number > table->driver->primaries ||
           (request->number == 0 && starts_inside_extended(table, request->start));
}

static bool check_class(const struct table *table, bool logical, bool extended, struct error *err)
{
    if (logical && extended)
        return fail(err, E_INVALID, "an extended partition cannot be logical");
    if (logical && !table_extended(table))
        return fail(err, E_NOENT, "there is no extended partition to hold a logical one");
    if (extended && table_extended(table))
        return fail(err, E_EXIST, "partition %u is the extended partition already",
                    table_extended(table)->number);
    return true;
}

/* Number and place of a new partition of one class. */
static bool find_place(const struct table *table, const struct part_request *request, bool logical,
                       unsigned *number, struct spot *spot, struct error *err)
{
    uint64_t sector = table->sector_size;
    struct wish wish = {
        .start = request->start,
        .size = request->size,
        .align = request->align ? request->align : PART_ALIGNMENT,
        .logical = logical,
    };
    if (wish.size != PART_REST) {
        if (wish.size == 0 || wish.size > UINT64_MAX - sector)
            return fail(err, E_INVALID, "a partition cannot have %" PRIu64 " bytes", wish.size);
        wish.size = div_up(wish.size, sector) * sector;
    }
    if (!table_sector_aligned(table, "the alignment", wish.align, err) ||
        (wish.start != PART_ANYWHERE && !table_sector_aligned(table, "the start", wish.start, err)))
        return false;
    *number = request->number;
    if (*number) {
        if (!check_number(table, *number, logical, err))
            return false;
    } else if (logical) {
        *number = last_logical(table) + 1;
        if (*number > table->max_parts)
            return fail(err, E_NOSPACE, "there are %u logical partitions; no more are kept", *number - 5);
    } else if (!primary_number(table, number, err)) {
        return false;
    }
    return table_place(table, NULL, &wish, spot, err);
}

static bool fill_part(struct table *table, struct part *part, const struct part_request *request,
                      struct error *err)
{
    part->attributes = request->attributes;
    if (part->attributes & LEGACY_BOOT)
        part->flags |= PART_ACTIVE;
    if (request->name && *request->name && !table_set_name(table, part, request->name, err))
        return false;
    if (request->active && !table_set_flag(table, part, "active", true, err))
        return false;
    if (table->driver->part_uuids || request->uuid)
        return table_set_part_uuid(table, part, request->uuid ? request->uuid : "random", err);
    return true;
}

bool table_add(struct table *table, const struct part_request *request, unsigned *number, struct error *err)
{
    struct spot spot;
    struct part *part;
    char type[40];
    if (!table_type_parse(table->driver, request->type ? request->type : "linux", type, err))
        return false;
    bool extended = table->driver->primaries && part_type_is_extended(type);
    bool logical = must_be_logical(table, request);
    if (!check_class(table, logical, extended, err))
        return false;
    bool placed = find_place(table, request, logical, number, &spot, err);
    /* No primary entry or no space outside: then inside the extended partition, when there is one. */
    bool either = !logical && !extended && request->number == 0 && request->start == PART_ANYWHERE;
    if (!placed && either && err->kind == E_NOSPACE && table_extended(table)) {
        logical = true;
        placed = find_place(table, request, logical, number, &spot, err);
    }
    if (!placed)
        return false;
    if (!table_insert(table, *number, &part, err))
        return false;
    part->off = spot.off;
    part->len = spot.len;
    part->entry_off = spot.entry_off;
    part->flags = (logical ? PART_LOGICAL : 0) | (extended ? PART_EXTENDED : 0);
    snprintf(part->type, sizeof part->type, "%s", type);
    if (fill_part(table, part, request, err))
        return true;
    table_drop(table, *number);
    return false;
}

/* ---- delete, resize, sort ------------------------------------------------------------------------------ */

bool table_delete(struct table *table, unsigned number, struct error *err)
{
    if (!table_need(table, number, err))
        return false;
    table_drop(table, number);
    return true;
}

/* The byte behind the last logical partition, or where the first one's entry ends. */
static uint64_t logical_end(const struct table *table, const struct part *extended)
{
    uint64_t end = extended->off + table->sector_size;
    for (size_t i = 0; i < table->count; i++)
        if (table->parts[i].flags & PART_LOGICAL)
            end = MAX_OF(end, table->parts[i].off + table->parts[i].len);
    return end;
}

bool table_room(const struct table *table, const struct part *part, uint64_t *size, struct error *err)
{
    struct gap *gaps;
    size_t count;
    *size = 0;
    if (!table_gaps_without(table, part, &gaps, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct gap *gap = &gaps[i];
        if (gap->logical == !!(part->flags & PART_LOGICAL) && part->off >= gap->off &&
            part->off - gap->off < gap->len)
            *size = (gap->off + gap->len - part->off) / table->sector_size * table->sector_size;
    }
    free(gaps);
    return true;
}

bool table_resize(struct table *table, unsigned number, uint64_t size, struct error *err)
{
    struct part *part = table_need(table, number, err);
    uint64_t room, sector = table->sector_size;
    char want[SIZE_TEXT], have[SIZE_TEXT];
    if (!part || !table_room(table, part, &room, err))
        return false;
    if (size == PART_REST)
        size = room;
    if (size == 0 || size > UINT64_MAX - sector)
        return fail(err, E_INVALID, "partition %u cannot have %" PRIu64 " bytes", number, size);
    size = div_up(size, sector) * sector;
    if (size > room && size > part->len)
        return fail(err, E_NOSPACE, "partition %u cannot grow to %s: where it begins at most %s fit", number,
                    table_size_text(size, want), table_size_text(room, have));
    uint64_t least = logical_end(table, part) - part->off;
    if (part == table_extended(table) && size < least)
        return fail(err, E_NOSPACE,
                    "extended partition %u cannot shrink to %s: its logical partitions need at least %s",
                    number, table_size_text(size, want), table_size_text(least, have));
    part->len = size;
    return true;
}

static int by_class_and_offset(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    unsigned lx = x->flags & PART_LOGICAL, ly = y->flags & PART_LOGICAL;
    if (lx != ly)
        return lx ? 1 : -1;
    return x->off < y->off ? -1 : x->off > y->off;
}

bool table_sort(struct table *table, struct error *err)
{
    (void)err;
    if (table->count == 0)
        return true;
    qsort(table->parts, table->count, sizeof *table->parts, by_class_and_offset);
    unsigned next = 1;
    for (size_t i = 0; i < table->count; i++)
        if (!(table->parts[i].flags & PART_LOGICAL))
            table->parts[i].number = next++;
    renumber_logical(table);
    return true;
}

/* ---- names and GUIDs ----------------------------------------------------------------------------------- */

bool table_set_name(struct table *table, struct part *part, const char *name, struct error *err)
{
    uint16_t units[GPT_NAME_UNITS];
    size_t count;
    if (!table->driver->names)
        return fail(err, E_UNSUPPORTED, "partitions of %s tables have no names", table->driver->head.name);
    if (!utf8_to_utf16(name, strlen(name), UTF_STRICT, units, GPT_NAME_UNITS, &count, err))
        return because(err, "the name of partition %u", part->number);
    snprintf(part->name, sizeof part->name, "%s", name);
    return true;
}

bool table_set_part_uuid(struct table *table, struct part *part, const char *uuid, struct error *err)
{
    uint8_t raw[16];
    if (!table->driver->part_uuids)
        return fail(err, E_UNSUPPORTED, "partitions of %s tables have no GUIDs of their own",
                    table->driver->head.name);
    if (strcmp(uuid, "random") == 0)
        guid_random(GUID_RFC, raw);
    else if (!guid_parse(uuid, GUID_RFC, raw))
        return fail(err, E_INVALID, "'%s' is not a GUID", uuid);
    char text[GUID_TEXT];
    guid_format(raw, GUID_RFC, text);
    for (size_t i = 0; i < table->count; i++)
        if (&table->parts[i] != part && strcmp(table->parts[i].uuid, text) == 0)
            return fail(err, E_EXIST, "partition %u has the GUID %s already", table->parts[i].number, text);
    snprintf(part->uuid, sizeof part->uuid, "%s", text);
    return true;
}
