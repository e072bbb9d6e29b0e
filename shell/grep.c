/* grep: lines that match. */
#include "alloc.h"
#include "bytes.h"
#include "matcher.h"
#include "path.h"
#include "reader.h"
#include "text.h"
#include "walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct grep {
    struct session *session;
    struct call *call;
    struct output *out;
    struct report *list;
    struct matcher *matcher;
    bool invert, count, quiet, names_only, names_without, line_numbers, text, only_matching, byte_offsets;
    bool recursive, silent, skip_binary, null_names, names;
    uint64_t max_count, before, after;
    bool found;
    uint8_t *chunk;
};

/* One file's state. */
struct scan {
    struct grep *grep;
    const char *name;
    bool binary, done;
    uint64_t line, matches;
    uint64_t after_left; /* lines of context still to print */
    uint64_t printed;    /* number of the last line printed */
    struct text buffer;  /* lines of context, then what was not looked at yet */
    size_t next;         /* where the latter begins */
    uint64_t offset;     /* of the buffer in the file */
};

/* ---- printing ------------------------------------------------------------------------------------------ */

static void print_name(const struct scan *scan, char mark)
{
    struct grep *grep = scan->grep;
    output_color(grep->out, "35");
    output_name(grep->out, scan->name);
    output_color(grep->out, NULL);
    if (grep->null_names)
        mark = 0;
    output_write(grep->out, &mark, 1);
}

static void print_prefix(const struct scan *scan, uint64_t line, uint64_t offset, char mark)
{
    struct grep *grep = scan->grep;
    if (grep->names)
        print_name(scan, mark);
    if (grep->line_numbers)
        output_printf(grep->out, "%" PRIu64 "%c", line, mark);
    if (grep->byte_offsets)
        output_printf(grep->out, "%" PRIu64 "%c", offset, mark);
}

static void report_match(const struct scan *scan, uint64_t offset, const char *text, size_t len)
{
    struct report *list = scan->grep->list;
    report_open(list, NULL);
    report_text(list, "path", scan->name);
    report_number(list, "line", scan->line);
    report_number(list, "offset", offset);
    report_bytes(list, "text", text, len);
    report_close(list);
}

static void print_red(const struct grep *grep, const char *text, size_t len)
{
    output_color(grep->out, "01;31");
    output_write(grep->out, text, len);
    output_color(grep->out, NULL);
}

/* Each matching part of a line on a line of its own (-o). */
static void print_only_matches(const struct scan *scan, const char *text, size_t len, uint64_t offset)
{
    const struct grep *grep = scan->grep;
    size_t start, end;
    for (size_t at = 0; at <= len && matcher_find(grep->matcher, text, len, at, &start, &end);
         at = end + (end == start)) {
        if (end == start)
            continue;
        if (grep->list) {
            report_match(scan, offset + start, text + start, end - start);
            continue;
        }
        print_prefix(scan, scan->line, offset + start, ':');
        print_red(grep, text + start, end - start);
        output_write(grep->out, "\n", 1);
    }
}

static void print_coloured(const struct scan *scan, const char *text, size_t len)
{
    const struct grep *grep = scan->grep;
    size_t at = 0, start, end;
    while (at <= len && matcher_find(grep->matcher, text, len, at, &start, &end) && end > start) {
        output_write(grep->out, text + at, start - at);
        print_red(grep, text + start, end - start);
        at = end;
    }
    output_write(grep->out, text + at, len - at);
}

static void print_line(struct scan *scan, uint64_t line, const char *text, size_t len, bool match)
{
    const struct grep *grep = scan->grep;
    uint64_t offset = scan->offset + (uint64_t)(text - scan->buffer.bytes);
    if (grep->list && match && !grep->only_matching)
        report_match(scan, offset, text, len);
    if (!grep->list && (grep->before || grep->after) && scan->printed && line > scan->printed + 1)
        output_write(grep->out, "--\n", 3);
    scan->printed = line;
    if (grep->only_matching && match && !grep->invert)
        print_only_matches(scan, text, len, offset);
    if (grep->only_matching || grep->list)
        return;
    print_prefix(scan, line, offset, match ? ':' : '-');
    if (match && output_colored(grep->out) && !grep->invert)
        print_coloured(scan, text, len);
    else
        output_write(grep->out, text, len);
    output_write(grep->out, "\n", 1);
}

