#include "host_file_private.h"

#include "alloc.h"
#include "bytes.h"
#include "host_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The absolute name of a file that may not exist yet: its directory's real path, and its last component. */
static char *real_path_of_new(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *dir = mem_string_n(slash ? path : ".", slash ? MAX_OF((size_t)(slash - path), (size_t)1) : 1, err);
    if (!dir)
        return NULL;
    char *real = NULL, *result = NULL;
    if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        fail(err, E_ISDIR, "is a directory");
    else if (!(real = realpath(dir, NULL)))
        host_fail_open(err, true);
    else
        result = mem_printf(err, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
    free(real);
    free(dir);
    return result;
}

/* The file that will be replaced, and its mode: only a regular one, and only when nobody else uses it. */
static bool check_replaced(struct host_file *file, mode_t *mode, struct error *err)
{
    struct stat st;
    int fd = open(file->real_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT || host_fail_open(err, false);
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (ok)
        *mode = st.st_mode & 07777;
    ok = ok ? host_lock_probe(fd, HOST_LOCK_WRITE, err)
            : fail(err, E_INVALID, "is not a regular file and cannot be replaced");
    close(fd);
    return ok;
}

static bool create_temp(struct host_file *file, mode_t mode, struct error *err)
{
    const char *slash = strrchr(file->real_path, '/');
    file->temp_path =
        mem_printf(err, "%.*s/.%s.dish-XXXXXX", (int)(slash - file->real_path), file->real_path, slash + 1);
    if (!file->temp_path)
        return false;
    if (host_hook(HOST_WRITE, file->real_path, 0, 0, err)) {
        file->fd = mkostemp(file->temp_path, O_CLOEXEC);
        if (file->fd < 0)
            host_fail_open(err, true);
    }
    if (file->fd < 0) {
        free(file->temp_path);
        file->temp_path = NULL;
        return false;
    }
    file->writable = true;
    if (fchmod(file->fd, mode) < 0)
        return fail_errno(err, errno, "cannot set the permissions");
    return host_lock_hold(file->fd, HOST_LOCK_WRITE, err);
}

static bool create_locked(struct host_file *file, bool overwrite, struct error *err)
{
    struct stat st;
    mode_t mask = umask(0);
    umask(mask);
    mode_t mode = 0666 & ~mask;
    file->overwrite = overwrite;
    bool exists = lstat(file->path, &st) == 0;
    if (exists && !overwrite)
        return fail(err, E_EXIST, "the file exists already");
    /* Through a symbolic link the file it leads to is replaced, not the link. */
    file->real_path = exists ? realpath(file->path, NULL) : NULL;
    if (exists && !file->real_path && errno != ENOENT)
        return host_fail_open(err, true);
    if (!file->real_path)
        file->real_path = real_path_of_new(file->path, err);
    return file->real_path && (!exists || check_replaced(file, &mode, err)) && create_temp(file, mode, err);
}

bool host_file_create(const char *path, bool overwrite, const struct host_file_options *options,
                      struct device **out, struct error *err)
{
    struct host_file *file = host_file_new(path, options, err);
    if (!file)
        return false;
    if (!create_locked(file, overwrite, err)) {
        device_close(&file->dev);
        return false;
    }
    *out = &file->dev;
    return true;
}

bool host_file_sync_directory(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    char *dir = mem_string_n(slash ? path : ".", slash ? MAX_OF((size_t)(slash - path), (size_t)1) : 1, err);
    if (!dir)
        return false;
    bool ok = host_hook(HOST_SYNC, dir, 0, 0, err);
    int fd = ok ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    /* EINVAL: this host's filesystem has no such thing. */
    if (ok && (fd < 0 || (fsync(fd) < 0 && errno != EINVAL && errno != EROFS)))
        ok = fail_errno(err, errno, "cannot make the directory %s durable", dir);
    if (fd >= 0)
        close(fd);
    free(dir);
    return ok;
}

static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    /* The host's filesystem does not know that flag: a second name fails as well when it is taken. */
    if (link(from, to) < 0)
        return -1;
    return unlink(from);
}

bool host_file_publish(struct device *dev, bool sync, struct error *err)
{
    struct host_file *file = host_file_of(dev);
    if (!file->temp_path)
        return true;
    if (!host_hook(HOST_PUBLISH, file->real_path, 0, 0, err))
        return false;
    int result = file->overwrite ? rename(file->temp_path, file->real_path)
                                 : rename_new(file->temp_path, file->real_path);
    if (result < 0 && errno == EEXIST)
        return fail(err, E_EXIST, "%s: the file exists already", file->path);
    if (result < 0)
        return fail_errno(err, errno, "%s: cannot give the new file its name", file->path);
    bool durable = !sync || host_file_sync_directory(file->real_path, err);
    /* All or nothing: what cannot be made durable goes back to where nobody sees it. */
    if (!durable && !file->overwrite && rename(file->real_path, file->temp_path) == 0)
        return false;
    free(file->temp_path);
    file->temp_path = NULL;
    return durable || because(err, "the file has its name, but a power cut may take it away");
}
