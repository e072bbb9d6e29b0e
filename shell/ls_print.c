/* How ls shows names. */
#include "ls.h"

#include "alloc.h"
#include "bytes.h"
#include "file_color.h"
#include "grid.h"
#include "mode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- one name ------------------------------------------------------------------------------------------ */

static char suffix_of(const struct ls *ls, uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return '/';
    case S_IFLNK:
        return '@';
    case S_IFIFO:
        return '|';
    case S_IFSOCK:
        return '=';
    case S_IFREG:
        return ls->classify == 'F' && (mode & 0111) ? '*' : 0;
    default:
        return 0;
    }
}

static char entry_suffix(const struct ls *ls, const struct ls_entry *entry)
{
    uint32_t mode = entry->type | (entry->attr.mode & 07777);
    if (!ls->classify || (ls->classify == 'p' && entry->type != S_IFDIR))
        return 0;
    return entry->type == S_IFLNK && ls->layout == LONG ? 0 : suffix_of(ls, mode);
}

/* \n, \t ... as C writes them, others in octal; returns the length written. */
static size_t put_escaped(char *to, unsigned char c)
{
    static const char controls[] = "\a\b\t\n\v\f\r", letters[] = "abtnvfr";
    const char *control = c ? strchr(controls, c) : NULL;
    if (!control)
        return (size_t)sprintf(to, "\\%03o", c);
    to[0] = '\\';
    to[1] = letters[control - controls];
    return 2;
}

/* The name as -Q, -b or -q want it, before the terminal's escapes. */
static char *shown_name(const struct ls *ls, const char *name, struct error *err)
{
    char *shown = mem_new(strlen(name) * 4 + 3, err);
    if (!shown)
        return NULL;
    char *to = shown;
    if (ls->quoting == 'Q')
        *to++ = '"';
    for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
        bool control = *p < ' ' || *p == 0x7F;
        if (ls->quoting == 'q') {
            *to++ = control ? '?' : (char)*p;
            continue;
        }
        if (*p == '\\' || *p == (ls->quoting == 'Q' ? '"' : ' '))
            *to++ = '\\';
        if (control)
            to += put_escaped(to, *p);
        else
            *to++ = (char)*p;
    }
    if (ls->quoting == 'Q')
        *to++ = '"';
    return shown;
}

static void print_name(struct ls *ls, const struct ls_entry *entry)
{
    struct error err;
    struct fs_attr attr = entry->attr;
    attr.mode = entry->type | (attr.mode & 07777);
    const char *color =
        output_colored(ls->out) ? file_color(entry->name, &attr, entry->target_missing) : NULL;
    char *name = ls->quoting ? shown_name(ls, entry->name, &err) : NULL;
    if (color)
        output_color(ls->out, color);
    output_name(ls->out, name ? name : entry->name);
    if (color)
        output_color(ls->out, NULL);
    free(name);
    char suffix = entry_suffix(ls, entry);
    if (suffix)
        output_write(ls->out, &suffix, 1);
}

static void inode_text(const struct ls_entry *entry, char out[24])
{
    snprintf(out, 24, "%" PRIu64, entry->id);
}

void ls_size_text(const struct ls *ls, uint64_t size, char out[32])
{
    static const char letters[] = "kMGTPE";
    if (ls->human != 's') {
        human_size(size, out);
        return;
    }
    double value = (double)size / 1000;
    size_t unit = 0;
    for (; value > 999 && letters[unit + 1]; unit++)
        value /= 1000;
    if (size < 1000)
        snprintf(out, 32, "%" PRIu64, size);
    else if (value < 9.95)
        snprintf(out, 32, "%.1f%c", (double)(int64_t)(value * 10 + 0.9999999) / 10, letters[unit]);
    else
        snprintf(out, 32, "%" PRIu64 "%c", (uint64_t)(value + 0.9999999), letters[unit]);
}

static void blocks_text(const struct ls *ls, const struct ls_entry *entry, char out[32])
{
    if (ls->human)
        ls_size_text(ls, entry->attr.allocated, out);
    else
        snprintf(out, 32, "%" PRIu64, div_up(entry->attr.allocated, 1024));
}

/* Inode number and blocks in front of a name; widths 0: as they are. Returns the columns taken. */
static unsigned print_front(struct ls *ls, const struct ls_entry *entry, int inode_width, int block_width)
{
    char text[32];
    int taken = 0;
    if (ls->inodes) {
        inode_text(entry, text);
        output_printf(ls->out, "%*s ", inode_width, text);
        taken += MAX_OF((int)strlen(text), inode_width) + 1;
    }
    if (ls->blocks) {
        blocks_text(ls, entry, text);
        output_printf(ls->out, "%*s ", block_width, text);
        taken += MAX_OF((int)strlen(text), block_width) + 1;
    }
    return (unsigned)taken;
}

