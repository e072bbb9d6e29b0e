/* What a new volume is to be: the rules and defaults of mke2fs 1.47 and its mke2fs.conf. */
#include "mkfs.h"

#include "guid.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define ON_OFF(name, help)                                                                                   \
    {                                                                                                        \
        name, OPTION_FLAG, NULL, help                                                                        \
    }

const struct option ext_mkfs_options[] = {
    {"usage", OPTION_WORD, "default|small|floppy|big|huge|news|largefile|largefile4|hurd",
     "block size and inode density for a use; by default chosen by the size"},
    {"blocksize", OPTION_SIZE, NULL, "block size, 1K to 64K"},
    {"cluster_size", OPTION_SIZE, NULL, "allocation unit with bigalloc; 16 blocks by default"},
    {"size", OPTION_SIZE, NULL, "size of the filesystem; the whole volume by default"},
    {"inode_size", OPTION_NUMBER, NULL, "bytes of an inode, 128 or more; 256 by default"},
    {"inode_ratio", OPTION_SIZE, NULL, "one inode for each of so many bytes"},
    {"inodes", OPTION_NUMBER, NULL, "number of inodes"},
    {"reserved", OPTION_TEXT, NULL, "percent of the blocks kept for root; 5 by default"},
    {"blocks_per_group", OPTION_NUMBER, NULL, "blocks of a group; a multiple of 8"},
    {"flex_bg_size", OPTION_NUMBER, NULL, "groups whose tables lie together; 16 by default"},
    {"resize", OPTION_SIZE, NULL, "reserve descriptors for growing online up to this size"},
    {"stride", OPTION_NUMBER, NULL, "RAID: blocks on one disk before the next"},
    {"stripe_width", OPTION_NUMBER, NULL, "RAID: blocks of a whole stripe"},
    {"num_backup_sb", OPTION_NUMBER, NULL, "superblock copies with sparse_super2: 0, 1 or 2"},
    {"journal_size", OPTION_SIZE, NULL, "size of the journal; a plain small number means MiB"},
    {"fast_commit_size", OPTION_SIZE, NULL, "size of the fast commit area; a plain small number means KiB"},
    {"journal_location", OPTION_NUMBER, NULL,
     "block at which the journal begins; near the middle by default"},
    {"orphan_file_size", OPTION_SIZE, NULL, "size of the orphan file"},
    {"hash_seed", OPTION_TEXT, NULL, "UUID that seeds the directory hash; random by default"},
    {"hash_alg", OPTION_WORD, "legacy|half_md4|tea", "directory hash"},
    {"errors", OPTION_WORD, "continue|remount-ro|panic", "what the kernel does when it finds damage"},
    {"root_owner", OPTION_TEXT, NULL, "UID:GID of the root directory; 0:0 by default"},
    {"last_mounted", OPTION_TEXT, NULL, "directory noted as the last mount point"},
    {"mmp_update_interval", OPTION_NUMBER, NULL, "seconds between two updates with mmp"},
    {"quotatype", OPTION_TEXT, NULL, "usrquota, grpquota and prjquota joined by ':'"},
    {"encoding", OPTION_WORD, "utf8|utf8-12.1", "names of casefold directories"},
    {"encoding_flags", OPTION_WORD, "strict|no-strict", "strict refuses names that are not valid UTF-8"},
    {"desc_size", OPTION_NUMBER, NULL, "bytes of a group descriptor with 64bit; 64 by default"},
    {"packed_meta_blocks", OPTION_FLAG, NULL, "all tables and the journal at the front"},
    {"revision", OPTION_NUMBER, NULL, "0: the format of 1993, without any feature"},
    {"creator_os", OPTION_WORD, "linux|hurd", "owner of the operating system's own fields"},
    {"test_fs", OPTION_FLAG, NULL, "mark as made for tests of the filesystem's code"},
    {"lazy_itable_init", OPTION_FLAG, NULL, "accepted for mke2fs's sake: zeroed tables cost nothing here"},
    {"lazy_journal_init", OPTION_FLAG, NULL, "accepted for mke2fs's sake"},
    {"none", OPTION_FLAG, NULL, "no features but those named after it"},
    ON_OFF("has_journal", "journal inside the volume"),
    ON_OFF("ext_attr", "extended attributes"),
    ON_OFF("resize_inode", "room to grow online"),
    ON_OFF("dir_index", "hashed directories"),
    ON_OFF("filetype", "file types in directory entries"),
    ON_OFF("extent", "extents instead of block maps"),
    ON_OFF("extents", "the same as extent"),
    ON_OFF("64bit", "more than 2^32 blocks"),
    ON_OFF("flex_bg", "tables anywhere, those of several groups together"),
    ON_OFF("meta_bg", "descriptors spread over the volume"),
    ON_OFF("sparse_super", "superblock copies in few groups"),
    ON_OFF("sparse_super2", "at most two superblock copies"),
    ON_OFF("large_file", "files of 2 GiB and more"),
    ON_OFF("huge_file", "files of 2 TiB and more"),
    ON_OFF("dir_nlink", "more than 65000 directories in one"),
    ON_OFF("extra_isize", "room for more in each inode"),
    ON_OFF("uninit_bg", "checksums of descriptors only; unused groups need no bitmaps"),
    ON_OFF("gdt_csum", "the same as uninit_bg"),
    ON_OFF("metadata_csum", "checksums of all metadata"),
    ON_OFF("metadata_csum_seed", "checksums that do not depend on the UUID"),
    ON_OFF("bigalloc", "allocation in clusters of blocks"),
    ON_OFF("quota", "quota inside the volume"),
    ON_OFF("project", "project ids and quota"),
    ON_OFF("inline_data", "small files inside the inode"),
    ON_OFF("ea_inode", "large extended attributes"),
    ON_OFF("large_dir", "directories of three levels"),
    ON_OFF("encrypt", "encrypted directories may be made"),
    ON_OFF("casefold", "case-insensitive directories may be made"),
    ON_OFF("verity", "verified files may be made"),
    ON_OFF("stable_inodes", "inode numbers and UUID never change"),
    ON_OFF("mmp", "protection against two hosts"),
    ON_OFF("orphan_file", "orphans in a file instead of a list"),
    ON_OFF("fast_commit", "fast commits in the journal"),
    ON_OFF("dir_prealloc", "blocks of directories are preallocated"),
    ON_OFF("imagic_inodes", "AFS server inodes"),
    {NULL, OPTION_FLAG, NULL, NULL},
};

