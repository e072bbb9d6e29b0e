/*
 * Damaged and hostile partition tables: every flipped bit is found or changes nothing, anything at all can
 * stand where a table is expected, and what can be repaired is.
 */
#include "bytes.h"
#include "table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

extern const struct table_driver gpt_driver, mbr_driver, apm_driver, bsdlabel_driver;
static const struct table_driver *const drivers[] = {&gpt_driver, &mbr_driver, &apm_driver, &bsdlabel_driver};

enum { SECTORS = 8192, DISK = SECTORS * 512 };
static struct error err;

static struct device *new_disk(void)
{
    struct device *disk = memory_device_new(DISK, &err);
    assert_non_null(disk);
    return disk;
}

static struct table *make(const struct table_driver *driver, struct device *disk)
{
    struct options none = {0};
    struct table *table;
    assert_true(driver->init(disk, &none, &table, &err));
    return table;
}

static void add(struct table *table, uint64_t size, const char *type, bool logical)
{
    struct part_request request = {
        .start = PART_ANYWHERE, .size = size, .align = 64 * KiB, .type = type, .logical = logical};
    unsigned number;
    if (!table_add(table, &request, &number, &err))
        fail_msg("%s", err.message);
}

static struct table *sample(const struct table_driver *driver, struct device *disk)
{
    struct table *table = make(driver, disk);
    add(table, 512 * KiB, "linux", false);
    if (driver == &mbr_driver) {
        add(table, 2 * MiB, "extended", false);
        add(table, 256 * KiB, "swap", true);
        add(table, 256 * KiB, "linux", true);
        add(table, 128 * KiB, "fat32", true);
    } else {
        add(table, 256 * KiB, "esp", false);
        add(table, 1 * MiB, "swap", false);
    }
    assert_true(table_store(table, &err));
    return table;
}

static void flip(struct device *disk, uint64_t bit)
{
    uint8_t byte;
    assert_true(device_read(disk, bit / 8, &byte, 1, &err));
    byte ^= (uint8_t)(1 << bit % 8);
    assert_true(device_write(disk, bit / 8, &byte, 1, WRITE_UPDATE, &err));
}

static bool same_parts(const struct table *a, const struct table *b)
{
    if (a->count != b->count || a->first != b->first || a->end != b->end || strcmp(a->uuid, b->uuid) != 0)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct part *x = &a->parts[i], *y = &b->parts[i];
        if (x->number != y->number || x->off != y->off || x->len != y->len || strcmp(x->type, y->type) != 0 ||
            strcmp(x->uuid, y->uuid) != 0 || strcmp(x->name, y->name) != 0 ||
            x->attributes != y->attributes || x->flags != y->flags)
            return false;
    }
    return true;
}

static uint64_t damage_found(struct table *table)
{
    struct check check = {.repair = REPAIR_NONE};
    assert_true(table->driver->verify(table, &check, &err));
    return check.damage;
}

/* A flip in either copy: the other one is used, the damage is reported, and a repair makes all well again. */
static void flip_gpt(struct device *disk, const struct table *whole, uint64_t from, uint64_t len)
{
    for (uint64_t bit = from * 8; bit < (from + len) * 8; bit++) {
        struct table *table;
        flip(disk, bit);
        assert_true(gpt_driver.head.probe(disk) >= 128);
        assert_true(gpt_driver.load(disk, &table, &err));
        assert_true(same_parts(table, whole));
        assert_true(table->note[0] != '\0');
        assert_true(damage_found(table) > 0);
        if (bit % 97 == 0) {
            struct check check = {.repair = REPAIR_ALL};
            assert_true(gpt_driver.verify(table, &check, &err));
            assert_int_equal(check.damage, check.damage_fixed);
            assert_int_equal(damage_found(table), 0);
            flip(disk, bit);
            flip(disk, bit);
        } else {
            flip(disk, bit);
        }
        table_free(table);
    }
}

