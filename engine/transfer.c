#include "transfer.h"

#include "alloc.h"
#include "bytes.h"
#include "read_ahead.h"

#include <stdlib.h>

enum { BUFFER = 2 * 1024 * 1024, MANY_GRAINS = 2 * BUFFER, ZERO_GRAIN = 4096 };

bool device_look(struct device *dev, uint64_t off, uint64_t max, bool *zero, uint64_t *len, struct error *err)
{
    struct extent extent;
    *zero = !dev || off >= dev->size;
    *len = max;
    if (*zero)
        return true;
    if (!device_map_to_bottom(dev, off, &extent, err))
        return false;
    *zero =
        extent.flags & (EXTENT_HOLE | EXTENT_ZERO | EXTENT_UNWRITTEN) && !(extent.flags & EXTENT_COMPRESSED);
    *len = MIN_OF(MIN_OF(extent.len, dev->size - off), max);
    return true;
}

bool device_map_chain(struct device *dev, uint64_t off, struct extent *out, unsigned *depth,
                      struct error *err)
{
    uint64_t len = dev->size - off;
    *depth = 0;
    for (;;) {
        while (!dev->ops->map && dev->below)
            dev = dev->below;
        /* A backing file may be shorter than what lies over it. */
        if (off >= dev->size) {
            *out = (struct extent){.len = len, .flags = EXTENT_HOLE};
            return true;
        }
        if (!device_map(dev, off, out, err))
            return false;
        len = out->len = MIN_OF(len, out->len);
        if (!(out->flags & EXTENT_BACKING) || !out->device)
            return true;
        dev = out->device;
        off = out->off;
        ++*depth;
    }
}

/* Bytes of a device that may end before: zeros then. */
static bool read_padded(struct device *dev, uint64_t off, uint8_t *buf, size_t n, struct error *err)
{
    size_t there = !dev || off >= dev->size ? 0 : (size_t)MIN_OF(n, dev->size - off);
    memset(buf + there, 0, n - there);
    return there == 0 || device_read(dev, off, buf, there, err);
}

static size_t grain_of(const struct transfer *transfer)
{
    return transfer->grain ? transfer->grain : ZERO_GRAIN;
}

/* Where a hole is to take its space. */
static bool write_zero_data(struct device *to, uint64_t off, uint64_t n, const struct transfer *transfer,
                            struct error *err)
{
    uint8_t *zeros = mem_new(BUFFER, err);
    bool ok = zeros != NULL;
    while (ok && n > 0) {
        size_t part = (size_t)MIN_OF(n, BUFFER);
        ok = interrupt_check(err) && device_write(to, off, zeros, part, transfer->write_class, err);
        off += part;
        n -= part;
    }
    free(zeros);
    return ok;
}

static bool write_zeros(struct device *to, uint64_t off, uint64_t n, const struct transfer *transfer,
                        struct error *err)
{
    if (transfer->keep_zeros)
        return write_zero_data(to, off, n, transfer, err);
    return transfer->target_is_zero || device_zero(to, off, n, transfer->write_class, err);
}

/* The length of the run of grains from the start that are all zeros, or all not. */
static size_t run_of(const uint8_t *buf, size_t n, size_t grain, bool *zero)
{
    size_t len = MIN_OF(n, grain);
    *zero = all_zero(buf, len);
    while (len < n) {
        size_t step = MIN_OF(n - len, grain);
        if (all_zero(buf + len, step) != *zero)
            break;
        len += step;
    }
    return len;
}

/* The length of the data from the start, with the zeros in it that are too few for a hole. */
static size_t data_of(const uint8_t *buf, size_t len, size_t n, const struct transfer *transfer)
{
    bool zero;
    while (len < n) {
        size_t gap = run_of(buf + len, n - len, grain_of(transfer), &zero);
        if (gap >= transfer->sparse || len + gap == n)
            break;
        len += gap;
        len += run_of(buf + len, n - len, grain_of(transfer), &zero);
    }
    return len;
}

/* What compresses finds the zeros itself, and is faster when it gets everything at once. */
static bool write_data(struct device *to, uint64_t off, const uint8_t *buf, size_t n,
                       const struct transfer *transfer, struct error *err)
{
    if (transfer->write)
        return transfer->write(transfer->arg, off, buf, n, err);
    if (transfer->keep_zeros)
        return device_write(to, off, buf, n, transfer->write_class, err);
    while (n > 0) {
        bool zero;
        size_t len = run_of(buf, n, grain_of(transfer), &zero);
        if (!zero)
            len = data_of(buf, len, n, transfer);
        if (zero ? !write_zeros(to, off, len, transfer, err)
                 : !device_write(to, off, buf, len, transfer->write_class, err))
            return false;
        off += len;
        buf += len;
        n -= len;
    }
    return true;
}

