/* Partition tables over memory devices: what is stored reads back,
 * and stays as it was where nothing changed. */
#include "bytes.h"
#include "guid.h"
#include "table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

extern const struct table_driver gpt_driver, mbr_driver;

static struct error err;

static struct device *new_disk(uint64_t size)
{
    struct device *disk = memory_device_new(size, &err);
    assert_non_null(disk);
    return disk;
}

static struct table *init(const struct table_driver *driver, struct device *disk)
{
    struct options none = {0};
    struct table *table;
    if (!driver->init(disk, &none, &table, &err))
        fail_msg("%s", err.message);
    return table;
}

static struct table *reload(struct table *table)
{
    const struct table_driver *driver = table->driver;
    struct device *disk = table->disk;
    table_free(table);
    if (!driver->load(disk, &table, &err))
        fail_msg("%s", err.message);
    return table;
}

static unsigned add(struct table *table, uint64_t size, const char *type, const char *name)
{
    struct part_request request = {.start = PART_ANYWHERE, .size = size, .type = type, .name = name};
    unsigned number;
    if (!table_add(table, &request, &number, &err))
        fail_msg("%s", err.message);
    return number;
}

static void store(struct table *table)
{
    if (!table_store(table, &err))
        fail_msg("%s", err.message);
}

static void expect(const struct table *table, unsigned number, uint64_t off, uint64_t len, const char *type)
{
    const struct part *part = table_part(table, number);
    assert_non_null(part);
    assert_int_equal(part->off, off);
    assert_int_equal(part->len, len);
    assert_string_equal(part->type, type);
}

static void gpt_reads_back(void **state)
{
    (void)state;
    struct device *disk = new_disk(64 * MiB);
    struct table *table = init(&gpt_driver, disk);
    assert_int_equal(table->first, 34 * 512);
    assert_int_equal(table->end, 64 * MiB - 33 * 512);
    assert_int_equal(add(table, 16 * MiB, "esp", "EFI"), 1);
    assert_int_equal(add(table, PART_REST, "linux", "\xc3\x84 \xe6\xbc\xa2 \xf0\x9f\x98\x80"), 2);
    store(table);
    table = reload(table);
    assert_int_equal(table->count, 2);
    expect(table, 1, MiB, 16 * MiB, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    expect(table, 2, 17 * MiB, 47 * MiB - 33 * 512, "0fc63daf-8483-4772-8e79-3d69d8477de4");
    assert_string_equal(table_part(table, 2)->name, "\xc3\x84 \xe6\xbc\xa2 \xf0\x9f\x98\x80");
    assert_true(guid_parse(table_part(table, 1)->uuid, GUID_RFC, &(uint8_t[16]){0}));
    assert_string_equal(table->note, "");
    assert_int_equal(gpt_driver.head.probe(disk), 128);
    table_free(table);
    device_close(disk);
}

static void numbers_stay(void **state)
{
    (void)state;
    struct device *disk = new_disk(64 * MiB);
    struct table *table = init(&gpt_driver, disk);
    for (unsigned i = 1; i <= 4; i++)
        assert_int_equal(add(table, 8 * MiB, "linux", NULL), i);
    assert_true(table_delete(table, 2, &err));
    store(table);
    table = reload(table);
    assert_null(table_part(table, 2));
    expect(table, 3, 17 * MiB, 8 * MiB, "0fc63daf-8483-4772-8e79-3d69d8477de4");
    assert_int_equal(add(table, 4 * MiB, "swap", NULL), 2);
    expect(table, 2, 9 * MiB, 4 * MiB, "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f");
    table_free(table);
    device_close(disk);
}

static void a_full_disk_says_what_fits(void **state)
{
    (void)state;
    struct device *disk = new_disk(64 * MiB);
    struct table *table = init(&gpt_driver, disk);
    struct part_request request = {.start = PART_ANYWHERE, .size = 64 * MiB};
    unsigned number;
    assert_false(table_add(table, &request, &number, &err));
    assert_int_equal(err.kind, E_NOSPACE);
    assert_non_null(strstr(err.message, "66043392 bytes (63.0M) would fit, at 1M"));
    assert_int_equal(table->count, 0);
    table_free(table);
    device_close(disk);
}

static void logical_partitions_form_a_chain(void **state)
{
    (void)state;
    struct device *disk = new_disk(200 * MiB);
    struct table *table = init(&mbr_driver, disk);
    add(table, 40 * MiB, "linux", NULL);
    assert_int_equal(add(table, 100 * MiB, "extended", NULL), 2);
    struct part_request request = {.start = PART_ANYWHERE, .size = 10 * MiB, .logical = true};
    unsigned number;
    for (unsigned i = 5; i < 9; i++) {
        assert_true(table_add(table, &request, &number, &err));
        assert_int_equal(number, i);
    }
    store(table);
    table = reload(table);
    assert_int_equal(table->count, 6);
    expect(table, 5, 42 * MiB, 10 * MiB, "0x83");
    expect(table, 8, 75 * MiB, 10 * MiB, "0x83");
    assert_true(table_delete(table, 5, &err));
    store(table);
    table = reload(table);
    expect(table, 5, 53 * MiB, 10 * MiB, "0x83");
    expect(table, 7, 75 * MiB, 10 * MiB, "0x83");
    assert_true(table_delete(table, 2, &err));
    store(table);
    table = reload(table);
    assert_int_equal(table->count, 1);
    table_free(table);
    device_close(disk);
}

static void boot_code_stays(void **state)
{
    (void)state;
    struct device *disk = new_disk(64 * MiB);
    uint8_t code[440], got[440];
    for (size_t i = 0; i < sizeof code; i++)
        code[i] = (uint8_t)(i * 7 + 1);
    assert_true(device_write(disk, 0, code, sizeof code, WRITE_UPDATE, &err));
    const struct table_driver *const order[] = {&mbr_driver, &gpt_driver, &mbr_driver};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        struct table *table = init(order[i], disk);
        add(table, MiB, "linux", NULL);
        store(table);
        table_free(table);
        assert_true(device_read(disk, 0, got, sizeof got, &err));
        assert_memory_equal(code, got, sizeof code);
    }
    assert_true(mbr_driver.head.probe(disk) > gpt_driver.head.probe(disk));
    device_close(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt_reads_back),
        cmocka_unit_test(numbers_stay),
        cmocka_unit_test(a_full_disk_says_what_fits),
        cmocka_unit_test(logical_partitions_form_a_chain),
        cmocka_unit_test(boot_code_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
