#include "bytes.h"
#include "fault.h"
#include "host_file.h"

#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

static const struct host_file_options plain;
static char dir[64], path[128];

static int setup(void **state)
{
    (void)state;
    make_scratch(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/image", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_scratch(dir);
    return 0;
}

static struct device *open_file(void)
{
    struct device *dev;
    struct error err;
    must(host_file_open(path, &plain, &dev, &err), &err);
    return dev;
}

static struct device *open_writable(void)
{
    struct error err;
    struct device *dev = open_file();
    must(host_file_make_writable(dev, &err), &err);
    return dev;
}

static void test_reads_and_writes(void **state)
{
    (void)state;
    struct error err;
    write_file(path, "0123456789", 10);
    struct device *dev = open_file();
    char buf[10];
    assert_int_equal(dev->size, 10);
    must(device_read(dev, 3, buf, 4, &err), &err);
    assert_memory_equal(buf, "3456", 4);
    assert_false(device_read(dev, 8, buf, 3, &err));
    must(host_file_make_writable(dev, &err), &err);
    must(device_write(dev, 2, "ab", 2, WRITE_UPDATE, &err), &err);
    must(device_resize(dev, 20, &err), &err);
    must(device_read(dev, 2, buf, 3, &err), &err);
    assert_memory_equal(buf, "ab4", 3);
    must(device_read(dev, 10, buf, 10, &err), &err);
    assert_true(all_zero(buf, 10));
    device_close(dev);
}

static void test_vectors_of_any_shape(void **state)
{
    (void)state;
    struct error err;
    enum { COUNT = 1000 };
    static uint8_t bytes[COUNT * 7], back[COUNT * 7];
    struct iovec vector[COUNT];
    size_t total = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 >> 3);
    for (size_t i = 0; i < COUNT; i++) {
        vector[i] = (struct iovec){bytes + total, i % 7};
        total += i % 7;
    }
    write_file(path, "", 0);
    struct device *dev = open_writable();
    must(device_resize(dev, 100 + total, &err), &err);
    must(host_file_write_vector(dev, 100, vector, COUNT, &err), &err);
    must(device_read(dev, 100, back, total, &err), &err);
    assert_memory_equal(back, bytes, total);
    /* A regular file grows. */
    must(host_file_write_vector(dev, 5000, vector, COUNT, &err), &err);
    assert_int_equal(dev->size, 5000 + total);
    must(device_read(dev, 5000, back, total, &err), &err);
    assert_memory_equal(back, bytes, total);
    assert_false(host_file_write_vector(dev, INT64_MAX - 10, vector, COUNT, &err));
    assert_int_equal(err.kind, E_TOOBIG);
    device_close(dev);
}

static void test_holes(void **state)
{
    (void)state;
    struct error err;
    struct extent extent;
    write_file(path, "", 0);
    struct device *dev = open_writable();
    static uint8_t ones[128 * KiB];
    memset(ones, 1, sizeof ones);
    must(device_resize(dev, MiB, &err), &err);
    must(device_write(dev, 256 * KiB, ones, sizeof ones, WRITE_UPDATE, &err), &err);
    assert_true(host_file_is_hole(dev, 0, 256 * KiB));
    assert_false(host_file_is_hole(dev, 0, 256 * KiB + 1));
    assert_false(host_file_is_hole(dev, 256 * KiB, 1));
    assert_true(host_file_is_hole(dev, 512 * KiB, GiB));
    assert_true(host_file_is_hole(dev, 2 * MiB, 1));
    must(device_map_to_bottom(dev, 0, &extent, &err), &err);
    must(device_map(dev, 0, &extent, &err), &err);
    assert_true(extent.flags & EXTENT_HOLE && extent.len == 256 * KiB && extent.device == dev);
    must(device_map(dev, 256 * KiB, &extent, &err), &err);
    assert_true(!(extent.flags & EXTENT_HOLE) && extent.len == 128 * KiB && extent.off == 256 * KiB);
    must(device_map(dev, 384 * KiB, &extent, &err), &err);
    assert_true(extent.flags & EXTENT_HOLE && extent.len == 640 * KiB);
    must(host_file_punch(dev, 256 * KiB, GiB, &err), &err);
    assert_true(host_file_is_hole(dev, 0, MiB));
    assert_int_equal(dev->size, MiB);
    device_close(dev);
}

