#include "regions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void region_place(const struct table *table, const struct region *region, uint64_t index, struct place *place)
{
    *place = (struct place){
        .layout = region->layout,
        .device = table->disk,
        .off = region->off + index * region->size,
        .size = region->size,
        .owner = (void *)(uintptr_t)table,
        .index = region->index + index,
    };
    if (region->array)
        snprintf(place->title, sizeof place->title, "%s %" PRIu64, region->title, index + 1);
    else
        snprintf(place->title, sizeof place->title, "%s", region->title);
}

static void owned_by_region(const struct table *table, const struct region *region, uint64_t off,
                            struct owner *out)
{
    uint64_t index = (off - region->off) / region->size, inside = (off - region->off) % region->size;
    bool whole = region->array ? (index + 1) * region->size <= region->len : index == 0;
    if (whole) {
        out->kind = OWNER_STRUCTURE;
        out->len = region->size - inside;
        region_place(table, region, index, &out->place);
        snprintf(out->text, sizeof out->text, "%s", out->place.title);
    } else {
        out->kind = OWNER_RESERVED;
        out->len = region->off + region->len - off;
        snprintf(out->text, sizeof out->text, "rest of the sector behind the %s", region->title);
    }
}

static void owned_by_part(const struct part *part, uint64_t off, struct owner *out)
{
    out->kind = OWNER_DATA;
    out->len = part->off + part->len - off;
    out->file_off = off - part->off;
    snprintf(out->text, sizeof out->text, "partition %u%s%.60s", part->number, part->name[0] ? " " : "",
             part->name);
}

static void owned_by_nobody(const struct table *table, uint64_t off, struct owner *out)
{
    const struct part *before = NULL, *extended = table_extended(table);
    bool usable = off >= table->first && off < table->end;
    for (size_t i = 0; i < table->count; i++) {
        const struct part *part = &table->parts[i];
        if (!(part->flags & PART_EXTENDED) && part->off + part->len <= off &&
            (!before || part->off > before->off))
            before = part;
    }
    out->kind = usable ? OWNER_FREE : OWNER_RESERVED;
    if (!usable)
        snprintf(out->text, sizeof out->text, "%s",
                 off < table->first ? "gap before the first usable sector"
                                    : "gap behind the last usable sector");
    else if (before)
        snprintf(out->text, sizeof out->text, "free space after partition %u%s", before->number,
                 extended && off >= extended->off && off - extended->off < extended->len
                     ? ", in the extended partition"
                     : "");
    else
        snprintf(out->text, sizeof out->text, "free space before the first partition");
}

/* The nearest boundary behind off cuts the run. */
static void cut(uint64_t off, uint64_t boundary, struct owner *out)
{
    if (boundary > off)
        out->len = MIN_OF(out->len, boundary - off);
}

bool regions_owner(const struct table *table, const struct region *regions, size_t count, uint64_t off,
                   struct owner *out, struct error *err)
{
    if (off >= table->disk->size)
        return fail(err, E_INVALID, "the disk ends at %" PRIu64, table->disk->size);
    *out = (struct owner){.len = table->disk->size - off};
    for (size_t i = 0; i < count; i++) {
        if (off >= regions[i].off && off - regions[i].off < regions[i].len) {
            owned_by_region(table, &regions[i], off, out);
            return true;
        }
    }
    bool found = false;
    for (size_t i = 0; i < table->count && !found; i++) {
        const struct part *part = &table->parts[i];
        found = !(part->flags & PART_EXTENDED) && off >= part->off && off - part->off < part->len;
        if (found)
            owned_by_part(part, off, out);
    }
    if (!found)
        owned_by_nobody(table, off, out);
    for (size_t i = 0; i < count; i++)
        cut(off, regions[i].off, out);
    for (size_t i = 0; i < table->count; i++)
        if (!found)
            cut(off, table->parts[i].off, out);
    if (!found) {
        cut(off, table->first, out);
        cut(off, table->end, out);
    }
    out->len = MIN_OF(out->len, table->disk->size - off);
    return true;
}
