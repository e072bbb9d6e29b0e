/* Pass 0: the superblock, and what it says of journal, MMP block and orphans. */
#include "backup.h"
#include "check.h"
#include "journal.h"
#include "mkfs.h"
#include "quota.h"
#include "rescue.h"

#include "alloc.h"

#include <stdlib.h>
#include <sys/stat.h>

#define SUPER_OFF(field) (EXT_SUPER_OFFSET + (uint64_t)ext_super_off_##field)

/* ---- superblock ---------------------------------------------------------------------------------------- */

static uint64_t reserved_blocks(const struct ext_fs *ext)
{
    uint64_t high = ext_has(ext, EXT_64BIT) ? ext_super_s_r_blocks_count_hi(ext->super) : 0;
    return ext_super_s_r_blocks_count_lo(ext->super) | high << 32;
}

/* Fields that follow from others, or that a feature gives a meaning. */
static void check_cluster_fields(struct ext_checker *c)
{
    struct ext_fs *ext = c->ext;
    uint8_t *s = ext->super;
    uint64_t log_flex = ext_super_s_log_groups_per_flex(s);
    bool clusters = ext_super_s_clusters_per_group(s) != ext->clusters_per_group;
    if (!ext_has(ext, EXT_BIGALLOC))
        clusters = clusters || ext_super_s_log_cluster_size(s) != ext_super_s_log_block_size(s);
    if (clusters &&
        ext_problem(c, "cluster-fields", SUPER_OFF(s_clusters_per_group),
                    "s_log_cluster_size is %llu and s_clusters_per_group %llu, which does not fit",
                    (unsigned long long)ext_super_s_log_cluster_size(s),
                    (unsigned long long)ext_super_s_clusters_per_group(s))) {
        ext_super_set_s_clusters_per_group(s, ext->clusters_per_group);
        ext_super_set_s_log_cluster_size(s, ext_super_s_log_block_size(s) + ext->cluster_bits);
        ext_super_changed(ext);
        c->copies = true;
    }
    if (ext_has(ext, EXT_FLEX_BG) && log_flex >= 32 &&
        ext_problem(c, "flex-size", SUPER_OFF(s_log_groups_per_flex), "s_log_groups_per_flex is %llu",
                    (unsigned long long)log_flex)) {
        ext_super_set_s_log_groups_per_flex(s, 4); /* as mke2fs has it */
        ext_super_changed(ext);
        c->copies = true;
    }
}

/* Quota files have the inodes 3 and 4, or one of those for files. */
static void check_quota_fields(struct ext_checker *c)
{
    static const unsigned offs[EXT_QUOTA_TYPES] = {
        ext_super_off_s_usr_quota_inum, ext_super_off_s_grp_quota_inum, ext_super_off_s_prj_quota_inum};
    struct ext_fs *ext = c->ext;
    for (unsigned type = 0; type < EXT_QUOTA_TYPES; type++) {
        uint32_t ino = ext_quota_ino(ext->super, type);
        bool own = (type == EXT_QUOTA_USER && ino == EXT_USER_QUOTA_INO) ||
                   (type == EXT_QUOTA_GROUP && ino == EXT_GROUP_QUOTA_INO);
        if (ino == 0 || own || (ino >= ext->first_ino && ino <= ext->inodes) ||
            !ext_problem(c, "quota-inode", EXT_SUPER_OFFSET + offs[type],
                         "the quota file %u is inode %u, which cannot be", type, ino))
            continue;
        ext_quota_set_ino(ext->super, type, 0);
        ext_super_changed(ext);
    }
}

/* A feature that makes no sense beside another, or without it. */
static void drop_feature(struct ext_checker *c, uint64_t feature, const char *why)
{
    if (!ext_problem(c, "feature", EXT_SUPER_OFFSET + ext_super_off_s_feature_compat, "%s", why))
        return;
    ext_set_feature(c->ext, feature, false);
    c->copies = true;
}

static void check_features(struct ext_checker *c)
{
    struct ext_fs *ext = c->ext;
    uint8_t *s = ext->super;
    if (ext->has_csum && ext_has(ext, EXT_GDT_CSUM))
        drop_feature(c, EXT_GDT_CSUM, "the volume has both metadata_csum and uninit_bg, which it replaces");
    if (!ext->has_csum && ext_has(ext, EXT_CSUM_SEED))
        drop_feature(c, EXT_CSUM_SEED, "the volume has the feature metadata_csum_seed without metadata_csum");
    if (ext_has(ext, EXT_ORPHAN_FILE))
        return;
    if (ext_has(ext, EXT_ORPHAN_PRESENT))
        drop_feature(c, EXT_ORPHAN_PRESENT, "the volume has the feature orphan_present without orphan_file");
    if (ext_super_s_orphan_file_inum(s) != 0 &&
        ext_problem(c, "orphan-file", SUPER_OFF(s_orphan_file_inum),
                    "the superblock names an orphan file, but the volume has no feature orphan_file")) {
        ext_super_set_s_orphan_file_inum(s, 0);
        ext_super_changed(ext);
        c->copies = true;
    }
}

