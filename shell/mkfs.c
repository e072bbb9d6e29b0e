#include "bytes.h"
#include "clock.h"
#include "command.h"
#include "copy.h"
#include "place_arg.h"
#include "random.h"
#include "tar.h"

#include <stdlib.h>
#include <sys/stat.h>

static const struct arg args[] = {
    {"TYPE", ARG_MKFS_TYPE, ARG_ONE, "of the filesystem, such as ext4 or fat32; Tab lists all", NULL},
    {"VOLUME", ARG_VOLUME, ARG_OPTIONAL, "number of the partition; 0 is the whole disk", NULL},
    {0},
};

static const struct flag flags[] = {
    {'L', "label", "LABEL", ARG_WORD, "volume label"},
    {'U', "uuid", "UUID", ARG_WORD, "UUID, or the volume id (FAT: eight hex digits)"},
    {'O', "options", "KEY=VALUE,...", ARG_OPTIONS, "options and features of the format"},
    {'d', "directory", "HOSTDIR|TAR", ARG_HOST,
     "fill the volume with what a host directory or an archive holds"},
    {0, "force", NULL, ARG_WORD, "also over an existing filesystem or partition table"},
    {0},
};

/* Old signatures at the start would make the volume look like two formats at once. */
enum { SIGNATURE_AREA = 128 * 1024 };

static bool refuse_existing(struct volume *volume, struct error *err)
{
    const struct fs_driver *old = NULL;
    struct error ignored = {0};
    if (volume->number == 0 && volume->image->table)
        return fail(err, E_EXIST, "the disk holds a %s partition table; --force replaces it",
                    volume->image->table->driver->head.name);
    const struct signature *foreign = volume_foreign(volume);
    if (foreign)
        return fail(err, E_EXIST, "volume %u holds %s; --force replaces it", volume->number, foreign->title);
    if (volume_probe(volume, &old, &ignored) && (!old || volume->remains))
        return true;
    return fail(err, E_EXIST, "volume %u holds a filesystem (%s); --force replaces it", volume->number,
                old ? old->head.name : ignored.message);
}

static bool wipe(struct volume *volume, struct error *err)
{
    const struct signature *signatures = volume->image->session->drivers.signatures;
    uint64_t size = volume->device->size;
    if (!device_zero(volume->device, 0, MIN_OF(size, SIGNATURE_AREA), WRITE_UPDATE, err) ||
        !signatures_wipe(signatures, volume->device, err))
        return false;
    bool table = volume->number == 0 && volume->image->table && size > 2 * SIGNATURE_AREA;
    return !table || device_zero(volume->device, size - SIGNATURE_AREA, SIGNATURE_AREA, WRITE_UPDATE, err);
}

static bool make(struct volume *volume, const struct fs_driver *driver, const struct call *call,
                 const struct options *options, struct error *err)
{
    const struct mkfs_params params = {
        .type = call->args[0],
        .label = call_value(call, "label"),
        .uuid = call_value(call, "uuid"),
        .options = options,
        .start = volume->start,
        .now = clock_now(),
        .random = random_bytes,
    };
    if (!volume_release(volume, err))
        return false;
    volume_restructured(volume);
    if (!wipe(volume, err) || !driver->mkfs(volume->device, &params, err))
        return false;
    return volume->number != 0 || image_rescan(volume->image, err);
}

static void complain(void *arg, const char *object, const struct error *err)
{
    call_complain(arg, object, err);
}

static void note(void *arg, const char *text)
{
    call_note(arg, "%s", text);
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The contents of a host directory or an archive become those of the root. */
static bool fill(struct session *session, struct call *call, struct volume *volume, const char *source,
                 struct error *err)
{
    const struct copy_end from = {.host = source, .contents = true};
    const struct copy_end to = {.volume = volume, .path = "/", .shown = "/"};
    const struct copy_options options = {
        .archive = true, .lossy = true, .complain = complain, .note = note, .arg = call};
    struct copy_tally tally = {0};
    bool ok = is_directory(source) ? copy_run(session, &from, 1, &to, &options, &tally, err)
                                   : tar_in(session, source, NULL, NULL, &to, &options, &tally, err);
    return ok && call_result(call, err);
}

static bool run(struct session *session, struct call *call, struct output *out, struct error *err)
{
    const struct fs_driver *driver = session_filesystem(session, call->args[0]);
    struct options options = {0};
    struct volume *volume;
    (void)out;
    if (!driver || !driver->mkfs)
        return fail(err, E_INVALID, "cannot make a filesystem of type '%s' (`help mkfs` lists the types)",
                    call->args[0]);
    if (!arg_volume(session, call->argc > 1 ? call->args[1] : NULL, &volume, err))
        return false;
    struct image *image = volume->image;
    unsigned number = volume->number;
    bool ok = call_has(call, "force") || refuse_existing(volume, err);
    for (int i = 0; ok && i < call->given_count; i++)
        if (call->given[i].flag->letter == 'O')
            ok = options_parse(&options, driver->head.make_options, call->given[i].value, err);
    ok = ok && make(volume, driver, call, &options, err);
    if (ok && call_value(call, "directory"))
        ok = image_volume(image, number, &volume, err) &&
             fill(session, call, volume, call_value(call, "directory"), err);
    options_free(&options);
    return ok;
}

const struct command mkfs_command = {
    .name = "mkfs",
    .group = "Filesystems",
    .summary = "make a filesystem on a volume",
    .details = "Without VOLUME the current volume is meant, or the only one there is. What the volume holds "
               "already, be it of a kind that dish cannot open, is replaced only with --force. The options "
               "after -O are those of the format: `mkfs ext4 -O <Tab>` lists them.",
    .examples = "mkfs ext4 2 -L root\nmkfs vfat 1 -L EFI\nmkfs ext4 -O blocksize=4096,^has_journal",
    .args = args,
    .flags = flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run,
};
