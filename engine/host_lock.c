#include "host_lock.h"

#include "bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* QEMU's permissions are bits of a word; the bit's number is added to one of the two bases. */
enum permission { PERM_CONSISTENT_READ = 0, PERM_WRITE = 1, PERM_RESIZE = 3 };
enum { USED = 100, NOT_SHARED = 200 };

struct lock_set {
    const uint8_t *held, *probed; /* end with 0; probed in the order of the better explanation */
};

static const uint8_t read_held[] = {USED + PERM_CONSISTENT_READ, NOT_SHARED + PERM_WRITE,
                                    NOT_SHARED + PERM_RESIZE, 0};
static const uint8_t read_probed[] = {USED + PERM_WRITE, USED + PERM_RESIZE,
                                      NOT_SHARED + PERM_CONSISTENT_READ, 0};
static const uint8_t write_held[] = {USED + PERM_CONSISTENT_READ, USED + PERM_WRITE,
                                     USED + PERM_RESIZE,          NOT_SHARED + PERM_WRITE,
                                     NOT_SHARED + PERM_RESIZE,    0};
static const uint8_t write_probed[] = {
    USED + PERM_WRITE,       USED + PERM_RESIZE,       NOT_SHARED + PERM_CONSISTENT_READ,
    NOT_SHARED + PERM_WRITE, NOT_SHARED + PERM_RESIZE, 0};

static const struct lock_set lock_sets[] = {
    [HOST_LOCK_READ] = {read_held, read_probed},
    [HOST_LOCK_WRITE] = {write_held, write_probed},
};

/* The host's filesystem or kernel knows no such locks: there is nothing to respect either. */
static bool no_locks_here(int errnum)
{
    return errnum == EINVAL || errnum == ENOSYS || errnum == EOPNOTSUPP;
}

static int lock_byte(int fd, int command, short type, off_t start, off_t len, struct flock *out)
{
    *out = (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    int result;
    do
        result = fcntl(fd, command, out);
    while (result < 0 && errno == EINTR);
    return result < 0 ? errno : 0;
}

bool host_lock_hold(int fd, enum host_lock_mode mode, struct error *err)
{
    struct flock lock;
    for (const uint8_t *byte = lock_sets[mode].held; *byte; byte++) {
        int errnum = lock_byte(fd, F_OFD_SETLK, F_RDLCK, *byte, 1, &lock);
        if (errnum == EAGAIN || errnum == EACCES)
            return fail(err, E_LOCKED, "another program holds it exclusively");
        if (errnum && !no_locks_here(errnum))
            return fail_errno(err, errnum, "cannot lock it");
    }
    return true;
}

void host_lock_drop(int fd)
{
    struct flock lock;
    (void)lock_byte(fd, F_OFD_SETLK, F_UNLCK, USED, NOT_SHARED + 100 - USED, &lock);
}

/* True when the description behind /proc/PID/fdinfo/FD holds a lock on the byte. */
static bool fdinfo_holds(const char *path, unsigned byte)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    char line[256];
    bool found = false;
    while (!found && fgets(line, sizeof line, file)) {
        unsigned long long first, last;
        /* lock: 1: OFDLCK  ADVISORY  READ -1 08:01:1234 100 101 */
        if (sscanf(line, "lock: %*s %*s %*s %*s %*s %*s %llu %llu", &first, &last) == 2)
            found = first <= byte && byte <= last;
    }
    fclose(file);
    return found;
}

static bool process_holds(const char *pid, const struct stat *image, int own_fd, unsigned byte)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *dir = opendir(path);
    if (!dir)
        return false;
    bool found = false, own = strtol(pid, NULL, 10) == getpid();
    for (struct dirent *entry; !found && (entry = readdir(dir));) {
        struct stat st;
        if (entry->d_name[0] == '.' || (own && strtol(entry->d_name, NULL, 10) == own_fd))
            continue;
        if (fstatat(dirfd(dir), entry->d_name, &st, 0) < 0 || st.st_ino != image->st_ino ||
            st.st_dev != image->st_dev)
            continue;
        snprintf(path, sizeof path, "/proc/%.20s/fdinfo/%.20s", pid, entry->d_name);
        found = fdinfo_holds(path, byte);
    }
    closedir(dir);
    return found;
}

static void process_name(const char *pid, char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    FILE *file = fopen(path, "re");
    if (!file || !fgets(out, (int)size, file))
        snprintf(out, size, "a process");
    if (file)
        fclose(file);
    out[strcspn(out, "\n")] = '\0';
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = '?';
}

/*
 * ": NAME (pid N)" of the holder, or nothing when it cannot be found: the kernel does not tell whose an open
 * file description is, so the processes that may be looked into are searched for it.
 */
static void describe_holder(int fd, unsigned byte, char *out, size_t size)
{
    struct stat image;
    DIR *dir = opendir("/proc");
    out[0] = '\0';
    if (dir && fstat(fd, &image) == 0) {
        for (struct dirent *entry; out[0] == '\0' && (entry = readdir(dir));) {
            char name[64];
            if (entry->d_name[0] < '1' || entry->d_name[0] > '9' ||
                !process_holds(entry->d_name, &image, fd, byte))
                continue;
            process_name(entry->d_name, name, sizeof name);
            snprintf(out, size, ": %s (pid %.20s)", name, entry->d_name);
        }
    }
    if (dir)
        closedir(dir);
}

static const char *explain_byte(unsigned byte)
{
    switch (byte) {
    case USED + PERM_WRITE:
    case USED + PERM_RESIZE:
        return "another program holds it for writing";
    case NOT_SHARED + PERM_WRITE:
    case NOT_SHARED + PERM_RESIZE:
        return "another program is reading it and does not let it be changed";
    default:
        return "another program holds it exclusively";
    }
}

bool host_lock_probe(int fd, enum host_lock_mode mode, struct error *err)
{
    struct flock lock;
    for (const uint8_t *byte = lock_sets[mode].probed; *byte; byte++) {
        int errnum = lock_byte(fd, F_OFD_GETLK, F_WRLCK, *byte, 1, &lock);
        if (no_locks_here(errnum))
            return true;
        if (errnum)
            return fail_errno(err, errnum, "cannot look for locks of other programs");
        if (lock.l_type != F_UNLCK) {
            char holder[128];
            describe_holder(fd, *byte, holder, sizeof holder);
            return fail(err, E_LOCKED, "%s%s", explain_byte(*byte), holder);
        }
    }
    return true;
}
