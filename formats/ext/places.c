/* Where structures lie: by name and arguments, and the parts of one in another. */
#include "describe.h"

#include "alloc.h"
#include "bytes.h"
#include "dir.h"
#include "xattr.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static struct place place_new(struct ext_fs *ext, const struct layout *layout, uint64_t off, uint64_t index)
{
    return (struct place){.layout = layout,
                          .device = ext->dev,
                          .off = off,
                          .size = layout->size,
                          .owner = &ext->fs,
                          .index = index};
}

struct place ext_place_super(struct ext_fs *ext, uint32_t group)
{
    uint64_t off = group == 0 ? EXT_SUPER_OFFSET : ext_offset(ext, ext_group_first_block(ext, group));
    struct place place = place_new(ext, &ext_super_layout, off, group);
    snprintf(place.title, sizeof place.title, group ? "ext superblock, copy in group %u" : "ext superblock",
             group);
    return place;
}

struct place ext_place_desc(struct ext_fs *ext, uint32_t group, uint64_t off)
{
    struct place place = place_new(ext, &ext_desc_layout, off, group);
    place.size = ext->desc_size;
    snprintf(place.title, sizeof place.title, "descriptor of group %u", group);
    return place;
}

bool ext_place_inode(struct ext_fs *ext, uint32_t ino, struct place *place, struct error *err)
{
    uint64_t off;
    if (!ext_inode_place(ext, ino, &off, err))
        return false;
    *place = place_new(ext, &ext_inode_layout, off, ino);
    place->size = ext->inode_size;
    snprintf(place->title, sizeof place->title, "inode %u", ino);
    return true;
}

/* ---- parts ---- */

static bool emit_part(const struct place *parent, const struct layout *layout, uint64_t off, uint32_t size,
                      const char *title, place_fn *emit, void *arg, struct error *err)
{
    struct place place = *parent;
    place.layout = layout;
    place.off = off;
    place.size = size;
    snprintf(place.title, sizeof place.title, "%s", title);
    return emit(&place, arg, err);
}

bool ext_inode_parts(const struct place *place, const void *raw, place_fn *emit, void *arg, struct error *err)
{
    struct ext_fs *ext = ext_of(place->owner);
    uint64_t block = place->off + ext_inode_off_i_block;
    struct ext_xattr_area area;
    if (ext_inode_has_blocks(ext, raw)) {
        bool extents = ext_inode_flag(raw, EXT_FL_EXTENTS);
        const struct layout *layout = extents ? &ext_extents_layout : &ext_blockmap_layout;
        if (!emit_part(place, layout, block, layout->size, layout->title, emit, arg, err))
            return false;
    }
    if (!ext_xattr_body(ext, raw, &area))
        return true;
    uint64_t start = place->off + (uint64_t)(area.base - (const uint8_t *)raw) - 4;
    return emit_part(place, &ext_xattr_body_layout, start, 4, "attributes inside the inode", emit, arg, err);
}

bool ext_extents_parts(const struct place *place, const void *raw, place_fn *emit, void *arg,
                       struct error *err)
{
    struct ext_fs *ext = ext_of(place->owner);
    bool leaf = ext_eh_eh_depth(raw) == 0, in_block = place->off % ext->block_size == 0;
    uint64_t room = (in_block ? ext->block_size : EXT_I_BLOCK_SIZE) / EXT_EXTENT_ENTRY - 1;
    uint64_t count = MIN_OF(ext_eh_eh_entries(raw), room), max = MIN_OF(ext_eh_eh_max(raw), room);
    for (uint64_t i = 0; i < count; i++) {
        char title[64];
        snprintf(title, sizeof title, "%s %llu", leaf ? "extent" : "index entry", (unsigned long long)i);
        if (!emit_part(place, leaf ? &ext_extent_layout : &ext_extent_index_layout,
                       place->off + (i + 1) * EXT_EXTENT_ENTRY, EXT_EXTENT_ENTRY, title, emit, arg, err))
            return false;
    }
    return !in_block || !ext->has_csum ||
           emit_part(place, &ext_extent_tail_layout, place->off + (max + 1) * EXT_EXTENT_ENTRY,
                     EXT_EXTENT_TAIL, "checksum of the node", emit, arg, err);
}

