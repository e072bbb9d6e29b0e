/* Globs on the host: *, ?, […] within a name, ** over directories. */
#include "shell.h"

#include "alloc.h"
#include "path.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 64 };

struct host_walk {
    bool (*emit)(const char *, void *);
    void *arg;
    struct text path;
    unsigned depth;
    bool found, stopped;
};

static bool step(struct host_walk *, const char *pattern, struct error *);

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory, sorted; none when it cannot be read. */
static bool list_names(const char *path, char ***names, size_t *count, struct error *err)
{
    size_t capacity = 0;
    struct dirent *entry;
    *names = NULL;
    *count = 0;
    DIR *dir = opendir(*path ? path : ".");
    bool good = true;
    while (good && dir && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        good = mem_grow(names, &capacity, *count + 1, sizeof **names, err) &&
               ((*names)[*count] = mem_string(entry->d_name, err)) != NULL && interrupt_check(err);
        *count += good;
    }
    if (dir)
        closedir(dir);
    if (*count > 1)
        qsort(*names, *count, sizeof **names, by_name);
    return good;
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static void cut(struct text *path, size_t len)
{
    path->len = len;
    if (path->bytes)
        path->bytes[len] = 0;
}

static bool is_directory(const char *path, bool follow)
{
    struct stat st;
    return (follow ? stat(path, &st) : lstat(path, &st)) == 0 && S_ISDIR(st.st_mode);
}

/* Go on below the path with `name` joined. */
static bool enter(struct host_walk *walk, const char *name, const char *rest, struct error *err)
{
    size_t before = walk->path.len;
    text_string(&walk->path, name);
    bool good = text_ok(&walk->path, err) && step(walk, rest, err);
    cut(&walk->path, before);
    return good;
}

/* `**`: the rest of the pattern here, and in every directory below (symbolic links are not followed). */
static bool any_depth(struct host_walk *walk, const char *rest, struct error *err)
{
    char **names;
    size_t count;
    const char *after = rest;
    while (*after == '/')
        after++;
    if (walk->depth >= MAX_DEPTH)
        return fail(err, E_LOOP, "%s: directories are nested too deeply", text_get(&walk->path));
    if (*after && !step(walk, after, err))
        return false;
    walk->depth++;
    bool good = list_names(text_get(&walk->path), &names, &count, err);
    for (size_t i = 0; good && !walk->stopped && i < count; i++) {
        size_t before = walk->path.len;
        if (names[i][0] == '.')
            continue;
        text_string(&walk->path, names[i]);
        if (!*after)
            good = step(walk, "", err);
        if (good && is_directory(text_get(&walk->path), false)) {
            text_char(&walk->path, '/');
            good = any_depth(walk, rest, err);
        }
        cut(&walk->path, before);
    }
    free_names(names, count);
    walk->depth--;
    return good;
}

static bool match_names(struct host_walk *walk, const char *component, const char *rest, struct error *err)
{
    char **names;
    size_t count;
    bool good = list_names(text_get(&walk->path), &names, &count, err);
    for (size_t i = 0; good && !walk->stopped && i < count; i++)
        if ((names[i][0] != '.' || component[0] == '.') && glob_match(component, names[i]))
            good = enter(walk, names[i], rest, err);
    free_names(names, count);
    return good;
}

/* Take the backslashes out of a component without globs. */
static void unquote(char *component)
{
    char *to = component;
    for (const char *from = component; *from; from++) {
        from += from[0] == '\\' && from[1];
        *to++ = *from;
    }
    *to = 0;
}

/* The path so far matches; `pattern` is what is left. */
static bool step(struct host_walk *walk, const char *pattern, struct error *err)
{
    struct stat st;
    const char *path = text_get(&walk->path);
    if (walk->stopped)
        return true;
    if (!*pattern) {
        if (lstat(path, &st) == 0) {
            walk->found = true;
            walk->stopped = !walk->emit(path, walk->arg);
        }
        return true;
    }
    if (*pattern == '/') {
        if (walk->path.len > 0 && !is_directory(path, true))
            return true;
        return enter(walk, "/", pattern + strspn(pattern, "/"), err);
    }
    size_t n = strcspn(pattern, "/");
    if (n == 2 && memcmp(pattern, "**", 2) == 0)
        return any_depth(walk, pattern + n, err);
    char *component = mem_string_n(pattern, n, err);
    if (!component)
        return false;
    bool good;
    if (glob_has_magic(component)) {
        good = match_names(walk, component, pattern + n, err);
    } else {
        unquote(component);
        good = enter(walk, component, pattern + n, err);
    }
    free(component);
    return good;
}

bool host_glob(const char *pattern, bool (*emit)(const char *path, void *arg), void *arg, struct error *err)
{
    struct host_walk walk = {.emit = emit, .arg = arg};
    bool good = step(&walk, pattern, err);
    text_free(&walk.path);
    return good && (walk.found || fail(err, E_NOENT, "no match"));
}
