/* The tables behind `show`, `poke` and `diff`: fields, kinds of values, and what the checksums should be. */
#include "describe.h"

#include "alloc.h"
#include "bytes.h"
#include "journal.h"
#include "quota.h"
#include "xattr.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- kinds ---- */

KIND_FLAGS(ext_kind_state, {1, "clean"}, {2, "errors"}, {4, "orphans"}, {0x20, "fast-commit"});
KIND_ENUM(ext_kind_errors, {1, "continue"}, {2, "remount-ro"}, {3, "panic"});
KIND_ENUM(ext_kind_os, {0, "Linux"}, {1, "Hurd"}, {2, "Masix"}, {3, "FreeBSD"}, {4, "Lites"});
KIND_ENUM(ext_kind_hash, {0, "legacy"}, {1, "half_md4"}, {2, "tea"}, {3, "legacy, unsigned"},
          {4, "half_md4, unsigned"}, {5, "tea, unsigned"}, {6, "siphash"});
KIND_FLAGS(ext_kind_mount_opts, {1, "debug"}, {2, "bsdgroups"}, {4, "user_xattr"}, {8, "acl"},
           {0x10, "uid16"}, {0x20, "journal_data"}, {0x40, "journal_data_ordered"}, {0x100, "nobarrier"},
           {0x200, "block_validity"}, {0x400, "discard"}, {0x800, "nodelalloc"});
KIND_FLAGS(ext_kind_super_flags, {1, "signed_hash"}, {2, "unsigned_hash"}, {4, "test"});
KIND_FLAGS(ext_kind_bg_flags, {1, "inode_uninit"}, {2, "block_uninit"}, {4, "itable_zeroed"});
KIND_FLAGS(ext_kind_compat, {0x1, "dir_prealloc"}, {0x2, "imagic_inodes"}, {0x4, "has_journal"},
           {0x8, "ext_attr"}, {0x10, "resize_inode"}, {0x20, "dir_index"}, {0x40, "lazy_bg"},
           {0x200, "sparse_super2"}, {0x400, "fast_commit"}, {0x800, "stable_inodes"},
           {0x1000, "orphan_file"});
KIND_FLAGS(ext_kind_incompat, {0x1, "compression"}, {0x2, "filetype"}, {0x4, "needs_recovery"},
           {0x8, "journal_dev"}, {0x10, "meta_bg"}, {0x40, "extent"}, {0x80, "64bit"}, {0x100, "mmp"},
           {0x200, "flex_bg"}, {0x400, "ea_inode"}, {0x1000, "dirdata"}, {0x2000, "metadata_csum_seed"},
           {0x4000, "large_dir"}, {0x8000, "inline_data"}, {0x10000, "encrypt"}, {0x20000, "casefold"});
KIND_FLAGS(ext_kind_ro_compat, {0x1, "sparse_super"}, {0x2, "large_file"}, {0x4, "btree_dir"},
           {0x8, "huge_file"}, {0x10, "uninit_bg"}, {0x20, "dir_nlink"}, {0x40, "extra_isize"},
           {0x80, "snapshot"}, {0x100, "quota"}, {0x200, "bigalloc"}, {0x400, "metadata_csum"},
           {0x800, "replica"}, {0x1000, "read-only"}, {0x2000, "project"}, {0x4000, "shared_blocks"},
           {0x8000, "verity"}, {0x10000, "orphan_present"});
