/* The check as a whole: the order of the passes, and how findings are reported. */
#include "check.h"

#include "alloc.h"
#include "backup.h"
#include "clock.h"
#include "journal.h"
#include "mkfs.h"
#include "rescue.h"
#include "tune.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- findings ------------------------------------------------------------------------------------------ */

static bool report(struct ext_checker *c, enum finding_kind kind, const char *code, uint64_t off, bool fix,
                   const char *fmt, va_list args)
{
    char text[256];
    bool somewhere = off != (uint64_t)EXT_NO_PLACE;
    vsnprintf(text, sizeof text, fmt, args);
    if (c->stop || c->silent)
        return false;
    if (!check_found(c->check, kind, code, somewhere ? c->ext->dev : NULL, somewhere ? off : 0, fix, "%s",
                     text))
        c->stop = true;
    if (fix)
        c->changed = true;
    return fix;
}

bool ext_problem(struct ext_checker *c, const char *code, uint64_t off, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    bool fix = report(c, FINDING_DAMAGE, code, off, c->repair, fmt, args);
    va_end(args);
    return fix;
}

bool ext_leak(struct ext_checker *c, const char *code, uint64_t off, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    bool fix = report(c, FINDING_LEAK, code, off, c->repair_leaks, fmt, args);
    va_end(args);
    return fix;
}

void ext_unfixable(struct ext_checker *c, const char *code, uint64_t off, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    report(c, FINDING_DAMAGE, code, off, false, fmt, args);
    va_end(args);
}

/* ---- the passes ---------------------------------------------------------------------------------------- */

typedef bool pass_fn(struct ext_checker *, struct error *);

static bool run_passes(struct ext_checker *c, struct error *err)
{
    static pass_fn *const passes[] = {
        ext_check_super,       ext_check_inodes, ext_check_xattr_counts, ext_check_place_bitmaps,
        ext_check_bitmaps,     ext_check_dups,   ext_check_dirs,         ext_check_tree,
        ext_check_link_counts, ext_check_counts, ext_check_quotas,
    };
    for (size_t i = 0; i < ARRAY_LEN(passes) && !c->stop; i++) {
        if (!passes[i](c, err))
            return false;
        if ((c->repair || c->repair_leaks) && !ext_flush(c->ext, err))
            return false;
        if (c->again && c->repair)
            return true;
    }
    return true;
}

/* A journal that lost blocks to other metadata in pass 1 is none any more. */
static bool recheck_journal(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_journal j;
    struct error why = {0};
    if (!ext_has(ext, EXT_HAS_JOURNAL) || ext_super_s_journal_inum(ext->super) == 0)
        return true;
    bool ok = ext_journal_open(ext, &j, &why), orphans = ext_has(ext, EXT_ORPHAN_FILE);
    ext_journal_close(&j);
    if (ok || why.kind != E_DAMAGED || !ext_problem(c, "journal", EXT_NO_PLACE, "journal: %s", why.message))
        return true;
    c->new_journal = ext_default_journal_blocks(ext->blocks);
    c->fast_commit = ext_has(ext, EXT_FAST_COMMIT);
    ext_set_feature(ext, EXT_ORPHAN_FILE, false); /* it comes back with the journal */
    ok = ext_tune_journal(ext, false, err);
    ext_set_feature(ext, EXT_ORPHAN_FILE, orphans);
    return ok;
}

/* What could not be kept is made anew, now that free space is known; a volume without room does without. */
static bool make_anew(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct error why = {0};
    if (!recheck_journal(c, err))
        return false;
    if (c->new_mmp && ext_super_s_mmp_block(ext->super) == 0 && !ext_tune_mmp(ext, true, &why))
        ext_set_feature(ext, EXT_MMP, false);
    if (c->new_journal && why.kind == E_OK && ext_tune_add_journal(ext, c->new_journal, &why))
        ext_set_feature(ext, EXT_FAST_COMMIT, c->fast_commit);
    c->copies = c->copies || c->new_mmp || c->new_journal;
    if (why.kind != E_OK && why.kind != E_NOSPACE) {
        *err = why;
        return false;
    }
    return true;
}

