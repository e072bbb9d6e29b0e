/* Changes of a table against a plain model: no overlap ever,
 * data moves with its partition, numbers and names hold. */
#include "bytes.h"
#include "guid.h"
#include "random.h"
#include "table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

extern const struct table_driver gpt_driver, mbr_driver;
static struct error err;

static struct table *make(const struct table_driver *driver, struct device *disk, const char *options)
{
    struct options parsed = {0};
    struct table *table;
    assert_true(options_parse(&parsed, driver->head.make_options, options, &err));
    if (!driver->init(disk, &parsed, &table, &err))
        fail_msg("%s", err.message);
    options_free(&parsed);
    return table;
}

static unsigned add_at(struct table *table, uint64_t start, uint64_t size, const char *type)
{
    struct part_request request = {.start = start, .size = size, .type = type, .align = 4096};
    unsigned number;
    if (!table_add(table, &request, &number, &err))
        fail_msg("%s", err.message);
    return number;
}

static uint64_t value_at(uint64_t off, unsigned seed)
{
    return (off + 1) * 0x9e3779b97f4a7c15 ^ seed;
}

/* A few pages with known contents, holes between them. */
static void fill(struct device *disk, uint64_t off, uint64_t len, unsigned seed)
{
    uint8_t page[4096];
    for (uint64_t at = 0; at < len; at += 96 * KiB) {
        for (size_t i = 0; i < sizeof page; i += 8)
            store_le64(page + i, value_at(at + i, seed));
        size_t n = (size_t)MIN_OF(sizeof page, len - at);
        assert_true(device_write(disk, off + at, page, n, WRITE_UPDATE, &err));
    }
}

static void expect_filled(struct device *disk, uint64_t off, uint64_t len, unsigned seed)
{
    uint8_t page[4096];
    for (uint64_t at = 0; at < len; at += sizeof page) {
        size_t n = (size_t)MIN_OF(sizeof page, len - at);
        assert_true(device_read(disk, off + at, page, n, &err));
        for (size_t i = 0; i < n; i += 8)
            assert_int_equal(load_le64(page + i), at % (96 * KiB) == 0 ? value_at(at + i, seed) : 0);
    }
}

static void data_moves_along(void **state)
{
    (void)state;
    static const int64_t steps[] = {
        4096,       -4096,       3 * 4096,          5 * (int64_t)MiB,  -3 * (int64_t)MiB,
        700 * 1024, -700 * 1024, 40 * (int64_t)MiB, -40 * (int64_t)MiB};
    struct device *disk = memory_device_new(100 * MiB, &err);
    struct table *table = make(&gpt_driver, disk, "");
    unsigned number = add_at(table, 10 * MiB, 6 * MiB + 512, "linux");
    uint64_t off = 10 * MiB;
    fill(disk, off, 6 * MiB + 512, 7);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        off += (uint64_t)steps[i];
        if (!table_move(table, number, off, NULL, NULL, &err))
            fail_msg("%s", err.message);
        assert_true(table_store(table, &err));
        assert_int_equal(table_part(table, number)->off, off);
        expect_filled(disk, off, 6 * MiB + 512, 7);
    }
    add_at(table, 30 * MiB, MiB, "linux");
    assert_false(table_move(table, number, 25 * MiB, NULL, NULL, &err));
    assert_int_equal(err.kind, E_NOSPACE);
    expect_filled(disk, off, 6 * MiB + 512, 7);
    table_free(table);
    device_close(disk);
}

