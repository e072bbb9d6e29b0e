#include "source.h"

#include "alloc.h"
#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READ_SIZE = 65536,
    WHOLE_MAX = 16 * 1024 * 1024, /* a script on a pipe is checked whole up to this length */
    PATIENCE_MS = 100, /* how long a pipe's writer may take before it counts as one that waits for us */
};

/* Add what one read() gives. *got 0: the end. */
static bool fill(struct source *source, size_t *got, struct error *err)
{
    if (source->start > 0 && source->fd >= 0 && source->start == source->end)
        source->start = source->end = 0;
    if (source->end + READ_SIZE > source->capacity && source->start > source->capacity / 2) {
        memmove(source->buffer, source->buffer + source->start, source->end - source->start);
        source->end -= source->start;
        source->start = 0;
    }
    if (!mem_grow(&source->buffer, &source->capacity, source->end + READ_SIZE, 1, err))
        return false;
    for (;;) {
        ssize_t n = read(source->fd, source->buffer + source->end, READ_SIZE);
        if (n >= 0) {
            *got = (size_t)n;
            source->end += (size_t)n;
            source->ended = n == 0;
            return true;
        }
        if (errno != EINTR)
            return fail_errno(err, errno, "%s", source->name);
        if (!interrupt_check(err))
            return false;
    }
}

/* Read to the end, or until WHOLE_MAX bytes are there, or (patience >= 0) until the writer takes too long. */
static bool gather(struct source *source, int patience, struct error *err)
{
    size_t got = 1;
    while (got > 0 && source->end < WHOLE_MAX) {
        struct pollfd ready = {.fd = source->fd, .events = POLLIN};
        if (patience >= 0 && poll(&ready, 1, patience) == 0)
            return true;
        if (!fill(source, &got, err))
            return false;
    }
    if (got == 0) {
        if (source->close_fd)
            close(source->fd);
        source->fd = -1;
    }
    return true;
}

bool source_next(struct source *source, bool first, const char **line, size_t *len, struct error *err)
{
    (void)first;
    size_t seen = 0;
    char *newline = NULL;
    for (;;) {
        size_t have = source->end - source->start;
        if (have > seen)
            newline = memchr(source->buffer + source->start + seen, '\n', have - seen);
        if (newline || source->fd < 0 || source->ended)
            break;
        seen = have;
        size_t got;
        if (!fill(source, &got, err))
            return false;
    }
    *line = source->buffer + source->start;
    *len = newline ? (size_t)(newline - *line) : source->end - source->start;
    if (!newline && *len == 0) {
        err->kind = E_OK;
        return false;
    }
    source->start += *len + (newline != NULL);
    source->crlf = *len > 0 && (*line)[*len - 1] == '\r';
    *len -= source->crlf;
    return true;
}

bool source_line(struct source *source, bool first, const char **line, size_t *len, struct error *err)
{
    if (!source->next(source, first, line, len, err))
        return false;
    source->line++;
    return true;
}

static bool named(struct source *source, const char *name, struct error *err)
{
    *source = (struct source){.fd = -1, .next = source_next};
    source->name = mem_string(name, err);
    return source->name != NULL;
}

bool source_text(struct source *source, const char *name, const char *text, size_t len, struct error *err)
{
    if (!named(source, name, err) || !mem_grow(&source->buffer, &source->capacity, len + 1, 1, err))
        return false;
    memcpy(source->buffer, text, len);
    source->end = len;
    return true;
}

bool source_file(struct source *source, const char *path, struct error *err)
{
    if (!named(source, path, err))
        return false;
    source->fd = open(path, O_RDONLY | O_CLOEXEC);
    source->close_fd = true;
    struct stat st;
    if (source->fd < 0 || fstat(source->fd, &st) != 0)
        return fail_errno(err, errno, "%s", path);
    if (S_ISDIR(st.st_mode))
        return fail(err, E_ISDIR, "%s: is a directory", path);
    source->seekable = lseek(source->fd, 0, SEEK_CUR) >= 0;
    return source->seekable || gather(source, -1, err);
}

bool source_stdin(struct source *source, struct error *err)
{
    if (!named(source, "stdin", err))
        return false;
    source->fd = STDIN_FILENO;
    struct stat st;
    source->seekable = fstat(source->fd, &st) == 0 && S_ISREG(st.st_mode) && lseek(0, 0, SEEK_CUR) == 0;
    return source->seekable || gather(source, PATIENCE_MS, err);
}

bool source_fd(struct source *source, const char *name, int fd, struct error *err)
{
    if (!named(source, name, err))
        return false;
    source->fd = fd;
    source->close_fd = true;
    return gather(source, -1, err);
}

bool source_rewindable(const struct source *source)
{
    return source->seekable || source->fd < 0;
}

bool source_rewind(struct source *source, struct error *err)
{
    if (source->fd >= 0) {
        if (lseek(source->fd, 0, SEEK_SET) != 0)
            return fail_errno(err, errno, "%s", source->name);
        source->end = 0;
    }
    source->start = 0;
    source->line = 0;
    source->ended = false;
    return true;
}

void source_close(struct source *source)
{
    if (source->fd >= 0 && source->close_fd)
        close(source->fd);
    free(source->buffer);
    free((char *)(uintptr_t)source->name);
    *source = (struct source){.fd = -1};
}
