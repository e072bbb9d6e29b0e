#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
#include "host_file.h"
#include "journal.h"
#include "journal_form.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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
    char *group;    /* the marker that it names, or NULL */
};

static void reader_close(struct reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    free(reader->path);
    free(reader->data);
    free(reader->group);
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

/* True: there is a sound header. False with E_OK: none was written yet, or not all of it. */
static bool take_header(struct reader *reader, struct error *err)
{
    uint8_t *raw = reader->header;
    size_t n = (size_t)MIN_OF(reader->size, (uint64_t)HEADER_BYTES);
    reader->at = 0;
    if (!take(reader, raw, n, err))
        return false;
    if (memcmp(raw, JOURNAL_MAGIC, MIN_OF(n, (size_t)header_width_magic)) != 0)
        /* Its first sector may have been lost, and only that. */
        return all_zero(raw, MIN_OF(n, (size_t)SECTOR))
                   ? false
                   : fail(err, E_DAMAGED, "%s is not a journal of dish; move it away", reader->path);
    if (n < HEADER_BYTES)
        return false;
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
    if (type == RECORD_GROUP)
        return off == 0 && len > 0 && len <= GROUP_NAME_MAX && reader->records == 0;
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

static bool keep_group(struct reader *reader, size_t n, struct error *err)
{
    free(reader->group);
    reader->group = mem_string_n((const char *)reader->data, n, err);
    return reader->group != NULL;
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
    size_t n = type == RECORD_WRITE || type == RECORD_GROUP ? (size_t)record_length(raw) : 0;
    if (!take(reader, reader->data, n, err))
        return 0;
    reader->heads = crc32c(reader->heads, raw, RECORD_BYTES);
    reader->records++;
    uint32_t stored = (uint32_t)record_checksum(raw);
    record_set_checksum(raw, 0);
    uint32_t computed =
        crc32c(crc32c((uint32_t)header_seed(reader->header), raw, RECORD_BYTES), reader->data, n);
    if (computed != stored)
        return 0;
    return type != RECORD_GROUP || keep_group(reader, n, err) ? type : 0;
}

static bool rewind_records(struct reader *reader, struct error *err)
{
    reader->records = 0;
    reader->heads = 0;
    reader->reach = 0;
    return take_header(reader, err);
}

/* True when all of it is there; false with E_OK when it is not. */
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

/* What the image may be: a mixture of both states, or purely one of them. */
enum image_state { STATE_MIXED, STATE_BEFORE, STATE_AFTER };

static bool check_size(struct reader *reader, enum image_state state, struct error *err)
{
    uint64_t before = header_size_before(reader->header), after = commit_size_after(reader->commit);
    uint64_t low = MIN_OF(before, after), high = MAX_OF(before, after);
    if (reader->reach > high)
        return fail(err, E_DAMAGED, "%s: a record reaches past the image's end", reader->path);
    if (state == STATE_BEFORE)
        low = high = before;
    if (state == STATE_AFTER)
        low = high = after;
    if (reader->file->size < low || reader->file->size > high)
        return foreign(reader, "its size differs", err);
    return true;
}

static bool check_head(struct reader *reader, enum image_state state, struct error *err)
{
    uint8_t sums[SUMS_BYTES];
    if (!journal_read_padded(reader->file, 0, reader->data, HEAD_BYTES, err))
        return false;
    journal_sum_sectors(reader->data, sums);
    for (unsigned i = 0; i < HEAD_SECTORS; i++) {
        uint32_t now = load_le32(sums + 4 * i);
        bool before = now == load_le32(header_sums_before(reader->header) + 4 * i);
        bool after = now == load_le32(commit_sums_after(reader->commit) + 4 * i);
        bool mixed = before || after || all_zero(reader->data + i * SECTOR, SECTOR);
        if (!(state == STATE_BEFORE ? before : state == STATE_AFTER ? after : mixed))
            return foreign(reader, "its first sectors differ", err);
    }
    return true;
}

/* A record's first sector: the bytes before, or the bytes that come, or zeros of a punch that came first. */
static bool check_record(struct reader *reader, enum image_state state, struct error *err)
{
    uint8_t now[SECTOR];
    size_t n = (size_t)MIN_OF(record_length(reader->head), (uint64_t)SECTOR);
    if (!journal_read_padded(reader->file, record_offset(reader->head), now, n, err))
        return false;
    bool before = crc32c(~0u, now, n) == record_before(reader->head);
    bool after = memcmp(now, reader->data, n) == 0;
    bool mixed = before || after || all_zero(now, n);
    return (state == STATE_BEFORE  ? before
            : state == STATE_AFTER ? after
                                   : mixed) ||
           foreign(reader, "its contents differ", err);
}

static bool check_records(struct reader *reader, enum image_state state, struct error *err)
{
    if (!rewind_records(reader, err))
        return foreign(reader, "it changed meanwhile", err);
    for (;;) {
        unsigned type = take_record(reader, err);
        if (type == RECORD_COMMIT)
            return true;
        if (type == 0)
            return err->kind != E_OK ? false : foreign(reader, "it changed meanwhile", err);
        if (type == RECORD_WRITE && !check_record(reader, state, err))
            return false;
    }
}

static bool image_is(struct reader *reader, enum image_state state, struct error *err)
{
    return check_size(reader, state, err) && check_head(reader, state, err) &&
           check_records(reader, state, err);
}

/*
 * Without its group's marker a journal says nothing: either the commit did not happen, and the image is as
 * before, or it is in place everywhere, and only this journal was not yet removed. Anything else is refused.
 */
static bool judge_member(struct reader *reader, enum journal_state *state, struct error *err)
{
    char *marker = journal_marker_find(reader->group, reader->path, err);
    bool committed = marker != NULL;
    free(marker);
    if (committed)
        return image_is(reader, STATE_MIXED, err);
    if (err->kind != E_OK)
        return false;
    *state = JOURNAL_INCOMPLETE;
    if (image_is(reader, STATE_BEFORE, err) || (err->kind == E_DAMAGED && image_is(reader, STATE_AFTER, err)))
        return true;
    return err->kind == E_DAMAGED
               ? fail(err, E_DAMAGED,
                      "%s is part of an interrupted commit to several images, and %s, which says whether to "
                      "complete it, is missing",
                      reader->path, reader->group)
               : false;
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
    *state = complete ? JOURNAL_COMPLETE : JOURNAL_INCOMPLETE;
    if (complete)
        ok = reader->group ? judge_member(reader, state, err) : image_is(reader, STATE_MIXED, err);
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
        if (type == RECORD_GROUP)
            continue;
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

/* The name of the marker in a journal's first record; *name stays NULL when there is none. */
static bool marker_of(struct device *file, char **name, struct error *err)
{
    struct reader *reader;
    *name = NULL;
    if (!reader_open(file, &reader, err))
        return false;
    if (!reader)
        return true;
    bool ok = rewind_records(reader, err) && take_record(reader, err) != 0;
    if (ok && reader->group) {
        *name = reader->group;
        reader->group = NULL;
    }
    reader_close(reader);
    return ok || err->kind == E_OK;
}

/* The marker goes before the last journal, which is in place: see judge_member(). */
bool journal_remove(struct device *file, bool sync, struct error *err)
{
    char *marker;
    if (!marker_of(file, &marker, err))
        return false;
    char *path = journal_path(host_file_real_path(file), err);
    bool ok =
        path && (!marker || journal_marker_drop(marker, path, sync, err)) && journal_unlink(path, sync, err);
    free(path);
    free(marker);
    return ok;
}
