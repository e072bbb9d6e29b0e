/* Every command that is promised is there, and explains itself: summary, options, arguments, examples. */
#include "shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* clang-format off */
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>

static void names_are_promised(void **state)
{
    (void)state;
    static const char *const promised[] = {
        "create",   "open",     "close",     "images",   "info",    "qcow2-info", "convert", "resize",
        "snapshot", "bitmap",   "rebase",    "check",    "map",     "compare",    "compact", "commit",
        "rollback", "undo",     "redo",      "status",   "diff",    "partition",  "use",     "mkfs",
        "fsck",     "df",       "label",     "uuid",     "tune",    "resizefs",   "volumes", "freefrag",
        "ls",       "cd",       "pwd",       "tree",     "find",    "stat",       "cat",     "head",
        "tail",     "wc",       "hexdump",   "strings",  "grep",    "sum",        "cmp",     "du",
        "put",      "get",      "cp",        "mv",       "rm",      "mkdir",      "rmdir",   "ln",
        "touch",    "truncate", "fallocate", "punch",    "write",   "edit",       "chmod",   "chown",
        "chgrp",    "mknod",    "readlink",  "realpath", "xattr",   "attr",       "acl",     "tar-in",
        "tar-out",  "mirror",   "show",      "explain",  "where",   "what",       "poke",    "trace",
        "cache",    "lsdel",    "undel",     "help",     "history", "set",        "alias",   "echo",
        "source",   "time",     "lcd",       "lpwd",     "lls",     "!",          "quit"};
    static const char *const aliases[] = {
        "copy-in",          "copy-out", "upload",       "download",  "ll",       "rm-rf",
        "mkdir-p",          "ln-s",     "write-append", "part-init", "part-add", "part-list",
        "list-filesystems", "rdump",    "dump",         "symlink"};
    struct shell shell = {0};
    for (size_t i = 0; i < sizeof promised / sizeof *promised; i++)
        if (!command_find(promised[i], strlen(promised[i])))
            fail_msg("there is no command %s", promised[i]);
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (!command_find(aliases[i], strlen(aliases[i])) && !alias_find(&shell, aliases[i]))
            fail_msg("there is no alias %s", aliases[i]);
}

static bool has_option(const struct command *command, const char *word)
{
    if (strncmp(word, "--", 2) == 0)
        return flag_long(command, word + 2, strcspn(word + 2, "="));
    for (const char *c = word + 1; *c; c++) {
        const struct flag *flag = flag_short(command, *c);
        if (!flag || flag->value)
            return flag;
    }
    return true;
}

static const char *text_of(const struct word *word)
{
    return word->count == 1 ? word->pieces[0].text : "";
}

static void look_at_words(const struct command *command, const struct simple *simple)
{
    size_t values = 0, least = 0;
    bool options = !(command->needs & (RAW_WORDS | PREFIX));
    for (size_t i = 1; i < simple->word_count; i++) {
        const char *word = text_of(&simple->words[i]);
        if (strcmp(word, "--") == 0)
            options = false;
        else if (options && word[0] == '-' && word[1] &&
                 (word[1] < '0' || word[1] > '9' || flag_short(command, word[1])) &&
                 !has_option(command, word))
            fail_msg("example of %s: there is no option %s: %s", command->name, word, simple->text);
        else
            values++;
    }
    for (const struct arg *row = command->args; row && row->name; row++)
        least += row->count == ARG_ONE || row->count == ARG_MANY;
    if (values < least)
        fail_msg("example of %s: too few arguments: %s", command->name, simple->text);
}

static void look_at_examples(const struct command *command)
{
    struct parser parser = {0};
    struct source source;
    struct line *line;
    struct error err;
    enum parsed parsed;
    bool shows = false;
    assert_true(source_text(&source, command->name, command->examples, strlen(command->examples), &err));
    parser.source = &source;
    while ((parsed = parser_next(&parser, &line, &err)) == PARSE_LINE)
        for (size_t i = 0; i < line->count; i++) {
            const struct simple *simple = &line->commands[i];
            const char *name = simple->host ? "!" : text_of(&simple->words[0]);
            const struct command *used = command_find(name, strlen(name));
            if (!used)
                fail_msg("example of %s: unknown command %s", command->name, name);
            shows |= used == command;
            if (!simple->host)
                look_at_words(used, simple);
        }
    if (parsed != PARSE_END)
        fail_msg("example of %s: %s", command->name, parser.bad.message);
    if (!shows)
        fail_msg("no example of %s uses it", command->name);
    parser_free(&parser);
    source_close(&source);
}

static void commands_explain_themselves(void **state)
{
    (void)state;
    static const char *const groups[] = {"Images", "Partitions", "Filesystems",
                                         "Files",  "Teaching",   "Session"};
    for (const struct command *const *at = command_all(); *at; at++) {
        const struct command *command = *at;
        bool known = false;
        for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
            known |= strcmp(command->group, groups[i]) == 0;
        if (!known)
            fail_msg("%s is in no group", command->name);
        if (!command->summary || !command->summary[0] || strchr(command->summary, '\n') ||
            command->summary[strlen(command->summary) - 1] == '.')
            fail_msg("%s needs a summary of one line without a full stop", command->name);
        for (const struct flag *flag = command->flags; flag && (flag->letter || flag->name); flag++)
            if (!flag->help || !flag->help[0])
                fail_msg("an option of %s has no description", command->name);
        for (const struct arg *row = command->args; row && row->name; row++)
            if (!row->help || !row->help[0])
                fail_msg("the argument %s of %s has no description", row->name, command->name);
        if (!command->examples)
            fail_msg("%s has no example", command->name);
        look_at_examples(command);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_promised),
        cmocka_unit_test(commands_explain_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
