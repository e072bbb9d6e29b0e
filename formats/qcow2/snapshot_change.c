/* Creating, applying, deleting and opening internal snapshots. */
#include "alloc.h"
#include "check.h"
#include "clock.h"
#include "session.h"
#include "write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- reference counts of a whole tree ---- */

/* A tree whose clusters gain or lose a reference. Neighbours are counted in one go. */
struct tree {
    struct qcow2 *q;
    int delta;
    uint64_t run, run_length; /* clusters whose counts are still to be changed */
    bool clear;               /* clear the copied flags on the way */
};

static bool finish_run(struct tree *tree, struct error *err)
{
    uint64_t n = tree->run_length;
    tree->run_length = 0;
    return n == 0 || qcow2_refcount_add(tree->q, tree->run, n, tree->delta, err);
}

static bool count_clusters(struct tree *tree, uint64_t first, uint64_t n, struct error *err)
{
    if (tree->run_length && first == tree->run + tree->run_length) {
        tree->run_length += n;
        return true;
    }
    if (!finish_run(tree, err))
        return false;
    tree->run = first;
    tree->run_length = n;
    return true;
}

static bool count_entry(struct tree *tree, uint64_t entry, struct error *err)
{
    const struct qcow2 *q = tree->q;
    if (entry & ENTRY_COMPRESSED) {
        uint64_t off, len;
        qcow2_compressed_place(q, entry, &off, &len);
        uint64_t first = off >> q->cluster_bits, last = (off + len - 1) >> q->cluster_bits;
        return count_clusters(tree, first, last - first + 1, err);
    }
    uint64_t host = entry & ENTRY_OFFSET;
    if (host % q->cluster_size)
        return damaged(err, q->file, host, "L2 entry 0x%" PRIx64 ": the cluster's offset is unaligned",
                       entry);
    return host == 0 || count_clusters(tree, host >> q->cluster_bits, 1, err);
}

static bool count_block(struct tree *tree, struct cache_block *block, struct error *err)
{
    struct qcow2 *q = tree->q;
    for (uint32_t i = 0; i < q->block_size; i += q->entry_size) {
        uint64_t entry = load_be64(block->data + i);
        if (entry == 0)
            continue;
        if (!count_entry(tree, entry, err))
            return false;
        if (tree->clear && entry & ENTRY_COPIED) {
            store_be64(block->data + i, entry & ~ENTRY_COPIED);
            cache_dirty(q->meta, block, WRITE_UPDATE);
        }
    }
    return true;
}

static bool count_table(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    struct tree *tree = arg;
    uint64_t table = entry & ENTRY_OFFSET, refs;
    if (table == 0)
        return true;
    if (table % q->cluster_size || !range_inside(table, q->cluster_size, q->file->size))
        return damaged(err, q->file, table,
                       "L1 entry %" PRIu64 ": L2 table offset 0x%" PRIx64 " is not valid", index, table);
    for (uint64_t at = 0; at < q->cluster_size; at += q->block_size) {
        struct cache_block *block;
        if (!interrupt_check(err) || !cache_get(q->meta, table + at, &block, err))
            return false;
        bool ok = count_block(tree, block, err);
        cache_release(q->meta, block);
        if (!ok)
            return false;
    }
    if (!count_clusters(tree, table >> q->cluster_bits, 1, err))
        return false;
    if (tree->delta > 0)
        return true;
    if (!finish_run(tree, err) || !qcow2_refcount_get(q, table >> q->cluster_bits, &refs, err))
        return false;
    if (refs == 0)
        qcow2_forget_clusters(q, table, 1);
    return true;
}

static bool count_tree(struct qcow2 *q, uint64_t l1, uint32_t size, int delta, bool clear, struct error *err)
{
    struct tree tree = {.q = q, .delta = delta, .clear = clear};
    return qcow2_each_entry(q, l1, size, count_table, &tree, err) && finish_run(&tree, err);
}

/* Both flags of the active tree belong to a single user; a shared one has none. */
static bool clear_l1_flag(struct qcow2 *q, uint64_t index, uint64_t entry, void *arg, struct error *err)
{
    (void)arg;
    return !(entry & ENTRY_COPIED) ||
           qcow2_meta_put64(q, q->active.l1_offset + index * 8, entry & ~ENTRY_COPIED, err);
}

/* ---- the table ---- */

