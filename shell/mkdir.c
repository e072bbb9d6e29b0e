/* mkdir, mknod, ln, touch, and their like: things that come into being with a name. */
#include "acl.h"
#include "clock.h"
#include "files.h"

#include "alloc.h"
#include "mode.h"
#include "path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* The mask that new files without -m are made under, as a login shell has it. */
enum { UMASK = 022 };

/* ---- mkdir ---- */

struct mkdir {
    struct call *call;
    struct output *out;
    bool parents;
    const char *mode;
};

static bool make_directory(struct mkdir *mk, struct volume *volume, const char *path, bool last,
                           struct error *err)
{
    fs_id dir, id;
    char name[1024];
    uint32_t bits = 0777 & ~UMASK;
    if (!path_parent(volume, path, &dir, name, sizeof name, err))
        return false;
    if (last && mk->mode && !mode_apply(mk->mode, 0777, true, UMASK, &bits, err))
        return false;
    struct fs_attr attr = fresh_attr(S_IFDIR | bits);
    bool exact = last && mk->mode;
    if (!file_create(volume, dir, name, &attr, NULL, &id, err) ||
        !acl_inherit(volume, dir, id, S_IFDIR | (exact ? bits : 0777), exact, err))
        return false;
    if (call_has(mk->call, "v") && !output_json(mk->out)) {
        output_printf(mk->out, "created directory '");
        output_name(mk->out, path);
        output_printf(mk->out, "'\n");
    }
    return true;
}

static bool is_directory(struct volume *volume, const char *path, bool *is, struct error *err)
{
    fs_id id;
    struct fs_attr attr;
    *is = false;
    if (!path_lookup(volume, path, true, &id, err))
        return err->kind == E_NOENT;
    if (!file_attr(volume, id, &attr, err))
        return false;
    *is = S_ISDIR(attr.mode);
    return *is || fail(err, E_NOTDIR, "%s: not a directory", path);
}

/* Every directory on the way that is not there. */
static bool make_parents(struct mkdir *mk, struct volume *volume, char *path, struct error *err)
{
    bool is;
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        bool ok =
            is_directory(volume, path, &is, err) && (is || make_directory(mk, volume, path, false, err));
        *slash = '/';
        if (!ok)
            return false;
    }
    return is_directory(volume, path, &is, err) && (is || make_directory(mk, volume, path, true, err));
}

static bool mkdir_one(struct file_arg *arg, void *opaque, struct error *err)
{
    struct mkdir *mk = opaque;
    if (!file_writable(arg->volume, err))
        return false;
    if (!mk->parents)
        return make_directory(mk, arg->volume, arg->path, true, err);
    char *path = mem_string(arg->path, err);
    if (!path)
        return false;
    size_t len = strlen(path);
    if (len > 1 && path[len - 1] == '/')
        path[len - 1] = 0;
    bool ok = make_parents(mk, arg->volume, path, err);
    free(path);
    return ok;
}

static bool run_mkdir(struct session *session, struct call *call, struct output *out, struct error *err)
{
    bool as_mkdir_p = strcmp(call->invoked_as, "mkdir-p") == 0;
    struct mkdir mk = {.call = call,
                       .out = out,
                       .parents = call_has(call, "p") || as_mkdir_p,
                       .mode = call_value(call, "m")};
    return each_place(session, call, 0, mkdir_one, &mk, err);
}

static const struct arg mkdir_args[] = {
    {"DIR", ARG_PATH_NEW, ARG_MANY, "new directories", NULL},
    {0},
};

static const struct flag mkdir_flags[] = {
    {'p', "parents", NULL, ARG_WORD, "with the directories on the way; no error when it exists"},
    {'m', "mode", "MODE", ARG_WORD, "permissions, octal or symbolic"},
    {'v', "verbose", NULL, ARG_WORD, "name what is made"},
    {0},
};

const struct command mkdir_command = {
    .name = "mkdir",
    .group = "Files",
    .summary = "make directories",
    .examples = "mkdir -p /srv/www/static\nmkdir -m 1777 /tmp",
    .args = mkdir_args,
    .flags = mkdir_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_mkdir,
};

