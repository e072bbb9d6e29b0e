/*
 * Larger inodes: every table grows. Tables that follow each other grow together in place, as far as nothing
 * of the volume's own lies behind them; files make way. Inodes are copied from the last to the first, so that
 * a table may grow over the places of those copied before it.
 */
#include "tune.h"

#include "relocate.h"
#include "resize.h"

#include "alloc.h"

#include <stdlib.h>

enum { CHUNK_BYTES = 1 << 18 };

struct table {
    uint64_t old, place; /* blocks */
    uint32_t group;
};

struct growing {
    struct ext_fs *ext;
    struct ext_fs *then; /* superblock and geometry as they are to be; nothing is read by it */
    struct ext_relocation rel;
    struct ranges old;    /* the volume's own blocks before */
    struct table *tables; /* of all groups */
    uint8_t *from, *to;   /* CHUNK_BYTES of inodes as they were and as they are to be */
};

/* ---- the plan ---- */

static int by_old(const void *a, const void *b)
{
    const struct table *x = a, *y = b;
    return (x->old > y->old) - (x->old < y->old);
}

static int by_place_down(const void *a, const void *b)
{
    const struct table *x = a, *y = b;
    return (x->place < y->place) - (x->place > y->place);
}

static bool load_tables(struct growing *g, struct error *err)
{
    struct ext_fs *ext = g->ext;
    g->tables = mem_array(ext->groups, sizeof *g->tables, err);
    for (uint32_t i = 0; g->tables && i < ext->groups; i++) {
        struct ext_group group;
        if (!interrupt_check(err) || !ext_group_get(ext, i, &group, err))
            return false;
        g->tables[i] = (struct table){.old = ext_group_inode_table(ext, group.raw), .group = i};
        ext_group_put(ext, &group);
    }
    if (g->tables)
        qsort(g->tables, ext->groups, sizeof *g->tables, by_old);
    return g->tables != NULL;
}

/*
 * Places for tables that follow each other, in their order and none before its old one; those that find none
 * go elsewhere. The old places of all tables stay out of bounds for others.
 */
static bool plan_run(struct growing *g, struct table *first, size_t count, struct error *err)
{
    struct ext_fs *ext = g->ext;
    struct ext_relocation *rel = &g->rel;
    uint64_t size = rel->table_blocks, len = (uint64_t)count * ext->table_blocks, at = first->old;
    bool ok = ranges_remove(&rel->fixed, first->old, len, err);
    size_t i = 0;
    for (; ok && i < count; i++) {
        struct table *t = &first[i];
        uint64_t end = ext->blocks;
        if (!ext_has(ext, EXT_FLEX_BG))
            end = ext_group_first_block(ext, t->group) + ext_group_blocks(ext, t->group);
        if (!ext_relocation_gap(rel, at, end, size, &at))
            break;
        ok = ext_relocation_put(rel, t->group, EXT_PART_TABLE, at, err);
        at += size;
    }
    ok = ok && ranges_add(&rel->fixed, first->old, len, err);
    for (; ok && i < count; i++)
        ok = ext_relocation_place(rel, first[i].group, EXT_PART_TABLE, err);
    for (i = 0; ok && i < count; i++)
        first[i].place = rel->places[first[i].group].part[EXT_PART_TABLE];
    return ok;
}

static bool plan(struct growing *g, struct error *err)
{
    uint32_t groups = g->ext->groups;
    g->rel.table_blocks = g->then->table_blocks;
    if (!ext_own_blocks(g->ext, &g->old, err) || !load_tables(g, err))
        return false;
    for (uint32_t i = 0, end; i < groups; i = end) {
        for (end = i + 1;
             end < groups && g->tables[end].old == g->tables[end - 1].old + g->ext->table_blocks;)
            end++;
        if (!interrupt_check(err) || !plan_run(g, &g->tables[i], end - i, err))
            return false;
    }
    qsort(g->tables, groups, sizeof *g->tables, by_place_down);
    return true;
}

/* ---- inodes ---- */

/* The added bytes are zero; in an inode that had none they become fields. */
static void widen(const struct growing *g, uint32_t ino, const uint8_t *from, uint8_t *to)
{
    memset(to, 0, g->then->inode_size);
    memcpy(to, from, g->ext->inode_size);
    if (all_zero(from, g->ext->inode_size))
        return;
    bool used = ext_inode_i_mode(to) != 0 && ext_inode_i_links_count(to) != 0;
    if (used && g->ext->inode_size == EXT_GOOD_OLD_INODE_SIZE)
        ext_inode_set_i_extra_isize(to, EXT_INODE_FIELDS - EXT_GOOD_OLD_INODE_SIZE);
    if (g->then->has_csum)
        ext_inode_csum_set(g->then, ino, to);
}

static bool widen_chunk(struct growing *g, const struct table *t, uint32_t first, uint32_t count,
                        struct error *err)
{
    const struct ext_fs *now = g->ext, *then = g->then;
    uint64_t source = ext_offset(now, t->old) + (uint64_t)first * now->inode_size,
             target = ext_offset(now, t->place) + (uint64_t)first * then->inode_size;
    if (!interrupt_check(err) ||
        !device_read(now->dev, source, g->from, (size_t)count * now->inode_size, err))
        return false;
    for (uint32_t i = 0; i < count; i++)
        widen(g, t->group * now->inodes_per_group + first + i + 1, g->from + (size_t)i * now->inode_size,
              g->to + (size_t)i * then->inode_size);
    return device_write(now->dev, target, g->to, (size_t)count * then->inode_size, WRITE_UPDATE, err);
}

