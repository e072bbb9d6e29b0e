/* The overlay: which pages differ from the host file, and their versions. */
#include "alloc.h"
#include "bytes.h"
#include "stage_private.h"

#include <stdlib.h>

struct page *page_find(const struct stage *stage, uint64_t index)
{
    struct page *page = radix_get(&stage->pages, index);
    return page && page->version ? page : NULL;
}

uint64_t page_next(const struct stage *stage, uint64_t off, uint64_t end)
{
    uint64_t index = off / STAGE_PAGE, last = div_up(end, STAGE_PAGE);
    if (stage->page_count == 0)
        return end;
    for (const struct page *page; index < last && (page = radix_next(&stage->pages, index, &index)); index++)
        if (page->version)
            return MIN_OF(MAX_OF(index * STAGE_PAGE, off), end);
    return end;
}

/* Pages come and go by the thousand when fresh ones are evicted: some are kept for the next. */
static void put_aside(struct stage *stage, struct page *page)
{
    if (stage->idle_page_count < STAGE_SPARE)
        stage->idle_pages[stage->idle_page_count++] = page;
    else
        free(page);
}

static struct page *page_make(struct stage *stage, uint64_t index, struct error *err)
{
    struct page *page =
        stage->idle_page_count ? stage->idle_pages[--stage->idle_page_count] : mem_new(sizeof *page, err);
    if (!page)
        return NULL;
    *page = (struct page){.index = index};
    if (!radix_put(&stage->pages, index, page, err)) {
        put_aside(stage, page);
        return NULL;
    }
    return page;
}

/* A page without version and log entries says nothing. */
static void remove_if_idle(struct stage *stage, struct page *page)
{
    if (page->version || page->entries)
        return;
    radix_remove(&stage->pages, page->index);
    put_aside(stage, page);
}

void page_forget_entry(struct stage *stage, uint64_t index)
{
    struct page *page = radix_get(&stage->pages, index);
    page->entries--;
    remove_if_idle(stage, page);
}

static bool log_page(struct stage *stage, struct page *page, struct error *err)
{
    struct log *log = stage->open;
    if (!mem_grow(&log->entries, &log->capacity, log->count + 1, sizeof *log->entries, err))
        return false;
    log->entries[log->count++] =
        (struct log_entry){page->index, page->version, page->generation, page->fresh};
    page->entries++;
    if (page->version) {
        page->version->references++;
        stage->history_pages += !page->version->zero;
    }
    return true;
}

/* Counts follow the version; it may be NULL. The old one is not released. */
static void page_set(struct stage *stage, struct page *page, struct version *version, uint64_t generation,
                     bool fresh)
{
    stage->page_count += (size_t)(version != NULL) - (size_t)(page->version != NULL);
    stage->fresh_count += (size_t)fresh - (size_t)page->fresh;
    page->version = version;
    page->generation = generation;
    page->fresh = fresh;
}

/*
 * Install a version in a page. A page that was there keeps its freshness only within the generation that made
 * it (invariant 2), and only as long as nothing but fresh bytes go into it.
 */
static bool page_install(struct stage *stage, uint64_t index, struct version *version, bool fresh,
                         struct error *err)
{
    struct page *page = radix_get(&stage->pages, index);
    uint64_t generation = stage->mark + 1;
    if (!page && !(page = page_make(stage, index, err))) {
        version_release(stage, version);
        return false;
    }
    bool logged = page->version && page->generation == generation;
    if (!logged && !log_page(stage, page, err)) {
        remove_if_idle(stage, page);
        version_release(stage, version);
        return false;
    }
    struct version *old = page->version;
    if (old && !logged)
        version_settle(stage, old);
    if (old && !old->zero && !version->zero)
        version_follow(old, version);
    page_set(stage, page, version, generation, fresh && (!old || (logged && page->fresh)));
    version_release(stage, old);
    return true;
}

/* What is in the host file, where a page is written in part; much of what is fresh goes into holes. */
static bool read_below(struct stage *stage, uint64_t off, uint8_t *out, struct error *err)
{
    if (!host_file_known_hole(stage->dev.below, off, STAGE_PAGE))
        return host_read(stage, off, out, STAGE_PAGE, err);
    memset(out, 0, STAGE_PAGE);
    return true;
}

bool page_write(struct stage *stage, uint64_t index, size_t at, const uint8_t *bytes, size_t n, bool fresh,
                struct error *err)
{
    struct page *page = page_find(stage, index);
    bool own =
        page && page->generation == stage->mark + 1 && page->version->references == 1 && page->version->data;
    if (own) {
        memcpy(page->version->data + at, bytes, n);
        version_touch(stage, page->version);
        if (!fresh)
            page_set(stage, page, page->version, page->generation, false);
        return true;
    }
    struct version *version = version_new(stage, false, err);
    if (!version)
        return false;
    bool read =
        n == STAGE_PAGE || (page ? version_read(stage, page->version, 0, version->data, STAGE_PAGE, err)
                                 : read_below(stage, index * STAGE_PAGE, version->data, err));
    if (!read) {
        version_release(stage, version);
        return false;
    }
    memcpy(version->data + at, bytes, n);
    fresh = fresh && range_may_be_fresh(stage, index * STAGE_PAGE, STAGE_PAGE);
    return page_install(stage, index, version, fresh, err) && pages_shrink(stage, err);
}

bool page_zero(struct stage *stage, uint64_t index, bool fresh, struct error *err)
{
    struct page *page = page_find(stage, index);
    if (page && page->version->zero && (fresh || !page->fresh))
        return true;
    struct version *version = version_new(stage, true, err);
    fresh = fresh && range_may_be_fresh(stage, index * STAGE_PAGE, STAGE_PAGE);
    return version && page_install(stage, index, version, fresh, err);
}

void page_swap(struct stage *stage, struct log_entry *entry)
{
    struct page *page = radix_get(&stage->pages, entry->index);
    struct log_entry old = {page->index, page->version, page->generation, page->fresh};
    page_set(stage, page, entry->version, entry->generation, entry->fresh);
    stage->history_pages -= entry->version && !entry->version->zero;
    stage->history_pages += old.version && !old.version->zero;
    *entry = old;
}

void page_drop_version(struct stage *stage, struct page *page)
{
    struct version *version = page->version;
    page_set(stage, page, NULL, page->generation, false);
    version_release(stage, version);
    remove_if_idle(stage, page);
}

void pages_free(struct stage *stage)
{
    struct page *page;
    for (uint64_t index = 0; (page = radix_next(&stage->pages, index, &index)); index++) {
        version_release(stage, page->version);
        free(page);
    }
    while (stage->idle_page_count > 0)
        free(stage->idle_pages[--stage->idle_page_count]);
    radix_clear(&stage->pages);
    stage->page_count = stage->fresh_count = 0;
}
