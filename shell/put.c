/* put, get and cp: files between the host and images, and between images. */
#include "copying.h"

#include "alloc.h"
#include "bytes.h"
#include "path.h"
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 20 };

#define COPY_FLAGS                                                                                           \
    {'r', "recursive", NULL, ARG_WORD, "directories with all that is in them"},                              \
        {'R', NULL, NULL, ARG_WORD, "the same"},                                                             \
        {'a', "archive", NULL, ARG_WORD,                                                                     \
         "keep owner, mode, times, links, devices, xattrs and holes; implies -r"},                           \
        {'L', "dereference", NULL, ARG_WORD, "copy what symbolic links point to"},                           \
        {'p', "preserve", NULL, ARG_WORD, "keep owner, mode and times"},                                     \
        {'u', "update", NULL, ARG_WORD, "leave files alone that are as new as the source, or newer"},        \
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

/* ---- put ----------------------------------------------------------------------------------------------- */

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

/* ---- bytes at an offset, of files and devices ---------------------------------------------------------- */

/* The host's side of it: a descriptor, or the command's input. */
static bool read_host(struct call *call, int fd, uint8_t *buf, size_t n, size_t *got, struct error *err)
{
    if (fd < 0)
        return call_read(call, buf, n, got, err);
    for (*got = 0; *got < n;) {
        ssize_t done = read(fd, buf + *got, n - *got);
        if (done < 0 && errno != EINTR)
            return fail_errno(err, errno, "%s", call->args[0]);
        if (done == 0)
            break;
        *got += done > 0 ? (size_t)done : 0;
    }
    return true;
}

static bool put_bytes(struct call *call, int fd, struct region *region, uint8_t *buf, struct error *err)
{
    uint64_t off, left;
    if (!call_size(call_value(call, "at"), region->size, &off, err) ||
        !option_size(call, "length", UINT64_MAX, &left, err))
        return false;
    for (size_t got = 1; got && left; off += got, left -= got)
        if (!interrupt_check(err) || !read_host(call, fd, buf, (size_t)MIN_OF(left, CHUNK), &got, err) ||
            (got > 0 && !region_write(region, off, buf, got, err)))
            return false;
    return region_changed(region, err);
}