KIND_FLAGS(ext_kind_inode_flags, {EXT_FL_SECRM, "secrm"}, {EXT_FL_UNRM, "unrm"}, {EXT_FL_COMPR, "compr"},
           {EXT_FL_SYNC, "sync"}, {EXT_FL_IMMUTABLE, "immutable"}, {EXT_FL_APPEND, "append"},
           {EXT_FL_NODUMP, "nodump"}, {EXT_FL_NOATIME, "noatime"}, {EXT_FL_DIRTY, "dirty"},
           {EXT_FL_COMPRBLK, "comprblk"}, {EXT_FL_NOCOMPR, "nocompr"}, {EXT_FL_ENCRYPT, "encrypt"},
           {EXT_FL_INDEX, "index"}, {EXT_FL_IMAGIC, "imagic"}, {EXT_FL_JOURNAL_DATA, "journal_data"},
           {EXT_FL_NOTAIL, "notail"}, {EXT_FL_DIRSYNC, "dirsync"}, {EXT_FL_TOPDIR, "topdir"},
           {EXT_FL_HUGE_FILE, "huge_file"}, {EXT_FL_EXTENTS, "extents"}, {EXT_FL_VERITY, "verity"},
           {EXT_FL_EA_INODE, "ea_inode"}, {EXT_FL_EOFBLOCKS, "eofblocks"}, {EXT_FL_DAX, "dax"},
           {EXT_FL_INLINE_DATA, "inline_data"}, {EXT_FL_PROJINHERIT, "projinherit"},
           {EXT_FL_CASEFOLD, "casefold"});
KIND_ENUM(ext_kind_file_type, {0, "unknown"}, {1, "regular"}, {2, "directory"}, {3, "character device"},
          {4, "block device"}, {5, "fifo"}, {6, "socket"}, {7, "symbolic link"}, {0xDE, "checksum tail"});
KIND_ENUM(ext_kind_xattr_index, {1, "user."}, {2, "system.posix_acl_access"}, {3, "system.posix_acl_default"},
          {4, "trusted."}, {5, "lustre."}, {6, "security."}, {7, "system."}, {8, "system.richacl"},
          {9, "encryption"}, {10, "gnu."});
KIND_ENUM(ext_kind_mmp_seq, {EXT_MMP_CLEAN, "not in use"}, {EXT_MMP_FSCK, "e2fsck is running"});

static void mode_format(const struct field *field, const void *raw, char *out, size_t size)
{
    snprintf(out, size, "0%06o", (unsigned)load_le(raw, field->width));
}

static void mode_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    static const struct kind_name types[] = {{S_IFREG, "regular file"},  {S_IFDIR, "directory"},
                                             {S_IFLNK, "symbolic link"}, {S_IFCHR, "character device"},
                                             {S_IFBLK, "block device"},  {S_IFIFO, "fifo"},
                                             {S_IFSOCK, "socket"},       {0, NULL}};
    unsigned mode = (unsigned)load_le(raw, field->width);
    const struct kind_name *type = types;
    char bits[10];
    while (type->name && type->value != (mode & S_IFMT))
        type++;
    for (int i = 0; i < 9; i++)
        bits[i] = mode >> (8 - i) & 1 ? "rwx"[i % 3] : '-';
    bits[9] = '\0';
    snprintf(out, size, "%s, %s", type->name ? type->name : "no type", bits);
}

static const struct kind ext_kind_mode = {"mode", mode_format, kind_number_parse, mode_meaning, NULL};

/* ---- fields ---- */

#define EXT_BLOCKMAP(F, T)                                                                                   \
    F(T, 0, 4, LE, i_block_0, kind_dec, "block of the volume for block 0 of the file; 0: a hole")            \
    F(T, 4, 4, LE, i_block_1, kind_dec, "for block 1")                                                       \
    F(T, 8, 4, LE, i_block_2, kind_dec, "for block 2")                                                       \
    F(T, 12, 4, LE, i_block_3, kind_dec, "for block 3")                                                      \
    F(T, 16, 4, LE, i_block_4, kind_dec, "for block 4")                                                      \
    F(T, 20, 4, LE, i_block_5, kind_dec, "for block 5")                                                      \
    F(T, 24, 4, LE, i_block_6, kind_dec, "for block 6")                                                      \
    F(T, 28, 4, LE, i_block_7, kind_dec, "for block 7")                                                      \
    F(T, 32, 4, LE, i_block_8, kind_dec, "for block 8")                                                      \
    F(T, 36, 4, LE, i_block_9, kind_dec, "for block 9")                                                      \
    F(T, 40, 4, LE, i_block_10, kind_dec, "for block 10")                                                    \
    F(T, 44, 4, LE, i_block_11, kind_dec, "for block 11")                                                    \
    F(T, 48, 4, LE, i_block_ind, kind_dec, "block of pointers to the next blocks")                           \
    F(T, 52, 4, LE, i_block_dind, kind_dec, "block of pointers to blocks of pointers")                       \
    F(T, 56, 4, LE, i_block_tind, kind_dec, "the same, one level more")
