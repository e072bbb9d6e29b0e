/* The driver's table: opening, contents, attributes and the whole volume; names are in namei.c. */
#include "alloc.h"
#include "bytes.h"
#include "describe.h"
#include "extent.h"
#include "mount.h"
#include "namei.h"
#include "rescue.h"
#include "xattr.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- opening ---- */

static unsigned ext_probe(struct device *dev)
{
    uint8_t super[EXT_SUPER_SIZE];
    struct error ignored;
    if (dev->size < EXT_SUPER_OFFSET + EXT_SUPER_SIZE ||
        !device_read(dev, EXT_SUPER_OFFSET, super, sizeof super, &ignored))
        return 0;
    if (ext_super_s_magic(super) != EXT_MAGIC)
        return ext_rescue_probe(dev) ? PROBE_REMAINS : 0;
    unsigned bits = 16;
    bits += ext_super_s_log_block_size(super) <= 6 ? 8 : 0;
    bits += ext_super_s_rev_level(super) <= 1 ? 8 : 0;
    bits += ext_super_s_blocks_count_lo(super) != 0 || ext_super_s_blocks_count_hi(super) != 0 ? 4 : 0;
    bits += ext_super_s_inodes_per_group(super) != 0 ? 4 : 0;
    return bits;
}

static void set_limits(struct ext_fs *ext)
{
    bool wide = ext->inode_size >= EXT_INODE_FIELDS;
    uint64_t max = ext_has(ext, EXT_EXTENTS) ? UINT32_MAX : ext_indirect_max(ext);
    ext->limits = (struct fs_limits){
        .max_file_size = max << ext->block_bits,
        .max_name = EXT_NAME_MAX,
        .case_insensitive = ext_has(ext, EXT_CASEFOLD), /* some directories may be */
        .owners = true,
        .modes = true,
        .hard_links = true,
        .symlinks = true,
        .devices = true,
        .fifos = true,
        .xattrs = true,
        .sparse = true,
        .time_ns = wide ? 1 : 1000000000,
        .time_min = INT32_MIN,
        .time_max = wide ? ((int64_t)3 << 32) + INT32_MAX : INT32_MAX,
    };
}

