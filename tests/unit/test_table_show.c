/* The structures of partition tables as `show`, `poke` and `what` see them. */
#include "bytes.h"
#include "table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

extern const struct table_driver gpt_driver, mbr_driver, apm_driver, bsdlabel_driver;
static const struct table_driver *const drivers[] = {&gpt_driver, &mbr_driver, &apm_driver, &bsdlabel_driver};

enum { DISK = 8 * 1024 * 1024 };
static struct error err;

static struct table *sample(const struct table_driver *driver, struct device *disk, const char *options)
{
    struct options parsed = {0};
    struct table *table;
    struct part_request request = {.start = PART_ANYWHERE, .size = MiB};
    unsigned number;
    assert_true(options_parse(&parsed, driver->head.make_options, options, &err));
    assert_true(driver->init(disk, &parsed, &table, &err));
    options_free(&parsed);
    assert_true(table_add(table, &request, &number, &err));
    if (driver == &mbr_driver) {
        request.type = "extended";
        request.size = 4 * MiB;
        assert_true(table_add(table, &request, &number, &err));
        request = (struct part_request){.start = PART_ANYWHERE, .size = MiB, .logical = true};
        assert_true(table_add(table, &request, &number, &err));
    }
    assert_true(table_add(table, &request, &number, &err));
    assert_true(table_store(table, &err));
    return table;
}

struct walk {
    uint32_t next;
};

static bool next_row(const struct row *row, void *arg, struct error *ignored)
{
    struct walk *walk = arg;
    (void)ignored;
    assert_int_equal(row->off, walk->next);
    walk->next += row->width;
    return true;
}

static void every_byte_is_in_one_row(void **state)
{
    (void)state;
    uint8_t raw[4096];
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)(i * 37 + 11);
    struct device *disk = memory_device_new(DISK, &err);
    assert_true(device_write(disk, 0, raw, sizeof raw, WRITE_UPDATE, &err));
    for (size_t d = 0; d < ARRAY_LEN(drivers); d++) {
        struct table table = {.driver = drivers[d], .disk = disk, .sector_size = 512};
        for (const struct layout *const *layout = drivers[d]->head.layouts; *layout; layout++) {
            struct place place = {
                .layout = *layout, .device = disk, .size = (*layout)->size, .owner = &table};
            struct walk walk = {0};
            assert_true(place_walk(&place, next_row, &walk, &err));
            assert_int_equal(walk.next, place.size);
        }
    }
    device_close(disk);
}

static void values_read_back(void **state)
{
    (void)state;
    uint8_t raw[600], copy[600];
    char text[400];
    for (size_t d = 0; d < ARRAY_LEN(drivers); d++) {
        for (const struct layout *const *layout = drivers[d]->head.layouts; *layout; layout++) {
            for (size_t f = 0; f < (*layout)->field_count; f++) {
                const struct field *field = &(*layout)->fields[f];
                if (!field->kind->parse || (field->kind == &kind_bytes && field->width > 16)) /* shown cut */
                    continue;
                for (uint32_t i = 0; i < field->width; i++)
                    raw[i] = (uint8_t)('a' + (i * 7 + f) % 20);
                memset(copy, 0, sizeof copy);
                field->kind->format(field, raw, text, sizeof text);
                if (!field->kind->parse(field, text, copy, &err))
                    fail_msg("%s.%s: %s", (*layout)->name, field->name, err.message);
                if (memcmp(raw, copy, field->width) != 0)
                    fail_msg("%s.%s: %s is not what it was", (*layout)->name, field->name, text);
            }
        }
    }
}

static void locate(struct table *table, const char *structure, const char *args, struct place *place)
{
    if (!table->driver->head.locate(table, structure, args, place, &err))
        fail_msg("%s %s: %s", structure, args, err.message);
}

static uint64_t damage(struct table **table)
{
    struct check check = {.repair = REPAIR_NONE};
    struct device *disk = (*table)->disk;
    table_free(*table);
    assert_true(gpt_driver.load(disk, table, &err));
    assert_true(gpt_driver.verify(*table, &check, &err));
    return check.damage;
}

static void poked_fields_keep_their_checksums(void **state)
{
    (void)state;
    struct device *disk = memory_device_new(DISK, &err);
    struct table *table = sample(&gpt_driver, disk, "");
    struct place place;
    locate(table, "entry", "1", &place);
    assert_true(place_poke(&place, "PartitionName", "\"poked\"", POKE_SEALED, &err));
    assert_int_equal(damage(&table), 0); /* no copy was named: both have it */
    assert_string_equal(table_part(table, 1)->name, "poked");
    locate(table, "entry", "1 primary", &place);
    assert_true(place_poke(&place, "PartitionName", "\"other\"", POKE_SEALED, &err));
    assert_true(damage(&table) == 1); /* the copies differ; both are sound */
    locate(table, "entry", "1 backup", &place);
    assert_true(place_poke(&place, "PartitionName", "other", POKE_SEALED, &err));
    assert_int_equal(damage(&table), 0);
    locate(table, "entry", "1", &place);
    assert_true(place_poke(&place, "PartitionTypeGUID", "swap", POKE_RAW, &err));
    assert_int_equal(damage(&table), 1);
    assert_non_null(strstr(table->note, "damaged"));
    locate(table, "header", "", &place);
    assert_true(place_poke(&place, "DiskGUID", "00112233-4455-4677-8899-aabbccddeeff", POKE_SEALED, &err));
    assert_true(damage(&table) > 0);
    assert_string_equal(table->uuid, "00112233-4455-4677-8899-aabbccddeeff");
    locate(table, "header", "", &place);
    assert_false(place_poke(&place, "MyLBA", "7", POKE_SEALED, &err));
    assert_false(place_poke(&place, "HeaderSize", "7", POKE_SEALED, &err));
    table_free(table);
    device_close(disk);
}

/* Runs follow each other without holes or overlaps,
 * and a structure's place holds the byte it was asked for. */
static void every_byte_has_an_owner(void **state)
{
    (void)state;
    static const struct {
        const struct table_driver *driver;
        const char *options;
    } cases[] = {{&gpt_driver, ""},
                 {&gpt_driver, "sector-size=4096"},
                 {&gpt_driver, "entry-size=256,entries=100"},
                 {&mbr_driver, ""},
                 {&mbr_driver, "sector-size=4096"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct device *disk = memory_device_new(DISK, &err);
        struct table *table = sample(cases[i].driver, disk, cases[i].options);
        uint64_t in_parts = 0, structures = 0;
        struct owner owner;
        for (uint64_t off = 0; off < DISK; off += owner.len) {
            assert_true(table->driver->head.owner(table, off, &owner, &err));
            assert_true(owner.len > 0 && owner.len <= DISK - off);
            assert_true(owner.text[0] != '\0');
            if (owner.kind == OWNER_STRUCTURE) {
                assert_true(owner.place.off <= off && off - owner.place.off < owner.place.size);
                structures++;
            }
            if (owner.kind == OWNER_DATA)
                in_parts += owner.len;
        }
        uint64_t expected = 0;
        for (size_t p = 0; p < table->count; p++)
            expected += table->parts[p].flags & PART_EXTENDED ? 0 : table->parts[p].len;
        assert_int_equal(in_parts, expected);
        assert_true(structures == (cases[i].driver == &mbr_driver ? 3 : 3 + 2 * (uint64_t)table->max_parts));
        table_free(table);
        device_close(disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_is_in_one_row),
        cmocka_unit_test(values_read_back),
        cmocka_unit_test(poked_fields_keep_their_checksums),
        cmocka_unit_test(every_byte_has_an_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
