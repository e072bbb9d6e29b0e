/*
 * The stage against a model: for every savepoint the model keeps all bytes, which units of 512 bytes are in
 * use (others may hold anything, and may be written as fresh), and what the committed state was.
 */
#include "bytes.h"
#include "host_file.h"
#include "stage.h"

#include "unit.h"

#include <inttypes.h>
#include <sys/stat.h>

enum { UNIT = 512, MAX_SIZE = 640 * 1024, UNITS = MAX_SIZE / UNIT, MAX_STATES = 40, INITIAL = 400 * 1024 };

struct state {
    uint8_t bytes[MAX_SIZE];
    uint64_t size;
    bool used[UNITS];  /* the format refers to it */
    bool known[UNITS]; /* its contents are defined */
};

static struct model {
    struct state states[MAX_STATES]; /* from the commit on */
    uint64_t generations[MAX_STATES];
    size_t count, current; /* states[current] is the last mark; count - 1 the newest */
    struct state now;      /* with the running command */
    bool own_fresh[UNITS]; /* allocated by the running command */
    bool freed[UNITS];     /* given back since the commit */
    bool changed;
} model;

static char dir[64], path[128];
static struct device *dev;
static struct stage_options options;
static uint64_t random_state;
static uint8_t scratch[MAX_SIZE], other[MAX_SIZE];

static uint64_t rnd(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static void fill_random(uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)rnd(251);
}

static int setup(void **state)
{
    (void)state;
    make_scratch(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/image", dir);
    options = (struct stage_options){.durability = DURABILITY_NORMAL};
    random_state = 88172645463325252u;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_scratch(dir);
    return 0;
}

static struct device *open_stage(void)
{
    struct device *opened;
    struct error err;
    enum recovery recovery;
    must(stage_open(path, &options, &opened, &recovery, &err), &err);
    assert_int_equal(recovery, RECOVERY_NONE);
    return opened;
}

/* ---- the model ---- */

static struct state *committed(void)
{
    return &model.states[0];
}

/* Data, then holes, then data: holes are free space. */
static void make_image(void)
{
    struct state *state = committed();
    memset(&model, 0, sizeof model);
    state->size = INITIAL;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), INITIAL), 0);
    for (size_t unit = 0; unit < INITIAL / UNIT; unit++) {
        uint64_t page = unit * UNIT / 4096;
        state->used[unit] = page % 50 < 22 || page % 50 == 30;
        state->known[unit] = true;
        if (!state->used[unit])
            continue;
        fill_random(state->bytes + unit * UNIT, UNIT);
        assert_int_equal(pwrite(fileno(file), state->bytes + unit * UNIT, UNIT, (off_t)(unit * UNIT)), UNIT);
    }
    fclose(file);
    model.count = 1;
    model.now = *state;
}

static void compare(const struct state *want, const uint8_t *got, const char *what)
{
    for (size_t unit = 0; unit < div_up(want->size, UNIT); unit++) {
        size_t n = MIN_OF((size_t)UNIT, (size_t)want->size - unit * UNIT);
        if (want->known[unit] && memcmp(want->bytes + unit * UNIT, got + unit * UNIT, n) != 0)
            fail_msg("%s: unit %zu (page %zu, %s) differs: %02x... instead of %02x...", what, unit,
                     unit * UNIT / 4096, want->used[unit] ? "in use" : "free", got[unit * UNIT],
                     want->bytes[unit * UNIT]);
    }
}

static void read_all(struct device *from)
{
    struct error err;
    must(device_read(from, 0, scratch, from->size, &err), &err);
}

static void check_now(void)
{
    assert_int_equal(dev->size, model.now.size);
    read_all(dev);
    compare(&model.now, scratch, "current state");
}

/* What survives if the program dies now: everything that the committed state uses. */
static void check_host(void)
{
    size_t n;
    uint8_t *bytes = slurp(path, &n);
    assert_non_null(bytes);
    assert_true(n >= committed()->size);
    struct state want = *committed();
    for (size_t unit = 0; unit < UNITS; unit++)
        want.known[unit] = want.known[unit] && want.used[unit];
    compare(&want, bytes, "committed state on the host");
    free(bytes);
}

