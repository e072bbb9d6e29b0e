/*
 * Which blocks to take. Everything counts in clusters of the block bitmap (blocks, without bigalloc).
 *
 * Order of search for a run: at the goal itself; in the goal's group behind the goal, then before it; in the
 * following groups, beginning where the last search ended when the goal's group is full. The first run that
 * holds all that is wanted is taken; after a bounded search the longest one seen. Space freed since the last
 * commit counts as taken until nothing else is left.
 */
#include "bytes.h"
#include "ext.h"

/* Groups searched for a run of the full length before a shorter one will do. */
enum { GOOD_ENOUGH_GROUPS = 32 };

struct search {
    struct ext_fs *ext;
    uint32_t want; /* clusters */
    uint32_t need; /* clusters of a run that is good enough */
    bool with_freed;
    uint32_t best_group, best_at, best_len;
};

static uint64_t cluster_block(const struct ext_fs *ext, uint32_t group, uint32_t cluster)
{
    return ext_group_first_block(ext, group) + ((uint64_t)cluster << ext->cluster_bits);
}

enum write_class ext_write_class(const struct ext_fs *ext, uint64_t start, uint64_t len)
{
    return ranges_contains(&ext->fresh, start, len) ? WRITE_FRESH : WRITE_UPDATE;
}

void ext_alloc_forget(struct ext_fs *ext)
{
    ext->block_group = ext->inode_group = ext->dir_group = 0;
    ext->hint_ino = 0;
    memset(ext->cursors, 0, sizeof ext->cursors);
    ranges_clear(&ext->fenced);
}

/* Where small files of a flex group were put last, so that they follow each other. */
static uint64_t *cursor_of(struct ext_fs *ext, uint32_t group)
{
    return &ext->cursors[group / ext->flex_groups % EXT_CURSORS];
}

uint64_t ext_inode_goal(const struct ext_fs *ext, uint32_t ino)
{
    uint32_t group = ext_group_of_inode(ext, ino);
    if (ext->flex_groups >= 4)
        group -= group % ext->flex_groups;
    uint64_t cursor = ext->cursors[group / ext->flex_groups % EXT_CURSORS];
    if (cursor != 0 && ext_group_of_block(ext, cursor) / ext->flex_groups == group / ext->flex_groups)
        return cursor;
    return ext_group_first_block(ext, group);
}

/* Set the bits of some blocks in a copy of the bitmap. */
static const uint8_t *hide(struct ext_fs *ext, const struct ranges *blocks, uint32_t group,
                           const uint8_t *bits)
{
    uint64_t first = ext_group_first_block(ext, group), end = first + ext_group_blocks(ext, group);
    struct range run;
    if (!ranges_next(blocks, first, &run) || run.start >= end)
        return bits;
    if (bits != ext->scratch)
        memcpy(ext->scratch, bits, ext->block_size);
    do {
        uint64_t to = MIN_OF(run.start + run.len, end);
        ext_bits_fill(ext->scratch, (uint32_t)((run.start - first) >> ext->cluster_bits),
                      (uint32_t)((to - 1 - first) >> ext->cluster_bits) + 1, true);
        if (to == end)
            break;
    } while (ranges_next(blocks, run.start + run.len, &run) && run.start < end);
    return ext->scratch;
}

/* What must not be handed out: fenced blocks, and those freed since the commit as long as others are left. */
static const uint8_t *hide_freed(struct search *search, uint32_t group, const uint8_t *bits)
{
    bits = hide(search->ext, &search->ext->fenced, group, bits);
    return search->with_freed ? bits : hide(search->ext, &search->ext->freed, group, bits);
}

/* True when a run that is long enough was found in from..end; else the best is kept. */
static bool search_bits(struct search *search, uint32_t group, const uint8_t *bits, uint32_t from,
                        uint32_t end)
{
    while (from < end) {
        uint32_t at = ext_bits_next_clear(bits, from, end);
        if (at >= end)
            return false;
        uint32_t stop = ext_bits_next_set(bits, at, MIN_OF(end, at + search->want));
        if (stop - at > search->best_len) {
            search->best_group = group;
            search->best_at = at;
            search->best_len = stop - at;
        }
        if (search->best_len >= search->need)
            return true;
        from = stop;
    }
    return false;
}

