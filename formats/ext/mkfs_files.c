/*
 * The first files of a new volume, in the order in which mke2fs gives them their blocks: /, lost+found, the
 * resize inode, the journal, the MMP block, the quota files and the orphan file.
 */
#include "backup.h"
#include "mkfs.h"

#include "alloc.h"
#include "journal.h"
#include "quota.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { LOST_FOUND_INO = EXT_GOOD_OLD_FIRST_INO };

/* Where the blocks of an inode should lie: its group, or the front of its flexible group. */
static uint64_t make_goal(const struct ext_make *m, uint32_t ino)
{
    uint32_t group = ext_group_of_inode(&m->ext, ino);
    if (m->plan.flex_groups)
        group &= ~(m->plan.flex_groups - 1);
    return ext_group_first_block(&m->ext, group);
}

/* A new inode: mode, links and times; owner 0. */
static void inode_start(const struct ext_make *m, uint8_t *inode, uint32_t mode, uint32_t links)
{
    const struct ext_fs *e = &m->ext;
    struct fs_time now = {m->plan.now, 0};
    memset(inode, 0, e->inode_size);
    ext_inode_set_i_mode(inode, mode);
    ext_inode_set_i_links_count(inode, links);
    if (e->inode_size > EXT_GOOD_OLD_INODE_SIZE)
        ext_inode_set_i_extra_isize(inode, EXT_INODE_FIELDS - EXT_GOOD_OLD_INODE_SIZE);
    ext_inode_set_time(e, inode, EXT_ATIME, now);
    ext_inode_set_time(e, inode, EXT_CTIME, now);
    ext_inode_set_time(e, inode, EXT_MTIME, now);
    ext_inode_set_time(e, inode, EXT_CRTIME, now);
}

static void set_size(uint8_t *inode, uint64_t size)
{
    ext_inode_set_i_size_lo(inode, (uint32_t)size);
    ext_inode_set_i_size_high(inode, size >> 32);
}

static uint64_t file_block(const struct ext_make_file *file, uint64_t block)
{
    size_t i = 0;
    while (block >= file->runs[i].len)
        block -= file->runs[i++].len;
    return file->runs[i].start + block;
}

/* ---- directories ---- */

static uint8_t *dir_entry(const struct ext_make *m, uint8_t *entry, uint32_t ino, uint32_t rec_len,
                          const char *name)
{
    ext_de_set_inode(entry, ino);
    ext_set_rec_len(entry, rec_len);
    ext_de_set_name_len(entry, strlen(name));
    if (ino && ext_has(&m->ext, EXT_FILETYPE))
        ext_de_set_file_type(entry, 2);
    memcpy(entry + EXT_DIRENT_HEADER, name, strlen(name));
    return entry + rec_len;
}

static bool write_dir_block(struct ext_make *m, uint32_t ino, uint64_t block, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    if (e->has_csum) {
        uint8_t *tail = m->block + e->block_size - EXT_DIR_TAIL;
        ext_det_set_det_rec_len(tail, EXT_DIR_TAIL);
        ext_det_set_det_reserved_ft(tail, EXT_DIR_TAIL_TYPE);
        ext_det_set_det_checksum(tail, ext_dir_csum(e, ext_inode_seed(e, ino, 0), m->block));
    }
    return ext_make_write(m, ext_offset(e, block), m->block, e->block_size, err);
}

static bool make_root(struct ext_make *m, uint8_t *inode, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    struct ext_make_file file = {.ino = EXT_ROOT_INO, .goal = make_goal(m, EXT_ROOT_INO)};
    inode_start(m, inode, S_IFDIR | 0755, 3);
    ext_inode_set_i_uid(inode, (uint16_t)m->plan.root_uid);
    ext_inode_set_i_uid_high(inode, m->plan.root_uid >> 16);
    ext_inode_set_i_gid(inode, (uint16_t)m->plan.root_gid);
    ext_inode_set_i_gid_high(inode, m->plan.root_gid >> 16);
    set_size(inode, e->block_size);
    bool ok = ext_make_map(m, &file, inode, 1, err);
    if (ok) {
        uint32_t left = e->block_size - (e->has_csum ? EXT_DIR_TAIL : 0) - 24;
        memset(m->block, 0, e->block_size);
        uint8_t *entry = dir_entry(m, m->block, EXT_ROOT_INO, 12, ".");
        entry = dir_entry(m, entry, EXT_ROOT_INO, 12, "..");
        dir_entry(m, entry, LOST_FOUND_INO, left, "lost+found");
        ok = write_dir_block(m, EXT_ROOT_INO, file.runs[0].start, err) &&
             ext_make_inode(m, EXT_ROOT_INO, inode, err);
    }
    free(file.runs);
    return ok;
}

