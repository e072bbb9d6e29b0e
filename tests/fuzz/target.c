/*
 * One fuzz target over all drivers: a hostile image is probed, opened, walked, shown, read, changed, checked
 * and repaired by every driver that takes it. Nothing may crash, hang, or use memory beyond the image's size.
 *
 * The input is a sparse image: the size (8 bytes, little-endian), then records of offset (8), length (4) and
 * bytes. So a few kilobytes stand for an image of many megabytes, and mutations hit structures rather than
 * empty space.
 */
#include "bytes.h"
#include "driver.h"
#include "formats.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_SIZE = 64 * 1024 * 1024, MAX_ENTRIES = 200, MAX_OWNERS = 64, MAX_RUNS = 64, BUFFER = 8192 };

static struct device *decode(const uint8_t *data, size_t size, struct error *err)
{
    if (size < 8)
        return NULL;
    uint64_t image_size = load_le64(data);
    if (image_size < 512 || image_size > MAX_SIZE)
        return NULL;
    struct device *dev = memory_device_new(image_size, err);
    for (size_t at = 8; dev && size - at >= 12;) {
        uint64_t off = load_le64(data + at);
        size_t len = MIN_OF((size_t)load_le32(data + at + 8), size - at - 12);
        if (range_inside(off, len, image_size) &&
            !device_write(dev, off, data + at + 12, len, WRITE_UPDATE, err))
            break;
        at += 12 + len;
    }
    return dev;
}

/* ---- reports and rows that go nowhere ---- */

static void sink_key(struct report *r, const char *key)
{
    (void)r;
    (void)key;
}
static void sink_close(struct report *r)
{
    (void)r;
}
static void sink_text(struct report *r, const char *key, const char *bytes, size_t n)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + (uint8_t)bytes[i]);
    sink_key(r, key);
}
static void sink_number(struct report *r, const char *key, uint64_t value)
{
    (void)value;
    sink_key(r, key);
}
static void sink_signed(struct report *r, const char *key, int64_t value)
{
    (void)value;
    sink_key(r, key);
}
static void sink_bool(struct report *r, const char *key, bool value)
{
    (void)value;
    sink_key(r, key);
}
static const struct report_ops sink_ops = {sink_key,    sink_key,    sink_close,  sink_text, sink_number,
                                           sink_signed, sink_number, sink_number, sink_bool, sink_key};
static struct report sink = {&sink_ops};

static bool ignore_row(const struct row *row, void *arg, struct error *err)
{
    (void)row;
    (void)arg;
    (void)err;
    return true;
}

static bool show_part(const struct place *place, void *arg, struct error *err)
{
    unsigned *count = arg;
    struct error ignored = {0};
    (void)err;
    if (++*count > MAX_ENTRIES)
        return false;
    (void)!place_walk(place, ignore_row, NULL, &ignored);
    return true;
}

static void show_place(struct place *place)
{
    struct error err = {0};
    unsigned parts = 0;
    if (place->size == 0)
        place->size = place->layout->size;
    if (place->size > MAX_SIZE || !place_walk(place, ignore_row, NULL, &err))
        return;
    uint8_t *raw = calloc(1, place->size);
    if (raw && device_read(place->device, place->off, raw, place->size, &err)) {
        if (place->layout->check && !place->layout->check(place, raw, &err))
            err = (struct error){0};
        if (place->layout->parts && !place->layout->parts(place, raw, show_part, &parts, &err))
            err = (struct error){0};
    }
    free(raw);
}

static void show_all(const struct driver *driver, void *opened)
{
    static const char *const arguments[] = {"", "0", "1", "2", "11", "backup", "#2", "#1", "0 0"};
    if (!driver->locate)
        return;
    for (const struct layout *const *layout = driver->layouts; layout && *layout; layout++)
        for (size_t i = 0; i < ARRAY_LEN(arguments); i++) {
            struct place place = {0};
            struct error err = {0};
            if (driver->locate(opened, (*layout)->name, arguments[i], &place, &err)) {
                if (!place.owner)
                    place.owner = opened;
                show_place(&place);
            }
        }
}

static void ask_owners(const struct driver *driver, void *opened, uint64_t size)
{
    uint64_t off = 0;
    for (int i = 0; driver->owner && i < MAX_OWNERS && off < size; i++) {
        struct owner owner = {0};
        struct error err = {0};
        if (!driver->owner(opened, off, &owner, &err) || owner.len == 0)
            owner.len = 512;
        off += MAX_OF(owner.len, size / MAX_OWNERS);
    }
}

