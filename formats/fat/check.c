#include "fat.h"
bool fat_check(struct fs *fs, struct check *c, struct error *err)
{
    (void)fs;
    (void)c;
    (void)err;
    return true;
}
