/* status: what is open, what is pending; with -v how caches and devices are used. */
#include "command.h"
#include "names.h"
#include "shell.h"

struct listing {
    struct report *report;
    unsigned count;
};

static bool add_pending(const char *command, void *arg)
{
    struct listing *listing = arg;
    report_text(listing->report, NULL, command);
    listing->count++;
    return true;
}

static void report_device(struct report *report, const struct device *device)
{
    report_open(report, NULL);
    report_text(report, "layer", device->ops->name);
    report_number(report, "reads", device->stats.reads);
    report_number(report, "read-bytes", device->stats.read_bytes);
    report_number(report, "writes", device->stats.writes);
    report_number(report, "write-bytes", device->stats.write_bytes);
    report_close(report);
}

static void report_volume(struct report *report, const struct volume *volume)
{
    report_open(report, NULL);
    report_number(report, "volume", volume->number);
    report_text(report, "type", volume->fs->type);
    report_number(report, "reads", volume->device->stats.reads);
    report_number(report, "read-bytes", volume->device->stats.read_bytes);
    report_number(report, "writes", volume->device->stats.writes);
    report_number(report, "write-bytes", volume->device->stats.write_bytes);
    if (volume->fs->driver->cache_report)
        volume->fs->driver->cache_report(volume->fs, report);
    names_report(volume, report);
    report_close(report);
}

static void report_depth(struct report *report, const struct image *image)
{
    report_open_list(report, "layers");
    for (const struct device *device = image->disk; device; device = device->below)
        report_device(report, device);
    report_close(report);
    report_open(report, "stage");
    stage_report(image->file, report);
    report_close(report);
    report_open_list(report, "filesystems");
    for (size_t i = 0; i < image->volume_count; i++)
        if (image->volumes[i]->fs)
            report_volume(report, image->volumes[i]);
    report_close(report);
}

static bool run_status(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct listing listing = {output_report(out), 0};
    struct report *report = listing.report;
    (void)err;
    report_open_list(report, "images");
    for (const struct image *image = session->images; image; image = image->next) {
        report_open(report, NULL);
        report_text(report, "name", image->name);
        report_text(report, "path", image->path);
        report_text(report, "format", image->container->head.name);
        report_bool(report, "pending", image->is_new || stage_pending(image->file));
        report_close(report);
    }
    report_close(report);
    report_open_list(report, "pending");
    session_each_pending(session, add_pending, &listing);
    report_close(report);
    report_bool(report, "autocommit", call->shell->autocommit);
    if (!call_has(call, "verbose"))
        return true;
    for (const struct image *image = session->images; image; image = image->next) {
        report_open(report, image->name);
        report_depth(report, image);
        report_close(report);
    }
    return true;
}

static const struct flag status_flags[] = {
    {'v', "verbose", NULL, ARG_WORD, "also what caches hold and what was read and written in each layer"},
    {0}};

const struct command status_command = {
    .name = "status",
    .group = "Images",
    .summary = "list the commands that wait for a commit",
    .details = "The newest comes first: `undo` takes it back.",
    .examples = "status\nstatus -v",
    .flags = status_flags,
    .run = run_status,
};
