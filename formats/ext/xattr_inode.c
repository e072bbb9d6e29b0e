/* Attribute values that have an inode of their own (ea_inode): the number of references is split over ctime
 * and version, the crc32c of the value is in atime. */
#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
#include "xattr.h"

#include <stdlib.h>
#include <sys/stat.h>

static bool get_value_inode(struct ext_fs *ext, uint32_t inum, struct ext_inode *out, struct error *err)
{
    if (inum < ext->first_ino || !ext_inode_get(ext, inum, out, err))
        return inum >= ext->first_ino ? false
                                      : fail(err, E_DAMAGED, "inode %u cannot hold an attribute", inum);
    if (ext_inode_is(out->raw, S_IFREG) && ext_inode_flag(out->raw, EXT_FL_EA_INODE))
        return true;
    ext_inode_put(ext, out);
    return fail(err, E_DAMAGED, "inode %u is not one that holds an attribute", inum);
}

bool ext_xattr_inode_read(struct ext_fs *ext, uint32_t inum, void *buf, size_t len, struct error *err)
{
    struct ext_inode inode;
    if (!get_value_inode(ext, inum, &inode, err))
        return false;
    bool ok = ext_inode_size(ext, inode.raw) == len ||
              fail(err, E_DAMAGED, "inode %u: its size is not that of the attribute value", inum);
    ok = ok && ext_file_read(ext, &inode, 0, buf, len, err);
    ext_inode_put(ext, &inode);
    return ok;
}

static uint64_t references(const uint8_t *inode)
{
    return ext_inode_i_ctime(inode) << 32 | ext_inode_i_version(inode);
}

static void set_references(uint8_t *inode, uint64_t count)
{
    ext_inode_set_i_ctime(inode, count >> 32);
    ext_inode_set_i_version(inode, count & UINT32_MAX);
}

static bool fill_value_inode(struct ext_fs *ext, struct ext_inode *inode, const struct ext_inode *owner,
                             const void *value, size_t len, uint32_t hash, struct error *err)
{
    ext_inode_set_i_mode(inode->raw, S_IFREG | 0600);
    ext_inode_set_i_uid(inode->raw, ext_inode_i_uid(owner->raw));
    ext_inode_set_i_uid_high(inode->raw, ext_inode_i_uid_high(owner->raw));
    ext_inode_set_i_gid(inode->raw, ext_inode_i_gid(owner->raw));
    ext_inode_set_i_gid_high(inode->raw, ext_inode_i_gid_high(owner->raw));
    ext_inode_set_i_links_count(inode->raw, 1);
    ext_inode_set_i_flags(inode->raw, EXT_FL_EA_INODE);
    if (ext->inode_size > EXT_GOOD_OLD_INODE_SIZE)
        ext_inode_set_i_extra_isize(inode->raw, ext_inode_i_extra_isize(owner->raw));
    ext_inode_set_i_atime(inode->raw, hash);
    set_references(inode->raw, 1);
    ext_map_init(ext, inode);
    return ext_file_write(ext, inode, 0, value, len, err);
}

/* Does the inode hold exactly this value, with references left to give? */
static bool holds(struct ext_fs *ext, const struct ext_inode *inode, uint32_t hash, const void *value,
                  size_t len)
{
    struct error ignored;
    uint8_t *bytes;
    if (!ext_inode_is(inode->raw, S_IFREG) || !ext_inode_flag(inode->raw, EXT_FL_EA_INODE) ||
        ext_inode_i_links_count(inode->raw) == 0 || references(inode->raw) == 0 ||
        ext_inode_i_atime(inode->raw) != hash || ext_inode_size(ext, inode->raw) != len)
        return false;
    bytes = mem_new(len, &ignored);
    bool same = bytes && ext_file_read(ext, inode, 0, bytes, len, &ignored) && memcmp(bytes, value, len) == 0;
    free(bytes);
    return same;
}

/* As the kernel does with the values in its cache. *inum 0: there is none. */
static bool share_value(struct ext_fs *ext, uint32_t hash, const void *value, size_t len, uint32_t *inum,
                        struct error *err)
{
    const uint32_t *slot = ext_shared_value(ext, hash);
    struct ext_inode inode;
    *inum = 0;
    if (!slot || *slot == 0)
        return true;
    if (!ext_inode_get(ext, *slot, &inode, err))
        return false;
    if (holds(ext, &inode, hash, value, len)) {
        set_references(inode.raw, references(inode.raw) + 1);
        ext_inode_dirty(ext, &inode);
        *inum = inode.ino;
    }
    ext_inode_put(ext, &inode);
    return true;
}

bool ext_xattr_inode_new(struct ext_fs *ext, struct ext_inode *owner, const void *value, size_t len,
                         uint32_t *inum, uint32_t *hash, struct error *err)
{
    struct ext_inode inode;
    *hash = ext_csum(ext, value, len);
    if (!share_value(ext, *hash, value, len, inum, err))
        return false;
    if (*inum != 0)
        return ext_xattr_inode_charge(ext, owner, len, 1, err);
    if (!ext_inode_alloc(ext, owner->ino, S_IFREG, inum, err) || !ext_inode_get(ext, *inum, &inode, err))
        return false;
    bool ok = fill_value_inode(ext, &inode, owner, value, len, *hash, err);
    ext_inode_put(ext, &inode);
    uint32_t *slot = ext_shared_value(ext, *hash);
    if (slot)
        *slot = *inum;
    return ok && ext_xattr_inode_charge(ext, owner, len, 1, err);
}

bool ext_xattr_inode_ref(struct ext_fs *ext, uint32_t inum, int delta, struct error *err)
{
    struct ext_inode inode;
    if (!get_value_inode(ext, inum, &inode, err))
        return false;
    uint64_t count = references(inode.raw);
    bool ok = delta > 0 || count > 0 || fail(err, E_DAMAGED, "inode %u: no reference is left to drop", inum);
    if (ok) {
        count += (uint64_t)(int64_t)delta;
        set_references(inode.raw, count);
        ext_inode_dirty(ext, &inode);
        ok = count > 0 || ext_inode_delete(ext, &inode, err);
    }
    ext_inode_put(ext, &inode);
    return ok;
}

bool ext_xattr_inode_charge(struct ext_fs *ext, struct ext_inode *owner, size_t len, int sign,
                            struct error *err)
{
    int64_t blocks = (int64_t)(round_up(len, ext->cluster_size) >> ext->block_bits);
    return ext_inode_charge(ext, owner, sign * blocks, err) &&
           ext_quota_charge(ext, owner->ino, owner->raw, 0, sign, err);
}
