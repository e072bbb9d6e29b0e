/* Bytes that may go to the host file before the commit, because no committed state refers to them. */
#include "alloc.h"
#include "bytes.h"
#include "stage_private.h"

#include <stdlib.h>
#include <sys/uio.h>

static void zero_masked(const struct ranges *masked, uint64_t off, uint8_t *out, size_t n)
{
    struct range range;
    for (uint64_t at = off; ranges_next(masked, at, &range) && range.start < off + n;
         at = range.start + range.len) {
        uint64_t end = MIN_OF(range.start + range.len, off + n);
        memset(out + (range.start - off), 0, (size_t)(end - range.start));
    }
}

bool host_read_masked(struct stage *stage, const struct ranges *masked, const struct ranges *also,
                      uint64_t off, uint8_t *out, size_t n, struct error *err)
{
    struct device *file = stage->dev.below;
    size_t stored = off >= file->size ? 0 : (size_t)MIN_OF((uint64_t)n, file->size - off);
    if (stored > 0 && !device_read(file, off, out, stored, err))
        return false;
    memset(out + stored, 0, n - stored);
    zero_masked(masked, off, out, n);
    if (also)
        zero_masked(also, off, out, n);
    return true;
}

bool host_read(struct stage *stage, uint64_t off, uint8_t *out, size_t n, struct error *err)
{
    return host_read_masked(stage, &stage->masked, &stage->open->masked, off, out, n, err);
}

/* Fresh bytes that an earlier step of this transaction put on the host are part of what undo returns to. */
bool range_may_be_fresh(const struct stage *stage, uint64_t off, uint64_t len)
{
    return !stage->options.dry_run && !ranges_overlaps(&stage->direct, off, len) &&
           !ranges_overlaps(&stage->masked, off, len) && !ranges_overlaps(&stage->open->masked, off, len);
}

/* Remember which parts of a range to be written hold nothing on the host so far. */
static bool note_holes(struct stage *stage, struct log *log, uint64_t off, uint64_t len, struct error *err)
{
    struct device *file = stage->dev.below;
    for (uint64_t end = off + len; off < end;) {
        struct extent extent = {.len = end - off, .flags = EXTENT_HOLE};
        if (off < file->size && !device_map(file, off, &extent, err))
            return false;
        uint64_t step = MIN_OF(extent.len, end - off);
        if (extent.flags & EXTENT_HOLE && !ranges_add(&log->holes, off, step, err))
            return false;
        off += step;
    }
    return true;
}

/*
 * Before the host's bytes in a range change: which generation will own them. By whole pages: once a part of a
 * hole is written the host does not tell any more that the rest was one.
 */
static bool claim(struct stage *stage, uint64_t generation, uint64_t off, uint64_t len, struct error *err)
{
    struct log *log = log_of(stage, generation);
    len = round_up(off + len, STAGE_PAGE) - round_down(off, STAGE_PAGE);
    off = round_down(off, STAGE_PAGE);
    if (!ranges_contains(&log->direct, off, len) &&
        (!note_holes(stage, log, off, len, err) || !ranges_add(&log->direct, off, len, err)))
        return false;
    stage->unsynced = true;
    return log == stage->open || ranges_add(&stage->direct, off, len, err);
}

/* The commit will wait until fresh bytes are durable: the disk shall not be idle until then. */
static void send_early(struct stage *stage, uint64_t len)
{
    stage->unsent += len;
    if (stage->unsent < STAGE_SEND || stage->options.durability != DURABILITY_FULL)
        return;
    host_file_begin_sync(stage->dev.below);
    stage->unsent = 0;
}

bool host_write_fresh(struct stage *stage, uint64_t generation, uint64_t off, const struct iovec *vector,
                      size_t count, uint64_t len, struct error *err)
{
    if (!claim(stage, generation, off, len, err) ||
        !host_file_write_vector(stage->dev.below, off, vector, count, err))
        return false;
    send_early(stage, len);
    return true;
}

