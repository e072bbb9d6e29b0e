/*
 * From a device to a volume in use: the journal's replay (in memory until something is changed), what forbids
 * changes, and what must be done before the first one.
 */
#include "mount.h"

#include "bytes.h"
#include "rescue.h"

#include <stdio.h>
#include <string.h>

/* ---- what forbids changes ---- */

static void forbid(struct ext_fs *ext, const char *fmt, ...) DISH_PRINTF(2, 3);

/* The first reason found stays. */
static void forbid(struct ext_fs *ext, const char *fmt, ...)
{
    va_list args;
    if (ext->fs.change != FS_IN_PLACE)
        return;
    ext->fs.change = FS_NEVER;
    va_start(args, fmt);
    vsnprintf(ext->fs.why, sizeof ext->fs.why, fmt, args);
    va_end(args);
}

static void judge_features(struct ext_fs *ext)
{
    for (unsigned bit = 0; bit < 32; bit++) {
        uint32_t mask = (uint32_t)1 << bit;
        const struct ext_feature *feature = ext_features;
        while (feature->name && feature->id != EXT_RO_COMPAT(mask))
            feature++;
        if (!(ext->ro_compat & mask))
            continue;
        if (!feature->name)
            forbid(ext, "the volume uses the read-only-compatible feature 0x%x, which is unknown", mask);
        else if (feature->access != EXT_FEATURE_WRITE)
            forbid(ext, "the volume has the feature %s: it can only be read", feature->name);
    }
    uint64_t need = ext->blocks << ext->block_bits;
    if (need > ext->fs.device->size)
        forbid(ext, "the volume has %llu bytes, but only %llu of them are there", (unsigned long long)need,
               (unsigned long long)ext->fs.device->size);
}

/* Without a journal the feature is a mistake, which the check takes away. */
static bool waits_for_replay(const struct ext_fs *ext)
{
    return ext_has(ext, EXT_HAS_JOURNAL) && ext_has(ext, EXT_NEEDS_RECOVERY);
}

/* What is to be said once of a volume that was left unclean and has no journal that could mend it. */
static void judge_state(struct ext_fs *ext)
{
    uint64_t state = ext_super_s_state(ext->super);
    if (ext->rescue)
        return;
    if (state & EXT_STATE_ERROR)
        snprintf(ext->fs.note, sizeof ext->fs.note, "the volume is marked as having errors: fsck is due");
    else if (!(state & EXT_STATE_VALID) && !ext_has(ext, EXT_HAS_JOURNAL))
        snprintf(ext->fs.note, sizeof ext->fs.note, "the volume was not unmounted cleanly: fsck is due");
}

/* A volume that is read with the help of copies is to be mended before anything else changes it. */
static void judge_rescue(struct ext_fs *ext)
{
    const struct ext_rescue *rescue = ext->rescue;
    struct range first;
    if (!rescue)
        return;
    if (rescue->copy)
        forbid(ext, "its superblock is damaged, the copy in block %llu is used; `fsck --repair` restores it",
               (unsigned long long)(rescue->copy >> rescue->copy_bits));
    else if (ranges_next(&rescue->groups, 0, &first))
        forbid(ext, "the descriptor of group %llu is damaged, its copy is used; `fsck --repair` restores it",
               (unsigned long long)first.start);
    snprintf(ext->fs.note, sizeof ext->fs.note, "%s", ext->fs.why);
    ext->fs.mendable = true;
}

/* ---- starting ---- */

/* Read and write `dev` from now on. */
static bool switch_device(struct ext_fs *ext, struct device *dev, struct error *err)
{
    cache_free(ext->cache);
    ext->cache = NULL;
    ext->dev = dev;
    return ext_super_load(ext, err);
}

static bool use_primary(struct ext_fs *ext, struct error *err)
{
    if (ext->copy_block == 0)
        return switch_device(ext, ext->fs.device, err);
    cache_free(ext->cache);
    ext->cache = NULL;
    return fail(err, E_DAMAGED, "passed over, as asked");
}

