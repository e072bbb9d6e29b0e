#include "tar.h"

#include "acl.h"
#include "alloc.h"
#include "archive_lib.h"
#include "bytes.h"
#include "copy_ends.h"
#include "path.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#ifdef HAVE_ARCHIVE

enum { CHUNK = 1 << 18 };
/* Archives count sizes in 63 bits, but nothing can read such a file's zeros to the end. */
static const uint64_t max_size = (uint64_t)1 << 50;

/* The name in the archive under which a file with several names came first. */
struct first_name {
    uint64_t space, id;
    char *path;
};

struct pack {
    struct session *session;
    const struct archive_lib *lib;
    struct archive *archive;
    struct archive_entry *entry;
    const struct copy_options *options;
    struct copy_tally *tally;
    struct copy_source *source;
    size_t root_len;  /* of the start's path in messages */
    const char *base; /* what the start is called in the archive: "." or a name */
    struct first_name *first;
    size_t first_count, first_capacity;
    char *path;
    size_t path_capacity;
    uint8_t *buffer, *zeros;
    bool (*write)(void *, const void *, size_t, struct error *);
    void *write_arg;
    struct error write_error;
};

static bool archive_failed(struct pack *pack, struct error *err)
{
    if (pack->write_error.kind != E_OK) { /* the stream failed, not the archive */
        *err = pack->write_error;
        return false;
    }
    const char *why = pack->lib->archive_error_string(pack->archive);
    return fail(err, E_FAILED, "the archive cannot be written: %s", why ? why : "unknown error");
}

/* ---- one entry ------------------------------------------------------------------------------------------
 */

static bool set_path(struct pack *pack, const struct copy_item *item, struct error *err)
{
    const char *below = item->path + pack->root_len;
    below += *below == '/';
    size_t need = strlen(pack->base) + strlen(below) + 3;
    if (!mem_grow(&pack->path, &pack->path_capacity, need, 1, err))
        return false;
    snprintf(pack->path, need, "%s%s%s%s", pack->base, *below ? "/" : "", below,
             S_ISDIR(item->attr.mode) ? "/" : "");
    return true;
}

static bool add_acl(struct pack *pack, const void *value, size_t len, int type, struct error *err)
{
    static const struct {
        uint16_t ours;
        int theirs;
    } tags[] = {{ACL_USER_OBJ, ARCHIVE_ENTRY_ACL_USER_OBJ},   {ACL_USER, ARCHIVE_ENTRY_ACL_USER},
                {ACL_GROUP_OBJ, ARCHIVE_ENTRY_ACL_GROUP_OBJ}, {ACL_GROUP, ARCHIVE_ENTRY_ACL_GROUP},
                {ACL_MASK, ARCHIVE_ENTRY_ACL_MASK},           {ACL_OTHER, ARCHIVE_ENTRY_ACL_OTHER}};
    struct acl acl;
    bool ok = acl_parse(value, len, &acl, err);
    for (size_t i = 0; ok && i < acl.count; i++) {
        const struct acl_entry *entry = &acl.entries[i];
        int perm = (entry->perm & 4 ? ARCHIVE_ENTRY_ACL_READ : 0) |
                   (entry->perm & 2 ? ARCHIVE_ENTRY_ACL_WRITE : 0) |
                   (entry->perm & 1 ? ARCHIVE_ENTRY_ACL_EXECUTE : 0);
        bool named = entry->tag == ACL_USER || entry->tag == ACL_GROUP;
        for (size_t k = 0; k < ARRAY_LEN(tags); k++)
            if (tags[k].ours == entry->tag)
                pack->lib->archive_entry_acl_add_entry(pack->entry, type, perm, tags[k].theirs,
                                                       named ? (int)entry->id : -1, NULL);
    }
    acl_free(&acl);
    return ok;
}

static bool add_xattr(void *arg, const char *name, const void *value, size_t len, struct error *err)
{
    struct pack *pack = arg;
    if (strcmp(name, ACL_ACCESS) == 0)
        return add_acl(pack, value, len, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, err);
    if (strcmp(name, ACL_DEFAULT) == 0)
        return add_acl(pack, value, len, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, err);
    pack->lib->archive_entry_xattr_add_entry(pack->entry, name, value, len);
    return true;
}

