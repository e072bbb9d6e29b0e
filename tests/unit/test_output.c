/* Text and JSON renderings, escaping, widths. */
#include "unit.h"

#include "shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fill(struct report *report)
{
    report_text(report, "name", "disk");
    report_size(report, "virtual-size", 64 << 20);
    report_bytes(report, "odd", "a\xff\n\"", 4);
    report_bool(report, "dirty", false);
    report_hex(report, "flags", 0x1f);
    report_open_list(report, "parts");
    for (unsigned i = 1; i <= 2; i++) {
        report_open(report, NULL);
        report_number(report, "number", i * 9);
        report_text(report, "type", i == 1 ? "esp" : "linux");
        report_close(report);
    }
    report_close(report);
    report_open(report, "inner");
    report_signed(report, "delta", -1);
    report_null(report, "none");
    report_close(report);
}

/* What a report prints, read back from a pipe. */
static void check(bool json, const char *expected)
{
    int ends[2];
    char got[2000] = "";
    struct error err;
    struct shell_options options = {.json = json};
    assert_int_equal(pipe(ends), 0);
    struct output *out = output_new(ends[1], &options, false, &err);
    assert_non_null(out);
    fill(output_report(out));
    assert_true(output_finish(out, &err));
    output_free(out);
    close(ends[1]);
    assert_true(read(ends[0], got, sizeof got - 1) > 0);
    close(ends[0]);
    assert_string_equal(got, expected);
}

static void test_json(void **state)
{
    (void)state;
    check(true, "{\"name\":\"disk\",\"virtual-size\":67108864,\"odd\":\"a\\udcff\\n\\\"\",\"dirty\":false,"
                "\"flags\":31,\"parts\":[{\"number\":9,\"type\":\"esp\"},{\"number\":18,\"type\":\"linux\"}],"
                "\"inner\":{\"delta\":-1,\"none\":null}}\n");
}

static void test_text(void **state)
{
    (void)state;
    check(false, "name:          disk\n"
                 "virtual size:  64 MiB\n"
                 "odd:           a\\377\\n\"\n"
                 "dirty:         no\n"
                 "flags:         0x1f\n"
                 "parts:\n"
                 "  number  type\n"
                 "       9  esp\n"
                 "      18  linux\n"
                 "inner:\n"
                 "  delta:  -1\n"
                 "  none:   -\n");
}

static void escaped_is(const char *bytes, const char *expected)
{
    struct text text = {0};
    text_escaped(&text, bytes, strlen(bytes));
    assert_string_equal(text_get(&text), expected);
    text_free(&text);
}

static void test_escaping(void **state)
{
    (void)state;
    escaped_is("plain", "plain");
    escaped_is("back\\slash", "back\\slash");
    escaped_is("b\\\n", "b\\\\\\n");
    escaped_is("\033[31m", "\\033[31m");
    escaped_is("\xc3\xa4\xff", "\xc3\xa4\\377");
    escaped_is("\xc2\x9b", "\\302\\233"); /* a control character of its own in UTF-8 */
}

/* Every sequence that is not UTF-8 is taken byte by byte; well-formed ones are kept. */
static void test_utf8(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "\x80", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80", "\xc3"};
    uint32_t code;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_int_equal(utf8_next(broken[i], strlen(broken[i]), &code), 0);
    assert_int_equal(utf8_next("\xe2\x82\xac", 3, &code), 3);
    assert_int_equal(code, 0x20ac);
    assert_int_equal(utf8_next("\xf0\x9f\x98\x80", 4, &code), 4);
    assert_int_equal(code, 0x1f600);
}

static void test_sizes(void **state)
{
    (void)state;
    struct error err;
    uint64_t size;
    assert_true(call_size("4K", 100, &size, &err));
    assert_int_equal(size, 4096);
    assert_true(call_size("+1K", 1024, &size, &err));
    assert_int_equal(size, 2048);
    assert_true(call_size("-1K", 4096, &size, &err));
    assert_int_equal(size, 3072);
    assert_true(call_size("50%", 1000, &size, &err));
    assert_int_equal(size, 500);
    assert_true(call_size("100%", UINT64_MAX, &size, &err));
    assert_true(size == UINT64_MAX);
    assert_false(call_size("-2K", 1024, &size, &err));
    assert_false(call_size("%", 1024, &size, &err));
    assert_false(call_size("+16E", UINT64_MAX, &size, &err));
    assert_false(call_size("", 0, &size, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json), cmocka_unit_test(test_text),  cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_utf8), cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
