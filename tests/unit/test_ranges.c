/* Random additions and removals against a plain array of flags. */
#include "alloc.h"
#include "bytes.h"
#include "ranges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SIZE = 300 };

static void compare(const struct ranges *set, const bool *model)
{
    uint64_t total = 0, at = 0;
    struct range range;
    while (ranges_next(set, at, &range)) {
        for (uint64_t i = at; i < range.start; i++)
            assert_false(model[i]);
        for (uint64_t i = range.start; i < range.start + range.len; i++)
            assert_true(model[i]);
        at = range.start + range.len;
        assert_true(at == SIZE || !model[at]);
        total += range.len;
    }
    for (uint64_t i = at; i < SIZE; i++)
        assert_false(model[i]);
    assert_int_equal(total, set->total);
}

static void random_operations_match_a_model(void **state)
{
    (void)state;
    struct ranges set = {0};
    bool model[SIZE] = {false};
    struct error err = {0};
    srand(7);
    for (int round = 0; round < 20000; round++) {
        uint64_t start = (uint64_t)rand() % SIZE, len = (uint64_t)rand() % MIN_OF(SIZE - start, 40) + 1;
        bool add = rand() % 2;
        assert_true(add ? ranges_add(&set, start, len, &err) : ranges_remove(&set, start, len, &err));
        memset(model + start, add, len);
        compare(&set, model);
        start = (uint64_t)rand() % SIZE;
        len = (uint64_t)rand() % (SIZE - start) + 1;
        bool all = true, any = false;
        for (uint64_t i = start; i < start + len; i++) {
            all = all && model[i];
            any = any || model[i];
        }
        assert_int_equal(ranges_contains(&set, start, len), all);
        assert_int_equal(ranges_overlaps(&set, start, len), any);
    }
    ranges_clear(&set);
    assert_int_equal(set.total, 0);
}

/* A random set, and the flags that say the same. */
static void make_set(struct ranges *set, bool *model)
{
    struct error err;
    for (int i = 0; i < 12; i++) {
        uint64_t start = (uint64_t)rand() % SIZE, len = (uint64_t)rand() % MIN_OF(SIZE - start, 20) + 1;
        assert_true(ranges_add(set, start, len, &err));
        memset(model + start, true, len);
    }
}

static void whole_sets_are_added_and_removed(void **state)
{
    (void)state;
    struct error err;
    srand(8);
    for (int round = 0; round < 200; round++) {
        struct ranges a = {0}, b = {0}, both = {0};
        bool in_a[SIZE] = {false}, in_b[SIZE] = {false}, model[SIZE];
        make_set(&a, in_a);
        make_set(&b, in_b);
        assert_true(ranges_copy(&a, &both, &err));
        compare(&both, in_a);
        assert_true(ranges_add_all(&both, &b, &err));
        for (unsigned i = 0; i < SIZE; i++)
            model[i] = in_a[i] || in_b[i];
        compare(&both, model);
        assert_true(ranges_remove_all(&both, &a, &err));
        for (unsigned i = 0; i < SIZE; i++)
            model[i] = in_b[i] && !in_a[i];
        compare(&both, model);
        compare(&a, in_a);
        compare(&b, in_b);
        ranges_clear(&a);
        ranges_clear(&b);
        ranges_clear(&both);
    }
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    struct ranges set = {0}, copy = {0};
    struct error err;
    bool model[SIZE] = {false};
    assert_true(ranges_add(&set, 10, 20, &err) && ranges_add(&set, 50, 20, &err));
    memset(model + 10, true, 20);
    memset(model + 50, true, 20);
    mem_fail_at(1);
    assert_false(ranges_add(&set, 40, 5, &err));
    assert_int_equal(err.kind, E_NOMEM);
    mem_fail_at(1);
    assert_false(ranges_remove(&set, 15, 5, &err)); /* two ranges of one */
    mem_fail_at(2);
    assert_false(ranges_copy(&set, &copy, &err));
    mem_fail_at(0);
    assert_null(copy.root);
    assert_int_equal(copy.total, 0);
    compare(&set, model);
    ranges_clear(&set);
}

static void the_last_number_is_no_exception(void **state)
{
    (void)state;
    struct ranges set = {0};
    struct range range;
    struct error err;
    assert_true(ranges_add(&set, UINT64_MAX - 20, 10, &err) && ranges_add(&set, UINT64_MAX - 10, 10, &err));
    assert_true(ranges_next(&set, 0, &range));
    assert_true(range.start == UINT64_MAX - 20 && range.len == 20);
    assert_true(ranges_add(&set, 0, UINT64_MAX, &err));
    assert_true(ranges_next(&set, 0, &range));
    assert_true(range.start == 0 && range.len == UINT64_MAX);
    assert_false(ranges_next(&set, UINT64_MAX, &range));
    ranges_clear(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_match_a_model),
        cmocka_unit_test(whole_sets_are_added_and_removed),
        cmocka_unit_test(without_memory_nothing_changes),
        cmocka_unit_test(the_last_number_is_no_exception),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
