/* sum: checksums of files, printed and checked. */
#include "alloc.h"
#include "blake2.h"
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
    struct blake2b blake2b;
#ifdef HAVE_NETTLE
    const struct nettle_hash *library;
    void *context;
#endif
};

static const char all_names[] = "crc32, crc32c, blake2b"
#ifdef HAVE_NETTLE
                                ", md5, sha1, sha224, sha256, sha384, sha512, sha3_256, sha3_512"
#endif
    ;

static bool is_blake2b(const struct hash *hash)
{
    return strcmp(hash->name, "blake2b") == 0 || strcmp(hash->name, "b2") == 0;
}

static bool hash_choose(struct hash *hash, const char *name, struct error *err)
{
    *hash = (struct hash){.name = name};
    if (strcmp(name, "crc32") == 0 || strcmp(name, "crc32c") == 0) {
        hash->size = 4;
        return true;
    }
    if (is_blake2b(hash)) {
        hash->size = BLAKE2B_SIZE;
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
    if (is_blake2b(hash))
        blake2b_init(&hash->blake2b);
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
    if (is_blake2b(hash)) {
        blake2b_update(&hash->blake2b, bytes, n);
        return;
    }
    hash->crc = is_crc32c(hash) ? crc32c(hash->crc, bytes, n) : (uint32_t)crc32(hash->crc, bytes, (uInt)n);
}

static void hash_end(struct hash *hash, char hex[2 * MAX_DIGEST + 1])
{
    uint8_t digest[MAX_DIGEST];
    if (is_blake2b(hash))
        blake2b_final(&hash->blake2b, digest);
    else
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

/* The names that --tag lines have. */
static const char *const tags[][2] = {{"MD5", "md5"},           {"SHA1", "sha1"},        {"SHA224", "sha224"},
                                      {"SHA256", "sha256"},     {"SHA384", "sha384"},    {"SHA512", "sha512"},
                                      {"BLAKE2b", "blake2b"},   {"CRC32C", "crc32c"},    {"CRC32", "crc32"},
                                      {"SHA3-256", "sha3_256"}, {"SHA3-512", "sha3_512"}};

static const char *tag_of(const struct hash *hash)
{
    for (size_t i = 0; i < ARRAY_LEN(tags); i++)
        if (strcmp(hash->name, tags[i][1]) == 0)
            return tags[i][0];
    return hash->name;
}

struct sum {
    struct session *session;
    struct call *call;
    struct output *out;
    struct report *list;
    struct hash hash;
    uint8_t *buf;
    bool tag;
    bool quiet, status, ignore_missing, strict; /* of -c */
    uint64_t bad, unreadable, wrong_lines, checked;
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

/* As sha256sum does: a name that would break the line is escaped, and a backslash in front says so. */
static void print_line(struct sum *sum, const char *hex, const char *name)
{
    struct text text = {0};
    bool escape = strpbrk(name, "\n\r\\") != NULL;
    for (const char *p = name; *p; p++) {
        bool special = *p == '\n' || *p == '\r' || *p == '\\';
        text_string(&text, special ? "\\" : "");
        text_char(&text, *p == '\n' ? 'n' : *p == '\r' ? 'r' : *p);
    }
    output_printf(sum->out, "%s", escape ? "\\" : "");
    if (sum->tag)
        output_printf(sum->out, "%s (", tag_of(&sum->hash));
    else
        output_printf(sum->out, "%s  ", hex);
    output_name(sum->out, text_get(&text));
    if (sum->tag)
        output_printf(sum->out, ") = %s", hex);
    output_write(sum->out, "\n", 1);
    text_free(&text);
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
    print_line(sum, hex, reader->typed);
    return true;
}

/* ---- checking ------------------------------------------------------------------------------------------ */

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
    if (!ok && sum->ignore_missing && err->kind == E_NOENT)
        return true;
    sum->checked++;
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

/* Another algorithm than before. */
static bool switch_to(struct sum *sum, const char *name, struct error *err)
{
    if (strcmp(sum->hash.name, name) == 0)
        return true;
    hash_free(&sum->hash);
    return hash_choose(&sum->hash, name, err);
}

static void unescape(char *name)
{
    char *to = name;
    for (const char *p = name; *p; p++) {
        bool escaped = p[0] == '\\' && p[1];
        p += escaped;
        *to++ = !escaped ? *p : *p == 'n' ? '\n' : *p == 'r' ? '\r' : *p;
    }
    *to = 0;
}

/* "SHA256 (NAME) = HEX"; *wrong when it is not such a line. */
static bool check_tagged(struct sum *sum, char *line, bool *wrong, struct error *err)
{
    char *open = strstr(line, " ("), *close = NULL;
    for (char *p = open; p && (p = strstr(p, ") = ")); p++)
        close = p;
    const char *name = NULL;
    for (size_t i = 0; close && i < ARRAY_LEN(tags); i++)
        if (strlen(tags[i][0]) == (size_t)(open - line) &&
            strncmp(line, tags[i][0], (size_t)(open - line)) == 0)
            name = tags[i][1];
    *wrong = !name;
    if (*wrong)
        return true;
    if (!switch_to(sum, name, err))
        return false;
    const char *hex = close + 4;
    *wrong = strlen(hex) != 2 * sum->hash.size || strspn(hex, "0123456789abcdefABCDEF") != strlen(hex);
    *close = 0;
    return *wrong || check_file(sum, hex, open + 2, err);
}

/* "HEX  NAME" or "HEX *NAME"; the length of the digits tells the algorithm when none was chosen. */
static bool check_line(struct sum *sum, char *line, struct error *err)
{
    bool escaped = line[0] == '\\', wrong;
    line += escaped;
    if (escaped)
        unescape(line);
    size_t digits = strspn(line, "0123456789abcdefABCDEF");
    bool good = digits > 0 && line[digits] == ' ' && (line[digits + 1] == ' ' || line[digits + 1] == '*') &&
                line[digits + 2];
    if (!good) {
        bool ok = check_tagged(sum, line, &wrong, err);
        sum->wrong_lines += wrong;
        return ok;
    }
    if (digits != 2 * sum->hash.size && !call_value(sum->call, "a")) {
        const char *name = digits == 8     ? "crc32"
                           : digits == 32  ? "md5"
                           : digits == 40  ? "sha1"
                           : digits == 56  ? "sha224"
                           : digits == 96  ? "sha384"
                           : digits == 128 ? "sha512"
                                           : "sha256";
        if (!switch_to(sum, name, err))
            return false;
    }
    if (digits != 2 * sum->hash.size) {
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
    if (sum->wrong_lines && sum->strict)
        return fail(err, E_FAILED, "%s", "");
    if (sum->ignore_missing && !sum->checked)
        return fail(err, E_FAILED, "no file was verified");
    return call_result(sum->call, err);
}

static bool run_sum(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct sum sum = {.session = session,
                      .call = call,
                      .out = out,
                      .quiet = call_has(call, "quiet"),
                      .status = call_has(call, "status"),
                      .tag = call_has(call, "tag"),
                      .ignore_missing = call_has(call, "ignore-missing"),
                      .strict = call_has(call, "strict")};
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
    /* Files that could not be read were told; the others have their verdict all the same. */
    if (call_has(call, "c") && sum.buf && (ok || !err->message[0]))
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
     "crc32, crc32c, md5, sha1, sha224, sha256 (default), sha384, sha512, sha3_256, blake2b"},
    {'c', "check", NULL, ARG_WORD, "read checksums and names from FILE and check them"},
    {0, "tag", NULL, ARG_WORD, "lines that name the algorithm: SHA256 (FILE) = ..."},
    {'b', "binary", NULL, ARG_WORD, "read bytes as they are, as always"},
    {'t', "text", NULL, ARG_WORD, "the same"},
    {0, "ignore-missing", NULL, ARG_WORD, "with -c: pass over files that are not there"},
    {0, "strict", NULL, ARG_WORD, "with -c: lines that are no checksums make it fail"},
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
