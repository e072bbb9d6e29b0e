/* Commits of a session to several images at once: all of them are in the old state, or all in the new one. */
#include "alloc.h"
#include "bytes.h"
#include "fault.h"
#include "host_file.h"
#include "session.h"

#include "unit.h"

#include <sys/stat.h>

extern const struct container_driver raw_driver;

static const struct container_driver *const containers[] = {&raw_driver, NULL};
static const struct table_driver *const tables[] = {NULL};
static const struct fs_driver *const filesystems[] = {NULL};
static const struct drivers drivers = {containers, tables, filesystems, NULL};

/* The commit writes all but a gap, so in two pieces, and makes the images larger. */
enum { IMAGES = 3, SIZE = 64 * 1024, NEW_SIZE = 96 * 1024, GAP = 8 * 1024, GAP_END = 16 * 1024 };

static char dir[64], other_dir[80], paths[IMAGES][160];
static struct session_options options;

static uint8_t old_byte(unsigned i)
{
    return (uint8_t)(0x10 + i);
}

static uint8_t new_byte(unsigned i)
{
    return (uint8_t)(0x80 + i);
}

static void make_files(void)
{
    static uint8_t bytes[SIZE];
    for (unsigned i = 0; i < IMAGES; i++) {
        memset(bytes, old_byte(i), sizeof bytes);
        write_file(paths[i], bytes, sizeof bytes);
    }
}

static int setup(void **state)
{
    (void)state;
    make_scratch(dir, sizeof dir);
    snprintf(other_dir, sizeof other_dir, "%s/other", dir);
    assert_int_equal(mkdir(other_dir, 0700), 0);
    for (unsigned i = 0; i < IMAGES; i++)
        snprintf(paths[i], sizeof paths[i], "%s/image%u", i == 1 ? other_dir : dir, i);
    options = (struct session_options){0};
    make_files();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mem_fail_at(0);
    remove_scratch(other_dir);
    remove_scratch(dir);
    return 0;
}

static bool change(struct session *session, struct error *err)
{
    static uint8_t bytes[NEW_SIZE];
    unsigned i = 0;
    for (struct image *image = session->images; image; image = image->next, i++) {
        memset(bytes, new_byte(i), sizeof bytes);
        if (!device_resize(image->disk, NEW_SIZE, err) ||
            !device_write(image->disk, 0, bytes, GAP, WRITE_UPDATE, err) ||
            !device_write(image->disk, GAP_END, bytes, NEW_SIZE - GAP_END, WRITE_UPDATE, err))
            return false;
    }
    return session_savepoint(session, "change", err);
}

static struct session *open_session(void)
{
    struct session *session;
    struct image *image;
    struct error err;
    must(session_new(&session, &drivers, &options, &err), &err);
    for (unsigned i = 0; i < IMAGES; i++)
        must(session_open(session, NULL, paths[i], "raw", &image, &err), &err);
    return session;
}

/* One image, opened alone; the others may not have been looked at since the accident. */
static bool image_is_new(unsigned i)
{
    struct error err;
    struct device *dev;
    enum recovery recovery;
    uint8_t bytes[NEW_SIZE];
    must(stage_open(paths[i], &(struct stage_options){0}, &dev, &recovery, &err), &err);
    bool new = dev->size == NEW_SIZE;
    assert_true(new || dev->size == SIZE);
    must(device_read(dev, 0, bytes, (size_t)dev->size, &err), &err);
    for (size_t k = 0; k < dev->size; k++)
        assert_int_equal(bytes[k], new && (k < GAP || k >= GAP_END) ? new_byte(i) : old_byte(i));
    device_close(dev);
    return new;
}

/* In one order or the other; nothing is left behind at the end. */
static bool all_are_new(unsigned first)
{
    bool new = image_is_new(first);
    for (unsigned i = 1; i < IMAGES; i++)
        assert_int_equal(image_is_new((first + i) % IMAGES), new);
    assert_int_equal(count_files(dir, NULL), IMAGES); /* two images and the other folder */
    assert_int_equal(count_files(other_dir, NULL), 1);
    return new;
}

static void fail_afterwards(void)
{
    struct error err;
    while (!fault_happened())
        (void)!host_hook(HOST_UNLINK, "/nonexistent/file", 0, 0, &err);
}