static bool ignore_finding(struct check *check, const struct finding *finding)
{
    unsigned *count = check->arg;
    (void)finding;
    return ++*count < 1000;
}

static struct check new_check(enum repair repair, unsigned *count)
{
    *count = 0;
    return (struct check){
        .repair = repair, .data = true, .found = ignore_finding, .arg = count, .summary = &sink};
}

/* ---- filesystems ---- */

struct names {
    fs_id dir;
    struct {
        fs_id id, dir;
        char name[300];
        uint32_t type;
    } entry[MAX_ENTRIES];
    unsigned count;
};

static bool collect(const struct fs_entry *entry, void *arg)
{
    struct names *names = arg;
    if (names->count == MAX_ENTRIES)
        return false;
    if (entry->id == 0)
        return true;
    names->entry[names->count].id = entry->id;
    names->entry[names->count].dir = names->dir;
    names->entry[names->count].type = entry->type;
    snprintf(names->entry[names->count].name, sizeof names->entry[0].name, "%s", entry->name);
    names->count++;
    return true;
}

static bool ignore_name(const char *name, void *arg)
{
    (void)name;
    unsigned *count = arg;
    return ++*count < MAX_ENTRIES;
}

static void read_file(struct fs *fs, fs_id id)
{
    static uint8_t buf[BUFFER];
    struct error err = {0};
    struct fs_attr attr;
    char target[4096];
    unsigned count = 0;
    if (!fs->driver->getattr(fs, id, &attr, &err))
        return;
    uint64_t off = 0;
    for (int i = 0; i < MAX_RUNS && off < attr.size; i++) {
        struct extent extent = {0};
        if (!fs->driver->map(fs, id, off, &extent, &err) || extent.len == 0)
            break;
        off += extent.len;
    }
    if (fs->driver->read && attr.size > 0 && S_ISREG(attr.mode)) {
        (void)!fs->driver->read(fs, id, 0, buf, (size_t)MIN_OF(attr.size, sizeof buf), &err);
        (void)!fs->driver->read(fs, id, attr.size - 1, buf, 1, &err);
    }
    if (S_ISLNK(attr.mode) && fs->driver->readlink)
        (void)!fs->driver->readlink(fs, id, target, sizeof target, &err);
    if (fs->driver->xattr_list)
        (void)!fs->driver->xattr_list(fs, id, ignore_name, &count, &err);
    if (fs->driver->describe)
        (void)!fs->driver->describe(fs, id, 0, &sink, &err);
}

static void walk_tree(struct fs *fs, struct names *names)
{
    struct error err = {0};
    names->dir = fs->root;
    names->count = 0;
    (void)!fs->driver->readdir(fs, fs->root, collect, names, &err);
    for (unsigned i = 0; i < names->count; i++) {
        fs_id found;
        err = (struct error){0};
        (void)!fs->driver->lookup(fs, names->entry[i].dir, names->entry[i].name, &found, &err);
        read_file(fs, names->entry[i].id);
        if (S_ISDIR(names->entry[i].type)) {
            names->dir = names->entry[i].id;
            (void)!fs->driver->readdir(fs, names->entry[i].id, collect, names, &err);
        }
    }
}

/*
 * After a failed change the session would revert the stage and reload; here the reload alone must be safe. A
 * filesystem that cannot read itself again is only closed: false.
 */
static bool settle(struct fs *fs, bool ok)
{
    struct error err = {0};
    if (ok)
        ok = fs->driver->flush(fs, &err);
    return ok || fs->driver->reload(fs, &err);
}

