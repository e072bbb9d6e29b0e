/* trace: after each command, what it changed on disk. */
#include "command.h"
#include "shell.h"

#include <string.h>

static bool run_trace(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct shell *shell = call->shell;
    const char *to = call->argc ? call->args[0] : NULL;
    (void)session;
    if (!to)
        report_bool(output_report(out), "trace", shell->trace);
    else if (strcmp(to, "on") == 0 || strcmp(to, "off") == 0)
        shell->trace = strcmp(to, "on") == 0;
    else
        return fail(err, E_USAGE, "%s: on or off is meant", to);
    return true;
}

static const struct arg trace_args[] = {
    {"SWITCH", ARG_WORD, ARG_OPTIONAL, "on or off; shown when left out", "on|off"}, {0}};

const struct command trace_command = {
    .name = "trace",
    .group = "Teaching",
    .summary = "tell after each command what it changed on disk",
    .details =
        "Structure by structure and field by field, in every layer, as `diff` does for all that is pending.",
    .examples = "trace on\nmkdir /a",
    .args = trace_args,
    .run = run_trace,
};
