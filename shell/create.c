#include "alloc.h"
#include "bytes.h"
#include "command.h"

#include <stdlib.h>

static const struct arg args[] = {
    {"FILE", ARG_HOST_NEW, ARG_ONE, "the new image file, or NAME=FILE", NULL},
    {"SIZE", ARG_SIZE, ARG_OPTIONAL, "size of the virtual disk; that of the backing file when left out",
     NULL},
    {0},
};

static const struct flag flags[] = {
    {'f', "format", "FORMAT", ARG_CONTAINER, "format of the image (by the extension of FILE when left out)"},
    {'b', "backing", "FILE", ARG_HOST, "backing file that holds what was never written"},
    {'F', "backing-format", "FORMAT", ARG_CONTAINER, "format of the backing file"},
    {'o', "options", "KEY=VALUE,...", ARG_OPTIONS, "options of the format, as qemu-img's"},
    {0},
};

/* Split "NAME=FILE"; a slash before the '=' belongs to a path. */
static const char *split_name(const char *text, char **name, struct error *err)
{
    size_t n = strcspn(text, "=/");
    *name = NULL;
    if (n == 0 || text[n] != '=')
        return text;
    *name = mem_string_n(text, n, err);
    return *name ? text + n + 1 : NULL;
}

/* -b and -F are options of the format under other names. */
static bool parse_options(const struct call *call, const struct container_driver *driver,
                          struct options *options, struct error *err)
{
    for (int i = 0; i < call->given_count; i++) {
        const struct given *given = &call->given[i];
        const char *key = given->flag->letter == 'b'   ? "backing_file"
                          : given->flag->letter == 'F' ? "backing_fmt"
                                                       : NULL;
        bool ok = true;
        if (key)
            ok = call_add_option(options, driver->head.make_options, key, given->value, err);
        else if (given->flag->letter == 'o')
            ok = options_parse(options, driver->head.make_options, given->value, err);
        if (!ok)
            return false;
    }
    return true;
}

/* A size left out is the backing file's. */
static bool size_of_backing(struct session *session, const struct options *options, uint64_t *size,
                            struct error *err)
{
    const char *backing = options_text(options, "backing_file", NULL);
    struct device *disk;
    if (!backing)
        return fail(err, E_USAGE, "a size is needed (create FILE SIZE)");
    if (!session_open_disk(session, backing, options_text(options, "backing_fmt", NULL), NULL, &disk, err))
        return false;
    *size = disk->size;
    session_close_disk(disk);
    return true;
}

static bool run(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    char *name;
    const char *path = split_name(call->args[0], &name, err);
    if (!path)
        return false;
    const char *format = call_value(call, "format");
    const struct container_driver *driver =
        format ? session_container(session, format) : session_container_for(session, path);
    struct options options = {0};
    struct image *image;
    uint64_t size = 0;
    bool ok = driver || fail(err, E_INVALID, "unknown image format '%s'", format);
    ok = ok && parse_options(call, driver, &options, err);
    if (ok)
        ok = call->argc > 1 ? call_size(call->args[1], 0, &size, err)
                            : size_of_backing(session, &options, &size, err);
    ok = ok && session_create(session, name, path, driver, size, &options, &image, err);
    if (ok && session->image != image) {
        session->image = image;
        session->volume = NULL;
    }
    session->image_chosen = session->image_chosen || ok;
    options_free(&options);
    free(name);
    return ok;
}

const struct command create_command = {
    .name = "create",
    .group = "Images",
    .summary = "make a new image and open it",
    .details = "The file appears at the first commit, whole. The new image becomes the current one.",
    .examples = "create disk.qcow2 4G\ncreate -o cluster_size=4K,preallocation=metadata disk.qcow2 1G\n"
                "create -b base.qcow2 -F qcow2 overlay.qcow2\ncreate new=card.img 64M",
    .args = args,
    .flags = flags,
    .needs = CHANGES,
    .run = run,
};
