/*
 * One row describes a command: argument checks, usage, help, completion, the manual page and the shells'
 * completion files come from it. The flags say what the dispatcher prepares, so that no command asks whether
 * an image is open or writable, opens a savepoint or drops a cache itself.
 *
 * To add a command: one file shell/NAME.c that defines `const struct command NAME_command` (a name with
 * dashes, "qcow2-info", is qcow2_info_command) and one line COMMAND(NAME) in commands.def. Nothing else:
 * usage, --help, `help`, Tab, the manual page and the completion files of bash, zsh and fish follow. The
 * command prints to its struct output only, never exits, and returns false with err set when it failed. The
 * dispatcher
 *   - has parsed the options (-rf, -o value, --long=value, --; options may follow arguments), expanded
 *     variables and globs by the type of each argument, and checked how many there are;
 *   - prints the error as `dish: SCRIPT:LINE: COMMAND: MESSAGE`: the message names the object and says what
 *     was found ("2:/nope: no such file or directory"); an empty message is not printed (it was said before);
 *   - takes back everything the command did to the images when it fails, and makes it one undo step
 *     otherwise.
 */
#ifndef DISH_COMMAND_H
#define DISH_COMMAND_H

#include "output.h"
#include "session.h"

/* What an argument is: how Tab completes it and where its globs are expanded. */
enum arg_type {
    ARG_PATH,     /* a file in an image: globs expand in the image */
    ARG_HOST,     /* a host file: globs expand on the host */
    ARG_HOST_NEW, /* a host path that need not exist: no globs */
    ARG_PATH_NEW, /* an image path that need not exist: no globs */
    ARG_PLACE,    /* a path or a device (2:, 0:, file:) */
    ARG_VOLUME,   /* a volume number, [IMAGE:]N */
    ARG_IMAGE,    /* the name of an open image */
    ARG_SIZE,
    ARG_NUMBER,
    ARG_STRUCTURE, /* ext.super ... */
    ARG_FIELD,     /* ext.super.s_magic */
    ARG_MKFS_TYPE,
    ARG_PART_TYPE,
    ARG_SNAPSHOT,
    ARG_BITMAP,
    ARG_COMMAND,   /* the name of a dish command */
    ARG_CONTAINER, /* the name of an image format */
    ARG_OPTIONS,   /* key=value,... of the image format or filesystem that the command makes */
    ARG_WORD,      /* choices are in `values`, if any */
};

enum arg_count { ARG_ONE, ARG_OPTIONAL, ARG_MANY /* one or more */, ARG_ANY /* none or more */ };

struct arg {
    const char *name; /* upper case, as in the usage line */
    enum arg_type type;
    enum arg_count count;
    const char *help;   /* one line */
    const char *values; /* words for Tab, separated by '|', or NULL */
};

/* Arguments that depend on a first word: `partition add SIZE`. */
struct verb_args {
    const char *verb;       /* NULL ends the list */
    const struct arg *args; /* of the words after the verb */
};

struct flag {
    char letter;        /* 0: only long */
    const char *name;   /* long, without dashes; NULL: only short */
    const char *value;  /* name of its argument, upper case; NULL: takes none; "[=WHEN]": may have one */
    enum arg_type type; /* of the argument */
    const char *help;
};

enum command_flags {
    NEEDS_IMAGE = 1,   /* an image is open */
    CHANGES = 2,       /* may change images: savepoint around it; refused with -r */
    RAW_WORDS = 4,     /* options are not parsed: all words are arguments (echo, find ...) */
    READS_INPUT = 8,   /* may read its standard input (heredoc, <) */
    NO_SAVEPOINT = 16, /* it is about transactions itself (commit, undo ...) */
    ALSO_READS =
        32, /* with CHANGES: some of its uses change nothing; with -r the engine refuses the others */
    TAKES_BYTES = 64,   /* arguments may hold NUL bytes: see call.lengths */
    PREFIX = 128,       /* its arguments are another command (time): see shell_run_rest() */
    FINDS_DAMAGE = 256, /* E_DAMAGED is its verdict: exit status 4 */
    LOOKS = 1024,       /* works on images that are only open to be looked at, or on none */
    FROM_HOST = 512,    /* `NAME |HOST COMMAND` hands it the host command: see call.host */
};

