/* Pass 1: every inode that is in use, in the order of the tables. */
#include "check.h"
#include "quota.h"
#include "rescue.h"
#include "xattr.h"

#include "alloc.h"
#include "clock.h"

#include <sys/stat.h>

#define INODE_OFF(inode, field) (ext_check_inode_off(inode) + (uint64_t)ext_inode_off_##field)

/* An inode that is being judged. */
struct judged {
    struct ext_checker *c;
    struct ext_inode *inode;
    uint32_t ino;
    uint32_t mode;
    bool special;  /* one of the volume's own: has no name */
    uint64_t more; /* clusters of attributes */
};

static void changed(struct judged *j)
{
    ext_inode_dirty(j->c->ext, j->inode);
}

static void set_flags(struct judged *j, uint64_t clear, uint64_t set)
{
    ext_inode_set_i_flags(j->inode->raw, (ext_inode_i_flags(j->inode->raw) & ~clear) | set);
    changed(j);
}

/* ---- fields -------------------------------------------------------------------------------------------- */

/* The part of a large inode that its fields take must be sensible, else it is made so. */
static void check_extra_size(struct judged *j)
{
    const struct ext_fs *ext = j->c->ext;
    uint32_t most = ext->inode_size - EXT_GOOD_OLD_INODE_SIZE;
    if (ext->inode_size == EXT_GOOD_OLD_INODE_SIZE)
        return;
    uint64_t extra = ext_inode_i_extra_isize(j->inode->raw);
    if (extra == 0 || (extra >= 4 && extra <= most && extra % 4 == 0))
        return;
    if (ext_problem(j->c, "inode-extra-size", INODE_OFF(j->inode, i_extra_isize),
                    "inode %u: i_extra_isize is %llu", j->ino, (unsigned long long)extra)) {
        uint64_t want = ext_super_s_want_extra_isize(ext->super);
        ext_inode_set_i_extra_isize(j->inode->raw, want && want <= most ? want : MIN_OF(32u, most));
        changed(j);
    }
}

static void check_flags(struct judged *j)
{
    struct ext_checker *c = j->c;
    struct ext_fs *ext = c->ext;
    uint64_t off = INODE_OFF(j->inode, i_flags);
    bool directory = S_ISDIR(j->mode);
    if (ext_inode_flag(j->inode->raw, EXT_FL_EXTENTS) && !ext_has(ext, EXT_EXTENTS) &&
        ext_problem(c, "feature", off, "inode %u has an extent tree, but the volume no feature extent",
                    j->ino))
        ext_set_feature(ext, EXT_EXTENTS, c->copies = true);
    if (ext_inode_flag(j->inode->raw, EXT_FL_INDEX) && (!directory || !ext_has(ext, EXT_DIR_INDEX)) &&
        ext_problem(c, "inode-flags", off, "inode %u has the flag of an indexed directory%s", j->ino,
                    directory ? " without the feature dir_index" : " and is none"))
        set_flags(j, EXT_FL_INDEX, 0);
    if (ext_inode_flag(j->inode->raw, EXT_FL_IMAGIC) && !ext_has(ext, EXT_IMAGIC_INODES) &&
        ext_problem(c, "inode-flags", off, "inode %u has the flag imagic", j->ino))
        set_flags(j, EXT_FL_IMAGIC, 0);
    if (ext_inode_flag(j->inode->raw, EXT_FL_CASEFOLD) && (!directory || !ext_has(ext, EXT_CASEFOLD)) &&
        ext_problem(c, "inode-flags", off, "inode %u has the flag casefold", j->ino))
        set_flags(j, EXT_FL_CASEFOLD, 0);
    if (ext_inode_flag(j->inode->raw, EXT_FL_EA_INODE) &&
        (!S_ISREG(j->mode) || !ext_has(ext, EXT_EA_INODE)) &&
        ext_problem(c, "inode-flags", off, "inode %u has the flag of an attribute value", j->ino))
        set_flags(j, EXT_FL_EA_INODE, 0);
    if (!directory && !S_ISREG(j->mode) && ext_inode_flag(j->inode->raw, EXT_FL_IMMUTABLE | EXT_FL_APPEND) &&
        ext_problem(c, "inode-flags", off, "inode %u is no file or directory, but immutable or append-only",
                    j->ino))
        set_flags(j, EXT_FL_IMMUTABLE | EXT_FL_APPEND, 0);
}