/* One table; inodes that were never used are zeros. */
static bool widen_table(struct growing *g, const struct table *t, struct error *err)
{
    struct ext_fs *ext = g->ext;
    struct ext_group group;
    uint32_t used = ext->inodes_per_group, chunk = CHUNK_BYTES / g->then->inode_size;
    if (!ext_group_get(ext, t->group, &group, err))
        return false;
    if (ext->group_csum) {
        uint64_t unused = ext_group_itable_unused(ext, group.raw);
        used =
            ext_desc_bg_flags(group.raw) & EXT_BG_INODE_UNINIT || unused > used ? 0 : used - (uint32_t)unused;
        ext_desc_set_bg_flags(group.raw, ext_desc_bg_flags(group.raw) | EXT_BG_INODE_ZEROED);
    }
    ext_group_set_inode_table(ext, group.raw, t->place);
    ext_group_dirty(ext, &group);
    ext_group_put(ext, &group);
    uint64_t rest = (uint64_t)used * g->then->inode_size, size = ext_offset(ext, g->then->table_blocks);
    for (uint32_t end = used; end > 0;) {
        uint32_t count = end % chunk ? end % chunk : chunk;
        end -= count;
        if (!widen_chunk(g, t, end, count, err))
            return false;
    }
    return device_zero(ext->dev, ext_offset(ext, t->place) + rest, size - rest, WRITE_UPDATE, err);
}

static bool widen_tables(struct growing *g, struct error *err)
{
    g->from = mem_new(CHUNK_BYTES, err);
    g->to = mem_new(CHUNK_BYTES, err);
    bool ok = g->from && g->to;
    for (uint32_t i = 0; ok && i < g->ext->groups; i++)
        ok = widen_table(g, &g->tables[i], err);
    return ok;
}

/* ---- carrying it out ---- */

static void set_sizes(uint8_t *super, uint32_t size)
{
    const unsigned extra = EXT_INODE_FIELDS - EXT_GOOD_OLD_INODE_SIZE;
    ext_super_set_s_inode_size(super, size);
    if (ext_super_s_min_extra_isize(super) < extra)
        ext_super_set_s_min_extra_isize(super, extra);
    if (ext_super_s_want_extra_isize(super) < extra)
        ext_super_set_s_want_extra_isize(super, extra);
}

static bool switch_super(struct growing *g, uint32_t size, struct error *err)
{
    struct ext_fs *ext = g->ext;
    if (!ext_flush(ext, err))
        return false;
    cache_drop(ext->cache);
    set_sizes(ext->super, size);
    ext_super_set_s_overhead_clusters(ext->super, 0); /* computed when needed */
    ext_super_set_s_checksum(ext->super, ext->has_csum ? ext_super_csum(ext->super) : 0);
    ext_super_changed(ext);
    return ext_super_decode(ext, ext->super, err);
}

static bool grow_inodes(struct growing *g, uint32_t size, struct error *err)
{
    struct ext_fs *ext = g->ext;
    g->then = mem_new(sizeof *g->then, err);
    if (!g->then)
        return false;
    *g->then = *ext;
    set_sizes(g->then->super, size);
    ext_super_set_s_checksum(g->then->super, ext_super_csum(g->then->super));
    return ext_super_decode(g->then, g->then->super, err) && ext_flush(ext, err) &&
           ext_relocation_begin(ext, &g->rel, err) && plan(g, err) && ext_relocation_run(&g->rel, err) &&
           widen_tables(g, err) && switch_super(g, size, err) && ext_relocation_free(&g->rel, &g->old, err) &&
           ext_resize_counts(ext, err) && ext_flush(ext, err) && ext_backup_supers(ext, err) &&
           ext_backup_descs(ext, err);
}

bool ext_tune_inode_size(struct ext_fs *ext, uint64_t size, struct error *err)
{
    struct growing g = {.ext = ext};
    if (!is_power_of_two(size) || size < EXT_GOOD_OLD_INODE_SIZE || size > ext->block_size)
        return fail(err, E_INVALID, "inode_size=%llu: a power of two from 128 to the block size is needed",
                    (unsigned long long)size);
    if (size == ext->inode_size)
        return true;
    if (size < ext->inode_size)
        return fail(err, E_UNSUPPORTED, "inode_size=%llu: inodes have %u bytes and cannot become smaller",
                    (unsigned long long)size, ext->inode_size);
    if (ext_super_s_rev_level(ext->super) == 0)
        return fail(err, E_UNSUPPORTED, "inode_size: a volume of revision 0 has inodes of 128 bytes");
    bool ok = grow_inodes(&g, (uint32_t)size, err);
    ext_relocation_end(&g.rel);
    ranges_clear(&g.old);
    free(g.then);
    free(g.tables);
    free(g.from);
    free(g.to);
    return ok || because(err, "inode_size=%llu", (unsigned long long)size);
}
