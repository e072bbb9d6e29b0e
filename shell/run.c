/*
 * Running commands. Around each stands one frame: words are expanded and checked, input and output connected,
 * the command runs, and what it changed becomes one undo step, or is taken back when it or its pipe failed.
 */
#include "shell.h"

#include "alloc.h"
#include "bytes.h"
#include "changes_print.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_TEXT = 200, MAX_ALIAS_DEPTH = 16 };

/* One command of a line, from its words to its end. */
struct frame {
    struct arena arena;
    struct io io;
    struct output *redirected; /* output to a file or pipe of its own */
    int saved_errors;          /* descriptor 2 while it points elsewhere, or -1 */
    struct host_pipe pipe;
    const char *pipe_text; /* NULL: none runs */
    const char *name;      /* for messages */
    int status;            /* of a host command that failed */
    int verdict;           /* the exit status that the command itself asks for when it fails; 0: none */
    bool touched;          /* something that may change images ran */
    bool keep;             /* it failed, but what it has done stays */
    bool judged;           /* E_DAMAGED is a verdict, not an accident */
};

static bool prepare(struct shell *, struct frame *, const struct word *, size_t count, struct call *,
                    struct error *);
static bool invoke(struct shell *, struct frame *, struct call *, struct error *);

/* ---- finding the command ----------------------------------------------------------------------------- */

static bool copy_words(struct arena *arena, const struct word *from, size_t count, struct word *to,
                       struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = from[i];
        to[i].pieces = arena_new(arena, from[i].count * sizeof *from[i].pieces, err);
        if (!to[i].pieces)
            return false;
        for (size_t k = 0; k < from[i].count; k++) {
            to[i].pieces[k] = from[i].pieces[k];
            to[i].pieces[k].text = arena_copy(arena, from[i].pieces[k].text, from[i].pieces[k].len, err);
            if (!to[i].pieces[k].text)
                return false;
        }
    }
    return true;
}

/* The words of an alias in front of what followed its name. */
static bool substitute(struct arena *arena, const char *name, const char *alias, const struct word **words,
                       size_t *count, struct error *err)
{
    struct source source;
    struct parser parser = {.source = &source};
    struct line *line;
    if (!source_text(&source, name, alias, strlen(alias), err))
        return false;
    enum parsed parsed = parser_next(&parser, &line, err);
    bool good = parsed == PARSE_LINE && line->count == 1 && !line->commands[0].host;
    if (!good && parsed != PARSE_FAILED)
        fail(err, E_INVALID, "the alias %s is not one command: %s", name, alias);
    if (good) {
        size_t front = line->commands[0].word_count, rest = *count - 1;
        struct word *joined = arena_new(arena, (front + rest) * sizeof *joined, err);
        good = joined && copy_words(arena, line->commands[0].words, front, joined, err);
        if (good) {
            memcpy(joined + front, *words + 1, rest * sizeof *joined);
            *words = joined;
            *count = front + rest;
        }
    }
    parser_free(&parser);
    source_close(&source);
    return good;
}

static bool unknown(const char *name, struct error *err)
{
    const char *near = command_suggest(name);
    if (near)
        return fail(err, E_USAGE, "unknown command; did you mean %s?", near);
    return fail(err, E_USAGE, "unknown command; `help` lists all there are");
}

/* Expand the first word until it names a command. */
static bool find_command(struct shell *shell, struct frame *frame, const struct word **words, size_t *count,
                         struct raw_call *raw, struct error *err)
{
    const char *last_alias = NULL;
    for (unsigned depth = 0;; depth++) {
        struct value name;
        if (!expand_word(shell, &frame->arena, &(*words)[0], &name, err))
            return false;
        const char *alias = depth < MAX_ALIAS_DEPTH ? alias_find(shell, name.text) : NULL;
        frame->name = name.text;
        if (alias && !(last_alias && strcmp(last_alias, name.text) == 0)) {
            last_alias = name.text;
            if (!substitute(&frame->arena, name.text, alias, words, count, err))
                return false;
            continue;
        }
        raw->invoked_as = name.text;
        raw->command = command_find(name.text, name.len);
        if (!raw->command && !name.text[0])
            return fail(err, E_USAGE, "an empty word is no command");
        return raw->command || unknown(name.text, err);
    }
}

