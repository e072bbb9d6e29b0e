/* Bytes to look at: a file of an image or of the host (host:PATH), a device (2:, 0:, file:), the input (-).
 */
#ifndef DISH_READER_H
#define DISH_READER_H

#include "files.h"

struct reader {
    struct file_arg file;  /* of a path */
    struct location place; /* of a device */
    struct device *device;
    struct call *input;
    int host;                /* a descriptor, or 0 */
    struct fs_time modified; /* of a file */
    const char *typed;       /* for headings */
    char *shown;             /* for messages */
    uint64_t size;           /* UINT64_MAX: not known before the end */
};

enum { READER_CHUNK = 1 << 18 };

/* Errors name the object. Directories are refused. */
bool reader_open(struct session *, struct call *, const char *text, struct reader *,
                 struct error *) DISH_CHECKED;
/* At off; the input is read on from where it was. *got is short only at the end. */
bool reader_read(struct reader *, uint64_t off, void *buf, size_t n, size_t *got,
                 struct error *) DISH_CHECKED;
void reader_close(struct reader *); /* also after a failure */

/* Runs fn over each argument from `from` on; without any, over the input when there is one (else `-` is
 * meant to be missing). Failures are reported with their objects. */
bool each_reader(struct session *, struct call *, int from,
                 bool (*fn)(struct reader *, void *arg, struct error *), void *arg,
                 struct error *) DISH_CHECKED;

#endif