static void test_power_cut_anywhere(void **state)
{
    (void)state;
    struct error err;
    unsigned old = 0, new = 0;
    for (unsigned sort = FAULT_POWER_CUT; sort <= FAULT_POWER_MIXED; sort++) {
        bool happened = true;
        for (uint64_t n = 1; happened; n++)
            for (uint64_t seed = 0; seed < (sort == FAULT_POWER_MIXED ? 8 : 1); seed++) {
                make_files();
                struct session *session = open_session();
                fault_start(&(struct fault_plan){.sort = sort, .at = n, .seed = seed});
                bool done = change(session, &err) && session_commit(session, &err);
                happened = fault_happened();
                assert_int_equal(done, !happened);
                fail_afterwards();
                session_free(session);
                must(fault_stop(NULL, &err), &err);
                bool is_new = all_are_new((unsigned)(n % IMAGES));
                assert_true(is_new || !done);
                *(is_new ? &new : &old) += 1;
            }
    }
    assert_true(old > 20 && new > 20);
}

static void test_host_fails_once(void **state)
{
    (void)state;
    struct error err;
    for (unsigned sort = FAULT_EIO; sort <= FAULT_ENOSPC; sort++) {
        bool happened = true;
        for (uint64_t n = 1; happened; n++) {
            make_files();
            struct session *session = open_session();
            must(change(session, &err), &err);
            fault_start(&(struct fault_plan){.sort = sort, .at = n});
            bool done = session_commit(session, &err);
            happened = fault_happened();
            must(fault_stop(NULL, &err), &err);
            bool unfinished = !done && strstr(err.message, "safe in its journal");
            /* A commit that has not happened can be tried again, or taken back. */
            if (!done && !unfinished && n % 2)
                must(session_rollback(session, &err), &err);
            else if (!done && !unfinished) {
                assert_true(session_pending(session));
                must(session_commit(session, &err), &err);
                done = true;
            }
            session_free(session);
            assert_int_equal(all_are_new((unsigned)(n % IMAGES)), done || unfinished);
        }
    }
}

static void test_no_memory_anywhere(void **state)
{
    (void)state;
    struct error err;
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        make_files();
        struct session *session = open_session();
        mem_fail_at(n);
        bool changed = change(session, &err), done = changed && session_commit(session, &err);
        failed = mem_failed();
        mem_fail_at(0);
        if (!changed) {
            must(session_revert(session, &err), &err);
            assert_false(session_pending(session));
            must(session_commit(session, &err), &err);
        }
        bool unfinished = changed && !done && strstr(err.message, "safe in its journal");
        session_free(session);
        assert_int_equal(all_are_new((unsigned)(n % IMAGES)), done || unfinished);
    }
}

/* The images are moved together after the accident: they still belong together. */
static void test_moved_after_the_power_cut(void **state)
{
    (void)state;
    struct error err;
    char moved[80];
    snprintf(moved, sizeof moved, "%s.moved", dir);
    for (unsigned i = 0; i < IMAGES; i++)
        snprintf(paths[i], sizeof paths[i], "%s/image%u", dir, i);
    for (uint64_t n = 1, happened = 1; happened; n++) {
        make_files();
        struct session *session = open_session();
        fault_start(&(struct fault_plan){.sort = FAULT_POWER_CUT, .at = n});
        bool done = change(session, &err) && session_commit(session, &err);
        happened = fault_happened();
        session_free(session);
        must(fault_stop(NULL, &err), &err);
        assert_int_equal(rename(dir, moved), 0);
        for (unsigned i = 0; i < IMAGES; i++)
            snprintf(paths[i], sizeof paths[i], "%s/image%u", moved, i);
        bool new = image_is_new(2);
        assert_true(new || !done);
        assert_int_equal(image_is_new(0), new);
        assert_int_equal(image_is_new(1), new);
        assert_int_equal(count_files(moved, NULL), IMAGES + 1);
        assert_int_equal(rename(moved, dir), 0);
        for (unsigned i = 0; i < IMAGES; i++)
            snprintf(paths[i], sizeof paths[i], "%s/image%u", dir, i);
    }
}

