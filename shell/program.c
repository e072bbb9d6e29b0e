/* getopt.h and the engine both have a struct option: the former gets another name here. */
#define option getopt_option
#include <getopt.h>
#undef option

#include "bytes.h"
#include "codepage.h"
#include "localtime.h"
#include "program.h"

#include <stdio.h>
#include <stdlib.h>

const struct program_option program_options[] = {
    {'r', "read-only", NULL, false, NULL, "never write to an image"},
    {'U', "force-share", NULL, false, NULL,
     "read an image although another process holds it for writing; implies -r"},
    {'c', "command", "TEXT", false, NULL, "run TEXT (repeatable), then exit"},
    {'f', "file", "FILE", true, NULL, "run the commands of FILE (- is standard input), then exit"},
    {'k', "keep-going", NULL, false, NULL, "go on after a failing command"},
    {'n', "dry-run", NULL, false, NULL, "run everything, print what would change, commit nothing"},
    {'x', "echo", NULL, false, NULL, "print each command before it runs"},
    {'j', "json", NULL, false, NULL, "print data, and errors, as JSON"},
    {'q', "quiet", NULL, false, NULL, "no progress, no summaries"},
    {'v', "verbose", NULL, false, NULL, "say more"},
    {OPTION_FORMAT, "format", "FMT", false, "raw|qcow2", "do not probe the format of the images"},
    {OPTION_NO_BACKING, "no-backing", NULL, false, NULL, "do not open backing files"},
    {OPTION_DATA_FILE, "allow-data-file", NULL, false, NULL, "open external data files"},
    {OPTION_SECTOR, "sector-size", "N", false, "512|4096",
     "bytes of a sector of the disks (512, or what is found)"},
    {OPTION_TZ, "tz", "OFFSET", false, NULL, "zone of times that are stored without one: utc, +02:00 ..."},
    {OPTION_CODEPAGE, "codepage", "N", false, NULL, "code page of FAT's short names (437)"},
    {OPTION_COLOR, "color", "WHEN", false, "auto|always|never", "whether to print colours"},
    {'h', "help", NULL, false, NULL, "print this and exit"},
    {'V', "version", NULL, false, NULL, "print the version and exit"},
    {0},
};
enum { OPTION_COUNT = ARRAY_LEN(program_options) - 1 };

static bool json; /* --json is among the words, maybe behind the wrong one */

static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "-j") == 0 || strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

static bool complain(const char *fmt, const char *what)
{
    struct text text = {0}, message = {0};
    char shown[400];
    snprintf(shown, sizeof shown, fmt, what);
    if (json) {
        text_json(&message, shown, strlen(shown));
        text_printf(&text, "{\"error\":{\"kind\":\"%s\",\"message\":%s}}\n", error_kind_name(E_USAGE),
                    text_get(&message));
    } else {
        text_escaped(&message, shown, strlen(shown));
        text_printf(&text, "dish: %s\ndish: `dish --help` lists the options\n", text_get(&message));
    }
    fputs(text_get(&text), stderr);
    text_free(&message);
    text_free(&text);
    return false;
}

static void getopt_tables(struct getopt_option *longs, char *shorts)
{
    char *at = shorts;
    *at++ = '-'; /* words that are no options come in their order */
    *at++ = ':';
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct program_option *row = &program_options[i];
        longs[i] =
            (struct getopt_option){row->name, row->value ? required_argument : no_argument, NULL, row->code};
        if (row->code >= 256)
            continue;
        *at++ = (char)row->code;
        if (row->value)
            *at++ = ':';
    }
    *at = 0;
    longs[OPTION_COUNT] = (struct getopt_option){"print", required_argument, NULL, OPTION_PRINT};
    longs[OPTION_COUNT + 1] = (struct getopt_option){"transcript", no_argument, NULL, OPTION_TRANSCRIPT};
    longs[OPTION_COUNT + 2] = (struct getopt_option){0};
}

static bool set_color(struct invocation *to, const char *when)
{
    static const char *const words[] = {
        [COLOR_AUTO] = "auto", [COLOR_ALWAYS] = "always", [COLOR_NEVER] = "never"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(words[i], when) == 0) {
            to->shell.color = (enum color_when)i;
            return true;
        }
    return complain("--color=%s: auto, always or never is meant", when);
}

static bool set_sector_size(struct invocation *to, const char *value)
{
    bool large = strcmp(value, "4096") == 0;
    to->session.sector_size = large ? 4096 : 512;
    return large || strcmp(value, "512") == 0 || complain("--sector-size=%s: 512 or 4096 is meant", value);
}

