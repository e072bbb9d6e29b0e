#include "journal.h"

#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
#include "host_file.h"
#include "journal_form.h"

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

char *journal_path(const char *image_path, struct error *err)
{
    return mem_printf(err, "%s" JOURNAL_SUFFIX, image_path);
}

void journal_sum_sectors(const uint8_t *head, uint8_t *sums)
{
    for (unsigned i = 0; i < HEAD_SECTORS; i++)
        store_le32(sums + 4 * i, crc32c(~0u, head + i * SECTOR, SECTOR));
}

/* Bytes of the image, zeros past its end. */
bool journal_read_padded(struct device *file, uint64_t off, uint8_t *buf, size_t n, struct error *err)
{
    size_t there = off < file->size ? (size_t)MIN_OF((uint64_t)n, file->size - off) : 0;
    memset(buf + there, 0, n - there);
    return there == 0 || device_read(file, off, buf, there, err);
}

bool journal_unlink(const char *path, bool sync, struct error *err)
{
    if (!host_hook(HOST_UNLINK, path, 0, 0, err))
        return false;
    if (unlink(path) < 0 && errno != ENOENT)
        return fail_errno(err, errno, "cannot remove the journal %s", path);
    return !sync || host_file_sync_directory(path, err);
}

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

/* What a commit of this session that failed could not remove; the image is ours alone. */
static bool clear_incomplete(struct device *file, struct error *err)
{
    enum journal_state state;
    return journal_look(file, &state, err) &&
           (state != JOURNAL_INCOMPLETE || journal_remove(file, false, err));
}

/* The journal holds parts of the image: whoever may read or repair
 * that may do so with this, and nobody else. */
static bool make_file(struct journal *journal, struct error *err)
{
    struct stat st;
    if (!clear_incomplete(journal->file, err) || !host_hook(HOST_WRITE, journal->path, 0, 0, err))
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
    if (!journal_read_padded(journal->file, 0, journal->head, HEAD_BYTES, err))
        return false;
    memcpy(header_magic(raw), JOURNAL_MAGIC, header_width_magic);
    header_set_version(raw, VERSION);
    header_set_size_before(raw, journal->file->size);
    header_set_seed(raw, seed);
    journal_sum_sectors(journal->head, header_sums_before(raw));
    header_set_checksum(raw, crc32c(~0u, raw, sizeof raw));
    journal->seed = (uint32_t)seed;
    return put(journal, raw, sizeof raw, err);
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

/* The marker is named first, so that it is known however little of the journal there is. */
static bool put_group(struct journal *journal, struct journal_group *group, struct error *err)
{
    const char *name = journal_group_name(group);
    return journal_group_add(group, journal->path, err) &&
           put_record(journal, RECORD_GROUP, 0, strlen(name), 0, name, err);
}

bool journal_begin(struct device *file, struct journal_group *group, struct journal **out, struct error *err)
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
    if (!put_header(journal, err) || (group && !put_group(journal, group, err))) {
        journal_abort(journal);
        return false;
    }
    *out = journal;
    return true;
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
        if (!journal_read_padded(journal->file, off, old, sample, err) ||
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
    journal_sum_sectors(journal->head, commit_sums_after(raw));
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

bool journal_end(struct journal *journal, bool sync, struct error *err)
{
    bool ok = journal_unlink(journal->path, sync, err);
    journal_free(journal);
    return ok;
}

void journal_leave(struct journal *journal)
{
    journal_free(journal);
}

void journal_abort(struct journal *journal)
{
    struct error ignored;
    (void)!journal_unlink(journal->path, false, &ignored);
    journal_free(journal);
}
