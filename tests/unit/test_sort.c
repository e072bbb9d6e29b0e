/* Sorted is sorted, whatever the order was, and the time does not explode for any of them. */
#include "sort.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 50000 };

struct item {
    uint32_t key, serial, check;
};

static uint64_t compared;

static int compare(const void *a, const void *b, void *arg)
{
    const struct item *x = a, *y = b;
    assert_ptr_equal(arg, &compared);
    compared++;
    return x->key < y->key ? -1 : x->key > y->key;
}

static uint32_t key_of(int order, uint32_t i)
{
    switch (order) {
    case 0:
        return i;
    case 1:
        return COUNT - i;
    case 2:
        return 7; /* all alike */
    case 3:
        return i % 2;
    case 4:
        return i < COUNT / 2 ? i : COUNT - i; /* up and down */
    default:
        return (uint32_t)rand();
    }
}

static void sorts_every_order(void **state)
{
    (void)state;
    struct item *items = malloc(COUNT * sizeof *items);
    assert_non_null(items);
    srand(3);
    for (int order = 0; order < 8; order++)
        for (uint32_t count = 0; count <= COUNT; count = count < 70 ? count + 1 : count * 3 + 1) {
            uint64_t sum = 0, seen = 0;
            for (uint32_t i = 0; i < count; i++) {
                uint32_t key = key_of(order, i);
                items[i] = (struct item){key, i, key ^ i};
                sum += key;
            }
            compared = 0;
            sort_items(items, count, sizeof *items, compare, &compared);
            assert_true(compared <= 60u * count + 1);
            for (uint32_t i = 0; i < count; i++) {
                assert_true(i == 0 || items[i - 1].key <= items[i].key);
                assert_int_equal(items[i].check, items[i].key ^ items[i].serial);
                seen += items[i].key;
            }
            assert_int_equal(seen, sum);
        }
    free(items);
}

/* Answers so that every division comes out as badly as it can be [McIlroy, "A killer adversary"]. */
struct adversary {
    uint32_t value[4000], solid, gas, candidate;
};

static int worst(const void *a, const void *b, void *arg)
{
    struct adversary *foe = arg;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    compared++;
    if (foe->value[x] == foe->gas && foe->value[y] == foe->gas)
        foe->value[x == foe->candidate ? x : y] = foe->solid++;
    if (foe->value[x] == foe->gas)
        foe->candidate = x;
    else if (foe->value[y] == foe->gas)
        foe->candidate = y;
    return foe->value[x] < foe->value[y] ? -1 : foe->value[x] > foe->value[y];
}

static void has_no_bad_case(void **state)
{
    (void)state;
    enum { N = 4000 };
    static struct adversary foe = {.gas = UINT32_MAX};
    uint32_t items[N];
    for (uint32_t i = 0; i < N; i++) {
        items[i] = i;
        foe.value[i] = foe.gas;
    }
    compared = 0;
    sort_items(items, N, sizeof *items, worst, &foe);
    assert_true(compared < 100 * N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_every_order),
        cmocka_unit_test(has_no_bad_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