/* Where the data lies in a file with holes. */
static bool add_sparse(struct pack *pack, const struct copy_item *item, struct error *err)
{
    bool any = false, holes = false;
    for (uint64_t off = 0; off < item->attr.size;) {
        uint64_t len;
        bool hole;
        if (!interrupt_check(err) || !pack->source->ops->run(pack->source, off, &len, &hole, err))
            return false;
        holes |= hole;
        /* A file that is data all over is not described as sparse. */
        if (!hole && (holes || len < item->attr.size - off || any)) {
            pack->lib->archive_entry_sparse_add_entry(pack->entry, (la_int64_t)off, (la_int64_t)len);
            any = true;
        }
        off += len;
    }
    if (holes && !any)
        pack->lib->archive_entry_sparse_add_entry(pack->entry, (la_int64_t)item->attr.size, 0);
    return true;
}

static bool fill_entry(struct pack *pack, const struct copy_item *item, struct error *err)
{
    const struct archive_lib *lib = pack->lib;
    const struct fs_attr *attr = &item->attr;
    lib->archive_entry_clear(pack->entry);
    lib->archive_entry_set_pathname(pack->entry, pack->path);
    lib->archive_entry_set_mode(pack->entry, attr->mode);
    lib->archive_entry_set_uid(pack->entry, attr->uid);
    lib->archive_entry_set_gid(pack->entry, attr->gid);
    lib->archive_entry_set_mtime(pack->entry, attr->mtime.sec, attr->mtime.nsec);
    lib->archive_entry_set_size(pack->entry, S_ISREG(attr->mode) ? (la_int64_t)attr->size : 0);
    if (S_ISCHR(attr->mode) || S_ISBLK(attr->mode)) {
        lib->archive_entry_set_rdevmajor(pack->entry, attr->rdev_major);
        lib->archive_entry_set_rdevminor(pack->entry, attr->rdev_minor);
    }
    if (S_ISLNK(attr->mode)) {
        char *target;
        if (!pack->source->ops->readlink(pack->source, &target, err))
            return false;
        lib->archive_entry_set_symlink(pack->entry, target);
        free(target);
    }
    return pack->source->ops->xattrs(pack->source, add_xattr, pack, err);
}