/* ---- mke2fs.conf ---- */

struct usage {
    const char *name;
    uint32_t block_size, inode_size; /* 0: the default */
    uint64_t inode_ratio;
};

enum { USAGE_DEFAULT, USAGE_FLOPPY, USAGE_SMALL, USAGE_BIG, USAGE_HUGE };

static const struct usage usages[] = {
    [USAGE_DEFAULT] = {"default", 4096, 256, 16 * KiB},
    [USAGE_FLOPPY] = {"floppy", 1024, 256, 8 * KiB},
    [USAGE_SMALL] = {"small", 1024, 256, 4 * KiB},
    [USAGE_BIG] = {"big", 4096, 256, 32 * KiB},
    [USAGE_HUGE] = {"huge", 4096, 256, 64 * KiB},
    {"news", 4096, 256, 4 * KiB},
    {"largefile", 4096, 256, 1 * MiB},
    {"largefile4", 4096, 256, 4 * MiB},
    {"hurd", 4096, 128, 16 * KiB},
};

static const struct usage *usage_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(usages); i++)
        if (strcmp(usages[i].name, name) == 0)
            return &usages[i];
    return &usages[0];
}

/* The usage type that mke2fs gives to a volume of so many bytes. */
static const struct usage *usage_by_size(uint64_t bytes)
{
    if (bytes < 3 * MiB)
        return &usages[USAGE_FLOPPY];
    if (bytes < 512 * MiB)
        return &usages[USAGE_SMALL];
    if (bytes < 4 * TiB)
        return &usages[USAGE_DEFAULT];
    return &usages[bytes < 16 * TiB ? USAGE_BIG : USAGE_HUGE];
}

/* ---- features ---- */

static void set_feature(struct ext_plan *plan, uint64_t feature, bool on)
{
    uint32_t *word = &plan->features[feature >> 32], bit = (uint32_t)feature;
    *word = on ? *word | bit : *word & ~bit;
}

static bool has(const struct ext_plan *plan, uint64_t feature)
{
    return plan->features[feature >> 32] & (uint32_t)feature;
}

