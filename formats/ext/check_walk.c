/*
 * The blocks of one inode. With `claim` every entry is judged, wrong ones are reported (and taken out when
 * repairing), and what is right is marked as in use; without it only what is sound is visited.
 */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>

enum { MAX_REPORTS = 16 }; /* about one inode; the rest is put right in silence */

static bool problem(struct ext_walk *, const char *code, uint64_t off, const char *fmt, ...)
    DISH_PRINTF(4, 5);

static bool problem(struct ext_walk *w, const char *code, uint64_t off, const char *fmt, ...)
{
    char text[160];
    va_list args;
    if (!w->claim)
        return false;
    if (w->bad++ >= MAX_REPORTS)
        return w->c->repair && !w->c->stop;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return ext_problem(w->c, code, off, "inode %u: %s", w->inode->ino, text);
}

/* ---- runs of data ---- */

/* Clusters are shared by neighbouring runs of a file: the first of this run may be counted already. */
static bool claim_run(struct ext_walk *w, uint64_t start, uint64_t len, struct error *err)
{
    const struct ext_fs *ext = w->c->ext;
    uint64_t first = start >> ext->cluster_bits, last = (start + len - 1) >> ext->cluster_bits;
    if (ext->cluster_bits == 0) {
        w->clusters += len;
        return ext_check_claim(w->c, start, len, err);
    }
    if (first + 1 == w->last_cluster)
        first++;
    w->last_cluster = last + 1;
    if (first > last)
        return true;
    w->clusters += last - first + 1;
    uint64_t from = first << ext->cluster_bits, end = MIN_OF((last + 1) << ext->cluster_bits, ext->blocks);
    return ext_check_claim(w->c, from, end - from, err);
}

/* A file's block must lie in its cluster where it lies in the file's; bad blocks lie where they are bad. */
static bool misaligned(struct ext_walk *w, uint64_t block, uint64_t start, uint64_t off, bool *drop)
{
    uint64_t mask = ((uint64_t)1 << w->c->ext->cluster_bits) - 1;
    if (((block ^ start) & mask) == 0 || w->inode->ino == EXT_BAD_INO)
        return false;
    *drop =
        problem(w, "cluster-alignment", off, "file block %llu lies elsewhere in its cluster than in the file",
                (unsigned long long)block);
    return true;
}

static bool visit_run(struct ext_walk *w, uint64_t block, uint64_t start, uint64_t len, bool unwritten,
                      struct error *err)
{
    if (w->claim && !claim_run(w, start, len, err))
        return false;
    w->runs++;
    w->end = block + len;
    if (!unwritten)
        w->init_end = block + len;
    return !w->data || w->data(w, block, start, len, unwritten, err);
}

/* A block of a tree or map: may the inode own it? */
static bool may_own_node(struct ext_walk *w, uint64_t block, uint64_t slot_off)
{
    if (ext_check_may_own(w->c, block, 1))
        return true;
    problem(w, "block-pointer", slot_off, "block %llu cannot hold a part of its map",
            (unsigned long long)block);
    return false;
}

/* Does nobody else own it? */
static bool take_node(struct ext_walk *w, uint64_t block, uint64_t slot_off, bool *sound, struct error *err)
{
    struct ext_checker *c = w->c;
    uint64_t shared = c->dup.total;
    *sound = true;
    if (!w->claim)
        return !w->node || w->node(w, block, err);
    if (!ext_check_claim(c, block, 1, err))
        return false;
    if (c->dup.total != shared || ranges_overlaps(&c->dup, block, 1)) {
        problem(w, "shared-node", slot_off, "block %llu of its map is in use elsewhere",
                (unsigned long long)block);
        *sound = false;
        uint64_t size = (uint64_t)1 << c->ext->cluster_bits; /* dropping the pointer settles it */
        return !c->repair || ranges_remove(&c->dup, round_down(block, size), size, err);
    }
    w->clusters++;
    return true;
}

/* ---- extent trees ---- */

struct node {
    uint8_t *raw;
    struct cache_block *block; /* NULL: in the inode */
    uint64_t off;
    unsigned depth;
};

static const char *header_fault(const uint8_t *node, size_t room, unsigned depth)
{
    if (ext_eh_eh_magic(node) != EXT_EXTENT_MAGIC)
        return "eh_magic is not 0xf30a";
    if (ext_eh_eh_max(node) == 0 || ext_eh_eh_max(node) > room)
        return "eh_max is wrong";
    if (ext_eh_eh_entries(node) > ext_eh_eh_max(node))
        return "eh_entries is more than eh_max";
    return ext_eh_eh_depth(node) != depth ? "eh_depth is wrong" : NULL;
}

