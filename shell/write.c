/* write and edit: contents from the command line, a heredoc or an editor. */
#include "copying.h"

#include "alloc.h"
#include "bytes.h"
#include "path.h"
#include "region.h"
#include "shell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 16 };

/* ---- write ---- */

struct text_source {
    struct call *call;
    const char *text; /* NULL: the command's input, or one byte again and again */
    uint64_t left;    /* of text, or how often */
    bool fill;
    uint8_t byte;
};

static bool read_text(void *arg, void *buf, size_t n, size_t *got, struct error *err)
{
    struct text_source *source = arg;
    if (!source->text && !source->fill)
        return call_read(source->call, buf, n, got, err);
    *got = (size_t)MIN_OF(n, source->left);
    source->left -= *got;
    if (source->fill) {
        memset(buf, source->byte, *got);
    } else {
        memcpy(buf, source->text, *got);
        source->text += *got;
    }
    return true;
}

/* Adds at the end of a file that exists; *done: it did. */
static bool append(struct file_arg *arg, struct text_source *source, bool *done, struct error *err)
{
    *done = false;
    if (!path_lookup(arg->volume, arg->path, true, &arg->id, err))
        return err->kind == E_NOENT;
    if (!file_attr(arg->volume, arg->id, &arg->attr, err))
        return false;
    if (!S_ISREG(arg->attr.mode))
        return fail(err, S_ISDIR(arg->attr.mode) ? E_ISDIR : E_INVALID, "is a %s",
                    file_type_name(arg->attr.mode));
    *done = true;
    uint8_t *buf = mem_new(CHUNK, err);
    uint64_t off = arg->attr.size;
    size_t got = 1;
    bool ok = buf != NULL;
    while (ok && got) {
        ok = interrupt_check(err) && read_text(source, buf, CHUNK, &got, err) &&
             file_write(arg->volume, arg->id, off, buf, got, err);
        off += got;
    }
    free(buf);
    return ok && file_modified(arg->volume, arg->id, err);
}

/* Over what is there, from the offset on; nothing is cut off. */
static bool write_at(struct session *session, struct call *call, struct text_source *source,
                     struct error *err)
{
    struct region region;
    uint64_t off;
    uint8_t *buf = mem_new(CHUNK, err);
    bool ok = buf && region_open(session, call->args[0], REGION_MAKE, &region, err);
    if (ok)
        ok = call_size(call_value(call, "at"), region.size, &off, err);
    for (size_t got = 1; ok && got; off += got)
        ok = interrupt_check(err) && read_text(source, buf, CHUNK, &got, err) &&
             (got == 0 || region_write(&region, off, buf, got, err));
    ok = ok && region_changed(&region, err);
    if (buf)
        region_close(&region);
    free(buf);
    return ok;
}

/* What is to be written: TEXT, the input, or --fill with --length. */
static bool find_source(struct call *call, struct text_source *source, struct error *err)
{
    uint64_t byte;
    *source = (struct text_source){.call = call, .fill = call_has(call, "fill") > 0};
    if (call->argc > 1) {
        source->text = call->args[1];
        source->left = call->lengths[1];
    }
    if (source->fill != (call_has(call, "length") > 0))
        return fail(err, E_USAGE, "--fill=BYTE and --length=SIZE belong together");
    if (!source->fill)
        return true;
    if (source->text)
        return fail(err, E_USAGE, "--fill and TEXT exclude each other");
    if (!size_parse(call_value(call, "fill"), &byte, err) ||
        !option_size(call, "length", 0, &source->left, err))
        return false;
    source->byte = (uint8_t)byte;
    return byte <= UINT8_MAX ||
           fail(err, E_INVALID, "--fill: a byte is 0 to 255, not %s", call_value(call, "fill"));
}