static bool replace_table(struct qcow2 *q, const struct qcow2_snapshot_list *list, struct error *err)
{
    struct qcow2_space space = {0};
    uint64_t old = q->h.snapshots_offset,
             old_clusters = q->h.nb_snapshots ? div_up(list->bytes, q->cluster_size) : 0;
    uint64_t clusters = div_up(qcow2_snapshots_bytes(q, list), q->cluster_size);
    if (clusters && !qcow2_allocate(q, clusters, true, KIND_SNAPSHOT_TABLE, &space, err))
        return false;
    if (!qcow2_snapshots_store(q, list, space.off, err))
        return false;
    if (old_clusters == 0)
        return true;
    qcow2_index_remove(q, old, old_clusters, KIND_SNAPSHOT_TABLE);
    qcow2_forget_clusters(q, old, old_clusters);
    return qcow2_free(q, old, old_clusters, err);
}

static bool find_snapshot(struct qcow2 *q, const char *id_or_name, struct qcow2_snapshot_list *list,
                          size_t *found, struct error *err)
{
    if (!qcow2_snapshots_load(q, list, err))
        return false;
    for (*found = 0; *found < list->count; ++*found)
        if (strcmp(list->items[*found].name, id_or_name) == 0)
            return true;
    for (*found = 0; *found < list->count; ++*found)
        if (strcmp(list->items[*found].id, id_or_name) == 0)
            return true;
    qcow2_snapshots_free(list);
    return fail(err, E_NOENT, "there is no snapshot '%s'", id_or_name);
}

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

static void describe(const struct qcow2_snapshot *s, struct snapshot_info *info)
{
    *info = (struct snapshot_info){
        .vm_state_size = s->vm_state_size,
        .date_sec = s->date_sec,
        .date_nsec = s->date_nsec,
        .vm_clock_nsec = s->vm_clock_nsec,
        .disk_size = s->disk_size,
        .icount = s->icount == UINT64_MAX ? -1 : (int64_t)s->icount,
    };
    copy_text(info->id, sizeof info->id, s->id);
    copy_text(info->name, sizeof info->name, s->name);
}

bool qcow2_snapshots(struct device *dev, bool (*emit)(const struct snapshot_info *, void *), void *arg,
                     struct error *err)
{
    struct qcow2_snapshot_list list;
    if (!qcow2_snapshots_load(qcow2_of(dev), &list, err))
        return false;
    for (size_t i = 0; i < list.count; i++) {
        struct snapshot_info info;
        describe(&list.items[i], &info);
        if (!emit(&info, arg))
            break;
    }
    qcow2_snapshots_free(&list);
    return true;
}

bool qcow2_snapshots_complete(struct qcow2 *q, struct error *err)
{
    struct qcow2_snapshot_list list;
    if (q->h.nb_snapshots == 0)
        return true;
    if (!qcow2_snapshots_load(q, &list, err))
        return false;
    bool ok = replace_table(q, &list, err);
    qcow2_snapshots_free(&list);
    return ok;
}

/* ---- create ---- */

static bool check_name(const struct qcow2_snapshot_list *list, const char *name, struct error *err)
{
    if (!*name || strlen(name) > 255)
        return fail(err, E_NAME, "a snapshot's name has 1 to 255 bytes");
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return fail(err, E_EXIST, "there is a snapshot '%s' already", name);
    return true;
}

/* One more than the highest number that is an ID. */
static char *next_id(const struct qcow2_snapshot_list *list, struct error *err)
{
    unsigned long long highest = 0;
    for (size_t i = 0; i < list->count; i++) {
        unsigned long long id = strtoull(list->items[i].id, NULL, 10);
        highest = MAX_OF(highest, id);
    }
    return mem_printf(err, "%llu", highest + 1);
}

static bool new_entry(struct qcow2 *q, const struct qcow2_snapshot_list *list, const char *name, uint64_t l1,
                      struct qcow2_snapshot *out, struct error *err)
{
    struct fs_time now = clock_now();
    *out = (struct qcow2_snapshot){
        .l1_offset = l1,
        .l1_size = q->active.l1_size,
        .date_sec = (uint32_t)now.sec,
        .date_nsec = now.nsec,
        .extra_len = SNAPSHOT_EXTRA_ICOUNT,
        .disk_size = q->active.size,
    };
    out->id = next_id(list, err);
    out->name = mem_string(name, err);
    out->extra = mem_new(SNAPSHOT_EXTRA_ICOUNT, err);
    if (!out->id || !out->name || !out->extra) {
        free(out->id);
        free(out->name);
        free(out->extra);
        return false;
    }
    out->id_len = (uint16_t)strlen(out->id);
    out->name_len = (uint16_t)strlen(out->name);
    qcow2_snapshot_extra_set_disk_size(out->extra, q->active.size);
    qcow2_snapshot_extra_set_icount(out->extra, UINT64_MAX);
    return true;
}

