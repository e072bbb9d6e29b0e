/* Chains over a table in memory: maps agree with walking by hand; circles and bad ends are found. */
#include "bytes.h"
#include "chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CLUSTERS = 5000 };

static uint32_t table[CLUSTERS];
static unsigned steps;

static bool next_cluster(void *arg, uint32_t cluster, uint32_t *next, struct error *err)
{
    (void)arg;
    steps++;
    *next = table[cluster];
    if (*next == CHAIN_END || (*next > 0 && *next < CLUSTERS))
        return true;
    err->kind = E_DAMAGED;
    return false;
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
    struct error err;
    uint32_t firsts[20];
    srand(5);
    unsigned count = make_chains(firsts, ARRAY_LEN(firsts));
    struct chains *chains = chains_new(CLUSTERS, next_cluster, NULL, &err);
    assert_non_null(chains);
    for (unsigned round = 0; round < 3000; round++) {
        struct chain *chain;
        uint32_t first = firsts[(unsigned)rand() % count], index = (uint32_t)rand() % 300, cluster = 0, len;
        assert_true(chain_open(chains, first, &chain, &err));
        assert_true(chain_map(chains, chain, index, &cluster, &len, &err));
        uint32_t at = first;
        for (uint32_t i = 0; i < index && at != CHAIN_END; i++)
            at = table[at];
        assert_int_equal(len > 0, at != CHAIN_END);
        for (uint32_t i = 0; i < len; i++, at = table[at])
            assert_int_equal(at, cluster + i);
    }
    unsigned before = steps;
    struct chain *chain;
    assert_true(chain_open(chains, firsts[0], &chain, &err) && chain_complete(chains, chain, &err));
    assert_true(chain_map(chains, chain, 0, &(uint32_t){0}, &(uint32_t){0}, &err));
    assert_int_equal(steps, before); /* known: the table is not asked again */
    chains_free(chains);
}

static void appended_runs_are_known(void **state)
{
    (void)state;
    struct error err;
    struct chains *chains = chains_new(CLUSTERS, next_cluster, NULL, &err);
    struct chain *chain;
    uint32_t cluster, len;
    table[10] = CHAIN_END;
    assert_true(chain_open(chains, 10, &chain, &err) && chain_complete(chains, chain, &err));
    assert_true(chain_append(chains, chain, 11, 5, &err) && chain_append(chains, chain, 40, 2, &err));
    assert_int_equal(chain->walked, 8);
    assert_true(chain_map(chains, chain, 0, &cluster, &len, &err));
    assert_true(cluster == 10 && len == 6);
    assert_true(chain_map(chains, chain, 7, &cluster, &len, &err));
    assert_true(cluster == 41 && len == 1);
    chains_free(chains);
}

static void damage_is_found(void **state)
{
    (void)state;
    struct error err;
    struct chains *chains = chains_new(CLUSTERS, next_cluster, NULL, &err);
    struct chain *chain;
    uint32_t cluster, len;
    table[100] = 101;
    table[101] = 102;
    table[102] = 100;
    unsigned before = steps;
    assert_true(chain_open(chains, 100, &chain, &err));
    assert_false(chain_complete(chains, chain, &err));
    assert_int_equal(err.kind, E_DAMAGED);
    assert_true(steps - before <= CLUSTERS + 1);
    table[200] = 201;
    table[201] = CLUSTERS + 7;
    assert_true(chain_open(chains, 200, &chain, &err));
    assert_true(chain_map(chains, chain, 1, &cluster, &len, &err)); /* what is sound can be read */
    assert_false(chain_map(chains, chain, 2, &cluster, &len, &err));
    chains_free(chains);
}

static void forgotten_chains_are_walked_again(void **state)
{
    (void)state;
    struct error err;
    struct chains *chains = chains_new(CLUSTERS, next_cluster, NULL, &err);
    struct chain *chain;
    uint32_t cluster, len;
    table[10] = CHAIN_END;
    assert_true(chain_open(chains, 10, &chain, &err) && chain_complete(chains, chain, &err));
    table[10] = 20;
    table[20] = CHAIN_END;
    assert_true(chain_open(chains, 10, &chain, &err) && chain_map(chains, chain, 1, &cluster, &len, &err));
    assert_int_equal(len, 0);
    chain_forget(chains, 10);
    assert_true(chain_open(chains, 10, &chain, &err) && chain_map(chains, chain, 1, &cluster, &len, &err));
    assert_true(len == 1 && cluster == 20);
    chains_free(chains);
}

static void few_chains_are_kept(void **state)
{
    (void)state;
    struct error err;
    struct chains *chains = chains_new(CLUSTERS, next_cluster, NULL, &err);
    struct chain *chain;
    for (uint32_t first = 1; first < CLUSTERS; first++)
        assert_true(chain_open(chains, first, &chain, &err));
    assert_in_range(chains_count(chains), 1, CLUSTERS - 500);
    chains_free(chains);
}

enum { SCATTERED = 300000 };

/* Clusters 1, 3, 5 ...: no two are neighbours. */
static bool next_but_one(void *arg, uint32_t cluster, uint32_t *next, struct error *err)
{
    (void)arg;
    (void)err;
    *next = cluster + 2 < 2 * SCATTERED ? cluster + 2 : CHAIN_END;
    return true;
}

static void long_scattered_chains_are_mapped_to_their_end(void **state)
{
    (void)state;
    struct error err;
    struct chains *chains = chains_new(2 * SCATTERED, next_but_one, NULL, &err);
    struct chain *chain;
    uint32_t cluster, len;
    assert_true(chain_open(chains, 1, &chain, &err) && chain_complete(chains, chain, &err));
    assert_int_equal(chain->walked, SCATTERED);
    for (uint32_t index = 100; index < SCATTERED; index += 49983) {
        assert_true(chain_map(chains, chain, index, &cluster, &len, &err));
        assert_true(len == 1 && cluster == 1 + 2 * index);
    }
    chains_free(chains);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(maps_agree_with_walking),
                                       cmocka_unit_test(appended_runs_are_known),
                                       cmocka_unit_test(damage_is_found),
                                       cmocka_unit_test(forgotten_chains_are_walked_again),
                                       cmocka_unit_test(few_chains_are_kept),
                                       cmocka_unit_test(long_scattered_chains_are_mapped_to_their_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