/* lost+found has blocks in advance (16 KiB), so that e2fsck need not allocate on a damaged volume. */
static bool make_lost_found(struct ext_make *m, uint8_t *inode, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    struct ext_make_file file = {.ino = LOST_FOUND_INO, .goal = make_goal(m, LOST_FOUND_INO)};
    uint64_t blocks = 16 * KiB / e->block_size;
    blocks = MAX_OF(2, MIN_OF(blocks, EXT_NDIR));
    bool was_inline = ext_has(e, EXT_INLINE_DATA); /* mke2fs grows it out of its inode */
    blocks -= was_inline;
    inode_start(m, inode, S_IFDIR | 0700, 2);
    if (was_inline)
        ext_xi_set_h_magic(inode + EXT_INODE_FIELDS, EXT_XATTR_MAGIC);
    set_size(inode, blocks * e->block_size);
    bool ok = ext_make_map(m, &file, inode, blocks, err);
    uint32_t room = e->block_size - (e->has_csum ? EXT_DIR_TAIL : 0);
    for (uint64_t i = 0; ok && i < blocks; i++) {
        memset(m->block, 0, e->block_size);
        uint8_t *entry = m->block;
        if (i == 0) {
            entry = dir_entry(m, entry, LOST_FOUND_INO, 12, ".");
            entry = dir_entry(m, entry, EXT_ROOT_INO, was_inline ? 12 : room - 12, "..");
            if (was_inline)
                dir_entry(m, entry, 0, room - 24, "");
        } else {
            dir_entry(m, entry, 0, room, "");
        }
        ok = write_dir_block(m, LOST_FOUND_INO, file_block(&file, i), err);
    }
    free(file.runs);
    return ok && ext_make_inode(m, LOST_FOUND_INO, inode, err);
}

/* ---- inodes without a name ---- */

static bool make_reserved(struct ext_make *m, uint8_t *inode, struct error *err)
{
    struct fs_time now = {m->plan.now, 0};
    for (uint32_t ino = 1; ino < m->ext.first_ino; ino++) {
        memset(inode, 0, m->ext.inode_size);
        if (ino == EXT_BAD_INO) {
            ext_inode_set_time(&m->ext, inode, EXT_ATIME, now);
            ext_inode_set_time(&m->ext, inode, EXT_CTIME, now);
            ext_inode_set_time(&m->ext, inode, EXT_MTIME, now);
        }
        if (ino != EXT_ROOT_INO && !ext_make_inode(m, ino, inode, err))
            return false;
    }
    return true;
}

