/* Reading guest data, and saying where it lies. */
#include "qcow2.h"

bool qcow2_backed(const struct qcow2 *q, uint64_t off)
{
    return q->backing && off < q->backing->size;
}

/* The backing file ends where it ends, and nothing of it shows behind the end of the disk. */
static bool read_backing(const struct qcow2_disk *disk, uint64_t off, uint8_t *buf, size_t n,
                         struct error *err)
{
    struct device *backing = disk->q->backing;
    uint64_t end = backing ? MIN_OF(backing->size, disk->size) : 0;
    size_t there = off >= end ? 0 : (size_t)MIN_OF(n, end - off);
    memset(buf + there, 0, n - there);
    return there == 0 || device_read(backing, off, buf, there, err);
}

static bool read_compressed(struct qcow2 *q, const struct qcow2_run *run, uint64_t off, uint8_t *buf,
                            size_t n, struct error *err)
{
    const uint8_t *cluster;
    if (!qcow2_inflate(q, run->entry, &cluster, err))
        return false;
    memcpy(buf, cluster + off % q->cluster_size, n);
    return true;
}

static bool read_run(const struct qcow2_disk *disk, const struct qcow2_run *run, uint64_t off, uint8_t *buf,
                     size_t n, struct error *err)
{
    struct qcow2 *q = disk->q;
    switch (run->state) {
    case SUB_UNALLOCATED:
    case SUB_UNALLOCATED_HOST:
        return read_backing(disk, off, buf, n, err);
    case SUB_ZERO:
    case SUB_ZERO_HOST:
        memset(buf, 0, n);
        return true;
    case SUB_COMPRESSED:
        return read_compressed(q, run, off, buf, n, err);
    case SUB_DATA:
        if (run->host >= q->data->size)
            qcow2_warn(q, WARN_PAST_END, "%s: clusters past the end of the file are read as zeros", q->path);
        return qcow2_data_read(q, run->host, buf, n, err);
    }
    return true;
}

bool qcow2_disk_read(const struct qcow2_disk *disk, uint64_t off, void *buf, size_t n, struct error *err)
{
    uint8_t *out = buf;
    while (n > 0) {
        struct qcow2_run run;
        if (!qcow2_run_at(disk, off, n, &run, err) || !read_run(disk, &run, off, out, (size_t)run.len, err))
            return false;
        out += run.len;
        off += run.len;
        n -= (size_t)run.len;
    }
    return true;
}

/* What is not allocated here lies in the backing file, or nowhere; a place may be reserved for it. */
static void map_unallocated(const struct qcow2_disk *disk, uint64_t off, const struct qcow2_run *run,
                            struct extent *out)
{
    struct qcow2 *q = disk->q;
    if (!qcow2_backed(q, off)) {
        *out = (struct extent){.len = run->len, .flags = EXTENT_HOLE};
        if (run->state == SUB_UNALLOCATED_HOST) {
            out->device = q->data ? q->data : q->file;
            out->off = run->host;
        }
        return;
    }
    *out = (struct extent){.len = MIN_OF(run->len, q->backing->size - off),
                           .device = q->backing,
                           .off = off,
                           .flags = EXTENT_BACKING};
}

bool qcow2_disk_map(const struct qcow2_disk *disk, uint64_t off, struct extent *out, struct error *err)
{
    struct qcow2 *q = disk->q;
    struct qcow2_run run;
    if (!qcow2_run_at(disk, off, disk->size - off, &run, err))
        return false;
    *out = (struct extent){.len = run.len};
    switch (run.state) {
    case SUB_UNALLOCATED:
    case SUB_UNALLOCATED_HOST:
        map_unallocated(disk, off, &run, out);
        return true;
    case SUB_ZERO:
        out->flags = EXTENT_ZERO;
        return true;
    case SUB_ZERO_HOST:
        out->flags = EXTENT_ZERO;
        break;
    case SUB_COMPRESSED:
        out->flags = EXTENT_COMPRESSED;
        break;
    case SUB_DATA:
        break;
    }
    out->device = q->data ? q->data : q->file;
    out->off = run.host;
    return true;
}