static bool read_block(const struct place *place, uint8_t **block, struct error *err)
{
    struct ext_fs *ext = ext_of(place->owner);
    *block = mem_new(ext->block_size, err);
    if (!*block)
        return false;
    if (device_read(place->device, round_down(place->off, ext->block_size), *block, ext->block_size, err))
        return true;
    free(*block);
    return false;
}

bool ext_dir_parts(const struct place *place, const void *raw, place_fn *emit, void *arg, struct error *err)
{
    struct ext_fs *ext = ext_of(place->owner);
    uint64_t start = round_down(place->off, ext->block_size);
    uint8_t *block;
    (void)raw;
    if (!read_block(place, &block, err))
        return false;
    struct ext_entries run = ext_dir_entries(ext, block);
    bool ok = true;
    for (uint32_t at = 0; ok && at + EXT_DIRENT_HEADER <= run.len;) {
        const uint8_t *entry = block + at;
        uint32_t len = ext_rec_len(ext, entry), name = (uint32_t)ext_de_name_len(entry);
        if (len < EXT_DIRENT_HEADER || len > run.len - at)
            break;
        name = MIN_OF(name, len - EXT_DIRENT_HEADER);
        ok = emit_part(place, ext_dirent_named(name), start + at, EXT_DIRENT_HEADER + name,
                       ext_de_inode(entry) ? "directory entry" : "free entry", emit, arg, err);
        at += len;
    }
    if (ok && run.len < ext->block_size)
        ok = emit_part(place, &ext_dirtail_layout, start + run.len, EXT_DIR_TAIL, "checksum of the block",
                       emit, arg, err);
    free(block);
    return ok;
}

bool ext_index_parts(const struct place *place, const void *raw, place_fn *emit, void *arg, struct error *err)
{
    struct ext_fs *ext = ext_of(place->owner);
    bool root = place->layout == &ext_dx_root_layout;
    const uint8_t *counts = (const uint8_t *)raw + (root ? EXT_DX_ROOT_ENTRIES : EXT_DX_NODE_ENTRIES);
    uint64_t first = place->off + (uint64_t)(counts - (const uint8_t *)raw);
    uint64_t room = (ext->block_size - (uint64_t)(counts - (const uint8_t *)raw)) / EXT_DX_ENTRY_SIZE;
    uint64_t limit = MIN_OF(load_le16(counts), room), count = MIN_OF(load_le16(counts + 2), limit);
    for (uint64_t i = 1; i < count; i++) {
        char title[64];
        snprintf(title, sizeof title, "entry %llu of the index", (unsigned long long)i);
        if (!emit_part(place, &ext_dx_entry_layout, first + i * EXT_DX_ENTRY_SIZE, EXT_DX_ENTRY_SIZE, title,
                       emit, arg, err))
            return false;
    }
    return !ext->has_csum || limit >= room ||
           emit_part(place, &ext_dx_tail_layout, first + limit * EXT_DX_ENTRY_SIZE, EXT_DX_TAIL_SIZE,
                     "checksum of the index", emit, arg, err);
}

bool ext_xattr_parts(const struct place *place, const void *raw, place_fn *emit, void *arg, struct error *err)
{
    struct ext_fs *ext = ext_of(place->owner);
    bool in_block = place->layout == &ext_xattr_block_layout;
    uint8_t *block, *entry = NULL;
    struct error end;
    (void)raw;
    if (!read_block(place, &block, err))
        return false;
    uint8_t *base = block + place->off % ext->block_size;
    struct ext_xattr_area area = {base, base + EXT_XATTR_HEADER, block + ext->block_size};
    if (!in_block) {
        uint64_t inside = (uint64_t)(base - block) % ext->inode_size;
        area = (struct ext_xattr_area){base + 4, base + 4, base - inside + ext->inode_size};
    }
    bool ok = true;
    while (ok && ext_xattr_next(&area, entry, &entry, &end) && entry) {
        unsigned len = (unsigned)ext_xe_e_name_len(entry);
        ok = emit_part(place, ext_xattr_entry_named(len), place->off + (uint64_t)(entry - base),
                       EXT_XATTR_ENTRY_SIZE + len, "attribute", emit, arg, err);
    }
    free(block);
    return ok;
}

