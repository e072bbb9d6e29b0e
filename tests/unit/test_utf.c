/* Every code point both ways, every single and paired surrogate, malformed bytes. */
#include "bytes.h"
#include "utf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void every_code_point_comes_back(void **state)
{
    (void)state;
    struct error err;
    for (uint32_t code = 1; code < 0x110000; code++) {
        char text[8], back[8];
        uint16_t units[2];
        size_t len = utf8_encode(code, text), count;
        bool surrogate = code >= 0xD800 && code < 0xE000;
        assert_int_equal(utf8_to_utf16(text, len, UTF_STRICT, units, 2, &count, &err), !surrogate);
        assert_true(utf8_to_utf16(text, len, UTF_WTF8, units, 2, &count, &err));
        assert_int_equal(count, code < 0x10000 ? 1 : 2);
        assert_true(utf16_to_utf8(units, count, UTF_WTF8, back, sizeof back, &err));
        assert_int_equal(utf16_to_utf8(units, count, UTF_STRICT, back, sizeof back, &err), !surrogate);
        assert_memory_equal(text, back, len);
    }
}

static void surrogates_in_any_order_are_kept(void **state)
{
    (void)state;
    static const uint16_t parts[] = {0x41, 0xD83D, 0xDE00, 0xDBFF, 0xDC00};
    struct error err;
    for (unsigned n = 0; n < 625; n++) {
        uint16_t units[4] = {parts[n % 5], parts[n / 5 % 5], parts[n / 25 % 5], parts[n / 125]}, back[4];
        char text[UTF8_SIZE(4)];
        size_t count;
        assert_true(utf16_to_utf8(units, 4, UTF_WTF8, text, sizeof text, &err));
        assert_true(utf8_valid(text, strlen(text), UTF_WTF8));
        assert_true(utf8_to_utf16(text, strlen(text), UTF_WTF8, back, 4, &count, &err));
        assert_int_equal(count, 4);
        assert_memory_equal(units, back, sizeof units);
    }
}

static void malformed_text_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xE0\x9F\xBF",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF8\x88\x80\x80\x80",
                                      "\xE2\x82",
                                      "a\xFF",
                                      "\xED\xA0\xBD\xED\xB8\x80"};
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint16_t units[8];
        size_t count;
        assert_false(utf8_valid(bad[i], strlen(bad[i]), UTF_WTF8));
        assert_false(utf8_to_utf16(bad[i], strlen(bad[i]), UTF_WTF8, units, 8, &count, &err));
        assert_int_equal(err.kind, E_NAME);
    }
}

static void limits_are_kept(void **state)
{
    (void)state;
    struct error err;
    uint16_t units[3];
    char text[4];
    size_t count;
    assert_true(utf8_to_utf16("abc", 3, UTF_STRICT, units, 3, &count, &err));
    assert_false(utf8_to_utf16("abcd", 4, UTF_STRICT, units, 3, &count, &err));
    assert_false(utf8_to_utf16("ab\xF0\x9F\x98\x80", 6, UTF_STRICT, units, 3, &count, &err));
    assert_true(utf16_to_utf8(units, 3, UTF_WTF8, text, 4, &err));
    assert_false(utf16_to_utf8(units, 3, UTF_WTF8, text, 3, &err));
}

static void units_lie_in_little_endian_order(void **state)
{
    (void)state;
    static const uint16_t units[] = {0x0041, 0x20AC, 0xD83D, 0xDE00};
    static const uint8_t bytes[] = {0x41, 0x00, 0xAC, 0x20, 0x3D, 0xD8, 0x00, 0xDE};
    uint8_t raw[sizeof bytes];
    uint16_t back[ARRAY_LEN(units)];
    utf16_store_le(raw, units, ARRAY_LEN(units));
    assert_memory_equal(raw, bytes, sizeof bytes);
    utf16_load_le(raw, back, ARRAY_LEN(units));
    assert_memory_equal(back, units, sizeof units);
}

static void lengths_end_at_the_first_zero(void **state)
{
    (void)state;
    static const uint16_t units[] = {'a', 'b', 0, 'c', 0};
    assert_int_equal(utf16_length(units, 5), 2);
    assert_int_equal(utf16_length(units, 2), 2);
    assert_int_equal(utf16_length(units, 1), 1);
    assert_int_equal(utf16_length(units + 2, 3), 0);
    assert_int_equal(utf16_length(units + 3, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_comes_back),
        cmocka_unit_test(surrogates_in_any_order_are_kept),
        cmocka_unit_test(malformed_text_is_refused),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(units_lie_in_little_endian_order),
        cmocka_unit_test(lengths_end_at_the_first_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
