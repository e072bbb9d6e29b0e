#include "where.h"

#include "alloc.h"
#include "bytes.h"
#include "file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- down: file, volume, disk, container, host ---- */

static bool is_stage(const struct device *dev)
{
    return strcmp(dev->ops->name, "stage") == 0;
}

static void report_flags(struct report *report, unsigned flags)
{
    static const struct {
        unsigned flag;
        const char *text;
    } names[] = {
        {EXTENT_HOLE, "hole: nothing is stored, reads as zeros"},
        {EXTENT_ZERO, "marked as zeros"},
        {EXTENT_COMPRESSED, "compressed: the payload begins here"},
        {EXTENT_INLINE, "inline: inside a metadata structure"},
        {EXTENT_UNWRITTEN, "unwritten: allocated, reads as zeros"},
        {EXTENT_BACKING, "in the backing file"},
    };
    if (flags & EXTENT_HOLE)
        flags &= ~(unsigned)EXTENT_ZERO; /* said already */
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (flags & names[i].flag)
            report_text(report, "state", names[i].text);
}

/* The containers of a backing chain: the image's own under its name, those below as backing-1, -2 ... */
static bool report_container(struct device *dev, uint64_t off, unsigned depth, struct report *report,
                             struct error *err)
{
    char key[32];
    snprintf(key, sizeof key, "backing-%u", depth);
    report_open(report, depth ? key : dev->ops->name);
    report_hex(report, "offset", off);
    report_number(report, "lba", off / dev->block_size);
    bool ok = !dev->ops->describe || dev->ops->describe(dev, off, report, err);
    report_close(report);
    return ok;
}

bool where_device(struct device *dev, uint64_t off, struct report *report, struct error *err)
{
    unsigned depth = 0;
    for (;;) {
        struct extent extent;
        if (is_stage(dev)) {
            report_open(report, "host");
            report_text(report, "file", stage_path(dev));
            report_hex(report, "offset", off);
            report_close(report);
            return true;
        }
        bool partition = strcmp(dev->ops->name, "partition") == 0;
        if (!partition && strcmp(dev->ops->name, "layer") != 0 &&
            !report_container(dev, off, depth++, report, err))
            return false;
        if (off >= dev->size)
            return true;
        if (!device_map(dev, off, &extent, err))
            return false;
        /* A volume that is the whole disk is no layer worth telling of. */
        if (partition && extent.off != off) {
            report_open(report, "volume");
            report_hex(report, "offset", off);
            report_close(report);
        }
        if ((extent.flags & (EXTENT_HOLE | EXTENT_ZERO)) || !extent.device)
            return true;
        dev = extent.device;
        off = extent.off;
    }
}

/* Down to the host file, or to the layer that stores nothing; len becomes what stays in one piece so far. */
static struct extent bottom_of(struct extent extent)
{
    struct error ignored = {0};
    uint64_t len = extent.len;
    while (extent.device && !(extent.flags & (EXTENT_HOLE | EXTENT_ZERO | EXTENT_INLINE)) &&
           !is_stage(extent.device) && extent.off < extent.device->size) {
        if (!device_map(extent.device, extent.off, &extent, &ignored))
            break;
        len = MIN_OF(len, extent.len);
    }
    extent.len = len;
    return extent;
}

/* How long the run is that is contiguous in the host file; the layers may know it in pieces. */
static uint64_t run_below(const struct extent *extent)
{
    struct extent first = bottom_of(*extent);
    uint64_t len = first.len;
    while (first.device && len < extent->len) {
        struct extent rest = *extent;
        rest.off += len;
        rest.len -= len;
        rest = bottom_of(rest);
        if (rest.device != first.device || rest.flags != first.flags || rest.off != first.off + len)
            break;
        len += rest.len;
    }
    return len;
}

static bool report_extent(struct volume *volume, fs_id id, uint64_t off, const struct extent *extent,
                          uint64_t len, struct report *report, struct error *err)
{
    const struct fs *fs = volume->fs;
    report_open(report, NULL);
    report_number(report, "file-offset", off);
    report_number(report, "length", len);
    report_open(report, fs->type);
    bool ok = !fs->driver->describe || fs->driver->describe(volume->fs, id, off, report, err);
    report_close(report);
    report_flags(report, extent->flags);
    if (ok && extent->device && !(extent->flags & EXTENT_HOLE)) {
        report_number(report, "partition", volume->number);
        ok = where_device(extent->device, extent->off, report, err);
    }
    report_close(report);
    return ok;
}

