/* Patterns are worked off component by component over a list of candidates, without recursion. */
#include "path.h"

#include "alloc.h"
#include "bytes.h"
#include "utf.h"
#include "walk.h"

#include <stdlib.h>
#include <sys/stat.h>

/* ---- one component ------------------------------------------------------------------------------------- */

/* A character: a well-formed UTF-8 sequence, else a single byte that is no letter of any alphabet. */
static size_t next_char(const char *p, uint32_t *code)
{
    size_t len = utf8_decode(p, strnlen(p, 4), code);
    if (len)
        return len;
    *code = 0x110000u + (uint8_t)*p;
    return 1;
}

struct class_name {
    const char *name;
    bool (*has)(uint32_t);
};

static bool is_upper(uint32_t c)
{
    return c >= 'A' && c <= 'Z';
}
static bool is_lower(uint32_t c)
{
    return c >= 'a' && c <= 'z';
}
static bool is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}
static bool is_alpha(uint32_t c)
{
    return is_upper(c) || is_lower(c);
}
static bool is_alnum(uint32_t c)
{
    return is_alpha(c) || is_digit(c);
}
static bool is_space(uint32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}
static bool is_blank(uint32_t c)
{
    return c == ' ' || c == '\t';
}
static bool is_cntrl(uint32_t c)
{
    return c < ' ' || c == 0x7F;
}
static bool is_graph(uint32_t c)
{
    return c > ' ' && c < 0x7F;
}
static bool is_print(uint32_t c)
{
    return c >= ' ' && c < 0x7F;
}
static bool is_xdigit(uint32_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
static bool is_punct(uint32_t c)
{
    return is_graph(c) && !is_alnum(c);
}

/* Those of POSIX, for ASCII alone: an image's names belong to no locale. */
static const struct class_name classes[] = {
    {"alnum", is_alnum}, {"alpha", is_alpha}, {"blank", is_blank}, {"cntrl", is_cntrl},
    {"digit", is_digit}, {"graph", is_graph}, {"lower", is_lower}, {"print", is_print},
    {"punct", is_punct}, {"space", is_space}, {"upper", is_upper}, {"xdigit", is_xdigit},
};

/* "[:digit:]" at p: *has; returns its length or 0. */
static size_t match_class(const char *p, uint32_t code, bool *has)
{
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        size_t len = strlen(classes[i].name);
        if (strncmp(p, "[:", 2) == 0 && strncmp(p + 2, classes[i].name, len) == 0 &&
            strncmp(p + 2 + len, ":]", 2) == 0) {
            *has = classes[i].has(code);
            return len + 4;
        }
    }
    return 0;
}

static size_t set_char(const char *p, uint32_t *code)
{
    bool quoted = *p == '\\' && p[1];
    return next_char(p + quoted, code) + quoted;
}

/* "[...]" at p against a character. Returns the set's length, 0 when it is not closed. */
static size_t match_set(const char *p, uint32_t code, bool *matched)
{
    const char *start = p++;
    bool negated = *p == '!' || *p == '^';
    p += negated;
    bool found = false, first = true;
    while (*p && (*p != ']' || first)) {
        first = false;
        bool has = false;
        size_t len = match_class(p, code, &has);
        if (!len) {
            uint32_t low, high;
            len = set_char(p, &low);
            high = low;
            if (p[len] == '-' && p[len + 1] && p[len + 1] != ']')
                len += 1 + set_char(p + len + 1, &high);
            has = code >= low && code <= high;
        }
        found |= has;
        p += len;
    }
    if (*p != ']')
        return 0;
    *matched = found != negated;
    return (size_t)(p + 1 - start);
}

/* One pattern element (not *) against the character at name. Returns the element's length, 0: no match. */
static size_t match_one(const char *pattern, const char *name, size_t *used)
{
    uint32_t code, wanted;
    *used = next_char(name, &code);
    if (*pattern == '?')
        return 1;
    if (*pattern == '[') {
        bool matched;
        size_t len = match_set(pattern, code, &matched);
        if (len)
            return matched ? len : 0;
    }
    size_t len = set_char(pattern, &wanted);
    return wanted == code ? len : 0;
}