struct fs_time ls_time(const struct ls *ls, const struct fs_attr *attr)
{
    return ls->time_field == 'a'   ? attr->atime
           : ls->time_field == 'c' ? attr->ctime
           : ls->time_field == 'B' ? attr->crtime
                                   : attr->mtime;
}

/* ---- layouts ------------------------------------------------------------------------------------------- */

static unsigned name_width(const struct ls *ls, const struct ls_entry *entry)
{
    struct error err;
    char *name = ls->quoting ? shown_name(ls, entry->name, &err) : NULL;
    unsigned width = output_name_width(ls->out, name ? name : entry->name);
    free(name);
    return width + (entry_suffix(ls, entry) != 0);
}

/* Whether so many columns fit; widths are set then. */
static bool columns_fit(const unsigned *cells, size_t count, unsigned width, bool across, size_t columns,
                        unsigned *widths)
{
    size_t rows = div_up(count, columns), used = 0, filled = across ? columns : div_up(count, rows);
    memset(widths, 0, columns * sizeof *widths);
    for (size_t i = 0; i < count; i++) {
        size_t column = across ? i % columns : i / rows;
        unsigned cell = cells[i] + (column + 1 < filled ? 2 : 0);
        if (cell <= widths[column])
            continue;
        used += cell - widths[column];
        widths[column] = cell;
        if (used >= width && columns > 1)
            return false;
    }
    return true;
}

/* Finds the most columns that fit, with a column of the terminal to spare; returns the rows. */
static size_t fit_columns(const unsigned *cells, size_t count, unsigned width, bool across, unsigned *widths,
                          size_t *columns)
{
    *columns = MIN_OF(count, MAX_OF(width / 3, 1));
    while (!columns_fit(cells, count, width, across, *columns, widths))
        --*columns;
    return div_up(count, *columns);
}

static bool print_columns(struct ls *ls, struct ls_list *list, struct error *err)
{
    unsigned front = (ls->inodes ? (unsigned)list->inode_width + 1 : 0) +
                     (ls->blocks ? (unsigned)list->block_width + 1 : 0);
    unsigned *cells = mem_array(list->count * 2 + 1, sizeof *cells, err);
    if (!cells)
        return false;
    unsigned *widths = cells + list->count;
    for (size_t i = 0; i < list->count; i++)
        cells[i] = front + name_width(ls, ls_list_entry(list, i));
    size_t columns, rows = 1;
    bool across = ls->layout == ACROSS;
    rows = fit_columns(cells, list->count, ls->width, across, widths, &columns);
    for (size_t row = 0; row < rows; row++) {
        for (size_t column = 0; column < columns; column++) {
            size_t at = across ? row * columns + column : column * rows + row;
            if (at >= list->count)
                break;
            const struct ls_entry *entry = ls_list_entry(list, at);
            print_front(ls, entry, list->inode_width, list->block_width);
            print_name(ls, entry);
            size_t next = across ? at + 1 : at + rows;
            if (next < list->count && column + 1 < columns && widths[column] > cells[at])
                output_printf(ls->out, "%*s", (int)(widths[column] - cells[at]), "");
        }
        output_write(ls->out, "\n", 1);
    }
    free(cells);
    return true;
}

static void print_commas(struct ls *ls, struct ls_list *list)
{
    unsigned column = 0, width = ls->width;
    for (size_t i = 0; i < list->count; i++) {
        const struct ls_entry *entry = ls_list_entry(list, i);
        unsigned need = name_width(ls, entry);
        if (i > 0 && column + need + 2 >= width) {
            output_write(ls->out, "\n", 1);
            column = 0;
        } else if (i > 0) {
            output_write(ls->out, " ", 1);
            column += 2;
        }
        column += print_front(ls, entry, 0, 0);
        print_name(ls, entry);
        if (i + 1 < list->count)
            output_write(ls->out, ",", 1);
        column += need;
    }
    if (list->count)
        output_write(ls->out, "\n", 1);
}

struct long_row {
    char permissions[12], links[24], user_number[16], group_number[16], size[32];
    const char *user, *group, *time;
    int widths[5]; /* of links, user, group, size and time */
};

