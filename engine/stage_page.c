/* The overlay: a hash table of pages, each pointing at a version of its contents. */
#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
#include "stage_private.h"

#include <stdlib.h>
#include <sys/uio.h>

/* ---- versions ---- */

static void unlink_age(struct stage *stage, struct version *version)
{
    *(version->newer ? &version->newer->older : &stage->newest) = version->older;
    *(version->older ? &version->older->newer : &stage->oldest) = version->newer;
    version->newer = version->older = NULL;
}

static void link_newest(struct stage *stage, struct version *version)
{
    version->newer = NULL;
    version->older = stage->newest;
    *(stage->newest ? &stage->newest->newer : &stage->oldest) = version;
    stage->newest = version;
}

static void drop_data(struct stage *stage, struct version *version)
{
    if (!version->data)
        return;
    unlink_age(stage, version);
    free(version->data);
    version->data = NULL;
    stage->memory -= STAGE_PAGE;
}

void version_release(struct stage *stage, struct version *version)
{
    if (!version || --version->references > 0)
        return;
    drop_data(stage, version);
    if (version->spilled)
        spill_release(&stage->spill, version->slot);
    free(version);
}

static struct version *version_new(struct stage *stage, bool zero, struct error *err)
{
    struct version *version = mem_new(sizeof *version, err);
    if (!version)
        return NULL;
    version->references = 1;
    version->zero = zero;
    if (zero)
        return version;
    version->data = mem_new(STAGE_PAGE, err);
    if (!version->data) {
        free(version);
        return NULL;
    }
    link_newest(stage, version);
    stage->memory += STAGE_PAGE;
    return version;
}

bool version_read(struct stage *stage, const struct version *version, size_t at, uint8_t *out, size_t n,
                  struct error *err)
{
    uint8_t page[STAGE_PAGE];
    if (version->zero) {
        memset(out, 0, n);
        return true;
    }
    if (version->data) {
        memcpy(out, version->data + at, n);
        return true;
    }
    if (!spill_read(&stage->spill, version->slot, version->crc, page, err))
        return false;
    memcpy(out, page + at, n);
    return true;
}

/* ---- host bytes ---- */

