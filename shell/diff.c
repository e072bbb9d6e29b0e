#include "alloc.h"
#include "changes.h"
#include "changes_print.h"
#include "command.h"
#include "where.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct printer {
    struct output *out;
    struct report *report; /* JSON; NULL in text */
    struct place last;     /* the structure whose heading was printed */
    const struct image *image;
    bool several; /* images are open: say which */
};

static void print_place(struct printer *printer, const struct change *change)
{
    struct extent host;
    struct error ignored = {0};
    output_printf(printer->out, " (0x%" PRIx64, change->place.layout ? change->place.off : change->off);
    struct device *device = change->place.device;
    uint64_t off = change->place.layout ? change->place.off : change->off;
    if (device->below && off < device->size && device_map_to_bottom(device, off, &host, &ignored) &&
        host.device && !(host.flags & EXTENT_HOLE) && host.off != off)
        output_printf(printer->out, ", file 0x%" PRIx64, host.off);
    output_printf(printer->out, ")");
}

static void print_heading(struct printer *printer, const struct change *change)
{
    const struct place *place = &change->place;
    if (printer->several)
        output_printf(printer->out, "%s: ", printer->image->name);
    if (change->volume)
        output_printf(printer->out, "%u: ", change->volume->number);
    output_printf(printer->out, "%s: ", change->layer);
    if (place->layout)
        output_name(printer->out, place->title[0] ? place->title : place->layout->title);
    else
        output_name(printer->out, change->text);
    print_place(printer, change);
    output_printf(printer->out, "\n");
}

static void print_value(struct output *out, const char *value, const char *meaning)
{
    output_name(out, value);
    if (meaning[0]) {
        output_printf(out, " (");
        output_name(out, meaning);
        output_printf(out, ")");
    }
}

static bool print_change(const struct change *change, void *arg, struct error *err)
{
    struct printer *printer = arg;
    const struct place *place = &change->place;
    (void)err;
    bool same = place->layout && printer->last.layout == place->layout && printer->last.off == place->off &&
                printer->last.device == place->device;
    if (!same)
        print_heading(printer, change);
    printer->last = *place;
    if (change->field) {
        output_printf(printer->out, "    %s: ", change->field->name);
        print_value(printer->out, change->old_value, change->old_meaning);
        output_printf(printer->out, " -> ");
        print_value(printer->out, change->new_value, change->new_meaning);
        output_printf(printer->out, "\n");
    } else if (place->layout) {
        output_printf(printer->out, "    %s\n", change->text);
    }
    return !output_closed(printer->out) || fail(err, E_INTERRUPTED, "the reader went away");
}

static bool report_change(const struct change *change, void *arg, struct error *err)
{
    struct printer *printer = arg;
    struct report *report = printer->report;
    (void)err;
    report_open(report, NULL);
    report_text(report, "image", printer->image->name);
    report_text(report, "layer", change->layer);
    if (change->volume)
        report_number(report, "volume", change->volume->number);
    report_number(report, "offset", change->off);
    report_number(report, "length", change->len);
    if (change->place.layout) {
        const struct place *place = &change->place;
        report_text(report, "structure", place->title[0] ? place->title : place->layout->title);
    }
    if (change->field) {
        report_text(report, "field", change->field->name);
        report_text(report, "old", change->old_value);
        report_text(report, "new", change->new_value);
    } else {
        report_text(report, "text", change->text);
    }
    report_close(report);
    return true;
}

bool changes_print(struct session *session, bool last_command, struct output *out, struct error *err)
{
    struct printer printer = {.out = out, .several = session->images && session->images->next};
    if (output_json(out))
        printer.report = output_report_list(out);
    for (struct image *image = session->images; image; image = image->next) {
        printer.image = image;
        printer.last = (struct place){0};
        if (image->is_new && !last_command) {
            if (!printer.report)
                output_printf(out, "%s: a new image, not committed yet\n", image->path);
            continue;
        }
        if (!changes_each(session, image, last_command, printer.report ? report_change : print_change,
                          &printer, err))
            return output_closed(out);
    }
    return true;
}

static bool run(struct session *session, struct call *call, struct output *out, struct error *err)
{
    return changes_print(session, call_has(call, "last") > 0, out, err);
}

static const struct flag flags[] = {
    {'1', "last", NULL, ARG_WORD, "only what the newest command changed"},
    {0},
};

const struct command diff_command = {
    .name = "diff",
    .group = "Images",
    .summary = "list what changed on disk since the last commit",
    .details = "Structure by structure and field by field, in every layer, old value and new one.",
    .flags = flags,
    .needs = NEEDS_IMAGE | LOOKS,
    .run = run,
};
