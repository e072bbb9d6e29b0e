/*
 * Deleted files: inodes that still say what they were (dish and debugfs leave them so; the kernel empties the
 * maps of regular files), and names in the unused room of directory entries.
 */
#include "describe.h"

#include "alloc.h"
#include "bytes.h"
#include "dir.h"
#include "namei.h"
#include "xattr.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool was_file(const uint8_t *inode)
{
    uint32_t type = (uint32_t)ext_inode_i_mode(inode) & S_IFMT;
    bool known = type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFCHR ||
                 type == S_IFBLK || type == S_IFIFO || type == S_IFSOCK;
    return known && ext_inode_i_dtime(inode) != 0;
}

/* Whether an inode is free and tells of a file. */
static bool is_deleted(struct ext_fs *ext, uint32_t ino, uint32_t *type)
{
    struct ext_group desc;
    struct ext_inode inode;
    struct error ignored;
    struct cache_block *block;
    const uint8_t *bits;
    uint32_t group, index;
    if (ino < ext->first_ino || ino > ext->inodes)
        return false;
    group = ext_group_of_inode(ext, ino);
    index = (ino - 1) % ext->inodes_per_group;
    if (!ext_group_get(ext, group, &desc, &ignored))
        return false;
    bool unused = ext->group_csum && index >= ext->inodes_per_group - ext_group_itable_unused(ext, desc.raw);
    ext_group_put(ext, &desc);
    if (unused || !ext_bitmap_peek(ext, EXT_INODE_BITMAP, group, ext->scratch, &bits, &block, &ignored))
        return false;
    bool used = ext_bit(bits, index);
    ext_block_put(ext, block);
    if (used || !ext_inode_get_raw(ext, ino, &inode, &ignored))
        return false;
    bool deleted = was_file(inode.raw);
    *type = (uint32_t)ext_inode_i_mode(inode.raw) & S_IFMT;
    ext_inode_put(ext, &inode);
    return deleted;
}

/* ---- listing ---- */

static bool list_inodes(struct ext_fs *ext, fs_entry_fn *emit, void *arg, struct error *err)
{
    for (uint32_t group = 0; group < ext->groups; group++) {
        struct ext_group desc;
        if (!interrupt_check(err) || !ext_group_get(ext, group, &desc, err))
            return false;
        uint64_t unused = ext->group_csum ? ext_group_itable_unused(ext, desc.raw) : 0;
        ext_group_put(ext, &desc);
        uint32_t used = ext->inodes_per_group - (uint32_t)MIN_OF(unused, ext->inodes_per_group);
        for (uint32_t i = 0; i < used; i++) {
            struct fs_entry entry = {
                .name = "", .id = (fs_id)group * ext->inodes_per_group + i + 1, .deleted = true};
            if (is_deleted(ext, (uint32_t)entry.id, &entry.type) && !emit(&entry, arg))
                return true;
        }
    }
    return true;
}

struct listing {
    struct ext_fs *ext;
    const struct ext_inode *dir;
    fs_entry_fn *emit;
    void *arg;
};

/* An entry that begins at `at` of a gap and fits into it; false: there is none. */
static bool plausible(const struct ext_fs *ext, const uint8_t *entry, uint32_t left)
{
    uint32_t ino = (uint32_t)ext_de_inode(entry), len = (uint32_t)ext_de_name_len(entry);
    const char *name = (const char *)entry + EXT_DIRENT_HEADER;
    return ino >= ext->first_ino && ino <= ext->inodes && len > 0 && ext_entry_size(len) <= left &&
           ext_rec_len(ext, entry) >= ext_entry_size(len) && !memchr(name, '\0', len) &&
           !memchr(name, '/', len);
}

/* Names between the used end of an entry and the next one. */
static bool list_gap(struct listing *listing, const uint8_t *gap, uint32_t len)
{
    for (uint32_t at = 0; at + EXT_DIRENT_MIN <= len; at += 4) {
        const uint8_t *entry = gap + at;
        char name[EXT_NAME_SHOWN];
        if (!plausible(listing->ext, entry, len - at))
            continue;
        struct fs_entry found = {.name = name, .id = ext_de_inode(entry), .deleted = true};
        ext_name_shown(listing->dir, (const char *)entry + EXT_DIRENT_HEADER, (size_t)ext_de_name_len(entry),
                       name);
        if (!is_deleted(listing->ext, (uint32_t)found.id, &found.type))
            found.fault = "its inode is in use again, or empty";
        if (!listing->emit(&found, listing->arg))
            return false;
        at += ext_entry_size((size_t)ext_de_name_len(entry)) - 4;
    }
    return true;
}

static bool list_block(struct listing *listing, uint8_t *data)
{
    struct ext_fs *ext = listing->ext;
    struct ext_entries run = ext_dir_entries(ext, data);
    for (uint32_t at = 0; at < run.len;) {
        const uint8_t *entry = data + at;
        uint32_t len = ext_rec_len(ext, entry);
        bool used = ext_de_inode(entry) != 0;
        uint32_t skip = used ? ext_entry_size((size_t)ext_de_name_len(entry)) : 0;
        if (!used &&
            len > EXT_DIRENT_HEADER) /* the first entry of a block loses its inode when it is deleted */
            skip = ext_entry_size((size_t)ext_de_name_len(entry));
        if (skip < len && !list_gap(listing, entry + skip, len - skip))
            return false;
        at += len;
    }
    return true;
}

