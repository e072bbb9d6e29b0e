/* Bringing a volume into use (mount.c). */
#ifndef EXT_MOUNT_H
#define EXT_MOUNT_H

#include "ext.h"

#include <stdarg.h>

/* From fs.device on: superblock, journal, what forbids changes. Also after an undo. */
bool ext_start(struct ext_fs *, struct error *) DISH_CHECKED;
/* The driver's operation: a device that may be the external journal of a volume that needs it. */
bool ext_offer_journal(struct fs *, struct device *, bool *taken, struct error *);

#endif