static bool expand_words(struct shell *shell, struct arena *arena, const struct word *words, size_t count,
                         struct raw_call *raw, struct error *err)
{
    raw->values = arena_new(arena, count * sizeof *raw->values, err);
    if (!raw->values)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!expand_word(shell, arena, &words[i], &raw->values[raw->count], err))
            return false;
        raw->count += !raw->values[raw->count].absent;
    }
    return true;
}

/* A script that names an image which is of no use only looks at it: anything else ends it, as if the image
 * had not been opened. A person at the prompt may go on with other images. */
static bool images_usable(struct shell *shell, const struct call *call, struct error *err)
{
    const struct command *command = call->command;
    shell->looked |= (command->needs & LOOKS) && !(command->needs & NO_SAVEPOINT);
    if (shell->interactive || (command->needs & LOOKS) || strcmp(command->group, "Session") == 0)
        return true;
    for (const struct image *image = shell->session->images; image; image = image->next)
        if (!image_usable(image, err))
            return false;
    return true;
}

static bool allowed(struct shell *shell, const struct call *call, struct error *err)
{
    unsigned needs = call->command->needs;
    if (!images_usable(shell, call, err))
        return false;
    if ((needs & NEEDS_IMAGE) && !shell->session->images)
        return fail(err, E_NOENT, "no image is open; `open FILE` opens one, `create FILE SIZE` makes one");
    if ((needs & (NEEDS_IMAGE | CHANGES | READS_INPUT)) && !(needs & NO_SAVEPOINT) &&
        !session_usable(shell->session, err))
        return false;
    if ((needs & CHANGES) && !(needs & ALSO_READS) && shell->session->images) {
        if (shell->session->options.force_share)
            return fail(err, E_READONLY, "the session is read-only (-U)");
        if (shell->session->options.read_only)
            return fail(err, E_READONLY, "the session is read-only (-r)");
    }
    return true;
}

static bool prepare(struct shell *shell, struct frame *frame, const struct word *words, size_t count,
                    struct call *call, struct error *err)
{
    struct raw_call raw = {0};
    if (!find_command(shell, frame, &words, &count, &raw, err))
        return false;
    bool help = count == 2 && words[1].count == 1 && strcmp(words[1].pieces[0].text, "--help") == 0;
    bool prefix = (raw.command->needs & PREFIX) && !help;
    if (!prefix && !expand_words(shell, &frame->arena, words + 1, count - 1, &raw, err))
        return false;
    if (!call_prepare(shell, &frame->arena, &raw, call, err))
        return false;
    call->rest = words + 1;
    call->rest_count = count - 1;
    return call->help || allowed(shell, call, err);
}

static bool invoke(struct shell *shell, struct frame *frame, struct call *call, struct error *err)
{
    call->io = &frame->io;
    frame->name = call->invoked_as;
    if (call->help) {
        help_print(call->command, frame->io.out);
        return true;
    }
    frame->touched |= (call->command->needs & CHANGES) != 0;
    frame->judged |= (call->command->needs & FINDS_DAMAGE) != 0;
    err->kind = E_OK;
    err->device = NULL;
    err->layer = NULL;
    err->message[0] = 0;
    if (!call->command->run(shell->session, call, frame->io.out, err)) {
        frame->keep = call->keep;
        return false;
    }
    return call_result(call, err);
}

/* ---- input and output -------------------------------------------------------------------------------- */

static bool open_host(struct shell *shell, struct frame *frame, const struct word *word, int flags, int *fd,
                      struct error *err)
{
    struct value value;
    const char *path;
    if (!expand_word(shell, &frame->arena, word, &value, err) ||
        !expand_host(&frame->arena, &value, &path, err))
        return false;
    *fd = open(path, flags | O_CLOEXEC, 0666);
    return *fd >= 0 || fail_errno(err, errno, "%s", path);
}

static bool redirect_output(struct shell *shell, struct frame *frame, int fd, struct error *err)
{
    if (frame->redirected) { /* the last one wins; those before are only made */
        close(output_fd(frame->redirected));
        output_free(frame->redirected);
    }
    frame->redirected = output_new(fd, &shell->options, false, err);
    if (!frame->redirected)
        close(fd);
    else
        frame->io.out = frame->redirected;
    return frame->redirected != NULL;
}

