#include "file.h"

#include "alloc.h"
#include "bytes.h"
#include "clock.h"
#include "names.h"
#include "utf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

/* A parent chain longer than this is a cycle; no real tree comes near it. */
enum { MAX_DEPTH = 1 << 20 };

static bool cannot(const struct fs *fs, const char *what, struct error *err)
{
    return fail(err, E_UNSUPPORTED, "%s cannot %s", fs->type, what);
}

const char *file_type_name(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "regular file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "symbolic link";
    case S_IFCHR:
        return "character device";
    case S_IFBLK:
        return "block device";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    default:
        return "file of unknown type";
    }
}

static bool fs_writable(struct volume *volume, struct fs **out, struct error *err)
{
    struct fs *fs;
    if (!volume_fs(volume, &fs, err))
        return false;
    *out = fs;
    if (volume->image->session->options.read_only)
        return fail(err, E_READONLY, "the session is read-only (-r)");
    if (volume->device->read_only)
        return fail(err, E_READONLY, "the image was opened read-only");
    if (fs->change == FS_NEVER)
        return fail(err, E_READONLY, "%s volume %u is read-only: %s", fs->type, volume->number, fs->why);
    return true;
}

bool file_writable(struct volume *volume, struct error *err)
{
    struct fs *fs;
    return fs_writable(volume, &fs, err);
}

bool file_begin_change(struct volume *volume, struct fs **out, struct error *err)
{
    if (!fs_writable(volume, out, err))
        return false;
    (*out)->changing = true;
    return true;
}

bool file_root(struct volume *volume, fs_id *out, struct error *err)
{
    struct fs *fs;
    if (!volume_fs(volume, &fs, err))
        return false;
    *out = fs->root;
    return true;
}

/* ---- looking ------------------------------------------------------------------------------------------ */

static bool no_such(struct error *err)
{
    return fail(err, E_NOENT, "no such file or directory");
}

bool file_lookup(struct volume *volume, fs_id dir, const char *name, fs_id *out, struct error *err)
{
    struct fs *fs;
    uint32_t type = 0;
    if (!volume_fs(volume, &fs, err))
        return false;
    switch (names_find(volume, dir, name, out, &type)) {
    case NAME_PRESENT:
        return true;
    case NAME_ABSENT:
        return no_such(err);
    case NAME_UNKNOWN:
        break;
    }
    if (fs->driver->lookup(fs, dir, name, out, err)) {
        names_store(volume, dir, name, *out, 0);
        return true;
    }
    if (err->kind != E_NOENT)
        return false;
    names_store(volume, dir, name, 0, 0);
    return no_such(err);
}

bool file_lookup_type(struct volume *volume, fs_id dir, const char *name, fs_id *out, uint32_t *type,
                      struct error *err)
{
    *type = 0;
    if (!file_lookup(volume, dir, name, out, err))
        return false;
    fs_id same;
    if (names_find(volume, dir, name, &same, type) == NAME_PRESENT && *type)
        return true;
    struct fs_attr attr;
    if (!file_attr(volume, *out, &attr, err))
        return false;
    *type = attr.mode & S_IFMT;
    names_store(volume, dir, name, *out, *type);
    return true;
}

bool file_attr(struct volume *volume, fs_id id, struct fs_attr *attr, struct error *err)
{
    struct fs *fs;
    if (!volume_fs(volume, &fs, err))
        return false;
    *attr = (struct fs_attr){.id = id};
    return fs->driver->getattr(fs, id, attr, err);
}

bool file_readdir(struct volume *volume, fs_id dir, fs_entry_fn *emit, void *arg, struct error *err)
{
    struct fs *fs;
    return volume_fs(volume, &fs, err) && fs->driver->readdir(fs, dir, emit, arg, err);
}

bool file_parent(struct volume *volume, fs_id dir, fs_id *out, struct error *err)
{
    struct fs *fs;
    if (!volume_fs(volume, &fs, err))
        return false;
    if (dir == fs->root) {
        *out = dir;
        return true;
    }
    if (!fs->driver->parent)
        return cannot(fs, "tell the parent of a directory", err);
    return fs->driver->parent(fs, dir, out, err);
}

