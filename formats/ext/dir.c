/* Directories as rows of blocks with entries ("Linear (Classic) Directories"); the index is htree.c's. */
#include "dir.h"

#include "bytes.h"
#include "xattr.h"

#include <sys/stat.h>

/* ---- entries ---- */

static const uint32_t types[] = {0, S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK};

unsigned ext_file_type(const struct ext_fs *ext, uint32_t mode)
{
    for (unsigned i = 1; i < ARRAY_LEN(types) && ext_has(ext, EXT_FILETYPE); i++)
        if (types[i] == (mode & S_IFMT))
            return i;
    return 0;
}

uint32_t ext_entry_type(const struct ext_fs *ext, const uint8_t *entry)
{
    unsigned type = (unsigned)ext_de_file_type(entry) & 0x0F;
    return ext_has(ext, EXT_FILETYPE) && type < ARRAY_LEN(types) ? types[type] : 0;
}

static uint32_t used_size(const uint8_t *entry)
{
    return ext_de_inode(entry) ? ext_entry_size((size_t)ext_de_name_len(entry)) : 0;
}

struct ext_entries ext_dir_entries(const struct ext_fs *ext, uint8_t *block)
{
    bool tail = ext->has_csum && ext_dir_tail(ext, block);
    return (struct ext_entries){block, ext->block_size - (tail ? EXT_DIR_TAIL : 0)};
}

const char *ext_entries_fault(const struct ext_fs *ext, const struct ext_entries *run)
{
    for (uint32_t at = 0; at < run->len;) {
        const uint8_t *entry = run->base + at;
        if (run->len - at < EXT_DIRENT_HEADER)
            return "an entry begins too close to its end";
        uint32_t len = ext_rec_len(ext, entry);
        if (len % 4 != 0 || len < EXT_DIRENT_HEADER)
            return "rec_len is too small or no multiple of 4";
        if (len > run->len - at)
            return "rec_len reaches past its end";
        if (ext_de_inode(entry) && EXT_DIRENT_HEADER + ext_de_name_len(entry) > len)
            return "name_len is more than rec_len allows";
        at += len;
    }
    return NULL;
}

uint8_t *ext_entries_find(const struct ext_fs *ext, const struct ext_entries *run, const char *name,
                          size_t len, uint8_t **before)
{
    uint8_t *previous = NULL;
    for (uint32_t at = 0; at < run->len;) {
        uint8_t *entry = run->base + at;
        if (entry[ext_de_off_name_len] == len && ext_de_inode(entry) != 0 &&
            memcmp(entry + EXT_DIRENT_HEADER, name, len) == 0) {
            *before = previous;
            return entry;
        }
        previous = entry;
        at += ext_rec_len(ext, entry);
    }
    return NULL;
}

bool ext_entries_add(const struct ext_fs *ext, const struct ext_entries *run, const char *name, size_t len,
                     uint32_t ino, uint32_t mode)
{
    uint32_t need = ext_entry_size(len);
    for (uint32_t at = 0; at < run->len;) {
        uint8_t *entry = run->base + at;
        uint32_t have = ext_rec_len(ext, entry), used = used_size(entry);
        if (have >= used + need) {
            if (used > 0) {
                ext_set_rec_len(entry, used);
                entry += used;
                ext_set_rec_len(entry, have - used);
            }
            ext_de_set_inode(entry, ino);
            ext_de_set_name_len(entry, len);
            ext_de_set_file_type(entry, ext_file_type(ext, mode));
            memcpy(entry + EXT_DIRENT_HEADER, name, len);
            memset(entry + EXT_DIRENT_HEADER + len, 0, need - EXT_DIRENT_HEADER - len);
            return true;
        }
        at += have;
    }
    return false;
}

/* The entry becomes part of the one before; its name stays readable until the space is used again. */
void ext_entries_remove(const struct ext_fs *ext, uint8_t *entry, uint8_t *before)
{
    if (before)
        ext_set_rec_len(before, ext_rec_len(ext, before) + ext_rec_len(ext, entry));
    else
        ext_de_set_inode(entry, 0);
}

