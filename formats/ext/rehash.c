/*
 * A directory laid out anew ("Hash Tree Directories"): all names are taken into memory, sorted by hash and
 * written back, first the leaves, then the nodes above them.
 */
#include "dir.h"

#include "alloc.h"
#include "bytes.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_NODE_LEVELS = 2, SLACK_PARTS = 5 /* a fifth of a leaf stays free for names to come */ };

struct name {
    struct ext_name_hash hash;
    size_t off;           /* of its entry in `text` */
    const uint8_t *entry; /* the same, when all are there */
};

struct leaf {
    uint32_t hash; /* of its first name, bit 0: equal hashes began in the leaf before */
    size_t first, count;
};

struct rehash {
    struct ext_fs *ext;
    struct ext_inode *dir;
    ext_twice_fn *twice;
    void *arg;
    uint32_t parent;
    unsigned version;
    bool index; /* there is to be one */
    uint8_t *text;
    size_t text_len, text_capacity;
    struct name *names;
    size_t count, capacity;
    struct leaf *leaves;
    size_t leaf_count, leaf_capacity;
    size_t node_count, level_nodes[MAX_NODE_LEVELS]; /* from the lowest level on */
    unsigned levels;                                 /* of nodes below the root */
};

/* ---- taking the names ---- */

static bool is_dots(const uint8_t *entry)
{
    const uint8_t *name = entry + EXT_DIRENT_HEADER;
    uint64_t len = ext_de_name_len(entry);
    return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

static bool take_name(struct rehash *l, const uint8_t *entry, struct error *err)
{
    struct ext_fs *ext = l->ext;
    size_t len = (size_t)ext_de_name_len(entry), size = EXT_DIRENT_HEADER + len;
    struct ext_name_hash hash = {0, 0};
    if (l->index &&
        !ext_dir_hash(ext, l->dir, (const char *)entry + EXT_DIRENT_HEADER, len, l->version, &hash, err))
        return false;
    if (!mem_grow(&l->text, &l->text_capacity, l->text_len + size, 1, err) ||
        !mem_grow(&l->names, &l->capacity, l->count + 1, sizeof *l->names, err))
        return false;
    memcpy(l->text + l->text_len, entry, size);
    l->names[l->count++] = (struct name){hash, l->text_len, NULL};
    l->text_len += size;
    return true;
}

static bool take_names(struct rehash *l, struct error *err)
{
    struct ext_fs *ext = l->ext;
    for (uint64_t i = 0, blocks = ext_dir_blocks(ext, l->dir); i < blocks; i++) {
        struct cache_block *block;
        if (!interrupt_check(err) || !ext_dir_block(ext, l->dir, i, &block, err))
            return false;
        if (!block)
            continue;
        struct ext_entries run = ext_dir_entries(ext, block->data);
        bool ok = true;
        for (uint32_t at = 0; ok && at < run.len; at += ext_rec_len(ext, run.base + at))
            if (ext_de_inode(run.base + at) != 0 && !is_dots(run.base + at))
                ok = take_name(l, run.base + at, err);
        ext_block_put(ext, block);
        if (!ok)
            return false;
    }
    return true;
}

static int by_text(const uint8_t *x, const uint8_t *y)
{
    size_t n = MIN_OF(ext_de_name_len(x), ext_de_name_len(y));
    int order = memcmp(x + EXT_DIRENT_HEADER, y + EXT_DIRENT_HEADER, n);
    return order != 0 ? order : (int)ext_de_name_len(x) - (int)ext_de_name_len(y);
}

static int by_hash(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    if (x->hash.major != y->hash.major)
        return x->hash.major < y->hash.major ? -1 : 1;
    if (x->hash.minor != y->hash.minor)
        return x->hash.minor < y->hash.minor ? -1 : 1;
    int order = by_text(x->entry, y->entry);
    return order != 0 ? order : x->off < y->off ? -1 : x->off > y->off;
}

/* Sort them; of those that are there twice the first stays. */
static bool sort_names(struct rehash *l, struct error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++)
        l->names[i].entry = l->text + l->names[i].off;
    if (!l->index || l->count == 0)
        return true;
    qsort(l->names, l->count, sizeof *l->names, by_hash);
    for (size_t i = 0; i < l->count; i++) {
        const uint8_t *entry = l->names[i].entry;
        if (kept == 0 || by_text(l->names[kept - 1].entry, entry) != 0)
            l->names[kept++] = l->names[i];
        else if (!l->twice)
            return fail(err, E_DAMAGED, "directory %u has a name twice", l->dir->ino);
        else
            l->twice(l->arg, (uint32_t)ext_de_inode(entry), (const char *)entry + EXT_DIRENT_HEADER,
                     (size_t)ext_de_name_len(entry));
    }
    l->count = kept;
    return true;
}

