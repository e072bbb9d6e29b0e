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
#include <unistd.h>

enum { MAX_CHAIN_DEPTH = 256 };

struct layer {
    struct device dev; /* dev.below is what it shows: the container, or a snapshot in it */
    struct device *file;
    struct device *companion; /* of a layer that is made: its external data file, or NULL */
    struct device *container;
    const struct container_driver *driver;
    struct layer_context context;
    struct backing_link link;
    struct container_open open;
    char *path;
};

static bool layer_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    return device_read(dev->below, off, buf, n, err);
}

static bool layer_write(struct device *dev, uint64_t off, const void *buf, size_t n, enum write_class class,
                        struct error *err)
{
    return device_write(dev->below, off, buf, n, class, err);
}

static bool layer_zero(struct device *dev, uint64_t off, uint64_t n, enum write_class class,
                       struct error *err)
{
    return device_zero(dev->below, off, n, class, err);
}

static void layer_close(struct device *dev)
{
    struct layer *layer = (struct layer *)dev;
    if (layer->dev.below != layer->container)
        device_close(layer->dev.below);
    device_close(layer->container);
    device_close(layer->companion);
    device_close(layer->file);
    free(layer->path);
    free(layer);
}

static const struct device_ops layer_ops = {
    .name = "layer",
    .read = layer_read,
    .write = layer_write,
    .zero = layer_zero,
    .close = layer_close,
};

static bool find_loop(const struct backing_link *chain, const struct stat *st, const char *path,
                      struct error *err)
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

static struct layer *layer_new(struct session *session, const struct backing_link *above, const char *path,
                               struct error *err)
{
    struct layer *layer = mem_new(sizeof *layer, err);
    if (!layer)
        return NULL;
    layer->dev.ops = &layer_ops;
    layer->link.above = above;
    layer->context = (struct layer_context){.session = session, .chain = &layer->link};
    layer->path = mem_string(path, err);
    if (layer->path)
        return layer;
    free(layer);
    return NULL;
}

/* Show a device (the container or a snapshot in it) as the layer's contents. */
static void layer_show(struct layer *layer, struct device *shown, bool read_only)
{
    layer->dev.below = shown;
    layer->dev.size = shown->size;
    layer->dev.block_size = shown->block_size;
    layer->dev.read_only = read_only;
}

static bool layer_open_container(struct layer *layer, const char *format, struct error *err)
{
    struct session *session = layer->context.session;
    if (!open_stage(session, layer->path, false, &layer->file, err) ||
        !container_find(session, layer->file, format, &layer->driver, err))
        return false;
    layer_open_options(&layer->open, &layer->context, layer->path, true);
    /* A backing file whose format was only guessed may be a guest's raw bytes:
     * what it names is not opened. */
    if (layer->link.above && !format)
        layer->open.no_backing = true;
    return layer->driver->open(layer->file, &layer->open, &layer->container, err) ||
           because(err, "%s", layer->path);
}

static bool layer_open_in(struct layer_context *above, const char *path, const char *format,
                          const char *snapshot, struct device **out, struct error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return fail_errno(err, errno, "%s", path);
    if (!find_loop(above->chain, &st, path, err))
        return false;
    struct layer *layer = layer_new(above->session, above->chain, path, err);
    if (!layer)
        return false;
    layer->link.device = (uint64_t)st.st_dev;
    layer->link.inode = (uint64_t)st.st_ino;
    struct device *shown = NULL;
    bool ok = layer_open_container(layer, format, err);
    if (ok && snapshot && !layer->driver->snapshot_open)
        ok = fail(err, E_UNSUPPORTED, "%s images have no snapshots", layer->driver->head.name);
    else if (ok && snapshot)
        ok = layer->driver->snapshot_open(layer->container, snapshot, &shown, err);
    if (!ok) {
        error_leave_device(err);
        layer_close(&layer->dev);
        return false;
    }
    layer_show(layer, shown ? shown : layer->container, true);
    *out = &layer->dev;
    return true;
}

