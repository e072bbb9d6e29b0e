/* Random additions and removals against a plain array of flags. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_operations_match_a_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
