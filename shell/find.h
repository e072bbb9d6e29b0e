/* find, private to find.c (the command), find_parse.c, find_test.c and find_print.c. */
#ifndef DISH_FIND_H
#define DISH_FIND_H

#include "files.h"
#include "owner.h"
#include "walk.h"

#include <regex.h>

enum find_op { FIND_TERM, FIND_NOT, FIND_AND, FIND_OR, FIND_LIST /* the comma */ };

struct find;
struct find_node;

/* What is looked at. */
struct find_file {
    const struct file_arg *start;
    const struct walk_entry *entry;
    bool prune;   /* do not go into this directory */
    bool removed; /* -delete did it */
};

/* One word of the language: -name, -print ... */
struct find_word {
    const char *name;
    unsigned args; /* how many words follow; FIND_UNTIL_END for -exec */
    bool action;   /* it does something: nothing is printed by itself then */
    bool (*parse)(struct find *, struct find_node *, char **args, struct error *);
    /* *yes is set; false: the error belongs to this file. */
    bool (*test)(struct find *, const struct find_node *, struct find_file *, bool *yes, struct error *);
};
enum { FIND_UNTIL_END = 99 };

struct find_node {
    enum find_op op;
    struct find_node *left, *right; /* FIND_NOT: only left */
    struct find_node *parent;       /* whose left side this is */
    const struct find_word *word;   /* FIND_TERM */
    char **args;
    int arg_count; /* -exec */
    char sign;     /* '+', '-', '/' in front of a number or mode, or 0 */
    uint64_t number, unit;
    struct fs_time time;
    char which; /* m, a, c, B: whose time */
    regex_t *regex;
    struct volume *owner_of; /* for which number was looked up */
    bool flag;
};

struct find {
    struct session *session;
    struct call *call;
    struct output *out;
    struct report *list; /* JSON of -print */
    struct find_node *root;
    struct find_node **nodes; /* all, for freeing */
    size_t node_count, node_capacity;
    bool depth_first, has_action, has_exec, quit;
    uint64_t min_depth, max_depth;
    struct fs_time now;
    struct owners *owners;
    struct volume *owners_of;
    /* -exec ... + : paths gathered for the end */
    char **batch;
    size_t batch_count, batch_capacity;
    const struct find_node *batch_node;
};

/* The words from `at` on become find->root (always there: -print is added when nothing acts). */
bool find_parse(struct find *, int at, struct error *) DISH_CHECKED;
bool find_eval(struct find *, const struct find_node *, struct find_file *, bool *yes,
               struct error *) DISH_CHECKED;
/* NULL: no such word. */
const struct find_word *find_word(const char *name);
bool find_run_batch(struct find *, struct error *) DISH_CHECKED;
void find_free(struct find *);

/* find_print.c: actions that print. */
extern const struct find_word find_printers[];
/* The names of the image's owners for its -ls, -printf and -nouser. */
struct owners *find_owners(struct find *, const struct find_file *, struct error *) DISH_CHECKED;

#endif
