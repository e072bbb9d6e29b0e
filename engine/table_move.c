/* Moving a partition with its bytes. */
#include "alloc.h"
#include "bytes.h"
#include "table.h"
#include "table_space.h"

#include <inttypes.h>
#include <stdlib.h>

enum { STEP = 1024 * 1024 };

/* Whether a range reads as zeros without reading it. */
static bool known_zero(struct device *disk, uint64_t off, uint64_t len)
{
    struct error ignored;
    while (len > 0) {
        struct extent extent;
        if (!device_map_to_bottom(disk, off, &extent, &ignored) ||
            !(extent.flags & (EXTENT_HOLE | EXTENT_ZERO | EXTENT_UNWRITTEN)))
            return false;
        uint64_t step = MIN_OF(len, extent.len);
        off += step;
        len -= step;
    }
    return true;
}

static bool copy_step(struct device *disk, uint64_t from, uint64_t to, size_t n, uint8_t *buf,
                      struct error *err)
{
    bool zero = known_zero(disk, from, n);
    if (zero && known_zero(disk, to, n))
        return interrupt_check(err);
    if (!zero) {
        if (!device_read(disk, from, buf, n, err))
            return false;
        zero = all_zero(buf, n);
    }
    return zero ? device_zero(disk, to, n, WRITE_UPDATE, err)
                : device_write(disk, to, buf, n, WRITE_UPDATE, err);
}

/* In steps, from the end that is read before it is overwritten. */
static bool copy(struct device *disk, uint64_t from, uint64_t to, uint64_t len, table_progress_fn *progress,
                 void *arg, struct error *err)
{
    uint8_t *buf = mem_new(STEP, err);
    bool ok = buf != NULL;
    for (uint64_t done = 0; ok && done < len;) {
        size_t n = (size_t)MIN_OF(len - done, STEP);
        uint64_t at = to < from ? done : len - done - n;
        ok = copy_step(disk, from + at, to + at, n, buf, err);
        done += n;
        if (ok && progress)
            progress(arg, done, len);
    }
    free(buf);
    return ok;
}

bool table_move(struct table *table, unsigned number, uint64_t start, table_progress_fn *progress, void *arg,
                struct error *err)
{
    struct part *part = table_need(table, number, err);
    if (!part)
        return false;
    struct wish wish = {.start = start,
                        .size = part->len,
                        .align = PART_ALIGNMENT,
                        .logical = (part->flags & PART_LOGICAL) != 0};
    struct spot spot;
    if (part->flags & PART_EXTENDED)
        return fail(err, E_UNSUPPORTED, "partition %u is the extended one: move its logical partitions",
                    number);
    if (!range_inside(part->off, part->len, table->disk->size))
        return damaged(err, table->disk, part->entry_off, "partition %u reaches past the end of the disk",
                       number);
    if (start != PART_ANYWHERE && !table_sector_aligned(table, "the start", start, err))
        return false;
    if (!table_place(table, part, &wish, &spot, err) ||
        (spot.off != part->off && !copy(table->disk, part->off, spot.off, part->len, progress, arg, err)))
        return false;
    /* A logical partition that now lies over its own entry gets another one when the table is stored. */
    part->off = spot.off;
    return true;
}