/* What the engine shows of the volume, after the superblock was read. */
static void set_public(struct ext_fs *ext)
{
    const uint8_t *id = ext_super_s_uuid(ext->super);
    char *out = ext->fs.uuid;
    for (int i = 0; i < 16; i++)
        out += sprintf(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", id[i]);
    snprintf(ext->fs.label, sizeof ext->fs.label, "%.16s", (const char *)ext_super_s_volume_name(ext->super));
    ext->fs.type = ext_type(ext);
    set_limits(ext);
}

static void ext_close(struct fs *fs)
{
    struct ext_fs *ext = ext_of(fs);
    cache_free(ext->cache);
    device_close(ext->overlay);
    ext_rescue_forget(ext);
    ranges_clear(&ext->dirty_bitmaps[EXT_BLOCK_BITMAP]);
    ranges_clear(&ext->dirty_bitmaps[EXT_INODE_BITMAP]);
    ranges_clear(&ext->freed);
    ranges_clear(&ext->fresh);
    ranges_clear(&ext->fenced);
    ext_dirs_forget(ext);
    ext_shared_forget(ext);
    ext_owners_forget(ext);
    ext_quota_drop(ext);
    free(ext->scratch);
    free(ext);
}

void ext_fs_close(struct fs *fs)
{
    ext_close(fs);
}

bool ext_open_copy(struct device *dev, bool read_only, uint64_t block, struct fs **out, struct error *err)
{
    struct ext_fs *ext = mem_new(sizeof *ext, err);
    if (!ext)
        return false;
    ext->fs = (struct fs){.driver = &ext_driver, .device = dev, .root = EXT_ROOT_INO, .limits = &ext->limits};
    ext->read_only = read_only || dev->read_only;
    ext->copy_block = block;
    ext->scratch = mem_new(EXT_SCRATCH, err);
    if (!ext->scratch || !ext_start(ext, err)) {
        ext_close(&ext->fs);
        return false;
    }
    set_public(ext);
    *out = &ext->fs;
    return true;
}

bool ext_open(struct device *dev, bool read_only, struct fs **out, struct error *err)
{
    return ext_open_copy(dev, read_only, 0, out, err);
}

static bool ext_op_reload(struct fs *fs, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    if (!ext_reload(ext, err))
        return false;
    set_public(ext);
    return true;
}

bool ext_fs_flush(struct fs *fs, struct error *err)
{
    return ext_flush(ext_of(fs), err);
}

static void ext_committed(struct fs *fs)
{
    ranges_clear(&ext_of(fs)->freed);
}

/* ---- the whole volume ---- */

static bool ext_statfs(struct fs *fs, struct fs_stat *out, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    uint64_t high = ext_has(ext, EXT_64BIT) ? ext_super_s_r_blocks_count_hi(ext->super) : 0;
    uint64_t reserved = ext_super_s_r_blocks_count_lo(ext->super) | high << 32, overhead;
    if (!ext_overhead(ext, &overhead, err))
        return false;
    out->block_size = ext->block_size;
    out->blocks = ext->blocks - MIN_OF(overhead, ext->blocks);
    out->free_blocks = ext_free_blocks(ext);
    out->available_blocks = out->free_blocks - MIN_OF(reserved, out->free_blocks);
    out->inodes = ext->inodes;
    out->free_inodes = ext_super_s_free_inodes_count(ext->super);
    return true;
}

static bool ext_free_runs(struct fs *fs, bool (*emit)(uint64_t off, uint64_t len, void *arg), void *arg,
                          struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    uint64_t start = 0, end = 0; /* a run may go on in the next group */
    for (uint32_t group = 0; group < ext->groups; group++) {
        struct cache_block *block;
        const uint8_t *bits;
        uint32_t count = ext_group_clusters(ext, group);
        uint64_t first = ext_group_first_block(ext, group);
        if (!interrupt_check(err) ||
            !ext_bitmap_peek(ext, EXT_BLOCK_BITMAP, group, ext->scratch, &bits, &block, err))
            return false;
        bool more = true;
        for (uint32_t at = 0; more && (at = ext_bits_next_clear(bits, at, count)) < count;) {
            uint32_t stop = ext_bits_next_set(bits, at, count);
            uint64_t from = first + ((uint64_t)at << ext->cluster_bits);
            if (from != end) {
                more = end == start || emit(ext_offset(ext, start), ext_offset(ext, end - start), arg);
                start = from;
            }
            end = MIN_OF(first + ((uint64_t)stop << ext->cluster_bits), ext->blocks);
            at = stop;
        }
        ext_block_put(ext, block);
        if (!more)
            return true;
    }
    if (end > start)
        emit(ext_offset(ext, start), ext_offset(ext, end - start), arg);
    return true;
}

static void ext_cache_report(struct fs *fs, struct report *report)
{
    struct cache_stats stats = cache_stats(ext_of(fs)->cache);
    report_number(report, "hits", stats.hits);
    report_number(report, "misses", stats.misses);
    report_number(report, "writes", stats.writes);
    report_size(report, "size", stats.bytes);
    report_size(report, "max-size", stats.max_bytes);
}

/* ---- contents ---- */

static bool refuse_encrypted(const struct ext_inode *inode, struct error *err)
{
    return !ext_inode_flag(inode->raw, EXT_FL_ENCRYPT) ||
           fail(err, E_UNSUPPORTED, "the contents are encrypted");
}

static bool readable(const struct ext_inode *inode, struct error *err)
{
    if (ext_inode_flag(inode->raw, EXT_FL_COMPR) && ext_inode_flag(inode->raw, EXT_FL_COMPRBLK))
        return fail(err, E_UNSUPPORTED, "the contents are compressed (e2compr)");
    return refuse_encrypted(inode, err);
}

static bool changeable(const struct ext_inode *inode, struct error *err)
{
    if (!ext_inode_is(inode->raw, S_IFREG))
        return fail(err, ext_inode_is(inode->raw, S_IFDIR) ? E_ISDIR : E_INVALID, "not a regular file");
    if (!ext_may_add(inode, err))
        return false;
    if (ext_inode_flag(inode->raw, EXT_FL_VERITY))
        return fail(err, E_UNSUPPORTED, "the file is protected by fs-verity and cannot be changed");
    return refuse_encrypted(inode, err);
}

static bool ext_readlink(struct fs *fs, fs_id id, char *buf, size_t size, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!ext_open_inode(ext, id, &inode, err))
        return false;
    uint64_t len = ext_inode_size(ext, inode.raw);
    bool ok = ext_inode_is(inode.raw, S_IFLNK) || fail(err, E_INVALID, "not a symbolic link");
    ok = ok && refuse_encrypted(&inode, err);
    if (ok && (len == 0 || len > ext->block_size))
        ok = damaged(err, ext->dev, inode.block->off, "inode %u: a link's target of %llu bytes", inode.ino,
                     (unsigned long long)len);
    ok = ok &&
         (len < size || fail(err, E_TOOBIG, "the link's target has %llu bytes", (unsigned long long)len));
    if (ok && ext_inode_fast_symlink(ext, inode.raw))
        memcpy(buf, ext_inode_i_block(inode.raw), len);
    else
        ok = ok && ext_file_read(ext, &inode, 0, buf, len, err);
    ext_inode_put(ext, &inode);
    if (ok)
        buf[len] = '\0';
    return ok;
}

