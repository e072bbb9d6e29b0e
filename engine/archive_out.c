#include "archive_out.h"

#include "alloc.h"
#include "archive_lib.h"

#include <stdlib.h>
#include <sys/stat.h>

#ifdef HAVE_ARCHIVE

struct archive_out {
    const struct archive_lib *lib;
    struct archive *archive;
    struct archive_entry *entry;
    archive_write_fn *write;
    void *arg;
    struct error write_error;
};

static bool failed(struct archive_out *out, struct error *err)
{
    if (out->write_error.kind != E_OK) { /* the stream failed, not the archive */
        *err = out->write_error;
        return false;
    }
    const char *why = out->lib->archive_error_string(out->archive);
    return fail(err, E_FAILED, "the archive cannot be written: %s", why ? why : "unknown error");
}

static la_ssize_t write_stream(struct archive *archive, void *arg, const void *bytes, size_t n)
{
    struct archive_out *out = arg;
    if (out->write(out->arg, bytes, n, &out->write_error))
        return (la_ssize_t)n;
    out->lib->archive_set_error(archive, -1, "%s", out->write_error.message);
    return -1;
}

static bool begin(struct archive_out *out, const char *name, bool only_filter, struct error *err)
{
    const struct archive_lib *lib = out->lib;
    out->archive = lib->archive_write_new();
    out->entry = lib->archive_entry_new();
    if (!out->archive || !out->entry)
        return fail(err, E_NOMEM, "out of memory");
    if (lib->archive_write_set_format_filter_by_ext_def(out->archive, name, ".tar") < ARCHIVE_WARN ||
        (only_filter && lib->archive_write_set_format_raw(out->archive) < ARCHIVE_WARN) ||
        lib->archive_write_open(out->archive, out, NULL, write_stream, NULL) != ARCHIVE_OK)
        return failed(out, err);
    if (!only_filter)
        return true;
    /* In the raw format one nameless file is the whole archive. */
    lib->archive_entry_set_mode(out->entry, S_IFREG | 0644);
    return lib->archive_write_header(out->archive, out->entry) >= ARCHIVE_WARN || failed(out, err);
}

bool archive_out_new(struct archive_out **result, const char *name, bool only_filter, archive_write_fn *write,
                     void *arg, struct error *err)
{
    const struct archive_lib *lib = archive_lib(err);
    struct archive_out *out = lib ? mem_new(sizeof *out, err) : NULL;
    if (!out)
        return false;
    out->lib = lib;
    out->write = write;
    out->arg = arg;
    if (begin(out, name, only_filter, err)) {
        *result = out;
        return true;
    }
    archive_out_free(out);
    return false;
}

bool archive_out_entry(struct archive_out *out, const char *path, const struct fs_attr *attr,
                       const char *link, bool hard_link, struct error *err)
{
    const struct archive_lib *lib = out->lib;
    struct archive_entry *entry = out->entry;
    lib->archive_entry_clear(entry);
    lib->archive_entry_set_pathname(entry, path);
    lib->archive_entry_set_mode(entry, attr->mode);
    lib->archive_entry_set_uid(entry, attr->uid);
    lib->archive_entry_set_gid(entry, attr->gid);
    lib->archive_entry_set_mtime(entry, attr->mtime.sec, attr->mtime.nsec);
    lib->archive_entry_set_size(entry, S_ISREG(attr->mode) && !hard_link ? (la_int64_t)attr->size : 0);
    if (S_ISCHR(attr->mode) || S_ISBLK(attr->mode)) {
        lib->archive_entry_set_rdevmajor(entry, attr->rdev_major);
        lib->archive_entry_set_rdevminor(entry, attr->rdev_minor);
    }
    if (link && hard_link)
        lib->archive_entry_set_hardlink(entry, link);
    else if (link)
        lib->archive_entry_set_symlink(entry, link);
    return lib->archive_write_header(out->archive, entry) >= ARCHIVE_WARN || failed(out, err);
}

bool archive_out_data(struct archive_out *out, const void *bytes, size_t n, struct error *err)
{
    return out->lib->archive_write_data(out->archive, bytes, n) >= 0 || failed(out, err);
}

bool archive_out_close(struct archive_out *out, struct error *err)
{
    return out->lib->archive_write_close(out->archive) >= ARCHIVE_WARN || failed(out, err);
}

void archive_out_free(struct archive_out *out)
{
    if (!out)
        return;
    if (out->archive)
        out->lib->archive_write_free(out->archive);
    if (out->entry)
        out->lib->archive_entry_free(out->entry);
    free(out);
}

#else

bool archive_out_new(struct archive_out **result, const char *name, bool only_filter, archive_write_fn *write,
                     void *arg, struct error *err)
{
    (void)result, (void)only_filter, (void)write, (void)arg;
    return fail(err, E_UNSUPPORTED,
                "%s: other archives than plain tar need libarchive, which this build lacks", name);
}

bool archive_out_entry(struct archive_out *out, const char *path, const struct fs_attr *attr,
                       const char *link, bool hard_link, struct error *err)
{
    (void)out, (void)path, (void)attr, (void)link, (void)hard_link;
    return fail(err, E_UNSUPPORTED, "this build lacks libarchive");
}

bool archive_out_data(struct archive_out *out, const void *bytes, size_t n, struct error *err)
{
    (void)out, (void)bytes, (void)n;
    return fail(err, E_UNSUPPORTED, "this build lacks libarchive");
}

bool archive_out_close(struct archive_out *out, struct error *err)
{
    (void)out;
    return fail(err, E_UNSUPPORTED, "this build lacks libarchive");
}

void archive_out_free(struct archive_out *out)
{
    (void)out;
}

#endif