static void a_logical_partition_moves_over_its_own_entry(void **state)
{
    (void)state;
    struct device *disk = memory_device_new(100 * MiB, &err);
    struct table *table = make(&mbr_driver, disk, "");
    add_at(table, MiB, 80 * MiB, "extended");
    struct part_request request = {.start = 5 * MiB, .size = MiB, .logical = true};
    unsigned number;
    assert_true(table_add(table, &request, &number, &err));
    request.start = 20 * MiB;
    assert_true(table_add(table, &request, &number, &err));
    assert_true(table_store(table, &err));
    fill(disk, 20 * MiB, MiB, 3);
    assert_true(table_move(table, 6, 20 * MiB - 512 * KiB - 4096, NULL, NULL, &err));
    assert_true(table_store(table, &err));
    table_free(table);
    assert_true(mbr_driver.load(disk, &table, &err));
    assert_int_equal(table->count, 3);
    expect_filled(disk, table_part(table, 6)->off, MiB, 3);
    assert_false(table_move(table, 1, 2 * MiB, NULL, NULL, &err));
    assert_int_equal(err.kind, E_UNSUPPORTED);
    table_free(table);
    device_close(disk);
}

/* Random changes, stored and loaded again each time; the drivers' own check is the judge of each step. */
static void random_changes(void **state)
{
    (void)state;
    const struct table_driver *const drivers[] = {&gpt_driver, &mbr_driver};
    srand(11);
    for (int round = 0; round < 60; round++) {
        const struct table_driver *driver = drivers[round % 2];
        struct device *disk = memory_device_new(64 * MiB, &err);
        struct table *table = make(driver, disk, "");
        for (int step = 0; step < 40; step++) {
            unsigned number = (unsigned)rand() % 9 + 1, added;
            uint64_t size = (uint64_t)(rand() % 9000 + 1) * 512;
            struct part_request request = {.start = PART_ANYWHERE,
                                           .size = rand() % 8 ? size : PART_REST,
                                           .align = (uint64_t)512 << rand() % 12,
                                           .type = rand() % 6 || driver == &gpt_driver ? "linux" : "extended",
                                           .logical = driver == &mbr_driver && rand() % 2};
            bool done = false;
            switch (rand() % 6) {
            case 0:
            case 1:
            case 2:
                done = table_add(table, &request, &added, &err);
                break;
            case 3:
                done = table_delete(table, number, &err);
                break;
            case 4:
                done = table_resize(table, number, rand() % 4 ? size : PART_REST, &err);
                break;
            default:
                done = rand() % 2
                           ? table_sort(table, &err)
                           : table_move(table, number, (uint64_t)(rand() % 131072) * 512, NULL, NULL, &err);
            }
            assert_true(done || err.message[0] != '\0');
            assert_int_equal(table_faults(table), 0);
            if (!table_store(table, &err))
                fail_msg("round %d, step %d: %s", round, step, err.message);
            struct table *again;
            assert_true(driver->load(disk, &again, &err));
            assert_int_equal(again->count, table->count);
            for (size_t i = 0; i < table->count; i++) {
                assert_int_equal(again->parts[i].number, table->parts[i].number);
                assert_int_equal(again->parts[i].off, table->parts[i].off);
                assert_int_equal(again->parts[i].len, table->parts[i].len);
            }
            struct check check = {.repair = REPAIR_NONE};
            assert_true(driver->verify(again, &check, &err));
            assert_int_equal(check.damage, 0);
            table_free(table);
            table = again;
        }
        table_free(table);
        device_close(disk);
    }
}