/* ---- by name ---- */

struct args {
    uint64_t numbers[2];
    unsigned count;
};

/* "#12 3": numbers, the first maybe an inode's. */
static bool parse_args(const char *text, struct args *out, struct error *err)
{
    *out = (struct args){0};
    while (*text) {
        char *end;
        while (*text == ' ')
            text++;
        if (!*text)
            break;
        const char *digits = text + (*text == '#');
        uint64_t value = strtoull(digits, &end, 0);
        if (end == digits || (*end && *end != ' ') || out->count == ARRAY_LEN(out->numbers))
            return fail(err, E_USAGE, "up to two numbers (or a path and a number) are needed, not '%s'",
                        text);
        out->numbers[out->count++] = value;
        text = end;
    }
    return true;
}

static bool need_inode(struct ext_fs *ext, const struct args *args, struct ext_inode *inode,
                       struct error *err)
{
    if (args->count == 0)
        return fail(err, E_USAGE, "a file is needed: a path or #INODE");
    if (args->numbers[0] == 0 || args->numbers[0] > ext->inodes)
        return fail(err, E_NOENT, "there is no inode %llu", (unsigned long long)args->numbers[0]);
    return ext_inode_get_raw(ext, (uint32_t)args->numbers[0], inode, err);
}

static bool locate_super(struct ext_fs *ext, const struct args *args, struct place *place, struct error *err)
{
    uint64_t group = args->numbers[0];
    if (group >= ext->groups || !ext_group_has_super(ext, (uint32_t)group))
        return fail(err, E_NOENT, "group %llu holds no copy of the superblock", (unsigned long long)group);
    *place = ext_place_super(ext, (uint32_t)group);
    return true;
}

static bool locate_group(struct ext_fs *ext, const struct args *args, struct place *place, struct error *err)
{
    uint64_t group = args->numbers[0];
    if (group >= ext->groups)
        return fail(err, E_NOENT, "there is no group %llu; the last one is %u", (unsigned long long)group,
                    ext->groups - 1);
    uint64_t at = ext_offset(ext, ext_desc_block(ext, (uint32_t)group / ext->descs_per_block));
    *place = ext_place_desc(ext, (uint32_t)group, at + group % ext->descs_per_block * ext->desc_size);
    return true;
}

/* Directory block `number` of an inode, as linear or index block. */
static bool locate_dir(struct ext_fs *ext, const struct ext_inode *inode, const char *structure,
                       uint64_t number, struct place *place, struct error *err)
{
    struct ext_mapping run;
    bool index = strcmp(structure, "dir") != 0;
    if (!ext_inode_is(inode->raw, S_IFDIR))
        return fail(err, E_NOTDIR, "not a directory");
    if (ext_inode_flag(inode->raw, EXT_FL_INLINE_DATA))
        return fail(err, E_UNSUPPORTED, "the directory lies inside its inode");
    if (index && !ext_inode_flag(inode->raw, EXT_FL_INDEX))
        return fail(err, E_NOENT, "the directory has no index");
    if (number >= ext_dir_blocks(ext, inode) || !ext_map(ext, inode, number, &run, err))
        return fail(err, E_NOENT, "the directory has no block %llu", (unsigned long long)number);
    if (run.start == 0)
        return fail(err, E_NOENT, "block %llu of the directory is a hole", (unsigned long long)number);
    const struct layout *layout = !index   ? &ext_dir_layout
                                  : number ? &ext_dx_node_layout
                                           : &ext_dx_root_layout;
    *place = place_new(ext, layout, ext_offset(ext, run.start), inode->ino);
    snprintf(place->title, sizeof place->title, "block %llu of directory %u", (unsigned long long)number,
             inode->ino);
    return true;
}

