/* Features that bring structures of their own, made and taken away:
 * journal, orphan file, MMP, quota, reserve. */
#include "tune.h"

#include "check.h"
#include "journal.h"
#include "mkfs.h"
#include "usage.h"

#include "alloc.h"
#include "clock.h"

#include <stdlib.h>
#include <sys/stat.h>

/* ---- inodes of the volume's own ---- */

/* A fresh regular file in inode `ino`, which is marked as in use already. */
static void start_inode(struct ext_fs *ext, struct ext_inode *inode)
{
    struct fs_time now = clock_now();
    memset(inode->raw, 0, ext->inode_size);
    ext_inode_set_i_mode(inode->raw, S_IFREG | 0600);
    ext_inode_set_i_links_count(inode->raw, 1);
    if (ext->inode_size > EXT_GOOD_OLD_INODE_SIZE)
        ext_inode_set_i_extra_isize(inode->raw, EXT_INODE_FIELDS - EXT_GOOD_OLD_INODE_SIZE);
    for (int stamp = EXT_ATIME; stamp <= EXT_CRTIME; stamp++)
        ext_inode_set_time(ext, inode->raw, (enum ext_stamp)stamp, now);
    ext_map_init(ext, inode);
    ext_inode_dirty(ext, inode);
}

/* Give the inode `blocks` blocks; zeroed. */
static bool fill_inode(struct ext_fs *ext, struct ext_inode *inode, uint64_t blocks, struct error *err)
{
    for (uint64_t at = 0; at < blocks;) {
        struct ext_mapping m;
        if (!interrupt_check(err) || !ext_map_fill(ext, inode, at, blocks - at, false, &m, err) ||
            !device_zero(ext->dev, ext_offset(ext, m.start), ext_offset(ext, m.len),
                         ext_write_class(ext, m.start, m.len), err))
            return false;
        at += m.len;
    }
    ext_inode_set_size(ext, inode->raw, ext_offset(ext, blocks));
    ext_inode_dirty(ext, inode);
    return true;
}

/* Give all blocks of a reserved inode back and empty it. */
static bool empty_inode(struct ext_fs *ext, uint32_t ino, struct error *err)
{
    struct ext_inode inode;
    if (!ext_inode_get(ext, ino, &inode, err))
        return false;
    bool ok = ext_map_remove(ext, &inode, 0, ext_map_max_block(ext, &inode), err);
    memset(inode.raw, 0, ext->inode_size);
    ext_inode_dirty(ext, &inode);
    ext_inode_put(ext, &inode);
    return ok;
}

/* The same for one of the numbers that files have: the inode is free afterwards. */
static bool delete_inode(struct ext_fs *ext, uint32_t ino, struct error *err)
{
    struct ext_inode inode;
    if (!ext_inode_get(ext, ino, &inode, err))
        return false;
    bool ok = ext_inode_delete(ext, &inode, err);
    ext_inode_put(ext, &inode);
    return ok;
}

/* ---- journal ---- */

static bool remove_journal(struct ext_fs *ext, struct error *err)
{
    uint32_t ino = (uint32_t)ext_super_s_journal_inum(ext->super);
    if (ext_has(ext, EXT_ORPHAN_FILE))
        return fail(err, E_UNSUPPORTED, "the orphan file needs the journal: switch orphan_file off first");
    if (ino && !(ino < ext->first_ino ? empty_inode(ext, ino, err) : delete_inode(ext, ino, err)))
        return false;
    ext_super_set_s_journal_inum(ext->super, 0);
    ext_super_set_s_journal_dev(ext->super, 0);
    memset(ext_super_s_journal_uuid(ext->super), 0, 16);
    memset(ext_super_s_jnl_blocks(ext->super), 0, 68);
    ext_super_set_s_jnl_backup_type(ext->super, 0);
    ext_set_feature(ext, EXT_FAST_COMMIT, false);
    ext_set_feature(ext, EXT_HAS_JOURNAL, false);
    return true;
}

static bool write_journal_super(struct ext_fs *ext, const struct ext_inode *inode, uint64_t blocks,
                                struct error *err)
{
    struct ext_mapping first;
    uint8_t *super = mem_new(ext->block_size, err);
    bool ok = super && ext_map(ext, inode, 0, &first, err);
    if (ok) {
        jbd_super_set_h_magic(super, JBD_MAGIC);
        jbd_super_set_h_blocktype(super, JBD_SUPER_V2);
        jbd_super_set_s_blocksize(super, ext->block_size);
        jbd_super_set_s_maxlen(super, blocks);
        jbd_super_set_s_first(super, 1);
        jbd_super_set_s_sequence(super, 1);
        memcpy(jbd_super_s_uuid(super), ext_super_s_uuid(ext->super), 16);
        jbd_super_set_s_nr_users(super, 1);
        ok = device_write(ext->dev, ext_offset(ext, first.start), super, ext->block_size, WRITE_UPDATE, err);
    }
    free(super);
    return ok;
}

