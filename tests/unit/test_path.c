#include "path.h"

/* Before cmocka.h, which makes a macro of fail. */
#include "memfs.h"
#include "walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* clang-format off */
#include <cmocka.h>
/* clang-format on */

#include "memfs.h"

static void test_absolute(void **state)
{
    (void)state;
    static const struct {
        const char *cwd, *path, *want;
    } cases[] = {
        {"/", "a", "/a"},  {"/x", "a/./b//c", "/x/a/b/c"}, {"/x", "/a", "/a"},    {"/x", "", "/x"},
        {NULL, ".", "/"},  {"/x", "../y", "/x/../y"},      {"/x", "a/", "/x/a/"}, {"/x", "a/.", "/x/a/"},
        {"/x", "//", "/"}, {"/", "...", "/..."},           {"/x/", "a", "/x/a"},
    };
    struct error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = path_absolute(cases[i].cwd, cases[i].path, &err);
        assert_string_equal(got, cases[i].want);
        free(got);
    }
}

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *path, *dir, *name;
    } cases[] = {
        {"/a/b", "/a", "b"}, {"/a", "/", "a"}, {"/a/b/", "/a", "b"},
        {"/", "/", ""},      {"a", ".", "a"},  {"/a//b", "/a", "b"},
    };
    struct error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir, *name;
        assert_true(path_split(cases[i].path, &dir, &name, &err));
        assert_string_equal(dir, cases[i].dir);
        assert_string_equal(name, cases[i].name);
        free(dir);
        free(name);
    }
}

static enum error_kind looked_up(struct mem_world *world, const char *path, bool follow, fs_id want)
{
    struct error err;
    fs_id got;
    if (!path_lookup(&world->volume, path, follow, &got, &err))
        return err.kind;
    assert_int_equal(got, want);
    return E_OK;
}

static void test_lookup(void **state)
{
    (void)state;
    struct mem_world world;
    world_open(&world);
    fs_id etc = world_make(&world, 1, "etc", S_IFDIR | 0755, NULL);
    fs_id motd = world_make(&world, etc, "motd", S_IFREG | 0644, NULL);
    fs_id link = world_make(&world, 1, "link", S_IFLNK | 0777, "etc/../etc/./motd");
    fs_id dir_link = world_make(&world, 1, "dirlink", S_IFLNK | 0777, "/etc");
    world_make(&world, etc, "up", S_IFLNK | 0777, "../link");
    world_make(&world, 1, "self", S_IFLNK | 0777, "self");
    world_make(&world, 1, "grow", S_IFLNK | 0777, "grow/x");
    assert_int_equal(looked_up(&world, "/", true, 1), E_OK);
    assert_int_equal(looked_up(&world, "/etc/motd", true, motd), E_OK);
    assert_int_equal(looked_up(&world, "/link", true, motd), E_OK);
    assert_int_equal(looked_up(&world, "/link", false, link), E_OK);
    assert_int_equal(looked_up(&world, "/dirlink", false, dir_link), E_OK);
    assert_int_equal(looked_up(&world, "/dirlink/", false, etc), E_OK);
    assert_int_equal(looked_up(&world, "/dirlink/motd", false, motd), E_OK);
    assert_int_equal(looked_up(&world, "/dirlink/up", true, motd), E_OK);
    assert_int_equal(looked_up(&world, "/../../etc", true, etc), E_OK);
    assert_int_equal(looked_up(&world, "/dirlink/..", true, 1), E_OK);
    assert_int_equal(looked_up(&world, "/nope", true, 0), E_NOENT);
    assert_int_equal(looked_up(&world, "/nope/x", true, 0), E_NOENT);
    assert_int_equal(looked_up(&world, "/etc/motd/x", true, 0), E_NOTDIR);
    assert_int_equal(looked_up(&world, "/etc/motd/", true, 0), E_NOTDIR);
    assert_int_equal(looked_up(&world, "/link/", true, 0), E_NOTDIR);
    assert_int_equal(looked_up(&world, "/self", true, 0), E_LOOP);
    assert_int_equal(looked_up(&world, "/grow", true, 0), E_LOOP);
    world_close(&world);
}

static void test_real_and_parent(void **state)
{
    (void)state;
    struct mem_world world;
    struct error err;
    char *real, name[1024];
    fs_id dir;
    world_open(&world);
    fs_id a = world_make(&world, 1, "a", S_IFDIR | 0755, NULL);
    fs_id b = world_make(&world, a, "b", S_IFDIR | 0755, NULL);
    world_make(&world, 1, "l", S_IFLNK | 0777, "/a/b");
    assert_true(path_real(&world.volume, "/l/../b/.", &real, &err));
    assert_string_equal(real, "/a/b");
    free(real);
    assert_true(path_real(&world.volume, "/l/../..", &real, &err));
    assert_string_equal(real, "/");
    free(real);
    assert_true(path_parent(&world.volume, "/l/new", &dir, name, sizeof name, &err));
    assert_int_equal(dir, b);
    assert_string_equal(name, "new");
    assert_false(path_parent(&world.volume, "/", &dir, name, sizeof name, &err));
    assert_false(path_parent(&world.volume, "/a/..", &dir, name, sizeof name, &err));
    assert_false(path_parent(&world.volume, "/no/x", &dir, name, sizeof name, &err));
    assert_int_equal(err.kind, E_NOENT);
    world_close(&world);
}

