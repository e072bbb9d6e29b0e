/* ls: what is in directories. */
#include "ls.h"

#include "alloc.h"
#include "bytes.h"
#include "clock.h"
#include "id_set.h"
#include "path.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- directories --------------------------------------------------------------------------------------- */

struct reading {
    struct ls *ls;
    struct ls_list *list; /* NULL: what comes is printed at once */
    const char *shown;    /* the directory */
    struct error *err;
    uint64_t count;
    bool ok;
};

static bool is_ignored(const struct ls *ls, const char *name)
{
    size_t n = strlen(name);
    if (name[0] == '.' && !ls->all && !ls->almost_all)
        return true;
    return (ls->no_backups && n > 0 && name[n - 1] == '~') || (ls->ignore && glob_match(ls->ignore, name));
}

static void complain_of_entry(const struct reading *reading, const struct fs_entry *entry)
{
    struct error fault;
    char *path = mem_printf(&fault, "%s/%s", reading->shown, entry->name);
    fail(&fault, E_DAMAGED, "%s", entry->fault);
    call_complain(reading->ls->call, path, &fault);
    free(path);
}

static bool take_entry(const struct fs_entry *entry, void *arg)
{
    struct reading *reading = arg;
    if (is_ignored(reading->ls, entry->name))
        return true;
    if (entry->fault)
        complain_of_entry(reading, entry);
    const struct ls_entry taken = {.name = (char *)entry->name,
                                   .id = entry->id,
                                   .type = entry->type & S_IFMT,
                                   .faulty = entry->fault != NULL};
    if (reading->list)
        reading->ok = ls_list_add(reading->list, &taken, reading->err);
    else
        ls_print_name_line(reading->ls, &taken);
    if ((++reading->count & 1023) == 0)
        reading->ok = reading->ok && interrupt_check(reading->err);
    return reading->ok && !output_closed(reading->ls->out);
}

struct waiting {
    char *shown, *path;
    fs_id id;
};

struct waiting_stack {
    struct waiting *items;
    size_t count, capacity;
};

/* The path of a name in a directory; of the directory itself without a name. malloc'd. */
static char *path_below(const char *dir, const char *name, struct error *err)
{
    size_t dir_len = strlen(dir), name_len = strlen(name);
    bool slash = name_len > 0 && !(dir_len > 0 && dir[dir_len - 1] == '/');
    char *path = mem_bytes(dir_len + slash + name_len + 1, err);
    if (!path)
        return NULL;
    memcpy(path, dir, dir_len);
    if (slash)
        path[dir_len] = '/';
    memcpy(path + dir_len + slash, name, name_len + 1);
    return path;
}

static bool push_waiting(struct waiting_stack *stack, const char *shown, const char *path, const char *name,
                         fs_id id, struct error *err)
{
    if (!mem_grow(&stack->items, &stack->capacity, stack->count + 1, sizeof *stack->items, err))
        return false;
    struct waiting item = {.id = id, .shown = path_below(shown, name, err)};
    item.path = item.shown ? path_below(path, name, err) : NULL;
    if (!item.path) {
        free(item.shown);
        return false;
    }
    stack->items[stack->count++] = item;
    return true;
}

static bool add_dots(struct ls *ls, fs_id dir, struct ls_list *list, struct error *err)
{
    static char here[] = ".", above[] = "..";
    struct error ignored;
    fs_id parent = dir;
    if (!ls->all)
        return true;
    if (!file_parent(list->volume, dir, &parent, &ignored))
        parent = dir;
    return ls_list_add(list, &(struct ls_entry){.id = dir, .type = S_IFDIR, .name = here}, err) &&
           ls_list_add(list, &(struct ls_entry){.id = parent, .type = S_IFDIR, .name = above}, err);
}

