/*
 * Where the parts of a new volume go. The rules are those of mke2fs: how many groups and inodes, how many
 * descriptor blocks to reserve, and with flex_bg all block bitmaps of a flexible group first, then its inode
 * bitmaps, then its inode tables, packed from the flexible group's start.
 */
#include "mkfs.h"

#include "alloc.h"
#include "checksum.h"

/* ---- geometry ---- */

static bool make_has(const struct ext_make *m, uint64_t feature)
{
    return ext_has(&m->ext, feature);
}

static void set_group_size(struct ext_make *m)
{
    struct ext_fs *e = &m->ext;
    const uint32_t most = 65536 - 8;
    uint32_t ratio = (uint32_t)1 << e->cluster_bits;
    uint32_t clusters = m->plan.blocks_per_group ? m->plan.blocks_per_group / ratio : e->block_size * 8;
    e->clusters_per_group = MIN_OF(clusters, most);
    e->blocks_per_group = e->clusters_per_group * ratio;
}

static uint64_t descs_for(const struct ext_fs *e, uint64_t blocks)
{
    return div_up(div_up(blocks, e->blocks_per_group), e->descs_per_block);
}

uint32_t ext_default_reserved_descs(const struct ext_fs *e, uint64_t resize_blocks)
{
    uint64_t reach = UINT32_MAX;
    if (resize_blocks > e->blocks)
        reach = MIN_OF(resize_blocks, UINT32_MAX);
    else if (e->blocks < UINT32_MAX / 1024)
        reach = e->blocks * 1024;
    uint64_t descs = descs_for(e, reach - (resize_blocks ? 0 : e->first_data_block));
    uint64_t more = descs > e->desc_blocks ? descs - e->desc_blocks : 0;
    return (uint32_t)MIN_OF(more, e->block_size / 4);
}

static void set_inodes_per_group(struct ext_fs *e, uint64_t wanted)
{
    uint64_t per_group = div_up(wanted, e->groups);
    per_group = MIN_OF(per_group, (uint64_t)65536 - e->inodes_per_block);
    for (;; per_group--) {
        e->table_blocks = (uint32_t)div_up(per_group * e->inode_size, e->block_size);
        uint32_t fit = (uint32_t)((uint64_t)e->table_blocks * e->block_size / e->inode_size);
        e->inodes_per_group = MAX_OF(fit, 8) & ~7u;
        e->table_blocks = (uint32_t)div_up((uint64_t)e->inodes_per_group * e->inode_size, e->block_size);
        if ((uint64_t)e->inodes_per_group * e->groups <= UINT32_MAX)
            break;
    }
    if ((uint64_t)e->inodes_per_group * e->groups <= e->first_ino) { /* one group, and rounded down to 8 */
        e->inodes_per_group += 8;
        e->table_blocks = (uint32_t)div_up((uint64_t)e->inodes_per_group * e->inode_size, e->block_size);
    }
    e->inodes = e->inodes_per_group * e->groups;
}

static bool last_has_super(const struct ext_make *m)
{
    if (make_has(m, EXT_SPARSE_SUPER2))
        return m->plan.backups >= (m->ext.groups == 2 ? 1u : 2u);
    return ext_group_has_super(&m->ext, m->ext.groups - 1);
}

static uint64_t wanted_reserve(const struct ext_make *m)
{
    return (uint64_t)(m->plan.reserved * (double)m->plan.blocks / 100.0);
}

