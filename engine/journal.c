#include "journal.h"

#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
#include "host_file.h"
#include "layout.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define JOURNAL_SUFFIX ".dish-journal"

/*
 * How a journal knows its image after a crash in the middle of applying: the image is then a mixture, by
 * sectors, of the state before and the state after. So each of the first 128 sectors must have the checksum
 * of one or the other, the size must lie between the two sizes, and the first sector of every record must
 * hold what was there before, what comes, or zeros (a punch that was applied already).
 */
enum { SECTOR = 512, HEAD_SECTORS = 128, HEAD_BYTES = SECTOR * HEAD_SECTORS, SUMS_BYTES = HEAD_SECTORS * 4 };

#define JOURNAL_HEADER(F, T)                                                                                 \
    F(T, 0x00, 8, RAW, magic, kind_text, "\"dishjrnl\"")                                                     \
    F(T, 0x08, 4, LE, version, kind_dec, "1")                                                                \
    F(T, 0x0c, 4, LE, checksum, kind_checksum, "CRC-32C of the header with this field zero")                 \
    F(T, 0x10, 8, LE, size_before, kind_size, "image size before the commit")                                \
    F(T, 0x18, 8, LE, seed, kind_hex, "random; its low half starts every record's checksum")                 \
    F(T, 0x20, 512, RAW, sums_before, kind_bytes, "CRC-32C of each of the first 128 sectors before")

#define JOURNAL_RECORD(F, T)                                                                                 \
    F(T, 0x00, 4, LE, type, kind_dec, "1 write, 2 punch, 3 size")                                            \
    F(T, 0x04, 4, LE, checksum, kind_checksum, "CRC-32C of head and data with this field zero")              \
    F(T, 0x08, 8, LE, offset, kind_hex, "where in the image; the new size for type 3")                       \
    F(T, 0x10, 8, LE, length, kind_size, "bytes; of a write: that follow this head")                         \
    F(T, 0x18, 4, LE, before, kind_checksum, "of a write: CRC-32C of the first sector's old bytes")          \
    F(T, 0x1c, 4, LE, reserved, kind_reserved, "zero")

#define JOURNAL_COMMIT(F, T)                                                                                 \
    F(T, 0x00, 4, LE, type, kind_dec, "4")                                                                   \
    F(T, 0x04, 4, LE, checksum, kind_checksum, "CRC-32C with this field zero")                               \
    F(T, 0x08, 8, LE, size_after, kind_size, "image size after the commit")                                  \
    F(T, 0x10, 8, LE, records, kind_dec, "number of records before this one")                                \
    F(T, 0x18, 4, LE, heads, kind_checksum, "CRC-32C over all record heads")                                 \
    F(T, 0x1c, 4, LE, reserved, kind_reserved, "zero")                                                       \
    F(T, 0x20, 512, RAW, sums_after, kind_bytes, "CRC-32C of each of the first 128 sectors after")

LAYOUT_ACCESSORS(header, JOURNAL_HEADER)
LAYOUT_ACCESSORS(record, JOURNAL_RECORD)
LAYOUT_ACCESSORS(commit, JOURNAL_COMMIT)

enum { HEADER_BYTES = 0x20 + SUMS_BYTES, RECORD_BYTES = 0x20, COMMIT_BYTES = 0x20 + SUMS_BYTES };
enum { RECORD_WRITE = 1, RECORD_PUNCH = 2, RECORD_SIZE = 3, RECORD_COMMIT = 4 };
enum { VERSION = 1, BUFFER = 1 << 20, DATA_MAX = 1 << 20 };

static const char magic[8] = {'d', 'i', 's', 'h', 'j', 'r', 'n', 'l'};

static char *journal_path(const char *image_path, struct error *err)
{
    return mem_printf(err, "%s" JOURNAL_SUFFIX, image_path);
}

static void sum_sectors(const uint8_t *head, uint8_t *sums)
{
    for (unsigned i = 0; i < HEAD_SECTORS; i++)
        store_le32(sums + 4 * i, crc32c(~0u, head + i * SECTOR, SECTOR));
}

