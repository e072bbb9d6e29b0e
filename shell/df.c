#include "bytes.h"
#include "command.h"
#include "grid.h"
#include "place_arg.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- df ---- */

static const struct arg volume_args[] = {
    {"VOLUME", ARG_VOLUME, ARG_ANY, "number of a volume; all when left out", NULL},
    {0},
};

static const struct flag df_flags[] = {
    {'h', "human-readable", NULL, ARG_WORD, "sizes as 1.5G"},
    {'i', "inodes", NULL, ARG_WORD, "inodes instead of space"},
    {'T', "print-type", NULL, ARG_WORD, "with the types, as always"},
    {0},
};

static const struct column space_columns[] = {
    {"volume", "Volume", false},   {"type", "Type", false},
    {"label", "Label", false},     {"size", "Size", true},
    {"used", "Used", true},        {"available", "Avail", true},
    {"use-percent", "Use%", true}, {0},
};

static const struct column inode_columns[] = {
    {"volume", "Volume", false},    {"type", "Type", false},
    {"label", "Label", false},      {"inodes", "Inodes", true},
    {"used", "IUsed", true},        {"available", "IFree", true},
    {"use-percent", "IUse%", true}, {0},
};

struct df {
    struct session *session;
    struct call *call;
    struct grid *grid;
    bool human, inodes;
};

static void volume_name(const struct session *session, const struct volume *volume, char *out, size_t size)
{
    bool several = session->images->next != NULL;
    snprintf(out, size, "%s%s%u:", several ? volume->image->name : "", several ? ":" : "", volume->number);
}

static void add_row(struct df *df, struct volume *volume, const struct fs *fs, const struct fs_stat *stat)
{
    char name[300];
    volume_name(df->session, volume, name, sizeof name);
    grid_text(df->grid, name);
    grid_text(df->grid, fs->type);
    grid_text(df->grid, fs->label);
    uint64_t used = stat->blocks - stat->free_blocks;
    if (df->inodes) {
        grid_number(df->grid, stat->inodes);
        grid_number(df->grid, stat->inodes - stat->free_inodes);
        grid_number(df->grid, stat->free_inodes);
        grid_percent(df->grid, stat->inodes - stat->free_inodes, stat->inodes);
    } else {
        grid_size(df->grid, stat->blocks * stat->block_size, df->human);
        grid_size(df->grid, used * stat->block_size, df->human);
        grid_size(df->grid, stat->available_blocks * stat->block_size, df->human);
        grid_percent(df->grid, used, used + stat->available_blocks);
    }
}

/* Volumes named by the person must hold a filesystem; of the others those that do are listed. */
static bool df_volume(struct df *df, struct volume *volume, bool named, struct error *err)
{
    const struct fs_driver *driver;
    struct fs_stat stat = {0};
    struct fs *fs;
    if (!named && (!volume_probe(volume, &driver, err) || !driver))
        return err->kind == E_OK;
    if (!volume_fs(volume, &fs, err) || !fs->driver->statfs(fs, &stat, err))
        return because(err, "%u", volume->number);
    add_row(df, volume, fs, &stat);
    return true;
}

static bool df_all(struct df *df, struct error *err)
{
    for (struct image *image = df->session->images; image; image = image->next)
        for (size_t i = 0; i < image->volume_count; i++) {
            struct error one = {0};
            if (image->volumes[i]->number == 0 && image->table)
                continue;
            if (!df_volume(df, image->volumes[i], false, &one))
                call_complain(df->call, NULL, &one);
        }
    return call_result(df->call, err);
}

static bool run_df(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct df df = {.session = session,
                    .call = call,
                    .human = call_has(call, "human-readable"),
                    .inodes = call_has(call, "inodes")};
    df.grid = grid_new(out, df.inodes ? inode_columns : space_columns, err);
    if (!df.grid)
        return false;
    bool ok = call->argc > 0 || df_all(&df, err);
    for (int i = 0; ok && i < call->argc; i++) {
        struct volume *volume;
        ok = arg_volume(session, call->args[i], &volume, err) && df_volume(&df, volume, true, err);
    }
    struct error end = {0};
    if (!grid_end(df.grid, &end) && ok)
        *err = end;
    return ok && end.kind == E_OK;
}

const struct command df_command = {
    .name = "df",
    .group = "Filesystems",
    .summary = "show the free space of the filesystems",
    .details = "Sizes are bytes, or 1.5G with -h.",
    .examples = "df -h\ndf -i 2",
    .args = volume_args,
    .flags = df_flags,
    .needs = NEEDS_IMAGE,
    .run = run_df,
};

/* ---- volumes ---- */

static const struct column volumes_columns[] = {
    {"volume", "Volume", false},
    {"start", "Start", true},
    {"size", "Size", true},
    {"partition-type", "Partition", false},
    {"name", "Name", false},
    {"type", "Type", false},
    {"label", "Label", false},
    {"uuid", "UUID", false},
    {0},
};

static void add_volume(struct grid *grid, const struct session *session, struct volume *volume)
{
    const struct fs_driver *driver = NULL;
    struct error ignored = {0};
    struct fs *fs = NULL;
    char name[300];
    if (volume_probe(volume, &driver, &ignored) && driver && !volume_fs(volume, &fs, &ignored))
        fs = NULL;
    const struct signature *foreign = volume_foreign(volume);
    volume_name(session, volume, name, sizeof name);
    grid_text(grid, name);
    grid_number(grid, volume->start);
    grid_size(grid, volume->device->size, true);
    grid_text(grid, volume->part ? volume->part->type : NULL);
    grid_text(grid, volume->part ? volume->part->name : NULL);
    grid_text(grid, fs ? fs->type : driver ? driver->head.name : foreign ? foreign->name : NULL);
    grid_text(grid, fs ? fs->label : NULL);
    grid_text(grid, fs ? fs->uuid : NULL);
}

static bool run_volumes(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct grid *grid = grid_new(out, volumes_columns, err);
    (void)call;
    if (!grid)
        return false;
    for (struct image *image = session->images; image; image = image->next)
        for (size_t i = 0; i < image->volume_count; i++)
            if (image->volumes[i]->number != 0 || !image->table)
                add_volume(grid, session, image->volumes[i]);
    return grid_end(grid, err);
}

const struct command volumes_command = {
    .name = "volumes",
    .group = "Filesystems",
    .summary = "list the volumes and their filesystems",
    .examples = "volumes",
    .needs = NEEDS_IMAGE,
    .aliases = "list-filesystems",
    .run = run_volumes,
};
