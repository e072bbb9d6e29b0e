/* What may stand at the cursor: the word is found as the shell would read it,
 * and asked of the command's row. */
#include "interactive.h"

#include "alloc.h"
#include "bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- candidates -------------------------------------------------------------------------------------- */

void candidate_add(struct candidates *found, const char *text, const char *note, bool more)
{
    struct error err;
    if (strncmp(text, found->typed, found->typed_len) != 0)
        return;
    for (size_t i = found->count; i-- > 0 && i + 64 > found->count;)
        if (strcmp(found->items[i].text, text) == 0)
            return;
    char *copy = mem_string(text, &err);
    if (!copy || !mem_grow(&found->items, &found->capacity, found->count + 1, sizeof *found->items, &err)) {
        free(copy);
        found->cut = true;
        return;
    }
    char *note_copy = note && *note ? strdup(note) : NULL;
    found->items[found->count++] = (struct candidate){copy, note_copy, more};
}

void candidate_printf(struct candidates *found, const char *note, bool more, const char *fmt, ...)
{
    struct text text = {0};
    char small[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    text_string(&text, small);
    candidate_add(found, text_get(&text), note, more);
    text_free(&text);
}

void candidates_free(struct candidates *found)
{
    for (size_t i = 0; i < found->count; i++) {
        free(found->items[i].text);
        free(found->items[i].note);
    }
    free(found->items);
    free(found->typed);
    *found = (struct candidates){0};
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct candidate *)a)->text, ((const struct candidate *)b)->text);
}

/* ---- insertion --------------------------------------------------------------------------------------- */

