/* Slots of a directory: free runs and the index of hashes against plain arrays. */
#include "bytes.h"
#include "slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SLOTS = 4000, ENTRIES = 500 };

struct entry {
    uint32_t hash, first, last;
    bool used;
};

static void random_entries_match_a_model(void **state)
{
    (void)state;
    static struct entry entries[ENTRIES];
    static bool taken[SLOTS];
    struct slots slots = {.refs = NULL};
    struct error err;
    srand(11);
    for (int round = 0; round < 30000; round++) {
        struct entry *entry = &entries[rand() % ENTRIES];
        if (entry->used) {
            slots_remove(&slots, entry->hash, entry->last);
            assert_true(slots_mark(&slots, entry->first, entry->last - entry->first + 1, false, &err));
            memset(taken + entry->first, 0, entry->last - entry->first + 1);
            entry->used = false;
        } else {
            uint32_t count = (uint32_t)rand() % SLOTS_MAX_RUN + 1, expected = 0, run = 0;
            for (; run < count; expected++)
                run = taken[expected] ? 0 : run + 1;
            uint32_t first = slots_find_free(&slots, count);
            assert_int_equal(first, expected - count);
            *entry = (struct entry){(uint32_t)rand() % 300, first, first + count - 1, true};
            assert_true(slots_mark(&slots, first, count, true, &err));
            assert_true(slots_add(&slots, entry->hash, first, entry->last, &err));
            memset(taken + first, true, count);
        }
        uint32_t hash = (uint32_t)rand() % 300, cursor = 0, found = 0, expected = 0;
        for (const struct slot_ref *ref; (ref = slots_find(&slots, hash, &cursor)); found++) {
            assert_int_equal(ref->hash, hash);
            assert_true(taken[ref->first] && taken[ref->last]);
        }
        for (unsigned i = 0; i < ENTRIES; i++)
            expected += entries[i].used && entries[i].hash == hash;
        assert_int_equal(found, expected);
    }
    slots_clear(&slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_entries_match_a_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