bool glob_match(const char *pattern, const char *name)
{
    const char *star = NULL, *resume = NULL; /* after the last *, and what it has not eaten yet */
    while (*name) {
        if (*pattern == '*') {
            star = ++pattern;
            resume = name;
            continue;
        }
        size_t used, len = *pattern ? match_one(pattern, name, &used) : 0;
        if (len) {
            pattern += len;
            name += used;
            continue;
        }
        if (!star)
            return false;
        uint32_t code;
        resume += next_char(resume, &code);
        name = resume;
        pattern = star;
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

bool glob_has_magic(const char *pattern)
{
    for (const char *p = pattern; *p; p++) {
        if (*p == '\\' && p[1])
            p++;
        else if (strchr("*?[", *p))
            return true;
    }
    return false;
}

/* ---- paths --------------------------------------------------------------------------------------------- */

struct match_list {
    char **paths;
    size_t count, capacity;
};

static void list_free(struct match_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->paths[i]);
    free(list->paths);
    *list = (struct match_list){0};
}

/* dir and name joined; name may be empty. */
static bool list_add(struct match_list *list, const char *dir, const char *name, struct error *err)
{
    if (!mem_grow(&list->paths, &list->capacity, list->count + 1, sizeof *list->paths, err))
        return false;
    size_t len = strlen(dir);
    bool slash = len == 0 || dir[len - 1] != '/';
    char *path = mem_printf(err, "%s%s%s", dir, slash && *name ? "/" : "", name);
    if (!path)
        return false;
    list->paths[list->count++] = path;
    return true;
}

static char *unquoted(const char *pattern, struct error *err)
{
    char *out = mem_new(strlen(pattern) + 1, err);
    for (char *to = out; to && *pattern; pattern++) {
        if (*pattern == '\\' && pattern[1])
            pattern++;
        *to++ = *pattern;
    }
    return out;
}

struct scan {
    const char *pattern, *dir;
    struct match_list *found;
    struct error *err;
    bool ok;
};

static bool scan_entry(const struct fs_entry *entry, void *arg)
{
    struct scan *scan = arg;
    /* A leading dot is matched by a dot alone. */
    if (entry->fault || (entry->name[0] == '.' && scan->pattern[0] != '.'))
        return true;
    if (!glob_match(scan->pattern, entry->name))
        return true;
    scan->ok = list_add(scan->found, scan->dir, entry->name, scan->err);
    return scan->ok;
}

/* True with *dir when path is a directory or a link to one. */
static bool as_directory(struct volume *volume, const char *path, fs_id *dir, bool *is, struct error *err)
{
    struct fs_attr attr;
    *is = false;
    if (!path_lookup(volume, path, true, dir, err))
        return err->kind == E_NOENT || err->kind == E_NOTDIR || err->kind == E_LOOP;
    if (!file_attr(volume, *dir, &attr, err))
        return false;
    *is = S_ISDIR(attr.mode);
    return true;
}

static bool expand_magic(struct volume *volume, const char *dir_path, const char *pattern,
                         struct match_list *found, struct error *err)
{
    fs_id dir;
    bool is;
    if (!as_directory(volume, dir_path, &dir, &is, err))
        return false;
    struct scan scan = {.pattern = pattern, .dir = dir_path, .found = found, .err = err, .ok = true};
    return !is || (file_readdir(volume, dir, scan_entry, &scan, err) && scan.ok);
}

/* "**": the directory itself and all below it; as the last component everything below it. */
static bool expand_deep(struct volume *volume, const char *dir_path, bool last, struct match_list *found,
                        struct error *err)
{
    fs_id dir;
    bool is;
    if (!as_directory(volume, dir_path, &dir, &is, err))
        return false;
    struct walk *walk = NULL;
    struct walk_entry *entry;
    bool ok = !is || walk_new(&walk, volume, dir_path, dir, 0, err);
    while (ok && walk && (ok = walk_next(walk, &entry, err)) && entry->event != WALK_END) {
        bool hidden = entry->depth > 0 && entry->name[0] == '.';
        if (hidden && entry->event == WALK_DIR)
            walk_skip(walk);
        if (hidden || (entry->event != WALK_DIR && (entry->event != WALK_FILE || !last)))
            continue;
        if (entry->depth > 0 || !last)
            ok = list_add(found, entry->path, "", err);
    }
    walk_free(walk);
    return ok;
}

static bool expand_literal(struct volume *volume, const char *dir_path, const char *name, bool last,
                           struct match_list *found, struct error *err)
{
    fs_id id;
    bool ok = list_add(found, dir_path, name, err);
    if (ok && !path_lookup(volume, found->paths[found->count - 1], !last, &id, err)) {
        free(found->paths[--found->count]);
        ok = err->kind == E_NOENT || err->kind == E_NOTDIR || err->kind == E_LOOP;
    }
    return ok;
}

/* Only directories stay, each with a slash behind it. */
static bool keep_directories(struct volume *volume, struct match_list *list, struct error *err)
{
    struct match_list kept = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < list->count; i++) {
        fs_id dir;
        bool is;
        ok = as_directory(volume, list->paths[i], &dir, &is, err);
        if (!ok || !is)
            continue;
        char *path = mem_printf(err, "%s/", list->paths[i]);
        ok = path && list_add(&kept, path, "", err);
        free(path);
    }
    list_free(list);
    *list = kept;
    return ok;
}

static bool expand(struct volume *volume, const char *component, bool last, struct match_list *list,
                   struct error *err)
{
    struct match_list found = {0};
    bool ok = true;
    char *literal = glob_has_magic(component) ? NULL : unquoted(component, err);
    for (size_t i = 0; ok && i < list->count; i++) {
        if (literal)
            ok = expand_literal(volume, list->paths[i], literal, last, &found, err);
        else if (strcmp(component, "**") == 0)
            ok = expand_deep(volume, list->paths[i], last, &found, err);
        else
            ok = expand_magic(volume, list->paths[i], component, &found, err);
    }
    free(literal);
    list_free(list);
    *list = found;
    return ok;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool expand_all(struct volume *volume, const char *pattern, struct match_list *list, struct error *err)
{
    bool ok = list_add(list, "/", "", err);
    const char *p = pattern;
    while (ok && *p) {
        p += strspn(p, "/");
        size_t len = strcspn(p, "/");
        if (len == 0)
            break;
        char *component = mem_string_n(p, len, err);
        p += len;
        ok = component && expand(volume, component, !*p, list, err);
        free(component);
    }
    if (ok && p > pattern + 1 && p[-1] == '/')
        ok = keep_directories(volume, list, err);
    return ok;
}

bool path_glob(struct volume *volume, const char *pattern, bool (*emit)(const char *path, void *arg),
               void *arg, struct error *err)
{
    struct match_list list = {0};
    bool ok = expand_all(volume, pattern, &list, err);
    if (ok && list.count == 0)
        ok = fail(err, E_NOENT, "no match");
    if (list.count)
        qsort(list.paths, list.count, sizeof *list.paths, compare_paths);
    for (size_t i = 0; ok && i < list.count; i++)
        if (i == 0 || strcmp(list.paths[i], list.paths[i - 1]) != 0)
            if (!emit(list.paths[i], arg))
                break;
    list_free(&list);
    return ok;
}
