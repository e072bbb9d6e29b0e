/* cat, head and tail: contents of files. */
#include "reader.h"

#include "alloc.h"
#include "bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In JSON contents are one string a file: what is no UTF-8 is kept as the escapes that names have. */
struct json_contents {
    struct report *list;
    char *bytes;
    size_t len, capacity;
};

static bool json_add(struct json_contents *json, const void *bytes, size_t n, struct error *err)
{
    if (!mem_grow(&json->bytes, &json->capacity, json->len + n, 1, err))
        return false;
    memcpy(json->bytes + json->len, bytes, n);
    json->len += n;
    return true;
}

static void json_emit(struct json_contents *json, const char *path)
{
    report_open(json->list, NULL);
    report_text(json->list, "path", path);
    report_number(json->list, "size", json->len);
    report_bytes(json->list, "data", json->bytes ? json->bytes : "", json->len);
    report_close(json->list);
    json->len = 0;
}

/* ---- cat ----------------------------------------------------------------------------------------------- */

struct cat {
    struct output *out;
    struct json_contents json;
    bool number, number_nonblank, ends, tabs, visible, squeeze, any;
    /* where the last file ended: */
    bool line_start;
    unsigned blank_lines;
    uint64_t line;
    uint8_t *buf;
};

static void cat_visible(struct cat *cat, uint8_t byte)
{
    if (byte >= 0x80) {
        output_write(cat->out, "M-", 2);
        byte &= 0x7F;
    }
    if (byte == 0x7F)
        output_write(cat->out, "^?", 2);
    else if (byte < ' ')
        output_printf(cat->out, "^%c", byte + '@');
    else
        output_write(cat->out, &byte, 1);
}

static void cat_byte(struct cat *cat, uint8_t byte)
{
    if (cat->line_start) {
        bool blank = byte == '\n';
        cat->blank_lines = blank ? cat->blank_lines + 1 : 0;
        if (blank && cat->squeeze && cat->blank_lines > 1)
            return;
        if (cat->number_nonblank ? !blank : cat->number)
            output_printf(cat->out, "%6" PRIu64 "\t", ++cat->line);
    }
    cat->line_start = byte == '\n';
    if (byte == '\n')
        output_write(cat->out, "$\n" + !cat->ends, 1 + (size_t)cat->ends);
    else if (byte == '\t' && cat->tabs)
        output_write(cat->out, "^I", 2);
    else if (cat->visible && byte != '\t')
        cat_visible(cat, byte);
    else
        output_write(cat->out, &byte, 1);
}

static bool cat_one(struct reader *reader, void *arg, struct error *err)
{
    struct cat *cat = arg;
    size_t got = 1;
    for (uint64_t off = 0; got && !output_closed(cat->out); off += got) {
        if (!reader_read(reader, off, cat->buf, READER_CHUNK, &got, err))
            return false;
        if (cat->json.list) {
            if (!json_add(&cat->json, cat->buf, got, err))
                return false;
        } else if (!cat->any) {
            output_write(cat->out, cat->buf, got);
        } else {
            for (size_t i = 0; i < got; i++)
                cat_byte(cat, cat->buf[i]);
        }
    }
    if (cat->json.list)
        json_emit(&cat->json, reader->typed);
    return true;
}

static bool run_cat(struct session *session, struct call *call, struct output *out, struct error *err)
{
    bool all = call_has(call, "A");
    struct cat cat = {.out = out,
                      .number = call_has(call, "n"),
                      .number_nonblank = call_has(call, "b"),
                      .ends = all || call_has(call, "E") || call_has(call, "e"),
                      .tabs = all || call_has(call, "T") || call_has(call, "t"),
                      .visible = all || call_has(call, "v") || call_has(call, "e") || call_has(call, "t"),
                      .squeeze = call_has(call, "s"),
                      .line_start = true};
    cat.any = cat.number || cat.number_nonblank || cat.ends || cat.tabs || cat.visible || cat.squeeze;
    cat.json.list = output_json(out) ? output_report_list(out) : NULL;
    cat.buf = mem_new(READER_CHUNK, err);
    bool ok = cat.buf && each_reader(session, call, 0, cat_one, &cat, err);
    free(cat.buf);
    free(cat.json.bytes);
    return ok;
}

static const struct arg place_args[] = {
    {"FILE", ARG_PLACE, ARG_ANY, "files of the image, or a device (2:, 0:, file:); - is the input", NULL},
    {0},
};

