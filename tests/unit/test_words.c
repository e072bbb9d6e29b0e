/* The command language: every text is read and written down again
 * in a form that shows how it was understood. */
#include "unit.h"

#include "alloc.h"
#include "text.h"
#include "words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void dump_word(struct text *out, const struct word *word)
{
    text_char(out, '<');
    for (size_t i = 0; i < word->count; i++) {
        static const char *const marks[] = {"", "=", "$", "\"$"};
        const struct piece *piece = &word->pieces[i];
        text_string(out, i ? "," : "");
        text_string(out, marks[piece->kind]);
        text_escaped(out, piece->text, piece->len);
    }
    text_char(out, '>');
}

static void dump_command(struct text *out, const struct simple *simple, bool first)
{
    static const char *const joins[] = {" ; ", " && ", " || "};
    static const char *const signs[] = {"<", ">", ">>", "<<", "2>", "2>>", "2>&1"};
    text_string(out, first ? "" : joins[simple->join]);
    text_string(out, simple->ignore ? "-" : "");
    if (simple->host)
        text_printf(out, "!{%s}", simple->host);
    for (size_t i = 0; i < simple->word_count; i++)
        dump_word(out, &simple->words[i]);
    for (size_t i = 0; i < simple->redirect_count; i++) {
        text_string(out, signs[simple->redirects[i].kind]);
        dump_word(out, &simple->redirects[i].word);
    }
    if (simple->pipe)
        text_printf(out, "|{%s}", simple->pipe);
}

/* All lines, each behind its number; a syntax error as "LINE:COLUMN: message". */
static char *understood(const char *text, size_t len)
{
    struct source source;
    struct error err;
    struct parser parser = {.source = &source};
    struct line *line;
    struct text out = {0};
    enum parsed parsed;
    assert_true(source_text(&source, "test", text, len, &err));
    while ((parsed = parser_next(&parser, &line, &err)) == PARSE_LINE) {
        text_printf(&out, "%s%u:", out.len ? "\n" : "", line->commands[0].line);
        for (size_t i = 0; i < line->count; i++)
            dump_command(&out, &line->commands[i], i == 0);
    }
    if (parsed == PARSE_BAD)
        text_printf(&out, "%s%u:%u: %s", out.len ? "\n" : "", parser.bad.line, parser.bad.column,
                    parser.bad.message);
    parser_free(&parser);
    source_close(&source);
    return out.bytes ? out.bytes : strdup("");
}

static void check(const char *text, const char *expected)
{
    char *got = understood(text, strlen(text));
    assert_string_equal(got, expected);
    free(got);
}

static void test_plain(void **state)
{
    (void)state;
    check("", "");
    check("  # only a comment\n\n", "");
    check("ls -l /etc", "1:<ls><-l></etc>");
    check("a\tb  c#d # e", "1:<a><b><c#d>");
    check("one\n\n  two\n", "1:<one>\n3:<two>");
    check("one\r\ntwo\r\n", "1:<one>\n2:<two>");
    check("#!/usr/bin/dish -f\nls", "2:<ls>");
    check("ls\n#! not the first", "1:<ls>");
}

static void test_quotes(void **state)
{
    (void)state;
    check("a 'b c' \"d e\" f\\ g", "1:<a><=b c><=d e><f,= ,g>");
    check("'' \"\"", "1:<=><=>");
    check("a'b'\"c\"d", "1:<a,=b,=c,d>");
    check("'it'\\''s'", "1:<=it,=',=s>");
    check("\"a\\\"b\\\\c\\d\"", "1:<=a\"b\\c\\d>");
    check("'a\nb' c", "1:<=a\\nb><c>");
    check("\"a\\\nb\"", "1:<=ab>");
    check("\\#x a\\#b", "1:<=#,x><a,=#,b>");
    check("$'a\\tb\\x41\\101\\u00e9\\'\\\\'", "1:<=a\\tbAA\xc3\xa9'\\\\>");
    check("x$'\\n'y", "1:<x,=\\n,y>");
}

static void test_nul_bytes(void **state)
{
    (void)state;
    check("write f $'\\x00\\n'", "1:<write><f><=\\000\\n>");
    const char text[] = "a 'b\0c'";
    char *got = understood(text, sizeof text - 1);
    assert_string_equal(got, "1:<a><=b\\000c>");
    free(got);
}

static void test_continuation(void **state)
{
    (void)state;
    check("ls \\\n -l\nx", "1:<ls><-l>\n3:<x>");
    check("l\\\ns", "1:<ls>");
    check("ls \\\r\n -l", "1:<ls><-l>");
    check("a \\", "1:<a>");
}

