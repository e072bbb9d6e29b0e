/* snapshot, bitmap, resize, amend: what changes the container. */
#include "alloc.h"
#include "bytes.h"
#include "command.h"
#include "grid.h"
#include "place_arg.h"
#include "transfer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static bool unsupported(const struct image *image, const char *what, struct error *err)
{
    return fail(err, E_UNSUPPORTED, "a %s image has no %s", image->container->head.name, what);
}

/* ---- snapshot ---- */

static const struct column snapshot_columns[] = {
    {"id", "Id", true},      {"name", "Name", false},          {"vm-state-size", "VM state", true},
    {"date", "Date", false}, {"disk-size", "Disk size", true}, {0},
};

static bool list_snapshot(const struct snapshot_info *info, void *arg)
{
    struct grid *grid = arg;
    char date[40] = "";
    time_t seconds = (time_t)info->date_sec;
    struct tm parts;
    if (gmtime_r(&seconds, &parts))
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &parts);
    grid_text(grid, info->id);
    grid_text(grid, info->name);
    grid_number(grid, info->vm_state_size);
    grid_text(grid, date);
    grid_number(grid, info->disk_size);
    return true;
}

static bool list_snapshots(struct image *image, struct output *out, struct error *err)
{
    struct grid *grid = grid_new(out, snapshot_columns, err);
    if (!grid)
        return false;
    bool ok = image->container->snapshots(image->disk, list_snapshot, grid, err);
    struct error end = {0};
    return grid_end(grid, ok ? err : &end) && ok;
}

/* The layers above the container see other bytes now. */
static bool apply_snapshot(struct session *session, struct image *image, const char *name, struct error *err)
{
    if (!image->container->snapshot_apply(image->disk, name, err))
        return false;
    image->restructured = true;
    return device_flush(image->disk, err) && session_drop_caches(session, err);
}

/* The disk as it was then, in a file of its own. */
static bool convert_snapshot(struct session *session, struct image *image, const char *name, const char *path,
                             struct error *err)
{
    const struct transfer transfer = {.what = "convert", .target_is_zero = true, .write_class = WRITE_FRESH};
    const struct options options = {0};
    struct device *from, *to = NULL;
    if (!path)
        return fail(err, E_USAGE, "snapshot convert SNAPSHOT FILE: the new file is missing");
    if (session->options.dry_run)
        return fail(err, E_READONLY, "convert writes a host file; a dry run does not");
    if (!image->container->snapshot_open(image->disk, name, &from, err))
        return false;
    bool ok = session_make_disk(session, path, false, session_container_for(session, path),
                                round_up(from->size, 512), &options, &to, err) &&
              transfer_range(session, from, to, 0, from->size, &transfer, err) &&
              session_publish_disk(to, err);
    session_close_disk(to);
    device_close(from);
    return ok;
}

static bool run_snapshot(struct session *session, struct call *call, struct output *out, struct error *err)
{
    const char *verb = call->argc ? call->args[0] : "list", *name = call->argc > 1 ? call->args[1] : NULL;
    struct image *image;
    if (!arg_image(session, NULL, &image, err))
        return false;
    const struct container_driver *driver = image->container;
    if (!driver->snapshots)
        return unsupported(image, "internal snapshots", err);
    if (strcmp(verb, "list") == 0)
        return list_snapshots(image, out, err);
    if (!name)
        return fail(err, E_USAGE, "snapshot %s needs a name", verb);
    if (strcmp(verb, "create") == 0)
        return driver->snapshot_create(image->disk, name, err);
    if (strcmp(verb, "apply") == 0)
        return apply_snapshot(session, image, name, err);
    if (strcmp(verb, "delete") == 0)
        return driver->snapshot_delete(image->disk, name, err);
    if (strcmp(verb, "convert") == 0)
        return convert_snapshot(session, image, name, call->argc > 2 ? call->args[2] : NULL, err);
    return fail(err, E_USAGE, "snapshot %s? (list, create, apply, delete, convert)", verb);
}

static const struct arg snapshot_args[] = {
    {"VERB", ARG_WORD, ARG_OPTIONAL, "what to do; list when left out", "list|create|apply|delete|convert"},
    {"SNAPSHOT", ARG_SNAPSHOT, ARG_OPTIONAL, "name or id", NULL},
    {"FILE", ARG_HOST_NEW, ARG_OPTIONAL, "convert: the new file, its format by its extension", NULL},
    {0},
};

const struct command snapshot_command = {
    .name = "snapshot",
    .group = "Images",
    .summary = "list, create, apply, delete and copy out internal snapshots",
    .examples = "snapshot\nsnapshot create before-update\nsnapshot apply before-update\n"
                "snapshot convert before-update old.raw",
    .args = snapshot_args,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS,
    .run = run_snapshot,
};

/* ---- bitmap ---- */

static const struct column bitmap_columns[] = {
    {"name", "Name", false},     {"granularity", "Granularity", true}, {"enabled", "Enabled", false},
    {"in-use", "In use", false}, {"dirty-bytes", "Dirty", true},       {0},
};

static bool list_bitmap(const struct bitmap_info *info, void *arg)
{
    struct grid *grid = arg;
    grid_text(grid, info->name);
    grid_number(grid, info->granularity);
    grid_bool(grid, info->enabled);
    grid_bool(grid, info->in_use);
    grid_number(grid, info->dirty_bytes);
    return true;
}

static bool list_bitmaps(struct image *image, struct output *out, struct error *err)
{
    struct grid *grid = grid_new(out, bitmap_columns, err);
    if (!grid)
        return false;
    bool ok = image->container->bitmaps(image->disk, list_bitmap, grid, err);
    struct error end = {0};
    return grid_end(grid, ok ? err : &end) && ok;
}