/* Inode 7 owns the blocks reserved for descriptors. */
static bool make_resize_inode(struct ext_make *m, uint8_t *inode, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    uint32_t reserved = (uint32_t)ext_super_s_reserved_gdt_blocks(e->super), per_block = e->block_size / 4;
    uint64_t blocks = 1;
    struct ext_run dind;
    uint64_t goal = (uint64_t)e->first_data_block + e->desc_blocks + reserved + 2 + e->table_blocks;
    if (!ext_make_find(m, goal, 1, &dind, err) || !ext_make_take(m, dind.start, 1, err))
        return false;
    bool ok = true;
    for (uint32_t i = 0; ok && i < reserved; i++) {
        blocks += 1 + ext_reserve_copies(e, i, m->block);
        ok = ext_make_write(m, ext_offset(e, ext_reserve_block(e, i)), m->block, e->block_size, err);
    }
    ext_reserve_list(e, m->block);
    ok = ok && ext_make_write(m, ext_offset(e, dind.start), m->block, e->block_size, err);
    if (!ok)
        return false;
    inode_start(m, inode, S_IFREG | 0600, 1);
    store_le32(ext_inode_i_block(inode) + (size_t)4 * 13, (uint32_t)dind.start);
    uint64_t size = ((uint64_t)per_block * per_block + per_block + EXT_NDIR) * e->block_size;
    set_size(inode, size);
    if (size > INT32_MAX) {
        m->ext.ro_compat |= (uint32_t)EXT_LARGE_FILE;
        ext_super_feature(m->ext.super, EXT_LARGE_FILE, true);
    }
    ext_inode_set_i_blocks_lo(inode, (uint32_t)(blocks * (e->cluster_size / 512)));
    return ext_make_inode(m, EXT_RESIZE_INO, inode, err);
}

/* ---- journal ---- */

/* The emptiest of the groups around the middle of the volume. */
static uint64_t journal_goal(const struct ext_make *m)
{
    const struct ext_fs *e = &m->ext;
    uint32_t flex = m->plan.flex_groups;
    uint32_t group = ext_group_of_block(e, (e->blocks - e->first_data_block) / 2), start;
    if (flex && group > flex) {
        group &= ~(flex - 1);
        while (group < e->groups && ext_make_group_free(m, group) == 0)
            group++;
        if (group == e->groups)
            group = 0;
        start = group;
    } else {
        start = group > 0 ? group - 1 : group;
    }
    uint32_t end = MIN_OF(group + 1, e->groups - 1), best = start;
    for (group = start + 1; group <= end; group++)
        if (ext_make_group_free(m, group) > ext_make_group_free(m, best))
            best = group;
    return ext_group_first_block(e, best);
}

static bool make_journal(struct ext_make *m, uint8_t *inode, struct error *err)
{
    struct ext_fs *e = &m->ext;
    uint64_t goal = m->plan.journal_goal == UINT64_MAX ? journal_goal(m) : m->plan.journal_goal;
    if (!ext_has(e, EXT_EXTENTS))
        goal = make_goal(m, EXT_JOURNAL_INO);
    struct ext_make_file file = {.ino = EXT_JOURNAL_INO, .goal = goal};
    inode_start(m, inode, S_IFREG | 0600, 1);
    set_size(inode, m->plan.journal_blocks * e->block_size);
    bool ok = ext_make_map(m, &file, inode, m->plan.journal_blocks, err);
    for (size_t i = 0; ok && i < file.count; i++)
        ok = ext_make_zero(m, file.runs[i].start, file.runs[i].len, err);
    if (ok) {
        memset(m->block, 0, e->block_size);
        jbd_super_set_h_magic(m->block, JBD_MAGIC);
        jbd_super_set_h_blocktype(m->block, JBD_SUPER_V2);
        jbd_super_set_s_blocksize(m->block, e->block_size);
        jbd_super_set_s_maxlen(m->block, m->plan.journal_blocks);
        jbd_super_set_s_first(m->block, 1);
        jbd_super_set_s_sequence(m->block, 1);
        memcpy(jbd_super_s_uuid(m->block), m->plan.uuid, 16);
        jbd_super_set_s_nr_users(m->block, 1);
        jbd_super_set_s_num_fc_blks(m->block, m->plan.fast_commit_blocks);
        ok = ext_make_write(m, ext_offset(e, file.runs[0].start), m->block, e->block_size, err) &&
             ext_make_inode(m, EXT_JOURNAL_INO, inode, err);
    }
    free(file.runs);
    uint8_t *copy = ext_super_s_jnl_blocks(e->super);
    memcpy(copy, ext_inode_i_block(inode), EXT_I_BLOCK_SIZE);
    store_le32(copy + EXT_I_BLOCK_SIZE, (uint32_t)ext_inode_i_size_high(inode));
    store_le32(copy + EXT_I_BLOCK_SIZE + 4, (uint32_t)ext_inode_i_size_lo(inode));
    ext_super_set_s_jnl_backup_type(e->super, 1);
    ext_super_set_s_journal_inum(e->super, EXT_JOURNAL_INO);
    return ok;
}