struct call;

struct command {
    const char *name;
    const char *group;             /* "Images", "Partitions", "Filesystems", "Files", "Teaching", "Session" */
    const char *summary;           /* one line, no full stop, imperative */
    const char *details;           /* paragraphs for `help NAME`, or NULL */
    const char *examples;          /* lines, or NULL */
    const struct arg *args;        /* ends with name NULL; NULL: takes none */
    const struct flag *flags;      /* ends with help NULL; NULL: takes none; --help is everybody's */
    unsigned needs;                /* enum command_flags */
    const char *instead;           /* options that take the place of the first argument, "e|f", or NULL */
    const char *last_from;         /* the option whose value is the last argument, or NULL */
    const char *aliases;           /* other names, separated by blanks, or NULL */
    const struct verb_args *verbs; /* for Tab and globs, where the first argument decides; or NULL */
    /* False with err set: the command failed and its changes are taken back. */
    bool (*run)(struct session *, struct call *, struct output *, struct error *);
};

/* One invocation. Words arrive split, expanded and with globs resolved. */
struct call {
    const struct command *command;
    const char *invoked_as; /* the word typed: an alias can behave differently */
    char **args;            /* arguments without options; args[argc] is NULL */
    size_t *lengths;        /* of the arguments in bytes */
    int argc;
    struct given {
        const struct flag *flag;
        const char *value;
    } * given; /* options in the order typed */
    int given_count;
    struct shell *shell; /* for commands about the session itself (source, alias, set, history) */
    /* private to the shell: */
    struct io *io;
    const struct word *rest; /* of a PREFIX command: the words after it, as written */
    size_t rest_count;
    const char *host;       /* of a FROM_HOST command */
    bool help;              /* --help was given */
    bool keep;              /* set by run: it fails, and what it has changed stays all the same */
    struct error complaint; /* the first that call_complain() printed */
};

/* How often an option was given, by letter or long name. */
int call_has(const struct call *, const char *name);
/* The value last given to an option, or NULL. */
const char *call_value(const struct call *, const char *name);
/* All values of an ARG_OPTIONS option of this letter, read by the format's table; add to `out`. */
bool call_options(const struct call *, char letter, const struct option *table, struct options *out,
                  struct error *) DISH_CHECKED;
/* One more of them, whose value may hold commas. */
bool call_add_option(struct options *, const struct option *table, const char *key, const char *value,
                     struct error *) DISH_CHECKED;
/* Checked sizes out of options and arguments: +N, -N and N% are relative to base. */
bool call_size(const char *text, uint64_t base, uint64_t *out, struct error *) DISH_CHECKED;
/* The number of a file, as ls -i and lsdel tell it; E_USAGE for anything else. */
bool call_file_id(const char *text, fs_id *out, struct error *) DISH_CHECKED;

/* The command's standard input: heredoc, `< FILE`, or the real one when it is not the script. *got 0: end. */
bool call_read(struct call *, void *buf, size_t n, size_t *got, struct error *) DISH_CHECKED;
bool call_has_input(const struct call *); /* a heredoc or < was given */
/* Asks on standard error; the first letter of the line that the command's input has next is the answer. */
bool call_confirm(struct call *, bool *yes, struct error *, const char *fmt, ...)
    DISH_PRINTF(4, 5) DISH_CHECKED;

/*
 * A command that works on many objects goes on after one fails: report it here and return call_result() at
 * the end. The first such failure makes the command fail, and its changes are taken back.
 */
void call_complain(struct call *, const char *object, const struct error *);
bool call_result(const struct call *, struct error *) DISH_CHECKED;
/* When the command fails, the exit status is this. */
void call_exit_status(struct call *, int status);
/* A sentence on standard error that is not a failure ("3 owners could not be kept"). Silent with -q. */
void call_note(struct call *, const char *fmt, ...) DISH_PRINTF(2, 3);
/*
 * Run another command inside this one (find -exec): its words are taken as they are, its changes belong to
 * this command. Nothing is printed when it fails; err says why.
 */
bool call_run(struct call *, char **words, int count, struct output *, struct error *) DISH_CHECKED;
bool call_verbose(const struct call *);

#endif