static bool free_everywhere(size_t unit)
{
    if (model.now.used[unit])
        return model.own_fresh[unit];
    if (model.freed[unit])
        return false;
    for (size_t i = 0; i <= model.current; i++)
        if (model.states[i].used[unit])
            return false;
    return true;
}

static void begin_change(void)
{
    model.count = model.current + 1;
    model.changed = true;
}

/* ---- random commands ---- */

static void pick(uint64_t *off, uint64_t *len, uint64_t max)
{
    *off = rnd(model.now.size);
    *len = 1 + rnd(rnd(4) ? 3000 : max);
    if (rnd(2))
        *off = round_down(*off, rnd(2) ? 4096 : UNIT);
    *len = MIN_OF(*len, model.now.size - *off);
}

/* Whole units of a range: the only ones whose state changes when contents become known, free or used. */
static void set_units(uint64_t off, uint64_t len, bool known, bool used)
{
    uint64_t end = off + len;
    if (end == model.now.size)
        end = round_up(end, UNIT);
    for (uint64_t unit = div_up(off, UNIT); (unit + 1) * UNIT <= end; unit++) {
        model.now.known[unit] = known;
        model.now.used[unit] = used;
    }
    for (uint64_t unit = off / UNIT; used && unit < div_up(off + len, UNIT); unit++)
        model.now.used[unit] = true;
}

static void do_update(void)
{
    struct error err;
    uint64_t off, len;
    pick(&off, &len, 90000);
    fill_random(other, len);
    must(device_write(dev, off, other, len, WRITE_UPDATE, &err), &err);
    memcpy(model.now.bytes + off, other, len);
    set_units(off, len, true, true);
    begin_change();
}

static void do_zero(void)
{
    struct error err;
    uint64_t off, len;
    pick(&off, &len, 200000);
    must(device_zero(dev, off, len, WRITE_UPDATE, &err), &err);
    memset(model.now.bytes + off, 0, len);
    set_units(off, len, true, true);
    begin_change();
}

/* A run of free units from a random place on. */
static bool pick_free(size_t *unit, size_t *count, size_t max)
{
    size_t units = (size_t)(model.now.size / UNIT);
    *unit = (size_t)rnd(units);
    for (size_t tries = 0; tries < units && !free_everywhere(*unit); tries++)
        *unit = (*unit + 1) % units;
    for (*count = 0; *unit + *count < units && *count < max && free_everywhere(*unit + *count);)
        ++*count;
    return *count > 0;
}

/* Older states lose what their free space held, unless that was nothing at all: a hole is made again. */
static void take_fresh(size_t unit, size_t count)
{
    for (size_t i = unit; i < unit + count; i++) {
        bool hole = stage_is_hole(dev, round_down(i * UNIT, 4096), 4096);
        for (size_t k = 0; k < model.count && !hole; k++)
            model.states[k].known[i] = model.states[k].known[i] && model.states[k].used[i];
        model.own_fresh[i] = true;
    }
}

static void do_fresh(void)
{
    struct error err;
    size_t unit, count;
    if (!pick_free(&unit, &count, 1 + (size_t)rnd(rnd(2) ? 8 : 300)))
        return;
    bool zero = rnd(5) == 0;
    take_fresh(unit, count);
    if (zero) {
        memset(other, 0, count * UNIT);
        must(device_zero(dev, unit * UNIT, count * UNIT, WRITE_FRESH, &err), &err);
    } else {
        fill_random(other, count * UNIT);
        must(device_write(dev, unit * UNIT, other, count * UNIT, WRITE_FRESH, &err), &err);
    }
    memcpy(model.now.bytes + unit * UNIT, other, count * UNIT);
    set_units(unit * UNIT, count * UNIT, true, true);
    begin_change();
}

