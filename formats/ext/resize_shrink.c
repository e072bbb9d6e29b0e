/* Shrinking: everything that is in use moves to the part that stays, then the rest is cut off. */
#include "check.h"
#include "resize.h"

#include "alloc.h"

#include <stdlib.h>

/* ---- what has to go ---- */

/* The group that holds the second superblock copy afterwards (sparse_super2); 0: none does. */
static uint32_t new_backup_group(const struct ext_resize *r)
{
    const struct ext_fs *ext = r->ext;
    uint32_t second = (uint32_t)ext_super_s_backup_bgs_1(ext->super);
    if (!ext_has(ext, EXT_SPARSE_SUPER2) || second == 0 || r->groups == ext->groups || r->groups <= 2)
        return 0;
    return r->groups - 1;
}

static bool find_doomed(struct ext_resize *r, struct error *err)
{
    struct ext_fs *ext = r->ext;
    uint32_t backup = new_backup_group(r);
    if (!ranges_add(&r->doomed, r->blocks, ext->blocks - r->blocks, err))
        return false;
    if (backup) {
        uint64_t len = 1 + (uint64_t)ext->desc_blocks + ext_super_s_reserved_gdt_blocks(ext->super);
        if (ext_has(ext, EXT_META_BG))
            len = 1;
        if (!ranges_add(&r->doomed, ext_group_first_block(ext, backup), len, err))
            return false;
    }
    struct range run;
    for (uint64_t at = 0; ranges_next(&r->doomed, at, &run); at = run.start + run.len)
        if (!ranges_add(&ext->fenced, run.start, run.len, err))
            return false;
    return true;
}

/* Free inodes and blocks must do, before anything is moved. */
static bool check_room(const struct ext_resize *r, struct error *err)
{
    struct ext_fs *ext = r->ext;
    uint64_t inodes = ext->inodes - MIN_OF(ext_super_s_free_inodes_count(ext->super), ext->inodes);
    uint64_t blocks = ext->blocks - MIN_OF(ext_free_blocks(ext), ext->blocks);
    uint64_t own = 0;
    for (uint32_t group = r->groups; group < ext->groups; group++)
        own += 2 + (uint64_t)ext->table_blocks + ext_group_desc_blocks(ext, group) +
               ext_group_has_super(ext, group);
    if (inodes > (uint64_t)r->groups * ext->inodes_per_group)
        return fail(err, E_NOSPACE, "%llu inodes are in use, %u groups hold only %llu",
                    (unsigned long long)inodes, r->groups,
                    (unsigned long long)r->groups * ext->inodes_per_group);
    if (blocks > r->blocks + own)
        return fail(err, E_NOSPACE, "%llu blocks are in use, more than the %llu that stay",
                    (unsigned long long)(blocks - own), (unsigned long long)r->blocks);
    return true;
}

/* ---- cutting off ---- */

bool ext_resize_give_descs(struct ext_resize *r, uint32_t *spare, struct error *err)
{
    struct ext_fs *ext = r->ext;
    uint32_t less = ext->desc_blocks - r->desc_blocks,
             reserved = (uint32_t)ext_super_s_reserved_gdt_blocks(ext->super);
    uint32_t first_meta = (uint32_t)ext_super_s_first_meta_bg(ext->super);
    *spare = 0;
    if (ext_has(ext, EXT_META_BG)) {
        less = first_meta > r->desc_blocks ? MIN_OF(first_meta, ext->desc_blocks) - r->desc_blocks : 0;
        *spare = less;
    } else if (ext_has(ext, EXT_RESIZE_INODE)) {
        uint32_t keep = MIN_OF(reserved + less, ext->block_size / 4);
        *spare = reserved + less - keep;
        ext_super_set_s_reserved_gdt_blocks(ext->super, keep);
    } else {
        *spare = less;
    }
    for (uint32_t group = 0; *spare && group < r->groups;
         group++) { /* bitmaps that exist do not change meaning */
        struct cache_block *bits;
        if (!ext_group_has_super(ext, group))
            continue;
        if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, group, &bits, err))
            return false;
        ext_block_put(ext, bits);
    }
    return true;
}

