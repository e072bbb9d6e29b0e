/*
 * Changing extended attributes. All attributes of the inode are taken apart into a list, the list is changed,
 * and both areas are put together anew: attributes stay where they were; a new value goes into the inode when
 * it fits, else into the block, else (ea_inode) into an inode of its own.
 *
 * A block may belong to several inodes (h_refcount): then it is copied before it changes. Blocks equal to one
 * written in this session are shared instead of written again.
 */
#include "alloc.h"
#include "bytes.h"
#include "extent.h"
#include "xattr.h"

#include <stdlib.h>

struct item {
    struct ext_xattr_key key;
    const uint8_t *value; /* NULL with an inum */
    uint32_t len, inum, hash;
    bool in_body;
};

struct list {
    struct ext_fs *ext;
    struct ext_inode *inode;
    struct item *items;
    size_t count, capacity;
    uint8_t *body, *block; /* copies that the items point into */
    uint32_t refs;         /* of the old block; 0: there was none */
};

/* ---- hashes ("Extended Attribute Block Header": h_hash, e_hash) ---- */

uint32_t ext_xattr_entry_hash(const uint8_t *entry, const void *value, size_t len, bool signed_name)
{
    const uint8_t *name = entry + EXT_XATTR_ENTRY_SIZE, *bytes = value;
    uint32_t hash = 0;
    for (size_t i = 0; i < ext_xe_e_name_len(entry); i++)
        hash = hash << 5 ^ hash >> 27 ^ (signed_name ? (uint32_t)(int8_t)name[i] : name[i]);
    for (size_t at = 0; at < len; at += 4)
        hash = hash << 16 ^ hash >> 16 ^ (uint32_t)load_le(bytes + at, (unsigned)MIN_OF(len - at, 4));
    return hash;
}

uint32_t ext_xattr_block_hash(const uint8_t *block, size_t size)
{
    uint32_t hash = 0;
    const uint8_t *entry = block + EXT_XATTR_HEADER, *end = block + size;
    while (entry + EXT_XATTR_ENTRY_SIZE <= end && load_le32(entry) != 0) {
        if (ext_xe_e_hash(entry) == 0)
            return 0;
        hash = hash << 16 ^ hash >> 16 ^ (uint32_t)ext_xe_e_hash(entry);
        entry += round_up(EXT_XATTR_ENTRY_SIZE + ext_xe_e_name_len(entry), 4);
    }
    return hash;
}

/* ---- taking apart ---- */

static bool add_items(struct list *list, const struct ext_xattr_area *area, bool in_body, struct error *err)
{
    uint8_t *entry = NULL;
    for (;;) {
        if (!ext_xattr_next(area, entry, &entry, err))
            return because(err, "inode %u", list->inode->ino);
        if (!entry)
            return true;
        if (!mem_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, err))
            return false;
        struct item *item = &list->items[list->count++];
        item->key = (struct ext_xattr_key){(uint8_t)ext_xe_e_name_index(entry),
                                           (const char *)entry + EXT_XATTR_ENTRY_SIZE,
                                           (size_t)ext_xe_e_name_len(entry)};
        item->len = (uint32_t)ext_xe_e_value_size(entry);
        item->inum = (uint32_t)ext_xe_e_value_inum(entry);
        item->hash = (uint32_t)ext_xe_e_hash(entry);
        item->value = item->inum ? NULL : area->base + ext_xe_e_value_offs(entry);
        item->in_body = in_body;
    }
}

static bool load_body(struct list *list, struct error *err)
{
    struct ext_fs *ext = list->ext;
    struct ext_xattr_area area;
    list->body = mem_new(ext->inode_size, err);
    if (!list->body)
        return false;
    memcpy(list->body, list->inode->raw, ext->inode_size);
    return !ext_xattr_body(ext, list->body, &area) || add_items(list, &area, true, err);
}