bool file_readlink(struct volume *volume, fs_id id, char **target, struct error *err)
{
    struct fs *fs;
    if (!volume_fs(volume, &fs, err))
        return false;
    if (!fs->driver->readlink)
        return cannot(fs, "hold a symbolic link", err);
    const char *known = names_find_link(volume, id);
    if (known)
        return (*target = mem_string(known, err)) != NULL;
    /* 64 KiB is the most that any format allows. */
    for (size_t size = 4096;; size = 65536 + 1) {
        char *buf = mem_new(size, err);
        if (!buf)
            return false;
        if (fs->driver->readlink(fs, id, buf, size, err)) {
            names_store_link(volume, id, buf);
            *target = buf;
            return true;
        }
        free(buf);
        if (err->kind != E_TOOBIG || size > 65536)
            return false;
    }
}

bool file_map(struct volume *volume, fs_id id, uint64_t off, struct extent *out, struct error *err)
{
    struct fs *fs;
    if (!volume_fs(volume, &fs, err))
        return false;
    if (!fs->driver->map)
        return cannot(fs, "tell where its bytes lie", err);
    *out = (struct extent){0};
    if (!fs->driver->map(fs, id, off, out, err))
        return false;
    return out->len || damaged(err, fs->device, out->off,
                               "the map of file %" PRIu64 " is empty at byte %" PRIu64, id, off);
}

/* The same for a format whose files are plain bytes of the volume. */
static bool read_mapped(struct volume *volume, fs_id id, uint64_t off, uint8_t *buf, size_t n,
                        struct error *err)
{
    while (n > 0) {
        struct extent run;
        if (!file_map(volume, id, off, &run, err))
            return false;
        size_t part = run.len < n ? (size_t)run.len : n;
        if (run.flags & (EXTENT_HOLE | EXTENT_ZERO | EXTENT_UNWRITTEN))
            memset(buf, 0, part);
        else if (run.flags & EXTENT_COMPRESSED)
            return fail(err, E_UNSUPPORTED, "the file is compressed");
        else if (!device_read(run.device ? run.device : volume->fs->device, run.off, buf, part, err))
            return false;
        buf += part;
        off += part;
        n -= part;
    }
    return true;
}

bool file_read_inside(struct volume *volume, fs_id id, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct fs *fs;
    if (!volume_fs(volume, &fs, err))
        return false;
    if (n == 0)
        return true;
    if (fs->driver->read)
        return fs->driver->read(fs, id, off, buf, n, err);
    return read_mapped(volume, id, off, buf, n, err);
}

bool file_read(struct volume *volume, fs_id id, uint64_t off, void *buf, size_t n, size_t *got,
               struct error *err)
{
    struct fs_attr attr;
    *got = 0;
    if (!file_attr(volume, id, &attr, err))
        return false;
    if (off >= attr.size)
        return true;
    if (n > attr.size - off)
        n = (size_t)(attr.size - off);
    if (!file_read_inside(volume, id, off, buf, n, err))
        return false;
    *got = n;
    return true;
}

bool file_xattr_list(struct volume *volume, fs_id id, bool (*emit)(const char *, void *), void *arg,
                     struct error *err)
{
    struct fs *fs;
    if (!volume_fs(volume, &fs, err))
        return false;
    return !fs->driver->xattr_list || fs->driver->xattr_list(fs, id, emit, arg, err);
}

bool file_xattr_get(struct volume *volume, fs_id id, const char *name, void **value, size_t *len,
                    struct error *err)
{
    struct fs *fs;
    if (!volume_fs(volume, &fs, err))
        return false;
    if (!fs->driver->xattr_get)
        return fail(err, E_NOENT, "no such extended attribute");
    return fs->driver->xattr_get(fs, id, name, value, len, err);
}

/* ---- changing ----------------------------------------------------------------------------------------- */

/* A name that POSIX allows and the format can hold. */
static bool check_name(const struct fs *fs, const char *name, struct error *err)
{
    size_t len = strlen(name);
    if (len == 0)
        return fail(err, E_NAME, "an empty name");
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
        return fail(err, E_NAME, "'%s' cannot be the name of a file", name);
    if (!fs->limits->name_utf16) {
        if (len > fs->limits->max_name)
            return fail(err, E_NAME, "the name has %zu bytes; %s holds %u", len, fs->type,
                        fs->limits->max_name);
        return true;
    }
    if (!utf8_valid(name, len, UTF_WTF8))
        return fail(err, E_NAME, "the name is not valid UTF-8, and %s holds names as UTF-16", fs->type);
    size_t units = 0;
    for (size_t i = 0; i < len; i++)
        units += ((uint8_t)name[i] & 0xC0) != 0x80 ? 1 + ((uint8_t)name[i] >= 0xF0) : 0;
    if (units > fs->limits->max_name)
        return fail(err, E_NAME, "the name has %zu UTF-16 units; %s holds %u", units, fs->type,
                    fs->limits->max_name);
    return true;
}

