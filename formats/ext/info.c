/* What `info` and `where` tell of a volume and its files; totals. */
#include "bytes.h"
#include "describe.h"

#include <time.h>

bool ext_overhead(struct ext_fs *ext, uint64_t *blocks, struct error *err)
{
    uint64_t known = ext_super_s_overhead_clusters(ext->super);
    if (known != 0) {
        *blocks = known << ext->cluster_bits;
        return true;
    }
    if (ext->overhead == 0) {
        struct ext_inode journal;
        uint64_t total = ext->first_data_block + (uint64_t)ext->groups * (2 + ext->table_blocks);
        for (uint32_t group = 0; group < ext->groups; group++)
            total += ext_group_desc_blocks(ext, group) + ext_group_has_super(ext, group);
        if (ext_has(ext, EXT_HAS_JOURNAL) && ext_super_s_journal_inum(ext->super) != 0) {
            if (!ext_inode_get(ext, (uint32_t)ext_super_s_journal_inum(ext->super), &journal, err))
                return false;
            total += div_up(ext_inode_size(ext, journal.raw), ext->block_size);
            ext_inode_put(ext, &journal);
        }
        ext->overhead = total;
    }
    *blocks = ext->overhead;
    return true;
}

/* ---- info ---- */

static void report_features(const struct ext_fs *ext, struct report *report)
{
    const uint32_t words[3] = {ext->compat, ext->incompat, ext->ro_compat};
    report_open_list(report, "features");
    for (unsigned class = 0; class < 3; class ++)
        for (unsigned bit = 0; bit < 32; bit++) {
            uint64_t id = (uint64_t)1 << bit | (uint64_t) class << 32;
            const struct ext_feature *feature = ext_features;
            if (!(words[class] >> bit & 1))
                continue;
            while (feature->name && feature->id != id)
                feature++;
            if (feature->name)
                report_text(report, NULL, feature->name);
            else
                report_format(report, NULL, "0x%x", 1u << bit);
        }
    report_close(report);
}

static void report_time(struct report *report, const char *key, uint64_t low, uint64_t high)
{
    time_t seconds = (time_t)(low | high << 32);
    struct tm parts;
    char text[40];
    if (seconds == 0)
        report_null(report, key);
    else if (gmtime_r(&seconds, &parts) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) > 0)
        report_text(report, key, text);
}

static void report_layout(const struct ext_fs *ext, struct report *report)
{
    report_number(report, "groups", ext->groups);
    report_number(report, "blocks-per-group", ext->blocks_per_group);
    report_number(report, "inodes-per-group", ext->inodes_per_group);
    report_number(report, "inode-size", ext->inode_size);
    report_number(report, "descriptor-size", ext->desc_size);
    report_number(report, "descriptor-blocks", ext->desc_blocks);
    report_number(report, "reserved-descriptor-blocks", ext_super_s_reserved_gdt_blocks(ext->super));
    report_number(report, "flex-group-size", ext->flex_groups);
    report_number(report, "first-inode", ext->first_ino);
    report_number(report, "first-data-block", ext->first_data_block);
}

bool ext_info(struct fs *fs, bool verbose, struct report *report, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    const uint8_t *super = ext->super;
    (void)err;
    report_size(report, "block-size", ext->block_size);
    if (ext->cluster_bits)
        report_size(report, "cluster-size", ext->cluster_size);
    report_number(report, "blocks", ext->blocks);
    report_number(report, "free-blocks", ext_free_blocks(ext));
    report_number(report, "inodes", ext->inodes);
    report_number(report, "free-inodes", ext_super_s_free_inodes_count(super));
    report_bool(report, "clean",
                (ext_super_s_state(super) & EXT_STATE_VALID) != 0 && !ext_has(ext, EXT_NEEDS_RECOVERY));
    report_features(ext, report);
    if (!verbose)
        return true;
    report_layout(ext, report);
    report_number(report, "reserved-blocks",
                  ext_super_s_r_blocks_count_lo(super) | ext_super_s_r_blocks_count_hi(super) << 32);
    report_number(report, "journal-inode", ext_super_s_journal_inum(super));
    report_number(report, "mount-count", ext_super_s_mnt_count(super));
    report_time(report, "made", ext_super_s_mkfs_time(super), ext_super_s_mkfs_time_hi(super));
    report_time(report, "mounted", ext_super_s_mtime(super), ext_super_s_mtime_hi(super));
    report_time(report, "written", ext_super_s_wtime(super), ext_super_s_wtime_hi(super));
    report_time(report, "checked", ext_super_s_lastcheck(super), ext_super_s_lastcheck_hi(super));
    report_number(report, "errors", ext_super_s_error_count(super));
    return true;
}

/* ---- where ---- */

bool ext_describe(struct fs *fs, fs_id id, uint64_t off, struct report *report, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    struct ext_mapping run;
    uint64_t place, block = off >> ext->block_bits;
    if (id > UINT32_MAX || !ext_inode_place(ext, (uint32_t)id, &place, err) ||
        !ext_inode_get(ext, (uint32_t)id, &inode, err))
        return id <= UINT32_MAX ? false
                                : fail(err, E_NOENT, "there is no inode %llu", (unsigned long long)id);
    report_number(report, "inode", id);
    report_number(report, "table-block", place >> ext->block_bits);
    report_hex(report, "inode-offset", place);
    report_number(report, "group", ext_group_of_inode(ext, inode.ino));
    bool ok = true;
    if (ext_inode_flag(inode.raw, EXT_FL_INLINE_DATA) || ext_inode_fast_symlink(ext, inode.raw)) {
        report_text(report, "form", "inside the inode");
    } else if (ext_inode_has_blocks(ext, inode.raw)) {
        bool extents = ext_inode_flag(inode.raw, EXT_FL_EXTENTS);
        report_text(report, "form", extents ? "extents" : "block map");
        ok = extents ? ext_extent_describe(ext, &inode, block, report, err)
                     : ext_indirect_describe(ext, &inode, block, report, err);
        ok = ok && ext_map(ext, &inode, block, &run, err);
        if (ok) {
            report_number(report, "logical-block", block);
            if (run.start != 0) {
                report_number(report, "fs-block", run.start);
                report_number(report, "run-blocks", run.len);
            }
        }
    }
    ext_inode_put(ext, &inode);
    return ok;
}
