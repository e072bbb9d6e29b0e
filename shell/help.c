/* help: every command by group, one command in full, or those that a word leads to. */
#include "bytes.h"
#include "command.h"
#include "shell.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const groups[] = {"Images", "Partitions", "Filesystems", "Files", "Teaching", "Session"};

/* ---- one command ------------------------------------------------------------------------------------- */

static void put_columns(struct output *out, const char *left, const char *right)
{
    enum { LEFT = 26 };
    unsigned width = display_width(left);
    if (width + 2 > LEFT)
        output_printf(out, "  %s\n  %*s%s\n", left, LEFT, "", right);
    else
        output_printf(out, "  %s%*s%s\n", left, (int)(LEFT - width), "", right);
}

static void put_indented(struct output *out, const char *title, const char *lines)
{
    output_printf(out, "\n%s:\n", title);
    while (*lines) {
        size_t n = strcspn(lines, "\n");
        output_printf(out, "  %.*s\n", (int)n, lines);
        lines += n + (lines[n] == '\n');
    }
}

static void put_flag(struct output *out, const struct flag *flag)
{
    char left[80];
    if (flag->letter && flag->name)
        snprintf(left, sizeof left, "-%c, --%s%s%s", flag->letter, flag->name, flag_glue(flag),
                 flag->value ? flag->value : "");
    else if (flag->letter)
        snprintf(left, sizeof left, "-%c%s%s", flag->letter, flag->value ? " " : "",
                 flag->value ? flag->value : "");
    else
        snprintf(left, sizeof left, "    --%s%s%s", flag->name, flag_glue(flag),
                 flag->value ? flag->value : "");
    put_columns(out, left, flag->help);
}

static void report_command(const struct command *command, struct report *report)
{
    struct text usage = {0};
    command_usage(command, &usage);
    report_text(report, "name", command->name);
    report_text(report, "group", command->group);
    report_text(report, "summary", command->summary);
    report_text(report, "usage", text_get(&usage));
    text_free(&usage);
    report_open_list(report, "arguments");
    for (const struct arg *row = command->args; row && row->name; row++) {
        report_open(report, NULL);
        report_text(report, "name", row->name);
        report_text(report, "help", row->help);
        report_close(report);
    }
    report_close(report);
    report_open_list(report, "options");
    for (const struct flag *flag = command->flags; flag && flag->help; flag++) {
        char letter[3] = {'-', flag->letter, 0};
        report_open(report, NULL);
        if (flag->letter)
            report_text(report, "short", letter);
        if (flag->name)
            report_format(report, "long", "--%s", flag->name);
        if (flag->value)
            report_text(report, "value", flag->value);
        report_text(report, "help", flag->help);
        report_close(report);
    }
    report_close(report);
}

void help_print(const struct command *command, struct output *out)
{
    struct text usage = {0};
    if (output_json(out)) {
        report_command(command, output_report(out));
        return;
    }
    command_usage(command, &usage);
    output_printf(out, "%s: %s\n\nusage: %s\n", command->name, command->summary, text_get(&usage));
    text_free(&usage);
    if (command->args && command->args->name)
        output_printf(out, "\n");
    for (const struct arg *row = command->args; row && row->name; row++)
        put_columns(out, row->name, row->help);
    if (command->flags && command->flags->help)
        output_printf(out, "\nOptions:\n");
    for (const struct flag *flag = command->flags; flag && flag->help; flag++)
        put_flag(out, flag);
    if (command->details)
        output_printf(out, "\n%s\n", command->details);
    if (command->aliases)
        output_printf(out, "\nAlso called: %s\n", command->aliases);
    if (command->examples)
        put_indented(out, "Examples", command->examples);
}

/* ---- lists ------------------------------------------------------------------------------------------- */

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (; text && *text; text++)
        if (strncasecmp(text, word, n) == 0)
            return true;
    return false;
}

static bool about(const struct command *command, const char *word)
{
    bool found = has_word(command->name, word) || has_word(command->summary, word) ||
                 has_word(command->details, word) || has_word(command->aliases, word);
    for (const struct flag *flag = command->flags; flag && flag->help; flag++)
        found = found || has_word(flag->help, word) || has_word(flag->name, word);
    return found;
}

