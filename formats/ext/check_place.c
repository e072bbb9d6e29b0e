/*
 * Where bitmaps and inode tables lie. Superblocks and descriptors have fixed places; a table (pass 0) or
 * bitmap (after pass 1) that lies on other metadata or outside is moved: a free run near its group becomes
 * its place. Bitmaps are made anew, tables take along what is theirs. Blocks of a table that a file claims
 * stay the table's, the file gets copies (pass 1B); a bitmap gives way.
 */
#include "check.h"
#include "rescue.h"

#include "alloc.h"

bool ext_check_add_meta(struct ext_checker *c, uint64_t start, uint64_t len, struct error *err)
{
    return ranges_add(&c->meta, start, len, err) && ext_check_mark(c, start, len, err);
}

static uint64_t bitmap_place(const struct ext_fs *ext, const struct ext_group *group, int kind)
{
    return kind == EXT_BLOCK_BITMAP ? ext_group_block_bitmap(ext, group->raw)
                                    : ext_group_inode_bitmap(ext, group->raw);
}

/* ---- free space ---------------------------------------------------------------------------------------- */

/* The first run of `want` clusters in a group that nothing found so far uses. */
static bool free_in_group(const struct ext_checker *c, uint32_t group, uint32_t want, uint8_t *bits,
                          uint64_t *start)
{
    const struct ext_fs *ext = c->ext;
    uint32_t count = ext_group_clusters(ext, group), at = 0, end = 0;
    if (ext_group_blocks(ext, group) >> ext->cluster_bits < count)
        count--; /* the last cluster of the volume may be cut off */
    ext_check_block_bits(c, group, bits);
    for (; at < count; at = end) {
        at = ext_bits_next_clear(bits, at, count);
        end = ext_bits_next_set(bits, at, count);
        if (end - at < want || at == end)
            continue;
        *start = ext_group_first_block(ext, group) + ((uint64_t)at << ext->cluster_bits);
        return true;
    }
    return false;
}

/* A new place for `blocks` blocks of a group, in the group itself or, with flex_bg, in the next that has one.
 */
static bool find_place(struct ext_checker *c, uint32_t number, const char *what, uint32_t blocks,
                       uint64_t *start, struct error *err)
{
    const struct ext_fs *ext = c->ext;
    bool flex = ext_has(ext, EXT_FLEX_BG);
    uint32_t want = (uint32_t)div_up(blocks, (uint64_t)1 << ext->cluster_bits);
    for (uint32_t i = 0; i < (flex ? ext->groups : 1); i++) {
        uint32_t group = (uint32_t)(((uint64_t)number + i) % ext->groups);
        if (!interrupt_check(err))
            return false;
        if (free_in_group(c, group, want, c->scratch, start))
            return true;
    }
    return fail(err, E_NOSPACE, "the %s of group %u cannot be moved: no %u contiguous blocks are free%s",
                what, number, want << ext->cluster_bits, flex ? "" : " in the group");
}

/* Does something have this block? Of its cluster it may share the rest with other metadata. */
static bool claimed(const struct ext_checker *c, uint64_t at)
{
    uint64_t size = (uint64_t)1 << c->ext->cluster_bits, cluster = round_down(at, size);
    return ranges_overlaps(&c->meta, at, 1) ||
           (ext_check_block_used(c, at) && !ranges_overlaps(&c->meta, cluster, size));
}

/* ---- inode tables -------------------------------------------------------------------------------------- */

static bool place_table(struct ext_checker *c, struct ext_group *group, struct error *err)
{
    const struct ext_fs *ext = c->ext;
    uint64_t table = ext_group_inode_table(ext, group->raw);
    bool inside = ext_blocks_valid(ext, table, ext->table_blocks);
    bool sound = ext_part_valid(ext, group->number, table, ext->table_blocks);
    if (sound && !ranges_overlaps(&c->meta, table, ext->table_blocks))
        return ext_check_add_meta(c, table, ext->table_blocks, err);
    if (sound)
        ext_problem(c, "table-conflict", ext_check_group_off(group),
                    "group %u: its inode table at block %llu overlaps other metadata", group->number,
                    (unsigned long long)table);
    else
        ext_problem(c, "group-descriptor", ext_check_group_off(group),
                    "group %u: its inode table lies outside%s", group->number,
                    inside ? " the group" : ", and so do its inodes");
    if (!inside && !ranges_add(&c->lost_tables, group->number, 1, err))
        return false;
    return ranges_add(&c->displaced_tables, group->number, 1, err);
}

bool ext_check_place_tables(struct ext_checker *c, struct error *err)
{
    for (uint32_t i = 0; i < c->ext->groups && !c->stop; i++) {
        struct ext_group group;
        if (!interrupt_check(err) || !ext_check_group(c, i, &group, err))
            return false;
        bool ok = place_table(c, &group, err);
        ext_group_put(c->ext, &group);
        if (!ok)
            return false;
    }
    return true;
}

