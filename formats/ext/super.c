/* The superblock: features, geometry, counts; blocks of metadata through the cache; flush and reload. */
#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
#include "clock.h"
#include "describe.h"
#include "ext.h"
#include "mount.h"

const struct ext_feature ext_features[] = {
    {EXT_DIR_PREALLOC, "dir_prealloc", EXT_FEATURE_WRITE},
    {EXT_IMAGIC_INODES, "imagic_inodes", EXT_FEATURE_WRITE},
    {EXT_HAS_JOURNAL, "has_journal", EXT_FEATURE_WRITE},
    {EXT_EXT_ATTR, "ext_attr", EXT_FEATURE_WRITE},
    {EXT_RESIZE_INODE, "resize_inode", EXT_FEATURE_WRITE},
    {EXT_DIR_INDEX, "dir_index", EXT_FEATURE_WRITE},
    {EXT_LAZY_BG, "lazy_bg", EXT_FEATURE_WRITE},
    {EXT_SPARSE_SUPER2, "sparse_super2", EXT_FEATURE_WRITE},
    {EXT_FAST_COMMIT, "fast_commit", EXT_FEATURE_WRITE},
    {EXT_STABLE_INODES, "stable_inodes", EXT_FEATURE_WRITE},
    {EXT_ORPHAN_FILE, "orphan_file", EXT_FEATURE_WRITE},
    {EXT_COMPRESSION, "compression", EXT_FEATURE_REFUSED},
    {EXT_FILETYPE, "filetype", EXT_FEATURE_WRITE},
    {EXT_NEEDS_RECOVERY, "needs_recovery", EXT_FEATURE_WRITE},
    {EXT_JOURNAL_DEV, "journal_dev", EXT_FEATURE_REFUSED},
    {EXT_META_BG, "meta_bg", EXT_FEATURE_WRITE},
    {EXT_EXTENTS, "extent", EXT_FEATURE_WRITE},
    {EXT_64BIT, "64bit", EXT_FEATURE_WRITE},
    {EXT_MMP, "mmp", EXT_FEATURE_WRITE},
    {EXT_FLEX_BG, "flex_bg", EXT_FEATURE_WRITE},
    {EXT_EA_INODE, "ea_inode", EXT_FEATURE_WRITE},
    {EXT_DIRDATA, "dirdata", EXT_FEATURE_REFUSED},
    {EXT_CSUM_SEED, "metadata_csum_seed", EXT_FEATURE_WRITE},
    {EXT_LARGE_DIR, "large_dir", EXT_FEATURE_WRITE},
    {EXT_INLINE_DATA, "inline_data", EXT_FEATURE_WRITE},
    {EXT_ENCRYPT, "encrypt", EXT_FEATURE_WRITE},
    {EXT_CASEFOLD, "casefold", EXT_FEATURE_WRITE},
    {EXT_SPARSE_SUPER, "sparse_super", EXT_FEATURE_WRITE},
    {EXT_LARGE_FILE, "large_file", EXT_FEATURE_WRITE},
    {EXT_BTREE_DIR, "btree_dir", EXT_FEATURE_READ},
    {EXT_HUGE_FILE, "huge_file", EXT_FEATURE_WRITE},
    {EXT_GDT_CSUM, "uninit_bg", EXT_FEATURE_WRITE},
    {EXT_DIR_NLINK, "dir_nlink", EXT_FEATURE_WRITE},
    {EXT_EXTRA_ISIZE, "extra_isize", EXT_FEATURE_WRITE},
    {EXT_SNAPSHOT, "snapshot", EXT_FEATURE_READ},
    {EXT_QUOTA, "quota", EXT_FEATURE_WRITE},
    {EXT_BIGALLOC, "bigalloc", EXT_FEATURE_WRITE},
    {EXT_METADATA_CSUM, "metadata_csum", EXT_FEATURE_WRITE},
    {EXT_REPLICA, "replica", EXT_FEATURE_READ},
    {EXT_READONLY, "read-only", EXT_FEATURE_READ},
    {EXT_PROJECT, "project", EXT_FEATURE_WRITE},
    {EXT_SHARED_BLOCKS, "shared_blocks", EXT_FEATURE_READ},
    {EXT_VERITY, "verity", EXT_FEATURE_WRITE},
    {EXT_ORPHAN_PRESENT, "orphan_present", EXT_FEATURE_WRITE},
    {0, NULL, EXT_FEATURE_REFUSED},
};

