/* Superblock and descriptors from their copies ("Block Groups": sparse_super, sparse_super2). */
#include "rescue.h"

#include "alloc.h"
#include "backup.h"
#include "bytes.h"
#include "journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- descriptors ---- */

bool ext_part_valid(const struct ext_fs *ext, uint32_t group, uint64_t start, uint64_t len)
{
    uint64_t first = ext_group_first_block(ext, group);
    if (!ext_blocks_valid(ext, start, len))
        return false;
    return ext_has(ext, EXT_FLEX_BG) ||
           (start >= first && start + len <= first + ext_group_blocks(ext, group));
}

const char *ext_desc_fault(const struct ext_fs *ext, uint32_t group, const uint8_t *desc)
{
    if (!ext_part_valid(ext, group, ext_group_inode_table(ext, desc), ext->table_blocks))
        return "inode table";
    if (!ext_part_valid(ext, group, ext_group_block_bitmap(ext, desc), 1))
        return "block bitmap";
    return ext_part_valid(ext, group, ext_group_inode_bitmap(ext, desc), 1) ? NULL : "inode bitmap";
}

static bool desc_sound(const struct ext_fs *ext, uint32_t group, const uint8_t *desc)
{
    if (ext->group_csum && ext_desc_bg_checksum(desc) != ext_desc_csum(ext, group, desc))
        return false;
    return ext_desc_fault(ext, group, desc) == NULL;
}

struct copy_search {
    struct ext_fs *ext;
    uint32_t group;
    uint8_t *desc;
    bool found;
};

static bool look_at_copy(uint32_t in_group, uint64_t block, void *arg, struct error *err)
{
    struct copy_search *s = arg;
    struct ext_fs *ext = s->ext;
    uint8_t desc[1024];
    struct error ignored;
    uint64_t off = ext_offset(ext, block) + (uint64_t)(s->group % ext->descs_per_block) * ext->desc_size;
    (void)in_group;
    (void)err;
    if (device_read(ext->dev, off, desc, ext->desc_size, &ignored) && desc_sound(ext, s->group, desc)) {
        memcpy(s->desc, desc, ext->desc_size);
        s->found = true;
    }
    return !s->found; /* one is enough */
}

bool ext_desc_copy(struct ext_fs *ext, uint32_t group, uint8_t *desc)
{
    struct copy_search search = {ext, group, desc, false};
    struct error ignored;
    return !ext_backup_each_desc(ext, group / ext->descs_per_block, look_at_copy, &search, &ignored) &&
           search.found;
}

void ext_desc_distrust(const struct ext_fs *ext, uint8_t *desc)
{
    ext_desc_set_bg_flags(desc,
                          ext_desc_bg_flags(desc) & ~(uint64_t)(EXT_BG_INODE_UNINIT | EXT_BG_BLOCK_UNINIT));
    if (ext->group_csum)
        ext_group_set_itable_unused(ext, desc, 0);
}

/* ---- copies of the superblock ---- */

/* Does the first descriptor, the primary one or a copy, lead to a root directory? */
static bool root_by(const struct ext_fs *view, const uint8_t *desc)
{
    uint8_t inode[EXT_GOOD_OLD_INODE_SIZE];
    struct error ignored;
    uint64_t at = ext_offset(view, ext_group_inode_table(view, desc)) + view->inode_size;
    return ext_desc_fault(view, 0, desc) == NULL &&
           device_read(view->dev, at, inode, sizeof inode, &ignored) && S_ISDIR(ext_inode_i_mode(inode)) &&
           ext_inode_i_links_count(inode) != 0;
}

static bool root_found(struct ext_fs *view)
{
    uint8_t desc[1024];
    struct error ignored;
    return (device_read(view->dev, ext_offset(view, ext_desc_block(view, 0)), desc, view->desc_size,
                        &ignored) &&
            root_by(view, desc)) ||
           (ext_desc_copy(view, 0, desc) && root_by(view, desc));
}

struct super_search {
    struct device *dev;
    struct ext_fs *view; /* a volume as the copy in hand describes it */
    bool root;           /* it must lead to a root directory */
    uint64_t found;      /* byte of the first copy that is sound; 0: none yet */
};

/* A copy is one when it is sound, of this place by its own words, and not larger than the device. */
static void judge_copy(struct super_search *s, uint64_t off)
{
    struct error ignored = {0};
    uint8_t super[EXT_SUPER_SIZE];
    if (s->found || !range_inside(off, sizeof super, s->dev->size) ||
        !device_read(s->dev, off, super, sizeof super, &ignored) || ext_super_s_magic(super) != EXT_MAGIC)
        return;
    *s->view = (struct ext_fs){.fs = {.device = s->dev}, .dev = s->dev};
    memcpy(s->view->super, super, sizeof super);
    uint32_t group = (uint32_t)ext_super_s_block_group_nr(super);
    if (!ext_super_decode(s->view, super, &ignored) || group == 0 || group >= s->view->groups ||
        ext_offset(s->view, ext_backup_super_block(s->view, group)) != off ||
        ext_offset(s->view, s->view->blocks) > s->dev->size)
        return;
    if (!s->root || root_found(s->view))
        s->found = off;
}

