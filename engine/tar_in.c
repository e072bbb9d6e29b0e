#include "tar.h"

#include "acl.h"
#include "alloc.h"
#include "archive_lib.h"
#include "bytes.h"
#include "clock.h"
#include "copy_ends.h"
#include "id_set.h"
#include "mode.h"
#include "owner.h"
#include "path.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#ifdef HAVE_ARCHIVE

enum { READ_CHUNK = 1 << 18 };

/* A directory of the archive: its times are set when everything is in it. */
struct late_dir {
    fs_id id;
    struct fs_attr attr;
};

struct unpack {
    struct session *session;
    const struct archive_lib *lib;
    struct archive *archive;
    const char *name;      /* of the archive, when it is a file */
    uint64_t archive_size; /* 0: not known */
    struct volume *volume;
    const struct copy_options *options;
    struct copy_tally *tally;
    const char *dest;
    fs_id root;
    struct late_dir *dirs;
    size_t dir_count, dir_capacity;
    struct id_set links; /* symbolic links that this archive made: nothing goes through them */
    char *parent_path;   /* the directory used last, and its id */
    fs_id parent;
    /* a stream as the archive */
    bool (*read)(void *, void *, size_t, size_t *, struct error *);
    void *read_arg;
    struct error *read_error;
    uint8_t *chunk;
};

static bool archive_failed(struct unpack *unpack, struct error *err)
{
    if (unpack->read_error->kind != E_OK) { /* the stream failed, not the archive */
        *err = *unpack->read_error;
        return false;
    }
    const char *why = unpack->lib->archive_error_string(unpack->archive);
    return fail(err, E_FAILED, "the archive cannot be read: %s", why ? why : "unknown error");
}

/* ---- places -------------------------------------------------------------------------------------------- */

/* The path of an entry below dest: no leading "/" or "./", no doubled slashes. Malloc'd; NULL with err. */
static char *clean_path(const char *path, struct error *err)
{
    char *out = mem_new(strlen(path) + 1, err);
    size_t used = 0;
    while (out && *path) {
        size_t len = strcspn(path, "/");
        if (len == 2 && path[0] == '.' && path[1] == '.') {
            fail(err, E_NAME, "refused: '..' would lead out of the target");
            free(out);
            return NULL;
        }
        if (len > 0 && !(len == 1 && path[0] == '.')) {
            if (used)
                out[used++] = '/';
            memcpy(out + used, path, len);
            used += len;
        }
        path += len + (path[len] == '/');
    }
    if (out)
        out[used] = 0;
    return out;
}

static bool make_implied(struct unpack *unpack, fs_id dir, const char *name, fs_id *out, struct error *err)
{
    struct fs_time now = clock_now();
    struct fs_attr attr = {
        .mode = S_IFDIR | 0755, .nlink = 1, .atime = now, .mtime = now, .ctime = now, .crtime = now};
    return file_create_with(unpack->volume, dir, name, &attr, NULL, FILE_ABSENT, out, err);
}

/* One component down: a directory, or a link to one that was there before. path: all of it up to there. */
static bool step(struct unpack *unpack, fs_id *dir, const char *name, const char *path, struct error *err)
{
    fs_id id;
    uint32_t type;
    struct fs_attr attr;
    if (!file_lookup_type(unpack->volume, *dir, name, &id, &type, err))
        return err->kind == E_NOENT && make_implied(unpack, *dir, name, dir, err);
    if (type == S_IFLNK) {
        if (id_set_has(&unpack->links, id))
            return fail(err, E_NAME, "refused: it leads through a symbolic link of the archive");
        char *whole = mem_printf(err, "%s/%s", unpack->dest, path);
        bool ok = whole && path_lookup(unpack->volume, whole, true, &id, err) &&
                  file_attr(unpack->volume, id, &attr, err);
        free(whole);
        if (!ok)
            return false;
        type = attr.mode & S_IFMT;
    }
    *dir = id;
    return type == S_IFDIR || fail(err, E_NOTDIR, "there is a file where a directory is needed");
}

