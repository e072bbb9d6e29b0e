/* Names: lookup, listing, linking, removing and renaming; inodes as operations open them. */
#include "namei.h"

#include "bytes.h"
#include "describe.h"

#include <sys/stat.h>

/* ---- opening ---- */

bool ext_open_inode(struct ext_fs *ext, fs_id id, struct ext_inode *out, struct error *err)
{
    if (id == 0 || id > ext->inodes)
        return fail(err, E_NOENT, "there is no inode %llu", (unsigned long long)id);
    return ext_inode_live(ext, (uint32_t)id, out, err);
}

bool ext_open_dir(struct ext_fs *ext, fs_id id, struct ext_inode *out, struct error *err)
{
    if (!ext_open_inode(ext, id, out, err))
        return false;
    if (ext_inode_is(out->raw, S_IFDIR))
        return true;
    ext_inode_put(ext, out);
    return fail(err, E_NOTDIR, "not a directory");
}

bool ext_begin(struct ext_fs *ext, struct error *err)
{
    if (ext->read_only)
        return fail(err, E_READONLY, "the volume was opened for reading only");
    if (ext->fs.change != FS_IN_PLACE)
        return fail(err, E_READONLY, "%s", ext->fs.why);
    ext_owners_forget(ext);
    return ext_prepare(ext, err);
}

bool ext_dir_writable(const struct ext_inode *dir, struct error *err)
{
    if (ext_inode_flag(dir->raw, EXT_FL_ENCRYPT))
        return fail(err, E_UNSUPPORTED,
                    "the directory is encrypted: names cannot be entered without its key");
    return true;
}

bool ext_may_add(const struct ext_inode *dir, struct error *err)
{
    return !ext_inode_flag(dir->raw, EXT_FL_IMMUTABLE) ||
           fail(err, E_READONLY, "operation not permitted: %s is immutable (`attr -i` takes that away)",
                ext_inode_is(dir->raw, S_IFDIR) ? "the directory" : "the file");
}

bool ext_may_change(const struct ext_inode *inode, struct error *err)
{
    if (!ext_may_add(inode, err))
        return false;
    return !ext_inode_flag(inode->raw, EXT_FL_APPEND) ||
           fail(err, E_READONLY, "operation not permitted: %s is append-only (`attr -a` takes that away)",
                ext_inode_is(inode->raw, S_IFDIR) ? "the directory" : "the file");
}

/* ---- links ---- */

bool ext_links_add(struct ext_fs *ext, struct ext_inode *inode, struct error *err)
{
    uint64_t links = ext_inode_i_links_count(inode->raw);
    bool directory = ext_inode_is(inode->raw, S_IFDIR);
    if (directory && links == 1) /* too many to be counted */
        return true;
    if (links >= EXT_LINK_MAX && !(directory && ext_has(ext, EXT_DIR_NLINK)))
        return fail(err, E_TOOBIG,
                    directory ? "a directory has at most 64998 subdirectories (dir_nlink is off)"
                              : "a file has at most 65000 names");
    ext_inode_set_i_links_count(inode->raw, links >= EXT_LINK_MAX ? 1 : links + 1);
    ext_inode_dirty(ext, inode);
    return true;
}

void ext_links_drop(struct ext_fs *ext, struct ext_inode *inode)
{
    uint64_t links = ext_inode_i_links_count(inode->raw);
    if (links > (ext_inode_is(inode->raw, S_IFDIR) ? 2 : 0))
        ext_inode_set_i_links_count(inode->raw, links - 1);
    ext_inode_dirty(ext, inode);
}

/* ---- reading ---- */

bool ext_op_lookup(struct fs *fs, fs_id id, const char *name, fs_id *out, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode dir;
    struct ext_name stored;
    uint32_t ino;
    if (!ext_open_dir(ext, id, &dir, err))
        return false;
    bool ok = ext_name_stored(&dir, name, &stored, err) && ext_name_find(ext, &dir, &stored, &ino, err);
    ext_inode_put(ext, &dir);
    if (ok)
        *out = ino;
    return ok;
}

struct listing {
    struct ext_fs *ext;
    const struct ext_inode *dir;
    fs_entry_fn *emit;
    void *arg;
    bool stopped;
};

static bool list_entry(const struct ext_dirent *found, void *arg, struct error *err)
{
    struct listing *listing = arg;
    struct ext_fs *ext = listing->ext;
    char name[EXT_NAME_SHOWN];
    struct fs_entry entry = {.name = name, .id = found->ino, .type = found->type, .fault = found->fault};
    bool dots =
        found->name_len <= 2 && found->name_len > 0 && memcmp(found->name, "..", found->name_len) == 0;
    if (dots)
        return true;
    ext_name_shown(listing->dir, found->name, found->name_len, name);
    if (!entry.fault &&
        (found->ino > ext->inodes || (found->ino < ext->first_ino && found->ino != EXT_ROOT_INO))) {
        entry.fault = found->ino > ext->inodes ? "its inode does not exist" : "its inode is a reserved one";
        entry.id = 0;
    }
    listing->stopped = !listing->emit(&entry, listing->arg);
    return !listing->stopped || fail(err, E_OK, "stopped");
}

bool ext_op_readdir(struct fs *fs, fs_id id, fs_entry_fn *emit, void *arg, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode dir;
    if (!ext_open_dir(ext, id, &dir, err))
        return false;
    struct listing listing = {.ext = ext, .dir = &dir, .emit = emit, .arg = arg};
    bool ok = ext_dir_each(ext, &dir, list_entry, &listing, err);
    ext_inode_put(ext, &dir);
    return ok || listing.stopped;
}