bool ext_entries_each(struct ext_fs *ext, const struct ext_entries *run, uint64_t base_off,
                      uint64_t device_off, ext_dirent_fn *fn, void *arg, struct error *err)
{
    for (uint32_t at = 0; at < run->len;) {
        const uint8_t *entry = run->base + at;
        if (ext_de_inode(entry) != 0) {
            struct ext_dirent found = {
                .ino = (uint32_t)ext_de_inode(entry),
                .name = (const char *)entry + EXT_DIRENT_HEADER,
                .name_len = (unsigned)ext_de_name_len(entry),
                .type = ext_entry_type(ext, entry),
                .off = base_off + at,
                .device_off = device_off + at,
            };
            if (!fn(&found, arg, err))
                return false;
        }
        at += ext_rec_len(ext, entry);
    }
    return true;
}

/* ---- blocks ---- */

/* An index block may hold what looks like the tail of the leaf that it once was: index first. */
static const char *csum_fault(const struct ext_fs *ext, const struct ext_inode *dir, const uint8_t *data,
                              bool index)
{
    uint32_t seed = ext_inode_seed(ext, dir->ino, (uint32_t)ext_inode_i_generation(dir->raw)), csum;
    uint8_t *tail = index ? NULL : ext_dir_tail(ext, data);
    if (tail)
        return ext_det_det_checksum(tail) == ext_dir_csum(ext, seed, data) ? NULL : "its checksum is wrong";
    if (!index || !ext_index_csum(ext, seed, data, &csum, &tail))
        return "it has no checksum";
    return ext_dxt_dt_checksum(tail) == csum ? NULL : "its checksum is wrong";
}

bool ext_dir_block(struct ext_fs *ext, const struct ext_inode *dir, uint64_t block, struct cache_block **out,
                   struct error *err)
{
    struct ext_mapping run;
    *out = NULL;
    if (!ext_map(ext, dir, block, &run, err))
        return false;
    if (run.start == 0 || run.unwritten)
        return true;
    if (!ext_block_get(ext, run.start, EXT_TAG_DIR, ext_inode_owner(dir), out, err))
        return because(err, "directory %u", dir->ino);
    bool index = ext_inode_flag(dir->raw, EXT_FL_INDEX) && ext_index_counts(ext, (*out)->data);
    (*out)->tag = index ? EXT_TAG_INDEX : EXT_TAG_DIR;
    if ((*out)->checked)
        return true;
    struct ext_entries entries = {(*out)->data, ext->block_size};
    const char *fault = ext_entries_fault(ext, &entries);
    if (!fault && ext->has_csum && !(*out)->dirty)
        fault = csum_fault(ext, dir, (*out)->data, index);
    if (fault) {
        damaged(err, ext->dev, (*out)->off, "directory %u, block %llu: %s", dir->ino,
                (unsigned long long)block, fault);
        ext_block_put(ext, *out);
        *out = NULL;
        return false;
    }
    (*out)->checked = true;
    return true;
}

void ext_dir_format(const struct ext_fs *ext, uint8_t *block)
{
    uint32_t room = ext->block_size;
    memset(block, 0, ext->block_size);
    if (ext->has_csum) {
        room -= EXT_DIR_TAIL;
        ext_det_set_det_rec_len(block + room, EXT_DIR_TAIL);
        ext_det_set_det_reserved_ft(block + room, EXT_DIR_TAIL_TYPE);
    }
    ext_set_rec_len(block, room);
}

bool ext_dir_append(struct ext_fs *ext, struct ext_inode *dir, enum ext_tag tag, uint64_t *block,
                    struct cache_block **out, struct error *err)
{
    struct ext_mapping run;
    uint64_t size = ext_inode_size(ext, dir->raw);
    *block = size >> ext->block_bits;
    if (*block >= UINT32_MAX || (!ext_has(ext, EXT_LARGE_DIR) && size + ext->block_size > INT32_MAX))
        return fail(err, E_NOSPACE, "the directory cannot grow further");
    if (!ext_map_fill(ext, dir, *block, 1, false, &run, err) ||
        !ext_block_new(ext, run.start, tag, ext_inode_owner(dir), out, err))
        return false;
    if (tag == EXT_TAG_DIR)
        ext_dir_format(ext, (*out)->data);
    ext_inode_set_size(ext, dir->raw, size + ext->block_size);
    ext_inode_dirty(ext, dir);
    return true;
}

