#include "files.h"

#include "acl.h"
#include "alloc.h"
#include "clock.h"
#include "localtime.h"
#include "mode.h"
#include "path.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* ---- arguments ----------------------------------------------------------------------------------------- */

bool file_arg_parse(struct session *session, const char *text, struct file_arg *arg, struct error *err)
{
    *arg = (struct file_arg){.typed = text};
    if (!location_parse(session, text, &arg->location, err))
        return because(err, "%s", text);
    struct location *location = &arg->location;
    if (location->kind == LOCATION_FILE)
        return fail(err, E_INVALID, "%s: is the image file, not a file in it", text);
    if (location->kind == LOCATION_VOLUME) {
        location->kind = LOCATION_PATH;
        location->path = mem_string("/", err);
        if (!location->path)
            return false;
    }
    arg->volume = location->volume;
    arg->path = location->path;
    arg->shown = location_text(location, err);
    if (arg->shown)
        return true;
    location_free(location);
    *arg = (struct file_arg){.typed = text};
    return false;
}

bool file_arg_open(struct session *session, const char *text, bool follow, struct file_arg *arg,
                   struct error *err)
{
    if (!file_arg_parse(session, text, arg, err))
        return false;
    if (path_lookup(arg->volume, arg->path, follow, &arg->id, err) &&
        file_attr(arg->volume, arg->id, &arg->attr, err))
        return true;
    return because(err, "%s", arg->shown);
}

bool file_arg_attr(struct session *session, const char *text, struct fs_attr *attr, struct error *err)
{
    struct file_arg arg;
    bool ok = file_arg_open(session, text, true, &arg, err);
    *attr = arg.attr;
    file_arg_close(&arg);
    return ok;
}

struct fs_attr fresh_attr(uint32_t mode)
{
    struct fs_time now = clock_now();
    return (struct fs_attr){
        .mode = mode, .nlink = 1, .atime = now, .mtime = now, .ctime = now, .crtime = now};
}

bool file_arg_create(struct file_arg *arg, struct error *err)
{
    fs_id dir;
    char name[1024];
    struct fs_attr attr = fresh_attr(S_IFREG | 0644);
    return path_parent(arg->volume, arg->path, &dir, name, sizeof name, err) &&
           file_create(arg->volume, dir, name, &attr, NULL, &arg->id, err) &&
           acl_inherit(arg->volume, dir, arg->id, S_IFREG | 0666, false, err);
}

void file_arg_close(struct file_arg *arg)
{
    location_free(&arg->location);
    free(arg->shown);
    *arg = (struct file_arg){0};
}

bool stops_everything(enum error_kind kind)
{
    switch (kind) {
    case E_INTERRUPTED:
    case E_NOMEM:
    case E_NOSPACE:
    case E_HOSTFULL:
    case E_READONLY:
    case E_LOCKED:
    case E_IO:
        return true;
    default:
        return false;
    }
}

static bool each(struct session *session, struct call *call, int from, bool open, bool follow,
                 bool (*fn)(struct file_arg *, void *, struct error *), void *arg, struct error *err)
{
    for (int i = from; i < call->argc; i++) {
        struct file_arg file;
        bool ok = open ? file_arg_open(session, call->args[i], follow, &file, err)
                       : file_arg_parse(session, call->args[i], &file, err);
        if (ok && !fn(&file, arg, err))
            ok = file.told || err->kind == E_INTERRUPTED ? false : because(err, "%s", file.shown);
        file_arg_close(&file);
        if (ok)
            continue;
        if (stops_everything(err->kind))
            return false;
        call_complain(call, NULL, err);
    }
    return call_result(call, err);
}

bool each_file(struct session *session, struct call *call, int from, bool follow,
               bool (*fn)(struct file_arg *, void *, struct error *), void *arg, struct error *err)
{
    return each(session, call, from, true, follow, fn, arg, err);
}

bool each_place(struct session *session, struct call *call, int from,
                bool (*fn)(struct file_arg *, void *, struct error *), void *arg, struct error *err)
{
    return each(session, call, from, false, false, fn, arg, err);
}

bool option_size(const struct call *call, const char *name, uint64_t otherwise, uint64_t *out,
                 struct error *err)
{
    const char *text = call_value(call, name);
    *out = otherwise;
    return !text || size_parse(text, out, err);
}

/* ---- times --------------------------------------------------------------------------------------------- */

void time_iso(struct fs_time time, char out[48])
{
    struct civil_time civil = civil_from_seconds(time.sec);
    int n = snprintf(out, 32, "%04" PRId64 "-%02u-%02uT%02u:%02u:%02u", civil.year, civil.month, civil.day,
                     civil.hour, civil.minute, civil.second);
    if (n < 0 || n >= 32)
        n = 31;
    if (time.nsec)
        snprintf(out + n, 16, ".%09uZ", (unsigned)(time.nsec % 1000000000));
    else
        snprintf(out + n, 16, "Z");
}

