/* tree: a picture of a directory tree. */
#include "alloc.h"
#include "file_color.h"
#include "files.h"
#include "grid.h"
#include "mode.h"
#include "path.h"
#include "walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct tree {
    struct call *call;
    struct output *out;
    struct report *list;
    bool all, directories_only, sizes, human, permissions, full_paths, ascii;
    uint64_t max_depth, directories, files;
    const char *pattern;
    bool *last; /* by depth: nothing more follows in that directory */
    size_t capacity;
};

static void print_branches(struct tree *tree, unsigned depth, bool last)
{
    tree->last[depth] = last;
    for (unsigned d = 1; d < depth; d++)
        output_printf(tree->out, "%s", tree->last[d] ? "    " : tree->ascii ? "|   " : "\u2502   ");
    if (depth > 0)
        output_printf(tree->out, "%s",
                      last ? (tree->ascii ? "`-- " : "\u2514\u2500\u2500 ")
                           : (tree->ascii ? "|-- " : "\u251c\u2500\u2500 "));
}

static void print_facts(struct tree *tree, const struct fs_attr *attr)
{
    char permissions[11], size[32];
    if (!tree->permissions && !tree->sizes)
        return;
    output_write(tree->out, "[", 1);
    if (tree->permissions) {
        mode_text(attr->mode, permissions);
        output_printf(tree->out, "%s%s", permissions, tree->sizes ? " " : "");
    }
    if (tree->human)
        human_size(attr->size, size);
    else
        snprintf(size, sizeof size, "%" PRIu64, attr->size);
    if (tree->sizes)
        output_printf(tree->out, "%*s", tree->human ? 4 : 11, size);
    output_write(tree->out, "]  ", 3);
}

static bool print_entry(struct tree *tree, const struct file_arg *arg, const struct walk_entry *entry,
                        bool last, struct error *err)
{
    char *target = NULL;
    if (S_ISLNK(entry->attr.mode) && !file_readlink(arg->volume, entry->id, &target, err))
        return false;
    if (tree->list) {
        report_open(tree->list, NULL);
        report_text(tree->list, "path", entry->path);
        report_number(tree->list, "depth", entry->depth);
        report_file(tree->list, NULL, &entry->attr, target);
        report_close(tree->list);
        free(target);
        return true;
    }
    print_branches(tree, entry->depth, last);
    print_facts(tree, &entry->attr);
    const char *color = file_color(entry->name, &entry->attr, false);
    if (color)
        output_color(tree->out, color);
    output_name(tree->out, tree->full_paths || entry->depth == 0 ? entry->path : entry->name);
    if (color)
        output_color(tree->out, NULL);
    if (target) {
        output_write(tree->out, " -> ", 4);
        output_name(tree->out, target);
    }
    output_write(tree->out, "\n", 1);
    free(target);
    return true;
}

static bool is_wanted(const struct fs_entry *entry, void *arg)
{
    const struct tree *tree = arg;
    bool directory = (entry->type & S_IFMT) == S_IFDIR;
    if (entry->name[0] == '.' && !tree->all)
        return false;
    return directory || entry->fault ||
           (!tree->directories_only && (!tree->pattern || glob_match(tree->pattern, entry->name)));
}

static bool tree_walk(struct tree *tree, const struct file_arg *arg, struct walk *walk, struct error *err)
{
    struct walk_entry *entry;
    while (!output_closed(tree->out)) {
        if (!walk_next(walk, &entry, err))
            return false;
        if (entry->event == WALK_END)
            break;
        if (entry->event == WALK_FAULT)
            call_complain(tree->call, entry->path, &entry->fault);
        if (entry->event != WALK_FILE && entry->event != WALK_DIR)
            continue;
        if (!mem_grow(&tree->last, &tree->capacity, entry->depth + 2, 1, err) ||
            !print_entry(tree, arg, entry, walk_is_last(walk), err))
            return false;
        if (entry->event == WALK_DIR && entry->depth >= tree->max_depth)
            walk_skip(walk);
        tree->directories += entry->event == WALK_DIR && entry->depth > 0;
        tree->files += entry->event == WALK_FILE;
    }
    return true;
}

static bool tree_one(struct file_arg *arg, void *opaque, struct error *err)
{
    struct tree *tree = opaque;
    struct walk *walk;
    if (!walk_new(&walk, arg->volume, arg->typed, arg->id, WALK_ATTR | WALK_SORTED, err))
        return false;
    walk_filter(walk, is_wanted, tree);
    bool ok = tree_walk(tree, arg, walk, err);
    walk_free(walk);
    return ok;
}

static bool run_tree(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct tree tree = {.call = call,
                        .out = out,
                        .all = call_has(call, "a"),
                        .directories_only = call_has(call, "d"),
                        .sizes = call_has(call, "s") || call_has(call, "h"),
                        .human = call_has(call, "h"),
                        .permissions = call_has(call, "p"),
                        .full_paths = call_has(call, "f"),
                        .ascii = call_has(call, "A"),
                        .pattern = call_value(call, "P")};
    if (!option_size(call, "L", UINT64_MAX, &tree.max_depth, err))
        return false;
    if (output_json(out))
        tree.list = output_report_list(out);
    static char here[] = ".";
    char *alone[] = {here, NULL};
    struct call whole = *call;
    if (call->argc == 0) {
        call->args = alone;
        call->argc = 1;
    }
    bool ok = each_file(session, call, 0, true, tree_one, &tree, err);
    call->args = whole.args;
    call->argc = whole.argc;
    if (!tree.list)
        output_printf(out, "\n%" PRIu64 " director%s, %" PRIu64 " file%s\n", tree.directories,
                      tree.directories == 1 ? "y" : "ies", tree.files, tree.files == 1 ? "" : "s");
    free(tree.last);
    return ok;
}

static const struct arg tree_args[] = {
    {"DIR", ARG_PATH, ARG_ANY, "directories; the current one when left out", NULL},
    {0},
};

static const struct flag tree_flags[] = {
    {'a', "all", NULL, ARG_WORD, "names with a leading dot, too"},
    {'d', NULL, NULL, ARG_WORD, "only directories"},
    {'L', "level", "N", ARG_NUMBER, "not deeper than this"},
    {'s', NULL, NULL, ARG_WORD, "with sizes"},
    {'h', NULL, NULL, ARG_WORD, "with sizes as 1.5G"},
    {'p', NULL, NULL, ARG_WORD, "with permissions"},
    {'f', NULL, NULL, ARG_WORD, "with whole paths"},
    {'A', "ascii", NULL, ARG_WORD, "lines of plain ASCII"},
    {'P', "pattern", "GLOB", ARG_WORD, "only files of such names"},
    {0},
};

const struct command tree_command = {
    .name = "tree",
    .group = "Files",
    .summary = "draw a directory tree",
    .examples = "tree -L 2 /\ntree -ps /etc",
    .args = tree_args,
    .flags = tree_flags,
    .needs = NEEDS_IMAGE,
    .run = run_tree,
};
