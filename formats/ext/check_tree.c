/* Pass 3: whether every directory is reached from the root, and whether `..` says so. lost+found. */
#include "check.h"

#include "alloc.h"
#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- lost+found ---------------------------------------------------------------------------------------- */

static bool new_directory(struct ext_checker *c, uint32_t *ino, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_inode inode;
    struct fs_time now = clock_now();
    if (!ext_inode_alloc(ext, EXT_ROOT_INO, S_IFDIR, ino, err) || !ext_inode_get(ext, *ino, &inode, err))
        return false;
    ext_inode_set_i_mode(inode.raw, S_IFDIR | 0700);
    ext_inode_set_i_links_count(inode.raw, 2);
    if (ext->inode_size > EXT_GOOD_OLD_INODE_SIZE)
        ext_inode_set_i_extra_isize(inode.raw, EXT_INODE_FIELDS - EXT_GOOD_OLD_INODE_SIZE);
    for (int stamp = EXT_ATIME; stamp <= EXT_CRTIME; stamp++)
        ext_inode_set_time(ext, inode.raw, (enum ext_stamp)stamp, now);
    ext_inode_dirty(ext, &inode);
    bool ok = ext_dir_init(ext, &inode, EXT_ROOT_INO, err) &&
              ext_quota_charge(ext, *ino, inode.raw, 0, 1, err) && ext_check_set_inode(c, *ino, true, err);
    ext_inode_put(ext, &inode);
    return ok;
}

static bool find_lost_found(struct ext_checker *c, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_inode root;
    struct error missing = {0};
    uint32_t ino;
    if (c->lost_found)
        return true;
    if (!ext_inode_get(ext, EXT_ROOT_INO, &root, err))
        return false;
    bool ok = true;
    if (ext_dir_find(ext, &root, "lost+found", 10, &ino, &missing) && ext_check_inode_is_dir(c, ino)) {
        c->lost_found = ino;
    } else if (missing.kind == E_OK) { /* the name belongs to a file, which goes into the new directory */
        ok = ext_dir_remove(ext, &root, "lost+found", 10, err);
        ext_check_drop_link(c, ino);
    } else if (missing.kind != E_NOENT) {
        *err = missing;
        ok = false;
    }
    if (ok && !c->lost_found) {
        ok = new_directory(c, &ino, err) &&
             ext_dir_add(ext, &root, "lost+found", 10, ino, S_IFDIR | 0700, err);
        ext_inode_set_i_links_count(root.raw, ext_inode_i_links_count(root.raw) + 1);
        ext_inode_dirty(ext, &root);
        for (unsigned i = 0; ok && i < 3; i++)
            ok = ext_check_add_link(c, i < 2 ? ino : EXT_ROOT_INO, err);
        c->lost_found = ok ? ino : 0;
    }
    ext_inode_put(ext, &root);
    return ok || because(err, "lost+found");
}

/* `..` of a directory becomes `parent`; links are counted anew. */
static bool set_parent(struct ext_checker *c, struct ext_inode *inode, uint32_t parent, struct error *err)
{
    struct ext_check_dir *dir = ext_check_find_dir(c, inode->ino);
    if (!ext_dir_set_parent(c->ext, inode, parent, err))
        return false;
    if (dir) {
        ext_check_drop_link(c, dir->dotdot);
        dir->dotdot = dir->parent = parent;
    }
    return ext_check_add_link(c, parent, err);
}

bool ext_check_reconnect(struct ext_checker *c, uint32_t ino, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_inode into, inode;
    char name[16];
    if (!find_lost_found(c, err) || !ext_inode_get(ext, c->lost_found, &into, err))
        return false;
    snprintf(name, sizeof name, "#%u", ino);
    bool ok = ext_inode_get(ext, ino, &inode, err);
    if (ok) {
        uint32_t mode = (uint32_t)ext_inode_i_mode(inode.raw);
        ok = ext_dir_add(ext, &into, name, strlen(name), ino, mode, err) && ext_check_add_link(c, ino, err) &&
             (!S_ISDIR(mode) || set_parent(c, &inode, c->lost_found, err));
        ext_inode_put(ext, &inode);
    }
    ext_inode_put(ext, &into);
    return ok || because(err, "inode %u into lost+found", ino);
}

/* ---- loops --------------------------------------------------------------------------------------------- */

