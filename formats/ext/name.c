/*
 * Names as they are given and shown. Encrypted names are bytes without a meaning here: they appear as
 * base64url of what is stored. In casefolded directories a name stands for all that fold to the same.
 */
#include "dir.h"
#include "namei.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static bool is_dots(const char *name, size_t len)
{
    return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

static bool is_encrypted(const struct ext_inode *dir)
{
    return ext_inode_flag(dir->raw, EXT_FL_ENCRYPT);
}

void ext_name_shown(const struct ext_inode *dir, const char *bytes, size_t len, char *out)
{
    if (!is_encrypted(dir) || is_dots(bytes, len)) {
        memcpy(out, bytes, len);
        out[len] = '\0';
        return;
    }
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | (uint8_t)bytes[i];
        for (have += 8; have >= 6; have -= 6)
            *out++ = digits[bits >> (have - 6) & 63];
    }
    if (have > 0)
        *out++ = digits[bits << (6 - have) & 63];
    *out = '\0';
}

static bool decode(const char *name, struct ext_name *out)
{
    uint32_t bits = 0;
    unsigned have = 0;
    out->len = 0;
    for (; *name; name++) {
        const char *digit = strchr(digits, *name);
        if (!digit)
            return false;
        bits = bits << 6 | (uint32_t)(digit - digits);
        have += 6;
        if (have >= 8) {
            if (out->len == EXT_NAME_MAX)
                return false;
            have -= 8;
            out->buffer[out->len++] = (char)(bits >> have);
        }
    }
    out->bytes = out->buffer;
    return out->len > 0;
}

bool ext_name_stored(const struct ext_inode *dir, const char *name, struct ext_name *out, struct error *err)
{
    size_t len = strlen(name);
    if (is_encrypted(dir) && !is_dots(name, len))
        return decode(name, out) ||
               fail(err, E_NOENT, "no such file or directory (names here are encrypted)");
    if (len == 0 || len > EXT_NAME_MAX)
        return fail(err, E_NAME, "a name has 1 to 255 bytes, not %zu", len);
    out->bytes = name;
    out->len = len;
    return true;
}

/* ---- casefolded directories ---- */

struct fold {
    struct ext_name name;
    char *folded; /* NULL: not valid UTF-8, compared byte by byte */
    uint32_t ino;
    struct ext_name *stored; /* as it stands in the directory */
};

static void note_stored(struct fold *fold, const struct ext_dirent *entry)
{
    fold->ino = entry->ino;
    memcpy(fold->stored->buffer, entry->name, entry->name_len);
    fold->stored->bytes = fold->stored->buffer;
    fold->stored->len = entry->name_len;
}

static bool compare_folded(const struct ext_dirent *entry, void *arg, struct error *err)
{
    struct fold *fold = arg;
    if (entry->fault)
        return fail(err, E_DAMAGED, "%s", entry->fault);
    if (entry->name_len == fold->name.len && memcmp(entry->name, fold->name.bytes, fold->name.len) == 0) {
        note_stored(fold, entry);
        return true;
    }
    char *other = fold->folded && fold->ino == 0 ? ext_fold_name(entry->name, entry->name_len) : NULL;
    if (other && strcmp(other, fold->folded) == 0)
        note_stored(fold, entry);
    free(other);
    return true;
}

bool ext_name_find_stored(struct ext_fs *ext, const struct ext_inode *dir, const struct ext_name *name,
                          struct ext_name *stored, uint32_t *ino, struct error *err)
{
    if (!ext_inode_flag(dir->raw, EXT_FL_CASEFOLD)) {
        stored->bytes = name->bytes;
        stored->len = name->len;
        return ext_dir_find(ext, dir, name->bytes, name->len, ino, err);
    }
    struct fold fold = {.name = *name, .stored = stored};
    if (name->bytes == name->buffer)
        fold.name.bytes = fold.name.buffer;
    if (!is_encrypted(dir))
        fold.folded = ext_fold_name(name->bytes, name->len);
    bool ok = ext_dir_each(ext, dir, compare_folded, &fold, err);
    free(fold.folded);
    *ino = fold.ino;
    return ok && (fold.ino != 0 || fail(err, E_NOENT, "no such file or directory"));
}

bool ext_name_find(struct ext_fs *ext, const struct ext_inode *dir, const struct ext_name *name,
                   uint32_t *ino, struct error *err)
{
    struct ext_name stored;
    return ext_name_find_stored(ext, dir, name, &stored, ino, err);
}

bool ext_name_free(struct ext_fs *ext, const struct ext_inode *dir, const struct ext_name *name,
                   uint32_t except, struct error *err)
{
    struct error missing = {0};
    uint32_t ino = 0;
    if (!ext_inode_flag(dir->raw, EXT_FL_CASEFOLD))
        return true;
    if (!ext_fold_certain(name->bytes, name->len, err))
        return false;
    if (ext_name_find(ext, dir, name, &ino, &missing))
        return ino == except || fail(err, E_EXIST, "a name that differs in case only is there already");
    if (missing.kind == E_NOENT)
        return true;
    *err = missing;
    return false;
}
