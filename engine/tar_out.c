/*
 * A tar is written by pax.c, and libarchive only compresses it: it could not say that a file's mode and the
 * group entry of its ACL differ. All other formats are the library's.
 */
#include "tar.h"

#include "acl.h"
#include "alloc.h"
#include "archive_lib.h"
#include "archive_out.h"
#include "bytes.h"
#include "copy_ends.h"
#include "first_names.h"
#include "path.h"
#include "pax.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { CHUNK = 1 << 18 };
/* Archives count sizes in 63 bits, but nothing can read such a file's zeros to the end. */
static const uint64_t max_size = (uint64_t)1 << 50;

struct pack {
    struct session *session;
    const struct copy_options *options;
    struct copy_tally *tally;
    struct copy_source *source;
    const struct copy_item *item;
    size_t root_len;          /* of the start's path in messages */
    const char *base;         /* what the start is called in the archive: "." or a name */
    struct first_names first; /* paths in the archive */
    char *path;
    size_t path_capacity;
    struct pax_entry entry;
    size_t run_capacity;
    uint64_t written; /* of a tar, before it is compressed */
    uint8_t *buffer;
    archive_write_fn *write;
    void *write_arg;
    struct archive_out *library; /* NULL: a tar that is not compressed */
    const char *what;            /* for the progress display, with a total that is known */
    uint64_t total, passed;      /* weight of all there is, and of the files that are done */
    uint64_t before;             /* bytes told of when the present item began */
    bool is_tar;
    bool broken; /* the archive ends in the middle of a file: nothing can follow */
};

/* Bytes of the tar, on their way to the compression or the file. */
static bool emit(void *arg, const void *bytes, size_t n, struct error *err)
{
    struct pack *pack = arg;
    pack->written += n;
    pack->broken = true;
    return pack->library ? archive_out_data(pack->library, bytes, n, err)
                         : pack->write(pack->write_arg, bytes, n, err);
}

/* ---- names --------------------------------------------------------------------------------------------- */

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

/* The first name of a file with several; NULL: this is the first, or the only one. */
static bool earlier_name(struct pack *pack, const struct copy_item *item, const char **path,
                         struct error *err)
{
    *path = NULL;
    if (item->attr.nlink < 2 || S_ISDIR(item->attr.mode))
        return true;
    *path = first_names_find(&pack->first, item->space, item->attr.id);
    return *path || first_names_add(&pack->first, item->space, item->attr.id, pack->path, err);
}

/* ---- one file ------------------------------------------------------------------------------------------ */

static bool add_xattr(void *arg, const char *name, const void *value, size_t len, struct error *err)
{
    struct pack *pack = arg;
    if (!pack->is_tar) {
        copy_lost(pack->tally, LOSS_XATTR, pack->item->path);
        return true;
    }
    if (strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0)
        return pax_acl(&pack->entry, strcmp(name, ACL_DEFAULT) == 0, value, len, err);
    return pax_xattr(&pack->entry, name, value, len, err);
}

/* Where the data lies; the file is only sparse when there are holes between. */
static bool find_runs(struct pack *pack, const struct copy_item *item, struct error *err)
{
    struct pax_entry *entry = &pack->entry;
    for (uint64_t off = 0; off < item->attr.size;) {
        uint64_t len;
        bool hole;
        if (!interrupt_check(err) || !pack->source->ops->run(pack->source, off, &len, &hole, err) ||
            !mem_grow(&entry->runs, &pack->run_capacity, entry->run_count + 1, sizeof *entry->runs, err))
            return false;
        struct pax_run *last = entry->run_count ? &entry->runs[entry->run_count - 1] : NULL;
        if (!hole && last && last->off + last->len == off)
            last->len += len;
        else if (!hole)
            entry->runs[entry->run_count++] = (struct pax_run){off, len};
        entry->sparse |= hole;
        off += len;
    }
    return true;
}

static void show_progress(const struct pack *pack)
{
    uint64_t here = MIN_OF(pack->tally->bytes - pack->before, copy_weight(pack->item));
    if (pack->total)
        session_progress(pack->session, pack->what, MIN_OF(pack->passed + here, pack->total), pack->total);
    else
        session_progress(pack->session, pack->item->path, pack->tally->bytes, 0);
}

