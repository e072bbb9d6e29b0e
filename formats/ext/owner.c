/*
 * Whose a byte is. Fixed places and bitmaps answer for themselves; for the blocks of files there is an index
 * of all runs, made when it is first asked for and forgotten with the next change.
 */
#include "describe.h"

#include "alloc.h"
#include "bytes.h"
#include "dir.h"
#include "xattr.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_RUNS = 1 << 20 };

enum run_kind { RUN_DATA, RUN_NODE, RUN_XATTR };

struct run {
    uint64_t start;
    uint32_t len, ino, block;
    enum run_kind kind;
};

struct ext_owners {
    struct run *runs; /* by start */
    size_t count, capacity;
};

/* ---- the index ---- */

struct building {
    struct ext_fs *ext;
    struct ext_owners *owners;
    uint32_t ino;
};

static bool add_run(struct building *building, uint64_t start, uint64_t len, uint64_t block,
                    enum run_kind kind, struct error *err)
{
    struct ext_owners *owners = building->owners;
    if (owners->count == MAX_RUNS)
        return fail(err, E_TOOBIG, "the volume has too many extents to be indexed");
    if (!mem_grow(&owners->runs, &owners->capacity, owners->count + 1, sizeof *owners->runs, err))
        return false;
    owners->runs[owners->count++] = (struct run){start, (uint32_t)len, building->ino, (uint32_t)block, kind};
    return true;
}

static bool add_visit(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    const struct ext_mapping *run = &visit->mapping;
    return add_run(arg, run->start, run->len, run->block, visit->data ? RUN_DATA : RUN_NODE, err);
}

/* A damaged file is left out as far as it cannot be read. */
static bool add_file(struct building *building, uint32_t ino, struct error *err)
{
    struct ext_fs *ext = building->ext;
    struct ext_inode inode;
    if (!ext_inode_get_raw(ext, ino, &inode, err))
        return false;
    building->ino = ino;
    uint64_t acl = ext_inode_acl_block(ext, inode.raw);
    bool live = ext_inode_i_links_count(inode.raw) != 0 || ino < ext->first_ino;
    bool ok = !live || ino == EXT_BAD_INO || ino == EXT_RESIZE_INO ||
              ext_map_walk(ext, &inode, add_visit, building, err) || err->kind == E_DAMAGED;
    if (ok && live && acl != 0)
        ok = add_run(building, acl, 1, 0, RUN_XATTR, err);
    ext_inode_put(ext, &inode);
    return ok;
}

static int by_start(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

static bool build_index(struct ext_fs *ext, struct error *err)
{
    struct building building = {.ext = ext, .owners = ext->owners};
    uint8_t *bits = mem_new(ext->block_size, err);
    bool ok = bits != NULL;
    for (uint32_t group = 0; ok && group < ext->groups; group++) {
        struct error ignored;
        if (!interrupt_check(err))
            ok = false;
        else if (ext_bitmap_read_raw(ext, EXT_INODE_BITMAP, group, bits, &ignored))
            for (uint32_t at = 0;
                 ok && (at = ext_bits_next_set(bits, at, ext->inodes_per_group)) < ext->inodes_per_group;
                 at++)
                ok = add_file(&building, group * ext->inodes_per_group + at + 1, err);
    }
    free(bits);
    if (ok && ext->owners->count > 0)
        qsort(ext->owners->runs, ext->owners->count, sizeof *ext->owners->runs, by_start);
    return ok;
}

void ext_owners_forget(struct ext_fs *ext)
{
    if (ext->owners)
        free(ext->owners->runs);
    free(ext->owners);
    ext->owners = NULL;
}

/* The run that holds a block; NULL: none. */
static bool find_run(struct ext_fs *ext, uint64_t block, const struct run **out, struct error *err)
{
    *out = NULL;
    if (!ext->owners) {
        ext->owners = mem_new(sizeof *ext->owners, err);
        if (!ext->owners)
            return false;
        if (!build_index(ext, err)) {
            ext_owners_forget(ext);
            return err->kind == E_TOOBIG;
        }
    }
    size_t low = 0, high = ext->owners->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ext->owners->runs[middle].start <= block)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0 && block - ext->owners->runs[low - 1].start < ext->owners->runs[low - 1].len)
        *out = &ext->owners->runs[low - 1];
    return true;
}

