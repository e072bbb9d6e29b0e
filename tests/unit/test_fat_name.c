/* FAT: short names of long ones, what cannot be a name, times. */
#include "fat/fat.h"
#include "localtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct fat volume;

struct taken {
    const char *const *names; /* ends with NULL */
};

static bool is_taken(void *arg, const uint8_t short_name[SHORT_NAME], bool *taken, struct error *err)
{
    (void)err;
    *taken = false;
    for (const char *const *name = ((struct taken *)arg)->names; *name; name++)
        *taken = *taken || memcmp(*name, short_name, SHORT_NAME) == 0;
    return true;
}

static void check_short(const char *text, const char *const *names, const char *expected, uint8_t bits,
                        bool is_long)
{
    struct dosname name;
    struct error err;
    struct taken taken = {names};
    uint8_t short_name[SHORT_NAME], case_bits;
    bool need_long;
    assert_true(dosname_parse(text, "FAT", &name, &err));
    assert_true(fat_short_make(&volume, &name, is_taken, &taken, short_name, &case_bits, &need_long, &err));
    assert_memory_equal(short_name, expected, SHORT_NAME);
    assert_int_equal(case_bits, bits);
    assert_int_equal(need_long, is_long);
}

static void short_names_are_those_of_windows(void **state)
{
    (void)state;
    static const char *const none[] = {NULL}, *const some[] = {"LONGNA~1TXT", "LONGNA~2TXT", NULL};
    volume.codepage = codepage_find(437);
    check_short("README.TXT", none, "README  TXT", 0, false);
    check_short("readme.txt", none, "README  TXT", LOWER_BASE | LOWER_EXT, false);
    check_short("README.txt", none, "README  TXT", LOWER_EXT, false);
    check_short("readme.TXT", none, "README  TXT", LOWER_BASE, false);
    check_short("Readme.txt", none, "README  TXT", 0, true);
    check_short("12345.678", none, "12345   678", 0, false);
    check_short("long name.txt", none, "LONGNA~1TXT", 0, true);
    check_short("long name.txt", some, "LONGNA~3TXT", 0, true);
    check_short("a.b.c", none, "AB~1    C  ", 0, true);
    check_short(".profile", none, "PROFIL~1   ", 0, true);
    check_short("ABCDEFGH.TXT", none, "ABCDEFGHTXT", 0, false);
    check_short("abcdefghi.txt", none, "ABCDEF~1TXT", 0, true);
    for (const char *replaced = "+,;=[]"; *replaced; replaced++) {
        char text[] = "x?y.c";
        text[1] = *replaced;
        check_short(text, none, "X_Y~1   C  ", 0, true);
    }
    check_short("page.html", none, "PAGE~1  HTM", 0, true);
    check_short("caf\xC3\xA9", none, "CAF\x90       ", 0, true);
    check_short("\xF0\x9F\x98\x80", none, "__~1       ", 0, true);
}

static void tails_go_on_after_nine(void **state)
{
    (void)state;
    static const char *const nine[] = {"LONGNA~1TXT", "LONGNA~2TXT", "LONGNA~3TXT", "LONGNA~4TXT",
                                       "LONGNA~5TXT", "LONGNA~6TXT", "LONGNA~7TXT", "LONGNA~8TXT",
                                       "LONGNA~9TXT", NULL};
    static const char *const five[] = {"LONGNA~1TXT", "LONGNA~2TXT", "LONGNA~3TXT",
                                       "LONGNA~4TXT", "LONGNA~5TXT", NULL};
    struct dosname name;
    struct error err;
    struct taken taken = {nine};
    uint8_t short_name[SHORT_NAME], bits;
    bool need_long;
    assert_true(dosname_parse("long name.txt", "FAT", &name, &err));
    assert_true(fat_short_make(&volume, &name, is_taken, &taken, short_name, &bits, &need_long, &err));
    assert_memory_equal(short_name, "LO", 2);
    assert_memory_equal(short_name + 6, "~1TXT", 5);
    check_short("long name.txt", five, "LONGNA~6TXT", 0, true);
    /* The digits come from the name, so that the next name seldom meets them. */
    uint8_t other[SHORT_NAME];
    assert_true(dosname_parse("long names.txt", "FAT", &name, &err));
    assert_true(fat_short_make(&volume, &name, is_taken, &taken, other, &bits, &need_long, &err));
    assert_memory_not_equal(other + 2, short_name + 2, 4);
}

static void impossible_names_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",  "a:b", "a/b", "a\\b", "a*",     "a?",   "\"",
                                      "<", ">",   "|",   "dot.", "space ", "\x01", "\xFF"};
    char longest[300];
    struct dosname name;
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(dosname_parse(bad[i], "FAT", &name, &err));
        assert_int_equal(err.kind, E_NAME);
    }
    memset(longest, 'x', sizeof longest);
    longest[255] = '\0';
    assert_true(dosname_parse(longest, "FAT", &name, &err));
    longest[255] = 'x';
    longest[256] = '\0';
    assert_false(dosname_parse(longest, "FAT", &name, &err));
}

