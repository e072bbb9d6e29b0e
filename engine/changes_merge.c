#include "changes_merge.h"

#include "alloc.h"
#include "bytes.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- telling one ---- */

static void format_value(const struct field *field, const uint8_t *raw, char *value, size_t value_size,
                         char *meaning, size_t meaning_size)
{
    value[0] = meaning[0] = '\0';
    field->kind->format(field, raw, value, value_size);
    if (field->kind->meaning)
        field->kind->meaning(field, raw, meaning, meaning_size);
}

struct telling {
    const struct merge *merge;
    struct change change;
    const uint8_t *old_raw;
};

static bool tell_row(const struct row *row, void *arg, struct error *err)
{
    struct telling *telling = arg;
    struct change *change = &telling->change;
    const uint8_t *old_raw = telling->old_raw + row->off;
    if (memcmp(old_raw, row->raw, row->width) == 0)
        return true;
    change->field = row->field;
    change->off = change->place.off + row->off;
    change->len = row->width;
    change->text[0] = '\0';
    if (row->field) {
        format_value(row->field, old_raw, change->old_value, sizeof change->old_value, change->old_meaning,
                     sizeof change->old_meaning);
        format_value(row->field, row->raw, change->new_value, sizeof change->new_value, change->new_meaning,
                     sizeof change->new_meaning);
    } else {
        snprintf(change->text, sizeof change->text, "%u bytes that no field describes", row->width);
    }
    return telling->merge->emit(change, telling->merge->arg, err);
}

static bool tell_structure(const struct merge *merge, const struct change *base, const struct place *place,
                           const uint8_t *old_raw, const uint8_t *new_raw, struct error *err)
{
    struct telling telling = {.merge = merge, .change = *base, .old_raw = old_raw};
    telling.change.place = *place;
    telling.change.count = 1;
    return place_walk_raw(place, new_raw, tell_row, &telling, err);
}

/* ---- entries that change alike ---- */

static uint64_t value_of(const struct field *field, const uint8_t *raw)
{
    raw += field->off;
    return field->order == ORDER_BE ? load_be(raw, field->width) : load_le(raw, field->width);
}

/* A value that may grow from entry to entry: a number or an offset, no names, dates or checksums. */
static bool is_counter(const struct field *field)
{
    static const struct kind *const others[] = {&kind_checksum, &kind_time, &kind_text, &kind_bytes,
                                                &kind_uuid,     &kind_guid, &kind_oct};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (field->kind == others[i])
            return false;
    return field->order != ORDER_RAW && field->width <= 8 && !field->kind->names;
}

static bool differs(const struct field *field, const uint8_t *a, const uint8_t *b)
{
    return memcmp(a + field->off, b + field->off, field->width) != 0;
}

/* All that changed lies in fields, and there are few enough of them. */
static bool is_entry(const struct place *place, const uint8_t *old_raw, const uint8_t *new_raw)
{
    const struct layout *layout = place->layout;
    uint8_t rest[ENTRY_MAX];
    if (place->size > ENTRY_MAX || layout->field_count > ENTRY_FIELDS)
        return false;
    for (uint32_t i = 0; i < place->size; i++)
        rest[i] = old_raw[i] ^ new_raw[i];
    for (size_t i = 0; i < layout->field_count; i++) {
        const struct field *field = &layout->fields[i];
        if (field->off + field->width > place->size)
            return false;
        memset(rest + field->off, 0, field->width);
    }
    return all_zero(rest, place->size);
}

/* How far a value is from that of the entry before; false: not in a way that goes on like the run. */
static bool step_of(const struct field *field, uint64_t count, const uint8_t *before, const uint8_t *now,
                    uint64_t *step)
{
    if (!is_counter(field)) {
        *step = 0;
        return !differs(field, before, now);
    }
    uint64_t mask = field->width < 8 ? ((uint64_t)1 << field->width * 8) - 1 : UINT64_MAX;
    uint64_t this_step = (value_of(field, now) - value_of(field, before)) & mask;
    bool fits = count == 1 || this_step == *step;
    *step = this_step;
    return fits;
}