static bool run_write(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    struct text_source source;
    if (!find_source(call, &source, err))
        return false;
    if (call_has(call, "at"))
        return write_at(session, call, &source, err);
    if (region_is_device(session, call->args[0]))
        return fail(err, E_USAGE, "%s: is a device: say where with --at=OFFSET", call->args[0]);
    struct file_arg arg;
    const struct copy_options options = {.mode = call_value(call, "m")};
    bool done = false, ok = file_arg_parse(session, call->args[0], &arg, err);
    if (ok && call_has(call, "a"))
        ok = (file_writable(arg.volume, err) && append(&arg, &source, &done, err)) ||
             because(err, "%s", arg.shown);
    if (ok && !done) {
        uint64_t bytes;
        const struct copy_end end = {.volume = arg.volume, .path = arg.path, .shown = arg.shown};
        ok = copy_stream(&end, &options, read_text, &source, &bytes, err);
    }
    file_arg_close(&arg);
    return ok;
}

static const struct arg write_args[] = {
    {"FILE", ARG_PATH_NEW, ARG_ONE,
     "the file to write, made when it does not exist; with --at also a device (2:, 0:, file:)", NULL},
    {"TEXT", ARG_WORD, ARG_OPTIONAL, "its contents, as they are; the input (<<WORD) when left out", NULL},
    {0},
};

static const struct flag write_flags[] = {
    {'a', "append", NULL, ARG_WORD, "add at the end"},
    {'m', "mode", "MODE", ARG_WORD, "permissions, octal or symbolic"},
    {0, "at", "OFFSET", ARG_SIZE, "over what is there, from this byte on; -N counts from the end"},
    {0, "fill", "BYTE", ARG_NUMBER, "this byte again and again, --length times"},
    {0, "length", "SIZE", ARG_SIZE, "how many bytes --fill writes"},
    {0},
};

const struct command write_command = {
    .name = "write",
    .group = "Files",
    .summary = "write text to a file",
    .details =
        "No newline is added: $'text\\n' has one. With --at the bytes of a file or device are changed in "
        "place; when a device's bytes change, everything above them is read anew.",
    .examples = "write /etc/hostname box\nwrite -a /etc/hosts <<X\n10.0.0.1 gateway\nX\nwrite --at=446 "
                "--fill=0 --length=64 0:",
    .args = write_args,
    .flags = write_flags,
    .needs = NEEDS_IMAGE | CHANGES | READS_INPUT | TAKES_BYTES,
    .run = run_write,
};

/* ---- edit ---- */

struct edit {
    struct file_arg arg;
    bool exists;
    char path[4096]; /* of the temporary copy */
    int fd;
};

static bool write_host(int fd, const uint8_t *buf, size_t n, struct error *err)
{
    while (n > 0) {
        ssize_t done = write(fd, buf, n);
        if (done < 0 && errno != EINTR)
            return fail_errno(err, errno, "cannot write the temporary copy");
        if (done > 0) {
            buf += done;
            n -= (size_t)done;
        }
    }
    return true;
}

/* The temporary copy keeps the name's ending, by which editors choose their modes. */
static bool make_copy(struct edit *edit, struct error *err)
{
    const char *dir = getenv("TMPDIR");
    const char *name = strrchr(edit->arg.path, '/'), *dot = strrchr(edit->arg.path, '.');
    const char *ending = dot && dot > name + 1 && strlen(dot) < 32 ? dot : "";
    snprintf(edit->path, sizeof edit->path, "%s/dish-XXXXXX%s", dir && *dir ? dir : "/tmp", ending);
    edit->fd = mkstemps(edit->path, (int)strlen(ending));
    if (edit->fd < 0)
        return fail_errno(err, errno, "cannot make a temporary copy in %s", dir && *dir ? dir : "/tmp");
    uint8_t *buf = mem_new(CHUNK, err);
    bool ok = buf != NULL;
    for (uint64_t off = 0; ok && off < edit->arg.attr.size;) {
        size_t got;
        ok = interrupt_check(err) && file_read(edit->arg.volume, edit->arg.id, off, buf, CHUNK, &got, err) &&
             write_host(edit->fd, buf, got, err);
        off += CHUNK;
    }
    free(buf);
    return ok;
}

static bool run_editor(const char *path, struct error *err)
{
    const char *editor = getenv("VISUAL");
    if (!editor || !*editor)
        editor = getenv("EDITOR");
    if (!editor || !*editor)
        editor = "vi";
    char *text = mem_printf(err, "%s \"$1\"", editor);
    if (!text)
        return false;
    static char shell[] = "/bin/sh", option[] = "-c", name[] = "dish";
    char *words[] = {shell, option, text, name, (char *)(uintptr_t)path, NULL};
    int status;
    bool ok = host_run(editor, words, false, -1, &status, err);
    free(text);
    return ok;
}

