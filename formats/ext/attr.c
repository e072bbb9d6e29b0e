/* Attributes of files between the inode's fields and the engine's. */
#include "namei.h"

#include "bytes.h"
#include "xattr.h"

#include <sys/stat.h>

/* ---- flags ---- */

enum { EXT_FL_NOCOW = 0x800000 };

static const struct {
    uint32_t user, stored;
    bool settable;
} flags[] = {
    {FS_FLAG_SECRM, EXT_FL_SECRM, true},
    {FS_FLAG_UNRM, EXT_FL_UNRM, true},
    {FS_FLAG_COMPR, EXT_FL_COMPR, true},
    {FS_FLAG_SYNC, EXT_FL_SYNC, true},
    {FS_FLAG_IMMUTABLE, EXT_FL_IMMUTABLE, true},
    {FS_FLAG_APPEND, EXT_FL_APPEND, true},
    {FS_FLAG_NODUMP, EXT_FL_NODUMP, true},
    {FS_FLAG_NOATIME, EXT_FL_NOATIME, true},
    {FS_FLAG_INDEX, EXT_FL_INDEX, false},
    {FS_FLAG_JOURNAL_DATA, EXT_FL_JOURNAL_DATA, true},
    {FS_FLAG_NOTAIL, EXT_FL_NOTAIL, true},
    {FS_FLAG_DIRSYNC, EXT_FL_DIRSYNC, true},
    {FS_FLAG_TOPDIR, EXT_FL_TOPDIR, true},
    {FS_FLAG_EXTENTS, EXT_FL_EXTENTS, false},
    {FS_FLAG_VERITY, EXT_FL_VERITY, false},
    {FS_FLAG_INLINE_DATA, EXT_FL_INLINE_DATA, false},
    {FS_FLAG_PROJINHERIT, EXT_FL_PROJINHERIT, true},
    {FS_FLAG_CASEFOLD, EXT_FL_CASEFOLD, false},
    {FS_FLAG_ENCRYPTED, EXT_FL_ENCRYPT, false},
    {FS_FLAG_NOCOW, EXT_FL_NOCOW, true},
    {FS_FLAG_EA_INODE, EXT_FL_EA_INODE, false},
};

static uint32_t flags_to_user(uint32_t stored)
{
    uint32_t user = 0;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (stored & flags[i].stored)
            user |= flags[i].user;
    return user;
}

uint32_t ext_flags_from_user(uint32_t user)
{
    uint32_t stored = 0;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (user & flags[i].user && flags[i].settable)
            stored |= flags[i].stored;
    return stored;
}

uint32_t ext_flags_inherited(const struct ext_inode *dir, uint32_t mode)
{
    const uint32_t inherited = EXT_FL_SECRM | EXT_FL_UNRM | EXT_FL_COMPR | EXT_FL_SYNC | EXT_FL_NODUMP |
                               EXT_FL_NOATIME | EXT_FL_JOURNAL_DATA | EXT_FL_NOTAIL | EXT_FL_DIRSYNC |
                               EXT_FL_PROJINHERIT | EXT_FL_CASEFOLD;
    uint32_t all = (uint32_t)ext_inode_i_flags(dir->raw) & inherited;
    if (S_ISDIR(mode))
        return all;
    if (S_ISREG(mode))
        return all & ~(uint32_t)(EXT_FL_DIRSYNC | EXT_FL_PROJINHERIT | EXT_FL_CASEFOLD);
    return all & (EXT_FL_NODUMP | EXT_FL_NOATIME);
}

/* ---- devices: the old form of 8:8 bits in word 0, else 12:20 bits in word 1 ("Direct/Indirect ...") ---- */

void ext_inode_set_device(uint8_t *inode, uint32_t major, uint32_t minor)
{
    uint8_t *block = ext_inode_i_block(inode);
    bool old = major < 256 && minor < 256;
    store_le32(block, old ? major << 8 | minor : 0);
    store_le32(block + 4, old ? 0 : (minor & 0xFF) | major << 8 | (minor & ~(uint32_t)0xFF) << 12);
}

static void get_device(const uint8_t *inode, struct fs_attr *attr)
{
    uint32_t old = load_le32(ext_inode_i_block(inode)), new = load_le32(ext_inode_i_block(inode) + 4);
    attr->rdev_major = old ? old >> 8 & 0xFF : new >> 8 & 0xFFF;
    attr->rdev_minor = old ? old & 0xFF : (new & 0xFF) | (new >> 12 & 0xFFF00);
}

/* ---- reading ---- */

static void load_attr(const struct ext_fs *ext, const struct ext_inode *inode, struct fs_attr *attr)
{
    const uint8_t *raw = inode->raw;
    *attr = (struct fs_attr){
        .id = inode->ino,
        .mode = (uint32_t)ext_inode_i_mode(raw),
        .size = ext_inode_size(ext, raw),
        .allocated = ext_inode_units(ext, raw) * 512,
        .nlink = ext_inode_i_links_count(raw),
        .uid = ext_inode_uid(raw),
        .gid = ext_inode_gid(raw),
        .project = ext_inode_project(ext, raw),
        .atime = ext_inode_time(ext, raw, EXT_ATIME),
        .mtime = ext_inode_time(ext, raw, EXT_MTIME),
        .ctime = ext_inode_time(ext, raw, EXT_CTIME),
        .crtime = ext_inode_time(ext, raw, EXT_CRTIME),
        .has_crtime = EXT_INODE_HAS(ext, raw, i_crtime),
        .flags = flags_to_user((uint32_t)ext_inode_i_flags(raw)),
        .generation = (uint32_t)ext_inode_i_generation(raw),
    };
    struct ext_xattr_area area;
    attr->no_xattrs = ext_inode_acl_block(ext, raw) == 0 && !ext_xattr_body(ext, raw, &area);
    if (S_ISCHR(attr->mode) || S_ISBLK(attr->mode))
        get_device(raw, attr);
}

