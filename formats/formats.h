/* All formats there are, for those who put a program together; nothing else names them. */
#ifndef DISH_FORMATS_H
#define DISH_FORMATS_H

#include "session.h"
#include "signature.h"

extern const struct drivers all_formats;
extern const struct signature foreign_signatures[];

#endif
