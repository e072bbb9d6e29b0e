/* The actions of find that print. */
#include "alloc.h"
#include "bytes.h"
#include "find.h"
#include "mode.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TEST(name)                                                                                           \
    static bool name(struct find *find, const struct find_node *node, struct find_file *file, bool *yes,     \
                     struct error *err)

/* In JSON every file that is printed is an object of its own. */
static bool report_entry(struct find *find, const struct find_file *file, struct error *err)
{
    const struct walk_entry *entry = file->entry;
    char *target = NULL;
    if (S_ISLNK(file->attr.mode) && !file_readlink(file->start->volume, entry->id, &target, err))
        return false;
    report_open(find->list, NULL);
    report_text(find->list, "path", entry->path);
    report_file(find->list, entry->name, &file->attr, target);
    report_close(find->list);
    free(target);
    return true;
}

TEST(print_path)
{
    struct output *out = node->out ? node->out : find->out;
    *yes = true;
    if (find->list && !node->out)
        return report_entry(find, file, err);
    const char *path = file->entry->path;
    if (strchr(node->word->name, '0')) {
        output_write(out, path, strlen(path) + 1);
    } else {
        output_name(out, path);
        output_write(out, "\n", 1);
    }
    return true;
}

/* ---- -ls ----------------------------------------------------------------------------------------------- */

static void owner_text(const char *name, uint32_t number, char out[64])
{
    if (name)
        snprintf(out, 64, "%s", name);
    else
        snprintf(out, 64, "%" PRIu32, number);
}

TEST(print_ls)
{
    struct output *out = node->out ? node->out : find->out;
    const struct fs_attr *attr = &file->attr;
    char permissions[11], user[64], group[64], when[64], size[40];
    *yes = true;
    if (find->list && !node->out)
        return report_entry(find, file, err);
    struct owners *owners = find_owners(find, file, err);
    if (!owners)
        return false;
    mode_text(attr->mode, permissions);
    owner_text(owner_user(owners, attr->uid), attr->uid, user);
    owner_text(owner_group(owners, attr->gid), attr->gid, group);
    bool recent = attr->mtime.sec <= find->now.sec && attr->mtime.sec > find->now.sec - 31556952 / 2;
    time_format(attr->mtime, recent ? "%b %e %H:%M" : "%b %e  %Y", when, sizeof when);
    if (S_ISCHR(attr->mode) || S_ISBLK(attr->mode))
        snprintf(size, sizeof size, "%" PRIu32 ", %" PRIu32, attr->rdev_major, attr->rdev_minor);
    else
        snprintf(size, sizeof size, "%" PRIu64, attr->size);
    output_printf(out, "%9" PRIu64 " %6" PRIu64 " %s %3" PRIu64 " %-8s %-8s %8s %s ", attr->id,
                  div_up(attr->allocated, 1024), permissions, attr->nlink, user, group, size, when);
    output_name(out, file->entry->path);
    char *target = NULL;
    if (S_ISLNK(attr->mode) && !file_readlink(file->start->volume, file->entry->id, &target, err))
        return false;
    if (target) {
        output_write(out, " -> ", 4);
        output_name(out, target);
    }
    free(target);
    output_write(out, "\n", 1);
    return true;
}

/* ---- -printf ------------------------------------------------------------------------------------------- */

struct printing {
    struct find *find;
    const struct find_file *file;
    struct owners *owners;
    struct text text;
};

/* The path without its last component; "." when it has only one. */
static void put_directory(struct printing *printing)
{
    const char *path = printing->file->entry->path, *slash = strrchr(path, '/');
    if (!slash)
        text_string(&printing->text, ".");
    else
        text_add(&printing->text, path, slash == path && path[1] ? 1 : (size_t)(slash - path));
}

/* The path below the argument it was found under. */
static void put_below(struct printing *printing)
{
    const char *path = printing->file->entry->path + strlen(printing->file->start->typed);
    if (printing->file->depth)
        text_string(&printing->text, path + (*path == '/'));
}

