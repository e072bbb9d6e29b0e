/* Reading extended attributes ("Extended Attributes"): areas, entries, names. Changes: xattr_store.c. */
#include "xattr.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>

static const struct {
    uint8_t index;
    bool whole; /* the prefix is the whole name */
    const char *prefix;
} prefixes[] = {
    {EXT_XATTR_USER, false, "user."},
    {EXT_XATTR_ACL_ACCESS, true, "system.posix_acl_access"},
    {EXT_XATTR_ACL_DEFAULT, true, "system.posix_acl_default"},
    {EXT_XATTR_TRUSTED, false, "trusted."},
    {EXT_XATTR_LUSTRE, false, "lustre."},
    {EXT_XATTR_SECURITY, false, "security."},
    {EXT_XATTR_RICHACL, true, "system.richacl"},
    {EXT_XATTR_SYSTEM, false, "system."},
    {EXT_XATTR_HURD, false, "gnu."},
};

bool ext_xattr_key(const char *name, struct ext_xattr_key *out, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        size_t n = strlen(prefixes[i].prefix);
        if (strncmp(name, prefixes[i].prefix, n) != 0 || (name[n] == '\0') != prefixes[i].whole)
            continue;
        *out = (struct ext_xattr_key){prefixes[i].index, name + n, strlen(name + n)};
        return out->len <= EXT_NAME_MAX || fail(err, E_NAME, "the attribute's name is longer than 255 bytes");
    }
    return fail(err, E_UNSUPPORTED,
                "ext cannot hold the attribute '%s': its prefix is none of user., trusted., "
                "security., system.",
                name);
}

/* ---- areas and entries ---- */

/* Offset of the magic word behind an inode's fields; 0: the inode has no room behind them. */
static uint32_t body_start(const struct ext_fs *ext, const uint8_t *inode)
{
    if (ext->inode_size <= EXT_GOOD_OLD_INODE_SIZE)
        return 0;
    uint32_t start = EXT_GOOD_OLD_INODE_SIZE + (uint32_t)ext_inode_i_extra_isize(inode);
    bool sound = ext_inode_i_extra_isize(inode) >= 4 && start % 4 == 0 && start + 8 <= ext->inode_size;
    return sound ? start : 0;
}

uint32_t ext_xattr_body_room(const struct ext_fs *ext, const uint8_t *inode)
{
    uint32_t start = body_start(ext, inode);
    return start ? ext->inode_size - start : 0;
}

bool ext_xattr_body(const struct ext_fs *ext, const uint8_t *inode, struct ext_xattr_area *area)
{
    uint32_t start = body_start(ext, inode);
    uint8_t *raw = (uint8_t *)(uintptr_t)inode;
    if (start == 0 || ext_xi_h_magic(inode + start) != EXT_XATTR_MAGIC)
        return false;
    *area = (struct ext_xattr_area){raw + start + 4, raw + start + 4, raw + ext->inode_size};
    return true;
}

static size_t entry_size(const uint8_t *entry)
{
    return round_up(EXT_XATTR_ENTRY_SIZE + ext_xe_e_name_len(entry), 4);
}

bool ext_xattr_next(const struct ext_xattr_area *area, const uint8_t *entry, uint8_t **out, struct error *err)
{
    uint8_t *at = entry ? (uint8_t *)(uintptr_t)entry + entry_size(entry) : area->first;
    size_t left = (size_t)(area->end - at), size = (size_t)(area->end - area->base);
    *out = NULL;
    if (left < 4 || load_le32(at) == 0)
        return true;
    if (left < EXT_XATTR_ENTRY_SIZE || left < entry_size(at))
        return fail(err, E_DAMAGED, "an extended attribute's entry ends outside its area");
    uint64_t len = ext_xe_e_value_size(at);
    if (ext_xe_e_value_inum(at) != 0 ? len > EXT_XATTR_VALUE_MAX
                                     : len > 0 && !range_inside(ext_xe_e_value_offs(at), len, size))
        return fail(err, E_DAMAGED, "an extended attribute's value of %llu bytes lies outside its area",
                    (unsigned long long)len);
    *out = at;
    return true;
}

/* The area of the attribute block; *block stays pinned. False in *have: there is none. */
static bool open_block(struct ext_fs *ext, const struct ext_inode *inode, struct ext_xattr_area *area,
                       bool *have, struct cache_block **block, struct error *err)
{
    uint64_t at = ext_inode_acl_block(ext, inode->raw);
    *have = at != 0;
    *block = NULL;
    if (at == 0)
        return true;
    if (!ext_block_get(ext, at, EXT_TAG_XATTR, 0, block, err))
        return because(err, "inode %u: attribute block", inode->ino);
    uint8_t *data = (*block)->data;
    const char *fault = NULL;
    if (ext_xh_h_magic(data) != EXT_XATTR_MAGIC || ext_xh_h_blocks(data) != 1)
        fault = "h_magic or h_blocks is wrong";
    else if (ext->has_csum && !(*block)->checked && !(*block)->dirty &&
             ext_xh_h_checksum(data) != ext_xattr_csum(ext, at, data))
        fault = "its checksum is wrong";
    if (fault) {
        ext_block_put(ext, *block);
        return damaged(err, ext->dev, ext_offset(ext, at), "inode %u: attribute block: %s", inode->ino,
                       fault);
    }
    (*block)->checked = true;
    *area = (struct ext_xattr_area){data, data + EXT_XATTR_HEADER, data + ext->block_size};
    return true;
}

/* ---- finding and listing ---- */

static bool is_key(const uint8_t *entry, const struct ext_xattr_key *key)
{
    return ext_xe_e_name_index(entry) == key->index && ext_xe_e_name_len(entry) == key->len &&
           memcmp(entry + EXT_XATTR_ENTRY_SIZE, key->name, key->len) == 0;
}

