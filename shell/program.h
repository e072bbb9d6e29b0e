/* The program's own command line: one table for getopt, --help, the manual page and the completion files. */
#ifndef DISH_PROGRAM_H
#define DISH_PROGRAM_H

#include "shell.h"

/* Options without a letter have codes from 256 on. */
enum {
    OPTION_FORMAT = 256,
    OPTION_NO_BACKING,
    OPTION_DATA_FILE,
    OPTION_COLOR,
    OPTION_SECTOR,
    OPTION_TZ,
    OPTION_CODEPAGE,
    OPTION_PRINT,
    OPTION_TRANSCRIPT
};

struct program_option {
    int code;          /* the letter, or one of the above */
    const char *name;  /* long */
    const char *value; /* NULL: takes none */
    bool host_file;    /* the value is one */
    const char *words; /* values to choose from, separated by '|', or NULL */
    const char *help;
};
/* Ends with name NULL. --print and --transcript, for the build and the tests, are not among them. */
extern const struct program_option program_options[];

struct script {
    bool is_file;
    const char *text; /* the commands, or the file's name */
    struct source source;
};

struct invocation {
    struct shell_options shell;
    struct session_options session;
    const char **images;
    size_t image_count;
    struct script *scripts;
    size_t script_count;
    char **command; /* after -- */
    int command_count;
    const char *print; /* man, bash, zsh or fish: for the build */
    bool help, version;
    bool transcript; /* of standard input */
};

/* Fills a zeroed invocation from the words. False: usage was wrong and that was said. */
bool invocation_parse(struct invocation *, int argc, char **argv);
void invocation_free(struct invocation *);

void program_help(struct text *);
/* The manual page, or a shell's completion file; false: no such thing. */
bool program_print(const char *what, struct text *);

#endif
