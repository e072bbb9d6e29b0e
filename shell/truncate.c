/* truncate, fallocate and punch: the size of files and the space behind it. */
#include "files.h"

#include "bytes.h"
#include "path.h"
#include "region.h"

#include <string.h>
#include <sys/stat.h>

static bool check_regular(const struct file_arg *arg, struct error *err)
{
    if (S_ISREG(arg->attr.mode))
        return true;
    return S_ISDIR(arg->attr.mode) ? fail(err, E_ISDIR, "is a directory")
                                   : fail(err, E_INVALID, "is a %s", file_type_name(arg->attr.mode));
}

/* ---- truncate ---- */

struct truncate {
    const char *size; /* NULL: that of a reference file */
    uint64_t reference;
    bool no_create;
};

/* "+N", "-N", "<N", ">N", "/N" and "%N" relate to the present size as in truncate(1). */
static bool new_size(const struct truncate *cut, uint64_t old, uint64_t *out, struct error *err)
{
    uint64_t value;
    *out = cut->reference;
    if (!cut->size)
        return true;
    char how = strchr("<>/%", cut->size[0]) ? cut->size[0] : 0;
    if (!how)
        return call_size(cut->size, old, out, err);
    if (!size_parse(cut->size + 1, &value, err))
        return false;
    if ((how == '/' || how == '%') && value == 0)
        return fail(err, E_INVALID, "%s: division by zero", cut->size);
    switch (how) {
    case '<':
        *out = MIN_OF(old, value);
        return true;
    case '>':
        *out = MAX_OF(old, value);
        return true;
    case '/':
        *out = old / value * value;
        return true;
    default:
        return mul_u64(div_up(old, value), value, out) || fail(err, E_TOOBIG, "%s is too large", cut->size);
    }
}

static bool truncate_one(struct file_arg *arg, void *opaque, struct error *err)
{
    const struct truncate *cut = opaque;
    uint64_t size;
    if (!file_writable(arg->volume, err))
        return false;
    if (!path_lookup(arg->volume, arg->path, true, &arg->id, err)) {
        if (err->kind != E_NOENT)
            return false;
        if (cut->no_create)
            return true;
        if (!file_arg_create(arg, err))
            return false;
    }
    return file_attr(arg->volume, arg->id, &arg->attr, err) && check_regular(arg, err) &&
           new_size(cut, arg->attr.size, &size, err) && file_truncate(arg->volume, arg->id, size, err) &&
           file_modified(arg->volume, arg->id, err);
}

static bool run_truncate(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    struct truncate cut = {.size = call_value(call, "s"), .no_create = call_has(call, "c")};
    const char *reference = call_value(call, "r");
    if (!cut.size == !reference)
        return fail(err, E_USAGE, "give the size with -s SIZE or -r FILE");
    if (reference) {
        struct file_arg arg;
        bool ok = file_arg_open(session, reference, true, &arg, err);
        cut.reference = arg.attr.size;
        file_arg_close(&arg);
        if (!ok)
            return false;
    }
    return each_place(session, call, 0, truncate_one, &cut, err);
}

static const struct arg files_args[] = {
    {"FILE", ARG_PATH, ARG_MANY, "files of the image", NULL},
    {0},
};

static const struct arg places_args[] = {
    {"FILE", ARG_PLACE, ARG_MANY, "files of the image, or devices (2:, 0:, file:)", NULL},
    {0},
};

static const struct flag truncate_flags[] = {
    {'s', "size", "SIZE", ARG_SIZE,
     "the new size; +N and -N change it, <N and >N bound it, /N and %N round it"},
    {'r', "reference", "FILE", ARG_PATH, "the size of this file of the image"},
    {'c', "no-create", NULL, ARG_WORD, "make no files"},
    {0},
};

const struct command truncate_command = {
    .name = "truncate",
    .group = "Files",
    .summary = "set the size of files",
    .details = "What is added reads as zeros and takes no space where the filesystem has holes.",
    .examples = "truncate -s 0 /var/log/syslog\ntruncate -s +1M /swap",
    .args = files_args,
    .flags = truncate_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_truncate,
};

/* ---- fallocate, punch ---- */

struct allocate {
    uint64_t off, len;
    unsigned mode;
    bool punch, zero;
};

static bool make_if_absent(struct file_arg *arg, struct error *err)
{
    return path_lookup(arg->volume, arg->path, true, &arg->id, err) ||
           (err->kind == E_NOENT && file_arg_create(arg, err));
}

