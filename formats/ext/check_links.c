/* Pass 4: how many names each inode has, against what it says; what has none. */
#include "check.h"
#include "quota.h"

#include <sys/stat.h>

#define INODE_OFF(inode, field) (ext_check_inode_off(inode) + (uint64_t)ext_inode_off_##field)

bool ext_check_delete(struct ext_checker *c, uint32_t ino, struct error *err)
{
    struct ext_inode inode;
    if (!ext_inode_get(c->ext, ino, &inode, err))
        return false;
    bool ok = ext_inode_delete(c->ext, &inode, err);
    ext_inode_put(c->ext, &inode);
    ext_check_clear_inode(c, ino);
    return ok;
}

/* A file with a name is no value: its flag is wrong. */
static bool not_a_value(struct ext_checker *c, struct ext_inode *inode)
{
    if (ext_tally_find(&c->values, inode->ino) || ext_check_links(c, inode->ino) == 0)
        return false;
    if (ext_has(c->ext, EXT_EA_INODE) && /* else pass 1 has said so */
        ext_problem(c, "inode-flags", INODE_OFF(inode, i_flags),
                    "inode %u has the flag of an attribute value, but is a file", inode->ino)) {
        ext_inode_set_i_flags(inode->raw, ext_inode_i_flags(inode->raw) & ~(uint64_t)EXT_FL_EA_INODE);
        ext_inode_dirty(c->ext, inode);
    }
    return true;
}

/* A value inode counts its references in ctime and version; its link is a formality. */
static bool check_value(struct ext_checker *c, struct ext_inode *inode, struct error *err)
{
    const struct ext_tally_slot *slot = ext_tally_find(&c->values, inode->ino);
    uint64_t right = slot ? slot->count : 0;
    uint64_t stored = ext_inode_i_ctime(inode->raw) << 32 | ext_inode_i_version(inode->raw);
    if (right == 0) {
        if (ext_problem(c, "value-unused", ext_check_inode_off(inode),
                        "attribute inode %u belongs to no file", inode->ino))
            return ext_check_delete(c, inode->ino, err);
        return true;
    }
    if (stored != right && ext_problem(c, "value-count", INODE_OFF(inode, i_version),
                                       "attribute inode %u: %llu references, not %llu", inode->ino,
                                       (unsigned long long)stored, (unsigned long long)right)) {
        ext_inode_set_i_ctime(inode->raw, right >> 32);
        ext_inode_set_i_version(inode->raw, (uint32_t)right);
        ext_inode_dirty(c->ext, inode);
    }
    return true;
}

static bool check_unattached(struct ext_checker *c, struct ext_inode *inode, bool *gone, struct error *err)
{
    uint32_t ino = inode->ino;
    bool empty = ext_inode_units(c->ext, inode->raw) == 0 && ext_inode_size(c->ext, inode->raw) == 0;
    *gone = false;
    if (!ext_problem(c, "unattached", ext_check_inode_off(inode), "inode %u has no name%s", ino,
                     empty ? " and no contents" : ""))
        return true;
    *gone = empty;
    return empty ? ext_check_delete(c, ino, err) : ext_check_reconnect(c, ino, err);
}

static bool check_inode(struct ext_checker *c, uint32_t ino, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_inode inode;
    if (!ext_check_inode(c, ino, &inode, err))
        return false;
    bool ok = true, gone = false;
    if (ext_inode_flag(inode.raw, EXT_FL_EA_INODE) && !not_a_value(c, &inode)) {
        ok = check_value(c, &inode, err);
        ext_inode_put(ext, &inode);
        return ok;
    }
    if (ext_check_links(c, ino) == 0 && !(ext_check_inode_is_dir(c, ino) && !c->repair))
        ok = check_unattached(c, &inode, &gone, err);
    uint32_t links = ext_check_links(c, ino), stored = (uint32_t)ext_inode_i_links_count(inode.raw);
    if (ext_check_inode_is_dir(c, ino) && links >= EXT_LINK_MAX)
        links = 1; /* "many": dir_nlink */
    if (ok && !gone && links != 0 && links != stored &&
        ext_problem(c, "link-count", INODE_OFF(&inode, i_links_count),
                    "inode %u: i_links_count is %u, not %u", ino, stored, links)) {
        if (links == 1 && ext_check_inode_is_dir(c, ino) && !ext_has(ext, EXT_DIR_NLINK))
            ext_set_feature(ext, EXT_DIR_NLINK, c->copies = true);
        ext_inode_set_i_links_count(inode.raw, links);
        ext_inode_dirty(ext, &inode);
    }
    ext_inode_put(ext, &inode);
    return ok;
}

/* The volume's own inodes have no names; orphans are about to go. */
static bool has_name(const struct ext_checker *c, uint32_t ino)
{
    const struct ext_fs *ext = c->ext;
    return (ino == EXT_ROOT_INO || ino >= ext->first_ino) &&
           ino != ext_quota_ino(ext->super, EXT_QUOTA_PROJECT) &&
           ino != ext_super_s_orphan_file_inum(ext->super) && !ext_tally_find(&c->orphans, ino);
}

bool ext_check_link_counts(struct ext_checker *c, struct error *err)
{
    for (uint32_t group = 0; group < c->ext->groups && !c->stop; group++) {
        uint32_t first = group * c->ext->inodes_per_group + 1;
        for (uint32_t i = 0; c->inodes[group] && i < c->ext->inodes_per_group && !c->stop; i++)
            if (ext_check_inode_used(c, first + i) && has_name(c, first + i) &&
                (!interrupt_check(err) || !check_inode(c, first + i, err)))
                return false;
    }
    return true;
}