static struct first_name *first_slot(struct first_name *slots, size_t capacity, uint64_t space, uint64_t id)
{
    size_t at = (size_t)(((id ^ space) * 0x9E3779B97F4A7C15u) >> 20) & (capacity - 1);
    while (slots[at].path && (slots[at].id != id || slots[at].space != space))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static bool first_reserve(struct pack *pack, struct error *err)
{
    if (pack->first_count * 2 < pack->first_capacity)
        return true;
    size_t capacity = MAX_OF(pack->first_capacity * 2, 64);
    struct first_name *slots = mem_array(capacity, sizeof *slots, err);
    if (!slots)
        return false;
    for (size_t i = 0; i < pack->first_capacity; i++)
        if (pack->first[i].path)
            *first_slot(slots, capacity, pack->first[i].space, pack->first[i].id) = pack->first[i];
    free(pack->first);
    pack->first = slots;
    pack->first_capacity = capacity;
    return true;
}

/* A further name becomes a link to the first; *linked says so. */
static bool try_link(struct pack *pack, const struct copy_item *item, bool *linked, struct error *err)
{
    *linked = false;
    if (item->attr.nlink < 2 || S_ISDIR(item->attr.mode))
        return true;
    if (!first_reserve(pack, err))
        return false;
    struct first_name *slot = first_slot(pack->first, pack->first_capacity, item->space, item->attr.id);
    if (slot->path) {
        pack->lib->archive_entry_set_hardlink(pack->entry, slot->path);
        pack->lib->archive_entry_set_size(pack->entry, 0);
        *linked = true;
        return true;
    }
    *slot = (struct first_name){item->space, item->attr.id, mem_string(pack->path, err)};
    pack->first_count += slot->path != NULL;
    return slot->path != NULL;
}

static bool put_data(struct pack *pack, const void *bytes, size_t n, struct error *err)
{
    return pack->lib->archive_write_data(pack->archive, bytes, n) >= 0 || archive_failed(pack, err);
}

/* The library wants the zeros of holes, too, and leaves them out itself. */
static bool pack_data(struct pack *pack, const struct copy_item *item, struct error *err)
{
    for (uint64_t off = 0; off < item->attr.size;) {
        uint64_t len;
        bool hole;
        size_t got;
        if (!interrupt_check(err) || !pack->source->ops->run(pack->source, off, &len, &hole, err))
            return false;
        for (uint64_t done = 0; done < len; done += got) {
            size_t n = (size_t)MIN_OF(len - done, (uint64_t)CHUNK);
            got = n;
            if (!interrupt_check(err) ||
                (!hole && !pack->source->ops->read(pack->source, off + done, pack->buffer, n, &got, err)))
                return false;
            if (got == 0)
                return fail(err, E_FAILED, "the file became shorter while it was read");
            if (!put_data(pack, hole ? pack->zeros : pack->buffer, got, err))
                return false;
            pack->tally->bytes += got;
            session_progress(pack->session, item->path, pack->tally->bytes, 0);
        }
        off += len;
    }
    return true;
}

static bool write_entry(struct pack *pack, const struct copy_item *item, struct error *err)
{
    bool linked;
    if (!fill_entry(pack, item, err) || !try_link(pack, item, &linked, err))
        return false;
    bool data = S_ISREG(item->attr.mode) && !linked;
    if (data && !add_sparse(pack, item, err))
        return false;
    int result = pack->lib->archive_write_header(pack->archive, pack->entry);
    if (result < ARCHIVE_WARN)
        return archive_failed(pack, err);
    if (data && !pack_data(pack, item, err))
        return false;
    return pack->lib->archive_write_finish_entry(pack->archive) >= ARCHIVE_WARN || archive_failed(pack, err);
}

static bool pack_item(struct pack *pack, struct copy_item *item, struct error *err)
{
    struct copy_source *source = pack->source;
    bool regular = S_ISREG(item->attr.mode);
    if (regular && item->attr.size > max_size)
        return fail(err, E_TOOBIG, "%llu bytes are too much for an archive",
                    (unsigned long long)item->attr.size);
    if (S_ISSOCK(item->attr.mode)) {
        copy_lost(pack->tally, LOSS_FIFO, item->path);
        return true;
    }
    if (!set_path(pack, item, err) || (regular && !source->ops->open(source, err)))
        return false;
    bool ok = write_entry(pack, item, err);
    if (regular)
        source->ops->close(source);
    *(S_ISDIR(item->attr.mode) ? &pack->tally->directories
      : regular                ? &pack->tally->files
                               : &pack->tally->others) += 1;
    return ok;
}

/* ---- all of them ----------------------------------------------------------------------------------------
 */

/* A file that cannot be read is told and left out; a half-written archive is an error. */
static bool complain(struct pack *pack, const char *path, const struct error *err)
{
    if (err->kind == E_INTERRUPTED || err->kind == E_NOMEM || err->kind == E_FAILED ||
        err->kind == E_HOSTFULL || pack->write_error.kind != E_OK)
        return false;
    pack->tally->failed++;
    pack->options->complain(pack->options->arg, path, err);
    return true;
}

static bool pack_items(struct pack *pack, struct error *err)
{
    struct copy_item *item;
    for (;;) {
        if (!pack->source->ops->next(pack->source, &item, err))
            return false;
        if (item->event == WALK_END)
            return true;
        if (item->event == WALK_LEAVE)
            continue;
        if (item->event == WALK_FAULT)
            *err = item->fault;
        if ((item->event == WALK_FAULT || !pack_item(pack, item, err)) && !complain(pack, item->path, err))
            return because(err, "%s", item->path);
    }
}

static bool pack_source(struct pack *pack, const struct copy_end *end, bool alone, struct error *err)
{
    const struct copy_options options = {.recursive = true, .archive = true, .sorted = true};
    char name[1024];
    struct fs_attr attr;
    fs_id id;
    size_t len = strlen(end->path), start;
    while (len > 1 && end->path[len - 1] == '/')
        len--;
    for (start = len; start > 0 && end->path[start - 1] != '/'; start--)
        continue;
    snprintf(name, sizeof name, "%.*s", (int)(len - start), end->path + start);
    if (!path_lookup(end->volume, end->path, false, &id, err) || !file_attr(end->volume, id, &attr, err))
        return because(err, "%s", end->shown);
    pack->base = (alone && S_ISDIR(attr.mode)) || end->contents || !*name ? "." : name;
    pack->root_len = strlen(end->shown);
    if (!copy_image_source(end, &options, &pack->source, err))
        return because(err, "%s", end->shown);
    bool ok = pack_items(pack, err);
    pack->source->ops->free(pack->source);
    return ok;
}

static la_ssize_t write_stream(struct archive *archive, void *arg, const void *bytes, size_t n)
{
    struct pack *pack = arg;
    if (pack->write(pack->write_arg, bytes, n, &pack->write_error))
        return (la_ssize_t)n;
    pack->lib->archive_set_error(archive, -1, "%s", pack->write_error.message);
    return -1;
}

static bool open_archive(struct pack *pack, const char *name, struct error *err)
{
    const struct archive_lib *lib = pack->lib;
    pack->archive = lib->archive_write_new();
    pack->entry = lib->archive_entry_new();
    pack->buffer = mem_new(CHUNK, err);
    pack->zeros = mem_new(CHUNK, err);
    if (!pack->archive || !pack->entry || !pack->buffer || !pack->zeros)
        return fail(err, E_NOMEM, "out of memory");
    /* ".tar" would choose the smallest form; nanoseconds and attributes need pax. */
    if (lib->archive_write_set_format_filter_by_ext_def(pack->archive, name, ".tar") < ARCHIVE_WARN)
        return archive_failed(pack, err);
    const char *dot = strstr(name, ".tar"), *short_form = strrchr(name, '.');
    bool is_tar = dot || !short_form || (strncmp(short_form, ".t", 2) == 0 && strlen(short_form) <= 5);
    if (is_tar && lib->archive_write_set_format_pax(pack->archive) < ARCHIVE_WARN)
        return archive_failed(pack, err);
    (void)lib->archive_write_set_options(pack->archive, "pax:xattrheader=SCHILY");
    return lib->archive_write_open(pack->archive, pack, NULL, write_stream, NULL) == ARCHIVE_OK ||
           archive_failed(pack, err);
}

static void pack_free(struct pack *pack)
{
    if (pack->archive)
        pack->lib->archive_write_free(pack->archive);
    if (pack->entry)
        pack->lib->archive_entry_free(pack->entry);
    for (size_t i = 0; i < pack->first_capacity; i++)
        free(pack->first[i].path);
    free(pack->first);
    free(pack->path);
    free(pack->buffer);
    free(pack->zeros);
}

bool tar_out(struct session *session, const struct copy_end *sources, size_t count, const char *name,
             bool (*write)(void *, const void *, size_t, struct error *), void *write_arg,
             const struct copy_options *options, struct copy_tally *tally, struct error *err)
{
    struct pack pack = {
        .session = session, .options = options, .tally = tally, .write = write, .write_arg = write_arg};
    *tally = (struct copy_tally){0};
    pack.lib = archive_lib(err);
    if (!pack.lib)
        return false;
    locale_t old = archive_locale_begin();
    bool ok = open_archive(&pack, name, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = pack_source(&pack, &sources[i], count == 1, err);
    if (ok && pack.lib->archive_write_close(pack.archive) < ARCHIVE_WARN)
        ok = archive_failed(&pack, err);
    pack_free(&pack);
    archive_locale_end(old);
    if (ok)
        copy_tell_losses(tally, options, "the archive cannot hold");
    return ok;
}

#else

bool tar_out(struct session *session, const struct copy_end *sources, size_t count, const char *name,
             bool (*write)(void *, const void *, size_t, struct error *), void *write_arg,
             const struct copy_options *options, struct copy_tally *tally, struct error *err)
{
    (void)session, (void)sources, (void)count, (void)name, (void)write, (void)write_arg, (void)options,
        (void)tally;
    return fail(err, E_UNSUPPORTED, "archives need libarchive, which this build does without");
}

#endif
