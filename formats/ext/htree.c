/*
 * Directory indexes ("Hash Tree Directories"). Block 0 is the root: `.`, `..`, then pairs (lowest hash,
 * block). Below it lie 0 to 2 levels of nodes of pairs, then leaves, which are ordinary directory blocks. The
 * first pair of each array has no hash: its place holds limit and count of the array, and it covers all
 * hashes below the second pair's. Names of equal hash may go on in the next leaf; its pair has bit 0 of the
 * hash set then.
 *
 * Invariants: pairs rise by hash; all names of a leaf have hashes in its pair's range; an array holds at
 * least one pair and at most `limit`.
 */
#include "dir.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_LEVELS = 3, BLOCK_MASK = 0x0FFFFFFF };

struct frame {
    struct cache_block *block;
    uint8_t *pairs; /* the first pair: limit, count, block */
    unsigned count, limit;
    unsigned at; /* pair on the path */
};

struct probe {
    struct frame frames[MAX_LEVELS]; /* 0: the root */
    unsigned levels;                 /* frames in use */
    struct ext_name_hash hash;
    unsigned version;
};

/* ---- pairs ---- */

static uint8_t *pair_at(const struct frame *frame, unsigned at)
{
    return frame->pairs + (size_t)at * EXT_DX_ENTRY_SIZE;
}

static uint32_t hash_at(const struct frame *frame, unsigned at)
{
    return at == 0 ? 0 : (uint32_t)ext_dxe_hash(pair_at(frame, at));
}

static uint64_t block_at(const struct frame *frame, unsigned at)
{
    return ext_dxe_block(pair_at(frame, at)) & BLOCK_MASK;
}

static void set_count(struct frame *frame, unsigned count)
{
    frame->count = count;
    store_le16(frame->pairs + 2, (uint16_t)count);
}

static void insert_pair(struct ext_fs *ext, struct frame *frame, uint32_t hash, uint64_t block)
{
    unsigned at = frame->at + 1;
    memmove(pair_at(frame, at + 1), pair_at(frame, at), (size_t)(frame->count - at) * EXT_DX_ENTRY_SIZE);
    ext_dxe_set_hash(pair_at(frame, at), hash);
    ext_dxe_set_block(pair_at(frame, at), block);
    set_count(frame, frame->count + 1);
    ext_block_dirty(ext, frame->block);
}

unsigned ext_htree_capacity(const struct ext_fs *ext, unsigned start)
{
    return (ext->block_size - start - (ext->has_csum ? EXT_DX_TAIL_SIZE : 0)) / EXT_DX_ENTRY_SIZE;
}

/* ---- opening the path ---- */

static bool bad_index(struct ext_fs *ext, const struct ext_inode *dir, const struct cache_block *block,
                      const char *why, struct error *err)
{
    return damaged(err, ext->dev, block->off, "directory %u: its index: %s", dir->ino, why);
}

static bool open_frame(struct ext_fs *ext, const struct ext_inode *dir, uint64_t number, unsigned start,
                       struct frame *frame, struct error *err)
{
    if (number >= ext_dir_blocks(ext, dir))
        return fail(err, E_DAMAGED, "directory %u: its index points past its end", dir->ino);
    if (!ext_dir_block(ext, dir, number, &frame->block, err))
        return false;
    if (!frame->block)
        return fail(err, E_DAMAGED, "directory %u: its index points into a hole", dir->ino);
    frame->block->tag = EXT_TAG_INDEX;
    frame->pairs = frame->block->data + start;
    frame->limit = load_le16(frame->pairs);
    frame->count = load_le16(frame->pairs + 2);
    if (frame->limit != ext_htree_capacity(ext, start))
        return bad_index(ext, dir, frame->block, "limit is not what fits into the block", err);
    if (frame->count == 0 || frame->count > frame->limit)
        return bad_index(ext, dir, frame->block, "count is 0 or more than limit", err);
    return true;
}

