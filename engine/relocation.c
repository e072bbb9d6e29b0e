#include "relocation.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>

enum { COPY_BYTES = 1024 * 1024 };

/* The first free run from *at on that lies inside; false when there is none. */
static bool next_free(const struct relocation *rel, const struct space *space, uint32_t at, uint32_t *start,
                      uint32_t *len)
{
    if (at < space->end && space_next_run(space, at, start, len)) {
        if (*start + *len == space->end && rel->hi > space->end)
            *len = rel->hi - *start;
    } else {
        *start = MAX_OF(at, space->end);
        *len = rel->hi > *start ? rel->hi - *start : 0;
    }
    if (*start >= rel->hi || *len == 0)
        return false;
    *len = MIN_OF(*len, rel->hi - *start);
    return true;
}

static bool no_room(struct error *err)
{
    return fail(err, E_NOSPACE, "what is in use does not fit into the new size");
}

bool relocation_add(struct relocation *rel, const struct space *space, uint32_t from, uint32_t len,
                    struct error *err)
{
    while (len > 0) {
        uint32_t to, room;
        if (!next_free(rel, space, MAX_OF(rel->next, rel->lo), &to, &room))
            return no_room(err);
        room = MIN_OF(room, len);
        if (!mem_grow(&rel->runs, &rel->capacity, rel->count + 1, sizeof *rel->runs, err))
            return false;
        rel->runs[rel->count++] = (struct relocated_run){from, to, room};
        rel->next = to + room;
        from += room;
        len -= room;
    }
    return true;
}

bool relocation_find(struct relocation *rel, const struct space *space, uint32_t len, uint32_t *start,
                     struct error *err)
{
    uint32_t at = MAX_OF(rel->next, rel->lo), room = 0;
    for (; room < len; at = *start + room)
        if (!next_free(rel, space, at, start, &room))
            return no_room(err);
    rel->next = *start + len;
    return true;
}

/* Both `from` and `to` rise from run to run. The last run that begins at or before a unit. */
static const struct relocated_run *find(const struct relocation *rel, uint32_t unit, bool by_target)
{
    size_t low = 0, high = rel->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct relocated_run *run = &rel->runs[middle];
        if ((by_target ? run->to : run->from) <= unit)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &rel->runs[low - 1] : NULL;
}

uint32_t relocation_of(const struct relocation *rel, uint32_t unit)
{
    if (unit >= rel->lo && unit < rel->hi)
        return unit;
    const struct relocated_run *run = find(rel, unit, false);
    return run && unit - run->from < run->len ? run->to + (unit - run->from) : 0;
}

uint32_t relocation_number(const struct relocation *rel, uint32_t unit)
{
    uint32_t now = unit >= rel->begin && unit < rel->end ? relocation_of(rel, unit) : 0;
    return now ? now - (rel->lo - rel->begin) : unit;
}

uint32_t relocation_source(const struct relocation *rel, uint32_t unit)
{
    const struct relocated_run *run = find(rel, unit, true);
    return run && unit - run->to < run->len ? run->from + (unit - run->to) : 0;
}

bool relocation_copy(const struct relocation *rel, struct device *device, uint64_t base, uint32_t base_unit,
                     uint32_t unit_size, struct error *err)
{
    uint8_t *buf = mem_bytes(COPY_BYTES, err);
    bool ok = buf != NULL;
    for (size_t i = 0; ok && i < rel->count; i++) {
        const struct relocated_run *run = &rel->runs[i];
        uint64_t from = base + (uint64_t)(run->from - base_unit) * unit_size;
        uint64_t to = base + (uint64_t)(run->to - base_unit) * unit_size;
        uint64_t len = (uint64_t)run->len * unit_size;
        for (uint64_t off = 0; ok && off < len; off += COPY_BYTES) {
            size_t n = (size_t)MIN_OF(len - off, COPY_BYTES);
            ok = interrupt_check(err) && device_read(device, from + off, buf, n, err) &&
                 device_write(device, to + off, buf, n, WRITE_UPDATE, err);
        }
    }
    free(buf);
    return ok;
}

void relocation_clear(struct relocation *rel)
{
    free(rel->runs);
    *rel = (struct relocation){0};
}
