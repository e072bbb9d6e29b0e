/* File block to volume block: random changes of one file's map against an array. */
#include "ext_volume.h"

#include "bytes.h"

enum { BLOCKS = 4000, STEPS = 6000 };

struct model {
    uint64_t start[BLOCKS]; /* 0: a hole */
    bool unwritten[BLOCKS];
};

static void compare(struct ext_volume *volume, struct ext_inode *inode, const struct model *model)
{
    struct error err = {0};
    for (uint64_t block = 0; block < BLOCKS;) {
        struct ext_mapping run;
        must(ext_map(volume->ext, inode, block, &run, &err), &err);
        assert_int_equal(run.block, block);
        assert_true(run.len > 0);
        for (uint64_t i = 0; i < run.len && block < BLOCKS; i++, block++) {
            assert_int_equal(run.start ? run.start + i : 0, model->start[block]);
            if (run.start)
                assert_int_equal(run.unwritten, model->unwritten[block]);
        }
    }
}

struct visits {
    uint64_t data, nodes;
    const struct model *model;
};

static bool count_visit(const struct ext_map_visit *visit, void *arg, struct error *err)
{
    struct visits *visits = arg;
    (void)err;
    if (!visit->data) {
        visits->nodes++;
        return true;
    }
    visits->data += visit->mapping.len;
    for (uint64_t i = 0; i < visit->mapping.len; i++)
        assert_int_equal(visits->model->start[visit->mapping.block + i], visit->mapping.start + i);
    return true;
}

/* A walk sees the same blocks, and i_blocks counts them and the nodes. */
static void compare_walk(struct ext_volume *volume, struct ext_inode *inode, const struct model *model)
{
    struct visits visits = {.model = model};
    struct error err = {0};
    uint64_t mapped = 0;
    for (size_t i = 0; i < BLOCKS; i++)
        mapped += model->start[i] != 0;
    must(ext_map_walk(volume->ext, inode, count_visit, &visits, &err), &err);
    assert_int_equal(visits.data, mapped);
    if (volume->ext->cluster_bits == 0)
        assert_int_equal(ext_inode_units(volume->ext, inode->raw) * 512,
                         (visits.data + visits.nodes) * volume->ext->block_size);
}

static void step(struct ext_volume *volume, struct ext_inode *inode, struct model *model, bool extents)
{
    struct error err = {0};
    uint64_t first = (uint64_t)rand() % BLOCKS, len = 1 + (uint64_t)rand() % (rand() % 10 ? 5 : 200);
    uint64_t end = MIN_OF(first + len, BLOCKS);
    int what = rand() % 10;
    if (what < 6) {
        bool unwritten = extents && rand() % 2;
        while (first < end) {
            struct ext_mapping run;
            must(ext_map(volume->ext, inode, first, &run, &err), &err);
            uint64_t n = MIN_OF(run.len, end - first);
            if (run.start == 0) {
                must(ext_map_fill(volume->ext, inode, first, n, unwritten, &run, &err), &err);
                n = run.len;
                for (uint64_t i = 0; i < n; i++) {
                    model->start[first + i] = run.start + i;
                    model->unwritten[first + i] = unwritten;
                }
            }
            first += n;
        }
    } else if (what < 8 && extents) {
        must(ext_map_written(volume->ext, inode, first, end - first, &err), &err);
        for (uint64_t i = first; i < end; i++)
            model->unwritten[i] = false;
    } else {
        must(ext_map_remove(volume->ext, inode, first, end, &err), &err);
        for (uint64_t i = first; i < end; i++)
            model->start[i] = 0;
    }
}

static void run(const char *type, const char *features, bool extents)
{
    struct ext_volume volume;
    struct ext_inode inode;
    struct error err = {0};
    struct model *model = calloc(1, sizeof *model);
    volume_make(&volume, type, features, 64 * MiB);
    uint64_t before = ext_free_blocks(volume.ext);
    fs_id id = volume_create(&volume, "file", S_IFREG | 0644);
    must(ext_inode_get(volume.ext, (uint32_t)id, &inode, &err), &err);
    assert_int_equal(ext_inode_flag(inode.raw, EXT_FL_EXTENTS), extents);
    for (int i = 0; i < STEPS; i++) {
        step(&volume, &inode, model, extents);
        if (i % 500 == 0) {
            compare(&volume, &inode, model);
            compare_walk(&volume, &inode, model);
            volume_check_counts(&volume);
        }
    }
    compare(&volume, &inode, model);
    must(ext_map_remove(volume.ext, &inode, 0, BLOCKS, &err), &err);
    assert_int_equal(ext_inode_units(volume.ext, inode.raw), 0);
    if (extents) /* the tree is an empty root again */
        assert_int_equal(ext_eh_eh_depth(ext_inode_i_block(inode.raw)), 0);
    ext_inode_put(volume.ext, &inode);
    volume_check_counts(&volume);
    assert_int_equal(before, ext_free_blocks(volume.ext));
    volume_free(&volume);
    free(model);
}