/* Inline data always has an attribute beside i_block: without it the flag is wrong, or the data is lost. */
static bool check_inline(struct judged *j, struct error *err)
{
    struct ext_checker *c = j->c;
    uint8_t *raw = j->inode->raw;
    uint64_t off = INODE_OFF(j->inode, i_flags);
    struct error missing = {0};
    if (!ext_inode_flag(raw, EXT_FL_INLINE_DATA))
        return true;
    const struct ext_xattr_key key = {EXT_XATTR_SYSTEM, "data", 4};
    struct ext_xattr_found found;
    bool there = ext_xattr_find(c->ext, j->inode, &key, &found, &missing);
    if (there)
        ext_xattr_put(c->ext, &found);
    if (there) {
        if (!ext_has(c->ext, EXT_INLINE_DATA) &&
            ext_problem(c, "feature", off, "inode %u has inline data, but the volume no feature inline_data",
                        j->ino))
            ext_set_feature(c->ext, EXT_INLINE_DATA, c->copies = true);
        if (ext_inode_flag(raw, EXT_FL_EXTENTS) &&
            ext_problem(c, "inode-flags", off, "inode %u has inline data, but the flag of an extent tree",
                        j->ino))
            set_flags(j, EXT_FL_EXTENTS, 0);
        return true;
    }
    if (missing.kind == E_NOMEM || missing.kind == E_INTERRUPTED) {
        *err = missing;
        return false;
    }
    if (!ext_problem(c, "inline-data", off, "inode %u has the flag of inline data, but not its attribute",
                     j->ino))
        return true;
    bool tree = load_le16(ext_inode_i_block(raw)) == EXT_EXTENT_MAGIC && ext_has(c->ext, EXT_EXTENTS);
    set_flags(j, EXT_FL_INLINE_DATA, tree ? EXT_FL_EXTENTS : 0);
    if (!tree) {
        ext_map_init(c->ext, j->inode);
        ext_inode_set_size(c->ext, raw, 0);
    }
    return true;
}

/* An encrypted file has a context in its attributes. */
static void check_encrypted(struct judged *j)
{
    struct ext_checker *c = j->c;
    const struct ext_xattr_key key = {EXT_XATTR_ENCRYPTION, "c", 1};
    struct ext_xattr_found found;
    struct error ignored;
    if (!ext_inode_flag(j->inode->raw, EXT_FL_ENCRYPT))
        return;
    if (ext_has(c->ext, EXT_ENCRYPT) && ext_xattr_find(c->ext, j->inode, &key, &found, &ignored)) {
        ext_xattr_put(c->ext, &found);
        return;
    }
    if (ext_problem(c, "inode-flags", INODE_OFF(j->inode, i_flags), "inode %u is encrypted without a context",
                    j->ino))
        set_flags(j, EXT_FL_ENCRYPT, 0);
}

/* Fields that no version of the format uses any more, or not with these features. */
static void check_unused_fields(struct judged *j)
{
    struct ext_checker *c = j->c;
    uint8_t *raw = j->inode->raw;
    bool hurd = ext_super_s_creator_os(c->ext->super) == EXT_OS_HURD;
    if (ext_inode_i_obso_faddr(raw) != 0 && ext_problem(c, "inode-field", INODE_OFF(j->inode, i_obso_faddr),
                                                        "inode %u: i_obso_faddr is not 0", j->ino)) {
        ext_inode_set_i_obso_faddr(raw, 0);
        changed(j);
    }
    if (!hurd && !ext_has(c->ext, EXT_64BIT) && ext_inode_i_file_acl_high(raw) != 0 &&
        ext_problem(c, "inode-field", INODE_OFF(j->inode, i_file_acl_high),
                    "inode %u: i_file_acl_high is not 0", j->ino)) {
        ext_inode_set_i_file_acl_high(raw, 0);
        changed(j);
    }
    if (!hurd && !ext_has(c->ext, EXT_HUGE_FILE) && ext_inode_i_blocks_high(raw) != 0 &&
        ext_problem(c, "inode-field", INODE_OFF(j->inode, i_blocks_high), "inode %u: i_blocks_high is not 0",
                    j->ino)) {
        ext_inode_set_i_blocks_high(raw, 0);
        changed(j);
    }
    if (S_ISDIR(j->mode) && !ext_has(c->ext, EXT_LARGE_DIR) && ext_inode_i_size_high(raw) != 0 &&
        ext_problem(c, "inode-field", INODE_OFF(j->inode, i_size_high), "directory %u: i_size_high is not 0",
                    j->ino)) {
        ext_inode_set_i_size_high(raw, 0);
        changed(j);
    }
}

