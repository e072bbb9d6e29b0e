/* show, explain and poke: on-disk structures by their field tables. */
#include "alloc.h"
#include "bytes.h"
#include "command.h"
#include "layout.h"
#include "structure.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEX_COLUMNS = 8, MAX_PARTS = 1000 };

struct show {
    struct output *out;
    struct report *report; /* JSON; NULL in text */
    const struct place *place;
    bool hex;
    unsigned parts;
};

static void describe_row(const struct row *row, char *text, size_t size)
{
    const char *meaning = row->meaning[0] ? row->meaning : row->field ? row->field->meaning : "";
    if (row->has_computed && row->computed_ok)
        snprintf(text, size, "checksum, right");
    else if (row->has_computed)
        snprintf(text, size, "checksum, WRONG: computed 0x%" PRIx64, row->computed);
    else
        snprintf(text, size, "%s", meaning);
}

/* Eight bytes a line; the names stand on the first. */
static void print_hex_row(const struct show *show, const struct row *row)
{
    char meaning[340];
    describe_row(row, meaning, sizeof meaning);
    for (uint32_t at = 0; at < row->width; at += HEX_COLUMNS) {
        output_printf(show->out, "%08" PRIx64 " ", show->place->off + row->off + at);
        for (uint32_t i = 0; i < HEX_COLUMNS; i++) {
            if (at + i < row->width)
                output_printf(show->out, " %02x", row->raw[at + i]);
            else if (at == 0)
                output_printf(show->out, "   ");
        }
        if (at == 0 && row->field)
            output_printf(show->out, "  %s  %s  %s", row->field->name, row->value, meaning);
        else if (at == 0)
            output_printf(show->out, "  -  %s", meaning);
        output_printf(show->out, "\n");
    }
}

static void print_row(const struct show *show, const struct row *row)
{
    char meaning[340];
    if (!row->field)
        return;
    describe_row(row, meaning, sizeof meaning);
    output_printf(show->out, "+0x%03x %3u  %-24s %-20s %s\n", row->off, row->width, row->field->name,
                  row->value, meaning);
}

static void report_row(const struct show *show, const struct row *row)
{
    struct report *report = show->report;
    report_open(report, NULL);
    report_number(report, "offset", row->off);
    report_number(report, "width", row->width);
    if (row->field) {
        report_text(report, "name", row->field->name);
        report_text(report, "kind", row->field->kind->name);
        report_text(report, "value", row->value);
        if (row->field->order != ORDER_RAW && row->width <= 8)
            report_number(report, "number",
                          row->field->order == ORDER_BE ? load_be(row->raw, row->width)
                                                        : load_le(row->raw, row->width));
        report_text(report, "description", row->field->meaning);
    } else {
        report_null(report, "name");
    }
    if (row->meaning[0])
        report_text(report, "meaning", row->meaning);
    if (row->has_computed) {
        report_number(report, "computed", row->computed);
        report_bool(report, "right", row->computed_ok);
    }
    report_close(report);
}

static bool show_row(const struct row *row, void *arg, struct error *err)
{
    const struct show *show = arg;
    (void)err;
    if (show->report)
        report_row(show, row);
    else if (show->hex)
        print_hex_row(show, row);
    else
        print_row(show, row);
    return true;
}

/* The layer a person thinks of, not the device that stands for it. */
static const char *device_text(struct device *device)
{
    if (!device->below || strcmp(device->ops->name, "stage") == 0)
        return "image file";
    struct extent start;
    struct error ignored = {0};
    bool partition = strcmp(device->ops->name, "partition") == 0;
    bool whole = !partition || (device_map(device, 0, &start, &ignored) && start.off == 0);
    return whole ? "virtual disk" : "partition";
}

static void print_title(const struct show *show, const struct place *place)
{
    const char *title = place->title[0] ? place->title : place->layout->title;
    struct extent host;
    struct error ignored = {0};
    output_printf(show->out, "%s at 0x%" PRIx64 " of the %s", title, place->off, device_text(place->device));
    if (place->size > 0)
        output_printf(show->out, ", %u bytes", place->size);
    bool below = place->device->below && device_map_to_bottom(place->device, place->off, &host, &ignored);
    if (below && host.device && !(host.flags & (EXTENT_HOLE | EXTENT_COMPRESSED)) && host.off != place->off)
        output_printf(show->out, " (0x%" PRIx64 " of the image file)", host.off);
    output_printf(show->out, "\n");
}

