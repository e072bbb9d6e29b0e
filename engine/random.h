/* Randomness for what must be unique: GUIDs, disk signatures, hash seeds. Not for secrets. */
#ifndef DISH_RANDOM_H
#define DISH_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/*
 * Fill n bytes from the kernel. When the environment variable DISH_SEED is set the bytes are a fixed sequence
 * that follows from its text, so that a test can repeat a session byte for byte.
 */
void random_bytes(void *buf, size_t n);

uint32_t random_u32(void);

#endif