static void put_row(struct output *out, const struct command *command)
{
    if (output_json(out)) {
        struct report *report = output_report_list(out);
        report_open(report, NULL);
        report_text(report, "name", command->name);
        report_text(report, "group", command->group);
        report_text(report, "summary", command->summary);
        report_close(report);
    } else {
        output_printf(out, "  ");
        output_color(out, "1");
        output_printf(out, "%s", command->name);
        output_color(out, NULL);
        output_printf(out, "%*s%s\n", (int)(14 - MIN_OF(strlen(command->name), (size_t)13)), "",
                      command->summary);
    }
}

static bool known_group(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        if (strcmp(groups[i], name) == 0)
            return true;
    return false;
}

/* Commands that pass, under the titles of their groups; the number of them. */
static unsigned list_commands(struct output *out, const char *word, const char *group)
{
    unsigned count = 0;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        bool titled = false;
        for (const struct command *const *c = command_all(); *c; c++) {
            const char *of = known_group((*c)->group) ? (*c)->group : "Session";
            bool wanted = strcmp(of, groups[i]) == 0 && (!word || about(*c, word)) &&
                          (!group || strcasecmp(group, of) == 0);
            if (!wanted)
                continue;
            if (!titled && !output_json(out))
                output_printf(out, "%s%s\n", count ? "\n" : "", of);
            titled = true;
            put_row(out, *c);
            count++;
        }
    }
    return count;
}

static const struct topic *find_topic(const char *name)
{
    for (const struct topic *topic = topics; topic->name; topic++)
        if (strcasecmp(topic->name, name) == 0)
            return topic;
    return NULL;
}

static void put_topic(struct output *out, const struct topic *topic)
{
    if (output_json(out)) {
        struct report *report = output_report(out);
        report_text(report, "name", topic->name);
        report_text(report, "title", topic->title);
        report_text(report, "text", topic->text);
    } else {
        output_printf(out, "%s: %s\n\n%s\n", topic->name, topic->title, topic->text);
    }
}

static void list_topics(struct output *out)
{
    output_printf(out, "\nTopics\n");
    for (const struct topic *topic = topics; topic->name; topic++)
        put_columns(out, topic->name, topic->title);
    output_printf(out, "\n`help COMMAND` explains one, `help -k WORD` finds those about something.\n");
}

static bool help_one(struct shell *shell, const char *name, struct output *out, struct error *err)
{
    const struct command *command = command_find(name, strlen(name));
    const char *alias = alias_find(shell, name);
    const struct topic *topic = command ? NULL : find_topic(name);
    if (topic) {
        put_topic(out, topic);
        return true;
    }
    if (!command && alias) {
        output_printf(out, "%s is short for: %s\n", name, alias);
        command = command_find(alias, strcspn(alias, " "));
        if (command)
            output_printf(out, "\n");
    }
    if (command) {
        help_print(command, out);
        return true;
    }
    if (alias || list_commands(out, NULL, name) > 0)
        return true;
    const char *near = command_suggest(name);
    if (near)
        return fail(err, E_NOENT, "%s: no such command; did you mean %s?", name, near);
    return fail(err, E_NOENT, "%s: no such command; `help -k %s` searches", name, name);
}

static bool run_help(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)session;
    const char *word = call_value(call, "keyword");
    if (word)
        return list_commands(out, word, NULL) > 0 || fail(err, E_NOENT, "%s: nothing is about this", word);
    for (int i = 0; i < call->argc; i++)
        if (!help_one(call->shell, call->args[i], out, err))
            return false;
    if (call->argc > 0)
        return true;
    list_commands(out, NULL, NULL);
    if (!output_json(out))
        list_topics(out);
    return true;
}

static const struct arg help_args[] = {{"COMMAND", ARG_COMMAND, ARG_ANY,
                                        "a command, a group of commands, or a topic",
                                        "places|sizes|language|transactions|exit-status"},
                                       {0}};
static const struct flag help_flags[] = {
    {'k', "keyword", "WORD", ARG_WORD, "list the commands whose help holds WORD"}, {0}};

const struct command help_command = {
    .name = "help",
    .group = "Session",
    .summary = "explain commands",
    .details = "Without a name all commands are listed by group.",
    .examples = "help\nhelp put\nhelp Files\nhelp language\nhelp -k owner",
    .args = help_args,
    .flags = help_flags,
    .run = run_help,
};
