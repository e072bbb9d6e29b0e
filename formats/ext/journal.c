/* The journal's file and superblock, and recovery as a whole. */
#include "journal.h"

#include "alloc.h"
#include "checksum.h"
#include "rescue.h"

#include <stdlib.h>

/* ---- where the journal lies ---- */

static bool add_run(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    struct ext_journal *j = arg;
    const struct ext_mapping *m = &visit->mapping;
    if (!visit->data || m->start == 0)
        return true;
    if (!mem_grow(&j->runs, &j->run_capacity, j->run_count + 1, sizeof *j->runs, err))
        return false;
    j->runs[j->run_count++] = (struct ext_journal_run){m->block, m->start, m->len};
    return true;
}

static bool map_inode(struct ext_journal *j, const struct ext_inode *inode, struct error *err)
{
    j->run_count = 0;
    return ext_map_walk(j->ext, inode, add_run, j, err);
}

/* The journal's inode from its copy in the superblock. */
static bool map_backup(struct ext_journal *j, struct error *err)
{
    struct ext_fs *ext = j->ext;
    const uint8_t *copy = ext_super_s_jnl_blocks(ext->super);
    uint8_t *raw = mem_new(ext->inode_size, err);
    if (!raw)
        return false;
    /* It lies in no block; what is wrong with it lies in the superblock. */
    struct cache_block block = {.data = raw};
    block.off = EXT_SUPER_OFFSET + ext_super_off_s_jnl_blocks - ext_inode_off_i_block;
    struct ext_inode inode = {.ino = EXT_JOURNAL_INO, .raw = raw, .block = &block};
    memcpy(ext_inode_i_block(raw), copy, EXT_I_BLOCK_SIZE);
    ext_inode_set_i_mode(raw, 0100600);
    ext_inode_set_i_links_count(raw, 1);
    ext_inode_set_i_size_high(raw, load_le32(copy + EXT_I_BLOCK_SIZE));
    ext_inode_set_i_size_lo(raw, load_le32(copy + EXT_I_BLOCK_SIZE + 4));
    if (load_le16(copy) == EXT_EXTENT_MAGIC)
        ext_inode_set_i_flags(raw, EXT_FL_EXTENTS);
    bool ok = map_inode(j, &inode, err);
    free(raw);
    return ok;
}

static bool map_journal(struct ext_journal *j, struct error *err)
{
    struct ext_fs *ext = j->ext;
    uint32_t ino = (uint32_t)ext_super_s_journal_inum(ext->super);
    if (ino == 0)
        return fail(err, E_UNSUPPORTED, "the journal lies on another device (%#x)",
                    (unsigned)ext_super_s_journal_dev(ext->super));
    struct ext_inode inode;
    bool ok = ext_inode_live(ext, ino, &inode, err);
    if (ok) {
        ok = map_inode(j, &inode, err) && j->run_count > 0;
        ext_inode_put(ext, &inode);
    }
    if (!ok && ext_super_s_jnl_backup_type(ext->super) == 1)
        ok = j->from_backup = map_backup(j, err);
    if (ok && j->run_count == 0)
        ok = damaged(err, j->base, EXT_SUPER_OFFSET, "the journal (inode %u) has no blocks", ino);
    return ok;
}

bool ext_journal_locate(const struct ext_journal *j, uint32_t block, uint64_t *volume_block,
                        struct error *err)
{
    size_t low = 0, high = j->run_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct ext_journal_run *run = &j->runs[middle];
        if (block < run->first)
            high = middle;
        else if (block - run->first >= run->len)
            low = middle + 1;
        else {
            *volume_block = run->start + (block - run->first);
            return true;
        }
    }
    return fail(err, E_DAMAGED, "block %u of the journal is not mapped", block);
}

bool ext_journal_read(const struct ext_journal *j, uint32_t block, uint8_t *bytes, struct error *err)
{
    uint64_t at = 0;
    return ext_journal_locate(j, block, &at, err) &&
           device_read(j->log, ext_offset(j->ext, at), bytes, j->ext->block_size, err);
}

/* ---- the superblock ---- */

static uint32_t super_csum(const uint8_t *super)
{
    uint8_t copy[JBD_SUPER_SIZE];
    memcpy(copy, super, sizeof copy);
    jbd_super_set_s_checksum(copy, 0);
    return crc32c(~(uint32_t)0, copy, sizeof copy);
}

