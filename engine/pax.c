#include "pax.h"

#include "acl.h"
#include "alloc.h"
#include "bytes.h"
#include "utf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { BLOCK = 512, RECORD = 20 * BLOCK };

/* The plain header, POSIX.1-2017 pax, "ustar Interchange Format". */
struct ustar {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, linkname[100];
    char magic[6], version[2], uname[32], gname[32], devmajor[8], devminor[8], prefix[155], padding[12];
};
_Static_assert(sizeof(struct ustar) == BLOCK, "a header is one block");

/* ---- records ------------------------------------------------------------------------------------------- */

/* "LEN KEY=VALUE\n", where LEN counts itself. */
static bool add_record(struct pax_entry *entry, const char *key, const void *value, size_t len,
                       struct error *err)
{
    size_t fixed = strlen(key) + len + 3, total = fixed + 1;
    char digits[24];
    while (total != fixed + (size_t)snprintf(digits, sizeof digits, "%zu", total))
        total = fixed + strlen(digits);
    if (!mem_grow(&entry->records, &entry->records_capacity, entry->records_len + total + 1, 1, err))
        return false;
    char *at = entry->records + entry->records_len;
    at += sprintf(at, "%zu %s=", total, key);
    memcpy(at, value, len);
    at[len] = '\n';
    entry->records_len += total;
    return true;
}

static bool add_text(struct pax_entry *entry, struct error *err, const char *key, const char *fmt, ...)
    DISH_PRINTF(4, 5);
static bool add_text(struct pax_entry *entry, struct error *err, const char *key, const char *fmt, ...)
{
    char text[80];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return add_record(entry, key, text, (size_t)n, err);
}

/* Records hold UTF-8; a name that is not needs a word of warning in front. */
static bool add_name(struct pax_entry *entry, const char *key, const char *name, struct error *err)
{
    size_t len = strlen(name);
    return (utf8_valid(name, len, UTF_WTF8) || add_text(entry, err, "hdrcharset", "BINARY")) &&
           add_record(entry, key, name, len, err);
}

bool pax_xattr(struct pax_entry *entry, const char *name, const void *value, size_t len, struct error *err)
{
    char *key = mem_printf(err, "SCHILY.xattr.%s", name);
    bool ok = key && add_record(entry, key, value, len, err);
    free(key);
    return ok;
}

bool pax_acl(struct pax_entry *entry, bool is_default, const void *value, size_t len, struct error *err)
{
    struct acl acl;
    char *text = NULL;
    size_t used = 0, capacity = 0;
    bool ok = acl_parse(value, len, &acl, err);
    for (size_t i = 0; ok && i < acl.count; i++) {
        const struct acl_entry *one = &acl.entries[i];
        const char *word = one->tag == ACL_USER_OBJ || one->tag == ACL_USER     ? "user"
                           : one->tag == ACL_GROUP_OBJ || one->tag == ACL_GROUP ? "group"
                           : one->tag == ACL_MASK                               ? "mask"
                                                                                : "other";
        char id[16] = "";
        if (one->tag == ACL_USER || one->tag == ACL_GROUP)
            snprintf(id, sizeof id, "%" PRIu32, one->id);
        ok = mem_grow(&text, &capacity, used + 40, 1, err);
        if (ok)
            used += (size_t)sprintf(text + used, "%s:%s:%c%c%c\n", word, id, one->perm & 4 ? 'r' : '-',
                                    one->perm & 2 ? 'w' : '-', one->perm & 1 ? 'x' : '-');
    }
    ok = ok && add_record(entry, is_default ? "SCHILY.acl.default" : "SCHILY.acl.access", text ? text : "",
                          used, err);
    free(text);
    acl_free(&acl);
    return ok;
}

/* ---- the header ---------------------------------------------------------------------------------------- */

/* Octal digits and a NUL; false: it does not fit. */
static bool put_octal(char *field, size_t size, uint64_t value)
{
    bool fits = value >> (3 * (size - 1)) == 0;
    for (size_t i = size - 1; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (fits ? value & 7 : 7));
    field[size - 1] = 0;
    return fits;
}

