/* The free-space map against plain arrays: random takes, frees, commands, commits, reloads. */
#include "bytes.h"
#include "space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BEGIN = 2, END = 700, ROUNDS = 40000 };

struct model {
    bool before[END];                           /* the command */
    bool used[END], committed[END], freed[END]; /* freed: since the last commit */
    bool fresh[END];                            /* taken by this command while never freed */
};

static void load(struct space *space, const struct model *model)
{
    struct error err;
    assert_true(space_load(space, BEGIN, END, &err));
    for (uint32_t i = BEGIN; i < END; i++)
        if (model->used[i])
            space_use(space, i, 1);
    assert_true(space_loaded(space, BEGIN + 5, &err));
}

static void compare(const struct space *space, const struct model *model)
{
    uint32_t free_units = 0, at = 0, start, len;
    for (uint32_t i = BEGIN; i < END; i++) {
        free_units += !model->used[i];
        assert_int_equal(space_is_free(space, i), !model->used[i]);
        assert_int_equal(space_write_class(space, i, 1) == WRITE_FRESH, model->fresh[i]);
    }
    assert_int_equal(space->free, free_units);
    for (; space_next_run(space, at, &start, &len); at = start + len) {
        for (uint32_t i = MAX_OF(at, BEGIN); i < start; i++)
            assert_true(model->used[i]);
        for (uint32_t i = start; i < start + len; i++)
            assert_false(model->used[i]);
        assert_true(start + len == END || model->used[start + len]);
        free_units -= len;
    }
    assert_int_equal(free_units, 0);
}

static void take(struct space *space, struct model *model)
{
    struct error err;
    uint32_t want = (uint32_t)rand() % 60 + 1, goal = rand() % 2 ? (uint32_t)rand() % END : 0, start, len;
    bool any = false, clean = false;
    for (uint32_t i = BEGIN; i < END; i++) {
        any = any || !model->used[i];
        clean = clean || (!model->used[i] && !model->freed[i]);
    }
    assert_int_equal(space_take(space, want, goal, &start, &len, &err), any);
    if (!any) {
        assert_int_equal(err.kind, E_NOSPACE);
        return;
    }
    assert_true(len >= 1 && len <= want && start >= BEGIN && start + len <= END);
    space->touched = true;
    for (uint32_t i = start; i < start + len; i++) {
        assert_false(model->used[i]);
        assert_int_equal(model->freed[i], !clean); /* what was freed is taken last */
        model->used[i] = true;
        model->fresh[i] = !model->freed[i];
    }
}

static void release(struct space *space, struct model *model)
{
    struct error err;
    uint32_t start = BEGIN + (uint32_t)rand() % (END - BEGIN), len = 0;
    while (start + len < END && model->used[start + len] && len < 40)
        len++;
    if (len == 0)
        return;
    assert_true(space_release(space, start, len, &err));
    space->touched = true;
    for (uint32_t i = start; i < start + len; i++) {
        model->used[i] = model->fresh[i] = false;
        model->freed[i] = true;
    }
}

static void end_command(struct model *model)
{
    memset(model->fresh, 0, sizeof model->fresh);
    memcpy(model->before, model->used, sizeof model->before);
}

/* The command is taken back; the map is loaded again only where it cannot be known. */
static void revert(struct space *space, struct model *model, bool known)
{
    memcpy(model->used, model->before, sizeof model->used);
    end_command(model);
    space_revert(space);
    assert_int_equal(space->loaded, known);
    if (!known)
        load(space, model);
}

static void random_use_matches_a_model(void **state)
{
    (void)state;
    struct space space = {.loaded = false};
    struct model model = {.used = {false}};
    bool known = true; /* what the map said before the command */
    srand(3);
    load(&space, &model);
    for (int round = 0; round < ROUNDS; round++) {
        int what = rand() % 100;
        if (what < 45) {
            take(&space, &model);
        } else if (what < 85) {
            release(&space, &model);
        } else if (what < 90) {
            space_command_ended(&space);
            end_command(&model);
            known = true;
        } else if (what < 95) {
            revert(&space, &model, known);
            known = true;
        } else if (what < 98) {
            space_drop(&space);
            memset(model.fresh, 0, sizeof model.fresh);
            known = !space.touched;
            load(&space, &model);
        } else {
            space_command_ended(&space);
            space_committed(&space);
            end_command(&model);
            memset(model.freed, 0, sizeof model.freed);
            known = true;
        }
        if (round % 16 == 0)
            compare(&space, &model);
    }
    space_close(&space);
}

static void long_runs_are_found(void **state)
{
    (void)state;
    struct space space = {.loaded = false};
    struct error err;
    uint32_t start, len;
    assert_true(space_load(&space, 2, 1000, &err));
    for (uint32_t i = 2; i < 900; i += 10)
        space_use(&space, i, 1);
    assert_true(space_loaded(&space, 2, &err));
    assert_true(space_find(&space, 50, &start));
    assert_true(start > 890 && start + 50 <= 1000);
    assert_false(space_find(&space, 500, &start));
    assert_true(space_take(&space, 500, 0, &start, &len, &err)); /* the longest there is */
    assert_int_equal(len, 1000 - 893);
    assert_int_equal(start, 893);
    space_close(&space);
}

static void goals_and_the_cursor_lead(void **state)
{
    (void)state;
    struct space space = {.loaded = false};
    struct error err;
    uint32_t first, start, len;
    assert_true(space_load(&space, 2, 1000, &err) && space_loaded(&space, 2, &err));
    assert_true(space_take(&space, 5, 0, &first, &len, &err));
    assert_true(space_take(&space, 3, 500, &start, &len, &err));
    assert_true(start == 500 && len == 3);
    assert_true(space_take(&space, 4, 0, &start, &len, &err)); /* on from there */
    assert_true(start == 503 && len == 4);
    assert_true(space_take(&space, 7, 501, &start, &len, &err)); /* a goal that is taken is none */
    assert_true(start == 507 && len == 7);
    space_close(&space);
}

static void a_commit_makes_long_runs_again(void **state)
{
    (void)state;
    struct space space = {.loaded = false};
    struct error err;
    uint32_t start, len;
    assert_true(space_load(&space, 2, 1000, &err));
    for (uint32_t i = 2; i < 1000; i += 10)
        space_use(&space, i, 5);
    assert_true(space_loaded(&space, 2, &err));
    assert_true(space_take(&space, 100, 0, &start, &len, &err));
    assert_int_equal(len, 5);
    for (uint32_t i = 102; i < 400; i += 10)
        assert_true(space_release(&space, i, 5, &err));
    assert_false(space_find(&space, 100, &start));
    space_committed(&space);
    assert_true(space_take(&space, 100, 0, &start, &len, &err));
    assert_int_equal(len, 100);
    space_close(&space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_use_matches_a_model), cmocka_unit_test(long_runs_are_found),
        cmocka_unit_test(goals_and_the_cursor_lead), cmocka_unit_test(a_commit_makes_long_runs_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
