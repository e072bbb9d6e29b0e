/*
 * E. Myers, "An O(ND) difference algorithm and its variations" (1986), in linear space: a path from both ends
 * is searched for until the halves meet, which divides the problem in two. Diagonal k holds the points with
 * x - y = k; reach[k] is how far along it the search has come.
 */
#include "line_diff.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

/* ---- lines --------------------------------------------------------------------------------------------- */

void text_lines_free(struct text_lines *text)
{
    free(text->starts);
    free(text->ids);
    free(text->changed);
    text->starts = text->ids = NULL;
    text->changed = NULL;
}

static bool split(struct text_lines *text, struct error *err)
{
    for (size_t i = 0; i < text->len; i++)
        text->count += text->bytes[i] == '\n' || i + 1 == text->len;
    text->starts = mem_array(text->count + 1, sizeof *text->starts, err);
    text->ids = mem_array(text->count + 1, sizeof *text->ids, err);
    text->changed = mem_array(text->count + 1, sizeof *text->changed, err);
    if (!text->starts || !text->ids || !text->changed)
        return false;
    size_t line = 0;
    for (size_t i = 0; i < text->len; i++)
        if (text->bytes[i] == '\n' || i + 1 == text->len)
            text->starts[++line] = (uint32_t)(i + 1);
    return true;
}

/* A line seen before, of which text. */
struct seen {
    uint32_t line;
    uint32_t id; /* 0: the slot is free */
    bool second;
};

static uint64_t hash(const char *bytes, size_t n)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)bytes[i]) * UINT64_C(0x100000001B3);
    return h ^ h >> 29;
}

static bool number_lines(struct text_lines texts[2], struct error *err)
{
    size_t slots = 16;
    while (slots < 2 * (texts[0].count + texts[1].count))
        slots *= 2;
    struct seen *table = mem_array(slots, sizeof *table, err);
    uint32_t next = 0;
    for (int t = 0; table && t < 2; t++)
        for (size_t i = 0; i < texts[t].count; i++) {
            const char *line = texts[t].bytes + texts[t].starts[i];
            size_t n = texts[t].starts[i + 1] - texts[t].starts[i], at = hash(line, n) & (slots - 1);
            for (;; at = (at + 1) & (slots - 1)) {
                const struct text_lines *of = &texts[table[at].second];
                uint32_t other = table[at].line;
                if (!table[at].id)
                    table[at] = (struct seen){.line = (uint32_t)i, .id = ++next, .second = t};
                else if (of->starts[other + 1] - of->starts[other] != n ||
                         memcmp(of->bytes + of->starts[other], line, n) != 0)
                    continue;
                texts[t].ids[i] = table[at].id;
                break;
            }
        }
    free(table);
    return table != NULL;
}

/* ---- the search ---------------------------------------------------------------------------------------- */

struct area {
    int64_t x, x_end, y, y_end; /* lines of the first and of the second text */
};

struct search {
    struct text_lines *texts;
    int64_t *forward, *backward; /* by diagonal */
    int64_t patience;            /* steps after which a good division is good enough */
};

static bool same(const struct search *search, int64_t x, int64_t y)
{
    return search->texts[0].ids[x] == search->texts[1].ids[y];
}

struct point {
    int64_t x, y;
};

/* The diagonals that a search has reached; one more on each side, or one less where the area ends. */
struct span {
    int64_t low, high;
};

static void widen(struct span *span, const struct span *limits, int64_t *reach, int64_t nothing)
{
    if (span->low > limits->low)
        reach[--span->low - 1] = nothing;
    else
        span->low++;
    if (span->high < limits->high)
        reach[++span->high + 1] = nothing;
    else
        span->high--;
}

/* One step from the start; true: it has met the other search. */
static bool step_forward(const struct search *search, const struct area *area, const struct span *span,
                         const struct span *other, struct point *meeting)
{
    int64_t *reach = search->forward;
    for (int64_t k = span->high; k >= span->low; k -= 2) {
        int64_t x = MAX_OF(reach[k - 1] + 1, reach[k + 1]), y = x - k;
        while (x < area->x_end && y < area->y_end && same(search, x, y))
            x++, y++;
        reach[k] = x;
        *meeting = (struct point){x, y};
        bool inside = x <= area->x_end && y <= area->y_end;
        if (other && inside && k >= other->low && k <= other->high && search->backward[k] <= x)
            return true;
    }
    return false;
}