bool host_copy_fresh(struct stage *stage, uint64_t off, int fd, uint64_t fd_off, size_t len, size_t *done,
                     struct error *err)
{
    if (!claim(stage, stage->mark + 1, off, len, err) ||
        !host_file_copy_in(stage->dev.below, off, fd, fd_off, len, done, err))
        return false;
    send_early(stage, *done);
    return true;
}

bool host_zero_fresh(struct stage *stage, uint64_t off, uint64_t len, struct error *err)
{
    return claim(stage, stage->mark + 1, off, len, err) && host_file_punch(stage->dev.below, off, len, err);
}

bool host_reserve_fresh(struct stage *stage, uint64_t off, uint64_t len, bool written, struct error *err)
{
    struct device *file = stage->dev.below;
    return claim(stage, stage->mark + 1, off, len, err) &&
           (file->size >= off + len || device_resize(file, off + len, err)) &&
           device_allocate(file, off, len, written, err);
}

/* ---- eviction ---- */

enum { MAX_VECTOR = 512 };

/* Fresh neighbours of one generation from `first` on: they go out in one request. */
static size_t collect_run(const struct stage *stage, struct page *first, struct page **run)
{
    size_t n = 1;
    run[0] = first;
    for (; n < MAX_VECTOR; n++) {
        struct page *page = page_find(stage, first->index + n);
        if (!page || !page->fresh || page->generation != first->generation)
            break;
        run[n] = page;
    }
    return n;
}

static bool evict_run(struct stage *stage, struct page *const *run, size_t n, struct error *err)
{
    static const uint8_t zeros[STAGE_PAGE];
    struct iovec vector[MAX_VECTOR];
    uint8_t *buffer = NULL;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        const struct version *version = run[i]->version;
        const uint8_t *data = version->zero ? zeros : version->data;
        if (!data) {
            buffer = buffer ? buffer : mem_array(n, STAGE_PAGE, err);
            ok = buffer && version_read(stage, version, 0, buffer + i * STAGE_PAGE, STAGE_PAGE, err);
            data = ok ? buffer + i * STAGE_PAGE : zeros;
        }
        vector[i] = (struct iovec){(void *)(uintptr_t)data, STAGE_PAGE};
    }
    uint64_t off = run[0]->index * STAGE_PAGE, len = n * STAGE_PAGE;
    if (off + len > stage->dev.size) {
        len = stage->dev.size - off;
        n = (size_t)div_up(len, STAGE_PAGE);
        vector[n - 1].iov_len = (size_t)(len - (n - 1) * STAGE_PAGE);
    }
    ok = ok && host_write_fresh(stage, run[0]->generation, off, vector, n, len, err);
    free(buffer);
    return ok;
}

static bool evict_all(struct stage *stage, struct error *err)
{
    struct page *run[MAX_VECTOR], *page;
    for (uint64_t index = 0; (page = radix_next(&stage->pages, index, &index));) {
        if (!page->version || !page->fresh) {
            index++;
            continue;
        }
        size_t n = collect_run(stage, page, run);
        /* Cut off by a smaller size in the same step: nothing to keep. */
        bool beyond = index * STAGE_PAGE >= stage->dev.size;
        log_of(stage, page->generation)->evicted = true;
        if (!beyond && !evict_run(stage, run, n, err))
            return false;
        index += n;
        for (size_t i = 0; i < n; i++)
            page_drop_version(stage, run[i]);
        stage->evicted_pages += n;
    }
    return true;
}

bool pages_evict(struct stage *stage, struct error *err)
{
    if (stage->fresh_count == 0)
        return true;
    bool ok = evict_all(stage, err);
    for (size_t i = 0; i < stage->log_count; i++)
        log_compact(stage, stage->logs[i]);
    log_compact(stage, stage->open);
    return ok;
}

bool pages_shrink(struct stage *stage, struct error *err)
{
    size_t limit = stage->options.memory;
    if (stage->memory <= limit)
        return true;
    if (stage->fresh_count * STAGE_PAGE > limit / 4 && !pages_evict(stage, err))
        return false;
    return versions_spill(stage, err);
}
