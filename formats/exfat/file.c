/* Contents of files. Bytes from ValidDataLength on read as zeros, whatever lies there. */
#include "exfat.h"

#include <sys/stat.h>

static bool load_stream(struct exfat *exfat, fs_id id, struct exfat_stream *s, struct error *err)
{
    struct exfat_set set;
    struct exfat_dir *dir;
    if (id == ROOT_ID) {
        if (!exfat_dir_open(exfat, id, &dir, err))
            return false;
        *s = dir->stream;
        return true;
    }
    if (!exfat_set_load(exfat, id, &set, err))
        return false;
    exfat_set_stream(set.raw, s);
    return true;
}

static bool map_stream(struct exfat *exfat, const struct exfat_stream *s, uint64_t off, struct extent *extent,
                       struct error *err)
{
    uint32_t cluster, len;
    *extent = (struct extent){.device = exfat->fs.device};
    if (!exfat_stream_map(exfat, s, (uint32_t)(off >> exfat->g.cluster_shift), &cluster, &len, err))
        return false;
    if (len == 0)
        return damaged(err, exfat->fs.device, s->first ? exfat_cluster_off(exfat, s->first) : 0,
                       "the file has %llu bytes, but its clusters end before", (unsigned long long)s->size);
    uint64_t inside = off & (exfat->g.cluster_size - 1);
    *extent =
        (struct extent){.device = exfat->fs.device,
                        .off = exfat_cluster_off(exfat, cluster) + inside,
                        .len = MIN_OF(((uint64_t)len << exfat->g.cluster_shift) - inside, s->size - off)};
    if (off >= s->valid)
        extent->flags = EXTENT_UNWRITTEN;
    else
        extent->len = MIN_OF(extent->len, s->valid - off);
    return true;
}

bool exfat_map(struct fs *fs, fs_id id, uint64_t off, struct extent *extent, struct error *err)
{
    struct exfat_stream s;
    return load_stream(exfat_of(fs), id, &s, err) && map_stream(exfat_of(fs), &s, off, extent, err);
}

bool exfat_read(struct fs *fs, fs_id id, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct exfat_stream s;
    uint8_t *out = buf;
    if (!load_stream(exfat_of(fs), id, &s, err))
        return false;
    while (n > 0) {
        struct extent extent;
        if (!map_stream(exfat_of(fs), &s, off, &extent, err))
            return false;
        size_t step = (size_t)MIN_OF(extent.len, n);
        if (extent.flags & EXTENT_UNWRITTEN)
            memset(out, 0, step);
        else if (!device_read(extent.device, extent.off, out, step, err))
            return false;
        out += step;
        off += step;
        n -= step;
    }
    return true;
}

/* Write, or with buf NULL zero, bytes that have their clusters already. */
static bool store(struct exfat *exfat, const struct exfat_stream *s, uint64_t off, const uint8_t *buf,
                  uint64_t n, struct error *err)
{
    while (n > 0) {
        uint32_t cluster, len, inside = (uint32_t)(off & (exfat->g.cluster_size - 1));
        if (!interrupt_check(err) ||
            !exfat_stream_map(exfat, s, (uint32_t)(off >> exfat->g.cluster_shift), &cluster, &len, err))
            return false;
        if (len == 0)
            return fail(err, E_DAMAGED, "the file's clusters end before its size");
        uint64_t step = MIN_OF(((uint64_t)len << exfat->g.cluster_shift) - inside, n);
        uint32_t count = exfat_clusters_for(exfat, inside + step);
        enum write_class class = space_write_piece(&exfat->space, cluster, &count);
        step = MIN_OF(step, ((uint64_t)count << exfat->g.cluster_shift) - inside);
        uint64_t at = exfat_cluster_off(exfat, cluster) + inside;
        if (buf ? !device_write(exfat->fs.device, at, buf, (size_t)step, class, err)
                : !device_zero(exfat->fs.device, at, step, class, err))
            return false;
        buf = buf ? buf + step : NULL;
        off += step;
        n -= step;
    }
    return true;
}

