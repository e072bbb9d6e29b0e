/*
 * Pass 0: the group descriptors. One that leads nowhere, or to what does not look like inodes, is taken from
 * its copy; one without a sound copy stays as it is, and check_place.c gives its parts other places.
 */
#include "backup.h"
#include "check.h"
#include "mkfs.h"
#include "rescue.h"

#include "alloc.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_DESC = 1024 };

/*
 * No copy is left: mke2fs would have put things in certain places, and when the root directory's inode is
 * found there, they are.
 */
static bool guess_desc(struct ext_checker *c, uint32_t group, uint8_t *desc, bool *done, struct error *err)
{
    struct ext_fs *ext = c->ext;
    uint8_t inode[EXT_GOOD_OLD_INODE_SIZE];
    struct ext_make *m = group == 0 ? mem_new(sizeof *m, err) : NULL;
    *done = false;
    if (!m)
        return group != 0;
    m->ext = *ext;
    m->plan.flex_groups = ext->flex_groups > 1 ? ext->flex_groups : 0;
    m->plan.stride = (uint32_t)ext_super_s_raid_stride(ext->super);
    m->descs = mem_array(ext->desc_blocks, ext->block_size, err);
    bool ok = m->descs && ext_make_place(m, 0, err);
    uint64_t root = ok ? ext_offset(ext, ext_group_inode_table(ext, m->descs)) + ext->inode_size : 0;
    ok = ok && device_read(ext->dev, root, inode, sizeof inode, err);
    if (ok && S_ISDIR(ext_inode_i_mode(inode)) && ext_inode_i_links_count(inode) >= 2) {
        memcpy(desc, m->descs, ext->desc_size);
        *done = true;
    }
    ranges_clear(&m->used);
    free(m->descs);
    free(m);
    return ok;
}

/* Put another descriptor in place of the damaged one; when only looking, in memory for the rest of the check.
 */
static void replace_desc(struct ext_checker *c, struct ext_group *group, const uint8_t *desc, bool mend)
{
    memcpy(group->raw, desc, c->ext->desc_size);
    ext_desc_distrust(c->ext, group->raw);
    if (mend) {
        ext_group_dirty(c->ext, group);
        c->copies = true;
        return;
    }
    if (c->ext->group_csum)
        ext_desc_set_bg_checksum(group->raw, ext_desc_csum(c->ext, group->number, group->raw));
    c->unsaved = true;
}

/* Flags say what is uninitialised, which only checksums of descriptors allow. */
static void check_flags(struct ext_checker *c, struct ext_group *group)
{
    const uint64_t uninit = EXT_BG_INODE_UNINIT | EXT_BG_BLOCK_UNINIT;
    uint64_t flags = ext_desc_bg_flags(group->raw);
    uint64_t unused = ext_group_itable_unused(c->ext, group->raw);
    if (!c->ext->group_csum && ((flags & uninit) || unused) &&
        ext_problem(c, "group-flags", ext_check_group_off(group) + ext_desc_off_bg_flags,
                    "group %u is marked as uninitialised without the feature uninit_bg", group->number)) {
        ext_desc_set_bg_flags(group->raw, flags & ~uninit);
        ext_group_set_itable_unused(c->ext, group->raw, 0);
        ext_group_dirty(c->ext, group);
    }
}

static void check_sum(struct ext_checker *c, struct ext_group *group)
{
    struct ext_fs *ext = c->ext;
    unsigned stored = (unsigned)ext_desc_bg_checksum(group->raw);
    unsigned right = (unsigned)ext_desc_csum(ext, group->number, group->raw);
    if (!ext->group_csum || stored == right ||
        ext_check_stale(group->block, group->number % ext->descs_per_block, ext->descs_per_block))
        return;
    bool mend = ext_problem(c, "group-checksum", ext_check_group_off(group) + ext_desc_off_bg_checksum,
                            "group %u: bg_checksum is 0x%04x, not 0x%04x", group->number, stored, right);
    uint8_t same[MAX_DESC];
    memcpy(same, group->raw, ext->desc_size);
    replace_desc(c, group, same, mend); /* else nothing could be read that this group holds */
}

static bool check_desc(struct ext_checker *c, struct ext_group *group, struct error *err)
{
    struct ext_fs *ext = c->ext;
    uint8_t copy[MAX_DESC];
    const char *fault = ext_desc_fault(ext, group->number, group->raw);
    bool found = fault && ext_desc_copy(ext, group->number, copy);
    bool table =
        ext_part_valid(ext, group->number, ext_group_inode_table(ext, group->raw), ext->table_blocks);
    if (!table && !found && !guess_desc(c, group->number, copy, &found, err))
        return false;
    if (found) {
        bool mend = ext_problem(c, "group-descriptor", ext_check_group_off(group),
                                "group %u: its %s lies outside", group->number, fault);
        replace_desc(c, group, copy, mend);
    } else {
        check_sum(c, group);
    }
    check_flags(c, group);
    return true;
}