static bool read_host(int fd, uint8_t *buf, size_t n, uint64_t off, size_t *got, struct error *err)
{
    for (*got = 0; *got < n;) {
        ssize_t done = pread(fd, buf + *got, n - *got, (off_t)(off + *got));
        if (done < 0 && errno != EINTR)
            return fail_errno(err, errno, "cannot read the temporary copy");
        if (done == 0)
            break;
        *got += done > 0 ? (size_t)done : 0;
    }
    return true;
}

/* Writes the pieces that differ, and the size; *changed: anything did. */
static bool write_back(struct edit *edit, int fd, bool *changed, struct error *err)
{
    enum { PIECE = 4096 };
    struct file_arg *arg = &edit->arg;
    uint8_t new_bytes[PIECE], old_bytes[PIECE];
    uint64_t off = 0;
    size_t got, had;
    *changed = false;
    for (;; off += got) {
        if (!interrupt_check(err) || !read_host(fd, new_bytes, PIECE, off, &got, err) ||
            !file_read(arg->volume, arg->id, off, old_bytes, PIECE, &had, err))
            return false;
        if (got == 0)
            break;
        if (got <= had && memcmp(new_bytes, old_bytes, got) == 0)
            continue;
        if (!file_write(arg->volume, arg->id, off, new_bytes, got, err))
            return false;
        *changed = true;
    }
    if (off < arg->attr.size) {
        *changed = true;
        if (!file_truncate(arg->volume, arg->id, off, err))
            return false;
    }
    return !*changed || file_modified(arg->volume, arg->id, err);
}

static bool edit_file(struct edit *edit, struct call *call, struct error *err)
{
    struct file_arg *arg = &edit->arg;
    if (!file_writable(arg->volume, err))
        return false;
    edit->exists = path_lookup(arg->volume, arg->path, true, &arg->id, err);
    if (!edit->exists && err->kind != E_NOENT)
        return false;
    if (edit->exists && !file_attr(arg->volume, arg->id, &arg->attr, err))
        return false;
    if (edit->exists && !S_ISREG(arg->attr.mode))
        return fail(err, E_INVALID, "is a %s", file_type_name(arg->attr.mode));
    if (!make_copy(edit, err) || !run_editor(edit->path, err))
        return false;
    /* Editors may write a new file under the name: look at what has it now. */
    int fd = open(edit->path, O_RDONLY | O_CLOEXEC);
    struct stat after;
    bool changed = false;
    if (fd < 0 || fstat(fd, &after) != 0)
        return fail_errno(err, errno, "%s", edit->path);
    bool ok = edit->exists || after.st_size == 0 || file_arg_create(arg, err);
    if (ok && (edit->exists || after.st_size > 0))
        ok = write_back(edit, fd, &changed, err);
    close(fd);
    if (ok && !changed)
        call_note(call, "%s: unchanged", arg->shown);
    return ok;
}

static bool run_edit(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    struct edit edit = {.fd = -1};
    bool ok = file_arg_parse(session, call->args[0], &edit.arg, err);
    if (ok)
        ok = edit_file(&edit, call, err) || because(err, "%s", edit.arg.shown);
    if (edit.fd >= 0) {
        close(edit.fd);
        unlink(edit.path);
    }
    file_arg_close(&edit.arg);
    return ok;
}

static const struct arg edit_args[] = {
    {"FILE", ARG_PATH, ARG_ONE, "the file; a new one is made when something is written", NULL},
    {0},
};

const struct command edit_command = {
    .name = "edit",
    .group = "Files",
    .summary = "edit a file",
    .details =
        "$VISUAL or $EDITOR is given a temporary copy; afterwards only the blocks that differ are written "
        "back. When the editor fails nothing is.",
    .examples = "edit /etc/fstab",
    .args = edit_args,
    .needs = NEEDS_IMAGE | CHANGES,
    .aliases = "vi nano emacs",
    .run = run_edit,
};