static void plan_features(struct ext_plan *plan, const struct mkfs_params *params)
{
    static const uint64_t base[] = {EXT_SPARSE_SUPER, EXT_LARGE_FILE, EXT_FILETYPE,
                                    EXT_RESIZE_INODE, EXT_DIR_INDEX,  EXT_EXT_ATTR};
    static const uint64_t ext4[] = {EXT_EXTENTS, EXT_HUGE_FILE, EXT_FLEX_BG,    EXT_METADATA_CSUM,
                                    EXT_64BIT,   EXT_DIR_NLINK, EXT_EXTRA_ISIZE};
    for (size_t i = 0; i < ARRAY_LEN(base); i++)
        set_feature(plan, base[i], true);
    if (strcmp(params->type, "ext2") != 0)
        set_feature(plan, EXT_HAS_JOURNAL, true);
    if (strcmp(params->type, "ext4") == 0)
        for (size_t i = 0; i < ARRAY_LEN(ext4); i++)
            set_feature(plan, ext4[i], true);
    for (size_t i = 0; params->options && i < params->options->count; i++) {
        const struct option_value *v = &params->options->values[i];
        if (!v->option || v->option->type != OPTION_FLAG)
            continue;
        if (strcmp(v->option->name, "none") == 0 && v->number)
            memset(plan->features, 0, sizeof plan->features);
        else
            set_feature(plan, ext_feature_id(v->option->name), v->number != 0);
    }
}

/* Features that stand or fall together. */
static bool check_features(struct ext_plan *plan, struct error *err)
{
    if (has(plan, EXT_METADATA_CSUM))
        set_feature(plan, EXT_GDT_CSUM, false);
    if (has(plan, EXT_CSUM_SEED) && !has(plan, EXT_METADATA_CSUM))
        return fail(err, E_INVALID, "metadata_csum_seed needs metadata_csum");
    if (has(plan, EXT_RESIZE_INODE) && has(plan, EXT_META_BG))
        return fail(err, E_INVALID, "resize_inode and meta_bg exclude each other: add ^resize_inode");
    if (has(plan, EXT_RESIZE_INODE) && !has(plan, EXT_SPARSE_SUPER) && !has(plan, EXT_SPARSE_SUPER2))
        return fail(err, E_INVALID, "resize_inode needs sparse_super: add ^resize_inode");
    if (has(plan, EXT_BIGALLOC) && !has(plan, EXT_EXTENTS))
        return fail(err, E_INVALID, "bigalloc needs extent");
    if (has(plan, EXT_INLINE_DATA) && plan->inode_size < 256)
        return fail(err, E_INVALID, "inline_data needs inodes of 256 bytes or more");
    if (has(plan, EXT_PROJECT) && plan->inode_size < 256)
        return fail(err, E_INVALID, "project needs inodes of 256 bytes or more");
    if (has(plan, EXT_64BIT) && !has(plan, EXT_EXTENTS))
        return fail(err, E_INVALID, "64bit needs extent: add ^64bit");
    if (has(plan, EXT_FAST_COMMIT) && !has(plan, EXT_HAS_JOURNAL))
        return fail(err, E_INVALID, "fast_commit needs has_journal");
    return true;
}

/* ---- sizes ---- */

static bool plan_block_size(const struct device *device, const struct options *o, uint64_t bytes,
                            const struct usage *usage, struct ext_plan *plan, struct error *err)
{
    uint64_t block_size = options_number(o, "blocksize", 0);
    if (block_size == 0)
        block_size = MAX_OF(usage->block_size, device->block_size);
    if (!is_power_of_two(block_size) || block_size < 1 * KiB || block_size > 64 * KiB)
        return fail(err, E_INVALID, "blocksize=%llu: a power of two from 1K to 64K is needed",
                    (unsigned long long)block_size);
    if (block_size < device->block_size)
        return fail(err, E_INVALID, "blocksize=%llu is less than the sector size %u",
                    (unsigned long long)block_size, device->block_size);
    plan->block_size = (uint32_t)block_size;
    plan->blocks = bytes / block_size;
    uint64_t cluster = options_number(o, "cluster_size", 0);
    if (cluster && !has(plan, EXT_BIGALLOC))
        return fail(err, E_INVALID, "cluster_size needs bigalloc");
    if (cluster == 0)
        cluster = has(plan, EXT_BIGALLOC) ? block_size * 16 : block_size;
    if (!is_power_of_two(cluster) || cluster < block_size || cluster > 512 * MiB)
        return fail(err, E_INVALID, "cluster_size=%llu: a power of two from the block size to 512M is needed",
                    (unsigned long long)cluster);
    plan->cluster_size = (uint32_t)cluster;
    return true;
}