/* ---- primary or copy? ---------------------------------------------------------------------------------- */

static int inode_score(const struct ext_fs *ext, uint32_t ino, const uint8_t *inode)
{
    uint32_t mode = (uint32_t)ext_inode_i_mode(inode), type = mode & S_IFMT;
    bool known = type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFCHR ||
                 type == S_IFBLK || type == S_IFIFO || type == S_IFSOCK;
    if (mode == 0)
        return 0;
    if (!known || (ext->has_csum && !ext_inode_csum_ok(ext, ino, inode)))
        return -1;
    return ext_inode_i_links_count(inode) != 0;
}

bool ext_check_table_score(struct ext_checker *c, uint32_t group, uint64_t table, int64_t *score,
                           struct error *err)
{
    const struct ext_fs *ext = c->ext;
    uint32_t ino = group * ext->inodes_per_group + 1;
    *score = 0;
    for (uint32_t b = 0; b < ext->table_blocks; b++) {
        if (!device_read(ext->dev, ext_offset(ext, table + b), c->scratch, ext->block_size, err))
            return false;
        for (uint32_t i = 0; i < ext->inodes_per_block; i++, ino++)
            *score += inode_score(ext, ino, c->scratch + (size_t)i * ext->inode_size);
    }
    return true;
}

/* Blocks of tables that something else of the volume has too. */
static bool find_crowded(struct ext_checker *c, struct ranges *crowded, struct error *err)
{
    const struct ext_fs *ext = c->ext;
    struct ranges taken = {0};
    bool ok = ranges_add_all(&taken, &c->fixed, err);
    for (uint32_t i = 0; ok && i < ext->groups; i++) {
        struct ext_group group;
        ok = ext_check_group(c, i, &group, err);
        if (!ok)
            break;
        uint64_t table = ext_group_inode_table(ext, group.raw);
        if (ext_part_valid(ext, i, table, ext->table_blocks))
            ok = (!ranges_overlaps(&taken, table, ext->table_blocks) ||
                  ranges_add(crowded, table, ext->table_blocks, err)) &&
                 ranges_add(&taken, table, ext->table_blocks, err);
        ext_group_put(c->ext, &group);
    }
    ranges_clear(&taken);
    return ok;
}

/* A sound copy that has the table elsewhere is right when the place the descriptor gives cannot be. */
static bool judge_by_copy(struct ext_checker *c, struct ext_group *group, const struct ranges *crowded,
                          struct error *err)
{
    const struct ext_fs *ext = c->ext;
    uint8_t copy[MAX_DESC];
    uint64_t table = ext_group_inode_table(ext, group->raw);
    bool clash = ranges_overlaps(crowded, table, ext->table_blocks);
    if (!ext_part_valid(ext, group->number, table, ext->table_blocks) ||
        !ext_desc_copy(c->ext, group->number, copy))
        return true;
    uint64_t other = ext_group_inode_table(ext, copy);
    int64_t here = 0, there = 0;
    if (other == table || (clash && ranges_overlaps(crowded, other, ext->table_blocks)))
        return true;
    if (!clash && (!ext_check_table_score(c, group->number, table, &here, err) ||
                   !ext_check_table_score(c, group->number, other, &there, err)))
        return false;
    if (!clash && there <= here)
        return true;
    bool mend = ext_problem(c, "group-descriptor", ext_check_group_off(group),
                            "group %u: its inode table is not at block %llu, but at %llu, as a copy has it",
                            group->number, (unsigned long long)table, (unsigned long long)other);
    replace_desc(c, group, copy, mend);
    return true;
}

static bool map_copies(struct ext_checker *c, struct error *err)
{
    const struct ext_fs *ext = c->ext;
    for (uint32_t group = 0; group < ext->groups; group++) {
        uint64_t start = ext_group_first_block(ext, group), len = ext_group_desc_blocks(ext, group);
        if (ext_group_has_super(ext, group))
            len += ext_backup_super_block(ext, group) - start + 1;
        if (len && (!ranges_add(&c->fixed, start, len, err) || !ext_check_add_meta(c, start, len, err)))
            return false;
    }
    return true;
}

bool ext_check_descs(struct ext_checker *c, struct error *err)
{
    struct ranges crowded = {0};
    bool ok = map_copies(c, err);
    for (uint32_t i = 0; ok && i < c->ext->groups && !c->stop; i++) {
        struct ext_group group;
        ok = interrupt_check(err) && ext_check_group(c, i, &group, err);
        if (ok) {
            ok = check_desc(c, &group, err);
            ext_group_put(c->ext, &group);
        }
    }
    ok = ok && find_crowded(c, &crowded, err);
    for (uint32_t i = 0; ok && i < c->ext->groups && !c->stop; i++) {
        struct ext_group group;
        ok = interrupt_check(err) && ext_check_group(c, i, &group, err);
        if (ok) {
            ok = judge_by_copy(c, &group, &crowded, err);
            ext_group_put(c->ext, &group);
        }
    }
    ranges_clear(&crowded);
    return ok;
}
