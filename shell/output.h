/*
 * Where a command prints. One place knows whether it is a terminal, a pipe or a file, how wide, with colours
 * or not, and whether the person asked for text or JSON. Errors go elsewhere.
 */
#ifndef DISH_OUTPUT_H
#define DISH_OUTPUT_H

#include "report.h"

#include <stdint.h>

struct output;

/* Bytes as they are. A reader that went away is not an error:
 * the rest is dropped and output_closed() says so. */
void output_write(struct output *, const void *bytes, size_t n);
void output_printf(struct output *, const char *fmt, ...) DISH_PRINTF(2, 3);
/* A text of so many columns, filled up with blanks to a width (left of it;
 * negative: right of it), and one blank. */
void output_cell(struct output *, const char *text, int columns, int width);
/* A name of a file: control characters and broken UTF-8 are escaped on a terminal, as they are otherwise. */
void output_name(struct output *, const char *name);
/* The columns that output_name() takes. */
unsigned output_name_width(const struct output *, const char *name);
bool output_closed(const struct output *); /* the reader of a pipe has gone: stop producing */
bool output_is_terminal(const struct output *);
unsigned output_width(const struct output *); /* columns; 80 when not a terminal */
bool output_json(const struct output *);      /* --json: print nothing but through output_report() */
/* Colours: sgr "01;34" or NULL for none; nothing when colours are off. */
void output_color(struct output *, const char *sgr);
bool output_colored(const struct output *);
/* A command's own choice; gives the one before, which comes back with it. */
bool output_set_colored(struct output *, bool on);
unsigned display_width(const char *utf8); /* columns that a string takes */

/*
 * The report of this command: text or one JSON document. The shell closes what is left open and prints the
 * document when the command returns. At the top level of a JSON document there is one object, or a list after
 * output_report_list().
 */
struct report *output_report(struct output *);
struct report *output_report_list(struct output *);

#endif