/* Last pair whose hash is not above the one sought. */
static unsigned search_pairs(const struct frame *frame, uint32_t hash)
{
    unsigned low = 1, high = frame->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (hash_at(frame, middle) > hash)
            high = middle;
        else
            low = middle + 1;
    }
    return low - 1;
}

static void close_probe(struct ext_fs *ext, struct probe *probe)
{
    for (unsigned i = 0; i < MAX_LEVELS; i++)
        ext_block_put(ext, probe->frames[i].block);
}

static bool check_root(struct ext_fs *ext, const struct ext_inode *dir, struct probe *probe,
                       struct error *err)
{
    const uint8_t *root = probe->frames[0].block->data;
    unsigned levels = (unsigned)ext_dxr_indirect_levels(root);
    probe->version = (unsigned)ext_dxr_hash_version(root);
    if (ext_dxr_info_length(root) != 8 || ext_dxr_reserved_zero(root) != 0 || ext_dxr_unused_flags(root) & 1)
        return bad_index(ext, dir, probe->frames[0].block, "its header is not known", err);
    if (levels >= MAX_LEVELS || (levels == 2 && !ext_has(ext, EXT_LARGE_DIR)))
        return bad_index(ext, dir, probe->frames[0].block, "it has too many levels", err);
    if (probe->version < EXT_HASH_UNSIGNED && ext->hash_unsigned)
        probe->version += EXT_HASH_UNSIGNED;
    probe->levels = levels + 1;
    return true;
}

/* The path to the leaf for a name. Close it with close_probe(), also after an error. */
static bool open_probe(struct ext_fs *ext, const struct ext_inode *dir, const char *name, size_t len,
                       struct probe *probe, struct error *err)
{
    *probe = (struct probe){0};
    if (!open_frame(ext, dir, 0, EXT_DX_ROOT_ENTRIES, &probe->frames[0], err) ||
        !check_root(ext, dir, probe, err) ||
        !ext_dir_hash(ext, dir, name, len, probe->version, &probe->hash, err))
        return false;
    for (unsigned i = 0;; i++) {
        struct frame *frame = &probe->frames[i];
        frame->at = search_pairs(frame, probe->hash.major);
        if (i + 1 == probe->levels)
            return true;
        if (!open_frame(ext, dir, block_at(frame, frame->at), EXT_DX_NODE_ENTRIES, &probe->frames[i + 1],
                        err))
            return false;
    }
}

static bool open_leaf(struct ext_fs *ext, const struct ext_inode *dir, const struct probe *probe,
                      struct cache_block **out, struct error *err)
{
    const struct frame *frame = &probe->frames[probe->levels - 1];
    uint64_t number = block_at(frame, frame->at);
    if (number == 0 || number >= ext_dir_blocks(ext, dir))
        return fail(err, E_DAMAGED, "directory %u: its index points to block %llu, which is no leaf",
                    dir->ino, (unsigned long long)number);
    if (!ext_dir_block(ext, dir, number, out, err))
        return false;
    return *out || fail(err, E_DAMAGED, "directory %u: its index points into a hole", dir->ino);
}

/* Move the path to the next leaf when names of this hash may go on there. */
static bool next_leaf(struct ext_fs *ext, const struct ext_inode *dir, struct probe *probe, bool *more,
                      struct error *err)
{
    unsigned level = probe->levels;
    *more = false;
    while (level > 0 && probe->frames[level - 1].at + 1 >= probe->frames[level - 1].count)
        level--;
    if (level == 0)
        return true;
    struct frame *frame = &probe->frames[level - 1];
    uint32_t hash = hash_at(frame, frame->at + 1);
    if ((hash & 1) == 0 || (hash & ~(uint32_t)1) != probe->hash.major)
        return true;
    frame->at++;
    for (; level < probe->levels; level++) {
        struct frame *above = &probe->frames[level - 1], *below = &probe->frames[level];
        ext_block_put(ext, below->block);
        below->block = NULL;
        if (!open_frame(ext, dir, block_at(above, above->at), EXT_DX_NODE_ENTRIES, below, err))
            return false;
        below->at = 0;
    }
    *more = true;
    return true;
}

