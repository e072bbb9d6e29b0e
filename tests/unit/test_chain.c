/* Chains over a table in memory: maps agree with walking by hand; circles and bad ends are found. */
#include "alloc.h"
#include "bytes.h"
#include "chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CLUSTERS = 5000 };

static uint32_t table[CLUSTERS];
static unsigned steps; /* how often the table was asked */
static struct chains *chains;
static struct error err;

static bool next_cluster(void *arg, uint32_t cluster, uint32_t *next, struct error *why)
{
    (void)arg;
    steps++;
    *next = table[cluster];
    if (*next == CHAIN_END || (*next > 0 && *next < CLUSTERS))
        return true;
    why->kind = E_DAMAGED;
    return false;
}

static int setup(void **state)
{
    (void)state;
    memset(table, 0, sizeof table);
    chains = chains_new(CLUSTERS, next_cluster, NULL, &err);
    return chains ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    chains_free(chains);
    return 0;
}

static struct chain *opened(uint32_t first)
{
    struct chain *chain;
    assert_true(chain_open(chains, first, &chain, &err));
    return chain;
}

static struct chain *completed(uint32_t first)
{
    struct chain *chain = opened(first);
    assert_true(chain_complete(chains, chain, &err));
    return chain;
}

/* The run at `index` of the chain begins at that cluster and has that length; length 0: there is none. */
static void expect_run(struct chain *chain, uint32_t index, uint32_t at, uint32_t length)
{
    uint32_t cluster = 0, len;
    assert_true(chain_map(chains, chain, index, &cluster, &len, &err));
    assert_int_equal(len, length);
    if (length)
        assert_int_equal(cluster, at);
}

/* Random chains that own each cluster once; firsts[] receives where they begin. */
static unsigned make_chains(uint32_t *firsts, unsigned count)
{
    uint32_t order[CLUSTERS];
    for (uint32_t i = 0; i < CLUSTERS; i++)
        order[i] = i;
    for (uint32_t i = 1; i < CLUSTERS - 1; i++)
        if (rand() % 3 == 0) {
            uint32_t j = 1 + (uint32_t)rand() % (CLUSTERS - 1), keep = order[i];
            order[i] = order[j];
            order[j] = keep;
        }
    uint32_t at = 1;
    for (unsigned n = 0; n < count; n++) {
        uint32_t len = 1 + (uint32_t)rand() % (CLUSTERS / count - 1);
        firsts[n] = order[at];
        for (uint32_t i = 0; i < len; i++)
            table[order[at + i]] = i + 1 < len ? order[at + i + 1] : CHAIN_END;
        at += len;
    }
    return count;
}

static void maps_agree_with_walking(void **state)
{
    (void)state;
    uint32_t firsts[20];
    srand(5);
    unsigned count = make_chains(firsts, ARRAY_LEN(firsts));
    for (unsigned round = 0; round < 3000; round++) {
        uint32_t first = firsts[(unsigned)rand() % count], index = (uint32_t)rand() % 300, cluster = 0, len;
        assert_true(chain_map(chains, opened(first), index, &cluster, &len, &err));
        uint32_t at = first;
        for (uint32_t i = 0; i < index && at != CHAIN_END; i++)
            at = table[at];
        assert_int_equal(len > 0, at != CHAIN_END);
        for (uint32_t i = 0; i < len; i++, at = table[at])
            assert_int_equal(at, cluster + i);
    }
    struct chain *chain = completed(firsts[0]);
    unsigned before = steps;
    assert_true(chain_complete(chains, chain, &err));
    assert_true(chain_map(chains, chain, 0, &(uint32_t){0}, &(uint32_t){0}, &err));
    assert_int_equal(steps, before); /* known: the table is not asked again */
}

static void appended_runs_are_known(void **state)
{
    (void)state;
    table[10] = CHAIN_END;
    struct chain *chain = completed(10);
    assert_true(chain_append(chains, chain, 11, 5, &err) && chain_append(chains, chain, 40, 2, &err));
    assert_int_equal(chain->walked, 8);
    expect_run(chain, 0, 10, 6);
    expect_run(chain, 6, 40, 2);
    expect_run(chain, 7, 41, 1);
}

