/* lsdel and undel: what deleting left behind. */
#include "bytes.h"
#include "command.h"
#include "file.h"
#include "grid.h"
#include "path.h"
#include "place_arg.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

static const struct column columns[] = {
    {"id", "Id", true},      {"size", "Size", true},        {"mtime", "Modified", false},
    {"name", "Name", false}, {"problem", "Problem", false}, {0},
};

struct list {
    struct volume *volume;
    struct grid *grid;
};

static bool list_entry(const struct fs_entry *entry, void *arg)
{
    struct list *list = arg;
    struct fs_attr attr = {0};
    struct error ignored = {0};
    char when[40] = "";
    struct tm parts;
    if (entry->last)
        attr = *entry->last;
    if (entry->last || (entry->id && file_attr(list->volume, entry->id, &attr, &ignored))) {
        time_t seconds = (time_t)attr.mtime.sec;
        if (gmtime_r(&seconds, &parts))
            strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    grid_number(list->grid, entry->id);
    grid_number(list->grid, attr.size);
    grid_text(list->grid, when);
    grid_text(list->grid, entry->name ? entry->name : "");
    grid_text(list->grid, entry->fault);
    return true;
}

/* A path names a directory to look into; a volume (or nothing) means everything that can be found. */
static bool find_place(struct session *session, const char *text, struct volume **volume, fs_id *dir,
                       struct error *err)
{
    struct location location = {0};
    *dir = 0;
    if (!text)
        return arg_volume(session, NULL, volume, err);
    bool ok = location_parse(session, text, &location, err);
    if (ok && location.kind == LOCATION_FILE)
        ok = fail(err, E_INVALID, "'%s' is not a volume", text);
    if (ok) {
        *volume = location.volume;
        if (location.kind == LOCATION_PATH)
            ok = path_find(&location, true, dir, err);
    }
    location_free(&location);
    return ok;
}

static bool run_lsdel(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct list list;
    struct fs *fs;
    fs_id dir;
    if (!find_place(session, call->argc ? call->args[0] : NULL, &list.volume, &dir, err) ||
        !volume_fs(list.volume, &fs, err))
        return false;
    if (!fs->driver->deleted)
        return fail(err, E_UNSUPPORTED, "%s keeps nothing of deleted files that dish can read", fs->type);
    list.grid = grid_new(out, columns, err);
    if (!list.grid)
        return false;
    bool ok = fs->driver->deleted(fs, dir, list_entry, &list, err);
    struct error end = {0};
    if (!grid_end(list.grid, &end) && ok) {
        *err = end;
        ok = false;
    }
    return ok;
}

static const struct arg lsdel_args[] = {
    {"PLACE", ARG_PLACE, ARG_OPTIONAL, "a directory, or a volume (2:)", NULL},
    {0},
};

const struct command lsdel_command = {
    .name = "lsdel",
    .group = "Teaching",
    .summary = "list deleted files that can still be seen",
    .examples = "lsdel\nlsdel 2:\nlsdel /home",
    .args = lsdel_args,
    .needs = NEEDS_IMAGE,
    .run = run_lsdel,
};

static bool run_undel(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct location location = {0};
    char name[1024];
    fs_id dir, id;
    (void)out;
    if (!call_file_id(call->args[0], &id, err))
        return false;
    struct fs *fs;
    bool ok = location_parse(session, call->args[1], &location, err);
    if (ok && location.kind != LOCATION_PATH)
        ok = fail(err, E_INVALID, "'%s' is not a path", call->args[1]);
    ok = ok && file_begin_change(location.volume, &fs, err) &&
         (path_parent(location.volume, location.path, &dir, name, sizeof name, err) ||
          because(err, "%s", call->args[1]));
    if (ok && !fs->driver->undelete)
        ok = fail(err, E_UNSUPPORTED, "%s cannot bring deleted files back", fs->type);
    ok = ok && fs->driver->undelete(fs, id, dir, name, err);
    session->name_epoch++;
    location_free(&location);
    return ok;
}

static const struct arg undel_args[] = {
    {"ID", ARG_NUMBER, ARG_ONE, "as lsdel lists it", NULL},
    {"PATH", ARG_PATH_NEW, ARG_ONE, "the name it gets", NULL},
    {0},
};

const struct command undel_command = {
    .name = "undel",
    .group = "Teaching",
    .summary = "bring a deleted file back under a new name",
    .examples = "undel 12 /lost.txt",
    .args = undel_args,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_undel,
};