static bool goes_on(const struct pending *pending, const struct change *base, const uint8_t *old_raw,
                    const uint8_t *new_raw)
{
    const struct place *place = &base->place, *last = &pending->last;
    if (!pending->any || !pending->structure || place->layout != last->layout ||
        place->device != last->device || place->owner != last->owner || place->size != last->size ||
        place->off != last->off + last->size)
        return false;
    for (size_t i = 0; i < place->layout->field_count; i++) {
        const struct field *field = &place->layout->fields[i];
        bool changed = differs(field, old_raw, new_raw);
        if (changed != differs(field, pending->old_raw, pending->new_raw))
            return false;
        uint64_t old_step = pending->old_step[i], new_step = pending->new_step[i];
        if (changed && (!step_of(field, pending->count, pending->last_old, old_raw, &old_step) ||
                        !step_of(field, pending->count, pending->last_new, new_raw, &new_step)))
            return false;
    }
    return true;
}

static void join(struct pending *pending, const struct place *place, const uint8_t *old_raw,
                 const uint8_t *new_raw)
{
    for (size_t i = 0; i < place->layout->field_count; i++) {
        const struct field *field = &place->layout->fields[i];
        if (differs(field, old_raw, new_raw)) {
            (void)step_of(field, 1, pending->last_old, old_raw, &pending->old_step[i]);
            (void)step_of(field, 1, pending->last_new, new_raw, &pending->new_step[i]);
        }
    }
    pending->last = *place;
    pending->count++;
    memcpy(pending->last_old, old_raw, place->size);
    memcpy(pending->last_new, new_raw, place->size);
}

/* "L2 entry 5" and "L2 entry 9": "L2 entry 5-9". */
static void title_of_run(const char *first, const char *last, char *out, size_t size)
{
    size_t same = 0, from, to;
    while (first[same] && first[same] == last[same])
        same++;
    while (same > 0 && isdigit((unsigned char)first[same - 1]))
        same--;
    for (from = same; isdigit((unsigned char)first[from]);)
        from++;
    for (to = same; isdigit((unsigned char)last[to]);)
        to++;
    if (strcmp(first, last) == 0)
        snprintf(out, size, "%s", first);
    else if (from > same && to > same && strcmp(first + from, last + to) == 0)
        snprintf(out, size, "%.*s-%.40s", (int)MIN_OF(from, (size_t)70), first, last + same);
    else
        snprintf(out, size, "%.55s to %.55s", first, last);
}

/* One field of all entries of the run. */
static bool tell_field_of_run(const struct merge *merge, const struct field *field, size_t i,
                              struct error *err)
{
    const struct pending *pending = &merge->pending;
    struct change change = pending->change;
    const struct place *first = &pending->change.place;
    char meaning[sizeof change.new_meaning];
    title_of_run(first->title[0] ? first->title : first->layout->title,
                 pending->last.title[0] ? pending->last.title : pending->last.layout->title,
                 change.place.title, sizeof change.place.title);
    change.field = field;
    change.off = first->off + field->off;
    change.len = (pending->count - 1) * first->size + field->width;
    change.count = pending->count;
    change.stride = first->size;
    change.old_step = pending->old_step[i];
    change.new_step = pending->new_step[i];
    format_value(field, pending->old_raw + field->off, change.old_value, sizeof change.old_value,
                 change.old_meaning, sizeof change.old_meaning);
    format_value(field, pending->new_raw + field->off, change.new_value, sizeof change.new_value,
                 change.new_meaning, sizeof change.new_meaning);
    format_value(field, pending->last_old + field->off, change.last_old_value, sizeof change.last_old_value,
                 meaning, sizeof meaning);
    format_value(field, pending->last_new + field->off, change.last_new_value, sizeof change.last_new_value,
                 meaning, sizeof meaning);
    return merge->emit(&change, merge->arg, err);
}

/* Two entries make a run only when they changed to the same: any two numbers have a distance. */
static bool is_run(const struct pending *pending)
{
    bool steps = false;
    for (size_t i = 0; i < pending->last.layout->field_count; i++)
        steps |= pending->old_step[i] || pending->new_step[i];
    return pending->count > 2 || (pending->count == 2 && !steps);
}