static void report_head(const struct show *show, const struct place *place)
{
    report_text(show->report, "structure", place->layout->name);
    report_text(show->report, "title", place->title[0] ? place->title : place->layout->title);
    if (place->layout->spec)
        report_text(show->report, "specification", place->layout->spec);
    report_text(show->report, "device", place->device->ops->name);
    report_number(show->report, "offset", place->off);
    report_number(show->report, "size", place->size);
}

static bool show_place(struct show *show, const struct place *place, struct error *err);

static bool show_part(const struct place *place, void *arg, struct error *err)
{
    struct show *outer = arg;
    struct show show = *outer;
    if (outer->parts++ >= MAX_PARTS)
        return true;
    if (show.report)
        report_open(show.report, NULL);
    else
        output_printf(show.out, "\n");
    bool ok = show_place(&show, place, err);
    if (show.report)
        report_close(show.report);
    return ok;
}

/* A structure that is damaged is shown all the same, with what is wrong about it. */
static void show_verdict(const struct show *show, const struct place *place, const uint8_t *raw)
{
    struct error wrong = {0};
    if (!place->layout->check || place->layout->check(place, raw, &wrong))
        return;
    if (show->report)
        report_text(show->report, "problem", wrong.message);
    else
        output_printf(show->out, "! %s\n", wrong.message);
}

static bool show_place(struct show *show, const struct place *place, struct error *err)
{
    uint8_t *raw = mem_new(place->size, err);
    if (!raw)
        return false;
    show->place = place;
    bool ok = device_read(place->device, place->off, raw, place->size, err);
    if (ok && show->report) {
        report_head(show, place);
        report_open_list(show->report, "fields");
    } else if (ok) {
        print_title(show, place);
    }
    ok = ok && place_walk_raw(place, raw, show_row, show, err);
    if (ok && show->report)
        report_close(show->report);
    if (ok)
        show_verdict(show, place, raw);
    if (ok && place->layout->parts) {
        if (show->report)
            report_open_list(show->report, "parts");
        ok = place->layout->parts(place, raw, show_part, show, err);
        if (show->report)
            report_close(show->report);
    }
    free(raw);
    return ok;
}

static bool list_structure(const char *name, const struct layout *layout, void *arg)
{
    struct show *show = arg;
    if (show->report) {
        report_open(show->report, NULL);
        report_text(show->report, "name", name);
        report_text(show->report, "title", layout->title);
        report_close(show->report);
    } else {
        output_printf(show->out, "%-24s %s\n", name, layout->title);
    }
    return true;
}

static bool run_show(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct show show = {.out = out, .hex = call_has(call, "hex") > 0};
    struct place place;
    if (call->argc == 0) {
        show.report = output_json(out) ? output_report_list(out) : NULL;
        structure_each(&session->drivers, list_structure, &show);
        return true;
    }
    if (!structure_find(session, call->args, call->argc, &place, err))
        return false;
    show.report = output_json(out) ? output_report(out) : NULL;
    return show_place(&show, &place, err);
}

static const struct arg show_args[] = {
    {"STRUCTURE", ARG_STRUCTURE, ARG_OPTIONAL,
     "such as ext.super or 2:fat.boot; all are listed when left out", NULL},
    {"ARGUMENT", ARG_WORD, ARG_ANY, "which one: a number, a path, `backup` ...", NULL},
    {0},
};

static const struct flag show_flags[] = {
    {'x', "hex", NULL, ARG_WORD, "annotated hexdump: every byte in exactly one row"},
    {0},
};

const struct command show_command = {
    .name = "show",
    .group = "Teaching",
    .summary = "print an on-disk structure field by field",
    .details =
        "Offsets are those of the layer that holds the structure: the volume, the virtual disk or the image "
        "file. Checksums are computed and compared.",
    .examples = "show\nshow ext.super\nshow -x ext.inode /etc/fstab\nshow gpt.header\nshow qcow2.l2 0",
    .args = show_args,
    .flags = show_flags,
    .needs = LOOKS,
    .run = run_show,
};

/* ---- explain ---- */

struct explain {
    const char *structure; /* without the field */
    const char *field;     /* NULL: the whole structure */
    const struct layout *layout;
};

static bool match_structure(const char *name, const struct layout *layout, void *arg)
{
    struct explain *explain = arg;
    if (strcmp(name, explain->structure) != 0)
        return true;
    explain->layout = layout;
    return false;
}

