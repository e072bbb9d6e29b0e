#include "command.h"
#include "names.h"

#include <string.h>

static void report_image(struct image *image, struct report *report)
{
    report_open(report, NULL);
    report_text(report, "image", image->name);
    report_open(report, "stage");
    stage_report(image->file, report);
    report_close(report);
    report_open_list(report, "volumes");
    for (size_t i = 0; i < image->volume_count; i++) {
        struct volume *volume = image->volumes[i];
        if (!volume->fs)
            continue;
        report_open(report, NULL);
        report_number(report, "number", volume->number);
        report_text(report, "type", volume->fs->type);
        report_number(report, "device-reads", volume->device->stats.reads);
        report_size(report, "device-read-bytes", volume->device->stats.read_bytes);
        if (volume->fs->driver->cache_report)
            volume->fs->driver->cache_report(volume->fs, report);
        names_report(volume, report);
        report_close(report);
    }
    report_close(report);
    report_close(report);
}

static bool run(struct session *session, struct call *call, struct output *out, struct error *err)
{
    if (call->argc == 1 && strcmp(call->args[0], "drop") == 0)
        return session_drop_caches(session, err);
    if (call->argc == 1)
        return fail(err, E_USAGE, "cache %s? (drop, or nothing to show the figures)", call->args[0]);
    struct report *report = output_report_list(out);
    for (struct image *image = session->images; image; image = image->next)
        report_image(image, report);
    return true;
}

static const struct arg args[] = {
    {"VERB", ARG_WORD, ARG_OPTIONAL, "drop forgets everything cached", "drop"},
    {0},
};

const struct command cache_command = {
    .name = "cache",
    .group = "Teaching",
    .summary = "show what is cached, or forget it",
    .details = "Dropping the caches changes no result, only how much is read again.",
    .examples = "cache\ncache drop",
    .args = args,
    .needs = NEEDS_IMAGE,
    .run = run,
};