static void decimal_text(uint64_t value, char *out)
{
    char digits[20];
    int n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    while (n > 0)
        *out++ = digits[--n];
    *out = 0;
}

/* The name, or the number as text. */
static const char *owner_text(const char *name, uint32_t number, char *text)
{
    if (name)
        return name;
    decimal_text(number, text);
    return text;
}

static void format_time(const struct ls *ls, struct fs_time time, char *out, size_t size)
{
    /* As ls: six months back and nothing of the future is recent. */
    bool recent = time.sec <= ls->now && time.sec > ls->now - 31556952 / 2;
    const char *style = ls->time_style;
    if (style[0] == '+')
        time_format(time, style + 1, out, size);
    else if (strcmp(style, "full-iso") == 0)
        time_format(time, "%Y-%m-%d %H:%M:%S.%N %z", out, size);
    else if (strcmp(style, "long-iso") == 0)
        time_format(time, "%Y-%m-%d %H:%M", out, size);
    else if (strcmp(style, "iso") == 0)
        time_format(time, recent ? "%m-%d %H:%M" : "%Y-%m-%d ", out, size);
    else
        time_format(time, recent ? "%b %e %H:%M" : "%b %e  %Y", out, size);
}

/* Valid until the next call. Files that lie together often have one time. */
static const char *time_text(struct ls *ls, struct fs_time time)
{
    if (!ls->shown_text[0] || ls->shown.sec != time.sec || ls->shown.nsec != time.nsec) {
        format_time(ls, time, ls->shown_text, sizeof ls->shown_text);
        ls->shown = time;
    }
    return ls->shown_text;
}

static void fill_cells(struct ls *ls, const struct fs_attr *attr, struct long_row *row)
{
    mode_text(attr->mode, row->permissions);
    decimal_text(attr->nlink, row->links);
    row->user =
        owner_text(ls->numeric ? NULL : owner_user(ls->owners, attr->uid), attr->uid, row->user_number);
    row->group =
        owner_text(ls->numeric ? NULL : owner_group(ls->owners, attr->gid), attr->gid, row->group_number);
    if (S_ISCHR(attr->mode) || S_ISBLK(attr->mode))
        snprintf(row->size, sizeof row->size, "%" PRIu32 ", %" PRIu32, attr->rdev_major, attr->rdev_minor);
    else if (ls->human)
        ls_size_text(ls, attr->size, row->size);
    else
        decimal_text(attr->size, row->size);
    row->time = time_text(ls, ls_time(ls, attr));
}

static void fill_row(struct ls *ls, const struct ls_entry *entry, bool any_acl, struct long_row *row)
{
    if (entry->has_attr) {
        fill_cells(ls, &entry->attr, row);
        if (any_acl)
            strcat(row->permissions, entry->acl ? "+" : " ");
    } else {
        *row = (struct long_row){
            .permissions = "??????????", .links = "?", .user = "?", .group = "?", .size = "?", .time = "?"};
    }
    const char *const cells[] = {row->links, row->user, row->group, row->size, row->time};
    for (size_t c = 0; c < ARRAY_LEN(cells); c++)
        row->widths[c] = (int)display_width(cells[c]);
}

static void print_row(struct ls *ls, const struct long_row *row, const int *widths, int time_width)
{
    output_write(ls->out, row->permissions, strlen(row->permissions));
    output_write(ls->out, " ", 1);
    output_cell(ls->out, row->links, row->widths[0], widths[0]);
    if (!ls->no_owner)
        output_cell(ls->out, row->user, row->widths[1], -widths[1]);
    if (!ls->no_group)
        output_cell(ls->out, row->group, row->widths[2], -widths[2]);
    output_cell(ls->out, row->size, row->widths[3], widths[3]);
    output_cell(ls->out, row->time, row->widths[4], time_width);
}

static int digits_of(uint64_t value)
{
    int digits = 1;
    while ((value /= 10) > 0)
        digits++;
    return digits;
}

static int owner_width(const char *name, uint32_t number)
{
    return name ? (int)display_width(name) : digits_of(number);
}

static int size_width(const struct ls *ls, const struct fs_attr *attr)
{
    char text[32];
    if (S_ISCHR(attr->mode) || S_ISBLK(attr->mode))
        return digits_of(attr->rdev_major) + 2 + digits_of(attr->rdev_minor);
    if (!ls->human)
        return digits_of(attr->size);
    ls_size_text(ls, attr->size, text);
    return (int)strlen(text);
}