/* A second look asks the driver nothing, and every change is seen at once. */
static void test_names_are_remembered(void **state)
{
    (void)state;
    struct mem_world world;
    struct error err;
    world_open(&world);
    fs_id a = world_make(&world, 1, "a", S_IFDIR | 0755, NULL);
    fs_id f = world_make(&world, a, "f", S_IFREG | 0644, NULL);
    assert_int_equal(looked_up(&world, "/a/f", true, f), E_OK);
    assert_int_equal(looked_up(&world, "/a/g", true, 0), E_NOENT);
    unsigned before = world.mem->lookups;
    assert_int_equal(looked_up(&world, "/a/f", true, f), E_OK);
    assert_int_equal(looked_up(&world, "/a/g", true, 0), E_NOENT);
    assert_int_equal(world.mem->lookups, before);
    assert_true(file_rename(&world.volume, a, "f", a, "g", &err));
    assert_int_equal(looked_up(&world, "/a/f", true, 0), E_NOENT);
    assert_int_equal(looked_up(&world, "/a/g", true, f), E_OK);
    assert_true(file_remove(&world.volume, a, "g", &err));
    assert_int_equal(looked_up(&world, "/a/g", true, 0), E_NOENT);
    mem_insert(&world.mem->fs, a, "g", f); /* behind the engine's back, as an undo does */
    world.session.name_epoch++;
    assert_int_equal(looked_up(&world, "/a/g", true, f), E_OK);
    world_close(&world);
}

static void test_rename(void **state)
{
    (void)state;
    struct mem_world world;
    struct error err;
    world_open(&world);
    fs_id a = world_make(&world, 1, "a", S_IFDIR | 0755, NULL);
    fs_id b = world_make(&world, a, "b", S_IFDIR | 0755, NULL);
    fs_id f = world_make(&world, 1, "f", S_IFREG | 0644, NULL);
    world_make(&world, b, "x", S_IFREG | 0644, NULL);
    fs_id e = world_make(&world, 1, "empty", S_IFDIR | 0755, NULL);
    assert_false(file_rename(&world.volume, 1, "a", b, "a", &err));
    assert_int_equal(err.kind, E_INVALID);
    assert_false(file_rename(&world.volume, 1, "f", 1, "a", &err));
    assert_int_equal(err.kind, E_ISDIR);
    assert_false(file_rename(&world.volume, 1, "a", 1, "f", &err));
    assert_int_equal(err.kind, E_NOTDIR);
    assert_false(file_rename(&world.volume, 1, "empty", a, "b", &err));
    assert_int_equal(err.kind, E_NOTEMPTY);
    assert_true(file_rename(&world.volume, a, "b", 1, "empty", &err));
    assert_int_equal(looked_up(&world, "/empty/x", true, f + 1), E_OK);
    assert_true(file_link(&world.volume, f, a, "f2", &err));
    assert_true(file_rename(&world.volume, 1, "f", a, "f2", &err)); /* one file: both names stay */
    assert_int_equal(looked_up(&world, "/f", true, f), E_OK);
    assert_false(file_create(&world.volume, 1, "..", &(struct fs_attr){.mode = S_IFREG}, NULL, &e, &err));
    assert_false(file_create(&world.volume, 1, "a/b", &(struct fs_attr){.mode = S_IFREG}, NULL, &e, &err));
    world_close(&world);
}

static void test_walk(void **state)
{
    (void)state;
    struct mem_world world;
    struct error err;
    char seen[1000] = "";
    world_open(&world);
    fs_id a = world_make(&world, 1, "a", S_IFDIR | 0755, NULL);
    fs_id b = world_make(&world, a, "b", S_IFDIR | 0755, NULL);
    world_make(&world, b, "f", S_IFREG | 0644, NULL);
    mem_insert(&world.mem->fs, b, "again", a);
    mem_insert(&world.mem->fs, b, "root", 1);
    struct walk *walk;
    struct walk_entry *entry;
    static const char marks[] = {[WALK_FILE] = 'f', [WALK_DIR] = 'd', [WALK_LEAVE] = 'l', [WALK_FAULT] = '!'};
    assert_true(walk_new(&walk, &world.volume, "/", 1, WALK_SORTED | WALK_ATTR, &err));
    for (;;) {
        assert_true(walk_next(walk, &entry, &err));
        if (entry->event == WALK_END)
            break;
        sprintf(seen + strlen(seen), "%c%s %u,", marks[entry->event], entry->path, entry->depth);
    }
    walk_free(walk);
    assert_string_equal(seen, "d/ 0,d/a 1,d/a/b 2,!/a/b/again 3,f/a/b/f 3,!/a/b/root 3,l/a/b 2,l/a 1,l/ 0,");
    world_close(&world);
}

/* Removing while walking meets every entry, in directories of more than one chunk too. */
static void test_walk_and_remove(void **state)
{
    (void)state;
    struct mem_world world;
    struct error err;
    world_open(&world);
    fs_id f = world_make(&world, 1, "f", S_IFREG | 0644, NULL);
    enum { MANY = 70000 };
    struct mem_node *root = mem_node(&world.mem->fs, 1);
    root->entries = realloc(root->entries, (MANY + 1) * sizeof *root->entries);
    for (int i = 0; i < MANY; i++) {
        snprintf(root->entries[root->entry_count].name, 256, "%d", i);
        root->entries[root->entry_count++].id = f;
    }
    struct walk *walk;
    struct walk_entry *entry;
    unsigned files = 0;
    assert_true(walk_new(&walk, &world.volume, "/", 1, 0, &err));
    while (walk_next(walk, &entry, &err) && entry->event != WALK_END) {
        if (entry->event != WALK_FILE)
            continue;
        size_t i = strcmp(entry->name, "f") == 0 ? 0 : (size_t)atoi(entry->name) + 1;
        if (files++ % 3 == 0) {
            root->entries[i].id = 0;
            walk_removed(walk);
        }
    }
    walk_free(walk);
    assert_int_equal(files, MANY + 1);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absolute),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_real_and_parent),
        cmocka_unit_test(test_names_are_remembered),
        cmocka_unit_test(test_rename),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_walk_and_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
