/* Lines of commands: see words.h for the grammar. */
#include "words.h"

#include "alloc.h"
#include "bytes.h"
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- text and errors --------------------------------------------------------------------------------- */

bool parser_more(struct parser *p, bool first, struct error *err)
{
    const char *line;
    size_t len;
    err->kind = E_OK;
    if (p->ended || !source_line(p->source, first, &line, &len, err)) {
        p->ended = true;
        return false;
    }
    if (!mem_grow(&p->text, &p->capacity, p->len + len + 2, 1, err))
        return false;
    if (p->len > 0 || !first)
        p->text[p->len++] = '\n';
    memcpy(p->text + p->len, line, len);
    p->len += len;
    p->text[p->len] = 0;
    p->crlf = p->source->crlf;
    if (first)
        p->first_line = p->counted_line = p->source->line;
    return true;
}

/* The number of the physical line that holds a byte; asked for rising offsets, mostly. */
static unsigned line_of(struct parser *p, size_t at)
{
    if (at < p->counted) {
        p->counted = 0;
        p->counted_line = p->first_line;
    }
    for (; p->counted < at; p->counted++)
        p->counted_line += p->text[p->counted] == '\n';
    return p->counted_line;
}

bool parser_bad(struct parser *p, size_t at, struct error *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(p->bad.message, sizeof p->bad.message, fmt, args);
    va_end(args);
    size_t start = at, end = at;
    while (start > 0 && p->text[start - 1] != '\n')
        start--;
    while (end < p->len && p->text[end] != '\n')
        end++;
    p->bad.line = line_of(p, at);
    p->bad.column = 1;
    struct text caret = {0};
    for (size_t i = start; i < at;) {
        uint32_t code;
        size_t len = utf8_next(p->text + i, at - i, &code);
        int columns = len ? utf8_columns(code) : 1;
        for (int k = columns < 0 ? -1 : columns; k != 0; k += k < 0 ? 1 : -1)
            text_char(&caret, p->text[i] == '\t' ? '\t' : ' ');
        p->bad.column++;
        i += len ? len : 1;
    }
    struct error ignored;
    p->bad.text = arena_copy(&p->arena, p->text + start, end - start, &ignored);
    p->bad.caret = arena_copy(&p->arena, text_get(&caret), caret.len, &ignored);
    text_free(&caret);
    err->kind = E_OK;
    return false;
}

/* ---- blanks, host text, redirections ----------------------------------------------------------------- */

static bool at_end(const struct parser *p)
{
    return p->pos >= p->len || p->text[p->pos] == '\n';
}

static bool at(const struct parser *p, const char *token)
{
    size_t n = strlen(token);
    return p->len - p->pos >= n && memcmp(p->text + p->pos, token, n) == 0;
}

/* Blanks, joined lines, and a comment up to the line's end. */
static bool skip_blanks(struct parser *p, struct error *err)
{
    while (p->pos < p->len) {
        char c = p->text[p->pos];
        if (c == '\\' && p->pos + 1 == p->len && !p->cursor) {
            bool more = parser_more(p, false, err);
            if (!more && err->kind != E_OK)
                return false;
            p->pos += more ? 2 : 1;
        } else if (c == '\\' && p->text[p->pos + 1] == '\n') {
            p->pos += 2;
        } else if (c == '#') {
            while (!at_end(p))
                p->pos++;
        } else if (c == ' ' || c == '\t') {
            p->pos++;
        } else {
            break;
        }
    }
    return true;
}

/* How a shell keyword at a command's beginning changes the nesting. */
static int keyword_nesting(const char *word, size_t len)
{
    static const char *const opening[] = {"if", "for", "while", "until", "case", "{"};
    static const char *const closing[] = {"fi", "done", "esac", "}"};
    for (size_t i = 0; i < ARRAY_LEN(opening); i++)
        if (strlen(opening[i]) == len && memcmp(opening[i], word, len) == 0)
            return 1;
    for (size_t i = 0; i < ARRAY_LEN(closing); i++)
        if (strlen(closing[i]) == len && memcmp(closing[i], word, len) == 0)
            return -1;
    return 0;
}

static bool transparent_keyword(const char *word, size_t len)
{
    return (len == 2 && memcmp(word, "do", 2) == 0) || (len == 4 && memcmp(word, "then", 4) == 0) ||
           (len == 4 && memcmp(word, "else", 4) == 0) || (len == 4 && memcmp(word, "elif", 4) == 0);
}

struct host_scan {
    int parentheses, compounds;
    bool command; /* the next word is a command's first */
    char quote;   /* ' " ` that is open, or 0 */
    size_t quote_start;
};