static bool set_tz(const char *value)
{
    struct error err;
    int minutes;
    if (!localtime_parse_offset(value, &minutes, &err))
        return complain("--tz: %s", err.message);
    localtime_set_offset(minutes);
    return true;
}

static bool set_codepage(const char *value)
{
    struct error err;
    return codepage_set_default((unsigned)strtoul(value, NULL, 10), &err) ||
           complain("--codepage: %s", err.message);
}

static bool take_option(struct invocation *to, int code, const char *value)
{
    switch (code) {
    case 1:
        to->images[to->image_count++] = value;
        return true;
    case 'r':
        return to->session.read_only = true;
    case 'U':
        return to->session.force_share = to->session.read_only = true;
    case 'c':
    case 'f':
        to->scripts[to->script_count++] =
            (struct script){.is_file = code == 'f', .text = value, .source.fd = -1};
        return true;
    case 'k':
        return to->shell.keep_going = true;
    case 'n':
        return to->shell.dry_run = to->session.dry_run = true;
    case 'x':
        return to->shell.echo = true;
    case 'j':
        return to->shell.json = true;
    case 'q':
        return to->shell.quiet = true;
    case 'v':
        return to->shell.verbose = true;
    case OPTION_FORMAT:
        to->session.format = value;
        return true;
    case OPTION_NO_BACKING:
        return to->session.no_backing = true;
    case OPTION_DATA_FILE:
        return to->session.allow_data_file = true;
    case OPTION_SECTOR:
        return set_sector_size(to, value);
    case OPTION_TZ:
        return set_tz(value);
    case OPTION_CODEPAGE:
        return set_codepage(value);
    case OPTION_COLOR:
        return set_color(to, value);
    case OPTION_PRINT:
        to->print = value;
        return true;
    case OPTION_TRANSCRIPT:
        return to->transcript = true;
    case 'h':
        return to->help = true;
    default:
        return to->version = true;
    }
}

bool invocation_parse(struct invocation *to, int argc, char **argv)
{
    struct getopt_option longs[OPTION_COUNT + 3];
    char shorts[2 * OPTION_COUNT + 3];
    getopt_tables(longs, shorts);
    to->images = calloc((size_t)argc + 1, sizeof *to->images);
    to->scripts = calloc((size_t)argc + 1, sizeof *to->scripts);
    json = asks_for_json(argc, argv);
    if (!to->images || !to->scripts)
        return complain("%s", "out of memory");
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        char letter[3] = {'-', (char)optopt, 0};
        const char *word = optopt > 0 && optopt < 256 ? letter : argv[optind - 1];
        if (code == '?')
            return complain("unknown option %s", word);
        if (code == ':')
            return complain("option %s needs a value", word);
        if (!take_option(to, code, optarg))
            return false;
    }
    to->command = argv + optind;
    to->command_count = argc - optind;
    return true;
}

void invocation_free(struct invocation *invocation)
{
    for (size_t i = 0; i < invocation->script_count; i++)
        source_close(&invocation->scripts[i].source);
    free(invocation->scripts);
    free(invocation->images);
}

void program_help(struct text *out)
{
    text_string(out,
                "usage: dish [OPTION...] [[NAME=]IMAGE...] [-- COMMAND [ARG...]]\n\n"
                "A shell for disk images: look into them, change them, build them. Commands come from the\n"
                "terminal, from a script on standard input, or from -c, -f and --. What a script changes is\n"
                "committed at its end, all or none.\n\n");
    for (const struct program_option *row = program_options; row->name; row++) {
        char left[64];
        if (row->code < 256)
            snprintf(left, sizeof left, "-%c, --%s%s%s", row->code, row->name, row->value ? "=" : "",
                     row->value ? row->value : "");
        else
            snprintf(left, sizeof left, "    --%s%s%s", row->name, row->value ? "=" : "",
                     row->value ? row->value : "");
        text_printf(out, "  %-24s %s\n", left, row->help);
    }
    text_string(
        out,
        "\nExit status: 0 everything worked, 1 a command or the commit failed, 2 wrong usage or syntax,\n"
        "3 an image could not be opened, 4 damage was found, 130 interrupted.\n\n"
        "Examples:\n"
        "  dish disk.qcow2                       a session at the terminal; `help` lists the commands\n"
        "  dish disk.qcow2 -- ls -l /etc         one command\n"
        "  dish disk.qcow2 < script.dish         a script: all or nothing\n"
        "  dish --json -c info disk.qcow2 | jq   for programs\n");
}
