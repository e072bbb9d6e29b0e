/* Bitmaps of blocks (clusters) and inodes: words, and groups whose bitmap was never written. */
#include "bytes.h"
#include "ext.h"

/* ---- bits ---- */

static uint64_t word_at(const uint8_t *bits, uint32_t word)
{
    return load_le64(bits + (size_t)word * 8);
}

/* First bit in from..end of value `set`. Bitmaps are whole blocks, so whole words can be read. */
static uint32_t next_bit(const uint8_t *bits, uint32_t from, uint32_t end, uint64_t flip)
{
    if (from >= end)
        return end;
    uint32_t word = from / 64;
    uint64_t value = (word_at(bits, word) ^ flip) & ~(uint64_t)0 << from % 64;
    while (value == 0) {
        if (++word * (uint64_t)64 >= end)
            return end;
        value = word_at(bits, word) ^ flip;
    }
    uint32_t at = word * 64 + (uint32_t)__builtin_ctzll(value);
    return MIN_OF(at, end);
}

uint32_t ext_bits_next_set(const uint8_t *bits, uint32_t from, uint32_t end)
{
    return next_bit(bits, from, end, 0);
}

uint32_t ext_bits_next_clear(const uint8_t *bits, uint32_t from, uint32_t end)
{
    return next_bit(bits, from, end, ~(uint64_t)0);
}

uint32_t ext_bits_count(const uint8_t *bits, uint32_t from, uint32_t end)
{
    uint32_t count = 0;
    for (; from < end && from % 64 != 0; from++)
        count += ext_bit(bits, from);
    for (; from + 64 <= end; from += 64)
        count += (uint32_t)__builtin_popcountll(word_at(bits, from / 64));
    for (; from < end; from++)
        count += ext_bit(bits, from);
    return count;
}

static void set_bit(uint8_t *bits, uint32_t at, bool set)
{
    uint8_t mask = (uint8_t)(1 << at % 8);
    bits[at / 8] = set ? bits[at / 8] | mask : bits[at / 8] & (uint8_t)~mask;
}

void ext_bits_fill(uint8_t *bits, uint32_t from, uint32_t end, bool set)
{
    for (; from < end && from % 8 != 0; from++)
        set_bit(bits, from, set);
    if (from + 8 <= end) {
        memset(bits + from / 8, set ? 0xFF : 0, (end - from) / 8);
        from += (end - from) / 8 * 8;
    }
    for (; from < end; from++)
        set_bit(bits, from, set);
}

/* ---- groups that were never written ---- */

static void mark_blocks(const struct ext_fs *ext, uint32_t group, uint8_t *bits, uint64_t start, uint64_t len)
{
    uint64_t first = ext_group_first_block(ext, group), end = first + ext_group_blocks(ext, group);
    uint64_t from = MAX_OF(start, first), to = MIN_OF(start + len, end);
    if (from < to)
        ext_bits_fill(bits, (uint32_t)((from - first) >> ext->cluster_bits),
                      (uint32_t)(((to - 1 - first) >> ext->cluster_bits) + 1), true);
}

static void initial_block_bits(struct ext_fs *ext, const struct ext_group *desc, uint8_t *bits)
{
    uint32_t group = desc->number;
    uint64_t first = ext_group_first_block(ext, group), descs = ext_group_desc_blocks(ext, group);
    uint64_t front = descs;
    if (ext_group_has_super(ext, group))
        front += first == 0 && ext->block_size == EXT_SUPER_OFFSET ? 2 : 1;
    if (front > 0)
        mark_blocks(ext, group, bits, first, front);
    mark_blocks(ext, group, bits, ext_group_block_bitmap(ext, desc->raw), 1);
    mark_blocks(ext, group, bits, ext_group_inode_bitmap(ext, desc->raw), 1);
    mark_blocks(ext, group, bits, ext_group_inode_table(ext, desc->raw), ext->table_blocks);
    ext_bits_fill(bits, ext_group_clusters(ext, group), 8 * ext->block_size, true);
}

void ext_bitmap_initial(struct ext_fs *ext, enum ext_bitmap_kind kind, const struct ext_group *desc,
                        uint8_t *bits)
{
    memset(bits, 0, ext->block_size);
    if (kind == EXT_BLOCK_BITMAP)
        initial_block_bits(ext, desc, bits);
    else
        ext_bits_fill(bits, ext->inodes_per_group, 8 * ext->block_size, true);
}

/* ---- access ---- */

static uint64_t bitmap_block(const struct ext_fs *ext, enum ext_bitmap_kind kind, const uint8_t *desc)
{
    return kind == EXT_BLOCK_BITMAP ? ext_group_block_bitmap(ext, desc) : ext_group_inode_bitmap(ext, desc);
}

