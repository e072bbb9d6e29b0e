/* source: commands from a file, or from what a host command prints. */
#include "command.h"
#include "shell.h"

static bool from_host(struct shell *shell, const char *text, struct error *err)
{
    struct host_pipe host;
    struct source source;
    struct error late;
    int status = 0;
    if (!host_start(&host, text, true, err))
        return false;
    bool read = source_fd(&source, text, host.fd, err);
    bool ended = source.fd < 0; /* read to its end and closed */
    host.fd = -1;
    if (!ended) { /* longer than what is checked first: it runs as it comes */
        bool good = read && shell_source(shell, &source, err);
        source_close(&source);
        bool finished = host_finish(&host, text, &status, &late);
        if (good && !finished)
            *err = late;
        return good && finished;
    }
    /* A generator that failed has not said all it had to: nothing of it runs. */
    bool good = host_finish(&host, text, &status, &late);
    if (read && !good)
        *err = late;
    good = read && good && shell_source(shell, &source, err);
    source_close(&source);
    return good;
}

static bool run_source(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct source source;
    (void)session;
    (void)out;
    if (call->host)
        return from_host(call->shell, call->host, err);
    if (call->argc == 0)
        return fail(err, E_USAGE, "missing FILE or |COMMAND");
    bool good = source_file(&source, call->args[0], err) && shell_source(call->shell, &source, err);
    source_close(&source);
    return good;
}

static const struct arg source_args[] = {
    {"FILE", ARG_HOST, ARG_OPTIONAL, "a host file of commands, or |HOST COMMAND that prints them", NULL},
    {0}};

const struct command source_command = {
    .name = "source",
    .group = "Session",
    .summary = "run the commands of a file, or those that a host command prints",
    .details =
        "The syntax of all of it is checked before any of it runs. It stops at its first failing command.",
    .examples = "source setup.dish\nsource |python3 generate.py",
    .args = source_args,
    .needs = FROM_HOST,
    .run = run_source,
};