static const struct flag cat_flags[] = {
    {'n', "number", NULL, ARG_WORD, "number all lines"},
    {'b', "number-nonblank", NULL, ARG_WORD, "number lines that are not empty"},
    {'s', "squeeze-blank", NULL, ARG_WORD, "one empty line where there are several"},
    {'A', "show-all", NULL, ARG_WORD, "as -vET"},
    {'E', "show-ends", NULL, ARG_WORD, "$ at the end of each line"},
    {'T', "show-tabs", NULL, ARG_WORD, "tabs as ^I"},
    {'v', "show-nonprinting", NULL, ARG_WORD, "control characters as ^X and M-X"},
    {'e', NULL, NULL, ARG_WORD, "as -vE"},
    {'t', NULL, NULL, ARG_WORD, "as -vT"},
    {0},
};

const struct command cat_command = {
    .name = "cat",
    .group = "Files",
    .summary = "print files",
    .examples = "cat /etc/fstab\ncat /var/log/syslog | less\ncat 2: > partition.img",
    .args = place_args,
    .flags = cat_flags,
    .needs = READS_INPUT,
    .run = run_cat,
};

/* ---- head and tail ------------------------------------------------------------------------------------- */

struct cut {
    struct output *out;
    struct json_contents json;
    bool headings, first_done;
    bool bytes;      /* count bytes, not lines */
    bool from_start; /* tail +N; head always */
    bool all_but;    /* head -N with a minus: all but the last */
    uint64_t count;
    uint8_t *buf;
};

static bool emit(struct cut *cut, const void *bytes, size_t n, struct error *err)
{
    if (cut->json.list)
        return json_add(&cut->json, bytes, n, err);
    output_write(cut->out, bytes, n);
    return true;
}

static void heading(struct cut *cut, const struct reader *reader)
{
    if (cut->headings && !cut->json.list) {
        output_printf(cut->out, cut->first_done ? "\n==> " : "==> ");
        output_name(cut->out, reader->typed);
        output_write(cut->out, " <==\n", 5);
    }
    cut->first_done = true;
}

/* Everything from off to end. */
static bool emit_range(struct cut *cut, struct reader *reader, uint64_t off, uint64_t end, struct error *err)
{
    while (off < end && !output_closed(cut->out)) {
        size_t got;
        if (!reader_read(reader, off, cut->buf, (size_t)MIN_OF(end - off, (uint64_t)READER_CHUNK), &got, err))
            return false;
        if (got == 0)
            break;
        if (!emit(cut, cut->buf, got, err))
            return false;
        off += got;
    }
    return true;
}

static bool head_lines(struct cut *cut, struct reader *reader, struct error *err)
{
    uint64_t left = cut->count;
    size_t got = 1;
    for (uint64_t off = 0; left && got && !output_closed(cut->out); off += got) {
        if (!reader_read(reader, off, cut->buf, READER_CHUNK, &got, err))
            return false;
        size_t n = 0;
        while (n < got && left) {
            const uint8_t *newline = memchr(cut->buf + n, '\n', got - n);
            n = newline ? (size_t)(newline - cut->buf) + 1 : got;
            left -= newline != NULL;
        }
        if (!emit(cut, cut->buf, n, err))
            return false;
    }
    return true;
}

/* Where the last `count` lines begin. */
static bool find_last_lines(struct cut *cut, struct reader *reader, uint64_t count, uint64_t *out,
                            struct error *err)
{
    uint64_t end = reader->size, lines = 0;
    bool last_byte = true;
    *out = reader->size;
    if (count == 0)
        return true;
    while (end > 0) {
        size_t n = (size_t)MIN_OF(end, (uint64_t)READER_CHUNK), got;
        if (!reader_read(reader, end - n, cut->buf, n, &got, err))
            return false;
        for (size_t i = n; i-- > 0; last_byte = false) {
            if (cut->buf[i] != '\n' || last_byte)
                continue; /* a newline at the very end ends the last line and begins none */
            if (++lines == count) {
                *out = end - n + i + 1;
                return true;
            }
        }
        end -= n;
    }
    *out = 0;
    return true;
}

static bool skip_lines(struct cut *cut, struct reader *reader, uint64_t count, uint64_t *out,
                       struct error *err)
{
    size_t got = 1;
    *out = 0;
    while (count && got) {
        if (!reader_read(reader, *out, cut->buf, READER_CHUNK, &got, err))
            return false;
        size_t n = 0;
        while (n < got && count) {
            const uint8_t *newline = memchr(cut->buf + n, '\n', got - n);
            n = newline ? (size_t)(newline - cut->buf) + 1 : got;
            count -= newline != NULL;
        }
        *out += n;
    }
    return true;
}