static void types_by_any_name(void **state)
{
    (void)state;
    static const struct {
        const struct table_driver *driver;
        const char *text, *type;
    } cases[] = {
        {&gpt_driver, "linux", "0fc63daf-8483-4772-8e79-3d69d8477de4"},
        {&gpt_driver, "LINUX", "0fc63daf-8483-4772-8e79-3d69d8477de4"},
        {&gpt_driver, "83", "0fc63daf-8483-4772-8e79-3d69d8477de4"},
        {&gpt_driver, "ef00", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"},
        {&gpt_driver, "{C12A7328-F81F-11D2-BA4B-00A0C93EC93B}", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"},
        {&gpt_driver, "root-x86-64", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"},
        {&gpt_driver, "00000000-0000-0000-0000-000000000000", NULL},
        {&gpt_driver, "0x9f", NULL},
        {&gpt_driver, "nonsense", NULL},
        {&mbr_driver, "linux", "0x83"},
        {&mbr_driver, "0x83", "0x83"},
        {&mbr_driver, "9F", "0x9f"},
        {&mbr_driver, "8300", "0x83"},
        {&mbr_driver, "c", "0x0c"},
        {&mbr_driver, "0", NULL},
        {&mbr_driver, "root-x86-64", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char type[40];
        bool known = table_type_parse(cases[i].driver, cases[i].text, type, &err);
        if (known != (cases[i].type != NULL) || (known && strcmp(type, cases[i].type) != 0))
            fail_msg("%s: %s", cases[i].text, known ? type : err.message);
    }
    /* Every word is unique within its table, and stands for the type in its row. */
    const struct table_driver *const drivers[] = {&gpt_driver, &mbr_driver};
    for (size_t d = 0; d < 2; d++) {
        for (const struct part_type *t = drivers[d]->types; t->type; t++) {
            char type[40];
            assert_true(table_type_parse(drivers[d], t->name, type, &err));
            assert_string_equal(type, t->type);
        }
    }
}

static void guids(void **state)
{
    (void)state;
    uint8_t rfc[16], mixed[16];
    char text[GUID_TEXT];
    assert_true(guid_parse("c12a7328-F81F-11d2-ba4b-00a0c93ec93b", GUID_RFC, rfc));
    assert_true(guid_parse("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", GUID_MIXED, mixed));
    assert_int_equal(rfc[0], 0xc1);
    assert_int_equal(mixed[0], 0x28);
    assert_int_equal(mixed[7], 0x11);
    assert_memory_equal(rfc + 8, mixed + 8, 8);
    guid_format(mixed, GUID_MIXED, text);
    assert_string_equal(text, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    assert_true(guid_parse("{c12a7328-f81f-11d2-ba4b-00a0c93ec93b}", GUID_RFC, rfc));
    assert_false(guid_parse("c12a7328-f81f-11d2-ba4b-00a0c93ec93", GUID_RFC, rfc));
    assert_false(guid_parse("c12a7328-f81f-11d2-ba4b-00a0c93ec93bb", GUID_RFC, rfc));
    assert_false(guid_parse("c12a7328f81f11d2ba4b00a0c93ec93b", GUID_RFC, rfc));
    assert_false(guid_parse("{c12a7328-f81f-11d2-ba4b-00a0c93ec93b", GUID_RFC, rfc));
    guid_random(GUID_MIXED, mixed);
    guid_format(mixed, GUID_MIXED, text);
    assert_int_equal(text[14], '4');
    assert_non_null(strchr("89ab", text[19]));
}

/* The sequence belongs to the process: each child begins it anew. */
static void bytes_of_child(const char *seed, uint8_t out[20])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        uint8_t bytes[20];
        if (seed)
            setenv("DISH_SEED", seed, 1);
        random_bytes(bytes, sizeof bytes);
        _exit(write(ends[1], bytes, sizeof bytes) != sizeof bytes);
    }
    assert_int_equal(read(ends[0], out, 20), 20);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
}

static void a_seed_repeats_the_bytes(void **state)
{
    (void)state;
    uint8_t a[20], b[20], c[20], d[20], e[20];
    bytes_of_child("x", a);
    bytes_of_child("x", b);
    bytes_of_child("y", c);
    bytes_of_child(NULL, d);
    bytes_of_child(NULL, e);
    assert_memory_equal(a, b, 20);
    assert_memory_not_equal(a, c, 20);
    assert_memory_not_equal(d, e, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_moves_along),
        cmocka_unit_test(a_logical_partition_moves_over_its_own_entry),
        cmocka_unit_test(random_changes),
        cmocka_unit_test(types_by_any_name),
        cmocka_unit_test(guids),
        cmocka_unit_test(a_seed_repeats_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