static bool nested(const struct host_scan *scan)
{
    return scan->quote || scan->parentheses > 0 || scan->compounds > 0;
}

/* One character, or one word, of host text outside of quotes. */
static void scan_host_step(struct parser *p, struct host_scan *scan)
{
    char c = p->text[p->pos];
    if (c == '\'' || c == '"' || c == '`') {
        scan->quote = c;
        scan->quote_start = p->pos++;
        scan->command = false;
    } else if (c == '(' || c == ')') {
        if (c == '(')
            scan->parentheses++;
        else if (scan->parentheses > 0) /* a case's pattern ends in a lone one */
            scan->parentheses--;
        scan->command = true;
        p->pos++;
    } else if (strchr(";|&\n", c)) {
        scan->command = true;
        p->pos++;
    } else if (c == ' ' || c == '\t' || c == '<' || c == '>') {
        p->pos++;
    } else {
        size_t start = p->pos;
        while (p->pos < p->len && !strchr(" \t\n;|&<>()'\"`\\", p->text[p->pos]))
            p->pos++;
        size_t len = p->pos - start;
        if (scan->command)
            scan->compounds += keyword_nesting(p->text + start, len);
        scan->command = scan->command && transparent_keyword(p->text + start, len);
        p->pos += len == 0;
    }
}

/* More physical lines for host text that is not finished; with a cursor, the end is the end. */
static bool host_more(struct parser *p, const struct host_scan *scan, struct error *err)
{
    if (p->cursor)
        return true;
    if (parser_more(p, false, err))
        return true;
    if (err->kind != E_OK)
        return false;
    if (scan->quote)
        return parser_bad(p, scan->quote_start, err, "a quotation with %c is not closed", scan->quote);
    return true; /* sh will say what is missing */
}

/* Host text from pos up to where its pipeline ends. */
static bool read_host(struct parser *p, const char **out, struct error *err)
{
    struct host_scan scan = {.command = true};
    size_t start;
    while (p->pos < p->len && (p->text[p->pos] == ' ' || p->text[p->pos] == '\t'))
        p->pos++;
    start = p->pos;
    for (;;) {
        if (p->pos >= p->len || (p->text[p->pos] == '\n' && !nested(&scan))) {
            if (!nested(&scan))
                break;
            size_t before = p->len;
            if (!host_more(p, &scan, err))
                return false;
            if (p->len == before)
                break;
            continue;
        }
        char c = p->text[p->pos];
        if (c == '\\' && scan.quote != '\'') {
            if (p->pos + 1 == p->len && !host_more(p, &scan, err))
                return false;
            p->pos = MIN_OF(p->pos + 2, p->len);
            scan.command = false;
        } else if (scan.quote) {
            scan.quote = c == scan.quote ? 0 : scan.quote;
            p->pos++;
        } else if (!nested(&scan) && (c == ';' || at(p, "&&") || at(p, "||"))) {
            break;
        } else if (c == '#' && (p->pos == start || strchr(" \t\n;|&(", p->text[p->pos - 1]))) {
            while (!at_end(p))
                p->pos++;
        } else {
            scan_host_step(p, &scan);
        }
    }
    size_t end = p->pos;
    while (end > start && (p->text[end - 1] == ' ' || p->text[end - 1] == '\t'))
        end--;
    if (p->cursor && p->pos >= p->len)
        p->cursor->host = true;
    else if (end == start)
        return parser_bad(p, start, err, "a host command must follow here");
    *out = arena_copy(&p->arena, p->text + start, end - start, err);
    return *out != NULL;
}

/* The kind of redirection at pos, and the length of its sign; 0: none is here. */
static size_t redirect_sign(const struct parser *p, enum redirect_kind *kind)
{
    static const struct {
        const char *sign;
        enum redirect_kind kind;
    } signs[] = {{"2>&1", REDIRECT_ERRORS_TO_OUT},
                 {"2>>", REDIRECT_ERRORS_APPEND},
                 {"2>", REDIRECT_ERRORS},
                 {"<<", REDIRECT_HEREDOC},
                 {">>", REDIRECT_APPEND},
                 {"<", REDIRECT_IN},
                 {">", REDIRECT_OUT}};
    for (size_t i = 0; i < ARRAY_LEN(signs); i++)
        if (at(p, signs[i].sign)) {
            *kind = signs[i].kind;
            return strlen(signs[i].sign);
        }
    return 0;
}

