/* The stage as a device: reading and writing through the overlay. See stage_private.h for the invariants. */
#include "stage.h"

#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
#include "report.h"
#include "stage_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/uio.h>

bool stage_check_working(const struct stage *stage, struct error *err)
{
    return !stage->broken || fail(err, E_IO, "%s", stage->broken);
}

/* Settled once, before the first change: locks, and that a commit will be possible. */
static bool make_ready(struct stage *stage, struct error *err)
{
    struct device *file = stage->dev.below;
    bool journal = !stage->is_new && stage->options.durability != DURABILITY_OFF;
    if (stage->ready)
        return true;
    if (!stage->options.dry_run && (!host_file_make_writable(file, err) ||
                                    (journal && !journal_possible(host_file_real_path(file), err))))
        return false;
    stage->ready = true;
    return true;
}

static bool begin_change(struct stage *stage, struct error *err)
{
    if (!stage_check_working(stage, err) || !make_ready(stage, err))
        return false;
    history_begin_change(stage);
    stage->epoch++;
    return true;
}

/* ---- reading ---- */

static bool stage_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct stage *stage = stage_of(dev);
    uint8_t *out = buf;
    if (!stage_check_working(stage, err))
        return false;
    while (n > 0) {
        size_t step = (size_t)(page_next(stage, off, off + n) - off), at = (size_t)(off % STAGE_PAGE);
        bool ok;
        if (step > 0) {
            ok = host_read(stage, off, out, step, err);
        } else {
            step = MIN_OF(n, STAGE_PAGE - at);
            ok = version_read(stage, page_find(stage, off / STAGE_PAGE)->version, at, out, step, err);
        }
        if (!ok)
            return false;
        off += step;
        out += step;
        n -= step;
    }
    return true;
}

/* ---- writing ---- */

/* How many bytes from off on may bypass the overlay: whole pages, and enough of them. */
static size_t direct_run(const struct stage *stage, uint64_t off, size_t n, enum write_class class)
{
    size_t least = class == WRITE_FRESH_ONCE ? STAGE_PAGE : STAGE_DIRECT;
    if (off % STAGE_PAGE != 0 || n < least)
        return 0;
    uint64_t end = page_next(stage, off, off + n);
    size_t len = (size_t)round_down(end - off, STAGE_PAGE);
    return len >= least && range_may_be_fresh(stage, off, len) ? len : 0;
}

