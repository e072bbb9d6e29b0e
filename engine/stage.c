/* The stage as a device: reading and writing through the overlay. See stage_private.h for the invariants. */
#include "stage.h"

#include "alloc.h"
#include "bytes.h"
#include "journal.h"
#include "report.h"
#include "stage_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/uio.h>

static bool working(const struct stage *stage, struct error *err)
{
    return stage->state == STAGE_WORKING ||
           fail(err, E_IO,
                "the last commit could not be finished; close the image: the next open completes it");
}

/* Settled once, before the first change: locks, and that a commit will be possible. */
static bool make_ready(struct stage *stage, struct error *err)
{
    if (stage->ready)
        return true;
    bool journal = !stage->is_new && stage->options.durability != DURABILITY_OFF;
    if (!stage->options.dry_run) {
        if (!host_file_make_writable(stage->dev.below, err))
            return false;
        if (journal && !journal_possible(stage_path(&stage->dev), err))
            return false;
    }
    stage->ready = true;
    return true;
}

static bool begin_change(struct stage *stage, struct error *err)
{
    if (!working(stage, err) || !make_ready(stage, err) || !history_begin_change(stage, err))
        return false;
    stage->epoch++;
    return true;
}

/* ---- reading ---- */

static bool stage_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct stage *stage = stage_of(dev);
    uint8_t *out = buf;
    if (!working(stage, err))
        return false;
    while (n > 0) {
        size_t at = (size_t)(off % STAGE_PAGE), step = MIN_OF(n, STAGE_PAGE - at);
        const struct page *page = page_find(stage, off / STAGE_PAGE);
        if (page) {
            if (!version_read(stage, page->version, at, out, step, err))
                return false;
        } else {
            while (step < n && !page_find(stage, (off + step) / STAGE_PAGE))
                step += MIN_OF(n - step, (size_t)STAGE_PAGE);
            if (!host_read(stage, &stage->masked, off, out, step, err))
                return false;
        }
        off += step;
        out += step;
        n -= step;
    }
    return true;
}

/* ---- writing ---- */

/* The number of whole pages from off on that may bypass the overlay. */
static size_t direct_run(const struct stage *stage, uint64_t off, size_t n)
{
    size_t len = 0;
    while (n - len >= STAGE_PAGE && !page_find(stage, (off + len) / STAGE_PAGE))
        len += STAGE_PAGE;
    return len >= STAGE_DIRECT && range_may_be_fresh(stage, off, len) ? len : 0;
}

static bool stage_write(struct device *dev, uint64_t off, const void *buf, size_t n, enum write_class class,
                        struct error *err)
{
    struct stage *stage = stage_of(dev);
    const uint8_t *in = buf;
    /* What was never committed cannot be damaged: in a new image everything is fresh. */
    bool fresh = class == WRITE_FRESH || stage->is_new;
    if (!begin_change(stage, err))
        return false;
    while (n > 0) {
        size_t at = (size_t)(off % STAGE_PAGE), step = 0;
        if (class == WRITE_FRESH && at == 0 && n >= STAGE_DIRECT)
            step = direct_run(stage, off, n);
        if (step > 0) {
            struct iovec vector = {(void *)(uintptr_t)in, step};
            if (!host_write_fresh(stage, stage->mark + 1, off, &vector, 1, step, err))
                return false;
        } else {
            step = MIN_OF(n, STAGE_PAGE - at);
            if (!page_write(stage, off / STAGE_PAGE, at, in, step, fresh, err))
                return false;
        }
        off += step;
        in += step;
        n -= step;
    }
    return true;
}

/* The end of the stretch from off on that reads as zeros without any page: host holes, masked, past the end.
 */
static bool skip_zeros(struct stage *stage, uint64_t off, uint64_t end, uint64_t *out, struct error *err)
{
    struct device *file = stage->dev.below;
    struct extent extent = {.len = end - off, .flags = EXTENT_HOLE};
    *out = off;
    if (off < file->size && !device_map(file, off, &extent, err))
        return false;
    if (extent.flags & EXTENT_HOLE)
        *out = MIN_OF(end, off + extent.len);
    if (stage->page_count == 0)
        return true;
    for (uint64_t at = off; at < *out; at = round_down(at, STAGE_PAGE) + STAGE_PAGE)
        if (page_find(stage, at / STAGE_PAGE)) {
            *out = at;
            break;
        }
    return true;
}