static bool check_type(const struct fs *fs, uint32_t mode, struct error *err)
{
    const struct fs_limits *limits = fs->limits;
    switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
        return true;
    case S_IFLNK:
        return limits->symlinks || cannot(fs, "hold a symbolic link", err);
    case S_IFCHR:
    case S_IFBLK:
        return limits->devices || cannot(fs, "hold a device node", err);
    case S_IFIFO:
    case S_IFSOCK:
        return limits->fifos || cannot(fs, "hold a fifo or a socket", err);
    default:
        return fail(err, E_INVALID, "mode %o has no file type", mode);
    }
}

static bool set_times_now(struct fs *fs, fs_id id, unsigned mask, struct error *err)
{
    if (!fs->driver->setattr)
        return true;
    struct fs_time now = clock_now();
    struct fs_attr attr = {.id = id, .mtime = now, .ctime = now};
    return fs->driver->setattr(fs, id, &attr, mask, err);
}

static bool absent(struct volume *volume, fs_id dir, const char *name, struct error *err)
{
    fs_id there;
    if (file_lookup(volume, dir, name, &there, err))
        return fail(err, E_EXIST, "file exists");
    return err->kind == E_NOENT;
}

bool file_create_with(struct volume *volume, fs_id dir, const char *name, const struct fs_attr *attr,
                      const char *target, unsigned flags, fs_id *out, struct error *err)
{
    struct fs *fs;
    if (!file_begin_change(volume, &fs, err) || !check_name(fs, name, err) ||
        !check_type(fs, attr->mode, err))
        return false;
    if (!fs->driver->create)
        return cannot(fs, "take new files", err);
    if (S_ISREG(attr->mode) && attr->size > fs->limits->max_file_size)
        return fail(err, E_TOOBIG, "%" PRIu64 " bytes are more than a file on %s can have (%" PRIu64 ")",
                    attr->size, fs->type, fs->limits->max_file_size);
    if (!(flags & FILE_ABSENT) && !absent(volume, dir, name, err))
        return false;
    names_forget(volume, dir, name);
    if (!fs->driver->create(fs, dir, name, attr, target, out, err))
        return false;
    names_store(volume, dir, name, *out, attr->mode & S_IFMT);
    names_forget_link(volume, *out);
    return (flags & FILE_KEEP_TIMES) || set_times_now(fs, dir, ATTR_MTIME | ATTR_CTIME, err);
}

bool file_create(struct volume *volume, fs_id dir, const char *name, const struct fs_attr *attr,
                 const char *target, fs_id *out, struct error *err)
{
    return file_create_with(volume, dir, name, attr, target, 0, out, err);
}

bool file_link_with(struct volume *volume, fs_id id, fs_id dir, const char *name, unsigned flags,
                    struct error *err)
{
    struct fs *fs;
    struct fs_attr attr;
    if (!file_begin_change(volume, &fs, err) || !check_name(fs, name, err))
        return false;
    if (!fs->limits->hard_links || !fs->driver->link)
        return cannot(fs, "hold hard links", err);
    if (!file_attr(volume, id, &attr, err))
        return false;
    if (S_ISDIR(attr.mode))
        return fail(err, E_ISDIR, "a directory cannot have a second name");
    if (!(flags & FILE_ABSENT) && !absent(volume, dir, name, err))
        return false;
    names_forget(volume, dir, name);
    if (!fs->driver->link(fs, id, dir, name, err))
        return false;
    names_store(volume, dir, name, id, attr.mode & S_IFMT);
    if (!set_times_now(fs, id, ATTR_CTIME, err))
        return false;
    return (flags & FILE_KEEP_TIMES) || set_times_now(fs, dir, ATTR_MTIME | ATTR_CTIME, err);
}

bool file_link(struct volume *volume, fs_id id, fs_id dir, const char *name, struct error *err)
{
    return file_link_with(volume, id, dir, name, 0, err);
}

