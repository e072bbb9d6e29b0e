/* Where partitions can lie: gaps, alignment, and the partition that a request describes. */
#include "table_space.h"
#include "alloc.h"
#include "bytes.h"
#include "guid.h"
#include "ranges.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

char *table_size_text(uint64_t bytes, char out[SIZE_TEXT])
{
    static const char units[] = "BKMGTPE";
    unsigned unit = 0;
    while (unit + 1 < sizeof units - 1 && bytes >> (10 * (unit + 1)) != 0)
        unit++;
    uint64_t one = (uint64_t)1 << (10 * unit);
    if (unit == 0)
        snprintf(out, SIZE_TEXT, "%" PRIu64 " bytes", bytes);
    else if (bytes % one == 0)
        snprintf(out, SIZE_TEXT, "%" PRIu64 "%c", bytes / one, units[unit]);
    else
        snprintf(out, SIZE_TEXT, "%" PRIu64 " bytes (%.1f%c)", bytes, (double)bytes / (double)one,
                 units[unit]);
    return out;
}

/* Remove what of a range lies inside the set's space; hostile ranges may reach anywhere. */
static bool take(struct ranges *set, uint64_t off, uint64_t len, struct error *err)
{
    return len == 0 || off > UINT64_MAX - len || ranges_remove(set, off, len, err);
}

static bool free_primary(const struct table *table, const struct part *but, struct ranges *set,
                         struct error *err)
{
    if (table->end > table->first && !ranges_add(set, table->first, table->end - table->first, err))
        return false;
    for (size_t i = 0; i < table->count; i++) {
        const struct part *part = &table->parts[i];
        if (part != but && !(part->flags & PART_LOGICAL) && !take(set, part->off, part->len, err))
            return false;
    }
    return true;
}

/* The first sector of the extended partition is the first entry's, whatever logical partitions there are. */
static bool free_logical(const struct table *table, const struct part *but, struct ranges *set,
                         struct error *err)
{
    const struct part *extended = table_extended(table);
    uint64_t sector = table->sector_size;
    if (!extended || extended->len <= sector || extended->off > UINT64_MAX - extended->len)
        return true;
    if (!ranges_add(set, extended->off + sector, extended->len - sector, err))
        return false;
    for (size_t i = 0; i < table->count; i++) {
        const struct part *part = &table->parts[i];
        if (part == but || !(part->flags & PART_LOGICAL))
            continue;
        if (!take(set, part->off, part->len, err) ||
            !take(set, part->entry_off / sector * sector, sector, err))
            return false;
    }
    return true;
}

static bool collect(struct ranges *set, bool logical, struct gap **gaps, size_t *count, size_t *capacity,
                    struct error *err)
{
    struct range range;
    for (uint64_t at = 0; ranges_next(set, at, &range); at = range.start + range.len) {
        if (!mem_grow(gaps, capacity, *count + 1, sizeof **gaps, err))
            return false;
        (*gaps)[(*count)++] = (struct gap){range.start, range.len, logical};
    }
    return true;
}

static int gap_order(const void *a, const void *b)
{
    const struct gap *x = a, *y = b;
    return x->off < y->off ? -1 : x->off > y->off;
}

/* Free space as if `but` (NULL: nothing) were not there. */
bool table_gaps_without(const struct table *table, const struct part *but, struct gap **gaps, size_t *count,
                        struct error *err)
{
    struct ranges primary = {0}, logical = {0};
    size_t capacity = 0;
    *gaps = NULL;
    *count = 0;
    bool ok = free_primary(table, but, &primary, err) && free_logical(table, but, &logical, err) &&
              collect(&primary, false, gaps, count, &capacity, err) &&
              collect(&logical, true, gaps, count, &capacity, err);
    ranges_clear(&primary);
    ranges_clear(&logical);
    if (!ok) {
        free(*gaps);
        *gaps = NULL;
        return false;
    }
    if (*count)
        qsort(*gaps, *count, sizeof **gaps, gap_order);
    return true;
}

bool table_gaps(const struct table *table, struct gap **gaps, size_t *count, struct error *err)
{
    return table_gaps_without(table, NULL, gaps, count, err);
}

/* Where a partition could begin in a gap and how long it could be there; false: nowhere. */
static bool place_in_gap(const struct gap *gap, const struct wish *wish, uint64_t sector, struct gap *out)
{
    uint64_t lead = gap->logical ? sector : 0, off = wish->start, end = gap->off + gap->len;
    if (gap->logical != wish->logical || gap->len <= lead)
        return false;
    if (off == PART_ANYWHERE) {
        uint64_t least = gap->off + lead, over = least % wish->align;
        if (over != 0 && !add_u64(least, wish->align - over, &off))
            return false;
        if (over == 0)
            off = least;
    }
    if (off < gap->off + lead || off >= end)
        return false;
    uint64_t len = (end - off) / sector * sector;
    *out = (struct gap){off, len, gap->logical};
    return len > 0;
}

