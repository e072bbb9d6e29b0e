/* ls, private to ls.c (what is listed) and ls_print.c (how it looks). */
#ifndef DISH_LS_H
#define DISH_LS_H

#include "files.h"
#include "owner.h"

enum sort_key { SORT_NAME, SORT_SIZE, SORT_TIME, SORT_EXTENSION, SORT_VERSION, SORT_NONE };
enum layout_kind { ONE_A_LINE, COLUMNS, ACROSS, COMMAS, LONG };

struct ls_entry {
    char *name; /* as shown */
    fs_id id;
    uint32_t type; /* S_IF*, 0: not known */
    struct fs_attr attr;
    char *target;
    bool has_attr, target_missing, faulty;
    bool acl; /* it has a list besides its mode */
};

struct ls_list {
    struct ls_entry *entries;
    size_t count, capacity;
};

struct ls {
    struct session *session;
    struct call *call;
    struct output *out;
    struct report *report; /* JSON */
    bool all, almost_all, directories, recursive, inodes, reverse, numeric, blocks, no_owner, no_group;
    bool groups_first, follow;
    bool no_backups;    /* leave names out that end in ~ */
    const char *ignore; /* and those that match this glob */
    char human;         /* 0, 'h', or 's' for powers of 1000 */
    char quoting;       /* 0, 'Q', 'b' or 'q' */
    char classify;      /* 0, 'p', 't' (all but *) or 'F' */
    char time_field;    /* m, a, c, B */
    unsigned width;
    const char *time_style;
    enum sort_key sort;
    enum layout_kind layout;
    bool needs_attr;
    int64_t now;
    struct volume *owners_of;
    struct owners *owners;
    struct fs_time shown; /* the time whose text is below */
    char shown_text[80];  /* empty: none yet */
    bool printed_before;  /* a blank line goes between blocks */
};

/* The time that the options ask for. */
struct fs_time ls_time(const struct ls *, const struct fs_attr *);
/* As -h writes sizes, or --si. */
void ls_size_text(const struct ls *, uint64_t size, char out[32]);
/* dir: the directory that the entries are in, as shown; NULL: they were arguments. */
bool ls_print_list(struct ls *, struct volume *, const struct ls_list *, const char *dir,
                   struct error *) DISH_CHECKED;

#endif
