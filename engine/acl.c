#include "acl.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>
#include <sys/stat.h>

/* The attribute's value: a version word and entries of a tag, permissions and an id, all little-endian. */
enum { VERSION = 2, HEADER = 4, ENTRY = 8 };

void acl_free(struct acl *acl)
{
    free(acl->entries);
    *acl = (struct acl){0};
}

struct acl_entry *acl_find(const struct acl *acl, uint16_t tag, uint32_t id)
{
    bool named = tag == ACL_USER || tag == ACL_GROUP;
    for (size_t i = 0; i < acl->count; i++)
        if (acl->entries[i].tag == tag && (!named || acl->entries[i].id == id))
            return &acl->entries[i];
    return NULL;
}

static int compare_entries(const void *a, const void *b)
{
    const struct acl_entry *x = a, *y = b;
    if (x->tag != y->tag)
        return x->tag < y->tag ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

bool acl_set(struct acl *acl, struct acl_entry entry, struct error *err)
{
    struct acl_entry *old = acl_find(acl, entry.tag, entry.id);
    if (old) {
        *old = entry;
        return true;
    }
    if (!mem_grow(&acl->entries, &acl->capacity, acl->count + 1, sizeof *acl->entries, err))
        return false;
    acl->entries[acl->count++] = entry;
    qsort(acl->entries, acl->count, sizeof *acl->entries, compare_entries);
    return true;
}

bool acl_remove(struct acl *acl, uint16_t tag, uint32_t id)
{
    struct acl_entry *old = acl_find(acl, tag, id);
    if (!old)
        return false;
    size_t at = (size_t)(old - acl->entries);
    memmove(old, old + 1, (acl->count - at - 1) * sizeof *old);
    acl->count--;
    return true;
}

static bool has_named(const struct acl *acl)
{
    for (size_t i = 0; i < acl->count; i++)
        if (acl->entries[i].tag == ACL_USER || acl->entries[i].tag == ACL_GROUP)
            return true;
    return false;
}

bool acl_compute_mask(struct acl *acl, struct error *err)
{
    struct acl_entry mask = {.tag = ACL_MASK, .id = UINT32_MAX};
    if (!has_named(acl)) {
        acl_remove(acl, ACL_MASK, 0);
        return true;
    }
    for (size_t i = 0; i < acl->count; i++)
        if (acl->entries[i].tag & (ACL_USER | ACL_GROUP_OBJ | ACL_GROUP))
            mask.perm |= acl->entries[i].perm;
    return acl_set(acl, mask, err);
}

bool acl_valid(const struct acl *acl, struct error *err)
{
    static const uint16_t needed[] = {ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_OTHER};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (!acl_find(acl, needed[i], 0))
            return fail(err, E_INVALID, "the list has no entry for the %s",
                        i == 0   ? "owner (user::)"
                        : i == 1 ? "group (group::)"
                                 : "others (other::)");
    return !has_named(acl) || acl_find(acl, ACL_MASK, 0) ||
           fail(err, E_INVALID, "the list has named entries but no mask");
}

bool acl_parse(const void *raw, size_t len, struct acl *acl, struct error *err)
{
    const uint8_t *value = raw;
    *acl = (struct acl){0};
    if (len < HEADER || (len - HEADER) % ENTRY != 0 || load_le32(value) != VERSION)
        return fail(err, E_DAMAGED, "the access control list is not in the known form");
    for (size_t at = HEADER; at < len; at += ENTRY) {
        struct acl_entry entry = {.tag = load_le16(value + at),
                                  .perm = load_le16(value + at + 2) & 7,
                                  .id = load_le32(value + at + 4)};
        if (!mem_grow(&acl->entries, &acl->capacity, acl->count + 1, sizeof entry, err))
            return false;
        acl->entries[acl->count++] = entry;
    }
    return true;
}

static bool from_mode(uint32_t mode, struct acl *acl, struct error *err)
{
    return acl_set(acl, (struct acl_entry){ACL_USER_OBJ, mode >> 6 & 7, UINT32_MAX}, err) &&
           acl_set(acl, (struct acl_entry){ACL_GROUP_OBJ, mode >> 3 & 7, UINT32_MAX}, err) &&
           acl_set(acl, (struct acl_entry){ACL_OTHER, mode & 7, UINT32_MAX}, err);
}

bool acl_read(struct volume *volume, fs_id id, const char *kind, struct acl *acl, struct error *err)
{
    void *value;
    size_t len;
    struct fs_attr attr;
    *acl = (struct acl){0};
    if (file_xattr_get(volume, id, kind, &value, &len, err)) {
        bool ok = acl_parse(value, len, acl, err);
        free(value);
        return ok;
    }
    if (err->kind != E_NOENT)
        return false;
    if (strcmp(kind, ACL_DEFAULT) == 0)
        return true;
    return file_attr(volume, id, &attr, err) && from_mode(attr.mode, acl, err);
}

bool acl_value(const struct acl *acl, void **out, size_t *len, struct error *err)
{
    *len = HEADER + acl->count * ENTRY;
    uint8_t *value = mem_new(*len, err);
    if (!value)
        return false;
    store_le32(value, VERSION);
    for (size_t i = 0; i < acl->count; i++) {
        uint8_t *at = value + HEADER + i * ENTRY;
        bool named = acl->entries[i].tag == ACL_USER || acl->entries[i].tag == ACL_GROUP;
        store_le16(at, acl->entries[i].tag);
        store_le16(at + 2, acl->entries[i].perm);
        store_le32(at + 4, named ? acl->entries[i].id : UINT32_MAX);
    }
    *out = value;
    return true;
}

static bool store(struct volume *volume, fs_id id, const char *kind, const struct acl *acl, struct error *err)
{
    void *value;
    size_t len;
    if (!acl_value(acl, &value, &len, err))
        return false;
    bool ok = file_xattr_set(volume, id, kind, value, len, err);
    free(value);
    return ok;
}

static bool drop(struct volume *volume, fs_id id, const char *kind, struct error *err)
{
    return file_xattr_set(volume, id, kind, NULL, 0, err) || err->kind == E_NOENT;
}

uint32_t acl_mode(const struct acl *acl)
{
    const struct acl_entry *owner = acl_find(acl, ACL_USER_OBJ, 0), *other = acl_find(acl, ACL_OTHER, 0);
    const struct acl_entry *group = acl_find(acl, ACL_MASK, 0);
    if (!group)
        group = acl_find(acl, ACL_GROUP_OBJ, 0);
    return (owner ? (uint32_t)owner->perm << 6 : 0) | (group ? (uint32_t)group->perm << 3 : 0) |
           (other ? other->perm : 0);
}

bool acl_write(struct volume *volume, fs_id id, const char *kind, const struct acl *acl, struct error *err)
{
    if (strcmp(kind, ACL_DEFAULT) == 0)
        return acl->count ? acl_valid(acl, err) && store(volume, id, kind, acl, err)
                          : drop(volume, id, kind, err);
    struct fs_attr attr;
    if (!acl_valid(acl, err) || !file_attr(volume, id, &attr, err))
        return false;
    attr.mode = (attr.mode & ~0777u) | acl_mode(acl);
    if (!file_setattr(volume, id, &attr, ATTR_MODE, err))
        return false;
    return acl_find(acl, ACL_MASK, 0) ? store(volume, id, kind, acl, err) : drop(volume, id, kind, err);
}

bool acl_follow_mode(struct volume *volume, fs_id id, uint32_t mode, struct error *err)
{
    void *value;
    size_t len;
    struct acl acl = {0};
    if (!volume->fs->limits->xattrs)
        return true;
    if (!file_xattr_get(volume, id, ACL_ACCESS, &value, &len, err))
        return err->kind == E_NOENT;
    bool ok = acl_parse(value, len, &acl, err);
    free(value);
    struct acl_entry *owner = acl_find(&acl, ACL_USER_OBJ, 0), *other = acl_find(&acl, ACL_OTHER, 0);
    struct acl_entry *group = acl_find(&acl, ACL_MASK, 0);
    if (!group)
        group = acl_find(&acl, ACL_GROUP_OBJ, 0);
    if (ok && owner && group && other) {
        owner->perm = mode >> 6 & 7;
        group->perm = mode >> 3 & 7;
        other->perm = mode & 7;
        ok = store(volume, id, ACL_ACCESS, &acl, err);
    }
    acl_free(&acl);
    return ok;
}

/* One class of the list against the bits that were asked for. */
static void limit(struct acl_entry *entry, uint32_t bits, bool exact)
{
    entry->perm = (uint16_t)(exact ? bits & 7 : entry->perm & bits & 7);
}

static bool apply_default(struct volume *volume, fs_id id, struct acl *acl, uint32_t mode, bool exact,
                          struct error *err)
{
    if (!acl_valid(acl, err) || (S_ISDIR(mode) && !store(volume, id, ACL_DEFAULT, acl, err)))
        return false;
    struct acl_entry *group = acl_find(acl, ACL_MASK, 0);
    limit(acl_find(acl, ACL_USER_OBJ, 0), mode >> 6, exact);
    limit(group ? group : acl_find(acl, ACL_GROUP_OBJ, 0), mode >> 3, exact);
    limit(acl_find(acl, ACL_OTHER, 0), mode, exact);
    struct fs_attr attr = {.mode = (mode & ~0777u) | acl_mode(acl)};
    return file_setattr(volume, id, &attr, ATTR_MODE, err) &&
           (!group || store(volume, id, ACL_ACCESS, acl, err));
}

bool acl_inherit(struct volume *volume, fs_id dir, fs_id id, uint32_t mode, bool exact, struct error *err)
{
    struct acl acl;
    if (!volume->fs->limits->xattrs || S_ISLNK(mode))
        return true;
    if (!acl_read(volume, dir, ACL_DEFAULT, &acl, err))
        return false;
    bool ok = acl.count == 0 || apply_default(volume, id, &acl, mode, exact, err);
    acl_free(&acl);
    return ok;
}
