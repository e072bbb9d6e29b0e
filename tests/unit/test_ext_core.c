/* The ext driver's ground: hashes, bits, times, ACLs, features, failures of memory. */
#include "ext_volume.h"

#include "alloc.h"
#include "bytes.h"
#include "ext/xattr.h"

/* The values are those of debugfs's dx_hash. */
static void hashes_are_those_of_debugfs(void **state)
{
    static const char long_name[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    static const uint8_t none[16] = {0}, seed[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const struct {
        const char *name;
        unsigned version;
        const uint8_t *seed;
        uint32_t major, minor;
    } cases[] = {
        {"a", 0, none, 0xe74b53e2, 0},
        {"hello", 0, none, 0x32252546, 0},
        {"file with spaces", 0, none, 0x65a7bab8, 0},
        {long_name, 0, none, 0xf985a9f6, 0},
        {"\xc3\xa9t\xc3\xa9", 0, none, 0x70d7b7fc, 0},
        {"a", 1, none, 0xd5fa7d7a, 0xacb48187},
        {"hello", 1, none, 0x1746da32, 0x420013b5},
        {"file with spaces", 1, none, 0xa53fe884, 0xc09346d3},
        {long_name, 1, none, 0x23aa98ac, 0x9a974df1},
        {"\xc3\xa9t\xc3\xa9", 1, none, 0xa69a4d3a, 0x22bac128},
        {"\xc3\xa9t\xc3\xa9", 4, none, 0x3eb35f16, 0x634a9ed3},
        {"a", 2, none, 0x6d0ea4c0, 0xc18922df},
        {"hello", 2, none, 0x6f5bb1a8, 0x231917c2},
        {"file with spaces", 2, none, 0x21bfd1e6, 0xcafe8faa},
        {long_name, 2, none, 0x7353ab0e, 0xcecc2718},
        {"hello", 1, seed, 0xe2ddf968, 0xc8bc0924},
        {"hello", 2, seed, 0x1a5692b6, 0x2fd9857d},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err = {0};
        struct ext_name_hash hash;
        must(
            ext_name_hash(cases[i].name, strlen(cases[i].name), cases[i].version, cases[i].seed, &hash, &err),
            &err);
        assert_int_equal(hash.major, cases[i].major);
        assert_int_equal(hash.minor, cases[i].minor);
    }
    struct error err = {0};
    struct ext_name_hash hash;
    assert_false(ext_name_hash("a", 1, EXT_HASH_SIPHASH, none, &hash, &err));
    assert_int_equal(err.kind, E_UNSUPPORTED);
}

static uint32_t slow_next(const uint8_t *bits, uint32_t from, uint32_t end, bool set)
{
    while (from < end && ext_bit(bits, from) != set)
        from++;
    return from;
}

static void bits_are_found_and_counted(void **state)
{
    uint8_t bits[64], copy[64];
    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        uint32_t from = (uint32_t)rand() % 512, end = from + (uint32_t)rand() % (513 - from), count = 0;
        for (size_t i = 0; i < sizeof bits; i++)
            bits[i] = rand() % 3 == 0 ? (uint8_t)rand() : rand() % 2 ? 0xFF : 0;
        assert_int_equal(ext_bits_next_set(bits, from, end), slow_next(bits, from, end, true));
        assert_int_equal(ext_bits_next_clear(bits, from, end), slow_next(bits, from, end, false));
        for (uint32_t i = from; i < end; i++)
            count += ext_bit(bits, i);
        assert_int_equal(ext_bits_count(bits, from, end), count);
        memcpy(copy, bits, sizeof bits);
        ext_bits_fill(bits, from, end, round & 1);
        for (uint32_t i = 0; i < 512; i++)
            assert_int_equal(ext_bit(bits, i), i >= from && i < end ? (round & 1) : ext_bit(copy, i));
    }
}

static void times_keep_what_the_inode_can_hold(void **state)
{
    static const int64_t seconds[] = {INT32_MIN,
                                      -1,
                                      0,
                                      INT32_MAX,
                                      (int64_t)INT32_MAX + 1,
                                      (int64_t)1 << 32,
                                      ((int64_t)3 << 32) + INT32_MAX};
    struct ext_fs ext = {.inode_size = 256};
    uint8_t inode[256] = {0};
    (void)state;
    ext_inode_set_i_extra_isize(inode, 32);
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++)
        for (int which = EXT_ATIME; which <= EXT_CRTIME; which++) {
            struct fs_time in = {seconds[i], 999999999}, out;
            ext_inode_set_time(&ext, inode, (enum ext_stamp)which, in);
            out = ext_inode_time(&ext, inode, (enum ext_stamp)which);
            assert_int_equal(out.sec, in.sec);
            assert_int_equal(out.nsec, in.nsec);
        }
    ext_inode_set_time(&ext, inode, EXT_MTIME, (struct fs_time){(int64_t)1 << 40, 0});
    assert_int_equal(ext_inode_time(&ext, inode, EXT_MTIME).sec, ((int64_t)3 << 32) + INT32_MAX);
    ext.inode_size = 128;
    ext_inode_set_time(&ext, inode, EXT_MTIME, (struct fs_time){(int64_t)1 << 40, 5});
    assert_int_equal(ext_inode_time(&ext, inode, EXT_MTIME).sec, INT32_MAX);
    assert_int_equal(ext_inode_time(&ext, inode, EXT_MTIME).nsec, 0);
}