#define EXT_EXTENT_TAIL_FIELDS(F, T)                                                                         \
    F(T, 0, 4, LE, et_checksum, kind_checksum, "crc32c of the node before it")

LAYOUT_FIELDS(ext_super, EXT_SUPER);
LAYOUT_FIELDS(ext_desc, EXT_DESC);
LAYOUT_FIELDS(ext_inode, EXT_INODE);
LAYOUT_FIELDS(ext_eh, EXT_EXTENT_HEADER);
LAYOUT_FIELDS(ext_ei, EXT_EXTENT_INDEX);
LAYOUT_FIELDS(ext_ee, EXT_EXTENT);
LAYOUT_FIELDS(ext_et, EXT_EXTENT_TAIL_FIELDS);
LAYOUT_FIELDS(ext_bm, EXT_BLOCKMAP);
LAYOUT_FIELDS(ext_de, EXT_DIRENT);
LAYOUT_FIELDS(ext_det, EXT_DIRTAIL);
LAYOUT_FIELDS(ext_dxr, EXT_DX_ROOT);
LAYOUT_FIELDS(ext_dxn, EXT_DX_NODE);
LAYOUT_FIELDS(ext_dxe, EXT_DX_ENTRY);
LAYOUT_FIELDS(ext_dxt, EXT_DX_TAIL);
LAYOUT_FIELDS(ext_xh, EXT_XATTR_BLOCK);
LAYOUT_FIELDS(ext_xi, EXT_XATTR_IBODY);
LAYOUT_FIELDS(ext_xe, EXT_XATTR_ENTRY);
LAYOUT_FIELDS(ext_mmp, EXT_MMP_BLOCK);
LAYOUT_FIELDS(ext_ob, EXT_ORPHAN_TAIL);

/* ---- checks and checksums of whole structures ---- */

static struct ext_fs *ext_of_place(const struct place *place)
{
    return ext_of(place->owner);
}

static bool super_check(const struct place *place, const void *raw, struct error *err)
{
    struct ext_fs trial = {.dev = place->device};
    return ext_super_decode(&trial, raw, err);
}

static bool has_csum(const uint8_t *super)
{
    return (ext_super_s_feature_ro_compat(super) & (uint32_t)EXT_METADATA_CSUM) != 0;
}

static void super_seal(const struct place *place, void *raw)
{
    (void)place;
    if (has_csum(raw))
        ext_super_set_s_checksum(raw, ext_super_csum(raw));
}

static bool super_computed(const struct place *place, const void *raw, const struct field *field,
                           uint64_t *value)
{
    (void)place;
    if (field->off != ext_super_off_s_checksum || !has_csum(raw))
        return false;
    *value = ext_super_csum(raw);
    return true;
}

static void desc_seal(const struct place *place, void *raw)
{
    struct ext_fs *ext = ext_of_place(place);
    if (ext->group_csum)
        ext_desc_set_bg_checksum(raw, ext_desc_csum(ext, (uint32_t)place->index, raw));
}

/* The checksum of one of the group's bitmaps, as it lies on the volume. */
static bool bitmap_csum(struct ext_fs *ext, uint32_t group, enum ext_bitmap_kind kind, uint32_t *csum)
{
    struct error ignored;
    uint8_t *bits = mem_new(ext->block_size, &ignored);
    bool ok = bits && ext_bitmap_read_raw(ext, kind, group, bits, &ignored);
    if (ok)
        *csum = ext_bitmap_csum(ext, kind, bits);
    free(bits);
    return ok;
}

