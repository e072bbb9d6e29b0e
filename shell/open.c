#include "alloc.h"
#include "command.h"
#include "grid.h"
#include "place_arg.h"

#include <stdlib.h>
#include <string.h>

static const struct arg open_args[] = {
    {"[NAME=]FILE", ARG_HOST, ARG_MANY, "image to open; NAME is what paths call it", NULL},
    {0},
};

static const struct flag open_flags[] = {
    {'f', "format", "FORMAT", ARG_CONTAINER, "do not probe the format"},
    {0, "check", NULL, ARG_WORD, "open what is refused as far as check, info, show and poke can look at it"},
    {0},
};

static bool open_one(struct session *session, const char *text, const char *format, bool to_check,
                     struct error *err)
{
    size_t n = strcspn(text, "=/");
    bool named = n > 0 && text[n] == '=';
    char *name = named ? mem_string_n(text, n, err) : NULL;
    struct image *image;
    if (named && !name)
        return false;
    const char *path = named ? text + n + 1 : text;
    bool ok = to_check ? session_open_to_check(session, name, path, format, &image, err)
                       : session_open(session, name, path, format, &image, err);
    free(name);
    return ok;
}

static bool run_open(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    for (int i = 0; i < call->argc; i++)
        if (!open_one(session, call->args[i], call_value(call, "format"), call_has(call, "check"), err))
            return because(err, "%s", call->args[i]);
    return true;
}

const struct command open_command = {
    .name = "open",
    .group = "Images",
    .summary = "open image files",
    .details = "The first image opened is the current one: its paths need no name in front.",
    .examples = "open disk.qcow2\nopen old=backup.img",
    .args = open_args,
    .flags = open_flags,
    .run = run_open,
};

static const struct arg close_args[] = {
    {"IMAGE", ARG_IMAGE, ARG_OPTIONAL, "the image; the current one when left out", NULL},
    {0},
};

static const struct flag close_flags[] = {
    {0, "discard", NULL, ARG_WORD, "drop changes that were not committed"},
    {0},
};

static bool run_close(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct image *image;
    (void)out;
    return arg_image(session, call->argc ? call->args[0] : NULL, &image, err) &&
           session_close(session, image, call_has(call, "discard"), err);
}

const struct command close_command = {
    .name = "close",
    .group = "Images",
    .summary = "close an image",
    .examples = "close\nclose --discard old",
    .args = close_args,
    .flags = close_flags,
    .needs = NEEDS_IMAGE | NO_SAVEPOINT | LOOKS,
    .run = run_close,
};

static bool run_images(struct session *session, struct call *call, struct output *out, struct error *err)
{
    static const struct column columns[] = {{"name", "Name", false},
                                            {"format", "Format", false},
                                            {"size", "Size", true},
                                            {"current", "Current", false},
                                            {"pending", "Pending", false},
                                            {"path", "File", false},
                                            {0}};
    struct grid *grid = grid_new(out, columns, err);
    (void)call;
    if (!grid)
        return false;
    for (struct image *image = session->images; image; image = image->next) {
        grid_text(grid, image->name);
        grid_text(grid, image->container->head.name);
        grid_size(grid, image->disk->size, true);
        grid_bool(grid, image == session->image);
        grid_bool(grid, image->is_new || stage_pending(image->file));
        grid_text(grid, image->path);
    }
    return grid_end(grid, err);
}

const struct command images_command = {
    .name = "images",
    .group = "Images",
    .summary = "list the open images",
    .examples = "open old=backup.qcow2\nimages",
    .run = run_images,
};

static const struct arg use_args[] = {
    {"[IMAGE:]VOLUME", ARG_VOLUME, ARG_ONE, "number of a volume, with the image's name when it is another",
     NULL},
    {0},
};

static bool run_use(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct volume *volume;
    struct image *image = session_image(session, call->args[0]);
    (void)out;
    if (image) {
        session->image = image;
        session->image_chosen = true;
        session->volume = NULL;
        return true;
    }
    if (!arg_volume(session, call->args[0], &volume, err))
        return false;
    session->image = volume->image;
    session->image_chosen = true;
    session->volume = volume;
    return true;
}

const struct command use_command = {
    .name = "use",
    .group = "Partitions",
    .summary = "make a volume the current one",
    .examples = "use 2\nuse old:1\nuse old",
    .args = use_args,
    .needs = NEEDS_IMAGE,
    .run = run_use,
};
