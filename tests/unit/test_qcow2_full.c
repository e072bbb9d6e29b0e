/*
 * A qcow2 image in a file that cannot grow: space that was freed since the last commit is used again when
 * nothing else is left, and only by writes that the commit protects.
 */
#include "alloc.h"
#include "bytes.h"
#include "driver.h"

#include "unit.h"

#include <stdlib.h>

extern const struct container_driver qcow2_driver;

enum { CLUSTER = 4096, FILE_SIZE = 64 * CLUSTER };

/* A file of fixed size that remembers what was in use when the
 * image was committed, and refuses to lose it. */
struct guard {
    struct device dev;
    bool armed;
    bool used[FILE_SIZE / CLUSTER];
    unsigned fresh_writes, lost;
};

static bool guard_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    return device_read(dev->below, off, buf, n, err);
}

static bool guard_write(struct device *dev, uint64_t off, const void *buf, size_t n, enum write_class class,
                        struct error *err)
{
    struct guard *guard = (struct guard *)dev;
    if (guard->armed && class == WRITE_FRESH) {
        guard->fresh_writes++;
        for (uint64_t at = off / CLUSTER; at <= (off + n - 1) / CLUSTER; at++)
            guard->lost += guard->used[at];
    }
    return device_write(dev->below, off, buf, n, class, err);
}

static void guard_close(struct device *dev)
{
    device_close(dev->below);
    free(dev);
}

static const struct device_ops guard_ops = {
    .name = "guard", .read = guard_read, .write = guard_write, .close = guard_close};

static struct device *open_full(struct guard **out)
{
    struct error err = {0};
    struct options options = {0};
    const struct container_open open = {.path = "image"};
    struct device *memory = memory_device_new(0, &err), *disk;
    assert_non_null(memory);
    assert_true(options_parse(&options, qcow2_driver.head.make_options, "cluster_size=4k", &err));
    assert_true(qcow2_driver.create(memory, 4 * FILE_SIZE, &options, &open, &err));
    options_free(&options);
    assert_true(device_resize(memory, FILE_SIZE, &err));
    struct guard *guard = mem_new(sizeof *guard, &err);
    guard->dev = (struct device){.ops = &guard_ops, .below = memory, .size = FILE_SIZE, .block_size = 512};
    assert_true(qcow2_driver.open(&guard->dev, &open, &disk, &err));
    *out = guard;
    return disk;
}

static void commit(struct guard *guard, struct device *disk)
{
    struct error err = {0};
    assert_true(device_flush(disk, &err));
    device_committed(disk);
    for (uint64_t i = 0; i < FILE_SIZE / CLUSTER; i++) {
        struct owner owner;
        assert_true(qcow2_driver.head.owner(disk, i * CLUSTER, &owner, &err));
        guard->used[i] = owner.kind != OWNER_FREE;
    }
    guard->armed = true;
}

static bool fill(struct device *disk, uint64_t off, uint8_t byte, enum write_class class, struct error *err)
{
    uint8_t bytes[CLUSTER];
    memset(bytes, byte, sizeof bytes);
    return device_write(disk, off, bytes, sizeof bytes, class, err) && device_flush(disk, err);
}

static void test_full(void **state)
{
    (void)state;
    struct error err = {0};
    struct guard *guard;
    struct device *disk = open_full(&guard);
    uint64_t count = 0;
    uint8_t byte;
    while (fill(disk, count * CLUSTER, (uint8_t)(count + 1), WRITE_UPDATE, &err))
        count++;
    assert_int_equal(err.kind, E_NOSPACE);
    assert_in_range(count, FILE_SIZE / CLUSTER - 12, FILE_SIZE / CLUSTER - 4);
    assert_true(device_reload(disk, &err)); /* as after every command that failed */
    commit(guard, disk);
    /* Ten clusters are given up, ten others are written in their place,
     * as if the filesystem called them new. */
    assert_true(device_discard(disk, 3 * CLUSTER, 10 * CLUSTER, &err));
    assert_true(device_flush(disk, &err));
    for (uint64_t i = 0; i < 10; i++)
        assert_true(fill(disk, (100 + i) * CLUSTER, 200, WRITE_FRESH, &err));
    assert_false(fill(disk, 120 * CLUSTER, 200, WRITE_FRESH, &err));
    assert_int_equal(guard->lost, 0);
    assert_true(device_reload(disk, &err));
    for (uint64_t i = 0; i < 120; i++) {
        assert_true(device_read(disk, i * CLUSTER, &byte, 1, &err));
        assert_int_equal(byte, i >= 100 && i < 110 ? 200 : i < count && (i < 3 || i >= 13) ? i + 1 : 0);
    }
    struct check check = {0};
    assert_true(qcow2_driver.check(disk, &check, &err));
    assert_int_equal(check.damage + check.leaks + check.errors, 0);
    device_close(disk);
    device_close(&guard->dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_full)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
