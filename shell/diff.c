#include "alloc.h"
#include "bytes.h"
#include "changes.h"
#include "changes_print.h"
#include "copying.h"
#include "file_diff.h"
#include "where.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    if (change->count > 1)
        output_printf(printer->out, ", %" PRIu64 " in a row", change->count);
    output_printf(printer->out, ")");
}

static void print_contents(struct output *out, const struct change *change)
{
    output_printf(out, "contents of ");
    if (change->path)
        output_name(out, change->path);
    else
        output_printf(out, "file %" PRIu64, change->file);
    output_printf(out, ", bytes %" PRIu64 "-%" PRIu64, change->file_off, change->file_off + change->len - 1);
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
    else if (change->file)
        print_contents(printer->out, change);
    else
        output_name(printer->out, change->text);
    print_place(printer, change);
    output_printf(printer->out, "\n");
}

/* How far the values of entries in a row lie apart. */
static int64_t signed_step(const struct change *change, uint64_t step)
{
    unsigned bits = change->field->width < 8 ? change->field->width * 8 : 64;
    uint64_t sign = (uint64_t)1 << (bits - 1);
    return (int64_t)((step ^ sign) - sign);
}

static void print_step(struct output *out, const struct change *change, uint64_t step, const char *last)
{
    int64_t by = signed_step(change, step);
    uint64_t size = by < 0 ? 0 - (uint64_t)by : (uint64_t)by;
    if (!step)
        return;
    output_printf(out, " to %s, each ", last);
    output_printf(out, strncmp(last, "0x", 2) == 0 ? "0x%" PRIx64 : "%" PRIu64, size);
    output_printf(out, by < 0 ? " less" : " more");
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
        print_step(printer->out, change, change->old_step, change->last_old_value);
        output_printf(printer->out, " -> ");
        print_value(printer->out, change->new_value, change->new_meaning);
        print_step(printer->out, change, change->new_step, change->last_new_value);
        output_printf(printer->out, "\n");
    } else if (place->layout) {
        output_printf(printer->out, "    %s\n", change->text);
    }
    return !output_closed(printer->out) || fail(err, E_INTERRUPTED, "the reader went away");
}

/* Entries in a row: the values above are those of the first. */
static void report_run(struct report *report, const struct change *change)
{
    if (change->count < 2)
        return;
    report_number(report, "count", change->count);
    report_number(report, "stride", change->stride);
    report_text(report, "last-old", change->last_old_value);
    report_text(report, "last-new", change->last_new_value);
    report_signed(report, "old-step", signed_step(change, change->old_step));
    report_signed(report, "new-step", signed_step(change, change->new_step));
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
        report_run(report, change);
    } else if (change->file) {
        report_number(report, "file", change->file);
        if (change->path)
            report_text(report, "path", change->path);
        report_number(report, "file-offset", change->file_off);
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

/* One side, if it is a file of an image or of the host; *other: it is a directory or a device. */
static bool open_file(struct session *session, struct call *call, const char *text, struct reader *reader,
                      bool *other, struct error *err)
{
    struct location place = {0};
    if (!tree_end_is_host(text) || session_image(session, "host")) {
        if (!location_parse(session, text, &place, err))
            return because(err, "%s", text);
        *other |= place.kind != LOCATION_PATH;
        location_free(&place);
    }
    if (*other || reader_open(session, call, text, reader, err))
        return *other || reader->size != UINT64_MAX ||
               fail(err, E_INVALID, "%s: is not a regular file", text);
    *other = err->kind == E_ISDIR;
    return *other;
}

static bool diff_two(struct session *session, struct call *call, struct output *out, struct error *err)
{
    static char cmp[] = "cmp", recursive[] = "-r", attributes[] = "-ra", end[] = "--";
    struct file_diff diff = {.session = session, .out = out, .brief = call_has(call, "q")};
    uint64_t context;
    bool trees = call_has(call, "attributes"), differ = false, ok = option_size(call, "U", 3, &context, err);
    diff.context = ok ? (size_t)MIN_OF(context, (uint64_t)UINT32_MAX) : 0;
    for (int i = 0; i < 2 && ok && !trees; i++)
        ok = open_file(session, call, call->args[i], &diff.readers[i], &trees, err);
    if (ok && !trees) {
        ok = file_diff(&diff, &differ, err);
        if (ok && differ && diff.brief && !output_json(out))
            output_printf(out, "Files %s and %s differ\n", call->args[0], call->args[1]);
        ok = ok && (!differ || fail(err, E_FAILED, "%s", ""));
    } else if (ok) {
        char *words[] = {cmp, call_has(call, "attributes") ? attributes : recursive, end, call->args[0],
                         call->args[1]};
        ok = call_run(call, words, ARRAY_LEN(words), out, err);
    }
    reader_close(&diff.readers[0]);
    reader_close(&diff.readers[1]);
    return ok;
}

static bool run(struct session *session, struct call *call, struct output *out, struct error *err)
{
    if (call->argc == 1)
        return fail(err, E_USAGE, "with what is %s to be compared? (usage: diff FIRST SECOND)",
                    call->args[0]);
    if (call->argc == 2)
        return diff_two(session, call, out, err);
    if (!session->image)
        return fail(err, E_NOENT,
                    "no image is open; open one with `open FILE` or make one with `create FILE SIZE`");
    return changes_print(session, call_has(call, "last") > 0, out, err);
}

static const struct arg args[] = {
    {"FIRST", ARG_PLACE, ARG_OPTIONAL, "a file or tree to be compared; host:PATH is one of the host", NULL},
    {"SECOND", ARG_PLACE, ARG_OPTIONAL, "with this one", NULL},
    {0},
};

static const struct flag flags[] = {
    {'1', "last", NULL, ARG_WORD, "only what the newest command changed"},
    {'r', "recursive", NULL, ARG_WORD, "with two trees: all that is in them, as always"},
    {'u', NULL, NULL, ARG_WORD, "with two texts: a unified diff, as always"},
    {'U', "unified", "LINES", ARG_NUMBER, "with so many equal lines around each change instead of 3"},
    {'q', "brief", NULL, ARG_WORD, "with two files: only whether they differ"},
    {'a', "attributes", NULL, ARG_WORD, "with two trees: owners, modes, times and extended attributes, too"},
    {0},
};

const struct command diff_command = {
    .name = "diff",
    .group = "Images",
    .summary = "list what changed on disk since the last commit, or compare two trees",
    .details =
        "Structure by structure and field by field, in every layer, old value and new one. Entries of a "
        "table that change alike one after the other are told once, with their number.\n"
        "With two arguments it compares these files or trees and fails when they differ: of texts it prints "
        "the "
        "lines as `diff -u` does, of other files (and of those above 4 MiB) the ranges of bytes, where fewer "
        "than "
        "16 equal ones do not count, of trees what `cmp -r` says.",
    .examples = "mv /etc/motd /etc/motd.old\ndiff\ndiff -1\ndiff -a 2:/etc old:2:/etc\ndiff /srv host:srv\n"
                "diff /etc/fstab old:2:/etc/fstab",
    .args = args,
    .flags = flags,
    .needs = LOOKS,
    .run = run,
};
