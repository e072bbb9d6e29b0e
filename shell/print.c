#include "program.h"
bool program_print(const char *what, struct text *out)
{
    (void)what;
    (void)out;
    return false;
}
