/*
 * Making the current state durable, all or nothing:
 *
 *     fresh pages -> host file, sync | update pages -> journal, sync | journal's pages -> host file, sync |
 * remove it
 *
 * A failure before the journal's commit record leaves the committed state and the overlay as they were. After
 * it the commit counts as done: when the last steps fail, the journal stays and the next open completes them.
 */
#include "alloc.h"
#include "bytes.h"
#include "journal.h"
#include "stage_private.h"

#include <stdlib.h>
#include <sys/uio.h>

enum { RUN_PAGES = 256 };

/* One pass over the update pages: data goes to write(), runs of zeros to zero(). */
struct sink {
    struct stage *stage;
    struct journal *journal; /* NULL: the host file */
};

static bool put_data(struct sink *sink, uint64_t off, const uint8_t *data, size_t n, struct error *err)
{
    if (sink->journal)
        return journal_write(sink->journal, off, data, n, err);
    struct iovec vector = {(void *)(uintptr_t)data, n};
    return host_file_write_vector(sink->stage->dev.below, off, &vector, 1, err);
}

static bool put_zeros(struct sink *sink, uint64_t off, uint64_t n, struct error *err)
{
    struct device *file = sink->stage->dev.below;
    if (sink->journal)
        return journal_punch(sink->journal, off, n, err);
    if (off >= file->size)
        return true;
    return host_file_punch(file, off, MIN_OF(n, file->size - off), err);
}

static size_t run_of(struct page *const *pages, size_t count)
{
    size_t n = 1;
    while (n < count && n < RUN_PAGES && pages[n]->index == pages[n - 1]->index + 1 &&
           pages[n]->version->zero == pages[0]->version->zero)
        n++;
    return n;
}

static bool put_run(struct sink *sink, struct page *const *pages, size_t n, uint8_t *buffer,
                    struct error *err)
{
    struct stage *stage = sink->stage;
    uint64_t off = pages[0]->index * STAGE_PAGE, size = stage->dev.size;
    if (off >= size)
        return true;
    uint64_t len = MIN_OF(n * STAGE_PAGE, size - off);
    if (pages[0]->version->zero)
        return put_zeros(sink, off, len, err);
    for (size_t i = 0; i < n; i++)
        if (!version_read(stage, pages[i]->version, 0, buffer + i * STAGE_PAGE, STAGE_PAGE, err))
            return false;
    return put_data(sink, off, buffer, (size_t)len, err);
}

static bool put_pages(struct sink *sink, struct page *const *pages, size_t count, struct error *err)
{
    uint8_t *buffer = mem_new(RUN_PAGES * STAGE_PAGE, err);
    bool ok = buffer != NULL;
    for (size_t i = 0; ok && i < count;) {
        size_t n = run_of(pages + i, count - i);
        ok = put_run(sink, pages + i, n, buffer, err);
        i += n;
    }
    free(buffer);
    return ok;
}

static bool set_size(struct stage *stage, struct error *err)
{
    struct device *file = stage->dev.below;
    return host_file_is_block_device(file) || file->size == stage->dev.size ||
           device_resize(file, stage->dev.size, err);
}

static bool sync_host(struct stage *stage, struct error *err)
{
    return stage->options.durability != DURABILITY_FULL || host_file_sync(stage->dev.below, err);
}

static bool apply(struct stage *stage, struct page *const *pages, size_t count, struct error *err)
{
    struct sink sink = {.stage = stage};
    return put_pages(&sink, pages, count, err) && set_size(stage, err) && sync_host(stage, err);
}

/* A file that nobody has seen yet needs no journal: it gets its name when all is in it. */
static bool commit_new(struct stage *stage, struct page *const *pages, size_t count, struct error *err)
{
    if (!apply(stage, pages, count, err) ||
        !host_file_publish(stage->dev.below, stage->options.durability == DURABILITY_FULL, err))
        return false;
    stage->is_new = false;
    stage->ready = false;
    return true;
}

static bool write_journal(struct stage *stage, struct journal *journal, struct page *const *pages,
                          size_t count, struct error *err)
{
    struct sink sink = {.stage = stage, .journal = journal};
    if (!put_pages(&sink, pages, count, err))
        return false;
    if (stage->dev.size != stage->committed_size && !journal_resize(journal, stage->dev.size, err))
        return false;
    return journal_commit(journal, stage->options.durability == DURABILITY_FULL, err);
}

