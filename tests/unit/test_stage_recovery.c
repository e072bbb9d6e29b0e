/*
 * Transactions of the stage that meet failures of the host, power cuts and lack of memory at every possible
 * place: the file is in the old state or in the new one, and says which.
 */
#include "alloc.h"
#include "bytes.h"
#include "fault.h"
#include "host_file.h"
#include "stage_private.h"

#include "unit.h"

#include <sys/resource.h>
#include <sys/stat.h>

enum { SIZE = 300 * 1024, NEW_SIZE = 500 * 1024 + 700, MAX = 512 * 1024 };

static char dir[64], path[128], journal_name[160];
static struct stage_options options;
static uint8_t old_bytes[MAX], new_bytes[MAX], buffer[MAX];

/*
 * The old state uses all but 100 KiB .. 200 KiB, which is partly a hole; the new one overwrites some of it,
 * fills the free space, zeroes a part and is longer.
 */
enum { FREE_START = 100 * 1024, FREE_END = 200 * 1024 };

static void fill(uint8_t *out, uint64_t from, uint64_t to, unsigned seed)
{
    for (uint64_t i = from; i < to; i++)
        out[i] = (uint8_t)((i * 2654435761u + seed) >> 11 | 1);
}

static void make_old_file(void)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), SIZE), 0);
    assert_int_equal(pwrite(fileno(file), old_bytes, FREE_START + 20000, 0), FREE_START + 20000);
    assert_int_equal(pwrite(fileno(file), old_bytes + FREE_END, SIZE - FREE_END, FREE_END), SIZE - FREE_END);
    fclose(file);
}

