/* Words and their quoting. */
#include "words.h"

#include "bytes.h"
#include "text.h"

static const char *const no_substitution =
    "commands are not substituted; quote it with '…' to mean the characters themselves";

static bool add_scratch(struct parser *p, char c, struct error *err)
{
    if (!arena_grow(&p->arena, &p->scratch, &p->scratch_capacity, p->scratch_len + 1, 1, err))
        return false;
    p->scratch[p->scratch_len++] = c;
    return true;
}

static bool add_piece(struct parser *p, struct word *word, enum piece_kind kind, const char *text, size_t len,
                      struct error *err)
{
    if (!arena_grow(&p->arena, &word->pieces, &word->capacity, word->count + 1, sizeof *word->pieces, err))
        return false;
    char *copy = arena_copy(&p->arena, text, len, err);
    if (!copy)
        return false;
    word->pieces[word->count++] = (struct piece){kind, copy, len};
    return true;
}

/* End the piece built in scratch. `always`: even when empty ('' is a word). */
static bool end_piece(struct parser *p, struct word *word, enum piece_kind kind, bool always,
                      struct error *err)
{
    if (p->scratch_len == 0 && !always)
        return true;
    if (!add_piece(p, word, kind, p->scratch, p->scratch_len, err))
        return false;
    p->scratch_len = 0;
    return true;
}

/* The text ended inside quotes that began at `start`: ask for more. */
static bool quote_more(struct parser *p, size_t start, enum quoting quoting, struct error *err)
{
    if (parser_more(p, false, err))
        return true;
    if (err->kind != E_OK)
        return false;
    if (p->cursor) {
        p->cursor->quoting = quoting;
        return true;
    }
    /* A quote forgotten on one line pairs with the next line's first one; the blame is where that began. */
    bool chained = p->chain && !memchr(p->text + p->chain_end, '\n', start - p->chain_end);
    size_t blamed = chained ? p->chain_start : start;
    return parser_bad(p, blamed, err, "a quotation with %.*s is not closed", p->text[blamed] == '$' ? 2 : 1,
                      p->text + blamed);
}

/* Remember a quotation that went over a line's end, for quote_more(). */
static void note_span(struct parser *p, size_t start)
{
    if (!memchr(p->text + start, '\n', p->pos - start))
        return;
    bool chained = p->chain && !memchr(p->text + p->chain_end, '\n', start - p->chain_end);
    p->chain_start = chained ? p->chain_start : start;
    p->chain_end = p->pos;
    p->chain = true;
}

static bool read_single(struct parser *p, struct word *word, struct error *err)
{
    size_t start = p->pos++;
    for (;; p->pos++) {
        if (p->pos == p->len) {
            if (!quote_more(p, start, QUOTING_SINGLE, err))
                return false;
            if (p->pos == p->len)
                break;
        }
        if (p->text[p->pos] == '\'')
            break;
    }
    if (!add_piece(p, word, PIECE_QUOTED, p->text + start + 1, p->pos - start - 1, err))
        return false;
    if (p->pos < p->len)
        p->pos++;
    note_span(p, start);
    return true;
}

/* Up to `max` digits of a base at pos; the count, and their value. */
static unsigned digits(struct parser *p, unsigned base, unsigned max, uint32_t *value)
{
    unsigned n = 0;
    *value = 0;
    for (; n < max && p->pos < p->len; n++, p->pos++) {
        char c = p->text[p->pos];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 99;
        if (digit >= base)
            break;
        *value = *value * base + digit;
    }
    return n;
}

static bool add_code_point(struct parser *p, uint32_t code, struct error *err)
{
    char utf8[4];
    size_t n = 0;
    if (code < 0x80) {
        utf8[n++] = (char)code;
    } else if (code < 0x800) {
        utf8[n++] = (char)(0xc0 | code >> 6);
        utf8[n++] = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        utf8[n++] = (char)(0xe0 | code >> 12);
        utf8[n++] = (char)(0x80 | (code >> 6 & 0x3f));
        utf8[n++] = (char)(0x80 | (code & 0x3f));
    } else {
        utf8[n++] = (char)(0xf0 | code >> 18);
        utf8[n++] = (char)(0x80 | (code >> 12 & 0x3f));
        utf8[n++] = (char)(0x80 | (code >> 6 & 0x3f));
        utf8[n++] = (char)(0x80 | (code & 0x3f));
    }
    for (size_t i = 0; i < n; i++)
        if (!add_scratch(p, utf8[i], err))
            return false;
    return true;
}