static bool decode_features(struct ext_journal *j, uint64_t off, struct error *err)
{
    const uint8_t *s = j->super;
    if (jbd_super_h_blocktype(s) == JBD_SUPER_V1)
        return true;
    uint32_t incompat = (uint32_t)jbd_super_s_feature_incompat(s);
    if (incompat & ~(uint32_t)JBD_INCOMPAT_KNOWN)
        return fail(err, E_UNSUPPORTED, "the journal has unknown features 0x%x",
                    incompat & ~(uint32_t)JBD_INCOMPAT_KNOWN);
    if (jbd_super_s_feature_ro_compat(s))
        return fail(err, E_UNSUPPORTED, "the journal has unknown read-only features 0x%x",
                    (unsigned)jbd_super_s_feature_ro_compat(s));
    j->wide = incompat & JBD_INCOMPAT_64BIT;
    if (incompat & JBD_INCOMPAT_CSUM_V3)
        j->checksums = 3;
    else if (incompat & JBD_INCOMPAT_CSUM_V2)
        j->checksums = 2;
    else if (jbd_super_s_feature_compat(s) & JBD_COMPAT_CHECKSUM)
        j->checksums = 1;
    if (j->checksums > 1 && jbd_super_s_checksum(s) != super_csum(s))
        return damaged(err, j->log, off, "journal superblock: s_checksum is 0x%08x, not 0x%08x",
                       (unsigned)jbd_super_s_checksum(s), (unsigned)super_csum(s));
    j->seed = crc32c(~(uint32_t)0, jbd_super_s_uuid(s), 16);
    if (incompat & JBD_INCOMPAT_FAST_COMMIT) {
        uint32_t fast = (uint32_t)jbd_super_s_num_fc_blks(s);
        fast = fast ? fast : 256;
        if (fast < j->blocks) {
            j->end = j->blocks - fast;
            j->fast_first = j->end + 1;
        }
    }
    return true;
}

static bool load_super(struct ext_journal *j, struct error *err)
{
    const uint8_t *s = j->super;
    const struct ext_journal_run *last = &j->runs[j->run_count - 1];
    uint64_t at = 0, off;
    if (!ext_journal_locate(j, j->at, &at, err))
        return false;
    off = ext_offset(j->ext, at);
    if (!device_read(j->log, off, j->super, JBD_SUPER_SIZE, err))
        return false;
    uint32_t type = (uint32_t)jbd_super_h_blocktype(s);
    if (jbd_super_h_magic(s) != JBD_MAGIC || (type != JBD_SUPER_V1 && type != JBD_SUPER_V2))
        return damaged(err, j->log, off, "no journal superblock: h_magic is 0x%08x, h_blocktype %u",
                       (unsigned)jbd_super_h_magic(s), type);
    if (jbd_super_s_blocksize(s) != j->ext->block_size)
        return damaged(err, j->log, off, "journal superblock: s_blocksize is %u, not %u",
                       (unsigned)jbd_super_s_blocksize(s), j->ext->block_size);
    j->blocks = j->end = (uint32_t)jbd_super_s_maxlen(s);
    j->first = (uint32_t)jbd_super_s_first(s);
    j->sequence = (uint32_t)jbd_super_s_sequence(s);
    j->start = (uint32_t)jbd_super_s_start(s);
    if (j->blocks > last->first + last->len)
        return damaged(err, j->log, off, "journal superblock: s_maxlen is %u, but the file has %llu blocks",
                       j->blocks, (unsigned long long)(last->first + last->len));
    if (!decode_features(j, off, err))
        return false;
    if (j->first == 0 || j->first >= j->end || (j->start && (j->start < j->first || j->start >= j->end)))
        return damaged(err, j->log, off,
                       "journal superblock: s_first %u, s_start %u and the end %u do not fit", j->first,
                       j->start, j->end);
    return true;
}

static bool begin(struct ext_fs *ext, struct ext_journal *j, struct error *err)
{
    *j = (struct ext_journal){.ext = ext, .base = ext->rescue ? ext->rescue->overlay : ext->fs.device};
    j->log = j->base;
    j->block = mem_new(ext->block_size, err);
    return j->block != NULL;
}

bool ext_journal_open(struct ext_fs *ext, struct ext_journal *j, struct error *err)
{
    return begin(ext, j, err) && map_journal(j, err) && load_super(j, err);
}

/* A device that holds nothing but a journal says so in a superblock of ext;
 * its blocks count from its start. */
static bool is_journal_of(const struct ext_fs *ext, struct device *log)
{
    uint8_t super[EXT_SUPER_SIZE];
    struct error ignored;
    return log->size >= EXT_SUPER_OFFSET + EXT_SUPER_SIZE &&
           device_read(log, EXT_SUPER_OFFSET, super, sizeof super, &ignored) &&
           ext_super_s_magic(super) == EXT_MAGIC &&
           (ext_super_s_feature_incompat(super) & (uint32_t)EXT_JOURNAL_DEV) &&
           memcmp(ext_super_s_uuid(super), ext_super_s_journal_uuid(ext->super), 16) == 0;
}

