/* Formats known by a magic number: each row of the list is found where it stands, and only there. */
#include "formats.h"
#include "memory.h"
#include "signature.h"

#include "unit.h"

enum { SIZE = 2 * 1024 * 1024 };

static struct device *empty_device(void)
{
    struct error err;
    struct device *device = memory_device_new(SIZE, &err);
    assert_non_null(device);
    return device;
}

static void put(struct device *device, int64_t off, const char *magic, size_t len)
{
    struct error err;
    uint64_t at = off < 0 ? device->size - (uint64_t)-off : (uint64_t)off;
    must(device_write(device, at, magic, len, WRITE_UPDATE, &err), &err);
}

static void test_every_row(void **state)
{
    (void)state;
    for (const struct signature *row = foreign_signatures; row->name; row++) {
        struct error err;
        struct device *device = empty_device();
        put(device, row->off, row->magic, row->len);
        if (row->second_len > 0) {
            assert_null(signature_find(foreign_signatures, device));
            put(device, row->second_off, row->second_magic, row->second_len);
        }
        const struct signature *found = signature_find(foreign_signatures, device);
        assert_non_null(found);
        assert_string_equal(found->name, row->name);
        must(signatures_wipe(foreign_signatures, device, &err), &err);
        assert_null(signature_find(foreign_signatures, device));
        device_close(device);
    }
}

static void test_row_sizes(void **state)
{
    (void)state;
    for (const struct signature *row = foreign_signatures; row->name; row++) {
        assert_in_range(row->len, 1, SIGNATURE_MAGIC_MAX);
        assert_in_range(row->second_len, 0, SIGNATURE_MAGIC_MAX);
        assert_in_range(row->len + row->second_len, 4, 2 * SIGNATURE_MAGIC_MAX);
    }
}

static void test_short_device(void **state)
{
    (void)state;
    struct error err;
    struct device *device = memory_device_new(3, &err);
    assert_non_null(device);
    assert_null(signature_find(foreign_signatures, device));
    device_close(device);
}

static void test_wipes_all(void **state)
{
    (void)state;
    struct error err;
    struct device *device = empty_device();
    put(device, 0, "XFSB", 4);
    put(device, 64 * 1024 + 64, "_BHRfS_M", 8);
    put(device, -8 * 1024, "\xfc\x4e\x2b\xa9", 4);
    must(signatures_wipe(foreign_signatures, device, &err), &err);
    assert_null(signature_find(foreign_signatures, device));
    assert_true(signatures_wipe(NULL, device, &err));
    device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row),
        cmocka_unit_test(test_row_sizes),
        cmocka_unit_test(test_short_device),
        cmocka_unit_test(test_wipes_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
