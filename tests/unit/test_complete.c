/* What Tab inserts reads back as the name, whatever the name and however the word was begun. */
#include "interactive.h"
#include "unit.h"

static const char *const openings[] = {
    [QUOTING_NONE] = "", [QUOTING_SINGLE] = "'", [QUOTING_DOUBLE] = "\"", [QUOTING_ANSI] = "$'"};

/* The bytes that Tab puts behind `typed` for a name. */
static void insertion(const char *name, const char *typed, enum quoting quoting, bool more, struct text *out)
{
    struct candidate item = {(char *)(uintptr_t)name, NULL, more};
    struct candidates found = {.items = &item,
                               .count = 1,
                               .typed = (char *)(uintptr_t)typed,
                               .typed_len = strlen(typed),
                               .quoting = quoting};
    complete_insertion(&found, out);
}

static void check_name(const char *name, size_t split, enum quoting quoting)
{
    struct text line = {0}, word = {0};
    struct source source;
    struct error err;
    struct parser parser = {.source = &source};
    struct line *parsed;
    char *typed = strndup(name, split);
    text_printf(&line, "cat %s", openings[quoting]);
    insertion(typed, "", quoting, true, &line);
    insertion(name, typed, quoting, false, &line);
    text_string(&line, "next");
    must(source_text(&source, "test", text_get(&line), line.len, &err), &err);
    if (parser_next(&parser, &parsed, &err) != PARSE_LINE)
        fail_msg("%s: %s", text_get(&line), parser.bad.message);
    assert_int_equal(parsed->commands[0].word_count, 3);
    const struct word *got = &parsed->commands[0].words[1];
    for (size_t i = 0; i < got->count; i++) {
        assert_true(got->pieces[i].kind == PIECE_PLAIN || got->pieces[i].kind == PIECE_QUOTED);
        text_add(&word, got->pieces[i].text, got->pieces[i].len);
    }
    if (strcmp(text_get(&word), name) != 0)
        fail_msg("%s became %s", text_get(&line), text_get(&word));
    parser_free(&parser);
    source_close(&source);
    text_free(&line);
    text_free(&word);
    free(typed);
}

static void test_insertion(void **state)
{
    (void)state;
    static const char *const names[] = {
        "plain",     "My Docs",          "a'b.txt",  "a\"b", "a\\b", "$HOME", "`x`",
        "*?[a]",     "a;b&c|d",          "<>",       "#x",   "~",    "!x",    "tab\there",
        "new\nline", "\xc3\xa4\xc3\xb6", "\033[31m", "a\xff"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (size_t split = 0; split <= strlen(names[i]); split++)
            for (enum quoting quoting = QUOTING_NONE; quoting <= QUOTING_ANSI; quoting++)
                check_name(names[i], split, quoting);
}

/* Of several only what is common is put in, by whole characters, and the word stays open. */
static void test_common(void **state)
{
    (void)state;
    struct text out = {0};
    struct candidate items[] = {{(char[]){"My Docs/"}, NULL, true}, {(char[]){"My Dogs"}, NULL, false}};
    struct candidates found = {.items = items, .count = 2, .typed = (char[]){"M"}, .typed_len = 1};
    complete_insertion(&found, &out);
    assert_string_equal(text_get(&out), "y\\ Do");
    text_clear(&out);
    struct candidate accents[] = {{(char[]){"\xc3\xa4"}, NULL, false}, {(char[]){"\xc3\xa5"}, NULL, false}};
    found = (struct candidates){.items = accents, .count = 2, .typed = (char[]){""}};
    complete_insertion(&found, &out);
    assert_string_equal(text_get(&out), "");
    text_free(&out);
}

static void cursor_is(const char *text, size_t words, bool has_word, enum quoting quoting, bool redirect,
                      bool host)
{
    struct parser parser = {0};
    struct cursor cursor;
    assert_true(words_at(&parser, text, strlen(text), &cursor));
    assert_int_equal(cursor.command->word_count, words);
    assert_int_equal(cursor.word != NULL, has_word);
    assert_int_equal(cursor.quoting, quoting);
    assert_int_equal(cursor.redirect, redirect);
    assert_int_equal(cursor.host, host);
    parser_free(&parser);
}

static void test_cursor(void **state)
{
    (void)state;
    cursor_is("", 0, false, QUOTING_NONE, false, false);
    cursor_is("l", 1, true, QUOTING_NONE, false, false);
    cursor_is("ls ", 1, false, QUOTING_NONE, false, false);
    cursor_is("ls a; cat b c", 3, true, QUOTING_NONE, false, false);
    cursor_is("ls a && ", 0, false, QUOTING_NONE, false, false);
    cursor_is("cat 'a b", 2, true, QUOTING_SINGLE, false, false);
    cursor_is("cat \"a b", 2, true, QUOTING_DOUBLE, false, false);
    cursor_is("cat $'a", 2, true, QUOTING_ANSI, false, false);
    cursor_is("cat 'a'b", 2, true, QUOTING_NONE, false, false);
    cursor_is("cat a > ou", 2, true, QUOTING_NONE, true, false);
    cursor_is("cat a >", 2, false, QUOTING_NONE, true, false);
    cursor_is("cat a | so", 2, false, QUOTING_NONE, false, true);
    cursor_is("!ls x", 0, false, QUOTING_NONE, false, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_insertion),
        cmocka_unit_test(test_common),
        cmocka_unit_test(test_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
