/* Room for the volume's own blocks: what is planned, and how it is carried out. */
#include "relocate.h"
#include "resize.h"

#include "alloc.h"

#include <stdlib.h>

/* ---- parts of groups ---- */

struct ext_run ext_part_of(const struct ext_fs *ext, const uint8_t *desc, enum ext_part part)
{
    if (part == EXT_PART_BLOCK_BITMAP)
        return (struct ext_run){ext_group_block_bitmap(ext, desc), 1};
    if (part == EXT_PART_INODE_BITMAP)
        return (struct ext_run){ext_group_inode_bitmap(ext, desc), 1};
    return (struct ext_run){ext_group_inode_table(ext, desc), ext->table_blocks};
}

void ext_part_set(const struct ext_fs *ext, uint8_t *desc, enum ext_part part, uint64_t block)
{
    if (part == EXT_PART_BLOCK_BITMAP)
        ext_group_set_block_bitmap(ext, desc, block);
    else if (part == EXT_PART_INODE_BITMAP)
        ext_group_set_inode_bitmap(ext, desc, block);
    else
        ext_group_set_inode_table(ext, desc, block);
}

/* ---- the plan ---- */

static bool add_bad(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    struct ext_relocation *rel = arg;
    const struct ext_mapping *m = &visit->mapping;
    return !visit->data || m->start == 0 || ranges_add(&rel->bad, m->start, m->len, err);
}

bool ext_relocation_begin(struct ext_fs *ext, struct ext_relocation *rel, struct error *err)
{
    *rel = (struct ext_relocation){.ext = ext, .table_blocks = ext->table_blocks, .groups = ext->groups};
    rel->places = mem_array(ext->groups, sizeof *rel->places, err);
    return rel->places && ext_bad_blocks_walk(ext, add_bad, rel, err) &&
           ext_own_blocks(ext, &rel->fixed, err) && ranges_add_all(&rel->fixed, &rel->bad, err);
}

void ext_relocation_end(struct ext_relocation *rel)
{
    ranges_clear(&rel->need);
    ranges_clear(&rel->gone);
    ranges_clear(&rel->fixed);
    ranges_clear(&rel->bad);
    if (rel->ext)
        ranges_clear(&rel->ext->fenced);
    free(rel->places);
    rel->places = NULL;
}

bool ext_relocation_need(struct ext_relocation *rel, uint64_t start, uint64_t len, struct error *err)
{
    struct range bad;
    if (len == 0)
        return true;
    if (!range_inside(start, len, rel->ext->blocks))
        return fail(err, E_NOSPACE, "the last group is too short");
    if (ranges_next(&rel->bad, start, &bad) && bad.start < start + len)
        return fail(err, E_UNSUPPORTED, "block %llu is needed, but it is in the list of bad blocks",
                    (unsigned long long)bad.start);
    return ranges_add(&rel->need, start, len, err) && ranges_add(&rel->fixed, start, len, err);
}

bool ext_relocation_cut(struct ext_relocation *rel, uint32_t groups, uint64_t blocks, struct error *err)
{
    uint64_t len = rel->ext->blocks - blocks;
    rel->groups = groups;
    return ranges_add(&rel->gone, blocks, len, err) && ranges_add(&rel->fixed, blocks, len, err);
}

bool ext_relocation_gap(const struct ext_relocation *rel, uint64_t from, uint64_t end, uint64_t n,
                        uint64_t *at)
{
    struct range taken;
    end = MIN_OF(end, rel->ext->blocks);
    from = MAX_OF(from, rel->ext->first_data_block);
    while (from < end && end - from >= n) {
        if (!ranges_next(&rel->fixed, from, &taken) || taken.start >= from + n) {
            *at = from;
            return true;
        }
        from = taken.start + taken.len;
    }
    return false;
}

/* A gap of a group that no file lies in. */
static bool empty_gap(const struct ext_relocation *rel, uint32_t group, uint64_t n, uint64_t *at, bool *found,
                      struct error *err)
{
    struct ext_fs *ext = rel->ext;
    uint8_t *bits = mem_new(ext->block_size, err);
    bool ok = bits && ext_bitmap_read(ext, EXT_BLOCK_BITMAP, group, bits, err);
    uint32_t from = 0, stop, end = ext_group_clusters(ext, group);
    *found = false;
    while (ok && !*found && (from = ext_bits_next_clear(bits, from, end)) < end) {
        stop = ext_bits_next_set(bits, from, end);
        uint64_t first = ext_group_first_block(ext, group);
        *found = ext_relocation_gap(rel, first + ((uint64_t)from << ext->cluster_bits),
                                    first + ((uint64_t)stop << ext->cluster_bits), n, at);
        from = stop;
    }
    free(bits);
    return ok;
}