/* ---- answers ---- */

/* A structure with a place; what lies behind it in `len` bytes is padding. */
static void own_place(struct owner *owner, const struct place *place, uint64_t off)
{
    owner->place = *place;
    owner_set(owner, OWNER_STRUCTURE, place->off + place->size - off, place->title);
}

struct choice {
    uint64_t off;
    uint64_t next; /* where the first part behind the byte begins */
    struct place best;
    bool found;
};

static bool choose_part(const struct place *place, void *arg, struct error *err)
{
    struct choice *choice = arg;
    (void)err;
    if (choice->off >= place->off && choice->off < place->off + place->size) {
        choice->best = *place;
        choice->found = true;
    } else if (place->off > choice->off && place->off < choice->next) {
        choice->next = place->off;
    }
    return true;
}

/* The structure, or the part of it, that holds the byte; what is behind its parts goes on to `end`. */
static bool own_part(const struct place *whole, uint64_t off, uint64_t end, const char *text,
                     struct owner *owner, struct error *err)
{
    struct choice choice = {.off = off, .next = end};
    uint8_t *raw = mem_new(MAX_OF(whole->size, 1), err);
    bool ok = raw && device_read(whole->device, whole->off, raw, whole->size, err) &&
              (off < whole->off + whole->size || !whole->layout->parts ||
               whole->layout->parts(whole, raw, choose_part, &choice, err));
    free(raw);
    if (!ok)
        return false;
    if (choice.found)
        own_place(owner, &choice.best, off);
    else if (off < whole->off + whole->size)
        own_place(owner, whole, off);
    else
        owner_set(owner, OWNER_RESERVED, choice.next - off, text);
    return true;
}

static bool own_directory(struct ext_fs *ext, const struct run *run, uint64_t off, struct owner *owner,
                          struct error *err)
{
    uint64_t start = round_down(off, ext->block_size),
             number = run->block + ((off >> ext->block_bits) - run->start);
    struct place place = {
        .layout = &ext_dir_layout, .device = ext->dev, .off = start, .owner = &ext->fs, .index = run->ino};
    struct ext_inode dir;
    uint8_t *block = mem_new(ext->block_size, err);
    bool ok = block && device_read(ext->dev, start, block, ext->block_size, err) &&
              ext_inode_get_raw(ext, run->ino, &dir, err);
    if (ok) {
        bool index = ext_inode_flag(dir.raw, EXT_FL_INDEX) && ext_index_counts(ext, block);
        ext_inode_put(ext, &dir);
        if (index) {
            place.layout = number == 0 ? &ext_dx_root_layout : &ext_dx_node_layout;
            place.size = place.layout->size;
            snprintf(place.title, sizeof place.title, "index of directory %u", run->ino);
        }
        char text[80];
        snprintf(text, sizeof text, "free room in block %llu of directory %u", (unsigned long long)number,
                 run->ino);
        ok = own_part(&place, off, start + ext->block_size, text, owner, err);
    }
    free(block);
    return ok;
}

static bool own_data(struct ext_fs *ext, const struct run *run, uint64_t off, struct owner *owner,
                     struct error *err)
{
    struct ext_inode inode;
    if (!ext_inode_get_raw(ext, run->ino, &inode, err))
        return false;
    uint64_t size = ext_inode_size(ext, inode.raw);
    bool directory = ext_inode_is(inode.raw, S_IFDIR);
    ext_inode_put(ext, &inode);
    if (directory)
        return own_directory(ext, run, off, owner, err);
    uint64_t file_off = ((uint64_t)run->block << ext->block_bits) + (off - ext_offset(ext, run->start));
    uint64_t run_end = ext_offset(ext, run->start + run->len);
    bool inside = file_off < size;
    owner_set(owner, inside ? OWNER_DATA : OWNER_SLACK,
              inside ? MIN_OF(size - file_off, run_end - off) : run_end - off, "");
    owner->file = run->ino;
    owner->file_off = file_off;
    snprintf(owner->text, sizeof owner->text, run->ino == EXT_JOURNAL_INO ? "journal" : "data of inode %u",
             run->ino);
    return true;
}