static bool stage_write(struct device *dev, uint64_t off, const void *buf, size_t n, enum write_class class,
                        struct error *err)
{
    struct stage *stage = stage_of(dev);
    const uint8_t *in = buf;
    /* What was never committed cannot be damaged: in a new image everything is fresh. */
    bool fresh = class != WRITE_UPDATE || stage->is_new;
    if (!begin_change(stage, err))
        return false;
    while (n > 0) {
        size_t at = (size_t)(off % STAGE_PAGE), step = fresh ? direct_run(stage, off, n, class) : 0;
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

/* Only what may bypass the overlay can bypass the program. */
static bool stage_copy_in(struct device *dev, uint64_t off, int fd, uint64_t fd_off, size_t n,
                          enum write_class class, size_t *done, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (!begin_change(stage, err))
        return false;
    size_t len = class != WRITE_UPDATE || stage->is_new ? direct_run(stage, off, n, class) : 0;
    return len == 0 || host_copy_fresh(stage, off, fd, fd_off, len, done, err);
}

/* ---- zeros ---- */

static bool masked_at(const struct ranges *masked, uint64_t off, uint64_t *end)
{
    struct range range;
    if (!ranges_next(masked, off, &range) || range.start > off)
        return false;
    *end = range.start + range.len;
    return true;
}

/* The end of the stretch from off on that reads as zeros without any page:
 * host holes, masked, past the end. */
static bool skip_zeros(struct stage *stage, uint64_t off, uint64_t end, uint64_t *out, struct error *err)
{
    struct device *file = stage->dev.below;
    end = page_next(stage, off, end);
    while (off < end) {
        uint64_t next;
        if (off >= file->size) {
            off = end;
        } else if (masked_at(&stage->masked, off, &next) || masked_at(&stage->open->masked, off, &next)) {
            off = next;
        } else {
            struct extent extent;
            if (!device_map(file, off, &extent, err))
                return false;
            if (!(extent.flags & EXTENT_HOLE))
                break;
            off += extent.len;
        }
    }
    *out = MIN_OF(off, end);
    return true;
}

/* Add what is not masked yet, so that each generation's part can be taken out again. */
static bool mask(struct stage *stage, uint64_t off, uint64_t end, struct error *err)
{
    while (off < end) {
        struct range next;
        uint64_t stop = end, after = end;
        if (ranges_next(&stage->masked, off, &next) && next.start < end) {
            stop = next.start;
            after = next.start + next.len;
        }
        if (!ranges_add(&stage->open->masked, off, stop - off, err))
            return false;
        off = after;
    }
    return true;
}

/* Part of a page; nothing is stored for what reads as zeros anyway. */
static bool zero_part(struct stage *stage, uint64_t off, uint64_t end, bool fresh, struct error *err)
{
    static const uint8_t zeros[STAGE_PAGE];
    uint64_t next;
    if (off >= end)
        return true;
    if (!skip_zeros(stage, off, end, &next, err))
        return false;
    return next == end || page_write(stage, off / STAGE_PAGE, (size_t)(off % STAGE_PAGE), zeros,
                                     (size_t)(end - off), fresh, err);
}

/* Whole pages that are not in the overlay and that the host file has bytes for. */
static bool zero_stored(struct stage *stage, uint64_t off, uint64_t end, bool fresh, struct error *err)
{
    fresh = fresh && range_may_be_fresh(stage, off, end - off);
    if (fresh && end - off >= STAGE_DIRECT)
        return host_zero_fresh(stage, off, end - off, err);
    if (!fresh)
        return mask(stage, off, end, err);
    for (; off < end; off += STAGE_PAGE)
        if (!page_zero(stage, off / STAGE_PAGE, true, err))
            return false;
    return true;
}

static bool zero_pages(struct stage *stage, uint64_t off, uint64_t end, bool fresh, struct error *err)
{
    while (off < end) {
        uint64_t next = page_next(stage, off, end), zeros;
        struct extent extent;
        if (!interrupt_check(err))
            return false;
        if (next == off) {
            if (!page_zero(stage, off / STAGE_PAGE, fresh, err))
                return false;
            off += STAGE_PAGE;
            continue;
        }
        if (!skip_zeros(stage, off, next, &zeros, err))
            return false;
        off = zeros < next ? round_down(zeros, STAGE_PAGE) : next;
        if (off == next)
            continue;
        if (!device_map(stage->dev.below, zeros, &extent, err))
            return false;
        uint64_t stop = MIN_OF(next, round_up(zeros + extent.len, STAGE_PAGE));
        if (!zero_stored(stage, off, stop, fresh, err))
            return false;
        off = stop;
    }
    return true;
}

static bool zero_range(struct stage *stage, uint64_t off, uint64_t end, bool fresh, struct error *err)
{
    uint64_t first = MIN_OF(round_up(off, STAGE_PAGE), end),
             last = MAX_OF(round_down(end, STAGE_PAGE), first);
    return zero_part(stage, off, first, fresh, err) && zero_pages(stage, first, last, fresh, err) &&
           zero_part(stage, last, end, fresh, err);
}

static bool stage_zero(struct device *dev, uint64_t off, uint64_t n, enum write_class class,
                       struct error *err)
{
    struct stage *stage = stage_of(dev);
    return begin_change(stage, err) &&
           zero_range(stage, off, off + n, class != WRITE_UPDATE || stage->is_new, err);
}

/* Whole pages become zeros, which the commit punches; the rest is left as it is. */
static bool stage_discard(struct device *dev, uint64_t off, uint64_t n, struct error *err)
{
    uint64_t first = round_up(off, STAGE_PAGE), end = round_down(off + n, STAGE_PAGE);
    return first >= end || stage_zero(dev, first, end - first, WRITE_UPDATE, err);
}

/* Space is reserved at once where nothing that could be gone back to lies there; else the commit finds it. */
static bool stage_allocate(struct device *dev, uint64_t off, uint64_t n, bool written, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (!begin_change(stage, err) || !zero_range(stage, off, off + n, true, err))
        return false;
    for (uint64_t end = off + n; off < end;) {
        uint64_t next = page_next(stage, off, end);
        if (next > off && range_may_be_fresh(stage, off, next - off) &&
            !host_reserve_fresh(stage, off, next - off, written, err))
            return false;
        off = next > off ? next : MIN_OF(end, round_down(off, STAGE_PAGE) + STAGE_PAGE);
    }
    return true;
}

/* ---- size ---- */

/* The bytes in a version of a page, in memory or in the spill file. */
static bool patch_version(struct stage *stage, struct version *version, size_t at, const void *buf, size_t n,
                          struct error *err)
{
    uint8_t page[STAGE_PAGE];
    const uint8_t *pages[] = {page};
    uint64_t slot;
    if (!version || version->zero)
        return true;
    if (version->data) {
        memcpy(version->data + at, buf, n);
        return true;
    }
    if (!version_read(stage, version, 0, page, sizeof page, err))
        return false;
    memcpy(page + at, buf, n);
    if (!spill_write(&stage->spill, pages, 1, &slot, err))
        return false;
    spill_release(&stage->spill, version->slot);
    version->slot = slot;
    version->crc = crc32c(~0u, page, sizeof page);
    return true;
}

/* Past the transaction: into the host file and into every state that can be gone to. */
static bool stage_write_now(struct device *dev, uint64_t off, const void *buf, size_t n, struct error *err)
{
    struct stage *stage = stage_of(dev);
    uint64_t index = off / STAGE_PAGE;
    const struct page *page = page_find(stage, index);
    if (stage->is_new || stage->options.dry_run)
        return true;
    if (off % STAGE_PAGE + n > STAGE_PAGE)
        return fail(err, E_INVALID, "a write past the transaction does not cross a page");
    if (!stage_check_working(stage, err) || !make_ready(stage, err) ||
        (page && !patch_version(stage, page->version, off % STAGE_PAGE, buf, n, err)))
        return false;
    for (size_t i = 0; i <= stage->log_count; i++) {
        struct log *log = i < stage->log_count ? stage->logs[i] : stage->open;
        for (size_t k = 0; k < log->count; k++)
            if (log->entries[k].index == index &&
                !patch_version(stage, log->entries[k].version, off % STAGE_PAGE, buf, n, err))
                return false;
    }
    return device_write(dev->below, off, buf, n, WRITE_UPDATE, err) && host_file_sync(dev->below, err);
}

/* What a smaller size cuts off must not come back when the file grows again. */
static bool cut_off(struct stage *stage, uint64_t size, struct error *err)
{
    uint64_t end = round_up(MAX_OF(stage->dev.size, stage->dev.below->size), STAGE_PAGE);
    uint64_t first = MIN_OF(round_up(size, STAGE_PAGE), end);
    if (!zero_part(stage, size, MIN_OF(first, stage->dev.size), false, err))
        return false;
    for (uint64_t at = first; (at = page_next(stage, at, end)) < end; at += STAGE_PAGE)
        if (!page_zero(stage, at / STAGE_PAGE, false, err))
            return false;
    return mask(stage, first, end, err);
}

static bool stage_resize(struct device *dev, uint64_t size, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (size == dev->size)
        return true;
    if (host_file_is_block_device(dev->below))
        return fail(err, E_UNSUPPORTED, "a block device cannot change its size");
    if (size > INT64_MAX - STAGE_PAGE)
        return fail(err, E_TOOBIG, "no host file can have %" PRIu64 " bytes", size);
    if (!begin_change(stage, err) || (size < dev->size && !cut_off(stage, size, err)))
        return false;
    struct log *log = stage->open;
    if (!log->resized)
        log->size = dev->size;
    log->resized = true;
    dev->size = size;
    return true;
}

/* Overlay pages of one sort that follow each other, as one run. */
static uint64_t run_of_pages(const struct stage *stage, const struct page *page, uint64_t end)
{
    uint64_t index = page->index;
    const struct page *next = page;
    while (next && next->version->zero == page->version->zero && index * STAGE_PAGE < end)
        next = page_find(stage, ++index);
    return MIN_OF(index * STAGE_PAGE, end);
}

static bool stage_map(struct device *dev, uint64_t off, struct extent *out, struct error *err)
{
    struct stage *stage = stage_of(dev);
    uint64_t end = dev->size, next;
    const struct page *page = page_find(stage, off / STAGE_PAGE);
    *out = (struct extent){.device = dev->below, .off = off};
    if (page) {
        out->len = run_of_pages(stage, page, end) - off;
        out->flags = page->version->zero ? EXTENT_HOLE : 0;
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
    struct range masked;
    if (!device_map(dev->below, off, &lower, err))
        return false;
    next = page_next(stage, off, MIN_OF(end, off + lower.len));
    if (ranges_next(&stage->masked, off, &masked))
        next = MIN_OF(next, masked.start);
    if (ranges_next(&stage->open->masked, off, &masked))
        next = MIN_OF(next, masked.start);
    out->len = next - off;
    return true;
}

static void stage_close(struct device *dev)
{
    struct stage *stage = stage_of(dev);
    struct error ignored;
    /* Fresh writes are taken back so far as the host lets us; what stays lies in free space. */
    if (!stage->broken && !stage->is_new)
        (void)!stage_rollback(dev, &ignored);
    stage_abandon_commit(dev);
    history_drop_prepared(stage);
    log_free(stage, stage->open);
    history_clear(stage);
    pages_free(stage);
    free(stage->logs);
    ranges_clear(&stage->changes);
    versions_free_spare(stage);
    spill_close(&stage->spill);
    device_close(dev->below);
    free(stage);
}

static const struct device_ops stage_ops = {
    .name = "stage",
    .read = stage_read,
    .write = stage_write,
    .copy_in = stage_copy_in,
    .zero = stage_zero,
    .discard = stage_discard,
    .allocate = stage_allocate,
    .write_now = stage_write_now,
    .resize = stage_resize,
    .map = stage_map,
    .close = stage_close,
};

/* ---- opening ---- */

enum { DEFAULT_MEMORY = 12 * 1024 * 1024, DEFAULT_UNDO_PAGES = 64 * 1024 };

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
    if (stage->options.memory == 0)
        stage->options.memory = DEFAULT_MEMORY;
    if (stage->options.undo_pages == 0)
        stage->options.undo_pages = DEFAULT_UNDO_PAGES;
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
    const struct stage *stage = stage_of(dev);
    return !ranges_overlaps(&stage->direct, off, len) && !ranges_overlaps(&stage->open->direct, off, len) &&
           host_file_is_hole(dev->below, off, len);
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

const char *stage_real_path(const struct device *dev)
{
    return host_file_real_path(dev->below);
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
