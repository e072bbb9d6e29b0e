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
    bool cut;         /* there are more than were looked at */
    size_t typed;     /* bytes of the word that were typed, without quotes */
    size_t shown;     /* bytes of each text that a list need not show (the directory) */
    char help[400];   /* one line about what belongs here */
    struct text word; /* the word typed, without quotes */
    enum quoting quoting;
};
/* For the text before the cursor. False: nothing can be said. */
bool complete_at(struct shell *, const char *text, size_t len, struct candidates *);
void candidates_free(struct candidates *);
/* The bytes that go on a word as typed: quoted as it was begun; `last`: the word ends. */
void complete_insertion(const struct candidates *, const char *rest, size_t len, bool last, bool more,
                        struct text *);
/* The bytes that all candidates begin with. */
size_t complete_common(const struct candidates *);

#endif
