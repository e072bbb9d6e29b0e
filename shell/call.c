/* One invocation: words are sorted into options and arguments,
 * checked against the command's row, expanded. */
#include "shell.h"

#include "alloc.h"
#include "bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the rows ---------------------------------------------------------------------------------------- */

static bool has_help(const struct flag *flag)
{
    return flag && flag->help;
}

const struct flag *flag_short(const struct command *command, char letter)
{
    for (const struct flag *flag = command->flags; has_help(flag); flag++)
        if (flag->letter == letter)
            return flag;
    return NULL;
}

/* By its whole name, or by the beginning of only one. */
const struct flag *flag_long(const struct command *command, const char *name, size_t len)
{
    const struct flag *found = NULL;
    unsigned count = 0;
    for (const struct flag *flag = command->flags; has_help(flag); flag++) {
        if (!flag->name || strncmp(flag->name, name, len) != 0)
            continue;
        if (!flag->name[len])
            return flag;
        found = flag;
        count++;
    }
    return count == 1 ? found : NULL;
}

static void arg_limits(const struct arg *rows, size_t *least, bool *unlimited, size_t *most)
{
    *least = *most = 0;
    *unlimited = false;
    for (const struct arg *row = rows; row && row->name; row++) {
        *least += row->count == ARG_ONE || row->count == ARG_MANY;
        *most += row->count == ARG_ONE || row->count == ARG_OPTIONAL;
        *unlimited |= row->count == ARG_MANY || row->count == ARG_ANY;
    }
}

const struct arg *arg_at(const struct arg *rows, size_t n, size_t count)
{
    size_t least, most;
    bool unlimited;
    arg_limits(rows, &least, &unlimited, &most);
    size_t extra = count > least ? count - least : 0;
    for (const struct arg *row = rows; row && row->name; row++) {
        bool needed = row->count == ARG_ONE || row->count == ARG_MANY;
        size_t more = row->count == ARG_ONE        ? 0
                      : row->count == ARG_OPTIONAL ? MIN_OF(extra, (size_t)1)
                                                   : extra;
        if (n < needed + more)
            return row;
        n -= needed + more;
        extra -= more;
    }
    return NULL;
}

const struct arg *verb_rows(const struct command *command, const char *first, size_t *skip)
{
    *skip = 0;
    for (const struct verb_args *verb = command->verbs; first && verb && verb->verb; verb++)
        if (strcmp(verb->verb, first) == 0) {
            *skip = 1;
            return verb->args;
        }
    return command->args;
}

static bool usage_error(const struct command *command, struct error *err, const char *fmt, ...)
    DISH_PRINTF(3, 4);
static bool usage_error(const struct command *command, struct error *err, const char *fmt, ...)
{
    char what[200];
    struct text usage = {0};
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    command_usage(command, &usage);
    fail(err, E_USAGE, "%s (usage: %s)", what, text_get(&usage));
    text_free(&usage);
    return false;
}

/* ---- sorting the words ------------------------------------------------------------------------------- */

struct sorting {
    struct shell *shell;
    struct arena *arena;
    const struct raw_call *raw;
    struct call *call;
    size_t given_capacity, args_capacity, lengths_capacity;
    struct value **positional; /* the words that are arguments */
    size_t positional_count, positional_capacity;
    size_t next; /* the word to look at */
};

static bool add_given(struct sorting *sorting, const struct flag *flag, const char *value, struct error *err)
{
    struct call *call = sorting->call;
    if (!arena_grow(sorting->arena, &call->given, &sorting->given_capacity, (size_t)call->given_count + 1,
                    sizeof *call->given, err))
        return false;
    call->given[call->given_count++] = (struct given){flag, value};
    return true;
}

/* The value of an option: the rest of its word, or the next word. */
static bool take_value(struct sorting *sorting, const struct flag *flag, const char *rest, const char *shown,
                       struct error *err)
{
    const struct raw_call *raw = sorting->raw;
    if (!rest) {
        if (sorting->next >= raw->count)
            return usage_error(raw->command, err, "%s needs a value: %s", shown, flag->value);
        const struct value *value = &raw->values[sorting->next++];
        rest = value->text;
        if (strlen(rest) != value->len)
            return fail(err, E_INVALID, "the value of %s holds a NUL byte", shown);
        bool host = flag->type == ARG_HOST || flag->type == ARG_HOST_NEW;
        if (host && !expand_host(sorting->arena, value, &rest, err))
            return false;
    }
    return add_given(sorting, flag, rest, err);
}

