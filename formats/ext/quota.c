/*
 * Quota usage kept right while inodes change. Entries in use are held in memory, with what they are in the
 * file; ext_quota_flush() writes those that changed, and enters new ids into the tree.
 */
#include "quota.h"

#include "alloc.h"

#include <stdlib.h>

enum { TREE_DEPTH = 4, TREE_ROOT = 1, MAX_HELD = 1 << 16 };
enum { LEAF_ENTRIES = (EXT_QUOTA_BLOCK - EXT_QUOTA_LEAF_HEADER) / EXT_QUOTA_ENTRY_SIZE };

struct held {
    bool used, dirty;
    uint8_t type;
    uint32_t id;
    uint64_t off; /* of the entry in the file; 0: not there yet */
    uint8_t raw[EXT_QUOTA_ENTRY_SIZE];
};

struct ext_quota {
    struct held *slots; /* open addressing; a power of two */
    size_t size, count;
};

/* ---- blocks of a quota file ---- */

struct quota_file {
    struct ext_fs *ext;
    enum ext_quota_type type;
    struct ext_inode inode;
    uint8_t header[EXT_QUOTA_BLOCK]; /* the first block */
};

static bool read_at(struct quota_file *f, uint64_t off, void *buf, size_t n, struct error *err)
{
    if (!range_inside(off, n, ext_inode_size(f->ext, f->inode.raw)))
        return fail(err, E_DAMAGED, "quota file (inode %u): byte %llu is behind its end", f->inode.ino,
                    (unsigned long long)off);
    return ext_file_read(f->ext, &f->inode, off, buf, n, err);
}

static bool write_block(struct quota_file *f, uint32_t block, const uint8_t *bytes, struct error *err)
{
    return ext_file_write(f->ext, &f->inode, (uint64_t)block * EXT_QUOTA_BLOCK, bytes, EXT_QUOTA_BLOCK, err);
}

static bool file_open(struct ext_fs *ext, enum ext_quota_type type, struct quota_file *f, struct error *err)
{
    f->ext = ext;
    f->type = type;
    if (!ext_inode_live(ext, ext_quota_ino(ext->super, type), &f->inode, err))
        return because(err, "quota file");
    if (read_at(f, 0, f->header, sizeof f->header, err)) {
        if (ext_qh_dqh_magic(f->header) == ext_quota_magic(type) && ext_qh_dqh_version(f->header) == 1)
            return true;
        fail(err, E_DAMAGED, "quota file (inode %u): no header of version 1", f->inode.ino);
    }
    ext_inode_put(ext, &f->inode);
    return false;
}

static void file_close(struct quota_file *f)
{
    ext_inode_put(f->ext, &f->inode);
}

static uint64_t slot_off(uint32_t node, uint32_t id, unsigned depth)
{
    return (uint64_t)node * EXT_QUOTA_BLOCK + (uint64_t)4 * (id >> 8 * (TREE_DEPTH - 1 - depth) & 0xFF);
}

/* The entry for id in a leaf; 0 when there is none. */
static uint32_t leaf_find(const uint8_t *leaf, uint32_t id)
{
    for (uint32_t i = 0; i < LEAF_ENTRIES; i++) {
        uint32_t at = EXT_QUOTA_LEAF_HEADER + i * EXT_QUOTA_ENTRY_SIZE;
        if (ext_qe_dqb_id(leaf + at) == id && !all_zero(leaf + at, EXT_QUOTA_ENTRY_SIZE))
            return at;
    }
    return 0;
}

/* Walk the tree; *off is 0 when the id has no entry. */
static bool find_entry(struct quota_file *f, uint32_t id, uint64_t *off, uint8_t *raw, struct error *err)
{
    uint32_t node = TREE_ROOT;
    uint8_t bytes[EXT_QUOTA_BLOCK];
    *off = 0;
    for (unsigned depth = 0; depth < TREE_DEPTH; depth++) {
        if (!read_at(f, slot_off(node, id, depth), bytes, 4, err))
            return false;
        node = load_le32(bytes);
        if (node == 0)
            return true;
    }
    if (!read_at(f, (uint64_t)node * EXT_QUOTA_BLOCK, bytes, sizeof bytes, err))
        return false;
    uint32_t at = leaf_find(bytes, id);
    if (at) {
        memcpy(raw, bytes + at, EXT_QUOTA_ENTRY_SIZE);
        *off = (uint64_t)node * EXT_QUOTA_BLOCK + at;
    }
    return true;
}

/* ---- new ids ------------------------------------------------------------------------------------------- */

