/* where and what: from a file's bytes down to the host, and from any byte up to its owner. */
#include "where.h"
#include "bytes.h"
#include "command.h"
#include "path.h"
#include "where_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool run_where(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct location location = {0};
    uint64_t off = 0;
    fs_id id;
    bool ok = location_parse(session, call->args[0], &location, err);
    struct where_text text;
    struct report *report = &text.report;
    where_text_begin(&text, session, out);
    if (ok && output_json(out))
        report = output_report(out);
    if (ok && location.kind == LOCATION_PATH) {
        ok = (call->argc == 1 ||
              fail(err, E_USAGE, "an offset goes with a device (2:, 0:), not with a path")) &&
             path_find(&location, false, &id, err);
        if (ok) {
            report_bytes(report, "path", call->args[0], strlen(call->args[0]));
            ok = where_file(location.volume, id, report, err);
        }
    } else if (ok) {
        struct device *device = location_device(&location);
        ok = call->argc < 2 || call_size(call->args[1], device->size, &off, err);
        if (ok && off >= device->size)
            ok = fail(err, E_INVALID, "offset %" PRIu64 " is past the end (%" PRIu64 ")", off, device->size);
        if (ok && location.kind == LOCATION_VOLUME && location.volume->number)
            report_number(report, "partition", location.volume->number);
        ok = ok && where_device(device, off, report, err);
    }
    location_free(&location);
    return ok;
}

static const struct arg where_args[] = {
    {"PLACE", ARG_PLACE, ARG_ONE, "a path, or a device: 2:, 0:", NULL},
    {"OFFSET", ARG_SIZE, ARG_OPTIONAL, "bytes in the device", NULL},
    {0},
};

const struct command where_command = {
    .name = "where",
    .group = "Teaching",
    .summary = "follow a file's bytes through every layer",
    .details = "File offset, filesystem block, partition, virtual disk, the container's tables, and the "
               "offset in the "
               "host file (of the backing chain, where they lie there).",
    .examples = "where /etc/motd\nwhere 2: 0x438",
    .args = where_args,
    .needs = NEEDS_IMAGE,
    .run = run_where,
};

/* ---- what ---- */

static const char *owner_text(enum owner_kind kind)
{
    static const char *const texts[] = {
        [OWNER_UNKNOWN] = "unknown", [OWNER_FREE] = "free",   [OWNER_STRUCTURE] = "structure",
        [OWNER_DATA] = "data",       [OWNER_SLACK] = "slack", [OWNER_RESERVED] = "reserved",
    };
    return texts[kind];
}

struct what {
    struct output *out;
    struct report *report; /* JSON; NULL in text */
};

static const struct field *field_at(const struct place *place, uint64_t off)
{
    for (size_t i = 0; place->layout && i < place->layout->field_count; i++) {
        const struct field *field = &place->layout->fields[i];
        if (off >= place->off + field->off && off < place->off + field->off + field->width)
            return field;
    }
    return NULL;
}

/* As `show` prints it; empty when it is too long or cannot be read. */
static void field_value(const struct place *place, const struct field *field, char *value, size_t size)
{
    uint8_t raw[128];
    struct error ignored = {0};
    value[0] = '\0';
    if (field->width <= sizeof raw && field->off + field->width <= place->size &&
        device_read(place->device, place->off + field->off, raw, field->width, &ignored))
        field->kind->format(field, raw, value, size);
}

static void print_field(struct output *out, const struct place *place, const struct field *field)
{
    char value[200];
    field_value(place, field, value, sizeof value);
    output_printf(out, ", field %s%s", field->name, value[0] ? " = " : "");
    output_name(out, value);
    output_printf(out, " (%s)", field->meaning);
}

static void print_step(const struct what *what, const struct what_step *step, const struct field *field)
{
    const struct owner *owner = &step->owner;
    const struct place *place = &owner->place;
    output_printf(what->out, "%s", step->layer);
    if (step->volume)
        output_printf(what->out, " (volume %u)", step->volume->number);
    output_printf(what->out, " 0x%" PRIx64 ": ", step->off);
    if (place->layout) {
        output_printf(what->out, "%s", place->title[0] ? place->title : place->layout->title);
        if (step->path) {
            output_printf(what->out, " of ");
            output_name(what->out, step->path);
        }
    } else if (step->path) {
        output_printf(what->out,
                      owner->kind == OWNER_SLACK ? "slack after the end of " : "byte %" PRIu64 " of ",
                      owner->file_off);
        output_name(what->out, step->path);
    } else {
        output_printf(what->out, "%s", owner->text[0] ? owner->text : owner_text(owner->kind));
    }
    if (owner->kind == OWNER_DATA && !step->volume && !strstr(owner->text, "offset"))
        output_printf(what->out, " (offset 0x%" PRIx64 ")", owner->file_off);
    if (field)
        print_field(what->out, place, field);
    output_printf(what->out, "\n");
}

static bool emit_step(const struct what_step *step, void *arg, struct error *err)
{
    const struct what *what = arg;
    const struct owner *owner = &step->owner;
    const struct field *field = field_at(&owner->place, step->off);
    struct report *report = what->report;
    (void)err;
    if (!report) {
        print_step(what, step, field);
        return true;
    }
    report_open(report, NULL);
    report_text(report, "layer", step->layer);
    if (step->volume)
        report_number(report, "volume", step->volume->number);
    report_number(report, "offset", step->off);
    report_text(report, "kind", owner_text(owner->kind));
    if (owner->text[0])
        report_text(report, "text", owner->text);
    if (owner->place.layout) {
        report_text(report, "structure", owner->place.layout->name);
        report_text(report, "title", owner->place.title[0] ? owner->place.title : owner->place.layout->title);
        report_number(report, "structure-offset", owner->place.off);
    }
    if (field) {
        char value[200];
        field_value(&owner->place, field, value, sizeof value);
        report_text(report, "field", field->name);
        report_text(report, "value", value);
    }
    if (step->path)
        report_bytes(report, "path", step->path, strlen(step->path));
    if (owner->kind == OWNER_DATA)
        report_number(report, step->volume ? "file-offset" : "guest-offset", owner->file_off);
    report_close(report);
    return true;
}

static bool run_what(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct what what = {.out = out, .report = output_json(out) ? output_report_list(out) : NULL};
    struct location location = {0};
    uint64_t off;
    bool ok = location_parse(session, call->args[0], &location, err);
    if (ok && location.kind == LOCATION_PATH)
        ok = fail(err, E_USAGE, "what asks about a device (2:, 0:, file:); `where` follows a path");
    ok = ok && call_size(call->args[1], location_device(&location)->size, &off, err) &&
         what_at(&location, off, emit_step, &what, err);
    location_free(&location);
    return ok;
}

static const struct arg what_args[] = {
    {"PLACE", ARG_PLACE, ARG_ONE, "a device: 2: (volume 2), 0: (the virtual disk), file: (the image file)",
     NULL},
    {"OFFSET", ARG_SIZE, ARG_ONE, "bytes in it", NULL},
    {0},
};

const struct command what_command = {
    .name = "what",
    .group = "Teaching",
    .summary = "say whose byte this is, layer by layer",
    .examples = "what 0: 0x4000438\nwhat file: 65536\nwhat 2: 1M",
    .args = what_args,
    .needs = NEEDS_IMAGE,
    .run = run_what,
};
