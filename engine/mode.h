/* Permission bits as text: "644", "u+rwX,go-w", "a=r", "g=u", "+t"; and back as "rw-r--r--". */
#ifndef DISH_MODE_H
#define DISH_MODE_H

#include "error.h"

/*
 * What `text` makes of the bits `old` (07777). directory decides about X and keeps set-id bits of octal modes
 * as chmod does; umask_bits are left alone by clauses that name nobody ("+w").
 */
bool mode_apply(const char *text, uint32_t old, bool directory, uint32_t umask_bits, uint32_t *out,
                struct error *) DISH_CHECKED;

/* "drwxr-sr-t" for an S_IF* mode; text has room for 11 bytes. */
void mode_text(uint32_t mode, char text[11]);

#endif