static bool open_file(struct exfat *exfat, fs_id id, uint64_t off, uint64_t n, struct exfat_set *set,
                      struct exfat_stream *s, struct error *err)
{
    uint64_t max = (uint64_t)exfat->g.clusters << exfat->g.cluster_shift;
    if (id == ROOT_ID)
        return fail(err, E_ISDIR, "is a directory");
    if (!exfat_set_load(exfat, id, set, err))
        return false;
    if (exfat_file_FileAttributes(set->raw) & EXFAT_DIRECTORY)
        return fail(err, E_ISDIR, "is a directory");
    if (off > max || n > max - off)
        return fail(err, E_TOOBIG, "more than the %llu bytes that the volume holds", (unsigned long long)max);
    exfat_set_stream(set->raw, s);
    return true;
}

static bool close_file(struct exfat *exfat, struct exfat_set *set, const struct exfat_stream *s,
                       struct error *err)
{
    exfat_set_put_stream(set->raw, s);
    return exfat_set_store(exfat, set, err);
}

/*
 * Give the file clusters for `size` bytes and zero what was never written before `off`. Sizes grow with what
 * is written: Linux before 6.8 takes ValidDataLength for the size, so the two are never left apart.
 */
static bool lengthen(struct exfat *exfat, fs_id id, struct exfat_stream *s, uint64_t off, uint64_t size,
                     struct error *err)
{
    uint32_t likely = exfat->hint_id == id ? exfat->hint_clusters : 0;
    uint64_t valid = s->valid;
    if (size > s->size) {
        if (!exfat_stream_grow(exfat, s, exfat_clusters_for(exfat, size), likely, err))
            return false;
        s->size = size;
    }
    s->valid = MAX_OF(valid, size);
    return off <= valid || store(exfat, s, valid, NULL, off - valid, err);
}

bool exfat_write(struct fs *fs, fs_id id, uint64_t off, const void *buf, size_t n, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_stream s;
    struct exfat_set set;
    if (!open_file(exfat, id, off, n, &set, &s, err))
        return false;
    if (n == 0)
        return true;
    struct exfat_stream before = s;
    if (!lengthen(exfat, id, &s, off, off + n, err) || !store(exfat, &s, off, buf, n, err))
        return false;
    return exfat_stream_equal(&before, &s) || close_file(exfat, &set, &s, err);
}

bool exfat_extend(struct fs *fs, fs_id id, uint64_t off, uint64_t n, struct extent *out,
                  enum write_class *class, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_stream s;
    struct exfat_set set;
    uint64_t want = n >> exfat->g.cluster_shift;
    uint32_t have, start, len;
    if (!open_file(exfat, id, off, n, &set, &s, err))
        return false;
    uint64_t before = off >> exfat->g.cluster_shift;
    if (want == 0 || off != s.size || s.valid != s.size || off & (exfat->g.cluster_size - 1))
        return true;
    if (!exfat_stream_to_grow(exfat, &s, (uint32_t)(before + want), &have, err))
        return false;
    if (have != before)
        return true; /* somebody left clusters behind the end */
    if (!exfat_stream_add(exfat, &s, have, (uint32_t)want, exfat->hint_id == id ? exfat->hint_clusters : 0,
                          &start, &len, err))
        return false;
    *out = (struct extent){.off = exfat_cluster_off(exfat, start),
                           .len = (uint64_t)len << exfat->g.cluster_shift};
    *class = space_write_class(&exfat->space, start, len);
    s.size = s.valid = off + out->len;
    return close_file(exfat, &set, &s, err);
}

bool exfat_truncate(struct fs *fs, fs_id id, uint64_t size, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_stream s;
    struct exfat_set set;
    if (!open_file(exfat, id, 0, size, &set, &s, err))
        return false;
    if (size > s.size) {
        if (!lengthen(exfat, id, &s, size, size, err))
            return false;
    } else {
        if (!exfat_stream_cut(exfat, &s, exfat_clusters_for(exfat, size), err))
            return false;
        s.size = size;
        s.valid = MIN_OF(s.valid, size);
    }
    return close_file(exfat, &set, &s, err);
}

bool exfat_allocate(struct fs *fs, fs_id id, uint64_t off, uint64_t len, unsigned mode, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_stream s;
    struct exfat_set set;
    if (!open_file(exfat, id, off, len, &set, &s, err))
        return false;
    if (off + len <= s.size)
        return true;
    if (mode & FS_ALLOCATE_KEEP_SIZE)
        return fail(err, E_UNSUPPORTED, "exFAT cannot keep clusters past the end of a file");
    return lengthen(exfat, id, &s, off + len, off + len, err) && close_file(exfat, &set, &s, err);
}
