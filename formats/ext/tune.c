/* Label, UUID, tunables and features of an existing volume, as tune2fs changes them. */
#include "tune.h"

#include "guid.h"

#include <stdio.h>
#include <stdlib.h>

#define ON_OFF(name, help)                                                                                   \
    {                                                                                                        \
        name, OPTION_FLAG, NULL, help                                                                        \
    }

const struct option ext_tune_options[] = {
    {"reserved", OPTION_TEXT, NULL, "percent of the blocks kept for root"},
    {"reserved_blocks", OPTION_NUMBER, NULL, "number of blocks kept for root"},
    {"reserved_uid", OPTION_NUMBER, NULL, "user who may take reserved blocks"},
    {"reserved_gid", OPTION_NUMBER, NULL, "group who may take reserved blocks"},
    {"errors", OPTION_WORD, "continue|remount-ro|panic", "what the kernel does when it finds damage"},
    {"max_mount_count", OPTION_NUMBER, NULL, "mounts between two checks; 0: no limit"},
    {"mount_count", OPTION_NUMBER, NULL, "mounts since the last check"},
    {"check_interval", OPTION_NUMBER, NULL, "seconds between two checks; 0: no limit"},
    {"last_checked", OPTION_NUMBER, NULL, "time of the last check, in seconds since 1970"},
    {"last_mounted", OPTION_TEXT, NULL, "directory noted as the last mount point"},
    {"mount_opts", OPTION_TEXT, NULL, "mount options used at every mount"},
    {"default_mount_opts", OPTION_TEXT, NULL, "number of the default mount option bits"},
    {"inode_size", OPTION_NUMBER, NULL, "bytes of an inode, more than it has"},
    {"hash_alg", OPTION_WORD, "legacy|half_md4|tea", "hash of new directory indexes"},
    {"stride", OPTION_NUMBER, NULL, "RAID: blocks on one disk before the next"},
    {"stripe_width", OPTION_NUMBER, NULL, "RAID: blocks of a whole stripe"},
    {"mmp_update_interval", OPTION_NUMBER, NULL, "seconds between two updates with mmp"},
    {"test_fs", OPTION_FLAG, NULL, "mark as made for tests of the filesystem's code"},
    ON_OFF("dir_index", "hashed directories"),
    ON_OFF("64bit", "numbers of more than 32 bits for blocks"),
    ON_OFF("filetype", "types of files in directories"),
    ON_OFF("sparse_super", "copies of the superblock in few groups (on only)"),
    ON_OFF("sparse_super2", "at most two superblock copies"),
    ON_OFF("ext_attr", "extended attributes"),
    ON_OFF("stable_inodes", "inode numbers and UUID never change (on only)"),
    ON_OFF("has_journal", "journal inside the volume"),
    ON_OFF("fast_commit", "fast commits in the journal"),
    ON_OFF("orphan_file", "orphans in a file instead of a list"),
    ON_OFF("resize_inode", "room to grow online"),
    ON_OFF("meta_bg", "descriptors spread over the volume"),
    ON_OFF("extent", "extents for new files (on only)"),
    ON_OFF("flex_bg", "tables anywhere (off when they lie in their groups)"),
    ON_OFF("mmp", "protection against two hosts"),
    ON_OFF("ea_inode", "large extended attributes (on only)"),
    ON_OFF("large_dir", "directories of three levels (on only)"),
    ON_OFF("encrypt", "encrypted directories may be made (on only)"),
    ON_OFF("casefold", "case-insensitive directories may be made"),
    ON_OFF("verity", "verified files may be made (on only)"),
    ON_OFF("large_file", "files of 2 GiB and more"),
    ON_OFF("huge_file", "files of 2 TiB and more"),
    ON_OFF("dir_nlink", "more than 65000 directories in one"),
    ON_OFF("extra_isize", "room for more in each inode"),
    ON_OFF("quota", "quota inside the volume"),
    ON_OFF("project", "project ids and quota"),
    ON_OFF("read-only", "the volume must not be changed"),
    ON_OFF("uninit_bg", "checksums of descriptors"),
    ON_OFF("metadata_csum", "checksums of all metadata"),
    ON_OFF("metadata_csum_seed", "checksums that do not depend on the UUID"),
    {NULL, OPTION_FLAG, NULL, NULL},
};

/* ---- label and UUID ------------------------------------------------------------------------------------ */

/* The superblock has changed in something its copies should share. */
static bool store_supers(struct ext_fs *ext, struct error *err)
{
    ext_super_changed(ext);
    return ext_flush(ext, err) && ext_backup_supers(ext, err);
}

static void show_identity(struct ext_fs *ext)
{
    const uint8_t *name = ext_super_s_volume_name(ext->super);
    snprintf(ext->fs.label, sizeof ext->fs.label, "%.*s", 16, (const char *)name);
    guid_format(ext_super_s_uuid(ext->super), GUID_RFC, ext->fs.uuid);
}

bool ext_set_label(struct fs *fs, const char *label, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    size_t n = strlen(label);
    if (n > 16)
        return fail(err, E_TOOBIG, "the label has %zu bytes, an ext label at most 16", n);
    if (!ext_prepare(ext, err))
        return false;
    memset(ext_super_s_volume_name(ext->super), 0, 16);
    memcpy(ext_super_s_volume_name(ext->super), label, n);
    show_identity(ext);
    return store_supers(ext, err);
}

