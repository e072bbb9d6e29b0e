/* Every byte of every code page has its own character; upper case is idempotent. */
#include "bytes.h"
#include "codepage.h"
#include "upcase.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void every_byte_comes_back(void **state)
{
    (void)state;
    static const unsigned numbers[] = {437,  737,  775,  850,  852,  855,  857, 858,  860,
                                       861,  862,  863,  865,  866,  869,  874, 1250, 1251,
                                       1252, 1253, 1254, 1255, 1256, 1257, 1258};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const struct codepage *page = codepage_find(numbers[i]);
        assert_non_null(page);
        for (unsigned byte = 0; byte < 256; byte++) {
            uint8_t back;
            uint16_t unit = codepage_to_unit(page, (uint8_t)byte);
            assert_true(unit != 0 || byte == 0);
            assert_true(codepage_from_unit(page, unit, &back));
            assert_int_equal(back, byte);
        }
    }
    assert_null(codepage_find(1));
}

static void known_characters(void **state)
{
    (void)state;
    uint8_t byte;
    assert_true(codepage_from_unit(codepage_find(437), 0xE9, &byte) && byte == 0x82);  /* é */
    assert_true(codepage_from_unit(codepage_find(866), 0x42F, &byte) && byte == 0x9F); /* Я */
    assert_false(codepage_from_unit(codepage_find(437), 0x42F, &byte));
    assert_int_equal(codepage_upcase(codepage_find(437), 0x82), 0x90); /* é to É */
    assert_int_equal(codepage_upcase(codepage_find(437), 'z'), 'Z');
    assert_int_equal(codepage_upcase(codepage_find(437), 0x98), 0x98); /* ÿ has no upper case there */
    assert_int_equal(codepage_upcase(codepage_find(855), 0x80), 0x81); /* ђ to Ђ */
}

static void unknown_pages_are_refused(void **state)
{
    (void)state;
    struct error err;
    assert_false(codepage_set_default(1, &err));
    assert_int_equal(err.kind, E_INVALID);
    assert_non_null(strstr(err.message, "(there are: 437 737 "));
    assert_non_null(strstr(err.message, " 1257 1258)"));
    assert_ptr_equal(codepage_default(), codepage_find(437));
    assert_true(codepage_set_default(850, &err));
    assert_ptr_equal(codepage_default(), codepage_find(850));
}

static void upper_case(void **state)
{
    (void)state;
    assert_ptr_equal(codepage_default(), codepage_find(437));
    for (uint32_t unit = 0; unit < 0x10000; unit++)
        assert_int_equal(upcase_unit(upcase_unit((uint16_t)unit)), upcase_unit((uint16_t)unit));
    assert_int_equal(upcase_unit('a'), 'A');
    assert_int_equal(upcase_unit(0x44F), 0x42F);
    assert_int_equal(upcase_unit(0xDF), 0xDF);
    assert_int_equal(upcase_unit(0xD83D), 0xD83D);
    const uint16_t a[] = {'x', 0xE4}, b[] = {'X', 0xC4}, c[] = {'X', 0xC5};
    assert_true(upcase_equal(a, 2, b, 2));
    assert_false(upcase_equal(a, 2, c, 2));
    assert_int_equal(upcase_hash(a, 2), upcase_hash(b, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(known_characters),
        cmocka_unit_test(upper_case),
        cmocka_unit_test(unknown_pages_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
