/* stat: the attributes of files, with -f of volumes, and with -i of files that have no name any more. */
#include "alloc.h"
#include "bytes.h"
#include "files.h"
#include "mode.h"
#include "owner.h"
#include "path.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct stat_command {
    struct output *out;
    bool volumes; /* -f */
    struct report *list;
    const char *format; /* NULL: the usual lines */
    bool escapes;       /* --printf: \n and the like, and no newline of its own */
    fs_id id;           /* -i: the file of this number on the volume of the path; 0: the path's own */
    const char *id_text;
};

/* Everything that a format can ask for. */
struct facts {
    const struct file_arg *arg;
    struct owners *owners;
    char *target;
    struct fs_stat space;
    bool of_volume;
};

static void put_time(struct text *text, struct fs_time time)
{
    char shown[80];
    time_format(time, "%Y-%m-%d %H:%M:%S.%N %z", shown, sizeof shown);
    text_string(text, shown);
}

static void put_seconds(struct text *text, struct fs_time time, unsigned digits)
{
    text_printf(text, "%" PRId64, time.sec);
    if (digits) {
        char fraction[16];
        snprintf(fraction, sizeof fraction, "%09u", (unsigned)time.nsec);
        text_printf(text, ".%.*s", (int)MIN_OF(digits, 9u), fraction);
    }
}

static void put_owner(struct text *text, const char *name, uint32_t number)
{
    if (name)
        text_string(text, name);
    else
        text_printf(text, "%" PRIu32, number);
}

/* In quotes, as the shell would need them. */
static void put_quoted(struct text *text, const char *name)
{
    text_char(text, '\'');
    for (; *name; name++) {
        if (*name == '\'')
            text_string(text, "'\\'");
        text_char(text, *name);
    }
    text_char(text, '\'');
}

static void put_name(struct text *text, const struct facts *facts)
{
    put_quoted(text, facts->arg->typed);
    if (facts->target) {
        text_string(text, " -> ");
        put_quoted(text, facts->target);
    }
}

static const char *type_text(const struct fs_attr *attr)
{
    bool empty = S_ISREG(attr->mode) && attr->size == 0;
    return empty ? "regular empty file" : file_type_name(attr->mode);
}

/* Times: in small letters for a person, in capitals as seconds since 1970. */
static bool put_time_directive(struct text *text, char letter, unsigned digits, const struct fs_attr *attr)
{
    switch (letter) {
    case 'w':
    case 'W':
        if (!attr->has_crtime)
            text_string(text, letter == 'w' ? "-" : "0");
        else if (letter == 'w')
            put_time(text, attr->crtime);
        else
            put_seconds(text, attr->crtime, digits);
        return true;
    case 'x':
        put_time(text, attr->atime);
        return true;
    case 'X':
        put_seconds(text, attr->atime, digits);
        return true;
    case 'y':
        put_time(text, attr->mtime);
        return true;
    case 'Y':
        put_seconds(text, attr->mtime, digits);
        return true;
    case 'z':
        put_time(text, attr->ctime);
        return true;
    case 'Z':
        put_seconds(text, attr->ctime, digits);
        return true;
    default:
        return false;
    }
}