/* %TY and the like: @ or a conversion of strftime, seconds with their fraction as find has them. */
static void put_time_part(struct text *text, struct fs_time time, char part)
{
    char shown[128], format[3] = {'%', part, 0};
    if (part == '@' || part == 's') {
        text_printf(text, "%" PRId64, time.sec);
        if (part == '@')
            text_printf(text, ".%09u0", (unsigned)time.nsec);
        return;
    }
    const char *chosen = part == '+'   ? "%Y-%m-%d+%H:%M:%S.%N0"
                         : part == 'S' ? "%S.%N0"
                         : part == 'T' ? "%H:%M:%S.%N0"
                         : part == 'X' ? "%H:%M:%S.%N0"
                                       : format;
    time_format(time, chosen, shown, sizeof shown);
    text_string(text, shown);
}

static void put_whole_time(struct text *text, struct fs_time time)
{
    char shown[128];
    time_format(time, "%a %b %e %H:%M:%S.%N0 %Y", shown, sizeof shown);
    text_string(text, shown);
}

static void put_owner(struct text *text, const char *name, uint32_t number)
{
    char shown[64];
    owner_text(name, number, shown);
    text_string(text, shown);
}

static bool put_target(struct printing *printing, struct error *err)
{
    char *target = NULL;
    const struct walk_entry *entry = printing->file->entry;
    if (!S_ISLNK(printing->file->attr.mode))
        return true;
    if (!file_readlink(printing->file->start->volume, entry->id, &target, err))
        return false;
    text_string(&printing->text, target);
    free(target);
    return true;
}

static bool put_number_directive(struct text *text, char letter, const struct find_file *file)
{
    const struct fs_attr *attr = &file->attr;
    switch (letter) {
    case 'b':
        text_printf(text, "%" PRIu64, div_up(attr->allocated, 512));
        return true;
    case 'k':
        text_printf(text, "%" PRIu64, div_up(attr->allocated, 1024));
        return true;
    case 's':
        text_printf(text, "%" PRIu64, attr->size);
        return true;
    case 'd':
        text_printf(text, "%u", file->depth);
        return true;
    case 'i':
        text_printf(text, "%" PRIu64, attr->id);
        return true;
    case 'n':
        text_printf(text, "%" PRIu64, attr->nlink);
        return true;
    case 'U':
        text_printf(text, "%" PRIu32, attr->uid);
        return true;
    case 'G':
        text_printf(text, "%" PRIu32, attr->gid);
        return true;
    case 'm':
        text_printf(text, "%o", attr->mode & 07777);
        return true;
    case 'S':
        text_printf(text, "%g", attr->size ? (double)attr->allocated / (double)attr->size : 1.0);
        return true;
    default:
        return false;
    }
}

/* %t, or with a letter for a part of it %Tk. */
static bool put_time_directive(struct text *text, const char *p, const struct fs_attr *attr, size_t *used)
{
    static const char letters[] = "atcATCB";
    const struct fs_time times[] = {attr->atime, attr->mtime, attr->ctime, attr->atime,
                                    attr->mtime, attr->ctime, attr->crtime};
    const char *letter = *p ? strchr(letters, *p) : NULL;
    if (!letter)
        return false;
    const struct fs_time time = times[letter - letters];
    if (*letter >= 'a') {
        put_whole_time(text, time);
        return true;
    }
    if (!p[1])
        return false;
    *used = 2;
    put_time_part(text, time, p[1]);
    return true;
}

/* One directive; *used counts the letters after the %. False: there is no such one, or an error. */
static bool put_directive(struct printing *printing, const char *p, size_t *used, struct error *err)
{
    const struct walk_entry *entry = printing->file->entry;
    const struct fs_attr *attr = &printing->file->attr;
    struct text *text = &printing->text;
    struct fs_attr target;
    char permissions[11];
    *used = 1;
    if (put_number_directive(text, *p, printing->file) || put_time_directive(text, p, attr, used))
        return true;
    switch (*p) {
    case 'p':
        text_string(text, entry->path);
        return true;
    case 'P':
        put_below(printing);
        return true;
    case 'f':
        text_string(text, entry->name);
        return true;
    case 'h':
        put_directory(printing);
        return true;
    case 'H':
        text_string(text, printing->file->start->typed);
        return true;
    case 'F':
        text_string(text, printing->file->start->volume->fs->type);
        return true;
    case 'D':
        text_printf(text, "%u", printing->file->start->volume->number);
        return true;
    case 'M':
        mode_text(attr->mode, permissions);
        text_string(text, permissions);
        return true;
    case 'y':
        text_char(text, find_type_letter(attr->mode));
        return true;
    case 'Y':
        target = *attr;
        if (S_ISLNK(attr->mode) && !find_target_attr(printing->file, &target, err))
            return false;
        text_char(text, S_ISLNK(target.mode) ? 'N' : find_type_letter(target.mode));
        return true;
    case 'u':
        put_owner(text, owner_user(printing->owners, attr->uid), attr->uid);
        return true;
    case 'g':
        put_owner(text, owner_group(printing->owners, attr->gid), attr->gid);
        return true;
    case 'l':
        return put_target(printing, err);
    default:
        break;
    }
    return fail(err, E_USAGE, "'%%%c' is no directive of -printf", *p ? *p : ' ');
}

