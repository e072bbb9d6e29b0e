/* What each owner uses, counted from the inodes. */
#include "usage.h"
#include "xattr.h"

#include "alloc.h"

#include <stdlib.h>

struct ext_usage *ext_usage_of(struct ext_usages *u, uint32_t id, struct error *err)
{
    struct ext_tally_slot *slot = ext_tally_slot(&u->index, id, err);
    if (!slot)
        return NULL;
    if (slot->value == 0) {
        if (!mem_grow(&u->items, &u->capacity, u->count + 1, sizeof *u->items, err))
            return NULL;
        u->items[u->count++] = (struct ext_usage){.id = id};
        slot->value = (uint32_t)u->count;
    }
    return &u->items[slot->value - 1];
}

void ext_usage_free(struct ext_usages *u)
{
    ext_tally_free(&u->index);
    free(u->items);
    *u = (struct ext_usages){0};
}

bool ext_usage_add(struct ext_fs *ext, struct ext_inode *inode, struct ext_usages usages[EXT_QUOTA_TYPES],
                   struct error *err)
{
    unsigned values = 0; /* attribute inodes count for the owner of the file */
    struct error ignored;
    if (ext_quota_exempt(ext, inode->ino, inode->raw))
        return true;
    if (ext_has(ext, EXT_EA_INODE) && !ext_xattr_inode_count(ext, inode, &values, &ignored))
        values = 0;
    const uint32_t ids[] = {ext_inode_uid(inode->raw), ext_inode_gid(inode->raw),
                            ext_inode_project(ext, inode->raw)};
    for (unsigned type = 0; type < EXT_QUOTA_TYPES; type++) {
        struct ext_usage *u = ext_usage_of(&usages[type], ids[type], err);
        if (!u)
            return false;
        u->bytes += ext_inode_units(ext, inode->raw) * 512;
        u->inodes += 1 + values;
    }
    return true;
}

static int by_id(const void *a, const void *b)
{
    const struct ext_usage *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

bool ext_usage_write(struct ext_fs *ext, enum ext_quota_type type, struct ext_inode *file,
                     struct ext_usages *u, struct error *err)
{
    uint8_t *entries = mem_array(u->count + 1, EXT_QUOTA_ENTRY_SIZE, err), *bytes = NULL;
    size_t len = 0;
    if (!entries)
        return false;
    if (u->count)
        qsort(u->items, u->count, sizeof *u->items, by_id);
    for (size_t i = 0; i < u->count; i++) {
        uint8_t *entry = entries + i * EXT_QUOTA_ENTRY_SIZE;
        memcpy(entry, u->items[i].entry, EXT_QUOTA_ENTRY_SIZE);
        ext_qe_set_dqb_id(entry, u->items[i].id);
        ext_qe_set_dqb_curspace(entry, u->items[i].bytes);
        ext_qe_set_dqb_curinodes(entry, u->items[i].inodes);
        if (all_zero(entry, EXT_QUOTA_ENTRY_SIZE))
            ext_qe_set_dqb_itime(entry, 1); /* all zeros would be a free entry */
    }
    bool ok = ext_quota_build(type, entries, u->count, &bytes, &len, err) &&
              ext_file_truncate(ext, file, 0, err) && ext_file_write(ext, file, 0, bytes, len, err);
    free(entries);
    free(bytes);
    return ok;
}

static bool count_one(struct ext_fs *ext, struct ext_inode *inode, void *arg, struct error *err)
{
    return ext_usage_add(ext, inode, arg, err);
}

bool ext_usage_fill(struct ext_fs *ext, enum ext_quota_type type, struct ext_inode *file, struct error *err)
{
    struct ext_usages usages[EXT_QUOTA_TYPES] = {0};
    bool ok =
        ext_each_inode(ext, count_one, usages, err) && ext_usage_write(ext, type, file, &usages[type], err);
    for (unsigned i = 0; i < EXT_QUOTA_TYPES; i++)
        ext_usage_free(&usages[i]);
    return ok;
}