static bool search_group(struct search *search, uint32_t group, uint32_t goal, bool *found, struct error *err)
{
    struct ext_fs *ext = search->ext;
    struct ext_group desc;
    struct cache_block *block;
    const uint8_t *bits;
    uint32_t end = ext_group_clusters(ext, group);
    *found = false;
    if (!ext_group_get(ext, group, &desc, err))
        return false;
    uint64_t free_count = ext_group_free_blocks_count(ext, desc.raw);
    ext_group_put(ext, &desc);
    if (free_count == 0)
        return true;
    if (!ext_bitmap_peek(ext, EXT_BLOCK_BITMAP, group, ext->scratch, &bits, &block, err))
        return false;
    bits = hide_freed(search, group, bits);
    *found =
        search_bits(search, group, bits, goal, end) || search_bits(search, group, bits, 0, MIN_OF(goal, end));
    ext_block_put(ext, block);
    return true;
}

/* The free run that begins exactly at the goal. */
static bool search_goal(struct search *search, uint32_t group, uint32_t goal, struct error *err)
{
    struct ext_fs *ext = search->ext;
    struct cache_block *block;
    const uint8_t *bits;
    if (!ext_bitmap_peek(ext, EXT_BLOCK_BITMAP, group, ext->scratch, &bits, &block, err))
        return false;
    bits = hide_freed(search, group, bits);
    uint32_t end = MIN_OF(ext_group_clusters(ext, group), goal + search->want);
    uint32_t stop = ext_bits_next_set(bits, goal, end);
    if (stop > goal) {
        search->best_group = group;
        search->best_at = goal;
        search->best_len = stop - goal;
    }
    ext_block_put(ext, block);
    return true;
}

static bool search_from(struct search *search, uint32_t first, uint32_t goal, struct error *err)
{
    struct ext_fs *ext = search->ext;
    bool found;
    if (!search_group(search, first, goal, &found, err) || found)
        return found;
    uint32_t start = search->best_len == 0 ? ext->block_group : first;
    for (uint32_t i = 0; i < ext->groups; i++) {
        if (i >= GOOD_ENOUGH_GROUPS && search->best_len > 0)
            break;
        uint32_t group = (uint32_t)(((uint64_t)start + i) % ext->groups);
        if (!search_group(search, group, 0, &found, err))
            return false;
        if (found)
            break;
        if (i % 4096 == 4095 && !interrupt_check(err))
            return false;
    }
    if (search->best_len == 0)
        return fail(err, E_NOSPACE, "no free block is left");
    ext->block_group = search->best_group;
    return true;
}

/* Change bits and counts of clusters of one group. */
static bool change_clusters(struct ext_fs *ext, uint32_t group, uint32_t at, uint32_t len, bool take,
                            struct error *err)
{
    struct cache_block *block;
    struct ext_group desc;
    if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, group, &block, err))
        return false;
    if (!ext_group_get(ext, group, &desc, err)) {
        ext_block_put(ext, block);
        return false;
    }
    uint64_t count = ext_group_free_blocks_count(ext, desc.raw);
    bool ok = !take || count >= len ||
              damaged(err, ext->dev, desc.block->off,
                      "group %u has more free blocks than its descriptor says", group);
    if (ok) {
        ext_bits_fill(block->data, at, at + len, take);
        ext_group_set_free_blocks_count(ext, desc.raw, take ? count - len : count + len);
        ext_group_dirty(ext, &desc);
        uint64_t blocks = (uint64_t)len << ext->cluster_bits, total = ext_free_blocks(ext);
        ext_set_free_blocks(ext, take ? total - MIN_OF(total, blocks) : total + blocks);
    }
    ext_group_put(ext, &desc);
    ext_block_put(ext, block);
    return ok;
}

