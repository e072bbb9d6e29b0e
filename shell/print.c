/*
 * The manual page and the completion files of bash, zsh and fish, printed from the tables of the program and
 * its commands: `dish --print=man|bash|zsh|fish`. The files in completions/ are what this prints; a test
 * compares.
 */
#include "program.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const groups[] = {"Images",   "Partitions", "Filesystems", "Files",
                                     "Teaching", "Session",    NULL};

/* ---- manual page ------------------------------------------------------------------------------------- */

/* Text for troff: hyphens as they are typed, no line taken for a request. */
static void roff(struct text *out, const char *text)
{
    bool line_start = out->len == 0 || out->bytes[out->len - 1] == '\n';
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            text_string(out, "\\&");
        line_start = *text == '\n';
        if (*text == '-')
            text_string(out, "\\-");
        else if (*text == '\\')
            text_string(out, "\\e");
        else
            text_char(out, *text);
    }
}

static void roff_item(struct text *out, const char *left, const char *help)
{
    text_string(out, ".TP\n\\fB");
    roff(out, left);
    text_string(out, "\\fR\n");
    roff(out, help);
    text_char(out, '\n');
}

static void flag_text(const struct flag *flag, char *out, size_t size)
{
    char letter[4] = {'-', flag->letter, 0};
    snprintf(out, size, "%s%s%s%s%s%s", flag->letter ? letter : "", flag->letter && flag->name ? ", " : "",
             flag->name ? "--" : "", flag->name ? flag->name : "",
             flag->name    ? flag_glue(flag)
             : flag->value ? " "
                           : "",
             flag->value ? flag->value : "");
}

/* Each line is a paragraph, to be filled; what is indented stays as it is. */
static void roff_paragraphs(struct text *out, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        struct text line = {0};
        text_add(&line, text, n);
        text_string(out, *text == ' ' ? ".PP\n.nf\n" : ".PP\n");
        roff(out, text_get(&line));
        text_string(out, *text == ' ' ? "\n.fi\n" : "\n");
        text_free(&line);
        text += n + (text[n] == '\n');
    }
}

static void man_command(struct text *out, const struct command *command)
{
    struct text usage = {0};
    command_usage(command, &usage);
    text_string(out, ".SS ");
    roff(out, text_get(&usage));
    text_free(&usage);
    text_char(out, '\n');
    roff(out, command->summary);
    text_string(out, ".\n");
    for (const struct arg *row = command->args; row && row->name; row++)
        roff_item(out, row->name, row->help);
    for (const struct flag *flag = command->flags; flag && flag->help; flag++) {
        char left[80];
        flag_text(flag, left, sizeof left);
        roff_item(out, left, flag->help);
    }
    if (command->details)
        roff_paragraphs(out, command->details);
    if (command->examples) {
        text_string(out, ".PP\n.nf\n.RS\n");
        roff(out, command->examples);
        text_string(out, "\n.RE\n.fi\n");
    }
}

static void man_topic(struct text *out, const struct topic *topic)
{
    text_string(out, ".SH ");
    for (const char *c = topic->name; *c; c++)
        text_char(out, *c == '-' ? ' ' : (char)toupper((unsigned char)*c));
    text_string(out, "\n.nf\n");
    roff(out, topic->text);
    text_string(out, "\n.fi\n");
}

