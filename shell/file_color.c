#include "file_color.h"

#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum sort {
    NORMAL,
    FILE_,
    DIRECTORY,
    LINK,
    MULTIPLE,
    PIPE,
    SOCKET,
    BLOCK,
    CHARACTER,
    ORPHAN,
    SET_UID,
    SET_GID,
    STICKY_WRITABLE,
    OTHER_WRITABLE,
    STICKY,
    EXECUTABLE,
    SORTS,
};

enum { MAX_ENDINGS = 500, COLOR_MAX = 32 };

static struct {
    bool loaded;
    char of[SORTS][COLOR_MAX];
    char text[16384]; /* a copy of LS_COLORS: the endings point into it */
    struct ending {
        const char *ending, *color;
    } endings[MAX_ENDINGS];
    size_t count;
} colors;

static const char keys[SORTS][3] = {
    [NORMAL] = "no",     [FILE_] = "fi",           [DIRECTORY] = "di",
    [LINK] = "ln",       [MULTIPLE] = "mh",        [PIPE] = "pi",
    [SOCKET] = "so",     [BLOCK] = "bd",           [CHARACTER] = "cd",
    [ORPHAN] = "or",     [SET_UID] = "su",         [SET_GID] = "sg",
    [STICKY] = "st",     [STICKY_WRITABLE] = "tw", [OTHER_WRITABLE] = "ow",
    [EXECUTABLE] = "ex",
};

static const char *const usual[SORTS] = {
    [NORMAL] = "",
    [FILE_] = "",
    [DIRECTORY] = "01;34",
    [LINK] = "01;36",
    [MULTIPLE] = "",
    [PIPE] = "40;33",
    [SOCKET] = "01;35",
    [BLOCK] = "40;33;01",
    [CHARACTER] = "40;33;01",
    [ORPHAN] = "",
    [SET_UID] = "37;41",
    [SET_GID] = "30;43",
    [STICKY_WRITABLE] = "30;42",
    [OTHER_WRITABLE] = "34;42",
    [STICKY] = "37;44",
    [EXECUTABLE] = "01;32",
};

/* Nothing but an SGR goes to a terminal. */
static bool is_color(const char *text)
{
    return strspn(text, "0123456789;") == strlen(text) && strlen(text) < COLOR_MAX;
}

static void add_rule(const char *key, const char *color)
{
    bool target = strcmp(key, "ln") == 0 && strcmp(color, "target") == 0;
    if (!is_color(color) && !target)
        return;
    if (key[0] == '*' && colors.count < MAX_ENDINGS) {
        colors.endings[colors.count++] = (struct ending){key + 1, color};
        return;
    }
    for (size_t i = 0; i < SORTS; i++)
        if (strcmp(key, keys[i]) == 0)
            snprintf(colors.of[i], COLOR_MAX, "%s",
                     target || strspn(color, "0") == strlen(color) ? "" : color);
}

static void load(void)
{
    const char *given = getenv("LS_COLORS");
    colors.loaded = true;
    for (size_t i = 0; i < SORTS; i++)
        snprintf(colors.of[i], COLOR_MAX, "%s", usual[i]);
    if (!given)
        return;
    snprintf(colors.text, sizeof colors.text, "%s", given);
    char *save;
    for (char *rule = strtok_r(colors.text, ":", &save); rule; rule = strtok_r(NULL, ":", &save)) {
        char *equals = strchr(rule, '=');
        if (equals) {
            *equals = 0;
            add_rule(rule, equals + 1);
        }
    }
}

static const char *color_of_ending(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = colors.count; i-- > 0;) {
        size_t n = strlen(colors.endings[i].ending);
        if (len >= n && strcmp(name + len - n, colors.endings[i].ending) == 0)
            return colors.endings[i].color;
    }
    return colors.of[FILE_];
}

/* The first of the two that has a colour. */
static const char *either(enum sort first, enum sort second)
{
    return colors.of[first][0] ? colors.of[first] : colors.of[second];
}

static const char *color_of_directory(uint32_t mode)
{
    if (mode & S_ISVTX && mode & S_IWOTH)
        return either(STICKY_WRITABLE, DIRECTORY);
    if (mode & S_IWOTH)
        return either(OTHER_WRITABLE, DIRECTORY);
    return mode & S_ISVTX ? either(STICKY, DIRECTORY) : colors.of[DIRECTORY];
}

static const char *color_of_file(const char *name, const struct fs_attr *attr)
{
    if (attr->mode & S_ISUID && colors.of[SET_UID][0])
        return colors.of[SET_UID];
    if (attr->mode & S_ISGID && colors.of[SET_GID][0])
        return colors.of[SET_GID];
    if (attr->mode & 0111 && colors.of[EXECUTABLE][0])
        return colors.of[EXECUTABLE];
    if (attr->nlink > 1 && colors.of[MULTIPLE][0])
        return colors.of[MULTIPLE];
    return color_of_ending(name);
}

static const char *choose(const char *name, const struct fs_attr *attr, bool missing)
{
    switch (attr->mode & S_IFMT) {
    case S_IFDIR:
        return color_of_directory(attr->mode);
    case S_IFLNK:
        return missing ? either(ORPHAN, LINK) : colors.of[LINK];
    case S_IFIFO:
        return colors.of[PIPE];
    case S_IFSOCK:
        return colors.of[SOCKET];
    case S_IFBLK:
        return colors.of[BLOCK];
    case S_IFCHR:
        return colors.of[CHARACTER];
    default:
        return color_of_file(name, attr);
    }
}

const char *file_color(const char *name, const struct fs_attr *attr, bool missing)
{
    if (!colors.loaded)
        load();
    const char *color = choose(name, attr, missing);
    if (!color[0])
        color = colors.of[NORMAL];
    return strspn(color, "0") == strlen(color) ? NULL : color;
}
