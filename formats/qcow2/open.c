/* Opening and closing an image, and the frame that the session calls around its commands. */
#include "alloc.h"
#include "check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void qcow2_warn(struct qcow2 *q, enum qcow2_warning once, const char *fmt, ...)
{
    char text[600];
    if (q->warned & once || !q->open.warn)
        return;
    q->warned |= once;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    q->open.warn(&q->open, "%s", text);
}

char *qcow2_beside(const struct qcow2 *q, const char *name, struct error *err)
{
    const char *slash = strrchr(q->path, '/');
    if (name[0] == '/' || !slash)
        return mem_string(name, err);
    return mem_printf(err, "%.*s%s", (int)(slash + 1 - q->path), q->path, name);
}

static bool same_name(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool qcow2_open_backing(struct qcow2 *q, struct error *err)
{
    if (!q->backing_name || q->open.no_backing || q->open.check_only || !q->open.open_layer)
        return true;
    const char *format = q->open.backing_format ? q->open.backing_format : q->backing_format;
    const char *name = strncmp(q->backing_name, "file:", 5) == 0 ? q->backing_name + 5 : q->backing_name;
    char *path = qcow2_beside(q, name, err);
    bool ok = path && (q->open.open_layer(&q->open, path, format, &q->backing, err) ||
                       because(err, "backing file '%s'", q->backing_name));
    free(path);
    return ok;
}

bool qcow2_open_data(struct qcow2 *q, struct error *err)
{
    if (!q->data_name)
        return fail(err, E_DAMAGED, "the image keeps its data in an external file, but does not name it");
    if (!q->open.allow_data_file || !q->open.open_file)
        return fail(err, E_UNSUPPORTED,
                    "the image keeps its data in the external file '%s'; --allow-data-file opens it",
                    q->data_name);
    char *path = qcow2_beside(q, q->data_name, err);
    bool ok = path && (q->open.open_file(&q->open, path, !q->dev.read_only, &q->data, err) ||
                       because(err, "external data file '%s'", q->data_name));
    q->data_owned = ok && q->dev.read_only;
    free(path);
    return ok;
}

static bool open_data_file(struct qcow2 *q, struct error *err)
{
    q->data = qcow2_has_data_file(q) ? NULL : q->file;
    q->data_owned = false;
    return q->data || q->open.check_only || qcow2_open_data(q, err);
}

static void close_data_file(struct qcow2 *q)
{
    if (q->data_owned)
        device_close(q->data);
    q->data = NULL;
    q->data_owned = false;
}

/* Everything that was read out of the file. */
static void forget(struct qcow2 *q)
{
    qcow2_codec_forget(q);
    qcow2_index_free(q);
    cache_free(q->meta);
    q->meta = NULL;
    ranges_clear(&q->fresh);
    ranges_clear(&q->punch);
    ranges_clear(&q->touched);
    q->prepared = false;
    q->pack_offset = 0;
    q->cursor = q->cursor_low;
    q->epoch++;
}

/* What is remembered by cluster means others now: all that is there counts as freed since the last commit. */
static bool rescale(struct qcow2 *q, struct error *err)
{
    q->cursor = q->cursor_low = 0;
    ranges_clear(&q->freed);
    return ranges_add(&q->freed, 0, div_up(q->file->size, q->cluster_size), err);
}

/* Header and geometry; everything else is read when it is needed. */
static bool load(struct qcow2 *q, struct error *err)
{
    uint32_t bits = q->cluster_bits;
    bool ok = qcow2_header_read(q, err);
    if ((bits && bits != q->cluster_bits && !rescale(q, err)) || !ok)
        return false;
    q->meta = cache_new(&q->pad, q->block_size, META_CACHE, NULL, NULL, err);
    if (!q->meta)
        return false;
    q->dev.size = round_down(q->h.size, 512);
    q->active = (struct qcow2_disk){q, q->h.l1_table_offset, q->h.l1_size, q->dev.size};
    return true;
}

static bool refuse_data(const struct qcow2 *q, struct error *err)
{
    if (!q->meta)
        return fail(err, E_DAMAGED, "the image could not be read again; close it");
    if (q->refused[0])
        return fail(err, E_UNSUPPORTED, "%s", q->refused);
    if (q->h.crypt_method)
        return fail(err, E_UNSUPPORTED, "guest data are encrypted (%s), which dish cannot read",
                    q->h.crypt_method == 1 ? "AES" : "LUKS");
    return fail(err, E_UNSUPPORTED, "guest data are in the external file '%s'; --allow-data-file opens it",
                q->data_name ? q->data_name : "");
}

static bool map(struct device *dev, uint64_t off, struct extent *out, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    return q->meta ? qcow2_disk_map(&q->active, off, out, err) : refuse_data(q, err);
}

static bool guest_readable(const struct qcow2 *q)
{
    return q->meta && !q->refused[0] && !q->h.crypt_method && q->data;
}

static bool read_guest(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    return guest_readable(q) ? qcow2_disk_read(&q->active, off, buf, n, err) : refuse_data(q, err);
}

bool qcow2_flush(struct device *dev, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    if (!q->meta)
        return refuse_data(q, err);
    if (!qcow2_bitmaps_flush(q, err) || !cache_flush(q->meta, err) || !qcow2_punch(q, err))
        return false;
    ranges_clear(&q->fresh);
    return !q->data || q->data == q->file || device_flush(q->data, err);
}

static void committed(struct device *dev)
{
    struct qcow2 *q = qcow2_of(dev);
    struct range lowest;
    if (ranges_next(&q->freed, 0, &lowest)) {
        q->cursor = MIN_OF(q->cursor, lowest.start);
        q->cursor_low = MIN_OF(q->cursor_low, lowest.start);
    }
    ranges_clear(&q->freed);
    if (q->data && q->data != q->file)
        device_committed(q->data);
}

static bool reopen_others(struct qcow2 *q, const char *old_backing, const char *old_format,
                          const char *old_data, struct error *err)
{
    if (!same_name(old_backing, q->backing_name) || !same_name(old_format, q->backing_format)) {
        device_close(q->backing);
        q->backing = NULL;
        if (!qcow2_open_backing(q, err))
            return false;
    }
    if (same_name(old_data, q->data_name) && qcow2_has_data_file(q) == (q->data != q->file))
        return true;
    close_data_file(q);
    return open_data_file(q, err);
}

bool qcow2_reload(struct device *dev, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    char *old_backing = q->backing_name, *old_format = q->backing_format, *old_data = q->data_name;
    q->backing_name = q->backing_format = q->data_name = NULL;
    forget(q);
    bool ok = load(q, err) && reopen_others(q, old_backing, old_format, old_data, err);
    free(old_backing);
    free(old_format);
    free(old_data);
    return ok;
}

void qcow2_close(struct device *dev)
{
    struct qcow2 *q = qcow2_of(dev);
    forget(q);
    ranges_clear(&q->freed);
    qcow2_codec_free(q);
    qcow2_header_free(q);
    close_data_file(q);
    device_close(q->backing);
    free(q->bounce);
    free(q->path);
    free(q);
}

static const struct device_ops qcow2_ops = {
    .name = "qcow2",
    .read = read_guest,
    .write = qcow2_write,
    .zero = qcow2_zero,
    .discard = qcow2_discard,
    .resize = qcow2_resize,
    .map = map,
    .flush = qcow2_flush,
    .reload = qcow2_reload,
    .committed = committed,
    .describe = qcow2_describe,
    .close = qcow2_close,
};

bool qcow2_open_image(struct device *below, const struct container_open *open, struct qcow2 **out,
                      struct error *err)
{
    struct qcow2 *q = mem_new(sizeof *q, err);
    if (!q)
        return false;
    q->file = below;
    q->open = *open;
    q->dev = (struct device){.ops = &qcow2_ops,
                             .below = below,
                             .block_size = 512,
                             .read_only = below->read_only || open->read_only};
    qcow2_pad_init(q);
    q->path = mem_string(open->path ? open->path : "image", err);
    if (!q->path || !load(q, err) || !open_data_file(q, err) || !qcow2_open_backing(q, err)) {
        qcow2_close(&q->dev);
        return false;
    }
    *out = q;
    return true;
}

static bool open_container(struct device *below, const struct container_open *open, struct device **out,
                           struct error *err)
{
    struct qcow2 *q;
    if (!qcow2_open_image(below, open, &q, err))
        return false;
    *out = &q->dev;
    return true;
}

static struct device *backing(struct device *dev)
{
    return qcow2_of(dev)->backing;
}

static const char *refused(struct device *dev)
{
    const struct qcow2 *q = qcow2_of(dev);
    return q->refused[0] ? q->refused : NULL;
}

static uint64_t unit(struct device *dev)
{
    return qcow2_of(dev)->cluster_size;
}

/* The magic and a version of any number: what is wrong with the rest is said when it is opened. */
static unsigned probe(struct device *below)
{
    uint8_t raw[4];
    struct error ignored;
    if (below->size < sizeof raw || !device_read(below, 0, raw, sizeof raw, &ignored))
        return 0;
    return load_be32(raw) == QCOW2_MAGIC ? 32 : 0;
}

const struct container_driver qcow2_driver = {
    .head =
        {
            .name = "qcow2",
            .title = "QEMU copy on write, version 2 and 3",
            .spec = "QEMU docs/interop/qcow2",
            .type = DRIVER_CONTAINER,
            .probe = probe,
            .make_options = qcow2_options,
            .layouts = qcow2_layouts,
            .locate = qcow2_locate,
            .owner = qcow2_owner,
        },
    .suffixes = "qcow2",
    .preferred = true,
    .open = open_container,
    .create = qcow2_create,
    .info = qcow2_info,
    .measure = qcow2_measure,
    .check = qcow2_check,
    .snapshots = qcow2_snapshots,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_apply = qcow2_snapshot_apply,
    .snapshot_delete = qcow2_snapshot_delete,
    .snapshot_open = qcow2_snapshot_open,
    .bitmaps = qcow2_bitmaps_list,
    .bitmap_add = qcow2_bitmap_add,
    .bitmap_remove = qcow2_bitmap_remove,
    .bitmap_enable = qcow2_bitmap_enable,
    .bitmap_clear = qcow2_bitmap_clear,
    .bitmap_merge = qcow2_bitmap_merge,
    .set_backing = qcow2_set_backing,
    .backing = backing,
    .refused = refused,
    .make_empty = qcow2_make_empty,
    .amend = qcow2_amend,
    .unit = unit,
    .write_compressed = qcow2_write_compressed,
    .compact = qcow2_compact,
};