static bool plan_inodes(const struct options *o, const struct usage *usage, struct ext_plan *plan,
                        struct error *err)
{
    uint64_t size = options_number(o, "inode_size", plan->rev == 0 ? 128 : usage->inode_size);
    if (!is_power_of_two(size) || size < 128 || size > plan->block_size)
        return fail(err, E_INVALID, "inode_size=%llu: a power of two from 128 to the block size is needed",
                    (unsigned long long)size);
    if (plan->rev == 0 && size != 128)
        return fail(err, E_INVALID, "revision=0 has inodes of 128 bytes");
    plan->inode_size = (uint32_t)size;
    uint64_t ratio = options_number(o, "inode_ratio", MAX_OF(usage->inode_ratio, plan->cluster_size));
    if (ratio < 1 * KiB || ratio > 64 * MiB)
        return fail(err, E_INVALID, "inode_ratio=%llu: 1K to 64M", (unsigned long long)ratio);
    plan->inodes = options_number(o, "inodes", 0);
    if (plan->inodes == 0)
        plan->inodes = plan->blocks * plan->block_size / ratio;
    if (plan->inodes == 0) /* the ratio is more than the volume has */
        plan->inodes = round_down(plan->blocks * plan->block_size, plan->cluster_size) /
                       MAX_OF(plan->block_size, 4 * KiB);
    if (plan->inodes > UINT32_MAX) {
        if (options_has(o, "inodes") || !has(plan, EXT_64BIT))
            return fail(err, E_TOOBIG, "%llu inodes: the format holds 4294967295",
                        (unsigned long long)plan->inodes);
        plan->inodes = UINT32_MAX;
    }
    if (plan->inodes * plan->inode_size >= plan->blocks * plan->block_size)
        return fail(err, E_INVALID, "%llu inodes of %u bytes do not fit into the volume",
                    (unsigned long long)plan->inodes, plan->inode_size);
    return true;
}

static bool plan_reserved(const struct options *o, struct ext_plan *plan, struct error *err)
{
    const char *text = options_text(o, "reserved", "5");
    char *end;
    plan->reserved = strtod(text, &end);
    if (*end == '%')
        end++;
    if (end == text || *end != '\0' || !(plan->reserved >= 0 && plan->reserved <= 50))
        return fail(err, E_INVALID, "reserved=%s: a percentage from 0 to 50 is needed", text);
    return true;
}

