/* Looking at structures: show, where, what (layouts.c, describe.c, owner.c); totals. */
#ifndef EXT_DESCRIBE_H
#define EXT_DESCRIBE_H

#include "ext.h"

/* Blocks that no file's contents can use: groups' metadata and the journal. */
bool ext_overhead(struct ext_fs *, uint64_t *blocks, struct error *) DISH_CHECKED;

#endif