static bool load_block(struct list *list, struct error *err)
{
    struct ext_fs *ext = list->ext;
    struct cache_block *block;
    uint64_t at = ext_inode_acl_block(ext, list->inode->raw);
    if (at == 0)
        return true;
    list->block = mem_new(ext->block_size, err);
    if (!list->block || !ext_block_get(ext, at, EXT_TAG_XATTR, 0, &block, err))
        return false;
    memcpy(list->block, block->data, ext->block_size);
    ext_block_put(ext, block);
    list->refs = (uint32_t)ext_xh_h_refcount(list->block);
    if (ext_xh_h_magic(list->block) != EXT_XATTR_MAGIC || list->refs == 0)
        return damaged(err, ext->dev, ext_offset(ext, at), "inode %u: the attribute block's header is wrong",
                       list->inode->ino);
    struct ext_xattr_area area = {list->block, list->block + EXT_XATTR_HEADER, list->block + ext->block_size};
    return add_items(list, &area, false, err);
}

static void free_list(struct list *list)
{
    free(list->items);
    free(list->body);
    free(list->block);
}

/* ---- where things fit ---- */

static size_t item_size(const struct item *item)
{
    return round_up(EXT_XATTR_ENTRY_SIZE + item->key.len, 4) + (item->inum ? 0 : round_up(item->len, 4));
}

static bool fits(const struct list *list, bool in_body)
{
    struct ext_fs *ext = list->ext;
    size_t room = in_body ? ext_xattr_body_room(ext, list->inode->raw) : ext->block_size;
    size_t need = in_body ? 4 + 4 : EXT_XATTR_HEADER + 4;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].in_body == in_body)
            need += item_size(&list->items[i]);
    return need <= room;
}

static bool any_item(const struct list *list, bool in_body)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].in_body == in_body)
            return true;
    return false;
}

/* Values that overlap would need more room when they are written anew than they have now. */
static bool check_room(const struct list *list, bool in_body, struct error *err)
{
    return !any_item(list, in_body) || fits(list, in_body) ||
           fail(err, E_DAMAGED, "inode %u: its extended attributes overlap each other", list->inode->ino);
}

static bool place_item(struct list *list, struct item *item)
{
    item->in_body = true;
    if (fits(list, true))
        return true;
    item->in_body = false;
    return fits(list, false);
}

static bool is_contents(const struct ext_xattr_key *key)
{
    return key->index == EXT_XATTR_SYSTEM && key->len == 4 && memcmp(key->name, "data", 4) == 0;
}

static bool place(struct list *list, struct item *item, struct error *err)
{
    if (is_contents(&item->key)) {
        item->in_body = true;
        return fits(list, true) || fail(err, E_NOSPACE, "the contents do not fit into the inode");
    }
    if (place_item(list, item))
        return true;
    if (!ext_has(list->ext, EXT_EA_INODE))
        return fail(err, E_NOSPACE,
                    "an attribute of %u bytes does not fit beside the others (ea_inode is off)", item->len);
    uint32_t hash;
    if (!ext_xattr_inode_new(list->ext, list->inode, item->value, item->len, &item->inum, &hash, err))
        return false;
    uint8_t raw[4];
    store_le32(raw, hash);
    uint8_t entry[EXT_XATTR_ENTRY_SIZE + EXT_NAME_MAX] = {0};
    ext_xe_set_e_name_len(entry, item->key.len);
    memcpy(entry + EXT_XATTR_ENTRY_SIZE, item->key.name, item->key.len);
    item->hash = ext_xattr_entry_hash(entry, raw, sizeof raw, false);
    item->value = NULL;
    return place_item(list, item) || fail(err, E_NOSPACE, "there is no room for another attribute");
}

/* ---- putting together ---- */

/* Write the items of one area; values grow down from its end. */
static void build(const struct list *list, bool in_body, uint8_t *base, uint8_t *first, uint8_t *end)
{
    uint8_t *entry = first, *value = end;
    for (size_t i = 0; i < list->count; i++) {
        const struct item *item = &list->items[i];
        if (item->in_body != in_body)
            continue;
        ext_xe_set_e_name_len(entry, item->key.len);
        ext_xe_set_e_name_index(entry, item->key.index);
        ext_xe_set_e_value_inum(entry, item->inum);
        ext_xe_set_e_value_size(entry, item->len);
        memcpy(entry + EXT_XATTR_ENTRY_SIZE, item->key.name, item->key.len);
        if (item->inum) {
            ext_xe_set_e_hash(entry, item->hash);
        } else if (item->len > 0) {
            value -= round_up(item->len, 4);
            memcpy(value, item->value, item->len);
            ext_xe_set_e_value_offs(entry, (uint64_t)(value - base));
        }
        if (!item->inum && !in_body)
            ext_xe_set_e_hash(entry, ext_xattr_entry_hash(entry, item->value, item->len, false));
        entry += round_up(EXT_XATTR_ENTRY_SIZE + item->key.len, 4);
    }
}

