/* Commands on the host: `!`, the right side of a pipe, `source |`, lls, edit. */
#include "shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct child_files {
    int in, out; /* -1: ours */
    bool no_input;
};

static bool spawn(char *const *argv, const struct child_files *files, int *pid, struct error *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    pid_t child;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    sigaddset(&defaults, SIGHUP);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    if (files->no_input)
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (files->in >= 0)
        posix_spawn_file_actions_adddup2(&actions, files->in, STDIN_FILENO);
    if (files->out >= 0)
        posix_spawn_file_actions_adddup2(&actions, files->out, STDOUT_FILENO);
    int rc = posix_spawnp(&child, argv[0], &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    *pid = child;
    return rc == 0 || fail_errno(err, rc, "%s", argv[0]);
}

/* What a shell says of a child's end: its status, or 128 and the signal. */
static bool judge(int wait_status, const char *text, int *status, struct error *err)
{
    if (WIFSIGNALED(wait_status)) {
        *status = 128 + WTERMSIG(wait_status);
        if (WTERMSIG(wait_status) == SIGINT)
            return fail(err, E_INTERRUPTED, "interrupted");
        return fail(err, E_FAILED, "%s: %s", text, strsignal(WTERMSIG(wait_status)));
    }
    *status = WEXITSTATUS(wait_status);
    if (*status == 0)
        return true;
    if (*status == 128 + SIGINT)
        return fail(err, E_INTERRUPTED, "interrupted");
    return fail(err, E_FAILED, "%s: exit status %d", text, *status);
}

static bool wait_for(int pid, const char *text, int *status, struct error *err)
{
    int wait_status;
    while (waitpid(pid, &wait_status, 0) < 0)
        if (errno != EINTR)
            return fail_errno(err, errno, "%s", text);
    if (!signals_ending())
        interrupt_clear(); /* it was the child's to take or to leave: a pager lives on */
    return judge(wait_status, text, status, err);
}

bool host_start(struct host_pipe *host, const char *text, bool reading, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return fail_errno(err, errno, "pipe");
    int theirs = reading ? ends[1] : ends[0];
    char *const argv[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)(uintptr_t)text, NULL};
    struct child_files files = {reading ? -1 : theirs, reading ? theirs : -1, reading};
    bool good = spawn(argv, &files, &host->pid, err);
    close(theirs);
    host->fd = reading ? ends[0] : ends[1];
    if (!good)
        close(host->fd);
    return good;
}

bool host_finish(struct host_pipe *host, const char *text, int *status, struct error *err)
{
    if (host->fd >= 0)
        close(host->fd);
    return wait_for(host->pid, text, status, err);
}

bool host_run(const char *text, char *const *words, bool no_input, int out_fd, int *status, struct error *err)
{
    char *const shell_words[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)(uintptr_t)text, NULL};
    struct child_files files = {-1, out_fd, no_input};
    int pid;
    return spawn(words ? words : shell_words, &files, &pid, err) &&
           wait_for(pid, text ? text : words[0], status, err);
}