static bool map_inline(struct ext_fs *ext, const struct ext_inode *inode, uint64_t off, struct extent *out,
                       struct error *err)
{
    struct ext_inline parts;
    uint64_t size = ext_inode_size(ext, inode->raw);
    if (!ext_inline_get(ext, inode, &parts, err))
        return false;
    bool head = off < EXT_I_BLOCK_SIZE;
    uint64_t end = MIN_OF(size, head ? EXT_I_BLOCK_SIZE : EXT_I_BLOCK_SIZE + parts.tail_len);
    if (off >= end) {
        *out = (struct extent){.len = size - off, .flags = EXTENT_HOLE};
        return true;
    }
    const uint8_t *at = head ? parts.head + off : parts.tail + (off - EXT_I_BLOCK_SIZE);
    *out = (struct extent){.len = end - off, .device = ext->dev, .flags = EXTENT_INLINE};
    out->off = inode->block->off + (uint64_t)(at - inode->block->data);
    return true;
}

static bool map_blocks(struct ext_fs *ext, const struct ext_inode *inode, uint64_t off, struct extent *out,
                       struct error *err)
{
    struct ext_mapping run;
    uint64_t size = ext_inode_size(ext, inode->raw), skip = off & (ext->block_size - 1);
    if (ext_inode_fast_symlink(ext, inode->raw)) {
        uint64_t at = (uint64_t)(ext_inode_i_block(inode->raw) - inode->block->data) + off;
        *out = (struct extent){
            .len = size - off, .device = ext->dev, .off = inode->block->off + at, .flags = EXTENT_INLINE};
        return true;
    }
    if (!ext_inode_has_blocks(ext, inode->raw)) {
        *out = (struct extent){.len = size - off, .flags = EXTENT_HOLE};
        return true;
    }
    if (!ext_map(ext, inode, off >> ext->block_bits, &run, err))
        return false;
    uint64_t len = MIN_OF((run.len << ext->block_bits) - skip, size - off);
    if (run.start == 0)
        *out = (struct extent){.len = len, .flags = EXTENT_HOLE};
    else
        *out = (struct extent){.len = len,
                               .device = ext->dev,
                               .off = ext_offset(ext, run.start) + skip,
                               .flags = run.unwritten ? EXTENT_UNWRITTEN : 0};
    return true;
}

static bool ext_op_map(struct fs *fs, fs_id id, uint64_t off, struct extent *out, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!ext_open_inode(ext, id, &inode, err))
        return false;
    bool ok = off < ext_inode_size(ext, inode.raw) || fail(err, E_INVALID, "the offset is past the end");
    ok = ok && (ext_inode_flag(inode.raw, EXT_FL_INLINE_DATA) ? map_inline(ext, &inode, off, out, err)
                                                              : map_blocks(ext, &inode, off, out, err));
    ext_inode_put(ext, &inode);
    return ok;
}

static bool ext_op_read(struct fs *fs, fs_id id, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!ext_open_inode(ext, id, &inode, err))
        return false;
    bool ok = range_inside(off, n, ext_inode_size(ext, inode.raw)) ||
              fail(err, E_INVALID, "the range is past the end");
    ok = ok && readable(&inode, err) && ext_file_read(ext, &inode, off, buf, n, err);
    ext_inode_put(ext, &inode);
    return ok;
}

/* Open a file whose contents are about to change. */
static bool begin_change(struct ext_fs *ext, fs_id id, struct ext_inode *inode, struct error *err)
{
    if (!ext_begin(ext, err) || !ext_open_inode(ext, id, inode, err))
        return false;
    if (changeable(inode, err))
        return true;
    ext_inode_put(ext, inode);
    return false;
}

static bool ext_op_write(struct fs *fs, fs_id id, uint64_t off, const void *buf, size_t n, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!begin_change(ext, id, &inode, err))
        return false;
    bool ok = (off >= ext_inode_size(ext, inode.raw) || ext_may_change(&inode, err)) &&
              ext_file_write(ext, &inode, off, buf, n, err);
    ext_inode_put(ext, &inode);
    return ok;
}

