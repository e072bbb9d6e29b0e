/*
 * Making the current state durable, all or nothing:
 *
 *     fresh pages -> host file, sync
 *     update pages, zeros, size -> journal, sync
 *     the same -> host file, sync
 *     remove the journal
 *
 * A failure before the journal's commit record leaves the committed state and the overlay as they were. After
 * it the commit counts as done: when the last steps fail, the journal stays and the next open completes them.
 */
#include "alloc.h"
#include "bytes.h"
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

/* The next pages of the commit from *index on, at most RUN_PAGES of one sort; 0: there are none. */
static size_t next_run(const struct stage *stage, uint64_t *index, struct page **run)
{
    size_t n = 0;
    uint64_t key = *index;
    struct page *page = radix_next(&stage->pages, key, &key);
    while (page && (!page->version || page->fresh))
        page = radix_next(&stage->pages, key + 1, &key);
    *index = key;
    while (page && page->version && !page->fresh && n < RUN_PAGES &&
           (n == 0 || page->version->zero == run[0]->version->zero)) {
        run[n++] = page;
        page = page_find(stage, key + n);
    }
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

static bool put_pages(struct sink *sink, struct error *err)
{
    struct page *run[RUN_PAGES];
    uint8_t *buffer = mem_bytes(RUN_PAGES * STAGE_PAGE, err);
    bool ok = buffer != NULL;
    size_t n;
    for (uint64_t index = 0; ok && (n = next_run(sink->stage, &index, run)) > 0; index += n)
        ok = put_run(sink, run, n, buffer, err);
    free(buffer);
    return ok;
}

/* What was zeroed or cut off: the host gives its space back. Pages that lie over it come after. */
static bool put_masked(struct sink *sink, struct error *err)
{
    struct stage *stage = sink->stage;
    struct range range;
    for (uint64_t at = 0; ranges_next(&stage->masked, at, &range) && range.start < stage->dev.size;
         at = range.start + range.len) {
        uint64_t len = MIN_OF(range.len, stage->dev.size - range.start);
        if (!host_file_is_hole(stage->dev.below, range.start, len) && !put_zeros(sink, range.start, len, err))
            return false;
    }
    return true;
}

static bool size_differs(const struct stage *stage)
{
    return !host_file_is_block_device(stage->dev.below) && stage->dev.below->size != stage->dev.size;
}

/* The changes to the host file itself. In this order they can be repeated after an interruption. */
static bool apply(struct stage *stage, struct error *err)
{
    struct sink sink = {.stage = stage};
    return put_masked(&sink, err) && put_pages(&sink, err) &&
           (!size_differs(stage) || device_resize(stage->dev.below, stage->dev.size, err));
}

static bool sync_host(struct stage *stage, struct error *err)
{
    return stage->options.durability != DURABILITY_FULL || host_file_sync(stage->dev.below, err);
}

/*
 * A file that nobody has seen yet needs no journal: it gets its name when all is in it. After a failure it
 * can be tried again, but steps cannot be taken back one by one: their old bytes may have been overwritten.
 */
static bool prepare_new(struct stage *stage, struct error *err)
{
    return history_merge(stage, err) && apply(stage, err) && sync_host(stage, err);
}

static bool fill_journal(struct stage *stage, struct journal *journal, struct error *err)
{
    struct sink sink = {.stage = stage, .journal = journal};
    return put_masked(&sink, err) && put_pages(&sink, err) &&
           (!size_differs(stage) || journal_resize(journal, stage->dev.size, err)) &&
           journal_commit(journal, stage->options.durability == DURABILITY_FULL, err);
}

static bool prepare_journal(struct stage *stage, struct journal_group *group, struct error *err)
{
    struct journal *journal;
    if (!journal_begin(stage->dev.below, group, &journal, err))
        return false;
    if (!fill_journal(stage, journal, err)) {
        journal_abort(journal);
        return false;
    }
    stage->journal = journal;
    stage->journal_bytes += (uint64_t)stage->page_count * STAGE_PAGE;
    return true;
}

bool stage_wants_journal(const struct device *dev)
{
    const struct stage *stage = (const struct stage *)dev;
    return stage_pending(dev) && !stage->is_new && !stage->options.dry_run &&
           stage->options.durability != DURABILITY_OFF;
}

bool stage_is_new(const struct device *dev)
{
    return ((const struct stage *)dev)->is_new;
}

bool stage_is_broken(const struct device *dev)
{
    return ((const struct stage *)dev)->broken != NULL;
}

bool stage_prepare_commit(struct device *dev, struct journal_group *group, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (!stage_check_working(stage, err))
        return false;
    if (stage->options.dry_run)
        return true;
    if (!log_empty(stage->open))
        return fail(err, E_BUSY, "a command is still running");
    history_begin_change(stage);
    if (!stage_pending(dev) && !stage->is_new)
        return true;
    if (!pages_evict(stage, err))
        return false;
    if (!stage->is_new && stage->unsynced && !sync_host(stage, err))
        return false;
    stage->unsynced = false;
    bool nothing = stage->page_count == 0 && stage->masked.total == 0 && !size_differs(stage);
    if (stage->is_new)
        stage->prepared = prepare_new(stage, err);
    else
        stage->prepared = nothing || !stage_wants_journal(dev) || prepare_journal(stage, group, err);
    return stage->prepared;
}

void stage_abandon_commit(struct device *dev)
{
    struct stage *stage = stage_of(dev);
    if (stage->journal)
        journal_abort(stage->journal);
    stage->journal = NULL;
    stage->prepared = false;
}

static bool finish_new(struct stage *stage, struct error *err)
{
    if (!host_file_publish(stage->dev.below, stage->options.durability == DURABILITY_FULL, err)) {
        /* Possibly an older file was replaced already: then there is no way back. */
        if (host_file_is_published(stage->dev.below))
            stage->broken = "the last commit is in place, but the host could not make it durable";
        return false;
    }
    stage->is_new = false;
    stage->ready = false;
    return true;
}

/* From its commit record on the commit has happened: what fails now is left to the next open. */
static bool leave_to_next_open(struct stage *stage, struct error *err)
{
    stage->broken = "the last commit is safe in its journal but could not be finished: close the image, the "
                    "next open completes it";
    return because(err,
                   "the commit is safe in its journal, and the next open completes it, but it could not be "
                   "finished now");
}

void stage_leave_commit(struct device *dev, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (stage->journal)
        journal_leave(stage->journal);
    stage->journal = NULL;
    (void)!leave_to_next_open(stage, err);
}

static bool finish_journaled(struct stage *stage, struct error *err)
{
    if (apply(stage, err) && sync_host(stage, err))
        return true;
    stage_leave_commit(&stage->dev, err);
    return false;
}

static bool finish_in_place(struct stage *stage, struct error *err)
{
    if (apply(stage, err))
        return true;
    stage->broken =
        "the last commit could not be finished, and with durability off there is no journal to do "
        "so: the image may be damaged";
    return because(err, "the image is changed in part");
}

bool stage_finish_commit(struct device *dev, struct error *err)
{
    struct stage *stage = stage_of(dev);
    if (!stage->prepared)
        return true;
    stage->prepared = false;
    bool ok = stage->is_new    ? finish_new(stage, err)
              : stage->journal ? finish_journaled(stage, err)
                               : finish_in_place(stage, err);
    if (!ok)
        return false;
    history_clear(stage);
    pages_free(stage);
    stage->committed_size = stage->dev.size;
    stage->commits++;
    stage->epoch++;
    return true;
}

bool stage_close_commit(struct device *dev, struct error *err)
{
    struct stage *stage = stage_of(dev);
    struct journal *journal = stage->journal;
    if (!journal)
        return true;
    stage->journal = NULL;
    return journal_end(journal, stage->options.durability == DURABILITY_FULL, err) ||
           leave_to_next_open(stage, err);
}

bool stage_commit(struct device *dev, struct error *err)
{
    return stage_prepare_commit(dev, NULL, err) && stage_finish_commit(dev, err) &&
           stage_close_commit(dev, err);
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
        bool ok = !in && step == STAGE_PAGE
                      ? page_zero(stage, off / STAGE_PAGE, false, err)
                      : page_write(stage, off / STAGE_PAGE, at, in ? in : zeros, step, false, err);
        if (!ok)
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