/* Groups and inodes of e->blocks blocks. *again: parameters were changed, start over. */
static bool try_geometry(struct ext_make *m, uint32_t *reserved, bool *again, struct error *err)
{
    struct ext_fs *e = &m->ext;
    *again = true;
    uint64_t groups = div_up(e->blocks - MIN_OF(e->blocks, e->first_data_block), e->blocks_per_group);
    if (groups == 0)
        return fail(err, E_NOSPACE, "the volume is too small");
    if (groups > UINT32_MAX)
        return fail(err, E_TOOBIG, "the volume has more than 4294967295 groups: use larger blocks");
    e->groups = (uint32_t)groups;
    e->desc_blocks = (uint32_t)div_up(groups, e->descs_per_block);
    uint64_t inodes = MAX_OF(m->plan.inodes, e->first_ino + 1);
    if (div_up(inodes, groups) > e->block_size * 8) {
        if (e->cluster_bits || e->blocks_per_group < 256)
            return fail(err, E_INVALID, "%llu inodes are too many for %llu groups",
                        (unsigned long long)inodes, (unsigned long long)groups);
        e->clusters_per_group = e->blocks_per_group -= 8;
        e->blocks = m->plan.blocks;
        return true;
    }
    set_inodes_per_group(e, inodes);
    *reserved = make_has(m, EXT_RESIZE_INODE) ? ext_default_reserved_descs(e, m->plan.resize_blocks) : 0;
    if (*reserved + (uint64_t)e->desc_blocks > (uint64_t)e->blocks_per_group * 3 / 4) {
        e->incompat |= (uint32_t)EXT_META_BG;
        e->compat &= ~(uint32_t)EXT_RESIZE_INODE;
        *reserved = 0;
    }
    uint64_t overhead =
        3 + (uint64_t)e->table_blocks + *reserved + (make_has(m, EXT_META_BG) ? 1 : e->desc_blocks);
    if (overhead > e->blocks_per_group)
        return fail(err, E_INVALID, "the inode tables do not fit into the groups");
    overhead = 2 + (uint64_t)e->table_blocks + (last_has_super(m) ? 1 + e->desc_blocks + *reserved : 0);
    uint64_t rest = (e->blocks - e->first_data_block) % e->blocks_per_group;
    if (groups == 1 && rest && rest < overhead)
        return fail(err, E_NOSPACE, "the volume is too small: %llu blocks are needed",
                    (unsigned long long)overhead);
    *again = rest && rest < overhead + 50;
    if (*again) {
        double percent = 100.0 * (double)wanted_reserve(m) / (double)m->plan.blocks;
        e->blocks -= rest;
        m->reserve = (uint64_t)(percent * (double)e->blocks / 100.0);
    }
    return true;
}

static void set_backup_groups(struct ext_make *m)
{
    struct ext_fs *e = &m->ext;
    if (!make_has(m, EXT_SPARSE_SUPER2))
        return;
    uint32_t first = m->plan.backups >= 1 ? MIN_OF(1, e->groups - 1) : 0;
    uint32_t second = m->plan.backups >= 2 ? e->groups - 1 : 0;
    if (first == second)
        second = 0;
    ext_super_set_s_backup_bgs_0(e->super, MIN_OF(first, second));
    ext_super_set_s_backup_bgs_1(e->super, MAX_OF(first, second));
}

static bool make_geometry(struct ext_make *m, struct error *err)
{
    struct ext_fs *e = &m->ext;
    const struct ext_plan *p = &m->plan;
    e->compat = p->features[0];
    e->incompat = p->features[1];
    e->ro_compat = p->features[2];
    ext_super_set_s_feature_compat(e->super, e->compat); /* ext_group_has_super() asks the features */
    ext_super_set_s_feature_ro_compat(e->super, e->ro_compat);
    e->block_size = p->block_size;
    e->cluster_size = p->cluster_size;
    e->block_bits = log2_of(p->block_size);
    e->cluster_bits = log2_of(p->cluster_size) - e->block_bits;
    e->first_data_block = p->cluster_size == 1024 ? 1 : 0;
    e->first_ino = EXT_GOOD_OLD_FIRST_INO;
    e->inode_size = p->inode_size;
    e->inodes_per_block = e->block_size / e->inode_size;
    e->desc_size = p->desc_size;
    e->descs_per_block = e->block_size / e->desc_size;
    e->flex_groups = p->flex_groups ? p->flex_groups : 1;
    e->blocks = p->blocks & ~(((uint64_t)1 << e->cluster_bits) - 1);
    set_group_size(m);
    uint32_t reserved = 0;
    m->reserve = wanted_reserve(m); /* mke2fs takes it anew when the layout cuts the size */
    for (bool again = true; again;)
        if (!try_geometry(m, &reserved, &again, err))
            return false;
    ext_super_set_s_reserved_gdt_blocks(e->super, reserved);
    set_backup_groups(m);
    return true;
}

