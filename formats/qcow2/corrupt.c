/* Faults of the image, and the mark that keeps everybody from writing to it afterwards. */
#include "qcow2.h"

#include <stdarg.h>
#include <stdio.h>

/*
 * The mark must outlive the command, which is about to be taken back: it is written past the transaction.
 * Version 2 has no such bit: there the session alone remembers.
 */
static void mark(struct qcow2 *q)
{
    uint8_t raw[8];
    struct error ignored;
    if (q->lost)
        return;
    q->lost = true;
    if (q->h.version < 3 || q->file->read_only)
        return;
    q->h.incompatible_features |= INCOMPAT_CORRUPT;
    store_be64(raw, q->h.incompatible_features);
    if (!device_write_now(q->file, qcow2_header_off_incompatible_features, raw, sizeof raw, &ignored))
        return;
}

bool qcow2_corrupt(struct qcow2 *q, uint64_t off, struct error *err, const char *fmt, ...)
{
    char text[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (q->prepared)
        mark(q);
    return damaged(err, q->file, off, "%s", text);
}
