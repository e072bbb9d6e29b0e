/*
 * Layers outside the session's images: backing files, sources of conversions. A layer is a container on its
 * own read-only stage; the wrapper device owns both.
 */
#include "alloc.h"
#include "bytes.h"
#include "image.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_CHAIN_DEPTH = 256 };

struct layer {
    struct device dev;
    struct device *file;
    struct layer_context context;
    struct chain link;
    struct container_open open;
    char *path;
};

static bool layer_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    return device_read(dev->below, off, buf, n, err);
}

static void layer_close(struct device *dev)
{
    struct layer *layer = (struct layer *)dev;
    device_close(layer->dev.below);
    device_close(layer->file);
    free(layer->path);
    free(layer);
}

static const struct device_ops layer_ops = {.name = "layer", .read = layer_read, .close = layer_close};

static bool find_loop(const struct chain *chain, const struct stat *st, const char *path, struct error *err)
{
    unsigned depth = 0;
    for (; chain; chain = chain->above) {
        if (chain->device == (uint64_t)st->st_dev && chain->inode == (uint64_t)st->st_ino)
            return fail(err, E_LOOP, "backing file '%s' creates an infinite loop", path);
        if (++depth >= MAX_CHAIN_DEPTH)
            return fail(err, E_LOOP, "backing file '%s': the chain is longer than %d files", path,
                        MAX_CHAIN_DEPTH);
    }
    return true;
}

static bool open_stage(struct session *session, const char *path, bool writable, struct device **out,
                       struct error *err)
{
    struct stage_options options = {.read_only = !writable,
                                    .force_share = session->options.force_share,
                                    .dry_run = session->options.dry_run,
                                    .durability = session->options.durability,
                                    .sector_size = session->options.sector_size};
    enum recovery recovery = RECOVERY_NONE;
    if (!stage_open(path, &options, out, &recovery, err))
        return false;
    if (recovery == RECOVERY_REPLAYED_IN_MEMORY)
        session_warn(session, "%s: an interrupted commit was completed in memory", path);
    return true;
}

static bool layer_open_in(struct layer_context *above, const char *path, const char *format,
                          struct device **out, struct error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return fail_errno(err, errno, "%s", path);
    if (!find_loop(above->chain, &st, path, err))
        return false;
    struct layer *layer = mem_new(sizeof *layer, err);
    if (!layer)
        return false;
    layer->link = (struct chain){above->chain, (uint64_t)st.st_dev, (uint64_t)st.st_ino};
    layer->context = (struct layer_context){.session = above->session, .chain = &layer->link};
    layer->path = mem_string(path, err);
    const struct container_driver *driver;
    bool ok = layer->path && open_stage(above->session, path, false, &layer->file, err) &&
              container_find(above->session, layer->file, format, &driver, err);
    if (ok) {
        layer_open_options(&layer->open, &layer->context, layer->path, true);
        /* A layer whose format was only guessed may not name further files: its content could be a guest's.
         */
        layer->open.no_backing = layer->open.no_backing || !format;
        ok = driver->open(layer->file, &layer->open, &layer->dev.below, err) || because(err, "%s", path);
    }
    if (!ok) {
        device_close(layer->file);
        free(layer->path);
        free(layer);
        return false;
    }
    layer->dev.ops = &layer_ops;
    layer->dev.size = layer->dev.below->size;
    layer->dev.block_size = layer->dev.below->block_size;
    layer->dev.read_only = true;
    *out = &layer->dev;
    return true;
}

static bool open_layer(const struct container_open *open, const char *path, const char *format,
                       struct device **out, struct error *err)
{
    if (!format)
        open->warn(open, "%s: the format of the backing file '%s' is not recorded; it is probed", open->path,
                   path);
    return layer_open_in(open->arg, path, format, out, err);
}

/* The companion as it was, for an old state of the image. */
static bool open_old_companion(const struct layer_context *context, const char *path, struct device **out,
                               struct error *err)
{
    for (size_t i = 0; i < context->model->companion_count; i++) {
        struct device *file = context->model->companions[i];
        if (strcmp(stage_path(file), path) == 0) {
            *out = stage_snapshot(file, stage_committed_generation(file), err);
            return *out != NULL;
        }
    }
    return fail(err, E_NOENT, "%s is not open", path);
}

static bool open_file(const struct container_open *open, const char *path, bool writable, struct device **out,
                      struct error *err)
{
    struct layer_context *context = open->arg;
    struct image *image = context->image;
    if (context->model)
        return open_old_companion(context, path, out, err);
    if (!image || !writable)
        return open_stage(context->session, path, false, out, err);
    if (!mem_grow(&image->companions, &image->companion_capacity, image->companion_count + 1,
                  sizeof *image->companions, err) ||
        !open_stage(context->session, path, true, out, err))
        return false;
    image->companions[image->companion_count++] = *out;
    return true;
}

static void layer_warn(const struct container_open *open, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    session_warn(((const struct layer_context *)open->arg)->session, "%s", text);
}

void layer_open_options(struct container_open *open, struct layer_context *context, const char *path,
                        bool read_only)
{
    const struct session_options *options = &context->session->options;
    *open = (struct container_open){
        .read_only = read_only,
        .no_backing = options->no_backing,
        .allow_data_file = options->allow_data_file,
        .backing_format = options->backing_format,
        .path = path,
        .open_file = open_file,
        .open_layer = open_layer,
        .warn = layer_warn,
        .arg = context,
    };
    for (const struct chain *link = context->chain; link; link = link->above)
        open->depth++;
}

bool container_find(struct session *session, struct device *file, const char *format,
                    const struct container_driver **out, struct error *err)
{
    if (format) {
        *out = session_container(session, format);
        return *out || fail(err, E_INVALID, "unknown image format '%s'", format);
    }
    unsigned best = 0;
    *out = NULL;
    for (const struct container_driver *const *driver = session->drivers.containers; *driver; driver++) {
        unsigned score = (*driver)->head.probe(file);
        if (score == best && score > 1)
            return fail(err, E_DAMAGED, "it looks like %s as much as like %s; name the format with --format",
                        (*out)->head.name, (*driver)->head.name);
        if (score > best) {
            best = score;
            *out = *driver;
        }
    }
    return *out || fail(err, E_UNSUPPORTED, "no known image format");
}

bool session_open_disk(struct session *session, const char *path, const char *format, struct device **disk,
                       struct error *err)
{
    struct layer_context context = {.session = session};
    struct stat st;
    if (stat(path, &st) != 0)
        return fail_errno(err, errno, "%s", path);
    return layer_open_in(&context, path, format, disk, err);
}

void session_close_disk(struct device *disk)
{
    device_close(disk);
}
