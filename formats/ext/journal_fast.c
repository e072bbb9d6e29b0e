/*
 * Fast commits: what changed since the last whole transaction, as short records of names, inodes and ranges.
 * Each is a train of records that ends with a tail: transaction and checksum. Specification: "Fast Commits"
 * in "Journal (jbd2)", and fs/ext4's documentation of its tags. The records are carried out through the same
 * functions as any other change, on a volume of its own on the replayed device.
 */
#include "journal.h"

#include "alloc.h"
#include "checksum.h"

#include <stdlib.h>
#include <sys/stat.h>

enum fast_tag {
    FAST_ADD_RANGE = 1,
    FAST_DEL_RANGE = 2,
    FAST_CREATE = 3,
    FAST_LINK = 4,
    FAST_UNLINK = 5,
    FAST_INODE = 6,
    FAST_PAD = 7,
    FAST_TAIL = 8,
    FAST_HEAD = 9,
};

enum { TAG_HEADER = 4 };

struct record {
    enum fast_tag tag;
    uint32_t len;
    const uint8_t *bytes; /* len of them */
};

struct fast {
    struct ext_journal *j;
    struct ext_fs *view; /* the volume that is changed */
    uint64_t valid;      /* records up to the last good tail */
    uint64_t seen;       /* records read in this pass */
    uint32_t crc;
    bool started, stop;
    uint32_t *touched; /* inodes to look after at the end */
    size_t touched_count, touched_capacity;
    uint8_t *bits; /* one bitmap */
};

typedef bool record_fn(struct fast *, const struct record *, const uint8_t *header, struct error *);

/* Every record of the area, block by block. */
static bool each_record(struct fast *f, record_fn *fn, struct error *err)
{
    struct ext_journal *j = f->j;
    f->seen = 0;
    f->stop = false;
    for (uint32_t block = j->fast_first; !f->stop && block < j->blocks; block++) {
        if (!interrupt_check(err) || !ext_journal_read(j, block, j->block, err))
            return false;
        uint32_t at = 0, size = j->ext->block_size;
        while (!f->stop && at + TAG_HEADER <= size) {
            const uint8_t *header = j->block + at;
            struct record r = {load_le16(header), load_le16(header + 2), header + TAG_HEADER};
            if (r.tag == 0 || r.len > size - at - TAG_HEADER) {
                f->stop = f->seen == 0 || r.tag != 0;
                break;
            }
            f->seen++;
            if (!fn(f, &r, header, err))
                return false;
            at += TAG_HEADER + r.len;
        }
    }
    return true;
}

/* ---- scan ---------------------------------------------------------------------------------------------- */

/* Counts the records that a good tail ends; anything that does not fit ends the scan. */
static bool scan_record(struct fast *f, const struct record *r, const uint8_t *header, struct error *err)
{
    uint32_t expected = f->j->end_tid;
    if (!f->started && r->tag != FAST_HEAD) {
        f->stop = true;
        return true;
    }
    switch (r->tag) {
    case FAST_HEAD:
        if (r->len >= 8 && load_le32(r->bytes) != 0)
            return fail(err, E_UNSUPPORTED, "unknown features 0x%x", (unsigned)load_le32(r->bytes));
        f->stop = r->len < 8 || load_le32(r->bytes + 4) != expected;
        f->started = true;
        f->crc = crc32c(f->crc, header, TAG_HEADER + r->len);
        break;
    case FAST_TAIL:
        f->stop = r->len < 8 || load_le32(r->bytes) != expected ||
                  load_le32(r->bytes + 4) != crc32c(f->crc, header, TAG_HEADER + 4);
        if (!f->stop)
            f->valid = f->seen;
        f->crc = 0;
        break;
    case FAST_ADD_RANGE:
    case FAST_DEL_RANGE:
    case FAST_CREATE:
    case FAST_LINK:
    case FAST_UNLINK:
    case FAST_INODE:
    case FAST_PAD:
        f->crc = crc32c(f->crc, header, TAG_HEADER + r->len);
        break;
    default:
        f->stop = true;
    }
    return true;
}

