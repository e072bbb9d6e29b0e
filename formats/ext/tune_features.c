/* Features switched on and off. Most are a bit of the superblock;
 * the others bring or take their structures. */
#include "dir_tail.h"
#include "tune.h"

#include <stdlib.h>

typedef bool switch_fn(struct ext_fs *, bool on, struct error *);

/* ---- checksums ---- */

static bool switch_csum_seed(struct ext_fs *ext, bool on, struct error *err)
{
    uint8_t super[EXT_SUPER_SIZE];
    if (!ext->has_csum)
        return fail(err, E_UNSUPPORTED, "the volume has no metadata_csum");
    memcpy(super, ext->super, sizeof super);
    ext_super_feature(super, EXT_CSUM_SEED, on);
    ext_super_set_s_checksum_seed(super, on ? ext->csum_seed : 0);
    return ext_reseal(ext, super, err);
}

/* Without checksums of descriptors no group may be left uninitialised. */
static bool initialise_groups(struct ext_fs *ext, struct error *err)
{
    for (uint32_t number = 0; number < ext->groups; number++) {
        struct ext_group group;
        struct cache_block *bits;
        for (int kind = EXT_BLOCK_BITMAP; kind <= EXT_INODE_BITMAP; kind++) {
            if (!interrupt_check(err) ||
                !ext_bitmap_edit(ext, (enum ext_bitmap_kind)kind, number, &bits, err))
                return false;
            ext_block_put(ext, bits);
        }
        if (!ext_group_get(ext, number, &group, err))
            return false;
        uint64_t used = ext->inodes_per_group - ext_group_itable_unused(ext, group.raw);
        uint64_t start = ext_group_inode_table(ext, group.raw), skip = div_up(used, ext->inodes_per_block);
        bool zeroed = ext_desc_bg_flags(group.raw) & EXT_BG_INODE_ZEROED, ok = true;
        if (!zeroed && skip < ext->table_blocks)
            ok = device_zero(ext->dev, ext_offset(ext, start + skip),
                             ext_offset(ext, ext->table_blocks - skip), WRITE_UPDATE, err);
        ext_desc_set_bg_flags(group.raw, EXT_BG_INODE_ZEROED);
        ext_group_set_itable_unused(ext, group.raw, 0);
        ext_group_dirty(ext, &group);
        ext_group_put(ext, &group);
        if (!ok)
            return false;
    }
    return ext_flush(ext, err);
}

static bool switch_group_csum(struct ext_fs *ext, bool on, struct error *err)
{
    uint8_t super[EXT_SUPER_SIZE];
    if (on && ext->has_csum)
        return fail(err, E_UNSUPPORTED, "metadata_csum is on and takes its place");
    if (!on && !initialise_groups(ext, err))
        return false;
    memcpy(super, ext->super, sizeof super);
    ext_super_feature(super, EXT_GDT_CSUM, on);
    return ext_reseal(ext, super, err);
}

static bool csum_on(struct ext_fs *ext, struct error *err)
{
    struct ext_evictions evictions = {0};
    uint8_t super[EXT_SUPER_SIZE];
    bool ok = ext_dir_tails_add(ext, &evictions, err);
    if (ok) {
        memcpy(super, ext->super, sizeof super);
        ext_super_feature(super, EXT_METADATA_CSUM, true);
        ext_super_feature(super, EXT_GDT_CSUM, false);
        ext_super_set_s_checksum_type(super, 1);
        ok = ext_reseal(ext, super, err) && ext_dir_tails_return(ext, &evictions, err);
    }
    free(evictions.items);
    return ok;
}

static bool csum_off(struct ext_fs *ext, struct error *err)
{
    uint8_t super[EXT_SUPER_SIZE];
    if (!initialise_groups(ext, err))
        return false;
    memcpy(super, ext->super, sizeof super);
    ext_super_feature(super, EXT_METADATA_CSUM, false);
    ext_super_feature(super, EXT_CSUM_SEED, false);
    ext_super_set_s_checksum_type(super, 0);
    ext_super_set_s_checksum_seed(super, 0);
    return ext_reseal(ext, super, err);
}

static bool switch_csum(struct ext_fs *ext, bool on, struct error *err)
{
    return on ? csum_on(ext, err) : csum_off(ext, err);
}

/* ---- the rest ---- */

static bool switch_encrypt(struct ext_fs *ext, bool on, struct error *err)
{
    (void)on;
    (void)err;
    memcpy(ext_super_s_encrypt_algos(ext->super), (const uint8_t[]){1, 4}, 2); /* AES-256-XTS, AES-256-CTS */
    ext_set_feature(ext, EXT_ENCRYPT, true);
    return true;
}

