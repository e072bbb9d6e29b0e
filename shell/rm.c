/* rm, rmdir and mv. */
#include "copying.h"

#include "alloc.h"
#include "path.h"
#include "rm_ask.h"
#include "walk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- rm ---- */

struct rm {
    struct call *call;
    struct output *out;
    bool recursive, force, directories;
    char asks; /* 'i': for each; 'I': once, before much is lost; 0: never */
};

static void say_removed(void *arg, const char *path, bool directory)
{
    struct rm *rm = arg;
    if (!call_has(rm->call, "v") || output_json(rm->out))
        return;
    output_printf(rm->out, directory ? "removed directory '" : "removed '");
    output_name(rm->out, path);
    output_printf(rm->out, "'\n");
}

static bool rm_one(struct file_arg *arg, void *opaque, struct error *err)
{
    struct rm *rm = opaque;
    fs_id dir, id;
    char name[1024];
    if (!file_writable(arg->volume, err))
        return false;
    if (!path_parent(arg->volume, arg->path, &dir, name, sizeof name, err) ||
        !file_lookup(arg->volume, dir, name, &id, err))
        return rm->force && err->kind == E_NOENT;
    /* Asked by type, not with the inode: a file whose inode is damaged can be removed. */
    struct fs_attr attr = {0};
    struct error ignored;
    bool known = file_attr(arg->volume, id, &attr, &ignored);
    bool directory = known && S_ISDIR(attr.mode);
    size_t len = strlen(arg->path);
    if (known && !directory && len > 1 && arg->path[len - 1] == '/')
        return fail(err, E_NOTDIR, "not a directory");
    if (directory && !rm->recursive && !rm->directories)
        return fail(err, E_ISDIR, "is a directory (-r removes directories)");
    if (rm->asks == 'i' && known) {
        arg->told = true;
        arg->id = id;
        return rm_ask(rm->call, arg, dir, name, directory && rm->recursive, say_removed, rm, err);
    }
    if (directory && rm->recursive) {
        arg->told = true;
        return tree_remove(arg->volume, dir, name, arg->shown, call_has(rm->call, "v") ? say_removed : NULL,
                           rm, err);
    }
    if (!file_remove(arg->volume, dir, name, err))
        return false;
    say_removed(rm, arg->shown, directory);
    return true;
}

static bool run_rm(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct rm rm = {.call = call,
                    .out = out,
                    .recursive = call_has(call, "r") || call_has(call, "R"),
                    .directories = call_has(call, "d")};
    for (int i = 0; i < call->given_count; i++) { /* of -f, -i and -I the last one counts */
        char letter = call->given[i].flag->letter;
        rm.force = letter == 'f' || (rm.force && letter != 'i' && letter != 'I');
        rm.asks = letter == 'i' || letter == 'I' ? letter : letter == 'f' ? 0 : rm.asks;
    }
    bool yes = true;
    if (rm.asks == 'I' && (call->argc > 3 || rm.recursive) &&
        !call_confirm(call, &yes, err, "rm: remove %d argument%s%s? ", call->argc, call->argc == 1 ? "" : "s",
                      rm.recursive ? " recursively" : ""))
        return false;
    return !yes || each_place(session, call, 0, rm_one, &rm, err);
}

static const struct arg rm_args[] = {
    {"PATH", ARG_PATH, ARG_MANY, "what to remove", NULL},
    {0},
};

static const struct flag rm_flags[] = {
    {'r', "recursive", NULL, ARG_WORD, "directories with all that is in them"},
    {'R', NULL, NULL, ARG_WORD, "the same"},
    {'f', "force", NULL, ARG_WORD, "no error when there is none"},
    {'i', NULL, NULL, ARG_WORD, "ask for each"},
    {'I', NULL, NULL, ARG_WORD, "ask once: before more than three are removed, or with -r"},
    {'d', "dir", NULL, ARG_WORD, "empty directories"},
    {'v', "verbose", NULL, ARG_WORD, "name what is removed"},
    {0},
};

