/* Directories of all forms against a table of names. */
#include "ext_volume.h"

#include "bytes.h"

enum { NAMES = 3000 };

static void name_of(unsigned i, char *out, size_t size)
{
    unsigned pad = i * 37 % 40;
    snprintf(out, size, "%u-%.*s", i, (int)pad, "a name that is longer for some of the numbers");
}

struct seen {
    bool names[NAMES];
    unsigned count;
};

static bool see(const struct fs_entry *entry, void *arg)
{
    struct seen *seen = arg;
    if (strcmp(entry->name, "lost+found") == 0)
        return true;
    assert_null(entry->fault);
    unsigned i = (unsigned)strtoul(entry->name, NULL, 10);
    assert_true(i < NAMES);
    assert_false(seen->names[i]);
    seen->names[i] = true;
    seen->count++;
    return true;
}

static void check_names(struct ext_volume *volume, fs_id dir, const bool *there)
{
    const struct fs_driver *driver = volume->fs->driver;
    struct error err = {0};
    struct seen *seen = calloc(1, sizeof *seen);
    must(driver->readdir(volume->fs, dir, see, seen, &err), &err);
    for (unsigned i = 0; i < NAMES; i++) {
        char name[80];
        fs_id id;
        name_of(i, name, sizeof name);
        assert_int_equal(seen->names[i], there[i]);
        assert_int_equal(driver->lookup(volume->fs, dir, name, &id, &err), there[i]);
        assert_true(there[i] || err.kind == E_NOENT);
    }
    free(seen);
}

static void run(const char *type, const char *features)
{
    struct ext_volume volume;
    struct error err = {0};
    static bool there[NAMES];
    volume_make(&volume, type, features, 64 * MiB);
    const struct fs_driver *driver = volume.fs->driver;
    fs_id dir = volume_create(&volume, "0-", S_IFDIR | 0755),
          file = volume_create(&volume, "1-", S_IFREG | 0644);
    memset(there, 0, sizeof there);
    for (unsigned step = 0; step < 12000; step++) {
        unsigned i = (unsigned)rand() % (step < 200 ? 20 : NAMES);
        char name[80];
        name_of(i, name, sizeof name);
        if (there[i] && rand() % 3 == 0)
            must(driver->remove(volume.fs, dir, name, &err), &err);
        else if (!there[i])
            must(driver->link(volume.fs, file, dir, name, &err), &err);
        else
            continue;
        there[i] = !there[i];
        if (step % 3000 == 0 || step == 150)
            check_names(&volume, dir, there);
    }
    check_names(&volume, dir, there);
    must(driver->flush(volume.fs, &err), &err);
    must(driver->reload(volume.fs, &err), &err);
    check_names(&volume, dir, there);
    volume_check_counts(&volume);
    volume_free(&volume);
}

static void linear_directories(void **state)
{
    (void)state;
    run("ext2", "^dir_index,blocksize=1K");
}

static void indexed_directories(void **state)
{
    (void)state;
    run("ext4", "^has_journal,blocksize=1K");
    run("ext4", "^has_journal,blocksize=4K,hash_alg=tea");
    run("ext3", "^has_journal,blocksize=1K,hash_alg=legacy");
    run("ext4", "^has_journal,blocksize=64K");
}

static void inline_directories(void **state)
{
    (void)state;
    run("ext4", "^has_journal,blocksize=1K,inline_data,inode_size=512");
}