static bool allocate_one(struct file_arg *arg, void *opaque, struct error *err)
{
    const struct allocate *allocate = opaque;
    if (!file_writable(arg->volume, err))
        return false;
    bool found =
        allocate->punch ? path_lookup(arg->volume, arg->path, true, &arg->id, err) : make_if_absent(arg, err);
    if (!found || !file_attr(arg->volume, arg->id, &arg->attr, err) || !check_regular(arg, err))
        return false;
    uint64_t off = allocate->off, len = allocate->len;
    if (allocate->punch) {
        if (off >= arg->attr.size)
            return true;
        len = MIN_OF(len, arg->attr.size - off);
    }
    bool ok = allocate->punch ? file_punch(arg->volume, arg->id, off, len, err)
                              : file_allocate(arg->volume, arg->id, off, len, allocate->mode, err);
    return ok && file_modified(arg->volume, arg->id, err);
}

/* Devices, and zeros in files, by their bytes. */
static bool allocate_region(struct session *session, const char *text, const struct allocate *allocate,
                            struct error *err)
{
    struct region region;
    enum region_use use = allocate->punch ? REGION_CHANGE : REGION_MAKE;
    bool ok = region_open(session, text, use, &region, err);
    uint64_t off = allocate->off, len = allocate->len, end;
    if (ok && allocate->zero && !region.device && (allocate->punch || allocate->mode & FS_ALLOCATE_KEEP_SIZE))
        len = off < region.size ? MIN_OF(len, region.size - off) : 0;
    if (ok && !add_u64(off, len, &end))
        ok = fail(err, E_TOOBIG, "%s: offset and length are too large", region.shown);
    if (ok && !allocate->zero && !allocate->punch)
        ok = fail(err, E_UNSUPPORTED,
                  "%s: space is allocated for files; --zero-range writes zeros to a device", region.shown);
    if (ok && len > 0)
        ok =
            (allocate->zero ? region_zero(&region, off, len, err) : region_discard(&region, off, len, err)) &&
            region_changed(&region, err);
    region_close(&region);
    return ok;
}

static bool run_allocate(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    struct allocate allocate = {.punch = strcmp(call->command->name, "punch") == 0 || call_has(call, "p"),
                                .zero = call_has(call, "z") > 0,
                                .mode = call_has(call, "n") ? FS_ALLOCATE_KEEP_SIZE : 0};
    if (!call_value(call, "l"))
        return fail(err, E_USAGE, "give the length with -l SIZE");
    if (!option_size(call, "o", 0, &allocate.off, err) || !option_size(call, "l", 0, &allocate.len, err))
        return false;
    if (allocate.len == 0)
        return fail(err, E_INVALID, "the length must not be 0");
    bool bytes = allocate.zero;
    for (int i = 0; i < call->argc; i++)
        bytes = bytes || region_is_device(session, call->args[i]);
    if (!bytes)
        return each_place(session, call, 0, allocate_one, &allocate, err);
    for (int i = 0; i < call->argc; i++)
        if (!allocate_region(session, call->args[i], &allocate, err))
            return false;
    return true;
}

static const struct flag fallocate_flags[] = {
    {'l', "length", "SIZE", ARG_SIZE, "how many bytes"},
    {'o', "offset", "SIZE", ARG_SIZE, "from here; 0 when left out"},
    {'n', "keep-size", NULL, ARG_WORD, "space past the end does not make the file larger"},
    {'p', "punch-hole", NULL, ARG_WORD, "give the space back instead, as punch does"},
    {'z', "zero-range", NULL, ARG_WORD, "make the bytes zeros that have their space; devices, too"},
    {0},
};

static const struct flag punch_flags[] = {
    {'l', "length", "SIZE", ARG_SIZE, "how many bytes"},
    {'o', "offset", "SIZE", ARG_SIZE, "from here; 0 when left out"},
    {'z', "zero", NULL, ARG_WORD, "keep the space: only make the bytes zeros"},
    {0},
};

const struct command fallocate_command = {
    .name = "fallocate",
    .group = "Files",
    .summary = "allocate space for a file ahead",
    .examples = "fallocate -l 1G /swapfile\nfallocate -z -o 1M -l 64K 0:",
    .args = places_args,
    .flags = fallocate_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_allocate,
};

const struct command punch_command = {
    .name = "punch",
    .group = "Files",
    .summary = "make a hole in a file",
    .details =
        "The bytes read as zeros and whole blocks of them are given back; the size stays. On a device this "
        "is a discard: whole clusters are given back, and what the bytes read as is up to the format "
        "(zeros in qcow2; parts of clusters stay).",
    .examples = "punch -o 1M -l 4M /var/lib/db\npunch -o 1M -l 4M 0:",
    .args = places_args,
    .flags = punch_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_allocate,
};
