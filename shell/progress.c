/* The bar of long work: on a terminal's standard error, after a moment, ten times a second. */
#include "shell.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static struct {
    bool running, shown;
    char what[64];
    uint64_t last_done;
    double started, last_shown;
    /* Where the present piece of work began: one file of many. */
    double piece_started;
    uint64_t piece_base;
} state;

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void scaled(uint64_t bytes, char out[16])
{
    static const char units[] = "BKMGTPE";
    double value = (double)bytes;
    unsigned unit = 0;
    for (; value >= 1000 && unit + 1 < sizeof units - 1; unit++)
        value /= 1024;
    snprintf(out, 16, value < 9.95 && unit ? "%.1f%c" : "%.0f%c", value, units[unit]);
}

static void left_text(double seconds, char out[24])
{
    unsigned s = seconds > 359999 ? 359999 : (unsigned)(seconds + 0.5);
    if (s >= 3600)
        snprintf(out, 24, "%u:%02u:%02u left", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, 24, "%u:%02u left", s / 60, s % 60);
}

static unsigned columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

/* The end of a long name says most. It comes from an image: nothing in it may play with the terminal. */
static void put_name(struct text *line, const char *what)
{
    enum { LONGEST = 30 };
    struct text name = {0};
    text_escaped(&name, what, strlen(what));
    size_t cut = name.len > LONGEST ? name.len - LONGEST : 0;
    while (cut > 0 && ((unsigned char)name.bytes[cut] & 0xc0) == 0x80)
        cut++;
    text_string(line, cut ? "…" : "");
    text_string(line, text_get(&name) + cut);
    text_free(&name);
}

static void draw(const char *what, uint64_t done, uint64_t total, double per_second)
{
    char have[16], all[16], rate[16], left[24] = "", bar[64] = "";
    struct text line = {0};
    put_name(&line, what);
    scaled(done, have);
    scaled(total, all);
    scaled((uint64_t)per_second, rate);
    if (total > 0 && done <= total) {
        enum { CELLS = 24 };
        unsigned full = (unsigned)((__uint128_t)done * CELLS / total);
        bar[0] = '[';
        for (unsigned i = 0; i < CELLS; i++)
            bar[1 + i] = i < full ? '=' : i == full ? '>' : ' ';
        snprintf(bar + 1 + CELLS, sizeof bar - 1 - CELLS, "] %3u%% ",
                 (unsigned)((__uint128_t)done * 100 / total));
        if (per_second > 0)
            left_text((double)(total - done) / per_second, left);
    }
    text_printf(&line, " %s%s%s%s  %s/s  %s", bar, have, total ? "/" : "", total ? all : "", rate, left);
    const char *shown = text_get(&line);
    size_t n = 0;
    for (unsigned width = columns() - 1; width > 0 && n < line.len; width--) /* whole characters that fit */
        for (n++; n < line.len && ((unsigned char)shown[n] & 0xc0) == 0x80;)
            n++;
    dprintf(STDERR_FILENO, "\r%.*s\033[K", (int)n, shown);
    text_free(&line);
}

void progress_show(void *shell, const char *what, uint64_t done, uint64_t total)
{
    double now = seconds_now();
    (void)shell;
    if (!state.running)
        state.started = state.last_shown = now;
    if (!state.running || strncmp(what, state.what, sizeof state.what - 1) != 0 || done < state.last_done) {
        snprintf(state.what, sizeof state.what, "%s", what);
        state.piece_started = now;
        state.piece_base = state.running && total ? 0 : done;
        state.running = true;
    }
    state.last_done = done;
    if (now - state.started < 0.3 || now - state.last_shown < 0.1)
        return;
    state.last_shown = now;
    state.shown = true;
    double seconds = now - state.piece_started;
    draw(what, done, total, seconds > 0 ? (double)(done - state.piece_base) / seconds : 0);
}

void progress_clear(void)
{
    if (state.shown)
        dprintf(STDERR_FILENO, "\r\033[K");
    state.running = state.shown = false;
    state.what[0] = 0;
    state.last_done = 0;
}