static void flipped_bits_in_a_gpt(void **state)
{
    (void)state;
    struct device *disk = new_disk();
    struct table *whole = sample(&gpt_driver, disk);
    flip_gpt(disk, whole, 512, 92);
    flip_gpt(disk, whole, 1024, 4 * 128);
    flip_gpt(disk, whole, DISK - 512, 92);
    flip_gpt(disk, whole, DISK - 33 * 512, 4 * 128);
    table_free(whole);
    device_close(disk);
}

static void both_copies_damaged(void **state)
{
    (void)state;
    struct device *disk = new_disk();
    struct table *whole = sample(&gpt_driver, disk), *table;
    flip(disk, (512 + 40) * 8);
    flip(disk, (uint64_t)(DISK - 512 + 40) * 8);
    assert_int_equal(gpt_driver.head.probe(disk), 64);
    assert_false(gpt_driver.load(disk, &table, &err));
    assert_int_equal(err.kind, E_DAMAGED);
    assert_non_null(strstr(err.message, "both copies"));
    flip(disk, (512 + 40) * 8);
    /* The header of one copy with the entries of the other are still a whole table. */
    flip(disk, 1024 * 8);
    assert_true(gpt_driver.load(disk, &table, &err));
    assert_true(same_parts(table, whole));
    table_free(table);
    table_free(whole);
    device_close(disk);
}

static void flipped_bits_in_an_mbr(void **state)
{
    (void)state;
    struct device *disk = new_disk();
    struct table *whole = sample(&mbr_driver, disk), *table;
    uint64_t sectors[3] = {0, table_part(whole, 5)->entry_off / 512 * 512,
                           table_part(whole, 6)->entry_off / 512 * 512};
    for (size_t i = 0; i < ARRAY_LEN(sectors); i++) {
        for (uint64_t bit = 440 * 8; bit < 512 * 8; bit++) {
            flip(disk, sectors[i] * 8 + bit);
            if (mbr_driver.load(disk, &table, &err)) {
                struct owner owner;
                damage_found(table);
                assert_true(mbr_driver.head.owner(table, sectors[i], &owner, &err));
                table_free(table);
            }
            flip(disk, sectors[i] * 8 + bit);
        }
    }
    assert_true(mbr_driver.load(disk, &table, &err));
    assert_true(same_parts(table, whole));
    table_free(table);
    table_free(whole);
    device_close(disk);
}

/* ---- chains -------------------------------------------------------------------------------------------- */

static void set_link(struct device *disk, uint64_t ebr_off, uint32_t start, uint32_t size)
{
    uint8_t record[16] = {[4] = 0x05};
    store_le32(record + 8, start);
    store_le32(record + 12, size);
    assert_true(device_write(disk, ebr_off + 446 + 16, record, 16, WRITE_UPDATE, &err));
}

static void a_chain_that_bites_its_tail(void **state)
{
    (void)state;
    struct device *disk = new_disk();
    struct table *table = sample(&mbr_driver, disk);
    uint64_t extended = table_extended(table)->off, last = table_part(table, 7)->entry_off / 512 * 512;
    set_link(disk, last, (uint32_t)((table_part(table, 6)->entry_off / 512 * 512 - extended) / 512), 100);
    table_free(table);
    assert_true(mbr_driver.load(disk, &table, &err));
    assert_int_equal(table->count, 5);
    assert_non_null(strstr(table->note, "comes back"));
    assert_int_equal(damage_found(table), 1);
    /* Nothing is stored over a chain that was not read to its end. */
    add(table, 64 * KiB, "linux", false);
    assert_false(table_store(table, &err));
    assert_int_equal(err.kind, E_DAMAGED);
    table_free(table);
    assert_true(mbr_driver.load(disk, &table, &err));
    struct check check = {.repair = REPAIR_ALL};
    assert_true(mbr_driver.verify(table, &check, &err));
    assert_int_equal(check.damage_fixed, 1);
    table_free(table);
    assert_true(mbr_driver.load(disk, &table, &err));
    assert_int_equal(damage_found(table), 0);
    assert_int_equal(table->count, 5);
    table_free(table);
    device_close(disk);
}

