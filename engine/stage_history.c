/* Savepoints: marking, going back and forth, and looking at an older state. */
#include "alloc.h"
#include "bytes.h"
#include "stage_private.h"

#include <stdlib.h>

struct log *log_new(struct error *err)
{
    return mem_new(sizeof(struct log), err);
}

void log_free(struct stage *stage, struct log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        struct version *version = log->entries[i].version;
        stage->history_pages -= version && !version->zero;
        version_release(stage, version);
    }
    free(log->entries);
    ranges_clear(&log->direct);
    ranges_clear(&log->holes);
    ranges_clear(&log->masked);
    free(log);
}

bool log_empty(const struct log *log)
{
    return log->count == 0 && !log->resized && log->direct.total == 0;
}

struct log *log_of(struct stage *stage, uint64_t generation)
{
    if (generation > stage->mark)
        return stage->open;
    return stage->logs[generation <= stage->lost ? 0 : generation - stage->lost - 1];
}

/* ---- sets of ranges ---- */

static bool add_all(struct ranges *to, const struct ranges *from, struct error *err)
{
    struct range range;
    for (uint64_t at = 0; ranges_next(from, at, &range); at = range.start + range.len)
        if (!ranges_add(to, range.start, range.len, err))
            return false;
    return true;
}

static bool remove_all(struct ranges *to, const struct ranges *from, struct error *err)
{
    struct range range;
    for (uint64_t at = 0; ranges_next(from, at, &range); at = range.start + range.len)
        if (!ranges_remove(to, range.start, range.len, err))
            return false;
    return true;
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

/* Fold the second oldest step into the oldest: where both know a page, the older version stays. */
static bool merge_oldest(struct stage *stage, struct error *err)
{
    struct log *into = stage->logs[0], *from = stage->logs[1];
    if (!add_all(&into->direct, &from->direct, err) || !add_all(&into->holes, &from->holes, err) ||
        !add_all(&into->masked, &from->masked, err) ||
        !mem_grow(&into->entries, &into->capacity, into->count + from->count, sizeof *into->entries, err))
        return false;
    qsort(into->entries, into->count, sizeof *into->entries, by_index);
    size_t known = into->count;
    for (size_t i = 0; i < from->count; i++) {
        struct log_entry *entry = &from->entries[i];
        if (bsearch(entry, into->entries, known, sizeof *entry, by_index))
            continue;
        into->entries[into->count++] = *entry;
        *entry = (struct log_entry){.index = entry->index};
    }
    if (!into->resized) {
        into->resized = from->resized;
        into->size = from->size;
    }
    log_free(stage, from);
    memmove(stage->logs + 1, stage->logs + 2, (stage->log_count - 2) * sizeof *stage->logs);
    stage->log_count--;
    stage->lost++;
    return true;
}

static bool bound_history(struct stage *stage, struct error *err)
{
    while (stage->history_pages > STAGE_HISTORY_PAGES && stage->log_count > 1)
        if (!merge_oldest(stage, err))
            return false;
    return true;
}

bool stage_mark(struct device *dev, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (log_empty(stage->open))
        return true;
    struct log *open = log_new(err);
    if (!open)
        return false;
    if (!mem_grow(&stage->logs, &stage->log_capacity, stage->log_count + 1, sizeof *stage->logs, err) ||
        !add_all(&stage->direct, &stage->open->direct, err)) {
        free(open);
        return false;
    }
    stage->logs[stage->log_count++] = stage->open;
    stage->open = open;
    stage->mark++;
    stage->top = stage->mark;
    return bound_history(stage, err);
}

/* Exchange what the log holds with the overlay. Backwards in reverse: a page may be in a log twice. */
static bool swap_entries(struct stage *stage, struct log *log, bool back, struct error *err)
{
    for (size_t i = 0; i < log->count; i++)
        if (!page_swap(stage, &log->entries[back ? log->count - 1 - i : i], err))
            return false;
    if (log->resized) {
        uint64_t size = stage->dev.size;
        stage->dev.size = log->size;
        log->size = size;
    }
    return true;
}

bool history_punch(struct stage *stage, const struct ranges *holes, struct error *err)
{
    struct range range;
    struct device *file = stage->dev.below;
    for (uint64_t at = 0; ranges_next(holes, at, &range); at = range.start + range.len) {
        if (range.start >= file->size)
            break;
        if (!host_file_punch(file, range.start, MIN_OF(range.len, file->size - range.start), err))
            return false;
    }
    /* Growth by fresh writes is cut off again; what the commit will need it makes anew. */
    if (stage->mark == stage->base && file->size > stage->committed_size && !host_file_is_block_device(file))
        return device_resize(file, stage->committed_size, err);
    return true;
}

/* Host bytes that only an undone generation used are hidden, and shown again by redo. */
static bool swap_host(struct stage *stage, struct log *log, bool back, struct error *err)
{
    if (back)
        return remove_all(&stage->masked, &log->masked, err) && add_all(&stage->masked, &log->holes, err) &&
               remove_all(&stage->direct, &log->direct, err);
    return remove_all(&stage->masked, &log->holes, err) && add_all(&stage->masked, &log->masked, err) &&
           add_all(&stage->direct, &log->direct, err);
}

bool stage_revert(struct device *dev, struct error *err)
{
    struct stage *stage = stage_of(dev);
    struct log *log = stage->open;
    if (log_empty(log))
        return true;
    stage->epoch++;
    if (!swap_entries(stage, log, true, err) || !remove_all(&stage->masked, &log->masked, err) ||
        !history_punch(stage, &log->holes, err))
        return false;
    struct log *open = log_new(err);
    if (!open)
        return false;
    stage->open = open;
    log_free(stage, log);
    return true;
}

/* The log between state `generation` and the one before it, in either direction. */
static struct log *step_log(struct stage *stage, uint64_t generation)
{
    return stage->logs[generation - stage->lost - 1];
}

bool stage_go(struct device *dev, uint64_t generation, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (!log_empty(stage->open))
        return fail(err, E_BUSY, "a command is still running");
    if (generation < stage->base || generation > stage->top)
        return fail(err, E_NOENT, "that state is not kept");
    if (generation > stage->base && generation <= stage->lost)
        return fail(err, E_NOENT, "that is too far back to undo; rollback goes to the last commit");
    stage->epoch++;
    while (stage->mark > generation) {
        struct log *log = step_log(stage, stage->mark);
        if (!swap_entries(stage, log, true, err) || !swap_host(stage, log, true, err))
            return false;
        stage->mark = stage->mark == stage->lost + 1 ? stage->base : stage->mark - 1;
    }
    while (stage->mark < generation) {
        uint64_t next = stage->mark == stage->base ? stage->lost + 1 : stage->mark + 1;
        struct log *log = step_log(stage, next);
        if (!swap_entries(stage, log, false, err) || !swap_host(stage, log, false, err))
            return false;
        stage->mark = next;
    }
    return true;
}

/* Drop the undone generations for good: their host bytes go, so that the space reads as zeros again. */
static bool drop_redo(struct stage *stage, struct error *err)
{
    while (stage->top > stage->mark) {
        struct log *log = stage->logs[stage->log_count - 1];
        if (!history_punch(stage, &log->holes, err) || !remove_all(&stage->masked, &log->holes, err))
            return false;
        log_free(stage, log);
        stage->log_count--;
        stage->top = stage->top == stage->lost + 1 ? stage->base : stage->top - 1;
    }
    if (stage->top == stage->base)
        stage->lost = stage->base;
    return true;
}

bool history_begin_change(struct stage *stage, struct error *err)
{
    return stage->top == stage->mark || drop_redo(stage, err);
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
    if (!stage_revert(dev, err) || !stage_go(dev, stage->base, err) || !drop_redo(stage, err))
        return false;
    /* Numbers are not used twice: a state that is gone must not be mistaken for a new one. */
    stage->mark = newest;
    history_clear(stage);
    return true;
}

/* ---- what changed ---- */

static bool collect_log(struct ranges *changes, const struct log *log, struct error *err)
{
    for (size_t i = 0; i < log->count; i++)
        if (!ranges_add(changes, log->entries[i].index * STAGE_PAGE, STAGE_PAGE, err))
            return false;
    return add_all(changes, &log->direct, err);
}

static bool collect_changes(struct stage *stage, uint64_t since, struct error *err)
{
    ranges_clear(&stage->changes);
    for (size_t i = 0; i < stage->log_count; i++) {
        uint64_t generation = stage->lost + 1 + i;
        if (generation > since && generation <= stage->mark &&
            !collect_log(&stage->changes, stage->logs[i], err))
            return false;
    }
    if (!collect_log(&stage->changes, stage->open, err))
        return false;
    stage->changes_since = since;
    stage->changes_epoch = stage->epoch;
    return true;
}

bool stage_next_change(struct device *dev, uint64_t since, uint64_t at, struct range *out, struct error *err)
{
    struct stage *stage = stage_of(dev);
    bool known = stage->changes.root && stage->changes_since == since && stage->changes_epoch == stage->epoch;
    if (!known && !collect_changes(stage, since, err))
        return false;
    if (!ranges_next(&stage->changes, at, out) || out->start >= dev->size)
        return false;
    out->len = MIN_OF(out->len, dev->size - out->start);
    return true;
}

/* ---- an older state as a device ---- */

/* Which version of a page an older state had; of several entries of a page the one met first counts. */
struct old_page {
    struct log_entry entry;
    size_t order;
};

struct snapshot {
    struct device dev;
    struct stage *stage;
    struct old_page *pages; /* by index */
    size_t count, capacity;
    struct ranges masked;
};

static struct snapshot *snapshot_of(struct device *dev)
{
    return (struct snapshot *)dev;
}

static int by_index_and_order(const void *a, const void *b)
{
    const struct old_page *x = a, *y = b;
    int order = by_index(&x->entry, &y->entry);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int index_of_old_page(const void *key, const void *page)
{
    return by_index(key, &((const struct old_page *)page)->entry);
}

static bool snapshot_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct snapshot *snapshot = snapshot_of(dev);
    uint8_t *out = buf;
    while (n > 0) {
        size_t at = (size_t)(off % STAGE_PAGE), step = MIN_OF(n, STAGE_PAGE - at);
        struct log_entry key = {.index = off / STAGE_PAGE};
        const struct old_page *old =
            bsearch(&key, snapshot->pages, snapshot->count, sizeof *snapshot->pages, index_of_old_page);
        const struct page *page = old ? NULL : page_find(snapshot->stage, key.index);
        const struct version *version = old ? old->entry.version : page ? page->version : NULL;
        bool ok = version ? version_read(snapshot->stage, version, at, out, step, err)
                          : host_read(snapshot->stage, &snapshot->masked, off, out, step, err);
        if (!ok)
            return false;
        off += step;
        out += step;
        n -= step;
    }
    return true;
}

static bool snapshot_map(struct device *dev, uint64_t off, struct extent *out, struct error *err)
{
    (void)err;
    *out = (struct extent){.len = dev->size - off, .device = snapshot_of(dev)->stage->dev.below, .off = off};
    return true;
}

static void snapshot_close(struct device *dev)
{
    struct snapshot *snapshot = snapshot_of(dev);
    for (size_t i = 0; i < snapshot->count; i++)
        version_release(snapshot->stage, snapshot->pages[i].entry.version);
    free(snapshot->pages);
    ranges_clear(&snapshot->masked);
    free(snapshot);
}

static const struct device_ops snapshot_ops = {
    .name = "stage",
    .read = snapshot_read,
    .map = snapshot_map,
    .close = snapshot_close,
};

/* Take over what a log knows of the state before it. Called for the oldest log first. */
static bool add_old_pages(struct snapshot *snapshot, const struct log *log, struct error *err)
{
    if (!mem_grow(&snapshot->pages, &snapshot->capacity, snapshot->count + log->count,
                  sizeof *snapshot->pages, err))
        return false;
    for (size_t i = 0; i < log->count; i++) {
        snapshot->pages[snapshot->count] = (struct old_page){log->entries[i], snapshot->count};
        if (log->entries[i].version)
            log->entries[i].version->references++;
        snapshot->count++;
    }
    return true;
}

static void keep_first_of_each(struct snapshot *snapshot)
{
    size_t kept = 0;
    qsort(snapshot->pages, snapshot->count, sizeof *snapshot->pages, by_index_and_order);
    for (size_t i = 0; i < snapshot->count; i++) {
        bool again = kept > 0 && snapshot->pages[kept - 1].entry.index == snapshot->pages[i].entry.index;
        if (again)
            version_release(snapshot->stage, snapshot->pages[i].entry.version);
        else
            snapshot->pages[kept++] = snapshot->pages[i];
    }
    snapshot->count = kept;
}

/* Sizes and masks go backwards, from the present to the state wanted. */
static bool step_back(struct snapshot *snapshot, const struct log *log, struct error *err)
{
    if (log->resized)
        snapshot->dev.size = log->size;
    return remove_all(&snapshot->masked, &log->masked, err) && add_all(&snapshot->masked, &log->holes, err);
}

static bool fill_snapshot(struct snapshot *snapshot, uint64_t generation, struct error *err)
{
    struct stage *stage = snapshot->stage;
    size_t first = generation <= stage->lost ? 0 : generation - stage->lost, end = 0;
    while (end < stage->log_count && stage->lost + 1 + end <= stage->mark)
        end++;
    for (size_t i = first; i < end; i++)
        if (!add_old_pages(snapshot, stage->logs[i], err))
            return false;
    if (!add_old_pages(snapshot, stage->open, err))
        return false;
    keep_first_of_each(snapshot);
    if (!add_all(&snapshot->masked, &stage->masked, err) || !step_back(snapshot, stage->open, err))
        return false;
    for (size_t i = end; i-- > first;)
        if (!step_back(snapshot, stage->logs[i], err))
            return false;
    return true;
}

struct device *stage_snapshot(struct device *dev, uint64_t generation, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (generation < stage->base || generation > stage->mark ||
        (generation > stage->base && generation <= stage->lost)) {
        fail(err, E_NOENT, "that state is not kept");
        return NULL;
    }
    struct snapshot *snapshot = mem_new(sizeof *snapshot, err);
    if (!snapshot)
        return NULL;
    snapshot->stage = stage;
    snapshot->dev = (struct device){.ops = &snapshot_ops,
                                    .below = dev->below,
                                    .size = dev->size,
                                    .block_size = dev->block_size,
                                    .read_only = true};
    if (!fill_snapshot(snapshot, generation, err)) {
        snapshot_close(&snapshot->dev);
        return NULL;
    }
    return &snapshot->dev;
}
