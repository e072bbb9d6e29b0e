/*
 * The command language: lines of text become commands, words and pieces of words. Nothing is looked up or
 * expanded here, so a whole script can be read through for its syntax before any of it runs.
 *
 *     line     = command { (";" | "&&" | "||") command }
 *     command  = ["-"] word... [redirection...] ["|" HOST PIPELINE]  |  ["-"] "!" HOST PIPELINE
 *
 * Host text goes to sh as it stands; it ends where a shell's pipeline ends: at ";", "&&", "||" or the end of
 * the line outside of quotes, parentheses and compound commands.
 */
#ifndef DISH_WORDS_H
#define DISH_WORDS_H

#include "arena.h"
#include "source.h"

enum piece_kind {
    PIECE_PLAIN,  /* globs are active in it */
    PIECE_QUOTED, /* means itself */
    PIECE_VARIABLE,
    PIECE_VARIABLE_QUOTED, /* inside "…": an empty value leaves an empty word */
};

struct piece {
    enum piece_kind kind;
    const char *text; /* bytes, or the variable's name; NUL-terminated, but may hold NULs */
    size_t len;
};

struct word {
    struct piece *pieces;
    size_t count, capacity;
    size_t start, end; /* byte offsets in the text of the line */
};

enum redirect_kind {
    REDIRECT_IN,
    REDIRECT_OUT,
    REDIRECT_APPEND,
    REDIRECT_HEREDOC, /* the word is the text between */
    REDIRECT_ERRORS,
    REDIRECT_ERRORS_APPEND,
    REDIRECT_ERRORS_TO_OUT,
};

struct redirect {
    enum redirect_kind kind;
    struct word word;
    /* of a heredoc, until its text is read: */
    const char *delimiter;
    bool verbatim, strip_tabs;
    size_t start;
};

enum join { JOIN_SEQUENCE, JOIN_AND, JOIN_OR };

struct simple {
    enum join join;   /* to the command before it */
    unsigned line;    /* where it begins, from 1 */
    bool ignore;      /* -cmd: its failure is ignored */
    const char *host; /* !HOST PIPELINE, or NULL */
    struct word *words;
    size_t word_count, word_capacity;
    struct redirect *redirects;
    size_t redirect_count, redirect_capacity;
    const char *pipe; /* | HOST PIPELINE, or NULL */
    const char *text; /* as written */
};

struct line {
    struct simple *commands;
    size_t count, capacity;
};

struct syntax_error {
    unsigned line, column; /* from 1; columns count characters */
    const char *text;      /* the line; in the parser's arena */
    const char *caret;     /* blanks up to the column, tabs kept */
    char message[200];
};

struct cursor;

/* One reader of lines. Zero it, set source. What it gives out lives until the next line is read. */
struct parser {
    struct source *source;
    struct arena arena;
    struct cursor *cursor;   /* not NULL: what is open at the end is recorded here, and is no error */
    struct syntax_error bad; /* after PARSE_BAD */
    /* private to the parser: */
    char *text; /* the physical lines of this line, joined by newlines */
    size_t len, capacity, pos;
    unsigned first_line;
    size_t counted; /* the line numbered counted_line holds this byte */
    unsigned counted_line;
    bool crlf, ended;
    char *scratch; /* the piece being built */
    size_t scratch_len, scratch_capacity;
    /* The last quotation that went over a line's end:
     * where the first of such a chain began, and where it ended. */
    size_t chain_start, chain_end;
    bool chain;
};

enum parsed { PARSE_LINE, PARSE_END, PARSE_BAD, PARSE_FAILED };

/*
 * The next line that holds a command. PARSE_BAD: a syntax error in parser->bad. PARSE_FAILED: err says why
 * (the source cannot be read, no memory, interrupted).
 */
enum parsed parser_next(struct parser *, struct line **, struct error *);
void parser_free(struct parser *);

/* Where the cursor is, for Tab. */
enum quoting { QUOTING_NONE, QUOTING_SINGLE, QUOTING_DOUBLE, QUOTING_ANSI };
struct cursor {
    struct simple *command; /* the one being typed; its words include the cursor's */
    struct word *word;      /* the one being typed, or NULL: a new word begins */
    enum quoting quoting;   /* what is open at the cursor */
    bool redirect;          /* the word is the target of < or > */
    bool host;              /* inside host text: none of our words */
};
/* Read the text up to the cursor. False: it cannot be completed (a syntax error before it, no memory). */
bool words_at(struct parser *, const char *text, size_t len, struct cursor *) DISH_CHECKED;

/* ---- between words.c and parse.c ---- */

/* The word at parser->pos, which is not a blank. False: parser->bad or err. */
bool word_read(struct parser *, struct word *, struct error *) DISH_CHECKED;
/* The text of a heredoc into its word, variables found unless verbatim. */
bool word_heredoc(struct parser *, struct redirect *, const char *text, size_t len, struct error *);
/* Join the next physical line. False: there is none (err->kind E_OK), or err. */
bool parser_more(struct parser *, bool first, struct error *);
/* Record a syntax error at byte offset `at` of parser->text. Always false, with err->kind E_OK. */
bool parser_bad(struct parser *, size_t at, struct error *, const char *fmt, ...) DISH_PRINTF(4, 5);

/* Append a word quoted so that it reads back as these bytes; plain where it can be. */
struct text;
void word_quote(struct text *, const char *bytes, size_t len);

#endif
