/* find: files by what is known of them. */
#include "find.h"

#include "bytes.h"
#include "clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool find_visit(struct find *find, struct walk *walk, struct find_file *file, struct error *err)
{
    enum walk_event event = file->entry->event;
    bool yes, directory = event == WALK_DIR, turn = event != (find->depth_first ? WALK_DIR : WALK_LEAVE);
    if (directory && file->depth >= find->max_depth)
        walk_skip(walk);
    /* Directories that are not gone into are not left either: with -depth this is their turn. */
    bool at_limit = directory && find->depth_first && file->depth >= find->max_depth;
    if ((!turn && !at_limit) || file->depth < find->min_depth || file->depth > find->max_depth)
        return true;
    bool ok = find_eval(find, find->root, file, &yes, err);
    if (file->prune && directory && !find->depth_first)
        walk_skip(walk);
    if (file->removed && file->entry->depth)
        walk_removed(walk);
    if (ok)
        return true;
    if (stops_everything(err->kind) || err->kind == E_USAGE)
        return false;
    call_complain(find->call, file->entry->path, err);
    return true;
}

static bool find_at(struct find *find, const char *text, struct error *err)
{
    struct file_arg start;
    /* A command run for a file may change its directory: that one is read whole beforehand. */
    unsigned flags = (find_needs_attr(find) ? WALK_ATTR : 0) | (find->has_exec ? WALK_SORTED : 0);
    bool ok = file_arg_open(find->session, text, find->follow != 'P', &start, err);
    if (!ok && find->follow != 'P' && err->kind == E_NOENT) { /* a link that leads nowhere is itself */
        file_arg_close(&start);
        ok = file_arg_open(find->session, text, false, &start, err);
    }
    ok = ok && find_walk(find, &start, flags, err);
    file_arg_close(&start);
    return ok;
}

static bool begins_expression(const char *word)
{
    return word[0] == '-' || strcmp(word, "(") == 0 || strcmp(word, "!") == 0;
}

static bool is_follow_option(const char *word)
{
    return word[0] == '-' && word[1] && strchr("PHL", word[1]) && !word[2];
}

/* An error that belongs to one place to start from is told, and the next one is tried. */
static bool find_from(struct find *find, const char *text, struct error *err)
{
    if (find->quit || find_at(find, text, err))
        return true;
    if (stops_everything(err->kind) || err->kind == E_USAGE)
        return false;
    call_complain(find->call, NULL, err);
    return true;
}

static bool find_everywhere(struct find *find, int first, int end, struct error *err)
{
    static char here[] = ".";
    if (find->starts && end > first)
        return fail(err, E_USAGE, "-files0-from says where to look: %s cannot be given as well",
                    find->call->args[first]);
    if (find->starts)
        return find_each_start(find, find_from, err) && find_run_batch(find, err);
    for (int i = first; i < MAX_OF(end, first + 1); i++)
        if (!find_from(find, end > first ? find->call->args[i] : here, err))
            return false;
    return find_run_batch(find, err);
}

static bool run_find(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct find find = {.session = session,
                        .call = call,
                        .out = out,
                        .max_depth = UINT64_MAX,
                        .now = clock_now(),
                        .follow = 'P',
                        .regex_flags = REG_EXTENDED};
    int first = 0;
    while (first < call->argc && is_follow_option(call->args[first]))
        find.follow = call->args[first++][1];
    int paths = first;
    while (paths < call->argc && !begins_expression(call->args[paths]))
        paths++;
    bool ok = find_parse(&find, paths, err);
    if (ok && output_json(out))
        find.list = output_report_list(out);
    ok = ok && find_everywhere(&find, first, paths, err);
    struct error closing;
    if (!find_close_outputs(&find, &closing) && ok) {
        *err = closing;
        ok = false;
    }
    find_free(&find);
    return ok && call_result(call, err);
}

static const struct arg find_args[] = {
    {"PATH", ARG_PATH, ARG_ANY, "where to look; the current directory when left out", NULL},
    {"EXPRESSION", ARG_WORD, ARG_ANY, "tests and actions, see below", NULL},
    {0},
};

const struct command find_command = {
    .name = "find",
    .group = "Files",
    .summary = "find files by name, type, size, time, owner and more",
    .details =
        "Tests: -name -iname -path -ipath GLOB, -regex -iregex ERE, -lname -ilname GLOB, -type -xtype "
        "bcdpfls, "
        "-size [+-]N[cwbkMG], -empty, -perm [-/]MODE, -readable -writable -executable (for anybody), -user "
        "-group NAME, -uid -gid N, -nouser -nogroup, -links N, -inum N, -samefile FILE, -fstype TYPE, -mtime "
        "-atime -ctime -used N (days), -mmin -amin -cmin N, -newer -anewer -cnewer FILE, -newerXY FILE (X "
        "and Y "
        "of a B c m, or t for Y: TIME), -true -false. Numbers: +N more, -N less.\n"
        "Options: -L follows symbolic links, -H those among the arguments (both before them); -maxdepth N, "
        "-mindepth N, -depth, -prune, -quit, -daystart, -regextype posix-basic or posix-extended (the "
        "default), -files0-from HOSTFILE (the places to look at, each ended by a NUL byte).\n"
        "Operators: ( ), ! or -not, -a, -o, a comma; quote ( ) and ; for the command language.\n"
        "Actions: -print, -print0, -printf FORMAT, -ls, -delete; -fprint, -fprint0, -fls HOSTFILE and "
        "-fprintf "
        "HOSTFILE FORMAT print into a file of the host; -exec COMMAND {} \\; or {} +, where COMMAND is one "
        "of "
        "dish, -execdir in the file's directory, -ok and -okdir after asking.",
    .examples = "find /etc -name '*.conf' -newermt 2024-01-01\nfind / -type f -size +1M -ls\n"
                "find /var -name '*.gz' -delete\nfind / -perm -4000 -exec chmod u-s {} \\;",
    .args = find_args,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS | RAW_WORDS | READS_INPUT,
    .run = run_find,
};
