/* Walking, reading and changing structures by their field tables. */
#include "layout.h"

#include "alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const struct field *layout_field(const struct layout *layout, const char *name)
{
    for (size_t i = 0; i < layout->field_count; i++)
        if (strcmp(layout->fields[i].name, name) == 0)
            return &layout->fields[i];
    return NULL;
}

static int by_offset(const void *a, const void *b)
{
    const struct field *x = *(const struct field *const *)a, *y = *(const struct field *const *)b;
    return x->off < y->off ? -1 : x->off > y->off;
}

static const struct field **sorted_fields(const struct layout *layout, struct error *err)
{
    const struct field **fields = mem_array(layout->field_count + 1, sizeof *fields, err);
    if (!fields)
        return NULL;
    for (size_t i = 0; i < layout->field_count; i++)
        fields[i] = &layout->fields[i];
    qsort(fields, layout->field_count, sizeof *fields, by_offset);
    return fields;
}

static bool emit_gap(const uint8_t *raw, uint32_t from, uint32_t to, row_fn *emit, void *arg,
                     struct error *err)
{
    struct row row = {.off = from, .width = to - from, .raw = raw + from};
    if (from >= to)
        return true;
    snprintf(row.meaning, sizeof row.meaning, "%s",
             all_zero(row.raw, row.width) ? "not used, zeros" : "not used");
    return emit(&row, arg, err);
}

static bool emit_field(const struct place *place, const uint8_t *raw, const struct field *field, row_fn *emit,
                       void *arg, struct error *err)
{
    struct row row = {.field = field, .off = field->off, .width = field->width, .raw = raw + field->off};
    field->kind->format(field, row.raw, row.value, sizeof row.value);
    if (field->kind->meaning)
        field->kind->meaning(field, row.raw, row.meaning, sizeof row.meaning);
    if (place->layout->computed && place->layout->computed(place, raw, field, &row.computed)) {
        uint64_t stored =
            field->order == ORDER_BE ? load_be(row.raw, field->width) : load_le(row.raw, field->width);
        row.has_computed = true;
        row.computed_ok = stored == row.computed;
    }
    return emit(&row, arg, err);
}

bool place_walk_raw(const struct place *place, const void *raw, row_fn *emit, void *arg, struct error *err)
{
    const struct field **fields = sorted_fields(place->layout, err);
    if (!fields)
        return false;
    bool ok = true;
    uint32_t at = 0;
    for (size_t i = 0; ok && i < place->layout->field_count; i++) {
        const struct field *field = fields[i];
        if (field->off + field->width > place->size)
            break;
        ok = emit_gap(raw, at, field->off, emit, arg, err) && emit_field(place, raw, field, emit, arg, err);
        at = field->off + field->width;
    }
    ok = ok && emit_gap(raw, at, place->size, emit, arg, err);
    free(fields);
    return ok;
}

static uint8_t *read_place(const struct place *place, struct error *err)
{
    uint8_t *raw = mem_new(place->size, err);
    if (raw && !device_read(place->device, place->off, raw, place->size, err)) {
        free(raw);
        raw = NULL;
    }
    return raw;
}

bool place_walk(const struct place *place, row_fn *emit, void *arg, struct error *err)
{
    uint8_t *raw = read_place(place, err);
    bool ok = raw && place_walk_raw(place, raw, emit, arg, err);
    free(raw);
    return ok;
}

bool place_poke(const struct place *place, const char *name, const char *value, enum poke_mode mode,
                struct error *err)
{
    const struct layout *layout = place->layout;
    const struct field *field = layout_field(layout, name);
    if (!field || field->off + field->width > place->size)
        return fail(err, E_NOENT, "%s has no field '%s'", layout->name, name);
    if (!field->kind->parse)
        return fail(err, E_UNSUPPORTED, "%s.%s cannot be written as a value", layout->name, name);
    uint8_t *raw = read_place(place, err);
    if (!raw)
        return false;
    bool ok = field->kind->parse(field, value, raw + field->off, err);
    if (ok && mode == POKE_SEALED) {
        if (layout->seal)
            layout->seal(place, raw);
        ok = !layout->check || layout->check(place, raw, err) ||
             because(err, "refused (--raw does it all the same)");
    }
    ok = ok && device_write(place->device, place->off, raw, place->size, WRITE_UPDATE, err);
    free(raw);
    return ok && (mode != POKE_SEALED || !layout->settle || layout->settle(place, err));
}

bool place_number(const char *args, uint64_t *number, struct error *err)
{
    const char *p = args + (*args == '#');
    char *end;
    *number = strtoull(p, &end, 0);
    if (*p < '0' || *p > '9' || *end)
        return fail(err, E_USAGE, "a number is needed, not '%s'", args);
    return true;
}