static bool zero_piece(struct stage *stage, uint64_t off, size_t n, bool fresh, struct error *err)
{
    static const uint8_t zeros[STAGE_PAGE];
    if (n == STAGE_PAGE)
        return page_zero(stage, off / STAGE_PAGE, fresh, err);
    return page_write(stage, off / STAGE_PAGE, (size_t)(off % STAGE_PAGE), zeros, n, fresh, err);
}

static bool stage_zero(struct device *dev, uint64_t off, uint64_t n, enum write_class class,
                       struct error *err)
{
    struct stage *stage = stage_of(dev);
    bool fresh = class == WRITE_FRESH || stage->is_new;
    if (!begin_change(stage, err))
        return false;
    for (uint64_t end = off + n; off < end;) {
        uint64_t next;
        if (!skip_zeros(stage, off, end, &next, err))
            return false;
        if (next > off) {
            off = next;
            continue;
        }
        size_t step = (size_t)MIN_OF(end - off, STAGE_PAGE - off % STAGE_PAGE);
        if (!zero_piece(stage, off, step, fresh, err) || !interrupt_check(err))
            return false;
        off += step;
    }
    return true;
}

/* Whole pages become zeros, which the commit punches; the rest is left as it is. */
static bool stage_discard(struct device *dev, uint64_t off, uint64_t n, struct error *err)
{
    uint64_t first = round_up(off, STAGE_PAGE), end = round_down(off + n, STAGE_PAGE);
    return first >= end || stage_zero(dev, first, end - first, WRITE_UPDATE, err);
}

static bool note_size(struct stage *stage)
{
    struct log *log = stage->open;
    if (!log->resized) {
        log->resized = true;
        log->size = stage->dev.size;
    }
    return true;
}

/* What a smaller size cuts off must not come back when the file grows again. */
static bool cut_off(struct stage *stage, uint64_t size, struct error *err)
{
    uint64_t end = MAX_OF(stage->dev.size, stage->dev.below->size);
    if (size % STAGE_PAGE && size < stage->dev.size) {
        size_t rest = (size_t)MIN_OF(STAGE_PAGE - size % STAGE_PAGE, stage->dev.size - size);
        if (!zero_piece(stage, size, rest, false, err))
            return false;
    }
    for (uint64_t index = div_up(size, STAGE_PAGE); index < div_up(stage->dev.size, STAGE_PAGE); index++) {
        if (stage->page_count == 0)
            break;
        if (page_find(stage, index) && !page_zero(stage, index, false, err))
            return false;
    }
    for (uint64_t at = size; at < end;) {
        struct range masked = {.start = end, .len = 0};
        if (!ranges_next(&stage->masked, at, &masked) || masked.start > end)
            masked = (struct range){end, 0};
        if (masked.start > at && (!ranges_add(&stage->open->masked, at, masked.start - at, err) ||
                                  !ranges_add(&stage->masked, at, masked.start - at, err)))
            return false;
        at = masked.start + masked.len;
    }
    return true;
}

static bool stage_resize(struct device *dev, uint64_t size, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (size == dev->size)
        return true;
    if (host_file_is_block_device(dev->below))
        return fail(err, E_UNSUPPORTED, "a block device cannot change its size");
    if (!begin_change(stage, err) || !note_size(stage) || (size < dev->size && !cut_off(stage, size, err)))
        return false;
    dev->size = size;
    return true;
}

static bool stage_map(struct device *dev, uint64_t off, struct extent *out, struct error *err)
{
    struct stage *stage = stage_of(dev);
    uint64_t end = dev->size, next;
    const struct page *page = page_find(stage, off / STAGE_PAGE);
    *out = (struct extent){.device = dev->below, .off = off};
    if (page) {
        out->len = MIN_OF(STAGE_PAGE - off % STAGE_PAGE, end - off);
        if (page->version->zero)
            out->flags = EXTENT_HOLE;
        return true;
    }
    if (!skip_zeros(stage, off, end, &next, err))
        return false;
    if (next > off) {
        out->len = next - off;
        out->flags = EXTENT_HOLE;
        return true;
    }
    struct extent lower;
    if (!device_map(dev->below, off, &lower, err))
        return false;
    out->len = MIN_OF(lower.len, end - off);
    return true;
}