/* ---- dividing them ---- */

static uint32_t size_at(const struct rehash *l, size_t i)
{
    return ext_entry_size((size_t)ext_de_name_len(l->names[i].entry));
}

static uint32_t leaf_room(const struct rehash *l)
{
    return l->ext->block_size - (l->ext->has_csum ? EXT_DIR_TAIL : 0);
}

/* Leaves of at most `room` bytes of entries; with `dots` the first one holds `.` and `..`, too. */
static bool divide(struct rehash *l, uint32_t room, bool dots, struct error *err)
{
    uint32_t used = dots ? 2 * EXT_DIRENT_MIN : 0;
    l->leaf_count = 0;
    for (size_t i = 0; i < l->count || l->leaf_count == 0; i++) {
        uint32_t size = i < l->count ? size_at(l, i) : 0;
        if (l->leaf_count == 0 || used + size > room) {
            if (!mem_grow(&l->leaves, &l->leaf_capacity, l->leaf_count + 1, sizeof *l->leaves, err))
                return false;
            uint32_t hash = i < l->count ? l->names[i].hash.major : 0;
            bool goes_on = l->leaf_count != 0 && hash == l->names[i - 1].hash.major;
            l->leaves[l->leaf_count] = (struct leaf){hash | goes_on, i, 0};
            used = l->leaf_count++ == 0 ? used : 0;
        }
        used += size;
        l->leaves[l->leaf_count - 1].count += i < l->count;
    }
    return true;
}

/* How many nodes lie between root and leaves. */
static bool plan_nodes(struct rehash *l, struct error *err)
{
    size_t room = ext_htree_capacity(l->ext, EXT_DX_NODE_ENTRIES), below = l->leaf_count;
    unsigned most = ext_has(l->ext, EXT_LARGE_DIR) ? MAX_NODE_LEVELS : MAX_NODE_LEVELS - 1;
    l->levels = 0;
    l->node_count = 0;
    while (below > ext_htree_capacity(l->ext, EXT_DX_ROOT_ENTRIES)) {
        if (l->levels == most)
            return fail(err, E_NOSPACE, "the directory has more names than an index can hold");
        below = div_up(below, room);
        l->level_nodes[l->levels++] = below;
        l->node_count += below;
    }
    return true;
}

/* A linear directory of one block, else leaves under an index,
 * some room left when there are blocks for it. */
static bool plan(struct rehash *l, struct error *err)
{
    uint64_t have = ext_dir_blocks(l->ext, l->dir);
    uint32_t room = leaf_room(l);
    if (!sort_names(l, err) || !divide(l, room, true, err))
        return false;
    if (l->leaf_count == 1 || !l->index) {
        l->index = false;
        return true;
    }
    if (!divide(l, MAX_OF(room - room / SLACK_PARTS, EXT_NAME_MAX + EXT_DIRENT_HEADER + 1), false, err) ||
        !plan_nodes(l, err))
        return false;
    if (1 + l->leaf_count + l->node_count <= have)
        return true;
    return divide(l, room, false, err) && plan_nodes(l, err);
}

