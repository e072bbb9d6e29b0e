/*
 * The index of a directory: a tree over the hashes of its names. Each leaf must be named exactly once and
 * hold only names whose hashes belong there. An index that is wrong is taken away and made anew from the
 * names (as e2fsck does in its pass 3A); where that cannot be, the directory stays without one.
 */
#include "check_dir.h"

#include "alloc.h"

#include <stdlib.h>

enum { MAX_LEVELS = 3 };

struct tree {
    struct ext_checker *c;
    struct ext_inode *dir;
    uint64_t *blocks, count; /* of the directory; 0: a hole */
    uint8_t *seen;           /* by block: 1 when the tree names it */
    unsigned version;        /* of the hash, sign of characters included */
    bool hashes;             /* names can be hashed here */
    char fault[160];         /* the first thing found wrong; empty: nothing */
    uint64_t fault_off;
};

static bool wrong(struct tree *t, uint64_t off, const char *text)
{
    if (t->fault[0] == '\0') {
        t->fault_off = off;
        strncpy(t->fault, text, sizeof t->fault - 1);
    }
    return true;
}

static bool name_block(struct tree *t, uint32_t block, uint64_t off)
{
    if (block == 0 || block >= t->count || t->blocks[block] == 0) {
        wrong(t, off, "it names a block that the directory does not have");
        return false;
    }
    if (t->seen[block]) {
        wrong(t, off, "it names a block twice");
        return false;
    }
    t->seen[block] = 1;
    return true;
}

/* The hashes low..high of a leaf; with `open` those equal to high may be here, too. */
static bool check_leaf(struct tree *t, uint32_t index, uint32_t low, uint64_t high, bool open,
                       struct error *err)
{
    struct ext_fs *ext = t->c->ext;
    struct cache_block *block;
    if (!t->hashes)
        return true;
    if (!ext_block_get(ext, t->blocks[index], EXT_TAG_DIR, ext_inode_owner(t->dir), &block, err))
        return false;
    struct ext_entries run = ext_dir_entries(ext, block->data);
    bool ok = true;
    if (ext_entries_fault(ext, &run)) {
        wrong(t, block->off, "one of its leaves is damaged");
        ext_block_put(ext, block);
        return true;
    }
    for (uint32_t at = 0; ok && at < run.len && t->fault[0] == '\0'; at += ext_rec_len(ext, run.base + at)) {
        const uint8_t *entry = run.base + at;
        struct ext_name_hash hash;
        if (ext_de_inode(entry) == 0)
            continue;
        ok = ext_dir_hash(ext, t->dir, (const char *)entry + EXT_DIRENT_HEADER, ext_de_name_len(entry),
                          t->version, &hash, err);
        if (ok && (hash.major < low || hash.major > high || (hash.major == high && !open)))
            wrong(t, block->off + at, "a name is in the wrong leaf");
    }
    ext_block_put(ext, block);
    return ok;
}

static bool check_counts(struct tree *t, const struct cache_block *block, const uint8_t *counts)
{
    const struct ext_fs *ext = t->c->ext;
    uint32_t limit = load_le16(counts), count = load_le16(counts + 2), csum;
    uint32_t room =
        ext->block_size - (uint32_t)(counts - block->data) - (ext->has_csum ? EXT_DX_TAIL_SIZE : 0);
    uint64_t off = block->off + (uint64_t)(counts - block->data);
    uint8_t *tail;
    if (limit != room / EXT_DX_ENTRY_SIZE || count == 0 || count > limit) {
        wrong(t, off, "limit or count of a node is wrong");
        return false;
    }
    uint32_t seed = ext_inode_seed(ext, t->dir->ino, (uint32_t)ext_inode_i_generation(t->dir->raw));
    if (ext->has_csum && !block->dirty &&
        (!ext_index_csum(ext, seed, block->data, &csum, &tail) || ext_dxt_dt_checksum(tail) != csum))
        wrong(t, off, "the checksum of a node is wrong");
    return true;
}

static bool check_node(struct tree *t, uint32_t index, unsigned levels, uint32_t low, uint64_t high,
                       bool open, struct error *err)
{
    struct ext_fs *ext = t->c->ext;
    struct cache_block *block;
    if (!ext_block_get(ext, t->blocks[index], EXT_TAG_INDEX, ext_inode_owner(t->dir), &block, err))
        return false;
    uint8_t *counts = ext_index_counts(ext, block->data);
    bool ok = true;
    if (!counts || (index == 0) != (counts == block->data + EXT_DX_ROOT_ENTRIES))
        wrong(t, block->off, "a node is none");
    else if (check_counts(t, block, counts)) {
        uint32_t count = load_le16(counts + 2), before = low;
        for (uint32_t i = 0; ok && i < count && t->fault[0] == '\0'; i++) {
            const uint8_t *entry = counts + (size_t)i * EXT_DX_ENTRY_SIZE;
            uint32_t hash = i ? load_le32(entry) & ~1u : low, child = load_le32(entry + 4) & 0x0FFFFFFF;
            uint64_t next = high;
            bool shared = open;
            if (i + 1 < count) {
                next = load_le32(entry + EXT_DX_ENTRY_SIZE) & ~1u;
                shared = load_le32(entry + EXT_DX_ENTRY_SIZE) & 1;
            }
            uint64_t off = block->off + (uint64_t)(entry - block->data);
            if (hash < before || hash > high)
                wrong(t, off, "hashes are out of order");
            else if (name_block(t, child, off))
                ok = interrupt_check(err) &&
                     (levels ? check_node(t, child, levels - 1, hash, next, shared, err)
                             : check_leaf(t, child, hash, next, shared, err));
            before = hash;
        }
    }
    ext_block_put(ext, block);
    return ok;
}

