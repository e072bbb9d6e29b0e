#include "file_diff.h"

#include "alloc.h"
#include "bytes.h"
#include "line_diff.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    LONGEST_TEXT = 4 << 20, /* bytes of a file that is compared line by line */
    MOST_LINES = 300000,
    NEAR = 16, /* equal bytes between two ranges that are told as one */
};

/* ---- texts --------------------------------------------------------------------------------------------- */

/* Some lines of both texts, with what is around them. */
struct hunk {
    size_t from[2], end[2];
};

static bool read_text(struct reader *reader, struct text_lines *text, char **bytes, struct error *err)
{
    *bytes = mem_bytes((size_t)reader->size + 1, err);
    text->bytes = *bytes;
    return *bytes && reader_read(reader, 0, *bytes, (size_t)reader->size, &text->len, err);
}

/* The next lines that differ, from at[] on; false: there are none. */
static bool next_change(const struct text_lines texts[2], size_t at[2], struct hunk *change)
{
    while (at[0] < texts[0].count && at[1] < texts[1].count && !texts[0].changed[at[0]] &&
           !texts[1].changed[at[1]])
        at[0]++, at[1]++;
    for (int t = 0; t < 2; t++) {
        change->from[t] = at[t];
        while (at[t] < texts[t].count && texts[t].changed[at[t]])
            at[t]++;
        change->end[t] = at[t];
    }
    return change->from[0] < change->end[0] || change->from[1] < change->end[1];
}

static void print_line(struct output *out, char mark, const struct text_lines *text, size_t i)
{
    const char *line = text->bytes + text->starts[i];
    size_t n = text->starts[i + 1] - text->starts[i];
    output_color(out, mark == '-' ? "31" : mark == '+' ? "32" : NULL);
    output_write(out, &mark, 1);
    output_write(out, line, line[n - 1] == '\n' ? n - 1 : n);
    if (mark != ' ')
        output_color(out, NULL);
    output_write(out, "\n", 1);
    if (line[n - 1] != '\n')
        output_printf(out, "\\ No newline at end of file\n");
}

/* "3,7", "3" for one line, "2,0" for none behind the second. */
static void print_lines_range(struct output *out, char mark, size_t from, size_t end)
{
    output_printf(out, " %c%zu", mark, from + (end > from));
    if (end - from != 1)
        output_printf(out, ",%zu", end - from);
}

static void print_hunk(struct output *out, const struct text_lines texts[2], const struct hunk *hunk)
{
    output_color(out, "36");
    output_printf(out, "@@");
    print_lines_range(out, '-', hunk->from[0], hunk->end[0]);
    print_lines_range(out, '+', hunk->from[1], hunk->end[1]);
    output_printf(out, " @@");
    output_color(out, NULL);
    output_write(out, "\n", 1);
    for (size_t x = hunk->from[0], y = hunk->from[1]; x < hunk->end[0] || y < hunk->end[1];) {
        if (x < hunk->end[0] && texts[0].changed[x])
            print_line(out, '-', &texts[0], x++);
        else if (y < hunk->end[1] && texts[1].changed[y])
            print_line(out, '+', &texts[1], y++);
        else
            print_line(out, ' ', &texts[0], x++), y++;
    }
}

static void report_lines(struct report *report, const char *key, const struct text_lines *text, size_t from,
                         size_t end)
{
    report_open_list(report, key);
    for (size_t i = from; i < end; i++) {
        size_t n = text->starts[i + 1] - text->starts[i];
        report_bytes(report, NULL, text->bytes + text->starts[i], n);
    }
    report_close(report);
}

static void report_change(struct report *report, const struct text_lines texts[2], const struct hunk *change)
{
    report_open(report, NULL);
    report_number(report, "first-line", change->from[0] + 1);
    report_number(report, "second-line", change->from[1] + 1);
    report_lines(report, "removed", &texts[0], change->from[0], change->end[0]);
    report_lines(report, "added", &texts[1], change->from[1], change->end[1]);
    report_close(report);
}

static void print_headings(const struct file_diff *diff)
{
    for (int t = 0; t < 2; t++) {
        char when[80];
        time_format(diff->readers[t].modified, "%Y-%m-%d %H:%M:%S.%N %z", when, sizeof when);
        output_printf(diff->out, t ? "+++ " : "--- ");
        output_name(diff->out, diff->readers[t].typed);
        output_printf(diff->out, "\t%s\n", when);
    }
}

/* Changes with so few equal lines between them that their surroundings touch are one hunk. */
static void print_text(const struct file_diff *diff, const struct text_lines texts[2], bool *differ)
{
    struct report *report = output_json(diff->out) ? output_report_list(diff->out) : NULL;
    struct hunk change, hunk = {0};
    size_t at[2] = {0}, context = diff->context;
    *differ = false;
    while (next_change(texts, at, &change) && !output_closed(diff->out)) {
        if (report) {
            report_change(report, texts, &change);
            *differ = true;
            continue;
        }
        bool joined = *differ && change.from[0] <= hunk.end[0] + context;
        if (!*differ)
            print_headings(diff);
        else if (!joined)
            print_hunk(diff->out, texts, &hunk);
        size_t before = MIN_OF(MIN_OF(change.from[0], change.from[1]), context);
        for (int t = 0; t < 2; t++) {
            if (!joined)
                hunk.from[t] = change.from[t] - before;
            size_t after = MIN_OF(texts[0].count - change.end[0], context);
            hunk.end[t] = change.end[t] + MIN_OF(after, texts[1].count - change.end[1]);
        }
        *differ = true;
    }
    if (*differ && !report)
        print_hunk(diff->out, texts, &hunk);
}

