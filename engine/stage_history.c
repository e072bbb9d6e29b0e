/* Savepoints: marking, taking back, and going back and forth. */
#include "alloc.h"
#include "bytes.h"
#include "stage_private.h"

#include <stdlib.h>

/* ---- logs ---- */

struct log *log_new(struct error *err)
{
    return mem_new(sizeof(struct log), err);
}

/* Forget what it holds; it can be used again. */
static void log_reset(struct stage *stage, struct log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        struct version *version = log->entries[i].version;
        stage->history_pages -= version && !version->zero;
        version_release(stage, version);
        page_forget_entry(stage, log->entries[i].index);
    }
    free(log->entries);
    ranges_clear(&log->direct);
    ranges_clear(&log->holes);
    ranges_clear(&log->masked);
    *log = (struct log){0};
}

void log_free(struct stage *stage, struct log *log)
{
    log_reset(stage, log);
    free(log);
}

bool log_empty(const struct log *log)
{
    return log->count == 0 && !log->resized && log->direct.total == 0 && log->masked.total == 0;
}

struct log *log_of(struct stage *stage, uint64_t generation)
{
    if (generation > stage->mark)
        return stage->open;
    return stage->logs[generation <= stage->lost ? 0 : generation - stage->lost - 1];
}

void log_compact(struct stage *stage, struct log *log)
{
    size_t kept = 0;
    if (!log->evicted)
        return;
    for (size_t i = 0; i < log->count; i++) {
        if (log->entries[i].version || page_find(stage, log->entries[i].index))
            log->entries[kept++] = log->entries[i];
        else
            page_forget_entry(stage, log->entries[i].index);
    }
    log->count = kept;
    log->evicted = false;
}

/* Exchange what the log holds with the overlay. */
static void log_swap(struct stage *stage, struct log *log)
{
    for (size_t i = 0; i < log->count; i++)
        page_swap(stage, &log->entries[i]);
    if (log->resized) {
        uint64_t size = stage->dev.size;
        stage->dev.size = log->size;
        log->size = size;
    }
}

/* ---- marks ---- */

uint64_t stage_generation(const struct device *dev)
{
    return ((const struct stage *)dev)->mark;
}

uint64_t stage_committed_generation(const struct device *dev)
{
    return ((const struct stage *)dev)->base;
}

bool stage_dirty(const struct device *dev)
{
    return !log_empty(((const struct stage *)dev)->open);
}

bool stage_pending(const struct device *dev)
{
    const struct stage *stage = (const struct stage *)dev;
    return stage->mark != stage->base || stage_dirty(dev);
}