bool transfer_range(struct session *session, struct device *from, struct device *to, uint64_t off,
                    uint64_t len, const struct transfer *transfer, struct error *err)
{
    uint64_t start = off, end = off + len;
    /* Whoever compresses gets several grains at once, for as many threads. */
    size_t size = transfer->write ? MAX_OF(MANY_GRAINS, 4 * transfer->grain) : BUFFER;
    struct read_ahead *ahead =
        read_ahead_new(from, off, end, size, transfer->write ? transfer->grain : 1, err);
    bool ok = ahead != NULL;
    while (ok && off < end) {
        struct piece piece;
        ok = read_ahead_next(ahead, &piece, err) &&
             (piece.buf ? write_data(to, off, piece.buf, (size_t)piece.len, transfer, err)
                        : write_zeros(to, off, piece.len, transfer, err)) &&
             interrupt_check(err);
        off += piece.len;
        session_progress(session, transfer->what, off - start, len);
    }
    read_ahead_free(ahead);
    return ok;
}

/* ---- differences ---- */

/* Runs of grains that are all alike in both, or all not. */
static bool write_different(struct device *to, uint64_t off, const uint8_t *buf, const uint8_t *old, size_t n,
                            const struct transfer *transfer, struct error *err)
{
    struct transfer zeros_too = *transfer;
    size_t grain = grain_of(transfer);
    zeros_too.target_is_zero = false;
    while (n > 0) {
        size_t len = 0, part = MIN_OF(grain - off % grain, n);
        bool same = memcmp(buf, old, part) == 0;
        while (part > 0 && (memcmp(buf + len, old + len, part) == 0) == same) {
            len += part;
            part = MIN_OF(grain, n - len);
        }
        if (!same && !write_data(to, off, buf, len, &zeros_too, err))
            return false;
        off += len;
        buf += len;
        old += len;
        n -= len;
    }
    return true;
}

bool transfer_differences(struct session *session, struct device *from, struct device *below,
                          struct device *to, uint64_t off, uint64_t len, const struct transfer *transfer,
                          struct error *err)
{
    uint64_t start = off, end = off + len;
    uint8_t *buf = mem_new(2 * BUFFER, err);
    bool ok = buf != NULL;
    while (ok && off < end) {
        bool zero, zero_below = true;
        uint64_t run;
        ok = device_look(from, off, end - off, &zero, &run, err) &&
             (!zero || device_look(below, off, run, &zero_below, &run, err));
        if (ok && !(zero && zero_below)) {
            run = MIN_OF(end - off, BUFFER - off % BUFFER);
            ok = read_padded(from, off, buf, (size_t)run, err) &&
                 read_padded(below, off, buf + BUFFER, (size_t)run, err) &&
                 write_different(to, off, buf, buf + BUFFER, (size_t)run, transfer, err);
        }
        off += run;
        ok = ok && interrupt_check(err);
        session_progress(session, transfer->what, off - start, len);
    }
    free(buf);
    return ok;
}

/* ---- comparing ---- */

static bool compare_piece(struct device *a, struct device *b, uint64_t off, size_t n, uint8_t *buf,
                          bool *same, uint64_t *at, struct error *err)
{
    if (!device_read(a, off, buf, n, err) || !device_read(b, off, buf + BUFFER, n, err))
        return false;
    if (memcmp(buf, buf + BUFFER, n) == 0)
        return true;
    size_t i = 0;
    while (buf[i] == buf[BUFFER + i])
        i++;
    *same = false;
    *at = off + i;
    return true;
}

/* The longer device must hold zeros where the shorter has ended. */
static bool compare_tail(struct device *longer, uint64_t off, uint8_t *buf, bool *same, uint64_t *at,
                         struct error *err)
{
    while (*same && off < longer->size) {
        uint64_t run;
        bool zero;
        if (!device_look(longer, off, longer->size - off, &zero, &run, err))
            return false;
        if (zero) {
            off += run;
            continue;
        }
        size_t n = (size_t)MIN_OF(longer->size - off, BUFFER);
        if (!device_read(longer, off, buf, n, err))
            return false;
        for (size_t i = 0; i < n && *same; i++)
            if (buf[i]) {
                *same = false;
                *at = off + i;
            }
        off += n;
    }
    return true;
}

bool transfer_compare(struct session *session, struct device *a, struct device *b, bool *same, uint64_t *at,
                      struct error *err)
{
    uint64_t size = MIN_OF(a->size, b->size), off = 0;
    uint8_t *buf = mem_new(2 * BUFFER, err);
    bool ok = buf != NULL;
    *same = true;
    while (ok && *same && off < size) {
        uint64_t run;
        bool zero_a, zero_b = false;
        ok = device_look(a, off, size - off, &zero_a, &run, err) &&
             (!zero_a || device_look(b, off, run, &zero_b, &run, err));
        if (ok && !(zero_a && zero_b)) {
            run = MIN_OF(size - off, BUFFER);
            ok = compare_piece(a, b, off, (size_t)run, buf, same, at, err);
        }
        off += run;
        ok = ok && interrupt_check(err);
        session_progress(session, "compare", off, size);
    }
    ok = ok && compare_tail(a->size > b->size ? a : b, size, buf, same, at, err);
    free(buf);
    return ok;
}