static bool own_run(struct ext_fs *ext, const struct run *run, uint64_t off, struct owner *owner,
                    struct error *err)
{
    struct place place = {
        .device = ext->dev, .off = round_down(off, ext->block_size), .owner = &ext->fs, .index = run->ino};
    struct ext_inode inode;
    if (run->kind == RUN_DATA)
        return own_data(ext, run, off, owner, err);
    if (run->kind == RUN_XATTR) {
        place.layout = &ext_xattr_block_layout;
        place.size = place.layout->size;
        snprintf(place.title, sizeof place.title, "attribute block of inode %u", run->ino);
        return own_part(&place, off, place.off + ext->block_size, "values of attributes", owner, err);
    }
    if (!ext_inode_get_raw(ext, run->ino, &inode, err))
        return false;
    bool extents = ext_inode_flag(inode.raw, EXT_FL_EXTENTS);
    ext_inode_put(ext, &inode);
    if (!extents) {
        owner_set(owner, OWNER_STRUCTURE, ext->block_size - off % ext->block_size, "");
        snprintf(owner->text, sizeof owner->text, "indirect block of inode %u", run->ino);
        return true;
    }
    place.layout = &ext_extents_layout;
    place.size = place.layout->size;
    snprintf(place.title, sizeof place.title, "extent tree node of inode %u", run->ino);
    return own_part(&place, off, place.off + ext->block_size, "free room in an extent tree node", owner, err);
}

/* ---- fixed places ---- */

/* Superblocks and descriptors at a group's start. */
static bool own_front(struct ext_fs *ext, uint32_t group, uint64_t off, struct owner *owner)
{
    struct place super = ext_place_super(ext, group);
    uint64_t block = off >> ext->block_bits, first = ext_group_first_block(ext, group);
    bool has_super = ext_group_has_super(ext, group);
    if (has_super && off >= super.off && off < super.off + super.size) {
        own_place(owner, &super, off);
        return true;
    }
    uint64_t descs = has_super ? (super.off >> ext->block_bits) + 1 : first,
             count = ext_group_desc_blocks(ext, group);
    if (block < descs || block >= descs + count) {
        if (has_super && block <= super.off >> ext->block_bits)
            owner_set(owner, OWNER_RESERVED,
                      off < super.off ? super.off - off : ext->block_size - off % ext->block_size,
                      off < EXT_SUPER_OFFSET ? "boot code" : "padding behind the superblock");
        return owner->kind != OWNER_UNKNOWN;
    }
    bool meta =
        ext_has(ext, EXT_META_BG) && group / ext->descs_per_block >= ext_super_s_first_meta_bg(ext->super);
    uint64_t index = meta ? group / ext->descs_per_block : block - descs;
    uint64_t number = index * ext->descs_per_block + off % ext->block_size / ext->desc_size;
    if (index >= ext->desc_blocks) {
        owner_set(owner, OWNER_RESERVED, ext->block_size - off % ext->block_size,
                  "reserved for more group descriptors");
    } else if (number >= ext->groups) {
        owner_set(owner, OWNER_RESERVED, ext->block_size - off % ext->block_size,
                  "padding behind the last descriptor");
    } else {
        struct place desc = ext_place_desc(ext, (uint32_t)number, round_down(off, ext->desc_size));
        own_place(owner, &desc, off);
    }
    return true;
}

