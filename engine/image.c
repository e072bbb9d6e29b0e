/* One open image: stage, container, table and volumes, bottom up; and taking them down in the other order. */
#include "image.h"

#include "alloc.h"
#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Kept with the image because the container's callbacks use it as long as it is open. */
struct image_layers {
    struct layer_context context;
    struct backing_link link;
    struct container_open open;
};

static bool open_container(struct image *image, bool check_only, struct error *err)
{
    struct image_layers *layers = mem_new(sizeof *layers, err);
    if (!layers)
        return false;
    image->layers = layers;
    struct stat st;
    if (stat(image->path, &st) == 0)
        layers->link = (struct backing_link){NULL, (uint64_t)st.st_dev, (uint64_t)st.st_ino};
    layers->context = (struct layer_context){
        .session = image->session, .image = image, .model = image->model, .chain = &layers->link};
    layer_open_options(&layers->open, &layers->context, image->path, image->file->read_only);
    layers->open.check_only = check_only;
    return image->container->open(image->file, &layers->open, &image->disk, err);
}

static void free_table(struct table **table)
{
    table_free(*table);
    *table = NULL;
}

/* The best-scoring table driver, or NULL when the disk holds none. */
static const struct table_driver *find_table(struct image *image)
{
    const struct table_driver *best = NULL;
    unsigned best_score = 0;
    for (const struct table_driver *const *driver = image->session->drivers.tables; *driver; driver++) {
        unsigned score = (*driver)->head.probe(image->disk);
        if (score > best_score) {
            best_score = score;
            best = *driver;
        }
    }
    return best;
}

/* Tell the person what is wrong with the table, unless that was the last thing said of it. */
static void say_once(struct image *image, const char *text)
{
    if (image->model || strcmp(image->table_said, text) == 0)
        return;
    snprintf(image->table_said, sizeof image->table_said, "%s", text);
    if (*text)
        session_warn(image->session, "%s: %s", image->path, text);
}

bool image_load_table(struct image *image, struct table **out, struct error *err)
{
    const struct table_driver *driver = find_table(image);
    if (!driver)
        return fail(err, E_NOENT, "%s has no partition table; `partition init gpt` makes one", image->name);
    return driver->load(image->disk, out, err) || because(err, "%s", driver->head.name);
}

/* A table that cannot be read leaves the disk as volume 0;
 * the damage is said and `partition verify` tells more. */
static void load_table(struct image *image)
{
    struct error err = {0};
    image->table = NULL;
    if (image_load_table(image, &image->table, &err)) {
        say_once(image, image->table->note);
        return;
    }
    image->table = NULL;
    say_once(image, err.kind == E_NOENT ? "" : err.message);
}

/* What a check can look at although the image is of no use:
 * not what the host or the person got in the way of. */
static bool can_look(const struct image *image, const struct error *err)
{
    switch (err->kind) {
    case E_NOMEM:
    case E_IO:
    case E_LOCKED:
    case E_INTERRUPTED:
        return false;
    default:
        return image->to_check && image->container->refused;
    }
}

static bool open_to_check(struct image *image, struct error *err)
{
    struct error ignored = {0};
    error_leave_device(err);
    image->refusal = *err;
    free(image->layers);
    image->layers = NULL;
    if (open_container(image, true, &ignored))
        return true;
    image->refusal = (struct error){0};
    return false;
}

bool image_build(struct image *image, const char *format, struct error *err)
{
    if (!container_find(image->session, image->file, format, &image->container, err))
        return false;
    image->format_probed = !format;
    image->refusal = (struct error){0};
    if (!open_container(image, false, err) && !(can_look(image, err) && open_to_check(image, err)))
        return false;
    if (image->session->options.sector_size)
        image->disk->block_size = image->session->options.sector_size;
    if (image->refusal.kind == E_OK)
        load_table(image);
    return volumes_build(image, err);
}

void image_take_down(struct image *image)
{
    volumes_free(image);
    free_table(&image->table);
    free_table(&image->second_table);
    device_close(image->disk);
    image->disk = NULL;
    free(image->layers);
    image->layers = NULL;
}

