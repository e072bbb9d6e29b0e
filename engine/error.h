/*
 * Errors live on the caller's stack, allocate nothing and are the last parameter. A function that can fail
 * returns bool (true: it worked) and fills the error when it returns false. The place of a fault inside an
 * image is recorded where the fact is first seen; callers only put context in front with because().
 */
#ifndef DISH_ERROR_H
#define DISH_ERROR_H

#include <stdbool.h>
#include <stdint.h>

struct device;

enum error_kind {
    E_OK = 0,
    E_USAGE,       /* the words of a command are wrong */
    E_INVALID,     /* a value is out of its domain */
    E_NOENT,       /* no such file, partition, snapshot, structure ... */
    E_EXIST,       /* it exists already */
    E_NOTDIR,      /* a directory was needed */
    E_ISDIR,       /* anything but a directory was needed */
    E_NOTEMPTY,    /* the directory holds something */
    E_NAME,        /* the format cannot hold this name */
    E_NOSPACE,     /* the image's filesystem, table or container is full */
    E_HOSTFULL,    /* the host's filesystem is full */
    E_TOOBIG,      /* beyond a limit of the format */
    E_UNSUPPORTED, /* the format, or this build, cannot do it */
    E_READONLY,    /* the image, volume or session must not be changed */
    E_LOCKED,      /* another program holds the image */
    E_BUSY,        /* in use inside this session */
    E_LOSSY,       /* the target cannot keep everything of the source */
    E_DAMAGED,     /* the image contradicts itself or its specification */
    E_IO,          /* the host failed to read or write */
    E_NOMEM,       /* out of memory */
    E_LOOP,        /* too many symbolic links, or a cycle */
    E_INTERRUPTED, /* the user stopped the command */
    E_REFUSED,     /* the image is only open to be looked at */
    E_FAILED,      /* a host command or a comparison failed */
};

struct error {
    enum error_kind kind;
    const char *layer;           /* name of the layer that saw the fault (static string), or NULL */
    const struct device *device; /* the device that offset belongs to, or NULL when there is no place */
    uint64_t offset;             /* byte offset in device */
    char message[480];
};

#define DISH_CHECKED __attribute__((warn_unused_result))
#define DISH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Record an error; always false, so that `return fail(err, ...)` reads well. */
bool fail(struct error *err, enum error_kind kind, const char *fmt, ...) DISH_PRINTF(3, 4);

/* Record a failed host call: kind and text follow from errnum;
 * the text ends in ": strerror". Always false. */
bool fail_errno(struct error *err, int errnum, const char *fmt, ...) DISH_PRINTF(3, 4);

/* Record E_DAMAGED with its place (offset in bytes on device). Always false. */
bool damaged(struct error *err, const struct device *device, uint64_t offset, const char *fmt, ...)
    DISH_PRINTF(4, 5);

/* Put context in front of the message already recorded: "inode 12: ...". Always false. */
bool because(struct error *err, const char *fmt, ...) DISH_PRINTF(2, 3);

/* The stable word for a kind, as printed in JSON ("no-entry", "damaged", ...). */
const char *error_kind_name(enum error_kind kind);

/* Asked by every long loop: fails with E_INTERRUPTED once interrupt_request() was called. */
bool interrupt_check(struct error *err) DISH_CHECKED;
void interrupt_request(void); /* async-signal-safe */
void interrupt_clear(void);
bool interrupt_pending(void);
/* Between hold and release (they nest) checks pass: what takes changes back must come to its end. */
void interrupt_hold(void);
void interrupt_release(void);

#endif
