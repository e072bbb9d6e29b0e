/* ln: second names and symbolic links. */
#include "files.h"

#include "alloc.h"
#include "path.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct ln {
    struct session *session;
    struct call *call;
    struct output *out;
    bool symbolic, force, no_follow, target_is_file;
};

static void say_made(struct ln *ln, const char *name, const char *target)
{
    if (!call_has(ln->call, "v") || output_json(ln->out))
        return;
    output_name(ln->out, name);
    output_printf(ln->out, ln->symbolic ? " -> " : " => ");
    output_name(ln->out, target);
    output_write(ln->out, "\n", 1);
}

/* Removes what has the name, when -f says so. source: the file that is linked; it must not go. */
static bool make_room(struct ln *ln, struct volume *volume, fs_id dir, const char *name, fs_id source,
                      struct error *err)
{
    fs_id old;
    struct fs_attr attr;
    if (!file_lookup(volume, dir, name, &old, err))
        return err->kind == E_NOENT;
    if (!ln->force)
        return fail(err, E_EXIST, "file exists");
    if (old == source)
        return fail(err, E_INVALID, "this is the same file");
    if (!file_attr(volume, old, &attr, err))
        return false;
    if (S_ISDIR(attr.mode))
        return fail(err, E_ISDIR, "is a directory");
    return file_remove(volume, dir, name, err);
}

static bool link_at(struct ln *ln, struct volume *volume, fs_id dir, const char *name, const char *target,
                    struct error *err)
{
    if (ln->symbolic) {
        struct fs_attr attr = fresh_attr(S_IFLNK | 0777);
        fs_id id;
        if (!*target)
            return fail(err, E_INVALID, "a symbolic link must point to something");
        return make_room(ln, volume, dir, name, 0, err) &&
               file_create(volume, dir, name, &attr, target, &id, err);
    }
    struct file_arg source;
    bool ok = file_arg_open(ln->session, target, call_has(ln->call, "L"), &source, err);
    if (ok && source.volume != volume)
        ok = fail(err, E_INVALID, "%s is on another volume; a file can have names on one only", source.shown);
    ok = ok && make_room(ln, volume, dir, name, source.id, err) &&
         file_link(volume, source.id, dir, name, err);
    file_arg_close(&source);
    return ok;
}

/* The last component of a target, which is the link's name inside a directory. */
static char *base_of(const char *target, struct error *err)
{
    size_t end = strlen(target);
    while (end > 1 && target[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && target[start - 1] != '/' && target[start - 1] != ':')
        start--;
    return mem_string_n(target + start, end - start, err);
}

static bool link_into(struct ln *ln, const struct file_arg *dest, const char *target, struct error *err)
{
    char *name = base_of(target, err);
    bool ok = name && link_at(ln, dest->volume, dest->id, name, target, err);
    if (ok)
        say_made(ln, name, target);
    else if (name)
        because(err, "%s/%s", dest->shown, name);
    free(name);
    return ok;
}

static bool link_as(struct ln *ln, const char *text, const char *target, struct error *err)
{
    struct file_arg dest;
    fs_id dir;
    char name[1024];
    bool ok = file_arg_parse(ln->session, text, &dest, err);
    if (ok && (!file_writable(dest.volume, err) ||
               !path_parent(dest.volume, dest.path, &dir, name, sizeof name, err) ||
               !link_at(ln, dest.volume, dir, name, target, err)))
        ok = because(err, "%s", dest.shown);
    if (ok)
        say_made(ln, dest.shown, target);
    file_arg_close(&dest);
    return ok;
}

static bool run_ln(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct ln ln = {.session = session,
                    .call = call,
                    .out = out,
                    .symbolic = call_has(call, "s") || strcmp(call->invoked_as, "ln-s") == 0,
                    .force = call_has(call, "f"),
                    .no_follow = call_has(call, "n"),
                    .target_is_file = call_has(call, "T")};
    static char here[] = ".";
    int targets = call->argc > 1 ? call->argc - 1 : 1;
    const char *last = call->argc > 1 ? call->args[call->argc - 1] : here;
    struct file_arg dest;
    bool found = !ln.target_is_file && file_arg_open(session, last, !ln.no_follow, &dest, err);
    bool directory = found && S_ISDIR(dest.attr.mode);
    bool ok = true;
    if (!directory && targets > 1)
        ok = fail(err, E_NOTDIR, "%s: not a directory", last);
    for (int i = 0; ok && i < targets; i++)
        ok = directory ? link_into(&ln, &dest, call->args[i], err) : link_as(&ln, last, call->args[i], err);
    if (!ln.target_is_file)
        file_arg_close(&dest);
    return ok;
}

static const struct arg ln_args[] = {
    {"TARGET", ARG_PATH_NEW, ARG_MANY, "the existing file, or the text of a symbolic link", NULL},
    {"NAME", ARG_PATH_NEW, ARG_OPTIONAL, "the new name, or a directory for it", NULL},
    {0},
};

static const struct flag ln_flags[] = {
    {'s', "symbolic", NULL, ARG_WORD, "symbolic links"},
    {'f', "force", NULL, ARG_WORD, "replace what has the name"},
    {'n', "no-dereference", NULL, ARG_WORD, "a NAME that is a link to a directory is replaced, not entered"},
    {'T', "no-target-directory", NULL, ARG_WORD, "NAME is the name, never a directory to put it in"},
    {'L', "logical", NULL, ARG_WORD, "of a target that is a symbolic link, what it points to"},
    {'v', "verbose", NULL, ARG_WORD, "name what is made"},
    {0},
};

const struct command ln_command = {
    .name = "ln",
    .group = "Files",
    .summary = "give files second names; make symbolic links",
    .examples = "ln /bin/busybox /bin/sh\nln -sf ../usr/lib/os-release /etc/os-release",
    .args = ln_args,
    .flags = ln_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_ln,
};
