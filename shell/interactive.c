/*
 * The session at a terminal: prompt, line editor, leaving. The only user of libedit. Characters are read by
 * read_char() below, so that Ctrl-C, a resized window and a session brought back from the background are
 * noticed at once.
 */
#include "interactive.h"

#include "alloc.h"
#include "bytes.h"

#include <errno.h>
#include <histedit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

struct editor {
    EditLine *line;
    History *history;
    struct history_list typed;
    struct text prompt;
    const char *question; /* asked instead of a prompt, or NULL */
    bool continued;
    char *pending; /* lines of a text with newlines that were not given out yet; owned */
    size_t pending_at;
    unsigned tabs;         /* in a row, without the line changing */
    FILE *terminal;        /* where prompts go: standard output, or standard error when that is no terminal */
    struct output *screen; /* the same, for lists */
    bool hung_up;          /* the terminal is gone */
};

static volatile sig_atomic_t resized, resumed;

static void on_signal(int number)
{
    if (number == SIGWINCH)
        resized = 1;
    else
        resumed = 1;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

/* What was typed right behind a Ctrl-C belongs to the next line. */
static char held_byte;
static bool has_held_byte;

static int read_byte(EditLine *line, char *byte)
{
    struct shell *shell;
    el_get(line, EL_CLIENTDATA, &shell);
    for (;;) {
        if (interrupt_pending())
            return -1;
        if (has_held_byte) {
            has_held_byte = false;
            *byte = held_byte;
            return 1;
        }
        ssize_t n = read(STDIN_FILENO, byte, 1);
        if (n == 1 && interrupt_pending()) {
            held_byte = *byte;
            has_held_byte = true;
            return -1;
        }
        if (n == 1)
            return 1;
        if (n == 0 || errno != EINTR) {
            shell->editor->hung_up = true; /* Ctrl-D would have come as a character */
            return 0;
        }
        if (resized) {
            resized = 0;
            el_resize(line);
        }
        if (resumed) {
            resumed = 0;
            el_set(line, EL_PREP_TERM, 1);
            el_set(line, EL_REFRESH);
        }
    }
}

static int read_char(EditLine *line, wchar_t *out)
{
    mbstate_t state = {0};
    for (;;) {
        char byte;
        int got = read_byte(line, &byte);
        if (got <= 0)
            return got;
        size_t n = mbrtowc(out, &byte, 1, &state);
        if (n == 0 || n == 1)
            return 1;
        if (n == (size_t)-1) /* broken UTF-8: what has no place in a name typed is dropped */
            state = (mbstate_t){0};
    }
}

static void say(struct editor *editor, const char *text)
{
    fputs(text, editor->terminal);
    fflush(editor->terminal);
}

static bool next_pending(struct editor *editor, const char **line, size_t *len)
{
    if (!editor->pending)
        return false;
    *line = editor->pending + editor->pending_at;
    *len = strcspn(*line, "\n");
    if (**line && (*line)[*len] == '\n') {
        editor->pending_at += *len + 1;
        return true;
    }
    if (*len > 0) {
        editor->pending_at += *len;
        return true;
    }
    free(editor->pending);
    editor->pending = NULL;
    return false;
}

/* The terminal is made ready before the prompt shows:
 * what is typed at once must not be taken for a command's. */
static const char *read_line(struct editor *editor, int *count)
{
    el_set(editor->line, EL_PREP_TERM, 1);
    return el_gets(editor->line, count);
}

static bool next_typed(struct source *source, bool first, const char **line, size_t *len, struct error *err)
{
    struct shell *shell = source->arg;
    struct editor *editor = shell->editor;
    if (next_pending(editor, line, len))
        return true;
    editor->continued = !first;
    editor->tabs = 0;
    int count = 0;
    output_flush(shell->out);
    const char *typed = read_line(editor, &count);
    if (interrupt_pending()) {
        if (!signals_ending())
            interrupt_clear();
        say(editor, "^C\n");
        return fail(err, E_INTERRUPTED, "%s", "");
    }
    if (!typed || count <= 0) {
        err->kind = E_OK;
        return false;
    }
    free(editor->pending);
    editor->pending_at = 0;
    editor->pending = mem_string_n(typed, (size_t)count, err);
    return editor->pending && next_pending(editor, line, len);
}

/* ---- prompt ------------------------------------------------------------------------------------------ */

static void build_prompt(struct shell *shell)
{
    struct text *prompt = &shell->editor->prompt;
    const struct session *session = shell->session;
    struct volume *volume = session->volume;
    struct error ignored;
    struct fs *fs;
    /* The lone filesystem is where relative paths begin. */
    if (!volume && session->image && !image_lone_volume(session->image, &volume, &ignored))
        volume = NULL;
    text_clear(prompt);
    if (!session->image) {
        text_string(prompt, "dish");
    } else {
        text_escaped(prompt, session->image->name, strlen(session->image->name));
        if (volume) {
            const char *cwd = volume->cwd ? volume->cwd : "/";
            text_printf(prompt, ":%u:", volume->number);
            text_escaped(prompt, cwd, strlen(cwd));
            if (volume_fs(volume, &fs, &ignored))
                text_printf(prompt, " (%s)", fs->type);
        }
    }
    text_string(prompt, session_pending(session) ? "*> " : "> ");
}

static char *give_prompt(EditLine *line)
{
    static char more[] = "> ";
    struct shell *shell;
    el_get(line, EL_CLIENTDATA, &shell);
    if (shell->editor->question)
        return (char *)(uintptr_t)shell->editor->question;
    return shell->editor->continued ? more : (char *)(uintptr_t)text_get(&shell->editor->prompt);
}

/* ---- history ----------------------------------------------------------------------------------------- */

static void fill_history(struct editor *editor)
{
    HistEvent event;
    history(editor->history, &event, H_CLEAR);
    for (size_t i = 0; i < editor->typed.count; i++)
        history(editor->history, &event, H_ENTER, editor->typed.lines[i]);
}

struct history_list *editor_history(struct shell *shell)
{
    return shell->editor ? &shell->editor->typed : NULL;
}

static void remember(struct editor *editor, const struct parser *parser)
{
    size_t len = parser->len;
    while (len > 0 && (parser->text[len - 1] == ' ' || parser->text[len - 1] == '\n'))
        len--;
    if (history_add(&editor->typed, parser->text, len))
        fill_history(editor);
}

/* ---- completion -------------------------------------------------------------------------------------- */

static void show_list(struct output *out, const struct candidates *found, bool with_notes)
{
    unsigned widest = 0, width = output_width(out);
    size_t shown = MIN_OF(found->count, (size_t)200);
    for (size_t i = 0; i < shown; i++) {
        widest = MAX_OF(widest, display_width(found->items[i].text + found->shown));
        with_notes |= found->items[i].note && found->count <= 20;
    }
    unsigned per_line = with_notes ? 1 : MAX_OF(width / (widest + 2), 1u);
    for (size_t i = 0; i < shown; i++) {
        const char *text = found->items[i].text + found->shown;
        const char *note = with_notes && found->items[i].note ? found->items[i].note : "";
        bool last = (i + 1) % per_line == 0 || i + 1 == shown;
        output_name(out, text);
        if (!last || *note)
            output_printf(out, "%*s", (int)(widest + 2 - MIN_OF(display_width(text), widest)), "");
        output_printf(out, "%.*s%s", (int)(width > widest + 3 ? width - widest - 3 : 0), note,
                      last ? "\n" : "");
    }
    if (found->cut || shown < found->count)
        output_printf(out, "... and more\n");
}

static bool insert(EditLine *line, const struct text *text)
{
    return text->len > 0 && el_insertstr(line, text_get(text)) == 0;
}

/* Tab: put in what is certain, list what is possible; once more: say what belongs here. */
static unsigned char on_tab(EditLine *line, int key)
{
    struct shell *shell;
    struct candidates found = {0};
    struct text insertion = {0};
    unsigned char result = CC_REFRESH_BEEP;
    (void)key;
    el_get(line, EL_CLIENTDATA, &shell);
    const LineInfo *info = el_line(line);
    if (complete_at(shell, info->buffer, (size_t)(info->cursor - info->buffer), &found)) {
        complete_insertion(&found, &insertion);
        bool inserted = insert(line, &insertion), again = !inserted && shell->editor->tabs > 0;
        if (found.count != 1 || !inserted) {
            say(shell->editor, "\n");
            show_list(shell->editor->screen, &found, again);
            if (found.help[0] && (again || found.count == 0))
                output_printf(shell->editor->screen, "%s\n", found.help);
            output_flush(shell->editor->screen);
        }
        shell->editor->tabs = inserted ? 0 : shell->editor->tabs + 1;
        result = found.count == 1 && inserted ? CC_REFRESH : CC_REDISPLAY;
    }
    text_free(&insertion);
    candidates_free(&found);
    return result;
}

/* ---- the session ------------------------------------------------------------------------------------- */

void editor_keys(struct shell *shell)
{
    if (!shell->editor)
        return;
    el_set(shell->editor->line, EL_EDITOR, shell->vi_keys ? "vi" : "emacs");
    el_set(shell->editor->line, EL_BIND, "^I", "dish-complete", NULL);
}

static bool editor_open(struct shell *shell, struct error *err)
{
    struct editor *editor = mem_new(sizeof *editor, err);
    HistEvent event;
    if (!editor)
        return false;
    shell->editor = editor;
    editor->terminal = isatty(STDOUT_FILENO) == 1 ? stdout : stderr;
    editor->screen = output_new(fileno(editor->terminal), &shell->options, false, err);
    if (!editor->screen)
        return false;
    editor->line = el_init("dish", stdin, editor->terminal, stderr);
    editor->history = history_init();
    if (!editor->line || !editor->history)
        return fail(err, E_FAILED, "the terminal cannot be used for line editing");
    history(editor->history, &event, H_SETSIZE, 2000);
    el_set(editor->line, EL_CLIENTDATA, shell);
    el_set(editor->line, EL_SIGNAL, 0);
    el_set(editor->line, EL_GETCFN, read_char);
    el_set(editor->line, EL_PROMPT, give_prompt);
    el_set(editor->line, EL_HIST, history, editor->history);
    el_set(editor->line, EL_ADDFN, "dish-complete", "complete the word at the cursor", on_tab);
    editor_keys(shell);
    el_set(editor->line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(editor->line, NULL);
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGCONT, &action, NULL);
    history_load(&editor->typed);
    fill_history(editor);
    return true;
}

static void editor_close(struct shell *shell)
{
    struct editor *editor = shell->editor;
    if (!editor)
        return;
    if (editor->line)
        el_end(editor->line);
    if (editor->history)
        history_end(editor->history);
    output_free(editor->screen);
    history_free(&editor->typed);
    text_free(&editor->prompt);
    free(editor->pending);
    free(editor);
    shell->editor = NULL;
}

enum answer { ANSWER_COMMIT, ANSWER_DISCARD, ANSWER_STAY };

/* Changes are pending and the person leaves. */
static enum answer ask(struct shell *shell)
{
    enum answer answer = ANSWER_STAY;
    shell->editor->question = "Changes are not committed. Commit, discard or stay? [c/d/s] ";
    for (bool asked = false; !asked;) {
        int count = 0;
        const char *typed = read_line(shell->editor, &count);
        bool interrupted = interrupt_pending();
        if (!typed || count <= 0 || interrupted) {
            interrupt_clear();
            say(shell->editor, "\n");
            break;
        }
        asked = true;
        if (typed[0] == 'c' || typed[0] == 'C' || typed[0] == 'y')
            answer = ANSWER_COMMIT;
        else if (typed[0] == 'd' || typed[0] == 'D')
            answer = ANSWER_DISCARD;
        else
            asked = typed[0] == 's' || typed[0] == 'S';
    }
    shell->editor->question = NULL;
    return answer;
}

/* True when the session may end. */
static bool leave(struct shell *shell)
{
    struct error err;
    bool pending = session_pending(shell->session);
    enum answer answer = shell->discard_on_quit ? ANSWER_DISCARD : ANSWER_COMMIT;
    shell->quit = false;
    if (signals_ending() || shell->editor->hung_up)
        return true;
    if (!pending || shell->options.dry_run)
        return true;
    if (!shell->discard_on_quit && !shell->commit_on_quit)
        answer = ask(shell);
    if (answer == ANSWER_STAY)
        return false;
    bool good = answer == ANSWER_COMMIT ? shell_commit(shell, &err) : session_rollback(shell->session, &err);
    if (!good)
        shell_report_error(shell, answer == ANSWER_COMMIT ? "commit" : "rollback", &err);
    return good;
}

/* One line from the prompt. False: the person leaves. */
static bool interact_once(struct shell *shell, struct parser *parser)
{
    struct line *line;
    struct error err = {0};
    shell->script = NULL;
    shell->line = 0;
    build_prompt(shell);
    enum parsed parsed = parser_next(parser, &line, &err);
    parser->source->line = 0;
    if (parsed == PARSE_END) {
        say(shell->editor, "\n");
        parser->ended = false;
        return false;
    }
    if (parsed == PARSE_FAILED) {
        shell_report_error(shell, NULL, &err);
        shell->status = err.kind == E_INTERRUPTED ? EXIT_INTERRUPT : EXIT_COMMAND;
        free(shell->editor->pending);
        shell->editor->pending = NULL;
        parser->ended = false;
        return !signals_ending();
    }
    remember(shell->editor, parser);
    if (parsed == PARSE_BAD) {
        shell_report_syntax(shell, NULL, &parser->bad);
        shell->status = EXIT_USAGE;
        return true;
    }
    shell_run_line(shell, line);
    if (!signals_ending())
        interrupt_clear();
    return !shell->quit && !signals_ending();
}

int shell_interact(struct shell *shell)
{
    struct error err;
    struct source source = {.fd = -1, .next = next_typed, .arg = shell};
    struct parser parser = {.source = &source};
    if (!editor_open(shell, &err)) {
        shell_report_error(shell, NULL, &err);
        editor_close(shell);
        return EXIT_COMMAND;
    }
    if (!shell->options.quiet)
        fprintf(shell->editor->terminal,
                "dish %s: `help` lists the commands, Tab completes, Ctrl-D leaves.\n", DISH_VERSION);
    do {
        while (interact_once(shell, &parser))
            ;
    } while (!leave(shell));
    parser_free(&parser);
    editor_close(shell);
    output_flush(shell->out);
    return signals_ending() ? EXIT_INTERRUPT : EXIT_GOOD;
}
