/* du: the space that trees take. */
#include "alloc.h"
#include "bytes.h"
#include "files.h"
#include "grid.h"
#include "id_set.h"
#include "path.h"
#include "walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct du {
    struct session *session;
    struct call *call;
    struct output *out;
    struct report *list;
    bool all, summarize, human, apparent, total, count_links;
    uint64_t unit, max_depth, sum;
    struct id_set linked; /* files with several names that were counted */
    uint64_t *below;      /* by depth: what was found in the directories on the way */
    size_t capacity;
};

static void print_usage(struct du *du, uint64_t bytes, const char *path)
{
    char size[32];
    if (du->list) {
        report_open(du->list, NULL);
        report_text(du->list, "path", path);
        report_number(du->list, du->apparent ? "size" : "allocated", bytes);
        report_close(du->list);
        return;
    }
    if (du->human)
        human_size(bytes, size);
    else
        snprintf(size, sizeof size, "%" PRIu64, div_up(bytes, du->unit));
    output_printf(du->out, "%s\t", size);
    output_name(du->out, path);
    output_write(du->out, "\n", 1);
}

/* *bytes is what the entry itself takes; not fresh: it was counted under another name. */
static bool usage_of(struct du *du, const struct walk_entry *entry, uint64_t *bytes, bool *fresh,
                     struct error *err)
{
    *fresh = true;
    if (entry->type != S_IFDIR && entry->attr.nlink > 1 && !du->count_links &&
        !id_set_add(&du->linked, entry->id, fresh, err))
        return false;
    bool sized = S_ISREG(entry->attr.mode) || S_ISLNK(entry->attr.mode);
    uint64_t apparent = sized || entry->type == S_IFDIR ? entry->attr.size : 0;
    *bytes = du->apparent ? apparent : entry->attr.allocated;
    return true;
}

static bool du_entry(struct du *du, const struct walk_entry *entry, struct error *err)
{
    uint64_t bytes;
    bool fresh;
    if (!mem_grow(&du->below, &du->capacity, entry->depth + 2, sizeof *du->below, err))
        return false;
    switch (entry->event) {
    case WALK_DIR:
        du->below[entry->depth + 1] = 0;
        return usage_of(du, entry, &du->below[entry->depth + 1], &fresh, err);
    case WALK_LEAVE:
        bytes = du->below[entry->depth + 1];
        break;
    case WALK_FAULT:
        call_complain(du->call, entry->path, &entry->fault);
        return true;
    default:
        if (!usage_of(du, entry, &bytes, &fresh, err))
            return false;
        if (!fresh)
            return true;
        break;
    }
    if (entry->depth > 0)
        du->below[entry->depth] += bytes;
    else
        du->sum += bytes;
    bool listed = entry->event == WALK_LEAVE || du->all;
    bool shown = entry->depth == 0 || (!du->summarize && listed && entry->depth <= du->max_depth);
    if (shown)
        print_usage(du, bytes, entry->path);
    return true;
}

/* --exclude: names that are not counted, nor what is in them. */
static bool is_counted(const struct fs_entry *entry, void *arg)
{
    const struct call *call = ((const struct du *)arg)->call;
    for (int i = 0; i < call->given_count; i++) {
        const char *name = call->given[i].flag->name;
        if (name && strcmp(name, "exclude") == 0 && glob_match(call->given[i].value, entry->name))
            return false;
    }
    return true;
}

static bool du_one(struct file_arg *arg, void *opaque, struct error *err)
{
    struct du *du = opaque;
    struct walk *walk;
    struct walk_entry *entry;
    if (!walk_new(&walk, arg->volume, arg->typed, arg->id, WALK_ATTR | WALK_SORTED, err))
        return false;
    bool ok;
    if (call_has(du->call, "exclude"))
        walk_filter(walk, is_counted, du);
    while ((ok = walk_next(walk, &entry, err)) && entry->event != WALK_END && !output_closed(du->out))
        if (!(ok = du_entry(du, entry, err)))
            break;
    walk_free(walk);
    return ok;
}

static bool run_du(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct du du = {.session = session,
                    .call = call,
                    .out = out,
                    .all = call_has(call, "a"),
                    .summarize = call_has(call, "s"),
                    .human = call_has(call, "h"),
                    .apparent = call_has(call, "b") || call_has(call, "apparent-size"),
                    .count_links = call_has(call, "l")};
    du.unit = call_has(call, "b") ? 1 : call_has(call, "m") ? MiB : KiB;
    if (!option_size(call, "d", UINT64_MAX, &du.max_depth, err))
        return false;
    if (call_value(call, "B") && (!option_size(call, "B", 0, &du.unit, err) || !du.unit))
        return fail(err, E_INVALID, "-B: a size above 0");
    if (output_json(out))
        du.list = output_report_list(out);
    static char here[] = ".";
    char *alone[] = {here, NULL};
    struct call one = *call;
    if (call->argc == 0) {
        call->args = alone;
        call->argc = 1;
    }
    bool ok = each_file(session, call, 0, call_has(call, "D"), du_one, &du, err);
    call->args = one.args;
    call->argc = one.argc;
    if (ok && call_has(call, "c"))
        print_usage(&du, du.sum, "total");
    id_set_free(&du.linked);
    free(du.below);
    return ok;
}

static const struct arg du_args[] = {
    {"PATH", ARG_PATH, ARG_ANY, "files and directories; the current directory when left out", NULL},
    {0},
};

static const struct flag du_flags[] = {
    {'s', "summarize", NULL, ARG_WORD, "only the sum of each argument"},
    {'h', "human-readable", NULL, ARG_WORD, "sizes as 1.5G"},
    {'a', "all", NULL, ARG_WORD, "files, too"},
    {'c', "total", NULL, ARG_WORD, "and the sum of all"},
    {'d', "max-depth", "N", ARG_NUMBER, "directories not deeper than this"},
    {'b', "bytes", NULL, ARG_WORD, "bytes of contents instead of allocated space"},
    {0, "apparent-size", NULL, ARG_WORD, "contents instead of allocated space"},
    {'k', NULL, NULL, ARG_WORD, "in KiB, as without it"},
    {'m', NULL, NULL, ARG_WORD, "in MiB"},
    {'B', "block-size", "SIZE", ARG_SIZE, "in units of this"},
    {'l', "count-links", NULL, ARG_WORD, "count files with several names each time"},
    {'D', "dereference-args", NULL, ARG_WORD, "follow arguments that are symbolic links"},
    {'x', "one-file-system", NULL, ARG_WORD, "stay on the volume, as always"},
    {0, "exclude", "GLOB", ARG_WORD, "leave out what has such a name; can be given several times"},
    {0},
};

const struct command du_command = {
    .name = "du",
    .group = "Files",
    .summary = "print how much space trees take",
    .examples = "du -sh /usr /var\ndu -d 1 -h /",
    .args = du_args,
    .flags = du_flags,
    .needs = NEEDS_IMAGE,
    .run = run_du,
};