static void test_variables(void **state)
{
    (void)state;
    check("echo $A ${B}c $?", "1:<echo><$A><$B,c><$?>");
    check("echo x$A.y \"p $A q\" '$A' \\$A", "1:<echo><x,$A,.y><=p ,\"$A,= q><=$A><=$,A>");
    check("a $ $/ 5$", "1:<a><$><$/><5$>");
    check("\"$A\"", "1:<\"$A>");
    check("echo ${A", "1:6: a name and } must follow ${");
    check("echo ${1}", "1:6: a name and } must follow ${");
    check("echo $1", "1:6: $1 is not known here; quote it to mean the characters");
}

static void test_lists(void **state)
{
    (void)state;
    check("a; b && c || d", "1:<a> ; <b> && <c> || <d>");
    check("a;", "1:<a>");
    check("a &&\n\n b", "1:<a> && <b>");
    check("-rm x; - y", "1:-<rm><x> ; <-><y>");
    check(";", "1:1: a command must come before this");
    check("a ;; b", "1:4: a command must come before this");
    check("a &&", "1:3: a command must follow &&");
    check("a || ; b", "1:6: a command must come before this");
    check("a & b", "1:3: nothing runs in the background; quote the & to mean itself");
}

static void test_host(void **state)
{
    (void)state;
    check("!ls -l | wc; b", "1:!{ls -l | wc} ; <b>");
    check("-!false || c", "1:-!{false} || <c>");
    check("!echo 'a;b' \"c && d\" \\; x; y", "1:!{echo 'a;b' \"c && d\" \\; x} ; <y>");
    check("!(cd /tmp; ls) && z", "1:!{(cd /tmp; ls)} && <z>");
    check("!for i in 1 2; do echo $i; done; z", "1:!{for i in 1 2; do echo $i; done} ; <z>");
    check("!if true; then echo a; else echo b; fi; z", "1:!{if true; then echo a; else echo b; fi} ; <z>");
    check("!case x in x) echo 1;; esac; z", "1:!{case x in x) echo 1;; esac} ; <z>");
    check("!for i in 1\ndo echo $i\ndone\nz", "1:!{for i in 1\ndo echo $i\ndone}\n4:<z>");
    check("cat a | wc -c | tr -d ' '; b", "1:<cat><a>|{wc -c | tr -d ' '} ; <b>");
    check("cat a | sed s/a/b/ > out", "1:<cat><a>|{sed s/a/b/ > out}");
    check("!echo a # b; c\nd", "1:!{echo a # b; c}\n2:<d>");
    check("!", "1:2: a host command must follow here");
    check("cat a |", "1:8: a host command must follow here");
    check("!echo 'a", "1:7: a quotation with ' is not closed");
}

static void test_redirects(void **state)
{
    (void)state;
    check("cat a > b", "1:<cat><a>><b>");
    check("cat <a >>'b c' 2>e 2>&1", "1:<cat><<a>>><=b c>2><e>2>&1<>");
    check("cat a>b", "1:<cat><a>><b>");
    check("cat >", "1:5: a file name must follow >");
    check("> a", "1:1: a command must come before this");
}

static void test_heredocs(void **state)
{
    (void)state;
    check("write f <<X\na $V\nb\nX\nls", "1:<write><f><<<=a ,\"$V,=\\nb\\n>\n5:<ls>");
    check("write f <<'X'\na $V\nX", "1:<write><f><<<=a $V\\n>");
    check("w <<A; v <<B\n1\nA\n2\nB", "1:<w><<<=1\\n> ; <v><<<=2\\n>");
    check("w <<-X\n\t\ta\n\tX\n", "1:<w><<<=a\\n>");
    check("w <<X\nX\n", "1:<w><<<=>");
    check("w <<X\n\\$a \\\\ \\x \"q\" `c`\nX", "1:<w><<<=$a \\\\ \\\\x \"q\" `c`\\n>");
    check("w <<X\r\na\r\nX\r\nb\r\n", "1:<w><<<=a\\n>\n4:<b>");
    check("w <<X\na\r\nX\n", "1:<w><<<=a\\r\\n>");
    check("w <<X\na\n", "1:3: the text for this does not end: no line is just X");
    check("a\nw <<X\n${\nX", "1:<a>\n2:3: in the text for this: a name and } must follow ${");
}

static void test_unclosed(void **state)
{
    (void)state;
    check("a\nb \"c", "1:<a>\n2:3: a quotation with \" is not closed");
    /* The quote forgotten in line 2 is blamed, although each later line closes one and opens one. */
    check("a\nwrite /f 'x\nwrite /g 'y'\nwrite /h 'z'\n", "1:<a>\n2:10: a quotation with ' is not closed");
    check("a 'b\nc'\nd 'e", "1:<a><=b\\nc>\n3:3: a quotation with ' is not closed");
    check("a `b`", "1:3: commands are not substituted; quote it with '…' to mean the characters themselves");
    check("a $'\\q'", "1:5: \\q is not known in $'…'");
    check("\xc3\xa4\xc3\xb6 'x", "1:4: a quotation with ' is not closed");
}