/* ---- mmp, quota, orphans ---- */

static bool make_mmp(struct ext_make *m, struct error *err)
{
    struct ext_fs *e = &m->ext;
    struct ext_run run;
    if (!ext_make_find(m, 0, 1, &run, err) || !ext_make_take(m, run.start, 1, err))
        return false;
    uint32_t interval = m->plan.mmp_interval ? m->plan.mmp_interval : 5;
    memset(m->block, 0, e->block_size);
    ext_mmp_set_mmp_magic(m->block, EXT_MMP_MAGIC);
    ext_mmp_set_mmp_seq(m->block, EXT_MMP_CLEAN);
    ext_mmp_set_mmp_time(m->block, (uint64_t)m->plan.now);
    ext_mmp_set_mmp_check_interval(m->block, interval);
    if (e->has_csum)
        ext_mmp_set_mmp_checksum(m->block, ext_csum(e, m->block, ext_mmp_off_mmp_checksum));
    ext_super_set_s_mmp_block(e->super, run.start);
    ext_super_set_s_mmp_update_interval(e->super, interval);
    return ext_make_write(m, ext_offset(e, run.start), m->block, e->block_size, err);
}

/*
 * Blocks of a quota file of `blocks` blocks. With 1 KiB blocks mke2fs writes the tree's root, block 1, last,
 * so that one lies behind the others.
 */
static bool take_quota_blocks(struct ext_make *m, struct ext_make_file *file, uint64_t blocks,
                              struct error *err)
{
    struct ext_run *runs = mem_array(blocks, sizeof *runs, err);
    if (!runs)
        return false;
    file->runs = runs;
    for (uint64_t i = 0, from = file->goal; i < blocks; i++) {
        uint64_t at = i == 0 || m->ext.block_size != EXT_QUOTA_BLOCK ? i : i == blocks - 1 ? 1 : i + 1;
        if (!ext_make_find(m, from, 1, &runs[at], err) || !ext_make_take(m, runs[at].start, 1, err))
            return false;
        from = runs[at].start + 1;
    }
    for (uint64_t i = 0; i < blocks; i++) {
        struct ext_run *last = file->count ? &runs[file->count - 1] : NULL;
        if (last && last->start + last->len == runs[i].start)
            last->len++;
        else
            runs[file->count++] = runs[i];
    }
    return true;
}

static bool make_quota(struct ext_make *m, uint32_t ino, const uint8_t *bytes, size_t len, uint8_t *inode,
                       struct error *err)
{
    struct ext_fs *e = &m->ext;
    struct ext_make_file file = {.ino = ino, .goal = make_goal(m, ino)};
    uint64_t blocks = div_up(len, e->block_size);
    inode_start(m, inode, S_IFREG | 0600, 1);
    ext_inode_set_i_flags(inode, EXT_FL_IMMUTABLE);
    set_size(inode, len);
    bool ok = (e->cluster_bits || take_quota_blocks(m, &file, blocks, err)) &&
              ext_make_map(m, &file, inode, blocks, err);
    for (uint64_t i = 0; ok && i < blocks; i++) {
        uint64_t at = i * e->block_size;
        memset(m->block, 0, e->block_size);
        memcpy(m->block, bytes + at, MIN_OF(len - at, e->block_size));
        ok = ext_make_write(m, ext_offset(e, file_block(&file, i)), m->block, e->block_size, err);
    }
    free(file.runs);
    return ok && ext_make_inode(m, ino, inode, err);
}

