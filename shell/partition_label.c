/* What an entry says besides its place: type, name, GUID, flags. Without a value it is shown. */
#include "partition.h"

#include <stdio.h>
#include <string.h>

/* Opens for a change when the last argument is a value, else for reading. */
static struct part *open_part(struct partition *partition, bool change, struct error *err)
{
    unsigned number;
    if (!partition_number(partition, partition->args[0], &number, err))
        return NULL;
    if (change ? !partition_edit(partition, err) : !partition_open(partition, err))
        return NULL;
    return table_need(partition->table, number, err);
}

static bool show(struct partition *partition, const char *key, const char *value)
{
    if (output_json(partition->out)) {
        report_bytes(output_report(partition->out), key, value, strlen(value));
    } else {
        output_name(partition->out, value);
        output_printf(partition->out, "\n");
    }
    return true;
}

bool partition_type(struct partition *partition, struct error *err)
{
    bool change = partition->argc > 1;
    struct part *part = open_part(partition, change, err);
    if (!part)
        return false;
    const struct part_type *type = table_type_find(partition->table->driver, part->type);
    if (!change && output_json(partition->out)) {
        struct report *report = output_report(partition->out);
        report_text(report, "type", part->type);
        if (type)
            report_text(report, "type-name", type->name);
        return true;
    }
    if (!change)
        return show(partition, "type", type ? type->name : part->type);
    char text[40];
    if (!table_type_parse(partition->table->driver, partition->args[1], text, err))
        return false;
    bool was = part->flags & PART_EXTENDED,
         is = partition->table->driver->primaries && part_type_is_extended(text);
    if (was != is)
        return fail(err, E_INVALID, "partition %u %s an extended partition: delete it and add another",
                    part->number, was ? "is" : "cannot become");
    snprintf(part->type, sizeof part->type, "%s", text);
    return partition_store(partition, err);
}

bool partition_name(struct partition *partition, struct error *err)
{
    bool change = partition->argc > 1;
    struct part *part = open_part(partition, change, err);
    if (!part)
        return false;
    if (!change)
        return show(partition, "name", part->name);
    return table_set_name(partition->table, part, partition->args[1], err) && partition_store(partition, err);
}

static bool disk_uuid(struct partition *partition, bool change, struct error *err)
{
    if (change ? !partition_edit(partition, err) : !partition_open(partition, err))
        return false;
    if (!change)
        return show(partition, "uuid", partition->table->uuid);
    if (!partition->table->driver->set_uuid)
        return fail(err, E_UNSUPPORTED, "a disk with %s has no identity",
                    partition->table->driver->head.title);
    return partition->table->driver->set_uuid(partition->table, partition->args[1], err) &&
           partition_store(partition, err);
}

bool partition_uuid(struct partition *partition, struct error *err)
{
    bool change = partition->argc > 1;
    unsigned number;
    if (!partition_number(partition, partition->args[0], &number, err))
        return false;
    if (number == 0)
        return disk_uuid(partition, change, err);
    struct part *part = open_part(partition, change, err);
    if (!part)
        return false;
    if (!change)
        return show(partition, "uuid", part->uuid);
    return table_set_part_uuid(partition->table, part, partition->args[1], err) &&
           partition_store(partition, err);
}

bool partition_flag(struct partition *partition, struct error *err)
{
    bool change = partition->argc > 1, on = true;
    struct part *part = open_part(partition, change, err);
    if (!part)
        return false;
    if (!change) {
        char flags[400];
        table_flags_text(partition->table, part, flags, sizeof flags);
        return show(partition, "flags", flags);
    }
    if (partition->argc > 2) {
        on = strcmp(partition->args[2], "on") == 0;
        if (!on && strcmp(partition->args[2], "off") != 0)
            return fail(err, E_USAGE, "a flag is on or off, not '%s'", partition->args[2]);
    }
    return table_set_flag(partition->table, part, partition->args[1], on, err) &&
           partition_store(partition, err);
}
