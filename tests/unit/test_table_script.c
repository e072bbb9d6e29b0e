/* sfdisk scripts: what is understood, what is refused and where,
 * and that printing and parsing are inverse. */
#include "bytes.h"
#include "table_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

extern const struct table_driver gpt_driver, mbr_driver;
static struct error err;

static bool parse(struct script *script, const char *text)
{
    return script_parse(script, text, strlen(text), &err);
}

static struct table *apply(const struct table_driver *driver, struct device *disk, const char *text)
{
    struct options none = {0};
    struct script script;
    struct table *table;
    assert_true(driver->init(disk, &none, &table, &err));
    if (!parse(&script, text) || !script_apply(&script, table, &err) || !table_store(table, &err))
        fail_msg("%s", err.message);
    script_free(&script);
    return table;
}

static void expect(const struct table *table, unsigned number, uint64_t sector, uint64_t sectors,
                   const char *type)
{
    const struct part *part = table_part(table, number);
    assert_non_null(part);
    assert_int_equal(part->off / 512, sector);
    assert_int_equal(part->len / 512, sectors);
    assert_string_equal(part->type, type);
}

static void fields_by_name(void **state)
{
    (void)state;
    struct device *disk = memory_device_new(100 * MiB, &err);
    struct table *table =
        apply(&gpt_driver, disk,
              "label: gpt\n# a comment\n\nunit: sectors\n"
              "/dev/sdz3 : start= 4096, size=2048, type=U, name=\"\\xc3\\x84, b\", attrs=\"RequiredPartition "
              "GUID:60,63\"\r\n"
              "size=4M, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F\n"
              "type=H\n");
    assert_int_equal(table->count, 3);
    expect(table, 3, 4096, 2048, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    assert_string_equal(table_part(table, 3)->name, "\xc3\x84, b");
    assert_int_equal(table_part(table, 3)->attributes, (uint64_t)1 | (uint64_t)1 << 60 | (uint64_t)1 << 63);
    expect(table, 1, 6144, 8192, "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f");
    expect(table, 2, 14336, 204800 - 33 - 14336, "933ac7e1-2eb4-4f13-b844-0e14e2aef915");
    table_free(table);
    device_close(disk);
}

static void fields_by_position(void **state)
{
    (void)state;
    struct device *disk = memory_device_new(200 * MiB, &err);
    struct table *table =
        apply(&mbr_driver, disk, ",40M,L\n,30M,c,*\n,100M,E\n;\n,20M,S\n100M,10M,8e,-\n,+\n");
    expect(table, 1, 2048, 81920, "0x83");
    expect(table, 2, 83968, 61440, "0x0c");
    assert_int_equal(table_part(table, 2)->flags, PART_ACTIVE);
    expect(table, 3, 145408, 204800, "0x05");
    expect(table, 4, 350208, 409600 - 350208, "0x83");
    expect(table, 5, 147456, 40960, "0x82");
    expect(table, 6, 204800, 20480, "0x8e");
    expect(table, 7, 227328, 350208 - 227328, "0x83");
    table_free(table);
    device_close(disk);
}

static void headers_bound_the_partitions(void **state)
{
    (void)state;
    static const char linux_type[] = "0fc63daf-8483-4772-8e79-3d69d8477de4";
    struct device *disk = memory_device_new(100 * MiB, &err);
    struct table *table = apply(&gpt_driver, disk, "first-lba: 4096\nlast-lba: 100000\n,\n");
    expect(table, 1, 4096, 100001 - 4096, linux_type);
    table_free(table);
    /* What lies past the end is that of another disk. */
    table = apply(&gpt_driver, disk, "first-lba: 4096\nlast-lba: 999999\n,\n");
    expect(table, 1, 4096, 204800 - 33 - 4096, linux_type);
    table_free(table);
    device_close(disk);
}

static void errors_name_the_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"label: gpt\nsize=1M, colour=red\n", "line 2 of the script: unknown field 'colour'"},
        {"\n\nsize=1Q\n", "line 3 of the script"},
        {"size=99999999999999999999\n", "cannot understand the number"},
        {"attrs=\"Sticky\"\n", "unknown attribute 'Sticky'"},
        {"sector-size: 1000\n", "sector-size is 512 or 4096, not '1000'"},
        {",1M,L,*,x\n", "a field too many"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct script script;
        assert_false(parse(&script, cases[i].text));
        if (!strstr(err.message, cases[i].says))
            fail_msg("%s", err.message);
        script_free(&script);
    }
    struct device *disk = memory_device_new(10 * MiB, &err);
    struct options none = {0};
    struct table *table;
    struct script script;
    assert_true(gpt_driver.init(disk, &none, &table, &err));
    assert_true(parse(&script, "size=2M\nsize=20M\n"));
    assert_false(script_apply(&script, table, &err));
    assert_non_null(strstr(err.message, "line 2 of the script: no room for 20M: at most"));
    script_free(&script);
    table_free(table);
    device_close(disk);
}

struct text {
    char bytes[4096];
};

static void collect(void *arg, const char *piece)
{
    struct text *text = arg;
    assert_true(strlen(text->bytes) + strlen(piece) < sizeof text->bytes);
    strcat(text->bytes, piece);
}

static void printing_and_parsing_are_inverse(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        "size=3M,type=U,name=\"\\xe6\\xbc\\xa2 \\\"q\\\" \\\\ "
        "\\x24HOME\"\nsize=1M,attrs=\"LegacyBIOSBootable\"\n+\n",
        ",5M,L,*\n,20M,E\n,3M,S\n",
    };
    const struct table_driver *const drivers[] = {&gpt_driver, &mbr_driver};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct device *a = memory_device_new(64 * MiB, &err), *b = memory_device_new(64 * MiB, &err);
        struct text once = {""}, twice = {""};
        struct table *first = apply(drivers[i], a, scripts[i]);
        script_print(first, "disk", collect, &once);
        struct table *second = apply(drivers[i], b, once.bytes);
        snprintf(second->uuid, sizeof second->uuid, "%s", first->uuid);
        script_print(second, "disk", collect, &twice);
        assert_string_equal(once.bytes, twice.bytes);
        table_free(first);
        table_free(second);
        device_close(a);
        device_close(b);
    }
}

/* Pieces of scripts in any order: never anything but an answer. */
static void broken_scripts(void **state)
{
    (void)state;
    static const char *const pieces[] = {"start=",
                                         "size=",
                                         ",",
                                         "\"",
                                         "\n",
                                         " : ",
                                         "5M",
                                         "+",
                                         "type=L",
                                         ";",
                                         "name=",
                                         "\\x4",
                                         "=",
                                         "attrs=",
                                         "-",
                                         "*",
                                         "label: gpt",
                                         "0x",
                                         " ",
                                         "\r",
                                         "/dev/sda1",
                                         "GUID:48",
                                         "99999999999999999999",
                                         "\t",
                                         "#"};
    srand(3);
    for (int round = 0; round < 20000; round++) {
        char text[400] = "";
        for (int n = rand() % 16; n > 0; n--)
            strcat(text, pieces[(size_t)rand() % ARRAY_LEN(pieces)]);
        struct script script;
        if (!parse(&script, text))
            assert_true(err.message[0] != '\0');
        script_free(&script);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_by_name),
        cmocka_unit_test(fields_by_position),
        cmocka_unit_test(headers_bound_the_partitions),
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(printing_and_parsing_are_inverse),
        cmocka_unit_test(broken_scripts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
