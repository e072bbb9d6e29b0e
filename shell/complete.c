#include "interactive.h"
#include <stdlib.h>
bool complete_at(struct shell *shell, const char *text, size_t len, struct candidates *out)
{
    (void)shell;
    (void)text;
    (void)len;
    (void)out;
    return false;
}
void candidates_free(struct candidates *c)
{
    free(c->items);
}
void complete_insertion(const struct candidates *c, const char *rest, size_t len, bool last, bool more,
                        struct text *out)
{
    (void)c;
    (void)rest;
    (void)len;
    (void)last;
    (void)more;
    (void)out;
}
size_t complete_common(const struct candidates *c)
{
    return c->typed;
}
