/* The calendar against the C library, over 800 years; offsets as people write them. */
#include "bytes.h"
#include "localtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static void calendar_agrees_with_the_library(void **state)
{
    (void)state;
    for (int64_t seconds = -12622780800; seconds < 12622780800; seconds += 86400 * 3 + 7919) {
        struct tm tm;
        time_t t = seconds;
        assert_non_null(gmtime_r(&t, &tm));
        struct civil_time civil = civil_from_seconds(seconds);
        assert_int_equal(civil.year, tm.tm_year + 1900);
        assert_int_equal(civil.month, tm.tm_mon + 1);
        assert_int_equal(civil.day, tm.tm_mday);
        assert_int_equal(civil.hour, tm.tm_hour);
        assert_int_equal(civil.minute, tm.tm_min);
        assert_int_equal(civil.second, tm.tm_sec);
        assert_int_equal(civil_to_seconds(&civil), seconds);
    }
}

static void offsets_are_parsed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int minutes;
    } good[] = {{"utc", 0}, {"UTC", 0},      {"+02:00", 120}, {"-0330", -210},
                {"5", 300}, {"+14:00", 840}, {"-12", -720}};
    static const char *const bad[] = {"",    "+",  "x",    "+15:00", "+14:01", "-12:01",
                                      "-13", "2:", "2:60", "12345",  "+2:00x"};
    struct error err;
    int minutes;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(localtime_parse_offset(good[i].text, &minutes, &err));
        assert_int_equal(minutes, good[i].minutes);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(localtime_parse_offset(bad[i], &minutes, &err));
}

static void offsets_are_written(void **state)
{
    (void)state;
    static const int minutes[] = {0, 90, -210, -720, 840};
    static const char *const texts[] = {"utc", "+01:30", "-03:30", "-12:00", "+14:00"};
    for (size_t i = 0; i < ARRAY_LEN(minutes); i++) {
        char text[7];
        localtime_offset_text(minutes[i], text, sizeof text);
        assert_string_equal(text, texts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calendar_agrees_with_the_library),
        cmocka_unit_test(offsets_are_parsed),
        cmocka_unit_test(offsets_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