/* An empty block: from the list of free ones, or at the end. */
static bool new_block(struct quota_file *f, uint32_t *block, struct error *err)
{
    uint8_t bytes[EXT_QUOTA_BLOCK];
    *block = (uint32_t)ext_qh_dqi_free_blk(f->header);
    if (*block == 0) {
        *block = (uint32_t)ext_qh_dqi_blocks(f->header);
        ext_qh_set_dqi_blocks(f->header, (uint64_t)*block + 1);
    } else {
        if (!read_at(f, (uint64_t)*block * EXT_QUOTA_BLOCK, bytes, sizeof bytes, err))
            return false;
        ext_qh_set_dqi_free_blk(f->header, ext_ql_dqdh_next_free(bytes));
    }
    if (*block <= TREE_ROOT || *block > ext_inode_size(f->ext, f->inode.raw) / EXT_QUOTA_BLOCK)
        return fail(err, E_DAMAGED, "quota file (inode %u): block %u cannot be a free one", f->inode.ino,
                    *block);
    memset(bytes, 0, sizeof bytes);
    return write_block(f, *block, bytes, err);
}

/* Put the entry into a leaf that has room; *node is the leaf, 0 for one of the list. */
static bool leaf_insert(struct quota_file *f, uint32_t *node, struct held *entry, struct error *err)
{
    uint8_t leaf[EXT_QUOTA_BLOCK];
    *node = (uint32_t)ext_qh_dqi_free_entry(f->header);
    if (*node == 0) {
        if (!new_block(f, node, err))
            return false;
        ext_qh_set_dqi_free_entry(f->header, *node);
    }
    if (!read_at(f, (uint64_t)*node * EXT_QUOTA_BLOCK, leaf, sizeof leaf, err))
        return false;
    uint32_t at = EXT_QUOTA_LEAF_HEADER, used = 0;
    while (used < LEAF_ENTRIES && !all_zero(leaf + at, EXT_QUOTA_ENTRY_SIZE)) {
        at += EXT_QUOTA_ENTRY_SIZE;
        used++;
    }
    if (used == LEAF_ENTRIES)
        return fail(err, E_DAMAGED, "quota file (inode %u): block %u is full but listed as free",
                    f->inode.ino, *node);
    memcpy(leaf + at, entry->raw, EXT_QUOTA_ENTRY_SIZE);
    entry->off = (uint64_t)*node * EXT_QUOTA_BLOCK + at;
    ext_ql_set_dqdh_entries(leaf, ext_ql_dqdh_entries(leaf) + 1);
    if (ext_ql_dqdh_entries(leaf) >= LEAF_ENTRIES) {
        uint32_t next = (uint32_t)ext_ql_dqdh_next_free(leaf);
        ext_qh_set_dqi_free_entry(f->header, next);
        ext_ql_set_dqdh_next_free(leaf, 0);
        uint8_t other[EXT_QUOTA_BLOCK];
        if (next != 0) {
            if (!read_at(f, (uint64_t)next * EXT_QUOTA_BLOCK, other, sizeof other, err))
                return false;
            ext_ql_set_dqdh_prev_free(other, 0);
            if (!write_block(f, next, other, err))
                return false;
        }
    }
    return write_block(f, *node, leaf, err);
}

static bool insert_entry(struct quota_file *f, struct held *entry, struct error *err)
{
    uint32_t node = TREE_ROOT, next;
    uint8_t bytes[4];
    for (unsigned depth = 0; depth < TREE_DEPTH; depth++) {
        uint64_t off = slot_off(node, entry->id, depth);
        bool last = depth == TREE_DEPTH - 1;
        if (!read_at(f, off, bytes, 4, err))
            return false;
        next = load_le32(bytes);
        if (next == 0 || last) {
            if (last ? !leaf_insert(f, &next, entry, err) : !new_block(f, &next, err))
                return false;
            store_le32(bytes, next);
            if (!ext_file_write(f->ext, &f->inode, off, bytes, 4, err))
                return false;
        }
        node = next;
    }
    return write_block(f, 0, f->header, err);
}

/* ---- entries held -------------------------------------------------------------------------------------- */

static struct held *slot_for(const struct ext_quota *q, enum ext_quota_type type, uint32_t id)
{
    size_t at = (size_t)((id * UINT64_C(0x9E3779B97F4A7C15) >> 32) + type) & (q->size - 1);
    while (q->slots[at].used && (q->slots[at].id != id || q->slots[at].type != type))
        at = (at + 1) & (q->size - 1);
    return &q->slots[at];
}

