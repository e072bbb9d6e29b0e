/* measure: how large the file of an image would become. */
#include "alloc.h"
#include "command.h"
#include "disk_arg.h"

#include <stdlib.h>
#include <unistd.h>

/* The bitmaps of the source, as the target's driver wants to hear of them. */
struct bitmaps {
    uint64_t *granularities;
    size_t *name_bytes;
    size_t count, capacity, name_capacity;
    struct error *err;
    bool failed;
};

static bool add_bitmap(const struct bitmap_info *info, void *arg)
{
    struct bitmaps *bitmaps = arg;
    if (info->inconsistent)
        return true;
    bitmaps->failed = !mem_grow(&bitmaps->granularities, &bitmaps->capacity, bitmaps->count + 1,
                                sizeof *bitmaps->granularities, bitmaps->err) ||
                      !mem_grow(&bitmaps->name_bytes, &bitmaps->name_capacity, bitmaps->count + 1,
                                sizeof *bitmaps->name_bytes, bitmaps->err);
    if (bitmaps->failed)
        return false;
    bitmaps->granularities[bitmaps->count] = info->granularity;
    bitmaps->name_bytes[bitmaps->count++] = strlen(info->name);
    return true;
}

static void print(const struct measure *measure, bool with_bitmaps, struct report *report)
{
    report_size(report, "required", measure->required);
    report_size(report, "fully-allocated", measure->fully_allocated);
    if (with_bitmaps)
        report_size(report, "bitmaps", measure->bitmap_bytes);
}

static bool measure_size(const struct container_driver *driver, const struct options *options,
                         const char *text, struct output *out, struct error *err)
{
    struct measure measure = {0};
    if (!call_size(text, 0, &measure.size, err) || !driver->measure(options, &measure, err))
        return false;
    print(&measure, false, output_report(out));
    return true;
}

static bool measure_disk(const struct container_driver *driver, const struct options *options,
                         const struct disk_arg *source, struct output *out, struct error *err)
{
    struct bitmaps bitmaps = {.err = err};
    bool asked = source->container && source->driver->bitmaps, ok = true;
    if (asked && !source->driver->bitmaps(source->container, add_bitmap, &bitmaps, err)) {
        asked = false; /* the image is of a version that has none */
        ok = err->kind == E_UNSUPPORTED;
    }
    struct measure measure = {.size = source->disk->size,
                              .source = source->disk,
                              .bitmaps = bitmaps.granularities,
                              .name_bytes = bitmaps.name_bytes,
                              .bitmap_count = bitmaps.count};
    ok = ok && !bitmaps.failed && driver->measure(options, &measure, err);
    if (ok)
        print(&measure, asked && measure.has_bitmaps, output_report(out));
    free(bitmaps.granularities);
    free(bitmaps.name_bytes);
    return ok;
}

/* What is no file and reads as a size is one. */
static bool is_size(const char *text)
{
    struct error ignored = {0};
    uint64_t size;
    return access(text, F_OK) != 0 && size_parse(text, &size, &ignored);
}

static bool run(struct session *session, struct call *call, struct output *out, struct error *err)
{
    const char *format = call_value(call, "format"), *subject = call->args[0];
    const struct container_driver *driver =
        format ? session_container(session, format) : session_container_for(session, "");
    struct options options = {0};
    struct disk_arg source;
    if (!driver || !driver->measure)
        return fail(err, E_INVALID, "unknown image format '%s'", format);
    bool ok = call_options(call, 'o', driver->head.make_options, &options, err);
    if (ok && is_size(subject)) {
        ok = measure_size(driver, &options, subject, out, err);
    } else if (ok) {
        ok = disk_arg_open(session, subject, call_value(call, "source-format"), call_value(call, "snapshot"),
                           &source, err);
        if (ok) {
            ok = measure_disk(driver, &options, &source, out, err);
            disk_arg_close(&source);
        }
    }
    options_free(&options);
    return ok;
}

static const struct arg args[] = {
    {"SIZE|FILE", ARG_HOST, ARG_ONE, "of a new image, or the disk to be converted: a file, or NAME:", NULL},
    {0},
};

static const struct flag flags[] = {
    {'f', "format", "FORMAT", ARG_CONTAINER, "format of the image to be made"},
    {'F', "source-format", "FORMAT", ARG_CONTAINER, "format of FILE: do not probe"},
    {'o', "options", "KEY=VALUE,...", ARG_OPTIONS, "options of the image to be made"},
    {'l', "snapshot", "SNAPSHOT", ARG_SNAPSHOT, "the contents of an internal snapshot of FILE"},
    {0},
};

const struct command measure_command = {
    .name = "measure",
    .group = "Images",
    .summary = "tell how much space an image would take",
    .details =
        "Nothing is written. `required` is what the contents need, `fully-allocated` what the file can "
        "grow to.",
    .examples = "measure 10G\nmeasure -o cluster_size=4K disk.raw",
    .args = args,
    .flags = flags,
    .run = run,
};
