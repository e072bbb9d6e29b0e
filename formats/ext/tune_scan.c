/* Features that can be switched when every inode agrees, or after every directory was gone through. */
#include "tune.h"

#include "backup.h"
#include "dir.h"
#include "quota.h"
#include "rescue.h"
#include "xattr.h"

#include <sys/stat.h>

/* ---- features that inodes need ---- */

/* Whether an inode needs the feature that is to go. */
static bool needs(const struct ext_fs *ext, const struct ext_inode *inode, uint64_t feature)
{
    const uint8_t *raw = inode->raw;
    if (feature == EXT_LARGE_FILE)
        return S_ISREG(ext_inode_i_mode(raw)) && ext_inode_size(ext, raw) > INT32_MAX;
    if (feature == EXT_HUGE_FILE)
        return ext_inode_flag(raw, EXT_FL_HUGE_FILE) || ext_inode_i_blocks_high(raw) != 0;
    if (feature == EXT_DIR_NLINK)
        return S_ISDIR(ext_inode_i_mode(raw)) && ext_inode_i_links_count(raw) == 1;
    if (feature == EXT_EA_INODE)
        return ext_inode_flag(raw, EXT_FL_EA_INODE);
    return feature == EXT_CASEFOLD && ext_inode_flag(raw, EXT_FL_CASEFOLD);
}

static bool refuse_need(struct ext_fs *ext, struct ext_inode *inode, void *arg, struct error *err)
{
    bool needed = ext_inode_i_links_count(inode->raw) != 0 && needs(ext, inode, *(const uint64_t *)arg);
    return !needed || fail(err, E_UNSUPPORTED, "inode %u needs it", inode->ino);
}

bool ext_tune_unneeded(struct ext_fs *ext, uint64_t feature, struct error *err)
{
    if (!ext_each_inode(ext, refuse_need, &feature, err))
        return false;
    if (feature == EXT_CASEFOLD) {
        ext_super_set_s_encoding(ext->super, 0);
        ext_super_set_s_encoding_flags(ext->super, 0);
    }
    ext_set_feature(ext, feature, false);
    return true;
}

/* ---- directories ---- */

static bool drop_index(struct ext_fs *ext, struct ext_inode *inode, void *arg, struct error *err)
{
    (void)arg;
    if (!ext_inode_is(inode->raw, S_IFDIR) || !ext_inode_flag(inode->raw, EXT_FL_INDEX))
        return true;
    if (ext_inode_flag(inode->raw, EXT_FL_CASEFOLD | EXT_FL_ENCRYPT))
        return fail(err, E_UNSUPPORTED, "directory %u is casefolded or encrypted and needs its index",
                    inode->ino);
    return ext_dir_rehash(ext, inode, NULL, NULL, err);
}

bool ext_tune_dir_index(struct ext_fs *ext, bool on, struct error *err)
{
    ext_set_feature(ext, EXT_DIR_INDEX, on);
    return on || (ext_each_inode(ext, drop_index, NULL, err) && ext_flush(ext, err));
}

/* The type byte of every entry of a run. */
static bool type_entries(struct ext_fs *ext, const struct ext_entries *run, struct error *err)
{
    for (uint32_t at = 0; at < run->len; at += ext_rec_len(ext, run->base + at)) {
        uint8_t *entry = run->base + at;
        struct ext_inode inode;
        unsigned type = 0;
        if (ext_de_inode(entry) == 0)
            continue;
        if (ext_has(ext, EXT_FILETYPE)) {
            if (!ext_inode_get(ext, (uint32_t)ext_de_inode(entry), &inode, err))
                return false;
            type = ext_file_type(ext, (uint32_t)ext_inode_i_mode(inode.raw));
            ext_inode_put(ext, &inode);
        }
        ext_de_set_file_type(entry, type);
    }
    return true;
}

static bool type_inline(struct ext_fs *ext, struct ext_inode *dir, struct error *err)
{
    struct ext_inline data;
    if (!ext_inline_get(ext, dir, &data, err))
        return false;
    struct ext_entries head = {data.head + 4, EXT_I_BLOCK_SIZE - 4}, tail = {data.tail, data.tail_len};
    bool sound = !ext_entries_fault(ext, &head) && (!tail.len || !ext_entries_fault(ext, &tail));
    ext_inode_dirty(ext, dir);
    return (sound || fail(err, E_DAMAGED, "directory %u is damaged", dir->ino)) &&
           type_entries(ext, &head, err) && type_entries(ext, &tail, err);
}

static bool type_blocks(struct ext_fs *ext, struct ext_inode *dir, struct error *err)
{
    for (uint64_t i = 0, blocks = ext_dir_blocks(ext, dir); i < blocks; i++) {
        struct cache_block *block;
        if (!ext_dir_block(ext, dir, i, &block, err))
            return false;
        if (!block)
            continue;
        struct ext_entries run = ext_dir_entries(ext, block->data);
        bool ok = type_entries(ext, &run, err);
        ext_block_dirty(ext, block);
        ext_block_put(ext, block);
        if (!ok)
            return false;
    }
    return true;
}

static bool type_dir(struct ext_fs *ext, struct ext_inode *inode, void *arg, struct error *err)
{
    (void)arg;
    if (!ext_inode_is(inode->raw, S_IFDIR))
        return true;
    return ext_inode_flag(inode->raw, EXT_FL_INLINE_DATA) ? type_inline(ext, inode, err)
                                                          : type_blocks(ext, inode, err);
}

bool ext_tune_filetype(struct ext_fs *ext, bool on, struct error *err)
{
    if (!on && ext->has_csum)
        return fail(err, E_UNSUPPORTED, "metadata_csum marks the ends of directory blocks by a type");
    ext_set_feature(ext, EXT_FILETYPE, on);
    return ext_each_inode(ext, type_dir, NULL, err) && ext_flush(ext, err);
}

/* ---- groups ---- */

bool ext_tune_flex_bg(struct ext_fs *ext, bool on, struct error *err)
{
    ext_set_feature(ext, EXT_FLEX_BG, on);
    for (uint32_t i = 0; !on && i < ext->groups; i++) {
        struct ext_group group;
        if (!interrupt_check(err) || !ext_group_get(ext, i, &group, err))
            return false;
        const char *fault = ext_desc_fault(ext, i, group.raw);
        ext_group_put(ext, &group);
        if (fault) {
            ext_set_feature(ext, EXT_FLEX_BG, true);
            return fail(err, E_UNSUPPORTED, "the %s of group %u lies in another group", fault, i);
        }
    }
    ext_super_set_s_log_groups_per_flex(ext->super, 0);
    ext->flex_groups = 1;
    return true;
}
