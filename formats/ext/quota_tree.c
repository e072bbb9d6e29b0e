/* A quota file written as a whole: its tree is grown entry by entry, as the kernel would. */
#include "quota.h"

#include "alloc.h"

#include <stdlib.h>

enum {
    TREE_DEPTH = 4,
    TREE_ROOT = 1,
    LEAF_ENTRIES = (EXT_QUOTA_BLOCK - EXT_QUOTA_LEAF_HEADER) / EXT_QUOTA_ENTRY_SIZE
};

uint32_t ext_quota_magic(enum ext_quota_type type)
{
    static const uint32_t magics[EXT_QUOTA_TYPES] = {0xD9C01F11, 0xD9C01927, 0xD9C03F14};
    return magics[type];
}

uint32_t ext_quota_ino(const uint8_t *super, enum ext_quota_type type)
{
    switch (type) {
    case EXT_QUOTA_USER:
        return (uint32_t)ext_super_s_usr_quota_inum(super);
    case EXT_QUOTA_GROUP:
        return (uint32_t)ext_super_s_grp_quota_inum(super);
    default:
        return (uint32_t)ext_super_s_prj_quota_inum(super);
    }
}

void ext_quota_set_ino(uint8_t *super, enum ext_quota_type type, uint32_t ino)
{
    if (type == EXT_QUOTA_USER)
        ext_super_set_s_usr_quota_inum(super, ino);
    else if (type == EXT_QUOTA_GROUP)
        ext_super_set_s_grp_quota_inum(super, ino);
    else
        ext_super_set_s_prj_quota_inum(super, ino);
}

struct tree {
    uint8_t *bytes;
    size_t blocks, capacity; /* in blocks */
    uint32_t leaf;           /* the leaf that has room; 0: none */
};

static uint8_t *tree_block(const struct tree *t, uint32_t number)
{
    return t->bytes + (size_t)number * EXT_QUOTA_BLOCK;
}

static bool tree_grow(struct tree *t, uint32_t *number, struct error *err)
{
    if (!mem_grow(&t->bytes, &t->capacity, t->blocks + 1, EXT_QUOTA_BLOCK, err))
        return false;
    *number = (uint32_t)t->blocks++;
    return true;
}

static bool tree_insert(struct tree *t, const uint8_t *entry, struct error *err)
{
    uint32_t id = (uint32_t)ext_qe_dqb_id(entry), node = TREE_ROOT;
    for (unsigned depth = 0; depth < TREE_DEPTH; depth++) {
        size_t slot = (size_t)4 * (id >> 8 * (TREE_DEPTH - 1 - depth) & 0xFF);
        uint32_t next = load_le32(tree_block(t, node) + slot);
        if (next == 0) {
            bool leaf = depth == TREE_DEPTH - 1;
            if (leaf && t->leaf)
                next = t->leaf;
            else if (!tree_grow(t, &next, err))
                return false;
            store_le32(tree_block(t, node) + slot, next);
            if (leaf)
                t->leaf = next;
        }
        node = next;
    }
    uint8_t *leaf = tree_block(t, node);
    uint64_t entries = ext_ql_dqdh_entries(leaf);
    memcpy(leaf + EXT_QUOTA_LEAF_HEADER + entries * EXT_QUOTA_ENTRY_SIZE, entry, EXT_QUOTA_ENTRY_SIZE);
    ext_ql_set_dqdh_entries(leaf, entries + 1);
    if (entries + 1 == LEAF_ENTRIES)
        t->leaf = 0;
    return true;
}

bool ext_quota_build(enum ext_quota_type type, const uint8_t *entries, size_t count, uint8_t **file,
                     size_t *len, struct error *err)
{
    struct tree t = {0};
    uint32_t number;
    bool ok = tree_grow(&t, &number, err) && tree_grow(&t, &number, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = tree_insert(&t, entries + i * EXT_QUOTA_ENTRY_SIZE, err);
    if (!ok) {
        free(t.bytes);
        return false;
    }
    ext_qh_set_dqh_magic(t.bytes, ext_quota_magic(type));
    ext_qh_set_dqh_version(t.bytes, 1);
    ext_qh_set_dqi_bgrace(t.bytes, EXT_QUOTA_GRACE);
    ext_qh_set_dqi_igrace(t.bytes, EXT_QUOTA_GRACE);
    ext_qh_set_dqi_blocks(t.bytes, t.blocks);
    ext_qh_set_dqi_free_entry(t.bytes, t.leaf);
    *file = t.bytes;
    *len = t.blocks * EXT_QUOTA_BLOCK;
    return true;
}