/* Sizes that an inode's fields should have must fit into the inode. */
static void check_extra_sizes(struct ext_checker *c)
{
    uint8_t *s = c->ext->super;
    uint64_t most = c->ext->inode_size - EXT_GOOD_OLD_INODE_SIZE, usual = MIN_OF(most, 32);
    uint64_t least = ext_super_s_min_extra_isize(s), want = ext_super_s_want_extra_isize(s);
    if (most == 0)
        return;
    if ((least > most || least % 4) && ext_problem(c, "extra-size", SUPER_OFF(s_min_extra_isize),
                                                   "s_min_extra_isize is %u", (unsigned)least)) {
        ext_super_set_s_min_extra_isize(s, usual);
        ext_super_changed(c->ext);
    }
    if ((want > most || want % 4) && ext_problem(c, "extra-size", SUPER_OFF(s_want_extra_isize),
                                                 "s_want_extra_isize is %u", (unsigned)want)) {
        ext_super_set_s_want_extra_isize(s, usual);
        ext_super_changed(c->ext);
    }
}

static void check_fields(struct ext_checker *c)
{
    struct ext_fs *ext = c->ext;
    uint8_t *s = ext->super;
    uint64_t reserved = reserved_blocks(ext), device_blocks = ext->dev->size >> ext->block_bits;
    if (reserved > ext->blocks / 2 &&
        ext_problem(c, "reserved-blocks", SUPER_OFF(s_r_blocks_count_lo),
                    "s_r_blocks_count is %llu, more than half of the %llu blocks",
                    (unsigned long long)reserved, (unsigned long long)ext->blocks)) {
        ext_super_set_s_r_blocks_count_lo(s, (uint32_t)(ext->blocks / 20));
        ext_super_set_s_r_blocks_count_hi(s, ext->blocks / 20 >> 32);
        ext_super_changed(ext);
    }
    if (device_blocks < ext->blocks)
        ext_unfixable(c, "size", SUPER_OFF(s_blocks_count_lo),
                      "the filesystem has %llu blocks, the volume %llu", (unsigned long long)ext->blocks,
                      (unsigned long long)device_blocks);
    if (!ext_has(ext, EXT_RESIZE_INODE) && ext_super_s_reserved_gdt_blocks(s) != 0 &&
        ext_problem(c, "reserved-descriptors", SUPER_OFF(s_reserved_gdt_blocks),
                    "s_reserved_gdt_blocks is %llu without the feature resize_inode",
                    (unsigned long long)ext_super_s_reserved_gdt_blocks(s))) {
        ext_super_set_s_reserved_gdt_blocks(s, 0);
        ext_super_changed(ext);
        c->copies = true;
    }
    check_cluster_fields(c);
    check_quota_fields(c);
    check_features(c);
    check_extra_sizes(c);
    if (ext_super_s_state(s) & EXT_STATE_ERROR)
        check_found(c->check, FINDING_NOTE, "state", ext->dev, SUPER_OFF(s_state), c->repair,
                    "the kernel has noted %llu errors", (unsigned long long)ext_super_s_error_count(s));
}

/* ---- MMP ----------------------------------------------------------------------------------------------- */

void ext_check_drop_mmp(struct ext_checker *c)
{
    ext_super_set_s_mmp_block(c->ext->super, 0);
    ext_super_changed(c->ext);
    c->new_mmp = true;
}

bool ext_check_mmp(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct cache_block *block;
    uint64_t at = ext_super_s_mmp_block(ext->super);
    if (!ext_has(ext, EXT_MMP) || at == 0)
        return true;
    bool sound = ext_blocks_valid(ext, at, 1);
    if (sound) {
        if (!ext_block_get(ext, at, EXT_TAG_MMP, 0, &block, err))
            return false;
        sound = ext_mmp_mmp_magic(block->data) == EXT_MMP_MAGIC &&
                (!ext->has_csum ||
                 ext_mmp_mmp_checksum(block->data) == ext_csum(ext, block->data, ext_mmp_off_mmp_checksum));
        ext_block_put(ext, block);
    }
    if (sound || !ext_problem(c, "mmp", SUPER_OFF(s_mmp_block), "block %llu does not hold the MMP block",
                              (unsigned long long)at))
        return true;
    ext_check_drop_mmp(c);
    return ext_super_store(ext, err);
}