/* The run is taken: it may be written directly unless the committed state refers to it. */
static bool enter_fresh(struct ext_fs *ext, uint64_t start, uint64_t len, struct error *err)
{
    return ranges_overlaps(&ext->freed, start, len) || ranges_add(&ext->fresh, start, len, err);
}

/* What is looked for and where; the goal becomes one inside the volume. */
static struct search search_new(struct ext_fs *ext, uint64_t goal, uint64_t want, uint32_t *group,
                                uint32_t *at)
{
    uint64_t clusters = (want + ((uint64_t)1 << ext->cluster_bits) - 1) >> ext->cluster_bits;
    struct search search = {.ext = ext};
    search.want = (uint32_t)MIN_OF(MAX_OF(clusters, 1), ext->clusters_per_group);
    search.need = MIN_OF(search.want, MAX_OF(ext->clusters_per_group / 2, 1));
    if (goal < ext->first_data_block || goal >= ext->blocks)
        goal = ext->first_data_block;
    *group = ext_group_of_block(ext, goal);
    *at = (uint32_t)((goal - ext_group_first_block(ext, *group)) >> ext->cluster_bits);
    return search;
}

static bool allocate(struct ext_fs *ext, uint64_t goal, uint64_t want, bool at_goal, struct ext_run *out,
                     struct error *err)
{
    uint32_t group, at;
    struct search search = search_new(ext, goal, want, &group, &at);
    if (at_goal && !search_goal(&search, group, at, err))
        return false;
    if (search.best_len == 0 && !search_from(&search, group, at, err)) {
        if (err->kind != E_NOSPACE || !ext->freed.root)
            return false;
        search.with_freed = true;
        if (!search_from(&search, group, at, err))
            return false;
    }
    if (!change_clusters(ext, search.best_group, search.best_at, search.best_len, true, err))
        return false;
    out->start = cluster_block(ext, search.best_group, search.best_at);
    out->len = MIN_OF((uint64_t)search.best_len << ext->cluster_bits, ext->blocks - out->start);
    *cursor_of(ext, search.best_group) = MIN_OF(out->start + out->len, ext->blocks - 1);
    return enter_fresh(ext, out->start, out->len, err);
}

bool ext_blocks_reserve(struct ext_fs *ext, uint64_t goal, uint64_t want, uint64_t *at, struct error *err)
{
    uint32_t group, index;
    struct search search = search_new(ext, goal, want, &group, &index);
    *at = goal;
    if (!search_from(&search, group, index, err))
        return err->kind == E_NOSPACE;
    *at = cluster_block(ext, search.best_group, search.best_at);
    return true;
}

bool ext_blocks_alloc(struct ext_fs *ext, uint64_t goal, uint64_t want, struct ext_run *out,
                      struct error *err)
{
    return allocate(ext, goal, want, false, out, err);
}

bool ext_blocks_extend(struct ext_fs *ext, uint64_t goal, uint64_t want, struct ext_run *out,
                       struct error *err)
{
    return allocate(ext, goal, want, true, out, err);
}

/* Split start..start+len by groups, and hand each piece to the callback in clusters. */
typedef bool piece_fn(struct ext_fs *, uint32_t group, uint32_t at, uint32_t len, struct error *);

static bool each_piece(struct ext_fs *ext, uint64_t start, uint64_t len, piece_fn *fn, struct error *err)
{
    if (!ext_blocks_valid(ext, start, len))
        return fail(err, E_DAMAGED, "blocks %llu+%llu are not inside the volume", (unsigned long long)start,
                    (unsigned long long)len);
    while (len > 0) {
        uint32_t group = ext_group_of_block(ext, start);
        uint64_t first = ext_group_first_block(ext, group), end = first + ext_group_blocks(ext, group);
        uint64_t step = MIN_OF(len, end - start);
        uint32_t at = (uint32_t)((start - first) >> ext->cluster_bits);
        uint32_t stop = (uint32_t)((start + step - 1 - first) >> ext->cluster_bits) + 1;
        if (!fn(ext, group, at, stop - at, err))
            return false;
        start += step;
        len -= step;
    }
    return true;
}