/* The copy in one group, when groups have `size` bytes; clusters make them larger by powers of two. */
static void look_in_group(struct super_search *s, uint64_t size, uint32_t group)
{
    for (; size < s->dev->size / group && !s->found; size *= 2)
        judge_copy(s, size * group);
}

/*
 * Where copies lie: at the start of groups 1, powers of 3, 5 and 7, which have as many blocks (or clusters)
 * as a bitmap block has bits, but no more than 65528: a count of 16 bits must hold them. With blocks of 1 KiB
 * and without clusters the first group begins at block 1.
 */
static void usual_places(struct super_search *s)
{
    static const uint32_t groups[] = {1, 3, 5, 7, 9, 25, 27, 49};
    for (size_t i = 0; i < ARRAY_LEN(groups) && !s->found; i++) {
        judge_copy(s, 8 * MiB * groups[i] + EXT_SUPER_OFFSET);
        look_in_group(s, 8 * MiB, groups[i]);
        look_in_group(s, (uint64_t)65528 << 13, groups[i]);
    }
}

/* The places that the damaged superblock itself tells, if its sizes make sense. */
static void told_places(struct super_search *s)
{
    uint8_t super[EXT_SUPER_SIZE];
    struct error ignored;
    if (!device_read(s->dev, EXT_SUPER_OFFSET, super, sizeof super, &ignored))
        return;
    uint64_t per_group = ext_super_s_blocks_per_group(super), first = ext_super_s_first_data_block(super);
    uint64_t log_block = ext_super_s_log_block_size(super);
    if (ext_super_s_magic(super) != EXT_MAGIC || log_block > 6 || first > 1 || per_group < 256)
        return;
    judge_copy(s, (per_group + first) << (10 + log_block));
    for (uint32_t group = 3; group <= 7; group += 2)
        judge_copy(s, (per_group * group + first) << (10 + log_block));
}

static void asked_place(struct super_search *s, uint64_t block)
{
    for (unsigned bits = 10; bits <= 16; bits++)
        if (block <= UINT64_MAX >> bits)
            judge_copy(s, block << bits);
}

bool ext_rescue_probe(struct device *dev)
{
    struct error ignored;
    struct super_search s = {.dev = dev, .view = mem_new(sizeof *s.view, &ignored), .root = true};
    if (s.view)
        usual_places(&s);
    free(s.view);
    return s.found != 0;
}

/* ---- the overlay ---- */

static bool make_rescue(struct ext_fs *ext, uint32_t block_size, struct error *err)
{
    if (ext->rescue)
        return true;
    ext->rescue = mem_new(sizeof *ext->rescue, err);
    if (ext->rescue)
        ext->rescue->overlay = ext_overlay_new(ext->fs.device, block_size, err);
    if (ext->rescue && ext->rescue->overlay)
        return true;
    ext_rescue_forget(ext);
    return false;
}

void ext_rescue_forget(struct ext_fs *ext)
{
    if (!ext->rescue)
        return;
    device_close(ext->rescue->overlay);
    ranges_clear(&ext->rescue->groups);
    free(ext->rescue);
    ext->rescue = NULL;
}

/* A log with transactions is to be replayed, although the copy of the superblock never says so. */
static bool journal_waits(struct ext_fs *ext)
{
    struct ext_journal j;
    struct error ignored = {0};
    if (!ext_has(ext, EXT_HAS_JOURNAL) || ext_super_s_journal_inum(ext->super) == 0)
        return false;
    bool waits = ext_journal_open(ext, &j, &ignored) && j.start != 0;
    ext_journal_close(&j);
    return waits;
}

static bool show_copy(struct ext_fs *ext, const uint8_t *copy, struct error *err)
{
    uint8_t super[EXT_SUPER_SIZE];
    memcpy(super, copy, sizeof super);
    ext_super_set_s_block_group_nr(super, 0);
    ext_super_set_s_state(super, ext_super_s_state(super) & ~(uint64_t)EXT_STATE_VALID);
    if (ext_super_s_feature_ro_compat(super) & (uint32_t)EXT_METADATA_CSUM)
        ext_super_set_s_checksum(super, ext_super_csum(super));
    return device_write(ext->rescue->overlay, EXT_SUPER_OFFSET, super, sizeof super, WRITE_UPDATE, err);
}

