/* Descriptors of 64 bytes instead of 32, and back ("64bit"): as resize2fs -b and -s do it. */
#include "tune.h"

#include "backup.h"
#include "resize.h"

#include "alloc.h"

#include <stdlib.h>

enum { WIDE_DESC = 64 };

struct widening {
    struct ext_fs *ext;
    bool on;
    uint32_t desc_size;
    uint8_t *descs; /* of all groups, WIDE_DESC bytes each */
};

static bool load(struct widening *w, struct error *err)
{
    struct ext_fs *ext = w->ext;
    w->descs = mem_array(ext->groups, WIDE_DESC, err);
    for (uint32_t i = 0; w->descs && i < ext->groups; i++) {
        struct ext_group group;
        if (!interrupt_check(err) || !ext_group_get(ext, i, &group, err))
            return false;
        memcpy(w->descs + (size_t)i * WIDE_DESC, group.raw, MIN_OF(ext->desc_size, w->desc_size));
        ext_group_put(ext, &group);
    }
    return w->descs != NULL;
}

/* More blocks of descriptors come out of the reserve; *spare: blocks that the reserve cannot take back. */
static bool make_room(struct widening *w, struct ext_resize *r, uint32_t *spare, struct error *err)
{
    struct ext_fs *ext = w->ext;
    uint32_t reserved = (uint32_t)ext_super_s_reserved_gdt_blocks(ext->super);
    *spare = 0;
    r->desc_blocks = (uint32_t)div_up(ext->groups, ext->block_size / w->desc_size);
    if (!w->on)
        return ext_resize_give_descs(r, spare, err);
    uint32_t more = r->desc_blocks - ext->desc_blocks;
    if (more > 0 && (!ext_has(ext, EXT_RESIZE_INODE) || more > reserved))
        return fail(err, E_UNSUPPORTED, "%u more blocks of descriptors are needed, %u are reserved for them",
                    more, reserved);
    ext_super_set_s_reserved_gdt_blocks(ext->super, reserved - more);
    return true;
}

static bool switch_super(struct widening *w, struct error *err)
{
    struct ext_fs *ext = w->ext;
    uint8_t *s = ext->super;
    if (!ext_flush(ext, err))
        return false;
    cache_drop(ext->cache);
    ext_set_feature(ext, EXT_64BIT, w->on);
    ext_super_set_s_desc_size(s, w->on ? WIDE_DESC : 0);
    ext_super_set_s_blocks_count_hi(s, 0);
    ext_super_set_s_r_blocks_count_hi(s, 0);
    ext_super_set_s_free_blocks_count_hi(s, 0);
    ext_super_set_s_overhead_clusters(s, 0); /* computed when needed */
    if (ext->has_csum)
        ext_super_set_s_checksum(s, ext_super_csum(s));
    ext_super_changed(ext);
    return ext_super_decode(ext, s, err);
}

static bool store(struct widening *w, struct error *err)
{
    struct ext_fs *ext = w->ext;
    uint8_t *block = mem_new(ext->block_size, err);
    bool ok = block != NULL;
    for (uint32_t i = 0; ok && i < ext->desc_blocks; i++) {
        uint32_t first = i * ext->descs_per_block;
        memset(block, 0, ext->block_size);
        for (uint32_t k = 0; k < ext->descs_per_block && first + k < ext->groups; k++) {
            uint8_t *desc = block + (size_t)k * ext->desc_size;
            memcpy(desc, w->descs + (size_t)(first + k) * WIDE_DESC, ext->desc_size);
            if (ext->group_csum)
                ext_desc_set_bg_checksum(desc, ext_desc_csum(ext, first + k, desc));
        }
        ok = interrupt_check(err) && device_write(ext->dev, ext_offset(ext, ext_desc_block(ext, i)), block,
                                                  ext->block_size, WRITE_UPDATE, err);
    }
    free(block);
    return ok;
}

/* Wider descriptors hold whole checksums of the bitmaps. */
static bool seal_bitmaps(struct ext_fs *ext, struct error *err)
{
    uint8_t *bits = mem_new(ext->block_size, err);
    bool ok = bits != NULL;
    for (uint32_t i = 0; ok && ext->has_csum && i < ext->groups; i++) {
        struct ext_group group;
        ok = interrupt_check(err) && ext_group_get(ext, i, &group, err);
        if (!ok)
            break;
        for (int kind = EXT_BLOCK_BITMAP; ok && kind <= EXT_INODE_BITMAP; kind++) {
            uint64_t uninit = kind == EXT_BLOCK_BITMAP ? EXT_BG_BLOCK_UNINIT : EXT_BG_INODE_UNINIT;
            if (ext_desc_bg_flags(group.raw) & uninit)
                continue;
            ok = ext_bitmap_read_raw(ext, (enum ext_bitmap_kind)kind, i, bits, err);
            if (ok)
                ext_group_set_bitmap_csum(ext, group.raw, (enum ext_bitmap_kind)kind,
                                          ext_bitmap_csum(ext, (enum ext_bitmap_kind)kind, bits));
        }
        ext_group_dirty(ext, &group);
        ext_group_put(ext, &group);
    }
    free(bits);
    return ok;
}

bool ext_tune_64bit(struct ext_fs *ext, bool on, struct error *err)
{
    struct widening w = {.ext = ext, .on = on, .desc_size = on ? WIDE_DESC : EXT_GOOD_OLD_DESC_SIZE};
    struct ext_resize r = {.ext = ext, .blocks = ext->blocks, .groups = ext->groups};
    uint32_t spare = 0;
    if (ext_has(ext, EXT_META_BG))
        return fail(err, E_UNSUPPORTED,
                    "with meta_bg the descriptors of other groups would change their places");
    if (!on && ext->blocks > UINT32_MAX)
        return fail(err, E_UNSUPPORTED, "the volume has 2^32 blocks or more");
    bool ok = ext_flush(ext, err) && load(&w, err) && make_room(&w, &r, &spare, err) &&
              switch_super(&w, err) && store(&w, err) && seal_bitmaps(ext, err) &&
              ext_resize_free_descs(&r, spare, err) && ext_resize_inode_renew(ext, err) &&
              ext_flush(ext, err) && ext_backup_descs(ext, err);
    free(w.descs);
    return ok;
}