static void store_body(struct list *list)
{
    struct ext_fs *ext = list->ext;
    uint32_t room = ext_xattr_body_room(ext, list->inode->raw);
    if (room == 0)
        return;
    uint8_t *start = list->inode->raw + ext->inode_size - room;
    memset(start, 0, room);
    if (any_item(list, true)) {
        ext_xi_set_h_magic(start, EXT_XATTR_MAGIC);
        build(list, true, start + 4, start + 4, start + room);
    }
    ext_inode_dirty(ext, list->inode);
}

static int by_key(const void *a, const void *b)
{
    const struct ext_xattr_key *x = &((const struct item *)a)->key, *y = &((const struct item *)b)->key;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return memcmp(x->name, y->name, x->len);
}

/* ---- what can be shared ---- */

enum { SHARED_SLOTS = 256 };
struct ext_shared {
    uint64_t blocks[SHARED_SLOTS]; /* by h_hash: where a block of this hash was written last */
    uint32_t values[SHARED_SLOTS]; /* by hash of a value: the inode that holds it */
};

void ext_shared_forget(struct ext_fs *ext)
{
    free(ext->shared);
    ext->shared = NULL;
}

static struct ext_shared *shared_of(struct ext_fs *ext)
{
    struct error ignored;
    if (!ext->shared)
        ext->shared = mem_new(sizeof *ext->shared, &ignored);
    return ext->shared;
}

static uint64_t *shared_slot(struct ext_fs *ext, const uint8_t *image)
{
    struct ext_shared *shared = shared_of(ext);
    return shared ? &shared->blocks[ext_xh_h_hash(image) % SHARED_SLOTS] : NULL;
}

uint32_t *ext_shared_value(struct ext_fs *ext, uint32_t hash)
{
    struct ext_shared *shared = shared_of(ext);
    return shared ? &shared->values[hash % SHARED_SLOTS] : NULL;
}

/* A block with the same attributes that takes one more reference; 0: there is none. */
static bool share(struct ext_fs *ext, const uint8_t *image, uint64_t *at, struct error *err)
{
    const uint64_t *slot = ext_xh_h_hash(image) != 0 ? shared_slot(ext, image) : NULL;
    struct cache_block *block;
    *at = 0;
    if (!slot || *slot == 0)
        return true;
    if (!ext_block_get(ext, *slot, EXT_TAG_XATTR, 0, &block, err))
        return false;
    uint64_t refs = ext_xh_h_refcount(block->data);
    if (ext_xh_h_magic(block->data) == EXT_XATTR_MAGIC &&
        ext_xh_h_hash(block->data) == ext_xh_h_hash(image) && refs > 0 && refs < EXT_XATTR_REF_MAX &&
        memcmp(block->data + EXT_XATTR_HEADER, image + EXT_XATTR_HEADER,
               ext->block_size - EXT_XATTR_HEADER) == 0) {
        ext_xh_set_h_refcount(block->data, refs + 1);
        ext_block_dirty(ext, block);
        *at = *slot;
    }
    ext_block_put(ext, block);
    return true;
}

/* ---- the block ---- */

/* One reference to the old block less; the last one frees it. */
static bool drop_block(struct ext_fs *ext, struct ext_inode *inode, uint64_t at, struct error *err)
{
    struct cache_block *block;
    if (!ext_block_get(ext, at, EXT_TAG_XATTR, 0, &block, err))
        return false;
    uint64_t refs = ext_xh_h_refcount(block->data);
    if (refs > 1) {
        ext_xh_set_h_refcount(block->data, refs - 1);
        ext_block_dirty(ext, block);
        ext_block_put(ext, block);
        return ext_inode_charge(ext, inode, -((int64_t)1 << ext->cluster_bits), err);
    }
    if (ext->shared && ext->shared->blocks[ext_xh_h_hash(block->data) % SHARED_SLOTS] == at)
        ext->shared->blocks[ext_xh_h_hash(block->data) % SHARED_SLOTS] = 0;
    ext_block_put(ext, block);
    return ext_index_block_free(ext, inode, at, err);
}

