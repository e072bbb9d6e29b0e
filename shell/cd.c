/* cd, pwd, realpath and readlink: where one is. */
#include "files.h"

#include "alloc.h"
#include "path.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- cd ---- */

static bool run_cd(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    static const char root[] = "/";
    const char *text = call->argc ? call->args[0] : root;
    struct file_arg arg;
    char *real = NULL;
    bool ok = file_arg_open(session, text, true, &arg, err);
    if (ok && !S_ISDIR(arg.attr.mode))
        ok = fail(err, E_NOTDIR, "%s: not a directory", arg.shown);
    ok = ok && path_real(arg.volume, arg.path, &real, err);
    if (ok) {
        free(arg.volume->cwd);
        arg.volume->cwd = real;
        session->image = arg.volume->image;
        session->volume = arg.volume;
    }
    file_arg_close(&arg);
    return ok;
}

static const struct arg cd_args[] = {
    {"DIR", ARG_PATH, ARG_OPTIONAL, "a directory; the root when left out", NULL},
    {0},
};

const struct command cd_command = {
    .name = "cd",
    .group = "Files",
    .summary = "change the current directory",
    .details = "Each volume has its own current directory; its volume becomes the current one.",
    .examples = "cd /etc\ncd 2:/home\ncd ..",
    .args = cd_args,
    .needs = NEEDS_IMAGE,
    .run = run_cd,
};

/* ---- pwd ---- */

static bool run_pwd(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)call;
    struct file_arg arg;
    bool ok = file_arg_parse(session, ".", &arg, err);
    if (ok && output_json(out)) {
        struct report *report = output_report(out);
        report_text(report, "path", arg.path);
        report_number(report, "volume", arg.volume->number);
        report_text(report, "image", arg.volume->image->name);
    } else if (ok) {
        output_name(out, arg.shown);
        output_write(out, "\n", 1);
    }
    file_arg_close(&arg);
    return ok;
}

const struct command pwd_command = {
    .name = "pwd",
    .group = "Files",
    .summary = "print the current directory",
    .details = "With its volume in front: 2:/etc.",
    .examples = "cd 2:/etc\npwd",
    .needs = NEEDS_IMAGE,
    .run = run_pwd,
};

/* ---- readlink, realpath ---- */

struct naming {
    struct output *out;
    struct report *list;
    bool zero, no_newline;
};

static void print_path(struct naming *naming, const struct file_arg *arg, const char *text)
{
    if (naming->list) {
        report_open(naming->list, NULL);
        report_text(naming->list, "path", arg->typed);
        report_text(naming->list, "target", text);
        report_close(naming->list);
        return;
    }
    if (naming->zero)
        output_write(naming->out, text, strlen(text) + 1);
    else
        output_name(naming->out, text);
    if (!naming->zero && !naming->no_newline)
        output_write(naming->out, "\n", 1);
}

static bool print_real(struct file_arg *arg, void *opaque, struct error *err)
{
    struct naming *naming = opaque;
    char *real;
    if (!path_real(arg->volume, arg->path, &real, err))
        return false;
    print_path(naming, arg, real);
    free(real);
    return true;
}

static bool print_link(struct file_arg *arg, void *opaque, struct error *err)
{
    struct naming *naming = opaque;
    char *target;
    if (!S_ISLNK(arg->attr.mode))
        return fail(err, E_INVALID, "not a symbolic link");
    if (!file_readlink(arg->volume, arg->id, &target, err))
        return false;
    print_path(naming, arg, target);
    free(target);
    return true;
}

static bool run_naming(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct naming naming = {.out = out, .zero = call_has(call, "z"), .no_newline = call_has(call, "n")};
    if (output_json(out))
        naming.list = output_report_list(out);
    bool real = strcmp(call->command->name, "realpath") == 0 || call_has(call, "f") || call_has(call, "e");
    return real ? each_place(session, call, 0, print_real, &naming, err)
                : each_file(session, call, 0, false, print_link, &naming, err);
}

static const struct arg naming_args[] = {
    {"PATH", ARG_PATH, ARG_MANY, "files of the image", NULL},
    {0},
};

static const struct flag readlink_flags[] = {
    {'f', "canonicalize", NULL, ARG_WORD, "the whole path without symbolic links, . and .."},
    {'e', "canonicalize-existing", NULL, ARG_WORD, "the same"},
    {'n', "no-newline", NULL, ARG_WORD, "no newline behind it"},
    {'z', "zero", NULL, ARG_WORD, "a NUL byte instead of a newline"},
    {0},
};

static const struct flag realpath_flags[] = {
    {'e', "canonicalize-existing", NULL, ARG_WORD, "accepted: the file must exist anyway"},
    {'z', "zero", NULL, ARG_WORD, "a NUL byte instead of a newline"},
    {0},
};

const struct command readlink_command = {
    .name = "readlink",
    .group = "Files",
    .summary = "print what a symbolic link points to",
    .examples = "readlink /etc/localtime\nreadlink -f /vmlinuz",
    .args = naming_args,
    .flags = readlink_flags,
    .needs = NEEDS_IMAGE,
    .run = run_naming,
};

const struct command realpath_command = {
    .name = "realpath",
    .group = "Files",
    .summary = "print a path without symbolic links, dots and double slashes",
    .examples = "realpath /etc/mtab",
    .args = naming_args,
    .flags = realpath_flags,
    .needs = NEEDS_IMAGE,
    .run = run_naming,
};