static void short_names_are_shown_as_they_are_meant(void **state)
{
    (void)state;
    uint8_t entry[ENTRY_SIZE] = "README  TXT", back[SHORT_NAME];
    struct dosname name;
    fat_short_decode(&volume, entry, &name);
    assert_int_equal(name.count, 10);
    assert_true(fat_short_encode(&volume, &name, back));
    assert_memory_equal(back, entry, SHORT_NAME);
    fat_entry_set_DIR_NTRes(entry, LOWER_BASE);
    fat_short_decode(&volume, entry, &name);
    assert_true(name.units[0] == 'r' && name.units[7] == 'T');
    memcpy(entry,
           "\x05"
           "BC        ",
           SHORT_NAME);
    fat_short_decode(&volume, entry, &name);
    assert_int_equal(name.units[0], codepage_to_unit(volume.codepage, 0xE5));
}

static void bytes_of_short_names_are_judged(void **state)
{
    (void)state;
    static const char *const bad[] = {"A*      TXT",    "A?      TXT",    " A      TXT",   "A.      TXT",
                                      "A\x01      TXT", "A\x7F      TXT", "A\x05      TXT"};
    assert_int_equal(fat_name_checksum((const uint8_t *)"README  TXT"), 0x73);
    assert_false(fat_bad_short((const uint8_t *)"README  TXT"));
    assert_false(fat_bad_short((const uint8_t *)"\x05       TXT")); /* stands for 0xE5 */
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(fat_bad_short((const uint8_t *)bad[i]));
}

static void labels_have_eleven_characters(void **state)
{
    (void)state;
    uint8_t label[SHORT_NAME];
    struct error err;
    assert_true(fat_label_encode(volume.codepage, "ELEVEN CHAR", label, &err));
    assert_memory_equal(label, "ELEVEN CHAR", SHORT_NAME);
    assert_true(fat_label_valid(label));
    assert_false(fat_label_encode(volume.codepage, "TWELVE CHARS", label, &err));
    assert_false(fat_label_encode(volume.codepage, "A*B", label, &err));
    assert_false(fat_label_encode(volume.codepage, " A", label, &err));
    assert_false(fat_label_encode(volume.codepage, "A\x1F", label, &err));
    assert_false(fat_label_encode(volume.codepage, "A\x7F", label, &err));
    static const char *const bad[] = {"A*B        ", " A         ", "A\x1F         ", "A\x7F         ",
                                      "A\x05         "};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(fat_label_valid((const uint8_t *)bad[i]));
}

static void a_label_may_begin_with_the_byte_of_free_slots(void **state)
{
    (void)state;
    uint8_t label[SHORT_NAME];
    char text[64];
    struct error err;
    assert_true(fat_label_encode(codepage_find(850), "\xC3\x95", label, &err)); /* Õ is 0xE5 there */
    assert_int_equal(label[0], SLOT_E5);
    assert_true(fat_label_valid(label));
    fat_label_decode(codepage_find(850), label, text, sizeof text);
    assert_string_equal(text, "\xC3\x95");
}

static void times_are_local_and_clamped(void **state)
{
    (void)state;
    uint16_t date, time;
    uint8_t tenth;
    fat_time_encode((struct fs_time){1700000001, 987654321}, &date, &time, &tenth);
    struct fs_time back = fat_time_decode(date, time, tenth);
    assert_true(back.sec == 1700000001 && back.nsec == 980000000);
    assert_int_equal(fat_time_decode(date, time, 0).sec, 1700000000);
    localtime_set_offset(90);
    assert_int_equal(fat_time_decode(date, time, 0).sec, 1700000000 - 5400);
    localtime_set_offset(0);
    fat_time_encode((struct fs_time){0, 0}, &date, &time, &tenth);
    assert_int_equal(fat_time_decode(date, time, tenth).sec, 315532800);
    fat_time_encode((struct fs_time){INT64_C(99999999999), 0}, &date, &time, &tenth);
    assert_int_equal(fat_time_decode(date, time, 0).sec, INT64_C(4354819198));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_names_are_those_of_windows),
        cmocka_unit_test(tails_go_on_after_nine),
        cmocka_unit_test(impossible_names_are_refused),
        cmocka_unit_test(short_names_are_shown_as_they_are_meant),
        cmocka_unit_test(bytes_of_short_names_are_judged),
        cmocka_unit_test(labels_have_eleven_characters),
        cmocka_unit_test(a_label_may_begin_with_the_byte_of_free_slots),
        cmocka_unit_test(times_are_local_and_clamped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