static void acls_change_their_form(void **state)
{
    static const uint8_t user[] = {2, 0, 0, 0, 1, 0, 6,    0, 0xFF, 0xFF, 0xFF, 0xFF, 2,    0,
                                   4, 0, 7, 1, 0, 0, 0x20, 0, 4,    0,    0xFF, 0xFF, 0xFF, 0xFF};
    static const uint8_t stored[] = {1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 7, 1, 0, 0, 0x20, 0, 4, 0};
    struct error err = {0};
    void *out;
    size_t len;
    (void)state;
    must(ext_acl_from_user(user, sizeof user, &out, &len, &err), &err);
    assert_int_equal(len, sizeof stored);
    assert_memory_equal(out, stored, len);
    free(out);
    must(ext_acl_to_user(stored, sizeof stored, &out, &len, &err), &err);
    assert_int_equal(len, sizeof user);
    assert_memory_equal(out, user, len);
    free(out);
    assert_false(ext_acl_from_user(user, sizeof user - 1, &out, &len, &err));
    assert_false(ext_acl_to_user(stored, sizeof stored - 2, &out, &len, &err));
    assert_int_equal(err.kind, E_DAMAGED);
}

/* Write feature words into a sealed superblock. */
static void set_features(struct device *dev, unsigned off, uint32_t value)
{
    uint8_t super[EXT_SUPER_SIZE];
    struct error err = {0};
    must(device_read(dev, EXT_SUPER_OFFSET, super, sizeof super, &err), &err);
    store_le32(super + off, value);
    ext_super_set_s_checksum(super, ext_super_csum(super));
    must(device_write(dev, EXT_SUPER_OFFSET, super, sizeof super, WRITE_UPDATE, &err), &err);
}

/* Every bit in turn: unknown incompatible ones forbid all access,
 * read-only-compatible ones changes, by name. */
static void unknown_features_are_refused_by_name(void **state)
{
    struct ext_volume volume;
    (void)state;
    volume_make(&volume, "ext4", "^has_journal,metadata_csum", 8 * MiB);
    uint32_t incompat = volume.ext->incompat, ro_compat = volume.ext->ro_compat, compat = volume.ext->compat;
    ext_fs_close(volume.fs);
    for (unsigned bit = 0; bit < 32; bit++) {
        struct error err = {0};
        char name[32];
        uint32_t mask = (uint32_t)1 << bit;
        snprintf(name, sizeof name, "0x%x", mask);
        bool known = false;
        for (const struct ext_feature *feature = ext_features; feature->name; feature++)
            known |= feature->id == EXT_INCOMPAT(mask) && feature->access != EXT_FEATURE_REFUSED;
        if (!known) {
            set_features(volume.dev, ext_super_off_s_feature_incompat, incompat | mask);
            assert_false(ext_open(volume.dev, false, &volume.fs, &err));
            assert_int_equal(err.kind, E_UNSUPPORTED);
            assert_true(strstr(err.message, name) || strstr(err.message, "journal_dev"));
            set_features(volume.dev, ext_super_off_s_feature_incompat, incompat);
        }
        known = false;
        for (const struct ext_feature *feature = ext_features; feature->name; feature++)
            known |= feature->id == EXT_RO_COMPAT(mask);
        if (!known) {
            set_features(volume.dev, ext_super_off_s_feature_ro_compat, ro_compat | mask);
            must(ext_open(volume.dev, false, &volume.fs, &err), &err);
            assert_int_equal(volume.fs->change, FS_NEVER);
            assert_non_null(strstr(volume.fs->why, name));
            fs_id id;
            struct fs_attr attr = {.mode = S_IFREG | 0644};
            assert_false(volume.fs->driver->create(volume.fs, EXT_ROOT_INO, "x", &attr, NULL, &id, &err));
            assert_int_equal(err.kind, E_READONLY);
            ext_fs_close(volume.fs);
            set_features(volume.dev, ext_super_off_s_feature_ro_compat, ro_compat);
        }
        known = false;
        for (const struct ext_feature *feature = ext_features; feature->name; feature++)
            known |= feature->id == EXT_COMPAT(mask);
        if (!known) { /* unknown compatible ones are kept */
            set_features(volume.dev, ext_super_off_s_feature_compat, compat | mask);
            must(ext_open(volume.dev, false, &volume.fs, &err), &err);
            volume_create(&(struct ext_volume){volume.dev, volume.fs, ext_of(volume.fs)}, name,
                          S_IFREG | 0644);
            must(ext_fs_flush(volume.fs, &err), &err);
            ext_fs_close(volume.fs);
            uint8_t super[EXT_SUPER_SIZE];
            must(device_read(volume.dev, EXT_SUPER_OFFSET, super, sizeof super, &err), &err);
            assert_int_equal(ext_super_s_feature_compat(super), compat | mask);
            set_features(volume.dev, ext_super_off_s_feature_compat, compat);
        }
    }
    device_close(volume.dev);
}