static bool locate_xattr(struct ext_fs *ext, const struct ext_inode *inode, uint64_t inode_off, bool body,
                         struct place *place, struct error *err)
{
    struct ext_xattr_area area;
    uint64_t block = ext_inode_acl_block(ext, inode->raw);
    if (!body && block != 0) {
        if (!ext_blocks_valid(ext, block, 1))
            return fail(err, E_DAMAGED, "inode %u: its attribute block is outside the volume", inode->ino);
        *place = place_new(ext, &ext_xattr_block_layout, ext_offset(ext, block), inode->ino);
        return true;
    }
    if (!ext_xattr_body(ext, inode->raw, &area))
        return fail(err, E_NOENT, "the inode has no attributes there");
    *place = place_new(ext, &ext_xattr_body_layout, inode_off + (uint64_t)(area.base - inode->raw) - 4,
                       inode->ino);
    return true;
}

static bool locate_in_inode(struct ext_fs *ext, const char *structure, const struct args *args,
                            struct place *place, struct error *err)
{
    struct ext_inode inode;
    uint64_t off;
    if (!need_inode(ext, args, &inode, err))
        return false;
    bool ok = ext_inode_place(ext, inode.ino, &off, err);
    if (ok && strcmp(structure, "inode") == 0) {
        ok = ext_place_inode(ext, inode.ino, place, err);
    } else if (ok && (strcmp(structure, "extents") == 0 || strcmp(structure, "map") == 0)) {
        bool extents = *structure == 'e', node = extents && args->count > 1;
        ok = extents == ext_inode_flag(inode.raw, EXT_FL_EXTENTS) || node ||
             fail(err, E_NOENT, "the file has %s",
                  extents ? "a block map, no extents" : "extents, no block map");
        ok = ok && (!node || ext_blocks_valid(ext, args->numbers[1], 1) ||
                    fail(err, E_NOENT, "the volume has no such block"));
        *place = place_new(ext, extents ? &ext_extents_layout : &ext_blockmap_layout,
                           node ? ext_offset(ext, args->numbers[1]) : off + ext_inode_off_i_block, inode.ino);
    } else if (ok && strncmp(structure, "xattr", 5) == 0) {
        ok = locate_xattr(ext, &inode, off, strcmp(structure, "xattr-body") == 0, place, err);
    } else if (ok) {
        ok = locate_dir(ext, &inode, structure, args->numbers[1], place, err);
    }
    ext_inode_put(ext, &inode);
    return ok;
}

static bool locate_mmp(struct ext_fs *ext, struct place *place, struct error *err)
{
    uint64_t block = ext_super_s_mmp_block(ext->super);
    if (!ext_has(ext, EXT_MMP) || !ext_blocks_valid(ext, block, 1))
        return fail(err, E_NOENT, "the volume has no MMP block");
    *place = place_new(ext, &ext_mmp_layout, ext_offset(ext, block), 0);
    return true;
}

bool ext_locate(void *opened, const char *structure, const char *text, struct place *place, struct error *err)
{
    static const char *const of_inodes[] = {"inode", "extents",    "map",   "dir",
                                            "htree", "htree-node", "xattr", "xattr-body"};
    struct ext_fs *ext = ext_of(opened);
    struct args args;
    if (!parse_args(text, &args, err))
        return false;
    if (strcmp(structure, "super") == 0)
        return locate_super(ext, &args, place, err);
    if (strcmp(structure, "group") == 0)
        return locate_group(ext, &args, place, err);
    if (strcmp(structure, "mmp") == 0)
        return locate_mmp(ext, place, err);
    for (size_t i = 0; i < ARRAY_LEN(of_inodes); i++)
        if (strcmp(structure, of_inodes[i]) == 0)
            return locate_in_inode(ext, structure, &args, place, err);
    for (size_t i = 0; ext_layouts[i]; i++)
        if (strcmp(structure, ext_layouts[i]->name) == 0)
            return fail(err, E_USAGE,
                        "ext.%s is shown as a part: of ext.dir, ext.htree, ext.extents or ext.xattr",
                        structure);
    return fail(err, E_USAGE, "there is no structure ext.%s", structure);
}
