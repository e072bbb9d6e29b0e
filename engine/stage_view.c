/* What changed since a state, and older states as devices. */
#include "alloc.h"
#include "bytes.h"
#include "stage_private.h"

#include <stdlib.h>

/* ---- what changed ---- */

static bool collect_log(struct ranges *changes, const struct log *log, struct error *err)
{
    for (size_t i = 0; i < log->count; i++)
        if (!ranges_add(changes, log->entries[i].index * STAGE_PAGE, STAGE_PAGE, err))
            return false;
    return ranges_add_all(changes, &log->direct, err) && ranges_add_all(changes, &log->masked, err);
}

static bool collect_changes(struct stage *stage, uint64_t since, struct error *err)
{
    ranges_clear(&stage->changes);
    stage->changes_epoch = stage->epoch - 1;
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
    err->kind = E_OK;
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

static int by_index(const struct log_entry *x, const struct log_entry *y)
{
    return x->index < y->index ? -1 : x->index > y->index;
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

/* The version that a page had in that state; NULL: the host file's bytes. */
static const struct version *old_version(const struct snapshot *snapshot, uint64_t index)
{
    struct log_entry key = {.index = index};
    const struct old_page *old = NULL;
    if (snapshot->count > 0)
        old = bsearch(&key, snapshot->pages, snapshot->count, sizeof *snapshot->pages, index_of_old_page);
    if (old)
        return old->entry.version;
    const struct page *page = page_find(snapshot->stage, index);
    return page ? page->version : NULL;
}

static bool snapshot_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct snapshot *snapshot = snapshot_of(dev);
    uint8_t *out = buf;
    while (n > 0) {
        size_t at = (size_t)(off % STAGE_PAGE), step = MIN_OF(n, STAGE_PAGE - at);
        const struct version *version = old_version(snapshot, off / STAGE_PAGE);
        if (!version)
            while (step < n && !old_version(snapshot, (off + step) / STAGE_PAGE))
                step += MIN_OF(n - step, (size_t)STAGE_PAGE);
        bool ok = version ? version_read(snapshot->stage, version, at, out, step, err)
                          : host_read_masked(snapshot->stage, &snapshot->masked, NULL, off, out, step, err);
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
    *out = (struct extent){.len = dev->size - off, .device = dev->below, .off = off};
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
    if (log->count > 0 && !mem_grow(&snapshot->pages, &snapshot->capacity, snapshot->count + log->count,
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
    if (snapshot->count > 0)
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
    return ranges_remove_all(&snapshot->masked, &log->masked, err) &&
           ranges_add_all(&snapshot->masked, &log->holes, err);
}

static bool fill_snapshot(struct snapshot *snapshot, uint64_t generation, struct error *err)
{
    struct stage *stage = snapshot->stage;
    size_t first = generation <= stage->base ? 0 : (size_t)(generation - stage->lost);
    size_t end = stage->mark <= stage->base ? 0 : (size_t)(stage->mark - stage->lost);
    for (size_t i = first; i < end; i++)
        if (!add_old_pages(snapshot, stage->logs[i], err))
            return false;
    if (!add_old_pages(snapshot, stage->open, err))
        return false;
    keep_first_of_each(snapshot);
    if (!ranges_copy(&stage->masked, &snapshot->masked, err) || !step_back(snapshot, stage->open, err))
        return false;
    for (size_t i = end; i-- > first;)
        if (!step_back(snapshot, stage->logs[i], err))
            return false;
    return true;
}

struct device *stage_snapshot(struct device *dev, uint64_t generation, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (!stage_check_working(stage, err))
        return NULL;
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