static void extents_follow_the_model(void **state)
{
    (void)state;
    run("ext4", "^has_journal,blocksize=1K", true);
    run("ext4", "^has_journal,blocksize=4K", true);
}

static void extents_in_clusters_follow_the_model(void **state)
{
    (void)state;
    run("ext4", "^has_journal,bigalloc,blocksize=1K,cluster_size=8K", true);
}

static void block_maps_follow_the_model(void **state)
{
    (void)state;
    run("ext2", "blocksize=1K", false);
    run("ext2", "blocksize=4K", false);
}

/* A tree of several levels comes and goes with scattered single blocks. */
static void trees_grow_and_shrink(void **state)
{
    struct ext_volume volume;
    struct ext_inode inode;
    struct ext_mapping run;
    struct error err = {0};
    (void)state;
    volume_make(&volume, "ext4", "^has_journal,blocksize=1K", 64 * MiB);
    fs_id id = volume_create(&volume, "file", S_IFREG | 0644);
    must(ext_inode_get(volume.ext, (uint32_t)id, &inode, &err), &err);
    for (uint64_t i = 0; i < 20000; i++)
        must(ext_map_fill(volume.ext, &inode, i * 7919 % 20000 * 3, 1, false, &run, &err), &err);
    assert_int_equal(ext_eh_eh_depth(ext_inode_i_block(inode.raw)), 2);
    must(ext_map_remove(volume.ext, &inode, 3, 60000, &err), &err);
    assert_int_equal(ext_eh_eh_depth(ext_inode_i_block(inode.raw)), 0);
    assert_int_equal(ext_inode_units(volume.ext, inode.raw), 2);
    ext_inode_put(volume.ext, &inode);
    volume_check_counts(&volume);
    volume_free(&volume);
}

/* A tree whose node points to itself, and one whose nodes overlap, are errors, not endless. */
static void loops_in_trees_are_found(void **state)
{
    struct ext_volume volume;
    struct ext_inode inode;
    struct ext_mapping run;
    struct error err = {0};
    (void)state;
    volume_make(&volume, "ext4", "^has_journal,^metadata_csum,blocksize=1K", 16 * MiB);
    fs_id id = volume_create(&volume, "file", S_IFREG | 0644);
    must(ext_inode_get(volume.ext, (uint32_t)id, &inode, &err), &err);
    for (uint64_t i = 0; i < 200; i++)
        must(ext_map_fill(volume.ext, &inode, i * 2, 1, false, &run, &err), &err);
    uint8_t *root = ext_inode_i_block(inode.raw);
    assert_int_equal(ext_eh_eh_depth(root), 1);
    uint64_t child = ext_ei_ei_leaf_lo(root + EXT_EXTENT_ENTRY);
    /* a second entry leads to the same leaf */
    ext_ei_set_ei_leaf_lo(root + 2 * EXT_EXTENT_ENTRY, child);
    assert_false(ext_map(volume.ext, &inode, 200, &run, &err));
    assert_int_equal(err.kind, E_DAMAGED);
    /* the leaf says that it is an index */
    struct cache_block *block;
    must(ext_block_get(volume.ext, child, EXT_TAG_EXTENTS, ext_inode_owner(&inode), &block, &err), &err);
    ext_eh_set_eh_depth(block->data, 1);
    ext_block_put(volume.ext, block);
    assert_false(ext_map(volume.ext, &inode, 0, &run, &err));
    assert_int_equal(err.kind, E_DAMAGED);
    ext_inode_put(volume.ext, &inode);
    volume_free(&volume);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extents_follow_the_model),    cmocka_unit_test(extents_in_clusters_follow_the_model),
        cmocka_unit_test(block_maps_follow_the_model), cmocka_unit_test(trees_grow_and_shrink),
        cmocka_unit_test(loops_in_trees_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
