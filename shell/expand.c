/*
 * Words become values: variables are put in, and globs are expanded where the argument's kind says, in an
 * image or on the host. A variable's value is one piece of one word: it is neither split nor searched for
 * globs.
 */
#include "shell.h"

#include "bytes.h"
#include "path.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- variables --------------------------------------------------------------------------------------- */

static bool variable(struct shell *shell, const char *name, char status[16], const char **out,
                     struct error *err)
{
    if (strcmp(name, "?") == 0) {
        snprintf(status, 16, "%d", shell->status);
        *out = status;
        return true;
    }
    *out = getenv(name);
    return *out || fail(err, E_INVALID, "$%s is not set", name);
}

static bool is_magic(char c)
{
    return c == '*' || c == '?' || c == '[' || c == ']' || c == '\\';
}

struct building {
    struct text text, pattern;
    bool magic, absent;
};

static void add_bytes(struct building *building, const char *bytes, size_t n, bool plain)
{
    text_add(&building->text, bytes, n);
    for (size_t i = 0; i < n; i++) {
        if (!plain && is_magic(bytes[i]))
            text_char(&building->pattern, '\\');
        text_char(&building->pattern, bytes[i]);
        building->magic |= plain && (bytes[i] == '*' || bytes[i] == '?' || bytes[i] == '[');
    }
}

static bool finish_value(struct building *building, struct arena *arena, struct value *out, struct error *err)
{
    out->len = building->text.len;
    out->absent = building->absent;
    out->text = arena_copy(arena, text_get(&building->text), out->len, err);
    if (out->text && building->magic) {
        out->pattern = arena_copy(arena, text_get(&building->pattern), building->pattern.len, err);
        if (!out->pattern)
            out->text = NULL;
    }
    bool good = out->text && text_ok(&building->text, err) && text_ok(&building->pattern, err);
    text_free(&building->text);
    text_free(&building->pattern);
    return good;
}

bool expand_word(struct shell *shell, struct arena *arena, const struct word *word, struct value *out,
                 struct error *err)
{
    *out = (struct value){0};
    if (word->count == 1 && word->pieces[0].kind == PIECE_QUOTED) { /* nothing to look for */
        out->text = (char *)(uintptr_t)word->pieces[0].text;
        out->len = word->pieces[0].len;
        return true;
    }
    if (word->count == 1 && word->pieces[0].kind == PIECE_PLAIN && !strpbrk(word->pieces[0].text, "*?[~")) {
        out->text = (char *)(uintptr_t)word->pieces[0].text;
        out->len = word->pieces[0].len;
        return true;
    }
    struct building building = {.absent = true};
    for (size_t i = 0; i < word->count; i++) {
        const struct piece *piece = &word->pieces[i];
        bool is_variable = piece->kind == PIECE_VARIABLE || piece->kind == PIECE_VARIABLE_QUOTED;
        const char *bytes = piece->text;
        char status[16];
        if (is_variable && !variable(shell, piece->text, status, &bytes, err)) {
            text_free(&building.text);
            text_free(&building.pattern);
            return false;
        }
        size_t n = is_variable ? strlen(bytes) : piece->len;
        building.absent &= piece->kind == PIECE_VARIABLE && n == 0;
        add_bytes(&building, bytes, n, piece->kind == PIECE_PLAIN);
    }
    building.absent &= word->count > 0;
    const struct piece *first = word->count ? &word->pieces[0] : NULL;
    out->tilde = first && first->kind == PIECE_PLAIN && first->text[0] == '~' &&
                 (first->text[1] == '/' || (first->text[1] == 0 && word->count == 1));
    return finish_value(&building, arena, out, err);
}

/* ---- host paths -------------------------------------------------------------------------------------- */

static bool at_home(struct arena *arena, const char *text, const char **out, struct error *err)
{
    const char *home = getenv("HOME");
    if (!home)
        return fail(err, E_INVALID, "~: $HOME is not set");
    size_t n = strlen(home), rest = strlen(text + 1);
    char *path = arena_new(arena, n + rest + 1, err);
    if (!path)
        return false;
    memcpy(path, home, n);
    memcpy(path + n, text + 1, rest);
    *out = path;
    return true;
}

bool expand_host(struct arena *arena, const struct value *value, const char **out, struct error *err)
{
    *out = value->text;
    if (strlen(value->text) != value->len)
        return fail(err, E_INVALID, "a file name cannot hold a NUL byte");
    return !value->tilde || at_home(arena, value->text, out, err);
}

/* ---- globs ------------------------------------------------------------------------------------------- */

