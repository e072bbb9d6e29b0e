/* set: settings of the session, and variables. */
#include "bytes.h"
#include "codepage.h"
#include "command.h"
#include "localtime.h"
#include "shell.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- settings ---------------------------------------------------------------------------------------- */

static bool parse_switch(const char *name, const char *text, bool *out, struct error *err)
{
    static const char *const on[] = {"on", "yes", "true", "1"}, *const off[] = {"off", "no", "false", "0"};
    for (size_t i = 0; i < ARRAY_LEN(on); i++) {
        if (strcmp(text, on[i]) == 0)
            return *out = true;
        if (strcmp(text, off[i]) == 0) {
            *out = false;
            return true;
        }
    }
    return fail(err, E_INVALID, "%s %s: on or off is meant", name, text);
}

static const char *const durability_words[] = {
    [DURABILITY_FULL] = "full", [DURABILITY_NORMAL] = "normal", [DURABILITY_OFF] = "off"};

static bool set_durability(struct shell *shell, const char *text, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(durability_words); i++) {
        if (strcmp(durability_words[i], text) != 0)
            continue;
        shell->session->options.durability = (enum durability)i;
        for (struct image *image = shell->session->images; image; image = image->next)
            stage_set_durability(image->file, (enum durability)i);
        return true;
    }
    return fail(err, E_INVALID, "durability %s: full, normal or off is meant", text);
}

static bool set_editor(struct shell *shell, const char *text, struct error *err)
{
    if (strcmp(text, "vi") != 0 && strcmp(text, "emacs") != 0)
        return fail(err, E_INVALID, "editor %s: emacs or vi is meant", text);
    shell->vi_keys = text[0] == 'v';
    editor_keys(shell);
    return true;
}

static bool set_tz(const char *text, struct error *err)
{
    int minutes;
    if (!localtime_parse_offset(text, &minutes, err))
        return false;
    localtime_set_offset(minutes);
    return true;
}

struct setting {
    const char *name, *values, *help;
};
static const struct setting settings[] = {
    {"autocommit", "on|off", "commit after every command that changes something"},
    {"codepage", "N", "code page of FAT's short names, for volumes opened from now on"},
    {"discard-no-unref", "on|off", "discarded clusters of qcow2 images keep their place in the file"},
    {"durability", "full|normal|off", "what a commit waits for"},
    {"echo", "on|off", "print each command before it runs"},
    {"editor", "emacs|vi", "keys of the line editor"},
    {"json", "on|off", "print data and errors as JSON"},
    {"keep-going", "on|off", "go on after a failing command in a script"},
    {"quiet", "on|off", "no progress, no summaries"},
    {"tz", "OFFSET", "zone of times that are stored without one: utc, +02:00 ..."},
    {"verbose", "on|off", "say more"},
};

static bool *switch_of(struct shell *shell, const char *name)
{
    return strcmp(name, "autocommit") == 0         ? &shell->autocommit
           : strcmp(name, "discard-no-unref") == 0 ? &shell->session->options.keep_discarded
           : strcmp(name, "echo") == 0             ? &shell->options.echo
           : strcmp(name, "json") == 0             ? &shell->options.json
           : strcmp(name, "keep-going") == 0       ? &shell->options.keep_going
           : strcmp(name, "quiet") == 0            ? &shell->options.quiet
           : strcmp(name, "verbose") == 0          ? &shell->options.verbose
                                                   : NULL;
}

static const char *value_of(struct shell *shell, const char *name)
{
    bool *flag = switch_of(shell, name);
    if (flag)
        return *flag ? "on" : "off";
    if (strcmp(name, "editor") == 0)
        return shell->vi_keys ? "vi" : "emacs";
    static char text[16];
    if (strcmp(name, "tz") == 0) {
        localtime_offset_text(localtime_offset(), text, sizeof text);
        return text;
    }
    if (strcmp(name, "codepage") == 0) {
        snprintf(text, sizeof text, "%u", codepage_default()->number);
        return text;
    }
    return durability_words[shell->session->options.durability];
}

static bool set_one(struct shell *shell, const char *name, const char *text, struct error *err)
{
    bool *flag = switch_of(shell, name);
    if (flag && !parse_switch(name, text, flag, err))
        return false;
    if (flag == &shell->options.json)
        output_set_json(shell->out, *flag);
    if (flag)
        return true;
    return strcmp(name, "editor") == 0     ? set_editor(shell, text, err)
           : strcmp(name, "tz") == 0       ? set_tz(text, err)
           : strcmp(name, "codepage") == 0 ? codepage_set_default((unsigned)strtoul(text, NULL, 10), err)
                                           : set_durability(shell, text, err);
}

/* ---- variables --------------------------------------------------------------------------------------- */

