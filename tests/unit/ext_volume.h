/* What the unit tests of the ext driver share: a volume in memory, opened. */
#ifndef DISH_TESTS_EXT_VOLUME_H
#define DISH_TESTS_EXT_VOLUME_H

#include "ext/ext.h"
#include "unit.h"

#include <sys/stat.h>

struct ext_volume {
    struct device *dev;
    struct fs *fs;
    struct ext_fs *ext;
};

/* Not random: tests repeat. */
static inline void same_bytes(void *buf, size_t n)
{
    memset(buf, 0x5A, n);
}

static inline void volume_make(struct ext_volume *volume, const char *type, const char *text, uint64_t size)
{
    struct error err = {0};
    struct options options = {0};
    volume->dev = memory_device_new(size, &err);
    must(volume->dev, &err);
    must(options_parse(&options, ext_mkfs_options, text, &err), &err);
    struct mkfs_params params = {
        .type = type, .options = &options, .now = {.sec = 1600000000}, .random = same_bytes};
    must(ext_mkfs(volume->dev, &params, &err), &err);
    options_free(&options);
    must(ext_open(volume->dev, false, &volume->fs, &err), &err);
    volume->ext = ext_of(volume->fs);
}

static inline void volume_free(struct ext_volume *volume)
{
    ext_fs_close(volume->fs);
    device_close(volume->dev);
}

/* A new file in the root directory. */
static inline fs_id volume_create(struct ext_volume *volume, const char *name, uint32_t mode)
{
    struct error err = {0};
    struct fs_attr attr = {.mode = mode};
    fs_id id = 0;
    must(volume->fs->driver->create(volume->fs, EXT_ROOT_INO, name, &attr, NULL, &id, &err), &err);
    return id;
}

/* Free counts of superblock, descriptors and bitmaps agree. */
static inline void volume_check_counts(struct ext_volume *volume)
{
    struct ext_fs *ext = volume->ext;
    struct error err = {0};
    uint64_t blocks = 0, inodes = 0;
    uint8_t *bits = malloc(ext->block_size);
    for (uint32_t group = 0; group < ext->groups; group++) {
        struct ext_group desc;
        must(ext_group_get(ext, group, &desc, &err), &err);
        uint64_t free_blocks = ext_group_free_blocks_count(ext, desc.raw);
        uint64_t free_inodes = ext_group_free_inodes_count(ext, desc.raw);
        ext_group_put(ext, &desc);
        must(ext_bitmap_read_raw(ext, EXT_BLOCK_BITMAP, group, bits, &err), &err);
        uint32_t clusters = ext_group_clusters(ext, group);
        assert_int_equal(free_blocks, clusters - ext_bits_count(bits, 0, clusters));
        must(ext_bitmap_read_raw(ext, EXT_INODE_BITMAP, group, bits, &err), &err);
        assert_int_equal(free_inodes, ext->inodes_per_group - ext_bits_count(bits, 0, ext->inodes_per_group));
        blocks += free_blocks << ext->cluster_bits;
        inodes += free_inodes;
    }
    free(bits);
    assert_int_equal(blocks, ext_free_blocks(ext));
    assert_int_equal(inodes, ext_super_s_free_inodes_count(ext->super));
}

#endif
