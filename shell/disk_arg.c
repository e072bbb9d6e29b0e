#include "disk_arg.h"

#include "place_arg.h"

static bool open_image(struct session *session, const char *text, const char *snapshot, struct disk_arg *out,
                       struct error *err)
{
    struct image *image;
    if (!arg_image(session, text, &image, err))
        return false;
    out->disk = image->disk;
    out->driver = image->container;
    if (!snapshot) {
        out->container = image->disk;
        return true;
    }
    if (!image->container->snapshot_open)
        return fail(err, E_UNSUPPORTED, "%s images have no snapshots", image->container->head.name);
    if (!image->container->snapshot_open(image->disk, snapshot, &out->owned, err))
        return false;
    out->disk = out->owned;
    return true;
}

bool disk_arg_open(struct session *session, const char *text, const char *format, const char *snapshot,
                   struct disk_arg *out, struct error *err)
{
    size_t n = strlen(text);
    *out = (struct disk_arg){0};
    if (n > 1 && text[n - 1] == ':' && !strchr(text, '/'))
        return open_image(session, text, snapshot, out, err);
    if (!session_open_disk(session, text, format, snapshot, &out->owned, err))
        return false;
    out->disk = out->owned;
    out->driver = session_disk_container(out->owned, &out->container);
    return true;
}

void disk_arg_close(struct disk_arg *arg)
{
    session_close_disk(arg->owned);
}