static bool open_layer(const struct container_open *open, const char *path, const char *format,
                       struct device **out, struct error *err)
{
    if (!format)
        open->warn(open, "%s: the format of the backing file '%s' is not recorded; it is probed", open->path,
                   path);
    return layer_open_in(open->arg, path, format, NULL, out, err);
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

/* A new image brings its companion with it: the file appears together with the image's. */
static bool make_stage(const struct session *session, const char *path, struct device **out,
                       struct error *err)
{
    const struct stage_options options = {.durability = session->options.durability,
                                          .dry_run = session->options.dry_run};
    return stage_create(path, false, &options, out, err);
}

/* One file is one stage, however often the container is opened. */
static struct device *known_companion(const struct layer_context *context, const char *path)
{
    if (context->made)
        return *context->made;
    for (size_t i = 0; i < context->image->companion_count; i++)
        if (strcmp(stage_path(context->image->companions[i]), path) == 0)
            return context->image->companions[i];
    return NULL;
}

static bool open_companion(struct layer_context *context, const char *path, struct device **out,
                           struct error *err)
{
    struct image *image = context->image;
    bool make = (context->made || image->is_new) && access(path, F_OK) != 0;
    if (image && !mem_grow(&image->companions, &image->companion_capacity, image->companion_count + 1,
                           sizeof *image->companions, err))
        return false;
    if (make ? !make_stage(context->session, path, out, err)
             : !open_stage(context->session, path, true, out, err))
        return false;
    if (image)
        image->companions[image->companion_count++] = *out;
    else
        *context->made = *out;
    return true;
}

static bool open_file(const struct container_open *open, const char *path, bool writable, struct device **out,
                      struct error *err)
{
    struct layer_context *context = open->arg;
    if (context->model)
        return open_old_companion(context, path, out, err);
    if (!writable || !(context->image || context->made))
        return open_stage(context->session, path, false, out, err);
    *out = known_companion(context, path);
    return *out || open_companion(context, path, out, err);
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
        /* Whoever makes an image names its files. */
        .allow_data_file =
            options->allow_data_file || context->made ||
            (context->image && (context->image->is_new || context->image->companion_count > 0)),
        .backing_format = options->backing_format,
        .keep_discarded = &context->session->options.keep_discarded,
        .threads = options->threads,
        .path = path,
        .open_file = open_file,
        .open_layer = open_layer,
        .warn = layer_warn,
        .arg = context,
    };
    for (const struct backing_link *link = context->chain; link; link = link->above)
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

const char *layer_path(const struct device *dev, const struct container_driver **driver)
{
    const struct layer *layer = (const struct layer *)dev;
    *driver = layer->driver;
    return layer->path;
}

const struct container_driver *session_disk_container(struct device *disk, struct device **container)
{
    struct layer *layer = (struct layer *)disk;
    *container = disk->below == layer->container ? layer->container : NULL;
    return layer->driver;
}

bool session_open_disk(struct session *session, const char *path, const char *format, const char *snapshot,
                       struct device **disk, struct error *err)
{
    struct layer_context context = {.session = session};
    return layer_open_in(&context, path, format, snapshot, disk, err);
}

bool session_make_disk(struct session *session, const char *path, bool overwrite,
                       const struct container_driver *driver, uint64_t size, const struct options *make,
                       struct device **disk, struct error *err)
{
    /* The file gets its name when it is complete: no syncs are needed to keep an old one safe. */
    const struct stage_options options = {.durability = DURABILITY_OFF};
    struct layer *layer = layer_new(session, NULL, path, err);
    if (!layer)
        return false;
    layer->driver = driver;
    layer->context.made = &layer->companion;
    layer_open_options(&layer->open, &layer->context, layer->path, false);
    bool ok = stage_create(path, overwrite, &options, &layer->file, err) || because(err, "%s", path);
    if (!ok || !driver->create(layer->file, size, make, &layer->open, err) ||
        !driver->open(layer->file, &layer->open, &layer->container, err)) {
        error_leave_device(err);
        layer_close(&layer->dev);
        return false;
    }
    layer_show(layer, layer->container, false);
    *disk = &layer->dev;
    return true;
}

bool session_open_target(struct session *session, const char *path, const char *format, struct device **disk,
                         struct error *err)
{
    struct layer *layer = layer_new(session, NULL, path, err);
    if (!layer)
        return false;
    layer->context.made = &layer->companion;
    if (!open_stage(session, path, true, &layer->file, err) ||
        !container_find(session, layer->file, format, &layer->driver, err)) {
        layer_close(&layer->dev);
        return false;
    }
    layer_open_options(&layer->open, &layer->context, layer->path, false);
    layer->open.allow_data_file = session->options.allow_data_file;
    if (!layer->driver->open(layer->file, &layer->open, &layer->container, err)) {
        error_leave_device(err);
        layer_close(&layer->dev);
        return because(err, "%s", path);
    }
    layer_show(layer, layer->container, false);
    *disk = &layer->dev;
    return true;
}

bool session_publish_disk(struct device *disk, struct error *err)
{
    struct layer *layer = (struct layer *)disk;
    if (!device_flush(layer->container, err))
        return false;
    if (layer->companion && (!stage_mark(layer->companion, err) || !stage_commit(layer->companion, err)))
        return false;
    return stage_mark(layer->file, err) && stage_commit(layer->file, err);
}

void session_close_disk(struct device *disk)
{
    device_close(disk);
}