/* ---- inodes -------------------------------------------------------------------------------------------- */

static bool touch(struct fast *f, uint32_t ino, struct error *err)
{
    for (size_t i = f->touched_count; i-- > 0 && f->touched_count - i < 64;)
        if (f->touched[i] == ino)
            return true;
    if (!mem_grow(&f->touched, &f->touched_capacity, f->touched_count + 1, sizeof *f->touched, err))
        return false;
    f->touched[f->touched_count++] = ino;
    return true;
}

static bool check_ino(const struct fast *f, uint32_t ino, struct error *err)
{
    const struct ext_fs *v = f->view;
    if (ino == EXT_ROOT_INO || (ino >= v->first_ino && ino <= v->inodes))
        return true;
    return fail(err, E_DAMAGED, "a record names inode %u", ino);
}

static bool inode_in_use(struct fast *f, uint32_t ino, bool *used, struct error *err)
{
    struct ext_fs *v = f->view;
    if (!ext_bitmap_read(v, EXT_INODE_BITMAP, ext_group_of_inode(v, ino), f->bits, err))
        return false;
    *used = ext_bit(f->bits, (ino - 1) % v->inodes_per_group);
    return true;
}

/* Fields of the record's inode go into ours; what i_block says is ours where it addresses blocks. */
static void merge_inode(struct ext_fs *v, uint8_t *ours, const uint8_t *theirs, uint32_t len, bool created)
{
    uint8_t old[EXT_I_BLOCK_SIZE];
    uint64_t size = ext_inode_size(v, ours), flags = ext_inode_i_flags(ours),
             units = ext_inode_i_blocks_lo(ours);
    uint64_t units_high = ext_inode_i_blocks_high(ours);
    bool directory = S_ISDIR(ext_inode_i_mode(theirs)) && !created;
    bool mapped = (ext_inode_i_flags(theirs) & EXT_FL_EXTENTS) || S_ISREG(ext_inode_i_mode(theirs)) ||
                  S_ISDIR(ext_inode_i_mode(theirs));
    if (ext_inode_i_flags(theirs) & EXT_FL_INLINE_DATA)
        mapped = false;
    memcpy(old, ext_inode_i_block(ours), sizeof old);
    memcpy(ours, theirs, len);
    if (mapped)
        memcpy(ext_inode_i_block(ours), old, sizeof old);
    ext_inode_set_i_blocks_lo(ours, created ? 0 : units);
    ext_inode_set_i_blocks_high(ours, created ? 0 : units_high);
    if (directory) { /* its blocks are what the names that are added and removed make of it */
        ext_inode_set_size(v, ours, size);
        ext_inode_set_i_flags(ours,
                              (ext_inode_i_flags(ours) & ~(uint64_t)EXT_FL_INDEX) | (flags & EXT_FL_INDEX));
    }
}

static bool replay_inode(struct fast *f, const struct record *r, struct error *err)
{
    struct ext_fs *v = f->view;
    if (r->len < 4 + EXT_GOOD_OLD_INODE_SIZE)
        return fail(err, E_DAMAGED, "a record of an inode has only %u bytes", r->len);
    uint32_t ino = load_le32(r->bytes), len = MIN_OF(r->len - 4, v->inode_size);
    const uint8_t *theirs = r->bytes + 4;
    bool used, directory = S_ISDIR(ext_inode_i_mode(theirs));
    struct ext_inode inode;
    if (!check_ino(f, ino, err) || !inode_in_use(f, ino, &used, err) || !touch(f, ino, err))
        return false;
    if (!used && !ext_inode_take(v, ino, directory, err))
        return false;
    if (!ext_inode_get_raw(v, ino, &inode, err))
        return false;
    bool created = !used || ext_inode_i_links_count(inode.raw) == 0;
    if (!used)
        memset(inode.raw, 0, v->inode_size);
    merge_inode(v, inode.raw, theirs, len, !used);
    if (created && (ext_inode_i_flags(inode.raw) & EXT_FL_EXTENTS) &&
        load_le16(ext_inode_i_block(inode.raw)) != EXT_EXTENT_MAGIC)
        ext_map_init(v, &inode);
    ext_inode_dirty(v, &inode);
    ext_inode_put(v, &inode);
    return true;
}