bool ext_op_parent(struct fs *fs, fs_id id, fs_id *out, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode dir;
    uint32_t ino;
    if (!ext_open_dir(ext, id, &dir, err))
        return false;
    bool ok = ext_dir_parent(ext, &dir, &ino, err);
    ext_inode_put(ext, &dir);
    if (ok && (ino == 0 || ino > ext->inodes))
        return fail(err, E_DAMAGED, "directory %llu: its parent, inode %u, does not exist",
                    (unsigned long long)id, ino);
    *out = ino;
    return ok;
}

/* ---- linking ---- */

bool ext_op_link(struct fs *fs, fs_id id, fs_id dir_id, const char *name, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode dir, inode;
    struct ext_name stored;
    if (!ext_begin(ext, err) || !ext_open_dir(ext, dir_id, &dir, err))
        return false;
    if (!ext_open_inode(ext, id, &inode, err)) {
        ext_inode_put(ext, &dir);
        return false;
    }
    bool ok = ext_may_change(&inode, err) && ext_may_add(&dir, err) && ext_dir_writable(&dir, err) &&
              ext_name_stored(&dir, name, &stored, err) && ext_name_free(ext, &dir, &stored, 0, err) &&
              ext_links_add(ext, &inode, err) &&
              ext_dir_add(ext, &dir, stored.bytes, stored.len, inode.ino,
                          (uint32_t)ext_inode_i_mode(inode.raw), err);
    ext_inode_put(ext, &inode);
    ext_inode_put(ext, &dir);
    return ok;
}

/* ---- removing ---- */

bool ext_drop_inode(struct ext_fs *ext, struct ext_inode *dir, struct ext_inode *inode, bool *stays,
                    struct error *err)
{
    bool empty = true;
    *stays = false;
    if (!ext_may_change(inode, err))
        return false;
    if (ext_inode_is(inode->raw, S_IFDIR)) {
        if (!ext_dir_is_empty(ext, inode, &empty, err))
            return false;
        if (!empty)
            return fail(err, E_NOTEMPTY, "the directory is not empty");
        ext_links_drop(ext, dir);
        return ext_inode_delete(ext, inode, err);
    }
    ext_links_drop(ext, inode);
    *stays = ext_inode_i_links_count(inode->raw) > 0;
    return *stays || ext_inode_delete(ext, inode, err);
}

static bool remove_name(struct ext_fs *ext, struct ext_inode *dir, const struct ext_name *name, uint32_t ino,
                        struct error *err)
{
    struct ext_inode inode;
    bool stays;
    if (ino < ext->first_ino)
        return fail(err, E_DAMAGED, "the name belongs to the reserved inode %u", ino);
    if (!ext_open_inode(ext, ino, &inode, err))
        return false;
    bool ok = ext_may_change(dir, err) && ext_drop_inode(ext, dir, &inode, &stays, err) &&
              ext_dir_remove(ext, dir, name->bytes, name->len, err);
    ext_inode_put(ext, &inode);
    return ok;
}

bool ext_op_remove(struct fs *fs, fs_id dir_id, const char *name, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode dir;
    struct ext_name given, stored;
    uint32_t ino;
    if (!ext_begin(ext, err) || !ext_open_dir(ext, dir_id, &dir, err))
        return false;
    bool ok = ext_name_stored(&dir, name, &given, err) &&
              ext_name_find_stored(ext, &dir, &given, &stored, &ino, err) &&
              remove_name(ext, &dir, &stored, ino, err);
    ext_inode_put(ext, &dir);
    return ok;
}

/* ---- renaming ---- */

struct move {
    struct ext_inode from, to; /* directories; one and the same inode when they are equal */
    struct ext_name given, old_name, new_name;
    struct ext_inode inode;
};

/* A directory that moved: its `..` and its parents' counts follow. */
static bool reparent(struct ext_fs *ext, struct move *move, struct error *err)
{
    if (!ext_inode_is(move->inode.raw, S_IFDIR) || move->from.ino == move->to.ino)
        return true;
    if (!ext_links_add(ext, &move->to, err))
        return false;
    ext_links_drop(ext, &move->from);
    return ext_dir_set_parent(ext, &move->inode, move->to.ino, err);
}

static bool move_name(struct ext_fs *ext, struct move *move, struct error *err)
{
    uint32_t mode = (uint32_t)ext_inode_i_mode(move->inode.raw);
    return ext_dir_add(ext, &move->to, move->new_name.bytes, move->new_name.len, move->inode.ino, mode,
                       err) &&
           ext_dir_remove(ext, &move->from, move->old_name.bytes, move->old_name.len, err) &&
           reparent(ext, move, err);
}

bool ext_op_rename(struct fs *fs, fs_id from, const char *name, fs_id to, const char *new_name, fs_id *out,
                   struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct move move = {0};
    uint32_t ino;
    bool ok = ext_begin(ext, err) && ext_open_dir(ext, from, &move.from, err) &&
              ext_open_dir(ext, to, &move.to, err) && ext_may_change(&move.from, err) &&
              ext_may_add(&move.to, err) && ext_dir_writable(&move.from, err) &&
              ext_dir_writable(&move.to, err) && ext_name_stored(&move.from, name, &move.given, err) &&
              ext_name_stored(&move.to, new_name, &move.new_name, err) &&
              ext_name_find_stored(ext, &move.from, &move.given, &move.old_name, &ino, err) &&
              ext_name_free(ext, &move.to, &move.new_name, ino, err) &&
              ext_open_inode(ext, ino, &move.inode, err) && ext_may_change(&move.inode, err) &&
              move_name(ext, &move, err);
    if (ok)
        *out = ino;
    ext_inode_put(ext, &move.inode);
    ext_inode_put(ext, &move.to);
    ext_inode_put(ext, &move.from);
    return ok;
}