static void put_checksum(struct ustar *header)
{
    unsigned sum = 0;
    memset(header->checksum, ' ', sizeof header->checksum);
    for (size_t i = 0; i < BLOCK; i++)
        sum += ((const unsigned char *)header)[i];
    snprintf(header->checksum, sizeof header->checksum, "%06o", sum);
    header->checksum[7] = ' ';
}

static char type_of(const struct pax_entry *entry)
{
    if (entry->hard_link)
        return '1';
    switch (entry->attr->mode & S_IFMT) {
    case S_IFLNK:
        return '2';
    case S_IFCHR:
        return '3';
    case S_IFBLK:
        return '4';
    case S_IFDIR:
        return '5';
    case S_IFIFO:
        return '6';
    default:
        return '0';
    }
}

/* The path as name, or as prefix and name; false: it needs a record. */
static bool put_path(struct ustar *header, const char *path)
{
    size_t len = strlen(path);
    if (len <= sizeof header->name) {
        memcpy(header->name, path, len);
        return true;
    }
    memcpy(header->name, path, MIN_OF(len, sizeof header->name - 1));
    for (size_t cut = MIN_OF(len - 1, sizeof header->prefix); cut > 0; cut--) {
        if (path[cut] != '/' || !path[cut + 1])
            continue;
        if (len - cut - 1 > sizeof header->name)
            return false;
        memset(header->name, 0, sizeof header->name);
        memcpy(header->prefix, path, cut);
        memcpy(header->name, path + cut + 1, len - cut - 1);
        return true;
    }
    return false;
}

static bool put_time(struct pax_entry *entry, struct ustar *header, struct error *err)
{
    const struct fs_time mtime = entry->attr->mtime, atime = entry->attr->atime;
    bool fits = mtime.sec >= 0 && put_octal(header->mtime, sizeof header->mtime, (uint64_t)mtime.sec);
    if (mtime.sec < 0)
        put_octal(header->mtime, sizeof header->mtime, 0);
    /* Seconds before 1970 count down, their fractions up: -1.5 is 2 seconds back and half a second on. */
    const struct {
        const char *key;
        struct fs_time time;
        bool wanted;
    } times[] = {{"mtime", mtime, !fits || mtime.nsec},
                 {"atime", atime, atime.nsec || atime.sec != mtime.sec || mtime.nsec}};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct fs_time time = times[i].time;
        if (!times[i].wanted)
            continue;
        bool negative = time.sec < 0 && time.nsec;
        int64_t sec = negative ? time.sec + 1 : time.sec;
        unsigned nsec = negative ? 1000000000u - time.nsec : time.nsec;
        if (!add_text(entry, err, times[i].key, "%s%" PRId64 ".%09u", negative && sec == 0 ? "-" : "", sec,
                      nsec))
            return false;
    }
    return true;
}

/* Sparse form 1.0: the map stands in front of the data, as decimal lines padded to a block. Malloc'd. */
static bool sparse_map(struct pax_entry *entry, char **map, size_t *map_len, struct error *err)
{
    size_t room = round_up((entry->run_count + 1) * 48 + 24, BLOCK);
    *map = mem_new(room, err);
    if (!*map)
        return false;
    size_t used = (size_t)sprintf(*map, "%zu\n", entry->run_count + 1);
    for (size_t i = 0; i < entry->run_count; i++)
        used += (size_t)sprintf(*map + used, "%" PRIu64 "\n%" PRIu64 "\n", entry->runs[i].off,
                                entry->runs[i].len);
    /* The last entry, without data, says where the file ends. */
    used += (size_t)sprintf(*map + used, "%" PRIu64 "\n0\n", entry->attr->size);
    *map_len = round_up(used, BLOCK);
    return true;
}

