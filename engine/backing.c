#include "backing.h"

#include "alloc.h"
#include "bytes.h"
#include "image.h"
#include "transfer.h"

#include <stdlib.h>

/* ---- rebase ---- */

/* True for bytes that the image does not hold itself. */
static bool from_below(const struct extent *extent)
{
    return extent->flags & (EXTENT_BACKING | EXTENT_HOLE);
}

/* Copy in what shows differently now, where the image holds nothing itself. */
static bool copy_differences(struct image *image, struct device *old, struct error *err)
{
    struct device *disk = image->disk, *backing = image->container->backing(disk);
    const struct transfer transfer = {.what = "rebase", .grain = (size_t)image->container->unit(disk)};
    for (uint64_t off = 0; off < disk->size;) {
        struct extent extent;
        if (!device_map(disk, off, &extent, err) || !interrupt_check(err))
            return false;
        uint64_t len = MIN_OF(extent.len, disk->size - off);
        if (from_below(&extent) &&
            !transfer_differences(image->session, old, backing, disk, off, len, &transfer, err))
            return false;
        off += len;
    }
    return true;
}

bool image_rebase(struct image *image, const char *path, const char *format, bool safe, struct error *err)
{
    struct layer_context context = {.session = image->session, .image = image};
    struct container_open open;
    struct device *old = NULL;
    if (!image->container->set_backing)
        return fail(err, E_UNSUPPORTED, "a %s image cannot have a backing file", image->container->head.name);
    if (path && path[0] && !format)
        return fail(err, E_USAGE, "name the format of the backing file, too (-F FORMAT)");
    /* A second view of the same bytes, companions too, goes on showing the old chain. */
    layer_open_options(&open, &context, image->path, false);
    bool ok = (!safe || image->container->open(image->file, &open, &old, err)) &&
              image->container->set_backing(image->disk, path, format, safe, err) &&
              (!safe || copy_differences(image, old, err)) && device_flush(image->disk, err);
    device_close(old);
    /* The new chain is opened as the image will open it from now on. That its files need not be there yet is
     * what the unsafe form is for. */
    struct error why;
    image->to_check = image->to_check || !safe;
    if (!ok || !image_reopen(image, err))
        return false;
    if (!image_usable(image, &why))
        session_warn(image->session, "%s", why.message);
    return true;
}

/* ---- commit into the backing file ---- */

static bool copy_own(struct image *image, struct device *own, struct image *target, struct error *err)
{
    const struct transfer transfer = {.what = "commit-backing"};
    if (own->size > target->disk->size && !device_resize(target->disk, own->size, err))
        return false;
    for (uint64_t off = 0; off < own->size;) {
        struct extent extent;
        if (!device_map(own, off, &extent, err))
            return false;
        uint64_t len = MIN_OF(extent.len, own->size - off);
        if (!from_below(&extent) &&
            !transfer_range(image->session, own, target->disk, off, len, &transfer, err))
            return false;
        off += len;
    }
    return true;
}

static bool commit_target(struct image *target, struct error *err)
{
    return image_flush(target, err) && stage_mark(target->file, err) && stage_commit(target->file, err);
}

/* The image without its chain: what it holds itself. */
static bool push_down(struct image *image, struct image *target, struct error *err)
{
    struct layer_context context = {.session = image->session};
    struct container_open open;
    struct device *own = NULL;
    layer_open_options(&open, &context, image->path, true);
    open.no_backing = true;
    bool ok = image->container->open(image->file, &open, &own, err) && copy_own(image, own, target, err) &&
              commit_target(target, err);
    device_close(own);
    return ok;
}

bool image_commit_backing(struct image *image, struct error *err)
{
    struct session *session = image->session;
    struct device *layer = image->container->backing ? image->container->backing(image->disk) : NULL;
    if (!layer || !image->container->make_empty)
        return fail(err, E_NOENT, "%s has no backing file", image->path);
    if (image->companion_count > 0)
        return fail(err, E_UNSUPPORTED, "%s keeps its data in an external file", image->path);
    if (stage_pending(image->file))
        return fail(err, E_BUSY, "%s has uncommitted changes: commit or rollback first", image->name);
    const struct container_driver *driver;
    char *path = mem_string(layer_path(layer, &driver), err);
    struct image *target = NULL, *current = session->image;
    if (!path)
        return false;
    /* The chain is closed while its file is written: our own read lock would be in the way. */
    image_take_down(image);
    bool ok =
        session_open(session, NULL, path, driver->head.name, &target, err) && push_down(image, target, err);
    struct error ignored = {0};
    if (target && !session_close(session, target, true, ok ? err : &ignored))
        ok = false;
    session->image = current;
    free(path);
    bool open = image_build(image, image->container->head.name, ok ? err : &ignored);
    return ok && open && image->container->make_empty(image->disk, err) && image_flush(image, err);
}
