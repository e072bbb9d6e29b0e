/*
 * What the parts of a host file share: host_file.c moves bytes, host_open.c opens and locks what exists,
 * host_create.c makes what does not. Included by those alone.
 */
#ifndef DISH_HOST_FILE_PRIVATE_H
#define DISH_HOST_FILE_PRIVATE_H

#include "host_file.h"
#include "known_runs.h"

struct host_file {
    struct device dev;
    int fd;
    char *path;      /* as given */
    char *real_path; /* absolute, symbolic links resolved: the name that publish gives, when created */
    char *temp_path; /* the created file's name until it is published, else NULL */
    bool overwrite;
    bool force_share, never_writable, writable;
    bool block_device;
    struct known_runs known;
};

extern const struct device_ops host_file_ops;

static inline struct host_file *host_file_of(struct device *dev)
{
    return (struct host_file *)dev;
}

/* One that is not open yet; device_close() is right for it from now on. NULL: out of memory. */
struct host_file *host_file_new(const char *path, const struct host_file_options *, struct error *);
/* errno of a failed open, in words that name what to do about it. Always false. */
bool host_fail_open(struct error *, bool for_writing);

#endif