/* ---- writing ---- */

static bool open_block(struct rehash *l, uint64_t number, enum ext_tag tag, struct cache_block **out,
                       struct error *err)
{
    struct ext_mapping m;
    if (!ext_map(l->ext, l->dir, number, &m, err))
        return false;
    if (m.start == 0 || m.unwritten)
        return fail(err, E_DAMAGED, "directory %u: block %llu is missing", l->dir->ino,
                    (unsigned long long)number);
    if (!ext_block_get(l->ext, m.start, tag, ext_inode_owner(l->dir), out, err))
        return false;
    (*out)->checked = true;
    ext_block_dirty(l->ext, *out);
    return true;
}

/* Names lie one behind the other, after what `before` is the last entry of; the last one takes the rest. */
static void fill_leaf(const struct rehash *l, const struct leaf *leaf, struct ext_entries to, uint32_t at,
                      uint32_t before)
{
    for (size_t i = leaf->first; i < leaf->first + leaf->count; i++) {
        const uint8_t *entry = l->names[i].entry;
        memcpy(to.base + at, entry, EXT_DIRENT_HEADER + (size_t)ext_de_name_len(entry));
        ext_set_rec_len(to.base + at, size_at(l, i));
        before = at;
        at += size_at(l, i);
    }
    if (at > before)
        ext_set_rec_len(to.base + before, to.len - before);
}

static bool write_leaf(struct rehash *l, size_t i, struct error *err)
{
    struct ext_fs *ext = l->ext;
    struct cache_block *block;
    uint64_t number = i + l->index;
    if (!open_block(l, number, EXT_TAG_DIR, &block, err))
        return false;
    ext_dir_format(ext, block->data);
    struct ext_entries to = ext_dir_entries(ext, block->data);
    uint32_t at = 0, before = 0;
    if (number == 0 && ext_entries_add(ext, &to, ".", 1, l->dir->ino, S_IFDIR) &&
        ext_entries_add(ext, &to, "..", 2, l->parent, S_IFDIR)) {
        ext_set_rec_len(block->data + EXT_DIRENT_MIN, EXT_DIRENT_MIN);
        before = EXT_DIRENT_MIN;
        at = 2 * EXT_DIRENT_MIN;
    }
    fill_leaf(l, &l->leaves[i], to, at, before);
    ext_block_put(ext, block);
    return true;
}

/* The lowest hash below child i of a level; level 0 are the leaves. */
static uint32_t hash_of(const struct rehash *l, unsigned level, size_t i)
{
    size_t room = ext_htree_capacity(l->ext, EXT_DX_NODE_ENTRIES);
    for (; level > 0; level--)
        i *= room;
    return l->leaves[i].hash;
}

/* `count` pairs for the children from `first` on, which are blocks block.. of the directory. */
static void fill_pairs(const struct rehash *l, uint8_t *pairs, unsigned level, size_t first, size_t count,
                       uint64_t block)
{
    store_le16(pairs + 2, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        uint8_t *pair = pairs + i * EXT_DX_ENTRY_SIZE;
        if (i > 0)
            ext_dxe_set_hash(pair, hash_of(l, level, first + i));
        ext_dxe_set_block(pair, block + i);
    }
}

/* Nodes of one level, from block `at` on, over the level below it, whose blocks begin at `below`. */
static bool write_nodes(struct rehash *l, unsigned level, uint64_t at, uint64_t below, struct error *err)
{
    struct ext_fs *ext = l->ext;
    size_t room = ext_htree_capacity(ext, EXT_DX_NODE_ENTRIES);
    size_t children = level == 0 ? l->leaf_count : l->level_nodes[level - 1];
    for (size_t i = 0; i < l->level_nodes[level]; i++) {
        struct cache_block *block;
        size_t first = i * room;
        if (!open_block(l, at + i, EXT_TAG_INDEX, &block, err))
            return false;
        memset(block->data, 0, ext->block_size);
        ext_set_rec_len(block->data, ext->block_size);
        store_le16(block->data + EXT_DX_NODE_ENTRIES, (uint16_t)room);
        fill_pairs(l, block->data + EXT_DX_NODE_ENTRIES, level, first, MIN_OF(room, children - first),
                   below + first);
        ext_block_put(ext, block);
    }
    return true;
}