/* One directive of stat(1). False: there is none of that letter. */
static bool put_directive(struct text *text, char letter, unsigned digits, const struct facts *facts)
{
    const struct fs_attr *attr = &facts->arg->attr;
    const struct volume *volume = facts->arg->volume;
    char permissions[11];
    switch (letter) {
    case 'a':
        text_printf(text, "%o", attr->mode & 07777);
        return true;
    case 'A':
        mode_text(attr->mode, permissions);
        text_string(text, permissions);
        return true;
    case 'b':
        text_printf(text, "%" PRIu64, div_up(attr->allocated, 512));
        return true;
    case 'B':
        text_string(text, "512");
        return true;
    case 'd':
    case 'D':
        text_printf(text, "%u", volume->number);
        return true;
    case 'f':
        text_printf(text, "%x", attr->mode);
        return true;
    case 'F':
        text_string(text, type_text(attr));
        return true;
    case 'g':
        text_printf(text, "%" PRIu32, attr->gid);
        return true;
    case 'G':
        put_owner(text, owner_group(facts->owners, attr->gid), attr->gid);
        return true;
    case 'h':
        text_printf(text, "%" PRIu64, attr->nlink);
        return true;
    case 'i':
        text_printf(text, "%" PRIu64, attr->id);
        return true;
    case 'm':
        text_printf(text, "%u:/", volume->number);
        return true;
    case 'n':
        text_string(text, facts->arg->typed);
        return true;
    case 'N':
        put_name(text, facts);
        return true;
    case 'o':
        text_printf(text, "%" PRIu64, facts->space.block_size);
        return true;
    case 's':
        text_printf(text, "%" PRIu64, attr->size);
        return true;
    case 't':
        text_printf(text, "%" PRIx32, attr->rdev_major);
        return true;
    case 'T':
        text_printf(text, "%" PRIx32, attr->rdev_minor);
        return true;
    case 'u':
        text_printf(text, "%" PRIu32, attr->uid);
        return true;
    case 'U':
        put_owner(text, owner_user(facts->owners, attr->uid), attr->uid);
        return true;
    default:
        return put_time_directive(text, letter, digits, attr);
    }
}

/* The same for -f. */
static bool put_volume_directive(struct text *text, char letter, const struct facts *facts)
{
    const struct fs_stat *space = &facts->space;
    const struct fs *fs = facts->arg->volume->fs;
    const struct {
        char letter;
        uint64_t value;
    } numbers[] = {{'a', space->available_blocks}, {'b', space->blocks},      {'c', space->inodes},
                   {'d', space->free_inodes},      {'f', space->free_blocks}, {'l', fs->limits->max_name},
                   {'s', space->block_size},       {'S', space->block_size}};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (numbers[i].letter == letter) {
            text_printf(text, "%" PRIu64, numbers[i].value);
            return true;
        }
    if (letter != 'i' && letter != 'n' && letter != 'T')
        return false;
    text_string(text, letter == 'i' ? fs->uuid : letter == 'n' ? facts->arg->typed : fs->type);
    return true;
}

/* Flags and width of a directive, "%-08.3Y": the value is put in by printf's own rules. */
static bool put_padded(struct text *text, const char **format, const struct facts *facts, struct error *err)
{
    const char *p = *format;
    bool left = false, zero = false;
    unsigned width = 0, digits = 0;
    for (; *p && strchr("-0+ #'", *p); p++) {
        left |= *p == '-';
        zero |= *p == '0';
    }
    for (; *p >= '0' && *p <= '9' && width < 1000; p++)
        width = width * 10 + (unsigned)(*p - '0');
    if (*p == '.') {
        digits = p[1] >= '0' && p[1] <= '9' ? 0 : 9;
        for (p++; *p >= '0' && *p <= '9' && digits < 100; p++)
            digits = digits * 10 + (unsigned)(*p - '0');
    }
    struct text value = {0};
    bool good = *p && (facts->of_volume ? put_volume_directive(&value, *p, facts)
                                        : put_directive(&value, *p, digits, facts));
    if (!good) {
        text_free(&value);
        return fail(err, E_USAGE, "'%%%c' is no directive of stat", *p ? *p : ' ');
    }
    size_t pad = width > value.len ? width - value.len : 0;
    for (size_t i = 0; !left && i < pad; i++)
        text_char(text, zero ? '0' : ' ');
    text_add(text, text_get(&value), value.len);
    for (size_t i = 0; left && i < pad; i++)
        text_char(text, ' ');
    bool ok = text_ok(&value, err);
    text_free(&value);
    *format = p;
    return ok;
}

/* "\n", "\t", "\0", "\x41" ... at p; returns the last character used. */
static const char *put_escape(struct text *text, const char *p)
{
    static const char letters[] = "abefnrtv\\\"", values[] = "\a\b\033\f\n\r\t\v\\\"";
    const char *letter = strchr(letters, *p);
    if (*p && letter) {
        text_char(text, values[letter - letters]);
        return p;
    }
    if (*p >= '0' && *p <= '7') {
        unsigned value = 0, n = 0;
        for (; n < 3 && p[n] >= '0' && p[n] <= '7'; n++)
            value = value * 8 + (unsigned)(p[n] - '0');
        text_char(text, (char)value);
        return p + n - 1;
    }
    text_char(text, '\\');
    if (!*p)
        return p - 1;
    text_char(text, *p);
    return p;
}