static bool tell_entries(struct merge *merge, struct error *err)
{
    const struct pending *pending = &merge->pending;
    const struct layout *layout = pending->last.layout;
    if (!is_run(pending))
        return tell_structure(merge, &pending->change, &pending->change.place, pending->old_raw,
                              pending->new_raw, err) &&
               (pending->count == 1 || tell_structure(merge, &pending->change, &pending->last,
                                                      pending->last_old, pending->last_new, err));
    for (size_t i = 0; i < layout->field_count; i++)
        if (differs(&layout->fields[i], pending->old_raw, pending->new_raw) &&
            !tell_field_of_run(merge, &layout->fields[i], i, err))
            return false;
    return true;
}

/* Two entries that make no run: the second may begin one. */
static bool tell_first_of_two(struct merge *merge, struct error *err)
{
    struct pending *pending = &merge->pending;
    if (!pending->any || !pending->structure || pending->count != 2 || is_run(pending))
        return true;
    if (!tell_structure(merge, &pending->change, &pending->change.place, pending->old_raw, pending->new_raw,
                        err))
        return false;
    pending->change.place = pending->last;
    pending->count = 1;
    memcpy(pending->old_raw, pending->last_old, ENTRY_MAX);
    memcpy(pending->new_raw, pending->last_new, ENTRY_MAX);
    memset(pending->old_step, 0, sizeof pending->old_step);
    memset(pending->new_step, 0, sizeof pending->new_step);
    return true;
}

bool merge_structure(struct merge *merge, const struct change *base, const uint8_t *old_raw,
                     const uint8_t *new_raw, struct error *err)
{
    struct pending *pending = &merge->pending;
    const struct place *place = &base->place;
    if (!is_entry(place, old_raw, new_raw))
        return merge_end(merge, err) && tell_structure(merge, base, place, old_raw, new_raw, err);
    if (!goes_on(pending, base, old_raw, new_raw) && !tell_first_of_two(merge, err))
        return false;
    if (goes_on(pending, base, old_raw, new_raw)) {
        join(pending, place, old_raw, new_raw);
        return true;
    }
    if (!merge_end(merge, err))
        return false;
    *pending = (struct pending){.any = true, .structure = true, .change = *base, .last = *place, .count = 1};
    memcpy(pending->old_raw, old_raw, place->size);
    memcpy(pending->new_raw, new_raw, place->size);
    memcpy(pending->last_old, old_raw, place->size);
    memcpy(pending->last_new, new_raw, place->size);
    return true;
}

/* ---- bytes ---- */

static bool follows(const struct pending *pending, const struct change *change)
{
    const struct change *before = &pending->change;
    return pending->any && !pending->structure && before->volume == change->volume &&
           before->layer == change->layer && before->place.device == change->place.device &&
           before->off + before->len == change->off;
}

bool merge_bytes(struct merge *merge, const struct change *change, struct error *err)
{
    struct pending *pending = &merge->pending;
    if (follows(pending, change) && !pending->file.id && strcmp(pending->change.text, change->text) == 0) {
        pending->change.len += change->len;
        return true;
    }
    if (!merge_end(merge, err))
        return false;
    *pending = (struct pending){.any = true, .change = *change};
    pending->change.count = 1;
    return true;
}

bool merge_contents(struct merge *merge, const struct change *change, uint64_t id, const char *path,
                    uint64_t file_off, struct error *err)
{
    struct pending *pending = &merge->pending;
    if (follows(pending, change) && pending->file.id == id && pending->file.off == file_off) {
        pending->change.len += change->len;
        pending->file.off += change->len;
        return true;
    }
    if (!merge_end(merge, err))
        return false;
    *pending = (struct pending){.any = true, .change = *change, .file = {id, file_off + change->len, NULL}};
    pending->change.count = 1;
    pending->file.path = path ? mem_string(path, err) : NULL;
    return !path || pending->file.path;
}

static bool tell_bytes(struct merge *merge, struct error *err)
{
    struct change *change = &merge->pending.change;
    const struct file_range *file = &merge->pending.file;
    change->path = file->path;
    change->file = file->id;
    change->file_off = file->off - change->len;
    return merge->emit(change, merge->arg, err);
}

bool merge_end(struct merge *merge, struct error *err)
{
    struct pending *pending = &merge->pending;
    bool ok = !pending->any || (pending->structure ? tell_entries(merge, err) : tell_bytes(merge, err));
    merge_free(merge);
    return ok;
}

void merge_free(struct merge *merge)
{
    free(merge->pending.file.path);
    merge->pending.file.path = NULL;
    merge->pending.any = false;
}
