/* map: a picture of the disk; in JSON the runs of the virtual disk as `qemu-img map` lists them. */
#include "alloc.h"
#include "bytes.h"
#include "command.h"
#include "grid.h"
#include "map_draw.h"
#include "place_arg.h"
#include "transfer.h"
#include "usage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- runs ---- */

struct run {
    uint64_t start, len, offset;
    unsigned depth;
    bool present, zero, data, compressed, has_offset;
};

static bool run_at(struct device *disk, uint64_t off, struct run *run, struct error *err)
{
    struct extent extent;
    *run = (struct run){.start = off};
    if (!device_map_chain(disk, off, &extent, &run->depth, err))
        return false;
    run->len = extent.len;
    run->compressed = extent.flags & EXTENT_COMPRESSED;
    run->zero = extent.flags & (EXTENT_HOLE | EXTENT_ZERO | EXTENT_UNWRITTEN);
    run->data = !run->zero;
    run->present = !(extent.flags & EXTENT_HOLE) || extent.flags & EXTENT_ZERO;
    run->has_offset = extent.device && !run->compressed;
    run->offset = extent.off;
    return true;
}

static bool continues(const struct run *run, const struct run *next)
{
    return run->depth == next->depth && run->present == next->present && run->zero == next->zero &&
           run->data == next->data && run->compressed == next->compressed &&
           run->has_offset == next->has_offset &&
           (!run->has_offset || run->offset + run->len == next->offset);
}

static void report_run(struct report *report, const struct run *run)
{
    report_open(report, NULL);
    report_number(report, "start", run->start);
    report_number(report, "length", run->len);
    report_number(report, "depth", run->depth);
    report_bool(report, "present", run->present);
    report_bool(report, "zero", run->zero);
    report_bool(report, "data", run->data);
    report_bool(report, "compressed", run->compressed);
    if (run->has_offset)
        report_number(report, "offset", run->offset);
    report_close(report);
}

static bool report_runs(struct device *disk, struct report *report, struct error *err)
{
    struct run run = {0}, next;
    for (uint64_t off = 0; off < disk->size; off += next.len) {
        if (!run_at(disk, off, &next, err) || !interrupt_check(err))
            return false;
        if (run.len > 0 && continues(&run, &next)) {
            run.len += next.len;
            continue;
        }
        if (run.len > 0)
            report_run(report, &run);
        run = next;
    }
    if (run.len > 0)
        report_run(report, &run);
    return true;
}

/* ---- pictures ---- */

enum { ROWS = 12, FILE_CELLS = 4096 };

static bool draw_file(struct image *image, const char *path, bool html, struct error *err)
{
    struct usage usage;
    if (!usage_read(image, FILE_CELLS, &usage, err))
        return false;
    FILE *file = fopen(path, "w");
    bool ok = file || fail_errno(err, errno, "%s", path);
    if (ok)
        map_draw_svg(file, image, &usage, html);
    if (file && (ferror(file) | fclose(file)) != 0)
        ok = fail_errno(err, errno, "%s", path);
    usage_free(&usage);
    return ok;
}

static bool draw_text(struct image *image, struct output *out, struct error *err)
{
    struct usage usage;
    unsigned width = output_width(out);
    if (!usage_read(image, (size_t)width * ROWS, &usage, err))
        return false;
    map_draw_text(out, image, &usage, width);
    usage_free(&usage);
    return true;
}

static bool run(struct session *session, struct call *call, struct output *out, struct error *err)
{
    const char *svg = call_value(call, "svg"), *html = call_value(call, "html");
    struct image *image;
    if (!arg_image(session, call->argc ? call->args[0] : NULL, &image, err))
        return false;
    if (svg || html)
        return (!svg || draw_file(image, svg, false, err)) && (!html || draw_file(image, html, true, err));
    if (output_json(out))
        return report_runs(image->disk, output_report_list(out), err);
    return draw_text(image, out, err);
}

static const struct arg args[] = {
    {"IMAGE", ARG_IMAGE, ARG_OPTIONAL, "the image; the current one when left out", NULL},
    {0},
};

static const struct flag flags[] = {
    {0, "svg", "FILE", ARG_HOST_NEW, "write the picture as SVG"},
    {0, "html", "FILE", ARG_HOST_NEW, "write the picture as one self-contained page"},
    {0},
};

const struct command map_command = {
    .name = "map",
    .group = "Images",
    .summary = "draw how the disk's space is used",
    .details = "Partitions, gaps, and in each how much of a stretch is used. With --json the runs of the "
               "virtual disk "
               "are listed as `qemu-img map --output=json` does: where they lie and at which depth of the "
               "backing chain.",
    .examples = "map\nmap --html disk.html",
    .args = args,
    .flags = flags,
    .needs = NEEDS_IMAGE,
    .run = run,
};