static bool take_piece(struct ext_fs *ext, uint32_t group, uint32_t at, uint32_t len, struct error *err)
{
    struct cache_block *block;
    if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, group, &block, err))
        return false;
    bool is_free = ext_bits_next_set(block->data, at, at + len) == at + len;
    ext_block_put(ext, block);
    if (!is_free)
        return fail(err, E_NOSPACE, "blocks near %llu are in use",
                    (unsigned long long)cluster_block(ext, group, at));
    return change_clusters(ext, group, at, len, true, err);
}

bool ext_blocks_take(struct ext_fs *ext, uint64_t start, uint64_t len, struct error *err)
{
    return each_piece(ext, start, len, take_piece, err);
}

/* Blocks for contents never are the group's own bitmaps, table or copies. */
static bool overlaps_metadata(struct ext_fs *ext, const struct ext_group *desc, uint64_t start, uint64_t len)
{
    const struct ext_run zones[] = {
        {ext_group_block_bitmap(ext, desc->raw), 1},
        {ext_group_inode_bitmap(ext, desc->raw), 1},
        {ext_group_inode_table(ext, desc->raw), ext->table_blocks},
    };
    for (size_t i = 0; i < ARRAY_LEN(zones); i++)
        if (start < zones[i].start + zones[i].len && zones[i].start < start + len)
            return true;
    return false;
}

static bool free_piece(struct ext_fs *ext, uint32_t group, uint32_t at, uint32_t len, struct error *err)
{
    struct cache_block *block;
    struct ext_group desc;
    uint64_t start = cluster_block(ext, group, at), count = (uint64_t)len << ext->cluster_bits;
    if (!ext_group_get(ext, group, &desc, err))
        return false;
    bool metadata = overlaps_metadata(ext, &desc, start, ext->cluster_bits ? 0 : count);
    ext_group_put(ext, &desc);
    if (metadata)
        return fail(err, E_DAMAGED, "blocks %llu+%llu are metadata of group %u, not to be freed",
                    (unsigned long long)start, (unsigned long long)count, group);
    if (!ext_bitmap_edit(ext, EXT_BLOCK_BITMAP, group, &block, err))
        return false;
    bool used = ext_bits_next_clear(block->data, at, at + len) == at + len;
    ext_block_put(ext, block);
    if (!used)
        return fail(err, E_DAMAGED, "blocks %llu+%llu are to be freed, but some of them are free already",
                    (unsigned long long)start, (unsigned long long)count);
    return ranges_add(&ext->freed, start, count, err) && change_clusters(ext, group, at, len, false, err);
}

static bool free_run(struct ext_fs *ext, uint64_t start, uint64_t len, bool cached, struct error *err)
{
    if (len == 0)
        return true;
    if (!each_piece(ext, start, len, free_piece, err) || !ranges_remove(&ext->fresh, start, len, err))
        return false;
    if (cached)
        cache_forget_range(ext->cache, ext_offset(ext, start), ext_offset(ext, len));
    return true;
}

/* What has other owners is only given up. */
static bool free_unshared(struct ext_fs *ext, uint64_t start, uint64_t len, bool cached, struct error *err)
{
    uint64_t end = start + len;
    struct range run;
    while (start < end && ranges_next(&ext->kept, start, &run) && run.start < end) {
        if (!free_run(ext, start, run.start - start, cached, err))
            return false;
        start = run.start + run.len;
    }
    return start >= end || free_run(ext, start, end - start, cached, err);
}

bool ext_contents_free(struct ext_fs *ext, uint64_t start, uint64_t len, struct error *err)
{
    return free_unshared(ext, start, len, false, err);
}

bool ext_blocks_free(struct ext_fs *ext, uint64_t start, uint64_t len, struct error *err)
{
    return free_unshared(ext, start, len, true, err);
}
