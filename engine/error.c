#include "error.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t interrupted;

static void set_message(struct error *err, enum error_kind kind, const char *fmt, va_list args)
{
    err->kind = kind;
    err->layer = NULL;
    err->device = NULL;
    err->offset = 0;
    /* Most are "no such file" of a lookup before a file is made, and nobody reads them. */
    size_t plain = strcspn(fmt, "%");
    if (fmt[plain] == '\0' && plain < sizeof err->message)
        memcpy(err->message, fmt, plain + 1);
    else
        vsnprintf(err->message, sizeof err->message, fmt, args);
}

bool fail(struct error *err, enum error_kind kind, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set_message(err, kind, fmt, args);
    va_end(args);
    return false;
}

static enum error_kind kind_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return E_NOENT;
    case EEXIST:
        return E_EXIST;
    case ENOTDIR:
        return E_NOTDIR;
    case EISDIR:
        return E_ISDIR;
    case ENOTEMPTY:
        return E_NOTEMPTY;
    case ENAMETOOLONG:
        return E_NAME;
    case ENOSPC:
    case EDQUOT:
        return E_HOSTFULL;
    case EFBIG:
        return E_TOOBIG;
    case EROFS:
    case EACCES:
    case EPERM:
        return E_READONLY;
    case ENOMEM:
        return E_NOMEM;
    case ELOOP:
        return E_LOOP;
    case EINTR:
        return E_INTERRUPTED;
    case EINVAL:
        return E_INVALID;
    default:
        return E_IO;
    }
}

bool fail_errno(struct error *err, int errnum, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set_message(err, kind_of_errno(errnum), fmt, args);
    va_end(args);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", strerror(errnum));
    return false;
}

bool damaged(struct error *err, const struct device *device, uint64_t offset, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set_message(err, E_DAMAGED, fmt, args);
    va_end(args);
    err->device = device;
    err->offset = offset;
    return false;
}

bool because(struct error *err, const char *fmt, ...)
{
    char old[sizeof err->message];
    memcpy(old, err->message, sizeof old);
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", old);
    return false;
}

const char *error_kind_name(enum error_kind kind)
{
    static const char *const names[] = {
        [E_OK] = "ok",
        [E_USAGE] = "usage",
        [E_INVALID] = "invalid",
        [E_NOENT] = "no-entry",
        [E_EXIST] = "exists",
        [E_NOTDIR] = "not-a-directory",
        [E_ISDIR] = "is-a-directory",
        [E_NOTEMPTY] = "not-empty",
        [E_NAME] = "bad-name",
        [E_NOSPACE] = "no-space",
        [E_HOSTFULL] = "host-full",
        [E_TOOBIG] = "too-big",
        [E_UNSUPPORTED] = "unsupported",
        [E_READONLY] = "read-only",
        [E_LOCKED] = "locked",
        [E_BUSY] = "busy",
        [E_LOSSY] = "lossy",
        [E_DAMAGED] = "damaged",
        [E_IO] = "io",
        [E_NOMEM] = "out-of-memory",
        [E_LOOP] = "loop",
        [E_INTERRUPTED] = "interrupted",
        [E_REFUSED] = "refused",
        [E_FAILED] = "failed",
    };
    return names[kind];
}

static unsigned holds;

void interrupt_hold(void)
{
    holds++;
}

void interrupt_release(void)
{
    holds--;
}

bool interrupt_check(struct error *err)
{
    if (interrupted && holds == 0)
        return fail(err, E_INTERRUPTED, "interrupted");
    return true;
}

void interrupt_request(void)
{
    interrupted = 1;
}

void interrupt_clear(void)
{
    interrupted = 0;
}

bool interrupt_pending(void)
{
    return interrupted != 0;
}
