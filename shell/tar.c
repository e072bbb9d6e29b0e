/* tar-in and tar-out: archives. */
#include "tar.h"
#include "alloc.h"
#include "copying.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_input(void *arg, void *buf, size_t n, size_t *got, struct error *err)
{
    return call_read(arg, buf, n, got, err);
}

static bool run_tar_in(struct session *session, struct call *call, struct output *out, struct error *err)
{
    static const char here[] = ".";
    const char *archive = call->args[0], *place = call->argc > 1 ? call->args[1] : here;
    struct copying copying = {0};
    struct file_arg dest;
    bool ok = file_arg_parse(session, place, &dest, err);
    ok = ok && copying_begin(&copying, session, call, out, dest.volume, err);
    copying.dest = dest;
    copying.options.archive = true;
    bool input = strcmp(archive, "-") == 0;
    const struct copy_end end = {.volume = dest.volume, .path = dest.path, .shown = dest.shown};
    ok = ok &&
         tar_in(session, input ? NULL : archive, read_input, call, &end, &copying.options, &copying.tally,
                err) &&
         call_result(call, err);
    copying_end(&copying);
    return ok;
}

static const struct arg tar_in_args[] = {
    {"ARCHIVE", ARG_HOST, ARG_ONE, "an archive of the host; - is the input", NULL},
    {"DIR", ARG_PATH, ARG_OPTIONAL, "a directory in the image; the current one when left out", NULL},
    {0},
};

static const struct flag tar_in_flags[] = {
    {'o', "owner", "U:G", ARG_WORD, "owner of all that is made"},
    {'m', "mode", "MODE", ARG_WORD, "mode of all that is made"},
    {0, "lossy", NULL, ARG_WORD, "go on although the filesystem cannot keep everything"},
    {0},
};

const struct command tar_in_command = {
    .name = "tar-in",
    .group = "Files",
    .summary = "unpack an archive into an image",
    .details =
        "Tar in all its forms and compressions, cpio, zip, 7z and whatever else libarchive reads. Owners "
        "(numeric), modes, times, links, device nodes, extended attributes, ACLs and holes are kept.",
    .examples = "tar-in rootfs.tar.zst 2:/\ntar-in - /srv < site.tgz",
    .args = tar_in_args,
    .flags = tar_in_flags,
    .needs = NEEDS_IMAGE | CHANGES | READS_INPUT,
    .run = run_tar_in,
};

/* ---- tar-out ------------------------------------------------------------------------------------------- */

/* A new file takes the name only when it is complete. */
struct archive_file {
    const char *path;
    char *temporary;
    int fd;
};

static bool write_file(void *arg, const void *buf, size_t n, struct error *err)
{
    struct archive_file *file = arg;
    const char *at = buf;
    while (n > 0) {
        ssize_t done = write(file->fd, at, n);
        if (done < 0 && errno == EINTR && interrupt_check(err))
            continue;
        if (done < 0)
            return fail_errno(err, errno, "%s", file->path);
        at += done;
        n -= (size_t)done;
    }
    return true;
}

static bool write_output(void *arg, const void *buf, size_t n, struct error *err)
{
    if (output_closed(arg))
        return fail(err, E_INTERRUPTED, "interrupted");
    output_write(arg, buf, n);
    return true;
}

static bool open_file(struct archive_file *file, struct error *err)
{
    struct stat st;
    /* A pipe or a device is written to as it is. */
    if (stat(file->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        file->fd = open(file->path, O_WRONLY | O_CLOEXEC);
        return file->fd >= 0 || fail_errno(err, errno, "%s", file->path);
    }
    file->temporary = mem_printf(err, "%s.dish-%x", file->path, (unsigned)getpid());
    if (!file->temporary)
        return false;
    file->fd = open(file->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    return file->fd >= 0 || fail_errno(err, errno, "%s", file->path);
}

static bool close_file(struct archive_file *file, bool ok, struct error *err)
{
    if (file->fd >= 0 && close(file->fd) != 0 && ok)
        ok = fail_errno(err, errno, "%s", file->path);
    if (ok && file->temporary && rename(file->temporary, file->path) != 0)
        ok = fail_errno(err, errno, "%s", file->path);
    if (!ok && file->temporary && file->fd >= 0)
        unlink(file->temporary);
    free(file->temporary);
    return ok;
}

static bool run_tar_out(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct copying copying;
    int last = call->argc - 1;
    struct archive_file file = {.path = call->args[last], .fd = -1};
    bool to_output = strcmp(file.path, "-") == 0;
    const char *format = call_value(call, "format");
    const char *name = format ? format : to_output ? ".tar" : file.path;
    bool ok = copying_begin(&copying, session, call, out, NULL, err) &&
              copying_image_sources(&copying, 0, last, err) && (to_output || open_file(&file, err));
    ok = ok && tar_out(session, copying.sources, (size_t)copying.source_count, name,
                       to_output ? write_output : write_file, to_output ? (void *)out : (void *)&file,
                       &copying.options, &copying.tally, err);
    ok = close_file(&file, ok, err);
    copying_end(&copying);
    if (!ok && err->kind == E_INTERRUPTED && output_closed(out) && !interrupt_pending())
        return true; /* the reader of a pipe has enough */
    return ok && call_result(call, err);
}

static const struct arg tar_out_args[] = {
    {"SRC", ARG_PATH, ARG_MANY, "a directory in the image, or several files and directories", NULL},
    {"ARCHIVE", ARG_HOST_NEW, ARG_ONE, "the new archive on the host; - is the output", NULL},
    {0},
};

static const struct flag tar_out_flags[] = {
    {0, "format", "ENDING", ARG_WORD,
     "as if the archive's name ended so: .tar.gz, .tar.zst, .cpio, .zip ..."},
    {0},
};

const struct command tar_out_command = {
    .name = "tar-out",
    .group = "Files",
    .summary = "pack files of an image into an archive",
    .details =
        "A single directory becomes an archive of what is in it; several things keep their names. The "
        "ending of ARCHIVE decides about format and compression. A tar is in pax form, with owners, modes, "
        "times, links, device nodes, extended attributes, ACLs and holes.",
    .examples = "tar-out 2:/ rootfs.tar.zst\ntar-out /etc /home - | ssh host tar x",
    .args = tar_out_args,
    .flags = tar_out_flags,
    .needs = NEEDS_IMAGE,
    .run = run_tar_out,
};