/* ---- superblock ---- */

static void super_sizes(struct ext_make *m)
{
    const struct ext_fs *e = &m->ext;
    uint8_t *s = m->ext.super;
    ext_super_set_s_inodes_count(s, e->inodes);
    ext_super_set_s_blocks_count_lo(s, (uint32_t)e->blocks);
    ext_super_set_s_blocks_count_hi(s, e->blocks >> 32);
    ext_super_set_s_r_blocks_count_lo(s, (uint32_t)m->reserve);
    ext_super_set_s_r_blocks_count_hi(s, m->reserve >> 32);
    ext_super_set_s_first_data_block(s, e->first_data_block);
    ext_super_set_s_log_block_size(s, e->block_bits - 10);
    ext_super_set_s_log_cluster_size(s, e->block_bits + e->cluster_bits - 10);
    ext_super_set_s_blocks_per_group(s, e->blocks_per_group);
    ext_super_set_s_clusters_per_group(s, e->clusters_per_group);
    ext_super_set_s_inodes_per_group(s, e->inodes_per_group);
    ext_super_set_s_desc_size(s, make_has(m, EXT_64BIT) ? e->desc_size : 0);
    ext_super_set_s_log_groups_per_flex(s, m->plan.flex_groups ? log2_of(m->plan.flex_groups) : 0);
    ext_super_set_s_raid_stride(s, m->plan.stride);
    ext_super_set_s_raid_stripe_width(s, m->plan.stripe_width);
}

static void super_words(struct ext_make *m)
{
    const struct ext_plan *p = &m->plan;
    uint8_t *s = m->ext.super;
    ext_super_set_s_magic(s, EXT_MAGIC);
    ext_super_set_s_state(s, EXT_STATE_VALID);
    ext_super_set_s_errors(s, p->errors);
    ext_super_set_s_max_mnt_count(s, 0xFFFF);
    ext_super_set_s_creator_os(s, p->creator_os);
    ext_super_set_s_rev_level(s, p->rev);
    ext_super_set_s_mkfs_time(s, (uint32_t)p->now);
    ext_super_set_s_lastcheck(s, (uint32_t)p->now);
    ext_super_set_s_wtime(s, (uint32_t)p->now);
    ext_super_set_s_mkfs_time_hi(s, (uint8_t)(p->now >> 32));
    ext_super_set_s_lastcheck_hi(s, (uint8_t)(p->now >> 32));
    ext_super_set_s_wtime_hi(s, (uint8_t)(p->now >> 32));
    memcpy(ext_super_s_uuid(s), p->uuid, 16);
    memcpy(ext_super_s_volume_name(s), p->label, sizeof p->label);
    memcpy(ext_super_s_last_mounted(s), p->last_mounted, sizeof p->last_mounted);
    memcpy(ext_super_s_hash_seed(s), p->hash_seed, 16);
    ext_super_set_s_def_hash_version(s, p->hash_version);
    if (p->rev > 0)
        ext_super_set_s_default_mount_opts(s, 0xC); /* user_xattr, acl: as mke2fs.conf has it */
    ext_super_set_s_flags(s, EXT_FLAGS_SIGNED_HASH | (p->test_fs ? EXT_FLAGS_TEST : 0));
    ext_super_set_s_feature_compat(s, m->ext.compat);
    ext_super_set_s_feature_incompat(s, m->ext.incompat);
    ext_super_set_s_feature_ro_compat(s, m->ext.ro_compat);
    ext_super_set_s_encoding(s, p->encoding);
    ext_super_set_s_encoding_flags(s, p->encoding_flags);
    ext_super_set_s_first_ino(s, m->ext.first_ino);
    ext_super_set_s_inode_size(s, p->inode_size);
    if (p->inode_size > EXT_GOOD_OLD_INODE_SIZE) {
        ext_super_set_s_min_extra_isize(s, EXT_INODE_FIELDS - EXT_GOOD_OLD_INODE_SIZE);
        ext_super_set_s_want_extra_isize(s, EXT_INODE_FIELDS - EXT_GOOD_OLD_INODE_SIZE);
    }
    if (make_has(m, EXT_METADATA_CSUM))
        ext_super_set_s_checksum_type(s, 1);
    if (make_has(m, EXT_ENCRYPT))
        memcpy(ext_super_s_encrypt_algos(s), (const uint8_t[]){1, 4}, 2); /* AES-256-XTS, AES-256-CTS */
    if (make_has(m, EXT_CSUM_SEED))
        ext_super_set_s_checksum_seed(s, m->ext.csum_seed);
}