static int setup(void **state)
{
    (void)state;
    make_scratch(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/image", dir);
    snprintf(journal_name, sizeof journal_name, "%s.dish-journal", path);
    options = (struct stage_options){.memory = 64 * 1024};
    memset(old_bytes, 0, sizeof old_bytes);
    fill(old_bytes, 0, FREE_START + 20000, 1);
    fill(old_bytes, FREE_END, SIZE, 1);
    memcpy(new_bytes, old_bytes, sizeof new_bytes);
    fill(new_bytes, 100, 30000, 2);
    memset(new_bytes + 40960, 0, 81920 - 40960);
    fill(new_bytes, FREE_START, FREE_END, 3);
    fill(new_bytes, SIZE - 5000, NEW_SIZE - 3000, 4);
    make_old_file();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mem_fail_at(0);
    remove_scratch(dir);
    return 0;
}

static bool write_part(struct device *dev, uint64_t from, uint64_t to, enum write_class class,
                       struct error *err)
{
    return device_write(dev, from, new_bytes + from, to - from, class, err);
}

/* One transaction of two commands from the old state to the new one. */
static bool change(struct device *dev, struct error *err)
{
    return write_part(dev, 100, 30000, WRITE_UPDATE, err) &&
           device_zero(dev, 40960, 81920 - 40960, WRITE_UPDATE, err) &&
           write_part(dev, FREE_START, FREE_START + 80 * 1024, WRITE_FRESH, err) && stage_mark(dev, err) &&
           write_part(dev, FREE_START + 80 * 1024, FREE_END, WRITE_FRESH, err) &&
           device_resize(dev, NEW_SIZE, err) && write_part(dev, SIZE - 5000, SIZE, WRITE_UPDATE, err) &&
           write_part(dev, SIZE, NEW_SIZE - 3000, WRITE_FRESH, err) && stage_mark(dev, err);
}

static bool open_stage(struct device **dev, enum recovery *recovery, struct error *err)
{
    return stage_open(path, &options, dev, recovery, err);
}

/* The stage of a file that needs no recovery. */
static struct device *opened(void)
{
    struct device *dev;
    struct error err;
    enum recovery recovery;
    must(open_stage(&dev, &recovery, &err), &err);
    assert_int_equal(recovery, RECOVERY_NONE);
    return dev;
}

static bool is_new(struct device *dev)
{
    struct error err;
    if (dev->size != NEW_SIZE)
        return false;
    must(device_read(dev, 0, buffer, NEW_SIZE, &err), &err);
    return memcmp(buffer, new_bytes, NEW_SIZE) == 0;
}

/* Free space may hold anything, and so may what lies behind the old end. */
static bool is_old(struct device *dev)
{
    struct error err;
    if (dev->size < SIZE)
        return false;
    must(device_read(dev, 0, buffer, SIZE, &err), &err);
    return memcmp(buffer, old_bytes, FREE_START) == 0 &&
           memcmp(buffer + FREE_END, old_bytes + FREE_END, SIZE - FREE_END) == 0;
}

/* Open after the accident, as a writer; no journal may be left. */
static bool reopened_is_new(bool must_be_known)
{
    struct error err;
    struct device *dev;
    enum recovery recovery;
    must(open_stage(&dev, &recovery, &err), &err);
    bool new = is_new(dev);
    if (!new && !is_old(dev))
        fail_msg("neither the old nor the new state (recovery %d)", recovery);
    assert_false(recovery == RECOVERY_REPLAYED && !new);
    assert_true(!must_be_known || new);
    assert_int_equal(count_files(dir, NULL), 1);
    device_close(dev);
    return new;
}

/* A reader sees the same state as a writer will, and changes nothing. */
static void reader_agrees(bool *reader_saw_new)
{
    struct error err;
    struct device *dev;
    enum recovery recovery;
    unsigned files = count_files(dir, NULL);
    struct stage_options saved = options;
    options.read_only = true;
    must(open_stage(&dev, &recovery, &err), &err);
    *reader_saw_new = is_new(dev);
    assert_true(*reader_saw_new || is_old(dev));
    device_close(dev);
    options = saved;
    assert_int_equal(count_files(dir, NULL), files);
}

/* The end of the plan is reached: it fails now, when nothing is under way. */
static void fail_afterwards(void)
{
    struct error err;
    for (unsigned tries = 0; !fault_happened(); tries++) {
        (void)!host_hook(HOST_UNLINK, "/nonexistent/file", 0, 0, &err);
        assert_true(tries < 1000);
    }
}

static void power_fails(const struct fault_plan *plan, bool *happened, bool *new)
{
    struct error err;
    struct device *dev;
    enum recovery recovery;
    bool reader_saw_new;
    make_old_file();
    fault_start(plan);
    must(open_stage(&dev, &recovery, &err), &err);
    bool done = change(dev, &err) && stage_commit(dev, &err);
    *happened = fault_happened();
    assert_int_equal(done, !*happened);
    fail_afterwards();
    device_close(dev);
    must(fault_stop(NULL, &err), &err);
    reader_agrees(&reader_saw_new);
    *new = reopened_is_new(done);
    assert_int_equal(*new, reader_saw_new);
}

static void test_power_cut_anywhere(void **state)
{
    (void)state;
    static const enum fault_sort sorts[] = {FAULT_POWER_CUT, FAULT_POWER_LOSS, FAULT_POWER_MIXED};
    unsigned saw_old = 0, saw_new = 0;
    for (size_t s = 0; s < ARRAY_LEN(sorts); s++) {
        bool happened = true, new, was_new = false;
        for (uint64_t n = 1; happened; n++)
            for (uint64_t seed = 0; seed < (sorts[s] == FAULT_POWER_MIXED ? 12 : 1); seed++) {
                power_fails(&(struct fault_plan){.sort = sorts[s], .at = n, .seed = seed}, &happened, &new);
                /* Once a commit is durable it stays so. */
                assert_true(new || !was_new || sorts[s] == FAULT_POWER_MIXED);
                was_new = was_new || new;
                saw_old += !new;
                saw_new += new &&happened;
            }
    }
    assert_true(saw_old > 10 && saw_new > 10);
}

/* Recovery itself is cut, again and again, until it goes through. */
static void test_power_cut_in_recovery(void **state)
{
    (void)state;
    struct error err;
    struct device *dev;
    enum recovery recovery;
    bool happened = true, new;
    uint64_t last = 1;
    for (; happened; last++)
        power_fails(&(struct fault_plan){.sort = FAULT_POWER_CUT, .at = last}, &happened, &new);
    for (uint64_t n = 1; n < last - 1; n++) {
        make_old_file();
        fault_start(&(struct fault_plan){.sort = FAULT_POWER_CUT, .at = n});
        dev = opened();
        assert_false(change(dev, &err) && stage_commit(dev, &err));
        device_close(dev);
        must(fault_stop(NULL, &err), &err);
        for (uint64_t again = 1, cut = 1; cut; again++) {
            fault_start(&(struct fault_plan){.sort = FAULT_POWER_MIXED, .at = again % 7 + 1, .seed = again});
            bool opened = open_stage(&dev, &recovery, &err);
            cut = fault_happened();
            if (opened)
                device_close(dev);
            must(fault_stop(NULL, &err), &err);
            assert_true(again < 100);
        }
        reopened_is_new(false);
    }
}

/* The host fails once: what was asked for fails, and everything else goes on. */
static void host_fails(const struct fault_plan *plan, bool *happened)
{
    struct error err;
    struct device *dev;
    enum recovery recovery;
    make_old_file();
    must(open_stage(&dev, &recovery, &err), &err);
    fault_start(plan);
    bool changed = change(dev, &err), done = changed && stage_commit(dev, &err);
    *happened = fault_happened();
    must(fault_stop(NULL, &err), &err);
    if (changed && !done && !stage_of(dev)->broken) {
        /* A commit that failed can be tried again. */
        assert_true(is_new(dev));
        must(stage_commit(dev, &err), &err);
        assert_true(is_new(dev));
        done = true;
    } else if (!changed) {
        must(stage_rollback(dev, &err), &err);
        assert_int_equal(dev->size, SIZE);
        assert_true(is_old(dev));
        must(change(dev, &err), &err);
        assert_true(is_new(dev));
        must(stage_commit(dev, &err), &err);
        done = true;
    }
    bool broken = stage_of(dev)->broken;
    assert_true(done || broken);
    device_close(dev);
    reopened_is_new(true);
}

static void test_host_fails_once(void **state)
{
    (void)state;
    for (unsigned sort = FAULT_EIO; sort <= FAULT_ENOSPC; sort++) {
        bool happened = true;
        for (uint64_t n = 1; happened; n++)
            host_fails(&(struct fault_plan){.sort = sort, .at = n}, &happened);
    }
}

/* The host stays full: the rollback leaves the old state. */
static void test_host_stays_full(void **state)
{
    (void)state;
    struct error err;
    struct device *dev;
    bool happened = true;
    for (uint64_t n = 1; happened; n++) {
        make_old_file();
        dev = opened();
        fault_start(&(struct fault_plan){.sort = FAULT_ENOSPC, .at = n, .sticky = true});
        bool done = change(dev, &err) && stage_commit(dev, &err);
        happened = fault_happened();
        assert_int_equal(done, !happened);
        if (!done) {
            assert_int_equal(err.kind, E_HOSTFULL);
            if (!stage_of(dev)->broken) {
                must(stage_rollback(dev, &err), &err);
                assert_true(is_old(dev));
            }
        }
        bool broken = stage_of(dev)->broken;
        device_close(dev);
        must(fault_stop(NULL, &err), &err);
        assert_int_equal(reopened_is_new(false), done || broken);
    }
}

static void test_no_memory_anywhere(void **state)
{
    (void)state;
    struct error err;
    struct device *dev;
    uint64_t n = 1;
    for (bool failed = true; failed; n++) {
        make_old_file();
        dev = opened();
        mem_fail_at(n);
        bool changed = change(dev, &err);
        uint64_t generation = stage_generation(dev);
        bool done = changed && stage_commit(dev, &err);
        failed = !done;
        if (failed)
            assert_int_equal(err.kind, E_NOMEM);
        mem_fail_at(0);
        if (changed && !done && !stage_of(dev)->broken) {
            assert_true(is_new(dev));
            must(stage_commit(dev, &err), &err);
        } else if (!changed) {
            must(stage_revert(dev, &err), &err);
            assert_int_equal(stage_generation(dev), generation);
            must(stage_rollback(dev, &err), &err);
            assert_true(is_old(dev) && dev->size == SIZE);
            must(change(dev, &err), &err);
            assert_true(is_new(dev));
            must(stage_commit(dev, &err), &err);
        }
        device_close(dev);
        reopened_is_new(true);
    }
    assert_true(n > 50);
}

/* Going back and forth is all or nothing, too. */
static void test_no_memory_for_going(void **state)
{
    (void)state;
    struct error err;
    struct device *dev = opened();
    must(change(dev, &err), &err);
    uint64_t newest = stage_generation(dev), n = 1;
    for (bool failed = true; failed; n++) {
        mem_fail_at(n);
        failed = !stage_go(dev, 0, &err);
        mem_fail_at(0);
        assert_true(failed ? is_new(dev) : is_old(dev) && dev->size == SIZE);
    }
    assert_true(n > 2);
    n = 1;
    for (bool failed = true; failed; n++) {
        mem_fail_at(n);
        failed = !stage_go(dev, newest, &err);
        mem_fail_at(0);
        assert_true(failed ? is_old(dev) && dev->size == SIZE : is_new(dev));
    }
    device_close(dev);
}

/* ---- new files ---- */

static bool create(struct device **dev, struct error *err)
{
    return stage_create(path, false, &options, dev, err) && device_resize(*dev, NEW_SIZE, err) &&
           write_part(*dev, 0, 200000, WRITE_UPDATE, err) && stage_mark(*dev, err) &&
           write_part(*dev, 200000, NEW_SIZE, WRITE_FRESH, err) &&
           write_part(*dev, 1000, 3000, WRITE_UPDATE, err) && stage_mark(*dev, err);
}

static void test_new_file_power_cut(void **state)
{
    (void)state;
    struct error err;
    for (unsigned sort = FAULT_POWER_CUT; sort <= FAULT_POWER_MIXED; sort++) {
        bool happened = true;
        for (uint64_t n = 1; happened; n++) {
            struct device *dev = NULL;
            unlink(path);
            fault_start(&(struct fault_plan){.sort = sort, .at = n, .seed = n});
            bool done = create(&dev, &err) && stage_commit(dev, &err);
            happened = fault_happened();
            assert_int_equal(done, !happened);
            fail_afterwards();
            device_close(dev);
            must(fault_stop(NULL, &err), &err);
            bool there = count_files(dir, "image") == 1;
            assert_true(there || happened);
            if (there)
                assert_true(file_is(path, new_bytes, NEW_SIZE));
            remove_scratch(dir);
            assert_int_equal(mkdir(dir, 0700), 0);
        }
    }
}

static void test_new_file_host_fails(void **state)
{
    (void)state;
    struct error err;
    for (unsigned sort = FAULT_EIO; sort <= FAULT_ENOSPC; sort++) {
        bool happened = true;
        for (uint64_t n = 1; happened; n++) {
            struct device *dev = NULL;
            unlink(path);
            fault_start(&(struct fault_plan){.sort = sort, .at = n});
            bool created = create(&dev, &err), done = created && stage_commit(dev, &err);
            happened = fault_happened();
            must(fault_stop(NULL, &err), &err);
            if (created && !done && !host_file_is_published(dev->below)) {
                assert_int_equal(count_files(dir, "image"), 0);
                must(stage_commit(dev, &err), &err);
                done = true;
            }
            device_close(dev);
            assert_int_equal(count_files(dir, "image"), created);
            if (created)
                assert_true(file_is(path, new_bytes, NEW_SIZE));
        }
    }
}

/* ---- other promises ---- */

static void file_state(struct stat *st, uint8_t **bytes, size_t *n)
{
    assert_int_equal(stat(path, st), 0);
    *bytes = slurp(path, n);
}

static void test_dry_run_writes_nothing(void **state)
{
    (void)state;
    struct error err;
    struct stat before, after;
    uint8_t *bytes;
    size_t n;
    file_state(&before, &bytes, &n);
    options.dry_run = true;
    struct device *dev = opened();
    must(change(dev, &err), &err);
    assert_true(is_new(dev));
    assert_int_equal(count_files(dir, NULL), 1);
    must(stage_commit(dev, &err), &err);
    device_close(dev);
    assert_true(file_is(path, bytes, n));
    assert_int_equal(stat(path, &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
    free(bytes);
}

/* After a session of changes that all fell into holes, or into the overlay, nothing is left of it. */
static void test_rollback_leaves_no_trace(void **state)
{
    (void)state;
    struct error err;
    struct stat before, after;
    uint8_t *bytes;
    size_t n;
    make_old_file();
    file_state(&before, &bytes, &n);
    struct device *dev = opened();
    must(write_part(dev, 100, 30000, WRITE_UPDATE, &err), &err);
    must(write_part(dev, 123 * 1024, FREE_END, WRITE_FRESH, &err), &err);
    must(stage_mark(dev, &err), &err);
    must(device_resize(dev, NEW_SIZE, &err), &err);
    must(write_part(dev, 304 * 1024, NEW_SIZE, WRITE_FRESH, &err), &err);
    must(stage_mark(dev, &err), &err);
    assert_int_equal(stat(path, &after), 0);
    assert_true(after.st_blocks > before.st_blocks && after.st_size > before.st_size);
    must(stage_go(dev, 1, &err), &err);
    must(stage_rollback(dev, &err), &err);
    device_close(dev);
    assert_true(file_is(path, bytes, n));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_blocks, before.st_blocks);
    free(bytes);
}

/* A command that fails, and a session that ends without a commit, take their fresh bytes with them, too. */
static void test_revert_and_close_leave_no_trace(void **state)
{
    (void)state;
    struct error err;
    make_old_file();
    struct device *dev = opened();
    for (unsigned i = 0; i < 2; i++) {
        must(write_part(dev, 123 * 1024, FREE_END, WRITE_FRESH, &err), &err);
        assert_false(file_is(path, old_bytes, SIZE));
        if (i == 0)
            must(stage_revert(dev, &err), &err);
        else
            device_close(dev);
        assert_true(file_is(path, old_bytes, SIZE));
    }
}

/* Half a page is written where nothing was stored, then the other half: both go away again. */
static void test_halves_of_a_hole(void **state)
{
    (void)state;
    struct error err;
    enum { PLACE = 160 * 1024 };
    make_old_file();
    struct device *dev = opened();
    must(device_allocate(dev, PLACE, 1024, true, &err), &err);
    must(device_write(dev, PLACE + 1024, new_bytes, 1024, WRITE_FRESH, &err), &err);
    must(stage_mark(dev, &err), &err);
    must(pages_evict(stage_of(dev), &err), &err);
    must(stage_rollback(dev, &err), &err);
    device_close(dev);
    assert_true(file_is(path, old_bytes, SIZE));
}

static void test_memory_is_bounded(void **state)
{
    (void)state;
    struct error err;
    struct rusage before, after;
    enum { LARGE = 96 * 1024 * 1024, PIECE = 48 * 1024 };
    options.memory = 4 * 1024 * 1024;
    options.durability = DURABILITY_NORMAL;
    struct device *dev = opened();
    must(device_resize(dev, 2ull * LARGE, &err), &err);
    getrusage(RUSAGE_SELF, &before);
    for (uint64_t at = MiB; at + PIECE <= LARGE; at += PIECE) {
        must(device_write(dev, at, new_bytes, PIECE, WRITE_FRESH, &err), &err);
        must(device_write(dev, at + LARGE, new_bytes, PIECE, WRITE_UPDATE, &err), &err);
        assert_true(stage_of(dev)->memory <= options.memory + STAGE_PAGE);
    }
    /* Zeros and a smaller size cost nothing to speak of, whatever they cover. */
    must(device_resize(dev, 1ull << 50, &err), &err);
    must(device_zero(dev, LARGE + MiB, (1ull << 50) - LARGE - MiB, WRITE_UPDATE, &err), &err);
    must(device_resize(dev, 2ull * LARGE, &err), &err);
    getrusage(RUSAGE_SELF, &after);
#ifndef __SANITIZE_ADDRESS__ /* keeps what was freed */
    assert_true(after.ru_maxrss - before.ru_maxrss < 24 * 1024);
#endif
    device_close(dev);
    assert_true(file_is(path, old_bytes, SIZE));
}

static void test_locked_and_read_only(void **state)
{
    (void)state;
    struct error err;
    struct device *dev, *second;
    enum recovery recovery;
    dev = opened();
    second = opened();
    assert_false(write_part(dev, 0, 10, WRITE_UPDATE, &err));
    assert_int_equal(err.kind, E_LOCKED);
    device_close(second);
    must(write_part(dev, 0, 10, WRITE_UPDATE, &err), &err);
    assert_false(open_stage(&second, &recovery, &err));
    assert_int_equal(err.kind, E_LOCKED);
    options.force_share = true;
    second = opened();
    assert_false(write_part(second, 0, 10, WRITE_UPDATE, &err));
    assert_int_equal(err.kind, E_READONLY);
    device_close(second);
    device_close(dev);
}

/* What a commit needs is asked for before anything is changed. */
static void test_commit_impossible_is_said_first(void **state)
{
    (void)state;
    struct error err;
    enum recovery recovery;
    struct device *dev = opened();
    write_file(journal_name, "mine", 4);
    assert_false(write_part(dev, 0, 10, WRITE_UPDATE, &err));
    assert_int_equal(err.kind, E_EXIST);
    device_close(dev);
    assert_false(open_stage(&dev, &recovery, &err));
    assert_int_equal(err.kind, E_DAMAGED);
    assert_true(file_is(journal_name, "mine", 4));
    assert_true(file_is(path, old_bytes, SIZE));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(power_cut_anywhere),
        TEST(power_cut_in_recovery),
        TEST(host_fails_once),
        TEST(host_stays_full),
        TEST(no_memory_anywhere),
        TEST(no_memory_for_going),
        TEST(new_file_power_cut),
        TEST(new_file_host_fails),
        TEST(dry_run_writes_nothing),
        TEST(rollback_leaves_no_trace),
        TEST(revert_and_close_leave_no_trace),
        TEST(halves_of_a_hole),
        TEST(memory_is_bounded),
        TEST(locked_and_read_only),
        TEST(commit_impossible_is_said_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