/* Bytes of the image, zeros past its end. */
static bool read_padded(struct device *file, uint64_t off, uint8_t *buf, size_t n, struct error *err)
{
    size_t there = off < file->size ? (size_t)MIN_OF((uint64_t)n, file->size - off) : 0;
    memset(buf + there, 0, n - there);
    return device_read(file, off, buf, there, err);
}

/* ---- writing ---- */

struct journal {
    struct device *file;
    char *path;
    int fd;
    uint64_t done; /* bytes handed to the host */
    uint8_t *buffer;
    size_t used;
    uint8_t *head; /* the image's first HEAD_BYTES as the commit will leave them */
    uint64_t size_after, records;
    uint32_t seed, heads;
};

static void journal_free(struct journal *journal)
{
    if (journal->fd >= 0)
        close(journal->fd);
    free(journal->path);
    free(journal->buffer);
    free(journal->head);
    free(journal);
}

bool journal_possible(const char *image_path, struct error *err)
{
    char *real = realpath(image_path, NULL);
    char *path = journal_path(real ? real : image_path, err);
    free(real);
    if (!path)
        return false;
    char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path, *dir = slash == path ? "/" : slash ? path : ".";
    struct statvfs host;
    struct stat st;
    bool ok = false;
    if (lstat(path, &st) == 0) {
        fail(err, E_EXIST, "a commit needs the name %s for its journal, and it is taken", name);
    } else {
        if (slash)
            *slash = '\0';
        if (faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) < 0)
            fail_errno(err, errno, "a commit needs to write %s beside the image", name);
        else if (statvfs(dir, &host) == 0 && strlen(name) > host.f_namemax)
            fail(err, E_NAME, "a commit needs the name %s beside the image, which is too long", name);
        else if (statvfs(dir, &host) == 0 && host.f_blocks && host.f_bavail == 0)
            fail(err, E_HOSTFULL, "a commit needs room for %s beside the image", name);
        else
            ok = true;
    }
    free(path);
    return ok;
}

