/* The host files of find: those that -fprint and the like write, and the list of -files0-from. */
#include "alloc.h"
#include "find.h"
#include "shell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- output -------------------------------------------------------------------------------------------- */

struct find_output {
    struct find_output *next;
    const char *name;
    struct output *out;
};

bool find_parse_output(struct find *find, struct find_node *node, char **args, struct error *err)
{
    if (strcmp(args[0], "/dev/stdout") == 0) {
        node->out = find->out;
        return true;
    }
    for (const struct find_output *file = find->outputs; file; file = file->next)
        if (strcmp(file->name, args[0]) == 0) {
            node->out = file->out;
            return true;
        }
    struct shell_options options = find->call->shell->options;
    options.json = false;
    struct find_output *file = mem_new(sizeof *file, err);
    int fd = file ? open(args[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (file && fd < 0)
        fail_errno(err, errno, "%s", args[0]);
    if (fd < 0 || !(file->out = output_new(fd, &options, false, err))) {
        if (fd >= 0)
            close(fd);
        free(file);
        return false;
    }
    file->name = args[0];
    file->next = find->outputs;
    find->outputs = file;
    node->out = file->out;
    return true;
}

bool find_close_outputs(struct find *find, struct error *err)
{
    bool ok = true;
    while (find->outputs) {
        struct find_output *file = find->outputs;
        struct error failure;
        int fd = output_fd(file->out);
        find->outputs = file->next;
        if (!output_finish(file->out, &failure) && ok) {
            *err = failure;
            ok = because(err, "%s", file->name);
        }
        output_free(file->out);
        if (close(fd) != 0 && ok)
            ok = fail_errno(err, errno, "%s", file->name);
        free(file);
    }
    return ok;
}

/* ---- where to look ------------------------------------------------------------------------------------- */

struct starts {
    struct find *find;
    int fd; /* -1: the command's input */
};

static bool read_some(struct starts *starts, char *buf, size_t n, size_t *got, struct error *err)
{
    if (starts->fd < 0)
        return call_read(starts->find->call, buf, n, got, err);
    ssize_t done = read(starts->fd, buf, n);
    if (done < 0)
        return fail_errno(err, errno, "%s", starts->find->starts);
    *got = (size_t)done;
    return interrupt_check(err);
}

static bool each_name(struct starts *starts, struct text *name,
                      bool (*fn)(struct find *, const char *, struct error *), struct error *err)
{
    char buf[8192];
    size_t got = 1;
    while (got > 0) {
        if (!read_some(starts, buf, sizeof buf, &got, err))
            return false;
        for (size_t i = 0; i < got; i++) {
            if (buf[i]) {
                text_char(name, buf[i]);
                continue;
            }
            if (!text_ok(name, err) || !fn(starts->find, text_get(name), err))
                return false;
            text_clear(name);
        }
    }
    /* The last name may lack its NUL byte. */
    return text_ok(name, err) && (name->len == 0 || fn(starts->find, text_get(name), err));
}

bool find_each_start(struct find *find, bool (*fn)(struct find *, const char *, struct error *),
                     struct error *err)
{
    struct starts starts = {.find = find, .fd = -1};
    struct text name = {0};
    if (strcmp(find->starts, "-") != 0) {
        starts.fd = open(find->starts, O_RDONLY | O_CLOEXEC);
        if (starts.fd < 0)
            return fail_errno(err, errno, "%s", find->starts);
    }
    bool ok = each_name(&starts, &name, fn, err);
    text_free(&name);
    if (starts.fd >= 0)
        close(starts.fd);
    return ok;
}