static bool pack_run(struct pack *pack, uint64_t off, uint64_t len, bool hole, struct error *err)
{
    size_t got;
    for (uint64_t done = 0; done < len; done += got) {
        got = (size_t)MIN_OF(len - done, (uint64_t)CHUNK);
        if (!interrupt_check(err))
            return false;
        if (hole)
            memset(pack->buffer, 0, got);
        else if (!pack->source->ops->read(pack->source, off + done, pack->buffer, got, &got, err))
            return false;
        if (got == 0)
            return fail(err, E_FAILED, "the file became shorter while it was read");
        if (!(pack->is_tar ? emit(pack, pack->buffer, got, err)
                           : archive_out_data(pack->library, pack->buffer, got, err)))
            return false;
        pack->tally->bytes += got;
        show_progress(pack);
    }
    return true;
}

static bool write_tar(struct pack *pack, const struct copy_item *item, struct error *err)
{
    struct pax_entry *entry = &pack->entry;
    bool data = S_ISREG(item->attr.mode) && !entry->hard_link;
    uint64_t size;
    if (data && !find_runs(pack, item, err))
        return false;
    if (!pax_header(entry, emit, pack, &size, err))
        return false;
    for (size_t i = 0; data && i < entry->run_count; i++)
        if (!pack_run(pack, entry->runs[i].off, entry->runs[i].len, false, err))
            return false;
    return pax_padding(size, emit, pack, err);
}

static bool write_other(struct pack *pack, const struct copy_item *item, struct error *err)
{
    const struct pax_entry *entry = &pack->entry;
    if (!archive_out_entry(pack->library, pack->path, &item->attr, entry->link, entry->hard_link, err))
        return false;
    for (uint64_t off = 0; S_ISREG(item->attr.mode) && !entry->hard_link && off < item->attr.size;) {
        uint64_t len;
        bool hole;
        pack->broken = true;
        if (!pack->source->ops->run(pack->source, off, &len, &hole, err) ||
            !pack_run(pack, off, len, hole, err))
            return false;
        off += len;
    }
    return true;
}

static bool write_item(struct pack *pack, const struct copy_item *item, struct error *err)
{
    struct pax_entry *entry = &pack->entry;
    char *target = NULL;
    entry->path = pack->path;
    entry->attr = &item->attr;
    entry->run_count = entry->records_len = 0;
    entry->sparse = false;
    if (!earlier_name(pack, item, &entry->link, err))
        return false;
    entry->hard_link = entry->link != NULL;
    if (S_ISLNK(item->attr.mode) && !entry->hard_link) {
        if (!pack->source->ops->readlink(pack->source, &target, err))
            return false;
        entry->link = target;
    }
    bool ok = pack->source->ops->xattrs(pack->source, add_xattr, pack, err) &&
              (pack->is_tar ? write_tar(pack, item, err) : write_other(pack, item, err));
    free(target);
    pack->broken &= !ok;
    return ok;
}

static bool pack_item(struct pack *pack, struct copy_item *item, struct error *err)
{
    struct copy_source *source = pack->source;
    bool regular = S_ISREG(item->attr.mode), directory = S_ISDIR(item->attr.mode);
    pack->item = item;
    pack->before = pack->tally->bytes;
    if (regular && item->attr.size > max_size)
        return fail(err, E_TOOBIG, "%" PRIu64 " bytes are too much for an archive", item->attr.size);
    if (S_ISSOCK(item->attr.mode)) {
        copy_lost(pack->tally, LOSS_FIFO, item->path);
        return true;
    }
    if (!set_path(pack, item, err) || (regular && !source->ops->open(source, err)))
        return false;
    bool ok = write_item(pack, item, err);
    if (regular)
        source->ops->close(source);
    *(directory ? &pack->tally->directories : regular ? &pack->tally->files : &pack->tally->others) += 1;
    return ok;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

/* A file that cannot be read is told and left out, unless a part of it is in the archive already. */
static bool complain(struct pack *pack, const char *path, const struct error *err)
{
    if (err->kind == E_INTERRUPTED || err->kind == E_NOMEM || err->kind == E_HOSTFULL || pack->broken)
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
            return err->kind == E_INTERRUPTED ? false : because(err, "%s", item->path);
        pack->passed += item->event == WALK_FILE ? copy_weight(item) : 0;
    }
}