static void do_allocate(void)
{
    struct error err;
    size_t unit, count;
    if (!pick_free(&unit, &count, 1 + (size_t)rnd(100)))
        return;
    take_fresh(unit, count);
    must(device_allocate(dev, unit * UNIT, count * UNIT, rnd(2), &err), &err);
    memset(model.now.bytes + unit * UNIT, 0, count * UNIT);
    set_units(unit * UNIT, count * UNIT, true, true);
    begin_change();
}

/* A file is removed: only the model hears of it, or the device is told. */
static void do_free(void)
{
    struct error err;
    uint64_t off, len;
    pick(&off, &len, 60000);
    if (rnd(2)) {
        must(device_discard(dev, off, len, &err), &err);
        if (round_up(off, 4096) < round_down(off + len, 4096))
            begin_change();
    }
    for (uint64_t unit = div_up(off, UNIT); (unit + 1) * UNIT <= off + len; unit++) {
        model.freed[unit] = model.freed[unit] || model.now.used[unit];
        model.now.used[unit] = model.now.known[unit] = model.own_fresh[unit] = false;
    }
}

static void do_resize(void)
{
    struct error err;
    uint64_t size = 4096 + rnd(MAX_SIZE - 4096 + 1);
    if (rnd(2))
        size = MIN_OF(round_up(size, 4096), (uint64_t)MAX_SIZE);
    if (size == model.now.size)
        return;
    must(device_resize(dev, size, &err), &err);
    uint64_t from = MIN_OF(size, model.now.size), old = model.now.size;
    memset(model.now.bytes + from, 0, MAX_SIZE - from);
    model.now.size = size;
    for (uint64_t unit = from / UNIT; unit < UNITS; unit++) {
        bool whole = unit * UNIT >= from;
        if (whole && unit * UNIT < old) {
            model.freed[unit] = model.freed[unit] || model.now.used[unit];
            model.now.used[unit] = false;
        }
        model.own_fresh[unit] = model.own_fresh[unit] && !whole;
        if (whole)
            model.now.known[unit] = true;
    }
    begin_change();
}

static void run_command(void)
{
    for (uint64_t n = 1 + rnd(6); n > 0; n--) {
        uint64_t sort = rnd(12);
        if (sort < 4)
            do_update();
        else if (sort < 8)
            do_fresh();
        else if (sort < 9)
            do_zero();
        else if (sort < 10)
            do_free();
        else if (sort < 11)
            do_allocate();
        else
            do_resize();
    }
}

/* ---- between commands ---- */

static void start_from(size_t index)
{
    model.current = index;
    model.now = model.states[index];
    memset(model.own_fresh, 0, sizeof model.own_fresh);
    model.changed = false;
}

static void mark(void)
{
    struct error err;
    must(stage_mark(dev, &err), &err);
    if (!model.changed) {
        model.states[model.current] = model.now;
        start_from(model.current);
        return;
    }
    assert_true(model.count < MAX_STATES);
    model.states[model.count] = model.now;
    model.generations[model.count] = stage_generation(dev);
    start_from(model.count++);
}

static void revert(void)
{
    struct error err;
    must(stage_revert(dev, &err), &err);
    start_from(model.current);
    assert_false(stage_dirty(dev));
}

static void go(void)
{
    struct error err;
    size_t to = (size_t)rnd(model.count);
    if (!stage_go(dev, model.generations[to], &err)) {
        /* Only states that were merged, for the bound on history, are gone. */
        assert_int_equal(err.kind, E_NOENT);
        assert_true(options.undo_pages > 0 && to > 0);
        return;
    }
    start_from(to);
}

static void commit(void)
{
    struct error err;
    must(stage_commit(dev, &err), &err);
    assert_false(stage_pending(dev));
    model.states[0] = model.states[model.current];
    model.generations[0] = stage_generation(dev);
    model.count = 1;
    memset(model.freed, 0, sizeof model.freed);
    start_from(0);
    size_t n;
    uint8_t *bytes = slurp(path, &n);
    assert_int_equal(n, committed()->size);
    compare(committed(), bytes, "committed");
    free(bytes);
    assert_int_equal(count_files(dir, NULL), 1);
}

