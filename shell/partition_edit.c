/* Adding, taking away, growing and moving partitions. */
#include "partition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As guestfish has it: p|l|e FIRST LAST in sectors, where a negative LAST counts from the disk's end. */
static bool is_guestfish(const struct partition *partition)
{
    const char *word = partition->args[0];
    return partition->argc == 3 && strlen(word) == 1 && strchr("ple", word[0]);
}

static bool guestfish_request(struct partition *partition, struct part_request *request, struct error *err)
{
    const struct table *table = partition->table;
    uint64_t sectors = table->disk->size / table->sector_size;
    char *end1, *end2;
    unsigned long long first = strtoull(partition->args[1], &end1, 10);
    long long last = strtoll(partition->args[2], &end2, 10);
    if (last < 0 && (uint64_t)-last <= sectors)
        last = (long long)(sectors - (uint64_t)-last);
    if (*end1 || *end2 || last < 0 || (uint64_t)last >= sectors || first > (uint64_t)last)
        return fail(err, E_INVALID, "sectors %s to %s are not a range on this disk (0 to %" PRIu64 ")",
                    partition->args[1], partition->args[2], sectors - 1);
    *request = (struct part_request){
        .start = first * table->sector_size,
        .size = ((uint64_t)last - first + 1) * table->sector_size,
        .type = partition->args[0][0] == 'e' ? "extended" : NULL,
        .logical = partition->args[0][0] == 'l',
    };
    return true;
}

static bool parse_request(struct partition *partition, struct part_request *request, struct error *err)
{
    const char *size = partition->args[0], *start = call_value(partition->call, "start");
    const char *align = call_value(partition->call, "align"), *number = call_value(partition->call, "number");
    const struct table *table = partition->table;
    *request = (struct part_request){
        .start = PART_ANYWHERE,
        .size = PART_REST,
        .type = partition->argc > 1 ? partition->args[1] : NULL,
        .name = partition->argc > 2 ? partition->args[2] : NULL,
        .uuid = call_value(partition->call, "uuid"),
        .logical = call_has(partition->call, "logical") > 0,
    };
    if (is_guestfish(partition))
        return guestfish_request(partition, request, err);
    if (number && !partition_number(partition, number, &request->number, err))
        return false;
    return (strcmp(size, "rest") == 0 ||
            partition_size(partition, size + (size[0] == '+'), table->disk->size, &request->size, err)) &&
           (!start || partition_size(partition, start, 0, &request->start, err)) &&
           (!align || partition_size(partition, align, 0, &request->align, err));
}

static bool set_flags(struct table *table, unsigned number, const char *flags, struct error *err)
{
    char word[40];
    struct part *part = table_part(table, number);
    for (const char *p = flags; p && *p; p += *p == ',') {
        size_t n = strcspn(p, ",");
        snprintf(word, sizeof word, "%.*s", (int)(n < sizeof word ? n : sizeof word - 1), p);
        if (!table_set_flag(table, part, word, true, err))
            return false;
        p += n;
    }
    return true;
}

bool partition_add(struct partition *partition, struct error *err)
{
    struct part_request request;
    unsigned number;
    if (!partition_edit(partition, err) || !parse_request(partition, &request, err) ||
        !table_add(partition->table, &request, &number, err) ||
        !set_flags(partition->table, number, call_value(partition->call, "flags"), err) ||
        !partition_store(partition, err))
        return false;
    if (output_json(partition->out))
        report_number(output_report(partition->out), "number", number);
    else if (call_verbose(partition->call))
        output_printf(partition->out, "partition %u\n", number);
    return true;
}

static int descending(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return x > y ? -1 : x < y;
}

bool partition_delete(struct partition *partition, struct error *err)
{
    unsigned *numbers = calloc((size_t)partition->argc, sizeof *numbers);
    bool ok = numbers || fail(err, E_NOMEM, "out of memory");
    for (int i = 0; ok && i < partition->argc; i++)
        ok = partition_number(partition, partition->args[i], &numbers[i], err);
    ok = ok && partition_edit(partition, err);
    /* From the last one on: logical partitions behind a deleted one change their number. */
    if (ok)
        qsort(numbers, (size_t)partition->argc, sizeof *numbers, descending);
    for (int i = 0; ok && i < partition->argc; i++)
        ok = partition_release(partition, numbers[i], err) && table_delete(partition->table, numbers[i], err);
    free(numbers);
    return ok && partition_store(partition, err);
}

/* A filesystem that reaches past the new end would be cut. */
static bool check_contents(struct partition *partition, unsigned number, uint64_t size, struct error *err)
{
    struct volume *volume;
    const struct fs_driver *driver;
    struct error ignored = {0};
    struct fs_stat stat;
    struct fs *fs;
    if (call_has(partition->call, "force") || !image_volume(partition->image, number, &volume, &ignored) ||
        size >= volume->device->size || !volume_probe(volume, &driver, &ignored) || !driver ||
        !volume_fs(volume, &fs, &ignored) || !fs->driver->statfs(fs, &stat, &ignored))
        return true;
    uint64_t needed = stat.blocks * stat.block_size;
    return size >= needed || fail(err, E_NOTEMPTY,
                                  "the %s filesystem in partition %u has %" PRIu64
                                  " bytes and would be cut: `resizefs %u %" PRIu64 "` first (or --force)",
                                  fs->type, number, needed, number, size);
}

bool partition_resize(struct partition *partition, struct error *err)
{
    unsigned number;
    uint64_t size = PART_REST;
    if (!partition_number(partition, partition->args[0], &number, err) || !partition_edit(partition, err))
        return false;
    const struct part *part = table_need(partition->table, number, err);
    if (!part)
        return false;
    if (strcmp(partition->args[1], "rest") != 0 &&
        !partition_size(partition, partition->args[1], part->len, &size, err))
        return false;
    return (size == PART_REST || check_contents(partition, number, size, err)) &&
           partition_release(partition, number, err) && table_resize(partition->table, number, size, err) &&
           partition_store(partition, err);
}

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
    session_progress(arg, "moving", done, total);
}

/* Some boot sectors say where on the disk they are. */
static bool tell_filesystem(struct partition *partition, unsigned number, uint64_t from, struct error *err)
{
    const struct fs_driver *driver;
    struct error ignored = {0};
    struct volume *volume;
    struct fs *fs;
    if (!image_volume(partition->image, number, &volume, &ignored) ||
        !volume_probe(volume, &driver, &ignored) || !driver || !driver->moved ||
        !volume_fs(volume, &fs, &ignored) || fs->change != FS_IN_PLACE)
        return true;
    partition->image->reread = true;
    return driver->moved(fs, from, volume->start, err);
}

bool partition_move(struct partition *partition, struct error *err)
{
    unsigned number;
    uint64_t start;
    if (!partition_number(partition, partition->args[0], &number, err) || !partition_edit(partition, err))
        return false;
    const struct part *part = table_need(partition->table, number, err);
    if (!part)
        return false;
    uint64_t from = part->off;
    return partition_size(partition, partition->args[1], from, &start, err) &&
           partition_release(partition, number, err) &&
           table_move(partition->table, number, start, show_progress, partition->session, err) &&
           partition_store(partition, err) && tell_filesystem(partition, number, from, err);
}

bool partition_sort(struct partition *partition, struct error *err)
{
    if (!partition_edit(partition, err))
        return false;
    for (size_t i = 0; i < partition->table->count; i++)
        if (!partition_release(partition, partition->table->parts[i].number, err))
            return false;
    return table_sort(partition->table, err) && partition_store(partition, err);
}
