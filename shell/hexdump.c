/* hexdump and strings: bytes for the eye. */
#include "alloc.h"
#include "bytes.h"
#include "reader.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- hexdump ------------------------------------------------------------------------------------------- */

enum { ROW = 16 };

struct dump {
    struct output *out;
    struct report *list;
    uint64_t skip, length;
    bool all; /* -v: repeated rows too */
    uint8_t *buf;
};

static void dump_row(struct output *out, uint64_t off, const uint8_t *row, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char line[120];
    int used = snprintf(line, sizeof line, "%08" PRIx64, off);
    for (size_t i = 0; i < ROW; i++) {
        line[used++] = ' ';
        if (i % 8 == 0)
            line[used++] = ' ';
        line[used++] = i < n ? digits[row[i] >> 4] : ' ';
        line[used++] = i < n ? digits[row[i] & 15] : ' ';
    }
    memcpy(line + used, "  |", 3);
    used += 3;
    for (size_t i = 0; i < n; i++)
        line[used++] = row[i] >= ' ' && row[i] < 0x7F ? (char)row[i] : '.';
    memcpy(line + used, "|\n", 2);
    output_write(out, line, (size_t)used + 2);
}

static bool dump_text(struct dump *dump, struct reader *reader, uint64_t off, uint64_t end, struct error *err)
{
    uint8_t last[ROW];
    bool have_last = false, starred = false, any = off < end;
    while (off < end && !output_closed(dump->out)) {
        size_t got, want = (size_t)MIN_OF(end - off, (uint64_t)READER_CHUNK);
        if (!reader_read(reader, off, dump->buf, want, &got, err))
            return false;
        for (size_t at = 0; at < got; at += ROW) {
            size_t n = MIN_OF(got - at, (size_t)ROW);
            bool same = have_last && n == ROW && memcmp(last, dump->buf + at, ROW) == 0 && !dump->all;
            if (same && !starred)
                output_write(dump->out, "*\n", 2);
            starred = same;
            if (!same)
                dump_row(dump->out, off + at, dump->buf + at, n);
            have_last = n == ROW;
            memcpy(last, dump->buf + at, n);
        }
        off += got;
        if (got < want)
            end = off;
    }
    if (any)
        output_printf(dump->out, "%08" PRIx64 "\n", off);
    return true;
}

/* JSON: the bytes as one string of hex digits. */
static bool dump_json(struct dump *dump, struct reader *reader, uint64_t off, uint64_t end, struct error *err)
{
    struct text hex = {0};
    uint64_t start = off;
    size_t got = 1;
    bool ok = true;
    for (; ok && off < end && got; off += got) {
        ok =
            reader_read(reader, off, dump->buf, (size_t)MIN_OF(end - off, (uint64_t)READER_CHUNK), &got, err);
        for (size_t i = 0; ok && i < got; i++)
            text_printf(&hex, "%02x", dump->buf[i]);
    }
    ok = ok && text_ok(&hex, err);
    if (ok) {
        report_open(dump->list, NULL);
        report_text(dump->list, "path", reader->typed);
        report_number(dump->list, "offset", start);
        report_text(dump->list, "hex", text_get(&hex));
        report_close(dump->list);
    }
    text_free(&hex);
    return ok;
}

static bool dump_one(struct reader *reader, void *arg, struct error *err)
{
    struct dump *dump = arg;
    uint64_t end;
    if (reader->input && dump->skip)
        return fail(err, E_USAGE, "the input cannot be skipped");
    if (!add_u64(dump->skip, dump->length, &end) || end > reader->size)
        end = reader->size;
    uint64_t off = MIN_OF(dump->skip, end);
    return dump->list ? dump_json(dump, reader, off, end, err) : dump_text(dump, reader, off, end, err);
}

static bool run_hexdump(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct dump dump = {.out = out, .all = call_has(call, "v")};
    if (!option_size(call, "s", 0, &dump.skip, err) || !option_size(call, "n", UINT64_MAX, &dump.length, err))
        return false;
    dump.list = output_json(out) ? output_report_list(out) : NULL;
    dump.buf = mem_new(READER_CHUNK, err);
    bool ok = dump.buf && each_reader(session, call, 0, dump_one, &dump, err);
    free(dump.buf);
    return ok;
}

static const struct arg place_args[] = {
    {"FILE", ARG_PLACE, ARG_ANY, "files of the image, or a device (2:, 0:, file:); - is the input", NULL},
    {0},
};

static const struct flag hexdump_flags[] = {
    {'s', "skip", "SIZE", ARG_SIZE, "begin here"},
    {'n', "length", "SIZE", ARG_SIZE, "so many bytes"},
    {'v', "no-squeezing", NULL, ARG_WORD, "rows that repeat, too"},
    {'C', "canonical", NULL, ARG_WORD, "accepted: it is the only form"},
    {0},
};