static bool ext_op_extend(struct fs *fs, fs_id id, uint64_t off, uint64_t n, struct extent *out,
                          enum write_class *class, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!begin_change(ext, id, &inode, err))
        return false;
    bool ok = ext_file_extend(ext, &inode, off, n, out, class, err);
    ext_inode_put(ext, &inode);
    return ok;
}

static bool ext_op_truncate(struct fs *fs, fs_id id, uint64_t size, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!begin_change(ext, id, &inode, err))
        return false;
    bool ok = ext_may_change(&inode, err) && ext_file_truncate(ext, &inode, size, err);
    ext_inode_put(ext, &inode);
    return ok;
}

static bool ext_op_allocate(struct fs *fs, fs_id id, uint64_t off, uint64_t len, unsigned mode,
                            struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!begin_change(ext, id, &inode, err))
        return false;
    bool ok = ext_file_allocate(ext, &inode, off, len, mode, err);
    ext_inode_put(ext, &inode);
    return ok;
}

static bool ext_op_punch(struct fs *fs, fs_id id, uint64_t off, uint64_t len, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!begin_change(ext, id, &inode, err))
        return false;
    bool ok = ext_may_change(&inode, err) && ext_file_punch(ext, &inode, off, len, err);
    ext_inode_put(ext, &inode);
    return ok;
}

/* ---- extended attributes ---- */

static bool ext_op_xattr_list(struct fs *fs, fs_id id, bool (*emit)(const char *, void *), void *arg,
                              struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!ext_open_inode(ext, id, &inode, err))
        return false;
    bool ok = ext_xattr_list(ext, &inode, emit, arg, err);
    ext_inode_put(ext, &inode);
    return ok;
}

static bool ext_op_xattr_get(struct fs *fs, fs_id id, const char *name, void **value, size_t *len,
                             struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!ext_open_inode(ext, id, &inode, err))
        return false;
    bool ok = ext_xattr_get(ext, &inode, name, value, len, err);
    ext_inode_put(ext, &inode);
    return ok;
}

static bool ext_op_xattr_set(struct fs *fs, fs_id id, const char *name, const void *value, size_t len,
                             struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!ext_begin(ext, err) || !ext_open_inode(ext, id, &inode, err))
        return false;
    bool ok = ext_may_change(&inode, err) && ext_xattr_set(ext, &inode, name, value, len, err);
    ext_inode_put(ext, &inode);
    return ok;
}

/* ---- the table ---- */

static const char *const type_words[] = {"ext2", "ext3", "ext4", NULL};

const struct fs_driver ext_driver = {
    .head =
        {
            .name = "ext",
            .title = "ext2, ext3 and ext4",
            .spec = "ext4 Data Structures and Algorithms (Linux kernel documentation)",
            .type = DRIVER_FILESYSTEM,
            .probe = ext_probe,
            .make_options = ext_mkfs_options,
            .layouts = ext_layouts,
            .locate = ext_locate,
            .owner = ext_owner_of,
        },
    .types = type_words,
    .mkfs = ext_mkfs,
    .open = ext_open,
    .open_copy = ext_open_copy,
    .offer_journal = ext_offer_journal,
    .statfs = ext_statfs,
    .lookup = ext_op_lookup,
    .getattr = ext_op_getattr,
    .readdir = ext_op_readdir,
    .parent = ext_op_parent,
    .readlink = ext_readlink,
    .map = ext_op_map,
    .read = ext_op_read,
    .xattr_list = ext_op_xattr_list,
    .xattr_get = ext_op_xattr_get,
    .describe = ext_describe,
    .deleted = ext_deleted,
    .undelete = ext_undelete,
    .free_runs = ext_free_runs,
    .info = ext_info,
    .check = ext_check,
    .create = ext_op_create,
    .link = ext_op_link,
    .remove = ext_op_remove,
    .remove_files = ext_op_remove_files,
    .rename = ext_op_rename,
    .setattr = ext_op_setattr,
    .write = ext_op_write,
    .extend = ext_op_extend,
    .truncate = ext_op_truncate,
    .allocate = ext_op_allocate,
    .punch = ext_op_punch,
    .xattr_set = ext_op_xattr_set,
    .set_label = ext_set_label,
    .set_uuid = ext_set_uuid,
    .tune_options = ext_tune_options,
    .tune = ext_tune,
    .resize = ext_resize,
    .min_size = ext_min_size,
    .flush = ext_fs_flush,
    .reload = ext_op_reload,
    .committed = ext_committed,
    .cache_report = ext_cache_report,
    .close = ext_fs_close,
};
