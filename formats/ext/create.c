/* New files of every type. */
#include "namei.h"

#include "bytes.h"
#include "clock.h"
#include "xattr.h"

#include <sys/stat.h>

/* Extra bytes of new inodes: what the superblock asks for, at least all fields known here. */
static uint32_t extra_isize(const struct ext_fs *ext)
{
    uint32_t room = ext->inode_size - EXT_GOOD_OLD_INODE_SIZE;
    uint32_t want =
        (uint32_t)MAX_OF(ext_super_s_want_extra_isize(ext->super), ext_super_s_min_extra_isize(ext->super));
    if (want == 0)
        want = EXT_INODE_FIELDS - EXT_GOOD_OLD_INODE_SIZE;
    return (uint32_t)round_down(MIN_OF(want, room), 4);
}

static void fill_inode(struct ext_fs *ext, struct ext_inode *inode, const struct ext_inode *dir,
                       const struct fs_attr *attr)
{
    uint8_t *raw = inode->raw;
    uint32_t inherited = ext_flags_inherited(dir, attr->mode);
    ext_inode_set_i_mode(raw, attr->mode & 0xFFFF);
    ext_inode_set_i_uid(raw, attr->uid & 0xFFFF);
    ext_inode_set_i_uid_high(raw, attr->uid >> 16);
    ext_inode_set_i_gid(raw, attr->gid & 0xFFFF);
    ext_inode_set_i_gid_high(raw, attr->gid >> 16);
    ext_inode_set_i_links_count(raw, S_ISDIR(attr->mode) ? 2 : 1);
    ext_inode_set_i_flags(raw, inherited | ext_flags_from_user(attr->flags));
    if (ext->inode_size > EXT_GOOD_OLD_INODE_SIZE)
        ext_inode_set_i_extra_isize(raw, extra_isize(ext));
    ext_inode_set_time(ext, raw, EXT_ATIME, attr->atime);
    ext_inode_set_time(ext, raw, EXT_MTIME, attr->mtime);
    ext_inode_set_time(ext, raw, EXT_CTIME, attr->ctime);
    ext_inode_set_time(ext, raw, EXT_CRTIME, attr->has_crtime ? attr->crtime : clock_now());
    if (ext_has(ext, EXT_PROJECT) && EXT_INODE_HAS(ext, raw, i_projid)) {
        bool from_dir = ext_inode_flag(dir->raw, EXT_FL_PROJINHERIT) && attr->project == 0;
        ext_inode_set_i_projid(raw, from_dir ? ext_inode_project(ext, dir->raw) : attr->project);
    }
    ext_inode_dirty(ext, inode);
}

static bool fill_symlink(struct ext_fs *ext, struct ext_inode *inode, const char *target, struct error *err)
{
    size_t len = strlen(target);
    if (len == 0 || len >= ext->block_size)
        return fail(err, E_TOOBIG, "a symbolic link's target has 1 to %u bytes here, not %zu",
                    ext->block_size - 1, len);
    if (len < EXT_I_BLOCK_SIZE) {
        memcpy(ext_inode_i_block(inode->raw), target, len);
        ext_inode_set_size(ext, inode->raw, len);
        return true;
    }
    ext_map_init(ext, inode);
    return ext_file_write(ext, inode, 0, target, len, err);
}

/* What i_block holds at first, by the file's type. */
static bool fill_contents(struct ext_fs *ext, struct ext_inode *inode, uint32_t parent,
                          const struct fs_attr *attr, const char *target, struct error *err)
{
    switch (attr->mode & S_IFMT) {
    case S_IFREG:
        ext_map_init(ext, inode);
        if (attr->size > 0) {
            ext->hint_ino = inode->ino;
            ext->hint_blocks = div_up(attr->size, ext->block_size);
        }
        return true;
    case S_IFDIR:
        return ext_dir_init(ext, inode, parent, err);
    case S_IFLNK:
        return fill_symlink(ext, inode, target, err);
    case S_IFCHR:
    case S_IFBLK:
        if (attr->rdev_major > 0xFFF || attr->rdev_minor > 0xFFFFF)
            return fail(err, E_TOOBIG, "a device number here has at most 12 and 20 bits, not %u:%u",
                        attr->rdev_major, attr->rdev_minor);
        ext_inode_set_device(inode->raw, attr->rdev_major, attr->rdev_minor);
        return true;
    case S_IFIFO:
    case S_IFSOCK:
        return true;
    default:
        return fail(err, E_UNSUPPORTED, "ext has no files of type 0%o", attr->mode & S_IFMT);
    }
}

static bool create_inode(struct ext_fs *ext, struct ext_inode *dir, const struct ext_name *name,
                         const struct fs_attr *attr, const char *target, uint32_t *ino, struct error *err)
{
    struct ext_inode inode;
    if (!ext_inode_alloc(ext, dir->ino, attr->mode, ino, err) || !ext_inode_get(ext, *ino, &inode, err))
        return false;
    fill_inode(ext, &inode, dir, attr);
    bool ok = ext_quota_charge(ext, inode.ino, inode.raw, 0, 1, err) &&
              fill_contents(ext, &inode, dir->ino, attr, target, err) &&
              ext_dir_add(ext, dir, name->bytes, name->len, *ino, attr->mode, err) &&
              (!S_ISDIR(attr->mode) || ext_links_add(ext, dir, err));
    ext_inode_put(ext, &inode);
    return ok;
}

bool ext_op_create(struct fs *fs, fs_id dir_id, const char *name, const struct fs_attr *attr,
                   const char *target, fs_id *out, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode dir;
    struct ext_name stored;
    uint32_t ino = 0;
    if (!ext_begin(ext, err) || !ext_open_dir(ext, dir_id, &dir, err))
        return false;
    bool ok = ext_may_add(&dir, err) && ext_dir_writable(&dir, err) &&
              ext_name_stored(&dir, name, &stored, err) && ext_name_free(ext, &dir, &stored, 0, err) &&
              create_inode(ext, &dir, &stored, attr, target, &ino, err);
    ext_inode_put(ext, &dir);
    *out = ino;
    return ok;
}