bool ext_htree_find(struct ext_fs *ext, const struct ext_inode *dir, const char *name, size_t len,
                    struct cache_block **out, struct error *err)
{
    struct probe probe;
    bool more = true, ok = open_probe(ext, dir, name, len, &probe, err);
    *out = NULL;
    while (ok && more) {
        uint8_t *before;
        if (!open_leaf(ext, dir, &probe, out, err)) {
            *out = NULL;
            ok = false;
            break;
        }
        struct ext_entries entries = ext_dir_entries(ext, (*out)->data);
        if (ext_entries_find(ext, &entries, name, len, &before))
            break;
        ext_block_put(ext, *out);
        *out = NULL;
        ok = next_leaf(ext, dir, &probe, &more, err);
    }
    close_probe(ext, &probe);
    return ok;
}

/* ---- growing the index ---- */

/* A node of the index, empty but for its frame of a free entry. */
static bool new_node(struct ext_fs *ext, struct ext_inode *dir, uint64_t *number, struct frame *frame,
                     struct error *err)
{
    if (!ext_dir_append(ext, dir, EXT_TAG_INDEX, number, &frame->block, err))
        return false;
    ext_set_rec_len(frame->block->data, ext->block_size);
    frame->pairs = frame->block->data + EXT_DX_NODE_ENTRIES;
    frame->limit = ext_htree_capacity(ext, EXT_DX_NODE_ENTRIES);
    store_le16(frame->pairs, (uint16_t)frame->limit);
    return true;
}

/* Copy pairs from..end of one array to the front of an empty one. */
static void copy_pairs(const struct frame *from, unsigned first, struct frame *to)
{
    unsigned n = from->count - first;
    memcpy(pair_at(to, 0) + 4, pair_at(from, first) + 4, (size_t)n * EXT_DX_ENTRY_SIZE - 4);
    set_count(to, n);
}

/* All pairs of the root move into a new node below it. */
static bool add_level(struct ext_fs *ext, struct ext_inode *dir, struct probe *probe, struct error *err)
{
    struct frame *root = &probe->frames[0], node = {0};
    unsigned max = ext_has(ext, EXT_LARGE_DIR) ? MAX_LEVELS : MAX_LEVELS - 1;
    uint64_t number;
    if (probe->levels >= max)
        return fail(err, E_NOSPACE, "the directory's index is full%s",
                    max < MAX_LEVELS ? " (large_dir is off)" : "");
    if (!new_node(ext, dir, &number, &node, err))
        return false;
    copy_pairs(root, 0, &node);
    ext_block_put(ext, node.block);
    set_count(root, 1);
    ext_dxe_set_block(pair_at(root, 0), number);
    ext_dxr_set_indirect_levels(root->block->data, probe->levels);
    ext_block_dirty(ext, root->block);
    return true;
}

/* The upper half of a full node moves into a new one beside it; its parent has room. */
static bool split_node(struct ext_fs *ext, struct ext_inode *dir, struct probe *probe, unsigned level,
                       struct error *err)
{
    struct frame *frame = &probe->frames[level], node = {0};
    unsigned keep = frame->count / 2;
    uint32_t hash = hash_at(frame, keep);
    uint64_t number;
    if (!new_node(ext, dir, &number, &node, err))
        return false;
    copy_pairs(frame, keep, &node);
    ext_block_put(ext, node.block);
    set_count(frame, keep);
    ext_block_dirty(ext, frame->block);
    insert_pair(ext, &probe->frames[level - 1], hash, number);
    return true;
}

/* One step towards room for a pair in the lowest array; the path is stale after it. */
static bool make_room(struct ext_fs *ext, struct ext_inode *dir, struct probe *probe, struct error *err)
{
    unsigned level = probe->levels - 1;
    while (level > 0 && probe->frames[level - 1].count >= probe->frames[level - 1].limit)
        level--;
    return level > 0 ? split_node(ext, dir, probe, level, err) : add_level(ext, dir, probe, err);
}

