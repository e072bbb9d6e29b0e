/* alias: other names for commands; and those that guestfish and debugfs users know. */
#include "alloc.h"
#include "bytes.h"
#include "command.h"
#include "shell.h"

#include <stdlib.h>

static const struct {
    const char *name, *text;
} built_in[] = {
    {"copy-in", "put -r -a"},
    {"copy-out", "get -r -a"},
    {"download", "get"},
    {"dump", "get"},
    {"list-filesystems", "volumes"},
    {"ll", "ls -la"},
    {"ln-s", "ln -s"},
    {"mkdir-p", "mkdir -p"},
    {"part-add", "partition add"},
    {"part-init", "partition init"},
    {"part-list", "partition list"},
    {"rdump", "get -r -a"},
    {"rm-rf", "rm -rf"},
    {"upload", "put"},
    {"write-append", "write -a"},
};

/* ---- lists of names ---------------------------------------------------------------------------------- */

bool named_text_set(struct named_text **list, const char *name, const char *text, struct error *err)
{
    struct named_text **at = list;
    while (*at && strcmp((*at)->name, name) < 0)
        at = &(*at)->next;
    if (*at && strcmp((*at)->name, name) == 0) {
        struct named_text *old = *at;
        *at = old->next;
        free(old->name);
        free(old->text);
        free(old);
    }
    if (!text)
        return true;
    struct named_text *node = mem_new(sizeof *node, err);
    if (!node)
        return false;
    node->name = mem_string(name, err);
    node->text = mem_string(text, err);
    if (!node->name || !node->text) {
        free(node->name);
        free(node->text);
        free(node);
        return false;
    }
    node->next = *at;
    *at = node;
    return true;
}

void named_text_free(struct named_text **list)
{
    while (*list) {
        struct named_text *node = *list;
        *list = node->next;
        free(node->name);
        free(node->text);
        free(node);
    }
}

const char *alias_built_in(size_t i)
{
    return i < ARRAY_LEN(built_in) ? built_in[i].name : NULL;
}

const char *alias_find(const struct shell *shell, const char *name)
{
    for (const struct named_text *alias = shell->aliases; alias; alias = alias->next)
        if (strcmp(alias->name, name) == 0)
            return alias->text;
    for (size_t i = 0; i < ARRAY_LEN(built_in); i++)
        if (strcmp(built_in[i].name, name) == 0 && !command_find(name, strlen(name)))
            return built_in[i].text;
    return NULL;
}

/* ---- the command ------------------------------------------------------------------------------------- */

static void put_alias(struct output *out, const char *name, const char *text)
{
    if (output_json(out)) {
        struct report *report = output_report_list(out);
        report_open(report, NULL);
        report_text(report, "name", name);
        report_text(report, "text", text);
        report_close(report);
        return;
    }
    struct text quoted = {0};
    word_quote(&quoted, text, strlen(text));
    output_printf(out, "alias %s=%s\n", name, text_get(&quoted));
    text_free(&quoted);
}

static bool run_alias(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct shell *shell = call->shell;
    (void)session;
    if (call->argc == 0) {
        for (const struct named_text *alias = shell->aliases; alias; alias = alias->next)
            put_alias(out, alias->name, alias->text);
        for (size_t i = 0; i < ARRAY_LEN(built_in); i++)
            if (alias_find(shell, built_in[i].name) == built_in[i].text)
                put_alias(out, built_in[i].name, built_in[i].text);
        return true;
    }
    for (int i = 0; i < call->argc; i++) {
        char *equals = strchr(call->args[i], '=');
        if (equals)
            *equals = 0;
        const char *name = call->args[i], *text = equals ? equals + 1 : alias_find(shell, name);
        if (call_has(call, "delete"))
            text = NULL;
        else if (!text)
            return fail(err, E_NOENT, "%s: no such alias", name);
        else if (!name[0] || strpbrk(name, " \t'\"\\$;|&<>"))
            return fail(err, E_INVALID, "%s: a name of letters and dashes is needed before the =", name);
        else if (!equals) {
            put_alias(out, name, text);
            continue;
        }
        if (!named_text_set(&shell->aliases, name, text, err))
            return false;
    }
    return true;
}

static const struct arg alias_args[] = {
    {"NAME[=TEXT]", ARG_WORD, ARG_ANY, "the name, and the command words that it stands for", NULL}, {0}};
static const struct flag alias_flags[] = {{'d', "delete", NULL, ARG_WORD, "forget the name"}, {0}};

const struct command alias_command = {
    .name = "alias",
    .group = "Session",
    .summary = "give commands other names",
    .details = "Without arguments all are listed, also those for users of guestfish and debugfs.",
    .examples = "alias la='ls -la'\nalias -d la",
    .args = alias_args,
    .flags = alias_flags,
    .run = run_alias,
};