/* What /, and lost+found, use: they belong to the same owner or to two. */
static bool make_quotas(struct ext_make *m, uint64_t root_bytes, uint64_t lost_found_bytes, uint8_t *inode,
                        struct error *err)
{
    const uint32_t owners[] = {m->plan.root_uid, m->plan.root_gid, 0};
    for (unsigned type = 0; type < EXT_QUOTA_TYPES; type++) {
        if (!(m->plan.quota_types & 1u << type))
            continue;
        uint8_t entries[2][EXT_QUOTA_ENTRY_SIZE] = {{0}};
        size_t count = owners[type] ? 2 : 1;
        ext_qe_set_dqb_id(entries[count - 1], owners[type]);
        ext_qe_set_dqb_curinodes(entries[count - 1], 1);
        ext_qe_set_dqb_curspace(entries[count - 1], root_bytes);
        ext_qe_set_dqb_curinodes(entries[0], ext_qe_dqb_curinodes(entries[0]) + 1);
        ext_qe_set_dqb_curspace(entries[0], ext_qe_dqb_curspace(entries[0]) + lost_found_bytes);
        uint32_t ino = type == EXT_QUOTA_PROJECT ? ++m->last_ino : EXT_USER_QUOTA_INO + type;
        uint8_t *bytes;
        size_t len;
        if (!ext_quota_build(type, entries[0], count, &bytes, &len, err))
            return false;
        bool ok = make_quota(m, ino, bytes, len, inode, err);
        free(bytes);
        if (!ok)
            return false;
        ext_quota_set_ino(m->ext.super, type, ino);
    }
    return true;
}

static uint64_t orphan_blocks(const struct ext_make *m)
{
    uint64_t blocks = m->plan.orphan_blocks, all = m->ext.blocks;
    if (blocks == 0)
        blocks = all < 128 * KiB ? 32 : all < 2 * MiB ? all / 4096 : 512;
    return MIN_OF(round_up(blocks, (uint64_t)1 << m->ext.cluster_bits), 512);
}

static bool make_orphan_file(struct ext_make *m, uint8_t *inode, struct error *err)
{
    struct ext_fs *e = &m->ext;
    uint32_t ino = ++m->last_ino;
    struct ext_make_file file = {.ino = ino, .goal = make_goal(m, ino)};
    uint64_t blocks = orphan_blocks(m);
    inode_start(m, inode, S_IFREG | 0600, 1);
    set_size(inode, blocks * e->block_size);
    bool ok = ext_make_map(m, &file, inode, blocks, err);
    for (uint64_t i = 0; ok && i < blocks; i++) {
        uint64_t block = file_block(&file, i);
        uint8_t *tail = m->block + e->block_size - EXT_ORPHAN_TAIL_SIZE;
        memset(m->block, 0, e->block_size);
        ext_ob_set_ob_magic(tail, EXT_ORPHAN_MAGIC);
        if (e->has_csum)
            ext_ob_set_ob_checksum(tail, ext_orphan_csum(e, ext_inode_seed(e, ino, 0), block, m->block));
        ok = ext_make_write(m, ext_offset(e, block), m->block, e->block_size, err);
    }
    free(file.runs);
    ext_super_set_s_orphan_file_inum(e->super, ino);
    return ok && ext_make_inode(m, ino, inode, err);
}

bool ext_make_files(struct ext_make *m, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    uint8_t *inode = mem_new(e->inode_size, err);
    if (!inode)
        return false;
    m->last_ino = LOST_FOUND_INO;
    bool ok = make_root(m, inode, err);
    uint64_t root_bytes = ok ? ext_inode_i_blocks_lo(inode) * 512 : 0;
    ok = ok && make_lost_found(m, inode, err);
    uint64_t lost_found_bytes = ok ? ext_inode_i_blocks_lo(inode) * 512 : 0;
    ok = ok && make_reserved(m, inode, err) &&
         (!ext_has(e, EXT_RESIZE_INODE) || make_resize_inode(m, inode, err)) &&
         (!ext_has(e, EXT_HAS_JOURNAL) || make_journal(m, inode, err)) &&
         (!ext_has(e, EXT_MMP) || make_mmp(m, err)) &&
         (!ext_has(e, EXT_QUOTA) || make_quotas(m, root_bytes, lost_found_bytes, inode, err)) &&
         (!ext_has(e, EXT_ORPHAN_FILE) || make_orphan_file(m, inode, err));
    free(inode);
    return ok;
}