static bool put_at(struct session *session, struct call *call, struct error *err)
{
    struct region region = {0};
    bool input = strcmp(call->args[0], "-") == 0;
    if (call->argc != 2)
        return fail(err, E_USAGE, "--at takes one file of the host");
    int fd = input ? -1 : open(call->args[0], O_RDONLY | O_CLOEXEC);
    if (!input && fd < 0)
        return fail_errno(err, errno, "%s", call->args[0]);
    uint8_t *buf = mem_new(CHUNK, err);
    bool ok = buf && region_open(session, call->args[1], REGION_MAKE, &region, err) &&
              put_bytes(call, fd, &region, buf, err);
    region_close(&region);
    free(buf);
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool run_put(struct session *session, struct call *call, struct output *out, struct error *err)
{
    if (call_has(call, "at"))
        return put_at(session, call, err);
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

static const struct flag put_flags[] = {
    COPY_FLAGS,
    TARGET_FLAGS,
    {0, "at", "OFFSET", ARG_SIZE, "the bytes of HOST over those of DEST, a file or device (2:, 0:, file:)"},
    {0, "length", "SIZE", ARG_SIZE, "with --at: at most so many bytes"},
    {0},
};

const struct command put_command = {
    .name = "put",
    .group = "Files",
    .summary = "copy files from the host into an image",
    .details = "As cp does: into DEST when that is a directory, else (one file) under that name. Without -a, "
               "files belong to root (or -o), have the mode of the source (or -m) and the time of now. With "
               "-a everything is kept, with numeric owners; what the filesystem cannot keep is listed and "
               "nothing is copied, unless --lossy is given.",
    .examples =
        "put notes.txt 2:/root/\nput -r -a /usr/share/doc 2:/usr/share\nput - 2:/etc/motd <<X\nhello\nX\n"
        "put --at=0 mbr.bin 0:",
    .args = put_args,
    .flags = put_flags,
    .needs = NEEDS_IMAGE | CHANGES | READS_INPUT,
    .run = run_put,
};

/* ---- get ----------------------------------------------------------------------------------------------- */

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

static bool write_host(int fd, const char *path, const uint8_t *buf, size_t n, struct error *err)
{
    while (n > 0) {
        ssize_t done = write(fd, buf, n);
        if (done < 0 && errno != EINTR)
            return fail_errno(err, errno, "%s", path);
        buf += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

static bool get_bytes(struct call *call, struct region *region, int fd, struct output *out, uint8_t *buf,
                      struct error *err)
{
    uint64_t off = 0, left;
    if ((call_has(call, "at") && !call_size(call_value(call, "at"), region->size, &off, err)) ||
        !option_size(call, "length", region->size - MIN_OF(off, region->size), &left, err))
        return false;
    while (left > 0) {
        size_t n = (size_t)MIN_OF(left, CHUNK);
        if (!interrupt_check(err) || !region_read(region, off, buf, n, err))
            return false;
        if (fd < 0)
            output_write(out, buf, n);
        else if (!write_host(fd, call->args[1], buf, n, err))
            return false;
        off += n;
        left -= n;
    }
    return true;
}

static bool get_at(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct region region = {0};
    bool output = strcmp(call->args[call->argc - 1], "-") == 0;
    int fd = -1;
    if (call->argc != 2)
        return fail(err, E_USAGE, "bytes at an offset are taken from one place");
    uint8_t *buf = mem_new(CHUNK, err);
    bool ok = buf && region_open(session, call->args[0], REGION_READ, &region, err);
    if (ok && !output) {
        fd = open(call->args[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        ok = fd >= 0 || fail_errno(err, errno, "%s", call->args[1]);
    }
    ok = ok && get_bytes(call, &region, fd, out, buf, err);
    if (fd >= 0 && close(fd) != 0 && ok)
        ok = fail_errno(err, errno, "%s", call->args[1]);
    region_close(&region);
    free(buf);
    return ok;
}

static bool run_get(struct session *session, struct call *call, struct output *out, struct error *err)
{
    if (call_has(call, "at") || call_has(call, "length"))
        return get_at(session, call, out, err);
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

static const struct flag get_flags[] = {
    COPY_FLAGS,
    {0, "at", "OFFSET", ARG_SIZE, "the bytes of SRC, a file or device (2:, 0:, file:), from here on"},
    {0, "length", "SIZE", ARG_SIZE, "so many bytes of SRC; up to its end when left out"},
    {0},
};

const struct command get_command = {
    .name = "get",
    .group = "Files",
    .summary = "copy files from an image to the host",
    .details =
        "As cp does. Nothing is ever written outside HOSTDEST, whatever names and links the image holds: "
        "entries that would lead out are refused and named. Owners and device nodes that an ordinary "
        "user cannot make are counted.",
    .examples =
        "get /etc/fstab .\nget -r -a 2:/home backup\nget /etc/motd -\nget --at=0 --length=512 0: mbr.bin",
    .args = get_args,
    .flags = get_flags,
    .needs = NEEDS_IMAGE,
    .run = run_get,
};

/* ---- cp ------------------------------------------------------------------------------------------------ */

/* -T: a directory that has the new name already gets the contents of the source. */
static bool name_target(struct copying *copying, struct error *err)
{
    struct file_arg *dest = &copying->dest, *source = &copying->places[0];
    struct fs_attr attr;
    struct error ignored;
    if (call_has(copying->call, "t"))
        return fail(err, E_USAGE, "-t and -T contradict each other");
    if (copying->source_count > 1)
        return fail(err, E_USAGE, "-T: only one source can get the name %s", dest->shown);
    if (!path_lookup(dest->volume, dest->path, true, &dest->id, &ignored) ||
        !file_attr(dest->volume, dest->id, &attr, &ignored) || !S_ISDIR(attr.mode))
        return true;
    if (!path_lookup(source->volume, source->path, copying->options.follow, &source->id, err) ||
        !file_attr(source->volume, source->id, &attr, err))
        return because(err, "%s", source->shown);
    copying->sources[0].contents = true;
    return S_ISDIR(attr.mode) ||
           fail(err, E_ISDIR, "%s: is a directory, which %s is not", dest->shown, source->shown);
}

static bool run_cp(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct copying copying = {0};
    struct file_arg dest;
    int last = call->argc - 1;
    bool ok = file_arg_parse(session, call->args[last], &dest, err);
    ok = ok && copying_begin(&copying, session, call, out, dest.volume, err);
    copying.dest = dest;
    copying.options.to_directory = call_has(call, "t");
    const struct copy_end end = {.volume = dest.volume, .path = dest.path, .shown = dest.shown};
    ok = ok && copying_image_sources(&copying, 0, last, err) &&
         (!call_has(call, "T") || name_target(&copying, err)) && copying_run(&copying, &end, err);
    copying_end(&copying);
    return ok;
}

static const struct arg cp_args[] = {
    {"SRC", ARG_PATH, ARG_MANY, "files and directories of any open image", NULL},
    {"DEST", ARG_PATH_NEW, ARG_ONE, "a directory of any open image, or a new name", NULL},
    {0},
};

static const struct flag cp_flags[] = {
    COPY_FLAGS,
    TARGET_FLAGS,
    {'t', "target-directory", "DIR", ARG_PATH, "copy into this directory; all arguments are SRC"},
    {'T', "no-target-directory", NULL, ARG_WORD, "DEST is the new name, never a directory to copy into"},
    {0},
};

const struct command cp_command = {
    .name = "cp",
    .group = "Files",
    .summary = "copy files within and between images",
    .details = "With -a everything is kept that the target can hold; what it cannot is listed and nothing is "
               "copied, unless --lossy is given.",
    .examples = "cp /etc/fstab /etc/fstab.old\ncp -a old:2:/home 1:/\ncp -t /backup /etc/*.conf",
    .last_from = "t",
    .args = cp_args,
    .flags = cp_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_cp,
};