/* Reads one directory, completes and sorts its entries. */
static bool read_directory(struct ls *ls, fs_id id, struct ls_list *list, struct error *err)
{
    struct reading reading = {.ls = ls, .list = list, .shown = list->shown, .err = err, .ok = true};
    if (!add_dots(ls, id, list, err) || !file_readdir(list->volume, id, take_entry, &reading, err) ||
        !reading.ok || !ls_list_complete(list, err))
        return false;
    ls_list_sort(list);
    return true;
}

/* Subdirectories come next, in order: the last pushed is the next listed. */
static bool push_subdirectories(const struct waiting *dir, const struct ls_list *list,
                                struct waiting_stack *stack, struct error *err)
{
    for (size_t i = list->count; list->ls->recursive && i-- > 0;) {
        struct ls_face face = ls_list_face(list, i);
        bool dots = strcmp(face.name, ".") == 0 || strcmp(face.name, "..") == 0;
        if (face.type == S_IFDIR && !dots && !face.faulty &&
            !push_waiting(stack, dir->shown, dir->path, face.name, face.id, err))
            return false;
    }
    return true;
}

static void print_heading(struct ls *ls, const char *shown)
{
    if (ls->printed_before)
        output_write(ls->out, "\n", 1);
    output_name(ls->out, shown);
    output_write(ls->out, ":\n", 2);
}

static void print_total(struct ls *ls, const struct ls_list *list)
{
    char text[32];
    if (ls->human)
        ls_size_text(ls, list->allocated, text);
    else
        snprintf(text, sizeof text, "%" PRIu64, div_up(list->allocated, 1024));
    output_printf(ls->out, "total %s\n", text);
}

/* As they come, when neither order nor width nor anything but the name matters: a directory of any size. */
static bool streams(const struct ls *ls)
{
    return ls->sort == SORT_NONE && ls->layout == ONE_A_LINE && !ls->reverse && !ls->recursive &&
           !ls->inodes && !ls->needs_attr && !ls->classify && !output_colored(ls->out);
}

static bool stream_directory(struct ls *ls, struct volume *volume, const struct waiting *dir,
                             struct error *err)
{
    static char here[] = ".", above[] = "..";
    struct reading reading = {.ls = ls, .shown = dir->shown, .err = err, .ok = true};
    if (ls->all) {
        ls_print_name_line(ls, &(struct ls_entry){.name = here});
        ls_print_name_line(ls, &(struct ls_entry){.name = above});
    }
    return file_readdir(volume, dir->id, take_entry, &reading, err) && reading.ok;
}

static bool list_one(struct ls *ls, struct volume *volume, const struct waiting *dir, bool heading,
                     struct waiting_stack *stack, struct error *err)
{
    struct ls_list list = {.ls = ls, .volume = volume, .shown = dir->shown, .path = dir->path};
    bool streaming = streams(ls),
         ok = streaming || (ls_know_owners(ls, volume, err) && read_directory(ls, dir->id, &list, err));
    if (!ls->report && (ok || list.count)) {
        if (heading)
            print_heading(ls, dir->shown);
        ls->printed_before = true;
        if (ls->layout == LONG || ls->blocks)
            print_total(ls, &list);
    }
    if (streaming)
        return stream_directory(ls, volume, dir, err);
    if (ok || list.count) {
        struct error printing;
        if (!ls_print_list(ls, &list, dir->shown, &printing) && ok) {
            *err = printing;
            ok = false;
        }
    }
    ok = ok && push_subdirectories(dir, &list, stack, err);
    ls_list_free(&list);
    return ok;
}