/* An extent tree without its flag, or a flag on what holds no tree. */
static void check_form(struct judged *j)
{
    uint8_t *raw = j->inode->raw;
    bool extents = ext_inode_flag(raw, EXT_FL_EXTENTS), mapped = S_ISREG(j->mode) || S_ISDIR(j->mode);
    bool looks = load_le16(ext_inode_i_block(raw)) == EXT_EXTENT_MAGIC &&
                 ext_eh_eh_depth(ext_inode_i_block(raw)) <= EXT_EXTENT_MAX_DEPTH &&
                 ext_eh_eh_max(ext_inode_i_block(raw)) == 4 && ext_eh_eh_entries(ext_inode_i_block(raw)) <= 4;
    uint64_t off = INODE_OFF(j->inode, i_flags);
    if (mapped && !extents && looks && ext_has(j->c->ext, EXT_EXTENTS) &&
        !ext_inode_flag(raw, EXT_FL_INLINE_DATA)) {
        if (ext_problem(j->c, "inode-flags", off, "inode %u has an extent tree without the flag", j->ino))
            set_flags(j, 0, EXT_FL_EXTENTS);
    } else if (extents && !mapped && !S_ISLNK(j->mode)) {
        if (ext_problem(j->c, "inode-flags", off, "inode %u is no file with blocks, but has the flag extents",
                        j->ino))
            set_flags(j, EXT_FL_EXTENTS, 0);
    }
}

static void check_times(struct judged *j)
{
    uint8_t *raw = j->inode->raw;
    if (ext_inode_i_dtime(raw) == 0 || ext_tally_find(&j->c->orphans, j->ino))
        return;
    if (ext_problem(j->c, "inode-dtime", INODE_OFF(j->inode, i_dtime),
                    "inode %u is in use, but has a time of deletion", j->ino)) {
        ext_inode_set_i_dtime(raw, 0);
        changed(j);
    }
}

/* ---- symbolic links, devices --------------------------------------------------------------------------- */

/* A short target lies in i_block; flags or blocks that deny it are wrong when the text fits. */
static const char *short_link_fault(struct judged *j, uint64_t size)
{
    struct ext_fs *ext = j->c->ext;
    uint8_t *raw = j->inode->raw;
    const uint8_t *i_block = ext_inode_i_block(raw);
    bool block = !ext_inode_flag(raw, EXT_FL_EXTENTS) && all_zero(i_block + 4, EXT_I_BLOCK_SIZE - 4) &&
                 ext_check_may_own(j->c, load_le32(i_block), 1); /* a pointer may look like a text */
    if (strnlen((const char *)i_block, EXT_I_BLOCK_SIZE) != size)
        return "its target is not as long as its size says";
    if (ext_inode_has_blocks(ext, raw) && !block &&
        ext_problem(j->c, "symlink-blocks", INODE_OFF(j->inode, i_blocks_lo),
                    "symbolic link %u holds its target, but claims blocks", j->ino)) {
        bool attributes = ext_inode_acl_block(ext, raw) != 0;
        ext_inode_set_i_blocks_lo(raw, attributes ? ext->cluster_size / 512 : 0);
        ext_inode_set_i_blocks_high(raw, 0);
        set_flags(j, EXT_FL_EXTENTS | EXT_FL_HUGE_FILE, 0);
    }
    return NULL;
}