/* ---- free space ---- */

/* First block of a run of n free blocks in first..end, looking from `first` on. */
static bool find_between(const struct ext_make *m, uint64_t first, uint64_t end, uint64_t n, uint64_t *out)
{
    struct range used;
    first = MAX_OF(first, m->ext.first_data_block);
    while (first < end && n <= m->ext.blocks && first <= m->ext.blocks - n) {
        if (!ranges_next(&m->used, first, &used) || used.start >= first + n) {
            *out = first;
            return true;
        }
        first = used.start + used.len;
    }
    return false;
}

bool ext_make_find(const struct ext_make *m, uint64_t from, uint64_t want, struct ext_run *run,
                   struct error *err)
{
    uint64_t start;
    if (from >= m->ext.blocks)
        from = 0;
    if (!find_between(m, from, m->ext.blocks, 1, &start) && !find_between(m, 0, from, 1, &start))
        return fail(err, E_NOSPACE, "the volume is too small");
    struct range used;
    uint64_t end = ranges_next(&m->used, start, &used) ? used.start : m->ext.blocks;
    *run = (struct ext_run){start, MIN_OF(end - start, want)};
    return true;
}

/* Mark blocks as used; the groups that hold them have a bitmap of their own from now on. */
static bool mark_used(struct ext_make *m, uint64_t start, uint64_t len, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    uint32_t last = ext_group_of_block(e, start + len - 1);
    for (uint32_t group = ext_group_of_block(e, MAX_OF(start, e->first_data_block)); group <= last; group++) {
        uint8_t *desc = ext_make_desc(m, group);
        ext_desc_set_bg_flags(desc, ext_desc_bg_flags(desc) & ~(uint64_t)EXT_BG_BLOCK_UNINIT);
    }
    return ranges_add(&m->used, start, len, err);
}

bool ext_make_take(struct ext_make *m, uint64_t start, uint64_t len, struct error *err)
{
    uint64_t cluster = (uint64_t)1 << m->ext.cluster_bits;
    uint64_t end = MIN_OF(round_up(start + len, cluster), m->ext.blocks);
    start = round_down(start, cluster);
    return mark_used(m, start, end - start, err);
}

uint64_t ext_make_group_free(const struct ext_make *m, uint32_t group)
{
    uint64_t at = ext_group_first_block(&m->ext, group), end = at + ext_group_blocks(&m->ext, group);
    uint64_t free_blocks = end - at;
    struct range used;
    while (at < end && ranges_next(&m->used, at, &used) && used.start < end) {
        uint64_t stop = MIN_OF(used.start + used.len, end);
        free_blocks -= stop - used.start;
        at = stop;
    }
    return free_blocks;
}