/* The bytes that all begin with, cut at a whole character. */
static size_t common_length(const struct candidates *found)
{
    size_t len = strlen(found->items[0].text);
    for (size_t i = 1; i < found->count; i++) {
        const char *a = found->items[0].text, *b = found->items[i].text;
        size_t same = 0;
        while (same < len && a[same] == b[same])
            same++;
        len = same;
    }
    while (len > found->typed_len && ((unsigned char)found->items[0].text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

static void insert_control(struct text *out, unsigned char c, enum quoting quoting)
{
    const char *mark = quoting == QUOTING_SINGLE ? "'" : quoting == QUOTING_DOUBLE ? "\"" : "";
    if (quoting == QUOTING_ANSI)
        text_printf(out, "\\%03o", c);
    else
        text_printf(out, "%s$'\\%03o'%s", mark, c, mark);
}

static void insert_byte(struct text *out, char c, enum quoting quoting)
{
    if ((unsigned char)c < 0x20 || c == 0x7f)
        insert_control(out, (unsigned char)c, quoting);
    else if (quoting == QUOTING_SINGLE && c == '\'')
        text_string(out, "'\\''");
    else if ((quoting == QUOTING_DOUBLE && strchr("\"$`\\", c)) ||
             (quoting == QUOTING_ANSI && strchr("\\'", c)) ||
             (quoting == QUOTING_NONE && strchr(" '\"\\$`*?[;&|<>#~!", c)))
        text_printf(out, "\\%c", c);
    else
        text_char(out, c);
}

void complete_insertion(const struct candidates *found, struct text *out)
{
    if (found->count == 0 || found->cut)
        return;
    const char *text = found->items[0].text;
    size_t len = common_length(found);
    for (size_t i = found->typed_len; i < len; i++)
        insert_byte(out, text[i], found->quoting);
    if (found->count > 1 || found->items[0].more)
        return;
    static const char *const closing[] = {
        [QUOTING_NONE] = "", [QUOTING_SINGLE] = "'", [QUOTING_DOUBLE] = "\"", [QUOTING_ANSI] = "'"};
    text_string(out, closing[found->quoting]);
    text_char(out, ' ');
}

/* ---- the place in the command ------------------------------------------------------------------------ */

struct typed_words {
    struct arena arena;
    char **words; /* those before the cursor's; [0] is the command's name, aliases resolved */
    size_t count, capacity;
};

static bool add_word(struct typed_words *typed, const char *text)
{
    struct error err;
    if (!arena_grow(&typed->arena, &typed->words, &typed->capacity, typed->count + 1, sizeof *typed->words,
                    &err))
        return false;
    typed->words[typed->count] = arena_copy(&typed->arena, text, strlen(text), &err);
    return typed->words[typed->count++] != NULL;
}

/* The words of an alias; its text is simple enough to be split at blanks. */
static bool add_first(struct shell *shell, struct typed_words *typed, const char *name)
{
    const char *alias = command_find(name, strlen(name)) ? NULL : alias_find(shell, name);
    if (!alias)
        return add_word(typed, name);
    bool good = true;
    while (good && *alias) {
        char word[200];
        size_t n = strcspn(alias, " ");
        snprintf(word, sizeof word, "%.*s", (int)MIN_OF(n, sizeof word - 1), alias);
        good = add_word(typed, word);
        alias += n + strspn(alias + n, " ");
    }
    return good;
}

static bool collect_words(struct shell *shell, const struct cursor *cursor, struct typed_words *typed)
{
    const struct simple *command = cursor->command;
    for (size_t i = 0; i < command->word_count; i++) {
        struct value value;
        struct error err;
        if (&command->words[i] == cursor->word)
            break;
        if (!expand_word(shell, &typed->arena, &command->words[i], &value, &err))
            value.text = (char[]){""};
        const struct command *first =
            typed->count ? command_find(typed->words[0], strlen(typed->words[0])) : NULL;
        if (first && (first->needs & PREFIX) && typed->count == 1)
            typed->count = 0; /* what follows is a command of its own */
        if (!(typed->count == 0 ? add_first(shell, typed, value.text) : add_word(typed, value.text)))
            return false;
    }
    const struct command *first =
        typed->count ? command_find(typed->words[0], strlen(typed->words[0])) : NULL;
    if (first && (first->needs & PREFIX) && typed->count == 1)
        typed->count = 0;
    return true;
}

/* The option whose value the last of these words is still to give; the arguments among them are counted. */
static const struct flag *open_option(const struct command *command, char **words, size_t count,
                                      char **arguments, size_t *argument_count, bool *options)
{
    const struct flag *waiting = NULL;
    *argument_count = 0;
    *options = !(command->needs & RAW_WORDS);
    for (size_t i = 1; i < count; i++) {
        const char *word = words[i];
        if (waiting) {
            waiting = NULL;
        } else if (*options && strcmp(word, "--") == 0) {
            *options = false;
        } else if (*options && word[0] == '-' && word[1] == '-') {
            const struct flag *flag =
                strchr(word, '=') ? NULL : flag_long(command, word + 2, strlen(word + 2));
            waiting = flag && flag->value && flag->value[0] != '[' ? flag : NULL;
        } else if (*options && word[0] == '-' && word[1]) {
            for (const char *c = word + 1; *c; c++) {
                const struct flag *flag = flag_short(command, *c);
                if (flag && flag->value) {
                    waiting = c[1] ? NULL : flag;
                    break;
                }
            }
        } else {
            arguments[(*argument_count)++] = words[i];
        }
    }
    return waiting;
}

static void complete_options(const struct command *command, struct candidates *found)
{
    bool only_long = found->typed_len >= 2;
    for (const struct flag *flag = command->flags; flag && flag->help; flag++) {
        if (flag->name)
            candidate_printf(found, flag->help, *flag_glue(flag), "--%s%s", flag->name, flag_glue(flag));
        else if (!only_long)
            candidate_printf(found, flag->help, false, "-%c", flag->letter);
    }
    candidate_add(found, "--help", "explain this command", false);
    snprintf(found->help, sizeof found->help, "%s: %s", command->name, command->summary);
}

static void complete_argument(struct shell *shell, const struct typed_words *typed,
                              const struct command *command, char **arguments, size_t count,
                              struct candidates *found)
{
    size_t skip;
    const struct arg *rows = verb_rows(command, count ? arguments[0] : NULL, &skip);
    const struct arg *row = arg_at(rows, count - skip, count - skip + 1);
    if (!row) {
        snprintf(found->help, sizeof found->help, "%s takes no further arguments", command->name);
        return;
    }
    snprintf(found->help, sizeof found->help, "%s: %s (%s)", row->name, row->help, command->summary);
    if (row->values)
        complete_words(found, row->values);
    complete_type(shell, found, row->type, typed->words, typed->count);
}

static void complete_in_command(struct shell *shell, struct typed_words *typed, struct candidates *found)
{
    const char *name = typed->words[0];
    const struct command *command = command_find(name, strlen(name));
    char **arguments = calloc(typed->count + 1, sizeof *arguments);
    size_t count;
    bool options;
    if (!command) {
        snprintf(found->help, sizeof found->help, "%.100s: unknown command", name);
    } else if (arguments) {
        const struct flag *flag =
            open_option(command, typed->words, typed->count, arguments, &count, &options);
        char *equals = options && strncmp(found->typed, "--", 2) == 0 ? strchr(found->typed, '=') : NULL;
        if (flag) {
            snprintf(found->help, sizeof found->help, "%s: %s", flag->value, flag->help);
            complete_type(shell, found, flag->type, typed->words, typed->count);
        } else if (equals) {
            flag = flag_long(command, found->typed + 2, (size_t)(equals - found->typed) - 2);
            if (flag && flag->value)
                snprintf(found->help, sizeof found->help, "%s: %s", flag->value, flag->help);
        } else if (options && found->typed[0] == '-') {
            complete_options(command, found);
        } else {
            complete_argument(shell, typed, command, arguments, count, found);
        }
    }
    free(arguments);
}

/* The last word of host text, where host files may be meant. */
static bool host_word(const char *text, size_t len, struct candidates *found)
{
    size_t start = len;
    struct error err;
    while (start > 0 && !strchr(" \t|;&<>!=", text[start - 1]))
        start--;
    found->typed = mem_string_n(text + start, len - start, &err);
    found->typed_len = len - start;
    snprintf(found->help, sizeof found->help, "a command of the host's shell, and its files");
    if (found->typed)
        complete_host(found);
    return found->typed != NULL;
}

static bool ends_in_backslash(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && text[len - 1 - n] == '\\')
        n++;
    return n % 2 == 1;
}

static bool complete_word(struct shell *shell, const struct cursor *cursor, struct typed_words *typed,
                          struct candidates *found)
{
    struct value value = {.text = (char[]){""}};
    struct error err;
    if (cursor->word && !expand_word(shell, &typed->arena, cursor->word, &value, &err)) {
        snprintf(found->help, sizeof found->help, "%s", err.message);
        return true;
    }
    found->typed = mem_string(value.text, &err);
    if (!found->typed || !collect_words(shell, cursor, typed))
        return false;
    found->typed_len = strlen(found->typed);
    found->quoting = cursor->quoting;
    if (cursor->redirect) {
        snprintf(found->help, sizeof found->help, "a file on the host");
        complete_host(found);
    } else if (typed->count == 0) {
        complete_commands(shell, found);
    } else {
        complete_in_command(shell, typed, found);
    }
    return true;
}

bool complete_at(struct shell *shell, const char *text, size_t len, struct candidates *found)
{
    struct parser parser = {0};
    struct typed_words typed = {0};
    struct cursor cursor;
    bool good = !ends_in_backslash(text, len) && words_at(&parser, text, len, &cursor);
    if (good)
        good = cursor.host ? host_word(text, len, found) : complete_word(shell, &cursor, &typed, found);
    if (good && found->count > 1)
        qsort(found->items, found->count, sizeof *found->items, by_text);
    arena_free(&typed.arena);
    parser_free(&parser);
    return good;
}
