/* The two renderings of a report; an output holds one of each. */
#ifndef DISH_REPORTS_H
#define DISH_REPORTS_H

#include "output.h"
#include "text.h"

/* JSON is written as it comes: one document a command, on one line. */
struct json_report {
    struct report report;
    struct output *out;
    struct text open; /* a bracket for each open object or list */
    struct text line; /* the value being written */
    bool comma;       /* the innermost holds something already */
};
void json_report_begin(struct json_report *, struct output *, bool list);
void json_report_end(struct json_report *); /* closes what is open */

/* Text is kept as a tree until the end, since columns are aligned. */
struct text_node;
struct text_report {
    struct report report;
    struct output *out;
    struct text_node *root, *at; /* the innermost open one */
    bool failed;                 /* no memory */
};
void text_report_begin(struct text_report *, struct output *, bool list);
bool text_report_end(struct text_report *); /* false: it was cut for lack of memory */

#endif