bool image_reopen(struct image *image, struct error *err)
{
    const char *format = image->container->head.name;
    bool probed = image->format_probed;
    image_take_down(image);
    image->reread = true;
    image->file->no_fresh = stage_pending(image->file) || stage_dirty(image->file);
    image->session->name_epoch++;
    bool ok = image_build(image, format, err);
    image->format_probed = probed;
    return ok;
}

bool image_rescan(struct image *image, struct error *err)
{
    free_table(&image->table);
    free_table(&image->second_table);
    if (image->refusal.kind == E_OK)
        load_table(image);
    image->session->name_epoch++;
    return volumes_build(image, err);
}

/* The bytes may be fit for use now, or no longer. */
static bool reload_disk(struct image *image, struct error *err)
{
    if (!image->disk || image->refusal.kind != E_OK)
        return image_reopen(image, err);
    return (device_reload(image->disk, err) || (can_look(image, err) && image_reopen(image, err))) &&
           image_rescan(image, err);
}

bool image_retry(struct image *image, struct error *err)
{
    return image->refusal.kind == E_OK || (image_flush(image, err) && image_reopen(image, err));
}

/* A filesystem that cannot be read any more is closed; whoever needs it hears why. */
static void reload_volume(struct volume *volume, bool revert)
{
    struct error ignored = {0};
    if (volume->fs) {
        const struct fs_driver *driver = volume->fs->driver;
        bool ok = revert && driver->revert ? driver->revert(volume->fs, &ignored)
                                           : driver->reload(volume->fs, &ignored);
        if (!ok || !volume_find_journal(volume, &ignored))
            volume_close_fs(volume);
    }
    if (!volume->fs)
        volume->probed = false;
}

bool image_reload(struct image *image, struct error *err)
{
    image->reread = true;
    if (!reload_disk(image, err))
        return false;
    for (size_t i = 0; i < image->volume_count; i++)
        reload_volume(image->volumes[i], false);
    return true;
}

bool image_revert(struct image *image, bool below, struct error *err)
{
    bool written = below || image->reread || (image->disk && image->disk->written);
    if (!reload_disk(image, err))
        return false;
    for (size_t i = 0; i < image->volume_count; i++) {
        struct fs *fs = image->volumes[i]->fs;
        if (!fs || written || fs->changing)
            reload_volume(image->volumes[i], fs && fs->changing && !image->reread);
    }
    return true;
}

void image_settled(struct image *image)
{
    image->reread = false;
    if (image->disk)
        image->disk->written = false;
    for (size_t i = 0; i < image->volume_count; i++)
        if (image->volumes[i]->fs)
            image->volumes[i]->fs->changing = false;
}

bool image_flush(struct image *image, struct error *err)
{
    image->reread = true;
    for (size_t i = 0; i < image->volume_count; i++) {
        struct fs *fs = image->volumes[i]->fs;
        if (fs && fs->driver->flush && !fs->driver->flush(fs, err))
            return false;
    }
    return device_flush(image->disk, err);
}

void image_committed(struct image *image)
{
    for (size_t i = 0; i < image->volume_count; i++) {
        struct volume *volume = image->volumes[i];
        volume->device->no_fresh = false;
        if (volume->fs && volume->fs->driver->committed)
            volume->fs->driver->committed(volume->fs);
    }
    device_committed(image->disk);
    image->file->no_fresh = false;
    image->restructured = false;
    image->is_new = false;
}

bool image_pending(const struct image *image)
{
    bool pending = stage_pending(image->file);
    for (size_t i = 0; i < image->companion_count; i++)
        pending = pending || stage_pending(image->companions[i]);
    return pending;
}

void error_leave_device(struct error *err)
{
    if (!err->device)
        return;
    if (!err->layer)
        err->layer = strcmp(err->device->ops->name, "stage") == 0 ? "file" : err->device->ops->name;
    err->device = NULL;
}

void image_free(struct image *image)
{
    if (!image)
        return;
    image_take_down(image);
    for (size_t i = 0; i < image->companion_count; i++)
        device_close(image->companions[i]);
    device_close(image->file);
    free(image->companions);
    free(image->name);
    free(image->path);
    free(image);
}