static bool take_long(struct sorting *sorting, const char *word, struct error *err)
{
    const struct command *command = sorting->raw->command;
    size_t n = strcspn(word + 2, "=");
    const char *value = word[2 + n] ? word + 2 + n + 1 : NULL;
    const struct flag *flag = flag_long(command, word + 2, n);
    char shown[80];
    snprintf(shown, sizeof shown, "--%.*s", (int)MIN_OF(n, (size_t)60), word + 2);
    if (!flag && strcmp(word, "--help") == 0) {
        sorting->call->help = true;
        return true;
    }
    if (!flag) {
        const char *names[64];
        size_t count = 0;
        for (flag = command->flags; has_help(flag) && count < ARRAY_LEN(names); flag++)
            if (flag->name)
                names[count++] = flag->name;
        const char *near = nearest_word(shown + 2, names, count);
        return near ? fail(err, E_USAGE, "unknown option %s; did you mean --%s?", shown, near)
                    : usage_error(command, err, "unknown option %s", shown);
    }
    if (flag->value && (value || flag->value[0] != '['))
        return take_value(sorting, flag, value, shown, err);
    return value ? usage_error(command, err, "%s takes no value", shown)
                 : add_given(sorting, flag, NULL, err);
}

static bool take_short(struct sorting *sorting, const char *word, struct error *err)
{
    const struct command *command = sorting->raw->command;
    for (const char *c = word + 1; *c; c++) {
        const struct flag *flag = flag_short(command, *c);
        char shown[3] = {'-', *c, 0};
        if (!flag)
            return usage_error(command, err, "unknown option %s", (unsigned char)*c < 0x80 ? shown : word);
        if (flag->value)
            return take_value(sorting, flag, c[1] ? c + 1 : NULL, shown, err);
        if (!add_given(sorting, flag, NULL, err))
            return false;
    }
    return true;
}

static bool is_option(const struct command *command, const struct value *value)
{
    const char *word = value->text;
    if (word[0] != '-' || !word[1])
        return false;
    bool digit = word[1] >= '0' && word[1] <= '9';
    return !digit || flag_short(command, word[1]); /* -1G is a size where there is no option -1 */
}

static bool add_positional(struct sorting *sorting, struct value *value, struct error *err)
{
    if (!arena_grow(sorting->arena, &sorting->positional, &sorting->positional_capacity,
                    sorting->positional_count + 1, sizeof(struct value *), err))
        return false;
    sorting->positional[sorting->positional_count++] = value;
    return true;
}

static bool sort_words(struct sorting *sorting, struct error *err)
{
    const struct raw_call *raw = sorting->raw;
    bool options = !(raw->command->needs & RAW_WORDS);
    if (!options && raw->count == 1 && strcmp(raw->values[0].text, "--help") == 0) {
        sorting->call->help = true;
        return true;
    }
    while (sorting->next < raw->count) {
        struct value *value = &raw->values[sorting->next++];
        if (options && strcmp(value->text, "--") == 0) {
            options = false;
        } else if (options && is_option(raw->command, value)) {
            bool is_long = value->text[1] == '-';
            if (!(is_long ? take_long : take_short)(sorting, value->text, err))
                return false;
        } else if (!add_positional(sorting, value, err)) {
            return false;
        }
    }
    return true;
}

/* ---- arguments --------------------------------------------------------------------------------------- */

static bool add_argument(void *arg, const char *text, size_t len, struct error *err)
{
    struct sorting *sorting = arg;
    struct call *call = sorting->call;
    size_t need = (size_t)call->argc + 2;
    if (need > INT32_MAX)
        return fail(err, E_TOOBIG, "too many arguments");
    if (strlen(text) != len && !(call->command->needs & TAKES_BYTES))
        return fail(err, E_INVALID, "argument %d holds a NUL byte", call->argc + 1);
    if (!arena_grow(sorting->arena, &call->args, &sorting->args_capacity, need, sizeof *call->args, err) ||
        !arena_grow(sorting->arena, &call->lengths, &sorting->lengths_capacity, need, sizeof *call->lengths,
                    err))
        return false;
    call->args[call->argc] = (char *)(uintptr_t)text;
    call->lengths[call->argc++] = len;
    call->args[call->argc] = NULL;
    return true;
}

/* The rows of the arguments: without the first where an option stands for it. */
static const struct arg *rows_of(const struct call *call)
{
    char name[40];
    for (const char *next = call->command->instead; next && *next; next += *next == '|') {
        size_t n = strcspn(next, "|");
        snprintf(name, sizeof name, "%.*s", (int)n, next);
        if (call_has(call, name))
            return call->command->args + 1;
        next += n;
    }
    return call->command->args;
}