bool host_read(struct stage *stage, const struct ranges *masked, uint64_t off, uint8_t *out, size_t n,
               struct error *err)
{
    struct device *file = stage->dev.below;
    size_t stored = off >= file->size ? 0 : (size_t)MIN_OF(n, file->size - off);
    if (stored > 0 && !device_read(file, off, out, stored, err))
        return false;
    memset(out + stored, 0, n - stored);
    struct range range;
    for (uint64_t at = off; ranges_next(masked, at, &range) && range.start < off + n;
         at = range.start + range.len) {
        uint64_t end = MIN_OF(range.start + range.len, off + n);
        memset(out + (range.start - off), 0, (size_t)(end - range.start));
    }
    return true;
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

bool host_write_fresh(struct stage *stage, uint64_t generation, uint64_t off, const struct iovec *vector,
                      size_t count, uint64_t len, struct error *err)
{
    struct log *log = log_of(stage, generation);
    if (!ranges_contains(&log->direct, off, len) &&
        (!note_holes(stage, log, off, len, err) || !ranges_add(&log->direct, off, len, err)))
        return false;
    if (log != stage->open && !ranges_add(&stage->direct, off, len, err))
        return false;
    return host_file_write_vector(stage->dev.below, off, vector, count, err);
}

/* ---- pages ---- */

static size_t bucket_of(const struct stage *stage, uint64_t index)
{
    return (size_t)(index * 0x9E3779B97F4A7C15u >> 24) & (stage->bucket_count - 1);
}

struct page *page_find(const struct stage *stage, uint64_t index)
{
    if (stage->page_count == 0)
        return NULL;
    struct page *page = stage->buckets[bucket_of(stage, index)];
    while (page && page->index != index)
        page = page->next;
    return page;
}

static bool grow_table(struct stage *stage, struct error *err)
{
    size_t old_count = stage->bucket_count, count = old_count ? old_count * 4 : 1024;
    struct page **buckets = mem_array(count, sizeof *buckets, err), **old = stage->buckets;
    if (!buckets)
        return false;
    stage->buckets = buckets;
    stage->bucket_count = count;
    for (size_t i = 0; i < old_count; i++)
        for (struct page *page = old[i], *next; page; page = next) {
            next = page->next;
            size_t bucket = bucket_of(stage, page->index);
            page->next = buckets[bucket];
            buckets[bucket] = page;
        }
    free(old);
    return true;
}

static struct page *page_add(struct stage *stage, uint64_t index, struct error *err)
{
    if (stage->page_count >= stage->bucket_count && !grow_table(stage, err))
        return NULL;
    struct page *page = mem_new(sizeof *page, err);
    if (!page)
        return NULL;
    size_t bucket = bucket_of(stage, index);
    *page = (struct page){.index = index, .next = stage->buckets[bucket]};
    stage->buckets[bucket] = page;
    stage->page_count++;
    return page;
}

static void page_remove(struct stage *stage, struct page *page)
{
    struct page **hook = &stage->buckets[bucket_of(stage, page->index)];
    while (*hook != page)
        hook = &(*hook)->next;
    *hook = page->next;
    stage->page_count--;
    stage->fresh_count -= page->fresh;
    version_release(stage, page->version);
    free(page);
}

static bool log_entry(struct stage *stage, const struct page *page, uint64_t index, struct error *err)
{
    struct log *log = stage->open;
    if (!mem_grow(&log->entries, &log->capacity, log->count + 1, sizeof *log->entries, err))
        return false;
    struct log_entry *entry = &log->entries[log->count++];
    *entry = (struct log_entry){.index = index};
    if (page) {
        *entry = (struct log_entry){index, page->version, page->generation, page->fresh};
        page->version->references++;
        stage->history_pages += !page->version->zero;
    }
    return true;
}

static void page_set(struct stage *stage, struct page *page, struct version *version, bool fresh)
{
    version_release(stage, page->version);
    page->version = version;
    page->generation = stage->mark + 1;
    stage->fresh_count += (size_t)fresh - (size_t)page->fresh;
    page->fresh = fresh;
}

/*
 * Install a version in a page. A page that was there keeps its freshness only within the generation that made
 * it (invariant 2), and only as long as nothing but fresh bytes go into it.
 */
static bool page_install(struct stage *stage, struct page *page, uint64_t index, struct version *version,
                         bool fresh, struct error *err)
{
    bool logged = page && page->generation == stage->mark + 1;
    bool ok = logged || log_entry(stage, page, index, err);
    if (ok && page)
        fresh = fresh && logged && page->fresh;
    if (ok && !page) {
        page = page_add(stage, index, err);
        ok = page != NULL;
    }
    if (!ok) {
        version_release(stage, version);
        return false;
    }
    page_set(stage, page, version, fresh);
    return true;
}

/* Fresh bytes that an earlier step of this transaction put on the host are part of what undo returns to. */
bool range_may_be_fresh(const struct stage *stage, uint64_t off, uint64_t len)
{
    return !stage->options.dry_run && !ranges_overlaps(&stage->direct, off, len) &&
           !ranges_overlaps(&stage->masked, off, len);
}

bool page_write(struct stage *stage, uint64_t index, size_t at, const uint8_t *bytes, size_t n, bool fresh,
                struct error *err)
{
    struct page *page = page_find(stage, index);
    bool own =
        page && page->generation == stage->mark + 1 && page->version->references == 1 && page->version->data;
    if (own) {
        memcpy(page->version->data + at, bytes, n);
        if (page->fresh && !fresh) {
            page->fresh = false;
            stage->fresh_count--;
        }
        return true;
    }
    struct version *version = version_new(stage, false, err);
    if (!version)
        return false;
    bool whole = n == STAGE_PAGE;
    bool read = whole ||
                (page ? version_read(stage, page->version, 0, version->data, STAGE_PAGE, err)
                      : host_read(stage, &stage->masked, index * STAGE_PAGE, version->data, STAGE_PAGE, err));
    if (!read) {
        version_release(stage, version);
        return false;
    }
    memcpy(version->data + at, bytes, n);
    fresh = fresh && range_may_be_fresh(stage, index * STAGE_PAGE, STAGE_PAGE);
    return page_install(stage, page, index, version, fresh, err) && pages_shrink(stage, err);
}

bool page_zero(struct stage *stage, uint64_t index, bool fresh, struct error *err)
{
    struct page *page = page_find(stage, index);
    if (page && page->version->zero && (fresh || !page->fresh))
        return true;
    struct version *version = version_new(stage, true, err);
    fresh = fresh && range_may_be_fresh(stage, index * STAGE_PAGE, STAGE_PAGE);
    return version && page_install(stage, page, index, version, fresh, err);
}

bool page_swap(struct stage *stage, struct log_entry *entry, struct error *err)
{
    struct page *page = page_find(stage, entry->index);
    struct log_entry old = {.index = entry->index};
    if (page)
        old = (struct log_entry){entry->index, page->version, page->generation, page->fresh};
    if (!page && entry->version) {
        page = page_add(stage, entry->index, err);
        if (!page)
            return false;
    }
    if (page && entry->version) {
        page->version = entry->version;
        page->generation = entry->generation;
        stage->fresh_count += (size_t)entry->fresh - (size_t)page->fresh;
        page->fresh = entry->fresh;
    } else if (page) {
        page->version = NULL;
        page_remove(stage, page);
    }
    stage->history_pages -= entry->version && !entry->version->zero;
    stage->history_pages += old.version && !old.version->zero;
    *entry = old;
    return true;
}

static int by_index(const void *a, const void *b)
{
    const struct page *x = *(struct page *const *)a, *y = *(struct page *const *)b;
    return x->index < y->index ? -1 : x->index > y->index;
}

bool pages_sorted(const struct stage *stage, bool fresh, struct page ***out, size_t *count, struct error *err)
{
    struct page **list = mem_array(stage->page_count + 1, sizeof *list, err);
    *count = 0;
    *out = list;
    if (!list)
        return false;
    for (size_t i = 0; i < stage->bucket_count; i++)
        for (struct page *page = stage->buckets[i]; page; page = page->next)
            if (page->fresh == fresh)
                list[(*count)++] = page;
    qsort(list, *count, sizeof *list, by_index);
    return true;
}

enum { MAX_VECTOR = 512 };

/* Neighbours of one generation from pages[0] on: they go out in one request. */
static size_t run_of(struct page *const *pages, size_t count)
{
    size_t n = 1;
    while (n < count && n < MAX_VECTOR && pages[n]->index == pages[n - 1]->index + 1 &&
           pages[n]->generation == pages[0]->generation)
        n++;
    return n;
}

static bool evict_run(struct stage *stage, struct page **pages, size_t n, struct error *err)
{
    static const uint8_t zeros[STAGE_PAGE];
    struct iovec vector[MAX_VECTOR];
    uint8_t *buffer = NULL;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        const struct version *version = pages[i]->version;
        const uint8_t *data = version->zero ? zeros : version->data;
        if (!data) {
            buffer = buffer ? buffer : mem_array(n, STAGE_PAGE, err);
            ok = buffer && version_read(stage, version, 0, buffer + i * STAGE_PAGE, STAGE_PAGE, err);
            data = ok ? buffer + i * STAGE_PAGE : zeros;
        }
        vector[i] = (struct iovec){(void *)(uintptr_t)data, STAGE_PAGE};
    }
    uint64_t off = pages[0]->index * STAGE_PAGE, len = n * STAGE_PAGE;
    if (off + len > stage->dev.size) {
        len = stage->dev.size - off;
        vector[n - 1].iov_len = (size_t)(len - (n - 1) * STAGE_PAGE);
    }
    ok = ok && host_write_fresh(stage, pages[0]->generation, off, vector, n, len, err);
    free(buffer);
    return ok;
}

