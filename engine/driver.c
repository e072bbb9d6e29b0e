#include "driver.h"

#include <stdio.h>

void owner_set(struct owner *owner, enum owner_kind kind, uint64_t len, const char *text)
{
    owner->kind = kind;
    owner->len = MAX_OF(len, 1);
    snprintf(owner->text, sizeof owner->text, "%s", text);
}