bool ext_resize_free_descs(struct ext_resize *r, uint32_t spare, struct error *err)
{
    struct ext_fs *ext = r->ext;
    struct ranges own = {0};
    bool ok = spare == 0 || ext_own_blocks(ext, &own, err);
    for (uint32_t group = 0; ok && spare && group < r->groups; group++) {
        uint64_t start = ext_backup_super_block(ext, group) + 1 + ext_group_desc_blocks(ext, group);
        if (ext_group_has_super(ext, group))
            ok = ext_free_unshared(ext, &own, start, spare, err);
    }
    ranges_clear(&own);
    return ok;
}

/* The last group may be a short one now: the bits behind its end are filled, and its count is taken anew. */
static bool end_last_group(struct ext_fs *ext, struct error *err)
{
    struct cache_block *bits;
    struct ext_group group;
    uint32_t last = ext->groups - 1, clusters = ext_group_clusters(ext, last);
    if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, last, &bits, err))
        return false;
    ext_bits_fill(bits->data, clusters, ext->block_size * 8, true);
    uint32_t used = ext_bits_count(bits->data, 0, clusters);
    ext_block_put(ext, bits);
    if (!ext_group_get(ext, last, &group, err))
        return false;
    ext_group_set_free_blocks_count(ext, group.raw, clusters - used);
    ext_group_dirty(ext, &group);
    ext_group_put(ext, &group);
    return true;
}

/* The new second copy (sparse_super2) takes blocks that were cleared for it; they are in use from now on. */
static bool take_backup(struct ext_fs *ext, uint32_t backup, uint64_t len, struct error *err)
{
    struct cache_block *bits;
    struct ext_group group;
    if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, backup, &bits, err))
        return false;
    uint32_t end = (uint32_t)div_up(len, (uint64_t)1 << ext->cluster_bits);
    uint32_t fresh = end - ext_bits_count(bits->data, 0, end);
    ext_bits_fill(bits->data, 0, end, true);
    ext_block_put(ext, bits);
    if (!ext_group_get(ext, backup, &group, err))
        return false;
    uint64_t count = ext_group_free_blocks_count(ext, group.raw);
    ext_group_set_free_blocks_count(ext, group.raw, count - MIN_OF(count, fresh));
    ext_group_dirty(ext, &group);
    ext_group_put(ext, &group);
    return true;
}

static bool move_resize_inode(struct ext_resize *r, struct error *err)
{
    struct ext_fs *ext = r->ext;
    struct ext_inode inode;
    struct ext_run run;
    if (!ext_has(ext, EXT_RESIZE_INODE))
        return true;
    if (!ext_inode_get(ext, EXT_RESIZE_INO, &inode, err))
        return false;
    run.start = load_le32(ext_inode_i_block(inode.raw) + (size_t)4 * 13);
    ext_inode_put(ext, &inode);
    if (ranges_contains(&r->doomed, run.start, 1) || !ext_blocks_valid(ext, run.start, 1))
        if (!ext_blocks_alloc(ext, ext_group_first_block(ext, 0), 1, &run, err))
            return false;
    return ext_resize_inode_write(ext, run.start, err);
}

/* Parts of groups: bits of a set. */
enum { BLOCK_BITS = 1, INODE_BITS = 2, TABLE = 4 };

static bool add_parts(struct ext_fs *ext, uint32_t number, unsigned which, struct ranges *out,
                      struct error *err)
{
    struct ext_group group;
    if (!ext_group_get(ext, number, &group, err))
        return false;
    bool ok =
        (!(which & BLOCK_BITS) || ranges_add(out, ext_group_block_bitmap(ext, group.raw), 1, err)) &&
        (!(which & INODE_BITS) || ranges_add(out, ext_group_inode_bitmap(ext, group.raw), 1, err)) &&
        (!(which & TABLE) || ranges_add(out, ext_group_inode_table(ext, group.raw), ext->table_blocks, err));
    ext_group_put(ext, &group);
    return ok;
}

/*
 * Parts of groups that go may lie in groups that stay: *out gets what can be freed there. With bigalloc a
 * cluster that something else of the volume's own shares stays.
 */
