/* Names (section 7.7). */
#include "exfat.h"

uint16_t exfat_name_hash(const struct exfat *exfat, const struct dosname *name)
{
    uint16_t hash = 0;
    for (unsigned i = 0; i < name->count; i++) {
        uint16_t unit = exfat->upcase[name->units[i]];
        hash = (uint16_t)((hash << 15 | hash >> 1) + (unit & 0xFF));
        hash = (uint16_t)((hash << 15 | hash >> 1) + (unit >> 8));
    }
    return hash;
}

bool exfat_name_equal(const struct exfat *exfat, const struct dosname *a, const struct dosname *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (exfat->upcase[a->units[i]] != exfat->upcase[b->units[i]])
            return false;
    return true;
}
