#include "path.h"

/* Before cmocka.h, which makes a macro of fail. */
#include "memfs.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* clang-format off */
#include <cmocka.h>
/* clang-format on */

static void test_match(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool match;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "anything at all", true},
        {"a*c", "abc", true},
        {"a*c", "ac", true},
        {"a*c", "abd", false},
        {"*.log", "a.log", true},
        {"*.log", "a.logx", false},
        {"*a*b*c*", "xxaxxbxxcxx", true},
        {"*a*b*c*", "xxaxxcxxbxx", false},
        {"a**b", "ab", true},
        {"?", "a", true},
        {"?", "", false},
        {"?", "\xc3\xa4", true}, /* one letter of two bytes */
        {"??", "\xc3\xa4", false},
        {"?", "\xff", true}, /* a byte that is no UTF-8 */
        {"[abc]", "b", true},
        {"[abc]", "d", false},
        {"[a-c]x", "bx", true},
        {"[!a-c]", "d", true},
        {"[^a-c]", "b", false},
        {"[]]", "]", true},
        {"[!]]", "]", false},
        {"[a-]", "-", true},
        {"[\\]]", "]", true},
        {"[[:digit:]]", "7", true},
        {"[[:digit:]x]", "x", true},
        {"[![:upper:]]", "A", false},
        {"[\xc3\xa0-\xc3\xa8]", "\xc3\xa4", true},
        {"[abc", "[abc", true}, /* not closed: a plain bracket */
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"\\[a]", "[a]", true},
        {"a\\", "a\\", true},
        {"*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (glob_match(cases[i].pattern, cases[i].name) != cases[i].match)
            fail_msg("'%s' against '%s'", cases[i].pattern, cases[i].name);
}

/* As the C library has them in its own locale. */
static void test_classes(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        int (*has)(int);
    } classes[] = {
        {"[[:alnum:]]", isalnum}, {"[[:alpha:]]", isalpha}, {"[[:blank:]]", isblank},
        {"[[:cntrl:]]", iscntrl}, {"[[:digit:]]", isdigit}, {"[[:graph:]]", isgraph},
        {"[[:lower:]]", islower}, {"[[:print:]]", isprint}, {"[[:punct:]]", ispunct},
        {"[[:space:]]", isspace}, {"[[:upper:]]", isupper}, {"[[:xdigit:]]", isxdigit},
    };
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        for (int c = 1; c < 128; c++) {
            const char name[] = {(char)c, '\0'};
            if (glob_match(classes[i].pattern, name) != !!classes[i].has(c))
                fail_msg("character %d against %s", c, classes[i].pattern);
        }
}

/* Many stars must not take exponential time. */
static void test_match_is_fast(void **state)
{
    (void)state;
    char name[3000];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_false(glob_match("*a*a*a*a*a*a*a*a*a*a*a*a*b", name));
}

static void test_magic(void **state)
{
    (void)state;
    assert_true(glob_has_magic("a*"));
    assert_true(glob_has_magic("[a]"));
    assert_false(glob_has_magic("plain"));
    assert_false(glob_has_magic("a\\*\\?\\["));
    assert_true(glob_has_magic("\\\\*"));
}

struct joined {
    char text[1000];
};

static bool join(const char *path, void *arg)
{
    struct joined *joined = arg;
    strcat(joined->text, path);
    strcat(joined->text, " ");
    return true;
}

static const char *globbed(struct mem_world *world, const char *pattern)
{
    static struct joined joined;
    struct error err;
    joined.text[0] = 0;
    if (!path_glob(&world->volume, pattern, join, &joined, &err))
        return error_kind_name(err.kind);
    return joined.text;
}

static void fill_world(struct mem_world *world)
{
    world_open(world);
    fs_id a = world_make(world, 1, "a", S_IFDIR | 0755, NULL);
    fs_id b = world_make(world, a, "b", S_IFDIR | 0755, NULL);
    world_make(world, b, "deep.c", S_IFREG | 0644, NULL);
    world_make(world, a, "one.c", S_IFREG | 0644, NULL);
    world_make(world, a, "two.c", S_IFREG | 0644, NULL);
    world_make(world, a, ".hidden.c", S_IFREG | 0644, NULL);
    world_make(world, 1, "*", S_IFREG | 0644, NULL);
    world_make(world, 1, "b c.log", S_IFREG | 0644, NULL);
    world_make(world, 1, "to-a", S_IFLNK | 0777, "a");
    world_make(world, 1, "dead", S_IFLNK | 0777, "nowhere");
    mem_insert(&world->mem->fs, b, "loop", a); /* a directory inside itself */
}

static void test_paths(void **state)
{
    (void)state;
    struct mem_world world;
    fill_world(&world);
    assert_string_equal(globbed(&world, "/*"), "/* /a /b c.log /dead /to-a ");
    assert_string_equal(globbed(&world, "/\\*"), "/* ");
    assert_string_equal(globbed(&world, "/a/*.c"), "/a/one.c /a/two.c ");
    assert_string_equal(globbed(&world, "/a/.*"), "/a/.hidden.c ");
    assert_string_equal(globbed(&world, "/to-a/t*"), "/to-a/two.c ");
    assert_string_equal(globbed(&world, "/*/one.c"), "/a/one.c /to-a/one.c ");
    assert_string_equal(globbed(&world, "/*/"), "/a/ /to-a/ ");
    assert_string_equal(globbed(&world, "/d*"), "/dead ");
    assert_string_equal(globbed(&world, "/d*/x"), "no-entry");
    assert_string_equal(globbed(&world, "/*.xyz"), "no-entry");
    assert_string_equal(globbed(&world, "/**/*.c"), "/a/b/deep.c /a/one.c /a/two.c ");
    assert_string_equal(globbed(&world, "/a/**"), "/a/b /a/b/deep.c /a/one.c /a/two.c ");
    assert_string_equal(globbed(&world, "/a/**/b/d**"), "/a/b/deep.c ");
    assert_string_equal(globbed(&world, "/b\\ c.*"), "/b c.log ");
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match), cmocka_unit_test(test_classes), cmocka_unit_test(test_match_is_fast),
        cmocka_unit_test(test_magic), cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