/* Contents that lie inside the inode: of a file with inline data, or of a short symbolic link. */
static bool own_inline(struct ext_fs *ext, const struct ext_inode *inode, uint64_t inside,
                       struct owner *owner)
{
    struct ext_inline parts = {.head = ext_inode_i_block(inode->raw)};
    struct error ignored;
    uint64_t size = ext_inode_size(ext, inode->raw), head = ext_inode_off_i_block;
    bool contents = ext_inode_flag(inode->raw, EXT_FL_INLINE_DATA) && !ext_inode_is(inode->raw, S_IFDIR);
    if (contents && !ext_inline_get(ext, inode, &parts, &ignored))
        return false;
    if (!contents && !ext_inode_fast_symlink(ext, inode->raw))
        return false;
    uint64_t tail = parts.tail ? (uint64_t)(parts.tail - inode->raw) : 0;
    if (inside >= head && inside < head + EXT_I_BLOCK_SIZE)
        owner->file_off = inside - head;
    else if (parts.tail && inside >= tail && inside < tail + parts.tail_len)
        owner->file_off = EXT_I_BLOCK_SIZE + (inside - tail);
    else
        return false;
    uint64_t end = owner->file_off < EXT_I_BLOCK_SIZE ? EXT_I_BLOCK_SIZE : EXT_I_BLOCK_SIZE + parts.tail_len;
    if (owner->file_off >= size)
        return false;
    owner_set(owner, OWNER_DATA, MIN_OF(size, end) - owner->file_off, "contents inside the inode");
    owner->file = inode->ino;
    return true;
}

/* What begins at the tree's root or behind the fields of an inode in use;
 * layout NULL: nothing of that kind. */
static struct place inner_place(struct ext_fs *ext, const struct ext_inode *inode, const struct place *whole,
                                uint64_t inside)
{
    struct place place = {.device = ext->dev, .owner = &ext->fs, .index = inode->ino};
    struct ext_xattr_area area;
    uint64_t root = ext_inode_off_i_block;
    if (inside >= root && inside < root + EXT_I_BLOCK_SIZE && ext_inode_has_blocks(ext, inode->raw)) {
        bool extents = ext_inode_flag(inode->raw, EXT_FL_EXTENTS);
        place.layout = extents ? &ext_extents_layout : &ext_blockmap_layout;
        place.off = whole->off + root;
        snprintf(place.title, sizeof place.title, "%s of inode %u", extents ? "extents" : "block map",
                 inode->ino);
    } else if (ext_xattr_body(ext, inode->raw, &area) && inside + 4 >= (uint64_t)(area.base - inode->raw)) {
        place.layout = &ext_xattr_body_layout;
        place.off = whole->off + (uint64_t)(area.base - inode->raw) - 4;
        snprintf(place.title, sizeof place.title, "attributes inside inode %u", inode->ino);
    }
    place.size = place.layout ? place.layout->size : 0;
    return place;
}

static bool own_inode(struct ext_fs *ext, const struct place *whole, uint64_t off, struct owner *owner,
                      struct error *err)
{
    struct ext_inode inode;
    uint64_t inside = off - whole->off;
    own_place(owner, whole, off);
    if (!ext_inode_get_raw(ext, (uint32_t)whole->index, &inode, err))
        return false;
    bool ok = true, live = ext_inode_i_links_count(inode.raw) != 0;
    if (live && !own_inline(ext, &inode, inside, owner)) {
        struct place inner = inner_place(ext, &inode, whole, inside);
        uint64_t end = inner.layout == &ext_xattr_body_layout
                           ? whole->off + whole->size
                           : whole->off + ext_inode_off_i_block + EXT_I_BLOCK_SIZE;
        if (inner.layout)
            ok = own_part(&inner, off, end, inner.title, owner, err);
        else
            owner->len = MIN_OF(owner->len,
                                inside < ext_inode_off_i_block ? ext_inode_off_i_block - inside : owner->len);
    }
    ext_inode_put(ext, &inode);
    return ok;
}

static bool own_table(struct ext_fs *ext, uint32_t group, uint64_t table, uint64_t off, struct owner *owner,
                      struct error *err)
{
    uint64_t index = (off - ext_offset(ext, table)) / ext->inode_size;
    if (index >= ext->inodes_per_group) {
        owner_set(owner, OWNER_RESERVED, ext_offset(ext, table + ext->table_blocks) - off,
                  "padding behind an inode table");
        return true;
    }
    struct place place;
    return ext_place_inode(ext, group * ext->inodes_per_group + (uint32_t)index + 1, &place, err) &&
           own_inode(ext, &place, off, owner, err);
}

