/* What the check has found in use: blocks, inodes, links; and reading that asks for no checksum. */
#include "check.h"

#include "alloc.h"

#include <stdlib.h>

static uint8_t full[1];

/* ---- tallies ------------------------------------------------------------------------------------------- */

static struct ext_tally_slot *slot_for(const struct ext_tally *t, uint64_t key)
{
    size_t at = (size_t)((key + 1) * UINT64_C(0x9E3779B97F4A7C15) >> 20) & (t->size - 1);
    while (t->slots[at].key && t->slots[at].key != key + 1)
        at = (at + 1) & (t->size - 1);
    return &t->slots[at];
}

struct ext_tally_slot *ext_tally_slot(struct ext_tally *t, uint64_t key, struct error *err)
{
    if (2 * (t->used + 1) > t->size) {
        struct ext_tally grown = {.size = t->size ? t->size * 2 : 256, .used = t->used};
        grown.slots = mem_array(grown.size, sizeof *grown.slots, err);
        if (!grown.slots)
            return NULL;
        for (size_t i = 0; i < t->size; i++)
            if (t->slots[i].key)
                *slot_for(&grown, t->slots[i].key - 1) = t->slots[i];
        free(t->slots);
        *t = grown;
    }
    struct ext_tally_slot *slot = slot_for(t, key);
    if (!slot->key) {
        slot->key = key + 1;
        t->used++;
    }
    return slot;
}

const struct ext_tally_slot *ext_tally_find(const struct ext_tally *t, uint64_t key)
{
    const struct ext_tally_slot *slot = t->size ? slot_for(t, key) : NULL;
    return slot && slot->key ? slot : NULL;
}