/* An entry that was there before: its attributes, owner, name and contents. */
static bool change_entry(struct fs *fs, const struct names *names, unsigned i)
{
    static const uint8_t bytes[5000] = {9, 8, 7};
    const struct fs_driver *d = fs->driver;
    fs_id id = names->entry[i].id, dir = names->entry[i].dir, moved;
    const char *name = names->entry[i].name;
    struct fs_attr attr = {.uid = 70000 + i, .gid = i, .mode = 0640};
    struct error err = {0};
    char other[32];
    bool alive = true;
    snprintf(other, sizeof other, "another name %u", i);
    if (d->setattr)
        alive = settle(fs, d->setattr(fs, id, &attr, ATTR_UID | ATTR_GID | ATTR_MODE, &err));
    if (alive && d->xattr_set)
        alive = settle(fs, d->xattr_set(fs, id, "user.one", NULL, 0, &err)) &&
                settle(fs, d->xattr_set(fs, id, "user.new", bytes, i * 100, &err));
    if (alive && !S_ISDIR(names->entry[i].type) && d->link)
        alive = settle(fs, d->link(fs, id, fs->root, other, &err));
    if (alive && d->rename)
        alive = settle(fs, d->rename(fs, dir, name, fs->root, "moved", &moved, &err)) &&
                settle(fs, d->rename(fs, fs->root, "moved", dir, name, &moved, &err));
    if (alive && S_ISREG(names->entry[i].type) && d->truncate)
        alive = settle(fs, d->truncate(fs, id, i * 777, &err));
    if (alive && S_ISREG(names->entry[i].type) && d->write)
        alive = settle(fs, d->write(fs, id, i * 4096, bytes, sizeof bytes, &err));
    if (alive && S_ISREG(names->entry[i].type) && d->punch)
        alive = settle(fs, d->punch(fs, id, 2000, 20000, &err));
    if (alive && i % 2 == 0)
        alive = settle(fs, d->remove(fs, dir, name, &err));
    if (alive && i == 4 && d->undelete)
        alive = settle(fs, d->undelete(fs, id, fs->root, "back again", &err));
    return alive;
}

static bool change_tree(struct fs *fs, struct names *names)
{
    static const uint8_t bytes[5000] = {1, 2, 3};
    const struct fs_driver *d = fs->driver;
    struct fs_attr attr = {.mode = S_IFREG | 0644, .size = sizeof bytes}, dir = {.mode = S_IFDIR | 0755};
    struct error err = {0};
    fs_id file = 0, made = 0;
    if (fs->change != FS_IN_PLACE || !d->create)
        return true;
    bool alive = settle(fs, d->create(fs, fs->root, "fuzz.txt", &attr, NULL, &file, &err));
    if (alive && file && d->write)
        alive = settle(fs, d->write(fs, file, 100, bytes, sizeof bytes, &err));
    alive = alive &&
            settle(fs, d->create(fs, fs->root, "a longer name for a directory", &dir, NULL, &made, &err));
    if (alive && file && d->rename)
        alive = settle(fs, d->rename(fs, fs->root, "fuzz.txt", fs->root, "renamed.txt", &file, &err));
    if (alive && file && d->xattr_set)
        alive = settle(fs, d->xattr_set(fs, file, "user.fuzz", bytes, 300, &err));
    for (unsigned i = 0; alive && i < names->count && i < 8; i++)
        alive = change_entry(fs, names, i);
    return alive && settle(fs, d->remove(fs, fs->root, "renamed.txt", &err));
}

static bool ignore_entry(const struct fs_entry *entry, void *arg)
{
    unsigned *count = arg;
    (void)entry;
    return ++*count < MAX_ENTRIES;
}

static bool ignore_run(uint64_t off, uint64_t len, void *arg)
{
    unsigned *count = arg;
    (void)off;
    (void)len;
    return ++*count < MAX_ENTRIES;
}

static void try_filesystem(const struct fs_driver *driver, struct device *dev)
{
    static struct names names;
    struct error err = {0};
    struct fs_stat stat;
    struct fs *fs;
    unsigned count = 0;
    if (driver->head.probe(dev) == 0 || !driver->open(dev, false, &fs, &err))
        return;
    (void)!driver->statfs(fs, &stat, &err);
    walk_tree(fs, &names);
    show_all(&driver->head, fs);
    ask_owners(&driver->head, fs, dev->size);
    if (driver->free_runs)
        (void)!driver->free_runs(fs, ignore_run, &count, &err);
    if (driver->deleted)
        (void)!driver->deleted(fs, 0, ignore_entry, &count, &err);
    if (driver->info)
        (void)!driver->info(fs, true, &sink, &err);
    struct check check = new_check(REPAIR_NONE, &count);
    if (driver->check)
        (void)!driver->check(fs, &check, &err);
    bool alive = change_tree(fs, &names);
    check = new_check(REPAIR_ALL, &count);
    if (alive && driver->check && fs->change == FS_IN_PLACE)
        (void)!settle(fs, driver->check(fs, &check, &err));
    driver->close(fs);
}