bool file_remove(struct volume *volume, fs_id dir, const char *name, struct error *err)
{
    struct fs *fs;
    fs_id id;
    struct fs_attr attr = {0};
    if (!file_begin_change(volume, &fs, err))
        return false;
    if (!fs->driver->remove)
        return cannot(fs, "remove files", err);
    if (!file_lookup(volume, dir, name, &id, err))
        return false;
    struct error ignored;
    /* A damaged file can be removed, too: its attributes only tell whether another name stays. */
    bool stays = file_attr(volume, id, &attr, &ignored) && !S_ISDIR(attr.mode) && attr.nlink > 1;
    names_forget(volume, dir, name);
    names_forget_link(volume, id);
    if (!fs->driver->remove(fs, dir, name, err))
        return false;
    if (stays && !set_times_now(fs, id, ATTR_CTIME, err))
        return false;
    return set_times_now(fs, dir, ATTR_MTIME | ATTR_CTIME, err);
}

bool file_remove_files(struct volume *volume, fs_id dir, const char *path, struct error *err)
{
    char failed[FS_NAME_SHOWN];
    struct fs *fs;
    uint64_t removed = 0;
    if (!file_begin_change(volume, &fs, err))
        return false;
    if (!fs->driver->remove_files)
        return true;
    bool ok = fs->driver->remove_files(fs, dir, clock_now(), &removed, failed, err);
    if (removed > 0 || !ok)
        names_forget_all(volume);
    if (!ok)
        return because(err, *failed ? "%s/%s" : "%s", path, failed);
    return removed == 0 || set_times_now(fs, dir, ATTR_MTIME | ATTR_CTIME, err);
}

/* Fails when `dir` is `id` or lies below it. */
static bool not_below(struct volume *volume, fs_id id, fs_id dir, struct error *err)
{
    fs_id root = volume->fs->root;
    for (unsigned depth = 0; depth < MAX_DEPTH; depth++) {
        if (dir == id)
            return fail(err, E_INVALID, "a directory cannot be moved into itself");
        if (dir == root)
            return true;
        if (!file_parent(volume, dir, &dir, err))
            return false;
    }
    return fail(err, E_LOOP, "the directory is its own ancestor");
}

/* Makes room for a rename onto an existing file. */
static bool replace_target(struct volume *volume, uint32_t source_mode, fs_id target, fs_id to,
                           const char *new_name, struct error *err)
{
    struct fs_attr attr;
    if (!file_attr(volume, target, &attr, err))
        return false;
    if (S_ISDIR(attr.mode) && !S_ISDIR(source_mode))
        return fail(err, E_ISDIR, "the target is a directory");
    if (!S_ISDIR(attr.mode) && S_ISDIR(source_mode))
        return fail(err, E_NOTDIR, "the target is not a directory");
    return file_remove(volume, to, new_name, err);
}

bool file_rename(struct volume *volume, fs_id from, const char *name, fs_id to, const char *new_name,
                 struct error *err)
{
    struct fs *fs;
    fs_id id, target;
    struct fs_attr attr;
    if (!file_begin_change(volume, &fs, err) || !check_name(fs, new_name, err))
        return false;
    if (!fs->driver->rename)
        return cannot(fs, "rename files", err);
    if (!file_lookup(volume, from, name, &id, err) || !file_attr(volume, id, &attr, err))
        return false;
    if (S_ISDIR(attr.mode) && from != to && !not_below(volume, id, to, err))
        return false;
    if (file_lookup(volume, to, new_name, &target, err)) {
        bool same = target == id;
        if (same && (attr.nlink > 1 || (from == to && strcmp(name, new_name) == 0)) && !S_ISDIR(attr.mode))
            return true; /* both names are one file: POSIX keeps both */
        if (same && from == to && strcmp(name, new_name) == 0)
            return true;
        if (!same && !replace_target(volume, attr.mode, target, to, new_name, err))
            return false;
    } else if (err->kind != E_NOENT) {
        return false;
    }
    names_forget(volume, from, name);
    names_forget(volume, to, new_name);
    fs_id after = id;
    if (!fs->driver->rename(fs, from, name, to, new_name, &after, err))
        return false;
    if (after != id)
        names_forget_all(volume); /* names below a directory were remembered by its old id */
    names_store(volume, to, new_name, after, attr.mode & S_IFMT);
    return set_times_now(fs, after, ATTR_CTIME, err) &&
           set_times_now(fs, from, ATTR_MTIME | ATTR_CTIME, err) &&
           (from == to || set_times_now(fs, to, ATTR_MTIME | ATTR_CTIME, err));
}