static bool drain(struct journal *journal, struct error *err)
{
    if (journal->used && !host_hook(HOST_WRITE, journal->path, journal->done, journal->used, err))
        return false;
    for (size_t at = 0; at < journal->used;) {
        ssize_t n =
            pwrite(journal->fd, journal->buffer + at, journal->used - at, (off_t)(journal->done + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_errno(err, n < 0 ? errno : EIO, "cannot write the journal %s", journal->path);
        at += (size_t)n;
    }
    journal->done += journal->used;
    journal->used = 0;
    return true;
}

static bool put(struct journal *journal, const void *data, size_t n, struct error *err)
{
    const uint8_t *in = data;
    while (n > 0) {
        size_t step = MIN_OF(n, BUFFER - journal->used);
        memcpy(journal->buffer + journal->used, in, step);
        journal->used += step;
        in += step;
        n -= step;
        if (journal->used == BUFFER && !drain(journal, err))
            return false;
    }
    return true;
}

/* The journal holds parts of the image: whoever may read or repair that may do so with this, and nobody else.
 */
static bool make_file(struct journal *journal, struct error *err)
{
    struct stat st;
    if (!host_hook(HOST_WRITE, journal->path, 0, 0, err))
        return false;
    journal->fd = open(journal->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (journal->fd < 0 && errno == EEXIST)
        return fail(err, E_EXIST, "%s: a journal of another commit lies there", journal->path);
    if (journal->fd < 0)
        return fail_errno(err, errno, "cannot make the journal %s", journal->path);
    if (stat(host_file_real_path(journal->file), &st) == 0 && S_ISREG(st.st_mode)) {
        if (st.st_uid != geteuid() && fchown(journal->fd, st.st_uid, st.st_gid) < 0)
            return true; /* not ours to give away: it stays private */
        (void)!fchmod(journal->fd, st.st_mode & 0666);
    }
    return true;
}

static bool put_header(struct journal *journal, struct error *err)
{
    uint8_t raw[HEADER_BYTES] = {0};
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return fail_errno(err, errno, "no random numbers");
    if (!read_padded(journal->file, 0, journal->head, HEAD_BYTES, err))
        return false;
    memcpy(header_magic(raw), magic, sizeof magic);
    header_set_version(raw, VERSION);
    header_set_size_before(raw, journal->file->size);
    header_set_seed(raw, seed);
    sum_sectors(journal->head, header_sums_before(raw));
    header_set_checksum(raw, crc32c(~0u, raw, sizeof raw));
    journal->seed = (uint32_t)seed;
    return put(journal, raw, sizeof raw, err);
}

bool journal_begin(struct device *file, struct journal **out, struct error *err)
{
    struct journal *journal = mem_new(sizeof *journal, err);
    if (!journal)
        return false;
    journal->fd = -1;
    journal->file = file;
    journal->size_after = file->size;
    journal->path = journal_path(host_file_real_path(file), err);
    journal->buffer = journal->path ? mem_new(BUFFER, err) : NULL;
    journal->head = journal->buffer ? mem_new(HEAD_BYTES, err) : NULL;
    if (!journal->head || !make_file(journal, err)) {
        journal_free(journal);
        return false;
    }
    if (!put_header(journal, err)) {
        journal_abort(journal);
        return false;
    }
    *out = journal;
    return true;
}

static bool put_record(struct journal *journal, unsigned type, uint64_t off, uint64_t len, uint32_t before,
                       const void *data, struct error *err)
{
    uint8_t raw[RECORD_BYTES] = {0};
    record_set_type(raw, type);
    record_set_offset(raw, off);
    record_set_length(raw, len);
    record_set_before(raw, before);
    uint32_t crc = crc32c(journal->seed, raw, sizeof raw);
    record_set_checksum(raw, data ? crc32c(crc, data, (size_t)len) : crc);
    journal->heads = crc32c(journal->heads, raw, sizeof raw);
    journal->records++;
    return put(journal, raw, sizeof raw, err) && (!data || put(journal, data, (size_t)len, err));
}

/* Keep the picture of the image's first bytes after the commit; data NULL: zeros. */
static void update_head(struct journal *journal, uint64_t off, const void *data, uint64_t len)
{
    if (off >= HEAD_BYTES || len == 0)
        return;
    size_t n = (size_t)MIN_OF(len, HEAD_BYTES - off);
    if (data)
        memcpy(journal->head + off, data, n);
    else
        memset(journal->head + off, 0, n);
}

bool journal_write(struct journal *journal, uint64_t off, const void *data, size_t n, struct error *err)
{
    const uint8_t *in = data;
    while (n > 0) {
        uint8_t old[SECTOR];
        size_t step = MIN_OF(n, (size_t)DATA_MAX), sample = MIN_OF(step, sizeof old);
        if (!read_padded(journal->file, off, old, sample, err) ||
            !put_record(journal, RECORD_WRITE, off, step, crc32c(~0u, old, sample), in, err))
            return false;
        update_head(journal, off, in, step);
        in += step;
        off += step;
        n -= step;
    }
    return true;
}

bool journal_punch(struct journal *journal, uint64_t off, uint64_t len, struct error *err)
{
    update_head(journal, off, NULL, len);
    return len == 0 || put_record(journal, RECORD_PUNCH, off, len, 0, NULL, err);
}

bool journal_resize(struct journal *journal, uint64_t size, struct error *err)
{
    update_head(journal, size, NULL, HEAD_BYTES);
    journal->size_after = size;
    return put_record(journal, RECORD_SIZE, size, 0, 0, NULL, err);
}

bool journal_commit(struct journal *journal, bool sync, struct error *err)
{
    uint8_t raw[COMMIT_BYTES] = {0};
    commit_set_type(raw, RECORD_COMMIT);
    commit_set_size_after(raw, journal->size_after);
    commit_set_records(raw, journal->records);
    commit_set_heads(raw, journal->heads);
    sum_sectors(journal->head, commit_sums_after(raw));
    commit_set_checksum(raw, crc32c(journal->seed, raw, sizeof raw));
    if (!put(journal, raw, sizeof raw, err) || !drain(journal, err))
        return false;
    if (!sync)
        return true;
    if (!host_hook(HOST_SYNC, journal->path, 0, 0, err))
        return false;
    if (fsync(journal->fd) < 0)
        return fail_errno(err, errno, "cannot make the journal %s durable", journal->path);
    return host_file_sync_directory(journal->path, err);
}

static bool unlink_path(const char *path, bool sync, struct error *err)
{
    if (!host_hook(HOST_UNLINK, path, 0, 0, err))
        return false;
    if (unlink(path) < 0 && errno != ENOENT)
        return fail_errno(err, errno, "cannot remove the journal %s", path);
    return !sync || host_file_sync_directory(path, err);
}

bool journal_end(struct journal *journal, bool sync, struct error *err)
{
    bool ok = unlink_path(journal->path, sync, err);
    journal_free(journal);
    return ok;
}

void journal_abort(struct journal *journal)
{
    struct error ignored;
    (void)!unlink_path(journal->path, false, &ignored);
    journal_free(journal);
}

/* ---- reading ---- */

struct reader {
    struct device *file;
    char *path;
    int fd;
    uint64_t at, size; /* in the journal */
    uint8_t *data;     /* DATA_MAX */
    uint8_t header[HEADER_BYTES], head[RECORD_BYTES], commit[COMMIT_BYTES];
    uint64_t records;
    uint32_t heads;
    uint64_t reach; /* the end of the furthest record */
};

static void reader_close(struct reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    free(reader->path);
    free(reader->data);
    free(reader);
}

/* *out stays NULL when there is no journal. */
static bool reader_open(struct device *file, struct reader **out, struct error *err)
{
    *out = NULL;
    struct reader *reader = mem_new(sizeof *reader, err);
    if (!reader)
        return false;
    struct stat st;
    reader->file = file;
    reader->path = journal_path(host_file_real_path(file), err);
    reader->fd = reader->path ? open(reader->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    bool none = reader->path && reader->fd < 0 && (errno == ENOENT || errno == ENAMETOOLONG), ok = false;
    if (reader->path && reader->fd < 0 && !none)
        fail_errno(err, errno, "cannot read the journal %s", reader->path);
    else if (reader->fd >= 0 && fstat(reader->fd, &st) < 0)
        fail_errno(err, errno, "cannot read the journal %s", reader->path);
    else if (reader->fd >= 0 && !S_ISREG(st.st_mode))
        fail(err, E_DAMAGED, "%s is not a regular file; move it away", reader->path);
    else if (reader->fd >= 0)
        ok = (reader->data = mem_new(DATA_MAX, err)) != NULL;
    if (!ok) {
        reader_close(reader);
        return none;
    }
    reader->size = (uint64_t)st.st_size;
    *out = reader;
    return true;
}

/* False with E_OK: the journal ends before that. */
static bool take(struct reader *reader, void *buf, size_t n, struct error *err)
{
    uint8_t *out = buf;
    err->kind = E_OK;
    if (!range_inside(reader->at, n, reader->size))
        return false;
    while (n > 0) {
        ssize_t got = pread(reader->fd, out, n, (off_t)reader->at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(err, errno, "cannot read the journal %s", reader->path);
        if (got == 0)
            return false;
        out += got;
        reader->at += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

/* True: there is a sound header. False with E_OK: none was written yet. */
static bool take_header(struct reader *reader, struct error *err)
{
    uint8_t *raw = reader->header;
    reader->at = 0;
    if (!take(reader, raw, HEADER_BYTES, err))
        return false;
    if (memcmp(header_magic(raw), magic, sizeof magic) != 0)
        return all_zero(raw, HEADER_BYTES)
                   ? false
                   : fail(err, E_DAMAGED, "%s is not a journal of dish; move it away", reader->path);
    uint32_t stored = (uint32_t)header_checksum(raw);
    header_set_checksum(raw, 0);
    if (crc32c(~0u, raw, HEADER_BYTES) != stored)
        return false;
    if (header_version(raw) != VERSION)
        return fail(err, E_UNSUPPORTED, "%s has version %" PRIu64 "; this dish knows version %d",
                    reader->path, header_version(raw), VERSION);
    return true;
}

static bool record_fits(struct reader *reader, unsigned type)
{
    uint64_t off = record_offset(reader->head), len = record_length(reader->head), end;
    if (record_reserved(reader->head) != 0 || !add_u64(off, len, &end) || end > INT64_MAX)
        return false;
    reader->reach = MAX_OF(reader->reach, end);
    switch (type) {
    case RECORD_WRITE:
        return len > 0 && len <= DATA_MAX;
    case RECORD_PUNCH:
        return len > 0;
    default:
        return type == RECORD_SIZE && len == 0;
    }
}

/* The rest of a commit record whose head has been read: sound, matching, and the last thing there. */
static bool take_commit(struct reader *reader, struct error *err)
{
    uint8_t *raw = reader->commit;
    memcpy(raw, reader->head, RECORD_BYTES);
    if (!take(reader, raw + RECORD_BYTES, COMMIT_BYTES - RECORD_BYTES, err))
        return false;
    uint32_t stored = (uint32_t)commit_checksum(raw);
    commit_set_checksum(raw, 0);
    return crc32c((uint32_t)header_seed(reader->header), raw, COMMIT_BYTES) == stored &&
           commit_records(raw) == reader->records && commit_heads(raw) == reader->heads &&
           commit_reserved(raw) == 0 && reader->at == reader->size;
}

/*
 * The next record, its data in reader->data. RECORD_COMMIT: the end of a complete journal. 0 with E_OK: the
 * journal is cut or torn here; 0 with an error: it cannot be read.
 */
static unsigned take_record(struct reader *reader, struct error *err)
{
    uint8_t *raw = reader->head;
    if (!take(reader, raw, RECORD_BYTES, err))
        return 0;
    unsigned type = (unsigned)record_type(raw);
    if (type == RECORD_COMMIT)
        return take_commit(reader, err) ? type : 0;
    if (!record_fits(reader, type))
        return 0;
    size_t n = type == RECORD_WRITE ? (size_t)record_length(raw) : 0;
    if (!take(reader, reader->data, n, err))
        return 0;
    reader->heads = crc32c(reader->heads, raw, RECORD_BYTES);
    reader->records++;
    uint32_t stored = (uint32_t)record_checksum(raw);
    record_set_checksum(raw, 0);
    return crc32c(crc32c((uint32_t)header_seed(reader->header), raw, RECORD_BYTES), reader->data, n) == stored
               ? type
               : 0;
}

static bool rewind_records(struct reader *reader, struct error *err)
{
    reader->records = 0;
    reader->heads = 0;
    reader->reach = 0;
    return take_header(reader, err);
}

/* True when the journal is complete; false with E_OK when it is not. */
static bool scan(struct reader *reader, struct error *err)
{
    if (!rewind_records(reader, err))
        return false;
    for (;;) {
        if (!interrupt_check(err))
            return false;
        unsigned type = take_record(reader, err);
        if (type == 0 || type == RECORD_COMMIT)
            return type == RECORD_COMMIT;
    }
}

static bool foreign(struct reader *reader, const char *what, struct error *err)
{
    return fail(
        err, E_DAMAGED,
        "%s holds an interrupted commit of another state of the image (%s); move it away to give that "
        "commit up",
        reader->path, what);
}

static bool check_size(struct reader *reader, struct error *err)
{
    uint64_t before = header_size_before(reader->header), after = commit_size_after(reader->commit);
    uint64_t low = MIN_OF(before, after), high = MAX_OF(before, after);
    if (reader->file->size < low || reader->file->size > high)
        return foreign(reader, "its size differs", err);
    if (reader->reach > high)
        return fail(err, E_DAMAGED, "%s: a record reaches past the image's end", reader->path);
    return true;
}

static bool check_head(struct reader *reader, struct error *err)
{
    uint8_t sums[SUMS_BYTES];
    if (!read_padded(reader->file, 0, reader->data, HEAD_BYTES, err))
        return false;
    sum_sectors(reader->data, sums);
    for (unsigned i = 0; i < HEAD_SECTORS; i++) {
        uint32_t now = load_le32(sums + 4 * i);
        if (now != load_le32(header_sums_before(reader->header) + 4 * i) &&
            now != load_le32(commit_sums_after(reader->commit) + 4 * i) &&
            !all_zero(reader->data + i * SECTOR, SECTOR))
            return foreign(reader, "its first sectors differ", err);
    }
    return true;
}

/* Each record's first sector: the bytes before, the bytes that come, or zeros. */
static bool check_records(struct reader *reader, struct error *err)
{
    if (!rewind_records(reader, err))
        return foreign(reader, "it changed meanwhile", err);
    for (;;) {
        uint8_t now[SECTOR];
        unsigned type = take_record(reader, err);
        if (type == RECORD_COMMIT)
            return true;
        if (type == 0)
            return err->kind != E_OK ? false : foreign(reader, "it changed meanwhile", err);
        if (type != RECORD_WRITE)
            continue;
        size_t n = (size_t)MIN_OF(record_length(reader->head), (uint64_t)SECTOR);
        if (!read_padded(reader->file, record_offset(reader->head), now, n, err))
            return false;
        if (crc32c(~0u, now, n) != record_before(reader->head) && memcmp(now, reader->data, n) != 0 &&
            !all_zero(now, n))
            return foreign(reader, "its contents differ", err);
    }
}

bool journal_look(struct device *file, enum journal_state *state, struct error *err)
{
    struct reader *reader;
    *state = JOURNAL_NONE;
    if (!reader_open(file, &reader, err))
        return false;
    if (!reader)
        return true;
    bool complete = scan(reader, err), ok = complete || err->kind == E_OK;
    if (complete)
        ok = check_size(reader, err) && check_head(reader, err) && check_records(reader, err);
    *state = complete ? JOURNAL_COMPLETE : JOURNAL_INCOMPLETE;
    reader_close(reader);
    return ok;
}

static bool replay(struct reader *reader, journal_record_fn *apply, void *arg, struct error *err)
{
    if (!rewind_records(reader, err))
        return foreign(reader, "it changed meanwhile", err);
    for (;;) {
        unsigned type = take_record(reader, err);
        uint64_t off = record_offset(reader->head), len = record_length(reader->head);
        if (type == RECORD_COMMIT)
            return true;
        if (type == 0)
            return err->kind != E_OK ? false : foreign(reader, "it changed meanwhile", err);
        if (!apply(off, type == RECORD_WRITE ? reader->data : NULL, type == RECORD_SIZE ? 0 : len, arg, err))
            return false;
    }
}

bool journal_replay(struct device *file, journal_record_fn *apply, void *arg, struct error *err)
{
    struct reader *reader;
    if (!reader_open(file, &reader, err))
        return false;
    if (!reader)
        return fail(err, E_NOENT, "the journal of %s is gone", host_file_path(file));
    /* Once more from end to end before the first byte is changed. */
    bool ok = scan(reader, err);
    if (!ok && err->kind == E_OK)
        foreign(reader, "it changed meanwhile", err);
    ok = ok && replay(reader, apply, arg, err);
    reader_close(reader);
    return ok;
}

bool journal_remove(struct device *file, bool sync, struct error *err)
{
    char *path = journal_path(host_file_real_path(file), err);
    bool ok = path && unlink_path(path, sync, err);
    free(path);
    return ok;
}
