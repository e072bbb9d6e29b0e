#include "copy.h"

/* Before cmocka.h, which makes a macro of fail. */
#include "memfs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
/* clang-format off */
#include <cmocka.h>
/* clang-format on */

static void write_host(const char *dir, const char *name, size_t size)
{
    char path[1000];
    snprintf(path, sizeof path, "%s/%.100s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < size; i++)
        putc('a', file);
    assert_int_equal(fclose(file), 0);
}

struct seen {
    unsigned calls;
    uint64_t last, total;
    char what[200];
};

static void see(void *arg, const char *what, uint64_t done, uint64_t total)
{
    struct seen *seen = arg;
    assert_true(done >= seen->last && done <= total);
    assert_true(!seen->calls || total == seen->total);
    seen->last = done;
    seen->total = total;
    snprintf(seen->what, sizeof seen->what, "%s", what);
    seen->calls++;
}

static void no_complaint(void *arg, const char *object, const struct error *err)
{
    (void)arg;
    fail_msg("%s: %s", object, err->message);
}

static void no_note(void *arg, const char *text)
{
    (void)arg;
    fail_msg("%s", text);
}

/* The whole of a tree is known before its first byte is copied, and all of it is passed in the end. */
static void test_progress(void **state)
{
    (void)state;
    char dir[] = "/tmp/dish-test-copy-XXXXXX", below[400];
    struct mem_world world;
    struct seen seen = {0};
    struct copy_tally tally;
    struct error err = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(below, sizeof below, "%s/below", dir);
    assert_int_equal(mkdir(below, 0700), 0);
    write_host(dir, "large", 300000);
    write_host(dir, "none", 0);
    write_host(below, "small", 1000);
    write_host(below, "twin", 2000);
    world_open(&world);
    world.session.options.progress = see;
    world.session.options.arg = &seen;
    const struct copy_end from = {.host = dir, .contents = true};
    const struct copy_end to = {.volume = &world.volume, .path = "/", .shown = "/"};
    const struct copy_options options = {.recursive = true, .complain = no_complaint, .note = no_note};
    assert_true(copy_run(&world.session, &from, 1, &to, &options, &tally, &err));
    assert_int_equal(tally.files, 4);
    assert_int_equal(seen.total, 303000);
    assert_int_equal(seen.last, 303000);
    assert_string_equal(seen.what, dir);
    world_close(&world);
    static const char *const made[] = {"large", "none", "below/small", "below/twin", "below", ""};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        snprintf(below, sizeof below, "%s/%s", dir, made[i]);
        assert_int_equal(remove(below), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_progress)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