/* ---- ranges -------------------------------------------------------------------------------------------- */

/* Mark blocks as used that are not yet; *taken counts them. */
static bool claim(struct fast *f, uint64_t start, uint64_t len, uint64_t *taken, struct error *err)
{
    struct ext_fs *v = f->view;
    *taken = 0;
    if (!ext_blocks_valid(v, start, len))
        return fail(err, E_DAMAGED, "a record names blocks %llu+%llu", (unsigned long long)start,
                    (unsigned long long)len);
    uint64_t end = start + len;
    while (start < end) {
        uint32_t group = ext_group_of_block(v, start);
        uint64_t first = ext_group_first_block(v, group);
        uint64_t stop = MIN_OF(end, first + ext_group_blocks(v, group));
        uint32_t at = (uint32_t)((start - first) >> v->cluster_bits);
        uint32_t last = (uint32_t)((stop - 1 - first) >> v->cluster_bits) + 1;
        if (!ext_bitmap_read(v, EXT_BLOCK_BITMAP, group, f->bits, err))
            return false;
        while ((at = ext_bits_next_clear(f->bits, at, last)) < last) {
            uint32_t run = ext_bits_next_set(f->bits, at, last);
            if (!ext_blocks_take(v, first + ((uint64_t)at << v->cluster_bits),
                                 (uint64_t)(run - at) << v->cluster_bits, err))
                return false;
            *taken += (uint64_t)(run - at) << v->cluster_bits;
            at = run;
        }
        start = stop;
    }
    return true;
}

/* One piece of an added range: nothing, other blocks, or these blocks are mapped there. */
static bool add_piece(struct fast *f, struct ext_inode *inode, const struct ext_mapping *want, uint64_t *done,
                      struct error *err)
{
    struct ext_fs *v = f->view;
    struct ext_mapping now;
    if (!ext_map(v, inode, want->block, &now, err))
        return false;
    uint64_t n = MIN_OF(now.len, want->len);
    *done = n;
    if (now.start == want->start)
        return !now.unwritten || want->unwritten || ext_map_written(v, inode, want->block, n, err);
    if (now.start != 0 && !ext_map_remove(v, inode, want->block, want->block + n, err))
        return false;
    struct ext_mapping put = *want;
    put.len = n;
    uint64_t taken;
    if (!claim(f, put.start, n, &taken, err) || !ext_map_insert(v, inode, &put, err))
        return false;
    return ext_inode_charge(v, inode, (int64_t)(v->cluster_bits ? taken : n), err);
}

static bool replay_range(struct fast *f, const struct record *r, struct error *err)
{
    struct ext_fs *v = f->view;
    struct ext_inode inode;
    uint32_t ino = r->len >= 12 ? load_le32(r->bytes) : 0;
    if (!check_ino(f, ino, err) || !touch(f, ino, err) || !ext_inode_get(v, ino, &inode, err))
        return false;
    const uint8_t *p = r->bytes + 4;
    bool ok = true;
    if (r->tag == FAST_DEL_RANGE) {
        uint64_t first = load_le32(p), most = ext_map_max_block(v, &inode);
        uint64_t end = MIN_OF(first + load_le32(p + 4), most);
        ok = first >= end || ext_map_remove(v, &inode, first, end, err);
    } else if (r->len < 4 + EXT_EXTENT_ENTRY) {
        ok = fail(err, E_DAMAGED, "a record of a range is too short");
    } else {
        uint64_t len = ext_ee_ee_len(p);
        struct ext_mapping want = {.block = ext_ee_ee_block(p), .unwritten = len > EXT_EXTENT_INIT_MAX};
        want.start = ext_ee_ee_start_lo(p) | ext_ee_ee_start_hi(p) << 32;
        want.len = want.unwritten ? len - EXT_EXTENT_INIT_MAX : len;
        ok = want.start != 0 || fail(err, E_DAMAGED, "a record maps inode %u to block 0", ino);
        while (ok && want.len) {
            uint64_t done = 0;
            ok = add_piece(f, &inode, &want, &done, err);
            want.block += done;
            want.start += done;
            want.len -= done;
        }
    }
    ext_inode_put(v, &inode);
    return ok;
}