static bool redirect_errors(struct shell *shell, struct frame *frame, int fd, struct error *err)
{
    output_flush(shell->out);
    if (frame->saved_errors < 0)
        frame->saved_errors = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    if (frame->saved_errors < 0 || dup2(fd, STDERR_FILENO) < 0)
        return fail_errno(err, errno, "standard error");
    return true;
}

static bool apply_redirect(struct shell *shell, struct frame *frame, const struct redirect *redirect,
                           struct error *err)
{
    struct value value;
    int fd;
    bool good, append = redirect->kind == REDIRECT_APPEND || redirect->kind == REDIRECT_ERRORS_APPEND;
    switch (redirect->kind) {
    case REDIRECT_HEREDOC:
        if (!expand_word(shell, &frame->arena, &redirect->word, &value, err))
            return false;
        frame->io.input = value.text;
        frame->io.input_len = value.len;
        return true;
    case REDIRECT_IN:
        if (!open_host(shell, frame, &redirect->word, O_RDONLY, &fd, err))
            return false;
        if (frame->io.input_fd >= 0)
            close(frame->io.input_fd);
        frame->io.input_fd = fd;
        return true;
    case REDIRECT_ERRORS_TO_OUT:
        return redirect_errors(shell, frame, output_fd(frame->io.out), err);
    default:
        if (!open_host(shell, frame, &redirect->word, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), &fd,
                       err))
            return false;
        if (redirect->kind == REDIRECT_OUT || redirect->kind == REDIRECT_APPEND)
            return redirect_output(shell, frame, fd, err);
        good = redirect_errors(shell, frame, fd, err);
        close(fd);
        return good;
    }
}

/* The pipe first, so that `cmd > file | sh` and 2>&1 mean what they mean in a shell. */
static bool connect(struct shell *shell, struct frame *frame, const struct simple *simple, bool pipe,
                    struct error *err)
{
    if (simple->pipe && pipe) {
        output_flush(shell->out);
        if (!host_start(&frame->pipe, simple->pipe, false, err))
            return false;
        frame->pipe_text = simple->pipe;
        if (!redirect_output(shell, frame, frame->pipe.fd, err)) {
            frame->pipe.fd = -1;
            return false;
        }
    }
    for (size_t i = 0; i < simple->redirect_count; i++)
        if (!apply_redirect(shell, frame, &simple->redirects[i], err))
            return false;
    return true;
}

/* Undo connect(): hand on what was printed, and hear what the right side of the pipe has to say. */
static bool disconnect(struct frame *frame, bool good, struct error *err)
{
    struct error late = {0};
    bool written = output_finish(frame->io.out, &late);
    if (frame->redirected) {
        output_flush(frame->redirected);
        close(output_fd(frame->redirected));
        frame->pipe.fd = -1;
        output_free(frame->redirected);
    }
    if (frame->saved_errors >= 0) {
        dup2(frame->saved_errors, STDERR_FILENO);
        close(frame->saved_errors);
    }
    if (frame->io.input_fd >= 0)
        close(frame->io.input_fd);
    if (good && !written)
        *err = late;
    good = good && written;
    if (frame->pipe_text && !host_finish(&frame->pipe, frame->pipe_text, &frame->status, &late)) {
        if (good)
            *err = late;
        good = false;
    }
    return good;
}

/* ---- the end of a command ---------------------------------------------------------------------------- */

/* `trace on`: what the command that has just ended did to the disk. */
static bool print_changes(struct shell *shell, struct error *err)
{
    return changes_print(shell->session, true, shell->out, err) && output_finish(shell->out, err);
}

/* What the command changed becomes an undo step. */
static bool keep_changes(struct shell *shell, const char *text, struct error *err)
{
    char shown[MAX_TEXT + 8];
    size_t n = strlen(text), kept = MIN_OF(n, (size_t)MAX_TEXT);
    while (kept < n && kept > 0 && ((unsigned char)text[kept] & 0xc0) == 0x80)
        kept--;
    memcpy(shown, text, kept);
    strcpy(shown + kept, kept < n ? "…" : "");
    const struct undo_record *before = shell->session->undo;
    bool good = session_savepoint(shell->session, shown, err);
    if (good && shell->trace && shell->session->undo != before)
        good = print_changes(shell, err);
    return good && (!shell->autocommit || shell_commit(shell, err));
}