static bool make_room(struct ext_quota *q, struct error *err)
{
    if (2 * (q->count + 1) <= q->size)
        return true;
    struct ext_quota grown = {.size = q->size ? q->size * 2 : 64, .count = q->count};
    grown.slots = mem_array(grown.size, sizeof *grown.slots, err);
    if (!grown.slots)
        return false;
    for (size_t i = 0; i < q->size; i++)
        if (q->slots[i].used)
            *slot_for(&grown, q->slots[i].type, q->slots[i].id) = q->slots[i];
    free(q->slots);
    *q = grown;
    return true;
}

static bool hold(struct ext_fs *ext, enum ext_quota_type type, uint32_t id, struct held **out,
                 struct error *err)
{
    if (!ext->quota && !(ext->quota = mem_new(sizeof *ext->quota, err)))
        return false;
    if (ext->quota->count >= MAX_HELD) {
        if (!ext_quota_flush(ext, err))
            return false;
        memset(ext->quota->slots, 0, ext->quota->size * sizeof *ext->quota->slots);
        ext->quota->count = 0;
    }
    if (!make_room(ext->quota, err))
        return false;
    *out = slot_for(ext->quota, type, id);
    if ((*out)->used)
        return true;
    struct held entry = {.used = true, .type = (uint8_t)type, .id = id};
    struct quota_file file;
    if (!file_open(ext, type, &file, err))
        return false;
    bool ok = find_entry(&file, id, &entry.off, entry.raw, err);
    file_close(&file);
    if (!ok)
        return false;
    ext_qe_set_dqb_id(entry.raw, id);
    **out = entry;
    ext->quota->count++;
    return true;
}

static uint64_t add_clamped(uint64_t value, int64_t by)
{
    if (by < 0)
        return value > (uint64_t)-by ? value - (uint64_t)-by : 0;
    return value + (uint64_t)by;
}

bool ext_quota_exempt(const struct ext_fs *ext, uint32_t ino, const uint8_t *inode)
{
    return (ino < ext->first_ino && ino != EXT_ROOT_INO) ||
           ino == ext_quota_ino(ext->super, EXT_QUOTA_PROJECT) ||
           ino == ext_super_s_orphan_file_inum(ext->super) || ext_inode_flag(inode, EXT_FL_EA_INODE);
}

bool ext_quota_charge(struct ext_fs *ext, uint32_t ino, const uint8_t *inode, int64_t bytes, int64_t inodes,
                      struct error *err)
{
    if (!ext_has(ext, EXT_QUOTA) || ext_quota_exempt(ext, ino, inode) || (bytes == 0 && inodes == 0))
        return true;
    const uint32_t ids[] = {ext_inode_uid(inode), ext_inode_gid(inode), ext_inode_project(ext, inode)};
    for (unsigned type = 0; type < EXT_QUOTA_TYPES; type++) {
        struct held *entry;
        if (ext_quota_ino(ext->super, type) == 0)
            continue;
        if (!hold(ext, type, ids[type], &entry, err))
            return false;
        ext_qe_set_dqb_curspace(entry->raw, add_clamped(ext_qe_dqb_curspace(entry->raw), bytes));
        ext_qe_set_dqb_curinodes(entry->raw, add_clamped(ext_qe_dqb_curinodes(entry->raw), inodes));
        entry->dirty = true;
    }
    return true;
}

bool ext_quota_flush(struct ext_fs *ext, struct error *err)
{
    struct ext_quota *q = ext->quota;
    if (!q)
        return true;
    for (unsigned type = 0; type < EXT_QUOTA_TYPES; type++) {
        struct quota_file file;
        bool open = false, ok = true;
        for (size_t i = 0; ok && i < q->size; i++) {
            struct held *entry = &q->slots[i];
            if (!entry->used || !entry->dirty || entry->type != type)
                continue;
            if (!open && !(open = file_open(ext, type, &file, err)))
                return false;
            if (ext_qe_dqb_id(entry->raw) == 0 && all_zero(entry->raw, EXT_QUOTA_ENTRY_SIZE))
                ext_qe_set_dqb_itime(entry->raw, 1); /* all zeros would be a free entry */
            ok = entry->off
                     ? ext_file_write(ext, &file.inode, entry->off, entry->raw, EXT_QUOTA_ENTRY_SIZE, err)
                     : insert_entry(&file, entry, err);
            entry->dirty = !ok;
        }
        if (open)
            file_close(&file);
        if (!ok)
            return because(err, "quota");
    }
    return true;
}

void ext_quota_drop(struct ext_fs *ext)
{
    if (ext->quota)
        free(ext->quota->slots);
    free(ext->quota);
    ext->quota = NULL;
}