/* Does a block of inodes verify as those of this group? Only checksums can tell. */
static bool verifies(const struct ext_fs *ext, uint32_t first_ino, const uint8_t *inodes)
{
    bool any = false;
    for (uint32_t i = 0; ext->has_csum && i < ext->inodes_per_block; i++) {
        const uint8_t *inode = inodes + (size_t)i * ext->inode_size;
        if (all_zero(inode, ext->inode_size))
            continue;
        if (!ext_inode_csum_ok(ext, first_ino + i, inode))
            return false;
        any = true;
    }
    return any;
}

/* Copy a table to its new place, without the blocks that hold what they should not. */
static bool copy_table(struct ext_checker *c, uint32_t group, uint64_t from, uint64_t to, struct error *err)
{
    const struct ext_fs *ext = c->ext;
    uint32_t ino = group * ext->inodes_per_group + 1;
    for (uint32_t i = 0; i < ext->table_blocks; i++, ino += ext->inodes_per_block) {
        bool there = ext_blocks_valid(ext, from + i, 1);
        if (there && !device_read(ext->dev, ext_offset(ext, from + i), c->scratch, ext->block_size, err))
            return false;
        if (!there || (ranges_overlaps(&c->meta, from + i, 1) && !verifies(ext, ino, c->scratch)))
            memset(c->scratch, 0, ext->block_size);
        if (!device_write(ext->dev, ext_offset(ext, to + i), c->scratch, ext->block_size, WRITE_UPDATE, err))
            return false;
    }
    cache_forget_range(ext->cache, ext_offset(ext, to), ext_offset(ext, ext->table_blocks));
    return true;
}

/* Where a table that no descriptor names may lie: behind bitmaps, beside the tables of other groups. */
struct places {
    uint64_t at[5];
    size_t count;
};

static bool likely_places(struct ext_checker *c, uint32_t number, struct places *p, struct error *err)
{
    const struct ext_fs *ext = c->ext;
    for (int64_t i = (int64_t)number - 1; i <= (int64_t)number + 1; i++) {
        struct ext_group group;
        if (i < 0 || i >= ext->groups)
            continue;
        if (!ext_check_group(c, (uint32_t)i, &group, err))
            return false;
        uint64_t table = ext_group_inode_table(ext, group.raw);
        if (i < number)
            p->at[p->count++] = table + ext->table_blocks;
        else if (i > number)
            p->at[p->count++] = table - ext->table_blocks;
        else {
            p->at[p->count++] = ext_group_block_bitmap(ext, group.raw) + 1;
            p->at[p->count++] = ext_group_inode_bitmap(ext, group.raw) + 1;
        }
        ext_group_put(c->ext, &group);
    }
    return true;
}

/*
 * What no copy of the descriptor tells may still be found: the inodes of a displaced table lie where the
 * search for a new place ended (`found`; 0: nowhere), or in another likely place. They are the group's when
 * they make more sense there than where the table is said to be.
 */
static bool find_table(struct ext_checker *c, uint32_t number, uint64_t here, uint64_t found, uint64_t *table,
                       struct error *err)
{
    const struct ext_fs *ext = c->ext;
    struct places places = {{found}, 1};
    int64_t best = 0, score;
    bool own = ext_blocks_valid(ext, here, ext->table_blocks) &&
               !ranges_overlaps(&c->meta, here, ext->table_blocks); /* else they are the inodes of others */
    *table = 0;
    if (!likely_places(c, number, &places, err) ||
        (own && !ext_check_table_score(c, number, here, &best, err)))
        return false;
    for (size_t i = 0; i < places.count; i++) {
        uint64_t at = places.at[i];
        bool can = ext_part_valid(ext, number, at, ext->table_blocks);
        for (uint32_t b = 0; can && b < ext->table_blocks; b++)
            can = !claimed(c, at + b);
        if (can && !ext_check_table_score(c, number, at, &score, err))
            return false;
        if (!can || score <= MAX_OF(best, 0))
            continue;
        best = score;
        *table = at;
    }
    return true;
}

static bool set_table(struct ext_checker *c, struct ext_group *group, uint64_t table, struct error *err)
{
    ext_group_set_inode_table(c->ext, group->raw, table);
    ext_group_dirty(c->ext, group);
    return ext_check_add_meta(c, table, c->ext->table_blocks, err);
}

/* Find the table of one group; with `move` it gets another place. *done: it has one now. */
static bool settle_table(struct ext_checker *c, uint32_t number, bool move, bool *done, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_group group;
    struct error full = {0};
    uint64_t place = 0, table = 0;
    bool room = find_place(c, number, "inode table", ext->table_blocks, &place, &full);
    if (!room && (move || full.kind != E_NOSPACE)) {
        *err = full;
        return false;
    }
    if (!ext_check_group(c, number, &group, err))
        return false;
    uint64_t here = ext_group_inode_table(ext, group.raw);
    bool ok =
        move ? copy_table(c, number, here, place, err) : find_table(c, number, here, place, &table, err);
    *done = ok && (move || table != 0);
    if (*done)
        ok = set_table(c, &group, move ? place : table, err);
    ext_group_put(ext, &group);
    return ok;
}