static const struct ext_feature *feature_of(uint64_t id)
{
    for (const struct ext_feature *feature = ext_features; feature->name; feature++)
        if (feature->id == id)
            return feature;
    return NULL;
}

/* ---- decoding ---- */

static bool bad_field(struct ext_fs *ext, unsigned off, const char *name, uint64_t value, const char *why,
                      struct error *err)
{
    return damaged(err, ext->dev, EXT_SUPER_OFFSET + off, "%s is %llu, %s", name, (unsigned long long)value,
                   why);
}
#define BAD_FIELD(field, why)                                                                                \
    bad_field(ext, ext_super_off_##field, #field, ext_super_##field(super), why, err)

/* Incompatible bits that are unknown or refused forbid all access. */
static bool check_incompat(struct ext_fs *ext, struct error *err)
{
    for (unsigned bit = 0; bit < 32; bit++) {
        uint32_t mask = (uint32_t)1 << bit;
        if (!(ext->incompat & mask))
            continue;
        const struct ext_feature *feature = feature_of(EXT_INCOMPAT(mask));
        if (!feature)
            return fail(err, E_UNSUPPORTED, "the volume uses the incompatible feature 0x%x, which is unknown",
                        mask);
        if (feature->id == EXT_JOURNAL_DEV)
            return fail(err, E_UNSUPPORTED, "this is an external journal (journal_dev), not a filesystem");
        if (feature->access == EXT_FEATURE_REFUSED)
            return fail(err, E_UNSUPPORTED, "the volume uses the feature %s (0x%x), which is not supported",
                        feature->name, mask);
    }
    return true;
}

static bool decode_sizes(struct ext_fs *ext, const uint8_t *super, struct error *err)
{
    uint64_t log_block = ext_super_s_log_block_size(super), log_cluster = ext_super_s_log_cluster_size(super);
    if (log_block > 6)
        return BAD_FIELD(s_log_block_size, "more than 6 (64 KiB)");
    ext->block_bits = 10 + (unsigned)log_block;
    ext->block_size = (uint32_t)1 << ext->block_bits;
    ext->cluster_bits = 0;
    if (ext_has(ext, EXT_BIGALLOC)) {
        if (log_cluster < log_block || log_cluster > 20)
            return BAD_FIELD(s_log_cluster_size, "smaller than a block or larger than 1 GiB");
        ext->cluster_bits = (unsigned)(log_cluster - log_block);
    }
    ext->cluster_size = ext->block_size << ext->cluster_bits;
    ext->inode_size = EXT_GOOD_OLD_INODE_SIZE;
    ext->first_ino = EXT_GOOD_OLD_FIRST_INO;
    if (ext_super_s_rev_level(super) > 0) {
        ext->inode_size = (uint32_t)ext_super_s_inode_size(super);
        ext->first_ino = (uint32_t)ext_super_s_first_ino(super);
        if (!is_power_of_two(ext->inode_size) || ext->inode_size < EXT_GOOD_OLD_INODE_SIZE ||
            ext->inode_size > ext->block_size)
            return BAD_FIELD(s_inode_size, "not a power of two between 128 and the block size");
        if (ext->first_ino < EXT_GOOD_OLD_FIRST_INO)
            return BAD_FIELD(s_first_ino, "less than 11");
    }
    ext->inodes_per_block = ext->block_size / ext->inode_size;
    ext->desc_size = EXT_GOOD_OLD_DESC_SIZE;
    if (ext_has(ext, EXT_64BIT) && ext_super_s_desc_size(super) != 0) {
        ext->desc_size = (uint32_t)ext_super_s_desc_size(super);
        if (!is_power_of_two(ext->desc_size) || ext->desc_size < 32 || ext->desc_size > 1024)
            return BAD_FIELD(s_desc_size, "not a power of two between 32 and 1024");
    }
    ext->descs_per_block = ext->block_size / ext->desc_size;
    return true;
}

static bool decode_counts(struct ext_fs *ext, const uint8_t *super, struct error *err)
{
    uint64_t high = ext_has(ext, EXT_64BIT) ? ext_super_s_blocks_count_hi(super) : 0;
    ext->blocks = ext_super_s_blocks_count_lo(super) | high << 32;
    ext->first_data_block = (uint32_t)ext_super_s_first_data_block(super);
    ext->blocks_per_group = (uint32_t)ext_super_s_blocks_per_group(super);
    ext->clusters_per_group = ext->blocks_per_group >> ext->cluster_bits;
    ext->inodes_per_group = (uint32_t)ext_super_s_inodes_per_group(super);
    ext->inodes = (uint32_t)ext_super_s_inodes_count(super);
    if (ext->blocks >> 48 || ext->blocks > UINT64_MAX >> ext->block_bits)
        return BAD_FIELD(s_blocks_count_hi, "too large: a volume has less than 2^48 blocks");
    if (ext->first_data_block > 1 || ext->first_data_block >= ext->blocks)
        return BAD_FIELD(s_first_data_block, "neither 0 nor 1, or past the end");
    if (ext->clusters_per_group == 0 || ext->clusters_per_group > 8 * ext->block_size ||
        ext->blocks_per_group % ((uint32_t)1 << ext->cluster_bits) != 0)
        return BAD_FIELD(s_blocks_per_group, "not what one bitmap block can map");
    if (ext->inodes_per_group == 0 || ext->inodes_per_group > 8 * ext->block_size)
        return BAD_FIELD(s_inodes_per_group, "not what one bitmap block can map");
    if (ext_super_s_reserved_gdt_blocks(super) > ext->block_size / 4)
        return BAD_FIELD(s_reserved_gdt_blocks, "more than a block of pointers to them holds");
    uint64_t groups = div_up(ext->blocks - ext->first_data_block, ext->blocks_per_group);
    if (groups * ext->inodes_per_group != ext->inodes)
        return BAD_FIELD(s_inodes_count, "not s_inodes_per_group times the number of groups");
    ext->groups = (uint32_t)groups;
    ext->table_blocks = (uint32_t)div_up((uint64_t)ext->inodes_per_group * ext->inode_size, ext->block_size);
    ext->desc_blocks = (uint32_t)div_up(groups, ext->descs_per_block);
    if (ext_has(ext, EXT_META_BG) && ext_super_s_first_meta_bg(super) > ext->desc_blocks)
        return BAD_FIELD(s_first_meta_bg, "past the last block of descriptors");
    uint64_t log_flex = ext_super_s_log_groups_per_flex(super);
    ext->flex_groups = ext_has(ext, EXT_FLEX_BG) && log_flex < 31 ? (uint32_t)1 << log_flex : 1;
    return true;
}

bool ext_super_decode(struct ext_fs *ext, const uint8_t *super, struct error *err)
{
    if (ext_super_s_magic(super) != EXT_MAGIC)
        return damaged(err, ext->dev, EXT_SUPER_OFFSET + ext_super_off_s_magic,
                       "s_magic is 0x%04x, not 0xef53", (unsigned)ext_super_s_magic(super));
    bool dynamic = ext_super_s_rev_level(super) > 0;
    if (ext_super_s_rev_level(super) > 1)
        return fail(err, E_UNSUPPORTED, "s_rev_level is %llu; 0 and 1 are known",
                    (unsigned long long)ext_super_s_rev_level(super));
    ext->compat = dynamic ? (uint32_t)ext_super_s_feature_compat(super) : 0;
    ext->incompat = dynamic ? (uint32_t)ext_super_s_feature_incompat(super) : 0;
    ext->ro_compat = dynamic ? (uint32_t)ext_super_s_feature_ro_compat(super) : 0;
    ext->has_csum = ext_has(ext, EXT_METADATA_CSUM);
    ext->group_csum = ext->has_csum || ext_has(ext, EXT_GDT_CSUM);
    if (ext->has_csum && ext_super_s_checksum_type(super) != 1)
        return BAD_FIELD(s_checksum_type, "not 1 (crc32c)");
    if (ext->has_csum && ext_super_s_checksum(super) != ext_super_csum(super))
        return damaged(err, ext->dev, EXT_SUPER_OFFSET + ext_super_off_s_checksum,
                       "s_checksum is 0x%08llx, but the superblock's is 0x%08x",
                       (unsigned long long)ext_super_s_checksum(super), ext_super_csum(super));
    if (!check_incompat(ext, err))
        return false;
    ext->csum_seed = ext_has(ext, EXT_CSUM_SEED) ? (uint32_t)ext_super_s_checksum_seed(super)
                                                 : crc32c(~0u, ext_super_s_uuid(super), 16);
    ext->hash_unsigned = (ext_super_s_flags(super) & EXT_FLAGS_UNSIGNED_HASH) != 0;
    return decode_sizes(ext, super, err) && decode_counts(ext, super, err);
}

bool ext_super_load(struct ext_fs *ext, struct error *err)
{
    uint32_t old_size = ext->block_size;
    if (ext->dev->size < EXT_SUPER_OFFSET + EXT_SUPER_SIZE)
        return fail(err, E_DAMAGED, "the volume is too small for an ext superblock");
    if (!device_read(ext->dev, EXT_SUPER_OFFSET, ext->super, EXT_SUPER_SIZE, err) ||
        !ext_super_decode(ext, ext->super, err))
        return false;
    ext->super_dirty = false;
    if (ext->cache && old_size == ext->block_size)
        return true;
    cache_free(ext->cache);
    ext->cache = cache_new(ext->dev, ext->block_size, EXT_CACHE_BYTES, ext_seal, ext, err);
    return ext->cache != NULL;
}

/* ---- counts and features ---- */

void ext_super_changed(struct ext_fs *ext)
{
    ext->super_dirty = true;
}

uint64_t ext_free_blocks(const struct ext_fs *ext)
{
    uint64_t high = ext_has(ext, EXT_64BIT) ? ext_super_s_free_blocks_count_hi(ext->super) : 0;
    return ext_super_s_free_blocks_count_lo(ext->super) | high << 32;
}

void ext_set_free_blocks(struct ext_fs *ext, uint64_t blocks)
{
    ext_super_set_s_free_blocks_count_lo(ext->super, blocks & UINT32_MAX);
    if (ext_has(ext, EXT_64BIT))
        ext_super_set_s_free_blocks_count_hi(ext->super, blocks >> 32);
    ext_super_changed(ext);
}

void ext_add_free_inodes(struct ext_fs *ext, int32_t count)
{
    ext_super_set_s_free_inodes_count(ext->super,
                                      ext_super_s_free_inodes_count(ext->super) + (uint64_t)(int64_t)count);
    ext_super_changed(ext);
}

void ext_set_feature(struct ext_fs *ext, uint64_t feature, bool on)
{
    uint32_t *words[3] = {&ext->compat, &ext->incompat, &ext->ro_compat};
    uint32_t *word = words[feature >> 32], bit = (uint32_t)feature;
    if (((*word & bit) != 0) == on)
        return;
    *word = on ? *word | bit : *word & ~bit;
    ext_super_set_s_feature_compat(ext->super, ext->compat);
    ext_super_set_s_feature_incompat(ext->super, ext->incompat);
    ext_super_set_s_feature_ro_compat(ext->super, ext->ro_compat);
    ext_super_changed(ext);
}

uint64_t ext_feature_id(const char *name)
{
    for (const struct ext_feature *f = ext_features; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f->id;
    return 0;
}

static unsigned word_index(const char *word, const char *const *words, unsigned count)
{
    unsigned i = 0;
    while (i < count - 1 && strcmp(word, words[i]) != 0)
        i++;
    return i;
}

unsigned ext_hash_of(const char *word)
{
    static const char *const hashes[] = {"legacy", "half_md4", "tea"};
    return word_index(word, hashes, ARRAY_LEN(hashes));
}

unsigned ext_errors_of(const char *word)
{
    static const char *const errors[] = {"", "continue", "remount-ro", "panic"};
    return word_index(word, errors, ARRAY_LEN(errors));
}

void ext_super_feature(uint8_t *super, uint64_t feature, bool on)
{
    uint32_t bit = (uint32_t)feature;
    uint64_t words[3] = {ext_super_s_feature_compat(super), ext_super_s_feature_incompat(super),
                         ext_super_s_feature_ro_compat(super)};
    uint64_t *word = &words[feature >> 32];
    *word = on ? *word | bit : *word & ~(uint64_t)bit;
    ext_super_set_s_feature_compat(super, words[0]);
    ext_super_set_s_feature_incompat(super, words[1]);
    ext_super_set_s_feature_ro_compat(super, words[2]);
}

/* What mke2fs would call it: an ext3 has a journal, an ext4 something that ext3 does not know. */
const char *ext_type(const struct ext_fs *ext)
{
    const uint32_t incompat3 = (uint32_t)(EXT_FILETYPE | EXT_NEEDS_RECOVERY | EXT_META_BG);
    const uint32_t ro_compat3 = (uint32_t)(EXT_SPARSE_SUPER | EXT_LARGE_FILE | EXT_BTREE_DIR);
    if (ext->incompat & ~incompat3 || ext->ro_compat & ~ro_compat3)
        return "ext4";
    return ext_has(ext, EXT_HAS_JOURNAL) ? "ext3" : "ext2";
}

bool ext_super_store(struct ext_fs *ext, struct error *err)
{
    if (!ext->super_dirty)
        return true;
    int64_t now = clock_now().sec;
    ext_super_set_s_wtime(ext->super, (uint64_t)now & UINT32_MAX);
    ext_super_set_s_wtime_hi(ext->super, (uint64_t)now >> 32 & 0xFF);
    if (ext->has_csum)
        ext_super_set_s_checksum(ext->super, ext_super_csum(ext->super));
    if (!device_write(ext->dev, EXT_SUPER_OFFSET, ext->super, EXT_SUPER_SIZE, WRITE_UPDATE, err))
        return false;
    ext->super_dirty = false;
    return true;
}

/* ---- blocks ---- */

bool ext_blocks_valid(const struct ext_fs *ext, uint64_t start, uint64_t len)
{
    uint64_t super = EXT_SUPER_OFFSET >> ext->block_bits;
    return start > super && len > 0 && range_inside(start, len, ext->blocks);
}

static bool is_directory(uint32_t tag)
{
    return tag == EXT_TAG_DIR || tag == EXT_TAG_INDEX;
}

/*
 * On a damaged volume a block may be two structures. What was checked as one is not yet the other; and while
 * somebody holds it as one, having checked it, nobody may change it as the other.
 */
static bool claim(struct ext_fs *ext, struct cache_block *block, enum ext_tag tag, uint64_t owner,
                  struct error *err)
{
    bool same =
        block->owner == owner && (block->tag == tag || (is_directory(block->tag) && is_directory(tag)));
    if (!same && cache_shared(block) && !ext->checking)
        return damaged(err, ext->dev, block->off, "block %llu belongs to two structures",
                       (unsigned long long)(block->off >> ext->block_bits));
    if (!same)
        block->checked = false;
    block->tag = tag;
    block->owner = owner;
    return true;
}

bool ext_block_get(struct ext_fs *ext, uint64_t block, enum ext_tag tag, uint64_t owner,
                   struct cache_block **out, struct error *err)
{
    if (!ext_blocks_valid(ext, block, 1))
        return fail(err, E_DAMAGED, "block %llu is outside the volume", (unsigned long long)block);
    if (!cache_get(ext->cache, ext_offset(ext, block), out, err))
        return false;
    if (claim(ext, *out, tag, owner, err))
        return true;
    ext_block_put(ext, *out);
    *out = NULL;
    return false;
}

bool ext_block_new(struct ext_fs *ext, uint64_t block, enum ext_tag tag, uint64_t owner,
                   struct cache_block **out, struct error *err)
{
    if (!ext_blocks_valid(ext, block, 1))
        return fail(err, E_DAMAGED, "block %llu is outside the volume", (unsigned long long)block);
    /* One that was freed a moment ago may still be held, and come back. */
    if (cache_held(ext->cache, ext_offset(ext, block)) && !ranges_contains(&ext->freed, block, 1))
        return damaged(err, ext->dev, ext_offset(ext, block), "block %llu is in use, but marked as free",
                       (unsigned long long)block);
    if (!cache_get_new(ext->cache, ext_offset(ext, block), ext_write_class(ext, block, 1), out, err))
        return false;
    (*out)->tag = tag;
    (*out)->owner = owner;
    return true;
}

void ext_block_put(struct ext_fs *ext, struct cache_block *block)
{
    cache_release(ext->cache, block);
}

void ext_block_dirty(struct ext_fs *ext, struct cache_block *block)
{
    cache_dirty(ext->cache, block, ext_write_class(ext, block->off >> ext->block_bits, 1));
}

/* ---- flush and reload ---- */

static bool seal_bitmap(struct ext_fs *ext, enum ext_bitmap_kind kind, uint32_t group, struct error *err)
{
    struct cache_block *block;
    struct ext_group desc;
    if (!ext_bitmap_edit(ext, kind, group, &block, err))
        return false;
    bool ok = ext_group_get(ext, group, &desc, err);
    if (ok) {
        ext_group_set_bitmap_csum(ext, desc.raw, kind, ext_bitmap_csum(ext, kind, block->data));
        ext_group_dirty(ext, &desc);
        ext_group_put(ext, &desc);
        block->parts = 0;
    }
    ext_block_put(ext, block);
    return ok;
}

static bool seal_bitmaps(struct ext_fs *ext, struct error *err)
{
    for (int kind = EXT_BLOCK_BITMAP; kind <= EXT_INODE_BITMAP; kind++) {
        struct range groups;
        for (uint64_t at = 0; ranges_next(&ext->dirty_bitmaps[kind], at, &groups);
             at = groups.start + groups.len)
            for (uint64_t i = 0; i < groups.len; i++)
                if (ext->has_csum &&
                    !seal_bitmap(ext, (enum ext_bitmap_kind)kind, (uint32_t)(groups.start + i), err))
                    return false;
    }
    ranges_clear(&ext->dirty_bitmaps[EXT_BLOCK_BITMAP]);
    ranges_clear(&ext->dirty_bitmaps[EXT_INODE_BITMAP]);
    return true;
}

bool ext_flush(struct ext_fs *ext, struct error *err)
{
    if (!ext_quota_flush(ext, err) || !seal_bitmaps(ext, err) || !cache_flush(ext->cache, err) ||
        !ext_super_store(ext, err))
        return false;
    ranges_clear(&ext->fresh);
    return true;
}

bool ext_reload(struct ext_fs *ext, struct error *err)
{
    if (ext->cache)
        cache_drop(ext->cache);
    ranges_clear(&ext->dirty_bitmaps[EXT_BLOCK_BITMAP]);
    ranges_clear(&ext->dirty_bitmaps[EXT_INODE_BITMAP]);
    ranges_clear(&ext->fresh);
    ext_quota_drop(ext);
    ext_alloc_forget(ext);
    ext_dirs_forget(ext);
    ext_shared_forget(ext);
    ext_owners_forget(ext);
    ext->overhead = 0;
    ext->super_dirty = false;
    return ext_start(ext, err);
}