static void node_changed(struct ext_walk *w, const struct node *n)
{
    if (n->block)
        ext_block_dirty(w->c->ext, n->block);
    else
        ext_inode_dirty(w->c->ext, w->inode);
}

static void drop_entry(struct ext_walk *w, const struct node *n, uint32_t i)
{
    uint32_t count = (uint32_t)ext_eh_eh_entries(n->raw);
    uint8_t *entry = n->raw + EXT_EXTENT_ENTRY * (i + 1);
    memmove(entry, entry + EXT_EXTENT_ENTRY, (size_t)EXT_EXTENT_ENTRY * (count - i - 1));
    memset(n->raw + (size_t)EXT_EXTENT_ENTRY * count, 0, EXT_EXTENT_ENTRY);
    ext_eh_set_eh_entries(n->raw, count - 1);
    node_changed(w, n);
}

/* The first block after the last one that an extent may map:
 * a directory has at most 2 GiB, unless large_dir. */
static uint64_t end_of_map(const struct ext_walk *w)
{
    const struct ext_fs *ext = w->c->ext;
    return w->directory && !ext_has(ext, EXT_LARGE_DIR) ? UINT64_C(1) << (31 - ext->block_bits) : UINT32_MAX;
}

/* An extent that reaches over the next one, which by itself would be in order,
 * is the wrong one of the two. */
static bool over_next(const struct node *n, const uint8_t *entry, uint64_t low, uint64_t end)
{
    const uint8_t *next = entry + EXT_EXTENT_ENTRY;
    const uint8_t *behind = n->raw + EXT_EXTENT_ENTRY * (ext_eh_eh_entries(n->raw) + 1);
    return next < behind && ext_ee_ee_block(next) >= low && ext_ee_ee_block(next) < end;
}

/* A leaf's entry. *drop: it is wrong and is to go; *sound: it may be visited. */
static bool check_extent(struct ext_walk *w, const struct node *n, uint8_t *entry, uint64_t *low,
                         uint64_t high, bool *drop, struct error *err)
{
    uint64_t off = n->off + (uint64_t)(entry - n->raw), block = ext_ee_ee_block(entry),
             len = ext_ee_ee_len(entry);
    uint64_t start = ext_ee_ee_start_lo(entry) | ext_ee_ee_start_hi(entry) << 32;
    bool unwritten = len > EXT_EXTENT_INIT_MAX;
    len -= unwritten ? EXT_EXTENT_INIT_MAX : 0;
    if (len == 0 || block < *low || block + len > high || over_next(n, entry, *low, block + len)) {
        *drop = problem(w, "extent-order", off,
                        "the extent of file block %llu has length %llu, out of order or place",
                        (unsigned long long)block, (unsigned long long)len);
        return true;
    }
    if (!ext_check_may_hold(w->c, start, len)) {
        *drop = problem(w, "extent-range", off,
                        "the extent of file block %llu lies at block %llu, outside or on descriptors",
                        (unsigned long long)block, (unsigned long long)start);
        return true;
    }
    if (misaligned(w, block, start, off, drop))
        return true;
    if (unwritten && w->directory &&
        problem(w, "extent-unwritten", off, "directory block %llu was never written",
                (unsigned long long)block)) {
        ext_ee_set_ee_len(entry, len);
        node_changed(w, n);
        unwritten = false;
    }
    *low = block + len;
    return visit_run(w, block, start, len, unwritten, err);
}

static bool walk_node(struct ext_walk *w, struct node *n, uint64_t low, uint64_t high, struct error *err);