static bool put_format(const struct stat_command *stat, const struct facts *facts, struct text *text,
                       struct error *err)
{
    for (const char *p = stat->format; *p; p++) {
        if (*p == '%' && p[1] == '%') {
            text_char(text, *p++);
        } else if (*p == '%') {
            p++;
            if (!put_padded(text, &p, facts, err))
                return false;
        } else if (*p == '\\' && stat->escapes) {
            p = put_escape(text, p + 1);
        } else {
            text_char(text, *p);
        }
    }
    if (!stat->escapes)
        text_char(text, '\n');
    return true;
}

static void print_usual(struct output *out, const struct facts *facts)
{
    const struct fs_attr *attr = &facts->arg->attr;
    static const char *const names[] = {"Access", "Modify", "Change", " Birth"};
    const struct fs_time times[] = {attr->atime, attr->mtime, attr->ctime, attr->crtime};
    char permissions[11], when[80];
    mode_text(attr->mode, permissions);
    output_printf(out, "  File: ");
    output_name(out, facts->arg->typed);
    if (facts->target) {
        output_printf(out, " -> ");
        output_name(out, facts->target);
    }
    output_printf(out, "\n  Size: %-15" PRIu64 " Blocks: %-10" PRIu64 " IO Block: %-6" PRIu64 " %s\n",
                  attr->size, div_up(attr->allocated, 512), facts->space.block_size, type_text(attr));
    output_printf(out, "Volume: %-15u Inode: %-11" PRIu64 " Links: %" PRIu64, facts->arg->volume->number,
                  attr->id, attr->nlink);
    if (S_ISCHR(attr->mode) || S_ISBLK(attr->mode))
        output_printf(out, "     Device type: %" PRIu32 ",%" PRIu32, attr->rdev_major, attr->rdev_minor);
    const char *user = owner_user(facts->owners, attr->uid), *group = owner_group(facts->owners, attr->gid);
    output_printf(out, "\nAccess: (%04o/%s)  Uid: (%5" PRIu32 "/%8s)   Gid: (%5" PRIu32 "/%8s)\n",
                  attr->mode & 07777, permissions, attr->uid, user ? user : "UNKNOWN", attr->gid,
                  group ? group : "UNKNOWN");
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        time_format(times[i], "%Y-%m-%d %H:%M:%S.%N %z", when, sizeof when);
        output_printf(out, "%s: %s\n", names[i], i == 3 && !attr->has_crtime ? "-" : when);
    }
}

static void print_volume(struct output *out, const struct facts *facts)
{
    const struct fs_stat *space = &facts->space;
    const struct fs *fs = facts->arg->volume->fs;
    output_printf(out, "  File: ");
    output_name(out, facts->arg->typed);
    output_printf(out, "\n    ID: %s Namelen: %-7" PRIu32 " Type: %s\n", fs->uuid, fs->limits->max_name,
                  fs->type);
    output_printf(out, "Block size: %-10" PRIu64 " Fundamental block size: %" PRIu64 "\n", space->block_size,
                  space->block_size);
    output_printf(out, "Blocks: Total: %-10" PRIu64 " Free: %-10" PRIu64 " Available: %" PRIu64 "\n",
                  space->blocks, space->free_blocks, space->available_blocks);
    output_printf(out, "Inodes: Total: %-10" PRIu64 " Free: %" PRIu64 "\n", space->inodes,
                  space->free_inodes);
}

