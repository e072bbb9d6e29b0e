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

#define PARSE(name)                                                                                          \
    static bool name(struct find *find, struct find_node *node, char **args, struct error *err)
#define TEST(name)                                                                                           \
    static bool name(struct find *find, const struct find_node *node, struct find_file *file, bool *yes,     \
                     struct error *err)
#define UNUSED ((void)find, (void)node, (void)file, (void)err)

static const struct fs_attr *attr_of(const struct find_file *file)
{
    return &file->entry->attr;
}

/* ---- numbers --------------------------------------------------------------------------------------------
 */

/* "+5": more, "-5": less, "5": just so. */
static bool compare(const struct find_node *node, uint64_t value)
{
    return node->sign == '+'   ? value > node->number
           : node->sign == '-' ? value < node->number
                               : value == node->number;
}

static bool read_number(const char *text, char *sign, uint64_t *out, const char **rest, struct error *err)
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

PARSE(parse_number)
{
    (void)find;
    const char *rest;
    return read_number(args[0], &node->sign, &node->number, &rest, err) &&
           (!*rest || fail(err, E_USAGE, "'%s' is no number", args[0]));
}

TEST(test_links)
{
    UNUSED;
    *yes = compare(node, attr_of(file)->nlink);
    return true;
}

TEST(test_inum)
{
    UNUSED;
    *yes = compare(node, attr_of(file)->id);
    return true;
}

TEST(test_uid)
{
    UNUSED;
    *yes = compare(node, attr_of(file)->uid);
    return true;
}

TEST(test_gid)
{
    UNUSED;
    *yes = compare(node, attr_of(file)->gid);
    return true;
}

PARSE(parse_size)
{
    (void)find;
    static const char letters[] = "bcwkMG";
    static const uint64_t units[] = {512, 1, 2, KiB, MiB, GiB};
    const char *rest, *letter = letters;
    if (!read_number(args[0], &node->sign, &node->number, &rest, err))
        return false;
    if (*rest && (rest[1] || !(letter = strchr(letters, *rest))))
        return fail(err, E_USAGE, "'%s' is no size: a number with one of %s", args[0], letters);
    node->unit = units[letter - letters];
    return true;
}

TEST(test_size)
{
    UNUSED;
    *yes = compare(node, div_up(attr_of(file)->size, node->unit));
    return true;
}

/* ---- names ----------------------------------------------------------------------------------------------
 */

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

TEST(test_name)
{
    UNUSED;
    return match(node->args[0], file->entry->name, node->word->name[1] == 'i', yes, err);
}

TEST(test_path)
{
    UNUSED;
    return match(node->args[0], file->entry->path, node->word->name[1] == 'i', yes, err);
}

TEST(test_link_name)
{
    UNUSED;
    char *target;
    *yes = false;
    if (!S_ISLNK(attr_of(file)->mode))
        return true;
    if (!file_readlink(file->start->volume, file->entry->id, &target, err))
        return false;
    bool ok = match(node->args[0], target, node->word->name[1] == 'i', yes, err);
    free(target);
    return ok;
}

PARSE(parse_regex)
{
    (void)find;
    node->regex = mem_new(sizeof *node->regex, err);
    if (!node->regex)
        return false;
    int rc = regcomp(node->regex, args[0], REG_EXTENDED | (node->word->name[1] == 'i' ? REG_ICASE : 0));
    if (rc == 0)
        return true;
    char why[200];
    regerror(rc, node->regex, why, sizeof why);
    free(node->regex);
    node->regex = NULL;
    return fail(err, E_USAGE, "'%s': %s", args[0], why);
}

/* The whole path must match. */
TEST(test_regex)
{
    UNUSED;
    regmatch_t at;
    *yes = regexec(node->regex, file->entry->path, 1, &at, 0) == 0 && at.rm_so == 0 &&
           (size_t)at.rm_eo == strlen(file->entry->path);
    return true;
}

/* ---- types and permissions ------------------------------------------------------------------------------
 */

PARSE(parse_type)
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

static char type_letter(uint32_t mode)
{
    char text[11];
    mode_text(mode, text);
    return text[0] == '-' ? 'f' : text[0];
}