static bool desc_computed(const struct place *place, const void *raw, const struct field *field,
                          uint64_t *value)
{
    struct ext_fs *ext = ext_of_place(place);
    uint32_t group = (uint32_t)place->index, csum;
    if (field->off == ext_desc_off_bg_checksum && ext->group_csum) {
        *value = ext_desc_csum(ext, group, raw);
        return true;
    }
    bool block_low = field->off == ext_desc_off_bg_block_bitmap_csum_lo;
    bool block_high = field->off == ext_desc_off_bg_block_bitmap_csum_hi;
    bool inode_low = field->off == ext_desc_off_bg_inode_bitmap_csum_lo;
    bool inode_high = field->off == ext_desc_off_bg_inode_bitmap_csum_hi;
    enum ext_bitmap_kind kind = block_low || block_high ? EXT_BLOCK_BITMAP : EXT_INODE_BITMAP;
    uint64_t uninit = kind == EXT_BLOCK_BITMAP ? EXT_BG_BLOCK_UNINIT : EXT_BG_INODE_UNINIT;
    if (!ext->has_csum || !(block_low || block_high || inode_low || inode_high) ||
        ext_desc_bg_flags(raw) & uninit || !bitmap_csum(ext, group, kind, &csum))
        return false;
    *value = block_low || inode_low ? csum & 0xFFFF : csum >> 16;
    return true;
}

static void inode_seal(const struct place *place, void *raw)
{
    ext_inode_csum_set(ext_of_place(place), (uint32_t)place->index, raw);
}

static bool inode_computed(const struct place *place, const void *raw, const struct field *field,
                           uint64_t *value)
{
    struct ext_fs *ext = ext_of_place(place);
    bool low = field->off == ext_inode_off_i_checksum_lo, high = field->off == ext_inode_off_i_checksum_hi;
    if (!ext->has_csum || !(low || high) || all_zero(raw, ext->inode_size) ||
        (high && !EXT_INODE_HAS(ext, raw, i_checksum_hi)))
        return false;
    uint32_t csum = ext_inode_csum(ext, (uint32_t)place->index, raw);
    *value = low ? csum & 0xFFFF : csum >> 16;
    return true;
}

static void mmp_seal(const struct place *place, void *raw)
{
    struct ext_fs *ext = ext_of_place(place);
    if (ext->has_csum)
        ext_mmp_set_mmp_checksum(raw, ext_csum(ext, raw, ext_mmp_off_mmp_checksum));
}

static bool mmp_computed(const struct place *place, const void *raw, const struct field *field,
                         uint64_t *value)
{
    struct ext_fs *ext = ext_of_place(place);
    if (field->off != ext_mmp_off_mmp_checksum || !ext->has_csum)
        return false;
    *value = ext_csum(ext, raw, ext_mmp_off_mmp_checksum);
    return true;
}

/* ---- checksums that lie elsewhere in the block or inode; index of these places is the inode ---- */

static bool inode_of(const struct place *place, struct ext_inode *inode, uint64_t *off, struct error *err)
{
    struct ext_fs *ext = ext_of_place(place);
    return ext_inode_place(ext, (uint32_t)place->index, off, err) &&
           ext_inode_get_raw(ext, (uint32_t)place->index, inode, err);
}