/* What it changed becomes an undo step, or is taken back. */
static bool settle(struct shell *shell, struct frame *frame, const char *text, bool good, struct error *err)
{
    struct error late;
    if (frame->touched && good)
        good = keep_changes(shell, text, err);
    else if (frame->touched && frame->keep && !keep_changes(shell, text, &late)) {
        frame->keep = false;
        *err = late;
    }
    if (frame->touched && !good && !frame->keep && !session_revert(shell->session, &late))
        shell_report_error(shell, frame->name, &late);
    if (shell->options.drop_caches && !session_drop_caches(shell->session, &late) && good) {
        *err = late;
        good = false;
    }
    return good;
}

static int status_of(const struct frame *frame, const struct error *err)
{
    if (err->kind == E_INTERRUPTED)
        return EXIT_INTERRUPT;
    if (err->kind == E_REFUSED)
        return EXIT_IMAGE;
    if (frame->verdict > 0)
        return frame->verdict;
    if (err->kind == E_DAMAGED && frame->judged)
        return EXIT_DAMAGE;
    return frame->status > 0 ? frame->status : EXIT_COMMAND;
}

static void complain(struct shell *shell, const struct frame *frame, struct error *err)
{
    if (err->kind == E_INTERRUPTED)
        fail(err, E_INTERRUPTED, frame->touched ? "interrupted, nothing changed" : "interrupted");
    shell_report_error(shell, frame->name, err);
}

static bool run_host(struct shell *shell, struct frame *frame, const char *text, struct error *err)
{
    frame->name = "!";
    output_flush(shell->out);
    return host_run(text, NULL, shell->stdin_is_script, -1, &frame->status, err);
}

static bool run_dish(struct shell *shell, struct frame *frame, const struct simple *simple, struct error *err)
{
    struct call call;
    if (!prepare(shell, frame, simple->words, simple->word_count, &call, err))
        return false;
    bool from_host = simple->pipe && simple->word_count == 1 && (call.command->needs & FROM_HOST);
    call.host = from_host ? simple->pipe : NULL;
    bool good = connect(shell, frame, simple, !from_host, err) && invoke(shell, frame, &call, err);
    if (good && (call.command->needs & NO_SAVEPOINT))
        frame->touched = false;
    return disconnect(frame, good, err);
}

/* Run one command and all that belongs to it. Sets $?; false: it failed. */
static bool run_simple(struct shell *shell, const struct simple *simple)
{
    struct frame frame = {
        .io = {.out = shell->out, .input_fd = -1}, .saved_errors = -1, .name = simple->text};
    struct error err = {0};
    struct frame *outer = shell->frame;
    shell->frame = &frame;
    shell->line = shell->script ? simple->line : 0;
    if (shell->options.echo)
        shell_echo(shell, simple->text);
    bool good = interrupt_check(&err) && (simple->host ? run_host(shell, &frame, simple->host, &err)
                                                       : run_dish(shell, &frame, simple, &err));
    progress_clear();
    good = settle(shell, &frame, simple->text, good, &err);
    shell->line = shell->script ? simple->line : 0;
    if (!good && err.message[0])
        complain(shell, &frame, &err);
    if (good)
        shell->status = EXIT_GOOD;
    else if (err.message[0] || shell->status == EXIT_GOOD || err.kind != E_FAILED)
        shell->status = status_of(&frame, &err);
    shell->own_status = !good && (err.kind == E_REFUSED || frame.verdict > 0);
    shell->kept = !good && frame.keep;
    shell->changing = !good && frame.touched;
    shell->frame = outer;
    arena_free(&frame.arena);
    return good;
}

void call_exit_status(struct call *call, int status)
{
    call->shell->frame->verdict = status;
}

/* ---- lines ------------------------------------------------------------------------------------------- */