static bool list_names(struct ext_fs *ext, const struct ext_inode *dir, fs_entry_fn *emit, void *arg,
                       struct error *err)
{
    struct listing listing = {ext, dir, emit, arg};
    if (ext_inode_flag(dir->raw, EXT_FL_INLINE_DATA))
        return true;
    for (uint64_t block = 0; block < ext_dir_blocks(ext, dir); block++) {
        struct cache_block *data;
        struct error damage;
        if (!interrupt_check(err))
            return false;
        if (!ext_dir_block(ext, dir, block, &data, &damage) || !data)
            continue;
        bool index = ext_inode_flag(dir->raw, EXT_FL_INDEX) && ext_index_counts(ext, data->data);
        bool more = index || list_block(&listing, data->data);
        ext_block_put(ext, data);
        if (!more)
            return true;
    }
    return true;
}

bool ext_deleted(struct fs *fs, fs_id id, fs_entry_fn *emit, void *arg, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode dir;
    if (id == 0)
        return list_inodes(ext, emit, arg, err);
    if (!ext_open_dir(ext, id, &dir, err))
        return false;
    bool ok = list_names(ext, &dir, emit, arg, err);
    ext_inode_put(ext, &dir);
    return ok;
}

/* ---- bringing back ---- */

struct taking {
    struct ext_fs *ext;
    uint64_t last; /* first block of the cluster taken last, +1 */
    uint64_t blocks;
};

static bool take_visit(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    struct taking *taking = arg;
    struct ext_fs *ext = taking->ext;
    uint64_t mask = ((uint64_t)1 << ext->cluster_bits) - 1, base = ext->first_data_block;
    uint64_t first = ((visit->mapping.start - base) & ~mask) + base;
    uint64_t end = ((visit->mapping.start + visit->mapping.len - base + mask) & ~mask) + base;
    if (mask != 0 && visit->data && first + 1 == taking->last)
        first += mask + 1;
    if (visit->data)
        taking->last = end - mask;
    taking->blocks += end - first;
    return first >= end || ext_blocks_take(ext, first, MIN_OF(end, ext->blocks) - first, err);
}

/* The inode and its blocks come back; attributes outside the inode were given up with it. */
static bool revive(struct ext_fs *ext, struct ext_inode *inode, struct error *err)
{
    struct taking taking = {.ext = ext};
    bool directory = ext_inode_is(inode->raw, S_IFDIR);
    int64_t before = (int64_t)(ext_inode_units(ext, inode->raw) / (ext->block_size / 512));
    ext_inode_set_acl_block(ext, inode->raw, 0);
    ext_inode_set_i_dtime(inode->raw, 0);
    ext_inode_set_i_links_count(inode->raw, directory ? 2 : 1);
    if (!ext_inode_take(ext, inode->ino, directory, err) || !ext_xattr_drop_values(ext, inode, err) ||
        !ext_map_walk(ext, inode, take_visit, &taking, err))
        return false;
    return ext_quota_charge(ext, inode->ino, inode->raw, before * (int64_t)ext->block_size, 1, err) &&
           ext_inode_charge(ext, inode, (int64_t)taking.blocks - before, err);
}

static bool enter(struct ext_fs *ext, struct ext_inode *inode, struct ext_inode *dir, const char *name,
                  struct error *err)
{
    struct ext_name stored;
    if (!ext_dir_writable(dir, err) || !ext_name_stored(dir, name, &stored, err) ||
        !ext_dir_add(ext, dir, stored.bytes, stored.len, inode->ino, (uint32_t)ext_inode_i_mode(inode->raw),
                     err))
        return false;
    return !ext_inode_is(inode->raw, S_IFDIR) ||
           (ext_links_add(ext, dir, err) && ext_dir_set_parent(ext, inode, dir->ino, err));
}

bool ext_undelete(struct fs *fs, fs_id id, fs_id dir_id, const char *name, struct error *err)
{
    struct ext_fs *ext = ext_of(fs);
    struct ext_inode inode, dir;
    uint32_t type;
    if (!ext_begin(ext, err))
        return false;
    if (id > UINT32_MAX || !is_deleted(ext, (uint32_t)id, &type))
        return fail(err, E_NOENT, "inode %llu holds no deleted file", (unsigned long long)id);
    if (!ext_open_dir(ext, dir_id, &dir, err))
        return false;
    if (!ext_inode_get(ext, (uint32_t)id, &inode, err)) {
        ext_inode_put(ext, &dir);
        return false;
    }
    bool ok =
        ext_may_add(&dir, err) && (revive(ext, &inode, err) || because(err, "its blocks cannot be had back"));
    ok = ok && enter(ext, &inode, &dir, name, err);
    ext_inode_put(ext, &inode);
    ext_inode_put(ext, &dir);
    return ok;
}