bool ext_tune_add_journal(struct ext_fs *ext, uint64_t blocks, struct error *err)
{
    struct ext_inode inode;
    if (blocks == 0)
        return fail(err, E_NOSPACE, "the volume is too small for a journal");
    if (!ext_inode_get_raw(ext, EXT_JOURNAL_INO, &inode, err))
        return false;
    start_inode(ext, &inode);
    bool ok = fill_inode(ext, &inode, blocks, err) && write_journal_super(ext, &inode, blocks, err);
    uint8_t *copy = ext_super_s_jnl_blocks(ext->super);
    memcpy(copy, ext_inode_i_block(inode.raw), EXT_I_BLOCK_SIZE);
    store_le32(copy + EXT_I_BLOCK_SIZE, (uint32_t)ext_inode_i_size_high(inode.raw));
    store_le32(copy + EXT_I_BLOCK_SIZE + 4, (uint32_t)ext_inode_i_size_lo(inode.raw));
    ext_inode_put(ext, &inode);
    ext_super_set_s_jnl_backup_type(ext->super, 1);
    ext_super_set_s_journal_inum(ext->super, EXT_JOURNAL_INO);
    ext_set_feature(ext, EXT_HAS_JOURNAL, true);
    return ok;
}

bool ext_tune_journal(struct ext_fs *ext, bool on, struct error *err)
{
    return on ? ext_tune_add_journal(ext, ext_default_journal_blocks(ext->blocks), err)
              : remove_journal(ext, err);
}

/* The kernel makes the area when it first uses it; taking it away needs an empty journal, which it is. */
bool ext_tune_fast_commit(struct ext_fs *ext, bool on, struct error *err)
{
    struct ext_journal j;
    if (!ext_has(ext, EXT_HAS_JOURNAL))
        return fail(err, E_UNSUPPORTED, "the volume has no journal");
    if (!on) {
        bool ok = ext_journal_open(ext, &j, err);
        if (ok) {
            uint64_t incompat = jbd_super_s_feature_incompat(j.super);
            jbd_super_set_s_feature_incompat(j.super, incompat & ~(uint64_t)JBD_INCOMPAT_FAST_COMMIT);
            jbd_super_set_s_num_fc_blks(j.super, 0);
            ok = ext_journal_reset(&j, j.sequence, err);
        }
        ext_journal_close(&j);
        if (!ok)
            return false;
    }
    ext_set_feature(ext, EXT_FAST_COMMIT, on);
    return true;
}

/* ---- orphan file ---- */

static bool add_orphan_file(struct ext_fs *ext, struct error *err)
{
    struct ext_inode inode;
    uint32_t ino;
    uint64_t all = ext->blocks, blocks = all < 128 * KiB ? 32 : all < 2 * MiB ? all / 4096 : 512;
    blocks = round_up(blocks, (uint64_t)1 << ext->cluster_bits);
    if (!ext_has(ext, EXT_HAS_JOURNAL))
        return fail(err, E_UNSUPPORTED, "it needs has_journal");
    if (!ext_inode_alloc(ext, EXT_ROOT_INO, S_IFREG, &ino, err) || !ext_inode_get_raw(ext, ino, &inode, err))
        return false;
    ext_super_set_s_orphan_file_inum(ext->super, ino); /* from here on no quota counts it */
    uint64_t generation = ext_inode_i_generation(inode.raw);
    start_inode(ext, &inode);
    ext_inode_set_i_generation(inode.raw, generation);
    bool ok = fill_inode(ext, &inode, blocks, err);
    for (uint64_t at = 0; ok && at < blocks; at++) {
        struct ext_mapping m;
        struct cache_block *block;
        ok = ext_map(ext, &inode, at, &m, err) &&
             ext_block_new(ext, m.start, EXT_TAG_ORPHANS, ext_inode_owner(&inode), &block, err);
        if (ok) {
            ext_ob_set_ob_magic(block->data + ext->block_size - EXT_ORPHAN_TAIL_SIZE, EXT_ORPHAN_MAGIC);
            ext_block_dirty(ext, block);
            ext_block_put(ext, block);
        }
    }
    ext_inode_put(ext, &inode);
    ext_set_feature(ext, EXT_ORPHAN_FILE, true);
    return ok;
}

bool ext_tune_orphan_file(struct ext_fs *ext, bool on, struct error *err)
{
    uint32_t ino = (uint32_t)ext_super_s_orphan_file_inum(ext->super);
    if (on)
        return add_orphan_file(ext, err);
    if (ino && !delete_inode(ext, ino, err))
        return false;
    ext_super_set_s_orphan_file_inum(ext->super, 0);
    ext_set_feature(ext, EXT_ORPHAN_FILE, false);
    return true;
}

/* ---- multiple mount protection ---- */

