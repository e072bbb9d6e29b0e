/* The host's side: lcd, lpwd, lls and `!`. */
#include "alloc.h"
#include "command.h"
#include "shell.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static char *host_directory(struct error *err)
{
    char *path = getcwd(NULL, 0);
    if (!path)
        fail_errno(err, errno, "current directory");
    return path;
}

static bool run_lcd(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct shell *shell = call->shell;
    const char *to = call->argc ? call->args[0] : getenv("HOME");
    (void)session;
    if (to && strcmp(to, "-") == 0)
        to = shell->previous_directory;
    if (!to)
        return fail(err, E_INVALID, call->argc ? "there is no previous directory" : "$HOME is not set");
    char *from = host_directory(err);
    if (!from)
        return false;
    if (chdir(to) != 0) {
        free(from);
        return fail_errno(err, errno, "%s", to);
    }
    if (call->argc && strcmp(call->args[0], "-") == 0)
        output_printf(out, "%s\n", to);
    free(shell->previous_directory);
    shell->previous_directory = from;
    return true;
}

static const struct arg lcd_args[] = {{"DIRECTORY", ARG_HOST, ARG_OPTIONAL,
                                       "on the host; the home directory when left out, - the one before",
                                       NULL},
                                      {0}};

const struct command lcd_command = {
    .name = "lcd",
    .group = "Session",
    .summary = "change the host's current directory",
    .examples = "lcd ~/images\nlcd -",
    .args = lcd_args,
    .run = run_lcd,
};

static bool run_lpwd(struct session *session, struct call *call, struct output *out, struct error *err)
{
    char *path = host_directory(err);
    (void)session;
    (void)call;
    if (!path)
        return false;
    if (output_json(out)) {
        report_text(output_report(out), "directory", path);
    } else {
        output_name(out, path);
        output_write(out, "\n", 1);
    }
    free(path);
    return true;
}

const struct command lpwd_command = {
    .name = "lpwd",
    .group = "Session",
    .summary = "print the host's current directory",
    .examples = "lpwd",
    .run = run_lpwd,
};

/* The program's words, with `first` put before them. */
static bool run_program(struct call *call, const char *first, struct output *out, struct error *err)
{
    int status;
    size_t count = (size_t)call->argc;
    char **words = mem_array(count + 2, sizeof *words, err);
    if (!words)
        return false;
    words[0] = (char *)(uintptr_t)first;
    memcpy(words + 1, call->args, count * sizeof *words);
    output_flush(out);
    bool good = host_run(NULL, words, call->shell->stdin_is_script, output_fd(out), &status, err);
    free(words);
    return good;
}

static bool run_lls(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)session;
    return run_program(call, "ls", out, err);
}

static const struct arg lls_args[] = {
    {"WORD", ARG_HOST, ARG_ANY, "options and files, as the host's ls takes them", NULL}, {0}};

const struct command lls_command = {
    .name = "lls",
    .group = "Session",
    .summary = "list files on the host",
    .examples = "lls -l *.qcow2",
    .args = lls_args,
    .needs = RAW_WORDS,
    .run = run_lls,
};

static bool run_bang(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct text text = {0};
    int status;
    (void)session;
    for (int i = 0; i < call->argc; i++) {
        text_string(&text, i ? " " : "");
        text_string(&text, call->args[i]);
    }
    output_flush(out);
    bool good = text_ok(&text, err) &&
                host_run(text_get(&text), NULL, call->shell->stdin_is_script, output_fd(out), &status, err);
    text_free(&text);
    return good;
}

static const struct arg bang_args[] = {
    {"HOST COMMAND", ARG_WORD, ARG_MANY, "handed to sh as it stands, up to ; && || or the line's end", NULL},
    {0}};

const struct command bang_command = {
    .name = "!",
    .group = "Session",
    .summary = "run a command on the host",
    .details =
        "Its failure is an error of the script. Compound commands (for, while, { }, ( )) are kept together.",
    .examples = "!make\n!for f in *.c; do wc -l $f; done",
    .args = bang_args,
    .needs = RAW_WORDS,
    .run = run_bang,
};