static bool has_value_inodes(const struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (!list->items[i].in_body && list->items[i].inum)
            return true;
    return false;
}

static bool write_block(struct list *list, const uint8_t *image, uint64_t old, struct error *err)
{
    struct ext_fs *ext = list->ext;
    struct cache_block *block;
    uint64_t at = 0, goal = ext_inode_goal(ext, list->inode->ino);
    if (old != 0 && list->refs == 1) {
        at = old;
    } else if (!has_value_inodes(list) && !share(ext, image, &at, err)) {
        return false;
    } else if (at != 0) {
        ext_inode_set_acl_block(ext, list->inode->raw, at);
        return ext_inode_charge(ext, list->inode, (int64_t)1 << ext->cluster_bits, err) &&
               (old == 0 || drop_block(ext, list->inode, old, err));
    }
    if (at == 0) {
        if ((old != 0 && !drop_block(ext, list->inode, old, err)) ||
            !ext_index_block_new(ext, list->inode, goal, &at, err))
            return false;
    }
    if (!ext_block_new(ext, at, EXT_TAG_XATTR, 0, &block, err))
        return false;
    memcpy(block->data, image, ext->block_size);
    ext_block_put(ext, block);
    ext_inode_set_acl_block(ext, list->inode->raw, at);
    ext_inode_dirty(ext, list->inode);
    uint64_t *slot = has_value_inodes(list) ? NULL : shared_slot(ext, image);
    if (slot)
        *slot = at;
    return true;
}

static bool store_block(struct list *list, struct error *err)
{
    struct ext_fs *ext = list->ext;
    uint64_t old = ext_inode_acl_block(ext, list->inode->raw);
    if (!any_item(list, false)) {
        if (old == 0)
            return true;
        ext_inode_set_acl_block(ext, list->inode->raw, 0);
        return drop_block(ext, list->inode, old, err);
    }
    uint8_t *image = mem_new(ext->block_size, err);
    if (!image)
        return false;
    qsort(list->items, list->count, sizeof *list->items, by_key);
    ext_xh_set_h_magic(image, EXT_XATTR_MAGIC);
    ext_xh_set_h_refcount(image, 1);
    ext_xh_set_h_blocks(image, 1);
    build(list, false, image, image + EXT_XATTR_HEADER, image + ext->block_size);
    ext_xh_set_h_hash(image, ext_xattr_block_hash(image, ext->block_size));
    bool unchanged = list->block && memcmp(image + EXT_XATTR_HEADER, list->block + EXT_XATTR_HEADER,
                                           ext->block_size - EXT_XATTR_HEADER) == 0;
    bool ok = unchanged || write_block(list, image, old, err);
    free(image);
    return ok;
}

/* ---- the whole ---- */

static bool same_key(const struct ext_xattr_key *a, const struct ext_xattr_key *b)
{
    return a->index == b->index && a->len == b->len && memcmp(a->name, b->name, a->len) == 0;
}

/* When a shared block is left, values in inodes get one reference more for the copy. */
static bool settle_references(struct list *list, const struct item *old, struct error *err)
{
    struct ext_fs *ext = list->ext;
    bool shared = list->refs > 1;
    for (size_t i = 0; shared && i < list->count; i++) {
        const uint8_t *name = (const uint8_t *)list->items[i].key.name;
        bool from_block = name >= list->block && name < list->block + ext->block_size;
        if (from_block && list->items[i].inum && !ext_xattr_inode_ref(ext, list->items[i].inum, 1, err))
            return false;
    }
    if (!old->inum)
        return true;
    if (!ext_xattr_inode_charge(ext, list->inode, old->len, -1, err))
        return false;
    return (shared && !old->in_body) || ext_xattr_inode_ref(ext, old->inum, -1, err);
}