static bool check_count(const struct sorting *sorting, size_t count, struct error *err)
{
    const struct command *command = sorting->raw->command;
    size_t least, most;
    bool unlimited;
    arg_limits(rows_of(sorting->call), &least, &unlimited, &most);
    if (!unlimited && count > most)
        return most == 0 ? usage_error(command, err, "takes no arguments")
                         : usage_error(command, err, "too many arguments");
    if (count >= least)
        return true;
    const struct arg *row = rows_of(sorting->call);
    for (size_t seen = 0; row->name; row++) {
        seen += row->count == ARG_ONE || row->count == ARG_MANY;
        if (seen > count)
            break;
    }
    return usage_error(command, err, "missing %s", row->name);
}

/* Words of a command that sorts them itself: the first row's type up to its expression,
 * then the last row's. */
static enum arg_type raw_type(const struct command *command, const struct value *value, bool *expression)
{
    const struct arg *row = command->args;
    if (!row || !row->name)
        return ARG_WORD;
    *expression |= value->text[0] == '-' || value->text[0] == '(' || value->text[0] == '!';
    while (*expression && row[1].name)
        row++;
    return row->type;
}

/* `cp -t DIR SRC` means `cp SRC DIR`. */
static bool add_last(struct sorting *sorting, struct error *err)
{
    const char *option = sorting->raw->command->last_from;
    const char *given = option ? call_value(sorting->call, option) : NULL;
    if (!given)
        return true;
    struct value *value = arena_new(sorting->arena, sizeof *value, err);
    if (!value)
        return false;
    value->text = (char *)(uintptr_t)given;
    value->len = strlen(given);
    return add_positional(sorting, value, err);
}

static bool expand_arguments(struct sorting *sorting, struct error *err)
{
    const struct command *command = sorting->raw->command;
    if (!add_last(sorting, err))
        return false;
    bool raw = command->needs & RAW_WORDS, expression = false;
    if (!raw && !check_count(sorting, sorting->positional_count, err))
        return false;
    size_t count = sorting->positional_count, skip;
    const struct arg *rows = verb_rows(command, count ? sorting->positional[0]->text : NULL, &skip);
    if (rows == command->args)
        rows = rows_of(sorting->call);
    for (size_t i = 0; i < count; i++) {
        const struct value *value = sorting->positional[i];
        const struct arg *row = raw || i < skip ? NULL : arg_at(rows, i - skip, count - skip);
        enum arg_type type = raw ? raw_type(command, value, &expression) : row ? row->type : ARG_WORD;
        int before = sorting->call->argc;
        if (!expand_argument(sorting->shell, sorting->arena, value, type, add_argument, sorting, err))
            return false;
        bool one = row && (row->count == ARG_ONE || row->count == ARG_OPTIONAL);
        if (one && sorting->call->argc > before + 1)
            return fail(err, E_USAGE, "%s: matches %d names where one is meant", value->text,
                        sorting->call->argc - before);
    }
    return true;
}

bool call_prepare(struct shell *shell, struct arena *arena, const struct raw_call *raw, struct call *call,
                  struct error *err)
{
    static char *none[1];
    *call =
        (struct call){.command = raw->command, .invoked_as = raw->invoked_as, .shell = shell, .args = none};
    struct sorting sorting = {.shell = shell, .arena = arena, .raw = raw, .call = call};
    call->args = NULL;
    if (!sort_words(&sorting, err) || (!call->help && !expand_arguments(&sorting, err)))
        return false;
    if (!call->args)
        call->args = none;
    return true;
}

/* ---- for the commands -------------------------------------------------------------------------------- */

static bool is_named(const struct flag *flag, const char *name)
{
    return name[1] ? flag->name && strcmp(flag->name, name) == 0 : flag->letter == name[0];
}

int call_has(const struct call *call, const char *name)
{
    int count = 0;
    for (int i = 0; i < call->given_count; i++)
        count += is_named(call->given[i].flag, name);
    return count;
}

const char *call_value(const struct call *call, const char *name)
{
    for (int i = call->given_count; i-- > 0;)
        if (is_named(call->given[i].flag, name))
            return call->given[i].value;
    return NULL;
}

bool call_options(const struct call *call, char letter, const struct option *table, struct options *out,
                  struct error *err)
{
    for (int i = 0; i < call->given_count; i++)
        if (call->given[i].flag->letter == letter && !options_parse(out, table, call->given[i].value, err))
            return false;
    return true;
}

static bool percent_of(const char *text, size_t len, uint64_t base, uint64_t *out, struct error *err)
{
    char *end;
    errno = 0;
    unsigned long long percent = strtoull(text, &end, 10);
    if (end != text + len - 1 || end == text || errno || percent > 1000000)
        return fail(err, E_INVALID, "%s is not a percentage", text);
    __uint128_t part = (__uint128_t)base * percent / 100;
    if (part > UINT64_MAX)
        return fail(err, E_TOOBIG, "%s of %llu bytes is too large", text, (unsigned long long)base);
    *out = (uint64_t)part;
    return true;
}