static bool valid_name(const char *name, size_t len)
{
    bool good = len > 0 && !(name[0] >= '0' && name[0] <= '9');
    for (size_t i = 0; i < len; i++)
        good = good && (name[i] == '_' || (name[i] >= '0' && name[i] <= '9') ||
                        (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z'));
    return good;
}

/* Variables live in the environment, so that host commands see them, too. */
static bool set_variable(struct shell *shell, char *word, struct error *err)
{
    char *equals = strchr(word, '=');
    if (!valid_name(word, (size_t)(equals - word)))
        return fail(err, E_INVALID, "%.*s: a name is letters, digits and _", (int)(equals - word), word);
    *equals = 0;
    if (setenv(word, equals + 1, 1) != 0)
        return fail(err, E_NOMEM, "out of memory");
    return named_text_set(&shell->variables, word, equals + 1, err);
}

static bool unset_variables(struct call *call, struct error *err)
{
    if (call->argc == 0)
        return fail(err, E_USAGE, "missing NAME");
    for (int i = 0; i < call->argc; i++) {
        if (!valid_name(call->args[i], strlen(call->args[i])))
            return fail(err, E_INVALID, "%s is no name of a variable", call->args[i]);
        unsetenv(call->args[i]);
        if (!named_text_set(&call->shell->variables, call->args[i], NULL, err))
            return false;
    }
    return true;
}

/* ---- the command ------------------------------------------------------------------------------------- */

static void list_all(struct shell *shell, struct output *out)
{
    struct report *report = output_report(out);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        report_text(report, settings[i].name, value_of(shell, settings[i].name));
    if (!shell->variables)
        return;
    report_open(report, "variables");
    for (const struct named_text *variable = shell->variables; variable; variable = variable->next)
        report_text(report, variable->name, variable->text);
    report_close(report);
}

static const struct setting *find_setting(const char *name, struct error *err)
{
    const char *names[ARRAY_LEN(settings)];
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        names[i] = settings[i].name;
        if (strcmp(name, settings[i].name) == 0)
            return &settings[i];
    }
    const char *near = nearest_word(name, names, ARRAY_LEN(names));
    if (near)
        fail(err, E_NOENT, "%s: no such setting; did you mean %s?", name, near);
    else
        fail(err, E_NOENT, "%s: no such setting; a variable is given as NAME=VALUE", name);
    return NULL;
}

static bool run_set(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct shell *shell = call->shell;
    (void)session;
    if (call_has(call, "unset"))
        return unset_variables(call, err);
    if (call->argc == 0) {
        list_all(shell, out);
        return true;
    }
    if (strchr(call->args[0], '=')) {
        for (int i = 0; i < call->argc; i++) {
            if (!strchr(call->args[i], '='))
                return fail(err, E_USAGE, "%s: NAME=VALUE is meant", call->args[i]);
            if (!set_variable(shell, call->args[i], err))
                return false;
        }
        return true;
    }
    const struct setting *setting = find_setting(call->args[0], err);
    if (!setting)
        return false;
    if (call->argc == 1) {
        report_text(output_report(out), setting->name, value_of(shell, setting->name));
        return true;
    }
    return call->argc == 2 ? set_one(shell, setting->name, call->args[1], err)
                           : fail(err, E_USAGE, "one value is meant: %s", setting->values);
}

static const struct arg set_args[] = {
    {"NAME", ARG_WORD, ARG_OPTIONAL, "a setting, or NAME=VALUE for a variable",
     "autocommit|codepage|durability|echo|editor|json|keep-going|quiet|tz|verbose"},
    {"VALUE", ARG_WORD, ARG_ANY, "on or off; durability: full, normal, off; editor: emacs, vi",
     "on|off|full|normal|emacs|vi"},
    {0}};
static const struct flag set_flags[] = {{'u', "unset", NULL, ARG_WORD, "forget variables"}, {0}};

const struct command set_command = {
    .name = "set",
    .group = "Session",
    .summary = "show or change settings and variables",
    .details =
        "set NAME VALUE changes a setting:\n"
        "  autocommit on|off            commit after every command that changes something\n"
        "  durability full|normal|off   full syncs everything; normal keeps the order only; off "
        "writes through\n"
        "  echo, json, keep-going, quiet, verbose on|off   as the options -x -j -k -q -v\n"
        "  editor emacs|vi              keys of the line editor\n"
        "  tz OFFSET                    zone of times that are stored without one: utc, +02:00 ...\n"
        "  codepage N                   code page of FAT's short names, for volumes opened from now on\n"
        "set NAME=VALUE gives a variable for $NAME, which host commands see in their environment.",
    .examples = "set autocommit on\nset ROOT=2:/srv\nset -u ROOT",
    .args = set_args,
    .flags = set_flags,
    .needs = NO_SAVEPOINT,
    .run = run_set,
};