static bool check_attr(struct volume *volume, struct fs *fs, fs_id id, const struct fs_attr *attr,
                       unsigned mask, struct error *err)
{
    if ((mask & (ATTR_UID | ATTR_GID)) && !fs->limits->owners)
        return cannot(fs, "hold owners", err);
    if ((mask & ATTR_MODE) && !fs->limits->modes) {
        struct fs_attr old;
        if (!file_attr(volume, id, &old, err))
            return false;
        if ((old.mode ^ attr->mode) & 07777 & ~0222u)
            return fail(err, E_UNSUPPORTED, "%s holds no permissions but read-only (chmod a-w, a+w)",
                        fs->type);
    }
    return true;
}

bool file_setattr(struct volume *volume, fs_id id, const struct fs_attr *attr, unsigned mask,
                  struct error *err)
{
    struct fs *fs;
    if (!file_begin_change(volume, &fs, err))
        return false;
    if (!fs->driver->setattr)
        return cannot(fs, "change attributes", err);
    if (!check_attr(volume, fs, id, attr, mask, err))
        return false;
    struct fs_attr set = *attr;
    if (!(mask & ATTR_CTIME))
        set.ctime = clock_now();
    return fs->driver->setattr(fs, id, &set, mask | ATTR_CTIME, err);
}

static bool check_size(const struct fs *fs, uint64_t off, uint64_t len, struct error *err)
{
    uint64_t end;
    if (add_u64(off, len, &end) && end <= fs->limits->max_file_size)
        return true;
    return fail(err, E_TOOBIG, "a file on %s can have at most %" PRIu64 " bytes", fs->type,
                fs->limits->max_file_size);
}

bool file_write(struct volume *volume, fs_id id, uint64_t off, const void *buf, size_t n, struct error *err)
{
    struct fs *fs;
    if (!file_begin_change(volume, &fs, err) || !check_size(fs, off, n, err))
        return false;
    if (!fs->driver->write)
        return cannot(fs, "change contents", err);
    return n == 0 || fs->driver->write(fs, id, off, buf, n, err);
}

bool file_extend(struct volume *volume, fs_id id, uint64_t off, uint64_t n, struct extent *out,
                 enum write_class *class, struct error *err)
{
    struct fs *fs;
    *out = (struct extent){0};
    *class = WRITE_UPDATE;
    if (!file_begin_change(volume, &fs, err) || !check_size(fs, off, n, err))
        return false;
    if (fs->driver->extend && !fs->driver->extend(fs, id, off, n, out, class, err))
        return false;
    out->device = fs->device;
    return true;
}

bool file_truncate(struct volume *volume, fs_id id, uint64_t size, struct error *err)
{
    struct fs *fs;
    if (!file_begin_change(volume, &fs, err) || !check_size(fs, size, 0, err))
        return false;
    if (!fs->driver->truncate)
        return cannot(fs, "change the size of a file", err);
    return fs->driver->truncate(fs, id, size, err);
}

bool file_allocate(struct volume *volume, fs_id id, uint64_t off, uint64_t len, unsigned mode,
                   struct error *err)
{
    struct fs *fs;
    if (!file_begin_change(volume, &fs, err) || !check_size(fs, off, len, err))
        return false;
    if (!fs->driver->allocate)
        return cannot(fs, "allocate space ahead", err);
    return fs->driver->allocate(fs, id, off, len, mode, err);
}

bool file_punch(struct volume *volume, fs_id id, uint64_t off, uint64_t len, struct error *err)
{
    struct fs *fs;
    if (!file_begin_change(volume, &fs, err))
        return false;
    if (!fs->driver->punch)
        return cannot(fs, "hold holes", err);
    return fs->driver->punch(fs, id, off, len, err);
}

bool file_modified(struct volume *volume, fs_id id, struct error *err)
{
    struct fs *fs;
    return file_begin_change(volume, &fs, err) && set_times_now(fs, id, ATTR_MTIME | ATTR_CTIME, err);
}

bool file_xattr_set(struct volume *volume, fs_id id, const char *name, const void *value, size_t len,
                    struct error *err)
{
    struct fs *fs;
    if (!file_begin_change(volume, &fs, err))
        return false;
    if (!fs->limits->xattrs || !fs->driver->xattr_set)
        return cannot(fs, "hold extended attributes", err);
    return fs->driver->xattr_set(fs, id, name, value, len, err);
}