/* All that is in use, as far as that can be told while tables are where they should not be. */
static bool find_used(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    bool repair = c->repair, leaks = c->repair_leaks, ok = true;
    c->repair = c->repair_leaks = false;
    c->silent = true;
    for (uint32_t i = 0; ok && i < ext->groups; i++) {
        struct ext_group group;
        ok = ext_check_group(c, i, &group, err);
        if (!ok)
            break;
        uint64_t table = ext_group_inode_table(ext, group.raw);
        if (ext_blocks_valid(ext, table, ext->table_blocks))
            ok = ext_check_mark(c, table, ext->table_blocks, err);
        for (int kind = EXT_BLOCK_BITMAP; ok && kind <= EXT_INODE_BITMAP; kind++) {
            uint64_t at = bitmap_place(ext, &group, kind);
            ok = !ext_part_valid(ext, i, at, 1) || ext_check_add_meta(c, at, 1, err);
        }
        ext_group_put(ext, &group);
    }
    ok = ok && ext_check_inodes(c, err);
    c->repair = repair;
    c->repair_leaks = leaks;
    c->silent = false;
    return ok;
}

/* Tables that are found come first: what their inodes own must be known before places are given away. */
bool ext_check_move_tables(struct ext_checker *c, struct error *err)
{
    bool any = false, done;
    if (!ext_flush(c->ext, err) || !find_used(c, err))
        return false;
    for (int move = 0; move <= 1 && !any; move++) {
        struct range run;
        for (uint64_t at = 0; ranges_next(&c->displaced_tables, at, &run); at = run.start + 1) {
            if (!settle_table(c, (uint32_t)run.start, move, &done, err))
                return false;
            any = any || done;
        }
    }
    c->again = c->copies = true; /* the inodes are read where they are now */
    return true;
}

/* ---- bitmaps ------------------------------------------------------------------------------------------- */

static const char *bitmap_fault(const struct ext_checker *c, uint32_t group, uint64_t at)
{
    if (!ext_part_valid(c->ext, group, at, 1))
        return "outside";
    if (ranges_overlaps(&c->meta, at, 1))
        return "on other metadata";
    return claimed(c, at) ? "in a file" : NULL;
}

static bool place_bitmap(struct ext_checker *c, struct ext_group *group, int kind, struct error *err)
{
    uint64_t at = bitmap_place(c->ext, group, kind);
    const char *fault = bitmap_fault(c, group->number, at);
    if (!fault)
        return ext_check_add_meta(c, at, 1, err);
    ext_problem(c, "bitmap-conflict", ext_check_group_off(group),
                "group %u: its %s bitmap at block %llu lies %s", group->number,
                kind == EXT_BLOCK_BITMAP ? "block" : "inode", (unsigned long long)at, fault);
    return ranges_add(&c->displaced[kind], group->number, 1, err);
}

static bool move_bitmap(struct ext_checker *c, struct ext_group *group, int kind, struct error *err)
{
    struct ext_fs *ext = c->ext;
    uint64_t to = 0;
    if (!find_place(c, group->number, kind == EXT_BLOCK_BITMAP ? "block bitmap" : "inode bitmap", 1, &to,
                    err) ||
        !ext_check_add_meta(c, to, 1, err))
        return false;
    if (kind == EXT_BLOCK_BITMAP)
        ext_group_set_block_bitmap(ext, group->raw, to);
    else
        ext_group_set_inode_bitmap(ext, group->raw, to);
    ext_group_dirty(ext, group);
    c->copies = true;
    return true;
}

static bool each_bitmap(struct ext_checker *c, bool move, struct error *err)
{
    for (uint32_t i = 0; i < c->ext->groups && !c->stop; i++) {
        struct ext_group group;
        bool ok = true;
        if (!interrupt_check(err) || !ext_check_group(c, i, &group, err))
            return false;
        for (int kind = EXT_BLOCK_BITMAP; ok && kind <= EXT_INODE_BITMAP; kind++) {
            if (!move)
                ok = place_bitmap(c, &group, kind, err);
            else if (ranges_contains(&c->displaced[kind], i, 1))
                ok = move_bitmap(c, &group, kind, err);
        }
        ext_group_put(c->ext, &group);
        if (!ok)
            return false;
    }
    return true;
}

bool ext_check_place_bitmaps(struct ext_checker *c, struct error *err)
{
    if (!each_bitmap(c, false, err))
        return false;
    bool displaced = c->displaced[EXT_BLOCK_BITMAP].total || c->displaced[EXT_INODE_BITMAP].total;
    return !displaced || !c->repair || c->stop || each_bitmap(c, true, err);
}
