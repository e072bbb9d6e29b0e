/*
 * Directories inside their inode ("Inline Directories"): in i_block the parent's number and 56 bytes of
 * entries, in system.data more of them. There are no entries `.` and `..`; no entry crosses the two parts.
 */
#include "bytes.h"
#include "dir.h"
#include "xattr.h"

#include "alloc.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { PARENT_SIZE = 4, HEAD_SIZE = EXT_I_BLOCK_SIZE - PARENT_SIZE };

struct parts {
    struct ext_entries runs[2];
    unsigned count;
};

static bool open_parts(struct ext_fs *ext, const struct ext_inode *dir, struct parts *parts,
                       struct error *err)
{
    struct ext_inline data;
    if (!ext_inline_get(ext, dir, &data, err))
        return false;
    parts->runs[0] = (struct ext_entries){data.head + PARENT_SIZE, HEAD_SIZE};
    parts->runs[1] = (struct ext_entries){data.tail, data.tail_len};
    parts->count = data.tail_len > 0 ? 2 : 1;
    for (unsigned i = 0; i < parts->count; i++) {
        const char *fault = ext_entries_fault(ext, &parts->runs[i]);
        if (fault)
            return fail(err, E_DAMAGED, "directory %u, inside its inode: %s", dir->ino, fault);
    }
    return true;
}

bool ext_inline_dir_each(struct ext_fs *ext, const struct ext_inode *dir, ext_dirent_fn *fn, void *arg,
                         struct error *err)
{
    struct parts parts;
    if (!open_parts(ext, dir, &parts, err)) {
        char why[sizeof err->message];
        memcpy(why, err->message, sizeof why);
        struct ext_dirent fault = {.name = "", .fault = why};
        return err->kind == E_DAMAGED && fn(&fault, arg, err);
    }
    for (unsigned i = 0; i < parts.count; i++) {
        uint64_t inside = (uint64_t)(parts.runs[i].base - dir->block->data);
        if (!ext_entries_each(ext, &parts.runs[i], i == 0 ? PARENT_SIZE : EXT_I_BLOCK_SIZE,
                              dir->block->off + inside, fn, arg, err))
            return false;
    }
    return true;
}

bool ext_inline_dir_find(struct ext_fs *ext, const struct ext_inode *dir, const char *name, size_t len,
                         uint8_t **entry, uint8_t **before, struct error *err)
{
    struct parts parts;
    *entry = NULL;
    if (!open_parts(ext, dir, &parts, err))
        return false;
    for (unsigned i = 0; i < parts.count && !*entry; i++)
        *entry = ext_entries_find(ext, &parts.runs[i], name, len, before);
    return true;
}

static bool add_in_parts(struct ext_fs *ext, struct ext_inode *dir, const char *name, size_t len,
                         uint32_t ino, uint32_t mode, bool *done, struct error *err)
{
    struct parts parts;
    *done = false;
    if (!open_parts(ext, dir, &parts, err))
        return false;
    for (unsigned i = 0; i < parts.count && !*done; i++)
        *done = ext_entries_add(ext, &parts.runs[i], name, len, ino, mode);
    if (*done)
        ext_inode_dirty(ext, dir);
    return true;
}

/* Let the second part take all room that the inode has. */
static bool grow(struct ext_fs *ext, struct ext_inode *dir, bool *grown, struct error *err)
{
    uint8_t *data;
    size_t len, capacity = round_down(ext_inline_capacity(ext, dir), 4);
    *grown = false;
    if (!ext_inline_load(ext, dir, &data, &len, err))
        return false;
    bool ok = true;
    if (capacity >= len + EXT_DIRENT_MIN) {
        uint8_t *larger = mem_new(capacity, err);
        ok = larger != NULL;
        if (ok) {
            memcpy(larger, data, len);
            ext_set_rec_len(larger + len, (uint32_t)(capacity - len));
            ok = ext_inline_store(ext, dir, larger, capacity, err);
            ext_inode_set_size(ext, dir->raw, capacity);
            ext_inode_dirty(ext, dir);
            *grown = ok;
        }
        free(larger);
    }
    free(data);
    return ok;
}

bool ext_inline_dir_add(struct ext_fs *ext, struct ext_inode *dir, const char *name, size_t len, uint32_t ino,
                        uint32_t mode, bool *done, struct error *err)
{
    bool grown;
    if (!add_in_parts(ext, dir, name, len, ino, mode, done, err))
        return false;
    if (*done)
        return true;
    return grow(ext, dir, &grown, err) && (!grown || add_in_parts(ext, dir, name, len, ino, mode, done, err));
}

/* Copy the entries of one part; those in use are entered one by one. */
static bool move_entries(struct ext_fs *ext, const struct ext_entries *from, const struct ext_entries *to)
{
    for (uint32_t at = 0; at < from->len; at += ext_rec_len(ext, from->base + at)) {
        const uint8_t *entry = from->base + at;
        uint8_t *before;
        const char *name = (const char *)entry + EXT_DIRENT_HEADER;
        size_t len = (size_t)ext_de_name_len(entry);
        if (ext_de_inode(entry) == 0)
            continue;
        if (!ext_entries_add(ext, to, name, len, (uint32_t)ext_de_inode(entry), 0))
            return false;
        uint8_t *copy = ext_entries_find(ext, to, name, len, &before);
        ext_de_set_file_type(copy, ext_de_file_type(entry));
    }
    return true;
}

bool ext_inline_dir_to_block(struct ext_fs *ext, struct ext_inode *dir, struct error *err)
{
    struct cache_block *block;
    struct parts parts;
    uint64_t number;
    uint8_t *data;
    size_t len;
    if (!open_parts(ext, dir, &parts, err) || !ext_inline_load(ext, dir, &data, &len, err))
        return false;
    ext_inode_set_size(ext, dir->raw, 0);
    bool ok = ext_inline_clear(ext, dir, err) && ext_dir_append(ext, dir, EXT_TAG_DIR, &number, &block, err);
    if (ok) {
        struct ext_entries to = ext_dir_entries(ext, block->data);
        struct ext_entries head = {data + PARENT_SIZE, HEAD_SIZE};
        struct ext_entries tail = {data + EXT_I_BLOCK_SIZE, (uint32_t)(len - EXT_I_BLOCK_SIZE)};
        ok = ext_entries_add(ext, &to, ".", 1, dir->ino, S_IFDIR) &&
             ext_entries_add(ext, &to, "..", 2, load_le32(data), S_IFDIR) && move_entries(ext, &head, &to) &&
             move_entries(ext, &tail, &to);
        ext_block_put(ext, block);
        ok = ok || fail(err, E_DAMAGED, "directory %u: its entries do not fit into a block", dir->ino);
    }
    free(data);
    return ok;
}

bool ext_inline_dir_init(struct ext_fs *ext, struct ext_inode *dir, uint32_t parent, struct error *err)
{
    uint8_t data[EXT_I_BLOCK_SIZE] = {0};
    store_le32(data, parent);
    ext_set_rec_len(data + PARENT_SIZE, HEAD_SIZE);
    if (!ext_inline_store(ext, dir, data, sizeof data, err))
        return false;
    ext_inode_set_size(ext, dir->raw, sizeof data);
    return true;
}