TEST(test_type)
{
    UNUSED;
    *yes = strchr(node->args[0], type_letter(attr_of(file)->mode)) != NULL;
    return true;
}

PARSE(parse_perm)
{
    (void)find;
    const char *text = args[0];
    uint32_t bits;
    node->sign = text[0] == '-' || text[0] == '/' ? text[0] : 0;
    if (!mode_apply(text + (node->sign != 0), 0, false, 0, &bits, err))
        return false;
    node->number = bits;
    return true;
}

TEST(test_perm)
{
    UNUSED;
    uint32_t bits = attr_of(file)->mode & 07777, wanted = (uint32_t)node->number;
    *yes = node->sign == '-'   ? (bits & wanted) == wanted
           : node->sign == '/' ? wanted == 0 || (bits & wanted) != 0
                               : bits == wanted;
    return true;
}

TEST(test_executable)
{
    UNUSED;
    *yes = (attr_of(file)->mode & 0111) != 0;
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

TEST(test_empty)
{
    UNUSED;
    struct emptiness state = {S_ISREG(attr_of(file)->mode) && attr_of(file)->size == 0};
    if (S_ISDIR(attr_of(file)->mode)) {
        state.empty = true;
        if (!file_readdir(file->start->volume, file->entry->id, not_empty, &state, err))
            return false;
    }
    *yes = state.empty;
    return true;
}

/* ---- times ----------------------------------------------------------------------------------------------
 */

/* The letter of -mtime, -anewer, -newerm... */
static struct fs_time chosen_time(char which, const struct fs_attr *attr)
{
    return which == 'a'   ? attr->atime
           : which == 'c' ? attr->ctime
           : which == 'B' ? attr->crtime
                          : attr->mtime;
}

PARSE(parse_age)
{
    node->which = node->word->name[1];
    return parse_number(find, node, args, err);
}

/* Ages are counted in whole days, or begun minutes, as GNU find does. */
TEST(test_age)
{
    UNUSED;
    struct fs_time time = chosen_time(node->which, attr_of(file));
    int64_t age = find->now.sec - time.sec - (time.nsec > find->now.nsec);
    bool fraction = time.nsec != find->now.nsec;
    bool minutes = strcmp(node->word->name + 2, "min") == 0;
    int64_t unit = minutes ? 60 : 86400;
    int64_t count = age < 0 ? -1 : minutes ? age / unit + (age % unit || fraction) : age / unit;
    if (count < 0)
        *yes = node->sign == '-';
    else if (minutes && node->sign == '-')
        *yes = (uint64_t)age < node->number * 60;
    else
        *yes = compare(node, (uint64_t)count);
    return true;
}

static bool time_of_file(struct find *find, const char *path, char which, struct fs_time *out,
                         struct error *err)
{
    struct file_arg arg;
    bool ok = file_arg_open(find->session, path, true, &arg, err);
    *out = chosen_time(which, &arg.attr);
    file_arg_close(&arg);
    return ok;
}

/* -newer, -anewer, -cnewer; -newerXY, where Y is t for a time given in words. */
PARSE(parse_newer)
{
    const char *name = node->word->name;
    char of = 'm';
    node->which = name[1] == 'n' ? 'm' : name[1];
    if (strncmp(name, "-newer", 6) == 0 && name[6]) {
        node->which = name[6];
        of = name[7];
    }
    if (of == 't')
        return time_parse(args[0], &node->time, err);
    return time_of_file(find, args[0], of, &node->time, err);
}

TEST(test_newer)
{
    UNUSED;
    struct fs_time time = chosen_time(node->which, attr_of(file));
    *yes = time.sec > node->time.sec || (time.sec == node->time.sec && time.nsec > node->time.nsec);
    return true;
}

/* ---- owners ---------------------------------------------------------------------------------------------
 */

struct owners *find_owners(struct find *find, const struct find_file *file, struct error *err)
{
    if (find->owners_of != file->start->volume) {
        owners_free(find->owners);
        find->owners = owners_new(file->start->volume, err);
        find->owners_of = find->owners ? file->start->volume : NULL;
    }
    return find->owners;
}

/* A name means what the volume says that is looked through. */
TEST(test_owner)
{
    UNUSED;
    bool group = strcmp(node->word->name, "-group") == 0;
    struct find_node *mine = (struct find_node *)(uintptr_t)node;
    if (node->owner_of != file->start->volume) {
        struct owner_spec spec;
        uint32_t gid;
        if (group ? !owner_parse_group(file->start->volume, node->args[0], &gid, err)
                  : !owner_parse(file->start->volume, node->args[0], &spec, err))
            return false;
        mine->number = group ? gid : spec.uid;
        mine->owner_of = file->start->volume;
    }
    *yes = (group ? attr_of(file)->gid : attr_of(file)->uid) == node->number;
    return true;
}

TEST(test_no_owner)
{
    UNUSED;
    struct owners *owners = find_owners(find, file, err);
    if (!owners)
        return false;
    bool group = strcmp(node->word->name, "-nogroup") == 0;
    *yes = !(group ? owner_group(owners, attr_of(file)->gid) : owner_user(owners, attr_of(file)->uid));
    return true;
}

PARSE(parse_samefile)
{
    struct file_arg arg;
    bool ok = file_arg_open(find->session, args[0], false, &arg, err);
    node->number = arg.id;
    node->owner_of = arg.volume;
    file_arg_close(&arg);
    return ok;
}

TEST(test_samefile)
{
    UNUSED;
    *yes = file->entry->id == node->number && file->start->volume == node->owner_of;
    return true;
}

/* ---- options and actions --------------------------------------------------------------------------------
 */

TEST(test_true)
{
    UNUSED;
    *yes = true;
    return true;
}

TEST(test_false)
{
    UNUSED;
    *yes = false;
    return true;
}

PARSE(parse_depth_limit)
{
    const char *rest;
    if (!read_number(args[0], &node->sign, &node->number, &rest, err) || *rest || node->sign)
        return fail(err, E_USAGE, "'%s' is no depth", args[0]);
    *(node->word->name[2] == 'a' ? &find->max_depth : &find->min_depth) = node->number;
    return true;
}

PARSE(parse_depth)
{
    (void)node;
    (void)args;
    (void)err;
    find->depth_first = true;
    return true;
}

TEST(test_prune)
{
    UNUSED;
    file->prune = true;
    *yes = true;
    return true;
}

TEST(test_quit)
{
    UNUSED;
    find->quit = true;
    *yes = true;
    return true;
}

TEST(test_delete)
{
    UNUSED;
    const struct walk_entry *entry = file->entry;
    fs_id dir = entry->dir;
    char name[1024];
    snprintf(name, sizeof name, "%s", entry->name);
    if (entry->depth == 0 &&
        !path_parent(file->start->volume, file->start->path, &dir, name, sizeof name, err))
        return false;
    *yes = file_remove(file->start->volume, dir, name, err);
    file->removed = *yes;
    return *yes;
}

/* {} stands for the path, also inside a word. */
static char *filled(const char *word, const char *path, struct error *err)
{
    size_t count = 0, len = strlen(path);
    for (const char *p = word; (p = strstr(p, "{}")); p += 2)
        count++;
    char *out = mem_new(strlen(word) + count * len + 1, err), *to = out;
    while (out && *word) {
        if (strncmp(word, "{}", 2) == 0) {
            memcpy(to, path, len);
            to += len;
            word += 2;
        } else {
            *to++ = *word++;
        }
    }
    return out;
}

static bool run_words(struct find *find, char **words, int count, bool *yes, struct error *err)
{
    *yes = call_run(find->call, words, count, find->out, err);
    /* What a test says by failing (grep -q, cmp) is no error; everything else is. */
    return *yes || (err->kind == E_FAILED && !err->message[0]);
}

PARSE(parse_exec)
{
    (void)args;
    (void)err;
    find->has_exec = true;
    node->flag = strcmp(node->args[node->arg_count], "+") == 0;
    return !node->flag || !find->batch_node ||
           fail(err, E_USAGE, "only one -exec of an expression can end in +");
}

TEST(test_exec)
{
    if (node->flag) {
        find->batch_node = node;
        *yes = true;
        if (!mem_grow(&find->batch, &find->batch_capacity, find->batch_count + 1, sizeof *find->batch, err))
            return false;
        find->batch[find->batch_count] = mem_string(file->entry->path, err);
        return find->batch[find->batch_count] && ++find->batch_count;
    }
    char **words = mem_array((size_t)node->arg_count + 1, sizeof *words, err);
    bool ok = words != NULL;
    for (int i = 0; ok && i < node->arg_count; i++)
        ok = (words[i] = filled(node->args[i], file->entry->path, err)) != NULL;
    ok = ok && run_words(find, words, node->arg_count, yes, err);
    for (int i = 0; words && i < node->arg_count; i++)
        free(words[i]);
    free(words);
    return ok;
}

bool find_run_batch(struct find *find, struct error *err)
{
    const struct find_node *node = find->batch_node;
    bool yes;
    if (!node || !find->batch_count)
        return true;
    size_t fixed = (size_t)node->arg_count - 1; /* the last is {} */
    char **words = mem_array(fixed + find->batch_count + 1, sizeof *words, err);
    if (!words)
        return false;
    memcpy(words, node->args, fixed * sizeof *words);
    memcpy(words + fixed, find->batch, find->batch_count * sizeof *words);
    bool ok = run_words(find, words, (int)(fixed + find->batch_count), &yes, err);
    free(words);
    return ok;
}

/* ---- the words ------------------------------------------------------------------------------------------
 */

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
    {"-size", 1, false, parse_size, test_size},
    {"-empty", 0, false, NULL, test_empty},
    {"-perm", 1, false, parse_perm, test_perm},
    {"-executable", 0, false, NULL, test_executable},
    {"-user", 1, false, NULL, test_owner},
    {"-group", 1, false, NULL, test_owner},
    {"-uid", 1, false, parse_number, test_uid},
    {"-gid", 1, false, parse_number, test_gid},
    {"-nouser", 0, false, NULL, test_no_owner},
    {"-nogroup", 0, false, NULL, test_no_owner},
    {"-links", 1, false, parse_number, test_links},
    {"-inum", 1, false, parse_number, test_inum},
    {"-samefile", 1, false, parse_samefile, test_samefile},
    {"-mtime", 1, false, parse_age, test_age},
    {"-atime", 1, false, parse_age, test_age},
    {"-ctime", 1, false, parse_age, test_age},
    {"-mmin", 1, false, parse_age, test_age},
    {"-amin", 1, false, parse_age, test_age},
    {"-cmin", 1, false, parse_age, test_age},
    {"-newer", 1, false, parse_newer, test_newer},
    {"-anewer", 1, false, parse_newer, test_newer},
    {"-cnewer", 1, false, parse_newer, test_newer},
    {"-newermt", 1, false, parse_newer, test_newer},
    {"-newerat", 1, false, parse_newer, test_newer},
    {"-newerct", 1, false, parse_newer, test_newer},
    {"-newerBt", 1, false, parse_newer, test_newer},
    {"-newermm", 1, false, parse_newer, test_newer},
    {"-newercm", 1, false, parse_newer, test_newer},
    {"-neweram", 1, false, parse_newer, test_newer},
    {"-maxdepth", 1, false, parse_depth_limit, test_true},
    {"-mindepth", 1, false, parse_depth_limit, test_true},
    {"-depth", 0, false, parse_depth, test_true},
    {"-d", 0, false, parse_depth, test_true},
    {"-xdev", 0, false, NULL, test_true},
    {"-mount", 0, false, NULL, test_true},
    {"-noleaf", 0, false, NULL, test_true},
    {"-true", 0, false, NULL, test_true},
    {"-false", 0, false, NULL, test_false},
    {"-prune", 0, false, NULL, test_prune},
    {"-quit", 0, true, NULL, test_quit},
    {"-delete", 0, true, parse_depth, test_delete},
    {"-exec", FIND_UNTIL_END, true, parse_exec, test_exec},
};

const struct find_word *find_word(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(words[i].name, name) == 0)
            return &words[i];
    for (size_t i = 0; find_printers[i].name; i++)
        if (strcmp(find_printers[i].name, name) == 0)
            return &find_printers[i];
    return NULL;
}