static bool find_parts(struct ext_resize *r, unsigned which, struct ranges *out, struct error *err)
{
    struct ext_fs *ext = r->ext;
    const unsigned all = BLOCK_BITS | INODE_BITS | TABLE;
    struct ranges gone = {0}, kept = {0};
    uint64_t cluster = (uint64_t)1 << ext->cluster_bits;
    struct range run;
    bool ok = true;
    for (uint32_t i = 0; ok && i < ext->groups; i++)
        ok = interrupt_check(err) &&
             (i < r->groups ? add_parts(ext, i, all, &kept, err)
                            : add_parts(ext, i, which, &gone, err) &&
                                  (!(which & TABLE) || add_parts(ext, i, BLOCK_BITS, &kept, err)));
    for (uint32_t i = 0; ok && cluster > 1 && i < r->groups; i++)
        ok = ranges_add(&kept, ext_group_first_block(ext, i), 2 + (uint64_t)ext_group_desc_blocks(ext, i),
                        err);
    for (uint64_t at = 0; ok && ranges_next(&gone, at, &run) && run.start < r->blocks;
         at = run.start + run.len) {
        uint64_t end = MIN_OF(run.start + run.len, r->blocks);
        for (uint64_t b = run.start & ~(cluster - 1); ok && b < end; b += cluster)
            if (!ranges_overlaps(&kept, b, cluster))
                ok = ranges_add(out, b, cluster, err);
    }
    ranges_clear(&gone);
    ranges_clear(&kept);
    return ok;
}

static bool free_parts(struct ext_fs *ext, const struct ranges *parts, struct error *err)
{
    struct range run;
    for (uint64_t at = 0; ranges_next(parts, at, &run); at = run.start + run.len)
        if (!ext_blocks_free(ext, run.start, MIN_OF(run.len, ext->blocks - run.start), err))
            return false;
    return true;
}

/* Once its inodes are gone, a group needs neither inode bitmap nor table: room for what is moved. */
static bool give_up_tables(struct ext_resize *r, struct error *err)
{
    struct ranges parts = {0};
    bool ok = find_parts(r, INODE_BITS | TABLE, &parts, err) && free_parts(r->ext, &parts, err) &&
              ext_flush(r->ext, err);
    ranges_clear(&parts);
    return ok;
}

static bool cut_off(struct ext_resize *r, const struct ranges *parts, struct error *err)
{
    struct ext_fs *ext = r->ext;
    uint32_t backup = new_backup_group(r), spare;
    uint64_t overhead = ext_super_s_overhead_clusters(ext->super), gone = 0, backup_len = 0;
    struct range area;
    for (uint32_t group = r->groups; group < ext->groups; group++)
        gone += 2 + (uint64_t)ext->table_blocks + ext_group_desc_blocks(ext, group) +
                ext_group_has_super(ext, group);
    if (backup && ranges_next(&r->doomed, ext_group_first_block(ext, backup), &area))
        backup_len = area.len;
    if (!ext_resize_give_descs(r, &spare, err))
        return false;
    if (backup && !take_backup(ext, backup, backup_len, err))
        return false;
    if (ext_has(ext, EXT_SPARSE_SUPER2) && r->groups != ext->groups) {
        ext_super_set_s_backup_bgs_1(ext->super, backup);
        if (r->groups <= ext_super_s_backup_bgs_0(ext->super))
            ext_super_set_s_backup_bgs_0(ext->super, 0);
    }
    if (overhead)
        ext_super_set_s_overhead_clusters(ext->super, overhead - MIN_OF(overhead, gone >> ext->cluster_bits));
    return ext_resize_geometry(r, err) && free_parts(ext, parts, err) &&
           ext_resize_free_descs(r, spare, err) && end_last_group(ext, err) && move_resize_inode(r, err) &&
           ext_resize_counts(ext, err) && ext_flush(ext, err) && ext_backup_supers(ext, err) &&
           ext_backup_descs(ext, err);
}

bool ext_resize_shrink(struct ext_resize *r, struct error *err)
{
    struct ext_fs *ext = r->ext;
    bool ok = check_room(r, err) && find_doomed(r, err) && ext_resize_bad_blocks(r, err) &&
              (r->groups == ext->groups || (ext_resize_move_inodes(r, err) && give_up_tables(r, err))) &&
              ext_resize_move_blocks(r, err);
    struct ranges parts = {0};
    ok = ok && find_parts(r, BLOCK_BITS, &parts, err) && cut_off(r, &parts, err);
    ranges_clear(&parts);
    ranges_clear(&ext->fenced);
    return ok;
}
