/* cmp: two files, devices or trees side by side. */
#include "alloc.h"
#include "bytes.h"
#include "copying.h"
#include "reader.h"
#include "tree_compare.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- files --------------------------------------------------------------------------------------------- */

struct cmp {
    struct session *session;
    struct call *call;
    struct output *out;
    bool silent, list, bytes;
    uint64_t skip[2], limit;
    struct reader readers[2];
    uint8_t *buffers[2];
    uint64_t line; /* of the byte looked at */
    uint64_t differences;
};

static void print_byte(char out[8], uint8_t byte)
{
    size_t used = 0;
    if (byte >= 0x80) {
        memcpy(out, "M-", 2);
        used = 2;
        byte &= 0x7F;
    }
    if (byte < ' ' || byte == 0x7F) {
        out[used++] = '^';
        byte ^= 0x40;
    }
    out[used] = (char)byte;
    out[used + 1] = 0;
}

static void print_difference(struct cmp *cmp, uint64_t off, uint8_t a, uint8_t b)
{
    char x[8], y[8];
    print_byte(x, a);
    print_byte(y, b);
    if (output_json(cmp->out)) {
        struct report *report = output_report_list(cmp->out);
        report_open(report, NULL);
        report_number(report, "byte", off + 1);
        report_number(report, "line", cmp->line);
        report_number(report, "first", a);
        report_number(report, "second", b);
        report_close(report);
    } else if (cmp->list && cmp->bytes) {
        output_printf(cmp->out, "%" PRIu64 " %3o %-4s %3o %s\n", off + 1, a, x, b, y);
    } else if (cmp->list) {
        output_printf(cmp->out, "%" PRIu64 " %3o %3o\n", off + 1, a, b);
    } else {
        output_printf(cmp->out, "%s %s differ: byte %" PRIu64 ", line %" PRIu64, cmp->call->args[0],
                      cmp->call->args[1], off + 1, cmp->line);
        if (cmp->bytes)
            output_printf(cmp->out, " is %3o %s %3o %s", a, x, b, y);
        output_write(cmp->out, "\n", 1);
    }
}

/* Looks through n equal-placed bytes; *done: the first difference is all that was wanted. */
static void compare_bytes(struct cmp *cmp, uint64_t off, size_t n, bool *done)
{
    const uint8_t *a = cmp->buffers[0], *b = cmp->buffers[1];
    *done = false;
    bool equal = memcmp(a, b, n) == 0;
    for (size_t i = 0; i < n && !*done; i++) {
        if (!equal && a[i] != b[i]) {
            if (!cmp->silent && (cmp->list || !cmp->differences))
                print_difference(cmp, off + i, a[i], b[i]);
            cmp->differences++;
            *done = !cmp->list;
        }
        cmp->line += a[i] == '\n';
    }
}

static void print_end(struct cmp *cmp, int shorter, uint64_t off)
{
    cmp->differences++;
    if (!cmp->silent)
        call_note(cmp->call, "EOF on %s after byte %" PRIu64, cmp->readers[shorter].typed, off);
}

static bool compare_readers(struct cmp *cmp, struct error *err)
{
    bool done = false;
    for (uint64_t off = 0; !done && off < cmp->limit && !output_closed(cmp->out);) {
        size_t want = (size_t)MIN_OF(cmp->limit - off, (uint64_t)READER_CHUNK), got[2];
        for (int i = 0; i < 2; i++)
            if (!reader_read(&cmp->readers[i], cmp->skip[i] + off, cmp->buffers[i], want, &got[i], err))
                return because(err, "%s", cmp->readers[i].shown);
        size_t n = MIN_OF(got[0], got[1]);
        compare_bytes(cmp, off, n, &done);
        off += n;
        if (!done && got[0] != got[1])
            print_end(cmp, got[0] < got[1] ? 0 : 1, off);
        if (got[0] != got[1] || n == 0)
            break;
        session_progress(cmp->session, "cmp", off, cmp->readers[0].size);
    }
    return true;
}

static bool cmp_files(struct cmp *cmp, struct error *err)
{
    bool ok = true;
    for (int i = 0; ok && i < 2; i++) {
        ok = reader_open(cmp->session, cmp->call, cmp->call->args[i], &cmp->readers[i], err);
        cmp->buffers[i] = ok ? mem_new(READER_CHUNK, err) : NULL;
        ok = cmp->buffers[i] != NULL;
    }
    cmp->line = 1;
    ok = ok && compare_readers(cmp, err);
    for (int i = 0; i < 2; i++) {
        reader_close(&cmp->readers[i]);
        free(cmp->buffers[i]);
    }
    return ok;
}

/* ---- trees --------------------------------------------------------------------------------------------- */