/* ---- tables ---- */

/* Superblock copies and descriptors, from group `first` on. */
static bool place_copies(struct ext_make *m, uint32_t first, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    for (uint32_t group = first; group < e->groups; group++) {
        uint64_t start = ext_group_first_block(e, group);
        uint64_t len = (ext_group_has_super(e, group) ? 1 : 0) + ext_group_desc_blocks(e, group);
        if (group == 0 && e->first_data_block == 0 && e->block_size == 1024)
            len++; /* bigalloc with 1 KiB blocks: the superblock is block 1 of a volume that begins at 0 */
        if (len && !ranges_add(&m->used, start, len, err))
            return false;
        uint8_t *desc = ext_make_desc(m, group);
        if (!e->group_csum)
            continue;
        ext_desc_set_bg_flags(desc, EXT_BG_INODE_UNINIT | (group + 1 < e->groups ? EXT_BG_BLOCK_UNINIT : 0));
    }
    return true;
}

/*
 * Where to look for `size` blocks of a group's part of a flexible group: at `hint`, else where all of the
 * parts still to come (`rest` of them) fit.
 */
static uint64_t flex_start(const struct ext_make *m, uint32_t group, uint64_t hint, uint32_t rest,
                           uint32_t size, uint64_t last)
{
    const struct ext_fs *e = &m->ext;
    uint64_t all = MIN_OF((uint64_t)rest * size, e->blocks_per_group / 4), found;
    if (hint && hint < e->blocks && find_between(m, hint, hint + all, size, &found))
        return found;
    uint64_t start = ext_group_first_block(e, group / e->flex_groups * e->flex_groups);
    if (find_between(m, start, last, all, &found) || find_between(m, start, last, size, &found) ||
        find_between(m, 0, last, size, &found))
        return found;
    return 0;
}

struct part {
    uint64_t hint; /* with flex_bg: the place after the same part of the group before; 0: none */
    uint32_t size; /* blocks */
};

/* Place one part of a group; without flex_bg it lies from `start` on. */
static bool place_part(struct ext_make *m, uint32_t group, struct part part, uint64_t start, uint64_t *out,
                       struct error *err)
{
    const struct ext_fs *e = &m->ext;
    uint64_t first = ext_group_first_block(e, group);
    bool flex = m->plan.flex_groups != 0;
    uint32_t last_group = group;
    if (flex)
        last_group = MIN_OF(group | (e->flex_groups - 1), e->groups - 1);
    uint64_t last = ext_group_first_block(e, last_group) + ext_group_blocks(e, last_group) - 1;
    if (flex)
        start = flex_start(m, group, part.hint, last_group - group + 1, part.size, last);
    if (!find_between(m, start, MAX_OF(last, start + 1), part.size, out) &&
        !find_between(m, first, last, part.size, out) &&
        !(flex && find_between(m, 0, e->blocks, part.size, out)))
        return fail(err, E_NOSPACE, "no room for the tables of group %u", group);
    return flex ? mark_used(m, *out, part.size, err) : ranges_add(&m->used, *out, part.size, err);
}

/* Without flex_bg a RAID stride moves the bitmaps of each group to another disk. */
static uint64_t stride_start(const struct ext_make *m, uint32_t group)
{
    const struct ext_fs *e = &m->ext;
    uint64_t first = ext_group_first_block(e, group), last = first + ext_group_blocks(e, group) - 1, start;
    if (!m->plan.stride || m->plan.flex_groups || !find_between(m, first, last, 1, &start))
        return first;
    start += e->table_blocks;
    if (start > last)
        return first;
    start += (uint64_t)m->plan.stride * group % (last - start + 1);
    return start >= last ? first : start;
}

