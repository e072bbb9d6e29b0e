/* ls, private to ls.c (what is listed), ls_list.c (what is known of it, in which order) and ls_print.c. */
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
    bool has_attr, target_missing, target_directory, faulty;
    bool acl; /* it has a list besides its mode */
};

/* What is at hand of an entry in any list. */
struct ls_face {
    const char *name;
    fs_id id;
    uint32_t type;
    uint64_t value; /* that -S and -t order by */
    bool directory; /* or, with --group-directories-first, a link to one */
    bool faulty;
};

/* An entry's place in the order. */
struct ls_item {
    uint32_t key; /* tells most entries apart, so that they need not be looked at */
    uint32_t at;  /* its number, or in a long list where its record is */
};

/*
 * What is listed together: one directory, or the arguments. In a short list all that is known of the entries
 * stays in memory. A long one keeps their names and little more, packed, and reads the rest again for
 * printing.
 */
struct ls_list {
    struct ls *ls;
    struct volume *volume;
    const char *shown, *path; /* of the directory; path NULL: these are arguments, which are kept in full */
    struct ls_item *items;
    size_t count, capacity;

    struct ls_entry *entries; /* short */
    size_t entry_capacity;

    bool is_long;
    uint64_t **blocks; /* of records */
    size_t block_count, block_capacity, block_used;
    struct ls_entry current; /* what ls_list_entry() gave last */

    uint64_t allocated; /* by all of them */
    int widths[4];      /* of the columns links, user, group and size */
    int inode_width, block_width;
    bool any_acl;
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

/* ---- ls_list.c ---- */

/* An entry at the end; it is copied. */
bool ls_list_add(struct ls_list *, const struct ls_entry *, struct error *) DISH_CHECKED;
/* Looks up what the options ask for; what cannot be found is complained of. */
bool ls_list_complete(struct ls_list *, struct error *) DISH_CHECKED;
void ls_list_sort(struct ls_list *);
/* In the order of the listing; it is good until the next call. */
const struct ls_entry *ls_list_entry(struct ls_list *, size_t i);
/* The same without what would have to be read. */
struct ls_face ls_list_face(const struct ls_list *, size_t i);
void ls_list_free(struct ls_list *);
/* Attributes and link targets of one entry, as far as the options ask for them. path: on the volume. */
void ls_complete(struct ls *, struct volume *, struct ls_entry *, const char *path);

/* ---- ls_print.c ---- */

/* The time that the options ask for. */
struct fs_time ls_time(const struct ls *, const struct fs_attr *);
/* As -h writes sizes, or --si. */
void ls_size_text(const struct ls *, uint64_t size, char out[32]);
/* Takes the entry into account in the widths and totals of the list that it is in. */
void ls_measure(struct ls_list *, const struct ls_entry *);
/* Names alone, one a line, need not be held to be printed. */
void ls_print_name_line(struct ls *, const struct ls_entry *);
/* dir: the directory that the entries are in, as shown; NULL: they were arguments. */
bool ls_print_list(struct ls *, struct ls_list *, const char *dir, struct error *) DISH_CHECKED;
/* Whose files those of the list are: for the columns of long lines. */
bool ls_know_owners(struct ls *, struct volume *, struct error *) DISH_CHECKED;

#endif