/* One of everything; false with E_NOMEM when memory ends on the way. */
static bool exercise(struct fs *fs, struct error *err)
{
    const struct fs_driver *driver = fs->driver;
    struct fs_attr attr = {.mode = S_IFDIR | 0755};
    char name[64];
    fs_id dir, id;
    static uint8_t data[20000];
    if (!driver->create(fs, fs->root, "dir", &attr, NULL, &dir, err))
        return false;
    attr.mode = S_IFREG | 0644;
    for (int i = 0; i < 80; i++) {
        snprintf(name, sizeof name, "a name of some length %d", i);
        if (!driver->create(fs, dir, name, &attr, NULL, &id, err))
            return false;
    }
    return driver->write(fs, id, 5000, data, sizeof data, err) &&
           driver->xattr_set(fs, id, "user.small", "v", 1, err) &&
           driver->xattr_set(fs, id, "user.large", data, 700, err) &&
           driver->punch(fs, id, 8192, 4096, err) && driver->truncate(fs, id, 100, err) &&
           driver->rename(fs, dir, name, fs->root, "moved", &id, err) &&
           driver->remove(fs, fs->root, "moved", err) && driver->flush(fs, err);
}

static void running_out_of_memory_is_an_error(void **state)
{
    struct error err = {0};
    bool done = false;
    (void)state;
    for (uint64_t n = 1; !done; n += n < 200 ? 1 : 7) {
        struct ext_volume volume;
        volume_make(&volume, "ext4", "^has_journal,blocksize=1K", 4 * MiB);
        mem_fail_at(n);
        done = exercise(volume.fs, &err);
        mem_fail_at(0);
        assert_true(done || err.kind == E_NOMEM);
        volume_free(&volume);
    }
}

static void free_counts_return(void **state)
{
    static const char *const kinds[] = {"^has_journal,blocksize=1K", "^has_journal,bigalloc,blocksize=1K",
                                        "^has_journal,^extent,^64bit,^flex_bg,^metadata_csum,blocksize=1K"};
    (void)state;
    for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
        struct ext_volume volume;
        struct error err = {0};
        char name[32];
        unsigned count = 0, files;
        static uint8_t data[100000];
        struct fs_attr root, grown;
        volume_make(&volume, "ext4", kinds[kind], 10 * MiB);
        const struct fs_driver *driver = volume.fs->driver;
        must(driver->getattr(volume.fs, EXT_ROOT_INO, &root, &err), &err);
        uint64_t blocks = ext_free_blocks(volume.ext),
                 inodes = ext_super_s_free_inodes_count(volume.ext->super);
        must(driver->flush(volume.fs, &err), &err);
        for (bool full = false; !full; count++) { /* a failed step is taken back, as the session does */
            struct fs_attr attr = {.mode = S_IFREG | 0644};
            fs_id id;
            snprintf(name, sizeof name, "f%u", count);
            full = !driver->create(volume.fs, EXT_ROOT_INO, name, &attr, NULL, &id, &err) ||
                   !driver->write(volume.fs, id, 0, data, sizeof data, &err);
            struct error other;
            if (full)
                must(driver->reload(volume.fs, &other), &other);
            else
                must(driver->flush(volume.fs, &other), &other);
        }
        assert_int_equal(err.kind, E_NOSPACE);
        volume_check_counts(&volume);
        files = count;
        for (count = 0; count < files; count++) {
            snprintf(name, sizeof name, "f%u", count);
            if (!driver->remove(volume.fs, EXT_ROOT_INO, name, &err))
                assert_int_equal(err.kind, E_NOENT);
        }
        volume_check_counts(&volume);
        assert_int_equal(inodes, ext_super_s_free_inodes_count(volume.ext->super));
        must(driver->getattr(volume.fs, EXT_ROOT_INO, &grown, &err), &err);
        assert_int_equal((blocks - ext_free_blocks(volume.ext)) * volume.ext->block_size,
                         grown.allocated - root.allocated);
        volume_free(&volume);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_those_of_debugfs),
        cmocka_unit_test(bits_are_found_and_counted),
        cmocka_unit_test(times_keep_what_the_inode_can_hold),
        cmocka_unit_test(acls_change_their_form),
        cmocka_unit_test(unknown_features_are_refused_by_name),
        cmocka_unit_test(running_out_of_memory_is_an_error),
        cmocka_unit_test(free_counts_return),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