struct by_inode {
    uint32_t ino;
    char name[EXT_NAME_MAX];
    unsigned len;
};

static bool match_inode(const struct ext_dirent *entry, void *arg, struct error *err)
{
    struct by_inode *search = arg;
    (void)err;
    if (entry->ino == search->ino && search->len == 0 &&
        !(entry->name[0] == '.' &&
          (entry->name_len == 1 || (entry->name_len == 2 && entry->name[1] == '.')))) {
        search->len = entry->name_len;
        memcpy(search->name, entry->name, entry->name_len);
    }
    return true;
}

/* Take the name of a directory out of the one that names it. */
static bool drop_name(struct ext_checker *c, uint32_t parent, uint32_t ino, struct error *err)
{
    struct ext_inode dir;
    struct by_inode search = {.ino = ino};
    if (!ext_inode_get(c->ext, parent, &dir, err))
        return false;
    bool ok = ext_dir_each(c->ext, &dir, match_inode, &search, err);
    if (ok && search.len) {
        ok = ext_dir_remove(c->ext, &dir, search.name, search.len, err);
        ext_check_drop_link(c, ino);
    }
    ext_inode_put(c->ext, &dir);
    return ok;
}

/* ---- the way up ---- */

enum { UNKNOWN, ON_THE_WAY, REACHED };

struct ascent {
    struct ext_checker *c;
    uint8_t *state; /* by index of dirs */
    size_t *way;    /* directories on the way up */
};

static bool connect(struct ext_checker *c, struct ext_check_dir *dir, bool loop, struct error *err)
{
    if (!ext_problem(c, loop ? "directory-loop" : "directory-unconnected", EXT_NO_PLACE,
                     loop ? "directory %u lies inside itself (by way of %u)"
                          : "directory %u has no name; its `..` is %u",
                     dir->ino, loop ? dir->parent : dir->dotdot))
        return true;
    if (loop && !drop_name(c, dir->parent, dir->ino, err))
        return false;
    return ext_check_reconnect(c, dir->ino, err);
}

/* Go up from a directory until something known is met. */
static bool ascend(struct ascent *a, size_t index, struct error *err)
{
    struct ext_checker *c = a->c;
    size_t depth = 0;
    while (a->state[index] == UNKNOWN) {
        struct ext_check_dir *dir = &c->dirs[index];
        a->state[index] = ON_THE_WAY;
        a->way[depth++] = index;
        if (dir->ino == EXT_ROOT_INO)
            break;
        struct ext_check_dir *parent = dir->parent ? ext_check_find_dir(c, dir->parent) : NULL;
        bool loop = parent && a->state[parent - c->dirs] == ON_THE_WAY;
        if (!parent || loop) {
            if (dir->parent == 0 || loop || !ext_check_inode_is_dir(c, dir->parent))
                if (!connect(c, dir, loop, err))
                    return false;
            break;
        }
        index = (size_t)(parent - c->dirs);
    }
    while (depth > 0)
        a->state[a->way[--depth]] = REACHED;
    return true;
}

static bool check_dotdots(struct ext_checker *c, struct error *err)
{
    for (size_t i = 0; i < c->dir_count && !c->stop; i++) {
        struct ext_check_dir *dir = &c->dirs[i];
        struct ext_inode inode;
        uint32_t right = dir->ino == EXT_ROOT_INO ? EXT_ROOT_INO : dir->parent;
        if (right == 0 || dir->dotdot == right)
            continue;
        if (!ext_problem(c, "dotdot", EXT_NO_PLACE, "directory %u: its `..` is %u, not %u", dir->ino,
                         dir->dotdot, right))
            continue;
        if (!ext_inode_get(c->ext, dir->ino, &inode, err))
            return false;
        bool ok = set_parent(c, &inode, right, err);
        ext_inode_put(c->ext, &inode);
        if (!ok)
            return false;
    }
    return true;
}

bool ext_check_tree(struct ext_checker *c, struct error *err)
{
    struct ascent a = {.c = c};
    a.state = mem_new(c->dir_count + 1, err);
    a.way = mem_array(c->dir_count + 1, sizeof *a.way, err);
    bool ok = a.state && a.way;
    for (size_t i = 0; ok && i < c->dir_count && !c->stop; i++)
        ok = interrupt_check(err) && ascend(&a, i, err);
    free(a.state);
    free(a.way);
    return ok && check_dotdots(c, err);
}