/* ---- operations ---- */

bool ext_dir_indexed(const struct ext_fs *ext, const struct ext_inode *dir)
{
    return ext_has(ext, EXT_DIR_INDEX) && ext_inode_flag(dir->raw, EXT_FL_INDEX);
}

static bool is_inline(const struct ext_inode *dir)
{
    return ext_inode_flag(dir->raw, EXT_FL_INLINE_DATA);
}

static bool emit_fault(struct ext_fs *ext, uint64_t block, ext_dirent_fn *fn, void *arg, struct error *err)
{
    char why[sizeof err->message];
    if (err->kind != E_DAMAGED)
        return false;
    memcpy(why, err->message, sizeof why);
    struct ext_dirent fault = {.name = "", .off = block << ext->block_bits, .fault = why};
    return fn(&fault, arg, err);
}

bool ext_dir_each(struct ext_fs *ext, const struct ext_inode *dir, ext_dirent_fn *fn, void *arg,
                  struct error *err)
{
    uint64_t blocks = ext_dir_blocks(ext, dir);
    if (is_inline(dir))
        return ext_inline_dir_each(ext, dir, fn, arg, err);
    for (uint64_t block = 0; block < blocks; block++) {
        struct cache_block *data;
        struct ext_mapping run;
        if (!interrupt_check(err) || !ext_map(ext, dir, block, &run, err))
            return emit_fault(ext, block, fn, arg, err); /* the map itself is damaged: nothing more to see */
        if (run.start == 0) {
            block += run.len - 1;
            continue;
        }
        if (!ext_dir_block(ext, dir, block, &data, err)) {
            if (!emit_fault(ext, block, fn, arg, err))
                return false;
            continue;
        }
        if (!data)
            continue;
        struct ext_entries entries = ext_dir_entries(ext, data->data);
        bool ok = ext_entries_each(ext, &entries, block << ext->block_bits, data->off, fn, arg, err);
        ext_block_put(ext, data);
        if (!ok)
            return false;
    }
    return true;
}

/* Look into one block; *out NULL: the name is not there. */
static bool look_into(struct ext_fs *ext, const struct ext_inode *dir, uint64_t block, const char *name,
                      size_t len, struct cache_block **out, struct error *err)
{
    uint8_t *before;
    if (!interrupt_check(err) || !ext_dir_block(ext, dir, block, out, err))
        return false;
    if (!*out)
        return true;
    struct ext_entries entries = ext_dir_entries(ext, (*out)->data);
    if (ext_entries_find(ext, &entries, name, len, &before))
        return true;
    ext_block_put(ext, *out);
    *out = NULL;
    return true;
}

/* The block that holds a name, whatever the directory's form but inline; *out NULL: none. */
static bool find_block(struct ext_fs *ext, const struct ext_inode *dir, const char *name, size_t len,
                       struct cache_block **out, uint64_t *number, struct error *err)
{
    *number = 0;
    *out = NULL;
    if (ext_dir_indexed(ext, dir)) {
        if (ext_htree_find(ext, dir, name, len, out, err))
            return true;
        if (err->kind != E_DAMAGED && err->kind != E_UNSUPPORTED)
            return false;
    } else if (ext_dirs_know(ext, dir)) {
        size_t step = 0;
        while (!*out && ext_dirs_next(ext, name, len, &step, number))
            if (!look_into(ext, dir, *number, name, len, out, err))
                return false;
        return true;
    }
    uint64_t blocks = ext_dir_blocks(ext, dir);
    for (uint64_t block = 0; block < blocks && !*out; block++) {
        *number = block;
        if (!look_into(ext, dir, block, name, len, out, err))
            return false;
    }
    return true;
}