static void print_man(struct text *out)
{
    text_string(
        out,
        ".TH DISH 1 \"\" \"dish " DISH_VERSION
        "\" \"User Commands\"\n.SH NAME\ndish \\- a shell for disk images\n"
        ".SH SYNOPSIS\n.B dish\n[\\fIOPTION\\fR...] [[\\fINAME\\fR=]\\fIIMAGE\\fR...] "
        "[\\-\\- \\fICOMMAND\\fR [\\fIARG\\fR...]]\n.SH DESCRIPTION\n"
        "dish looks into disk images, changes them and builds them: containers, partition tables and\n"
        "filesystems, without root and without mounting. Commands come from the terminal, from a script on\n"
        "standard input, or from \\-c, \\-f and \\-\\-. What a script changes is committed at its end, all "
        "or\n"
        "none.\n.SH OPTIONS\n");
    for (const struct program_option *row = program_options; row->name; row++) {
        char left[80], letter[6] = {'-', (char)row->code, ',', ' ', 0};
        snprintf(left, sizeof left, "%s--%s%s%s", row->code < 256 ? letter : "", row->name,
                 row->value ? "=" : "", row->value ? row->value : "");
        roff_item(out, left, row->help);
    }
    text_string(out, ".SH COMMANDS\n");
    for (size_t i = 0; groups[i]; i++) {
        text_printf(out, ".PP\n\\fI%s\\fR\n", groups[i]);
        for (const struct command *const *command = command_all(); *command; command++)
            if (strcmp((*command)->group, groups[i]) == 0)
                man_command(out, *command);
    }
    for (const struct topic *topic = topics; topic->name; topic++)
        man_topic(out, topic);
    text_string(
        out,
        ".SH FILES\n.TP\n.I ~/.editrc\nkeys of the line editor, see editrc(5)\n"
        ".TP\n.I $XDG_STATE_HOME/dish/history\nthe commands typed (~/.local/state when it is not set)\n"
        ".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nno colours\n.TP\n.B LS_COLORS\nwhich colours `ls` and `tree` "
        "show names in\n"
        ".TP\n.B EDITOR\nwhat `edit` opens\n"
        ".TP\n.B SOURCE_DATE_EPOCH\nthe time that new files and filesystems get, in seconds since 1970\n");
}

/* ---- bash -------------------------------------------------------------------------------------------- */

static void command_names(struct text *out)
{
    for (const struct command *const *command = command_all(); *command; command++)
        if ((*command)->name[0] != '!')
            text_printf(out, "%s%s", command == command_all() ? "" : " ", (*command)->name);
}

static void option_words(struct text *out)
{
    for (const struct program_option *row = program_options; row->name; row++) {
        if (row->code < 256)
            text_printf(out, "-%c ", row->code);
        text_printf(out, "--%s%s ", row->name, row->value ? "=" : "");
    }
}

static void print_bash(struct text *out)
{
    text_string(
        out, "# bash completion for dish; printed by `dish --print=bash`\n_dish()\n{\n"
             "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i command=\n"
             "    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD-2]}\n    [[ $cur == = ]] && cur=\n"
             "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
             "        if [[ ${COMP_WORDS[i]} == -- ]]; then command=${COMP_WORDS[i+1]}; break; fi\n    done\n"
             "    if ((i + 1 == COMP_CWORD)); then\n        COMPREPLY=($(compgen -W '");
    command_names(out);
    text_string(
        out, "' -- \"$cur\"))\n        return\n    fi\n    if ((i < COMP_CWORD)) && [[ $cur == -* ]]; then\n"
             "        case $command in\n");
    for (const struct command *const *command = command_all(); *command; command++) {
        bool any = false;
        for (const struct flag *flag = (*command)->flags; flag && flag->help; flag++) {
            if (!flag->name)
                continue;
            text_printf(out, any ? " --%s" : "        %2$s) COMPREPLY=($(compgen -W '--%1$s", flag->name,
                        (*command)->name);
            any = true;
        }
        if (any)
            text_string(out, "' -- \"$cur\"));;\n");
    }
    text_string(out, "        esac\n        return\n    fi\n    case $prev in\n");
    for (const struct program_option *row = program_options; row->name; row++) {
        if (!row->words)
            continue;
        text_printf(out, "    --%s) COMPREPLY=($(compgen -W '", row->name);
        for (const char *c = row->words; *c; c++)
            text_char(out, *c == '|' ? ' ' : *c);
        text_string(out, "' -- \"$cur\")); return;;\n");
    }
    text_string(
        out,
        "    esac\n    if ((i >= COMP_CWORD)) && [[ $cur == -* ]]; then\n        COMPREPLY=($(compgen -W '");
    option_words(out);
    text_string(out, "' -- \"$cur\"))\n    else\n        COMPREPLY=($(compgen -f -- \"$cur\"))\n    fi\n}\n"
                     "complete -o filenames -o bashdefault -F _dish dish\n");
}

/* ---- zsh --------------------------------------------------------------------------------------------- */

