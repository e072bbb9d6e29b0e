/* All checksums of a volume anew. */
#ifndef EXT_RESEAL_H
#define EXT_RESEAL_H

#include "backup.h"

/*
 * Make the volume what `super` says (another UUID, seed, or checksum features): every checksum that differs
 * is written anew, then the superblock, and all copies. The geometry stays. E_DAMAGED when the volume is not
 * sound.
 */
bool ext_reseal(struct ext_fs *, const uint8_t *super, struct error *) DISH_CHECKED;

#endif