static bool write_index(struct rehash *l, struct error *err)
{
    struct cache_block *root;
    uint64_t below = 1, at = 1 + l->leaf_count;
    size_t children = l->leaf_count;
    for (unsigned level = 0; level < l->levels; level++) {
        if (!write_nodes(l, level, at, below, err))
            return false;
        below = at;
        children = l->level_nodes[level];
        at += children;
    }
    if (!open_block(l, 0, EXT_TAG_INDEX, &root, err))
        return false;
    ext_htree_init_root(l->ext, root, l->dir->ino, l->parent);
    ext_dxr_set_indirect_levels(root->data, l->levels);
    fill_pairs(l, root->data + EXT_DX_ROOT_ENTRIES, l->levels, 0, children, below);
    ext_block_put(l->ext, root);
    return true;
}

/* Blocks are added before anything is written:
 * a volume without room for them leaves the directory as it is. */
static bool grow(struct rehash *l, uint64_t blocks, struct error *err)
{
    while (ext_dir_blocks(l->ext, l->dir) < blocks) {
        struct cache_block *block;
        uint64_t number;
        if (!ext_dir_append(l->ext, l->dir, EXT_TAG_DIR, &number, &block, err))
            return false;
        ext_block_put(l->ext, block);
    }
    return true;
}

static bool write_all(struct rehash *l, struct error *err)
{
    struct ext_fs *ext = l->ext;
    uint64_t blocks = l->index + l->leaf_count + (l->index ? l->node_count : 0);
    uint64_t have = ext_dir_blocks(ext, l->dir);
    uint64_t flags = ext_inode_i_flags(l->dir->raw) & ~(uint64_t)EXT_FL_INDEX;
    if (!grow(l, blocks, err))
        return false;
    for (size_t i = 0; i < l->leaf_count; i++)
        if (!interrupt_check(err) || !write_leaf(l, i, err))
            return false;
    if (l->index && !write_index(l, err))
        return false;
    ext_inode_set_i_flags(l->dir->raw, flags | (l->index ? EXT_FL_INDEX : 0));
    if (blocks < have && !ext_map_remove(ext, l->dir, blocks, have, err))
        return false;
    ext_inode_set_size(ext, l->dir->raw, ext_offset(ext, blocks));
    ext_inode_dirty(ext, l->dir);
    ext_dirs_forget_one(ext, l->dir->ino);
    return true;
}

bool ext_dir_rehash(struct ext_fs *ext, struct ext_inode *dir, ext_twice_fn *twice, void *arg,
                    struct error *err)
{
    struct rehash l = {.ext = ext, .dir = dir, .twice = twice, .arg = arg};
    l.version = (unsigned)ext_super_s_def_hash_version(ext->super);
    l.version = l.version <= EXT_HASH_TEA ? l.version : EXT_HASH_HALF_MD4;
    l.version += ext->hash_unsigned ? EXT_HASH_UNSIGNED : 0;
    l.index = ext_has(ext, EXT_DIR_INDEX);
    if (ext_inode_flag(dir->raw, EXT_FL_ENCRYPT) && l.index)
        return fail(err, E_UNSUPPORTED, "names that are encrypted cannot be sorted by hash");
    bool ok = ext_dir_parent(ext, dir, &l.parent, err) && take_names(&l, err) && plan(&l, err) &&
              write_all(&l, err);
    free(l.text);
    free(l.names);
    free(l.leaves);
    return ok;
}
