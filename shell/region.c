#include "region.h"

#include "alloc.h"
#include "bytes.h"
#include "path.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

bool region_is_device(struct session *session, const char *text)
{
    struct location place;
    struct error ignored;
    if (!location_parse(session, text, &place, &ignored))
        return false;
    bool device = place.kind != LOCATION_PATH;
    location_free(&place);
    return device;
}

/* What was free space before may be anything else after a change from below: until the commit nothing above
 * these bytes counts as fresh. */
static void protect(const struct region *region)
{
    struct image *image = region->place.image;
    bool file = region->place.kind == LOCATION_FILE, all = file || region->place.volume->number == 0;
    if (image->is_new)
        return;
    image->file->no_fresh = image->file->no_fresh || file;
    for (size_t i = 0; i < image->volume_count; i++)
        if (all || region->place.volume == image->volumes[i])
            image->volumes[i]->device->no_fresh = true;
}

static bool open_device(struct session *session, const char *text, enum region_use use, struct region *region,
                        struct error *err)
{
    if (!location_parse(session, text, &region->place, err))
        return false;
    region->shown = location_text(&region->place, err);
    if (!region->shown)
        return false;
    region->device = location_device(&region->place);
    region->size = region->device->size;
    if (use == REGION_READ)
        return true;
    if (region->device->read_only)
        return fail(err, E_READONLY, "%s: the image is read-only", region->shown);
    protect(region);
    return true;
}

static bool find_file(struct file_arg *file, enum region_use use, struct error *err)
{
    if (use != REGION_READ && !file_writable(file->volume, err))
        return false;
    if (!path_lookup(file->volume, file->path, true, &file->id, err) &&
        !(use == REGION_MAKE && err->kind == E_NOENT && file_arg_create(file, err)))
        return false;
    if (!file_attr(file->volume, file->id, &file->attr, err))
        return false;
    if (S_ISREG(file->attr.mode))
        return true;
    return S_ISDIR(file->attr.mode) ? fail(err, E_ISDIR, "is a directory")
                                    : fail(err, E_INVALID, "is a %s", file_type_name(file->attr.mode));
}

bool region_open(struct session *session, const char *text, enum region_use use, struct region *region,
                 struct error *err)
{
    *region = (struct region){0};
    if (region_is_device(session, text))
        return open_device(session, text, use, region, err);
    if (!file_arg_parse(session, text, &region->file, err))
        return false;
    region->shown = mem_string(region->file.shown, err);
    if (!region->shown)
        return false;
    if (!find_file(&region->file, use, err))
        return because(err, "%s", region->shown);
    region->size = region->file.attr.size;
    return true;
}

/* On a device, whose end is where it is. */
static bool check_end(const struct region *region, uint64_t off, uint64_t n, struct error *err)
{
    return range_inside(off, n, region->size) ||
           fail(err, E_INVALID,
                "%s: %" PRIu64 " bytes at offset %" PRIu64 " reach past its end (%" PRIu64 " bytes)",
                region->shown, n, off, region->size);
}

bool region_read(struct region *region, uint64_t off, void *buf, size_t n, struct error *err)
{
    if (!check_end(region, off, n, err))
        return false;
    bool ok = region->device ? device_read(region->device, off, buf, n, err)
                             : file_read_inside(region->file.volume, region->file.id, off, buf, n, err);
    return ok || because(err, "%s", region->shown);
}

bool region_write(struct region *region, uint64_t off, const void *buf, size_t n, struct error *err)
{
    if (region->device && !check_end(region, off, n, err))
        return false;
    bool ok = region->device ? device_write(region->device, off, buf, n, WRITE_UPDATE, err)
                             : file_write(region->file.volume, region->file.id, off, buf, n, err);
    return ok || because(err, "%s", region->shown);
}

bool region_zero(struct region *region, uint64_t off, uint64_t n, struct error *err)
{
    if (region->device && !check_end(region, off, n, err))
        return false;
    const struct file_arg *file = &region->file;
    uint64_t there = off < region->size ? MIN_OF(n, region->size - off) : 0;
    bool ok = region->device ? device_zero(region->device, off, n, WRITE_UPDATE, err)
                             : (there == 0 || file_punch(file->volume, file->id, off, there, err)) &&
                                   file_allocate(file->volume, file->id, off, n, 0, err);
    return ok || because(err, "%s", region->shown);
}

bool region_discard(struct region *region, uint64_t off, uint64_t n, struct error *err)
{
    if (region->device && !check_end(region, off, n, err))
        return false;
    if (!region->device && off >= region->size)
        return true;
    bool ok = region->device
                  ? device_discard(region->device, off, n, err)
                  : file_punch(region->file.volume, region->file.id, off, MIN_OF(n, region->size - off), err);
    return ok || because(err, "%s", region->shown);
}

/* The container made these changes itself: only what lies in its disk is read again, unless a filesystem
 * cannot be read any more. */
static bool reload_contents(struct image *image, struct error *err)
{
    if (!device_flush(image->disk, err) || !image_rescan(image, err))
        return false;
    for (size_t i = 0; i < image->volume_count; i++) {
        struct volume *volume = image->volumes[i];
        struct error ignored = {0};
        if (volume->fs && !volume->fs->driver->reload(volume->fs, &ignored))
            return session_drop_caches(image->session, err);
        volume->probed = volume->fs != NULL;
    }
    return true;
}

bool region_changed(struct region *region, struct error *err)
{
    if (!region->device)
        return file_modified(region->file.volume, region->file.id, err) || because(err, "%s", region->shown);
    struct image *image = region->place.image;
    return region->place.kind == LOCATION_FILE ? session_drop_caches(image->session, err)
                                               : reload_contents(image, err);
}

void region_close(struct region *region)
{
    file_arg_close(&region->file);
    location_free(&region->place);
    free(region->shown);
    *region = (struct region){0};
}
