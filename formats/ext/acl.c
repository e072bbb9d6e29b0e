/*
 * POSIX ACLs. Stored: version 1, then entries of 4 bytes (tag, permissions), or 8 with an id for named users
 * and groups. For programs: version 2, every entry with an id ("POSIX ACLs" in fs/ext4/acl.h and
 * linux/posix_acl_xattr.h).
 */
#include "alloc.h"
#include "bytes.h"
#include "xattr.h"

#include <stdlib.h>

enum { STORED_VERSION = 1, USER_VERSION = 2, TAG_USER = 2, TAG_GROUP = 8 };

static bool has_id(uint16_t tag)
{
    return tag == TAG_USER || tag == TAG_GROUP;
}

bool ext_acl_to_user(const uint8_t *stored, size_t len, void **out, size_t *out_len, struct error *err)
{
    if (len < 4 || load_le32(stored) != STORED_VERSION)
        return fail(err, E_DAMAGED, "an ACL is not of version 1");
    uint8_t *user = mem_new(4 + len * 2, err);
    if (!user)
        return false;
    store_le32(user, USER_VERSION);
    size_t at = 4, to = 4;
    while (at + 4 <= len) {
        uint16_t tag = load_le16(stored + at);
        if (has_id(tag) && at + 8 > len)
            break;
        memcpy(user + to, stored + at, 4);
        store_le32(user + to + 4, has_id(tag) ? load_le32(stored + at + 4) : UINT32_MAX);
        at += has_id(tag) ? 8 : 4;
        to += 8;
    }
    *out = user;
    *out_len = to;
    return at == len || (free(user), fail(err, E_DAMAGED, "an ACL ends inside an entry"));
}

bool ext_acl_from_user(const uint8_t *user, size_t len, void **out, size_t *out_len, struct error *err)
{
    if (len < 4 || len % 8 != 4 || load_le32(user) != USER_VERSION)
        return fail(err, E_INVALID, "this is no ACL as Linux programs give it (version 2)");
    uint8_t *stored = mem_new(len, err);
    if (!stored)
        return false;
    store_le32(stored, STORED_VERSION);
    size_t to = 4;
    for (size_t at = 4; at < len; at += 8) {
        size_t n = has_id(load_le16(user + at)) ? 8 : 4;
        memcpy(stored + to, user + at, n);
        to += n;
    }
    *out = stored;
    *out_len = to;
    return true;
}