static bool list_tree(struct ls *ls, struct volume *volume, const char *shown, const char *path, fs_id id,
                      bool heading, struct error *err)
{
    struct waiting_stack stack = {0};
    struct id_set seen = {0};
    bool ok = push_waiting(&stack, shown, path, "", id, err);
    while (ok && stack.count > 0 && !output_closed(ls->out)) {
        struct waiting dir = stack.items[--stack.count];
        bool fresh;
        ok = id_set_add(&seen, dir.id, &fresh, err);
        if (ok && !fresh)
            fail(err, E_DAMAGED, "this directory is part of the tree in another place already (a loop)");
        if (ok && (!fresh || !list_one(ls, volume, &dir, heading || ls->recursive, &stack, err))) {
            ok = !stops_everything(err->kind);
            if (ok)
                call_complain(ls->call, dir.shown, err);
        }
        free(dir.shown);
        free(dir.path);
    }
    while (stack.count > 0) {
        free(stack.items[--stack.count].shown);
        free(stack.items[stack.count].path);
    }
    free(stack.items);
    id_set_free(&seen);
    return ok;
}

/* ---- the command --------------------------------------------------------------------------------------- */

static bool parse_sort(struct ls *ls, const char *word, struct error *err)
{
    static const struct {
        const char *word;
        enum sort_key key;
    } words[] = {{"name", SORT_NAME},           {"size", SORT_SIZE},       {"time", SORT_TIME},
                 {"extension", SORT_EXTENSION}, {"version", SORT_VERSION}, {"none", SORT_NONE}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(word, words[i].word) == 0) {
            ls->sort = words[i].key;
            return true;
        }
    return fail(err, E_USAGE, "--sort=%s: name, size, time, extension, version or none", word);
}

/* The value of an option as one of a list: words are followed by the letter that they mean. */
static bool choose(const char *option, const char *word, const char *const *words, char *out,
                   struct error *err)
{
    struct text list = {0};
    for (size_t i = 0; words[i]; i++) {
        size_t n = strlen(words[i]) - 2;
        if (strncmp(word, words[i], n) == 0 && !word[n]) {
            *out = words[i][n + 1] == '0' ? 0 : words[i][n + 1];
            text_free(&list);
            return true;
        }
        text_printf(&list, "%s%.*s", i ? ", " : "", (int)n, words[i]);
    }
    fail(err, E_USAGE, "--%s=%s: one of %s is meant", option, word, text_get(&list));
    text_free(&list);
    return false;
}

static bool apply_width(struct ls *ls, const char *text, struct error *err)
{
    char *end;
    unsigned long width = strtoul(text, &end, 10);
    if (!*text || *end || width > 100000)
        return fail(err, E_USAGE, "-w %s: a number of columns is meant", text);
    ls->width = width ? (unsigned)width : 100000;
    return true;
}

static bool apply_long(struct ls *ls, const struct given *given, struct error *err)
{
    static const char *const times[] = {"atime=a", "access=a",       "use=a",   "ctime=c",    "status=c",
                                        "mtime=m", "modification=m", "birth=B", "creation=B", NULL};
    static const char *const indicators[] = {"none=0", "slash=p", "file-type=t", "classify=F", NULL};
    static const char *const whens[] = {"always=y", "yes=y",  "force=y", "never=n", "no=n",
                                        "none=n",   "auto=a", "tty=a",   NULL};
    const char *name = given->flag->name;
    char when;
    if (strcmp(name, "sort") == 0)
        return parse_sort(ls, given->value, err);
    if (strcmp(name, "time") == 0)
        return choose(name, given->value, times, &ls->time_field, err);
    if (strcmp(name, "indicator-style") == 0)
        return choose(name, given->value, indicators, &ls->classify, err);
    if (strcmp(name, "color") == 0) {
        if (!choose(name, given->value ? given->value : "always", whens, &when, err))
            return false;
        if (when != 'a')
            output_set_colored(ls->out, when == 'y');
    } else if (strcmp(name, "full-time") == 0) {
        ls->time_style = "full-iso", ls->layout = LONG;
    } else if (strcmp(name, "time-style") == 0) {
        ls->time_style = given->value;
    } else if (strcmp(name, "si") == 0) {
        ls->human = 's';
    } else if (strcmp(name, "file-type") == 0) {
        ls->classify = 't';
    }
    return true;
}