/* The sector for a logical partition's own entry: as far in front of it as the alignment, as sfdisk does. */
static uint64_t entry_sector(const struct gap *gap, uint64_t off, const struct wish *wish)
{
    uint64_t before = off > wish->align ? off - wish->align : 0;
    return MAX_OF(before, gap->off);
}

/* The largest piece that could be had anywhere; len 0: none. */
static struct gap largest(const struct wish *wish, uint64_t sector, const struct gap *gaps, size_t count)
{
    struct wish anywhere = *wish;
    struct gap best = {0}, room;
    anywhere.start = PART_ANYWHERE;
    for (size_t i = 0; i < count; i++)
        if (place_in_gap(&gaps[i], &anywhere, sector, &room) && room.len > best.len)
            best = room;
    return best;
}

/* A start was asked for and nothing is free there: what stands in the way. */
static bool start_taken(const struct table *table, const struct part *but, const struct wish *wish,
                        const struct gap *best, struct error *err)
{
    char at[SIZE_TEXT], elsewhere[160] = "", where[SIZE_TEXT], have[SIZE_TEXT];
    table_size_text(wish->start, at);
    if (best->len)
        snprintf(elsewhere, sizeof elsewhere, "; the largest free piece is %s at %s",
                 table_size_text(best->len, have), table_size_text(best->off, where));
    if (wish->start < table->first || wish->start >= table->end)
        return fail(err, E_NOSPACE, "%s lies outside the usable space, %" PRIu64 " to %" PRIu64 "%s", at,
                    table->first, table->end, elsewhere);
    for (size_t i = 0; i < table->count; i++) {
        const struct part *part = &table->parts[i];
        if (part != but && wish->start >= part->off && wish->start - part->off < part->len &&
            !(wish->logical && (part->flags & PART_EXTENDED)))
            return fail(err, E_NOSPACE, "%s lies in partition %u (%" PRIu64 " to %" PRIu64 ")%s", at,
                        part->number, part->off, part->off + part->len, elsewhere);
    }
    return fail(err, E_NOSPACE, "%s is not free%s%s", at, wish->logical ? " in the extended partition" : "",
                elsewhere);
}

/* best: the largest piece where the wish allows one; anywhere: the largest whatever its start. */
static bool no_room(const struct table *table, const struct part *but, const struct wish *wish,
                    const struct gap *best, const struct gap *anywhere, struct error *err)
{
    char want[SIZE_TEXT], have[SIZE_TEXT], at[SIZE_TEXT];
    const char *where = wish->logical ? " in the extended partition" : "";
    if (best->len == 0 && wish->start != PART_ANYWHERE)
        return start_taken(table, but, wish, anywhere, err);
    if (best->len == 0)
        return fail(err, E_NOSPACE, "no free space is left%s at an alignment of %s", where,
                    table_size_text(wish->align, at));
    table_size_text(wish->size, want);
    table_size_text(best->len, have);
    table_size_text(best->off, at);
    if (wish->start != PART_ANYWHERE)
        return fail(err, E_NOSPACE, "no room for %s at %s: at most %s would fit", want, at, have);
    return fail(err, E_NOSPACE, "no room for %s%s: at most %s would fit, at %s", want, where, have, at);
}

bool table_place(const struct table *table, const struct part *but, const struct wish *wish,
                 struct spot *spot, struct error *err)
{
    struct gap *gaps, best = {0};
    size_t count;
    bool found = false;
    if (!table_gaps_without(table, but, &gaps, &count, err))
        return false;
    for (size_t i = 0; i < count && !found; i++) {
        struct gap room;
        if (!place_in_gap(&gaps[i], wish, table->sector_size, &room))
            continue;
        if (room.len > best.len) {
            best = room;
            spot->entry_off = room.logical ? entry_sector(&gaps[i], room.off, wish) : 0;
        }
        if (wish->size != PART_REST && room.len >= wish->size) {
            best = room;
            spot->entry_off = room.logical ? entry_sector(&gaps[i], room.off, wish) : 0;
            found = true;
        }
    }
    struct gap anywhere = largest(wish, table->sector_size, gaps, count);
    free(gaps);
    if (!found && (wish->size != PART_REST || best.len == 0))
        return no_room(table, but, wish, &best, &anywhere, err);
    spot->off = best.off;
    spot->len = wish->size == PART_REST ? best.len : wish->size;
    return true;
}