/* An escape of $'…'; pos is after the backslash. */
static bool read_ansi_escape(struct parser *p, struct error *err)
{
    static const char letters[] = "a\ab\be\033E\033f\fn\nr\rt\tv\v\\\\''\"\"??";
    size_t at = p->pos - 1;
    char c = p->text[p->pos++];
    for (size_t i = 0; i + 1 < sizeof letters; i += 2)
        if (letters[i] == c)
            return add_scratch(p, letters[i + 1], err);
    uint32_t value;
    if (c >= '0' && c <= '7') {
        p->pos--;
        digits(p, 8, 3, &value);
        return add_scratch(p, (char)value, err);
    }
    if (c == 'x')
        return digits(p, 16, 2, &value) ? add_scratch(p, (char)value, err)
                                        : parser_bad(p, at, err, "\\x needs hexadecimal digits");
    if (c == 'u' || c == 'U') {
        bool good = digits(p, 16, c == 'u' ? 4 : 8, &value) > 0 && value <= 0x10ffff &&
                    (value < 0xd800 || value > 0xdfff);
        return good ? add_code_point(p, value, err)
                    : parser_bad(p, at, err, "\\%c needs the hexadecimal digits of a Unicode character", c);
    }
    if (c == 'c' && p->pos < p->len && p->text[p->pos] != '\'')
        return add_scratch(p, (char)(p->text[p->pos++] & 0x1f), err);
    return parser_bad(p, at, err, "\\%c is not known in $'…'", c);
}

static bool read_ansi(struct parser *p, struct word *word, struct error *err)
{
    size_t start = p->pos;
    p->pos += 2;
    for (;;) {
        if (p->pos == p->len) {
            if (!quote_more(p, start, QUOTING_ANSI, err))
                return false;
            if (p->pos == p->len)
                break;
        }
        char c = p->text[p->pos];
        if (c == '\'')
            break;
        if (c == '\\' && p->pos + 1 < p->len) {
            p->pos++;
            if (!read_ansi_escape(p, err))
                return false;
            continue;
        }
        p->pos++;
        if (!add_scratch(p, c, err))
            return false;
    }
    if (p->pos < p->len)
        p->pos++;
    note_span(p, start);
    return end_piece(p, word, PIECE_QUOTED, true, err);
}

static bool name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* A variable at the $ under pos; or the $ itself into scratch when none follows. */
static bool read_dollar(struct parser *p, struct word *word, enum piece_kind before, enum piece_kind kind,
                        struct error *err)
{
    const char *text = p->text;
    size_t at = p->pos, start = at + 1, end = start;
    char next = start < p->len ? text[start] : 0;
    bool braces = next == '{';
    if (next == '(')
        return parser_bad(p, at, err, "%s", no_substitution);
    start = end = start + braces;
    if (end < p->len && text[end] == '?')
        end++;
    else if (end < p->len && name_start(text[end]))
        while (end < p->len && (name_start(text[end]) || (text[end] >= '0' && text[end] <= '9')))
            end++;
    if (braces && (end == start || end >= p->len || text[end] != '}')) {
        if (p->cursor && end >= p->len) {
            p->pos = p->len;
            return true;
        }
        return parser_bad(p, at, err, "a name and } must follow ${");
    }
    if (end == start) {
        if (next && strchr("0123456789@*#!-$", next))
            return parser_bad(p, at, err, "$%c is not known here; quote it to mean the characters", next);
        p->pos++;
        return add_scratch(p, '$', err);
    }
    p->pos = end + braces;
    return end_piece(p, word, before, false, err) && add_piece(p, word, kind, text + start, end - start, err);
}

static bool read_double(struct parser *p, struct word *word, struct error *err)
{
    size_t start = p->pos++, count = word->count;
    for (;;) {
        if (p->pos == p->len) {
            if (!quote_more(p, start, QUOTING_DOUBLE, err))
                return false;
            if (p->pos == p->len)
                break;
        }
        char c = p->text[p->pos];
        if (c == '"')
            break;
        if (c == '`')
            return parser_bad(p, p->pos, err, "%s", no_substitution);
        if (c == '$') {
            if (!read_dollar(p, word, PIECE_QUOTED, PIECE_VARIABLE_QUOTED, err))
                return false;
            continue;
        }
        if (c == '\\') {
            if (p->pos + 1 == p->len && !quote_more(p, start, QUOTING_DOUBLE, err))
                return false;
            char after = p->pos + 1 < p->len ? p->text[p->pos + 1] : 0;
            if (after && strchr("$`\"\\\n", after)) {
                p->pos += 2;
                if (after != '\n' && !add_scratch(p, after, err))
                    return false;
                continue;
            }
        }
        p->pos++;
        if (!add_scratch(p, c, err))
            return false;
    }
    if (p->pos < p->len)
        p->pos++;
    note_span(p, start);
    return end_piece(p, word, PIECE_QUOTED, word->count == count, err);
}