/* Options of which the last one counts. */
static bool apply_given(struct ls *ls, const struct given *given, struct error *err)
{
    static const char sorts[] = "tSXvUf";
    static const enum sort_key sort_of[] = {SORT_TIME,    SORT_SIZE, SORT_EXTENSION,
                                            SORT_VERSION, SORT_NONE, SORT_NONE};
    char letter = given->flag->letter;
    if (letter == 0)
        return apply_long(ls, given, err);
    const char *sort = strchr(sorts, letter);
    if (sort)
        ls->sort = sort_of[sort - sorts];
    if (strchr("lngo", letter))
        ls->layout = LONG;
    else if (letter == '1' && ls->layout != LONG)
        ls->layout = ONE_A_LINE;
    else if (strchr("Cxm", letter))
        ls->layout = letter == 'C' ? COLUMNS : letter == 'x' ? ACROSS : COMMAS;
    else if (letter == 'f' && ls->layout == LONG)
        ls->layout = output_is_terminal(ls->out) ? COLUMNS : ONE_A_LINE;
    else if (strchr("uc", letter))
        ls->time_field = letter == 'u' ? 'a' : 'c';
    else if (strchr("pF", letter))
        ls->classify = letter;
    else if (strchr("Qbq", letter))
        ls->quoting = letter;
    else if (letter == 'N')
        ls->quoting = 0;
    else if (letter == 'h')
        ls->human = 'h';
    else if (letter == 'I')
        ls->ignore = given->value;
    return letter != 'w' || apply_width(ls, given->value, err);
}

static bool set_up(struct ls *ls, struct error *err)
{
    struct call *call = ls->call;
    ls->layout = output_is_terminal(ls->out) ? COLUMNS : ONE_A_LINE;
    ls->time_style = "locale";
    ls->width = output_width(ls->out);
    ls->time_field = 'm';
    for (int i = 0; i < call->given_count; i++)
        if (!apply_given(ls, &call->given[i], err))
            return false;
    ls->all = call_has(call, "a") || call_has(call, "f");
    ls->almost_all = call_has(call, "A");
    ls->directories = call_has(call, "d");
    ls->recursive = call_has(call, "R") && !ls->directories;
    ls->inodes = call_has(call, "i");
    ls->no_backups = call_has(call, "B");
    ls->reverse = call_has(call, "r");
    ls->numeric = call_has(call, "n");
    ls->blocks = call_has(call, "s");
    ls->no_owner = call_has(call, "g");
    ls->no_group = call_has(call, "o") || call_has(call, "G");
    ls->follow = call_has(call, "L") || call_has(call, "H");
    ls->groups_first = call_has(call, "group-directories-first");
    ls->now = clock_now().sec;
    if (ls->time_field != 'm' && ls->layout != LONG && ls->sort == SORT_NAME)
        ls->sort = SORT_TIME; /* -u and -c alone sort by that time */
    ls->report = output_json(ls->out) ? output_report_list(ls->out) : NULL;
    ls->needs_attr =
        ls->report || ls->layout == LONG || ls->blocks || ls->sort == SORT_SIZE || ls->sort == SORT_TIME;
    return true;
}

struct named {
    struct file_arg arg;
    bool directory;
};

/* What was gathered of a volume. */
static bool print_files(struct ls_list *list, struct error *err)
{
    bool ok = true;
    if (list->count) {
        ls_list_sort(list);
        ok = ls_print_list(list->ls, list, NULL, err);
        list->ls->printed_before = true;
    }
    ls_list_free(list);
    return ok;
}

