/* Features of an existing volume, switched on and off. */
#ifndef EXT_TUNE_H
#define EXT_TUNE_H

#include "reseal.h"

/*
 * Switch one feature; nothing happens when it is so already. E_UNSUPPORTED names what stands against it. The
 * superblock is changed in memory; the caller stores it.
 */
bool ext_tune_feature(struct ext_fs *, const char *name, bool on, struct error *) DISH_CHECKED;

#endif