/* ---- splitting a leaf ---- */

struct name {
    uint32_t hash;
    uint32_t off, len; /* of its entry in the leaf, packed */
};

static int by_hash(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->off < y->off ? -1 : x->off > y->off;
}

/* All names of a leaf, by hash; malloc'd. */
static bool load_names(struct ext_fs *ext, const struct ext_inode *dir, const struct ext_entries *leaf,
                       unsigned version, struct name **out, unsigned *count, struct error *err)
{
    struct name *names = mem_array(leaf->len / EXT_DIRENT_HEADER + 1, sizeof *names, err);
    *count = 0;
    if (!names)
        return false;
    for (uint32_t at = 0; at < leaf->len; at += ext_rec_len(ext, leaf->base + at)) {
        const uint8_t *entry = leaf->base + at;
        size_t len = (size_t)ext_de_name_len(entry);
        struct ext_name_hash hash;
        if (ext_de_inode(entry) == 0 || len == 0)
            continue;
        if (!ext_dir_hash(ext, dir, (const char *)entry + EXT_DIRENT_HEADER, len, version, &hash, err)) {
            free(names);
            return false;
        }
        names[(*count)++] = (struct name){hash.major, at, ext_entry_size(len)};
    }
    qsort(names, *count, sizeof *names, by_hash);
    *out = names;
    return true;
}

/* Where to split: the upper names take half of the bytes, but each side keeps one. */
static unsigned split_point(const struct name *names, unsigned count)
{
    uint64_t total = 0, size = 0;
    for (unsigned i = 0; i < count; i++)
        total += names[i].len;
    unsigned at = count;
    while (at > 1 && size + names[at - 1].len / 2 <= total / 2)
        size += names[--at].len;
    return MIN_OF(at, count - 1);
}

/* Lay the names into an empty block, one behind the other; the last one takes the rest. */
static void pack(const struct ext_fs *ext, const uint8_t *from, const struct name *names, unsigned count,
                 uint8_t *block)
{
    ext_dir_format(ext, block);
    struct ext_entries to = ext_dir_entries(ext, block);
    uint32_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(block + at, from + names[i].off, names[i].len);
        ext_set_rec_len(block + at, i + 1 < count ? names[i].len : to.len - at);
        at += names[i].len;
    }
}

static bool split_leaf(struct ext_fs *ext, struct ext_inode *dir, struct probe *probe,
                       struct cache_block *leaf, struct error *err)
{
    struct frame *frame = &probe->frames[probe->levels - 1];
    struct ext_entries entries = ext_dir_entries(ext, leaf->data);
    struct cache_block *upper;
    struct name *names;
    unsigned count;
    uint64_t number;
    if (!load_names(ext, dir, &entries, probe->version, &names, &count, err))
        return false;
    uint8_t *old = count < 2 ? NULL : mem_new(ext->block_size, err);
    bool ok = old || fail(err, E_DAMAGED, "directory %u: a leaf without names is full", dir->ino);
    ok = ok && ext_dir_append(ext, dir, EXT_TAG_DIR, &number, &upper, err);
    if (ok) {
        unsigned at = split_point(names, count);
        bool goes_on = names[at].hash == names[at - 1].hash;
        memcpy(old, leaf->data, ext->block_size);
        pack(ext, old, names + at, count - at, upper->data);
        pack(ext, old, names, at, leaf->data);
        ext_block_dirty(ext, leaf);
        ext_block_put(ext, upper);
        insert_pair(ext, frame, names[at].hash | goes_on, number);
    }
    free(old);
    free(names);
    return ok;
}

