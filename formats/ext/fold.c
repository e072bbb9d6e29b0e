/*
 * Folding of names ("Case-insensitive Directories"): two names are one when their forms NFDICF of
 * Unicode 12.1 are equal, and the hash of a name is that of its form. utf8proc folds by a later version:
 * names with characters for which the two differ can be found, but not entered; nor those with combining
 * marks of their own or ignored characters, which the kernel orders in its own way. Without these each
 * character folds by itself.
 */
#include "dir.h"

#include "bytes.h"

#include <stdlib.h>
#ifdef HAVE_UTF8PROC
#include <utf8proc.h>
#endif

#ifdef HAVE_UTF8PROC

/* Later than 12.1: other foldings and ignorable characters,
 * and combining marks; compared up to Unicode 15. */
static const struct {
    uint32_t first, last;
} later[] = {
    {0x0898, 0x089F},   {0x08CA, 0x08D2},   {0x0C3C, 0x0C3C},   {0x1715, 0x1715},   {0x180F, 0x180F},
    {0x1ABF, 0x1ACE},   {0x1DFA, 0x1DFA},   {0x2065, 0x2065},   {0x2C2F, 0x2C2F},   {0x2C5F, 0x2C5F},
    {0xA7C0, 0xA7C1},   {0xA7C7, 0xA7CA},   {0xA7D0, 0xA7D1},   {0xA7D6, 0xA7D9},   {0xA7F5, 0xA7F6},
    {0xA82C, 0xA82C},   {0xFFF0, 0xFFF8},   {0x10570, 0x105BF}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x11935, 0x11946}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1},
    {0x1E08F, 0x1E08F}, {0x1E2AE, 0x1E2AE}, {0x1E4EC, 0x1E4EF}, {0xE0000, 0xE0FFF},
};

/* Does it not fold by itself, or not to the same? */
static bool is_uncertain(utf8proc_int32_t c)
{
    const utf8proc_property_t *property = utf8proc_get_property(c);
    if (property->combining_class != 0 || property->ignorable)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(later); i++)
        if ((uint32_t)c >= later[i].first && (uint32_t)c <= later[i].last)
            return true;
    return false;
}

char *ext_fold_name(const char *name, size_t len)
{
    utf8proc_uint8_t *out;
    utf8proc_option_t how = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE;
    return utf8proc_map((const utf8proc_uint8_t *)name, (utf8proc_ssize_t)len, &out, how) < 0 ? NULL
                                                                                              : (char *)out;
}

bool ext_fold_certain(const char *name, size_t len, struct error *err)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)name;
    bool compared = strcmp(utf8proc_unicode_version(), "15.1") < 0; /* versions have two digits */
    for (size_t left = len; left > 0;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate(at, (utf8proc_ssize_t)left, &c);
        if (n <= 0)
            return fail(err, E_NAME, "names in a casefolded directory are UTF-8");
        if (is_uncertain(c) || (c > 0x7F && !compared))
            return fail(err, E_UNSUPPORTED, "the name holds U+%04X, whose folding is not certain here",
                        (unsigned)c);
        at += n;
        left -= (size_t)n;
    }
    return true;
}

#else

char *ext_fold_name(const char *name, size_t len)
{
    char *out = malloc(len + 1);
    for (size_t i = 0; out && i <= len; i++)
        out[i] = i == len ? '\0' : name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    return out;
}

bool ext_fold_certain(const char *name, size_t len, struct error *err)
{
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)name[i] > 0x7F)
            return fail(err, E_UNSUPPORTED, "names beyond ASCII cannot be folded without utf8proc");
    return true;
}

#endif

bool ext_dir_hash(const struct ext_fs *ext, const struct ext_inode *dir, const char *name, size_t len,
                  unsigned version, struct ext_name_hash *out, struct error *err)
{
    const uint8_t *seed = ext_super_s_hash_seed(ext->super);
    bool folds = ext_inode_flag(dir->raw, EXT_FL_CASEFOLD) && !ext_inode_flag(dir->raw, EXT_FL_ENCRYPT);
    char *folded = folds ? ext_fold_name(name, len) : NULL;
    bool ok = folded ? ext_name_hash(folded, strlen(folded), version, seed, out, err)
                     : ext_name_hash(name, len, version, seed, out, err);
    free(folded);
    return ok;
}