/* ---- names --------------------------------------------------------------------------------------------- */

static void add_links(struct ext_inode *inode, int by)
{
    uint64_t links = ext_inode_i_links_count(inode->raw);
    if (by > 0)
        ext_inode_set_i_links_count(inode->raw, MIN_OF(links + 1, EXT_LINK_MAX));
    else if (S_ISDIR(ext_inode_i_mode(inode->raw)))
        ext_inode_set_i_links_count(inode->raw, 0);
    else if (links)
        ext_inode_set_i_links_count(inode->raw, links - 1);
}

struct name {
    uint32_t dir, ino;
    const char *bytes;
    uint32_t len;
};

static bool link_name(struct fast *f, enum fast_tag tag, struct ext_inode *dir, struct ext_inode *inode,
                      const struct name *name, struct error *err)
{
    struct ext_fs *v = f->view;
    struct error missing = {0};
    uint32_t found;
    bool there = ext_dir_find(v, dir, name->bytes, name->len, &found, &missing);
    if (!there && missing.kind != E_NOENT) {
        *err = missing;
        return false;
    }
    bool same = there && found == name->ino;
    if (tag == FAST_UNLINK) {
        if (!same)
            return true;
        add_links(inode, -1);
        ext_inode_dirty(v, inode);
        return ext_dir_remove(v, dir, name->bytes, name->len, err);
    }
    if (same)
        return true;
    if (there && !ext_dir_remove(v, dir, name->bytes, name->len, err))
        return false;
    if (tag == FAST_CREATE && S_ISDIR(ext_inode_i_mode(inode->raw)) && ext_inode_units(v, inode->raw) == 0 &&
        !ext_inode_flag(inode->raw, EXT_FL_INLINE_DATA)) {
        ext_inode_set_size(v, inode->raw, 0);
        if (!ext_dir_init(v, inode, name->dir, err))
            return false;
    }
    if (tag == FAST_LINK) {
        add_links(inode, 1);
        ext_inode_dirty(v, inode);
    }
    return ext_dir_add(v, dir, name->bytes, name->len, name->ino, (uint32_t)ext_inode_i_mode(inode->raw),
                       err);
}

static bool replay_name(struct fast *f, const struct record *r, struct error *err)
{
    struct ext_fs *v = f->view;
    struct ext_inode dir, inode;
    if (r->len < 9 || r->len - 8 > EXT_NAME_MAX)
        return fail(err, E_DAMAGED, "a record of a name has %u bytes", r->len);
    struct name name = {load_le32(r->bytes), load_le32(r->bytes + 4), (const char *)r->bytes + 8, r->len - 8};
    if (!check_ino(f, name.dir, err) || !check_ino(f, name.ino, err) || !touch(f, name.ino, err))
        return false;
    if (name.dir == name.ino)
        return fail(err, E_DAMAGED, "a record names inode %u inside itself", name.ino);
    if (!ext_inode_live(v, name.dir, &dir, err))
        return false;
    bool ok =
        S_ISDIR(ext_inode_i_mode(dir.raw)) || fail(err, E_DAMAGED, "inode %u is no directory", name.dir);
    if (ok && (ok = ext_inode_get(v, name.ino, &inode, err))) {
        ok = link_name(f, r->tag, &dir, &inode, &name, err);
        ext_inode_put(v, &inode);
    }
    ext_inode_put(v, &dir);
    return ok;
}

