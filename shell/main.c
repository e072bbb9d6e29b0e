/* The program: which formats there are, what was asked for on the command line,
 * and in what order it is done. */
#include "formats.h"
#include "program.h"

#include <langinfo.h>
#include <locale.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- starting ---------------------------------------------------------------------------------------- */

/* Names are UTF-8 whatever the locale says; of it, only the widths of characters are used. */
static void set_locale(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static void warn(void *arg, const char *text)
{
    shell_say(arg, "%s", text);
}

/* -c and -f texts are read and their syntax is checked before anything is opened. */
static bool load_scripts(struct shell *shell, struct invocation *invocation)
{
    for (size_t i = 0; i < invocation->script_count; i++) {
        struct script *script = &invocation->scripts[i];
        struct error err;
        bool is_stdin = script->is_file && strcmp(script->text, "-") == 0;
        bool good = is_stdin ? source_stdin(&script->source, &err)
                    : script->is_file
                        ? source_file(&script->source, script->text, &err)
                        : source_text(&script->source, "-c", script->text, strlen(script->text), &err);
        shell->stdin_is_script |= is_stdin;
        if (!good) {
            shell_report_error(shell, NULL, &err);
            shell->exit_status = EXIT_USAGE; /* nothing ran */
            return false;
        }
        if (!invocation->transcript && !shell_check(shell, &script->source))
            return false;
    }
    return true;
}

static bool open_images(struct shell *shell, const struct invocation *invocation)
{
    for (size_t i = 0; i < invocation->image_count; i++) {
        const char *path = invocation->images[i];
        char *name = NULL;
        struct image *image;
        struct error err = {0};
        size_t n = strcspn(path, "=/");
        if (n > 0 && path[n] == '=' && access(path, F_OK) != 0) {
            name = strndup(path, n);
            path += n + 1;
        }
        bool good = session_open_to_check(shell->session, name, path, NULL, &image, &err);
        free(name);
        if (good && shell->interactive && !image_usable(image, &err))
            shell_say(shell, "%s; check, info, show and poke can look at it", err.message);
        if (!good) {
            if (!strstr(err.message, path))
                because(&err, "%s", path);
            shell_report_error(shell, NULL, &err);
            shell->exit_status = EXIT_IMAGE;
            return false;
        }
    }
    return true;
}

/* An image that nobody looked at, although that was all that could be done with it, could not be opened. */
static bool nothing_refused(struct shell *shell)
{
    struct error err;
    for (const struct image *image = shell->session->images; image && !shell->looked; image = image->next)
        if (!image_usable(image, &err)) {
            shell_report_error(shell, NULL, &err);
            shell->exit_status = EXIT_IMAGE;
            return false;
        }
    return true;
}

/* Everything that was asked for, in the order given; false: it stopped. */
static bool run_all(struct shell *shell, struct invocation *invocation)
{
    if (invocation->transcript) {
        shell_transcript(shell, &invocation->scripts[0].source);
        return true;
    }
    for (size_t i = 0; i < invocation->script_count; i++)
        if (!shell_run_source(shell, &invocation->scripts[i].source))
            return shell->quit;
    return invocation->command_count == 0 ||
           shell_run_words(shell, invocation->command, invocation->command_count) || shell->quit;
}

static int run(struct shell *shell, struct invocation *invocation)
{
    struct error err;
    bool given = invocation->script_count > 0 || invocation->command_count > 0;
    struct script *input = &invocation->scripts[0];
    shell->interactive = !given && !invocation->transcript && isatty(STDIN_FILENO) == 1;
    if (!given && !shell->interactive) { /* the array has room for one more than there are words */
        *input = (struct script){.is_file = true, .text = "-", .source.fd = -1};
        invocation->script_count = 1;
    }
    if (!load_scripts(shell, invocation))
        return shell->exit_status;
    invocation->session.warn = warn;
    invocation->session.arg = shell;
    if (isatty(STDERR_FILENO) == 1 && !shell->options.quiet && !shell->stdin_is_script)
        invocation->session.progress = progress_show;
    if (!session_new(&shell->session, &all_formats, &invocation->session, &err)) {
        shell_report_error(shell, NULL, &err);
        return EXIT_COMMAND;
    }
    signals_install();
    if (!open_images(shell, invocation))
        return shell->exit_status;
    if (shell->interactive)
        return shell_interact(shell);
    return shell_finish(shell, run_all(shell, invocation) && nothing_refused(shell));
}

static int print_and_exit(const struct invocation *invocation)
{
    struct text text = {0};
    if (invocation->help)
        program_help(&text);
    else if (invocation->version)
        text_string(&text, "dish " DISH_VERSION "\n");
    else if (!program_print(invocation->print, &text))
        return EXIT_USAGE;
    bool good = fwrite(text_get(&text), 1, text.len, stdout) == text.len && fflush(stdout) == 0;
    text_free(&text);
    return good ? EXIT_GOOD : EXIT_COMMAND;
}

/* Pages of 4 KiB come and go all the time; glibc would merge all freed small chunks at each of them. */
static void tune_allocator(void)
{
#ifdef M_MXFAST
    mallopt(M_MXFAST, 0);
    mallopt(M_TOP_PAD, 4 * 1024 * 1024);
#endif
}

int main(int argc, char **argv)
{
    tune_allocator();
    struct invocation invocation = {0};
    struct shell *shell = NULL;
    struct error err;
    int status = EXIT_USAGE;
    set_locale();
    if (invocation_parse(&invocation, argc, argv)) {
        const char *drop = getenv("DISH_TEST_DROP_CACHES");
        invocation.shell.drop_caches = invocation.session.drop_caches = drop && strcmp(drop, "1") == 0;
        if (invocation.help || invocation.version || invocation.print)
            status = print_and_exit(&invocation);
        else if (shell_new(&shell, &invocation.shell, &err))
            status = run(shell, &invocation);
        else
            status = EXIT_COMMAND;
    }
    invocation_free(&invocation);
    shell_free(shell);
    return status;
}
