/* ln: second names and symbolic links. */
#include "files.h"

#include "alloc.h"
#include "path.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct ln {
    struct session *session;
    struct call *call;
    struct output *out;
    bool symbolic, force, no_follow, target_is_file;
    bool relative, into; /* into: -t names the directory */
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

/* What the path really is; of one that is not there, as far as its directory. */
static char *real_path(struct volume *volume, const char *path, struct error *err)
{
    char *real = NULL, *above = NULL, *name = NULL, *holder = NULL;
    if (path_real(volume, path, &real, err) || err->kind != E_NOENT)
        return real;
    if (path_split(path, &above, &name, err) && path_real(volume, above, &holder, err))
        real = mem_printf(err, "%s%s%s", holder, holder[1] ? "/" : "", name);
    free(above);
    free(name);
    free(holder);
    return real;
}

/* The path from one directory to something, both without links, "." and "..". */
static char *relative_path(const char *from, const char *to, struct error *err)
{
    struct text way = {0};
    size_t same = 0; /* up to the last slash where both agree */
    for (size_t i = 0;; i++) {
        bool from_ends = !from[i] || from[i] == '/', to_ends = !to[i] || to[i] == '/';
        if (from_ends && to_ends)
            same = i;
        if (from[i] != to[i] || !from[i])
            break;
    }
    const char *up = from + same, *down = to + same;
    for (; *up; up++)
        if (*up == '/' && up[1])
            text_string(&way, way.len ? "/.." : "..");
    while (*down == '/')
        down++;
    if (*down && way.len)
        text_char(&way, '/');
    text_string(&way, *down || way.len ? down : ".");
    char *out = text_ok(&way, err) ? mem_string(text_get(&way), err) : NULL;
    text_free(&way);
    return out;
}

/* -r: the target as it is reached from the directory that the link is in. */
static char *way_to(struct ln *ln, struct volume *volume, const char *holder, const char *target,
                    struct error *err)
{
    struct file_arg file;
    char *from = NULL, *to = NULL, *way = NULL;
    bool ok = file_arg_parse(ln->session, target, &file, err);
    if (ok && file.volume != volume)
        ok = fail(err, E_INVALID, "%s is on another volume, which no path leads to", file.shown);
    if (ok && path_real(volume, holder, &from, err) && (to = real_path(volume, file.path, err)))
        way = relative_path(from, to, err);
    free(from);
    free(to);
    file_arg_close(&file);
    return way;
}

/* holder: the path of dir. */
static bool link_at(struct ln *ln, struct volume *volume, fs_id dir, const char *holder, const char *name,
                    const char *target, struct error *err)
{
    if (ln->symbolic) {
        struct fs_attr attr = fresh_attr(S_IFLNK | 0777);
        fs_id id;
        if (!*target)
            return fail(err, E_INVALID, "a symbolic link must point to something");
        char *way = ln->relative ? way_to(ln, volume, holder, target, err) : NULL;
        bool made = (!ln->relative || way) && make_room(ln, volume, dir, name, 0, err) &&
                    file_create(volume, dir, name, &attr, way ? way : target, &id, err);
        free(way);
        return made;
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
    bool ok = name && link_at(ln, dest->volume, dest->id, dest->path, name, target, err);
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
    char name[1024], *above = NULL, *last = NULL;
    bool ok = file_arg_parse(ln->session, text, &dest, err);
    if (ok && (!file_writable(dest.volume, err) ||
               !path_parent(dest.volume, dest.path, &dir, name, sizeof name, err) ||
               !path_split(dest.path, &above, &last, err) ||
               !link_at(ln, dest.volume, dir, above, name, target, err)))
        ok = because(err, "%s", dest.shown);
    if (ok)
        say_made(ln, dest.shown, target);
    free(above);
    free(last);
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
                    .target_is_file = call_has(call, "T"),
                    .relative = call_has(call, "r"),
                    .into = call_has(call, "t")};
    if (ln.relative && !ln.symbolic)
        return fail(err, E_USAGE, "-r is about symbolic links: give -s as well");
    if (ln.into && ln.target_is_file)
        return fail(err, E_USAGE, "-t and -T contradict each other");
    static char here[] = ".";
    int targets = call->argc > 1 ? call->argc - 1 : 1;
    const char *last = call->argc > 1 ? call->args[call->argc - 1] : here;
    struct file_arg dest;
    bool found = !ln.target_is_file && file_arg_open(session, last, !ln.no_follow, &dest, err);
    bool directory = found && S_ISDIR(dest.attr.mode);
    bool ok = true;
    if (!directory && (targets > 1 || ln.into))
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
    {'t', "target-directory", "DIR", ARG_PATH, "make them in this directory; all arguments are TARGET"},
    {'r', "relative", NULL, ARG_WORD, "with -s: how the target is reached from the link's directory"},
    {'L', "logical", NULL, ARG_WORD, "of a target that is a symbolic link, what it points to"},
    {'v', "verbose", NULL, ARG_WORD, "name what is made"},
    {0},
};

const struct command ln_command = {
    .name = "ln",
    .group = "Files",
    .summary = "give files second names; make symbolic links",
    .examples = "ln /bin/busybox /bin/sh\nln -sf ../usr/lib/os-release /etc/os-release\n"
                "ln -sr /usr/bin/vi /etc/alternatives/editor",
    .last_from = "t",
    .args = ln_args,
    .flags = ln_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_ln,
};
