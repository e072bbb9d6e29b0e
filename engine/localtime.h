/*
 * Local time for formats whose times have no zone (FAT, ISO 9660 without one, ...) or store an offset. The
 * offset is one setting of the process, minutes east of UTC; 0 unless somebody chose otherwise, so that the
 * same script writes the same image everywhere.
 */
#ifndef DISH_LOCALTIME_H
#define DISH_LOCALTIME_H

#include "error.h"

#include <stddef.h>

struct civil_time {
    int64_t year;
    unsigned month, day;           /* from 1 */
    unsigned hour, minute, second; /* from 0 */
};

int localtime_offset(void);             /* minutes east of UTC */
void localtime_set_offset(int minutes); /* -720 .. 840 */
/* "utc", "+02:00", "-0330", "5": minutes east of UTC. E_INVALID. */
bool localtime_parse_offset(const char *text, int *minutes, struct error *) DISH_CHECKED;
/* The inverse: "utc" or "+02:00"; 7 bytes are enough. */
void localtime_offset_text(int minutes, char *text, size_t size);

/* The calendar (proleptic Gregorian) of seconds since 1970-01-01, and the inverse; no zone in either. */
struct civil_time civil_from_seconds(int64_t seconds);
int64_t civil_to_seconds(const struct civil_time *);

#endif