static void test_long_word(void **state)
{
    (void)state;
    enum { LENGTH = 100000 };
    char *text = malloc(LENGTH + 16);
    struct source source;
    struct error err;
    struct parser parser = {.source = &source};
    struct line *line;
    memset(text, 'x', LENGTH);
    memcpy(text, "echo ", 5);
    assert_true(source_text(&source, "test", text, LENGTH, &err));
    assert_int_equal(parser_next(&parser, &line, &err), PARSE_LINE);
    assert_int_equal(line->commands[0].words[1].pieces[0].len, LENGTH - 5);
    assert_int_equal(parser_next(&parser, &line, &err), PARSE_END);
    parser_free(&parser);
    source_close(&source);
    free(text);
}

static void test_caret(void **state)
{
    (void)state;
    struct source source;
    struct error err;
    struct parser parser = {.source = &source};
    struct line *line;
    const char text[] = "x\n\techo \"abc";
    assert_true(source_text(&source, "test", text, sizeof text - 1, &err));
    assert_int_equal(parser_next(&parser, &line, &err), PARSE_LINE);
    assert_int_equal(parser_next(&parser, &line, &err), PARSE_BAD);
    assert_string_equal(parser.bad.text, "\techo \"abc");
    assert_string_equal(parser.bad.caret, "\t     ");
    parser_free(&parser);
    source_close(&source);
}

/* What word_quote() writes reads back as the same bytes. */
static void test_quote_round_trip(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *quoted;
    } rows[] = {
        {"plain-1.txt", 11, "plain-1.txt"}, {"a b", 3, "'a b'"}, {"it's", 4, "'it'\\''s'"}, {"", 0, "''"},
        {"a\nb'\\", 5, "$'a\\nb\\'\\\\'"},  {"$x*", 3, "'$x*'"}, {"a\0b", 3, "$'a\\000b'"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct text quoted = {0}, back = {0};
        struct source source;
        struct error err;
        struct parser parser = {.source = &source};
        struct line *line;
        word_quote(&quoted, rows[i].bytes, rows[i].len);
        assert_string_equal(text_get(&quoted), rows[i].quoted);
        assert_true(source_text(&source, "test", text_get(&quoted), quoted.len, &err));
        assert_int_equal(parser_next(&parser, &line, &err), PARSE_LINE);
        const struct word *word = &line->commands[0].words[0];
        for (size_t k = 0; k < word->count; k++)
            text_add(&back, word->pieces[k].text, word->pieces[k].len);
        assert_int_equal(back.len, rows[i].len);
        assert_memory_equal(text_get(&back), rows[i].bytes, rows[i].len);
        parser_free(&parser);
        source_close(&source);
        text_free(&quoted);
        text_free(&back);
    }
}

/* Lack of memory anywhere is an ordinary error. */
static void test_no_memory(void **state)
{
    (void)state;
    static const char text[] = "a 'b c' \"$d\" <<X && e | f\ng $h\nX\n!x; y > z";
    for (uint64_t n = 1;; n++) {
        struct source source;
        struct error err = {0};
        struct parser parser = {.source = &source};
        struct line *line;
        enum parsed parsed = PARSE_FAILED;
        mem_fail_at(n);
        if (source_text(&source, "test", text, sizeof text - 1, &err))
            while ((parsed = parser_next(&parser, &line, &err)) == PARSE_LINE)
                ;
        mem_fail_at(0);
        parser_free(&parser);
        source_close(&source);
        if (parsed == PARSE_END) {
            assert_true(n > 3);
            return;
        }
        assert_int_equal(parsed, PARSE_FAILED);
        assert_int_equal(err.kind, E_NOMEM);
    }
}

/* Anything at all is read without harm, also as a line that is still being typed. */
static void test_random(void **state)
{
    (void)state;
    static const char alphabet[] = "abc  \t\n\n\\'\"$?{}();|&<>-!#*~`x0\r\xc3\xa4";
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t len = 0;
        seed = seed * 1664525 + 1013904223;
        for (size_t n = (seed >> 8) % sizeof text; len < n; len++) {
            seed = seed * 1664525 + 1013904223;
            text[len] = alphabet[(seed >> 8) % sizeof alphabet];
        }
        struct parser parser = {0};
        struct cursor cursor;
        free(understood(text, len));
        (void)!words_at(&parser, text, len, &cursor);
        parser_free(&parser);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_continuation),
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_heredocs),
        cmocka_unit_test(test_unclosed),
        cmocka_unit_test(test_long_word),
        cmocka_unit_test(test_caret),
        cmocka_unit_test(test_quote_round_trip),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
