#include "exfat.h"
bool exfat_check(struct fs *fs, struct check *c, struct error *err)
{
    (void)fs;
    (void)c;
    (void)err;
    return true;
}