/* Half of the commit was put in place, and the marker is gone: that is said, and nothing is guessed. */
static void test_marker_lost(void **state)
{
    (void)state;
    struct error err;
    struct device *dev;
    enum recovery recovery;
    bool refused = false;
    for (uint64_t n = 1, happened = 1; happened; n++) {
        make_files();
        struct session *session = open_session();
        fault_start(&(struct fault_plan){.sort = FAULT_POWER_CUT, .at = n});
        happened = !(change(session, &err) && session_commit(session, &err));
        session_free(session);
        must(fault_stop(NULL, &err), &err);
        char command[200];
        snprintf(command, sizeof command, "rm -f %s/.dish-commit-*", dir);
        assert_int_equal(system(command), 0);
        for (unsigned i = 0; i < IMAGES; i++) {
            if (stage_open(paths[i], &(struct stage_options){0}, &dev, &recovery, &err)) {
                device_close(dev);
                continue;
            }
            assert_int_equal(err.kind, E_DAMAGED);
            refused = true;
            assert_non_null(strstr(err.message, "several images"));
        }
        snprintf(command, sizeof command, "rm -f %s/*.dish-journal %s/*.dish-journal", dir, other_dir);
        assert_int_equal(system(command), 0);
    }
    assert_true(refused);
}

/* The user stops a command: what it did is taken back, with the wish to stop still standing. */
static void test_interrupt(void **state)
{
    (void)state;
    struct error err;
    struct session *session = open_session();
    must(device_write(session->images->disk, 0, "x", 1, WRITE_UPDATE, &err), &err);
    interrupt_request();
    assert_false(device_write(session->images->disk, 0, "y", 1, WRITE_UPDATE, &err));
    assert_int_equal(err.kind, E_INTERRUPTED);
    must(session_revert(session, &err), &err);
    assert_true(interrupt_pending());
    interrupt_clear();
    assert_false(session_pending(session));
    must(change(session, &err), &err);
    interrupt_request();
    must(session_rollback(session, &err), &err);
    interrupt_clear();
    session_free(session);
    assert_false(all_are_new(0));
}

static void test_failed_command_ends_redo(void **state)
{
    (void)state;
    struct error err;
    struct session *session = open_session();
    must(change(session, &err), &err);
    must(session_undo(session, 1, &err), &err);
    /* One that changes nothing does not. */
    must(session_revert(session, &err), &err);
    must(session_redo(session, 1, &err), &err);
    must(session_undo(session, 1, &err), &err);
    must(device_write(session->images->disk, 0, "x", 1, WRITE_UPDATE, &err), &err);
    must(session_revert(session, &err), &err);
    assert_false(session_redo(session, 1, &err));
    assert_string_equal(err.message, "nothing to redo");
    session_free(session);
    assert_false(all_are_new(0));
}

/* Undo of a step of several images with failing memory: all of them go, or none. */
static void test_undo_without_memory(void **state)
{
    (void)state;
    struct error err;
    unsigned stayed = 0;
    for (uint64_t n = 1, failed = 1; failed; n++) {
        struct session *session = open_session();
        for (struct image *image = session->images; image; image = image->next)
            must(device_zero(image->disk, 32 * KiB, 8 * KiB, WRITE_UPDATE, &err), &err);
        must(session_savepoint(session, "zero", &err), &err);
        mem_fail_at(n);
        failed = !session_undo(session, 1, &err);
        mem_fail_at(0);
        /* When the layers cannot be read again the session says so, and all files are in the old state. */
        bool back = !failed || session->broken[0] != '\0';
        unsigned i = 0;
        for (struct image *image = session->images; image; image = image->next, i++) {
            uint8_t byte;
            must(device_read(image->disk, 33 * KiB, &byte, 1, &err), &err);
            assert_int_equal(byte, back ? old_byte(i) : 0);
        }
        stayed += !back;
        session_free(session);
    }
    assert_true(stayed > 0);
}

static void test_undo_is_over_after_the_commit(void **state)
{
    (void)state;
    struct error err;
    struct session *session = open_session();
    must(change(session, &err), &err);
    must(session_undo(session, 1, &err), &err);
    assert_false(session_pending(session));
    must(session_redo(session, 1, &err), &err);
    must(session_commit(session, &err), &err);
    assert_false(session_undo(session, 1, &err));
    assert_int_equal(err.kind, E_NOENT);
    session_free(session);
    assert_true(all_are_new(0));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(power_cut_anywhere),        TEST(host_fails_once),     TEST(no_memory_anywhere),
        TEST(moved_after_the_power_cut), TEST(marker_lost),         TEST(interrupt),
        TEST(failed_command_ends_redo),  TEST(undo_without_memory), TEST(undo_is_over_after_the_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