/* A node that was read and whose header is sound: its checksum, its owner, its entries. */
static bool check_child(struct ext_walk *w, const struct node *n, uint8_t *entry, struct node *child,
                        uint64_t low, uint64_t high, bool *drop, struct error *err)
{
    struct ext_fs *ext = w->c->ext;
    uint64_t off = n->off + (uint64_t)(entry - n->raw), at = child->off >> ext->block_bits;
    uint32_t seed = ext_inode_seed(ext, w->inode->ino, (uint32_t)ext_inode_i_generation(w->inode->raw));
    bool sound, repair = w->claim && w->c->repair;
    if (!take_node(w, at, off, &sound, err))
        return false;
    *drop = !sound && repair;
    if (!sound)
        return true;
    if (ext->has_csum && !child->block->dirty &&
        load_le32(ext_extent_tail(child->raw)) != ext_extent_csum(seed, child->raw) &&
        problem(w, "extent-checksum", child->off, "the checksum of an extent node is wrong"))
        ext_block_dirty(ext, child->block);
    if (!walk_node(w, child, low, high, err))
        return false;
    if (repair && ext_eh_eh_entries(child->raw) == 0) { /* all that it held was wrong */
        *drop = true;
        w->clusters--;
        return ext_check_unclaim(w->c, at, err);
    }
    uint64_t first = ext_eh_eh_entries(child->raw) ? ext_ei_ei_block(child->raw + EXT_EXTENT_ENTRY) : low;
    if (first != low &&
        problem(w, "extent-index", off, "an index entry says file block %llu, its node begins with %llu",
                (unsigned long long)low, (unsigned long long)first)) {
        ext_ei_set_ei_block(entry, first);
        node_changed(w, n);
    }
    return true;
}

/* What an index entry points to, read and judged. *drop: it cannot be used and is to go. */
static bool walk_child(struct ext_walk *w, const struct node *n, uint8_t *entry, uint64_t low, uint64_t high,
                       bool *drop, struct error *err)
{
    struct ext_fs *ext = w->c->ext;
    uint64_t off = n->off + (uint64_t)(entry - n->raw),
             at = ext_ei_ei_leaf_lo(entry) | ext_ei_ei_leaf_hi(entry) << 32;
    size_t room = (ext->block_size - EXT_EXTENT_ENTRY) / EXT_EXTENT_ENTRY;
    struct node child = {.depth = n->depth - 1};
    if (!may_own_node(w, at, off)) {
        *drop = w->claim && w->c->repair;
        return true;
    }
    if (!ext_block_get(ext, at, EXT_TAG_EXTENTS, ext_inode_owner(w->inode), &child.block, err))
        return false;
    child.raw = child.block->data;
    child.off = child.block->off;
    const char *fault = header_fault(child.raw, room, (unsigned)ext_eh_eh_depth(child.raw));
    bool ok = true, astray = !fault && ext_eh_eh_depth(child.raw) != child.depth;
    if (astray && problem(w, "extent-header", child.off, "extent node: eh_depth is %u, not %u",
                          (unsigned)ext_eh_eh_depth(child.raw), child.depth)) {
        ext_eh_set_eh_depth(child.raw, child.depth);
        ext_block_dirty(ext, child.block);
        astray = false;
    }
    if (fault)
        *drop = problem(w, "extent-header", child.off, "extent node: %s", fault);
    else if (!astray)
        ok = check_child(w, n, entry, &child, low, high, drop, err);
    ext_block_put(ext, child.block);
    return ok;
}

static bool walk_node(struct ext_walk *w, struct node *n, uint64_t low, uint64_t high, struct error *err)
{
    for (uint32_t i = 0; i < ext_eh_eh_entries(n->raw) && !w->c->stop; i++) {
        uint8_t *entry = n->raw + EXT_EXTENT_ENTRY * (i + 1);
        bool drop = false;
        if (!interrupt_check(err))
            return false;
        if (n->depth == 0) {
            if (!check_extent(w, n, entry, &low, high, &drop, err))
                return false;
        } else {
            uint64_t block = ext_ei_ei_block(entry), end = high;
            if (i + 1 < ext_eh_eh_entries(n->raw))
                end = ext_ei_ei_block(entry + EXT_EXTENT_ENTRY);
            if (block < low || block >= high || end <= block) {
                drop =
                    problem(w, "extent-order", n->off + (uint64_t)(entry - n->raw),
                            "the index entry of file block %llu is out of order", (unsigned long long)block);
            } else {
                if (!walk_child(w, n, entry, block, MIN_OF(end, high), &drop, err))
                    return false;
                low = MAX_OF(w->end, block);
            }
        }
        if (drop)
            drop_entry(w, n, i--);
    }
    return true;
}

static bool walk_extents(struct ext_walk *w, struct error *err)
{
    uint8_t *root = ext_inode_i_block(w->inode->raw);
    struct node n = {.raw = root, .off = ext_check_inode_off(w->inode) + ext_inode_off_i_block};
    n.depth = (unsigned)ext_eh_eh_depth(root);
    const char *fault = header_fault(root, EXT_I_BLOCK_SIZE / EXT_EXTENT_ENTRY - 1, n.depth);
    if (!fault && n.depth > EXT_EXTENT_MAX_DEPTH)
        fault = "eh_depth is more than 5";
    if (!fault && !walk_node(w, &n, 0, end_of_map(w), err))
        return false;
    bool emptied = !fault && n.depth > 0 && ext_eh_eh_entries(root) == 0 && w->claim && w->c->repair;
    if (emptied || (fault && problem(w, "extent-header", n.off, "extent tree: %s", fault))) {
        memset(root, 0, EXT_I_BLOCK_SIZE);
        ext_eh_set_eh_magic(root, EXT_EXTENT_MAGIC);
        ext_eh_set_eh_max(root, EXT_I_BLOCK_SIZE / EXT_EXTENT_ENTRY - 1);
        ext_inode_dirty(w->c->ext, w->inode);
    }
    return true;
}