/* ---- lines --------------------------------------------------------------------------------------------- */

/* The start of the line that is n lines before the one at `at`; *n is set to how many there are. */
static const char *lines_back(const struct scan *scan, const char *at, uint64_t *n)
{
    const char *buffer = scan->buffer.bytes;
    uint64_t went = 0;
    while (went < *n && at > buffer) {
        const char *previous = at - 1 > buffer ? memrchr(buffer, '\n', (size_t)(at - 1 - buffer)) : NULL;
        at = previous ? previous + 1 : buffer;
        went++;
    }
    *n = went;
    return at;
}

/* Lines of context before the current one that were not printed yet. */
static void print_before(struct scan *scan, const char *current)
{
    uint64_t n = MIN_OF(scan->grep->before, scan->line - 1 - scan->printed);
    const char *at = lines_back(scan, current, &n);
    for (uint64_t line = scan->line - n; line < scan->line; line++) {
        const char *end = memchr(at, '\n', (size_t)(current - at));
        print_line(scan, line, at, (size_t)(end - at), false);
        at = end + 1;
    }
}

static void take_line(struct scan *scan, const char *text, size_t len)
{
    struct grep *grep = scan->grep;
    size_t start, end;
    bool one_is_enough =
        grep->quiet || grep->names_only || grep->names_without || (scan->binary && !grep->count);
    bool full = scan->matches >= grep->max_count;
    scan->line++;
    bool match = !full && matcher_find(grep->matcher, text, len, 0, &start, &end) != grep->invert;
    if (match) {
        scan->matches++;
        scan->done = one_is_enough;
    }
    if (match && !one_is_enough && !grep->count) {
        print_before(scan, text);
        print_line(scan, scan->line, text, len, true);
        scan->after_left = grep->after;
    } else if (!match && scan->after_left) {
        scan->after_left--;
        print_line(scan, scan->line, text, len, false);
    }
    if (scan->matches >= grep->max_count && !scan->after_left)
        scan->done = true;
}