static bool change(struct list *list, const struct ext_xattr_key *key, const void *value, size_t len,
                   struct error *err)
{
    struct item old = {0};
    size_t at = 0;
    while (at < list->count && !same_key(&list->items[at].key, key))
        at++;
    if (at < list->count) {
        old = list->items[at];
        list->items[at] = list->items[--list->count];
    } else if (!value) {
        return fail(err, E_NOENT, "there is no such attribute");
    }
    if (!settle_references(list, &old, err))
        return false;
    if (value) {
        if (!mem_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, err))
            return false;
        struct item *item = &list->items[list->count++];
        *item = (struct item){.key = *key, .value = value, .len = (uint32_t)len};
        if (!place(list, item, err))
            return false;
    }
    store_body(list);
    return store_block(list, err);
}

/* An inode from before there were extra fields gets them, so that attributes may follow. */
static void open_body(struct ext_fs *ext, struct ext_inode *inode)
{
    if (ext->inode_size < EXT_INODE_FIELDS || ext_inode_i_extra_isize(inode->raw) != 0)
        return;
    memset(inode->raw + EXT_GOOD_OLD_INODE_SIZE, 0, ext->inode_size - EXT_GOOD_OLD_INODE_SIZE);
    ext_inode_set_i_extra_isize(inode->raw, EXT_INODE_FIELDS - EXT_GOOD_OLD_INODE_SIZE);
}

bool ext_xattr_store(struct ext_fs *ext, struct ext_inode *inode, const struct ext_xattr_key *key,
                     const void *value, size_t len, struct error *err)
{
    struct list list = {.ext = ext, .inode = inode};
    if (len > EXT_XATTR_VALUE_MAX)
        return fail(err, E_TOOBIG, "an attribute's value has at most 64 KiB, not %zu bytes", len);
    if (value)
        open_body(ext, inode);
    bool ok = load_body(&list, err) && load_block(&list, err) && check_room(&list, true, err) &&
              check_room(&list, false, err) && change(&list, key, value, len, err);
    free_list(&list);
    if (ok && value && !ext_has(ext, EXT_EXT_ATTR))
        ext_set_feature(ext, EXT_EXT_ATTR, true);
    return ok;
}

bool ext_xattr_inode_count(struct ext_fs *ext, struct ext_inode *inode, unsigned *count, struct error *err)
{
    struct list list = {.ext = ext, .inode = inode};
    *count = 0;
    if (!ext_has(ext, EXT_EA_INODE))
        return true;
    bool ok = load_body(&list, err) && load_block(&list, err);
    for (size_t i = 0; ok && i < list.count; i++)
        *count += list.items[i].inum != 0;
    free_list(&list);
    return ok;
}

bool ext_xattr_drop_values(struct ext_fs *ext, struct ext_inode *inode, struct error *err)
{
    struct list list = {.ext = ext, .inode = inode};
    size_t kept = 0;
    if (!load_body(&list, err)) {
        free_list(&list);
        return false;
    }
    for (size_t i = 0; i < list.count; i++)
        if (list.items[i].inum == 0)
            list.items[kept++] = list.items[i];
    bool changed = kept < list.count;
    list.count = kept;
    bool ok = !changed || check_room(&list, true, err);
    if (ok && changed)
        store_body(&list);
    free_list(&list);
    return ok;
}

bool ext_xattr_free_all(struct ext_fs *ext, struct ext_inode *inode, struct error *err)
{
    struct list list = {.ext = ext, .inode = inode};
    uint64_t at = ext_inode_acl_block(ext, inode->raw);
    bool ok = load_body(&list, err) && load_block(&list, err);
    for (size_t i = 0; ok && i < list.count; i++) {
        const struct item *item = &list.items[i];
        if (!item->inum)
            continue;
        ok = ext_xattr_inode_charge(ext, inode, item->len, -1, err) &&
             ((!item->in_body && list.refs > 1) || ext_xattr_inode_ref(ext, item->inum, -1, err));
    }
    free_list(&list);
    if (!ok || at == 0)
        return ok;
    ext_inode_set_acl_block(ext, inode->raw, 0);
    return drop_block(ext, inode, at, err);
}