bool where_file(struct volume *volume, fs_id id, struct report *report, struct error *err)
{
    struct fs_attr attr;
    if (!file_attr(volume, id, &attr, err))
        return false;
    report_number(report, "size", attr.size);
    report_number(report, "id", id);
    report_open_list(report, "extents");
    bool ok = true;
    for (uint64_t off = 0; ok && off < attr.size;) {
        struct extent extent;
        ok = file_map(volume, id, off, &extent, err);
        if (!ok)
            break;
        uint64_t len = MIN_OF(run_below(&extent), attr.size - off);
        ok = report_extent(volume, id, off, &extent, len, report, err) && interrupt_check(err);
        off += len;
    }
    report_close(report);
    return ok;
}

/* ---- up: host, container, disk, volume, file ---- */

/* Directories still to be searched, with their paths. */
struct search {
    struct volume *volume;
    struct pending_dir {
        fs_id id;
        char *path;
    } * dirs;
    size_t count, capacity;
    uint64_t dirs_seen, max_dirs;
    uint64_t off; /* the byte looked for, when by_byte */
    bool by_byte;
    fs_id wanted; /* otherwise this file */
    bool found;
    fs_id found_id;
    uint64_t found_off, found_len;
    char *found_path;
    const char *dir_path;
    struct error *err;
    bool failed;
};

static bool holds_byte(struct search *search, fs_id id)
{
    struct error ignored = {0};
    struct fs_attr attr;
    if (!file_attr(search->volume, id, &attr, &ignored))
        return false;
    for (uint64_t off = 0; off < attr.size;) {
        struct extent extent;
        if (!file_map(search->volume, id, off, &extent, &ignored) || extent.len == 0)
            return false;
        bool here = extent.device && !(extent.flags & (EXTENT_HOLE | EXTENT_INLINE));
        if (here && search->off >= extent.off && search->off - extent.off < extent.len) {
            search->found_off = off + (search->off - extent.off);
            search->found_len = extent.len - (search->off - extent.off);
            return true;
        }
        off += extent.len;
    }
    return false;
}

static bool push_dir(struct search *search, fs_id id, char *path)
{
    if (!mem_grow(&search->dirs, &search->capacity, search->count + 1, sizeof *search->dirs, search->err)) {
        free(path);
        search->failed = true;
        return false;
    }
    search->dirs[search->count++] = (struct pending_dir){id, path};
    return true;
}

static bool visit_entry(const struct fs_entry *entry, void *arg)
{
    struct search *search = arg;
    if (entry->id == 0 || entry->fault)
        return true;
    bool match = search->by_byte ? holds_byte(search, entry->id) : entry->id == search->wanted;
    bool dir = S_ISDIR(entry->type);
    if (!match && !dir)
        return true;
    bool top = strcmp(search->dir_path, "/") == 0;
    char *path = mem_printf(search->err, "%s/%s", top ? "" : search->dir_path, entry->name);
    if (!path) {
        search->failed = true;
        return false;
    }
    if (match) {
        search->found = true;
        search->found_id = entry->id;
        search->found_path = path;
        return false;
    }
    return push_dir(search, entry->id, path);
}

/* Breadth does not matter; a damaged tree with cycles ends at the number of directories a volume can have. */
static bool run_search(struct search *search, struct error *err)
{
    char *root = mem_string("/", err);
    struct fs *fs = search->volume->fs;
    search->err = err;
    search->max_dirs = 50 * 1000 * 1000;
    if (!root || !push_dir(search, fs->root, root))
        return false;
    if (search->by_byte && holds_byte(search, fs->root)) {
        search->found = true;
        search->found_id = fs->root;
        search->found_path = mem_string("/", err);
    }
    while (search->count > 0 && !search->found && !search->failed && search->dirs_seen++ < search->max_dirs) {
        struct pending_dir dir = search->dirs[--search->count];
        struct error ignored = {0};
        search->dir_path = dir.path;
        bool read = file_readdir(search->volume, dir.id, visit_entry, search, &ignored);
        free(dir.path);
        if (!read && ignored.kind == E_INTERRUPTED) {
            *err = ignored;
            search->failed = true;
        }
    }
    while (search->count > 0)
        free(search->dirs[--search->count].path);
    free(search->dirs);
    return !search->failed;
}

bool path_of_file(struct volume *volume, fs_id id, char **path, struct error *err)
{
    struct search search = {.volume = volume, .wanted = id};
    struct fs *fs;
    if (!volume_fs(volume, &fs, err))
        return false;
    if (id == fs->root) {
        *path = mem_string("/", err);
        return *path != NULL;
    }
    if (!run_search(&search, err))
        return false;
    *path = search.found_path;
    return search.found || fail(err, E_NOENT, "no name leads to file %" PRIu64, id);
}