/* ---- tables ---- */

static void try_table(const struct table_driver *driver, struct device *dev)
{
    struct error err = {0};
    struct table *table;
    unsigned count;
    if (driver->head.probe(dev) == 0 || !driver->load(dev, &table, &err))
        return;
    show_all(&driver->head, table);
    ask_owners(&driver->head, table, dev->size);
    struct check check = new_check(REPAIR_NONE, &count);
    if (driver->verify)
        (void)!driver->verify(table, &check, &err);
    if (driver->store)
        (void)!driver->store(table, &err);
    check = new_check(REPAIR_ALL, &count);
    if (driver->verify)
        (void)!driver->verify(table, &check, &err);
    driver->free(table);
}

/* ---- containers ---- */

static bool no_file(const struct container_open *open, const char *path, bool writable, struct device **out,
                    struct error *err)
{
    (void)open;
    (void)writable;
    (void)out;
    return fail(err, E_NOENT, "%s: not here", path);
}

static bool no_layer(const struct container_open *open, const char *path, const char *format,
                     struct device **out, struct error *err)
{
    (void)format;
    return no_file(open, path, false, out, err);
}

static void no_warning(const struct container_open *open, const char *fmt, ...)
{
    (void)open;
    (void)fmt;
}

static bool ignore_snapshot(const struct snapshot_info *info, void *arg)
{
    (void)info;
    unsigned *count = arg;
    return ++*count < MAX_ENTRIES;
}

static void use_disk(struct device *disk)
{
    static uint8_t buf[BUFFER];
    struct error err = {0};
    uint64_t off = 0;
    for (int i = 0; i < MAX_RUNS && off < disk->size; i++) {
        struct extent extent = {0};
        (void)!device_read(disk, off, buf, (size_t)MIN_OF(disk->size - off, sizeof buf), &err);
        if (disk->ops->describe)
            (void)!disk->ops->describe(disk, off, &sink, &err);
        if (!device_map(disk, off, &extent, &err) || extent.len == 0)
            extent.len = 65536;
        off += extent.len;
    }
    for (size_t i = 0; all_formats.tables[i]; i++)
        try_table(all_formats.tables[i], disk);
    for (size_t i = 0; all_formats.filesystems[i]; i++)
        try_filesystem(all_formats.filesystems[i], disk);
}

static void change_disk(struct device *disk)
{
    static const uint8_t bytes[BUFFER] = {7};
    struct error err = {0};
    bool ok = device_write(disk, disk->size / 3, bytes,
                           (size_t)MIN_OF(disk->size - disk->size / 3, sizeof bytes), WRITE_UPDATE, &err);
    ok = ok && device_zero(disk, 0, MIN_OF(disk->size, 100000), WRITE_UPDATE, &err);
    ok = ok && device_discard(disk, disk->size / 2, disk->size - disk->size / 2, &err);
    if (!ok || !device_flush(disk, &err))
        (void)!device_reload(disk, &err);
}

static void try_container(const struct container_driver *driver, struct device *dev)
{
    const struct container_open open = {
        .path = "fuzz", .open_file = no_file, .open_layer = no_layer, .warn = no_warning, .no_backing = true};
    struct error err = {0};
    struct device *disk;
    unsigned count;
    if (driver->head.probe(dev) == 0 || !driver->open(dev, &open, &disk, &err))
        return;
    if (driver->info)
        (void)!driver->info(disk, true, &sink, &err);
    struct check check = new_check(REPAIR_NONE, &count);
    if (driver->check)
        (void)!driver->check(disk, &check, &err);
    show_all(&driver->head, disk);
    ask_owners(&driver->head, disk, dev->size);
    count = 0;
    if (driver->snapshots)
        (void)!driver->snapshots(disk, ignore_snapshot, &count, &err);
    use_disk(disk);
    change_disk(disk);
    check = new_check(REPAIR_ALL, &count);
    if (driver->check && driver->check(disk, &check, &err))
        (void)!device_flush(disk, &err);
    device_close(disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {0};
    for (size_t i = 0; all_formats.containers[i]; i++) {
        struct device *dev = decode(data, size, &err);
        if (!dev)
            return 0;
        try_container(all_formats.containers[i], dev);
        device_close(dev);
    }
    return 0;
}
