/* Changing what an image stands on: rebase to another backing file, flatten, commit into the backing file. */
#ifndef DISH_BACKING_H
#define DISH_BACKING_H

#include "session.h"

/*
 * Make `path` (NULL or "": none) the backing file. safe: what the image shows stays the same, so clusters
 * that differ between the old and the new chain are copied into it; otherwise only the name changes. Part of
 * the transaction.
 */
bool image_rebase(struct image *, const char *path, const char *format, bool safe,
                  struct error *) DISH_CHECKED;

/*
 * Write what the image itself holds into its backing file, which is changed at once, and empty the image,
 * which is part of the transaction. Refused (E_BUSY) while the image has uncommitted changes.
 */
bool image_commit_backing(struct image *, struct error *) DISH_CHECKED;

#endif