/* Arguments: those that are files are one list, then each directory is one. */
static bool list_files(struct ls *ls, struct named *args, int count, bool *any, struct error *err)
{
    struct ls_list list = {.ls = ls};
    bool ok = true;
    *any = false;
    for (int i = 0; ok && i < count; i++) {
        const struct file_arg *arg = &args[i].arg;
        if (args[i].directory)
            continue;
        if (list.volume != arg->volume)
            ok = print_files(&list, err);
        list.volume = arg->volume;
        struct ls_entry entry = {.name = (char *)arg->typed,
                                 .id = arg->id,
                                 .type = arg->attr.mode & S_IFMT,
                                 .attr = arg->attr,
                                 .has_attr = true};
        ok = ok && ls_know_owners(ls, arg->volume, err);
        if (ok)
            ls_complete(ls, arg->volume, &entry, arg->path);
        ok = ok && ls_list_add(&list, &entry, err);
        if (ok)
            ls_measure(&list, &entry);
        *any = true;
    }
    ok = ok && print_files(&list, err);
    ls_list_free(&list);
    return ok;
}

static bool list_args(struct ls *ls, struct named *args, int count, bool heading, struct error *err)
{
    bool any;
    bool ok = list_files(ls, args, count, &any, err);
    for (int i = 0; ok && i < count; i++)
        if (args[i].directory)
            ok = list_tree(ls, args[i].arg.volume, args[i].arg.typed, args[i].arg.path, args[i].arg.id,
                           heading || any, err);
    return ok;
}

static bool is_listed(const struct ls *ls, const struct file_arg *arg, bool *directory)
{
    *directory = S_ISDIR(arg->attr.mode) && !ls->directories;
    return true;
}

static bool open_arg(struct ls *ls, const char *text, struct named *out, struct error *err)
{
    /* A link to a directory is followed, but not when the line would show the link itself. */
    bool ok = file_arg_open(ls->session, text, false, &out->arg, err);
    bool look = ls->follow || (ls->layout != LONG && !ls->directories && ls->classify != 'F');
    if (ok && S_ISLNK(out->arg.attr.mode) && look) {
        struct file_arg target;
        struct error ignored;
        if (file_arg_open(ls->session, text, true, &target, &ignored) &&
            (ls->follow || S_ISDIR(target.attr.mode))) {
            struct file_arg link = out->arg;
            out->arg = target;
            target = link;
        }
        file_arg_close(&target);
    }
    return ok && is_listed(ls, &out->arg, &out->directory);
}

static bool run_ls(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct ls ls = {.session = session, .call = call, .out = out};
    static char here[] = ".";
    char *alone[] = {here};
    char **words = call->argc ? call->args : alone;
    int count = call->argc ? call->argc : 1, opened = 0;
    struct named *args = mem_array((size_t)count, sizeof *args, err);
    bool colored = output_colored(out), ok = args && set_up(&ls, err);
    for (int i = 0; ok && i < count; i++) {
        if (open_arg(&ls, words[i], &args[opened], err)) {
            opened++;
            continue;
        }
        file_arg_close(&args[opened].arg);
        ok = !stops_everything(err->kind);
        if (ok)
            call_complain(call, NULL, err);
    }
    ok = ok && list_args(&ls, args, opened, count > 1, err);
    while (opened > 0)
        file_arg_close(&args[--opened].arg);
    free(args);
    owners_free(ls.owners);
    output_set_colored(out, colored);
    return ok && call_result(call, err);
}

static const struct arg ls_args[] = {
    {"PATH", ARG_PATH, ARG_ANY, "files and directories; the current directory when left out", NULL},
    {0},
};