/* The checksum that the block of a place should have, and where it is kept. */
static bool block_csum(const struct place *place, uint8_t *block, uint32_t *csum, uint8_t **at)
{
    struct ext_fs *ext = ext_of_place(place);
    struct ext_inode inode;
    struct error ignored;
    uint64_t off, number = place->off >> ext->block_bits;
    const struct layout *layout = place->layout;
    if (layout == &ext_xattr_block_layout || strcmp(layout->name, "xattr-entry") == 0) {
        *csum = ext_xattr_csum(ext, number, block);
        *at = block + ext_xh_off_h_checksum;
        return ext_xh_h_magic(block) == EXT_XATTR_MAGIC;
    }
    if (!inode_of(place, &inode, &off, &ignored))
        return false;
    uint32_t seed = ext_inode_seed(ext, inode.ino, (uint32_t)ext_inode_i_generation(inode.raw));
    ext_inode_put(ext, &inode);
    if (strncmp(layout->name, "extent", 6) == 0) {
        *at = ext_extent_tail(block);
        bool sound = *at + EXT_EXTENT_TAIL <= block + ext->block_size;
        *csum = sound ? ext_extent_csum(seed, block) : 0;
        return sound;
    }
    uint8_t *tail = ext_dir_tail(ext, block);
    if (!tail) {
        *at = NULL;
        bool ok = ext_index_csum(ext, seed, block, csum, at);
        *at = ok ? *at + ext_dxt_off_dt_checksum : NULL;
        return ok;
    }
    *csum = ext_dir_csum(ext, seed, block);
    *at = tail + ext_det_off_det_checksum;
    return true;
}

static bool settle_inode(const struct place *place, uint64_t off, struct error *err)
{
    struct ext_fs *ext = ext_of_place(place);
    uint8_t *raw = mem_new(ext->inode_size, err);
    bool ok = raw && device_read(place->device, off, raw, ext->inode_size, err);
    if (ok) {
        ext_inode_csum_set(ext, (uint32_t)place->index, raw);
        ok = device_write(place->device, off, raw, ext->inode_size, WRITE_UPDATE, err);
    }
    free(raw);
    return ok;
}

/* A part of a block or of an inode was changed: set the checksum of the whole. */
static bool part_settle(const struct place *place, struct error *err)
{
    struct ext_fs *ext = ext_of_place(place);
    uint64_t inode_off = 0, start = round_down(place->off, ext->block_size);
    uint32_t csum;
    uint8_t *at;
    if (!ext->has_csum)
        return true;
    if (place->index != 0 && !ext_inode_place(ext, (uint32_t)place->index, &inode_off, err))
        return false;
    if (place->index != 0 && place->off >= inode_off && place->off < inode_off + ext->inode_size)
        return settle_inode(place, inode_off, err);
    uint8_t *block = mem_new(ext->block_size, err);
    bool ok = block && device_read(place->device, start, block, ext->block_size, err);
    if (ok && block_csum(place, block, &csum, &at)) {
        store_le32(at, csum);
        ok = device_write(place->device, start, block, ext->block_size, WRITE_UPDATE, err);
    }
    free(block);
    return ok;
}

static bool part_computed(const struct place *place, const void *raw, const struct field *field,
                          uint64_t *value)
{
    struct ext_fs *ext = ext_of_place(place);
    struct error ignored;
    uint32_t csum;
    uint8_t *at;
    (void)raw;
    if (field->kind != &kind_checksum || !ext->has_csum)
        return false;
    uint64_t start = round_down(place->off, ext->block_size);
    uint8_t *block = mem_new(ext->block_size, &ignored);
    bool ok = block && device_read(place->device, start, block, ext->block_size, &ignored) &&
              block_csum(place, block, &csum, &at) &&
              start + (uint64_t)(at - block) == place->off + field->off;
    if (ok)
        *value = csum;
    free(block);
    return ok;
}

static bool orphan_computed(const struct place *place, const void *raw, const struct field *field,
                            uint64_t *value)
{
    struct ext_fs *ext = ext_of_place(place);
    struct error ignored;
    struct ext_inode inode;
    uint64_t off, start = round_down(place->off, ext->block_size);
    (void)raw;
    if (field->off != ext_ob_off_ob_checksum || !ext->has_csum || !inode_of(place, &inode, &off, &ignored))
        return false;
    uint32_t seed = ext_inode_seed(ext, inode.ino, (uint32_t)ext_inode_i_generation(inode.raw));
    ext_inode_put(ext, &inode);
    uint8_t *block = mem_new(ext->block_size, &ignored);
    bool ok = block && device_read(place->device, start, block, ext->block_size, &ignored);
    if (ok)
        *value = ext_orphan_csum(ext, seed, start >> ext->block_bits, block);
    free(block);
    return ok;
}