/* A list failed: whether to go on. */
static bool after_failure(struct shell *shell)
{
    bool stop = shell->status == EXIT_INTERRUPT || signals_ending();
    if (shell->kept) { /* a verdict: what was done by then stays */
        shell->exit_status = shell->exit_status ? shell->exit_status : shell->status;
        return !stop;
    }
    bool special = shell->status == EXIT_DAMAGE || shell->status == EXIT_INTERRUPT || shell->own_status;
    if (shell->exit_status == EXIT_GOOD || shell->status == EXIT_INTERRUPT)
        shell->exit_status = special ? shell->status : EXIT_COMMAND;
    return !stop && (shell->options.keep_going || (shell->interactive && shell->depth == 0));
}

bool shell_run_line(struct shell *shell, const struct line *line)
{
    bool good = true, ignored = false;
    for (size_t i = 0; i < line->count; i++) {
        const struct simple *simple = &line->commands[i];
        bool skip = (simple->join == JOIN_AND && !good) || (simple->join == JOIN_OR && good);
        if (!skip) {
            good = run_simple(shell, simple);
            ignored = simple->ignore;
        }
        if (shell->quit)
            return false;
        if (shell->status == EXIT_INTERRUPT && !good)
            return after_failure(shell);
        bool last = i + 1 == line->count || line->commands[i + 1].join == JOIN_SEQUENCE;
        if (last && !good && !ignored && !after_failure(shell))
            return false;
        if (last)
            good = true;
    }
    return true;
}

/* Words that mean themselves, as a line's. */
static bool quoted_words(struct arena *arena, char **words, int count, struct word **out, struct error *err)
{
    *out = arena_new(arena, (size_t)count * sizeof **out, err);
    for (int i = 0; *out && i < count; i++) {
        struct word *word = &(*out)[i];
        word->pieces = arena_new(arena, sizeof *word->pieces, err);
        if (!word->pieces)
            return false;
        word->count = 1;
        word->pieces[0] = (struct piece){PIECE_QUOTED, words[i], strlen(words[i])};
    }
    return *out != NULL;
}

bool shell_run_words(struct shell *shell, char **words, int count)
{
    struct arena arena = {0};
    struct error err;
    struct text text = {0};
    struct simple simple = {.word_count = (size_t)count};
    struct line line = {&simple, 1, 1};
    for (int i = 0; i < count; i++) {
        text_string(&text, i ? " " : "");
        word_quote(&text, words[i], strlen(words[i]));
    }
    simple.text = text_get(&text);
    bool good = quoted_words(&arena, words, count, &simple.words, &err);
    if (good)
        good = shell_run_line(shell, &line);
    else
        shell_report_error(shell, words[0], &err);
    text_free(&text);
    arena_free(&arena);
    return good;
}

/* ---- commands inside commands ------------------------------------------------------------------------ */

static bool run_inside(struct shell *shell, const struct word *words, size_t count, struct output *out,
                       struct error *err)
{
    struct frame *frame = shell->frame, inner = {.io = frame->io};
    struct call call;
    inner.io.out = out;
    bool good = prepare(shell, &inner, words, count, &call, err) && invoke(shell, &inner, &call, err);
    frame->touched |= inner.touched && !(good && (call.command->needs & NO_SAVEPOINT));
    frame->judged |= inner.judged;
    frame->keep |= inner.keep;
    frame->io.input_pos = inner.io.input_pos;
    arena_free(&inner.arena);
    return good;
}

bool shell_run_nested(struct shell *shell, char **words, int count, struct output *out, struct error *err)
{
    struct arena arena = {0};
    struct word *quoted;
    if (count == 0)
        return fail(err, E_USAGE, "a command is missing");
    bool good = quoted_words(&arena, words, count, &quoted, err) &&
                run_inside(shell, quoted, (size_t)count, out, err);
    if (!good && err->message[0])
        because(err, "%s", words[0]);
    arena_free(&arena);
    return good;
}

bool shell_run_rest(struct call *call, struct output *out, struct error *err)
{
    struct shell *shell = call->shell;
    struct value name;
    struct arena arena = {0};
    bool good = run_inside(shell, call->rest, call->rest_count, out, err);
    if (!good && err->message[0] && expand_word(shell, &arena, &call->rest[0], &name, &(struct error){0}))
        because(err, "%s", name.text);
    arena_free(&arena);
    return good;
}