/* Why a symbolic link is none; NULL: it is sound. */
static const char *symlink_fault(struct judged *j)
{
    struct ext_fs *ext = j->c->ext;
    uint8_t *raw = j->inode->raw;
    uint64_t size = ext_inode_i_size_lo(raw);
    struct error ignored;
    if (ext_inode_i_size_high(raw) || size == 0)
        return "its size is wrong";
    if (ext_inode_flag(raw, EXT_FL_INLINE_DATA)) {
        struct ext_inline data;
        bool same =
            ext_inline_get(ext, j->inode, &data, &ignored) && EXT_I_BLOCK_SIZE + data.tail_len == size;
        return same ? NULL : "its inline target is not as long as its size says";
    }
    if (ext_inode_flag(raw, EXT_FL_ENCRYPT))
        return NULL;
    if (size < EXT_I_BLOCK_SIZE)
        return short_link_fault(j, size);
    if (size >= ext->block_size)
        return "its target is longer than a block";
    struct ext_mapping m;
    if (!ext_map(ext, j->inode, 0, &m, &ignored) || m.start == 0 || !ext_check_may_own(j->c, m.start, 1))
        return "its target has no block";
    if (!device_read(ext->dev, ext_offset(ext, m.start), j->c->scratch, ext->block_size, &ignored))
        return NULL;
    return strnlen((const char *)j->c->scratch, ext->block_size) == size
               ? NULL
               : "its target is not as long as its size says";
}

/* Kernels leave things behind the device number: they tell something only beside flags that cannot be. */
static const char *special_fault(const struct judged *j)
{
    const uint8_t *i_block = ext_inode_i_block(j->inode->raw);
    bool odd = ext_inode_flag(j->inode->raw, EXT_FL_EXTENTS | EXT_FL_IMMUTABLE | EXT_FL_APPEND);
    return odd && !all_zero(i_block + 8, EXT_I_BLOCK_SIZE - 8) ? "it has more than a device number in i_block"
                                                               : NULL;
}

