/* The checksums of the formats that zlib does not have. */
#ifndef DISH_CHECKSUM_H
#define DISH_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, reflected) as the kernel's crc32c(): no inversion before or after. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);

/* CRC-16 (polynomial 0x8005, reflected) as the kernel's crc16(). */
uint16_t crc16(uint16_t crc, const void *data, size_t n);

#endif