bool pages_evict(struct stage *stage, struct error *err)
{
    struct page **pages;
    size_t count;
    if (stage->fresh_count == 0)
        return true;
    if (!pages_sorted(stage, true, &pages, &count, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < count;) {
        size_t n = run_of(pages + i, count - i);
        /* Cut off by a smaller size in the same step: nothing to keep. */
        bool beyond = pages[i]->index * STAGE_PAGE >= stage->dev.size;
        ok = beyond || evict_run(stage, pages + i, n, err);
        for (size_t k = 0; ok && k < n; k++)
            page_remove(stage, pages[i + k]);
        stage->evicted_pages += n;
        i += n;
    }
    free(pages);
    return ok;
}

static bool spill_oldest(struct stage *stage, struct error *err)
{
    enum { BATCH = 256 };
    struct version *versions[BATCH];
    const uint8_t *data[BATCH] = {0};
    uint64_t slots[BATCH];
    size_t n = 0;
    for (struct version *version = stage->oldest; version && n < BATCH; version = version->newer) {
        versions[n] = version;
        data[n++] = version->data;
    }
    if (!spill_write(&stage->spill, data, n, slots, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        versions[i]->crc = crc32c(~0u, data[i], STAGE_PAGE);
        versions[i]->slot = slots[i];
        versions[i]->spilled = true;
        drop_data(stage, versions[i]);
    }
    stage->spilled_pages += n;
    return true;
}

bool pages_shrink(struct stage *stage, struct error *err)
{
    if (stage->memory <= STAGE_MEMORY)
        return true;
    if (stage->fresh_count * STAGE_PAGE > STAGE_MEMORY / 4 && !pages_evict(stage, err))
        return false;
    while (stage->memory > STAGE_MEMORY)
        if (!spill_oldest(stage, err))
            return false;
    return true;
}

void pages_free(struct stage *stage)
{
    for (size_t i = 0; i < stage->bucket_count; i++)
        while (stage->buckets[i])
            page_remove(stage, stage->buckets[i]);
    free(stage->buckets);
    stage->buckets = NULL;
    stage->bucket_count = 0;
}
