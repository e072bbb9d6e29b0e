/*
 * The shell around the commands: what is set, where a script stands, how lines run. Only the shell's own
 * files and the commands about the session itself use it; other commands need command.h alone.
 */
#ifndef DISH_SHELL_H
#define DISH_SHELL_H

#include "command.h"
#include "text.h"
#include "words.h"

enum exit_status {
    EXIT_GOOD = 0,
    EXIT_COMMAND = 1, /* a command or the commit failed */
    EXIT_USAGE = 2,   /* wrong usage, or a syntax error found before anything ran */
    EXIT_IMAGE = 3,   /* an image could not be opened */
    EXIT_DAMAGE = 4,  /* found and not repaired */
    EXIT_INTERRUPT = 130,
};

enum color_when { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

struct shell_options {
    bool keep_going, dry_run, echo, json, quiet, verbose;
    enum color_when color;
    bool drop_caches;
};

struct named_text {
    struct named_text *next;
    char *name, *text;
};

struct shell {
    struct session *session;
    struct shell_options options;
    struct output *out; /* standard output */
    const char *script; /* SCRIPT of messages; NULL at the prompt */
    unsigned line;      /* of the running command */
    int status;         /* $? */
    int exit_status;    /* the program's, so far */
    bool interactive;   /* commands come from a person at a terminal */
    bool stdin_is_script;
    bool quit, discard_on_quit, commit_on_quit;
    bool autocommit, vi_keys;
    bool trace;                   /* print what each command changed on disk */
    unsigned depth;               /* of source */
    bool committed;               /* the script has committed before */
    char *commit_place;           /* "deploy.dish:12", where it did last; owned */
    struct named_text *variables; /* names given by `set NAME=VALUE`, for listing; the values are in the
                                     environment */
    struct named_text *aliases;   /* given by `alias` */
    struct editor *editor;        /* the line editor, when interactive */
    struct frame *frame;          /* of the running command; private to run.c */
    bool own_status;              /* the status of the command that failed last is the program's, too */
    bool looked;                  /* a command that may look at such images has run */
    bool kept;                    /* the command that failed last keeps what it changed: a script goes on */
    bool changing;                /* the command that failed last was one that changes images */
    char *previous_directory;     /* for `lcd -` */
};

struct drivers;
bool shell_new(struct shell **, const struct shell_options *, struct error *) DISH_CHECKED;
void shell_free(struct shell *);

/* ---- commands.c: the table --------------------------------------------------------------------------- */

/* By name or by a command's own alias; NULL: there is none. */
const struct command *command_find(const char *name, size_t len);
/* All of them, in the order of commands.def; ends with NULL. */
const struct command *const *command_all(void);
/* The name or alias that somebody may have meant, or NULL. */
const char *command_suggest(const char *name);
/* The word of a list (separated by '|' or NULL-terminated strings) nearest to what was typed, or NULL. */
const char *nearest_word(const char *typed, const char *const *words, size_t count);
/* What stands between a long option and its value: "=", or nothing when there is none or "[=WHEN]". */
const char *flag_glue(const struct flag *);
/* "put [-r] [-o U:G] HOST... DEST" */
void command_usage(const struct command *, struct text *);

/* ---- expand.c ---------------------------------------------------------------------------------------- */

struct value {
    char *text;
    size_t len;
    char *pattern; /* with active globs, quoted ones behind a backslash; NULL: there are none */
    bool absent;   /* nothing but empty variables without quotes: no word at all */
    bool tilde;    /* begins with ~ or ~/ without quotes: the home directory, where a host path is meant */
};
bool expand_word(struct shell *, struct arena *, const struct word *, struct value *,
                 struct error *) DISH_CHECKED;
/* A host path: the tilde resolved; no globs. */
bool expand_host(struct arena *, const struct value *, const char **out, struct error *) DISH_CHECKED;
/* Emit the words that a value stands for as an argument of this type: itself, or what its globs match. */
bool expand_argument(struct shell *, struct arena *, const struct value *, enum arg_type,
                     bool (*emit)(void *arg, const char *text, size_t len, struct error *), void *arg,
                     struct error *) DISH_CHECKED;
/* host_glob.c: the host files that match, sorted; E_NOENT when there is none. */
bool host_glob(const char *pattern, bool (*emit)(const char *path, void *arg), void *arg,
               struct error *) DISH_CHECKED;
/* The bytes of "[IMAGE:][VOLUME:]" that a path begins with. */
size_t place_prefix(const struct session *, const char *text);

/* ---- call.c ------------------------------------------------------------------------------------------ */

/* What a command reads and where it prints. */
struct io {
    struct output *out;
    const char *input; /* the heredoc's text, or NULL */
    size_t input_len, input_pos;
    int input_fd; /* < FILE, or -1 */
};

/* The words of a command before they are sorted into options and arguments. */
struct raw_call {
    const struct command *command;
    const char *invoked_as;
    struct value *values;
    size_t count;
    const struct word *words; /* the unexpanded ones, for commands that take another command; or NULL */
};
/* Sort, check and expand. The call lives in the arena. */
bool call_prepare(struct shell *, struct arena *, const struct raw_call *, struct call *,
                  struct error *) DISH_CHECKED;
/* The type that the n-th of `count` arguments has; *row NULL: there may not be that many. */
const struct arg *arg_at(const struct arg *rows, size_t n, size_t count);
/* The rows for the arguments of a command whose first argument is this (or NULL), and how many to skip. */
const struct arg *verb_rows(const struct command *, const char *first, size_t *skip);
const struct flag *flag_long(const struct command *, const char *name, size_t len);
const struct flag *flag_short(const struct command *, char letter);

/* ---- run.c ------------------------------------------------------------------------------------------- */

/* Run a line. False: the script stops here (a failure without -k, quit, an interrupt). */
bool shell_run_line(struct shell *, const struct line *);
/* A command given as words that are not to be expanded or split (dish IMAGE -- COMMAND ARG...). */
bool shell_run_words(struct shell *, char **words, int count);
/* A command whose words are all expanded, inside the running one: no savepoint of its own. */
bool shell_run_nested(struct shell *, char **words, int count, struct output *, struct error *) DISH_CHECKED;
/* What follows a prefix command (time), with everything that a command of its own has. */
bool shell_run_rest(struct call *, struct output *, struct error *) DISH_CHECKED;

/* ---- host.c ------------------------------------------------------------------------------------------ */

struct host_pipe {
    int pid;
    int fd; /* the end that is ours */
};
/* Start `sh -c TEXT` that reads what we write to pipe->fd (or that we read from, when `reading`). */
bool host_start(struct host_pipe *, const char *text, bool reading, struct error *) DISH_CHECKED;
/* Close our end and wait; E_FAILED when it failed, E_INTERRUPTED when it was stopped by an interrupt. */
bool host_finish(struct host_pipe *, const char *text, int *status, struct error *) DISH_CHECKED;
/* Run `sh -c TEXT` or, with words, a program; with our terminal. out_fd -1: our standard output. no_input:
 * nothing to read. */
bool host_run(const char *text, char *const *words, bool no_input, int out_fd, int *status,
              struct error *) DISH_CHECKED;

/* ---- script.c ---------------------------------------------------------------------------------------- */

/* Check the syntax of a source that can be rewound; prints what is wrong. */
bool shell_check(struct shell *, struct source *);
/* Run all of a source. False: stop. */
bool shell_run_source(struct shell *, struct source *);
/* Run all of a source as if a person typed it, showing prompts and lines:
 * what the tests and lessons compare. */
void shell_transcript(struct shell *, struct source *);
/* `source FILE` and `source |HOST COMMAND`: check, then run. */
bool shell_source(struct shell *, struct source *, struct error *) DISH_CHECKED;
/* The end of all scripts: commit, or (not complete) say what is taken back. Gives the exit status. */
int shell_finish(struct shell *, bool complete);
/* Commit with everything around it (dry run, notes). */
bool shell_commit(struct shell *, struct error *) DISH_CHECKED;

/* ---- message.c --------------------------------------------------------------------------------------- */

/* `dish: SCRIPT:LINE: COMMAND: message`; command NULL: the shell itself. Quiet for an empty message. */
void shell_report_error(struct shell *, const char *command, const struct error *);
void shell_report_syntax(struct shell *, const char *script, const struct syntax_error *);
/* A sentence of the shell on standard error: `dish: ...`. */
void shell_say(struct shell *, const char *fmt, ...) DISH_PRINTF(2, 3);
/* Text as it is on standard error, a question for example; it is freed. */
void shell_ask(struct shell *, struct text *);
/* -x: the command as written. */
void shell_echo(struct shell *, const char *text);

/* ---- output.c ---------------------------------------------------------------------------------------- */

/* lazy: where fd is a regular file, a command's end need not flush. */
struct output *output_new(int fd, const struct shell_options *, bool lazy, struct error *) DISH_CHECKED;
/* After a command: close its report and hand everything to the host. */
bool output_finish(struct output *, struct error *) DISH_CHECKED;
void output_flush(struct output *);
void output_free(struct output *); /* flushes; the descriptor stays open */
int output_fd(const struct output *);
void output_set_json(struct output *, bool);

/* ---- the commands about the session ------------------------------------------------------------------ */

/* topics.c: texts about more than one command; ends with name NULL. */
struct topic {
    const char *name, *title, *text;
};
extern const struct topic topics[];
/* help.c: what `help NAME` prints. */
void help_print(const struct command *, struct output *);
/* alias.c: the text of an alias, the person's or a built-in one; NULL: there is none. */
const char *alias_find(const struct shell *, const char *name);
const char *alias_built_in(size_t i); /* the name of the i-th; NULL: there are no more */
/* A list of names with texts; text NULL removes. */
bool named_text_set(struct named_text **, const char *name, const char *text, struct error *) DISH_CHECKED;
void named_text_free(struct named_text **);

/* ---- interactive.c and what belongs to it ------------------------------------------------------------ */

/* Read commands from the terminal until it is left; the exit status. */
int shell_interact(struct shell *);
/* Take over shell->vi_keys. */
void editor_keys(struct shell *);

/* ---- interrupt.c ------------------------------------------------------------------------------------- */

/* SIGINT asks the running command to stop; SIGTERM and SIGHUP besides end the session without a commit. */
void signals_install(void);
bool signals_ending(void);

/* progress.c: hand these to struct session_options. */
void progress_show(void *shell, const char *what, uint64_t done, uint64_t total);
void progress_clear(void);

#endif