/* Three levels of the index, and the end of it without large_dir. */
static void large_directories(void **state)
{
    (void)state;
    for (int large = 0; large < 2; large++) {
        struct ext_volume volume;
        struct error err = {0};
        char name[256];
        fs_id id;
        unsigned count = 0;
        volume_make(&volume, "ext4",
                    large ? "^has_journal,blocksize=1K,large_dir" : "^has_journal,blocksize=1K", 256 * MiB);
        const struct fs_driver *driver = volume.fs->driver;
        fs_id dir = volume_create(&volume, "d", S_IFDIR | 0755);
        struct fs_attr attr = {.mode = S_IFREG | 0644};
        for (bool ok = true; ok && count < 60000; count++) {
            snprintf(name, sizeof name, "%0230u", count);
            ok = driver->create(volume.fs, dir, name, &attr, NULL, &id, &err);
            assert_true(ok || err.kind == E_NOSPACE);
        }
        struct ext_inode inode;
        struct cache_block *block;
        struct ext_mapping root;
        must(ext_inode_get(volume.ext, (uint32_t)dir, &inode, &err), &err);
        must(ext_map(volume.ext, &inode, 0, &root, &err), &err);
        must(ext_block_get(volume.ext, root.start, EXT_TAG_INDEX, ext_inode_owner(&inode), &block, &err),
             &err);
        assert_int_equal(ext_dxr_indirect_levels(block->data), large ? 2 : 1);
        ext_block_put(volume.ext, block);
        ext_inode_put(volume.ext, &inode);
        assert_int_equal(count == 60000, large);
        for (unsigned i = 0; i + 1 < count; i += 97) {
            snprintf(name, sizeof name, "%0230u", i);
            must(driver->lookup(volume.fs, dir, name, &id, &err), &err);
        }
        volume_free(&volume);
    }
}

/* Counting of subdirectories stops at 65000. */
static void links_of_a_full_directory(void **state)
{
    struct ext_volume volume;
    struct error err = {0};
    struct fs_attr attr = {.mode = S_IFDIR | 0755}, got;
    fs_id id;
    char name[16];
    (void)state;
    volume_make(&volume, "ext4", "^has_journal,blocksize=1K,inodes=70000,inode_size=128", 128 * MiB);
    const struct fs_driver *driver = volume.fs->driver;
    fs_id dir = volume_create(&volume, "d", S_IFDIR | 0755);
    for (unsigned i = 0; i < 65010; i++) {
        snprintf(name, sizeof name, "%u", i);
        must(driver->create(volume.fs, dir, name, &attr, NULL, &id, &err), &err);
        if (i == 64997 || i == 64998 || i == 65009) {
            must(driver->getattr(volume.fs, dir, &got, &err), &err);
            assert_int_equal(got.nlink, i == 64997 ? 65000 : 1);
        }
    }
    volume_free(&volume);
}

/* A damaged block is told, and the rest of the directory listed. */
struct faults {
    unsigned good, bad;
};

static bool see_fault(const struct fs_entry *entry, void *arg)
{
    struct faults *faults = arg;
    if (entry->fault)
        faults->bad++;
    else
        faults->good++;
    return true;
}

static void damaged_blocks_are_told(void **state)
{
    struct ext_volume volume;
    struct error err = {0};
    struct ext_mapping run_of;
    struct ext_inode inode;
    (void)state;
    volume_make(&volume, "ext4", "^has_journal,blocksize=1K,^dir_index", 16 * MiB);
    const struct fs_driver *driver = volume.fs->driver;
    fs_id dir = volume_create(&volume, "d", S_IFDIR | 0755),
          file = volume_create(&volume, "f", S_IFREG | 0644);
    for (unsigned i = 0; i < 400; i++) {
        char name[80];
        name_of(i, name, sizeof name);
        must(driver->link(volume.fs, file, dir, name, &err), &err);
    }
    must(driver->flush(volume.fs, &err), &err);
    must(ext_inode_get(volume.ext, (uint32_t)dir, &inode, &err), &err);
    must(ext_map(volume.ext, &inode, 2, &run_of, &err), &err);
    ext_inode_put(volume.ext, &inode);
    must(
        device_write(volume.dev, ext_offset(volume.ext, run_of.start) + 4, "\xff\xff", 2, WRITE_UPDATE, &err),
        &err);
    must(driver->reload(volume.fs, &err), &err);
    struct faults faults = {0};
    must(driver->readdir(volume.fs, dir, see_fault, &faults, &err), &err);
    assert_int_equal(faults.bad, 1);
    assert_in_range(faults.good, 300, 399);
    volume_free(&volume);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_directories),        cmocka_unit_test(indexed_directories),
        cmocka_unit_test(inline_directories),        cmocka_unit_test(large_directories),
        cmocka_unit_test(links_of_a_full_directory), cmocka_unit_test(damaged_blocks_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