/* An L1 table of its own for the snapshot, as the active one is now. */
static bool copy_l1(struct qcow2 *q, uint64_t from, uint32_t size, uint64_t to, uint64_t clusters,
                    struct error *err)
{
    uint8_t buf[4096];
    uint64_t bytes = (uint64_t)size * 8;
    for (uint64_t at = 0; at < clusters << q->cluster_bits; at += q->block_size) {
        uint64_t n = at < bytes ? MIN_OF(q->block_size, bytes - at) : 0;
        memset(buf, 0, sizeof buf);
        if (!qcow2_meta_read(q, from + at, buf, (size_t)n, err))
            return false;
        for (uint64_t i = 0; i < n; i += 8)
            store_be64(buf + i, load_be64(buf + i) & ~ENTRY_COPIED);
        if (!qcow2_meta_write(q, to + at, buf, q->block_size, err))
            return false;
    }
    return true;
}

static bool take_snapshot(struct qcow2 *q, struct qcow2_snapshot_list *list, const char *name,
                          struct error *err)
{
    struct qcow2_space space;
    uint64_t clusters = MAX_OF(div_up((uint64_t)q->active.l1_size * 8, q->cluster_size), 1);
    if (!qcow2_allocate(q, clusters, true, KIND_INACTIVE_L1, &space, err) ||
        !copy_l1(q, q->active.l1_offset, q->active.l1_size, space.off, clusters, err) ||
        !count_tree(q, q->active.l1_offset, q->active.l1_size, 1, true, err) ||
        !qcow2_each_entry(q, q->active.l1_offset, q->active.l1_size, clear_l1_flag, NULL, err) ||
        !mem_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, err) ||
        !new_entry(q, list, name, space.off, &list->items[list->count], err))
        return false;
    list->count++;
    return replace_table(q, list, err);
}

static bool check_possible(struct qcow2 *q, struct error *err)
{
    if (qcow2_has_data_file(q))
        return fail(err, E_UNSUPPORTED, "an image with an external data file cannot have internal snapshots");
    return qcow2_prepare(q, err);
}

/* The kinds of many clusters change: the index is made anew. */
static bool changed(struct qcow2 *q, struct error *err)
{
    q->epoch++;
    q->pack_offset = 0;
    return qcow2_index_build(q, err);
}

bool qcow2_snapshot_create(struct device *dev, const char *name, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_snapshot_list list;
    if (!check_possible(q, err) || !qcow2_snapshots_load(q, &list, err))
        return false;
    bool ok = check_name(&list, name, err) && take_snapshot(q, &list, name, err) && changed(q, err);
    qcow2_snapshots_free(&list);
    return ok;
}

/* ---- apply, delete ---- */

static bool check_covered(struct qcow2 *q, const struct qcow2_snapshot *s, struct error *err)
{
    uint64_t needed = div_up(s->disk_size, q->cluster_size * q->l2_entries);
    if (s->disk_size > INT64_MAX || s->l1_size < needed)
        return damaged(err, q->file, s->off, "snapshot '%s': its L1 table is too small for its disk size",
                       s->name);
    return true;
}

static bool check_apply(struct qcow2 *q, const struct qcow2_snapshot *s, struct error *err)
{
    if (!check_covered(q, s, err))
        return false;
    if (s->disk_size != q->active.size && q->h.version < 3)
        return fail(err, E_UNSUPPORTED,
                    "snapshot '%s' has another disk size, which version 2 cannot switch to", s->name);
    return true;
}

static bool switch_l1(struct qcow2 *q, const struct qcow2_snapshot *s, struct error *err)
{
    struct qcow2_space space;
    uint64_t old = q->active.l1_offset, old_size = q->active.l1_size;
    uint64_t clusters = MAX_OF(div_up((uint64_t)s->l1_size * 8, q->cluster_size), 1);
    uint64_t old_clusters = div_up(old_size * 8, q->cluster_size);
    /* Down before up: so no count needs more than the width that it has now. */
    if (!qcow2_allocate(q, clusters, true, KIND_L1, &space, err) ||
        !copy_l1(q, s->l1_offset, s->l1_size, space.off, clusters, err) ||
        !count_tree(q, old, (uint32_t)old_size, -1, false, err) ||
        !count_tree(q, s->l1_offset, s->l1_size, 1, false, err) ||
        !QCOW2_HEADER_PUT(q, l1_table_offset, space.off, err) ||
        !QCOW2_HEADER_PUT(q, l1_size, s->l1_size, err) || !QCOW2_HEADER_PUT(q, size, s->disk_size, err))
        return false;
    q->active = (struct qcow2_disk){q, space.off, s->l1_size, round_down(s->disk_size, 512)};
    q->dev.size = q->active.size;
    qcow2_forget_clusters(q, old, old_clusters);
    return old_clusters == 0 || qcow2_free(q, old, old_clusters, err);
}