/* Takes the whole lines of the buffer; at the end also the last one without a newline. */
static void take_lines(struct scan *scan, bool end)
{
    const char *limit = scan->buffer.bytes + scan->buffer.len;
    const char *at = scan->buffer.bytes + scan->next;
    while (at < limit && !scan->done) {
        const char *newline = memchr(at, '\n', (size_t)(limit - at));
        if (!newline && !end)
            break;
        size_t len = (size_t)((newline ? newline : limit) - at);
        take_line(scan, at, len);
        at += len + (newline != NULL);
    }
    uint64_t keep = scan->grep->before;
    const char *from = lines_back(scan, at, &keep);
    size_t cut = (size_t)(from - scan->buffer.bytes);
    scan->next = (size_t)(at - from);
    memmove(scan->buffer.bytes, from, scan->buffer.len - cut);
    scan->buffer.len -= cut;
    scan->offset += cut;
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void print_result(struct scan *scan)
{
    struct grep *grep = scan->grep;
    bool listed = grep->names_without ? scan->matches == 0 : scan->matches > 0;
    grep->found |= scan->matches > 0;
    if (grep->quiet)
        return;
    if (grep->list) {
        if (grep->count || ((grep->names_only || grep->names_without) && listed)) {
            report_open(grep->list, NULL);
            report_text(grep->list, "path", scan->name);
            if (grep->count)
                report_number(grep->list, "count", scan->matches);
            report_close(grep->list);
        }
        return;
    }
    if (grep->names_only || grep->names_without) {
        if (listed)
            print_name(scan, '\n');
    } else if (grep->count) {
        if (grep->names)
            print_name(scan, ':');
        output_printf(grep->out, "%" PRIu64 "\n", scan->matches);
    } else if (scan->binary && scan->matches) {
        call_note(grep->call, "%s: binary file matches", scan->name);
    }
}

/* In a binary file a NUL ends a line as well: what is between them are strings more often than not. */
static void end_lines_at_nuls(uint8_t *bytes, size_t n)
{
    for (uint8_t *nul = bytes; (nul = memchr(nul, 0, n - (size_t)(nul - bytes)));)
        *nul = '\n';
}

static bool grep_contents(struct grep *grep, struct reader *reader, const char *name, struct error *err)
{
    struct scan scan = {.grep = grep, .name = name};
    bool ok = true;
    size_t got = 1;
    for (uint64_t off = 0; ok && got && !scan.done && !output_closed(grep->out); off += got) {
        ok = reader_read(reader, off, grep->chunk, READER_CHUNK, &got, err);
        if (!ok)
            break;
        if (off == 0 && !grep->text && memchr(grep->chunk, 0, got)) {
            scan.binary = true;
            if (grep->skip_binary)
                break;
        }
        if (scan.binary)
            end_lines_at_nuls(grep->chunk, got);
        text_add(&scan.buffer, grep->chunk, got);
        ok = text_ok(&scan.buffer, err);
        if (ok && scan.buffer.bytes)
            take_lines(&scan, got == 0);
    }
    if (ok && !(scan.binary && grep->skip_binary))
        print_result(&scan);
    text_free(&scan.buffer);
    return ok;
}

/* --include and --exclude, by the last component. */
static bool is_wanted(const struct grep *grep, const char *name, bool directory)
{
    bool included = true, any_include = false;
    for (int i = 0; i < grep->call->given_count; i++) {
        const struct given *given = &grep->call->given[i];
        const char *option = given->flag->name;
        if (!option)
            continue;
        if (strcmp(option, directory ? "exclude-dir" : "exclude") == 0 && glob_match(given->value, name))
            return false;
        if (strcmp(option, "include") == 0 && !directory) {
            included = (any_include && included) || glob_match(given->value, name);
            any_include = true;
        }
    }
    return included;
}

static bool grep_entry(struct grep *grep, struct volume *volume, const struct walk_entry *entry,
                       struct error *err)
{
    if (entry->type != S_IFREG || !is_wanted(grep, entry->name, false))
        return true;
    struct reader reader = {.size = entry->attr.size};
    reader.file.volume = volume;
    reader.file.id = entry->id;
    return grep_contents(grep, &reader, entry->path, err);
}

static bool grep_tree(struct grep *grep, const struct file_arg *arg, struct error *err)
{
    struct walk *walk;
    struct walk_entry *entry;
    if (!walk_new(&walk, arg->volume, arg->typed, arg->id, WALK_ATTR | WALK_SORTED, err))
        return false;
    bool ok;
    while ((ok = walk_next(walk, &entry, err)) && entry->event != WALK_END && !output_closed(grep->out)) {
        bool one = true;
        if (entry->event == WALK_DIR && entry->depth && !is_wanted(grep, entry->name, true))
            walk_skip(walk);
        if (entry->event == WALK_FAULT) {
            *err = entry->fault;
            one = false;
        } else if (entry->event == WALK_FILE) {
            one = grep_entry(grep, arg->volume, entry, err);
        }
        if (!one && (err->kind == E_INTERRUPTED || err->kind == E_NOMEM)) {
            ok = false;
            break;
        }
        if (!one && !grep->silent)
            call_complain(grep->call, entry->path, err);
        if (grep->quiet && grep->found)
            break;
    }
    walk_free(walk);
    return ok;
}

static bool grep_arg(struct grep *grep, const char *text, struct error *err)
{
    struct location place;
    bool path = strcmp(text, "-") != 0 && location_parse(grep->session, text, &place, err);
    bool in_image = path && place.kind == LOCATION_PATH;
    if (path)
        location_free(&place);
    if (in_image && grep->recursive) {
        struct file_arg arg;
        bool ok = file_arg_open(grep->session, text, true, &arg, err);
        bool directory = ok && S_ISDIR(arg.attr.mode);
        grep->names |= directory && !call_has(grep->call, "h");
        ok = ok && (!directory || grep_tree(grep, &arg, err));
        file_arg_close(&arg);
        if (!ok || directory)
            return ok;
    }
    struct reader reader;
    bool ok = reader_open(grep->session, grep->call, text, &reader, err) &&
              (grep_contents(grep, &reader, strcmp(text, "-") == 0 ? "(standard input)" : text, err) ||
               because(err, "%s", reader.shown));
    reader_close(&reader);
    return ok;
}

/* ---- the command --------------------------------------------------------------------------------------- */

/* The lines of a host file, each a pattern. */
static bool add_patterns_of(struct grep *grep, const char *path, struct error *err)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    bool ok = file || fail_errno(err, errno, "%s", path);
    for (ssize_t n; ok && (n = getline(&line, &size, file)) >= 0;) {
        if (n > 0 && line[n - 1] == '\n')
            line[n - 1] = 0;
        ok = matcher_add(grep->matcher, line, err);
    }
    free(line);
    if (file)
        fclose(file);
    return ok;
}

