/* Pass 1C: the bitmaps against what pass 1 has found in use. When repairing they are right afterwards. */
#include "check.h"

#include "alloc.h"

#include <stdlib.h>

struct compare {
    struct ext_checker *c;
    enum ext_bitmap_kind kind;
    struct ext_group *group;
    uint8_t *want, *have;
    uint32_t count; /* bits that mean something */
    uint64_t off;   /* of the bitmap on the volume, or of the descriptor when it has none */
};

static const char *kind_name(const struct compare *p)
{
    return p->kind == EXT_BLOCK_BITMAP ? "block" : "inode";
}

static uint64_t uninit_flag(const struct compare *p)
{
    if (!p->c->ext->group_csum)
        return 0;
    return p->kind == EXT_BLOCK_BITMAP ? EXT_BG_BLOCK_UNINIT : EXT_BG_INODE_UNINIT;
}

static uint64_t bitmap_block(const struct compare *p)
{
    const struct ext_fs *ext = p->c->ext;
    return p->kind == EXT_BLOCK_BITMAP ? ext_group_block_bitmap(ext, p->group->raw)
                                       : ext_group_inode_bitmap(ext, p->group->raw);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

/* The bitmap as the volume has it; its checksum is judged. *must: it is to be written whatever it says. */
static bool load(struct compare *p, bool *must, struct error *err)
{
    struct ext_checker *c = p->c;
    struct ext_fs *ext = c->ext;
    struct cache_block *block;
    *must = ranges_contains(&c->displaced[p->kind], p->group->number, 1);
    if (*must) { /* it was moved, and is made anew */
        memcpy(p->have, p->want, ext->block_size);
        return true;
    }
    p->off = ext_check_group_off(p->group);
    if (ext_desc_bg_flags(p->group->raw) & uninit_flag(p)) {
        ext_bitmap_initial(ext, p->kind, p->group, p->have);
        return true;
    }
    if (!ext_block_get(ext, bitmap_block(p), EXT_TAG_BITMAP, p->group->number, &block, err))
        return false;
    p->off = block->off;
    memcpy(p->have, block->data, ext->block_size);
    bool judged = ext->has_csum && !block->parts;
    ext_block_put(ext, block);
    if (judged &&
        !ext_group_bitmap_csum_ok(ext, p->group->raw, p->kind, ext_bitmap_csum(ext, p->kind, p->have)))
        *must = ext_problem(c, "bitmap-checksum", p->off, "group %u: the checksum of its %s bitmap is wrong",
                            p->group->number, kind_name(p));
    return true;
}

/* ---- differences --------------------------------------------------------------------------------------- */

/* The first run of bits that are set in a, but not in b; *total: how many such bits there are. */
static bool first_extra(const struct compare *p, const uint8_t *a, const uint8_t *b, uint32_t *from,
                        uint32_t *end, uint32_t *total)
{
    bool any = false, open = false;
    *total = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        if (i % 64 == 0 && i + 64 <= p->count && memcmp(a + i / 8, b + i / 8, 8) == 0) {
            open = false;
            i += 63;
            continue;
        }
        bool extra = ext_bit(a, i) && !ext_bit(b, i);
        if (extra && !any)
            *from = i;
        if (extra && (!any || open))
            *end = i + 1;
        open = extra && (!any || open);
        any = any || extra;
        *total += extra;
    }
    return any;
}

static uint64_t number_of(const struct compare *p, uint32_t bit)
{
    const struct ext_fs *ext = p->c->ext;
    if (p->kind == EXT_INODE_BITMAP)
        return (uint64_t)p->group->number * ext->inodes_per_group + bit + 1;
    return ext_group_first_block(ext, p->group->number) + ((uint64_t)bit << ext->cluster_bits);
}

static void count_freed(const struct compare *p, uint32_t total)
{
    struct ext_fs *ext = p->c->ext;
    uint8_t *desc = p->group->raw;
    if (p->kind == EXT_BLOCK_BITMAP) {
        ext_group_set_free_blocks_count(ext, desc, ext_group_free_blocks_count(ext, desc) + total);
        ext_set_free_blocks(ext, ext_free_blocks(ext) + ((uint64_t)total << ext->cluster_bits));
    } else {
        ext_group_set_free_inodes_count(ext, desc, ext_group_free_inodes_count(ext, desc) + total);
        ext_add_free_inodes(ext, (int32_t)total);
    }
}

