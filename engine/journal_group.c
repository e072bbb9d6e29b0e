/* The marker that commits several journals at once. */
#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
#include "host_file.h"
#include "journal.h"
#include "journal_form.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER_PREFIX ".dish-commit-"

struct journal_group {
    char *path;
    uint8_t *names; /* of the journals, each with a NUL */
    size_t used, capacity;
    bool written;
};

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool journal_group_new(const char *path, struct journal_group **out, struct error *err)
{
    uint64_t id;
    if (getrandom(&id, sizeof id, 0) != sizeof id)
        return fail_errno(err, errno, "no random numbers");
    struct journal_group *group = mem_new(sizeof *group, err);
    if (!group)
        return false;
    group->path = mem_printf(err, "%.*s" MARKER_PREFIX "%016" PRIx64, (int)(base_of(path) - path), path, id);
    if (!group->path || strlen(group->path) > GROUP_NAME_MAX) {
        if (group->path)
            fail(err, E_NAME, "the name of %s is too long", group->path);
        journal_group_free(group);
        return false;
    }
    *out = group;
    return true;
}

const char *journal_group_name(const struct journal_group *group)
{
    return group->path;
}

bool journal_group_add(struct journal_group *group, const char *journal, struct error *err)
{
    size_t n = strlen(journal) + 1;
    if (group->used + n > MARKER_MAX)
        return fail(err, E_TOOBIG, "too many images in one commit");
    if (!mem_grow(&group->names, &group->capacity, group->used + n, 1, err))
        return false;
    memcpy(group->names + group->used, journal, n);
    group->used += n;
    return true;
}

static bool write_marker(int fd, const char *path, const uint8_t *raw, size_t n, struct error *err)
{
    if (!host_hook(HOST_WRITE, path, 0, n, err))
        return false;
    for (size_t done = 0; done < n;) {
        ssize_t step = pwrite(fd, raw + done, n - done, (off_t)done);
        if (step < 0 && errno == EINTR)
            continue;
        if (step <= 0)
            return fail_errno(err, step < 0 ? errno : EIO, "cannot write %s", path);
        done += (size_t)step;
    }
    return true;
}

static bool make_durable(int fd, const char *path, struct error *err)
{
    if (!host_hook(HOST_SYNC, path, 0, 0, err))
        return false;
    if (fsync(fd) < 0)
        return fail_errno(err, errno, "cannot make %s durable", path);
    return host_file_sync_directory(path, err);
}

bool journal_group_commit(struct journal_group *group, bool sync, struct error *err)
{
    size_t n = MARKER_BYTES + group->used;
    uint8_t *raw = mem_new(n, err);
    if (!raw || !host_hook(HOST_WRITE, group->path, 0, 0, err)) {
        free(raw);
        return false;
    }
    memcpy(marker_magic(raw), MARKER_MAGIC, marker_width_magic);
    marker_set_length(raw, group->used);
    if (group->used > 0)
        memcpy(raw + MARKER_BYTES, group->names, group->used);
    marker_set_checksum(raw, crc32c(~0u, raw, n));
    int fd = open(group->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool ok = fd >= 0 || fail_errno(err, errno, "cannot make %s", group->path);
    group->written = fd >= 0;
    ok = ok && write_marker(fd, group->path, raw, n, err) && (!sync || make_durable(fd, group->path, err));
    if (fd >= 0)
        close(fd);
    free(raw);
    return ok;
}

bool journal_group_done(struct journal_group *group, bool sync, struct error *err)
{
    if (group->written && !journal_unlink(group->path, sync, err))
        return false;
    group->written = false;
    return true;
}

void journal_group_free(struct journal_group *group)
{
    if (!group)
        return;
    free(group->path);
    free(group->names);
    free(group);
}

/* ---- at the next open ---- */

/* The names of a sound marker, with their length; NULL with E_OK: there is none. */
static uint8_t *read_marker(const char *path, size_t *length, struct error *err)
{
    struct stat st;
    uint8_t *raw = NULL;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    err->kind = E_OK;
    if (fd < 0 && errno != ENOENT)
        fail_errno(err, errno, "cannot read %s", path);
    if (fd < 0)
        return NULL;
    bool sound = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= MARKER_BYTES &&
                 st.st_size <= MARKER_BYTES + MARKER_MAX;
    size_t n = sound ? (size_t)st.st_size : 0;
    raw = sound ? mem_new(n, err) : NULL;
    if (raw && pread(fd, raw, n, 0) == (ssize_t)n) {
        uint32_t stored = (uint32_t)marker_checksum(raw);
        marker_set_checksum(raw, 0);
        sound = memcmp(raw, MARKER_MAGIC, marker_width_magic) == 0 && crc32c(~0u, raw, n) == stored &&
                marker_length(raw) == n - MARKER_BYTES;
    } else {
        sound = false;
    }
    close(fd);
    if (!sound) {
        free(raw);
        return NULL;
    }
    *length = n - MARKER_BYTES;
    memmove(raw, raw + MARKER_BYTES, *length);
    return raw;
}

char *journal_marker_find(const char *name, const char *journal, struct error *err)
{
    size_t length;
    char *beside = mem_printf(err, "%.*s%s", (int)(base_of(journal) - journal), journal, base_of(name));
    char *there = beside ? mem_string(name, err) : NULL, *found = NULL;
    char *const places[] = {beside, there};
    for (size_t i = 0; there && !found && i < ARRAY_LEN(places); i++) {
        uint8_t *names = read_marker(places[i], &length, err);
        if (!names && err->kind != E_OK)
            break;
        found = names ? places[i] : NULL;
        free(names);
    }
    if (found != beside)
        free(beside);
    if (found != there)
        free(there);
    return found;
}

/* Where it was, or beside the marker, should all have been moved together. */
static bool exists(const char *journal, const char *marker)
{
    char path[PATH_MAX];
    if (access(journal, F_OK) == 0)
        return true;
    int n = snprintf(path, sizeof path, "%.*s%s", (int)(base_of(marker) - marker), marker, base_of(journal));
    return n < (int)sizeof path && access(path, F_OK) == 0;
}

static bool names_others(const uint8_t *names, size_t length, const char *marker, const char *journal)
{
    for (size_t at = 0; at < length && memchr(names + at, '\0', length - at);) {
        const char *name = (const char *)names + at;
        if (strcmp(base_of(name), base_of(journal)) != 0 && exists(name, marker))
            return true;
        at += strlen(name) + 1;
    }
    return false;
}

/* A marker that is not sound, because its writing was cut, is none: it goes as well. */
static bool drop_at(const char *marker, const char *journal, bool sync, struct error *err)
{
    size_t length;
    uint8_t *names = read_marker(marker, &length, err);
    if (!names && err->kind != E_OK)
        return false;
    bool others = names && names_others(names, length, marker, journal);
    free(names);
    return others || access(marker, F_OK) != 0 || journal_unlink(marker, sync, err);
}

bool journal_marker_drop(const char *name, const char *journal, bool sync, struct error *err)
{
    if (strncmp(base_of(name), MARKER_PREFIX, strlen(MARKER_PREFIX)) != 0)
        return true;
    char *beside = mem_printf(err, "%.*s%s", (int)(base_of(journal) - journal), journal, base_of(name));
    bool ok = beside && drop_at(beside, journal, sync, err) && drop_at(name, journal, sync, err);
    free(beside);
    return ok;
}