bool ext_tune_mmp(struct ext_fs *ext, bool on, struct error *err)
{
    struct ext_run run;
    struct cache_block *block;
    uint64_t at = ext_super_s_mmp_block(ext->super), interval = ext_super_s_mmp_update_interval(ext->super);
    uint64_t mask = ((uint64_t)1 << ext->cluster_bits) - 1;
    if (!on) {
        ext_super_set_s_mmp_block(ext->super, 0);
        ext_super_set_s_mmp_update_interval(ext->super, 0);
        ext_set_feature(ext, EXT_MMP, false);
        return at == 0 || ext_blocks_free(ext, at & ~mask, mask + 1, err);
    }
    if (!ext_blocks_alloc(ext, ext->first_data_block, 1, &run, err) ||
        !ext_block_new(ext, run.start, EXT_TAG_MMP, 0, &block, err))
        return false;
    interval = interval ? interval : 5;
    ext_mmp_set_mmp_magic(block->data, EXT_MMP_MAGIC);
    ext_mmp_set_mmp_seq(block->data, EXT_MMP_CLEAN);
    ext_mmp_set_mmp_time(block->data, (uint64_t)clock_now().sec);
    ext_mmp_set_mmp_check_interval(block->data, interval);
    ext_block_dirty(ext, block);
    ext_block_put(ext, block);
    ext_super_set_s_mmp_block(ext->super, run.start);
    ext_super_set_s_mmp_update_interval(ext->super, interval);
    ext_set_feature(ext, EXT_MMP, true);
    return true;
}

/* ---- quota ---- */

static bool add_quota_file(struct ext_fs *ext, enum ext_quota_type type, struct error *err)
{
    struct ext_inode inode;
    uint32_t ino = type == EXT_QUOTA_USER ? EXT_USER_QUOTA_INO : EXT_GROUP_QUOTA_INO;
    if (type == EXT_QUOTA_PROJECT && !ext_inode_alloc(ext, EXT_ROOT_INO, S_IFREG, &ino, err))
        return false;
    if (!ext_inode_get_raw(ext, ino, &inode, err))
        return false;
    ext_quota_set_ino(ext->super, type, ino);
    uint64_t generation = ext_inode_i_generation(inode.raw);
    start_inode(ext, &inode);
    ext_inode_set_i_generation(inode.raw, generation);
    ext_inode_set_i_flags(inode.raw, ext_inode_i_flags(inode.raw) | EXT_FL_IMMUTABLE);
    bool ok = ext_usage_fill(ext, type, &inode, err);
    ext_inode_put(ext, &inode);
    return ok;
}

bool ext_tune_quota(struct ext_fs *ext, bool on, struct error *err)
{
    ext_quota_drop(ext);
    ext_set_feature(ext, EXT_QUOTA, false); /* nothing is charged while the files are made or taken away */
    for (unsigned type = 0; type < EXT_QUOTA_TYPES; type++) {
        uint32_t ino = ext_quota_ino(ext->super, type);
        if (on && (type != EXT_QUOTA_PROJECT || ext_has(ext, EXT_PROJECT))) {
            if (!add_quota_file(ext, type, err))
                return false;
        } else if (!on && ino) {
            if (!(ino < ext->first_ino ? empty_inode(ext, ino, err) : delete_inode(ext, ino, err)))
                return false;
            ext_quota_set_ino(ext->super, type, 0);
        }
    }
    ext_set_feature(ext, EXT_QUOTA, on);
    return true;
}

/* The quota file goes; inodes keep their ids, which nobody reads then. */
static bool remove_project(struct ext_fs *ext, struct error *err)
{
    uint32_t ino = ext_quota_ino(ext->super, EXT_QUOTA_PROJECT);
    bool quota = ext_has(ext, EXT_QUOTA);
    if (ino != 0) {
        if (!ext_quota_flush(ext, err))
            return false;
        ext_quota_drop(ext);
        ext_set_feature(ext, EXT_QUOTA, false);
        if (!delete_inode(ext, ino, err))
            return false;
        ext_quota_set_ino(ext->super, EXT_QUOTA_PROJECT, 0);
        ext_set_feature(ext, EXT_QUOTA, quota);
    }
    ext_set_feature(ext, EXT_PROJECT, false);
    return true;
}

bool ext_tune_project(struct ext_fs *ext, bool on, struct error *err)
{
    if (!on)
        return remove_project(ext, err);
    if (ext->inode_size <= EXT_GOOD_OLD_INODE_SIZE)
        return fail(err, E_UNSUPPORTED, "it needs inodes of 256 bytes or more");
    ext_set_feature(ext, EXT_PROJECT, true);
    if (!ext_has(ext, EXT_QUOTA))
        return true;
    ext_quota_drop(ext);
    ext_set_feature(ext, EXT_QUOTA, false);
    bool ok = add_quota_file(ext, EXT_QUOTA_PROJECT, err);
    ext_set_feature(ext, EXT_QUOTA, true);
    return ok;
}
