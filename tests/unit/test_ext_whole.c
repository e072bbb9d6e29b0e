/* Whole ext volumes: made, checked, mended from copies, resized, tuned; and the parts that serve these. */
#include "ext_volume.h"

#include "bytes.h"
#include "ext/backup.h"
#include "ext/check.h"
#include "ext/dir.h"
#include "ext/journal.h"
#include "ext/mkfs.h"
#include "ext/rescue.h"

/* ---- making ---- */

static void journals_are_as_large_as_those_of_mke2fs(void **state)
{
    static const struct {
        uint64_t blocks, journal;
    } sizes[] = {
        {2047, 0},          {2048, 1024},
        {32767, 1024},      {32768, 4096},
        {262143, 4096},     {262144, 8192},
        {524287, 8192},     {524288, 16384},
        {4194303, 16384},   {4194304, 32768},
        {8388608, 65536},   {16777216, 131072},
        {33554432, 262144}, {(uint64_t)1 << 32, 262144},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        assert_int_equal(ext_default_journal_blocks(sizes[i].blocks), sizes[i].journal);
}

struct groups {
    uint32_t seen[32];
    unsigned count;
};

static bool note_group(uint32_t group, uint64_t block, void *arg, struct error *err)
{
    struct groups *groups = arg;
    (void)block;
    (void)err;
    assert_true(groups->count < ARRAY_LEN(groups->seen));
    groups->seen[groups->count++] = group;
    return true;
}

static void copies_lie_in_their_groups(void **state)
{
    static const uint32_t sparse[] = {1, 3, 5, 7, 9, 25, 27};
    struct ext_volume volume;
    struct error err = {0};
    struct groups groups = {0};
    (void)state;
    volume_make(&volume, "ext4", "^has_journal,blocksize=1K", 256 * MiB);
    assert_int_equal(volume.ext->groups, 32);
    must(ext_backup_each_desc(volume.ext, 0, note_group, &groups, &err), &err);
    assert_int_equal(groups.count, ARRAY_LEN(sparse));
    assert_memory_equal(groups.seen, sparse, sizeof sparse);
    for (unsigned i = 0; i < groups.count; i++) {
        uint8_t super[EXT_SUPER_SIZE];
        uint64_t off = ext_offset(volume.ext, ext_backup_super_block(volume.ext, sparse[i]));
        must(device_read(volume.dev, off, super, sizeof super, &err), &err);
        assert_int_equal(ext_super_s_magic(super), EXT_MAGIC);
        assert_int_equal(ext_super_s_block_group_nr(super), sparse[i]);
    }
    volume_free(&volume);
}

/* ---- the overlay of the journal ---- */

static void the_overlay_shows_what_was_put_there(void **state)
{
    struct error err = {0};
    uint8_t bytes[4096];
    struct device *base = memory_device_new(MiB, &err), *overlay;
    (void)state;
    must(base, &err);
    memset(bytes, 'a', sizeof bytes);
    must(device_write(base, 0, bytes, 1024, WRITE_UPDATE, &err), &err);
    overlay = ext_overlay_new(base, 1024, &err);
    must(overlay, &err);
    must(ext_overlay_map(overlay, 5, 0, false, &err), &err); /* block 5 reads as block 0 */
    must(ext_overlay_map(overlay, 6, 0, true, &err), &err);  /* with its magic number put back */
    must(device_write(overlay, 7 * 1024 + 10, "text", 4, WRITE_UPDATE, &err), &err);
    must(device_read(overlay, 5 * 1024, bytes, 3 * 1024, &err), &err);
    assert_int_equal(bytes[0], 'a');
    assert_int_equal(bytes[1023], 'a');
    assert_memory_equal(bytes + 1024, "\xC0\x3B\x39\x98", 4);
    assert_int_equal(bytes[1024 + 4], 'a');
    assert_memory_equal(bytes + 2048 + 10, "text", 4);
    must(device_read(base, 7 * 1024, bytes, 1024, &err), &err);
    assert_true(all_zero(bytes, 1024)); /* nothing goes below */
    device_close(overlay);
    device_close(base);
}

/* ---- checking ---- */

static bool accept_finding(struct check *check, const struct finding *finding)
{
    (void)check;
    if (finding->kind != FINDING_NOTE)
        print_message("  %s: %s\n", finding->code, finding->text);
    return true;
}

static struct check check_volume(struct ext_volume *volume, enum repair repair)
{
    struct error err = {0};
    struct check check = {.repair = repair, .found = accept_finding};
    must(volume->fs->driver->flush(volume->fs, &err), &err); /* as after every command */
    must(volume->fs->driver->check(volume->fs, &check, &err), &err);
    return check;
}

static void expect_sound(struct ext_volume *volume)
{
    struct check check = check_volume(volume, REPAIR_NONE);
    assert_int_equal(check.damage, 0);
    assert_int_equal(check.leaks, 0);
}

static void tallies_keep_counts_by_key(void **state)
{
    struct ext_tally tally = {0};
    struct error err = {0};
    (void)state;
    assert_null(ext_tally_find(&tally, 0));
    for (uint64_t key = 0; key < 10000; key++)
        for (uint64_t i = 0; i <= key % 3; i++) {
            struct ext_tally_slot *slot = ext_tally_slot(&tally, key * 977, &err);
            must(slot, &err);
            slot->count++;
        }
    for (uint64_t key = 0; key < 10000; key++)
        assert_int_equal(ext_tally_find(&tally, key * 977)->count, key % 3 + 1);
    assert_null(ext_tally_find(&tally, 1));
    ext_tally_free(&tally);
}

static void wrong_counts_and_bitmaps_are_mended(void **state)
{
    struct ext_volume volume;
    struct error err = {0};
    struct cache_block *bits;
    (void)state;
    volume_make(&volume, "ext4", "blocksize=1K", 32 * MiB);
    for (unsigned i = 0; i < 50; i++) {
        char name[20];
        snprintf(name, sizeof name, "file%u", i);
        fs_id id = volume_create(&volume, name, S_IFREG | 0644);
        must(volume.fs->driver->write(volume.fs, id, 0, name, sizeof name, &err), &err);
    }
    expect_sound(&volume);
    must(ext_bitmap_edit(volume.ext, EXT_BLOCK_BITMAP, 1, &bits, &err), &err);
    ext_bits_fill(bits->data, 5000, 5010, true);
    ext_block_put(volume.ext, bits);
    ext_add_free_inodes(volume.ext, 7);
    must(volume.fs->driver->flush(volume.fs, &err), &err);
    struct check check = check_volume(&volume, REPAIR_NONE);
    assert_true(check.damage > 0 && check.leaks > 0);
    check = check_volume(&volume, REPAIR_ALL);
    assert_int_equal(check.damage, check.damage_fixed);
    expect_sound(&volume);
    volume_check_counts(&volume);
    volume_free(&volume);
}

/* ---- copies ---- */

static void read_back(struct ext_volume *volume, const char *text)
{
    struct error err = {0};
    char bytes[16] = {0};
    fs_id id;
    must(volume->fs->driver->lookup(volume->fs, EXT_ROOT_INO, "file", &id, &err), &err);
    must(volume->fs->driver->read(volume->fs, id, 0, bytes, strlen(text), &err), &err);
    assert_string_equal(bytes, text);
}

/* A volume whose root directory holds "file", which read_back() can read. */
static void make_with_file(struct ext_volume *volume, const char *features)
{
    struct error err = {0};
    volume_make(volume, "ext4", features, 64 * MiB);
    fs_id id = volume_create(volume, "file", S_IFREG | 0644);
    must(volume->fs->driver->write(volume->fs, id, 0, "contents", 8, &err), &err);
}

static void a_lost_superblock_comes_back(void **state)
{
    static const char *const features[] = {"blocksize=1K", "blocksize=1K,^metadata_csum,^flex_bg,^64bit",
                                           "blocksize=1K,meta_bg,^resize_inode",
                                           "blocksize=1K,sparse_super2"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(features); i++) {
        struct ext_volume volume;
        struct error err = {0};
        make_with_file(&volume, features[i]);
        must(volume.fs->driver->flush(volume.fs, &err), &err);
        ext_fs_close(volume.fs);
        assert_int_equal(ext_driver.head.probe(volume.dev) > PROBE_REMAINS, true);
        must(device_zero(volume.dev, 1024, 3072, WRITE_UPDATE, &err), &err); /* and the descriptors */
        assert_int_equal(ext_driver.head.probe(volume.dev), PROBE_REMAINS);
        must(ext_open(volume.dev, false, &volume.fs, &err), &err);
        volume.ext = ext_of(volume.fs);
        assert_int_equal(volume.fs->change, FS_NEVER);
        assert_true(volume.fs->mendable);
        read_back(&volume, "contents");
        assert_true(check_volume(&volume, REPAIR_NONE).damage > 0);
        struct check check = check_volume(&volume, REPAIR_ALL);
        assert_int_equal(check.damage, check.damage_fixed);
        assert_int_equal(volume.fs->change, FS_IN_PLACE);
        read_back(&volume, "contents");
        volume_create(&volume, "another", S_IFDIR | 0755);
        expect_sound(&volume);
        volume_free(&volume);
    }
}

static void nothing_is_found_where_nothing_was(void **state)
{
    struct error err = {0};
    struct device *dev = memory_device_new(256 * MiB, &err);
    struct fs *fs;
    (void)state;
    must(dev, &err);
    assert_int_equal(ext_driver.head.probe(dev), 0);
    assert_false(ext_open(dev, false, &fs, &err));
    assert_int_equal(err.kind, E_DAMAGED);
    assert_false(ext_open_copy(dev, false, 8193, &fs, &err));
    device_close(dev);
}

/* ---- directories laid out anew ---- */

static void count_twice(void *arg, uint32_t ino, const char *name, size_t len)
{
    (void)ino;
    (void)name;
    (void)len;
    ++*(unsigned *)arg;
}

static void rehash(unsigned names, const char *features, bool index)
{
    struct ext_volume volume;
    struct error err = {0};
    struct ext_inode inode;
    volume_make(&volume, "ext4", features, 64 * MiB);
    const struct fs_driver *driver = volume.fs->driver;
    fs_id dir = volume_create(&volume, "d", S_IFDIR | 0755),
          file = volume_create(&volume, "f", S_IFREG | 0644);
    char name[64];
    for (unsigned i = 0; i < names; i++) {
        snprintf(name, sizeof name, "a name of some length, number %u", i);
        must(driver->link(volume.fs, file, dir, name, &err), &err);
        if (i % 3 == 0)
            must(driver->remove(volume.fs, dir, name, &err), &err);
    }
    ext_set_feature(volume.ext, EXT_DIR_INDEX, index);
    must(ext_inode_get(volume.ext, (uint32_t)dir, &inode, &err), &err);
    must(ext_dir_rehash(volume.ext, &inode, NULL, NULL, &err), &err);
    assert_int_equal(ext_inode_flag(inode.raw, EXT_FL_INDEX), index && names > 30);
    ext_inode_put(volume.ext, &inode);
    must(driver->flush(volume.fs, &err), &err);
    expect_sound(&volume);
    for (unsigned i = 0; i < names; i++) {
        fs_id id;
        snprintf(name, sizeof name, "a name of some length, number %u", i);
        assert_int_equal(driver->lookup(volume.fs, dir, name, &id, &err), i % 3 != 0);
        if (i % 3 == 0)
            must(driver->link(volume.fs, file, dir, name, &err), &err);
    }
    must(driver->flush(volume.fs, &err), &err);
    expect_sound(&volume);
    volume_free(&volume);
}

static void directories_are_laid_out_anew(void **state)
{
    (void)state;
    rehash(10, "blocksize=1K", true);
    rehash(2000, "blocksize=1K", true);
    rehash(2000, "blocksize=1K,^metadata_csum", true);
    rehash(2000, "blocksize=1K", false);
    rehash(9000, "blocksize=1K,^dir_index", true); /* two levels */
}

static void a_name_that_is_there_twice_is_left_out(void **state)
{
    struct ext_volume volume;
    struct error err = {0};
    struct ext_inode inode;
    unsigned twice = 0;
    (void)state;
    volume_make(&volume, "ext4", "blocksize=1K,^has_journal,^dir_index", 16 * MiB);
    const struct fs_driver *driver = volume.fs->driver;
    fs_id dir = volume_create(&volume, "d", S_IFDIR | 0755),
          file = volume_create(&volume, "f", S_IFREG | 0644);
    must(ext_inode_get(volume.ext, (uint32_t)dir, &inode, &err), &err);
    for (unsigned i = 0; i < 100; i++) {
        char name[64];
        int n = snprintf(name, sizeof name, "a name of some length, number %u", i % 90);
        must(ext_dir_add(volume.ext, &inode, name, (size_t)n, (uint32_t)file, S_IFREG, &err), &err);
    }
    ext_set_feature(volume.ext, EXT_DIR_INDEX, true);
    assert_false(ext_dir_rehash(volume.ext, &inode, NULL, NULL, &err));
    assert_int_equal(err.kind, E_DAMAGED);
    must(ext_dir_rehash(volume.ext, &inode, count_twice, &twice, &err), &err);
    ext_inode_put(volume.ext, &inode);
    assert_int_equal(twice, 10);
    assert_false(driver->lookup(volume.fs, dir, "none", &file, &err));
    volume_free(&volume);
}

/* ---- resizing ---- */

static void sizes_come_and_go(void **state)
{
    static const char *const features[] = {"blocksize=1K", "blocksize=1K,^flex_bg,^resize_inode",
                                           "blocksize=1K,meta_bg,^resize_inode", "blocksize=4K"};
    static const unsigned sizes[] = {20, 64, 33, 50, 17};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(features); i++) {
        struct ext_volume volume;
        struct error err = {0};
        make_with_file(&volume, features[i]);
        for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
            must(volume.fs->driver->resize(volume.fs, sizes[k] * MiB, &err), &err);
            must(volume.fs->driver->flush(volume.fs, &err), &err);
            volume_check_counts(&volume);
            expect_sound(&volume);
            read_back(&volume, "contents");
        }
        volume_free(&volume);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(journals_are_as_large_as_those_of_mke2fs),
        cmocka_unit_test(copies_lie_in_their_groups),
        cmocka_unit_test(the_overlay_shows_what_was_put_there),
        cmocka_unit_test(tallies_keep_counts_by_key),
        cmocka_unit_test(wrong_counts_and_bitmaps_are_mended),
        cmocka_unit_test(a_lost_superblock_comes_back),
        cmocka_unit_test(nothing_is_found_where_nothing_was),
        cmocka_unit_test(directories_are_laid_out_anew),
        cmocka_unit_test(a_name_that_is_there_twice_is_left_out),
        cmocka_unit_test(sizes_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
