/* commit, rollback, undo, redo, quit. */
#include "command.h"
#include "shell.h"

#include <errno.h>
#include <stdlib.h>

static bool run_commit(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    if (call->shell->options.dry_run && session_pending(session))
        call_note(call, "a dry run commits nothing");
    return shell_commit(call->shell, err);
}

const struct command commit_command = {
    .name = "commit",
    .group = "Images",
    .summary = "make the changes durable, all or none",
    .details = "A script commits at its end; `quit` commits, too.",
    .examples = "write /etc/hostname box\ncommit",
    .needs = NEEDS_IMAGE | NO_SAVEPOINT | LOOKS,
    .run = run_commit,
};

static bool run_rollback(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)call;
    (void)out;
    return session_rollback(session, err);
}

const struct command rollback_command = {
    .name = "rollback",
    .group = "Images",
    .summary = "drop everything since the last commit",
    .examples = "rm -r /etc\nrollback",
    .needs = NEEDS_IMAGE | NO_SAVEPOINT | LOOKS,
    .run = run_rollback,
};

static bool count_of(const struct call *call, unsigned *count, struct error *err)
{
    *count = 1;
    if (call->argc == 0)
        return true;
    char *end;
    errno = 0;
    unsigned long value = strtoul(call->args[0], &end, 10);
    if (*end || end == call->args[0] || call->args[0][0] == '-' || errno || value == 0 || value > 1000000)
        return fail(err, E_INVALID, "%s: a number from 1 on is meant", call->args[0]);
    *count = (unsigned)value;
    return true;
}

static bool run_undo(struct session *session, struct call *call, struct output *out, struct error *err)
{
    unsigned count;
    (void)out;
    return count_of(call, &count, err) && session_undo(session, count, err);
}

static bool run_redo(struct session *session, struct call *call, struct output *out, struct error *err)
{
    unsigned count;
    (void)out;
    return count_of(call, &count, err) && session_redo(session, count, err);
}

static const struct arg count_args[] = {
    {"N", ARG_NUMBER, ARG_OPTIONAL, "how many commands; 1 when left out", NULL}, {0}};

const struct command undo_command = {
    .name = "undo",
    .group = "Images",
    .summary = "take back the last changing commands",
    .details = "As far as the last commit. `status` lists what can be taken back.",
    .examples = "undo\nundo 3",
    .args = count_args,
    .needs = NEEDS_IMAGE | NO_SAVEPOINT | LOOKS,
    .run = run_undo,
};

const struct command redo_command = {
    .name = "redo",
    .group = "Images",
    .summary = "bring back what undo took",
    .examples = "undo 2\nredo",
    .args = count_args,
    .needs = NEEDS_IMAGE | NO_SAVEPOINT | LOOKS,
    .run = run_redo,
};

static bool run_quit(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct shell *shell = call->shell;
    (void)session;
    (void)out;
    (void)err;
    shell->discard_on_quit = call_has(call, "discard") > 0;
    shell->commit_on_quit = call_has(call, "commit") > 0;
    shell->quit = true;
    return true;
}

static const struct flag quit_flags[] = {
    {'c', "commit", NULL, ARG_WORD, "commit without asking"},
    {'d', "discard", NULL, ARG_WORD, "drop changes that are not committed"},
    {0}};

const struct command quit_command = {
    .name = "quit",
    .group = "Session",
    .summary = "commit and leave",
    .details = "At the prompt you are asked about changes that are not committed; a script commits them.",
    .examples = "quit\nquit -d",
    .flags = quit_flags,
    .needs = NO_SAVEPOINT,
    .aliases = "exit q",
    .run = run_quit,
};

static bool run_symlink(struct session *session, struct call *call, struct output *out, struct error *err)
{
    char *words[] = {(char[]){"ln"}, (char[]){"-s"}, call->args[1], call->args[0], NULL};
    (void)session;
    return call_run(call, words, 4, out, err);
}

static const struct arg symlink_args[] = {{"LINK", ARG_PATH_NEW, ARG_ONE, "the name to make", NULL},
                                          {"TARGET", ARG_WORD, ARG_ONE, "what it points to", NULL},
                                          {0}};

const struct command symlink_command = {
    .name = "symlink",
    .group = "Files",
    .summary = "make a symbolic link, named first as in debugfs",
    .examples = "symlink /etc/localtime /usr/share/zoneinfo/UTC",
    .args = symlink_args,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_symlink,
};
