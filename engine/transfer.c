#include "transfer.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>

enum { BUFFER = 2 * 1024 * 1024, ZERO_GRAIN = 4096 };

bool device_known_zero(struct device *dev, uint64_t off, uint64_t len, uint64_t *run, struct error *err)
{
    struct extent extent;
    *run = 0;
    if (!device_map_to_bottom(dev, off, &extent, err))
        return false;
    if (extent.flags & (EXTENT_HOLE | EXTENT_ZERO | EXTENT_UNWRITTEN) && !(extent.flags & EXTENT_COMPRESSED))
        *run = MIN_OF(extent.len, len);
    return true;
}

static bool write_piece(struct device *to, uint64_t off, const uint8_t *buf, size_t n,
                        const struct transfer *transfer, struct error *err)
{
    if (transfer->write)
        return transfer->write(transfer->arg, off, buf, n, err);
    return device_write(to, off, buf, n, transfer->write_class, err);
}

static bool write_zeros(struct device *to, uint64_t off, uint64_t n, const struct transfer *transfer,
                        struct error *err)
{
    return transfer->target_is_zero || device_zero(to, off, n, transfer->write_class, err);
}

/* The length of the run of pieces from the start that are all zeros, or all not. */
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

static bool write_data(struct device *to, uint64_t off, const uint8_t *buf, size_t n,
                       const struct transfer *transfer, struct error *err)
{
    size_t grain = transfer->piece ? transfer->piece : ZERO_GRAIN;
    while (n > 0) {
        bool zero;
        size_t len = run_of(buf, n, grain, &zero), most = transfer->piece ? transfer->piece : n;
        if (!zero)
            len = MIN_OF(len, most);
        if (zero ? !write_zeros(to, off, len, transfer, err) : !write_piece(to, off, buf, len, transfer, err))
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
    uint8_t *buf = mem_new(BUFFER, err);
    bool ok = buf != NULL;
    while (ok && off < end) {
        uint64_t zeros = 0;
        /* Past the end of a shorter source there are zeros. */
        if (off >= from->size)
            zeros = end - off;
        else if (!device_known_zero(from, off, MIN_OF(end, from->size) - off, &zeros, err))
            ok = false;
        size_t align = transfer->piece;
        if (ok && zeros > 0 && align && zeros % align && off + zeros < end)
            zeros -= zeros % align;
        if (ok && zeros > 0) {
            ok = write_zeros(to, off, zeros, transfer, err);
            off += zeros;
        } else if (ok) {
            size_t n = (size_t)MIN_OF(MIN_OF(end, from->size) - off, BUFFER - off % BUFFER);
            ok = device_read(from, off, buf, n, err) && write_data(to, off, buf, n, transfer, err);
            off += n;
        }
        ok = ok && interrupt_check(err);
        session_progress(session, transfer->what, off - start, len);
    }
    free(buf);
    return ok;
}

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
        uint64_t zeros;
        if (!device_known_zero(longer, off, longer->size - off, &zeros, err))
            return false;
        if (zeros > 0) {
            off += zeros;
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
        uint64_t zero_a, zero_b;
        ok = device_known_zero(a, off, size - off, &zero_a, err) &&
             device_known_zero(b, off, size - off, &zero_b, err);
        uint64_t both = ok ? MIN_OF(zero_a, zero_b) : 0;
        size_t n = (size_t)MIN_OF(size - off, BUFFER);
        if (ok && both == 0)
            ok = compare_piece(a, b, off, n, buf, same, at, err);
        off += both ? both : n;
        ok = ok && interrupt_check(err);
        session_progress(session, "compare", off, size);
    }
    ok = ok && compare_tail(a->size > b->size ? a : b, size, buf, same, at, err);
    free(buf);
    return ok;
}
