/* The tests of find, and the actions that do not print. */
#include "alloc.h"
#include "bytes.h"
#include "find.h"
#include "mode.h"
#include "path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- numbers ------------------------------------------------------------------------------------------- */

/* "+5": more, "-5": less, "5": just so. */
bool find_compare(const struct find_node *node, uint64_t value)
{
    return node->sign == '+'   ? value > node->number
           : node->sign == '-' ? value < node->number
                               : value == node->number;
}

bool find_read_number(const char *text, char *sign, uint64_t *out, const char **rest, struct error *err)
{
    *sign = text[0] == '+' || text[0] == '-' ? text[0] : 0;
    const char *digits = text + (*sign != 0);
    *rest = text;
    char *end;
    errno = 0;
    *out = strtoull(digits, &end, 10);
    if (digits[0] < '0' || digits[0] > '9' || errno)
        return fail(err, E_USAGE, "'%s' is no number", text);
    *rest = end;
    return true;
}

bool find_parse_number(struct find *find, struct find_node *node, char **args, struct error *err)
{
    (void)find;
    const char *rest;
    return find_read_number(args[0], &node->sign, &node->number, &rest, err) &&
           (!*rest || fail(err, E_USAGE, "'%s' is no number", args[0]));
}

FIND_PARSE(parse_size)
{
    (void)find;
    static const char letters[] = "bcwkMG";
    static const uint64_t units[] = {512, 1, 2, KiB, MiB, GiB};
    const char *rest, *letter = letters;
    if (!find_read_number(args[0], &node->sign, &node->number, &rest, err))
        return false;
    if (*rest && (rest[1] || !(letter = strchr(letters, *rest))))
        return fail(err, E_USAGE, "'%s' is no size: a number with one of %s", args[0], letters);
    node->unit = units[letter - letters];
    return true;
}

FIND_TEST(test_size)
{
    FIND_UNUSED;
    *yes = find_compare(node, div_up(file->attr.size, node->unit));
    return true;
}

/* ---- names --------------------------------------------------------------------------------------------- */