static bool known_size(const struct reader *reader, struct error *err)
{
    return reader->size != UINT64_MAX || fail(err, E_USAGE, "the input's end cannot be known ahead");
}

static bool head_one(struct reader *reader, void *arg, struct error *err)
{
    struct cut *cut = arg;
    uint64_t end = cut->count;
    bool ok;
    heading(cut, reader);
    if (cut->all_but && !known_size(reader, err))
        return false;
    if (cut->all_but && cut->bytes)
        end = reader->size > cut->count ? reader->size - cut->count : 0;
    else if (cut->all_but && !find_last_lines(cut, reader, cut->count, &end, err))
        return false;
    ok = cut->bytes || cut->all_but ? emit_range(cut, reader, 0, end, err) : head_lines(cut, reader, err);
    if (ok && cut->json.list)
        json_emit(&cut->json, reader->typed);
    return ok;
}

static bool tail_one(struct reader *reader, void *arg, struct error *err)
{
    struct cut *cut = arg;
    uint64_t start;
    if (cut->count == 0 && !cut->from_start && !cut->json.list)
        return true;
    heading(cut, reader);
    if (!known_size(reader, err))
        return false;
    if (cut->bytes && cut->from_start)
        start = cut->count ? cut->count - 1 : 0;
    else if (cut->bytes)
        start = reader->size > cut->count ? reader->size - cut->count : 0;
    else if (!(cut->from_start ? skip_lines(cut, reader, cut->count ? cut->count - 1 : 0, &start, err)
                               : find_last_lines(cut, reader, cut->count, &start, err)))
        return false;
    if (!emit_range(cut, reader, start, reader->size, err))
        return false;
    if (cut->json.list)
        json_emit(&cut->json, reader->typed);
    return true;
}

static bool run_part(struct session *session, struct call *call, struct output *out, struct error *err)
{
    bool tail = strcmp(call->command->name, "tail") == 0;
    struct cut cut = {.out = out, .count = 10};
    const char *text = call_value(call, "c") ? call_value(call, "c") : call_value(call, "n");
    const char *first = call->argc > 0 ? call->args[0] : "";
    if (!text && first[0] == '-' && first[1] && !first[1 + strspn(first + 1, "0123456789")]) {
        text = first + 1; /* head -5 */
        call->args++;
        call->argc--;
    }
    cut.bytes = call_value(call, "c") != NULL;
    cut.headings = call_has(call, "v") || (call->argc > 1 && !call_has(call, "q"));
    if (text) {
        cut.from_start = tail && text[0] == '+';
        cut.all_but = !tail && text[0] == '-';
        text += text[0] == '+' || text[0] == '-';
        if (!size_parse(text, &cut.count, err))
            return false;
    }
    cut.json.list = output_json(out) ? output_report_list(out) : NULL;
    cut.buf = mem_new(READER_CHUNK, err);
    bool ok = cut.buf && each_reader(session, call, 0, tail ? tail_one : head_one, &cut, err);
    free(cut.buf);
    free(cut.json.bytes);
    return ok;
}

static const struct flag head_flags[] = {
    {'n', "lines", "N", ARG_NUMBER, "so many lines (10); -N: all but the last N"},
    {'c', "bytes", "N", ARG_SIZE, "so many bytes; -N: all but the last N"},
    {'q', "quiet", NULL, ARG_WORD, "no headings"},
    {'v', "verbose", NULL, ARG_WORD, "headings also for one file"},
    {0},
};

static const struct flag tail_flags[] = {
    {'n', "lines", "N", ARG_NUMBER, "so many lines (10); +N: from line N on"},
    {'c', "bytes", "N", ARG_SIZE, "so many bytes; +N: from byte N on"},
    {'q', "quiet", NULL, ARG_WORD, "no headings"},
    {'v', "verbose", NULL, ARG_WORD, "headings also for one file"},
    {0},
};

const struct command head_command = {
    .name = "head",
    .group = "Files",
    .summary = "print the beginning of files",
    .examples = "head -n 3 /etc/passwd\nhead -c 512 0: | xxd",
    .args = place_args,
    .flags = head_flags,
    .needs = READS_INPUT,
    .run = run_part,
};

const struct command tail_command = {
    .name = "tail",
    .group = "Files",
    .summary = "print the end of files",
    .examples = "tail -n 20 /var/log/syslog",
    .args = place_args,
    .flags = tail_flags,
    .needs = READS_INPUT,
    .run = run_part,
};