/* Why an inode cannot be what its mode says; NULL: it can. */
static const char *type_fault(struct judged *j)
{
    switch (j->mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
        return NULL;
    case S_IFLNK:
        return symlink_fault(j);
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return special_fault(j);
    default:
        return "its type is unknown";
    }
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

static void set_size(struct judged *j, uint64_t size)
{
    ext_inode_set_size(j->c->ext, j->inode->raw, size);
    changed(j);
}

static void check_size(struct judged *j, const struct ext_walk *w)
{
    struct ext_fs *ext = j->c->ext;
    uint64_t size = ext_inode_size(ext, j->inode->raw), right = size;
    bool directory = S_ISDIR(j->mode), verity = ext_inode_flag(j->inode->raw, EXT_FL_VERITY);
    if (S_ISLNK(j->mode))
        return;
    if (ext_inode_flag(j->inode->raw, EXT_FL_INLINE_DATA)) {
        struct ext_inline data;
        struct error ignored;
        uint64_t most =
            ext_inline_get(ext, j->inode, &data, &ignored) ? EXT_I_BLOCK_SIZE + data.tail_len : size;
        right = directory ? most | ext_inode_i_size_high(j->inode->raw) << 32 : MIN_OF(size, most);
    } else if (directory) {
        uint64_t blocks = size >> ext->block_bits;
        if (size % ext->block_size || blocks != w->end)
            right = w->end << ext->block_bits;
    } else if (S_ISREG(j->mode)) {
        uint64_t most = ext_map_max_block(ext, j->inode) << ext->block_bits;
        if (w->init_end && size < (w->init_end - 1) << ext->block_bits && !verity)
            right = w->init_end << ext->block_bits;
        else if (size > most)
            right = w->init_end << ext->block_bits;
    } else {
        right = 0;
    }
    if (right != size && ext_problem(j->c, "inode-size", INODE_OFF(j->inode, i_size_lo),
                                     "inode %u: its size is %llu, not %llu", j->ino, (unsigned long long)size,
                                     (unsigned long long)right))
        set_size(j, right);
    if (S_ISREG(j->mode) && size > INT32_MAX && !ext_has(ext, EXT_LARGE_FILE) &&
        ext_problem(j->c, "feature", INODE_OFF(j->inode, i_size_high),
                    "inode %u has 2 GiB or more, but the volume no feature large_file", j->ino))
        ext_set_feature(ext, EXT_LARGE_FILE, j->c->copies = true);
}

static void check_units(struct judged *j, uint64_t clusters)
{
    struct ext_fs *ext = j->c->ext;
    uint64_t units = ext_inode_units(ext, j->inode->raw), right = clusters * (ext->cluster_size / 512);
    if (units == right || !ext_problem(j->c, "inode-blocks", INODE_OFF(j->inode, i_blocks_lo),
                                       "inode %u: i_blocks is %llu, not %llu", j->ino,
                                       (unsigned long long)units, (unsigned long long)right))
        return;
    bool blocks = right >> 48 != 0; /* then i_blocks counts blocks */
    if (blocks)
        right >>= ext->block_bits - 9;
    if (right >> 32 && !ext_has(ext, EXT_HUGE_FILE))
        ext_set_feature(ext, EXT_HUGE_FILE, j->c->copies = true);
    ext_inode_set_i_blocks_lo(j->inode->raw, (uint32_t)right);
    ext_inode_set_i_blocks_high(j->inode->raw, right >> 32);
    set_flags(j, EXT_FL_HUGE_FILE, blocks ? EXT_FL_HUGE_FILE : 0);
}

/* ---- one inode ----------------------------------------------------------------------------------------- */

static void check_checksum(struct judged *j)
{
    const struct ext_fs *ext = j->c->ext;
    uint32_t index = j->ino - (uint32_t)j->inode->block->owner;
    if (!ext->has_csum || ext_check_stale(j->inode->block, index, ext->inodes_per_block) ||
        ext_inode_csum_ok(ext, j->ino, j->inode->raw))
        return;
    if (ext_problem(j->c, "inode-checksum", INODE_OFF(j->inode, i_checksum_lo),
                    "inode %u: its checksum is wrong", j->ino))
        changed(j);
}

/* Take the inode out of use: nothing of it has been counted. */
static void clear_inode(struct judged *j)
{
    ext_inode_set_i_links_count(j->inode->raw, 0);
    ext_inode_set_i_dtime(j->inode->raw, (uint64_t)clock_now().sec & UINT32_MAX);
    changed(j);
}

static bool check_blocks(struct judged *j, struct error *err)
{
    struct ext_checker *c = j->c;
    struct ext_walk walk = {.c = c, .inode = j->inode, .claim = true, .directory = S_ISDIR(j->mode)};
    if (!ext_check_walk(&walk, err))
        return false;
    if (c->stop)
        return true;
    c->files++;
    c->fragmented += walk.runs > 1;
    check_size(j, &walk);
    check_units(j, walk.clusters + j->more);
    return true;
}

static bool add_dir(struct ext_checker *c, uint32_t ino, struct error *err)
{
    if (!mem_grow(&c->dirs, &c->dir_capacity, c->dir_count + 1, sizeof *c->dirs, err))
        return false;
    c->dirs[c->dir_count++] = (struct ext_check_dir){.ino = ino};
    return true;
}

static bool check_used(struct judged *j, struct error *err)
{
    struct ext_checker *c = j->c;
    check_checksum(j);
    check_extra_size(j);
    const char *fault = type_fault(j);
    if (fault && !j->special) {
        if (ext_problem(c, "inode-type", INODE_OFF(j->inode, i_mode), "inode %u cannot be used: %s", j->ino,
                        fault))
            clear_inode(j);
        return true;
    }
    check_flags(j);
    if (!ext_check_xattrs(c, j->inode, &j->more, err) || !check_inline(j, err))
        return false;
    check_form(j);
    check_encrypted(j);
    check_times(j);
    check_unused_fields(j);
    bool directory = S_ISDIR(j->mode);
    if (!ext_check_set_inode(c, j->ino, directory, err) || (directory && !add_dir(c, j->ino, err)))
        return false;
    return check_blocks(j, err);
}

/*
 * Times of deletion that are inode numbers are left of a list of orphans. On a volume whose clock stood near
 * 1970 they may as well be times.
 */
static bool left_of_orphans(const struct judged *j, uint64_t dtime)
{
    const uint8_t *s = j->c->ext->super;
    uint64_t inodes = j->c->ext->inodes, made = ext_super_s_mkfs_time(s), mounted = ext_super_s_mtime(s);
    bool clock =
        ext_super_s_wtime(s) >= inodes && (!mounted || mounted >= inodes) && (!made || made >= inodes);
    return clock && dtime != 0 && dtime < inodes;
}

static void check_unused(struct judged *j)
{
    uint8_t *raw = j->inode->raw;
    uint64_t dtime = ext_inode_i_dtime(raw);
    bool missing = j->mode != 0 && dtime == 0, list = left_of_orphans(j, dtime);
    if ((missing || list) &&
        ext_problem(j->c, "inode-dtime", INODE_OFF(j->inode, i_dtime), "inode %u is deleted, but %s", j->ino,
                    missing ? "has no time of deletion"
                            : "its time of deletion is the number of an orphan")) {
        ext_inode_set_i_dtime(raw, (uint64_t)clock_now().sec & UINT32_MAX);
        changed(j);
    }
    check_checksum(j);
}

/* ---- the volume's own inodes --------------------------------------------------------------------------- */

static bool check_resize(struct judged *j, struct error *err)
{
    struct ext_checker *c = j->c;
    uint64_t dind = 0;
    const char *fault = ext_resize_inode_fault(c->ext, j->inode->raw, &dind);
    bool sound;
    if (dind && !ext_check_may_own(c, dind, 1))
        dind = 0;
    if (fault && ext_problem(c, "resize-inode", ext_check_inode_off(j->inode), "the resize inode %s", fault))
        c->resize_inode = true;
    if (!ext_has(c->ext, EXT_LARGE_FILE) && ext_inode_size(c->ext, j->inode->raw) > INT32_MAX &&
        ext_problem(c, "feature", INODE_OFF(j->inode, i_size_high),
                    "the resize inode has 2 GiB or more, but the volume no feature large_file"))
        ext_set_feature(c->ext, EXT_LARGE_FILE, c->copies = true);
    if (!ext_check_set_inode(c, j->ino, false, err))
        return false;
    sound = dind != 0;
    if (c->resize_inode && !sound) {
        memset(ext_inode_i_block(j->inode->raw), 0, EXT_I_BLOCK_SIZE);
        changed(j);
    }
    check_checksum(j);
    return !sound || ext_check_claim(c, dind, 1, err);
}

/* Inodes 1 to 10 but for /: each has its own use, or none. */
static bool check_reserved(struct judged *j, struct error *err)
{
    struct ext_checker *c = j->c;
    struct ext_fs *ext = c->ext;
    bool quota = j->ino == EXT_USER_QUOTA_INO || j->ino == EXT_GROUP_QUOTA_INO;
    bool used = (j->ino == EXT_JOURNAL_INO && ext_super_s_journal_inum(ext->super) == j->ino) ||
                (quota && ext_has(ext, EXT_QUOTA) &&
                 (ext_quota_ino(ext->super, EXT_QUOTA_USER) == j->ino ||
                  ext_quota_ino(ext->super, EXT_QUOTA_GROUP) == j->ino));
    if (j->ino == EXT_RESIZE_INO && ext_has(ext, EXT_RESIZE_INODE))
        return check_resize(j, err);
    if (used && ext_inode_i_links_count(j->inode->raw) != 0)
        return check_used(j, err);
    if (!ext_check_set_inode(c, j->ino, false, err))
        return false;
    bool sized = ext_inode_i_size_lo(j->inode->raw) != 0 || ext_inode_i_size_high(j->inode->raw) != 0;
    bool mapped = !all_zero(ext_inode_i_block(j->inode->raw), EXT_I_BLOCK_SIZE);
    if (j->ino == EXT_BAD_INO && mapped) {
        struct ext_walk walk = {.c = c, .inode = j->inode, .claim = true};
        check_checksum(j);
        ext_inode_set_i_mode(j->inode->raw, S_IFREG); /* it has none: its blocks are the bad ones */
        bool ok = ext_check_walk(&walk, err);
        ext_inode_set_i_mode(j->inode->raw, j->mode);
        return ok;
    }
    if (mapped || sized || j->mode != 0) {
        if (ext_problem(c, "reserved-inode", ext_check_inode_off(j->inode), "reserved inode %u is not empty",
                        j->ino)) {
            memset(j->inode->raw, 0, ext->inode_size);
            changed(j);
        }
        return true;
    }
    check_checksum(j);
    return true;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static bool check_one(struct ext_checker *c, uint32_t ino, struct error *err)
{
    struct ext_inode inode;
    if (!ext_check_inode(c, ino, &inode, err))
        return false;
    struct judged j = {.c = c, .inode = &inode, .ino = ino, .mode = (uint32_t)ext_inode_i_mode(inode.raw)};
    uint32_t orphan_file = (uint32_t)ext_super_s_orphan_file_inum(c->ext->super);
    j.special = ino < c->ext->first_ino && ino != EXT_ROOT_INO;
    bool used = ext_inode_i_links_count(inode.raw) != 0 || ext_tally_find(&c->orphans, ino), ok = true;
    if (j.special)
        ok = check_reserved(&j, err);
    else if (used || (ino == orphan_file && ext_has(c->ext, EXT_ORPHAN_FILE)))
        ok = check_used(&j, err);
    else
        check_unused(&j);
    ext_inode_put(c->ext, &inode);
    return ok;
}

/* How many inodes of a group's table have ever been used, as far as its descriptor can be trusted. */
static bool table_len(struct ext_checker *c, uint32_t group, uint32_t *len, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_group desc;
    if (!ext_check_group(c, group, &desc, err))
        return false;
    *len = ext->inodes_per_group;
    bool stale = ext_check_stale(desc.block, group % ext->descs_per_block, ext->descs_per_block);
    bool trusted =
        ext->group_csum && (stale || ext_desc_bg_checksum(desc.raw) == ext_desc_csum(ext, group, desc.raw));
    if (trusted && group == 0 && (ext_desc_bg_flags(desc.raw) & EXT_BG_INODE_UNINIT)) {
        if (ext_problem(c, "group-unused", ext_check_group_off(&desc) + ext_desc_off_bg_flags,
                        "group 0 is marked as having no inodes in use, but holds the root directory")) {
            ext_desc_distrust(ext, desc.raw);
            ext_group_dirty(ext, &desc);
        }
    } else if ((trusted && (ext_desc_bg_flags(desc.raw) & EXT_BG_INODE_UNINIT)) ||
               ranges_contains(&c->lost_tables, group, 1))
        *len = 0;
    else if (trusted)
        *len -= (uint32_t)MIN_OF(ext_group_itable_unused(ext, desc.raw), ext->inodes_per_group);
    ext_group_put(ext, &desc);
    return true;
}

/* A root without contents: pass 2 gives it its first block. */
static bool make_root(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_inode inode;
    struct fs_time now = clock_now();
    if (!ext_problem(c, "root", EXT_NO_PLACE, "inode 2 is no directory: the volume has no root"))
        return true;
    if (!ext_check_inode(c, EXT_ROOT_INO, &inode, err))
        return false;
    memset(inode.raw, 0, ext->inode_size);
    ext_inode_set_i_mode(inode.raw, S_IFDIR | 0755);
    ext_inode_set_i_links_count(inode.raw, 2);
    if (ext->inode_size > EXT_GOOD_OLD_INODE_SIZE)
        ext_inode_set_i_extra_isize(inode.raw, EXT_INODE_FIELDS - EXT_GOOD_OLD_INODE_SIZE);
    for (int stamp = EXT_ATIME; stamp <= EXT_CRTIME; stamp++)
        ext_inode_set_time(ext, inode.raw, (enum ext_stamp)stamp, now);
    ext_map_init(ext, &inode);
    ext_inode_put(ext, &inode);
    if (!ext_check_set_inode(c, EXT_ROOT_INO, true, err) || !add_dir(c, EXT_ROOT_INO, err))
        return false;
    memmove(c->dirs + 1, c->dirs, (c->dir_count - 1) * sizeof *c->dirs);
    c->dirs[0] = (struct ext_check_dir){.ino = EXT_ROOT_INO};
    return true;
}

bool ext_check_inodes(struct ext_checker *c, struct error *err)
{
    for (uint32_t group = 0; group < c->ext->groups && !c->stop; group++) {
        uint32_t len, first = group * c->ext->inodes_per_group + 1;
        if (!table_len(c, group, &len, err))
            return false;
        if (group == 0)
            len = MAX_OF(len, MIN_OF(c->ext->first_ino - 1, c->ext->inodes_per_group));
        for (uint32_t i = 0; i < len && !c->stop; i++)
            if (!interrupt_check(err) || !check_one(c, first + i, err))
                return false;
    }
    return c->stop || ext_check_inode_is_dir(c, EXT_ROOT_INO) || make_root(c, err);
}