/* ---- the layouts ---- */

#define PART .settle = part_settle, .computed = part_computed

const struct layout ext_super_layout = {.name = "super",
                                        .title = "ext superblock",
                                        .spec = "The Super Block",
                                        .size = EXT_SUPER_SIZE,
                                        LAYOUT_TABLE(ext_super),
                                        .check = super_check,
                                        .seal = super_seal,
                                        .computed = super_computed};
const struct layout ext_desc_layout = {.name = "group",
                                       .title = "ext group descriptor",
                                       .spec = "Block Group Descriptors",
                                       .size = 64,
                                       LAYOUT_TABLE(ext_desc),
                                       .seal = desc_seal,
                                       .computed = desc_computed};
const struct layout ext_inode_layout = {.name = "inode",
                                        .title = "ext inode",
                                        .spec = "Index Nodes",
                                        .size = 160,
                                        LAYOUT_TABLE(ext_inode),
                                        .seal = inode_seal,
                                        .computed = inode_computed,
                                        .parts = ext_inode_parts};
const struct layout ext_extents_layout = {.name = "extents",
                                          .title = "ext extent tree node",
                                          .spec = "Extent Tree",
                                          .size = EXT_EXTENT_ENTRY,
                                          LAYOUT_TABLE(ext_eh),
                                          PART,
                                          .parts = ext_extents_parts};
const struct layout ext_extent_index_layout = {.name = "extent-index",
                                               .title = "ext extent index entry",
                                               .spec = "Extent Tree",
                                               .size = EXT_EXTENT_ENTRY,
                                               LAYOUT_TABLE(ext_ei),
                                               PART};
const struct layout ext_extent_layout = {.name = "extent",
                                         .title = "ext extent",
                                         .spec = "Extent Tree",
                                         .size = EXT_EXTENT_ENTRY,
                                         LAYOUT_TABLE(ext_ee),
                                         PART};
const struct layout ext_extent_tail_layout = {.name = "extent-tail",
                                              .title = "checksum of an extent tree node",
                                              .spec = "Extent Tree",
                                              .size = EXT_EXTENT_TAIL,
                                              LAYOUT_TABLE(ext_et),
                                              PART};
const struct layout ext_blockmap_layout = {.name = "map",
                                           .title = "ext block map",
                                           .spec = "Direct/Indirect Block Addressing",
                                           .size = EXT_I_BLOCK_SIZE,
                                           LAYOUT_TABLE(ext_bm),
                                           PART};
const struct layout ext_dir_layout = {
    .name = "dir", .title = "ext directory block", .spec = "Linear Directories", .parts = ext_dir_parts};
const struct layout ext_dirent_layout = {.name = "dirent",
                                         .title = "ext directory entry",
                                         .spec = "Linear (Classic) Directories",
                                         .size = EXT_DIRENT_HEADER,
                                         LAYOUT_TABLE(ext_de),
                                         PART};
const struct layout ext_dirtail_layout = {.name = "dirtail",
                                          .title = "checksum of a directory block",
                                          .spec = "Linear (Classic) Directories",
                                          .size = EXT_DIR_TAIL,
                                          LAYOUT_TABLE(ext_det),
                                          PART};
const struct layout ext_dx_root_layout = {.name = "htree",
                                          .title = "root of a directory index",
                                          .spec = "Hash Tree Directories",
                                          .size = 0x28,
                                          LAYOUT_TABLE(ext_dxr),
                                          PART,
                                          .parts = ext_index_parts};
const struct layout ext_dx_node_layout = {.name = "htree-node",
                                          .title = "node of a directory index",
                                          .spec = "Hash Tree Directories",
                                          .size = 0x10,
                                          LAYOUT_TABLE(ext_dxn),
                                          PART,
                                          .parts = ext_index_parts};