static const struct copy_options pack_options = {.recursive = true, .archive = true, .sorted = true};

static bool pack_source(struct pack *pack, const struct copy_end *end, bool alone, struct error *err)
{
    char name[1024];
    struct fs_attr attr;
    fs_id id;
    if (!path_lookup(end->volume, end->path, false, &id, err) || !file_attr(end->volume, id, &attr, err))
        return because(err, "%s", end->shown);
    copy_end_name(end, name, sizeof name);
    pack->base = (alone && S_ISDIR(attr.mode)) || !*name ? "." : name;
    pack->root_len = strlen(end->shown);
    if (!copy_image_source(end, &pack_options, &pack->source, err))
        return because(err, "%s", end->shown);
    bool ok = pack_items(pack, err);
    pack->source->ops->free(pack->source);
    return ok;
}

static bool ends_in(const char *name, const char *ending)
{
    size_t a = strlen(name), b = strlen(ending);
    return a >= b && strcasecmp(name + a - b, ending) == 0;
}

/* What an archive's name says; anything that is not known is a plain tar. */
static void choose_format(const char *name, bool *is_tar, bool *plain)
{
    static const char *const compressed[] = {".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".tlz"};
    static const char *const others[] = {".zip", ".jar", ".cpio", ".7z",  ".iso",
                                         ".xar", ".a",   ".ar",   ".shar"};
    static const char *const filters[] = {"", ".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".lzo", ".Z"};
    *is_tar = *plain = true;
    for (size_t i = 0; i < ARRAY_LEN(compressed); i++)
        if (ends_in(name, compressed[i]))
            *plain = false;
    char ending[16];
    for (size_t f = 1; f < ARRAY_LEN(filters); f++) {
        snprintf(ending, sizeof ending, ".tar%s", filters[f]);
        if (ends_in(name, ending))
            *plain = false;
    }
    for (size_t f = 0; f < ARRAY_LEN(filters); f++)
        for (size_t i = 0; i < ARRAY_LEN(others); i++) {
            snprintf(ending, sizeof ending, "%s%s", others[i], filters[f]);
            if (ends_in(name, ending))
                *is_tar = *plain = false;
        }
}

static bool finish(struct pack *pack, struct error *err)
{
    if (pack->is_tar && !pax_end(pack->written, emit, pack, err))
        return false;
    return !pack->library || archive_out_close(pack->library, err);
}

static void pack_free(struct pack *pack)
{
    archive_out_free(pack->library);
    first_names_clear(&pack->first);
    free(pack->path);
    free(pack->entry.runs);
    free(pack->entry.records);
    free(pack->buffer);
}

static bool pack_all(struct pack *pack, const struct copy_end *sources, size_t count, const char *name,
                     struct error *err)
{
    bool plain;
    choose_format(name, &pack->is_tar, &plain);
    pack->buffer = mem_new(CHUNK, err);
    if (!pack->buffer)
        return false;
    if (!plain && !archive_out_new(&pack->library, name, pack->is_tar, pack->write, pack->write_arg, err))
        return false;
    pack->what = count == 1 ? sources[0].shown : "packed";
    if (!copy_measure(pack->session, sources, count, &pack_options, &pack->total, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!pack_source(pack, &sources[i], count == 1, err))
            return false;
    return finish(pack, err);
}

bool tar_out(struct session *session, const struct copy_end *sources, size_t count, const char *name,
             archive_write_fn *write, void *write_arg, const struct copy_options *options,
             struct copy_tally *tally, struct error *err)
{
    struct pack pack = {
        .session = session, .options = options, .tally = tally, .write = write, .write_arg = write_arg};
    *tally = (struct copy_tally){0};
#ifdef HAVE_ARCHIVE
    locale_t old = archive_locale_begin();
#endif
    bool ok = pack_all(&pack, sources, count, name, err);
    pack_free(&pack);
#ifdef HAVE_ARCHIVE
    archive_locale_end(old);
#endif
    if (ok)
        copy_tell_losses(tally, options, "the archive cannot hold");
    return ok;
}