/* A name out of the image must not steer the terminal: from `start` on the text becomes what is shown of it.
 */
static bool escape_from(struct text *text, size_t start, struct error *err)
{
    size_t len = text->len - start;
    char *raw = mem_bytes(len, err);
    if (!raw)
        return false;
    memcpy(raw, text_get(text) + start, len);
    text->len = start;
    text_escaped(text, raw, len);
    free(raw);
    return true;
}

/* A directive with flags and width, "%-10s". */
static bool put_padded(struct printing *printing, const char **format, struct error *err)
{
    const char *p = *format;
    bool left = false, zero = false;
    size_t width = 0, used, start = printing->text.len;
    for (; *p && strchr("-0+ #", *p); p++) {
        left |= *p == '-';
        zero |= *p == '0';
    }
    for (; *p >= '0' && *p <= '9' && width < 1000; p++)
        width = width * 10 + (size_t)(*p - '0');
    if (!put_directive(printing, p, &used, err))
        return false;
    if (strchr("fhHlpP", *p) && output_is_terminal(printing->find->out) &&
        (!text_ok(&printing->text, err) || !escape_from(&printing->text, start, err)))
        return false;
    size_t len = printing->text.len - start;
    for (size_t i = len; i < width; i++)
        text_char(&printing->text, zero && !left ? '0' : ' ');
    if (width > len && !left && text_ok(&printing->text, err)) {
        memmove(printing->text.bytes + start + width - len, printing->text.bytes + start, len);
        memset(printing->text.bytes + start, zero ? '0' : ' ', width - len);
    }
    *format = p + used;
    return true;
}

/* \n, \t, \0, \101 ...; \c ends everything. */
static const char *put_escape(struct text *text, const char *p, bool *stop)
{
    static const char letters[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
    const char *letter = *p ? strchr(letters, *p) : NULL;
    if (letter) {
        text_char(text, values[letter - letters]);
        return p + 1;
    }
    if (*p == 'c') {
        *stop = true;
        return p + 1;
    }
    unsigned value = 0, n = 0;
    for (; n < 3 && p[n] >= '0' && p[n] <= '7'; n++)
        value = value * 8 + (unsigned)(p[n] - '0');
    text_char(text, n ? (char)value : '\\');
    return p + n;
}

TEST(print_format)
{
    struct printing printing = {.find = find, .file = file, .owners = find_owners(find, file, err)};
    bool ok = printing.owners != NULL, stop = false;
    *yes = true;
    for (const char *p = node->args[node->word->args - 1]; ok && *p && !stop;) {
        if (p[0] == '%' && p[1] == '%') {
            text_char(&printing.text, '%');
            p += 2;
        } else if (p[0] == '%') {
            p++;
            ok = put_padded(&printing, &p, err);
        } else if (p[0] == '\\') {
            p = put_escape(&printing.text, p + 1, &stop);
        } else {
            text_char(&printing.text, *p++);
        }
    }
    ok = ok && text_ok(&printing.text, err);
    if (ok && find->list && !node->out)
        report_bytes(find->list, NULL, text_get(&printing.text), printing.text.len);
    else if (ok)
        output_write(node->out ? node->out : find->out, text_get(&printing.text), printing.text.len);
    text_free(&printing.text);
    return ok;
}

const struct find_word find_printers[] = {
    {"-print", 0, true, NULL, print_path},
    {"-print0", 0, true, NULL, print_path},
    {"-ls", 0, true, NULL, print_ls},
    {"-printf", 1, true, NULL, print_format},
    {"-fprint", 1, true, find_parse_output, print_path},
    {"-fprint0", 1, true, find_parse_output, print_path},
    {"-fls", 1, true, find_parse_output, print_ls},
    {"-fprintf", 2, true, find_parse_output, print_format},
    {NULL, 0, false, NULL, NULL},
};