uint64_t ext_default_journal_blocks(uint64_t blocks)
{
    static const struct {
        uint64_t below, journal;
    } steps[] = {
        {2048, 0},           {32 * KiB, 1 * KiB}, {256 * KiB, 4 * KiB}, {512 * KiB, 8 * KiB},
        {4 * MiB, 16 * KiB}, {8 * MiB, 32 * KiB}, {16 * MiB, 64 * KiB}, {32 * MiB, 128 * KiB},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (blocks < steps[i].below)
            return steps[i].journal;
    return 256 * KiB;
}

static bool plan_journal(const struct options *o, struct ext_plan *plan, struct error *err)
{
    bool sized = options_has(o, "journal_size") || options_has(o, "journal_location");
    if (sized && !options_has(o, "has_journal")) /* also of an ext2 */
        set_feature(plan, EXT_HAS_JOURNAL, true);
    if (!has(plan, EXT_HAS_JOURNAL)) {
        if (sized)
            return fail(err, E_INVALID, "journal_size and journal_location need has_journal");
        return !has(plan, EXT_ORPHAN_FILE) || fail(err, E_INVALID, "orphan_file needs has_journal");
    }
    uint64_t total = ext_default_journal_blocks(plan->blocks), fast = 0;
    uint64_t size = options_number(o, "journal_size", 0),
             fast_size = options_number(o, "fast_commit_size", 0);
    if (size && size < 102400)
        size *= MiB;
    if (fast_size && fast_size < 1 * KiB)
        fast_size *= KiB;
    if (size)
        total = size / plan->block_size;
    if (has(plan, EXT_FAST_COMMIT))
        fast = fast_size ? fast_size / plan->block_size : total / 64;
    total += fast;
    if (total == 0) {
        set_feature(plan, EXT_HAS_JOURNAL, false);
        set_feature(plan, EXT_FAST_COMMIT, false);
        set_feature(plan, EXT_ORPHAN_FILE, false);
        return true;
    }
    if (total - fast < 1024)
        return fail(err, E_INVALID, "journal_size: a journal has at least 1024 blocks, not %llu",
                    (unsigned long long)(total - fast));
    if (size && (total > 10240000 || total > plan->blocks / 2))
        return fail(err, E_INVALID, "journal_size: %llu blocks are more than half of the volume or 10240000",
                    (unsigned long long)total);
    plan->journal_blocks = total;
    plan->fast_commit_blocks = fast;
    plan->journal_goal = options_number(o, "journal_location", UINT64_MAX);
    if (plan->journal_goal != UINT64_MAX && plan->journal_goal >= plan->blocks)
        return fail(err, E_INVALID, "journal_location is behind the end of the volume");
    return true;
}

static bool plan_groups(const struct options *o, struct ext_plan *plan, struct error *err)
{
    uint64_t per_group = options_number(o, "blocks_per_group", 0);
    if (per_group && (per_group < 256 || per_group > plan->block_size * 8ull || per_group % 8))
        return fail(err, E_INVALID, "blocks_per_group=%llu: a multiple of 8 from 256 to %u",
                    (unsigned long long)per_group, plan->block_size * 8);
    plan->blocks_per_group = (uint32_t)per_group;
    uint64_t flex = options_number(o, "flex_bg_size", 16);
    if (!is_power_of_two(flex) || flex > (uint64_t)1 << 31)
        return fail(err, E_INVALID, "flex_bg_size=%llu: a power of two is needed", (unsigned long long)flex);
    if (options_has(o, "flex_bg_size") && !has(plan, EXT_FLEX_BG))
        return fail(err, E_INVALID, "flex_bg_size needs flex_bg");
    plan->flex_groups = has(plan, EXT_FLEX_BG) && flex > 1 ? (uint32_t)flex : 0;
    plan->desc_size = (uint32_t)options_number(o, "desc_size", has(plan, EXT_64BIT) ? 64 : 32);
    if (!is_power_of_two(plan->desc_size) || plan->desc_size < (has(plan, EXT_64BIT) ? 64u : 32u) ||
        plan->desc_size > (has(plan, EXT_64BIT) ? 1024u : 32u))
        return fail(err, E_INVALID, "desc_size=%u: 32 without 64bit, 64 to 1024 with it", plan->desc_size);
    plan->resize_blocks = options_number(o, "resize", 0) / plan->block_size;
    plan->backups = (uint32_t)options_number(o, "num_backup_sb", 2);
    if (plan->backups > 2)
        return fail(err, E_INVALID, "num_backup_sb=%u: 0, 1 or 2", plan->backups);
    plan->stride = (uint32_t)options_number(o, "stride", 0);
    plan->stripe_width = (uint32_t)options_number(o, "stripe_width", 0);
    if (plan->blocks > UINT32_MAX) {
        if (!has(plan, EXT_64BIT))
            return fail(err, E_TOOBIG, "%llu blocks need the feature 64bit",
                        (unsigned long long)plan->blocks);
        set_feature(plan, EXT_RESIZE_INODE, false);
    }
    return true;
}

/* ---- words ---- */

static bool plan_quota(const struct options *o, struct ext_plan *plan, struct error *err)
{
    static const char *const names[] = {"usrquota", "grpquota", "prjquota"};
    const char *text = options_text(o, "quotatype", NULL);
    if (text)
        set_feature(plan, EXT_QUOTA, true);
    if (!has(plan, EXT_QUOTA))
        return true;
    if (!text) {
        plan->quota_types = has(plan, EXT_PROJECT) ? 7 : 3;
        return true;
    }
    while (*text) {
        size_t n = strcspn(text, ":"), i = 0;
        while (i < ARRAY_LEN(names) && (strlen(names[i]) != n || strncmp(names[i], text, n) != 0))
            i++;
        if (i == ARRAY_LEN(names))
            return fail(err, E_INVALID, "quotatype: usrquota, grpquota and prjquota joined by ':'");
        plan->quota_types |= 1u << i;
        text += n + (text[n] == ':');
    }
    if (plan->quota_types & 4)
        set_feature(plan, EXT_PROJECT, true);
    return true;
}

static bool plan_owner(const struct options *o, struct ext_plan *plan, struct error *err)
{
    const char *text = options_text(o, "root_owner", "0:0");
    unsigned long long uid, gid;
    char rest;
    if (sscanf(text, "%llu:%llu%c", &uid, &gid, &rest) != 2 || uid > UINT32_MAX || gid > UINT32_MAX)
        return fail(err, E_INVALID, "root_owner=%s: UID:GID is needed", text);
    plan->root_uid = (uint32_t)uid;
    plan->root_gid = (uint32_t)gid;
    return true;
}

static bool plan_words(const struct mkfs_params *params, struct ext_plan *plan, struct error *err)
{
    const struct options *o = params->options;
    plan->hash_version = ext_hash_of(options_text(o, "hash_alg", "half_md4"));
    plan->errors = ext_errors_of(options_text(o, "errors", "continue"));
    plan->creator_os = strcmp(options_text(o, "creator_os", "linux"), "hurd") == 0;
    plan->mmp_interval = (uint32_t)options_number(o, "mmp_update_interval", 0);
    if (plan->mmp_interval > 300)
        return fail(err, E_INVALID, "mmp_update_interval=%u: at most 300 seconds", plan->mmp_interval);
    if (has(plan, EXT_CASEFOLD)) {
        plan->encoding = 1;
        plan->encoding_flags = strcmp(options_text(o, "encoding_flags", "no-strict"), "strict") == 0;
    }
    plan->test_fs = options_flag(o, "test_fs", false);
    bool packed = options_flag(o, "packed_meta_blocks", false);
    if (packed)
        plan->journal_goal = 0;
    plan->packed = packed && has(plan, EXT_FLEX_BG);
    const char *mounted = options_text(o, "last_mounted", "");
    if (strlen(mounted) >= sizeof plan->last_mounted)
        return fail(err, E_INVALID, "last_mounted: at most 63 bytes");
    memcpy(plan->last_mounted, mounted, strlen(mounted));
    const char *label = params->label ? params->label : "";
    if (strlen(label) > sizeof plan->label)
        return fail(err, E_INVALID, "label \"%s\": at most 16 bytes", label);
    memcpy(plan->label, label, strlen(label));
    return plan_owner(o, plan, err) && plan_quota(o, plan, err);
}

/* What was asked for, or a random one (version 4). */
static bool plan_uuid(const char *what, const char *text, const struct mkfs_params *params, uint8_t *uuid,
                      struct error *err)
{
    if (text)
        return guid_parse(text, GUID_RFC, uuid) ||
               fail(err, E_INVALID, "%s \"%s\" is not a UUID", what, text);
    params->random(uuid, 16);
    uuid[6] = (uint8_t)((uuid[6] & 0x0F) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3F) | 0x80);
    return true;
}