static void test_looking_leaves_no_trace(void **state)
{
    (void)state;
    struct error err;
    struct stat before, after;
    write_file(path, "abc", 3);
    assert_int_equal(stat(path, &before), 0);
    struct device *dev = open_file();
    assert_false(host_file_is_writable(dev));
    assert_false(device_write(dev, 0, "x", 1, WRITE_UPDATE, &err));
    device_close(dev);
    assert_int_equal(stat(path, &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
    assert_memory_equal(&before.st_ctim, &after.st_ctim, sizeof before.st_ctim);
}

static void test_read_only_options(void **state)
{
    (void)state;
    struct error err;
    struct device *dev;
    write_file(path, "abc", 3);
    must(host_file_open(path, &(struct host_file_options){.read_only = true}, &dev, &err), &err);
    assert_false(host_file_make_writable(dev, &err));
    assert_int_equal(err.kind, E_READONLY);
    device_close(dev);
    must(host_file_open(path, &(struct host_file_options){.sector_size = 4096}, &dev, &err), &err);
    assert_int_equal(dev->block_size, 4096);
    device_close(dev);
}

static void test_refusals(void **state)
{
    (void)state;
    struct error err;
    struct device *dev;
    assert_false(host_file_open(path, &plain, &dev, &err));
    assert_int_equal(err.kind, E_NOENT);
    assert_string_equal(err.message, "no such file or directory");
    assert_false(host_file_open(dir, &plain, &dev, &err));
    assert_int_equal(err.kind, E_ISDIR);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(host_file_open(path, &plain, &dev, &err));
    assert_int_equal(err.kind, E_INVALID);
    assert_false(host_file_create(path, true, &plain, &dev, &err));
    assert_int_equal(err.kind, E_INVALID);
    assert_false(host_file_open("/dev/null", &plain, &dev, &err));
    assert_int_equal(err.kind, E_INVALID);
}

static void test_readers_and_one_writer(void **state)
{
    (void)state;
    struct error err;
    struct device *other;
    write_file(path, "abc", 3);
    struct device *one = open_file(), *two = open_file();
    assert_false(host_file_make_writable(one, &err));
    assert_int_equal(err.kind, E_LOCKED);
    assert_non_null(strstr(err.message, "reading"));
    /* The failed upgrade gave nothing away: `two` cannot write either. */
    assert_false(host_file_make_writable(two, &err));
    device_close(two);
    must(host_file_make_writable(one, &err), &err);
    assert_false(host_file_open(path, &plain, &other, &err));
    assert_int_equal(err.kind, E_LOCKED);
    char self[64];
    snprintf(self, sizeof self, "(pid %d)", (int)getpid());
    assert_non_null(strstr(err.message, "for writing: test_host_file"));
    assert_non_null(strstr(err.message, self));
    must(host_file_open(path, &(struct host_file_options){.force_share = true}, &other, &err), &err);
    assert_false(host_file_make_writable(other, &err));
    device_close(other);
    device_close(one);
    device_close(open_writable());
}

static bool nothing_but(const char *name)
{
    return count_files(dir, NULL) == (name ? 1 : 0) && (!name || count_files(dir, name) == 1);
}

static void test_create_and_publish(void **state)
{
    (void)state;
    struct error err;
    struct device *dev, *other;
    umask(027);
    must(host_file_create(path, false, &plain, &dev, &err), &err);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_false(host_file_is_published(dev));
    must(device_resize(dev, 4, &err), &err);
    must(device_write(dev, 0, "data", 4, WRITE_FRESH, &err), &err);
    must(host_file_sync(dev, &err), &err);
    must(host_file_publish(dev, true, &err), &err);
    assert_true(host_file_is_published(dev));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_true(nothing_but("image"));
    /* Its locks came along. */
    assert_false(host_file_open(path, &plain, &other, &err));
    assert_int_equal(err.kind, E_LOCKED);
    assert_false(host_file_create(path, true, &plain, &other, &err));
    assert_int_equal(err.kind, E_LOCKED);
    device_close(dev);
    assert_false(host_file_create(path, false, &plain, &dev, &err));
    assert_int_equal(err.kind, E_EXIST);
    assert_true(nothing_but("image"));
}

static void test_unpublished_goes_away(void **state)
{
    (void)state;
    struct error err;
    struct device *dev;
    must(host_file_create(path, false, &plain, &dev, &err), &err);
    assert_int_equal(count_files(dir, NULL), 1);
    device_close(dev);
    assert_true(nothing_but(NULL));
}

static void test_overwrite(void **state)
{
    (void)state;
    struct error err;
    struct device *dev;
    char link[160];
    write_file(path, "old", 3);
    assert_int_equal(chmod(path, 0604), 0);
    snprintf(link, sizeof link, "%s/link", dir);
    assert_int_equal(symlink("image", link), 0);
    must(host_file_create(link, true, &plain, &dev, &err), &err);
    must(device_resize(dev, 3, &err), &err);
    must(device_write(dev, 0, "new", 3, WRITE_FRESH, &err), &err);
    assert_true(file_is(path, "old", 3));
    must(host_file_publish(dev, false, &err), &err);
    device_close(dev);
    assert_true(file_is(path, "new", 3));
    struct stat st;
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0604);
}

static void test_name_taken_meanwhile(void **state)
{
    (void)state;
    struct error err;
    struct device *dev;
    must(host_file_create(path, false, &plain, &dev, &err), &err);
    write_file(path, "mine", 4);
    assert_false(host_file_publish(dev, true, &err));
    assert_int_equal(err.kind, E_EXIST);
    device_close(dev);
    assert_true(file_is(path, "mine", 4));
    assert_true(nothing_but("image"));
}

static void test_no_permission(void **state)
{
    (void)state;
    struct error err;
    write_file(path, "abc", 3);
    assert_int_equal(chmod(path, 0444), 0);
    struct device *dev = open_file();
    bool root = geteuid() == 0;
    if (root)
        assert_int_equal(seteuid(65534), 0);
    assert_int_equal(host_file_make_writable(dev, &err), 0);
    assert_int_equal(err.kind, E_READONLY);
    if (root)
        assert_int_equal(seteuid(0), 0);
    device_close(dev);
}

static void test_faults(void **state)
{
    (void)state;
    struct error err;
    uint64_t operations;
    write_file(path, "abcdefgh", 8);
    struct device *dev = open_writable();
    fault_start(&(struct fault_plan){.sort = FAULT_EIO, .at = 2});
    must(device_write(dev, 0, "1", 1, WRITE_UPDATE, &err), &err);
    assert_false(device_write(dev, 1, "2", 1, WRITE_UPDATE, &err));
    assert_int_equal(err.kind, E_IO);
    must(device_write(dev, 2, "3", 1, WRITE_UPDATE, &err), &err);
    must(fault_stop(&operations, &err), &err);
    assert_int_equal(operations, 3);
    assert_true(file_is(path, "1b3defgh", 8));

    fault_start(&(struct fault_plan){.sort = FAULT_ENOSPC, .at = 1});
    must(host_file_sync(dev, &err), &err);
    assert_false(device_resize(dev, 100, &err));
    assert_int_equal(err.kind, E_HOSTFULL);
    must(fault_stop(NULL, &err), &err);
    device_close(dev);
}

static void test_power_loss(void **state)
{
    (void)state;
    struct error err;
    write_file(path, "abcdefgh", 8);
    struct device *dev = open_writable();
    fault_start(&(struct fault_plan){.sort = FAULT_POWER_LOSS, .at = 6});
    must(device_write(dev, 0, "1", 1, WRITE_UPDATE, &err), &err);
    must(host_file_sync(dev, &err), &err);
    must(device_write(dev, 1, "2", 1, WRITE_UPDATE, &err), &err);
    must(device_resize(dev, 6, &err), &err);
    must(device_resize(dev, 9, &err), &err);
    assert_false(host_file_sync(dev, &err));
    assert_false(device_write(dev, 0, "x", 1, WRITE_UPDATE, &err));
    device_close(dev);
    must(fault_stop(NULL, &err), &err);
    assert_true(file_is(path, "1bcdefgh", 8));
}

static void test_power_loss_of_a_new_file(void **state)
{
    (void)state;
    struct error err;
    struct device *dev;
    for (unsigned synced = 0; synced < 3; synced++) {
        fault_start(&(struct fault_plan){.sort = FAULT_POWER_LOSS, .at = 100});
        must(host_file_create(path, false, &plain, &dev, &err), &err);
        must(device_resize(dev, 4, &err), &err);
        must(device_write(dev, 0, "data", 4, WRITE_FRESH, &err), &err);
        if (synced > 1)
            must(host_file_sync(dev, &err), &err);
        must(host_file_publish(dev, synced > 0, &err), &err);
        while (!fault_happened())
            (void)!host_hook(HOST_UNLINK, "/nonexistent/file", 0, 0, &err);
        device_close(dev);
        must(fault_stop(NULL, &err), &err);
        /* Nothing; the name without contents; all of it. */
        if (synced == 0)
            assert_true(nothing_but(NULL));
        else
            assert_true(file_is(path, "data", synced == 1 ? 0 : 4));
        unlink(path);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(reads_and_writes),
        TEST(vectors_of_any_shape),
        TEST(holes),
        TEST(looking_leaves_no_trace),
        TEST(read_only_options),
        TEST(refusals),
        TEST(readers_and_one_writer),
        TEST(create_and_publish),
        TEST(unpublished_goes_away),
        TEST(overwrite),
        TEST(name_taken_meanwhile),
        TEST(no_permission),
        TEST(faults),
        TEST(power_loss),
        TEST(power_loss_of_a_new_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