static bool add_bitmap(struct image *image, const struct call *call, const char *name, struct error *err)
{
    uint64_t granularity = 0;
    const char *text = call_value(call, "granularity");
    return (!text || call_size(text, 0, &granularity, err)) &&
           image->container->bitmap_add(image->disk, name, granularity, call_has(call, "disabled"), err);
}

static bool run_bitmap(struct session *session, struct call *call, struct output *out, struct error *err)
{
    const char *verb = call->argc ? call->args[0] : "list", *name = call->argc > 1 ? call->args[1] : NULL;
    struct image *image;
    if (!arg_image(session, NULL, &image, err))
        return false;
    const struct container_driver *driver = image->container;
    if (!driver->bitmaps)
        return unsupported(image, "bitmaps", err);
    if (strcmp(verb, "list") == 0)
        return list_bitmaps(image, out, err);
    if (!name)
        return fail(err, E_USAGE, "bitmap %s needs a name", verb);
    if (strcmp(verb, "add") == 0)
        return add_bitmap(image, call, name, err);
    if (strcmp(verb, "remove") == 0)
        return driver->bitmap_remove(image->disk, name, err);
    if (strcmp(verb, "enable") == 0 || strcmp(verb, "disable") == 0)
        return driver->bitmap_enable(image->disk, name, verb[0] == 'e', err);
    if (strcmp(verb, "clear") == 0)
        return driver->bitmap_clear(image->disk, name, err);
    if (strcmp(verb, "merge") == 0 && call->argc > 2)
        return driver->bitmap_merge(image->disk, name, call->args[2], err);
    return fail(
        err, E_USAGE,
        "bitmap %s? (list, add NAME, remove NAME, enable NAME, disable NAME, clear NAME, merge INTO FROM)",
        verb);
}

static const struct arg bitmap_args[] = {
    {"VERB", ARG_WORD, ARG_OPTIONAL, "what to do; list when left out",
     "list|add|remove|enable|disable|clear|merge"},
    {"NAME", ARG_BITMAP, ARG_OPTIONAL, "the bitmap", NULL},
    {"FROM", ARG_BITMAP, ARG_OPTIONAL, "merge: the bitmap whose bits are added", NULL},
    {0},
};

static const struct flag bitmap_flags[] = {
    {'g', "granularity", "SIZE", ARG_SIZE, "add: bytes that one bit stands for (64K)"},
    {0, "disabled", NULL, ARG_WORD, "add: do not record changes yet"},
    {0},
};

const struct command bitmap_command = {
    .name = "bitmap",
    .group = "Images",
    .summary = "list and change persistent dirty bitmaps",
    .examples = "bitmap\nbitmap add backup -g 64K\nbitmap merge all backup",
    .args = bitmap_args,
    .flags = bitmap_flags,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS,
    .run = run_bitmap,
};

/* ---- resize ---- */

static bool run_resize(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct image *image = NULL;
    const char *size_text = call->args[call->argc - 1];
    uint64_t size;
    (void)out;
    if (call->argc > 1)
        for (struct image *open = session->images; open && !image; open = open->next)
            if (strcmp(open->path, call->args[0]) == 0)
                image = open;
    if (!image && !arg_image(session, call->argc > 1 ? call->args[0] : NULL, &image, err))
        return false;
    if (!call_size(size_text, image->disk->size, &size, err))
        return false;
    size = div_up(size, 512) * 512;
    if (size < image->disk->size && !call_has(call, "shrink"))
        return fail(err, E_INVALID,
                    "%" PRIu64 " is less than the %" PRIu64
                    " bytes the disk has: what lies behind would be lost; "
                    "--shrink does it",
                    size, image->disk->size);
    image->restructured = true;
    return device_resize(image->disk, size, err) && device_flush(image->disk, err) &&
           image_rescan(image, err);
}

static const struct arg resize_args[] = {
    {"IMAGE", ARG_IMAGE, ARG_OPTIONAL, "name or file of an open image; the current one when left out", NULL},
    {"SIZE", ARG_SIZE, ARG_ONE, "new size, +SIZE or -SIZE", NULL},
    {0},
};

static const struct flag resize_flags[] = {
    {0, "shrink", NULL, ARG_WORD, "allow a smaller size: what lies behind is lost"},
    {0},
};

const struct command resize_command = {
    .name = "resize",
    .group = "Images",
    .summary = "change the size of the virtual disk",
    .examples = "resize +10G\nresize disk.qcow2 20G",
    .args = resize_args,
    .flags = resize_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_resize,
};

/* ---- amend ---- */

static bool run_amend(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct image *image;
    struct options options = {0};
    (void)out;
    if (!arg_image(session, NULL, &image, err))
        return false;
    if (!image->container->amend)
        return unsupported(image, "options that can be amended", err);
    bool ok = call_options(call, 'o', image->container->head.make_options, &options, err);
    for (int i = 0; ok && i < call->argc; i++)
        ok = options_parse(&options, image->container->head.make_options, call->args[i], err);
    if (ok && options.count == 0)
        ok = fail(err, E_USAGE, "say what is to be changed: KEY=VALUE");
    ok = ok && image->container->amend(image->disk, &options, err);
    options_free(&options);
    return ok;
}

static const struct arg amend_args[] = {
    {"KEY=VALUE", ARG_WORD, ARG_ANY, "options of create that can be changed afterwards", NULL},
    {0},
};

static const struct flag amend_flags[] = {
    {'o', "options", "KEY=VALUE,...", ARG_OPTIONS, "the same, as an option"},
    {0},
};

const struct command amend_command = {
    .name = "amend",
    .group = "Images",
    .summary = "change options of the image's format",
    .examples = "amend compat=1.1\namend refcount_bits=32,lazy_refcounts=on",
    .args = amend_args,
    .flags = amend_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_amend,
};