static bool replay_in_memory(struct ext_fs *ext, struct error *err)
{
    if (ext_journal_recover(ext, true, err)) {
        if (!ext->overlay)
            return true;
        snprintf(ext->fs.note, sizeof ext->fs.note, "the journal was replayed in memory");
        return switch_device(ext, ext->overlay, err);
    }
    if (err->kind != E_UNSUPPORTED && err->kind != E_DAMAGED)
        return false;
    ext->fs.wants_journal = ext_has(ext, EXT_HAS_JOURNAL) && ext_super_s_journal_inum(ext->super) == 0;
    forbid(ext, "its journal cannot be replayed: %s", err->message);
    snprintf(ext->fs.note, sizeof ext->fs.note,
             "the journal was not replayed, what is shown may be stale: %.120s", err->message);
    return true;
}

/* The volume can be looked at then, but not changed:
 * that its journal is done with could not be noted there. */
bool ext_offer_journal(struct fs *fs, struct device *log, bool *taken, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    if (!ext_journal_recover_from(ext, log, taken, err) || !*taken)
        return !*taken;
    fs->wants_journal = false;
    snprintf(fs->why, sizeof fs->why,
             "its journal lies on another device and must be replayed for good first (e2fsck, or a mount)");
    snprintf(fs->note, sizeof fs->note, "the external journal was replayed in memory");
    return switch_device(ext, ext->overlay, err);
}

bool ext_start(struct ext_fs *ext, struct error *err)
{
    device_close(ext->overlay);
    ext->overlay = NULL;
    ext_rescue_forget(ext);
    ext->prepared = false;
    ext->fs.mendable = ext->fs.wants_journal = false;
    ext->fs.change = FS_IN_PLACE;
    ext->fs.why[0] = ext->fs.note[0] = '\0';
    if (!use_primary(ext, err) && (err->kind != E_DAMAGED || !ext_rescue_super(ext, err)))
        return false;
    if (!ext_rescue_descs(ext, err))
        return false;
    judge_rescue(ext);
    judge_features(ext);
    judge_state(ext);
    return !waits_for_replay(ext) || replay_in_memory(ext, err);
}

/* ---- before the first change ---- */

/* Another host that uses the volume counts in this block; a volume at rest holds a fixed number. */
static bool check_mmp(struct ext_fs *ext, struct error *err)
{
    struct cache_block *block;
    uint64_t at = ext_super_s_mmp_block(ext->super);
    if (!ext_has(ext, EXT_MMP) || at == 0)
        return true;
    if (!ext_block_get(ext, at, EXT_TAG_MMP, 0, &block, err))
        return because(err, "MMP");
    uint64_t sequence = ext_mmp_mmp_seq(block->data);
    bool ok = true;
    if (ext_mmp_mmp_magic(block->data) != EXT_MMP_MAGIC)
        ok = damaged(err, ext->dev, block->off, "the MMP block has a wrong magic number");
    else if (sequence == EXT_MMP_FSCK)
        ok = fail(err, E_LOCKED, "e2fsck is running on the volume, or was stopped (MMP)");
    else if (sequence != EXT_MMP_CLEAN)
        ok = fail(err, E_LOCKED,
                  "the host '%.64s' uses the volume, or did not unmount it (MMP sequence 0x%llx)",
                  (const char *)ext_mmp_mmp_nodename(block->data), (unsigned long long)sequence);
    ext_block_put(ext, block);
    return ok;
}

static bool replay_for_good(struct ext_fs *ext, struct error *err)
{
    if (!switch_device(ext, ext->fs.device, err))
        return false;
    device_close(ext->overlay);
    ext->overlay = NULL;
    return ext_journal_recover(ext, false, err) && switch_device(ext, ext->fs.device, err);
}

bool ext_prepare(struct ext_fs *ext, struct error *err)
{
    unsigned deleted, truncated;
    if (ext->prepared)
        return true;
    if (!check_mmp(ext, err))
        return false;
    if ((ext->overlay || waits_for_replay(ext)) && !replay_for_good(ext, err))
        return because(err, "replaying the journal");
    ext->prepared = true; /* orphans are removed by ordinary changes */
    if (ext_orphans_process(ext, &deleted, &truncated, err))
        return true;
    ext->prepared = false;
    return because(err, "removing orphans");
}
