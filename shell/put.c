/* put, get and cp: files between the host and images, and between images. */
#include "copying.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK = 1 << 20 };

#define COPY_FLAGS                                                                                           \
    {'r', "recursive", NULL, ARG_WORD, "directories with all that is in them"},                              \
        {'R', NULL, NULL, ARG_WORD, "the same"},                                                             \
        {'a', "archive", NULL, ARG_WORD,                                                                     \
         "keep owner, mode, times, links, devices, xattrs and holes; implies -r"},                           \
        {'L', "dereference", NULL, ARG_WORD, "copy what symbolic links point to"},                           \
        {'n', "no-clobber", NULL, ARG_WORD, "leave files alone that exist already"},                         \
        {'v', "verbose", NULL, ARG_WORD, "name what is copied"},                                             \
    {                                                                                                        \
        'f', "force", NULL, ARG_WORD, "accepted for cp's sake"                                               \
    }

#define TARGET_FLAGS                                                                                         \
    {'o', "owner", "U:G", ARG_WORD, "owner of all that is made"},                                            \
        {'m', "mode", "MODE", ARG_WORD, "mode of all that is made, octal or symbolic"},                      \
    {                                                                                                        \
        0, "lossy", NULL, ARG_WORD, "copy although the filesystem cannot keep everything"                    \
    }

/* ---- put ------------------------------------------------------------------------------------------------
 */

static bool read_input(void *arg, void *buf, size_t n, size_t *got, struct error *err)
{
    return call_read(arg, buf, n, got, err);
}

static bool put_input(struct copying *copying, struct error *err)
{
    uint64_t bytes;
    const struct file_arg *dest = &copying->dest;
    const struct copy_end end = {.volume = dest->volume, .path = dest->path, .shown = dest->shown};
    return copy_stream(&end, &copying->options, read_input, copying->call, &bytes, err);
}

static bool run_put(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct copying copying = {0};
    struct file_arg dest;
    int last = call->argc - 1;
    bool ok = file_arg_parse(session, call->args[last], &dest, err);
    ok = ok && copying_begin(&copying, session, call, out, dest.volume, err);
    copying.dest = dest;
    if (ok && last == 1 && strcmp(call->args[0], "-") == 0) {
        ok = put_input(&copying, err);
    } else if (ok) {
        const struct copy_end end = {.volume = dest.volume, .path = dest.path, .shown = dest.shown};
        ok = copying_host_sources(&copying, 0, last, err) && copying_run(&copying, &end, err);
    }
    copying_end(&copying);
    return ok;
}

static const struct arg put_args[] = {
    {"HOST", ARG_HOST, ARG_MANY, "files and directories of the host; - is the input", NULL},
    {"DEST", ARG_PATH_NEW, ARG_ONE, "a directory in the image, or the new name of a single file", NULL},
    {0},
};

static const struct flag put_flags[] = {COPY_FLAGS, TARGET_FLAGS, {0}};

const struct command put_command = {
    .name = "put",
    .group = "Files",
    .summary = "copy files from the host into an image",
    .details = "As cp does: into DEST when that is a directory, else (one file) under that name. Without -a, "
               "files belong to root (or -o), have the mode of the source (or -m) and the time of now. With "
               "-a everything is kept, with numeric owners; what the filesystem cannot keep is listed and "
               "nothing is copied, unless --lossy is given.",
    .examples = "put notes.txt 2:/root/\nput -r -a /usr/share/doc 2:/usr/share\nput - 2:/etc/motd <<X",
    .args = put_args,
    .flags = put_flags,
    .needs = NEEDS_IMAGE | CHANGES | READS_INPUT,
    .run = run_put,
};

/* ---- get ------------------------------------------------------------------------------------------------
 */

static bool print_file(struct file_arg *file, void *arg, struct error *err)
{
    struct output *out = arg;
    if (S_ISDIR(file->attr.mode))
        return fail(err, E_ISDIR, "is a directory");
    uint8_t *buf = mem_new(CHUNK, err);
    bool ok = buf != NULL;
    for (uint64_t off = 0; ok && off < file->attr.size && !output_closed(out);) {
        size_t n = (size_t)MIN_OF(file->attr.size - off, (uint64_t)CHUNK);
        ok = interrupt_check(err) && file_read_inside(file->volume, file->id, off, buf, n, err);
        if (ok)
            output_write(out, buf, n);
        off += n;
    }
    free(buf);
    return ok;
}

static bool run_get(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct copying copying;
    int last = call->argc - 1;
    bool ok = copying_begin(&copying, session, call, out, NULL, err);
    if (ok && strcmp(call->args[last], "-") == 0) {
        call->argc = last;
        ok = each_file(session, call, 0, true, print_file, out, err);
        call->argc = last + 1;
    } else if (ok) {
        const struct copy_end end = {.host = call->args[last]};
        ok = copying_image_sources(&copying, 0, last, err) && copying_run(&copying, &end, err);
    }
    copying_end(&copying);
    return ok;
}

static const struct arg get_args[] = {
    {"SRC", ARG_PATH, ARG_MANY, "files and directories in the image", NULL},
    {"HOSTDEST", ARG_HOST_NEW, ARG_ONE, "a directory of the host, or a new name; - is the output", NULL},
    {0},
};

static const struct flag get_flags[] = {COPY_FLAGS, {0}};

const struct command get_command = {
    .name = "get",
    .group = "Files",
    .summary = "copy files from an image to the host",
    .details =
        "As cp does. Nothing is ever written outside HOSTDEST, whatever names and links the image holds: "
        "entries that would lead out are refused and named. Owners and device nodes that an ordinary "
        "user cannot make are counted.",
    .examples = "get /etc/fstab .\nget -r -a 2:/home backup\nget /etc/motd -",
    .args = get_args,
    .flags = get_flags,
    .needs = NEEDS_IMAGE,
    .run = run_get,
};

/* ---- cp -------------------------------------------------------------------------------------------------
 */

static bool run_cp(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct copying copying = {0};
    struct file_arg dest;
    int last = call->argc - 1;
    bool ok = file_arg_parse(session, call->args[last], &dest, err);
    ok = ok && copying_begin(&copying, session, call, out, dest.volume, err);
    copying.dest = dest;
    const struct copy_end end = {.volume = dest.volume, .path = dest.path, .shown = dest.shown};
    ok = ok && copying_image_sources(&copying, 0, last, err) && copying_run(&copying, &end, err);
    copying_end(&copying);
    return ok;
}

static const struct arg cp_args[] = {
    {"SRC", ARG_PATH, ARG_MANY, "files and directories of any open image", NULL},
    {"DEST", ARG_PATH_NEW, ARG_ONE, "a directory of any open image, or a new name", NULL},
    {0},
};

static const struct flag cp_flags[] = {COPY_FLAGS, TARGET_FLAGS, {0}};

const struct command cp_command = {
    .name = "cp",
    .group = "Files",
    .summary = "copy files within and between images",
    .details = "With -a everything is kept that the target can hold; what it cannot is listed and nothing is "
               "copied, unless --lossy is given.",
    .examples = "cp /etc/fstab /etc/fstab.old\ncp -a old:2:/home 1:/",
    .args = cp_args,
    .flags = cp_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_cp,
};