/* strftime with %N, which only date and ls know: nanoseconds. */
void time_format(struct fs_time time, const char *format, char *out, size_t size)
{
    char expanded[256];
    size_t used = 0;
    for (const char *p = format; *p && used + 12 < sizeof expanded; p++) {
        if (p[0] == '%' && p[1] == 'N') {
            used += (size_t)snprintf(expanded + used, 12, "%09u", (unsigned)(time.nsec % 1000000000));
            p++;
            continue;
        }
        expanded[used++] = *p;
        if (p[0] == '%' && p[1])
            expanded[used++] = *++p;
    }
    expanded[used] = 0;
    time_t seconds = (time_t)time.sec;
    struct tm parts;
    out[0] = 0;
    if (!localtime_r(&seconds, &parts) || (strftime(out, size, expanded, &parts) == 0 && expanded[0]))
        snprintf(out, size, "%" PRId64, time.sec);
}

/* Digits of a fraction as nanoseconds. */
static const char *parse_fraction(const char *p, uint32_t *nsec)
{
    uint32_t unit = 100000000;
    *nsec = 0;
    for (; *p >= '0' && *p <= '9'; p++, unit /= 10)
        *nsec += (uint32_t)(*p - '0') * unit;
    return p;
}

/* "Z" or "+02:00" at p; false: something else. *given: there was one. */
static bool parse_zone(const char *p, int *minutes, bool *given)
{
    struct error ignored;
    while (*p == ' ')
        p++;
    *given = *p != 0;
    *minutes = 0;
    return !*p || strcmp(p, "Z") == 0 || localtime_parse_offset(p, minutes, &ignored);
}

static bool parse_calendar(const char *text, struct fs_time *out)
{
    struct tm tm = {.tm_isdst = -1, .tm_mday = 1};
    const char *p = strptime(text, "%Y-%m-%d", &tm);
    int minutes;
    bool zone;
    out->nsec = 0;
    if (!p)
        return false;
    if ((*p == ' ' || *p == 'T') && p[1]) {
        p = strptime(p + 1, "%H:%M", &tm);
        if (p && *p == ':')
            p = strptime(p + 1, "%S", &tm);
        if (p && *p == '.')
            p = parse_fraction(p + 1, &out->nsec);
    }
    if (!p || !parse_zone(p, &minutes, &zone))
        return false;
    out->sec = zone ? (int64_t)timegm(&tm) - minutes * 60 : (int64_t)mktime(&tm);
    return true;
}

bool time_parse(const char *text, struct fs_time *out, struct error *err)
{
    if (strcmp(text, "now") == 0) {
        *out = clock_now();
        return true;
    }
    if (text[0] == '@') {
        char *end;
        errno = 0;
        out->sec = strtoll(text + 1, &end, 10);
        out->nsec = 0;
        const char *rest = *end == '.' ? parse_fraction(end + 1, &out->nsec) : end;
        if (end != text + 1 && !*rest && !errno)
            return true;
    } else if (parse_calendar(text, out)) {
        return true;
    }
    return fail(err, E_INVALID, "'%s' is no time; give @SECONDS, 2024-05-06 or 2024-05-06T07:08:09Z", text);
}

/* ---- reports ------------------------------------------------------------------------------------------- */

static void report_time(struct report *report, const char *key, struct fs_time time)
{
    char text[48];
    time_iso(time, text);
    report_text(report, key, text);
}

void report_file(struct report *report, const char *name, const struct fs_attr *attr, const char *target)
{
    char permissions[11];
    if (name)
        report_text(report, "name", name);
    report_text(report, "type", file_type_name(attr->mode));
    report_number(report, "inode", attr->id);
    report_format(report, "mode", "%04o", attr->mode & 07777);
    mode_text(attr->mode, permissions);
    report_text(report, "permissions", permissions);
    report_number(report, "links", attr->nlink);
    report_number(report, "uid", attr->uid);
    report_number(report, "gid", attr->gid);
    report_number(report, "size", attr->size);
    report_number(report, "allocated", attr->allocated);
    report_time(report, "mtime", attr->mtime);
    report_time(report, "atime", attr->atime);
    report_time(report, "ctime", attr->ctime);
    if (attr->has_crtime)
        report_time(report, "crtime", attr->crtime);
    if (S_ISCHR(attr->mode) || S_ISBLK(attr->mode)) {
        report_number(report, "major", attr->rdev_major);
        report_number(report, "minor", attr->rdev_minor);
    }
    if (target)
        report_text(report, "target", target);
}