static void stage_close(struct device *dev)
{
    struct stage *stage = stage_of(dev);
    struct error ignored = {0};
    /* Fresh writes are taken back so far as the host lets us; what stays lies in free space. */
    if (stage->state == STAGE_WORKING && !stage->is_new && !stage_rollback(dev, &ignored))
        stage->state = STAGE_BROKEN;
    history_clear(stage);
    pages_free(stage);
    if (stage->open)
        log_free(stage, stage->open);
    free(stage->logs);
    ranges_clear(&stage->changes);
    spill_close(&stage->spill);
    device_close(dev->below);
    free(stage);
}

static const struct device_ops stage_ops = {
    .name = "stage",
    .read = stage_read,
    .write = stage_write,
    .zero = stage_zero,
    .discard = stage_discard,
    .resize = stage_resize,
    .map = stage_map,
    .close = stage_close,
};

/* ---- opening ---- */

static struct stage *stage_new(const struct stage_options *options, struct device *file, struct error *err)
{
    struct stage *stage = mem_new(sizeof *stage, err);
    if (!stage)
        return NULL;
    stage->open = log_new(err);
    if (!stage->open) {
        free(stage);
        return NULL;
    }
    stage->options = *options;
    stage->dev = (struct device){.ops = &stage_ops,
                                 .below = file,
                                 .size = file->size,
                                 .block_size = file->block_size,
                                 .read_only = options->read_only || options->force_share};
    stage->committed_size = file->size;
    spill_init(&stage->spill);
    return stage;
}

bool stage_open(const char *path, const struct stage_options *options, struct device **out,
                enum recovery *recovery, struct error *err)
{
    struct host_file_options host = {.read_only = options->read_only,
                                     .force_share = options->force_share,
                                     .sector_size = options->sector_size};
    struct device *file;
    *recovery = RECOVERY_NONE;
    if (!host_file_open(path, &host, &file, err))
        return false;
    struct stage *stage = stage_new(options, file, err);
    if (!stage) {
        device_close(file);
        return false;
    }
    if (!stage_recover(stage, recovery, err)) {
        stage_close(&stage->dev);
        return false;
    }
    *out = &stage->dev;
    return true;
}

bool stage_create(const char *path, bool overwrite, const struct stage_options *options, struct device **out,
                  struct error *err)
{
    struct host_file_options host = {.sector_size = options->sector_size};
    struct device *file;
    if (!host_file_create(path, overwrite, &host, &file, err))
        return false;
    struct stage *stage = stage_new(options, file, err);
    if (!stage) {
        device_close(file);
        return false;
    }
    stage->is_new = true;
    *out = &stage->dev;
    return true;
}

bool stage_is_hole(struct device *dev, uint64_t off, uint64_t len)
{
    struct stage *stage = stage_of(dev);
    for (const struct ranges *set = &stage->direct; set;
         set = set == &stage->direct ? &stage->open->direct : NULL)
        if (ranges_overlaps(set, off, len))
            return false;
    return host_file_is_hole(dev->below, off, len);
}

void stage_set_durability(struct device *dev, enum durability durability)
{
    struct stage *stage = stage_of(dev);
    stage->options.durability = durability;
    stage->ready = false;
}

const char *stage_path(const struct device *dev)
{
    return host_file_path(dev->below);
}

void stage_report(struct device *dev, struct report *report)
{
    const struct stage *stage = stage_of(dev);
    report_number(report, "overlay-pages", stage->page_count);
    report_size(report, "overlay-memory", stage->memory);
    report_size(report, "spilled", stage->spilled_pages * STAGE_PAGE);
    report_size(report, "written-early", stage->evicted_pages * STAGE_PAGE);
    report_number(report, "undo-steps", stage->mark - stage->base);
    report_number(report, "commits", stage->commits);
    report_size(report, "journal-written", stage->journal_bytes);
    report_number(report, "host-reads", dev->below->stats.reads);
    report_size(report, "host-read-bytes", dev->below->stats.read_bytes);
    report_number(report, "host-writes", dev->below->stats.writes);
    report_size(report, "host-write-bytes", dev->below->stats.write_bytes);
}
