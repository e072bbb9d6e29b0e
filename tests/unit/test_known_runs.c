/* What is remembered of data and holes: never a hole where bytes were written since. */
#include "known_runs.h"

#include "unit.h"

static struct known_runs known;

static int setup(void **state)
{
    (void)state;
    known_runs_init(&known);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    known_runs_destroy(&known);
    return 0;
}

static void test_empty(void **state)
{
    (void)state;
    uint64_t end;
    assert_false(known_runs_is_data(&known, 0, &end));
    assert_false(known_runs_is_hole(&known, 0, &end));
}

static void test_data(void **state)
{
    (void)state;
    uint64_t end;
    known_runs_set_data(&known, 100, 200);
    assert_false(known_runs_is_data(&known, 99, &end));
    assert_true(known_runs_is_data(&known, 100, &end));
    assert_int_equal(end, 200);
    assert_false(known_runs_is_data(&known, 200, &end));
    known_runs_forget_data(&known);
    assert_false(known_runs_is_data(&known, 100, &end));
}

static void test_longest_hole_stays(void **state)
{
    (void)state;
    uint64_t end;
    known_runs_add_hole(&known, 1000, 2000);
    known_runs_add_hole(&known, 5000, 5100);
    assert_true(known_runs_is_hole(&known, 1000, &end));
    assert_int_equal(end, 2000);
    assert_false(known_runs_is_hole(&known, 5000, &end));
    known_runs_add_hole(&known, 8000, 9001);
    assert_true(known_runs_is_hole(&known, 9000, &end));
    assert_false(known_runs_is_hole(&known, 1000, &end));
}

static void test_filling(void **state)
{
    (void)state;
    uint64_t end;
    known_runs_add_hole(&known, 1000, 2000);
    known_runs_fill(&known, 900, 100); /* ends where the hole begins */
    known_runs_fill(&known, 2000, 10); /* begins where it ends */
    assert_true(known_runs_is_hole(&known, 1000, &end));
    known_runs_fill(&known, 500, 600); /* reaches in from before it */
    assert_false(known_runs_is_hole(&known, 1099, &end));
    assert_true(known_runs_is_hole(&known, 1100, &end));
    known_runs_fill(&known, 1200, 100);
    assert_false(known_runs_is_hole(&known, 1299, &end));
    assert_true(known_runs_is_hole(&known, 1300, &end));
    known_runs_fill(&known, 1990, 500);
    assert_false(known_runs_is_hole(&known, 1300, &end));
    assert_false(known_runs_is_hole(&known, 1999, &end));
}

static void test_forgetting_holes(void **state)
{
    (void)state;
    uint64_t end;
    known_runs_add_hole(&known, 0, UINT64_MAX);
    known_runs_fill(&known, 0, UINT64_MAX);
    assert_false(known_runs_is_hole(&known, 7, &end));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_data, setup, teardown),
        cmocka_unit_test_setup_teardown(test_longest_hole_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_filling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forgetting_holes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