bool call_file_id(const char *text, fs_id *out, struct error *err)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    bool digits = *text >= '0' && *text <= '9' && *end == '\0';
    return (digits && !errno && *out != 0) ||
           fail(err, E_USAGE, "'%s' is not the number of a file (ls -i, lsdel)", text);
}

bool call_add_option(struct options *options, const struct option *table, const char *key, const char *value,
                     struct error *err)
{
    char *text = mem_new(strlen(key) + 2 * strlen(value) + 2, err);
    if (!text)
        return false;
    size_t n = strlen(key);
    memcpy(text, key, n);
    text[n++] = '=';
    for (const char *c = value; *c; c++) { /* a single comma would end the value */
        text[n++] = *c;
        if (*c == ',')
            text[n++] = ',';
    }
    bool ok = options_parse(options, table, text, err);
    free(text);
    return ok;
}

bool call_size(const char *text, uint64_t base, uint64_t *out, struct error *err)
{
    char sign = text[0] == '+' || text[0] == '-' ? text[0] : 0;
    const char *number = text + (sign != 0);
    size_t len = strlen(number);
    uint64_t value;
    bool good = len > 0 && number[len - 1] == '%' ? percent_of(number, len, base, &value, err)
                                                  : size_parse(number, &value, err);
    if (!good)
        return false;
    if (sign == '-' && value > base)
        return fail(err, E_INVALID, "%s is more than there is (%llu bytes)", text, (unsigned long long)base);
    if (sign == '+' && !add_u64(base, value, &value))
        return fail(err, E_TOOBIG, "%s is too large", text);
    *out = sign == '-' ? base - value : value;
    return true;
}

bool call_has_input(const struct call *call)
{
    return call->io->input || call->io->input_fd >= 0;
}

static bool call_can_read(const struct call *call, struct error *err)
{
    const struct io *io = call->io;
    return io->input || io->input_fd >= 0 || !call->shell->stdin_is_script ||
           fail(err, E_USAGE, "standard input is the script; give the text with <<WORD or < FILE");
}

bool call_read(struct call *call, void *buf, size_t n, size_t *got, struct error *err)
{
    struct io *io = call->io;
    if (io->input) {
        *got = MIN_OF(n, io->input_len - io->input_pos);
        memcpy(buf, io->input + io->input_pos, *got);
        io->input_pos += *got;
        return true;
    }
    int fd = io->input_fd >= 0 ? io->input_fd : STDIN_FILENO;
    if (!call_can_read(call, err))
        return false;
    for (;;) {
        ssize_t done = read(fd, buf, n);
        if (done >= 0) {
            *got = (size_t)done;
            return true;
        }
        if (errno != EINTR)
            return fail_errno(err, errno, "standard input");
        if (!interrupt_check(err))
            return false;
    }
}

bool call_confirm(struct call *call, bool *yes, struct error *err, const char *fmt, ...)
{
    struct text question = {0};
    va_list args;
    if (!call_can_read(call, err))
        return false;
    va_start(args, fmt);
    char *text = NULL;
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    text_escaped(&question, n >= 0 ? text : fmt, strlen(n >= 0 ? text : fmt));
    free(n >= 0 ? text : NULL);
    output_flush(call->io->out);
    shell_ask(call->shell, &question);
    char first = 0, c = 0;
    size_t got = 1;
    for (bool begun = false; got && c != '\n'; begun = true) {
        if (!call_read(call, &c, 1, &got, err))
            return false;
        if (got && !begun)
            first = c;
    }
    *yes = first == 'y' || first == 'Y';
    return true;
}

void call_complain(struct call *call, const char *object, const struct error *err)
{
    struct error shown = *err;
    if (object)
        because(&shown, "%s", object);
    if (err->kind != E_INTERRUPTED)
        shell_report_error(call->shell, call->invoked_as, &shown);
    if (call->complaint.kind == E_OK || err->kind == E_INTERRUPTED)
        call->complaint = shown;
}

bool call_result(const struct call *call, struct error *err)
{
    if (call->complaint.kind == E_OK)
        return true;
    *err = call->complaint;
    if (err->kind != E_INTERRUPTED) {
        err->message[0] = 0; /* it was said */
        err->device = NULL;
    }
    return false;
}

void call_note(struct call *call, const char *fmt, ...)
{
    char text[800];
    va_list args;
    if (call->shell->options.quiet)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    shell_say(call->shell, "%s: %s", call->invoked_as, text);
}

bool call_run(struct call *call, char **words, int count, struct output *out, struct error *err)
{
    return shell_run_nested(call->shell, words, count, out, err);
}

bool call_verbose(const struct call *call)
{
    return call->shell->options.verbose;
}