bool qcow2_snapshot_apply(struct device *dev, const char *id_or_name, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_snapshot_list list;
    size_t found;
    if (!check_possible(q, err) || !find_snapshot(q, id_or_name, &list, &found, err))
        return false;
    const struct qcow2_snapshot *s = &list.items[found];
    uint64_t old_size = q->active.size;
    bool ok = check_apply(q, s, err) &&
              (s->disk_size == old_size || qcow2_bitmaps_resize(q, round_down(s->disk_size, 512), err)) &&
              switch_l1(q, s, err) && qcow2_fix_flags(q, err) && changed(q, err) &&
              qcow2_touch(q, 0, q->active.size, err);
    qcow2_snapshots_free(&list);
    qcow2_codec_forget(q);
    return ok;
}

static bool drop_snapshot(struct qcow2 *q, struct qcow2_snapshot_list *list, size_t found, struct error *err)
{
    struct qcow2_snapshot s = list->items[found];
    memmove(&list->items[found], &list->items[found + 1], (list->count - found - 1) * sizeof s);
    list->items[--list->count] = s; /* still owned by the array, behind its end */
    bool ok = replace_table(q, list, err) && count_tree(q, s.l1_offset, s.l1_size, -1, false, err);
    uint64_t clusters = div_up((uint64_t)s.l1_size * 8, q->cluster_size);
    if (ok && clusters) {
        qcow2_forget_clusters(q, s.l1_offset, clusters);
        ok = qcow2_free(q, s.l1_offset, clusters, err);
    }
    list->count++;
    return ok && qcow2_fix_flags(q, err);
}

bool qcow2_snapshot_delete(struct device *dev, const char *id_or_name, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_snapshot_list list;
    size_t found;
    if (!check_possible(q, err) || !find_snapshot(q, id_or_name, &list, &found, err))
        return false;
    bool ok = drop_snapshot(q, &list, found, err) && changed(q, err);
    qcow2_snapshots_free(&list);
    return ok;
}

/* ---- a snapshot as a device ---- */

struct snapshot_device {
    struct device dev;
    struct qcow2_disk disk;
    uint64_t epoch;
};

static bool still_there(const struct snapshot_device *s, struct error *err)
{
    return s->epoch == s->disk.q->epoch ||
           fail(err, E_NOENT, "the snapshots have changed since this one was opened");
}

static bool snapshot_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct snapshot_device *s = (struct snapshot_device *)dev;
    return still_there(s, err) && qcow2_disk_read(&s->disk, off, buf, n, err);
}

static bool snapshot_map(struct device *dev, uint64_t off, struct extent *out, struct error *err)
{
    struct snapshot_device *s = (struct snapshot_device *)dev;
    return still_there(s, err) && qcow2_disk_map(&s->disk, off, out, err);
}

static void snapshot_close(struct device *dev)
{
    free(dev);
}

static const struct device_ops snapshot_ops = {
    .name = "snapshot", .read = snapshot_read, .map = snapshot_map, .close = snapshot_close};

bool qcow2_snapshot_open(struct device *dev, const char *id_or_name, struct device **out, struct error *err)
{
    struct qcow2 *q = qcow2_of(dev);
    struct qcow2_snapshot_list list;
    size_t found;
    if (q->h.crypt_method || !q->data)
        return fail(err, E_UNSUPPORTED, "guest data of this image cannot be read");
    if (!find_snapshot(q, id_or_name, &list, &found, err))
        return false;
    struct qcow2_snapshot s = list.items[found];
    bool ok = check_covered(q, &list.items[found], err);
    qcow2_snapshots_free(&list);
    struct snapshot_device *snapshot = ok ? mem_new(sizeof *snapshot, err) : NULL;
    if (!snapshot)
        return false;
    uint64_t size = round_down(s.disk_size, 512);
    snapshot->dev = (struct device){.ops = &snapshot_ops,
                                    .below = q->file,
                                    .size = size,
                                    .block_size = q->dev.block_size,
                                    .read_only = true};
    snapshot->disk = (struct qcow2_disk){q, s.l1_offset, s.l1_size, size};
    snapshot->epoch = q->epoch;
    *out = &snapshot->dev;
    return true;
}
