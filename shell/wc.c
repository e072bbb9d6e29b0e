/* wc: lines, words, characters, bytes. */
#include "alloc.h"
#include "grid.h"
#include "reader.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct counts {
    uint64_t lines, words, chars, bytes, longest;
};

struct wc {
    struct output *out;
    struct report *list;
    bool lines, words, chars, bytes, longest;
    struct counts total;
    unsigned files;
    int width;
    uint8_t *buf;
};

struct counting {
    bool in_word;
    uint64_t column;
};

static void count_byte(struct counts *counts, struct counting *at, uint8_t byte)
{
    bool space = byte == ' ' || (byte >= '\t' && byte <= '\r');
    counts->words += !space && !at->in_word;
    at->in_word = !space;
    bool character = (byte & 0xC0) != 0x80; /* continuation bytes of UTF-8 are part of the one before */
    counts->chars += character;
    if (byte == '\n' || byte == '\r' || byte == '\f') {
        counts->lines += byte == '\n';
        at->column = 0;
    } else if (byte == '\t') {
        at->column += 8 - at->column % 8;
    } else if (byte >= ' ' && byte != 0x7F) {
        at->column += character;
    }
    if (at->column > counts->longest)
        counts->longest = at->column;
}

static bool count_contents(struct wc *wc, struct reader *reader, struct counts *counts, struct error *err)
{
    struct counting at = {0};
    size_t got = 1;
    if (wc->bytes && !wc->lines && !wc->words && !wc->chars && !wc->longest && reader->size != UINT64_MAX) {
        counts->bytes = reader->size; /* known without reading */
        return true;
    }
    bool lines_only = !wc->words && !wc->chars && !wc->longest;
    for (uint64_t off = 0; got; off += got) {
        if (!reader_read(reader, off, wc->buf, READER_CHUNK, &got, err))
            return false;
        counts->bytes += got;
        if (lines_only) {
            for (const uint8_t *p = wc->buf, *end = p + got; (p = memchr(p, '\n', (size_t)(end - p))); p++)
                counts->lines++;
            continue;
        }
        for (size_t i = 0; i < got; i++)
            count_byte(counts, &at, wc->buf[i]);
    }
    return true;
}

static void print_counts(struct wc *wc, const struct counts *counts, const char *name)
{
    const struct {
        bool wanted;
        const char *key;
        uint64_t value;
    } columns[] = {{wc->lines, "lines", counts->lines},
                   {wc->words, "words", counts->words},
                   {wc->chars, "characters", counts->chars},
                   {wc->bytes, "bytes", counts->bytes},
                   {wc->longest, "longest-line", counts->longest}};
    bool first = true;
    if (wc->list)
        report_open(wc->list, NULL);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        if (!columns[i].wanted)
            continue;
        if (wc->list)
            report_number(wc->list, columns[i].key, columns[i].value);
        else
            output_printf(wc->out, "%s%*" PRIu64, first ? "" : " ", wc->width, columns[i].value);
        first = false;
    }
    if (wc->list) {
        report_text(wc->list, "path", name);
        report_close(wc->list);
        return;
    }
    if (strcmp(name, "-") != 0) {
        output_write(wc->out, " ", 1);
        output_name(wc->out, name);
    }
    output_write(wc->out, "\n", 1);
}

static bool wc_one(struct reader *reader, void *arg, struct error *err)
{
    struct wc *wc = arg;
    struct counts counts = {0};
    if (!count_contents(wc, reader, &counts, err))
        return false;
    wc->files++;
    wc->total.lines += counts.lines;
    wc->total.words += counts.words;
    wc->total.chars += counts.chars;
    wc->total.bytes += counts.bytes;
    if (counts.longest > wc->total.longest)
        wc->total.longest = counts.longest;
    print_counts(wc, &counts, reader->typed);
    return true;
}

/* Columns as wide as the sum of all sizes needs, as wc has them. */
static int column_width(struct session *session, struct call *call, int columns)
{
    uint64_t sum = 0;
    struct error ignored;
    int width = 1;
    if (columns == 1 && call->argc < 2)
        return 1;
    for (int i = 0; i < call->argc; i++) {
        struct reader reader;
        bool ok = reader_open(session, call, call->args[i], &reader, &ignored);
        bool unknown = ok && reader.size == UINT64_MAX;
        sum += ok && !unknown ? reader.size : 0;
        reader_close(&reader);
        if (unknown)
            return 7;
    }
    for (; sum > 9; sum /= 10)
        width++;
    return call->argc ? width : 7;
}

static bool run_wc(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct wc wc = {.out = out,
                    .lines = call_has(call, "l"),
                    .words = call_has(call, "w"),
                    .chars = call_has(call, "m"),
                    .bytes = call_has(call, "c"),
                    .longest = call_has(call, "L")};
    if (!wc.lines && !wc.words && !wc.chars && !wc.bytes && !wc.longest)
        wc.lines = wc.words = wc.bytes = true;
    int columns = wc.lines + wc.words + wc.chars + wc.bytes + wc.longest;
    wc.width = column_width(session, call, columns);
    wc.list = output_json(out) ? output_report_list(out) : NULL;
    wc.buf = mem_new(READER_CHUNK, err);
    bool ok = wc.buf && each_reader(session, call, 0, wc_one, &wc, err);
    if (wc.buf && wc.files > 1)
        print_counts(&wc, &wc.total, "total");
    free(wc.buf);
    return ok;
}

static const struct arg wc_args[] = {
    {"FILE", ARG_PLACE, ARG_ANY, "files of the image, or a device; - is the input", NULL},
    {0},
};

static const struct flag wc_flags[] = {
    {'l', "lines", NULL, ARG_WORD, "lines"},
    {'w', "words", NULL, ARG_WORD, "words"},
    {'c', "bytes", NULL, ARG_WORD, "bytes"},
    {'m', "chars", NULL, ARG_WORD, "characters"},
    {'L', "max-line-length", NULL, ARG_WORD, "columns of the longest line"},
    {0},
};

const struct command wc_command = {
    .name = "wc",
    .group = "Files",
    .summary = "count lines, words and bytes",
    .examples = "wc -l /etc/passwd\nwc 2:/var/log/*.log",
    .args = wc_args,
    .flags = wc_flags,
    .needs = READS_INPUT,
    .run = run_wc,
};