static const struct flag ls_flags[] = {
    {'l', NULL, NULL, ARG_WORD, "long lines: mode, links, owner, group, size, time"},
    {'a', "all", NULL, ARG_WORD, "names with a leading dot too, and . and .."},
    {'A', "almost-all", NULL, ARG_WORD, "the same without . and .."},
    {'R', "recursive", NULL, ARG_WORD, "directories within directories"},
    {'h', "human-readable", NULL, ARG_WORD, "sizes as 1.5G"},
    {'i', "inode", NULL, ARG_WORD, "the inode number first"},
    {'1', NULL, NULL, ARG_WORD, "one name a line"},
    {'t', NULL, NULL, ARG_WORD, "newest first"},
    {'S', NULL, NULL, ARG_WORD, "largest first"},
    {'X', NULL, NULL, ARG_WORD, "by extension"},
    {'U', NULL, NULL, ARG_WORD, "in the directory's order"},
    {'f', NULL, NULL, ARG_WORD, "the same, all names"},
    {'v', NULL, NULL, ARG_WORD, "numbers within names by their value"},
    {'r', "reverse", NULL, ARG_WORD, "the other way round"},
    {'n', "numeric-uid-gid", NULL, ARG_WORD, "long, with numbers for owner and group"},
    {'d', "directory", NULL, ARG_WORD, "directories themselves, not what is in them"},
    {'F', "classify", NULL, ARG_WORD, "one of */=@| behind the name"},
    {'p', NULL, NULL, ARG_WORD, "/ behind directories"},
    {'s', "size", NULL, ARG_WORD, "allocated KiB first"},
    {'g', NULL, NULL, ARG_WORD, "long without owner"},
    {'o', NULL, NULL, ARG_WORD, "long without group"},
    {'G', "no-group", NULL, ARG_WORD, "no group in long lines"},
    {'C', NULL, NULL, ARG_WORD, "columns"},
    {'x', NULL, NULL, ARG_WORD, "rows"},
    {'m', NULL, NULL, ARG_WORD, "with commas"},
    {'u', NULL, NULL, ARG_WORD, "time of last access"},
    {'c', NULL, NULL, ARG_WORD, "time of last change of the inode"},
    {'Q', "quote-name", NULL, ARG_WORD, "names in double quotes"},
    {'b', "escape", NULL, ARG_WORD, "control characters and blanks in names as \\n, \\040"},
    {'q', "hide-control-chars", NULL, ARG_WORD, "? for control characters in names"},
    {'N', "literal", NULL, ARG_WORD,
     "names as they are (a terminal gets no control characters all the same)"},
    {'B', "ignore-backups", NULL, ARG_WORD, "no names that end in ~"},
    {'I', "ignore", "GLOB", ARG_WORD, "no names that match"},
    {'k', "kibibytes", NULL, ARG_WORD, "blocks of -s in KiB, as they always are"},
    {'w', "width", "COLUMNS", ARG_WORD, "columns to fill; 0: no limit"},
    {'L', "dereference", NULL, ARG_WORD, "what arguments that are symbolic links point to"},
    {'H', NULL, NULL, ARG_WORD, "the same"},
    {0, "si", NULL, ARG_WORD, "sizes in powers of 1000"},
    {0, "file-type", NULL, ARG_WORD, "as -F, without * behind programs"},
    {0, "indicator-style", "STYLE", ARG_WORD, "none, slash (-p), file-type or classify (-F)"},
    {0, "color", "[=WHEN]", ARG_WORD, "always (also without WHEN), never or auto; which ones says LS_COLORS"},
    {0, "time", "WHICH", ARG_WORD, "atime, ctime, mtime or birth"},
    {0, "sort", "KEY", ARG_WORD, "name, size, time, extension, version or none"},
    {0, "full-time", NULL, ARG_WORD, "long, with nanoseconds"},
    {0, "time-style", "STYLE", ARG_WORD, "full-iso, long-iso, iso, locale or +FORMAT"},
    {0, "group-directories-first", NULL, ARG_WORD, "directories before files"},
    {0},
};

const struct command ls_command = {
    .name = "ls",
    .group = "Files",
    .summary = "list directories",
    .details =
        "Names are in byte order. Owners have the names that the image's own /etc/passwd and /etc/group "
        "give them, else numbers. In long lines a + behind the mode tells of an access control list.",
    .examples = "ls -la /etc\nls -lR --full-time 2:/\nls -d *.conf",
    .args = ls_args,
    .flags = ls_flags,
    .needs = NEEDS_IMAGE,
    .aliases = "dir",
    .run = run_ls,
};