static bool find_in(const struct ext_xattr_area *area, const struct ext_xattr_key *key,
                    struct ext_xattr_found *found, bool *hit, struct error *err)
{
    uint8_t *entry = NULL;
    *hit = false;
    do {
        if (!ext_xattr_next(area, entry, &entry, err))
            return false;
    } while (entry && !is_key(entry, key));
    if (!entry)
        return true;
    found->len = (uint32_t)ext_xe_e_value_size(entry);
    found->inum = (uint32_t)ext_xe_e_value_inum(entry);
    found->value = found->inum ? NULL : area->base + ext_xe_e_value_offs(entry);
    *hit = true;
    return true;
}

bool ext_xattr_find(struct ext_fs *ext, const struct ext_inode *inode, const struct ext_xattr_key *key,
                    struct ext_xattr_found *found, struct error *err)
{
    struct ext_xattr_area area;
    bool hit = false;
    *found = (struct ext_xattr_found){0};
    if (ext_xattr_body(ext, inode->raw, &area) && !find_in(&area, key, found, &hit, err))
        return because(err, "inode %u", inode->ino);
    if (hit)
        return true;
    if (!open_block(ext, inode, &area, &hit, &found->block, err))
        return false;
    if (hit && !find_in(&area, key, found, &hit, err)) {
        ext_xattr_put(ext, found);
        return because(err, "inode %u", inode->ino);
    }
    if (hit)
        return true;
    ext_xattr_put(ext, found);
    return fail(err, E_NOENT, "there is no such attribute");
}

void ext_xattr_put(struct ext_fs *ext, struct ext_xattr_found *found)
{
    ext_block_put(ext, found->block);
    found->block = NULL;
}

typedef bool emit_fn(const char *name, void *arg);

/* False in *more: the receiver has enough. Contents and encryption contexts are not attributes for a user. */
static bool list_area(const struct ext_xattr_area *area, emit_fn *emit, void *arg, bool *more,
                      struct error *err)
{
    uint8_t *entry = NULL;
    for (*more = true; *more;) {
        char name[32 + EXT_NAME_MAX + 1];
        if (!ext_xattr_next(area, entry, &entry, err))
            return false;
        if (!entry)
            return true;
        unsigned index = (unsigned)ext_xe_e_name_index(entry), len = (unsigned)ext_xe_e_name_len(entry);
        const char *bare = (const char *)entry + EXT_XATTR_ENTRY_SIZE;
        if (index == EXT_XATTR_SYSTEM && len == 4 && memcmp(bare, "data", 4) == 0)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
            if (prefixes[i].index == index) {
                size_t n = strlen(prefixes[i].prefix);
                memcpy(name, prefixes[i].prefix, n);
                memcpy(name + n, bare, len);
                name[n + len] = '\0';
                *more = emit(name, arg);
            }
    }
    return true;
}

bool ext_xattr_list(struct ext_fs *ext, const struct ext_inode *inode, emit_fn *emit, void *arg,
                    struct error *err)
{
    struct ext_xattr_area area;
    struct cache_block *block;
    bool have, more = true;
    if (ext_xattr_body(ext, inode->raw, &area) && !list_area(&area, emit, arg, &more, err))
        return because(err, "inode %u", inode->ino);
    if (!more)
        return true;
    if (!open_block(ext, inode, &area, &have, &block, err))
        return false;
    bool ok = !have || list_area(&area, emit, arg, &more, err) || because(err, "inode %u", inode->ino);
    ext_block_put(ext, block);
    return ok;
}

static bool load_value(struct ext_fs *ext, const struct ext_xattr_found *found, void **value,
                       struct error *err)
{
    *value = mem_new(MAX_OF(found->len, 1), err);
    if (!*value)
        return false;
    if (!found->inum)
        memcpy(*value, found->value, found->len);
    else if (!ext_xattr_inode_read(ext, found->inum, *value, found->len, err)) {
        free(*value);
        return false;
    }
    return true;
}

bool ext_xattr_get(struct ext_fs *ext, const struct ext_inode *inode, const char *name, void **value,
                   size_t *len, struct error *err)
{
    struct ext_xattr_key key;
    struct ext_xattr_found found;
    if (!ext_xattr_key(name, &key, err))
        return err->kind != E_UNSUPPORTED ? false : fail(err, E_NOENT, "there is no such attribute");
    if (!ext_xattr_find(ext, inode, &key, &found, err))
        return false;
    bool ok = load_value(ext, &found, value, err);
    *len = found.len;
    ext_xattr_put(ext, &found);
    if (ok && (key.index == EXT_XATTR_ACL_ACCESS || key.index == EXT_XATTR_ACL_DEFAULT)) {
        void *stored = *value;
        ok = ext_acl_to_user(stored, *len, value, len, err);
        free(stored);
    }
    return ok;
}

bool ext_xattr_set(struct ext_fs *ext, struct ext_inode *inode, const char *name, const void *value,
                   size_t len, struct error *err)
{
    struct ext_xattr_key key;
    if (!ext_xattr_key(name, &key, err))
        return false;
    if (key.index == EXT_XATTR_SYSTEM)
        return fail(err, E_UNSUPPORTED, "ext keeps no attribute '%s'", name);
    if (!value || (key.index != EXT_XATTR_ACL_ACCESS && key.index != EXT_XATTR_ACL_DEFAULT))
        return ext_xattr_store(ext, inode, &key, value, len, err);
    void *stored;
    if (!ext_acl_from_user(value, len, &stored, &len, err))
        return false;
    bool ok = ext_xattr_store(ext, inode, &key, stored, len, err);
    free(stored);
    return ok;
}