bool ext_journal_open_on(struct ext_fs *ext, struct device *log, struct ext_journal *j, struct error *err)
{
    if (!begin(ext, j, err))
        return false;
    if (!is_journal_of(ext, log))
        return fail(err, E_NOENT, "the device is not the volume's journal");
    j->log = log;
    j->at = (EXT_SUPER_OFFSET >> ext->block_bits) + 1;
    if (!mem_grow(&j->runs, &j->run_capacity, 1, sizeof *j->runs, err))
        return false;
    j->runs[j->run_count++] = (struct ext_journal_run){0, 0, log->size >> ext->block_bits};
    return load_super(j, err);
}

void ext_journal_close(struct ext_journal *j)
{
    free(j->runs);
    free(j->block);
}

bool ext_journal_reset(struct ext_journal *j, uint32_t sequence, struct error *err)
{
    uint64_t at = 0;
    jbd_super_set_s_start(j->super, 0);
    jbd_super_set_s_sequence(j->super, sequence);
    jbd_super_set_s_errno(j->super, 0);
    if (j->checksums > 1)
        jbd_super_set_s_checksum(j->super, super_csum(j->super));
    return ext_journal_locate(j, j->at, &at, err) &&
           device_write(j->log, ext_offset(j->ext, at), j->super, JBD_SUPER_SIZE, WRITE_UPDATE, err);
}

/* ---- recovery ------------------------------------------------------------------------------------------ */

/* The kernel does not log the superblock's counts: they follow from the descriptors. */
static bool sum_counts(struct ext_fs *view, uint64_t *blocks, uint64_t *inodes, struct error *err)
{
    *blocks = *inodes = 0;
    for (uint32_t i = 0; i < view->groups; i++) {
        struct ext_group group;
        if (!ext_group_get(view, i, &group, err))
            return false;
        *blocks += ext_group_free_blocks_count(view, group.raw);
        *inodes += ext_group_free_inodes_count(view, group.raw);
        ext_group_put(view, &group);
    }
    *blocks <<= view->cluster_bits;
    return true;
}

/* The volume on `target` after the replay: no recovery needed, counts right, errors of the journal kept. */
static bool settle_super(struct ext_journal *j, struct device *target, struct error *err)
{
    struct ext_fs *view = mem_new(sizeof *view, err);
    if (!view)
        return false;
    view->fs.device = view->dev = target;
    uint64_t blocks = 0, inodes = 0;
    bool ok = ext_super_load(view, err);
    if (ok) {
        struct error ignored; /* a damaged descriptor is for the check to find */
        bool counted = sum_counts(view, &blocks, &inodes, &ignored);
        uint64_t state = ext_super_s_state(view->super);
        if (jbd_super_s_errno(j->super) || j->damaged)
            ext_super_set_s_state(view->super, state | EXT_STATE_ERROR);
        ext_set_feature(view, EXT_NEEDS_RECOVERY, false);
        if (counted) {
            ext_set_free_blocks(view, MIN_OF(blocks, view->blocks));
            ext_super_set_s_free_inodes_count(view->super, (uint32_t)MIN_OF(inodes, view->inodes));
        }
        ok = ext_super_store(view, err);
    }
    cache_free(view->cache);
    free(view);
    return ok;
}

static bool recover(struct ext_journal *j, struct device *overlay, struct error *err)
{
    struct device *target = overlay ? overlay : j->base;
    uint32_t next = j->sequence;
    if (j->start != 0) {
        if (!ext_journal_replay(j, overlay, err))
            return false;
        next = j->end_tid + 1;
    }
    if (!settle_super(j, target, err))
        return false;
    if (j->start != 0 && j->fast_first && !ext_fast_replay(j, target, err))
        return because(err, "fast commits");
    return overlay || ext_journal_reset(j, next, err);
}

bool ext_journal_recover(struct ext_fs *ext, bool in_memory, struct error *err)
{
    struct ext_journal j;
    struct device *overlay = NULL;
    if (!ext_has(ext, EXT_NEEDS_RECOVERY))
        return true;
    bool ok = ext_journal_open(ext, &j, err);
    if (ok && in_memory) {
        overlay = ext_overlay_new(j.base, ext->block_size, err);
        ok = overlay != NULL;
    }
    ok = ok && recover(&j, overlay, err);
    ext_journal_close(&j);
    if (ok)
        ext->overlay = overlay;
    else
        device_close(overlay);
    return ok || because(err, "journal");
}

bool ext_journal_recover_from(struct ext_fs *ext, struct device *log, bool *taken, struct error *err)
{
    struct ext_journal j;
    struct device *overlay = NULL;
    bool ok = ext_journal_open_on(ext, log, &j, err);
    *taken = ok || err->kind != E_NOENT;
    if (ok) {
        overlay = ext_overlay_new(j.base, ext->block_size, err);
        ok = overlay && recover(&j, overlay, err);
    }
    ext_journal_close(&j);
    if (ok)
        ext->overlay = overlay;
    else
        device_close(overlay);
    return ok || !*taken || because(err, "journal");
}