static bool step_backward(const struct search *search, const struct area *area, const struct span *span,
                          const struct span *other, struct point *meeting)
{
    int64_t *reach = search->backward;
    for (int64_t k = span->high; k >= span->low; k -= 2) {
        int64_t x = MIN_OF(reach[k - 1], reach[k + 1] - 1), y = x - k;
        while (x > area->x && y > area->y && same(search, x - 1, y - 1))
            x--, y--;
        reach[k] = x;
        *meeting = (struct point){x, y};
        bool inside = x >= area->x && y >= area->y;
        if (other && inside && k >= other->low && k <= other->high && search->forward[k] >= x)
            return true;
    }
    return false;
}

/* Where one of the searches has come farthest: not on the shortest path, perhaps, but soon found. */
static struct point farthest(const struct search *search, const struct area *area, const struct span *forward,
                             const struct span *backward)
{
    struct point from_start = {area->x, area->y}, from_end = {area->x_end, area->y_end};
    for (int64_t k = forward->high; k >= forward->low; k -= 2) {
        int64_t x = MIN_OF(search->forward[k], area->x_end), y = MIN_OF(x - k, area->y_end);
        x = y + k;
        if (x >= area->x && y >= area->y && x + y > from_start.x + from_start.y)
            from_start = (struct point){x, y};
    }
    for (int64_t k = backward->high; k >= backward->low; k -= 2) {
        int64_t x = MAX_OF(search->backward[k], area->x), y = MAX_OF(x - k, area->y);
        x = y + k;
        if (x <= area->x_end && y <= area->y_end && x + y < from_end.x + from_end.y)
            from_end = (struct point){x, y};
    }
    int64_t had = from_start.x + from_start.y - area->x - area->y;
    int64_t left = area->x_end + area->y_end - from_end.x - from_end.y;
    return had > left ? from_start : from_end;
}

/* A point that a short path through the area goes through; neither side of the area is empty. */
static struct point divide(const struct search *search, const struct area *area)
{
    const struct span limits = {area->x - area->y_end, area->x_end - area->y};
    struct span forward = {area->x - area->y, area->x - area->y};
    struct span backward = {area->x_end - area->y_end, area->x_end - area->y_end};
    bool odd = (forward.low - backward.low) & 1;
    struct point meeting;
    search->forward[forward.low] = area->x;
    search->backward[backward.low] = area->x_end;
    for (int64_t steps = 0; steps < search->patience; steps++) {
        widen(&forward, &limits, search->forward, -1);
        if (step_forward(search, area, &forward, odd ? &backward : NULL, &meeting))
            return meeting;
        widen(&backward, &limits, search->backward, INT64_MAX);
        if (step_backward(search, area, &backward, odd ? NULL : &forward, &meeting))
            return meeting;
    }
    return farthest(search, area, &forward, &backward);
}

static void trim(const struct search *search, struct area *area)
{
    while (area->x < area->x_end && area->y < area->y_end && same(search, area->x, area->y))
        area->x++, area->y++;
    while (area->x < area->x_end && area->y < area->y_end && same(search, area->x_end - 1, area->y_end - 1))
        area->x_end--, area->y_end--;
}

/* Goes on with the larger part and into the smaller one: no deeper than the logarithm of the lines. */
static bool mark(const struct search *search, struct area area, struct error *err)
{
    for (;;) {
        trim(search, &area);
        if (area.x == area.x_end || area.y == area.y_end)
            break;
        if (!interrupt_check(err))
            return false;
        struct point at = divide(search, &area);
        bool divided = (at.x != area.x || at.y != area.y) && (at.x != area.x_end || at.y != area.y_end);
        if (!divided)
            break;
        struct area before = {area.x, at.x, area.y, at.y}, after = {at.x, area.x_end, at.y, area.y_end};
        bool smaller = at.x - area.x + at.y - area.y < area.x_end - at.x + area.y_end - at.y;
        if (!mark(search, smaller ? before : after, err))
            return false;
        area = smaller ? after : before;
    }
    memset(search->texts[0].changed + area.x, true, (size_t)(area.x_end - area.x));
    memset(search->texts[1].changed + area.y, true, (size_t)(area.y_end - area.y));
    return true;
}

bool line_diff(struct text_lines texts[2], struct error *err)
{
    if (!split(&texts[0], err) || !split(&texts[1], err) || !number_lines(texts, err))
        return false;
    int64_t first = (int64_t)texts[0].count, second = (int64_t)texts[1].count;
    size_t diagonals = (size_t)(first + second + 3);
    int64_t *reach = mem_array(2 * diagonals, sizeof *reach, err);
    if (!reach)
        return false;
    struct search search = {.texts = texts, .forward = reach + second + 1, .patience = 256};
    search.backward = search.forward + diagonals;
    while (search.patience * search.patience < first + second)
        search.patience *= 2;
    bool ok = mark(&search, (struct area){0, first, 0, second}, err);
    free(reach);
    return ok;
}
