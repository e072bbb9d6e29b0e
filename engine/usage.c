#include "usage.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>

static uint64_t cell_start(const struct usage_part *part, size_t cell)
{
    return (uint64_t)((unsigned __int128)part->len * cell / part->cell_count);
}

/* The cell that holds an offset of the part. */
static size_t cell_at(const struct usage_part *part, uint64_t off)
{
    size_t cell = (size_t)((unsigned __int128)off * part->cell_count / part->len);
    while (cell + 1 < part->cell_count && cell_start(part, cell + 1) <= off)
        cell++;
    return cell;
}

enum counter { COUNT_USED, COUNT_STORED };

/* Add (or, for free space, take away) the bytes of a run from the cells it touches. */
static void count_run(struct usage_part *part, uint64_t off, uint64_t len, enum counter counter, bool add)
{
    uint64_t end = MIN_OF(off + len, part->len);
    while (off < end) {
        size_t cell = cell_at(part, off);
        uint64_t until = MIN_OF(end, cell_start(part, cell + 1)), n = until - off;
        uint64_t *value = counter == COUNT_USED ? &part->cells[cell].used : &part->cells[cell].stored;
        *value = add ? *value + n : *value - MIN_OF(*value, n);
        off = until;
    }
}

static bool count_free(uint64_t off, uint64_t len, void *arg)
{
    struct usage_part *part = arg;
    part->free_runs++;
    count_run(part, off, len, COUNT_USED, false);
    return true;
}

static bool read_used(struct usage_part *part, struct error *err)
{
    const struct fs_driver *driver = NULL;
    struct error ignored = {0};
    struct fs *fs;
    if (!part->volume || !volume_probe(part->volume, &driver, &ignored) || !driver ||
        !volume_fs(part->volume, &fs, &ignored) || !driver->free_runs)
        return true;
    part->known = true;
    for (size_t i = 0; i < part->cell_count; i++)
        part->cells[i].used = part->cells[i].len;
    return driver->free_runs(fs, count_free, part, err);
}

static bool read_stored(struct image *image, struct usage_part *part, struct error *err)
{
    for (uint64_t off = 0; off < part->len;) {
        struct extent extent;
        if (!device_map_to_bottom(image->disk, part->start + off, &extent, err) || !interrupt_check(err))
            return false;
        uint64_t len = MIN_OF(extent.len, part->len - off);
        if (!(extent.flags & (EXTENT_HOLE | EXTENT_ZERO)))
            count_run(part, off, len, COUNT_STORED, true);
        off += len;
    }
    return true;
}

static bool add_part(struct usage *usage, struct image *image, struct volume *volume, uint64_t start,
                     uint64_t len, size_t cells, struct error *err)
{
    if (len == 0)
        return true;
    if (!mem_grow(&usage->parts, &usage->capacity, usage->count + 1, sizeof *usage->parts, err))
        return false;
    size_t count = (size_t)((unsigned __int128)cells * len / image->disk->size);
    struct usage_part *part = &usage->parts[usage->count];
    *part = (struct usage_part){.volume = volume, .start = start, .len = len, .cell_count = MAX_OF(count, 1)};
    part->cells = mem_array(part->cell_count, sizeof *part->cells, err);
    if (!part->cells)
        return false;
    usage->count++;
    for (size_t i = 0; i < part->cell_count; i++)
        part->cells[i].len = cell_start(part, i + 1) - cell_start(part, i);
    return read_used(part, err) && read_stored(image, part, err);
}

static int by_start(const void *a, const void *b)
{
    const struct volume *x = *(struct volume *const *)a, *y = *(struct volume *const *)b;
    return x->start < y->start ? -1 : x->start > y->start;
}

bool usage_read(struct image *image, size_t cells, struct usage *out, struct error *err)
{
    *out = (struct usage){0};
    struct volume **volumes = mem_array(image->volume_count, sizeof *volumes, err);
    if (!volumes)
        return false;
    size_t count = 0;
    for (size_t i = 0; i < image->volume_count; i++)
        if (image->volumes[i]->number != 0 || !image->table)
            volumes[count++] = image->volumes[i];
    qsort(volumes, count, sizeof *volumes, by_start);
    bool ok = true;
    uint64_t at = 0;
    for (size_t i = 0; ok && i < count; i++) {
        uint64_t start = MAX_OF(volumes[i]->start, at), end = volumes[i]->start + volumes[i]->device->size;
        ok = add_part(out, image, NULL, at, start - at, cells, err) &&
             add_part(out, image, volumes[i], start, end > start ? end - start : 0, cells, err);
        at = MAX_OF(at, end);
    }
    ok = ok && add_part(out, image, NULL, at, image->disk->size - at, cells, err);
    free(volumes);
    if (!ok)
        usage_free(out);
    return ok;
}

void usage_free(struct usage *usage)
{
    for (size_t i = 0; i < usage->count; i++)
        free(usage->parts[i].cells);
    free(usage->parts);
    *usage = (struct usage){0};
}