bool ext_dir_find(struct ext_fs *ext, const struct ext_inode *dir, const char *name, size_t len,
                  uint32_t *ino, struct error *err)
{
    struct cache_block *block = NULL;
    uint8_t *entry = NULL, *before;
    uint64_t number;
    if (is_inline(dir)) {
        if (!ext_inline_dir_find(ext, dir, name, len, &entry, &before, err))
            return false;
    } else {
        if (!find_block(ext, dir, name, len, &block, &number, err))
            return false;
        if (block) {
            struct ext_entries entries = ext_dir_entries(ext, block->data);
            entry = ext_entries_find(ext, &entries, name, len, &before);
        }
    }
    if (entry)
        *ino = (uint32_t)ext_de_inode(entry);
    ext_block_put(ext, block);
    return entry || fail(err, E_NOENT, "no such file or directory");
}

/* Add to the first block with room; *done false: there is none. */
static bool add_linear(struct ext_fs *ext, struct ext_inode *dir, const char *name, size_t len, uint32_t ino,
                       uint32_t mode, bool *done, struct error *err)
{
    uint32_t need = ext_entry_size(len);
    uint64_t blocks = ext_dir_blocks(ext, dir), block = ext_dirs_first_room(ext, dir->ino, need);
    for (*done = false; block < blocks && !*done; block++) {
        struct cache_block *data;
        if (!ext_dir_block(ext, dir, block, &data, err))
            return false;
        if (!data)
            continue;
        struct ext_entries entries = ext_dir_entries(ext, data->data);
        *done = ext_entries_add(ext, &entries, name, len, ino, mode);
        if (*done) {
            ext_block_dirty(ext, data);
            ext_dirs_note_name(ext, dir->ino, name, len, block);
        }
        ext_block_put(ext, data);
    }
    ext_dirs_note_full(ext, dir->ino, need, *done ? block - 1 : block);
    return true;
}

static bool add_block(struct ext_fs *ext, struct ext_inode *dir, const char *name, size_t len, uint32_t ino,
                      uint32_t mode, struct error *err)
{
    struct cache_block *data;
    uint64_t block;
    if (!ext_dir_append(ext, dir, EXT_TAG_DIR, &block, &data, err))
        return false;
    struct ext_entries entries = ext_dir_entries(ext, data->data);
    bool ok = ext_entries_add(ext, &entries, name, len, ino, mode);
    ext_block_put(ext, data);
    ext_dirs_note_name(ext, dir->ino, name, len, block);
    return ok || fail(err, E_NAME, "the name does not fit into a block");
}

bool ext_dir_add(struct ext_fs *ext, struct ext_inode *dir, const char *name, size_t len, uint32_t ino,
                 uint32_t mode, struct error *err)
{
    bool done;
    if (is_inline(dir)) {
        if (!ext_inline_dir_add(ext, dir, name, len, ino, mode, &done, err))
            return false;
        if (done)
            return true;
        if (!ext_inline_dir_to_block(ext, dir, err))
            return false;
    }
    if (ext_dir_indexed(ext, dir))
        return ext_htree_add(ext, dir, name, len, ino, mode, err);
    if (ext_inode_flag(dir->raw, EXT_FL_INDEX)) { /* dir_index is off: from now on the index would be stale */
        ext_inode_set_i_flags(dir->raw, ext_inode_i_flags(dir->raw) & ~(uint64_t)EXT_FL_INDEX);
        ext_inode_dirty(ext, dir);
    }
    if (!add_linear(ext, dir, name, len, ino, mode, &done, err))
        return false;
    if (done)
        return true;
    if (ext_has(ext, EXT_DIR_INDEX) && ext_dir_blocks(ext, dir) == 1)
        return ext_htree_create(ext, dir, err) && ext_htree_add(ext, dir, name, len, ino, mode, err);
    return add_block(ext, dir, name, len, ino, mode, err);
}

