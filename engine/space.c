#include "space.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>

static bool is_busy(const struct space *space, uint32_t unit)
{
    return space->busy[unit / 64] >> (unit % 64) & 1;
}

static void set_busy(struct space *space, uint32_t start, uint32_t len, bool busy)
{
    for (uint32_t at = start; at < start + len;) {
        uint32_t bit = at % 64, n = MIN_OF(64 - bit, start + len - at);
        uint64_t mask = (n == 64 ? ~(uint64_t)0 : (((uint64_t)1 << n) - 1)) << bit;
        if (busy)
            space->busy[at / 64] |= mask;
        else
            space->busy[at / 64] &= ~mask;
        at += n;
    }
}

bool space_load(struct space *space, uint32_t begin, uint32_t end, struct error *err)
{
    space_drop(space);
    space->begin = begin;
    space->end = end;
    space->busy = mem_array(end / 64 + 1, sizeof *space->busy, err);
    return space->busy != NULL;
}

void space_use(struct space *space, uint32_t start, uint32_t len)
{
    set_busy(space, start, len, true);
}

/* Units freed since the last commit that are free now: keep them out of the search. */
static bool hold_freed(struct space *space, struct error *err)
{
    struct range range;
    for (uint64_t at = 0; ranges_next(&space->freed, at, &range); at = range.start + range.len)
        for (uint64_t unit = range.start; unit < range.start + range.len && unit < space->end; unit++)
            if (!is_busy(space, (uint32_t)unit)) {
                if (!ranges_add(&space->held, unit, 1, err))
                    return false;
                set_busy(space, (uint32_t)unit, 1, true);
            }
    return true;
}

static uint32_t count_free(const struct space *space)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i <= space->end / 64; i++)
        used += (uint32_t)__builtin_popcountll(space->busy[i]);
    return space->end - space->begin - used;
}

bool space_loaded(struct space *space, uint32_t cursor, struct error *err)
{
    space->free = count_free(space);
    if (!hold_freed(space, err)) {
        space_drop(space);
        return false;
    }
    space->cursor = cursor >= space->begin && cursor < space->end ? cursor : space->begin;
    space->longest = space->end - space->begin;
    space->loaded = true;
    space->exact = !space->touched;
    space->loads++;
    return true;
}

static void forget_steps(struct space *space)
{
    free(space->steps);
    space->steps = NULL;
    space->step_count = space->step_capacity = 0;
}

void space_drop(struct space *space)
{
    free(space->busy);
    space->busy = NULL;
    space->loaded = space->changed = false;
    space->free = 0;
    forget_steps(space);
    ranges_clear(&space->held);
    ranges_clear(&space->fresh);
}

void space_committed(struct space *space)
{
    struct range range;
    for (uint64_t at = 0; space->loaded && ranges_next(&space->held, at, &range);
         at = range.start + range.len)
        set_busy(space, (uint32_t)range.start, (uint32_t)range.len, false);
    space->longest = space->end - space->begin;
    ranges_clear(&space->held);
    ranges_clear(&space->freed);
}

/* ---- taking back a command ----------------------------------------------------------------------------- */

enum { MAX_STEPS = 65536 /* a command that did more has the map loaded again */ };

static void note_step(struct space *space, enum space_step_kind kind, uint32_t start, uint32_t len)
{
    struct space_step *last = space->step_count ? &space->steps[space->step_count - 1] : NULL;
    struct error ignored;
    if (!space->exact)
        return;
    if (last && last->kind == kind && last->start + last->len == start) {
        last->len += len;
        return;
    }
    if (space->step_count == MAX_STEPS || !mem_grow(&space->steps, &space->step_capacity,
                                                    space->step_count + 1, sizeof *space->steps, &ignored)) {
        space->exact = false;
        return;
    }
    if (space->step_count == 0)
        space->cursor_before = space->cursor;
    space->steps[space->step_count++] = (struct space_step){start, len, kind};
}