bool ext_rescue_super(struct ext_fs *ext, struct error *err)
{
    struct error other = {0};
    struct super_search s = {.dev = ext->fs.device, .view = mem_new(sizeof *s.view, &other)};
    if (!s.view)
        return false;
    if (ext->copy_block) {
        asked_place(&s, ext->copy_block);
        if (!s.found)
            fail(err, E_DAMAGED, "block %llu holds no copy of the superblock",
                 (unsigned long long)ext->copy_block);
    } else {
        told_places(&s);
        usual_places(&s);
    }
    bool ok = s.found && make_rescue(ext, s.view->block_size, &other);
    if (ok) {
        ext->rescue->copy = s.found;
        ext->rescue->copy_bits = s.view->block_bits;
        ext->rescue->why_off = err->device ? err->offset : EXT_SUPER_OFFSET;
        snprintf(ext->rescue->why, sizeof ext->rescue->why, "%.150s", err->message);
        ext->dev = ext->rescue->overlay;
        ok = show_copy(ext, s.view->super, &other) && ext_super_load(ext, &other);
    }
    free(s.view);
    return ok;
}

/* One descriptor of a block in hand: as it is, or mended. *mended says that it was. */
static bool mend_desc(struct ext_fs *ext, uint32_t group, uint8_t *desc, bool *mended, struct error *err)
{
    uint8_t copy[1024];
    if (desc_sound(ext, group, desc) || !ext_desc_copy(ext, group, copy))
        return true;
    bool same = ext_group_inode_table(ext, desc) == ext_group_inode_table(ext, copy) &&
                ext_group_block_bitmap(ext, desc) == ext_group_block_bitmap(ext, copy) &&
                ext_group_inode_bitmap(ext, desc) == ext_group_inode_bitmap(ext, copy);
    if (!same)
        memcpy(desc, copy, ext->desc_size);
    ext_desc_distrust(ext, desc);
    if (ext->group_csum)
        ext_desc_set_bg_checksum(desc, ext_desc_csum(ext, group, desc));
    *mended = true;
    return make_rescue(ext, ext->block_size, err) && ranges_add(&ext->rescue->groups, group, 1, err);
}

enum { MAX_DESC_BYTES = 256 * 1024 }; /* looked at when a volume is opened */

static bool mend_block(struct ext_fs *ext, uint32_t index, uint8_t *bytes, struct error *err)
{
    uint64_t off = ext_offset(ext, ext_desc_block(ext, index));
    bool mended = false;
    if (!range_inside(off, ext->block_size, ext->dev->size))
        return true;
    if (!device_read(ext->dev, off, bytes, ext->block_size, err))
        return false;
    uint32_t first = index * ext->descs_per_block;
    for (uint32_t i = 0; i < ext->descs_per_block && first + i < ext->groups; i++)
        if (!mend_desc(ext, first + i, bytes + (size_t)i * ext->desc_size, &mended, err))
            return false;
    return !mended || device_write(ext->rescue->overlay, off, bytes, ext->block_size, WRITE_UPDATE, err);
}

bool ext_rescue_descs(struct ext_fs *ext, struct error *err)
{
    uint32_t blocks =
        (uint32_t)MIN_OF(ext->desc_blocks, MAX_OF((uint32_t)MAX_DESC_BYTES >> ext->block_bits, 1u));
    uint8_t *bytes = mem_new(ext->block_size, err);
    bool ok = bytes != NULL;
    for (uint32_t i = 0; ok && i < blocks; i++)
        ok = mend_block(ext, i, bytes, err);
    free(bytes);
    if (!ok || !ext->rescue)
        return ok;
    cache_free(ext->cache);
    ext->cache = NULL;
    ext->dev = ext->rescue->overlay;
    if (!ext_super_load(ext, err))
        return false;
    if (ext->rescue->copy && journal_waits(ext))
        ext_set_feature(ext, EXT_NEEDS_RECOVERY, true);
    return ext_super_store(ext, err);
}

/* ---- for good ---- */

bool ext_rescue_store(struct ext_fs *ext, struct error *err)
{
    struct device *from = ext->rescue->overlay, *to = ext->fs.device;
    uint8_t super[EXT_SUPER_SIZE], *bytes = mem_new(ext->block_size, err);
    struct range run;
    bool ok = bytes && (!ext->rescue->copy ||
                        (device_read(from, EXT_SUPER_OFFSET, super, sizeof super, err) &&
                         device_write(to, EXT_SUPER_OFFSET, super, sizeof super, WRITE_UPDATE, err)));
    for (uint64_t at = 0; ok && ranges_next(&ext->rescue->groups, at, &run);) {
        uint32_t index = (uint32_t)(run.start / ext->descs_per_block);
        uint64_t off = ext_offset(ext, ext_desc_block(ext, index));
        ok = device_read(from, off, bytes, ext->block_size, err) &&
             device_write(to, off, bytes, ext->block_size, WRITE_UPDATE, err);
        at = ((uint64_t)index + 1) * ext->descs_per_block;
    }
    free(bytes);
    ext->copy_block = 0;
    return ok;
}