static bool switch_casefold(struct ext_fs *ext, bool on, struct error *err)
{
    if (!on)
        return ext_tune_unneeded(ext, EXT_CASEFOLD, err);
    ext_super_set_s_encoding(ext->super, 1);
    ext_set_feature(ext, EXT_CASEFOLD, true);
    return true;
}

static bool switch_large_file(struct ext_fs *ext, bool on, struct error *err)
{
    ext_set_feature(ext, EXT_LARGE_FILE, true);
    return on || ext_tune_unneeded(ext, EXT_LARGE_FILE, err);
}

static bool switch_huge_file(struct ext_fs *ext, bool on, struct error *err)
{
    ext_set_feature(ext, EXT_HUGE_FILE, true);
    return on || ext_tune_unneeded(ext, EXT_HUGE_FILE, err);
}

static bool switch_dir_nlink(struct ext_fs *ext, bool on, struct error *err)
{
    ext_set_feature(ext, EXT_DIR_NLINK, true);
    return on || ext_tune_unneeded(ext, EXT_DIR_NLINK, err);
}

static bool switch_extra_isize(struct ext_fs *ext, bool on, struct error *err)
{
    (void)err;
    ext_super_set_s_min_extra_isize(ext->super, 0);
    ext_set_feature(ext, EXT_EXTRA_ISIZE, on);
    return true;
}

static bool switch_verity(struct ext_fs *ext, bool on, struct error *err)
{
    if (!ext_has(ext, EXT_EXTENTS))
        return fail(err, E_UNSUPPORTED, "it needs extent");
    ext_set_feature(ext, EXT_VERITY, on);
    return true;
}

static const struct switchable {
    uint64_t feature;
    bool on, off;  /* can be switched on, off */
    switch_fn *fn; /* NULL: it is only a bit */
} switchables[] = {
    {EXT_DIR_INDEX, true, true, ext_tune_dir_index},
    {EXT_64BIT, true, true, ext_tune_64bit},
    {EXT_FILETYPE, true, true, ext_tune_filetype},
    {EXT_META_BG, true, true, ext_tune_meta_bg},
    {EXT_SPARSE_SUPER, true, false, ext_tune_sparse_super},
    {EXT_SPARSE_SUPER2, true, true, ext_tune_sparse_super2},
    {EXT_EXT_ATTR, true, false, NULL},
    {EXT_STABLE_INODES, true, false, NULL},
    {EXT_EXTENTS, true, false, NULL},
    {EXT_FLEX_BG, true, true, ext_tune_flex_bg},
    {EXT_EA_INODE, true, false, NULL},
    {EXT_LARGE_DIR, true, false, NULL},
    {EXT_LARGE_FILE, true, true, switch_large_file},
    {EXT_HUGE_FILE, true, true, switch_huge_file},
    {EXT_DIR_NLINK, true, true, switch_dir_nlink},
    {EXT_EXTRA_ISIZE, true, true, switch_extra_isize},
    {EXT_READONLY, true, true, NULL},
    {EXT_ENCRYPT, true, false, switch_encrypt},
    {EXT_CASEFOLD, true, true, switch_casefold},
    {EXT_VERITY, true, false, switch_verity},
    {EXT_CSUM_SEED, true, true, switch_csum_seed},
    {EXT_GDT_CSUM, true, true, switch_group_csum},
    {EXT_METADATA_CSUM, true, true, switch_csum},
    {EXT_HAS_JOURNAL, true, true, ext_tune_journal},
    {EXT_FAST_COMMIT, true, true, ext_tune_fast_commit},
    {EXT_ORPHAN_FILE, true, true, ext_tune_orphan_file},
    {EXT_RESIZE_INODE, true, true, ext_tune_resize_inode},
    {EXT_MMP, true, true, ext_tune_mmp},
    {EXT_QUOTA, true, true, ext_tune_quota},
    {EXT_PROJECT, true, true, ext_tune_project},
};

bool ext_tune_feature(struct ext_fs *ext, const char *name, bool on, struct error *err)
{
    uint64_t feature = ext_feature_id(name);
    if (ext_has(ext, feature) == on)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(switchables); i++) {
        const struct switchable *s = &switchables[i];
        if (s->feature != feature)
            continue;
        if (!(on ? s->on : s->off))
            return fail(err, E_UNSUPPORTED, "it cannot be switched %s", on ? "on" : "off");
        if (s->fn)
            return s->fn(ext, on, err);
        ext_set_feature(ext, feature, on);
        return true;
    }
    return fail(err, E_UNSUPPORTED, "it cannot be switched on an existing volume");
}
