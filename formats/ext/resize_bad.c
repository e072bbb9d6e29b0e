/* The list of bad blocks, inode 1, of a volume that shrinks: blocks behind the new end leave it. */
#include "resize.h"

#include "alloc.h"

#include <stdlib.h>
#include <sys/stat.h>

struct bad_list {
    uint64_t *blocks;
    size_t count, capacity;
};

static bool add_run(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    struct bad_list *list = arg;
    const struct ext_mapping *m = &visit->mapping;
    if (!visit->data || m->start == 0)
        return true;
    if (!mem_grow(&list->blocks, &list->capacity, list->count + m->len, sizeof *list->blocks, err))
        return false;
    for (uint64_t i = 0; i < m->len; i++)
        list->blocks[list->count++] = m->start + i;
    return true;
}

/* The kept ones are taken back before anything else could get them. */
static bool rebuild(struct ext_resize *r, struct ext_inode *inode, const struct bad_list *list,
                    struct error *err)
{
    struct ext_fs *ext = r->ext;
    uint64_t kept = 0;
    uint64_t counted =
        ext_inode_i_blocks_lo(inode->raw); /* nobody asks for it to be right: mke2fs leaves 0 */
    ext_inode_set_i_blocks_lo(inode->raw, INT32_MAX);
    if (!ext_map_remove(ext, inode, 0, ext_map_max_block(ext, inode), err))
        return false;
    ext_inode_set_i_blocks_lo(inode->raw, 0);
    for (size_t i = 0; i < list->count; i++)
        if (!ranges_contains(&r->doomed, list->blocks[i], 1) &&
            !ext_blocks_take(ext, list->blocks[i], 1, err))
            return false;
    for (size_t i = 0; i < list->count; i++) {
        const struct ext_mapping m = {.block = kept, .start = list->blocks[i], .len = 1};
        if (ranges_contains(&r->doomed, list->blocks[i], 1))
            continue;
        if (!ext_map_insert(ext, inode, &m, err) || !ext_inode_charge(ext, inode, 1, err))
            return false;
        kept++;
    }
    if (counted == 0)
        ext_inode_set_i_blocks_lo(inode->raw, 0);
    ext_inode_set_size(ext, inode->raw, ext_offset(ext, kept));
    return true;
}

bool ext_resize_bad_blocks(struct ext_resize *r, struct error *err)
{
    struct ext_fs *ext = r->ext;
    struct ext_inode inode;
    struct bad_list list = {0};
    if (!ext_inode_get(ext, EXT_BAD_INO, &inode, err))
        return false;
    uint64_t mode = ext_inode_i_mode(inode.raw);
    bool ok = true;
    if (!all_zero(ext_inode_i_block(inode.raw), EXT_I_BLOCK_SIZE)) {
        ok = ext->cluster_bits == 0 ||
             fail(err, E_UNSUPPORTED, "bad blocks share clusters, and the volume cannot be shrunk");
        ext_inode_set_i_mode(inode.raw, S_IFREG); /* it has none of its own */
        ok = ok && ext_map_walk(ext, &inode, add_run, &list, err) && rebuild(r, &inode, &list, err);
        ext_inode_set_i_mode(inode.raw, mode);
        ext_inode_dirty(ext, &inode);
    }
    ext_inode_put(ext, &inode);
    free(list.blocks);
    return ok || because(err, "bad blocks");
}