/* ---- block maps ---- */

struct map {
    struct ext_walk *w;
    uint64_t block, start, len; /* run gathered so far */
};

static bool settle(struct map *m, struct error *err)
{
    uint64_t len = m->len;
    m->len = 0;
    return len == 0 || visit_run(m->w, m->block, m->start, len, false, err);
}

/* One pointer: a data block (depth 0) or a block of pointers. *clear: it is wrong and is to go. */
static bool walk_pointer(struct map *m, uint64_t at, uint64_t block, unsigned depth, uint64_t slot_off,
                         bool *clear, struct error *err)
{
    struct ext_walk *w = m->w;
    struct ext_fs *ext = w->c->ext;
    struct cache_block *index;
    if (depth == 0) {
        if (!ext_check_may_hold(w->c, at, 1)) {
            *clear = problem(w, "block-pointer", slot_off,
                             "file block %llu lies at block %llu, outside or on descriptors",
                             (unsigned long long)block, (unsigned long long)at);
            return true;
        }
        if (misaligned(w, block, at, slot_off, clear))
            return true;
        if (m->len && m->start + m->len == at && m->block + m->len == block) {
            m->len++;
            return true;
        }
        if (!settle(m, err))
            return false;
        m->block = block;
        m->start = at;
        m->len = 1;
        return true;
    }
    bool sound, changed = false;
    if (!settle(m, err))
        return false;
    sound = may_own_node(w, at, slot_off);
    if (sound && !take_node(w, at, slot_off, &sound, err))
        return false;
    *clear = !sound && w->claim && w->c->repair;
    if (!sound || ++w->nodes > ext->blocks) /* more than there can be: some are there many times */
        return true;
    if (!ext_block_get(ext, at, EXT_TAG_NONE, 0, &index, err))
        return false;
    uint32_t room = ext->block_size / 4;
    uint64_t span = 1;
    for (unsigned i = 1; i < depth; i++)
        span *= room;
    bool ok = true;
    for (uint32_t i = 0; ok && i < room && !w->c->stop; i++) {
        uint32_t next = load_le32(index->data + (size_t)4 * i);
        bool wrong = false;
        ok = next == 0 || (interrupt_check(err) && walk_pointer(m, next, block + i * span, depth - 1,
                                                                index->off + (uint64_t)4 * i, &wrong, err));
        if (ok && wrong) {
            store_le32(index->data + (size_t)4 * i, 0);
            changed = true;
        }
    }
    if (changed)
        ext_block_dirty(ext, index);
    ext_block_put(ext, index);
    return ok;
}

static bool walk_map(struct ext_walk *w, struct error *err)
{
    struct map m = {.w = w};
    uint8_t *i_block = ext_inode_i_block(w->inode->raw);
    uint64_t room = w->c->ext->block_size / 4, block = 0;
    for (unsigned i = 0; i < EXT_N_BLOCKS && !w->c->stop; i++) {
        unsigned depth = i < EXT_NDIR ? 0 : i - EXT_NDIR + 1;
        uint32_t at = load_le32(i_block + (size_t)4 * i);
        bool clear = false;
        if (at && !walk_pointer(&m, at, block, depth,
                                ext_check_inode_off(w->inode) + ext_inode_off_i_block + 4 * i, &clear, err))
            return false;
        if (clear) {
            store_le32(i_block + (size_t)4 * i, 0);
            ext_inode_dirty(w->c->ext, w->inode);
        }
        block += depth == 0 ? 1 : depth == 1 ? room : depth == 2 ? room * room : 0;
    }
    return settle(&m, err);
}

bool ext_check_walk(struct ext_walk *w, struct error *err)
{
    if (!ext_inode_has_blocks(w->c->ext, w->inode->raw))
        return true;
    return ext_inode_flag(w->inode->raw, EXT_FL_EXTENTS) ? walk_extents(w, err) : walk_map(w, err);
}