bool ext_plan_make(const struct device *device, const struct mkfs_params *params, struct ext_plan *plan,
                   struct error *err)
{
    const struct options *o = params->options;
    *plan = (struct ext_plan){.now = params->now.sec, .rev = 1, .journal_goal = UINT64_MAX};
    uint64_t bytes = options_number(o, "size", 0);
    if (bytes > device->size)
        return fail(err, E_INVALID, "size=%llu: the volume has %llu bytes", (unsigned long long)bytes,
                    (unsigned long long)device->size);
    if (bytes == 0)
        bytes = round_down(device->size, 4 * KiB);
    const struct usage *usage =
        options_has(o, "usage") ? usage_find(options_text(o, "usage", "default")) : usage_by_size(bytes);
    plan_features(plan, params);
    plan->rev = options_number(o, "revision", 1) != 0;
    if (plan->rev == 0)
        memset(plan->features, 0, sizeof plan->features);
    if (!plan_block_size(device, o, bytes, usage, plan, err) || !plan_reserved(o, plan, err) ||
        !plan_inodes(o, usage, plan, err) || !plan_groups(o, plan, err) || !plan_journal(o, plan, err) ||
        !plan_words(params, plan, err) || !check_features(plan, err))
        return false;
    plan->orphan_blocks = options_number(o, "orphan_file_size", 0) / plan->block_size;
    return plan_uuid("uuid", params->uuid, params, plan->uuid, err) &&
           plan_uuid("hash_seed", options_text(o, "hash_seed", NULL), params, plan->hash_seed, err);
}
