/* How much a copy has to do, looked up beforehand so that its progress can tell what is left. */
#include "copy_ends.h"

#include "bytes.h"

#include <sys/stat.h>
#include <time.h>

/* Longer than that nobody wants to wait for the answer; and how many names are met between two looks. */
enum { PATIENCE_MS = 1000, NAMES_BETWEEN = 256 };

uint64_t copy_weight(const struct copy_item *item)
{
    return S_ISREG(item->attr.mode) ? MIN_OF(item->attr.size, item->attr.allocated) : 0;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* *late: the time was up before the end. */
static bool measure_source(struct copy_source *source, uint64_t until, uint64_t *total, bool *late,
                           struct error *err)
{
    struct copy_item *item;
    for (unsigned seen = 1;; seen++) {
        if (!source->ops->next(source, &item, err))
            return false;
        if (item->event == WALK_END)
            return true;
        if (item->event == WALK_FILE)
            *total += copy_weight(item);
        *late = seen % NAMES_BETWEEN == 0 && now_ms() > until;
        if (*late || !interrupt_check(err))
            return *late;
    }
}

bool copy_measure(const struct session *session, const struct copy_end *sources, size_t count,
                  const struct copy_options *options, uint64_t *total, struct error *err)
{
    uint64_t until = now_ms() + PATIENCE_MS;
    bool late = false;
    *total = 0;
    if (!session->options.progress)
        return true;
    for (size_t i = 0; i < count && !late; i++) {
        struct copy_source *source;
        struct error missing;
        if (!copy_source_open(&sources[i], options, &source, &missing))
            continue;
        bool ok = measure_source(source, until, total, &late, err);
        source->ops->free(source);
        if (!ok)
            return false;
    }
    if (late)
        *total = 0;
    return true;
}
