/* find: files by what is known of them. */
#include "find.h"

#include "bytes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* One entry at its turn; *prune: do not go in. */
static bool visit(struct find *find, const struct file_arg *start, struct walk *walk,
                  const struct walk_entry *entry, struct error *err)
{
    struct find_file file = {.start = start, .entry = entry};
    bool yes;
    bool directory = entry->event == WALK_DIR,
         turn = entry->event != (find->depth_first ? WALK_DIR : WALK_LEAVE);
    if (directory && entry->depth >= find->max_depth)
        walk_skip(walk);
    /* Directories that are not gone into are not left either: with -depth this is their turn. */
    bool at_limit = directory && find->depth_first && entry->depth >= find->max_depth;
    if ((!turn && !at_limit) || entry->depth < find->min_depth || entry->depth > find->max_depth)
        return true;
    bool ok = find_eval(find, find->root, &file, &yes, err);
    if (file.prune && directory && !find->depth_first)
        walk_skip(walk);
    if (file.removed && entry->depth)
        walk_removed(walk);
    return ok;
}

static bool find_in(struct find *find, const struct file_arg *start, struct walk *walk, struct error *err)
{
    struct walk_entry *entry;
    while (!find->quit && !output_closed(find->out)) {
        if (!walk_next(walk, &entry, err))
            return false;
        if (entry->event == WALK_END)
            break;
        if (entry->event == WALK_FAULT) {
            call_complain(find->call, entry->path, &entry->fault);
            continue;
        }
        if (visit(find, start, walk, entry, err))
            continue;
        if (stops_everything(err->kind) || err->kind == E_USAGE)
            return false;
        call_complain(find->call, entry->path, err);
    }
    return true;
}

static bool find_at(struct find *find, const char *text, struct error *err)
{
    struct file_arg start;
    struct walk *walk = NULL;
    /* A command run for a file may change its directory: that one is read whole beforehand. */
    unsigned flags = WALK_ATTR | (find->has_exec ? WALK_SORTED : 0);
    bool ok = file_arg_open(find->session, text, false, &start, err) &&
              walk_new(&walk, start.volume, start.typed, start.id, flags, err) &&
              find_in(find, &start, walk, err);
    walk_free(walk);
    file_arg_close(&start);
    return ok;
}

static bool begins_expression(const char *word)
{
    return word[0] == '-' || strcmp(word, "(") == 0 || strcmp(word, "!") == 0;
}

static bool find_everywhere(struct find *find, int paths, struct error *err)
{
    static char here[] = ".";
    for (int i = 0; i < MAX_OF(paths, 1) && !find->quit; i++) {
        if (find_at(find, paths ? find->call->args[i] : here, err))
            continue;
        if (stops_everything(err->kind) || err->kind == E_USAGE)
            return false;
        call_complain(find->call, NULL, err);
    }
    return find_run_batch(find, err);
}

static bool run_find(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct find find = {
        .session = session, .call = call, .out = out, .max_depth = UINT64_MAX, .now = session_now()};
    int paths = 0;
    while (paths < call->argc && !begins_expression(call->args[paths]))
        paths++;
    bool ok = find_parse(&find, paths, err);
    if (ok && output_json(out))
        find.list = output_report_list(out);
    ok = ok && find_everywhere(&find, paths, err);
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
        "Tests: -name -iname -path -ipath GLOB, -regex -iregex ERE, -lname GLOB, -type bcdpfls, "
        "-size [+-]N[cwbkMG], -empty, -perm [-/]MODE, -executable, -user -group NAME, -uid -gid N, -nouser "
        "-nogroup, -links N, -inum N, -samefile FILE, -mtime -atime -ctime N (days), -mmin -amin -cmin N, "
        "-newer -anewer -cnewer FILE, -newermt TIME, -true -false. Numbers: +N more, -N less.\n"
        "Limits: -maxdepth N, -mindepth N, -depth, -prune, -quit.\n"
        "Operators: ( ), ! or -not, -a, -o, a comma; quote ( ) and ; for the command language.\n"
        "Actions: -print, -print0, -printf FORMAT, -ls, -delete, -exec COMMAND {} \\; or {} +, where COMMAND "
        "is one of dish.",
    .examples = "find /etc -name '*.conf' -newermt 2024-01-01\nfind / -type f -size +1M -ls\n"
                "find /var -name '*.gz' -delete\nfind / -perm -4000 -exec chmod u-s {} \\;",
    .args = find_args,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS | RAW_WORDS,
    .run = run_find,
};