/* A deleted inode that still tells what it was can be looked at, too. */
bool ext_op_getattr(struct fs *fs, fs_id id, struct fs_attr *attr, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (id > UINT32_MAX || !ext_inode_get(ext, (uint32_t)id, &inode, err))
        return id <= UINT32_MAX ? false
                                : fail(err, E_NOENT, "there is no inode %llu", (unsigned long long)id);
    load_attr(ext, &inode, attr);
    bool ok = attr->mode != 0 || fail(err, E_DAMAGED, "inode %u was never in use", inode.ino);
    ext_inode_put(ext, &inode);
    return ok;
}

/* ---- changing ---- */

/* The quota of the old owners becomes that of the new ones. */
static bool change_owner(struct ext_fs *ext, struct ext_inode *inode, const struct fs_attr *attr,
                         unsigned mask, struct error *err)
{
    uint8_t *raw = inode->raw;
    int64_t bytes = (int64_t)ext_inode_units(ext, raw) * 512;
    if (!(mask & (ATTR_UID | ATTR_GID | ATTR_PROJECT)))
        return true;
    unsigned values = 0;
    if (ext_has(ext, EXT_QUOTA) && !ext_xattr_inode_count(ext, inode, &values, err))
        return false;
    int64_t inodes = 1 + (int64_t)values;
    if (!ext_quota_charge(ext, inode->ino, raw, -bytes, -inodes, err))
        return false;
    if (mask & ATTR_UID) {
        ext_inode_set_i_uid(raw, attr->uid & 0xFFFF);
        ext_inode_set_i_uid_high(raw, attr->uid >> 16);
    }
    if (mask & ATTR_GID) {
        ext_inode_set_i_gid(raw, attr->gid & 0xFFFF);
        ext_inode_set_i_gid_high(raw, attr->gid >> 16);
    }
    if (mask & ATTR_PROJECT && ext_has(ext, EXT_PROJECT) && EXT_INODE_HAS(ext, raw, i_projid))
        ext_inode_set_i_projid(raw, attr->project);
    return ext_quota_charge(ext, inode->ino, raw, bytes, inodes, err);
}

/* Names fold from the first one on, or never: only an empty directory can be switched. */
static bool change_casefold(struct ext_fs *ext, struct ext_inode *inode, uint32_t user, struct error *err)
{
    bool on = user & FS_FLAG_CASEFOLD, empty = true;
    if (on == ext_inode_flag(inode->raw, EXT_FL_CASEFOLD))
        return true;
    if (!ext_inode_is(inode->raw, S_IFDIR) || (on && !ext_has(ext, EXT_CASEFOLD)))
        return fail(err, E_UNSUPPORTED,
                    "only a directory of a volume with the feature casefold can fold names");
    if (!ext_dir_is_empty(ext, inode, &empty, err))
        return false;
    if (!empty)
        return fail(err, E_NOTEMPTY, "only an empty directory can begin or cease to fold names");
    uint64_t stored = ext_inode_i_flags(inode->raw);
    ext_inode_set_i_flags(inode->raw, on ? stored | EXT_FL_CASEFOLD : stored & ~(uint64_t)EXT_FL_CASEFOLD);
    return true;
}

static void change_flags(struct ext_inode *inode, uint32_t user)
{
    uint32_t settable = ext_flags_from_user(UINT32_MAX), stored = (uint32_t)ext_inode_i_flags(inode->raw);
    ext_inode_set_i_flags(inode->raw, (stored & ~settable) | ext_flags_from_user(user));
}

bool ext_op_setattr(struct fs *fs, fs_id id, const struct fs_attr *attr, unsigned mask, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode;
    if (!ext_begin(ext, err) || !ext_open_inode(ext, id, &inode, err))
        return false;
    uint8_t *raw = inode.raw;
    const unsigned guarded = ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_PROJECT | ATTR_CHOSEN_TIMES;
    bool ok = (mask & ATTR_FLAGS) || (mask & guarded ? ext_may_change : ext_may_add)(&inode, err);
    ok = ok && (!(mask & ATTR_FLAGS) || change_casefold(ext, &inode, attr->flags, err)) &&
         change_owner(ext, &inode, attr, mask, err);
    if (ok) {
        if (mask & ATTR_MODE)
            ext_inode_set_i_mode(raw, (ext_inode_i_mode(raw) & S_IFMT) | (attr->mode & 07777));
        if (mask & ATTR_FLAGS)
            change_flags(&inode, attr->flags);
        if (mask & ATTR_ATIME)
            ext_inode_set_time(ext, raw, EXT_ATIME, attr->atime);
        if (mask & ATTR_MTIME)
            ext_inode_set_time(ext, raw, EXT_MTIME, attr->mtime);
        if (mask & ATTR_CTIME)
            ext_inode_set_time(ext, raw, EXT_CTIME, attr->ctime);
        if (mask & ATTR_CRTIME)
            ext_inode_set_time(ext, raw, EXT_CRTIME, attr->crtime);
        ext_inode_dirty(ext, &inode);
    }
    ext_inode_put(ext, &inode);
    return ok;
}
