#include "mode.h"

#include <string.h>
#include <sys/stat.h>

static bool bad_mode(const char *text, struct error *err)
{
    return fail(err, E_INVALID, "'%s' is not a mode; a mode is octal (644) or symbolic (u+x,go-w)", text);
}

static bool apply_octal(const char *text, uint32_t old, bool directory, uint32_t *out, struct error *err)
{
    uint32_t value = 0;
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '7' || value > 0777)
            return bad_mode(text, err);
        value = value * 8 + (uint32_t)(text[i] - '0');
    }
    /* Like chmod: four digits or fewer say nothing about a directory's set-id bits. */
    if (directory && len < 5)
        value |= old & (S_ISUID | S_ISGID);
    *out = value;
    return true;
}

/* The bits that the letters of one action stand for, within u, g and o alike. */
struct action {
    uint32_t rwx;                    /* 7: rwx */
    bool setid, sticky, conditional; /* s, t, X */
    char copy;                       /* u, g or o: bits are taken from there; 0: not */
};

static const char *parse_action(const char *p, struct action *action)
{
    *action = (struct action){0};
    if (*p && strchr("ugo", *p)) {
        action->copy = *p;
        return p + 1;
    }
    for (;; p++) {
        switch (*p) {
        case 'r':
            action->rwx |= 4;
            break;
        case 'w':
            action->rwx |= 2;
            break;
        case 'x':
            action->rwx |= 1;
            break;
        case 'X':
            action->conditional = true;
            break;
        case 's':
            action->setid = true;
            break;
        case 't':
            action->sticky = true;
            break;
        default:
            return p;
        }
    }
}

static uint32_t action_bits(const struct action *action, uint32_t old, bool directory, uint32_t who)
{
    uint32_t rwx = action->rwx;
    if (action->copy)
        rwx = old >> (action->copy == 'u' ? 6 : action->copy == 'g' ? 3 : 0) & 7;
    if (action->conditional && (directory || (old & 0111)))
        rwx |= 1;
    uint32_t bits = (rwx << 6 | rwx << 3 | rwx) & who;
    if (action->setid)
        bits |= (who & S_IRWXU ? S_ISUID : 0) | (who & S_IRWXG ? S_ISGID : 0);
    if (action->sticky && (who & S_IRWXO))
        bits |= S_ISVTX;
    return bits;
}

/* One clause, "ug+rw-x". */
static const char *apply_clause(const char *p, uint32_t *mode, bool directory, uint32_t umask_bits)
{
    uint32_t who = 0;
    for (; *p && strchr("ugoa", *p); p++)
        who |= *p == 'u' ? S_IRWXU : *p == 'g' ? S_IRWXG : *p == 'o' ? S_IRWXO : 0777u;
    uint32_t mask = who ? 0777u : 0777u & ~umask_bits;
    if (!who)
        who = 0777;
    if (!*p || !strchr("+-=", *p))
        return NULL;
    while (*p && strchr("+-=", *p)) {
        char how = *p++;
        struct action action;
        p = parse_action(p, &action);
        uint32_t bits = action_bits(&action, *mode, directory, who);
        bits &= mask | 07000;
        if (how == '-') {
            *mode &= ~bits;
        } else if (how == '+') {
            *mode |= bits;
        } else {
            uint32_t cleared = who;
            if (!directory)
                cleared |= (who & S_IRWXU ? S_ISUID : 0) | (who & S_IRWXG ? S_ISGID : 0);
            if (who & S_IRWXO)
                cleared |= S_ISVTX;
            *mode = (*mode & ~cleared) | bits;
        }
    }
    return p;
}

bool mode_apply(const char *text, uint32_t old, bool directory, uint32_t umask_bits, uint32_t *out,
                struct error *err)
{
    old &= 07777;
    if (text[0] >= '0' && text[0] <= '9')
        return apply_octal(text, old, directory, out, err);
    const char *p = text;
    do {
        p = apply_clause(p, &old, directory, umask_bits);
    } while (p && *p == ',' && *++p);
    if (!p || *p || p == text || p[-1] == ',')
        return bad_mode(text, err);
    *out = old;
    return true;
}

static char type_letter(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return '-';
    case S_IFDIR:
        return 'd';
    case S_IFLNK:
        return 'l';
    case S_IFCHR:
        return 'c';
    case S_IFBLK:
        return 'b';
    case S_IFIFO:
        return 'p';
    case S_IFSOCK:
        return 's';
    default:
        return '?';
    }
}

void mode_text(uint32_t mode, char text[11])
{
    text[0] = type_letter(mode);
    for (int i = 0; i < 9; i++)
        text[1 + i] = mode >> (8 - i) & 1 ? "rwx"[i % 3] : '-';
    if (mode & S_ISUID)
        text[3] = mode & 0100 ? 's' : 'S';
    if (mode & S_ISGID)
        text[6] = mode & 0010 ? 's' : 'S';
    if (mode & S_ISVTX)
        text[9] = mode & 0001 ? 't' : 'T';
    text[10] = 0;
}