static void rollback(void)
{
    struct error err;
    struct stat st;
    must(stage_rollback(dev, &err), &err);
    assert_false(stage_pending(dev));
    model.count = 1;
    model.generations[0] = stage_generation(dev);
    memset(model.freed, 0, sizeof model.freed);
    start_from(0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, committed()->size);
}

static void check_snapshot(void)
{
    struct error err;
    size_t index = (size_t)rnd(model.current + 1);
    struct device *old = stage_snapshot(dev, model.generations[index], &err);
    if (!old) {
        assert_int_equal(err.kind, E_NOENT);
        assert_true(options.undo_pages > 0 && index > 0);
        return;
    }
    assert_int_equal(old->size, model.states[index].size);
    read_all(old);
    compare(&model.states[index], scratch, "snapshot");
    device_close(old);
}

/* Every byte that differs from a state is inside a change since it. */
static void check_changes(void)
{
    struct error err;
    size_t index = (size_t)rnd(model.current + 1);
    static bool changed[MAX_SIZE];
    struct range range;
    memset(changed, 0, sizeof changed);
    uint64_t at = 0;
    for (; stage_next_change(dev, model.generations[index], at, &range, &err); at = range.start + range.len) {
        assert_true(range.len > 0 && range.start >= at && range.start + range.len <= dev->size);
        memset(changed + range.start, true, range.len);
    }
    assert_int_equal(err.kind, E_OK);
    const struct state *old = &model.states[index];
    for (uint64_t i = 0; i < MIN_OF(old->size, model.now.size); i++)
        if (!changed[i] && old->known[i / UNIT] && model.now.known[i / UNIT] &&
            old->bytes[i] != model.now.bytes[i])
            fail_msg("a change at 0x%" PRIx64 " is not reported", i);
}

static void check_map(void)
{
    struct error err;
    uint64_t at = 0;
    read_all(dev);
    while (at < dev->size) {
        struct extent extent;
        must(device_map(dev, at, &extent, &err), &err);
        assert_true(extent.len > 0 && extent.len <= dev->size - at);
        if (extent.flags & EXTENT_HOLE)
            assert_true(all_zero(scratch + at, extent.len));
        at += extent.len;
    }
}

static void reopen(void)
{
    device_close(dev);
    dev = open_stage();
    model.count = 1;
    model.generations[0] = 0;
    memset(model.freed, 0, sizeof model.freed);
    start_from(0);
}

static void one_step(void)
{
    run_command();
    check_now();
    check_host();
    if (rnd(3) == 0)
        check_snapshot();
    if (rnd(3) == 0)
        check_changes();
    if (rnd(4) == 0)
        check_map();
    uint64_t end = rnd(20);
    if (end < 5)
        revert();
    else
        mark();
    check_now();
    if (end > 13)
        go();
    if (end == 19 || model.count >= MAX_STATES - 1)
        commit();
    if (end == 18)
        rollback();
    if (end == 17)
        reopen();
    check_now();
    check_host();
}

static void run_model(unsigned steps)
{
    for (unsigned run = 0; run < 12; run++) {
        make_image();
        dev = open_stage();
        model.generations[0] = stage_generation(dev);
        for (unsigned i = 0; i < steps; i++)
            one_step();
        device_close(dev);
    }
}

static void test_model(void **state)
{
    (void)state;
    run_model(60);
}

static void test_model_in_little_memory(void **state)
{
    (void)state;
    options.memory = 80 * 1024;
    run_model(60);
}

static void test_model_with_short_history(void **state)
{
    (void)state;
    options.memory = 200 * 1024;
    options.undo_pages = 40;
    run_model(60);
}

static void test_model_full_durability(void **state)
{
    (void)state;
    options.durability = DURABILITY_FULL;
    run_model(15);
}

static void test_model_without_durability(void **state)
{
    (void)state;
    options.durability = DURABILITY_OFF;
    run_model(30);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(model),
        TEST(model_in_little_memory),
        TEST(model_with_short_history),
        TEST(model_full_durability),
        TEST(model_without_durability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