/* The delimiter of a heredoc is its word as written, without quotes; any quote makes the text verbatim. */
static bool set_delimiter(struct parser *p, struct redirect *redirect, struct error *err)
{
    struct text delimiter = {0};
    for (size_t i = 0; i < redirect->word.count; i++) {
        const struct piece *piece = &redirect->word.pieces[i];
        if (piece->kind == PIECE_VARIABLE || piece->kind == PIECE_VARIABLE_QUOTED) {
            text_free(&delimiter);
            return parser_bad(p, redirect->start, err, "the word after << cannot hold a variable");
        }
        redirect->verbatim |= piece->kind == PIECE_QUOTED;
        text_add(&delimiter, piece->text, piece->len);
    }
    if (text_ok(&delimiter, err))
        redirect->delimiter = arena_copy(&p->arena, text_get(&delimiter), delimiter.len, err);
    text_free(&delimiter);
    return redirect->delimiter != NULL;
}

static bool read_redirect(struct parser *p, struct simple *simple, enum redirect_kind kind, size_t sign,
                          struct error *err)
{
    if (!arena_grow(&p->arena, &simple->redirects, &simple->redirect_capacity, simple->redirect_count + 1,
                    sizeof *simple->redirects, err))
        return false;
    struct redirect *redirect = &simple->redirects[simple->redirect_count];
    *redirect = (struct redirect){.kind = kind, .start = p->pos};
    p->pos += sign;
    if (kind == REDIRECT_HEREDOC && p->pos < p->len && p->text[p->pos] == '-') {
        redirect->strip_tabs = true;
        p->pos++;
    }
    if (kind != REDIRECT_ERRORS_TO_OUT) {
        if (!skip_blanks(p, err))
            return false;
        if (p->cursor && p->pos >= p->len) {
            p->cursor->redirect = true;
            return true;
        }
        size_t start = p->pos;
        if (!word_read(p, &redirect->word, err))
            return false;
        if (p->pos == start)
            return parser_bad(p, redirect->start, err, "a file name must follow %.*s", (int)sign,
                              p->text + redirect->start);
        if (p->cursor && p->pos >= p->len) {
            p->cursor->redirect = true;
            p->cursor->word = &redirect->word;
        }
    }
    simple->redirect_count++;
    return kind != REDIRECT_HEREDOC || set_delimiter(p, redirect, err);
}

/* ---- commands ---------------------------------------------------------------------------------------- */

static bool read_words(struct parser *p, struct simple *simple, struct error *err)
{
    for (;;) {
        if (!skip_blanks(p, err))
            return false;
        if (at_end(p) || at(p, ";") || at(p, "&&") || at(p, "|"))
            return true;
        enum redirect_kind kind;
        size_t sign = redirect_sign(p, &kind);
        if (sign > 0) {
            if (!read_redirect(p, simple, kind, sign, err))
                return false;
            continue;
        }
        if (at(p, "&"))
            return parser_bad(p, p->pos, err, "nothing runs in the background; quote the & to mean itself");
        if (!arena_grow(&p->arena, &simple->words, &simple->word_capacity, simple->word_count + 1,
                        sizeof *simple->words, err))
            return false;
        struct word *word = &simple->words[simple->word_count];
        if (!word_read(p, word, err))
            return false;
        simple->word_count += word->end > word->start;
        if (p->cursor && p->pos >= p->len && word->end > word->start)
            p->cursor->word = word;
    }
}

static bool read_simple(struct parser *p, struct simple *simple, struct error *err)
{
    size_t start = p->pos;
    simple->line = line_of(p, start);
    if (p->cursor)
        *p->cursor = (struct cursor){.command = simple};
    if (at(p, "-") && p->pos + 1 < p->len && !strchr(" \t\n;|&", p->text[p->pos + 1])) {
        simple->ignore = true;
        p->pos++;
    }
    if (at(p, "!")) {
        p->pos++;
        if (!read_host(p, &simple->host, err))
            return false;
    } else {
        if (!read_words(p, simple, err))
            return false;
        if (simple->word_count == 0 && !p->cursor)
            return parser_bad(p, start, err, "a command must come before this");
        if (at(p, "|") && !at(p, "||")) {
            p->pos++;
            if (!read_host(p, &simple->pipe, err))
                return false;
        }
    }
    size_t end = p->pos;
    while (end > start && strchr(" \t", p->text[end - 1]))
        end--;
    simple->text = arena_copy(&p->arena, p->text + start, end - start, err);
    return simple->text != NULL;
}

/* The sign between two commands; *more says whether another command must follow. */
static bool read_join(struct parser *p, enum join *join, bool *more, struct error *err)
{
    size_t sign = p->pos;
    *more = false;
    if (at(p, "&&") || at(p, "||")) {
        *join = at(p, "&&") ? JOIN_AND : JOIN_OR;
        p->pos += 2;
        *more = true;
    } else if (at(p, ";")) {
        *join = JOIN_SEQUENCE;
        p->pos++;
    }
    if (!skip_blanks(p, err))
        return false;
    while (*more && at_end(p) && !p->cursor) { /* a line that ends in && goes on */
        if (p->pos >= p->len && !parser_more(p, false, err))
            return err->kind == E_OK &&
                   parser_bad(p, sign, err, "a command must follow %.2s", p->text + sign);
        p->pos++;
        if (!skip_blanks(p, err))
            return false;
    }
    return true;
}