/* A volume that was put right is clean: no errors noted, just checked. */
static bool finish(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    uint8_t *s = ext->super;
    uint64_t now = (uint64_t)clock_now().sec;
    if (!c->changed || c->check->damage > c->check->damage_fixed)
        return true;
    if (!make_anew(c, err))
        return false;
    ext_super_set_s_state(s, (ext_super_s_state(s) & ~(uint64_t)EXT_STATE_ERROR) | EXT_STATE_VALID);
    memset(s + ext_super_off_s_error_count, 0, ext_super_off_s_mount_opts - ext_super_off_s_error_count);
    ext_super_set_s_lastcheck(s, (uint32_t)now);
    ext_super_set_s_lastcheck_hi(s, now >> 32 & 0xFF);
    ext_super_set_s_mnt_count(s, 0);
    ext_super_changed(ext);
    if (!ext_flush(ext, err))
        return false;
    return !c->copies || (ext_backup_supers(ext, err) && ext_backup_descs(ext, err));
}

static void summarize(const struct ext_checker *c)
{
    struct report *r = c->check->summary;
    const struct ext_fs *ext = c->ext;
    if (!r)
        return;
    report_number(r, "files", c->files);
    report_number(r, "directories", c->dir_count);
    report_number(r, "inodes", ext->inodes);
    report_number(r, "free-inodes", ext_super_s_free_inodes_count(ext->super));
    report_number(r, "blocks", ext->blocks);
    report_number(r, "free-blocks", ext_free_blocks(ext));
    report_size(r, "block-size", ext->block_size);
    report_number(r, "fragmented-files", c->fragmented);
}

static void checker_free(struct ext_checker *c)
{
    if (c->blocks && c->inodes)
        ext_check_reset(c);
    free(c->blocks);
    free(c->inodes);
    free(c->dirs);
    free(c->scratch);
}

/* What was wrong before the volume could be read at all: taken from copies, now for good. */
static bool check_rescue(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    const struct ext_rescue *rescue = ext->rescue;
    struct range run;
    bool mend = true;
    if (rescue->copy)
        mend = ext_problem(c, "superblock", rescue->why_off,
                           "the superblock is damaged (%s); its copy in block %llu "
                           "is sound",
                           rescue->why, (unsigned long long)(rescue->copy >> rescue->copy_bits));
    for (uint64_t at = 0; ranges_next(&rescue->groups, at, &run); at = run.start + 1) {
        uint32_t group = (uint32_t)run.start, index = group / ext->descs_per_block;
        uint64_t off = ext_offset(ext, ext_desc_block(ext, index)) +
                       (uint64_t)(group % ext->descs_per_block) * ext->desc_size;
        mend = ext_problem(c, "group-descriptor", off,
                           "the descriptor of group %u is damaged; it has a sound copy", group) &&
               mend;
    }
    if (c->stop || !mend)
        return true;
    return ext_rescue_store(ext, err) && ext_reload(ext, err) && ext_prepare(ext, err);
}

static bool check_volume(struct fs *fs, struct check *check, struct error *err)
{
    struct ext_checker c = {.ext = ext_of(fs),
                            .check = check,
                            .repair = check->repair == REPAIR_ALL,
                            .repair_leaks = check->repair != REPAIR_NONE};
    if (!c.ext->rescue && !ext_check_mmp(&c, err))
        return false;
    if (c.ext->rescue ? !check_rescue(&c, err) : c.repair_leaks && !ext_prepare(c.ext, err))
        return false;
    c.blocks = mem_array(c.ext->groups, sizeof *c.blocks, err);
    c.inodes = mem_array(c.ext->groups, sizeof *c.inodes, err);
    c.scratch = mem_new(c.ext->block_size, err);
    bool ok = c.blocks && c.inodes && c.scratch;
    for (unsigned round = 0; ok && !c.stop && (round == 0 || c.again); round++) {
        ext_check_reset(&c);
        c.again = false;
        ok = round < 4 ? run_passes(&c, err) : fail(err, E_DAMAGED, "the volume cannot be repaired");
    }
    ok = ok && (c.stop || finish(&c, err));
    if (ok)
        summarize(&c);
    if (c.unsaved)
        cache_drop(c.ext->cache);
    checker_free(&c);
    return ok;
}

bool ext_check(struct fs *fs, struct check *check, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    ext->checking = true;
    bool ok = check_volume(fs, check, err);
    ext->checking = false;
    return ok;
}