static bool replay_record(struct fast *f, const struct record *r, const uint8_t *header, struct error *err)
{
    (void)header;
    if (f->seen > f->valid) {
        f->stop = true;
        return true;
    }
    switch (r->tag) {
    case FAST_ADD_RANGE:
    case FAST_DEL_RANGE:
        return replay_range(f, r, err);
    case FAST_CREATE:
    case FAST_LINK:
    case FAST_UNLINK:
        return replay_name(f, r, err);
    case FAST_INODE:
        return replay_inode(f, r, err);
    default:
        return true;
    }
}

/* ---- afterwards ---------------------------------------------------------------------------------------- */

static bool count_blocks(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    (void)err;
    if (visit->mapping.start)
        *(uint64_t *)arg += visit->data ? visit->mapping.len : 1;
    return true;
}

/* i_blocks as the ranges have it. */
static bool settle_blocks(struct fast *f, struct ext_inode *inode, struct error *err)
{
    struct ext_fs *v = f->view;
    uint64_t blocks = 0;
    if (!ext_inode_has_blocks(v, inode->raw))
        return true;
    if (v->cluster_bits) /* clusters are shared by runs: what the changes charged is right */
        return true;
    if (!ext_map_walk(v, inode, count_blocks, &blocks, err))
        return false;
    blocks += ext_inode_acl_block(v, inode->raw) ? 1 : 0;
    uint64_t now = ext_inode_units(v, inode->raw) / (v->block_size / 512);
    return now == blocks || ext_inode_charge(v, inode, (int64_t)(blocks - now), err);
}

/* An inode without a name is left to the list of orphans. */
static bool orphan(struct fast *f, struct ext_inode *inode, struct error *err)
{
    struct ext_fs *v = f->view;
    uint32_t head = (uint32_t)ext_super_s_last_orphan(v->super), next = head;
    for (uint32_t steps = 0; next != 0 && next <= v->inodes && steps < v->inodes; steps++) {
        struct ext_inode other;
        if (next == inode->ino)
            return true;
        if (!ext_inode_get(v, next, &other, err))
            return false;
        next = (uint32_t)ext_inode_i_dtime(other.raw);
        ext_inode_put(v, &other);
    }
    ext_inode_set_i_dtime(inode->raw, head);
    ext_inode_dirty(v, inode);
    ext_super_set_s_last_orphan(v->super, inode->ino);
    ext_super_changed(v);
    return true;
}

static bool settle_inodes(struct fast *f, struct error *err)
{
    for (size_t i = 0; i < f->touched_count; i++) {
        struct ext_inode inode;
        if (!ext_inode_get(f->view, f->touched[i], &inode, err))
            return false;
        bool ok = settle_blocks(f, &inode, err);
        if (ok && ext_inode_i_links_count(inode.raw) == 0 && ext_inode_i_mode(inode.raw) != 0)
            ok = orphan(f, &inode, err);
        ext_inode_put(f->view, &inode);
        if (!ok)
            return false;
    }
    return true;
}

bool ext_fast_replay(struct ext_journal *j, struct device *target, struct error *err)
{
    struct fast f = {.j = j};
    struct fs *fs = NULL;
    if (!each_record(&f, scan_record, err))
        return false;
    if (f.valid == 0)
        return true;
    if (!ext_open(target, false, &fs, err))
        return false;
    f.view = ext_of(fs);
    f.view->prepared = true;
    f.bits = mem_new(f.view->block_size, err);
    bool ok =
        f.bits && each_record(&f, replay_record, err) && settle_inodes(&f, err) && ext_fs_flush(fs, err);
    free(f.bits);
    free(f.touched);
    ext_fs_close(fs);
    return ok;
}