/* Bitmaps and inode table of one group; the kind stays unknown when it is none of them. */
static bool own_metadata(struct ext_fs *ext, uint32_t group, uint64_t off, struct owner *owner,
                         struct error *err)
{
    struct ext_group desc;
    struct error ignored;
    uint64_t block = off >> ext->block_bits;
    if (!ext_group_get(ext, group, &desc, &ignored))
        return true;
    uint64_t blocks = ext_group_block_bitmap(ext, desc.raw), inodes = ext_group_inode_bitmap(ext, desc.raw);
    uint64_t table = ext_group_inode_table(ext, desc.raw);
    ext_group_put(ext, &desc);
    if (block == blocks || block == inodes) {
        owner_set(owner, OWNER_STRUCTURE, ext->block_size - off % ext->block_size, "");
        snprintf(owner->text, sizeof owner->text, "%s bitmap of group %u",
                 block == blocks ? "block" : "inode", group);
        return true;
    }
    return block < table || block - table >= ext->table_blocks ||
           own_table(ext, group, table, off, owner, err);
}

/* The same for groups first..end. */
static bool own_groups_metadata(struct ext_fs *ext, uint32_t first, uint64_t end, uint64_t off,
                                struct owner *owner, struct error *err)
{
    for (uint64_t group = first; group < MIN_OF(end, ext->groups) && owner->kind == OWNER_UNKNOWN; group++)
        if (!own_metadata(ext, (uint32_t)group, off, owner, err))
            return false;
    return true;
}

/* Free space, as the bitmap says; false: the block is in use. */
static bool own_free(struct ext_fs *ext, uint32_t group, uint64_t off, struct owner *owner)
{
    struct error ignored;
    uint8_t *bits = mem_new(ext->block_size, &ignored);
    uint64_t first = ext_group_first_block(ext, group), block = off >> ext->block_bits;
    uint32_t at = (uint32_t)((block - first) >> ext->cluster_bits), end = ext_group_clusters(ext, group);
    bool is_free =
        bits && ext_bitmap_read_raw(ext, EXT_BLOCK_BITMAP, group, bits, &ignored) && !ext_bit(bits, at);
    if (is_free) {
        uint64_t stop = first + ((uint64_t)ext_bits_next_set(bits, at, end) << ext->cluster_bits);
        owner_set(owner, OWNER_FREE, ext_offset(ext, MIN_OF(stop, ext->blocks)) - off, "free block");
    }
    free(bits);
    return is_free;
}

bool ext_owner_of(void *opened, uint64_t off, struct owner *owner, struct error *err)
{
    struct ext_fs *ext = ext_of(opened);
    uint64_t block = off >> ext->block_bits;
    const struct run *run;
    *owner = (struct owner){.kind = OWNER_UNKNOWN, .len = 1};
    if (block >= ext->blocks) {
        owner_set(owner, OWNER_RESERVED, ext->dev->size - off, "behind the last block");
        return true;
    }
    if (block < ext->first_data_block) {
        owner_set(owner, OWNER_RESERVED, ext->block_size - off, "boot code");
        return true;
    }
    uint32_t group = ext_group_of_block(ext, block);
    uint32_t flex = group - group % ext->flex_groups;
    if (own_front(ext, group, off, owner))
        return true;
    if (!own_groups_metadata(ext, flex, (uint64_t)flex + ext->flex_groups, off, owner, err))
        return false;
    if (owner->kind != OWNER_UNKNOWN || own_free(ext, group, off, owner))
        return true;
    if (ext_has(ext, EXT_MMP) && block == ext_super_s_mmp_block(ext->super)) {
        struct place mmp = {.layout = &ext_mmp_layout,
                            .device = ext->dev,
                            .off = ext_offset(ext, block),
                            .size = ext_mmp_layout.size,
                            .owner = &ext->fs,
                            .title = "MMP block"};
        return own_part(&mmp, off, mmp.off + ext->block_size, "padding behind the MMP block", owner, err);
    }
    if (!find_run(ext, block, &run, err))
        return false;
    if (run)
        return own_run(ext, run, off, owner, err);
    if (ext_has(ext, EXT_FLEX_BG) && !own_groups_metadata(ext, 0, ext->groups, off, owner, err))
        return false;
    if (owner->kind == OWNER_UNKNOWN)
        owner_set(owner, OWNER_RESERVED, ext->block_size - off % ext->block_size,
                  "in use, but no file refers to it");
    return true;
}