static bool place_tables_of(struct ext_make *m, uint32_t group, struct error *err)
{
    const struct ext_fs *e = &m->ext;
    uint8_t *desc = ext_make_desc(m, group);
    uint64_t blocks = 0, inodes = 0, table = 0, start = stride_start(m, group);
    uint32_t flex = m->plan.flex_groups, offset = flex;
    struct part bitmap = {.size = 1}, tables = {.size = e->table_blocks};
    const uint8_t *before = flex && group % flex ? ext_make_desc(m, group - 1) : NULL;
    if (flex && !before && (group | (flex - 1)) >= e->groups - 1) {
        uint32_t last = (e->groups - 1) & (flex - 1); /* the last flexible group is packed tightly */
        offset = last == 0 ? flex : last + 1;
    }
    bitmap.hint = before ? ext_group_block_bitmap(e, before) + 1 : 0;
    if (!place_part(m, group, bitmap, start, &blocks, err))
        return false;
    bitmap.hint = before ? ext_group_inode_bitmap(e, before) + 1 : blocks + offset;
    if (!place_part(m, group, bitmap, start, &inodes, err))
        return false;
    tables.hint = before ? ext_group_inode_table(e, before) + e->table_blocks : inodes + offset;
    if (!place_part(m, group, tables, ext_group_first_block(e, group), &table, err))
        return false;
    ext_group_set_block_bitmap(e, desc, blocks);
    ext_group_set_inode_bitmap(e, desc, inodes);
    ext_group_set_inode_table(e, desc, table);
    return true;
}

/* packed_meta_blocks: all block bitmaps, then all inode bitmaps, then all tables, from the front. */
static bool place_packed(struct ext_make *m, struct error *err)
{
    struct ext_fs *e = &m->ext;
    for (unsigned kind = 0; kind < 3; kind++)
        for (uint32_t group = 0; group < e->groups; group++) {
            uint8_t *desc = ext_make_desc(m, group);
            uint64_t at, size = kind == 2 ? e->table_blocks : 1;
            if (!find_between(m, 0, e->blocks, size, &at))
                return fail(err, E_NOSPACE, "no room for the tables of group %u", group);
            if (!ext_make_take(m, at, size, err))
                return false;
            if (kind == 0)
                ext_group_set_block_bitmap(e, desc, at);
            else if (kind == 1)
                ext_group_set_inode_bitmap(e, desc, at);
            else
                ext_group_set_inode_table(e, desc, at);
        }
    return true;
}

/* From here on space is counted in whole clusters. */
static bool round_to_clusters(struct ext_make *m, struct error *err)
{
    uint64_t cluster = (uint64_t)1 << m->ext.cluster_bits, at = 0;
    struct range used;
    while (cluster > 1 && ranges_next(&m->used, at, &used)) {
        at = round_up(used.start + used.len, cluster);
        uint64_t start = round_down(used.start, cluster);
        if (!ranges_add(&m->used, start, at - start, err))
            return false;
    }
    return true;
}

bool ext_make_place(struct ext_make *m, uint32_t first, struct error *err)
{
    if (!place_copies(m, first, err))
        return false;
    if (m->plan.packed)
        return place_packed(m, err);
    for (uint32_t group = first; group < m->ext.groups; group++)
        if (!interrupt_check(err) || !place_tables_of(m, group, err))
            return false;
    return true;
}

bool ext_make_layout(struct ext_make *m, struct error *err)
{
    struct ext_fs *e = &m->ext;
    if (!make_geometry(m, err))
        return false;
    e->has_csum = make_has(m, EXT_METADATA_CSUM);
    e->group_csum = e->has_csum || make_has(m, EXT_GDT_CSUM);
    memcpy(ext_super_s_uuid(e->super), m->plan.uuid, 16);
    e->csum_seed = crc32c(~(uint32_t)0, m->plan.uuid, 16);
    super_sizes(m);
    super_words(m);
    m->descs = mem_array(e->desc_blocks, e->block_size, err);
    if (!m->descs || !ext_make_place(m, 0, err))
        return false;
    return round_to_clusters(m, err);
}
