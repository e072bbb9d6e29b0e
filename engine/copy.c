#include "copy.h"

#include "alloc.h"
#include "bytes.h"
#include "copy_loop.h"
#include "path.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

const char *copy_end_name(const struct copy_end *end, char *buf, size_t size)
{
    const char *path = end->host ? end->host : end->path;
    size_t last = end->contents ? 0 : strlen(path);
    while (last > 0 && path[last - 1] == '/')
        last--;
    size_t start = last;
    while (start > 0 && path[start - 1] != '/')
        start--;
    snprintf(buf, size, "%.*s", (int)(last - start), path + start);
    return buf;
}

static const char *shown_end(const struct copy_end *end)
{
    return end->host ? end->host : end->shown;
}

bool copy_source_open(const struct copy_end *end, const struct copy_options *options,
                      struct copy_source **out, struct error *err)
{
    return end->host ? copy_host_source(end->host, options, out, err)
                     : copy_image_source(end, options, out, err);
}

static bool run_source(struct copy *copy, const struct copy_end *end, const char *base_name,
                       struct error *err)
{
    char name[1024];
    copy->top_name = base_name               ? base_name
                     : copy->options->mirror ? ""
                                             : copy_end_name(end, name, sizeof name);
    if (!copy_source_open(end, copy->options, &copy->source, err)) {
        struct copy_item item = {.path = shown_end(end)};
        return copy_object_failed(copy, &item, false, err);
    }
    copy->target->unique_names = copy->source->unique_names;
    bool ok = copy_items(copy, err);
    copy->source->ops->free(copy->source);
    copy->source = NULL;
    return ok;
}

/* Looks for losses before anything is changed. */
static bool scan(struct copy *copy, const struct copy_end *sources, size_t count, const char *base_name,
                 struct error *err)
{
    struct copy_tally tally = {0}, *real = copy->tally;
    copy->tally = &tally;
    copy->scanning = true;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = run_source(copy, &sources[i], base_name, err);
    copy->scanning = false;
    copy->tally = real;
    first_names_clear(&copy->first);
    if (!ok)
        return false;
    *real = tally;
    if (copy_losses(&tally) == 0) {
        *real = (struct copy_tally){0};
        return tally.failed == 0 || fail(err, E_FAILED, "%" PRIu64 " object%s cannot be copied", tally.failed,
                                         tally.failed == 1 ? "" : "s");
    }
    return copy_judge_losses(&tally, copy->options, copy->target->type, err);
}

/* A directory into itself would never end. */
static bool not_into_itself(const struct copy_end *source, const struct copy_end *dest, struct error *err)
{
    if (source->host || dest->host || source->volume != dest->volume)
        return true;
    char *from = NULL, *to = NULL, *above = NULL, *name = NULL;
    bool ok = true;
    if (path_real(source->volume, source->path, &from, err)) {
        if (!path_real(dest->volume, dest->path, &to, err) && path_split(dest->path, &above, &name, err))
            (void)!path_real(dest->volume, above, &to, err);
        size_t len = strcmp(from, "/") == 0 ? 0 : strlen(from);
        fs_id id;
        struct fs_attr attr;
        bool directory = path_lookup(source->volume, from, true, &id, err) &&
                         file_attr(source->volume, id, &attr, err) && S_ISDIR(attr.mode);
        if (to && directory && strncmp(to, from, len) == 0 && (to[len] == '/' || to[len] == 0))
            ok = fail(err, E_INVALID, "%s: a directory cannot be copied into itself", shown_end(source));
        else if (to && !directory && strcmp(from, to) == 0)
            ok = fail(err, E_INVALID, "%s: source and target are the same file", shown_end(source));
    }
    free(from);
    free(to);
    free(above);
    free(name);
    return ok;
}

static void copy_free(struct copy *copy)
{
    first_names_clear(&copy->first);
    for (size_t i = 0; i < copy->level_capacity; i++) {
        copy_level_clear(&copy->levels[i]);
        free(copy->levels[i].seen);
    }
    free(copy->levels);
    free(copy->path);
    free(copy->buffer);
    if (copy->target)
        copy->target->ops->free(copy->target);
}

static bool open_target(struct copy *copy, const struct copy_end *dest, size_t count, char **base_name,
                        struct error *err)
{
    bool several = count > 1 || copy->options->to_directory;
    bool ok = dest->host
                  ? copy_host_target(dest->host, several, &copy->target, base_name, err)
                  : copy_image_target(dest->volume, dest->path, several, &copy->target, base_name, err);
    if (!ok)
        return because(err, "%s", shown_end(dest));
    copy->target->options = copy->options;
    copy->target->tally = copy->tally;
    copy->lacking = copy_may_lose(copy->target->limits);
    return true;
}

static bool tell_end(const struct copy *copy, struct error *err)
{
    if (copy->target->driver)
        return copy_judge_losses(copy->tally, copy->options, copy->target->type, err);
    copy_tell_losses(copy->tally, copy->options, "the host did not let us keep");
    return true;
}

bool copy_run(struct session *session, const struct copy_end *sources, size_t count,
              const struct copy_end *dest, const struct copy_options *options, struct copy_tally *tally,
              struct error *err)
{
    *tally = (struct copy_tally){0};
    struct copy copy = {.session = session, .options = options, .tally = tally};
    char *base_name = NULL;
    bool ok = open_target(&copy, dest, count, &base_name, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = not_into_itself(&sources[i], dest, err);
    if (ok && copy.lacking && options->archive && !options->lossy && copy.target->driver)
        ok = scan(&copy, sources, count, base_name, err);
    copy.what = count == 1 ? shown_end(&sources[0]) : "copied";
    ok = ok && copy_measure(session, sources, count, options, &copy.total, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = run_source(&copy, &sources[i], base_name, err);
    ok = ok && tell_end(&copy, err);
    free(base_name);
    copy_free(&copy);
    return ok;
}

bool copy_stream(const struct copy_end *dest, const struct copy_options *options,
                 bool (*read)(void *arg, void *buf, size_t n, size_t *got, struct error *), void *arg,
                 uint64_t *bytes, struct error *err)
{
    struct copy_tally tally = {0};
    struct copy copy = {.session = dest->volume->image->session, .options = options, .tally = &tally};
    struct copy_source nowhere = {0};
    struct copy_item item = {.attr = {.mode = S_IFREG | 0644}};
    struct fs_attr attr;
    char *name = NULL;
    *bytes = 0;
    if (!open_target(&copy, dest, 1, &name, err)) {
        free(name);
        copy_free(&copy);
        return false;
    }
    copy.source = &nowhere;
    copy.target->asked = 0666;
    bool ok = name || fail(err, E_ISDIR, "is a directory");
    ok = ok && copy_target_attr(&copy, &item, &attr, err) &&
         copy.target->ops->begin(copy.target, name, &attr, err);
    size_t got = 1;
    ok = ok && mem_grow(&copy.buffer, &copy.buffer_size, COPY_BUFFER / 16, 1, err);
    while (ok && got) {
        ok = interrupt_check(err) && read(arg, copy.buffer, copy.buffer_size, &got, err) &&
             copy.target->ops->write(copy.target, *bytes, copy.buffer, got, err);
        *bytes += ok ? got : 0;
    }
    ok = ok && copy.target->ops->finish(copy.target, &attr, UINT64_MAX, err);
    if (!ok && err->kind != E_INTERRUPTED)
        because(err, "%s", shown_end(dest));
    free(name);
    copy_free(&copy);
    return ok;
}