static bool check_root(struct tree *t, struct error *err)
{
    struct ext_fs *ext = t->c->ext;
    struct cache_block *block;
    unsigned most = ext_has(ext, EXT_LARGE_DIR) ? 2 : 1;
    if (t->count == 0 || t->blocks[0] == 0)
        return wrong(t, 0, "it has no root");
    if (!ext_block_get(ext, t->blocks[0], EXT_TAG_INDEX, ext_inode_owner(t->dir), &block, err))
        return false;
    const uint8_t *root = block->data;
    unsigned version = (unsigned)ext_dxr_hash_version(root), levels = (unsigned)ext_dxr_indirect_levels(root);
    bool sip = version == EXT_HASH_SIPHASH && ext_inode_flag(t->dir->raw, EXT_FL_CASEFOLD | EXT_FL_ENCRYPT);
    if (!ext_index_counts(ext, root) || ext_dxr_unused_flags(root) != 0)
        wrong(t, block->off, "its root is damaged");
    else if (version > EXT_HASH_TEA && !sip)
        wrong(t, block->off + ext_dxr_off_hash_version, "its hash is unknown");
    else if (levels > most)
        wrong(t, block->off + ext_dxr_off_indirect_levels, "it has too many levels");
    ext_block_put(ext, block);
    t->version = version + (ext->hash_unsigned ? EXT_HASH_UNSIGNED : 0);
    t->hashes = version <= EXT_HASH_TEA;
    return t->fault[0] != '\0' || check_node(t, 0, levels, 0, UINT64_C(1) << 32, false, err);
}

/* ---- taking it away ---- */

/* The root becomes a block with `.` and `..` only. */
static void flatten_root(const struct ext_fs *ext, uint8_t *block)
{
    uint32_t self = (uint32_t)ext_de_inode(block), parent = (uint32_t)ext_de_inode(block + 12);
    ext_dir_format(ext, block);
    struct ext_entries run = ext_dir_entries(ext, block);
    if (!ext_entries_add(ext, &run, ".", 1, self, 0040000) ||
        !ext_entries_add(ext, &run, "..", 2, parent, 0040000))
        return;
}

static bool flatten(struct ext_checker *c, struct ext_inode *dir, const uint64_t *blocks, uint64_t count,
                    struct error *err)
{
    struct ext_fs *ext = c->ext;
    for (uint64_t i = 0; i < count; i++) {
        struct cache_block *block;
        if (blocks[i] == 0)
            continue;
        if (!interrupt_check(err) ||
            !ext_block_get(ext, blocks[i], EXT_TAG_DIR, ext_inode_owner(dir), &block, err))
            return false;
        if (ext_index_counts(ext, block->data)) { /* else it holds entries */
            if (i == 0)
                flatten_root(ext, block->data);
            else
                ext_dir_format(ext, block->data);
            ext_block_dirty(ext, block);
        }
        ext_block_put(ext, block);
    }
    ext_inode_set_i_flags(dir->raw, ext_inode_i_flags(dir->raw) & ~(uint64_t)EXT_FL_INDEX);
    ext_inode_dirty(ext, dir);
    ext_dirs_forget_one(ext, dir->ino);
    return true;
}

struct doubled {
    struct ext_checker *c;
    struct ext_inode *dir;
};

/* In different leaves; what loses its only name goes to lost+found. */
static void drop_twice(void *arg, uint32_t ino, const char *name, size_t len)
{
    struct doubled *d = arg;
    struct ext_check_dir *dir = ext_check_find_dir(d->c, ino);
    char shown[80];
    size_t n = MIN_OF(len, sizeof shown - 1);
    for (size_t i = 0; i < n; i++)
        shown[i] = name[i] >= ' ' && name[i] < 0x7F ? name[i] : '?';
    shown[n] = '\0';
    ext_problem(d->c, "entry-equal", ext_check_inode_off(d->dir), "directory %u: '%s' is there twice",
                d->dir->ino, shown);
    ext_check_drop_link(d->c, ino);
    if (dir)
        dir->parent = 0;
}

static bool make_anew(struct ext_checker *c, struct ext_inode *dir, struct error *err)
{
    struct doubled doubled = {c, dir};
    struct error why = {0};
    if (ext_dir_rehash(c->ext, dir, drop_twice, &doubled, &why) || why.kind == E_NOSPACE ||
        why.kind == E_UNSUPPORTED)
        return true;
    *err = why;
    return false;
}

bool ext_check_htree(struct ext_checker *c, struct ext_inode *dir, struct error *err)
{
    struct tree t = {.c = c, .dir = dir};
    if (!ext_check_dir_map(c, dir, &t.blocks, &t.count, err))
        return false;
    t.seen = mem_new(t.count + 1, err);
    bool ok = t.seen && check_root(&t, err);
    for (uint64_t i = 1; ok && i < t.count && t.fault[0] == '\0'; i++)
        if (!t.seen[i] && t.blocks[i])
            wrong(&t, ext_offset(c->ext, t.blocks[i]), "it does not name every block");
    if (ok && t.fault[0] != '\0' &&
        ext_problem(c, "directory-index", t.fault_off, "directory %u: its index is damaged: %s", dir->ino,
                    t.fault))
        ok = flatten(c, dir, t.blocks, t.count, err) && make_anew(c, dir, err);
    free(t.blocks);
    free(t.seen);
    return ok;
}