static bool compile(struct grep *grep, int *first, struct error *err)
{
    struct call *call = grep->call;
    unsigned flags = (call_has(call, "F") ? MATCH_FIXED : 0) | (call_has(call, "E") ? MATCH_EXTENDED : 0) |
                     (call_has(call, "i") ? MATCH_ICASE : 0) | (call_has(call, "w") ? MATCH_WORD : 0) |
                     (call_has(call, "x") ? MATCH_LINE : 0);
    if (!matcher_new(&grep->matcher, flags, err))
        return false;
    *first = 0;
    for (int i = 0; i < call->given_count; i++)
        if (call->given[i].flag->letter == 'f' && !add_patterns_of(grep, call->given[i].value, err))
            return false;
    if (!call_value(call, "e") && !call_value(call, "f")) {
        if (call->argc == 0)
            return fail(err, E_USAGE, "missing PATTERN (usage: grep [OPTION...] PATTERN FILE...)");
        *first = 1;
        return matcher_add(grep->matcher, call->args[0], err);
    }
    for (int i = 0; i < call->given_count; i++)
        if (call->given[i].flag->letter == 'e' && !matcher_add(grep->matcher, call->given[i].value, err))
            return false;
    return true;
}

static bool set_numbers(struct grep *grep, struct error *err)
{
    uint64_t context;
    return option_size(grep->call, "C", 0, &context, err) &&
           option_size(grep->call, "A", context, &grep->after, err) &&
           option_size(grep->call, "B", context, &grep->before, err) &&
           option_size(grep->call, "m", UINT64_MAX, &grep->max_count, err);
}

static bool grep_all(struct grep *grep, int first, struct error *err)
{
    struct call *call = grep->call;
    static char here[] = ".", input[] = "-";
    char *alone[] = {grep->recursive ? here : input};
    int count = call->argc - first;
    char **words = count ? call->args + first : alone;
    if (!count && !grep->recursive && !call_has_input(call))
        return fail(err, E_USAGE, "missing FILE (- is the input)");
    grep->names = call_has(call, "H") || (!call_has(call, "h") && count > 1);
    for (int i = 0; i < MAX_OF(count, 1) && !(grep->quiet && grep->found); i++) {
        if (grep_arg(grep, words[i], err))
            continue;
        if (err->kind == E_INTERRUPTED || err->kind == E_NOMEM)
            return false;
        if (!grep->silent)
            call_complain(call, NULL, err);
    }
    return true;
}

static bool run_grep(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct grep grep = {.session = session,
                        .call = call,
                        .out = out,
                        .invert = call_has(call, "v"),
                        .count = call_has(call, "c"),
                        .quiet = call_has(call, "q"),
                        .names_only = call_has(call, "l"),
                        .names_without = call_has(call, "L"),
                        .line_numbers = call_has(call, "n"),
                        .text = call_has(call, "a"),
                        .only_matching = call_has(call, "o"),
                        .byte_offsets = call_has(call, "b"),
                        .recursive = call_has(call, "r") || call_has(call, "R"),
                        .silent = call_has(call, "s"),
                        .skip_binary = call_has(call, "I"),
                        .null_names = call_has(call, "Z")};
    int first;
    bool ok = set_numbers(&grep, err) && compile(&grep, &first, err);
    if (ok && output_json(out) && !grep.quiet)
        grep.list = output_report_list(out);
    grep.chunk = ok ? mem_new(READER_CHUNK, err) : NULL;
    ok = ok && grep.chunk && grep_all(&grep, first, err) && call_result(call, err);
    free(grep.chunk);
    matcher_free(grep.matcher);
    /* Nothing found is a failure without words, as everywhere. */
    return ok && (grep.found || fail(err, E_FAILED, "%s", ""));
}

