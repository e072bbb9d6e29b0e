#include "bytes.h"
#include "fault.h"
#include "host_file.h"
#include "journal.h"

#include "unit.h"

#include <sys/stat.h>

enum { IMAGE = 200 * 1024, GROWN = 3 * 1024 * 1024 };

static const struct host_file_options plain;
static char dir[64], path[128], journal_name[160];
static uint8_t before[GROWN], after[GROWN];

/* What a commit of all sorts of records does to the image. */
static void fill_states(void)
{
    memset(before, 0, sizeof before);
    for (size_t i = 0; i < IMAGE; i++)
        before[i] = (uint8_t)(i * 2654435761u >> 13);
    memcpy(after, before, sizeof after);
    memset(after + 4096, 0xaa, 4096);
    memset(after + 100 * 1024, 0, 8192);
    for (size_t i = 150 * 1024; i < GROWN - 10; i++)
        after[i] = (uint8_t)(i * 40503u >> 7);
}

static int setup(void **state)
{
    (void)state;
    make_scratch(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/image", dir);
    snprintf(journal_name, sizeof journal_name, "%s.dish-journal", path);
    fill_states();
    write_file(path, before, IMAGE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_scratch(dir);
    return 0;
}

static struct device *open_image(void)
{
    struct device *dev;
    struct error err;
    must(host_file_open(path, &plain, &dev, &err), &err);
    must(host_file_make_writable(dev, &err), &err);
    return dev;
}

static bool write_journal(struct device *dev, bool finish, struct error *err)
{
    struct journal *journal;
    if (!journal_begin(dev, NULL, &journal, err))
        return false;
    bool ok = journal_resize(journal, GROWN, err) && journal_punch(journal, 100 * 1024, 8192, err) &&
              journal_write(journal, 4096, after + 4096, 4096, err) &&
              journal_write(journal, 150 * 1024, after + 150 * 1024, GROWN - 10 - 150 * 1024, err) &&
              journal_commit(journal, true, err);
    if (!ok) {
        journal_abort(journal);
        return false;
    }
    if (finish)
        return journal_end(journal, true, err);
    /* As after a crash: the journal stays, this program's memory of it is let go. */
    uint8_t *bytes;
    size_t n;
    bytes = slurp(journal_name, &n);
    assert_non_null(bytes);
    must(journal_end(journal, true, err), err);
    write_file(journal_name, bytes, n);
    free(bytes);
    return true;
}

/* The image of a session that crashed between the journal's commit record and the journal's end. */
static struct device *crashed(void)
{
    struct error err;
    struct device *dev = open_image();
    must(write_journal(dev, false, &err), &err);
    return dev;
}

/* The same with the journal's bytes, malloc'd. */
static struct device *crashed_with(uint8_t **bytes, size_t *n)
{
    struct device *dev = crashed();
    *bytes = slurp(journal_name, n);
    assert_non_null(*bytes);
    return dev;
}

static bool apply(uint64_t off, const void *data, uint64_t len, void *arg, struct error *err)
{
    struct device *dev = arg;
    if (data)
        return device_write(dev, off, data, (size_t)len, WRITE_UPDATE, err);
    return len ? host_file_punch(dev, off, len, err) : device_resize(dev, off, err);
}

static enum journal_state look(struct device *dev)
{
    struct error err;
    enum journal_state state;
    must(journal_look(dev, &state, &err), &err);
    return state;
}

static void test_nothing_there(void **state)
{
    (void)state;
    struct error err;
    struct device *dev = open_image();
    must(journal_possible(path, &err), &err);
    assert_int_equal(look(dev), JOURNAL_NONE);
    must(write_journal(dev, true, &err), &err);
    assert_int_equal(look(dev), JOURNAL_NONE);
    assert_int_equal(count_files(dir, NULL), 1);
    device_close(dev);
}

static void test_replay(void **state)
{
    (void)state;
    struct error err;
    struct device *dev = crashed();
    assert_false(journal_possible(path, &err));
    struct journal *second;
    assert_false(journal_begin(dev, NULL, &second, &err));
    assert_int_equal(err.kind, E_EXIST);
    assert_int_equal(look(dev), JOURNAL_COMPLETE);
    must(journal_replay(dev, apply, dev, &err), &err);
    assert_true(file_is(path, after, GROWN));
    /* Again, as after a crash at the very end. */
    assert_int_equal(look(dev), JOURNAL_COMPLETE);
    must(journal_replay(dev, apply, dev, &err), &err);
    assert_true(file_is(path, after, GROWN));
    must(journal_remove(dev, true, &err), &err);
    assert_int_equal(look(dev), JOURNAL_NONE);
    device_close(dev);
}

static void test_replay_interrupted_anywhere(void **state)
{
    (void)state;
    struct error err;
    struct device *dev = crashed();
    for (uint64_t n = 1, happened = 1; happened; n++) {
        for (uint64_t seed = 0; seed < 8; seed++) {
            write_file(path, before, IMAGE);
            device_close(dev);
            dev = open_image();
            fault_start(&(struct fault_plan){.sort = FAULT_POWER_MIXED, .at = n, .seed = seed});
            bool done = journal_replay(dev, apply, dev, &err);
            happened = fault_happened();
            assert_int_equal(done, !happened);
            device_close(dev);
            must(fault_stop(NULL, &err), &err);
            dev = open_image();
            assert_int_equal(look(dev), JOURNAL_COMPLETE);
            must(journal_replay(dev, apply, dev, &err), &err);
            assert_true(file_is(path, after, GROWN));
        }
    }
    device_close(dev);
}

static void test_cut_anywhere_is_incomplete(void **state)
{
    (void)state;
    struct error err;
    size_t n;
    uint8_t *bytes;
    struct device *dev = crashed_with(&bytes, &n);
    for (size_t cut = 0; cut < n; cut += cut < 8192 || cut + 2048 > n ? 7 : 50021) {
        write_file(journal_name, bytes, cut);
        assert_int_equal(look(dev), JOURNAL_INCOMPLETE);
        assert_false(journal_replay(dev, apply, dev, &err));
    }
    write_file(journal_name, bytes, n);
    assert_int_equal(truncate(journal_name, (off_t)n + 1), 0);
    assert_int_equal(look(dev), JOURNAL_INCOMPLETE);
    assert_true(file_is(path, before, IMAGE));
    free(bytes);
    device_close(dev);
}

static void test_any_changed_byte_is_seen(void **state)
{
    (void)state;
    struct error err;
    size_t n;
    uint8_t *bytes;
    struct device *dev = crashed_with(&bytes, &n);
    for (size_t at = 0; at < n; at += at < 8192 || at + 1024 > n ? 5 : 70001) {
        enum journal_state seen;
        bytes[at] ^= 0x40;
        write_file(journal_name, bytes, n);
        bool looked = journal_look(dev, &seen, &err);
        assert_true(looked ? seen == JOURNAL_INCOMPLETE : err.kind == E_DAMAGED || err.kind == E_UNSUPPORTED);
        assert_false(journal_replay(dev, apply, dev, &err));
        bytes[at] ^= 0x40;
    }
    assert_true(file_is(path, before, IMAGE));
    free(bytes);
    device_close(dev);
}

/* Each record is sound, but they do not stand where they were written. */
static void test_records_out_of_order(void **state)
{
    (void)state;
    enum { HEADER = 0x220, RECORD = 0x20 };
    uint8_t first[RECORD];
    size_t n;
    uint8_t *bytes;
    struct device *dev = crashed_with(&bytes, &n);
    memcpy(first, bytes + HEADER, RECORD);
    memcpy(bytes + HEADER, bytes + HEADER + RECORD, RECORD);
    memcpy(bytes + HEADER + RECORD, first, RECORD);
    write_file(journal_name, bytes, n);
    free(bytes);
    assert_int_equal(look(dev), JOURNAL_INCOMPLETE);
    device_close(dev);
}

static void refused(const char *why)
{
    struct error err;
    enum journal_state state;
    struct device *dev = open_image();
    assert_false(journal_look(dev, &state, &err));
    assert_int_equal(err.kind, E_DAMAGED);
    if (!strstr(err.message, why))
        fail_msg("%s", err.message);
    device_close(dev);
}

static void test_another_image(void **state)
{
    (void)state;
    struct device *dev = crashed();
    device_close(dev);
    before[70] ^= 1;
    write_file(path, before, IMAGE);
    refused("first sectors differ");
    before[70] ^= 1;
    before[150 * 1024 + 20] ^= 1;
    write_file(path, before, IMAGE);
    refused("contents differ");
    before[150 * 1024 + 20] ^= 1;
    write_file(path, before, IMAGE - 1);
    refused("size differs");
    write_file(path, before, IMAGE);
    dev = open_image();
    assert_int_equal(look(dev), JOURNAL_COMPLETE);
    device_close(dev);
}

static void test_not_a_journal(void **state)
{
    (void)state;
    static uint8_t bytes[4096] = {0};
    struct device *dev = open_image();
    write_file(journal_name, bytes, sizeof bytes);
    assert_int_equal(look(dev), JOURNAL_INCOMPLETE);
    device_close(dev);
    bytes[0] = 'x';
    write_file(journal_name, bytes, sizeof bytes);
    refused("not a journal");
    write_file(journal_name, "mine", 4);
    refused("not a journal");
    unlink(journal_name);
    assert_int_equal(mkfifo(journal_name, 0600), 0);
    refused("not a regular file");
}

static void test_through_a_symbolic_link(void **state)
{
    (void)state;
    struct error err;
    char link[160];
    snprintf(link, sizeof link, "%s/link", dir);
    assert_int_equal(symlink("image", link), 0);
    struct device *dev = crashed();
    device_close(dev);
    assert_false(journal_possible(link, &err));
    must(host_file_open(link, &plain, &dev, &err), &err);
    assert_int_equal(look(dev), JOURNAL_COMPLETE);
    device_close(dev);
}

static void test_permissions_follow_the_image(void **state)
{
    (void)state;
    struct error err;
    struct stat st;
    assert_int_equal(chmod(path, 0640), 0);
    struct device *dev = open_image();
    struct journal *journal;
    must(journal_begin(dev, NULL, &journal, &err), &err);
    assert_int_equal(stat(journal_name, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    journal_abort(journal);
    assert_int_equal(count_files(dir, NULL), 1);
    device_close(dev);
}

static void test_failures_leave_no_journal(void **state)
{
    (void)state;
    struct error err;
    struct device *dev = open_image();
    for (uint64_t n = 1, happened = 1; happened; n++) {
        fault_start(&(struct fault_plan){.sort = FAULT_EIO, .at = n});
        bool ok = write_journal(dev, true, &err);
        happened = fault_happened();
        assert_int_equal(ok, !happened);
        must(fault_stop(NULL, &err), &err);
        /* Only when the removal itself fails, or syncing after it, it is (or may be) left. */
        if (count_files(dir, NULL) > 1) {
            assert_true(happened);
            assert_int_equal(look(dev), JOURNAL_COMPLETE);
            must(journal_remove(dev, true, &err), &err);
        }
    }
    device_close(dev);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_there),
        TEST(replay),
        TEST(replay_interrupted_anywhere),
        TEST(cut_anywhere_is_incomplete),
        TEST(any_changed_byte_is_seen),
        TEST(records_out_of_order),
        TEST(another_image),
        TEST(not_a_journal),
        TEST(through_a_symbolic_link),
        TEST(permissions_follow_the_image),
        TEST(failures_leave_no_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