size_t place_prefix(const struct session *session, const char *text)
{
    size_t total = 0, n = strcspn(text, ":/");
    char name[256];
    if (text[n] == ':' && n > 0 && n < sizeof name) {
        memcpy(name, text, n);
        name[n] = 0;
        if (session_image(session, name)) {
            total = n + 1;
            n = strcspn(text + total, ":/");
        }
    }
    if (text[total + n] == ':' && n > 0 && strspn(text + total, "0123456789") == n)
        total += n + 1;
    return total;
}

struct matching {
    struct arena *arena;
    const char *prefix; /* put before each match */
    size_t prefix_len;
    size_t cut; /* bytes of the current directory to take off each match */
    bool (*emit)(void *, const char *, size_t, struct error *);
    void *arg;
    struct error *err;
    bool failed;
};

static bool take_match(const char *path, void *arg)
{
    struct matching *matching = arg;
    const char *shown = path + MIN_OF(matching->cut, strlen(path));
    size_t n = strlen(shown), colon = strcspn(shown, ":/");
    /* A relative name that reads like "2:..." must not be taken for a volume. */
    const char *dot = matching->cut > 0 && shown[colon] == ':' && matching->prefix_len == 0 ? "./" : "";
    size_t total = matching->prefix_len + strlen(dot) + n;
    char *word = arena_new(matching->arena, total + 1, matching->err);
    if (word) {
        memcpy(word, matching->prefix, matching->prefix_len);
        memcpy(word + matching->prefix_len, dot, strlen(dot));
        memcpy(word + matching->prefix_len + strlen(dot), shown, n);
    }
    matching->failed = !word || !matching->emit(matching->arg, word, total, matching->err);
    return !matching->failed;
}

/* The pattern made absolute: a current directory's own * and ? mean themselves. */
static void absolute_pattern(struct text *out, const char *cwd, const char *pattern)
{
    if (pattern[0] != '/') {
        for (const char *c = cwd; *c; c++) {
            if (is_magic(*c))
                text_char(out, '\\');
            text_char(out, *c);
        }
        if (out->len == 0 || out->bytes[out->len - 1] != '/')
            text_char(out, '/');
    }
    text_string(out, pattern);
}

static bool glob_image(struct shell *shell, const struct value *value, struct matching *matching,
                       struct error *err)
{
    size_t prefix = place_prefix(shell->session, value->text);
    struct location location;
    char *root = arena_new(matching->arena, prefix + 2, err);
    if (!root)
        return false;
    memcpy(root, value->text, prefix);
    root[prefix] = '/';
    if (!location_parse(shell->session, root, &location, err))
        return false;
    const char *cwd = location.volume->cwd ? location.volume->cwd : "/";
    const char *pattern = value->pattern + prefix; /* a prefix has nothing that is quoted in a pattern */
    struct text absolute = {0};
    absolute_pattern(&absolute, cwd, pattern);
    matching->prefix = value->text;
    matching->prefix_len = prefix;
    matching->cut = pattern[0] == '/' ? 0 : strlen(cwd) + (strcmp(cwd, "/") != 0);
    bool good =
        text_ok(&absolute, err) && path_glob(location.volume, text_get(&absolute), take_match, matching, err);
    text_free(&absolute);
    location_free(&location);
    return good;
}

static bool glob_on_host(const struct value *value, struct matching *matching, struct error *err)
{
    const char *pattern = value->pattern;
    if (value->tilde && !at_home(matching->arena, pattern, &pattern, err))
        return false;
    matching->prefix = "";
    return host_glob(pattern, take_match, matching, err);
}

static bool has_host_globs(enum arg_type type)
{
    return type == ARG_HOST;
}

static bool has_image_globs(enum arg_type type)
{
    return type == ARG_PATH || type == ARG_PLACE;
}

bool expand_argument(struct shell *shell, struct arena *arena, const struct value *value, enum arg_type type,
                     bool (*emit)(void *arg, const char *text, size_t len, struct error *), void *arg,
                     struct error *err)
{
    struct matching matching = {.arena = arena, .emit = emit, .arg = arg, .err = err};
    bool host = has_host_globs(type) || type == ARG_HOST_NEW;
    if (value->pattern && (has_host_globs(type) || has_image_globs(type))) {
        bool good = host ? glob_on_host(value, &matching, err) : glob_image(shell, value, &matching, err);
        if (matching.failed)
            return false;
        return good || (err->kind == E_NOENT ? fail(err, E_NOENT, "%s: no match", value->text) : false);
    }
    const char *text = value->text;
    if (host && value->tilde) {
        if (!expand_host(arena, value, &text, err))
            return false;
        return emit(arg, text, strlen(text), err);
    }
    return emit(arg, text, value->len, err);
}