bool ext_relocation_put(struct ext_relocation *rel, uint32_t group, enum ext_part part, uint64_t at,
                        struct error *err)
{
    uint64_t len = part == EXT_PART_TABLE ? rel->table_blocks : 1;
    rel->places[group].part[part] = at;
    return ext_relocation_need(rel, at, len, err);
}

bool ext_relocation_place(struct ext_relocation *rel, uint32_t group, enum ext_part part, struct error *err)
{
    struct ext_fs *ext = rel->ext;
    bool flex = ext_has(ext, EXT_FLEX_BG), found = false;
    uint64_t n = part == EXT_PART_TABLE ? rel->table_blocks : 1, at = 0;
    uint64_t first = ext_group_first_block(ext, group), end = first + ext_group_blocks(ext, group);
    uint32_t tries = flex ? MIN_OF(ext->flex_groups, rel->groups) : 1;
    for (uint32_t i = 0; i < tries && !found; i++)
        if (!interrupt_check(err) || !empty_gap(rel, (group + i) % rel->groups, n, &at, &found, err))
            return false;
    if (!found && !ext_relocation_gap(rel, first, flex ? ext->blocks : end, n, &at) &&
        !(flex && ext_relocation_gap(rel, 0, ext->blocks, n, &at)))
        return fail(err, E_NOSPACE, "no room for the %s of group %u",
                    part == EXT_PART_TABLE ? "inode table" : "bitmaps", group);
    return ext_relocation_put(rel, group, part, at, err);
}

bool ext_relocation_plan(struct ext_relocation *rel, struct error *err)
{
    struct ext_fs *ext = rel->ext;
    struct ranges doomed = {0};
    bool ok = ranges_copy(&rel->need, &doomed, err) && ranges_add_all(&doomed, &rel->gone, err);
    for (uint32_t i = 0; ok && i < rel->groups; i++) {
        struct ext_group group;
        ok = interrupt_check(err) && ext_group_get(ext, i, &group, err);
        if (!ok)
            break;
        for (enum ext_part part = 0; ok && part < EXT_PARTS; part++) {
            struct ext_run old = ext_part_of(ext, group.raw, part);
            if (ranges_overlaps(&doomed, old.start, old.len))
                ok = ext_relocation_place(rel, i, part, err);
        }
        ext_group_put(ext, &group);
    }
    ranges_clear(&doomed);
    return ok;
}

/* ---- carrying it out ---- */

/* Bad blocks behind the end leave their list, and the blocks of the list itself go elsewhere. */
static bool leave_list(struct ext_relocation *rel, struct error *err)
{
    struct ranges doomed = {0};
    bool ok = ranges_copy(&rel->gone, &doomed, err) && ranges_add_all(&doomed, &rel->need, err) &&
              ext_resize_bad_blocks(rel->ext, &doomed, err);
    ranges_clear(&doomed);
    return ok;
}

/* Files leave whole clusters. */
static bool empty_blocks(struct ext_relocation *rel, struct error *err)
{
    struct ext_fs *ext = rel->ext;
    struct ranges doomed = {0};
    uint64_t cluster = (uint64_t)1 << ext->cluster_bits;
    struct range run;
    bool ok = ranges_copy(&rel->gone, &doomed, err);
    for (uint64_t at = 0; ok && ranges_next(&rel->need, at, &run); at = run.start + run.len) {
        uint64_t start = round_down(run.start, cluster),
                 end = MIN_OF(round_up(run.start + run.len, cluster), ext->blocks);
        ok = ranges_add(&doomed, start, end - start, err);
    }
    ok = ok && ranges_add_all(&ext->fenced, &doomed, err) && leave_list(rel, err) &&
         ext_resize_move_files(ext, rel->groups, &doomed, err);
    ranges_clear(&doomed);
    return ok;
}

/* Set the bits of start..start+len, which lie in one group, whether or not they are set already. */
static bool hold(struct ext_fs *ext, uint32_t number, uint64_t start, uint64_t len, struct error *err)
{
    struct cache_block *bits;
    struct ext_group group;
    uint64_t first = ext_group_first_block(ext, number);
    uint32_t from = (uint32_t)((start - first) >> ext->cluster_bits),
             end = (uint32_t)((start + len - 1 - first) >> ext->cluster_bits) + 1;
    if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, number, &bits, err))
        return false;
    uint32_t fresh = end - from - ext_bits_count(bits->data, from, end);
    ext_bits_fill(bits->data, from, end, true);
    ext_block_put(ext, bits);
    if (!ext_group_get(ext, number, &group, err))
        return false;
    uint64_t count = ext_group_free_blocks_count(ext, group.raw);
    ext_group_set_free_blocks_count(ext, group.raw, count - MIN_OF(count, fresh));
    ext_group_dirty(ext, &group);
    ext_group_put(ext, &group);
    return true;
}