static const struct arg grep_args[] = {
    {"PATTERN", ARG_WORD, ARG_OPTIONAL, "a regular expression (unless -e gives it)", NULL},
    {"FILE", ARG_PLACE, ARG_ANY, "files of the image, or a device; - is the input", NULL},
    {0},
};

static const struct flag grep_flags[] = {
    {'r', "recursive", NULL, ARG_WORD, "directories with all that is in them"},
    {'R', NULL, NULL, ARG_WORD, "the same"},
    {'i', "ignore-case", NULL, ARG_WORD, "letters of either case"},
    {'n', "line-number", NULL, ARG_WORD, "with the line's number"},
    {'l', "files-with-matches", NULL, ARG_WORD, "only the names of files that match"},
    {'L', "files-without-match", NULL, ARG_WORD, "only the names of files that do not"},
    {'v', "invert-match", NULL, ARG_WORD, "lines that do not match"},
    {'c', "count", NULL, ARG_WORD, "only how many lines match"},
    {'E', "extended-regexp", NULL, ARG_WORD, "extended regular expressions"},
    {'G', "basic-regexp", NULL, ARG_WORD, "basic ones, as without it"},
    {'F', "fixed-strings", NULL, ARG_WORD, "plain strings"},
    {'a', "text", NULL, ARG_WORD, "binary files as if they were text"},
    {'I', NULL, NULL, ARG_WORD, "pass over binary files"},
    {'q', "quiet", NULL, ARG_WORD, "print nothing: the status tells"},
    {'s', "no-messages", NULL, ARG_WORD, "do not report files that cannot be read"},
    {'w', "word-regexp", NULL, ARG_WORD, "whole words"},
    {'x', "line-regexp", NULL, ARG_WORD, "whole lines"},
    {'o', "only-matching", NULL, ARG_WORD, "only the parts that match"},
    {'b', "byte-offset", NULL, ARG_WORD, "with the offset in the file"},
    {'h', "no-filename", NULL, ARG_WORD, "without names"},
    {'H', "with-filename", NULL, ARG_WORD, "with names"},
    {'Z', "null", NULL, ARG_WORD, "a NUL byte behind names"},
    {'e', "regexp", "PATTERN", ARG_WORD, "a pattern; several can be given"},
    {'f', "file", "FILE", ARG_HOST, "the patterns are the lines of a host file"},
    {'m', "max-count", "N", ARG_NUMBER, "at most so many lines of a file"},
    {'A', "after-context", "N", ARG_NUMBER, "with so many lines after each"},
    {'B', "before-context", "N", ARG_NUMBER, "with so many lines before each"},
    {'C', "context", "N", ARG_NUMBER, "with so many lines around each"},
    {0, "include", "GLOB", ARG_WORD, "with -r: only files of such names"},
    {0, "exclude", "GLOB", ARG_WORD, "with -r: no files of such names"},
    {0, "exclude-dir", "GLOB", ARG_WORD, "with -r: no directories of such names"},
    {0},
};

const struct command grep_command = {
    .name = "grep",
    .group = "Files",
    .summary = "print lines that match a pattern",
    .details = "Fails, without a message, when nothing matches.",
    .examples = "grep -rn PermitRootLogin /etc/ssh\ngrep -c . /etc/passwd\ngrep -abo secret 2:",
    .args = grep_args,
    .flags = grep_flags,
    .needs = READS_INPUT,
    .instead = "e|f",
    .run = run_grep,
};