static bool commit_journaled(struct stage *stage, struct page *const *pages, size_t count, struct error *err)
{
    struct journal *journal;
    if (!journal_begin(stage->dev.below, &journal, err))
        return false;
    if (!write_journal(stage, journal, pages, count, err)) {
        journal_abort(journal);
        return false;
    }
    stage->journal_bytes += (uint64_t)count * STAGE_PAGE;
    bool applied = apply(stage, pages, count, err);
    if (!applied) {
        stage->state = STAGE_BROKEN;
        return because(
            err, "the commit is safe in its journal but could not be finished; the next open completes it");
    }
    return journal_end(journal, stage->options.durability == DURABILITY_FULL, err);
}

static bool commit_updates(struct stage *stage, struct error *err)
{
    struct page **pages;
    size_t count;
    bool sized = stage->dev.size != stage->dev.below->size;
    if (!pages_sorted(stage, false, &pages, &count, err))
        return false;
    bool ok;
    if (stage->is_new)
        ok = commit_new(stage, pages, count, err);
    else if (count == 0 && !sized)
        ok = true;
    else if (stage->options.durability == DURABILITY_OFF)
        ok = apply(stage, pages, count, err);
    else
        ok = commit_journaled(stage, pages, count, err);
    free(pages);
    return ok;
}

bool stage_commit(struct device *dev, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (stage->state == STAGE_BROKEN)
        return fail(err, E_IO, "the last commit could not be finished");
    if (stage->options.dry_run)
        return true;
    if (!log_empty(stage->open))
        return fail(err, E_BUSY, "a command is still running");
    if (!stage_pending(dev) && !stage->is_new)
        return true;
    if (!history_begin_change(stage, err) || !pages_evict(stage, err))
        return false;
    if (!stage->is_new && !sync_host(stage, err))
        return false;
    if (!commit_updates(stage, err))
        return false;
    history_clear(stage);
    pages_free(stage);
    stage->committed_size = stage->dev.size;
    stage->commits++;
    stage->epoch++;
    return true;
}

/* ---- recovery ---- */

static bool replay_to_host(uint64_t off, const void *data, uint64_t len, void *arg, struct error *err)
{
    struct stage *stage = arg;
    struct device *file = stage->dev.below;
    if (len == 0)
        return device_resize(file, off, err);
    if (!data)
        return off >= file->size || host_file_punch(file, off, MIN_OF(len, file->size - off), err);
    struct iovec vector = {(void *)(uintptr_t)data, (size_t)len};
    return host_file_write_vector(file, off, &vector, 1, err);
}

/* For a reader: the journal's pages become overlay pages of a state that is never written. */
static bool replay_to_memory(uint64_t off, const void *data, uint64_t len, void *arg, struct error *err)
{
    struct stage *stage = arg;
    if (len == 0) {
        stage->dev.size = off;
        return true;
    }
    if (off + len > stage->dev.size)
        stage->dev.size = off + len;
    const uint8_t *in = data;
    while (len > 0) {
        size_t at = (size_t)(off % STAGE_PAGE), step = (size_t)MIN_OF(len, STAGE_PAGE - at);
        static const uint8_t zeros[STAGE_PAGE];
        if (!page_write(stage, off / STAGE_PAGE, at, in ? in : zeros, step, false, err))
            return false;
        off += step;
        in = in ? in + step : NULL;
        len -= step;
    }
    return true;
}

static bool replay_for_reader(struct stage *stage, struct error *err)
{
    if (!journal_replay(stage->dev.below, replay_to_memory, stage, err) || !stage_mark(&stage->dev, err))
        return false;
    history_clear(stage);
    stage->committed_size = stage->dev.size;
    return true;
}

bool stage_recover(struct stage *stage, enum recovery *recovery, struct error *err)
{
    struct device *file = stage->dev.below;
    enum journal_state state;
    *recovery = RECOVERY_NONE;
    if (!journal_look(file, &state, err))
        return false;
    if (state == JOURNAL_NONE)
        return true;
    struct error no_write = {0};
    bool writable =
        !stage->dev.read_only && !stage->options.dry_run && host_file_make_writable(file, &no_write);
    if (!writable) {
        if (state == JOURNAL_INCOMPLETE)
            return true;
        *recovery = RECOVERY_REPLAYED_IN_MEMORY;
        return replay_for_reader(stage, err);
    }
    *recovery = state == JOURNAL_COMPLETE ? RECOVERY_REPLAYED : RECOVERY_DISCARDED;
    if (state == JOURNAL_COMPLETE &&
        (!journal_replay(file, replay_to_host, stage, err) || !host_file_sync(file, err)))
        return false;
    stage->dev.size = stage->committed_size = file->size;
    return journal_remove(file, true, err);
}