/* ---- journal ------------------------------------------------------------------------------------------- */

static void drop_journal(struct ext_fs *ext)
{
    ext_super_set_s_journal_inum(ext->super, 0);
    ext_super_set_s_journal_dev(ext->super, 0);
    memset(ext_super_s_jnl_blocks(ext->super), 0, 68);
    ext_super_set_s_jnl_backup_type(ext->super, 0);
    ext_set_feature(ext, EXT_HAS_JOURNAL, false);
    ext_set_feature(ext, EXT_NEEDS_RECOVERY, false);
    ext_set_feature(ext, EXT_FAST_COMMIT, false);
    ext_super_changed(ext);
}

/* The inode from its copy in the superblock; pass 1 counts its blocks. */
static bool restore_journal_inode(struct ext_checker *c, uint32_t ino, struct error *err)
{
    struct ext_fs *ext = c->ext;
    const uint8_t *copy = ext_super_s_jnl_blocks(ext->super);
    struct ext_inode inode;
    if (!ext_check_inode(c, ino, &inode, err))
        return false;
    if (ext_problem(c, "journal-inode", ext_check_inode_off(&inode), "the journal's inode %u is damaged",
                    ino)) {
        memset(inode.raw, 0, ext->inode_size);
        ext_inode_set_i_mode(inode.raw, S_IFREG | 0600);
        ext_inode_set_i_links_count(inode.raw, 1);
        memcpy(ext_inode_i_block(inode.raw), copy, EXT_I_BLOCK_SIZE);
        ext_inode_set_i_size_high(inode.raw, load_le32(copy + EXT_I_BLOCK_SIZE));
        ext_inode_set_i_size_lo(inode.raw, load_le32(copy + EXT_I_BLOCK_SIZE + 4));
        if (load_le16(copy) == EXT_EXTENT_MAGIC)
            ext_inode_set_i_flags(inode.raw, EXT_FL_EXTENTS);
        ext_inode_dirty(ext, &inode);
    }
    ext_inode_put(ext, &inode);
    return true;
}

/* Blocks of the journal as its inode, or the copy of that in the superblock,
 * has them; 0: neither makes sense. */
static uint64_t journal_blocks(struct ext_checker *c, uint32_t ino)
{
    const struct ext_fs *ext = c->ext;
    const uint8_t *copy = ext_super_s_jnl_blocks(ext->super) + EXT_I_BLOCK_SIZE;
    uint64_t sizes[2] = {0, (uint64_t)load_le32(copy) << 32 | load_le32(copy + 4)};
    struct ext_inode inode;
    struct error ignored;
    if (ino != 0 && ext_check_inode(c, ino, &inode, &ignored)) {
        sizes[0] = ext_inode_i_size_lo(inode.raw) | ext_inode_i_size_high(inode.raw) << 32;
        ext_inode_put(c->ext, &inode);
    }
    for (int i = 0; i < 2; i++) {
        uint64_t blocks = sizes[i] >> ext->block_bits;
        if (sizes[i] % ext->block_size == 0 && blocks >= JBD_MIN_BLOCKS && blocks < ext->blocks)
            return blocks;
    }
    return 0;
}

/* The number may be what is wrong: the journal that the superblock has a copy of is inode 8. */
static bool mend_journal_number(struct ext_checker *c, uint32_t ino)
{
    struct ext_fs *ext = c->ext;
    struct ext_journal j;
    struct error ignored = {0};
    if (ino == 0 || ino == EXT_JOURNAL_INO || ext_super_s_jnl_backup_type(ext->super) != 1)
        return false;
    ext_super_set_s_journal_inum(ext->super, EXT_JOURNAL_INO);
    bool ok = ext_journal_open(ext, &j, &ignored);
    ext_journal_close(&j);
    if (ok && ext_problem(c, "journal", SUPER_OFF(s_journal_inum),
                          "s_journal_inum is %u, but the journal is inode %u", ino, EXT_JOURNAL_INO)) {
        ext_super_changed(ext);
        c->copies = true;
        return true;
    }
    ext_super_set_s_journal_inum(ext->super, ino);
    return false;
}