const struct command rm_command = {
    .name = "rm",
    .group = "Files",
    .summary = "remove files",
    .details =
        "All of it or nothing: when one of the files cannot be removed, none is. Answers to -i and -I are "
        "lines of the command's input; what begins with y is a yes.",
    .examples = "rm *.log\nrm -rf /var/cache\nrm -- -rf",
    .args = rm_args,
    .flags = rm_flags,
    .needs = NEEDS_IMAGE | CHANGES | READS_INPUT,
    .run = run_rm,
};

/* ---- rmdir ---- */

static bool remove_directory(struct volume *volume, const char *path, struct error *err)
{
    fs_id dir, id;
    struct fs_attr attr;
    char name[1024];
    if (!path_parent(volume, path, &dir, name, sizeof name, err) ||
        !file_lookup(volume, dir, name, &id, err) || !file_attr(volume, id, &attr, err))
        return false;
    if (!S_ISDIR(attr.mode))
        return fail(err, E_NOTDIR, "not a directory");
    return file_remove(volume, dir, name, err);
}

static bool rmdir_one(struct file_arg *arg, void *opaque, struct error *err)
{
    bool *parents = opaque;
    char *path = mem_string(arg->path, err);
    bool ok = path && file_writable(arg->volume, err) && remove_directory(arg->volume, path, err);
    while (ok && *parents) {
        char *slash = strrchr(path, '/');
        if (slash == path)
            break;
        *slash = 0;
        if (slash[1]) /* not for a trailing slash */
            ok = remove_directory(arg->volume, path, err);
    }
    free(path);
    return ok;
}

static bool run_rmdir(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    bool parents = call_has(call, "p");
    return each_place(session, call, 0, rmdir_one, &parents, err);
}

static const struct arg rmdir_args[] = {
    {"DIR", ARG_PATH, ARG_MANY, "empty directories", NULL},
    {0},
};

static const struct flag rmdir_flags[] = {
    {'p', "parents", NULL, ARG_WORD, "and the directories above it"},
    {0},
};

const struct command rmdir_command = {
    .name = "rmdir",
    .group = "Files",
    .summary = "remove empty directories",
    .examples = "rmdir /mnt/old\nrmdir -p /srv/a/b",
    .args = rmdir_args,
    .flags = rmdir_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_rmdir,
};

/* ---- mv ---- */

struct mv {
    struct session *session;
    struct call *call;
    struct output *out;
    bool no_clobber;
};

/* Where a source goes: the directory and the name in it. */
struct landing {
    struct volume *volume;
    fs_id dir;
    char name[1024];
};

static bool find_landing(const struct file_arg *source, const struct file_arg *dest, bool into,
                         struct landing *out, struct error *err)
{
    out->volume = dest->volume;
    if (!into)
        return path_parent(dest->volume, dest->path, &out->dir, out->name, sizeof out->name, err);
    fs_id unused;
    out->dir = dest->id;
    return path_parent(source->volume, source->path, &unused, out->name, sizeof out->name, err);
}

/* To another volume: a faithful copy, then the source goes. */
static bool move_across(struct mv *mv, const struct file_arg *source, const struct file_arg *dest,
                        struct error *err)
{
    struct copying copying;
    fs_id dir;
    char name[1024];
    bool ok = copying_begin(&copying, mv->session, mv->call, mv->out, dest->volume, err);
    copying.options.archive = copying.options.recursive = true;
    copying.options.did = NULL;
    const struct copy_end from = {.volume = source->volume, .path = source->path, .shown = source->shown};
    const struct copy_end to = {.volume = dest->volume, .path = dest->path, .shown = dest->shown};
    ok = ok && copy_run(mv->session, &from, 1, &to, &copying.options, &copying.tally, err) &&
         call_result(mv->call, err) &&
         path_parent(source->volume, source->path, &dir, name, sizeof name, err) &&
         tree_remove(source->volume, dir, name, source->shown, NULL, NULL, err);
    copying_end(&copying);
    return ok;
}