static void a_run_is_known_as_a_whole(void **state)
{
    (void)state;
    for (uint32_t i = 100; i < 200; i++)
        table[i] = i < 199 ? i + 1 : CHAIN_END;
    expect_run(opened(100), 0, 100, 100);
}

static void damage_is_found(void **state)
{
    (void)state;
    table[100] = 101;
    table[101] = 102;
    table[102] = 100;
    unsigned before = steps;
    assert_false(chain_complete(chains, opened(100), &err));
    assert_int_equal(err.kind, E_DAMAGED);
    assert_int_equal(steps - before, CLUSTERS);
    table[200] = 201;
    table[201] = CLUSTERS + 7;
    struct chain *chain = opened(200);
    expect_run(chain, 1, 201, 1); /* what is sound can be read */
    assert_false(chain_map(chains, chain, 2, &(uint32_t){0}, &(uint32_t){0}, &err));
    assert_int_equal(err.kind, E_DAMAGED);
}

static void forgotten_chains_are_walked_again(void **state)
{
    (void)state;
    table[10] = CHAIN_END;
    completed(10);
    table[10] = 20;
    table[20] = CHAIN_END;
    expect_run(opened(10), 1, 0, 0);
    chain_forget(chains, 10);
    expect_run(opened(10), 1, 20, 1);
}

static void few_chains_are_kept(void **state)
{
    (void)state;
    for (uint32_t first = 1; first < CLUSTERS; first++)
        opened(first);
    assert_in_range(chains_count(chains), 1, CLUSTERS - 500);
}

static void those_used_last_are_kept(void **state)
{
    (void)state;
    for (uint32_t first = 10; first < 20; first++) {
        table[first] = first + 10;
        table[first + 10] = CHAIN_END;
        completed(first);
    }
    unsigned before = steps;
    for (uint32_t first = 10; first < 20; first++)
        completed(first);
    assert_int_equal(steps, before);
}

static void no_memory_leaves_no_half_chain(void **state)
{
    (void)state;
    struct chain *chain;
    table[10] = 11;
    table[11] = CHAIN_END;
    for (unsigned n = 1; n < 3; n++) {
        mem_fail_at(n);
        assert_false(chain_open(chains, 10, &chain, &err));
        assert_int_equal(err.kind, E_NOMEM);
        mem_fail_at(0);
        assert_int_equal(chains_count(chains), 0);
    }
    expect_run(opened(10), 0, 10, 2);
}

enum { SCATTERED = 300000 };

/* Clusters 1, 3, 5 ...: no two are neighbours. */
static bool next_but_one(void *arg, uint32_t cluster, uint32_t *next, struct error *why)
{
    (void)arg;
    (void)why;
    *next = cluster + 2 < 2 * SCATTERED ? cluster + 2 : CHAIN_END;
    return true;
}

static void long_scattered_chains_are_mapped_to_their_end(void **state)
{
    (void)state;
    chains_free(chains);
    chains = chains_new(2 * SCATTERED, next_but_one, NULL, &err);
    assert_non_null(chains);
    struct chain *chain = completed(1);
    assert_int_equal(chain->walked, SCATTERED);
    assert_true(chain->truncated && chain->count < SCATTERED); /* not all of its runs are kept */
    for (uint32_t index = 100; index < SCATTERED; index += 49983)
        expect_run(chain, index, 1 + 2 * index, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(maps_agree_with_walking),
        TEST(appended_runs_are_known),
        TEST(a_run_is_known_as_a_whole),
        TEST(damage_is_found),
        TEST(forgotten_chains_are_walked_again),
        TEST(few_chains_are_kept),
        TEST(those_used_last_are_kept),
        TEST(no_memory_leaves_no_half_chain),
        TEST(long_scattered_chains_are_mapped_to_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