/* ---- heredocs ---------------------------------------------------------------------------------------- */

static bool heredoc_body(struct parser *p, struct redirect *redirect, struct text *body, struct error *err)
{
    size_t delimiter = strlen(redirect->delimiter), len;
    const char *line;
    bool crlf = p->crlf;
    for (;;) {
        err->kind = E_OK;
        if (p->ended || !source_line(p->source, false, &line, &len, err)) {
            p->ended = true;
            return err->kind == E_OK &&
                   parser_bad(p, redirect->start, err, "the text for this does not end: no line is just %s",
                              redirect->delimiter);
        }
        size_t full = len + p->source->crlf;
        while (redirect->strip_tabs && len > 0 && *line == '\t') {
            line++;
            len--;
            full--;
        }
        if (len == delimiter && memcmp(line, redirect->delimiter, len) == 0)
            return true;
        /* In a script with CR LF its lines' ends become the text's; else a CR belongs to the text. */
        text_add(body, line, crlf ? len : full);
        text_char(body, '\n');
    }
}

static bool read_heredocs(struct parser *p, struct line *line, struct error *err)
{
    for (size_t i = 0; i < line->count; i++)
        for (size_t k = 0; k < line->commands[i].redirect_count; k++) {
            struct redirect *redirect = &line->commands[i].redirects[k];
            if (redirect->kind != REDIRECT_HEREDOC)
                continue;
            struct text body = {0};
            bool good = heredoc_body(p, redirect, &body, err) && text_ok(&body, err) &&
                        word_heredoc(p, redirect, text_get(&body), body.len, err);
            text_free(&body);
            if (!good)
                return false;
        }
    return true;
}

/* ---- lines ------------------------------------------------------------------------------------------- */

static bool read_line(struct parser *p, struct line *line, struct error *err)
{
    enum join join = JOIN_SEQUENCE;
    bool more = false;
    if (!skip_blanks(p, err))
        return false;
    while (!at_end(p) || (p->cursor && (more || line->count == 0))) {
        if (!arena_grow(&p->arena, &line->commands, &line->capacity, line->count + 1, sizeof *line->commands,
                        err))
            return false;
        struct simple *simple = &line->commands[line->count];
        *simple = (struct simple){.join = join};
        if (!read_simple(p, simple, err))
            return false;
        line->count++;
        if (p->cursor && p->pos >= p->len)
            return true;
        if (!read_join(p, &join, &more, err))
            return false;
        if (p->cursor && p->pos >= p->len)
            more = true;
    }
    return p->cursor || read_heredocs(p, line, err);
}

static void start_line(struct parser *p)
{
    arena_reset(&p->arena);
    p->scratch = NULL;
    p->scratch_capacity = p->scratch_len = 0;
    p->len = p->pos = p->counted = 0;
    p->chain = false;
}

enum parsed parser_next(struct parser *p, struct line **out, struct error *err)
{
    for (;;) {
        start_line(p);
        if (!parser_more(p, true, err))
            return err->kind == E_OK ? PARSE_END : PARSE_FAILED;
        if (p->first_line == 1 && at(p, "#!"))
            continue;
        struct line *line = arena_new(&p->arena, sizeof *line, err);
        if (!line)
            return PARSE_FAILED;
        err->kind = E_OK;
        if (!read_line(p, line, err))
            return err->kind == E_OK ? PARSE_BAD : PARSE_FAILED;
        if (line->count > 0) {
            *out = line;
            return PARSE_LINE;
        }
    }
}

bool words_at(struct parser *p, const char *text, size_t len, struct cursor *cursor)
{
    struct error err;
    struct source source;
    *cursor = (struct cursor){0};
    start_line(p);
    p->ended = true;
    p->cursor = cursor;
    if (!source_text(&source, "", "", 0, &err))
        return false;
    p->source = &source;
    struct line *line = arena_new(&p->arena, sizeof *line, &err);
    bool good = line && mem_grow(&p->text, &p->capacity, len + 1, 1, &err);
    if (good) {
        memcpy(p->text, text, len);
        p->text[len] = 0;
        p->len = len;
        good = read_line(p, line, &err);
    }
    source_close(&source);
    p->source = NULL;
    return good && cursor->command;
}

void parser_free(struct parser *p)
{
    arena_free(&p->arena);
    free(p->text);
    p->text = NULL;
}