static char *lower(const char *text, struct error *err)
{
    char *out = mem_string(text, err);
    for (char *p = out; p && *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p += 'a' - 'A';
    return out;
}

static bool match(const char *pattern, const char *text, bool any_case, bool *yes, struct error *err)
{
    if (!any_case) {
        *yes = glob_match(pattern, text);
        return true;
    }
    char *a = lower(pattern, err), *b = lower(text, err);
    *yes = a && b && glob_match(a, b);
    bool ok = a && b;
    free(a);
    free(b);
    return ok;
}

FIND_TEST(test_name)
{
    FIND_UNUSED;
    return match(node->args[0], file->entry->name, node->word->name[1] == 'i', yes, err);
}

FIND_TEST(test_path)
{
    FIND_UNUSED;
    return match(node->args[0], file->entry->path, node->word->name[1] == 'i', yes, err);
}

FIND_TEST(test_link_name)
{
    FIND_UNUSED;
    char *target;
    *yes = false;
    if (!S_ISLNK(file->attr.mode))
        return true;
    if (!file_readlink(file->start->volume, file->entry->id, &target, err))
        return false;
    bool ok = match(node->args[0], target, node->word->name[1] == 'i', yes, err);
    free(target);
    return ok;
}

FIND_PARSE(parse_regex)
{
    node->regex = mem_new(sizeof *node->regex, err);
    if (!node->regex)
        return false;
    int rc = regcomp(node->regex, args[0], find->regex_flags | (node->word->name[1] == 'i' ? REG_ICASE : 0));
    if (rc == 0)
        return true;
    char why[200];
    regerror(rc, node->regex, why, sizeof why);
    free(node->regex);
    node->regex = NULL;
    return fail(err, E_USAGE, "'%s': %s", args[0], why);
}

/* The whole path must match. */
FIND_TEST(test_regex)
{
    FIND_UNUSED;
    regmatch_t at;
    *yes = regexec(node->regex, file->entry->path, 1, &at, 0) == 0 && at.rm_so == 0 &&
           (size_t)at.rm_eo == strlen(file->entry->path);
    return true;
}

/* ---- types and permissions ----------------------------------------------------------------------------- */

FIND_PARSE(parse_type)
{
    (void)find;
    (void)node;
    for (const char *p = args[0];; p += 2) {
        if (!*p || !strchr("bcdpfls", *p) || (p[1] && p[1] != ','))
            return fail(err, E_USAGE, "'%s' is no type: b, c, d, p, f, l or s, with commas", args[0]);
        if (!p[1])
            return true;
    }
}

char find_type_letter(uint32_t mode)
{
    char text[11];
    mode_text(mode, text);
    return text[0] == '-' ? 'f' : text[0];
}

/* -xtype: what a link points to; with -L, what -type does without. */
FIND_TEST(test_xtype)
{
    FIND_UNUSED;
    struct fs_attr attr = file->attr;
    if (find->follow != 'L' && file->link && !find_target_attr(file, &attr, err))
        return false;
    char letter = find->follow == 'L' && file->link ? 'l' : find_type_letter(attr.mode);
    *yes = strchr(node->args[0], letter) != NULL;
    return true;
}

FIND_TEST(test_fstype)
{
    FIND_UNUSED;
    *yes = strcmp(node->args[0], file->start->volume->fs->type) == 0;
    return true;
}

FIND_TEST(test_type)
{
    FIND_UNUSED;
    *yes = strchr(node->args[0], find_type_letter(file->attr.mode)) != NULL;
    return true;
}

struct emptiness {
    bool empty;
};

static bool not_empty(const struct fs_entry *entry, void *arg)
{
    (void)entry;
    ((struct emptiness *)arg)->empty = false;
    return false;
}

FIND_TEST(test_empty)
{
    FIND_UNUSED;
    struct emptiness state = {S_ISREG(file->attr.mode) && file->attr.size == 0};
    if (S_ISDIR(file->attr.mode)) {
        state.empty = true;
        if (!file_readdir(file->start->volume, file->id, not_empty, &state, err))
            return false;
    }
    *yes = state.empty;
    return true;
}

/* ---- options and actions ------------------------------------------------------------------------------- */

FIND_TEST(test_true)
{
    FIND_UNUSED;
    *yes = true;
    return true;
}

FIND_TEST(test_false)
{
    FIND_UNUSED;
    *yes = false;
    return true;
}

FIND_PARSE(parse_depth_limit)
{
    const char *rest;
    if (!find_read_number(args[0], &node->sign, &node->number, &rest, err) || *rest || node->sign)
        return fail(err, E_USAGE, "'%s' is no depth", args[0]);
    *(node->word->name[2] == 'a' ? &find->max_depth : &find->min_depth) = node->number;
    return true;
}

FIND_PARSE(parse_follow)
{
    (void)node;
    (void)args;
    (void)err;
    find->follow = 'L';
    return true;
}

FIND_PARSE(parse_day_start)
{
    (void)node;
    (void)args;
    (void)err;
    find->day_start = true;
    return true;
}

FIND_PARSE(parse_regex_type)
{
    static const char *const extended[] = {"posix-extended", "posix-egrep", "egrep", "awk",
                                           "posix-awk",      "gnu-awk"};
    static const char *const basic[] = {"posix-basic", "posix-minimal-basic", "ed", "sed", "grep"};
    (void)node;
    for (size_t i = 0; i < ARRAY_LEN(extended); i++)
        if (strcmp(args[0], extended[i]) == 0) {
            find->regex_flags = REG_EXTENDED;
            return true;
        }
    for (size_t i = 0; i < ARRAY_LEN(basic); i++)
        if (strcmp(args[0], basic[i]) == 0) {
            find->regex_flags = 0;
            return true;
        }
    return fail(err, E_USAGE, "'%s': posix-basic and posix-extended are known", args[0]);
}

FIND_PARSE(parse_starts)
{
    (void)node;
    (void)err;
    find->starts = args[0];
    return true;
}

FIND_PARSE(parse_depth)
{
    (void)node;
    (void)args;
    (void)err;
    find->depth_first = true;
    return true;
}

FIND_TEST(test_prune)
{
    FIND_UNUSED;
    file->prune = true;
    *yes = true;
    return true;
}

FIND_TEST(test_quit)
{
    FIND_UNUSED;
    find->quit = true;
    *yes = true;
    return true;
}

FIND_TEST(test_delete)
{
    FIND_UNUSED;
    const struct walk_entry *entry = file->entry;
    fs_id dir = entry->dir;
    char name[1024];
    snprintf(name, sizeof name, "%s", entry->name);
    if (entry->depth == 0) {
        char *path = find_absolute_path(file, err);
        bool found = path && path_parent(file->start->volume, path, &dir, name, sizeof name, err);
        free(path);
        if (!found)
            return false;
    }
    *yes = file_remove(file->start->volume, dir, name, err);
    file->removed = *yes;
    return *yes;
}

/* ---- the words ----------------------------------------------------------------------------------------- */

static const struct find_word words[] = {
    {"-name", 1, false, NULL, test_name},
    {"-iname", 1, false, NULL, test_name},
    {"-path", 1, false, NULL, test_path},
    {"-ipath", 1, false, NULL, test_path},
    {"-wholename", 1, false, NULL, test_path},
    {"-iwholename", 1, false, NULL, test_path},
    {"-lname", 1, false, NULL, test_link_name},
    {"-ilname", 1, false, NULL, test_link_name},
    {"-regex", 1, false, parse_regex, test_regex},
    {"-iregex", 1, false, parse_regex, test_regex},
    {"-type", 1, false, parse_type, test_type},
    {"-xtype", 1, false, parse_type, test_xtype},
    {"-fstype", 1, false, NULL, test_fstype},
    {"-size", 1, false, parse_size, test_size},
    {"-empty", 0, false, NULL, test_empty},
    {"-maxdepth", 1, false, parse_depth_limit, test_true},
    {"-mindepth", 1, false, parse_depth_limit, test_true},
    {"-depth", 0, false, parse_depth, test_true},
    {"-d", 0, false, parse_depth, test_true},
    {"-xdev", 0, false, NULL, test_true},
    {"-mount", 0, false, NULL, test_true},
    {"-noleaf", 0, false, NULL, test_true},
    {"-warn", 0, false, NULL, test_true},
    {"-nowarn", 0, false, NULL, test_true},
    {"-ignore_readdir_race", 0, false, NULL, test_true},
    {"-noignore_readdir_race", 0, false, NULL, test_true},
    {"-follow", 0, false, parse_follow, test_true},
    {"-daystart", 0, false, parse_day_start, test_true},
    {"-regextype", 1, false, parse_regex_type, test_true},
    {"-files0-from", 1, false, parse_starts, test_true},
    {"-true", 0, false, NULL, test_true},
    {"-false", 0, false, NULL, test_false},
    {"-prune", 0, false, NULL, test_prune},
    {"-quit", 0, true, NULL, test_quit},
    {"-delete", 0, true, parse_depth, test_delete},
    {NULL, 0, false, NULL, NULL},
};

static const struct find_word *find_in(const struct find_word *table, const char *name)
{
    while (table->name && strcmp(table->name, name) != 0)
        table++;
    return table->name ? table : NULL;
}

static bool by_entry(const struct find *find, const struct find_word *word)
{
    static bool (*const tests[])(struct find *, const struct find_node *, struct find_file *, bool *,
                                 struct error *) = {test_name, test_path,  test_regex, test_type,
                                                    test_true, test_false, test_prune, test_quit};
    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        if (word->test == tests[i])
            return true;
    static const char *const printers[] = {"-print", "-print0", "-fprint", "-fprint0"};
    for (size_t i = 0; i < ARRAY_LEN(printers); i++)
        if (!find->list && strcmp(word->name, printers[i]) == 0)
            return true;
    return false;
}

bool find_needs_attr(const struct find *find)
{
    bool needed = find->follow != 'P';
    for (size_t i = 0; i < find->node_count && !needed; i++)
        needed = find->nodes[i]->op == FIND_TERM && !by_entry(find, find->nodes[i]->word);
    return needed;
}

const struct find_word *find_word(const char *name)
{
    const struct find_word *const tables[] = {words, find_owner_words, find_times, find_printers,
                                              find_executors};
    const struct find_word *word = NULL;
    for (size_t i = 0; i < ARRAY_LEN(tables) && !word; i++)
        word = find_in(tables[i], name);
    return word;
}