static void a_chain_that_leaves_the_disk(void **state)
{
    (void)state;
    struct device *disk = new_disk();
    struct table *table = sample(&mbr_driver, disk);
    set_link(disk, table_part(table, 5)->entry_off / 512 * 512, 0xfffffff0, 100);
    table_free(table);
    assert_true(mbr_driver.load(disk, &table, &err));
    assert_int_equal(table->count, 3);
    assert_int_equal(damage_found(table), 1);
    table_free(table);
    device_close(disk);
}

/* ---- anything at all ----------------------------------------------------------------------------------- */

static uint32_t rnd(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static unsigned stored;

/* All that a driver can be asked about a table it opened; answers do not matter, ends do. */
static void exercise(struct table *table)
{
    struct check check = {.repair = rnd() % 2 ? REPAIR_ALL : REPAIR_NONE};
    struct gap *gaps;
    size_t count;
    struct owner owner;
    struct place place;
    for (int i = 0; i < 20; i++) {
        uint64_t off = rnd() % DISK;
        assert_true(table->driver->head.owner(table, off, &owner, &err));
        assert_true(owner.len > 0 && owner.len <= DISK - off);
    }
    (void)table->driver->head.locate(table, "entry", "3", &place, &err);
    (void)table->driver->head.locate(table, "header", "backup", &place, &err);
    (void)table->driver->head.locate(table, "ebr", "6", &place, &err);
    assert_true(table_gaps(table, &gaps, &count, &err));
    free(gaps);
    if (table->driver->verify)
        (void)table->driver->verify(table, &check, &err);
    struct part_request request = {.start = PART_ANYWHERE, .size = 64 * KiB, .align = 512};
    unsigned number;
    if (table->driver->store && table_add(table, &request, &number, &err))
        stored += table_store(table, &err);
    if (table->driver->store && table->count > 0 && table_delete(table, table->parts[0].number, &err))
        stored += table_store(table, &err);
}

static void load_all(struct device *disk)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        struct table *table;
        drivers[i]->head.probe(disk);
        if (drivers[i]->load(disk, &table, &err)) {
            exercise(table);
            table_free(table);
        }
    }
}

static void random_sectors(void **state)
{
    (void)state;
    uint8_t bytes[16 * 512];
    for (int round = 0; round < 2000; round++) {
        struct device *disk = new_disk();
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(rnd() % 4 ? 0 : rnd());
        store_le16(bytes + 510, 0xaa55);
        if (round % 3 == 0)
            memcpy(bytes + 512, "EFI PART\0\0\1\0\x5c\0\0", 16);
        if (round % 5 == 0)
            memcpy(bytes, "ER\2\0", 4);
        if (round % 5 == 0)
            memcpy(bytes + 512, "PM", 2);
        if (round % 7 == 0) {
            store_le32(bytes + 512, 0x82564557);
            store_le32(bytes + 512 + 40, 512);
            store_le32(bytes + 512 + 132, 0x82564557);
            store_le16(bytes + 512 + 138, (uint16_t)(rnd() % 30));
        }
        assert_true(device_write(disk, 0, bytes, sizeof bytes, WRITE_UPDATE, &err));
        load_all(disk);
        device_close(disk);
    }
}

static void reseal(struct device *disk, uint64_t header_off)
{
    static uint8_t entries[64 * 1024];
    uint8_t header[512];
    assert_true(device_read(disk, header_off, header, 512, &err));
    uint64_t off = load_le64(header + 72) * 512,
             len = (uint64_t)load_le32(header + 80) * load_le32(header + 84);
    if (load_le64(header + 72) < SECTORS && range_inside(off, len, DISK) && len <= sizeof entries) {
        assert_true(device_read(disk, off, entries, len, &err));
        store_le32(header + 88, (uint32_t)crc32(0, entries, (uInt)len));
    }
    store_le32(header + 16, 0);
    uint32_t size = load_le32(header + 12);
    if (size <= 512)
        store_le32(header + 16, (uint32_t)crc32(0, header, size));
    assert_true(device_write(disk, header_off, header, 512, WRITE_UPDATE, &err));
}

