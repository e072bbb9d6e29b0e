/* sum: checksums of files, printed and checked. */
#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
#include "reader.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#ifdef HAVE_NETTLE
#include <nettle/nettle-meta.h>
#endif

enum { MAX_DIGEST = 64 };

/* One running checksum: a CRC, or a hash of the library. */
struct hash {
    const char *name;
    size_t size; /* of the digest in bytes */
    uint32_t crc;
#ifdef HAVE_NETTLE
    const struct nettle_hash *library;
    void *context;
#endif
};

static const char all_names[] = "crc32, crc32c"
#ifdef HAVE_NETTLE
                                ", md5, sha1, sha224, sha256, sha384, sha512, sha3_256, sha3_512"
#endif
    ;

static bool hash_choose(struct hash *hash, const char *name, struct error *err)
{
    *hash = (struct hash){.name = name};
    if (strcmp(name, "crc32") == 0 || strcmp(name, "crc32c") == 0) {
        hash->size = 4;
        return true;
    }
#ifdef HAVE_NETTLE
    hash->library = nettle_lookup_hash(name);
    if (hash->library && hash->library->digest_size <= MAX_DIGEST) {
        hash->size = hash->library->digest_size;
        hash->context = mem_new(hash->library->context_size, err);
        return hash->context != NULL;
    }
    return fail(err, E_INVALID, "'%s' is no checksum: %s", name, all_names);
#else
    return fail(err, E_UNSUPPORTED, "'%s' is no checksum of this build: %s (it was built without libnettle)",
                name, all_names);
#endif
}

static bool is_crc32c(const struct hash *hash)
{
    return strcmp(hash->name, "crc32c") == 0;
}

static void hash_begin(struct hash *hash)
{
    hash->crc = is_crc32c(hash) ? 0xFFFFFFFFu : (uint32_t)crc32(0, NULL, 0);
#ifdef HAVE_NETTLE
    if (hash->library)
        hash->library->init(hash->context);
#endif
}

static void hash_add(struct hash *hash, const uint8_t *bytes, size_t n)
{
#ifdef HAVE_NETTLE
    if (hash->library) {
        hash->library->update(hash->context, n, bytes);
        return;
    }
#endif
    hash->crc = is_crc32c(hash) ? crc32c(hash->crc, bytes, n) : (uint32_t)crc32(hash->crc, bytes, (uInt)n);
}