/* Plain fields, and records for those that do not fit. size: of what follows the header. */
static bool fill(struct pax_entry *entry, struct ustar *header, uint64_t size, struct error *err)
{
    const struct fs_attr *attr = entry->attr;
    header->type = type_of(entry);
    memcpy(header->magic, "ustar", 6);
    memcpy(header->version, "00", 2);
    (void)put_octal(header->mode, sizeof header->mode, attr->mode & 07777);
    bool ok = true;
    if (!put_octal(header->uid, sizeof header->uid, attr->uid))
        ok = add_text(entry, err, "uid", "%" PRIu32, attr->uid);
    if (ok && !put_octal(header->gid, sizeof header->gid, attr->gid))
        ok = add_text(entry, err, "gid", "%" PRIu32, attr->gid);
    if (ok && !put_octal(header->size, sizeof header->size, size))
        ok = add_text(entry, err, "size", "%" PRIu64, size);
    bool device = header->type == '3' || header->type == '4';
    if (ok && !put_octal(header->devmajor, sizeof header->devmajor, device ? attr->rdev_major : 0))
        ok = add_text(entry, err, "SCHILY.devmajor", "%" PRIu32, attr->rdev_major);
    if (ok && !put_octal(header->devminor, sizeof header->devminor, device ? attr->rdev_minor : 0))
        ok = add_text(entry, err, "SCHILY.devminor", "%" PRIu32, attr->rdev_minor);
    ok = ok && put_time(entry, header, err);
    if (ok && entry->link) {
        size_t len = strlen(entry->link);
        memcpy(header->linkname, entry->link, MIN_OF(len, sizeof header->linkname));
        if (len > sizeof header->linkname)
            ok = add_name(entry, "linkpath", entry->link, err);
    }
    if (ok && entry->sparse) {
        ok = add_text(entry, err, "GNU.sparse.major", "1") && add_text(entry, err, "GNU.sparse.minor", "0") &&
             add_name(entry, "GNU.sparse.name", entry->path, err) &&
             add_text(entry, err, "GNU.sparse.realsize", "%" PRIu64, attr->size);
        (void)put_path(header, "GNUSparseFile.0/data");
        return ok;
    }
    return ok && (put_path(header, entry->path) || add_name(entry, "path", entry->path, err));
}

static bool emit_records(struct pax_entry *entry, pax_emit_fn *emit, void *arg, struct error *err)
{
    struct ustar header = {.type = 'x'};
    if (!entry->records_len)
        return true;
    memcpy(header.magic, "ustar", 6);
    memcpy(header.version, "00", 2);
    (void)put_path(&header, "PaxHeaders/entry");
    put_octal(header.mode, sizeof header.mode, 0644);
    put_octal(header.uid, sizeof header.uid, 0);
    put_octal(header.gid, sizeof header.gid, 0);
    put_octal(header.size, sizeof header.size, entry->records_len);
    put_octal(header.mtime, sizeof header.mtime, 0);
    put_checksum(&header);
    return emit(arg, &header, BLOCK, err) && emit(arg, entry->records, entry->records_len, err) &&
           pax_padding(entry->records_len, emit, arg, err);
}

bool pax_header(struct pax_entry *entry, pax_emit_fn *emit, void *arg, uint64_t *size, struct error *err)
{
    struct ustar header = {0};
    char *map = NULL;
    size_t map_len = 0;
    bool regular = S_ISREG(entry->attr->mode) && !entry->hard_link;
    *size = regular ? entry->attr->size : 0;
    if (entry->sparse && !sparse_map(entry, &map, &map_len, err))
        return false;
    if (entry->sparse) {
        *size = 0;
        for (size_t i = 0; i < entry->run_count; i++)
            *size += entry->runs[i].len;
    }
    bool ok = fill(entry, &header, *size + map_len, err);
    put_checksum(&header);
    ok = ok && emit_records(entry, emit, arg, err) && emit(arg, &header, BLOCK, err) &&
         (!map_len || emit(arg, map, map_len, err));
    free(map);
    return ok;
}

bool pax_padding(uint64_t size, pax_emit_fn *emit, void *arg, struct error *err)
{
    static const char zeros[BLOCK];
    size_t n = (size_t)(round_up(size, BLOCK) - size);
    return n == 0 || emit(arg, zeros, n, err);
}

bool pax_end(uint64_t written, pax_emit_fn *emit, void *arg, struct error *err)
{
    static const char zeros[RECORD];
    size_t n = 2 * BLOCK;
    n += (RECORD - (size_t)((written + n) % RECORD)) % RECORD;
    return emit(arg, zeros, MIN_OF(n, (size_t)RECORD), err) &&
           (n <= RECORD || emit(arg, zeros, n - RECORD, err));
}
