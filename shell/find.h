/* find, private to find.c (the command) and the files find_*.c. */
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
    const struct walk_entry *entry; /* its name and path */
    fs_id id;                       /* with -L: of what a link points to */
    struct fs_attr attr;            /* only the type, unless find_needs_attr() */
    unsigned depth;
    bool link;    /* the name itself is a symbolic link */
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
    char which;     /* m, a, c, B: whose time */
    bool day_start; /* -daystart was in front */
    regex_t *regex;
    struct volume *owner_of; /* for which number was looked up */
    bool flag;
    bool asks, in_directory; /* -ok, -execdir */
    struct output *out;      /* -fprint and the like; NULL: the command's own */
};

struct find {
    struct session *session;
    struct call *call;
    struct output *out;
    struct report *list; /* JSON of -print */
    struct find_node *root;
    struct find_node **nodes; /* all, for freeing */
    size_t node_count, node_capacity;
    char follow; /* P: never; H: arguments; L: everywhere */
    bool depth_first, has_action, has_exec, quit;
    int regex_flags; /* -regextype */
    uint64_t min_depth, max_depth;
    struct fs_time now;
    bool day_start;
    struct owners *owners;
    struct volume *owners_of;
    const char *starts;          /* -files0-from */
    struct find_output *outputs; /* that -fprint and the like write to */
    /* -exec ... + : paths gathered for the end */
    char **batch;
    size_t batch_count, batch_capacity;
    const struct find_node *batch_node;
};

/* The words from `at` on become find->root (always there: -print is added when nothing acts). */
bool find_parse(struct find *, int at, struct error *) DISH_CHECKED;
bool find_eval(struct find *, const struct find_node *, struct find_file *, bool *yes,
               struct error *) DISH_CHECKED;
/* False: for every word of the expression the entry of the directory says enough. */
bool find_needs_attr(const struct find *);
/* NULL: no such word. */
const struct find_word *find_word(const char *name);
bool find_run_batch(struct find *, struct error *) DISH_CHECKED;
/* find_follow.c: all of a tree, links followed as find->follow says. */
bool find_walk(struct find *, const struct file_arg *start, unsigned walk_flags, struct error *) DISH_CHECKED;
/* On the volume, from the path that is shown; malloc'd, NULL with err. */
char *find_absolute_path(const struct find_file *, struct error *);
/* Judges one entry; *prune: do not go in. False: stop. */
bool find_visit(struct find *, struct walk *, struct find_file *, struct error *) DISH_CHECKED;
void find_free(struct find *);

/* What find_test.c, find_owner.c and find_time.c share. A word's reader of its arguments, and its test: */
#define FIND_PARSE(name)                                                                                     \
    static bool name(struct find *find, struct find_node *node, char **args, struct error *err)
#define FIND_TEST(name)                                                                                      \
    static bool name(struct find *find, const struct find_node *node, struct find_file *file, bool *yes,     \
                     struct error *err)
#define FIND_UNUSED ((void)find, (void)node, (void)file, (void)err)
/* "+5" is more, "-5" less, "5" just so. */
bool find_compare(const struct find_node *, uint64_t value);
bool find_read_number(const char *text, char *sign, uint64_t *out, const char **rest,
                      struct error *) DISH_CHECKED;
bool find_parse_number(struct find *, struct find_node *, char **args, struct error *) DISH_CHECKED;
/* As -type and -printf %y name it. */
char find_type_letter(uint32_t mode);
/* The attributes of what a link points to, or of the link itself when that is missing. */
bool find_target_attr(const struct find_file *, struct fs_attr *, struct error *) DISH_CHECKED;

/* find_time.c: the tests by time; find_owner.c: those by owner, permission and link. */
extern const struct find_word find_times[], find_owner_words[];
/* find_print.c: actions that print; find_exec.c: those that run commands. */
extern const struct find_word find_printers[], find_executors[];
/* find_files.c: the host file that the first argument names, made empty, becomes the node's output. */
bool find_parse_output(struct find *, struct find_node *, char **args, struct error *) DISH_CHECKED;
/* Writes them to their end and closes them. */
bool find_close_outputs(struct find *, struct error *) DISH_CHECKED;
/* Each name in the list of -files0-from; fn returns false to stop. */
bool find_each_start(struct find *, bool (*fn)(struct find *, const char *name, struct error *),
                     struct error *) DISH_CHECKED;
/* The names of the image's owners for its -ls, -printf and -nouser. */
struct owners *find_owners(struct find *, const struct find_file *, struct error *) DISH_CHECKED;

#endif