/* ---- touch ---- */

struct touch {
    bool no_create, no_follow;
    unsigned mask;
    struct fs_time atime, mtime;
};

static bool touch_new(struct touch *touch, struct file_arg *arg, struct error *err)
{
    fs_id dir, id;
    char name[1024];
    if (touch->no_create)
        return true;
    struct fs_attr attr = fresh_attr(S_IFREG | (0666 & ~UMASK));
    attr.atime = touch->atime;
    attr.mtime = touch->mtime;
    return path_parent(arg->volume, arg->path, &dir, name, sizeof name, err) &&
           file_create(arg->volume, dir, name, &attr, NULL, &id, err) &&
           acl_inherit(arg->volume, dir, id, S_IFREG | 0666, false, err);
}

static bool touch_one(struct file_arg *arg, void *opaque, struct error *err)
{
    struct touch *touch = opaque;
    if (!file_writable(arg->volume, err))
        return false;
    if (!path_lookup(arg->volume, arg->path, !touch->no_follow, &arg->id, err))
        return err->kind == E_NOENT && touch_new(touch, arg, err);
    struct fs_attr attr = {.atime = touch->atime, .mtime = touch->mtime};
    return file_setattr(arg->volume, arg->id, &attr, touch->mask, err);
}

/* [[CC]YY]MMDDhhmm[.ss], as POSIX has it: years without a century are those from 1969 to 2068. */
static bool parse_stamp(const char *text, struct fs_time *out, struct error *err)
{
    size_t digits = strspn(text, "0123456789"), year_digits = digits - 8;
    int year, month, day, hour, minute, second = 0, end = -1;
    time_t now = (time_t)clock_now().sec;
    struct tm tm = {0};
    bool good = digits == 8 || digits == 10 || digits == 12;
    good = good && (!text[digits] ||
                    (sscanf(text + digits, ".%2d%n", &second, &end) == 1 && end == 3 && !text[digits + 3]));
    good = good && sscanf(text + year_digits, "%2d%2d%2d%2d", &month, &day, &hour, &minute) == 4 &&
           localtime_r(&now, &tm);
    if (good && year_digits > 0) {
        good = sscanf(text, year_digits == 2 ? "%2d" : "%4d", &year) == 1;
        tm.tm_year = year_digits == 4 ? year - 1900 : year < 69 ? year + 100 : year;
    }
    if (!good || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
        return fail(err, E_USAGE, "-t: '%s' is no time of the form [[CC]YY]MMDDhhmm[.ss]", text);
    tm = (struct tm){.tm_year = tm.tm_year,
                     .tm_mon = month - 1,
                     .tm_mday = day,
                     .tm_hour = hour,
                     .tm_min = minute,
                     .tm_sec = second,
                     .tm_isdst = -1};
    *out = (struct fs_time){mktime(&tm), 0};
    return true;
}

static bool run_touch(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    struct fs_time now = clock_now();
    struct touch touch = {
        .no_create = call_has(call, "c"), .no_follow = call_has(call, "h"), .atime = now, .mtime = now};
    const char *date = call_value(call, "d"), *reference = call_value(call, "r");
    if (date && !time_parse(date, &now, err))
        return because(err, "-d");
    const char *stamp = call_value(call, "t");
    if (stamp && !parse_stamp(stamp, &now, err))
        return false;
    if (date || stamp)
        touch.atime = touch.mtime = now;
    if (reference) {
        struct fs_attr attr;
        if (!file_arg_attr(session, reference, &attr, err))
            return false;
        touch.atime = attr.atime;
        touch.mtime = attr.mtime;
    }
    bool only_a = call_has(call, "a"), only_m = call_has(call, "m");
    touch.mask = (only_m && !only_a ? 0 : ATTR_ATIME) | (only_a && !only_m ? 0 : ATTR_MTIME);
    if (date || stamp || reference || only_a != only_m)
        touch.mask |= ATTR_CHOSEN_TIMES;
    return each_place(session, call, 0, touch_one, &touch, err);
}

static const struct arg touch_args[] = {
    {"FILE", ARG_PATH_NEW, ARG_MANY, "files; those that do not exist are made, empty", NULL},
    {0},
};

static const struct flag touch_flags[] = {
    {'a', NULL, NULL, ARG_WORD, "only the time of last access"},
    {'m', NULL, NULL, ARG_WORD, "only the time of last change"},
    {'c', "no-create", NULL, ARG_WORD, "make no files"},
    {'h', "no-dereference", NULL, ARG_WORD, "a symbolic link itself"},
    {'d', "date", "TIME", ARG_WORD, "this time: @SECONDS, 2024-05-06 or 2024-05-06T07:08:09.123456789Z"},
    {'t', NULL, "STAMP", ARG_WORD, "this time: [[CC]YY]MMDDhhmm[.ss]"},
    {'r', "reference", "FILE", ARG_PATH, "the times of this file of the image"},
    {0},
};

const struct command touch_command = {
    .name = "touch",
    .group = "Files",
    .summary = "set times; make empty files",
    .examples = "touch /etc/adjtime\ntouch -d 2024-05-06T07:08:09Z /var/log/*",
    .args = touch_args,
    .flags = touch_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_touch,
};

/* ---- mknod ---- */

static bool parse_device(const char *text, uint32_t *out, struct error *err)
{
    uint64_t value;
    if (!size_parse(text, &value, err) || value > UINT32_MAX)
        return fail(err, E_INVALID, "%s is not a device number", text);
    *out = (uint32_t)value;
    return true;
}

static bool run_mknod(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    static const char letters[] = "bcups";
    static const uint32_t types[] = {S_IFBLK, S_IFCHR, S_IFCHR, S_IFIFO, S_IFSOCK};
    const char *letter = strlen(call->args[1]) == 1 ? strchr(letters, call->args[1][0]) : NULL;
    if (!letter)
        return fail(err, E_USAGE, "'%s' is no type of device: b, c, u, p (fifo) or s (socket)",
                    call->args[1]);
    struct fs_attr attr = fresh_attr(types[letter - letters] | (0666 & ~UMASK));
    uint32_t bits;
    bool device = S_ISBLK(attr.mode) || S_ISCHR(attr.mode);
    if (device != (call->argc == 4))
        return fail(err, E_USAGE, device ? "a device needs MAJOR and MINOR" : "only devices have numbers");
    if (device && (!parse_device(call->args[2], &attr.rdev_major, err) ||
                   !parse_device(call->args[3], &attr.rdev_minor, err)))
        return false;
    const char *mode = call_value(call, "m");
    if (mode && !mode_apply(mode, 0666, false, UMASK, &bits, err))
        return false;
    if (mode)
        attr.mode = (attr.mode & S_IFMT) | bits;
    struct file_arg arg;
    fs_id dir, id;
    char name[1024];
    bool ok = file_arg_parse(session, call->args[0], &arg, err);
    if (ok && (!path_parent(arg.volume, arg.path, &dir, name, sizeof name, err) ||
               !file_create(arg.volume, dir, name, &attr, NULL, &id, err) ||
               !acl_inherit(arg.volume, dir, id, mode ? attr.mode : (attr.mode & S_IFMT) | 0666, mode, err)))
        ok = because(err, "%s", arg.shown);
    file_arg_close(&arg);
    return ok;
}

static const struct arg mknod_args[] = {
    {"PATH", ARG_PATH_NEW, ARG_ONE, "the new name", NULL},
    {"TYPE", ARG_WORD, ARG_ONE, "b, c or u (devices), p (fifo), s (socket)", "b|c|u|p|s"},
    {"MAJOR", ARG_NUMBER, ARG_OPTIONAL, "of a device", NULL},
    {"MINOR", ARG_NUMBER, ARG_OPTIONAL, "of a device", NULL},
    {0},
};

static const struct flag mknod_flags[] = {
    {'m', "mode", "MODE", ARG_WORD, "permissions, octal or symbolic"},
    {0},
};

const struct command mknod_command = {
    .name = "mknod",
    .group = "Files",
    .summary = "make a device node, fifo or socket",
    .examples = "mknod /dev/null c 1 3 -m 666\nmknod /run/pipe p",
    .args = mknod_args,
    .flags = mknod_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_mknod,
};