void ext_tally_free(struct ext_tally *t)
{
    free(t->slots);
    *t = (struct ext_tally){0};
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

/* Bits of one group, to be changed. */
static uint8_t *group_bits(struct ext_checker *c, uint32_t group, struct error *err)
{
    uint32_t size = c->ext->block_size;
    if (!c->blocks[group])
        c->blocks[group] = mem_new(size, err);
    else if (c->blocks[group] == full) {
        uint8_t *bits = mem_new(size, err);
        if (!bits)
            return NULL;
        ext_bits_fill(bits, 0, ext_group_clusters(c->ext, group), true);
        c->blocks[group] = bits;
    }
    return c->blocks[group];
}

static bool claim_in_group(struct ext_checker *c, uint32_t group, uint32_t from, uint32_t end,
                           struct error *err)
{
    const struct ext_fs *ext = c->ext;
    uint64_t first = ext_group_first_block(ext, group);
    uint32_t clusters = ext_group_clusters(ext, group), at = from;
    if (c->blocks[group] == full)
        return ranges_add(&c->dup, first + ((uint64_t)from << ext->cluster_bits),
                          (uint64_t)(end - from) << ext->cluster_bits, err);
    uint8_t *bits = group_bits(c, group, err);
    if (!bits)
        return false;
    while ((at = ext_bits_next_set(bits, at, end)) < end) {
        uint32_t stop = ext_bits_next_clear(bits, at, end);
        if (!ranges_add(&c->dup, first + ((uint64_t)at << ext->cluster_bits),
                        (uint64_t)(stop - at) << ext->cluster_bits, err))
            return false;
        at = stop;
    }
    ext_bits_fill(bits, from, end, true);
    if (ext_bits_next_clear(bits, 0, clusters) == clusters) {
        free(bits);
        c->blocks[group] = full;
    }
    return true;
}

bool ext_check_mark(struct ext_checker *c, uint64_t start, uint64_t len, struct error *err)
{
    const struct ext_fs *ext = c->ext;
    uint64_t end = MIN_OF(start + len, ext->blocks);
    start = MAX_OF(start, ext->first_data_block);
    while (start < end) {
        uint32_t group = ext_group_of_block(ext, start);
        uint64_t first = ext_group_first_block(ext, group);
        uint64_t stop = MIN_OF(end, first + ext_group_blocks(ext, group));
        uint8_t *bits = group_bits(c, group, err);
        if (!bits)
            return false;
        ext_bits_fill(bits, (uint32_t)((start - first) >> ext->cluster_bits),
                      (uint32_t)((stop - 1 - first) >> ext->cluster_bits) + 1, true);
        start = stop;
    }
    return true;
}

bool ext_check_claim(struct ext_checker *c, uint64_t start, uint64_t len, struct error *err)
{
    const struct ext_fs *ext = c->ext;
    uint64_t end = start + len;
    while (start < end) {
        uint32_t group = ext_group_of_block(ext, start);
        uint64_t first = ext_group_first_block(ext, group);
        uint64_t stop = MIN_OF(end, first + ext_group_blocks(ext, group));
        if (!claim_in_group(c, group, (uint32_t)((start - first) >> ext->cluster_bits),
                            (uint32_t)((stop - 1 - first) >> ext->cluster_bits) + 1, err))
            return false;
        start = stop;
    }
    return true;
}

bool ext_check_unclaim(struct ext_checker *c, uint64_t block, struct error *err)
{
    uint32_t group = ext_group_of_block(c->ext, block);
    uint32_t at = (uint32_t)((block - ext_group_first_block(c->ext, group)) >> c->ext->cluster_bits);
    uint8_t *bits = group_bits(c, group, err);
    if (!bits)
        return false;
    ext_bits_fill(bits, at, at + 1, false);
    return true;
}

void ext_check_block_bits(const struct ext_checker *c, uint32_t group, uint8_t *bits)
{
    const struct ext_fs *ext = c->ext;
    uint32_t clusters = ext_group_clusters(ext, group);
    if (c->blocks[group] && c->blocks[group] != full)
        memcpy(bits, c->blocks[group], ext->block_size);
    else
        memset(bits, c->blocks[group] == full ? 0xFF : 0, ext->block_size);
    ext_bits_fill(bits, clusters, ext->block_size * 8, true);
}

bool ext_check_block_used(const struct ext_checker *c, uint64_t block)
{
    uint32_t group = ext_group_of_block(c->ext, block);
    const uint8_t *bits = c->blocks[group];
    uint64_t at = (block - ext_group_first_block(c->ext, group)) >> c->ext->cluster_bits;
    return bits && (bits == full || ext_bit(bits, (uint32_t)at));
}

bool ext_check_may_hold(const struct ext_checker *c, uint64_t start, uint64_t len)
{
    return ext_blocks_valid(c->ext, start, len) && !ranges_overlaps(&c->fixed, start, len);
}

bool ext_check_may_own(const struct ext_checker *c, uint64_t start, uint64_t len)
{
    return ext_blocks_valid(c->ext, start, len) && !ranges_overlaps(&c->meta, start, len);
}

/* ---- inodes -------------------------------------------------------------------------------------------- */

static size_t bitmap_bytes(const struct ext_checker *c)
{
    return ((size_t)c->ext->inodes_per_group / 8 + 8) & ~(size_t)7;
}

struct inode_at {
    uint8_t *used, *dirs, *links;
    uint32_t index;
};

static bool inode_at(const struct ext_checker *c, uint32_t ino, struct inode_at *at)
{
    if (ino == 0 || ino > c->ext->inodes)
        return false;
    uint8_t *page = c->inodes[ext_group_of_inode(c->ext, ino)];
    if (!page)
        return false;
    at->used = page;
    at->dirs = page + bitmap_bytes(c);
    at->links = at->dirs + bitmap_bytes(c);
    at->index = (ino - 1) % c->ext->inodes_per_group;
    return true;
}

bool ext_check_set_inode(struct ext_checker *c, uint32_t ino, bool directory, struct error *err)
{
    uint8_t **page = &c->inodes[ext_group_of_inode(c->ext, ino)];
    struct inode_at at;
    if (!*page && !(*page = mem_new(2 * bitmap_bytes(c) + c->ext->inodes_per_group, err)))
        return false;
    if (!inode_at(c, ino, &at))
        return fail(err, E_DAMAGED, "inode %u does not exist", ino);
    ext_bits_fill(at.used, at.index, at.index + 1, true);
    ext_bits_fill(at.dirs, at.index, at.index + 1, directory);
    return true;
}

void ext_check_clear_inode(struct ext_checker *c, uint32_t ino)
{
    struct inode_at at;
    if (inode_at(c, ino, &at)) {
        ext_bits_fill(at.used, at.index, at.index + 1, false);
        ext_bits_fill(at.dirs, at.index, at.index + 1, false);
    }
}

bool ext_check_inode_used(const struct ext_checker *c, uint32_t ino)
{
    struct inode_at at;
    return inode_at(c, ino, &at) && ext_bit(at.used, at.index);
}

bool ext_check_inode_is_dir(const struct ext_checker *c, uint32_t ino)
{
    struct inode_at at;
    return inode_at(c, ino, &at) && ext_bit(at.dirs, at.index);
}

void ext_check_inode_bits(const struct ext_checker *c, uint32_t group, uint8_t *bits)
{
    const struct ext_fs *ext = c->ext;
    memset(bits, 0, ext->block_size);
    if (c->inodes[group])
        memcpy(bits, c->inodes[group], MIN_OF(bitmap_bytes(c), ext->block_size));
    ext_bits_fill(bits, ext->inodes_per_group, ext->block_size * 8, true);
}

uint32_t ext_check_group_dirs(const struct ext_checker *c, uint32_t group)
{
    uint8_t *page = c->inodes[group];
    return page ? ext_bits_count(page + bitmap_bytes(c), 0, c->ext->inodes_per_group) : 0;
}

bool ext_check_add_link(struct ext_checker *c, uint32_t ino, struct error *err)
{
    struct inode_at at;
    if (!inode_at(c, ino, &at))
        return true;
    if (at.links[at.index] < UINT8_MAX) {
        at.links[at.index]++;
        return true;
    }
    struct ext_tally_slot *slot = ext_tally_slot(&c->links, ino, err);
    if (slot)
        slot->count++;
    return slot != NULL;
}

void ext_check_drop_link(struct ext_checker *c, uint32_t ino)
{
    struct inode_at at;
    struct ext_tally_slot *more = (struct ext_tally_slot *)(uintptr_t)ext_tally_find(&c->links, ino);
    if (!inode_at(c, ino, &at))
        return;
    if (more && more->count)
        more->count--;
    else if (at.links[at.index])
        at.links[at.index]--;
}

uint32_t ext_check_links(const struct ext_checker *c, uint32_t ino)
{
    struct inode_at at;
    if (!inode_at(c, ino, &at))
        return 0;
    const struct ext_tally_slot *more = ext_tally_find(&c->links, ino);
    return at.links[at.index] + (more ? more->count : 0);
}

struct ext_check_dir *ext_check_find_dir(const struct ext_checker *c, uint32_t ino)
{
    size_t low = 0, high = c->dir_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->dirs[middle].ino == ino)
            return &c->dirs[middle];
        if (c->dirs[middle].ino < ino)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void ext_check_reset(struct ext_checker *c)
{
    for (uint32_t group = 0; group < c->ext->groups; group++) {
        if (c->blocks[group] != full)
            free(c->blocks[group]);
        free(c->inodes[group]);
        c->blocks[group] = c->inodes[group] = NULL;
    }
    ranges_clear(&c->fixed);
    ranges_clear(&c->meta);
    ranges_clear(&c->dup);
    ext_tally_free(&c->links);
    ext_tally_free(&c->xattrs);
    ext_tally_free(&c->values);
    ext_tally_free(&c->orphans);
    ranges_clear(&c->displaced[0]);
    ranges_clear(&c->displaced[1]);
    ranges_clear(&c->displaced_tables);
    ranges_clear(&c->lost_tables);
    c->dir_count = 0;
    c->files = c->fragmented = 0;
}

/* ---- reading without trust ----------------------------------------------------------------------------- */

bool ext_check_group(struct ext_checker *c, uint32_t group, struct ext_group *out, struct error *err)
{
    struct ext_fs *ext = c->ext;
    uint32_t index = group % ext->descs_per_block;
    out->number = group;
    if (!ext_block_get(ext, ext_desc_block(ext, group / ext->descs_per_block), EXT_TAG_DESC, group - index,
                       &out->block, err))
        return false;
    out->raw = out->block->data + (size_t)index * ext->desc_size;
    return true;
}

bool ext_check_inode(struct ext_checker *c, uint32_t ino, struct ext_inode *out, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_group group;
    if (ino == 0 || ino > ext->inodes)
        return fail(err, E_DAMAGED, "inode %u does not exist", ino);
    if (!ext_check_group(c, ext_group_of_inode(ext, ino), &group, err))
        return false;
    uint32_t number = (ino - 1) % ext->inodes_per_group, index = number % ext->inodes_per_block;
    uint64_t block = ext_group_inode_table(ext, group.raw) + number / ext->inodes_per_block;
    ext_group_put(ext, &group);
    if (!ext_block_get(ext, block, EXT_TAG_INODES, ino - index, &out->block, err))
        return because(err, "inode %u", ino);
    out->ino = ino;
    out->raw = out->block->data + (size_t)index * ext->inode_size;
    return true;
}

uint64_t ext_check_inode_off(const struct ext_inode *inode)
{
    return inode->block->off + (uint64_t)(inode->raw - inode->block->data);
}

bool ext_check_stale(const struct cache_block *block, uint32_t index, uint32_t count)
{
    return block->parts >> (count > 64 ? index / (count / 64) : index) & 1;
}