static bool check_journal(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_journal j;
    struct error why = {0};
    uint32_t ino = (uint32_t)ext_super_s_journal_inum(ext->super);
    uint8_t *uuid = ext_super_s_journal_uuid(ext->super);
    if ((ino != 0 || !ext_has(ext, EXT_HAS_JOURNAL)) && !all_zero(uuid, 16) &&
        ext_problem(c, "journal", SUPER_OFF(s_journal_uuid),
                    "the superblock has the UUID of an external journal, but uses none")) {
        memset(uuid, 0, 16);
        ext_super_changed(ext);
    }
    if (!ext_has(ext, EXT_HAS_JOURNAL)) {
        bool stray = ino != 0 || ext_has(ext, EXT_NEEDS_RECOVERY);
        if (stray && ext_problem(c, "journal", SUPER_OFF(s_journal_inum),
                                 "the superblock names a journal, but there is none (no has_journal)")) {
            drop_journal(ext);
            c->copies = true;
        }
        return true;
    }
    if (ino == 0 && ext_super_s_journal_dev(ext->super) != 0)
        return true;
    bool ok = ino == 0 ? fail(&why, E_DAMAGED, "s_journal_inum is 0") : ext_journal_open(ext, &j, &why);
    if (ino != 0)
        ext_journal_close(&j);
    if (ok && !j.from_backup)
        return true;
    if (mend_journal_number(c, ino))
        return check_journal(c, err);
    if (ok)
        return ino != EXT_JOURNAL_INO || restore_journal_inode(c, ino, err);
    if (why.kind != E_DAMAGED && why.kind != E_UNSUPPORTED) {
        *err = why;
        return false;
    }
    if (ext_problem(c, "journal", why.device ? why.offset : SUPER_OFF(s_journal_inum), "journal: %s",
                    why.message)) {
        struct ext_inode inode;
        uint64_t blocks = journal_blocks(c, ino);
        c->new_journal = blocks ? blocks : ext_default_journal_blocks(ext->blocks);
        c->fast_commit = ext_has(ext, EXT_FAST_COMMIT);
        drop_journal(ext);
        c->copies = true;
        if (ino != EXT_JOURNAL_INO) /* something else's: the root directory's, a file's */
            return true;
        if (!ext_check_inode(c, ino, &inode, err))
            return false;
        memset(inode.raw, 0, ext->inode_size);
        ext_inode_dirty(ext, &inode);
        ext_inode_put(ext, &inode);
    }
    return true;
}

/* ---- orphans of a volume that is only looked at -------------------------------------------------------- */

static bool note_orphan(struct ext_checker *c, uint32_t ino, struct error *err)
{
    struct ext_tally_slot *slot = ext_tally_slot(&c->orphans, ino, err);
    if (!slot)
        return false;
    slot->count++;
    if (slot->count == 1)
        check_found(c->check, FINDING_NOTE, "orphan", NULL, 0, false,
                    "inode %u was being deleted or truncated when the volume was last in use", ino);
    return true;
}

static bool collect_orphans(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    uint32_t ino = (uint32_t)ext_super_s_last_orphan(ext->super);
    while (ino != 0) {
        struct ext_inode inode;
        const struct ext_tally_slot *seen = ext_tally_find(&c->orphans, ino);
        if (ino < ext->first_ino || ino > ext->inodes || seen) {
            if (ext_problem(c, "orphan-list", SUPER_OFF(s_last_orphan),
                            "the list of orphans leads to inode %u%s", ino, seen ? " again" : "")) {
                ext_super_set_s_last_orphan(ext->super, 0);
                ext_super_changed(ext);
            }
            return true;
        }
        if (!note_orphan(c, ino, err) || !ext_check_inode(c, ino, &inode, err))
            return false;
        ino = (uint32_t)ext_inode_i_dtime(inode.raw);
        ext_inode_put(ext, &inode);
    }
    return true;
}

/* The MMP block is the volume's own. */
static bool place_mmp(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    uint64_t mmp = ext_has(ext, EXT_MMP) ? ext_super_s_mmp_block(ext->super) : 0;
    if (mmp == 0)
        return true;
    if (ext_check_may_own(c, mmp, 1))
        return ext_check_add_meta(c, mmp, 1, err);
    if (ext_problem(c, "mmp", SUPER_OFF(s_mmp_block), "s_mmp_block is %llu, no block for it",
                    (unsigned long long)mmp))
        ext_check_drop_mmp(c);
    return true;
}

bool ext_check_super(struct ext_checker *c, struct error *err)
{
    check_fields(c);
    if (!ext_check_descs(c, err) || !ext_check_place_tables(c, err) || !place_mmp(c, err))
        return false;
    if (c->repair && c->displaced_tables.total)
        return ext_check_move_tables(c, err);
    return check_journal(c, err) && collect_orphans(c, err);
}
