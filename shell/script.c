/* Scripts: syntax first, then line by line, then all or nothing. */
#include "shell.h"

#include "alloc.h"

#include <stdlib.h>

enum { MAX_SOURCE_DEPTH = 64 };

bool shell_new(struct shell **out, const struct shell_options *options, struct error *err)
{
    struct shell *shell = mem_new(sizeof *shell, err);
    if (!shell)
        return false;
    shell->options = *options;
    shell->out = output_new(1, options, true, err);
    if (!shell->out) {
        free(shell);
        return false;
    }
    *out = shell;
    return true;
}

void shell_free(struct shell *shell)
{
    if (!shell)
        return;
    session_free(shell->session);
    output_free(shell->out);
    named_text_free(&shell->variables);
    named_text_free(&shell->aliases);
    free(shell->commit_place);
    free(shell->previous_directory);
    free(shell);
}

bool shell_check(struct shell *shell, struct source *source)
{
    struct parser parser = {.source = source};
    struct line *line;
    struct error err = {0};
    enum parsed parsed;
    if (!source_rewindable(source))
        return true;
    while ((parsed = parser_next(&parser, &line, &err)) == PARSE_LINE)
        ;
    if (parsed == PARSE_BAD) {
        shell_report_syntax(shell, source->name, &parser.bad);
        shell->exit_status = EXIT_USAGE;
    } else if (parsed == PARSE_FAILED || !source_rewind(source, &err)) {
        shell_report_error(shell, NULL, &err);
        shell->exit_status = EXIT_COMMAND;
    }
    parser_free(&parser);
    return shell->exit_status == EXIT_GOOD;
}

bool shell_run_source(struct shell *shell, struct source *source)
{
    struct parser parser = {.source = source};
    struct line *line;
    struct error err = {0};
    const char *outer_script = shell->script;
    unsigned outer_line = shell->line;
    enum parsed parsed;
    bool good = true;
    while (good) {
        shell->script = source->name;
        parsed = parser_next(&parser, &line, &err);
        if (parsed == PARSE_END)
            break;
        if (parsed == PARSE_LINE) {
            good = shell_run_line(shell, line);
        } else {
            shell->line = source->line;
            if (parsed == PARSE_BAD)
                shell_report_syntax(shell, source->name, &parser.bad);
            else
                shell_report_error(shell, NULL, &err);
            bool interrupted = parsed == PARSE_FAILED && err.kind == E_INTERRUPTED;
            shell->status = interrupted ? EXIT_INTERRUPT : parsed == PARSE_BAD ? EXIT_USAGE : EXIT_COMMAND;
            shell->exit_status = shell->status;
            good = false;
        }
    }
    shell->script = outer_script;
    shell->line = outer_line;
    parser_free(&parser);
    return good;
}

/* A line of a transcript is shown behind the prompt that a person would have typed it at. */
static bool next_shown(struct source *source, bool first, const char **line, size_t *len, struct error *err)
{
    struct shell *shell = source->arg;
    if (!source_next(source, first, line, len, err))
        return false;
    output_printf(shell->out, first ? "dish> " : "> ");
    output_write(shell->out, *line, *len);
    output_printf(shell->out, "\n");
    return true;
}

void shell_transcript(struct shell *shell, struct source *source)
{
    struct parser parser = {.source = source};
    struct line *line;
    struct error err = {0};
    enum parsed parsed;
    source->next = next_shown;
    source->arg = shell;
    shell->interactive = true;
    while (!shell->quit && (parsed = parser_next(&parser, &line, &err)) != PARSE_END) {
        if (parsed == PARSE_LINE)
            shell_run_line(shell, line);
        else if (parsed == PARSE_BAD)
            shell_report_syntax(shell, NULL, &parser.bad);
        else
            shell_report_error(shell, NULL, &err);
        if (parsed == PARSE_FAILED)
            break;
    }
    shell->exit_status = EXIT_GOOD;
    parser_free(&parser);
}

bool shell_source(struct shell *shell, struct source *source, struct error *err)
{
    struct parser parser = {.source = source};
    struct line *line;
    enum parsed parsed = PARSE_END;
    if (shell->depth >= MAX_SOURCE_DEPTH)
        return fail(err, E_LOOP, "%s: scripts call each other more than %d deep", source->name,
                    MAX_SOURCE_DEPTH);
    while (source_rewindable(source) && (parsed = parser_next(&parser, &line, err)) == PARSE_LINE)
        ;
    if (parsed == PARSE_BAD) {
        shell_report_syntax(shell, source->name, &parser.bad);
        fail(err, E_USAGE, "%s", "");
    }
    parser_free(&parser);
    if (parsed != PARSE_END || (source_rewindable(source) && !source_rewind(source, err)))
        return false;
    shell->depth++;
    bool good = shell_run_source(shell, source);
    shell->depth--;
    if (shell->status == EXIT_INTERRUPT && !good)
        return fail(err, E_INTERRUPTED, "%s", "");
    return good || shell->quit || fail(err, E_FAILED, "%s", "");
}

bool shell_commit(struct shell *shell, struct error *err)
{
    if (shell->options.dry_run)
        return true;
    if (!session_commit(shell->session, err))
        return false;
    free(shell->commit_place);
    struct error ignored;
    shell->commit_place = shell->script ? mem_printf(&ignored, "%s:%u", shell->script, shell->line) : NULL;
    shell->committed = true;
    return true;
}

/* A script stopped before its end. */
static void take_back(struct shell *shell)
{
    struct error err;
    bool pending = session_pending(shell->session), any = shell->session->images != NULL;
    bool several = any && shell->session->images->next;
    if (pending && !session_rollback(shell->session, &err))
        shell_report_error(shell, "rollback", &err);
    if (!any || !(pending || shell->changing || shell->stdin_is_script))
        return;
    if (shell->committed && shell->commit_place)
        shell_say(shell, "everything after the last commit (%s) was taken back", shell->commit_place);
    else if (shell->committed)
        shell_say(shell, "everything after the last commit was taken back");
    else
        shell_say(shell, "nothing was changed: %s",
                  several ? "the images hold what they held before" : "the image holds what it held before");
}

int shell_finish(struct shell *shell, bool complete)
{
    struct error err;
    char *diff[] = {(char[]){"diff"}, NULL};
    shell->script = NULL;
    if (shell->quit && shell->discard_on_quit) {
        complete = true;
    } else if (!complete && !shell->quit) {
        take_back(shell);
    } else if (shell->options.dry_run) {
        if (session_pending(shell->session))
            shell_run_words(shell, diff, 1);
    } else if (!shell_commit(shell, &err)) {
        shell_report_error(shell, "commit", &err);
        shell->exit_status = err.kind == E_INTERRUPTED ? EXIT_INTERRUPT : EXIT_COMMAND;
    }
    if (!output_finish(shell->out, &err)) {
        shell_report_error(shell, NULL, &err);
        shell->exit_status = shell->exit_status ? shell->exit_status : EXIT_COMMAND;
    }
    output_flush(shell->out);
    return shell->exit_status;
}