void space_command_ended(struct space *space)
{
    ranges_clear(&space->fresh);
    forget_steps(space);
    space->touched = false;
    space->exact = true;
}

static bool undo_step(struct space *space, const struct space_step *step, struct error *err)
{
    space->free += step->kind == SPACE_RELEASED ? 0 - step->len : step->len;
    switch (step->kind) {
    case SPACE_TAKEN:
        set_busy(space, step->start, step->len, false);
        return true;
    case SPACE_TAKEN_HELD:
        return ranges_add(&space->held, step->start, step->len, err);
    default: /* what was given back is marked busy as long as it is held */
        return ranges_remove(&space->held, step->start, step->len, err);
    }
}

void space_revert(struct space *space)
{
    struct error ignored;
    bool ok = space->exact, released = false;
    if (ok && space->step_count > 0)
        space->cursor = space->cursor_before;
    for (size_t i = space->step_count; ok && i-- > 0;) {
        released = released || space->steps[i].kind == SPACE_RELEASED;
        ok = undo_step(space, &space->steps[i], &ignored);
    }
    /* What was taken and released is not remembered apart from what was released alone. */
    if (!ok || (released && !hold_freed(space, &ignored)))
        space_drop(space);
    space->longest = space->end - space->begin;
    space->changed = false;
    space_command_ended(space);
}

/* -------------------------------------------------------------------------------------------------------- */

void space_close(struct space *space)
{
    space_drop(space);
    ranges_clear(&space->freed);
}

bool space_is_free(const struct space *space, uint32_t unit)
{
    return !is_busy(space, unit) || ranges_contains(&space->held, unit, 1);
}

/* The first unit at or after `from` whose bit is `busy`; `end` when there is none. */
static uint32_t scan(const struct space *space, uint32_t from, uint32_t end, bool busy)
{
    while (from < end) {
        uint64_t word = busy ? space->busy[from / 64] : ~space->busy[from / 64];
        word >>= from % 64;
        if (word)
            return MIN_OF(from + (uint32_t)__builtin_ctzll(word), end);
        from = (from / 64 + 1) * 64;
    }
    return end;
}

bool space_next_run(const struct space *space, uint32_t at, uint32_t *start, uint32_t *len)
{
    struct range held;
    at = MAX_OF(at, space->begin);
    *start = scan(space, at, space->end, false);
    if (ranges_next(&space->held, at, &held) && held.start < *start)
        *start = (uint32_t)held.start;
    if (*start >= space->end)
        return false;
    uint32_t end = *start, before;
    do {
        before = end;
        end = end < space->end ? scan(space, end, space->end, true) : end;
        if (end < space->end && ranges_next(&space->held, end, &held) && held.start == end)
            end = (uint32_t)(held.start + held.len);
    } while (end != before);
    *len = end - *start;
    return true;
}

/* Look for `want` units in a row in from..end; *start and *len keep the longest run seen. */
static bool search(const struct space *space, uint32_t from, uint32_t end, uint32_t want, uint32_t *start,
                   uint32_t *len)
{
    while (*len < want) {
        uint32_t run = scan(space, from, end, false);
        if (run == end)
            return false;
        from = scan(space, run, run + MIN_OF(end - run, want), true);
        if (from - run > *len) {
            *start = run;
            *len = from - run;
        }
    }
    return true;
}

static bool pick(struct space *space, uint32_t want, uint32_t *start, uint32_t *len)
{
    *len = 0;
    if (space->cursor < space->begin || space->cursor >= space->end)
        space->cursor = space->begin;
    want = MIN_OF(want, MAX_OF(space->longest, 1));
    if (!search(space, space->cursor, space->end, want, start, len) &&
        !search(space, space->begin, MIN_OF(space->cursor + want, space->end), want, start, len))
        space->longest = *len;
    return *len > 0;
}