static bool hold_blocks(struct ext_relocation *rel, struct error *err)
{
    struct ext_fs *ext = rel->ext;
    struct range run;
    for (uint64_t at = 0; ranges_next(&rel->need, at, &run);) {
        uint32_t group = ext_group_of_block(ext, run.start);
        uint64_t end = ext_group_first_block(ext, group) + ext_group_blocks(ext, group);
        run.len = MIN_OF(run.len, end - run.start);
        if (!interrupt_check(err) || !hold(ext, group, run.start, run.len, err))
            return false;
        at = run.start + run.len;
    }
    return true;
}

/* A bitmap that was never written follows from the descriptor: it is written before that changes. */
static bool fix_bitmap(struct ext_relocation *rel, const struct ext_group *group, struct error *err)
{
    struct ext_fs *ext = rel->ext;
    uint64_t first = ext_group_first_block(ext, group->number), len = ext_group_blocks(ext, group->number);
    for (enum ext_part part = 0; part < EXT_PARTS; part++) {
        struct ext_run old = ext_part_of(ext, group->raw, part);
        struct cache_block *bits;
        if (!rel->places[group->number].part[part] || old.start + old.len <= first ||
            old.start >= first + len)
            continue;
        if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, group->number, &bits, err))
            return false;
        ext_block_put(ext, bits);
        break;
    }
    return true;
}

static bool move_parts(struct ext_relocation *rel, struct ext_group *group, uint8_t *buffer,
                       struct error *err)
{
    struct ext_fs *ext = rel->ext;
    for (enum ext_part part = 0; part < EXT_PARTS; part++) {
        uint64_t to = rel->places[group->number].part[part];
        struct ext_run old = ext_part_of(ext, group->raw, part);
        if (to == 0 || (part == EXT_PART_TABLE && rel->table_blocks != ext->table_blocks))
            continue;
        if (!ext_copy_blocks(ext, old.start, to, old.len, buffer, err))
            return false;
        cache_forget_range(ext->cache, ext_offset(ext, old.start), ext_offset(ext, old.len));
        ext_part_set(ext, group->raw, part, to);
        ext_group_dirty(ext, group);
    }
    return true;
}

/* All groups, in two rounds: bitmaps are complete before the first one is copied. */
static bool move_groups(struct ext_relocation *rel, bool copy, struct error *err)
{
    struct ext_fs *ext = rel->ext;
    uint8_t *buffer = mem_new(EXT_COPY_BYTES, err);
    bool ok = buffer != NULL;
    for (uint32_t i = 0; ok && i < rel->groups; i++) {
        struct ext_group group;
        ok = interrupt_check(err) && ext_group_get(ext, i, &group, err);
        if (!ok)
            break;
        ok = copy ? move_parts(rel, &group, buffer, err) : fix_bitmap(rel, &group, err);
        ext_group_put(ext, &group);
    }
    free(buffer);
    return ok && ext_flush(ext, err);
}

bool ext_relocation_run(struct ext_relocation *rel, struct error *err)
{
    return empty_blocks(rel, err) && hold_blocks(rel, err) && move_groups(rel, false, err) &&
           move_groups(rel, true, err);
}

bool ext_relocation_free(struct ext_relocation *rel, const struct ranges *old, struct error *err)
{
    struct ext_fs *ext = rel->ext;
    struct ranges own = {0}, left = {0};
    uint64_t cluster = (uint64_t)1 << ext->cluster_bits, at;
    struct range run;
    bool ok = ext_own_blocks(ext, &own, err) && ranges_add_all(&own, &rel->bad, err);
    for (at = 0; ok && ranges_next(old, at, &run) && run.start < ext->blocks; at = run.start + run.len) {
        uint64_t start = round_down(run.start, cluster), end = round_up(run.start + run.len, cluster);
        ok = ranges_add(&left, start, MIN_OF(end, ext->blocks) - start, err);
    }
    ok = ok && ranges_remove_all(&left, &own, err);
    for (at = 0; ok && ranges_next(&left, at, &run); at = run.start + run.len)
        ok = interrupt_check(err) && ext_free_unshared(ext, &own, run.start, run.len, err);
    ranges_clear(&own);
    ranges_clear(&left);
    return ok;
}
