#include "bytes.h"
#include "command.h"
#include "grid.h"
#include "place_arg.h"

#include <inttypes.h>

struct discard {
    struct volume *volume;
    struct error *err;
    bool failed;
};

static bool discard_run(uint64_t off, uint64_t len, void *arg)
{
    struct discard *discard = arg;
    discard->failed =
        !device_discard(discard->volume->device, off, len, discard->err) || !interrupt_check(discard->err);
    return !discard->failed;
}

/* What no file needs is given back first. Volumes without a known filesystem are left alone. */
static bool discard_free_space(struct volume *volume, struct error *err)
{
    struct discard discard = {.volume = volume, .err = err};
    const struct fs_driver *driver;
    struct fs *fs;
    if (!volume_probe(volume, &driver, err))
        return false;
    if (!driver || !driver->free_runs)
        return true;
    if (!volume_fs(volume, &fs, err))
        return false;
    if (fs->change == FS_NEVER)
        return true;
    return driver->free_runs(fs, discard_run, &discard, err) && !discard.failed;
}

/* What the image itself holds, without the chain below it. */
static bool count_stored(struct device *disk, uint64_t *bytes, struct error *err)
{
    struct extent extent;
    *bytes = 0;
    for (uint64_t off = 0; off < disk->size; off += extent.len) {
        if (!device_map(disk, off, &extent, err) || !interrupt_check(err))
            return false;
        if (!(extent.flags & (EXTENT_HOLE | EXTENT_BACKING)) && extent.device)
            *bytes += extent.len;
    }
    return true;
}

static bool run(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct image *image;
    uint64_t before, after, freed = 0;
    char text[32];
    (void)out;
    if (!arg_image(session, call->argc ? call->args[0] : NULL, &image, err) ||
        !count_stored(image->disk, &before, err))
        return false;
    for (size_t i = 0; i < image->volume_count; i++)
        if ((image->volumes[i]->number != 0 || !image->table) && !discard_free_space(image->volumes[i], err))
            return because(err, "volume %u", image->volumes[i]->number);
    if (image->container->compact &&
        !image->container->compact(image->disk, !call_has(call, "punch"), &freed, err))
        return false;
    if (!count_stored(image->disk, &after, err))
        return false;
    /* Data that is no longer held; or, where none is, what the container alone could give back. */
    human_size(before > after ? before - after : freed, text);
    if (before > after || freed > 0)
        call_note(call, "%s given back", text);
    return true;
}

static const struct arg args[] = {
    {"IMAGE", ARG_IMAGE, ARG_OPTIONAL, "the image; the current one when left out", NULL},
    {0},
};

static const struct flag flags[] = {
    {0, "punch", NULL, ARG_WORD, "move nothing: only make holes"},
    {0},
};

const struct command compact_command = {
    .name = "compact",
    .group = "Images",
    .summary = "give free space back to the host",
    .details =
        "Free space of the filesystems is discarded, and clusters that hold only zeros are dropped. What "
        "lies "
        "behind the gaps moves into them, and the image file becomes shorter with the commit; with --punch "
        "nothing moves, and the file only gets holes.",
    .examples = "compact\ncompact --punch",
    .args = args,
    .flags = flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run,
};