/* A new name that ends in a slash is for directories only. */
static bool fits_slash(const struct file_arg *source, const struct file_arg *dest)
{
    struct fs_attr attr;
    struct error ignored;
    size_t len = strlen(dest->path);
    if (len < 2 || dest->path[len - 1] != '/')
        return true;
    return file_attr(source->volume, source->id, &attr, &ignored) && S_ISDIR(attr.mode);
}

static bool move_one(struct mv *mv, const char *text, const struct file_arg *dest, bool into,
                     struct error *err)
{
    struct file_arg source;
    struct landing landing;
    fs_id dir, there;
    char name[1024];
    bool ok = file_arg_parse(mv->session, text, &source, err);
    ok = ok &&
         ((path_parent(source.volume, source.path, &dir, name, sizeof name, err) &&
           file_lookup(source.volume, dir, name, &source.id, err) && file_writable(source.volume, err)) ||
          because(err, "%s", source.shown));
    ok = ok && (find_landing(&source, dest, into, &landing, err) || because(err, "%s", dest->shown));
    if (ok && !into && !fits_slash(&source, dest))
        ok = fail(err, E_NOTDIR, "%s: not a directory", dest->shown);
    bool skip = ok && mv->no_clobber && file_lookup(landing.volume, landing.dir, landing.name, &there, err);
    if (ok && !skip && landing.volume != source.volume)
        ok = move_across(mv, &source, dest, err);
    else if (ok && !skip)
        ok = file_rename(source.volume, dir, name, landing.dir, landing.name, err) ||
             because(err, "%s to %s", source.shown, dest->shown);
    if (ok && !skip && call_has(mv->call, "v") && !output_json(mv->out)) {
        output_name(mv->out, source.shown);
        output_write(mv->out, " -> ", 4);
        output_name(mv->out, dest->shown);
        output_write(mv->out, "\n", 1);
    }
    file_arg_close(&source);
    return ok;
}

static bool run_mv(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct mv mv = {.session = session, .call = call, .out = out, .no_clobber = call_has(call, "n")};
    const char *last = call->args[call->argc - 1];
    struct file_arg dest;
    bool ok = file_arg_open(session, last, true, &dest, err);
    bool into = ok && S_ISDIR(dest.attr.mode) && !call_has(call, "T"), target = call_has(call, "t");
    if (target && call_has(call, "T")) {
        file_arg_close(&dest);
        return fail(err, E_USAGE, "-t and -T contradict each other");
    }
    if (!ok && err->kind == E_NOENT) {
        file_arg_close(&dest);
        ok = file_arg_parse(session, last, &dest, err);
    }
    if (ok && !into && (call->argc > 2 || target))
        ok = fail(err, E_NOTDIR, "%s: not a directory", dest.shown);
    for (int i = 0; ok && i < call->argc - 1; i++)
        ok = move_one(&mv, call->args[i], &dest, into, err);
    file_arg_close(&dest);
    return ok;
}

static const struct arg mv_args[] = {
    {"SRC", ARG_PATH, ARG_MANY, "files and directories of any open image", NULL},
    {"DEST", ARG_PATH_NEW, ARG_ONE, "a directory, or the new name", NULL},
    {0},
};

static const struct flag mv_flags[] = {
    {'n', "no-clobber", NULL, ARG_WORD, "leave files alone that exist already"},
    {'f', "force", NULL, ARG_WORD, "accepted for mv's sake"},
    {'T', "no-target-directory", NULL, ARG_WORD, "DEST is the new name, never a directory to move into"},
    {'t', "target-directory", "DIR", ARG_PATH, "move into this directory; all arguments are SRC"},
    {'v', "verbose", NULL, ARG_WORD, "name what is moved"},
    {0, "lossy", NULL, ARG_WORD, "to another volume, although it cannot keep everything"},
    {0},
};

const struct command mv_command = {
    .name = "mv",
    .group = "Files",
    .summary = "rename and move files",
    .details = "To another volume or image it is a copy that keeps everything (cp -a), then the source goes.",
    .examples = "mv /etc/motd /etc/motd.old\nmv *.log /var/log\nmv 1:/EFI/old 2:/backup",
    .last_from = "t",
    .args = mv_args,
    .flags = mv_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_mv,
};
