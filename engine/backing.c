#include "backing.h"

#include "alloc.h"
#include "bytes.h"
#include "image.h"
#include "transfer.h"

#include <stdlib.h>

enum { PIECE = 1024 * 1024 };

/* ---- rebase ---- */

/* True for bytes that the image does not hold itself. */
static bool from_below(const struct extent *extent)
{
    return extent->flags & (EXTENT_BACKING | EXTENT_HOLE);
}

/* Bytes of a device that may be shorter than the image: zeros past its end. */
static bool read_padded(struct device *dev, uint64_t off, uint8_t *buf, size_t n, struct error *err)
{
    size_t there = !dev || off >= dev->size ? 0 : (size_t)MIN_OF(n, dev->size - off);
    memset(buf + there, 0, n - there);
    return there == 0 || device_read(dev, off, buf, there, err);
}

/* Copy in what the new chain would show differently. */
static bool copy_differences(struct image *image, struct device *new_backing, struct error *err)
{
    struct device *disk = image->disk;
    uint8_t *buf = mem_new(2 * PIECE, err);
    bool ok = buf != NULL;
    for (uint64_t off = 0; ok && off < disk->size;) {
        struct extent extent;
        ok = device_map(disk, off, &extent, err) && interrupt_check(err);
        if (!ok)
            break;
        size_t n = (size_t)MIN_OF(MIN_OF(extent.len, disk->size - off), PIECE - off % PIECE);
        if (from_below(&extent)) {
            ok = device_read(disk, off, buf, n, err) && read_padded(new_backing, off, buf + PIECE, n, err);
            if (ok && memcmp(buf, buf + PIECE, n) != 0)
                ok = device_write(disk, off, buf, n, WRITE_UPDATE, err);
            off += n;
        } else {
            off += MIN_OF(extent.len, disk->size - off);
        }
        session_progress(image->session, "rebase", off, disk->size);
    }
    free(buf);
    return ok;
}

/* A relative name is relative to the image's folder, as it will be when the image is opened. */
static char *beside(const char *image_path, const char *path, struct error *err)
{
    const char *slash = strrchr(image_path, '/');
    if (path[0] == '/' || !slash)
        return mem_string(path, err);
    return mem_printf(err, "%.*s/%s", (int)(slash - image_path), image_path, path);
}

bool image_rebase(struct image *image, const char *path, const char *format, bool safe, struct error *err)
{
    struct device *new_backing = NULL;
    bool none = !path || !path[0];
    if (!image->container->set_backing)
        return fail(err, E_UNSUPPORTED, "a %s image cannot have a backing file", image->container->head.name);
    bool ok = true;
    if (safe && !none) {
        char *host = beside(image->path, path, err);
        ok = host && session_open_disk(image->session, host, format, NULL, &new_backing, err);
        free(host);
    }
    ok = ok && (!safe || copy_differences(image, new_backing, err)) &&
         image->container->set_backing(image->disk, none ? NULL : path, format, err) &&
         device_flush(image->disk, err);
    session_close_disk(new_backing);
    /* The new chain is opened when the container reads itself again. */
    return ok && image_reopen(image, err);
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
