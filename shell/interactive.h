/* What the files of the interactive side share: line editor, history, completion. */
#ifndef DISH_INTERACTIVE_H
#define DISH_INTERACTIVE_H

#include "shell.h"

/* ---- history.c: commands typed, oldest first, kept in a file of mode 0600 ---- */

struct history_list {
    char **lines;
    size_t count, capacity;
    char *path; /* NULL: there is no place to keep it */
};
void history_load(struct history_list *);
/* Adds a command, taking away an equal older one; appends to the file. False: nothing was added. */
bool history_add(struct history_list *, const char *text, size_t len);
void history_forget(struct history_list *); /* all of it, in the file, too */
void history_free(struct history_list *);
struct history_list *editor_history(struct shell *); /* NULL: not interactive */

/* ---- complete.c: what may stand at the cursor ---- */

struct candidate {
    char *text; /* the whole word, without quotes */
    char *note; /* shown beside it in a list, or NULL */
    bool more;  /* the word goes on after it (a directory, "ext."): no blank is put behind */
};
struct candidates {
    struct candidate *items;
    size_t count, capacity;
    bool cut;       /* there are more than were looked at */
    size_t shown;   /* bytes of each text that a list need not show (the directory) */
    char help[520]; /* one line about what belongs here */
    char *typed;    /* the word as far as it was typed, without quotes */
    size_t typed_len;
    enum quoting quoting; /* open at the cursor */
};
/* For the text before the cursor. False: nothing can be said. */
bool complete_at(struct shell *, const char *text, size_t len, struct candidates *);
void candidates_free(struct candidates *);
/* The bytes to insert at the cursor: what is common to all candidates, quoted as the word was begun. */
void complete_insertion(const struct candidates *, struct text *);

/* Adds a word when what was typed is its beginning. */
void candidate_add(struct candidates *, const char *text, const char *note, bool more);
void candidate_printf(struct candidates *, const char *note, bool more, const char *fmt, ...)
    DISH_PRINTF(4, 5);

/* ---- complete_path.c: files ---- */
void complete_host(struct candidates *);
void complete_image(struct shell *, struct candidates *, bool places);
/* ---- complete_word.c: everything that is not a file ---- */
void complete_words(struct candidates *, const char *values);
void complete_commands(struct shell *, struct candidates *);
void complete_volumes(struct shell *, struct candidates *);
/* `words` are the arguments of the command so far, for what depends on them. */
void complete_type(struct shell *, struct candidates *, enum arg_type, char *const *words, size_t count);

#endif
