#include "output.h"

#include "alloc.h"
#include "bytes.h"
#include "reports.h"
#include "shell.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_SIZE = 65536 };

struct output {
    int fd;
    bool terminal, lazy /* a regular file: nobody watches */, json, color;
    bool closed;     /* the reader has gone */
    int write_error; /* errno of the first failed write */
    size_t used;
    struct report *report; /* of the running command; one of the two below */
    struct json_report json_report;
    struct text_report text_report;
    char buffer[BUFFER_SIZE];
};

static bool wants_color(const struct shell_options *options, bool terminal)
{
    const char *never = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if (options->json || options->color == COLOR_NEVER)
        return false;
    if (options->color == COLOR_ALWAYS)
        return true;
    return terminal && !(never && *never) && !(term && strcmp(term, "dumb") == 0);
}

struct output *output_new(int fd, const struct shell_options *options, bool lazy, struct error *err)
{
    struct output *out = malloc(sizeof *out); /* the buffer need not be cleared */
    struct stat st;
    if (!out) {
        fail(err, E_NOMEM, "out of memory");
        return NULL;
    }
    memset(out, 0, offsetof(struct output, buffer));
    out->fd = fd;
    out->terminal = isatty(fd) == 1;
    out->lazy = lazy && !out->terminal && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    out->json = options->json;
    out->color = wants_color(options, out->terminal);
    return out;
}

static void write_all(struct output *out, const char *bytes, size_t n)
{
    while (n > 0 && !out->closed && !out->write_error) {
        ssize_t done = write(out->fd, bytes, n);
        if (done >= 0) {
            bytes += done;
            n -= (size_t)done;
        } else if (errno == EPIPE) {
            out->closed = true;
        } else if (errno != EINTR) {
            out->write_error = errno;
        } else if (interrupt_pending()) {
            return; /* the command notices by itself */
        }
    }
}

void output_flush(struct output *out)
{
    write_all(out, out->buffer, out->used);
    out->used = 0;
}

void output_write(struct output *out, const void *bytes, size_t n)
{
    if (n > BUFFER_SIZE - out->used) {
        output_flush(out);
        if (n >= BUFFER_SIZE) {
            write_all(out, bytes, n);
            return;
        }
    }
    if (n > 0)
        memcpy(out->buffer + out->used, bytes, n);
    out->used += n;
}

void output_printf(struct output *out, const char *fmt, ...)
{
    char small[512];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof small) {
        output_write(out, small, (size_t)n);
    } else if (n >= 0) {
        char *large = malloc((size_t)n + 1);
        if (large) {
            vsnprintf(large, (size_t)n + 1, fmt, again);
            output_write(out, large, (size_t)n);
            free(large);
        } else {
            out->write_error = ENOMEM;
        }
    }
    va_end(again);
}

void output_cell(struct output *out, const char *text, int columns, int width)
{
    static const char blanks[] = "                                ";
    int fill = (width < 0 ? -width : width) - columns;
    if (width < 0)
        output_write(out, text, strlen(text));
    for (; fill > 0; fill -= (int)sizeof blanks - 1)
        output_write(out, blanks, MIN_OF((size_t)fill, sizeof blanks - 1));
    if (width >= 0)
        output_write(out, text, strlen(text));
    output_write(out, " ", 1);
}

void output_name(struct output *out, const char *name)
{
    if (!out->terminal) {
        output_write(out, name, strlen(name));
        return;
    }
    struct text text = {0};
    text_escaped(&text, name, strlen(name));
    output_write(out, text_get(&text), text.len);
    text_free(&text);
}

unsigned output_name_width(const struct output *out, const char *name)
{
    struct text text = {0};
    if (!out->terminal)
        return display_width(name);
    text_escaped(&text, name, strlen(name));
    unsigned width = display_width(text_get(&text));
    text_free(&text);
    return width;
}

bool output_closed(const struct output *out)
{
    return out->closed;
}

bool output_is_terminal(const struct output *out)
{
    return out->terminal;
}

unsigned output_width(const struct output *out)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    if (out->terminal && ioctl(out->fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    unsigned long given = out->terminal && columns ? strtoul(columns, NULL, 10) : 0;
    return given > 0 && given < 10000 ? (unsigned)given : 80;
}

bool output_json(const struct output *out)
{
    return out->json;
}

bool output_colored(const struct output *out)
{
    return out->color;
}

bool output_set_colored(struct output *out, bool on)
{
    bool before = out->color;
    out->color = on && !out->json;
    return before;
}

void output_color(struct output *out, const char *sgr)
{
    if (out->color)
        output_printf(out, "\033[%sm", sgr ? sgr : "0");
}

unsigned display_width(const char *utf8)
{
    unsigned width = 0;
    for (; *utf8 >= ' ' && *utf8 < 0x7F; utf8++)
        width++;
    size_t n = strlen(utf8);
    while (n > 0) {
        uint32_t code = 0;
        size_t len = utf8_next(utf8, n, &code);
        int columns = len ? utf8_columns(code) : 1;
        width += columns > 0 ? (unsigned)columns : 0;
        utf8 += len ? len : 1;
        n -= len ? len : 1;
    }
    return width;
}

static struct report *begin_report(struct output *out, bool list)
{
    if (!out->report && out->json) {
        json_report_begin(&out->json_report, out, list);
        out->report = &out->json_report.report;
    } else if (!out->report) {
        text_report_begin(&out->text_report, out, list);
        out->report = &out->text_report.report;
    }
    return out->report;
}

struct report *output_report(struct output *out)
{
    return begin_report(out, false);
}

struct report *output_report_list(struct output *out)
{
    return begin_report(out, true);
}

static void end_report(struct output *out)
{
    struct report *report = out->report;
    out->report = NULL;
    if (report && out->json)
        json_report_end(&out->json_report);
    else if (report && !text_report_end(&out->text_report))
        out->write_error = ENOMEM;
}

bool output_finish(struct output *out, struct error *err)
{
    end_report(out);
    if (!out->lazy)
        output_flush(out);
    if (!out->write_error)
        return true;
    int errnum = out->write_error;
    out->write_error = 0;
    out->used = 0;
    return fail_errno(err, errnum, "output");
}

int output_fd(const struct output *out)
{
    return out->fd;
}

void output_set_json(struct output *out, bool json)
{
    if (!out->report)
        out->json = json;
}

void output_free(struct output *out)
{
    if (!out)
        return;
    end_report(out);
    output_flush(out);
    free(out);
}
