/*
 * The bottom of every stack: a host file or block device, under QEMU's byte locks. Only this module and
 * journal.c touch images on the host. Reading opens the file read-only; host_file_make_writable() upgrades it
 * before the first change, so that looking changes neither bytes nor times.
 */
#ifndef DISH_HOST_FILE_H
#define DISH_HOST_FILE_H

#include "device.h"

struct host_file_options {
    bool read_only;       /* never upgrade: host_file_make_writable() fails with E_READONLY */
    bool force_share;     /* no locks at all; implies read_only */
    uint32_t sector_size; /* 0: that of a block device, else 512 */
};

/* Open an existing file under shared locks. E_NOENT, E_LOCKED (in words who holds it), E_READONLY, E_IO. */
bool host_file_open(const char *path, const struct host_file_options *, struct device **out,
                    struct error *) DISH_CHECKED;

/*
 * A new, empty, writable and locked file beside `path`, without that name yet. close() without publish
 * removes it. E_EXIST at once when the name is taken and overwrite is false.
 */
bool host_file_create(const char *path, bool overwrite, const struct host_file_options *, struct device **out,
                      struct error *) DISH_CHECKED;
/* Give a created file its name (E_EXIST: taken meanwhile); syncs the directory when sync is set. */
bool host_file_publish(struct device *, bool sync, struct error *) DISH_CHECKED;
bool host_file_is_published(const struct device *);

/* Before the first change: open for writing and take the write and resize locks. E_READONLY, E_LOCKED. */
bool host_file_make_writable(struct device *, struct error *) DISH_CHECKED;
bool host_file_is_writable(const struct device *);

/* Vectored writes of count buffers that follow each other from off on; a regular file grows when it must. */
struct iovec;
bool host_file_write_vector(struct device *, uint64_t off, const struct iovec *, size_t count,
                            struct error *) DISH_CHECKED;
/*
 * Bytes of another host file, open as fd; the file grows when it must. Where the kernel cannot, whatever the
 * reason, *done is less than n: the caller reads and writes, and learns whose error it is.
 */
bool host_file_copy_in(struct device *, uint64_t off, int fd, uint64_t fd_off, size_t n, size_t *done,
                       struct error *) DISH_CHECKED;
/* Begin to make what was written durable; says nothing about success, and does not wait. */
void host_file_begin_sync(struct device *);
/* Data and size are durable. */
bool host_file_sync(struct device *, struct error *) DISH_CHECKED;
/* Give space back; the range reads as zeros afterwards (written as zeros where the host cannot punch). */
bool host_file_punch(struct device *, uint64_t off, uint64_t len, struct error *) DISH_CHECKED;
/* True when the host stores nothing in the range (a hole, or past the end). */
bool host_file_is_hole(struct device *, uint64_t off, uint64_t len);
/* The same as far as it is known without asking the host. */
bool host_file_known_hole(struct device *, uint64_t off, uint64_t len);

const char *host_file_path(const struct device *); /* as given, for messages */
/* Where the file lies now, absolute and without symbolic links; a created file's temporary name at first. */
const char *host_file_real_path(const struct device *);
/* Make what happened in the directory that holds `path` durable. */
bool host_file_sync_directory(const char *path, struct error *) DISH_CHECKED;
bool host_file_is_block_device(const struct device *);

/*
 * Test hook, called before every write, punch, resize, sync, publish and journal operation: false makes the
 * operation fail with the error set. See fault.h.
 */
enum host_operation { HOST_WRITE, HOST_PUNCH, HOST_RESIZE, HOST_SYNC, HOST_PUBLISH, HOST_UNLINK };
typedef bool host_hook_fn(enum host_operation, const char *path, uint64_t off, uint64_t len, struct error *);
void host_file_set_hook(host_hook_fn *);
bool host_hook(enum host_operation, const char *path, uint64_t off, uint64_t len,
               struct error *) DISH_CHECKED;

#endif
