#include "alloc.h"
#include "bytes.h"
#include "command.h"
#include "interactive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEPT = 1000 };

/* $XDG_STATE_HOME/dish/history, or ~/.local/state/dish/history; its directories are made. */
static char *history_path(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    struct error err;
    char *path = state && state[0] == '/' ? mem_printf(&err, "%s/dish/history", state)
                 : home && *home          ? mem_printf(&err, "%s/.local/state/dish/history", home)
                                          : NULL;
    for (char *slash = path ? strchr(path + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
    return path;
}

static void drop_at(struct history_list *list, size_t i)
{
    free(list->lines[i]);
    memmove(&list->lines[i], &list->lines[i + 1], (list->count - i - 1) * sizeof *list->lines);
    list->count--;
}

static bool put_last(struct history_list *list, const char *text, size_t len)
{
    struct error err;
    char *copy = mem_string_n(text, len, &err);
    if (!copy || !mem_grow(&list->lines, &list->capacity, list->count + 1, sizeof *list->lines, &err)) {
        free(copy);
        return false;
    }
    for (size_t i = list->count; i-- > 0;)
        if (strcmp(list->lines[i], copy) == 0)
            drop_at(list, i);
    list->lines[list->count++] = copy;
    if (list->count > KEPT)
        drop_at(list, 0);
    return true;
}

static void write_line(int fd, const char *text, size_t len)
{
    char *line = malloc(len + 1);
    if (!line)
        return;
    memcpy(line, text, len);
    line[len] = '\n';
    ssize_t done = write(fd, line, len + 1); /* one write: sessions side by side do not mix lines */
    (void)done;                              /* a history that cannot be kept is no reason to fail */
    free(line);
}

/* The file has grown far beyond what is kept: put a short one in its place. */
static void shorten_file(const struct history_list *list)
{
    struct error err;
    char *fresh = mem_printf(&err, "%s.%ld", list->path, (long)getpid());
    int fd = fresh ? open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    for (size_t i = 0; fd >= 0 && i < list->count; i++)
        write_line(fd, list->lines[i], strlen(list->lines[i]));
    if (fd >= 0 && (close(fd) != 0 || rename(fresh, list->path) != 0))
        unlink(fresh);
    free(fresh);
}

void history_load(struct history_list *list)
{
    list->path = history_path();
    FILE *file = list->path ? fopen(list->path, "re") : NULL;
    char *line = NULL;
    size_t capacity = 0, lines = 0;
    ssize_t n;
    while (file && (n = getline(&line, &capacity, file)) > 0) {
        n -= line[n - 1] == '\n';
        lines++;
        if (n > 0)
            put_last(list, line, (size_t)n);
    }
    free(line);
    if (file)
        fclose(file);
    if (lines > 2 * KEPT)
        shorten_file(list);
}

bool history_add(struct history_list *list, const char *text, size_t len)
{
    if (len == 0 || text[0] == ' ' || memchr(text, 0, len) || !put_last(list, text, len))
        return false;
    int fd = list->path ? open(list->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        fchmod(fd, 0600);
        write_line(fd, text, len);
        close(fd);
    }
    return true;
}

void history_forget(struct history_list *list)
{
    while (list->count > 0)
        free(list->lines[--list->count]);
    if (list->path)
        unlink(list->path);
}

void history_free(struct history_list *list)
{
    while (list->count > 0)
        free(list->lines[--list->count]);
    free(list->lines);
    free(list->path);
    *list = (struct history_list){0};
}

/* ---- the command ------------------------------------------------------------------------------------- */

static bool run_history(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct history_list *list = editor_history(call->shell);
    uint64_t count = UINT64_MAX;
    (void)session;
    if (call->argc && !call_size(call->args[0], 0, &count, err))
        return false;
    if (call_has(call, "clear") && list) {
        history_forget(list);
        return true;
    }
    struct report *report = output_json(out) ? output_report_list(out) : NULL;
    size_t first = list && list->count > count ? list->count - (size_t)count : 0;
    for (size_t i = first; list && i < list->count; i++) {
        if (report) {
            report_text(report, NULL, list->lines[i]);
            continue;
        }
        output_printf(out, "%5zu  ", i + 1);
        output_name(out, list->lines[i]);
        output_write(out, "\n", 1);
    }
    return true;
}

static const struct arg history_args[] = {{"N", ARG_NUMBER, ARG_OPTIONAL, "only the last N commands", NULL},
                                          {0}};
static const struct flag history_flags[] = {{'c', "clear", NULL, ARG_WORD, "forget all of it"}, {0}};

const struct command history_command = {
    .name = "history",
    .group = "Session",
    .summary = "list the commands typed",
    .details =
        "They are kept across sessions, readable only by you; a line that begins with a blank is not kept.",
    .examples = "history 20\nhistory -c",
    .args = history_args,
    .flags = history_flags,
    .run = run_history,
};