/* Wild values behind right checksums. */
static void mutated_tables(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct device *disk = new_disk();
        bool gpt = round % 2;
        struct table *table = sample(gpt ? &gpt_driver : &mbr_driver, disk);
        uint64_t ebr = gpt ? 0 : table_part(table, 5)->entry_off / 512 * 512;
        table_free(table);
        for (unsigned n = rnd() % 4 + 1; n > 0; n--) {
            static const uint64_t interesting[] = {0,
                                                   1,
                                                   2,
                                                   33,
                                                   34,
                                                   0x7fffffff,
                                                   0xffffffff,
                                                   UINT64_MAX,
                                                   (uint64_t)1 << 55,
                                                   (uint64_t)1 << 63,
                                                   SECTORS,
                                                   SECTORS - 1};
            uint8_t value[8];
            store_le64(value, rnd() % 3 ? interesting[rnd() % ARRAY_LEN(interesting)] : rnd());
            uint64_t off = gpt ? (rnd() % 2 ? 512 + rnd() % 84 / 4 * 4 : 1024 + rnd() % 400 / 8 * 8)
                               : (rnd() % 2 ? 446 + rnd() % 56 : ebr + 446 + rnd() % 56);
            assert_true(device_write(disk, off, value, gpt ? (rnd() % 2 ? 4 : 8) : 4, WRITE_UPDATE, &err));
        }
        if (gpt) {
            reseal(disk, 512);
            if (rnd() % 2)
                flip(disk, (uint64_t)(DISK - 512) * 8);
        }
        load_all(disk);
        device_close(disk);
    }
    assert_true(stored > 0);
}

/* ---- what a disk goes through -------------------------------------------------------------------------- */

static void a_grown_disk(void **state)
{
    (void)state;
    struct device *disk = new_disk();
    struct table *table = sample(&gpt_driver, disk);
    table_free(table);
    assert_true(device_resize(disk, 2 * DISK, &err));
    assert_true(gpt_driver.load(disk, &table, &err));
    assert_non_null(strstr(table->note, "not at the disk's end"));
    assert_int_equal(table->end, 2 * DISK - 33 * 512);
    flip(disk, 512 * 8); /* without the primary the old backup is found by the protective MBR */
    struct table *again;
    assert_true(gpt_driver.load(disk, &again, &err));
    assert_true(same_parts(table, again));
    struct check check = {.repair = REPAIR_ALL};
    assert_true(gpt_driver.verify(again, &check, &err));
    assert_true(check.damage >= 3 && check.damage == check.damage_fixed);
    assert_int_equal(damage_found(again), 0);
    char magic[8];
    assert_true(device_read(disk, DISK - 512, magic, 8, &err));
    assert_true(all_zero(magic, 8));
    table_free(again);
    table_free(table);
    device_close(disk);
}

static void a_disk_cut_short(void **state)
{
    (void)state;
    struct device *disk = new_disk();
    struct table *table = sample(&gpt_driver, disk);
    table_free(table);
    assert_true(device_resize(disk, DISK / 4, &err));
    assert_true(gpt_driver.load(disk, &table, &err));
    assert_non_null(strstr(table->note, "smaller"));
    assert_int_equal(table->count, 3);
    assert_true(table->faults > 0);
    assert_true(table_delete(table, 3, &err));
    assert_true(table_store(table, &err));
    assert_int_equal(damage_found(table), 0);
    table_free(table);
    device_close(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_bits_in_a_gpt),
        cmocka_unit_test(both_copies_damaged),
        cmocka_unit_test(flipped_bits_in_an_mbr),
        cmocka_unit_test(a_chain_that_bites_its_tail),
        cmocka_unit_test(a_chain_that_leaves_the_disk),
        cmocka_unit_test(random_sectors),
        cmocka_unit_test(mutated_tables),
        cmocka_unit_test(a_grown_disk),
        cmocka_unit_test(a_disk_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