bool ext_dir_remove(struct ext_fs *ext, struct ext_inode *dir, const char *name, size_t len,
                    struct error *err)
{
    struct cache_block *block;
    uint8_t *entry = NULL, *before;
    uint64_t number;
    if (is_inline(dir)) {
        if (!ext_inline_dir_find(ext, dir, name, len, &entry, &before, err))
            return false;
        if (!entry)
            return fail(err, E_NOENT, "no such file or directory");
        ext_entries_remove(ext, entry, before);
        ext_inode_dirty(ext, dir);
        return true;
    }
    if (!find_block(ext, dir, name, len, &block, &number, err))
        return false;
    if (!block)
        return fail(err, E_NOENT, "no such file or directory");
    struct ext_entries entries = ext_dir_entries(ext, block->data);
    entry = ext_entries_find(ext, &entries, name, len, &before);
    ext_entries_remove(ext, entry, before);
    ext_block_dirty(ext, block);
    ext_block_put(ext, block);
    if (!ext_dir_indexed(ext, dir))
        ext_dirs_note_room(ext, dir->ino, number);
    return true;
}

/* ---- `..`, emptiness, new directories ---- */

/* The `..` entry of a directory with blocks. */
static bool find_dotdot(struct ext_fs *ext, const struct ext_inode *dir, struct cache_block **block,
                        uint8_t **entry, struct error *err)
{
    uint8_t *before;
    if (!ext_dir_block(ext, dir, 0, block, err))
        return false;
    if (!*block)
        return fail(err, E_DAMAGED, "directory %u has no first block", dir->ino);
    struct ext_entries entries = ext_dir_entries(ext, (*block)->data);
    *entry = ext_entries_find(ext, &entries, "..", 2, &before);
    if (*entry)
        return true;
    damaged(err, ext->dev, (*block)->off, "directory %u has no entry `..`", dir->ino);
    ext_block_put(ext, *block);
    return false;
}

bool ext_dir_parent(struct ext_fs *ext, const struct ext_inode *dir, uint32_t *ino, struct error *err)
{
    struct cache_block *block;
    uint8_t *entry = NULL;
    if (is_inline(dir)) {
        *ino = load_le32(ext_inode_i_block(dir->raw));
        return true;
    }
    if (!find_dotdot(ext, dir, &block, &entry, err))
        return false;
    *ino = (uint32_t)ext_de_inode(entry);
    ext_block_put(ext, block);
    return true;
}

bool ext_dir_set_parent(struct ext_fs *ext, struct ext_inode *dir, uint32_t ino, struct error *err)
{
    struct cache_block *block;
    uint8_t *entry = NULL;
    if (is_inline(dir)) {
        store_le32(ext_inode_i_block(dir->raw), ino);
        ext_inode_dirty(ext, dir);
        return true;
    }
    if (!find_dotdot(ext, dir, &block, &entry, err))
        return false;
    ext_de_set_inode(entry, ino);
    ext_block_dirty(ext, block);
    ext_block_put(ext, block);
    return true;
}

static bool see_entry(const struct ext_dirent *entry, void *arg, struct error *err)
{
    bool dots = (entry->name_len == 1 && entry->name[0] == '.') ||
                (entry->name_len == 2 && entry->name[0] == '.' && entry->name[1] == '.');
    if (entry->fault)
        return fail(err, E_DAMAGED, "%s", entry->fault);
    if (!dots)
        *(bool *)arg = false;
    return dots || fail(err, E_OK, "stop"); /* one is enough */
}

bool ext_dir_is_empty(struct ext_fs *ext, const struct ext_inode *dir, bool *empty, struct error *err)
{
    *empty = true;
    return ext_dir_each(ext, dir, see_entry, empty, err) || !*empty;
}

bool ext_dir_init(struct ext_fs *ext, struct ext_inode *dir, uint32_t parent, struct error *err)
{
    struct cache_block *data;
    uint64_t block;
    if (ext_has(ext, EXT_INLINE_DATA) && ext_inline_capacity(ext, dir) >= EXT_I_BLOCK_SIZE)
        return ext_inline_dir_init(ext, dir, parent, err);
    ext_map_init(ext, dir);
    if (!ext_dir_append(ext, dir, EXT_TAG_DIR, &block, &data, err))
        return false;
    struct ext_entries entries = ext_dir_entries(ext, data->data);
    bool ok = ext_entries_add(ext, &entries, ".", 1, dir->ino, S_IFDIR) &&
              ext_entries_add(ext, &entries, "..", 2, parent, S_IFDIR);
    ext_block_put(ext, data);
    return ok || fail(err, E_INVALID, "the block size is too small for a directory");
}
