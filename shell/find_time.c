/* The tests of find by time. */
#include "bytes.h"
#include "find.h"

#include <string.h>
#include <time.h>

/* The letter of -mtime, -anewer, -newerm... */
static struct fs_time chosen_time(char which, const struct fs_attr *attr)
{
    return which == 'a'   ? attr->atime
           : which == 'c' ? attr->ctime
           : which == 'B' ? attr->crtime
                          : attr->mtime;
}

FIND_PARSE(parse_age)
{
    node->day_start = find->day_start;
    node->which = node->word->name[1];
    return find_parse_number(find, node, args, err);
}

/* -daystart: ages are counted from the end of today. */
static struct fs_time node_now(const struct find *find, const struct find_node *node)
{
    struct fs_time now = find->now;
    struct tm tm;
    time_t seconds = (time_t)now.sec;
    if (!node->day_start || !localtime_r(&seconds, &tm))
        return now;
    tm.tm_mday++;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_isdst = -1;
    return (struct fs_time){mktime(&tm), 0};
}

/* Ages are counted in whole days, or begun minutes, as GNU find does. */
FIND_TEST(test_age)
{
    FIND_UNUSED;
    struct fs_time time = chosen_time(node->which, &file->attr), now = node_now(find, node);
    int64_t age = now.sec - time.sec - (time.nsec > now.nsec);
    bool fraction = time.nsec != now.nsec;
    bool minutes = strcmp(node->word->name + 2, "min") == 0;
    int64_t unit = minutes ? 60 : 86400;
    int64_t count = age < 0 ? -1 : minutes ? age / unit + (age % unit || fraction) : age / unit;
    if (count < 0)
        *yes = node->sign == '-';
    else if (minutes && node->sign == '-')
        *yes = (uint64_t)age < node->number * 60;
    else
        *yes = find_compare(node, (uint64_t)count);
    return true;
}

static bool time_of_file(struct find *find, const char *path, char which, struct fs_time *out,
                         struct error *err)
{
    struct file_arg arg;
    bool ok = file_arg_open(find->session, path, true, &arg, err);
    *out = chosen_time(which, &arg.attr);
    file_arg_close(&arg);
    return ok;
}

/* -newer, -anewer, -cnewer; -newerXY, where Y is t for a time given in words. */
FIND_PARSE(parse_newer)
{
    const char *name = node->word->name;
    char of = 'm';
    node->which = name[1] == 'n' ? 'm' : name[1];
    if (strncmp(name, "-newer", 6) == 0 && name[6]) {
        node->which = name[6];
        of = name[7];
    }
    if (of == 't')
        return time_parse(args[0], &node->time, err);
    return time_of_file(find, args[0], of, &node->time, err);
}

FIND_TEST(test_newer)
{
    FIND_UNUSED;
    struct fs_time time = chosen_time(node->which, &file->attr);
    *yes = time.sec > node->time.sec || (time.sec == node->time.sec && time.nsec > node->time.nsec);
    return true;
}

/* Read so many days after the last change of its inode. */
FIND_TEST(test_used)
{
    FIND_UNUSED;
    struct fs_time read = file->attr.atime, changed = file->attr.ctime;
    int64_t seconds = read.sec - changed.sec - (read.nsec < changed.nsec);
    *yes = seconds >= 0 && find_compare(node, (uint64_t)seconds / 86400);
    return true;
}

#define NEWER(x)                                                                                             \
    {"-newer" x "a", 1, false, parse_newer, test_newer},                                                     \
        {"-newer" x "B", 1, false, parse_newer, test_newer},                                                 \
        {"-newer" x "c", 1, false, parse_newer, test_newer},                                                 \
        {"-newer" x "m", 1, false, parse_newer, test_newer},                                                 \
    {                                                                                                        \
        "-newer" x "t", 1, false, parse_newer, test_newer                                                    \
    }

const struct find_word find_times[] = {
    {"-mtime", 1, false, parse_age, test_age},
    {"-atime", 1, false, parse_age, test_age},
    {"-ctime", 1, false, parse_age, test_age},
    {"-mmin", 1, false, parse_age, test_age},
    {"-amin", 1, false, parse_age, test_age},
    {"-cmin", 1, false, parse_age, test_age},
    {"-used", 1, false, find_parse_number, test_used},
    {"-newer", 1, false, parse_newer, test_newer},
    {"-anewer", 1, false, parse_newer, test_newer},
    {"-cnewer", 1, false, parse_newer, test_newer},
    NEWER("a"),
    NEWER("B"),
    NEWER("c"),
    NEWER("m"),
    {NULL, 0, false, NULL, NULL},
};
