/* The actions of find that run a command of dish: -exec, and -ok, -execdir, -okdir. */
#include "alloc.h"
#include "find.h"
#include "path.h"

#include <stdlib.h>
#include <string.h>

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

FIND_PARSE(parse_exec)
{
    (void)args;
    const char *name = node->word->name;
    find->has_exec = true;
    node->asks = strncmp(name, "-ok", 3) == 0;
    node->in_directory = strstr(name, "dir") != NULL;
    node->flag = strcmp(node->args[node->arg_count], "+") == 0 && !node->in_directory;
    if (node->asks && strcmp(node->args[node->arg_count], "+") == 0)
        return fail(err, E_USAGE, "its command ends in ';' (quoted, as \\;), not in +");
    return !node->flag || !find->batch_node ||
           fail(err, E_USAGE, "only one -exec of an expression can end in +");
}

static bool add_to_batch(struct find *find, const struct find_node *node, const char *path, struct error *err)
{
    find->batch_node = node;
    if (!mem_grow(&find->batch, &find->batch_capacity, find->batch_count + 1, sizeof *find->batch, err))
        return false;
    find->batch[find->batch_count] = mem_string(path, err);
    return find->batch[find->batch_count] && ++find->batch_count;
}

/* With -execdir and -okdir commands run in the file's directory; what was current before is back afterwards.
 */
struct elsewhere {
    struct volume *current, *volume;
    char *cwd;  /* of volume, before */
    char *name; /* of the file there: "./name" */
};

static bool go_there(struct find *find, const struct find_file *file, struct elsewhere *place,
                     struct error *err)
{
    struct volume *volume = file->start->volume;
    char *typed = find_absolute_path(file, err), *path = NULL, *above = NULL, *dir = NULL, *base = NULL;
    bool ok = typed && (path = path_absolute("/", typed, err)) && path_split(path, &above, &base, err) &&
              path_real(volume, above, &dir, err) &&
              (place->name = base[0] ? mem_printf(err, "./%s", base) : mem_string("/", err));
    if (ok) {
        *place = (struct elsewhere){
            .current = find->session->volume, .volume = volume, .cwd = volume->cwd, .name = place->name};
        volume->cwd = dir;
        find->session->volume = volume;
    } else {
        free(dir);
    }
    free(typed);
    free(path);
    free(above);
    free(base);
    return ok;
}

static void come_back(struct find *find, struct elsewhere *place)
{
    free(place->volume->cwd);
    place->volume->cwd = place->cwd;
    find->session->volume = place->current;
    free(place->name);
}

/* The question of -ok and -okdir. */
static bool may_run(struct find *find, const struct find_node *node, const char *path, bool *yes,
                    struct error *err)
{
    *yes = true;
    return !node->asks || call_confirm(find->call, yes, err, "< %s ... %s > ? ", node->args[0], path);
}

static bool exec_for(struct find *find, const struct find_node *node, const char *name, bool *yes,
                     struct error *err)
{
    char **words = mem_array((size_t)node->arg_count + 1, sizeof *words, err);
    bool ok = words != NULL;
    for (int i = 0; ok && i < node->arg_count; i++)
        ok = (words[i] = filled(node->args[i], name, err)) != NULL;
    ok = ok && run_words(find, words, node->arg_count, yes, err);
    for (int i = 0; words && i < node->arg_count; i++)
        free(words[i]);
    free(words);
    return ok;
}

FIND_TEST(test_exec)
{
    struct elsewhere place = {0};
    *yes = true;
    if (node->flag)
        return add_to_batch(find, node, file->entry->path, err);
    if (!may_run(find, node, file->entry->path, yes, err))
        return false;
    if (!*yes)
        return true;
    if (!node->in_directory)
        return exec_for(find, node, file->entry->path, yes, err);
    if (!go_there(find, file, &place, err))
        return false;
    bool ok = exec_for(find, node, place.name, yes, err);
    come_back(find, &place);
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

const struct find_word find_executors[] = {
    {"-exec", FIND_UNTIL_END, true, parse_exec, test_exec},
    {"-ok", FIND_UNTIL_END, true, parse_exec, test_exec},
    {"-execdir", FIND_UNTIL_END, true, parse_exec, test_exec},
    {"-okdir", FIND_UNTIL_END, true, parse_exec, test_exec},
    {NULL, 0, false, NULL, NULL},
};
