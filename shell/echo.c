#include "command.h"

#include <string.h>

static bool run_echo(struct session *session, struct call *call, struct output *out, struct error *err)
{
    int first = call->argc > 0 && strcmp(call->args[0], "-n") == 0;
    (void)session;
    (void)err;
    if (output_json(out)) {
        struct report *report = output_report_list(out);
        for (int i = first; i < call->argc; i++)
            report_bytes(report, NULL, call->args[i], call->lengths[i]);
        return true;
    }
    for (int i = first; i < call->argc; i++) {
        if (i > first)
            output_write(out, " ", 1);
        output_write(out, call->args[i], call->lengths[i]);
    }
    if (!first)
        output_write(out, "\n", 1);
    return true;
}

static const struct arg echo_args[] = {{"WORD", ARG_WORD, ARG_ANY, "printed with blanks between", NULL}, {0}};

const struct command echo_command = {
    .name = "echo",
    .group = "Session",
    .summary = "print words",
    .details = "With -n as the first word no newline follows.",
    .examples = "echo $HOME\necho $?",
    .args = echo_args,
    .needs = RAW_WORDS | TAKES_BYTES,
    .run = run_echo,
};
