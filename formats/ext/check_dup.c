/*
 * Pass 1B: blocks that belong to several inodes, or to the volume itself and an inode. The volume, else the
 * inode with the lowest number keeps them; each other one gets a copy, cluster by cluster. Blocks of a tree,
 * map or of attributes are kept before data.
 */
#include "check.h"

#include "alloc.h"

#include <stdlib.h>

enum { MAX_CLUSTER_COPY = 16 << 20, MAX_INDEX_BLOCKS = 16 /* that one copy may need */ };

struct claims {
    struct ext_checker *c;
    struct ranges seen; /* shared blocks whose owner was found */
    struct ranges mine; /* blocks of the inode being looked at that it must give up: file blocks */
    uint64_t first;     /* the first of them on the volume */
    uint64_t room;      /* clusters that are free */
};

/* Which file blocks of this inode lie on blocks that another one owns already. */
static bool find_shared(struct ext_walk *w, uint64_t block, uint64_t start, uint64_t len, bool unwritten,
                        struct error *err)
{
    struct claims *k = w->arg;
    uint64_t mask = ((uint64_t)1 << k->c->ext->cluster_bits) - 1, end = start + len, at = start;
    struct range dup;
    (void)unwritten;
    while (at < end && ranges_next(&k->c->dup, at, &dup) && dup.start < end) {
        uint64_t stop = MIN_OF(dup.start + dup.len, end);
        for (uint64_t b = dup.start & ~mask; b < stop; b += mask + 1) {
            uint64_t from = MAX_OF(b, start), to = MIN_OF(b + mask + 1, end);
            if (!ranges_contains(&k->seen, b, 1) && !ranges_overlaps(&k->c->meta, b, mask + 1)) {
                if (!ranges_add(&k->seen, b, mask + 1, err))
                    return false;
                continue;
            }
            if (k->mine.total == 0)
                k->first = from;
            if (!ranges_add(&k->mine, block + (from - start), to - from, err))
                return false;
        }
        at = stop;
    }
    return true;
}

/* ---- copying ------------------------------------------------------------------------------------------- */

/* The mapped blocks of one cluster of a file, read into `data`; holes are marked by length 0. */
struct piece {
    struct ext_mapping map;
    uint8_t *data;
};

static bool copy_piece(struct ext_fs *ext, struct ext_inode *inode, const struct piece *p, struct error *err)
{
    uint64_t at = p->map.block, end = at + p->map.len;
    while (at < end) {
        struct ext_mapping m;
        if (!ext_map_fill(ext, inode, at, end - at, p->map.unwritten, &m, err))
            return false;
        const uint8_t *from = p->data + ((at - p->map.block) << ext->block_bits);
        if (!device_write(ext->dev, ext_offset(ext, m.start), from, (size_t)(m.len << ext->block_bits),
                          WRITE_UPDATE, err))
            return false;
        at += m.len;
    }
    return true;
}

/* Give file blocks first..end (of one cluster) blocks of their own. The old ones stay with their other owner.
 */
