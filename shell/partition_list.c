/* Looking at a table: partitions, gaps, names of types. */
#include "grid.h"
#include "partition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *type_name(const struct table *table, const struct part *part)
{
    const struct part_type *type = table_type_find(table->driver, part->type);
    return type ? type->name : part->type;
}

static void report_part(const struct table *table, const struct part *part, struct report *report)
{
    const struct part_type *type = table_type_find(table->driver, part->type);
    char flags[400];
    table_flags_text(table, part, flags, sizeof flags);
    report_open(report, NULL);
    report_number(report, "number", part->number);
    report_number(report, "start", part->off);
    report_number(report, "size", part->len);
    report_number(report, "first-sector", part->off / table->sector_size);
    report_number(report, "sectors", part->len / table->sector_size);
    report_text(report, "type", part->type);
    if (type) {
        report_text(report, "type-name", type->name);
        report_text(report, "type-title", type->title);
    }
    if (table->driver->names)
        report_bytes(report, "name", part->name, strlen(part->name));
    if (part->uuid[0])
        report_text(report, "uuid", part->uuid);
    if (part->flags & PART_LOGICAL)
        report_bool(report, "logical", true);
    report_open_list(report, "flags");
    for (char *word = strtok(flags, ","); word; word = strtok(NULL, ","))
        report_text(report, NULL, word);
    report_close(report);
    report_close(report);
}

static void report_table(const struct table *table, struct report *report)
{
    report_text(report, "label", table->driver->head.name);
    if (table->uuid[0])
        report_text(report, "uuid", table->uuid);
    report_number(report, "sector-size", table->sector_size);
    report_number(report, "first-usable", table->first);
    report_number(report, "end-usable", table->end);
    report_number(report, "max-partitions", table->max_parts);
    report_open_list(report, "partitions");
    for (size_t i = 0; i < table->count; i++)
        report_part(table, &table->parts[i], report);
    report_close(report);
}

static bool print_table(struct partition *partition, struct error *err)
{
    static const struct column columns[] = {
        {"number", "NUMBER", true}, {"first-sector", "START", true}, {"last-sector", "END", true},
        {"size", "SIZE", true},     {"type", "TYPE", false},         {"name", "NAME", false},
        {"flags", "FLAGS", false},  {"uuid", "UUID", false},         {NULL, NULL, false},
    };
    const struct table *table = partition->table;
    output_printf(partition->out, "%s: %s%s%s, %u-byte sectors, %" PRIu64 " to %" PRIu64 " usable\n",
                  partition->image->name, table->driver->head.title, table->uuid[0] ? " " : "", table->uuid,
                  table->sector_size, table->first / table->sector_size, table->end / table->sector_size - 1);
    struct grid *grid = grid_new(partition->out, columns, err);
    if (!grid)
        return false;
    for (size_t i = 0; i < table->count; i++) {
        const struct part *part = &table->parts[i];
        char flags[400];
        table_flags_text(table, part, flags, sizeof flags);
        grid_number(grid, part->number);
        grid_number(grid, part->off / table->sector_size);
        grid_number(grid, (part->off + part->len) / table->sector_size - 1);
        grid_size(grid, part->len, true);
        grid_text(grid, type_name(table, part));
        grid_text(grid, part->name[0] ? part->name : NULL);
        grid_text(grid, flags[0] ? flags : NULL);
        grid_text(grid, part->uuid[0] ? part->uuid : NULL);
    }
    return grid_end(grid, err);
}

bool partition_list(struct partition *partition, struct error *err)
{
    if (!partition_open(partition, err))
        return false;
    if (!output_json(partition->out))
        return print_table(partition, err);
    report_table(partition->table, output_report(partition->out));
    return true;
}

/* What would fit into a gap at the usual alignment. */
static uint64_t aligned_size(const struct table *table, const struct gap *gap)
{
    uint64_t least = gap->off + (gap->logical ? table->sector_size : 0), end = gap->off + gap->len;
    uint64_t start = (least + PART_ALIGNMENT - 1) / PART_ALIGNMENT * PART_ALIGNMENT;
    return start < end ? end - start : 0;
}

bool partition_free(struct partition *partition, struct error *err)
{
    static const struct column columns[] = {
        {"start", NULL, true},  {"first-sector", "START", true}, {"last-sector", "END", true},
        {"size", "SIZE", true}, {"fits", "ALIGNED", true},       {"where", "WHERE", false},
        {NULL, NULL, false},
    };
    struct gap *gaps;
    size_t count;
    if (!partition_open(partition, err) || !table_gaps(partition->table, &gaps, &count, err))
        return false;
    const struct table *table = partition->table;
    struct grid *grid = grid_new(partition->out, columns, err);
    for (size_t i = 0; grid && i < count; i++) {
        grid_number(grid, gaps[i].off);
        grid_number(grid, gaps[i].off / table->sector_size);
        grid_number(grid, (gaps[i].off + gaps[i].len) / table->sector_size - 1);
        grid_size(grid, gaps[i].len, true);
        grid_size(grid, aligned_size(table, &gaps[i]), true);
        grid_text(grid, gaps[i].logical ? "extended" : "disk");
    }
    free(gaps);
    return grid && grid_end(grid, err);
}

bool partition_types(struct partition *partition, struct error *err)
{
    static const struct column columns[] = {
        {"name", "NAME", false}, {"type", "TYPE", false}, {"title", "TITLE", false}, {NULL, NULL, false}};
    const struct table *table = partition->image->table;
    const char *name = partition->argc ? partition->args[0] : table ? table->driver->head.name : "gpt";
    const struct table_driver *driver = partition_kind(partition, name, err);
    struct grid *grid = driver ? grid_new(partition->out, columns, err) : NULL;
    for (const struct part_type *type = grid ? driver->types : NULL; type && type->type; type++) {
        grid_text(grid, type->name);
        grid_text(grid, type->type);
        grid_text(grid, type->title);
    }
    return grid && grid_end(grid, err);
}