static uint32_t uninit_flag(const struct ext_fs *ext, enum ext_bitmap_kind kind)
{
    if (!ext->group_csum)
        return 0;
    return kind == EXT_BLOCK_BITMAP ? EXT_BG_BLOCK_UNINIT : EXT_BG_INODE_UNINIT;
}

static const char *kind_name(enum ext_bitmap_kind kind)
{
    return kind == EXT_BLOCK_BITMAP ? "block bitmap" : "inode bitmap";
}

/* The bitmap's block, its checksum verified once (a changed one is sealed at the flush only). */
static bool get_bitmap(struct ext_fs *ext, enum ext_bitmap_kind kind, const struct ext_group *desc,
                       bool verify, struct cache_block **out, struct error *err)
{
    if (!ext_block_get(ext, bitmap_block(ext, kind, desc->raw), EXT_TAG_BITMAP, desc->number, out, err))
        return because(err, "%s of group %u", kind_name(kind), desc->number);
    struct cache_block *block = *out;
    if (!verify || block->checked || !ext->has_csum || block->parts ||
        ranges_contains(&ext->dirty_bitmaps[kind], desc->number, 1))
        return true;
    if (ext_group_bitmap_csum_ok(ext, desc->raw, kind, ext_bitmap_csum(ext, kind, block->data))) {
        block->checked = true;
        return true;
    }
    damaged(err, ext->dev, block->off, "%s of group %u does not match its checksum", kind_name(kind),
            desc->number);
    ext_block_put(ext, block);
    return false;
}

static bool peek(struct ext_fs *ext, enum ext_bitmap_kind kind, uint32_t group, bool verify, uint8_t *scratch,
                 const uint8_t **bits, struct cache_block **block, struct error *err)
{
    struct ext_group desc;
    bool ok = true;
    *block = NULL;
    if (!ext_group_get(ext, group, &desc, err))
        return false;
    if (ext_desc_bg_flags(desc.raw) & uninit_flag(ext, kind)) {
        ext_bitmap_initial(ext, kind, &desc, scratch);
        *bits = scratch;
    } else {
        ok = get_bitmap(ext, kind, &desc, verify, block, err);
        if (ok)
            *bits = (*block)->data;
    }
    ext_group_put(ext, &desc);
    return ok;
}

bool ext_bitmap_peek(struct ext_fs *ext, enum ext_bitmap_kind kind, uint32_t group, uint8_t *scratch,
                     const uint8_t **bits, struct cache_block **block, struct error *err)
{
    return peek(ext, kind, group, true, scratch, bits, block, err);
}

static bool read_bitmap(struct ext_fs *ext, enum ext_bitmap_kind kind, uint32_t group, bool verify,
                        uint8_t *bits, struct error *err)
{
    const uint8_t *found;
    struct cache_block *block;
    if (!peek(ext, kind, group, verify, bits, &found, &block, err))
        return false;
    if (block) {
        memcpy(bits, found, ext->block_size);
        ext_block_put(ext, block);
    }
    return true;
}

bool ext_bitmap_read(struct ext_fs *ext, enum ext_bitmap_kind kind, uint32_t group, uint8_t *bits,
                     struct error *err)
{
    return read_bitmap(ext, kind, group, true, bits, err);
}

bool ext_bitmap_read_raw(struct ext_fs *ext, enum ext_bitmap_kind kind, uint32_t group, uint8_t *bits,
                         struct error *err)
{
    return read_bitmap(ext, kind, group, false, bits, err);
}

static bool materialise(struct ext_fs *ext, enum ext_bitmap_kind kind, struct ext_group *desc,
                        struct cache_block **out, struct error *err)
{
    if (!ext_block_new(ext, bitmap_block(ext, kind, desc->raw), EXT_TAG_BITMAP, desc->number, out, err))
        return because(err, "%s of group %u", kind_name(kind), desc->number);
    ext_bitmap_initial(ext, kind, desc, (*out)->data);
    ext_desc_set_bg_flags(desc->raw, ext_desc_bg_flags(desc->raw) & ~(uint64_t)uninit_flag(ext, kind));
    ext_group_dirty(ext, desc);
    return true;
}

bool ext_bitmap_edit(struct ext_fs *ext, enum ext_bitmap_kind kind, uint32_t group, struct cache_block **out,
                     struct error *err)
{
    struct ext_group desc;
    if (!ext_group_get(ext, group, &desc, err))
        return false;
    bool uninit = (ext_desc_bg_flags(desc.raw) & uninit_flag(ext, kind)) != 0;
    bool ok = uninit ? materialise(ext, kind, &desc, out, err) : get_bitmap(ext, kind, &desc, true, out, err);
    ext_group_put(ext, &desc);
    if (!ok)
        return false;
    if (!(*out)->parts) {
        if (!ranges_add(&ext->dirty_bitmaps[kind], group, 1, err)) {
            ext_block_put(ext, *out);
            return false;
        }
        (*out)->parts = 1;
    }
    ext_block_dirty(ext, *out);
    return true;
}