static bool copy_cluster(struct ext_checker *c, struct ext_inode *inode, uint64_t first, uint64_t end,
                         struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct piece pieces[64];
    size_t count = 0;
    bool ok = true;
    if (ext->cluster_size > MAX_CLUSTER_COPY)
        return fail(err, E_UNSUPPORTED, "clusters of %u bytes are too large to copy", ext->cluster_size);
    for (uint64_t at = first; ok && at < end;) {
        struct piece *p = &pieces[count];
        ok = ext_map(ext, inode, at, &p->map, err);
        if (!ok)
            break;
        p->map.len = MIN_OF(p->map.len, end - at);
        at += p->map.len;
        if (p->map.start == 0)
            continue;
        p->data = mem_new((size_t)(p->map.len << ext->block_bits), err);
        ok = p->data && device_read(ext->dev, ext_offset(ext, p->map.start), p->data,
                                    (size_t)(p->map.len << ext->block_bits), err);
        count++;
        if (count == ARRAY_LEN(pieces) && at < end)
            ok = fail(err, E_UNSUPPORTED, "a cluster in more than %zu pieces", ARRAY_LEN(pieces));
    }
    ok = ok && ext_map_remove(ext, inode, first, end, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = copy_piece(ext, inode, &pieces[i], err);
    for (size_t i = 0; i < count; i++)
        free(pieces[i].data);
    return ok;
}

static uint64_t count_room(const struct ext_checker *c)
{
    uint64_t room = 0;
    for (uint32_t group = 0; group < c->ext->groups; group++) {
        uint32_t count = ext_group_clusters(c->ext, group);
        ext_check_block_bits(c, group, c->scratch);
        room += count - ext_bits_count(c->scratch, 0, count);
    }
    return room;
}

/* Copies as long as there is room for them and for index blocks; what finds none becomes a hole. */
static bool copy_shared(struct claims *k, struct ext_inode *inode, struct error *err)
{
    struct ext_fs *ext = k->c->ext;
    uint64_t mask = ((uint64_t)1 << ext->cluster_bits) - 1, at = 0, lost = 0;
    struct range run;
    while (ranges_next(&k->mine, at, &run)) {
        uint64_t end = mask ? (run.start | mask) + 1 : run.start + MIN_OF(run.len, 64);
        uint64_t first = run.start & ~mask, clusters = (end - first) >> ext->cluster_bits;
        bool fits = k->room >= clusters + MAX_INDEX_BLOCKS, ok = interrupt_check(err);
        if (ok && fits)
            ok = copy_cluster(k->c, inode, first, end, err);
        else if (ok)
            ok = ext_map_remove(ext, inode, first, end, err);
        if (!ok)
            return because(err, "inode %u", inode->ino);
        k->room -= fits ? clusters + 1 : 0;
        lost += fits ? 0 : end - first;
        at = end;
    }
    if (lost)
        check_found(k->c->check, FINDING_NOTE, "shared-blocks", NULL, 0, false,
                    "inode %u: no room for copies of %llu blocks, which are a hole now", inode->ino,
                    (unsigned long long)lost);
    return true;
}

/* ---- all inodes ---------------------------------------------------------------------------------------- */

static bool keep_structure(struct claims *k, uint64_t block, struct error *err)
{
    uint64_t size = (uint64_t)1 << k->c->ext->cluster_bits;
    return !ranges_overlaps(&k->c->dup, block, 1) || ranges_add(&k->seen, round_down(block, size), size, err);
}

static bool keep_node(struct ext_walk *w, uint64_t block, struct error *err)
{
    return keep_structure(w->arg, block, err);
}

/* Shared blocks that are this inode's and hold no data. */
static bool look_for_structures(struct claims *k, uint32_t ino, struct error *err)
{
    struct ext_inode inode;
    if (!ext_check_inode(k->c, ino, &inode, err))
        return false;
    struct ext_walk walk = {.c = k->c, .inode = &inode, .node = keep_node, .arg = k};
    uint64_t attributes = ext_inode_acl_block(k->c->ext, inode.raw);
    bool ok = ext_check_walk(&walk, err) && (attributes == 0 || keep_structure(k, attributes, err));
    ext_inode_put(k->c->ext, &inode);
    return ok;
}

static bool look_at(struct claims *k, uint32_t ino, struct error *err)
{
    struct ext_inode inode;
    if (!ext_check_inode(k->c, ino, &inode, err))
        return false;
    struct ext_walk walk = {.c = k->c, .inode = &inode, .data = find_shared, .arg = k};
    bool ok = ext_check_walk(&walk, err);
    uint64_t off = ext_check_inode_off(&inode) + ext_inode_off_i_block;
    if (ok && k->mine.total &&
        ext_problem(k->c, "shared-blocks", off,
                    "inode %u: %llu of its blocks belong to another inode or the volume, first block %llu",
                    ino, (unsigned long long)k->mine.total, (unsigned long long)k->first))
        ok = copy_shared(k, &inode, err);
    ranges_clear(&k->mine);
    ext_inode_put(k->c->ext, &inode);
    return ok;
}

static bool each_used(struct claims *k, bool (*fn)(struct claims *, uint32_t ino, struct error *),
                      struct error *err)
{
    const struct ext_checker *c = k->c;
    for (uint32_t group = 0; group < c->ext->groups; group++) {
        uint32_t first = group * c->ext->inodes_per_group + 1;
        for (uint32_t i = 0; c->inodes[group] && i < c->ext->inodes_per_group; i++) {
            if (c->stop)
                return true;
            if (ext_check_inode_used(c, first + i) && first + i != EXT_RESIZE_INO &&
                (!interrupt_check(err) || !fn(k, first + i, err)))
                return false;
        }
    }
    return true;
}

bool ext_check_dups(struct ext_checker *c, struct error *err)
{
    struct claims k = {.c = c};
    if (c->dup.total == 0)
        return true;
    if (c->repair && (!ext_flush(c->ext, err) || !ranges_copy(&c->dup, &c->ext->kept, err)))
        return false;
    k.room = count_room(c);
    bool ok = each_used(&k, look_for_structures, err) && each_used(&k, look_at, err);
    ranges_clear(&c->ext->kept);
    ranges_clear(&k.seen);
    ranges_clear(&k.mine);
    return ok;
}