const struct command hexdump_command = {
    .name = "hexdump",
    .group = "Files",
    .summary = "print bytes in hexadecimal",
    .examples = "hexdump -n 512 0:\nhexdump -s 1K -n 1K 2:\nhexdump /bin/true | less",
    .args = place_args,
    .flags = hexdump_flags,
    .needs = READS_INPUT,
    .aliases = "hd xxd",
    .run = run_hexdump,
};

/* ---- strings ------------------------------------------------------------------------------------------- */

struct strings {
    struct output *out;
    struct report *list;
    size_t least;
    char radix;  /* 0, d, o, x */
    char coding; /* s, S, l, b */
    bool names;
    uint8_t *buf;
    struct text found;
    uint64_t start; /* of found */
};

static bool is_text(const struct strings *strings, unsigned code)
{
    return code == '\t' || (code >= ' ' && code < 0x7F) ||
           (strings->coding == 'S' && code >= 0x80 && code <= 0xFF);
}

static void end_string(struct strings *strings, const struct reader *reader)
{
    if (strings->found.len >= strings->least && strings->list) {
        report_open(strings->list, NULL);
        report_text(strings->list, "path", reader->typed);
        report_number(strings->list, "offset", strings->start);
        report_bytes(strings->list, "text", text_get(&strings->found), strings->found.len);
        report_close(strings->list);
    } else if (strings->found.len >= strings->least) {
        if (strings->names)
            output_printf(strings->out, "%s: ", reader->typed);
        if (strings->radix)
            output_printf(strings->out,
                          strings->radix == 'd'   ? "%7" PRIu64 " "
                          : strings->radix == 'o' ? "%7" PRIo64 " "
                                                  : "%7" PRIx64 " ",
                          strings->start);
        output_write(strings->out, text_get(&strings->found), strings->found.len);
        output_write(strings->out, "\n", 1);
    }
    text_clear(&strings->found);
}

static bool strings_one(struct reader *reader, void *arg, struct error *err)
{
    struct strings *strings = arg;
    size_t unit = strings->coding == 'l' || strings->coding == 'b' ? 2 : 1, got = 1;
    for (uint64_t off = 0; got && !output_closed(strings->out); off += got) {
        if (!reader_read(reader, off, strings->buf, READER_CHUNK, &got, err))
            return false;
        for (size_t i = 0; i + unit <= got; i += unit) {
            const uint8_t *p = strings->buf + i;
            unsigned code = unit == 1 ? *p : strings->coding == 'l' ? load_le16(p) : load_be16(p);
            if (!is_text(strings, code)) {
                if (strings->found.len)
                    end_string(strings, reader);
                continue;
            }
            if (!strings->found.len)
                strings->start = off + i;
            text_char(&strings->found, (char)code);
        }
        if (!text_ok(&strings->found, err))
            return false;
    }
    end_string(strings, reader);
    return true;
}

static bool run_strings(struct session *session, struct call *call, struct output *out, struct error *err)
{
    uint64_t least;
    const char *radix = call_value(call, "t"), *coding = call_value(call, "e");
    struct strings strings = {.out = out,
                              .radix = radix ? radix[0] : 0,
                              .coding = coding ? coding[0] : 's',
                              .names = call_has(call, "f")};
    if (!option_size(call, "n", 4, &least, err))
        return false;
    if (radix && (!strchr("dox", radix[0]) || !radix[0] || radix[1]))
        return fail(err, E_USAGE, "-t %s: d, o or x", radix);
    if (coding && (!strchr("sSlb", coding[0]) || !coding[0] || coding[1]))
        return fail(err, E_USAGE, "-e %s: s, S, l or b", coding);
    if (least < 1 || least > READER_CHUNK)
        return fail(err, E_INVALID, "-n: from 1 to %d", READER_CHUNK);
    strings.least = (size_t)least;
    strings.list = output_json(out) ? output_report_list(out) : NULL;
    strings.buf = mem_new(READER_CHUNK, err);
    bool ok = strings.buf && each_reader(session, call, 0, strings_one, &strings, err);
    text_free(&strings.found);
    free(strings.buf);
    return ok;
}

static const struct flag strings_flags[] = {
    {'n', "bytes", "N", ARG_NUMBER, "at least so many characters (4)"},
    {'t', "radix", "R", ARG_WORD, "offsets in d, o or x"},
    {'e', "encoding", "E", ARG_WORD, "s: 7 bits, S: 8 bits, l and b: 16 bits little- and big-endian"},
    {'f', "print-file-name", NULL, ARG_WORD, "the file's name first"},
    {'a', "all", NULL, ARG_WORD, "accepted: all of it is always looked through"},
    {0},
};

const struct command strings_command = {
    .name = "strings",
    .group = "Files",
    .summary = "print the text in files",
    .examples = "strings -t x 2: | grep passwd",
    .args = place_args,
    .flags = strings_flags,
    .needs = READS_INPUT,
    .run = run_strings,
};