/* The directory of a clean path, and the last component (inside path; "" for dest itself). */
static bool find_parent(struct unpack *unpack, char *path, fs_id *dir, const char **name, struct error *err)
{
    char *last = strrchr(path, '/');
    *name = last ? last + 1 : path;
    *dir = unpack->root;
    size_t len = last ? (size_t)(last - path) : 0;
    if (unpack->parent_path && strlen(unpack->parent_path) == len &&
        memcmp(unpack->parent_path, path, len) == 0) {
        *dir = unpack->parent;
        return true;
    }
    for (size_t at = 0; at < len;) {
        size_t n = strcspn(path + at, "/");
        path[at + n] = 0;
        bool ok = step(unpack, dir, path + at, path, err);
        path[at + n] = '/';
        if (!ok)
            return false;
        at += n + 1;
    }
    free(unpack->parent_path);
    unpack->parent_path = mem_string_n(path, len, err);
    unpack->parent = *dir;
    return unpack->parent_path != NULL;
}

/* ---- attributes ---------------------------------------------------------------------------------------- */

/*
 * "-1.5" in a tar is a second and a half before 1970; the library hands it on as second -1 with half a second
 * behind it, which would be later.
 */
static struct fs_time entry_time(const struct unpack *unpack, int64_t sec, long nsec)
{
    bool tar =
        (unpack->lib->archive_format(unpack->archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
    if (tar && sec < 0 && nsec > 0)
        return (struct fs_time){sec - 1, (uint32_t)(1000000000 - nsec)};
    return (struct fs_time){sec, (uint32_t)nsec};
}

static bool attr_of_entry(const struct unpack *unpack, struct archive_entry *entry, struct fs_attr *attr,
                          struct error *err)
{
    const struct archive_lib *lib = unpack->lib;
    const struct copy_options *options = unpack->options;
    struct fs_time now = clock_now();
    int64_t size = lib->archive_entry_size(entry);
    *attr = (struct fs_attr){
        .mode = lib->archive_entry_mode(entry),
        .size = size > 0 ? (uint64_t)size : 0,
        .nlink = 1,
        .uid = options->set_uid ? options->uid : (uint32_t)lib->archive_entry_uid(entry),
        .gid = options->set_gid ? options->gid : (uint32_t)lib->archive_entry_gid(entry),
        .ctime = now,
        .crtime = now,
        .rdev_major = (uint32_t)lib->archive_entry_rdevmajor(entry),
        .rdev_minor = (uint32_t)lib->archive_entry_rdevminor(entry),
    };
    attr->allocated = lib->archive_entry_sparse_count(entry) ? 0 : attr->size;
    attr->mtime = now;
    if (lib->archive_entry_mtime_is_set(entry))
        attr->mtime =
            entry_time(unpack, lib->archive_entry_mtime(entry), lib->archive_entry_mtime_nsec(entry));
    attr->atime = attr->mtime;
    if (lib->archive_entry_atime_is_set(entry))
        attr->atime =
            entry_time(unpack, lib->archive_entry_atime(entry), lib->archive_entry_atime_nsec(entry));
    if ((attr->mode & S_IFMT) == 0)
        attr->mode |= S_IFREG;
    if (S_ISLNK(attr->mode))
        attr->mode = S_IFLNK | 0777;
    uint32_t bits;
    if (!options->mode || S_ISLNK(attr->mode))
        return true;
    if (!mode_apply(options->mode, attr->mode, S_ISDIR(attr->mode), 0, &bits, err))
        return false;
    attr->mode = (attr->mode & S_IFMT) | bits;
    return true;
}

static bool set_xattr(struct unpack *unpack, fs_id id, const char *path, const char *name, const void *value,
                      size_t len, struct error *err)
{
    if (file_xattr_set(unpack->volume, id, name, value, len, err))
        return true;
    if (err->kind == E_NOMEM || err->kind == E_INTERRUPTED || err->kind == E_DAMAGED || err->kind == E_IO)
        return because(err, "extended attribute %s", name);
    copy_lost(unpack->tally, LOSS_XATTR, path);
    return true;
}

static uint16_t acl_tag_of(int tag)
{
    return tag == ARCHIVE_ENTRY_ACL_USER_OBJ    ? ACL_USER_OBJ
           : tag == ARCHIVE_ENTRY_ACL_USER      ? ACL_USER
           : tag == ARCHIVE_ENTRY_ACL_GROUP_OBJ ? ACL_GROUP_OBJ
           : tag == ARCHIVE_ENTRY_ACL_GROUP     ? ACL_GROUP
           : tag == ARCHIVE_ENTRY_ACL_MASK      ? ACL_MASK
                                                : ACL_OTHER;
}

/*
 * The number of a named entry. Archives of GNU tar give only names; they mean what the image says, whose
 * passwd may have come with this very archive.
 */
static bool find_id(struct unpack *unpack, uint16_t tag, const char *name, uint32_t *id)
{
    struct error ignored;
    struct owner_spec spec;
    if (tag == ACL_GROUP)
        return owner_parse_group(unpack->volume, name, id, &ignored);
    if (!owner_parse(unpack->volume, name, &spec, &ignored) || !spec.has_uid)
        return false;
    *id = spec.uid;
    return true;
}

/* The list of that kind; *known: all its names have numbers here. */
static bool read_acl(struct unpack *unpack, struct archive_entry *entry, int kind, struct acl *acl,
                     bool *known, struct error *err)
{
    const struct archive_lib *lib = unpack->lib;
    int type, perm, tag, qualifier;
    const char *name;
    *known = true;
    *acl = (struct acl){0};
    lib->archive_entry_acl_reset(entry, kind);
    while (lib->archive_entry_acl_next(entry, kind, &type, &perm, &tag, &qualifier, &name) == ARCHIVE_OK) {
        struct acl_entry one = {.tag = acl_tag_of(tag), .id = (uint32_t)qualifier};
        one.perm =
            (uint16_t)((perm & ARCHIVE_ENTRY_ACL_READ ? 4 : 0) | (perm & ARCHIVE_ENTRY_ACL_WRITE ? 2 : 0) |
                       (perm & ARCHIVE_ENTRY_ACL_EXECUTE ? 1 : 0));
        bool named = one.tag == ACL_USER || one.tag == ACL_GROUP;
        if (named && qualifier == -1)
            *known &= name && find_id(unpack, one.tag, name, &one.id);
        if (!acl_set(acl, one, err))
            return false;
    }
    return true;
}

static bool set_acl(struct unpack *unpack, struct archive_entry *entry, fs_id id, const char *path, int kind,
                    struct error *err)
{
    bool access = kind == ARCHIVE_ENTRY_ACL_TYPE_ACCESS, known;
    struct acl acl;
    void *value = NULL;
    size_t len;
    bool ok = read_acl(unpack, entry, kind, &acl, &known, err);
    /* An access list without a mask says no more than the mode. */
    bool wanted = ok && acl.count && (!access || acl_find(&acl, ACL_MASK, 0));
    if (wanted && !known)
        copy_lost(unpack->tally, LOSS_XATTR, path);
    else if (wanted)
        ok = acl_value(&acl, &value, &len, err) &&
             set_xattr(unpack, id, path, access ? ACL_ACCESS : ACL_DEFAULT, value, len, err);
    free(value);
    acl_free(&acl);
    return ok;
}

/* With an access list the mode's group bits are its mask, whatever the header said. */
static bool fit_mode(struct unpack *unpack, fs_id id, struct fs_attr *attr, struct error *err)
{
    struct acl acl;
    if (!acl_read(unpack->volume, id, ACL_ACCESS, &acl, err))
        return false;
    uint32_t mode = (attr->mode & ~0777u) | acl_mode(&acl);
    acl_free(&acl);
    if (mode == attr->mode)
        return true;
    attr->mode = mode;
    return file_setattr(unpack->volume, id, attr, ATTR_MODE, err);
}

/* Attributes and ACLs; a list in the raw form is taken as it is, and not again as text. */
static bool set_xattrs(struct unpack *unpack, struct archive_entry *entry, fs_id id, const char *path,
                       struct fs_attr *attr, struct error *err)
{
    const struct archive_lib *lib = unpack->lib;
    const char *name;
    const void *value;
    size_t len;
    int types = lib->archive_entry_acl_types(entry);
    bool access = types & ARCHIVE_ENTRY_ACL_TYPE_ACCESS, defaults = types & ARCHIVE_ENTRY_ACL_TYPE_DEFAULT;
    if (!unpack->volume->fs->limits->xattrs)
        return true;
    lib->archive_entry_xattr_reset(entry);
    while (lib->archive_entry_xattr_next(entry, &name, &value, &len) == ARCHIVE_OK) {
        if (!name)
            continue;
        if (!set_xattr(unpack, id, path, name, value, len, err))
            return false;
        access &= strcmp(name, ACL_ACCESS) != 0;
        defaults &= strcmp(name, ACL_DEFAULT) != 0;
    }
    if ((access && !set_acl(unpack, entry, id, path, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, err)) ||
        (defaults && !set_acl(unpack, entry, id, path, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, err)))
        return false;
    return !(types & ARCHIVE_ENTRY_ACL_TYPE_ACCESS) || fit_mode(unpack, id, attr, err);
}

/* ---- entries ------------------------------------------------------------------------------------------- */

/* How far the archive is read tells more than the name of the file at which it is; a stream has no end. */
static void show_progress(struct unpack *unpack, const char *path)
{
    if (unpack->archive_size)
        session_progress(
            unpack->session, unpack->name,
            MIN_OF((uint64_t)unpack->lib->archive_filter_bytes(unpack->archive, -1), unpack->archive_size),
            unpack->archive_size);
    else
        session_progress(unpack->session, path, unpack->tally->bytes, 0);
}

static bool unpack_data(struct unpack *unpack, const struct fs_attr *attr, fs_id id, const char *path,
                        struct error *err)
{
    const void *bytes;
    size_t len;
    la_int64_t off;
    uint64_t end = 0;
    for (;;) {
        int result = unpack->lib->archive_read_data_block(unpack->archive, &bytes, &len, &off);
        if (result == ARCHIVE_EOF)
            break;
        if (result < ARCHIVE_WARN)
            return archive_failed(unpack, err);
        if (!interrupt_check(err) || !file_write(unpack->volume, id, (uint64_t)off, bytes, len, err))
            return false;
        end = (uint64_t)off + len;
        unpack->tally->bytes += len;
        show_progress(unpack, path);
    }
    return end >= attr->size || file_truncate(unpack->volume, id, attr->size, err);
}

/* A directory: used when it is there, and finished when everything is in it. */
static bool unpack_directory(struct unpack *unpack, struct archive_entry *entry, fs_id dir, const char *name,
                             const char *path, const struct fs_attr *attr, struct error *err)
{
    fs_id id = unpack->root;
    unpack->tally->directories++;
    if (*name) {
        uint32_t type;
        bool there = file_lookup_type(unpack->volume, dir, name, &id, &type, err);
        if (!there && (err->kind != E_NOENT ||
                       !file_create_with(unpack->volume, dir, name, attr, NULL, FILE_ABSENT, &id, err)))
            return false;
        id = there ? dir : id;
        if (there && !step(unpack, &id, name, path, err))
            return false;
    }
    if (!mem_grow(&unpack->dirs, &unpack->dir_capacity, unpack->dir_count + 1, sizeof *unpack->dirs, err))
        return false;
    struct late_dir *late = &unpack->dirs[unpack->dir_count++];
    *late = (struct late_dir){id, *attr};
    return set_xattrs(unpack, entry, id, path, &late->attr, err);
}

static bool make_room(struct unpack *unpack, fs_id dir, const char *name, struct error *err)
{
    fs_id id;
    uint32_t type;
    if (!file_lookup_type(unpack->volume, dir, name, &id, &type, err))
        return err->kind == E_NOENT;
    if (type == S_IFDIR)
        return fail(err, E_ISDIR, "there is a directory of that name");
    return file_remove(unpack->volume, dir, name, err);
}

/* Where there are no hard links a further name gets contents of its own. */
static bool copy_file(struct unpack *unpack, fs_id from, fs_id dir, const char *name, struct error *err)
{
    struct fs_attr attr;
    fs_id id;
    if (!file_attr(unpack->volume, from, &attr, err) || !make_room(unpack, dir, name, err) ||
        !file_create_with(unpack->volume, dir, name, &attr, NULL, FILE_ABSENT | FILE_KEEP_TIMES, &id, err))
        return false;
    uint8_t *buf = mem_new(READ_CHUNK, err);
    bool ok = buf != NULL;
    for (uint64_t off = 0; ok && off < attr.size; off += READ_CHUNK) {
        size_t n = (size_t)MIN_OF(attr.size - off, (uint64_t)READ_CHUNK);
        ok = interrupt_check(err) && file_read_inside(unpack->volume, from, off, buf, n, err) &&
             file_write(unpack->volume, id, off, buf, n, err);
    }
    free(buf);
    return ok;
}

static bool unpack_link(struct unpack *unpack, fs_id dir, const char *name, const char *target,
                        struct error *err)
{
    char *path = clean_path(target, err);
    fs_id holder, id;
    const char *last;
    struct error missing;
    bool ok = path && find_parent(unpack, path, &holder, &last, err);
    if (ok && !file_lookup(unpack->volume, holder, last, &id, &missing))
        ok = fail(err, E_NOENT, "it is a hard link to %s, which is not there", target);
    fs_id old;
    if (ok && file_lookup(unpack->volume, dir, name, &old, &missing) && old == id) {
        free(path);
        return true;
    }
    if (ok && !unpack->volume->fs->limits->hard_links)
        ok = copy_file(unpack, id, dir, name, err);
    else
        ok = ok && make_room(unpack, dir, name, err) && file_link(unpack->volume, id, dir, name, err);
    free(path);
    return ok;
}

static bool unpack_file(struct unpack *unpack, struct archive_entry *entry, fs_id dir, const char *name,
                        const char *path, const struct fs_attr *attr, struct error *err)
{
    const char *symlink = S_ISLNK(attr->mode) ? unpack->lib->archive_entry_symlink(entry) : NULL;
    struct fs_attr made = *attr;
    fs_id id;
    bool fresh;
    made.size = MIN_OF(attr->size, attr->allocated);
    if (S_ISLNK(attr->mode) && (!symlink || !*symlink))
        return fail(err, E_INVALID, "the symbolic link has no target");
    if (!make_room(unpack, dir, name, err) ||
        !file_create_with(unpack->volume, dir, name, &made, symlink, FILE_ABSENT | FILE_KEEP_TIMES, &id, err))
        return false;
    if (S_ISLNK(attr->mode) && !id_set_add(&unpack->links, id, &fresh, err))
        return false;
    *(S_ISREG(attr->mode) ? &unpack->tally->files : &unpack->tally->others) += 1;
    if (S_ISREG(attr->mode) && !unpack_data(unpack, attr, id, path, err))
        return false;
    made.size = attr->size;
    return set_xattrs(unpack, entry, id, path, &made, err);
}

static bool has_xattrs(const struct unpack *unpack, struct archive_entry *entry)
{
    return unpack->lib->archive_entry_xattr_reset(entry) > 0 ||
           unpack->lib->archive_entry_acl_reset(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS) > 3 ||
           unpack->lib->archive_entry_acl_reset(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT) > 0;
}

static bool unpack_at(struct unpack *unpack, struct archive_entry *entry, char *path, struct error *err)
{
    const struct fs_limits *limits = unpack->volume->fs->limits;
    const char *hard_link = unpack->lib->archive_entry_hardlink(entry), *name;
    struct fs_attr attr;
    enum copy_loss loss;
    fs_id dir;
    if (!attr_of_entry(unpack, entry, &attr, err))
        return false;
    if (hard_link && !limits->hard_links)
        copy_lost(unpack->tally, LOSS_HARD_LINK, path);
    if (copy_may_lose(limits) && !hard_link)
        copy_count_losses(limits, &attr, path, has_xattrs(unpack, entry), unpack->tally);
    if (!copy_type_fits(limits, attr.mode, &loss))
        return true;
    if (!find_parent(unpack, path, &dir, &name, err))
        return false;
    if (hard_link)
        return unpack_link(unpack, dir, name, hard_link, err);
    if (S_ISDIR(attr.mode))
        return unpack_directory(unpack, entry, dir, name, path, &attr, err);
    if (!*name)
        return fail(err, E_NAME, "refused: it has no name");
    return unpack_file(unpack, entry, dir, name, path, &attr, err);
}

static bool unpack_entry(struct unpack *unpack, struct archive_entry *entry, struct error *err)
{
    const char *shown = unpack->lib->archive_entry_pathname(entry);
    if (!shown)
        return fail(err, E_NAME, "an entry's name cannot be read");
    char *path = clean_path(shown, err);
    bool ok = path && unpack_at(unpack, entry, path, err);
    free(path);
    if (ok)
        return true;
    if (err->kind == E_NAME && unpack->options->lossy && strncmp(err->message, "refused", 7) != 0) {
        copy_lost(unpack->tally, LOSS_NAME, shown);
        return true;
    }
    if (err->kind != E_NAME && err->kind != E_NOTDIR && err->kind != E_ISDIR)
        return err->kind == E_INTERRUPTED ? false : because(err, "%s", shown);
    unpack->tally->failed++;
    unpack->options->complain(unpack->options->arg, shown, err);
    return true;
}

/* Directories get their times last, inner ones first. */
static bool finish_directories(struct unpack *unpack, struct error *err)
{
    const struct fs_limits *limits = unpack->volume->fs->limits;
    unsigned mask = ATTR_ATIME | ATTR_MTIME | (limits->modes ? ATTR_MODE : 0) |
                    (limits->owners ? ATTR_UID | ATTR_GID : 0);
    for (size_t i = unpack->dir_count; i-- > 0;)
        if (!file_setattr(unpack->volume, unpack->dirs[i].id, &unpack->dirs[i].attr, mask, err))
            return false;
    return true;
}

static bool unpack_all(struct unpack *unpack, struct error *err)
{
    struct archive_entry *entry;
    for (;;) {
        int result = unpack->lib->archive_read_next_header(unpack->archive, &entry);
        if (result == ARCHIVE_EOF)
            break;
        if (result < ARCHIVE_WARN)
            return archive_failed(unpack, err);
        if (!interrupt_check(err) || !unpack_entry(unpack, entry, err))
            return false;
    }
    return finish_directories(unpack, err) &&
           copy_judge_losses(unpack->tally, unpack->options, unpack->volume->fs->type, err);
}

static la_ssize_t read_stream(struct archive *archive, void *arg, const void **bytes)
{
    struct unpack *unpack = arg;
    size_t got;
    if (!unpack->read(unpack->read_arg, unpack->chunk, READ_CHUNK, &got, unpack->read_error)) {
        unpack->lib->archive_set_error(archive, -1, "%s", unpack->read_error->message);
        return -1;
    }
    *bytes = unpack->chunk;
    return (la_ssize_t)got;
}

static bool open_archive(struct unpack *unpack, const char *host, struct error *err)
{
    const struct archive_lib *lib = unpack->lib;
    struct stat st;
    unpack->name = host;
    if (host && stat(host, &st) == 0 && S_ISREG(st.st_mode))
        unpack->archive_size = (uint64_t)st.st_size;
    unpack->archive = lib->archive_read_new();
    unpack->chunk = mem_new(READ_CHUNK, err);
    if (!unpack->archive || !unpack->chunk)
        return fail(err, E_NOMEM, "out of memory");
    lib->archive_read_support_filter_all(unpack->archive);
    lib->archive_read_support_format_all(unpack->archive);
    int result = host ? lib->archive_read_open_filename(unpack->archive, host, READ_CHUNK)
                      : lib->archive_read_open(unpack->archive, unpack, NULL, read_stream, NULL);
    return result == ARCHIVE_OK || archive_failed(unpack, err);
}

static bool find_dest(struct unpack *unpack, const struct copy_end *dest, struct error *err)
{
    struct fs_attr attr;
    if (!path_lookup(dest->volume, dest->path, true, &unpack->root, err) ||
        !file_attr(dest->volume, unpack->root, &attr, err) || !file_writable(dest->volume, err))
        return because(err, "%s", dest->shown);
    unpack->dest = dest->path;
    return S_ISDIR(attr.mode) || fail(err, E_NOTDIR, "%s: not a directory", dest->shown);
}

bool tar_in(struct session *session, const char *host,
            bool (*read)(void *, void *, size_t, size_t *, struct error *), void *read_arg,
            const struct copy_end *dest, const struct copy_options *options, struct copy_tally *tally,
            struct error *err)
{
    struct error read_error = {0};
    struct unpack unpack = {.session = session,
                            .volume = dest->volume,
                            .options = options,
                            .tally = tally,
                            .read = read,
                            .read_arg = read_arg,
                            .read_error = &read_error};
    *tally = (struct copy_tally){0};
    unpack.lib = archive_lib(err);
    if (!unpack.lib)
        return false;
    locale_t old = archive_locale_begin();
    bool ok = find_dest(&unpack, dest, err) && open_archive(&unpack, host, err) && unpack_all(&unpack, err);
    if (unpack.archive)
        unpack.lib->archive_read_free(unpack.archive);
    archive_locale_end(old);
    free(unpack.chunk);
    free(unpack.dirs);
    free(unpack.parent_path);
    id_set_free(&unpack.links);
    return ok;
}

#else

bool tar_in(struct session *session, const char *host,
            bool (*read)(void *, void *, size_t, size_t *, struct error *), void *read_arg,
            const struct copy_end *dest, const struct copy_options *options, struct copy_tally *tally,
            struct error *err)
{
    (void)session, (void)host, (void)read, (void)read_arg, (void)dest, (void)options, (void)tally;
    return fail(err, E_UNSUPPORTED, "archives need libarchive, which this build does without");
}

#endif