/* Bytes of a directory are an entry, where the driver can tell it. */
static bool in_directory(struct volume *volume, uint64_t off, fs_id id, struct owner *owner,
                         struct error *err)
{
    struct fs_attr attr;
    return file_attr(volume, id, &attr, err) &&
           (!S_ISDIR(attr.mode) || volume->fs->driver->dir_owner(volume->fs, off, owner, err));
}

bool what_in_volume(struct volume *volume, uint64_t off, struct owner *owner, char **path, struct error *err)
{
    struct fs *fs;
    *owner = (struct owner){.kind = OWNER_UNKNOWN, .len = 1};
    *path = NULL;
    if (!volume_fs(volume, &fs, err))
        return false;
    if (fs->driver->head.owner && !fs->driver->head.owner(fs, off, owner, err))
        return false;
    if (owner->kind == OWNER_UNKNOWN || (owner->kind == OWNER_DATA && owner->file == 0)) {
        struct search search = {.volume = volume, .off = off, .by_byte = true};
        if (!run_search(&search, err))
            return false;
        if (search.found) {
            owner->kind = OWNER_DATA;
            owner->file = search.found_id;
            owner->file_off = search.found_off;
            owner->len = search.found_len;
            *path = search.found_path;
            if (fs->driver->dir_owner && !in_directory(volume, off, search.found_id, owner, err))
                return false;
        }
    } else if (owner->kind == OWNER_DATA || owner->kind == OWNER_SLACK) {
        struct error ignored = {0};
        if (!path_of_file(volume, owner->file, path, &ignored))
            *path = NULL;
    }
    return true;
}

static bool emit_volume(struct volume *volume, uint64_t off, what_fn *emit, void *arg, struct error *err)
{
    const struct fs_driver *driver;
    struct what_step step = {.device = volume->device, .off = off, .volume = volume};
    if (!volume_probe(volume, &driver, err))
        return false;
    if (!driver) {
        step.layer = "volume";
        step.owner = (struct owner){.kind = OWNER_UNKNOWN, .len = 1};
        snprintf(step.owner.text, sizeof step.owner.text, "volume %u, which holds %s", volume->number,
                 volume->foreign ? volume->foreign->title : "no filesystem that dish knows");
        return emit(&step, arg, err);
    }
    if (!what_in_volume(volume, off, &step.owner, &step.path, err))
        return false;
    step.layer = volume->fs->type;
    bool ok = emit(&step, arg, err);
    free(step.path);
    return ok;
}

static struct volume *volume_at(const struct image *image, uint64_t off)
{
    for (size_t i = 0; i < image->volume_count; i++) {
        struct volume *volume = image->volumes[i];
        if ((volume->number != 0 || !image->table) && off >= volume->start &&
            off - volume->start < volume->device->size)
            return volume;
    }
    return NULL;
}

static bool emit_disk(struct image *image, uint64_t off, what_fn *emit, void *arg, struct error *err)
{
    struct table *table = image->table;
    struct volume *volume = volume_at(image, off);
    struct what_step step = {.device = image->disk, .off = off};
    if (table) {
        step.layer = table->driver->head.name;
        step.owner = (struct owner){.kind = OWNER_RESERVED, .len = 1};
        if (table->driver->head.owner && !table->driver->head.owner(table, off, &step.owner, err))
            return false;
        if (!step.owner.text[0] && volume)
            snprintf(step.owner.text, sizeof step.owner.text, "partition %u", volume->number);
        if (!emit(&step, arg, err))
            return false;
    }
    return !volume || emit_volume(volume, off - volume->start, emit, arg, err);
}

static bool emit_file(struct image *image, uint64_t off, what_fn *emit, void *arg, struct error *err)
{
    struct what_step step = {.layer = image->container->head.name, .device = image->file, .off = off};
    step.owner = (struct owner){.kind = OWNER_DATA, .len = image->file->size - off, .file_off = off};
    if (image->container->head.owner && !image->container->head.owner(image->disk, off, &step.owner, err))
        return false;
    if (!emit(&step, arg, err))
        return false;
    bool guest = step.owner.kind == OWNER_DATA && step.owner.file_off < image->disk->size;
    return !guest || emit_disk(image, step.owner.file_off, emit, arg, err);
}

bool what_at(const struct location *location, uint64_t off, what_fn *emit, void *arg, struct error *err)
{
    struct device *device = location_device(location);
    if (off >= device->size)
        return fail(err, E_INVALID, "offset 0x%" PRIx64 " is past the end (0x%" PRIx64 ")", off,
                    device->size);
    if (location->kind == LOCATION_FILE)
        return emit_file(location->image, off, emit, arg, err);
    if (location->volume->number == 0)
        return emit_disk(location->image, off, emit, arg, err);
    return emit_volume(location->volume, off, emit, arg, err);
}