static void report_volume(struct report *list, const struct facts *facts)
{
    const struct fs_stat *space = &facts->space;
    const struct fs *fs = facts->arg->volume->fs;
    report_open(list, NULL);
    report_text(list, "path", facts->arg->typed);
    report_text(list, "type", fs->type);
    report_text(list, "uuid", fs->uuid);
    report_number(list, "max-name", fs->limits->max_name);
    report_number(list, "block-size", space->block_size);
    report_number(list, "blocks", space->blocks);
    report_number(list, "free-blocks", space->free_blocks);
    report_number(list, "available-blocks", space->available_blocks);
    report_number(list, "inodes", space->inodes);
    report_number(list, "free-inodes", space->free_inodes);
    report_close(list);
}

/* Where a symbolic link leads; of a deleted one that may not be known any more. */
static bool find_target(const struct stat_command *stat, const struct file_arg *arg, char **target,
                        struct error *err)
{
    if (!S_ISLNK(arg->attr.mode) || file_readlink(arg->volume, arg->id, target, err))
        return true;
    return stat->id != 0;
}

static bool stat_one(struct file_arg *arg, void *opaque, struct error *err)
{
    struct stat_command *stat = opaque;
    struct facts facts = {.arg = arg, .of_volume = stat->volumes};
    struct text text = {0};
    const struct fs *fs = arg->volume->fs;
    if (stat->id != 0) {
        arg->id = stat->id;
        arg->typed = stat->id_text;
        if (!file_attr(arg->volume, arg->id, &arg->attr, err))
            return false;
    }
    if (!fs->driver->statfs || !fs->driver->statfs(arg->volume->fs, &facts.space, err))
        facts.space = (struct fs_stat){.block_size = 4096};
    if (!find_target(stat, arg, &facts.target, err))
        return false;
    facts.owners = owners_new(arg->volume, err);
    bool ok = facts.owners != NULL;
    if (ok && stat->list && stat->volumes) {
        report_volume(stat->list, &facts);
    } else if (ok && stat->list) {
        report_open(stat->list, NULL);
        report_text(stat->list, "path", arg->typed);
        report_file(stat->list, NULL, &arg->attr, facts.target);
        report_close(stat->list);
    } else if (ok && stat->format) {
        ok = put_format(stat, &facts, &text, err) && text_ok(&text, err);
        if (ok)
            output_write(stat->out, text_get(&text), text.len);
    } else if (ok) {
        (stat->volumes ? print_volume : print_usual)(stat->out, &facts);
    }
    text_free(&text);
    owners_free(facts.owners);
    free(facts.target);
    return ok;
}

static bool run_stat(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct stat_command stat = {.out = out, .volumes = call_has(call, "f"), .format = call_value(call, "c")};
    if (call_value(call, "printf")) {
        stat.format = call_value(call, "printf");
        stat.escapes = true;
    }
    stat.id_text = call_value(call, "i");
    if (stat.id_text && !call_file_id(stat.id_text, &stat.id, err))
        return false;
    if (output_json(out))
        stat.list = output_report_list(out);
    return each_file(session, call, 0, call_has(call, "L"), stat_one, &stat, err);
}

static const struct arg path_args[] = {
    {"PATH", ARG_PATH, ARG_MANY, "files of the image", NULL},
    {0},
};

static const struct flag stat_flags[] = {
    {'L', "dereference", NULL, ARG_WORD, "what symbolic links point to"},
    {'f', "file-system", NULL, ARG_WORD,
     "the filesystem that the file is on; directives %a %b %c %d %f %i %l %n %s %S %T"},
    {'i', "id", "ID", ARG_NUMBER,
     "not PATH itself: the file of this number on its volume, as ls -i or lsdel tells it, also a deleted "
     "one"},
    {'c', "format", "FORMAT", ARG_WORD,
     "directives of stat(1), as %a %A %b %f %F %g %h %i %n %N %s %u %x %y %Y %Z"},
    {0, "printf", "FORMAT", ARG_WORD, "the same with \\n and the like, and no newline of its own"},
    {0},
};

const struct command stat_command = {
    .name = "stat",
    .group = "Files",
    .summary = "print the attributes of files",
    .examples = "stat /etc/fstab\nstat -f /\nstat -i 12 2:\nstat -c '%a %u:%g %.9Y %n' /etc/*",
    .args = path_args,
    .flags = stat_flags,
    .needs = NEEDS_IMAGE,
    .run = run_stat,
};