static int by_index(const void *a, const void *b)
{
    const struct log_entry *x = a, *y = b;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* An entry of one of the steps that are folded, and its place in their order. */
struct folded {
    struct log_entry entry;
    size_t order;
};

static int by_index_then_order(const void *a, const void *b)
{
    const struct folded *x = a, *y = b;
    int index = by_index(&x->entry, &y->entry);
    return index ? index : x->order < y->order ? -1 : x->order > y->order;
}

/* Move over what the oldest step does not know; of a page that several know the oldest version stays. */
static void fold_entries(struct stage *stage, struct log *into, struct folded *folded, size_t count)
{
    size_t known = into->count;
    if (known > 0)
        qsort(into->entries, known, sizeof *into->entries, by_index);
    if (count > 0)
        qsort(folded, count, sizeof *folded, by_index_then_order);
    for (size_t i = 0; i < count; i++) {
        struct log_entry *entry = &folded[i].entry;
        bool again = i > 0 && folded[i - 1].entry.index == entry->index;
        if (again || (known > 0 && bsearch(entry, into->entries, known, sizeof *entry, by_index))) {
            stage->history_pages -= entry->version && !entry->version->zero;
            version_release(stage, entry->version);
            page_forget_entry(stage, entry->index);
        } else {
            into->entries[into->count++] = *entry;
        }
    }
}

static bool fold_ranges(struct stage *stage, size_t count, struct error *err)
{
    struct log *into = stage->logs[0];
    struct ranges direct = {0}, holes = {0}, masked = {0};
    bool ok = ranges_copy(&into->direct, &direct, err) && ranges_copy(&into->holes, &holes, err) &&
              ranges_copy(&into->masked, &masked, err);
    for (size_t i = 1; ok && i <= count; i++)
        ok = ranges_add_all(&direct, &stage->logs[i]->direct, err) &&
             ranges_add_all(&holes, &stage->logs[i]->holes, err) &&
             ranges_add_all(&masked, &stage->logs[i]->masked, err);
    ranges_clear(ok ? &into->direct : &direct);
    ranges_clear(ok ? &into->holes : &holes);
    ranges_clear(ok ? &into->masked : &masked);
    if (ok) {
        into->direct = direct;
        into->holes = holes;
        into->masked = masked;
    }
    return ok;
}

/* Fold `count` steps into the oldest, before them. All or nothing. */
static bool fold_oldest(struct stage *stage, size_t count, struct error *err)
{
    struct log *into = stage->logs[0];
    size_t total = 0, filled = 0;
    for (size_t i = 1; i <= count; i++)
        total += stage->logs[i]->count;
    struct folded *folded = mem_array(total, sizeof *folded, err);
    if (!folded ||
        !mem_grow(&into->entries, &into->capacity, into->count + total, sizeof *into->entries, err) ||
        !fold_ranges(stage, count, err)) {
        free(folded);
        return false;
    }
    for (size_t i = 1; i <= count; i++) {
        struct log *from = stage->logs[i];
        for (size_t k = 0; k < from->count; k++, filled++)
            folded[filled] = (struct folded){from->entries[k], filled};
        from->count = 0;
        if (!into->resized) {
            into->resized = from->resized;
            into->size = from->size;
        }
        into->evicted = into->evicted || from->evicted;
    }
    fold_entries(stage, into, folded, total);
    free(folded);
    for (size_t i = 1; i <= count; i++)
        log_free(stage, stage->logs[i]);
    memmove(stage->logs + 1, stage->logs + 1 + count, (stage->log_count - 1 - count) * sizeof *stage->logs);
    stage->log_count -= count;
    stage->lost += count;
    return true;
}

bool history_merge(struct stage *stage, struct error *err)
{
    return stage->log_count <= 1 || fold_oldest(stage, stage->log_count - 1, err);
}

/*
 * Keep the history short. What the oldest step holds cannot become less and does not count; of the others
 * half are folded at once, so that a long row of commands pays little for each.
 */
static void shorten_history(struct stage *stage)
{
    struct error ignored;
    size_t oldest = stage->log_count ? stage->logs[0]->count : 0;
    if (stage->log_count > 1 && stage->history_pages > stage->options.undo_pages + oldest)
        (void)!fold_oldest(stage, div_up(stage->log_count - 1, 2), &ignored);
}

void history_drop_prepared(struct stage *stage)
{
    ranges_clear(&stage->next_masked);
    free(stage->next_open);
    stage->next_open = NULL;
}

bool stage_prepare_mark(struct device *dev, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (stage->next_open || log_empty(stage->open))
        return true;
    stage->next_open = log_new(err);
    bool ok = stage->next_open &&
              mem_grow(&stage->logs, &stage->log_capacity, stage->log_count + 1, sizeof *stage->logs, err) &&
              ranges_add_all(&stage->next_masked, &stage->masked, err) &&
              ranges_add_all(&stage->next_masked, &stage->open->masked, err) &&
              /* Too much in here does no harm: that space is only not taken for fresh. */
              ranges_add_all(&stage->direct, &stage->open->direct, err);
    if (!ok)
        history_drop_prepared(stage);
    return ok;
}

bool stage_mark(struct device *dev, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (log_empty(stage->open))
        return true;
    if (!stage_prepare_mark(dev, err))
        return false;
    ranges_clear(&stage->masked);
    stage->masked = stage->next_masked;
    stage->next_masked = (struct ranges){0};
    stage->logs[stage->log_count++] = stage->open;
    stage->open = stage->next_open;
    stage->next_open = NULL;
    stage->mark++;
    stage->top = stage->mark;
    /* The mark stands, even when there is no memory for keeping the history short. */
    shorten_history(stage);
    return true;
}

/* ---- taking back ---- */

/*
 * Host bytes that only states used which are gone. Where the host does not take them back they stay masked,
 * and the commit tries again: what the host stores there is of no state.
 */
static void punch_holes(struct stage *stage, const struct ranges *holes)
{
    struct device *file = stage->dev.below;
    struct error ignored;
    struct range range;
    for (uint64_t at = 0; ranges_next(holes, at, &range); at = range.start + range.len) {
        bool punched =
            range.start >= file->size ||
            host_file_punch(file, range.start, MIN_OF(range.len, file->size - range.start), &ignored);
        (void)!(punched ? ranges_remove(&stage->masked, range.start, range.len, &ignored)
                        : ranges_add(&stage->masked, range.start, range.len, &ignored));
    }
    /* Growth by fresh writes is cut off again; what the commit will need it makes anew. */
    if (stage->top == stage->base && file->size > stage->committed_size && host_file_is_writable(file) &&
        !host_file_is_block_device(file))
        (void)!device_resize(file, stage->committed_size, &ignored);
}

bool stage_revert(struct device *dev, struct error *err)
{
    struct stage *stage = stage_of(dev);
    struct log *open = stage->open;
    if (!stage_check_working(stage, err))
        return false;
    if (log_empty(open) && open->holes.total == 0)
        return true;
    stage->epoch++;
    history_drop_prepared(stage);
    log_swap(stage, open);
    struct ranges holes = open->holes;
    open->holes = (struct ranges){0};
    log_reset(stage, open);
    punch_holes(stage, &holes);
    ranges_clear(&holes);
    return true;
}

bool stage_reaches(const struct device *dev, uint64_t generation)
{
    const struct stage *stage = (const struct stage *)dev;
    return generation == stage->base || (generation > stage->lost && generation <= stage->top);
}

/* What is masked, and what belongs to a generation, after going over a log. */
static bool step_ranges(struct ranges *masked, struct ranges *direct, const struct log *log, bool back,
                        struct error *err)
{
    if (back)
        return ranges_remove_all(masked, &log->masked, err) && ranges_add_all(masked, &log->holes, err) &&
               ranges_remove_all(direct, &log->direct, err);
    return ranges_remove_all(masked, &log->holes, err) && ranges_add_all(masked, &log->masked, err) &&
           ranges_add_all(direct, &log->direct, err);
}

/* How many logs lie below a state that can be gone to. */
static size_t depth_of(const struct stage *stage, uint64_t generation)
{
    return generation <= stage->base ? 0 : (size_t)(generation - stage->lost);
}

bool stage_go(struct device *dev, uint64_t generation, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (!stage_check_working(stage, err))
        return false;
    if (!log_empty(stage->open))
        return fail(err, E_BUSY, "a command is still running");
    if (generation == stage->mark)
        return true;
    if (generation > stage->base && generation <= stage->lost)
        return fail(err, E_NOENT, "that is too far back to undo; rollback goes to the last commit");
    if (!stage_reaches(dev, generation))
        return fail(err, E_NOENT, "that state is not kept");
    size_t from = depth_of(stage, stage->mark), to = depth_of(stage, generation);
    struct ranges masked = {0}, direct = {0};
    bool ok = ranges_copy(&stage->masked, &masked, err) && ranges_copy(&stage->direct, &direct, err);
    for (size_t i = from; ok && i != to; i = to < from ? i - 1 : i + 1)
        ok = step_ranges(&masked, &direct, stage->logs[to < from ? i - 1 : i], to < from, err);
    ranges_clear(ok ? &stage->masked : &masked);
    ranges_clear(ok ? &stage->direct : &direct);
    if (!ok)
        return false;
    for (size_t i = from; i != to; i = to < from ? i - 1 : i + 1)
        log_swap(stage, stage->logs[to < from ? i - 1 : i]);
    stage->masked = masked;
    stage->direct = direct;
    stage->mark = generation;
    stage->epoch++;
    return true;
}

/* Drop the undone generations for good: their host bytes go, so that the space reads as zeros again. */
void history_begin_change(struct stage *stage)
{
    history_drop_prepared(stage);
    while (stage->top > stage->mark) {
        struct log *log = stage->logs[--stage->log_count];
        struct ranges holes = log->holes;
        log->holes = (struct ranges){0};
        stage->top = stage->top == stage->lost + 1 ? stage->base : stage->top - 1;
        log_free(stage, log);
        punch_holes(stage, &holes);
        ranges_clear(&holes);
    }
    if (stage->top == stage->base)
        stage->lost = stage->base;
}

void history_clear(struct stage *stage)
{
    for (size_t i = 0; i < stage->log_count; i++)
        log_free(stage, stage->logs[i]);
    stage->log_count = 0;
    stage->base = stage->lost = stage->top = stage->mark;
    ranges_clear(&stage->direct);
    ranges_clear(&stage->masked);
}

bool stage_rollback(struct device *dev, struct error *err)
{
    struct stage *stage = stage_of(dev);
    uint64_t newest = stage->top;
    if (!stage_revert(dev, err) || !stage_go(dev, stage->base, err))
        return false;
    history_begin_change(stage);
    /* Numbers are not used twice: a state that is gone must not be mistaken for a new one. */
    stage->mark = newest;
    history_clear(stage);
    return true;
}