static bool diff_texts(struct file_diff *diff, struct text_lines texts[2], bool *differ, struct error *err)
{
    if (!line_diff(texts, err))
        return false;
    print_text(diff, texts, differ);
    return true;
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

struct differing {
    uint64_t from, end; /* nothing yet: equal */
    uint64_t ranges, bytes;
};

static void print_range(const struct file_diff *diff, struct differing *now)
{
    if (now->from == now->end)
        return;
    now->ranges++;
    if (output_json(diff->out)) {
        struct report *report = output_report_list(diff->out);
        report_open(report, NULL);
        report_number(report, "offset", now->from);
        report_number(report, "length", now->end - now->from);
        report_close(report);
        return;
    }
    output_printf(diff->out, "bytes %" PRIu64 "-%" PRIu64 " (0x%" PRIx64 ", %" PRIu64 " long)\n", now->from,
                  now->end - 1, now->from, now->end - now->from);
}

static void compare_chunk(const struct file_diff *diff, const uint8_t *a, const uint8_t *b, size_t n,
                          uint64_t off, struct differing *now)
{
    if (memcmp(a, b, n) == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        if (a[i] == b[i])
            continue;
        now->bytes++;
        if (now->from == now->end || off + i > now->end + NEAR) {
            print_range(diff, now);
            now->from = off + i;
        }
        now->end = off + i + 1;
    }
}

static bool compare_all(struct file_diff *diff, uint8_t *buffers[2], bool *differ, struct error *err)
{
    struct differing now = {0};
    uint64_t sizes[2] = {diff->readers[0].size, diff->readers[1].size}, both = MIN_OF(sizes[0], sizes[1]);
    *differ = sizes[0] != sizes[1];
    for (uint64_t off = 0; off < both && !output_closed(diff->out) && !(diff->brief && *differ);) {
        size_t want = (size_t)MIN_OF(both - off, (uint64_t)READER_CHUNK), got[2];
        for (int t = 0; t < 2; t++)
            if (!reader_read(&diff->readers[t], off, buffers[t], want, &got[t], err))
                return because(err, "%s", diff->readers[t].shown);
        if (got[0] != want || got[1] != want)
            return fail(err, E_IO, "%s became shorter meanwhile", diff->readers[got[0] == want].shown);
        if (diff->brief)
            *differ = memcmp(buffers[0], buffers[1], want) != 0;
        else
            compare_chunk(diff, buffers[0], buffers[1], want, off, &now);
        off += want;
        session_progress(diff->session, "diff", off, both);
    }
    print_range(diff, &now);
    *differ |= now.bytes > 0;
    int longer = sizes[1] > sizes[0];
    if (sizes[0] != sizes[1] && !diff->brief && !output_json(diff->out)) {
        output_name(diff->out, diff->readers[longer].typed);
        output_printf(diff->out, " has %" PRIu64 " bytes more\n", sizes[longer] - both);
    }
    return true;
}

static bool diff_bytes(struct file_diff *diff, bool *differ, struct error *err)
{
    uint8_t *buffers[2] = {mem_bytes(READER_CHUNK, err), mem_bytes(READER_CHUNK, err)};
    bool ok = buffers[0] && buffers[1] && compare_all(diff, buffers, differ, err);
    free(buffers[0]);
    free(buffers[1]);
    return ok;
}

/* ---- which of the two ---------------------------------------------------------------------------------- */

static bool is_text(const struct text_lines *text)
{
    size_t lines = 0;
    const char *at = text->bytes, *end = at + text->len;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))))
        at++, lines++;
    return lines <= MOST_LINES && !memchr(text->bytes, 0, text->len);
}

bool file_diff(struct file_diff *diff, bool *differ, struct error *err)
{
    bool small = diff->readers[0].size <= LONGEST_TEXT && diff->readers[1].size <= LONGEST_TEXT;
    struct text_lines texts[2] = {0};
    char *bytes[2] = {0};
    bool ok = true;
    if (output_json(diff->out))
        (void)output_report_list(diff->out);
    if (!small || diff->brief)
        return diff_bytes(diff, differ, err);
    for (int t = 0; ok && t < 2; t++)
        ok = read_text(&diff->readers[t], &texts[t], &bytes[t], err) ||
             because(err, "%s", diff->readers[t].shown);
    if (ok)
        ok = is_text(&texts[0]) && is_text(&texts[1]) ? diff_texts(diff, texts, differ, err)
                                                      : diff_bytes(diff, differ, err);
    for (int t = 0; t < 2; t++) {
        text_lines_free(&texts[t]);
        free(bytes[t]);
    }
    return ok;
}
