#include "bytes.h"
#include "command.h"
#include "place_arg.h"

#include <stdio.h>
#include <sys/stat.h>

static const struct arg args[] = {
    {"IMAGE", ARG_IMAGE, ARG_OPTIONAL, "the image; the current one when left out", NULL},
    {0},
};

static uint64_t size_on_host(const struct image *image)
{
    struct stat st;
    return stat(image->path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static bool report_container(struct image *image, bool verbose, struct report *report, struct error *err)
{
    report_bytes(report, "filename", image->path, strlen(image->path));
    report_text(report, "format", image->container->head.name);
    report_size(report, "actual-size", size_on_host(image));
    return !image->container->info || image->container->info(image->disk, verbose, report, err);
}

static void report_foreign(struct report *report, const struct signature *foreign)
{
    char text[200];
    snprintf(text, sizeof text, "%s, which dish cannot open", foreign->title);
    report_text(report, "type", foreign->name);
    report_text(report, "problem", text);
}

/* Volumes that cannot be read are part of the picture: they say why. */
static void report_volume(struct volume *volume, bool verbose, struct report *report)
{
    const struct fs_driver *driver = NULL;
    struct error err = {0};
    struct fs_stat stat;
    struct fs *fs;
    report_open(report, NULL);
    report_number(report, "number", volume->number);
    report_number(report, "offset", volume->start);
    report_size(report, "size", volume->device->size);
    if (volume->part) {
        report_text(report, "partition-type", volume->part->type);
        report_text(report, "partition-name", volume->part->name);
        report_text(report, "partition-uuid", volume->part->uuid);
    }
    if (!volume_probe(volume, &driver, &err)) {
        report_text(report, "problem", err.message);
    } else if (driver && !volume_fs(volume, &fs, &err)) {
        report_text(report, "type", driver->head.name);
        report_text(report, "problem", err.message);
    } else if (driver) {
        report_text(report, "type", fs->type);
        report_text(report, "label", fs->label);
        report_text(report, "uuid", fs->uuid);
        if (fs->driver->statfs(fs, &stat, &err))
            report_size(report, "used", (stat.blocks - stat.free_blocks) * stat.block_size);
        if (fs->change != FS_IN_PLACE)
            report_text(report, "read-only", fs->why);
        if (verbose && fs->driver->info && !fs->driver->info(fs, verbose, report, &err))
            report_text(report, "problem", err.message);
    } else if (volume_foreign(volume))
        report_foreign(report, volume_foreign(volume));
    report_close(report);
}

/* What is refused is described and refused all the same;
 * only that contents are kept elsewhere is no fault. */
static bool info_judge(const struct image *image, struct report *report, struct error *err)
{
    const struct container_driver *driver = image->container;
    if (image_usable(image, err))
        return true;
    if (driver->refused(image->disk))
        return false;
    report_text(report, "problem", image->refusal.message);
    return image->refusal.kind == E_UNSUPPORTED;
}

static bool run_info(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct report *report = output_report(out);
    bool verbose = call_verbose(call) || call_has(call, "verbose");
    struct image *image;
    if (!arg_image_to_check(session, call->argc ? call->args[0] : NULL, &image, err) ||
        !report_container(image, verbose, report, err))
        return false;
    if (image->refusal.kind != E_OK)
        return info_judge(image, report, err);
    if (image->table) {
        report_open(report, "partition-table");
        report_text(report, "type", image->table->driver->head.name);
        report_text(report, "uuid", image->table->uuid);
        report_number(report, "sector-size", image->table->sector_size);
        report_close(report);
    }
    report_open_list(report, "volumes");
    for (size_t i = 0; i < image->volume_count; i++)
        if (image->volumes[i]->number != 0 || !image->table)
            report_volume(image->volumes[i], verbose, report);
    report_close(report);
    return true;
}

static const struct flag flags[] = {
    {'v', "verbose", NULL, ARG_WORD, "everything the layers can tell of themselves"},
    {0},
};

const struct command info_command = {
    .name = "info",
    .group = "Images",
    .summary = "show the stack: container, partition table, filesystems",
    .examples = "info\ninfo -v\ninfo old",
    .args = args,
    .flags = flags,
    .needs = NEEDS_IMAGE | LOOKS,
    .run = run_info,
};

static bool run_qcow2_info(struct session *session, struct call *call, struct output *out, struct error *err)
{
    bool verbose = call_verbose(call) || call_has(call, "verbose");
    struct image *image;
    if (!arg_image_to_check(session, call->argc ? call->args[0] : NULL, &image, err))
        return false;
    /* The command is named after the format. */
    const char *name = call->command->name, *format = image->container->head.name;
    size_t n = strcspn(name, "-");
    if (strlen(format) != n || strncmp(format, name, n) != 0)
        return fail(err, E_INVALID, "%s is a %s image, not %.*s", image->name, format, (int)n, name);
    return report_container(image, verbose, output_report(out), err) &&
           info_judge(image, output_report(out), err);
}

const struct command qcow2_info_command = {
    .name = "qcow2-info",
    .group = "Images",
    .summary = "show header, features, tables and counts of a qcow2 image",
    .details = "With -v also the tables' places, allocation counts, fragmentation, snapshots and bitmaps.",
    .examples = "qcow2-info\nqcow2-info -v old",
    .args = args,
    .flags = flags,
    .needs = NEEDS_IMAGE | LOOKS,
    .run = run_qcow2_info,
};