static void hash_end(struct hash *hash, char hex[2 * MAX_DIGEST + 1])
{
    uint8_t digest[MAX_DIGEST];
    store_be32(digest, is_crc32c(hash) ? ~hash->crc : hash->crc);
#ifdef HAVE_NETTLE
    if (hash->library)
        hash->library->digest(hash->context, hash->size, digest);
#endif
    for (size_t i = 0; i < hash->size; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static void hash_free(struct hash *hash)
{
#ifdef HAVE_NETTLE
    free(hash->context);
#endif
    (void)hash;
}

struct sum {
    struct session *session;
    struct call *call;
    struct output *out;
    struct report *list;
    struct hash hash;
    uint8_t *buf;
    bool quiet, status; /* of -c */
    uint64_t bad, unreadable, wrong_lines;
};

static bool hash_reader(struct sum *sum, struct reader *reader, char *hex, struct error *err)
{
    size_t got = 1;
    hash_begin(&sum->hash);
    for (uint64_t off = 0; got; off += got) {
        if (!reader_read(reader, off, sum->buf, READER_CHUNK, &got, err))
            return false;
        if (got)
            hash_add(&sum->hash, sum->buf, got);
        if (reader->size != UINT64_MAX)
            session_progress(sum->session, reader->typed, off, reader->size);
    }
    hash_end(&sum->hash, hex);
    return true;
}

static bool print_sum(struct reader *reader, void *arg, struct error *err)
{
    struct sum *sum = arg;
    char hex[2 * MAX_DIGEST + 1];
    if (!hash_reader(sum, reader, hex, err))
        return false;
    if (sum->list) {
        report_open(sum->list, NULL);
        report_text(sum->list, "path", reader->typed);
        report_text(sum->list, "algorithm", sum->hash.name);
        report_text(sum->list, "sum", hex);
        report_close(sum->list);
        return true;
    }
    output_printf(sum->out, "%s  ", hex);
    output_name(sum->out, reader->typed);
    output_write(sum->out, "\n", 1);
    return true;
}

/* ---- checking -------------------------------------------------------------------------------------------
 */

static void print_verdict(struct sum *sum, const char *name, const char *verdict, bool good)
{
    if (sum->list) {
        report_open(sum->list, NULL);
        report_text(sum->list, "path", name);
        report_text(sum->list, "verdict", verdict);
        report_close(sum->list);
        return;
    }
    if (sum->status || (sum->quiet && good))
        return;
    output_name(sum->out, name);
    output_printf(sum->out, ": %s\n", verdict);
}

static bool check_file(struct sum *sum, const char *wanted, const char *name, struct error *err)
{
    struct reader reader;
    char hex[2 * MAX_DIGEST + 1] = "";
    bool ok = reader_open(sum->session, sum->call, name, &reader, err) && hash_reader(sum, &reader, hex, err);
    reader_close(&reader);
    if (!ok && (err->kind == E_INTERRUPTED || err->kind == E_NOMEM))
        return false;
    if (!ok) {
        sum->unreadable++;
        call_complain(sum->call, NULL, err);
        print_verdict(sum, name, "FAILED open or read", false);
        return true;
    }
    bool good = strcasecmp(hex, wanted) == 0;
    sum->bad += !good;
    print_verdict(sum, name, good ? "OK" : "FAILED", good);
    return true;
}

/* "HEX  NAME" or "HEX *NAME"; the length of the digits tells the algorithm when none was chosen. */
static bool check_line(struct sum *sum, char *line, struct error *err)
{
    size_t digits = strspn(line, "0123456789abcdefABCDEF");
    bool good = digits > 0 && line[digits] == ' ' && (line[digits + 1] == ' ' || line[digits + 1] == '*') &&
                line[digits + 2];
    if (good && digits != 2 * sum->hash.size && !call_value(sum->call, "a")) {
        const char *name = digits == 8     ? "crc32"
                           : digits == 32  ? "md5"
                           : digits == 40  ? "sha1"
                           : digits == 56  ? "sha224"
                           : digits == 96  ? "sha384"
                           : digits == 128 ? "sha512"
                                           : "sha256";
        hash_free(&sum->hash);
        if (!hash_choose(&sum->hash, name, err))
            return false;
    }
    if (!good || digits != 2 * sum->hash.size) {
        sum->wrong_lines++;
        return true;
    }
    line[digits] = 0;
    return check_file(sum, line, line + digits + 2, err);
}

static bool check_list(struct reader *reader, void *arg, struct error *err)
{
    struct sum *sum = arg;
    struct text text = {0};
    char chunk[4096];
    size_t got = 1;
    bool ok = true;
    for (uint64_t off = 0; ok && got; off += got) {
        ok = reader_read(reader, off, chunk, sizeof chunk, &got, err);
        if (ok)
            text_add(&text, chunk, got);
    }
    ok = ok && text_ok(&text, err);
    for (char *line = ok ? text.bytes : NULL; ok && line && *line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end++ = 0;
        size_t len = strlen(line);
        if (len && line[len - 1] == '\r')
            line[len - 1] = 0;
        ok = !*line || line[0] == '#' || check_line(sum, line, err);
        line = end;
    }
    text_free(&text);
    return ok;
}

static bool check_verdict(struct sum *sum, struct error *err)
{
    if (sum->wrong_lines)
        call_note(sum->call, "%" PRIu64 " lines are not checksums", sum->wrong_lines);
    if (sum->bad)
        return fail(err, E_FAILED, "%" PRIu64 " computed checksums did not match", sum->bad);
    return call_result(sum->call, err);
}

static bool run_sum(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct sum sum = {.session = session,
                      .call = call,
                      .out = out,
                      .quiet = call_has(call, "quiet"),
                      .status = call_has(call, "status")};
    const char *name = call_value(call, "a");
#ifdef HAVE_NETTLE
    static const char usual[] = "sha256";
#else
    static const char usual[] = "crc32";
#endif
    bool ok = hash_choose(&sum.hash, name ? name : usual, err);
    if (ok && output_json(out))
        sum.list = output_report_list(out);
    sum.buf = ok ? mem_new(READER_CHUNK, err) : NULL;
    ok = sum.buf && each_reader(session, call, 0, call_has(call, "c") ? check_list : print_sum, &sum, err);
    if (ok && call_has(call, "c"))
        ok = check_verdict(&sum, err);
    free(sum.buf);
    hash_free(&sum.hash);
    return ok;
}

static const struct arg sum_args[] = {
    {"FILE", ARG_PLACE, ARG_ANY, "files of the image, or a device (2:, 0:, file:); - is the input", NULL},
    {0},
};

static const struct flag sum_flags[] = {
    {'a', "algorithm", "NAME", ARG_WORD,
     "crc32, crc32c, md5, sha1, sha224, sha256 (default), sha384, sha512, sha3_256"},
    {'c', "check", NULL, ARG_WORD, "read checksums and names from FILE and check them"},
    {0, "quiet", NULL, ARG_WORD, "with -c: name only what failed"},
    {0, "status", NULL, ARG_WORD, "with -c: print nothing: the status tells"},
    {0},
};

const struct command sum_command = {
    .name = "sum",
    .group = "Files",
    .summary = "print or check checksums",
    .details = "The lines are those of sha256sum and its like, so either can check what the other printed.",
    .examples = "sum -a sha256 /boot/*\nsum -c < SHA256SUMS\nsum 2:",
    .args = sum_args,
    .flags = sum_flags,
    .needs = READS_INPUT,
    .run = run_sum,
};
