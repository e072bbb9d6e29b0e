/* Shrinking: everything that is in use moves to the part that stays, then the rest is cut off. */
#include "relocate.h"
#include "resize.h"

#include "alloc.h"

#include <stdlib.h>

struct cutting {
    struct ext_resize *r;
    struct ext_relocation rel;
    struct ranges old; /* the volume's own blocks, as long as they are not free again */
};

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

/* Plan for the shorter volume. */
static bool plan_cut(struct cutting *c, struct error *err)
{
    struct ext_fs *ext = c->r->ext;
    uint32_t backup = new_backup_group(c->r);
    uint64_t len = 1;
    if (!ext_has(ext, EXT_META_BG))
        len += ext->desc_blocks + ext_super_s_reserved_gdt_blocks(ext->super);
    return ext_relocation_cut(&c->rel, c->r->groups, c->r->blocks, err) &&
           (!backup || ext_relocation_need(&c->rel, ext_group_first_block(ext, backup), len, err)) &&
           ext_relocation_plan(&c->rel, err) && ranges_add_all(&c->old, &c->rel.need, err);
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

/*
 * Descriptor blocks that are no longer needed are reserved for growing again, as far as the resize inode can
 * list them; others become free once the geometry has changed.
 */
static bool give_descs(struct ext_resize *r, struct error *err)
{
    struct ext_fs *ext = r->ext;
    uint32_t less = ext->desc_blocks - r->desc_blocks,
             reserved = (uint32_t)ext_super_s_reserved_gdt_blocks(ext->super), keep = reserved;
    uint32_t first_meta = (uint32_t)ext_super_s_first_meta_bg(ext->super);
    uint32_t spare = less;
    if (ext_has(ext, EXT_META_BG)) {
        spare = first_meta > r->desc_blocks ? MIN_OF(first_meta, ext->desc_blocks) - r->desc_blocks : 0;
    } else if (ext_has(ext, EXT_RESIZE_INODE)) {
        keep = MIN_OF(reserved + less, ext->block_size / 4);
        spare = reserved + less - keep;
    }
    /* Bitmaps that exist do not change their meaning. */
    for (uint32_t group = 0; spare && group < r->groups; group = ext_next_super(ext, group)) {
        struct cache_block *bits;
        if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, group, &bits, err))
            return false;
        ext_block_put(ext, bits);
    }
    ext_super_set_s_reserved_gdt_blocks(ext->super, keep);
    if (ext_has(ext, EXT_META_BG))
        ext_super_set_s_first_meta_bg(ext->super, MIN_OF(first_meta, r->desc_blocks));
    return true;
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

static bool add_tables(struct ext_fs *ext, uint32_t number, struct ranges *out, struct error *err)
{
    struct ext_group group;
    if (!ext_group_get(ext, number, &group, err))
        return false;
    bool ok = ranges_add(out, ext_group_inode_bitmap(ext, group.raw), 1, err) &&
              ranges_add(out, ext_group_inode_table(ext, group.raw), ext->table_blocks, err);
    ext_group_put(ext, &group);
    return ok;
}

/*
 * Once its inodes are gone, a group needs neither inode bitmap nor table. What of them lies in groups that
 * stay is room for what is moved; with bigalloc a cluster that something else of the volume's own shares is
 * not.
 */
static bool give_up_tables(struct cutting *c, struct error *err)
{
    struct ext_fs *ext = c->r->ext;
    struct ranges gone = {0}, left = {0};
    uint64_t cluster = (uint64_t)1 << ext->cluster_bits;
    struct range run;
    bool ok = true;
    for (uint32_t i = c->r->groups; ok && i < ext->groups; i++)
        ok = interrupt_check(err) && add_tables(ext, i, &gone, err);
    ok = ok && ranges_remove_all(&c->old, &gone, err);
    for (uint64_t at = 0; ok && ranges_next(&gone, at, &run) && run.start < c->r->blocks;
         at = run.start + run.len) {
        uint64_t end = MIN_OF(run.start + run.len, c->r->blocks);
        for (uint64_t b = run.start & ~(cluster - 1); ok && b < end; b += cluster)
            if (!ranges_overlaps(&c->old, b, cluster))
                ok = ranges_add(&left, b, cluster, err);
    }
    ok = ok && ranges_remove_all(&c->rel.fixed, &left, err);
    for (uint64_t at = 0; ok && ranges_next(&left, at, &run); at = run.start + run.len)
        ok = ext_blocks_free(ext, run.start, MIN_OF(run.len, ext->blocks - run.start), err);
    ranges_clear(&gone);
    ranges_clear(&left);
    return ok && ext_flush(ext, err);
}

static bool cut_off(struct cutting *c, struct error *err)
{
    struct ext_resize *r = c->r;
    struct ext_fs *ext = r->ext;
    uint32_t backup = new_backup_group(r);
    uint64_t overhead = ext_super_s_overhead_clusters(ext->super), gone = 0;
    for (uint32_t group = r->groups; group < ext->groups; group++)
        gone += 2 + (uint64_t)ext->table_blocks + ext_group_desc_blocks(ext, group) +
                ext_group_has_super(ext, group);
    if (!give_descs(r, err))
        return false;
    if (ext_has(ext, EXT_SPARSE_SUPER2) && r->groups != ext->groups) {
        ext_super_set_s_backup_bgs_1(ext->super, backup);
        if (r->groups <= ext_super_s_backup_bgs_0(ext->super))
            ext_super_set_s_backup_bgs_0(ext->super, 0);
    }
    if (overhead)
        ext_super_set_s_overhead_clusters(ext->super, overhead - MIN_OF(overhead, gone >> ext->cluster_bits));
    return ext_resize_geometry(r, err) && end_last_group(ext, err) &&
           ext_relocation_free(&c->rel, &c->old, err) && ext_resize_inode_renew(ext, err) &&
           ext_resize_counts(ext, err) && ext_flush(ext, err) && ext_backup_supers(ext, err) &&
           ext_backup_descs(ext, err);
}

bool ext_resize_shrink(struct ext_resize *r, struct error *err)
{
    struct ext_fs *ext = r->ext;
    struct cutting c = {.r = r};
    bool ok = check_room(r, err) && ext_relocation_begin(ext, &c.rel, err) &&
              ext_own_blocks(ext, &c.old, err) &&
              (r->groups == ext->groups || (ext_resize_move_inodes(r, err) && give_up_tables(&c, err))) &&
              plan_cut(&c, err) && ext_relocation_run(&c.rel, err) && cut_off(&c, err);
    ext_relocation_end(&c.rel);
    ranges_clear(&c.old);
    return ok;
}