static void explain_field(const struct field *field, struct output *out, struct report *report)
{
    if (report) {
        report_text(report, "name", field->name);
        report_number(report, "offset", field->off);
        report_number(report, "width", field->width);
        report_text(report, "kind", field->kind->name);
        report_text(report, "description", field->meaning);
        return;
    }
    output_printf(out, "%s: %s\n", field->name, field->meaning);
    output_printf(out, "  %u bytes at offset 0x%x, %s%s\n", field->width, field->off, field->kind->name,
                  field->order == ORDER_LE   ? ", little-endian"
                  : field->order == ORDER_BE ? ", big-endian"
                                             : "");
    for (const struct kind_name *name = field->kind->names; name && name->name; name++)
        output_printf(out, "  0x%-10" PRIx64 " %s\n", name->value, name->name);
}

static bool run_explain(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct explain explain = {.structure = call->args[0]};
    struct report *report = output_json(out) ? output_report(out) : NULL;
    structure_each(&session->drivers, match_structure, &explain);
    if (explain.layout) {
        const struct layout *layout = explain.layout;
        if (!report)
            output_printf(out, "%s: %s, %u bytes%s%s\n", call->args[0], layout->title, layout->size,
                          layout->spec ? "; see " : "", layout->spec ? layout->spec : "");
        else
            report_text(report, "title", layout->title);
        for (size_t i = 0; !report && i < layout->field_count; i++)
            output_printf(out, "  %-24s %s\n", layout->fields[i].name, layout->fields[i].meaning);
        return true;
    }
    char *structure, *name;
    if (!structure_split_field(call->args[0], &structure, &name, err))
        return false;
    explain.structure = structure;
    structure_each(&session->drivers, match_structure, &explain);
    const struct field *field = explain.layout ? layout_field(explain.layout, name) : NULL;
    if (!explain.layout)
        fail(err, E_NOENT, "no structure is named '%s' (`show` lists them)", structure);
    else if (!field)
        fail(err, E_NOENT, "%s has no field '%s'", structure, name);
    else
        explain_field(field, out, report);
    free(structure);
    free(name);
    return field != NULL;
}

static const struct arg explain_args[] = {
    {"STRUCTURE[.FIELD]", ARG_FIELD, ARG_ONE, "such as ext.super.s_magic", NULL},
    {0},
};

const struct command explain_command = {
    .name = "explain",
    .group = "Teaching",
    .summary = "say what a structure or field means",
    .examples = "explain ext.super.s_magic\nexplain gpt.header",
    .args = explain_args,
    .run = run_explain,
};

/* ---- poke ---- */

static bool run_poke(struct session *session, struct call *call, struct output *out, struct error *err)
{
    char *structure, *field;
    struct place place;
    (void)out;
    if (!structure_split_field(call->args[0], &structure, &field, err))
        return false;
    char *first = call->args[0];
    call->args[0] = structure;
    bool ok = structure_find(session, call->args, call->argc - 1, &place, err);
    call->args[0] = first;
    enum poke_mode mode = call_has(call, "raw") ? POKE_RAW : POKE_SEALED;
    ok = ok && place_poke(&place, field, call->args[call->argc - 1], mode, err) &&
         session_drop_caches(session, err);
    free(structure);
    free(field);
    return ok;
}

static const struct arg poke_args[] = {
    {"STRUCTURE.FIELD", ARG_FIELD, ARG_ONE, "such as ext.super.s_mnt_count", NULL},
    {"ARGUMENT", ARG_WORD, ARG_ANY, "which structure, as for show", NULL},
    {"VALUE", ARG_WORD, ARG_ONE, "as show prints it: a number, names of flags, \"text\"", NULL},
    {0},
};

static const struct flag poke_flags[] = {
    {0, "raw", NULL, ARG_WORD, "leave checksums as they are and accept any value"},
    {0},
};

const struct command poke_command = {
    .name = "poke",
    .group = "Teaching",
    .summary = "change one field of an on-disk structure",
    .details =
        "Checksums are set anew and a structure that its own checks refuse is not written, unless "
        "--raw is given. A partition entry of a GPT is written to both copies of the table, unless `primary` "
        "or `backup` names one, or --raw.",
    .examples = "poke ext.super.s_mnt_count 5\npoke --raw ext.inode.i_links_count /etc/fstab 7",
    .args = poke_args,
    .flags = poke_flags,
    .needs = NEEDS_IMAGE | CHANGES | LOOKS,
    .run = run_poke,
};