/* A backslash outside of quotes. */
static bool read_backslash(struct parser *p, struct word *word, struct error *err)
{
    if (p->pos + 1 == p->len) { /* the line goes on */
        bool more = parser_more(p, false, err);
        if (!more && err->kind != E_OK)
            return false;
        p->pos += more ? 2 : 1;
        return true;
    }
    char c = p->text[p->pos + 1];
    p->pos += 2;
    if (c == '\n') /* joined already */
        return true;
    return end_piece(p, word, PIECE_PLAIN, false, err) && add_piece(p, word, PIECE_QUOTED, &c, 1, err);
}

bool word_read(struct parser *p, struct word *word, struct error *err)
{
    *word = (struct word){.start = p->pos};
    p->scratch_len = 0;
    while (p->pos < p->len && !(p->text[p->pos] && strchr(" \t\n;&|<>", p->text[p->pos]))) {
        char c = p->text[p->pos];
        bool ansi = c == '$' && p->pos + 1 < p->len && p->text[p->pos + 1] == '\'', good = true;
        if ((c == '\'' || c == '"' || ansi) && !end_piece(p, word, PIECE_PLAIN, false, err))
            return false;
        if (c == '\'')
            good = read_single(p, word, err);
        else if (c == '"')
            good = read_double(p, word, err);
        else if (ansi)
            good = read_ansi(p, word, err);
        else if (c == '$')
            good = read_dollar(p, word, PIECE_PLAIN, PIECE_VARIABLE, err);
        else if (c == '\\')
            good = read_backslash(p, word, err);
        else if (c == '`')
            good = parser_bad(p, p->pos, err, "%s", no_substitution);
        else {
            p->pos++;
            good = add_scratch(p, c, err);
        }
        if (!good)
            return false;
    }
    word->end = p->pos;
    return end_piece(p, word, PIECE_PLAIN, false, err);
}

bool word_heredoc(struct parser *p, struct redirect *redirect, const char *text, size_t len,
                  struct error *err)
{
    struct word *word = &redirect->word;
    *word = (struct word){0};
    if (redirect->verbatim)
        return add_piece(p, word, PIECE_QUOTED, text, len, err);
    /* Its variables are read by the words' own reader, from a text of its own. */
    struct parser inner = {
        .source = p->source, .arena = p->arena, .text = (char *)(uintptr_t)text, .len = len};
    bool good = true;
    while (good && inner.pos < len) {
        char c = text[inner.pos], after = inner.pos + 1 < len ? text[inner.pos + 1] : 0;
        if (c == '$') {
            good = read_dollar(&inner, word, PIECE_QUOTED, PIECE_VARIABLE_QUOTED, err);
        } else if (c == '\\' && after && strchr("$`\\\n", after)) {
            inner.pos += 2;
            good = after == '\n' || add_scratch(&inner, after, err);
        } else {
            inner.pos++;
            good = add_scratch(&inner, c, err);
        }
    }
    good = good && end_piece(&inner, word, PIECE_QUOTED, word->count == 0, err);
    p->arena = inner.arena;
    if (!good && err->kind == E_OK)
        parser_bad(p, redirect->start, err, "in the text for this: %s", inner.bad.message);
    return good;
}

static bool needs_no_quotes(const char *bytes, size_t len)
{
    static const char plain[] = "%+,-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
    for (size_t i = 0; i < len; i++)
        if (!bytes[i] || (!strchr(plain, bytes[i]) && (unsigned char)bytes[i] < 0x80))
            return false;
    return len > 0;
}

void word_quote(struct text *out, const char *bytes, size_t len)
{
    if (needs_no_quotes(bytes, len)) {
        text_add(out, bytes, len);
        return;
    }
    bool control = false;
    for (size_t i = 0; i < len; i++)
        control |= (unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f;
    text_string(out, control ? "$'" : "'");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\'')
            text_string(out, control ? "\\'" : "'\\''");
        else if (control && c == '\\')
            text_string(out, "\\\\");
        else if (c == '\n')
            text_string(out, "\\n");
        else if (c < 0x20 || c == 0x7f)
            text_printf(out, "\\%03o", c);
        else
            text_char(out, (char)c);
    }
    text_char(out, '\'');
}