bool ext_htree_add(struct ext_fs *ext, struct ext_inode *dir, const char *name, size_t len, uint32_t ino,
                   uint32_t mode, struct error *err)
{
    for (;;) {
        struct probe probe;
        struct cache_block *leaf = NULL;
        bool done = false,
             ok = open_probe(ext, dir, name, len, &probe, err) && open_leaf(ext, dir, &probe, &leaf, err);
        if (ok) {
            const struct frame *frame = &probe.frames[probe.levels - 1];
            struct ext_entries entries = ext_dir_entries(ext, leaf->data);
            done = ext_entries_add(ext, &entries, name, len, ino, mode);
            if (done)
                ext_block_dirty(ext, leaf);
            else if (frame->count < frame->limit)
                ok = split_leaf(ext, dir, &probe, leaf, err);
            else
                ok = make_room(ext, dir, &probe, err);
        }
        ext_block_put(ext, leaf);
        close_probe(ext, &probe);
        if (done || !ok)
            return ok;
    }
}

/* ---- the first index ---- */

void ext_htree_init_root(const struct ext_fs *ext, struct cache_block *block, uint32_t ino, uint32_t parent)
{
    uint8_t *root = block->data;
    unsigned version = (unsigned)ext_super_s_def_hash_version(ext->super);
    unsigned type = ext_file_type(ext, S_IFDIR);
    memset(root, 0, ext->block_size);
    ext_dxr_set_dot_inode(root, ino);
    ext_dxr_set_dot_rec_len(root, EXT_DIRENT_MIN);
    ext_dxr_set_dot_name_len(root, 1);
    ext_dxr_set_dot_file_type(root, type);
    memcpy(ext_dxr_dot_name(root), ".", 1);
    ext_dxr_set_dotdot_inode(root, parent);
    ext_set_rec_len(root + EXT_DIRENT_MIN, ext->block_size - EXT_DIRENT_MIN);
    ext_dxr_set_dotdot_name_len(root, 2);
    ext_dxr_set_dotdot_file_type(root, type);
    memcpy(ext_dxr_dotdot_name(root), "..", 2);
    ext_dxr_set_hash_version(root, version <= EXT_HASH_TEA ? version : EXT_HASH_HALF_MD4);
    ext_dxr_set_info_length(root, 8);
    ext_dxr_set_limit(root, ext_htree_capacity(ext, EXT_DX_ROOT_ENTRIES));
    ext_dxr_set_count(root, 1);
    ext_dxr_set_block(root, 1);
    block->tag = EXT_TAG_INDEX;
}

/* Everything but `.` and `..` goes to block 1, the only leaf. */
bool ext_htree_create(struct ext_fs *ext, struct ext_inode *dir, struct error *err)
{
    struct cache_block *root, *leaf;
    uint32_t parent;
    uint64_t number;
    if (!ext_dir_parent(ext, dir, &parent, err) || !ext_dir_block(ext, dir, 0, &root, err))
        return false;
    if (!ext_dir_append(ext, dir, EXT_TAG_DIR, &number, &leaf, err)) {
        ext_block_put(ext, root);
        return false;
    }
    struct ext_entries from = ext_dir_entries(ext, root->data), to = ext_dir_entries(ext, leaf->data);
    uint32_t at = 0, last = 0, used = 0;
    for (; at < from.len; at += ext_rec_len(ext, from.base + at)) {
        const uint8_t *entry = from.base + at;
        uint32_t len = ext_entry_size((size_t)ext_de_name_len(entry));
        const char *name = (const char *)entry + EXT_DIRENT_HEADER;
        bool dots = name[0] == '.' &&
                    (ext_de_name_len(entry) == 1 || (ext_de_name_len(entry) == 2 && name[1] == '.'));
        if (ext_de_inode(entry) == 0 || dots)
            continue;
        memcpy(to.base + used, entry, len);
        ext_set_rec_len(to.base + used, len);
        last = used;
        used += len;
    }
    if (used > 0)
        ext_set_rec_len(to.base + last, to.len - last);
    ext_htree_init_root(ext, root, dir->ino, parent);
    ext_block_dirty(ext, root);
    ext_block_put(ext, root);
    ext_block_put(ext, leaf);
    ext_inode_set_i_flags(dir->raw, ext_inode_i_flags(dir->raw) | EXT_FL_INDEX);
    ext_inode_dirty(ext, dir);
    return true;
}
