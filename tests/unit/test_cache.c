/* The block cache over a device in memory: whatever is cached,
 * written early or read ahead, contents are right. */
#include "bytes.h"
#include "cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BLOCK = 512, BLOCKS = 100 };

static void contents_are_right(void **state)
{
    (void)state;
    struct error err;
    uint32_t model[BLOCKS] = {0};
    struct device *dev = memory_device_new(BLOCK * BLOCKS, &err);
    struct cache *cache = cache_new(dev, BLOCK, 20 * BLOCK, NULL, NULL, &err);
    assert_non_null(cache);
    srand(9);
    for (uint32_t round = 1; round < 50000; round++) {
        uint32_t n = (uint32_t)rand() % BLOCKS;
        struct cache_block *block;
        switch (rand() % 8) {
        case 0:
            assert_true(
                cache_read_ahead(cache, n * BLOCK, (uint64_t)(rand() % (int)(BLOCKS - n)) * BLOCK, &err));
            break;
        case 1:
            assert_true(cache_get_new(cache, n * BLOCK, WRITE_UPDATE, &block, &err));
            assert_true(all_zero(block->data, BLOCK));
            model[n] = 0;
            cache_release(cache, block);
            break;
        case 2:
            if (rand() % 20 == 0) {
                assert_true(cache_flush(cache, &err));
                cache_drop(cache);
            }
            break;
        default:
            assert_true(cache_get(cache, n * BLOCK, &block, &err));
            assert_int_equal(load_le32(block->data), model[n]);
            if (rand() % 2) {
                model[n] = round;
                store_le32(block->data, round);
                cache_dirty(cache, block, WRITE_UPDATE);
            }
            cache_release(cache, block);
        }
    }
    assert_true(cache_stats(cache).bytes <= 20 * BLOCK);
    cache_free(cache);
    device_close(dev);
}

static void read_ahead_is_one_request(void **state)
{
    (void)state;
    struct error err;
    struct device *dev = memory_device_new(BLOCK * BLOCKS, &err);
    struct cache *cache = cache_new(dev, BLOCK, 80 * BLOCK, NULL, NULL, &err);
    struct cache_block *block;
    assert_true(cache_read_ahead(cache, 0, 10 * BLOCK, &err));
    assert_int_equal(dev->stats.reads, 1);
    for (unsigned i = 0; i < 10; i++) {
        assert_true(cache_get(cache, i * BLOCK, &block, &err));
        cache_release(cache, block);
    }
    assert_int_equal(dev->stats.reads, 1);
    cache_free(cache);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(contents_are_right),
                                       cmocka_unit_test(read_ahead_is_one_request)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
