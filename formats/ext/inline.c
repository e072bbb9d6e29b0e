/*
 * Contents inside the inode ("Inline Data"): the first 60 bytes in i_block, the rest as the value of the
 * attribute system.data, which is always inside the inode and exists even when it is empty.
 */
#include "alloc.h"
#include "bytes.h"
#include "xattr.h"

#include <stdlib.h>

static const struct ext_xattr_key contents = {EXT_XATTR_SYSTEM, "data", 4};

uint32_t ext_inline_capacity(struct ext_fs *ext, const struct ext_inode *inode)
{
    struct ext_xattr_area area;
    struct error ignored;
    uint32_t room = ext_xattr_body_room(ext, inode->raw), used = 4 + 4 + EXT_XATTR_ENTRY_SIZE + 4;
    if (!ext_has(ext, EXT_INLINE_DATA) || room < used)
        return 0;
    if (ext_xattr_body(ext, inode->raw, &area)) {
        uint8_t *entry = NULL;
        while (ext_xattr_next(&area, entry, &entry, &ignored) && entry) {
            bool own = ext_xe_e_name_index(entry) == contents.index && ext_xe_e_name_len(entry) == 4 &&
                       memcmp(entry + EXT_XATTR_ENTRY_SIZE, "data", 4) == 0;
            if (!own)
                used += (uint32_t)round_up(EXT_XATTR_ENTRY_SIZE + ext_xe_e_name_len(entry), 4) +
                        (ext_xe_e_value_inum(entry) ? 0 : (uint32_t)round_up(ext_xe_e_value_size(entry), 4));
        }
    }
    return used > room ? 0 : EXT_I_BLOCK_SIZE + (room - used);
}

bool ext_inline_get(struct ext_fs *ext, const struct ext_inode *inode, struct ext_inline *out,
                    struct error *err)
{
    struct ext_xattr_found found;
    *out = (struct ext_inline){.head = ext_inode_i_block(inode->raw)};
    if (!ext_xattr_find(ext, inode, &contents, &found, err))
        return err->kind == E_NOENT;
    bool outside = found.block || found.inum;
    ext_xattr_put(ext, &found);
    if (outside)
        return fail(err, E_DAMAGED, "inode %u: its inline data lie outside the inode", inode->ino);
    out->tail = found.value;
    out->tail_len = found.len;
    return true;
}

bool ext_inline_store(struct ext_fs *ext, struct ext_inode *inode, const void *data, size_t len,
                      struct error *err)
{
    const uint8_t *bytes = data;
    size_t head = MIN_OF(len, EXT_I_BLOCK_SIZE);
    if (!ext_xattr_store(ext, inode, &contents, bytes + head, len - head, err))
        return false;
    uint8_t *block = ext_inode_i_block(inode->raw);
    memset(block, 0, EXT_I_BLOCK_SIZE);
    memcpy(block, bytes, head);
    ext_inode_set_i_flags(inode->raw,
                          (ext_inode_i_flags(inode->raw) & ~(uint64_t)EXT_FL_EXTENTS) | EXT_FL_INLINE_DATA);
    ext_inode_dirty(ext, inode);
    return true;
}

bool ext_inline_load(struct ext_fs *ext, const struct ext_inode *inode, uint8_t **data, size_t *len,
                     struct error *err)
{
    struct ext_inline parts;
    if (!ext_inline_get(ext, inode, &parts, err))
        return false;
    *len = EXT_I_BLOCK_SIZE + parts.tail_len;
    *data = mem_new(*len, err);
    if (!*data)
        return false;
    memcpy(*data, parts.head, EXT_I_BLOCK_SIZE);
    if (parts.tail_len > 0)
        memcpy(*data + EXT_I_BLOCK_SIZE, parts.tail, parts.tail_len);
    return true;
}

bool ext_inline_clear(struct ext_fs *ext, struct ext_inode *inode, struct error *err)
{
    if (!ext_xattr_store(ext, inode, &contents, NULL, 0, err) && err->kind != E_NOENT)
        return false;
    ext_inode_set_i_flags(inode->raw, ext_inode_i_flags(inode->raw) & ~(uint64_t)EXT_FL_INLINE_DATA);
    ext_map_init(ext, inode);
    return true;
}
