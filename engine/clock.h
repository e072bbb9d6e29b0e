/* The time that new and changed files get. */
#ifndef DISH_CLOCK_H
#define DISH_CLOCK_H

#include "driver.h"

/* Now; fixed by the environment variable SOURCE_DATE_EPOCH (seconds since 1970). */
struct fs_time clock_now(void);

#endif
