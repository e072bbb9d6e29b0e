#include "bytes.h"
#include "command.h"
#include "file.h"
#include "place_arg.h"

#include <inttypes.h>

static const struct arg args[] = {
    {"VOLUME", ARG_VOLUME, ARG_ONE, "number of the volume", NULL},
    {"SIZE", ARG_SIZE, ARG_OPTIONAL, "new size, +SIZE, -SIZE, or min; all of the partition when left out",
     "min"},
    {0},
};

static bool wanted_size(struct fs *fs, const struct call *call, uint64_t *size, struct error *err)
{
    struct fs_stat stat;
    if (call->argc == 1) {
        *size = fs->device->size;
        return true;
    }
    if (strcmp(call->args[1], "min") == 0)
        return fs->driver->min_size
                   ? fs->driver->min_size(fs, size, err)
                   : fail(err, E_UNSUPPORTED, "%s does not tell its smallest size", fs->type);
    return fs->driver->statfs(fs, &stat, err) &&
           call_size(call->args[1], stat.blocks * stat.block_size, size, err);
}

static bool run(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct volume *volume;
    struct fs *fs;
    uint64_t size;
    (void)out;
    if (!arg_volume(session, call->args[0], &volume, err) || !volume_fs(volume, &fs, err) ||
        !file_writable(volume, err))
        return false;
    if (!fs->driver->resize)
        return fail(err, E_UNSUPPORTED, "a %s filesystem cannot change its size", fs->type);
    if (!wanted_size(fs, call, &size, err))
        return false;
    if (size > fs->device->size)
        return fail(err, E_NOSPACE,
                    "%" PRIu64 " bytes are more than the volume has (%" PRIu64 "); grow the partition first",
                    size, fs->device->size);
    volume_restructured(volume);
    volume->image->reread = true;
    return fs->driver->resize(fs, size, err);
}

const struct command resizefs_command = {
    .name = "resizefs",
    .group = "Filesystems",
    .summary = "grow or shrink a filesystem inside its volume",
    .details =
        "After the partition was grown, `resizefs N` takes the new room. Before a partition is made smaller, "
        "`resizefs N SIZE` moves everything out of what will be cut off.",
    .examples = "resizefs 2\nresizefs 2 min\nresizefs 2 -1G",
    .args = args,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run,
};