static void measure_long(struct ls_list *list, const struct ls_entry *entry)
{
    const struct ls *ls = list->ls;
    const struct fs_attr *attr = &entry->attr;
    int widths[ARRAY_LEN(list->widths)] = {1, 1, 1, 1}; /* of a question mark */
    if (entry->has_attr) {
        widths[0] = digits_of(attr->nlink);
        widths[1] = owner_width(ls->numeric ? NULL : owner_user(ls->owners, attr->uid), attr->uid);
        widths[2] = owner_width(ls->numeric ? NULL : owner_group(ls->owners, attr->gid), attr->gid);
        widths[3] = size_width(ls, attr);
    }
    for (size_t c = 0; c < ARRAY_LEN(widths); c++)
        list->widths[c] = MAX_OF(list->widths[c], widths[c]);
    list->any_acl |= entry->acl;
}

void ls_measure(struct ls_list *list, const struct ls_entry *entry)
{
    const struct ls *ls = list->ls;
    char text[32];
    list->allocated += entry->attr.allocated;
    if (ls->inodes)
        list->inode_width = MAX_OF(list->inode_width, digits_of(entry->id));
    if (ls->blocks) {
        blocks_text(ls, entry, text);
        list->block_width = MAX_OF(list->block_width, (int)strlen(text));
    }
    if (ls->layout == LONG && !ls->report)
        measure_long(list, entry);
}

bool ls_know_owners(struct ls *ls, struct volume *volume, struct error *err)
{
    if (ls->layout != LONG || ls->owners_of == volume)
        return true;
    owners_free(ls->owners);
    ls->owners = owners_new(volume, err);
    ls->owners_of = ls->owners ? volume : NULL;
    return ls->owners != NULL;
}

/* What a time takes that is not known. */
static int time_width(struct ls *ls)
{
    return (int)display_width(time_text(ls, (struct fs_time){.sec = ls->now}));
}

static void print_long(struct ls *ls, struct ls_list *list)
{
    struct long_row row;
    int unknown_time = time_width(ls);
    for (size_t i = 0; i < list->count && !output_closed(ls->out); i++) {
        const struct ls_entry *entry = ls_list_entry(list, i);
        fill_row(ls, entry, list->any_acl, &row);
        print_front(ls, entry, list->inode_width, list->block_width);
        print_row(ls, &row, list->widths, entry->has_attr ? 0 : unknown_time);
        print_name(ls, entry);
        if (entry->target) {
            output_write(ls->out, " -> ", 4);
            output_name(ls->out, entry->target);
        }
        output_write(ls->out, "\n", 1);
    }
}

static void print_json(struct ls *ls, struct ls_list *list, const char *dir)
{
    struct error err;
    for (size_t i = 0; i < list->count && !output_closed(ls->out); i++) {
        const struct ls_entry *entry = ls_list_entry(list, i);
        bool slash = dir && dir[strlen(dir) - 1] != '/';
        char *path = dir ? mem_printf(&err, "%s%s%s", dir, slash ? "/" : "", entry->name)
                         : mem_string(entry->name, &err);
        report_open(ls->report, NULL);
        const char *base = dir ? NULL : strrchr(entry->name, '/');
        report_text(ls->report, "name", base && base[1] ? base + 1 : entry->name);
        report_text(ls->report, "path", path ? path : entry->name);
        if (entry->has_attr)
            report_file(ls->report, NULL, &entry->attr, entry->target);
        if (entry->acl)
            report_bool(ls->report, "acl", true);
        report_close(ls->report);
        free(path);
    }
}

static void print_line(struct ls *ls, const struct ls_entry *entry, int inode_width, int block_width)
{
    print_front(ls, entry, inode_width, block_width);
    print_name(ls, entry);
    output_write(ls->out, "\n", 1);
}

void ls_print_name_line(struct ls *ls, const struct ls_entry *entry)
{
    print_line(ls, entry, 0, 0);
}

bool ls_print_list(struct ls *ls, struct ls_list *list, const char *dir, struct error *err)
{
    if (ls->report) {
        print_json(ls, list, dir);
        return true;
    }
    switch (ls->layout) {
    case LONG:
        print_long(ls, list);
        return true;
    case COLUMNS:
    case ACROSS:
        return print_columns(ls, list, err);
    case COMMAS:
        print_commas(ls, list);
        return true;
    case ONE_A_LINE:
        break;
    }
    for (size_t i = 0; i < list->count && !output_closed(ls->out); i++)
        print_line(ls, ls_list_entry(list, i), list->inode_width, list->block_width);
    return true;
}