/* Text inside '…' in a specification of _arguments or _describe. */
static void zsh_text(struct text *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            text_string(out, "'\\''");
        else if (strchr("[]:\\", *text))
            text_printf(out, "\\%c", *text);
        else
            text_char(out, *text);
    }
}

static void print_zsh(struct text *out)
{
    text_string(out, "#compdef dish\n# zsh completion for dish; printed by `dish --print=zsh`\n_dish() {\n"
                     "    local -a commands\n    commands=(\n");
    for (const struct command *const *command = command_all(); *command; command++) {
        text_printf(out, "        '%s:", (*command)->name);
        zsh_text(out, (*command)->summary);
        text_string(out, "'\n");
    }
    text_string(
        out,
        "    )\n    local at=${words[(i)--]}\n    if (( at == CURRENT - 1 )); then\n"
        "        _describe command commands\n    elif (( at < CURRENT )); then\n        _files\n    else\n"
        "        _arguments -s \\\n");
    for (const struct program_option *row = program_options; row->name; row++) {
        if (row->code < 256)
            text_printf(out, "            '*'{-%c%s,--%s%s}'[", row->code, row->value ? "+" : "", row->name,
                        row->value ? "=" : "");
        else
            text_printf(out, "            '--%s%s[", row->name, row->value ? "=" : "");
        zsh_text(out, row->help);
        text_char(out, ']');
        if (row->value)
            text_printf(out, ":%s:", row->value);
        if (row->host_file)
            text_string(out, "_files");
        for (const char *c = row->words ? row->words : ""; *c; c++)
            text_printf(out, "%s%c%s", c == row->words ? "(" : "", *c == '|' ? ' ' : *c, c[1] ? "" : ")");
        text_string(out, "' \\\n");
    }
    text_string(out, "            '*:image:_files'\n    fi\n}\n_dish \"$@\"\n");
}

/* ---- fish -------------------------------------------------------------------------------------------- */

static void fish_text(struct text *out, const char *text)
{
    text_char(out, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            text_char(out, '\\');
        text_char(out, *text);
    }
    text_char(out, '\'');
}

static void print_fish(struct text *out)
{
    text_string(out, "# fish completion for dish; printed by `dish --print=fish`\n"
                     "function __dish_after_dashes\n    contains -- -- (commandline -opc)\nend\n"
                     "function __dish_at_command\n    test (commandline -opc)[-1] = --\nend\n"
                     "function __dish_command\n    set -l words (commandline -opc)\n"
                     "    set -l at (contains -i -- -- $words); or return 1\n"
                     "    test (count $words) -gt $at; and test $words[(math $at + 1)] = $argv[1]\nend\n");
    for (const struct program_option *row = program_options; row->name; row++) {
        text_string(out, "complete -c dish -n 'not __dish_after_dashes'");
        if (row->code < 256)
            text_printf(out, " -s %c", row->code);
        text_printf(out, " -l %s", row->name);
        if (row->value)
            text_string(out, row->host_file ? " -r" : " -x");
        if (row->words) {
            text_string(out, " -a '");
            for (const char *c = row->words; *c; c++)
                text_char(out, *c == '|' ? ' ' : *c);
            text_char(out, '\'');
        }
        text_string(out, " -d ");
        fish_text(out, row->help);
        text_char(out, '\n');
    }
    for (const struct command *const *command = command_all(); *command; command++) {
        text_string(out, "complete -c dish -f -n __dish_at_command -a ");
        fish_text(out, (*command)->name);
        text_string(out, " -d ");
        fish_text(out, (*command)->summary);
        text_char(out, '\n');
        for (const struct flag *flag = (*command)->flags; flag && flag->help; flag++) {
            /* Behind "--" they are arguments to fish. */
            text_printf(out, "complete -c dish -n '__dish_command %s' -a ", (*command)->name);
            if (flag->name)
                text_printf(out, "--%s -d ", flag->name);
            else
                text_printf(out, "-%c -d ", flag->letter);
            fish_text(out, flag->help);
            text_char(out, '\n');
        }
    }
}

bool program_print(const char *what, struct text *out)
{
    static const struct {
        const char *name;
        void (*print)(struct text *);
    } kinds[] = {{"man", print_man}, {"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, what) == 0) {
            kinds[i].print(out);
            return true;
        }
    return false;
}