const struct layout ext_dx_entry_layout = {.name = "htree-entry",
                                           .title = "entry of a directory index",
                                           .spec = "Hash Tree Directories",
                                           .size = EXT_DX_ENTRY_SIZE,
                                           LAYOUT_TABLE(ext_dxe),
                                           PART};
const struct layout ext_dx_tail_layout = {.name = "htree-tail",
                                          .title = "checksum of a directory index",
                                          .spec = "Hash Tree Directories",
                                          .size = EXT_DX_TAIL_SIZE,
                                          LAYOUT_TABLE(ext_dxt),
                                          PART};
const struct layout ext_xattr_block_layout = {.name = "xattr",
                                              .title = "ext attribute block",
                                              .spec = "Extended Attributes",
                                              .size = EXT_XATTR_HEADER,
                                              LAYOUT_TABLE(ext_xh),
                                              PART,
                                              .parts = ext_xattr_parts};
const struct layout ext_xattr_body_layout = {.name = "xattr-body",
                                             .title = "attributes inside an inode",
                                             .spec = "Extended Attributes",
                                             .size = 4,
                                             LAYOUT_TABLE(ext_xi),
                                             PART,
                                             .parts = ext_xattr_parts};
const struct layout ext_xattr_entry_layout = {.name = "xattr-entry",
                                              .title = "ext attribute entry",
                                              .spec = "Extended Attributes",
                                              .size = EXT_XATTR_ENTRY_SIZE,
                                              LAYOUT_TABLE(ext_xe),
                                              PART};
const struct layout ext_mmp_layout = {.name = "mmp",
                                      .title = "multiple mount protection",
                                      .spec = "Multiple Mount Protection",
                                      .size = 1024,
                                      LAYOUT_TABLE(ext_mmp),
                                      .seal = mmp_seal,
                                      .computed = mmp_computed};
const struct layout ext_orphan_layout = {.name = "orphan-tail",
                                         .title = "tail of an orphan file's block",
                                         .spec = "Orphan File",
                                         .size = EXT_ORPHAN_TAIL_SIZE,
                                         LAYOUT_TABLE(ext_ob),
                                         .computed = orphan_computed};

const struct layout *const ext_layouts[] = {
    &ext_super_layout,       &ext_desc_layout,       &ext_inode_layout,
    &ext_extents_layout,     &ext_extent_layout,     &ext_extent_index_layout,
    &ext_extent_tail_layout, &ext_blockmap_layout,   &ext_dir_layout,
    &ext_dirent_layout,      &ext_dirtail_layout,    &ext_dx_root_layout,
    &ext_dx_node_layout,     &ext_dx_entry_layout,   &ext_dx_tail_layout,
    &ext_xattr_block_layout, &ext_xattr_body_layout, &ext_xattr_entry_layout,
    &ext_mmp_layout,         &ext_orphan_layout,     NULL,
};

/* ---- entries with a name: the layout grows by a field as long as the name ---- */

struct named {
    struct layout layout;
    struct field fields[8];
};

static const struct layout *named_layout(struct named **table, const struct layout *base, unsigned len)
{
    struct error ignored;
    if (len == 0 || len > EXT_NAME_MAX)
        return base;
    if (!*table)
        *table = mem_array(EXT_NAME_MAX + 1, sizeof **table, &ignored);
    if (!*table)
        return base;
    struct named *named = &(*table)[len];
    memcpy(named->fields, base->fields, base->field_count * sizeof *named->fields);
    named->fields[base->field_count] =
        (struct field){"name", base->size, len, ORDER_RAW, &kind_text, "the name, not terminated"};
    named->layout = *base;
    named->layout.fields = named->fields;
    named->layout.field_count = base->field_count + 1;
    return &named->layout;
}

const struct layout *ext_dirent_named(unsigned len)
{
    static struct named *table;
    return named_layout(&table, &ext_dirent_layout, len);
}

const struct layout *ext_xattr_entry_named(unsigned len)
{
    static struct named *table;
    return named_layout(&table, &ext_xattr_entry_layout, len);
}