bool ext_set_uuid(struct fs *fs, const char *text, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    uint8_t uuid[16] = {0}, super[EXT_SUPER_SIZE];
    if (strcmp(text, "random") == 0)
        guid_random(GUID_RFC, uuid);
    else if (strcmp(text, "clear") != 0 && !guid_parse(text, GUID_RFC, uuid))
        return fail(err, E_INVALID, "\"%s\" is not a UUID", text);
    if (ext_has(ext, EXT_STABLE_INODES))
        return fail(err, E_UNSUPPORTED, "the volume has stable_inodes: its UUID must not change");
    if (!ext_prepare(ext, err))
        return false;
    memcpy(super, ext->super, sizeof super);
    memcpy(ext_super_s_uuid(super), uuid, 16);
    bool seeds = ext->group_csum && !(ext->has_csum && ext_has(ext, EXT_CSUM_SEED));
    if (seeds) {
        if (!ext_reseal(ext, super, err))
            return false;
    } else {
        memcpy(ext_super_s_uuid(ext->super), uuid, 16);
        if (!store_supers(ext, err))
            return false;
    }
    show_identity(ext);
    return true;
}

/* ---- tunables ------------------------------------------------------------------------------------------ */

static bool set_reserved(struct ext_fs *ext, const struct option_value *v, struct error *err)
{
    uint64_t blocks = v->number;
    if (v->option->type == OPTION_TEXT) {
        char *end;
        double percent = strtod(v->text, &end);
        end += *end == '%';
        if (end == v->text || *end != '\0' || !(percent >= 0 && percent <= 50))
            return fail(err, E_INVALID, "reserved=%s: a percentage from 0 to 50 is needed", v->text);
        blocks = (uint64_t)(percent * (double)ext->blocks / 100.0);
    }
    if (blocks > ext->blocks / 2)
        return fail(err, E_INVALID, "%llu reserved blocks are more than half of the volume",
                    (unsigned long long)blocks);
    ext_super_set_s_r_blocks_count_lo(ext->super, (uint32_t)blocks);
    if (ext_has(ext, EXT_64BIT))
        ext_super_set_s_r_blocks_count_hi(ext->super, blocks >> 32);
    return true;
}

static bool set_text(uint8_t *field, size_t size, const struct option_value *v, struct error *err)
{
    size_t n = strlen(v->text);
    if (n >= size)
        return fail(err, E_INVALID, "%s: at most %zu bytes", v->option->name, size - 1);
    memset(field, 0, size);
    memcpy(field, v->text, n);
    return true;
}

/* One tunable that is only a field of the superblock. *known: it is one. */
static bool set_field(struct ext_fs *ext, const struct option_value *v, bool *known, struct error *err)
{
    const char *name = v->option->name;
    uint8_t *s = ext->super;
    *known = true;
    if (strcmp(name, "reserved") == 0 || strcmp(name, "reserved_blocks") == 0)
        return set_reserved(ext, v, err);
    if (strcmp(name, "last_mounted") == 0)
        return set_text(ext_super_s_last_mounted(s), 64, v, err);
    if (strcmp(name, "mount_opts") == 0)
        return set_text(ext_super_s_mount_opts(s), 64, v, err);
    if (strcmp(name, "reserved_uid") == 0)
        ext_super_set_s_def_resuid(s, v->number);
    else if (strcmp(name, "reserved_gid") == 0)
        ext_super_set_s_def_resgid(s, v->number);
    else if (strcmp(name, "errors") == 0)
        ext_super_set_s_errors(s, ext_errors_of(v->text));
    else if (strcmp(name, "hash_alg") == 0)
        ext_super_set_s_def_hash_version(s, ext_hash_of(v->text));
    else if (strcmp(name, "max_mount_count") == 0)
        ext_super_set_s_max_mnt_count(s, v->number ? v->number : 0xFFFF);
    else if (strcmp(name, "mount_count") == 0)
        ext_super_set_s_mnt_count(s, v->number);
    else if (strcmp(name, "check_interval") == 0)
        ext_super_set_s_checkinterval(s, v->number);
    else if (strcmp(name, "last_checked") == 0)
        ext_super_set_s_lastcheck(s, v->number);
    else if (strcmp(name, "default_mount_opts") == 0)
        ext_super_set_s_default_mount_opts(s, strtoull(v->text, NULL, 0));
    else if (strcmp(name, "stride") == 0)
        ext_super_set_s_raid_stride(s, v->number);
    else if (strcmp(name, "stripe_width") == 0)
        ext_super_set_s_raid_stripe_width(s, v->number);
    else if (strcmp(name, "mmp_update_interval") == 0)
        ext_super_set_s_mmp_update_interval(s, v->number);
    else if (strcmp(name, "test_fs") == 0)
        ext_super_set_s_flags(s, v->number ? ext_super_s_flags(s) | EXT_FLAGS_TEST
                                           : ext_super_s_flags(s) & ~(uint64_t)EXT_FLAGS_TEST);
    else
        *known = false;
    return true;
}

bool ext_tune(struct fs *fs, const struct options *options, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    if (!ext_prepare(ext, err))
        return false;
    for (size_t i = 0; i < options->count; i++) {
        const struct option_value *v = &options->values[i];
        bool known;
        if (!v->option)
            continue;
        if (strcmp(v->option->name, "inode_size") == 0) {
            if (!ext_tune_inode_size(ext, v->number, err))
                return false;
            continue;
        }
        if (!set_field(ext, v, &known, err))
            return false;
        ext_super_changed(ext);
        if (!known && !ext_tune_feature(ext, v->option->name, v->number != 0, err))
            return because(err, "%s", v->option->name);
    }
    return store_supers(ext, err);
}