static bool tree_differs(void *arg, enum tree_difference kind, const char *path, const char *detail)
{
    static const char *const words[] = {"only-in-first", "only-in-second", "type", "contents", "attributes"};
    struct cmp *cmp = arg;
    cmp->differences++;
    if (cmp->silent)
        return false;
    if (output_json(cmp->out)) {
        struct report *report = output_report_list(cmp->out);
        report_open(report, NULL);
        report_text(report, "path", path);
        report_text(report, "difference", words[kind]);
        if (detail)
            report_text(report, "detail", detail);
        report_close(report);
        return true;
    }
    if (kind == TREE_ONLY_FIRST || kind == TREE_ONLY_SECOND) {
        output_printf(cmp->out, "Only in %s: ", cmp->call->args[kind == TREE_ONLY_SECOND]);
        output_name(cmp->out, path);
    } else {
        output_name(cmp->out, path);
        output_printf(cmp->out, ": %s differ", words[kind]);
        if (detail)
            output_printf(cmp->out, " (%s)", detail);
    }
    output_write(cmp->out, "\n", 1);
    return !output_closed(cmp->out);
}

static void tree_complains(void *arg, const char *object, const struct error *err)
{
    struct cmp *cmp = arg;
    call_complain(cmp->call, object, err);
}

static bool cmp_trees(struct cmp *cmp, struct error *err)
{
    struct tree_end ends[2] = {0};
    struct tree_compare compare = {.attributes = call_has(cmp->call, "a"),
                                   .differ = tree_differs,
                                   .complain = tree_complains,
                                   .arg = cmp};
    bool ok = true;
    for (int i = 0; ok && i < 2; i++)
        ok = tree_end_open(cmp->session, cmp->call->args[i], false, &ends[i], err);
    ok = ok && tree_compare(cmp->session, &ends[0].end, &ends[1].end, &compare, err) &&
         call_result(cmp->call, err);
    tree_end_close(&ends[0]);
    tree_end_close(&ends[1]);
    return ok;
}

static bool set_skips(struct cmp *cmp, struct error *err)
{
    const char *text = call_value(cmp->call, "i");
    if (!text)
        return true;
    char *first = mem_string(text, err);
    if (!first)
        return false;
    char *second = strchr(first, ':');
    if (second)
        *second++ = 0;
    bool ok =
        size_parse(first, &cmp->skip[0], err) && size_parse(second ? second : first, &cmp->skip[1], err);
    free(first);
    return ok;
}

static bool run_cmp(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct cmp cmp = {.session = session,
                      .call = call,
                      .out = out,
                      .silent = call_has(call, "s"),
                      .list = call_has(call, "l"),
                      .bytes = call_has(call, "b")};
    if (output_json(out))
        (void)output_report_list(out);
    bool trees = call_has(call, "r") || call_has(call, "a");
    bool ok = set_skips(&cmp, err) && option_size(call, "n", UINT64_MAX, &cmp.limit, err) &&
              (trees ? cmp_trees(&cmp, err) : cmp_files(&cmp, err));
    return ok && (!cmp.differences || fail(err, E_FAILED, "%s", ""));
}

static const struct arg cmp_args[] = {
    {"FIRST", ARG_PLACE, ARG_ONE, "a file, device or directory; host:PATH is one of the host", NULL},
    {"SECOND", ARG_PLACE, ARG_ONE, "what it is compared with", NULL},
    {0},
};

static const struct flag cmp_flags[] = {
    {'r', "recursive", NULL, ARG_WORD, "compare directories with all that is in them"},
    {'a', "attributes", NULL, ARG_WORD, "and owners, modes, times and extended attributes"},
    {'s', "silent", NULL, ARG_WORD, "print nothing: the status tells"},
    {'l', "verbose", NULL, ARG_WORD, "every byte that differs, in octal"},
    {'b', "print-bytes", NULL, ARG_WORD, "differing bytes as characters, too"},
    {'n', "bytes", "SIZE", ARG_SIZE, "at most so many bytes"},
    {'i', "ignore-initial", "SIZE", ARG_SIZE, "pass over so many first bytes; SIZE:SIZE for each"},
    {0},
};

const struct command cmp_command = {
    .name = "cmp",
    .group = "Files",
    .summary = "compare files, devices and trees",
    .details =
        "Fails, with status 1, when there is a difference. Trees can be on any volume of any open image, "
        "or on the host as host:PATH.",
    .examples = "cmp /etc/fstab old:2:/etc/fstab\ncmp 1: old:1:\ncmp -ra /home host:/backup/home",
    .args = cmp_args,
    .flags = cmp_flags,
    .needs = READS_INPUT,
    .run = run_cmp,
};