uint32_t space_free_at(const struct space *space, uint32_t start, uint32_t max)
{
    if (start < space->begin || start >= space->end)
        return 0;
    return scan(space, start, start + MIN_OF(max, space->end - start), true) - start;
}

bool space_find(struct space *space, uint32_t want, uint32_t *start)
{
    uint32_t len;
    return pick(space, want, start, &len) && len >= want;
}

static bool take_held(struct space *space, uint32_t want, uint32_t *start, uint32_t *len, struct error *err)
{
    struct range range;
    if (!ranges_next(&space->held, 0, &range))
        return fail(err, E_NOSPACE, "the volume is full");
    *start = (uint32_t)range.start;
    *len = (uint32_t)MIN_OF(range.len, want);
    return ranges_remove(&space->held, *start, *len, err);
}

bool space_take(struct space *space, uint32_t want, uint32_t goal, uint32_t *start, uint32_t *len,
                struct error *err)
{
    enum space_step_kind kind = SPACE_TAKEN;
    *start = goal;
    *len = goal ? space_free_at(space, goal, want) : 0;
    if (*len > 0 || pick(space, want, start, len)) {
        if (!ranges_add(&space->fresh, *start, *len, err))
            return false;
        set_busy(space, *start, *len, true);
    } else {
        kind = SPACE_TAKEN_HELD;
        if (!take_held(space, want, start, len, err))
            return false;
    }
    space->free -= *len;
    space->changed = true;
    note_step(space, kind, *start, *len);
    space->cursor = *start + *len;
    return true;
}

bool space_claim(struct space *space, uint32_t unit, struct error *err)
{
    bool held = ranges_contains(&space->held, unit, 1);
    if (!ranges_remove(&space->held, unit, 1, err))
        return false;
    set_busy(space, unit, 1, true);
    note_step(space, held ? SPACE_TAKEN_HELD : SPACE_TAKEN, unit, 1);
    space->free--;
    space->changed = true;
    return true;
}

static bool release_run(struct space *space, uint32_t start, uint32_t len, struct error *err)
{
    space->free += len;
    space->changed = true;
    note_step(space, SPACE_RELEASED, start, len);
    return ranges_add(&space->freed, start, len, err) && ranges_add(&space->held, start, len, err) &&
           ranges_remove(&space->fresh, start, len, err);
}

bool space_release(struct space *space, uint32_t start, uint32_t len, struct error *err)
{
    uint32_t end = start + len;
    if (scan(space, start, end, false) == end && !ranges_overlaps(&space->held, start, len))
        return release_run(space, start, len, err);
    for (uint32_t unit = start; unit < end; unit++)
        if (!space_is_free(space, unit) && !release_run(space, unit, 1, err))
            return false;
    return true;
}

enum write_class space_write_class(const struct space *space, uint32_t start, uint32_t len)
{
    return ranges_contains(&space->fresh, start, len) ? WRITE_FRESH : WRITE_UPDATE;
}

enum write_class space_write_piece(const struct space *space, uint32_t start, uint32_t *len)
{
    if (space_write_class(space, start, *len) == WRITE_FRESH)
        return WRITE_FRESH;
    if (ranges_overlaps(&space->fresh, start, *len))
        *len = 1;
    return space_write_class(space, start, *len);
}

void space_stat(const struct space *space, uint32_t unit_size, struct fs_stat *stat)
{
    *stat = (struct fs_stat){.block_size = unit_size,
                             .blocks = space->end - space->begin,
                             .free_blocks = space->free,
                             .available_blocks = space->free};
}

void space_each_run(const struct space *space, uint64_t base, uint32_t unit_size,
                    bool (*emit)(uint64_t off, uint64_t len, void *arg), void *arg)
{
    uint32_t start, len;
    for (uint32_t at = 0; space_next_run(space, at, &start, &len); at = start + len)
        if (!emit(base + (uint64_t)(start - space->begin) * unit_size, (uint64_t)len * unit_size, arg))
            return;
}