/* Report both sorts of difference; bits that are to be put right are changed in p->have. */
static void judge(struct compare *p, bool *write)
{
    struct ext_checker *c = p->c;
    uint32_t from = 0, end = 0, total, size = c->ext->block_size * 8;
    const char *code = p->kind == EXT_BLOCK_BITMAP ? "block-bitmap" : "inode-bitmap";
    if (first_extra(p, p->want, p->have, &from, &end, &total) &&
        ext_problem(c, code, p->off + from / 8,
                    "group %u: %u %ss in use are free in the bitmap, first %llu-%llu", p->group->number,
                    total, kind_name(p), (unsigned long long)number_of(p, from),
                    (unsigned long long)number_of(p, end) - 1)) {
        for (uint32_t i = 0; i < p->count / 8; i++)
            p->have[i] |= p->want[i];
        for (uint32_t i = p->count / 8 * 8; i < p->count; i++)
            if (ext_bit(p->want, i))
                ext_bits_fill(p->have, i, i + 1, true);
        *write = true;
    }
    code = p->kind == EXT_BLOCK_BITMAP ? "block-leak" : "inode-leak";
    if (first_extra(p, p->have, p->want, &from, &end, &total) &&
        ext_leak(c, code, p->off + from / 8,
                 "group %u: %u free %ss are in use in the bitmap, first %llu-%llu", p->group->number, total,
                 kind_name(p), (unsigned long long)number_of(p, from),
                 (unsigned long long)number_of(p, end) - 1)) {
        for (uint32_t i = 0; i < p->count; i++)
            if (ext_bit(p->have, i) && !ext_bit(p->want, i))
                ext_bits_fill(p->have, i, i + 1, false);
        *write = true;
        if (!c->repair) /* the counts are not looked at then, and must follow */
            count_freed(p, total);
    }
    if (ext_bits_next_clear(p->have, p->count, size) < size &&
        ext_problem(c, "bitmap-padding", p->off, "group %u: the end of its %s bitmap is not filled",
                    p->group->number, kind_name(p))) {
        ext_bits_fill(p->have, p->count, size, true);
        *write = true;
    }
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static bool store(struct compare *p, struct error *err)
{
    struct ext_fs *ext = p->c->ext;
    struct cache_block *block;
    if (!ext_block_new(ext, bitmap_block(p), EXT_TAG_BITMAP, p->group->number, &block, err))
        return false;
    memcpy(block->data, p->have, ext->block_size);
    block->parts = 1;
    ext_block_dirty(ext, block);
    ext_block_put(ext, block);
    ext_desc_set_bg_flags(p->group->raw, ext_desc_bg_flags(p->group->raw) & ~uninit_flag(p));
    ext_group_dirty(ext, p->group);
    return ranges_add(&ext->dirty_bitmaps[p->kind], p->group->number, 1, err);
}

static bool compare_group(struct ext_checker *c, uint32_t number, uint8_t *want, uint8_t *have,
                          struct error *err)
{
    struct ext_group group;
    bool ok = true;
    if (!ext_check_group(c, number, &group, err))
        return false;
    for (int kind = EXT_BLOCK_BITMAP; ok && kind <= EXT_INODE_BITMAP && !c->stop; kind++) {
        struct compare p = {c, (enum ext_bitmap_kind)kind, &group, want, have, 0, 0};
        bool write = false;
        if (!c->repair && ranges_contains(&c->displaced[kind], number, 1))
            continue; /* what lies there is none */
        p.count = kind == EXT_BLOCK_BITMAP ? ext_group_clusters(c->ext, number) : c->ext->inodes_per_group;
        if (kind == EXT_BLOCK_BITMAP)
            ext_check_block_bits(c, number, want);
        else
            ext_check_inode_bits(c, number, want);
        ok = load(&p, &write, err);
        if (ok) {
            judge(&p, &write);
            ok = !write || store(&p, err);
        }
    }
    ext_group_put(c->ext, &group);
    return ok;
}

bool ext_check_bitmaps(struct ext_checker *c, struct error *err)
{
    uint8_t *want = mem_new(c->ext->block_size, err), *have = mem_new(c->ext->block_size, err);
    bool ok = want && have;
    for (uint32_t group = 0; ok && group < c->ext->groups && !c->stop; group++)
        ok = interrupt_check(err) && compare_group(c, group, want, have, err);
    free(want);
    free(have);
    ext_alloc_forget(c->ext);
    return ok;
}
